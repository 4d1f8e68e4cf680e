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

/*
 * As kernels reach memory that they have no mapping of: a page is mapped for the moment, written and read in several ways,
 * and taken away. The same instructions meet pages that stay.
 */
static unsigned for_the_moment(void)
{
	uint32_t frames[8], at = page_at(1), stays = page_alloc(), n = 0;

	for (unsigned i = 0; i < 8; i++)
		frames[i] = page_alloc();
	for (unsigned i = 0; i < 400; i++) {
		uint32_t to = i % 5 == 4 ? (uint32_t)at_phys(stays) : at, words = 1023, from = to, sum = 0;
		uint32_t *shown = i % 5 == 4 ? at_phys(stays) : at_phys(frames[i % 8]);

		*entry(1) = frames[i % 8] | P | W | A | D;
		invlpg(at);
		__asm__ volatile("movl %2, (%0); addl $4, %0; rep stosl"
				 : "+D"(to), "+c"(words)
				 : "r"(i), "a"(i * 3)
				 : "memory");
		__asm__ volatile("incl 8(%0); addl 4(%0), %1; xchgl %1, 12(%0); movzbl (%0), %1" : "+r"(from), "+r"(sum) : : "memory");
		*entry(1) = 0;
		invlpg(at);
		n += shown[0] != i || shown[1] != i * 3 || shown[2] != i * 3 + 1 || shown[3] != i * 3 || shown[1023] != i * 3 ||
		     sum != (i & 0xff);
	}
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
	print("for the moment: %u wrong\n", for_the_moment());
	PROBE("gone", "mov %c0, %%eax", "i"(BASE + 4096));
}
