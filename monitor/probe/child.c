// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * One experiment in a forked child.
 *
 * The code is copied to a page below 4 GiB (a far pointer m16:32 must reach it on AMD too), followed by a jump to
 * probe_resume. probe_enter loads the registers and jumps there. Whether the code runs through or the signal
 * handler sends it on, it comes to probe_resume, which trusts nothing but RIP: it saves the registers, takes a
 * stack of its own, and restores flags, FS base and callee-saved registers.
 *
 * The result stands in memory shared with the parent; a child that dies or hangs has simply not set `done`.
 */
#include "monitor/probe/child.h"

#include <asm/prctl.h>
#include <errno.h>
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
uint64_t probe_entry, probe_rsp, probe_fs, probe_stack[64];
extern const char probe_resume[];
void probe_enter(void);

__asm__(".text\n"
	".globl probe_enter\n"
	"probe_enter:\n"
	"	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
	"	mov %rsp, probe_rsp(%rip)\n"
	"	mov probe_before+0(%rip), %rax\n"
	"	mov probe_before+8(%rip), %rcx\n"
	"	mov probe_before+16(%rip), %rdx\n"
	"	mov probe_before+24(%rip), %rbx\n"
	"	mov probe_before+32(%rip), %rsi\n"
	"	mov probe_before+40(%rip), %rdi\n"
	"	jmp *probe_entry(%rip)\n"
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
static uint8_t *code_page;
static uint64_t scratch[PAGE / 8] __attribute__((aligned(64)));

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
	shared->rip = g[REG_RIP] - (greg_t)(uintptr_t)code_page;
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

/* Copy the code with its operand into the page and the jump behind it. */
static void write_code(const uint8_t *code, size_t len, const uint32_t *arg, unsigned arg_size)
{
	uint8_t jmp[] = {0xff, 0x25, 0, 0, 0, 0}; /* jmp *disp32(%rip) */
	int32_t disp = PAGE - 8 - (int32_t)(len + sizeof(jmp));
	uint64_t to = (uintptr_t)probe_resume;

	memcpy(jmp + 2, &disp, sizeof(disp)); /* to an aligned word: EFLAGS.AC may be set */
	mprotect(code_page, PAGE, PROT_READ | PROT_WRITE);
	memcpy(code_page, code, len);
	if (arg_size)
		memcpy(code_page + 1, arg, arg_size);
	memcpy(code_page + len, jmp, sizeof(jmp));
	memcpy(code_page + PAGE - 8, &to, sizeof(to));
	mprotect(code_page, PAGE, PROT_READ | PROT_EXEC);
}

static uint64_t run_once(bool clock)
{
	uint64_t start;

	memset(scratch, 0, sizeof(scratch));
	memset(&probe_before, 0, sizeof(probe_before));
	probe_before.rsi = probe_before.rdi = probe_before.rbx = probe_before.rax = (uintptr_t)scratch;
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

static void __attribute__((noreturn)) in_child(const struct experiment *e, uint32_t arg)
{
	bool clock = e->op != 0 && !e->setup; /* a preparation may take RDTSC away */
	uint64_t empty, cost;

	code_page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (code_page == MAP_FAILED || syscall(SYS_arch_prctl, ARCH_GET_FS, &probe_fs))
		_exit(1);
	probe_entry = (uintptr_t)code_page;
	catch_signals();
	write_code(code_page, 0, NULL, 0);
	empty = median_run(clock);
	write_code(e->code, e->end - e->code, &arg, e->n_args ? e->arg_size : 0);
	shared->setup_errno = e->setup ? e->setup() : 0;
	if (!shared->setup_errno) {
		cost = median_run(clock);
		shared->cycles = cost > empty ? cost - empty : clock;
		shared->regs = probe_after;
		memcpy(shared->scratch, scratch, sizeof(shared->scratch));
	}
	shared->done = true;
	_exit(0);
}

static void wait_or_kill(pid_t pid, struct probe_result *r)
{
	struct timespec nap = {.tv_nsec = 200000};

	for (long us = 0; waitpid(pid, &r->wait_status, WNOHANG) == 0; us += 200) {
		if (us > PROBE_TIMEOUT_MS * 1000L) {
			kill(pid, SIGKILL);
			waitpid(pid, &r->wait_status, 0);
			break;
		}
		nanosleep(&nap, NULL);
	}
}

void child_run(const struct experiment *e, uint32_t arg, struct probe_result *r)
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
		in_child(e, arg);
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
