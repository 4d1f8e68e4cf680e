// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The host's TSC is invariant (probed at start) and RDTSC runs natively, so one record, written once, stays right for
 * the whole run: time is counted from tsc_start with the scale that the monitor's own clock uses (clock.h). The
 * guest's clock and its timers then agree to the nanosecond.
 */
#include "monitor/vmm/kvmclock.h"

#include <errno.h>

#include "monitor/vmm/gmem.h"
#include "monitor/vmm/vm.h"

/* Linux arch/x86/include/asm/pvclock-abi.h */
struct pvclock_time {
	uint32_t version; /* odd while being written */
	uint32_t pad0;
	uint64_t tsc_timestamp;
	uint64_t system_time;
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags;
	uint8_t pad[2];
};
_Static_assert(sizeof(struct pvclock_time) == 32, "pvclock-abi.h");

struct pvclock_wall {
	uint32_t version;
	uint32_t sec, nsec;
};

#define PVCLOCK_TSC_STABLE BIT(0)
#define SYSTEM_TIME_ENABLE 1u

/* The version goes odd, the record is written, the version goes even: readers retry (pvclock-abi.h). */
static int publish(struct vm *vm, struct gpa at, void *record, size_t size)
{
	uint32_t *version = record;
	const void *ram = vm_ram(vm, at, size);

	if (!ram || (at.a & 3))
		return vcpu_raise(&vm->vcpu, EXC_GP, true, 0);
	*version = (*(const uint32_t *)ram | 1) + 2;
	gmem_write_phys(vm, at, version, sizeof(*version));
	gmem_write_phys(vm, gpa(at.a + 4), version + 1, size - 4);
	*version += 1;
	gmem_write_phys(vm, at, version, sizeof(*version));
	return 0;
}

int kvmclock_set_system(struct vm *vm, uint64_t value)
{
	struct pvclock_time t = {
	    .tsc_timestamp = vm->cfg.tsc_start + vm->vcpu.tsc_offset,
	    .tsc_to_system_mul = vm->cfg.tsc_to_ns_mul,
	    .tsc_shift = (int8_t)vm->cfg.tsc_shift,
	    .flags = PVCLOCK_TSC_STABLE,
	};

	if ((value & SYSTEM_TIME_ENABLE) &&
	    publish(vm, gpa(value & ~(uint64_t)SYSTEM_TIME_ENABLE), &t, sizeof(t)) < 0)
		return -EFAULT;
	vm->vcpu.kvm_system_time = value;
	return 0;
}

/* Wall-clock time at guest time 0; the guest adds its own clock. */
int kvmclock_set_wall(struct vm *vm, uint64_t value)
{
	struct pvclock_wall w = {
	    .sec = (uint32_t)(vm->cfg.epoch_ns / 1000000000),
	    .nsec = (uint32_t)(vm->cfg.epoch_ns % 1000000000),
	};

	if (publish(vm, gpa(value), &w, sizeof(w)) < 0)
		return -EFAULT;
	vm->vcpu.kvm_wall_clock = value;
	return 0;
}
