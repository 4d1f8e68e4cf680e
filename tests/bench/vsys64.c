// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The system calls of the 64-bit build: by SYSCALL, as every 64-bit program makes them. int $0x80 from 64-bit code is
 * the host's i386 entry (its numbers, its truncated arguments), where the host has one.
 */
#include "tests/bench/bench.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { I386_GETPPID = 64 };

long vsys(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory", "cc");
	return ret;
}

static long int80(long nr)
{
	long ret;

	/* hosts before 4.17 leave zeros in r8 to r11 */
	__asm__ volatile("int $0x80" : "=a"(ret) : "a"(nr) : "r8", "r9", "r10", "r11", "memory", "cc");
	return ret;
}

/* In a process of its own: a host without the entry answers with SIGSEGV. */
bool raw_possible(void)
{
	pid_t parent = getpid(), pid = fork();
	int status;

	if (!pid)
		_exit(int80(I386_GETPPID) != parent);
	return pid > 0 && waitpid(pid, &status, 0) == pid && !status;
}

void vsys_loop(unsigned n)
{
	while (n--)
		vsys(SYS_getppid, 0, 0, 0, 0, 0);
}

void raw_loop(unsigned n)
{
	while (n--)
		int80(I386_GETPPID);
}

/* The x86-64 vDSO has no sigreturn: the C library brings its own, and so must who does without it. */
void signal_restorer(void);
void (*const signal_return)(void) = signal_restorer;
__asm__(".type signal_restorer, @function\n"
	"signal_restorer:\n"
	"	mov $15, %eax\n" /* rt_sigreturn */
	"	syscall\n");
