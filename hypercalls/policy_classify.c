// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Which row of sensitive.def an instruction belongs to: by mnemonic, operand form and code width.
 *
 * Most mnemonics are sensitive in every form or in none. A few are both (MOV, PUSH, POP, CALL, JMP, RET);
 * form_of() tells their forms apart by the opcode, and an ordinary form leaves before any row is looked at,
 * because they are a third of all instructions.
 */
#include "hypercalls/policy_classify.h"

#include <Zydis/Mnemonic.h>

#include "hypercalls/policy.h"

enum form {
	FORM_ANY,
	FORM_ORDINARY, /* of a mnemonic that has sensitive forms, but not one of them */
	FORM_FAR,
	FORM_FROM_SREG,
	FORM_TO_SREG,
	FORM_TO_SS,
	FORM_SREG_ES, /* PUSH and POP, in enum seg order */
	FORM_SREG_CS,
	FORM_SREG_SS,
	FORM_SREG_DS,
	FORM_SREG_FS,
	FORM_SREG_GS,
	FORM_FROM_CR0, /* by number of the register */
	FORM_FROM_CR2 = FORM_FROM_CR0 + 2,
	FORM_FROM_CR3,
	FORM_FROM_CR4,
	FORM_FROM_CR8 = FORM_FROM_CR0 + 8,
	FORM_TO_CR0 = FORM_FROM_CR0 + 16,
	FORM_TO_CR2 = FORM_TO_CR0 + 2,
	FORM_TO_CR3,
	FORM_TO_CR4,
	FORM_TO_CR8 = FORM_TO_CR0 + 8,
	FORM_FROM_DR = FORM_TO_CR0 + 16,
	FORM_TO_DR,
	FORM_NO_REP, /* Zydis 4.0 knows WBNOINVD only as WBINVD with F3 */
	FORM_REP,
};

struct key {
	uint16_t mnemonic;
	uint8_t form;
	uint8_t widths;
};

static const struct key keys[OP_COUNT] = {
#define SENSITIVE(id, key, match, mnemonic, form, widths, ...)                                               \
	[id] = {ZYDIS_MNEMONIC_##key, FORM_##match, widths},
#include "hypercalls/sensitive.def"
#undef SENSITIVE
};

/*
 * The last row of each mnemonic; the others stand right before it. Several rows initialise one element here,
 * and the last one wins by C11 6.7.9p19: that is the point.
 */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
static const uint16_t last_row[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
#define SENSITIVE(id, key, ...) [ZYDIS_MNEMONIC_##key] = id,
#include "hypercalls/sensitive.def"
#undef SENSITIVE
};
#pragma GCC diagnostic pop

/* Zydis names some instructions by operand size; the table knows one name for each. */
static unsigned fold_mnemonic(unsigned mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_PUSHFD:
	case ZYDIS_MNEMONIC_PUSHFQ:
		return ZYDIS_MNEMONIC_PUSHF;
	case ZYDIS_MNEMONIC_POPFD:
	case ZYDIS_MNEMONIC_POPFQ:
		return ZYDIS_MNEMONIC_POPF;
	case ZYDIS_MNEMONIC_IRETD:
	case ZYDIS_MNEMONIC_IRETQ:
		return ZYDIS_MNEMONIC_IRET;
	case ZYDIS_MNEMONIC_INSW:
	case ZYDIS_MNEMONIC_INSD:
		return ZYDIS_MNEMONIC_INSB;
	case ZYDIS_MNEMONIC_OUTSW:
	case ZYDIS_MNEMONIC_OUTSD:
		return ZYDIS_MNEMONIC_OUTSB;
	case ZYDIS_MNEMONIC_XRSTOR64:
		return ZYDIS_MNEMONIC_XRSTOR;
	case ZYDIS_MNEMONIC_XRSTORS64:
		return ZYDIS_MNEMONIC_XRSTORS;
	case ZYDIS_MNEMONIC_XSAVES64:
		return ZYDIS_MNEMONIC_XSAVES;
	case ZYDIS_MNEMONIC_WRUSSQ:
		return ZYDIS_MNEMONIC_WRUSSD;
	default:
		return mnemonic;
	}
}

static enum form mov_form(const struct insn *insn)
{
	if (insn->map == 0 && insn->opcode == 0x8c)
		return FORM_FROM_SREG;
	if (insn->map == 0 && insn->opcode == 0x8e)
		return (insn->reg & 7) == SEG_SS ? FORM_TO_SS : FORM_TO_SREG;
	if (insn->map != 1)
		return FORM_ORDINARY;
	switch (insn->opcode) {
	case 0x20:
		return FORM_FROM_CR0 + insn->reg;
	case 0x21:
		return FORM_FROM_DR;
	case 0x22:
		return FORM_TO_CR0 + insn->reg;
	case 0x23:
		return FORM_TO_DR;
	default:
		return FORM_ORDINARY;
	}
}

/* 06 0E 16 1E and 0F A0, 0F A8 push, the odd one after each pops: bits 5:3 hold the segment register. */
static enum form stack_form(const struct insn *insn)
{
	bool sreg = insn->map == 0 ? insn->opcode < 0x20 : insn->map == 1;

	return sreg ? FORM_SREG_ES + (insn->opcode >> 3 & 7) : FORM_ORDINARY;
}

static enum form form_of(const struct insn *insn, unsigned mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
		return mov_form(insn);
	case ZYDIS_MNEMONIC_PUSH:
	case ZYDIS_MNEMONIC_POP:
		return stack_form(insn);
	case ZYDIS_MNEMONIC_CALL:
	case ZYDIS_MNEMONIC_JMP:
	case ZYDIS_MNEMONIC_RET:
		return insn->flow == FLOW_FAR || insn->flow == FLOW_FAR_CALL ? FORM_FAR : FORM_ORDINARY;
	case ZYDIS_MNEMONIC_WBINVD:
		return insn->prefixes & INSN_REP ? FORM_REP : FORM_NO_REP;
	default:
		return FORM_ANY;
	}
}

uint16_t policy_classify(const struct insn *insn)
{
	unsigned mnemonic = fold_mnemonic(insn->mnemonic), width = insn->width / 16;
	uint16_t row = last_row[mnemonic];
	enum form form;

	_Static_assert(WIDTH_16 == 16 / 16 && WIDTH_32 == 32 / 16 && WIDTH_64 == 64 / 16, "policy.h");
	if (!row)
		return OP_NONE;
	form = form_of(insn, mnemonic);
	if (form == FORM_ORDINARY)
		return OP_NONE;
	for (; keys[row].mnemonic == mnemonic; row--)
		if (keys[row].form == form && keys[row].widths & width)
			return row;
	return OP_NONE;
}
