// SPDX-License-Identifier: GPL-3.0-or-later
/* The audit as a table for spreadsheets: RFC 4180, so CRLF ends a line and a field with a quote doubles it. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/policy.h"
#include "patcher/report_internal.h"

#define HEADER                                                                                               \
	"address,section,symbol,offset,bytes,disassembly,op,mnemonic,form,class,origin,tactic,window,"       \
	"window_length,unpatched_because,runtime_count,runtime_kind,why,manual,file,line,inlined_at,context"

static void field(FILE *f, const char *s, char end)
{
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
}

static void where(const struct analysis *a, const struct cfg_site *site, FILE *f)
{
	const struct image_symbol *sym = image_symbol_at(&a->img, site->va);

	fprintf(f, "0x%" PRIx64 ",", site->va);
	field(f, a->cfg.sections[site->section].sec->name, ',');
	field(f, sym ? sym->name : "", ',');
	if (sym)
		fprintf(f, "%" PRIu64, site->va - sym->va);
	fputc(',', f);
}

static void code(const struct analysis *a, const struct cfg_site *site, FILE *f)
{
	char bytes[2 * INSN_MAX + 1], text[96];
	size_t avail = 0;
	const uint8_t *p = image_bytes(&a->img, site->va, &avail);

	report_bytes_hex(&a->img, site, bytes, sizeof(bytes));
	insn_format(text, sizeof(text), p, avail, site->va, a->img.width);
	field(f, bytes, ',');
	field(f, text, ',');
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

	field(f, line ? line : "", 0);
	free(line);
}

static void row(const struct analysis *a, const struct cfg_site *site, const struct runtime_site *seen,
		FILE *f)
{
	const struct policy *p = policy_get(site->op);

	where(a, site, f);
	code(a, site, f);
	field(f, p->id, ',');
	field(f, p->mnemonic, ',');
	field(f, p->form, ',');
	field(f, policy_class_name(p->cls), ',');
	field(f, cfg_origin_name(site->origin), ',');
	outcome(a, report_plan_site(a, site), f);
	if (seen)
		fprintf(f, "%" PRIu64, seen->count);
	fputc(',', f);
	field(f, seen ? seen->kind : "", ',');
	field(f, p->reason, ',');
	field(f, p->manual, ',');
	source(a, site, f);
	context(a, site, f);
	fputs("\r\n", f);
}

int report_csv(const struct analysis *a, const struct runtime_report *rt, const char *path, struct diag *d)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	bool whole;
	int err;

	if (!f)
		return diag_set(d, -ENOMEM, "%s: out of memory", path);
	fputs(HEADER "\r\n", f);
	for (size_t i = 0; i < a->cfg.n_sites; i++)
		row(a, &a->cfg.sites[i], rt ? runtime_site_at(rt, a->cfg.sites[i].va) : NULL, f);
	whole = !ferror(f);
	if (fclose(f))
		whole = false;
	err = whole ? file_write(path, text, size, d) : diag_set(d, -ENOMEM, "%s: out of memory", path);
	free(text);
	return err;
}
