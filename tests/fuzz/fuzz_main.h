// SPDX-License-Identifier: GPL-3.0-or-later
/* The command line of a fuzzer that has seeds of its own: [-v] [RUNS | FILE...], files to be replayed. */
#ifndef TESTS_FUZZ_FUZZ_MAIN_H
#define TESTS_FUZZ_FUZZ_MAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "patcher/patch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline int fuzz_replay(const char *path)
{
	struct diag d = {0};
	uint8_t *p;
	size_t n;

	if (file_read(path, &p, &n, &d)) {
		fprintf(stderr, "%s\n", d.text);
		return 1;
	}
	LLVMFuzzerTestOneInput(p, n);
	free(p);
	return 0;
}

static inline int fuzz_main(int argc, char **argv, long standard, void (*fuzz)(long runs, bool verbose))
{
	bool verbose = argc > 1 && !strcmp(argv[1], "-v");
	char *end;
	long runs;

	argv += verbose;
	runs = argc - verbose > 1 ? strtol(argv[1], &end, 0) : standard;
	if (argc - verbose > 1 && *end) {
		int bad = 0;

		while (*++argv)
			bad |= fuzz_replay(*argv);
		return bad;
	}
	fuzz(runs, verbose);
	printf("%ld runs\n", runs);
	return 0;
}

#endif
