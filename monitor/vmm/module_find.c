// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 7.3: Finding the plan
 *
 * Finding the plan of a module page. The guest's loader puts it into the same stretch of mapped pages as the code; so
 * the pages before and behind are searched for its magic words, up to the first that is not mapped. Guest memory is
 * hostile: everything is copied before it is looked at, and what it says is only ever taken for an offer.
 */
#include "monitor/vmm/clock.h"
#include "monitor/vmm/mem.h"
#include "monitor/vmm/module_state.h"
#include "monitor/vmm/paging.h"

#define MAGIC 0x314c50444f4d5650ull /* "PVMODPL1" */

const uint8_t *module_frame(struct vm *vm, uint32_t linear)
{
	struct walk w;

	if (paging_walk(vm, gva(linear), 0, &w) < 0)
		return NULL;
	return vm_ram(vm, gpa(w.at.a & ~(uint64_t)(PAGE_SIZE - 1)), PAGE_SIZE);
}

bool module_read(struct vm *vm, uint32_t at, void *to, size_t n)
{
	uint8_t *out = to;

	while (n) {
		uint32_t offset = at & (PAGE_SIZE - 1),
			 part = PAGE_SIZE - offset < n ? PAGE_SIZE - offset : (uint32_t)n;
		const uint8_t *page = module_frame(vm, at);

		if (!page)
			return false;
		mem_copy(out, page + offset, part);
		at += part;
		out += part;
		n -= part;
	}
	return true;
}

/* Its check word, over all of it: what a module that is gone left behind is no plan. */
static bool sealed(struct vm *vm, uint32_t at, const struct module_plan_found *f)
{
	struct module_plan_header h = f->h;
	uint32_t hash, from = (uint32_t)module_plan_windows_at(&h);
	uint8_t part[256];

	h.check = 0;
	hash = module_plan_hash(MODULE_PLAN_HASH, &h, sizeof(h));
	for (uint32_t i = 0; i < h.n_sections; i++) {
		struct module_plan_section s = f->sections[i];

		s.start = 0;
		hash = module_plan_hash(hash, &s, sizeof(s));
	}
	while (from < h.size) {
		uint32_t n = h.size - from < sizeof(part) ? h.size - from : (uint32_t)sizeof(part);

		if (!module_read(vm, at + from, part, n))
			return false;
		hash = module_plan_hash(hash, part, n);
		from += n;
	}
	return hash == f->h.check;
}

/* Where section i of a plan at `at` starts. */
static uint32_t section_start(uint32_t at, const struct module_plan_section *s, uint32_t i)
{
	return at + (uint32_t)sizeof(struct module_plan_header) + i * (uint32_t)sizeof(*s) + s->start;
}

static bool covers(const struct module_plan_found *f, uint32_t at, uint32_t linear)
{
	for (uint32_t i = 0; i < f->h.n_sections; i++) {
		uint32_t start = section_start(at, &f->sections[i], i);

		if (linear - (start & PAGE_MASK) <= ((start & (PAGE_SIZE - 1)) + f->sections[i].size - 1) >>
		    PAGE_SHIFT << PAGE_SHIFT)
			return true;
	}
	return false;
}

/* Read the plan at `at` anew; false unless it makes sense and covers the page. */
static bool read_plan(struct vm *vm, uint32_t at, uint32_t linear, struct module_plan_found *f)
{
	uint32_t known = f->at == at ? f->h.check : 0;

	f->at = 0;
	if (!module_read(vm, at, &f->h, sizeof(f->h)) || module_plan_header_wrong(&f->h) ||
	    !module_read(vm, at + sizeof(f->h), f->sections, f->h.n_sections * sizeof(f->sections[0])))
		return false;
	for (uint32_t i = 0; i < f->h.n_sections; i++)
		if (module_plan_section_wrong(&f->h, &f->sections[i]))
			return false;
	if (!covers(f, at, linear) || (f->h.check != known && !sealed(vm, at, f)))
		return false;
	f->at = at;
	return true;
}

static bool search_page(struct vm *vm, const uint8_t *page, uint32_t at, uint32_t linear)
{
	for (uint32_t i = 0; page && i < PAGE_SIZE; i += MODULE_PLAN_ALIGN)
		if (*(const uint64_t *)(page + i) == MAGIC &&
		    read_plan(vm, at + i, linear, &vm->vmm->modules->plan))
			return true;
	return false;
}

enum module_plan_search module_find_plan(struct vm *vm, uint32_t linear)
{
	struct modules *m = vm->vmm->modules;
	uint64_t began = clock_tsc();
	uint32_t first, end;

	if (m->plan.at && read_plan(vm, m->plan.at, linear, &m->plan))
		return PLAN_FOUND;
	if (module_rests(m, MODULE_SEARCH_PLAN, linear))
		return PLAN_PUT_OFF;
	module_stretch(vm, linear, &first, &end);
	for (uint32_t at = linear; at != end; at += PAGE_SIZE)
		if (search_page(vm, module_frame(vm, at), at, linear))
			return PLAN_FOUND;
	for (uint32_t at = linear; at != first; at -= PAGE_SIZE)
		if (search_page(vm, module_frame(vm, at - PAGE_SIZE), at - PAGE_SIZE, linear))
			return PLAN_FOUND;
	module_rest(m, MODULE_SEARCH_PLAN, linear, first, end, clock_tsc() - began);
	vm->stats.module_searches++;
	return PLAN_NONE;
}
