// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/unit/guest.h"

#include "monitor/vmm/far.h"

enum { NEXT = 0x1236, TASK_EIP = 0x888 };

/* A task at AT_TSS2: kernel segments, ESP TASK_STACK, EAX 0x10, ECX 0x11, ... */
static void make_task32(void)
{
	static const uint16_t seg[6] = {U_DS, K_CS, K_DS, U_DS, 0, 0};
	unsigned i;

	memset(ram(AT_TSS2), 0, 104);
	poke32(AT_TSS2 + 0x20, TASK_EIP);
	poke32(AT_TSS2 + 0x24, FL_CF | FL_IF);
	for (i = 0; i < 8; i++)
		poke32(AT_TSS2 + 0x28 + i * 4, 0x10 + i);
	poke32(AT_TSS2 + 0x28 + REG_SP * 4, TASK_STACK);
	for (i = 0; i < 6; i++)
		poke32(AT_TSS2 + 0x48 + i * 4, seg[i]);
	poke32(AT_TSS2 + 0x60, S_LDT);
}

static void make_task16(void)
{
	unsigned i;

	memset(ram(AT_TSS16), 0, 44);
	poke16(AT_TSS16 + 0x0e, TASK_EIP);
	poke16(AT_TSS16 + 0x10, FL_ZF);
	for (i = 0; i < 8; i++)
		poke16(AT_TSS16 + 0x12 + i * 2, (uint16_t)(0x20 + i));
	poke16(AT_TSS16 + 0x12 + REG_SP * 2, TASK_STACK);
	poke16(AT_TSS16 + 0x22, U_DS);
	poke16(AT_TSS16 + 0x24, K_CS);
	poke16(AT_TSS16 + 0x26, K_DS);
	poke16(AT_TSS16 + 0x28, U_DS);
}

static bool busy(uint16_t sel)
{
	return get_desc(sel).hi & DT_BUSY_BIT;
}

static void jump(void **state)
{
	unsigned i;

	(void)state;
	make_task32();
	for (i = 0; i < 8; i++)
		cpu->gpr[i] += 0xa0000;
	cpu->eflags |= FL_OF;
	cpu->dr[7] = 0x7ff;
	assert_int_equal(far_jmp(vm, S_TSS2, 0xdead, NEXT), 0);
	/* the old task */
	assert_int_equal(peek32(AT_TSS + 0x20), NEXT);
	assert_int_equal(peek32(AT_TSS + 0x24), FL_FIXED | FL_OF);
	assert_int_equal(peek32(AT_TSS + 0x28 + 4 * REG_CX), 0xa0000);
	assert_int_equal(peek32(AT_TSS + 0x4c), K_CS);
	assert_false(busy(S_TSS));
	/* the new one */
	assert_int_equal(cpu->eip, TASK_EIP);
	assert_int_equal(cpu->eflags, FL_FIXED | FL_CF | FL_IF);
	assert_int_equal(cpu->gpr[REG_CX], 0x11);
	assert_int_equal(cpu->gpr[REG_SP], TASK_STACK);
	assert_int_equal(cpu->seg[SEG_DS].sel, U_DS);
	assert_int_equal(cpu->seg[SEG_DS].limit, 0xffffffff);
	assert_int_equal(cpu->seg[SEG_FS].attr, 0);
	assert_int_equal(cpu->ldtr.base, AT_LDT);
	assert_int_equal(cpu->tr.sel, S_TSS2);
	assert_true(busy(S_TSS2));
	assert_true(cpu->cr0 & CR0_TS);
	assert_int_equal(cpu->dr[7], 0x7ff & ~0x155);
	assert_int_equal(peek16(AT_TSS2), 0); /* no link */
}

static void call_and_return(void **state)
{
	uint32_t esp = cpu->gpr[REG_SP];

	(void)state;
	make_task32();
	cpu->gpr[REG_BX] = 0xb0b;
	assert_int_equal(far_call(vm, S_TSS2, 0, NEXT, 4), 0);
	assert_true(busy(S_TSS));
	assert_true(busy(S_TSS2));
	assert_int_equal(peek16(AT_TSS2), S_TSS);
	assert_true(cpu->eflags & FL_NT);
	assert_int_equal(cpu->gpr[REG_BX], 0x13);
	assert_int_equal(far_iret(vm, 4, TASK_EIP + 1), 0);
	assert_int_equal(cpu->tr.sel, S_TSS);
	assert_int_equal(cpu->eip, NEXT);
	assert_int_equal(cpu->gpr[REG_BX], 0xb0b);
	assert_int_equal(cpu->gpr[REG_SP], esp);
	assert_false(cpu->eflags & FL_NT);
	assert_true(busy(S_TSS));
	assert_false(busy(S_TSS2));
	assert_int_equal(peek32(AT_TSS2 + 0x20), TASK_EIP + 1);
	assert_false(peek32(AT_TSS2 + 0x24) & FL_NT); /* saved without it */
}

static void gates(void **state)
{
	(void)state;
	make_task32();
	set_desc(S_FREE, make_gate(S_TSS2, 0, A_TASK | A_USER, 0));
	guest_user();
	assert_int_equal(far_call(vm, S_FREE, 0, NEXT, 4), 0);
	assert_int_equal(cpu->cpl, 0);
	assert_int_equal(cpu->tr.sel, S_TSS2);
	assert_int_equal(far_iret(vm, 4, 0), 0);
	assert_int_equal(cpu->cpl, 3);
	assert_int_equal(cpu->seg[SEG_CS].sel, U_CS);
	assert_raised(far_jmp(vm, S_TSS2, 0, NEXT), EXC_GP, S_TSS2); /* the TSS's own DPL */
	set_desc(S_FREE, make_gate(S_TSS2, 0, A_TASK, 0));
	assert_raised(far_jmp(vm, S_FREE, 0, NEXT), EXC_GP, S_FREE);
	set_desc(S_FREE, make_gate(S_TSS2, 0, (A_TASK | A_USER) & 0x7f, 0));
	assert_raised(far_jmp(vm, S_FREE, 0, NEXT), EXC_NP, S_FREE);
	set_desc(S_FREE, make_gate(K_DS, 0, A_TASK | A_USER, 0));
	assert_raised(far_jmp(vm, S_FREE, 0, NEXT), EXC_GP, K_DS);
}

static void interrupt_with_error(void **state)
{
	(void)state;
	make_task32();
	set_idt(EXC_GP, make_gate(S_TSS2, 0, A_TASK, 0));
	cpu->eflags |= FL_IF;
	assert_int_equal(interrupt_enter(vm, EXC_GP, EVENT_EXCEPTION, true, 0x1238, 0x1234), 0);
	assert_int_equal(cpu->gpr[REG_SP], TASK_STACK - 4);
	assert_int_equal(peek32(TASK_STACK - 4), 0x1238);
	assert_int_equal(peek32(AT_TSS + 0x20), 0x1234);
	assert_int_equal(peek32(AT_TSS + 0x24), FL_FIXED | FL_IF);
	assert_int_equal(cpu->eflags, FL_FIXED | FL_CF | FL_IF | FL_NT); /* the task's own, IF too */
}

/* Linux i386: #DF through a task gate with its own CR3, after a kernel stack overflow. */
static void double_fault(void **state)
{
	uint32_t i;

	(void)state;
	make_task32();
	for (i = 0; i < 1024; i++)
		poke32(0x100000 + i * 4, i << 12 | 3);
	poke32(0x101000, 0x100000 | 3);
	poke32(0x102000, 0x100000 | 3);
	poke32(0x100000 + 0x4f * 4, 0);
	poke32(AT_TSS2 + 0x1c, 0x102000);
	cpu->cr0 |= CR0_PG | CR0_WP;
	cpu->cr3 = 0x101000;
	cpu->gpr[REG_SP] = 0x50000;
	set_idt(EXC_DF, make_gate(S_TSS2, 0, A_TASK, 0));
	vcpu_raise_pf(cpu, gva(0x4fff0), PF_W);
	assert_int_equal(exception_deliver(vm), 0);
	assert_int_equal(cpu->cr3, 0x102000);
	assert_int_equal(cpu->cr2, 0x4fffc);
	assert_int_equal(cpu->eip, TASK_EIP);
	assert_int_equal(peek32(AT_TSS + 0x28 + 4 * REG_SP), 0x50000);
	assert_int_equal(peek32(AT_TSS + 0x20), 0x1234);
	assert_int_equal(peek32(TASK_STACK - 4), 0);
}

static void task_of_16_bits(void **state)
{
	(void)state;
	make_task16();
	cpu->gpr[REG_AX] = 0x12345678;
	assert_int_equal(far_call(vm, S_TSS16, 0, NEXT, 4), 0);
	assert_int_equal(cpu->eip, TASK_EIP);
	assert_int_equal(cpu->gpr[REG_AX], 0x20);
	assert_int_equal(cpu->gpr[REG_SP], TASK_STACK);
	assert_int_equal(cpu->eflags, FL_FIXED | FL_ZF | FL_NT);
	assert_int_equal(cpu->seg[SEG_SS].sel, K_DS);
	assert_int_equal(cpu->seg[SEG_FS].sel, 0);
	assert_int_equal(far_iret(vm, 4, 0x999), 0);
	assert_int_equal(cpu->gpr[REG_AX], 0x12345678);
	assert_int_equal(peek16(AT_TSS16 + 0x0e), 0x999);
	assert_int_equal(peek16(AT_TSS16 + 0x12), 0x20);
}

/* What is wrong with the TSS itself belongs to the old task. */
static void tss_errors(void **state)
{
	(void)state;
	make_task32();
	set_desc(S_FREE, make_desc(AT_TSS2, 0x66, A_TSS32, 0));
	assert_raised(far_jmp(vm, S_FREE, 0, NEXT), EXC_TS, S_FREE);
	set_desc(S_FREE, make_desc(AT_TSS16, 0x2a, A_TSS16, 0));
	assert_raised(far_jmp(vm, S_FREE, 0, NEXT), EXC_TS, S_FREE);
	set_desc(S_FREE, make_desc(AT_TSS2, 0x67, A_TSS32 & 0x7f, 0));
	assert_raised(far_jmp(vm, S_FREE, 0, NEXT), EXC_NP, S_FREE);
	set_idt(0x20, make_gate(S_TSS, 0, A_TASK, 0)); /* busy */
	assert_raised(interrupt_enter(vm, 0x20, EVENT_SOFTWARE, false, 0, 0), EXC_GP, S_TSS);
	assert_raised(interrupt_enter(vm, 0x20, EVENT_EXTERNAL, false, 0, 0), EXC_GP, S_TSS | 1);
	set_idt(0x20, make_gate(0x0c, 0, A_TASK, 0)); /* LDT */
	assert_raised(interrupt_enter(vm, 0x20, EVENT_EXTERNAL, false, 0, 0), EXC_GP, 0x0d);
	cpu->eflags |= FL_NT; /* IRET to a task that is not busy */
	poke16(AT_TSS, S_TSS2);
	assert_raised(far_iret(vm, 4, NEXT), EXC_TS, S_TSS2);
	poke16(AT_TSS, 0);
	assert_raised(far_iret(vm, 4, NEXT), EXC_TS, 0);
	assert_false(busy(S_TSS2));
	assert_true(busy(S_TSS));
}

/* What is wrong with the new task's selectors is raised in the new task (table 7-1). */
static void selector_errors(void **state)
{
	static const struct {
		unsigned at;
		uint16_t sel;
		unsigned vector;
	} t[] = {
	    {0x60, K_DS, EXC_TS},	  /* LDT: not one */
	    {0x60, 0x0c, EXC_TS},	  /* LDT: local */
	    {0x4c, 0, EXC_TS},		  /* CS */
	    {0x4c, K_DS, EXC_TS},	  {0x4c, K_CS | 3, EXC_TS}, {0x4c, S_FREE, EXC_NP},
	    {0x50, 0, EXC_TS},		  /* SS */
	    {0x50, U_DS, EXC_TS},	  {0x50, K_DS | 1, EXC_TS}, {0x50, S_ABSENT, EXC_SS},
	    {0x54, S_ABSENT, EXC_NP},	  /* DS */
	    {0x58, S_TSS, EXC_TS},	  {0x5c, 0x104, EXC_TS},    {0x48, K_DS | 3, EXC_TS},
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(t); i++) {
		guest_teardown(NULL);
		guest_setup(NULL);
		make_task32();
		set_desc(S_FREE, make_desc(0, 0xfffff, A_CODE & 0x7f, 0xc));
		poke32(AT_TSS2 + t[i].at, t[i].sel);
		assert_int_equal(far_jmp(vm, S_TSS2, 0, NEXT), -EFAULT);
		assert_int_equal(cpu->exc_vector, t[i].vector);
		assert_int_equal(cpu->exc_error, t[i].sel & ~3);
		assert_int_equal(cpu->tr.sel, S_TSS2);
		assert_int_equal(cpu->eip, TASK_EIP);
		assert_true(busy(S_TSS2));
	}
}

static void start_errors(void **state)
{
	(void)state;
	make_task32();
	set_desc(S_FREE, make_desc(0, TASK_EIP - 1, A_CODE, 4));
	poke32(AT_TSS2 + 0x4c, S_FREE);
	assert_int_equal(far_jmp(vm, S_TSS2, 0, NEXT), -EFAULT);
	assert_int_equal(cpu->exc_vector, EXC_GP);
	assert_int_equal(cpu->exc_error, 0);
}

static void trap_bit(void **state)
{
	(void)state;
	make_task32();
	poke32(AT_TSS2 + 0x64, 1);
	assert_int_equal(far_jmp(vm, S_TSS2, 0, NEXT), -EFAULT);
	assert_int_equal(cpu->exc_vector, EXC_DB);
	assert_int_equal(cpu->dr[6], 1 << 15);
	assert_int_equal(exception_deliver(vm), 0);
	assert_int_equal(peek32(cpu->gpr[REG_SP]), TASK_EIP);
}

static void vm86_is_a_limit(void **state)
{
	(void)state;
	make_task32();
	poke32(AT_TSS2 + 0x24, FL_VM);
	assert_int_equal(far_jmp(vm, S_TSS2, 0, NEXT), -ECANCELED);
	assert_int_equal(cpu->tr.sel, S_TSS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    guest_test(jump),		guest_test(call_and_return), guest_test(gates),
	    guest_test(interrupt_with_error), guest_test(double_fault), guest_test(task_of_16_bits),
	    guest_test(tss_errors),	guest_test(selector_errors), guest_test(start_errors),
	    guest_test(trap_bit),	guest_test(vm86_is_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
