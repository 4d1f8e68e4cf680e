// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/unit/guest.h"

#include "monitor/vmm/cpuid.h"
#include "monitor/vmm/paging.h"

static void host_xcr0(void)
{
	uint32_t r[4], lo, hi;

	cpuid_host(1, 0, r);
	if (!(r[CPUID_ECX] & BIT(27)) || !(r[CPUID_ECX] & BIT(28)))
		return;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	vm->cfg.fpu_avx = true;
	vm->cfg.xcr0 = lo & CPUID_XCR0;
}

static uint32_t read1(uint32_t leaf, uint32_t sub, enum cpuid_reg reg)
{
	uint32_t r[4];

	cpuid_read(vm, leaf, sub, r);
	return r[reg];
}

static void never_shown(void **state)
{
	(void)state;
	host_xcr0();
	/* VME MCE APIC SEP MTRR MCA HTT */
	assert_int_equal(read1(1, 0, CPUID_EDX) &
			     (BIT(1) | BIT(7) | BIT(9) | BIT(11) | BIT(12) | BIT(14) | BIT(28)), 0);
	/* MONITOR VMX SMX EST TM2 PDCM PCID x2APIC TSC-deadline */
	assert_int_equal(read1(1, 0, CPUID_ECX) & (BIT(3) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(15) | BIT(17) |
						   BIT(21) | BIT(24)), 0);
	/* FSGSBASE TSC_ADJUST SGX HLE SMEP INVPCID RTM MPX SMAP PT */
	assert_int_equal(read1(7, 0, CPUID_EBX) & (BIT(0) | BIT(1) | BIT(2) | BIT(4) | BIT(7) | BIT(10) | BIT(11) |
						   BIT(14) | BIT(20) | BIT(25)), 0);
	/* UMIP PKU OSPKE WAITPKG CET_SS LA57 RDPID KL ENQCMD */
	assert_int_equal(read1(7, 0, CPUID_ECX) & (BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(7) | BIT(16) | BIT(22) |
						   BIT(23) | BIT(29)), 0);
	/* UINTR, CET_IBT, AMX, SPEC_CTRL, STIBP, L1D_FLUSH, ARCH_CAP, CORE_CAP, SSBD */
	assert_int_equal(read1(7, 0, CPUID_EDX) & (BIT(5) | BIT(20) | BIT(22) | BIT(24) | BIT(25) | 0xfc000000), 0);
	/* SYSCALL GBPAGES RDTSCP LM */
	assert_int_equal(read1(0x80000001, 0, CPUID_EDX) & (BIT(11) | BIT(26) | BIT(27) | BIT(29)), 0);
	/* SVM, extended APIC, IBS, TOPOEXT, performance counters, MWAITX */
	assert_int_equal(read1(0x80000001, 0, CPUID_ECX) & (BIT(2) | BIT(3) | BIT(10) | BIT(22) | BIT(23) | BIT(24) |
							    BIT(28) | BIT(29)), 0);
	assert_int_equal(read1(0xd, 1, CPUID_EAX) & BIT(3), 0); /* XSAVES */
	assert_int_equal(read1(0x80000008, 0, CPUID_EBX) & ~5u, 0);
	assert_true(read1(7, 0, CPUID_EBX) & BIT(13)); /* the selectors of the x87's pointers */
}

/* Whatever the host has: no bit without the host's, and what an i686 kernel cannot do without. */
static void shown(void **state)
{
	uint32_t host[4], r[4];

	(void)state;
	host_xcr0();
	cpuid_host(1, 0, host);
	cpuid_read(vm, 1, 0, r);
	assert_int_equal(r[CPUID_EAX], host[CPUID_EAX]);
	assert_int_equal(r[CPUID_EDX] & ~host[CPUID_EDX], 0);
	assert_int_equal(r[CPUID_ECX] & ~host[CPUID_ECX], 0 | (host[CPUID_ECX] & BIT(31) ? 0 : BIT(31)));
	/* FPU TSC MSR PAE CX8 PGE CMOV FXSR SSE2 */
	assert_int_equal(~r[CPUID_EDX] & (BIT(0) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(13) | BIT(15) | BIT(24) |
					  BIT(26)), 0);
	assert_true(r[CPUID_ECX] & BIT(31));
	cpuid_host(0, 0, host);
	cpuid_read(vm, 0, 0, r);
	assert_memory_equal(&host[1], &r[1], 12);
	assert_true(r[CPUID_EAX] <= 0xd);
	assert_true(read1(0x80000000, 0, CPUID_EAX) <= 0x80000021);
	assert_int_equal(read1(0x80000007, 0, CPUID_EDX), BIT(8));
	assert_int_equal(read1(0x80000008, 0, CPUID_EAX), 0x2000 | PAGING_PHYS_BITS);
}

static void paravirtual(void **state)
{
	uint32_t r[4];

	(void)state;
	vm->cfg.hole_base = 0xf8000000;
	cpuid_read(vm, 0x40000000, 0, r);
	assert_int_equal(r[CPUID_EAX], 0x40000001);
	assert_memory_equal(&r[CPUID_EBX], "KVMKVMKVM\0\0\0", 12);
	cpuid_read(vm, 0x40000001, 0, r);
	assert_int_equal(r[CPUID_EAX], 1 << 0 | 1 << 1 | 1 << 3 | 1 << 24);
	assert_int_equal(r[CPUID_EDX], 0);
	cpuid_read(vm, 0x40000100, 0, r);
	assert_int_equal(r[CPUID_EAX], 0xf8000000);
	assert_memory_equal(&r[CPUID_EBX], "ParavaneHole", 12);
}

static void unlisted_leaves_are_zero(void **state)
{
	static const uint32_t leaves[] = {3, 5, 6, 9, 0xa, 0xb, 0xe, 0xf, 0x10, 0x12, 0x14, 0x15, 0x16, 0x1f, 0x20,
					  0x40000002, 0x40000101, 0x80000009, 0x8000000a, 0x8000001d, 0xffffffff};
	uint32_t r[4], zero[4] = {0};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(leaves); i++) {
		cpuid_read(vm, leaves[i], 0, r);
		assert_memory_equal(r, zero, 16);
	}
}

static void osxsave_follows_cr4(void **state)
{
	(void)state;
	host_xcr0();
	if (!vm->cfg.fpu_avx)
		skip();
	assert_true(read1(1, 0, CPUID_ECX) & BIT(26));
	assert_false(read1(1, 0, CPUID_ECX) & BIT(27));
	cpu->cr4 |= CR4_OSXSAVE;
	assert_true(read1(1, 0, CPUID_ECX) & BIT(27));
	vm->cfg.fpu_avx = false;
	assert_false(read1(1, 0, CPUID_ECX) & (BIT(12) | BIT(26) | BIT(27) | BIT(28) | BIT(29)));
	assert_false(read1(7, 0, CPUID_EBX) & (BIT(5) | BIT(16)));
	assert_int_equal(read1(0xd, 0, CPUID_EAX), 0);
	assert_int_equal(read1(0xd, 1, CPUID_EAX), 0);
}

/*
 * The areas of all components do not overlap and end where the size says, as Linux checks at boot; the host's area may
 * be larger by those that the guest is not shown.
 */
static void xsave_agrees(void **state)
{
	uint32_t r[4], host[4], end = 576, i;

	(void)state;
	host_xcr0();
	if (!vm->cfg.fpu_avx)
		skip();
	assert_int_equal(read1(0xd, 0, CPUID_EAX), vm->cfg.xcr0);
	assert_int_equal(read1(0xd, 0, CPUID_EAX) & ~0xe7u, 0);
	cpuid_host(0xd, 0, host);
	assert_in_range(read1(0xd, 0, CPUID_EBX), 576, host[CPUID_EBX]);
	for (i = 2; i < 64; i++) {
		cpuid_read(vm, 0xd, i, r);
		if (!(vm->cfg.xcr0 >> i & 1)) {
			assert_int_equal(r[0] | r[1] | r[2] | r[3], 0);
			continue;
		}
		assert_true(r[CPUID_EBX] >= end);
		end = r[CPUID_EBX] + r[CPUID_EAX];
	}
	assert_int_equal(read1(0xd, 0, CPUID_EBX), end);
	assert_int_equal(read1(0xd, 0, CPUID_ECX), end);
	if (read1(0xd, 1, CPUID_EAX) & BIT(1))
		assert_in_range(read1(0xd, 1, CPUID_EBX), 576 + 256, end);
}

static void avx512_needs_its_state(void **state)
{
	(void)state;
	host_xcr0();
	vm->cfg.xcr0 &= 7;
	assert_false(read1(7, 0, CPUID_EBX) & (BIT(16) | BIT(17) | BIT(21) | BIT(28) | BIT(30) | BIT(31)));
	assert_false(read1(7, 0, CPUID_ECX) & (BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14)));
	assert_false(read1(7, 1, CPUID_EAX) & BIT(5));
}

/* Leaves and subleaves that share a place, in turn; and the bit that follows CR4. */
static void answers_are_remembered(void **state)
{
	uint32_t asked[4], r[4];

	(void)state;
	host_xcr0();
	for (unsigned turn = 0; turn < 6; turn++)
		for (uint32_t leaf = 0; leaf < 0x20; leaf++)
			for (uint32_t sub = 0; sub < 20; sub++) {
				vm->vcpu.cr4 = turn & 1 ? CR4_OSXSAVE : 0;
				cpuid_ask(vm, leaf | (turn & 2) << 30, sub, asked);
				cpuid_read(vm, leaf | (turn & 2) << 30, sub, r);
				assert_memory_equal(asked, r, sizeof(r));
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    guest_test(never_shown),	    guest_test(shown),		     guest_test(paravirtual),
	    guest_test(unlisted_leaves_are_zero), guest_test(osxsave_follows_cr4), guest_test(xsave_agrees),
	    guest_test(avx512_needs_its_state), guest_test(answers_are_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
