// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * One experiment in a forked child.
 *
 * Code, stack and memory of an experiment are three pages below 4 GiB, where compatibility mode reaches them, and far
 * pointers m16:32 do on AMD too. probe_enter loads the registers and jumps far to the code. The code is followed by a
 * far jump back, of bytes that mean the same in both modes since an experiment may end in the other one; whether it is
 * reached or the signal handler sends the child on, it comes to probe_resume in 64-bit mode, which trusts nothing but
 * RIP: it saves the registers, takes a stack of its own, and restores flags, FS base and callee-saved registers.
 *
 * The result stands in memory shared with the parent; a child that dies or hangs has simply not set `done`.
 */
#include "monitor/probe/child.h"

#include <asm/ldt.h>
#include <asm/prctl.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define RUNS 9
#define PAGE 4096
#define FLAGS_PLAIN 0x202 /* IF, and the bit that is always set */

/* Known to the assembly by name, therefore not static. */
struct probe_regs probe_before, probe_after;
struct far_pointer {
	uint32_t offset;
	uint16_t selector;
} probe_entry;
uint64_t probe_low_rsp, probe_rsp, probe_fs, probe_stack[64];
uint32_t probe_ds;
extern const char probe_resume[];
void probe_enter(void);

__asm__(".text\n"
	".globl probe_enter\n"
	"probe_enter:\n"
	"	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
	"	mov %rsp, probe_rsp(%rip)\n"
	"	mov probe_low_rsp(%rip), %rsp\n"
	"	mov probe_ds(%rip), %ecx\n"
	"	mov %ecx, %ds\n"
	"	mov %ecx, %es\n"
	"	mov probe_before+0(%rip), %rax\n"
	"	mov probe_before+8(%rip), %rcx\n"
	"	mov probe_before+16(%rip), %rdx\n"
	"	mov probe_before+24(%rip), %rbx\n"
	"	mov probe_before+32(%rip), %rsi\n"
	"	mov probe_before+40(%rip), %rdi\n"
	"	ljmpl *probe_entry(%rip)\n"
	".globl probe_resume\n"
	"probe_resume:\n"
	"	mov %rax, probe_after+0(%rip)\n"
	"	mov %rcx, probe_after+8(%rip)\n"
	"	mov %rdx, probe_after+16(%rip)\n"
	"	mov %rbx, probe_after+24(%rip)\n"
	"	mov %rsi, probe_after+32(%rip)\n"
	"	mov %rdi, probe_after+40(%rip)\n"
	"	lea probe_stack+512(%rip), %rsp\n"
	"	pushfq\n"
	"	pop probe_after+48(%rip)\n"
	"	pushq $0x202\n"
	"	popfq\n"
	"	mov $158, %eax\n" /* arch_prctl(ARCH_SET_FS): libc's thread pointer may be gone */
	"	mov $0x1002, %edi\n"
	"	mov probe_fs(%rip), %rsi\n"
	"	syscall\n"
	"	mov probe_rsp(%rip), %rsp\n"
	"	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbp\n	pop %rbx\n"
	"	ret\n");
_Static_assert(SYS_arch_prctl == 158 && ARCH_SET_FS == 0x1002 && FLAGS_PLAIN == 0x202, "the assembly above");
_Static_assert(offsetof(struct probe_regs, rflags) == 48 && sizeof(probe_stack) == 512, "the assembly above");

static struct probe_result *shared;
/* The pages of an experiment. Its end is a far jump to `back`, which leads on to probe_resume. */
static struct low {
	uint8_t code[PAGE - 32];
	uint8_t back[8];	    /* jmp *resume */
	struct far_pointer to_back; /* aligned, as EFLAGS.AC may be set */
	uint64_t resume, unused;
	uint8_t stack[PAGE];
	uint64_t scratch[PAGE / 8];
} * low;
_Static_assert(sizeof(struct low) == 3 * PAGE && offsetof(struct low, to_back) % 8 == 0, "whole pages");

static uint16_t own_cs(void)
{
	uint16_t cs;

	__asm__("mov %%cs, %0" : "=r"(cs));
	return cs;
}

/* Uses no thread-local storage: FS may be anything. */
static void __attribute__((no_stack_protector)) on_signal(int sig, siginfo_t *si, void *context)
{
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;

	(void)si;
	shared->trapped = true;
	shared->signo = sig;
	shared->vector = g[REG_TRAPNO];
	shared->error = g[REG_ERR];
	shared->rip = g[REG_RIP] - (greg_t)(uintptr_t)low;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & ~0xffffLL) | own_cs();
	g[REG_RIP] = (greg_t)(uintptr_t)probe_resume;
	g[REG_EFL] = FLAGS_PLAIN;
}

static uint64_t ticks(void)
{
	unsigned lo, hi;

	__asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi)::"memory");
	return (uint64_t)hi << 32 | lo;
}

static void catch_signals(void)
{
	static const int sigs[] = {SIGSEGV, SIGILL, SIGBUS, SIGFPE, SIGTRAP, SIGSYS};
	static uint8_t alt_stack[1 << 16];
	stack_t ss = {.ss_sp = alt_stack, .ss_size = sizeof(alt_stack)};
	struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

	sigaltstack(&ss, NULL);
	for (size_t i = 0; i < sizeof(sigs) / sizeof(*sigs); i++)
		sigaction(sigs[i], &sa, NULL);
}

/* A stack segment of user mode will do for data; a process in 64-bit mode may have null there. */
static uint32_t data_selector(unsigned width)
{
	uint32_t ds, ss;

	__asm__("mov %%ds, %0; mov %%ss, %1" : "=r"(ds), "=r"(ss));
	return width == 32 ? ss : ds;
}

static int map_low(void)
{
	low =
	    mmap(NULL, sizeof(*low), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (low == MAP_FAILED)
		return errno;
	memcpy(low->back, (uint8_t[]){0xff, 0x25, 10, 0, 0, 0}, 6); /* jmp *10(%rip) */
	_Static_assert(offsetof(struct low, resume) - offsetof(struct low, back) == 6 + 10, "the jump");
	low->resume = (uintptr_t)probe_resume;
	low->to_back = (struct far_pointer){(uint32_t)(uintptr_t)low->back, own_cs()};
	probe_low_rsp = (uintptr_t)low->scratch - 64;
	return 0;
}

/* Copy the code with its operand into the page and the jump behind it. */
static void write_code(const uint8_t *code, size_t len, const uint32_t *arg, unsigned arg_size)
{
	uint8_t far_jump[] = {0x2e, 0xff, 0x2c, 0x25,
			      0,    0,	  0,	0}; /* ljmp *%cs:disp32, by SIB: in neither mode (%rip) */
	uint32_t at = (uint32_t)(uintptr_t)&low->to_back;

	memcpy(far_jump + 4, &at, sizeof(at));
	mprotect(low, PAGE, PROT_READ | PROT_WRITE);
	memcpy(low->code, code, len);
	if (arg_size)
		memcpy(low->code + 1, arg, arg_size);
	memcpy(low->code + len, far_jump, sizeof(far_jump));
	mprotect(low, PAGE, PROT_READ | PROT_EXEC);
}

static uint64_t run_once(bool clock)
{
	uint64_t start;

	memset(low->scratch, 0, sizeof(low->scratch));
	memset(&probe_before, 0, sizeof(probe_before));
	probe_before.rsi = probe_before.rdi = probe_before.rbx = probe_before.rax = (uintptr_t)low->scratch;
	start = clock ? ticks() : 0;
	probe_enter();
	return clock ? ticks() - start : 0;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t median_run(bool clock)
{
	uint64_t t[RUNS];

	for (int i = 0; i < RUNS; i++)
		t[i] = run_once(clock);
	qsort(t, RUNS, sizeof(*t), by_value);
	return t[RUNS / 2];
}

int child_make_code32(void)
{
	struct user_desc flat = {.entry_number = CHILD_LDT_CODE32 >> 3,
				 .limit = 0xfffff,
				 .seg_32bit = 1,
				 .contents = MODIFY_LDT_CONTENTS_CODE,
				 .limit_in_pages = 1,
				 .useable = 1};

	return syscall(SYS_modify_ldt, 0x11, &flat, sizeof(flat)) ? errno : 0;
}

static int prepare(const struct experiment *e, uint16_t cs32)
{
	int err = map_low();

	if (err || syscall(SYS_arch_prctl, ARCH_GET_FS, &probe_fs))
		return err ? err : errno;
	if (e->width == 32 && cs32 == CHILD_LDT_CODE32)
		err = child_make_code32();
	probe_entry = (struct far_pointer){(uint32_t)(uintptr_t)low, e->width == 32 ? cs32 : own_cs()};
	probe_ds = data_selector(e->width);
	catch_signals();
	return err;
}

static void __attribute__((noreturn)) in_child(const struct experiment *e, uint32_t arg, uint16_t cs32)
{
	bool clock = e->op != 0 && !e->setup; /* a preparation may take RDTSC away */
	uint64_t empty, cost;

	shared->pid = getpid();
	shared->setup_errno = prepare(e, cs32);
	if (shared->setup_errno)
		_exit(0);
	shared->code = (uintptr_t)low;
	write_code(low->code, 0, NULL, 0);
	empty = median_run(clock);
	write_code(e->code, e->end - e->code, &arg, e->n_args ? e->arg_size : 0);
	shared->setup_errno = e->setup ? e->setup() : 0;
	if (!shared->setup_errno) {
		cost = median_run(clock);
		shared->cycles = cost > empty ? cost - empty : clock;
		shared->regs = probe_after;
		memcpy(shared->scratch, low->scratch, sizeof(shared->scratch));
	}
	shared->done = true;
	_exit(0);
}

static void wait_or_kill(pid_t pid, struct probe_result *r)
{
	struct pollfd p = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};

	if (p.fd < 0)
		shared->setup_errno = errno;
	if (p.fd < 0 || poll(&p, 1, PROBE_TIMEOUT_MS) != 1)
		kill(pid, SIGKILL);
	waitpid(pid, &r->wait_status, 0);
	if (p.fd >= 0)
		close(p.fd);
}

void child_run(const struct experiment *e, uint32_t arg, uint16_t cs32, struct probe_result *r)
{
	pid_t pid;

	memset(r, 0, sizeof(*r));
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		r->setup_errno = errno;
		return;
	}
	pid = fork();
	if (pid == 0)
		in_child(e, arg, cs32);
	if (pid < 0)
		shared->setup_errno = errno;
	else
		wait_or_kill(pid, r);
	shared->wait_status = r->wait_status;
	*r = *shared;
	munmap(shared, sizeof(*shared));
}

double child_ticks_per_us(void)
{
	static double known;
	struct timespec a, b;
	uint64_t t;

	if (known > 0)
		return known;
	clock_gettime(CLOCK_MONOTONIC, &a);
	t = ticks();
	do
		clock_gettime(CLOCK_MONOTONIC, &b);
	while ((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec < 5000000);
	t = ticks() - t;
	known = (double)t * 1000 / ((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec);
	return known;
}
