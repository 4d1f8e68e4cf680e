// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 2.0: From what is known to a patched image
 *
 * Every sensitive instruction that does not simply run as it is gets a stub: a jump over it leads to code in the *hole*,
 * a range of guest addresses that the kernel leaves alone, which does what the instruction means for the virtual CPU and
 * jumps back. A jump takes five bytes and most of these instructions are shorter, so neighbours have to move too.
 *
 * The plan says which bytes of the image are replaced, and how each sensitive site is served. Analysis ends here;
 * patch.c only carries the plan out. plan_print() writes it as text, which the golden tests compare.
 */
#ifndef PATCHER_PLAN_H
#define PATCHER_PLAN_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "hypercalls/diag.h"
#include "hypercalls/lower.h"
#include "hypercalls/manifest.h"
#include "patcher/cfg.h"

#define PLAN_WINDOW_MAX 64 /* bytes; longer ones only when a window must swallow its neighbour */
#define PLAN_WINDOW_INSNS 128

struct plan_window {
	uint32_t va, len;
	uint32_t hop;	  /* of the 5-byte jump in padding, or MANIFEST_NONE */
	uint16_t n_insns; /* whole instructions from va; what follows them up to len is padding */
	uint8_t tactic;	  /* enum tactic */
};

struct plan_site {
	const struct cfg_site *site;
	uint32_t window; /* index, or MANIFEST_NONE */
	uint8_t tactic;	 /* enum tactic */
	const char
	    *reason; /* why no better tactic fits; NULL where a stub serves the site or none is needed */
	bool pinned; /* nothing may be written over its bytes: no tactic but trap and, perhaps, int3 */
	const char
	    *no_window; /* why no window of its own fits, whatever serves it instead; NULL if one does */
};

/* A range where %ss may not be flat: stubs leave at once (the recipe names them). */
struct plan_exit_only {
	uint32_t start, end;
};

struct plan {
	struct cfg *cfg;
	struct plan_window *windows; /* sorted by va, disjoint */
	size_t n_windows;
	struct plan_site
	    *sites; /* sorted by va; replacements left out. The index is the site number in R15D */
	size_t n_sites;
	const struct plan_exit_only *exit_only; /* the caller's */
	size_t n_exit_only;
	bool alone; /* no window with branch targets inside: each may come and go by itself */
	size_t cap_windows; /* private */
};

/* Plan every site of a 32-bit image. Marks CFG_WINDOW in cfg, which must outlive the plan. */
int plan_build(struct plan *plan, struct cfg *cfg, const struct plan_exit_only *exit_only, size_t n_exit_only,
	       struct diag *d);
/* The same, but sites at the n_first addresses (in this order) choose before all others. */
int plan_build_first(struct plan *plan, struct cfg *cfg, const struct plan_exit_only *exit_only,
		     size_t n_exit_only, const uint64_t *first, size_t n_first, struct diag *d);
/* With windows that stand alone only (plan_relay.c makes the others): for modules. */
int plan_build_alone(struct plan *plan, struct cfg *cfg, struct diag *d);
void plan_free(struct plan *plan);

/*
 * The instructions of window w for lower_run(), into insns[PLAN_WINDOW_INSNS]. Also what follows the run in
 * *next. Returns their number.
 */
size_t plan_window_insns(const struct plan *plan, const struct plan_window *w, struct lower_insn *insns,
			 uint32_t *next);

/* Index of the plan's site at va, or MANIFEST_NONE. */
uint32_t plan_site_at(const struct plan *plan, uint32_t va);
void plan_print(const struct plan *plan, FILE *f);

/* liveness.c: are the arithmetic flags dead at va, that is written on the only way on before they are read? */
bool flags_dead_at(const struct cfg *cfg, uint64_t va);

#endif
