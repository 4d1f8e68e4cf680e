// SPDX-License-Identifier: GPL-3.0-or-later
/* Shared by the files of the planner and nobody else. */
#ifndef PATCHER_PLAN_INTERNAL_H
#define PATCHER_PLAN_INTERNAL_H

#include "hypercalls/window.h"
#include "patcher/plan.h"

#define SHORT_LEN 2

/* A candidate window: whole instructions in [va, va + len), then pad bytes of padding. */
struct span {
	uint32_t va, len, pad;
	unsigned n_insns;
	bool ended; /* its last instruction never falls through */
	bool call;  /* it is a call: the guest returns to what follows, so the span ends there for good */
};

/* What a span may hold beyond the ordinary, cheapest first. */
enum {
	MAY_FIXUP =
	    1, /* exception-table fixups: IRET alone leads there, and the monitor performs it by the points */
	MAY_CALL = 2, /* a call as its last instruction */
	MAY_BRANCH =
	    4, /* branch targets, if every branch that leads there is displaced and re-aimed (plan_relay.c) */
	MAY_END = 8,
};

/* As much as fits from va on, at least min bytes if possible; how much came out is in the span. */
struct span span_from(const struct cfg *cfg, uint32_t va, uint32_t min, int flags);
/* Take in the instruction behind the span. */
bool span_grow(const struct cfg *cfg, struct span *s, int flags);
/* From an earlier start to exactly where `fwd` ends, at least JUMP_LEN bytes. */
bool span_backward(const struct cfg *cfg, const struct span *fwd, int flags, struct span *out);
/* Padding behind a span whose code has ended, so that JUMP_LEN bytes come out. */
bool span_pad(const struct cfg *cfg, struct span *s);
/* May these bytes be replaced? Control may arrive at `va` itself only if it is the first byte of the window. */
bool span_bytes_free(const struct cfg *cfg, uint64_t va, unsigned len, bool first, int flags);
/* Five bytes of padding that a short jump at va reaches, nearest first; 0 if there are none. */
uint64_t span_hop(const struct cfg *cfg, uint64_t va);
/* May the whole instruction become int3, even where the kernel rewrites it? */
bool span_breakpoint_fits(const struct cfg *cfg, uint64_t va, unsigned len);
void span_mark(const struct cfg *cfg, uint64_t va, uint32_t len, bool set);

int window_add(struct plan *plan, const struct span *s, enum tactic tactic, uint64_t hop);
enum tactic span_tactic(const struct span *s);

/*
 * plan_relay.c: make windows for all branches that lead into the middle of s, whose bytes are marked already.
 * 0, -ENOENT when one of them cannot be displaced (nothing is left behind then), or -ENOMEM.
 */
int relays_make(struct plan *plan, const struct span *s);

#endif
