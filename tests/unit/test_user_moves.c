// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * User code in direct execution whose int $0x80 traps all the time: it moves to translated blocks, comes back, and runs
 * directly meanwhile where it has none. (What such code computes is in tests/guest/int80.c.)
 */
#include "tests/unit/native.h"

#include "monitor/vmm/paging.h"
#include "monitor/vmm/translate_state.h"

#define USER 0x08000000u /* a page of code, a page of stack */
#define RIGHTS (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D)
#define HANDLER 0x2222u
enum { N_UPT = 0x30000, N_CODE = 0x500000, N_USER_STACK = 0x501000 };

static void start(void)
{
	native_start();
	vm->cfg.user_moves = true;
	cache_reset(vm);
	poke32(N_PD + (USER >> 20), N_UPT | RIGHTS);
	poke32(N_UPT, N_CODE | RIGHTS);
	poke32(N_UPT + 4, N_USER_STACK | RIGHTS);
	set_idt(0x20, make_gate(K_CS, HANDLER, A_TRAP32 | A_USER, 0));
	poke32(AT_IDT + 0x80 * 8, peek32(AT_IDT + 0x20 * 8));
	poke32(AT_IDT + 0x80 * 8 + 4, peek32(AT_IDT + 0x20 * 8 + 4));
	cpu->idtr.limit = 0x81 * 8 - 1;
	poke32(AT_TSS + 4, STACK + 0x400);
}

static void to_user(uint32_t eip)
{
	guest_ring(3, U_CS, U_DS, USER + 0x1800);
	cpu->seg[SEG_DS] = cpu->seg[SEG_ES] = cpu->seg[SEG_SS];
	cpu->seg[SEG_FS] = cpu->seg[SEG_GS] = (struct segment){.sel = 0};
	cpu->eip = eip;
	cpu->eflags = FL_IF | FL_FIXED;
}

/* From the start of the code to its system call, so many times. */
static void run(unsigned times)
{
	while (times--) {
		to_user(USER);
		for (unsigned n = 0; cpu->cpl == 3 && cpu->exc_vector == EXC_NONE; n++) {
			CHECK(n < 1000);
			CHECK_EQ(atomic_load(&vm->shared.stop), STOP_NONE);
			run_pass(vm);
		}
		CHECK_EQ(cpu->exc_vector, EXC_NONE);
		CHECK_EQ(cpu->eip, HANDLER);
	}
}

static void heat(void)
{
	to_user(USER);
	for (unsigned n = 0; n < CROSS_MANY; n++) /* within one span, or two */
		translate_user_trapped(vm);
	if (!translate_user_preferred(vm))
		for (unsigned n = 0; n < CROSS_MANY; n++)
			translate_user_trapped(vm);
	CHECK(translate_user_preferred(vm));
}

static void lay(const char *bytes, size_t n)
{
	memcpy(ram(N_CODE), bytes, n);
	cpu->gpr[REG_AX] = 0;
}
#define LAY(s) lay(s, sizeof(s) - 1)

static uint64_t traps(void)
{
	return vm->stats.exits[EXIT_SYSCALL];
}

NATIVE_TEST(it_moves_and_comes_back)
{
	uint64_t before;

	start();
	LAY("\x40\xcd\x80"); /* inc %eax; int $0x80 */
	run(3);
	CHECK_EQ(traps(), 3);
	CHECK_EQ(cpu->gpr[REG_AX], 3);
	CHECK_EQ(vm->stats.user_preferred, 0);
	heat();
	CHECK_EQ(vm->stats.user_preferred, 1);
	before = vm->stats.exits[EXIT_BLOCK_CALL];
	run(10);
	CHECK_EQ(traps(), 3);
	CHECK_EQ(vm->stats.exits[EXIT_BLOCK_CALL] - before, 10);
	CHECK_EQ(cpu->gpr[REG_AX], 13);
	for (unsigned n = 0; n < USER_SPACES; n++) /* the spell is over */
		vm->vmm->translate->heat[n].prefer_until = 1;
	run(2);
	CHECK_EQ(traps(), 5);
	CHECK_EQ(cpu->gpr[REG_AX], 15);
}

NATIVE_TEST(others_stay)
{
	start();
	heat();
	cpu->cr3 += PAGE_SIZE; /* another address space */
	CHECK(!translate_user_preferred(vm));
	cpu->cr3 += 256 * PAGE_SIZE;
	CHECK(!translate_user_preferred(vm));
	cpu->cr3 = N_PD;
	CHECK(translate_user_preferred(vm));
}

NATIVE_TEST(not_where_it_is_not_wanted)
{
	start();
	vm->cfg.user_moves = false;
	to_user(USER);
	for (unsigned n = 0; n < 3 * CROSS_MANY; n++)
		translate_user_trapped(vm);
	CHECK(!translate_user_preferred(vm));
}

/* The x87 and FS: from there on it is direct, up to the next trap. */
NATIVE_TEST(what_has_no_block_runs_directly)
{
	uint64_t steps;

	start();
	LAY("\xd9\xe8\xdd\xd8\x40\xcd\x80"); /* fld1; fstp %st; inc %eax; int $0x80 */
	heat();
	steps = vm->stats.exits[EXIT_STEP];
	run(5);
	CHECK_EQ(traps(), 5);
	CHECK_EQ(cpu->gpr[REG_AX], 5);
	LAY("\x40\x8e\xe1\x40\xcd\x80"); /* inc %eax; mov %ecx, %fs; inc %eax; int $0x80 */
	cpu->gpr[REG_CX] = 0;
	run(5);
	CHECK_EQ(cpu->gpr[REG_AX], 10);
	CHECK_EQ(vm->stats.exits[EXIT_STEP], steps);
}

/* A block's loads and stores are the guest's: what user segments may not reach, it may not. */
NATIVE_TEST(blocks_are_confined)
{
	start();
	LAY("\xa1\x00\x00\x00\xf8\xcd\x80"); /* mov 0xf8000000, %eax: the vCPU page */
	heat();
	to_user(USER);
	for (unsigned n = 0; cpu->exc_vector == EXC_NONE; n++) {
		CHECK(n < 1000);
		run_pass(vm);
	}
	CHECK_EQ(cpu->exc_vector, EXC_PF);
	CHECK_EQ(cpu->eip, USER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_moves_and_comes_back),
	    cmocka_unit_test(others_stay),
	    cmocka_unit_test(not_where_it_is_not_wanted),
	    cmocka_unit_test(what_has_no_block_runs_directly),
	    cmocka_unit_test(blocks_are_confined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
