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

static uint64_t present_root(const struct vm *vm)
{
	return vm->vmm->loaded_cr3 & ~0x1full;
}

bool worker_is_home(const struct vm *vm)
{
	return !vm->cfg.soft || worker_self()->root == present_root(vm);
}

/* Has the address space mappings that another one would push out of its worker? */
static bool is_mapped(const struct vm *vm, uint64_t root)
{
	for (unsigned i = 0; i < SOFT_SPACES; i++)
		if (vm->vmm->space[i].root == root)
			return vm->vmm->space[i].mapped;
	return false;
}

/* Its worker; else the present one, whose view of guest memory is warm, where that costs nobody his; else the oldest. */
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
	return vm->cfg.soft && !is_mapped(vm, s->workers[self_index].root) ? self_index : oldest;
}

void worker_go_home(struct vm *vm)
{
	struct vmm_state *s = vm->vmm;
	uint64_t root = present_root(vm);
	unsigned to = choose(vm, root);

	s->workers[to].root = root;
	s->workers[to].last_use = ++s->baton_seq;
	s->next_worker = to;
	if (to == self_index)
		shadow_load_cr3(vm);
}

void worker_switch(struct vm *vm)
{
	soft_enter(vm, present_root(vm));
	if (!soft_active(vm)) {
		worker_go_home(vm);
		return;
	}
	vm->vmm->next_worker = self_index;
	shadow_load_cr3(vm);
}

void worker_settle(struct vm *vm)
{
	for (unsigned i = 0; i < vm->cfg.n_workers; i++)
		vm->vmm->workers[i].root = ~0ull;
	worker_self()->root = present_root(vm);
	vm->vmm->next_worker = self_index;
	soft_enter(vm, present_root(vm));
}

/* From here on the arena is the other's: nothing of the vCPU may be touched. */
static void hand_over(struct vm *vm, unsigned to)
{
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
	shadow_load_cr3(vm);
}
