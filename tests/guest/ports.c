// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Port input and output by string: REP with counts, directions, address sizes, segments and faults in the middle. SDM 2A
 * INS, 2B OUTS. The port is the RTC's index register (0x70), which remembers what is written, and COM1's scratch
 * register (0x3ff), which gives it back.
 */
#include "tests/guest/lib/guest.h"

static uint8_t bytes[64];

static void show_bytes(const char *name, const uint8_t *from, unsigned n)
{
	print("%s:", name);
	for (unsigned i = 0; i < n; i++)
		print(" %x", from[i]);
	print("\n");
}

void guest_main(void)
{
	uint32_t ecx, edi, esi, t = page_alloc(), *table = at_phys(t);

	outb(0x3ff, 0x5a);
	print("scratch %x\n", inb(0x3ff));
	__asm__ volatile("cld; rep insb" : "=c"(ecx), "=D"(edi) : "0"(4), "1"(bytes), "d"(0x3ff) : "memory");
	print("insb ecx %x edi +%x\n", ecx, edi - (uint32_t)bytes);
	show_bytes("  ", bytes, 6);
	bytes[8] = 1, bytes[9] = 2, bytes[10] = 3;
	__asm__ volatile("rep outsb" : "=c"(ecx), "=S"(esi) : "0"(3), "1"(bytes + 8), "d"(0x3ff) : "memory");
	print("outsb ecx %x esi +%x scratch %x\n", ecx, esi - (uint32_t)bytes, inb(0x3ff));
	__asm__ volatile("std; rep outsb; cld" : "=c"(ecx), "=S"(esi) : "0"(3), "1"(bytes + 10), "d"(0x3ff) : "memory");
	print("outsb down esi +%x scratch %x\n", esi - (uint32_t)bytes, inb(0x3ff));
	__asm__ volatile("rep insb" : "=c"(ecx), "=D"(edi) : "0"(0), "1"(bytes), "d"(0x3ff) : "memory");
	print("none edi +%x\n", edi - (uint32_t)bytes);
	__asm__ volatile("insb" : "=D"(edi) : "0"(bytes + 20), "d"(0x3ff) : "memory");
	print("single edi +%x %x\n", edi - (uint32_t)bytes, bytes[20]);
	__asm__ volatile("repne insb" : "=c"(ecx), "=D"(edi) : "0"(2), "1"(bytes + 24), "d"(0x3ff) : "memory");
	print("repne ecx %x edi +%x %x\n", ecx, edi - (uint32_t)bytes, bytes[25]);

	/* a fault in the middle: what is done is done, ECX and EDI say where it stopped */
	kernel_directory[0x60000000 >> 22] = t | P | W | U;
	table[0] = page_alloc() | P | W | U;
	if (!catch()) {
		__asm__ volatile("movl $1f, probe_at; 1: rep insb" ::"c"(8), "D"(0x60000ffc), "d"(0x3ff) : "memory");
		catch_armed = 0;
	} else {
		show("insb over the end", true);
		print("  ecx %x edi %x\n", last.ecx, last.edi);
	}
	if (!catch()) {
		__asm__ volatile("movl $1f, probe_at; 1: rep outsb" ::"c"(8), "S"(0x60000ffc), "d"(0x3ff) : "memory");
		catch_armed = 0;
	} else {
		show("outsb over the end", true);
		print("  ecx %x esi %x\n", last.ecx, last.esi);
	}
	table[0] &= ~W;
	invlpg(0x60000000);
	outb(0x3ff, 0x77);
	if (!catch()) {
		__asm__ volatile("movl $1f, probe_at; 1: insb" ::"D"(0x60000000), "d"(0x3ff) : "memory");
		catch_armed = 0;
	} else {
		show("insb read-only", true);
	}
	/* word and dword access, immediate and register forms */
	__asm__ volatile("outb %b0, $0x80" ::"a"(1));
	__asm__ volatile("outw %w0, $0x80" ::"a"(1));
	__asm__ volatile("outl %0, $0x80" ::"a"(1));
	__asm__ volatile("mov $0x12345678, %%eax; inb %%dx, %%al; mov %%eax, %0" : "=c"(ecx) : "d"(0x3ff) : "eax");
	print("in al keeps the rest: %x\n", ecx);
	__asm__ volatile("mov $0x12345678, %%eax; inb $0x61, %%al; xor %%al, %%al; mov %%eax, %0" : "=c"(ecx)::"eax");
	print("in imm: %x\n", ecx);
	/* in ring 3 with the bitmap open for 0x80 to 0x87 alone */
	tss.bits[0x80 / 8] = 0;
	USER("user outb", "outb %al, $0x80");
	USER("user outl", "outl %eax, $0x84");
	USER("user outl over", "outl %eax, $0x85");
	USER("user outsb", "mov $0x40001000, %esi; mov $3, %ecx; mov $0x80, %edx; rep outsb; int $0x80");
	print("  ecx %x esi %x\n", last.ecx, last.esi);
	USER("user insb from another port", "mov $0x40001000, %edi; mov $3, %ecx; mov $0x3ff, %edx; rep insb");
	print("  ecx %x\n", last.ecx);
}
