// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * More code than a translator's cache has room for, by each measure that it may run out of: blocks, sensitive
 * instructions, instructions, bytes, pages. It counts what it executes, in ring 0 and in ring 3, and comes back from calls
 * made long before; the timer interrupts it all the time. What the x87 remembers of an instruction outlives its block.
 * (TCG takes minutes for it, and what comes out is a matter of counting.)
 */
#include "tests/guest/lib/guest.h"

enum { AREA = 0x70000000, AREA_SIZE = 0x400000, PAGES = 0x80000000, N_PAGES = 17000 };
static uint8_t *area, *at;
static volatile uint32_t ticks;

static void tick(struct frame *f)
{
	(void)f;
	ticks++;
	outb(0x20, 0x20);
}

static void put(uint32_t value, unsigned size)
{
	for (; size--; value >>= 8)
		*at++ = (uint8_t)value;
}

/*
 * From `from` on, and in ring 0 from `kernel_from`: what ring 3 ends with, or ring 0 returns by. EAX and the memory at
 * USER_BASE count. Ring 0 has its own addresses: a page that ring 3 executes directly is executable to it as well, and
 * then nothing is translated.
 */
static void run(const char *name, uint32_t kernel_from, uint32_t from, uint32_t turns)
{
	uint32_t start = USER_BASE + 0x1000, frame[5] = {start, SEL_UCODE, 0x202, USER_STACK, SEL_UDATA};
	uint32_t *counter = user_memory(USER_BASE), before = ticks;

	for (unsigned ring = 0; ring <= 3; ring += 3) {
		at = user_memory(start);
		put(0xc031,
		    2); /* xor %eax, %eax; mov $turns, %edi; mov $from, %edx; 1: call *%edx; dec %edi; jnz 1b; int $0x80 */
		put(0xbf, 1);
		put(turns, 4);
		put(0xba, 1);
		put(ring ? from : kernel_from, 4);
		put(0x754fd2ff, 4);
		put(0xfb, 1);
		put(0x80cd, 2);
		*counter = 0;
		if (!catch ()) {
			if (ring)
				enter(frame);
			__asm__ volatile("sti; jmp *%0" ::"r"(user_memory(start)) : "memory");
		}
		print("%s, ring %u: #%u eax %x counter %x\n", name, ring, last.vector, last.eax, *counter);
	}
	print("  %s\n", ticks != before ? "interrupted" : "never interrupted");
}

/* The area full of one piece of code; a call back to its first function now and then; return at the end. */
static void fill(const uint8_t *piece, unsigned size, unsigned n)
{
	at = area;
	put(0xc340, 2); /* inc %eax; ret */
	while (n--) {
		for (unsigned i = 0; i < size; i++)
			*at++ = piece[i];
		if (n % 10000 == 0) {
			put(0xe8, 1);
			put((uint32_t)(area - (at + 4)), 4);
		}
	}
	put(0xc3, 1);
	if (at > area + AREA_SIZE)
		guest_exit(1);
}

#define FILL(name, n, ...)                                                                                   \
	do {                                                                                                 \
		static const uint8_t piece[] = {__VA_ARGS__};                                                \
		fill(piece, sizeof(piece), n);                                                               \
		run(name, (uint32_t)area + 2, AREA + 2, 1);                                                  \
	} while (0)

/* One frame at many addresses. */
static void pages(void)
{
	uint32_t t = page_alloc(), frame;

	for (unsigned i = 1; i < (N_PAGES + 1023) / 1024; i++)
		page_alloc();
	frame = page_alloc();
	for (unsigned i = 0; i < N_PAGES; i++)
		((uint32_t *)at_phys(t))[i] = frame | P | W | U;
	for (unsigned i = 0; i < (N_PAGES + 1023) / 1024; i++)
		kernel_directory[(PAGES >> 22) + i] = (t + i * 4096) | P | W | U;
	at = at_phys(frame);
	put(0x40, 1); /* inc %eax; lea 4096(%edx), %edx; ret */
	put(0x928d, 2);
	put(4096, 4);
	put(0xc3, 1);
	run("pages", PAGES, PAGES, N_PAGES);
}

/* An x87 exception stays pending, so every processor keeps the pointer. */
static uint32_t divide_by_zero(void)
{
	static const uint16_t unmasked = 0x37b;
	uint32_t at;

	write_cr0((read_cr0() | 0x22) & ~0xcu); /* NE, MP; not EM, TS */
	__asm__ volatile("fninit; fldcw %1; fld1; fldz; 1: fdivrp %%st, %%st(1); movl $1b, %0" : "=m"(at) : "m"(unmasked));
	return at;
}

static uint32_t x87_pointer(void)
{
	uint32_t environment[7];

	__asm__ volatile("fnstenv %0; fninit" : "=m"(environment));
	return environment[3];
}

void guest_main(void)
{
	uint32_t at;

	kernel_directory[AREA >> 22] = 0x01800000 | PS | P | W | U;
	area = at_phys(0x01800000);
	trap_hook[0x20] = tick;
	pic_init(1);
	pit_start(500);
	at = divide_by_zero();
	FILL("blocks", 135000, 0x40, 0xeb, 0x00);		    /* inc %eax; jmp . + 2 */
	FILL("sensitive", 70000, 0x9c, 0x59, 0x40);		    /* pushf; pop %ecx; inc %eax */
	FILL("instructions", 2200000, 0x40);			    /* inc %eax */
	FILL("memory", 200000, 0xff, 0x05, 0x00, 0x00, 0x00, 0x40); /* incl USER_BASE */
	FILL("calls", 50000, 0xe8, 2, 0, 0, 0, 0xeb, 0x02, 0x40,
	     0xc3); /* call 1f; jmp 2f; 1: inc %eax; ret; 2: */
	pages();
	outb(0x21, 0xff);
	print("the last x87 instruction: %s\n", x87_pointer() == at ? "where it is" : "elsewhere");
}
