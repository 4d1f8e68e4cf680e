// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Guest time from the host's TSC, by the same scaling that the paravirtual clock hands to the guest
 * (struct pvclock_vcpu_time_info, Linux arch/x86/include/asm/pvclock-abi.h), so that both agree to the ns.
 */
#ifndef MONITOR_VMM_CLOCK_H
#define MONITOR_VMM_CLOCK_H

#include "monitor/vmm/vm.h"

static inline uint64_t clock_tsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

static inline uint64_t clock_tsc_to_ns(const struct vm_config *cfg, uint64_t tsc)
{
	uint64_t delta = tsc - cfg->tsc_start;

	if (cfg->tsc_shift < 0)
		delta >>= -cfg->tsc_shift;
	else
		delta <<= cfg->tsc_shift;
	return (uint64_t)(((unsigned __int128)delta * cfg->tsc_to_ns_mul) >> 32);
}

static inline uint64_t clock_now(const struct vm *vm)
{
	return clock_tsc_to_ns(&vm->cfg, clock_tsc());
}

#endif
