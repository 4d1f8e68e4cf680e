// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 5.3: Processes with mappings of their own
 *
 * Workers: processes, each with mappings for one guest address space, and the baton that says which of them is the vCPU
 * now. A worker is to the vCPU what a PCID-tagged TLB context is on hardware: it keeps its mappings while another runs.
 * Where user code goes by a software TLB (soft.h), any worker will do, and the baton stays.
 */
#ifndef MONITOR_VMM_WORKER_H
#define MONITOR_VMM_WORKER_H

#include "monitor/vmm/vm.h"

struct worker;

/* This process's worker; its index is worker_index(). */
struct worker *worker_self(void);
unsigned worker_index(void);
void worker_set_self(unsigned index);

/* Does it stand for the loaded CR3? */
bool worker_is_home(const struct vm *vm);

/*
 * The guest loaded CR3: its address space is the present one, and where its user code has mappings, the worker that stands
 * for it is to be the vCPU. The baton goes over at the next worker_park(), when the current instruction is done with the
 * vCPU.
 */
void worker_switch(struct vm *vm);
/* The worker that stands for the present address space is to be the vCPU; the least recently used one if there is none. */
void worker_go_home(struct vm *vm);
/* The meaning of CR3 changed: this worker stands for the address space, whichever had it before. */
void worker_settle(struct vm *vm);

/*
 * Top of the main loop: hand the baton over if another worker was chosen, wait until it is (back) here, and catch up.
 * Returns at once when it is here and stays.
 */
void worker_park(struct vm *vm);

#endif
