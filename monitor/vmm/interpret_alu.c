// SPDX-License-Identifier: GPL-3.0-or-later
/* Arithmetic and logic on integers, in 8, 16 and 32 bits, with their flags (SDM 1 3.4.3.1; 2A to 2D). See interpret.h. */
#include <errno.h>

#include "monitor/vmm/emulate.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/interpret_internal.h"

enum alu {
	ALU_ADD,
	ALU_OR,
	ALU_ADC,
	ALU_SBB,
	ALU_AND,
	ALU_SUB,
	ALU_XOR,
	ALU_CMP
}; /* as opcodes number them */

uint32_t flags_result(uint32_t value, unsigned size)
{
	uint32_t flags = 0;

	value &= size_mask(size);
	if (!value)
		flags |= FL_ZF;
	if (value >> (size * 8 - 1))
		flags |= FL_SF;
	value = (value ^ value >> 4) & 15; /* 0x6996: bit n is the parity of n */
	if (!(0x6996 >> value & 1))
		flags |= FL_PF;
	return flags;
}

static uint32_t flags_carry(bool carry, bool half, bool overflow)
{
	return (carry ? FL_CF : 0) | (half ? FL_AF : 0) | (overflow ? FL_OF : 0);
}

static uint32_t flags_add(uint32_t a, uint32_t b, unsigned carry, unsigned size)
{
	uint32_t mask = size_mask(size), sign = BIT(size * 8 - 1), r = a + b + carry;
	uint64_t sum = (uint64_t)(a & mask) + (b & mask) + carry;

	return flags_result(r, size) | flags_carry(sum > mask, (a ^ b ^ r) & 16, (a ^ r) & (b ^ r) & sign);
}

uint32_t flags_sub(uint32_t a, uint32_t b, unsigned borrow, unsigned size)
{
	uint32_t mask = size_mask(size), sign = BIT(size * 8 - 1), r = a - b - borrow;
	bool below = (uint64_t)(a & mask) < (uint64_t)(b & mask) + borrow;

	return flags_result(r, size) | flags_carry(below, (a ^ b ^ r) & 16, (a ^ b) & (a ^ r) & sign);
}

/* What op makes of a and b; *flags are FL_ARITHMETIC, on entry the carry going in. CMP returns a. */
static uint32_t compute(enum alu op, uint32_t a, uint32_t b, unsigned size, uint32_t *flags)
{
	unsigned carry = (op == ALU_ADC || op == ALU_SBB) && *flags & FL_CF;
	uint32_t r;

	switch (op) {
	case ALU_ADD:
	case ALU_ADC:
		*flags = flags_add(a, b, carry, size);
		return a + b + carry;
	case ALU_SUB:
	case ALU_SBB:
	case ALU_CMP:
		*flags = flags_sub(a, b, carry, size);
		return op == ALU_CMP ? a : a - b - carry;
	case ALU_OR:
		r = a | b;
		break;
	case ALU_AND:
		r = a & b;
		break;
	default:
		r = a ^ b;
	}
	*flags = flags_result(r, size);
	return r;
}

static int operate(struct vm *vm, enum alu op, const struct place *to, uint32_t b)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t flags = v->eflags, a, r;
	int err = place_read(vm, to, &a);

	if (err < 0)
		return err;
	r = compute(op, a, b, to->size, &flags);
	err = op == ALU_CMP ? 0 : place_write(vm, to, r);
	if (!err)
		set_flags(v, FL_ARITHMETIC, flags);
	return err;
}

static struct place accumulator(unsigned size)
{
	return (struct place){.reg = REG_AX, .size = (uint8_t)size};
}

/* ADD OR ADC SBB AND SUB XOR CMP, opcodes 00 to 3D and 80 to 83. */
static int alu(struct vm *vm, const struct insn *insn)
{
	bool group = insn->opcode >= 0x80;
	enum alu op = (enum alu)(group ? insn->reg & 7 : insn->opcode >> 3 & 7);
	unsigned size = opcode_size(insn);
	bool to_reg = !group && (insn->opcode & 6) == 2;
	uint32_t b = (uint32_t)insn->imm;
	struct place rm, reg = {.reg = insn->reg & 7, .size = (uint8_t)size};
	int err;

	if (!group && (insn->opcode & 6) == 4) {
		rm = accumulator(size);
		return operate(vm, op, &rm, b);
	}
	err = to_reg || op == ALU_CMP ? place_rm(vm, insn, size, 0, &rm) : place_modify(vm, insn, size, &rm);
	if (!err && !group)
		err = place_read(vm, to_reg ? &rm : &reg, &b);
	return err < 0 ? err : operate(vm, op, to_reg ? &reg : &rm, b);
}

/* TEST, opcodes 84, 85, A8, A9, F6 and F7 /0 and /1. */
static int test(struct vm *vm, const struct insn *insn)
{
	unsigned size = opcode_size(insn);
	uint32_t a,
	    b = insn->opcode < 0xa8 ? register_read(&vm->vcpu, insn->reg & 7, size) : (uint32_t)insn->imm;
	struct place p = accumulator(size);
	int err = insn->has_modrm ? place_rm(vm, insn, size, 0, &p) : 0;

	if (!err)
		err = place_read(vm, &p, &a);
	if (!err)
		set_flags(&vm->vcpu, FL_ARITHMETIC, flags_result(a & b, size));
	return err;
}

/* INC and DEC leave CF alone. */
static int increment(struct vm *vm, const struct insn *insn)
{
	bool dec = insn->has_modrm ? insn->reg & 1 : insn->opcode & 8;
	unsigned size = insn->has_modrm ? opcode_size(insn) : wide_size(insn);
	struct place p = {.reg = insn->opcode & 7, .size = (uint8_t)size};
	int err = insn->has_modrm ? place_modify(vm, insn, size, &p) : 0;
	uint32_t a;

	if (!err)
		err = place_read(vm, &p, &a);
	if (!err)
		err = place_write(vm, &p, dec ? a - 1 : a + 1);
	if (!err)
		set_flags(&vm->vcpu, FL_ARITHMETIC & ~FL_CF,
			  dec ? flags_sub(a, 1, 0, size) : flags_add(a, 1, 0, size));
	return err;
}

/* NOT (/2, no flags) and NEG (/3). */
static int negate(struct vm *vm, const struct insn *insn)
{
	bool neg = (insn->reg & 7) == 3;
	unsigned size = opcode_size(insn);
	struct place p;
	uint32_t a;
	int err = place_modify(vm, insn, size, &p);

	if (!err)
		err = place_read(vm, &p, &a);
	if (!err)
		err = place_write(vm, &p, neg ? -a : ~a);
	if (!err && neg)
		set_flags(&vm->vcpu, FL_ARITHMETIC, flags_sub(0, a, 0, size));
	return err;
}

/* It writes its destination either way (SDM 2A CMPXCHG): a page that cannot be written faults. */
static int cmpxchg(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	unsigned size = opcode_size(insn);
	uint32_t a, expected = register_read(v, REG_AX, size), flags;
	struct place p;
	int err = place_modify(vm, insn, size, &p);

	if (!err)
		err = place_read(vm, &p, &a);
	if (err < 0)
		return err;
	flags = flags_sub(expected, a, 0, size);
	if (flags & FL_ZF)
		err = place_write(vm, &p, register_read(v, insn->reg & 7, size));
	else
		register_write(v, REG_AX, size, a);
	if (!err)
		set_flags(v, FL_ARITHMETIC, flags);
	return err;
}

static int xadd(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	unsigned size = opcode_size(insn), reg = insn->reg & 7;
	uint32_t a, b = register_read(v, reg, size);
	struct place p;
	int err = place_modify(vm, insn, size, &p);

	if (!err)
		err = place_read(vm, &p, &a);
	if (!err && p.memory)
		err = place_write(vm, &p, a + b);
	if (err < 0)
		return err;
	register_write(v, reg, size, a);
	if (!p.memory) /* last: of XADD r, r with one register the sum remains */
		register_write(v, p.reg, size, a + b);
	set_flags(v, FL_ARITHMETIC, flags_add(a, b, 0, size));
	return 0;
}

/*
 * BT BTS BTR BTC (A3, AB, B3, BB) of memory, the bit number in a register: signed, it reaches beyond the operand, and its
 * address wraps as the addresses of the instruction do (SDM 2A BT).
 */
static int bit_string(struct vm *vm, const struct insn *insn)
{
	enum { TEST, SET, RESET, COMPLEMENT } op = insn->opcode >> 3 & 3;
	struct vcpu *v = &vm->vcpu;
	unsigned size = wide_size(insn), bits = size * 8;
	uint32_t number = register_read(v, insn->reg & 7, size), a, bit = BIT(number % bits);
	int32_t element = (size == 2 ? (int16_t)number : (int32_t)number) >> (size == 2 ? 4 : 5);
	struct place p = {.memory = true, .size = (uint8_t)size};
	int err =
	    operand_address(vm, insn, (uint32_t)element * size, size, op == TEST ? 0 : ACCESS_WRITE, &p.at);

	if (!err)
		err = check_aligned(vm, p.at.a, size);
	if (!err && op != TEST)
		err = gmem_probe_write(vm, p.at, size, privilege(vm));
	if (!err)
		err = place_read(vm, &p, &a);
	if (!err && op != TEST)
		err = place_write(vm, &p, op == SET ? a | bit : op == RESET ? a & ~bit : a ^ bit);
	if (!err)
		set_flags(v, FL_CF, a & bit ? FL_CF : 0);
	return err;
}

static semantic *group(const struct insn *insn)
{
	unsigned reg = insn->reg & 7;

	if (insn->opcode >= 0xfe)
		return reg < 2 ? increment : NULL;
	if (reg < 2)
		return test;
	return reg < 4 ? negate : NULL;
}

semantic *semantic_alu(const struct insn *insn)
{
	if (insn->map == 1 && (insn->opcode & 0xfe) == 0xb0)
		return cmpxchg;
	if (insn->map == 1 && (insn->opcode & 0xfe) == 0xc0)
		return xadd;
	if (insn->map == 1 && (insn->opcode & 0xe7) == 0xa3 && insn->has_mem)
		return bit_string;
	if (insn->map != 0)
		return NULL;
	switch (insn->opcode) {
	case 0x00 ... 0x3f:
		return (insn->opcode & 7) < 6 ? alu : NULL;
	case 0x40 ... 0x4f:
		return increment;
	case 0x80 ... 0x83:
		return alu;
	case 0x84 ... 0x85:
	case 0xa8 ... 0xa9:
		return test;
	case 0xf6 ... 0xf7:
	case 0xfe ... 0xff:
		return group(insn);
	default:
		return NULL;
	}
}
