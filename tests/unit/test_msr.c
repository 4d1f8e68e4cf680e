// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/unit/guest.h"

#include "monitor/vmm/clock.h"
#include "monitor/vmm/cpuid.h"
#include "monitor/vmm/msr.h"

static uint64_t read_msr(uint32_t index)
{
	uint64_t value = 0;

	assert_int_equal(msr_read(vm, index, &value), 0);
	return value;
}

static void reset_values(void **state)
{
	(void)state;
	memset(&cpu->efer, 0xff, sizeof(cpu->efer));
	msr_reset(vm);
	assert_int_equal(read_msr(MSR_EFER), 0);
	assert_int_equal(read_msr(MSR_PAT), 0x0007040600070406);
	assert_int_equal(read_msr(MSR_SYSENTER_CS), 0);
}

static void efer(void **state)
{
	(void)state;
	assert_int_equal(msr_write(vm, MSR_EFER, EFER_NXE), 0);
	assert_int_equal(cpu->efer, EFER_NXE);
	assert_raised(msr_write(vm, MSR_EFER, BIT(0)), EXC_GP, 0);  /* SCE: no SYSCALL */
	assert_raised(msr_write(vm, MSR_EFER, BIT(8)), EXC_GP, 0);  /* LME: no long mode */
	assert_raised(msr_write(vm, MSR_EFER, BIT(12)), EXC_GP, 0); /* SVME */
	assert_int_equal(cpu->efer, EFER_NXE);
}

static void pat(void **state)
{
	unsigned type;

	(void)state;
	for (type = 0; type < 256; type++) {
		if (type < 8 && type != 2 && type != 3) {
			assert_int_equal(msr_write(vm, MSR_PAT, (uint64_t)type << 40), 0);
			assert_int_equal(read_msr(MSR_PAT), (uint64_t)type << 40);
		} else {
			assert_raised(msr_write(vm, MSR_PAT, (uint64_t)type << 40), EXC_GP, 0);
		}
	}
}

static void sysenter(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < 3; i++) {
		assert_int_equal(msr_write(vm, MSR_SYSENTER_CS + i, 0x100000060ull + i), 0);
		assert_int_equal(read_msr(MSR_SYSENTER_CS + i), 0x60 + i);
	}
}

static void tsc(void **state)
{
	uint64_t a, b;

	(void)state;
	a = read_msr(MSR_TSC);
	b = clock_tsc();
	assert_true(b > a);
	assert_int_equal(msr_write(vm, MSR_TSC, 0), 0);
	assert_true(read_msr(MSR_TSC) >= b); /* a write changes nothing: RDTSC is native */
}

static void harmless_ones(void **state)
{
	(void)state;
	if (cpuid_host_is_amd()) {
		assert_true(read_msr(MSR_AMD_HWCR) & BIT(24));
		assert_true(read_msr(MSR_AMD_DE_CFG) & BIT(1));
		assert_int_equal(msr_write(vm, MSR_AMD_HWCR, 0), 0);
		assert_true(read_msr(MSR_AMD_HWCR) & BIT(24));
	} else {
		assert_true(read_msr(MSR_MISC_ENABLE) & BIT(0));
		assert_int_equal(read_msr(MSR_PLATFORM_ID), 0);
	}
	read_msr(MSR_UCODE_REV);
}

static void all_others_fault(void **state)
{
	/* APIC base, feature control, MTRRcap, MCG, SPEC_CTRL, x2APIC, LSTAR, TSC_AUX, SVM */
	static const uint32_t absent[] = {0x1b, 0x3a, 0x48, 0xfe, 0x179, 0x17a, 0x2ff, 0x802, 0xc0000081, 0xc0000082,
					  0xc0000102, 0xc0000103, 0xc0010117, 0x4b564d02, 0x40000000};
	uint64_t value;
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(absent); i++) {
		assert_raised(msr_read(vm, absent[i], &value), EXC_GP, 0);
		assert_raised(msr_write(vm, absent[i], 0), EXC_GP, 0);
	}
}

static void user_may_not(void **state)
{
	uint64_t value;

	(void)state;
	guest_user();
	assert_raised(msr_read(vm, MSR_TSC, &value), EXC_GP, 0);
	assert_raised(msr_write(vm, MSR_PAT, 0), EXC_GP, 0);
}

/* Linux's reading of the record (arch/x86/kernel/pvclock.c), against the monitor's own clock. */
static uint64_t guest_ns(uint32_t at, uint64_t tsc_now)
{
	uint64_t stamp, base, delta;
	int8_t shift = *(int8_t *)ram(at + 28);

	memcpy(&stamp, ram(at + 8), 8);
	memcpy(&base, ram(at + 16), 8);
	delta = tsc_now - stamp;
	delta = shift < 0 ? delta >> -shift : delta << shift;
	return base + (uint64_t)((unsigned __int128)delta * peek32(at + 24) >> 32);
}

static void system_time(void **state)
{
	static const uint32_t msrs[] = {MSR_KVM_SYSTEM_TIME, MSR_KVM_SYSTEM_TIME_OLD};
	uint64_t now;
	unsigned i;

	(void)state;
	vm->cfg.tsc_start = 0x123456789abc;
	vm->cfg.tsc_to_ns_mul = 0x9c000000;
	vm->cfg.tsc_shift = -1;
	for (i = 0; i < 2; i++) {
		assert_int_equal(msr_write(vm, msrs[i], 0x70000 | 1), 0);
		assert_int_equal(read_msr(msrs[i]), 0x70001);
		assert_int_equal(peek32(0x70000) & 1, 0);
		assert_true(peek32(0x70000) > 0);
		assert_int_equal(*(uint8_t *)ram(0x7001d), 1); /* TSC_STABLE */
		for (now = vm->cfg.tsc_start; now < 1ull << 55; now += 0x123456789abcd)
			assert_int_equal(guest_ns(0x70000, now), clock_tsc_to_ns(&vm->cfg, now));
	}
	memset(ram(0x70000), 0, 32);
	assert_int_equal(msr_write(vm, MSR_KVM_SYSTEM_TIME, 0x70000), 0); /* off */
	assert_int_equal(peek32(0x70000), 0);
	assert_raised(msr_write(vm, MSR_KVM_SYSTEM_TIME, 0x70002 | 1), EXC_GP, 0); /* not aligned */
	assert_raised(msr_write(vm, MSR_KVM_SYSTEM_TIME, GUEST_RAM | 1), EXC_GP, 0);
	assert_raised(msr_write(vm, MSR_KVM_SYSTEM_TIME, (GUEST_RAM - 16) | 1), EXC_GP, 0);
	assert_raised(msr_write(vm, MSR_KVM_SYSTEM_TIME, 0xffffffff00000001ull), EXC_GP, 0);
}

static void wall_clock(void **state)
{
	(void)state;
	vm->cfg.epoch_ns = 1700000000123456789ull;
	assert_int_equal(msr_write(vm, MSR_KVM_WALL_CLOCK, 0x70100), 0);
	assert_int_equal(peek32(0x70100) & 1, 0);
	assert_int_equal(peek32(0x70104), 1700000000);
	assert_int_equal(peek32(0x70108), 123456789);
	assert_raised(msr_write(vm, MSR_KVM_WALL_CLOCK, GUEST_RAM - 8), EXC_GP, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    guest_test(reset_values),	  guest_test(efer),	    guest_test(pat),	     guest_test(sysenter),
	    guest_test(tsc),		  guest_test(harmless_ones), guest_test(all_others_fault),
	    guest_test(user_may_not),	  guest_test(system_time),  guest_test(wall_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
