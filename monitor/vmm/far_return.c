// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Far returns: RETF and IRET (SDM 2B RET, SDM 2A IRET, SDM 3A 5.8.6). Both pop CS:EIP and, toward an outer ring,
 * SS:ESP, and then take from the data segment registers what the outer ring may not hold. IRET also loads EFLAGS, as
 * far as CPL and IOPL allow, and with NT set returns to the task that the TSS links to instead.
 */
#include <errno.h>

#include "monitor/vmm/far.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/transfer.h"
#include "monitor/vmm/vm.h"

static int check_code(struct vm *vm, uint16_t sel, struct descriptor *d)
{
	unsigned rpl = sel_rpl(sel), dpl;
	int err;

	if (sel_null(sel))
		return transfer_raise(vm, EXC_GP, 0, 0);
	err = transfer_descriptor(vm, sel, EXC_GP, 0, d);
	if (err < 0)
		return err;
	dpl = desc_dpl(d->hi);
	if (!desc_is_code(d->hi) || rpl < vm->vcpu.cpl || (desc_conforming(d->hi) ? dpl > rpl : dpl != rpl))
		return transfer_raise(vm, EXC_GP, sel, 0);
	return d->hi & ATTR_P ? 0 : transfer_raise(vm, EXC_NP, sel, 0);
}

static int check_stack(struct vm *vm, uint16_t sel, unsigned cpl, struct descriptor *d)
{
	int err;

	if (sel_null(sel))
		return transfer_raise(vm, EXC_GP, 0, 0);
	err = transfer_descriptor(vm, sel, EXC_GP, 0, d);
	if (err < 0)
		return err;
	if (sel_rpl(sel) != cpl || !desc_writable(d->hi) || desc_dpl(d->hi) != cpl)
		return transfer_raise(vm, EXC_GP, sel, 0);
	return d->hi & ATTR_P ? 0 : transfer_raise(vm, EXC_SS, sel, 0);
}

/*
 * CS:EIP were popped from *st, and pop_bytes released; finish the return to the same or an outer ring. A new stack
 * of 16 bits takes only SP: the upper half of ESP stays (the leak that Linux's espfix works around).
 */
static int finish(struct vm *vm, struct stack *st, uint16_t cs, uint32_t eip, unsigned opsize, uint16_t pop_bytes)
{
	struct vcpu *v = &vm->vcpu;
	struct descriptor code, data;
	uint32_t word[2], mask;
	bool outer = sel_rpl(cs) > v->cpl;
	int err = check_code(vm, cs, &code);

	if (err < 0)
		return err;
	stack_move(st, pop_bytes);
	if (outer) {
		err = stack_pop(vm, st, word, 2, opsize);
		if (err < 0)
			return err;
		err = check_stack(vm, (uint16_t)word[1], sel_rpl(cs), &data);
		if (err < 0)
			return err;
	}
	err = code_ready(vm, cs, eip, 0, &code);
	if (err < 0)
		return err;
	if (outer) {
		err = descriptor_touch(vm, (uint16_t)word[1], &data);
		if (err < 0)
			return err;
		st->ss = segment_unpack((uint16_t)word[1], data);
		mask = data.hi & ATTR_DB ? UINT32_MAX : UINT16_MAX;
		st->esp = (v->gpr[REG_SP] & ~mask) | (word[0] & mask);
		stack_move(st, pop_bytes);
	}
	stack_commit(v, st);
	code_commit(v, cs, code, sel_rpl(cs), eip);
	if (outer)
		segment_drop_privileged(vm);
	return 0;
}

int far_ret(struct vm *vm, unsigned opsize, uint16_t pop_bytes)
{
	struct stack st = stack_current(&vm->vcpu);
	uint32_t word[2];
	int err = segment_limit_guest(vm);

	if (err < 0)
		return err;
	err = stack_pop(vm, &st, word, 2, opsize);
	if (err < 0)
		return err;
	return finish(vm, &st, (uint16_t)word[1], word[0], opsize, pop_bytes);
}

uint32_t flags_loadable(unsigned cpl, uint32_t eflags, unsigned opsize)
{
	uint32_t mask = FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_TF | FL_DF | FL_OF | FL_NT;

	if (opsize == 4)
		mask |= FL_AC | FL_ID;
	if (cpl <= (eflags & FL_IOPL) >> 12)
		mask |= FL_IF;
	if (cpl == 0)
		mask |= FL_IOPL;
	return mask;
}

static int task_return(struct vm *vm, uint32_t next_eip)
{
	const struct segment *tr = &vm->vcpu.tr;
	uint16_t link;

	if (!(tr->attr & ATTR_P))
		return transfer_raise(vm, EXC_TS, tr->sel, 0);
	if (gmem_read(vm, gva(tr->base), &link, sizeof(link), 0) < 0)
		return -EFAULT;
	return task_switch(vm, link, TASK_IRET, 0, false, 0, next_eip);
}

int far_iret(struct vm *vm, unsigned opsize, uint32_t next_eip)
{
	struct vcpu *v = &vm->vcpu;
	struct stack st = stack_current(v);
	uint32_t word[3], mask;
	int err = segment_limit_guest(vm);

	if (err < 0)
		return err;
	if (v->eflags & FL_NT)
		return task_return(vm, next_eip);
	err = stack_pop(vm, &st, word, 3, opsize);
	if (err < 0)
		return err;
	if (opsize == 4 && v->cpl == 0 && (word[2] & FL_VM)) {
		vm_stop(vm, STOP_GUEST, 0, "the guest entered virtual-8086 mode, which Paravane does not have");
		return -ECANCELED;
	}
	/* By the privilege before the return; RF comes back too, VIF and VIP at CPL 0. */
	mask = flags_loadable(v->cpl, v->eflags, opsize);
	if (opsize == 4)
		mask |= FL_RF | (v->cpl == 0 ? FL_VIF | FL_VIP : 0);
	err = finish(vm, &st, (uint16_t)word[1], word[0], opsize, 0);
	if (err < 0)
		return err;
	v->eflags = (v->eflags & ~mask) | (word[2] & mask) | FL_FIXED;
	v->shadow = 0;
	return 0;
}
