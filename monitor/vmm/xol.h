// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 6.5: One instruction at a time
 *
 * Execution out of line: one guest instruction at a time, for code that may not run directly. Branches are computed
 * here, sensitive instructions go to their handlers, and everything else runs natively from a copy in the hole with
 * a landing pad behind it, so that no instruction semantics are written a second time. An operand that the host
 * cannot map (no RAM, page 0) is redirected to a bounce page.
 *
 * It is what keeps unverified code correct; the price is about half a microsecond an instruction.
 */
#ifndef MONITOR_VMM_XOL_H
#define MONITOR_VMM_XOL_H

#include "hypercalls/decode.h"
#include "monitor/vmm/vm.h"

#define XOL_SITE 0xfffffff0u /* R15D of its landing pad */

/* Write the parts of the slot that do not change; once. */
void xol_init(struct vm *vm);

/*
 * Execute the instruction at vcpu->eip. 0, -EFAULT with an exception raised, -ECANCELED after vm_stop(), -EAGAIN when
 * it was interrupted and must be tried again.
 */
int xol_step(struct vm *vm);
/* The same for an instruction already fetched. */
int xol_execute(struct vm *vm, const struct insn *insn, const uint8_t *bytes);
/* The same with its memory operand redirected, after its access at a place that the host cannot map. */
int xol_redirect(struct vm *vm);

/* Is a raw EIP inside the slot? */
bool xol_contains(const struct vm *vm, uint32_t raw);
/* Is it, inside the slot, the landing pad, where the instruction is done? */
bool xol_is_pad(const struct vm *vm, uint32_t raw);

#endif
