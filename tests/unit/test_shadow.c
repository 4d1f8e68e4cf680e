// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The shadow MMU against real memory: what a touch maps, what the guest's table changes undo and when, looked up in
 * the host's own list of mappings and read through them. Every page of guest RAM holds its frame number.
 */
#include "tests/unit/native.h"

#include "monitor/vmm/gmem.h"
#include "monitor/vmm/mmu.h"
#include "monitor/vmm/paging.h"

#define USER 0x08000000u /* page directory slot 32 */
#define RW (PROT_READ | PROT_WRITE)
#define RX (PROT_READ | PROT_EXEC)
#define RWX (PROT_READ | PROT_WRITE | PROT_EXEC)
enum {
	N_UPT = 0x30000,
	N_UPT2 = 0x31000,
	N_PD2 = 0x32000,
	N_PDPT = 0x33000,
	N_PAE_PD = 0x38000,
	FRAMES = 0x500000
};
enum { PRESENT = PTE_P, W = PTE_W, U = PTE_U, A = PTE_A, D = PTE_D, G = PTE_G };

static void start(void)
{
	native_start();
	cpu->cr4 = CR4_PSE | CR4_PGE;
	for (uint32_t at = 0x40000; at < N_RAM; at += PAGE_SIZE)
		if (at != N_TEXT)
			poke32(at, at >> PAGE_SHIFT);
	poke32(N_PD + (USER >> 20), N_UPT | PRESENT | W | U);
}

static uint32_t upte(uint32_t at)
{
	return N_UPT + ((at - USER) >> PAGE_SHIFT) * 4;
}

/* Map page n of USER to frame n of FRAMES with these bits. */
static uint32_t map(unsigned n, uint32_t bits)
{
	poke32(upte(USER + n * PAGE_SIZE), (FRAMES + n * PAGE_SIZE) | bits);
	return USER + n * PAGE_SIZE;
}

static int touch(uint32_t at, unsigned access)
{
	int r = (int)shadow_fault(vm, gva(at), access);

	if (r == SHADOW_RAISED)
		cpu->exc_vector = EXC_NONE;
	return r;
}

static uint32_t frame_seen(uint32_t at)
{
	return *(volatile uint32_t *)(uintptr_t)(at & PAGE_MASK) << PAGE_SHIFT;
}

static void raises(uint32_t at, unsigned access, uint32_t error)
{
	cpu->exc_vector = EXC_NONE;
	CHECK_EQ(shadow_fault(vm, gva(at), access), SHADOW_RAISED);
	CHECK_EQ(cpu->exc_vector, EXC_PF);
	CHECK_EQ(cpu->exc_cr2, at);
	CHECK_EQ(cpu->exc_error, error);
	cpu->exc_vector = EXC_NONE;
}

/* --- a touch ------------------------------------------------------------------------------------------------ */

NATIVE_TEST(accessed_and_dirty)
{
	uint32_t at;

	start();
	at = map(3, PRESENT | W | U);
	CHECK_EQ(protection(at), -1);
	CHECK_EQ(touch(at + 8, ACCESS_USER), SHADOW_MAPPED);
	CHECK_EQ(protection(at), PROT_READ); /* or the first write would go unseen */
	CHECK_EQ(peek32(upte(at)) & (A | D), A);
	CHECK(peek32(N_PD + (USER >> 20)) & A);
	CHECK_EQ(frame_seen(at), FRAMES + 3 * PAGE_SIZE);
	CHECK_EQ(touch(at + 8, ACCESS_USER | ACCESS_WRITE), SHADOW_MAPPED);
	CHECK_EQ(protection(at), RW);
	CHECK_EQ(peek32(upte(at)) & (A | D), A | D);
	*(volatile uint32_t *)(uintptr_t)(at + 16) = 0x12345678;
	CHECK_EQ(peek32(FRAMES + 3 * PAGE_SIZE + 16), 0x12345678);
	CHECK_EQ(protection(at + PAGE_SIZE), -1);
	CHECK_EQ(protection(at - PAGE_SIZE), -1);
}

NATIVE_TEST(rights_of_all_levels)
{
	uint32_t at;

	start();
	raises(map(0, 0), ACCESS_USER, PF_U);
	raises(map(0, W | U), ACCESS_WRITE, PF_W);
	at = map(0, PRESENT | U);
	raises(at, ACCESS_USER | ACCESS_WRITE, PF_P | PF_U | PF_W);
	raises(at, ACCESS_WRITE, PF_P | PF_W); /* WP */
	CHECK_EQ(touch(at, ACCESS_USER), SHADOW_MAPPED);
	CHECK_EQ(protection(at), PROT_READ);
	raises(map(1, PRESENT | W), ACCESS_USER, PF_P | PF_U);
	poke32(N_PD + (USER >> 20), N_UPT | PRESENT | U); /* the directory forbids writing */
	at = map(2, PRESENT | W | U | D);
	raises(at, ACCESS_USER | ACCESS_WRITE, PF_P | PF_U | PF_W);
	CHECK_EQ(touch(at, ACCESS_USER), SHADOW_MAPPED);
	CHECK_EQ(protection(at), PROT_READ);
	poke32(N_PD + (USER >> 20), N_UPT | PRESENT | W);
	raises(at, ACCESS_USER, PF_P | PF_U);
}

NATIVE_TEST(where_nothing_can_be_mapped)
{
	start();
	poke32(upte(map(0, 0)), 0xf0000000 | PRESENT | W | U); /* no RAM there */
	CHECK_EQ(touch(USER, ACCESS_USER), SHADOW_EMULATE);
	poke32(N_PD, N_UPT | PRESENT | W | U);
	map(0, PRESENT | W | U);
	CHECK_EQ(touch(0x10, 0), SHADOW_EMULATE); /* page 0 */
	poke32(N_PD + (HOLE >> 20), N_UPT | PRESENT | W | U);
	map(5, PRESENT | W | U);
	CHECK_EQ(touch(HOLE + 5 * PAGE_SIZE, ACCESS_WRITE), SHADOW_EMULATE);
	CHECK_EQ(protection(HOLE + ABI_GATE_PAGE), RX);
}

NATIVE_TEST(neighbours_come_along)
{
	uint64_t maps;

	start();
	for (unsigned n = 0; n < 16; n++)
		map(n, PRESENT | W | U | A | (n < 12 ? D : 0));
	map(5, PRESENT | U | A | D);				     /* read-only: not like the others */
	poke32(upte(map(9, 0)), 0x700000 | PRESENT | W | U | A | D); /* elsewhere */
	maps = vm->stats.host_mmap;
	CHECK_EQ(touch(USER + 7 * PAGE_SIZE, ACCESS_USER), SHADOW_MAPPED);
	CHECK_EQ(vm->stats.host_mmap, maps + 1);
	for (unsigned n = 0; n < 16; n++)
		CHECK_EQ(protection(USER + n * PAGE_SIZE), n >= 6 && n <= 8 ? RW : -1);
	for (unsigned n = 6; n < 9; n++)
		CHECK_EQ(frame_seen(USER + n * PAGE_SIZE), FRAMES + n * PAGE_SIZE);
	/* They are remembered as well as the one touched. */
	map(8, PRESENT | U | A | D);
	shadow_load_cr3(vm);
	CHECK_EQ(protection(USER + 8 * PAGE_SIZE), -1);
	CHECK_EQ(protection(USER + 7 * PAGE_SIZE), RW);
}

NATIVE_TEST(write_protection_of_the_supervisor)
{
	uint32_t at;

	start();
	cpu->cr0 &= ~(uint32_t)CR0_WP;
	at = map(0, PRESENT | U);
	CHECK_EQ(touch(at, ACCESS_WRITE), SHADOW_MAPPED);
	CHECK_EQ(protection(at), RW);
	CHECK_EQ(mmu_set_cr0(vm, cpu->cr0 | CR0_WP), 0);
	CHECK_EQ(protection(at), -1);
	raises(at, ACCESS_WRITE, PF_P | PF_W);
	cpu->cr0 &= ~(uint32_t)CR0_WP;
	CHECK_EQ(touch(at, ACCESS_WRITE), SHADOW_MAPPED);
	shadow_enter_user(vm);
	CHECK_EQ(protection(at), -1);
}

/* --- what a CR3 load forgets -------------------------------------------------------------------------------- */

static const struct {
	const char *what;
	uint32_t then, now; /* bits of the entry */
	bool other_frame, stays;
} changes[] = {
    {"nothing", PRESENT | W | U | A | D, PRESENT | W | U | A | D, false, true},
    {"D set", PRESENT | W | U | A, PRESENT | W | U | A | D, false, true},
    {"software bits", PRESENT | W | U | A | D, PRESENT | W | U | A | D | 0xe00, false, true},
    {"P cleared", PRESENT | W | U | A | D, W | U | A | D, false, false},
    {"W cleared", PRESENT | W | U | A | D, PRESENT | U | A | D, false, false},
    {"W set", PRESENT | U | A | D, PRESENT | W | U | A | D, false, false},
    {"U cleared", PRESENT | W | U | A | D, PRESENT | W | A | D, false, false},
    {"D cleared", PRESENT | W | U | A | D, PRESENT | W | U | A, false, false},
    {"A cleared", PRESENT | W | U | A | D, PRESENT | W | U | D, false, false},
    {"another frame", PRESENT | W | U | A | D, PRESENT | W | U | A | D, true, false},
};

NATIVE_TEST(validation_at_cr3)
{
	start();
	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		unsigned n = (unsigned)i * 2; /* apart, so that none comes along */
		uint32_t at = map(n, changes[i].then);

		native_case = changes[i].what;
		CHECK_EQ(touch(at, 0), SHADOW_MAPPED);
		CHECK(protection(at) != -1);
		poke32(upte(at), (FRAMES + (n + changes[i].other_frame) * PAGE_SIZE) | changes[i].now);
		CHECK(protection(at) != -1); /* as in a TLB: not before it is told */
		CHECK_EQ(frame_seen(at), FRAMES + n * PAGE_SIZE);
		CHECK_EQ(mmu_set_cr3(vm, cpu->cr3), 0);
		CHECK_EQ(protection(at) != -1, changes[i].stays);
	}
}

NATIVE_TEST(validation_at_invlpg)
{
	start();
	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		unsigned n = (unsigned)i * 4;
		uint32_t at = map(n, changes[i].then | G), other = map(n + 2, changes[i].then);

		native_case = changes[i].what;
		CHECK_EQ(touch(at, 0), SHADOW_MAPPED);
		CHECK_EQ(touch(other, 0), SHADOW_MAPPED);
		poke32(upte(at), (FRAMES + (n + changes[i].other_frame) * PAGE_SIZE) | changes[i].now | G);
		poke32(upte(other), 0);
		mmu_invlpg(vm, gva(at + 0x123));
		CHECK_EQ(protection(at) != -1, changes[i].stays); /* global or not */
		CHECK(protection(other) != -1);
	}
}

NATIVE_TEST(global_pages_survive_cr3_only)
{
	uint32_t global, local;

	start();
	for (int pge_toggled = 0; pge_toggled < 2; pge_toggled++) {
		global = map(0, PRESENT | W | U | A | D | G);
		local = map(2, PRESENT | W | U | A | D);
		CHECK_EQ(touch(global, 0), SHADOW_MAPPED);
		CHECK_EQ(touch(local, 0), SHADOW_MAPPED);
		poke32(upte(global), 0);
		poke32(upte(local), 0);
		CHECK_EQ(mmu_set_cr3(vm, cpu->cr3), 0);
		CHECK(protection(global) != -1);
		CHECK_EQ(protection(local), -1);
		if (pge_toggled)
			CHECK_EQ(mmu_set_cr4(vm, cpu->cr4 & ~(uint32_t)CR4_PGE), 0);
		else
			shadow_log(vm, LOG_FLUSH_ALL, 0);
		CHECK_EQ(protection(global), -1);
	}
	/* Without PGE the bit means nothing. */
	global = map(0, PRESENT | W | U | A | D | G);
	CHECK_EQ(touch(global, 0), SHADOW_MAPPED);
	poke32(upte(global), 0);
	CHECK_EQ(mmu_set_cr3(vm, cpu->cr3), 0);
	CHECK_EQ(protection(global), -1);
}

static uint32_t monitor_sees(uint32_t at)
{
	uint32_t x = 0;

	CHECK_EQ(gmem_read(vm, gva(at), &x, sizeof(x), 0), 0);
	return x << PAGE_SHIFT;
}

/* The monitor's own TLB: each of these flushes on hardware, though the register ends with the value that it had. */
NATIVE_TEST(toggles_flush_what_the_monitor_remembers)
{
	uint32_t at;

	start();
	for (int toggled = 0; toggled < 3; toggled++) {
		at = map(0, PRESENT | W | U | A | D);
		gmem_forget(vm);
		CHECK_EQ(monitor_sees(at), FRAMES);
		poke32(upte(at), (FRAMES + PAGE_SIZE) | PRESENT | W | U | A | D);
		if (toggled == 2) {
			CHECK_EQ(mmu_set_cr0(vm, cpu->cr0 & ~(uint32_t)CR0_PG), 0);
			CHECK_EQ(mmu_set_cr0(vm, cpu->cr0 | CR0_PG), 0);
		} else {
			uint32_t bit = toggled ? CR4_PSE : CR4_PGE;

			CHECK_EQ(mmu_set_cr4(vm, cpu->cr4 ^ bit), 0);
			CHECK_EQ(mmu_set_cr4(vm, cpu->cr4 ^ bit), 0);
		}
		CHECK_EQ(monitor_sees(at), FRAMES + PAGE_SIZE);
	}
}
NATIVE_TEST_LONG(toggles_flush_what_the_monitor_remembers)

/* The page table itself is replaced, freed and reused, or shared by two directories. */
NATIVE_TEST(page_tables_that_move)
{
	uint32_t at, pde = N_PD + (USER >> 20);

	start();
	at = map(0, PRESENT | W | U | A | D);
	CHECK_EQ(touch(at, 0), SHADOW_MAPPED);
	poke32(N_UPT2, (FRAMES + 8 * PAGE_SIZE) | PRESENT | W | U | A | D);
	poke32(pde, N_UPT2 | PRESENT | W | U | A);
	CHECK_EQ(mmu_set_cr3(vm, cpu->cr3), 0);
	CHECK_EQ(protection(at), -1);
	CHECK_EQ(touch(at, 0), SHADOW_MAPPED);
	CHECK_EQ(frame_seen(at), FRAMES + 8 * PAGE_SIZE);

	memcpy(ram(N_PD2), ram(N_PD), PAGE_SIZE); /* shared: nothing goes */
	CHECK_EQ(mmu_set_cr3(vm, N_PD2), 0);
	CHECK_EQ(protection(at), RW);
	poke32(N_PD2 + (USER >> 20), 0); /* absent there, seen at INVLPG of any of its pages */
	mmu_invlpg(vm, gva(at + 17 * PAGE_SIZE));
	CHECK_EQ(protection(at), -1);
	raises(at, ACCESS_USER, PF_U);
	CHECK_EQ(mmu_set_cr3(vm, N_PD), 0);
	CHECK_EQ(touch(at, 0), SHADOW_MAPPED);
	CHECK_EQ(mmu_set_cr3(vm, N_PD2), 0); /* another directory without it */
	CHECK_EQ(protection(at), -1);
	CHECK_EQ(mmu_set_cr3(vm, N_PD), 0);
	CHECK_EQ(touch(at, 0), SHADOW_MAPPED);
	memset(ram(N_UPT2), 0xff, PAGE_SIZE); /* freed and reused as something else */
	CHECK_EQ(mmu_set_cr3(vm, cpu->cr3), 0);
	CHECK_EQ(protection(at), -1);
}

/* --- large pages, PAE, no paging ---------------------------------------------------------------------------- */

NATIVE_TEST(large_pages)
{
	uint32_t big = 0x10000000, pde = N_PD + (big >> 20);

	start();
	poke32(pde, 0x400000 | PRESENT | W | U | PTE_PS);
	CHECK_EQ(touch(big + 0x123000, ACCESS_USER), SHADOW_MAPPED);
	CHECK_EQ(peek32(pde) & (A | D), A);
	CHECK_EQ(protection(big + 0x123000), PROT_READ);
	CHECK_EQ(frame_seen(big + 0x123000), 0x523000);
	CHECK_EQ(touch(big + 0x123000, ACCESS_USER | ACCESS_WRITE), SHADOW_MAPPED);
	CHECK_EQ(peek32(pde) & (A | D), A | D);
	CHECK_EQ(protection(big + 0x123000), RW);
	CHECK_EQ(mmu_set_cr3(vm, cpu->cr3), 0);
	CHECK_EQ(protection(big + 0x123000), RW);
	poke32(pde, 0x800000 | PRESENT | W | U | PTE_PS | A | D);
	mmu_invlpg(vm, gva(big));
	CHECK_EQ(protection(big + 0x123000), -1);
	CHECK_EQ(touch(big + 0x123000, 0), SHADOW_MAPPED);
	CHECK_EQ(frame_seen(big + 0x123000), 0x923000);
	poke32(pde, N_UPT | PRESENT | W | U); /* split into small ones */
	CHECK_EQ(mmu_set_cr3(vm, cpu->cr3), 0);
	CHECK_EQ(protection(big + 0x123000), -1);
	/* Partly beyond the end of RAM. */
	poke32(pde, 0xfc00000 | PRESENT | W | U | PTE_PS);
	CHECK_EQ(touch(big, 0), SHADOW_EMULATE);
	/* Text seen through a large page is as read-only as anywhere. */
	poke32(pde, 0 | PRESENT | W | PTE_PS | A | D);
	CHECK_EQ(touch(big + N_TEXT, 0), SHADOW_MAPPED);
	CHECK_EQ(protection(big + N_TEXT), PROT_READ);
	CHECK_EQ(touch(big + N_TEXT - PAGE_SIZE, 0), SHADOW_MAPPED);
	CHECK_EQ(protection(big + N_TEXT - PAGE_SIZE), RW);
}

static void pae_on(void)
{
	for (unsigned i = 0; i < 4; i++)
		poke64(N_PDPT + i * 8, (N_PAE_PD + i * PAGE_SIZE) | PRESENT);
	memset(ram(N_PAE_PD), 0, 4 * PAGE_SIZE);
	cpu->efer = EFER_NXE;
	CHECK_EQ(mmu_set_cr0(vm, cpu->cr0 & ~(uint32_t)CR0_PG), 0);
	cpu->cr4 |= CR4_PAE;
	CHECK_EQ(mmu_set_cr3(vm, N_PDPT), 0);
	CHECK_EQ(mmu_set_cr0(vm, cpu->cr0 | CR0_PG), 0);
}

static uint32_t pae_pde(uint32_t at)
{
	return N_PAE_PD + (at >> 21) * 8;
}

NATIVE_TEST(pae_pages)
{
	uint32_t at = USER + 5 * PAGE_SIZE, big = 0x40000000;

	start();
	pae_on();
	poke64(pae_pde(USER), N_UPT | PRESENT | W | U);
	poke64(N_UPT + 5 * 8, 0x600000 | PRESENT | W | U | PTE_NX);
	CHECK_EQ(touch(at, ACCESS_USER), SHADOW_MAPPED);
	CHECK_EQ(protection(at), PROT_READ);
	CHECK_EQ(frame_seen(at), 0x600000);
	CHECK_EQ(touch(at, ACCESS_USER | ACCESS_WRITE), SHADOW_MAPPED);
	CHECK_EQ(protection(at), RW);
	raises(at, ACCESS_USER | ACCESS_FETCH, PF_P | PF_U | PF_I);
	poke64(N_UPT + 5 * 8, 0x600000 | PRESENT | W | U | A | D); /* executable now */
	CHECK_EQ(touch(at, ACCESS_USER | ACCESS_FETCH), SHADOW_MAPPED);
	CHECK_EQ(protection(at), RWX);
	poke64(N_UPT + 5 * 8, 0x600000 | PRESENT | W | U | A | D | PTE_NX); /* no more */
	mmu_invlpg(vm, gva(at));
	CHECK_EQ(protection(at), -1);

	poke64(pae_pde(big), 0x600000 | PRESENT | W | U | PTE_PS);
	CHECK_EQ(touch(big + 0x1000, ACCESS_WRITE), SHADOW_MAPPED);
	CHECK_EQ(frame_seen(big + 0x1000), 0x601000);
	CHECK_EQ(protection(big + 0x1000), RW);
	/* A page-directory pointer counts from the next load of CR3 on. */
	poke64(N_PDPT + 8, 0);
	mmu_invlpg(vm, gva(big + 0x1000));
	CHECK_EQ(protection(big + 0x1000), RW);
	CHECK_EQ(mmu_set_cr3(vm, N_PDPT), 0);
	CHECK_EQ(protection(big + 0x1000), -1);
	raises(big, 0, 0);
}

/* More large pages than tables: the oldest go, nothing is lost. */
NATIVE_TEST(tables_run_out)
{
	unsigned n = SHADOW_TABLES + 100, gone = 0;

	start();
	pae_on();
	for (unsigned slot = 1; slot <= n; slot++) {
		poke64(N_PAE_PD + slot * 8, (uint64_t)(slot % 8) << 21 | PRESENT | W | U | PTE_PS | A | D);
		CHECK_EQ(touch((slot << 21) + 0x41000, 0), SHADOW_MAPPED);
		CHECK_EQ(frame_seen((slot << 21) + 0x41000), (slot % 8 << 21) + 0x41000);
	}
	CHECK_EQ(vm->vmm->workers[0].shadow[SHADOW_LOW].n_tables, SHADOW_TABLES);
	for (unsigned slot = 1; slot <= n; slot += 9) {
		if (protection((slot << 21) + 0x41000) == -1)
			gone++;
		CHECK_EQ(touch((slot << 21) + 0x41000, 0), SHADOW_MAPPED);
		CHECK_EQ(frame_seen((slot << 21) + 0x41000), (slot % 8 << 21) + 0x41000);
	}
	CHECK(gone > 0);
	CHECK_EQ(atomic_load(&vm->shared.stop), STOP_NONE);
}

NATIVE_TEST(no_paging)
{
	start();
	CHECK_EQ(touch(map(0, PRESENT | W | U | A | D), 0), SHADOW_MAPPED);
	CHECK_EQ(mmu_set_cr0(vm, cpu->cr0 & ~(uint32_t)CR0_PG), 0);
	CHECK_EQ(protection(USER), -1); /* the tables mean nothing any more */
	CHECK_EQ(touch(FRAMES, ACCESS_WRITE), SHADOW_MAPPED);
	CHECK_EQ(frame_seen(FRAMES), FRAMES);
	CHECK_EQ(protection(FRAMES), RW);
	CHECK_EQ(touch(N_RAM + 0x1000, 0), SHADOW_EMULATE);
	CHECK_EQ(mmu_set_cr0(vm, cpu->cr0 | CR0_PG), 0);
	CHECK_EQ(protection(FRAMES), -1);
}

/* --- rings and code ------------------------------------------------------------------------------------------ */

/* Segment limits hide what lies above the split; below it only mappings do. */
NATIVE_TEST(supervisor_pages_are_hidden_from_user_mode)
{
	uint32_t user, supervisor, kernel = LINK + N_DATA;

	start();
	user = map(0, PRESENT | W | U | A | D);
	supervisor = map(2, PRESENT | W | A | D);
	CHECK_EQ(touch(user, ACCESS_USER), SHADOW_MAPPED);
	CHECK_EQ(touch(supervisor, 0), SHADOW_MAPPED);
	CHECK_EQ(touch(kernel, 0), SHADOW_MAPPED);
	CHECK_EQ(vm->vmm->workers[0].shadow[SHADOW_LOW].n_super_low, 1);
	shadow_enter_user(vm);
	CHECK_EQ(protection(user), RW);
	CHECK_EQ(protection(supervisor), -1);
	CHECK_EQ(protection(kernel), RW);
	CHECK_EQ(vm->vmm->workers[0].shadow[SHADOW_LOW].n_super_low, 0);
	/* The count follows all ways in and out. */
	CHECK_EQ(touch(supervisor, 0), SHADOW_MAPPED);
	CHECK_EQ(touch(supervisor, ACCESS_WRITE), SHADOW_MAPPED);
	CHECK_EQ(vm->vmm->workers[0].shadow[SHADOW_LOW].n_super_low, 1);
	poke32(upte(supervisor), 0);
	mmu_invlpg(vm, gva(supervisor));
	CHECK_EQ(vm->vmm->workers[0].shadow[SHADOW_LOW].n_super_low, 0);
}

/*
 * A call for each page that goes would cost a timer period where a kernel has a large page below the split: user mode
 * would be entered at every tick, and never get anywhere.
 */
NATIVE_TEST(supervisor_pages_go_by_the_run)
{
	uint64_t unmaps;
	uint32_t user;

	start();
	for (unsigned n = 0; n < 64; n++)
		map(n, PRESENT | W | A | D | (n == 40 ? U : 0));
	user = USER + 40 * PAGE_SIZE;
	poke32(upte(USER + 20 * PAGE_SIZE), 0); /* a hole keeps nothing apart */
	CHECK_EQ(touch(USER, 0), SHADOW_MAPPED);
	CHECK_EQ(touch(USER + 30 * PAGE_SIZE, 0), SHADOW_MAPPED);
	CHECK_EQ(touch(USER + 50 * PAGE_SIZE, 0), SHADOW_MAPPED);
	CHECK_EQ(touch(user, ACCESS_USER), SHADOW_MAPPED);
	CHECK_EQ(vm->vmm->workers[0].shadow[SHADOW_LOW].n_super_low, 62);
	unmaps = vm->stats.host_munmap;
	shadow_enter_user(vm);
	CHECK_EQ(vm->stats.host_munmap, unmaps + 2); /* before the user's page, and behind it */
	for (unsigned n = 0; n < 64; n++)
		CHECK_EQ(protection(USER + n * PAGE_SIZE), n == 40 ? RW : -1);
	CHECK_EQ(vm->vmm->workers[0].shadow[SHADOW_LOW].n_super_low, 0);
}

/* Text is read-only and executable at its own address alone; a write through any alias demotes it in all. */
NATIVE_TEST(aliases_of_code)
{
	uint32_t alias, user_alias;

	start();
	alias = map(0, 0);
	user_alias = map(2, 0);
	poke32(upte(alias), N_TEXT | PRESENT | W | A | D);
	poke32(upte(user_alias), N_TEXT | PRESENT | W | U | A | D);
	CHECK_EQ(touch(TEXT, ACCESS_FETCH), SHADOW_MAPPED);
	CHECK_EQ(protection(TEXT), RX);
	CHECK_EQ(touch(alias, 0), SHADOW_MAPPED);
	CHECK_EQ(protection(alias), PROT_READ);
	CHECK_EQ(touch(alias, ACCESS_FETCH), SHADOW_UNVERIFIED); /* windows jump by distance */

	CHECK_EQ(touch(alias, ACCESS_WRITE), SHADOW_MAPPED);
	CHECK_EQ(protection(alias), RW);
	CHECK(protection(TEXT) == -1 || !(protection(TEXT) & PROT_EXEC));
	CHECK(!shadow_executable(vm, gva(TEXT)));
	CHECK_EQ(touch(user_alias, ACCESS_USER | ACCESS_WRITE), SHADOW_MAPPED);
	CHECK_EQ(protection(user_alias), RW);

	CHECK_EQ(touch(TEXT, ACCESS_FETCH), SHADOW_MAPPED); /* verified again: read-only everywhere first */
	CHECK_EQ(protection(TEXT), RX);
	CHECK_EQ(protection(alias), PROT_READ);
	CHECK_EQ(protection(user_alias), PROT_READ);
	CHECK_EQ(touch(user_alias, ACCESS_USER | ACCESS_WRITE), SHADOW_MAPPED);
	CHECK(!shadow_executable(vm, gva(TEXT)));
	CHECK(protection(TEXT) == -1 || !(protection(TEXT) & PROT_EXEC));
}

/* --- all at once --------------------------------------------------------------------------------------------- */

#define PAGES 64

static int rights[PAGES];

static void look(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long from, to;
	char line[512], how[8];

	CHECK(f);
	memset(rights, 0xff, sizeof(rights));
	while (fgets(line, sizeof(line), f) && sscanf(line, "%lx-%lx %7s", &from, &to, how) == 3 &&
	       from < USER + PAGES * PAGE_SIZE)
		for (unsigned n = 0; n < PAGES; n++)
			if (USER + n * PAGE_SIZE >= from && USER + n * PAGE_SIZE < to)
				rights[n] = (how[0] == 'r') | (how[1] == 'w') << 1 | (how[2] == 'x') << 2;
	fclose(f);
}

/* What is mapped is covered by the entries as they stand now. */
static void covered(unsigned n)
{
	uint32_t pde = peek32(N_PD + (USER >> 20)), pte = peek32((pde & PAGE_MASK) + n * 4), both = pde & pte;

	if (rights[n] == -1)
		return;
	if (!(both & PRESENT) || !(both & A))
		native_fail(__FILE__, __LINE__, "page %u is mapped, its entries are %#x, %#x", n, pde, pte);
	CHECK_EQ(frame_seen(USER + n * PAGE_SIZE), pte & PAGE_MASK);
	if (rights[n] & PROT_WRITE && (!(both & W) || !(pte & D)))
		native_fail(__FILE__, __LINE__, "page %u is writable, its entries are %#x, %#x", n, pde, pte);
}

NATIVE_TEST(any_order_of_changes)
{
	static const uint32_t bits[] = {0,
					PRESENT,
					PRESENT | U,
					PRESENT | W | U,
					PRESENT | W | U | A | D,
					PRESENT | W | U | A | D,
					PRESENT | U | A | D,
					PRESENT | W | U | A | D | G};
	uint32_t random = 12345;

	start();
	for (unsigned step = 0; step < 30000; step++) {
		unsigned n, access;

		random = random * 1664525 + 1013904223;
		n = random >> 8 & (PAGES - 1);
		switch (random >> 28) {
		case 0:
		case 1:
		case 2:
			poke32(upte(USER + n * PAGE_SIZE),
			       (FRAMES + (n + (random >> 16 & 3)) * PAGE_SIZE) | bits[random >> 20 & 7]);
			break;
		case 3: /* a stretch alike, as mmap() makes */
			for (unsigned i = n; i < PAGES && i < n + 12; i++)
				map(i, bits[random >> 20 & 7]);
			break;
		case 4:
			random = random * 1664525 + 1013904223;
			mmu_invlpg(vm, gva(USER + n * PAGE_SIZE));
			look();
			covered(n);
			break;
		case 5: /* every entry that a TLB might hold is given up */
			shadow_log(vm, LOG_FLUSH_ALL, 0);
			look();
			for (unsigned i = 0; i < PAGES; i++)
				covered(i);
			break;
		case 6: /* the table moves; both hold the same for now */
			if (random >> 16 & 15)
				break;
			memcpy(ram(N_UPT2), ram(N_UPT), PAGE_SIZE);
			poke32(N_PD + (USER >> 20), N_UPT2 | PRESENT | W | U);
			shadow_load_cr3(vm);
			memset(ram(N_UPT2), 0, PAGE_SIZE);
			poke32(N_PD + (USER >> 20), N_UPT | PRESENT | W | U);
			shadow_load_cr3(vm);
			break;
		default:
			access = ACCESS_USER | (random >> 27 & 1 ? ACCESS_WRITE : 0);
			if (touch(USER + n * PAGE_SIZE, access) == SHADOW_MAPPED)
				(void)*(volatile uint32_t *)(uintptr_t)(USER + n * PAGE_SIZE);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(accessed_and_dirty),
	    cmocka_unit_test(rights_of_all_levels),
	    cmocka_unit_test(where_nothing_can_be_mapped),
	    cmocka_unit_test(neighbours_come_along),
	    cmocka_unit_test(write_protection_of_the_supervisor),
	    cmocka_unit_test(validation_at_cr3),
	    cmocka_unit_test(validation_at_invlpg),
	    cmocka_unit_test(global_pages_survive_cr3_only),
	    cmocka_unit_test(toggles_flush_what_the_monitor_remembers),
	    cmocka_unit_test(toggles_flush_what_the_monitor_remembers_long),
	    cmocka_unit_test(page_tables_that_move),
	    cmocka_unit_test(large_pages),
	    cmocka_unit_test(pae_pages),
	    cmocka_unit_test(tables_run_out),
	    cmocka_unit_test(no_paging),
	    cmocka_unit_test(supervisor_pages_are_hidden_from_user_mode),
	    cmocka_unit_test(supervisor_pages_go_by_the_run),
	    cmocka_unit_test(aliases_of_code),
	    cmocka_unit_test(any_order_of_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
