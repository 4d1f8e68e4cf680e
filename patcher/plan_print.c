// SPDX-License-Identifier: GPL-3.0-or-later
/* Reading a plan: its sites, the instructions of its windows, and all of it as text. */
#include <assert.h>

#include "patcher/plan.h"

uint32_t plan_site_at(const struct plan *plan, uint32_t va)
{
	size_t lo = 0, hi = plan->n_sites;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (plan->sites[mid].site->va < va)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < plan->n_sites && plan->sites[lo].site->va == va ? (uint32_t)lo : MANIFEST_NONE;
}

static bool is_exit_only(const struct plan *plan, uint32_t va)
{
	for (size_t i = 0; i < plan->n_exit_only; i++) {
		if (va >= plan->exit_only[i].start && va < plan->exit_only[i].end)
			return true;
	}
	return false;
}

size_t plan_window_insns(const struct plan *plan, const struct plan_window *w, struct lower_insn *insns,
			 uint32_t *next)
{
	uint32_t va = w->va;
	size_t avail, n;

	for (n = 0; n < w->n_insns; n++) {
		struct lower_insn *in = &insns[n];
		int len;

		*in = (struct lower_insn){.va = va, .bytes = image_bytes(plan->cfg->img, va, &avail)};
		len = cfg_decode(plan->cfg, va, &in->insn);
		assert(len > 0);
		in->site = plan_site_at(plan, va);
		in->exit_only = is_exit_only(plan, va);
		in->flags_dead = flags_dead_at(plan->cfg, va + (uint32_t)len);
		va += (uint32_t)len;
	}
	*next = va;
	return n;
}

static void print_insns(const struct plan *plan, const struct plan_window *w, FILE *f)
{
	uint32_t va = w->va;

	for (unsigned n = 0; n < w->n_insns; n++) {
		struct insn insn;
		size_t avail;
		const uint8_t *p = image_bytes(plan->cfg->img, va, &avail);
		char text[96];

		if (!p || cfg_decode(plan->cfg, va, &insn) < 0)
			return;
		insn_format(text, sizeof(text), p, avail, va, plan->cfg->width);
		fprintf(f, "  %08x %c %s\n", va, plan_site_at(plan, va) != MANIFEST_NONE ? '*' : ' ', text);
		va += insn.len;
	}
}

void plan_print(const struct plan *plan, FILE *f)
{
	size_t i = 0;

	for (size_t w = 0; w < plan->n_windows; w++) {
		const struct plan_window *pw = &plan->windows[w];

		fprintf(f, "%08x+%u %s", pw->va, pw->len, tactic_name(pw->tactic));
		if (pw->hop != MANIFEST_NONE)
			fprintf(f, " by %08x", pw->hop);
		fprintf(f, "\n");
		print_insns(plan, pw, f);
	}
	for (; i < plan->n_sites; i++) {
		const struct plan_site *ps = &plan->sites[i];

		if (ps->window == MANIFEST_NONE)
			fprintf(f, "%08x %s%s%s\n", (uint32_t)ps->site->va, tactic_name(ps->tactic),
				ps->reason ? ": " : "", ps->reason ? ps->reason : "");
	}
}
