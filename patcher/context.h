// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What the kernel's own tables say of an address: part of an alternative (and under which CPU feature it is replaced), an
 * instruction that may fault, a jump label, ... Collected with the targets, shown with each site. It changes no plan.
 */
#ifndef PATCHER_CONTEXT_H
#define PATCHER_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "patcher/image.h"
#include "patcher/orc.h"

enum context_role {
	CONTEXT_SITE,	     /* the place that the table is about */
	CONTEXT_REPLACEMENT, /* copied over `other` */
	CONTEXT_FIXUP,	     /* where a fault at `other` goes on */
	CONTEXT_TARGET,	     /* where the jump label at `other` jumps */
};

/* feature of an entry that is not of .altinstructions */
#define CONTEXT_NO_FEATURE UINT32_MAX

struct context {
	uint64_t start, end;
	uint64_t other;	  /* replacement, fixup, target or site at the other end; 0 without */
	uint32_t feature; /* word * 32 + bit of Linux's capability array, or CONTEXT_NO_FEATURE */
	bool inverted;	  /* the replacement is for CPUs without the feature */
	uint8_t source;	  /* enum target_source: the table */
	uint8_t role;	  /* enum context_role */
	struct orc_frame frame; /* of ORC */
};

/*
 * Entries that cover any of the len bytes at va, in the order of their start, and what ORC says of va, if there is ORC;
 * how many, at most max.
 */
size_t context_find(const struct targets *t, uint64_t va, size_t len, struct context *out, size_t max);
#define CONTEXT_MAX 8

/* "alternatives", "exception table", ... */
const char *context_table(const struct context *c);
/*
 * "SMAP", or "word 11 bit 12" for what Linux numbers anew from release to release; "" without a feature. Returns buf.
 * cap of 32 is enough.
 */
const char *context_feature(const struct context *c, char *buf, size_t cap);
/* One sentence for people, with symbols where there are any. */
void context_describe(const struct context *c, const struct image *img, char *buf, size_t cap);

/* cpu_feature.c: the name of a capability that means the same in all releases, or NULL. */
const char *cpu_feature_name(unsigned feature);

#endif
