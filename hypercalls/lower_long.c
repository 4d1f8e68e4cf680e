// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * See lower_long.h: blocks, and their branches. The instructions are in lower_long_insn.c and lower_long_sensitive.c.
 *
 * A call stores its return address and moves ESP; a return takes it into R8D and looks for its code in the table, inline,
 * so that each return has a jump of its own to be predicted. Nothing of it touches the flags: the table holds the
 * negated address, lea adds, and jrcxz decides.
 */
#include "hypercalls/lower_long.h"

#include <errno.h>
#include <string.h>

#include "hypercalls/lower_long_emit.h"
#include "hypercalls/policy.h"

#define PREFIX_ADDRESS 0x67
#define OPCODE_JMP 0xe9

bool lower_long_checks_x87(const struct insn *i)
{
	return i->width == 32 && i->map == 1 && insn_stores_x87_pointers(i);
}

enum lower_shape lower_long_shape(const struct insn *i)
{
	enum lower_shape shape = lower_block_shape(i);

	if (lower_long_checks_x87(i))
		return long_can(i) ? LOWER_GOES_ON : LOWER_ALONE;
	if (shape == LOWER_ALONE || policy_is_replaced(i->op))
		return shape;
	if (i->flow == FLOW_LOOP && i->adsize == 2)
		return LOWER_ALONE;
	return i->flow == FLOW_STOP || long_can(i) ? shape : LOWER_ALONE;
}

/* --- the lookup -------------------------------------------------------------------------------------------- */

/* What changes when the target is found: ESP. */
struct arrival {
	int32_t pop;
	bool final; /* the way back is closed, see indirect() */
	uint32_t table; /* 0: this view's */
};

static struct place place_of(const struct long_ctx *c, const struct lower_insn *in, const struct arrival *a,
			     uint8_t flags)
{
	return a->final ? long_after(in) : long_inside(c, in, flags);
}

/* To the code for the guest address in R8D. RCX, which jrcxz needs, waits in R9. */
static void lookup(const struct long_ctx *c, const struct lower_insn *in, struct arrival a)
{
	static const uint8_t lea[] = {0x4c, 0x8d}, load[] = {0x4c, OPCODE_LOAD}, jmp[] = {OPCODE_JMP};
	const struct place whole = place_of(c, in, &a, 0), cx = place_of(c, in, &a, POINT_R9_CX);
	size_t jump;

	LONG_EMIT(c, whole, 0x45, 0x0f, 0xb7, 0xc8);		  /* movzwl %r8w,%r9d */
	if (a.table)
		long_hole(c, whole, load, sizeof(load), 2, long_vcpu(c, a.table), 0, 0); /* mov table,%r10 */
	else
		long_hole(c, whole, lea, sizeof(lea), 2, c->table, 0, 0); /* lea table,%r10 */
	LONG_EMIT(c, whole, 0x4f, 0x8d, 0x14, 0xca);		  /* lea (%r10,%r9,8),%r10 */
	LONG_EMIT(c, whole, 0x49, 0x89, 0xc9);			  /* mov %rcx,%r9 */
	LONG_EMIT(c, whole, 0x41, 0x8b, 0x0a);			  /* mov minus_guest(%r10),%ecx */
	LONG_EMIT(c, cx, 0x42, 0x8d, 0x0c, 0x01);		  /* lea (%rcx,%r8),%ecx */
	LONG_EMIT(c, cx, 0xe3, 0);				  /* jrcxz hit */
	jump = c->l->code_len;
	LONG_EMIT(c, cx, 0x4c, 0x89, 0xc9); /* mov %r9,%rcx */
	if (a.pop)
		long_stack_add(c, whole, a.pop);
	emit_rel32(c->l, long_after(in), jmp, sizeof(jmp),
		   in->insn.flow == FLOW_RET ? c->x->lookup_return : c->x->lookup);
	if (!c->l->err)
		c->l->code[jump - 1] = (uint8_t)(c->l->code_len - jump);
	LONG_EMIT(c, cx, 0x4c, 0x89, 0xc9);	     /* hit: mov %r9,%rcx */
	LONG_EMIT(c, whole, 0x45, 0x8b, 0x52, 0x04); /* mov code(%r10),%r10d */
	LONG_EMIT(c, whole, 0x4f, 0x8d, 0x14, 0x2a); /* lea (%r10,%r13),%r10 */
	if (a.pop)
		long_stack_add(c, whole, a.pop);
	LONG_EMIT(c, long_after(in), 0x41, 0xff, 0xe2); /* jmp *%r10 */
}

void long_lookup(const struct long_ctx *c, const struct lower_insn *in, int32_t pop, uint32_t table)
{
	lookup(c, in, (struct arrival){.pop = pop, .final = true, .table = table});
}

uint32_t lower_long_miss(struct lower *l, uint32_t site)
{
	static const uint8_t store[] = {0x44, OPCODE_STORE};
	const struct long_ctx c = {.l = l};
	const struct place after = {.state = POINT_AFTER};
	struct lower_insn pad = {.site = site, .pad = MANIFEST_NONE};
	uint32_t start = emit_here(l);

	l->err = 0;
	l->long_code = true;
	long_hole(&c, after, store, sizeof(store), 0, l->hole_base + ABI_VCPU_PAGE + VCPU_TARGET, 0, 0);
	emit_exit(l, &pad, after);
	return l->err ? 0 : start;
}

/* --- branches ---------------------------------------------------------------------------------------------- */

static void call(const struct long_ctx *c, const struct lower_insn *in, struct place first)
{
	uint32_t target = (uint32_t)in->insn.target;

	long_stack_imm(c, in, first, in->va + in->insn.len);
	long_stack_add(c, long_inside(c, in, 0), -4);
	block_jmp_out(c->l, c->x, long_boundary(target), target);
}

static void ret(const struct long_ctx *c, const struct lower_insn *in, struct place first)
{
	int32_t extra = in->insn.opcode == 0xc2 ? (int32_t)(in->insn.imm & 0xffff) : 0;

	long_stack_move(c, in, first, OPCODE_LOAD, 8, 0);
	lookup(c, in, (struct arrival){.pop = 4 + extra});
}

/* The return address may be stored over the target's own word: the load is not to be done again after it. */
static void indirect(const struct long_ctx *c, const struct lower_insn *in, struct place first)
{
	/* The push by the software TLB needs R8: the target waits in R14, and from before its store on in R10. */
	bool is_call = in->insn.flow == FLOW_CALL_IND, aside = in->soft && is_call, final = is_call && in->insn.has_mem;
	const uint8_t mov[] = {0x41, OPCODE_STORE,
			       (uint8_t)((aside ? 0xc6 : 0xc0) | (in->insn.rm & 7) << 3)}; /* mov %reg,%r8d or %r14d */

	if (in->insn.has_mem)
		long_move_operand(c, in, first, OPCODE_LOAD, aside ? 14 : 8);
	else
		emit(c->l, first, mov, sizeof(mov));
	if (is_call)
		long_stack_imm(c, in, long_inside(c, in, 0), in->va + in->insn.len);
	if (aside)
		LONG_EMIT(c, final ? long_after(in) : long_inside(c, in, 0), 0x45, 0x89, 0xd0); /* mov %r10d,%r8d */
	lookup(c, in, (struct arrival){.pop = is_call ? -4 : 0, .final = final});
}

/* LOOP and JECXZ only have an 8-bit form: step over a jump around the jump to the far target. */
static void loop(const struct long_ctx *c, const struct lower_insn *in, struct place first)
{
	const uint8_t b[] = {PREFIX_ADDRESS, in->insn.opcode, 2};

	emit(c->l, first, b, sizeof(b));
	LONG_EMIT(c, long_boundary(in->va + in->insn.len), 0xeb, 5);
	block_jmp_out(c->l, c->x, long_boundary((uint32_t)in->insn.target), (uint32_t)in->insn.target);
}

/* --- the block --------------------------------------------------------------------------------------------- */

static void lower_one(const struct long_ctx *c, struct lower_insn *in, struct place first)
{
	const struct insn *i = &in->insn;
	uint8_t jcc[2] = {0x0f, (uint8_t)(0x80 | (i->opcode & 15))};

	in->pad = in->resume = MANIFEST_NONE;
	in->slow[0] = in->slow[1] = SLOW_NONE;
	in->start = emit_here(c->l);
	if (policy_is_replaced(i->op) || in->leaves) {
		if (policy_is_replaced(i->op))
			long_sensitive(c, in, first);
		else if (long_is_string(i))
			long_string_soft(c, in, first);
		else
			emit_exit(c->l, in, first);
		in->resume = i->flow == FLOW_FAR ? MANIFEST_NONE : emit_here(c->l);
		return;
	}
	switch (i->flow) {
	case FLOW_JCC:
		block_jump_out(c->l, c->x, first, jcc, sizeof(jcc), (uint32_t)i->target);
		break;
	case FLOW_LOOP:
		loop(c, in, first);
		break;
	case FLOW_JMP:
		block_jmp_out(c->l, c->x, first, (uint32_t)i->target);
		break;
	case FLOW_CALL:
		call(c, in, first);
		break;
	case FLOW_JMP_IND:
	case FLOW_CALL_IND:
		indirect(c, in, first);
		break;
	case FLOW_RET:
		ret(c, in, first);
		break;
	case FLOW_STOP:
		LONG_EMIT(c, first, 0x0f, 0x0b); /* any of them raises #UD */
		break;
	default:
		long_plain(c, in, first);
		if (lower_long_checks_x87(i))
			long_check_x87(c, in);
	}
}

static bool falls_through(const struct insn *i)
{
	return i->flow == FLOW_NEXT || i->flow == FLOW_JCC || i->flow == FLOW_LOOP ||
	       i->flow == FLOW_FAR_CALL;
}

static bool is_sti(const struct insn *i)
{
	return insn_is_sensitive(i) && policy_get(i->op)->lowering == LOWER_STI;
}

static void slow_path(const struct long_ctx *c, struct lower_insn *in)
{
	if (in->slow[0] == SLOW_NONE)
		return;
	emit_aim(c->l, &in->slow[0]);
	emit_exit(c->l, in, long_inside(c, in, 0));
}

int lower_long_block(struct lower *l, struct lower_insn *insns, size_t n, struct lower_exits *x,
		     enum lower_view view, uint32_t table)
{
	struct long_ctx c = {.l = l, .view = view, .table = table, .x = x, .operand = MANIFEST_NONE};
	size_t code_len = l->code_len, pads_len = l->pads_len, n_points = l->n_points, n_exits = x->n;
	const struct lower_insn *last = &insns[n - 1];
	uint32_t next = last->va + last->insn.len, next_site = x->next_site;

	l->err = 0;
	l->long_code = true;
	for (size_t k = 0; k < n; k++) {
		struct place first = long_boundary(insns[k].va);

		first.flags = c.shadow;
		/* The shadow of STI ends with the next instruction, which the block must hold then. */
		insns[k].exit_only |= k + 1 == n && is_sti(&insns[k].insn);
		lower_one(&c, &insns[k], first);
		c.shadow = is_sti(&insns[k].insn) ? POINT_SHADOW : 0;
	}
	c.shadow = 0; /* of a slow path: the exit tells it by the site */
	if (falls_through(&last->insn))
		block_jmp_out(l, x, long_boundary(next), next);
	for (size_t k = 0; k < n; k++)
		slow_path(&c, &insns[k]);
	block_exits(l, x, n_exits);
	if (l->err) {
		l->code_len = code_len;
		l->pads_len = pads_len;
		l->n_points = n_points;
		x->n = n_exits;
		x->next_site = next_site;
	}
	return l->err;
}

int lower_long_step(struct lower *l, struct lower_insn *insn, enum lower_view view, uint32_t operand)
{
	struct lower_exits none = {.n = 0};
	const struct long_ctx c = {.l = l, .view = view, .x = &none, .operand = operand};
	const struct insn *i = &insn->insn;
	size_t code_len = l->code_len, n_points = l->n_points;
	/* With its operand in the hole, the guest's way to name it does not matter. */
	bool can =
	    operand == MANIFEST_NONE ? long_can(i) : long_encodes(i) && long_operand_moves(i, OPERAND_HOLE);

	l->err = 0;
	l->long_code = true;
	if ((lower_block_shape(i) != LOWER_GOES_ON && !insn_stores_x87_pointers(i)) || policy_is_replaced(i->op) ||
	    i->flow != FLOW_NEXT || !can)
		return l->err = -EOPNOTSUPP;
	insn->pad = insn->resume = MANIFEST_NONE;
	insn->start = emit_here(l);
	long_plain(&c, insn, long_boundary(insn->va));
	if (l->err) {
		l->code_len = code_len;
		l->n_points = n_points;
	} else {
		insn->resume = emit_here(l);
	}
	return l->err;
}
