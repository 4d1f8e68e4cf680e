// SPDX-License-Identifier: GPL-3.0-or-later
/* pthread_cancel(): glibc's handler unwinds the thread from inside the signal, running what it has to clean up. */
#include "tests/unwind/unwind.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 30 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static volatile unsigned started, cleaned;
static volatile double x87;
static int ends[2];

static void clean(void *arg)
{
	(void)arg;
	cleaned++;
}

static void unlock(void *arg)
{
	pthread_mutex_unlock(arg);
	cleaned++;
}

__attribute__((noinline)) static void reads(void)
{
	char c;

	started = 1;
	if (read(ends[0], &c, 1) != 1) /* nobody writes */
		die("read");
}

__attribute__((noinline)) static void sleeps(void)
{
	struct timespec day = {86400, 0};

	started = 1;
	nanosleep(&day, NULL);
}

__attribute__((noinline)) static void waits(void)
{
	pthread_mutex_lock(&mutex);
	pthread_cleanup_push(unlock, &mutex);
	started = 1;
	pthread_cond_wait(&never, &mutex);
	pthread_cleanup_pop(0);
}

__attribute__((noinline)) static void computes(void)
{
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	started = 1;
	for (;;)
		x87 = x87 * 1.5 + 1;
}

__attribute__((noinline)) static void asks(void)
{
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	started = 1;
	for (;;)
		getppid();
}

static void *thread(void *arg)
{
	void (*const *f)(void) = arg;

	pthread_cleanup_push(clean, NULL);
	(*f)();
	pthread_cleanup_pop(0);
	return NULL;
}

static void cancel(const char *name, void (*f)(void))
{
	unsigned cancelled = 0;

	cleaned = 0;
	for (unsigned i = 0; i < ROUNDS; i++) {
		pthread_t t;
		void *result;

		started = 0;
		if (pthread_create(&t, NULL, thread, &f))
			die("pthread_create");
		while (!started)
			usleep(100);
		usleep(i % 3 * 500); /* some have not reached their call, some wait in it */
		pthread_cancel(t);
		pthread_join(t, &result);
		cancelled += result == PTHREAD_CANCELED;
	}
	printf("cancel %s: %u cancelled, %u cleaned up\n", name, cancelled, cleaned);
}

void test_cancel(void)
{
	if (pipe(ends))
		die("pipe");
	cancel("in read()", reads);
	cancel("in nanosleep()", sleeps);
	cancel("in pthread_cond_wait()", waits);
	cancel("computing", computes);
	cancel("making system calls", asks);
}
