// SPDX-License-Identifier: GPL-3.0-or-later
/* See mmu.h. SDM 3A 4.10.4.1 (operations that invalidate), 2.5 (checks on CR0 and CR4). */
#include "monitor/vmm/mmu.h"

#include <errno.h>

#include "monitor/vmm/gmem.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/shadow.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/translate.h"
#include "monitor/vmm/worker.h"

static int gp0(struct vm *vm)
{
	return vcpu_raise(&vm->vcpu, EXC_GP, true, 0);
}

/* The meaning of every table may have changed. */
static void mode_changed(struct vm *vm)
{
	gmem_forget(vm);
	vm->vmm->loaded_cr3 = vm->vcpu.cr3;
	worker_settle(vm);
	shadow_flush(vm);
	shadow_log(vm, LOG_FLUSH_ALL, 0);
	translate_forget_mappings(vm);
}

int mmu_set_cr0(struct vm *vm, uint32_t value)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t old = v->cr0, changed;

	value |= CR0_ET;
	changed = old ^ value;
	if (((value & CR0_PG) && !(value & CR0_PE)) || ((value & CR0_NW) && !(value & CR0_CD)))
		return gp0(vm);
	if ((changed & value & CR0_PG) && (v->cr4 & CR4_PAE) && paging_load_pdptes(vm, v->cr3) < 0)
		return -EFAULT;
	v->cr0 = value;
	if (changed & (CR0_PG | CR0_PE))
		mode_changed(vm);
	else if (changed & value & CR0_WP)
		shadow_set_wp(vm);
	return 0;
}

int mmu_set_cr3(struct vm *vm, uint32_t value)
{
	struct vcpu *v = &vm->vcpu;

	if ((v->cr0 & CR0_PG) && (v->cr4 & CR4_PAE) && paging_load_pdptes(vm, value) < 0)
		return -EFAULT;
	v->cr3 = value;
	if (v->cr0 & CR0_PG)
		mmu_load_cr3(vm);
	return 0;
}

void mmu_load_cr3(struct vm *vm)
{
	vm->vmm->loaded_cr3 = vm->vcpu.cr3;
	gmem_forget(vm);
	if (vm->vmm->code.alias_active)
		shadow_alias(vm, false);
	translate_check_mappings(vm, false);
	worker_switch(vm);
}

int mmu_set_cr4(struct vm *vm, uint32_t value)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t changed = v->cr4 ^ value;

	if ((v->cr0 & CR0_PG) && (value & CR4_PAE) && (changed & (CR4_PAE | CR4_PGE | CR4_PSE)) &&
	    paging_load_pdptes(vm, v->cr3) < 0)
		return -EFAULT;
	v->cr4 = value;
	if ((v->cr0 & CR0_PG) && (changed & (CR4_PAE | CR4_PSE))) {
		mode_changed(vm);
	} else if (changed & CR4_PGE) {
		/* It compares CR4 at a look-up, and there may be none before PGE is set again. */
		gmem_forget(vm);
		shadow_log(vm, LOG_FLUSH_ALL, 0);
		translate_check_mappings(vm, true);
	}
	return 0;
}

static void invalidate(struct vm *vm, struct gva at)
{
	vm->vmm->cached[at.a >> PAGE_SHIFT] = 0; /* who keeps it nevertheless notes it again */
	gmem_forget_page(vm, at);
	shadow_log(vm, LOG_INVLPG, at.a);
	translate_invlpg(vm, at);
}

/*
 * Kernels take pages away in runs. Of what is behind this one and went with it (drop_run()), or is only known to have been
 * there, nothing more is to be heard: a TLB may forget at any time.
 */
void mmu_invlpg(struct vm *vm, struct gva at)
{
	uint32_t page = at.a >> PAGE_SHIFT;

	invalidate(vm, at);
	for (unsigned n = 1; n < INVLPG_RUN && page + n < sizeof(vm->vmm->cached) && vm->vmm->cached[page + n]; n++) {
		struct gva next = gva((page + n) << PAGE_SHIFT);

		if (shadow_maps(vm, next))
			break;
		invalidate(vm, next);
	}
}
