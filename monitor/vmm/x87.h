// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The x87's pointers to its last instruction and to that one's operand (SDM 1 8.1.8). FNSTENV, FNSAVE, FXSAVE and XSAVE
 * store them, and then they are to be the guest's: not an address in a block or in the slot of execution out of line.
 *
 * What the registers hold may be ours as long as it is not stored: instructions that store it are executed out of line, or
 * looked at behind (lower_long_checks_x87()). Selectors are stored as 0, as CPUID announces: a 64-bit host forgets
 * them at each switch of tasks. Hosts that store no pointers without an exception pending (AMD's FXSAVE and XSAVE) also
 * forget them at a signal.
 */
#ifndef MONITOR_VMM_X87_H
#define MONITOR_VMM_X87_H

#include "hypercalls/decode.h"
#include "monitor/vmm/vm.h"

/* Before they are stored, or before the blocks go that they may lead into. */
void x87_settle(struct vm *vm);
/* The instruction in front of vcpu->eip was executed out of line. */
void x87_executed(struct vm *vm, const struct insn *insn);

#endif
