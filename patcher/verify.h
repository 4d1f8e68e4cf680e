/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The verifier: an independent proof that a patched image means the same as its source. See docs/verify.md for
 * the obligations, and verify.c for why nothing here may share recognition code with the patcher.
 *
 * The proof has two halves. verify_source_load() works on the source image alone: LLVM's boundaries, the
 * sensitive instructions, the targets and the ranges that the kernel rewrites. verify_check() then judges a
 * patched file against that; it is cheap, so a test can try thousands of mutated files on one source.
 */
#ifndef PATCHER_VERIFY_H
#define PATCHER_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypercalls/diag.h"
#include "patcher/image.h"

struct verify_source;

/* img must outlive the result. threads: 1 or 2. NULL with d set on failure. */
struct verify_source *verify_source_load(const struct image *img, int threads, struct diag *d);
void verify_source_free(struct verify_source *src);

/* What a sensitive instruction does at CPL 3 if it is left where it stands. */
enum verify_class {
	VERIFY_ORDINARY,
	VERIFY_SILENT, /* may complete, with the wrong effect: must not be left in a verified page */
	VERIFY_TRAPS,  /* always traps: allowed to stay */
	VERIFY_LEAKS,  /* shows a host value that the design tolerates: allowed to stay, listed or not */
};

/* A sensitive instruction of the linear sweep, for comparing with other counts. */
struct verify_sensitive {
	uint32_t va;
	uint8_t len, cls;
	uint8_t what; /* enum verify_what of verify_insn.h */
};
const struct verify_sensitive *verify_source_sensitive(const struct verify_source *src, size_t *n);

struct verify_result {
	size_t sites, windows, hops, breakpoints, stubs, points, targets, instructions;
	size_t odd; /* relocated words of the source that name the middle of an instruction: not believed */
	uint64_t bytes_checked; /* of the file, of verified pages and of stubs */
	size_t failures;	/* all of them; only the first few have text */
	char *text; /* one line a failure, "0xc1000010: what is wrong\n"; "" when none. malloc'd */
};

/*
 * Judge a patched file. 0 when every obligation holds, -EBADMSG with failures listed in r, another -errno with
 * d set when there is nothing to judge (out of memory, LLVM missing). r->text is always valid and the caller's.
 */
int verify_check(const struct verify_source *src, const uint8_t *out, size_t out_size,
		 struct verify_result *r, struct diag *d);

#endif
