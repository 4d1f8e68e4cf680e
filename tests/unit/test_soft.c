// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Software TLBs and their address spaces: what an entry is, what makes it go, what one address space hears of another's
 * time, when user code gets mappings and so a worker of its own. Two address spaces have page tables of their own; nothing
 * is mapped here.
 */
#include "tests/unit/guest.h"

#include "hypercalls/lower_long.h"
#include "monitor/vmm/code.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/mmu.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/shadow.h"
#include "monitor/vmm/soft.h"
#include "monitor/vmm/translate_state.h"
#include "monitor/vmm/worker.h"

enum {
	DIR = 0x20000,
	DIRS = 0x40,
	TABLES = 0x80000,
	FRAMES = 0x200000,
	AT = 0x08048000,
	GLOBAL_AT = 0x08060000
};
#define RWU (PTE_P | PTE_W | PTE_U)
#define RWUAD (RWU | PTE_A | PTE_D)
#define TSC_HZ 1000000000ull
#define UNMAP_NS 100000

static uint8_t ram_bits[GUEST_RAM >> PAGE_SHIFT];
static uint8_t *views;
static uint16_t no_page[1 << 20];
static struct translate no_blocks = {.by_linear = no_page};

static uint32_t root(unsigned space)
{
	return DIR + space * PAGE_SIZE;
}

static uint32_t pte_at(unsigned space, uint32_t at)
{
	return TABLES + space * PAGE_SIZE + (at >> PAGE_SHIFT & 1023) * 4;
}

static void map(unsigned space, uint32_t at, uint32_t frame, uint32_t bits)
{
	poke32(pte_at(space, at), frame | bits);
}

static int setup(void **state)
{
	size_t table = sizeof(struct shadow_table) * SHADOW_TABLES, view = table + sizeof(struct lower_soft);

	if (guest_setup(state) || mmap(VM, sizeof(*vm), PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != VM)
		return -1;
	views = mmap(NULL, view * (SOFT_SPACES + 4), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (views == MAP_FAILED)
		return -1;
	*VM = *vm;
	free(vm);
	vm = VM;
	cpu = &vm->vcpu;
	vm->cfg.engine = ENGINE_LONG;
	vm->cfg.soft = true;
	vm->cfg.n_workers = 2;
	vm->cfg.tsc_hz = TSC_HZ;
	vm->cfg.hole_base = 0xff800000;
	vm->cfg.kernel_split = 0xc0000000;
	for (unsigned i = 0; i < SOFT_SPACES; i++) {
		vm->vmm->space[i].root = ~0ull;
		vm->vmm->space[i].shadow.tables = (struct shadow_table *)(views + view * i);
		vm->vmm->space[i].shadow.soft = (struct lower_soft *)(views + view * i + table);
	}
	for (unsigned i = 0; i < 4; i++)
		vm->vmm->workers[i / 2].shadow[i % 2].tables =
		    (struct shadow_table *)(views + view * (SOFT_SPACES + i));
	vm->vmm->workers[0].root = vm->vmm->workers[1].root = ~0ull;
	memset(ram_bits, 0, sizeof(ram_bits));
	vm->vmm->translate = &no_blocks;
	vm->vmm->code.ram = ram_bits;
	vm->vmm->code.n_ram = sizeof(ram_bits);
	for (unsigned space = 0; space < DIRS; space++)
		poke32(root(space) + (AT >> 22) * 4, (TABLES + space * PAGE_SIZE) | RWU);
	for (uint32_t frame = 0; frame < 16; frame++)
		poke32(FRAMES + frame * PAGE_SIZE, frame);
	cpu->cr0 |= CR0_PG | CR0_WP;
	cpu->cr4 |= CR4_PGE;
	guest_user();
	mmu_set_cr3(vm, root(0));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(vm->vmm);
	munmap(views,
	       (sizeof(struct shadow_table) * SHADOW_TABLES + sizeof(struct lower_soft)) * (SOFT_SPACES + 4));
	munmap(VM, sizeof(*vm));
	return munmap((void *)RAM_BASE, GUEST_RAM);
}

static const struct lower_soft *present(void)
{
	return vm->vmm->space[vm->vmm->space_now].shadow.soft;
}

/* What a block finds for an access of `size` bytes: a host address, NULL to leave. */
static uint32_t *found(uint32_t at, uint32_t size, bool write)
{
	const struct lower_soft_part *p = write ? &present()->write : &present()->read;
	uint64_t add = p->add[at >> PAGE_SHIFT];

	return add + p->one_minus_add[(at + size - 1) >> PAGE_SHIFT] == 1 ? (uint32_t *)(uintptr_t)(at + add)
									  : NULL;
}

#define reads(at) found(at, 4, false)
#define writes(at) found(at, 4, true)

static bool fill(uint32_t at, bool write)
{
	return soft_miss(vm, gva(at), 4, write);
}

static void the_monitor_goes_by_the_table_too(void **state)
{
	void *host;

	(void)state;
	map(0, AT, FRAMES + 3 * PAGE_SIZE, RWU | PTE_A);
	assert_int_equal(soft_host(vm, gva(AT + 8), ACCESS_USER, &host), 0); /* an entry is made, as for user code itself */
	assert_ptr_equal(host, ram(FRAMES + 3 * PAGE_SIZE + 8));
	assert_int_equal(*reads(AT), 3);
	assert_int_equal(soft_host(vm, gva(AT + 12), ACCESS_USER | ACCESS_WRITE, &host), 0);
	assert_ptr_equal(host, ram(FRAMES + 3 * PAGE_SIZE + 12));
	assert_true(peek32(pte_at(0, AT)) & PTE_D);
	assert_int_equal(soft_host(vm, gva(AT + PAGE_SIZE), ACCESS_USER, &host), -EFAULT);
	assert_null(host);
	assert_int_equal(cpu->exc_vector, EXC_PF);
	cpu->exc_vector = EXC_NONE;
	map(0, AT + PAGE_SIZE, FRAMES, RWUAD);
	cpu->cpl = 0; /* the kernel's accesses to user memory too; its own is in no table */
	assert_int_equal(soft_host(vm, gva(AT + PAGE_SIZE), 0, &host), 0);
	assert_ptr_equal(host, ram(FRAMES));
	vm->cfg.kernel_split = AT;
	soft_clear(vm->vmm->space[vm->vmm->space_now].shadow.soft, AT, PAGE_SIZE);
	assert_int_equal(soft_host(vm, gva(AT), 0, &host), 0);
	assert_null(host);
}

static void an_entry_shows_the_frame(void **state)
{
	(void)state;
	map(0, AT, FRAMES + 3 * PAGE_SIZE, RWU | PTE_A);
	assert_null(reads(AT));
	assert_true(fill(AT + 8, false));
	assert_int_equal(*reads(AT), 3);
	assert_null(writes(AT)); /* not dirty yet */
	assert_true(fill(AT + 8, true));
	assert_ptr_equal(writes(AT), ram(FRAMES + 3 * PAGE_SIZE));
	assert_true(peek32(pte_at(0, AT)) & PTE_D);
}

static void neighbours_come_along(void **state)
{
	const uint32_t first = AT & ~0xffffu;

	(void)state;
	for (unsigned i = 0; i < 16; i++)
		map(0, first + i * PAGE_SIZE, FRAMES + (i * 5 % 16) * PAGE_SIZE, RWUAD);
	map(0, first + 3 * PAGE_SIZE, FRAMES, RWU | PTE_A);	  /* not dirty */
	map(0, first + 4 * PAGE_SIZE, FRAMES, PTE_P | PTE_U | PTE_A | PTE_D); /* read-only */
	map(0, first + 5 * PAGE_SIZE, FRAMES, PTE_P | PTE_W | PTE_A | PTE_D); /* the kernel's */
	map(0, first + 6 * PAGE_SIZE, 0, 0);
	map(0, first + 7 * PAGE_SIZE, GUEST_RAM, RWUAD); /* no RAM there */
	map(0, first + 16 * PAGE_SIZE, FRAMES, RWUAD);
	assert_true(fill(first + 9 * PAGE_SIZE, true));
	for (unsigned i = 0; i < 17; i++)
		if (i < 16 && (i < 3 || i > 7))
			assert_ptr_equal(writes(first + i * PAGE_SIZE), ram(FRAMES + (i * 5 % 16) * PAGE_SIZE));
		else
			assert_null(reads(first + i * PAGE_SIZE));
	map(0, first + 2 * PAGE_SIZE, FRAMES, RWUAD); /* and go one by one */
	mmu_invlpg(vm, gva(first + 2 * PAGE_SIZE));
	assert_null(reads(first + 2 * PAGE_SIZE));
	assert_ptr_equal(writes(first + PAGE_SIZE), ram(FRAMES + 5 * PAGE_SIZE));
}

/* A CR3 load looks at each entry, wherever it stands among others. */
static void one_of_many_changes(void **state)
{
	const uint32_t first = AT & ~0xffffu;

	(void)state;
	for (unsigned changed = 0; changed < 16; changed++) {
		for (unsigned i = 0; i < 16; i++)
			map(0, first + i * PAGE_SIZE, FRAMES + i * PAGE_SIZE, RWUAD);
		assert_true(fill(first + 9 * PAGE_SIZE, true));
		map(0, first + changed * PAGE_SIZE, FRAMES + changed * PAGE_SIZE, RWU | PTE_A); /* it must be told of writes again */
		mmu_set_cr3(vm, root(0));
		for (unsigned i = 0; i < 16; i++)
			if (i == changed)
				assert_null(reads(first + i * PAGE_SIZE));
			else
				assert_ptr_equal(writes(first + i * PAGE_SIZE), ram(FRAMES + i * PAGE_SIZE));
		fill(first + changed * PAGE_SIZE, true);
	}
}

static void a_fault_is_the_guests(void **state)
{
	(void)state;
	map(0, AT, FRAMES, PTE_P | PTE_U | PTE_A);
	assert_true(fill(AT, false));
	assert_false(fill(AT, true));
	assert_int_equal(cpu->exc_vector, EXC_PF);
	assert_int_equal(cpu->exc_cr2, AT);
	assert_null(writes(AT));
	cpu->exc_vector = EXC_NONE;
	map(0, AT + PAGE_SIZE, FRAMES, PTE_P | PTE_W);
	assert_false(fill(AT + PAGE_SIZE, false));
	assert_null(reads(AT + PAGE_SIZE));
}

/* Frames that follow each other serve an access across both; others break it in two, out of line. */
static void an_access_across_pages(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++)
		map(0, AT + i * PAGE_SIZE, FRAMES + (i == 2 ? 9 : i) * PAGE_SIZE, RWUAD);
	assert_true(fill(AT + PAGE_SIZE - 2, false));
	assert_non_null(reads(AT + PAGE_SIZE - 2));
	assert_false(fill(AT + 2 * PAGE_SIZE - 2, false));
	assert_int_equal(cpu->exc_vector, EXC_NONE);
	assert_int_equal(vm->vmm->step_once, 1);
	assert_null(reads(AT + 2 * PAGE_SIZE - 2));
}

static void what_a_tlb_forgets(void **state)
{
	(void)state;
	map(0, AT, FRAMES, RWUAD);
	map(0, AT + 2 * PAGE_SIZE, FRAMES + 2 * PAGE_SIZE, RWUAD);
	assert_true(fill(AT, true) && fill(AT + 2 * PAGE_SIZE, true));
	map(0, AT, FRAMES + 5 * PAGE_SIZE, RWUAD);
	mmu_invlpg(vm, gva(AT));
	assert_null(reads(AT));
	assert_non_null(writes(AT + 2 * PAGE_SIZE));
	assert_true(fill(AT, false));
	assert_int_equal(*reads(AT), 5);
	map(0, AT + 2 * PAGE_SIZE, FRAMES + 2 * PAGE_SIZE, PTE_P | PTE_U | PTE_A); /* as fork() does */
	mmu_set_cr3(vm, root(0));
	assert_null(writes(AT + 2 * PAGE_SIZE));
	assert_non_null(writes(AT));
}

static void address_spaces_keep_their_entries(void **state)
{
	(void)state;
	map(0, AT, FRAMES, RWUAD);
	map(1, AT, FRAMES + PAGE_SIZE, RWUAD);
	assert_true(fill(AT, true));
	mmu_set_cr3(vm, root(1));
	assert_null(reads(AT));
	assert_true(fill(AT, false));
	assert_int_equal(*reads(AT), 1);
	mmu_set_cr3(vm, root(0));
	assert_int_equal(*reads(AT), 0);
	mmu_set_cr3(vm, root(1));
	map(0, AT, FRAMES + 7 * PAGE_SIZE, RWUAD); /* behind its back */
	mmu_set_cr3(vm, root(0));
	assert_null(reads(AT));
}

/* Code made from a page while another address space was present: it is not written to without notice. */
static void a_code_page_is_read_only_everywhere(void **state)
{
	(void)state;
	map(0, AT, FRAMES, RWUAD);
	map(1, AT, FRAMES, RWUAD);
	assert_true(fill(AT, true));
	mmu_set_cr3(vm, root(1));
	assert_true(fill(AT, true));
	code_note_translated(vm, FRAMES >> PAGE_SHIFT);
	assert_null(writes(AT));
	assert_non_null(reads(AT));
	mmu_set_cr3(vm, root(0));
	assert_null(writes(AT));
	assert_non_null(reads(AT));
}

/* A global page outlives CR3 loads, and goes from every address space by one INVLPG; also after more than the log holds. */
static void an_absent_space_hears_of_invalidations(void **state)
{
	static const unsigned more[] = {0, LOG_SIZE};

	(void)state;
	for (unsigned n = 0; n < ARRAY_LEN(more); n++) {
		map(0, GLOBAL_AT, FRAMES, RWUAD | PTE_G);
		mmu_set_cr3(vm, root(0));
		assert_true(fill(GLOBAL_AT, false));
		mmu_set_cr3(vm, root(1));
		poke32(pte_at(0, GLOBAL_AT), 0);
		mmu_invlpg(vm, gva(GLOBAL_AT));
		for (unsigned i = 0; i < more[n]; i++)
			shadow_log(vm, LOG_INVLPG, AT);
		mmu_set_cr3(vm, root(0));
		assert_null(reads(GLOBAL_AT));
	}
}

static void more_address_spaces_than_tables(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 3; round++)
		for (unsigned space = 0; space < SOFT_SPACES + 5; space++) {
			map(space, AT, FRAMES + (space + round) % 16 * PAGE_SIZE, RWUAD);
			mmu_set_cr3(vm, root(space));
			assert_true(!reads(AT) || *reads(AT) == (space + round) % 16);
			assert_true(fill(AT, false));
			assert_int_equal(*reads(AT), (space + round) % 16);
		}
}

static void compute(unsigned ticks)
{
	for (unsigned i = 0; i < ticks; i++) {
		vm->vmm->space[vm->vmm->space_now].last_tick = 0;
		soft_tick(vm);
	}
}

static void code_that_computes_gets_mappings(void **state)
{
	(void)state;
	assert_true(soft_active(vm));
	compute(1);
	assert_true(soft_active(vm));
	map(0, AT, FRAMES, RWUAD);
	for (unsigned i = 0; i < 100; i++) /* busy with pages: the count starts again */
		fill(AT, true);
	compute(1);
	compute(1);
	assert_true(soft_active(vm));
	compute(1);
	assert_false(soft_active(vm));
	mmu_set_cr3(vm, root(1));
	assert_true(soft_active(vm)); /* each for itself */
	mmu_set_cr3(vm, root(0));
	assert_false(soft_active(vm));
	for (unsigned i = 0; i < 50; i++)
		soft_count_mapping(vm, UNMAP_NS);
	soft_settle(vm);
	assert_false(soft_active(vm)); /* the first milliseconds are no measure: what is mapped then may be used for long */
	for (unsigned i = 0; i < 100; i++)
		soft_count_mapping(vm, UNMAP_NS);
	assert_false(soft_active(vm)); /* not in the middle of what the monitor does */
	soft_settle(vm);
	assert_true(
	    soft_active(vm)); /* mapping took too long, and the next time it has to compute for longer */
	compute(2);
	assert_true(soft_active(vm));
	compute(2);
	assert_false(soft_active(vm));
}

/* The CPU goes to another address space and comes back, n times. */
static void take_turns(unsigned n)
{
	while (n--) {
		mmu_set_cr3(vm, root(1));
		mmu_set_cr3(vm, root(0));
	}
}

static void code_that_takes_turns_gets_no_mappings(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		take_turns(20);
		compute(1);
	}
	assert_true(soft_active(vm));
	take_turns(3);
	compute(1);
	compute(1);
	assert_false(soft_active(vm));
	take_turns(20);
	compute(1);
	assert_false(soft_active(vm)); /* not in the middle of what the monitor does */
	soft_settle(vm);
	assert_true(soft_active(vm));
}

static void call(unsigned n)
{
	while (n--)
		soft_count_call(vm);
}

static void code_that_computes_runs_natively(void **state)
{
	(void)state;
	compute(5);
	assert_false(soft_native(vm)); /* not on every host */
	vm->cfg.native_user = true;
	call(100); /* one that calls its kernel all the time gets mappings, and no more */
	compute(1);
	assert_false(soft_active(vm));
	assert_false(soft_native(vm));
	call(3);
	compute(1);
	assert_true(soft_native(vm));
	mmu_set_cr3(vm, root(1));
	assert_false(soft_native(vm));
	mmu_set_cr3(vm, root(0));
	assert_true(soft_native(vm));
	cpu->cpl = 0;
	call(100); /* of the kernel itself */
	assert_true(soft_native(vm));
	cpu->cpl = 3;
	call(100); /* at once, and it has to compute for longer the next time */
	assert_false(soft_native(vm));
	assert_false(soft_active(vm));
	compute(2);
	assert_false(soft_native(vm));
	compute(1);
	assert_true(soft_native(vm));
	for (unsigned i = 0; i < 100; i++)
		soft_count_mapping(vm, UNMAP_NS);
	soft_settle(vm);
	assert_false(soft_native(vm)); /* it goes with the mappings */
}

static void the_baton_goes_to_mappings_only(void **state)
{
	(void)state;
	compute(2);
	assert_false(worker_is_home(vm));
	assert_int_equal(shadow_fault(vm, gva(AT), ACCESS_USER), SHADOW_AWAY);
	worker_go_home(vm);
	assert_int_equal(vm->vmm->next_worker, 0); /* the first that is free is this one */
	assert_true(worker_is_home(vm));
	mmu_set_cr3(vm, root(1));
	assert_int_equal(vm->vmm->next_worker, 0);
	assert_false(worker_is_home(vm));
	compute(2);
	worker_go_home(vm);
	assert_int_equal(vm->vmm->next_worker, 1); /* this one stands for the first address space */
	mmu_set_cr3(vm, root(2));
	assert_int_equal(vm->vmm->next_worker, 0);
	mmu_set_cr3(vm, root(1));
	assert_int_equal(vm->vmm->next_worker, 1);
}

static void nobody_is_woken_without_need(void **state)
{
	(void)state;
	worker_set_self(1);
	compute(2);
	worker_go_home(vm);
	assert_int_equal(vm->vmm->next_worker, 1); /* though 0 is free for longer */
	worker_set_self(0);
}

#define KMAP 0xf0000000u
#define CODE_AT 0x08049000u

/* Does the instruction, at CPL 0, become the monitor's when it faults in the region at KMAP? */
static bool left_to_the_monitor(const char *bytes, size_t len)
{
	cpu->eip += 16;
	memcpy(ram(FRAMES) + (cpu->eip & 0xfff), bytes, len);
	return soft_learn(vm, gva(KMAP)) && soft_way(vm, cpu->eip) == SOFT_ASIDE;
}
#define LEFT(bytes) left_to_the_monitor(bytes, sizeof(bytes) - 1)

static void what_is_remapped_all_the_time_is_not_mapped(void **state)
{
	struct shadow *window = &vm->vmm->workers[0].shadow[SHADOW_WINDOW];

	(void)state;
	map(0, CODE_AT, FRAMES, RWUAD);
	guest_ring(0, K_CS, K_DS, 0x1000);
	cpu->eip = CODE_AT;
	vm->vmm->world.fpu_saved = 1; /* nothing of the guest is in the registers */
	vm->vmm->in_block = 1;
	assert_false(LEFT("\xc7\x00\x00\x00\x00\x00")); /* movl $0, (%eax): nothing is known of the region */
	assert_int_equal(soft_way(vm, cpu->eip), SOFT_NO);
	window->n_tables = 1;
	window->slot[KMAP >> 22] = 1;
	window->tables[0].used = 1;
	assert_false(LEFT("\xc7\x00\x00\x00\x00\x00"));
	window->tables[0].invlpg_drops = 1000;
	assert_true(LEFT("\xc7\x00\x00\x00\x00\x00"));
	assert_true(LEFT("\xf3\xab"));  /* rep stosl */
	assert_true(LEFT("\xf3\xa5"));  /* rep movsl */
	assert_true(LEFT("\xa4"));	/* movsb */
	assert_false(LEFT("\xf3\xa6")); /* repe cmpsb: one element after the other */
	assert_false(LEFT("\xd9\x00")); /* flds (%eax): not by the interpreter */
	cpu->cpl = 3;
	assert_false(LEFT("\xf3\xab"));
}

static void the_kernels_way_to_user_memory(void **state)
{
	struct shadow *window = &vm->vmm->workers[0].shadow[SHADOW_WINDOW];

	(void)state;
	map(0, AT, FRAMES, RWUAD);
	map(0, CODE_AT, FRAMES, RWUAD);
	guest_ring(0, K_CS, K_DS, 0x1000);
	cpu->eip = CODE_AT + 0x800; /* what is learned is learned for all tests */
	vm->vmm->world.fpu_saved = 1;
	vm->vmm->in_block = 1;
	memcpy(ram(FRAMES + 0x800), "\xf3\xa5", 2); /* rep movsl */
	assert_true(soft_learn(vm, gva(AT)));
	assert_int_equal(soft_way(vm, cpu->eip), SOFT_TABLE);
	assert_false(soft_learn(vm, gva(AT))); /* once */
	assert_false(soft_learn(vm, gva(KMAP)));
	window->n_tables = 1;
	window->slot[KMAP >> 22] = 1;
	window->tables[0].used = 1;
	window->tables[0].invlpg_drops = 1000;
	assert_true(soft_learn(vm, gva(KMAP))); /* its other side is remapped all the time */
	assert_int_equal(soft_way(vm, cpu->eip), SOFT_ASIDE);
}

#define soft_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    soft_test(the_monitor_goes_by_the_table_too),
	    soft_test(the_kernels_way_to_user_memory),
	    soft_test(an_entry_shows_the_frame),
	    soft_test(neighbours_come_along),
	    soft_test(one_of_many_changes),
	    soft_test(a_fault_is_the_guests),
	    soft_test(an_access_across_pages),
	    soft_test(what_a_tlb_forgets),
	    soft_test(address_spaces_keep_their_entries),
	    soft_test(a_code_page_is_read_only_everywhere),
	    soft_test(an_absent_space_hears_of_invalidations),
	    soft_test(more_address_spaces_than_tables),
	    soft_test(code_that_computes_gets_mappings),
	    soft_test(code_that_takes_turns_gets_no_mappings),
	    soft_test(code_that_computes_runs_natively),
	    soft_test(the_baton_goes_to_mappings_only),
	    soft_test(nobody_is_woken_without_need),
	    soft_test(what_is_remapped_all_the_time_is_not_mapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
