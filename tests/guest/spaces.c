// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Several address spaces with a shared kernel half: each has its worker where there are enough, or they take turns
 * at one. Every space must see changes of the shared half after the flush that hardware asks for, done in any space,
 * and its own half only. Ends with many more spaces than workers, and with roots that are freed and reused.
 */
#include "tests/guest/lib/guest.h"

enum { SPACES = 12, PRIVATE = 0x50000000, SHARED = 0x60000000, FRAMES = RAM_FREE + 0x400000 };
static uint32_t root[SPACES], kernel_root;
static uint32_t *shared_table;

static uint32_t frame(unsigned i)
{
	return FRAMES + i * 4096;
}

static uint32_t new_space(uint32_t page, unsigned private_frame)
{
	uint32_t *directory = at_phys(page), t = page_alloc(), *table = at_phys(t);

	for (unsigned i = 0; i < 1024; i++)
		directory[i] = kernel_directory[i];
	table[0] = frame(private_frame) | P | W | U;
	directory[PRIVATE >> 22] = t | P | W | U;
	poke((uint32_t)at_phys(frame(private_frame)), 0x1000 + private_frame);
	return page;
}

static void own_halves(void)
{
	for (unsigned i = 0; i < 4; i++) {
		write_cr3(root[i]);
		print("space %u: %x\n", i, peek(PRIVATE));
		poke(PRIVATE + 4, i);
	}
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < 4; i++) {
			write_cr3(root[i]);
			if (peek(PRIVATE + 4) != i + round * 10)
				print("space %u round %u: %x\n", i, round, peek(PRIVATE + 4));
			poke(PRIVATE + 4, i + (round + 1) * 10);
		}
}

static void shared_half(void)
{
	for (unsigned i = 0; i < 4; i++)
		poke((uint32_t)at_phys(frame(32 + i)), 0x3200 + i);
	shared_table[0] = frame(32) | P | W;
	for (unsigned i = 0; i < 4; i++) {
		write_cr3(root[i]);
		print("shared in %u: %x\n", i, peek(SHARED));
	}
	shared_table[0] = frame(33) | P | W; /* in space 3; a CR3 load flushes the others */
	invlpg(SHARED);
	for (unsigned i = 4; i--;) {
		write_cr3(root[i]);
		print("changed in %u: %x\n", i, peek(SHARED));
	}
	shared_table[0] = frame(34) | P;
	for (unsigned i = 0; i < 4; i++) {
		write_cr3(root[i]);
		PROBE("read-only", "movl $1, %c0", "i"(SHARED));
	}
	shared_table[0] = frame(34) | P | W; /* more rights need no flush, anywhere */
	for (unsigned i = 0; i < 4; i++) {
		write_cr3(root[i]);
		poke(SHARED, peek(SHARED) + 1);
	}
	print("counted %x, pte %x\n", peek(SHARED), shared_table[0] & 0xfff);
	shared_table[0] &= ~(D | A);
	for (unsigned i = 0; i < 4; i++) {
		write_cr3(root[i]);
		poke(SHARED, i);
		print("dirty in %u: %x\n", i, shared_table[0] & 0xfff);
		shared_table[0] &= ~(D | A);
	}
}

/* Global pages survive CR3 loads, so their changes take an INVLPG, which must reach every worker. */
static void globals(void)
{
	write_cr4(read_cr4() | 0x80);
	shared_table[1] = frame(32) | P | W | G;
	for (unsigned i = 0; i < 4; i++) {
		write_cr3(root[i]);
		peek(SHARED + 4096);
	}
	shared_table[1] = frame(33) | P | W | G;
	invlpg(SHARED + 4096);
	for (unsigned i = 0; i < 4; i++) {
		write_cr3(root[i]);
		print("global in %u: %x\n", i, peek(SHARED + 4096));
	}
	shared_table[1] = frame(34) | P | W | G;
	write_cr4(read_cr4() & ~0x80u);
	write_cr4(read_cr4() | 0x80);
	for (unsigned i = 0; i < 4; i++) {
		write_cr3(root[i]);
		print("after pge in %u: %x\n", i, peek(SHARED + 4096));
	}
	shared_table[1] = 0;
	invlpg(SHARED + 4096);
	for (unsigned i = 0; i < 4; i++) {
		write_cr3(root[i]);
		PROBE("global gone", "movl %c0, %%eax", "i"(SHARED + 4096));
	}
	write_cr4(read_cr4() & ~0x80u);
}

/* A change in a space that is not the current one, by way of its tables. */
static void from_outside(void)
{
	uint32_t *table = at_phys(((uint32_t *)at_phys(root[1]))[PRIVATE >> 22] & 0xfffff000);

	write_cr3(root[1]);
	peek(PRIVATE);
	write_cr3(root[0]);
	table[0] = frame(35) | P | W | U;
	poke((uint32_t)at_phys(frame(35)), 0x3535);
	write_cr3(root[1]);
	print("from outside: %x\n", peek(PRIVATE));
	write_cr3(root[0]);
	print("not here: %x\n", peek(PRIVATE));
}

/* A root page is freed and becomes another space's root at once, or its page tables do. */
static void reuse(void)
{
	write_cr3(root[2]);
	peek(PRIVATE);
	write_cr3(kernel_root);
	for (unsigned i = 0; i < 1024; i++)
		((uint32_t *)at_phys(root[2]))[i] = 0;
	new_space(root[2], 40);
	write_cr3(root[2]);
	print("reborn: %x\n", peek(PRIVATE));
	for (unsigned i = 0; i < 50; i++) {
		new_space(root[2], 41 + i % 3);
		write_cr3(root[i % 2]);
		write_cr3(root[2]);
		if (peek(PRIVATE) != 0x1000 + 41 + i % 3)
			print("reborn %u: %x\n", i, peek(PRIVATE));
	}
}

static void many(void)
{
	uint32_t sum = 0;

	for (unsigned round = 0; round < 20; round++)
		for (unsigned i = 0; i < SPACES; i++) {
			write_cr3(root[(i * 5) % SPACES]);
			poke(PRIVATE + 8, peek(PRIVATE + 8) + 1);
			sum += peek(PRIVATE + 8);
		}
	print("many: %u\n", sum);
}

/* Registers, x87 and SSE state follow the baton. */
static void state(void)
{
	static const uint32_t one = 0x3f800000, two = 0x40000000, values[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	uint32_t out[4];
	uint16_t control = 0x27f, read;

	write_cr4(read_cr4() | 0x600);
	__asm__ volatile("fninit; fldcw %0" ::"m"(control));
	__asm__ volatile("movups %0, %%xmm0; movups %1, %%xmm7" ::"m"(values[0]), "m"(values[4]));
	__asm__ volatile("flds %0; flds %1" ::"m"(one), "m"(two));
	for (unsigned i = 0; i < 20; i++)
		write_cr3(root[i % SPACES]);
	__asm__ volatile("movups %%xmm7, %0" : "=m"(out));
	print("xmm7 %x %x", out[0], out[3]);
	__asm__ volatile("movups %%xmm0, %0" : "=m"(out));
	print(" xmm0 %x %x", out[0], out[3]);
	__asm__ volatile("fstps %0; fstps %1; fnstcw %2" : "=m"(out[0]), "=m"(out[1]), "=m"(read));
	print(" st %x %x control %x\n", out[0], out[1], read);
}

static void users(void)
{
	for (unsigned i = 0; i < 4; i++) {
		write_cr3(root[i]);
		USER("user", "mov 0x50000000, %eax; incl 0x5000000c; mov 0x5000000c, %ecx; int $0x80");
		print("  space %u: %x %u\n", i, last.eax, last.ecx);
	}
}

/* CR0.WP is not of one space: what it allowed in one must not last there when it was set in another. */
static void write_protect(void)
{
	shared_table[9] = frame(32) | P;
	write_cr3(root[0]);
	write_cr0(read_cr0() & ~0x10000u);
	poke(SHARED + 9 * 4096, 1);
	write_cr3(root[1]);
	write_cr0(read_cr0() | 0x10000);
	write_cr3(root[0]);
	PROBE("wp set elsewhere", "movl $2, %c0", "i"(SHARED + 9 * 4096));
	write_cr3(kernel_root);
}

void guest_main(void)
{
	uint32_t t = page_alloc();

	shared_table = at_phys(t);
	kernel_directory[SHARED >> 22] = t | P | W;
	kernel_root = read_cr3();
	for (unsigned i = 0; i < SPACES; i++)
		root[i] = new_space(page_alloc(), i);
	own_halves();
	shared_half();
	globals();
	write_protect();
	from_outside();
	users();
	reuse();
	many();
	state();
	write_cr3(kernel_root);
}
