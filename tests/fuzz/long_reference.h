// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The reference of the fuzzer of long blocks: Unicorn 2.0 (QEMU 5's TCG) in 32-bit mode, on guest memory of its own; the CPU
 * for VEX-coded instructions (long_vex.h).
 *
 * Left out, as TCG does otherwise than the SDM says, or has it not:
 *   - POPCNT, LZCNT, SSE3 and later, MOVBE, CRC32, ADX: no such CPU. test_lower_long.c has them by hand;
 *   - 66, F2 and F3 together on MMX and SSE opcodes: TCG prefers 66, CPUs F2 and F3 (SDM 2A 2.1.2 has none preferred);
 *   - F2 and F3 together on string instructions: TCG prefers F2, CPUs the last;
 *   - which of two NaNs an SSE operation returns: TCG goes by the x87's rule; a lane that is NaN on both sides is equal;
 *   - reciprocal estimates (RCPPS, RSQRTPS): "approximate", each CPU has its own;
 *   - TEST by F6 /1 and F7 /1, hints by 0F 18 of a register: #UD in TCG; prefetches by 0F 0D of one: #UD in some CPUs;
 *   - CVTPI2PS, CVTPI2PD from memory: TCG goes over to MMX, CPUs do not (SDM 2A CVTPI2PD);
 *   - MASKMOVQ: TCG does not go over to MMX; MASKMOVDQU over an edge by its mask: CPUs may fault (SDM 2B); FBSTP of what has no 18 digits: TCG stores zeros;
 *   - EMMS: sets TOP to 0 (SDM 3A table 13-2), not in TCG; CMPPS with more than three bits of predicate: #UD in TCG;
 *   - LOOPE, LOOPNE, CMPXCHG8B: TCG loses flags and DF when the run ends there; LOCK NEG: flags of another value;
 *   - CVTPS2PI, CVTPS2PD, CVTDQ2PD, PUNPCKL* (MMX) from memory: TCG reads more than they do, over the edge of a page;
 *   - FISTTP out of range: TCG stores another value; FLD of a signaling NaN: TCG leaves it so, a CPU makes it quiet;
 *   - XABORT and XBEGIN: no such CPU;
 *   - FLDPI and its kin: TCG 5 does not round them as RC says;
 *   - exception bits of the x87 status word and of MXCSR, and C1: TCG 5 sets few of them;
 *   - alignment of SSE operands: TCG does not look. A #GP of the CPU is checked against the address instead;
 *   - the exponent that MMX writes (all ones): TCG leaves it; only the 64 bits are compared;
 *   - FNSTENV, FNSAVE, FXSAVE: last-instruction pointers, which are the emitted code's and not the guest's;
 *   - transcendental x87 instructions, whose last bits differ between CPUs, and stack overflow, which TCG does not know.
 */
#ifndef TESTS_FUZZ_LONG_REFERENCE_H
#define TESTS_FUZZ_LONG_REFERENCE_H

#include "tests/fuzz/long_generate.h"
#include "tests/fuzz/long_vex.h"

#include <unicorn/unicorn.h>

#define LR_GDT 0x13570000u /* nothing leads there */

static struct {
	uc_engine *uc;
	uint8_t *part[LN_PARTS]; /* of ln_parts */
	uint64_t address;	 /* of the last access that failed */
	int trap;		 /* of the last exception; -1 without */
	uint64_t exits[LG_INSNS + 1]; /* where a run stops: the first n_exits, VEX-coded instructions, and its end */
	unsigned n_exits;
	uc_context *pristine;	 /* without an exception that the next would make a double fault */
} lr;

static const int lr_gpr[] = {UC_X86_REG_EAX, UC_X86_REG_ECX, UC_X86_REG_EDX, UC_X86_REG_EBX,
			     UC_X86_REG_ESP, UC_X86_REG_EBP, UC_X86_REG_ESI, UC_X86_REG_EDI};

static inline bool lr_has_both_repeats(const uint8_t *bytes)
{
	bool f2 = false, f3 = false;

	for (; memchr("\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3", *bytes, 11); bytes++) {
		f2 |= *bytes == 0xf2;
		f3 |= *bytes == 0xf3;
	}
	return f2 && f3;
}

static inline bool lr_lacks(const struct insn *i, const uint8_t *bytes)
{
	unsigned repeats = !!(i->prefixes & INSN_REP) + !!(i->prefixes & INSN_REPNE);
	bool f3 = i->prefixes & INSN_REP;

	if (lg_is_string(i) && lr_has_both_repeats(bytes))
		return true;
	if (i->map == 0)
		return i->opcode == 0x9b || i->opcode == 0xd6 || (lg_is(i, 0, 0xc6, 0xc7) && (i->reg & 7)) ||
		       (lg_is(i, 0, 0xf6, 0xf7) && ((i->reg & 7) == 1 || (i->prefixes & INSN_LOCK)));
	if (lv_is(i))
		return lv_lacks(i, bytes);
	if (i->map != 1)
		return true;
	switch (i->opcode) {
	case 0x01 ... 0x0c:
	case 0x0e:
	case 0x0f:
	case 0x30 ... 0x3f: /* RDTSC and kin */
	case 0x52:	    /* RSQRTPS RCPPS */
	case 0x53:
	case 0x77:	    /* EMMS */
	case 0x78 ... 0x7d: /* SSE4A, HADDPS */
	case 0xa2:
	case 0xae: /* FXSAVE and kin */
	case 0xb8: /* POPCNT */
	case 0xb9:
	case 0xd0: /* ADDSUBPS */
	case 0xf7: /* MASKMOVQ MASKMOVDQU */
	case 0xff:
		return true;
	case 0x0d:
	case 0x18:
		return !i->has_mem;
	case 0x2a: /* CVTPI2PS CVTPI2PD */
		if (i->has_mem && !repeats)
			return true;
		break;
	case 0x12:
	case 0x16: /* MOVSLDUP MOVDDUP MOVSHDUP */
	case 0xbc: /* TZCNT LZCNT */
	case 0xbd:
	case 0xf0: /* LDDQU */
		return repeats;
	case 0xc2: /* CMPPS by a predicate that AVX came with */
		if (i->imm & 0xf8)
			return true;
		break;
	case 0xc7: /* RDRAND, CMPXCHG8B */
		return true;
	case 0x2c: /* reads of 8 bytes, and of 4, that TCG makes 16 and 8 */
	case 0x2d:
	case 0x5a:
		if (i->has_mem && !repeats)
			return true;
		break;
	case 0x60 ... 0x62:
		if (i->has_mem && !(i->prefixes & INSN_OPSIZE))
			return true;
		break;
	case 0xe6:
		if (i->has_mem && f3)
			return true;
		break;
	}
	return ((i->opcode & 0xf0) == 0x10 || (i->opcode >= 0x28 && i->opcode < 0x30) ||
		(i->opcode >= 0x50 && i->opcode < 0x80) || i->opcode >= 0xc2) &&
	       repeats + !!(i->prefixes & INSN_OPSIZE) > 1;
}

static inline bool lr_on_invalid(uc_engine *uc, uc_mem_type type, uint64_t address, int size, int64_t value,
				 void *data)
{
	(void)uc, (void)type, (void)size, (void)value, (void)data;
	lr.address = address;
	return false;
}

static inline void lr_on_trap(uc_engine *uc, uint32_t n, void *data)
{
	(void)data;
	lr.trap = (int)n;
	uc_emu_stop(uc);
}

static inline void lr_must(uc_err e)
{
	if (e == UC_ERR_OK)
		return;
	fprintf(stderr, "unicorn: %s\n", uc_strerror(e));
	_exit(1);
}

static inline void *lr_map(uint32_t at, size_t size)
{
	/* between two pages that fault: VEX-coded instructions run on it natively */
	uint8_t *p = mmap(NULL, size + 0x2000, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p + 0x1000, size, PROT_READ | PROT_WRITE) < 0)
		ln_die("mmap");
	p += 0x1000;
	lr_must(uc_mem_map_ptr(lr.uc, at, size, UC_PROT_ALL, p));
	return p;
}

static inline void lr_descriptor(uint8_t *gdt, unsigned n, uint32_t base, uint8_t access)
{
	uint64_t d = 0xffffull | (base & 0xffffffull) << 16 | (uint64_t)access << 40 | 0xcfull << 48 |
		     (uint64_t)(base >> 24) << 56;

	memcpy(gdt + 8 * n, &d, 8);
}

/* Segments come from descriptors: FS and GS for their bases, SS as Unicorn starts with a 16-bit one. */
static inline void lr_start(void)
{
	uc_x86_mmr gdtr = {.base = LR_GDT, .limit = 0xff};
	uint8_t *gdt;
	uc_hook hook;

	lg.lacks = lr_lacks;
	lr_must(uc_open(UC_ARCH_X86, UC_MODE_32, &lr.uc));
	for (size_t k = 0; k < LN_PARTS; k++)
		lr.part[k] = lr_map(ln_parts[k].at, ln_parts[k].size);
	gdt = lr_map(LR_GDT, 0x1000);
	lr_descriptor(gdt, 1, LN_FS_BASE, 0x93);
	lr_descriptor(gdt, 2, LN_GS_BASE, 0x93);
	lr_descriptor(gdt, 3, 0, 0x93);
	lr_must(uc_reg_write(lr.uc, UC_X86_REG_GDTR, &gdtr));
	lr_must(uc_reg_write(lr.uc, UC_X86_REG_FS, &(int){8}));
	lr_must(uc_reg_write(lr.uc, UC_X86_REG_GS, &(int){16}));
	lr_must(uc_reg_write(lr.uc, UC_X86_REG_SS, &(int){24}));
	lr_must(uc_hook_add(lr.uc, &hook, UC_HOOK_MEM_INVALID, (void *)lr_on_invalid, NULL, 1, 0));
	lr_must(uc_hook_add(lr.uc, &hook, UC_HOOK_INTR, (void *)lr_on_trap, NULL, 1, 0));
	lr_must(uc_ctl_exits_enable(lr.uc));
	lr.trap = -1;
	lr_must(uc_context_alloc(lr.uc, &lr.pristine));
	lr_must(uc_context_save(lr.uc, lr.pristine));
}

/* --- state: XSAVE's x87 registers are ST(0) first, Unicorn's are numbered ------------------------------------- */

static inline uint16_t lr_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline void lr_set(const struct long_run *r)
{
	const uint8_t *x = r->xstate;
	unsigned top = lr_get16(x + 2) >> 11 & 7;
	uint16_t tags = 0;

	if (lr.trap >= 0)
		lr_must(uc_context_restore(lr.uc, lr.pristine));
	lr.trap = -1;
	for (unsigned n = 0; n < 8; n++) {
		uc_reg_write(lr.uc, lr_gpr[n], &r->gpr[n]);
		uc_reg_write(lr.uc, UC_X86_REG_FP0 + (int)((top + n) & 7), x + 32 + 16 * n);
		uc_reg_write(lr.uc, UC_X86_REG_XMM0 + (int)n, x + 160 + 16 * n);
		tags |= (uint16_t)(x[4] >> n & 1 ? 0 : 3 << 2 * n);
	}
	uc_reg_write(lr.uc, UC_X86_REG_EFLAGS, &(uint32_t){r->eflags | 2});
	uc_reg_write(lr.uc, UC_X86_REG_FPCW, x);
	uc_reg_write(lr.uc, UC_X86_REG_FPSW, x + 2);
	uc_reg_write(lr.uc, UC_X86_REG_FPTAG, &tags);
	uc_reg_write(lr.uc, UC_X86_REG_MXCSR, x + 24);
}

static inline void lr_get(struct long_run *r)
{
	uint8_t *x = r->xstate;
	uint16_t tags = 0;
	unsigned top;

	uc_reg_read(lr.uc, UC_X86_REG_FPCW, x);
	uc_reg_read(lr.uc, UC_X86_REG_FPSW, x + 2);
	uc_reg_read(lr.uc, UC_X86_REG_FPTAG, &tags);
	top = lr_get16(x + 2) >> 11 & 7;
	x[4] = 0;
	for (unsigned n = 0; n < 8; n++) {
		uc_reg_read(lr.uc, lr_gpr[n], &r->gpr[n]);
		uc_reg_read(lr.uc, UC_X86_REG_FP0 + (int)((top + n) & 7), x + 32 + 16 * n);
		uc_reg_read(lr.uc, UC_X86_REG_XMM0 + (int)n, x + 160 + 16 * n);
		x[4] |= (uint8_t)((tags >> 2 * n & 3) != 3) << n;
	}
	uc_reg_read(lr.uc, UC_X86_REG_EFLAGS, &r->eflags);
	r->eflags &= LN_ARITHMETIC | LN_DF | 0x200000;
	uc_reg_read(lr.uc, UC_X86_REG_EIP, &r->eip);
}

/* From r->eip until `until`; r comes out as the state where it ended. A count would flush all of TCG's code each time. */
static inline uc_err lr_run(struct long_run *r, uint32_t until)
{
	uc_err e;

	lr.trap = -1;
	lr.address = 0;
	lr.exits[lr.n_exits] = until;
	lr_must(uc_ctl_set_exits(lr.uc, lr.exits, lr.n_exits + 1));
	e = uc_emu_start(lr.uc, r->eip, 0, 0, 0);
	lr_get(r);
	return e;
}

#endif
