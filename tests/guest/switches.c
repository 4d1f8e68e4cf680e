// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Loads of CR3 by the million, for tests/guest/test_leaks.sh, which looks at the monitor's processes between orders. An
 * order is a number in decimal on COM1: that many loads, then a line with those after which memory was not what it has
 * to be. 0 ends the run.
 *
 * Most loads go round four address spaces, as a busy guest's do; each sixteenth goes to one of 32, which are more than
 * there are workers; each 4,096th is to one that was given other memory.
 */
#include "tests/guest/lib/guest.h"

enum { SPACES = 32, BUSY = 4, PRIVATE = 0x50000000, FRAMES = RAM_FREE + 0x400000, MARK = 0x5a000000 };
static struct {
	uint32_t root, frame, *table;
} space[SPACES];

/* Two frames a space, for it to change between. */
static void give(unsigned i, unsigned which)
{
	space[i].frame = FRAMES + (2 * i + which) * 4096;
	space[i].table[0] = space[i].frame | P | W | U;
	poke((uint32_t)at_phys(space[i].frame), MARK + 2 * i + which);
}

static void new_space(unsigned i)
{
	uint32_t directory = page_alloc(), table = page_alloc();

	space[i].root = directory;
	space[i].table = at_phys(table);
	for (unsigned n = 0; n < 1024; n++)
		((uint32_t *)at_phys(directory))[n] = kernel_directory[n];
	((uint32_t *)at_phys(directory))[PRIVATE >> 22] = table | P | W | U;
	give(i, 0);
}

static uint32_t next_random(void)
{
	static uint32_t state = 1;

	state = state * 1664525 + 1013904223;
	return state >> 16;
}

static uint32_t order(void)
{
	uint32_t n = 0;
	uint8_t c;

	for (;;) {
		while (!(inb(0x3fd) & 1))
			;
		c = inb(0x3f8);
		if (c < '0' || c > '9')
			return n;
		n = n * 10 + c - '0';
	}
}

void guest_main(void)
{
	uint32_t wrong, i, n, to;

	for (i = 0; i < SPACES; i++)
		new_space(i);
	outb(0x3fc, 2); /* MCR: RTS, without which nobody sends */
	print("ready\n");
	while ((n = order())) {
		wrong = 0;
		for (i = 0; i < n; i++) {
			to = i % 16 ? i % BUSY : next_random() % SPACES;
			if (i % 4096 == 4095)
				give(to, next_random() & 1);
			write_cr3(space[to].root);
			wrong += peek(PRIVATE) != MARK + (space[to].frame - FRAMES) / 4096;
		}
		print("loaded CR3 %u times, %u wrong\n", n, wrong);
	}
}
