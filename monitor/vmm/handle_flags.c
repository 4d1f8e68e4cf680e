// SPDX-License-Identifier: GPL-3.0-or-later
/* The interrupt flag and EFLAGS: CLI STI PUSHF POPF HLT. SDM 2A/2B at each name; privileges in SDM 3A 6.8.1. */
#include <errno.h>

#include "monitor/vmm/emulate.h"
#include "monitor/vmm/far.h"

static unsigned iopl(const struct vcpu *v)
{
	return (v->eflags & FL_IOPL) >> 12;
}

int handle_cli(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;

	(void)insn;
	if (v->cpl > iopl(v))
		return vcpu_raise(v, EXC_GP, true, 0);
	v->eflags &= ~FL_IF;
	return EMU_NEXT;
}

int handle_sti(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;

	(void)insn;
	if (v->cpl > iopl(v))
		return vcpu_raise(v, EXC_GP, true, 0);
	if (!(v->eflags & FL_IF))
		v->shadow = 1;
	v->eflags |= FL_IF;
	return EMU_NEXT;
}

int handle_pushf(struct vm *vm, const struct insn *insn)
{
	int err = operand_push(vm, insn->opsize, (vm->vcpu.eflags & ~(uint32_t)(FL_VM | FL_RF)) | FL_FIXED);

	return err < 0 ? err : EMU_NEXT;
}

int handle_popf(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t value, mask = flags_loadable(v->cpl, v->eflags, insn->opsize);
	int err = operand_pop(vm, insn->opsize, &value);

	if (err < 0)
		return err;
	v->eflags = (v->eflags & ~mask & ~(uint32_t)FL_RF) | (value & mask) | FL_FIXED;
	return EMU_NEXT;
}

int handle_hlt(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;

	(void)insn;
	if (v->cpl)
		return vcpu_raise(v, EXC_GP, true, 0);
	v->halted = 1;
	return EMU_NEXT;
}
