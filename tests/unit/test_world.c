// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The world switch: whatever flags, vector state and segments the guest leaves behind, by whatever way it leaves, the
 * monitor goes on with its own and the guest gets its own back; and no kick is lost on the way in.
 */
#include "tests/unit/native.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#define CODE 0x08048000u
#define GUEST_STACK (CODE + 0x2000)
#define PAD (HOLE + ABI_STUBS)
#define SITE 0x1234u

extern const char world_entry_begin[], world_entry_iret[];

static __thread int of_this_thread = 42;
static struct world *w;
static uint8_t *code; /* the page at CODE, as the monitor sees it */

/* --- entering ---------------------------------------------------------------------------------------------- */

static void start(void)
{
	static const uint8_t pad[ABI_PAD_LEN] = {0x41, 0xbf, SITE & 0xff, SITE >> 8, 0, 0, 0xe9};
	uint32_t gate = HOLE + GATE_EXIT - (PAD + ABI_PAD_LEN);

	memcpy(img.stubs, pad, sizeof(pad));
	memcpy(img.stubs + 7, &gate, 4);
	native_start();
	w = &vm->vmm->world;
	code = ram(N_DATA);
	CHECK(host_mmap(CODE, 4 * PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, vm->cfg.ram_fd, N_DATA) >=
	      0);
}

static void guest_code(const void *bytes, size_t len)
{
	memset(code, 0xcc, PAGE_SIZE);
	memcpy(code, bytes, len);
}
#define GUEST_CODE(s) guest_code(s, sizeof(s) - 1)

static void aim(uint32_t flags)
{
	for (uint32_t r = 0; r < 8; r++)
		w->gpr[r] = 0x01010101 * (r + 1);
	w->gpr[REG_SP] = GUEST_STACK;
	w->cs = ABI_HOST_CS32;
	w->ss = w->ds = w->es = ABI_HOST_DS;
	w->fs = w->gs = 0;
	w->iret.rip = CODE;
	w->iret.cs = w->cs;
	w->iret.rflags = flags | FL_IF | FL_FIXED;
	w->iret.rsp = GUEST_STACK;
	w->iret.ss = w->ss;
	w->reason = 0xff;
	w->trapno = w->site = 0;
	w->eip = 0;
	world_clear_kick();
}

static uint64_t flags_now(void)
{
	uint64_t f;

	__asm__ volatile("pushfq; pop %0" : "=r"(f));
	return f;
}

/* Nothing of the guest's is left in the monitor. */
static void monitor_is_clean(void)
{
	static volatile char odd[16];
	uint64_t fs;

	CHECK_EQ(flags_now() & (FL_DF | FL_AC | FL_TF | FL_NT), 0);
	*(volatile uint32_t *)(odd + 1) = 1; /* SIGBUS under AC */
	__asm__ volatile("rdfsbase %0" : "=r"(fs));
	CHECK(fs == *(uint64_t *)fs); /* the thread block starts with its own address */
	CHECK_EQ(of_this_thread, 42);
	errno = 0;
	CHECK(close(-1) == -1 && errno == EBADF);
}

static void registers_came_back(void)
{
	for (uint32_t r = 0; r < 8; r++)
		if (r != REG_SP)
			CHECK_EQ(w->gpr[r], 0x01010101 * (r + 1));
	CHECK_EQ(w->gpr[REG_SP], GUEST_STACK);
	CHECK_EQ(w->ds, ABI_HOST_DS);
	CHECK_EQ(w->es, ABI_HOST_DS);
	CHECK_EQ(w->ss, ABI_HOST_DS);
	CHECK_EQ(w->fs, 0);
	CHECK_EQ(w->gs, 0);
}

/* --- ways out ---------------------------------------------------------------------------------------------- */

/* INT 0x80 must not reach the host: what the jail's filter does, for this process. */
static void stop_system_calls(void)
{
	struct sock_filter filter[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {ARRAY_LEN(filter), filter};

	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
}

static const struct way {
	const char *name, *bytes;
	size_t len;
	uint8_t reason, trapno;
	uint32_t signal, eip; /* eip: distance from CODE */
	uint32_t add_flags;
} ways[] = {
#define BYTES(s) s, sizeof(s) - 1
    {"pad", BYTES("\xea\x00\x00\x01\xf8\x33\x00"), WORLD_PAD, 0, SITE, 0, 0},
    {"#PF", BYTES("\x8b\x0d\x00\x00\x00\x00"), WORLD_SIGNAL, EXC_PF, SIGSEGV, 0, 0},
    {"#GP", BYTES("\xf4"), WORLD_SIGNAL, EXC_GP, SIGSEGV, 0, 0},
    {"#UD", BYTES("\x0f\x0b"), WORLD_SIGNAL, EXC_UD, SIGILL, 0, 0},
    {"#DE", BYTES("\xd4\x00"), WORLD_SIGNAL, EXC_DE, SIGFPE, 0, 0},
    {"#BP", BYTES("\xcc"), WORLD_SIGNAL, EXC_BP, SIGTRAP, 1, 0},
    {"#AC", BYTES("\x8b\x0d\x01\x90\x04\x08"), WORLD_SIGNAL, EXC_AC, SIGBUS, 0, FL_AC},
    {"INT 0x80", BYTES("\xcd\x80"), WORLD_SIGNAL, 0, SIGSYS, 2, 0},
};

/* The last flags: those that Linux itself hands to signal handlers or keeps over sigreturn. */
static const uint32_t flag_sets[] = {
    0, FL_DF, FL_AC, FL_NT, FL_ID, FL_CF | FL_OF | FL_ZF, FL_DF | FL_AC | FL_NT | FL_ID | FL_SF};

static void way_out(const struct way *way, uint32_t flags)
{
	uint32_t kept = FL_HARDWARE | FL_AC | FL_NT;

	guest_code(way->bytes, way->len);
	aim(flags | way->add_flags);
	world_run();
	monitor_is_clean();
	CHECK_EQ(w->reason, way->reason);
	CHECK_EQ(w->site, way->signal);
	CHECK_EQ(w->eflags & kept, (flags | way->add_flags) & kept);
	registers_came_back();
	if (way->reason == WORLD_PAD)
		return;
	CHECK_EQ(w->eip, CODE + way->eip);
	CHECK_EQ(w->cs, ABI_HOST_CS32);
	if (way->signal != SIGSYS)
		CHECK_EQ(w->trapno, way->trapno);
}

NATIVE_TEST(every_way_out_with_every_flag)
{
	static char text[64];

	start();
	stop_system_calls();
	for (size_t i = 0; i < ARRAY_LEN(ways); i++)
		for (size_t f = 0; f < ARRAY_LEN(flag_sets); f++) {
			snprintf(text, sizeof(text), "%s with flags %#x", ways[i].name, flag_sets[f]);
			native_case = text;
			way_out(&ways[i], flag_sets[f]);
		}
}

/* The trap comes behind the far jump, in the landing pad's 64-bit code. */
NATIVE_TEST(trap_flag_follows_through_a_pad)
{
	start();
	for (size_t f = 0; f < ARRAY_LEN(flag_sets); f++) {
		guest_code(ways[0].bytes, ways[0].len);
		aim(flag_sets[f] | FL_TF);
		world_run();
		monitor_is_clean();
		CHECK_EQ(w->reason, WORLD_PAD);
		CHECK_EQ(w->site, SITE);
		registers_came_back();
	}
}

NATIVE_TEST(trap_flag_steps_one_instruction)
{
	start();
	GUEST_CODE("\x90\x90\x90");
	for (size_t f = 0; f < ARRAY_LEN(flag_sets); f++) {
		aim(flag_sets[f] | FL_TF);
		world_run();
		monitor_is_clean();
		CHECK_EQ(w->reason, WORLD_SIGNAL);
		CHECK_EQ(w->trapno, EXC_DB);
		CHECK_EQ(w->eip, CODE + 1);
		registers_came_back();
	}
}

NATIVE_TEST(gate_call_leaves_its_frame_on_the_stack)
{
	start();
	GUEST_CODE("\x9a\x80\x10\x00\xf8\x33\x00"); /* lcall $0x33, $gate */
	aim(FL_DF | FL_CF);
	world_run();
	monitor_is_clean();
	CHECK_EQ(w->reason, WORLD_CALL);
	CHECK_EQ(w->gpr[REG_SP], GUEST_STACK - 8);
	CHECK_EQ(*(uint32_t *)(code + 0x2000 - 8), CODE + 7);
	CHECK_EQ(*(uint16_t *)(code + 0x2000 - 4), ABI_HOST_CS32);
}

/* --- segments ---------------------------------------------------------------------------------------------- */

static uint16_t ldt_entry(unsigned n, uint32_t base, uint32_t limit, unsigned contents)
{
	struct user_desc d = {.entry_number = n,
			      .base_addr = base,
			      .limit = limit,
			      .seg_32bit = 1,
			      .contents = contents,
			      .useable = 1};

	CHECK(host_modify_ldt(&d, sizeof(d)) == 0);
	return (uint16_t)(n << 3 | 7);
}

NATIVE_TEST(segments_go_in_and_come_out)
{
	static const struct way *const both[] = {&ways[0], &ways[2]};
	uint16_t tls, es;

	start();
	tls = ldt_entry(10, CODE, 0xffff, MODIFY_LDT_CONTENTS_DATA);
	es = ldt_entry(11, CODE + 0x1000, 0xfff, MODIFY_LDT_CONTENTS_DATA);
	for (size_t i = 0; i < 2; i++) {
		uint8_t bytes[32] = "\x65\x8b\x1d\x00\x10\x00\x00"  /* mov %gs:0x1000, %ebx */
				    "\x26\x03\x1d\x00\x00\x00\x00"  /* add %es:0, %ebx */
				    "\x64\x03\x1d\x00\x10\x00\x00"; /* add %fs:0x1000, %ebx */

		memcpy(bytes + 21, both[i]->bytes, both[i]->len);
		guest_code(bytes, sizeof(bytes));
		*(uint32_t *)(code + 0x1000) = 0x100;
		aim(0);
		w->fs = w->gs = tls;
		w->es = es;
		world_run();
		monitor_is_clean();
		CHECK_EQ(w->reason, both[i]->reason);
		CHECK_EQ(w->gpr[REG_BX], 0x300);
		CHECK_EQ(w->fs, tls);
		CHECK_EQ(w->gs, tls);
		CHECK_EQ(w->es, es);
		CHECK_EQ(w->ds, ABI_HOST_DS);
	}
}

/* A landing pad and a fault while SS is a 16-bit or a based segment, as in Linux's espfix. */
NATIVE_TEST(leaves_on_a_foreign_stack_segment)
{
	static const struct way *const both[] = {&ways[0], &ways[2]};
	uint16_t ss;

	start();
	ss = ldt_entry(12, CODE, 0xffff, MODIFY_LDT_CONTENTS_DATA);
	for (size_t i = 0; i < 2; i++) {
		guest_code(both[i]->bytes, both[i]->len);
		aim(0);
		w->ss = ss;
		w->iret.ss = ss;
		w->iret.rsp = 0x2000;
		world_run();
		monitor_is_clean();
		CHECK_EQ(w->reason, both[i]->reason);
		CHECK_EQ(w->gpr[REG_SP], 0x2000);
		CHECK_EQ(w->ss, ss);
	}
}

/* IRETQ itself faults; the guest must look as if it had arrived. */
NATIVE_TEST(entry_beyond_the_code_limit)
{
	uint16_t cs;

	start();
	cs = ldt_entry(13, 0, 0xfff, MODIFY_LDT_CONTENTS_CODE);
	for (size_t f = 0; f < ARRAY_LEN(flag_sets); f++) {
		aim(flag_sets[f]);
		w->cs = cs;
		w->iret.cs = cs;
		world_run();
		monitor_is_clean();
		CHECK_EQ(w->reason, WORLD_SIGNAL);
		CHECK_EQ(w->trapno, EXC_GP);
		CHECK_EQ(w->eip, CODE);
		CHECK_EQ(w->cs, cs);
		CHECK_EQ(w->eflags & (FL_HARDWARE | FL_AC | FL_NT), flag_sets[f]);
		registers_came_back();
	}
}

/* --- vector state ------------------------------------------------------------------------------------------ */

static uint8_t __attribute__((aligned(64))) state_in[16384], state_out[16384], state_back[16384];

static void cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
	__asm__("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub));
}

#define XSAVE(to) "mov $-1, %%eax; mov $-1, %%edx; xsave64 " to "(%%rip)\n\t"

/* Load unusual state, run the guest, and save what is there then. */
static void run_with_state(bool avx, bool avx512)
{
	static uint8_t pattern[64 * 32];
	static const uint32_t mxcsr = 0x0000a015; /* PM, UM, FZ; IE, DE.. flags; the rest unmasked */
	static const uint16_t fcw = 0x037b;	  /* ZM clear */

	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 7 + 3);
	if (avx512)
		__asm__ volatile(
		    "vmovdqu64 (%0), %%zmm0; vmovdqu64 64(%0), %%zmm7; vmovdqu64 128(%0), %%zmm15\n\t"
		    "vmovdqu64 192(%0), %%zmm31; mov $0x55, %%eax; kmovw %%eax, %%k1" ::"r"(pattern)
		    : "rax", "memory");
	else if (avx)
		__asm__ volatile(
		    "vmovdqu (%0), %%ymm0; vmovdqu 64(%0), %%ymm7; vmovdqu 128(%0), %%ymm15" ::"r"(pattern));
	else
		__asm__ volatile("movdqu (%0), %%xmm0; movdqu 64(%0), %%xmm7" ::"r"(pattern));
	__asm__ volatile(
	    "fninit; fld1; fldpi; fldcw %0; fldz; fdivrp %%st, %%st(1)\n\t" /* #MF is pending now */
	    "ldmxcsr %1\n\t" ::"m"(fcw),
	    "m"(mxcsr));
	__asm__ volatile(XSAVE("%c0") "call world_run\n\t" XSAVE("%c1")
			 :
			 : "i"(state_in), "i"(state_out)
			 : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
	__asm__ volatile("fninit; ldmxcsr %0" ::"m"(*(const uint32_t[]){0x1f80}));
}

static void same_bytes(const uint8_t *a, const uint8_t *b, uint32_t from, uint32_t size, const char *what)
{
	for (uint32_t i = from; i < from + size; i++)
		if (a[i] != b[i])
			native_fail(__FILE__, __LINE__, "%s differs at byte %u: %#x, was %#x", what, i - from,
				    b[i], a[i]);
}

/* All but the instruction and data pointers, which hosts may drop. */
static void same_state(const uint8_t *a, const uint8_t *b, bool avx, bool avx512)
{
	static const struct {
		unsigned component;
		const char *name;
	} parts[] = {{2, "YMM"}, {5, "opmask"}, {6, "ZMM high"}, {7, "ZMM16 to 31"}};
	uint32_t r[4];

	same_bytes(a, b, 0, 4, "x87 control and status");
	same_bytes(a, b, 24, 4, "MXCSR");
	same_bytes(a, b, 32, 128, "x87 registers");
	same_bytes(a, b, 160, 256, "XMM");
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (!(i ? avx512 : avx))
			continue;
		cpuid(0xd, parts[i].component, r);
		same_bytes(a, b, r[1], r[0], parts[i].name);
	}
}

NATIVE_TEST(vector_state_survives)
{
	bool avx = __builtin_cpu_supports("avx"), avx512 = __builtin_cpu_supports("avx512f");

	start();
	stop_system_calls();
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		static const uint32_t clean_mxcsr = 0x1f80;
		uint32_t mxcsr;
		uint16_t fsw, fcw;

		native_case = ways[i].name;
		guest_code(ways[i].bytes, ways[i].len);
		aim(FL_DF | FL_NT | ways[i].add_flags);
		memset(state_in, 0, sizeof(state_in));
		memset(state_out, 0, sizeof(state_out));
		memset(state_back, 0, sizeof(state_back));
		run_with_state(avx, avx512);
		CHECK_EQ(w->reason, ways[i].reason);
		CHECK_EQ(*(uint16_t *)(state_in + 2) & 0x8000, 0x8000); /* busy: the exception is pending */
		same_state(state_in, state_out, avx, avx512);

		/* Guard: libc gets a clean unit. Restore: the guest gets its own, once. */
		__asm__ volatile("mov $-1, %%eax; mov $-1, %%edx; xrstor64 %0" ::"m"(state_in)
				 : "rax", "rdx");
		world_fpu_guard();
		__asm__ volatile("stmxcsr %0; fnstsw %1; fnstcw %2" : "=m"(mxcsr), "=m"(fsw), "=m"(fcw));
		CHECK_EQ(mxcsr, clean_mxcsr);
		CHECK_EQ(fsw, 0);
		CHECK_EQ(fcw, 0x37f);
		world_fpu_guard();
		__asm__ volatile("pxor %%xmm0, %%xmm0" ::: "xmm0");
		world_fpu_restore();
		__asm__ volatile(XSAVE("%c0")::"i"(state_back) : "rax", "rdx", "memory");
		__asm__ volatile("fninit; ldmxcsr %0" ::"m"(clean_mxcsr));
		same_state(state_in, state_back, avx, avx512);
		CHECK(!vm->vmm->world.fpu_saved);
		monitor_is_clean();
	}
}

/* --- kicks ------------------------------------------------------------------------------------------------- */

/* The guest counts and spins: only a kick ends it. */
static const char spin[] = "\xff\x05\x00\x90\x04\x08\xeb\xfe"; /* incl 0x8049000; jmp . */

static uint32_t counted(void)
{
	return *(volatile uint32_t *)(code + 0x1000);
}

NATIVE_TEST(kick_before_entry)
{
	start();
	GUEST_CODE(spin);
	for (size_t f = 0; f < ARRAY_LEN(flag_sets); f++) {
		aim(flag_sets[f]);
		raise(SIGUSR1);
		world_run();
		monitor_is_clean();
		CHECK_EQ(w->reason, WORLD_KICK);
		CHECK_EQ(counted(), 0); /* nothing of the guest ran */
		registers_came_back();
	}
}

NATIVE_TEST(kick_in_the_guest)
{
	pid_t self = getpid(), kicker;

	start();
	GUEST_CODE(spin);
	for (size_t f = 0; f < ARRAY_LEN(flag_sets); f++) {
		*(uint32_t *)(code + 0x1000) = 0;
		aim(flag_sets[f]);
		kicker = fork();
		if (!kicker) {
			while (!counted())
				;
			kill(self, SIGUSR1);
			_exit(0);
		}
		world_run();
		monitor_is_clean();
		CHECK_EQ(w->reason, WORLD_KICK);
		CHECK_EQ(w->eip, CODE + 6);
		CHECK_EQ(counted(), 1);
		CHECK_EQ(w->eflags & (FL_DF | FL_AC | FL_NT | FL_ID),
			 flag_sets[f] & (FL_DF | FL_AC | FL_NT | FL_ID));
		registers_came_back();
		CHECK(waitpid(kicker, NULL, 0) == kicker);
	}
}

static void entered_and_kicked(void)
{
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	for (;;) {
		aim(FL_AC | FL_DF);
		raise(SIGSTOP);
		world_run();
		monitor_is_clean();
		CHECK_EQ(w->reason, WORLD_KICK);
		registers_came_back();
	}
}

static uint64_t step(pid_t pid, int deliver)
{
	struct user_regs_struct regs;
	int status;

	CHECK(ptrace(PTRACE_SINGLESTEP, pid, 0, deliver) == 0);
	CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
	CHECK(ptrace(PTRACE_GETREGS, pid, 0, &regs) == 0);
	return regs.rip;
}

/* The kick arrives in front of the k-th instruction of world_run(), for every k up to its IRETQ. */
NATIVE_TEST(kick_at_every_instruction_of_the_entry)
{
	int status;
	unsigned k, n;
	bool last = false;
	pid_t pid;

	start();
	GUEST_CODE(spin);
	pid = fork();
	if (!pid)
		entered_and_kicked();
	for (k = 0; !last; k++) {
		uint64_t rip;

		CHECK(waitpid(pid, &status, 0) == pid);
		if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGSTOP)
			native_fail(__FILE__, __LINE__, "the kick before instruction %u ended in status %#x",
				    k, status);
		CHECK(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_EXITKILL) == 0);
		while ((rip = step(pid, 0)) != (uintptr_t)world_run)
			;
		for (n = 0; n < k; n++)
			rip = step(pid, 0);
		last = rip == (uintptr_t)world_entry_iret;
		if (rip < (uintptr_t)world_entry_begin)
			CHECK_EQ(counted(), 0);
		CHECK(ptrace(PTRACE_CONT, pid, 0, SIGUSR1) == 0);
	}
	CHECK(k > 20);
	CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	CHECK_EQ(WSTOPSIG(status), SIGSTOP);
	CHECK_EQ(counted(), 0); /* no kick let the guest run first */
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* The gate runs on the guest's flags and, until PKRU is cleared, without any memory that it may touch. */
static void gate_code_touches_nothing(void **state)
{
	uint8_t gate[64];
	unsigned at = 0, wrpkru = 0;
	struct insn insn;

	(void)state;
	memset(gate, 0xcc, sizeof(gate));
	world_gate_code(gate, world_entry_begin, true);
	do {
		assert_true(insn_decode(&insn, gate + at, sizeof(gate) - at, at, 64) > 0);
		assert_false(insn.has_mem);
		assert_int_equal(insn.flags_written, 0);
		wrpkru += insn.op == OP_WRPKRU;
		at += insn.len;
	} while (insn.flow == FLOW_NEXT);
	assert_int_equal(insn.flow, FLOW_JMP_IND);
	assert_int_equal(wrpkru, 1);
}

static bool host_has_pku(void)
{
	uint32_t r[4];

	cpuid(7, 0, r);
	return r[2] & BIT(4);
}

/* PKRU = ~0: not even the monitor's stack could be read. */
NATIVE_TEST(out_with_every_protection_key_denied)
{
	static const char deny[] = "\x83\xc8\xff\x31\xc9\x31\xd2\x0f\x01\xef"; /* or $-1, %eax; ...; wrpkru */
	static char text[64];

	start();
	for (size_t i = 0; i < 4; i++) {
		char bytes[32];

		snprintf(text, sizeof(text), "%s with PKRU = ~0", ways[i].name);
		native_case = text;
		memcpy(bytes, deny, sizeof(deny) - 1);
		memcpy(bytes + sizeof(deny) - 1, ways[i].bytes, ways[i].len);
		guest_code(bytes, sizeof(deny) - 1 + ways[i].len);
		aim(0);
		world_run();
		monitor_is_clean();
		CHECK_EQ(w->reason, ways[i].reason);
		CHECK_EQ(w->gpr[REG_AX], 0xffffffff);
	}
}

static void out_with_every_protection_key(void **state)
{
	if (!host_has_pku()) {
		print_message("this host has no protection keys (OSPKE)\n");
		skip();
	}
	out_with_every_protection_key_denied(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_way_out_with_every_flag),
	    cmocka_unit_test(trap_flag_follows_through_a_pad),
	    cmocka_unit_test(trap_flag_steps_one_instruction),
	    cmocka_unit_test(gate_call_leaves_its_frame_on_the_stack),
	    cmocka_unit_test(segments_go_in_and_come_out),
	    cmocka_unit_test(leaves_on_a_foreign_stack_segment),
	    cmocka_unit_test(entry_beyond_the_code_limit),
	    cmocka_unit_test(vector_state_survives),
	    cmocka_unit_test(gate_code_touches_nothing),
	    cmocka_unit_test(out_with_every_protection_key),
	    cmocka_unit_test(kick_before_entry),
	    cmocka_unit_test(kick_in_the_guest),
	    cmocka_unit_test(kick_at_every_instruction_of_the_entry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
