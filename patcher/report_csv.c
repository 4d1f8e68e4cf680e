// SPDX-License-Identifier: GPL-3.0-or-later
/* The audit as a table for spreadsheets: RFC 4180, so CRLF ends a line and a field with a quote doubles it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/policy.h"
#include "patcher/modules.h"
#include "patcher/report_internal.h"

#define SITE "bytes,disassembly,op,mnemonic,form,class,origin"
#define WHY "why,manual,file,line,inlined_at,context,confidence"
#define HEADER                                                                                               \
	"address,section,symbol,offset," SITE                                                                \
	",tactic,window,window_length,unpatched_because,runtime_count,runtime_kind," WHY
/* A module has no address yet and no plan; what could not be read of it stands in a row without a site. */
#define MODULES_HEADER "module,section,section_offset,symbol,offset," SITE "," WHY ",message"

static void field(FILE *f, const char *text, char end)
{
	json_t *clean = report_string(text);
	const char *s = clean ? json_string_value(clean) : text;
	bool quote = s[strcspn(s, ",\"\r\n")] != '\0';

	if (quote)
		fputc('"', f);
	for (; *s; s++) {
		if (*s == '"')
			fputc('"', f);
		fputc(*s, f);
	}
	if (quote)
		fputc('"', f);
	if (end)
		fputc(end, f);
	json_decref(clean);
}

static void symbol(const struct analysis *a, const struct cfg_site *site, FILE *f)
{
	const struct image_symbol *sym = image_symbol_at(&a->img, site->va);

	field(f, sym ? sym->name : "", ',');
	if (sym)
		fprintf(f, "%" PRIu64, site->va - sym->va);
	fputc(',', f);
}

/* The columns of SITE. */
static void code(const struct analysis *a, const struct cfg_site *site, FILE *f)
{
	char bytes[2 * INSN_MAX + 1], text[96];
	size_t avail = 0;
	const uint8_t *bin = image_bytes(&a->img, site->va, &avail);
	const struct policy *p = policy_get(site->op);

	report_bytes_hex(&a->img, site, bytes, sizeof(bytes));
	insn_format(text, sizeof(text), bin, avail, site->va, a->img.width);
	field(f, bytes, ',');
	field(f, text, ',');
	field(f, p->id, ',');
	field(f, p->mnemonic, ',');
	field(f, p->form, ',');
	field(f, policy_class_name(p->cls), ',');
	field(f, cfg_origin_name(site->origin), ',');
}

static void outcome(const struct analysis *a, const struct plan_site *ps, FILE *f)
{
	const struct plan_window *w = ps && ps->window != MANIFEST_NONE ? &a->plan.windows[ps->window] : NULL;

	field(f, ps ? tactic_name(ps->tactic) : "", ',');
	if (w)
		fprintf(f, "0x%x,%u,", w->va, w->len);
	else
		fprintf(f, ",,");
	field(f, ps && ps->reason ? ps->reason : "", ',');
}

/* The innermost place, and how it came into the function around it. */
static void source(const struct analysis *a, const struct cfg_site *site, FILE *f)
{
	const struct source_frame *frames;
	size_t n = report_frames(a, site, &frames);
	char *outer = n > 1 ? sources_describe(frames + 1, n - 1) : NULL;

	field(f, n ? frames[0].file : "", ',');
	if (n && frames[0].line)
		fprintf(f, "%u", frames[0].line);
	fputc(',', f);
	field(f, outer ? outer : "", ',');
	free(outer);
}

static void context(const struct analysis *a, const struct cfg_site *site, FILE *f)
{
	char *line = report_context_line(&a->img, &a->targets, site);

	field(f, line ? line : "", ',');
	free(line);
}

/* The columns of WHY. */
static void why(const struct analysis *a, const struct cfg_site *site, FILE *f)
{
	const struct policy *p = policy_get(site->op);

	field(f, p->reason, ',');
	field(f, p->manual, ',');
	source(a, site, f);
	context(a, site, f);
	field(f, cfg_confidence_name(site->confidence), 0);
}

static void row(const struct analysis *a, const struct cfg_site *site, const struct runtime_site *seen,
		FILE *f)
{
	fprintf(f, "0x%" PRIx64 ",", site->va);
	field(f, a->cfg.sections[site->section].sec->name, ',');
	symbol(a, site, f);
	code(a, site, f);
	outcome(a, report_plan_site(a, site), f);
	if (seen)
		fprintf(f, "%" PRIu64, seen->count);
	fputc(',', f);
	field(f, seen ? seen->kind : "", ',');
	why(a, site, f);
	fputs("\r\n", f);
}

/* A row with the first and the last column alone. */
static void message_row(const char *name, const char *message, FILE *f)
{
	field(f, name, 0);
	for (const char *p = MODULES_HEADER; *p; p++)
		if (*p == ',')
			fputc(',', f);
	field(f, message, 0);
	fputs("\r\n", f);
}

void report_csv_module(const struct analysis *a, const char *name, const char *message, FILE *f)
{
	if (*message)
		message_row(name, message, f);
	for (size_t i = 0; i < a->cfg.n_sites; i++) {
		const struct cfg_site *site = &a->cfg.sites[i];
		const struct image_section *sec = a->cfg.sections[site->section].sec;

		field(f, name, ',');
		field(f, sec->name, ',');
		fprintf(f, "%" PRIu64 ",", site->va - sec->va);
		symbol(a, site, f);
		code(a, site, f);
		why(a, site, f);
		fputs(",\r\n", f);
	}
}

int report_csv(const struct analysis *a, const struct runtime_report *rt, const char *path, struct diag *d)
{
	struct report_text t;

	if (report_text_open(&t)) {
		fputs(HEADER "\r\n", t.f);
		for (size_t i = 0; i < a->cfg.n_sites; i++)
			row(a, &a->cfg.sites[i], rt ? runtime_site_at(rt, a->cfg.sites[i].va) : NULL, t.f);
	}
	return report_text_write(&t, path, d);
}

int report_modules_csv(const struct module_results *r, const char *file, struct diag *d)
{
	struct report_text t;

	if (report_text_open(&t)) {
		fputs(MODULES_HEADER "\r\n", t.f);
		for (size_t i = 0; i < r->n; i++)
			fputs(module_part(r->results[i], PART_CSV), t.f);
	}
	return report_text_write(&t, file, d);
}
