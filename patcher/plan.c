// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The planner: for each sensitive site the best tactic that the code around it allows.
 *
 * A window is a run of whole instructions, at least five bytes, replaced by a jump to its stub. Control must
 * not be able to arrive inside it, and the kernel must not rewrite it. It starts at the site if it can; grows
 * backward over earlier instructions if a branch target or a call stands too close behind; takes in the next
 * sites when they are near, since two sites in one stub cost one jump; swallows padding behind a terminator;
 * and where fewer than five bytes are free, a short jump reaches the long one in padding near by.
 *
 * A call in a stub unbalances the processor's return-address predictor, so windows end with one only when
 * nothing else gives five bytes.
 */
#include "patcher/plan.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/abi.h"
#include "hypercalls/policy.h"

#define JUMP_LEN 5
#define SHORT_LEN 2
#define SHORT_MIN (-128)
#define SHORT_MAX 127

/* A candidate: whole instructions in [va, va + len). */
struct span {
	uint32_t va, len;
	unsigned n_insns;
	bool ended; /* its last instruction never falls through, or is a call */
	bool call;  /* its last instruction is a call */
};

/* What a span may hold beyond the ordinary, cheapest first. */
enum {
	MAY_FIXUP =
	    1, /* exception-table fixups: IRET alone leads there, and the monitor performs it by the points */
	MAY_CALL = 2,
	MAY_ALL = 3,
};

static bool ends_span(const struct insn *i)
{
	return i->flow != FLOW_NEXT && i->flow != FLOW_JCC && i->flow != FLOW_LOOP &&
	       i->flow != FLOW_FAR_CALL && i->flow != FLOW_STOP;
}

static bool is_call(const struct insn *i)
{
	return i->flow == FLOW_CALL || i->flow == FLOW_CALL_IND;
}

/* Ask the emitter itself whether it can displace this instruction: there is no second list of what it can do. */
static bool displaceable(const struct cfg *cfg, uint64_t va, const struct insn *insn)
{
	uint8_t code[256], pads[ABI_PAD_LEN];
	struct manifest_point points[64];
	struct lower l = {.hole_base = ABI_HOLE_BASE,
			  .code = code,
			  .code_va = ABI_HOLE_BASE + ABI_STUBS,
			  .code_cap = sizeof(code),
			  .pads = pads,
			  .pads_va = ABI_HOLE_BASE + 2 * ABI_STUBS,
			  .pads_cap = sizeof(pads),
			  .points = points,
			  .points_cap = 64};
	size_t avail;
	struct lower_insn in = {
	    .insn = *insn, .bytes = image_bytes(cfg->img, va, &avail), .va = (uint32_t)va, .site = 0};

	return in.bytes && lower_run(&l, &in, 1, (uint32_t)(va + insn->len)) == 0;
}

/* May these bytes be replaced? Control may arrive at `va` itself only if it is the first byte of the window. */
static bool bytes_free(const struct cfg *cfg, uint64_t va, unsigned len, bool first, int flags)
{
	uint8_t arrivals = CFG_TARGET | (flags & MAY_FIXUP ? 0 : CFG_FIXUP);

	for (unsigned i = 0; i < len; i++) {
		uint8_t m = cfg_marks(cfg, va + i);

		if (m & (CFG_REWRITTEN | CFG_WINDOW | CFG_OVERLAP))
			return false;
		if (i ? m & (CFG_TARGET | CFG_FIXUP) : m & arrivals && !first)
			return false;
	}
	return true;
}

/* Take in the instruction behind the span. */
static bool span_grow(const struct cfg *cfg, struct span *s, int flags)
{
	uint64_t va = (uint64_t)s->va + s->len;
	struct insn insn;

	if (s->ended || s->n_insns == PLAN_WINDOW_INSNS || !(cfg_marks(cfg, va) & CFG_START))
		return false;
	if (cfg_decode(cfg, va, &insn) < 0 || !bytes_free(cfg, va, insn.len, s->len == 0, flags))
		return false;
	if ((is_call(&insn) && !(flags & MAY_CALL)) || !displaceable(cfg, va, &insn))
		return false;
	s->len += insn.len;
	s->n_insns++;
	s->ended = ends_span(&insn);
	s->call = is_call(&insn);
	return true;
}

/* The instruction that falls through to va, or 0. */
static uint64_t insn_before(const struct cfg *cfg, uint64_t va)
{
	struct insn insn;

	for (uint64_t back = 1; back <= INSN_MAX && back <= va; back++) {
		if (!(cfg_marks(cfg, va - back) & CFG_START))
			continue;
		if (cfg_decode(cfg, va - back, &insn) < 0 || insn.len != back || ends_span(&insn))
			return 0;
		return va - back;
	}
	return 0;
}

/* As much as fits from va on, at least min bytes if possible; how much came out is in the span. */
static struct span span_from(const struct cfg *cfg, uint32_t va, uint32_t min, int flags)
{
	struct span s = {.va = va};

	while (s.len < min && span_grow(cfg, &s, flags)) {
	}
	return s;
}

/* From an earlier start to at least where `fwd` ends. */
static bool span_backward(const struct cfg *cfg, const struct span *fwd, int flags, struct span *out)
{
	uint8_t arrivals = CFG_TARGET | (flags & MAY_FIXUP ? 0 : CFG_FIXUP);
	uint64_t start = fwd->va;
	uint32_t end = fwd->va + fwd->len;

	if (fwd->len == 0)
		return false;
	while (end - start < JUMP_LEN) {
		uint64_t before = insn_before(cfg, start);

		if (!before || cfg_marks(cfg, start) & arrivals ||
		    !bytes_free(cfg, before, (unsigned)(start - before), true, flags))
			return false;
		start = before;
	}
	*out = span_from(cfg, (uint32_t)start, end - (uint32_t)start, flags);
	return out->len >= JUMP_LEN && out->va + out->len == end;
}

static uint32_t padding_at(const struct cfg *cfg, uint64_t va, uint32_t max)
{
	uint32_t n = 0;

	while (n < max) {
		uint8_t m = cfg_marks(cfg, va + n);

		if (!(m & CFG_PAD) || m & (CFG_CODE | CFG_TARGET | CFG_FIXUP | CFG_REWRITTEN | CFG_WINDOW))
			break;
		n++;
	}
	return n;
}

/* Five bytes of padding that a short jump at va reaches, nearest first; 0 if there are none. */
static uint64_t hop_find(const struct cfg *cfg, uint64_t va)
{
	for (int64_t dist = 0; dist <= SHORT_MAX; dist++) {
		uint64_t up = va + SHORT_LEN + (uint64_t)dist, down = va + SHORT_LEN - (uint64_t)dist;

		if (padding_at(cfg, up, JUMP_LEN) == JUMP_LEN)
			return up;
		if (dist <= -SHORT_MIN && padding_at(cfg, down, JUMP_LEN) == JUMP_LEN)
			return down;
	}
	return 0;
}

static void mark(struct cfg *cfg, uint64_t va, uint32_t len, bool set)
{
	struct cfg_section *cs = cfg_section_at(cfg, va);

	for (uint32_t i = 0; cs && i < len; i++) {
		uint8_t *m = &cs->marks[va + i - cs->sec->va];

		*m = set ? *m | CFG_WINDOW : *m & (uint8_t)~CFG_WINDOW;
	}
}

static bool needs_patch(const struct plan_site *ps)
{
	return policy_get(ps->site->op)->lowering != LOWER_VERBATIM;
}

static int window_add(struct plan *plan, const struct span *s, uint32_t len, enum tactic tactic, uint64_t hop)
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
								.len = len,
								.n_insns = (uint16_t)s->n_insns,
								.hop = hop ? (uint32_t)hop : MANIFEST_NONE,
								.tactic = (uint8_t)tactic};
	mark(plan->cfg, s->va, len, true);
	if (hop)
		mark(plan->cfg, hop, JUMP_LEN, true);
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

/* The window just before, if the site's instruction follows it directly: give both one stub. */
static bool merge_with_previous(struct plan *plan, const struct span *fwd, int flags, struct span *out)
{
	struct plan_window *prev = plan->n_windows ? &plan->windows[plan->n_windows - 1] : NULL;
	uint32_t end = fwd->va + fwd->len;

	if (!prev || prev->va + prev->len != fwd->va || prev->tactic > TACTIC_WINDOW || fwd->len == 0)
		return false;
	mark(plan->cfg, prev->va, prev->len, false);
	*out = span_from(plan->cfg, prev->va, end - prev->va, flags);
	if (out->va + out->len == end) {
		plan->n_windows--;
		return true;
	}
	mark(plan->cfg, prev->va, prev->len, true);
	return false;
}

static const char *why_no_window(const struct cfg *cfg, const struct cfg_site *site, const struct span *fwd)
{
	uint64_t end = (uint64_t)fwd->va + fwd->len;
	uint8_t m = cfg_marks(cfg, end);

	if (fwd->len == 0)
		return cfg_marks(cfg, site->va) & CFG_OVERLAP ? "two decodings of the code around it disagree"
							      : "the instruction itself cannot be displaced";
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

/* One window for site i, or -ENOENT with why in *reason. */
static int window_for(struct plan *plan, size_t i, const char **reason)
{
	struct cfg *cfg = plan->cfg;
	const struct cfg_site *site = plan->sites[i].site;
	struct span fwd, s;

	for (int flags = 0; flags <= MAY_ALL; flags++) {
		fwd = span_from(cfg, (uint32_t)site->va, JUMP_LEN, flags);
		if (fwd.len >= JUMP_LEN) {
			s = fwd;
			goto found;
		}
		if (merge_with_previous(plan, &fwd, flags, &s) || span_backward(cfg, &fwd, flags, &s))
			goto found;
		if (fwd.ended && fwd.len + padding_at(cfg, (uint64_t)fwd.va + fwd.len, JUMP_LEN) >= JUMP_LEN)
			return window_add(plan, &fwd, JUMP_LEN, TACTIC_WINDOW_TAIL, 0);
	}
	*reason = why_no_window(cfg, site, &fwd);
	if (fwd.len >= SHORT_LEN) {
		uint64_t hop = hop_find(cfg, fwd.va);

		if (hop)
			return window_add(plan, &fwd, fwd.len, TACTIC_HOP, hop);
	}
	return -ENOENT;
found:
	cluster(plan, i, &s);
	return window_add(plan, &s, s.len, s.n_insns == 1 ? TACTIC_IN_PLACE : TACTIC_WINDOW, 0);
}

/* int3 in the first byte; the rest of the instruction goes too, so nobody reads half an instruction. */
static int breakpoint_for(struct plan *plan, const struct plan_site *ps)
{
	struct span s = {.va = (uint32_t)ps->site->va, .len = ps->site->len, .n_insns = 1};

	return window_add(plan, &s, s.len, TACTIC_BREAKPOINT, 0);
}

static int plan_one(struct plan *plan, size_t i)
{
	struct plan_site *ps = &plan->sites[i];
	int err;

	if (cfg_marks(plan->cfg, ps->site->va) & CFG_WINDOW)
		return 0; /* an earlier window took it in */
	if (bytes_free(plan->cfg, ps->site->va, ps->site->len, true, 0)) {
		err = window_for(plan, i, &ps->reason);
		if (err != -ENOENT)
			return err;
		if (!policy_may_not_trap(ps->site->op)) {
			ps->tactic = TACTIC_TRAP;
			return 0;
		}
		ps->tactic = TACTIC_BREAKPOINT;
		return breakpoint_for(plan, ps);
	}
	ps->tactic = policy_may_not_trap(ps->site->op) ? TACTIC_NONE : TACTIC_TRAP;
	ps->reason = cfg_marks(plan->cfg, ps->site->va) & CFG_REWRITTEN
			 ? "the kernel rewrites these bytes at run time"
			 : "control can arrive inside the instruction, or two decodings disagree";
	return 0;
}

/* Windows were added in the order of their sites and are disjoint, so they are sorted. */
static void sites_resolve(struct plan *plan)
{
	size_t w = 0;

	for (size_t i = 0; i < plan->n_sites; i++) {
		struct plan_site *ps = &plan->sites[i];

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

int plan_build(struct plan *plan, struct cfg *cfg, const struct plan_exit_only *exit_only, size_t n_exit_only,
	       struct diag *d)
{
	int err;

	assert(cfg->width == 32);
	*plan = (struct plan){.cfg = cfg, .exit_only = exit_only, .n_exit_only = n_exit_only};
	err = sites_collect(plan, cfg);
	for (size_t i = 0; !err && i < plan->n_sites; i++) {
		if (needs_patch(&plan->sites[i]))
			err = plan_one(plan, i);
	}
	if (err) {
		plan_free(plan);
		return diag_set(d, err, "%s: out of memory", cfg->img->path);
	}
	sites_resolve(plan);
	return 0;
}

void plan_free(struct plan *plan)
{
	free(plan->windows);
	free(plan->sites);
	*plan = (struct plan){0};
}

uint32_t plan_site_at(const struct plan *plan, uint32_t va)
{
	size_t lo = 0, hi = plan->n_sites;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (plan->sites[mid].site->va < va)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < plan->n_sites && plan->sites[lo].site->va == va ? (uint32_t)lo : MANIFEST_NONE;
}

static bool is_exit_only(const struct plan *plan, uint32_t va)
{
	for (size_t i = 0; i < plan->n_exit_only; i++) {
		if (va >= plan->exit_only[i].start && va < plan->exit_only[i].end)
			return true;
	}
	return false;
}

size_t plan_window_insns(const struct plan *plan, const struct plan_window *w, struct lower_insn *insns,
			 uint32_t *next)
{
	uint32_t va = w->va;
	size_t avail, n;

	for (n = 0; n < w->n_insns; n++) {
		struct lower_insn *in = &insns[n];
		int len;

		*in = (struct lower_insn){.va = va, .bytes = image_bytes(plan->cfg->img, va, &avail)};
		len = cfg_decode(plan->cfg, va, &in->insn);
		assert(len > 0);
		in->site = plan_site_at(plan, va);
		in->exit_only = is_exit_only(plan, va);
		in->flags_dead = flags_dead_at(plan->cfg, va + (uint32_t)len);
		va += (uint32_t)len;
	}
	*next = va;
	return n;
}

static void print_insns(const struct plan *plan, const struct plan_window *w, FILE *f)
{
	uint32_t va = w->va;

	for (unsigned n = 0; n < w->n_insns; n++) {
		struct insn insn;
		size_t avail;
		const uint8_t *p = image_bytes(plan->cfg->img, va, &avail);
		char text[96];

		if (!p || cfg_decode(plan->cfg, va, &insn) < 0)
			return;
		insn_format(text, sizeof(text), p, avail, va, plan->cfg->width);
		fprintf(f, "  %08x %c %s\n", va, plan_site_at(plan, va) != MANIFEST_NONE ? '*' : ' ', text);
		va += insn.len;
	}
}

void plan_print(const struct plan *plan, FILE *f)
{
	size_t i = 0;

	for (size_t w = 0; w < plan->n_windows; w++) {
		const struct plan_window *pw = &plan->windows[w];

		fprintf(f, "%08x+%u %s", pw->va, pw->len, tactic_name(pw->tactic));
		if (pw->hop != MANIFEST_NONE)
			fprintf(f, " by %08x", pw->hop);
		fprintf(f, "\n");
		print_insns(plan, pw, f);
	}
	for (; i < plan->n_sites; i++) {
		const struct plan_site *ps = &plan->sites[i];

		if (ps->window == MANIFEST_NONE)
			fprintf(f, "%08x %s%s%s\n", (uint32_t)ps->site->va, tactic_name(ps->tactic),
				ps->reason ? ": " : "", ps->reason ? ps->reason : "");
	}
}
