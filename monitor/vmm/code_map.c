// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The maps of code.h between guest addresses, link addresses and stubs, and the guest's own bytes under what patching
 * wrote over them.
 */
#include "monitor/vmm/code_internal.h"
#include "monitor/vmm/module.h"
#include "monitor/vmm/online.h"

/* Bit number of guest address eip in the per-byte maps; false outside the text. */
bool code_text_bit(const struct vm *vm, uint32_t eip, uint32_t *bit)
{
	const struct code *c = code_of(vm);
	uint32_t size = c->n_pages << PAGE_SHIFT;

	*bit = eip - vm->cfg.alias_delta - c->first_gpa;
	if (*bit < size)
		return true;
	*bit = eip - c->first_gpa;
	return *bit < size && c->alias_active;
}

bool code_in_window(const struct vm *vm, uint32_t eip)
{
	uint32_t bit;

	return code_text_bit(vm, eip, &bit) ? test_bit(code_of(vm)->interior, bit) : module_in_window(vm, eip);
}

bool code_after_sti(const struct vm *vm, uint32_t eip)
{
	uint32_t bit;

	return code_text_bit(vm, eip, &bit) ? test_bit(code_of(vm)->shadow_bound, bit) : module_after_sti(vm, eip);
}

uint32_t code_enter_address(const struct vm *vm, uint32_t eip)
{
	const struct code *c = code_of(vm);
	uint32_t bit, link, lo = 0, hi = c->n_resume;

	if (!code_text_bit(vm, eip, &bit))
		return module_enter_address(vm, eip);
	if (!test_bit(c->interior, bit))
		return eip;
	link = bit + c->first_gpa + vm->cfg.alias_delta;
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (c->resume[mid].guest < link)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < c->n_resume && c->resume[lo].guest == link)
		return c->resume[lo].stub - (link - eip);
	return eip;
}

const struct manifest_point *code_point(const struct vm *vm, uint32_t raw)
{
	const struct manifest *m = &vm->manifest;
	uint32_t lo = 0, hi = m->h.n_points;

	if (raw - vm->cfg.hole_base >= vm->cfg.hole_size && code_of(vm)->alias_active)
		raw += vm->cfg.alias_delta;
	if (raw - (vm->cfg.hole_base + ABI_STUBS) >= vm->cfg.stubs_size)
		return module_point(vm, raw);
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (m->points[mid].stub < raw)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < m->h.n_points && m->points[lo].stub == raw ? &m->points[lo] : NULL;
}

bool code_is_stub(const struct vm *vm, uint32_t raw)
{
	const struct manifest_point *p = raw >= vm->cfg.hole_base ? code_point(vm, raw) : NULL;
	const struct manifest_window *w = p ? code_window_behind(vm, p->guest) : NULL;

	return w && w->va == p->guest && w->stub == raw;
}

uint32_t code_guest_address(const struct vm *vm, uint32_t link, uint32_t raw)
{
	return raw - vm->cfg.hole_base < vm->cfg.hole_size ? link : link - vm->cfg.alias_delta;
}

uint32_t code_unlinked(const struct vm *vm, uint32_t eip)
{
	uint32_t link = code_of(vm)->first_gpa + vm->cfg.alias_delta;

	return !(vm->vcpu.cr0 & CR0_PG) && eip - link < code_of(vm)->n_pages << PAGE_SHIFT ? eip - vm->cfg.alias_delta
											    : eip;
}

uint32_t code_site_at(const struct vm *vm, uint32_t eip)
{
	const struct manifest_site *s;
	uint32_t bit;

	if (!code_text_bit(vm, eip, &bit))
		return MANIFEST_NONE;
	s = manifest_site_at(&vm->manifest, bit + code_of(vm)->first_gpa + vm->cfg.alias_delta);
	return s ? (uint32_t)(s - vm->manifest.sites) : MANIFEST_NONE;
}

bool code_online(const struct vm *vm, uint32_t eip)
{
	uint32_t bit;

	return code_text_bit(vm, eip, &bit) ? online_at(vm, gpa(bit + code_of(vm)->first_gpa)) : module_online(vm, eip);
}
