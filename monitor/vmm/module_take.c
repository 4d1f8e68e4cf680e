// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What a plan (module_find.c) says of a page: instruction starts, windows, and bytes without a single reading. It is
 * the guest's memory, so each part is read once and checked; what it says is an offer that module_promote.c judges.
 */
#include "monitor/vmm/module_state.h"

static struct module_work *work_of(const struct vm *vm)
{
	return &vm->vmm->modules->work;
}

/* Bytes of section i on the page: [*from, *to) as offsets in the section; `base` is the page's offset in it. */
static bool section_on_page(const struct module_plan_found *f, uint32_t i, uint32_t linear, uint32_t *from,
			    uint32_t *to, int64_t *base)
{
	const struct module_plan_section *s = &f->sections[i];
	uint32_t start = f->at + (uint32_t)sizeof(f->h) + i * (uint32_t)sizeof(*s) + s->start;
	int64_t first, last;

	*base = (int64_t)linear - start;
	first = *base < 0 ? 0 : *base;
	last = *base + PAGE_SIZE < s->size ? *base + PAGE_SIZE : s->size;
	*from = (uint32_t)first;
	*to = (uint32_t)last;
	return first < last;
}

static bool take_starts(struct vm *vm, const struct module_plan_section *s, uint32_t from, uint32_t to,
			int64_t base)
{
	const struct module_plan_found *f = &vm->vmm->modules->plan;
	struct module_work *w = work_of(vm);
	uint32_t first = from / 8, n = (to - 1) / 8 - first + 1;
	uint8_t bits[PAGE_BITS + 2];

	if (!module_read(vm, f->at + (uint32_t)module_plan_starts_at(&f->h) + s->starts + first, bits, n))
		return false;
	for (uint32_t at = from; at < to; at++) {
		bit_set(w->inside, (uint32_t)(at - base));
		if (bit_at(bits, at - first * 8))
			bit_set(w->start, (uint32_t)(at - base));
	}
	return true;
}

static bool is_clear(struct vm *vm, const struct module_plan_section *s, uint32_t from, uint32_t to)
{
	const struct module_plan_found *f = &vm->vmm->modules->plan;
	struct module_plan_obscure o;

	for (uint32_t i = 0; i < s->n_obscure; i++) {
		if (!module_read(vm,
				 f->at + (uint32_t)module_plan_obscure_at(&f->h) +
				     (s->obscure + i) * (uint32_t)sizeof(o),
				 &o, sizeof(o)))
			return false;
		if (o.offset < to && o.end > from)
			return false;
	}
	return true;
}

static void try_window(struct vm *vm, const struct module_plan_window *pw, int64_t base)
{
	int64_t at = pw->offset - base;

	if (at >= 0 && at < PAGE_SIZE)
		module_lay_window(
		    vm, (struct module_span){
			    .at = (uint16_t)at, .len = pw->len, .hop = pw->hop, .n_insns = pw->n_insns});
}

static bool take_windows(struct vm *vm, const struct module_plan_section *s, uint32_t from, uint32_t to,
			 int64_t base)
{
	const struct module_plan_found *f = &vm->vmm->modules->plan;
	uint32_t table = f->at + (uint32_t)module_plan_windows_at(&f->h);
	struct module_plan_window w;

	for (uint32_t i = 0; i < s->n_windows; i++) {
		if (!module_read(vm, table + (s->window + i) * (uint32_t)sizeof(w), &w, sizeof(w)))
			return false;
		if (!module_plan_window_wrong(s, &w) && w.offset >= from && w.offset < to)
			try_window(vm, &w, base);
	}
	return true;
}

bool module_take_plan(struct vm *vm, uint32_t linear)
{
	const struct module_plan_found *f = &vm->vmm->modules->plan;
	uint32_t from, to;
	int64_t base;

	for (uint32_t i = 0; i < f->h.n_sections; i++)
		if (section_on_page(f, i, linear, &from, &to, &base) &&
		    (!take_starts(vm, &f->sections[i], from, to, base) ||
		     !is_clear(vm, &f->sections[i], from, to)))
			return false;
	for (uint32_t i = 0; i < f->h.n_sections; i++)
		if (section_on_page(f, i, linear, &from, &to, &base) &&
		    !take_windows(vm, &f->sections[i], from, to, base))
			return false;
	return true;
}
