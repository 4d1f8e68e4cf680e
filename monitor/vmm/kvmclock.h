// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * KVM's paravirtual clock (Linux Documentation/virt/kvm/x86/msr.rst): the guest names a place in its RAM by an MSR,
 * the monitor writes there how to turn the TSC into time. #GP(0) and -EFAULT for a place without RAM.
 */
#ifndef MONITOR_VMM_KVMCLOCK_H
#define MONITOR_VMM_KVMCLOCK_H

#include <stdint.h>

struct vm;

int kvmclock_set_system(struct vm *vm, uint64_t value);
int kvmclock_set_wall(struct vm *vm, uint64_t value);

#endif
