// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The rows of sensitive.def as a table, and the names of the enumerations of policy.h.
 */
#include "hypercalls/policy.h"

#include <assert.h>

static const struct policy rows[OP_COUNT] = {
    [OP_NONE] = {.id = "OP_NONE", .mnemonic = "", .form = "", .reason = "", .manual = "", .meaning = ""},
/* clang-format off */
#define SENSITIVE(id_, key_, match_, mnemonic_, form_, widths_, class_, hypercall_, lowering_, reason_, manual_, \
		  meaning_, ...) \
	[id_] = { .id = #id_, .mnemonic = mnemonic_, .form = form_, .widths = widths_, .cls = class_, \
		  .hypercall = hypercall_, .lowering = lowering_, .reason = reason_, .manual = manual_, \
		  .meaning = meaning_, .sample_len = sizeof((const uint8_t[]){ __VA_ARGS__ }), \
		  .sample = { __VA_ARGS__ } },
#include "hypercalls/sensitive.def"
#undef SENSITIVE
    /* clang-format on */
};

const struct policy *policy_get(unsigned op)
{
	assert(op < OP_COUNT);
	return &rows[op];
}

const char *policy_class_name(unsigned cls)
{
	static const char *const names[] = {
	    [CLASS_NONE] = "none",
	    [CLASS_PRIVILEGED] = "privileged",
	    [CLASS_NEVER_TRAPS] = "never-traps",
	    [CLASS_HOST_CONFIG] = "host-config",
	    [CLASS_BY_OPERAND] = "by-operand",
	};

	assert(cls < sizeof(names) / sizeof(*names));
	return names[cls];
}

const char *hypercall_name(unsigned hypercall)
{
	static const char *const names[HC_COUNT] = {
#define HYPERCALL(id, name, summary) [id] = #name,
#include "hypercalls/hypercall.def"
#undef HYPERCALL
	};

	assert(hypercall < HC_COUNT);
	return names[hypercall];
}

const char *lowering_name(unsigned lowering)
{
	static const char *const names[] = {
	    [LOWER_VERBATIM] = "verbatim", [LOWER_EXIT] = "exit",	[LOWER_CLI] = "cli",
	    [LOWER_STI] = "sti",	   [LOWER_PUSHF] = "pushf",	[LOWER_POPF] = "popf",
	    [LOWER_SEG_READ] = "seg-read", [LOWER_CR_READ] = "cr-read",
	};

	assert(lowering < sizeof(names) / sizeof(*names));
	return names[lowering];
}

bool policy_is_replaced(unsigned op)
{
	return policy_get(op)->lowering != LOWER_VERBATIM;
}

bool policy_may_not_trap(unsigned op)
{
	const struct policy *p = policy_get(op);

	return p->cls > CLASS_PRIVILEGED && p->lowering != LOWER_VERBATIM;
}
