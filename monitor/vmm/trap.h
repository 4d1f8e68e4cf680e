// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 4.3: Traps
 *
 * Host signals taken in guest code: which exception the hardware raised, and what it means to the guest. A #PF may be a page
 * that the shadow MMU has yet to map, or the guest's own; a #GP may come of a shadow selector where the guest's would
 * have been valid, of a segment truncated for user code, of a privileged instruction that no stub serves, or be the
 * guest's own. So each is first asked whether it is the monitor's doing; what remains is injected, with the error code that
 * real hardware would give at the guest's CPL. A trap in a stub is mapped back to the guest instruction that the stub's
 * point names, finished or rolled back first.
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
