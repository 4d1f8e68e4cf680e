// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/unit/guest.h"

#include "monitor/vmm/far.h"

enum { VEC = 0x20, HANDLER = 0x10000 + VEC * 16, RET = 0x4321 };

static int external(void)
{
	return interrupt_enter(vm, VEC, EVENT_EXTERNAL, false, 0, RET);
}

static int software(void)
{
	return interrupt_enter(vm, VEC, EVENT_SOFTWARE, false, 0, RET);
}

static void same_ring(void **state)
{
	uint32_t esp = cpu->gpr[REG_SP];

	(void)state;
	cpu->eflags |= FL_IF | FL_TF | FL_NT | FL_AC | FL_CF;
	cpu->shadow = 1;
	assert_int_equal(interrupt_enter(vm, VEC, EVENT_EXTERNAL, true, 0xabcd, RET), 0);
	assert_int_equal(cpu->eip, HANDLER);
	assert_int_equal(cpu->seg[SEG_CS].sel, K_CS);
	assert_int_equal(cpu->gpr[REG_SP], esp - 16);
	assert_int_equal(peek32(esp - 16), 0xabcd);
	assert_int_equal(peek32(esp - 12), RET);
	assert_int_equal(peek32(esp - 8), K_CS);
	assert_int_equal(peek32(esp - 4), FL_FIXED | FL_IF | FL_TF | FL_NT | FL_AC | FL_CF);
	assert_int_equal(cpu->eflags, FL_FIXED | FL_AC | FL_CF);
	assert_int_equal(cpu->shadow, 0);
}

static void trap_gate_keeps_if(void **state)
{
	(void)state;
	cpu->eflags |= FL_IF | FL_TF;
	set_idt(VEC, make_gate(K_CS, HANDLER, A_TRAP32, 0));
	assert_int_equal(external(), 0);
	assert_int_equal(cpu->eflags, FL_FIXED | FL_IF);
}

static void from_user(void **state)
{
	(void)state;
	guest_user();
	cpu->eflags |= FL_IF;
	assert_int_equal(external(), 0);
	assert_int_equal(cpu->cpl, 0);
	assert_int_equal(cpu->seg[SEG_CS].sel, K_CS);
	assert_int_equal(cpu->seg[SEG_SS].sel, K_DS);
	assert_int_equal(cpu->gpr[REG_SP], STACK0 - 20);
	assert_int_equal(peek32(STACK0 - 4), U_DS);
	assert_int_equal(peek32(STACK0 - 8), STACK3);
	assert_int_equal(peek32(STACK0 - 12), FL_FIXED | FL_IF);
	assert_int_equal(peek32(STACK0 - 16), U_CS);
	assert_int_equal(peek32(STACK0 - 20), RET);
	assert_int_equal(cpu->seg[SEG_DS].sel, U_DS);
	assert_true(get_desc(K_DS).hi & get_desc(K_CS).hi & DT_ACCESSED);
}

static void to_ring_1(void **state)
{
	(void)state;
	guest_user();
	set_idt(VEC, make_gate(S_CS1 & ~3, 0x777, A_INT32, 0));
	assert_int_equal(external(), 0);
	assert_int_equal(cpu->cpl, 1);
	assert_int_equal(cpu->seg[SEG_CS].sel, S_CS1);
	assert_int_equal(cpu->gpr[REG_SP], STACK1 - 20);
}

static void conforming_stays_outside(void **state)
{
	(void)state;
	guest_user();
	set_idt(VEC, make_gate(S_CONF, 0x777, A_INT32, 0));
	assert_int_equal(external(), 0);
	assert_int_equal(cpu->cpl, 3);
	assert_int_equal(cpu->seg[SEG_CS].sel, S_CONF | 3);
	assert_int_equal(cpu->gpr[REG_SP], STACK3 - 12);
}

static void gate_16(void **state)
{
	(void)state;
	guest_user();
	cpu->gpr[REG_SP] = 0x5a000 | STACK3;
	set_idt(VEC, make_gate(K_CS, 0xdead0777, A_INT16, 0));
	assert_int_equal(interrupt_enter(vm, VEC, EVENT_EXCEPTION, true, 0x10004, 0x99991234), 0);
	assert_int_equal(cpu->eip, 0x777);
	assert_int_equal(cpu->gpr[REG_SP], STACK0 - 12);
	assert_int_equal(peek16(STACK0 - 12), 4);
	assert_int_equal(peek16(STACK0 - 10), 0x1234);
	assert_int_equal(peek16(STACK0 - 8), U_CS);
	assert_int_equal(peek16(STACK0 - 4), (uint16_t)STACK3);
	assert_int_equal(peek16(STACK0 - 2), U_DS);
}

static void stack_of_16_bits_wraps(void **state)
{
	(void)state;
	guest_ring(0, K_CS, S_DS16, 0xabcd0004);
	assert_int_equal(external(), 0);
	assert_int_equal(cpu->gpr[REG_SP], 0xabcdfff8);
	assert_int_equal(peek32(0), FL_FIXED);
	assert_int_equal(peek32(0xfffc), K_CS);
	assert_int_equal(peek32(0xfff8), RET);
	guest_ring(0, K_CS, S_DS16, 6); /* a word across the limit does not wrap */
	assert_raised(external(), EXC_SS, 1);
}

static void tss_of_16_bits(void **state)
{
	(void)state;
	cpu->tr = segment_unpack(S_TSS16, make_desc(AT_TSS16, 0x2b, A_TSS16 | A_BUSY, 0));
	poke16(AT_TSS16 + 2, STACK0 - 0x40);
	poke16(AT_TSS16 + 4, K_DS);
	guest_user();
	assert_int_equal(external(), 0);
	assert_int_equal(cpu->gpr[REG_SP], STACK0 - 0x40 - 20);
	cpu->tr.limit = 4;
	guest_user();
	assert_raised(external(), EXC_TS, S_TSS16 | 1);
}

static void resume_flag(void **state)
{
	uint32_t esp = cpu->gpr[REG_SP];

	(void)state;
	assert_int_equal(interrupt_enter(vm, EXC_UD, EVENT_EXCEPTION, false, 0, RET), 0);
	assert_int_equal(peek32(esp - 4), FL_FIXED | FL_RF);
	assert_false(cpu->eflags & FL_RF);
	esp = cpu->gpr[REG_SP];
	assert_int_equal(interrupt_enter(vm, EXC_DB, EVENT_EXCEPTION, false, 0, RET), 0);
	assert_int_equal(peek32(esp - 4), FL_FIXED);
	esp = cpu->gpr[REG_SP];
	assert_int_equal(software(), 0);
	assert_int_equal(peek32(esp - 4), FL_FIXED);
}

/* Error codes name the IDT entry; EXT only for what the program did not ask for. */
static void idt_errors(void **state)
{
	(void)state;
	assert_raised(interrupt_enter(vm, 48, EVENT_SOFTWARE, false, 0, RET), EXC_GP, 48 * 8 + 2);
	assert_raised(interrupt_enter(vm, 48, EVENT_EXTERNAL, false, 0, RET), EXC_GP, 48 * 8 + 3);
	cpu->idtr.limit = VEC * 8 + 6;
	assert_raised(software(), EXC_GP, VEC * 8 + 2);
	cpu->idtr.limit = VEC * 8 + 7;
	set_idt(VEC, make_gate(K_CS, HANDLER, A_CALL32, 0));
	assert_raised(software(), EXC_GP, VEC * 8 + 2);
	set_idt(VEC, make_gate(K_CS, HANDLER, A_INT32 | 0x10, 0));
	assert_raised(software(), EXC_GP, VEC * 8 + 2);
	set_idt(VEC, make_gate(K_CS, HANDLER, A_INT32 & 0x7f, 0));
	assert_raised(software(), EXC_NP, VEC * 8 + 2);
	assert_raised(external(), EXC_NP, VEC * 8 + 3);
	guest_user();
	set_idt(VEC, make_gate(K_CS, HANDLER, A_INT32 & 0x7f, 0));
	assert_raised(software(), EXC_GP, VEC * 8 + 2); /* DPL before P */
	set_idt(VEC, make_gate(K_CS, HANDLER, A_INT32 | A_USER, 0));
	assert_int_equal(software(), 0);
}

static void code_errors(void **state)
{
	(void)state;
	set_idt(VEC, make_gate(0, HANDLER, A_INT32, 0));
	assert_raised(software(), EXC_GP, 0);
	assert_raised(external(), EXC_GP, 1);
	set_idt(VEC, make_gate(0x108, HANDLER, A_INT32, 0));
	assert_raised(external(), EXC_GP, 0x109);
	set_idt(VEC, make_gate(K_DS, HANDLER, A_INT32, 0));
	assert_raised(external(), EXC_GP, K_DS | 1);
	set_idt(VEC, make_gate(U_CS, HANDLER, A_INT32, 0)); /* outward */
	assert_raised(external(), EXC_GP, (U_CS & ~3) | 1);
	set_desc(S_FREE, make_desc(0, 0xfffff, A_CODE & 0x7f, 0xc));
	set_idt(VEC, make_gate(S_FREE, HANDLER, A_INT32, 0));
	assert_raised(external(), EXC_NP, S_FREE | 1);
	set_desc(S_FREE, make_desc(0, 0xff, A_CODE, 4));
	set_idt(VEC, make_gate(S_FREE, 0x100, A_INT32, 0));
	assert_raised(external(), EXC_GP, 1);
	assert_raised(software(), EXC_GP, 0);
}

static void stack_errors(void **state)
{
	(void)state;
	guest_user();
	poke32(AT_TSS + 8, 0);
	assert_raised(external(), EXC_TS, 1);
	poke32(AT_TSS + 8, 0x100);
	assert_raised(external(), EXC_TS, 0x101);
	poke32(AT_TSS + 8, U_DS);
	assert_raised(external(), EXC_TS, (U_DS & ~3) | 1);
	poke32(AT_TSS + 8, U_DS & ~3);
	assert_raised(external(), EXC_TS, (U_DS & ~3) | 1);
	poke32(AT_TSS + 8, K_CS);
	assert_raised(external(), EXC_TS, K_CS | 1);
	poke32(AT_TSS + 8, S_ABSENT);
	assert_raised(external(), EXC_SS, S_ABSENT | 1);
	poke32(AT_TSS + 8, S_DOWN);
	poke32(AT_TSS + 4, 0x1000 + 19);
	assert_raised(external(), EXC_SS, S_DOWN | 1);
	poke32(AT_TSS + 4, 0x1000 + 20);
	assert_int_equal(external(), 0);
	guest_user();
	cpu->tr.limit = 8;
	assert_raised(external(), EXC_TS, S_TSS | 1);
	cpu->tr.limit = 9;
	assert_int_equal(external(), 0);
}

static void own_stack_overrun(void **state)
{
	(void)state;
	guest_ring(0, K_CS, S_DOWN, 0x1000 + 11);
	assert_raised(external(), EXC_SS, 1);
	assert_raised(software(), EXC_SS, 0);
	guest_ring(0, K_CS, S_DOWN, 0x1000 + 12);
	assert_int_equal(external(), 0);
}

/* --- table 6-5 ----------------------------------------------------------------------------------- */

static void not_present(unsigned vector)
{
	set_idt(vector, make_gate(K_CS, 0, A_INT32 & 0x7f, 0));
}

static void deliver_plain(void **state)
{
	uint32_t esp = cpu->gpr[REG_SP];

	(void)state;
	vcpu_raise_pf(cpu, gva(0xdeadbeef), 2);
	assert_int_equal(exception_deliver(vm), 0);
	assert_int_equal(cpu->cr2, 0xdeadbeef);
	assert_int_equal(cpu->eip, 0x10000 + EXC_PF * 16);
	assert_int_equal(peek32(esp - 16), 2);
	assert_int_equal(peek32(esp - 12), 0x1234);
	assert_int_equal(cpu->exc_vector, EXC_NONE);
}

static void benign_then_contributory(void **state)
{
	(void)state;
	not_present(EXC_UD);
	vcpu_raise(cpu, EXC_UD, false, 0);
	assert_int_equal(exception_deliver(vm), 0);
	assert_int_equal(cpu->eip, 0x10000 + EXC_NP * 16);
	assert_int_equal(peek32(cpu->gpr[REG_SP]), EXC_UD * 8 + 3);
}

static void contributory_twice(void **state)
{
	(void)state;
	not_present(EXC_GP);
	vcpu_raise(cpu, EXC_GP, true, 0x10);
	assert_int_equal(exception_deliver(vm), 0);
	assert_int_equal(cpu->eip, 0x10000 + EXC_DF * 16);
	assert_int_equal(peek32(cpu->gpr[REG_SP]), 0);
	assert_int_equal(peek32(cpu->gpr[REG_SP] + 4), 0x1234);
}

static void page_fault_then_contributory(void **state)
{
	(void)state;
	not_present(EXC_PF);
	vcpu_raise_pf(cpu, gva(0x1000), 0);
	assert_int_equal(exception_deliver(vm), 0);
	assert_int_equal(cpu->eip, 0x10000 + EXC_DF * 16);
	assert_int_equal(cpu->cr2, 0x1000);
}

/* Identity-mapped by one large page; the IDT's page is reached through an entry that the test can cut. */
static void page_everything(void)
{
	uint32_t i;

	for (i = 0; i < 1024; i++)
		poke32(0x100000 + i * 4, i << 12 | 3);
	poke32(0x101000, 0x100000 | 3);
	cpu->cr0 |= CR0_PG | CR0_WP;
	cpu->cr3 = 0x101000;
}

static void contributory_then_page_fault(void **state)
{
	(void)state;
	page_everything();
	/* the handler of #DE runs on a stack page that is not there, #PF's gate leads to a task with its own */
	guest_user();
	poke32(AT_TSS + 4, 0x50000);
	poke32(0x100000 + 0x4f * 4, 0);
	poke32(AT_TSS2 + 0x1c, 0x101000);
	poke32(AT_TSS2 + 0x20, 0x888);
	poke32(AT_TSS2 + 0x38, TASK_STACK);
	poke32(AT_TSS2 + 0x4c, K_CS);
	poke32(AT_TSS2 + 0x50, K_DS);
	set_idt(EXC_PF, make_gate(S_TSS2, 0, A_TASK, 0));
	vcpu_raise(cpu, EXC_DE, false, 0);
	assert_int_equal(exception_deliver(vm), 0);
	assert_int_equal(cpu->eip, 0x888);
	assert_int_equal(cpu->cr2, 0x4fffc);
	assert_int_equal(peek32(TASK_STACK - 4), PF_W);
}

static void page_fault_twice(void **state)
{
	(void)state;
	page_everything();
	guest_user();
	poke32(AT_TSS + 4, 0x50000);
	poke32(0x100000 + 0x4f * 4, 0);
	poke32(AT_TSS2 + 0x1c, 0x101000);
	poke32(AT_TSS2 + 0x20, 0x888);
	poke32(AT_TSS2 + 0x38, TASK_STACK);
	poke32(AT_TSS2 + 0x4c, K_CS);
	poke32(AT_TSS2 + 0x50, K_DS);
	set_idt(EXC_DF, make_gate(S_TSS2, 0, A_TASK, 0));
	vcpu_raise_pf(cpu, gva(0x7777), PF_U);
	assert_int_equal(exception_deliver(vm), 0);
	assert_int_equal(cpu->eip, 0x888);
	assert_int_equal(cpu->cr2, 0x4fffc); /* of the second, as hardware leaves it */
	assert_int_equal(peek32(TASK_STACK - 4), 0);
	assert_int_equal(peek32(AT_TSS + 0x20), 0x1234);
	assert_int_equal(cpu->tr.sel, S_TSS2);
	assert_true(cpu->eflags & FL_NT);
}

static void triple_fault(void **state)
{
	(void)state;
	not_present(EXC_GP);
	not_present(EXC_DF);
	vcpu_raise(cpu, EXC_GP, true, 0);
	assert_int_equal(exception_deliver(vm), -ESHUTDOWN);
	assert_int_equal(cpu->exc_vector, EXC_NONE);
	cpu->idtr.limit = 0;
	vcpu_raise(cpu, EXC_UD, false, 0);
	assert_int_equal(exception_deliver(vm), -ESHUTDOWN);
}

static void interrupt_meets_exception(void **state)
{
	(void)state;
	not_present(VEC);
	assert_int_equal(external(), -EFAULT);
	assert_int_equal(exception_deliver(vm), 0); /* an interrupt is benign: no double fault */
	assert_int_equal(cpu->eip, 0x10000 + EXC_NP * 16);
	assert_int_equal(peek32(cpu->gpr[REG_SP]), VEC * 8 + 3);
}

static void nothing_to_deliver(void **state)
{
	(void)state;
	assert_int_equal(exception_deliver(vm), 0);
	assert_int_equal(cpu->eip, 0x1234);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    guest_test(same_ring),
	    guest_test(trap_gate_keeps_if),
	    guest_test(from_user),
	    guest_test(to_ring_1),
	    guest_test(conforming_stays_outside),
	    guest_test(gate_16),
	    guest_test(stack_of_16_bits_wraps),
	    guest_test(tss_of_16_bits),
	    guest_test(resume_flag),
	    guest_test(idt_errors),
	    guest_test(code_errors),
	    guest_test(stack_errors),
	    guest_test(own_stack_overrun),
	    guest_test(deliver_plain),
	    guest_test(benign_then_contributory),
	    guest_test(contributory_twice),
	    guest_test(page_fault_then_contributory),
	    guest_test(contributory_then_page_fault),
	    guest_test(page_fault_twice),
	    guest_test(triple_fault),
	    guest_test(interrupt_meets_exception),
	    guest_test(nothing_to_deliver),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
