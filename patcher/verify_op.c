// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The op number in a site decides which handler serves it, so a wrong one is as bad as a wrong stub. The name of
 * an op (its policy row's id) is all that is taken from the table; what each name must look like to LLVM stands
 * here.
 */
#include <string.h>

#include "hypercalls/policy.h"
#include "patcher/verify_check.h"

/*
 * Most ops are named for their mnemonic, give or take an operand-size letter. These are not: several share a
 * mnemonic and differ by operand ('^' anchors at the first one).
 */
/* clang-format off */
static const struct {
	const char *id, *stem, *operand;
} ops[] = {
	{ "OP_CALL_FAR", "lcall", "" },
	{ "OP_JMP_FAR", "ljmp", "" },
	{ "OP_RET_FAR", "lret", "" },
	{ "OP_MOV_FROM_SREG", "mov", "" },
	{ "OP_MOV_TO_SREG", "mov", "" },
	{ "OP_MOV_TO_SS", "mov", "" },
	{ "OP_PUSH_ES", "push", "^%es" },
	{ "OP_PUSH_CS", "push", "^%cs" },
	{ "OP_PUSH_SS", "push", "^%ss" },
	{ "OP_PUSH_DS", "push", "^%ds" },
	{ "OP_PUSH_FS", "push", "^%fs" },
	{ "OP_PUSH_GS", "push", "^%gs" },
	{ "OP_POP_ES", "pop", "^%es" },
	{ "OP_POP_SS", "pop", "^%ss" },
	{ "OP_POP_DS", "pop", "^%ds" },
	{ "OP_POP_FS", "pop", "^%fs" },
	{ "OP_POP_GS", "pop", "^%gs" },
	{ "OP_MOV_FROM_CR0", "mov", "^%cr0" },
	{ "OP_MOV_FROM_CR2", "mov", "^%cr2" },
	{ "OP_MOV_FROM_CR3", "mov", "^%cr3" },
	{ "OP_MOV_FROM_CR4", "mov", "^%cr4" },
	{ "OP_MOV_TO_CR0", "mov", ", %cr0" },
	{ "OP_MOV_TO_CR2", "mov", ", %cr2" },
	{ "OP_MOV_TO_CR3", "mov", ", %cr3" },
	{ "OP_MOV_TO_CR4", "mov", ", %cr4" },
	{ "OP_MOV_FROM_DR", "mov", "^%dr" },
	{ "OP_MOV_TO_DR", "mov", ", %dr" },
};
/* clang-format on */

static char lower(char ch)
{
	return ch >= 'A' && ch <= 'Z' ? ch + ('a' - 'A') : ch;
}

/* `name` is the stem, give or take case and an operand-size suffix. */
static bool stem_matches(const char *stem, const char *name)
{
	for (; *stem; stem++, name++)
		if (lower(*stem) != *name)
			return false;
	return !name[0] || (strchr("bwld", name[0]) && !name[1]);
}

/* A segment register is only the destination of "mov to Sreg", and only the source of "mov from Sreg". */
static bool mov_sreg_matches(const char *id, const char *args)
{
	bool from = args[0] == '%' && args[1] && args[2] == 's' && args[3] == ',';
	bool ss = strstr(args, ", %ss") != NULL;

	if (!strcmp(id, "OP_MOV_FROM_SREG"))
		return from;
	return !from && ss == !strcmp(id, "OP_MOV_TO_SS");
}

bool verify_op_matches(unsigned op, const struct verify_insn *in)
{
	const char *id = policy_get(op)->id;

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		const char *want = ops[i].operand;

		if (strcmp(ops[i].id, id))
			continue;
		if (!stem_matches(ops[i].stem, in->name))
			return false;
		if (!want[0] && ops[i].stem[0] == 'm')
			return mov_sreg_matches(id, in->args);
		return want[0] == '^' ? !strncmp(in->args, want + 1, strlen(want + 1))
				      : strstr(in->args, want) != NULL;
	}
	return strlen(id) > 3 && stem_matches(id + 3, in->name);
}
