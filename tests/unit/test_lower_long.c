// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The emitter for hosts that run 64-bit code only: every form, run natively here in both views against expected results
 * by hand; kicks at every emitted instruction; faults, which must leave the guest's state as it was. Random encodings are
 * in test_lower_long_encode.c.
 */
#include "tests/unit/long_child.h"

#include "hypercalls/lower_emit.h"

/* --- the initial state ------------------------------------------------------------------------------------- */

#define AX0 0x11223344u
#define CX0 0x00000002u
#define DX0 0x55667788u
#define BX0 (LN_DATA + 0x100)
#define SP0 (LN_STACK + 0x800)
#define BP0 (LN_DATA + 0x300)
#define SI0 (LN_DATA + 0x500)
#define DI0 (LN_DATA + 0x900)
#define FLAGS0 0x91u /* SF AF CF */

/* The aligned dword at an address says which it is. */
#define D(offset) (0xd0000000u | (offset))
#define S(offset) (0xe0000000u | (offset))
#define T(offset) (0xf0000000u | (offset))
#define L(address) (0xc0000000u | (address))

static void fill(uint32_t at, uint32_t size, uint32_t mark)
{
	for (uint32_t o = 0; o < size; o += 4)
		memcpy(ln_at(at + o), &(uint32_t){mark | o}, 4);
}

static void fill_memory(void)
{
	memset(ln_at(LN_TEXT), 0x27, LN_TEXT_SIZE); /* DAA has no form: the end */
	fill(LN_DATA, LN_DATA_SIZE, 0xd0000000);
	fill(LN_STACK, LN_STACK_SIZE, 0xe0000000);
	fill(LN_TLS, LN_TLS_SIZE, 0xf0000000);
	fill(LN_LOW, LN_LOW_SIZE, 0xc0000000 | LN_LOW);
}

/* All guest memory but the text, for comparison. */
static uint8_t image[LN_DATA_SIZE + LN_STACK_SIZE + LN_TLS_SIZE + LN_LOW_SIZE];

static uint8_t *image_at(uint32_t va)
{
	size_t offset = 0;

	for (size_t i = 1; i < LN_PARTS; offset += ln_parts[i++].size)
		if (va - ln_parts[i].at < ln_parts[i].size)
			return image + offset + (va - ln_parts[i].at);
	return NULL;
}

static void take_image(void)
{
	for (size_t i = 1; i < LN_PARTS; i++)
		memcpy(image_at(ln_parts[i].at), ln_at(ln_parts[i].at), ln_parts[i].size);
}

static void start_state(struct long_run *r)
{
	static const uint32_t gpr[8] = {AX0, CX0, DX0, BX0, SP0, BP0, SI0, DI0};

	ln_init(r);
	memcpy(r->gpr, gpr, sizeof(gpr));
	r->eflags = FLAGS0;
}

/* --- forms by expected results ----------------------------------------------------------------------------- */

enum change_kind { NO_CHANGE, REGISTER, MEMORY, FLAGS, NEEDS_HOST };
enum needs { NEEDS_AVX, NEEDS_BMI2, NEEDS_AVX512 };

struct change {
	uint8_t kind, size; /* size: bytes of memory */
	uint32_t where, value;
};

#define R(r, v)                                                                                              \
	{                                                                                                    \
		REGISTER, 4, REG_##r, v                                                                      \
	}
#define M(a, v)                                                                                              \
	{                                                                                                    \
		MEMORY, 4, a, v                                                                              \
	}
#define M2(a, v)                                                                                             \
	{                                                                                                    \
		MEMORY, 2, a, v                                                                              \
	}
#define M1(a, v)                                                                                             \
	{                                                                                                    \
		MEMORY, 1, a, v                                                                              \
	}
#define F(v)                                                                                                 \
	{                                                                                                    \
		FLAGS, 4, 0, v                                                                               \
	} /* arithmetic flags and DF */
#define NEEDS(what)                                                                                          \
	{                                                                                                    \
		NEEDS_HOST, 0, NEEDS_##what, 0                                                               \
	} /* no change: only where the host has it */
#define B(s) s, sizeof(s) - 1

struct form {
	const char *name, *bytes;
	size_t len;
	struct change change[9];
};

/* Is there a NEEDS() among the changes that the host does not meet? */
static bool host_lacks(const struct form *f)
{
	for (size_t i = 0; i < sizeof(f->change) / sizeof(*f->change); i++)
		if (f->change[i].kind == NEEDS_HOST)
			switch (f->change[i].where) {
			case NEEDS_AVX:
				return !__builtin_cpu_supports("avx");
			case NEEDS_BMI2:
				return !__builtin_cpu_supports("bmi2");
			case NEEDS_AVX512:
				return !__builtin_cpu_supports("avx512bw");
			}
	return false;
}

static const char *const reg_names[8] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};

static void expect_state(const struct long_run *r, const struct change *change, size_t n)
{
	uint32_t gpr[8] = {AX0, CX0, DX0, BX0, SP0, BP0, SI0, DI0}, flags = FLAGS0;
	unsigned shown = 0;

	for (size_t i = 0; i < n; i++) {
		const struct change *c = &change[i];

		if (c->kind == REGISTER)
			gpr[c->where] = c->value;
		else if (c->kind == FLAGS)
			flags = c->value;
		else if (c->kind == MEMORY)
			memcpy(image_at(c->where), &c->value, c->size);
	}
	for (unsigned i = 0; i < 8; i++)
		EXPECT_EQ(reg_names[i], r->gpr[i], gpr[i]);
	if (!ln.flags_dead)
		EXPECT_EQ("eflags", r->eflags & (LN_ARITHMETIC | LN_DF), flags);
	for (size_t i = 1; i < LN_PARTS; i++)
		for (uint32_t at = ln_parts[i].at; at < ln_parts[i].at + ln_parts[i].size && shown < 4;
		     at += 4) {
			char what[32];
			uint32_t is, should;

			memcpy(&is, ln_at(at), 4);
			memcpy(&should, image_at(at), 4);
			snprintf(what, sizeof(what), "memory %08x", at);
			shown += is != should;
			EXPECT_EQ(what, is, should);
		}
}

static void start_form(const struct form *f, struct long_run *r)
{
	case_name = f->name;
	*ln_vcpu() = ln_page;
	fill_memory();
	memcpy(ln_at(LN_TEXT), f->bytes, f->len);
	take_image();
	start_state(r);
}

static void expect_end(const struct form *f, struct long_run *r, bool regular)
{
	if (!regular || (r->end != LONG_ENDED_ALONE && r->end != LONG_ENDED_SITE)) {
		fail_case("the end", r->end, LONG_ENDED_ALONE);
		fail_case("rip", (uint32_t)ln.rip, (uint32_t)r->signal);
	}
	expect_state(r, f->change, sizeof(f->change) / sizeof(*f->change));
}

/* By the software TLB, sensitive instructions with an operand on the stack are the monitor's; see others_leave. */
static bool left_soft(const struct long_run *r)
{
	return ln.view == VIEW_SOFT && r->end == LONG_ENDED_SITE &&
	       strchr("\x06\x0e\x16\x1e\x9c\x9d\x0f", *ln_at(r->eip));
}

static void run_form(const struct form *f)
{
	struct long_run r;
	bool regular;

	ln_reset();
	start_form(f, &r);
	regular = ln_run(&r, 1000);
	if (!left_soft(&r))
		expect_end(f, &r, regular);
}

/*
 * A kick at every emitted instruction: it is taken back to the guest's boundary and goes on from there, with nothing but
 * the guest's 32-bit registers left; or, after the commit, goes on to the next.
 */
static unsigned kick_form(const struct form *f)
{
	size_t n_points;
	unsigned met = 0;

	run_form(f);
	n_points = ln.l.n_points;
	for (size_t i = 0; i < n_points && !failures; i++) {
		const struct manifest_point point = ln.points[i];
		char name[128];
		struct long_run r;
		bool regular;

		start_form(f, &r);
		snprintf(name, sizeof(name), "%s, kicked at +%#x", f->name, point.stub - ln.points[0].stub);
		case_name = name;
		ln_kick(&point);
		regular = ln_run(&r, 1000);
		if (regular && r.end == LONG_ENDED_FAULT && r.signal == SIGTRAP)
			regular = ln_run(&r, 1000);
		met += ln_kicked();
		if (!left_soft(&r))
			expect_end(f, &r, regular);
	}
	return met;
}

#define X (LN_TEXT) /* where the program starts */

/* clang-format off */
static const struct form forms[] = {
    /* addresses */
    {"mov (%ebx),%eax", B("\x8b\x03"), {R(AX, D(0x100))}},
    {"mov 8(%ebx,%ecx,4),%eax", B("\x8b\x44\x8b\x08"), {R(AX, D(0x110))}},
    {"mov disp32,%edx", B("\x8b\x15\x20\x00\x00\x40"), {R(DX, D(0x20))}},
    {"mov disp32 by SIB", B("\x8b\x14\x25\x20\x00\x00\x40"), {R(DX, D(0x20))}},
    {"mov disp32(,%ecx,8)", B("\x8b\x14\xcd\x20\x00\x00\x40"), {R(DX, D(0x30))}},
    {"the address wraps", B("\xb8\x00\x00\x00\xf0\x8b\x80\x40\x00\x00\x50"), {R(AX, D(0x40))}},
    {"a negative displacement", B("\x8b\x43\xfc"), {R(AX, D(0xfc))}},
    {"moffs load", B("\xa1\x20\x00\x00\x40"), {R(AX, D(0x20))}},
    {"moffs store", B("\xa3\x20\x00\x00\x40"), {M(LN_DATA + 0x20, AX0)}},
    {"moffs byte load", B("\xa0\x21\x01\x00\x40"), {R(AX, 0x11223301)}},
    {"moffs byte store", B("\xa2\x20\x00\x00\x40"), {M1(LN_DATA + 0x20, 0x44)}},
    {"moffs word load", B("\x66\xa1\x20\x01\x00\x40"), {R(AX, 0x11220120)}},
    {"moffs word store", B("\x66\xa3\x20\x00\x00\x40"), {M2(LN_DATA + 0x20, 0x3344)}},
    {"moffs16", B("\x67\xa1\x00\x30"), {R(AX, L(0x3000))}},
    {"lea", B("\x8d\x44\x8b\x10"), {R(AX, LN_DATA + 0x118)}},
    {"lea disp32", B("\x8d\x05\x78\x56\x34\x92"), {R(AX, 0x92345678)}},
    {"lea wraps", B("\x8d\x84\x1b\x00\x00\x00\x90"), {R(AX, 0x10000200)}},
    {"lea of 16 bits", B("\x66\x8d\x43\x01"), {R(AX, 0x11220101)}},
    {"lea by 16-bit addressing", B("\xbb\xff\xff\x00\x00\xbe\x03\x00\x02\x00\x67\x8d\x00"),
     {R(BX, 0xffff), R(SI, 0x20003), R(AX, 2)}},
    {"16-bit addressing", B("\xbb\x00\x20\x05\x00\xbe\x00\x18\x00\x00\x67\x8b\x50\x10"),
     {R(BX, 0x52000), R(SI, 0x1800), R(DX, L(0x3810))}},
    {"16-bit addressing, disp16", B("\x67\x89\x06\x00\x30"), {M(0x3000, AX0)}},
    {"16-bit addressing, %bp", B("\xbd\x00\x30\x01\x00\x67\x8b\x56\x00"), {R(BP, 0x13000), R(DX, L(0x3000))}},
    {"prefixes without meaning", B("\x3e\x26\x36\x8b\x03"), {R(AX, D(0x100))}},
    {"nop with CS", B("\x66\x66\x2e\x0f\x1f\x84\x00\x00\x00\x00\x00"), {{0}}},
    {"nop with FS and nothing there", B("\x64\x0f\x1f\x05\x00\x00\x00\x00"), {{0}}},
    {"nop with 16-bit addressing", B("\x67\x0f\x1f\x46\x00"), {{0}}},
    {"prefetch of nothing", B("\x0f\x18\x0d\x00\x00\x00\x00\x65\x0f\x18\x09"), {{0}}},
    {"as many prefixes as go", B("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x8b\x43\x04"), {R(AX, 0x11220104)}},
    {"a long locked add", B("\xf0\x3e\x81\x84\x8b\x08\x00\x00\x00\x01\x00\x00\x00"), {M(LN_DATA + 0x110, D(0x111)), F(0x84)}},
    {"xlat", B("\xb8\x08\x00\x00\x00\xd7"), {R(AX, 0x08)}},
    /* FS and GS */
    {"mov %fs:disp32,%eax", B("\x64\xa1\x10\x00\x00\x00"), {R(AX, T(0x10))}},
    {"mov %eax,%fs:disp32", B("\x64\xa3\x10\x00\x00\x00"), {M(LN_TLS + 0x10, AX0)}},
    {"mov %fs:moffs,%al", B("\x64\xa0\x11\x02\x00\x00"), {R(AX, 0x11223302)}},
    {"mov %ax,%fs:moffs", B("\x66\x64\xa3\x10\x00\x00\x00"), {M2(LN_TLS + 0x10, 0x3344)}},
    {"mov %gs:disp32,%edx wraps", B("\x65\x8b\x15\x20\x00\x00\x80"), {R(DX, T(0x20))}},
    {"mov %gs:(%ecx)", B("\xb9\x20\x00\x00\x80\x65\x8b\x11"), {R(CX, 0x80000020), R(DX, T(0x20))}},
    {"mov %fs:8(,%ecx,4)", B("\x64\x8b\x14\x8d\x08\x00\x00\x00"), {R(DX, T(0x10))}},
    {"mov %fs:8(%edx,%ecx,4)", B("\xba\x00\x01\x00\x00\x64\x8b\x44\x8a\x08"), {R(DX, 0x100), R(AX, T(0x110))}},
    {"mov %fs:(%ebp)", B("\xbd\x00\x01\x00\x00\x64\x8b\x45\x00"), {R(BP, 0x100), R(AX, T(0x100))}},
    {"mov %fs:(%esp)", B("\x89\xe0\xbc\x08\x00\x00\x00\x64\x8b\x0c\x24\x89\xc4"), {R(AX, SP0), R(CX, T(8))}},
    {"incl %fs:disp32", B("\x64\xff\x05\x10\x00\x00\x00"), {M(LN_TLS + 0x10, T(0x11)), F(0x85)}},
    {"add imm with FS", B("\x64\x83\x05\x10\x00\x00\x00\x01"), {M(LN_TLS + 0x10, T(0x11)), F(0x84)}},
    {"lock xadd with FS", B("\x64\xf0\x0f\xc1\x05\x00\x00\x00\x00"), {R(AX, T(0)), M(LN_TLS, 0x01223344), F(0x5)}},
    {"FS by 16-bit addressing", B("\x64\x67\x8b\x06\x10\x00"), {R(AX, T(0x10))}},
    {"bts with a bit offset beyond its operand", B("\xb8\x2a\x00\x00\x00\x64\x0f\xab\x05\x10\x00\x00\x00"),
     {R(AX, 42), M(LN_TLS + 0x14, T(0x414)), F(0x90)}},
    {"bts with a negative bit offset", B("\xb8\xf6\xff\xff\xff\x64\x0f\xab\x05\x10\x00\x00\x00"),
     {R(AX, 0xfffffff6), M(LN_TLS + 0xc, 0xf040000c), F(0x90)}},
    {"lea ignores FS", B("\x64\x8d\x43\x04"), {R(AX, LN_DATA + 0x104)}},
    {"push %fs:m", B("\x64\xff\x35\x10\x00\x00\x00"), {R(SP, SP0 - 4), M(SP0 - 4, T(0x10))}},
    {"pop %fs:m", B("\x64\x8f\x05\x10\x00\x00\x00"), {R(SP, SP0 + 4), M(LN_TLS + 0x10, S(0x800))}},
    /* opcodes that mean another thing in 64-bit mode */
    {"inc %eax", B("\x40"), {R(AX, AX0 + 1), F(0x01)}},
    {"dec %edi", B("\x4f"), {R(DI, DI0 - 1), F(0x15)}},
    {"inc %cx", B("\xb9\xff\xff\x05\x00\x66\x41"), {R(CX, 0x50000), F(0x55)}},
    {"82 is 80", B("\x82\xc0\x01\x82\x03\x01"), {R(AX, 0x11223345), M1(LN_DATA + 0x100, 0x01), F(0)}},
    {"82 with a high byte", B("\x82\xc4\x01"), {R(AX, 0x11223444), F(0)}},
    {"xchg %eax,%eax", B("\x90\x87\xc0"), {{0}}},
    {"movzx of AH", B("\x0f\xb6\xcc"), {R(CX, 0x33)}},
    {"mov %dh,(%ebx)", B("\x88\x33"), {M1(LN_DATA + 0x100, 0x77)}},
    {"cmpxchg8b", B("\x8b\x03\x8b\x53\x04\x0f\xc7\x0b"),
     {R(AX, D(0x100)), R(DX, D(0x104)), M(LN_DATA + 0x100, BX0), M(LN_DATA + 0x104, CX0), F(0xd1)}},
    /* stack */
    {"push %eax", B("\x50"), {R(SP, SP0 - 4), M(SP0 - 4, AX0)}},
    {"push %esp", B("\x54"), {R(SP, SP0 - 4), M(SP0 - 4, SP0)}},
    {"push %ax", B("\x66\x50"), {R(SP, SP0 - 2), M2(SP0 - 2, 0x3344)}},
    {"push imm8", B("\x6a\xfe"), {R(SP, SP0 - 4), M(SP0 - 4, 0xfffffffe)}},
    {"push imm32", B("\x68\x78\x56\x34\x12"), {R(SP, SP0 - 4), M(SP0 - 4, 0x12345678)}},
    {"push imm16", B("\x66\x68\x34\x12"), {R(SP, SP0 - 2), M2(SP0 - 2, 0x1234)}},
    {"pushw imm8", B("\x66\x6a\x80"), {R(SP, SP0 - 2), M2(SP0 - 2, 0xff80)}},
    {"push (%ebx)", B("\xff\x33"), {R(SP, SP0 - 4), M(SP0 - 4, D(0x100))}},
    {"pushw (%ebx)", B("\x66\xff\x33"), {R(SP, SP0 - 2), M2(SP0 - 2, 0x0100)}},
    {"push 4(%esp)", B("\xff\x74\x24\x04"), {R(SP, SP0 - 4), M(SP0 - 4, S(0x804))}},
    {"push -6(%esp), over itself", B("\xff\x74\x24\xfa"), {R(SP, SP0 - 4), M(SP0 - 4, 0x07fce000)}},
    {"push %ecx by its other encoding", B("\xff\xf1"), {R(SP, SP0 - 4), M(SP0 - 4, CX0)}},
    {"pop %eax", B("\x58"), {R(AX, S(0x800)), R(SP, SP0 + 4)}},
    {"pop %ax", B("\x66\x58"), {R(AX, 0x11220800), R(SP, SP0 + 2)}},
    {"pop %esp", B("\x89\xe5\x5c\x89\xe0\x89\xec"), {R(BP, SP0), R(AX, S(0x800))}},
    {"pop %edx by its other encoding", B("\x8f\xc2"), {R(DX, S(0x800)), R(SP, SP0 + 4)}},
    {"pop (%ebx)", B("\x8f\x03"), {M(LN_DATA + 0x100, S(0x800)), R(SP, SP0 + 4)}},
    {"pop 4(%esp), addressed after the pop", B("\x8f\x44\x24\x04"), {M(SP0 + 8, S(0x800)), R(SP, SP0 + 4)}},
    {"pop (%esp,%ecx,4)", B("\x8f\x04\x8c"), {M(SP0 + 12, S(0x800)), R(SP, SP0 + 4)}},
    {"popw (%ebx)", B("\x66\x8f\x03"), {M2(LN_DATA + 0x100, 0x0800), R(SP, SP0 + 2)}},
    {"popw (%esp)", B("\x66\x8f\x04\x24"), {M2(SP0 + 2, 0x0800), R(SP, SP0 + 2)}},
    {"pusha", B("\x60"), {R(SP, SP0 - 32), M(SP0 - 4, AX0), M(SP0 - 8, CX0), M(SP0 - 12, DX0), M(SP0 - 16, BX0),
			  M(SP0 - 20, SP0), M(SP0 - 24, BP0), M(SP0 - 28, SI0), M(SP0 - 32, DI0)}},
    {"popa", B("\x61"), {R(SP, SP0 + 32), R(DI, S(0x800)), R(SI, S(0x804)), R(BP, S(0x808)), R(BX, S(0x810)),
			 R(DX, S(0x814)), R(CX, S(0x818)), R(AX, S(0x81c))}},
    {"leave", B("\xc9\x89\xe0\xbc\x00\x08\x00\x50"), {R(BP, D(0x300)), R(AX, LN_DATA + 0x304)}},
    {"leavew", B("\x66\xc9\x89\xe0\xbc\x00\x08\x00\x50"), {R(BP, 0x40000300), R(AX, LN_DATA + 0x302)}},
    /* branches; DAA stands behind the program */
    {"jmp", B("\xeb\x01\x40"), {{0}}},
    {"jc taken", B("\x72\x01\x40"), {{0}}},
    {"jz not taken", B("\x74\x01\x49"), {R(CX, 1), F(0x01)}},
    {"jc rel32", B("\x0f\x82\x01\x00\x00\x00\x40"), {{0}}},
    {"loop", B("\x42\xe2\xfd"), {R(CX, 0), R(DX, DX0 + 2), F(0x01)}},
    {"loope ends by ZF", B("\xe1\x01\x40"), {R(CX, 1), R(AX, AX0 + 1), F(0x01)}},
    {"loopne", B("\xe0\x01\x40"), {R(CX, 1)}},
    {"jecxz", B("\xe3\x05\xb9\x00\x00\x00\x00\xe3\x01\x40"), {R(CX, 0)}},
    {"call and ret", B("\xe8\x02\x00\x00\x00\xeb\x02\x40\xc3"), {R(AX, AX0 + 1), M(SP0 - 4, X + 5), F(0x01)}},
    {"ret imm16", B("\x6a\x07\xe8\x02\x00\x00\x00\xeb\x03\xc2\x04\x00"), {M(SP0 - 4, 7), M(SP0 - 8, X + 7)}},
    {"call *%eax", B("\xb8\x0a\x80\x04\x08\xff\xd0\xeb\x02\xf4\xc3"), {R(AX, X + 10), M(SP0 - 4, X + 7)}},
    {"jmp *%edx", B("\xba\x08\x80\x04\x08\xff\xe2\x40"), {R(DX, X + 8)}},
    {"call *mem", B("\xc7\x03\x0d\x80\x04\x08\xff\x13\xeb\x04\xf4\xf4\xf4\xc3"), {M(LN_DATA + 0x100, X + 13), M(SP0 - 4, X + 8)}},
    {"call *-4(%esp), over its own word", B("\xc7\x44\x24\xfc\x0e\x80\x04\x08\xff\x54\x24\xfc\xeb\x01\xc3"), {M(SP0 - 4, X + 12)}},
    {"call *%esp reads it first", B("\xbc\x00\x81\x04\x08\xff\xd4"), {R(SP, X + 0xfc)}},
    {"jmp *%fs:m", B("\x64\xc7\x05\x10\x00\x00\x00\x13\x80\x04\x08\x64\xff\x25\x10\x00\x00\x00\x40"), {M(LN_TLS + 0x10, X + 19)}},
    /* strings */
    {"movsd", B("\xa5"), {M(DI0, D(0x500)), R(SI, SI0 + 4), R(DI, DI0 + 4)}},
    {"movsb backwards", B("\xfd\xa4\xfc"), {M1(DI0, 0), R(SI, SI0 - 1), R(DI, DI0 - 1)}},
    {"rep movsd", B("\xf3\xa5"), {M(DI0, D(0x500)), M(DI0 + 4, D(0x504)), R(SI, SI0 + 8), R(DI, DI0 + 8), R(CX, 0)}},
    {"rep movsw", B("\x66\xf3\xa5"), {M(DI0, D(0x500)), R(SI, SI0 + 4), R(DI, DI0 + 4), R(CX, 0)}},
    {"rep stosd", B("\xf3\xab"), {M(DI0, AX0), M(DI0 + 4, AX0), R(DI, DI0 + 8), R(CX, 0)}},
    {"stosb with FS, which it ignores", B("\x64\xaa"), {M1(DI0, 0x44), R(DI, DI0 + 1)}},
    {"lodsd", B("\xad"), {R(AX, D(0x500)), R(SI, SI0 + 4)}},
    {"lodsb", B("\xac"), {R(AX, 0x11223300), R(SI, SI0 + 1)}},
    {"repne scasd", B("\xb8\x04\x09\x00\xd0\xf2\xaf"), {R(AX, D(0x904)), R(DI, DI0 + 8), R(CX, 0), F(0x44)}},
    {"repe cmpsb", B("\xf3\xa6"), {R(SI, SI0 + 2), R(DI, DI0 + 2), R(CX, 0), F(0x95)}},
    {"rep movsb backwards", B("\xfd\xf3\xa4\xfc"), {M1(DI0, 0), R(SI, SI0 - 2), R(DI, DI0 - 2), R(CX, 0)}},
    {"rep movsd from page to page", B("\xbe\xfc\x0f\x00\x40\xf3\xa5"),
     {M(DI0, D(0xffc)), M(DI0 + 4, D(0x1000)), R(SI, LN_DATA + 0x1004), R(DI, DI0 + 8), R(CX, 0)}},
    {"rep stosw to the next page", B("\xbf\xfe\x0f\x00\x40\x66\xf3\xab"),
     {M2(LN_DATA + 0xffe, 0x3344), M2(LN_DATA + 0x1000, 0x3344), R(DI, LN_DATA + 0x1002), R(CX, 0)}},
    {"rep movsd onto itself, more than a page", B("\x89\xf7\xb9\x80\x06\x00\x00\xf3\xa5"),
     {R(SI, SI0 + 0x1a00), R(DI, SI0 + 0x1a00), R(CX, 0)}},
    {"rep movsl, an element in two pages", B("\xbe\xfa\x0f\x00\x40\xf3\xa5"),
     {M(DI0, 0x0ffcd000), M(DI0 + 4, 0x1000d000), R(SI, LN_DATA + 0x1002), R(DI, DI0 + 8), R(CX, 0)}},
    {"rep with nothing to do", B("\xb9\x00\x00\x00\x00\xf3\xa5"), {R(CX, 0)}},
    /* vectors */
    {"movaps, movd", B("\x0f\x28\x03\x66\x0f\x7e\xc0"), {R(AX, D(0x100))}},
    {"movd by FS", B("\x64\x66\x0f\x6e\x05\x10\x00\x00\x00\x66\x0f\x7e\xc0"), {R(AX, T(0x10))}},
    {"maskmovq", B("\xb8\x00\x00\x00\x80\x0f\x6e\xc0\x0f\x6e\xca\x0f\xf7\xc8\x0f\x77"), {R(AX, 0x80000000), M1(DI0 + 3, 0x55)}},
    {"vmovd, C5", B("\xc5\xf9\x6e\x03\xc5\xf9\x7e\xc0"), {R(AX, D(0x100)), NEEDS(AVX)}},
    {"vmovd by FS", B("\x64\xc5\xf9\x6e\x05\x10\x00\x00\x00\xc5\xf9\x7e\xc0"), {R(AX, T(0x10)), NEEDS(AVX)}},
    {"fild, fistp by GS", B("\xdb\x03\x65\xdb\x1d\x08\x00\x00\x80"), {M(LN_TLS + 8, D(0x100))}},
    {"kmovd with a superfluous W", B("\xc4\xe1\xfb\x92\xc8\xc4\xe1\xfb\x93\xd1"), {R(DX, AX0), NEEDS(AVX512)}},
    {"evex with a register number's bits clear", B("\x62\xd1\x7d\x08\x6e\xc0\xc5\xf9\x7e\xc2"), {R(DX, AX0), NEEDS(AVX512)}},

    /* sensitive ones with a form in both views */
    {"pushf", B("\x9c"), {R(SP, SP0 - 4), M(SP0 - 4, FLAGS0 | 0x202)}},
    {"popf", B("\x68\x46\x06\x00\x00\x9d"), {M(SP0 - 4, 0x646), F(0x444)}},
    {"push %es", B("\x06"), {R(SP, SP0 - 4), M(SP0 - 4, 0x7b)}},
    {"push %gs", B("\x0f\xa8"), {R(SP, SP0 - 4), M(SP0 - 4, 0xe0)}},
    {"mov %cs,%edx", B("\x8c\xca"), {R(DX, 0x60)}},
    {"mov %ds,%dx", B("\x66\x8c\xda"), {R(DX, 0x5566007b)}},
    {"mov %ss,%esp", B("\x8c\xd4\x89\xe0\xbc\x00\x08\x00\x50"), {R(AX, 0x68)}},
    {"lahf, sahf", B("\x9f\x80\xf4\x01\x9e"), {R(AX, 0x11229244), F(0x90)}},
};
/* clang-format on */

LONG_TEST(forms_do_what_the_cpu_does)
{
	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++)
		if (!host_lacks(&forms[i]))
			run_form(&forms[i]);
}

/* The same without chaining: every branch comes back here, every indirect one misses at first. */
LONG_TEST(forms_one_block_at_a_time)
{
	ln.no_chains = true;
	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++)
		if (!host_lacks(&forms[i]))
			run_form(&forms[i]);
}

LONG_TEST(kicked_anywhere)
{
	unsigned met = 0;

	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++)
		if (!host_lacks(&forms[i]))
			met += kick_form(&forms[i]);
	if (met < 500)
		fail_case("kicks met", met, 500);
}

/* Once its pages are known, a string stays in its block, unless DF is set. */
LONG_TEST(strings_stay_in_blocks)
{
	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		bool movs = strstr(forms[i].name, "movs") || strstr(forms[i].name, "stos");
		bool leaves = strstr(forms[i].name, "rep movsb backwards") || strstr(forms[i].name, "in two pages");
		struct long_run r;

		if (ln.view != VIEW_SOFT || !movs)
			continue;
		run_form(&forms[i]);
		start_form(&forms[i], &r);
		ln.entered = 0;
		ln_run(&r, 1000);
		EXPECT_EQ("stays", (uint32_t)(ln.entered <= 2), (uint32_t)!leaves);
	}
}

/* The kernel's strings: each side by the software TLB or by the window, as it is user memory or not. */
LONG_TEST(strings_of_two_sides)
{
	static const uint32_t splits[] = {LN_DATA - 1, SI0 - 0x100, DI0 - 0x100, 0xc0000000};

	if (ln.view != VIEW_SUPERVISOR)
		return;
	for (size_t n = 0; n < sizeof(splits) / sizeof(*splits); n++)
		for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++)
			if (strstr(forms[i].name, "movs") || strstr(forms[i].name, "stos")) {
				ln.split = splits[n];
				kick_form(&forms[i]);
			}
}

/* --- faults ------------------------------------------------------------------------------------------------ */

struct fault {
	struct form before; /* the program, and what it has changed when the fault comes */
	uint32_t eip;	    /* of the instruction, from the start */
	int signal;
	uint32_t address; /* of a SIGSEGV; NO_ADDRESS: not told (non-canonical) */
};
#define NO_ADDRESS 1u
#define DATA_END (LN_DATA + LN_DATA_SIZE)
#define STACK_END (LN_STACK + LN_STACK_SIZE)

/* clang-format off */
static const struct fault faults[] = {
    {{"a load", B("\x40\x8b\x15\x10\x00\x00\x00\x40"), {R(AX, AX0 + 1), F(1)}}, 1, SIGSEGV, 0x10},
    {{"a load at the top", B("\x8b\x15\xf0\xff\xff\xff"), {{0}}}, 0, SIGSEGV, 0xfffffff0},
    {{"a store, read before", B("\xb9\x10\x00\x00\x00\xff\x01"), {R(CX, 0x10)}}, 5, SIGSEGV, 0x10},
    {{"moffs", B("\xa1\x10\x00\x00\x00"), {{0}}}, 0, SIGSEGV, 0x10},
    {{"FS beyond what is mapped", B("\x64\x8b\x15\x00\x20\x00\x00"), {{0}}}, 0, SIGSEGV, LN_TLS + 0x2000},
    {{"push", B("\xbc\x10\x00\x00\x00\x6a\x01"), {R(SP, 0x10)}}, 5, SIGSEGV, 0xc},
    {{"push at the end of the stack", B("\xbc\x02\x00\x00\x50\x50"), {R(SP, LN_STACK + 2)}}, 5, SIGSEGV, LN_STACK - 2},
    {{"push m, the operand", B("\xff\x35\x10\x00\x00\x00"), {{0}}}, 0, SIGSEGV, 0x10},
    {{"push m, the stack", B("\xbc\x10\x00\x00\x00\xff\x33"), {R(SP, 0x10)}}, 5, SIGSEGV, 0xc},
    {{"pop", B("\xbc\x10\x00\x00\x00\x58"), {R(SP, 0x10)}}, 5, SIGSEGV, 0x10},
    {{"pop m, the operand", B("\x8f\x05\x10\x00\x00\x00"), {{0}}}, 0, SIGSEGV, 0x10},
    {{"pop m, the stack", B("\xbc\x10\x00\x00\x00\x8f\x03"), {R(SP, 0x10)}}, 5, SIGSEGV, 0x10},
    {{"pusha, the fifth", B("\xbc\x10\x00\x00\x50\x60"),
      {R(SP, LN_STACK + 0x10), M(LN_STACK + 12, AX0), M(LN_STACK + 8, CX0), M(LN_STACK + 4, DX0), M(LN_STACK, BX0)}},
     5, SIGSEGV, LN_STACK - 4},
    {{"pusha, the first", B("\xbc\x10\x10\x00\x50\x60"), {R(SP, STACK_END + 0x10)}}, 5, SIGSEGV, STACK_END + 12},
    {{"popa", B("\xbc\xf0\x0f\x00\x50\x61"), {R(SP, STACK_END - 16)}}, 5, SIGSEGV, STACK_END + 12},
    {{"leave", B("\xbd\x10\x00\x00\x00\xc9"), {R(BP, 0x10)}}, 5, SIGSEGV, 0x10},
    {{"call", B("\xbc\x10\x00\x00\x00\xe8\x10\x00\x00\x00"), {R(SP, 0x10)}}, 5, SIGSEGV, 0xc},
    {{"call *%eax", B("\xbc\x10\x00\x00\x00\xff\xd0"), {R(SP, 0x10)}}, 5, SIGSEGV, 0xc},
    {{"call *m, the operand", B("\xff\x15\x10\x00\x00\x00"), {{0}}}, 0, SIGSEGV, 0x10},
    {{"call *m, the stack", B("\xbc\x10\x00\x00\x00\xff\x13"), {R(SP, 0x10)}}, 5, SIGSEGV, 0xc},
    {{"ret", B("\xbc\x10\x00\x00\x00\xc3"), {R(SP, 0x10)}}, 5, SIGSEGV, 0x10},
    {{"rep movsd after one", B("\xbf\xfc\x1f\x00\x40\xf3\xa5"),
      {R(DI, DATA_END), R(SI, SI0 + 4), R(CX, 1), M(DATA_END - 4, D(0x500))}}, 5, SIGSEGV, DATA_END},
    {{"rep stosb after three", B("\xb1\x07\xbf\xfd\x1f\x00\x40\xf3\xaa"),
      {R(DI, DATA_END), R(CX, 4), M(DATA_END - 4, 0x444444fc)}}, 7, SIGSEGV, DATA_END},
    {{"repe cmpsb after one", B("\xbe\xff\x1f\x00\x40\x8a\x06\x88\x07\xf3\xa6"),
      {R(SI, DATA_END), R(DI, DI0 + 1), R(CX, 1), R(AX, 0x112233d0), M1(DI0, 0xd0), F(0x44)}}, 9, SIGSEGV, DATA_END},
    {{"lodsd", B("\xbe\x10\x00\x00\x00\xad"), {R(SI, 0x10)}}, 5, SIGSEGV, 0x10},
    {{"pushf", B("\xbc\x10\x00\x00\x00\x9c"), {R(SP, 0x10)}}, 5, SIGSEGV, 0xc},
    {{"popf", B("\xbc\x10\x00\x00\x00\x9d"), {R(SP, 0x10)}}, 5, SIGSEGV, 0x10},
    {{"push %es", B("\xbc\x10\x00\x00\x00\x06"), {R(SP, 0x10)}}, 5, SIGSEGV, 0xc},
    {{"div by zero", B("\x31\xc9\xf7\xf1"), {R(CX, 0), F(0x44)}}, 2, SIGFPE, 0},
    {{"ud2", B("\x0f\x0b"), {{0}}}, 0, SIGILL, 0},
    {{"ud1", B("\x0f\xb9\x03"), {{0}}}, 0, SIGILL, 0},
    {{"ud0", B("\x0f\xff\x03"), {{0}}}, 0, SIGILL, 0},
    {{"movaps, not aligned", B("\x0f\x28\x43\x01"), {{0}}}, 0, SIGSEGV, NO_ADDRESS},
};
/* clang-format on */

static void run_fault(const struct fault *f)
{
	struct long_run r;

	ln_reset();
	start_form(&f->before, &r);
	if (!ln_run(&r, 1000) || (r.end != LONG_ENDED_FAULT && !left_soft(&r)))
		fail_case("the end", r.end, LONG_ENDED_FAULT);
	if (left_soft(&r))
		return;
	EXPECT_EQ("the signal", (uint32_t)r.signal, (uint32_t)f->signal);
	EXPECT_EQ("eip", r.eip, LN_TEXT + f->eip);
	if (f->signal == SIGSEGV && f->address != NO_ADDRESS) {
		EXPECT_EQ("the address", (uint32_t)r.fault_address, f->address);
		EXPECT_EQ("the view", (uint32_t)(r.fault_address >> 32),
			  ln.view == VIEW_SUPERVISOR ? (uint32_t)(LN_WINDOW >> 32) : 0);
	}
	expect_state(&r, f->before.change, sizeof(f->before.change) / sizeof(*f->before.change));
}

LONG_TEST(faults_leave_the_instruction_undone)
{
	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++)
		run_fault(&faults[i]);
}

/* An FS that has to be looked at faults, at the instruction, whatever the address. */
LONG_TEST(fs_that_is_not_usable)
{
	static const struct form fs[] = {
	    {"mov %fs:m,%eax", B("\x64\xa1\x10\x00\x00\x00"), {{0}}},
	    {"push %fs:(%ebx)", B("\x64\xff\x33"), {{0}}},
	    {"call *%fs:(%ebx)", B("\x64\xff\x13"), {{0}}},
	};

	for (size_t i = 0; i < sizeof(fs) / sizeof(*fs); i++) {
		struct long_run r;

		ln_reset();
		start_form(&fs[i], &r);
		ln_vcpu()->fs_at = 1ull << 63;
		if (!ln_run(&r, 10) || r.end != LONG_ENDED_FAULT)
			fail_case("the end", r.end, LONG_ENDED_FAULT);
		EXPECT_EQ("eip", r.eip, LN_TEXT);
		expect_state(&r, fs[i].change, 1);
	}
}

/* --- sensitive instructions -------------------------------------------------------------------------------- */

struct sensitive {
	struct form form;
	uint32_t if_delta, pending, flags_hi; /* before */
	uint32_t if_delta_after;
	uint32_t left_at; /* EIP of the instruction that left: an offset */
};

/* push $flags; push $0x60; push $LN_TEXT + to; iret */
#define IRET_TO(to, flags) B("\x68" flags "\x6a\x60\x68" to "\x80\x04\x08\xcf")
#define FRAME(to, flags) M(SP0 - 4, flags), M(SP0 - 8, 0x60), M(SP0 - 12, LN_TEXT + (to))
/* clang-format off */
/* The supervisor's; DAA stands behind. */
static const struct sensitive inline_ones[] = {
    {{"cli", B("\xfa"), {{0}}}, 0, 0, 0, -0x200u, 1},
    {{"cli, off already", B("\xfa"), {{0}}}, -0x200u, 0x200, 0, -0x200u, 1},
    {{"sti", B("\xfb\x40"), {R(AX, AX0 + 1), F(1)}}, -0x200u, 0, 0, 0, 2},
    {{"sti, something pending", B("\xfb\x40"), {{0}}}, -0x200u, 0x200, 0, -0x200u, 0},
    {{"pushf, IF off, IOPL 3", B("\x9c"), {R(SP, SP0 - 4), M(SP0 - 4, 0x3093)}}, -0x200u, 0, 0x3000, -0x200u, 1},
    {{"popf, IF on", B("\x68\x02\x02\x00\x00\x9d"), {M(SP0 - 4, 0x202), F(0)}}, -0x200u, 0, 0, 0, 6},
    {{"popf, IF off", B("\x6a\x43\x9d"), {M(SP0 - 4, 0x43), F(0x41)}}, 0, 0, 0, -0x200u, 3},
    {{"popf, IF off, pending", B("\x6a\x43\x9d"), {M(SP0 - 4, 0x43), F(0x41)}}, 0, 0x200, 0, -0x200u, 3},
    {{"mov %cr0,%ebx", B("\x0f\x20\xc3"), {R(BX, 0x80050033)}}, 0, 0, 0, 0, 3},
    {{"mov %cr2,%eax", B("\x0f\x20\xd0"), {R(AX, 0x1234000)}}, 0, 0, 0, 0, 3},
    {{"mov %cr3,%edi", B("\x0f\x20\xdf"), {R(DI, 0x5678000)}}, 0, 0, 0, 0, 3},
    {{"mov %cr4,%ebp", B("\x0f\x20\xe5"), {R(BP, 0x690)}}, 0, 0, 0, 0, 3},
    {{"iret, IF on", IRET_TO("\x40", "\x47\x02\x00\x00"), {FRAME(0x40, 0x247), F(0x45)}}, -0x200u, 0, 0, 0, 0x40},
    {{"iret, IF off, pending", IRET_TO("\x40", "\x06\x00\x00\x00"), {FRAME(0x40, 6), F(4)}}, 0, 0x200, 0, -0x200u, 0x40},
    {{"invlpg of a page that nobody has", B("\x0f\x01\x7c\x8b\x08\x40"), {R(AX, AX0 + 1), F(1)}}, 0, 0, 0, 0, 6},
    {{"invlpg of one that somebody has", B("\x0f\x01\x38"), {{0}}}, 0, 0, 0, 0, 0},
};
/* clang-format on */

static uint64_t cs_descriptor;
static uint8_t cached[1 << 20];

/* CS is selector 0x60, and the page at EAX is in some cache. */
static void prepare_page(void)
{
	cs_descriptor = 0x00cf9b000000ffff;
	ln_page.reload[SEG_CS].descriptor_at = (uint64_t)&cs_descriptor;
	ln_page.reload[SEG_CS].minus_descriptor = -cs_descriptor;
	ln_page.reload[SEG_CS].minus_sel = -0x60u;
	ln_page.cached_at = (uint64_t)cached;
	cached[AX0 >> 12] = 1;
}

static void run_sensitive(const struct sensitive *s)
{
	struct long_run r;

	ln_page.if_delta = s->if_delta;
	ln_page.pending = s->pending;
	ln_page.flags_hi = s->flags_hi;
	if (!ln.flags_dead)
		kick_form(&s->form);
	ln_reset();
	start_form(&s->form, &r);
	expect_end(&s->form, &r, ln_run(&r, 100));
	EXPECT_EQ("eip", r.eip, LN_TEXT + s->left_at);
	EXPECT_EQ("IF", ln_vcpu()->if_delta, s->if_delta_after);
}

LONG_TEST(sensitive_ones_inline)
{
	if (ln.view != VIEW_SUPERVISOR)
		return;
	prepare_page();
	for (size_t i = 0; i < sizeof(inline_ones) / sizeof(*inline_ones); i++)
		run_sensitive(&inline_ones[i]);
	ln.flags_dead = true; /* the short form of STI */
	for (size_t i = 2; i < 4; i++)
		run_sensitive(&inline_ones[i]);
}

/* POPF with more to it leaves, the arithmetic flags aside with everything as it was; and so does what has no inline form. */
LONG_TEST(others_leave)
{
	static const struct {
		const char *name, *bytes;
		size_t len;
		uint32_t stack, pending, flags_hi;
		enum { EVERYWHERE, USER_ONLY, SOFT_ONLY } where;
	} cases[] = {
	    {"popf of NT", B("\x9d"), 0x4202, 0, 0, EVERYWHERE},
	    {"popf of TF", B("\x9d"), 0x302, 0, 0, EVERYWHERE},
	    {"popf of AC", B("\x9d"), 0x40202, 0, 0, EVERYWHERE},
	    {"popf with IOPL 3", B("\x9d"), 0x202, 0, 0x3000, EVERYWHERE},
	    {"popf of IF, something pending", B("\x9d"), 0x202, 0x200, 0, EVERYWHERE},
	    {"popf of 16 bits", B("\x66\x9d"), 0x202, 0, 0, EVERYWHERE},
	    {"pushf of 16 bits", B("\x66\x9c"), 0, 0, 0, EVERYWHERE},
	    {"push %ds of 16 bits", B("\x66\x1e"), 0, 0, 0, EVERYWHERE},
	    {"mov %ds,(%ebx)", B("\x8c\x1b"), 0, 0, 0, EVERYWHERE},
	    {"sti at the end of a block", B("\xfb\x27"), 0, 0, 0, EVERYWHERE},
	    {"mov %eax,%ds", B("\x8e\xd8"), 0, 0, 0, EVERYWHERE},
	    {"mov %eax,%cr3", B("\x0f\x22\xd8"), 0, 0, 0, EVERYWHERE},
	    {"iret", B("\xcf"), 0, 0, 0, EVERYWHERE},
	    {"int $0x80", B("\xcd\x80"), 0, 0, 0, EVERYWHERE},
	    {"int3", B("\xcc"), 0, 0, 0, EVERYWHERE},
	    {"into", B("\xce"), 0, 0, 0, EVERYWHERE},
	    {"syscall", B("\x0f\x05"), 0, 0, 0, EVERYWHERE},
	    {"sysenter", B("\x0f\x34"), 0, 0, 0, EVERYWHERE},
	    {"call far", B("\x9a\x00\x00\x00\x00\x33\x00"), 0, 0, 0, EVERYWHERE},
	    {"jmp far m", B("\xff\x2b"), 0, 0, 0, EVERYWHERE},
	    {"les", B("\xc4\x03"), 0, 0, 0, EVERYWHERE},
	    {"wrpkru", B("\x0f\x01\xef"), 0, 0, 0, EVERYWHERE},
	    {"pushf by the software TLB", B("\x9c"), 0, 0, 0, SOFT_ONLY},
	    {"popf by the software TLB", B("\x9d"), 0x202, 0, 0, SOFT_ONLY},
	    {"push %gs by the software TLB", B("\x0f\xa8"), 0, 0, 0, SOFT_ONLY},
	    {"cli in user code", B("\xfa"), 0, 0, 0, USER_ONLY},
	    {"sti in user code", B("\xfb\x90"), 0, 0, 0, USER_ONLY},
	    {"mov %cr0,%eax in user code", B("\x0f\x20\xc0"), 0, 0, 0, USER_ONLY},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct form f = {cases[i].name, cases[i].bytes, cases[i].len, {M(SP0, cases[i].stack)}};
		struct long_run r;

		/* User code with something pending has been kicked; its IF is the kernel's affair. */
		if (cases[i].where == USER_ONLY ? ln.view == VIEW_SUPERVISOR
						: cases[i].pending && ln.view != VIEW_SUPERVISOR)
			continue;
		if (cases[i].where == SOFT_ONLY && ln.view != VIEW_SOFT)
			continue;
		ln_reset();
		start_form(&f, &r);
		memcpy(ln_at(SP0), &cases[i].stack, 4);
		ln_vcpu()->pending = cases[i].pending;
		ln_vcpu()->flags_hi = cases[i].flags_hi;
		if (!ln_run(&r, 10) || r.end != LONG_ENDED_SITE)
			fail_case("the end", r.end, LONG_ENDED_SITE);
		EXPECT_EQ("eip", r.eip, LN_TEXT);
		r.eflags = FLAGS0;
		expect_state(&r, f.change, 1);
	}
}

/* --- what the x87 remembers -------------------------------------------------------------------------------- */

/* A division by zero is pending, of the instruction at `ip`: so every processor stores where it was. */
static void start_pending(const struct form *f, struct long_run *r, uint32_t ip)
{
	const uint16_t control = 0x37b, status = 0x8084;

	ln_reset();
	start_form(f, r);
	r->gpr[REG_AX] |= 1; /* XSAVE's mask */
	memcpy(r->xstate, &control, 2);
	memcpy(r->xstate + 2, &status, 2);
	memcpy(r->xstate + 8, &ip, 4);
}

/* Stored, it makes the block leave with everything as it was, if it leads into a block. */
LONG_TEST(x87_pointers_into_blocks_leave)
{
	static const struct form stores[] = {
	    {"fxsave (%ebx)", B("\x0f\xae\x03\x40"), {{0}}},
	    {"fxsave at an absolute address", B("\x0f\xae\x05\x00\x04\x00\x40\x40"), {{0}}},
	    {"fxsave 0x300(%ebx,%ecx,8)", B("\x0f\xae\x84\xcb\xf0\x02\x00\x00\x40"), {{0}}},
	    {"fxsave %fs:0x100", B("\x64\x0f\xae\x05\x00\x01\x00\x00\x40"), {{0}}},
	    {"xsave (%ebx)", B("\x0f\xae\x23\x40"), {{0}}},
	};
	static const struct {
		uint32_t ip;
		bool leaves;
	} at[] = {{LN_CODE, true}, {LN_CODE + ABI_BLOCKS_SIZE - 1, true}, {LN_CODE - 1, false},
		  {LN_CODE + ABI_BLOCKS_SIZE, false}, {0, false}, {LN_TEXT, false}, {0xffffffff, false}};

	for (size_t i = 0; i < sizeof(stores) / sizeof(*stores); i++)
		for (size_t n = 0; n < sizeof(at) / sizeof(*at); n++) {
			struct long_run r;

			if (stores[i].bytes[2] == 0x23 && ln.view == VIEW_SOFT) /* stands alone */
				continue;
			case_name = stores[i].name;
			start_pending(&stores[i], &r, at[n].ip);
			if (!ln_run(&r, 10))
				fail_case("a fault at", (uint32_t)ln.rip, 0);
			EXPECT_EQ("the end", r.end, at[n].leaves ? LONG_ENDED_SITE : LONG_ENDED_ALONE);
			EXPECT_EQ("eip", r.eip, LN_TEXT + (at[n].leaves ? 0 : (uint32_t)stores[i].len));
			EXPECT_EQ("eax", r.gpr[REG_AX], (AX0 | 1) + !at[n].leaves);
			EXPECT_EQ("ecx", r.gpr[REG_CX], CX0);
			EXPECT_EQ("flags", r.eflags & LN_ARITHMETIC & ~0x14u, FLAGS0 & (at[n].leaves ? ~0x14u : 1));
		}
}

/* An operand that is not where the guest has it is noted, and with it the opcode. */
LONG_TEST(x87_operands_are_noted)
{
	static const struct {
		struct form form;
		uint32_t operand, opcode;
		bool always; /* moved in every view */
	} cases[] = {
	    {{"flds (%ebx)", B("\xd9\x03"), {{0}}}, BX0, 0x103, false},
	    {{"flds 8(%esi,%ecx,4)", B("\xd9\x44\x8e\x08"), {{0}}}, SI0 + 16, 0x144, false},
	    {{"fldl at an absolute address", B("\xdd\x05\x10\x00\x00\x40"), {{0}}}, LN_DATA + 0x10, 0x505, false},
	    {{"flds %fs:0x10", B("\x64\xd9\x05\x10\x00\x00\x00"), {{0}}}, 0x10, 0x105, true},
	    {{"fildl %fs:0x20(,%ecx,8)", B("\x64\xdb\x04\xcd\x20\x00\x00\x00"), {{0}}}, 0x30, 0x304, true},
	    {{"flds 0x2010", B("\x67\xd9\x06\x10\x20"), {{0}}}, 0x2010, 0x106, true},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		bool moved = cases[i].always || ln.view == VIEW_SOFT;
		const struct form *f = &cases[i].form;
		unsigned flags = 0;
		struct long_run r;

		case_name = f->name;
		ln_reset();
		start_form(f, &r);
		ln_vcpu()->x87_operand = ln_vcpu()->x87_opcode = 0xdeadbeef;
		expect_end(f, &r, ln_run(&r, 10));
		for (size_t p = 0; p < ln.l.n_points; p++)
			if (ln.points[p].guest == LN_TEXT)
				flags |= ln.points[p].flags & (POINT_X87_MOVED | POINT_X87_ABSOLUTE);
		EXPECT_EQ("operand", ln_vcpu()->x87_operand, moved ? cases[i].operand : 0xdeadbeef);
		EXPECT_EQ("opcode", ln_vcpu()->x87_opcode, moved ? cases[i].opcode : 0xdeadbeef);
		EXPECT_EQ("flags", flags, moved ? POINT_X87_MOVED : (cases[i].opcode & 0xc7) == 5 ? POINT_X87_ABSOLUTE : 0);
	}
}

/* IRET that is more than a jump leaves; while it may still raise an exception, with the flags as they were. */
LONG_TEST(iret_leaves)
{
	static const struct {
		const char *name;
		uint32_t cs, flags, pending, flags_hi;
		bool descriptor_changed, no_selector, flags_lost;
	} cases[] = {
	    {"to another selector", 0x68, 0x202, 0, 0, false, false, false},
	    {"outward", 0x63, 0x202, 0, 0, false, false, false},
	    {"to a descriptor that changed", 0x60, 0x202, 0, 0, true, false, false},
	    {"where no selector will do", 0x60, 0x202, 0, 0, false, true, false},
	    {"with NT", 0x60, 0x202, 0, 0x4000, false, false, false},
	    {"to TF", 0x60, 0x302, 0, 0, false, false, true},
	    {"to VM", 0x60, 0x20202, 0, 0, false, false, true},
	    {"to IF, something pending", 0x60, 0x202, 0x200, 0, false, false, true},
	};

	if (ln.view != VIEW_SUPERVISOR)
		return;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const uint32_t frame[] = {LN_TEXT + 0x40, cases[i].cs, cases[i].flags};
		const struct form f = {cases[i].name, B("\xcf"), {M(SP0, frame[0]), M(SP0 + 4, frame[1]), M(SP0 + 8, frame[2])}};
		struct long_run r;

		prepare_page();
		ln_reset();
		start_form(&f, &r);
		memcpy(ln_at(SP0), frame, sizeof(frame));
		ln_vcpu()->pending = cases[i].pending;
		ln_vcpu()->flags_hi = cases[i].flags_hi;
		cs_descriptor ^= cases[i].descriptor_changed ? 1ull << 47 : 0;
		if (cases[i].no_selector)
			ln_vcpu()->reload[SEG_CS].minus_sel = 1;
		if (!ln_run(&r, 10) || r.end != LONG_ENDED_SITE)
			fail_case("the end", r.end, LONG_ENDED_SITE);
		EXPECT_EQ("eip", r.eip, LN_TEXT);
		if (cases[i].flags_lost)
			r.eflags = FLAGS0;
		expect_state(&r, f.change, 3);
	}
}

/* --- from ring to ring ------------------------------------------------------------------------------------- */

#define RING_ENTRY (LN_TEXT + 0x40)
#define RING_ESP0 (LN_STACK + 0x400)

static struct ring_tables {
	uint64_t gate, code0, stack0, code3, stack3;
	uint32_t esp0, ss0;
} tables;

/* Calls go by INT 0x80 from 73:ESP on 7B to 60:RING_ENTRY on 68:RING_ESP0. */
static void prepare_ring(void)
{
	tables = (struct ring_tables){0x0408ee0000608040, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff,
				      0x00cff3000000ffff, RING_ESP0, 0xbeef0068};
	ln_page.ring = (struct vcpu_ring){
	    .cpl = ln.view == VIEW_SUPERVISOR ? 0 : 3,
	    .minus_vector = -0x80u,
	    .entry = RING_ENTRY,
	    .if_delta = -0x200u,
	    .minus_ss0 = -0x68u,
	    .inner_cs = 0x60,
	    .inner_ss = 0x68,
	    .outer_cs = 0x73,
	    .outer_ss = 0x7b,
	    .minus_cs3 = -0x73u,
	    .minus_ss3 = -0x7bu,
	    .gate = {(uint64_t)&tables.gate, -tables.gate},
	    .code0 = {(uint64_t)&tables.code0, -tables.code0},
	    .stack0 = {(uint64_t)&tables.stack0, -tables.stack0},
	    .code3 = {(uint64_t)&tables.code3, -tables.code3},
	    .stack3 = {(uint64_t)&tables.stack3, -tables.stack3},
	    .tss = (uint64_t)&tables.esp0,
	    .inner_table = LN_BASE + LN_TABLE,
	    .outer_table = LN_BASE + LN_TABLE,
	    .window = LN_WINDOW,
	};
	ln_page.sel[SEG_CS] = ln.view == VIEW_SUPERVISOR ? 0x60 : 0x73;
	ln_page.sel[SEG_SS] = ln.view == VIEW_SUPERVISOR ? 0x68 : 0x7b;
	ln_page.if_delta = ln.view == VIEW_SUPERVISOR ? -0x200u : 0;
	ln_page.pending = ln_page.flags_hi = 0;
}

/* The kernel's memory, which user code's views have beside their own. */
static void map_window(void)
{
	enum lower_view view = ln.view;

	if (view != VIEW_SUPERVISOR)
		ln_map_guest(VIEW_SUPERVISOR);
	ln.view = view;
}

static void expect_ring(uint32_t cpl, uint32_t cs, uint32_t ss, uint32_t if_delta)
{
	EXPECT_EQ("CPL", ln_vcpu()->ring.cpl, cpl);
	EXPECT_EQ("CS", ln_vcpu()->sel[SEG_CS], cs);
	EXPECT_EQ("SS", ln_vcpu()->sel[SEG_SS], ss);
	EXPECT_EQ("IF", ln_vcpu()->if_delta, if_delta);
}

/* What else is left of a call: the frame on the kernel's stack, and that it was counted. */
static void expect_called(uint32_t flags)
{
	const uint32_t frame[] = {LN_TEXT + 2, 0x73, flags, SP0, 0x7b};
	uint32_t word;

	for (unsigned i = 0; i < 5; i++) {
		memcpy(&word, (uint8_t *)(LN_WINDOW + RING_ESP0 - 20 + 4 * i), 4);
		EXPECT_EQ("a word of the frame", word, frame[i]);
	}
	EXPECT_EQ("calls", ln_vcpu()->ring.calls, 1u);
}

LONG_TEST(int_goes_by_its_gate)
{
	static const struct form form = {"int $0x80", B("\xcd\x80"), {R(SP, RING_ESP0 - 20)}};

	if (ln.view == VIEW_SUPERVISOR)
		return;
	map_window();
	prepare_ring();
	kick_form(&form);
	expect_ring(0, 0x60, 0x68, -0x200u);
	expect_called(FLAGS0 | 0x202);
	ln_page.ring.if_delta = 0; /* a trap gate */
	run_form(&form);
	expect_ring(0, 0x60, 0x68, 0);
}

LONG_TEST(int_leaves)
{
	static const struct {
		const char *name;
		uint64_t *changed;
		uint8_t vector;
		bool never;
	} cases[] = {
	    {"another vector", NULL, 0x81, false},
	    {"where none will do", NULL, 0x80, true},
	    {"another gate", &tables.gate, 0x80, false},
	    {"another code segment", &tables.code0, 0x80, false},
	    {"another stack segment", &tables.stack0, 0x80, false},
	    {"another selector in the TSS", (uint64_t *)&tables.esp0, 0x80, false},
	};

	if (ln.view == VIEW_SUPERVISOR)
		return;
	map_window();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char bytes[] = {(char)0xcd, (char)cases[i].vector};
		const struct form f = {cases[i].name, bytes, sizeof(bytes), {{0}}};
		struct long_run r;

		prepare_ring();
		if (cases[i].never)
			ln_page.ring.minus_vector = 1;
		ln_reset();
		start_form(&f, &r);
		if (cases[i].changed)
			*cases[i].changed ^= 1ull << 45;
		if (!ln_run(&r, 10) || r.end != LONG_ENDED_SITE)
			fail_case("the end", r.end, LONG_ENDED_SITE);
		EXPECT_EQ("eip", r.eip, LN_TEXT);
		expect_state(&r, f.change, 1);
		expect_ring(3, 0x73, 0x7b, 0);
	}
}

#define OUTWARD_ESP (LN_STACK + 0x600)
/* push $0x7b; push $OUTWARD_ESP; push $flags; push $0x73; push $RING_ENTRY; iret */
#define IRET_OUTWARD(flags) B("\x6a\x7b\x68\x00\x06\x00\x50\x68" flags "\x6a\x73\x68\x40\x80\x04\x08\xcf")

LONG_TEST(iret_goes_outward)
{
	static const struct form form = {"iret to CPL 3", IRET_OUTWARD("\x47\x02\x00\x00"),
					 {R(SP, OUTWARD_ESP), F(0x45), M(SP0 - 4, 0x7b), M(SP0 - 8, OUTWARD_ESP),
					  M(SP0 - 12, 0x247), M(SP0 - 16, 0x73), M(SP0 - 20, RING_ENTRY)}};

	if (ln.view != VIEW_SUPERVISOR)
		return;
	prepare_page();
	prepare_ring();
	kick_form(&form);
	expect_ring(3, 0x73, 0x7b, 0);
	EXPECT_EQ("calls", ln_vcpu()->ring.calls, 0u);
}

LONG_TEST(iret_outward_leaves)
{
	static const struct {
		const char *name;
		uint64_t *changed;
		uint32_t cs, ss, flags, pending, flags_hi, inner;
		bool never, flags_lost;
	} cases[] = {
	    {"to another code segment", NULL, 0x7b, 0x7b, 0x202, 0, 0, 0, false, false},
	    {"to another stack segment", NULL, 0x73, 0x83, 0x202, 0, 0, 0, false, false},
	    {"to code that changed", &tables.code3, 0x73, 0x7b, 0x202, 0, 0, 0, false, false},
	    {"to a stack that changed", &tables.stack3, 0x73, 0x7b, 0x202, 0, 0, 0, false, false},
	    {"where none will do", NULL, 0x73, 0x7b, 0x202, 0, 0, 0, true, false},
	    {"with FS of the kernel", NULL, 0x73, 0x7b, 0x202, 0, 0, 1, false, false},
	    {"with NT", NULL, 0x73, 0x7b, 0x202, 0, 0x4000, 0, false, false},
	    {"to IF off", NULL, 0x73, 0x7b, 2, 0, 0, 0, false, true},
	    {"to TF", NULL, 0x73, 0x7b, 0x302, 0, 0, 0, false, true},
	    {"to AC", NULL, 0x73, 0x7b, 0x40202, 0, 0, 0, false, true},
	    {"to IOPL 3", NULL, 0x73, 0x7b, 0x3202, 0, 0, 0, false, true},
	    {"to VM", NULL, 0x73, 0x7b, 0x20202, 0, 0, 0, false, true},
	    {"something pending", NULL, 0x73, 0x7b, 0x202, 0x200, 0, 0, false, true},
	};

	if (ln.view != VIEW_SUPERVISOR)
		return;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const uint32_t frame[] = {RING_ENTRY, cases[i].cs, cases[i].flags, OUTWARD_ESP, cases[i].ss};
		const struct form f = {cases[i].name,
				       B("\xcf"),
				       {M(SP0, frame[0]), M(SP0 + 4, frame[1]), M(SP0 + 8, frame[2]), M(SP0 + 12, frame[3]),
					M(SP0 + 16, frame[4])}};
		struct long_run r;

		prepare_page();
		prepare_ring();
		if (cases[i].never)
			ln_page.ring.minus_cs3 = 1;
		ln_reset();
		start_form(&f, &r);
		memcpy(ln_at(SP0), frame, sizeof(frame));
		ln_vcpu()->pending = cases[i].pending;
		ln_vcpu()->flags_hi = cases[i].flags_hi;
		ln_vcpu()->fs[0].inner = cases[i].inner;
		if (cases[i].changed)
			*cases[i].changed ^= 1ull << 45;
		if (!ln_run(&r, 10) || r.end != LONG_ENDED_SITE)
			fail_case("the end", r.end, LONG_ENDED_SITE);
		EXPECT_EQ("eip", r.eip, LN_TEXT);
		if (cases[i].flags_lost)
			r.eflags = FLAGS0;
		expect_state(&r, f.change, 5);
		expect_ring(0, 0x60, 0x68, -0x200u);
	}
}

/* All points of the instruction behind STI say so, lest one taken back from its middle is interrupted too early. */
LONG_TEST(the_shadow_of_sti_covers_the_next)
{
	struct long_run r;
	unsigned shadowed = 0;

	if (ln.view != VIEW_SUPERVISOR)
		return;
	case_name = "sti; push %fs:(%ebx,%ecx); inc %eax";
	ln_reset();
	fill_memory();
	memcpy(ln_at(LN_TEXT), "\xfb\x64\xff\x34\x0b\x40", 6);
	start_state(&r);
	ln_block(r.eip);
	for (size_t i = 0; i < ln.l.n_points; i++) {
		const struct manifest_point *p = &ln.points[i];
		bool should = p->guest == LN_TEXT + 1 && p->state != POINT_AFTER;

		EXPECT_EQ("POINT_SHADOW", (uint32_t) !!(p->flags & POINT_SHADOW), (uint32_t)should);
		shadowed += should;
	}
	EXPECT_EQ("shadowed points", shadowed, 6u);
}

/* --- loads of segments ------------------------------------------------------------------------------------- */

static uint64_t descriptors[3]; /* of the tests' GDT: null, 0xd8, 0x7b */

/* FS holds `fs_now` of 0xd8 and null; GS and DS 0x7b. */
static void start_segments(unsigned fs_now)
{
	static const struct vcpu_page before = {.sel = {0x7b, 0x60, 0x68, 0x7b, 0xd8, 0x7b}};
	const uint64_t data = 0x00cf93000000ffff;
	const struct vcpu_reload loaded = {
	    .descriptor_at = (uintptr_t)&descriptors[2], .minus_descriptor = -data, .minus_sel = -0x7bu};

	descriptors[1] = data | 0x48000000ull << 16;
	descriptors[2] = data;
	memcpy(ln_page.sel, before.sel, sizeof(before.sel));
	ln_page.fs[0].minus_sel = -0xd8u;
	ln_page.fs[0].descriptor_at = (uintptr_t)&descriptors[1];
	ln_page.fs[0].minus_descriptor = -descriptors[1];
	ln_page.fs[1].minus_sel = 0;
	ln_page.fs[1].this = 1ull << 63 | LN_FS(1);
	ln_page.fs[1].descriptor_at = (uintptr_t)&descriptors[0];
	ln_page.fs_at = ln_page.fs[fs_now].this;
	ln_page.reload[SEG_DS] = ln_page.reload[SEG_GS] = loaded;
}

LONG_TEST(segments_are_loaded_inline)
{
	/* clang-format off */
	static const struct {
		struct form form;
		unsigned before, after; /* which FS */
	} loads[] = {
	    {{"mov to FS, the same", B("\xb8\xd8\x00\x00\x00\x8e\xe0\x8c\xe3"), {R(AX, 0xd8), R(BX, 0xd8)}}, 0, 0},
	    {{"mov to FS, the other", B("\xb8\x00\x00\x00\x00\x8e\xe0\x8c\xe3"), {R(AX, 0), R(BX, 0)}}, 0, 1},
	    {{"mov to FS and use", B("\xb8\xd8\x00\x00\x00\x8e\xe0\x64\x8b\x15\x10\x00\x00\x00"),
	      {R(AX, 0xd8), R(DX, T(0x10))}}, 1, 0},
	    {{"mov to FS from ECX", B("\xb9\x00\x00\x00\x00\x8e\xe1\x8c\xe1"), {R(CX, 0)}}, 0, 1},
	    {{"mov from FS, 16 bits", B("\x66\x8c\xe3"), {R(BX, (BX0 & 0xffff0000) | 0xd8)}}, 0, 0},
	    {{"push and pop FS", B("\x0f\xa0\x0f\xa1"), {M(SP0 - 4, 0xd8)}}, 0, 0},
	    {{"pop FS, the other", B("\x68\xd8\x00\x55\x00\x0f\xa1\x0f\xa0\x5b"), {M(SP0 - 4, 0xd8), R(BX, 0xd8)}}, 1, 0},
	    {{"there and back", B("\x6a\x00\x68\xd8\x00\x00\x00\x0f\xa1\x0f\xa1"), {M(SP0 - 4, 0), M(SP0 - 8, 0xd8)}}, 1, 1},
	    {{"mov to DS", B("\xb8\x7b\x00\x00\x00\x8e\xd8"), {R(AX, 0x7b)}}, 0, 0},
	    {{"pop GS", B("\x6a\x7b\x0f\xa9"), {M(SP0 - 4, 0x7b)}}, 0, 0},
	};
	/* clang-format on */
	const struct vcpu_page page = ln_page;

	if (ln.view != VIEW_SUPERVISOR)
		return;
	for (size_t i = 0; i < sizeof(loads) / sizeof(*loads); i++) {
		start_segments(loads[i].before);
		kick_form(&loads[i].form);
		EXPECT_EQ("FS", (uint32_t)ln_vcpu()->fs_at, (uint32_t)LN_FS(loads[i].after));
	}
	ln_page = page;
}

LONG_TEST(segments_that_the_monitor_has_to_load)
{
	static const struct form loads[] = {
	    {"mov to FS, unknown", B("\x8e\xe0"), {{0}}},
	    {"pop FS, unknown", B("\x0f\xa1"), {{0}}},
	    {"pop FS, a new descriptor", B("\x0f\xa1"), {M(SP0, 0xd8)}},
	    {"pop FS, the null one with RPL 3", B("\x0f\xa1"), {M(SP0, 3)}},
	    {"mov to DS, unknown", B("\x8e\xd8"), {{0}}},
	    {"pop GS, a new descriptor", B("\x0f\xa9"), {M(SP0, 0x7b)}},
	};
	const struct vcpu_page page = ln_page;

	if (ln.view != VIEW_SUPERVISOR)
		return;
	for (size_t i = 0; i < sizeof(loads) / sizeof(*loads); i++) {
		struct long_run r;

		start_segments(1);
		descriptors[1] ^= 1ull << 56;
		descriptors[2] ^= 1ull << 56;
		ln_reset();
		start_form(&loads[i], &r);
		if (loads[i].change[0].kind == MEMORY)
			memcpy(ln_at(SP0), &loads[i].change[0].value, 4);
		if (!ln_run(&r, 10) || r.end != LONG_ENDED_SITE)
			fail_case("the end", r.end, LONG_ENDED_SITE);
		EXPECT_EQ("eip", r.eip, LN_TEXT);
		expect_state(&r, loads[i].change, 1);
		EXPECT_EQ("FS", (uint32_t)ln_vcpu()->fs_at, (uint32_t)LN_FS(1));
	}
	ln_page = page;
}

/* --- one instruction out of line ---------------------------------------------------------------------------- */

#define BOUNCE (LN_HOLE + 0x2000) /* a page of the hole */

/* Run one step; its end is the pad of the test. */
static void run_step(struct long_run *r, const char *bytes, size_t len, uint32_t operand)
{
	struct lower_insn in = {.bytes = (const uint8_t *)bytes, .va = LN_TEXT, .site = MANIFEST_NONE};
	uint32_t code = LN_CODE + (uint32_t)ln.l.code_len;

	insn_decode(&in.insn, in.bytes, len, LN_TEXT, 32);
	EXPECT_EQ("lower_long_step()", (uint32_t)lower_long_step(&ln.l, &in, ln.view, operand), 0u);
	EXPECT_EQ("resume", in.resume, LN_CODE + (uint32_t)ln.l.code_len);
	emit_exit(&ln.l, &(struct lower_insn){.site = 7, .pad = MANIFEST_NONE}, (struct place){0});
	ln_enter(r, code);
	EXPECT_EQ("the site", long_frame.left ? (uint32_t)long_frame.site : 0xffffffffu, 7u);
}

LONG_TEST(steps_take_their_operand_elsewhere)
{
	if (ln.view == VIEW_SOFT)
		return;
	static const struct {
		struct form form;
		uint32_t before, after;
	} steps[] = {
	    {{"mov m,%edx", B("\x8b\x15\x10\x00\x00\x00"), {R(DX, 0x12345678)}}, 0x12345678, 0x12345678},
	    {{"add $1,m", B("\x81\x03\x01\x00\x00\x00"), {F(0)}}, 0x12345678, 0x12345679},
	    {{"mov %ch,%fs:m, no REX allowed", B("\x64\x88\x2b"), {{0}}}, 0x12345678, 0x12345600},
	    {{"mov m,%eax through CS", B("\x2e\x8b\x03"), {R(AX, 0x12345678)}}, 0x12345678, 0x12345678},
	    {{"neg m by 16-bit addressing", B("\x67\xf7\x18"), {F(0x95)}}, 1, 0xffffffff},
	    {{"push m", B("\xff\x33"), {R(SP, SP0 - 4), M(SP0 - 4, 0x12345678)}}, 0x12345678, 0x12345678},
	    {{"pop m", B("\x8f\x03"), {R(SP, SP0 + 4)}}, 0, S(0x800)},
	    {{"vmovd m,%xmm0", B("\xc5\xf9\x6e\x03"), {NEEDS(AVX)}}, 1, 1},
	};

	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		const struct form *f = &steps[i].form;
		struct long_run r;

		if (host_lacks(f))
			continue;
		ln_reset();
		start_form(f, &r);
		*(uint32_t *)ln_hole(BOUNCE) = steps[i].before;
		run_step(&r, f->bytes, f->len, BOUNCE);
		EXPECT_EQ("the operand", *(uint32_t *)ln_hole(BOUNCE), steps[i].after);
		expect_state(&r, f->change, sizeof(f->change) / sizeof(*f->change));
	}
}

LONG_TEST(steps_that_are_refused)
{
	static const struct {
		const char *bytes;
		size_t len;
		uint32_t operand;
	} cases[] = {
	    {B("\xfa"), MANIFEST_NONE},		    /* cli: sensitive */
	    {B("\xeb\x00"), MANIFEST_NONE},	    /* a branch */
	    {B("\x27"), MANIFEST_NONE},		    /* daa */
	    {B("\x67\x0f\xab\x14"), MANIFEST_NONE}, /* bts %edx,(%si): its bit's address wraps at 64 KiB */
	    {B("\xc8\x00\x00\x00"), MANIFEST_NONE}, /* enter */
	    {B("\x2e\x8b\x03"), MANIFEST_NONE},	    /* mov %cs:(%ebx),%eax */
	    {B("\x64\x88\x2b"), MANIFEST_NONE},	    /* mov %ch,%fs:(%ebx) */
	    {B("\x64\xa4"), MANIFEST_NONE},	    /* movsb %fs: */
	    {B("\x67\xa4"), MANIFEST_NONE},	    /* movsb by %si and %di */
	    {B("\x67\xe2\x00"), MANIFEST_NONE},	    /* loop by %cx */
	    {B("\x66\xe9\x00\x00"), MANIFEST_NONE}, /* jmpw */
	    {B("\xc7\xf8\x00\x00\x00\x00"), MANIFEST_NONE}, /* xbegin */
	    {B("\x40"), BOUNCE},			    /* no operand */
	    {B("\xa4"), BOUNCE},
	    {B("\xc4\xe2\x69\x90\x04\x0b"), BOUNCE}, /* vpgatherdd: as many operands as there are indices */
	};

	ln_reset();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct lower_insn in = {
		    .bytes = (const uint8_t *)cases[i].bytes, .va = LN_TEXT, .site = MANIFEST_NONE};
		size_t code_len = ln.l.code_len, n_points = ln.l.n_points;

		case_name = cases[i].bytes;
		if (insn_decode(&in.insn, in.bytes, cases[i].len, LN_TEXT, 32) != (int)cases[i].len)
			fail_case("length", in.insn.len, (uint32_t)cases[i].len);
		EXPECT_EQ("lower_long_step()",
			  (uint32_t)lower_long_step(&ln.l, &in, ln.view, cases[i].operand),
			  (uint32_t)-EOPNOTSUPP);
		EXPECT_EQ("code", (uint32_t)ln.l.code_len, (uint32_t)code_len);
		EXPECT_EQ("points", (uint32_t)ln.l.n_points, (uint32_t)n_points);
	}
}

/* Whichever buffer is full, and wherever: nothing is left behind. */
LONG_TEST(full_buffers)
{
	static const uint8_t program[] = {0x64, 0xff, 0x33, 0xf4, 0x9d, 0x74, 0x00, 0xff, 0xd0};
	struct lower_exit exit[4];
	struct lower full = {.hole_base = 0};

	ln_reset();
	case_name = "a full buffer";
	for (unsigned pass = 0, limit = 1; pass < 4; limit++) {
		struct lower_exits x = {
		    .exit = exit, .cap = 4, .lookup = ln.miss, .lookup_return = ln.miss_return};
		struct lower_insn in[5] = {{.va = 0}};
		struct lower l = ln.l;
		uint32_t at = 0;

		for (size_t n = 0; n < 5; n++) {
			in[n] = (struct lower_insn){
			    .bytes = program + at, .va = LN_TEXT + at, .site = (uint32_t)n};
			insn_decode(&in[n].insn, program + at, sizeof(program) - at, LN_TEXT + at, 32);
			at += in[n].insn.len;
		}
		if (pass == 1)
			l.code_cap = l.code_len + limit;
		else if (pass == 2)
			l.points_cap = l.n_points + limit;
		else if (pass == 3)
			l.pads_cap = l.pads_len + limit;
		lower_long_block(&l, in, 5, &x, ln.view, LN_TABLE);
		if (pass == 0)
			full = l;
		if (!l.err) { /* this is enough of it */
			EXPECT_EQ("code", (uint32_t)l.code_len, (uint32_t)full.code_len);
			pass++;
			limit = 0;
			continue;
		}
		EXPECT_EQ("the error", (uint32_t)l.err, (uint32_t)-ENOSPC);
		EXPECT_EQ("code", (uint32_t)l.code_len, (uint32_t)ln.l.code_len);
		EXPECT_EQ("points", (uint32_t)l.n_points, (uint32_t)ln.l.n_points);
		EXPECT_EQ("pads", (uint32_t)l.pads_len, (uint32_t)ln.l.pads_len);
		EXPECT_EQ("exits", (uint32_t)x.n, 0u);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(forms_do_what_the_cpu_does),
	    cmocka_unit_test(forms_one_block_at_a_time),
	    cmocka_unit_test(kicked_anywhere),
	    cmocka_unit_test(strings_stay_in_blocks),
	    cmocka_unit_test(strings_of_two_sides),
	    cmocka_unit_test(faults_leave_the_instruction_undone),
	    cmocka_unit_test(fs_that_is_not_usable),
	    cmocka_unit_test(sensitive_ones_inline),
	    cmocka_unit_test(others_leave),
	    cmocka_unit_test(x87_pointers_into_blocks_leave),
	    cmocka_unit_test(x87_operands_are_noted),
	    cmocka_unit_test(iret_leaves),
	    cmocka_unit_test(int_goes_by_its_gate),
	    cmocka_unit_test(int_leaves),
	    cmocka_unit_test(iret_goes_outward),
	    cmocka_unit_test(iret_outward_leaves),
	    cmocka_unit_test(the_shadow_of_sti_covers_the_next),
	    cmocka_unit_test(segments_are_loaded_inline),
	    cmocka_unit_test(segments_that_the_monitor_has_to_load),
	    cmocka_unit_test(steps_take_their_operand_elsewhere),
	    cmocka_unit_test(steps_that_are_refused),
	    cmocka_unit_test(full_buffers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
