// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The virtual CPU: architectural state as the guest sees it. It lives in the arena and moves between workers
 * with the baton. Fields named after the SDM. What stubs read or write without leaving the guest (virtual IF,
 * selectors, CR0 to CR4) lives in the vCPU page (hypercalls/abi.h) and is reached by the accessors below.
 */
#ifndef MONITOR_VMM_VCPU_H
#define MONITOR_VMM_VCPU_H

#include "hypercalls/abi.h"
#include "hypercalls/decode.h" /* enum seg, enum reg */
#include "monitor/vmm/types.h"

/* EFLAGS, SDM 1 3.4.3 */
enum {
	FL_CF = BIT(0), FL_FIXED = BIT(1), FL_PF = BIT(2), FL_AF = BIT(4), FL_ZF = BIT(6), FL_SF = BIT(7),
	FL_TF = BIT(8), FL_IF = BIT(9), FL_DF = BIT(10), FL_OF = BIT(11), FL_IOPL = 3u << 12, FL_NT = BIT(14),
	FL_RF = BIT(16), FL_VM = BIT(17), FL_AC = BIT(18), FL_VIF = BIT(19), FL_VIP = BIT(20), FL_ID = BIT(21),
	/* kept in hardware EFLAGS while the guest runs; all others are virtual */
	FL_HARDWARE = FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_DF | FL_OF | FL_ID,
};
/* CR0, CR4, EFER: SDM 3A 2.5, 2.2.1 */
enum {
	CR0_PE = BIT(0), CR0_MP = BIT(1), CR0_EM = BIT(2), CR0_TS = BIT(3), CR0_ET = BIT(4), CR0_NE = BIT(5),
	CR0_WP = BIT(16), CR0_AM = BIT(18), CR0_NW = BIT(29), CR0_CD = BIT(30), CR0_PG = BIT(31),
	CR4_VME = BIT(0), CR4_PVI = BIT(1), CR4_TSD = BIT(2), CR4_DE = BIT(3), CR4_PSE = BIT(4), CR4_PAE = BIT(5),
	CR4_MCE = BIT(6), CR4_PGE = BIT(7), CR4_PCE = BIT(8), CR4_OSFXSR = BIT(9), CR4_OSXMMEXCPT = BIT(10),
	CR4_OSXSAVE = BIT(18),
	EFER_NXE = BIT(11),
};
/* Exception vectors, SDM 3A 6.3.1 */
enum {
	EXC_DE = 0, EXC_DB = 1, EXC_NMI = 2, EXC_BP = 3, EXC_OF = 4, EXC_BR = 5, EXC_UD = 6, EXC_NM = 7, EXC_DF = 8,
	EXC_TS = 10, EXC_NP = 11, EXC_SS = 12, EXC_GP = 13, EXC_PF = 14, EXC_MF = 16, EXC_AC = 17, EXC_XM = 19,
};
/* Page-fault error code, SDM 3A 4.7 */
enum { PF_P = BIT(0), PF_W = BIT(1), PF_U = BIT(2), PF_RSVD = BIT(3), PF_I = BIT(4) };

/* Descriptor attributes: bits 8 to 23 of a descriptor's high word, as stored there (limit 19:16 masked out). */
enum {
	ATTR_TYPE = 0xfu << 8, ATTR_S = BIT(12), ATTR_DPL = 3u << 13, ATTR_P = BIT(15), ATTR_AVL = BIT(20),
	ATTR_L = BIT(21), ATTR_DB = BIT(22), ATTR_G = BIT(23),
	ATTR_MASK = 0x00f0ff00,
};

/* The hidden part of a segment register. A null selector has attr 0 (not present). */
struct segment {
	uint16_t sel;
	uint32_t base;
	uint32_t limit; /* in bytes, granularity applied: the last valid offset */
	uint32_t attr;	/* ATTR_* */
};

struct table_register {
	uint32_t base;
	uint16_t limit;
};

#define EXC_NONE 0xff

struct vcpu {
	uint32_t gpr[8]; /* in enum reg order */
	uint32_t eip;	 /* always a guest address, never one inside a stub */
	uint32_t eflags; /* architectural; IF IOPL NT AC are taken from and put back to the vCPU page by
			    vcpu_sync_in()/vcpu_sync_out(), so handlers see the whole truth here */
	struct segment seg[SEG_COUNT];
	struct segment ldtr, tr;
	struct table_register gdtr, idtr;
	uint8_t cpl;
	uint32_t cr0, cr2, cr3, cr4; /* mirrored into the vCPU page on the way in */
	uint64_t pdpte[4];	     /* loaded at CR3 write under PAE */
	uint32_t dr[8];
	uint64_t efer;
	uint64_t pat;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t tsc_aux, tsc_offset;
	uint64_t kvm_system_time, kvm_wall_clock; /* the paravirtual clock's MSRs */
	uint8_t shadow; /* interrupts wait until after the next instruction (STI, MOV SS, POP SS) */
	uint8_t halted;

	/* An exception that the current instruction raised; delivered by the main loop. EXC_NONE without. */
	uint8_t exc_vector;
	uint8_t exc_has_error;
	uint32_t exc_error;
	uint32_t exc_cr2;
};

static inline bool vcpu_protected(const struct vcpu *v)
{
	return v->cr0 & CR0_PE;
}

/*
 * Raise an exception for the current instruction. The first one stays; returns -EFAULT so that handlers can
 * `return vcpu_raise(...)`. vcpu_raise_pf() also sets CR2 at delivery.
 */
int vcpu_raise(struct vcpu *v, unsigned vector, bool has_error, uint32_t error);
int vcpu_raise_pf(struct vcpu *v, struct gva at, uint32_t error);

#endif
