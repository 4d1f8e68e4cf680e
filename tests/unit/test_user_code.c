// SPDX-License-Identifier: GPL-3.0-or-later
/* Which pages of user code may run directly: SYSCALL and SYSENTER as instructions forbid it, as parts of others not. */
#include "tests/unit/guest.h"

#include "monitor/vmm/user_code.h"

#define PAGE 0x100000u

static int setup(void **state)
{
	int err = guest_setup(state);

	/* the guard of the vector state looks at the arena */
	if (err || mmap(VM, sizeof(*VM), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != VM)
		return -1;
	VM->vmm = vm->vmm;
	vm->vmm->world.fpu_saved = 1; /* nothing of a guest is live here */
	return 0;
}

static void fill(uint8_t byte)
{
	memset(ram(PAGE), byte, PAGE_SIZE);
}

static bool clean(void)
{
	return user_code_is_clean(vm, gpa(PAGE + 0x123)); /* any address of the page */
}

static void ordinary_code(void **state)
{
	(void)state;
	fill(0x90);
	assert_true(clean());
	fill(0x0f); /* the first byte alone, everywhere */
	assert_true(clean());
}

static void an_instruction_anywhere(void **state)
{
	static const uint8_t second[] = {0x05, 0x34};

	(void)state;
	for (unsigned which = 0; which < 2; which++)
		for (unsigned at = 0; at + 2 <= PAGE_SIZE; at++) {
			fill(0x90);
			memcpy(ram(PAGE + at), (uint8_t[]){0x0f, second[which]}, 2);
			assert_false(clean());
		}
}

static void bytes_of_an_operand(void **state)
{
	static const uint8_t mov[] = {0xb8, 0x0f, 0x05, 0x0f, 0x34}; /* mov $0x340f050f, %eax */

	(void)state;
	for (unsigned at = 64; at + sizeof(mov) <= PAGE_SIZE; at++) {
		fill(0x90);
		memcpy(ram(PAGE + at), mov, sizeof(mov));
		assert_true(clean());
	}
}

static void a_page_without_memory(void **state)
{
	(void)state;
	assert_false(user_code_is_clean(vm, gpa(GUEST_RAM)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(ordinary_code, setup, guest_teardown),
	    cmocka_unit_test_setup_teardown(an_instruction_anywhere, setup, guest_teardown),
	    cmocka_unit_test_setup_teardown(bytes_of_an_operand, setup, guest_teardown),
	    cmocka_unit_test_setup_teardown(a_page_without_memory, setup, guest_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
