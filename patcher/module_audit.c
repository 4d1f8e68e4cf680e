// SPDX-License-Identifier: GPL-3.0-or-later
/* One module: unpacked, loaded, its control flow recovered as of a kernel image, and told in text and in JSON. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "patcher/module_patch.h"
#include "patcher/modules.h"
#include "patcher/patch.h"
#include "patcher/payload.h"
#include "patcher/report_internal.h"

struct audit {
	struct analysis analysis; /* without a plan */
	bool damaged, patched;
	size_t windows;	 /* of a patched one's plan */
	char sha256[65]; /* of the module unpacked */
	const char *compression;
	struct diag d;
};

static int unpack(struct audit *a, uint8_t **bytes, size_t *size)
{
	const char *format = payload_format(*bytes, *size);
	struct payload_member m;
	int err;

	a->compression = format ? format : "none";
	if (!format)
		return 0;
	err = payload_unpack_member(*bytes, *size, &m, "file", &a->d);
	if (err) {
		free(m.bytes);
		return err;
	}
	free(*bytes);
	*bytes = m.bytes;
	*size = m.size;
	return 0;
}

/* What a patched module was made from is what there is to tell of. */
static int take_source(struct audit *a, uint8_t **bytes, size_t *size)
{
	uint8_t *source;
	size_t source_size;
	int err;

	a->patched = module_is_patched(*bytes, *size);
	if (!a->patched)
		return 0;
	err = module_patched_windows("file", *bytes, *size, &a->windows, &a->d);
	if (!err)
		err = module_unpatch("file", *bytes, *size, &source, &source_size, &a->d);
	if (err)
		return err;
	free(*bytes);
	*bytes = source;
	*size = source_size;
	return 0;
}

static int load(struct audit *a, const struct module_source *s)
{
	uint8_t *bytes = NULL;
	size_t size = 0;
	int err = modules_read(s, &bytes, &size, &a->d);

	if (!err)
		err = unpack(a, &bytes, &size);
	if (!err)
		err = take_source(a, &bytes, &size);
	if (err) {
		free(bytes);
		return err;
	}
	report_sha256_bytes(bytes, size, a->sha256);
	return image_load_module(&a->analysis.img, "file", bytes, size, &a->damaged, &a->d);
}

/* A module may have no code at all: firmware tables, aliases. */
static bool has_code(const struct image *img)
{
	for (size_t i = 0; i < img->n_sections; i++)
		if (img->sections[i].exec && img->sections[i].data)
			return true;
	return false;
}

static int analyse(struct audit *audit, const struct module_source *s)
{
	struct analysis *a = &audit->analysis;
	struct source_options debug = s->debug;
	int err;

	debug.where = s->path ? s->path : s->name;
	if (!has_code(&a->img))
		return 0;
	err = targets_collect(&a->targets, &a->img, &audit->d);
	if (!err)
		err = cfg_build(&a->cfg, &a->img, &a->targets, &audit->d);
	if (!err && a->cfg.n_sites)
		err = sources_load(&a->sources, &a->img, &a->cfg, &debug, &audit->d);
	return err;
}

static void count(struct module_result *r, const struct cfg *cfg)
{
	r->instructions = cfg->n_insns;
	r->undecoded_bytes = cfg->undecoded_bytes;
	for (size_t i = 0; i < cfg->n_sites; i++) {
		const struct cfg_site *s = &cfg->sites[i];

		if (s->origin == ORIGIN_REPLACEMENT) {
			r->replacements++;
			continue;
		}
		r->sites++;
		r->by_class[policy_get(s->op)->cls]++;
		r->by_op[s->op]++;
	}
}

/* --- text --- */

static void print_site(const struct analysis *a, const struct cfg_site *s, FILE *f)
{
	const struct image_section *sec = a->cfg.sections[s->section].sec;
	const struct image_symbol *sym = image_symbol_at(&a->img, s->va);
	char bytes[2 * INSN_MAX + 1], text[96];
	size_t avail = 0;
	const uint8_t *p = image_bytes(&a->img, s->va, &avail);

	report_bytes_hex(&a->img, s, bytes, sizeof(bytes));
	insn_format(text, sizeof(text), p, avail, s->va, a->img.width);
	fprintf(f, "    %s+0x%" PRIx64, sec->name, s->va - sec->va);
	if (sym)
		fprintf(f, " %s+0x%" PRIx64, sym->name, s->va - sym->va);
	fprintf(f, "  %s  %s  [%s]%s\n", bytes, text, policy_class_name(policy_get(s->op)->cls),
		s->origin == ORIGIN_REPLACEMENT ? " replacement: live only once the kernel copies it" : "");
	report_source_text(a->sources, (size_t)(s - a->cfg.sites), "        ", f);
	report_confidence_text(s, "        ", f);
	report_context_text(&a->img, &a->targets, s, "        ", f);
}

static void print_text(const struct analysis *a, FILE *f)
{
	for (size_t i = 0; i < a->img.n_notes; i++)
		fprintf(f, "    note: %s\n", a->img.notes[i]);
	for (size_t i = 0; i < a->cfg.n_sites; i++)
		print_site(a, &a->cfg.sites[i], f);
	if (a->cfg.n_unreached)
		fprintf(f, "    bytes that no path reaches:\n");
	report_unreached_text(&a->img, &a->cfg, "        ", f);
}

/* --- JSON --- */

static json_t *site_json(const struct analysis *a, const struct cfg_site *s)
{
	const struct image_section *sec = a->cfg.sections[s->section].sec;
	const struct policy *row = policy_get(s->op);
	char bytes[2 * INSN_MAX + 1], text[96];
	const struct source_frame *frames;
	size_t avail = 0, n = sources_at(a->sources, (size_t)(s - a->cfg.sites), &frames);
	const uint8_t *p = image_bytes(&a->img, s->va, &avail);

	report_bytes_hex(&a->img, s, bytes, sizeof(bytes));
	insn_format(text, sizeof(text), p, avail, s->va, a->img.width);
	return json_pack("{s:o, s:I, s:I, s:o, s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "section",
			 report_string(sec->name), "offset", (json_int_t)(s->va - sec->va), "va",
			 (json_int_t)s->va, "symbol",
			 report_symbol_json(&a->img, s->va), "bytes", bytes, "length", s->len, "disassembly",
			 text, "op", row->id, "class", policy_class_name(row->cls), "origin",
			 cfg_origin_name(s->origin), "confidence", cfg_confidence_name(s->confidence), "context", report_context_json(&a->img, &a->targets, s),
			 "source", report_source_json(frames, n));
}

static json_t *classes_json(const uint32_t by_class[MODULE_CLASSES])
{
	json_t *o = json_object();

	for (unsigned c = CLASS_NONE + 1; c < MODULE_CLASSES; c++)
		json_object_set_new(o, policy_class_name(c), json_integer(by_class[c]));
	return o;
}

static char *module_to_json(const struct audit *a, const struct module_source *s,
			    const struct module_result *r, const char *message)
{
	static const char *const status[] = {"ok", "damaged", "unreadable"};
	json_t *sites = json_array(), *notes = json_array(), *patched = json_null(), *o;
	char *text;

	if (r->patched)
		patched = json_pack("{s:i}", "windows", (int)r->windows);

	for (size_t i = 0; i < a->analysis.img.n_notes; i++)
		json_array_append_new(notes, report_string(a->analysis.img.notes[i]));
	for (size_t i = 0; i < a->analysis.cfg.n_sites; i++)
		json_array_append_new(sites, site_json(&a->analysis, &a->analysis.cfg.sites[i]));
	o = json_pack("{s:o, s:s, s:o, s:s, s:s, s:i, s:I, s:I, s:o, s:o, s:i, s:o, s:o, s:o, s:o}", "name",
		      report_string(s->name), "status", status[r->status], "message",
		      report_string(*message ? message : NULL), "compression",
		      a->compression ? a->compression : "none", "sha256", a->sha256, "width",
		      a->analysis.img.width, "instructions", (json_int_t)r->instructions, "undecoded_bytes",
		      (json_int_t)r->undecoded_bytes, "bytes", report_bytes_json(&a->analysis.cfg), "unreached",
		      report_unreached_json(&a->analysis.img, &a->analysis.cfg), "replacements", (int)r->replacements, "by_class",
		      classes_json(r->by_class), "notes", notes, "patched", patched, "sites", sites);
	text = o && json_array_size(sites) == a->analysis.cfg.n_sites ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	return text;
}

/* CSV and SARIF are made by the code that makes an image's. malloc'd, NULL without memory. */
static char *print_form(const struct audit *a, const struct module_source *s, uint32_t index,
			enum module_part part, const char *message)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	bool whole = true;

	if (!f)
		return NULL;
	if (part == PART_TEXT)
		print_text(&a->analysis, f);
	else if (part == PART_CSV && s->csv)
		report_csv_module(&a->analysis, s->name, message, f);
	else if (part == PART_SARIF && s->sarif)
		whole = report_sarif_module(&a->analysis, s->path ? s->path : s->name, index, f);
	if (!fclose(f) && whole)
		return text;
	free(text);
	return NULL;
}

struct module_result *module_audit(const struct module_source *source, uint32_t index)
{
	struct audit a = {0};
	struct module_result head = {.index = index}, *r = NULL;
	char *parts[MODULE_PARTS];
	const char *message = "";
	bool whole = true;
	int err;

	if (source->damage)
		err = diag_set(&a.d, -EINVAL, "%s", source->damage);
	else
		err = load(&a, source);
	if (!err)
		err = analyse(&a, source);
	head.status = err ? MODULE_UNREADABLE : a.damaged ? MODULE_DAMAGED : MODULE_OK;
	if (err)
		message = a.d.text;
	else if (a.damaged)
		message = a.analysis.img.n_notes ? a.analysis.img.notes[0] : "damaged";
	head.patched = a.patched;
	head.windows = (uint32_t)a.windows;
	count(&head, &a.analysis.cfg);
	parts[PART_MESSAGE] = strdup(message);
	parts[PART_JSON] = module_to_json(&a, source, &head, message);
	for (enum module_part p = PART_TEXT; p < MODULE_PARTS; p++)
		if (p != PART_JSON)
			parts[p] = print_form(&a, source, index, p, message);
	for (unsigned i = 0; i < MODULE_PARTS; i++)
		whole = whole && parts[i];
	if (whole)
		r = module_result_pack(&head, (const char *const *)parts);
	for (unsigned i = 0; i < MODULE_PARTS; i++)
		free(parts[i]);
	analysis_free(&a.analysis);
	return r;
}
