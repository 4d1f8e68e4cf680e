// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 1.5: Where control can arrive
 *
 * The addresses that control reaches by other ways than falling through or a direct branch: the set that no
 * patch window may contain in its middle. Too many targets cost a few windows, a missing one is a wrong
 * patch, so each source here is taken whenever it is plausible. The tables of the kernel are in
 * targets_tables.c.
 */
#include <errno.h>
#include <stdlib.h>

#include "patcher/targets_internal.h"

const uint8_t *code_at(const struct collect *c, uint64_t va, size_t *avail)
{
	if (c->img->sections_ordered) {
		const struct image_section *s = image_section_at(c->img, va);

		*avail = s && s->exec && s->data ? s->size - (va - s->va) : 0;
		return *avail ? s->data + (va - s->va) : NULL;
	}
	for (size_t i = 0; i < c->n_code; i++) {
		const struct image_section *s = c->code[i];

		if (va >= s->va && va - s->va < s->size) {
			*avail = s->size - (va - s->va);
			return s->data + (va - s->va);
		}
	}
	*avail = 0;
	return NULL;
}

bool is_code(const struct collect *c, uint64_t va)
{
	size_t avail;

	return code_at(c, va, &avail) != NULL;
}

bool is_mapped(const struct collect *c, uint64_t va)
{
	return image_section_at(c->img, va) != NULL;
}

void add_target(struct collect *c, uint64_t va, enum target_source source)
{
	struct target *t;

	if (c->err || !is_code(c, va))
		return;
	if (c->t->n_targets == c->targets_cap) {
		c->targets_cap = c->targets_cap ? 2 * c->targets_cap : 65536;
		t = realloc(c->t->targets, c->targets_cap * sizeof(*t));
		if (!t) {
			c->err = -ENOMEM;
			return;
		}
		c->t->targets = t;
	}
	c->t->targets[c->t->n_targets++] = (struct target){.va = va, .source = source};
}

void add_rewritten(struct collect *c, uint64_t va, size_t len, enum target_source source)
{
	struct rewritten *r;
	size_t avail;

	if (c->err || !len || !code_at(c, va, &avail))
		return;
	if (c->t->n_rewritten == c->rewritten_cap) {
		c->rewritten_cap = c->rewritten_cap ? 2 * c->rewritten_cap : 65536;
		r = realloc(c->t->rewritten, c->rewritten_cap * sizeof(*r));
		if (!r) {
			c->err = -ENOMEM;
			return;
		}
		c->t->rewritten = r;
	}
	c->t->rewritten[c->t->n_rewritten++] =
	    (struct rewritten){.start = va, .end = va + (len < avail ? len : avail), .source = source};
}

void add_context(struct collect *c, const struct context *context)
{
	struct context *p;

	if (c->err || context->end <= context->start || !is_code(c, context->start))
		return;
	if (c->t->n_contexts == c->contexts_cap) {
		c->contexts_cap = c->contexts_cap ? 2 * c->contexts_cap : 1024;
		p = realloc(c->t->contexts, c->contexts_cap * sizeof(*p));
		if (!p) {
			c->err = -ENOMEM;
			return;
		}
		c->t->contexts = p;
	}
	c->t->contexts[c->t->n_contexts++] = *context;
}

/* The ELF entry of Linux is a physical address. */
static void collect_entry(struct collect *c)
{
	uint64_t linked = image_wrap(c->img, c->img->entry + c->img->alias_delta);

	add_target(c, is_code(c, linked) ? linked : c->img->entry, TARGET_ENTRY);
}

static void collect_symbols(struct collect *c)
{
	for (size_t i = 0; i < c->img->n_symbols; i++)
		add_target(c, c->img->symbols[i].va, TARGET_SYMBOL);
}

/* On x86-64 Linux's list holds words of 32 and of 64 bits; kernel addresses are equal either way, sign-extended. */
static uint64_t word_value(const struct image *img, const uint8_t *p, size_t avail)
{
	if (img->container == IMAGE_PE && img->width == 64 && avail >= 8)
		return le64(p);
	return image_wrap(img, (int64_t)les32(p));
}

static void collect_relocs(struct collect *c)
{
	const struct image_section *s = NULL;
	size_t avail;

	for (size_t i = 0; i < c->img->n_relocs; i++) {
		uint64_t at = c->img->relocs[i];
		const uint8_t *p;

		if (!s || at < s->va || at - s->va >= s->size)
			s = image_section_at(c->img, at);
		p = s ? image_bytes(c->img, at, &avail) : NULL;
		if (p && avail >= 4)
			add_target(c, word_value(c->img, p, avail), TARGET_RELOC);
	}
}

/*
 * Without a list: every aligned data word that points at code, and every 32-bit word at any byte of code that
 * does
 * (`push $label; iret` is real kernel code). One word in 450 of random code points into 9 MiB of text by
 * chance.
 */
static void collect_words(struct collect *c)
{
	size_t word = c->img->width == 64 ? 8 : 4;

	for (size_t i = 0; i < c->img->n_sections; i++) {
		const struct image_section *s = &c->img->sections[i];
		size_t at = s->exec ? 0 : -s->va & (word - 1), need = s->exec ? 4 : word;

		if (!s->alloc || !s->data)
			continue;
		for (; at < s->size && s->size - at >= need; at += s->exec ? 1 : word) {
			const uint8_t *p = s->data + at;

			add_target(c, s->exec ? image_wrap(c->img, (int64_t)les32(p)) : word_address(c, p),
				   TARGET_RELOC);
		}
	}
}

static int compare_targets(const void *va, const void *vb)
{
	const struct target *a = va, *b = vb;

	if (a->va != b->va)
		return a->va < b->va ? -1 : 1;
	return a->source - b->source;
}

static int compare_rewritten(const void *va, const void *vb)
{
	const struct rewritten *a = va, *b = vb;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	if (a->end != b->end)
		return a->end < b->end ? -1 : 1;
	return a->source - b->source;
}

static int compare_contexts(const void *va, const void *vb)
{
	const struct context *a = va, *b = vb;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	if (a->source != b->source)
		return a->source - b->source;
	if (a->role != b->role)
		return a->role - b->role;
	if (a->other != b->other)
		return a->other < b->other ? -1 : 1;
	return a->feature < b->feature ? -1 : a->feature > b->feature;
}

static void sort_unique(struct targets *t)
{
	size_t n = 0;

	if (t->n_contexts)
		qsort(t->contexts, t->n_contexts, sizeof(*t->contexts), compare_contexts);

	if (t->n_targets)
		qsort(t->targets, t->n_targets, sizeof(*t->targets), compare_targets);
	for (size_t i = 0; i < t->n_targets; i++)
		if (!n || compare_targets(&t->targets[n - 1], &t->targets[i]))
			t->targets[n++] = t->targets[i];
	t->n_targets = n;
	n = 0;
	if (t->n_rewritten)
		qsort(t->rewritten, t->n_rewritten, sizeof(*t->rewritten), compare_rewritten);
	for (size_t i = 0; i < t->n_rewritten; i++)
		if (!n || compare_rewritten(&t->rewritten[n - 1], &t->rewritten[i]))
			t->rewritten[n++] = t->rewritten[i];
	t->n_rewritten = n;
}

static int find_code(struct collect *c)
{
	c->code = malloc((c->img->n_sections + 1) * sizeof(*c->code));
	if (!c->code)
		return -ENOMEM;
	for (size_t i = 0; i < c->img->n_sections; i++) {
		const struct image_section *s = &c->img->sections[i];

		if (s->alloc && s->exec && s->data)
			c->code[c->n_code++] = s;
	}
	return 0;
}

int targets_collect(struct targets *t, struct image *img, struct diag *d)
{
	struct collect c = {.t = t, .img = img};

	memset(t, 0, sizeof(*t));
	c.err = find_code(&c);
	collect_entry(&c);
	collect_symbols(&c);
	if (img->container == IMAGE_RAW)
		; /* code and data are one section: words that look like addresses mean nothing */
	else if (img->n_relocs || img->container == IMAGE_MODULE || img->container == IMAGE_PE)
		/* a module's list is whole, even when empty; a PE image may be linked at 0, where any word is an address */
		collect_relocs(&c);
	else
		collect_words(&c);
	if (!c.err && img->container != IMAGE_RAW && img->container != IMAGE_PE) {
		collect_tables(&c);
		collect_patch_sites(&c);
		collect_orc(&c);
	}
	free(c.code);
	if (c.err) {
		targets_free(t);
		return diag_set(d, c.err, "%s: out of memory for branch targets", img->path);
	}
	sort_unique(t);
	return 0;
}

int targets_add_run(struct targets *t, struct image *img, const uint64_t *va, size_t n, struct diag *d)
{
	struct collect c = {.t = t, .img = img, .targets_cap = t->n_targets, .rewritten_cap = t->n_rewritten};
	struct target *room = realloc(t->targets, (t->n_targets + n + 1) * sizeof(*room));

	if (!room)
		return diag_set(d, -ENOMEM, "%s: out of memory for branch targets", img->path);
	t->targets = room;
	c.targets_cap += n + 1;
	c.err = find_code(&c);
	for (size_t i = 0; i < n; i++)
		add_target(&c, va[i], TARGET_RUN);
	free(c.code);
	if (c.err)
		return diag_set(d, c.err, "%s: out of memory for branch targets", img->path);
	sort_unique(t);
	return 0;
}

void targets_free(struct targets *t)
{
	free(t->targets);
	free(t->rewritten);
	free(t->contexts);
	orc_free(t->orc);
	memset(t, 0, sizeof(*t));
}
