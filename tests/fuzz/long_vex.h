// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * VEX-coded instructions (AVX, AVX2, FMA, BMI) in the fuzzer of long blocks: Unicorn has none of them, so the reference for them
 * is the host's CPU. What 32-bit mode makes of the bytes (register widths, W and B ignored) is taken from the decoder, and
 * Zydis's encoder writes the instruction for 64-bit mode, its memory operand at (%r8): nothing of it comes from our emitter.
 */
#ifndef TESTS_FUZZ_LONG_VEX_H
#define TESTS_FUZZ_LONG_VEX_H

#include <Zydis/Zydis.h>

#include "tests/unit/long_native.h"

#define LV_CODE (LN_CODE + LN_CODE_SIZE - 0x1000) /* no block gets so far */

static struct {
	ZydisDecoder decoder;
	bool ready;
} lv;

static inline bool lv_is(const struct insn *i)
{
	return i->map >> 4 == 1;
}

static inline bool lv_decode(const uint8_t *bytes, ZydisDecodedInstruction *i, ZydisDecodedOperand *operands)
{
	if (!lv.ready)
		ZydisDecoderInit(&lv.decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
	lv.ready = true;
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&lv.decoder, bytes, INSN_MAX, i, operands));
}

/* The same for 64-bit mode, at `code`; its length, 0 where that cannot be. */
static inline size_t lv_encode(const uint8_t *bytes, uint8_t *code)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction i;
	ZydisEncoderRequest r;
	ZyanUSize len = INSN_MAX;

	if (!lv_decode(bytes, &i, operands) || !ZYAN_SUCCESS(ZydisEncoderDecodedInstructionToEncoderRequest(
						   &i, operands, i.operand_count_visible, &r)))
		return 0;
	r.machine_mode = ZYDIS_MACHINE_MODE_LONG_64;
	r.prefixes = 0;
	r.address_size_hint = ZYDIS_ADDRESS_SIZE_HINT_NONE;
	r.operand_size_hint = ZYDIS_OPERAND_SIZE_HINT_NONE;
	for (unsigned n = 0; n < r.operand_count; n++)
		if (r.operands[n].type == ZYDIS_OPERAND_TYPE_MEMORY) {
			r.operands[n].mem.base = ZYDIS_REGISTER_R8;
			r.operands[n].mem.index = ZYDIS_REGISTER_NONE;
			r.operands[n].mem.scale = 0;
			r.operands[n].mem.displacement = 0;
		}
	return ZYAN_SUCCESS(ZydisEncoderEncodeInstruction(&r, code, &len)) ? len : 0;
}

/*
 * Left out: gathers (addresses in vector registers), VLDMXCSR (reserved bits), VMASKMOVDQU (EDI); FMA4 and XOP, which few CPUs have, and
 * mask registers, which the guest has not.
 */
static inline bool lv_lacks(const struct insn *i, const uint8_t *bytes)
{
	uint8_t code[INSN_MAX], op = i->opcode;

	if (i->map == 0x13 &&
	    ((op >= 0x30 && op <= 0x33) || (op >= 0x48 && op <= 0x49) || (op >= 0x5c && op < 0x60) ||
	     (op >= 0x68 && op < 0x70) || op >= 0x78) &&
	    op < 0x80)
		return true;
	if (i->map == 0x11 && ((op >= 0x40 && op < 0x50) || (op >= 0x90 && op < 0xa0)))
		return true;

	if (i->map == 0x12 && i->opcode >= 0x90 && i->opcode <= 0x93)
		return true;
	if (i->map == 0x11 && (i->opcode == 0xae || i->opcode == 0xf7))
		return true;
	return i->map > 0x13 || !lv_encode(bytes, code);
}

/* Runs it, its operand at `memory`, r being the state before and after. False: it faulted, ln.signal says how. */
static inline bool lv_run(struct long_run *r, const uint8_t *bytes, const void *memory)
{
	uint8_t *code = ln_hole(LV_CODE);
	size_t n = 10;
	int32_t to_gate;

	memcpy(code, "\x49\xb8", 2); /* movabs $memory,%r8 */
	memcpy(code + 2, &memory, 8);
	n += lv_encode(bytes, code + n);
	memcpy(code + n, "\x41\xbf\0\0\0\0\xe9", 7); /* mov $0,%r15d; jmp gate */
	to_gate = (int32_t)(LN_HOLE + GATE_EXIT - (LV_CODE + (uint32_t)n + 11));
	memcpy(code + n + 7, &to_gate, 4);
	ln_enter(r, LV_CODE);
	return long_frame.left;
}

#endif
