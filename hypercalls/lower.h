// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The one emitter. A patch stub and a translated block are the same thing made at different times: ordinary
 * instructions copied (relative branches re-aimed), sensitive ones lowered by their policy row, in the guest's
 * own mode. Every emitted instruction gets a manifest_point, so that any stub address maps back to the guest.
 *
 * All lowerings are free of side effects on EFLAGS, except POPF, which overwrites them, and STI where the caller
 * has shown the arithmetic flags dead. All memory that a lowering touches besides the guest instruction's own
 * operands is the vCPU page, through %ss.
 */
#ifndef HYPERCALLS_LOWER_H
#define HYPERCALLS_LOWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypercalls/decode.h"
#include "hypercalls/manifest.h"

struct lower {
	/* set by the caller */
	uint32_t hole_base;
	uint8_t *code; /* 32-bit code goes here ... */
	uint32_t code_va;
	size_t code_cap;
	uint8_t *pads; /* ... and landing pads here, ABI_PAD_LEN bytes each */
	uint32_t pads_va;
	size_t pads_cap;
	struct manifest_point *points;
	size_t points_cap;
	/* Where a direct branch to a guest address goes; NULL: to that very address. A window with a branch target
	 * inside has it lead into its stub. The same length comes out whatever it answers. */
	uint32_t (*aim)(const void *ctx, uint32_t guest);
	const void *aim_ctx;
	bool long_code; /* the code is 64-bit code (lower_long.h) */
	bool by_fs;	/* 32-bit code reaches the hole's data by FS, for SS ends below it: user code's blocks */
	/* filled */
	size_t code_len, pads_len, n_points;
	int err; /* of the last run: -ENOSPC, or -EOPNOTSUPP for an instruction that cannot be displaced */
};

/* One guest instruction of the run: its decoding, bytes, and (sensitive ones) the site number for R15D. */
struct lower_insn {
	struct insn insn;
	const uint8_t *bytes;
	uint32_t va;
	uint32_t site; /* MANIFEST_NONE for ordinary instructions */
	bool
	    flags_dead; /* the arithmetic flags after it are written before they are read: a cheaper form will do */
	bool soft;	  /* long blocks: memory is reached through the software TLB */
	bool leaves;	  /* long blocks: the monitor does it, by its site */
	bool exit_only;	  /* %ss may not be flat here: leave through the pad, touch no memory */
	uint32_t pad;	  /* out: its landing pad, or MANIFEST_NONE */
	uint32_t resume;  /* out: code address of what follows it; MANIFEST_NONE if nothing can (IRET) */
	uint32_t start;	  /* out: code address of its first byte */
	uint32_t slow[2]; /* private to the lowering: jumps to its slow paths, not yet aimed */
};

/*
 * Append the run of n instructions and, unless the last one never falls through, a jump to `next` (the guest
 * address behind the run), then the slow paths. Calls may only come last; what stands behind a jump or return is
 * reached by its restart points or by `aim` alone. Returns 0 or l->err; after an error nothing of the run is left
 * in the buffers, and another run may be tried.
 */
int lower_run(struct lower *l, struct lower_insn *insns, size_t n, uint32_t next);

#endif
