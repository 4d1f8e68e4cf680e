// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The source half of the proof: owns struct verify_source and its per-byte maps.
 */
#include "patcher/verify_source.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

static const char *const target_names[VT_COUNT] = {
    [VT_NONE] = "none",
    [VT_ENTRY] = "entry point",
    [VT_SYMBOL] = "symbol",
    [VT_RELOC] = "relocation",
    [VT_WORD] = "absolute word",
    [VT_JUMP_LABEL] = "jump label",
    [VT_STATIC_CALL] = "static call",
    [VT_INITCALL] = "initcall",
    [VT_KSYMTAB] = "exported symbol",
    [VT_PCI_FIXUP] = "PCI fixup",
    [VT_ALTERNATIVE] = "alternative",
    [VT_BRANCH] = "direct branch",
};

const char *verify_target_name(unsigned t)
{
	return t < VT_COUNT ? target_names[t] : "?";
}

struct verify_text *verify_text_at(const struct verify_source *src, uint32_t va)
{
	size_t lo = 0, hi = src->n_text;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		struct verify_text *t = &src->text[mid];

		if (va < t->va)
			hi = mid;
		else if (va - t->va >= t->size)
			lo = mid + 1;
		else
			return t;
	}
	return NULL;
}

const uint8_t *verify_bytes(const struct verify_source *src, uint32_t va, uint32_t len)
{
	for (size_t i = 0; i < src->img->n_sections; i++) {
		const struct image_section *s = &src->img->sections[i];

		if (s->data && s->alloc && va >= s->va && va - s->va < s->size &&
		    s->size - (va - s->va) >= len)
			return s->data + (va - s->va);
	}
	return NULL;
}

void verify_target_add(struct verify_source *src, uint32_t va, unsigned why)
{
	struct verify_text *t = verify_text_at(src, va);

	if (!t)
		return;
	src->table_counts[why]++;
	t->mark[va - t->va] |= MARK_NAMED;
	if (!t->target[va - t->va])
		t->target[va - t->va] = why;
}

void verify_mark_add(struct verify_source *src, uint32_t va, uint8_t mark)
{
	struct verify_text *t = verify_text_at(src, va);

	if (t)
		t->mark[va - t->va] |= mark;
}

void verify_rewritten_add(struct verify_source *src, uint32_t va, uint32_t len)
{
	struct verify_text *t = verify_text_at(src, va);

	if (!t)
		return;
	for (uint32_t i = va - t->va; i < t->size && i - (va - t->va) < len; i++)
		t->mark[i] |= MARK_REWRITTEN;
}

static int by_va(const void *a, const void *b)
{
	const struct verify_text *x = a, *y = b;

	return x->va < y->va ? -1 : x->va > y->va;
}

static int text_add(struct verify_text *t, const struct image_section *s, struct diag *d)
{
	if (s->va > UINT32_MAX || s->size > UINT32_MAX - s->va)
		return diag_set(d, -EINVAL, "%s: executable section beyond 4 GiB", s->name);
	*t = (struct verify_text){.name = s->name, .va = s->va, .size = s->size, .bytes = s->data};
	t->replacement = !strcmp(s->name, ".altinstr_replacement");
	t->start = calloc(3, t->size);
	if (!t->start)
		return diag_set(d, -ENOMEM, "%s: out of memory", s->name);
	t->target = t->start + t->size;
	t->mark = t->target + t->size;
	return 0;
}

static int texts_collect(struct verify_source *src, struct diag *d)
{
	const struct image *img = src->img;

	src->text = calloc(img->n_sections + 1, sizeof(*src->text));
	if (!src->text)
		return diag_set(d, -ENOMEM, "out of memory");
	for (size_t i = 0; i < img->n_sections; i++) {
		const struct image_section *s = &img->sections[i];
		int err;

		if (!s->exec || !s->alloc || !s->data || !s->size)
			continue;
		err = text_add(&src->text[src->n_text], s, d);
		if (err)
			return err;
		src->n_text++;
	}
	if (!src->n_text)
		return diag_set(d, -EINVAL, "%s: no executable section", img->path);
	qsort(src->text, src->n_text, sizeof(*src->text), by_va);
	for (size_t i = 1; i < src->n_text; i++)
		if (src->text[i].va - src->text[i - 1].va < src->text[i - 1].size)
			return diag_set(d, -EINVAL, "%s: overlaps %s", src->text[i].name,
					src->text[i - 1].name);
	return 0;
}

void verify_digest(uint8_t out[32], const uint8_t *bytes, size_t size)
{
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	sha256_update(&ctx, size, bytes);
	sha256_digest(&ctx, 32, out);
}

struct verify_source *verify_source_load(const struct image *img, int threads, struct diag *d)
{
	struct verify_source *src;

	if (img->width != 32) {
		diag_set(d, -EINVAL, "%s: a %d-bit image; only i386 images are patched", img->path,
			 img->width);
		return NULL;
	}
	src = calloc(1, sizeof(*src));
	if (!src) {
		diag_set(d, -ENOMEM, "out of memory");
		return NULL;
	}
	src->img = img;
	verify_digest(src->sha256, img->elf, img->elf_size);
	verify_digest(src->file_sha256, img->file, img->file_size);
	if (texts_collect(src, d) || verify_targets_collect(src, d) || verify_sweep(src, threads, d)) {
		verify_source_free(src);
		return NULL;
	}
	return src;
}

void verify_source_free(struct verify_source *src)
{
	if (!src)
		return;
	for (size_t i = 0; i < src->n_text; i++)
		free(src->text[i].start);
	free(src->text);
	free(src->sensitive);
	free(src->branches);
	free(src);
}

const struct verify_sensitive *verify_source_sensitive(const struct verify_source *src, size_t *n)
{
	*n = src->n_sensitive;
	return src->sensitive;
}
