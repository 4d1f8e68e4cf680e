// SPDX-License-Identifier: GPL-3.0-or-later
/* The panic line is found wherever the pieces of output are cut, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "monitor/vmx/panic.h"

static bool fed(const char *text, size_t piece)
{
	struct panic_watch w = {0};

	for (size_t at = 0, n = strlen(text); at < n; at += piece)
		panic_feed(&w, (const uint8_t *)text + at, n - at < piece ? n - at : piece);
	return w.seen;
}

static void found_in_pieces_of_any_size(void **state)
{
	static const char line[] = "[    1.2] KKernel pKernel panic - not syncing: VFS: Unable to mount root fs\n";

	(void)state;
	for (size_t piece = 1; piece < sizeof(line); piece++)
		assert_true(fed(line, piece));
}

static void other_lines_are_not_it(void **state)
{
	(void)state;
	assert_false(fed("Kernel command line: panic=1\nKernel panic - not sync", 3));
	assert_false(fed("kernel panic - not syncing", 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(found_in_pieces_of_any_size),
	    cmocka_unit_test(other_lines_are_not_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
