// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 8.5: From ring to ring inside the blocks
 *
 * A system call of a program that runs as blocks need not leave them: INT n does what it did the last time, as long as the
 * guest's gate, its descriptors and its TSS are the same, and IRET goes back the same way. The monitor does each for the first
 * time, and whenever something has changed (lower_long_ring.c looks at the guest's tables themselves each time); here is
 * what it has seen, and how it goes into the vCPU page.
 */
#ifndef MONITOR_VMM_LONG_RING_H
#define MONITOR_VMM_LONG_RING_H

#include "monitor/vmm/vm.h"

/* INT `vector` took the vCPU from `cs` and `ss` to where it is now. */
void long_ring_note(struct vm *vm, unsigned vector, const struct segment *cs, const struct segment *ss);

/* Fill the vCPU page's part, for vcpu->cpl; after an exit: what the blocks did of it becomes the guest's. */
void long_ring_enter(struct vm *vm);
void long_ring_leave(struct vm *vm);

/* CS at CPL 0, for user code that may come there by the blocks; NULL when there is no such way. */
const struct segment *long_ring_inner_cs(const struct vm *vm);

#endif
