// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The emitter for hosts that run 64-bit code only: every form, run natively here in both views against expected results
 * by hand; faults, which must leave the guest's state as it was; and random encodings, whose emitted form must mean the
 * same to Zydis in 64-bit mode as the original in 32-bit mode.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/wait.h>
#include <Zydis/Zydis.h>

#include "tests/unit/long_native.h"

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
	memset(ln_at(LN_TEXT), 0xf4, LN_TEXT_SIZE); /* HLT: the end */
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

	ln_reset();
	ln_init(r);
	memcpy(r->gpr, gpr, sizeof(gpr));
	r->eflags = FLAGS0;
}

/* --- the child --------------------------------------------------------------------------------------------- */

static const char *case_name;
static unsigned failures;

static void fail_case(const char *what, uint32_t is, uint32_t should)
{
	fprintf(stderr, "# %s (%s): %s is %08x, not %08x\n", case_name,
		ln.view == VIEW_USER ? "user" : "supervisor", what, is, should);
	failures++;
}

#define EXPECT_EQ(what, is, should)                                                                          \
	do {                                                                                                 \
		if ((is) != (should))                                                                        \
			fail_case(what, is, should);                                                         \
	} while (0)

static void in_child(void (*body)(void), enum lower_view view)
{
	int status;
	pid_t pid;

#ifdef __SANITIZE_ADDRESS__
	print_message("guest memory lies where the sanitizer has its own\n");
	skip();
#endif
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		alarm(120);
		ln_start(view);
		body();
		_exit(failures ? 1 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		fail_msg("the child died of signal %d", WTERMSIG(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* A test whose body runs in a child for each view. */
#define LONG_TEST(name)                                                                                      \
	static void name##_in_child(void);                                                                   \
	static void name(void **state)                                                                       \
	{                                                                                                    \
		(void)state;                                                                                 \
		in_child(name##_in_child, VIEW_USER);                                                        \
		in_child(name##_in_child, VIEW_SUPERVISOR);                                                  \
	}                                                                                                    \
	static void name##_in_child(void)

/* --- forms by expected results ----------------------------------------------------------------------------- */

enum change_kind { NO_CHANGE, REGISTER, MEMORY, FLAGS };

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
#define B(s) s, sizeof(s) - 1

struct form {
	const char *name, *bytes;
	size_t len;
	struct change change[9];
};

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

static void run_form(const struct form *f)
{
	struct long_run r;

	case_name = f->name;
	fill_memory();
	memcpy(ln_at(LN_TEXT), f->bytes, f->len);
	take_image();
	start_state(&r);
	if (!ln_run(&r, 1000) || r.end != LONG_ENDED_SITE) {
		fail_case("the end", r.end, LONG_ENDED_SITE);
		fail_case("rip", (uint32_t)ln.rip, r.signal);
	}
	expect_state(&r, f->change, sizeof(f->change) / sizeof(*f->change));
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
    /* branches; HLT stands behind the program */
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
    {"rep with nothing to do", B("\xb9\x00\x00\x00\x00\xf3\xa5"), {R(CX, 0)}},
    /* vectors */
    {"movaps, movd", B("\x0f\x28\x03\x66\x0f\x7e\xc0"), {R(AX, D(0x100))}},
    {"movd by FS", B("\x64\x66\x0f\x6e\x05\x10\x00\x00\x00\x66\x0f\x7e\xc0"), {R(AX, T(0x10))}},
    {"maskmovq", B("\xb8\x00\x00\x00\x80\x0f\x6e\xc0\x0f\x6e\xca\x0f\xf7\xc8\x0f\x77"), {R(AX, 0x80000000), M1(DI0 + 3, 0x55)}},
    {"vmovd, C5", B("\xc5\xf9\x6e\x03\xc5\xf9\x7e\xc0"), {R(AX, D(0x100))}},
    {"vmovd by FS", B("\x64\xc5\xf9\x6e\x05\x10\x00\x00\x00\xc5\xf9\x7e\xc0"), {R(AX, T(0x10))}},
    {"fild, fistp by GS", B("\xdb\x03\x65\xdb\x1d\x08\x00\x00\x80"), {M(LN_TLS + 8, D(0x100))}},
    {"rorx with a superfluous W", B("\xc4\xe3\xfb\xf0\x13\x08"), {R(DX, 0x00d00001)}},
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
		run_form(&forms[i]);
}

/* The same without chaining: every branch comes back here, every indirect one misses at first. */
LONG_TEST(forms_one_block_at_a_time)
{
	ln.no_chains = true;
	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++)
		run_form(&forms[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(forms_do_what_the_cpu_does),
	    cmocka_unit_test(forms_one_block_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
