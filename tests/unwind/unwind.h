/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A guest's first process that unwinds: what leaves a signal handler other than by its return, what looks through its frame,
 * and what a debugger does there. All of that goes by the vDSO's __kernel_sigreturn and __kernel_rt_sigreturn: their addresses,
 * their CFI, or their bytes. What is printed is the same on any machine, but for lines that start with ~.
 */
#ifndef TESTS_UNWIND_UNWIND_H
#define TESTS_UNWIND_UNWIND_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

#ifdef __cplusplus
extern "C" {
#endif

/* In three ways: returning by __kernel_sigreturn, by __kernel_rt_sigreturn, and that on a stack of its own. */
struct way {
	const char *name;
	int flags;
};
extern const struct way ways[3];
void handle(int sig, void (*handler)(int), const struct way *way);

/* The address of an entry of the vDSO; the machine ends without it. */
uintptr_t vdso_entry(const char *name);

/* End the machine with a message. */
__attribute__((noreturn)) void die(const char *what);

void test_cancel(void); /* cancel.c */
void test_throw(void);	/* throw.cc */
void test_walk(void);	/* walk.c */
void test_return(void); /* return.c */
void test_resume(void); /* resume.c */
void test_trace(void);	/* trace.c */

/* walk.c: die in a handler below known functions, for a debugger to look at the core. */
__attribute__((noreturn)) void dump_core(const struct way *way);

#ifdef __cplusplus
}
#endif

#endif
