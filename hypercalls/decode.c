// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 1.3: Decoding
 *
 * The one decoder wrapper. Zydis recognises the instruction; this file turns what it found into struct insn.
 *
 * Only ZydisDecoderDecodeInstruction() is called, not the operand pass behind it: a 6.1 kernel holds three
 * million instructions and the audit decodes all of them. What the project needs of operands (the memory
 * operand, immediates, flow) follows from ModRM, SIB and the opcode with a few rules of SDM 2A 2.1, and
 * tests/unit/test_decode.c holds these rules against Zydis's own operand pass.
 *
 * Nothing here is mutable and nothing is allocated, so workers, tests and the audit may call it at any time.
 */
#include "hypercalls/decode.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "hypercalls/policy.h"
#include "hypercalls/policy_classify.h"

/* insn->map for the encodings beyond the four legacy maps; the low nibble is the map within the encoding. */
enum { MAP_VEX = 0x10, MAP_EVEX = 0x20, MAP_XOP = 0x30, MAP_MVEX = 0x40, MAP_3DNOW = 0x50 };

static void decoder_for(ZydisDecoder *d, int width)
{
	ZyanStatus status;

	assert(width == 16 || width == 32 || width == 64);
	if (width == 64)
		status = ZydisDecoderInit(d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	else if (width == 32)
		status = ZydisDecoderInit(d, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
	else
		status = ZydisDecoderInit(d, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
	assert(ZYAN_SUCCESS(status));
	(void)status;
}

static uint8_t map_of(const ZydisDecodedInstruction *zi)
{
	switch (zi->encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_VEX:
		return MAP_VEX | (zi->raw.vex.m_mmmm & 15);
	case ZYDIS_INSTRUCTION_ENCODING_EVEX:
		return MAP_EVEX | (zi->raw.evex.mmm & 15);
	case ZYDIS_INSTRUCTION_ENCODING_XOP:
		return MAP_XOP | (zi->raw.xop.m_mmmm & 15);
	case ZYDIS_INSTRUCTION_ENCODING_MVEX:
		return MAP_MVEX | (zi->raw.mvex.mmmm & 15);
	case ZYDIS_INSTRUCTION_ENCODING_3DNOW:
		return MAP_3DNOW;
	default:
		return zi->opcode_map; /* ZYDIS_OPCODE_MAP_DEFAULT, 0F, 0F38, 0F3A are 0 to 3 */
	}
}

/* The last segment override that counts: in 64-bit code only FS and GS do. */
static uint8_t segment_override(const ZydisDecodedInstruction *zi, int width)
{
	ZydisInstructionAttributes a = zi->attributes;

	if (a & ZYDIS_ATTRIB_HAS_SEGMENT_FS)
		return SEG_FS;
	if (a & ZYDIS_ATTRIB_HAS_SEGMENT_GS)
		return SEG_GS;
	if (width == 64)
		return SEG_NONE;
	if (a & ZYDIS_ATTRIB_HAS_SEGMENT_ES)
		return SEG_ES;
	if (a & ZYDIS_ATTRIB_HAS_SEGMENT_CS)
		return SEG_CS;
	if (a & ZYDIS_ATTRIB_HAS_SEGMENT_SS)
		return SEG_SS;
	if (a & ZYDIS_ATTRIB_HAS_SEGMENT_DS)
		return SEG_DS;
	return SEG_NONE;
}

/* 16-bit addressing: SDM 2A table 2-1. */
static void mem_operand16(struct insn *insn)
{
	static const uint8_t base[8] = {REG_BX, REG_BX, REG_BP, REG_BP, REG_SI, REG_DI, REG_BP, REG_BX};
	static const uint8_t index[8] = {REG_SI,   REG_DI,   REG_SI,   REG_DI,
					 REG_NONE, REG_NONE, REG_NONE, REG_NONE};
	unsigned rm = insn->rm & 7;

	insn->base = insn->mod == 0 && rm == 6 ? REG_NONE : base[rm];
	insn->index = index[rm];
	insn->scale = insn->index == REG_NONE ? 0 : 1;
}

/* VEX.B of 0 means nothing outside 64-bit mode (SDM 2A 2.3.5.2), where Zydis has it all the same. */
static unsigned high_register(const struct insn *insn, bool bit)
{
	return insn->width == 64 && bit ? 8 : 0;
}

/* 32- and 64-bit addressing: SDM 2A tables 2-2 and 2-3, and 2.2.1.6 for RIP-relative. */
static void mem_operand32(struct insn *insn, const ZydisDecodedInstruction *zi,
			  const ZydisDecoderContext *ctx)
{
	unsigned x = high_register(insn, ctx->vector_unified.X), b = high_register(insn, ctx->vector_unified.B);
	unsigned base = zi->raw.modrm.rm;

	if (zi->raw.modrm.rm == 4) {
		unsigned index = zi->raw.sib.index | x;

		base = zi->raw.sib.base;
		if (index != 4) {
			insn->index = index;
			insn->scale = 1 << zi->raw.sib.scale;
		}
	}
	if (base != 5 || insn->mod != 0)
		insn->base = base | b;
	else if (zi->raw.modrm.rm == 5 && insn->width == 64)
		insn->base = REG_IP;
}

/* MOV to and from control and debug registers: the mod field is ignored, the operand is a register (SDM 2B
 * MOV). */
static bool ignores_mod(const struct insn *insn)
{
	return insn->map == 1 && insn->opcode >= 0x20 && insn->opcode <= 0x23;
}

static void fill_modrm(struct insn *insn, const ZydisDecodedInstruction *zi, const ZydisDecoderContext *ctx)
{
	if (!zi->raw.modrm.offset)
		return;
	insn->has_modrm = true;
	insn->modrm_off = zi->raw.modrm.offset;
	insn->mod = zi->raw.modrm.mod;
	insn->reg = zi->raw.modrm.reg | high_register(insn, ctx->vector_unified.R);
	insn->rm = zi->raw.modrm.rm | high_register(insn, ctx->vector_unified.B);
	insn->has_mem = insn->mod != 3 && !ignores_mod(insn);
	if (!insn->has_mem)
		return;
	if (insn->adsize == 2)
		mem_operand16(insn);
	else
		mem_operand32(insn, zi, ctx);
}

/* Opcodes that read through DS by default without a ModRM operand: moffs, DS:(E)SI strings, XLAT, MASKMOV. */
static bool implicit_ds(const struct insn *insn)
{
	if (insn->map == 1)
		return insn->opcode == 0xf7; /* MASKMOVQ, MASKMOVDQU: DS:(E)DI */
	if (insn->map == (MAP_VEX | 1))
		return insn->opcode == 0xf7; /* VMASKMOVDQU */
	if (insn->map != 0)
		return false;
	switch (insn->opcode) {
	case 0x6e: /* OUTS */
	case 0x6f:
	case 0xa0: /* MOV moffs */
	case 0xa1:
	case 0xa2:
	case 0xa3:
	case 0xa4: /* MOVS */
	case 0xa5:
	case 0xa6: /* CMPS */
	case 0xa7:
	case 0xac: /* LODS */
	case 0xad:
	case 0xd7: /* XLAT */
		return true;
	default:
		return false;
	}
}

static void fill_segment(struct insn *insn, const ZydisDecodedInstruction *zi)
{
	if (!insn->has_mem && !implicit_ds(insn))
		return;
	insn->seg = segment_override(zi, insn->width);
	if (insn->seg != SEG_NONE)
		return;
	insn->seg = insn->has_mem && (insn->base == REG_BP || insn->base == REG_SP) ? SEG_SS : SEG_DS;
}

static void fill_disp_imm(struct insn *insn, const ZydisDecodedInstruction *zi,
			  const ZydisDecoderContext *ctx)
{
	if (zi->raw.disp.size) {
		insn->disp = zi->raw.disp.value;
		insn->disp_off = zi->raw.disp.offset;
		insn->disp_len = zi->raw.disp.size / 8;
		if (insn->disp_len == 1 && ctx->cd8_scale)
			insn->disp *= ctx->cd8_scale; /* EVEX disp8*N, SDM 2A 2.7.5 */
	}
	if (zi->raw.imm[0].size) {
		insn->imm = zi->raw.imm[0].value.s;
		insn->imm_off = zi->raw.imm[0].offset;
		insn->imm_len = zi->raw.imm[0].size / 8;
	}
	if (insn->map == 0 && (insn->opcode == 0x9a || insn->opcode == 0xea || insn->opcode == 0xc8))
		insn->selector = zi->raw.imm[1].value.u;
}

static enum insn_flow flow_map0(const struct insn *insn)
{
	switch (insn->opcode) {
	case 0x70 ... 0x7f:
		return FLOW_JCC;
	case 0xe0 ... 0xe3:
		return FLOW_LOOP;
	case 0xe8:
		return FLOW_CALL;
	case 0xe9:
	case 0xeb:
		return FLOW_JMP;
	case 0xc2:
	case 0xc3:
		return FLOW_RET;
	case 0xca: /* RETF */
	case 0xcb:
	case 0xcf: /* IRET */
	case 0xea: /* JMP ptr */
		return FLOW_FAR;
	case 0x9a: /* CALL ptr */
	case 0xcc: /* INT3 */
	case 0xcd: /* INT n */
	case 0xce: /* INTO */
	case 0xf1: /* INT1 */
		return FLOW_FAR_CALL;
	case 0xff:
		switch (insn->reg & 7) {
		case 2:
			return FLOW_CALL_IND;
		case 3:
			return FLOW_FAR_CALL;
		case 4:
			return FLOW_JMP_IND;
		case 5:
			return FLOW_FAR;
		}
	}
	return FLOW_NEXT;
}

static enum insn_flow flow_map1(const struct insn *insn)
{
	switch (insn->opcode) {
	case 0x80 ... 0x8f:
		return FLOW_JCC;
	case 0x05: /* SYSCALL */
	case 0x34: /* SYSENTER */
		return FLOW_FAR_CALL;
	case 0x07: /* SYSRET */
	case 0x35: /* SYSEXIT */
	case 0xaa: /* RSM */
		return FLOW_FAR;
	case 0x0b: /* UD2 */
	case 0xb9: /* UD1 */
	case 0xff: /* UD0 */
		return FLOW_STOP;
	}
	return insn->mnemonic == ZYDIS_MNEMONIC_UIRET ? FLOW_FAR : FLOW_NEXT;
}

/* Where a relative branch goes. The instruction pointer is truncated to the operand size (SDM 2A JMP). */
static void fill_target(struct insn *insn, const ZydisDecodedInstruction *zi, uint64_t va)
{
	uint64_t t = va + insn->len + insn->imm;

	if (!zi->raw.imm[0].size || !zi->raw.imm[0].is_relative)
		return;
	if (insn->width != 64)
		t &= insn->opsize == 2 ? 0xffff : 0xffffffff;
	insn->target = t;
}

/*
 * Forms that write their flags only sometimes: shifts and rotates whose (masked) count may be 0, and repeated
 * string comparisons that may run zero times. For a liveness scan a flag that may survive is not killed, so
 * such flags are reported as read too.
 */
static bool may_keep_flags(const struct insn *insn)
{
	if (insn->map == 0) {
		switch (insn->opcode) {
		case 0xc0:
		case 0xc1:
			return (insn->imm & 0x1f) == 0 || insn->opsize == 8;
		case 0xd2:
		case 0xd3:
			return true;
		case 0xa6: /* CMPS, SCAS */
		case 0xa7:
		case 0xae:
		case 0xaf:
			return insn->prefixes & (INSN_REP | INSN_REPNE);
		}
	}
	if (insn->map == 1 && (insn->opcode == 0xa4 || insn->opcode == 0xac)) /* SHLD, SHRD imm8 */
		return (insn->imm & 0x1f) == 0 || insn->opsize == 8;
	return insn->map == 1 && (insn->opcode == 0xa5 || insn->opcode == 0xad); /* SHLD, SHRD CL */
}

static void fill_flags(struct insn *insn, const ZydisDecodedInstruction *zi)
{
	const ZydisAccessedFlags *f = zi->cpu_flags;

	if (!f)
		return;
	insn->flags_read = f->tested;
	insn->flags_written = f->modified | f->set_0 | f->set_1 | f->undefined;
	if (may_keep_flags(insn))
		insn->flags_read |= insn->flags_written;
}

static uint8_t fill_prefixes(const ZydisDecodedInstruction *zi)
{
	uint8_t mask = 0;

	for (unsigned i = 0; i < zi->raw.prefix_count; i++) {
		switch (zi->raw.prefixes[i].value) {
		case 0xf3:
			mask = (mask & ~INSN_REPNE) | INSN_REP; /* the last of F2 and F3 counts */
			break;
		case 0xf2:
			mask = (mask & ~INSN_REP) | INSN_REPNE;
			break;
		case 0xf0:
			mask |= INSN_LOCK;
			break;
		case 0x66:
			mask |= INSN_OPSIZE;
			break;
		case 0x67:
			mask |= INSN_ADSIZE;
			break;
		}
	}
	return mask;
}

int insn_decode(struct insn *insn, const uint8_t *bytes, size_t size, uint64_t va, int width)
{
	ZydisDecodedInstruction zi;
	ZydisDecoderContext ctx;
	ZydisDecoder decoder;
	ZyanStatus status;

	if (!size)
		return -ENODATA;
	decoder_for(&decoder, width);
	status = ZydisDecoderDecodeInstruction(&decoder, &ctx, bytes, size, &zi);
	if (status == ZYDIS_STATUS_NO_MORE_DATA)
		return size < INSN_MAX ? -ENODATA : -E2BIG;
	if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
		return -E2BIG;
	if (!ZYAN_SUCCESS(status))
		return -EINVAL;

	memset(insn, 0, sizeof(*insn));
	insn->mnemonic = zi.mnemonic;
	insn->len = zi.length;
	insn->width = width;
	insn->prefixes = fill_prefixes(&zi);
	insn->opsize = zi.operand_width / 8;
	insn->adsize = zi.address_width / 8;
	insn->map = map_of(&zi);
	insn->opcode = zi.opcode;
	insn->base = insn->index = REG_NONE;
	insn->seg = SEG_NONE;
	fill_modrm(insn, &zi, &ctx);
	fill_segment(insn, &zi);
	fill_disp_imm(insn, &zi, &ctx);
	insn->flow = insn->map == 0 ? flow_map0(insn) : insn->map == 1 ? flow_map1(insn) : FLOW_NEXT;
	fill_target(insn, &zi, va);
	fill_flags(insn, &zi);
	insn->op = policy_classify(insn);
	return insn->len;
}

/* XSAVE XRSTOR XSAVEOPT, XRSTORS XSAVEC XSAVES: as much as XCR0 and EDX:EAX say. */
static bool is_xsave(const struct insn *insn)
{
	unsigned reg = insn->reg & 7;

	return insn->map == 1 && ((insn->opcode == 0xae && reg >= 4 && reg <= 6) ||
				  (insn->opcode == 0xc7 && reg >= 3 && reg <= 5));
}

bool insn_memory(const struct insn *insn, const uint8_t *bytes, unsigned *size, bool *written)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction zi;
	ZydisDecoder decoder;

	decoder_for(&decoder, insn->width);
	*size = 0;
	*written = false;
	if (!insn->has_mem ||
	    !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, insn->len, &zi, operands)))
		return false;
	for (unsigned i = 0; i < zi.operand_count_visible; i++) {
		const ZydisDecodedOperand *o = &operands[i];

		if (o->type != ZYDIS_OPERAND_TYPE_MEMORY || o->mem.type != ZYDIS_MEMOP_TYPE_MEM)
			continue;
		*size = is_xsave(insn) ? 0 : o->size / 8;
		*written = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
		return true;
	}
	return false;
}

void insn_format(char *buf, size_t cap, const uint8_t *bytes, size_t size, uint64_t va, int width)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction zi;
	ZydisFormatter formatter;
	ZydisDecoder decoder;

	if (!cap)
		return;
	decoder_for(&decoder, width);
	if (!size || !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, size, &zi, operands)) ||
	    !ZYAN_SUCCESS(ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL)) ||
	    !ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter, &zi, operands, zi.operand_count_visible,
							  buf, cap, va, NULL)))
		snprintf(buf, cap, "(bad)");
}
