// SPDX-License-Identifier: GPL-3.0-or-later
/* The audit for programs (schema: docs/audit-json.md), and the run report that is merged into it. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/policy.h"
#include "patcher/report.h"

#define SCHEMA_VERSION 1

static json_t *text_or_null(const char *s)
{
	return s ? json_string(s) : json_null();
}

static json_t *symbol_json(const struct image *img, uint64_t va)
{
	const struct image_symbol *sym = image_symbol_at(img, va);

	if (!sym)
		return json_null();
	return json_pack("{s:s%, s:I}", "name", sym->name, strlen(sym->name), "offset",
			 (json_int_t)(va - sym->va));
}

static json_t *window_json(const struct analysis *a, const struct plan_site *ps)
{
	const struct plan_window *w;

	if (!ps || ps->window == MANIFEST_NONE)
		return json_null();
	w = &a->plan.windows[ps->window];
	return json_pack("{s:I, s:i}", "va", (json_int_t)w->va, "length", (int)w->len);
}

static json_t *seen_json(const struct runtime_site *seen)
{
	if (!seen)
		return json_null();
	return json_pack("{s:I, s:s, s:s}", "count", (json_int_t)seen->count, "kind", seen->kind, "reason",
			 seen->reason);
}

static json_t *site_json(const struct analysis *a, const struct cfg_site *site,
			 const struct runtime_report *rt)
{
	const struct policy *row = policy_get(site->op);
	const struct plan_site *ps = report_plan_site(a, site);
	char bytes[2 * INSN_MAX + 1], text[96], address[24];
	size_t avail = 0;
	const uint8_t *p = image_bytes(&a->img, site->va, &avail);

	report_bytes_hex(&a->img, site, bytes, sizeof(bytes));
	insn_format(text, sizeof(text), p, avail, site->va, a->img.width);
	snprintf(address, sizeof(address), "0x%llx", (unsigned long long)site->va);
	return json_pack(
	    "{s:I, s:s, s:s, s:o, s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, "
	    "s:o, s:o, s:o, s:o}",
	    "va", (json_int_t)site->va, "address", address, "section",
	    a->cfg.sections[site->section].sec->name, "symbol", symbol_json(&a->img, site->va), "bytes",
	    bytes, "length", (int)site->len, "disassembly", text, "op", row->id, "mnemonic", row->mnemonic,
	    "form", row->form, "class", policy_class_name(row->cls), "why", row->reason, "manual",
	    row->manual, "meaning", row->meaning, "hypercall", hypercall_name(row->hypercall), "lowering",
	    lowering_name(row->lowering), "origin", cfg_origin_name(site->origin), "tactic",
	    text_or_null(ps ? tactic_name(ps->tactic) : NULL), "window", window_json(a, ps),
	    "unpatched_because", text_or_null(ps ? ps->reason : NULL), "runtime",
	    seen_json(rt ? runtime_site_at(rt, site->va) : NULL));
}

static json_t *unknown_json(const struct analysis *a, const struct runtime_report *rt)
{
	json_t *list = json_array();

	for (size_t i = 0; rt && i < rt->n_sites; i++) {
		const struct runtime_site *s = &rt->sites[i];

		if (!cfg_site_at(&a->cfg, s->va))
			json_array_append_new(list,
					      json_pack("{s:I, s:I, s:s, s:s, s:s}", "va", (json_int_t)s->va,
							"count", (json_int_t)s->count, "kind", s->kind,
							"symbol", s->symbol, "reason", s->reason));
	}
	return list;
}

static json_t *notes_json(const struct image *img)
{
	json_t *list = json_array();

	for (size_t i = 0; i < img->n_notes; i++)
		json_array_append_new(list, json_string(img->notes[i]));
	return list;
}

static json_t *vdso_json(const struct recipe *r)
{
	json_t *list = json_array();

	for (size_t i = 0; i < r->n_vdso; i++)
		json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "name", r->vdso[i].name, "va",
						      (json_int_t)r->vdso[i].va, "int80",
						      (json_int_t)r->vdso[i].int80));
	return list;
}

static const char *container_name(const struct image *img)
{
	static const char *const names[] = {
	    [IMAGE_ELF] = "elf", [IMAGE_BZIMAGE] = "bzimage", [IMAGE_RAW] = "raw"};

	return names[img->container];
}

int report_json(const struct analysis *a, const struct runtime_report *rt, const char *path, struct diag *d)
{
	json_t *sites = json_array(), *root;
	char hex[65], *text;
	int err;

	for (size_t i = 0; i < a->cfg.n_sites; i++)
		json_array_append_new(sites, site_json(a, &a->cfg.sites[i], rt));
	report_sha256(&a->img, hex);
	root = json_pack("{s:i, s:s, s:s, s:s, s:s, s:i, s:s, s:I, s:I, s:s, s:o, s:o, s:o, s:o}", "version",
			 SCHEMA_VERSION, "image", a->img.path, "container", container_name(&a->img),
			 "compression", a->img.compression ? a->img.compression : "none", "image_sha256", hex,
			 "width", a->img.width, "symbol_source", a->img.symbol_source, "instructions",
			 (json_int_t)a->cfg.n_insns, "undecoded_bytes", (json_int_t)a->cfg.undecoded_bytes,
			 "recipe", a->recipe.name, "vdso", vdso_json(&a->recipe), "notes",
			 notes_json(&a->img), "sites", sites, "unknown_at_run_time", unknown_json(a, rt));
	text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
	if (root && json_array_size(sites) != a->cfg.n_sites) {
		free(text);
		text = NULL;
	}
	err =
	    text ? file_write(path, text, strlen(text), d) : diag_set(d, -ENOMEM, "%s: out of memory", path);
	free(text);
	json_decref(root);
	return err;
}

static int seen_compare(const void *a, const void *b)
{
	const struct runtime_site *x = a, *y = b;

	return x->va < y->va ? -1 : x->va > y->va;
}

const struct runtime_site *runtime_site_at(const struct runtime_report *rt, uint64_t va)
{
	struct runtime_site key = {.va = va};

	return rt->n_sites ? bsearch(&key, rt->sites, rt->n_sites, sizeof(key), seen_compare) : NULL;
}

static int take_site(struct runtime_site *s, json_t *item)
{
	const char *kind, *symbol = "", *reason = "";
	json_int_t va, count;

	if (json_unpack(item, "{s:I, s:I, s:s, s?s, s?s}", "va", &va, "count", &count, "kind", &kind,
			"symbol", &symbol, "reason", &reason) ||
	    va < 0 || count < 0)
		return -EINVAL;
	*s = (struct runtime_site){.va = (uint64_t)va,
				   .count = (uint64_t)count,
				   .kind = strdup(kind),
				   .symbol = strdup(symbol),
				   .reason = strdup(reason)};
	return s->kind && s->symbol && s->reason ? 0 : -ENOMEM;
}

static int take_report(struct runtime_report *rt, json_t *root, const char *path, struct diag *d)
{
	const char *sha256 = "";
	json_t *sites, *item;
	int version = 0;
	size_t i;

	if (json_unpack(root, "{s:i, s?s, s:o}", "version", &version, "image_sha256", &sha256, "sites",
			&sites) ||
	    version != SCHEMA_VERSION || !json_is_array(sites) || strlen(sha256) >= sizeof(rt->sha256))
		return diag_set(d, -EINVAL, "%s: not a run report of version %d", path, SCHEMA_VERSION);
	strcpy(rt->sha256, sha256);
	rt->sites = calloc(json_array_size(sites) + 1, sizeof(*rt->sites));
	if (!rt->sites)
		return diag_set(d, -ENOMEM, "%s: out of memory", path);
	json_array_foreach(sites, i, item)
	{
		int err = take_site(&rt->sites[rt->n_sites++], item);

		if (err)
			return diag_set(d, err, "%s: sites[%zu]: %s", path, i,
					err == -EINVAL ? "needs va, count and kind" : "out of memory");
	}
	qsort(rt->sites, rt->n_sites, sizeof(*rt->sites), seen_compare);
	return 0;
}

int runtime_load(struct runtime_report *rt, const char *path, struct diag *d)
{
	json_error_t je;
	uint8_t *bytes;
	size_t size;
	json_t *root;
	int err;

	*rt = (struct runtime_report){0};
	err = file_read(path, &bytes, &size, d);
	if (err)
		return err;
	root = json_loadb((const char *)bytes, size, 0, &je);
	free(bytes);
	if (!root)
		return diag_set(d, -EINVAL, "%s:%d: %s", path, je.line, je.text);
	err = take_report(rt, root, path, d);
	json_decref(root);
	if (err)
		runtime_free(rt);
	return err;
}

void runtime_free(struct runtime_report *rt)
{
	for (size_t i = 0; i < rt->n_sites; i++) {
		free(rt->sites[i].kind);
		free(rt->sites[i].symbol);
		free(rt->sites[i].reason);
	}
	free(rt->sites);
	*rt = (struct runtime_report){0};
}
