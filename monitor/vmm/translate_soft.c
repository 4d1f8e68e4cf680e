// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Which CPL 0 instructions reach user memory (soft.h): nothing in their bytes tells, so each is learned when it faults in
 * the window for the first time. A kernel has some hundreds of them.
 */
#include "monitor/vmm/paging.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/translate_state.h"

static uint32_t *slot_of(struct translate *t, uint32_t eip)
{
	uint32_t i = (eip ^ eip >> 13) % SOFT_EIPS;

	while (t->soft_eip[i] && t->soft_eip[i] != eip)
		i = (i + 1) % SOFT_EIPS;
	return &t->soft_eip[i];
}

bool soft_eip(const struct vm *vm, uint32_t eip)
{
	return vm->cfg.soft && *slot_of(vm->vmm->translate, eip);
}

bool soft_learn(struct vm *vm, struct gva at)
{
	struct translate *t = vm->vmm->translate;
	uint32_t eip = vm->vcpu.eip, page;
	struct walk w;

	if (!vm->cfg.soft || vm->vcpu.cpl == 3 || !vm->vmm->in_block || at.a >= vm->cfg.kernel_split || soft_eip(vm, eip) ||
	    t->n_soft_eips == SOFT_EIPS / 2)
		return false;
	if (paging_walk(vm, at, 0, &w) < 0 || !w.user)
		return false;
	*slot_of(t, eip) = eip;
	t->n_soft_eips++;
	page = t->by_linear[eip >> PAGE_SHIFT];
	if (page)
		cache_drop_blocks(vm, t->page[page].pfn);
	return true;
}
