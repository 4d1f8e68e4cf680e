// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Names of the CPU capabilities by which Linux chooses alternatives (arch/x86/include/asm/cpufeatures.h). The words that
 * mirror a CPUID leaf never change (SDM 2A CPUID, APM 3 appendix E); of those that Linux fills itself (3, 7, 8, 11)
 * only the bits are here that have had one meaning since 4.19. Others are shown by their number.
 */
#include "patcher/context.h"

static const struct {
	uint8_t word;
	const char *names[32];
} words[] = {
    /* clang-format off */
	/* CPUID 1 EDX */
	{0, {"FPU", "VME", "DE", "PSE", "TSC", "MSR", "PAE", "MCE", "CX8", "APIC", NULL, "SEP", "MTRR", "PGE", "MCA", "CMOV",
	     "PAT", "PSE36", "PN", "CLFLUSH", NULL, "DS", "ACPI", "MMX", "FXSR", "XMM", "XMM2", "SELFSNOOP", "HT", "ACC",
	     "IA64", "PBE"}},
	/* CPUID 80000001 EDX */
	{1, {[11] = "SYSCALL", [19] = "MP", [20] = "NX", [22] = "MMXEXT", [25] = "FXSR_OPT", [26] = "GBPAGES",
	     [27] = "RDTSCP", [29] = "LM", [30] = "3DNOWEXT", [31] = "3DNOW"}},
	/* Linux */
	{3, {[4] = "K8", [5] = "K7", [6] = "P3", [7] = "P4", [8] = "CONSTANT_TSC", [9] = "UP", [11] = "ARCH_PERFMON",
	     [14] = "SYSCALL32", [15] = "SYSENTER32", [16] = "REP_GOOD", [18] = "LFENCE_RDTSC", [20] = "NOPL",
	     [21] = "ALWAYS", [22] = "XTOPOLOGY", [23] = "TSC_RELIABLE", [24] = "NONSTOP_TSC", [25] = "CPUID"}},
	/* CPUID 1 ECX */
	{4, {"XMM3", "PCLMULQDQ", "DTES64", "MWAIT", "DSCPL", "VMX", "SMX", "EST", "TM2", "SSSE3", "CID", "SDBG", "FMA",
	     "CX16", "XTPR", "PDCM", NULL, "PCID", "DCA", "XMM4_1", "XMM4_2", "X2APIC", "MOVBE", "POPCNT",
	     "TSC_DEADLINE_TIMER", "AES", "XSAVE", "OSXSAVE", "AVX", "F16C", "RDRAND", "HYPERVISOR"}},
	/* CPUID 80000001 ECX */
	{6, {"LAHF_LM", "CMP_LEGACY", "SVM", "EXTAPIC", "CR8_LEGACY", "ABM", "SSE4A", "MISALIGNSSE", "3DNOWPREFETCH",
	     "OSVW", "IBS", "XOP", "SKINIT", "WDT", NULL, "LWP", "FMA4", "TCE", NULL, "NODEID_MSR", NULL, "TBM",
	     "TOPOEXT", "PERFCTR_CORE", "PERFCTR_NB", NULL, "BPEXT", "PTSC", "PERFCTR_LLC", "MWAITX"}},
	/* Linux */
	{7, {[11] = "PTI", [16] = "MSR_SPEC_CTRL", [17] = "SSBD", [19] = "RSB_CTXSW", [21] = "USE_IBPB",
	     [22] = "USE_IBRS_FW", [23] = "SPEC_STORE_BYPASS_DISABLE", [24] = "LS_CFG_SSBD", [25] = "IBRS", [26] = "IBPB",
	     [27] = "STIBP", [29] = "L1TF_PTEINV", [30] = "IBRS_ENHANCED"}},
	{8, {[15] = "VMMCALL", [16] = "XENPV", [18] = "VMCALL", [19] = "VMW_VMMCALL"}},
	/* CPUID 7.0 EBX */
	{9, {"FSGSBASE", "TSC_ADJUST", NULL, "BMI1", "HLE", "AVX2", NULL, "SMEP", "BMI2", "ERMS", "INVPCID", "RTM", "CQM",
	     NULL, "MPX", "RDT_A", "AVX512F", "AVX512DQ", "RDSEED", "ADX", "SMAP", "AVX512IFMA", NULL, "CLFLUSHOPT",
	     "CLWB", "INTEL_PT", "AVX512PF", "AVX512ER", "AVX512CD", "SHA_NI", "AVX512BW", "AVX512VL"}},
	/* CPUID D.1 EAX */
	{10, {"XSAVEOPT", "XSAVEC", "XGETBV1", "XSAVES"}},
	/* CPUID 80000008 EBX */
	{13, {[0] = "CLZERO", [1] = "IRPERF", [2] = "XSAVEERPTR", [9] = "WBNOINVD", [12] = "AMD_IBPB", [14] = "AMD_IBRS",
	      [15] = "AMD_STIBP", [24] = "AMD_SSBD", [25] = "VIRT_SSBD", [26] = "AMD_SSB_NO"}},
	/* CPUID 7.0 ECX */
	{16, {[1] = "AVX512VBMI", [2] = "UMIP", [3] = "PKU", [4] = "OSPKE", [6] = "AVX512_VBMI2", [8] = "GFNI",
	      [9] = "VAES", [10] = "VPCLMULQDQ", [16] = "LA57", [22] = "RDPID"}},
	/* CPUID 7.0 EDX */
	{18, {[10] = "MD_CLEAR", [26] = "SPEC_CTRL", [27] = "INTEL_STIBP", [28] = "FLUSH_L1D",
	      [29] = "ARCH_CAPABILITIES", [31] = "SPEC_CTRL_SSBD"}},
    /* clang-format on */
};

const char *cpu_feature_name(unsigned feature)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (words[i].word == feature / 32)
			return words[i].names[feature % 32];
	return NULL;
}
