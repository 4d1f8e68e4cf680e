// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * --trace: one line an exit, written by the worker itself: what the vCPU looked like when it was left. Costs a
 * compare when off.
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

#endif
