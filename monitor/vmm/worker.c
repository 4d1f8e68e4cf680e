// SPDX-License-Identifier: GPL-3.0-or-later
/* See worker.h. */
#include "monitor/vmm/worker.h"

#include "monitor/vmm/host.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/shadow.h"
#include "monitor/vmm/soft.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/world.h"

static unsigned self_index; /* private to each process */

struct worker *worker_self(void)
{
	return &VM->vmm->workers[self_index];
}

unsigned worker_index(void)
{
	return self_index;
}

void worker_set_self(unsigned index)
{
	self_index = index;
}

void worker_log(struct vm *vm, unsigned kind, uint32_t addr)
{
	struct vmm_state *s = vm->vmm;

	if (vm->cfg.n_workers > 1)
		s->log[s->log_head++ % LOG_SIZE] = (struct log_entry){kind, addr};
}

/* Catch up with what others logged while this worker slept. */
static void replay(struct vm *vm)
{
	struct vmm_state *s = vm->vmm;
	struct worker *w = worker_self();

	if (s->log_head - w->log_seen > LOG_SIZE || w->mmu_mode != (uint32_t)paging_mode(&vm->vcpu)) {
		shadow_flush(vm);
		w->mmu_mode = paging_mode(&vm->vcpu);
		w->log_seen = s->log_head;
	}
	for (; w->log_seen < s->log_head; w->log_seen++) {
		const struct log_entry *e = &s->log[w->log_seen % LOG_SIZE];

		switch (e->kind) {
		case LOG_INVLPG:
			shadow_invlpg(vm, gva(e->addr));
			break;
		case LOG_FLUSH_ALL:
			shadow_validate_all(vm);
			break;
		case LOG_PROTECT:
			shadow_protect(vm, e->addr);
			break;
		}
	}
}

static unsigned choose(struct vm *vm, uint64_t root)
{
	struct vmm_state *s = vm->vmm;
	unsigned oldest = 0;

	for (unsigned i = 0; i < vm->cfg.n_workers; i++) {
		if (s->workers[i].root == root)
			return i;
		if (s->workers[i].last_use < s->workers[oldest].last_use)
			oldest = i;
	}
	return oldest;
}

void worker_switch(struct vm *vm)
{
	struct vmm_state *s = vm->vmm;
	uint64_t root = vm->vcpu.cr3 & ~0x1full;
	unsigned to = choose(vm, root);

	if (s->workers[to].root != root)
		soft_start(vm, &s->workers[to]);
	s->workers[to].root = root;
	s->workers[to].last_use = ++s->baton_seq;
	s->next_worker = to;
	if (to == self_index)
		shadow_load_cr3(vm);
}

/* From here on the arena is the other's: nothing of the vCPU may be touched. */
static void hand_over(struct vm *vm, unsigned to)
{
	worker_self()->log_seen = vm->vmm->log_head;
	world_fpu_guard();
	vm->stats.baton_passes++;
	vm->stats.host_futex++;
	atomic_store(&vm->shared.owner, to);
	atomic_store(&vm->shared.worker[to].wake, 1);
	host_futex_wake(&vm->shared.worker[to].wake);
}

void worker_park(struct vm *vm)
{
	_Atomic uint32_t *wake = &vm->shared.worker[self_index].wake;

	if (atomic_load(&vm->shared.owner) == self_index) {
		if (vm->vmm->next_worker == self_index)
			return;
		hand_over(vm, vm->vmm->next_worker);
	}
	while (atomic_exchange(wake, 0) == 0 || atomic_load(&vm->shared.owner) != self_index)
		host_futex_wait(wake, 0, NULL);
	vm->vmm->hw_valid = 0; /* this process's LDT is its own */
	replay(vm);
	if (vm->vcpu.cr0 & CR0_WP) /* set while another had the baton, perhaps */
		shadow_set_wp(vm);
	shadow_load_cr3(vm);
}
