// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Are the arithmetic flags dead at an address? Straight-line only: the first branch that depends on them, any
 * call, return or indirect jump (assembly may pass flags through one), any instruction that may enter the
 * kernel's exception table, and anything not understood answers "alive", which only costs a longer stub.
 */
#include "patcher/plan.h"

#define FLAGS_ARITH 0x8d5u /* CF PF AF ZF SF OF */
#define SCAN_INSNS 16

/*
 * Flags that the instruction certainly overwrites. The decoder's "written" includes "may be written": shifts by
 * zero and repeated string compares over nothing leave the flags alone, so only plain arithmetic counts.
 */
static uint32_t certainly_written(const struct insn *i)
{
	bool alu = i->map == 0 && i->opcode < 0x40 && (i->opcode & 7) < 6;
	bool group1 = i->map == 0 && i->opcode >= 0x80 && i->opcode <= 0x83;
	bool test =
	    i->map == 0 && (i->opcode == 0x84 || i->opcode == 0x85 || i->opcode == 0xa8 || i->opcode == 0xa9);
	bool unary = i->map == 0 && (i->opcode == 0xf6 || i->opcode == 0xf7 || i->opcode == 0xfe);

	return alu || group1 || test || unary ? i->flags_written : 0;
}

bool flags_dead_at(const struct cfg *cfg, uint64_t va)
{
	uint32_t live = FLAGS_ARITH;
	struct insn insn;

	for (int n = 0; n < SCAN_INSNS; n++) {
		uint8_t marks = cfg_marks(cfg, va);

		if (!(marks & CFG_START) || marks & (CFG_OVERLAP | CFG_REWRITTEN) ||
		    cfg_decode(cfg, va, &insn) < 0)
			return false;
		if (insn.flags_read & live || (insn.flow != FLOW_NEXT && insn.flow != FLOW_JMP))
			return false;
		/* A sensitive one may deliver an event, with the flags in the saved image: harmless when dead
		 * on the way on, which is what is being found out. PUSHF reads them and was answered above. */
		live &= ~certainly_written(&insn);
		if (!live)
			return true;
		va = insn.flow == FLOW_JMP ? insn.target : va + insn.len;
	}
	return false;
}
