// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What writing a control register does to translation: which shadow entries to look at again, here and (by the log)
 * in the other workers. Handlers return these functions' result: EMU_NEXT, or -EFAULT with #GP raised.
 */
#ifndef MONITOR_VMM_MMU_H
#define MONITOR_VMM_MMU_H

#include "monitor/vmm/vm.h"

int mmu_set_cr0(struct vm *vm, uint32_t value);
int mmu_set_cr3(struct vm *vm, uint32_t value);
int mmu_set_cr4(struct vm *vm, uint32_t value);
void mmu_invlpg(struct vm *vm, struct gva at);

/* CR3 was loaded with vcpu->cr3: by MOV, or by a task switch. */
void mmu_load_cr3(struct vm *vm);

#endif
