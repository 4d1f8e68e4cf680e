// SPDX-License-Identifier: GPL-3.0-or-later
/* Building the VMM's part of the arena, once, in the VMX process; and each worker's private part. */
#include <errno.h>

#include "hypercalls/lower_long.h"
#include "monitor/vmm/code.h"
#include "monitor/vmm/host.h"
#include "monitor/vmm/io.h"
#include "monitor/vmm/module.h"
#include "monitor/vmm/msr.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/shadow.h"
#include "monitor/vmm/soft.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/translate.h"
#include "monitor/vmm/worker.h"
#include "monitor/vmm/world.h"
#include "monitor/vmm/xol.h"

static size_t round_page(size_t n)
{
	return (n + PAGE_SIZE - 1) & ~(size_t)(PAGE_SIZE - 1);
}

#define TABLES_SIZE round_page(sizeof(struct shadow_table) * SHADOW_TABLES)

static unsigned mapped_views(const struct vm_config *cfg)
{
	return shadow_views(cfg) - (cfg->soft ? 1 : 0);
}

static size_t tables_size(const struct vm_config *cfg)
{
	size_t space = cfg->soft ? TABLES_SIZE + sizeof(struct lower_soft) : 0;

	return TABLES_SIZE * mapped_views(cfg) * cfg->n_workers + space * SOFT_SPACES;
}

static void init_views(struct vm *vm, uint8_t *tables)
{
	for (unsigned i = 0; i < vm->cfg.n_workers; i++) {
		struct worker *w = &vm->vmm->workers[i];

		w->root = ~0ull;
		for (unsigned view = 0; view < mapped_views(&vm->cfg); view++) {
			w->shadow[view].tables = (struct shadow_table *)tables;
			w->shadow[view].window = view == SHADOW_WINDOW ? LONG_WINDOW : 0;
			tables += TABLES_SIZE;
		}
	}
	for (unsigned i = 0; vm->cfg.soft && i < SOFT_SPACES; i++) {
		struct soft_space *space = &vm->vmm->space[i];

		space->root = ~0ull;
		space->shadow.tables = (struct shadow_table *)tables;
		space->shadow.soft = (struct lower_soft *)(tables + TABLES_SIZE);
		tables += TABLES_SIZE + sizeof(struct lower_soft);
	}
}

size_t vmm_arena_size(const struct vm_config *cfg, const struct manifest *manifest)
{
	return round_page(sizeof(struct vm)) + tables_size(cfg) + translate_arena_size(cfg) + module_arena_size(cfg) +
	       round_page(sizeof(struct vmm_state) + code_arena_size(cfg, manifest));
}

void vm_stop(struct vm *vm, enum stop_kind kind, uint32_t code, const char *text)
{
	uint32_t none = STOP_NONE;
	unsigned n = 0;

	if (atomic_load(&vm->shared.stop) != STOP_NONE)
		return;
	for (; n < sizeof(vm->shared.stop_text) - 1 && text[n]; n++)
		vm->shared.stop_text[n] = text[n];
	vm->shared.stop_text[n] = 0;
	atomic_store(&vm->shared.stop_code, code);
	atomic_store(&vm->shared.stop_eip, vm->vcpu.eip);
	if (atomic_compare_exchange_strong(&vm->shared.stop, &none, (uint32_t)kind))
		host_notify(vm->cfg.notify_fd);
}

int vmm_init(struct vm *vm, struct diag *d)
{
	uint8_t *at = (uint8_t *)vm + round_page(sizeof(struct vm));
	const struct machine_config machine = {
	    .ram_bytes = vm->cfg.ram_size,
	    .rtc_epoch = (int64_t)(vm->cfg.epoch_ns / 1000000000),
	    .console_in = &vm->shared.console_in,
	    .console_out = &vm->shared.console_out,
	    .notify = io_notify,
	    .ctx = vm,
	};
	struct vmm_state *s;

	at += tables_size(&vm->cfg);
	vm->vmm = s = (struct vmm_state *)(at + translate_arena_size(&vm->cfg) + module_arena_size(&vm->cfg));
	translate_init(vm, at);
	module_init(vm, at + translate_arena_size(&vm->cfg));
	init_views(vm, (uint8_t *)vm + round_page(sizeof(struct vm)));
	vm->vcpu.exc_vector = EXC_NONE;
	vm_vcpu_page(vm)->version = ABI_VERSION;
	world_write_gates((uint8_t *)RAM_BASE + vm->cfg.gate_off);
	xol_init(vm);
	s->code.alias_active = vm->cfg.patched && vm->cfg.alias_delta && !vm_long(vm);
	if (machine_new(&vm->machine, &machine) < 0)
		return diag_set(d, -EEXIST, "machine: two devices claim the same port or line");
	atomic_store(&vm->shared.deadline_ns, UINT64_MAX);
	return code_init(vm, d);
}

int vmm_worker_prepare(struct vm *vm, unsigned index, struct diag *d)
{
	worker_set_self(index);
	if (vm_long(vm))
		shadow_reserve(vm);
	shadow_map_hole(vm);
	if (index == 0 && vm->vmm->code.alias_active)
		shadow_alias(vm, true);
	return world_prepare(d);
}
