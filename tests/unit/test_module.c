// SPDX-License-Identifier: GPL-3.0-or-later
/* Pages of a patched module in guest memory: laid with windows, read as the guest has them, given back, refused. */
#include "tests/unit/module_guest.h"

#include "monitor/vmm/code.h"

static const char source[] = ".text\n"
			     "init_module: pushf; cli; movl counter, %eax; incl %eax; popf; ret\n"
			     "room: nop; nop; nop; nop; nop; nop; nop; nop; ret\n"
			     "lonely: jmp 3f; 3: popf; 4: jmp 4b\n"
			     "stier: sti; movl $1, %eax; ret\n"
			     ".fill 4096, 1, 0x90\nret\n"
			     "second: cli; nop; nop; nop; nop; ret\n"
			     ".data\ncounter: .long 0\n";

static int setup(void **state)
{
	return module_guest_setup(state, source, true);
}

static void a_page_is_promoted_and_given_back(void **state)
{
	uint32_t window = named("init_module"), stub, lonely = named("lonely") + 2;
	const struct manifest_point *point;
	uint8_t bytes[16];

	(void)state;
	assert_true(execute(text));
	stub = jumps_to(window);
	assert_in_range(stub, ABI_HOLE_BASE + ABI_MODULES,
			ABI_HOLE_BASE + ABI_MODULES + ABI_MODULES_SIZE - 1);
	point = module_point(vm, stub);
	assert_non_null(point);
	assert_int_equal(point->guest, window);
	assert_int_equal(*at(lonely), 0xcc);
	assert_true(module_online(vm, lonely) && !module_online(vm, window));
	assert_true(module_runs_directly(vm, window) && !module_runs_directly(vm, window + 1));
	assert_true(module_in_window(vm, window + 1));
	assert_in_range(module_enter_address(vm, window + 1), stub + 1, stub + 200); /* the cli's copy */
	assert_int_equal(module_enter_address(vm, window + 3), window + 3); /* in the middle of the mov */
	assert_true(module_after_sti(vm, named("stier") + 1));
	memcpy(bytes, at(window), 16);
	module_original(vm, window, bytes, 16);
	assert_int_equal(bytes[0], 0x9c);
	assert_int_equal(bytes[1], 0xfa);
	assert_true(module_verified(vm, gva(text), page_of(text)));
	assert_false(module_verified(vm, gva(text + PAGE_SIZE), page_of(text)));
	assert_int_equal(vm->stats.module_promoted, 1);
	demote(text);
	check_source();
	assert_false(module_verified(vm, gva(text), page_of(text)) || module_in_window(vm, window + 1));
	assert_true(execute(text));
	assert_int_not_equal(jumps_to(window), 0);
}

static void every_page_stands_alone(void **state)
{
	(void)state;
	assert_true(execute(text + PAGE_SIZE));
	assert_int_equal(jumps_to(named("init_module")), 0);
	assert_int_not_equal(jumps_to(named("second")), 0);
}

static void another_frame_is_another_page(void **state)
{
	(void)state;
	assert_true(execute(text));
	poke32(PT, frame(pages) | 0x63);
	assert_false(module_in_window(vm, named("init_module") + 1));
	assert_false(module_runs_directly(vm, named("init_module")));
}

static void what_the_guest_rewrote_counts(void **state)
{
	uint32_t room = named("room"), window = named("init_module");

	(void)state;
	*at(room + 2) = 0x9d;	/* an alternative brings a popf */
	*at(window + 1) = 0xcc; /* a kprobe on an instruction of a window */
	assert_true(execute(text));
	assert_int_equal(*at(room + 2), 0xcc);
	assert_true(module_online(vm, room + 2));
	assert_int_equal(jumps_to(window), 0);
	assert_true(module_online(vm, window)); /* its pushf */
	assert_int_equal(*at(window + 1), 0xcc);
	assert_false(module_online(vm, window + 1));
}

static void branches_into_windows_are_refused(void **state)
{
	uint32_t room = named("room"), distance = named("init_module") + 1 - (room + 5);

	(void)state;
	*at(room) = 0xe9;
	for (int i = 0; i < 4; i++)
		*at(room + 1 + i) = (uint8_t)(distance >> 8 * i);
	assert_false(execute(text));
	assert_int_equal(vm->stats.module_refused, 1);
	assert_int_equal(jumps_to(named("init_module")), 0);
	assert_int_equal(vm->vmm->modules->n_points, 0); /* and nothing is left of its stubs */
}

static void what_does_not_decode_is_refused(void **state)
{
	(void)state;
	*at(named("room")) = 0x0f;
	*at(named("room") + 1) = 0xff;
	*at(named("room") + 2) = 0xff;
	assert_false(execute(text));
}

static void pages_that_are_written_all_the_time_stay_as_they_are(void **state)
{
	unsigned n = 0;

	(void)state;
	while (n < 100 && execute(text)) {
		demote(text);
		n++;
	}
	assert_in_range(n, 2, 50);
	check_source();
	assert_true(execute(text + PAGE_SIZE));
}

static void no_plan_no_promotion(void **state)
{
	(void)state;
	plan->check ^= 1;
	assert_false(execute(text));
	plan->check ^= 1;
	assert_false(execute(text)); /* remembered until the page is written to */
	vm->vmm->code.ram[page_of(text).a >> PAGE_SHIFT] = 0;
	assert_true(execute(text));
}

/* The kernel gives the frames of its .init sections to others: the page is no less a module's for that. */
static void frames_of_the_image_that_were_freed(void **state)
{
	struct code *c = &vm->vmm->code;
	uint32_t pfn = (uint32_t)(page_of(text).a >> PAGE_SHIFT), index = pfn - (FRAMES >> PAGE_SHIFT);

	(void)state;
	c->first_gpa = FRAMES;
	c->n_pages = MAX_PAGES;
	c->page = calloc(MAX_PAGES, sizeof(*c->page));
	c->page[index].candidate = 1;
	vm->cfg.alias_delta = 0xc0000000;
	assert_true(code_execute(vm, gva(text), page_of(text)));
	assert_int_not_equal(jumps_to(named("init_module")), 0);
	assert_true(code_verified(vm, gva(text), page_of(text)) && code_protected(vm, pfn));
	code_idle(vm);
	assert_int_equal(c->page[index].state, CODE_DATA);
	assert_true(code_verified(vm, gva(text), page_of(text)));
	code_demote(vm, pfn);
	check_source();
	c->page[index].state = CODE_REFUSED; /* looked at while idle, and left alone */
	assert_true(code_execute(vm, gva(text), page_of(text)));
	code_demote(vm, pfn);
	check_source();
	assert_int_equal(c->page[index].state, CODE_DATA);
	free(c->page);
}

static void modes_without_direct_code(void **state)
{
	(void)state;
	vm->cfg.mode = MODE_TRANSLATE;
	assert_false(execute(text));
	vm->cfg.mode = MODE_TRAP;
	assert_false(execute(text));
	vm->cfg.mode = MODE_DIRECT;
	assert_true(execute(text));
}

/* A plan says anything; whatever it says, the page's bytes come back and nothing else happens. */
static void hostile_plans(void **state)
{
	uint32_t size = plan->size, seed = 1;
	uint8_t *copy = malloc(size);

	(void)state;
	memcpy(copy, plan, size);
	for (unsigned n = 0; n < 20000; n++) {
		for (unsigned k = 0; k < 1 + n % 3; k++) {
			seed = seed * 1103515245 + 12345;
			((uint8_t *)plan)[(seed >> 8) % (n % 2 ? size : 256)] ^=
			    (uint8_t)(1u << (seed >> 4 & 7));
		}
		if (!module_plan_header_wrong(plan) && plan->size <= size)
			module_plan_seal((uint8_t *)plan, plan->size);
		if (execute(text))
			demote(text);
		memset(vm->vmm->code.ram, 0, GUEST_RAM >> PAGE_SHIFT);
		vm->vmm->modules->n_pages = vm->vmm->modules->code_len = vm->vmm->modules->n_points = 0;
		vm->vmm->modules->pads_len = vm->vmm->modules->n_sites = 0;
		memset(vm->vmm->modules->by_pfn, 0, (GUEST_RAM >> PAGE_SHIFT) * 2);
		vm->vmm->modules->page[0].strikes = 0;
		memcpy(plan, copy, size);
	}
	free(copy);
	check_source();
	assert_true(vm->stats.module_promoted > 100 && vm->stats.module_refused > 100);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, module_guest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_page_is_promoted_and_given_back),
	    T(every_page_stands_alone),
	    T(another_frame_is_another_page),
	    T(what_the_guest_rewrote_counts),
	    T(branches_into_windows_are_refused),
	    T(what_does_not_decode_is_refused),
	    T(pages_that_are_written_all_the_time_stay_as_they_are),
	    T(no_plan_no_promotion),
	    T(frames_of_the_image_that_were_freed),
	    T(modes_without_direct_code),
	    T(hostile_plans),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
