// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Random blocks of unprivileged 32-bit code for the fuzzer of long blocks (long_fuzz.h). Opcodes, prefixes, ModRM and what
 * follows are random bytes that the decoder has taken. Most memory operands are aimed at mapped memory by a MOV in front;
 * the rest is left to fault. Branches lead forward. Which flags are undefined (SDM 2, each instruction's "Flags
 * Affected") is followed along: one that reads such a flag has a CMP in front, and a comparison leaves them out.
 */
#ifndef TESTS_FUZZ_LONG_GENERATE_H
#define TESTS_FUZZ_LONG_GENERATE_H

#include "tests/unit/long_native.h"

#define LG_INSNS 64
#define LG_FSW_TOP 0x3800u
#define LG_FSW_COMPARED 0x4500u /* C3 C2 C0; C1 is left out, see long_fuzz.h */

struct lg_insn {
	uint32_t at;	/* guest address */
	uint32_t undef; /* arithmetic flags that are undefined before it */
	uint32_t fsw;	/* bits of the x87 status word that are defined before it */
};

struct lg_block {
	uint8_t text[1024];
	unsigned size, n;
	struct lg_insn insn[LG_INSNS]; /* the last is the end */
	bool mmx;		       /* of x87 and MMX, which share their registers, a block has one */
};

static struct {
	/* What the reference cannot be asked about; set before generating. */
	bool (*lacks)(const struct insn *insn, const uint8_t *bytes);
	uint64_t random;
	struct lg_block *b;
	uint32_t undef, fsw;
	unsigned depth;	  /* x87 registers in use */
	unsigned to_bind; /* instructions until the label is here; 0 without a label */
	uint32_t label_undef;
	unsigned n_uses;
	struct {
		unsigned at, size; /* where the label goes; 1: rel8, 4: rel32, 8: its address in 4 bytes */
	} use[4];
} lg;

static inline uint32_t lg_rnd(uint32_t n)
{
	lg.random = lg.random * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(lg.random >> 33) % n;
}

static inline bool lg_percent(unsigned p)
{
	return lg_rnd(100) < p;
}

static inline uint32_t lg_word(void)
{
	return lg_rnd(0x10000) << 16 | lg_rnd(0x10000);
}

/* --- what is appended -------------------------------------------------------------------------------------- */

static inline bool lg_is(const struct insn *i, uint8_t map, uint8_t first, uint8_t last)
{
	return i->map == map && i->opcode >= first && i->opcode <= last;
}

static inline bool lg_is_string(const struct insn *i)
{
	return lg_is(i, 0, 0xa4, 0xa7) || lg_is(i, 0, 0xaa, 0xaf);
}

#define LG_CF 0x1u
#define LG_PF 0x4u
#define LG_AF 0x10u
#define LG_ZF 0x40u
#define LG_SF 0x80u
#define LG_OF 0x800u

static inline uint32_t lg_undefined_by(const struct insn *i)
{
	unsigned group = i->reg & 7;

	switch (i->map << 8 | i->opcode) {
	case 0x80 ... 0x83:
		return group == 1 || group == 4 || group == 6 ? LG_AF : 0;
	case 0x08 ... 0x0d:
	case 0x20 ... 0x25:
	case 0x30 ... 0x35:
	case 0x84:
	case 0x85:
	case 0xa8:
	case 0xa9:
		return LG_AF;
	case 0xc0:
	case 0xc1:
	case 0xd2:
	case 0xd3: /* by a count that need not be 1, nor below the operand's size */
		return LG_OF | (group < 4 ? 0 : LG_AF | (i->opsize < 4 ? LG_CF : 0));
	case 0xd0:
	case 0xd1:
		return group < 4 ? 0 : LG_AF;
	case 0x69:
	case 0x6b:
	case 0x1af:
		return LG_SF | LG_ZF | LG_AF | LG_PF;
	case 0xf6:
	case 0xf7:
		return group < 2   ? LG_AF
		       : group < 4 ? 0
		       : group < 6 ? LG_SF | LG_ZF | LG_AF | LG_PF
				   : LN_ARITHMETIC;
	case 0xdb: /* FCOMI: the manual once had them unaffected, and then cleared */
	case 0xdf:
		return !i->has_mem && (group == 5 || group == 6) ? LG_OF | LG_SF | LG_AF : 0;
	case 0x1a4:
	case 0x1a5:
	case 0x1ac:
	case 0x1ad:
		return LG_AF | LG_OF;
	case 0x1a3:
	case 0x1ab:
	case 0x1b3:
	case 0x1bb:
	case 0x1ba:
		return LG_OF | LG_SF | LG_AF | LG_PF;
	case 0x1bc:
	case 0x1bd:
		return LN_ARITHMETIC & ~LG_ZF;
	default:
		return 0;
	}
}

static inline void lg_append(const uint8_t *bytes, const struct insn *i)
{
	struct lg_block *b = lg.b;

	b->insn[b->n++] = (struct lg_insn){LN_TEXT + b->size, lg.undef, lg.fsw};
	memcpy(b->text + b->size, bytes, i->len);
	b->size += i->len;
	lg.undef = (lg.undef & ~i->flags_written) | lg_undefined_by(i);
}

static inline void lg_fixed(const uint8_t *bytes)
{
	struct insn i;

	insn_decode(&i, bytes, INSN_MAX, LN_TEXT, 32);
	lg_append(bytes, &i);
}

static inline void lg_mov(unsigned reg, uint32_t value)
{
	uint8_t b[INSN_MAX] = {(uint8_t)(0xb8 | reg)};

	memcpy(b + 1, &value, 4);
	lg_fixed(b);
}

/* cmp %eax,%ecx, or another two */
static inline void lg_define_flags(void)
{
	const uint8_t b[INSN_MAX] = {0x39, (uint8_t)(0xc0 | lg_rnd(64))};

	lg_fixed(b);
}

/* --- operands ---------------------------------------------------------------------------------------------- */

static inline uint32_t lg_somewhere(bool aligned)
{
	uint32_t at = LN_DATA + 0x40 + lg_rnd(LN_DATA_SIZE - 0x100);

	if (lg_percent(20))
		at = LN_STACK + 0x40 + lg_rnd(LN_STACK_SIZE - 0x100);
	if (lg_percent(5)) /* over the edge, or up to it */
		return LN_DATA + LN_DATA_SIZE - lg_rnd(20);
	return aligned ? at & ~31u : at;
}

static inline uint32_t lg_offset_of_target(const struct insn *i)
{
	bool vex = i->map >> 4 == 1;
	bool vector =
	    vex || (i->map == 1 && !(i->opcode >= 0x80 && i->opcode < 0xd0 && i->opcode != 0xc2 && i->opcode != 0xc6));

	if (i->seg == SEG_FS)
		return lg_rnd(LN_TLS_SIZE - 0x40);
	if (i->seg == SEG_GS)
		return LN_TLS - LN_GS_BASE + lg_rnd(LN_TLS_SIZE - 0x40);
	if (i->adsize == 2)
		return LN_LOW + lg_rnd(LN_LOW_SIZE - 0x40);
	return lg_somewhere(vector && lg_percent(85));
}

/* Makes the operand of the instruction lead to memory, by its displacement or its registers. */
static inline void lg_aim(uint8_t *bytes, struct insn *i)
{
	uint32_t target = lg_offset_of_target(i), disp = (uint32_t)i->disp, index = lg_rnd(16);

	if (i->base == REG_NONE) {
		if (i->index != REG_NONE) {
			lg_mov(i->index, index);
			target -= index * i->scale;
		}
		memcpy(bytes + i->disp_off, &target, i->disp_len);
		return;
	}
	target -= disp;
	if (i->index != REG_NONE && i->index != i->base) {
		lg_mov(i->index, index);
		target -= index * (i->adsize == 2 ? 1 : i->scale);
	}
	if (i->adsize == 2)
		target = (target & 0xffff) | lg_word() << 16;
	lg_mov(i->base, target);
}

static inline void lg_aim_implied(const struct insn *i)
{
	uint8_t kind = i->opcode & 0xfe;

	if (lg_is_string(i)) {
		if (kind == 0xa4 || kind == 0xa6 || kind == 0xac)
			lg_mov(REG_SI, lg_somewhere(false));
		if (kind != 0xac)
			lg_mov(REG_DI, lg_somewhere(false));
		if (i->prefixes & (INSN_REP | INSN_REPNE))
			lg_mov(REG_CX, lg_percent(80) ? lg_rnd(40) : lg_rnd(0x1000));
	} else if (lg_is(i, 0, 0xd7, 0xd7)) {
		lg_mov(REG_BX, lg_somewhere(false));
	} else if (lg_is(i, 1, 0xf7, 0xf7) && !i->has_mem) {
		lg_mov(REG_DI, lg_somewhere(false));
	} else if (lg_is(i, 0, 0xc9, 0xc9)) {
		lg_mov(REG_BP, lg_somewhere(false));
	} else if (lg_percent(25) && (lg_is(i, 0, 0x50, 0x61) || lg_is(i, 0, 0x68, 0x68))) {
		lg_mov(REG_SP, LN_STACK + 0x40 + lg_rnd(LN_STACK_SIZE - 0x80));
	}
}

/* --- x87: how deep the stack has to be, and what becomes of it ----------------------------------------------- */

struct lg_x87 {
	int8_t needs, moves;
	bool compares;
};
#define LG_NO_X87                                                                                            \
	{                                                                                                    \
		-1, 0, false                                                                                 \
	}

static inline struct lg_x87 lg_x87_memory(unsigned op, unsigned reg)
{
	static const struct lg_x87 no = LG_NO_X87, load = {0, 1, false}, store = {1, 0, false},
				   pop = {1, -1, false}, plain = {0, 0, false};

	switch (op) {
	case 0: /* D8 DA DC DE: arithmetic */
	case 2:
	case 4:
	case 6:
		return (struct lg_x87){1, reg == 3 ? -1 : 0, reg == 2 || reg == 3};
	case 1: /* D9 */
		return reg == 0 ? load : reg == 2 ? store : reg == 3 ? pop : reg == 7 ? plain : no;
	case 3: /* DB; its 80-bit load is left out: most bits are no number that a CPU would make */
		return reg == 0 ? load : reg == 2 ? store : reg == 3 || reg == 7 ? pop : no;
	case 5: /* DD */
		return reg == 0 ? load : reg == 2 ? store : reg == 3 ? pop : no;
	default: /* DF */
		return reg == 0 || reg == 5 ? load : reg == 2 ? store : reg == 3 || reg == 7 ? pop : no;
	}
}

static inline struct lg_x87 lg_x87_register(unsigned op, unsigned reg, unsigned rm)
{
	static const struct lg_x87 no = LG_NO_X87;
	int8_t both = (int8_t)(rm + 1);

	switch (op << 8 | reg << 4) {
	case 0x000 ... 0x070: /* arithmetic, FCOM */
		return (struct lg_x87){both, reg == 3 ? -1 : 0, reg == 2 || reg == 3};
	case 0x100: /* FLD */
		return (struct lg_x87){both, 1, false};
	case 0x110:	      /* FXCH */
	case 0x200 ... 0x230: /* FCMOV */
	case 0x300 ... 0x330:
	case 0x350: /* FUCOMI FCOMI */
	case 0x360:
	case 0x520: /* FST */
		return (struct lg_x87){both, 0, false};
	case 0x120:
		return rm ? no : (struct lg_x87){0, 0, false};
	case 0x140: /* FCHS FABS FTST */
		return rm == 0 || rm == 1 || rm == 4 ? (struct lg_x87){1, 0, rm == 4} : no;
	case 0x150: /* constants */
		return rm == 0 || rm == 6 ? (struct lg_x87){0, 1, false} : no;
	case 0x170: /* FSQRT FRNDINT */
		return rm == 2 || rm == 4 ? (struct lg_x87){1, 0, false} : no;
	case 0x250: /* FUCOMPP */
		return rm == 1 ? (struct lg_x87){2, -2, true} : no;
	case 0x400:
	case 0x410:
	case 0x440 ... 0x470:
		return (struct lg_x87){both, 0, false};
	case 0x530: /* FSTP */
		return (struct lg_x87){both, -1, false};
	case 0x540: /* FUCOM FUCOMP */
	case 0x550:
		return (struct lg_x87){both, reg == 5 ? -1 : 0, true};
	case 0x600:
	case 0x610:
	case 0x640 ... 0x670:
		return (struct lg_x87){both, -1, false};
	case 0x630: /* FCOMPP */
		return rm == 1 ? (struct lg_x87){2, -2, true} : no;
	case 0x750: /* FUCOMIP FCOMIP */
	case 0x760:
		return (struct lg_x87){both, -1, false};
	default:
		return no;
	}
}

static inline bool lg_x87_goes(const struct insn *i)
{
	struct lg_x87 x = i->has_mem ? lg_x87_memory(i->opcode & 7u, i->reg & 7u)
				     : lg_x87_register(i->opcode & 7u, i->reg & 7u, i->rm & 7u);

	if (x.needs < 0 || (unsigned)x.needs > lg.depth || lg.depth + (unsigned)x.moves > 8 ||
	    (x.moves && lg.to_bind))
		return false;
	lg.depth += (unsigned)x.moves;
	lg.fsw = LG_FSW_TOP | (x.compares ? LG_FSW_COMPARED : 0);
	return true;
}

/* --- one instruction --------------------------------------------------------------------------------------- */

/* Its result depends on the day, or nowhere says what it is. */
static inline bool lg_is_undefined(const struct insn *i)
{
	if (lg_is(i, 1, 0xc8, 0xcf)) /* BSWAP of 16 bits */
		return i->opsize == 2;
	/* SHLD and SHRD of 16 bits by more than 16 */
	return (lg_is(i, 1, 0xa4, 0xa5) || lg_is(i, 1, 0xac, 0xad)) && i->opsize == 2;
}

static inline bool lg_is_mmx(const struct insn *i)
{
	if (i->map == 0 || i->map > 3 || (i->prefixes & (INSN_OPSIZE | INSN_REP | INSN_REPNE)))
		return lg_is(i, 1, 0x2a, 0x2d) || lg_is(i, 1, 0xd6, 0xd6);
	return lg_is(i, 1, 0x60, 0x7f) || lg_is(i, 1, 0xd1, 0xff) || lg_is(i, 1, 0x2a, 0x2d) ||
	       lg_is(i, 1, 0xc4, 0xc5) || i->map > 1;
}

/* Appends the instruction at `bytes` if it is one that may stand in a block. */
static inline bool lg_take(uint8_t *bytes)
{
	struct insn i;
	bool x87;

	if (insn_decode(&i, bytes, INSN_MAX, LN_TEXT, 32) < 0 || insn_is_sensitive(&i) || i.flow != FLOW_NEXT)
		return false;
	x87 = lg_is(&i, 0, 0xd8, 0xdf);
	if (lg_is_undefined(&i) || lg.lacks(&i, bytes) ||
	    (lower_long_shape(&i) == LOWER_ALONE && !lg_percent(2)))
		return false;
	if (x87 ? lg.b->mmx || !lg_x87_goes(&i) : lg_is_mmx(&i) && !lg.b->mmx)
		return false;
	if ((i.flags_read & lg.undef) ||
	    (lg_is_string(&i) && lg.undef && (i.prefixes & (INSN_REP | INSN_REPNE))))
		lg_define_flags();
	if (lg_is(&i, 0, 0xf6, 0xf7) && (i.reg & 7) >= 6 && lg_percent(70))
		lg_mov(i.opsize == 1 ? REG_AX : REG_DX, lg_rnd(40));
	if (lg_percent(92)) {
		if (i.has_mem || lg_is(&i, 0, 0xa0, 0xa3))
			lg_aim(bytes, &i);
		else
			lg_aim_implied(&i);
	}
	lg_append(bytes, &i);
	return true;
}

static inline unsigned lg_prefixes(uint8_t *b, bool mandatory)
{
	static const uint8_t segments[] = {0x64, 0x65, 0x64, 0x65, 0x26, 0x36, 0x3e, 0x2e};
	unsigned n = 0;

	if (lg_percent(15))
		b[n++] = segments[lg_rnd(sizeof(segments))];
	if (lg_percent(5))
		b[n++] = 0x67;
	if (mandatory) {
		unsigned kind = lg_rnd(4);

		if (kind)
			b[n++] = kind == 1 ? 0x66 : kind == 2 ? 0xf2 : 0xf3;
	} else {
		if (lg_percent(20))
			b[n++] = 0x66;
		if (lg_percent(6))
			b[n++] = lg_percent(50) ? 0xf3 : 0xf2;
		if (lg_percent(8))
			b[n++] = 0xf0;
	}
	if (n && lg_percent(10)) { /* once more, or another of the kind */
		b[n] = b[0];
		n++;
	}
	if (n && lg_percent(3))
		b[n++] = 0x3e;
	for (unsigned k = n; k > 1; k--) { /* in any order */
		unsigned other = lg_rnd(k);
		uint8_t t = b[k - 1];

		b[k - 1] = b[other];
		b[other] = t;
	}
	return n;
}

/* Two or three bytes of VEX, as far as 32-bit mode has it, and an opcode. */
static inline unsigned lg_vex(uint8_t *b)
{
	unsigned n = 0;

	if (lg_percent(40)) {
		b[n++] = 0xc5;
	} else {
		b[n++] = 0xc4;
		b[n++] = (uint8_t)(0xc0 | lg_rnd(2) << 5 | (1 + lg_rnd(3)));
	}
	b[n] = (uint8_t)(0x40 | lg_rnd(256) | (n == 1 ? 0x80 : 0));
	n++;
	b[n++] = (uint8_t)lg_rnd(256);
	return n;
}

/* Opcodes of map 0 that are worth trying, and of 0F: integer, then MMX and SSE; VEX. */
static inline unsigned lg_opcode(uint8_t *b)
{
	static const uint8_t integer[] = {0xa3, 0xab, 0xb3, 0xbb, 0xa4, 0xa5, 0xac, 0xad, 0xaf, 0xb0,
					  0xb1, 0xb6, 0xb7, 0xbe, 0xbf, 0xba, 0xbc, 0xbd, 0xc0, 0xc1,
					  0xc3, 0xc7, 0xc8, 0xcf, 0x0d, 0x18, 0x1f, 0x1a, 0x1b};
	static const uint8_t vector[] = {0x10, 0x50, 0x60, 0x70, 0xd0, 0xe0, 0xf0, 0x28, 0xc0};

	switch (lg_rnd(11)) {
	case 10:
		return lg_vex(b);
	case 0 ... 4:
		do
			b[0] = (uint8_t)lg_rnd(256);
		while (b[0] == 0x0f || (b[0] >= 0xd8 && b[0] <= 0xdf));
		return 1;
	case 5:
		b[0] = (uint8_t)(0xd8 + lg_rnd(8));
		return 1;
	case 6:
	case 7:
		b[0] = 0x0f;
		b[1] = lg_percent(30) ? (uint8_t)((lg_percent(50) ? 0x40 : 0x90) + lg_rnd(16))
				      : integer[lg_rnd(sizeof(integer))];
		return 2;
	default:
		b[0] = 0x0f;
		b[1] = (uint8_t)(vector[lg_rnd(sizeof(vector))] + lg_rnd(16));
		return 2;
	}
}

static inline void lg_instruction(void)
{
	for (;;) {
		uint8_t b[40], opcode[4];
		unsigned len = lg_opcode(opcode),
			 n = lg_prefixes(b, len == 2 && (opcode[1] & 0xf0) != 0xb0 && lg_percent(70));
		uint8_t mask = lg_percent(60) ? 0xff : 0x0f;

		memcpy(b + n, opcode, len);
		n += len;
		b[n++] = (uint8_t)(lg_percent(40) ? 0xc0 | lg_rnd(64) : lg_rnd(256));
		for (unsigned k = n; k < sizeof(b); k++)
			b[k] = (uint8_t)lg_rnd(256) & mask;
		if (lg_take(b))
			return;
	}
}

/* --- branches ---------------------------------------------------------------------------------------------- */

static inline void lg_use(unsigned at, unsigned size)
{
	lg.use[lg.n_uses].at = at;
	lg.use[lg.n_uses++].size = size;
	lg.label_undef |= lg.undef;
	if (!lg.to_bind)
		lg.to_bind = 1 + lg_rnd(4);
}

static inline void lg_bind(void)
{
	struct lg_block *b = lg.b;
	uint32_t here = b->size;

	for (unsigned k = 0; k < lg.n_uses; k++) {
		unsigned at = lg.use[k].at;
		uint32_t value = lg.use[k].size == 8 ? LN_TEXT + here : here - (at + lg.use[k].size);

		memcpy(b->text + at, &value, lg.use[k].size == 1 ? 1 : 4);
	}
	lg.n_uses = 0;
	lg.undef |= lg.label_undef;
	lg.label_undef = 0;
	lg.fsw = LG_FSW_TOP;
}

/* To the label, which comes after a few instructions; conditional or by a register, by the stack, by memory. */
static inline void lg_branch(void)
{
	struct lg_block *b = lg.b;
	uint8_t code[INSN_MAX] = {0};
	unsigned reg = lg_rnd(8);

	switch (lg_rnd(8)) {
	case 0:
	case 1:
		if (lg.undef)
			lg_define_flags();
		code[0] = (uint8_t)(0x70 + lg_rnd(16));
		break;
	case 2:
		if (lg.undef)
			lg_define_flags();
		code[0] = 0x0f;
		code[1] = (uint8_t)(0x80 + lg_rnd(16));
		lg_fixed(code);
		lg_use(b->size - 4, 4);
		return;
	case 3:
		code[0] = (uint8_t)(0xe2 + lg_rnd(2)); /* LOOP JECXZ */
		if (lg_percent(50))
			lg_mov(REG_CX, lg_rnd(3));
		break;
	case 4:
		code[0] = lg_percent(50) ? 0xe8 : 0xe9;
		lg_fixed(code);
		lg_use(b->size - 4, 4);
		return;
	case 5: /* mov $label,%reg; jmp or call *%reg */
		lg_mov(reg, 0);
		lg_use(b->size - 4, 8);
		code[0] = 0xff;
		code[1] = (uint8_t)((lg_percent(50) ? 0xe0 : 0xd0) | reg);
		lg_fixed(code);
		return;
	case 6: /* push $label; ret, ret n */
		code[0] = 0x68;
		lg_fixed(code);
		lg_use(b->size - 4, 8);
		code[0] = lg_percent(50) ? 0xc3 : 0xc2;
		code[1] = (uint8_t)(4 * lg_rnd(4));
		lg_fixed(code);
		return;
	default:
		code[0] = 0xeb;
	}
	lg_fixed(code);
	lg_use(b->size - 1, 1);
}

static inline void lg_generate(struct lg_block *b, uint64_t seed, unsigned depth)
{
	unsigned want = 2 + (unsigned)(seed % 13);

	memset(b, 0, sizeof(*b));
	lg.random = (seed + 1) * 0x9e3779b97f4a7c15ull;
	lg.b = b;
	b->mmx = lg_percent(30);
	lg.undef = 0;
	lg.fsw = LG_FSW_TOP;
	lg.depth = depth;
	lg.to_bind = lg.n_uses = 0;
	lg.label_undef = 0;
	while (b->n < want || lg.to_bind) {
		/* All that is before a label stays undefined for what is behind it. */
		if (lg_percent(10) && lg.n_uses < 4 && b->n < want)
			lg_branch();
		else
			lg_instruction();
		if (lg.to_bind && !--lg.to_bind)
			lg_bind();
	}
	b->insn[b->n] = (struct lg_insn){LN_TEXT + b->size, lg.undef, lg.fsw};
}

#endif
