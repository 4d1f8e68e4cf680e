// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Identity-linked: no paging, then two-level paging, then PAE with 2 MiB pages and NX, and back to none. SDM 3A 4.1
 * to 4.4. What CPUID does not offer (PAE, NX) is left out of the comparison by a line that says so.
 */
#include "tests/guest/lib/guest.h"

static uint32_t directory[1024] __attribute__((aligned(4096)));
static uint64_t pdpt[4] __attribute__((aligned(32)));
static uint64_t pae_directory[4][512] __attribute__((aligned(4096)));
static uint64_t pae_table[512] __attribute__((aligned(4096)));
static uint8_t code[4096] __attribute__((aligned(4096)));

static void unpaged(void)
{
	print("cr0 pg %u\n", read_cr0() >> 31);
	poke(0x01000000, 0x1234);
	print("ram %x\n", peek(0x01000000));
	PROBE("absent memory", "mov 0x30000000, %%eax", "i"(0));
	print("vga-less read %s\n", peek(0x30000000) == 0xffffffff || on_tcg ? "ones" : "?");
	PROBE("write to absent memory", "movl $5, 0x30000000", "i"(0));
	PROBE("write page 0", "movl $0x77, 0x10", "i"(0));
	print("page 0 %x\n", peek(0x10));
	write_cr3((uint32_t)directory);
	PROBE("~pg without pe", "mov %%cr0, %%eax; and $~1, %%eax; or $0x80000000, %%eax; mov %%eax, %%cr0", "i"(0));
}

static void two_level(void)
{
	for (unsigned i = 0; i < 16; i++)
		directory[i] = i << 22 | P | W | PS;
	directory[0x70000000 >> 22] = 0x01000000 | P | W | PS;
	write_cr4(read_cr4() | 0x10);
	write_cr3((uint32_t)directory);
	write_cr0(read_cr0() | 0x80000000);
	print("paged %x\n", peek(0x70000000));
	PROBE("unmapped", "mov 0x71000000, %%eax", "i"(0));
	write_cr0(read_cr0() & 0x7fffffff);
	print("unpaged %x\n", peek(0x01000000));
}

static void run_code(const char *name, uint32_t at)
{
	PROBE(name, "call *%0", "r"(at));
	if (last.vector == 14 && last.eip == at)
		last.eip = 0;
}

static void pae(bool nx)
{
	uint64_t no_execute = nx ? 1ull << 63 : 0;

	for (unsigned i = 0; i < 4; i++)
		pdpt[i] = (uint32_t)pae_directory[i] | P;
	for (unsigned i = 0; i < 16; i++)
		pae_directory[0][i] = i << 21 | P | W | PS;
	pae_directory[3][0] = (uint32_t)pae_table | P | W;
	pae_table[0] = (uint32_t)code | P | W;
	pae_table[1] = (uint32_t)code | P;
	pae_table[2] = (uint32_t)code | P | W | no_execute;
	pae_directory[2][5] = 0x01000000 | P | W | PS | no_execute;
	code[0] = 0xc3; /* ret */
	if (nx)
		__asm__ volatile("mov $0xc0000080, %%ecx; rdmsr; or $0x800, %%eax; wrmsr" ::: "eax", "ecx", "edx");
	write_cr4(read_cr4() | 0x20);
	write_cr3((uint32_t)pdpt);
	write_cr0(read_cr0() | 0x80010000);
	print("pae %x %x\n", peek(0x80a00000), peek(0xc0000000) & 0xff);
	print("  accessed pte %x, large %x\n", (uint32_t)pae_table[0] & 0xfff, (uint32_t)pae_directory[2][5] & 0xfff);
	poke(0xc0000004, 7);
	poke(0x80a00004, 7);
	print("  dirty pte %x, large %x\n", (uint32_t)pae_table[0] & 0xfff, (uint32_t)pae_directory[2][5] & 0xfff);
	PROBE("pae read-only", "movl $1, 0xc0001000", "i"(0));
	PROBE("pae not present", "movl 0xc0003000, %%eax", "i"(0));
	run_code("pae execute", 0xc0000000);
	if (nx) {
		PROBE("nx", "mov $0xc0002000, %%eax; movl %%eax, probe_at; call *%%eax", "i"(0));
		PROBE("nx large", "mov $0x80a00000, %%eax; movl %%eax, probe_at; call *%%eax", "i"(0));
		pae_table[2] &= ~(1ull << 63);
		invlpg(0xc0002000);
		run_code("nx lifted", 0xc0002000);
		pae_table[0] |= 1ull << 63;
		invlpg(0xc0000000);
		PROBE("nx set", "mov $0xc0000000, %%eax; movl %%eax, probe_at; call *%%eax", "i"(0));
	}
	pae_table[4] = (uint32_t)code | P | W | 1ull << 52; /* reserved above the physical address width */
	PROBE("~pae reserved", "movl 0xc0004000, %%eax", "i"(0));
	/* PDPTEs are read at a load of CR3, not at each walk */
	pdpt[2] = 0;
	PROBE("~pdpte kept", "movl 0x80a00000, %%eax", "i"(0));
	write_cr3((uint32_t)pdpt);
	PROBE("pdpte gone", "movl 0x80a00000, %%eax", "i"(0));
	pdpt[2] = (uint32_t)pae_directory[2] | P | W; /* W is reserved in a PDPTE */
	PROBE("~gp pdpte reserved", "mov %%cr3, %%eax; mov %%eax, %%cr3", "i"(0));
	pdpt[2] = (uint32_t)pae_directory[2] | P;
	write_cr3((uint32_t)pdpt);
	print("back %x\n", peek(0x80a00000));
	write_cr0(read_cr0() & 0x7fffffff);
	write_cr4(read_cr4() & ~0x20u);
}

void guest_main(void)
{
	uint32_t id[4];
	bool has_pae, nx = false;

	unpaged();
	two_level();
	cpuid(1, id);
	has_pae = id[3] >> 6 & 1;
	cpuid(0x80000000, id);
	if (id[0] >= 0x80000001) {
		cpuid(0x80000001, id);
		nx = id[3] >> 20 & 1;
	}
	print("pae %u nx %u\n", has_pae, nx);
	if (has_pae)
		pae(nx);
	two_level();
}
