// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What a debugger does to a program in a handler, asked to run to its end: a breakpoint at the return address, which is the
 * vDSO's (the kernel gives the program a copy of the page for that), steps from there, and then it lets go.
 */
#include "tests/unwind/unwind.h"

#include <errno.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STEPS_MAX = 100, SIGNALS = 5, CALLS = 20, RAW = 200 };

static volatile unsigned handled;

static void handler(int sig)
{
	(void)sig;
	handled++;
}

/* Often enough for the direct engine to run its program as blocks for a while. */
static void raw_calls(void)
{
	for (unsigned i = 0; i < RAW; i++) {
		long ret = SYS_getppid;

		__asm__ volatile("int $0x80" : "+a"(ret) : : "memory");
	}
}

/* The status is what it has come to: all signals handled, all system calls made. */
static void program(const struct way *way)
{
	int parent = getppid();

	handle(SIGUSR1, handler, way);
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	for (unsigned i = 0; i < SIGNALS; i++)
		raise(SIGUSR1);
	raw_calls();
	for (unsigned i = 0; i < CALLS; i++)
		handled += getppid() == parent;
	_exit((int)handled);
}

static struct user_regs_struct registers(pid_t child)
{
	struct user_regs_struct r;

	if (ptrace(PTRACE_GETREGS, child, NULL, &r))
		die("PTRACE_GETREGS");
	return r;
}

static void poke(pid_t child, uintptr_t at, long word)
{
	if (ptrace(PTRACE_POKETEXT, child, (void *)at, (void *)word))
		die("PTRACE_POKETEXT");
}

static int go_on(pid_t child, int how, int signal)
{
	int status;

	if (ptrace(how, child, NULL, (void *)(long)signal) || waitpid(child, &status, 0) != child)
		die("ptrace");
	return status;
}

static bool stopped_by(int status, int signal)
{
	return WIFSTOPPED(status) && WSTOPSIG(status) == signal;
}

/* Over the breakpoint at `at`, and on until the program is back in its own code. */
static void step_out(pid_t child, uintptr_t at, long word)
{
	struct user_regs_struct r = registers(child);
	uintptr_t was = at;

	printf(", hit %s", (uintptr_t)r.eip == at + 1 ? "at the entry" : "elsewhere");
	r.eip = (long)at;
	ptrace(PTRACE_SETREGS, child, NULL, &r);
	poke(child, at, word);
	for (unsigned i = 0; i < STEPS_MAX && ((was ^ at) & ~0xfffu) == 0; i++) {
		int status = go_on(child, PTRACE_SINGLESTEP, 0);

		if (!stopped_by(status, SIGTRAP)) {
			printf(", %x after a step", (unsigned)status);
			return;
		}
		was = (uintptr_t)registers(child).eip;
	}
	printf(", %s", ((was ^ at) & ~0xfffu) ? "stepped out of it" : "no way out");
}

static void trace(const struct way *way, const char *name)
{
	uintptr_t at = vdso_entry(name);
	pid_t child = fork();
	int status;
	long word;

	if (child < 0)
		die("fork");
	if (!child)
		program(way);
	if (waitpid(child, &status, 0) != child || !stopped_by(status, SIGSTOP))
		die("the program does not stop");
	printf("trace %s", name);
	status = go_on(child, PTRACE_CONT, 0);
	if (!stopped_by(status, SIGUSR1))
		die("no signal");
	errno = 0;
	word = ptrace(PTRACE_PEEKTEXT, child, (void *)at, NULL);
	if (errno)
		die("PTRACE_PEEKTEXT");
	poke(child, at, (word & ~0xffL) | 0xcc);
	status = go_on(child, PTRACE_CONT, SIGUSR1);
	if (stopped_by(status, SIGTRAP))
		step_out(child, at, word);
	status = go_on(child, PTRACE_CONT, 0);
	while (stopped_by(status, SIGUSR1))
		status = go_on(child, PTRACE_CONT, SIGUSR1);
	printf(", then status %x\n", (unsigned)status);
}

/*
 * With a stop at each system call: at sigreturn, EIP is behind its INT 0x80. It is put off (no such call), and EIP set to
 * the INT, as the kernel does to have a call made again.
 */
static void again(const struct way *way, const char *name, long number)
{
	uintptr_t entry = vdso_entry(name);
	pid_t child = fork();
	unsigned stops = 0, behind = 0;
	int status;

	if (child < 0)
		die("fork");
	if (!child)
		program(way);
	if (waitpid(child, &status, 0) != child)
		die("the program does not stop");
	do {
		struct user_regs_struct r;

		status = go_on(child, PTRACE_SYSCALL, stopped_by(status, SIGUSR1) ? SIGUSR1 : 0);
		if (!stopped_by(status, SIGTRAP))
			continue;
		r = registers(child);
		if (r.orig_eax != number || stops++)
			continue;
		behind = (unsigned)((uintptr_t)r.eip - entry);
		r.orig_eax = -1;
		ptrace(PTRACE_SETREGS, child, NULL, &r);
		go_on(child, PTRACE_SYSCALL, 0);
		r.eip -= 2;
		r.eax = number;
		ptrace(PTRACE_SETREGS, child, NULL, &r);
	} while (WIFSTOPPED(status));
	printf("trace %s: EIP +%u, made again, %u stops, then status %x\n", name, behind, stops,
	       (unsigned)status);
}

void test_trace(void)
{
	again(&ways[0], "__kernel_sigreturn", SYS_sigreturn);
	again(&ways[1], "__kernel_rt_sigreturn", SYS_rt_sigreturn);
	trace(&ways[0], "__kernel_sigreturn");
	trace(&ways[1], "__kernel_rt_sigreturn");
	trace(&ways[1], "__kernel_vsyscall");
}
