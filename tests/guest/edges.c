// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Ring 3 where the monitor cannot run it directly: instructions that reach into a page which holds SYSCALL, operands
 * on page 0, which no host maps, and across its end. And input whose destination faults: the device must keep its byte. And
 * far transfers to the monitor's doors, which are no segments of this guest.
 */
#include "tests/guest/lib/guest.h"

static void reach(void)
{
	/* mov $0x44332211, %eax across the boundary; int $0x80; SYSCALL on the second page alone */
	static const uint8_t code[] = {0xb8, 0x11, 0x22, 0x33, 0x44, 0xcd, 0x80, 0x0f, 0x05};
	uint8_t *to = user_memory(USER_BASE + 0xffe);

	for (unsigned i = 0; i < sizeof(code); i++)
		to[i] = code[i];
	USER("reach into a page with syscall", "mov $0x40000ffe, %ecx; jmp *%ecx");
	print("eax %x\n", last.eax);
}

static void page0(void)
{
	poke((uint32_t)at_phys(0x20), 0x11);
	kernel_directory[0] |= U;
	write_cr3(read_cr3());
	USER("page 0", "mov $5, %ecx; add %ecx, 0x20; mov 0x20, %eax; mov %eax, 0x40020000; mov 0x40020000, %ebx");
	print("eax %x ebx %x ds %x\n", last.eax, last.ebx, last.ds);
	poke((uint32_t)at_phys(0xffe), 0x00ffffff);
	USER("page 0 to 1", "incl 0xffe; mov 0xffe, %eax");
	print("eax %x memory %x\n", last.eax, peek((uint32_t)at_phys(0xffe)));
	USER("page 0 string", "mov $0xff8, %edi; mov $4, %ecx; mov $0x55aa55aa, %eax; rep stosl; mov 0x1004, %ebx");
	print("edi %x ecx %x ebx %x\n", last.edi, last.ecx, last.ebx);
	kernel_directory[0] &= ~(uint32_t)U;
	write_cr3(read_cr3());
	USER("page 0 again the kernel's", "mov 0x20, %eax");
}

static void input(void)
{
	outb(0x61, inb(0x61) & ~3); /* channel 2's gate off: its count stands still */
	outb(0x43, 0xb0);
	outb(0x42, 0x34);
	outb(0x42, 0x12);
	outb(0x43, 0x80); /* latch */
	kernel_directory[0x70000000 >> 22] = PS | P;
	PROBE("insb to read-only", "push %%edi; mov $0x70000000, %%edi; mov $0x42, %%edx; insb; pop %%edi", "i"(0));
	print("count %x", inb(0x42));
	print("%02x\n", inb(0x42));
}

static void gates(void)
{
	USER("far call to the gate", "lcall $0x33, $0xf8001080");
	USER("far jump to the gate", "ljmp $0x33, $0xf8001000");
}

void guest_main(void)
{
	gates();
	input();
	reach();
	page0();
}
