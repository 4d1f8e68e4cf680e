// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * CPUID of the virtual CPU: an allow-list over what the host answers (SDM 2A CPUID, AMD APM 3 appendix E).
 */
#ifndef MONITOR_VMM_CPUID_H
#define MONITOR_VMM_CPUID_H

#include <stdbool.h>
#include <stdint.h>

struct vm;

enum cpuid_reg { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };

void cpuid_read(const struct vm *vm, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);

/*
 * The same, remembered: where the host is itself a guest, its CPUID is an exit of 10 us, and C libraries ask forty times at
 * the start of each program.
 */
#define CPUID_ANSWERS 64
struct cpuid_answers {
	struct cpuid_answer {
		uint32_t leaf, subleaf;
		bool valid, osxsave;
		uint32_t out[4];
	} answer[CPUID_ANSWERS];
};
void cpuid_ask(struct vm *vm, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);

/* What the host's CPU says, unfiltered. */
void cpuid_host(uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
bool cpuid_host_is_amd(void); /* or Hygon: AMD's MSRs */

/*
 * Components of XCR0 that a guest may have: x87, SSE, AVX, AVX-512. CPUID hides the features of all others (PKU, MPX,
 * AMX), and a kernel that sees no feature does not ask for its state.
 */
#define CPUID_XCR0 0xe7u

/* Bytes of the standard format of XSAVE with these components (SDM 1 13.4.2). */
uint32_t cpuid_xsave_size(uint64_t xcr0);

#endif
