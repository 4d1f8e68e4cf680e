// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Windows with branch targets inside.
 *
 * `test; je 1f; sti; 1:` with a second way to the sti leaves a single byte between two targets, and so does cli
 * behind a call with a target behind it. Where all that leads to a target are direct branches that the
 * control-flow graph knows, the branches themselves can be displaced: in a stub they are 32-bit jumps and go
 * straight to the copy of their target in its stub (patch_stubs.c aims them). A window made only for such a
 * branch is a relay; it holds no sensitive instruction.
 */
#include <errno.h>

#include "patcher/plan_internal.h"

static bool holds(const struct span *s, uint64_t va)
{
	return va >= s->va && va < (uint64_t)s->va + s->len;
}

static int relay_make(struct plan *plan, uint32_t branch)
{
	for (int flags = 0; flags < MAY_BRANCH; flags++) {
		struct span fwd = span_from(plan->cfg, branch, JUMP_LEN, flags), s = fwd;

		if (fwd.len >= JUMP_LEN || span_backward(plan->cfg, &fwd, flags, &s) ||
		    span_pad(plan->cfg, &s))
			return window_add(plan, &s, span_tactic(&s), 0);
	}
	return -ENOENT;
}

/* Every branch to va: in the window itself, in a window already, or given a relay. */
static int arrivals_displace(struct plan *plan, const struct span *s, uint64_t va)
{
	const struct cfg *cfg = plan->cfg;
	int err = 0;

	for (size_t i = 0; !err && i < cfg->n_branches; i++) {
		uint32_t from = cfg->branches[i].from;

		if (cfg->branches[i].to != va || holds(s, from))
			continue;
		if (!(cfg_marks(cfg, from) & CFG_WINDOW))
			err = relay_make(plan, from);
	}
	return err;
}

int relays_make(struct plan *plan, const struct span *s)
{
	size_t before = plan->n_windows;
	int err = 0;

	for (uint64_t va = s->va + 1; !err && va < (uint64_t)s->va + s->len; va++) {
		if (!(cfg_marks(plan->cfg, va) & CFG_TARGET))
			continue;
		err = cfg_has_other_arrival(plan->cfg, va) ? -ENOENT : arrivals_displace(plan, s, va);
	}
	while (err && plan->n_windows > before) {
		const struct plan_window *w = &plan->windows[--plan->n_windows];

		span_mark(plan->cfg, w->va, w->len, false);
	}
	return err;
}
