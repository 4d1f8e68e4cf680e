// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Windows for the sensitive instructions that module_scan.c has found on a page: the planner's rules (patcher/plan.c,
 * docs/patching.md) with what is known here. A run of proven instructions that nothing leads into, forward from the
 * site, then backward. What gets none is left to trap, or gets int3.
 */
#include "hypercalls/window.h"
#include "monitor/vmm/module_state.h"

static bool may_hold(const struct module_work *w, uint32_t at, bool first)
{
	return at < PAGE_SIZE && bit_at(w->start, at) && bit_at(w->proven, at) &&
	       (w->insn[at].flags & MODULE_HOLDS) && !bit_at(w->windows, at) &&
	       (first || !bit_at(w->arrival, at));
}

static void grow_forward(const struct module_work *w, struct module_span *s)
{
	const struct module_insn *last;

	do {
		last = &w->insn[s->at + s->len];
		s->len = (uint16_t)(s->len + last->len);
		s->n_insns++;
	} while (s->len < JUMP_LEN && (last->flags & MODULE_FALLS) && s->n_insns < MODULE_WINDOW_INSNS &&
		 may_hold(w, s->at + s->len, false));
}

/* The instruction that falls through to the span joins it. */
static bool grow_backward(const struct module_work *w, struct module_span *s)
{
	for (uint32_t len = 1; len <= INSN_MAX && len <= s->at; len++) {
		uint32_t at = s->at - len;

		if (!bit_at(w->start, at))
			continue;
		if (bit_at(w->arrival, s->at) || w->insn[at].len != len ||
		    !(w->insn[at].flags & MODULE_FALLS) || !may_hold(w, at, true))
			return false;
		s->at = (uint16_t)at;
		s->len = (uint16_t)(s->len + len);
		s->n_insns++;
		return true;
	}
	return false;
}

void module_span_sites(struct vm *vm)
{
	const struct module_work *w = &vm->vmm->modules->work;

	for (uint32_t at = 0; at < PAGE_SIZE; at++) {
		struct module_span s = {.at = (uint16_t)at};

		if (!(w->insn[at].flags & MODULE_SITE_AT) || !may_hold(w, at, true))
			continue;
		grow_forward(w, &s);
		while (s.len < JUMP_LEN && grow_backward(w, &s))
			;
		if (s.len >= JUMP_LEN)
			module_lay_window(vm, s);
	}
}
