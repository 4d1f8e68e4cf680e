// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The MSRs that a kernel touches on a CPU with the features that cpuid.c shows, and no others. Some stand for
 * nothing here: kernels read or set them without asking CPUID first (Linux arch/x86/kernel/cpu/amd.c, intel.c),
 * so they hold the value that lets those go on, and swallow writes.
 *
 * Limit: a write to the TSC is ignored. RDTSC runs natively and cannot be offset.
 */
#include "monitor/vmm/msr.h"

#include <errno.h>

#include "monitor/vmm/clock.h"
#include "monitor/vmm/cpuid.h"
#include "monitor/vmm/kvmclock.h"
#include "monitor/vmm/vm.h"

enum vendor { VENDOR_ANY, VENDOR_INTEL, VENDOR_AMD };

static const struct fixed_msr {
	uint32_t index;
	uint8_t vendor;
	uint64_t value;
} fixed_msrs[] = {
    {MSR_PLATFORM_ID, VENDOR_INTEL, 0},
    {MSR_UCODE_REV, VENDOR_INTEL, 1ull << 32}, /* revision in the high half; KVM's default too */
    {MSR_UCODE_REV, VENDOR_AMD, 0x01000065},
    {MSR_MISC_ENABLE, VENDOR_INTEL, BIT(0) | BIT(11) | BIT(12)}, /* fast strings; no BTS, no PEBS */
    {MSR_DEBUGCTL, VENDOR_ANY, 0},
    {MSR_AMD_SYSCFG, VENDOR_AMD, 0},
    {MSR_AMD_HWCR, VENDOR_AMD, BIT(24)}, /* TscFreqSel: the TSC counts at the P0 frequency */
    {MSR_AMD_NB_CFG, VENDOR_AMD, 0},
    {MSR_AMD_INT_PENDING, VENDOR_AMD, 0},
    {MSR_AMD_LS_CFG, VENDOR_AMD, 0},
    {MSR_AMD_DC_CFG, VENDOR_AMD, 0},
    {MSR_AMD_DE_CFG, VENDOR_AMD, BIT(1)}, /* LFENCE serializes */
    {MSR_AMD_BU_CFG2, VENDOR_AMD, 0},
};

static const struct fixed_msr *find_fixed(uint32_t index)
{
	unsigned vendor = cpuid_host_is_amd() ? VENDOR_AMD : VENDOR_INTEL, i;
	const struct fixed_msr *m;

	for (i = 0; i < ARRAY_LEN(fixed_msrs); i++) {
		m = &fixed_msrs[i];
		if (m->index == index && (m->vendor == VENDOR_ANY || m->vendor == vendor))
			return m;
	}
	return NULL;
}

/* Every byte a memory type: UC WC WT WP WB UC-, SDM 3A 11.12.2. */
static bool pat_valid(uint64_t pat)
{
	unsigned i, type;

	for (i = 0; i < 8; i++) {
		type = pat >> (i * 8) & 0xff;
		if (type > 7 || type == 2 || type == 3)
			return false;
	}
	return true;
}

static int refuse(struct vm *vm)
{
	return vcpu_raise(&vm->vcpu, EXC_GP, true, 0);
}

int msr_read(struct vm *vm, uint32_t index, uint64_t *value)
{
	const struct vcpu *v = &vm->vcpu;
	const struct fixed_msr *fixed;

	if (v->cpl)
		return refuse(vm);
	switch (index) {
	case MSR_TSC:
		*value = clock_tsc() + v->tsc_offset;
		return 0;
	case MSR_SYSENTER_CS:
		*value = v->sysenter_cs;
		return 0;
	case MSR_SYSENTER_ESP:
		*value = v->sysenter_esp;
		return 0;
	case MSR_SYSENTER_EIP:
		*value = v->sysenter_eip;
		return 0;
	case MSR_PAT:
		*value = v->pat;
		return 0;
	case MSR_EFER:
		*value = v->efer;
		return 0;
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_WALL_CLOCK_OLD:
		*value = v->kvm_wall_clock;
		return 0;
	case MSR_KVM_SYSTEM_TIME:
	case MSR_KVM_SYSTEM_TIME_OLD:
		*value = v->kvm_system_time;
		return 0;
	}
	fixed = find_fixed(index);
	if (!fixed)
		return refuse(vm);
	*value = fixed->value;
	return 0;
}

int msr_write(struct vm *vm, uint32_t index, uint64_t value)
{
	struct vcpu *v = &vm->vcpu;

	if (v->cpl)
		return refuse(vm);
	switch (index) {
	case MSR_TSC:
		return 0;
	case MSR_SYSENTER_CS:
		v->sysenter_cs = (uint32_t)value;
		return 0;
	case MSR_SYSENTER_ESP:
		v->sysenter_esp = (uint32_t)value;
		return 0;
	case MSR_SYSENTER_EIP:
		v->sysenter_eip = (uint32_t)value;
		return 0;
	case MSR_PAT:
		if (!pat_valid(value))
			return refuse(vm);
		v->pat = value;
		return 0;
	case MSR_EFER:
		if (value & ~(uint64_t)EFER_NXE)
			return refuse(vm);
		v->efer = value;
		return 0;
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_WALL_CLOCK_OLD:
		return kvmclock_set_wall(vm, value);
	case MSR_KVM_SYSTEM_TIME:
	case MSR_KVM_SYSTEM_TIME_OLD:
		return kvmclock_set_system(vm, value);
	}
	return find_fixed(index) ? 0 : refuse(vm);
}

void msr_reset(struct vm *vm)
{
	struct vcpu *v = &vm->vcpu;

	v->efer = 0;
	v->pat = 0x0007040600070406;
	v->sysenter_cs = v->sysenter_esp = v->sysenter_eip = 0;
	v->tsc_aux = v->tsc_offset = 0;
	v->kvm_system_time = v->kvm_wall_clock = 0;
}
