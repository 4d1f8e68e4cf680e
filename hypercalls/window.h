// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What a window may hold, as far as one instruction tells: asked by the patcher's planner, by whoever carries out a
 * module's plan, and by the monitor where it plans itself. Whether the emitter can displace it only the emitter knows.
 */
#ifndef HYPERCALLS_WINDOW_H
#define HYPERCALLS_WINDOW_H

#include <stdbool.h>

#include "hypercalls/decode.h"

#define JUMP_LEN 5 /* jmp rel32 */
#define INT3 0xcc

/* Does the guest come back to what stands behind it? A return address must not lie inside a window. */
static inline bool window_is_call(const struct insn *i)
{
	return i->flow == FLOW_CALL || i->flow == FLOW_CALL_IND || i->flow == FLOW_FAR_CALL;
}

/* Does a window end with it at the latest? */
static inline bool window_ends(const struct insn *i)
{
	return window_is_call(i) || (i->flow != FLOW_NEXT && i->flow != FLOW_JCC && i->flow != FLOW_LOOP);
}

static inline bool window_is_int3(const struct insn *i)
{
	return i->map == 0 && i->opcode == INT3;
}

/*
 * Exception handlers of guests read these at the faulting address to tell what happened: Linux looks for ud2 before
 * it believes in a BUG or WARN, and kprobes, finding no int3, backs up and tries again for ever. They stay where they
 * are; both trap.
 */
static inline bool window_is_read_by_handlers(const struct insn *i)
{
	return i->flow == FLOW_STOP || window_is_int3(i);
}

#endif
