// SPDX-License-Identifier: GPL-3.0-or-later
/* The fuzzer of interpreted instructions with a fixed seed, for a few seconds; `make fuzz` goes on. */
#include "tests/fuzz/interpret_fuzz.h"

#define INSTRUCTIONS 100000

static void instructions_do_what_the_reference_does(void **state)
{
	unsigned differ = 0;

	(void)state;
	fi_start();
	for (unsigned k = 0; k < INSTRUCTIONS && differ < 10; k++)
		differ += !fi_run(k);
	assert_int_equal(differ, 0);
	assert_in_range(fi.compared, INSTRUCTIONS / 2, INSTRUCTIONS);
	assert_in_range(fi.raised, INSTRUCTIONS / 100, INSTRUCTIONS / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(instructions_do_what_the_reference_does)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
