// SPDX-License-Identifier: GPL-3.0-or-later
/* Moves that are no stack's: MOV, MOVZX, MOVSX, LEA, XCHG, XLAT (SDM 2A to 2D). See interpret.h. */
#include <errno.h>

#include "monitor/vmm/emulate.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/interpret_internal.h"

/* 88 to 8B. */
static int move(struct vm *vm, const struct insn *insn)
{
	unsigned size = opcode_size(insn), access = insn->opcode & 2 ? 0 : ACCESS_WRITE;
	struct place p;
	uint32_t value;
	int err = place_rm(vm, insn, size, access, &p);

	if (err < 0)
		return err;
	if (access)
		return place_write(vm, &p, register_read(&vm->vcpu, insn->reg & 7, size));
	err = place_read(vm, &p, &value);
	if (!err)
		register_write(&vm->vcpu, insn->reg & 7, size, value);
	return err;
}

/* C6 and C7 /0. */
static int move_immediate(struct vm *vm, const struct insn *insn)
{
	struct place p;
	int err = place_rm(vm, insn, opcode_size(insn), ACCESS_WRITE, &p);

	return err < 0 ? err : place_write(vm, &p, (uint32_t)insn->imm);
}

/* A0 to A3: between the accumulator and an address in the instruction. */
static int move_offset(struct vm *vm, const struct insn *insn)
{
	unsigned size = opcode_size(insn), access = insn->opcode & 2 ? ACCESS_WRITE : 0;
	struct place p;
	uint32_t value;
	int err = place_memory(vm, insn->seg, (uint32_t)insn->disp & address_mask(insn), size, access, &p);

	if (err < 0)
		return err;
	if (access)
		return place_write(vm, &p, vm->vcpu.gpr[REG_AX]);
	err = place_read(vm, &p, &value);
	if (!err)
		register_write(&vm->vcpu, REG_AX, size, value);
	return err;
}

/* MOVZX (0F B6, B7) and MOVSX (0F BE, BF). */
static int move_extended(struct vm *vm, const struct insn *insn)
{
	unsigned size = insn->opcode & 1 ? 2 : 1;
	struct place p;
	uint32_t value;
	int err = place_rm(vm, insn, size, 0, &p);

	if (!err)
		err = place_read(vm, &p, &value);
	if (err < 0)
		return err;
	if (insn->opcode & 8)
		value = size == 1 ? (uint32_t)(int8_t)value : (uint32_t)(int16_t)value;
	register_write(&vm->vcpu, insn->reg & 7, wide_size(insn), value);
	return 0;
}

static int lea(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t ea = (uint32_t)insn->disp;

	if (insn->base != REG_NONE)
		ea += v->gpr[insn->base];
	if (insn->index != REG_NONE)
		ea += v->gpr[insn->index] * insn->scale;
	register_write(v, insn->reg & 7, wide_size(insn), ea & address_mask(insn));
	return 0;
}

/* 86, 87, and 90 to 97 with the accumulator. */
static int exchange(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	unsigned size = insn->has_modrm ? opcode_size(insn) : wide_size(insn);
	unsigned reg = insn->has_modrm ? insn->reg & 7 : REG_AX;
	uint32_t a, b = register_read(v, reg, size);
	struct place p = {.reg = insn->opcode & 7, .size = (uint8_t)size};
	int err = insn->has_modrm ? place_modify(vm, insn, size, &p) : 0;

	if (!err)
		err = place_read(vm, &p, &a);
	if (!err)
		err = place_write(vm, &p, b);
	if (!err)
		register_write(v, reg, size, a);
	return err;
}

static int xlat(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t value, offset = (v->gpr[REG_BX] + register_read(v, REG_AX, 1)) & address_mask(insn);
	struct place p;
	int err = place_memory(vm, insn->seg, offset, 1, 0, &p);

	if (!err)
		err = place_read(vm, &p, &value);
	if (!err)
		register_write(v, REG_AX, 1, value);
	return err;
}

semantic *semantic_move(const struct insn *insn)
{
	if (insn->map == 1 && (insn->opcode & 0xf6) == 0xb6)
		return move_extended;
	if (insn->map != 0)
		return NULL;
	switch (insn->opcode) {
	case 0x86 ... 0x87:
	case 0x90 ... 0x97:
		return exchange;
	case 0x88 ... 0x8b:
		return move;
	case 0x8d:
		return insn->has_mem ? lea : NULL;
	case 0xa0 ... 0xa3:
		return move_offset;
	case 0xc6 ... 0xc7:
		return (insn->reg & 7) == 0 ? move_immediate : NULL;
	case 0xd7:
		return xlat;
	default:
		return NULL;
	}
}
