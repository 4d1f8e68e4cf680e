// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Shared by the files of the emitter and nobody else: bytes with their restart points, landing pads, and
 * jumps that are aimed later.
 */
#ifndef HYPERCALLS_LOWER_EMIT_H
#define HYPERCALLS_LOWER_EMIT_H

#include "hypercalls/lower.h"

/* What holds just before an emitted instruction executes; becomes its manifest_point. */
struct place {
	uint32_t guest;
	uint8_t state; /* enum point_state */
	uint8_t flags; /* mask of enum point_flags */
};

#define SLOW_NONE 0 /* no jump of a stub has its displacement at offset 0 */

/* Append one instruction; on a full buffer set l->err and append nothing. */
void emit(struct lower *l, struct place at, const uint8_t *bytes, size_t len);
/* A jump, call-less: opcode bytes, then rel32 to the absolute address target. */
void emit_rel32(struct lower *l, struct place at, const uint8_t *opcode, size_t opcode_len, uint32_t target);
/* Jcc rel32 onto the chain of slow[i], aimed by emit_aim(). */
void emit_jcc_slow(struct lower *l, struct place at, uint8_t cc, uint32_t *chain);
/* Aim every jump of the chain at the next byte to be emitted. */
void emit_aim(struct lower *l, uint32_t *chain);
/* Far jump to the landing pad of `in`, which is made on first use. */
void emit_exit(struct lower *l, struct lower_insn *in, struct place at);

#define OPCODE_STORE 0x89 /* mov r32, r/m32 */
#define OPCODE_LOAD 0x8b  /* mov r/m32, r32 */
/* The segment that reaches the hole's data: FS or SS. */
static inline uint8_t emit_segment(const struct lower *l)
{
	return l->by_fs ? 0x64 : 0x36;
}

/* opcode with register `reg` and a word of the vCPU page as its operands (lower_sensitive.c). */
void emit_vcpu(struct lower *l, struct place at, uint8_t opcode, unsigned reg, uint32_t field);

/* lower_sensitive.c: the inline part of a sensitive instruction, and its out-of-line part. `first` is the
 * place of its first emitted instruction. */
void lower_sensitive(struct lower *l, struct lower_insn *in, struct place first);
void lower_slow_path(struct lower *l, struct lower_insn *in);

/* lower_block.c: a jump out of a block to the guest address `guest`: opcode, then a rel32 that block_exits() aims. */
struct lower_exits;
void block_jump_out(struct lower *l, struct lower_exits *x, struct place at, const uint8_t *opcode,
		    size_t len, uint32_t guest);
void block_jmp_out(struct lower *l, struct lower_exits *x, struct place at, uint32_t guest);
/* The code behind a block that its exits from number `first` on lead to. */
void block_exits(struct lower *l, struct lower_exits *x, size_t first);

static inline uint32_t emit_here(const struct lower *l)
{
	return l->code_va + (uint32_t)l->code_len;
}

static inline void put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static inline uint32_t get32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

#endif
