// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * See world.h. SDM 3A 6.14 (64-bit interrupt returns), Linux arch/x86/kernel/signal_64.c (frame layout: sigreturn
 * restores CS and SS only).
 */
#include "monitor/vmm/world.h"

#include "hypercalls/lower_long.h"

#include <asm/prctl.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "hypercalls/abi.h"
#include "monitor/vmm/host.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/translate.h"
#include "monitor/vmm/xol.h"

#define ALT_STACK_SIZE 65536

/* Private to each process: where it stands, not what the guest is. */
static volatile uint32_t kicked;
static uint64_t host_rsp;
static uint64_t host_fs_base;
static uint64_t long_target; /* where a long block is entered */
static struct world *world;
static const char *signal_exit, *signal_exit_long; /* world_exit_signal, by way of PKRU where the host has it; for blocks */

extern const char world_entry_begin[], world_entry_iret[], world_entry_end[], world_entry_abort[], world_exit_pad[], world_exit_call[], world_exit_vdso[],
    world_exit_signal[], world_exit_signal_pku[];
extern const char world_long_begin[], world_long_iret[], world_long_end[], world_long_abort[], world_exit_pad_long[],
    world_exit_signal_long[], world_exit_signal_pku_long[];

#define W(field) "i"(offsetof(struct world, field))

/*
 * One block of assembly: the entry, its abort, and the exits. Never called as a function: world_run is a label
 * inside it with the C calling convention.
 */
static void __attribute__((used, noinline)) world_code(void)
{
	__asm__ volatile(
	    ".globl world_run, world_entry_begin, world_entry_end, world_entry_abort\n"
	    ".globl world_entry_iret, world_exit_pad, world_exit_call, world_exit_vdso, world_exit_signal\n"
	    ".globl world_exit_signal_pku\n"
	    ".type world_run, @function\n"
	    "jmp 9f\n"
	    ".p2align 4\n"
	    "world_run:\n\t"
	    "push %%rbx; push %%rbp; push %%r12; push %%r13; push %%r14; push %%r15\n\t"
	    "mov %%rsp, %c[host_rsp](%%rip)\n\t"
	    "mov %c[world](%%rip), %%r14\n"
	    "world_entry_begin:\n\t"
	    "cmpl $0, %c[kicked](%%rip)\n\t"
	    "jne world_entry_abort\n\t"
	    "movzwl %c[ds](%%r14), %%eax; mov %%eax, %%ds\n\t"
	    "movzwl %c[es](%%r14), %%eax; mov %%eax, %%es\n\t"
	    "movzwl %c[fs](%%r14), %%eax; mov %%eax, %%fs\n\t"
	    "movzwl %c[gs](%%r14), %%eax; mov %%eax, %%gs\n\t"
	    "mov %c[gpr]+0(%%r14), %%eax\n\t"
	    "mov %c[gpr]+4(%%r14), %%ecx\n\t"
	    "mov %c[gpr]+8(%%r14), %%edx\n\t"
	    "mov %c[gpr]+12(%%r14), %%ebx\n\t"
	    "mov %c[gpr]+20(%%r14), %%ebp\n\t"
	    "mov %c[gpr]+24(%%r14), %%esi\n\t"
	    "mov %c[gpr]+28(%%r14), %%edi\n\t"
	    "lea %c[iret](%%r14), %%rsp\n\t"
	    "world_entry_iret:\n\t"
	    "iretq\n"
	    "world_entry_end:\n"
	    /* Reached by the test above or by the kick handler rewinding the entry: nothing of the guest ran. */
	    "world_entry_abort:\n\t"
	    "mov %c[world](%%rip), %%r14\n\t"
	    "mov %c[host_rsp](%%rip), %%rsp\n\t"
	    "mov %c[fs_base](%%rip), %%rax; wrfsbase %%rax\n\t"
	    "movb %[kick], %c[reason](%%r14)\n\t"
	    "jmp 8f\n"
	    ".p2align 4\n"
	    "world_exit_vdso:\n\t"
	    "mov %c[world](%%rip), %%r14\n\t"
	    "movb %[vdso], %c[reason](%%r14)\n\t"
	    "jmp 7f\n"
	    ".p2align 4\n"
	    "world_exit_call:\n\t"
	    "mov %c[world](%%rip), %%r14\n\t"
	    "movb %[call], %c[reason](%%r14)\n\t"
	    "jmp 7f\n"
	    ".p2align 4\n"
	    "world_exit_pad:\n\t"
	    "mov %c[world](%%rip), %%r14\n\t"
	    "mov %%r15d, %c[site](%%r14)\n\t"
	    "movb %[pad], %c[reason](%%r14)\n"
	    "7:\n\t"
	    "mov %%eax, %c[gpr]+0(%%r14)\n\t"
	    "mov %%ecx, %c[gpr]+4(%%r14)\n\t"
	    "mov %%edx, %c[gpr]+8(%%r14)\n\t"
	    "mov %%ebx, %c[gpr]+12(%%r14)\n\t"
	    "mov %%esp, %c[gpr]+16(%%r14)\n\t"
	    "mov %%ebp, %c[gpr]+20(%%r14)\n\t"
	    "mov %%esi, %c[gpr]+24(%%r14)\n\t"
	    "mov %%edi, %c[gpr]+28(%%r14)\n\t"
	    "mov %c[host_rsp](%%rip), %%rsp\n\t"
	    "pushfq; pop %%rax; mov %%eax, %c[eflags](%%r14)\n\t"
	    "push $2; popfq\n\t"
	    "mov %%ss, %%eax; mov %%ax, %c[ss](%%r14)\n\t"
	    "mov %c[fs_base](%%rip), %%rax\n\t"
	    "mov %%fs, %%ecx; mov %%cx, %c[fs](%%r14)\n\t"
	    "wrfsbase %%rax\n\t"
	    "jmp 6f\n"
	    ".p2align 4\n"
	    "world_exit_signal_pku:\n\t" /* the guest's PKRU may deny the monitor its own memory */
	    "xor %%eax, %%eax; xor %%ecx, %%ecx; xor %%edx, %%edx; wrpkru\n"
	    "world_exit_signal:\n\t" /* registers, flags, CS and SS came from the signal frame */
	    "mov %c[world](%%rip), %%r14\n\t"
	    "push $2; popfq\n\t" /* sigreturn leaves NT as it was, and IRETQ faults under it */
	    "mov %c[fs_base](%%rip), %%rax\n\t"
	    "mov %%fs, %%ecx; mov %%cx, %c[fs](%%r14)\n\t"
	    "wrfsbase %%rax\n"
	    "6:\n\t"
	    "mov %%ds, %%eax; mov %%ax, %c[ds](%%r14)\n\t"
	    "mov %%es, %%eax; mov %%ax, %c[es](%%r14)\n\t"
	    "mov %%gs, %%eax; mov %%ax, %c[gs](%%r14)\n"
	    "8:\n\t"
	    "pop %%r15; pop %%r14; pop %%r13; pop %%r12; pop %%rbp; pop %%rbx\n\t"
	    "ret\n"
	    "9:\n"
	    :
		    : [gpr] W(gpr), [eflags] W(eflags), [ds] W(ds), [es] W(es), [fs] W(fs), [gs] W(gs), [ss] W(ss),
	      [iret] W(iret), [reason] W(reason), [site] W(site), [kick] "i"(WORLD_KICK),
	      [pad] "i"(WORLD_PAD), [call] "i"(WORLD_CALL), [vdso] "i"(WORLD_VDSO), [host_rsp] "i"(&host_rsp), [fs_base] "i"(&host_fs_base),
	      [world] "i"(&world), [kicked] "i"(&kicked)
	    : "memory");
}

/*
 * The same for long blocks. Nothing of the host's segment state changes: FS is libc's all the time, and GS is never the
 * host's. With TF (to reach the next boundary) the entry is an IRETQ too: after POPF it would trap in here.
 */
static void __attribute__((used, noinline)) world_code_long(void)
{
	__asm__ volatile(
	    ".globl world_run_long, world_long_begin, world_long_iret, world_long_end, world_long_abort\n"
	    ".globl world_exit_pad_long, world_exit_signal_long, world_exit_signal_pku_long\n"
	    ".type world_run_long, @function\n"
	    "jmp 9f\n"
	    ".p2align 4\n"
	    "world_run_long:\n\t"
	    "push %%rbx; push %%rbp; push %%r12; push %%r13; push %%r14; push %%r15\n\t"
	    "mov %%rsp, %c[host_rsp](%%rip)\n\t"
	    "mov %c[world](%%rip), %%r14\n"
	    "world_long_begin:\n\t"
	    "cmpl $0, %c[kicked](%%rip)\n\t"
	    "jne world_long_abort\n\t"
	    "mov %c[iret](%%r14), %%rax; mov %%rax, %c[target](%%rip)\n\t"
	    "mov %c[gpr]+4(%%r14), %%ecx\n\t"
	    "mov %c[gpr]+8(%%r14), %%edx\n\t"
	    "mov %c[gpr]+12(%%r14), %%ebx\n\t"
	    "mov %c[gpr]+20(%%r14), %%ebp\n\t"
	    "mov %c[gpr]+24(%%r14), %%esi\n\t"
	    "mov %c[gpr]+28(%%r14), %%edi\n\t"
	    "mov %c[scratch]+0(%%r14), %%r8\n\t"
	    "mov %c[scratch]+8(%%r14), %%r9\n\t"
	    "mov %c[scratch]+16(%%r14), %%r10\n\t"
	    "mov %c[scratch]+24(%%r14), %%r11\n\t"
	    "movabs %[base], %%r13\n\t"
	    "mov %c[soft](%%r14), %%r12\n\t"
	    "mov %[shift], %%r15d\n\t"
	    "testl %[tf], %c[iret]+16(%%r14)\n\t"
	    "mov %c[gpr]+0(%%r14), %%eax\n\t"
	    "jnz 1f\n\t"
	    "pushq %c[iret]+16(%%r14); popfq\n\t"
	    "mov %c[gpr]+16(%%r14), %%esp\n\t"
	    "movabs %[window], %%r14\n\t"
	    "jmp *%c[target](%%rip)\n"
	    "1:\n\t"
	    "lea %c[iret](%%r14), %%rsp\n\t"
	    "movabs %[window], %%r14\n\t"
	    "world_long_iret:\n\t"
	    "iretq\n"
	    "world_long_end:\n"
	    "world_long_abort:\n\t"
	    "mov %c[world](%%rip), %%r14\n\t"
	    "mov %c[host_rsp](%%rip), %%rsp\n\t"
	    "movb %[kick], %c[reason](%%r14)\n\t"
	    "jmp 8f\n"
	    ".p2align 4\n"
	    "world_exit_pad_long:\n\t"
	    "mov %c[world](%%rip), %%r14\n\t"
	    "mov %%r15d, %c[site](%%r14)\n\t"
	    "movb %[pad], %c[reason](%%r14)\n\t"
	    "mov %%eax, %c[gpr]+0(%%r14)\n\t"
	    "mov %%ecx, %c[gpr]+4(%%r14)\n\t"
	    "mov %%edx, %c[gpr]+8(%%r14)\n\t"
	    "mov %%ebx, %c[gpr]+12(%%r14)\n\t"
	    "mov %%esp, %c[gpr]+16(%%r14)\n\t"
	    "mov %%ebp, %c[gpr]+20(%%r14)\n\t"
	    "mov %%esi, %c[gpr]+24(%%r14)\n\t"
	    "mov %%edi, %c[gpr]+28(%%r14)\n\t"
	    "mov %c[host_rsp](%%rip), %%rsp\n\t"
	    "pushfq; pop %%rax; mov %%eax, %c[eflags](%%r14)\n\t"
	    "test %[unwanted], %%eax\n\t"
	    "jz 8f\n\t"
	    "push $2; popfq\n\t"
	    "jmp 8f\n"
	    "world_exit_signal_pku_long:\n\t"
	    "xor %%eax, %%eax; xor %%ecx, %%ecx; xor %%edx, %%edx; wrpkru\n"
	    "world_exit_signal_long:\n\t" /* registers and flags came from the signal frame */
	    "mov %c[world](%%rip), %%r14\n"
	    "8:\n\t"
	    "pop %%r15; pop %%r14; pop %%r13; pop %%r12; pop %%rbp; pop %%rbx\n\t"
	    "ret\n"
	    "9:\n"
	    :
	    : [gpr] W(gpr), [eflags] W(eflags), [iret] W(iret), [scratch] W(scratch), [soft] W(soft), [shift] "i"(LOWER_SOFT_SHIFT), [reason] W(reason), [site] W(site),
	      [kick] "i"(WORLD_KICK), [pad] "i"(WORLD_PAD), [host_rsp] "i"(&host_rsp),
	      [world] "i"(&world), [kicked] "i"(&kicked), [target] "i"(&long_target), [base] "i"(LONG_BASE),
	      [window] "i"(LONG_WINDOW), [tf] "i"(FL_TF), [unwanted] "i"(FL_DF | FL_AC | FL_TF | FL_NT)
	    : "memory");
}

void world_clear_kick(void)
{
	kicked = 0;
	__asm__ volatile("" ::: "memory");
}

void world_enter(const struct vm *vm)
{
	if (world_is_long(vm)) {
		world_run_long();
		return;
	}
	world_run();
	if (vm_long(vm)) /* the guest's selector has taken its place */
		__asm__ volatile("wrgsbase %0" ::"r"(LONG_WINDOW));
}

/* Where an entry that was interrupted is given up; NULL elsewhere. */
static const char *entry_abort(uint64_t rip)
{
	if (rip >= (uintptr_t)world_long_begin && rip < (uintptr_t)world_long_end)
		return world_long_abort;
	if (rip >= (uintptr_t)world_entry_begin && rip < (uintptr_t)world_entry_end)
		return world_entry_abort;
	return NULL;
}

static bool in_32_bits(const greg_t *g)
{
	return (g[REG_CSGSFS] & 0xffff) != ABI_HOST_CS64;
}

/*
 * Does this frame interrupt guest code? Guest code runs in a 32-bit code segment, or as a long block; the 64-bit
 * landing pads and gates are already on their way out.
 */
static bool in_guest(const greg_t *g)
{
	uint64_t rip = (uint64_t)g[REG_RIP];
	uint32_t raw = (uint32_t)rip;

	if (in_32_bits(g))
		return true;
	if (!vm_long(VM) || rip >> 32 != LONG_BASE >> 32)
		return false;
	return translate_contains(VM, raw) ? !translate_is_pad(VM, raw) : xol_contains(VM, raw) && !xol_is_pad(VM, raw);
}

static void resume_at(greg_t *g, const char *label)
{
	g[REG_RIP] = (greg_t)(uintptr_t)label;
	g[REG_RSP] = (greg_t)host_rsp;
	g[REG_EFL] = 2;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & 0x0000ffffffff0000) | ABI_HOST_CS64 | (greg_t)ABI_HOST_DS << 48;
}

static void take_registers(const greg_t *g)
{
	struct world *w = world;

	w->gpr[REG_AX] = (uint32_t)g[REG_RAX];
	w->gpr[REG_CX] = (uint32_t)g[REG_RCX];
	w->gpr[REG_DX] = (uint32_t)g[REG_RDX];
	w->gpr[REG_BX] = (uint32_t)g[REG_RBX];
	w->gpr[REG_SP] = (uint32_t)g[REG_RSP];
	w->gpr[REG_BP] = (uint32_t)g[REG_RBP];
	w->gpr[REG_SI] = (uint32_t)g[REG_RSI];
	w->gpr[REG_DI] = (uint32_t)g[REG_RDI];
	w->eip = (uint32_t)g[REG_RIP];
	w->eflags = (uint32_t)g[REG_EFL];
	w->cs = (uint16_t)g[REG_CSGSFS];
	w->ss = (uint16_t)(g[REG_CSGSFS] >> 48);
	w->scratch[0] = (uint64_t)g[REG_R8];
	w->scratch[1] = (uint64_t)g[REG_R9];
	w->scratch[2] = (uint64_t)g[REG_R10];
	w->scratch[3] = (uint64_t)g[REG_R11];
}

/*
 * Runs on the alternate stack, with the guest's FS base: no TLS, no libc. A fault of the monitor itself is left to
 * the default action: the VMX sees the worker die and says so.
 */
static void on_signal(int sig, siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
	const char *abort = entry_abort((uint64_t)g[REG_RIP]);

	if (sig == SIGUSR1)
		kicked = 1;
	if (in_guest(g)) {
		take_registers(g);
		world->trapno = (uint32_t)g[REG_TRAPNO];
		world->error = (uint32_t)g[REG_ERR];
		world->fault_address = (uint64_t)g[REG_CR2];
		world->reason = sig == SIGUSR1 ? WORLD_KICK : WORLD_SIGNAL;
		world->site = (uint32_t)sig;
		resume_at(g, in_32_bits(g) ? signal_exit : signal_exit_long);
		return;
	}
	if (sig == SIGUSR1) {
		if (abort)
			resume_at(g, abort);
		return;
	}
	if (sig == SIGTRAP && (g[REG_EFL] & FL_TF)) { /* the guest's TF followed it through a landing pad */
		g[REG_EFL] &= ~(greg_t)FL_TF;
		world->stepped = 1;
		return;
	}
	if ((uint64_t)g[REG_RIP] == (uintptr_t)world_entry_iret) { /* IRETQ itself faulted: EIP beyond the segment's limit */
		world->gpr[REG_SP] = (uint32_t)world->iret.rsp;
		world->eip = (uint32_t)world->iret.rip;
		world->eflags = (uint32_t)world->iret.rflags;
		world->cs = (uint16_t)world->iret.cs;
		world->ss = (uint16_t)world->iret.ss;
		world->trapno = (uint32_t)g[REG_TRAPNO];
		world->error = (uint32_t)g[REG_ERR];
		world->fault_address = (uint64_t)g[REG_CR2];
		world->reason = WORLD_SIGNAL;
		world->site = (uint32_t)sig;
		resume_at(g, signal_exit);
		return;
	}
	(void)info;
	vm_stop(VM, STOP_MONITOR, (uint32_t)g[REG_RIP], "a fault inside the monitor itself");
	host_exit(1); /* the VMX has the reason already, and watches for this */
}

/*
 * Protection keys: user code may execute WRPKRU natively (with the long engine an XRSTOR that does the same), though the guest's CPUID hides it, and then even the monitor's
 * stack can be out of reach. So PKRU is cleared before the first access to memory; the guest's value is forgotten.
 */
static bool host_has_pku(void)
{
	uint32_t eax = 7, ebx, ecx = 0, edx;

	__asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return ecx & BIT(4); /* OSPKE */
}

int world_prepare(struct diag *d)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGUSR1};
	struct sigaction sa = {.sa_sigaction = on_signal};
	stack_t alt = {.ss_size = ALT_STACK_SIZE};

	world = &VM->vmm->world;
	signal_exit = host_has_pku() ? world_exit_signal_pku : world_exit_signal;
	signal_exit_long = host_has_pku() ? world_exit_signal_pku_long : world_exit_signal_long;
	if (vm_long(VM) && syscall(SYS_arch_prctl, ARCH_SET_GS, LONG_WINDOW) < 0)
		return diag_set(d, -errno, "worker: arch_prctl: %s", strerror(errno));
	if (!vm_long(VM) || VM->cfg.native_user)
		__asm__ volatile("rdfsbase %0" : "=r"(host_fs_base));
	alt.ss_sp = mmap(NULL, ALT_STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (alt.ss_sp == MAP_FAILED || sigaltstack(&alt, NULL) < 0)
		return diag_set(d, -errno, "worker: alternate signal stack: %s", strerror(errno));
	for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
		/* Kicks may come faster than they are taken: nested, they would run over the end of the stack. */
		sa.sa_flags = SA_SIGINFO | SA_ONSTACK | (signals[i] == SIGUSR1 ? 0 : SA_NODEFER);
		if (sigaction(signals[i], &sa, NULL) < 0)
			return diag_set(d, -errno, "worker: sigaction(%d): %s", signals[i], strerror(errno));
	}
	return 0;
}

void world_gate_code(uint8_t *at, const void *target, bool pku)
{
	/* R8 to R10 are not the guest's; no instruction here touches flags or memory. */
	static const uint8_t clear_pkru[] = {
	    0x41, 0x89, 0xc0, 0x41, 0x89, 0xc9, 0x41, 0x89, 0xd2, /* mov %eax, %r8d; %ecx, %r9d; %edx, %r10d */
	    0xb8, 0, 0, 0, 0, 0xb9, 0, 0, 0, 0, 0xba, 0, 0, 0, 0, /* mov $0, %eax; %ecx; %edx */
	    0x0f, 0x01, 0xef,					   /* wrpkru */
	    0x44, 0x89, 0xc0, 0x44, 0x89, 0xc9, 0x44, 0x89, 0xd2, /* and back */
	};
	uint64_t address = (uintptr_t)target;

	if (pku) {
		memcpy(at, clear_pkru, sizeof(clear_pkru));
		at += sizeof(clear_pkru);
	}
	at[0] = 0x49, at[1] = 0xbe; /* movabs $target, %r14 */
	memcpy(at + 2, &address, 8);
	at[10] = 0x41, at[11] = 0xff, at[12] = 0xe6; /* jmp *%r14 */
}

void world_write_gates(uint8_t *gate_page)
{
	bool pku = host_has_pku();

	memset(gate_page, 0xcc, PAGE_SIZE);
	world_gate_code(gate_page + GATE_EXIT - ABI_GATE_PAGE, vm_long(VM) ? world_exit_pad_long : world_exit_pad, pku);
	world_gate_code(gate_page + GATE_CALL - ABI_GATE_PAGE, world_exit_call, pku);
	world_gate_code(gate_page + GATE_SYSCALL - ABI_GATE_PAGE, world_exit_vdso, pku);
}

bool world_fpu_has_x87(const struct vmm_state *s)
{
	return s->fpu[512] & 1; /* XSTATE_BV, SDM 1 13.4.2 */
}

void world_fpu_guard(void)
{
	struct vmm_state *s = VM->vmm;
	static const uint32_t mxcsr = 0x1f80;

	if (s->world.fpu_saved)
		return;
	__asm__ volatile("xsave64 %0" : "=m"(s->fpu) : "a"(0xffffffff), "d"(0xffffffff) : "memory");
	if (world_fpu_has_x87(s))
		__asm__ volatile("fnstenv %0" : "=m"(s->x87));
	__asm__ volatile("fninit; ldmxcsr %0" ::"m"(mxcsr));
	s->world.fpu_saved = 1;
}

void world_fpu_restore(void)
{
	struct vmm_state *s = VM->vmm;

	if (!s->world.fpu_saved)
		return;
	__asm__ volatile("xrstor64 %0" ::"m"(s->fpu), "a"(0xffffffff), "d"(0xffffffff) : "memory");
	if (world_fpu_has_x87(s))
		__asm__ volatile("fnclex; fldenv %0" ::"m"(s->x87)); /* FLDENV would report a pending exception */
	s->world.fpu_saved = 0;
}
