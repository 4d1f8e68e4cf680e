// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Two-level paging with 4 MiB pages: accessed and dirty bits, write protection, what needs a flush and what INVLPG,
 * CR3 and CR4.PGE flush, page-table pages that are freed, reused and shared. SDM 3A 4.3, 4.8, 4.10.
 *
 * Nothing here depends on a stale translation being kept: hardware may drop one at any time.
 */
#include "tests/guest/lib/guest.h"

enum { BASE = 0x60000000, FRAME = RAM_FREE + 0x400000 };
static uint32_t *table;

static uint32_t *pte(unsigned i)
{
	return &table[i];
}

static uint32_t page_of(unsigned i)
{
	return BASE + i * 4096;
}

static uint32_t frame_of(unsigned i)
{
	return FRAME + i * 4096;
}

static void map(unsigned i, uint32_t bits)
{
	*pte(i) = frame_of(i) | bits;
	invlpg(page_of(i));
}

static void bits(const char *name, unsigned i)
{
	print("  %s: pte %c%c%c%c\n", name, *pte(i) & P ? 'P' : '-', *pte(i) & W ? 'W' : '-', *pte(i) & A ? 'A' : '-',
	      *pte(i) & D ? 'D' : '-');
}

static void accessed_dirty(void)
{
	uint32_t *pde = &kernel_directory[BASE >> 22];

	print("pde %s\n", *pde & A ? "A" : "-");
	map(0, P | W);
	bits("fresh", 0);
	peek(page_of(0));
	bits("read", 0);
	print("pde %s\n", *pde & A ? "A" : "-");
	poke(page_of(0), 1);
	bits("written", 0);
	*pte(0) &= ~D;
	invlpg(page_of(0));
	peek(page_of(0));
	bits("dirty dropped, read", 0);
	poke(page_of(0), 2);
	bits("written again", 0);
	*pte(0) &= ~(A | D);
	invlpg(page_of(0));
	bits("both dropped", 0);
	poke(page_of(0), 3);
	bits("written", 0);
	*pte(0) &= ~A;
	write_cr3(read_cr3());
	peek(page_of(0));
	bits("accessed dropped, cr3, read", 0);
	map(1, P | W);
	PROBE("xchg", "xchg %%eax, %c0", "i"(BASE + 4096));
	bits("xchg", 1);
	map(2, P | W);
	__asm__ volatile("cmpxchg %%ecx, %c0" ::"i"(BASE + 2 * 4096), "a"(12345), "c"(1) : "memory", "cc");
	bits("cmpxchg that fails", 2);
	map(3, P);
	PROBE("write read-only", "movl $1, %c0", "i"(BASE + 3 * 4096));
	bits("write read-only", 3);
	map(4, P | W);
	map(5, P | W);
	poke(page_of(4) + 0xffe, 0x12345678);
	bits("straddling write", 4);
	bits("straddling write", 5);
	print("  %x %x\n", peek(page_of(4) + 0xffc), peek(page_of(5)));
	map(6, P | W);
	*pte(7) = 0;
	invlpg(page_of(7));
	PROBE("straddle into nothing", "movl $-1, %c0", "i"(BASE + 6 * 4096 + 0xffe));
	print("  first page %x\n", peek(page_of(6) + 0xffc));
	print("stack walk: ");
	map(8, P | W);
	__asm__ volatile("mov %%esp, %%ecx; mov %0, %%esp; push $0x77; mov %%ecx, %%esp" ::"i"(BASE + 9 * 4096) : "ecx", "memory");
	bits("push", 8);
}

static void write_protect(void)
{
	map(10, P);
	poke((uint32_t)at_phys(frame_of(10)), 0x10101010);
	PROBE("wp=1", "movl $1, %c0", "i"(BASE + 10 * 4096));
	write_cr0(read_cr0() & ~0x10000u);
	PROBE("wp=0", "movl $2, %c0", "i"(BASE + 10 * 4096));
	bits("wp=0", 10);
	print("  %x\n", peek((uint32_t)at_phys(frame_of(10))));
	write_cr0(read_cr0() | 0x10000);
	PROBE("wp=1 again", "movl $3, %c0", "i"(BASE + 10 * 4096));
	PROBE("wp=1 read", "movl %c0, %%eax", "i"(BASE + 10 * 4096));
	print("  %x\n", peek(page_of(10)));
}

static void remap(void)
{
	for (unsigned i = 0; i < 4; i++)
		poke((uint32_t)at_phys(frame_of(20 + i)), 0x20 + i);
	map(20, P | W);
	print("remap: %x", peek(page_of(20)));
	*pte(20) = frame_of(21) | P | W;
	invlpg(page_of(20));
	print(" %x", peek(page_of(20)));
	*pte(20) = frame_of(22) | P | W;
	write_cr3(read_cr3());
	print(" %x", peek(page_of(20)));
	*pte(20) = 0;
	invlpg(page_of(20));
	PROBE("unmapped", "movl %c0, %%eax", "i"(BASE + 20 * 4096));
	/* not present to present needs no flush */
	*pte(20) = frame_of(23) | P | W;
	print(" %x\n", peek(page_of(20)));
	/* more rights need no flush: the fault drops the stale entry */
	map(21, P);
	peek(page_of(21));
	*pte(21) |= W;
	PROBE("upgrade without a flush", "movl $0x99, %c0", "i"(BASE + 21 * 4096));
	print("  %x\n", peek((uint32_t)at_phys(frame_of(21))));
	/* fewer rights: after the flush only */
	*pte(21) &= ~W;
	invlpg(page_of(21));
	PROBE("downgraded", "movl $0x98, %c0", "i"(BASE + 21 * 4096));
}

static void globals(void)
{
	write_cr4(read_cr4() | 0x80); /* PGE */
	map(30, P | W | G);
	poke(page_of(30), 0x30);
	*pte(30) = 0;
	invlpg(page_of(30));
	PROBE("global, invlpg", "movl %c0, %%eax", "i"(BASE + 30 * 4096));
	map(30, P | W | G);
	print("global %x\n", peek(page_of(30)));
	*pte(30) = 0;
	write_cr4(read_cr4() & ~0x80u);
	PROBE("global, pge off", "movl %c0, %%eax", "i"(BASE + 30 * 4096));
	write_cr4(read_cr4() | 0x80);
	map(30, P | W | G);
	print("global %x\n", peek(page_of(30)));
	write_cr4(read_cr4() & ~0x80u);
	*pte(30) = 0;
	write_cr3(read_cr3());
	PROBE("G without pge, cr3", "movl %c0, %%eax", "i"(BASE + 30 * 4096));
}

/* A page-table page is freed, used as data, and another takes its place. */
static void table_reuse(void)
{
	uint32_t *pde = &kernel_directory[0x61000000 >> 22];
	uint32_t first = page_alloc(), second = page_alloc();
	uint32_t *t1 = at_phys(first), *t2 = at_phys(second);

	for (unsigned i = 0; i < 16; i++) {
		t1[i] = frame_of(40 + i) | P | W;
		t2[i] = frame_of(60 + i) | P | W;
		poke((uint32_t)at_phys(frame_of(40 + i)), 0x4000 + i);
		poke((uint32_t)at_phys(frame_of(60 + i)), 0x6000 + i);
	}
	*pde = first | P | W;
	print("first %x %x\n", peek(0x61000000), peek(0x6100f000));
	*pde = second | P | W;
	write_cr3(read_cr3());
	print("second %x %x\n", peek(0x61000000), peek(0x6100f000));
	for (unsigned i = 0; i < 1024; i++)
		t1[i] = 0xffffffff; /* data now */
	print("still %x\n", peek(0x61001000));
	*pde = 0;
	write_cr3(read_cr3());
	PROBE("pde gone", "movl 0x61001000, %%eax", "i"(0));
	*pde = second | P; /* read-only by the directory */
	PROBE("pde read-only", "movl $1, 0x61001000", "i"(0));
	print("  %x\n", peek(0x61001000));
	*pde = second | P | W;
	/* the same table at two places */
	kernel_directory[0x61400000 >> 22] = second | P | W;
	poke(0x61003000, 0xabcd);
	print("shared table %x\n", peek(0x61403000));
	t2[3] = frame_of(62) | P | W;
	invlpg(0x61003000);
	invlpg(0x61403000);
	print("changed for both %x %x\n", peek(0x61003000), peek(0x61403000));
	/* the table maps itself */
	t2[100] = second | P | W;
	poke(0x61064000 + 4 * 4, frame_of(65) | P | W);
	invlpg(0x61004000);
	print("by itself %x\n", peek(0x61004000));
}

static void large(void)
{
	uint32_t *pde = &kernel_directory[0x62000000 >> 22];

	poke((uint32_t)at_phys(0x01000000), 0x1111);
	poke((uint32_t)at_phys(0x01400000), 0x2222);
	*pde = 0x01000000 | P | W | PS;
	print("large %x pde %x\n", peek(0x62000000), *pde & 0xfff);
	poke(0x62001234, 1);
	print("written %x\n", *pde & 0xfff);
	*pde &= ~D;
	invlpg(0x62300000); /* any address of the page will do */
	poke(0x62000004, 1);
	print("dirty dropped and written %x\n", *pde & 0xfff);
	*pde = 0x01400000 | P | W | PS;
	invlpg(0x62012345);
	print("large moved %x\n", peek(0x62000000));
	*pde = 0x01400000 | P | PS;
	invlpg(0x62000000);
	PROBE("large read-only", "movl $1, 0x62000010", "i"(0));
	*pde = ((uint32_t)table - GUEST_OFFSET) | P | W; /* large to small */
	invlpg(0x62000000);
	map(0, P | W);
	poke(page_of(0), 0x5a5a);
	print("small now %x\n", peek(0x62000000));
	*pde = 0x01000000 | P | W | PS;
	invlpg(0x62000000);
	print("large again %x\n", peek(0x62000000));
	*pde = 0x01000000 | P | W | PS | 0x200000; /* a reserved bit (SDM 3A table 4-4) */
	write_cr3(read_cr3());
	PROBE("~reserved bit", "movl 0x62000000, %%eax", "i"(0));
	*pde = 0;
	write_cr3(read_cr3());
}

/* User and supervisor rights come from both levels. */
static void rights(void)
{
	uint32_t *pde = &kernel_directory[BASE >> 22];

	map(50, P | W);
	map(51, P | U);
	map(52, P | W | U);
	USER("supervisor pte, pde too", "mov 0x60034000, %eax");
	*pde |= U;
	write_cr3(read_cr3());
	USER("supervisor pte", "mov 0x60032000, %eax");
	USER("user read-only read", "mov 0x60033000, %eax; xor %eax, %eax");
	USER("user read-only write", "mov %eax, 0x60033000");
	USER("user write", "mov %eax, 0x60034000");
	bits("user write", 52);
	*pde &= ~W;
	write_cr3(read_cr3());
	USER("pde read-only", "mov %eax, 0x60034000");
	*pde |= W;
	*pte(52) &= ~(A | D);
	write_cr3(read_cr3());
	USER("user fetch", "mov $0x60034000, %eax; movl $0x80cd80cd, (%eax); jmp *%eax");
	*pte(52) &= ~D;
	invlpg(page_of(52));
	USER("user fetch again", "mov $0x60034000, %eax; jmp *%eax");
	bits("fetched", 52);
	*pte(52) &= ~U;
	invlpg(page_of(52));
	USER("user fetch supervisor", "mov $0x60034000, %eax; jmp *%eax");
}

/* mov $value, %eax; ret */
static void lay_function(unsigned frame, uint8_t value)
{
	const uint8_t code[] = {0xb8, value, 0, 0, 0, 0xc3};

	for (unsigned i = 0; i < sizeof(code); i++)
		((uint8_t *)at_phys(frame_of(frame)))[i] = code[i];
}

static uint32_t call(unsigned page)
{
	uint32_t value;

	__asm__ volatile("call *%1" : "=a"(value) : "r"(page_of(page)) : "ecx", "edx", "memory", "cc");
	return value;
}

/* A page that was reached in one way only is forgotten as well. */
static void forgotten(void)
{
	lay_function(60, 1);
	lay_function(61, 2);
	map(60, P | W);
	print("fetched only: %x", call(60));
	*pte(60) = frame_of(61) | P | W;
	invlpg(page_of(60));
	print(" %x", call(60));
	*pte(60) = frame_of(60) | P | W;
	invlpg(page_of(60));
	print(" %x\n", call(60));

	poke((uint32_t)at_phys(frame_of(62)), 0);
	poke((uint32_t)at_phys(frame_of(63)), 0);
	map(62, P | W);
	__asm__ volatile("sgdt %c0" ::"i"(BASE + 62 * 4096) : "memory");
	*pte(62) = frame_of(63) | P | W;
	invlpg(page_of(62));
	__asm__ volatile("sgdt %c0" ::"i"(BASE + 62 * 4096) : "memory");
	print("stored to by sgdt only: %s\n",
	      peek((uint32_t)at_phys(frame_of(62))) == peek((uint32_t)at_phys(frame_of(63))) ? "both frames" : "one frame");
}

/* Runs of pages, mapped and taken away again and again, of which only one is touched, then all of them. */
static void runs(void)
{
	volatile unsigned wrong = 0;

	for (unsigned i = 0; i < 40; i++)
		poke((uint32_t)at_phys(frame_of(100 + i)), 100 + i);
	for (unsigned round = 0; round < 80; round++) {
		for (unsigned i = 0; i < 20; i++) {
			*pte(70 + i) = frame_of(100 + i + (round & 1 ? 20 : 0)) | P | W;
			invlpg(page_of(70 + i));
		}
		for (unsigned i = round < 60 ? 19 : 0; i < 20; i++)
			wrong += peek(page_of(70 + i)) != 100 + i + (round & 1 ? 20 : 0);
		for (unsigned i = 0; round % 3 != 2 && round != 79 && i < 20; i++) {
			*pte(70 + i) = 0;
			invlpg(page_of(70 + i));
		}
	}
	for (unsigned i = 0; i < 20; i += 2) { /* every other one goes */
		*pte(70 + i) = 0;
		invlpg(page_of(70 + i));
	}
	PROBE("a page of a run that was taken away", "movl %c0, %%eax", "i"(BASE + 72 * 4096));
	for (unsigned i = 1; i < 20; i += 2)
		wrong += peek(page_of(70 + i)) != 120 + i;
	print("runs: %u wrong\n", wrong);
}

void guest_main(void)
{
	uint32_t t = page_alloc();

	table = at_phys(t);
	kernel_directory[BASE >> 22] = t | P | W;
	accessed_dirty();
	write_protect();
	remap();
	globals();
	table_reuse();
	large();
	rights();
	forgotten();
	runs();
}
