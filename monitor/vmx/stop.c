// SPDX-License-Identifier: GPL-3.0-or-later
/* Stands in for the VMM's own vm_stop() until that is there; weak, so that it gives way. */
#include "monitor/vmm/host.h"
#include "monitor/vmm/vm.h"

__attribute__((weak, target("general-regs-only"))) void vm_stop(struct vm *vm, enum stop_kind kind,
								uint32_t code, const char *text)
{
	uint32_t none = STOP_NONE;
	size_t i;

	if (!atomic_load(&vm->shared.stop)) { /* one owner of the baton at a time: the text has one writer */
		for (i = 0; text && text[i] && i < sizeof(vm->shared.stop_text) - 1; i++)
			vm->shared.stop_text[i] = text[i];
		vm->shared.stop_text[i] = '\0';
		atomic_store(&vm->shared.stop_code, code);
		atomic_compare_exchange_strong(&vm->shared.stop, &none, kind);
	}
	host_notify(vm->cfg.notify_fd);
}
