// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 4.2: System calls of a worker
 *
 * The host system calls that a worker makes, as bare instructions: libc's wrappers touch errno, which lives
 * behind the FS base, and may use vector registers that hold guest state. The jail (vmx/jail.c) allows exactly
 * these. All return the kernel's value: >= 0, or -errno.
 */
#ifndef MONITOR_VMM_HOST_H
#define MONITOR_VMM_HOST_H

#include <linux/futex.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

static inline long host_syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

static inline long host_syscall3(long nr, long a, long b, long c)
{
	return host_syscall6(nr, a, b, c, 0, 0, 0);
}

#define HOST_POPULATE_MAX 0x10000u

/*
 * Map RAM memfd bytes at the host's address of a guest one; prot is PROT_*. A small mapping is made for an access that is
 * waiting: its pages are filled in at once, which costs less than the host's own fault.
 */
static inline long host_mmap(uint64_t at, uint64_t size, int prot, int fd, uint64_t offset)
{
	return host_syscall6(SYS_mmap, (long)at, (long)size, prot, MAP_SHARED | MAP_FIXED | (prot && size <= HOST_POPULATE_MAX ? MAP_POPULATE : 0),
			     fd, (long)offset);
}

static inline long host_munmap(uint64_t at, uint64_t size)
{
	return host_syscall3(SYS_munmap, (long)at, (long)size, 0);
}

static inline long host_mprotect(uint64_t at, uint64_t size, int prot)
{
	return host_syscall3(SYS_mprotect, (long)at, (long)size, prot);
}

static inline long host_futex_wait(_Atomic uint32_t *word, uint32_t while_equal, const struct timespec *timeout)
{
	return host_syscall6(SYS_futex, (long)word, FUTEX_WAIT, while_equal, (long)timeout, 0, 0);
}

static inline long host_futex_wake(_Atomic uint32_t *word)
{
	return host_syscall3(SYS_futex, (long)word, FUTEX_WAKE, 1);
}

static inline long host_modify_ldt(void *entry, unsigned long size)
{
	return host_syscall3(SYS_modify_ldt, 0x11, (long)entry, (long)size);
}

/* CLOCK_MONOTONIC, from now; 0 disarms. */
static inline long host_timer_set(int timerfd, uint64_t in_ns)
{
	struct itimerspec t = {.it_value = {(time_t)(in_ns / 1000000000), (long)(in_ns % 1000000000)}};

	return host_syscall6(SYS_timerfd_settime, timerfd, 0, (long)&t, 0, 0, 0);
}

static inline void host_notify(int eventfd)
{
	uint64_t one = 1;

	host_syscall3(SYS_write, eventfd, (long)&one, sizeof(one));
}

static inline void __attribute__((noreturn)) host_exit(int status)
{
	for (;;)
		host_syscall3(SYS_exit_group, status, 0, 0);
}

#endif
