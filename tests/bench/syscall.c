// SPDX-License-Identifier: GPL-3.0-or-later
/* One trip into the kernel and back: bare, with a little work, and by way of a signal handler. */
#include "tests/bench/bench.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_stat64
#define SYS_stat64 SYS_stat /* the 64-bit build */
#endif

/*
 * As the kernel has it. On i386 without a restorer: the handler returns through the vDSO's __kernel_sigreturn. A 64-bit
 * kernel demands one.
 */
struct kernel_sigaction {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	uint32_t mask[2];
};

static int fd;
static char buffer[4096];
static char path[128];

static void open_zero(void)
{
	fd = open("/dev/zero", O_RDWR);
	if (fd < 0)
		die("/dev/zero");
}

static void close_fd(void)
{
	close(fd);
}

static void read_1(unsigned n)
{
	while (n--)
		vsys(SYS_read, fd, (long)buffer, 1, 0, 0);
}

static void write_1(unsigned n)
{
	while (n--)
		vsys(SYS_write, fd, (long)buffer, 1, 0, 0);
}

static void read_4k(unsigned n)
{
	while (n--)
		vsys(SYS_read, fd, (long)buffer, sizeof buffer, 0, 0);
}

static void stat_setup(void)
{
	snprintf(path, sizeof path, "%s/stat", conf.dir);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	if (fd < 0)
		die(path);
	close(fd);
}

static void stat_run(unsigned n)
{
	while (n--)
		vsys(SYS_stat64, (long)path, (long)buffer, 0, 0,
		     0); /* the kernel's layout is not the C library's */
}

static void stat_teardown(void)
{
	unlink(path);
}

static void on_signal(int nr)
{
	bench_sink += (uint32_t)nr;
}

static void signal_setup(void)
{
	enum { RESTORER = 0x04000000 }; /* SA_RESTORER, which the C library keeps to itself */
	struct kernel_sigaction act = {
	    .handler = on_signal, .flags = signal_return ? RESTORER : 0, .restorer = signal_return};

	if (vsys(SYS_rt_sigaction, SIGUSR1, (long)&act, 0, 8, 0))
		die("rt_sigaction");
}

static void signal_run(unsigned n)
{
	long self = getpid();
	uint32_t before = bench_sink, want = before + n * SIGUSR1;

	while (n--)
		vsys(SYS_kill, self, SIGUSR1, 0, 0, 0);
	if (bench_sink != want)
		die("signal: some were not delivered");
}

static void signal_teardown(void)
{
	signal(SIGUSR1, SIG_DFL);
}

const struct row syscall_rows[] = {
    {.name = "null-vdso", .run = vsys_loop},
    {.name = "null-int80", .run = raw_loop, .possible = raw_possible},
    {.name = "read-1", .setup = open_zero, .run = read_1, .teardown = close_fd},
    {.name = "write-1", .setup = open_zero, .run = write_1, .teardown = close_fd},
    {.name = "read-4k", .setup = open_zero, .run = read_4k, .teardown = close_fd},
    {.name = "stat", .setup = stat_setup, .run = stat_run, .teardown = stat_teardown},
    {.name = "signal", .setup = signal_setup, .run = signal_run, .teardown = signal_teardown},
    {.name = NULL},
};
