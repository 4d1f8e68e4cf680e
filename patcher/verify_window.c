// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Windows: what was overwritten, with what, and whether anything could still arrive in the middle of it.
 */
#include <stdlib.h>
#include <string.h>

#include "patcher/verify_check.h"

#define INT3 0xcc
#define JMP 0xe9
#define JMP_SHORT 0xeb
#define JMP_LEN 5
#define NOT_FREE (MARK_REWRITTEN | MARK_CONFLICT | MARK_FIXUP | MARK_POINT)

static uint32_t load32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool all_int3(const uint8_t *p, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		if (p[i] != INT3)
			return false;
	return true;
}

static bool jumps_to(const uint8_t *p, uint32_t va, uint32_t target)
{
	return p[0] == JMP && va + JMP_LEN + load32(p + 1) == target;
}

/* The recorded originals must be the source's bytes, or unpatching would write something else. */
static void check_original(struct verify_ctx *c, const struct manifest_window *w)
{
	uint32_t need = w->len + (w->tactic == TACTIC_HOP ? JMP_LEN : 0);
	const uint8_t *src = verify_bytes(c->src, w->va, w->len);
	const uint8_t *hop = w->tactic == TACTIC_HOP ? verify_bytes(c->src, w->hop, JMP_LEN) : NULL;

	if (!verify_claim_original(c, w->original, need))
		verify_fail(c, w->va,
			    "window: its original bytes lie outside the manifest's, or are another's too");
	else if (!src || memcmp(src, c->m.originals + w->original, w->len))
		verify_fail(c, w->va, "window: the original bytes in the manifest are not the source's");
	else if (hop && memcmp(hop, c->m.originals + w->original + w->len, JMP_LEN))
		verify_fail(c, w->hop, "hop: the original bytes in the manifest are not the source's");
}

static void check_patched(struct verify_ctx *c, const struct manifest_window *w)
{
	const uint8_t *p = verify_patched(c, w->va, w->len), *hop;

	if (!p) {
		verify_fail(c, w->va, "window: no file bytes");
		return;
	}
	if (w->tactic == TACTIC_BREAKPOINT) {
		if (!all_int3(p, w->len))
			verify_fail(c, w->va, "breakpoint: its bytes are not all int3");
		return;
	}
	if (w->tactic != TACTIC_HOP) {
		if (w->len < JMP_LEN || !jumps_to(p, w->va, w->stub) ||
		    !all_int3(p + JMP_LEN, w->len - JMP_LEN))
			verify_fail(c, w->va, "window: its bytes are not a jump to the stub at 0x%x and int3",
				    w->stub);
		return;
	}
	if (w->len < 2 || p[0] != JMP_SHORT || w->va + 2 + (uint32_t)(int8_t)p[1] != w->hop ||
	    !all_int3(p + 2, w->len - 2))
		verify_fail(c, w->va, "window: its bytes are not a short jump to the hop at 0x%x and int3",
			    w->hop);
	hop = verify_patched(c, w->hop, JMP_LEN);
	if (!hop || !jumps_to(hop, w->hop, w->stub))
		verify_fail(c, w->hop, "hop: not a jump to the stub at 0x%x", w->stub);
	if (!verify_is_padding(c, w->hop, JMP_LEN, NOT_FREE))
		verify_fail(c, w->hop, "hop: not padding that control cannot reach");
}

/*
 * An exception-table fixup may be an instruction inside the run: the kernel goes there by IRET alone, which the monitor
 * performs, and it resumes at the restart point of that boundary. A branch target may be one if verify_relay.c finds
 * all its branches displaced. Anything else that arrives inside a window would execute the middle of a jump.
 */
static void check_arrivals(struct verify_ctx *c, const struct verify_text *t, const struct manifest_window *w)
{
	for (uint32_t i = 0; i < w->len; i++) {
		uint32_t off = w->va - t->va + i;

		bool arrival = i && t->target[off] && !verify_arrivals_displaced(c, t, w->va + i);

		if (arrival)
			verify_fail(c, w->va + i, "%s inside the window at 0x%x",
				    verify_target_name(t->target[off]), w->va);
		/* int3 over a whole instruction may be rewritten: the monitor decodes what comes in its place */
		bool rewritten = t->mark[off] & MARK_REWRITTEN && w->tactic != TACTIC_BREAKPOINT;

		if (rewritten)
			verify_fail(c, w->va + i, "the kernel rewrites this byte of the window at 0x%x", w->va);
		if (t->mark[off] & MARK_CONFLICT)
			verify_fail(c, w->va + i, "no single reading of this byte of the window at 0x%x",
				    w->va);
		if (t->mark[off] & MARK_FIXUP && (!t->start[off] || w->tactic == TACTIC_BREAKPOINT) && i)
			verify_fail(c, w->va + i,
				    "exception-table fixup inside the window at 0x%x, not at a boundary",
				    w->va);
		if (rewritten || t->mark[off] & MARK_CONFLICT || arrival)
			return;
	}
}

/* Behind an instruction that never falls through: code that only a displaced branch or a fixup leads to. */
static bool arrives(const struct verify_text *t, uint32_t va, uint32_t end)
{
	return va < end && verify_is_start(t, va) && (t->target[va - t->va] || t->mark[va - t->va] & MARK_FIXUP);
}

/*
 * The run of whole original instructions at the start of the window. What follows an instruction that never falls
 * through must be padding. Returns the end of the run, 0 after a failure; the number of instructions in *n.
 */
static uint32_t run_end(struct verify_ctx *c, const struct verify_text *t, const struct manifest_window *w,
			unsigned *n)
{
	uint32_t va = w->va, end = w->va + w->len;

	for (*n = 0; va < end; (*n)++) {
		struct verify_insn in;

		if (!verify_is_start(t, va) ||
		    !verify_decode(c->dec, t->bytes + (va - t->va), t->size - (va - t->va), va, &in)) {
			verify_fail(c, va, "window: no original instruction starts here");
			return 0;
		}
		va += in.len;
		if (in.flow != VF_CALL && in.flow != VF_CALL_IND && (verify_falls_through(&in) || arrives(t, va, end)))
			continue;
		(*n)++;
		break;
	}
	if (va > end) {
		verify_fail(c, w->va, "window: ends in the middle of an original instruction");
		return 0;
	}
	if (va < end && !verify_is_padding(c, va, end - va, NOT_FREE)) {
		verify_fail(c, va, "window: swallows bytes that are not unreachable padding");
		return 0;
	}
	return va;
}

static void check_tactic(struct verify_ctx *c, const struct manifest_window *w, unsigned n, uint32_t end)
{
	bool tail = end != w->va + w->len;
	bool ok;

	switch (w->tactic) {
	case TACTIC_IN_PLACE:
		ok = n == 1 && !tail;
		break;
	case TACTIC_WINDOW:
		ok = n > 1 && !tail;
		break;
	case TACTIC_WINDOW_TAIL:
		ok = tail;
		break;
	case TACTIC_HOP:
		ok = !tail;
		break;
	case TACTIC_BREAKPOINT:
		ok = n == 1 && !tail && w->stub == MANIFEST_NONE && !w->stub_len;
		break;
	default:
		ok = false;
	}
	if (!ok || (w->hop != MANIFEST_NONE) != (w->tactic == TACTIC_HOP))
		verify_fail(c, w->va, "window: is not what its tactic \"%s\" says", tactic_name(w->tactic));
}

static void check_window(struct verify_ctx *c, uint32_t i)
{
	const struct manifest_window *w = &c->m.windows[i];
	const struct verify_text *t = verify_text_at(c->src, w->va);
	unsigned n;
	uint32_t end;

	if (!t || w->len > t->size - (w->va - t->va) || !w->len || t->replacement) {
		verify_fail(c, w->va, "window: %u bytes, not inside one executable section", w->len);
		return;
	}
	verify_allow(c, w->va, w->len);
	if (w->tactic == TACTIC_HOP)
		verify_allow(c, w->hop, JMP_LEN);
	check_original(c, w);
	check_patched(c, w);
	check_arrivals(c, t, w);
	end = run_end(c, t, w, &n);
	if (!end)
		return;
	check_tactic(c, w, n, end);
	c->r->windows++;
	c->r->hops += w->tactic == TACTIC_HOP;
	c->r->breakpoints += w->tactic == TACTIC_BREAKPOINT;
	if (w->tactic != TACTIC_BREAKPOINT)
		verify_stub(c, i, end);
}

struct span {
	uint32_t va, len;
};

static int span_by_va(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return x->va < y->va ? -1 : x->va > y->va;
}

/* Windows and hops together must be disjoint. */
static void check_disjoint(struct verify_ctx *c)
{
	struct span *s = calloc(2 * (size_t)c->m.h.n_windows + 1, sizeof(*s));
	size_t n = 0;

	if (!s) {
		c->nomem = true;
		return;
	}
	for (uint32_t i = 0; i < c->m.h.n_windows; i++) {
		s[n++] = (struct span){c->m.windows[i].va, c->m.windows[i].len};
		if (c->m.windows[i].hop != MANIFEST_NONE)
			s[n++] = (struct span){c->m.windows[i].hop, JMP_LEN};
	}
	qsort(s, n, sizeof(*s), span_by_va);
	for (size_t i = 1; i < n; i++)
		if (s[i].va - s[i - 1].va < s[i - 1].len)
			verify_fail(c, s[i].va, "overlaps the window or hop at 0x%x", s[i - 1].va);
	free(s);
}

void verify_windows(struct verify_ctx *c)
{
	check_disjoint(c);
	for (uint32_t i = 0; i < c->m.h.n_windows; i++)
		check_window(c, i);
}
