// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * See lower_long.h: ordinary instructions, and those of them that have to become several. SDM 2B PUSH, POP.
 *
 * What may fault comes before anything of the guest's registers changes. A store to the guest's stack that is done again
 * does no harm, so everything up to the change of ESP is "inside" the instruction, unless its operand is in memory that
 * the store may have changed: then there is only forward.
 */
#include <errno.h>
#include <string.h>

#include "hypercalls/lower_long_emit.h"

static bool is_moffs(const struct insn *i)
{
	return i->map == 0 && (i->opcode & 0xfc) == 0xa0;
}

static bool is_lea(const struct insn *i)
{
	return i->map == 0 && i->opcode == 0x8d;
}

static bool is_pop_operand(const struct insn *i)
{
	return i->map == 0 && i->opcode == 0x8f;
}

static bool is_based(const struct insn *i)
{
	return i->seg == SEG_FS || i->seg == SEG_GS;
}

/* The address cannot stand as it is: it has a base to be added, wraps at 64 KiB, or is meant after ESP has moved. */
static bool must_move(const struct insn *i)
{
	if (!i->has_mem || long_address_only(i))
		return is_lea(i) && i->adsize == 2;
	return is_based(i) || i->adsize == 2 || (is_pop_operand(i) && i->base == REG_SP);
}

/* The stack has forms of 16 bits for what compilers and kernels use; POP SP and these have none. */
static bool is_odd_stack(const struct insn *i)
{
	if (i->map != 0)
		return false;
	switch (i->opcode) {
	case 0xc8: /* ENTER */
		return true;
	case 0x5c: /* POP SP */
	case 0x60: /* PUSHA POPA */
	case 0x61:
		return i->prefixes & INSN_OPSIZE;
	case 0x8f:
		return (i->prefixes & INSN_OPSIZE) && !i->has_mem && i->rm == REG_SP;
	default:
		return false;
	}
}

bool long_can(const struct insn *i)
{
	if (!long_encodes(i) || is_odd_stack(i))
		return false;
	if (long_address_only(i))
		return true;
	if (i->seg == SEG_CS) /* which may not be written to, nor always read */
		return false;
	if (long_is_string(i) || long_address_implied(i))
		return i->adsize == 4 && !is_based(i);
	if (long_is_bit_string(i) &&
	    i->adsize == 2) /* the bit's address wraps at 64 KiB too, and only the CPU adds it up */
		return false;
	return !must_move(i) || long_operand_moves(i, OPERAND_R8);
}

/* --- addresses --------------------------------------------------------------------------------------------- */

/* 16 bits of address: lea disp(base,index),%r8d; movzwl %r8w,%r8d */
static void load_narrow(const struct long_ctx *c, const struct lower_insn *in, struct place at, struct place then,
			uint32_t disp)
{
	const struct insn *i = &in->insn;
	struct long_bytes o = {.n = 0};

	long_put_lea(&o, 8, i->base, i->index, 1, disp);
	emit(c->l, at, o.b, o.n);
	LONG_EMIT(c, then, 0x45, 0x0f, 0xb7, 0xc0);
}

/* The base of FS or GS into R9D; R9 alone faults while an access has to be looked at. */
static void load_base(const struct long_ctx *c, const struct lower_insn *in, struct place at)
{
	static const uint8_t mov[] = {0x4c, OPCODE_LOAD};
	uint32_t field = in->insn.seg == SEG_FS ? VCPU_FS_AT : VCPU_GS_AT;

	long_hole(c, at, mov, sizeof(mov), 1, c->l->hole_base + ABI_VCPU_PAGE + field, 0, 0);
	LONG_EMIT(c, long_inside(c, in, 0), 0x45, OPCODE_LOAD, 0x09); /* mov (%r9),%r9d */
}

/*
 * The linear address of the memory operand into R8D. lea adds without flags, and cuts to 32 bits; three terms take two
 * of them.
 */
static void load_address(const struct long_ctx *c, const struct lower_insn *in, struct place first)
{
	const struct insn *i = &in->insn;
	struct place inside = long_inside(c, in, 0);
	uint32_t disp = (uint32_t)i->disp;
	unsigned base = i->base, index = i->index, scale = i->scale;
	bool based = is_based(i) && !is_lea(i);
	struct long_bytes o = {.n = 0};

	if (is_pop_operand(i) && base == REG_SP) /* SDM 2B POP: computed after ESP has moved */
		disp += i->opsize;
	if (i->adsize == 2) {
		load_narrow(c, in, first, inside, disp);
		first = inside;
		if (!based)
			return;
		base = 8;
		index = REG_NONE;
		disp = 0;
	}
	if (based) {
		load_base(c, in, first);
		first = inside;
		if (base == REG_NONE) {
			base = 9;
		} else if (index == REG_NONE) {
			index = 9;
			scale = 1;
		} else {
			long_put_lea(&o, 8, base, index, scale, disp);
			emit(c->l, first, o.b, o.n);
			o.n = 0;
			base = 8;
			index = 9;
			scale = 1;
			disp = 0;
		}
	}
	long_put_lea(&o, 8, base, index, scale, disp);
	emit(c->l, first, o.b, o.n);
}

void long_hole(const struct long_ctx *c, struct place at, const uint8_t *opcode, size_t len, unsigned reg,
	       uint32_t address, uint32_t imm, size_t imm_len)
{
	struct long_bytes o = {.n = len};

	memcpy(o.b, opcode, len);
	long_put(&o, (uint8_t)((reg & 7) << 3 | 5));
	long_put32(&o, address - (emit_here(c->l) + (uint32_t)(o.n + 4 + imm_len)));
	for (size_t n = 0; n < imm_len; n++)
		long_put(&o, (uint8_t)(imm >> 8 * n));
	emit(c->l, at, o.b, o.n);
}

static enum long_operand find_soft(const struct long_ctx *c, const struct lower_insn *in, struct place *at)
{
	unsigned size = 0;
	bool written = false;

	if (!insn_memory(&in->insn, in->bytes, &size, &written) && !c->l->err)
		c->l->err = -EOPNOTSUPP;
	load_address(c, in, *at);
	long_soft_find(c, in, size, written);
	*at = long_inside(c, in, 0);
	return OPERAND_SOFT;
}

/* Moved to R8 where it must be, `at` afterwards the place of what comes next. */
static enum long_operand find_operand(const struct long_ctx *c, const struct lower_insn *in, struct place *at)
{
	if (c->operand != MANIFEST_NONE)
		return OPERAND_HOLE;
	if (in->soft)
		return find_soft(c, in, at);
	if (!must_move(&in->insn))
		return OPERAND_GUEST;
	load_address(c, in, *at);
	*at = long_inside(c, in, 0);
	return OPERAND_R8;
}

static void move_operand(const struct long_ctx *c, const struct lower_insn *in, struct place first,
			 uint8_t opcode, unsigned reg, bool narrow)
{
	enum long_operand where = find_operand(c, in, &first);
	uint8_t rex = (uint8_t)((reg >= 8 ? REX_R : 0) | long_operand_rex(where));
	struct long_bytes o = {.n = 0};

	long_put_access(c, &o, where);
	if (narrow)
		long_put(&o, 0x66);
	if (rex)
		long_put(&o, REX | rex);
	long_put(&o, opcode);
	long_put_operand(c, &o, in, reg, where, 0);
	emit(c->l, first, o.b, o.n);
}

void long_move_operand(const struct long_ctx *c, const struct lower_insn *in, struct place first,
		       uint8_t opcode, unsigned reg)
{
	move_operand(c, in, first, opcode, reg, false);
}

/* --- the stack --------------------------------------------------------------------------------------------- */

/* A register that is free for what an instruction takes from memory to memory. */
static unsigned spare(const struct lower_insn *in)
{
	return in->soft ? 14 : 8;
}

/* The host address of disp(base) into R8 + R9. */
static void frame_find(const struct long_ctx *c, const struct lower_insn *in, struct place at, unsigned base, int8_t disp,
		       unsigned size, bool write)
{
	struct long_bytes o = {.n = 0};

	long_put_lea(&o, 8, base, REG_NONE, 0, (uint32_t)disp);
	emit(c->l, at, o.b, o.n);
	long_soft_find(c, in, size, write);
}

/* [66] REX opcode reg,(%r8,%r9), as far as `reg` */
static void put_soft(struct long_bytes *o, uint8_t opcode, unsigned reg, bool narrow)
{
	if (narrow)
		long_put(o, 0x66);
	long_put(o, (uint8_t)(REX | REX_X | REX_B | (reg >= 8 ? REX_R : 0)));
	long_put(o, opcode);
	long_put(o, (uint8_t)(4 | (reg & 7) << 3));
	long_put(o, 0x08);
}

/* opcode reg, disp(base), base being ESP or EBP */
static void frame_move(const struct long_ctx *c, const struct lower_insn *in, struct place at, uint8_t opcode, unsigned reg,
		       unsigned base, int8_t disp, bool narrow)
{
	struct long_bytes o = {.n = 0};

	if (in->soft) {
		frame_find(c, in, at, base, disp, narrow ? 2 : 4, opcode == OPCODE_STORE);
		put_soft(&o, opcode, reg, narrow);
		emit(c->l, long_inside(c, in, 0), o.b, o.n);
		return;
	}
	long_put_access(c, &o, OPERAND_GUEST);
	if (narrow)
		long_put(&o, 0x66);
	if (reg >= 8)
		long_put(&o, REX | REX_R);
	long_put(&o, opcode);
	if (disp == 0 && base == REG_SP) {
		long_put(&o, (uint8_t)(4 | (reg & 7) << 3));
		long_put(&o, 0x24);
	} else {
		long_put(&o, (uint8_t)(0x40 | (reg & 7) << 3 | base));
		if (base == REG_SP)
			long_put(&o, 0x24);
		long_put(&o, (uint8_t)disp);
	}
	emit(c->l, at, o.b, o.n);
}

void long_stack_move(const struct long_ctx *c, const struct lower_insn *in, struct place at, uint8_t opcode,
		     unsigned reg, int8_t disp)
{
	frame_move(c, in, at, opcode, reg, REG_SP, disp, false);
}

static void stack_imm(const struct long_ctx *c, const struct lower_insn *in, struct place at, uint32_t imm, bool narrow)
{
	struct long_bytes o = {.n = 0};

	if (in->soft) {
		frame_find(c, in, at, REG_SP, narrow ? -2 : -4, narrow ? 2 : 4, true);
		LONG_EMIT(c, long_inside(c, in, 0), 0x45, 0x89, 0xf2); /* mov %r14d,%r10d: see indirect() */
		put_soft(&o, 0xc7, 0, narrow);
		long_put32(&o, imm);
		emit(c->l, long_inside(c, in, 0), o.b, narrow ? o.n - 2 : o.n);
		return;
	}
	long_put_access(c, &o, OPERAND_GUEST);
	if (narrow)
		long_put(&o, 0x66);
	long_put(&o, 0xc7);
	long_put(&o, 0x44);
	long_put(&o, 0x24);
	long_put(&o, narrow ? 0xfe : 0xfc);
	long_put32(&o, imm);
	emit(c->l, at, o.b, narrow ? o.n - 2 : o.n);
}

void long_stack_imm(const struct long_ctx *c, const struct lower_insn *in, struct place at, uint32_t imm)
{
	stack_imm(c, in, at, imm, false);
}

/* lea n(%rsp),%esp: the flags stay, the upper half goes. */
void long_stack_add(const struct long_ctx *c, struct place at, int32_t n)
{
	struct long_bytes o = {.n = 0};

	long_put_lea(&o, REG_SP, REG_SP, REG_NONE, 0, (uint32_t)n);
	emit(c->l, at, o.b, o.n);
}

static bool is_narrow(const struct lower_insn *in)
{
	return in->insn.prefixes & INSN_OPSIZE;
}

static int8_t stack_width(const struct lower_insn *in)
{
	return is_narrow(in) ? 2 : 4;
}

/* Of PUSH ESP the old value goes, which `mov` does by itself. */
static void push_register(const struct long_ctx *c, const struct lower_insn *in, struct place first,
			  unsigned reg)
{
	frame_move(c, in, first, OPCODE_STORE, reg, REG_SP, -stack_width(in), is_narrow(in));
	long_stack_add(c, long_inside(c, in, 0), -stack_width(in));
}

static void push_immediate(const struct long_ctx *c, const struct lower_insn *in, struct place first)
{
	stack_imm(c, in, first, (uint32_t)in->insn.imm, is_narrow(in));
	long_stack_add(c, long_inside(c, in, 0), -stack_width(in));
}

static void pop_register(const struct long_ctx *c, const struct lower_insn *in, struct place first,
			 unsigned reg)
{
	frame_move(c, in, first, OPCODE_LOAD, reg, REG_SP, 0, is_narrow(in));
	if (reg != REG_SP)
		long_stack_add(c, long_after(in), stack_width(in));
}

/* PUSH r/m and POP r/m; registers have forms of their own, but may come this way. */
static void push_operand(const struct long_ctx *c, const struct lower_insn *in, struct place first)
{
	if (!in->insn.has_mem) {
		push_register(c, in, first, in->insn.rm);
		return;
	}
	move_operand(c, in, first, OPCODE_LOAD, spare(in), is_narrow(in));
	frame_move(c, in, long_inside(c, in, 0), OPCODE_STORE, spare(in), REG_SP, -stack_width(in), is_narrow(in));
	long_stack_add(c, long_after(in), -stack_width(in));
}

static void pop_operand(const struct long_ctx *c, const struct lower_insn *in, struct place first)
{
	unsigned reg = in->soft ? spare(in) : 10; /* R8 and R9 may be wanted for the operand's address */

	if (!in->insn.has_mem) {
		pop_register(c, in, first, in->insn.rm);
		return;
	}
	frame_move(c, in, first, OPCODE_LOAD, reg, REG_SP, 0, is_narrow(in));
	move_operand(c, in, long_inside(c, in, 0), OPCODE_STORE, reg, is_narrow(in));
	long_stack_add(c, long_after(in), stack_width(in));
}

/* In the order of the SDM, so that a fault in the middle finds in memory what a processor leaves there. */
static void pusha(const struct long_ctx *c, const struct lower_insn *in, struct place first)
{
	for (unsigned reg = REG_AX; reg <= REG_DI; reg++) {
		frame_move(c, in, first, OPCODE_STORE, reg, REG_SP, (int8_t)(-4 * ((int)reg + 1)), false);
		first = long_inside(c, in, 0);
	}
	long_stack_add(c, first, -32);
}

/* The ends are read twice: once the registers change, nothing faults. ESP's own word is skipped, as the manual has it. */
static void popa(const struct long_ctx *c, const struct lower_insn *in, struct place first)
{
	frame_move(c, in, first, OPCODE_LOAD, 8, REG_SP, 0, false);
	frame_move(c, in, long_inside(c, in, 0), OPCODE_LOAD, 8, REG_SP, 28, false);
	for (unsigned n = 0, reg = REG_DI; n < 8; n++, reg--)
		if (reg != REG_SP)
			frame_move(c, in, n ? long_after(in) : long_inside(c, in, 0), OPCODE_LOAD, reg, REG_SP,
				   (int8_t)(4 * n), false);
	long_stack_add(c, long_after(in), 32);
}

static void leave(const struct long_ctx *c, const struct lower_insn *in, struct place first)
{
	static const uint8_t mov_ebp[] = {0x66, 0x44, 0x89, 0xc5}; /* mov %r8w,%bp; without 66 %r8d,%ebp */
	struct long_bytes o = {.n = 0};

	frame_move(c, in, first, OPCODE_LOAD, 8, REG_BP, 0, is_narrow(in));
	long_put_lea(&o, REG_SP, REG_BP, REG_NONE, 0, (uint32_t)stack_width(in));
	emit(c->l, long_inside(c, in, 0), o.b, o.n);
	emit(c->l, long_after(in), mov_ebp + !is_narrow(in), sizeof(mov_ebp) - !is_narrow(in));
}

/* --- others ------------------------------------------------------------------------------------------------ */

/* 40 to 4F are REX prefixes by now. */
static void inc_dec(const struct long_ctx *c, const struct lower_insn *in, struct place first)
{
	struct long_bytes o = {.n = 0};

	long_put_prefixes(&o, &in->insn);
	long_put(&o, 0xff);
	long_put(&o, (uint8_t)(0xc0 | (in->insn.opcode & 15)));
	emit(c->l, first, o.b, o.n);
}

/* MOV between the accumulator and an address in the instruction becomes the one with ModRM: with 67 it is decoded faster. */
static void move_offset(const struct long_ctx *c, const struct lower_insn *in, struct place first)
{
	const struct insn *i = &in->insn;
	enum long_operand where = in->soft ? OPERAND_SOFT : is_based(i) ? OPERAND_R8 : OPERAND_GUEST;
	struct long_bytes o = {.n = 0};

	if (where != OPERAND_GUEST)
		load_address(c, in, first);
	if (where == OPERAND_SOFT)
		long_soft_find(c, in, i->opcode & 1 ? i->opsize : 1, i->opcode & 2);
	long_put_access(c, &o, where);
	long_put_prefixes(&o, i);
	if (long_operand_rex(where))
		long_put(&o, REX | long_operand_rex(where));
	long_put(&o, (uint8_t)(0x88 | (i->opcode & 1) | (i->opcode & 2 ? 0 : 2)));
	if (where == OPERAND_SOFT) {
		long_put(&o, 0x04);
		long_put(&o, 0x08);
	} else if (where == OPERAND_R8) {
		long_put(&o, 0x00);
	} else {
		long_put(&o, 0x04);
		long_put(&o, 0x25);
		long_put32(&o, (uint32_t)i->disp & (i->adsize == 2 ? 0xffff : 0xffffffff));
	}
	emit(c->l, where != OPERAND_GUEST ? long_inside(c, in, 0) : first, o.b, o.n);
}

/* LEA with 16-bit addressing: the operand size says what becomes of the 16 bits. */
static void lea_narrow(const struct long_ctx *c, const struct lower_insn *in, struct place first)
{
	struct long_bytes o = {.n = 0};

	load_address(c, in, first);
	long_put_prefixes(&o, &in->insn);
	long_put(&o, REX | REX_R);
	long_put(&o, OPCODE_STORE);
	long_put(&o, (uint8_t)(0xc0 | (in->insn.reg & 7)));
	emit(c->l, long_inside(c, in, 0), o.b, o.n);
}

/* The forms of map 0 that are more than an operand. */
static bool special(const struct long_ctx *c, const struct lower_insn *in, struct place first)
{
	const struct insn *i = &in->insn;

	switch (i->opcode) {
	case 0x40 ... 0x4f:
		inc_dec(c, in, first);
		return true;
	case 0x50 ... 0x57:
		push_register(c, in, first, i->opcode & 7);
		return true;
	case 0x58 ... 0x5f:
		pop_register(c, in, first, i->opcode & 7);
		return true;
	case 0x60:
		pusha(c, in, first);
		return true;
	case 0x61:
		popa(c, in, first);
		return true;
	case 0x68:
	case 0x6a:
		push_immediate(c, in, first);
		return true;
	case 0x8d:
		if (i->adsize == 2)
			lea_narrow(c, in, first);
		return i->adsize == 2;
	case 0x8f:
		pop_operand(c, in, first);
		return true;
	case 0xc9:
		leave(c, in, first);
		return true;
	case 0xff:
		if ((i->reg & 7) == 6)
			push_operand(c, in, first);
		return (i->reg & 7) == 6;
	}
	if (is_moffs(i))
		move_offset(c, in, first);
	else if (long_is_string(i))
		long_string(c, in, first);
	else
		return false;
	return true;
}

/* --- what the x87 remembers -------------------------------------------------------------------------------- */

/* The offset of an operand at FS or GS; others are flat, and R8 has it. */
static void load_offset(const struct long_ctx *c, const struct lower_insn *in, struct place at)
{
	const struct insn *i = &in->insn;
	struct long_bytes o = {.n = 0};

	if (!is_based(i))
		return;
	if (i->adsize == 2) {
		load_narrow(c, in, at, at, (uint32_t)i->disp);
		return;
	}
	long_put_lea(&o, 8, i->base, i->index, i->scale, (uint32_t)i->disp);
	emit(c->l, at, o.b, o.n);
}

/* Behind the instruction, which may fault: before it the pointers are still those of another. */
static void note_x87_operand(const struct long_ctx *c, const struct lower_insn *in)
{
	static const uint8_t store[] = {0x44, OPCODE_STORE}, mov[] = {0xc7};
	const uint32_t page = c->l->hole_base + ABI_VCPU_PAGE;
	const struct place after = long_after(in);

	load_offset(c, in, after);
	long_hole(c, after, store, sizeof(store), 0, page + VCPU_X87_OPERAND, 0, 0);
	long_hole(c, after, mov, sizeof(mov), 0, page + VCPU_X87_OPCODE, insn_x87_opcode(&in->insn), 4);
}

/*
 * The stored pointer, less where blocks begin, is below their size if its top byte is 0. (Done again, the store does no
 * harm.)
 */
void long_check_x87(const struct long_ctx *c, struct lower_insn *in)
{
	struct place inside = long_inside(c, in, 0), cx = long_inside(c, in, POINT_R9_CX);
	struct long_bytes o = {.n = 0};

	_Static_assert(ABI_BLOCKS_SIZE == 1 << 24, "a top byte of 0");
	if (!in->soft)
		load_address(c, in, inside);
	long_put_access(c, &o, in->soft ? OPERAND_SOFT : OPERAND_R8);
	long_put(&o, REX | REX_R | long_operand_rex(in->soft ? OPERAND_SOFT : OPERAND_R8));
	long_put(&o, OPCODE_LOAD);
	long_put(&o, in->soft ? 0x54 : 0x50); /* mov 8(%r8),%r10d or 8(%r8,%r9) */
	if (in->soft)
		long_put(&o, 0x08);
	long_put(&o, 8);
	emit(c->l, inside, o.b, o.n);
	o.n = 0;
	long_put_lea(&o, 10, 10, REG_NONE, 0, -(c->l->hole_base + ABI_BLOCKS));
	emit(c->l, inside, o.b, o.n);
	LONG_EMIT(c, inside, 0x41, 0x0f, 0xca);	  /* bswap %r10d */
	LONG_EMIT(c, inside, 0x49, 0x89, 0xc9);	  /* mov %rcx,%r9 */
	LONG_EMIT(c, inside, 0x41, 0x0f, 0xb6, 0xca); /* movzbl %r10b,%ecx */
	LONG_EMIT(c, cx, 0xe3, 2);		  /* jrcxz over the jump */
	LONG_EMIT(c, cx, 0xeb, 8);		  /* jmp over the exit */
	LONG_EMIT(c, cx, 0x4c, 0x89, 0xc9);	  /* mov %r9,%rcx */
	emit_exit(c->l, in, inside);
	LONG_EMIT(c, cx, 0x4c, 0x89, 0xc9);
}

void long_plain(const struct long_ctx *c, const struct lower_insn *in, struct place first)
{
	const struct insn *i = &in->insn;
	bool sets = insn_sets_x87_operand(i), moved;
	enum long_operand where = OPERAND_GUEST;

	if (i->map == 0 && special(c, in, first))
		return;
	if (i->has_mem && !long_address_only(i))
		where = find_operand(c, in, &first);
	moved = sets && (where == OPERAND_R8 || where == OPERAND_SOFT);
	if (moved)
		first.flags |= POINT_X87_MOVED;
	else if (sets && i->mod == 0 && i->adsize == 4 && (i->rm & 7) == 5)
		first.flags |= POINT_X87_ABSOLUTE;
	long_instruction(c, in, first, where);
	if (moved)
		note_x87_operand(c, in);
}
