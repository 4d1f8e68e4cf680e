// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * See lower_long.h: memory reached through the software TLB. The address goes to R8D, what to add to it to R9, and the
 * instruction gets [R8 + R9] for its operand. No flag is touched on the way: shrx makes the page number, lea the sum, and
 * jrcxz decides, RCX waiting in R11 meanwhile. Without an entry the block is left with everything as it was before the
 * instruction, and the whole instruction is tried again.
 */
#include <stddef.h>

#include "hypercalls/lower_long_emit.h"
#include "hypercalls/policy.h"

#define MISS_LEN 17
#define SIZE_MAX_ACCESS 4096u /* a longer operand may have a page between its ends */

/* --- which instructions ------------------------------------------------------------------------------------ */

bool lower_long_soft_leaves(const struct insn *i)
{
	return long_is_string(i);
}

/* Elements under a mask may be absent from memory: VMASKMOV, VPMASKMOV, all of EVEX. */
static bool is_masked(const struct insn *i)
{
	if (i->map == 0x12)
		return (i->opcode >= 0x2c && i->opcode <= 0x2f) || i->opcode == 0x8c || i->opcode == 0x8e;
	return i->map >> 4 == 2;
}

bool lower_long_one_place(const struct insn *insn)
{
	return long_operand_moves(insn, OPERAND_HOLE) && !long_address_only(insn) && !long_is_bit_string(insn) &&
	       !is_masked(insn);
}

bool lower_long_touches(const struct insn *insn)
{
	return insn->has_mem ? !long_address_only(insn) : long_address_implied(insn);
}

static bool moves(const struct lower_insn *in)
{
	unsigned size;
	bool written;

	return long_operand_moves(&in->insn, OPERAND_SOFT) && lower_long_one_place(&in->insn) &&
	       insn_memory(&in->insn, in->bytes, &size, &written) && size && size <= SIZE_MAX_ACCESS;
}

/* The stack more than once, or at more than its top. */
static bool is_wide_stack(const struct insn *i)
{
	return i->map == 0 && (i->opcode == 0x60 || i->opcode == 0x61 || i->opcode == 0xc8);
}

enum lower_shape lower_long_soft_shape(const struct lower_insn *in)
{
	const struct insn *i = &in->insn;
	enum lower_shape shape = lower_long_shape(i);

	if (shape == LOWER_ALONE || policy_is_replaced(i->op))
		return shape;
	if (is_wide_stack(i) || long_address_implied(i))
		return LOWER_ALONE;
	return !i->has_mem || long_address_only(i) || moves(in) ? shape : LOWER_ALONE;
}

/* --- the look-up ------------------------------------------------------------------------------------------- */

static void load_part(const struct long_ctx *c, struct place at, uint8_t rex, uint8_t modrm, uint8_t sib,
		      size_t offset)
{
	uint8_t b[8] = {rex, OPCODE_LOAD, modrm, sib};

	put32(b + 4, (uint32_t)offset);
	emit(c->l, at, b, sizeof(b));
}

static void miss(const struct long_ctx *c, const struct lower_insn *in, struct place cx, unsigned size,
		 bool write)
{
	static const uint8_t jmp[] = {0xe9};
	uint8_t resume[6] = {0x41, 0xba}, access[6] = {0x41, 0xb9}; /* mov $,%r10d; mov $,%r9d */

	put32(resume + 2, in->start);
	put32(access + 2, size | (write ? LOWER_SOFT_WRITE : 0));
	emit(c->l, cx, resume, sizeof(resume));
	emit(c->l, cx, access, sizeof(access));
	emit_rel32(c->l, cx, jmp, sizeof(jmp), c->x->soft);
}

void long_soft_find(const struct long_ctx *c, const struct lower_insn *in, unsigned size, bool write)
{
	const struct place at = long_inside(c, in, 0), cx = long_inside(c, in, POINT_R11_CX);
	size_t part = write ? offsetof(struct lower_soft, write) : offsetof(struct lower_soft, read);
	size_t other = part + offsetof(struct lower_soft_part, one_minus_add);
	struct long_bytes o = {.n = 0};

	if (size > 1) {
		long_put_lea(&o, 10, 8, REG_NONE, 0, size - 1);
		emit(c->l, at, o.b, o.n);
		LONG_EMIT(c, at, 0xc4, 0x42, 0x03, 0xf7, 0xd2); /* shrx %r15d,%r10d,%r10d */
	}
	LONG_EMIT(c, at, 0xc4, 0x42, 0x03, 0xf7, 0xc8); /* shrx %r15d,%r8d,%r9d */
	LONG_EMIT(c, at, 0x49, 0x89, 0xcb);		/* mov %rcx,%r11 */
	if (size > 1)
		load_part(c, at, 0x4b, 0x8c, 0xd4, other); /* mov one_minus_add(%r12,%r10,8),%rcx */
	else
		load_part(c, at, 0x4b, 0x8c, 0xcc, other); /* mov one_minus_add(%r12,%r9,8),%rcx */
	load_part(c, cx, 0x4f, 0x8c, 0xcc, part);	   /* mov add(%r12,%r9,8),%r9 */
	LONG_EMIT(c, cx, 0x4a, 0x8d, 0x4c, 0x09, 0xff);	   /* lea -1(%rcx,%r9),%rcx */
	LONG_EMIT(c, cx, 0xe3, MISS_LEN);		   /* jrcxz over the miss */
	miss(c, in, cx, size, write);
	LONG_EMIT(c, cx, 0x4c, 0x89, 0xd9); /* mov %r11,%rcx */
}

uint32_t lower_long_soft_miss(struct lower *l, uint32_t site)
{
	static const uint8_t store[] = {0x44, OPCODE_STORE};
	const uint32_t page = l->hole_base + ABI_VCPU_PAGE;
	const struct long_ctx c = {.l = l};
	const struct place after = {.state = POINT_AFTER};
	struct lower_insn pad = {.site = site, .pad = MANIFEST_NONE};
	uint32_t start = emit_here(l);

	l->err = 0;
	l->long_code = true;
	LONG_EMIT(&c, after, 0x4c, 0x89, 0xd9); /* mov %r11,%rcx */
	long_hole(&c, after, store, sizeof(store), 0, page + VCPU_TARGET, 0, 0);
	long_hole(&c, after, store, sizeof(store), 2, page + VCPU_SOFT_RESUME, 0, 0);
	long_hole(&c, after, store, sizeof(store), 1, page + VCPU_SOFT_ACCESS, 0, 0);
	emit_exit(l, &pad, after);
	return l->err ? 0 : start;
}
