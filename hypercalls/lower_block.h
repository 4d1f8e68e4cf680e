// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 6.3: A block's shape
 *
 * Translated blocks: the emitter's form for code whose surroundings are not known to be safe. Instructions come
 * out as in a stub (lower.h); what differs is that control never reaches the guest's own code by itself. Every
 * direct branch leads to an exit of the block, which the translator may later aim at another block; indirect
 * branches and returns go through a lookup table.
 */
#ifndef HYPERCALLS_LOWER_BLOCK_H
#define HYPERCALLS_LOWER_BLOCK_H

#include "hypercalls/lower.h"

/* A way out of a block by a direct branch, or by running off its end. */
struct lower_exit {
	uint32_t guest; /* where it goes */
	uint32_t jump;	/* address of the rel32 that leads to it: aim that elsewhere to chain */
	uint32_t stub; /* what the rel32 aims at when the block comes out: code that leaves for the monitor */
	uint32_t site; /* R15D of its landing pad */
};

struct lower_exits {
	struct lower_exit *exit;
	size_t n, cap;
	uint32_t next_site; /* numbers its pads from here */
	/* Routines that lower_lookup() made: for calls and jumps, for returns. They differ in their sites. */
	uint32_t lookup, lookup_return;
	uint32_t soft; /* what lower_long_soft_miss() made */
	uint32_t split; /* long blocks: linear addresses from here on are the kernel's, and in no software TLB */
};

/* One slot of the lookup table; the slot is the low 16 bits of the guest address. */
struct lower_slot {
	uint32_t minus_guest; /* 0 - guest address */
	uint32_t code;
};
#define LOWER_SLOTS 65536

/*
 * The shared end of every indirect branch: finds the guest address in ECX in the table and jumps to its code, or
 * stores it in VCPU_TARGET and leaves through a pad of number `site`. ECX comes from VCPU_SCRATCH0. Returns its
 * address; 0 when the buffers are full.
 */
uint32_t lower_lookup(struct lower *l, uint32_t table, uint32_t site);

/* What the instruction does to the block being gathered. */
enum lower_shape {
	LOWER_GOES_ON, /* the next instruction may follow it in the block */
	LOWER_ENDS,    /* nothing follows it */
	LOWER_ALONE,   /* has no form in a block: execute it by itself */
};
enum lower_shape lower_block_shape(const struct insn *insn);

/*
 * Append a block of n > 0 instructions. Those of shape LOWER_ENDS come last; sensitive ones have their `site` set.
 * Errors as lower_run().
 */
int lower_block(struct lower *l, struct lower_insn *insns, size_t n, struct lower_exits *x);

#endif
