// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 4.5: Into the guest's IDT
 *
 * Interrupts and exceptions through the guest's IDT (SDM 3A 6.10 to 6.15; pseudo code in SDM 2A INT n). Hardware
 * pushes a frame on the current stack, or on the one that the TSS names for a more privileged ring, or switches
 * tasks; what fails while doing so is an exception of its own, with EXT set unless the program asked by INT.
 */
#include <errno.h>

#include "monitor/vmm/far.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/transfer.h"
#include "monitor/vmm/vm.h"

/* EFLAGS.RF is pushed as 1 for fault-class exceptions, SDM 3B 17.3.1.1. */
static bool is_fault(unsigned vector, enum event_kind kind)
{
	if (kind != EVENT_EXCEPTION)
		return false;
	return vector != EXC_DB && vector != EXC_NMI && vector != EXC_BP && vector != EXC_OF && vector != EXC_DF;
}

static int read_gate(struct vm *vm, unsigned vector, enum event_kind kind, struct descriptor *gate)
{
	const uint32_t types =
	    BIT(DT_TASK) | BIT(DT_INT16) | BIT(DT_TRAP16) | BIT(DT_INT32) | BIT(DT_TRAP32);
	struct vcpu *v = &vm->vcpu;
	unsigned ext = kind != EVENT_SOFTWARE;
	uint32_t error = vector * 8 + 2 + ext;

	if (vector * 8 + 7 > v->idtr.limit)
		return vcpu_raise(v, EXC_GP, true, error);
	if (gmem_read(vm, gva(v->idtr.base + vector * 8), gate, sizeof(*gate), 0) < 0)
		return -EFAULT;
	if (!(types >> desc_type(gate->hi) & 1))
		return vcpu_raise(v, EXC_GP, true, error);
	if (kind == EVENT_SOFTWARE && desc_dpl(gate->hi) < v->cpl)
		return vcpu_raise(v, EXC_GP, true, error);
	if (!(gate->hi & ATTR_P))
		return vcpu_raise(v, EXC_NP, true, error);
	return 0;
}

/* The stack to push to; its room for n words is checked with the error code of a switched or a kept stack. */
static int event_stack(struct vm *vm, bool inward, unsigned dpl, unsigned ext, unsigned n, unsigned size,
		       struct stack *st)
{
	int err;

	if (!inward) {
		*st = stack_current(&vm->vcpu);
		return stack_room(st, n, size) ? 0 : transfer_raise(vm, EXC_SS, 0, ext);
	}
	err = stack_from_tss(vm, dpl, ext, st);
	if (err < 0)
		return err;
	return stack_room(st, n, size) ? 0 : transfer_raise(vm, EXC_SS, st->ss.sel, ext);
}

static int enter_gate(struct vm *vm, struct descriptor gate, unsigned ext, bool has_error, uint32_t error,
		      uint32_t flags, uint32_t return_eip)
{
	struct vcpu *v = &vm->vcpu;
	unsigned size = gate_is_32(gate) ? 4 : 2, n = 0, cpl = v->cpl;
	uint16_t sel = gate_selector(gate);
	uint32_t frame[6];
	struct descriptor d;
	struct stack st;
	bool inward;
	int err = code_from_gate(vm, sel, ext, true, &d);

	if (err < 0)
		return err;
	inward = !desc_conforming(d.hi) && desc_dpl(d.hi) < cpl;
	if (inward) {
		cpl = desc_dpl(d.hi);
		frame[n++] = v->seg[SEG_SS].sel;
		frame[n++] = v->gpr[REG_SP];
	}
	frame[n++] = flags;
	frame[n++] = v->seg[SEG_CS].sel;
	frame[n++] = return_eip;
	if (has_error)
		frame[n++] = error;
	err = event_stack(vm, inward, cpl, ext, n, size, &st);
	if (err < 0)
		return err;
	err = code_ready(vm, sel, gate_offset(gate), ext, &d);
	if (err < 0)
		return err;
	err = stack_push(vm, &st, frame, n, size);
	if (err < 0)
		return err;
	stack_commit(v, &st);
	code_commit(v, sel, d, cpl, gate_offset(gate));
	v->eflags &= ~(FL_TF | FL_NT | FL_RF | FL_VM);
	if (!(gate.hi & BIT(8)))
		v->eflags &= ~FL_IF;
	v->shadow = 0;
	return 0;
}

int interrupt_enter(struct vm *vm, unsigned vector, enum event_kind kind, bool has_error, uint32_t error,
		    uint32_t return_eip)
{
	struct vcpu *v = &vm->vcpu;
	unsigned ext = kind != EVENT_SOFTWARE;
	struct descriptor gate;
	int err = segment_limit_guest(vm);

	if (err < 0)
		return err;
	vm->vmm->gate_entered = 1;
	err = read_gate(vm, vector, kind, &gate);
	if (err < 0)
		return err;
	if (desc_type(gate.hi) == DT_TASK)
		return task_switch(vm, gate_selector(gate), TASK_GATE, ext, has_error, error, return_eip);
	return enter_gate(vm, gate, ext, has_error, error, v->eflags | (is_fault(vector, kind) ? FL_RF : 0),
			  return_eip);
}

static bool is_contributory(unsigned vector)
{
	return vector == EXC_DE || (vector >= EXC_TS && vector <= EXC_GP);
}

/* Does `second`, met while delivering `first`, make a double fault? SDM 3A table 6-5. */
static bool doubles(unsigned first, unsigned second)
{
	if (is_contributory(first))
		return is_contributory(second);
	return first == EXC_PF && (is_contributory(second) || second == EXC_PF);
}

int exception_deliver(struct vm *vm)
{
	struct vcpu *v = &vm->vcpu;
	unsigned vector;
	int err;

	while ((vector = v->exc_vector) != EXC_NONE) {
		if (vector == EXC_PF)
			v->cr2 = v->exc_cr2;
		v->exc_vector = EXC_NONE;
		err = interrupt_enter(vm, vector, EVENT_EXCEPTION, v->exc_has_error, v->exc_error, v->eip);
		if (err == 0)
			return 0;
		if (v->exc_vector == EXC_NONE)
			return err;
		if (vector == EXC_DF && (is_contributory(v->exc_vector) || v->exc_vector == EXC_PF)) {
			v->exc_vector = EXC_NONE;
			return -ESHUTDOWN;
		}
		if (!doubles(vector, v->exc_vector))
			continue;
		if (v->exc_vector == EXC_PF)
			v->cr2 = v->exc_cr2;
		v->exc_vector = EXC_NONE;
		vcpu_raise(v, EXC_DF, true, 0);
	}
	return 0;
}
