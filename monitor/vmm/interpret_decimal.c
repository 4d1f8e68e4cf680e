// SPDX-License-Identifier: GPL-3.0-or-later
/* What 64-bit mode does not have: decimal adjustment, SALC, BOUND (SDM 2A, 2B; SALC is not in it). See interpret.h. */
#include <errno.h>

#include "monitor/vmm/emulate.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/interpret_internal.h"

#define FL_RESULT (FL_SF | FL_ZF | FL_PF)

/* DAA and DAS: to two packed digits. A borrow of the lower digit stays in CF only when it left the byte. */
static int adjust_packed(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	bool sub = insn->opcode & 8, low, high;
	uint32_t al = register_read(v, REG_AX, 1), by, flags = 0;

	low = (al & 15) > 9 || v->eflags & FL_AF;
	high = al > 0x99 || v->eflags & FL_CF;
	by = (low ? 6 : 0) + (high ? 0x60 : 0);
	if (low)
		flags |= FL_AF;
	if (high || (sub && low && al < 6))
		flags |= FL_CF;
	al = sub ? al - by : al + by;
	register_write(v, REG_AX, 1, al);
	set_flags(v, FL_RESULT | FL_AF | FL_CF, flags | flags_result(al, 1));
	return 0;
}

/* AAA and AAS: to one unpacked digit in AL, with the carry into AH. */
static int adjust_unpacked(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t ax = register_read(v, REG_AX, 2);
	bool carry = (ax & 15) > 9 || v->eflags & FL_AF;

	if (carry)
		ax = insn->opcode & 8 ? ax - 0x106 : ax + 0x106;
	register_write(v, REG_AX, 2, ax & 0xff0f);
	set_flags(v, FL_AF | FL_CF, carry ? FL_AF | FL_CF : 0);
	return 0;
}

/* AAM and AAD, in whatever base the immediate names. */
static int adjust_base(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t ax = register_read(v, REG_AX, 2), al = ax & 0xff, base = insn->imm & 0xff;

	if (insn->opcode == 0xd5)
		ax = (al + (ax >> 8) * base) & 0xff;
	else if (base)
		ax = al / base << 8 | al % base;
	else
		return vcpu_raise(v, EXC_DE, false, 0);
	register_write(v, REG_AX, 2, ax);
	set_flags(v, FL_RESULT, flags_result(ax, 1));
	return 0;
}

static int salc(struct vm *vm, const struct insn *insn)
{
	(void)insn;
	register_write(&vm->vcpu, REG_AX, 1, vm->vcpu.eflags & FL_CF ? 0xff : 0);
	return 0;
}

static int32_t sign_extend(uint32_t value, unsigned size)
{
	return size == 2 ? (int16_t)value : (int32_t)value;
}

static int bound(struct vm *vm, const struct insn *insn)
{
	unsigned size = wide_size(insn);
	int32_t index = sign_extend(register_read(&vm->vcpu, insn->reg & 7, size), size);
	uint32_t limit[2] = {0};
	struct gva at;
	int err = operand_address(vm, insn, 0, 2 * size, 0, &at);

	if (!err)
		err = check_aligned(vm, at.a, size);
	if (!err)
		err = gmem_read(vm, at, limit, 2 * size, privilege(vm));
	if (err < 0)
		return err;
	if (size == 2)
		limit[1] = limit[0] >> 16;
	if (index < sign_extend(limit[0], size) || index > sign_extend(limit[1], size))
		return vcpu_raise(&vm->vcpu, EXC_BR, false, 0);
	return 0;
}

semantic *semantic_decimal(const struct insn *insn)
{
	if (insn->map != 0)
		return NULL;
	switch (insn->opcode) {
	case 0x27:
	case 0x2f:
		return adjust_packed;
	case 0x37:
	case 0x3f:
		return adjust_unpacked;
	case 0x62:
		return bound;
	case 0xd4:
	case 0xd5:
		return adjust_base;
	case 0xd6:
		return salc;
	default:
		return NULL;
	}
}
