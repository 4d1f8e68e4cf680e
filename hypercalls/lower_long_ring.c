// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * See lower_long.h: from ring to ring without leaving the blocks. INT n at CPL 3 by the gate that it went by last, and IRET to
 * the same privilege or back to CPL 3 (SDM 2A INT n, IRET; SDM 3A 6.12). The vCPU page's VCPU_RING has what the monitor
 * found when it did the same, and each of the guest's tables that came into it is looked at again: the gate, the four
 * descriptors, and the stack in the TSS. Whatever is not as it was leaves for the monitor with nothing changed.
 *
 * A gate's own accesses are the system's, so they go by the window in user code too: a fault there is told by its address.
 */
#include "hypercalls/lower_long_emit.h"

#define FRAME_SS -4 /* of the frame, from ESP0 */
#define FRAME_ESP -8
#define FRAME_EFLAGS -12
#define FRAME_CS -16
#define FRAME_EIP -20

static void store(const struct long_ctx *c, struct place at, unsigned reg, uint32_t field)
{
	static const uint8_t mov[] = {0x44, OPCODE_STORE};

	long_hole(c, at, mov, sizeof(mov), reg & 7, long_vcpu(c, field), 0, 0);
}

static void load64(const struct long_ctx *c, struct place at, unsigned reg, uint32_t field)
{
	static const uint8_t mov[] = {0x4c, OPCODE_LOAD};

	long_hole(c, at, mov, sizeof(mov), reg & 7, long_vcpu(c, field), 0, 0);
}

/* By R9D from one word of the vCPU page to another. */
static void copy(const struct long_ctx *c, struct place at, uint32_t from, uint32_t to)
{
	long_load(c, at, 9, from);
	store(c, at, 9, to);
}

/* --- inward ------------------------------------------------------------------------------------------------ */

/* mov %reg,%gs:disp(%r8d) */
static void store_frame(const struct long_ctx *c, const struct lower_insn *in, unsigned reg, int8_t disp)
{
	const uint8_t b[] = {0x65, 0x67, (uint8_t)(REX | REX_B | (reg >= 8 ? REX_R : 0)), OPCODE_STORE,
			     (uint8_t)(0x40 | (reg & 7) << 3), (uint8_t)disp};

	emit(c->l, long_inside(c, in, 0), b, sizeof(b));
}

/* Is it the vector, are gate and segments the same, and is the stack that of the TSS? ESP0 into R8D. */
static void check_gate(const struct long_ctx *c, struct lower_insn *in, struct place first)
{
	struct place inside = long_inside(c, in, 0), cx = long_inside(c, in, POINT_R9_CX);
	struct long_bytes lea = {.n = 0};

	LONG_EMIT(c, first, 0x49, 0x89, 0xc9); /* mov %rcx,%r9 */
	long_load(c, inside, REG_CX, VCPU_RING_MINUS_VECTOR);
	long_put_lea(&lea, REG_CX, REG_CX, REG_NONE, 0, (uint32_t)in->insn.imm & 0xff);
	emit(c->l, cx, lea.b, lea.n);
	long_leave_unless_zero(c, in);
	long_leave_unless_same(c, in, long_vcpu(c, VCPU_RING_GATE));
	long_leave_unless_same(c, in, long_vcpu(c, VCPU_RING_CODE0));
	long_leave_unless_same(c, in, long_vcpu(c, VCPU_RING_STACK0));
	load64(c, cx, 11, VCPU_RING_TSS);
	LONG_EMIT(c, cx, 0x41, 0x0f, 0xb7, 0x4b, 0x04); /* movzwl 4(%r11),%ecx */
	long_load(c, cx, 8, VCPU_RING_MINUS_SS0);
	LONG_EMIT(c, cx, 0x42, 0x8d, 0x0c, 0x01); /* lea (%rcx,%r8),%ecx */
	long_leave_unless_zero(c, in);
	LONG_EMIT(c, cx, 0x4c, 0x89, 0xc9);	/* mov %r9,%rcx */
	LONG_EMIT(c, inside, 0x45, 0x8b, 0x03); /* mov (%r11),%r8d */
}

static void push_frame(const struct long_ctx *c, const struct lower_insn *in)
{
	const struct place inside = long_inside(c, in, 0);
	uint8_t eip[] = {0x65, 0x67, REX | REX_B, 0xc7, 0x40, (uint8_t)FRAME_EIP, 0, 0, 0, 0}; /* movl $,%gs:FRAME_EIP(%r8d) */

	long_read_flags(c, in, inside);
	store_frame(c, in, 10, FRAME_EFLAGS);
	long_load(c, inside, 9, VCPU_SEL + 4 * SEG_SS);
	store_frame(c, in, 9, FRAME_SS);
	store_frame(c, in, REG_SP, FRAME_ESP);
	long_load(c, inside, 9, VCPU_SEL + 4 * SEG_CS);
	store_frame(c, in, 9, FRAME_CS);
	put32(eip + 6, in->va + in->insn.len);
	emit(c->l, inside, eip, sizeof(eip));
}

/* The privilege changes first: taken out of here, the vCPU has the segments that belong to it. */
void long_int(const struct long_ctx *c, struct lower_insn *in, struct place first)
{
	const struct place after = long_after(in);
	struct long_bytes lea = {.n = 0};

	check_gate(c, in, first);
	push_frame(c, in);
	long_put_lea(&lea, REG_SP, 8, REG_NONE, 0, (uint32_t)FRAME_EIP);
	emit(c->l, long_inside(c, in, 0), lea.b, lea.n);
	long_store_imm(c, after, VCPU_RING_CPL, 0);
	copy(c, after, VCPU_RING_INNER_CS, VCPU_SEL + 4 * SEG_CS);
	copy(c, after, VCPU_RING_INNER_SS, VCPU_SEL + 4 * SEG_SS);
	copy(c, after, VCPU_RING_IF_DELTA, VCPU_IF_DELTA);
	long_load(c, after, 9, VCPU_RING_CALLS);
	LONG_EMIT(c, after, 0x45, 0x8d, 0x49, 0x01); /* lea 1(%r9),%r9d */
	store(c, after, 9, VCPU_RING_CALLS);
	load64(c, after, 14, VCPU_RING_WINDOW);
	long_load(c, after, 8, VCPU_RING_ENTRY);
	long_lookup(c, in, 0, VCPU_RING_INNER_TABLE);
}

/* --- outward ----------------------------------------------------------------------------------------------- */

/* Leave, unless the selector in R11D is that of the word at `minus`. */
static void leave_unless_selector(const struct long_ctx *c, struct lower_insn *in, uint32_t minus)
{
	struct place cx = long_inside(c, in, POINT_R9_CX);

	long_load(c, cx, REG_CX, minus);
	LONG_EMIT(c, cx, 0x42, 0x8d, 0x0c, 0x19); /* lea (%rcx,%r11),%ecx */
	long_leave_unless_zero(c, in);
}

/* No flag of what the present privilege has may be virtual: NT makes IRET another instruction. */
static void leave_if_flags_hi(const struct long_ctx *c, struct lower_insn *in)
{
	struct place cx = long_inside(c, in, POINT_R9_CX);

	long_load(c, cx, REG_CX, VCPU_FLAGS_HI);
	long_leave_unless_zero(c, in);
	LONG_EMIT(c, cx, 0x4c, 0x89, 0xc9); /* mov %r9,%rcx */
}

/* To CPL 3: the selector of CS is in R11D, EFLAGS in R10D, EIP in R8D. */
static void iret_outward(const struct long_ctx *c, struct lower_insn *in)
{
	struct place inside = long_inside(c, in, 0), cx = long_inside(c, in, POINT_R9_CX), after = long_after(in);

	leave_unless_selector(c, in, VCPU_RING_MINUS_CS3);
	LONG_EMIT(c, cx, 0x65, 0x67, 0x44, 0x0f, 0xb7, 0x5c, 0x24, 0x10); /* movzwl %gs:16(%esp),%r11d */
	leave_unless_selector(c, in, VCPU_RING_MINUS_SS3);
	long_leave_unless_same(c, in, long_vcpu(c, VCPU_RING_CODE3));
	long_leave_unless_same(c, in, long_vcpu(c, VCPU_RING_STACK3));
	long_load(c, cx, 11, VCPU_FS_AT);
	long_load_fs(c, cx, REG_CX, VCPU_FS_INNER, false);
	long_leave_unless_zero(c, in);
	leave_if_flags_hi(c, in);
	long_stack_move(c, in, inside, OPCODE_LOAD, 11, 12);

	long_leave_if_unusual(c, in);
	LONG_EMIT(c, inside, 0x41, 0xf7, 0xc2, 0x00, 0x02, 0x00, 0x00); /* test $IF,%r10d */
	emit_jcc_slow(c->l, inside, CC_E, &in->slow[0]);
	long_cmp_zero(c, inside, VCPU_PENDING);
	emit_jcc_slow(c->l, inside, CC_NE, &in->slow[0]);
	long_load_flags(c, in);
	long_store_imm(c, inside, VCPU_RING_CPL, 3);
	LONG_EMIT(c, after, 0x44, 0x89, 0xdc); /* mov %r11d,%esp */
	copy(c, after, VCPU_RING_OUTER_CS, VCPU_SEL + 4 * SEG_CS);
	copy(c, after, VCPU_RING_OUTER_SS, VCPU_SEL + 4 * SEG_SS);
	long_store_imm(c, after, VCPU_IF_DELTA, 0);
	long_lookup(c, in, 0, VCPU_RING_OUTER_TABLE);
}

/* To the same privilege: a jump to EIP, and the flags. */
static void iret_same(const struct long_ctx *c, struct lower_insn *in)
{
	static const uint8_t test_pending[] = {0x44, 0x85};
	struct place inside = long_inside(c, in, 0);

	long_leave_unless_same(c, in, long_vcpu(c, VCPU_RELOAD + VCPU_RELOAD_LEN * SEG_CS));
	leave_if_flags_hi(c, in);
	long_leave_if_unusual(c, in);
	LONG_EMIT(c, inside, 0x45, 0x89, 0xd3);				/* mov %r10d,%r11d */
	LONG_EMIT(c, inside, 0x41, 0x81, 0xe3, 0x00, 0x02, 0x00, 0x00); /* and $IF,%r11d */
	long_hole(c, inside, test_pending, sizeof(test_pending), 3, long_vcpu(c, VCPU_PENDING), 0, 0);
	emit_jcc_slow(c->l, inside, CC_NE, &in->slow[0]);
	long_load_flags(c, in);
	LONG_EMIT(c, inside, 0x45, 0x8d, 0x9b, 0x00, 0xfe, 0xff, 0xff); /* lea -IF(%r11),%r11d */
	store(c, inside, 11, VCPU_IF_DELTA);
	long_lookup(c, in, 12, 0);
}

/*
 * By the selector that CS has, or by the one that a gate was taken from. What may still raise an exception in the monitor is
 * looked at first, for IRET must not change a flag then; the tests from there on do, and like POPF it overwrites them all.
 * From the new IF or privilege on the lookup closes the way back.
 */
void long_iret(const struct long_ctx *c, struct lower_insn *in, struct place first)
{
	struct place inside = long_inside(c, in, 0), cx = long_inside(c, in, POINT_R9_CX);
	static const uint8_t jmp[] = {0xe9};
	size_t jump;

	long_stack_move(c, in, first, OPCODE_LOAD, 10, 8);
	LONG_EMIT(c, inside, 0x65, 0x67, 0x44, 0x0f, 0xb7, 0x5c, 0x24, 0x04); /* movzwl %gs:4(%esp),%r11d */
	long_stack_move(c, in, inside, OPCODE_LOAD, 8, 0);
	LONG_EMIT(c, inside, 0x49, 0x89, 0xc9); /* mov %rcx,%r9 */
	long_load(c, inside, REG_CX, VCPU_RELOAD + VCPU_RELOAD_LEN * SEG_CS + VCPU_RELOAD_MINUS_SEL);
	LONG_EMIT(c, cx, 0x42, 0x8d, 0x0c, 0x19); /* lea (%rcx,%r11),%ecx */
	LONG_EMIT(c, cx, 0xe3, 5);		  /* jrcxz over the jump */
	emit_rel32(c->l, cx, jmp, sizeof(jmp), 0); /* to the other, aimed below */
	jump = c->l->code_len;
	iret_same(c, in);
	if (!c->l->err)
		put32(c->l->code + jump - 4, (uint32_t)(c->l->code_len - jump));
	iret_outward(c, in);
}
