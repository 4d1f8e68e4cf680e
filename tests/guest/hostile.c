// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Kernels that end badly, one a word of the command line: each must end the run, or be ended from outside, with the
 * status that guests.txt says, and never take the monitor along. QEMU is not asked where its exit tells nothing.
 */
#include "tests/guest/lib/guest.h"

static void nonsense(void)
{
	PROBE("jump to 0x50000000", "movl $0x50000000, probe_at; mov $0x50000000, %%eax; jmp *%%eax", "i"(0));
	PROBE("jump far up", "movl $0xf7fffff0, probe_at; mov $0xf7fffff0, %%eax; jmp *%%eax", "i"(0));
	PROBE("ret to 0x50000000", "movl $0x50000000, probe_at; push $0x50000000; ret", "i"(0));
	PROBE("call through nothing", "call *0x50000000", "i"(0));
	kernel_directory[0] = 0;
	write_cr3(read_cr3());
	PROBE("jump to 0", "movl $0, probe_at; xor %%eax, %%eax; jmp *%%eax", "i"(0));
	PROBE("read 0", "mov 0, %%eax", "i"(0));
	PROBE("cr3 in absent memory, back", "mov %%cr3, %%eax; mov %%eax, %%cr3", "i"(0));
}

static void idt_overrun(void)
{
	PROBE("int 0x80", "int $0x80", "i"(0));
	idt_load(idt, 0x80 * 8 + 6); /* one byte short */
	PROBE("int 0x80, a byte short", "int $0x80", "i"(0));
	idt_load(idt, 14 * 8 - 1);
	PROBE("page fault beyond the limit", "mov 0x50000000, %%eax", "i"(0)); /* #PF, #GP: double fault */
	idt[14] &= ~(0x8000ull << 32);
	idt_load(idt, sizeof(idt) - 1);
	PROBE("page fault not present", "mov 0x50000000, %%eax", "i"(0));
	idt[14] = gate(0x50000000, SEL_KCODE, 0x8e);
	PROBE("divide beside it", "xor %%ecx, %%ecx; div %%ecx", "i"(0));
	idt[0] = gate((uint32_t)trap_entries[0], 0x1f8, 0x8e);
	PROBE("divide by a bad selector", "xor %%ecx, %%ecx; div %%ecx", "i"(0)); /* #DE, #GP: double fault */
	idt[6] = gate((uint32_t)trap_entries[6], 0x1f8, 0x8e);
	PROBE_DATA("~ud by a bad selector", "ud2"); /* benign, then #GP: served one after the other */
}

/* Exceptions in the handler of exceptions, thousands of them. */
static volatile uint32_t deep;
static void again(struct frame *f)
{
	f->eip += 2;
	if (++deep % 50)
		__asm__ volatile(".pushsection .data; 663: ud2; ret; .popsection; call 663b" ::: "memory");
}

static void storm(void)
{
	static unsigned i;

	trap_hook[6] = again;
	for (i = 0; i < 20; i++)
		PROBE_DATA("storm", "ud2");
	trap_hook[6] = NULL;
	print("deep %u\n", deep);
}

static void loop_in_user(void)
{
	user_flags = 2;
	USER("loop", "1: jmp 1b");
}

static void return_to_it(struct frame *f)
{
	(void)f;
}

void guest_main(void)
{
	static uint64_t empty[1];

	if (guest_asked("triple")) {
		print("an idt of zeroes\n");
		idt_load(empty, 7);
		__asm__ volatile("int3");
	} else if (guest_asked("no-idt")) {
		print("no idt\n");
		idt_load((uint64_t *)0x50000000, 0x7ff);
		__asm__ volatile("mov 0x50000000, %eax");
	} else if (guest_asked("stack")) {
		print("no stack, no task gate\n");
		__asm__ volatile("mov $0x50000000, %esp; push %eax");
	} else if (guest_asked("idt-overrun")) {
		idt_overrun();
	} else if (guest_asked("nonsense")) {
		nonsense();
	} else if (guest_asked("storm")) {
		storm();
	} else if (guest_asked("halt")) {
		print("halt\n");
		__asm__ volatile("cli; hlt");
	} else if (guest_asked("reset")) {
		print("reset\n");
		outb(0x64, 0xfe);
	} else if (guest_asked("exit")) {
		print("exit 7\n");
		guest_exit(7);
	} else if (guest_asked("loop")) {
		print("loop\n");
		for (;;)
			__asm__ volatile("cli");
	} else if (guest_asked("loop-user")) {
		print("loop\n");
		loop_in_user();
	} else if (guest_asked("faults")) {
		print("faults\n");
		trap_hook[14] = return_to_it;
		__asm__ volatile("mov 0x50000000, %eax");
	} else if (guest_asked("hole")) {
		print("hole\n");
		PROBE("jump to the guard", "movl $0xff000000, probe_at; mov $0xff000000, %%eax; jmp *%%eax", "i"(0));
	}
}
