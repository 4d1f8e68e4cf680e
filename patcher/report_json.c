// SPDX-License-Identifier: GPL-3.0-or-later
/* The audit for programs: docs/audit-json.md explains it, docs/audit-report.schema.json is its schema. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/policy.h"
#include "patcher/context.h"
#include "patcher/report_internal.h"

json_t *report_string(const char *s)
{
	json_t *plain;
	char *clean;

	if (!s)
		return json_null();
	plain = json_string(s);
	clean = plain ? NULL : strdup(s);
	if (!clean)
		return plain;
	for (char *p = clean; *p; p++)
		if (*p & 0x80)
			*p = '?';
	plain = json_string(clean);
	free(clean);
	return plain;
}

json_t *report_symbol_json(const struct image *img, uint64_t va)
{
	const struct image_symbol *sym = image_symbol_at(img, va);

	if (!sym)
		return json_null();
	return json_pack("{s:o, s:I}", "name", report_string(sym->name), "offset",
			 (json_int_t)(va - sym->va));
}

/* type, sp, bp and signal of an entry of ORC; null of the other tables */
static json_t *orc_json(const struct context *c)
{
	char sp[ORC_PLACE_MAX], bp[ORC_PLACE_MAX];

	if (c->source != TARGET_ORC)
		return json_null();
	orc_sp(&c->frame, sp, sizeof(sp));
	orc_bp(&c->frame, bp, sizeof(bp));
	return json_pack("{s:s, s:o, s:o, s:b}", "type", orc_type_name(&c->frame), "sp",
			 report_string(*sp ? sp : NULL), "bp", report_string(*bp ? bp : NULL), "signal",
			 (int)c->frame.signal);
}

json_t *report_context_json(const struct image *img, const struct targets *t, const struct cfg_site *site)
{
	static const char *const roles[] = {"site", "replacement", "fixup", "target"};
	struct context found[CONTEXT_MAX];
	size_t n = context_find(t, site->va, site->len, found, CONTEXT_MAX);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		char text[256], feature[32];

		context_describe(&found[i], img, text, sizeof(text));
		context_feature(&found[i], feature, sizeof(feature));
		json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:b, s:o, s:o}", "table",
						      context_table(&found[i]), "role", roles[found[i].role],
						      "feature", report_string(*feature ? feature : NULL),
						      "inverted", (int)found[i].inverted, "text",
						      report_string(text), "orc", orc_json(&found[i])));
	}
	return list;
}

json_t *report_source_json(const struct source_frame *frames, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		const struct source_frame *f = &frames[i];

		json_array_append_new(list, json_pack("{s:o, s:o, s:o}", "file",
						      report_string(*f->file ? f->file : NULL), "line",
						      f->line ? json_integer(f->line) : json_null(), "function",
						      report_string(*f->function ? f->function : NULL)));
	}
	return list;
}

static json_t *source_json(const struct analysis *a, const struct cfg_site *site)
{
	const struct source_frame *frames;
	size_t n = report_frames(a, site, &frames);

	return report_source_json(frames, n);
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

static json_t *tried_json(const struct plan_site *ps)
{
	struct tactic_try tries[TACTIC_TRIES];
	size_t n = report_tries(ps, tries);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:s, s:s}", "tactic", tactic_name(tries[i].tactic),
						      "outcome", tries[i].outcome));
	return list;
}

json_t *report_bytes_json(const struct cfg *cfg)
{
	uint64_t apart = cfg->swept_bytes + cfg->undecoded_bytes + cfg->padding_bytes;

	return json_pack("{s:I, s:I, s:I, s:I}", "reached", (json_int_t)(cfg_code_bytes(cfg) - apart),
			 "sweep", (json_int_t)cfg->swept_bytes, "undecoded", (json_int_t)cfg->undecoded_bytes,
			 "padding", (json_int_t)cfg->padding_bytes);
}

json_t *report_unreached_json(const struct image *img, const struct cfg *cfg)
{
	json_t *list = json_array();

	for (size_t i = 0; i < cfg->n_unreached; i++) {
		const struct cfg_range *r = &cfg->unreached[i];
		const struct image_section *sec = cfg->sections[r->section].sec;

		json_array_append_new(
		    list,
		    json_pack("{s:o, s:I, s:I, s:I, s:o, s:s, s:I}", "section", report_string(sec->name),
			      "offset", (json_int_t)(r->va - sec->va), "va", (json_int_t)r->va, "length",
			      (json_int_t)r->size, "symbol", report_symbol_json(img, r->va), "kind",
			      cfg_unreached_name(r->kind), "sites", (json_int_t)cfg_sites_in(cfg, r)));
	}
	return list;
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
	    "{s:I, s:s, s:o, s:o, s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, "
	    "s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
	    "va", (json_int_t)site->va, "address", address, "section",
	    report_string(a->cfg.sections[site->section].sec->name), "symbol",
	    report_symbol_json(&a->img, site->va), "bytes", bytes, "length", (int)site->len, "disassembly",
	    text, "op", row->id, "mnemonic", row->mnemonic, "form", row->form, "class",
	    policy_class_name(row->cls), "why", row->reason, "manual", row->manual, "meaning", row->meaning,
	    "hypercall", hypercall_name(row->hypercall), "lowering", lowering_name(row->lowering), "origin",
	    cfg_origin_name(site->origin), "confidence", cfg_confidence_name(site->confidence), "context",
	    report_context_json(&a->img, &a->targets, site), "source", source_json(a, site), "tactic",
	    report_string(ps ? tactic_name(ps->tactic) : NULL), "window", window_json(a, ps),
	    "unpatched_because", report_string(ps ? ps->reason : NULL), "tried", tried_json(ps), "runtime",
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
		json_array_append_new(list, report_string(img->notes[i]));
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

const char *report_container_name(const struct image *img)
{
	static const char *const names[] = {
	    [IMAGE_ELF] = "elf", [IMAGE_BZIMAGE] = "bzimage", [IMAGE_RAW] = "raw", [IMAGE_MODULE] = "module",
	    [IMAGE_PE] = "pe"};

	return names[img->container];
}

json_t *report_json_build(const struct analysis *a, const struct runtime_report *rt)
{
	json_t *sites = json_array(), *root;
	char hex[65];

	for (size_t i = 0; i < a->cfg.n_sites; i++)
		json_array_append_new(sites, site_json(a, &a->cfg.sites[i], rt));
	report_sha256(&a->img, hex);
	root = json_pack(
	    "{s:i, s:o, s:s, s:s, s:s, s:i, s:s, s:o, s:I, s:I, s:o, s:o, s:s, s:o, s:o, s:o, s:o}",
	    "version", REPORT_SCHEMA_VERSION, "image", report_string(a->img.path), "container",
	    report_container_name(&a->img), "compression", a->img.compression ? a->img.compression : "none",
	    "image_sha256", hex, "width", a->img.width, "symbol_source", a->img.symbol_source, "debug_file",
	    report_string(sources_path(a->sources)), "instructions", (json_int_t)a->cfg.n_insns,
	    "undecoded_bytes", (json_int_t)a->cfg.undecoded_bytes, "bytes", report_bytes_json(&a->cfg),
	    "unreached", report_unreached_json(&a->img, &a->cfg), "recipe", a->recipe.name, "vdso",
	    vdso_json(&a->recipe), "notes", notes_json(&a->img), "sites", sites, "unknown_at_run_time",
	    unknown_json(a, rt));
	if (root && json_array_size(json_object_get(root, "sites")) != a->cfg.n_sites) {
		json_decref(root);
		root = NULL;
	}
	return root;
}

int report_json_write(json_t *root, int flags, const char *path, struct diag *d)
{
	char *text = root ? json_dumps(root, (size_t)flags) : NULL;
	int err =
	    text ? file_write(path, text, strlen(text), d) : diag_set(d, -ENOMEM, "%s: out of memory", path);

	free(text);
	json_decref(root);
	return err;
}

int report_json(const struct analysis *a, const struct runtime_report *rt, const char *path, struct diag *d)
{
	return report_json_write(report_json_build(a, rt), JSON_INDENT(1), path, d);
}
