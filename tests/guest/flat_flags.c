// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Ring 0 on pages that ring 3 could use as well: with paging off (where there are no rights at all), and with a
 * kernel that maps everything for all. Instructions that do not trap must mean what they mean in ring 0 there too.
 */
#include "tests/guest/lib/guest.h"

static uint32_t directory[1024] __attribute__((aligned(4096)));

static void flags(const char *when)
{
	uint32_t off, on, sel;

	__asm__ volatile("cli; pushf; pop %0; sti; pushf; pop %1; cli" : "=r"(off), "=r"(on));
	__asm__ volatile("mov %%cs, %0" : "=r"(sel));
	print("%s: if %u %u cs %x\n", when, off >> 9 & 1, on >> 9 & 1, sel);
}

void guest_main(void)
{
	flags("paging off");
	for (uint32_t i = 0; i < 16; i++)
		directory[i] = i << 22 | PS | P | W | U;
	write_cr4(read_cr4() | 0x10);
	write_cr3((uint32_t)directory);
	write_cr0(read_cr0() | 0x80000000);
	flags("user pages");
}
