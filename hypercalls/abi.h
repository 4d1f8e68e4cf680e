/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The hypercall ABI between guest code (stubs, landing pads, hand-written guests) and the monitor, version 1.
 * For C and assembly: numbers only; the C view of the vCPU page is struct vcpu_page below.
 *
 * The hole is a range of guest linear addresses that the guest kernel leaves alone (Linux: reservetop=). It is
 * a parameter of `patch`, recorded in the manifest. From its base:
 *
 *   +0x0000  vCPU page: read/write for the guest at CPL 0, shared with the monitor
 *   +0x1000  gate page: 64-bit code of the monitor; GATE_EXIT, GATE_CALL, GATE_SYSCALL enter it
 *   +0x2000  instructions executed out of line; +0x3000 their redirected operands (both the monitor's)
 *   +0x10000 stubs (32-bit code) and landing pads (64-bit code), loaded from the patched image
 *   +0x800000 stubs of modules and their landing pads, emitted when a page of theirs is promoted (the monitor's)
 *   +0x1000000 translated blocks, their landing pads behind them; +0x2000000 their lookup table (the monitor's)
 *   +0x7000000 (the top 16 MiB of the usual hole) never mapped: wrapped segment offsets must fault there
 *
 * A landing pad is 11 bytes of 64-bit code, `mov $site, %r15d; jmp hole+GATE_EXIT`, reached from 32-bit code
 * by `ljmp $ABI_HOST_CS64, $pad`. It changes no memory, no flags and no register that 32-bit code can see.
 *
 * Hand-written guests call `lcall $ABI_HOST_CS64, $hole+GATE_CALL` with a number of enum abi_call in EAX and
 * arguments in EBX, ECX, EDX; the result comes back in EAX (a negative errno on failure). Elsewhere (or where
 * the hole is not mapped yet) VMCALL or VMMCALL does the same, more slowly. CPUID leaf 0x40000100 answers
 * "ParavaneHole" in EBX, ECX, EDX and the hole's base in EAX.
 */
#ifndef HYPERCALLS_ABI_H
#define HYPERCALLS_ABI_H

#define ABI_VERSION 1

#define ABI_HOLE_BASE 0xf8000000 /* default */
#define ABI_HOLE_SIZE 0x08000000
#define ABI_HOLE_GUARD 0x01000000 /* at its top: never mapped */

#define ABI_VCPU_PAGE 0x0000
#define ABI_GATE_PAGE 0x1000
#define ABI_XOL_PAGE 0x2000
#define ABI_BOUNCE_PAGE 0x3000
#define ABI_STUBS 0x10000
#define ABI_MODULES 0x800000
#define ABI_MODULES_SIZE 0x200000
#define ABI_BLOCKS 0x1000000
#define ABI_BLOCKS_SIZE 0x1000000
#define ABI_LOOKUP 0x2000000
#define ABI_LOOKUP_SIZE 0x80000 /* one table; those for user code lie behind it, mapped and soft (enum lower_view) */
#define ABI_LOOKUP_TABLES 3

#define GATE_EXIT (ABI_GATE_PAGE + 0x000) /* from landing pads; 64-bit code, site in R15D */
#define GATE_CALL (ABI_GATE_PAGE + 0x080) /* from `lcall`; 64-bit code, number in EAX */
#define GATE_SYSCALL (ABI_GATE_PAGE + 0x100) /* from the vDSO's `lcall`, at CPL 3 */

#define ABI_HOST_CS64 0x33 /* Linux __USER_CS, arch/x86/include/asm/segment.h */
#define ABI_HOST_CS32 0x23 /* Linux __USER32_CS */
#define ABI_HOST_DS 0x2b   /* Linux __USER_DS: flat, writable */
#define ABI_PAD_LEN 11

/*
 * The vCPU page. Stubs address it as %ss:disp32. All words are 32 bits.
 * IF_DELTA is (virtual IF) - 0x200, that is 0 or -0x200: hardware EFLAGS at CPL 3 always shows IF set, so
 * adding the delta to a pushed image yields the virtual flag without touching the arithmetic flags.
 * PENDING is 0x200 when an interrupt or event waits for the monitor, else 0.
 */
#define VCPU_IF_DELTA 0x00
#define VCPU_PENDING 0x04
#define VCPU_FLAGS_HI 0x08 /* virtual IOPL, NT, AC (and nothing else): added to pushed flags */
#define VCPU_SCRATCH0 0x0c /* owned by a stub from its start to its commit */
#define VCPU_SCRATCH1 0x10
#define VCPU_VERSION 0x14 /* ABI_VERSION */
#define VCPU_TARGET 0x18  /* where a translated indirect branch goes */
#define VCPU_SOFT_RESUME 0x1c /* a software TLB has no entry for VCPU_TARGET: where to try again, */
#define VCPU_SEL 0x20	  /* the guest's selectors, zero-extended, in enum seg order: ES CS SS DS FS GS */
#define VCPU_LDTR 0x38
#define VCPU_TR 0x3c
#define VCPU_CR0 0x40
#define VCPU_CR2 0x48
#define VCPU_CR3 0x4c
#define VCPU_CR4 0x50
#define VCPU_SOFT_ACCESS 0x54 /* and the bytes of the access; bit 31: it writes */
/* For 64-bit blocks (lower_long.h): where the 32-bit base of FS and of GS is, an address that faults while the segment is
 * null or has a limit, a type or a base of its own to look at. The low half of FS_AT always tells which VCPU_FS it is. */
#define VCPU_FS_AT 0x58
#define VCPU_GS_AT 0x60
#define VCPU_GS_BASE 0x6c
#define VCPU_FLAG_SLOT 0x70 /* 8 bytes through which PUSHFQ and POPFQ go */
#define VCPU_FLAG_SLOT_END 0x78
/* For each segment, in enum seg order: a load of the selector that is loaded already, while its descriptor is the same. */
#define VCPU_RELOAD 0x80
#define VCPU_RELOAD_LEN 24
#define VCPU_RELOAD_AT 0	 /* 64 bits: where the descriptor is */
#define VCPU_RELOAD_MINUS_DESC 8 /* 64 bits: 0 - its bytes */
#define VCPU_RELOAD_MINUS_SEL 16 /* 0 - the selector; 1: always leave for the monitor */
/* The two segments that FS held last. A 32-bit kernel's entry code loads its per-CPU segment, its exit code the user's: one
 * store to VCPU_FS_AT loads the other one, while its descriptor is the same. */
#define VCPU_FS 0x110
#define VCPU_FS_LEN 48
#define VCPU_FS_BASE 0
#define VCPU_FS_SEL 4	/* zero-extended; VCPU_SEL does not follow it */
#define VCPU_FS_THIS 8	/* 64 bits: what VCPU_FS_AT is while FS holds it */
#define VCPU_FS_DESC 16 /* 64 bits: where the descriptor is, */
#define VCPU_FS_MINUS_DESC 24 /* 64 bits: 0 - its bytes */
#define VCPU_FS_MINUS_SEL 32  /* as in VCPU_RELOAD */
#define VCPU_FS_OTHER 36      /* the low half of where the other one is */
#define VCPU_FS_INNER 40      /* not 0: IRET to CPL 3 takes it away */
#define VCPU_X87_OPERAND 0x170 /* of the last x87 instruction whose operand a 64-bit block had to move: its offset, */
#define VCPU_X87_OPCODE 0x174  /* and the instruction's opcode, as FOP (SDM 1 8.1.9) */
#define VCPU_CACHED_AT 0x178 /* 64 bits: where each linear page has a byte, 0 if INVLPG has nothing to do; else, a fault */

/* From CPL 3 through a gate to CPL 0, as the last INT n went, and by IRET back, without leaving the blocks. What is "known" is
 * two words of 64 bits: where a descriptor or gate is, and 0 - its bytes. */
#define VCPU_RING 0x180
#define VCPU_RING_CPL (VCPU_RING + 0)   /* where the guest is */
#define VCPU_RING_CALLS (VCPU_RING + 4) /* how often it went inward */
#define VCPU_RING_MINUS_VECTOR (VCPU_RING + 8) /* 0 - n; 1: always leave for the monitor */
#define VCPU_RING_ENTRY (VCPU_RING + 12)       /* the gate's offset */
#define VCPU_RING_IF_DELTA (VCPU_RING + 16)    /* VCPU_IF_DELTA behind it */
#define VCPU_RING_MINUS_SS0 (VCPU_RING + 20)
#define VCPU_RING_INNER_CS (VCPU_RING + 24) /* selectors, zero-extended */
#define VCPU_RING_INNER_SS (VCPU_RING + 28)
#define VCPU_RING_OUTER_CS (VCPU_RING + 32)
#define VCPU_RING_OUTER_SS (VCPU_RING + 36)
#define VCPU_RING_MINUS_CS3 (VCPU_RING + 40) /* 0 - the selector; 1: always leave for the monitor */
#define VCPU_RING_MINUS_SS3 (VCPU_RING + 44)
#define VCPU_RING_GATE (VCPU_RING + 48) /* known */
#define VCPU_RING_CODE0 (VCPU_RING + 64)
#define VCPU_RING_STACK0 (VCPU_RING + 80)
#define VCPU_RING_CODE3 (VCPU_RING + 96)
#define VCPU_RING_STACK3 (VCPU_RING + 112)
#define VCPU_RING_TSS (VCPU_RING + 128)     /* 64 bits: where the TSS has ESP0, and SS0 behind it */
#define VCPU_RING_INNER_TABLE (VCPU_RING + 136) /* 64 bits: where the lookup table of that ring's view is */
#define VCPU_RING_OUTER_TABLE (VCPU_RING + 144)
#define VCPU_RING_WINDOW (VCPU_RING + 152) /* 64 bits: R14 of supervisor blocks */

/* Services for a guest that knows where it runs (GATE_CALL, VMCALL, VMMCALL). */
#define ABI_CALL_BASE 0x50560000 /* "PV": apart from the numbers of KVM, whose clock signature CPUID shows */
#define ABI_CALL_VERSION (ABI_CALL_BASE + 0) /* -> ABI_VERSION */
#define ABI_CALL_PUTCHAR (ABI_CALL_BASE + 1) /* EBX: character, to the console */
#define ABI_CALL_EXIT (ABI_CALL_BASE + 2)	   /* EBX: 0 ends the run with status 0, anything else with EXIT_STATUS_CRASH */
#define ABI_CALL_STATS (ABI_CALL_BASE + 3)   /* EBX: an enum exit_reason -> its count so far (modulo 2^32) */

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

struct vcpu_page {
	uint32_t if_delta;
	uint32_t pending;
	uint32_t flags_hi;
	uint32_t scratch0, scratch1;
	uint32_t version;
	uint32_t target;
	uint32_t soft_resume;
	uint32_t sel[6];
	uint32_t ldtr, tr;
	uint32_t cr0, cr1_reserved, cr2, cr3, cr4;
	uint32_t soft_access;
	uint64_t fs_at, gs_at;
	uint32_t reserved2, gs_base;
	uint64_t flag_slot, zero;
	struct vcpu_reload {
		uint64_t descriptor_at, minus_descriptor;
		uint32_t minus_sel, reserved;
	} reload[6]; /* of FS: unused */
	struct vcpu_fs {
		uint32_t base, sel;
		uint64_t this, descriptor_at, minus_descriptor;
		uint32_t minus_sel, other;
		uint32_t inner, reserved;
	} fs[2];
	uint32_t x87_operand, x87_opcode;
	uint64_t cached_at;
	struct vcpu_ring {
		uint32_t cpl, calls;
		uint32_t minus_vector, entry, if_delta;
		uint32_t minus_ss0, inner_cs, inner_ss;
		uint32_t outer_cs, outer_ss, minus_cs3, minus_ss3;
		struct vcpu_known {
			uint64_t at, minus;
		} gate, code0, stack0, code3, stack3;
		uint64_t tss, inner_table, outer_table, window;
	} ring;
};

_Static_assert(offsetof(struct vcpu_page, target) == VCPU_TARGET, "abi.h");
_Static_assert(offsetof(struct vcpu_page, soft_resume) == VCPU_SOFT_RESUME, "abi.h");
_Static_assert(offsetof(struct vcpu_page, soft_access) == VCPU_SOFT_ACCESS, "abi.h");
_Static_assert(offsetof(struct vcpu_page, sel) == VCPU_SEL, "abi.h");
_Static_assert(offsetof(struct vcpu_page, tr) == VCPU_TR, "abi.h");
_Static_assert(offsetof(struct vcpu_page, cr4) == VCPU_CR4, "abi.h");
_Static_assert(offsetof(struct vcpu_page, fs_at) == VCPU_FS_AT, "abi.h");
_Static_assert(offsetof(struct vcpu_page, gs_base) == VCPU_GS_BASE, "abi.h");
_Static_assert(offsetof(struct vcpu_page, flag_slot) == VCPU_FLAG_SLOT, "abi.h");
_Static_assert(offsetof(struct vcpu_page, reload) == VCPU_RELOAD, "abi.h");
_Static_assert(offsetof(struct vcpu_page, cached_at) == VCPU_CACHED_AT, "abi.h");
_Static_assert(sizeof(struct vcpu_reload) == VCPU_RELOAD_LEN, "abi.h");
_Static_assert(offsetof(struct vcpu_reload, minus_sel) == VCPU_RELOAD_MINUS_SEL, "abi.h");
_Static_assert(offsetof(struct vcpu_page, fs) == VCPU_FS, "abi.h");
_Static_assert(sizeof(struct vcpu_fs) == VCPU_FS_LEN, "abi.h");
_Static_assert(offsetof(struct vcpu_fs, this) == VCPU_FS_THIS, "abi.h");
_Static_assert(offsetof(struct vcpu_fs, descriptor_at) == VCPU_FS_DESC, "abi.h");
_Static_assert(offsetof(struct vcpu_fs, minus_descriptor) == VCPU_FS_MINUS_DESC, "abi.h");
_Static_assert(offsetof(struct vcpu_fs, minus_sel) == VCPU_FS_MINUS_SEL, "abi.h");
_Static_assert(offsetof(struct vcpu_fs, other) == VCPU_FS_OTHER, "abi.h");
_Static_assert(offsetof(struct vcpu_fs, inner) == VCPU_FS_INNER, "abi.h");
_Static_assert(offsetof(struct vcpu_page, ring) == VCPU_RING, "abi.h");
_Static_assert(offsetof(struct vcpu_page, ring.minus_ss3) == VCPU_RING_MINUS_SS3, "abi.h");
_Static_assert(offsetof(struct vcpu_page, ring.gate) == VCPU_RING_GATE, "abi.h");
_Static_assert(offsetof(struct vcpu_page, ring.window) == VCPU_RING_WINDOW, "abi.h");
_Static_assert(offsetof(struct vcpu_page, x87_operand) == VCPU_X87_OPERAND, "abi.h");
_Static_assert(offsetof(struct vcpu_page, x87_opcode) == VCPU_X87_OPCODE, "abi.h");
#endif

#endif
