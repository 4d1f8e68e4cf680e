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

/* Bytes that are neither code nor padding: what runs there is not known, so it is translated. */
static bool page_is_obscure(const struct cfg_section *cs, uint32_t page)
{
	const struct image_section *sec = cs->sec;
	uint64_t start = (uint64_t)page * PAGE, end = start + PAGE;
	uint64_t va = start < sec->va ? sec->va : start;

	for (; va < end && va < sec->va + sec->size; va++) {
		if (!(cs->marks[va - sec->va] & (CFG_CODE | CFG_PAD)))
			return true;
	}
	return false;
}

static bool page_is_refused(const struct plan *plan, uint32_t page)
{
	for (size_t i = 0; i < plan->n_sites; i++) {
		const struct plan_site *ps = &plan->sites[i];

		if (ps->tactic == TACTIC_NONE &&
		    (ps->site->va / PAGE == page || (ps->site->va + ps->site->len - 1) / PAGE == page))
			return true;
	}
	for (size_t i = 0; i < plan->cfg->n_sections; i++) {
		if (plan->cfg->sections[i].marks && page_is_obscure(&plan->cfg->sections[i], page))
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

static void start_set(uint8_t *starts, const struct pages *pages, uint64_t va)
{
	uint32_t page = (uint32_t)(va / PAGE);
	const uint32_t *at = bsearch(&page, pages->list, pages->n, sizeof(page), page_compare);

	if (at)
		starts[(size_t)(at - pages->list) * STARTS_PER_PAGE + va % PAGE / 8] |=
		    (uint8_t)(1u << va % 8);
}

static unsigned padding_len(const struct cfg *cfg, const struct cfg_section *cs, uint64_t off)
{
	struct insn insn;

	if (cs->sec->data[off] == 0xcc)
		return 1;
	if (!cs->sec->data[off] || cfg_decode(cfg, cs->sec->va + off, &insn) < 0)
		return 0;
	for (unsigned i = 0; i < insn.len; i++) {
		if ((cs->marks[off + i] & (CFG_PAD | CFG_CODE)) != CFG_PAD)
			return 0;
	}
	return insn.len;
}

bool verified_start(const struct cfg *cfg, const struct cfg_section *cs, uint64_t off, unsigned *step)
{
	unsigned len = 0;

	if ((cs->marks[off] & (CFG_PAD | CFG_CODE)) == CFG_PAD)
		len = padding_len(cfg, cs, off);
	*step = len ? len : 1;
	return len || cs->marks[off] & CFG_START;
}

static void section_starts(uint8_t *starts, const struct pages *pages, const struct cfg *cfg,
			   const struct cfg_section *cs)
{
	unsigned step;

	for (uint64_t off = 0; cs->marks && off < cs->sec->size; off += step)
		if (verified_start(cfg, cs, off, &step))
			start_set(starts, pages, cs->sec->va + off);
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

		if (last && last->end == start)
			last->end += PAGE;
		else
			m->verified[m->h.n_verified++] = (struct manifest_range){start, start + PAGE};
	}
	for (size_t i = 0; !err && i < plan->cfg->n_sections; i++)
		section_starts(m->starts, &pages, plan->cfg, &plan->cfg->sections[i]);
	m->h.n_starts = (uint32_t)(pages.n * STARTS_PER_PAGE);
	free(pages.list);
	return err ? diag_set(d, err, "%s: out of memory", plan->cfg->img->path) : 0;
}
