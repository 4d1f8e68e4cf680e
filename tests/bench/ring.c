// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Several processes or threads, one running at a time: a byte goes round a ring of pipes. The members of the large
 * rings touch memory of their own at every turn, so that an address space that was put aside has to come back.
 */
#include "tests/bench/bench.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 20, THREADS = 8, RESIDENT = 32, PAGE = 4096, BLOCK = 65536 };

static int pipes[PROCESSES + 1][2];
static pid_t pids[PROCESSES];
static pthread_t threads[THREADS];
static unsigned members;
static uint8_t resident[RESIDENT * PAGE], block[BLOCK];
static __thread uint32_t turns;

static void open_pipes(unsigned n)
{
	unsigned i;

	members = n;
	for (i = 0; i <= n; i++)
		if (pipe(pipes[i]))
			die("pipe");
}

/* A member forwards from pipe i to pipe i + 1 until a zero byte has passed. */
static void member(unsigned i, unsigned pages)
{
	uint8_t token = 0;
	unsigned p;

	do {
		if (vsys(SYS_read, pipes[i][0], (long)&token, 1, 0, 0) != 1)
			break;
		for (p = 0; p < pages; p++)
			resident[p * PAGE]++;
		turns++;
		if (vsys(SYS_write, pipes[i + 1][1], (long)&token, 1, 0, 0) != 1)
			break;
	} while (token);
}

static void lap(uint8_t token)
{
	if (vsys(SYS_write, pipes[0][1], (long)&token, 1, 0, 0) != 1 ||
	    vsys(SYS_read, pipes[members][0], (long)&token, 1, 0, 0) != 1)
		die("ring");
}

static void laps(unsigned n)
{
	while (n--)
		lap(1);
}

static void close_pipes(void)
{
	unsigned i;

	for (i = 0; i <= members; i++) {
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
}

static void fork_members(unsigned n, unsigned pages)
{
	unsigned i;

	open_pipes(n);
	for (i = 0; i < n; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			die("fork");
		if (!pids[i]) {
			member(i, pages);
			_exit(0);
		}
	}
	lap(1);
}

static void reap_members(void)
{
	unsigned i;

	lap(0);
	for (i = 0; i < members; i++)
		waitpid(pids[i], NULL, 0);
	close_pipes();
}

static void ping_setup(void)
{
	fork_members(1, 0);
}

static void processes_setup(void)
{
	memset(resident, 1, sizeof resident);
	fork_members(PROCESSES, RESIDENT);
}

static void *thread_main(void *i)
{
	member((unsigned)(uintptr_t)i, 0);
	return NULL;
}

static void threads_setup(void)
{
	unsigned i;

	open_pipes(THREADS);
	for (i = 0; i < THREADS; i++) {
		errno = pthread_create(&threads[i], NULL, thread_main, (void *)(uintptr_t)i);
		if (errno)
			die("pthread_create");
	}
	lap(1);
}

static void threads_teardown(void)
{
	unsigned i;

	lap(0);
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	close_pipes();
}

static void bandwidth_setup(void)
{
	open_pipes(0);
	memset(block, 3, sizeof block);
	pids[0] = fork();
	if (pids[0] < 0)
		die("fork");
	if (!pids[0]) {
		close(pipes[0][1]);
		while (vsys(SYS_read, pipes[0][0], (long)block, BLOCK, 0, 0) > 0)
			;
		_exit(0);
	}
	close(pipes[0][0]);
}

static void bandwidth(unsigned n)
{
	while (n--)
		if (vsys(SYS_write, pipes[0][1], (long)block, BLOCK, 0, 0) != BLOCK)
			die("pipe-bandwidth");
}

static void bandwidth_teardown(void)
{
	close(pipes[0][1]);
	waitpid(pids[0], NULL, 0);
}

const struct row ring_rows[] = {
    {.name = "pipe-pingpong", .setup = ping_setup, .run = laps, .teardown = reap_members},
    {.name = "pipe-bandwidth", .setup = bandwidth_setup, .run = bandwidth, .teardown = bandwidth_teardown},
    {.name = "processes-20",
     .setup = processes_setup,
     .run = laps,
     .teardown = reap_members,
     .per = PROCESSES},
    {.name = "threads-tls",
     .setup = threads_setup,
     .run = laps,
     .teardown = threads_teardown,
     .per = THREADS},
    {.name = NULL},
};
