// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Host signals taken in guest code: which exception the hardware raised, and what it means to the guest.
 */
#ifndef MONITOR_VMM_TRAP_H
#define MONITOR_VMM_TRAP_H

#include "monitor/vmm/vm.h"

/*
 * Handle the signal in vmm_state.world; vcpu->eip is the guest address of the instruction, run_collect() is done.
 * 0: go on at vcpu->eip; -EFAULT: an exception is raised; -ECANCELED: the VM was stopped.
 */
int trap_handle(struct vm *vm);

#endif
