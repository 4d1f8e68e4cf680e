// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * More mappings than the host allows a process (vm.max_map_count, 65530 as it comes): every second page shows another
 * frame, so that no two can be merged. Nothing may be lost, nothing stale remain.
 */
#include "tests/guest/lib/guest.h"

#define BASE 0x50000000u
#define PAGES 80000u

static uint32_t frame[2], tables[PAGES / 1024 + 1];

static uint32_t page_at(unsigned i)
{
	return BASE + i * 4096;
}

static uint32_t *entry(unsigned i)
{
	return (uint32_t *)at_phys(tables[i / 1024]) + i % 1024;
}

static unsigned wrong(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PAGES; i++)
		n += peek(page_at(i)) != (*entry(i) & ~0xfffu);
	return n;
}

void guest_main(void)
{
	for (unsigned i = 0; i < 2; i++) {
		frame[i] = page_alloc();
		*(uint32_t *)at_phys(frame[i]) = frame[i];
	}
	for (unsigned i = 0; i <= PAGES / 1024; i++) {
		tables[i] = page_alloc();
		kernel_directory[(BASE >> 22) + i] = tables[i] | P | W;
	}
	for (unsigned i = 0; i < PAGES; i++)
		*entry(i) = frame[i & 1] | P | W | A | D;
	print("first: %u wrong\n", wrong());
	print("again: %u wrong\n", wrong());
	/* each page exchanged with its neighbour, one INVLPG each */
	for (unsigned i = 0; i < PAGES; i++) {
		*entry(i) = frame[~i & 1] | P | W | A | D;
		invlpg(page_at(i));
	}
	print("exchanged: %u wrong\n", wrong());
	for (unsigned i = 0; i < PAGES; i += 2)
		*entry(i) = frame[0] | P | W | A | D;
	write_cr3(read_cr3());
	print("all one: %u wrong\n", wrong());
	*entry(PAGES / 2) = 0; /* out of the middle of a large mapping, when the limit is reached again */
	invlpg(page_at(PAGES / 2));
	PROBE("hole", "mov %c0, %%eax", "i"(BASE + PAGES / 2 * 4096));
}
