// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The benchmark program: the same static i386 binary runs natively on the host and as the first process of a
 * guest; hosts that execute no 32-bit code get a 64-bit build, for orientation. One line a row, `name<TAB>nanoseconds`. A row finds its own number of repetitions, those that take a tenth of
 * the budget, and prints the fastest of eight such passes: what else runs on the host can only make a pass slower.
 * (A pass is long enough, 25 ms as a rule, to hold the guest's own timer ticks.)
 *
 *	bench [-m MS | -n PASSES] [-b MIB] [-d DIR] [-x BUSYBOX] [--] [ROW... | -ROW...]
 *	bench --list | --exit
 */
#include "tests/bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct bench_conf conf = {.dir = "/dev/shm", .budget_ms = 250, .big_mib = 64};
volatile uint32_t bench_sink;
static int failed;

static const struct row *const lists[] = {compute_rows, syscall_rows, memory_rows,
					  process_rows, ring_rows,    file_rows};

_Noreturn void die(const char *what)
{
	perror(what);
	if (getpid() == 1)
		init_power_off();
	_exit(1);
}

/* xorshift: the same sequence everywhere */
uint32_t bench_random(uint32_t *state)
{
	uint32_t x = *state;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return *state = x;
}

unsigned big_pages(void)
{
	return conf.big_mib << 8;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint64_t timed(const struct row *r, unsigned n)
{
	uint64_t start = now_ns();

	r->run(n);
	return now_ns() - start + 1;
}

static unsigned calibrate(const struct row *r, uint64_t want)
{
	unsigned n = 1;

	for (;;) {
		uint64_t t = timed(r, n), next;

		if (t >= want - want / 4 || r->whole_big || n >= 1u << 30)
			return n;
		next = (uint64_t)n * want / t;
		n = next > 10ull * n ? 10 * n : next > n ? next : n + 1; /* a short first run tells little */
	}
}

static void measure(const struct row *r)
{
	unsigned passes = conf.passes	 ? 1
			  : r->whole_big ? 3
					 : 8,
		 per = r->per	      ? r->per
		       : r->whole_big ? big_pages()
				      : 1,
		 n, i;
	uint64_t best = UINT64_MAX, t;

	if (r->setup)
		r->setup();
	n = conf.passes ? conf.passes : calibrate(r, conf.budget_ms * 1000000ull / 10);
	for (i = 0; i < passes; i++) {
		t = timed(r, n);
		best = t < best ? t : best;
	}
	if (r->teardown)
		r->teardown();
	printf("%s\t%.2f\n", r->name, (double)best / n / per);
	fflush(stdout);
}

/* In a process of its own: a row that fails, or that a monitor's fault kills, does not take the others with it. */
static void measure_apart(const struct row *r)
{
	int status = -1;
	pid_t pid;

	if (r->possible && !r->possible()) {
		printf("%s\t-\n", r->name);
		fflush(stdout);
		return;
	}
	pid = fork();
	if (!pid) {
		measure(r);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status) {
		printf("%s\tfailed, status %#x\n", r->name, (unsigned)status);
		fflush(stdout);
		failed = 1;
	}
}

/* The beginning of a name picks rows, with a minus sign before it leaves them out. */
static bool wanted(const struct row *r, char **names)
{
	bool picked = true;
	unsigned i;

	for (i = 0; names[i]; i++)
		if (names[i][0] != '-')
			picked = false;
	for (i = 0; names[i]; i++) {
		if (names[i][0] == '-' && !strncmp(r->name, names[i] + 1, strlen(names[i] + 1)))
			return false;
		if (!strncmp(r->name, names[i], strlen(names[i])))
			picked = true;
	}
	return picked;
}

static void each_row(void (*act)(const struct row *), char **names)
{
	const struct row *r;
	unsigned i;

	for (i = 0; i < sizeof lists / sizeof lists[0]; i++)
		for (r = lists[i]; r->name; r++)
			if (wanted(r, names))
				act(r);
}

static void list(const struct row *r)
{
	puts(r->name);
}

static unsigned number(const char *text, unsigned standard)
{
	unsigned n = text ? strtoul(text, NULL, 10) : 0;

	return n ? n : standard;
}

/* Linux hands what it does not know of its command line to the first process: NAME=VALUE as variables. */
static _Noreturn void guest_main(void)
{
	static char names[256], *rows[32];
	const char *mode = getenv("bench"), *pick = getenv("rows");
	unsigned n = 0;

	init_mounts();
	puts("BENCH-INIT");
	fflush(stdout);
	if (mode && !strcmp(mode, "idle"))
		for (;;)
			pause();
	conf.dir = "/t";
	conf.self = "/init";
	conf.busybox = access("/bin/busybox", X_OK) ? NULL : "/bin/busybox";
	conf.budget_ms = number(getenv("budget"), conf.budget_ms);
	conf.big_mib = number(getenv("big"), conf.big_mib);
	conf.passes = number(getenv("passes"), 0);
	snprintf(names, sizeof names, "%s", pick ? pick : "");
	for (char *p = strtok(names, ","); p && n < 31; p = strtok(NULL, ","))
		rows[n++] = p;
	each_row(measure_apart, rows);
	puts("BENCH-DONE");
	init_power_off();
}

int main(int argc, char **argv)
{
	int c;

	if (argc > 1 && !strcmp(argv[1], "--exit"))
		_exit(0);
	if (getpid() == 1)
		guest_main();
	if (argc > 1 && !strcmp(argv[1], "--list")) {
		each_row(list, argv + 2);
		return 0;
	}
	conf.self = argv[0];
	while ((c = getopt(argc, argv, "m:n:b:d:x:")) != -1) {
		if (c == 'm')
			conf.budget_ms = number(optarg, conf.budget_ms);
		else if (c == 'n')
			conf.passes = number(optarg, 0);
		else if (c == 'b')
			conf.big_mib = number(optarg, conf.big_mib);
		else if (c == 'd')
			conf.dir = optarg;
		else if (c == 'x')
			conf.busybox = optarg;
		else
			return 2;
	}
	each_row(measure_apart, argv + optind);
	return failed;
}
