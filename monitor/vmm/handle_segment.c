// SPDX-License-Identifier: GPL-3.0-or-later
/* Segment registers and descriptor tables: operands here, checks in segment.h. */
#include <errno.h>

#include "monitor/vmm/emulate.h"
#include "monitor/vmm/segment.h"

/* Segment register that a PUSH/POP opcode names. */
static enum seg stack_segment(const struct insn *insn)
{
	if (insn->map == 1) /* 0F A0, A1, A8, A9 */
		return insn->opcode & 8 ? SEG_GS : SEG_FS;
	return insn->opcode >> 3 & 3;
}

int handle_seg_read(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	int err;

	if (insn->map == 0 && insn->opcode == 0x8c) { /* MOV r/m, Sreg: memory takes 16 bits */
		if (insn->reg >= SEG_COUNT)
			return vcpu_raise(v, EXC_UD, false, 0);
		err = operand_write(vm, insn, insn->has_mem ? 2 : insn->opsize, v->seg[insn->reg].sel);
	} else {
		err = operand_push(vm, insn->opsize, v->seg[stack_segment(insn)].sel);
	}
	return err < 0 ? err : EMU_NEXT;
}

/* LES LDS LSS LFS LGS. */
static int load_pointer(struct vm *vm, const struct insn *insn)
{
	static const uint8_t by_opcode[] = {[2] = SEG_SS, [4] = SEG_FS, [5] = SEG_GS};
	enum seg seg = insn->map == 0 ? (insn->opcode == 0xc4 ? SEG_ES : SEG_DS) : by_opcode[insn->opcode & 7];
	uint32_t offset = 0;
	uint16_t sel;
	int err;

	if (!insn->has_mem)
		return vcpu_raise(&vm->vcpu, EXC_UD, false, 0);
	err = memory_read(vm, insn, 0, &offset, insn->opsize);
	if (!err)
		err = memory_read(vm, insn, insn->opsize, &sel, 2);
	if (!err)
		err = segment_load(vm, seg, sel);
	if (err < 0)
		return err;
	vm->vcpu.shadow = 0; /* LSS inhibits nothing */
	register_write(&vm->vcpu, insn->reg, insn->opsize, offset);
	return EMU_NEXT;
}

int handle_seg_load(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t value, esp = v->gpr[REG_SP];
	int err;

	if (insn->map == 0 && insn->opcode == 0x8e) {
		if (insn->reg >= SEG_COUNT || insn->reg == SEG_CS)
			return vcpu_raise(v, EXC_UD, false, 0);
		err = operand_read(vm, insn, 2, &value);
		return err < 0 ? err : segment_load(vm, insn->reg, (uint16_t)value);
	}
	if ((insn->map == 0 && (insn->opcode == 0xc4 || insn->opcode == 0xc5)) ||
	    (insn->map == 1 && (insn->opcode & 0xf8) == 0xb0))
		return load_pointer(vm, insn);
	err = operand_pop(vm, insn->opsize, &value);
	if (!err)
		err = segment_load(vm, stack_segment(insn), (uint16_t)value);
	if (err < 0)
		v->gpr[REG_SP] = esp;
	return err;
}

int handle_dt_store(struct vm *vm, const struct insn *insn)
{
	const struct vcpu *v = &vm->vcpu;
	const struct table_register *t = insn->reg == 0 ? &v->gdtr : &v->idtr;
	uint8_t image[6];
	int err;

	if (insn->opcode == 0x00) { /* SLDT, STR */
		uint32_t sel = insn->reg == 0 ? v->ldtr.sel : v->tr.sel;

		err = operand_write(vm, insn, insn->has_mem ? 2 : insn->opsize, sel);
		return err < 0 ? err : EMU_NEXT;
	}
	*(uint16_t *)image = t->limit;
	for (unsigned i = 0; i < 4; i++)
		image[2 + i] = (uint8_t)(t->base >> 8 * i);
	err = memory_write(vm, insn, 0, image, sizeof(image));
	return err < 0 ? err : EMU_NEXT;
}

int handle_dt_load(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	struct table_register *t = insn->reg == 2 ? &v->gdtr : &v->idtr;
	uint8_t image[6];
	uint32_t value;
	int err;

	if (v->cpl)
		return vcpu_raise(v, EXC_GP, true, 0);
	if (insn->opcode == 0x00) { /* LLDT, LTR */
		err = operand_read(vm, insn, 2, &value);
		if (!err)
			err = insn->reg == 2 ? segment_load_ldtr(vm, (uint16_t)value)
					     : segment_load_tr(vm, (uint16_t)value);
		return err < 0 ? err : EMU_NEXT;
	}
	err = memory_read(vm, insn, 0, image, sizeof(image));
	if (err < 0)
		return err;
	t->limit = (uint16_t)(image[0] | image[1] << 8);
	t->base = (uint32_t)image[2] | (uint32_t)image[3] << 8 | (uint32_t)image[4] << 16 | (uint32_t)image[5] << 24;
	if (insn->opsize == 2)
		t->base &= 0xffffff;
	return EMU_NEXT;
}

/* ARPL r/m16, r16 (SDM 2A): raise the destination's RPL to the source's. */
static int arpl(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t value, source = register_read(v, insn->reg, 2);
	int err = operand_read(vm, insn, 2, &value);

	if (!err && (value & 3) < (source & 3)) {
		err = operand_write(vm, insn, 2, (value & ~3u) | (source & 3));
		if (!err)
			v->eflags |= FL_ZF;
	} else if (!err) {
		v->eflags &= ~(uint32_t)FL_ZF;
	}
	return err < 0 ? err : EMU_NEXT;
}

int handle_desc(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t sel, value = 0;
	int found;

	if (insn->map == 0)
		return arpl(vm, insn);
	found = operand_read(vm, insn, 2, &sel);
	if (found < 0)
		return found;
	if (insn->opcode == 0x02)
		found = segment_query_lar(vm, (uint16_t)sel, &value);
	else if (insn->opcode == 0x03)
		found = segment_query_lsl(vm, (uint16_t)sel, &value);
	else
		found = segment_query_ver(vm, (uint16_t)sel, insn->reg == 5);
	if (found < 0)
		return found;
	if (found && insn->opcode != 0x00)
		register_write(v, insn->reg, insn->opsize, value);
	v->eflags = (v->eflags & ~(uint32_t)FL_ZF) | (found ? FL_ZF : 0);
	return EMU_NEXT;
}
