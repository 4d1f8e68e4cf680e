// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 2.4: Landing pads
 *
 * Stubs for all windows of a plan stand in one segment: landing pads first (64-bit code, one for each site that can
 * leave), then the stubs (32-bit code).
 *
 * What a stub cannot do inline it leaves to the monitor, by one far jump to the landing pad of that very site. The far jump
 * changes from 32-bit to 64-bit code, where R8 to R15 exist, which the guest does not know of: the pad puts the site's
 * number into R15 and jumps to the gate. So leaving stores nothing, changes no flag and no segment, and is atomic: a signal
 * finds the guest before the jump or the monitor behind it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/abi.h"
#include "patcher/patch.h"

/* More than any lowering needs for one instruction; the buffer is mostly never touched. */
#define STUB_PER_INSN 128
#define POINTS_PER_INSN 24

static size_t total_insns(const struct plan *plan)
{
	size_t n = 0;

	for (size_t w = 0; w < plan->n_windows; w++)
		n += plan->windows[w].n_insns;
	return n;
}

static uint32_t pads_room(const struct plan *plan)
{
	return (uint32_t)((plan->n_sites * ABI_PAD_LEN + 15) & ~(size_t)15);
}

static int stubs_alloc(struct stubs *st, struct lower *l, struct manifest *m, const struct plan *plan)
{
	uint32_t pads = pads_room(plan);
	size_t insns = total_insns(plan);
	size_t points = insns * POINTS_PER_INSN + plan->n_windows;

	st->size = pads;
	st->bytes = calloc(1, pads + insns * STUB_PER_INSN + plan->n_windows * 8 + 1);
	m->points = calloc(points + 1, sizeof(*m->points));
	m->windows = calloc(plan->n_windows + 1, sizeof(*m->windows));
	m->sites = calloc(plan->n_sites + 1, sizeof(*m->sites));
	if (!st->bytes || !m->points || !m->windows || !m->sites)
		return -ENOMEM;
	memset(st->bytes, 0xcc, pads); /* int3 where no pad comes: a stray jump must not slide into a stub */
	*l = (struct lower){.hole_base = m->h.hole_base,
			    .code = st->bytes + pads,
			    .code_va = m->h.hole_base + ABI_STUBS + pads,
			    .code_cap = insns * STUB_PER_INSN + plan->n_windows * 8,
			    .pads = st->bytes,
			    .pads_va = m->h.hole_base + ABI_STUBS,
			    .pads_cap = pads,
			    .points = m->points,
			    .points_cap = points};
	return 0;
}

static int originals_add(struct manifest *m, const uint8_t *bytes, size_t len)
{
	uint8_t *p = realloc(m->originals, m->h.n_originals + len + 1);

	if (!p)
		return -ENOMEM;
	m->originals = p;
	memcpy(p + m->h.n_originals, bytes, len);
	m->h.n_originals += (uint32_t)len;
	return 0;
}

static int window_originals(struct manifest *m, const struct plan *plan, const struct plan_window *pw,
			    struct manifest_window *w)
{
	size_t avail;
	const uint8_t *p = image_bytes(plan->cfg->img, pw->va, &avail);
	int err;

	w->original = m->h.n_originals;
	err = p && avail >= pw->len ? originals_add(m, p, pw->len) : -EINVAL;
	if (err || pw->hop == MANIFEST_NONE)
		return err;
	p = image_bytes(plan->cfg->img, pw->hop, &avail);
	return p && avail >= 5 ? originals_add(m, p, 5) : -EINVAL;
}

/* Where the instructions of windows stand in their stubs; sorted by guest address, as windows are. */
struct copies {
	struct {
		uint32_t guest, stub;
	} * list;
	size_t n;
};

static void copy_note(struct copies *c, uint32_t guest, uint32_t stub)
{
	c->list[c->n].guest = guest;
	c->list[c->n++].stub = stub;
}

/* A branch into the middle of a window (plan_relay.c) goes to the copy; any other to the guest address. */
static uint32_t aim_at_copy(const void *ctx, uint32_t guest)
{
	const struct copies *c = ctx;
	size_t lo = 0, hi = c->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (c->list[mid].guest < guest)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < c->n && c->list[lo].guest == guest ? c->list[lo].stub : guest;
}

static int window_emit(struct lower *l, struct manifest *m, const struct plan *plan,
		       const struct plan_window *pw, struct manifest_window *w, struct copies *copies)
{
	struct lower_insn insns[PLAN_WINDOW_INSNS];
	uint32_t next;
	size_t n;
	int err;

	*w = (struct manifest_window){.va = pw->va,
				      .len = pw->len,
				      .stub = MANIFEST_NONE,
				      .hop = pw->hop,
				      .original = w->original,
				      .tactic = pw->tactic};
	if (pw->tactic == TACTIC_BREAKPOINT)
		return 0;
	w->stub = l->code_va + (uint32_t)l->code_len;
	n = plan_window_insns(plan, pw, insns, &next);
	err = lower_run(l, insns, n, next);
	w->stub_len = l->code_va + (uint32_t)l->code_len - w->stub;
	for (size_t i = 1; !err && copies && i < n; i++)
		copy_note(copies, insns[i].va, insns[i].start);
	for (size_t i = 0; !err && i < n; i++) {
		if (insns[i].site == MANIFEST_NONE || plan->sites[insns[i].site].tactic == TACTIC_VERBATIM)
			continue;
		m->sites[insns[i].site].pad = insns[i].pad;
		m->sites[insns[i].site].resume = insns[i].resume;
	}
	return err;
}

uint32_t manifest_string(struct manifest *m, const char *s)
{
	size_t len = strlen(s) + 1;
	char *p;

	for (uint32_t at = 0; at < m->h.n_strings; at += (uint32_t)strlen(m->strings + at) + 1) {
		if (!strcmp(m->strings + at, s))
			return at;
	}
	p = realloc(m->strings, m->h.n_strings + len);
	if (!p)
		return MANIFEST_NONE;
	m->strings = p;
	memcpy(p + m->h.n_strings, s, len);
	m->h.n_strings += (uint32_t)len;
	return m->h.n_strings - (uint32_t)len;
}

static int sites_fill(struct manifest *m, const struct plan *plan)
{
	for (size_t i = 0; i < plan->n_sites; i++) {
		const struct plan_site *ps = &plan->sites[i];
		uint32_t reason = ps->reason ? manifest_string(m, ps->reason) : 0;

		if (reason == MANIFEST_NONE)
			return -ENOMEM;
		m->sites[i] = (struct manifest_site){.va = (uint32_t)ps->site->va,
						     .window = ps->window,
						     .pad = MANIFEST_NONE,
						     .resume = MANIFEST_NONE,
						     .op = ps->site->op,
						     .len = ps->site->len,
						     .tactic = ps->tactic,
						     .reason = reason};
	}
	m->h.n_sites = (uint32_t)plan->n_sites;
	return 0;
}

/* The second time round every copy has its address; lengths and addresses come out as before. */
static int all_emit(struct lower *l, struct manifest *m, const struct plan *plan, struct copies *copies,
		    struct diag *d)
{
	int err = 0;

	l->code_len = l->pads_len = l->n_points = 0;
	for (size_t w = 0; !err && w < plan->n_windows; w++) {
		err = window_emit(l, m, plan, &plan->windows[w], &m->windows[w], copies);
		if (err)
			diag_set(d, err, "%s: 0x%x: the planned window cannot be emitted (%s)",
				 plan->cfg->img->path, plan->windows[w].va, strerror(-err));
	}
	return err;
}

int stubs_emit(struct stubs *st, struct manifest *m, const struct plan *plan, struct diag *d)
{
	struct copies copies = {0};
	struct lower l;
	int err = stubs_alloc(st, &l, m, plan);

	copies.list = calloc(total_insns(plan) + 1, sizeof(*copies.list));
	if (!err && !copies.list)
		err = -ENOMEM;
	if (!err)
		err = sites_fill(m, plan);
	for (size_t w = 0; !err && w < plan->n_windows; w++)
		err = window_originals(m, plan, &plan->windows[w], &m->windows[w]);
	if (!err)
		err = all_emit(&l, m, plan, &copies, d);
	l.aim = aim_at_copy;
	l.aim_ctx = &copies;
	if (!err)
		err = all_emit(&l, m, plan, NULL, d);
	free(copies.list);
	if (err)
		return diag_set(d, err, "%s: out of memory", plan->cfg->img->path);
	m->h.n_windows = (uint32_t)plan->n_windows;
	m->h.n_points = (uint32_t)l.n_points;
	st->size += (uint32_t)l.code_len;
	m->h.stubs_size = st->size;
	return 0;
}
