// SPDX-License-Identifier: GPL-3.0-or-later
/* `paravane patch --modules`: a module, a tree of them, or an initramfs, written anew with every module patched. */
#ifndef PATCHER_MODULES_PATCH_H
#define PATCHER_MODULES_PATCH_H

#include <stdio.h>

#include "patcher/module_patch.h"

struct modules_patched {
	size_t modules; /* that were found */
	size_t patched;
	size_t unchanged; /* with nothing to patch: no code, or patched before */
	size_t refused;	  /* that cannot be patched: they are in the output as they were */
	size_t unsigned_now;
	size_t windows, stub_bytes, tactics[TACTIC_COUNT];
	FILE *notes; /* the caller's: a line for each module that was not patched */
};

/*
 * Whole or not at all: on failure nothing is left at `out`. A tree is written to a directory, which must not exist;
 * what is no module in it is copied.
 */
int modules_patch(struct modules_patched *sum, const char *path, const char *out, struct diag *d);

/*
 * One module as a file has it, perhaps compressed. *new is malloc'd. On failure, or where there is nothing to patch
 * (module_patch()), it is NULL.
 */
int modules_patch_one(struct modules_patched *sum, const char *name, const uint8_t *file, size_t size,
		      uint8_t **new, size_t *new_size, struct diag *d);
/* Among many one that cannot be patched is noted and counted, and stays as it is. 0, or -ENOMEM. */
int modules_tolerate(struct modules_patched *sum, int err, const struct diag *d);

#endif
