// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 5.0: Memory
 *
 * The guest's page tables are ordinary guest RAM, and the processor never sees them. A page of guest RAM (one memfd) is
 * mapped into the worker when the guest first touches it: the host's page fault walks the guest's tables, sets their A and
 * D bits and makes the mapping, or becomes the guest's own #PF. So the worker's host page tables are the guest's TLB: what
 * they hold may be stale exactly as long as a TLB's entry may, and is forgotten when the guest does what flushes a TLB.
 *
 * What writing a control register does to translation: which shadow entries to look at again, here and (by the log)
 * in the other workers. Handlers return these functions' result: EMU_NEXT, or -EFAULT with #GP raised.
 */
#ifndef MONITOR_VMM_MMU_H
#define MONITOR_VMM_MMU_H

#include "monitor/vmm/mem.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/vm.h"

int mmu_set_cr0(struct vm *vm, uint32_t value);
int mmu_set_cr3(struct vm *vm, uint32_t value);
int mmu_set_cr4(struct vm *vm, uint32_t value);
void mmu_invlpg(struct vm *vm, struct gva at);

/*
 * Who keeps a translation of these linear pages (a view of the shadow MMU, gmem's TLB, blocks by the page that they are bound
 * to) says so here: INVLPG of any other page is left out by the blocks of the long engine. A view that is not live when the
 * page is invalidated hears of it later, and if it keeps its entry then, says so again.
 */
static inline void mmu_note_cached(struct vm *vm, uint32_t page, uint32_t n)
{
	mem_set(&vm->vmm->cached[page], 1, n);
}

/* CR3 was loaded with vcpu->cr3: by MOV, or by a task switch. */
void mmu_load_cr3(struct vm *vm);

#endif
