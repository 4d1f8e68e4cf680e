// SPDX-License-Identifier: GPL-3.0-or-later
/* A C++ exception that a handler throws, through its signal frame, to below the instruction that was interrupted. */
#include "tests/unwind/unwind.h"

#include <cstdio>

namespace
{
enum { ROUNDS = 300 };

volatile int zero;
unsigned destroyed;

struct guard {
	~guard()
	{
		destroyed++;
	}
};

void thrower(int sig)
{
	guard in_handler;

	throw sig;
}

/* No landing pad is looked for in these: only their callers have one. */
__attribute__((noinline)) void divides()
{
	zero = 1000 / zero;
}

__attribute__((noinline)) void writes()
{
	*reinterpret_cast<volatile int *>(zero + 8) = 1;
}

__attribute__((noinline)) void calls()
{
	raise(SIGUSR1);
	zero = 0;
}

__attribute__((noinline)) void through(void (*f)())
{
	guard on_the_way;

	f();
	zero = 0;
}

void throw_by(int sig, void (*f)(), const char *name, const struct way *way)
{
	int caught = 0;

	handle(sig, thrower, way);
	destroyed = 0;
	for (int i = 0; i < ROUNDS; i++) {
		try {
			guard here;

			through(f);
		} catch (int what) {
			caught += what == sig;
		}
	}
	printf("throw %s, %s: %d caught, %u destroyed\n", way->name, name, caught, destroyed);
	signal(sig, SIG_DFL);
}
}

void test_throw(void)
{
	for (unsigned i = 0; i < LEN(ways); i++) {
		throw_by(SIGFPE, divides, "division", &ways[i]);
		throw_by(SIGSEGV, writes, "write", &ways[i]);
		throw_by(SIGUSR1, calls, "call", &ways[i]);
	}
}
