// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Far jumps and calls (SDM 2A CALL and JMP, SDM 3A 5.8): to code of the same ring, to conforming code, through call
 * gates (calls may go inward, onto the TSS's stack with the parameters copied), and to tasks.
 */
#include <errno.h>

#include "monitor/vmm/far.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/transfer.h"
#include "monitor/vmm/vm.h"

/* A selector that names a code segment directly. */
static int check_code(struct vm *vm, uint16_t sel, struct descriptor d)
{
	unsigned cpl = vm->vcpu.cpl, dpl = desc_dpl(d.hi);

	if (desc_conforming(d.hi) ? dpl > cpl : sel_rpl(sel) > cpl || dpl != cpl)
		return transfer_raise(vm, EXC_GP, sel, 0);
	return d.hi & ATTR_P ? 0 : transfer_raise(vm, EXC_NP, sel, 0);
}

/* A selector that names a gate or a TSS: its DPL counts against CPL and RPL. A TSS's P bit is task_switch()'s. */
static int check_system(struct vm *vm, uint16_t sel, struct descriptor d)
{
	unsigned dpl = desc_dpl(d.hi);

	if (dpl < vm->vcpu.cpl || dpl < sel_rpl(sel))
		return transfer_raise(vm, EXC_GP, sel, 0);
	return desc_is_tss(d.hi) || (d.hi & ATTR_P) ? 0 : transfer_raise(vm, EXC_NP, sel, 0);
}

static int read_target(struct vm *vm, uint16_t sel, struct descriptor *d)
{
	int err = segment_limit_guest(vm);

	if (err < 0)
		return err;
	if (sel_null(sel))
		return transfer_raise(vm, EXC_GP, 0, 0);
	err = transfer_descriptor(vm, sel, EXC_GP, 0, d);
	if (err < 0)
		return err;
	if (desc_is_code(d->hi))
		return check_code(vm, sel, *d);
	if (d->hi & ATTR_S)
		return transfer_raise(vm, EXC_GP, sel, 0);
	switch (desc_type(d->hi)) {
	case DT_CALL16:
	case DT_CALL32:
	case DT_TASK:
	case DT_TSS16:
	case DT_TSS32:
		return check_system(vm, sel, *d);
	default: /* busy TSSs among them */
		return transfer_raise(vm, EXC_GP, sel, 0);
	}
}

static bool is_call_gate(struct descriptor d)
{
	return desc_type(d.hi) == DT_CALL16 || desc_type(d.hi) == DT_CALL32;
}

int far_jmp(struct vm *vm, uint16_t sel, uint32_t offset, uint32_t next_eip)
{
	struct vcpu *v = &vm->vcpu;
	struct descriptor d;
	int err = read_target(vm, sel, &d);

	if (err < 0)
		return err;
	if (desc_type(d.hi) == DT_TASK)
		return task_switch(vm, gate_selector(d), TASK_JMP, 0, false, 0, next_eip);
	if (desc_is_tss(d.hi))
		return task_switch(vm, sel, TASK_JMP, 0, false, 0, next_eip);
	if (is_call_gate(d)) {
		sel = gate_selector(d);
		offset = gate_offset(d);
		err = code_from_gate(vm, sel, 0, false, &d);
		if (err < 0)
			return err;
	}
	err = code_ready(vm, sel, offset, 0, &d);
	if (err < 0)
		return err;
	code_commit(v, sel, d, v->cpl, offset);
	return 0;
}

static int call_same(struct vm *vm, uint16_t sel, struct descriptor d, uint32_t offset, uint32_t return_eip,
		     unsigned size)
{
	struct vcpu *v = &vm->vcpu;
	const uint32_t frame[] = {v->seg[SEG_CS].sel, return_eip};
	struct stack st = stack_current(v);
	int err;

	if (!stack_room(&st, 2, size))
		return transfer_raise(vm, EXC_SS, 0, 0);
	err = code_ready(vm, sel, offset, 0, &d);
	if (err < 0)
		return err;
	err = stack_push(vm, &st, frame, 2, size);
	if (err < 0)
		return err;
	stack_commit(v, &st);
	code_commit(v, sel, d, v->cpl, offset);
	return 0;
}

/* Onto the stack of the gate's ring: old SS:ESP, the parameters in their old order, old CS:EIP. */
static int call_inward(struct vm *vm, struct descriptor gate, struct descriptor d, uint32_t return_eip)
{
	struct vcpu *v = &vm->vcpu;
	unsigned size = gate_is_32(gate) ? 4 : 2, params = gate.hi & 0x1f, n = 0, i, dpl = desc_dpl(d.hi);
	uint16_t sel = gate_selector(gate);
	struct stack old = stack_current(v), st;
	uint32_t frame[4 + 31], param[31];
	int err = stack_from_tss(vm, dpl, 0, &st);

	if (err < 0)
		return err;
	if (!stack_room(&st, 4 + params, size))
		return transfer_raise(vm, EXC_SS, st.ss.sel, 0);
	err = code_ready(vm, sel, gate_offset(gate), 0, &d);
	if (err < 0)
		return err;
	err = stack_pop(vm, &old, param, params, size);
	if (err < 0)
		return err;
	frame[n++] = v->seg[SEG_SS].sel;
	frame[n++] = v->gpr[REG_SP];
	for (i = params; i-- > 0;)
		frame[n++] = param[i];
	frame[n++] = v->seg[SEG_CS].sel;
	frame[n++] = return_eip;
	err = stack_push(vm, &st, frame, n, size);
	if (err < 0)
		return err;
	stack_commit(v, &st);
	code_commit(v, sel, d, dpl, gate_offset(gate));
	return 0;
}

int far_call(struct vm *vm, uint16_t sel, uint32_t offset, uint32_t return_eip, unsigned opsize)
{
	struct descriptor gate, d;
	int err = read_target(vm, sel, &gate);

	if (err < 0)
		return err;
	if (desc_type(gate.hi) == DT_TASK)
		return task_switch(vm, gate_selector(gate), TASK_CALL, 0, false, 0, return_eip);
	if (desc_is_tss(gate.hi))
		return task_switch(vm, sel, TASK_CALL, 0, false, 0, return_eip);
	if (!is_call_gate(gate))
		return call_same(vm, sel, gate, offset, return_eip, opsize);
	err = code_from_gate(vm, gate_selector(gate), 0, true, &d);
	if (err < 0)
		return err;
	if (!desc_conforming(d.hi) && desc_dpl(d.hi) < vm->vcpu.cpl)
		return call_inward(vm, gate, d, return_eip);
	return call_same(vm, gate_selector(gate), d, gate_offset(gate), return_eip, gate_is_32(gate) ? 4 : 2);
}
