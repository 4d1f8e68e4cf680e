// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The decoder wrapper: hand-written cases from the SDM, then three oracles over random bytes: Zydis's own
 * operand pass (which insn_decode() does without), a guard page behind the bytes, and LLVM's disassembler
 * for lengths.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <llvm-c/Disassembler.h>
#include <llvm-c/Target.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <Zydis/Zydis.h>

#include "hypercalls/decode.h"
#include "hypercalls/policy.h"

#define VA 0xc1000000u
#define BYTES(...) .bytes = {__VA_ARGS__}, .size = sizeof((const uint8_t[]){__VA_ARGS__})

static const int widths[] = {16, 32, 64};

static uint32_t rng_state = 0x9e3779b9;

static uint32_t rng(void) /* xorshift32: the same bytes in every run */
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 17;
	rng_state ^= rng_state << 5;
	return rng_state;
}

/* Random bytes that are instructions more often than noise: with prefixes, and half of them in the 0F map. */
static void random_insn(uint8_t bytes[16])
{
	static const uint8_t prefixes[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e,
					   0x36, 0x64, 0x65, 0x3e, 0x26, 0x48};
	unsigned n = 0;

	for (unsigned i = 0; i < 16; i++)
		bytes[i] = rng() >> 8;
	while (rng() & 0x100 && n < 3)
		bytes[n++] = prefixes[(rng() >> 8) % sizeof(prefixes)];
	if (rng() & 0x100)
		bytes[n] = 0x0f;
}

static void fail_bytes(const char *what, const uint8_t *bytes, unsigned n, int width)
{
	char text[128] = "", hex[64] = "";

	for (unsigned i = 0; i < n && i < INSN_MAX; i++)
		sprintf(hex + 3 * i, "%02x ", bytes[i]);
	insn_format(text, sizeof(text), bytes, n, VA, width);
	fail_msg("%s: %d-bit %s(%s)", what, width, hex, text);
}

/* ---- flow ---- */

struct flow_case {
	int width;
	enum insn_flow flow;
	uint64_t target;
	uint8_t bytes[INSN_MAX], size;
};

static void flow_and_target(void **state)
{
	static const struct flow_case cases[] = {
	    {32, FLOW_NEXT, 0, BYTES(0x90)},
	    {32, FLOW_JCC, VA + 2 + 0x10, BYTES(0x74, 0x10)},
	    {32, FLOW_JCC, VA + 2 - 2, BYTES(0x75, 0xfe)},
	    {32, FLOW_JCC, VA + 6 - 0x100, BYTES(0x0f, 0x84, 0x00, 0xff, 0xff, 0xff)},
	    {32, FLOW_JCC, (VA + 5 + 0x10) & 0xffff, BYTES(0x66, 0x0f, 0x84, 0x10, 0x00)},
	    {32, FLOW_LOOP, VA + 2 - 4, BYTES(0xe2, 0xfc)},
	    {32, FLOW_LOOP, VA + 2 + 4, BYTES(0xe3, 0x04)},
	    {32, FLOW_LOOP, VA + 3 + 4, BYTES(0x67, 0xe3, 0x04)},
	    {32, FLOW_JMP, VA + 2 + 1, BYTES(0xeb, 0x01)},
	    {32, FLOW_JMP, 0x40000000, BYTES(0xe9, 0xfb, 0xff, 0xff, 0x7e)},
	    {32, FLOW_CALL, VA + 5 + 0x1000, BYTES(0xe8, 0x00, 0x10, 0x00, 0x00)},
	    {32, FLOW_JMP, 0x000000f2, BYTES(0xe9, 0xed, 0x00, 0x00, 0x3f)}, /* wraps at 4 GiB */
	    {32, FLOW_RET, 0, BYTES(0xc3)},
	    {32, FLOW_RET, 0, BYTES(0xf3, 0xc3)},
	    {32, FLOW_RET, 0, BYTES(0xc2, 0x08, 0x00)},
	    {32, FLOW_JMP_IND, 0, BYTES(0xff, 0xe0)},
	    {32, FLOW_JMP_IND, 0, BYTES(0x3e, 0xff, 0xe0)}, /* notrack */
	    {32, FLOW_JMP_IND, 0, BYTES(0xff, 0x24, 0x85, 0x00, 0x00, 0x00, 0xc2)},
	    {32, FLOW_CALL_IND, 0, BYTES(0xff, 0xd0)},
	    {32, FLOW_CALL_IND, 0, BYTES(0xff, 0x15, 0x00, 0x00, 0x00, 0xc2)},
	    {32, FLOW_NEXT, 0, BYTES(0xff, 0xc0)}, /* inc: the same opcode byte */
	    {32, FLOW_NEXT, 0, BYTES(0xff, 0x30)}, /* push */
	    {32, FLOW_FAR_CALL, 0, BYTES(0xff, 0x18)},
	    {32, FLOW_FAR, 0, BYTES(0xff, 0x28)},
	    {32, FLOW_FAR_CALL, 0, BYTES(0x9a, 1, 2, 3, 4, 5, 6)},
	    {32, FLOW_FAR, 0, BYTES(0xea, 1, 2, 3, 4, 5, 6)},
	    {32, FLOW_FAR, 0, BYTES(0xcb)},
	    {32, FLOW_FAR, 0, BYTES(0xca, 0x04, 0x00)},
	    {32, FLOW_FAR, 0, BYTES(0xcf)},
	    {32, FLOW_FAR_CALL, 0, BYTES(0xcc)},
	    {32, FLOW_FAR_CALL, 0, BYTES(0xcd, 0x80)},
	    {32, FLOW_FAR_CALL, 0, BYTES(0xce)},
	    {32, FLOW_FAR_CALL, 0, BYTES(0xf1)},
	    {32, FLOW_FAR_CALL, 0, BYTES(0x0f, 0x05)},
	    {32, FLOW_FAR_CALL, 0, BYTES(0x0f, 0x34)},
	    {32, FLOW_FAR, 0, BYTES(0x0f, 0x35)},
	    {64, FLOW_FAR, 0, BYTES(0x48, 0x0f, 0x07)},
	    {64, FLOW_FAR, 0, BYTES(0xf3, 0x0f, 0x01, 0xec)}, /* uiret */
	    {32, FLOW_STOP, 0, BYTES(0x0f, 0x0b)},
	    {32, FLOW_STOP, 0, BYTES(0x0f, 0xb9, 0xc0)},
	    {32, FLOW_STOP, 0, BYTES(0x0f, 0xff, 0xc0)},
	    {32, FLOW_NEXT, 0, BYTES(0xf4)},
	    {32, FLOW_NEXT, VA + 6 + 8, BYTES(0xc7, 0xf8, 0x08, 0x00, 0x00, 0x00)}, /* xbegin */
	    {16, FLOW_JMP, 0x0003, BYTES(0xe9, 0x00, 0x00)},
	    {16, FLOW_JMP, 0xfffe, BYTES(0xeb, 0xfc)},
	    {64, FLOW_CALL, VA + 5 - 0x1000ull, BYTES(0xe8, 0x00, 0xf0, 0xff, 0xff)},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct flow_case *c = &cases[i];
		struct insn insn;

		if (insn_decode(&insn, c->bytes, c->size, c->width == 16 ? 0 : VA, c->width) != c->size)
			fail_bytes("length", c->bytes, c->size, c->width);
		if (insn.flow != c->flow || insn.target != c->target)
			fail_bytes("flow or target", c->bytes, c->size, c->width);
	}
}

static void branch_wraps_in_64_bit_code(void **state)
{
	static const uint8_t call[] = {0xe8, 0x00, 0x00, 0x00, 0x00};
	struct insn insn;
	(void)state;

	assert_int_equal(insn_decode(&insn, call, 5, 0xffffffff81000000, 64), 5);
	assert_true(insn.target == 0xffffffff81000005);
}

/* ---- memory operands ---- */

struct mem_case {
	int width;
	uint8_t base, index, scale, seg;
	int64_t disp;
	uint8_t disp_off, disp_len, adsize;
	uint8_t bytes[INSN_MAX], size;
};

static void memory_operands(void **state)
{
	const uint8_t no = REG_NONE;
	const struct mem_case cases[] = {
	    {32, REG_AX, no, 0, SEG_DS, 0, 0, 0, 4, BYTES(0x8b, 0x00)},
	    {32, REG_BP, no, 0, SEG_SS, -4, 2, 1, 4, BYTES(0x8b, 0x45, 0xfc)},
	    {32, REG_SP, no, 0, SEG_SS, 8, 3, 1, 4, BYTES(0x8b, 0x44, 0x24, 0x08)},
	    {32, REG_SP, REG_BP, 1, SEG_SS, 0, 0, 0, 4, BYTES(0x8b, 0x04, 0x2c)},
	    {32, REG_AX, REG_BP, 4, SEG_DS, 0, 0, 0, 4, BYTES(0x8b, 0x04, 0xa8)},
	    {32, no, REG_AX, 4, SEG_DS, -0x3e000000, 3, 4, 4, BYTES(0x8b, 0x04, 0x85, 0, 0, 0, 0xc2)},
	    {32, no, no, 0, SEG_DS, 0x12345678, 2, 4, 4, BYTES(0x8b, 0x05, 0x78, 0x56, 0x34, 0x12)},
	    {32, no, no, 0, SEG_DS, 0x10, 3, 4, 4, BYTES(0x8b, 0x04, 0x25, 0x10, 0, 0, 0)},
	    {32, no, no, 0, SEG_FS, 0x14, 3, 4, 4, BYTES(0x64, 0x8b, 0x05, 0x14, 0, 0, 0)},
	    {32, REG_AX, no, 0, SEG_SS, 0, 0, 0, 4, BYTES(0x36, 0x8b, 0x00)},
	    {32, REG_BP, no, 0, SEG_DS, 0, 3, 1, 4, BYTES(0x3e, 0x8b, 0x45, 0x00)},
	    {32, REG_AX, no, 0, SEG_GS, 0, 0, 0, 4, BYTES(0x2e, 0x65, 0x8b, 0x00)}, /* the last one counts */
	    {32, REG_AX, no, 0, SEG_CS, 0, 0, 0, 4, BYTES(0x65, 0x2e, 0x8b, 0x00)},
	    {32, REG_BX, REG_SI, 1, SEG_DS, 0, 0, 0, 2, BYTES(0x67, 0x8b, 0x00)},
	    {32, REG_BP, REG_DI, 1, SEG_SS, 0, 0, 0, 2, BYTES(0x67, 0x8b, 0x03)},
	    {32, no, no, 0, SEG_DS, 0x1234, 3, 2, 2, BYTES(0x67, 0x8b, 0x06, 0x34, 0x12)},
	    {16, REG_BP, no, 0, SEG_SS, -2, 2, 1, 2, BYTES(0x8b, 0x46, 0xfe)},
	    {16, REG_BX, no, 0, SEG_DS, 0x1234, 2, 2, 2, BYTES(0x8b, 0x87, 0x34, 0x12)},
	    {16, REG_SI, no, 0, SEG_DS, 0, 0, 0, 2, BYTES(0x8b, 0x04)},
	    {16, REG_AX, REG_CX, 8, SEG_DS, 0, 0, 0, 4, BYTES(0x67, 0x8b, 0x04, 0xc8)},
	    {64, REG_IP, no, 0, SEG_DS, 0x10, 3, 4, 8, BYTES(0x48, 0x8b, 0x05, 0x10, 0, 0, 0)},
	    {64, 12, no, 0, SEG_DS, 0, 0, 0, 8, BYTES(0x49, 0x8b, 0x04, 0x24)},
	    {64, 13, no, 0, SEG_DS, 0, 3, 1, 8, BYTES(0x49, 0x8b, 0x45, 0x00)},
	    {64, REG_AX, 12, 2, SEG_DS, 0, 0, 0, 8, BYTES(0x4a, 0x8b, 0x04, 0x60)},
	    {64, REG_AX, no, 0, SEG_GS, 0, 0, 0, 8, BYTES(0x65, 0x48, 0x8b, 0x00)},
	    {64, REG_AX, no, 0, SEG_DS, 0, 0, 0, 4, BYTES(0x67, 0x8b, 0x00)},
	    {32, REG_AX, no, 0, SEG_DS, 0x40, 6, 1, 4,
	     BYTES(0x62, 0xf1, 0x7c, 0x48, 0x10, 0x40, 0x01)}, /* disp8*64 */
	};
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct mem_case *c = &cases[i];
		struct insn m;

		if (insn_decode(&m, c->bytes, c->size, VA, c->width) != c->size || !m.has_mem || !m.has_modrm)
			fail_bytes("length or has_mem", c->bytes, c->size, c->width);
		if (m.base != c->base || m.index != c->index || m.scale != c->scale || m.seg != c->seg)
			fail_bytes("base, index, scale or segment", c->bytes, c->size, c->width);
		if (m.disp != c->disp || m.disp_off != c->disp_off || m.disp_len != c->disp_len ||
		    m.adsize != c->adsize)
			fail_bytes("displacement or address size", c->bytes, c->size, c->width);
	}
}

/* Operands in memory that ModRM does not name: only their segment and a moffs address are reported. */
/* VEX.B of 0 names no higher register in 32-bit code. */
static void vex_b_in_32_bit_code(void **state)
{
	static const uint8_t memory[] = {0xc4, 0xc2, 0x7d, 0x3c, 0x1b}, registers[] = {0xc4, 0xc2, 0x7d, 0x3c, 0xdb};
	struct insn i;

	(void)state;
	assert_int_equal(insn_decode(&i, memory, sizeof(memory), 0, 32), 5);
	assert_int_equal(i.base, REG_BX);
	assert_int_equal(insn_decode(&i, registers, sizeof(registers), 0, 32), 5);
	assert_int_equal(i.rm, REG_BX);
	assert_int_equal(insn_decode(&i, memory, sizeof(memory), 0, 64), 5);
	assert_int_equal(i.base, 8 + REG_BX);
}

static void implicit_memory(void **state)
{
	static const struct {
		int64_t disp;
		int width;
		uint8_t seg, disp_off, disp_len;
		uint8_t bytes[INSN_MAX], size;
	} cases[] = {
	    {0x12345678, 32, SEG_DS, 1, 4, BYTES(0xa1, 0x78, 0x56, 0x34, 0x12)},
	    {-0x3e000000, 32, SEG_FS, 2, 4, BYTES(0x64, 0xa3, 0, 0, 0, 0xc2)},
	    {0x1234, 32, SEG_DS, 2, 2, BYTES(0x67, 0xa0, 0x34, 0x12)},
	    {0x1122334455667788, 64, SEG_DS, 1, 8,
	     BYTES(0xa0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11)},
	    {0, 32, SEG_DS, 0, 0, BYTES(0xf3, 0xa5)},
	    {0, 32, SEG_ES, 0, 0, BYTES(0x26, 0xa4)},
	    {0, 32, SEG_DS, 0, 0, BYTES(0xac)},
	    {0, 32, SEG_GS, 0, 0, BYTES(0x65, 0xa6)},
	    {0, 32, SEG_DS, 0, 0, BYTES(0x6e)},
	    {0, 32, SEG_DS, 0, 0, BYTES(0xd7)},
	    {0, 32, SEG_NONE, 0, 0, BYTES(0xaa)}, /* stos: ES:EDI alone, no override */
	    {0, 32, SEG_NONE, 0, 0, BYTES(0x6c)}, /* ins */
	    {0, 32, SEG_NONE, 0, 0, BYTES(0x89, 0xc3)},
	    {0, 32, SEG_NONE, 0, 0, BYTES(0x64, 0x89, 0xc3)}, /* an override without memory */
	};
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct insn m;

		if (insn_decode(&m, cases[i].bytes, cases[i].size, VA, cases[i].width) != cases[i].size ||
		    m.has_mem)
			fail_bytes("length or has_mem", cases[i].bytes, cases[i].size, cases[i].width);
		if (m.seg != cases[i].seg || m.disp != cases[i].disp || m.disp_off != cases[i].disp_off ||
		    m.disp_len != cases[i].disp_len)
			fail_bytes("segment or moffs", cases[i].bytes, cases[i].size, cases[i].width);
	}
}

/* MOV CR and DR ignore ModRM.mod: no memory, no SIB, no displacement follows. */
static void mov_cr_ignores_mod(void **state)
{
	static const uint8_t forms[][3] = {
	    {0x0f, 0x20, 0x04}, {0x0f, 0x22, 0x1c}, {0x0f, 0x21, 0x7d}, {0x0f, 0x23, 0xbc}};
	(void)state;

	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		struct insn insn;

		assert_int_equal(insn_decode(&insn, forms[i], 3, VA, 32), 3);
		assert_false(insn.has_mem);
		assert_int_equal(insn.seg, SEG_NONE);
		assert_int_equal(insn.rm, forms[i][2] & 7);
		assert_int_equal(insn.reg, forms[i][2] >> 3 & 7);
		assert_true(insn_is_sensitive(&insn));
	}
}

/* ---- immediates ---- */

static void immediates(void **state)
{
	static const struct {
		int64_t imm;
		int width;
		uint8_t imm_off, imm_len;
		uint8_t bytes[INSN_MAX], size;
	} cases[] = {
	    {-1, 32, 2, 1, BYTES(0x83, 0xc0, 0xff)},
	    {-2, 32, 1, 1, BYTES(0x6a, 0xfe)},
	    {0x80, 32, 1, 1, BYTES(0xcd, 0x80)},
	    {0xf0, 32, 1, 1, BYTES(0xe4, 0xf0)},
	    {0xf0, 32, 1, 1, BYTES(0xe6, 0xf0)},
	    {0x12345678, 32, 1, 4, BYTES(0x68, 0x78, 0x56, 0x34, 0x12)},
	    {0x1234, 32, 2, 2, BYTES(0x66, 0x68, 0x34, 0x12)},
	    {0x08, 32, 1, 2, BYTES(0xc2, 0x08, 0x00)},
	    {0x10, 32, 1, 2, BYTES(0xc8, 0x10, 0x00, 0x01)},
	    {0x1f, 32, 2, 1, BYTES(0xc1, 0xe0, 0x1f)},
	    {7, 32, 6, 4, BYTES(0xc7, 0x05, 0, 0, 0, 0xc2, 7, 0, 0, 0)},
	    {0x1122334455667788, 64, 2, 8, BYTES(0x48, 0xb8, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11)},
	    {-1, 64, 3, 4, BYTES(0x48, 0xc7, 0xc0, 0xff, 0xff, 0xff, 0xff)},
	    {0, 32, 0, 0, BYTES(0x90)},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct insn m;

		if (insn_decode(&m, cases[i].bytes, cases[i].size, VA, cases[i].width) != cases[i].size)
			fail_bytes("length", cases[i].bytes, cases[i].size, cases[i].width);
		if (m.imm != cases[i].imm || m.imm_off != cases[i].imm_off || m.imm_len != cases[i].imm_len)
			fail_bytes("immediate", cases[i].bytes, cases[i].size, cases[i].width);
	}
}

static void far_pointer(void **state)
{
	static const uint8_t jmp32[] = {0xea, 0x78, 0x56, 0x34, 0x92, 0x10, 0x80};
	static const uint8_t call16[] = {0x66, 0x9a, 0x34, 0x12, 0x60, 0x00};
	struct insn insn;
	(void)state;

	assert_int_equal(insn_decode(&insn, jmp32, 7, VA, 32), 7);
	assert_int_equal((uint32_t)insn.imm, 0x92345678);
	assert_int_equal(insn.selector, 0x8010);
	assert_int_equal(insn.imm_off, 1);
	assert_int_equal(insn.imm_len, 4);
	assert_int_equal(insn_decode(&insn, call16, 6, VA, 32), 6);
	assert_int_equal(insn.imm, 0x1234);
	assert_int_equal(insn.selector, 0x60);
	assert_int_equal(insn.opsize, 2);
}

static void sizes_and_prefixes(void **state)
{
	static const struct {
		int width;
		uint8_t opsize, adsize, prefixes, map, opcode;
		uint8_t bytes[INSN_MAX], size;
	} cases[] = {
	    {32, 4, 4, 0, 0, 0x9c, BYTES(0x9c)},
	    {32, 2, 4, INSN_OPSIZE, 0, 0x9c, BYTES(0x66, 0x9c)},
	    {16, 2, 2, 0, 0, 0x9c, BYTES(0x9c)},
	    {16, 4, 2, INSN_OPSIZE, 0, 0x9d, BYTES(0x66, 0x9d)},
	    {64, 8, 8, 0, 0, 0x9c, BYTES(0x9c)},
	    {64, 8, 8, 0, 0, 0xcf, BYTES(0x48, 0xcf)},
	    {64, 4, 8, 0, 0, 0xcf, BYTES(0xcf)},
	    {32, 1, 4, 0, 0, 0xec, BYTES(0xec)},
	    {32, 4, 4, 0, 0, 0xef, BYTES(0xef)},
	    {32, 2, 4, INSN_OPSIZE, 0, 0xef, BYTES(0x66, 0xef)},
	    {32, 1, 4, INSN_REP, 0, 0x6c, BYTES(0xf3, 0x6c)},
	    {32, 2, 2, INSN_REP | INSN_OPSIZE | INSN_ADSIZE, 0, 0x6f, BYTES(0xf3, 0x66, 0x67, 0x6f)},
	    {32, 4, 4, INSN_LOCK, 1, 0xb1, BYTES(0xf0, 0x0f, 0xb1, 0x11)},
	    {32, 4, 4, INSN_REPNE, 0, 0xaf, BYTES(0xf3, 0xf2, 0xaf)},
	    {32, 4, 4, 0, 1, 0x22, BYTES(0x0f, 0x22, 0xd8)},
	    {32, 4, 4, 0, 2, 0xf0, BYTES(0x0f, 0x38, 0xf0, 0x00)},
	    {32, 4, 4, INSN_OPSIZE, 3, 0x0f, BYTES(0x66, 0x0f, 0x3a, 0x0f, 0xc1, 0x04)},
	    {32, 1, 4, 0, 0, 0x88, BYTES(0x88, 0x03)},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct insn m;

		if (insn_decode(&m, cases[i].bytes, cases[i].size, VA, cases[i].width) != cases[i].size)
			fail_bytes("length", cases[i].bytes, cases[i].size, cases[i].width);
		if (cases[i].map < 2 && m.opsize != cases[i].opsize)
			fail_bytes("operand size", cases[i].bytes, cases[i].size, cases[i].width);
		if (m.adsize != cases[i].adsize || m.prefixes != cases[i].prefixes)
			fail_bytes("address size or prefixes", cases[i].bytes, cases[i].size, cases[i].width);
		if (m.map != cases[i].map || m.opcode != cases[i].opcode || m.width != cases[i].width)
			fail_bytes("map or opcode", cases[i].bytes, cases[i].size, cases[i].width);
	}
}

/* ---- flags ---- */

#define CF 0x001u
#define ZF 0x040u
#define DF 0x400u
#define ARITH 0x8d5u /* OF SF ZF AF PF CF */

static void flags(void **state)
{
	static const struct {
		uint32_t read, written;
		uint8_t bytes[INSN_MAX], size;
	} cases[] = {
	    {0, ARITH, BYTES(0x01, 0xd8)},	 /* add */
	    {CF, ARITH, BYTES(0x11, 0xd8)},	 /* adc */
	    {0, ARITH & ~CF, BYTES(0x40)},	 /* inc leaves CF */
	    {0, 0, BYTES(0x89, 0xd8)},		 /* mov */
	    {0, 0, BYTES(0x8d, 0x00)},		 /* lea */
	    {0, ARITH, BYTES(0x85, 0xc0)},	 /* test; AF undefined counts */
	    {ZF, 0, BYTES(0x74, 0x00)},		 /* je */
	    {CF, CF, BYTES(0xf5)},		 /* cmc */
	    {0, DF, BYTES(0xfc)},		 /* cld */
	    {DF, 0, BYTES(0xf3, 0xa4)},		 /* rep movs */
	    {0, ZF, BYTES(0x0f, 0x00, 0xe8)},	 /* verw */
	    {0, ARITH, BYTES(0xc1, 0xe0, 0x04)}, /* shl $4 always writes */
	    {0, ZF, BYTES(0x0f, 0xc7, 0x08)},	 /* cmpxchg8b */
	};
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct insn m;

		if (insn_decode(&m, cases[i].bytes, cases[i].size, VA, 32) != cases[i].size)
			fail_bytes("length", cases[i].bytes, cases[i].size, 32);
		if ((m.flags_read & (ARITH | DF)) != cases[i].read)
			fail_bytes("flags read", cases[i].bytes, cases[i].size, 32);
		if ((m.flags_written & (ARITH | DF)) != cases[i].written)
			fail_bytes("flags written", cases[i].bytes, cases[i].size, 32);
	}
}

/* A liveness scan that believed these kill their flags would let a stub destroy live ones. */
static void flags_that_may_survive(void **state)
{
	static const struct {
		uint8_t bytes[INSN_MAX], size;
	} cases[] = {
	    {BYTES(0xd3, 0xe0)},	     /* shl %cl */
	    {BYTES(0xd2, 0xe8)},	     /* shr %cl, byte */
	    {BYTES(0xd3, 0xc0)},	     /* rol %cl */
	    {BYTES(0xd3, 0xd0)},	     /* rcl %cl */
	    {BYTES(0x0f, 0xa5, 0xc2)},	     /* shld %cl */
	    {BYTES(0x0f, 0xad, 0xc2)},	     /* shrd %cl */
	    {BYTES(0xc1, 0xe0, 0x20)},	     /* shl $32: masked to 0 */
	    {BYTES(0xc0, 0xe0, 0x00)},	     /* shl $0 */
	    {BYTES(0x0f, 0xa4, 0xc2, 0x20)}, /* shld $32 */
	    {BYTES(0xf3, 0xa6)},	     /* repe cmps: may run zero times */
	    {BYTES(0xf2, 0xae)},	     /* repne scas */
	};
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct insn m;

		if (insn_decode(&m, cases[i].bytes, cases[i].size, VA, 32) != cases[i].size ||
		    !m.flags_written)
			fail_bytes("length or flags", cases[i].bytes, cases[i].size, 32);
		if ((m.flags_read & m.flags_written) != m.flags_written)
			fail_bytes("flags reported as killed", cases[i].bytes, cases[i].size, 32);
	}
}

/* ---- segment registers ---- */

static void segment_registers(void **state)
{
	static const struct {
		enum seg seg;
		uint8_t bytes[INSN_MAX], size;
	} cases[] = {
	    {SEG_ES, BYTES(0x06)},
	    {SEG_ES, BYTES(0x07)},
	    {SEG_CS, BYTES(0x0e)},
	    {SEG_SS, BYTES(0x16)},
	    {SEG_SS, BYTES(0x17)},
	    {SEG_DS, BYTES(0x1e)},
	    {SEG_DS, BYTES(0x1f)},
	    {SEG_FS, BYTES(0x0f, 0xa0)},
	    {SEG_FS, BYTES(0x0f, 0xa1)},
	    {SEG_GS, BYTES(0x0f, 0xa8)},
	    {SEG_GS, BYTES(0x0f, 0xa9)},
	    {SEG_ES, BYTES(0xc4, 0x00)},
	    {SEG_DS, BYTES(0xc5, 0x00)},
	    {SEG_SS, BYTES(0x0f, 0xb2, 0x00)},
	    {SEG_FS, BYTES(0x0f, 0xb4, 0x00)},
	    {SEG_GS, BYTES(0x0f, 0xb5, 0x00)},
	    {SEG_FS, BYTES(0x8e, 0xe0)},
	    {SEG_GS, BYTES(0x8c, 0xe8)},
	    {SEG_CS, BYTES(0x8c, 0xc8)},
	    {SEG_SS, BYTES(0x8e, 0xd0)},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct insn m;

		if (insn_decode(&m, cases[i].bytes, cases[i].size, VA, 32) != cases[i].size ||
		    !insn_is_sensitive(&m) || insn_sreg(&m) != cases[i].seg)
			fail_bytes("segment register", cases[i].bytes, cases[i].size, 32);
	}
}

/* ---- oracles ---- */

static uint8_t reg_id(ZydisRegister reg)
{
	if (reg == ZYDIS_REGISTER_NONE)
		return REG_NONE;
	if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
		return REG_IP;
	return (uint8_t)ZydisRegisterGetId(reg);
}

static void check_memory(const struct insn *m, const ZydisDecodedOperandMem *z, const uint8_t *bytes)
{
	if (m->base != reg_id(z->base))
		fail_bytes("base", bytes, m->len, m->width);
	if (z->type != ZYDIS_MEMOP_TYPE_VSIB && (m->index != reg_id(z->index) || m->scale != z->scale))
		fail_bytes("index or scale", bytes, m->len, m->width);
	if (m->disp != z->disp.value)
		fail_bytes("displacement", bytes, m->len, m->width);
	if (z->type != ZYDIS_MEMOP_TYPE_AGEN && m->seg != (uint8_t)ZydisRegisterGetId(z->segment))
		fail_bytes("segment", bytes, m->len, m->width);
}

static void check_operands(const struct insn *m, const ZydisDecodedInstruction *zi,
			   const ZydisDecodedOperand *ops, const uint8_t *bytes)
{
	bool mem = false;

	for (unsigned i = 0; i < zi->operand_count; i++) {
		if (ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    ops[i].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM) {
			mem = true;
			check_memory(m, &ops[i].mem, bytes);
		} else if (ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
			   ops[i].encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64) {
			if (m->seg != (uint8_t)ZydisRegisterGetId(ops[i].mem.segment) ||
			    m->disp != ops[i].mem.disp.value)
				fail_bytes("moffs", bytes, m->len, m->width);
		} else if (ops[i].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && ops[i].imm.is_relative) {
			ZyanU64 target;

			assert_true(ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(zi, &ops[i], VA, &target)));
			if (m->width != 64) /* which Zydis leaves to its caller */
				target &= m->opsize == 2 ? 0xffff : 0xffffffff;
			if (m->target != target)
				fail_bytes("target", bytes, m->len, m->width);
		} else if (ops[i].type == ZYDIS_OPERAND_TYPE_POINTER) {
			if (m->selector != ops[i].ptr.segment || (uint32_t)m->imm != ops[i].ptr.offset)
				fail_bytes("far pointer", bytes, m->len, m->width);
		}
	}
	if (m->has_mem && !mem && zi->mnemonic != ZYDIS_MNEMONIC_NOP)
		fail_bytes("has_mem without such an operand", bytes, m->len, m->width);
}

static void agrees_with_zydis_operands(void **state)
{
	unsigned decoded = 0;
	(void)state;

	for (unsigned i = 0; i < 600000; i++) {
		int width = widths[i % 3];
		ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
		ZydisDecodedInstruction zi;
		ZydisDecoder d;
		uint8_t bytes[16];
		struct insn m;

		random_insn(bytes);
		if (insn_decode(&m, bytes, sizeof(bytes), VA, width) < 0)
			continue;
		ZydisDecoderInit(&d,
				 width == 64   ? ZYDIS_MACHINE_MODE_LONG_64
				 : width == 32 ? ZYDIS_MACHINE_MODE_LEGACY_32
					       : ZYDIS_MACHINE_MODE_LEGACY_16,
				 width == 64   ? ZYDIS_STACK_WIDTH_64
				 : width == 32 ? ZYDIS_STACK_WIDTH_32
					       : ZYDIS_STACK_WIDTH_16);
		assert_true(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, bytes, sizeof(bytes), &zi, ops)));
		check_operands(&m, &zi, ops, bytes);
		decoded++;
	}
	assert_in_range(decoded, 100000, 600000);
}

static uint8_t *guard; /* one page, and none behind it */

static int guard_setup(void **state)
{
	(void)state;
	guard = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return guard == MAP_FAILED ? -1 : mprotect(guard + 4096, 4096, PROT_NONE);
}

static int guard_teardown(void **state)
{
	(void)state;
	return munmap(guard, 8192);
}

/* A prefix of an instruction is -ENODATA, and no byte behind it is read. */
static void check_truncated(const uint8_t *bytes, unsigned len, int width)
{
	struct insn insn;

	for (unsigned size = 0; size <= len; size++) {
		uint8_t *end = guard + 4096 - size;
		char text[64];
		int got;

		memcpy(end, bytes, size);
		got = insn_decode(&insn, end, size, VA, width);
		if (got != (size == len ? (int)len : -ENODATA))
			fail_bytes("truncated", bytes, len, width);
		insn_format(text, sizeof(text), end, size, VA, width);
		if (!strcmp(text, "(bad)") == (size == len))
			fail_bytes("format of truncated", bytes, len, width);
	}
}

static void never_reads_past_size(void **state)
{
	(void)state;

	for (unsigned op = 1; op < OP_COUNT; op++) {
		const struct policy *p = policy_get(op);

		check_truncated(p->sample, p->sample_len,
				p->widths & WIDTH_32   ? 32
				: p->widths & WIDTH_64 ? 64
						       : 16);
	}
	for (unsigned i = 0; i < 60000; i++) {
		uint8_t bytes[16];
		struct insn insn;
		int len;

		random_insn(bytes);
		memcpy(guard + 4096 - 16, bytes, 16);
		len = insn_decode(&insn, guard + 4096 - 16, 16, VA, widths[i % 3]);
		if (len > 0)
			check_truncated(bytes, len, widths[i % 3]);
		else
			assert_true(len == -EINVAL || len == -E2BIG);
	}
}

static void too_long_is_invalid(void **state)
{
	uint8_t bytes[32];
	struct insn insn;
	(void)state;

	memset(bytes, 0x66, sizeof(bytes));
	bytes[14] = 0x90;
	assert_int_equal(insn_decode(&insn, bytes, sizeof(bytes), VA, 32), 15);
	bytes[14] = 0x66;
	bytes[15] = 0x90;
	assert_int_equal(insn_decode(&insn, bytes, sizeof(bytes), VA, 32), -E2BIG);
	assert_int_equal(insn_decode(&insn, bytes, 15, VA, 32), -E2BIG);
	assert_int_equal(insn_decode(&insn, bytes, 14, VA, 32), -ENODATA);
}

static void format(void **state)
{
	static const uint8_t cli[] = {0xfa}, bad[] = {0x0f, 0x04};
	static const uint8_t mov[] = {0x0f, 0x22, 0xd8};
	char text[64] = "x", tiny[3];
	(void)state;

	insn_format(text, sizeof(text), cli, 1, VA, 32);
	assert_string_equal(text, "cli");
	insn_format(text, sizeof(text), mov, 3, VA, 32);
	assert_string_equal(text, "mov cr3, eax");
	insn_format(text, sizeof(text), bad, 2, VA, 32);
	assert_string_equal(text, "(bad)");
	insn_format(tiny, sizeof(tiny), mov, 3, VA, 32);
	assert_true(strlen(tiny) < sizeof(tiny));
}

/* LLVM 14 gives a prefix before another prefix, or before an instruction that it does not expect there, as
 * one of its own: the whole of what it read is prefixes. */
static bool only_prefixes(const uint8_t *bytes, int n, int width)
{
	for (int i = 0; i < n; i++) {
		switch (bytes[i]) {
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
		case 0x64:
		case 0x65:
		case 0x66:
		case 0x67: /* clang-format off */
		case 0xf0: case 0xf2: case 0xf3: /* clang-format on */
			continue;
		}
		if (width == 64 && (bytes[i] & 0xf0) == 0x40)
			continue;
		return false;
	}
	return true;
}

/* Lengths that differ although both accept, each with its reason; NULL when there is none. */
static const char *length_excuse(const struct insn *m, const uint8_t *bytes, int llvm)
{
	if (only_prefixes(bytes, llvm, m->width))
		return "LLVM gives prefixes as an instruction";
	if (m->width == 64 && m->prefixes & INSN_OPSIZE && m->target)
		return "66 on a near branch: AMD shortens the displacement, Intel does not (SDM 2A Jcc, APM "
		       "3)";
	if (m->flow == FLOW_JCC && m->opsize == 2 && m->prefixes & (INSN_REP | INSN_REPNE))
		return "66 and F2 or F3 on Jcc rel16: LLVM takes the latter as mandatory and forgets the "
		       "former";
	return NULL;
}

static void agrees_with_llvm_on_length(void **state)
{
	static const char *const triples[] = {"i386-linux-gnu-code16", "i386-linux-gnu", "x86_64-linux-gnu"};
	unsigned both = 0;
	(void)state;

	for (unsigned w = 0; w < 3; w++) {
		LLVMDisasmContextRef llvm = LLVMCreateDisasm(triples[w], NULL, 0, NULL, NULL);

		assert_non_null(llvm);
		for (unsigned i = 0; i < 100000; i++) {
			uint8_t bytes[16];
			struct insn m;
			char text[128];
			int len, theirs;

			random_insn(bytes);
			len = insn_decode(&m, bytes, sizeof(bytes), VA, widths[w]);
			theirs = LLVMDisasmInstruction(llvm, bytes, sizeof(bytes), VA, text, sizeof(text));
			if (len <= 0 || theirs <= 0)
				continue;
			both++;
			if (len == theirs || length_excuse(&m, bytes, theirs))
				continue;
			fail_bytes(text, bytes, len, widths[w]);
		}
		LLVMDisasmDispose(llvm);
	}
	assert_in_range(both, 150000, 300000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(flow_and_target),
	    cmocka_unit_test(branch_wraps_in_64_bit_code),
	    cmocka_unit_test(memory_operands),
	    cmocka_unit_test(vex_b_in_32_bit_code),
	    cmocka_unit_test(implicit_memory),
	    cmocka_unit_test(mov_cr_ignores_mod),
	    cmocka_unit_test(immediates),
	    cmocka_unit_test(far_pointer),
	    cmocka_unit_test(sizes_and_prefixes),
	    cmocka_unit_test(flags),
	    cmocka_unit_test(flags_that_may_survive),
	    cmocka_unit_test(segment_registers),
	    cmocka_unit_test(agrees_with_zydis_operands),
	    cmocka_unit_test_setup_teardown(never_reads_past_size, guard_setup, guard_teardown),
	    cmocka_unit_test(too_long_is_invalid),
	    cmocka_unit_test(format),
	    cmocka_unit_test(agrees_with_llvm_on_length),
	};

	LLVMInitializeX86TargetInfo();
	LLVMInitializeX86TargetMC();
	LLVMInitializeX86Disassembler();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
