// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Only what is named here reaches the guest: a feature that a future host adds stays hidden until somebody has
 * thought about it. A bit may be shown when its instructions run natively at CPL 3 with the guest's meaning and
 * need no MSR, no control-register bit and no state that the monitor does not carry. Hidden for their own reasons:
 *   SEP, SYSCALL        compat-mode SYSENTER and SYSCALL lose the guest's EIP (DESIGN, "Entering and leaving")
 *   APIC, MTRR, MCE     the machine has none of it yet
 *   VME                 virtual-8086 mode is a limit
 *   SMEP, SMAP, UMIP    CR4 bits that CPL 3 execution cannot honour; PKU, CET, AMX, PCID, LM alike
 *   MONITOR, TSX, PMU, RDTSCP, RDPID  leak or wait on the host's behalf
 * User programs that execute CPUID in direct mode see the host's own: that is why AVX is shown, not hidden.
 */
#include "monitor/vmm/cpuid.h"

#include "monitor/vmm/mem.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/vm.h"

#define MAX_BASIC 0xdu
#define MAX_EXTENDED 0x80000021u
#define KVM_BASE 0x40000000u
#define HOLE_LEAF 0x40000100u
#define ANY UINT32_MAX /* subleaf */
#define ALL UINT32_MAX /* mask */

/* Bits that depend on state which the host's XCR0 may not enable. */
#define L1C_XSAVE BIT(26)
#define L1C_OSXSAVE BIT(27)		      /* follows the guest's CR4, not the host's */
#define L1C_AVX (BIT(12) | BIT(28) | BIT(29)) /* FMA AVX F16C */
#define L7B_NO_FCS_FDS BIT(13) /* a 64-bit host forgets them at each switch of tasks */
#define L7B_AVX BIT(5)			      /* AVX2 */
#define L7B_AVX512 (BIT(16) | BIT(17) | BIT(21) | BIT(28) | BIT(30) | BIT(31)) /* F DQ IFMA CD BW VL */
#define L7C_AVX (BIT(9) | BIT(10))					       /* VAES VPCLMULQDQ */
#define L7C_AVX512 (BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14)) /* VBMI VBMI2 VNNI BITALG VPOPCNTDQ */
#define L7D_AVX512 BIT(8)					   /* VP2INTERSECT */
#define L71A_AVX BIT(4)						   /* AVX-VNNI */
#define L71A_AVX512 BIT(5)					   /* AVX512_BF16 */
#define E1C_AVX (BIT(11) | BIT(16))				   /* XOP FMA4 */
#define XCR0_AVX 6u
#define XCR0_AVX512 0xe6u

/* clang-format off */
static const struct allow {
	uint32_t leaf, subleaf;
	uint32_t mask[4]; /* EAX EBX ECX EDX */
} allow_list[] = {
	{0, ANY, {ALL, ALL, ALL, ALL}},
	{1, ANY, {
		ALL,		/* family, model, stepping */
		0x0000ff00,	/* CLFLUSH line; one logical processor, APIC ID 0 */
		BIT(0) | BIT(1) | BIT(9) |	/* SSE3 PCLMULQDQ SSSE3 */
		BIT(13) | BIT(19) | BIT(20) |	/* CMPXCHG16B SSE4.1 SSE4.2 */
		BIT(22) | BIT(23) | BIT(25) |	/* MOVBE POPCNT AES */
		BIT(30) | L1C_XSAVE | L1C_AVX,	/* RDRAND */
		BIT(0) | BIT(2) | BIT(3) |	/* FPU DE PSE */
		BIT(4) | BIT(5) | BIT(6) |	/* TSC MSR PAE */
		BIT(8) | BIT(13) | BIT(15) |	/* CX8 PGE CMOV */
		BIT(16) | BIT(17) | BIT(19) |	/* PAT PSE36 CLFSH */
		BIT(23) | BIT(24) | BIT(25) | BIT(26), /* MMX FXSR SSE SSE2 */
	}},
	{2, ANY, {ALL, ALL, ALL, ALL}},		/* cache descriptors */
	{4, ANY, {0x00003fff, ALL, ALL, ALL}},	/* caches, without how many processors share them */
	{7, 0, {
		1,				/* highest subleaf */
		BIT(3) | BIT(8) | BIT(9) |	/* BMI1 BMI2 ERMS */
		BIT(6) | L7B_NO_FCS_FDS |	/* FDP_EXCPTN_ONLY, no FCS/FDS: how the FPU is, not what it has */
		BIT(18) | BIT(19) |		/* RDSEED ADX */
		BIT(23) | BIT(24) | BIT(29) |	/* CLFLUSHOPT CLWB SHA */
		L7B_AVX | L7B_AVX512,
		BIT(0) | BIT(8) | BIT(25) |	/* PREFETCHWT1 GFNI CLDEMOTE */
		BIT(27) | BIT(28) |		/* MOVDIRI MOVDIR64B */
		L7C_AVX | L7C_AVX512,
		BIT(4) | BIT(14) | L7D_AVX512,	/* FSRM SERIALIZE */
	}},
	{7, 1, {
		BIT(10) | BIT(11) | BIT(12) |	/* fast zero-length MOVSB, short STOSB, short CMPSB */
		L71A_AVX | L71A_AVX512,
		0, 0, 0,
	}},
	{0x80000000, ANY, {ALL, ALL, ALL, ALL}},
	{0x80000001, ANY, {
		ALL, 0,
		BIT(0) | BIT(5) | BIT(6) |	/* LAHF LZCNT SSE4A */
		BIT(7) | BIT(8) | BIT(21) |	/* MISALIGNSSE 3DNOWPREFETCH TBM */
		E1C_AVX,
		BIT(0) | BIT(2) | BIT(3) |	/* AMD's copy of leaf 1: FPU DE PSE */
		BIT(4) | BIT(5) | BIT(6) |	/* TSC MSR PAE */
		BIT(8) | BIT(13) | BIT(15) |	/* CX8 PGE CMOV */
		BIT(16) | BIT(17) |		/* PAT PSE36 */
		BIT(20) |			/* NX */
		BIT(22) | BIT(23) | BIT(24) |	/* MMXEXT MMX FXSR */
		BIT(30) | BIT(31),		/* 3DNOWEXT 3DNOW */
	}},
	{0x80000002, ANY, {ALL, ALL, ALL, ALL}},	/* brand string */
	{0x80000003, ANY, {ALL, ALL, ALL, ALL}},
	{0x80000004, ANY, {ALL, ALL, ALL, ALL}},
	{0x80000005, ANY, {ALL, ALL, ALL, ALL}},	/* AMD: caches and TLBs */
	{0x80000006, ANY, {ALL, ALL, ALL, ALL}},
	{0x80000021, ANY, {BIT(2) | BIT(6), 0, 0, 0}},	/* AMD: LFENCE serialises, null selectors clear the base */
	{0x80000008, ANY, {0, BIT(0) | BIT(2), 0, 0}},	/* AMD: CLZERO, XSAVE always saves error pointers */
};
/* clang-format on */

void cpuid_host(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
			 : "a"(leaf), "c"(subleaf));
}

bool cpuid_host_is_amd(void)
{
	uint32_t r[4];

	cpuid_host(0, 0, r);
	return r[CPUID_EBX] == 0x68747541 || r[CPUID_EBX] == 0x6f677948; /* "Auth", "Hygo" */
}

static bool has_xsave(const struct vm *vm)
{
	return vm->cfg.fpu_avx && (vm->cfg.xcr0 & XCR0_AVX) == XCR0_AVX;
}

static bool has_avx512(const struct vm *vm)
{
	return has_xsave(vm) && (vm->cfg.xcr0 & XCR0_AVX512) == XCR0_AVX512;
}

static void drop(uint32_t *reg, bool have, uint32_t bits)
{
	if (!have)
		*reg &= ~bits;
}

/* Without the host's state enabled, the instructions would fault: hide them. */
static void apply_xcr0(const struct vm *vm, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	bool xsave = has_xsave(vm), avx512 = has_avx512(vm);

	switch (leaf) {
	case 1:
		drop(&out[CPUID_ECX], xsave, L1C_XSAVE | L1C_AVX);
		if (xsave && (vm->vcpu.cr4 & CR4_OSXSAVE))
			out[CPUID_ECX] |= L1C_OSXSAVE;
		break;
	case 7:
		if (subleaf == 0)
			out[CPUID_EBX] |= L7B_NO_FCS_FDS;
		drop(&out[CPUID_EAX], subleaf == 0 || xsave, L71A_AVX);
		drop(&out[CPUID_EAX], subleaf == 0 || avx512, L71A_AVX512);
		drop(&out[CPUID_EBX], xsave, L7B_AVX);
		drop(&out[CPUID_EBX], avx512, L7B_AVX512);
		drop(&out[CPUID_ECX], xsave, L7C_AVX);
		drop(&out[CPUID_ECX], avx512, L7C_AVX512);
		drop(&out[CPUID_EDX], avx512, L7D_AVX512);
		break;
	case 0x80000001:
		drop(&out[CPUID_ECX], xsave, E1C_AVX);
		break;
	}
}

uint32_t cpuid_xsave_size(uint64_t xcr0)
{
	uint32_t size = 512 + 64, r[4], i;

	for (i = 2; i < 63; i++) {
		if (!(xcr0 >> i & 1))
			continue;
		cpuid_host(0xd, i, r);
		if (size < r[CPUID_EBX] + r[CPUID_EAX])
			size = r[CPUID_EBX] + r[CPUID_EAX];
	}
	return size;
}

/* Size of the compacted format with all of XCR0's components, SDM 1 13.4.3. */
static uint32_t compacted_size(uint64_t xcr0)
{
	uint32_t size = 512 + 64, r[4], i;

	for (i = 2; i < 63; i++) {
		if (!(xcr0 >> i & 1))
			continue;
		cpuid_host(0xd, i, r);
		if (r[CPUID_ECX] & 2)
			size = (size + 63) & ~63u;
		size += r[CPUID_EAX];
	}
	return size;
}

/* XSAVE enumeration. The guest's XCR0 is one value or nothing (XSETBV), so its sizes do not change. */
static void xsave_leaf(const struct vm *vm, uint32_t subleaf, uint32_t out[4])
{
	uint64_t xcr0 = vm->cfg.xcr0;

	if (!has_xsave(vm))
		return;
	if (subleaf == 0) {
		out[CPUID_EAX] = (uint32_t)xcr0;
		out[CPUID_EBX] = out[CPUID_ECX] = cpuid_xsave_size(xcr0);
		out[CPUID_EDX] = (uint32_t)(xcr0 >> 32);
	} else if (subleaf == 1) {
		cpuid_host(0xd, 1, out);
		out[CPUID_EAX] &= BIT(0) | BIT(1) | BIT(2); /* XSAVEOPT XSAVEC XGETBV(1); no XSAVES */
		out[CPUID_EBX] = out[CPUID_EAX] & BIT(1) ? compacted_size(xcr0) : 0;
		out[CPUID_ECX] = out[CPUID_EDX] = 0;
	} else if (subleaf < 63 && (xcr0 >> subleaf & 1)) {
		cpuid_host(0xd, subleaf, out);
		out[CPUID_ECX] &= BIT(1); /* aligned when compacted */
		out[CPUID_EDX] = 0;
	}
}

/*
 * KVM's paravirtual leaves, Linux Documentation/virt/kvm/x86/cpuid.rst: the clock, and that no port is slow. Without the
 * latter Linux writes to port 0x80 after most accesses to a legacy chip, and each of these writes is an exit.
 */
static void hypervisor_leaf(const struct vm *vm, uint32_t leaf, uint32_t out[4])
{
	switch (leaf) {
	case KVM_BASE:
		out[CPUID_EAX] = KVM_BASE + 1;
		mem_copy(&out[CPUID_EBX], "KVMKVMKVM\0\0\0", 12);
		break;
	case KVM_BASE + 1:
		out[CPUID_EAX] = BIT(0) | BIT(3) |
				 BIT(24) | /* CLOCKSOURCE, CLOCKSOURCE2, CLOCKSOURCE_STABLE */
				 BIT(1);   /* NOP_IO_DELAY */
		break;
	case HOLE_LEAF: /* hypercalls/abi.h */
		out[CPUID_EAX] = vm->cfg.hole_base;
		mem_copy(&out[CPUID_EBX], "ParavaneHole", 12);
		break;
	}
}

static void filtered_leaf(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	const struct allow *a;
	uint32_t i;

	for (a = allow_list; a < allow_list + ARRAY_LEN(allow_list); a++) {
		if (a->leaf != leaf || (a->subleaf != ANY && a->subleaf != subleaf))
			continue;
		cpuid_host(leaf & 0x80000000, 0, out);
		if (leaf > out[CPUID_EAX])
			break;
		cpuid_host(leaf, subleaf, out);
		for (i = 0; i < 4; i++)
			out[i] &= a->mask[i];
		return;
	}
	mem_set(out, 0, 16);
}

static void cap(uint32_t *value, uint32_t max)
{
	if (*value > max)
		*value = max;
}

void cpuid_read(const struct vm *vm, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	mem_set(out, 0, 16);
	if (leaf >> 28 == KVM_BASE >> 28) {
		hypervisor_leaf(vm, leaf, out);
		return;
	}
	filtered_leaf(leaf, subleaf, out);
	apply_xcr0(vm, leaf, subleaf, out);
	switch (leaf) {
	case 0:
		cap(&out[CPUID_EAX], MAX_BASIC);
		break;
	case 1:
		out[CPUID_ECX] |= BIT(31); /* HYPERVISOR */
		break;
	case 7:
		if (subleaf == 0)
			cap(&out[CPUID_EAX], 1);
		break;
	case 0xd:
		xsave_leaf(vm, subleaf, out);
		break;
	case 0x80000000:
		cap(&out[CPUID_EAX], MAX_EXTENDED);
		break;
	case 0x80000021:
		/* Sampling transient state is for the host to prevent: VERW in the guest would only be an exit. */
		out[CPUID_ECX] = cpuid_host_is_amd() ? BIT(1) | BIT(2) : 0; /* TSA_SQ_NO, TSA_L1_NO */
		break;
	case 0x80000007:
		out[CPUID_EDX] = BIT(8); /* the TSC is invariant: kvm-clock is built on it */
		break;
	case 0x80000008:
		out[CPUID_EAX] = PAGING_PHYS_BITS | 32u << 8; /* linear addresses: 32 bits without LM */
		break;
	}
}

void cpuid_ask(struct vm *vm, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	struct cpuid_answer *a = &vm->cpuid.answer[(leaf ^ leaf >> 26 ^ subleaf << 2) % CPUID_ANSWERS];
	bool osxsave = vm->vcpu.cr4 & CR4_OSXSAVE; /* the one thing that an answer depends on */

	if (!a->valid || a->leaf != leaf || a->subleaf != subleaf || a->osxsave != osxsave) {
		*a = (struct cpuid_answer){
		    .leaf = leaf, .subleaf = subleaf, .valid = true, .osxsave = osxsave};
		cpuid_read(vm, leaf, subleaf, a->out);
	}
	mem_copy(out, a->out, sizeof(a->out));
}
