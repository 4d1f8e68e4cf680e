// SPDX-License-Identifier: GPL-3.0-or-later
/* Shared by the files of the 64-bit emitter (lower_long.h) and nobody else. */
#ifndef HYPERCALLS_LOWER_LONG_EMIT_H
#define HYPERCALLS_LOWER_LONG_EMIT_H

#include "hypercalls/abi.h"
#include "hypercalls/lower_emit.h"
#include "hypercalls/lower_long.h"

/* Where an emitted ModRM operand is. */
enum long_operand {
	OPERAND_GUEST, /* where the guest has it: base, index and displacement as they stand, 32 bits wide */
	OPERAND_R8,    /* at R8, which holds a linear address */
	OPERAND_SOFT,  /* at R8 + R9, which the software TLB gave: a host address */
	OPERAND_HOLE,  /* at an address in the hole */
};

struct long_ctx {
	struct lower *l;
	enum lower_view view;
	uint32_t table; /* the view's lookup table */
	struct lower_exits *x;
	uint32_t operand; /* OPERAND_HOLE: the address; else MANIFEST_NONE */
	uint8_t shadow;	  /* POINT_SHADOW while the instruction behind an STI is emitted */
};

static inline struct place long_boundary(uint32_t guest)
{
	return (struct place){.guest = guest, .state = POINT_BOUNDARY};
}

/* Behind the first emitted instruction; taken back, the vCPU stands at the boundary again, and in STI's shadow. */
static inline struct place long_inside(const struct long_ctx *c, const struct lower_insn *in, uint8_t flags)
{
	return (struct place){.guest = in->va, .state = POINT_INSIDE, .flags = flags | c->shadow};
}

static inline struct place long_after(const struct lower_insn *in)
{
	return (struct place){.guest = in->va, .state = POINT_AFTER};
}

#define REX 0x40
#define REX_R 4
#define REX_X 2
#define REX_B 1

/* What the operand's registers need. */
static inline uint8_t long_operand_rex(enum long_operand where)
{
	return where == OPERAND_R8 ? REX_B : where == OPERAND_SOFT ? REX_B | REX_X : 0;
}

/* One instruction in the making. */
struct long_bytes {
	uint8_t b[32];
	size_t n;
};

static inline void long_put(struct long_bytes *o, uint8_t b)
{
	o->b[o->n++] = b;
}

static inline void long_put32(struct long_bytes *o, uint32_t v)
{
	put32(o->b + o->n, v);
	o->n += 4;
}

/* An instruction that stands in the source as its bytes. */
#define LONG_EMIT(c, at, ...)                                                                                \
	do {                                                                                                 \
		static const uint8_t bytes_[] = {__VA_ARGS__};                                               \
		emit((c)->l, at, bytes_, sizeof(bytes_));                                                    \
	} while (0)

/* --- lower_long_encode.c: the guest's own instruction ------------------------------------------------------ */

/* Does 64-bit mode have the instruction, its operands taken as they stand or moved? */
bool long_encodes(const struct insn *i);
/* Can the ModRM operand be moved elsewhere (any but OPERAND_GUEST)? */
bool long_operand_moves(const struct insn *i, enum long_operand where);
/* Names its ModRM operand, but does not go there: LEA, NOP, prefetches. */
bool long_address_only(const struct insn *i);
/* An address in a register that is no ModRM operand: XLAT (EBX), MASKMOVQ and its kin (EDI), CLZERO (EAX). */
bool long_address_implied(const struct insn *i);
/* BT, BTS, BTR, BTC with the bit number in a register: the operand in memory reaches as far as that. */
bool long_is_bit_string(const struct insn *i);
/* Segment and address-size prefixes of an access; then the legacy prefixes that still mean something. */
void long_put_access(const struct long_ctx *c, struct long_bytes *o, enum long_operand where);
void long_put_prefixes(struct long_bytes *o, const struct insn *i);
/* ModRM with `reg`, and the address, at `where`; `tail` bytes of immediate will follow. */
void long_put_operand(const struct long_ctx *c, struct long_bytes *o, const struct lower_insn *in,
		      unsigned reg, enum long_operand where, size_t tail);
/* lea disp(base,index,scale), R8D to R15D or a guest register; registers up to R15, REG_NONE for none. */
void long_put_lea(struct long_bytes *o, unsigned reg, unsigned base, unsigned index, unsigned scale,
		  uint32_t disp);
void long_instruction(const struct long_ctx *c, const struct lower_insn *in, struct place at,
		      enum long_operand where);

/* --- lower_long_insn.c ------------------------------------------------------------------------------------- */

/* An instruction that falls through and is not sensitive: has it a form, and the form. */
bool long_can(const struct insn *i);
void long_plain(const struct long_ctx *c, const struct lower_insn *in, struct place first);
/* Behind an instruction that lower_long_checks_x87(): leave if it stored an instruction pointer into a block. */
void long_check_x87(const struct long_ctx *c, struct lower_insn *in);

/*
 * The guest's memory operand of `in`, loaded into or stored from (opcode 8B, 89) register `reg`, R9D to R15D included;
 * R8 and R9 are used on the way when the operand has to move.
 */
void long_move_operand(const struct long_ctx *c, const struct lower_insn *in, struct place first,
		       uint8_t opcode, unsigned reg);
/* The stack: 4 bytes at disp(%esp), loaded, stored, or set to an immediate; ESP moved. */
void long_stack_move(const struct long_ctx *c, const struct lower_insn *in, struct place at, uint8_t opcode,
		     unsigned reg, int8_t disp);
void long_stack_imm(const struct long_ctx *c, const struct lower_insn *in, struct place at, uint32_t imm);
void long_stack_add(const struct long_ctx *c, struct place at, int32_t n);
/* An instruction on a word of the hole: prefixes and opcode bytes, ModRM.reg, then imm_len bytes of imm. */
void long_hole(const struct long_ctx *c, struct place at, const uint8_t *opcode, size_t len, unsigned reg,
	       uint32_t address, uint32_t imm, size_t imm_len);

/* --- lower_long.c ------------------------------------------------------------------------------------------ */

/*
 * To the code for the guest address in R8D, ESP moved by `pop`, behind what cannot be done again. `table` is 0 or the word of
 * the vCPU page that tells where another view's lookup table is.
 */
void long_lookup(const struct long_ctx *c, const struct lower_insn *in, int32_t pop, uint32_t table);

/* --- lower_long_soft.c ------------------------------------------------------------------------------------- */

/* What to add to the linear address in R8D, into R9; R10 and R11 are lost. */
void long_soft_find(const struct long_ctx *c, const struct lower_insn *in, unsigned size, bool write);

/* --- lower_long_string.c ----------------------------------------------------------------------------------- */

/* MOVS CMPS STOS LODS SCAS */
bool long_is_string(const struct insn *i);
/* By the registers as they are; and one that is soft, page by page, or the monitor's (in->leaves). */
void long_string(const struct long_ctx *c, const struct lower_insn *in, struct place first);
void long_string_soft(const struct long_ctx *c, struct lower_insn *in, struct place first);

/* --- lower_long_sensitive.c -------------------------------------------------------------------------------- */

void long_sensitive(const struct long_ctx *c, struct lower_insn *in, struct place first);

#define FLAGS_IF 0x200u
#define CC_E 0x4
#define CC_NE 0x5

/* A word of the vCPU page: its 32-bit address; loaded into any register but R15D; set; compared with 0. */
uint32_t long_vcpu(const struct long_ctx *c, uint32_t field);
void long_load(const struct long_ctx *c, struct place at, unsigned reg, uint32_t field);
void long_store_imm(const struct long_ctx *c, struct place at, uint32_t field, uint32_t value);
void long_cmp_zero(const struct long_ctx *c, struct place at, uint32_t field);
/* RSP to the end of the word for flags. */
void long_flag_slot_end(const struct long_ctx *c, struct place at);
/* EFLAGS into R10; R9 is lost. */
void long_read_flags(const struct long_ctx *c, const struct lower_insn *in, struct place first);
/* EFLAGS from R10; ESP is in R9 meanwhile. Leave (by the slow path) if R10D has flags that no block runs with. */
void long_load_flags(const struct long_ctx *c, const struct lower_insn *in);
void long_leave_if_unusual(const struct long_ctx *c, struct lower_insn *in);
/* A register of the guest, or R8D to R15D, gets a word of the VCPU_FS that R11D leads to; 64 bits of it with `wide`. */
void long_load_fs(const struct long_ctx *c, struct place at, unsigned reg, uint8_t field, bool wide);
/*
 * Leave, unless RCX is 0; the guest's is in R9. The same, unless a descriptor is as it was loaded, of which the two words at
 * `known` tell where it is, and 0 - its bytes; R11 is lost, and RCX.
 */
void long_leave_unless_zero(const struct long_ctx *c, struct lower_insn *in);
void long_leave_unless_same(const struct long_ctx *c, struct lower_insn *in, uint32_t known);

/* --- lower_long_ring.c ------------------------------------------------------------------------------------- */

void long_int(const struct long_ctx *c, struct lower_insn *in, struct place first);
void long_iret(const struct long_ctx *c, struct lower_insn *in, struct place first);

#endif
