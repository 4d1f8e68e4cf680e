// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The 8254 through the 8259: periodic interrupts wake HLT and break loops, at a plausible rate against RDTSC; masks,
 * priorities, a spurious interrupt. 8254 and 8259A data sheets. Nothing printed depends on how fast the host is.
 */
#include "tests/guest/lib/guest.h"

static volatile uint32_t ticks, spurious, order[4], n_order;

static void tick(struct frame *f)
{
	(void)f;
	ticks++;
	outb(0x20, 0x20);
}

static void count_order(struct frame *f)
{
	order[n_order++ & 3] = f->vector;
	outb(0x21, 0xff);
	outb(0x20, 0x20);
}

static uint64_t tsc_for(unsigned n)
{
	uint32_t start = ticks;
	uint64_t t0;

	while (ticks == start)
		__asm__ volatile("sti; hlt; cli");
	t0 = rdtsc();
	start = ticks;
	while (ticks - start < n)
		__asm__ volatile("sti; hlt; cli");
	return rdtsc() - t0;
}

static bool about(uint64_t a, uint64_t b) /* a host under load may be late, never early by much */
{
	uint32_t x = (uint32_t)(a >> 16), y = (uint32_t)(b >> 16);

	return x / 4 < y && y / 4 < x;
}

void guest_main(void)
{
	uint64_t slow, fast;
	uint32_t seen, loops;

	trap_hook[0x20] = tick;
	pic_init(1);
	pit_start(100);
	slow = tsc_for(10);
	print("ten ticks of 10 ms\n");
	pit_start(1000);
	fast = tsc_for(100);
	print("a hundred ticks of 1 ms take as long: %u\n", about(slow, fast));

	/* ring 0 and ring 3 code that never leaves by itself is interrupted */
	seen = ticks;
	__asm__ volatile("sti");
	for (loops = 0; ticks - seen < 3; loops++)
		__asm__ volatile("" ::: "memory");
	__asm__ volatile("cli");
	print("loop interrupted\n");
	seen = ticks;
	for (loops = 0; loops < 100000; loops++)
		__asm__ volatile("nop");
	print("none with if clear: %u\n", ticks - seen);

	/* masked: stays pending, comes when opened */
	outb(0x21, 0xff);
	__asm__ volatile("sti; nop; nop; cli");
	seen = ticks;
	__asm__ volatile("sti; nop; nop; cli");
	print("masked: %u\n", ticks - seen);
	outb(0x43, 0x30); /* stops until the count is there */
	pic_init(0);	  /* forgets what was latched before */
	outb(0x40, 50);
	outb(0x40, 0);
	do
		outb(0x20, 0x0a);
	while (!(inb(0x20) & 1));
	outb(0x21, 0xfe);
	__asm__ volatile("sti; nop; nop; cli");
	if (!on_tcg) /* which on a loaded host was seen to count two */
		print("~opened: %u\n", ticks - seen);

	/* two pending: the lower irq first. IRQ 4 is COM1's, raised by its transmitter. */
	outb(0x43, 0x30);
	pic_init(0x11);
	trap_hook[0x20] = trap_hook[0x24] = count_order;
	outb(0x3fc, 0x0b);
	outb(0x3f9, 2);
	outb(0x40, 50);
	outb(0x40, 0);
	do
		outb(0x20, 0x0a);
	while ((inb(0x20) & 0x11) != 0x11);
	__asm__ volatile("sti; nop; nop; cli");
	outb(0x21, 0xef);
	__asm__ volatile("sti; nop; nop; cli");
	outb(0x3f9, 0);
	outb(0x3fc, 0x08);
	print("order %x %x, %u\n", order[0], order[1], n_order);

	/* the counter runs */
	outb(0x43, 0x34);
	outb(0x40, 0);
	outb(0x40, 0);
	outb(0x43, 0);
	seen = inb(0x40);
	seen |= (uint32_t)inb(0x40) << 8;
	loops = 0;
	for (;;) {
		uint32_t now;

		outb(0x43, 0);
		now = inb(0x40);
		now |= (uint32_t)inb(0x40) << 8;
		if (now != seen || ++loops > 100000)
			break;
	}
	print("counting: %u\n", loops <= 100000);
}
