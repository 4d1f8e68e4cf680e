// SPDX-License-Identifier: GPL-3.0-or-later
/* Looking through a signal frame: libgcc's unwinder, glibc's backtrace(), and a core for a debugger. */
#include "tests/unwind/unwind.h"

#include <execinfo.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>
#include <unwind.h>

enum { FRAMES_MAX = 64, ALARMS = 200, ALARM_US = 700 };

static volatile int sink; /* behind a call: no function here ends in a jump */
static volatile int *volatile nowhere;
static volatile unsigned alarms, lost;
static unsigned frames_below;
static sigjmp_buf out;

static void faults(void);
static void calls(void);
static void in_c(void (*f)(void));
static void in_b(void (*f)(void));
static void look(int sig);
static void look_quietly(int sig);

static const struct {
	const char *name;
	void *at;
} functions[] = {
    {"faults", faults}, {"calls", calls}, {"in_c", in_c},
    {"in_b", in_b},	{"look", look},	  {"test_walk", test_walk},
};

struct walk {
	bool aloud, signal, whole;
	unsigned frames;
};

static _Unwind_Reason_Code frame(struct _Unwind_Context *context, void *arg)
{
	struct walk *w = arg;
	int signal = 0; /* EIP is where it was interrupted, not behind a call */
	uintptr_t ip = _Unwind_GetIPInfo(context, &signal);
	void *function = _Unwind_FindEnclosingFunction((void *)(signal ? ip : ip - 1));

	if (w->aloud && signal)
		printf(" (signal)");
	for (unsigned i = 0; i < LEN(functions); i++)
		if (w->aloud && functions[i].at == function)
			printf(" %s", functions[i].name);
	w->signal |= signal;
	w->whole |= function == (void *)test_walk;
	return ++w->frames < FRAMES_MAX ? _URC_NO_REASON : _URC_END_OF_STACK;
}

static unsigned frames_of_backtrace(void)
{
	void *frames[FRAMES_MAX];

	return (unsigned)backtrace(frames, FRAMES_MAX);
}

__attribute__((noinline)) static void look(int sig)
{
	struct walk w = {.aloud = true};

	_Unwind_Backtrace(frame, &w);
	printf("; backtrace() %s\n", frames_of_backtrace() > frames_below ? "gets as far" : "loses its way");
	if (sig == SIGSEGV)
		siglongjmp(out, 1);
}

static void look_quietly(int sig)
{
	struct walk w = {0};

	(void)sig;
	_Unwind_Backtrace(frame, &w);
	alarms++;
	lost += !w.signal || !w.whole;
}

__attribute__((noinline)) static void faults(void)
{
	frames_below = frames_of_backtrace();
	*nowhere = sink;
	sink++;
}

__attribute__((noinline)) static void calls(void)
{
	frames_below = frames_of_backtrace();
	raise(SIGUSR1);
	sink++;
}

__attribute__((noinline)) static void in_c(void (*f)(void))
{
	f();
	sink++;
}

__attribute__((noinline)) static void in_b(void (*f)(void))
{
	in_c(f);
	sink++;
}

static void nothing(int sig)
{
	(void)sig;
}

/* Not by the C library: of its code some has no CFI (__x86.get_pc_thunk.bx). */
static void send(uintptr_t entry, pid_t to, int sig)
{
	long ret = SYS_kill;

	__asm__ volatile("call *%1" : "+a"(ret) : "r"(entry), "b"(to), "c"(sig) : "memory", "cc");
}

/* From wherever the timer strikes, handlers and their return among it. */
static void at_any_time(void)
{
	uintptr_t entry = vdso_entry("__kernel_vsyscall");
	pid_t self = getpid();
	static const struct itimerval period = {{0, ALARM_US}, {0, ALARM_US}}, off;
	struct sigaction act = {.sa_handler = look_quietly};

	handle(SIGUSR1, nothing, &ways[0]);
	handle(SIGUSR2, nothing, &ways[1]);
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &period, NULL);
	while (alarms < ALARMS) {
		send(entry, self, SIGUSR1);
		send(entry, self, SIGUSR2);
	}
	setitimer(ITIMER_REAL, &off, NULL);
	printf("walk at any time: %s\n", lost ? "lost" : "always whole");
}

void test_walk(void)
{
	for (unsigned i = 0; i < LEN(ways); i++) {
		printf("walk %s, call:", ways[i].name);
		handle(SIGUSR1, look, &ways[i]);
		in_b(calls);
		printf("walk %s, fault:", ways[i].name);
		handle(SIGSEGV, look, &ways[i]);
		if (!sigsetjmp(out, 1))
			in_b(faults);
	}
	signal(SIGSEGV, SIG_DFL);
	at_any_time();
}

static void end_here(int sig)
{
	(void)sig;
	abort();
}

void dump_core(const struct way *way)
{
	static const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};

	setrlimit(RLIMIT_CORE, &unlimited);
	handle(SIGSEGV, end_here, way);
	in_b(faults);
	die("no fault");
}
