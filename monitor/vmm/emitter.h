// SPDX-License-Identifier: GPL-3.0-or-later
/* The emitter set up for a part of the hole: code from its start, landing pads at its end. */
#ifndef MONITOR_VMM_EMITTER_H
#define MONITOR_VMM_EMITTER_H

#include "hypercalls/lower.h"
#include "monitor/vmm/vm.h"

/* `size` bytes at `at` in the hole, which stand at ram_off in the RAM memfd. What is used of them, and the points, the caller adds. */
static inline struct lower emitter_for(const struct vm *vm, uint32_t at, uint64_t ram_off, uint32_t size,
				       uint32_t pads_size)
{
	uint8_t *room = (uint8_t *)RAM_BASE + ram_off;
	uint32_t va = vm->cfg.hole_base + at, code_size = size - pads_size;

	return (struct lower){
	    .hole_base = vm->cfg.hole_base,
	    .code = room,
	    .code_va = va,
	    .code_cap = code_size,
	    .pads = room + code_size,
	    .pads_va = va + code_size,
	    .pads_cap = pads_size,
	};
}

#endif
