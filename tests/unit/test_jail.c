// SPDX-License-Identifier: GPL-3.0-or-later
/* Hostile 64-bit code in a jailed process: every system call number, both foreign ABIs, and mmap's arguments. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "monitor/vmm/host.h"
#include "monitor/vmm/types.h"
#include "monitor/vmx/jail.h"

#define X32_BIT 0x40000000L
#define LAST_NR 512
#define LOW_CODE 0x10000000ull

static struct jail jail;
static int ram_fd, notify_fd, timer_fd;

enum abi { ABI_64, ABI_X32, ABI_INT80, ABI_LOW };

/* System calls from below 4 GiB are the guest's: the filter must hand them over as SIGSYS. */
static void on_sigsys(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	host_exit(info->si_code == 1 /* SYS_SECCOMP */ ? 77 : 78);
}

static long call(enum abi abi, long nr, const long a[6])
{
	long ret;

	switch (abi) {
	case ABI_64:
		return host_syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	case ABI_X32:
		return host_syscall6(nr | X32_BIT, a[0], a[1], a[2], a[3], a[4], a[5]);
	case ABI_INT80:
		__asm__ volatile("int $0x80"
				 : "=a"(ret)
				 : "a"(nr), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
				 : "r8", "r9", "r10", "r11", "memory");
		return ret;
	default:
		__asm__ volatile("call *%2" : "=a"(ret) : "a"(nr), "r"(LOW_CODE) : "rcx", "r11", "memory");
		return ret;
	}
}

/* The wait status of a jailed child that makes one call and then leaves with status 0. */
static int try(enum abi abi, long nr, const long a[6], bool handle)
{
	struct sigaction on = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO};
	struct diag d = {""};
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		sigaction(SIGSYS, handle ? &on : &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
		if (jail_enter(&jail, &d))
			_exit(99);
		call(abi, nr, a);
		host_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 99);
	return status;
}

static bool allowed(int status)
{
	return !(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static bool may(long nr, long a, long b, long c, long d, long e, long f)
{
	return allowed(try(ABI_64, nr, (const long[]){a, b, c, d, e, f}, false));
}

static void only_these_numbers(void **state)
{
	/* With all arguments zero; write and mmap need theirs. */
	static const long survivors[] = {SYS_mprotect,	  SYS_munmap,	      SYS_madvise,
					 SYS_futex,	  SYS_rt_sigreturn,   SYS_rt_sigprocmask,
					 SYS_sched_yield, SYS_clock_gettime,  SYS_exit_group,
					 SYS_modify_ldt,  SYS_restart_syscall};
	static const long zero[6];

	(void)state;
	for (long nr = 0; nr <= LAST_NR; nr++) {
		bool want = false;

		/* uretprobe, uprobe: Linux 6.14 and later lets them pass all filters; they fail unless a probe is set. */
		if (nr == 335 || nr == 336)
			continue;
		for (size_t i = 0; i < sizeof(survivors) / sizeof(survivors[0]); i++)
			want |= nr == survivors[i];
		if (allowed(try(ABI_64, nr, zero, false)) != want)
			fail_msg("system call %ld: %s", nr, want ? "forbidden" : "allowed");
	}
}

static void no_foreign_abi(void **state)
{
	static const long zero[6];

	(void)state;
	for (long nr = 0; nr <= LAST_NR; nr++) {
		if (allowed(try(ABI_X32, nr, zero, false)))
			fail_msg("x32 system call %ld went through", nr);
		if (allowed(try(ABI_INT80, nr, zero, false)))
			fail_msg("int $0x80 with %ld went through", nr);
	}
}

/* Does INT 0x80 enter the host's kernel at all? Without ia32 emulation it is #GP, jail or no jail. */
static bool host_has_int80(void)
{
	static const long zero[6];
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		call(ABI_INT80, 20, zero);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status);
}

/* What the VMM relies on: SIGSYS that can be handled, not death. */
static void foreign_calls_are_handed_over(void **state)
{
	static const long zero[6];
	int status;

	(void)state;
	if (!host_has_int80()) {
		print_message("this host has no ia32 emulation: int $0x80 is #GP\n");
		skip();
	}
	status = try(ABI_INT80, 20, zero, true);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 77);
}

static void calls_from_guest_addresses_are_handed_over(void **state)
{
	static const uint8_t code[] = {0x0f, 0x05, 0xc3}; /* syscall; ret */
	static const long zero[6];
	void *low = mmap((void *)LOW_CODE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	int status;

	(void)state;
	if (low == MAP_FAILED)
		skip(); /* a sanitizer's shadow may stand there */
	memcpy(low, code, sizeof(code));
	status = try(ABI_LOW, SYS_sched_yield, zero, true);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 77);
	munmap(low, 4096);
}

static void mapping_arguments(void **state)
{
	const long at = 0x20000000, flags = MAP_SHARED | MAP_FIXED, rw = PROT_READ | PROT_WRITE;

	(void)state;
	assert_true(may(SYS_mmap, at, 4096, rw, flags, ram_fd, 0));
	assert_true(may(SYS_mmap, 0xfffff000, 4096, rw | PROT_EXEC, flags, ram_fd, 0));
	assert_true(may(SYS_mmap, at, 4096, rw, flags | MAP_POPULATE, ram_fd, 0));
	assert_false(may(SYS_mmap, at, 4096, rw, flags | MAP_LOCKED, ram_fd, 0));
	assert_false(may(SYS_mmap, at, 4096, rw, flags, notify_fd, 0));
	assert_false(may(SYS_mmap, at, 4096, rw, flags, -1, 0));
	assert_false(may(SYS_mmap, at, 4096, rw, flags | MAP_ANONYMOUS, ram_fd, 0));
	assert_false(may(SYS_mmap, at, 4096, rw, MAP_SHARED, ram_fd, 0));
	assert_false(may(SYS_mmap, at, 4096, rw, MAP_PRIVATE | MAP_FIXED, ram_fd, 0));
	assert_false(may(SYS_mmap, 1l << 32, 4096, rw, flags, ram_fd, 0));
	assert_false(may(SYS_mmap, (long)&jail & ~4095l, 4096, rw, flags, ram_fd, 0));
	assert_false(may(SYS_mmap, at, (1l << 32) + 4096, rw, flags, ram_fd, 0));
	assert_false(may(SYS_mmap, at, 4096, rw | 0x01000000 /* PROT_GROWSDOWN */, flags, ram_fd, 0));
	/* the long engine's window, and nothing beside it */
	assert_true(may(SYS_mmap, (long)LONG_WINDOW, 4096, rw, flags, ram_fd, 0));
	assert_true(may(SYS_mmap, (long)LONG_WINDOW + 0xfffff000, 4096, rw, flags, ram_fd, 0));
	assert_false(may(SYS_mmap, (long)LONG_WINDOW, 4096, rw, flags, notify_fd, 0));
	assert_false(may(SYS_mmap, (long)LONG_WINDOW - 4096, 4096, rw, flags, ram_fd, 0));
	assert_false(may(SYS_mmap, (long)LONG_WINDOW + (1l << 32), 4096, rw, flags, ram_fd, 0));
	assert_false(may(SYS_mprotect, (long)LONG_BASE, 4096, rw, 0, 0, 0));
	assert_true(may(SYS_munmap, (long)LONG_WINDOW, 4096, 0, 0, 0, 0));
	assert_true(may(SYS_mprotect, at, 4096, PROT_EXEC, 0, 0, 0));
	assert_false(may(SYS_mprotect, (long)&jail & ~4095l, 4096, PROT_EXEC, 0, 0, 0));
	assert_true(may(SYS_munmap, at, 4096, 0, 0, 0, 0));
	assert_false(may(SYS_munmap, (long)&jail & ~4095l, 4096, 0, 0, 0, 0));
	assert_false(may(SYS_madvise, (long)&jail & ~4095l, 4096, MADV_DONTNEED, 0, 0, 0));
}

static void other_arguments(void **state)
{
	static const struct itimerspec off;
	static const uint64_t one = 1;
	uint32_t word = 0;

	(void)state;
	assert_true(may(SYS_write, notify_fd, (long)&one, 8, 0, 0, 0));
	assert_false(may(SYS_write, 1, (long)"", 0, 0, 0, 0));
	assert_false(may(SYS_write, ram_fd, (long)&one, 8, 0, 0, 0));
	assert_true(may(SYS_timerfd_settime, timer_fd, 0, (long)&off, 0, 0, 0));
	assert_false(may(SYS_timerfd_settime, timer_fd, TFD_TIMER_ABSTIME, (long)&off, 0, 0, 0));
	assert_false(may(SYS_timerfd_settime, notify_fd, 0, (long)&off, 0, 0, 0));
	assert_true(may(SYS_futex, (long)&word, FUTEX_WAKE, 1, 0, 0, 0));
	assert_true(may(SYS_futex, (long)&word, FUTEX_WAIT, 1, 0, 0, 0));
	assert_false(may(SYS_futex, (long)&word, FUTEX_REQUEUE, 1, 1, (long)&word, 0));
	assert_false(may(SYS_futex, (long)&word, FUTEX_LOCK_PI, 0, 0, 0, 0));
}

static int setup(void **state)
{
	struct diag d = {""};

	(void)state;
	ram_fd = memfd_create("test", 0);
	notify_fd = eventfd(0, 0);
	timer_fd = timerfd_create(CLOCK_MONOTONIC, 0);
	return ftruncate(ram_fd, 1 << 20) || jail_compile(&jail, ram_fd, notify_fd, timer_fd, -1, &d);
}

static int teardown(void **state)
{
	(void)state;
	jail_free(&jail);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(only_these_numbers),
	    cmocka_unit_test(no_foreign_abi),
	    cmocka_unit_test(foreign_calls_are_handed_over),
	    cmocka_unit_test(calls_from_guest_addresses_are_handed_over),
	    cmocka_unit_test(mapping_arguments),
	    cmocka_unit_test(other_arguments),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
