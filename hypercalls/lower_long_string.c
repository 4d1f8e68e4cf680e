// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * See lower_long.h: string instructions (SDM 2A, 2B MOVS, STOS, REP). By the software TLB, MOVS and STOS become the host's own
 * on host addresses, as far as the pages reach that the two sides are in, and then on with the next ones. In the kernel's code
 * a side that is its own memory goes by the window. Others leave for the monitor, with everything as it was before: the rest
 * of the kind, DF, pages that the table does not have, and elements that are in two of them.
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

/* shrx %r15d (LOWER_SOFT_SHIFT),%from,%to: R8 or R9 becomes the page of a guest register */
static void emit_page(const struct long_ctx *c, struct place at, unsigned to, unsigned from)
{
	const uint8_t b[] = {0xc4, 0x62, 0x03, 0xf7, (uint8_t)(0xc0 | (to & 7) << 3 | from)};

	emit(c->l, at, b, sizeof(b));
}

/* Leave, unless RCX is 0; ECX is in R11. */
static void leave_unless_zero(const struct long_ctx *c, struct lower_insn *in)
{
	struct place cx = long_inside(c, in, POINT_R11_CX);

	LONG_EMIT(c, cx, 0xe3, 8);	    /* jrcxz over the exit */
	LONG_EMIT(c, cx, 0x4c, 0x89, 0xd9); /* mov %r11,%rcx */
	emit_exit(c->l, in, long_inside(c, in, 0));
}

/* Leave, if R8, R9 or R10 is 0. */
static void leave_if_zero(const struct long_ctx *c, struct lower_insn *in, unsigned reg)
{
	const uint8_t mov[] = {0x4c, 0x89, (uint8_t)(0xc1 | (reg & 7) << 3)}; /* mov %reg,%rcx */
	struct place cx = long_inside(c, in, POINT_R11_CX);

	emit(c->l, cx, mov, sizeof(mov));
	LONG_EMIT(c, cx, 0xe3, 2);	    /* jrcxz to the exit */
	LONG_EMIT(c, cx, 0xeb, 8);	    /* jmp over it */
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

static unsigned shift_of(const struct insn *i)
{
	return i->opcode & 1 ? i->opsize / 2 : 0;
}

/* How many elements the rest of the page that %reg is in has, into R8D or R10D. */
static void find_rest(const struct long_ctx *c, const struct lower_insn *in, unsigned to, unsigned reg)
{
	struct place cx = long_inside(c, in, POINT_R11_CX);
	uint8_t low = (uint8_t)(to & 7), modrm = (uint8_t)(0xc0 | low << 3 | low);
	const uint8_t mov[] = {0x41, 0x89, (uint8_t)(0xc0 | reg << 3 | low)}; /* mov %reg,%to */
	const uint8_t not[] = {0x41, 0xf7, (uint8_t)(0xd0 | low)};
	const uint8_t shlx[] = {0xc4, 0x42, 0x71, 0xf7, modrm}, shrx[] = {0xc4, 0x42, 0x73, 0xf7, modrm}; /* by %ecx */
	const uint8_t count[] = {0xb9, (uint8_t)shift_of(&in->insn), 0, 0, 0};
	struct long_bytes lea = {.n = 0};

	emit(c->l, cx, mov, sizeof(mov));
	emit(c->l, cx, not, sizeof(not));
	LONG_EMIT(c, cx, 0xb9, 32 - LOWER_SOFT_SHIFT, 0, 0, 0); /* mov $,%ecx */
	emit(c->l, cx, shlx, sizeof(shlx));
	emit(c->l, cx, shrx, sizeof(shrx));
	long_put_lea(&lea, to, to, REG_NONE, 1, 1);
	emit(c->l, cx, lea.b, lea.n);
	if (!shift_of(&in->insn))
		return;
	emit(c->l, cx, count, sizeof(count));
	emit(c->l, cx, shrx, sizeof(shrx));
}

/* R10 becomes R8 or R11, if that is less; R9 is lost. */
static void take_less(const struct long_ctx *c, const struct lower_insn *in, unsigned reg)
{
	struct place cx = long_inside(c, in, POINT_R11_CX);
	uint8_t from = (uint8_t)(reg & 7);
	const uint8_t mov[] = {0x4d, 0x89, (uint8_t)(0xc1 | from << 3)};  /* mov %reg,%r9 */
	const uint8_t take[] = {0x4d, 0x89, (uint8_t)(0xc2 | from << 3)}; /* mov %reg,%r10 */

	emit(c->l, cx, mov, sizeof(mov));
	LONG_EMIT(c, cx, 0x49, 0xf7, 0xd1);		/* not %r9 */
	LONG_EMIT(c, cx, 0x4b, 0x8d, 0x4c, 0x0a, 0x01); /* lea 1(%r10,%r9),%rcx */
	LONG_EMIT(c, cx, 0x41, 0xb9, 63, 0, 0, 0);	/* mov $63,%r9d */
	LONG_EMIT(c, cx, 0xc4, 0xe2, 0xb3, 0xf7, 0xc9); /* shrx %r9,%rcx,%rcx */
	LONG_EMIT(c, cx, 0xe3, 2);			/* jrcxz to the move */
	LONG_EMIT(c, cx, 0xeb, 3);			/* jmp over it */
	emit(c->l, cx, take, sizeof(take));
}

/* How many elements to do at once, into R10: one page a side. */
static void find_count(const struct long_ctx *c, struct lower_insn *in, bool source)
{
	if (repeats(&in->insn)) {
		load_direction(c, in);
		leave_unless_zero(c, in);
	}
	find_rest(c, in, 10, REG_DI);
	if (source) {
		find_rest(c, in, 8, REG_SI);
		take_less(c, in, 8);
	}
	if (repeats(&in->insn))
		take_less(c, in, 11);
	leave_if_zero(c, in, 10);
}

static void find_by_table(const struct long_ctx *c, struct lower_insn *in, const struct side *s)
{
	uint8_t low = (uint8_t)(s->add & 7);
	uint8_t add[8] = {0x4f, 0x8b, (uint8_t)(0x84 | low << 3), (uint8_t)(0xc4 | low << 3)}; /* mov add(%r12,%add,8),%add */

	emit_page(c, long_inside(c, in, POINT_R11_CX), s->add, s->reg);
	put32(add + 4, (uint32_t)(s->part + offsetof(struct lower_soft_part, add)));
	emit(c->l, long_inside(c, in, POINT_R11_CX), add, sizeof(add));
	leave_if_zero(c, in, s->add);
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

/* ECX: as many as R10 says; of R11, the rest is for afterwards. */
static void split_count(const struct long_ctx *c, const struct lower_insn *in)
{
	static const uint8_t store[] = {OPCODE_STORE};
	struct place cx = long_inside(c, in, POINT_R11_CX);

	LONG_EMIT(c, cx, 0x4c, 0x89, 0xd1);		/* mov %r10,%rcx */
	LONG_EMIT(c, cx, 0x48, 0xf7, 0xd1);		/* not %rcx */
	LONG_EMIT(c, cx, 0x41, 0x8d, 0x4c, 0x0b, 0x01); /* lea 1(%r11,%rcx),%ecx */
	long_hole(c, cx, store, sizeof(store), REG_CX, long_vcpu(c, VCPU_SCRATCH0), 0, 0);
	LONG_EMIT(c, cx, 0x4c, 0x89, 0xd1);
}

/* What to add to the registers is in R8 and R9; nothing is left to leave for. */
static void run_on_host(const struct long_ctx *c, const struct lower_insn *in, bool source)
{
	bool repeat = repeats(&in->insn);
	struct place at = long_inside(c, in, 0);
	struct long_bytes o = {.n = 0};

	if (repeat) {
		split_count(c, in);
		at.state = POINT_STRING;
		at.flags |= POINT_STRING_CX;
	} else {
		LONG_EMIT(c, long_inside(c, in, POINT_R11_CX), 0x4c, 0x89, 0xd9); /* mov %r11,%rcx */
	}
	LONG_EMIT(c, at, 0x4d, 0x89, 0xcb); /* mov %r9,%r11 */
	LONG_EMIT(c, at, 0x49, 0xf7, 0xd3); /* not %r11 */
	if (source) {
		LONG_EMIT(c, at, 0x4d, 0x89, 0xc2);	  /* mov %r8,%r10 */
		LONG_EMIT(c, at, 0x49, 0xf7, 0xd2);	  /* not %r10 */
		LONG_EMIT(c, at, 0x4a, 0x8d, 0x34, 0x06); /* lea (%rsi,%r8),%rsi */
		at.flags |= POINT_STRING_SI;
	}
	at.state = source ? POINT_STRING : at.state;
	LONG_EMIT(c, at, 0x4a, 0x8d, 0x3c, 0x0f); /* lea (%rdi,%r9),%rdi */
	at.state = POINT_STRING;
	at.flags |= POINT_STRING_DI;
	put_instruction(&o, &in->insn);
	emit(c->l, at, o.b, o.n);
	if (!repeat) /* it is done */
		at = (struct place){.guest = in->va + in->insn.len, .state = POINT_STRING, .flags = at.flags & (POINT_STRING_SI | POINT_STRING_DI)};
	if (source)
		LONG_EMIT(c, at, 0x42, 0x8d, 0x74, 0x16, 0x01); /* lea 1(%rsi,%r10),%esi */
	at.flags &= (uint8_t)~POINT_STRING_SI;
	LONG_EMIT(c, at, 0x42, 0x8d, 0x7c, 0x1f, 0x01); /* lea 1(%rdi,%r11),%edi */
	at.flags &= (uint8_t)~POINT_STRING_DI;
	if (repeat)
		long_load(c, at, REG_CX, VCPU_SCRATCH0);
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
		find_count(c, in, source);
		if (source)
			find_side(c, in, &from);
		find_side(c, in, &to);
		run_on_host(c, in, source);
		if (repeats(i)) /* for the rest */
			emit_rel32(c->l, long_boundary(in->va), jmp, sizeof(jmp), in->start);
	}
	if (jump && !c->l->err)
		put32(c->l->code + jump - 4, (uint32_t)(c->l->code_len - jump));
}
