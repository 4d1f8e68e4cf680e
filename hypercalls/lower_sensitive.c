// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The lowering of each sensitive instruction that has an inline form; the rest leaves through its landing
 * pad.
 *
 * On hardware CLI, STI, PUSHF and POPF are one or two bytes and touch EFLAGS.IF, which a program at CPL 3
 * cannot (SDM 3A 2.3, 6.8.1). Here IF lives in the vCPU page as a delta to be added to the hardware's flags,
 * whose IF is always set: lea adds without touching the arithmetic flags, and jecxz tests without touching
 * them. That takes one register, two for PUSHF, which wait in the scratch words of the vCPU page until the
 * commit; an interrupt in between restores them from there, guided by the restart points.
 */
#include <assert.h>

#include "hypercalls/abi.h"
#include "hypercalls/lower_emit.h"
#include "hypercalls/policy.h"

#define PREFIX_SS 0x36
#define MODRM_DISP32 0x05 /* mod 0, rm 5: disp32 alone */
#define MODRM_ESP 0x04	  /* mod 0, rm 4: SIB */
#define SIB_ESP 0x24
#define CC_NE 0x5

#define FLAGS_IF 0x200u
/* TF IOPL NT RF VM AC VIF VIP: what a POPF may change only with the monitor's help. */
#define FLAGS_UNUSUAL 0x1f7100u

/* prefix opcode /reg disp32: an instruction on a word of the vCPU page */
void emit_vcpu(struct lower *l, struct place at, uint8_t opcode, unsigned reg, uint32_t field)
{
	uint8_t b[7] = {emit_segment(l), opcode, (uint8_t)(MODRM_DISP32 | reg << 3)};

	put32(b + 3, l->hole_base + ABI_VCPU_PAGE + field);
	emit(l, at, b, sizeof(b));
}

static void vcpu_store_imm(struct lower *l, struct place at, uint32_t field, uint32_t value)
{
	uint8_t b[11] = {emit_segment(l), 0xc7, MODRM_DISP32};

	put32(b + 3, l->hole_base + ABI_VCPU_PAGE + field);
	put32(b + 7, value);
	emit(l, at, b, sizeof(b));
}

static void vcpu_cmp_zero(struct lower *l, struct place at, uint32_t field)
{
	uint8_t b[8] = {emit_segment(l), 0x83, MODRM_DISP32 | 7 << 3};

	put32(b + 3, l->hole_base + ABI_VCPU_PAGE + field);
	emit(l, at, b, sizeof(b));
}

/* mov (%esp),%ecx and back */
static void stack_op(struct lower *l, struct place at, uint8_t opcode)
{
	const uint8_t b[3] = {opcode, MODRM_ESP | REG_CX << 3, SIB_ESP};

	emit(l, at, b, sizeof(b));
}

static void lea_ecx_edx(struct lower *l, struct place at)
{
	static const uint8_t b[3] = {0x8d, 0x0c, 0x11};

	emit(l, at, b, sizeof(b));
}

static void lower_cli(struct lower *l, struct place first)
{
	vcpu_store_imm(l, first, VCPU_IF_DELTA, -FLAGS_IF);
}

/* The arithmetic flags are dead behind it, so the test may use them. */
static void lower_sti_short(struct lower *l, struct lower_insn *in, struct place first)
{
	struct place inside = {.guest = in->va, .state = POINT_INSIDE};

	vcpu_cmp_zero(l, first, VCPU_PENDING);
	emit_jcc_slow(l, inside, CC_NE, &in->slow[0]);
	vcpu_store_imm(l, inside, VCPU_IF_DELTA, 0);
}

static void lower_sti(struct lower *l, struct lower_insn *in, struct place first)
{
	static const uint8_t jecxz_over_exit[] = {0xe3, 14};
	struct place inside = {.guest = in->va, .state = POINT_INSIDE};
	struct place saved = {.guest = in->va, .state = POINT_INSIDE, .flags = POINT_SCRATCH0};
	struct place after = {.guest = in->va, .state = POINT_AFTER, .flags = POINT_SCRATCH0};

	if (in->flags_dead) {
		lower_sti_short(l, in, first);
		return;
	}
	emit_vcpu(l, first, OPCODE_STORE, REG_CX, VCPU_SCRATCH0);
	emit_vcpu(l, inside, OPCODE_LOAD, REG_CX, VCPU_PENDING);
	emit(l, saved, jecxz_over_exit, sizeof(jecxz_over_exit));
	emit_vcpu(l, saved, OPCODE_LOAD, REG_CX, VCPU_SCRATCH0);
	emit_exit(l, in, inside);
	vcpu_store_imm(l, saved, VCPU_IF_DELTA, 0);
	emit_vcpu(l, after, OPCODE_LOAD, REG_CX, VCPU_SCRATCH0);
}

/* The hardware's own pushf commits: it moves ESP and may fault, as the guest's would. */
static void lower_pushf(struct lower *l, const struct lower_insn *in, struct place first)
{
	static const uint8_t pushf[] = {0x9c};
	struct place after = {.guest = in->va, .state = POINT_AFTER};
	struct place ecx = {.guest = in->va, .state = POINT_AFTER, .flags = POINT_SCRATCH0};
	struct place edx = {.guest = in->va, .state = POINT_AFTER, .flags = POINT_SCRATCH1};
	struct place both = {.guest = in->va, .state = POINT_AFTER, .flags = POINT_SCRATCH0 | POINT_SCRATCH1};

	emit(l, first, pushf, sizeof(pushf));
	emit_vcpu(l, after, OPCODE_STORE, REG_CX, VCPU_SCRATCH0);
	emit_vcpu(l, after, OPCODE_STORE, REG_DX, VCPU_SCRATCH1);
	stack_op(l, after, OPCODE_LOAD);
	emit_vcpu(l, ecx, OPCODE_LOAD, REG_DX, VCPU_IF_DELTA);
	lea_ecx_edx(l, both);
	emit_vcpu(l, both, OPCODE_LOAD, REG_DX, VCPU_FLAGS_HI);
	lea_ecx_edx(l, both);
	stack_op(l, both, OPCODE_STORE);
	emit_vcpu(l, both, OPCODE_LOAD, REG_CX, VCPU_SCRATCH0);
	emit_vcpu(l, edx, OPCODE_LOAD, REG_DX, VCPU_SCRATCH1);
}

/*
 * Plain flags with nothing pending (or IF off) pop inline; anything else leaves. Every fault on the stack
 * comes at an access before the commit, so the popf itself cannot fault.
 */
static void lower_popf(struct lower *l, struct lower_insn *in, struct place first)
{
	static const uint8_t and_if[] = {0x81, 0xe1, 0x00, 0x02, 0x00, 0x00};
	static const uint8_t lea_delta[] = {0x8d, 0x89, 0x00, 0xfe, 0xff, 0xff};
	static const uint8_t popf[] = {0x9d};
	uint8_t test_unusual[7] = {0xf7, MODRM_ESP, SIB_ESP};
	struct place inside = {.guest = in->va, .state = POINT_INSIDE};
	struct place saved = {.guest = in->va, .state = POINT_INSIDE, .flags = POINT_SCRATCH0};
	struct place after = {.guest = in->va, .state = POINT_AFTER};
	struct place after_saved = {.guest = in->va, .state = POINT_AFTER, .flags = POINT_SCRATCH0};

	put32(test_unusual + 3, FLAGS_UNUSUAL);
	emit(l, first, test_unusual, sizeof(test_unusual));
	emit_jcc_slow(l, inside, CC_NE, &in->slow[0]);
	vcpu_cmp_zero(l, inside, VCPU_FLAGS_HI);
	emit_jcc_slow(l, inside, CC_NE, &in->slow[0]);
	emit_vcpu(l, inside, OPCODE_STORE, REG_CX, VCPU_SCRATCH0);
	stack_op(l, inside, OPCODE_LOAD);
	emit(l, saved, and_if, sizeof(and_if));
	emit_vcpu(l, saved, 0x85, REG_CX, VCPU_PENDING); /* test %ecx,pending: both 0x200, or nothing to do */
	emit_jcc_slow(l, saved, CC_NE, &in->slow[1]);
	emit(l, saved, lea_delta, sizeof(lea_delta));
	emit_vcpu(l, saved, OPCODE_STORE, REG_CX, VCPU_IF_DELTA);
	emit_vcpu(l, after_saved, OPCODE_LOAD, REG_CX, VCPU_SCRATCH0);
	emit(l, after, popf, sizeof(popf));
}

/* PUSH Sreg. The segment stands in bits 3 to 5 of the opcode in both maps (SDM 2D B.1.4.6). */
static void lower_push_seg(struct lower *l, const struct lower_insn *in, struct place first)
{
	emit_vcpu(l, first, 0xff, 6, VCPU_SEL + 4u * (in->insn.opcode >> 3 & 7));
}

/* MOV r16/r32, Sreg; selectors are zero-extended in the vCPU page, as the 32-bit form does. */
static void lower_mov_seg(struct lower *l, const struct lower_insn *in, struct place first)
{
	uint8_t b[8] = {0x66, PREFIX_SS, OPCODE_LOAD, (uint8_t)(MODRM_DISP32 | in->insn.rm << 3)};
	uint32_t field = VCPU_SEL + 4u * in->insn.reg;

	if (!(in->insn.prefixes & INSN_OPSIZE)) {
		emit_vcpu(l, first, OPCODE_LOAD, in->insn.rm, field);
		return;
	}
	put32(b + 4, l->hole_base + ABI_VCPU_PAGE + field);
	emit(l, first, b, sizeof(b));
}

static void lower_seg_read(struct lower *l, struct lower_insn *in, struct place first)
{
	bool mov = in->insn.map == 0 && in->insn.opcode == 0x8c;

	if (mov && !in->insn.has_mem && in->insn.reg < SEG_COUNT)
		lower_mov_seg(l, in, first);
	else if (!mov && !in->insn.has_modrm && !(in->insn.prefixes & INSN_OPSIZE))
		lower_push_seg(l, in, first);
	else
		emit_exit(l, in, first);
}

static void lower_cr_read(struct lower *l, struct lower_insn *in, struct place first)
{
	bool kept = in->insn.reg == 0 || (in->insn.reg >= 2 && in->insn.reg <= 4);

	if (kept && in->insn.map == 1 && in->insn.opcode == 0x20)
		emit_vcpu(l, first, OPCODE_LOAD, in->insn.rm, VCPU_CR0 + 4u * in->insn.reg);
	else
		emit_exit(l, in, first);
}

void lower_sensitive(struct lower *l, struct lower_insn *in, struct place first)
{
	enum lowering how = policy_get(in->insn.op)->lowering;
	bool narrow = in->insn.prefixes & INSN_OPSIZE;

	assert(in->site != MANIFEST_NONE);
	if (in->exit_only)
		how = LOWER_EXIT;
	switch (how) {
	case LOWER_CLI:
		lower_cli(l, first);
		break;
	case LOWER_STI:
		lower_sti(l, in, first);
		break;
	case LOWER_PUSHF:
		narrow ? emit_exit(l, in, first) : lower_pushf(l, in, first);
		break;
	case LOWER_POPF:
		narrow ? emit_exit(l, in, first) : lower_popf(l, in, first);
		break;
	case LOWER_SEG_READ:
		lower_seg_read(l, in, first);
		break;
	case LOWER_CR_READ:
		lower_cr_read(l, in, first);
		break;
	default:
		emit_exit(l, in, first);
	}
}

/* slow[1] is reached with ECX in scratch, slow[0] with everything in place. */
void lower_slow_path(struct lower *l, struct lower_insn *in)
{
	struct place inside = {.guest = in->va, .state = POINT_INSIDE};
	struct place saved = {.guest = in->va, .state = POINT_INSIDE, .flags = POINT_SCRATCH0};

	if (in->slow[1] != SLOW_NONE) {
		emit_aim(l, &in->slow[1]);
		emit_vcpu(l, saved, OPCODE_LOAD, REG_CX, VCPU_SCRATCH0);
	}
	if (in->slow[0] != SLOW_NONE) {
		emit_aim(l, &in->slow[0]);
		emit_exit(l, in, inside);
	}
}
