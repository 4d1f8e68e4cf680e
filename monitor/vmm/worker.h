// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 5.3: A process for each address space
 *
 * Workers: one process per guest address space, and the baton that says which of them is the vCPU now. A worker
 * is to the vCPU what a PCID-tagged TLB context is on hardware: it keeps its mappings while another runs, and
 * catches up with the invalidation log when the baton comes back.
 */
#ifndef MONITOR_VMM_WORKER_H
#define MONITOR_VMM_WORKER_H

#include "monitor/vmm/vm.h"

struct worker;

/* This process's worker; its index is worker_index(). */
struct worker *worker_self(void);
unsigned worker_index(void);
void worker_set_self(unsigned index);

/* Log an invalidation for the other workers; the caller has already applied it here. */
void worker_log(struct vm *vm, unsigned kind, uint32_t addr);

/*
 * The guest loaded CR3 (vcpu->cr3 is the new value): choose the worker that stands for that address space, or make
 * the least recently used one stand for it. The baton goes over at the next worker_park(), when the current
 * instruction is done with the vCPU.
 */
void worker_switch(struct vm *vm);

/*
 * Top of the main loop: hand the baton over if another worker was chosen, wait until it is (back) here, and replay the
 * log. Returns at once when it is here and stays.
 */
void worker_park(struct vm *vm);

#endif
