// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The one decoder wrapper (over Zydis). Everything but the verifier sees instructions through struct insn:
 * the patcher plans with it, the lowering emits from it, the monitor emulates from it.
 */
#ifndef HYPERCALLS_DECODE_H
#define HYPERCALLS_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INSN_MAX 15 /* longest legal instruction, SDM 2A 2.3.11 */

/* Segment registers in the order of their ModRM.reg encoding (SDM 2D B.1.4.6). */
enum seg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_COUNT, SEG_NONE = 7 };

/* General registers by encoding; REG_NONE where an address has no base or index. */
enum reg { REG_AX, REG_CX, REG_DX, REG_BX, REG_SP, REG_BP, REG_SI, REG_DI, REG_IP = 0x10, REG_NONE = 0xff };

/* What the instruction does to control flow, as far as a control-flow graph needs to know. */
enum insn_flow {
	FLOW_NEXT,     /* falls through only */
	FLOW_JCC,      /* conditional relative jump, Jcc rel8/rel32 */
	FLOW_LOOP,     /* LOOP, LOOPE, LOOPNE, JCXZ, JECXZ: rel8 only */
	FLOW_JMP,      /* relative jump */
	FLOW_CALL,     /* relative call */
	FLOW_JMP_IND,  /* near jump through register or memory */
	FLOW_CALL_IND, /* near call through register or memory */
	FLOW_RET,      /* near return */
	FLOW_FAR,      /* far jump, far return, IRET, SYSEXIT, SYSRET: does not fall through */
	FLOW_FAR_CALL, /* far call, INT n, SYSCALL, SYSENTER: comes back to the next instruction */
	FLOW_STOP,     /* UD0, UD1, UD2: raises #UD; whether anything follows is for the guest to say */
};

enum insn_prefix {
	INSN_REP = 1 << 0,    /* F3 */
	INSN_REPNE = 1 << 1,  /* F2 */
	INSN_LOCK = 1 << 2,   /* F0 */
	INSN_OPSIZE = 1 << 3, /* 66 */
	INSN_ADSIZE = 1 << 4, /* 67 */
};

struct insn {
	uint16_t op;	   /* enum pv_op (policy.h); OP_NONE when the instruction is not sensitive */
	uint16_t mnemonic; /* ZydisMnemonic, for text */
	uint8_t len;	   /* bytes, 1 to INSN_MAX */
	uint8_t width;	   /* of the code segment: 16, 32 or 64 */
	uint8_t flow;	   /* enum insn_flow */
	uint8_t prefixes;  /* mask of enum insn_prefix */
	uint8_t opsize;	   /* effective operand size in bytes: 1, 2, 4 or 8 */
	uint8_t adsize;	   /* effective address size in bytes: 2, 4 or 8 */
	uint8_t map;	   /* opcode map: 0 one-byte, 1 0F, 2 0F38, 3 0F3A; 0x10 and up: VEX, EVEX, XOP */
	uint8_t opcode;	   /* opcode byte within its map */
	bool has_modrm;
	uint8_t mod, reg, rm; /* ModRM fields, REX extension included */
	bool has_mem;	      /* the ModRM operand is in memory (mod != 3) */
	uint8_t base, index;  /* enum reg, or REG_NONE; 16-bit addressing included. REG_IP: RIP-relative */
	uint8_t scale;	      /* 1, 2, 4, 8; 0 without index */
	uint8_t seg;	      /* enum seg used by the memory operand, override applied; SEG_NONE without one.
				 For string and moffs forms: the segment of the DS:(E)SI or moffs operand */
	int64_t disp;	      /* sign-extended displacement, also moffs addresses; 0 without */
	int64_t imm;	      /* first immediate, sign-extended as the instruction does; the offset of far pointers */
	uint16_t selector;    /* of a far pointer (EA, 9A); the nesting level of ENTER (C8) */
	uint8_t modrm_off;    /* byte offset of ModRM in the instruction, 0 without */
	uint8_t disp_off, disp_len; /* bytes; 0, 0 without */
	uint8_t imm_off, imm_len;   /* bytes; 0, 0 without */
	uint64_t target; /* direct branches (and XBEGIN): the target, truncated to the operand size; else 0 */
	uint32_t flags_read, flags_written; /* EFLAGS bits (architectural positions); written = set, cleared,
					       modified or undefined. A flag that is written only sometimes
					       (shift by CL) is in both: what liveness needs */
};

/*
 * Decode one instruction at address va in code of `width` (16, 32 or 64) from at most `size` bytes.
 * Returns its length, or -EINVAL for an invalid encoding (hardware: #UD), -E2BIG for one of more than 15
 * bytes (hardware: #GP), -ENODATA when it runs past size.
 * Never reads beyond bytes[size - 1]; never allocates. Thread-safe. May use SSE registers.
 */
int insn_decode(struct insn *insn, const uint8_t *bytes, size_t size, uint64_t va, int width);

/*
 * The ModRM memory operand of a decoded instruction: its bytes (0 when the encoding does not say, as of XSAVE) and
 * whether it is written to, be it under a condition. False without such an operand.
 */
bool insn_memory(const struct insn *insn, const uint8_t *bytes, unsigned *size, bool *written);

/* Intel-syntax text of the instruction at va into buf (always NUL-terminated); "(bad)" if it does not decode. */
void insn_format(char *buf, size_t cap, const uint8_t *bytes, size_t size, uint64_t va, int width);

/* The segment register that PUSH/POP Sreg, LES and kin name by opcode, MOV by ModRM.reg. */
static inline enum seg insn_sreg(const struct insn *insn)
{
	if (insn->map == 0 && (insn->opcode == 0x8c || insn->opcode == 0x8e))
		return (enum seg)(insn->reg & 7);
	if (insn->map == 0 && (insn->opcode == 0xc4 || insn->opcode == 0xc5))
		return insn->opcode == 0xc4 ? SEG_ES : SEG_DS;
	if (insn->map == 1 && insn->opcode >= 0xb2 && insn->opcode <= 0xb5)
		return (enum seg)(insn->opcode - 0xb0);
	return (enum seg)(insn->opcode >> 3 & 7);
}

/*
 * The x87 keeps pointers to its last instruction and to that one's operand (SDM 1 8.1.8). Does the instruction store them:
 * FNSTENV, FNSAVE; FXSAVE, XSAVE, XSAVEOPT, XSAVEC?
 */
static inline bool insn_stores_x87_pointers(const struct insn *insn)
{
	unsigned reg = insn->reg & 7, others = INSN_OPSIZE | INSN_REP | INSN_REPNE; /* CLWB, PTWRITE and kin */

	if (!insn->has_mem)
		return false;
	if (insn->map == 0)
		return (insn->opcode == 0xd9 || insn->opcode == 0xdd) && reg == 6;
	return insn->map == 1 && !(insn->prefixes & others) &&
	       ((insn->opcode == 0xae && (reg == 0 || reg == 4 || reg == 6)) || (insn->opcode == 0xc7 && reg == 4));
}

/* Does it move the one to the operand, as x87 instructions with one do but for control instructions? */
static inline bool insn_sets_x87_operand(const struct insn *insn)
{
	unsigned reg = insn->reg & 7;

	if (insn->map != 0 || insn->opcode < 0xd8 || insn->opcode > 0xdf || !insn->has_mem)
		return false;
	/* FLDENV FLDCW FNSTENV FNSTCW, FRSTOR FNSAVE FNSTSW */
	return !(insn->opcode == 0xd9 && reg >= 4) && !(insn->opcode == 0xdd && (reg == 4 || reg >= 6));
}

/* What the x87 keeps of an instruction's opcode, SDM 1 8.1.9. */
static inline uint32_t insn_x87_opcode(const struct insn *insn)
{
	return (uint32_t)(insn->opcode & 7) << 8 | (uint32_t)insn->mod << 6 | (insn->reg & 7u) << 3 | (insn->rm & 7u);
}

static inline bool insn_is_sensitive(const struct insn *insn)
{
	return insn->op != 0;
}

#endif
