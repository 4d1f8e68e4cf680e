// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The bytes that no path reaches: what the descent has left of the executable sections, padding apart. The sweep then
 * reads some of them as code; nothing that names code leads there, so they are the places to look at for code that
 * the tables do not tell of, and for data among the code.
 */
#include <errno.h>
#include <stdlib.h>

#include "patcher/cfg_internal.h"

static int add_range(struct cfg_ranges *list, const struct cfg_range *r)
{
	void *p = list->ranges;

	if (!cfg_grow(&p, &list->cap, list->n, sizeof(*list->ranges)))
		return -ENOMEM;
	list->ranges = p;
	list->ranges[list->n++] = *r;
	return 0;
}

/* Every gap that the descent has left, padding too. */
int cfg_gaps_find(const struct cfg *cfg, struct cfg_ranges *gaps)
{
	for (uint32_t i = 0; i < cfg->n_sections; i++) {
		const struct cfg_section *cs = &cfg->sections[i];
		uint64_t size = cs->marks ? cs->sec->size : 0, end;

		for (uint64_t off = 0; off < size; off = end) {
			for (end = off; end < size && !(cs->marks[end] & CFG_CODE);)
				end++;
			if (end > off &&
			    add_range(gaps, &(struct cfg_range){cs->sec->va + off, end - off, i, 0}))
				return -ENOMEM;
			while (end < size && cs->marks[end] & CFG_CODE)
				end++;
		}
	}
	return 0;
}

enum { PADDING = UNREACHED_KINDS };

static unsigned kind_of(uint8_t mark)
{
	if (mark & CFG_PAD)
		return PADDING;
	return mark & CFG_CODE ? UNREACHED_SWEEP : UNREACHED_UNDECODED;
}

/* Cut one gap where its kind changes. */
static int cut(struct cfg *cfg, const struct cfg_range *gap, struct cfg_ranges *out)
{
	const uint8_t *marks =
	    cfg->sections[gap->section].marks + (gap->va - cfg->sections[gap->section].sec->va);
	uint64_t end;

	for (uint64_t off = 0; off < gap->size; off = end) {
		unsigned kind = kind_of(marks[off]);

		for (end = off + 1; end < gap->size && kind_of(marks[end]) == kind;)
			end++;
		if (kind == PADDING)
			cfg->padding_bytes += end - off;
		else if (add_range(
			     out, &(struct cfg_range){gap->va + off, end - off, gap->section, (uint8_t)kind}))
			return -ENOMEM;
		else if (kind == UNREACHED_SWEEP)
			cfg->swept_bytes += end - off;
		else
			cfg->undecoded_bytes += end - off;
	}
	return 0;
}

int cfg_unreached_find(struct cfg *cfg, const struct cfg_ranges *gaps)
{
	struct cfg_ranges out = {0};
	int err = 0;

	for (size_t i = 0; !err && i < gaps->n; i++)
		err = cut(cfg, &gaps->ranges[i], &out);
	cfg->unreached = out.ranges;
	cfg->n_unreached = out.n;
	return err;
}

uint64_t cfg_code_bytes(const struct cfg *cfg)
{
	uint64_t size = 0;

	for (size_t i = 0; i < cfg->n_sections; i++)
		size += cfg->sections[i].marks ? cfg->sections[i].sec->size : 0;
	return size;
}

const char *cfg_unreached_name(unsigned kind)
{
	static const char *const names[] = {"sweep", "undecoded"};

	return kind < UNREACHED_KINDS ? names[kind] : "?";
}

size_t cfg_sites_in(const struct cfg *cfg, const struct cfg_range *r)
{
	size_t lo = 0, hi = cfg->n_sites, n = 0;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (cfg->sites[mid].va < r->va)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < cfg->n_sites && cfg->sites[lo].va - r->va < r->size; lo++)
		n++;
	return n;
}
