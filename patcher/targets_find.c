// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Where the kernel's tables are. Some are sections of the linked kernel; others lie inside .rodata or
 * .init.data between symbols such as __start___jump_table. Stock kernels without CONFIG_KALLSYMS_ALL
 * (Debian's i386 ones) have lost those symbols, so such tables are recognised by content: the longest run of
 * entries that make sense.
 */
#include "patcher/targets_internal.h"

bool table_by_section(const struct collect *c, struct table *t, const char *section)
{
	for (size_t i = 0; i < c->img->n_sections; i++) {
		const struct image_section *s = &c->img->sections[i];

		if (!s->alloc || !s->data || strcmp(s->name, section))
			continue;
		*t = (struct table){.name = section, .va = s->va, .p = s->data, .size = s->size};
		return true;
	}
	return false;
}

bool table_by_symbols(const struct collect *c, struct table *t, const char *start, const char *stop)
{
	/* In a module each table is a section of its own. */
	const struct image_symbol *a =
	    c->img->container == IMAGE_MODULE ? NULL : image_symbol_named(c->img, start);
	const struct image_symbol *b = a ? image_symbol_named(c->img, stop) : NULL;
	size_t avail;
	const uint8_t *p;

	if (!b || b->va <= a->va)
		return false;
	p = image_bytes(c->img, a->va, &avail);
	if (!p || b->va - a->va > avail) {
		image_note(c->img, "%s: the table up to %s does not lie in one section; skipped", start,
			   stop);
		return false;
	}
	*t = (struct table){.name = start, .va = a->va, .p = p, .size = b->va - a->va};
	return true;
}

size_t table_score(const struct collect *c, const struct table *t, size_t stride, entry_test test)
{
	size_t good = 0;

	for (size_t at = 0; t->size - at >= stride; at += stride)
		good += test(c, t, at);
	return good;
}

bool table_hunt(const struct collect *c, struct table *t, const char *name, const char *section,
		size_t stride, size_t min, entry_test test)
{
	struct table named;
	bool only = section && table_by_section(c, &named, section);
	size_t align = c->img->width == 64 && stride % 8 == 0 ? 8 : 4, best = 0;

	for (size_t i = 0; i < c->img->n_sections; i++) {
		const struct image_section *s = &c->img->sections[i];
		struct table all = {.name = name, .va = s->va, .p = s->data, .size = s->size};
		size_t at = -s->va & (align - 1);

		if (c->img->container == IMAGE_MODULE) /* nothing is hidden */
			break;
		if (!s->alloc || s->exec || !s->data || (only && strcmp(s->name, section)))
			continue;
		while (at < all.size && all.size - at >= stride) {
			size_t n = 0;

			while (all.size - at - n * stride >= stride && test(c, &all, at + n * stride))
				n++;
			if (n >= min && n > best) {
				best = n;
				*t = (struct table){
				    .name = name, .va = s->va + at, .p = s->data + at, .size = n * stride};
			}
			at += n ? n * stride : align;
		}
	}
	return best > 0;
}

void table_note_bad(struct collect *c, const struct table *t, size_t bad, size_t n)
{
	if (bad)
		image_note(c->img, "%s at 0x%llx: %zu of %zu entries name no code; skipped those", t->name,
			   (unsigned long long)t->va, bad, n);
}

size_t table_pick(struct collect *c, const struct table *t, const size_t *strides, const entry_test *tests)
{
	size_t best = 0, best_good = 0;

	for (size_t i = 0; strides[i]; i++) {
		size_t n = t->size / strides[i], good = table_score(c, t, strides[i], tests[i]);

		/* Compare shares, not counts: a smaller stride has more entries. */
		if (n && 2 * good >= n && (!best || good * (t->size / strides[best - 1]) > best_good * n)) {
			best = i + 1;
			best_good = good;
		}
	}
	if (!best && t->size)
		image_note(c->img, "%s at 0x%llx: no known layout fits; table skipped", t->name,
			   (unsigned long long)t->va);
	return best;
}
