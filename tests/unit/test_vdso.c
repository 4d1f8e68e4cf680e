// SPDX-License-Identifier: GPL-3.0-or-later
/* The patched entries of the vDSO: found by their bytes alone, and their far calls do what the bytes under them did. */
#include "tests/unit/guest.h"

#include "monitor/vmm/vdso.h"

#define IMAGE 0x100000u
#define ENTRY (IMAGE + 0x550)
#define SIGRETURN (IMAGE + 0x570)
#define RT_SIGRETURN (IMAGE + 0x580)
#define COPY (IMAGE + 2 * PAGE_SIZE) /* for one program, by copy-on-write */
#define ESP 0x9000u

static const uint8_t original[] = {0x51, 0x52, 0x55, 0x8d, 0x74, 0x26, 0x00, 0xcd, 0x80, 0x5d, 0x5a, 0x59, 0xc3};
static const uint8_t sigreturn[] = {0x58, 0xb8, 0x77, 0x00, 0x00, 0x00, 0xcd, 0x80};
static const uint8_t rt_sigreturn[] = {0xb8, 0xad, 0x00, 0x00, 0x00, 0xcd, 0x80};
static const uint8_t call[] = {0x9a, 0x00, 0x11, 0x00, 0xf8, 0x33, 0x00};

static int setup(void **state)
{
	if (guest_setup(state) ||
	    mmap(VM, sizeof(*VM), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != VM)
		return -1;
	VM->vmm = vm->vmm;
	vm->vmm->world.fpu_saved = 1; /* nothing of a guest is live here */
	vm->cfg.patched = true;
	vm->cfg.hole_base = ABI_HOLE_BASE;
	vm->cfg.image_start = IMAGE;
	vm->cfg.image_end = IMAGE + PAGE_SIZE;
	memcpy(ram(ENTRY), original, sizeof(original));
	memcpy(ram(SIGRETURN), sigreturn, sizeof(sigreturn));
	memcpy(ram(RT_SIGRETURN), rt_sigreturn, sizeof(rt_sigreturn));
	return 0;
}

static void patched_where_it_stands(void **state)
{
	(void)state;
	vdso_patch(vm, gpa(IMAGE));
	assert_memory_equal(ram(ENTRY), call, sizeof(call));
	assert_memory_equal(ram(ENTRY + sizeof(call)), original + sizeof(call), sizeof(original) - sizeof(call));
	assert_int_equal(*(uint8_t *)ram(SIGRETURN), sigreturn[0]);
	assert_memory_equal(ram(SIGRETURN + 1), call, sizeof(call));
	assert_memory_equal(ram(RT_SIGRETURN), call, sizeof(call));
	assert_int_equal(vm->vmm->n_vdso, VDSO_KINDS);
}

static void not_patched(void)
{
	uint8_t before[PAGE_SIZE];

	memcpy(before, ram(IMAGE), PAGE_SIZE);
	vdso_patch(vm, gpa(IMAGE));
	assert_memory_equal(ram(IMAGE), before, PAGE_SIZE);
	assert_int_equal(vm->vmm->n_vdso, 0);
}

static void left_alone_otherwise(void **state)
{
	static const uint8_t sysenter[] = {0x89, 0xe5, 0x0f, 0x34};

	(void)state;
	*(uint8_t *)ram(SIGRETURN + 2) = *(uint8_t *)ram(RT_SIGRETURN + 1) = 0x78;
	memcpy(ram(ENTRY + 3), sysenter, sizeof(sysenter)); /* the alternative was applied */
	not_patched();
	memcpy(ram(ENTRY), original, sizeof(original));
	*(uint8_t *)ram(ENTRY + 9) = 0x5e;
	not_patched();
	memcpy(ram(ENTRY), original, sizeof(original));
	vm->cfg.mode = MODE_TRAP;
	not_patched();
	vm->cfg.mode = MODE_AUTO;
	vm->cfg.image_start = IMAGE + PAGE_SIZE; /* some program's page, not the kernel's */
	not_patched();
}

/* The vCPU as the gate's exit leaves it: CS and EIP pushed by the far call. */
static void called_from(uint32_t behind)
{
	guest_ring(3, U_CS, U_DS, ESP - 8);
	poke32(ESP - 8, behind);
	poke32(ESP - 4, 0x23);
	cpu->gpr[REG_CX] = 0xc;
	cpu->gpr[REG_DX] = 0xd;
	cpu->gpr[REG_BP] = 0xb;
}

static void paging_with_user_pages(void)
{
	for (uint32_t i = 0; i < 1024; i++)
		poke32(0x300000 + 4 * i, i * PAGE_SIZE | 0x67);
	poke32(0x301000, 0x300067);
	cpu->cr3 = 0x301000;
	cpu->cr0 |= CR0_PG | CR0_WP;
}

static void patched_with_a_gate(void)
{
	vdso_patch(vm, gpa(IMAGE));
	paging_with_user_pages();
	set_idt(0x20, make_gate(K_CS, 0x2222, A_TRAP32 | A_USER, 0));
	cpu->idtr.limit = 0x81 * 8 - 1;
	poke32(AT_IDT + 0x80 * 8, peek32(AT_IDT + 0x20 * 8));
	poke32(AT_IDT + 0x80 * 8 + 4, peek32(AT_IDT + 0x20 * 8 + 4));
}

static void a_call_is_a_system_call(void **state)
{
	(void)state;
	patched_with_a_gate();
	called_from(ENTRY + 7);
	vdso_call(vm);
	assert_int_equal(cpu->exc_vector, EXC_NONE);
	assert_int_equal(cpu->cpl, 0);
	assert_int_equal(cpu->eip, 0x2222);
	assert_int_equal(peek32(cpu->gpr[REG_SP]), ENTRY + 9);		 /* behind INT 0x80 */
	assert_int_equal(peek32(cpu->gpr[REG_SP] + 12), ESP - 12);	 /* three words pushed */
	assert_int_equal(peek32(ESP - 4), 0xc);
	assert_int_equal(peek32(ESP - 8), 0xd);
	assert_int_equal(peek32(ESP - 12), 0xb);
}

static void returns(uint32_t at, uint32_t number, uint32_t behind)
{
	called_from(at);
	vdso_call(vm);
	assert_int_equal(cpu->exc_vector, EXC_NONE);
	assert_int_equal(cpu->cpl, 0);
	assert_int_equal(cpu->gpr[REG_AX], number);
	assert_int_equal(peek32(cpu->gpr[REG_SP]), behind); /* where INT 0x80 was */
	assert_int_equal(peek32(cpu->gpr[REG_SP] + 12), ESP);
}

static void a_call_is_a_sigreturn(void **state)
{
	(void)state;
	patched_with_a_gate();
	returns(SIGRETURN + 8, 119, SIGRETURN + 8);
	returns(RT_SIGRETURN + 7, 173, RT_SIGRETURN + 7);
}

static void a_copy_is_as_good(void **state)
{
	(void)state;
	patched_with_a_gate();
	assert_true(vdso_on_page(vm, gpa(IMAGE)));
	assert_false(vdso_on_page(vm, gpa(COPY)));
	memcpy(ram(COPY), ram(IMAGE), PAGE_SIZE);
	assert_true(vdso_on_page(vm, gpa(COPY)));
	returns(COPY + 0x588 - 1, 173, COPY + 0x588 - 1);
}

static void stand_at(uint32_t eip)
{
	guest_ring(3, U_CS, U_DS, ESP);
	cpu->eip = eip;
}

/* What is executed there, one at a time: as many of the original bytes as the window has. */
static void reads_as_built(uint32_t at, const uint8_t *bytes, unsigned n)
{
	uint8_t buffer[15];

	stand_at(at);
	memcpy(buffer, ram(at), sizeof(buffer));
	vdso_original(vm, at, buffer, sizeof(buffer));
	assert_memory_equal(buffer, bytes, n);
	assert_memory_equal(buffer + n, ram(at + n), sizeof(buffer) - n);
}

static void the_middle_is_known(void **state)
{
	(void)state;
	patched_with_a_gate();
	for (unsigned i = 0; i < sizeof(call); i++) {
		stand_at(ENTRY + i);
		assert_int_equal(vdso_inside(vm), i != 0);
		assert_false(vdso_pushes_nothing(vm));
		reads_as_built(ENTRY + i, original + i, sizeof(call) - i);
		reads_as_built(RT_SIGRETURN + i, rt_sigreturn + i, sizeof(call) - i);
		reads_as_built(SIGRETURN + 1 + i, sigreturn + 1 + i, sizeof(call) - i);
		stand_at(RT_SIGRETURN + i);
		assert_int_equal(vdso_inside(vm), i != 0);
		assert_true(vdso_pushes_nothing(vm));
	}
	reads_as_built(ENTRY + sizeof(call), original + sizeof(call), sizeof(original) - sizeof(call));
	stand_at(SIGRETURN);
	assert_false(vdso_inside(vm) || vdso_pushes_nothing(vm));
	stand_at(COPY + 0x585); /* same place, other bytes */
	assert_false(vdso_inside(vm));
	stand_at(RT_SIGRETURN + 5);
	cpu->cpl = 0;
	assert_false(vdso_inside(vm));
}

static void a_stack_that_ends_faults_at_the_entry(void **state)
{
	(void)state;
	vdso_patch(vm, gpa(IMAGE));
	paging_with_user_pages();
	called_from(ENTRY + 7);
	poke32(0x300000 + 4 * ((ESP - 12) >> PAGE_SHIFT), ((ESP - 12) & PAGE_MASK) | 0x65); /* read-only */
	vdso_call(vm);
	assert_int_equal(cpu->exc_vector, EXC_PF);
	assert_int_equal(cpu->eip, ENTRY);
	assert_int_equal(cpu->gpr[REG_SP], ESP);
}

static void other_callers_get_what_hardware_gives(void **state)
{
	(void)state;
	vdso_patch(vm, gpa(IMAGE));
	paging_with_user_pages();
	called_from(0x5007);
	vdso_call(vm);
	assert_int_equal(cpu->exc_vector, EXC_GP);
	assert_int_equal(cpu->exc_error, 0x30);
	assert_int_equal(cpu->eip, 0x5000);
	assert_int_equal(cpu->gpr[REG_SP], ESP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(patched_where_it_stands, setup, guest_teardown),
	    cmocka_unit_test_setup_teardown(left_alone_otherwise, setup, guest_teardown),
	    cmocka_unit_test_setup_teardown(a_call_is_a_system_call, setup, guest_teardown),
	    cmocka_unit_test_setup_teardown(a_call_is_a_sigreturn, setup, guest_teardown),
	    cmocka_unit_test_setup_teardown(a_copy_is_as_good, setup, guest_teardown),
	    cmocka_unit_test_setup_teardown(the_middle_is_known, setup, guest_teardown),
	    cmocka_unit_test_setup_teardown(a_stack_that_ends_faults_at_the_entry, setup, guest_teardown),
	    cmocka_unit_test_setup_teardown(other_callers_get_what_hardware_gives, setup, guest_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
