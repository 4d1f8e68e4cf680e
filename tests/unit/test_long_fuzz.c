// SPDX-License-Identifier: GPL-3.0-or-later
/* The fuzzer of long blocks with a fixed seed, for a few seconds; `make fuzz` goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fuzz/long_fuzz.h"

#define BLOCKS 100000 /* 4 s */

static void blocks_do_what_the_reference_does(void **state)
{
	unsigned differ = 0;

	(void)state;
#ifdef __SANITIZE_ADDRESS__
	print_message("guest memory lies where the sanitizer has its own\n");
	skip();
#endif
	lf_start();
	for (unsigned k = 0; k < BLOCKS && differ < 10; k++)
		differ += !lf_run(k);
	assert_int_equal(differ, 0);
	/* Faults among them, and most of them to the end. */
	assert_in_range(lf.ended[LONG_ENDED_FAULT], BLOCKS / 100, BLOCKS / 2);
	assert_in_range(lf.rewritten, 0, BLOCKS / 100);
	assert_in_range(lf.insns, 5 * BLOCKS, 50 * BLOCKS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(blocks_do_what_the_reference_does)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
