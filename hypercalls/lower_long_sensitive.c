// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * See lower_long.h: sensitive instructions that have an inline form in a long block; lower_sensitive.c has the same for
 * 32-bit code. R8 to R11 make it simpler. PUSHFQ and POPFQ go through a word of the vCPU page, with ESP in R9 meanwhile.
 */
#include "hypercalls/lower_long_emit.h"
#include "hypercalls/policy.h"

#define FLAGS_UNUSUAL 0x1f7100u /* TF IOPL NT RF VM AC VIF VIP */

uint32_t long_vcpu(const struct long_ctx *c, uint32_t field)
{
	return c->l->hole_base + ABI_VCPU_PAGE + field;
}

void long_store_imm(const struct long_ctx *c, struct place at, uint32_t field, uint32_t value)
{
	static const uint8_t mov[] = {0xc7};

	long_hole(c, at, mov, sizeof(mov), 0, long_vcpu(c, field), value, 4);
}

void long_load(const struct long_ctx *c, struct place at, unsigned reg, uint32_t field)
{
	uint8_t mov[] = {0x44, OPCODE_LOAD};

	long_hole(c, at, reg >= 8 ? mov : mov + 1, reg >= 8 ? 2 : 1, reg & 7, long_vcpu(c, field), 0, 0);
}

void long_cmp_zero(const struct long_ctx *c, struct place at, uint32_t field)
{
	static const uint8_t cmp[] = {0x83};

	long_hole(c, at, cmp, sizeof(cmp), 7, long_vcpu(c, field), 0, 1);
}

static void sti(const struct long_ctx *c, struct lower_insn *in, struct place first)
{
	struct place inside = long_inside(c, in, 0), cx = long_inside(c, in, POINT_R9_CX);

	if (in->flags_dead) {
		long_cmp_zero(c, first, VCPU_PENDING);
		emit_jcc_slow(c->l, inside, CC_NE, &in->slow[0]);
		long_store_imm(c, inside, VCPU_IF_DELTA, 0);
		return;
	}
	LONG_EMIT(c, first, 0x49, 0x89, 0xc9); /* mov %rcx,%r9 */
	long_load(c, inside, REG_CX, VCPU_PENDING);
	LONG_EMIT(c, cx, 0xe3, 8);	    /* jrcxz over the exit */
	LONG_EMIT(c, cx, 0x4c, 0x89, 0xc9); /* mov %r9,%rcx */
	emit_exit(c->l, in, inside);
	LONG_EMIT(c, cx, 0x4c, 0x89, 0xc9);
	long_store_imm(c, inside, VCPU_IF_DELTA, 0);
}

void long_flag_slot_end(const struct long_ctx *c, struct place at)
{
	static const uint8_t lea[] = {0x48, 0x8d};

	long_hole(c, at, lea, sizeof(lea), REG_SP, long_vcpu(c, VCPU_FLAG_SLOT_END), 0, 0);
}

void long_read_flags(const struct long_ctx *c, const struct lower_insn *in, struct place first)
{
	struct place inside = long_inside(c, in, 0), sp = long_inside(c, in, POINT_R9_SP);

	LONG_EMIT(c, first, 0x49, 0x89, 0xe1); /* mov %rsp,%r9 */
	long_flag_slot_end(c, inside);
	LONG_EMIT(c, sp, 0x9c);		    /* pushfq */
	LONG_EMIT(c, sp, 0x41, 0x5a);	    /* pop %r10 */
	LONG_EMIT(c, sp, 0x4c, 0x89, 0xcc); /* mov %r9,%rsp */
}

static void pushf(const struct long_ctx *c, struct lower_insn *in, struct place first)
{
	struct place inside = long_inside(c, in, 0);

	long_read_flags(c, in, first);
	long_load(c, inside, 9, VCPU_IF_DELTA);
	LONG_EMIT(c, inside, 0x47, 0x8d, 0x14, 0x0a); /* lea (%r10,%r9),%r10d */
	long_load(c, inside, 9, VCPU_FLAGS_HI);
	LONG_EMIT(c, inside, 0x47, 0x8d, 0x14, 0x0a);
	long_stack_move(c, in, inside, OPCODE_STORE, 10, -4);
	long_stack_add(c, inside, -4);
}

void long_leave_if_unusual(const struct long_ctx *c, struct lower_insn *in)
{
	static const uint8_t test[] = {0x41, 0xf7, 0xc2, 0x00, 0x71, 0x1f, 0x00}; /* test $FLAGS_UNUSUAL,%r10d */

	_Static_assert(FLAGS_UNUSUAL == 0x1f7100, "test");
	emit(c->l, long_inside(c, in, 0), test, sizeof(test));
	emit_jcc_slow(c->l, long_inside(c, in, 0), CC_NE, &in->slow[0]);
}

void long_load_flags(const struct long_ctx *c, const struct lower_insn *in)
{
	struct place inside = long_inside(c, in, 0), sp = long_inside(c, in, POINT_R9_SP);

	LONG_EMIT(c, inside, 0x49, 0x89, 0xe1); /* mov %rsp,%r9 */
	long_flag_slot_end(c, inside);
	LONG_EMIT(c, sp, 0x41, 0x52);	    /* push %r10 */
	LONG_EMIT(c, sp, 0x9d);		    /* popfq */
	LONG_EMIT(c, sp, 0x4c, 0x89, 0xcc); /* mov %r9,%rsp */
}

/*
 * The arithmetic flags change early, by the tests too: what is left of the instruction overwrites them, also when it is
 * done again. Nothing after the one access to the stack can fault.
 */
static void popf(const struct long_ctx *c, struct lower_insn *in, struct place first)
{
	static const uint8_t test_pending[] = {0x44, 0x85}, store[] = {0x44, OPCODE_STORE};
	struct place inside = long_inside(c, in, 0);
	bool supervisor = c->view == VIEW_SUPERVISOR;

	long_stack_move(c, in, first, OPCODE_LOAD, 10, 0);
	long_leave_if_unusual(c, in);
	long_cmp_zero(c, inside, VCPU_FLAGS_HI);
	emit_jcc_slow(c->l, inside, CC_NE, &in->slow[0]);
	if (supervisor) {
		LONG_EMIT(c, inside, 0x45, 0x89, 0xd0);				/* mov %r10d,%r8d */
		LONG_EMIT(c, inside, 0x41, 0x81, 0xe0, 0x00, 0x02, 0x00, 0x00); /* and $IF,%r8d */
		long_hole(c, inside, test_pending, sizeof(test_pending), 0, long_vcpu(c, VCPU_PENDING), 0, 0);
		emit_jcc_slow(c->l, inside, CC_NE, &in->slow[0]);
	}
	long_load_flags(c, in);
	if (!supervisor) {
		long_stack_add(c, inside, 4);
		return;
	}
	LONG_EMIT(c, inside, 0x45, 0x8d, 0x80, 0x00, 0xfe, 0xff, 0xff); /* lea -IF(%r8),%r8d */
	long_hole(c, inside, store, sizeof(store), 0, long_vcpu(c, VCPU_IF_DELTA), 0, 0);
	long_stack_add(c, long_after(in), 4);
}

void long_load_fs(const struct long_ctx *c, struct place at, unsigned reg, uint8_t field, bool wide)
{
	const uint8_t mov[] = {(uint8_t)(0x43 | (wide ? 8 : 0) | (reg >= 8 ? REX_R : 0)), OPCODE_LOAD,
			       (uint8_t)(0x44 | (reg & 7) << 3), 0x2b, field}; /* mov field(%r11,%r13),%reg */

	emit(c->l, at, mov, sizeof(mov));
}

/* The selector into a register, of which `narrow` writes 16 bits. */
static void read_selector(const struct long_ctx *c, const struct lower_insn *in, struct place first, enum seg s, unsigned reg,
			  bool narrow)
{
	static const uint8_t narrow_load[] = {0x66, OPCODE_LOAD};
	const uint8_t narrow_move[] = {0x66, 0x44, OPCODE_STORE, (uint8_t)(0xc0 | 3 << 3 | (reg & 7))}; /* mov %r11w,%reg */
	struct place inside = long_inside(c, in, 0);

	if (s != SEG_FS && narrow) {
		long_hole(c, first, narrow_load, sizeof(narrow_load), reg, long_vcpu(c, VCPU_SEL + 4u * s), 0, 0);
	} else if (s != SEG_FS) {
		long_load(c, first, reg, VCPU_SEL + 4u * s);
	} else {
		long_load(c, first, 11, VCPU_FS_AT);
		long_load_fs(c, inside, narrow ? 11 : reg, VCPU_FS_SEL, false);
		if (narrow)
			emit(c->l, inside, narrow_move, sizeof(narrow_move));
	}
}

static void seg_read(const struct long_ctx *c, struct lower_insn *in, struct place first)
{
	const struct insn *i = &in->insn;
	bool mov = i->map == 0 && i->opcode == 0x8c, narrow = i->prefixes & INSN_OPSIZE;

	if (mov && !i->has_mem && i->reg < SEG_COUNT) {
		read_selector(c, in, first, i->reg, i->rm & 7, narrow);
	} else if (!mov && !i->has_modrm && !narrow && !in->soft) {
		read_selector(c, in, first, i->opcode >> 3 & 7, 8, false);
		long_stack_move(c, in, long_inside(c, in, 0), OPCODE_STORE, 8, -4);
		long_stack_add(c, long_inside(c, in, 0), -4);
	} else {
		emit_exit(c->l, in, first);
	}
}

void long_leave_unless_zero(const struct long_ctx *c, struct lower_insn *in)
{
	struct place cx = long_inside(c, in, POINT_R9_CX);

	LONG_EMIT(c, cx, 0xe3, 8);	    /* jrcxz over the exit */
	LONG_EMIT(c, cx, 0x4c, 0x89, 0xc9); /* mov %r9,%rcx */
	emit_exit(c->l, in, long_inside(c, in, 0));
}

void long_leave_unless_same(const struct long_ctx *c, struct lower_insn *in, uint32_t known)
{
	static const uint8_t load64[] = {0x4c, OPCODE_LOAD};
	struct place cx = long_inside(c, in, POINT_R9_CX);

	long_hole(c, cx, load64, 2, 3, known + VCPU_RELOAD_AT, 0, 0);
	LONG_EMIT(c, cx, 0x49, 0x8b, 0x0b); /* mov (%r11),%rcx */
	long_hole(c, cx, load64, 2, 3, known + VCPU_RELOAD_MINUS_DESC, 0, 0);
	LONG_EMIT(c, cx, 0x4a, 0x8d, 0x0c, 0x19); /* lea (%rcx,%r11),%rcx */
	long_leave_unless_zero(c, in);
}

/* ES, DS, FS or GS from a register or the stack. Kernels mostly load what is loaded already, and FS by turns. */
static bool seg_load_inline(const struct insn *i)
{
	enum seg s = insn_sreg(i);

	if (s == SEG_CS || s == SEG_SS || s >= SEG_COUNT)
		return false;
	if (i->map == 0 && i->opcode == 0x8e)
		return !i->has_mem;
	return !i->has_modrm && !(i->prefixes & INSN_OPSIZE);
}

/* The new selector into R8D, and RCX into R9. */
static void load_new_selector(const struct long_ctx *c, const struct lower_insn *in, struct place first)
{
	const struct insn *i = &in->insn;
	const uint8_t from_reg[] = {0x44, 0x0f, 0xb7, (uint8_t)(0xc0 | (i->rm & 7))}; /* movzwl %reg,%r8d */

	if (i->has_modrm)
		emit(c->l, first, from_reg, sizeof(from_reg));
	else
		LONG_EMIT(c, first, 0x65, 0x67, 0x44, 0x0f, 0xb7, 0x04, 0x24); /* movzwl %gs:(%esp),%r8d */
	LONG_EMIT(c, long_inside(c, in, 0), 0x49, 0x89, 0xc9); /* mov %rcx,%r9 */
}

/* ES, DS, GS: what is loaded already. */
static void reload(const struct long_ctx *c, struct lower_insn *in, struct place first)
{
	static const uint8_t load32[] = {OPCODE_LOAD};
	uint32_t known = long_vcpu(c, VCPU_RELOAD + VCPU_RELOAD_LEN * (uint32_t)insn_sreg(&in->insn));
	struct place inside = long_inside(c, in, 0), cx = long_inside(c, in, POINT_R9_CX);

	load_new_selector(c, in, first);
	long_hole(c, inside, load32, 1, REG_CX, known + VCPU_RELOAD_MINUS_SEL, 0, 0);
	LONG_EMIT(c, cx, 0x42, 0x8d, 0x0c, 0x01); /* lea (%rcx,%r8),%ecx */
	long_leave_unless_zero(c, in);
	long_leave_unless_same(c, in, known);
	LONG_EMIT(c, cx, 0x4c, 0x89, 0xc9); /* mov %r9,%rcx */
	if (!in->insn.has_modrm)
		long_stack_add(c, inside, 4);
}

/* FS: one of the two that it held last. R11D leads to it; the store to VCPU_FS_AT loads it. */
static void switch_fs(const struct long_ctx *c, struct lower_insn *in, struct place first)
{
	static const uint8_t store64[] = {0x4c, OPCODE_STORE};
	struct place inside = long_inside(c, in, 0), cx = long_inside(c, in, POINT_R9_CX);
	size_t jump;

	load_new_selector(c, in, first);
	long_load(c, inside, 11, VCPU_FS_AT);
	long_load_fs(c, inside, REG_CX, VCPU_FS_MINUS_SEL, false);
	LONG_EMIT(c, cx, 0x42, 0x8d, 0x0c, 0x01); /* lea (%rcx,%r8),%ecx */
	LONG_EMIT(c, cx, 0xe3, 0);		  /* jrcxz over the other */
	jump = c->l->code_len;
	long_load_fs(c, cx, 11, VCPU_FS_OTHER, false);
	long_load_fs(c, cx, REG_CX, VCPU_FS_MINUS_SEL, false);
	LONG_EMIT(c, cx, 0x42, 0x8d, 0x0c, 0x01);
	long_leave_unless_zero(c, in);
	if (!c->l->err)
		c->l->code[jump - 1] = (uint8_t)(c->l->code_len - jump);
	long_load_fs(c, cx, 10, VCPU_FS_DESC, true);
	LONG_EMIT(c, cx, 0x49, 0x8b, 0x0a); /* mov (%r10),%rcx */
	long_load_fs(c, cx, 10, VCPU_FS_MINUS_DESC, true);
	LONG_EMIT(c, cx, 0x4a, 0x8d, 0x0c, 0x11); /* lea (%rcx,%r10),%rcx */
	long_leave_unless_zero(c, in);
	LONG_EMIT(c, cx, 0x4c, 0x89, 0xc9); /* mov %r9,%rcx */
	long_load_fs(c, inside, 10, VCPU_FS_THIS, true);
	long_hole(c, inside, store64, sizeof(store64), 2, long_vcpu(c, VCPU_FS_AT), 0, 0);
	if (!in->insn.has_modrm)
		long_stack_add(c, long_after(in), 4);
}

static void seg_load(const struct long_ctx *c, struct lower_insn *in, struct place first)
{
	if (insn_sreg(&in->insn) == SEG_FS)
		switch_fs(c, in, first);
	else
		reload(c, in, first);
}

/*
 * A page of which nothing holds a translation (VCPU_CACHED_AT) needs nothing done. Kernels map and unmap in long runs what
 * they touch little of.
 */
static bool invlpg_inline(const struct long_ctx *c, const struct insn *i)
{
	return c->x->soft && i->map == 1 && i->has_mem && i->adsize == 4 && i->seg != SEG_FS && i->seg != SEG_GS;
}

static void invlpg(const struct long_ctx *c, struct lower_insn *in, struct place first)
{
	static const uint8_t load64[] = {0x4c, OPCODE_LOAD};
	const struct insn *i = &in->insn;
	struct place inside = long_inside(c, in, 0), cx = long_inside(c, in, POINT_R9_CX);
	struct long_bytes lea = {.n = 0};

	long_put_lea(&lea, 8, i->base, i->index, i->scale, (uint32_t)i->disp);
	emit(c->l, first, lea.b, lea.n);
	LONG_EMIT(c, inside, 0xc4, 0x42, 0x03, 0xf7, 0xc0); /* shrx %r15d,%r8d,%r8d */
	LONG_EMIT(c, inside, 0x49, 0x89, 0xc9);		    /* mov %rcx,%r9 */
	long_hole(c, inside, load64, 2, 2, long_vcpu(c, VCPU_CACHED_AT), 0, 0);
	LONG_EMIT(c, inside, 0x43, 0x0f, 0xb6, 0x0c, 0x02); /* movzbl (%r10,%r8),%ecx */
	long_leave_unless_zero(c, in);
	LONG_EMIT(c, cx, 0x4c, 0x89, 0xc9); /* mov %r9,%rcx */
}

static void cr_read(const struct long_ctx *c, struct lower_insn *in, struct place first)
{
	const struct insn *i = &in->insn;
	bool kept = i->reg == 0 || (i->reg >= 2 && i->reg <= 4);

	if (kept && i->map == 1 && i->opcode == 0x20)
		long_load(c, first, i->rm & 7, VCPU_CR0 + 4u * i->reg);
	else
		emit_exit(c->l, in, first);
}

void long_sensitive(const struct long_ctx *c, struct lower_insn *in, struct place first)
{
	bool supervisor = c->view == VIEW_SUPERVISOR, narrow = in->insn.prefixes & INSN_OPSIZE;
	enum lowering how = in->exit_only ? LOWER_EXIT : policy_get(in->insn.op)->lowering;

	if (how == LOWER_CLI && supervisor)
		long_store_imm(c, first, VCPU_IF_DELTA, -FLAGS_IF);
	else if (how == LOWER_STI && supervisor)
		sti(c, in, first);
	else if (how == LOWER_PUSHF && !narrow && !in->soft)
		pushf(c, in, first);
	else if (how == LOWER_POPF && !narrow && !in->soft)
		popf(c, in, first);
	else if (how == LOWER_SEG_READ)
		seg_read(c, in, first);
	else if (how == LOWER_CR_READ && supervisor)
		cr_read(c, in, first);
	else if (in->insn.op == OP_IRET && supervisor && !narrow && !in->soft && !in->exit_only)
		long_iret(c, in, first);
	else if (in->insn.op == OP_INT && c->view != VIEW_SUPERVISOR && !in->exit_only)
		long_int(c, in, first);
	else if (in->insn.op == OP_INVLPG && supervisor && !in->exit_only && invlpg_inline(c, &in->insn))
		invlpg(c, in, first);
	else if (policy_get(in->insn.op)->hypercall == HC_SEG_LOAD && supervisor && !in->exit_only &&
		 seg_load_inline(&in->insn))
		seg_load(c, in, first);
	else
		emit_exit(c->l, in, first);
}
