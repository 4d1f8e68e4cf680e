// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * PUSH, POP, PUSHA, POPA, ENTER, LEAVE on a stack of either width (SDM 2A, 2B; SDM 1 6.2). SS.B gives the width of the
 * stack pointer, the operand size that of what is pushed. See interpret.h.
 */
#include <errno.h>

#include "monitor/vmm/emulate.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/interpret_internal.h"
#include "monitor/vmm/transfer.h"

#define ENTER_WORDS 32 /* EBP, 30 frame pointers of outer levels, its own */

static uint32_t pointer_mask(const struct stack *st)
{
	return st->ss.attr & ATTR_DB ? UINT32_MAX : UINT16_MAX;
}

/* Where the k-th word from now would be pushed. */
static uint32_t slot_offset(const struct stack *st, unsigned k, unsigned size)
{
	return (st->esp - (k + 1) * size) & pointer_mask(st);
}

/* Push all n words, word[0] first, or raise what the first to fail would. */
static int push_words(struct vm *vm, struct stack *st, const uint32_t *word, unsigned n, unsigned size)
{
	unsigned k;
	struct gva at;
	int err;

	if (!stack_room(st, n, size))
		return vcpu_raise(&vm->vcpu, EXC_SS, true, 0);
	for (k = 0; k < n; k++) {
		at = gva(st->ss.base + slot_offset(st, k, size));
		err = check_aligned(vm, at.a, size);
		if (!err && n > 1) /* one word is written or not; of more, some might be */
			err = gmem_probe_write(vm, at, size, st->access);
		if (err < 0)
			return err;
	}
	return stack_push(vm, st, word, n, size);
}

static int pop_words(struct vm *vm, struct stack *st, uint32_t *word, unsigned n, unsigned size)
{
	int err = check_aligned(vm, st->ss.base + (st->esp & pointer_mask(st)), size);

	return err < 0 ? err : stack_pop(vm, st, word, n, size);
}

static int push(struct vm *vm, const struct insn *insn)
{
	struct stack st = stack_current(&vm->vcpu);
	unsigned size = wide_size(insn);
	uint32_t value = (uint32_t)insn->imm;
	struct place p = {.reg = insn->opcode & 7, .size = (uint8_t)size};
	int err = insn->has_modrm ? place_rm(vm, insn, size, 0, &p) : 0;

	if (!err && !insn->imm_len)
		err = place_read(vm, &p, &value);
	if (!err)
		err = push_words(vm, &st, &value, 1, size);
	if (!err)
		stack_commit(&vm->vcpu, &st);
	return err;
}

/* An operand in memory is addressed with ESP already incremented; POP ESP gets what was popped (SDM 2B POP). */
static int pop(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	struct stack before = stack_current(v), st = before;
	unsigned size = wide_size(insn);
	struct place p = {.reg = insn->opcode & 7, .size = (uint8_t)size};
	uint32_t value;
	int err = pop_words(vm, &st, &value, 1, size);

	if (err < 0)
		return err;
	stack_commit(v, &st);
	if (insn->has_modrm)
		err = place_rm(vm, insn, size, ACCESS_WRITE, &p);
	if (!err)
		err = place_write(vm, &p, value);
	if (err < 0)
		stack_commit(v, &before);
	return err;
}

static int push_all(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	struct stack st = stack_current(v);
	int err = push_words(vm, &st, v->gpr, 8, wide_size(insn)); /* ESP as it was before */

	if (!err)
		stack_commit(v, &st);
	return err;
}

/* The ESP on the stack is skipped: what counts is the commit behind it. */
static int pop_all(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	struct stack st = stack_current(v);
	unsigned size = wide_size(insn);
	uint32_t word[8];
	int err = pop_words(vm, &st, word, 8, size);

	if (err < 0)
		return err;
	for (unsigned reg = 0; reg < 8; reg++)
		register_write(v, reg, size, word[7 - reg]);
	stack_commit(v, &st);
	return 0;
}

/*
 * The frame pointer of an outer level, at SS:offset; the n words already pushed are seen there, though they are not
 * in memory yet.
 */
static int read_display(struct vm *vm, const struct stack *st, uint32_t offset, const uint32_t *pushed,
			unsigned n, unsigned size, uint32_t *value)
{
	uint8_t byte[4] = {0};
	struct gva at;
	int err = segment_address(vm, SEG_SS, offset, size, 0, &at);

	if (!err)
		err = gmem_read(vm, at, byte, size, st->access);
	if (err < 0)
		return err;
	*value = 0;
	for (unsigned i = 0; i < size; i++) {
		uint32_t below = (st->esp - 1 - offset - i) & pointer_mask(st);

		if (below < n * size)
			byte[i] = (uint8_t)(pushed[below / size] >> (size - 1 - below % size) * 8);
		*value |= (uint32_t)byte[i] << i * 8;
	}
	return 0;
}

/* What ENTER pushes: EBP, the outer levels' frame pointers, its own. Returns how many words, or an error. */
static int enter_words(struct vm *vm, const struct stack *st, unsigned level, unsigned size, uint32_t *word)
{
	const struct vcpu *v = &vm->vcpu;
	struct stack own = *st;
	unsigned n = 0;
	int err;

	word[n++] = v->gpr[REG_BP];
	stack_move(&own, -size);
	for (; n < level; n++) {
		uint32_t offset = (v->gpr[REG_BP] - n * size) & pointer_mask(st);

		err = read_display(vm, st, offset, word, n, size, &word[n]);
		if (err < 0)
			return err;
	}
	if (level)
		word[n++] = own.esp;
	return (int)n;
}

/* A write at the final stack pointer must be possible too (SDM 2A ENTER). */
static int enter_probe(struct vm *vm, const struct stack *st, unsigned size)
{
	struct gva at;
	int err = segment_address(vm, SEG_SS, st->esp & pointer_mask(st), size, ACCESS_WRITE, &at);

	return err < 0 ? err : gmem_probe_write(vm, at, size, st->access);
}

/*
 * Bytes to allocate are the first immediate, the nesting level (modulo 32) the second: insn->selector. How much of EBP
 * is written goes by the operand size, whatever the stack's width: so the processor that this was tried on has it.
 */
static int enter(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	struct stack st = stack_current(v), last = st;
	unsigned size = wide_size(insn), alloc = insn->imm & 0xffff;
	uint32_t word[ENTER_WORDS];
	int err, n = enter_words(vm, &st, insn->selector & 31, size, word);

	if (n < 0)
		return n;
	stack_move(&last, -((unsigned)n * size + alloc));
	err = enter_probe(vm, &last, size);
	if (!err)
		err = push_words(vm, &st, word, (unsigned)n, size);
	if (err < 0)
		return err;
	stack_commit(v, &last);
	stack_move(&st, ((unsigned)n - 1) * size); /* back up to where EBP was pushed */
	register_write(v, REG_BP, size, st.esp);
	return 0;
}

static int leave(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	struct stack st = stack_current(v);
	unsigned size = wide_size(insn);
	uint32_t value;
	int err;

	st.esp = (st.esp & ~pointer_mask(&st)) | (v->gpr[REG_BP] & pointer_mask(&st));
	err = pop_words(vm, &st, &value, 1, size);
	if (err < 0)
		return err;
	stack_commit(v, &st);
	register_write(v, REG_BP, size, value);
	return 0;
}

semantic *semantic_stack(const struct insn *insn)
{
	if (insn->map != 0)
		return NULL;
	switch (insn->opcode) {
	case 0x50 ... 0x57:
	case 0x68:
	case 0x6a:
		return push;
	case 0xff:
		return (insn->reg & 7) == 6 ? push : NULL;
	case 0x58 ... 0x5f:
		return pop;
	case 0x8f:
		return (insn->reg & 7) == 0 ? pop : NULL;
	case 0x60:
		return push_all;
	case 0x61:
		return pop_all;
	case 0xc8:
		return enter;
	case 0xc9:
		return leave;
	default:
		return NULL;
	}
}
