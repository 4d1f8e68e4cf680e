// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Padding: bytes that a window may swallow behind its last instruction, or that a hop may use. They must be
 * no-ops, int3 or zeros, no target may stand in them, and control must not be able to fall into them: going back
 * over padding one comes to an instruction that never falls through (or to the start of the section).
 */
#include <string.h>

#include "patcher/verify_check.h"

static bool decode_at(struct verify_ctx *c, const struct verify_text *t, uint32_t off, struct verify_insn *in)
{
	return verify_decode(c->dec, t->bytes + off, t->size - off, t->va + off, in) > 0;
}

/* xchg %ax,%ax; nopw; nopl; and lea of a register to itself with no displacement but zero. */
static bool is_noop(const struct verify_insn *in, const uint8_t *p)
{
	uint32_t disp = 0;
	unsigned mod, reg, i = 0;

	if (!strncmp(in->name, "nop", 3))
		return true;
	if (strcmp(in->name, "leal") && strcmp(in->name, "movl") && strcmp(in->name, "xchgw"))
		return false;
	while (p[i] == 0x3e || p[i] == 0x2e || p[i] == 0x66)
		i++;
	mod = p[i + 1] >> 6;
	reg = p[i + 1] >> 3 & 7;
	if (in->name[0] == 'm') /* mov %esi,%esi */
		return i == 0 && p[0] == 0x89 && mod == 3 && reg == (p[1] & 7);
	if (p[i] != 0x8d || (i && memchr(p, 0x66, i)) || mod == 3)
		return false;
	if ((p[i + 1] & 7) == 4) { /* a SIB without index */
		if ((p[i + 2] >> 3 & 7) != 4 || (p[i + 2] & 7) != reg || (mod == 0 && reg == 5))
			return false;
		memcpy(&disp, p + i + 3, in->len - i - 3);
	} else {
		if ((p[i + 1] & 7) != reg || (mod == 0 && reg == 5))
			return false;
		memcpy(&disp, p + i + 2, in->len - i - 2);
	}
	return disp == 0;
}

/* Zeros from off up to the next target or the end of the section: fill, whatever they decode to. */
static uint32_t zeros(const struct verify_text *t, uint32_t off)
{
	uint32_t i = off;

	while (i < t->size && !t->bytes[i] && !t->target[i])
		i++;
	return i == t->size || t->target[i] ? i - off : 0;
}

/* Bytes of the padding item at off: one no-op, one int3, or a run of zeros; 0 for code. */
static uint32_t item(struct verify_ctx *c, const struct verify_text *t, uint32_t off)
{
	struct verify_insn in;
	uint32_t z;

	if (t->bytes[off] == 0xcc)
		return 1;
	z = zeros(t, off);
	if (z)
		return z;
	return decode_at(c, t, off, &in) && is_noop(&in, t->bytes + off) ? in.len : 0;
}

/* int3 and nothing else from off up to the next target or the end of the section. */
static bool int3_fill(const struct verify_text *t, uint32_t off)
{
	while (off < t->size && !t->target[off] && t->bytes[off] == 0xcc)
		off++;
	return off == t->size || t->target[off];
}

/* Does control stop at the instruction `in`, which ends at off? */
static bool ends_flow(const struct verify_text *t, uint32_t off, const struct verify_insn *in)
{
	if (!verify_falls_through(in))
		return true;
	/* A ud2 of BUG() never returns; that of WARN() does, and so may one that no table knows. */
	if (in->flow == VF_STOP && t->mark[in->va - t->va] & MARK_NORETURN)
		return true;
	/* A call that never returns, or a trap, stands last in its function, and the linker fills up with int3. */
	return (in->flow == VF_CALL || in->flow == VF_STOP) && int3_fill(t, off);
}

/* Is off the start of a padding item that control cannot fall into? */
static bool unreachable(struct verify_ctx *c, const struct verify_text *t, uint32_t off)
{
	for (;;) {
		uint32_t before = off;
		struct verify_insn in;

		if (!off)
			return true;
		if (t->target[off])
			return false;
		do
			before--;
		while (before && !t->start[before]);
		if (!decode_at(c, t, before, &in) || before + in.len != off)
			return false;
		if (ends_flow(t, off, &in))
			return true;
		if (!item(c, t, before))
			return false;
		off = before;
	}
}

bool verify_is_padding(struct verify_ctx *c, uint32_t va, uint32_t len, uint8_t not_marks)
{
	const struct verify_text *t = verify_text_at(c->src, va);
	uint32_t off, end, start;

	if (!t || !len)
		return !len;
	off = start = va - t->va;
	end = off + len;
	if (end > t->size)
		return false;
	while (start && !t->start[start])
		start--;
	if (!unreachable(c, t, start))
		return false;
	for (uint32_t i = start; i < end; i++)
		if (t->target[i] || t->mark[i] & not_marks)
			return false;
	while (start < end) {
		uint32_t n = item(c, t, start);

		if (!n)
			return false;
		start += n;
	}
	return true;
}
