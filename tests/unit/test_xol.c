// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Execution out of line: branches against the CPU's own conditions, copies under a storm of kicks, and operands at
 * places that the host cannot map against the same instruction on ordinary memory.
 */
#include "tests/unit/native.h"

#include <sys/prctl.h>

#define USER 0x08000000u
#define AT (LINK + N_DATA) /* code under test; no part of the text section */
enum { N_UPT = 0x30000, N_ZERO_PT = 0x31000, N_PAGE = 0x500000, N_PAGE0 = 0x501000, OFFSET = 0x100 };

static void put(const void *bytes, size_t n)
{
	memset(ram(N_DATA), 0xcc, 64);
	memcpy(ram(N_DATA), bytes, n);
	cpu->eip = AT;
	cpu->exc_vector = EXC_NONE;
}
#define PUT(s) put(s, sizeof(s) - 1)

static int step(void)
{
	int err;

	do {
		err = xol_step(vm);
	} while (err == -EAGAIN);
	return err;
}

static void run_once(uint8_t opcode)
{
	put(&opcode, 1);
	CHECK_EQ(step(), 0);
	CHECK_EQ(cpu->eip, AT + 1);
}

/* --- branches ----------------------------------------------------------------------------------------------- */

/* Which conditions hold under these flags, asked of the CPU: bit n for condition n. */
static unsigned conditions(uint32_t flags)
{
	unsigned holds = 0;
	uint8_t yes;

#define CONDITION(cc)                                                                                        \
	__asm__ volatile("lea -128(%%rsp), %%rsp; push %1; popfq; lea 128(%%rsp), %%rsp; set" cc " %0"       \
			 : "=q"(yes)                                                                         \
			 : "r"((uint64_t)flags | FL_FIXED)                                                   \
			 : "cc", "memory");                                                                  \
	holds = holds >> 1 | (unsigned)yes << 15
	CONDITION("o");
	CONDITION("no");
	CONDITION("b");
	CONDITION("ae");
	CONDITION("e");
	CONDITION("ne");
	CONDITION("be");
	CONDITION("a");
	CONDITION("s");
	CONDITION("ns");
	CONDITION("p");
	CONDITION("np");
	CONDITION("l");
	CONDITION("ge");
	CONDITION("le");
	CONDITION("g");
#undef CONDITION
	return holds;
}

NATIVE_TEST(conditional_jumps)
{
	native_start();
	for (unsigned set = 0; set < 32; set++) {
		uint32_t flags = (set & 1 ? FL_CF : 0) | (set & 2 ? FL_PF : 0) | (set & 4 ? FL_ZF : 0) |
				 (set & 8 ? FL_SF : 0) | (set & 16 ? FL_OF : 0);
		unsigned holds = conditions(flags);

		for (unsigned cc = 0; cc < 16; cc++) {
			uint8_t near[] = {(uint8_t)(0x70 | cc), 0xf0},
				far[] = {0x0f, (uint8_t)(0x80 | cc), 0, 1, 0, 0};

			cpu->eflags = flags | FL_FIXED;
			put(near, 2);
			CHECK_EQ(step(), 0);
			CHECK_EQ(cpu->eip, holds >> cc & 1 ? AT + 2 - 16 : AT + 2);
			put(far, 6);
			CHECK_EQ(step(), 0);
			CHECK_EQ(cpu->eip, holds >> cc & 1 ? AT + 6 + 256 : AT + 6);
			CHECK_EQ(cpu->eflags, flags | FL_FIXED);
		}
	}
}

NATIVE_TEST(loops)
{
	static const struct {
		uint8_t bytes[3], len;
		uint32_t cx, flags, cx_after;
		bool taken;
	} t[] = {
	    {{0xe2, 0x10}, 2, 2, 0, 1, true},
	    {{0xe2, 0x10}, 2, 1, 0, 0, false},
	    {{0xe2, 0x10}, 2, 0, 0, 0xffffffff, true},
	    {{0xe1, 0x10}, 2, 2, FL_ZF, 1, true},
	    {{0xe1, 0x10}, 2, 2, 0, 1, false},
	    {{0xe1, 0x10}, 2, 1, FL_ZF, 0, false},
	    {{0xe0, 0x10}, 2, 2, 0, 1, true},
	    {{0xe0, 0x10}, 2, 2, FL_ZF, 1, false},
	    {{0xe0, 0x10}, 2, 1, 0, 0, false},
	    {{0xe3, 0x10}, 2, 0, 0, 0, true},
	    {{0xe3, 0x10}, 2, 0x10000, 0, 0x10000, false},
	    {{0x67, 0xe3, 0x10}, 3, 0x10000, 0, 0x10000, true},
	    {{0x67, 0xe2, 0x10}, 3, 0x50001, 0, 0x50000, false},
	    {{0x67, 0xe2, 0x10}, 3, 0x50000, 0, 0x5ffff, true},
	};

	native_start();
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		put(t[i].bytes, t[i].len);
		cpu->gpr[REG_CX] = t[i].cx;
		cpu->eflags = t[i].flags | FL_FIXED;
		CHECK_EQ(step(), 0);
		CHECK_EQ(cpu->gpr[REG_CX], t[i].cx_after);
		CHECK_EQ(cpu->eip, AT + t[i].len + (t[i].taken ? 0x10 : 0));
		CHECK_EQ(cpu->eflags, t[i].flags | FL_FIXED);
	}
}

NATIVE_TEST(jumps_calls_and_returns)
{
	uint32_t esp = STACK + 0x800;

	native_start();
	PUT("\xe9\x00\x01\x00\x00");
	CHECK_EQ(step(), 0);
	CHECK_EQ(cpu->eip, AT + 5 + 0x100);

	cpu->gpr[REG_SP] = esp;
	PUT("\xe8\x00\x01\x00\x00");
	CHECK_EQ(step(), 0);
	CHECK_EQ(cpu->eip, AT + 5 + 0x100);
	CHECK_EQ(cpu->gpr[REG_SP], esp - 4);
	CHECK_EQ(peek32(N_STACK + 0x7fc), AT + 5);

	put("\xc3", 1); /* and back */
	CHECK_EQ(step(), 0);
	CHECK_EQ(cpu->eip, AT + 5);
	CHECK_EQ(cpu->gpr[REG_SP], esp);

	cpu->gpr[REG_SP] = esp - 4;
	PUT("\xc2\x10\x00"); /* ret $16 */
	CHECK_EQ(step(), 0);
	CHECK_EQ(cpu->eip, AT + 5);
	CHECK_EQ(cpu->gpr[REG_SP], esp + 16);

	/* The target is read with ESP as it was before the push. */
	cpu->gpr[REG_SP] = esp;
	poke32(N_STACK + 0x804, 0x12345678);
	PUT("\xff\x54\x24\x04"); /* call *4(%esp) */
	CHECK_EQ(step(), 0);
	CHECK_EQ(cpu->eip, 0x12345678);
	CHECK_EQ(peek32(N_STACK + 0x7fc), AT + 4);

	cpu->gpr[REG_AX] = 0x87654321;
	PUT("\xff\xe0");
	CHECK_EQ(step(), 0);
	CHECK_EQ(cpu->eip, 0x87654321);
	PUT("\x66\xff\xe0"); /* 16 bits of it */
	CHECK_EQ(step(), 0);
	CHECK_EQ(cpu->eip, 0x4321);

	/* A call whose push faults has not happened. */
	poke32(pte_at(STACK - PAGE_SIZE), 0);
	cpu->gpr[REG_SP] = STACK;
	PUT("\xe8\x00\x01\x00\x00");
	CHECK_EQ(step(), -EFAULT);
	CHECK_EQ(cpu->exc_vector, EXC_PF);
	CHECK_EQ(cpu->exc_cr2, STACK - 4);
	CHECK_EQ(cpu->eip, AT);
	CHECK_EQ(cpu->gpr[REG_SP], STACK);
}

/* --- copies ------------------------------------------------------------------------------------------------- */

NATIVE_TEST(faults_in_a_copy_are_the_guests)
{
	native_start();
	for (unsigned r = 0; r < 8; r++)
		if (r != REG_SP)
			cpu->gpr[r] = 0x11111111 * r;
	PUT("\x8b\x0d\x00\x00\x00\x09"); /* mov 0x9000000, %ecx */
	CHECK_EQ(step(), -EFAULT);
	CHECK_EQ(cpu->exc_vector, EXC_PF);
	CHECK_EQ(cpu->exc_cr2, 0x9000000);
	CHECK_EQ(cpu->eip, AT);
	CHECK_EQ(cpu->gpr[REG_CX], 0x11111111);
	cpu->gpr[REG_CX] = 0;
	PUT("\xf7\xf1"); /* div %ecx */
	CHECK_EQ(step(), -EFAULT);
	CHECK_EQ(cpu->exc_vector, EXC_DE);
	CHECK_EQ(cpu->eip, AT);
	PUT("\x0f\x0b");
	CHECK_EQ(step(), -EFAULT);
	CHECK_EQ(cpu->exc_vector, EXC_UD);
	CHECK_EQ(cpu->eip, AT);
}

/* Whatever moment a kick comes at, an instruction runs once or not at all: those of one step, and those of several. */
NATIVE_TEST(a_storm_of_kicks)
{
	static const uint8_t inc = 0x43, push = 0x50, pop = 0x5f; /* %ebx, %eax, %edi */
	pid_t self = getpid(), kicker;
	unsigned n;

	native_start();
	cpu->gpr[REG_BX] = 0;
	kicker = fork();
	if (!kicker) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			kill(self, SIGUSR1);
	}
	for (n = 0; n < 20000; n++) {
		run_once(inc);
		CHECK_EQ(cpu->gpr[REG_BX], n + 1);
		cpu->gpr[REG_AX] = n;
		cpu->gpr[REG_SP] = STACK + 0x800;
		run_once(push);
		CHECK_EQ(cpu->gpr[REG_SP], STACK + 0x7fc);
		run_once(pop);
		CHECK_EQ(cpu->gpr[REG_SP], STACK + 0x800);
		CHECK_EQ(cpu->gpr[REG_DI], n);
	}
	kill(kicker, SIGKILL);
	waitpid(kicker, NULL, 0);
}

/* A kick that stops an entry must not be taken for the one that once came behind a copy. */
NATIVE_TEST(an_aborted_entry_is_no_completion)
{
	struct world *w;

	native_start();
	w = &vm->vmm->world;
	PUT("\x43");
	cpu->gpr[REG_BX] = 0;
	CHECK_EQ(step(), 0);
	w->eip = HOLE + ABI_XOL_PAGE + 1; /* as that earlier kick left it */
	cpu->eip = AT;
	CHECK_EQ(step(), 0);
	CHECK_EQ(cpu->gpr[REG_BX], 2);
	CHECK_EQ(w->eip, HOLE + ABI_XOL_PAGE); /* an abort from here on would find this */
}

/* --- redirected operands ------------------------------------------------------------------------------------- */

/* Instructions on [disp32], its place in the bytes given; run on memory that the host maps, and on page 0. */
static const struct form {
	const char *name, *bytes;
	size_t len, disp;
} forms[] = {
#define F(s, disp) s, sizeof(s) - 1, disp
    {"mov m, r", F("\x8b\x0d____", 2)},
    {"mov r, m", F("\x89\x0d____", 2)},
    {"mov r8, m", F("\x88\x2d____", 2)},
    {"mov imm, m", F("\xc7\x05____\x44\x33\x22\x11", 2)},
    {"movzbl", F("\x0f\xb6\x0d____", 3)},
    {"movswl", F("\x0f\xbf\x0d____", 3)},
    {"inc", F("\xff\x05____", 2)},
    {"addw imm8", F("\x66\x83\x05____\x7f", 3)},
    {"adc", F("\x11\x15____", 2)},
    {"cmp", F("\x3b\x0d____", 2)},
    {"neg", F("\xf7\x1d____", 2)},
    {"shl", F("\xc1\x25____\x03", 2)},
    {"mul", F("\xf7\x25____", 2)},
    {"xchg", F("\x87\x0d____", 2)},
    {"lock xadd", F("\xf0\x0f\xc1\x0d____", 4)},
    {"lock cmpxchg", F("\xf0\x0f\xb1\x0d____", 4)},
    {"bts imm", F("\x0f\xba\x2d____\x05", 3)},
    {"sete", F("\x0f\x94\x05____", 3)},
    {"push m", F("\xff\x35____", 2)},
    {"pop m", F("\x8f\x05____", 2)},
    {"movups store", F("\x0f\x11\x05____", 3)},
    {"movups load", F("\x0f\x10\x0d____", 3)},
    {"fild", F("\xdb\x05____", 2)},
    {"fistp", F("\xdb\x1d____", 2)},
    {"es: mov", F("\x26\x8b\x0d____", 3)},
    {"lea is no access", F("\x8d\x0d____", 2)},
    {"movsl", F("\xa5", 0)},
    {"rep movsb", F("\xf3\xa4", 0)},
    {"stosl", F("\xab", 0)},
    {"rep stosw", F("\xf3\x66\xab", 0)},
    {"lodsb", F("\xac", 0)},
#undef F
};

struct outcome {
	uint32_t gpr[8], eflags;
	uint8_t memory[128], stack[32];
	struct segment seg[SEG_COUNT];
};

/* Page 0 of the guest shows N_PAGE0, USER shows N_PAGE. */
static void map_both(void)
{
	poke32(N_PD, N_ZERO_PT | 0x67);
	poke32(N_ZERO_PT, N_PAGE0 | 0x67);
	poke32(N_PD + (USER >> 20), N_UPT | 0x67);
	for (unsigned n = 0; n < 16; n++)
		poke32(N_UPT + n * 4, (N_PAGE + n * PAGE_SIZE) | 0x67);
	poke32(N_UPT + 4, 0);
}

static struct outcome run_form(const struct form *f, uint32_t address, uint32_t where, bool user)
{
	struct outcome o;
	uint8_t bytes[16];

	memset(&o, 0, sizeof(o));
	for (unsigned i = 0; i < sizeof(o.memory); i++)
		*(uint8_t *)ram(where + i) = (uint8_t)(i * 37 + 11);
	for (unsigned i = 0; i < 32; i++)
		*(uint8_t *)ram(N_PAGE + 0x2800 - 16 + i) = (uint8_t)(i + 1);
	memcpy(bytes, f->bytes, f->len);
	if (f->disp)
		memcpy(bytes + f->disp, &address, 4);
	native_segments();
	if (user)
		guest_user();
	for (uint32_t r = 0; r < 8; r++)
		cpu->gpr[r] = 0x01020304 * (r + 3);
	cpu->gpr[REG_SP] = USER + 0x2800;
	cpu->eflags = FL_FIXED | FL_CF;
	if (!f->disp) {
		cpu->gpr[REG_CX] = 9;
		cpu->gpr[REG_SI] = address;
		cpu->gpr[REG_DI] = address + 5;
	}
	memcpy(ram(N_PAGE + 0x4000), bytes, f->len);
	memset(ram(N_PAGE + 0x4000 + (uint32_t)f->len), 0x90, 16);
	cpu->eip = USER + 0x4000;
	cpu->exc_vector = EXC_NONE;
	for (unsigned n = 0; cpu->eip != USER + 0x4000 + f->len; n++) {
		CHECK(n < 40);
		if (step() < 0)
			native_fail(__FILE__, __LINE__, "%s at %#x raises %u/%#x at %#x", f->name, address,
				    cpu->exc_vector, cpu->exc_error, cpu->exc_cr2);
	}
	memcpy(o.gpr, cpu->gpr, sizeof(o.gpr));
	if (!f->disp)
		o.gpr[REG_SI] -= address, o.gpr[REG_DI] -= address;
	if (!strncmp(f->name, "lea", 3))
		o.gpr[REG_CX] -= address;
	o.eflags = cpu->eflags;
	memcpy(o.memory, ram(where), sizeof(o.memory));
	memcpy(o.stack, ram(N_PAGE + 0x2800 - 16), 32);
	memcpy(o.seg, cpu->seg, sizeof(o.seg));
	return o;
}

static void redirected(bool user)
{
	native_start();
	map_both();
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		struct outcome there, here;
		static char text[64];

		snprintf(text, sizeof(text), "%s, user %d", forms[i].name, user);
		native_case = text;
		there = run_form(&forms[i], USER + OFFSET, N_PAGE + OFFSET, user);
		here = run_form(&forms[i], OFFSET, N_PAGE0 + OFFSET, user);
		for (unsigned r = 0; r < 8; r++)
			CHECK_EQ(here.gpr[r], there.gpr[r]);
		CHECK_EQ(here.eflags, there.eflags);
		CHECK(!memcmp(here.memory, there.memory, sizeof(here.memory)));
		CHECK(!memcmp(here.stack, there.stack, sizeof(here.stack)));
		CHECK(!memcmp(here.seg, there.seg, sizeof(here.seg)));
	}
	CHECK_EQ(atomic_load(&vm->shared.stop), STOP_NONE);
}

NATIVE_TEST(operands_on_page_0)
{
	redirected(false);
}

NATIVE_TEST(operands_on_page_0_in_user_mode)
{
	redirected(true);
}

NATIVE_TEST(operands_where_no_memory_is)
{
	native_start();
	map_both();
	poke32(N_UPT + 8 * 4, 0xf0000000 | 0x67);
	poke32(N_UPT + 9 * 4, (N_PAGE + 9 * PAGE_SIZE) | 0x67);
	cpu->gpr[REG_CX] = 0;
	PUT("\x8b\x0d\x10\x80\x00\x08"); /* mov 0x8008010, %ecx */
	CHECK_EQ(step(), 0);
	CHECK_EQ(cpu->gpr[REG_CX], 0xffffffff);
	PUT("\xff\x05\x10\x80\x00\x08"); /* inc: reads ones, the write goes nowhere */
	CHECK_EQ(step(), 0);
	CHECK(cpu->eflags & FL_ZF);
	PUT("\x8b\x0d\x10\x80\x00\x08");
	CHECK_EQ(step(), 0);
	CHECK_EQ(cpu->gpr[REG_CX], 0xffffffff);
}

/* With the long engine a copy may be several instructions, and has other ways to its end. */
NATIVE_TEST_LONG(conditional_jumps)
NATIVE_TEST_LONG(loops)
NATIVE_TEST_LONG(jumps_calls_and_returns)
NATIVE_TEST_LONG(faults_in_a_copy_are_the_guests)
NATIVE_TEST_LONG(a_storm_of_kicks)
NATIVE_TEST_LONG(an_aborted_entry_is_no_completion)
NATIVE_TEST_LONG(operands_on_page_0)
NATIVE_TEST_LONG(operands_on_page_0_in_user_mode)
NATIVE_TEST_LONG(operands_where_no_memory_is)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(conditional_jumps),
	    cmocka_unit_test(loops),
	    cmocka_unit_test(jumps_calls_and_returns),
	    cmocka_unit_test(faults_in_a_copy_are_the_guests),
	    cmocka_unit_test(a_storm_of_kicks),
	    cmocka_unit_test(an_aborted_entry_is_no_completion),
	    cmocka_unit_test(operands_on_page_0),
	    cmocka_unit_test(operands_on_page_0_in_user_mode),
	    cmocka_unit_test(operands_where_no_memory_is),
	    cmocka_unit_test(conditional_jumps_long),
	    cmocka_unit_test(loops_long),
	    cmocka_unit_test(jumps_calls_and_returns_long),
	    cmocka_unit_test(faults_in_a_copy_are_the_guests_long),
	    cmocka_unit_test(a_storm_of_kicks_long),
	    cmocka_unit_test(an_aborted_entry_is_no_completion_long),
	    cmocka_unit_test(operands_on_page_0_long),
	    cmocka_unit_test(operands_on_page_0_in_user_mode_long),
	    cmocka_unit_test(operands_where_no_memory_is_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
