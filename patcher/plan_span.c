// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Candidate windows: which runs of instructions around an address may be replaced, and where padding is.
 */
#include <errno.h>

#include "hypercalls/abi.h"
#include "hypercalls/policy.h"
#include "patcher/plan_internal.h"

#define SHORT_MIN (-128)
#define SHORT_MAX 127

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

static uint8_t forbidden_arrivals(int flags)
{
	return (flags & MAY_BRANCH ? 0 : CFG_TARGET) | (flags & MAY_FIXUP ? 0 : CFG_FIXUP);
}

bool span_bytes_free(const struct cfg *cfg, uint64_t va, unsigned len, bool first, int flags)
{
	for (unsigned i = 0; i < len; i++) {
		uint8_t m = cfg_marks(cfg, va + i);

		if (m & (CFG_REWRITTEN | CFG_WINDOW | CFG_OVERLAP))
			return false;
		if (i ? m & (CFG_TARGET | CFG_FIXUP) : m & forbidden_arrivals(flags) && !first)
			return false;
	}
	return true;
}

bool span_breakpoint_fits(const struct cfg *cfg, uint64_t va, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		if (cfg_marks(cfg, va + i) & (CFG_WINDOW | CFG_OVERLAP | (i ? CFG_TARGET | CFG_FIXUP : 0)))
			return false;
	return true;
}

bool span_grow(const struct cfg *cfg, struct span *s, int flags)
{
	uint64_t va = (uint64_t)s->va + s->len;
	struct insn insn;

	if (s->call || s->n_insns == PLAN_WINDOW_INSNS || !(cfg_marks(cfg, va) & CFG_START))
		return false;
	if (s->len && cfg_section_at(cfg, va) != cfg_section_at(cfg, s->va))
		return false; /* sections may be neighbours in memory and not in the file */
	if (s->ended && !(cfg_marks(cfg, va) & (CFG_TARGET | CFG_FIXUP)))
		return false; /* code that nothing known reaches: padding, or worse */
	if (cfg_decode(cfg, va, &insn) < 0 || !span_bytes_free(cfg, va, insn.len, s->len == 0, flags))
		return false;
	if (window_is_read_by_handlers(&insn) || (window_is_call(&insn) && insn.op == OP_NONE && !(flags & MAY_CALL)) ||
	    !displaceable(cfg, va, &insn))
		return false;
	s->len += insn.len;
	s->n_insns++;
	s->ended = window_ends(&insn);
	s->call = window_is_call(&insn);
	return true;
}

/* The instruction that falls through to va, or 0. */
static uint64_t insn_before(const struct cfg *cfg, uint64_t va)
{
	struct insn insn;

	for (uint64_t back = 1; back <= INSN_MAX && back <= va; back++) {
		if (!(cfg_marks(cfg, va - back) & CFG_START))
			continue;
		if (cfg_decode(cfg, va - back, &insn) < 0 || insn.len != back || window_ends(&insn))
			return 0;
		return va - back;
	}
	return 0;
}

struct span span_from(const struct cfg *cfg, uint32_t va, uint32_t min, int flags)
{
	struct span s = {.va = va};

	while (s.len < min && span_grow(cfg, &s, flags)) {
	}
	return s;
}

bool span_backward(const struct cfg *cfg, const struct span *fwd, int flags, struct span *out)
{
	uint64_t start = fwd->va;
	uint32_t end = fwd->va + fwd->len;

	if (fwd->len == 0)
		return false;
	while (end - start < JUMP_LEN) {
		uint64_t before = insn_before(cfg, start);

		if (!before || cfg_marks(cfg, start) & forbidden_arrivals(flags) ||
		    !span_bytes_free(cfg, before, (unsigned)(start - before), true, flags))
			return false;
		start = before;
	}
	*out = span_from(cfg, (uint32_t)start, end - (uint32_t)start, flags);
	return out->len >= JUMP_LEN && out->va + out->len == end;
}

/* How much padding, at most max bytes, follows at va in the section that holds `with`. */
static uint32_t padding_at(const struct cfg *cfg, uint64_t va, uint32_t max, uint64_t with)
{
	const struct cfg_section *cs = cfg_section_at(cfg, with);
	uint32_t n = 0;

	if (!cs || va < cs->sec->va || va - cs->sec->va >= cs->sec->size)
		return 0;
	if (max > cs->sec->size - (va - cs->sec->va))
		max = (uint32_t)(cs->sec->size - (va - cs->sec->va));

	while (n < max) {
		uint8_t m = cfg_marks(cfg, va + n);

		if (!(m & CFG_PAD) || m & (CFG_CODE | CFG_TARGET | CFG_FIXUP | CFG_REWRITTEN | CFG_WINDOW))
			break;
		n++;
	}
	return n;
}

bool span_pad(const struct cfg *cfg, struct span *s)
{
	if (!s->ended || s->call || s->len >= JUMP_LEN)
		return false;
	s->pad = padding_at(cfg, (uint64_t)s->va + s->len, JUMP_LEN - s->len, s->va);
	return s->len + s->pad == JUMP_LEN;
}

uint64_t span_hop(const struct cfg *cfg, uint64_t va)
{
	for (int64_t dist = 0; dist <= SHORT_MAX; dist++) {
		uint64_t up = va + SHORT_LEN + (uint64_t)dist, down = va + SHORT_LEN - (uint64_t)dist;

		if (padding_at(cfg, up, JUMP_LEN, up) == JUMP_LEN)
			return up;
		if (dist <= -SHORT_MIN && padding_at(cfg, down, JUMP_LEN, down) == JUMP_LEN)
			return down;
	}
	return 0;
}

void span_mark(const struct cfg *cfg, uint64_t va, uint32_t len, bool set)
{
	struct cfg_section *cs = cfg_section_at(cfg, va);

	for (uint32_t i = 0; cs && i < len; i++) {
		uint8_t *m = &cs->marks[va + i - cs->sec->va];

		*m = set ? *m | CFG_WINDOW : *m & (uint8_t)~CFG_WINDOW;
	}
}
