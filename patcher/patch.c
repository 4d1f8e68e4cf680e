// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 2.5: The patched file
 *
 * From a planned image to the bytes of the patched file. Every attempt keeps the original bytes, and the result
 * is undone once in memory before it is handed out: an image whose sections alias one another, or whose tables
 * lie, is refused here and not found out by whoever unpatches it.
 */
#include "patcher/patch.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/abi.h"
#include "hypercalls/lower_emit.h"
#include "patcher/report.h"

#define JMP_REL32 0xe9
#define JMP_REL8 0xeb
#define INT3 0xcc

/*
 * Code that ran and that nothing led to: once more, with those addresses. What was found anyway is left as it is, for
 * an address where control is known to arrive is one that no window may hold. Where the kernel rewrites its text itself the
 * run met other instructions than the image has.
 */
static int seen_code(struct analysis *a, const struct runtime_report *seen, struct diag *d)
{
	size_t n = 0, all = seen->n_sites + seen->n_blocks;
	uint64_t *va = malloc((all + 1) * sizeof(*va));
	int err = va ? 0 : diag_set(d, -ENOMEM, "%s: out of memory", a->img.path);

	cfg_mark_rewritten(&a->cfg, a->recipe.rewritten, a->recipe.n_rewritten);
	for (size_t i = 0; !err && i < all; i++) {
		uint64_t at = i < seen->n_sites ? seen->sites[i].va : seen->blocks[i - seen->n_sites];

		if (cfg_section_at(&a->cfg, at) && !(cfg_marks(&a->cfg, at) & (CFG_START | CFG_REWRITTEN)))
			va[n++] = at;
	}
	if (n) {
		err = targets_add_run(&a->targets, &a->img, va, n, d);
		cfg_free(&a->cfg);
		if (!err)
			err = cfg_build(&a->cfg, &a->img, &a->targets, d);
	}
	free(va);
	return err;
}

static int by_count(const void *a, const void *b)
{
	const struct runtime_site *const *x = a, *const *y = b;

	if ((*x)->count != (*y)->count)
		return (*x)->count < (*y)->count ? 1 : -1;
	return (*x)->va < (*y)->va ? -1 : (*x)->va > (*y)->va;
}

/* Addresses of the sites seen, most often first; malloc'd. */
static uint64_t *hottest_first(const struct runtime_report *seen)
{
	const struct runtime_site **order = malloc((seen->n_sites + 1) * sizeof(*order));
	uint64_t *va = malloc((seen->n_sites + 1) * sizeof(*va));

	for (size_t i = 0; order && va && i < seen->n_sites; i++)
		order[i] = &seen->sites[i];
	if (order && va && seen->n_sites)
		qsort(order, seen->n_sites, sizeof(*order), by_count);
	for (size_t i = 0; order && va && i < seen->n_sites; i++)
		va[i] = order[i]->va;
	if (!order) {
		free(va);
		va = NULL;
	}
	free(order);
	return va;
}

static int analysis_plan(struct analysis *a, const struct runtime_report *seen, struct diag *d)
{
	uint64_t *first = seen ? hottest_first(seen) : NULL;
	int err;

	if (seen && !first)
		return diag_set(d, -ENOMEM, "%s: out of memory", a->img.path);
	cfg_mark_rewritten(&a->cfg, a->recipe.rewritten, a->recipe.n_rewritten);
	err = plan_build_first(&a->plan, &a->cfg, a->recipe.exit_only, a->recipe.n_exit_only, first,
			       seen ? seen->n_sites : 0, d);
	a->planned = !err;
	free(first);
	return err;
}

int analysis_load(struct analysis *a, const char *path, const struct analysis_options *opt, struct diag *d)
{
	int err;

	*a = (struct analysis){0};
	err = image_load(&a->img, path, opt->as, opt->base, opt->width, d);
	if (err)
		return err;
	if (opt->seen)
		err = runtime_check_image(opt->seen, &a->img, d);
	if (!err)
		err = targets_collect(&a->targets, &a->img, d);
	if (!err)
		err = recipe_find(&a->recipe, &a->img, d);
	if (!err)
		err = cfg_build(&a->cfg, &a->img, &a->targets, d);
	if (!err && opt->seen)
		err = seen_code(a, opt->seen, d);
	if (!err && a->img.width == 32)
		err = analysis_plan(a, opt->seen, d);
	if (!err && opt->sources)
		err = sources_load(&a->sources, &a->img, &a->cfg, opt->sources, d);
	if (err)
		analysis_free(a);
	return err;
}

void analysis_free(struct analysis *a)
{
	sources_free(a->sources);
	plan_free(&a->plan);
	cfg_free(&a->cfg);
	recipe_free(&a->recipe);
	targets_free(&a->targets);
	image_free(&a->img);
	free(a->strings);
	*a = (struct analysis){0};
}

static void sha256(const uint8_t *bytes, size_t size, uint8_t digest[32])
{
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	sha256_update(&ctx, size, bytes);
	sha256_digest(&ctx, 32, digest);
}

/* Where the source file has the bytes at va, if all len of them are in one section. */
static uint8_t *bytes_in_copy(const struct image *img, uint8_t *copy, uint32_t va, uint32_t len)
{
	size_t avail;
	const uint8_t *p = image_bytes(img, va, &avail);

	return p && avail >= len ? copy + (p - img->elf) : NULL;
}

void patch_window_fill(const struct manifest_window *w, uint8_t *window, uint8_t *hop)
{
	uint8_t *jump = hop ? hop : window;
	uint32_t from = hop ? w->hop : w->va;

	memset(window, INT3, w->len);
	if (w->tactic == TACTIC_BREAKPOINT)
		return;
	if (hop) {
		window[0] = JMP_REL8;
		window[1] = (uint8_t)(w->hop - (w->va + 2));
	}
	jump[0] = JMP_REL32;
	put32(jump + 1, w->stub - (from + 5));
}

static int window_write(const struct image *img, uint8_t *copy, const struct manifest_window *w)
{
	uint8_t *p = bytes_in_copy(img, copy, w->va, w->len);
	uint8_t *hop = w->hop == MANIFEST_NONE ? NULL : bytes_in_copy(img, copy, w->hop, 5);

	if (!p || (w->hop != MANIFEST_NONE && !hop))
		return -EINVAL;
	patch_window_fill(w, p, hop);
	return 0;
}

static int windows_write(const struct image *img, uint8_t *copy, const struct manifest *m, struct diag *d)
{
	for (uint32_t w = 0; w < m->h.n_windows; w++) {
		if (window_write(img, copy, &m->windows[w]))
			return diag_set(d, -EINVAL,
					"%s: 0x%x: the window is not inside one section of the file",
					img->path, m->windows[w].va);
	}
	return 0;
}

static int hole_check(const struct image *img, uint32_t hole_base, uint32_t size, struct diag *d)
{
	uint64_t end = (uint64_t)hole_base + ABI_HOLE_SIZE;

	if (hole_base & 0xfff || end > UINT64_C(1) << 32)
		return diag_set(d, -EINVAL,
				"hole 0x%x: must be page-aligned and leave 0x%x bytes below 4 GiB", hole_base,
				ABI_HOLE_SIZE);
	if (size > ABI_HOLE_SIZE - ABI_HOLE_GUARD - ABI_STUBS)
		return diag_set(d, -EFBIG, "%s: %u bytes of stubs do not fit into the hole", img->path, size);
	for (size_t i = 0; i < img->n_sections; i++) {
		const struct image_section *s = &img->sections[i];

		if (s->alloc && s->size && s->va < end && s->va + s->size > hole_base)
			return diag_set(d, -EINVAL,
					"%s: section %s lies in the hole at 0x%x; choose another --hole",
					img->path, s->name, hole_base);
	}
	return 0;
}

static int header_fill(struct manifest *m, const struct analysis *a)
{
	const struct image *img = &a->img;
	uint8_t *p;

	memcpy(m->h.magic, MANIFEST_MAGIC, sizeof(m->h.magic));
	m->h.version = ABI_VERSION;
	m->h.header_size = sizeof(m->h);
	sha256(img->elf, img->elf_size, m->h.source_sha256);
	sha256(img->file, img->file_size, m->h.file_sha256);
	m->h.op_name_hash = manifest_op_name_hash();
	m->h.hole_size = ABI_HOLE_SIZE;
	m->h.alias_delta = (uint32_t)img->alias_delta;
	m->h.append = manifest_string(m, a->recipe.append);
	m->h.recipe = manifest_string(m, a->recipe.name);
	if (m->h.append == MANIFEST_NONE || m->h.recipe == MANIFEST_NONE)
		return -ENOMEM;
	if (!img->setup_size)
		return 0;
	p = realloc(m->originals, m->h.n_originals + img->setup_size);
	if (!p)
		return -ENOMEM;
	m->originals = p;
	memcpy(p + m->h.n_originals, img->file + img->setup_offset, img->setup_size);
	m->h.setup_offset = m->h.n_originals;
	m->h.setup_size = (uint32_t)img->setup_size;
	m->h.n_originals += (uint32_t)img->setup_size;
	return 0;
}

static int image_check(const struct analysis *a, struct diag *d)
{
	const struct image *img = &a->img;

	if (img->container == IMAGE_RAW || img->container == IMAGE_PE)
		return diag_set(d, -EINVAL, "%s: a %s image has no place for stubs; give an ELF or a bzImage",
				img->path, img->container == IMAGE_PE ? "PE" : "raw");
	if (img->damaged)
		return diag_set(d, -EINVAL, "%s: %s; a damaged image can be audited, not patched", img->path,
				img->n_notes ? img->notes[0] : "damaged");
	if (img->width != 32 || !a->planned)
		return diag_set(d, -EINVAL, "%s: only 32-bit images can be patched; audit works on this one",
				img->path);
	return 0;
}

/* Undo what was just done and compare with the source. */
static int self_check(const struct patch *p, const struct image *img, struct diag *d)
{
	struct unpatched u;
	int err = unpatch_bytes(&u, img->path, p->file, p->file_size, d);

	if (err)
		return err;
	if (u.source_size != img->file_size || memcmp(u.source, img->file, img->file_size))
		err = diag_set(d, -EINVAL,
			       "%s: patching it cannot be undone: sections that overlap in the file?",
			       img->path);
	unpatched_free(&u);
	return err;
}

int patch_build(struct patch *p, const struct analysis *a, uint32_t hole_base, struct diag *d)
{
	struct stubs st = {0};
	uint8_t *copy = NULL, *manifest = NULL;
	size_t manifest_size;
	int err;

	*p = (struct patch){0};
	p->m.h.hole_base = hole_base;
	err = image_check(a, d);
	if (err)
		return err;
	err = manifest_string(&p->m, "") == 0 ? 0 : -ENOMEM;
	if (!err)
		err = stubs_emit(&st, &p->m, &a->plan, d);
	if (!err)
		sha256(st.bytes, st.size, p->m.h.stubs_sha256);
	if (!err)
		err = hole_check(&a->img, hole_base, st.size, d);
	if (!err)
		err = verified_collect(&p->m, &a->plan, d);
	if (!err)
		err = header_fill(&p->m, a);
	if (!err) {
		copy = malloc(a->img.elf_size);
		err = copy ? 0 : -ENOMEM;
	}
	if (!err) {
		memcpy(copy, a->img.elf, a->img.elf_size);
		err = windows_write(&a->img, copy, &p->m, d);
	}
	if (!err)
		err = manifest_save(&p->m, &manifest, &manifest_size, d);
	if (!err)
		err = patch_elf_write(&a->img, copy, &st, manifest, manifest_size, hole_base, &p->file,
				      &p->file_size, d);
	if (!err)
		err = self_check(p, &a->img, d);
	free(st.bytes);
	free(copy);
	free(manifest);
	if (err) {
		diag_set(d, err, "%s: %s", a->img.path, strerror(-err));
		patch_free(p);
	}
	return err;
}

void patch_free(struct patch *p)
{
	manifest_free(&p->m);
	free(p->file);
	*p = (struct patch){0};
}
