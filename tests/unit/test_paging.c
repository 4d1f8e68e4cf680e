// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/unit/guest.h"

#include "monitor/vmm/paging.h"

enum { DIR = 0x20000, TABLE = 0x21000, PDPT = 0x22020, PAGE = 0x30000, VA = 0x12345678 };
#define RWU (PTE_P | PTE_W | PTE_U)

static void use_32(uint32_t pde_bits, uint32_t pte_bits)
{
	cpu->cr0 |= CR0_PG | CR0_WP;
	cpu->cr3 = DIR | 0x18;
	poke32(DIR + (VA >> 22) * 4, TABLE | pde_bits);
	poke32(TABLE + (VA >> 12 & 0x3ff) * 4, PAGE | pte_bits);
}

static void use_pae(uint64_t pde_bits, uint64_t pte_bits)
{
	cpu->cr0 |= CR0_PG | CR0_WP;
	cpu->cr4 |= CR4_PAE;
	poke64(PDPT + (VA >> 30) * 8, DIR | PTE_P);
	poke64(DIR + (VA >> 21 & 0x1ff) * 8, TABLE | pde_bits);
	poke64(TABLE + (VA >> 12 & 0x1ff) * 8, PAGE | pte_bits);
	cpu->cr3 = PDPT;
	assert_int_equal(paging_load_pdptes(vm, cpu->cr3), 0);
}

static uint32_t error_of(unsigned access)
{
	struct walk w;

	return paging_walk(vm, gva(VA), access, &w) < 0 ? w.error : UINT32_MAX;
}

#define OK UINT32_MAX

static void off(void **state)
{
	struct walk w;

	(void)state;
	assert_int_equal(paging_walk(vm, gva(VA), ACCESS_WRITE | ACCESS_USER, &w), 0);
	assert_int_equal(w.at.a, VA);
	assert_true(w.present && w.write && w.user && w.exec && w.dirty && !w.global);
}

static void two_level(void **state)
{
	struct walk w;

	(void)state;
	use_32(RWU, RWU | PTE_G | PTE_D);
	assert_int_equal(paging_walk(vm, gva(VA), ACCESS_WRITE | ACCESS_USER, &w), 0);
	assert_int_equal(w.at.a, PAGE + 0x678);
	assert_int_equal(w.page_size, 4096);
	assert_int_equal(w.pde_at.a, DIR + (VA >> 22) * 4);
	assert_int_equal(w.pte_at.a, TABLE + (VA >> 12 & 0x3ff) * 4);
	assert_int_equal(w.pde, TABLE | RWU);
	assert_true(w.present && w.write && w.user && w.exec && w.dirty);
	assert_false(w.global);
	cpu->cr4 |= CR4_PGE;
	paging_walk(vm, gva(VA), 0, &w);
	assert_true(w.global);
}

/* Rights of both levels combine; WP decides for the system only. Error codes: SDM 3A 4.7. */
static void rights(void **state)
{
	static const struct {
		uint32_t pde, pte;
		bool wp;
		unsigned access;
		uint32_t error;
	} t[] = {
	    {0, RWU, true, 0, 0},
	    {RWU, 0, true, ACCESS_WRITE | ACCESS_USER, PF_W | PF_U},
	    {RWU, PTE_P | PTE_W, true, ACCESS_USER, PF_P | PF_U},
	    {PTE_P | PTE_W, RWU, true, ACCESS_USER, PF_P | PF_U},
	    {PTE_P | PTE_W, RWU, true, ACCESS_WRITE, OK},
	    {PTE_P | PTE_U, RWU, true, ACCESS_WRITE | ACCESS_USER, PF_P | PF_W | PF_U},
	    {RWU, PTE_P | PTE_U, true, ACCESS_WRITE, PF_P | PF_W},
	    {RWU, PTE_P | PTE_U, false, ACCESS_WRITE, OK},
	    {RWU, PTE_P | PTE_U, false, ACCESS_WRITE | ACCESS_USER, PF_P | PF_W | PF_U},
	    {RWU, PTE_P | PTE_U, true, ACCESS_USER, OK},
	    {RWU, 0, true, ACCESS_FETCH | ACCESS_USER, PF_U}, /* no I without NX */
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(t); i++) {
		use_32(t[i].pde, t[i].pte);
		if (!t[i].wp)
			cpu->cr0 &= ~CR0_WP;
		assert_int_equal(error_of(t[i].access), t[i].error);
	}
}

static void large_32(void **state)
{
	struct walk w;

	(void)state;
	use_32(RWU, RWU);
	poke32(DIR + (VA >> 22) * 4, 0x00c00000 | RWU | PTE_PS | PTE_D);
	/* without CR4.PSE the bit means nothing: a table at 0xc00000, beyond RAM, which reads as ones */
	assert_int_equal(paging_walk(vm, gva(VA), 0, &w), 0);
	assert_int_equal(w.pte, 0xffffffff);
	cpu->cr4 |= CR4_PSE;
	assert_int_equal(paging_walk(vm, gva(VA), ACCESS_WRITE, &w), 0);
	assert_int_equal(w.at.a, 0x00c00000 | (VA & 0x3fffff));
	assert_int_equal(w.page_size, 4 << 20);
	assert_int_equal(w.pte, 0);
	/* PSE-36: bits 16:13 are address bits 35:32; 21:17 are reserved */
	poke32(DIR + (VA >> 22) * 4, 0x00c00000 | 5 << 13 | RWU | PTE_PS);
	assert_int_equal(paging_walk(vm, gva(VA), 0, &w), 0);
	assert_int_equal(w.at.a, 0x500c00000 | (VA & 0x3fffff));
	poke32(DIR + (VA >> 22) * 4, 0x00c00000 | 1 << 17 | RWU | PTE_PS);
	assert_int_equal(error_of(ACCESS_WRITE), PF_P | PF_RSVD | PF_W);
	poke32(DIR + (VA >> 22) * 4, 0x00c00000 | 1 << 21 | RWU | PTE_PS);
	assert_int_equal(error_of(0), PF_P | PF_RSVD);
}

static void pae(void **state)
{
	struct walk w;

	(void)state;
	use_pae(RWU, RWU);
	assert_int_equal(paging_walk(vm, gva(VA), ACCESS_WRITE | ACCESS_USER, &w), 0);
	assert_int_equal(w.at.a, PAGE + 0x678);
	assert_int_equal(w.pdpte, DIR | PTE_P);
	assert_int_equal(w.pde_at.a, DIR + (VA >> 21 & 0x1ff) * 8);
	assert_int_equal(w.pte_at.a, TABLE + (VA >> 12 & 0x1ff) * 8);
	/* PDPTEs are those of the last load, not of memory */
	poke64(PDPT + (VA >> 30) * 8, 0);
	assert_int_equal(error_of(0), OK);
	assert_int_equal(paging_load_pdptes(vm, PDPT), 0);
	assert_int_equal(error_of(ACCESS_USER), PF_U);
}

static void pae_large(void **state)
{
	struct walk w;

	(void)state;
	use_pae(RWU, RWU);
	poke64(DIR + (VA >> 21 & 0x1ff) * 8, 0x700200000ull | RWU | PTE_PS);
	assert_int_equal(paging_walk(vm, gva(VA), 0, &w), 0);
	assert_int_equal(w.at.a, 0x700200000ull | (VA & 0x1fffff));
	assert_int_equal(w.page_size, 2 << 20);
	poke64(DIR + (VA >> 21 & 0x1ff) * 8, 0x00200000ull | 1 << 13 | RWU | PTE_PS);
	assert_int_equal(error_of(0), PF_P | PF_RSVD);
}

static void nx(void **state)
{
	(void)state;
	use_pae(RWU, RWU | PTE_NX);
	assert_int_equal(error_of(0), PF_P | PF_RSVD); /* EFER.NXE clear: reserved */
	cpu->efer = EFER_NXE;
	assert_int_equal(error_of(0), OK);
	assert_int_equal(error_of(ACCESS_FETCH | ACCESS_USER), PF_P | PF_U | PF_I);
	use_pae(RWU | PTE_NX, RWU);
	assert_int_equal(error_of(ACCESS_FETCH), PF_P | PF_I);
	use_pae(RWU, 0);
	assert_int_equal(error_of(ACCESS_FETCH), PF_I);
	use_pae(RWU, RWU);
	assert_int_equal(error_of(ACCESS_FETCH), OK);
}

static void pae_reserved(void **state)
{
	unsigned bit;

	(void)state;
	for (bit = 32; bit < 63; bit++) {
		use_pae(RWU, RWU | 1ull << bit);
		assert_int_equal(error_of(0), bit < PAGING_PHYS_BITS ? OK : (PF_P | PF_RSVD));
		use_pae(RWU | 1ull << bit, RWU);
		if (bit >= PAGING_PHYS_BITS)
			assert_int_equal(error_of(0), PF_P | PF_RSVD);
	}
	/* not present: nothing is reserved */
	use_pae(RWU, 1ull << 62);
	assert_int_equal(error_of(0), 0);
}

static void pdpte_reserved(void **state)
{
	static const unsigned bad[] = {1, 2, 5, 6, 7, 8, 36, 62, 63};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(bad); i++) {
		poke64(PDPT + 24, PTE_P | 1ull << bad[i]);
		assert_raised(paging_load_pdptes(vm, PDPT), EXC_GP, 0);
		poke64(PDPT + 24, 1ull << bad[i]);
		assert_int_equal(paging_load_pdptes(vm, PDPT), 0);
	}
	poke64(PDPT + 24, PTE_P | 3 << 9 | 0x18);
	assert_int_equal(paging_load_pdptes(vm, PDPT | 0x1f), 0);
}

static void mark(void **state)
{
	struct walk w;

	(void)state;
	use_32(RWU, RWU);
	paging_walk(vm, gva(VA), 0, &w);
	assert_int_equal(peek32(DIR + (VA >> 22) * 4), TABLE | RWU); /* looking changes nothing */
	paging_mark(vm, &w, false);
	assert_int_equal(peek32(DIR + (VA >> 22) * 4), TABLE | RWU | PTE_A);
	assert_int_equal(peek32((uint32_t)w.pte_at.a), PAGE | RWU | PTE_A);
	assert_false(w.dirty);
	paging_mark(vm, &w, true);
	assert_int_equal(peek32(DIR + (VA >> 22) * 4), TABLE | RWU | PTE_A); /* no D on a table's entry */
	assert_int_equal(peek32((uint32_t)w.pte_at.a), PAGE | RWU | PTE_A | PTE_D);
	assert_int_equal(w.pte, PAGE | RWU | PTE_A | PTE_D);
	assert_true(w.dirty);
	/* an entry that changed since the walk is left alone */
	poke32((uint32_t)w.pte_at.a, 0);
	w.pte = PAGE | RWU;
	paging_mark(vm, &w, true);
	assert_int_equal(peek32((uint32_t)w.pte_at.a), 0);
}

static void mark_pae(void **state)
{
	struct walk w;

	(void)state;
	cpu->efer = EFER_NXE;
	use_pae(RWU, RWU | PTE_NX);
	paging_walk(vm, gva(VA), ACCESS_WRITE, &w);
	paging_mark(vm, &w, true);
	assert_int_equal(peek32(DIR + (VA >> 21 & 0x1ff) * 8), TABLE | RWU | PTE_A);
	assert_int_equal(peek32((uint32_t)w.pte_at.a), PAGE | RWU | PTE_A | PTE_D);
	assert_int_equal(peek32((uint32_t)w.pte_at.a + 4), 0x80000000);
}

static void mark_large(void **state)
{
	struct walk w;

	(void)state;
	use_32(RWU, RWU);
	cpu->cr4 |= CR4_PSE;
	poke32(DIR + (VA >> 22) * 4, RWU | PTE_PS);
	paging_walk(vm, gva(VA), ACCESS_WRITE, &w);
	paging_mark(vm, &w, true);
	assert_int_equal(peek32(DIR + (VA >> 22) * 4), RWU | PTE_PS | PTE_A | PTE_D);
}

static void tables_without_ram(void **state)
{
	struct walk w;

	(void)state;
	use_32(RWU, RWU);
	cpu->cr4 |= CR4_PSE;
	cpu->cr3 = 0x40000000;
	assert_int_equal(error_of(0), PF_P | PF_RSVD); /* all ones: a 4 MiB page with reserved bits */
	cpu->cr4 = 0;
	assert_int_equal(paging_walk(vm, gva(VA), 0, &w), 0);
	paging_mark(vm, &w, true);
}

/* gmem: pages that are neighbours only linearly */
static void copies(void **state)
{
	uint8_t out[16], in[16] = "0123456789abcde";
	uint32_t at = (VA & PAGE_MASK) + 0xff8, pte = TABLE + (VA >> 12 & 0x3ff) * 4;

	(void)state;
	use_32(RWU, RWU);
	poke32(pte + 4, (PAGE + 0x5000) | RWU);
	assert_int_equal(gmem_write(vm, gva(at), in, 16, ACCESS_USER), 0);
	assert_memory_equal(ram(PAGE + 0xff8), in, 8);
	assert_memory_equal(ram(PAGE + 0x5000), in + 8, 8);
	assert_true(peek32(pte + 4) & PTE_D);
	assert_int_equal(gmem_read(vm, gva(at), out, 16, ACCESS_USER), 0);
	assert_memory_equal(in, out, 16);
	/* nothing is stored when the second page refuses */
	poke32(pte + 4, (PAGE + 0x5000) | PTE_P | PTE_U);
	memset(in, 'x', 16);
	assert_raised(gmem_write(vm, gva(at), in, 16, 0), EXC_PF, PF_P | PF_W);
	assert_int_equal(cpu->exc_cr2, (VA & PAGE_MASK) + 0x1000);
	assert_memory_equal(ram(PAGE + 0xff8), out, 8);
	/* no RAM there: ones, and writes vanish */
	poke32(pte, 0x3ff000 << 4 | RWU);
	assert_int_equal(gmem_write(vm, gva(VA), in, 4, 0), 0);
	assert_int_equal(gmem_read(vm, gva(VA), out, 4, 0), 0);
	assert_memory_equal(out, "\xff\xff\xff\xff", 4);
}

static void first_exception_stays(void **state)
{
	(void)state;
	assert_int_equal(vcpu_raise(cpu, EXC_GP, true, 8), -EFAULT);
	assert_int_equal(vcpu_raise_pf(cpu, gva(5), 2), -EFAULT);
	assert_int_equal(cpu->exc_vector, EXC_GP);
	assert_int_equal(cpu->exc_error, 8);
	assert_int_equal(cpu->exc_cr2, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    guest_test(off),	      guest_test(two_level),	      guest_test(rights),
	    guest_test(large_32),     guest_test(pae),		      guest_test(pae_large),
	    guest_test(nx),	      guest_test(pae_reserved),	      guest_test(pdpte_reserved),
	    guest_test(mark),	      guest_test(mark_pae),	      guest_test(mark_large),
	    guest_test(copies),	      guest_test(tables_without_ram), guest_test(first_exception_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
