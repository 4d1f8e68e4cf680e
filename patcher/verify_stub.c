// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A stub beside the instructions that it stands for. The walk takes the original instructions in order and says,
 * for each, which bytes the stub must hold next and what the manifest must say about them; where hypercalls/abi.h
 * leaves a choice (a sensitive instruction may always leave the guest), the stub's own first byte picks the form,
 * and everything after it is fixed. LLVM must see the same instruction boundaries as the manifest's points.
 * verify_forms.c has the forms of the sensitive ones.
 */
#include <string.h>

#include "patcher/verify_walk.h"

void walk_put(struct bytes *x, unsigned n, const uint8_t *b)
{
	memcpy(x->b + x->n, b, n);
	x->n += n;
}

void walk_put32(struct bytes *x, uint32_t v)
{
	const uint8_t b[4] = {v & 0xff, v >> 8 & 0xff, v >> 16 & 0xff, v >> 24};

	walk_put(x, 4, b);
}

static const uint8_t *stub_bytes(const struct walk *k)
{
	return k->c->stubs + (k->pos - k->c->stubs_va);
}

static uint32_t load32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void walk_fail(struct walk *k, const char *what)
{
	if (!k->bad)
		verify_fail(k->c, k->guest, "stub at 0x%x of the window at 0x%x: %s", k->pos, k->w->va, what);
	k->bad = true;
}

int walk_peek(const struct walk *k, unsigned ahead)
{
	return k->pos + ahead < k->end ? stub_bytes(k)[ahead] : -1;
}

const uint8_t *walk_bytes(struct walk *k, unsigned n)
{
	if (k->end - k->pos >= n)
		return stub_bytes(k);
	walk_fail(k, "ends too early");
	return NULL;
}

/* The point of the stub instruction at pos. */
static void match_point(struct walk *k, uint32_t guest, unsigned state, unsigned flags)
{
	const struct manifest_point *p = k->point;

	if (p == k->points_end || p->stub != k->pos) {
		walk_fail(k, "no restart point for this instruction");
		return;
	}
	if (p->guest != guest || p->state != state || p->flags != flags || p->reserved)
		walk_fail(k, "its restart point names another place or state");
	k->point++;
	k->c->points_seen++;
}

void walk_match(struct walk *k, const struct bytes *x, uint32_t guest, unsigned state, unsigned flags)
{
	struct verify_insn in;

	if (k->bad)
		return;
	if (!walk_bytes(k, x->n))
		return;
	if (memcmp(stub_bytes(k), x->b, x->n)) {
		walk_fail(k, "not the code that this instruction is replaced by");
		return;
	}
	if (verify_decode(k->c->dec, stub_bytes(k), k->end - k->pos, k->pos, &in) != (int)x->n) {
		walk_fail(k, "is decoded differently");
		return;
	}
	match_point(k, guest, state, flags);
	k->pos += x->n;
}

void walk_here(struct walk *k, struct bytes x, unsigned state, unsigned flags)
{
	walk_match(k, &x, k->guest, state, flags);
}

void walk_first(struct walk *k, struct bytes x)
{
	walk_here(k, x, POINT_BOUNDARY, k->shadow);
}

/* opcode, rel32 to target; the state is that of `guest`'s boundary. */
static void match_jump(struct walk *k, struct bytes opcode, uint32_t target, uint32_t guest, unsigned flags)
{
	walk_put32(&opcode, target - (k->pos + opcode.n + 4));
	walk_match(k, &opcode, guest, POINT_BOUNDARY, flags);
}

/* A displaced branch to guest address `target`. */
static void match_branch(struct walk *k, struct bytes opcode, uint32_t target, uint32_t guest, unsigned flags)
{
	const uint8_t *p = walk_bytes(k, opcode.n + 4);
	uint32_t actual;

	if (!p)
		return;
	actual = k->pos + opcode.n + 4 + load32(p + opcode.n);
	match_jump(k, opcode, verify_aim(k->c, k->guest, target, actual), guest, flags);
}

void walk_copy(struct walk *k, const uint8_t *orig, const struct verify_insn *in)
{
	struct bytes x = {.n = in->len};

	memcpy(x.b, orig, in->len);
	walk_first(k, x);
}

/* Jcc becomes 0f 80+cc rel32, whatever form it had. The rest only has rel8: step around a long jump. */
static void match_cond(struct walk *k, const uint8_t *orig, const struct verify_insn *in)
{
	struct bytes x = {.n = in->len};
	unsigned at = 0;

	while (at < in->len && memchr("\x26\x2e\x36\x3e\x64\x65\x67\xf2\xf3", orig[at], 9))
		at++;
	if (orig[at] >= 0xe0 && orig[at] <= 0xe3) {
		memcpy(x.b, orig, in->len);
		x.b[in->len - 1] = 2;
		walk_first(k, x);
		x = BYTES(0xeb, 5);
		walk_match(k, &x, in->va + in->len, POINT_BOUNDARY, 0);
		match_branch(k, BYTES(0xe9), in->target, in->target, 0);
		return;
	}
	if (orig[at] == 0x0f)
		at++;
	match_branch(k, BYTES(0x0f, 0x80 | (orig[at] & 15)), in->target, in->va, k->shadow);
}

static void match_call(struct walk *k, const uint8_t *orig, const struct verify_insn *in)
{
	struct bytes push = BYTES(0x68), jump = BYTES(0xff, 0xe0 | (orig[in->len - 1] & 7));

	walk_put32(&push, in->va + in->len);
	walk_first(k, push);
	if (in->flow == VF_CALL) {
		match_branch(k, BYTES(0xe9), in->target, in->target, 0);
		return;
	}
	/* call *%reg: ff d0+r. ESP has changed by then, and a memory operand could fault after the push. */
	if (in->len != 2 || orig[0] != 0xff || orig[1] < 0xd0 || orig[1] > 0xd7 || orig[1] == 0xd4)
		walk_fail(k, "an indirect call that cannot be displaced");
	walk_here(k, jump, POINT_AFTER, 0);
}

static void match_ordinary(struct walk *k, const uint8_t *orig, const struct verify_insn *in)
{
	switch (in->flow) {
	case VF_COND:
		match_cond(k, orig, in);
		break;
	case VF_JMP:
		match_branch(k, BYTES(0xe9), in->target, in->va, k->shadow);
		break;
	case VF_CALL:
	case VF_CALL_IND:
		match_call(k, orig, in);
		break;
	case VF_ODD:
		walk_fail(k, "an instruction that cannot be displaced");
		break;
	default:
		walk_copy(k, orig, in);
	}
}

/* What the manifest says about the site that was just matched. */
static void check_site(struct walk *k, const struct verify_insn *in)
{
	uint32_t i = verify_site_at(k->c, in->va);
	const struct manifest_site *s;

	if (i == MANIFEST_NONE) {
		if (in->cls != VERIFY_LEAKS)
			walk_fail(k, "a sensitive instruction that is not in the site table");
		return;
	}
	s = &k->c->m.sites[i];
	/* A copied one counts as not patched. */
	if (s->window != k->index && !(s->tactic == TACTIC_VERBATIM && in->cls == VERIFY_LEAKS))
		walk_fail(k, "the site table has its instruction in another window");
	if (s->resume != (in->flow == VF_FAR ? MANIFEST_NONE : k->pos) && s->window == k->index)
		walk_fail(k, "the site table resumes it elsewhere");
}

static const struct manifest_point *points_from(const struct verify_ctx *c, uint32_t va)
{
	size_t lo = 0, hi = c->m.h.n_points;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (c->m.points[mid].stub < va)
			lo = mid + 1;
		else
			hi = mid;
	}
	return c->m.points + lo;
}

void verify_stub(struct verify_ctx *c, uint32_t index, uint32_t end)
{
	const struct manifest_window *w = &c->m.windows[index];
	const struct verify_text *t = verify_text_at(c->src, w->va);
	struct walk k = {.c = c,
			 .w = w,
			 .index = index,
			 .pos = w->stub,
			 .end = w->stub + w->stub_len,
			 .hole = c->m.h.hole_base,
			 .points_end = c->m.points + c->m.h.n_points,
			 .guest = w->va};
	struct verify_insn in = {.len = 0};
	size_t aims = c->n_aims;
	bool sensitive = false;

	if (!verify_claim(c, w->stub, w->stub_len, STUB_CODE))
		return;
	k.point = points_from(c, w->stub);
	for (uint32_t va = w->va; va < end && !k.bad; va += in.len) {
		const uint8_t *orig = t->bytes + (va - t->va);

		if (!verify_decode(c->dec, orig, t->size - (va - t->va), va, &in))
			return; /* reported by the window */
		/* The text of `in` is the decoder's and does not outlive the matching; the rest of it does. */
		k.guest = va;
		if (va != w->va)
			verify_copy_note(c, va, k.pos);
		if (in.cls != VERIFY_ORDINARY) {
			walk_sensitive(&k, orig, &in);
			check_site(&k, &in);
			sensitive = true;
		} else {
			match_ordinary(&k, orig, &in);
		}
		k.shadow = in.what == W_STI ? POINT_SHADOW : 0;
	}
	if (!sensitive && c->n_aims == aims) /* nor is it a relay */
		walk_fail(&k, "serves no sensitive instruction");
	if (verify_falls_through(&in) && in.flow != VF_CALL && in.flow != VF_CALL_IND)
		match_jump(&k, BYTES(0xe9), end, end, k.shadow);
	for (unsigned i = 0; i < k.n_slow; i++)
		walk_slow(&k, &k.slow[i]);
	if (!k.bad && k.pos != k.end)
		walk_fail(&k, "goes on behind its end");
	c->r->stubs++;
	c->r->bytes_checked += w->stub_len;
}
