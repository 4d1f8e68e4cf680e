// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The audit of an image as data for the page. Four thousand sites with their stubs are 30,000 lines of disassembly, most of which repeat; so every text stands
 * once in `texts` and all else are numbers. An address is a section and an offset, because a number in JavaScript
 * does not hold 64 bits.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/abi.h"
#include "hypercalls/policy.h"
#include "patcher/context.h"
#include "patcher/report_page.h"

#define LINES 4 /* instructions shown from a site that no window covers */

/* Lines of disassembly: [distance from base, hexadecimal bytes, text] for each instruction of [p, p + len). */
static json_t *listing(struct page_texts *t, const uint8_t *p, size_t len, uint64_t va, int width,
		       size_t most)
{
	json_t *lines = json_array();
	size_t at = 0;

	for (size_t n = 0; at < len && n < most; n++) {
		char hex[2 * INSN_MAX + 1] = "", text[96];
		struct insn insn;
		size_t size = 1;

		if (insn_decode(&insn, p + at, len - at, va + at, width) > 0)
			size = insn.len;
		for (size_t i = 0; i < size; i++)
			snprintf(hex + 2 * i, 3, "%02x", p[at + i]);
		insn_format(text, sizeof(text), p + at, len - at, va + at, width);
		json_array_append_new(
		    lines, json_pack("[I, o, o]", (json_int_t)at, page_text(t, hex), page_text(t, text)));
		at += size;
	}
	return lines;
}

static json_t *image_listing(struct page_texts *t, const struct image *img, uint64_t va, size_t len,
			     size_t most)
{
	size_t avail = 0;
	const uint8_t *p = image_bytes(img, va, &avail);

	return p ? listing(t, p, len < avail ? len : avail, va, img->width, most) : json_array();
}

/* What patch would write over the window, and over the padding it hops through. */
static json_t *after_listing(struct page_texts *t, const struct manifest_window *w)
{
	uint8_t *bytes = malloc(w->len + 5), hop[5];
	json_t *lines, *more;

	if (!bytes)
		return NULL;
	patch_window_fill(w, bytes, w->hop == MANIFEST_NONE ? NULL : hop);
	lines = listing(t, bytes, w->len, w->va, 32, SIZE_MAX);
	free(bytes);
	if (w->hop == MANIFEST_NONE)
		return lines;
	more = listing(t, hop, sizeof(hop), w->hop, 32, 1);
	json_array_set_new(json_array_get(more, 0), 0, json_integer((json_int_t)w->hop - (json_int_t)w->va));
	json_array_extend(lines, more);
	json_decref(more);
	return lines;
}

/* Name each stub line's guest instruction: the points tell it. */
static void stub_annotate(json_t *lines, const struct manifest *m, const struct manifest_window *w)
{
	uint32_t low = 0, high = m->h.n_points;
	json_t *line;
	size_t i;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (m->points[mid].stub < w->stub)
			low = mid + 1;
		else
			high = mid;
	}
	json_array_foreach(lines, i, line)
	{
		uint32_t va = w->stub + (uint32_t)json_integer_value(json_array_get(line, 0));

		while (low < m->h.n_points && m->points[low].stub < va)
			low++;
		if (low < m->h.n_points && m->points[low].stub == va)
			json_array_append_new(
			    line, json_integer((json_int_t)m->points[low].guest - (json_int_t)w->va));
	}
}

static json_t *window_json(struct page_texts *t, const struct analysis *a, const struct stubs *st,
			   const struct manifest *m, const struct manifest_window *w)
{
	uint32_t base = m->h.hole_base + ABI_STUBS;
	json_t *stub = json_array();

	if (w->stub != MANIFEST_NONE) {
		json_decref(stub);
		stub = listing(t, st->bytes + (w->stub - base), w->stub_len, w->stub, 32, SIZE_MAX);
		stub_annotate(stub, m, w);
	}
	return json_pack("[I, I, I, o, o, o]", (json_int_t)w->va, (json_int_t)w->len,
			 w->stub == MANIFEST_NONE ? (json_int_t)-1 : (json_int_t)w->stub,
			 image_listing(t, &a->img, w->va, w->len, SIZE_MAX), after_listing(t, w), stub);
}

/* The windows with the stubs that patch would emit, the hole where the recipe has it. */
static int windows_json(json_t *windows, struct page_texts *t, const struct analysis *a, struct diag *d)
{
	struct manifest m = {0};
	struct stubs st = {0};
	int err = 0;

	if (!a->planned)
		return 0;
	m.h.hole_base = a->recipe.hole_base ? a->recipe.hole_base : ABI_HOLE_BASE;
	if (manifest_string(&m, "") != 0)
		err = diag_set(d, -ENOMEM, "%s: out of memory", a->img.path);
	if (!err)
		err = stubs_emit(&st, &m, &a->plan, d);
	for (uint32_t w = 0; !err && w < m.h.n_windows; w++)
		json_array_append_new(windows, window_json(t, a, &st, &m, &m.windows[w]));
	free(st.bytes);
	manifest_free(&m);
	return err;
}

static json_t *tries_json(struct page_texts *t, const struct plan_site *ps)
{
	struct tactic_try tries[TACTIC_TRIES];
	size_t n = report_tries(ps, tries);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(
		    list, json_pack("[i, o]", (int)tries[i].tactic, page_text(t, tries[i].outcome)));
	return list;
}

/* Function, file and line, with what the code was inlined into. */
static json_t *source_json(struct page_texts *t, const struct analysis *a, const struct cfg_site *site)
{
	const struct source_frame *frames;
	size_t n = report_frames(a, site, &frames);
	char *text = n ? sources_describe(frames, n) : NULL;
	json_t *number = page_text(t, text);

	free(text);
	return number;
}

/* [table, what it says] for each of the kernel's tables that names the site. */
static json_t *context_json(struct page_texts *t, const struct image *img, const struct targets *targets,
			    const struct cfg_site *site)
{
	struct context found[CONTEXT_MAX];
	size_t n = context_find(targets, site->va, site->len, found, CONTEXT_MAX);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		char text[256];

		context_describe(&found[i], img, text, sizeof(text));
		json_array_append_new(
		    list, json_pack("[o, o]", page_text(t, context_table(&found[i])), page_text(t, text)));
	}
	return list;
}

/* The columns are named in page/audit.js, where `sites` is unpacked. */
static json_t *site_json(struct page_texts *t, const struct analysis *a, const struct cfg_site *site, int op,
			 const struct runtime_report *rt)
{
	const struct image_symbol *sym = image_symbol_at(&a->img, site->va);
	const struct plan_site *ps = report_plan_site(a, site);
	const struct runtime_site *seen = rt ? runtime_site_at(rt, site->va) : NULL;
	bool covered = ps && ps->window != MANIFEST_NONE;
	char text[96];
	size_t avail = 0;
	const uint8_t *p = image_bytes(&a->img, site->va, &avail);

	insn_format(text, sizeof(text), p, avail, site->va, a->img.width);
	return json_pack(
	    "[i, I, i, i, o, I, i, i, I, o, o, o, o, o, I, o, o, o, s]", (int)site->section,
	    (json_int_t)(site->va - a->cfg.sections[site->section].sec->va), (int)site->len, op,
	    page_text(t, sym ? sym->name : NULL), sym ? (json_int_t)(site->va - sym->va) : 0,
	    (int)site->origin, ps ? (int)ps->tactic : -1, covered ? (json_int_t)ps->window : (json_int_t)-1,
	    page_text(t, text), page_text(t, ps ? ps->reason : NULL), tries_json(t, ps),
	    covered ? json_array() : image_listing(t, &a->img, site->va, LINES * INSN_MAX, LINES),
	    source_json(t, a, site), seen ? (json_int_t)seen->count : (json_int_t)-1,
	    page_text(t, seen ? seen->kind : NULL), page_text(t, seen ? seen->reason : NULL),
	    context_json(t, &a->img, &a->targets, site), cfg_confidence_name(site->confidence));
}

static void sites_json(json_t *sites, json_t *ops, struct page_texts *t, const struct analysis *a,
		       const struct runtime_report *rt)
{
	int index[OP_COUNT];

	memset(index, -1, sizeof(index));
	for (size_t i = 0; i < a->cfg.n_sites; i++) {
		const struct cfg_site *site = &a->cfg.sites[i];

		if (index[site->op] < 0) {
			index[site->op] = (int)json_array_size(ops);
			json_array_append_new(ops, page_op(site->op));
		}
		json_array_append_new(sites, site_json(t, a, site, index[site->op], rt));
	}
}

static json_t *hex_json(uint64_t va)
{
	char hex[20];

	snprintf(hex, sizeof(hex), "%" PRIx64, va);
	return json_string(hex);
}

/* Code sections in the order of cfg->sections, which sites refer to. */
static json_t *sections_json(const struct cfg *cfg)
{
	json_t *list = json_array();

	for (size_t i = 0; i < cfg->n_sections; i++) {
		const struct image_section *s = cfg->sections[i].sec;

		json_array_append_new(list, json_pack("{s:o, s:o, s:I, s:b}", "name", report_string(s->name),
						      "va", hex_json(s->va), "size", (json_int_t)s->size,
						      "live", cfg->sections[i].marks != NULL));
	}
	return list;
}

/* [section, offset, length, symbol, its offset, kind, sites]; nothing leads there. */
static json_t *unreached_json(struct page_texts *t, const struct image *img, const struct cfg *cfg)
{
	json_t *list = json_array();

	for (size_t i = 0; i < cfg->n_unreached; i++) {
		const struct cfg_range *r = &cfg->unreached[i];
		const struct image_symbol *sym = image_symbol_at(img, r->va);

		json_array_append_new(list,
				      json_pack("[i, I, I, o, I, s, I]", (int)r->section,
						(json_int_t)(r->va - cfg->sections[r->section].sec->va), (json_int_t)r->size,
						page_text(t, sym ? sym->name : NULL),
						sym ? (json_int_t)(r->va - sym->va) : (json_int_t)0,
						cfg_unreached_name(r->kind), (json_int_t)cfg_sites_in(cfg, r)));
	}
	return list;
}

/* Everything that is loaded, for the map. */
static json_t *map_json(const struct image *img)
{
	json_t *list = json_array();

	for (size_t i = 0; i < img->n_sections; i++) {
		const struct image_section *s = &img->sections[i];

		if (s->alloc && s->size)
			json_array_append_new(
			    list, json_pack("{s:o, s:o, s:I, s:b, s:b, s:b}", "name", report_string(s->name),
					    "va", hex_json(s->va), "size", (json_int_t)s->size, "exec",
					    (int)s->exec, "write", (int)s->write, "data", s->data != NULL));
	}
	return list;
}

static json_t *unknown_json(const struct analysis *a, const struct runtime_report *rt)
{
	json_t *list = json_array();

	for (size_t i = 0; i < rt->n_sites; i++) {
		const struct runtime_site *s = &rt->sites[i];

		if (!cfg_site_at(&a->cfg, s->va))
			json_array_append_new(list,
					      json_pack("[o, I, o, o, o]", hex_json(s->va),
							(json_int_t)s->count, report_string(s->kind),
							report_string(s->symbol), report_string(s->reason)));
	}
	return list;
}

static json_t *run_json(const struct analysis *a, const struct runtime_report *rt)
{
	json_t *exits = json_array(), *kinds = json_object();

	if (!rt) {
		json_decref(exits);
		json_decref(kinds);
		return json_null();
	}
	for (size_t i = 0; i < rt->n_exits; i++)
		json_array_append_new(exits, json_pack("[o, I, f]", report_string(rt->exits[i].reason),
						       (json_int_t)rt->exits[i].count, rt->exits[i].ms));
	for (size_t i = 0; i < rt->n_sites; i++) {
		const struct runtime_site *s = &rt->sites[i];
		json_t *sum = json_object_get(kinds, s->kind);

		json_object_set_new(kinds, s->kind,
				    json_integer(json_integer_value(sum) + (json_int_t)s->count));
	}
	return json_pack("{s:o, s:f, s:I, s:o, s:o, s:I, s:o}", "path", report_string(rt->path), "seconds",
			 rt->seconds, "blocks_translated", (json_int_t)rt->blocks_translated, "exits", exits,
			 "kinds", kinds, "sites", (json_int_t)rt->n_sites, "unknown", unknown_json(a, rt));
}

static json_t *names_json(const char *(*name)(unsigned), unsigned n)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(list, json_string(name(i)));
	return list;
}

static json_t *notes_json(const struct image *img)
{
	json_t *list = json_array();

	for (size_t i = 0; i < img->n_notes; i++)
		json_array_append_new(list, report_string(img->notes[i]));
	return list;
}

static json_t *page_data(const struct analysis *a, const struct runtime_report *rt, struct diag *d)
{
	struct page_texts t = page_texts_new();
	json_t *windows = json_array(), *sites = json_array(), *ops = json_array(), *root = NULL;
	char hex[65];
	int err = windows_json(windows, &t, a, d);

	sites_json(sites, ops, &t, a, rt);
	report_sha256(&a->img, hex);
	root =
	    json_pack("{s:s, s:i, s:o, s:s, s:s, s:s, s:i, s:s, s:o, s:I, s:I, s:o, s:o, s:s, s:o, s:b, s:o, s:o, "
		      "s:o, s:o, s:o, "
		      "s:o, s:o, s:o, s:o}",
		      "kind", "audit", "version", REPORT_SCHEMA_VERSION, "image", report_string(a->img.path),
		      "container", report_container_name(&a->img), "compression",
		      a->img.compression ? a->img.compression : "none", "sha256", hex, "width", a->img.width,
		      "symbol_source", a->img.symbol_source, "debug", report_string(sources_path(a->sources)),
		      "symbols", (json_int_t)a->img.n_symbols, "instructions", (json_int_t)a->cfg.n_insns,
		      "bytes", report_bytes_json(&a->cfg), "unreached", unreached_json(&t, &a->img, &a->cfg),
		      "recipe", a->recipe.name, "notes",
		      notes_json(&a->img), "planned", (int)a->planned, "sections", sections_json(&a->cfg),
		      "map", map_json(&a->img), "tactics", names_json(tactic_name, TACTIC_COUNT), "origins",
		      names_json(cfg_origin_name, ORIGIN_REPLACEMENT + 1), "run", run_json(a, rt), "ops", ops,
		      "sites", sites, "windows", windows, "texts", t.list);
	json_decref(t.number);
	if (root && (err || json_array_size(sites) != a->cfg.n_sites)) {
		json_decref(root);
		root = NULL;
	}
	return root;
}

int report_html(const struct analysis *a, const struct runtime_report *rt, const char *path, struct diag *d)
{
	return report_page_write(page_data(a, rt, d), path, d);
}
