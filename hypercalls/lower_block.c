// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * See lower_block.h. (The scheme, identity translation, is Adams and Agesen's.)
 *
 * An indirect branch needs one register for its target and one for the table. They wait in the scratch words; no
 * instruction of the sequence touches the flags: movzwl makes the index, lea the difference, jecxz the decision.
 * All accesses that may fault, the load of the target and the push or pop, come before ESP or EIP count as
 * changed, so that a fault leaves the instruction undone.
 */
#include "hypercalls/lower_block.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "hypercalls/abi.h"
#include "hypercalls/lower_emit.h"
#include "hypercalls/policy.h"

#define OPCODE_JMP 0xe9
#define OPCODE_PUSH_IMM 0x68

static struct place boundary(uint32_t guest)
{
	return (struct place){.guest = guest, .state = POINT_BOUNDARY};
}

/* --- the lookup -------------------------------------------------------------------------------------------- */

/* mov %ss:disp32(,index,8), reg; or by FS */
static void load_slot(struct lower *l, struct place at, unsigned reg, unsigned index, uint32_t disp)
{
	uint8_t b[8] = {emit_segment(l), OPCODE_LOAD, (uint8_t)(4 | reg << 3), (uint8_t)(0xc5 | index << 3)};

	put32(b + 4, disp);
	emit(l, at, b, sizeof(b));
}

uint32_t lower_lookup(struct lower *l, uint32_t table, uint32_t site)
{
	static const uint8_t movzwl_cx_edx[] = {0x0f, 0xb7, 0xd1}, movzwl_dx_ecx[] = {0x0f, 0xb7, 0xca};
	static const uint8_t lea_diff[] = {0x8d, 0x14, 0x11}; /* lea (%ecx,%edx),%edx */
	static const uint8_t xchg[] = {0x87, 0xca};
	static const uint8_t jecxz_hit[] = {0xe3, 28}; /* over three moves and a far jump */
	const struct place after = {.state = POINT_AFTER};
	struct lower_insn pad = {.site = site, .pad = MANIFEST_NONE};
	uint8_t jmp[7] = {emit_segment(l), 0xff, 0x25};
	uint32_t start = emit_here(l), miss;

	l->err = 0;
	emit_vcpu(l, after, OPCODE_STORE, REG_DX, VCPU_SCRATCH1);
	emit(l, after, movzwl_cx_edx, sizeof(movzwl_cx_edx));
	load_slot(l, after, REG_DX, REG_DX, table + offsetof(struct lower_slot, minus_guest));
	emit(l, after, lea_diff, sizeof(lea_diff));
	emit(l, after, xchg, sizeof(xchg)); /* now ECX is 0 on a hit, EDX the target */
	emit(l, after, jecxz_hit, sizeof(jecxz_hit));
	miss = emit_here(l);
	emit_vcpu(l, after, OPCODE_STORE, REG_DX, VCPU_TARGET);
	emit_vcpu(l, after, OPCODE_LOAD, REG_CX, VCPU_SCRATCH0);
	emit_vcpu(l, after, OPCODE_LOAD, REG_DX, VCPU_SCRATCH1);
	emit_exit(l, &pad, after);
	assert(l->err || emit_here(l) - miss == jecxz_hit[1]);
	emit(l, after, movzwl_dx_ecx, sizeof(movzwl_dx_ecx));
	load_slot(l, after, REG_CX, REG_CX, table + offsetof(struct lower_slot, code));
	emit_vcpu(l, after, OPCODE_STORE, REG_CX, VCPU_TARGET);
	emit_vcpu(l, after, OPCODE_LOAD, REG_CX, VCPU_SCRATCH0);
	emit_vcpu(l, after, OPCODE_LOAD, REG_DX, VCPU_SCRATCH1);
	put32(jmp + 3, l->hole_base + ABI_VCPU_PAGE + VCPU_TARGET);
	emit(l, after, jmp, sizeof(jmp)); /* jmp *%ss:target */
	return l->err ? 0 : start;
}

/* --- branches ---------------------------------------------------------------------------------------------- */

void block_jump_out(struct lower *l, struct lower_exits *x, struct place at, const uint8_t *opcode,
		    size_t len, uint32_t guest)
{
	if (!l->err && x->n == x->cap)
		l->err = -ENOSPC;
	emit_rel32(l, at, opcode, len, 0);
	if (!l->err)
		x->exit[x->n++] = (struct lower_exit){.guest = guest, .jump = emit_here(l) - 4};
}

void block_jmp_out(struct lower *l, struct lower_exits *x, struct place at, uint32_t guest)
{
	static const uint8_t jmp[] = {OPCODE_JMP};

	block_jump_out(l, x, at, jmp, sizeof(jmp), guest);
}

/* LOOP and JECXZ only have an 8-bit form: step over a jump around the jump to the far target. */
static void loop_out(struct lower *l, struct lower_exits *x, const struct lower_insn *in, struct place first)
{
	static const uint8_t around[] = {0xeb, 5};
	uint8_t b[INSN_MAX];

	memcpy(b, in->bytes, in->insn.len);
	b[in->insn.len - 1] = sizeof(around);
	emit(l, first, b, in->insn.len);
	emit(l, boundary(in->va + in->insn.len), around, sizeof(around));
	block_jmp_out(l, x, boundary((uint32_t)in->insn.target), (uint32_t)in->insn.target);
}

static void push_return(struct lower *l, const struct lower_insn *in, struct place at)
{
	uint8_t b[5] = {OPCODE_PUSH_IMM};

	put32(b + 1, in->va + in->insn.len);
	emit(l, at, b, sizeof(b));
}

static void jump_lookup(struct lower *l, const struct lower_exits *x, const struct lower_insn *in)
{
	static const uint8_t jmp[] = {OPCODE_JMP};

	emit_rel32(l, (struct place){.guest = in->va, .state = POINT_AFTER}, jmp, sizeof(jmp),
		   in->insn.flow == FLOW_RET ? x->lookup_return : x->lookup);
}

/* The same operand, loaded into ECX. */
static void load_target(struct lower *l, const struct lower_insn *in, struct place at)
{
	uint8_t b[INSN_MAX];

	memcpy(b, in->bytes, in->insn.len);
	b[in->insn.modrm_off - 1] = OPCODE_LOAD;
	b[in->insn.modrm_off] = (uint8_t)((b[in->insn.modrm_off] & ~(7u << 3)) | REG_CX << 3);
	emit(l, at, b, in->insn.len);
}

static void lower_indirect(struct lower *l, const struct lower_exits *x, const struct lower_insn *in,
			   struct place first)
{
	static const uint8_t pop_ecx[] = {0x59};
	uint8_t lea_esp[7] = {0x8d, 0xa4, 0x24};
	struct place saved = {.guest = in->va, .state = POINT_INSIDE, .flags = POINT_SCRATCH0};

	emit_vcpu(l, first, OPCODE_STORE, REG_CX, VCPU_SCRATCH0);
	if (in->insn.flow == FLOW_RET) {
		emit(l, saved, pop_ecx, sizeof(pop_ecx));
		put32(lea_esp + 3, (uint32_t)in->insn.imm & 0xffff);
		if (in->insn.opcode == 0xc2)
			emit(l, (struct place){.guest = in->va, .state = POINT_AFTER}, lea_esp,
			     sizeof(lea_esp));
	} else {
		load_target(l, in, saved);
		if (in->insn.flow == FLOW_CALL_IND)
			push_return(l, in, saved);
	}
	jump_lookup(l, x, in);
}

/* --- the block --------------------------------------------------------------------------------------------- */

enum lower_shape lower_block_shape(const struct insn *i)
{
	/* XBEGIN holds a relative address that is no branch here. */
	bool xbegin = i->map == 0 && i->opcode == 0xc7 && i->has_modrm && i->mod == 3 && i->reg == 7;

	/* What it stores may be an address in a block: the monitor puts that right first. */
	if (i->width != 32 || xbegin || insn_stores_x87_pointers(i))
		return LOWER_ALONE;
	if (policy_is_replaced(i->op))
		return i->flow == FLOW_NEXT ? LOWER_GOES_ON : LOWER_ENDS;
	switch (i->flow) {
	case FLOW_NEXT:
		return LOWER_GOES_ON;
	case FLOW_JCC:
	case FLOW_LOOP:
		return i->prefixes & INSN_OPSIZE ? LOWER_ALONE : LOWER_GOES_ON;
	case FLOW_JMP:
	case FLOW_CALL:
	case FLOW_JMP_IND:
	case FLOW_CALL_IND:
	case FLOW_RET:
		return i->prefixes & INSN_OPSIZE ? LOWER_ALONE : LOWER_ENDS;
	default:
		return LOWER_ENDS;
	}
}

static bool falls_through(const struct insn *i)
{
	switch (i->flow) {
	case FLOW_NEXT:
	case FLOW_JCC:
	case FLOW_LOOP:
	case FLOW_FAR_CALL: /* INT3 in its own form reports the address behind it */
		return true;
	default:
		return false;
	}
}

static void lower_one(struct lower *l, struct lower_exits *x, struct lower_insn *in, struct place first)
{
	const struct insn *i = &in->insn;
	uint8_t jcc[2] = {0x0f, (uint8_t)(0x80 | (i->opcode & 15))};

	in->pad = in->resume = MANIFEST_NONE;
	in->slow[0] = in->slow[1] = SLOW_NONE;
	in->start = emit_here(l);
	if (policy_is_replaced(i->op)) {
		lower_sensitive(l, in, first);
		in->resume = i->flow == FLOW_FAR ? MANIFEST_NONE : emit_here(l);
		return;
	}
	switch (i->flow) {
	case FLOW_JCC:
		block_jump_out(l, x, first, jcc, sizeof(jcc), (uint32_t)i->target);
		break;
	case FLOW_LOOP:
		loop_out(l, x, in, first);
		break;
	case FLOW_JMP:
		block_jmp_out(l, x, first, (uint32_t)i->target);
		break;
	case FLOW_CALL:
		push_return(l, in, first);
		block_jmp_out(l, x, boundary((uint32_t)i->target), (uint32_t)i->target);
		break;
	case FLOW_JMP_IND:
	case FLOW_CALL_IND:
	case FLOW_RET:
		lower_indirect(l, x, in, first);
		break;
	default:
		emit(l, first, in->bytes, i->len);
	}
}

void block_exits(struct lower *l, struct lower_exits *x, size_t first)
{
	for (size_t k = first; k < x->n && !l->err; k++) {
		struct lower_exit *e = &x->exit[k];
		struct lower_insn pad = {.site = x->next_site++, .pad = MANIFEST_NONE};

		e->site = pad.site;
		e->stub = emit_here(l);
		put32(l->code + (e->jump - l->code_va), e->stub - (e->jump + 4));
		emit_exit(l, &pad, boundary(e->guest));
	}
}

static bool is_sti(const struct insn *i)
{
	return insn_is_sensitive(i) && policy_get(i->op)->lowering == LOWER_STI;
}

int lower_block(struct lower *l, struct lower_insn *insns, size_t n, struct lower_exits *x)
{
	size_t code_len = l->code_len, pads_len = l->pads_len, n_points = l->n_points, n_exits = x->n;
	const struct lower_insn *last = &insns[n - 1];
	uint32_t next = last->va + last->insn.len, next_site = x->next_site;
	bool shadow = false;

	l->err = 0;
	for (size_t k = 0; k < n; k++) {
		struct place first = boundary(insns[k].va);

		first.flags = shadow ? POINT_SHADOW : 0;
		/* The shadow of STI ends with the next instruction, which the block must hold then. */
		insns[k].exit_only |= k + 1 == n && is_sti(&insns[k].insn);
		lower_one(l, x, &insns[k], first);
		shadow = is_sti(&insns[k].insn);
	}
	if (falls_through(&last->insn))
		block_jmp_out(l, x, boundary(next), next);
	for (size_t k = 0; k < n; k++)
		lower_slow_path(l, &insns[k]);
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
