// SPDX-License-Identifier: GPL-3.0-or-later
/* What has to be measured of the host while the VM is being set up: how fast its TSC runs, and what a mapping costs. */
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

/*
 * Sets cfg->map_ns and unmap_ns: a page of guest RAM (ram_fd) brought into a process by its first touch, and taken out. From a
 * microsecond to thirty: hosts that are guests themselves have other page tables to keep.
 */
void mapping_calibrate(struct vm_config *cfg);

#endif
