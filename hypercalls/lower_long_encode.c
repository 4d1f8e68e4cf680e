// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * See lower_long.h: the guest's own instruction, as bytes of 64-bit code that mean the same.
 *
 * Prefixes are written anew: each that counts once, in an order of ours, so that the longest guest instruction stays within
 * 15 bytes. Bits that 32-bit mode ignores and 64-bit mode does not (SDM 2A 2.3.5, 2.3.6, 2.7.2: W where it makes a
 * general register wider, the top bits of register numbers) are put to what they meant.
 */
#include <errno.h>
#include <string.h>

#include "hypercalls/lower_long_emit.h"

#define PREFIX_GS 0x65
#define PREFIX_ADDRESS 0x67
#define ESCAPE_EVEX 0x62
#define ESCAPE_VEX 0xc4
#define ESCAPE_XOP 0x8f

/* decode.h: insn->map */
enum { ENCODING_LEGACY, ENCODING_VEX, ENCODING_EVEX, ENCODING_XOP, ENCODING_MVEX, ENCODING_3DNOW };
enum { PP_NONE, PP_66, PP_F3, PP_F2 };

static bool is_legacy(const struct insn *i)
{
	return i->map < 0x10 || i->map >> 4 == ENCODING_3DNOW;
}

/* --- what there is ----------------------------------------------------------------------------------------- */

/* Of map 0: gone from 64-bit mode (SDM 2B to 2D, "Invalid" in the column of 64-bit mode), its byte means another thing. */
static bool is_gone(const struct insn *i)
{
	switch (i->opcode) {
	case 0x27: /* DAA DAS AAA AAS */
	case 0x2f:
	case 0x37:
	case 0x3f:
	case 0x62: /* BOUND */
	case 0x63: /* ARPL */
	case 0xc4: /* LES LDS */
	case 0xc5:
	case 0xce: /* INTO */
	case 0xd4: /* AAM AAD SALC */
	case 0xd5:
	case 0xd6:
		return true;
	default:
		return false;
	}
}

/* An address in a register beside the ModRM operand, or instead of one: MOVDIR64B, ENQCMD; ENCLU. */
static bool has_hidden_address(const struct insn *i)
{
	if (i->map == 2 && i->opcode == 0xf8)
		return true;
	return i->map == 1 && i->opcode == 0x01 && !i->has_mem && i->mod == 3 && i->reg == 2 && i->rm == 7;
}

bool long_encodes(const struct insn *i)
{
	return !(i->map == 0 && is_gone(i)) && !has_hidden_address(i) && i->map >> 4 != ENCODING_MVEX;
}

/* Nothing comes of the upper half of the address: needs no prefixes. */
static bool is_lea_or_nop(const struct insn *i)
{
	return (i->map == 0 && i->opcode == 0x8d) || (i->map == 1 && i->opcode == 0x1f);
}

bool long_address_only(const struct insn *i)
{
	return i->has_mem &&
	       (is_lea_or_nop(i) ||
		(i->map == 1 && (i->opcode == 0x0d || (i->opcode >= 0x18 && i->opcode <= 0x1e))));
}

bool long_address_implied(const struct insn *i)
{
	return (i->map == 0 && i->opcode == 0xd7) ||
	       ((i->map == 1 || i->map == 0x11) && i->opcode == 0xf7 && !i->has_mem) ||
	       (i->map == 1 && i->opcode == 0x01 && i->mod == 3 && i->reg == 7 && i->rm == 4);
}

/* AH CH DH BH in ModRM.reg, which no REX prefix may accompany. */
static bool has_high_byte(const struct insn *i)
{
	static const uint8_t groups[] = {0x80, 0x82, 0xc0, 0xc6, 0xd0, 0xd2, 0xf6, 0xfe};

	if (!is_legacy(i) || i->opsize != 1 || (i->reg & 7) < 4)
		return false;
	for (size_t n = 0; n < sizeof(groups) && i->map == 0; n++)
		if (i->opcode == groups[n])
			return false;
	return true;
}

/* Gathers and scatters: the index is a vector. */
static bool has_vector_index(const struct insn *i)
{
	if (i->map != 0x12 && i->map != 0x22)
		return false;
	return (i->opcode >= 0x90 && i->opcode <= 0x93) ||
	       (i->map == 0x22 && ((i->opcode >= 0xa0 && i->opcode <= 0xa3) || (i->opcode | 1) == 0xc7));
}

bool long_operand_moves(const struct insn *i, enum long_operand where)
{
	return i->has_mem && !has_vector_index(i) && (where == OPERAND_HOLE || !has_high_byte(i));
}

/* BT and kin with the bit number in a register: the operand reaches as far as that. */
bool long_is_bit_string(const struct insn *i)
{
	return i->map == 1 && i->has_mem &&
	       (i->opcode == 0xa3 || i->opcode == 0xab || i->opcode == 0xb3 || i->opcode == 0xbb);
}

/* --- prefixes ---------------------------------------------------------------------------------------------- */

void long_put_access(const struct long_ctx *c, struct long_bytes *o, enum long_operand where)
{
	if ((where == OPERAND_GUEST || where == OPERAND_R8) && c->view == VIEW_SUPERVISOR)
		long_put(o, PREFIX_GS);
	if (where == OPERAND_GUEST)
		long_put(o, PREFIX_ADDRESS);
}

void long_put_prefixes(struct long_bytes *o, const struct insn *i)
{
	if (i->prefixes & INSN_LOCK)
		long_put(o, 0xf0);
	if (i->prefixes & INSN_OPSIZE)
		long_put(o, 0x66);
	if (i->prefixes & (INSN_REP | INSN_REPNE))
		long_put(o, i->prefixes & INSN_REP ? 0xf3 : 0xf2);
}

static size_t prefix_length(const uint8_t *bytes)
{
	static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3};
	size_t n = 0;

	while (memchr(prefixes, bytes[n], sizeof(prefixes)))
		n++;
	return n;
}

/* --- opcodes ----------------------------------------------------------------------------------------------- */

/* W would make a general register 64 bits wide, where 32-bit mode ignores it. */
static bool vex_w_widens(const struct insn *i, uint8_t pp)
{
	bool scalar = pp == PP_F3 || pp == PP_F2;

	switch (i->map) {
	case 0x11:
	case 0x21:
		if (i->opcode == 0x7e)
			return pp == PP_66; /* VMOVD to r/m32; with F3 it is VMOVQ */
		if (i->opcode == 0x6e || i->opcode == 0xc4 || i->opcode == 0xc5)
			return true;
		if (i->opcode >= 0x2a && i->opcode <= 0x2d && i->opcode != 0x2b)
			return scalar;
		if (i->map == 0x11 && (i->opcode == 0x92 || i->opcode == 0x93)) /* KMOV */
			return pp == PP_F2;
		return i->map == 0x21 && (i->opcode == 0x78 || i->opcode == 0x79 || i->opcode == 0x7b) &&
		       scalar;
	case 0x12:
		return i->opcode >= 0xf2 && i->opcode <= 0xf7;
	case 0x22:
		return i->opcode >= 0x7a && i->opcode <= 0x7c; /* VPBROADCAST from a register */
	case 0x13:
		return i->opcode == 0xf0 || (i->opcode >= 0x14 && i->opcode <= 0x17) || i->opcode == 0x20 ||
		       i->opcode == 0x22;
	case 0x23:
		return (i->opcode >= 0x14 && i->opcode <= 0x17) || i->opcode == 0x20 || i->opcode == 0x22;
	case 0x39: /* TBM */
	case 0x3a:
		return i->opcode < 0x20;
	default:
		return false;
	}
}

/* As the three-byte form, which has bits for R8 and R9. Returns the length of the guest's. */
static size_t put_vex(struct long_bytes *o, const struct insn *i, const uint8_t *v, uint8_t rex)
{
	bool three = v[0] != 0xc5;
	uint8_t map = three ? v[1] & 0x1f : 1, tail = three ? v[2] : v[1] & 0x7f;

	if (vex_w_widens(i, tail & 3))
		tail &= 0x7f;
	long_put(o, v[0] == ESCAPE_XOP ? ESCAPE_XOP : ESCAPE_VEX);
	long_put(o, (uint8_t)((0xe0 & ~(rex << 5)) | map)); /* R X B are inverted */
	long_put(o, tail | 0x40);			  /* and so is vvvv */
	long_put(o, i->opcode);
	return three ? 4 : 3;
}

static size_t put_evex(struct long_bytes *o, const struct insn *i, const uint8_t *v, uint8_t rex)
{
	uint8_t p1 = v[2] | 0x40;

	if (vex_w_widens(i, p1 & 3))
		p1 &= 0x7f;
	long_put(o, ESCAPE_EVEX);
	long_put(o, (uint8_t)((v[1] | 0xf0) & ~(rex << 5)));
	long_put(o, p1);
	long_put(o, v[3] | 0x08); /* V' */
	long_put(o, i->opcode);
	return 5;
}

/* Everything in front of ModRM; returns where the guest's own bytes go on. */
static size_t put_opcode(struct long_bytes *o, const struct lower_insn *in, uint8_t rex)
{
	const struct insn *i = &in->insn;
	size_t n = prefix_length(in->bytes), end = i->has_modrm ? i->modrm_off : i->len;

	if (!is_legacy(i))
		return n + (i->map >> 4 == ENCODING_EVEX ? put_evex : put_vex)(o, i, in->bytes + n, rex);
	long_put_prefixes(o, i);
	if (rex)
		long_put(o, REX | rex);
	if (i->map == 0 && i->opcode == 0x82) { /* 80, once more */
		long_put(o, 0x80);
		n++;
	}
	for (; n < end; n++)
		long_put(o, in->bytes[n]);
	return n;
}

/* --- operands ---------------------------------------------------------------------------------------------- */

/* Where the ModRM operand ends and immediates begin (3DNow!'s opcode is one). */
static size_t operand_end(const struct insn *i)
{
	if (!i->has_modrm)
		return i->len;
	if (i->has_mem && i->disp_len)
		return i->disp_off + i->disp_len;
	return i->modrm_off + 1u + (i->has_mem && i->adsize != 2 && (i->rm & 7) == 4);
}

void long_put_operand(const struct long_ctx *c, struct long_bytes *o, const struct lower_insn *in,
		      unsigned reg, enum long_operand where, size_t tail)
{
	const struct insn *i = &in->insn;
	uint8_t middle = (uint8_t)((reg & 7) << 3);

	if (where == OPERAND_R8) {
		long_put(o, middle);
	} else if (where == OPERAND_SOFT) {
		long_put(o, middle | 4);
		long_put(o, 0x08); /* (%r8,%r9) */
	} else if (where == OPERAND_HOLE) {
		long_put(o, middle | 5);
		long_put32(o, c->operand - (emit_here(c->l) + (uint32_t)(o->n + 4 + tail)));
	} else if (i->mod == 0 &&
		   (i->rm & 7) == 5) { /* disp32 alone: relative to RIP by now, unless by a SIB byte */
		long_put(o, middle | 4);
		long_put(o, 0x25);
		long_put32(o, (uint32_t)i->disp);
	} else {
		long_put(o, (uint8_t)((in->bytes[i->modrm_off] & 0xc7) | middle));
		for (size_t n = i->modrm_off + 1u; n < operand_end(i); n++)
			long_put(o, in->bytes[n]);
	}
}

void long_put_lea(struct long_bytes *o, unsigned reg, unsigned base, unsigned index, unsigned scale,
		  uint32_t disp)
{
	static const uint8_t log2[] = {[1] = 0, [2] = 1, [4] = 2, [8] = 3};
	bool small = (int32_t)disp >= -128 && (int32_t)disp < 128;
	uint8_t mod = base == REG_NONE ? 0 : disp == 0 && (base & 7) != REG_BP ? 0 : small ? 1 : 2;
	uint8_t rex = REX;

	rex |= reg >= 8 ? REX_R : 0;
	rex |= index != REG_NONE && index >= 8 ? REX_X : 0;
	rex |= base != REG_NONE && base >= 8 ? REX_B : 0;
	if (rex != REX)
		long_put(o, rex);
	long_put(o, 0x8d);
	long_put(o, (uint8_t)(mod << 6 | (reg & 7) << 3 | 4));
	long_put(o, (uint8_t)((index == REG_NONE ? 0 : log2[scale]) << 6 |
			      (index == REG_NONE ? 4 : index & 7) << 3 |
			      (base == REG_NONE ? REG_BP : base & 7)));
	if (mod == 1)
		long_put(o, (uint8_t)disp);
	else if (mod == 2 || base == REG_NONE)
		long_put32(o, disp);
}

/* VEX and XOP instructions with a register in the high half of their last byte, whose top bit 32-bit mode ignores. */
static bool has_fourth_register(const struct insn *i)
{
	if (i->map == 0x38)
		return i->opcode < 0xc0;
	return i->map == 0x13 && ((i->opcode >= 0x48 && i->opcode <= 0x4c) || (i->opcode & 0xfc) == 0x5c ||
				  (i->opcode & 0xe8) == 0x68);
}

/* What need not be said at all: hints by a 16-bit address, and MPX, which the guest does not have: NOPs (SDM 1 E.2). */
static bool is_mere_hint(const struct insn *i)
{
	bool mpx = i->map == 1 && (i->opcode == 0x1a || i->opcode == 0x1b);

	return mpx || (i->adsize == 2 && long_address_only(i) && !(i->map == 0 && i->opcode == 0x8d));
}

void long_instruction(const struct long_ctx *c, const struct lower_insn *in, struct place at,
		      enum long_operand where)
{
	const struct insn *i = &in->insn;
	struct long_bytes o = {.n = 0};
	size_t end = operand_end(i), n;

	if (is_mere_hint(i)) {
		LONG_EMIT(c, at, 0x0f, 0x1f, 0x00);
		return;
	}
	if (i->has_mem ? !is_lea_or_nop(i) : long_address_implied(i))
		long_put_access(c, &o, where);
	if (where == OPERAND_R8 && long_is_bit_string(i))
		long_put(&o, PREFIX_ADDRESS); /* the bit's address wraps at 4 GiB */
	n = put_opcode(&o, in, i->has_mem ? long_operand_rex(where) : 0);
	if (i->has_mem) {
		long_put_operand(c, &o, in, i->reg, where, i->len - end);
		n = end;
	}
	for (; n < i->len; n++)
		long_put(&o, in->bytes[n]);
	if (has_fourth_register(i))
		o.b[o.n - 1] &= 0x7f;
	if (o.n > INSN_MAX && !c->l->err) /* no instruction is known to come to that */
		c->l->err = -EOPNOTSUPP;
	emit(c->l, at, o.b, o.n);
}
