// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 2.1: The planner's ladder
 *
 * The planner: for each sensitive site the best tactic that the code around it allows.
 *
 * A window is a run of whole instructions, at least five bytes, replaced by a jump to its stub. Control must
 * not be able to arrive inside it, and the kernel must not rewrite it. It starts at the site if it can; grows
 * backward over earlier instructions if a branch target or a call stands too close behind; takes in the next
 * sites when they are near, since two sites in one stub cost one jump; swallows padding behind a terminator;
 * and where fewer than five bytes are free, a short jump reaches the long one in padding near by.
 *
 * A call in a stub unbalances the processor's return-address predictor, so windows end with one only when
 * nothing else gives five bytes. Last of all a window may hold branch targets, if all branches that lead there
 * are in windows as well (plan_relay.c).
 */
#include "patcher/plan_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "hypercalls/policy.h"

static bool needs_patch(const struct plan_site *ps)
{
	return policy_is_replaced(ps->site->op);
}

enum tactic span_tactic(const struct span *s)
{
	if (s->pad)
		return TACTIC_WINDOW_TAIL;
	return s->n_insns == 1 ? TACTIC_IN_PLACE : TACTIC_WINDOW;
}

int window_add(struct plan *plan, const struct span *s, enum tactic tactic, uint64_t hop)
{
	if (plan->n_windows == plan->cap_windows) {
		size_t cap = plan->cap_windows ? plan->cap_windows * 2 : 1024;
		void *p = reallocarray(plan->windows, cap, sizeof(*plan->windows));

		if (!p)
			return -ENOMEM;
		plan->windows = p;
		plan->cap_windows = cap;
	}
	plan->windows[plan->n_windows++] = (struct plan_window){.va = s->va,
								.len = s->len + s->pad,
								.n_insns = (uint16_t)s->n_insns,
								.hop = hop ? (uint32_t)hop : MANIFEST_NONE,
								.tactic = (uint8_t)tactic};
	span_mark(plan->cfg, s->va, s->len + s->pad, true);
	if (hop)
		span_mark(plan->cfg, hop, JUMP_LEN, true);
	return 0;
}

/* Grow a window that is long enough already over the sites close behind it. */
static void cluster(const struct plan *plan, size_t i, struct span *s)
{
	for (size_t j = i; j < plan->n_sites; j++) {
		const struct cfg_site *site = plan->sites[j].site;
		struct span wider = *s;

		if (!needs_patch(&plan->sites[j]) || site->va < (uint64_t)s->va + s->len)
			continue;
		if (site->va + site->len - s->va > PLAN_WINDOW_MAX)
			return;
		while ((uint64_t)wider.va + wider.len <= site->va) {
			if (!span_grow(plan->cfg, &wider, 0))
				return;
		}
		*s = wider;
	}
}

/* The window just before fwd, if it is one that can grow; its index, or SIZE_MAX. */
static size_t window_before(const struct plan *plan, const struct span *fwd)
{
	for (size_t w = plan->n_windows; w-- > 0;) {
		if (plan->windows[w].va + plan->windows[w].len == fwd->va)
			return plan->windows[w].tactic <= TACTIC_WINDOW ? w : SIZE_MAX;
	}
	return SIZE_MAX;
}

/* One stub for fwd and the window before it: which then gives up its bytes, and in *s is what takes its place. */
static bool absorb_before(struct plan *plan, const struct span *fwd, int flags, struct span *s)
{
	size_t w = window_before(plan, fwd);
	uint32_t end = fwd->va + fwd->len;
	struct plan_window prev;

	if (w == SIZE_MAX || fwd->len == 0)
		return false;
	prev = plan->windows[w];
	span_mark(plan->cfg, prev.va, prev.len, false);
	*s = span_from(plan->cfg, prev.va, end - prev.va, flags);
	if (s->va + s->len != end) {
		span_mark(plan->cfg, prev.va, prev.len, true);
		return false;
	}
	plan->windows[w] = plan->windows[--plan->n_windows];
	return true;
}

static const char *why_no_window(const struct cfg *cfg, const struct span *fwd)
{
	uint64_t end = (uint64_t)fwd->va + fwd->len;
	uint8_t m = cfg_marks(cfg, end);

	if (fwd->len == 0)
		return "it stays where it is: the guest looks for its very bytes (int3), or it has no "
		       "displaced form";
	if (fwd->ended)
		return "code ends behind it with too little padding, and a target or a call stands before it";
	if (m & CFG_REWRITTEN)
		return "bytes that the kernel rewrites stand behind it, and a target or a call before it";
	if (m & CFG_TARGET)
		return "a branch target stands behind it, and a target or a call before it";
	if (m & CFG_WINDOW)
		return "no room is left between other windows";
	return "fewer than five bytes around it can be displaced";
}

/* A window for site i that no branch leads into, or -ENOENT with why in *reason. */
static int window_for(struct plan *plan, size_t i, const char **reason)
{
	const struct cfg_site *site = plan->sites[i].site;
	struct span fwd, s;
	uint64_t hop;

	for (int flags = 0; flags < MAY_BRANCH; flags++) {
		s = fwd = span_from(plan->cfg, (uint32_t)site->va, JUMP_LEN, flags);
		if (fwd.len >= JUMP_LEN || absorb_before(plan, &fwd, flags, &s) ||
		    span_backward(plan->cfg, &fwd, flags, &s)) {
			cluster(plan, i, &s);
			return window_add(plan, &s, span_tactic(&s), 0);
		}
		if (span_pad(plan->cfg, &fwd))
			return window_add(plan, &fwd, TACTIC_WINDOW_TAIL, 0);
	}
	fwd.pad = 0;
	*reason = why_no_window(plan->cfg, &fwd);
	hop = fwd.len >= SHORT_LEN ? span_hop(plan->cfg, fwd.va) : 0;
	return hop ? window_add(plan, &fwd, TACTIC_HOP, hop) : -ENOENT;
}

/* A window for the site with branch targets inside, all of whose branches get windows too. */
static int window_with_relays(struct plan *plan, const struct cfg_site *site)
{
	for (int flags = MAY_BRANCH; flags < MAY_END; flags++) {
		struct span fwd = span_from(plan->cfg, (uint32_t)site->va, JUMP_LEN, flags), s = fwd;
		int err;

		if (fwd.len < JUMP_LEN && !span_backward(plan->cfg, &fwd, flags, &s)) {
			s = fwd;
			if (!span_pad(plan->cfg, &s))
				continue;
		}
		span_mark(plan->cfg, s.va, s.len + s.pad, true);
		err = relays_make(plan, &s);
		if (!err)
			return window_add(plan, &s, span_tactic(&s), 0);
		span_mark(plan->cfg, s.va, s.len + s.pad, false);
		if (err != -ENOENT)
			return err;
	}
	return -ENOENT;
}

/* First round: everything that stands alone. What is left has a reason and no window. */
static int plan_first(struct plan *plan, size_t i)
{
	struct plan_site *ps = &plan->sites[i];
	int err;

	ps->tactic = TACTIC_NONE;
	if (cfg_marks(plan->cfg, ps->site->va) & CFG_WINDOW)
		return 0; /* an earlier window took it in */
	if (span_bytes_free(plan->cfg, ps->site->va, ps->site->len, true, 0)) {
		err = window_for(plan, i, &ps->reason);
		return err == -ENOENT ? 0 : err;
	}
	ps->pinned = true;
	ps->reason = cfg_marks(plan->cfg, ps->site->va) & CFG_REWRITTEN
			 ? "the kernel rewrites these bytes at run time"
			 : "control can arrive inside the instruction, or two decodings disagree";
	return 0;
}

/* Second round: windows that need others, then the tactics that need none. */
static int plan_second(struct plan *plan, size_t i)
{
	struct plan_site *ps = &plan->sites[i];
	struct span s = {.va = (uint32_t)ps->site->va, .len = ps->site->len, .n_insns = 1};
	int err;

	if (!ps->reason || cfg_marks(plan->cfg, ps->site->va) & CFG_WINDOW)
		return 0;
	if (span_bytes_free(plan->cfg, s.va, s.len, true, 0)) {
		err = plan->alone ? -ENOENT : window_with_relays(plan, ps->site);
		if (err != -ENOENT)
			return err;
		if (policy_may_not_trap(
			ps->site->op)) /* all of it int3, so that nobody reads half an instruction */
			return window_add(plan, &s, TACTIC_BREAKPOINT, 0);
	}
	/* The monitor decodes a page anew when the kernel rewrites it, so int3 may stand there until then. */
	if (policy_may_not_trap(ps->site->op) && span_breakpoint_fits(plan->cfg, s.va, s.len))
		return window_add(plan, &s, TACTIC_BREAKPOINT, 0);
	ps->tactic = policy_may_not_trap(ps->site->op) ? TACTIC_NONE : TACTIC_TRAP;
	return 0;
}

static int window_compare(const void *a, const void *b)
{
	const struct plan_window *x = a, *y = b;

	return x->va < y->va ? -1 : x->va > y->va;
}

static void sites_resolve(struct plan *plan)
{
	size_t w = 0;

	if (plan->n_windows)
		qsort(plan->windows, plan->n_windows, sizeof(*plan->windows), window_compare);
	for (size_t i = 0; i < plan->n_sites; i++) {
		struct plan_site *ps = &plan->sites[i];

		ps->no_window = ps->reason;
		while (w < plan->n_windows && plan->windows[w].va + plan->windows[w].len <= ps->site->va)
			w++;
		if (!needs_patch(ps) || w == plan->n_windows || ps->site->va < plan->windows[w].va)
			continue;
		ps->window = (uint32_t)w;
		ps->tactic = plan->windows[w].tactic;
		if (ps->tactic != TACTIC_BREAKPOINT)
			ps->reason = NULL;
	}
}

static int sites_collect(struct plan *plan, const struct cfg *cfg)
{
	plan->sites = calloc(cfg->n_sites ? cfg->n_sites : 1, sizeof(*plan->sites));
	if (!plan->sites)
		return -ENOMEM;
	for (size_t i = 0; i < cfg->n_sites; i++) {
		struct plan_site *ps = &plan->sites[plan->n_sites];

		if (cfg->sites[i].origin == ORIGIN_REPLACEMENT)
			continue;
		*ps = (struct plan_site){
		    .site = &cfg->sites[i], .window = MANIFEST_NONE, .tactic = TACTIC_VERBATIM};
		plan->n_sites++;
	}
	return 0;
}

/* What a round does with site i. */
typedef int (*round_fn)(struct plan *plan, size_t i);

static int plan_round(struct plan *plan, const uint64_t *first, size_t n_first, round_fn round)
{
	int err = 0;

	for (size_t k = 0; !err && k < n_first; k++) {
		uint32_t i = plan_site_at(plan, (uint32_t)first[k]);

		if (i != MANIFEST_NONE && needs_patch(&plan->sites[i]))
			err = round(plan, i);
	}
	for (size_t i = 0; !err && i < plan->n_sites; i++) {
		if (needs_patch(&plan->sites[i]))
			err = round(plan, i);
	}
	return err;
}

int plan_build(struct plan *plan, struct cfg *cfg, const struct plan_exit_only *exit_only, size_t n_exit_only,
	       struct diag *d)
{
	return plan_build_first(plan, cfg, exit_only, n_exit_only, NULL, 0, d);
}

static int plan_make(struct plan *plan, const uint64_t *first, size_t n_first, struct diag *d)
{
	int err = sites_collect(plan, plan->cfg);

	if (!err)
		err = plan_round(plan, first, n_first, plan_first);
	if (!err)
		err = plan_round(plan, first, n_first, plan_second);
	if (err) {
		diag_set(d, err, "%s: out of memory", plan->cfg->img->path);
		plan_free(plan);
		return err;
	}
	sites_resolve(plan);
	return 0;
}

int plan_build_first(struct plan *plan, struct cfg *cfg, const struct plan_exit_only *exit_only,
		     size_t n_exit_only, const uint64_t *first, size_t n_first, struct diag *d)
{
	assert(cfg->width == 32);
	*plan = (struct plan){.cfg = cfg, .exit_only = exit_only, .n_exit_only = n_exit_only};
	return plan_make(plan, first, n_first, d);
}

int plan_build_alone(struct plan *plan, struct cfg *cfg, struct diag *d)
{
	assert(cfg->width == 32);
	*plan = (struct plan){.cfg = cfg, .alone = true};
	return plan_make(plan, NULL, 0, d);
}

void plan_free(struct plan *plan)
{
	free(plan->windows);
	free(plan->sites);
	*plan = (struct plan){0};
}
