/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * `paravane verify` of modules: one against what `patch --modules` made of it, or all of a tree or an initramfs against
 * all of another.
 */
#ifndef PATCHER_VERIFY_MODULES_H
#define PATCHER_VERIFY_MODULES_H

#include <stdio.h>

#include "patcher/verify.h"

/* A packed module stands for what is packed in it: *bytes is exchanged. 0 or -errno. */
int verify_unpack(const char *path, uint8_t **bytes, size_t *size, struct diag *d);
/* Takes over source, unpacked; out is unpacked too. As verify_check(). threads: 1 or 2. */
int verify_module(const char *module, uint8_t *source, size_t size, const uint8_t *out, size_t out_size,
		  int threads, struct verify_result *r, struct diag *d);

struct verify_tree {
	size_t modules;
	size_t verified;       /* patched, and the proof holds */
	size_t unchanged;      /* byte for byte as in the source */
	size_t refused;	       /* the proof does not hold, or there is no such module on the other side */
	size_t unjudged;       /* what cannot be read, on either side */
	size_t sites, windows; /* of the verified ones */
};
/*
 * Over all processors. A line for each module that is refused or not judged goes to `failures`; `progress`: a terminal
 * for the bar, or NULL. 0 or -errno.
 */
int verify_trees(const char *source, const char *patched, struct verify_tree *sum, FILE *failures,
		 FILE *progress, struct diag *d);

#endif
