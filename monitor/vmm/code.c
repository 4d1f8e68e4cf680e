// SPDX-License-Identifier: GPL-3.0-or-later
/* See code.h: the states of code pages. Tables are indexed by guest-physical page; the manifest speaks in link addresses. */
#include "monitor/vmm/code_internal.h"
#include "monitor/vmm/module.h"
#include "monitor/vmm/online.h"
#include "monitor/vmm/shadow.h"
#include "monitor/vmm/translate.h"
#include "monitor/vmm/worker.h"

#define IDLE_PAGES 32
#define IDLE_DEMOTIONS 32 /* freed text that holds data may well decode: not for ever */

bool code_protected(const struct vm *vm, uint32_t pfn)
{
	const struct code_page *p = page_of(vm, pfn);

	return (p && p->state != CODE_DATA) || (pfn < code_of(vm)->n_ram && code_of(vm)->ram[pfn] & (RAM_TRANSLATED | RAM_MODULE));
}

/* Windows jump by distance: they work at the link address, and at the physical one while the stubs are there too. */
static bool address_fits(const struct vm *vm, struct gva at, struct gpa page)
{
	uint32_t linear = at.a & PAGE_MASK;

	return linear == (uint32_t)page.a + vm->cfg.alias_delta ||
	       (linear == (uint32_t)page.a && (code_of(vm)->alias_active || !vm->cfg.alias_delta));
}

bool code_verified(const struct vm *vm, struct gva at, struct gpa page)
{
	const struct code_page *p = page_of(vm, (uint32_t)(page.a >> PAGE_SHIFT));

	if (p && p->state == CODE_VERIFIED)
		return vm->cfg.mode != MODE_TRANSLATE && address_fits(vm, at, page);
	return module_verified(vm, at, page);
}

bool code_runs_directly(const struct vm *vm, uint32_t eip)
{
	const struct code *c = code_of(vm);
	uint32_t offset = eip - vm->cfg.alias_delta - c->first_gpa;

	if (offset >= c->n_pages << PAGE_SHIFT)
		return module_runs_directly(vm, eip);
	return c->page[offset >> PAGE_SHIFT].state == CODE_VERIFIED &&
	       vm->cfg.mode != MODE_TRANSLATE && !test_bit(c->interior, offset);
}

static void protect_everywhere(struct vm *vm, uint32_t pfn)
{
	shadow_log(vm, LOG_PROTECT, pfn);
}

static void forget_translation(struct vm *vm, uint32_t pfn)
{
	if (pfn >= code_of(vm)->n_ram || !(code_of(vm)->ram[pfn] & RAM_TRANSLATED))
		return;
	code_of(vm)->ram[pfn] &= (uint8_t)~RAM_TRANSLATED;
	translate_drop_page(vm, pfn);
}

void code_note_translated(struct vm *vm, uint32_t pfn)
{
	bool known = code_protected(vm, pfn);

	code_of(vm)->ram[pfn] |= RAM_TRANSLATED;
	if (!known)
		protect_everywhere(vm, pfn);
}

/*
 * Lift the windows of a page that does not run directly any more. One that reaches into another page is lifted as a whole: what
 * is left of it there may not run directly either.
 */
static void lift_windows(struct vm *vm, uint32_t pfn)
{
	code_windows_lift(vm, pfn);
	for (unsigned above = 0; above < 2; above++) {
		uint32_t other = code_window_neighbour(vm, pfn, above);
		const struct code_page *p = other == pfn ? NULL : page_of(vm, other);

		if (p && p->state == CODE_VERIFIED)
			code_demote(vm, other);
	}
}

void code_demote(struct vm *vm, uint32_t pfn)
{
	struct code_page *p = page_of(vm, pfn);
	bool was_code = p && p->state != CODE_DATA;

	if (!code_protected(vm, pfn))
		return;
	if (was_code) {
		online_clear(vm, pfn); /* the guest's bytes come back before it writes */
		p->state = CODE_DATA;
		lift_windows(vm, pfn);
		p->demotions += p->demotions <= IDLE_DEMOTIONS;
		code_of(vm)->idle_done = false;
		vm->stats.pages_demoted++;
	}
	if (pfn < code_of(vm)->n_ram) {
		module_demote(vm, pfn);
		code_of(vm)->ram[pfn] &= (uint8_t)~RAM_REFUSED;
	}
	forget_translation(vm, pfn);
	protect_everywhere(vm, pfn);
}

void code_note_alias(struct vm *vm, uint32_t pfn)
{
	if (pfn < code_of(vm)->n_ram)
		code_of(vm)->ram[pfn] |= RAM_ALIASED;
}

bool code_aliased(const struct vm *vm, uint32_t pfn)
{
	return pfn < code_of(vm)->n_ram && code_of(vm)->ram[pfn] & RAM_ALIASED;
}

/* A page that is not of the kernel's image, or not any more: the frames of its .init sections are given to others. */
static bool execute_module(struct vm *vm, struct gva at, struct gpa page)
{
	uint32_t pfn = (uint32_t)(page.a >> PAGE_SHIFT);

	if (module_verified(vm, at, page))
		return true;
	if (!module_execute(vm, at, page))
		return false;
	forget_translation(vm, pfn);
	protect_everywhere(vm, pfn);
	return true;
}

/* A window that reaches into another page is laid only where that one does not change unseen either. */
static bool protect_neighbours(struct vm *vm, uint32_t pfn)
{
	bool all = true;

	for (unsigned above = 0; above < 2; above++) {
		uint32_t other = code_window_neighbour(vm, pfn, above);
		const struct code_page *p = page_of(vm, other);

		if (other != pfn && p && p->state == CODE_DATA)
			code_execute(vm, gva((other << PAGE_SHIFT) + vm->cfg.alias_delta), gpa((uint64_t)other << PAGE_SHIFT));
		all = all && (other == pfn || (p && p->state != CODE_DATA));
	}
	return all;
}

bool code_execute(struct vm *vm, struct gva at, struct gpa page)
{
	uint32_t pfn = (uint32_t)(page.a >> PAGE_SHIFT);
	struct code_page *p = page_of(vm, pfn);

	if (!p || (p->state != CODE_VERIFIED && !address_fits(vm, at, page)))
		return execute_module(vm, at, page);
	if (code_of(vm)->ram[pfn] & RAM_MODULE)
		code_demote(vm, pfn);
	if (!p->candidate || p->state == CODE_REFUSED || !address_fits(vm, at, page) ||
	    vm->cfg.mode == MODE_TRANSLATE)
		return false;
	if (p->state == CODE_VERIFIED)
		return true;
	/* Read-only everywhere first: what is checked must be what runs. */
	p->state = CODE_REFUSED;
	if (protect_neighbours(vm, pfn) && code_windows_lay(vm, pfn) && code_recheck(vm, pfn)) {
		forget_translation(vm, pfn);
		p->state = CODE_VERIFIED;
		vm->stats.pages_reverified++;
	} else {
		lift_windows(vm, pfn);
		vm->stats.pages_refused++;
	}
	protect_everywhere(vm, pfn);
	return p->state == CODE_VERIFIED;
}

bool code_idle(struct vm *vm)
{
	struct code *c = code_of(vm);
	unsigned budget = IDLE_PAGES;

	if (c->idle_done)
		return false;
	for (uint32_t n = 0; n < c->n_pages && budget; n++) {
		uint32_t pfn = (c->first_gpa >> PAGE_SHIFT) + n;

		if (!c->page[n].candidate || c->page[n].state != CODE_DATA || c->page[n].idle_refused ||
		    c->ram[pfn] & RAM_MODULE ||
		    c->page[n].demotions > IDLE_DEMOTIONS)
			continue;
		c->idle = true;
		c->idle_uncovered = false;
		if (!code_execute(vm, gva((pfn << PAGE_SHIFT) + vm->cfg.alias_delta), gpa((uint64_t)pfn << PAGE_SHIFT)))
			c->page[n].idle_refused = 1;
		if (c->idle_uncovered) /* whoever executes it may write int3 */
			c->page[n].state = CODE_DATA;
		c->idle = false;
		budget--;
	}
	c->idle_done = budget == IDLE_PAGES;
	return !c->idle_done;
}

void code_summary(struct vm *vm, uint32_t *candidates, uint32_t *verified, uint32_t *refused)
{
	const struct code *c = code_of(vm);

	*candidates = *verified = *refused = 0;
	for (uint32_t n = 0; n < c->n_pages; n++) {
		*candidates += c->page[n].candidate;
		*verified += c->page[n].candidate && c->page[n].state == CODE_VERIFIED;
		*refused += c->page[n].state == CODE_REFUSED;
	}
}
