// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 2.3: Stubs
 *
 * The emitter: a run of guest instructions becomes a stub.
 *
 * Ordinary instructions are copied. The few that depend on where they stand (relative branches and calls) are
 * re-aimed; a call pushes the guest's own return address, so that the guest, its unwinder and its return find
 * what they expect. Sensitive instructions are lowered in lower_sensitive.c.
 *
 * Precision is the rule that decides what can be displaced. At every emitted instruction the guest's state is
 * either exactly that of a guest boundary, or can be rolled back to one, or is bound to complete. An indirect
 * call through memory has no such form without a spare register (the read may fault after the push), so it is
 * refused; the planner then ends its window before it.
 *
 * A worked example, `pushf; cli` at c0100000 with the hole at f8000000:
 *
 *     pushf                           boundary c0100000: a fault on the stack is the guest's own
 *     mov %ecx,%ss:0xf800000c         after: EFLAGS stand on the stack, ESP moved; only forward from here
 *     ...                             after: IF and IOPL are added to the image with lea, which keeps the flags
 *     movl $-0x200,%ss:0xf8000000     boundary c0100001, and the commit of cli
 *     jmp c0100005                    boundary c0100005
 */
#include "hypercalls/lower.h"

#include <errno.h>
#include <string.h>

#include "hypercalls/abi.h"
#include "hypercalls/lower_emit.h"
#include "hypercalls/policy.h"

#define OPCODE_JMP_SHORT 0xeb
#define OPCODE_JMP 0xe9
#define OPCODE_PUSH_IMM 0x68

void emit(struct lower *l, struct place at, const uint8_t *bytes, size_t len)
{
	struct manifest_point *p;

	if (l->err)
		return;
	if (len > l->code_cap - l->code_len || l->n_points == l->points_cap) {
		l->err = -ENOSPC;
		return;
	}
	p = &l->points[l->n_points++];
	*p = (struct manifest_point){
	    .stub = emit_here(l), .guest = at.guest, .state = at.state, .flags = at.flags};
	memcpy(l->code + l->code_len, bytes, len);
	l->code_len += len;
}

void emit_rel32(struct lower *l, struct place at, const uint8_t *opcode, size_t opcode_len, uint32_t target)
{
	uint8_t b[8];

	memcpy(b, opcode, opcode_len);
	put32(b + opcode_len, target - (emit_here(l) + (uint32_t)opcode_len + 4));
	emit(l, at, b, opcode_len + 4);
}

/* Until it is aimed, the displacement of a slow jump holds the offset of the one before it in its chain. */
void emit_jcc_slow(struct lower *l, struct place at, uint8_t cc, uint32_t *chain)
{
	uint8_t b[6] = {0x0f, (uint8_t)(0x80 | cc)};

	put32(b + 2, *chain);
	emit(l, at, b, sizeof(b));
	if (!l->err)
		*chain = (uint32_t)l->code_len - 4;
}

void emit_aim(struct lower *l, uint32_t *chain)
{
	while (!l->err && *chain != SLOW_NONE) {
		uint32_t at = *chain;

		*chain = get32(l->code + at);
		put32(l->code + at, (uint32_t)l->code_len - (at + 4));
	}
}

static void pad_make(struct lower *l, struct lower_insn *in)
{
	uint8_t *p = l->pads + l->pads_len;
	uint32_t va = l->pads_va + (uint32_t)l->pads_len;

	if (l->err)
		return;
	if (l->pads_cap - l->pads_len < ABI_PAD_LEN) {
		l->err = -ENOSPC;
		return;
	}
	p[0] = 0x41; /* mov $site, %r15d */
	p[1] = 0xbf;
	put32(p + 2, in->site);
	p[6] = OPCODE_JMP;
	put32(p + 7, l->hole_base + GATE_EXIT - (va + ABI_PAD_LEN));
	l->pads_len += ABI_PAD_LEN;
	in->pad = va;
}

static void jump_to(struct lower *l, struct place at, uint32_t target)
{
	static const uint8_t jmp[] = {OPCODE_JMP};

	emit_rel32(l, at, jmp, sizeof(jmp), target);
}

void emit_exit(struct lower *l, struct lower_insn *in, struct place at)
{
	uint8_t b[7] = {0xea};

	if (in->pad == MANIFEST_NONE)
		pad_make(l, in);
	if (l->long_code) {
		jump_to(l, at, in->pad);
		return;
	}
	put32(b + 1, in->pad);
	b[5] = ABI_HOST_CS64;
	emit(l, at, b, sizeof(b));
}

static struct place boundary(uint32_t guest)
{
	return (struct place){.guest = guest, .state = POINT_BOUNDARY};
}

static void refuse(struct lower *l)
{
	if (!l->err)
		l->err = -EOPNOTSUPP;
}

static uint32_t aim(const struct lower *l, const struct insn *branch)
{
	uint32_t guest = (uint32_t)branch->target;

	return l->aim ? l->aim(l->aim_ctx, guest) : guest;
}

/* LOOP and JECXZ only have an 8-bit form: step over a jump around the jump to the far target. */
static void displace_loop(struct lower *l, const struct lower_insn *in, struct place first)
{
	static const uint8_t around[] = {OPCODE_JMP_SHORT, 5};
	uint8_t b[INSN_MAX];

	memcpy(b, in->bytes, in->insn.len);
	b[in->insn.len - 1] = sizeof(around);
	emit(l, first, b, in->insn.len);
	emit(l, boundary(in->va + in->insn.len), around, sizeof(around));
	jump_to(l, boundary((uint32_t)in->insn.target), aim(l, &in->insn));
}

static void push_return(struct lower *l, const struct lower_insn *in, struct place first)
{
	uint8_t b[5] = {OPCODE_PUSH_IMM};

	put32(b + 1, in->va + in->insn.len);
	emit(l, first, b, sizeof(b));
}

/* Through a register only: see the head of this file. ESP would be read after the push. */
static void displace_call_indirect(struct lower *l, const struct lower_insn *in, struct place first)
{
	uint8_t b[2] = {0xff, (uint8_t)(0xe0 | in->insn.rm)};

	if (in->insn.has_mem || in->insn.rm == REG_SP) {
		refuse(l);
		return;
	}
	push_return(l, in, first);
	emit(l, (struct place){.guest = in->va, .state = POINT_AFTER}, b, sizeof(b));
}

/* XBEGIN (C7 F8) holds a relative address that is no branch to the control-flow graph. */
static bool hides_relative(const struct insn *i)
{
	return i->map == 0 && i->opcode == 0xc7 && i->has_modrm && i->mod == 3 && i->reg == 7;
}

static void displace(struct lower *l, const struct lower_insn *in, struct place first)
{
	const struct insn *i = &in->insn;
	uint8_t jcc[2] = {0x0f, (uint8_t)(0x80 | (i->opcode & 15))};
	bool relative =
	    i->flow == FLOW_JCC || i->flow == FLOW_LOOP || i->flow == FLOW_JMP || i->flow == FLOW_CALL;

	/* A 16-bit operand size cuts EIP to 16 bits: nothing in the hole survives that. */
	if (hides_relative(i) || (i->prefixes & INSN_OPSIZE && (relative || i->flow == FLOW_CALL_IND))) {
		refuse(l);
		return;
	}
	switch (i->flow) {
	case FLOW_JCC:
		emit_rel32(l, first, jcc, sizeof(jcc), aim(l, i));
		break;
	case FLOW_LOOP:
		displace_loop(l, in, first);
		break;
	case FLOW_JMP:
		jump_to(l, first, aim(l, i));
		break;
	case FLOW_CALL:
		push_return(l, in, first);
		jump_to(l, boundary((uint32_t)i->target), aim(l, i));
		break;
	case FLOW_CALL_IND:
		displace_call_indirect(l, in, first);
		break;
	default:
		emit(l, first, in->bytes, i->len);
	}
}

/* Does control never reach the instruction behind it inside the stub? UD2 does: the guest may step over it.
 */
static bool ends_run(const struct insn *i)
{
	switch (i->flow) {
	case FLOW_JMP:
	case FLOW_CALL:
	case FLOW_JMP_IND:
	case FLOW_CALL_IND:
	case FLOW_RET:
	case FLOW_FAR:
		return true;
	default:
		return false;
	}
}

/* The guest returns behind a call or a software interrupt, and cannot return into a window. */
static bool is_call(const struct insn *i)
{
	return i->flow == FLOW_CALL || i->flow == FLOW_CALL_IND || i->flow == FLOW_FAR_CALL;
}

static void lower_one(struct lower *l, struct lower_insn *in, bool last, bool shadow)
{
	struct place first = boundary(in->va);

	in->pad = in->resume = MANIFEST_NONE;
	in->slow[0] = in->slow[1] = SLOW_NONE;
	in->start = emit_here(l);
	if (shadow)
		first.flags = POINT_SHADOW;
	if (in->insn.width != 32 || (is_call(&in->insn) && !last)) {
		refuse(l);
		return;
	}
	if (policy_is_replaced(in->insn.op))
		lower_sensitive(l, in, first);
	else
		displace(l, in, first);
	if (in->insn.flow != FLOW_FAR)
		in->resume = emit_here(l);
}

static bool is_sti(const struct insn *i)
{
	return insn_is_sensitive(i) && policy_get(i->op)->lowering == LOWER_STI;
}

int lower_run(struct lower *l, struct lower_insn *insns, size_t n, uint32_t next)
{
	size_t code_len = l->code_len, pads_len = l->pads_len, n_points = l->n_points;
	bool shadow = false;

	l->err = 0;
	for (size_t k = 0; k < n; k++) {
		lower_one(l, &insns[k], k + 1 == n, shadow);
		shadow = is_sti(&insns[k].insn);
	}
	if (n == 0 || !ends_run(&insns[n - 1].insn)) {
		struct place back = boundary(next);

		back.flags = shadow ? POINT_SHADOW : 0;
		jump_to(l, back, next);
	}
	for (size_t k = 0; k < n; k++)
		lower_slow_path(l, &insns[k]);
	if (l->err) {
		l->code_len = code_len;
		l->pads_len = pads_len;
		l->n_points = n_points;
	}
	return l->err;
}
