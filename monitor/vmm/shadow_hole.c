// SPDX-License-Identifier: GPL-3.0-or-later
/* What a worker maps into the hole: vCPU page, gates, stubs, the slot for execution out of line, translated blocks. */
#include "monitor/vmm/host.h"
#include "monitor/vmm/shadow_internal.h"
#include "monitor/vmm/translate.h"

static void map_stubs(struct vm *vm, uint64_t base)
{
	const struct vm_config *cfg = &vm->cfg;

	host_mmap(base + ABI_VCPU_PAGE, PAGE_SIZE, PROT_READ | PROT_WRITE, cfg->ram_fd, cfg->vcpu_off);
	host_mmap(base + ABI_GATE_PAGE, PAGE_SIZE, PROT_READ | PROT_EXEC, cfg->ram_fd, cfg->gate_off);
	host_mmap(base + ABI_XOL_PAGE, PAGE_SIZE, PROT_READ | PROT_EXEC, cfg->ram_fd, cfg->bounce_off);
	host_mmap(base + ABI_BOUNCE_PAGE, PAGE_SIZE, PROT_READ | PROT_WRITE, cfg->ram_fd, cfg->bounce_off + PAGE_SIZE);
	if (cfg->stubs_size)
		host_mmap(base + ABI_STUBS, (cfg->stubs_size + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1),
			  PROT_READ | PROT_EXEC, cfg->ram_fd, cfg->stubs_off);
}

void shadow_map_hole(struct vm *vm)
{
	const struct vm_config *cfg = &vm->cfg;
	uint64_t hole = (vm_long(vm) ? LONG_BASE : 0) + cfg->hole_base;

	map_stubs(vm, hole);
	if (cfg->modules_off && !vm_long(vm))
		host_mmap(hole + ABI_MODULES, ABI_MODULES_SIZE, PROT_READ | PROT_EXEC, cfg->ram_fd, cfg->modules_off);
	if (!translate_possible(cfg))
		return;
	host_mmap(hole + ABI_BLOCKS, ABI_BLOCKS_SIZE, PROT_READ | PROT_EXEC, cfg->ram_fd, cfg->blocks_off);
	host_mmap(hole + ABI_LOOKUP, ABI_LOOKUP_TABLES * ABI_LOOKUP_SIZE, PROT_READ, cfg->ram_fd, cfg->lookup_off);
}

void shadow_alias(struct vm *vm, bool on)
{
	uint32_t base = vm->cfg.hole_base - vm->cfg.alias_delta;
	uint64_t size = ABI_STUBS + ((vm->cfg.stubs_size + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1));

	if (!vm->cfg.alias_delta || !vm->cfg.patched)
		return;
	vm->vmm->code.alias_active = on;
	if (on) {
		map_stubs(vm, base);
	} else { /* text must not run directly at its physical address any more: its jumps would miss the stubs */
		host_munmap(base, size);
		shadow_flush(vm);
	}
}
