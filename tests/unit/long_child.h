// SPDX-License-Identifier: GPL-3.0-or-later
/* cmocka tests of long blocks: the body runs in a child with guest memory of its own, once in each view. */
#ifndef TESTS_UNIT_LONG_CHILD_H
#define TESTS_UNIT_LONG_CHILD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/wait.h>

#include "tests/unit/long_native.h"

static const char *case_name = "all";
static unsigned failures;

static inline void fail_case(const char *what, uint32_t is, uint32_t should)
{
	fprintf(stderr, "# %s (%s): %s is %08x, not %08x\n", case_name,
		ln.view == VIEW_USER ? "user" : ln.view == VIEW_SOFT ? "soft" : "supervisor", what, is, should);
	failures++;
}

#define EXPECT_EQ(what, is, should)                                                                          \
	do {                                                                                                 \
		if ((is) != (should))                                                                        \
			fail_case(what, is, should);                                                         \
	} while (0)

static inline void in_child(void (*body)(void), enum lower_view view)
{
	int status;
	pid_t pid;

#ifdef __SANITIZE_ADDRESS__
	print_message("guest memory lies where the sanitizer has its own\n");
	skip();
#endif
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		alarm(120);
		ln_start(view);
		body();
		_exit(failures ? 1 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		fail_msg("the child died of signal %d", WTERMSIG(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* A test whose body runs in a child for each view. */
#define LONG_TEST(name)                                                                                      \
	static void name##_in_child(void);                                                                   \
	static void name(void **state)                                                                       \
	{                                                                                                    \
		(void)state;                                                                                 \
		in_child(name##_in_child, VIEW_USER);                                                        \
		in_child(name##_in_child, VIEW_SUPERVISOR);                                                  \
		in_child(name##_in_child, VIEW_SOFT);                                                        \
	}                                                                                                    \
	static void name##_in_child(void)

#endif
