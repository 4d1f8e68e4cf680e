// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What the files of interpret.h share. A semantic reads what it needs, resolves what it will write (so that a fault is
 * met before anything changes), and then writes. It returns 0, INTERPRET_MORE when eip is to stay where it is, or a
 * negative error.
 */
#ifndef MONITOR_VMM_INTERPRET_INTERNAL_H
#define MONITOR_VMM_INTERPRET_INTERNAL_H

#include "monitor/vmm/interpret.h"

enum { INTERPRET_MORE = 1 };

#define FL_ARITHMETIC (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

typedef int semantic(struct vm *vm, const struct insn *insn);

/* By opcode, for each file its own; NULL for an instruction that it does not have. */
semantic *semantic_alu(const struct insn *insn);
semantic *semantic_decimal(const struct insn *insn);
semantic *semantic_move(const struct insn *insn);
semantic *semantic_stack(const struct insn *insn);
semantic *semantic_string(const struct insn *insn);

/* An operand, its place known. */
struct place {
	bool memory;
	uint8_t reg, size; /* size: 1, 2, 4 bytes (8 for BOUND's pair) */
	struct gva at;
};

/* The ModRM operand, its segment asked for the access, 0 or ACCESS_WRITE; pages come with the access itself. */
int place_rm(struct vm *vm, const struct insn *insn, unsigned size, unsigned access, struct place *p);
/* The same, to be read and then written: a page that cannot be written faults now, as a write. */
int place_modify(struct vm *vm, const struct insn *insn, unsigned size, struct place *p);
/* seg:offset, as place_rm(). */
int place_memory(struct vm *vm, enum seg seg, uint32_t offset, unsigned size, unsigned access,
		 struct place *p);
int place_read(struct vm *vm, const struct place *p, uint32_t *value);
/* All of it or nothing. */
int place_write(struct vm *vm, const struct place *p, uint32_t value);

/* #AC(0) for an operand of `size` bytes that is not aligned, where CPL, CR0.AM and EFLAGS.AC ask for it. */
int check_aligned(struct vm *vm, uint32_t linear, unsigned size);

/* EFLAGS of a - b - borrow, SF ZF PF of a result, in FL_ARITHMETIC. */
uint32_t flags_sub(uint32_t a, uint32_t b, unsigned borrow, unsigned size);
uint32_t flags_result(uint32_t value, unsigned size);

static inline void set_flags(struct vcpu *v, uint32_t mask, uint32_t flags)
{
	v->eflags = (v->eflags & ~mask) | (flags & mask);
}

/* Operand size of an opcode that is not of bytes: 2 or 4. */
static inline unsigned wide_size(const struct insn *insn)
{
	return (insn->width == 16) != !!(insn->prefixes & INSN_OPSIZE) ? 2 : 4;
}

/* Of an opcode whose bit 0 says so. */
static inline unsigned opcode_size(const struct insn *insn)
{
	return insn->opcode & 1 ? wide_size(insn) : 1;
}

static inline uint32_t size_mask(unsigned size)
{
	return size == 4 ? UINT32_MAX : BIT(size * 8) - 1;
}

static inline uint32_t address_mask(const struct insn *insn)
{
	return size_mask(insn->adsize);
}

#endif
