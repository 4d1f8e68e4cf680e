// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * --trace: one line an exit, written by the worker itself: what the vCPU looked like when it was left; and one a change
 * of the host's mappings. Costs a compare when off.
 */
#ifndef MONITOR_VMM_TRACE_H
#define MONITOR_VMM_TRACE_H

#include "monitor/vmm/vm.h"

void trace_record(struct vm *vm, const char *what);

static inline void trace_exit(struct vm *vm, const char *what)
{
	if (vm->cfg.trace)
		trace_record(vm, what);
}

void trace_record_map(struct vm *vm, const char *what, uint64_t at, uint64_t size);

/* `what` becomes of `size` bytes from the host address `at` on. */
static inline void trace_map(struct vm *vm, const char *what, uint64_t at, uint64_t size)
{
	if (vm->cfg.trace)
		trace_record_map(vm, what, at, size);
}

#endif
