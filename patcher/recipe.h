// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 2.2: What no scan can know
 *
 * Recipes: what the scan cannot know about a family of kernels, as data (guest-patches/, format in its README).
 * A recipe says what it expects of the image and is skipped, with a message, when that differs.
 */
#ifndef PATCHER_RECIPE_H
#define PATCHER_RECIPE_H

#include <stddef.h>
#include <stdint.h>

#include "hypercalls/diag.h"
#include "patcher/image.h"
#include "patcher/plan.h"

/* An entry of the guest's vDSO that makes a system call. */
struct vdso_entry {
	char *name;
	uint64_t va;	/* in the kernel's image; programs see the page elsewhere */
	uint64_t int80; /* of its int $0x80 */
};

struct recipe {
	char *name;
	char *append; /* kernel options that the image needs here, "" for none */
	uint32_t hole_base;
	struct plan_exit_only *exit_only;
	size_t n_exit_only;
	struct rewritten *rewritten; /* ranges that the kernel rewrites and no table names */
	size_t n_rewritten;
	struct vdso_entry *vdso;
	size_t n_vdso;
	char *skipped; /* why each recipe that was tried does not fit, one a line; "" if none was skipped */
};

/*
 * The recipe that fits the image; one with name "" and the default hole if none does. -EINVAL when a recipe file
 * is malformed, -ENOMEM.
 */
int recipe_find(struct recipe *r, const struct image *img, struct diag *d);
/* Parse `text` and match it against the image: 1 fits, 0 does not (why is added to r->skipped), or -errno. */
int recipe_match(struct recipe *r, const struct image *img, const char *file, const char *text, size_t size,
		 struct diag *d);
/*
 * recipe_vdso.c: look for an ELF inside the image whose symbol `name` has these bytes of code, int $0x80 at offset
 * int80 of them, and record it. 0 whether found or not, -ENOMEM.
 */
int recipe_vdso_find(struct recipe *r, const struct image *img, const char *name, const uint8_t *code,
		     size_t len, size_t int80);
void recipe_free(struct recipe *r);

#endif
