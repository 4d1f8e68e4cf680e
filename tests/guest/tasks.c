// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Hardware task switching: JMP, CALL, IRET with NT, task gates, and the double fault that needs one because the stack
 * is gone. SDM 3A chapter 7.
 */
#include "tests/guest/lib/guest.h"

enum { SEL_OTHER = GDT_FREE * 8, SEL_TASK_GATE = SEL_OTHER + 8, SEL_DF = SEL_OTHER + 16 };
static struct tss other, fault;
static uint8_t stack[4096], fault_stack[4096];
static volatile uint32_t counter;

static unsigned type(unsigned sel)
{
	return (uint32_t)(gdt[sel / 8] >> 40) & 0xf;
}

static uint16_t str(void)
{
	uint32_t sel;

	__asm__ volatile("str %0" : "=r"(sel));
	return (uint16_t)sel;
}

static void prepare(struct tss *t, uint32_t eip, void *top, unsigned sel)
{
	*t = (struct tss){.cr3 = read_cr3(), .eip = eip, .eflags = 2, .esp = (uint32_t)top, .cs = SEL_KCODE, .ss = SEL_KDATA,
			  .ds = SEL_UDATA, .es = SEL_UDATA, .ecx = 0x1234, .bitmap = sizeof(*t)};
	gdt[sel / 8] = descriptor((uint32_t)t, sizeof(*t) - 1, A_TSS, 0);
}

static void other_task(void)
{
	for (;;) {
		uint32_t flags = read_flags();

		counter++;
		print("task: tr %x link %x nt %u, types %x %x\n", str(), other.link, flags >> 14 & 1, type(SEL_TSS), type(SEL_OTHER));
		__asm__ volatile("iret"); /* NT: back to the link; resumes here */
	}
}

static void jumping_task(void)
{
	for (;;) {
		counter++;
		print("jumped: tr %x nt %u, types %x %x\n", str(), read_flags() >> 14 & 1, type(SEL_TSS), type(SEL_OTHER));
		__asm__ volatile("ljmp %0, $0" ::"i"(SEL_TSS));
	}
}

static void switches(void)
{
	tss.cr3 = read_cr3(); /* hardware reads it at the switch back, and writes none */
	prepare(&other, (uint32_t)other_task, stack + sizeof(stack), SEL_OTHER);
	__asm__ volatile("lcall %0, $0" ::"i"(SEL_OTHER) : "memory");
	print("called: tr %x nt %u ts %u, types %x %x\n", str(), read_flags() >> 14 & 1, read_cr0() >> 3 & 1, type(SEL_TSS), type(SEL_OTHER));
	__asm__ volatile("clts; lcall %0, $0" ::"i"(SEL_OTHER) : "memory");
	print("again: %u\n", counter);
	gdt[SEL_TASK_GATE / 8] = gate(0, SEL_OTHER, 0x85);
	__asm__ volatile("lcall %0, $0" ::"i"(SEL_TASK_GATE) : "memory");
	print("by gate: %u\n", counter);
	idt[0x50] = gate(0, SEL_OTHER, 0x85);
	__asm__ volatile("int $0x50" ::: "memory");
	print("by interrupt: %u\n", counter);
	prepare(&other, (uint32_t)jumping_task, stack + sizeof(stack), SEL_OTHER);
	__asm__ volatile("ljmp %0, $0" ::"i"(SEL_OTHER) : "memory");
	print("jumped back: %u ts %u, types %x %x\n", counter, read_cr0() >> 3 & 1, type(SEL_TSS), type(SEL_OTHER));
	__asm__ volatile("clts");
	PROBE("gp busy", "lcall %0, $0", "i"(SEL_TSS));
	gdt[SEL_OTHER / 8] &= ~(0x8000ull << 32);
	PROBE("np tss", "lcall %0, $0", "i"(SEL_OTHER));
	prepare(&other, (uint32_t)jumping_task, stack + sizeof(stack), SEL_OTHER);
	gdt[SEL_OTHER / 8] = descriptor((uint32_t)&other, 0x66, A_TSS, 0);
	PROBE("ts limit", "lcall %0, $0", "i"(SEL_OTHER));
	/* IRET with NT and a link that is no busy task */
	tss.link = SEL_KDATA;
	PROBE("~ts iret link", "pushf; orl $0x4000, (%%esp); popf; iret", "i"(0));
	__asm__ volatile("push $2; popf");
}

static void df_task(void)
{
	print("double fault: tr %x link %x error %x, esp %x, cr2 %x\n", str(), fault.link,
	      *(uint32_t *)(fault_stack + sizeof(fault_stack) - 4), tss.esp, read_cr2());
	guest_exit(0);
}

void guest_main(void)
{
	switches();
	prepare(&fault, (uint32_t)df_task, fault_stack + sizeof(fault_stack), SEL_DF);
	idt[8] = gate(0, SEL_DF, 0x85);
	print("stack goes\n");
	__asm__ volatile("mov $0x60000800, %esp; int $0x40");
	print("not reached\n");
}
