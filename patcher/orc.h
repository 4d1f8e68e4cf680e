// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * ORC, the unwind tables of x86-64 Linux (arch/x86/include/asm/orc_types.h): for each stretch of code where the
 * caller's stack pointer and BP are found, or where its saved registers are. .orc_unwind_ip holds the addresses,
 * .orc_unwind an entry of six bytes for each. The table changes no plan; a site shows what it says (context.h).
 */
#ifndef PATCHER_ORC_H
#define PATCHER_ORC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum orc_type {
	ORC_NO_ENTRY,	  /* the address stands before all entries */
	ORC_UNDEFINED,	  /* an entry that says that there is nothing to say */
	ORC_END_OF_STACK, /* nothing called this: entry code, the first function of a thread */
	ORC_CALL,	  /* the frame of a function */
	ORC_REGS,	  /* struct pt_regs stands where SP points */
	ORC_REGS_PARTIAL, /* only what the CPU pushed on an interrupt */
	ORC_INVALID,	  /* a register or type that Linux does not have */
};

struct orc_frame {
	uint8_t type;		/* enum orc_type */
	uint8_t sp_reg, bp_reg; /* ORC_REG_* of Linux */
	bool signal;		/* the address is an interrupted instruction, not a return address */
	int16_t sp_offset, bp_offset;
};

struct orc;

/* What the table says of the instruction at va. */
struct orc_frame orc_at(const struct orc *orc, uint64_t va);
/* "call", "regs (partial)", "end of stack", ...: as objtool calls them */
const char *orc_type_name(const struct orc_frame *f);
/* "sp+16", "(bp-8)": where the caller's SP, or the registers, are; "" where the type has none. Returns buf. */
const char *orc_sp(const struct orc_frame *f, char *buf, size_t cap);
/* "prevsp-16": where the caller's BP is; "" where it still is in BP or is not known. Returns buf. */
const char *orc_bp(const struct orc_frame *f, char *buf, size_t cap);
#define ORC_PLACE_MAX 24
/* One sentence for people. */
void orc_describe(const struct orc_frame *f, char *buf, size_t cap);
void orc_free(struct orc *orc);

#endif
