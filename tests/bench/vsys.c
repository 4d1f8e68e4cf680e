// SPDX-License-Identifier: GPL-3.0-or-later
/* System calls through the vDSO's __kernel_vsyscall (AT_SYSINFO) and by int $0x80. */
#include "tests/bench/bench.h"

#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

void (*const signal_return)(void) = NULL;
static unsigned long entry;

static void find_entry(void)
{
	if (entry)
		return;
	entry = getauxval(AT_SYSINFO);
	if (!entry)
		die("no AT_SYSINFO: the vDSO is disabled");
}

long vsys(long nr, long a, long b, long c, long d, long e)
{
	long ret;

	find_entry();
	__asm__ volatile("call *%1"
			 : "=a"(ret)
			 : "m"(entry), "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
			 : "memory", "cc");
	return ret;
}

bool raw_possible(void)
{
	return true;
}

void vsys_loop(unsigned n)
{
	unsigned long to;
	long ret;

	find_entry();
	to = entry;
	while (n--)
		__asm__ volatile("call *%1" : "=a"(ret) : "r"(to), "a"(SYS_getppid) : "memory", "cc");
}

void raw_loop(unsigned n)
{
	long ret;

	while (n--)
		__asm__ volatile("int $0x80" : "=a"(ret) : "a"(SYS_getppid) : "memory", "cc");
}
