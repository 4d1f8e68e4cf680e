// SPDX-License-Identifier: GPL-3.0-or-later
/* The differential fuzzer of interpreted instructions (interpret_fuzz.h): fuzz_interpret [N [FIRST]]. */
#include "tests/fuzz/interpret_fuzz.h"

int main(int argc, char **argv)
{
	unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 0) : 10000,
		      first = argc > 2 ? strtoul(argv[2], NULL, 0) : 0;
	unsigned long differ = 0;

	fi_start();
	for (unsigned long k = first; k < first + n && differ < 20; k++)
		differ += !fi_run(k);
	printf("%lu instructions: %lu compared, %lu raised something, %lu left RAM, %lu differ\n", n,
	       fi.compared, fi.raised, fi.left, differ);
	return differ != 0;
}
