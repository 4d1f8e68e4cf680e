// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/unit/guest.h"

#include "monitor/vmm/far.h"

enum { NEXT = 0x1235 };

/* Put words (top of the stack first) on the vCPU's stack; returns where ESP was before. */
static uint32_t frame(unsigned size, unsigned n, const uint32_t *word)
{
	uint32_t top = cpu->gpr[REG_SP];
	unsigned i;

	cpu->gpr[REG_SP] -= n * size;
	for (i = 0; i < n; i++)
		memcpy(ram(cpu->gpr[REG_SP] + i * size), &word[i], size);
	return top;
}
#define FRAME(size, ...)                                                                                               \
	frame(size, sizeof((uint32_t[]){__VA_ARGS__}) / 4, (const uint32_t[]){__VA_ARGS__})

/* --- IRET ---------------------------------------------------------------------------------------- */

static void iret_same(void **state)
{
	uint32_t top = FRAME(4, 0x777, K_CS, FL_IF | FL_CF | FL_ID | FL_AC | FL_RF | FL_IOPL);

	(void)state;
	cpu->shadow = 1;
	assert_int_equal(far_iret(vm, 4, NEXT), 0);
	assert_int_equal(cpu->eip, 0x777);
	assert_int_equal(cpu->gpr[REG_SP], top);
	assert_int_equal(cpu->eflags, FL_FIXED | FL_IF | FL_CF | FL_ID | FL_AC | FL_RF | FL_IOPL);
	assert_int_equal(cpu->shadow, 0);
}

static void iret_16(void **state)
{
	uint32_t top = FRAME(2, 0x777, K_CS, FL_IF | FL_CF);

	(void)state;
	cpu->eflags |= FL_AC | FL_ID;
	assert_int_equal(far_iret(vm, 2, NEXT), 0);
	assert_int_equal(cpu->eip, 0x777);
	assert_int_equal(cpu->gpr[REG_SP], top);
	assert_int_equal(cpu->eflags, FL_FIXED | FL_IF | FL_CF | FL_AC | FL_ID);
}

static void iret_to_user(void **state)
{
	(void)state;
	cpu->seg[SEG_FS] = segment_unpack(U_DS, get_desc(U_DS));
	FRAME(4, 0x777, U_CS, FL_IF, STACK3, U_DS);
	assert_int_equal(far_iret(vm, 4, NEXT), 0);
	assert_int_equal(cpu->cpl, 3);
	assert_int_equal(cpu->seg[SEG_CS].sel, U_CS);
	assert_int_equal(cpu->seg[SEG_SS].sel, U_DS);
	assert_int_equal(cpu->gpr[REG_SP], STACK3);
	assert_int_equal(cpu->eflags, FL_FIXED | FL_IF);
	assert_int_equal(cpu->seg[SEG_DS].sel, 0); /* was K_DS */
	assert_int_equal(cpu->seg[SEG_FS].sel, U_DS);
	assert_true(get_desc(U_CS).hi & get_desc(U_DS).hi & DT_ACCESSED);
}

/* A user cannot change IF under IOPL 0, nor IOPL ever. */
static void iret_flags_by_privilege(void **state)
{
	(void)state;
	guest_user();
	FRAME(4, 0x777, U_CS, FL_IF | FL_IOPL | FL_DF | FL_VIP | FL_VIF | FL_VM);
	assert_int_equal(far_iret(vm, 4, NEXT), 0);
	assert_int_equal(cpu->eflags, FL_FIXED | FL_DF);
	cpu->eflags = FL_FIXED | FL_IOPL;
	FRAME(4, 0x777, U_CS, FL_IF);
	assert_int_equal(far_iret(vm, 4, NEXT), 0);
	assert_int_equal(cpu->eflags, FL_FIXED | FL_IOPL | FL_IF);
}

static void iret_to_16_bit_stack(void **state)
{
	(void)state;
	set_desc(S_FREE, make_desc(0x70000, 0xffff, A_DATA | A_USER, 0));
	cpu->gpr[REG_SP] = 0x00127000;
	FRAME(4, 0x777, U_CS, 0, 0xabcd1234, S_FREE | 3);
	assert_int_equal(far_iret(vm, 4, NEXT), 0);
	assert_int_equal(cpu->gpr[REG_SP], 0x00121234); /* espfix: the upper half is the kernel's */
}

static void iret_code_errors(void **state)
{
	(void)state;
	FRAME(4, 0x777, 0, 0);
	assert_raised(far_iret(vm, 4, NEXT), EXC_GP, 0);
	poke32(cpu->gpr[REG_SP] + 4, 0x100);
	assert_raised(far_iret(vm, 4, NEXT), EXC_GP, 0x100);
	poke32(cpu->gpr[REG_SP] + 4, K_DS);
	assert_raised(far_iret(vm, 4, NEXT), EXC_GP, K_DS);
	poke32(cpu->gpr[REG_SP] + 4, U_CS & ~3); /* RPL 0, DPL 3 */
	assert_raised(far_iret(vm, 4, NEXT), EXC_GP, U_CS & ~3);
	poke32(cpu->gpr[REG_SP] + 4, K_CS | 3); /* RPL 3, DPL 0 */
	assert_raised(far_iret(vm, 4, NEXT), EXC_GP, K_CS);
	set_desc(S_FREE, make_desc(0, 0xfffff, A_CODE & 0x7f, 0xc));
	poke32(cpu->gpr[REG_SP] + 4, S_FREE);
	assert_raised(far_iret(vm, 4, NEXT), EXC_NP, S_FREE);
	set_desc(S_FREE, make_desc(0, 0x776, A_CODE, 4));
	assert_raised(far_iret(vm, 4, NEXT), EXC_GP, 0);
	set_desc(S_FREE, make_desc(0, 0x777, A_CODE, 4));
	assert_int_equal(far_iret(vm, 4, NEXT), 0);
	/* inward */
	guest_user();
	FRAME(4, 0x777, K_CS, 0);
	assert_raised(far_iret(vm, 4, NEXT), EXC_GP, K_CS);
}

static void iret_stack_errors(void **state)
{
	uint32_t ss;

	(void)state;
	FRAME(4, 0x777, U_CS, 0, STACK3, 0);
	ss = cpu->gpr[REG_SP] + 16;
	assert_raised(far_iret(vm, 4, NEXT), EXC_GP, 0);
	poke32(ss, 0x103);
	assert_raised(far_iret(vm, 4, NEXT), EXC_GP, 0x100);
	poke32(ss, K_DS);
	assert_raised(far_iret(vm, 4, NEXT), EXC_GP, K_DS);
	poke32(ss, K_DS | 3);
	assert_raised(far_iret(vm, 4, NEXT), EXC_GP, K_DS);
	poke32(ss, U_CS);
	assert_raised(far_iret(vm, 4, NEXT), EXC_GP, U_CS & ~3);
	set_desc(S_FREE, make_desc(0, 0xfffff, (A_DATA | A_USER) & 0x7f, 0xc));
	poke32(ss, S_FREE | 3);
	assert_raised(far_iret(vm, 4, NEXT), EXC_SS, S_FREE);
	/* the frame itself beyond the stack's limit */
	guest_ring(0, K_CS, S_DOWN, 0xfffffff8);
	assert_raised(far_iret(vm, 4, NEXT), EXC_SS, 0);
}

static void iret_vm86_is_a_limit(void **state)
{
	(void)state;
	FRAME(4, 0x777, U_CS, FL_VM);
	assert_int_equal(far_iret(vm, 4, NEXT), -ECANCELED);
	assert_non_null(strstr(vm->shared.stop_text, "virtual-8086"));
	assert_int_equal(cpu->exc_vector, EXC_NONE);
}

static void loadable_flags(void **state)
{
	(void)state;
	assert_true(flags_loadable(0, 0, 4) & FL_IF);
	assert_true(flags_loadable(0, 0, 4) & FL_IOPL);
	assert_false(flags_loadable(3, 0, 4) & (FL_IF | FL_IOPL));
	assert_true(flags_loadable(3, FL_IOPL, 4) & FL_IF);
	assert_false(flags_loadable(2, 1 << 12, 4) & FL_IF);
	assert_false(flags_loadable(0, 0, 2) & ~0xffffu);
	assert_false(flags_loadable(0, 0, 4) & (FL_VM | FL_RF | FL_VIF | FL_VIP));
}

/* --- RETF ---------------------------------------------------------------------------------------- */

static void ret_same(void **state)
{
	uint32_t top = FRAME(4, 0x777, K_CS, 1, 2);

	(void)state;
	assert_int_equal(far_ret(vm, 4, 8), 0);
	assert_int_equal(cpu->eip, 0x777);
	assert_int_equal(cpu->gpr[REG_SP], top);
	assert_int_equal(cpu->cpl, 0);
	FRAME(2, 0x888, S_CONF);
	assert_int_equal(far_ret(vm, 2, 0), 0);
	assert_int_equal(cpu->seg[SEG_CS].sel, S_CONF);
	/* conforming code returns to any ring from its DPL outward */
	FRAME(4, 0x777, S_CONF | 3, STACK3, U_DS);
	assert_int_equal(far_ret(vm, 4, 0), 0);
	assert_int_equal(cpu->cpl, 3);
	set_desc(S_FREE, make_desc(0, 0xfffff, A_CONF | A_USER, 0xc));
	guest_ring(0, K_CS, K_DS, STACK0);
	FRAME(4, 0x777, S_FREE);
	assert_raised(far_ret(vm, 4, 0), EXC_GP, S_FREE);
}

static void ret_outward(void **state)
{
	(void)state;
	FRAME(4, 0x777, U_CS, 0xa, 0xb, STACK3 - 0x20, U_DS);
	assert_int_equal(far_ret(vm, 4, 8), 0);
	assert_int_equal(cpu->cpl, 3);
	assert_int_equal(cpu->gpr[REG_SP], STACK3 - 0x18);
	assert_int_equal(cpu->seg[SEG_SS].sel, U_DS);
	assert_int_equal(cpu->seg[SEG_ES].sel, 0);
	assert_int_equal(cpu->eflags, FL_FIXED);
	FRAME(4, 0x777, K_CS);
	assert_raised(far_ret(vm, 4, 0), EXC_GP, K_CS);
}

/* --- JMP, CALL ----------------------------------------------------------------------------------- */

static void jmp_code(void **state)
{
	(void)state;
	assert_int_equal(far_jmp(vm, K_CS, 0x777, NEXT), 0);
	assert_int_equal(cpu->eip, 0x777);
	assert_true(get_desc(K_CS).hi & DT_ACCESSED);
	assert_raised(far_jmp(vm, 3, 0x777, NEXT), EXC_GP, 0);
	assert_raised(far_jmp(vm, 0x100, 0x777, NEXT), EXC_GP, 0x100);
	assert_raised(far_jmp(vm, K_DS, 0x777, NEXT), EXC_GP, K_DS);
	assert_raised(far_jmp(vm, U_CS, 0x777, NEXT), EXC_GP, U_CS & ~3);
	assert_raised(far_jmp(vm, K_CS | 1, 0x777, NEXT), EXC_GP, K_CS);
	assert_raised(far_jmp(vm, S_LDT, 0x777, NEXT), EXC_GP, S_LDT);
	assert_raised(far_jmp(vm, S_TSS, 0x777, NEXT), EXC_GP, S_TSS); /* busy */
	set_desc(S_FREE, make_desc(0, 0x776, A_CODE, 4));
	assert_raised(far_jmp(vm, S_FREE, 0x777, NEXT), EXC_GP, 0);
	set_desc(S_FREE, make_desc(0, 0xfff, A_CODE & 0x7f, 4));
	assert_raised(far_jmp(vm, S_FREE, 0x777, NEXT), EXC_NP, S_FREE);
}

static void jmp_conforming(void **state)
{
	(void)state;
	guest_user();
	assert_int_equal(far_jmp(vm, S_CONF, 0x777, NEXT), 0);
	assert_int_equal(cpu->seg[SEG_CS].sel, S_CONF | 3);
	assert_int_equal(cpu->cpl, 3);
	set_desc(S_FREE, make_desc(0, 0xfffff, A_CONF | A_USER, 0xc));
	guest_ring(0, K_CS, K_DS, STACK0);
	assert_raised(far_jmp(vm, S_FREE, 0x777, NEXT), EXC_GP, S_FREE);
}

static void jmp_gate(void **state)
{
	(void)state;
	set_desc(S_FREE, make_gate(K_CS, 0x12340777, A_CALL32, 0));
	assert_int_equal(far_jmp(vm, S_FREE, 0, NEXT), 0);
	assert_int_equal(cpu->eip, 0x12340777);
	set_desc(S_FREE, make_gate(K_CS, 0x12340777, A_CALL16, 0));
	assert_int_equal(far_jmp(vm, S_FREE, 0, NEXT), 0);
	assert_int_equal(cpu->eip, 0x777);
	guest_user();
	assert_raised(far_jmp(vm, S_FREE, 0, NEXT), EXC_GP, S_FREE); /* gate DPL */
	set_desc(S_FREE, make_gate(K_CS, 0x777, A_CALL32 | A_USER, 0));
	assert_raised(far_jmp(vm, S_FREE, 0, NEXT), EXC_GP, K_CS); /* jumps do not go inward */
	set_desc(S_FREE, make_gate(U_CS, 0x777, (A_CALL32 | A_USER) & 0x7f, 0));
	assert_raised(far_jmp(vm, S_FREE, 0, NEXT), EXC_NP, S_FREE);
}

static void call_code(void **state)
{
	uint32_t esp = cpu->gpr[REG_SP];

	(void)state;
	assert_int_equal(far_call(vm, K_CS, 0x777, NEXT, 4), 0);
	assert_int_equal(cpu->eip, 0x777);
	assert_int_equal(cpu->gpr[REG_SP], esp - 8);
	assert_int_equal(peek32(esp - 4), K_CS);
	assert_int_equal(peek32(esp - 8), NEXT);
	assert_int_equal(far_call(vm, K_CS, 0x777, NEXT, 2), 0);
	assert_int_equal(cpu->gpr[REG_SP], esp - 12);
	assert_int_equal(peek32(esp - 12), K_CS << 16 | NEXT);
	guest_ring(0, K_CS, S_DOWN, 0x1007);
	assert_raised(far_call(vm, K_CS, 0x777, NEXT, 4), EXC_SS, 0);
}

static void call_gate_inward(void **state)
{
	unsigned i;

	(void)state;
	guest_user();
	FRAME(4, 0x111, 0x222, 0x333);
	set_desc(S_FREE, make_gate(K_CS, 0x777, A_CALL32 | A_USER, 3));
	assert_int_equal(far_call(vm, S_FREE | 3, 0, NEXT, 2), 0);
	assert_int_equal(cpu->cpl, 0);
	assert_int_equal(cpu->seg[SEG_CS].sel, K_CS);
	assert_int_equal(cpu->seg[SEG_SS].sel, K_DS);
	assert_int_equal(cpu->gpr[REG_SP], STACK0 - 28);
	assert_int_equal(peek32(STACK0 - 4), U_DS);
	assert_int_equal(peek32(STACK0 - 8), STACK3 - 12);
	for (i = 0; i < 3; i++)
		assert_int_equal(peek32(STACK0 - 20 + i * 4), 0x111 * (i + 1));
	assert_int_equal(peek32(STACK0 - 24), U_CS);
	assert_int_equal(peek32(STACK0 - 28), NEXT);
	/* and back, releasing the parameters on both stacks */
	assert_int_equal(far_ret(vm, 4, 12), 0);
	assert_int_equal(cpu->cpl, 3);
	assert_int_equal(cpu->eip, NEXT);
	assert_int_equal(cpu->gpr[REG_SP], STACK3);
}

static void call_gate_16_inward(void **state)
{
	(void)state;
	guest_user();
	FRAME(2, 0x111, 0x222);
	set_desc(S_FREE, make_gate(K_CS, 0x777, A_CALL16 | A_USER, 2));
	assert_int_equal(far_call(vm, S_FREE, 0, 0x99991111, 4), 0);
	assert_int_equal(cpu->gpr[REG_SP], STACK0 - 12);
	assert_int_equal(peek32(STACK0 - 12), (uint32_t)U_CS << 16 | 0x1111);
	assert_int_equal(peek32(STACK0 - 8), 0x02220111);
	assert_int_equal(peek32(STACK0 - 4), (uint32_t)U_DS << 16 | (STACK3 - 4));
}

static void call_gate_most_parameters(void **state)
{
	uint32_t word[31], i;

	(void)state;
	guest_user();
	for (i = 0; i < 31; i++)
		word[i] = i;
	frame(4, 31, word);
	poke32(AT_TSS + 4, STACK0 + 16); /* the frame crosses a page */
	set_desc(S_FREE, make_gate(K_CS, 0x777, A_CALL32 | A_USER, 31));
	assert_int_equal(far_call(vm, S_FREE, 0, NEXT, 4), 0);
	assert_int_equal(cpu->gpr[REG_SP], STACK0 + 16 - 35 * 4);
	assert_memory_equal(ram(STACK0 + 16 - 33 * 4), word, sizeof(word));
}

static void call_gate_same_ring(void **state)
{
	uint32_t esp = cpu->gpr[REG_SP];

	(void)state;
	set_desc(S_FREE, make_gate(K_CS, 0x777, A_CALL32, 5)); /* no parameters within a ring */
	assert_int_equal(far_call(vm, S_FREE, 0, NEXT, 2), 0);
	assert_int_equal(cpu->gpr[REG_SP], esp - 8);
}

static void call_gate_errors(void **state)
{
	(void)state;
	guest_user();
	set_desc(S_FREE, make_gate(0, 0x777, A_CALL32 | A_USER, 0));
	assert_raised(far_call(vm, S_FREE, 0, NEXT, 4), EXC_GP, 0);
	set_desc(S_FREE, make_gate(K_DS, 0x777, A_CALL32 | A_USER, 0));
	assert_raised(far_call(vm, S_FREE, 0, NEXT, 4), EXC_GP, K_DS);
	set_desc(S_FREE, make_gate(K_CS, 0x777, A_CALL32 | A_USER, 0));
	poke32(AT_TSS + 8, 0);
	assert_raised(far_call(vm, S_FREE, 0, NEXT, 4), EXC_TS, 0);
	poke32(AT_TSS + 8, S_ABSENT);
	assert_raised(far_call(vm, S_FREE, 0, NEXT, 4), EXC_SS, S_ABSENT);
	poke32(AT_TSS + 8, S_DOWN);
	poke32(AT_TSS + 4, 0x1000 + 15);
	assert_raised(far_call(vm, S_FREE, 0, NEXT, 4), EXC_SS, S_DOWN);
	cpu->tr.limit = 8;
	assert_raised(far_call(vm, S_FREE, 0, NEXT, 4), EXC_TS, S_TSS);
}

/* A #PF on the way leaves everything as it was. */
static void page_fault_on_the_way(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 0; i < 1024; i++)
		poke32(0x100000 + i * 4, i << 12 | 7);
	poke32(0x101000, 0x100000 | 7);
	poke32(0x100000 + 0x7 * 4, 0); /* the page below STACK0 */
	cpu->cr0 |= CR0_PG | CR0_WP;
	cpu->cr3 = 0x101000;
	guest_user();
	set_desc(S_FREE, make_gate(K_CS, 0x777, A_CALL32 | A_USER, 0));
	assert_raised(far_call(vm, S_FREE, 0, NEXT, 4), EXC_PF, PF_W); /* a system access, though CPL was 3 */
	assert_int_equal(cpu->exc_cr2, STACK0 - 4);
	guest_user();
	poke32(0x100000 + 0x9 * 4, 0);
	assert_raised(far_call(vm, U_CS, 0x777, NEXT, 4), EXC_PF, PF_W | PF_U);
	guest_ring(0, K_CS, K_DS, 0x7000);
	assert_raised(far_ret(vm, 4, 0), EXC_PF, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    guest_test(iret_same),
	    guest_test(iret_16),
	    guest_test(iret_to_user),
	    guest_test(iret_flags_by_privilege),
	    guest_test(iret_to_16_bit_stack),
	    guest_test(iret_code_errors),
	    guest_test(iret_stack_errors),
	    guest_test(iret_vm86_is_a_limit),
	    guest_test(loadable_flags),
	    guest_test(ret_same),
	    guest_test(ret_outward),
	    guest_test(jmp_code),
	    guest_test(jmp_conforming),
	    guest_test(jmp_gate),
	    guest_test(call_code),
	    guest_test(call_gate_inward),
	    guest_test(call_gate_16_inward),
	    guest_test(call_gate_most_parameters),
	    guest_test(call_gate_same_ring),
	    guest_test(call_gate_errors),
	    guest_test(page_fault_on_the_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
