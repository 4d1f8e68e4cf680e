// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 8.2: What 64-bit mode lacks
 *
 * Unprivileged instructions whose semantics stand here in C, for hosts that run 64-bit code only: xol.c runs a copy of
 * everything that means the same as 64-bit code, and asks here for what does not: what 64-bit mode lacks (BCD, BOUND,
 * PUSHA, SALC), and stacks, strings and operands in segments that are not flat or behind 16-bit addresses.
 *
 * Semantics: SDM 2A to 2D, instruction by instruction. Flags that the manual leaves undefined stay as they were, except
 * that logic operations clear AF, as processors do.
 */
#ifndef MONITOR_VMM_INTERPRET_H
#define MONITOR_VMM_INTERPRET_H

#include "hypercalls/decode.h"
#include "monitor/vmm/vm.h"

#define INTERPRET_ELEMENTS 1024 /* a REP string instruction does at most so many in one call */

/* Does interpret() know the instruction? */
bool interpret_can(const struct insn *insn);

/*
 * Execute insn, which stands at vcpu->eip: its memory goes through the segments and page tables of the guest, with the
 * rights of CPL. 0: eip is behind it (or still at it, counters advanced, when a REP has more to do), and the shadow of
 * STI or MOV SS is over. -EFAULT: an exception is raised and nothing of the guest's state changed, but for the elements
 * that a REP had done. -ECANCELED after vm_stop(), as when interpret_can() says no.
 */
int interpret(struct vm *vm, const struct insn *insn);

#endif
