// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The emitter for hosts that run 64-bit code only: random encodings of all maps, prefixes and operands. What comes out must
 * mean to Zydis in 64-bit mode what the guest's instruction means in 32-bit mode, its address and segment aside, which
 * must be what the view wants. ENCODINGS=N in the environment sets how many are tried.
 */
#include "tests/unit/long_child.h"

#include <Zydis/Zydis.h>

static uint64_t random_state;

static uint32_t rnd(uint32_t n)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(random_state >> 33) % n;
}

/* Prefixes, an opcode of any map, ModRM and whatever follows. */
static void random_encoding(uint8_t *b)
{
	static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66,
					   0x66, 0x67, 0xf0, 0xf2, 0xf3, 0xf3};
	unsigned n = 0;

	for (unsigned i = 0; i < 40; i++)
		b[i] = (uint8_t)rnd(256);
	for (unsigned k = rnd(4) ? rnd(3) : rnd(8); k; k--)
		b[n++] = prefixes[rnd(sizeof(prefixes))];
	switch (rnd(8)) {
	case 0:
	case 1:
		break;
	case 2:
	case 3:
		b[n] = 0x0f;
		break;
	case 4:
		b[n++] = 0x0f;
		b[n] = rnd(2) ? 0x38 : 0x3a;
		break;
	case 5:
		b[n] = 0xc5;
		b[n + 1] |= 0x80;
		break;
	case 6:
		b[n] = 0xc4;
		b[n + 1] = (uint8_t)(0xc0 | rnd(2) << 5 | (1 + rnd(3)));
		break;
	default:
		b[n] = 0x62;
		b[n + 1] = (uint8_t)(0xc0 | rnd(4) << 4 | (1 + rnd(3)));
		b[n + 2] |= 0x04;
		b[n + 3] = rnd(2) ? b[n + 3] : (uint8_t)(rnd(4) << 5 | 0x08);
	}
}

struct decoded {
	ZydisDecodedInstruction i;
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
};

static const char *const view_names[] = {"user", "supervisor", "soft"};

/* Goes nowhere, and so keeps its address. */
static bool long_is_hint(const struct decoded *a)
{
	return a->i.opcode_map == ZYDIS_OPCODE_MAP_0F &&
	       (a->i.opcode == 0x0d || (a->i.opcode >= 0x18 && a->i.opcode <= 0x1f));
}

static bool zydis(struct decoded *d, const uint8_t *b, size_t n, bool wide)
{
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, wide ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LEGACY_32,
			 wide ? ZYDIS_STACK_WIDTH_64 : ZYDIS_STACK_WIDTH_32);
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, b, n, &d->i, d->o));
}

/* Memory: the address in 32 bits, or R8 (and R9, of the software TLB); and the right segment. */
static const char *differ_memory(const struct decoded *a, const ZydisDecodedOperand *x,
				 const struct decoded *b, const ZydisDecodedOperand *y)
{
	bool agen = x->mem.type == ZYDIS_MEMOP_TYPE_AGEN, nop = a->i.mnemonic == ZYDIS_MNEMONIC_NOP;
	bool moved = y->mem.base == ZYDIS_REGISTER_R8 || y->mem.base == ZYDIS_REGISTER_R8D;
	ZydisRegister index = ln.view == VIEW_SOFT ? ZYDIS_REGISTER_R9 : ZYDIS_REGISTER_NONE;
	ZydisRegister segment = ln.view == VIEW_SUPERVISOR ? ZYDIS_REGISTER_GS : ZYDIS_REGISTER_DS;

	if (x->mem.type != y->mem.type)
		return "kind of address";
	if (!agen && !nop && y->mem.segment != segment &&
	    !(ln.view != VIEW_SUPERVISOR && y->mem.segment == ZYDIS_REGISTER_SS))
		return "segment";
	if (moved)
		return y->mem.index != index || y->mem.scale > 1 || y->mem.disp.value ? "moved operand" : NULL;
	if (ln.view == VIEW_SOFT && !agen && !nop && !long_is_hint(a))
		return "operand that was not moved";
	if (agen || nop) /* of 64 bits, whose lower half is the guest's */
		return x->mem.disp.value != y->mem.disp.value || x->mem.scale != y->mem.scale ||
			       ZydisRegisterGetId(x->mem.base) != ZydisRegisterGetId(y->mem.base) ||
			       ZydisRegisterGetId(x->mem.index) != ZydisRegisterGetId(y->mem.index)
			   ? "address"
			   : NULL;
	if (b->i.address_width != 32)
		return "width of the address";
	if (a->i.address_width == 16) /* in the instruction: others are moved */
		return x->mem.base || y->mem.base ||
			       (uint16_t)x->mem.disp.value != (uint32_t)y->mem.disp.value
			   ? "address"
			   : NULL;
	return x->mem.base != y->mem.base || x->mem.index != y->mem.index || x->mem.scale != y->mem.scale ||
		       (uint32_t)x->mem.disp.value != (uint32_t)y->mem.disp.value
		   ? "address"
		   : NULL;
}

static const char *differ_operand(const struct decoded *a, const ZydisDecodedOperand *x,
				  const struct decoded *b, const ZydisDecodedOperand *y)
{
	if (x->type != y->type || x->actions != y->actions)
		return "kind of operand";
	if (x->type == ZYDIS_OPERAND_TYPE_REGISTER)
		return x->reg.value != y->reg.value ? "register" : NULL;
	if (x->size != y->size &&
	    !(x->type == ZYDIS_OPERAND_TYPE_MEMORY && x->mem.type == ZYDIS_MEMOP_TYPE_AGEN))
		return "size of operand";
	if (x->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return x->imm.value.u != y->imm.value.u ? "immediate" : NULL;
	return x->type == ZYDIS_OPERAND_TYPE_MEMORY ? differ_memory(a, x, b, y) : NULL;
}

static const char *differ(const struct decoded *a, const struct decoded *b)
{
	const ZydisInstructionAttributes same =
	    ZYDIS_ATTRIB_HAS_LOCK | ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;

	if (a->i.mnemonic != b->i.mnemonic)
		return "mnemonic";
	if (a->i.operand_count_visible != b->i.operand_count_visible)
		return "number of operands";
	if ((a->i.attributes ^ b->i.attributes) & same)
		return "prefixes";
	if (a->i.avx.vector_length != b->i.avx.vector_length || a->i.avx.mask.mode != b->i.avx.mask.mode ||
	    a->i.avx.mask.reg != b->i.avx.mask.reg || a->i.avx.broadcast.mode != b->i.avx.broadcast.mode ||
	    a->i.avx.rounding.mode != b->i.avx.rounding.mode || a->i.avx.has_sae != b->i.avx.has_sae)
		return "vector form";
	for (unsigned i = 0; i < a->i.operand_count_visible; i++) {
		const char *what = differ_operand(a, &a->o[i], b, &b->o[i]);

		if (what)
			return what;
	}
	return NULL;
}

/* Forms that are several instructions, or another one: only that they decode is looked at. */
static bool is_another(const struct insn *i)
{
	if (i->map != 0)
		return i->map == 1 &&
		       ((i->opcode | 1) == 0x1b ||
			(i->adsize == 2 && (i->opcode == 0x0d || (i->opcode >= 0x18 && i->opcode <= 0x1f))));
	return (i->opcode >= 0x50 && i->opcode <= 0x61) || i->opcode == 0x68 || i->opcode == 0x6a ||
	       i->opcode == 0x8f || i->opcode == 0xc9 || (i->opcode == 0xff && (i->reg & 7) == 6) ||
	       (i->opcode == 0x8d && i->adsize == 2) || (i->opcode >= 0xa4 && i->opcode <= 0xaf);
}

static void show(const char *what, const uint8_t *b, size_t n, bool wide)
{
	char text[128];

	insn_format(text, sizeof(text), b, n, 0, wide ? 64 : 32);
	fprintf(stderr, "#   %s", what);
	for (size_t i = 0; i < n; i++)
		fprintf(stderr, " %02x", b[i]);
	fprintf(stderr, "  %s\n", text);
}

/* Behind an x87 instruction whose operand was moved it is noted where that was. */
static bool is_note(const struct lower_insn *in, const struct manifest_point *p)
{
	return insn_sets_x87_operand(&in->insn) && p->state == POINT_AFTER;
}

/* Each emitted instruction is one at its point; the one that stands for the guest's means the same. */
static bool check_encoding(const struct lower_insn *in)
{
	const uint8_t *code = ln_hole(LN_CODE);
	const char *what = NULL;
	struct decoded a, b = {.i.length = 0}, last;
	size_t at = 0;

	for (size_t p = 0; p < ln.l.n_points; p++, at += last.i.length) {
		if (ln.points[p].stub != LN_CODE + at || !zydis(&last, code + at, ln.l.code_len - at, true)) {
			what = "not an instruction at a point";
			break;
		}
		if (!is_note(in, &ln.points[p]))
			b = last;
	}
	if (!what && at != ln.l.code_len)
		what = "code without a point";
	if (!what && !is_another(&in->insn) && zydis(&a, in->bytes, in->insn.len, false))
		what = differ(&a, &b);
	if (!what)
		return true;
	fprintf(stderr, "# %s (%s)\n", what, view_names[ln.view]);
	show("guest", in->bytes, in->insn.len, false);
	for (size_t p = 0; p < ln.l.n_points; p++) {
		size_t from = ln.points[p].stub - LN_CODE,
		       to = p + 1 < ln.l.n_points ? ln.points[p + 1].stub - LN_CODE : ln.l.code_len;

		show("host ", code + from, to - from, true);
	}
	failures++;
	return false;
}

LONG_TEST(random_encodings_mean_the_same)
{
	const char *n = getenv("ENCODINGS");
	unsigned seen = 0, maps[64] = {0};

	random_state = 20261125 + ln.view;
	ln_reset();
	for (unsigned k = n ? (unsigned)atoi(n) : 300000; k && failures < 20; k--) {
		uint8_t bytes[40];
		struct lower_insn in = {.bytes = bytes, .va = LN_TEXT, .site = MANIFEST_NONE};

		random_encoding(bytes);
		if (insn_decode(&in.insn, bytes, INSN_MAX, LN_TEXT, 32) < 0 || in.insn.flow != FLOW_NEXT ||
		    lower_long_shape(&in.insn) != LOWER_GOES_ON)
			continue;
		if (insn_is_sensitive(&in.insn) && policy_get(in.insn.op)->lowering != LOWER_VERBATIM)
			continue;
		in.soft = ln.view == VIEW_SOFT;
		if (in.soft && (lower_long_soft_shape(&in) != LOWER_GOES_ON || lower_long_soft_leaves(&in.insn)))
			continue;
		ln.l.code_len = ln.l.n_points = 0;
		if (lower_long_step(&ln.l, &in, ln.view, MANIFEST_NONE) < 0) {
			show("refused", bytes, in.insn.len, false);
			failures++;
			continue;
		}
		check_encoding(&in);
		seen++;
		maps[in.insn.map & 63]++;
	}
	for (unsigned m = 0; m < 4; m++) /* none was left out */
		if (!maps[m] || (m && (!maps[0x10 + m] || !maps[0x20 + m])))
			fail_case("instructions of the map", 0, m);
	if (seen < 50000)
		fail_case("instructions", seen, 50000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_encodings_mean_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
