// SPDX-License-Identifier: GPL-3.0-or-later
/* Pages of a module without a plan: translated until they settle, looked at, promoted, written to, promoted again. */
#include "tests/unit/module_guest.h"

#include "monitor/vmm/clock.h"

#define SOON 28 /* log2 of TSC cycles, as in module.c */

static const char source[] = ".text\n"
			     "first: pushf; cli; movl $1, %eax; popf; ret\n"
			     ".balign 16\n"
			     "label: cli; .byte 0x3e, 0x8d, 0x74, 0x26, 0; ret\n" /* Linux's 5-byte no-op */
			     ".balign 16\n"
			     "second: testl %eax, %eax; je 1f; popf; nop; ret; 1: movl $2, %eax; ret\n"
			     ".balign 16\n"
			     "looper: inb $0x60, %al; movl %eax, %ebx; 2: incl %ecx; jmp far_away\n"
			     ".balign 16\n"
			     "third: sti; movl $third, %eax; ret\n"
			     ".balign 16, 0\n" /* as between two sections */
			     "fourth: ret\n"
			     ".balign 4096\n"
			     "other: cli; movl $1, %eax; ret\n"
			     "far_away: jmp 2b\n"
			     ".data\n.balign 4096\n"
			     "table: .long first, label, second, looper, third, fourth, other\n"
			     "spare: .long 0\n";

static int setup(void **state)
{
	return module_guest_setup(state, source, false);
}

static struct module_page *slot(uint32_t linear)
{
	return &vm->vmm->modules->page[vm->vmm->modules->by_pfn[page_of(linear).a >> PAGE_SHIFT] - 1];
}

/* Control arrives at eip while nothing was written to its page for 2^log2 cycles; it is translated if it must be. */
static bool arrives(uint32_t eip, unsigned log2)
{
	uint32_t pfn = (uint32_t)(page_of(eip).a >> PAGE_SHIFT);
	bool direct;

	if (vm->vmm->modules->by_pfn[pfn])
		slot(eip)->since = clock_tsc() - (1ull << log2);
	cpu->eip = eip;
	direct = execute(eip & PAGE_MASK);
	if (!direct)
		vm->vmm->code.ram[pfn] |= RAM_TRANSLATED;
	return direct;
}

/* Control has been at all functions of the first page; then it settles. */
static bool settles(void)
{
	static const char *const functions[] = {"first", "label", "second", "third"};
	bool done = false;

	for (unsigned i = 0; i < 4; i++) {
		assert_false(arrives(named(functions[i]), 0));
		assert_false(done);
	}
	return arrives(named("first"), SOON);
}

static void spare(uint32_t word)
{
	memcpy(at(named("spare")), &word, 4);
}

static void a_page_settles_and_is_promoted(void **state)
{
	uint32_t first = named("first");

	(void)state;
	assert_true(settles());
	assert_int_not_equal(jumps_to(first), 0);
	assert_true(module_in_window(vm, first + 1) && module_runs_directly(vm, first));
	assert_int_not_equal(jumps_to(named("second")), 0); /* its popf grew backward: a no-op is behind it */
	assert_true(module_after_sti(vm, named("third") + 1));
	assert_int_equal(*at(named("looper")), 0xe4); /* not known to have run: it traps */
	assert_int_equal(vm->stats.module_unplanned, 1);
	assert_int_equal(vm->stats.module_pages, 1);
	assert_int_equal(vm->stats.module_met, 1);
	assert_in_range(vm->stats.module_insns, 30, PAGE_SIZE); /* no-ops of the assembler fill it */
	demote(text);
	check_source();
	assert_int_equal(vm->stats.module_pages, 0);
}

static void what_the_guest_compares_before_it_writes_is_left_alone(void **state)
{
	uint32_t label = named("label");

	(void)state;
	assert_true(settles());
	assert_int_equal(*at(label), 0xfa); /* the cli found no room for its window: it traps */
	assert_int_equal(*at(label + 1), 0x3e);
}

static void a_write_puts_it_off_and_often_the_longer(void **state)
{
	(void)state;
	for (unsigned strikes = 0; strikes < 12; strikes++) {
		unsigned doubled = strikes < 7 ? strikes : 7;

		assert_false(arrives(named("first"), SOON + doubled - 1));
		arrives(named("second"), 0);
		assert_true(arrives(named("first"), SOON + doubled));
		demote(text);
		assert_false(module_runs_directly(vm, named("first")));
		check_source();
	}
	assert_true(arrives(named("first"), SOON + 7) == false); /* nobody has been at the popf since */
	slot(text)->strikes = 0;
	slot(text)->tries = 0;
	arrives(named("second"), 0);
	assert_true(arrives(named("first"), SOON));
	slot(text)->promoted -= 1ull << 33; /* it ran for seconds: forgiven */
	demote(text);
	arrives(named("second"), 0);
	assert_true(arrives(named("first"), SOON));
}

static void what_may_not_trap_must_have_run(void **state)
{
	(void)state;
	assert_false(arrives(named("first"), 0));
	assert_false(arrives(named("first"), SOON));
	assert_int_equal(vm->stats.module_scans[SCAN_UNPROVEN], 1);
	check_source();
	assert_false(arrives(named("second"), SOON)); /* in vain once: it takes twice as long */
	assert_true(arrives(named("second"), SOON + 1));
}

static void without_pointers_nothing_is_known(void **state)
{
	(void)state;
	memset(at(named("table")), 0, 28);
	assert_false(settles());
	assert_int_equal(vm->stats.module_scans[SCAN_NO_ANCHOR], 1);
}

static void pointers_into_instructions_are_believed(void **state)
{
	(void)state;
	spare(named("first") + 3);
	assert_false(settles());
	assert_int_equal(vm->stats.module_scans[SCAN_CONTRADICTED], 1);
	spare(named("first") + 2); /* a start is fine, but no window goes across it */
	assert_true(arrives(named("first"), SOON + 1));
	assert_false(module_in_window(vm, named("first") + 2));
	assert_int_equal(*at(named("first")), 0xcc);
}

/* Code is no table, whatever its bytes look like as a word. */
static void pages_that_were_writable_are_forgotten(void **state)
{
	(void)state;
	assert_false(arrives(named("second"), 0));
	vm->vmm->code.ram[page_of(text).a >> PAGE_SHIFT] &= (uint8_t)~RAM_TRANSLATED;
	assert_false(arrives(named("first"), SOON));
	assert_false(bit_at(slot(text)->entered, named("second") & (PAGE_SIZE - 1)));
}

static void pointers_in_code_are_none(void **state)
{
	uint32_t word = named("first") + 3;

	(void)state;
	memcpy(at((named("far_away") + 8) & ~3u), &word, 4);
	assert_false(settles());
	vm->vmm->code.ram[page_of(named("far_away")).a >> PAGE_SHIFT] = RAM_TRANSLATED;
	assert_true(arrives(named("first"), SOON + 1));
}

static void control_in_the_middle_of_an_instruction_is_believed(void **state)
{
	(void)state;
	assert_false(arrives(named("first") + 4, 0));
	assert_false(settles());
	assert_int_equal(vm->stats.module_scans[SCAN_CONTRADICTED], 1);
}

static void padding_ends_where_something_points(void **state)
{
	(void)state;
	assert_int_equal(*at(named("fourth") - 1), 0);
	spare(named("fourth"));
	memcpy(at(named("table")) + 20, "\0\0\0\0", 4);
	assert_true(settles());
	demote(text);
	slot(text)->strikes = 0;
	spare(0);
	assert_false(settles());
	assert_int_equal(vm->stats.module_scans[SCAN_UNCLEAR], 1);
}

static void int3_hides_the_start_of_an_instruction(void **state)
{
	(void)state;
	*at(named("second") + 5) = 0xcc;
	assert_false(settles());
	assert_int_equal(vm->stats.module_scans[SCAN_UNCLEAR], 1);
}

static void pages_that_lead_into_each_other(void **state)
{
	uint32_t between = named("looper") + 4, other = named("other");

	(void)state;
	assert_false(arrives(named("looper"), 0));
	assert_true(settles()); /* with a window from looper on, across `between` */
	assert_true(module_in_window(vm, between));
	assert_false(arrives(other, 0));
	assert_false(arrives(named("far_away"), 0));
	assert_true(arrives(other, SOON)); /* which leads to `between` */
	assert_int_equal(*at(named("looper")), 0xe4);
	assert_false(module_verified(vm, gva(text), page_of(text)));
	cpu->eip = named("first"); /* nobody has written to it, so at once */
	assert_true(execute(text));
	assert_false(module_in_window(vm, between));
	assert_true(module_verified(vm, gva(other), page_of(other)));
}

static void traps_earn_a_window(void **state)
{
	uint32_t looper = named("looper");

	(void)state;
	assert_true(settles());
	for (unsigned n = 0; n < 15; n++)
		module_trapped(vm, looper);
	assert_true(module_verified(vm, gva(text), page_of(text)));
	module_trapped(vm, looper);
	cpu->eip = looper;
	assert_true(execute(text));
	assert_int_not_equal(jumps_to(looper), 0);
	for (unsigned n = 0; n < 100;
	     n++) /* this one has no room for a window, and is not looked at for ever */
		module_trapped(vm, named("label"));
	assert_true(module_verified(vm, gva(text), page_of(text)));
}

/* Blocks of it show where control has been, whoever led it there. */
static void translation_is_evidence(void **state)
{
	uint32_t second = named("second"), page;

	(void)state;
	assert_false(arrives(named("first"), SOON));
	page = cache_bind(vm, second >> PAGE_SHIFT, (uint32_t)(page_of(second).a >> PAGE_SHIFT), false);
	cache_add(vm, &(struct block){.eip = second, .page = {page}});
	assert_true(arrives(named("first"), SOON));
	assert_true(bit_at(slot(text)->entered, second & (PAGE_SIZE - 1)));
}

static void other_modes_never_promote(void **state)
{
	(void)state;
	vm->cfg.mode = MODE_DIRECT;
	assert_false(settles());
	vm->cfg.mode = MODE_TRANSLATE;
	assert_false(arrives(named("first"), SOON));
	assert_int_equal(vm->stats.module_scans[SCAN_WHOLE], 0);
}

/* Whatever the bytes are, they come back. */
static void hostile_pages(void **state)
{
	uint8_t *copy = malloc(pages << PAGE_SHIFT);
	uint32_t seed = 1;

	(void)state;
	for (uint32_t i = 0; i < pages; i++)
		memcpy(copy + (i << PAGE_SHIFT), at(BASE + (i << PAGE_SHIFT)), PAGE_SIZE);
	for (unsigned n = 0; n < 3000; n++) {
		uint32_t page = BASE + (n % 2 ? 0 : pages - 1) * PAGE_SIZE, changed[3];

		for (unsigned k = 0; k < 3; k++) {
			seed = seed * 1103515245 + 12345;
			changed[k] = page + (seed >> 8) % 128;
			*at(changed[k]) ^= (uint8_t)(1u << (seed >> 4 & 7));
		}
		slot(text)->strikes = slot(text)->tries = 0;
		arrives(named("second"), 0);
		if (arrives(named("first"), SOON))
			demote(text);
		for (unsigned k = 0; k < 3; k++)
			*at(changed[k]) = copy[changed[k] - BASE];
		demote(text);
		check_source();
	}
	assert_in_range(vm->stats.module_scans[SCAN_WHOLE], 100, 2900);
	free(copy);
}

/* --- how often the memory around is gone through --------------------------------------------------------------- */

static bool rests(uint32_t linear)
{
	return module_rests(vm->vmm->modules, MODULE_SEARCH_CODE, linear);
}

/* The stretch was gone through for 2^log2 cycles. */
static void gone_through(uint32_t first, unsigned log2)
{
	module_rest(vm->vmm->modules, MODULE_SEARCH_CODE, first, first, first + (16 << 20), 1ull << log2);
}

static void a_stretch_rests_in_proportion(void **state)
{
	struct module_rest *r = vm->vmm->modules->rest[MODULE_SEARCH_CODE];
	uint64_t start = clock_tsc();

	(void)state;
	gone_through(BASE, 23); /* 2^28 of the 2^30 that it has in advance */
	assert_false(rests(BASE));
	gone_through(BASE, 27); /* 2^32 */
	assert_true(rests(BASE) && rests(BASE + (16 << 20) - 1));
	assert_false(rests(BASE - 1) || rests(BASE + (16 << 20)));
	assert_false(module_rests(vm->vmm->modules, MODULE_SEARCH_PLAN, BASE));
	assert_in_range(r->until - start, (1ull << 32) - (3ull << 28), clock_tsc() - start + (1ull << 32));
	gone_through(BASE, 40); /* it was stopped for minutes */
	assert_in_range(r->until - clock_tsc(), 0, 1ull << 33);
	for (uint32_t n = 1; n < 100; n++) /* small ones come and go */
		gone_through(n << 24, 10);
	assert_true(rests(BASE));
	r->until = clock_tsc();
	assert_false(rests(BASE));
}

/* Among 32 MiB of mapped memory, as a kernel's own code is that nobody patched. */
static void map_all_around(void)
{
	cpu->cr4 |= CR4_PSE;
	for (uint32_t n = 1; n <= 4; n++) {
		poke32(PD + ((BASE >> 22) + n) * 4, 0xe3);
		poke32(PD + ((BASE >> 22) - n) * 4, 0xe3);
	}
	for (uint32_t i = pages; i < 1024; i++)
		poke32(PT + i * 4, ROOM | 0x63);
}

static void pages_that_change_all_the_time_cost_little(void **state)
{
	uint32_t pfn = (uint32_t)(page_of(text).a >> PAGE_SHIFT);
	uint8_t *flags = &vm->vmm->code.ram[pfn];

	(void)state;
	map_all_around();
	memset(at(named("table")), 0, 28);
	cpu->eip = named("first");
	for (unsigned n = 0; n < 400; n++) {
		*flags = 0; /* written to */
		assert_false(module_execute(vm, gva(text), page_of(text)));
	}
	assert_in_range(vm->stats.module_searches, 1, 100);
	for (unsigned n = 0; n < 400; n++) {
		*flags = RAM_TRANSLATED | RAM_REFUSED;
		slot(text)->since = slot(text)->tries = 0;
		assert_false(module_execute(vm, gva(text), page_of(text)));
	}
	assert_in_range(vm->stats.module_scans[SCAN_NO_ANCHOR], 1, 100);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, module_guest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_page_settles_and_is_promoted),
	    T(what_the_guest_compares_before_it_writes_is_left_alone),
	    T(a_write_puts_it_off_and_often_the_longer),
	    T(what_may_not_trap_must_have_run),
	    T(without_pointers_nothing_is_known),
	    T(pointers_into_instructions_are_believed),
	    T(pages_that_were_writable_are_forgotten),
	    T(pointers_in_code_are_none),
	    T(control_in_the_middle_of_an_instruction_is_believed),
	    T(padding_ends_where_something_points),
	    T(int3_hides_the_start_of_an_instruction),
	    T(pages_that_lead_into_each_other),
	    T(traps_earn_a_window),
	    T(translation_is_evidence),
	    T(other_modes_never_promote),
	    T(hostile_pages),
	    T(a_stretch_rests_in_proportion),
	    T(pages_that_change_all_the_time_cost_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
