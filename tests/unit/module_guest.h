// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A module in guest memory, loaded there as the guest's loader does it, by the patcher's own loader; nothing of it is
 * executed. Tests call module_guest_setup() with its source, and module_guest_teardown().
 */
#ifndef TESTS_UNIT_MODULE_GUEST_H
#define TESTS_UNIT_MODULE_GUEST_H

#include "tests/unit/guest.h"

#include <stdio.h>
#include <unistd.h>

#include "hypercalls/module_plan.h"
#include "monitor/vmm/module_state.h"
#include "monitor/vmm/translate_state.h"
#include "patcher/module_patch.h"
#include "patcher/patch.h"
#include "tests/unit/module_fixture.h"

enum { PD = 0x10000, PT = 0x11000, ROOM = 0x80000, FRAMES = 0x300000, MAX_PAGES = 16 };
#define BASE 0xf0000000u

static struct image img;
static uint32_t text, pages;
static struct module_plan_header *plan; /* in guest RAM: the test's plan is within one page */

/* Frames in reverse order: nothing may take physical neighbours for linear ones. */
static inline uint32_t frame(uint32_t page)
{
	return FRAMES + (MAX_PAGES - 1 - page) * PAGE_SIZE;
}

static inline uint8_t *at(uint32_t linear)
{
	return ram(frame((linear - BASE) >> PAGE_SHIFT) + (linear & (PAGE_SIZE - 1)));
}

static inline void load(void)
{
	for (size_t i = 0; i < img.n_sections; i++) {
		const struct image_section *s = &img.sections[i];

		for (uint32_t k = 0; s->data && k < s->size; k++)
			*at((uint32_t)s->va + k) = s->data[k];
		if (!strcmp(s->name, ".text"))
			text = (uint32_t)s->va;
		if (!strcmp(s->name, MODULE_PLAN_SECTION))
			plan = (void *)at((uint32_t)s->va);
		if (s->alloc && s->data)
			pages = (uint32_t)((s->va + s->size - BASE) >> PAGE_SHIFT) + 1;
	}
	assert_true(pages < MAX_PAGES && pages >= 2);
}

/* patched: with a plan */
static inline int module_guest_setup(void **state, const char *source, bool patched)
{
	struct module_patched p;
	struct diag d = {0};
	uint8_t *ko;
	size_t size;
	bool damaged;

	/* the guard of the vector state looks at the arena */
	if (guest_setup(state) || mmap(VM, sizeof(*VM), PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != VM)
		return -1;
	VM->vmm = vm->vmm;
	vm->vmm->world.fpu_saved = 1; /* nothing of a guest is live here */
	vm->cfg.hole_base = ABI_HOLE_BASE;
	vm->cfg.modules_off = ROOM;
	vm->cfg.ram_size = GUEST_RAM;
	vm->vmm->code.ram = calloc(GUEST_RAM >> PAGE_SHIFT, 1);
	vm->vmm->code.n_ram = GUEST_RAM >> PAGE_SHIFT;
	module_init(vm, calloc(1, module_arena_size(&vm->cfg)));
	vm->cfg.hole_size = 0; /* the translator's tables alone: nothing is emitted */
	translate_init(vm, calloc(1, translate_arena_size(&vm->cfg)));
	vm->vmm->translate->n_blocks = vm->vmm->translate->n_pages = 1;
	vm->cfg.hole_size = ABI_HOLE_SIZE;
	module_assemble(source, &ko, &size);
	if (patched) {
		assert_int_equal(module_patch(&p, "m.ko", ko, size, &d), 0);
		free(ko);
		ko = p.bytes;
		size = p.size;
	}
	assert_int_equal(image_load_module(&img, "m.ko", ko, size, &damaged, &d), 0);
	load();
	poke32(PD + (BASE >> 22) * 4, PT | 0x63);
	for (uint32_t i = 0; i < pages; i++)
		poke32(PT + i * 4, frame(i) | 0x63);
	cpu->cr3 = PD;
	cpu->cr0 |= CR0_PG | CR0_WP;
	return 0;
}

static inline int module_guest_teardown(void **state)
{
	image_free(&img);
	free(vm->vmm->code.ram);
	free(vm->vmm->modules);
	free(vm->vmm->translate);
	return guest_teardown(state);
}

static inline struct gpa page_of(uint32_t linear)
{
	return gpa(frame((linear - BASE) >> PAGE_SHIFT));
}

static inline bool execute(uint32_t linear)
{
	/* All stretches have rested. */
	memset(vm->vmm->modules->rest, 0, sizeof(vm->vmm->modules->rest));
	return module_execute(vm, gva(linear), page_of(linear));
}

static inline void demote(uint32_t linear)
{
	module_demote(vm, (uint32_t)(page_of(linear).a >> PAGE_SHIFT));
	vm->vmm->code.ram[page_of(linear).a >> PAGE_SHIFT] = 0;
}

static inline uint32_t named(const char *name)
{
	for (size_t i = 0; i < img.n_symbols; i++)
		if (!strcmp(img.symbols[i].name, name))
			return (uint32_t)img.symbols[i].va;
	fail_msg("no symbol %s", name);
	return 0;
}

static inline uint32_t jumps_to(uint32_t linear)
{
	const uint8_t *p = at(linear);
	uint32_t rel;

	memcpy(&rel, p + 1, 4);
	return p[0] == 0xe9 ? linear + 5 + rel : 0;
}

static inline void check_source(void)
{
	for (size_t i = 0; i < img.n_sections; i++)
		for (uint32_t k = 0; img.sections[i].data && k < img.sections[i].size; k++)
			assert_int_equal(*at((uint32_t)img.sections[i].va + k), img.sections[i].data[k]);
}

#endif
