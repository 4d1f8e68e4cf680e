// SPDX-License-Identifier: GPL-3.0-or-later
/* How fast the host's TSC runs, measured against CLOCK_MONOTONIC while the VM is being set up. */
#ifndef MONITOR_VMX_CALIBRATE_H
#define MONITOR_VMX_CALIBRATE_H

#include "monitor/vmm/vm.h"

struct clock_sample {
	uint64_t tsc, ns;
};

struct clock_sample clock_sample(void);
/* Frequency from `first` to now, after waiting for a span long enough. Starts guest time: tsc_start, epoch_ns. */
void clock_calibrate(struct vm_config *cfg, struct clock_sample first);
/* mul and shift as in struct pvclock_vcpu_time_info for a TSC of hz. */
void clock_scale(uint64_t hz, uint32_t *mul, int32_t *shift);

#endif
