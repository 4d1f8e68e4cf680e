// SPDX-License-Identifier: GPL-3.0-or-later
/* What the files of the benchmark program share: a row, the clock, and system calls made as programs make them. */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

/*
 * One measured thing. run(n) does it n times; setup and teardown are outside the timer and may be NULL.
 * What is printed is the time of run(n) over n * per.
 */
struct row {
	const char *name;
	void (*setup)(void);
	void (*run)(unsigned n);
	void (*teardown)(void);
	unsigned per;		/* operations in one pass of run(1); 0 means 1 */
	bool whole_big;		/* a pass covers the whole big buffer: one is always enough */
	bool (*possible)(void); /* NULL: everywhere. Where it says no, the row is printed as "-" */
};

/* Where the program may write, what it executes, and how far it may go; all from main. */
struct bench_conf {
	const char *dir;     /* a directory on tmpfs */
	const char *self;    /* this program, to be executed with --exit */
	const char *busybox; /* a static one; without it there are no rows that need a shell */
	unsigned budget_ms;  /* for one row */
	unsigned big_mib;    /* size of the big buffers */
	unsigned passes;     /* not 0: this many times run(1), no calibration: for counting exits */
};

extern struct bench_conf conf;
extern volatile uint32_t bench_sink; /* results go here, so that no loop is optimised away */

/* Each list ends with a row whose name is NULL. */
extern const struct row compute_rows[], syscall_rows[], memory_rows[], process_rows[], ring_rows[],
    file_rows[];

_Noreturn void die(const char *what);
uint32_t bench_random(uint32_t *state);
unsigned big_pages(void);

/* As the first process of a guest: mount what the rows need, or stay idle for ever; power_off ends the machine. */
void init_mounts(void);
_Noreturn void init_power_off(void);

/*
 * System calls by way of AT_SYSINFO, as a dynamically linked program makes them (glibc's static code may use
 * int $0x80). At most five arguments: the sixth would be EBP. The result is the kernel's: -errno on error.
 * vsys64.c stands in for vsys.c in the 64-bit build.
 */
long vsys(long nr, long a, long b, long c, long d, long e);
void vsys_loop(unsigned n); /* getppid n times, nothing else in the loop */
void raw_loop(unsigned n);  /* the same by int $0x80 */
bool raw_possible(void);
extern void (*const signal_return)(void); /* NULL: handlers return through the vDSO */

#endif
