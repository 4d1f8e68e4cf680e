// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Which pages may run directly: those of executable sections on which every sensitive instruction is served by a
 * stub or is certain to trap. With each comes a bitmap of where original instructions start, which the monitor
 * needs to re-verify a page that the guest has written.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "patcher/patch.h"

#define PAGE 4096u
#define STARTS_PER_PAGE (PAGE / 8)

struct pages {
	uint32_t *list; /* page numbers, sorted, unique */
	size_t n;
};

static int page_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static bool page_is_refused(const struct plan *plan, uint32_t page)
{
	for (size_t i = 0; i < plan->n_sites; i++) {
		const struct plan_site *ps = &plan->sites[i];

		if (ps->tactic == TACTIC_NONE &&
		    (ps->site->va / PAGE == page || (ps->site->va + ps->site->len - 1) / PAGE == page))
			return true;
	}
	return false;
}

static int pages_collect(struct pages *pages, const struct plan *plan)
{
	const struct cfg *cfg = plan->cfg;
	size_t cap = 0, n = 0;

	for (size_t i = 0; i < cfg->n_sections; i++)
		cap += cfg->sections[i].sec->size / PAGE + 2;
	pages->list = calloc(cap, sizeof(*pages->list));
	if (!pages->list)
		return -ENOMEM;
	for (size_t i = 0; i < cfg->n_sections; i++) {
		const struct image_section *sec = cfg->sections[i].sec;

		for (uint64_t p = sec->va / PAGE;
		     cfg->sections[i].marks && p <= (sec->va + sec->size - 1) / PAGE; p++)
			pages->list[n++] = (uint32_t)p;
	}
	qsort(pages->list, n, sizeof(*pages->list), page_compare);
	for (size_t i = 0; i < n; i++) {
		if ((pages->n && pages->list[pages->n - 1] == pages->list[i]) ||
		    page_is_refused(plan, pages->list[i]))
			continue;
		pages->list[pages->n++] = pages->list[i];
	}
	return 0;
}

static void starts_fill(uint8_t *bitmap, const struct cfg *cfg, uint32_t page)
{
	for (uint32_t i = 0; i < PAGE; i++) {
		if (cfg_marks(cfg, (uint64_t)page * PAGE + i) & CFG_START)
			bitmap[i / 8] |= (uint8_t)(1u << i % 8);
	}
}

int verified_collect(struct manifest *m, const struct plan *plan, struct diag *d)
{
	struct pages pages = {0};
	int err = pages_collect(&pages, plan);

	if (!err) {
		m->verified = calloc(pages.n + 1, sizeof(*m->verified));
		m->starts = calloc(pages.n + 1, STARTS_PER_PAGE);
		err = m->verified && m->starts ? 0 : -ENOMEM;
	}
	for (size_t i = 0; !err && i < pages.n; i++) {
		uint32_t start = pages.list[i] * PAGE;
		struct manifest_range *last = m->h.n_verified ? &m->verified[m->h.n_verified - 1] : NULL;

		starts_fill(m->starts + i * STARTS_PER_PAGE, plan->cfg, pages.list[i]);
		if (last && last->end == start)
			last->end += PAGE;
		else
			m->verified[m->h.n_verified++] = (struct manifest_range){start, start + PAGE};
	}
	m->h.n_starts = (uint32_t)(pages.n * STARTS_PER_PAGE);
	free(pages.list);
	return err ? diag_set(d, err, "%s: out of memory", plan->cfg->img->path) : 0;
}
