// SPDX-License-Identifier: GPL-3.0-or-later
/* Control and debug registers, INVLPG. SDM 3A 2.5 (control registers), 4.10.4 (invalidation), 17.2 (debug). */
#include <errno.h>

#include "monitor/vmm/emulate.h"
#include "monitor/vmm/mmu.h"

#define CR4_SUPPORTED                                                                                                \
	(CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT |          \
	 CR4_OSXSAVE)

static int gp0(struct vm *vm)
{
	return vcpu_raise(&vm->vcpu, EXC_GP, true, 0);
}

int handle_cr_read(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	const uint32_t cr[] = {v->cr0, 0, v->cr2, v->cr3, v->cr4};
	int err;

	if (insn->opcode == 0x01) { /* SMSW: any privilege */
		err = operand_write(vm, insn, insn->has_mem ? 2 : insn->opsize, v->cr0);
		return err < 0 ? err : EMU_NEXT;
	}
	if (v->cpl)
		return gp0(vm);
	if (insn->reg == 1 || insn->reg > 4)
		return vcpu_raise(v, EXC_UD, false, 0);
	v->gpr[insn->rm] = cr[insn->reg];
	return EMU_NEXT;
}

static int write_cr4(struct vm *vm, uint32_t value)
{
	if (value & ~(uint32_t)CR4_SUPPORTED)
		return gp0(vm);
	return mmu_set_cr4(vm, value);
}

int handle_cr_write(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t value;
	int err;

	if (v->cpl)
		return gp0(vm);
	if (insn->opcode == 0x06) { /* CLTS */
		v->cr0 &= ~(uint32_t)CR0_TS;
		return EMU_NEXT;
	}
	if (insn->opcode == 0x01) { /* LMSW: cannot clear PE */
		err = operand_read(vm, insn, 2, &value);
		if (err < 0)
			return err;
		value = (v->cr0 & ~0xeu) | (value & 0xf);
		return mmu_set_cr0(vm, value | (v->cr0 & CR0_PE));
	}
	value = v->gpr[insn->rm];
	switch (insn->reg) {
	case 0:
		return mmu_set_cr0(vm, value);
	case 2:
		v->cr2 = value;
		return EMU_NEXT;
	case 3:
		return mmu_set_cr3(vm, value);
	case 4:
		return write_cr4(vm, value);
	default:
		return vcpu_raise(v, EXC_UD, false, 0);
	}
}

int handle_dr_read(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;

	if (v->cpl)
		return gp0(vm);
	if ((insn->reg == 4 || insn->reg == 5) && (v->cr4 & CR4_DE))
		return vcpu_raise(v, EXC_UD, false, 0);
	v->gpr[insn->rm] = v->dr[insn->reg & ~2 & 4 ? insn->reg | 2 : insn->reg];
	return EMU_NEXT;
}

int handle_dr_write(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t value = v->gpr[insn->rm];
	unsigned reg = insn->reg;

	if (v->cpl)
		return gp0(vm);
	if ((reg == 4 || reg == 5) && (v->cr4 & CR4_DE))
		return vcpu_raise(v, EXC_UD, false, 0);
	if (reg == 4 || reg == 5)
		reg += 2;
	if (reg == 6)
		value = (value & 0x0000e00f) | 0xffff0ff0;
	if (reg == 7)
		value = (value & 0xffff2fff) | 0x400;
	v->dr[reg] = value;
	return EMU_NEXT;
}

int handle_invlpg(struct vm *vm, const struct insn *insn)
{
	struct gva at;
	uint32_t ea = (uint32_t)insn->disp;

	if (insn->map != 1) /* INVPCID: its CPUID bit is hidden */
		return vcpu_raise(&vm->vcpu, EXC_UD, false, 0);
	if (vm->vcpu.cpl)
		return gp0(vm);
	if (!insn->has_mem)
		return vcpu_raise(&vm->vcpu, EXC_UD, false, 0);
	if (insn->base != REG_NONE)
		ea += vm->vcpu.gpr[insn->base];
	if (insn->index != REG_NONE)
		ea += vm->vcpu.gpr[insn->index] * insn->scale;
	at = gva(vm->vcpu.seg[insn->seg].base + (insn->adsize == 2 ? ea & 0xffff : ea));
	mmu_invlpg(vm, at);
	return EMU_NEXT;
}
