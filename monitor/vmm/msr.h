// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Model-specific registers of the virtual CPU. Both raise #GP(0) and return -EFAULT for what it does not have.
 */
#ifndef MONITOR_VMM_MSR_H
#define MONITOR_VMM_MSR_H

#include <stdint.h>

struct vm;

enum msr { /* SDM 4 chapter 2; AMD APM 2 appendix A; Linux Documentation/virt/kvm/x86/msr.rst */
	MSR_TSC = 0x10,
	MSR_KVM_WALL_CLOCK_OLD = 0x11,
	MSR_KVM_SYSTEM_TIME_OLD = 0x12,
	MSR_PLATFORM_ID = 0x17,
	MSR_UCODE_REV = 0x8b,
	MSR_SYSENTER_CS = 0x174,
	MSR_SYSENTER_ESP = 0x175,
	MSR_SYSENTER_EIP = 0x176,
	MSR_MISC_ENABLE = 0x1a0,
	MSR_DEBUGCTL = 0x1d9,
	MSR_PAT = 0x277,
	MSR_KVM_WALL_CLOCK = 0x4b564d00,
	MSR_KVM_SYSTEM_TIME = 0x4b564d01,
};
/* Those beyond INT_MAX cannot be enumerators in C11. */
#define MSR_EFER 0xc0000080u
#define MSR_AMD_SYSCFG 0xc0010010u
#define MSR_AMD_HWCR 0xc0010015u
#define MSR_AMD_NB_CFG 0xc001001fu
#define MSR_AMD_INT_PENDING 0xc0010055u
#define MSR_AMD_LS_CFG 0xc0011020u
#define MSR_AMD_DC_CFG 0xc0011022u
#define MSR_AMD_DE_CFG 0xc0011029u
#define MSR_AMD_BU_CFG2 0xc001102au

int msr_read(struct vm *vm, uint32_t index, uint64_t *value);
int msr_write(struct vm *vm, uint32_t index, uint64_t value);
/* Values after reset, SDM 3A table 9-1. */
void msr_reset(struct vm *vm);

#endif
