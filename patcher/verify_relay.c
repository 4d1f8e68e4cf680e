// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Branches into the middle of a window. Such a window is right if no table, symbol or word names the target, every
 * direct branch that leads there is itself in a window (its bytes are gone), and its displaced copy goes exactly to
 * where the target's copy begins in its stub. Where that is, is known only when all stubs have been walked; the
 * jumps wait until then.
 */
#include <errno.h>
#include <stdlib.h>

#include "patcher/verify_check.h"

static bool room(void **list, size_t *cap, size_t n, size_t item)
{
	size_t want = *cap ? 2 * *cap : 1024;
	void *p;

	if (n < *cap)
		return true;
	p = realloc(*list, want * item);
	if (!p)
		return false;
	*list = p;
	*cap = want;
	return true;
}

/* The window with a stub that holds va, or NULL. */
static const struct manifest_window *window_at(const struct verify_ctx *c, uint32_t va)
{
	uint32_t lo = 0, hi = c->m.h.n_windows;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;
		const struct manifest_window *w = &c->m.windows[mid];

		if (va < w->va)
			hi = mid;
		else if (va - w->va >= w->len)
			lo = mid + 1;
		else
			return w->tactic == TACTIC_BREAKPOINT ? NULL : w;
	}
	return NULL;
}

void verify_copy_note(struct verify_ctx *c, uint32_t guest, uint32_t stub)
{
	void *p = c->copies;

	if (!room(&p, &c->cap_copies, c->n_copies, sizeof(*c->copies))) {
		c->nomem = true;
		return;
	}
	c->copies = p;
	c->copies[c->n_copies++] = (struct verify_copy){ .guest = guest, .stub = stub };
}

uint32_t verify_aim(struct verify_ctx *c, uint32_t branch, uint32_t target, uint32_t actual)
{
	const struct manifest_window *w = window_at(c, target);
	void *p = c->aims;

	if (!w || w->va == target)
		return target;
	if (!room(&p, &c->cap_aims, c->n_aims, sizeof(*c->aims))) {
		c->nomem = true;
		return target;
	}
	c->aims = p;
	c->aims[c->n_aims++] = (struct verify_aim){ .branch = branch, .target = target, .actual = actual };
	return actual;
}

static int copy_by_guest(const void *a, const void *b)
{
	const struct verify_copy *x = a, *y = b;

	return x->guest < y->guest ? -1 : x->guest > y->guest;
}

void verify_aims(struct verify_ctx *c)
{
	if (c->n_copies)
		qsort(c->copies, c->n_copies, sizeof(*c->copies), copy_by_guest);
	for (size_t i = 0; i < c->n_aims; i++) {
		struct verify_copy key = { .guest = c->aims[i].target }, *copy = NULL;

		if (c->n_copies)
			copy = bsearch(&key, c->copies, c->n_copies, sizeof(key), copy_by_guest);
		if (!copy || copy->stub != c->aims[i].actual)
			verify_fail(c, c->aims[i].branch, "stub: its branch to 0x%x goes to 0x%x, not to the copy there",
				    c->aims[i].target, c->aims[i].actual);
	}
}

bool verify_arrivals_displaced(const struct verify_ctx *c, const struct verify_text *t, uint32_t va)
{
	uint32_t off = va - t->va;

	if (t->target[off] != VT_BRANCH || t->mark[off] & MARK_NAMED || !t->start[off] || !window_at(c, va))
		return false;
	for (size_t i = 0; i < c->src->n_branches; i++) {
		if (c->src->branches[i].to == va && !window_at(c, c->src->branches[i].from))
			return false;
	}
	return true;
}
