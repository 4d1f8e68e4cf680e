/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The verifier's view of one instruction, read from LLVM's text: what it does to control flow and whether it is
 * sensitive. 32-bit code only.
 */
#ifndef PATCHER_VERIFY_INSN_H
#define PATCHER_VERIFY_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "patcher/verify.h"

enum verify_flow {
	VF_NEXT,
	VF_COND,     /* Jcc, LOOPcc, JECXZ: `target` or the next instruction */
	VF_JMP,	     /* direct near jump */
	VF_CALL,     /* direct near call */
	VF_JMP_IND,  /* never falls through, target unknown */
	VF_CALL_IND, /* near */
	VF_RET,
	VF_FAR,	 /* ljmp, lret, iret, sysexit, sysret: does not fall through */
	VF_STOP, /* ud0, ud1, ud2: raises #UD, the guest may step over it */
	VF_ODD,	 /* a branch with a 16-bit operand: never right in a 32-bit kernel */
};

/* The sensitive forms that a stub may serve without leaving the guest; W_OTHER always needs an exit. */
enum verify_what {
	W_NONE,
	W_CLI,
	W_STI,
	W_PUSHF,    /* 32-bit operand */
	W_POPF,	    /* 32-bit operand */
	W_PUSH_SEG, /* 32-bit operand */
	W_FROM_SEG, /* mov to a register or memory */
	W_FROM_CR,
	W_OTHER,
	W_INT3, /* traps whatever the host does; used as padding */
};

struct verify_insn {
	uint32_t va;
	uint32_t target; /* VF_COND, VF_JMP, VF_CALL */
	uint8_t len;	 /* 0: not an instruction */
	uint8_t flow, cls, what;
	const char *name; /* mnemonic with prefixes stripped, in the decoder's buffer until the next decode */
	const char *args;
};

struct verify_decoder; /* one a thread */
struct verify_decoder *verify_decoder_new(void);
void verify_decoder_free(struct verify_decoder *d);

/* Decode at most `avail` bytes at va. Returns the length, 0 if LLVM knows no such instruction. */
int verify_decode(struct verify_decoder *d, const uint8_t *bytes, size_t avail, uint32_t va,
		  struct verify_insn *in);

static inline bool verify_falls_through(const struct verify_insn *in)
{
	return in->flow != VF_JMP && in->flow != VF_JMP_IND && in->flow != VF_RET && in->flow != VF_FAR;
}

#endif
