// SPDX-License-Identifier: GPL-3.0-or-later
/* The two memfds of a VM: guest RAM with its tail, and the arena (vm.h). Mapped before anything is forked. */
#ifndef MONITOR_VMX_MEMORY_H
#define MONITOR_VMX_MEMORY_H

#include "monitor/vmm/vm.h"

/* Lay out the tail behind cfg->ram_size for the hole of the manifest; no system call. */
void memory_layout(struct vm_config *cfg);
/* Create, size, seal and map at RAM_BASE; sets cfg->ram_fd. The ones page is filled. */
int memory_map_ram(struct vm_config *cfg, struct diag *d);
/* Map size zeroed, shared bytes at ARENA_BASE. No descriptor remains. */
int memory_map_arena(size_t size, struct diag *d);

#endif
