// SPDX-License-Identifier: GPL-3.0-or-later
/* See emulate.h: dispatch, instruction fetch and operands. */
#include "monitor/vmm/emulate.h"

#include <errno.h>

#include "monitor/vmm/code.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/segment.h"
#include "monitor/vmm/shadow_seg.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/transfer.h"
#include "monitor/vmm/vdso.h"
#include "monitor/vmm/world.h"

typedef int handler(struct vm *vm, const struct insn *insn);

static int handle_none(struct vm *vm, const struct insn *insn)
{
	(void)insn;
	return vcpu_raise(&vm->vcpu, EXC_UD, false, 0);
}

static handler *const handlers[HC_COUNT] = {
#define HYPERCALL(id, name, summary) [id] = handle_##name,
#include "hypercalls/hypercall.def"
#undef HYPERCALL
};

int emulate(struct vm *vm, const struct insn *insn)
{
	unsigned hypercall = policy_get(insn->op)->hypercall;
	struct vcpu *v = &vm->vcpu;
	int ret;

	vm->stats.hypercalls[hypercall]++;
	if (insn->prefixes & INSN_LOCK)
		return vcpu_raise(v, EXC_UD, false, 0);
	v->shadow = 0;
	ret = handlers[hypercall](vm, insn);
	if (ret == EMU_NEXT)
		v->eip += insn->len;
	return ret;
}

int emulate_fetch(struct vm *vm, struct insn *insn, uint8_t *bytes)
{
	struct vcpu *v = &vm->vcpu;
	const struct segment *cs = &v->seg[SEG_CS];
	unsigned n = INSN_MAX;
	uint32_t linear = cs->base + v->eip;
	int len;

	if (v->eip > cs->limit)
		return vcpu_raise(v, EXC_GP, true, 0);
	if (cs->limit - v->eip < INSN_MAX - 1)
		n = cs->limit - v->eip + 1;
	/* Do not touch the next page unless the instruction reaches into it. */
	if ((linear & (PAGE_SIZE - 1)) + n > PAGE_SIZE) {
		unsigned first = PAGE_SIZE - (linear & (PAGE_SIZE - 1));

		if (gmem_read(vm, gva(linear), bytes, first, privilege(vm) | ACCESS_FETCH) < 0)
			return -EFAULT;
		code_original(vm, linear, bytes, first);
		vdso_original(vm, linear, bytes, first);
		world_fpu_guard();
		len = insn_decode(insn, bytes, first, v->eip, cs->attr & ATTR_DB ? 32 : 16);
		if (len != -ENODATA)
			goto decoded;
		if (gmem_read(vm, gva(linear + first), bytes + first, n - first, privilege(vm) | ACCESS_FETCH) < 0)
			return -EFAULT;
	} else if (gmem_read(vm, gva(linear), bytes, n, privilege(vm) | ACCESS_FETCH) < 0) {
		return -EFAULT;
	}
	code_original(vm, linear, bytes, n);
	vdso_original(vm, linear, bytes, n);
	world_fpu_guard();
	len = insn_decode(insn, bytes, n, v->eip, cs->attr & ATTR_DB ? 32 : 16);
decoded:
	if (len == -ENODATA || len == -E2BIG)
		return vcpu_raise(v, EXC_GP, true, 0);
	if (len < 0)
		return vcpu_raise(v, EXC_UD, false, 0);
	return 0;
}

/* --- registers ------------------------------------------------------------------------------------------- */

uint32_t register_read(const struct vcpu *v, unsigned reg, unsigned size)
{
	if (size == 1)
		return v->gpr[reg & 3] >> (reg & 4 ? 8 : 0) & 0xff;
	return size == 2 ? v->gpr[reg] & 0xffff : v->gpr[reg];
}

void register_write(struct vcpu *v, unsigned reg, unsigned size, uint32_t value)
{
	uint32_t *r = size == 1 ? &v->gpr[reg & 3] : &v->gpr[reg];

	if (size == 1 && (reg & 4))
		*r = (*r & ~0xff00u) | (value & 0xff) << 8;
	else if (size == 1)
		*r = (*r & ~0xffu) | (value & 0xff);
	else if (size == 2)
		*r = (*r & ~0xffffu) | (value & 0xffff);
	else
		*r = value;
}

/* --- addresses ------------------------------------------------------------------------------------------- */

int segment_address(struct vm *vm, enum seg seg, uint32_t offset, uint32_t size, unsigned access, struct gva *at)
{
	struct vcpu *v = &vm->vcpu;
	const struct segment *s = &v->seg[seg];
	unsigned vector = seg == SEG_SS ? EXC_SS : EXC_GP;
	bool code = s->attr & BIT(11), rw = s->attr & BIT(9);

	if (!(s->attr & ATTR_P))
		return vcpu_raise(v, EXC_GP, true, 0);
	if (access & ACCESS_WRITE ? code || !rw : code && !rw)
		return vcpu_raise(v, EXC_GP, true, 0);
	if (!segment_covers(s, offset, size))
		return vcpu_raise(v, vector, true, 0);
	*at = gva(s->base + offset);
	return 0;
}

uint32_t operand_offset(const struct vcpu *v, const struct insn *insn)
{
	uint32_t ea = (uint32_t)insn->disp;

	if (insn->base != REG_NONE)
		ea += v->gpr[insn->base];
	if (insn->index != REG_NONE)
		ea += v->gpr[insn->index] * insn->scale;
	return insn->adsize == 2 ? ea & 0xffff : ea;
}

int operand_address(struct vm *vm, const struct insn *insn, uint32_t offset, uint32_t size, unsigned access,
		    struct gva *at)
{
	uint32_t ea = operand_offset(&vm->vcpu, insn) + offset;

	return segment_address(vm, insn->seg, insn->adsize == 2 ? ea & 0xffff : ea, size, access, at);
}

int memory_read(struct vm *vm, const struct insn *insn, uint32_t offset, void *buf, uint32_t size)
{
	struct gva at;
	int err = operand_address(vm, insn, offset, size, 0, &at);

	return err < 0 ? err : gmem_read(vm, at, buf, size, privilege(vm));
}

int memory_write(struct vm *vm, const struct insn *insn, uint32_t offset, const void *buf, uint32_t size)
{
	struct gva at;
	int err = operand_address(vm, insn, offset, size, ACCESS_WRITE, &at);

	return err < 0 ? err : gmem_write(vm, at, buf, size, privilege(vm) | ACCESS_WRITE);
}

int operand_read(struct vm *vm, const struct insn *insn, unsigned size, uint32_t *value)
{
	*value = 0;
	if (insn->has_mem)
		return memory_read(vm, insn, 0, value, size);
	*value = register_read(&vm->vcpu, insn->rm, size);
	return 0;
}

int operand_write(struct vm *vm, const struct insn *insn, unsigned size, uint32_t value)
{
	if (insn->has_mem)
		return memory_write(vm, insn, 0, &value, size);
	register_write(&vm->vcpu, insn->rm, size, value);
	return 0;
}

/* --- stack ----------------------------------------------------------------------------------------------- */

int operand_push(struct vm *vm, unsigned size, uint32_t value)
{
	struct stack st = stack_current(&vm->vcpu);
	int err;

	if (!stack_room(&st, 1, size))
		return vcpu_raise(&vm->vcpu, EXC_SS, true, 0);
	err = stack_push(vm, &st, &value, 1, size);
	if (!err)
		stack_commit(&vm->vcpu, &st);
	return err;
}

int operand_pop(struct vm *vm, unsigned size, uint32_t *value)
{
	struct stack st = stack_current(&vm->vcpu);
	int err = stack_pop(vm, &st, value, 1, size);

	if (!err)
		stack_commit(&vm->vcpu, &st);
	return err;
}
