// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * See lower_long.h: string instructions (SDM 2A, 2B MOVS, STOS, REP). By the software TLB, MOVS and STOS become the host's own
 * on host addresses when what they reach is two pages at most that lie one behind the other, each side of it, and DF is
 * clear. In the kernel's code a side that is its own memory goes by the window. All other leave for the monitor, with
 * everything as it was before.
 */
#include <stddef.h>

#include "hypercalls/lower_long_emit.h"

#define EFLAGS_DF 10

bool long_is_string(const struct insn *i)
{
	return i->map == 0 && ((i->opcode >= 0xa4 && i->opcode <= 0xa7) || (i->opcode >= 0xaa && i->opcode <= 0xaf));
}

static uint8_t kind_of(const struct insn *i)
{
	return i->opcode & 0xfe;
}

static bool repeats(const struct insn *i)
{
	return i->prefixes & (INSN_REP | INSN_REPNE);
}

static void put_instruction(struct long_bytes *o, const struct insn *i)
{
	long_put_prefixes(o, i);
	long_put(o, i->opcode);
}

/*
 * ES cannot be overridden: in the window, the registers themselves are made 64-bit addresses. Their low halves are the
 * guest's at any time, and the low halves are all that counts when the instruction is left in its middle.
 */
void long_string(const struct long_ctx *c, const struct lower_insn *in, struct place first)
{
	static const uint8_t rsi_up[] = {0x4a, 0x8d, 0x34, 0x36}, rdi_up[] = {0x4a, 0x8d, 0x3c, 0x37};
	static const uint8_t esi_down[] = {0x89, 0xf6}, edi_down[] = {0x89, 0xff};
	bool window = c->view == VIEW_SUPERVISOR;
	uint8_t kind = kind_of(&in->insn);
	bool source = kind == 0xa4 || kind == 0xa6 || kind == 0xac, target = kind != 0xac;
	struct place next = long_boundary(in->va + in->insn.len);
	struct long_bytes o = {.n = 0};

	if (window && source) {
		emit(c->l, first, rsi_up, sizeof(rsi_up));
		first = long_inside(c, in, 0);
	}
	if (window && target) {
		emit(c->l, first, rdi_up, sizeof(rdi_up));
		first = long_inside(c, in, 0);
	}
	if (!window)
		long_put(&o, 0x67);
	put_instruction(&o, &in->insn);
	emit(c->l, first, o.b, o.n);
	if (window && source)
		emit(c->l, next, esi_down, sizeof(esi_down));
	if (window && target)
		emit(c->l, next, edi_down, sizeof(edi_down));
}

/* --- by the software TLB ----------------------------------------------------------------------------------- */

/* One side of it: the guest's register, and the one that gets what to add to it. */
struct side {
	unsigned reg, add;
	size_t part; /* of struct lower_soft */
};

/* shrx %r15d (LOWER_SOFT_SHIFT),%from,%to; 64 bits with `wide` */
static void emit_page(const struct long_ctx *c, struct place at, unsigned to, unsigned from, bool wide)
{
	const uint8_t b[] = {0xc4, (uint8_t)((to < 8 ? 0x80 : 0) | 0x40 | (from < 8 ? 0x20 : 0) | 2), wide ? 0x83 : 0x03, 0xf7,
			     (uint8_t)(0xc0 | (to & 7) << 3 | (from & 7))};

	emit(c->l, at, b, sizeof(b));
}

static void emit_lea(const struct long_ctx *c, struct place at, unsigned reg, unsigned base, unsigned index, uint32_t disp)
{
	struct long_bytes o = {.n = 0};

	long_put_lea(&o, reg, base, index, 1, disp);
	emit(c->l, at, o.b, o.n);
}

/* Leave, unless RCX is 0; ECX is in R11. */
static void leave_unless_zero(const struct long_ctx *c, struct lower_insn *in)
{
	struct place cx = long_inside(c, in, POINT_R11_CX);

	LONG_EMIT(c, cx, 0xe3, 8);	    /* jrcxz over the exit */
	LONG_EMIT(c, cx, 0x4c, 0x89, 0xd9); /* mov %r11,%rcx */
	emit_exit(c->l, in, long_inside(c, in, 0));
}

/* DF into ECX. */
static void load_direction(const struct long_ctx *c, const struct lower_insn *in)
{
	struct place cx = long_inside(c, in, POINT_R11_CX), sp = long_inside(c, in, POINT_R11_CX | POINT_R9_SP);

	LONG_EMIT(c, cx, 0x49, 0x89, 0xe1); /* mov %rsp,%r9 */
	long_flag_slot_end(c, cx);
	LONG_EMIT(c, sp, 0x9c);		    /* pushfq */
	LONG_EMIT(c, sp, 0x41, 0x58);	    /* pop %r8 */
	LONG_EMIT(c, sp, 0x4c, 0x89, 0xcc); /* mov %r9,%rsp */
	LONG_EMIT(c, cx, 0xc4, 0x43, 0x7b, 0xf0, 0xc0, EFLAGS_DF + 1); /* rorx $EFLAGS_DF + 1,%r8d,%r8d */
	LONG_EMIT(c, cx, 0xb9, 31, 0, 0, 0);			       /* mov $31,%ecx */
	LONG_EMIT(c, cx, 0xc4, 0xc2, 0x73, 0xf7, 0xc8);		       /* shrx %ecx,%r8d,%ecx */
}

/* Its length in bytes, less one, into R10: a page at most. */
static void find_length(const struct long_ctx *c, struct lower_insn *in)
{
	const struct insn *i = &in->insn;
	struct place cx = long_inside(c, in, POINT_R11_CX);
	unsigned shift = i->opcode & 1 ? i->opsize / 2 : 0;
	const uint8_t mov[] = {0x41, 0xba, (uint8_t)((1 << shift) - 1), 0, 0, 0};		   /* mov $size - 1,%r10d */
	const uint8_t lea[] = {0x4e, 0x8d, 0x14, (uint8_t)(shift << 6 | 0x1d), 0xff, 0xff, 0xff, 0xff}; /* lea -1(,%r11,size),%r10 */

	if (!repeats(i)) {
		emit(c->l, cx, mov, sizeof(mov));
		return;
	}
	load_direction(c, in);
	leave_unless_zero(c, in);
	emit(c->l, cx, lea, sizeof(lea));
	emit_page(c, cx, REG_CX, 10, true);
	leave_unless_zero(c, in);
}

/* By the software TLB, whose entries for its first and its last page have to be the same. */
static void find_by_table(const struct long_ctx *c, struct lower_insn *in, const struct side *s)
{
	struct place cx = long_inside(c, in, POINT_R11_CX);
	uint8_t low = (uint8_t)(s->add & 7);
	uint8_t other[8] = {0x49, 0x8b, 0x8c, 0xcc};						 /* mov one_minus_add(%r12,%rcx,8),%rcx */
	uint8_t add[8] = {0x4f, 0x8b, (uint8_t)(0x84 | low << 3), (uint8_t)(0xc4 | low << 3)}; /* mov add(%r12,%add,8),%add */
	const uint8_t sum[] = {0x4a, 0x8d, 0x4c, (uint8_t)(low << 3 | 1), 0xff};		 /* lea -1(%rcx,%add),%rcx */

	emit_page(c, cx, s->add, s->reg, false);
	emit_lea(c, cx, REG_CX, s->reg, 10, 0);
	emit_page(c, cx, REG_CX, REG_CX, false);
	put32(other + 4, (uint32_t)(s->part + offsetof(struct lower_soft_part, one_minus_add)));
	put32(add + 4, (uint32_t)(s->part + offsetof(struct lower_soft_part, add)));
	emit(c->l, cx, other, sizeof(other));
	emit(c->l, cx, add, sizeof(add));
	emit(c->l, cx, sum, sizeof(sum));
	leave_unless_zero(c, in);
}

/* What to add to the side's register, in s->add: R14 for what is the kernel's, and asked for by it. */
static void find_side(const struct long_ctx *c, struct lower_insn *in, const struct side *s)
{
	struct place cx = long_inside(c, in, POINT_R11_CX);
	uint8_t low = (uint8_t)(s->add & 7);
	uint8_t mov[5] = {0xb9};							     /* mov $-split,%ecx */
	const uint8_t lea[] = {0x48, 0x8d, 0x0c, (uint8_t)(s->reg << 3 | REG_CX)};	     /* lea (%rcx,%reg),%rcx */
	const uint8_t count[] = {0x41, (uint8_t)(0xb8 | low), 32, 0, 0, 0};		     /* mov $32,%add */
	const uint8_t shrx[] = {0xc4, 0xe2, (uint8_t)(0x83 | (~s->add & 15) << 3), 0xf7, 0xc9}; /* shrx %add,%rcx,%rcx */
	const uint8_t window[] = {0x4d, 0x89, (uint8_t)(0xf0 | low)};			     /* mov %r14,%add */
	size_t jump;

	if (c->view != VIEW_SUPERVISOR) {
		find_by_table(c, in, s);
		return;
	}
	put32(mov + 1, -c->x->split);
	emit(c->l, cx, mov, sizeof(mov));
	emit(c->l, cx, lea, sizeof(lea));
	emit(c->l, cx, count, sizeof(count));
	emit(c->l, cx, shrx, sizeof(shrx));
	LONG_EMIT(c, cx, 0xe3, 5); /* jrcxz to the table */
	emit(c->l, cx, window, sizeof(window));
	LONG_EMIT(c, cx, 0xeb, 0); /* jmp behind it */
	jump = c->l->code_len;
	find_by_table(c, in, s);
	if (!c->l->err)
		c->l->code[jump - 1] = (uint8_t)(c->l->code_len - jump);
}

/* The addresses are in R8 and R9 less the registers; nothing is left to leave for. */
static void run_on_host(const struct long_ctx *c, const struct lower_insn *in, bool source)
{
	const struct place inside = long_inside(c, in, 0);
	struct place at = inside, last;
	struct long_bytes o = {.n = 0};

	LONG_EMIT(c, long_inside(c, in, POINT_R11_CX), 0x4c, 0x89, 0xd9); /* mov %r11,%rcx */
	LONG_EMIT(c, inside, 0x4d, 0x89, 0xcb);				  /* mov %r9,%r11 */
	LONG_EMIT(c, inside, 0x49, 0xf7, 0xd3);				  /* not %r11 */
	if (source) {
		LONG_EMIT(c, inside, 0x4d, 0x89, 0xc2);	      /* mov %r8,%r10 */
		LONG_EMIT(c, inside, 0x49, 0xf7, 0xd2);	      /* not %r10 */
		LONG_EMIT(c, inside, 0x4a, 0x8d, 0x34, 0x06); /* lea (%rsi,%r8),%rsi */
		at.state = POINT_STRING;
		at.flags |= POINT_STRING_SI;
	}
	LONG_EMIT(c, at, 0x4a, 0x8d, 0x3c, 0x0f); /* lea (%rdi,%r9),%rdi */
	at.state = POINT_STRING;
	at.flags |= POINT_STRING_DI;
	put_instruction(&o, &in->insn);
	emit(c->l, at, o.b, o.n);
	last = (struct place){.guest = in->va + in->insn.len, .state = POINT_STRING, .flags = POINT_STRING_DI};
	if (source) {
		last.flags |= POINT_STRING_SI;
		LONG_EMIT(c, last, 0x42, 0x8d, 0x74, 0x16, 0x01); /* lea 1(%rsi,%r10),%esi */
		last.flags = POINT_STRING_DI;
	}
	LONG_EMIT(c, last, 0x42, 0x8d, 0x7c, 0x1f, 0x01); /* lea 1(%rdi,%r11),%edi */
}

void long_string_soft(const struct long_ctx *c, struct lower_insn *in, struct place first)
{
	static const uint8_t jmp[] = {0xe9};
	const struct insn *i = &in->insn;
	bool source = kind_of(i) == 0xa4;
	const struct side from = {REG_SI, 8, offsetof(struct lower_soft, read)};
	const struct side to = {REG_DI, 9, offsetof(struct lower_soft, write)};
	size_t jump = 0;

	/* The repetition of nothing: kernels copy the odd bytes at both ends apart. */
	if (repeats(i)) {
		LONG_EMIT(c, first, 0x67, 0xe3, 2); /* jecxz to the jump */
		first = long_inside(c, in, 0);
		LONG_EMIT(c, first, 0xeb, 5);
		emit_rel32(c->l, first, jmp, sizeof(jmp), 0); /* behind all of it, aimed below */
		jump = c->l->code_len;
	}
	if (!in->soft || !(source || kind_of(i) == 0xaa) || i->adsize != 4 || !long_can(i)) {
		emit_exit(c->l, in, first);
	} else {
		LONG_EMIT(c, first, 0x49, 0x89, 0xcb); /* mov %rcx,%r11 */
		find_length(c, in);
		if (source)
			find_side(c, in, &from);
		find_side(c, in, &to);
		run_on_host(c, in, source);
	}
	if (jump && !c->l->err)
		put32(c->l->code + jump - 4, (uint32_t)(c->l->code_len - jump));
}
