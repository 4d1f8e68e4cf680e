// SPDX-License-Identifier: GPL-3.0-or-later
/* Building the tables of code.h from the manifest: once, in the VMX process, before any worker runs (libc is allowed). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/vmm/code_internal.h"
#include "monitor/vmm/mem.h"

static void *carve(uint8_t **at, size_t size)
{
	void *p = *at;

	*at += (size + 63) & ~(size_t)63;
	return p;
}

static void text_bounds(const struct manifest *m, uint32_t *first, uint32_t *pages, uint32_t *candidates)
{
	*first = *pages = *candidates = 0;
	if (!m->h.n_verified)
		return;
	*first = m->verified[0].start;
	*pages = (m->verified[m->h.n_verified - 1].end - *first) >> PAGE_SHIFT;
	for (uint32_t i = 0; i < m->h.n_verified; i++)
		*candidates += (m->verified[i].end - m->verified[i].start) >> PAGE_SHIFT;
}

size_t code_arena_size(const struct vm_config *cfg, const struct manifest *m)
{
	uint32_t first, pages, candidates;

	text_bounds(m, &first, &pages, &candidates);
	return (size_t)pages * (sizeof(struct code_page) + 2 * STARTS_PER_PAGE) +
	       (size_t)candidates * (PAGE_SIZE + STARTS_PER_PAGE) + (size_t)m->h.n_points * sizeof(struct code_resume) +
	       (size_t)(m->h.n_windows + 7) / 8 + (size_t)(cfg->ram_size >> PAGE_SHIFT) + 10 * 64;
}

static int by_guest(const void *a, const void *b)
{
	const struct code_resume *x = a, *y = b;

	return x->guest < y->guest ? -1 : x->guest > y->guest;
}

/* The guest's own bytes, where patching wrote over them. */
static int undo_windows(struct vm *vm, struct diag *d)
{
	const struct manifest *m = &vm->manifest;

	for (uint32_t i = 0; i < m->h.n_windows; i++) {
		const struct manifest_window *w = &m->windows[i];
		uint8_t *ram = vm_ram(vm, gpa(w->va - vm->cfg.alias_delta), w->len);
		const uint8_t *original = m->originals + w->original;

		if (!ram)
			return diag_set(d, -EINVAL, "window at %#x lies outside guest memory", w->va);
		for (uint32_t n = 0; n < w->len; n++)
			ram[n] = original[n];
		if (w->hop != MANIFEST_NONE) {
			ram = vm_ram(vm, gpa(w->hop - vm->cfg.alias_delta), 5);
			for (uint32_t n = 0; ram && n < 5; n++)
				ram[n] = original[w->len + n];
		}
	}
	return 0;
}

/*
 * Trap mode: a trapping byte on each site instead: HLT is privileged and one byte long. Outside the text nothing runs
 * directly, and a translated block would take it for the guest's.
 */
static void trap_sites(struct vm *vm)
{
	const struct manifest *m = &vm->manifest;

	for (uint32_t i = 0; i < m->h.n_sites; i++) {
		uint32_t at = m->sites[i].va - vm->cfg.alias_delta;
		uint8_t *ram = vm_ram(vm, gpa(at), 1);

		if (ram && page_of(vm, at >> PAGE_SHIFT) && m->sites[i].window != MANIFEST_NONE)
			*ram = 0xf4;
	}
}

static void index_windows(struct vm *vm)
{
	const struct manifest *m = &vm->manifest;
	struct code *c = code_of(vm);
	uint32_t link = c->first_gpa + vm->cfg.alias_delta;

	for (uint32_t i = 0; i < m->h.n_windows; i++) {
		set_bit(c->laid, i, true);
		for (uint32_t n = 1; n < 5 && m->windows[i].hop != MANIFEST_NONE; n++)
			if (m->windows[i].hop + n - link < c->n_pages << PAGE_SHIFT)
				set_bit(c->interior, m->windows[i].hop + n - link, true);
		for (uint32_t n = 1; m->windows[i].tactic != TACTIC_BREAKPOINT && n < m->windows[i].len; n++)
			if (m->windows[i].va + n - link < c->n_pages << PAGE_SHIFT)
				set_bit(c->interior, m->windows[i].va + n - link, true);
	}
	for (uint32_t i = 0; i < m->h.n_points; i++) {
		const struct manifest_point *p = &m->points[i];

		if (p->state != POINT_BOUNDARY || p->guest - link >= c->n_pages << PAGE_SHIFT)
			continue;
		if (p->flags & POINT_SHADOW)
			set_bit(c->shadow_bound, p->guest - link, true);
		if (test_bit(c->interior, p->guest - link))
			c->resume[c->n_resume++] = (struct code_resume){p->guest, p->stub};
	}
	qsort(c->resume, c->n_resume, sizeof(*c->resume), by_guest);
}

/* INT3 between functions is no start for code_recheck(), which takes it for planted where there was one. */
static void forget_padding(uint8_t *starts, const uint8_t *page)
{
	const uint8_t *at = page;

	while ((at = memchr(at, 0xcc, (size_t)(page + PAGE_SIZE - at)))) {
		set_bit(starts, (uint32_t)(at - page), false);
		at++;
	}
}

int code_init(struct vm *vm, struct diag *d)
{
	const struct manifest *m = &vm->manifest;
	struct code *c = code_of(vm);
	uint8_t *at = (uint8_t *)(vm->vmm + 1);
	uint32_t first, pages, candidates, n = 0;
	int err;

	text_bounds(m, &first, &pages, &candidates);
	c->first_gpa = first - vm->cfg.alias_delta;
	c->n_pages = pages;
	c->n_ram = (uint32_t)(vm->cfg.ram_size >> PAGE_SHIFT);
	c->ram = carve(&at, c->n_ram);
	c->page = carve(&at, pages * sizeof(*c->page));
	c->pristine = carve(&at, (size_t)candidates * PAGE_SIZE);
	c->starts = carve(&at, (size_t)candidates * STARTS_PER_PAGE);
	c->laid = carve(&at, (size_t)(m->h.n_windows + 7) / 8);
	c->interior = carve(&at, (size_t)pages * STARTS_PER_PAGE);
	c->shadow_bound = carve(&at, (size_t)pages * STARTS_PER_PAGE);
	c->resume = carve(&at, (size_t)m->h.n_points * sizeof(*c->resume));
	if (vm->cfg.mode == MODE_TRAP || vm_long(vm)) {
		err = undo_windows(vm, d);
		if (err < 0)
			return err;
	} else {
		index_windows(vm);
	}
	if (vm->cfg.mode == MODE_TRAP)
		trap_sites(vm);
	if (vm_long(vm)) { /* no page runs directly, and none holds a window */
		c->n_pages = 0;
		return 0;
	}
	for (uint32_t r = 0; r < m->h.n_verified; r++)
		for (uint32_t va = m->verified[r].start; va < m->verified[r].end; va += PAGE_SIZE, n++) {
			struct code_page *p = page_of(vm, (va - vm->cfg.alias_delta) >> PAGE_SHIFT);
			const uint8_t *ram = vm_ram(vm, gpa(va - vm->cfg.alias_delta), PAGE_SIZE);

			if (!ram || !p)
				return diag_set(d, -EINVAL, "verified page %#x lies outside guest memory", va);
			p->candidate = 1;
			p->state = CODE_VERIFIED;
			p->verified_index = n;
			mem_copy(c->pristine + (size_t)n * PAGE_SIZE, ram, PAGE_SIZE);
			mem_copy(c->starts + (size_t)n * STARTS_PER_PAGE, m->starts + (size_t)n * STARTS_PER_PAGE,
				 STARTS_PER_PAGE);
			forget_padding(c->starts + (size_t)n * STARTS_PER_PAGE, ram);
		}
	return 0;
}
