// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The shadow MMU's invalidation log. A view is live while the guest may go by it: the window of the worker that is the
 * vCPU, its low view while it stands for the loaded CR3, the software TLB of the loaded CR3. The others keep what they
 * have, as the entries of a PCID outlive a CR3 load on hardware, and hear of what happened when they are live again.
 */
#include "monitor/vmm/shadow_internal.h"

static void replay(struct vm *vm, const struct log_entry *e)
{
	switch (e->kind) {
	case LOG_INVLPG:
		shadow_invlpg_view(vm, gva(e->addr));
		break;
	case LOG_FLUSH_ALL:
		shadow_validate_view(vm, true);
		break;
	case LOG_PROTECT:
		shadow_protect_view(vm, e->addr);
		break;
	}
}

/* The view that is looked at was not live for a while. With the long engine only writable pages can be wrong by then. */
static void catch_up(struct vm *vm)
{
	const struct vmm_state *st = vm->vmm;
	struct shadow *s = self();
	bool protect = false;

	if (st->log_head - s->log_seen > LOG_SIZE || s->mmu_mode != (uint32_t)paging_mode(&vm->vcpu) ||
	    (s->n_wp0 && (vm->vcpu.cr0 & CR0_WP)))
		shadow_flush_view(vm);
	while (s->log_seen < st->log_head) {
		const struct log_entry *e = &st->log[s->log_seen++ % LOG_SIZE];

		if (e->kind == LOG_PROTECT && vm_long(vm))
			protect = true;
		else
			replay(vm, e);
	}
	if (protect)
		shadow_protect_written(vm);
}

void shadow_log(struct vm *vm, enum log_kind kind, uint32_t addr)
{
	struct vmm_state *st = vm->vmm;
	const struct log_entry e = {kind, addr};

	st->log[st->log_head++ % LOG_SIZE] = e;
	FOR_EACH_VIEW(vm) {
		if (self()->log_seen + 1 != st->log_head)
			continue; /* it has older ones to hear of first */
		self()->log_seen++;
		replay(vm, &e);
	}
}

void shadow_load_cr3(struct vm *vm)
{
	bool globals =
	    !(vm->vcpu.cr4 & CR4_PGE); /* G counts only under PGE, also for what was mapped before */

	FOR_EACH_VIEW(vm) {
		catch_up(vm);
		shadow_validate_view(vm, globals);
	}
}
