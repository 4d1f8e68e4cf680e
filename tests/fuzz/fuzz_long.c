// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The differential fuzzer of long blocks (long_fuzz.h): fuzz_long [N [FIRST]] runs N blocks, numbered from FIRST; a block
 * that differs is run again by its number.
 */
#include "tests/fuzz/long_fuzz.h"

int main(int argc, char **argv)
{
	unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 0) : 10000,
		      first = argc > 2 ? strtoul(argv[2], NULL, 0) : 0;
	unsigned long differ = 0;

	lf_start();
	for (unsigned long k = first; k < first + n && differ < 20; k++)
		differ += !lf_run(k);
	printf("%lu blocks of %.1f instructions, %lu faults, %lu rewrote themselves, %lu differ\n", n,
	       (double)lf.insns / (double)n, lf.ended[LONG_ENDED_FAULT], lf.rewritten, differ);
	return differ != 0;
}
