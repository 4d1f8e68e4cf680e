// SPDX-License-Identifier: GPL-3.0-or-later
/* The audit of many modules for people, a line each, and for programs: docs/audit-modules.schema.json. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "patcher/modules.h"
#include "patcher/patch.h"
#include "patcher/report_internal.h"

#define MODULES_SCHEMA_VERSION 1

struct totals {
	uint64_t instructions, undecoded_bytes, sites, replacements, with_sites;
	uint64_t by_status[MODULE_UNREADABLE + 1], by_class[MODULE_CLASSES], by_op[OP_COUNT];
};

static void sum(struct totals *t, const struct module_results *r)
{
	*t = (struct totals){0};
	for (size_t i = 0; i < r->n; i++) {
		const struct module_result *m = r->results[i];

		t->instructions += m->instructions;
		t->undecoded_bytes += m->undecoded_bytes;
		t->sites += m->sites;
		t->replacements += m->replacements;
		t->with_sites += m->sites != 0;
		t->by_status[m->status]++;
		for (size_t c = 0; c < MODULE_CLASSES; c++)
			t->by_class[c] += m->by_class[c];
		for (size_t op = 0; op < OP_COUNT; op++)
			t->by_op[op] += m->by_op[op];
	}
}

size_t report_modules_bad(const struct module_results *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++)
		n += r->results[i]->status != MODULE_OK;
	return n;
}

/* --- text --- */

/* Names come from files and archives: nothing in them may steer the terminal. */
static void print_name(const char *s, FILE *f)
{
	for (; *s; s++)
		fputc((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s, f);
}

static void print_module(const struct module_source *s, const struct module_result *m, bool all, FILE *f)
{
	if (m->status == MODULE_UNREADABLE) {
		fprintf(f, "%9s %6s %6s %6s %6s %6s  ", "-", "-", "-", "-", "-", "-");
		print_name(s->name, f);
		fprintf(f, "  UNREADABLE: ");
		print_name(module_part(m, PART_MESSAGE), f);
		fprintf(f, "\n");
		return;
	}
	fprintf(f, "%9" PRIu64, m->instructions);
	for (unsigned c = CLASS_NONE + 1; c < MODULE_CLASSES; c++)
		fprintf(f, " %6u", m->by_class[c]);
	fprintf(f, " %6u  ", m->replacements);
	print_name(s->name, f);
	if (m->patched)
		fprintf(f, "  (patched: %u windows)", m->windows);
	if (m->status == MODULE_DAMAGED) {
		fprintf(f, "  DAMAGED: ");
		print_name(module_part(m, PART_MESSAGE), f);
	}
	fprintf(f, "\n");
	if (all)
		fputs(module_part(m, PART_TEXT), f);
}

static int by_count(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b; /* count, op */

	if (x[0] != y[0])
		return x[0] < y[0] ? 1 : -1;
	return x[1] < y[1] ? -1 : 1;
}

static void print_ops(const struct totals *t, FILE *f)
{
	uint64_t rows[OP_COUNT][2];
	size_t n = 0;

	for (size_t op = 0; op < OP_COUNT; op++) {
		if (t->by_op[op]) {
			rows[n][0] = t->by_op[op];
			rows[n++][1] = op;
		}
	}
	qsort(rows, n, sizeof(*rows), by_count);
	fprintf(f, "by instruction:\n");
	for (size_t i = 0; i < n; i++) {
		const struct policy *row = policy_get((unsigned)rows[i][1]);
		char name[64];

		snprintf(name, sizeof(name), "%s %s", row->mnemonic, row->form);
		fprintf(f, "  %-22s %6" PRIu64 "  [%s]\n", name, rows[i][0], policy_class_name(row->cls));
	}
}

void report_modules_text(const char *path, const struct module_list *list, const struct module_results *r,
			 bool all, FILE *f)
{
	struct totals t;

	sum(&t, r);
	fprintf(f, "%9s %6s %6s %6s %6s %6s  %s\n", "insns", "priv", "never", "host", "byop", "repl",
		"module (classes: privileged, never-traps, host-config, by-operand; replacements)");
	for (size_t i = 0; i < r->n; i++)
		print_module(&list->sources[i], r->results[i], all, f);
	fprintf(f, "\n%s: %zu modules, %" PRIu64 " of them with sensitive instructions", path, r->n,
		t.with_sites);
	if (t.by_status[MODULE_DAMAGED] || t.by_status[MODULE_UNREADABLE])
		fprintf(f, "; %" PRIu64 " damaged in part, %" PRIu64 " unreadable",
			t.by_status[MODULE_DAMAGED], t.by_status[MODULE_UNREADABLE]);
	fprintf(f, "\n%" PRIu64 " instructions", t.instructions);
	if (t.undecoded_bytes)
		fprintf(f, "; %" PRIu64 " bytes are neither code nor padding", t.undecoded_bytes);
	fprintf(f, "\n\n%" PRIu64 " sensitive instructions, by class:\n", t.sites);
	for (unsigned c = CLASS_NONE + 1; c < MODULE_CLASSES; c++)
		fprintf(f, "  %-22s %6" PRIu64 "\n", policy_class_name(c), t.by_class[c]);
	fprintf(f, "  %-22s %6" PRIu64 "  (not counted above: live only once the kernel copies them)\n",
		"in replacements", t.replacements);
	print_ops(&t, f);
}

/* --- JSON --- */

static json_t *totals_json(const struct totals *t, size_t n)
{
	json_t *classes = json_object(), *ops = json_object();

	for (unsigned c = CLASS_NONE + 1; c < MODULE_CLASSES; c++)
		json_object_set_new(classes, policy_class_name(c), json_integer((json_int_t)t->by_class[c]));
	for (unsigned op = 0; op < OP_COUNT; op++)
		if (t->by_op[op])
			json_object_set_new(ops, policy_get(op)->id, json_integer((json_int_t)t->by_op[op]));
	return json_pack(
	    "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "modules", (json_int_t)n, "with_sites",
	    (json_int_t)t->with_sites, "damaged", (json_int_t)t->by_status[MODULE_DAMAGED], "unreadable",
	    (json_int_t)t->by_status[MODULE_UNREADABLE], "instructions", (json_int_t)t->instructions,
	    "undecoded_bytes", (json_int_t)t->undecoded_bytes, "sites", (json_int_t)t->sites, "replacements",
	    (json_int_t)t->replacements, "by_class", classes, "by_op", ops);
}

json_t *report_modules_head(const char *path, const struct module_results *r)
{
	struct totals t;

	sum(&t, r);
	return json_pack("{s:i, s:o, s:o}", "version", MODULES_SCHEMA_VERSION, "source", report_string(path),
			 "totals", totals_json(&t, r->n));
}

/* The workers wrote the objects of the modules; here they are only put together. */
int report_modules_json(const char *path, const struct module_results *r, const char *file, struct diag *d)
{
	json_t *head = report_modules_head(path, r);
	char *start = head ? json_dumps(head, JSON_INDENT(1) | JSON_PRESERVE_ORDER) : NULL;
	struct report_text t = {0};

	json_decref(head);
	if (start && report_text_open(&t)) {
		start[strlen(start) - 2] = '\0'; /* "\n}" */
		fprintf(t.f, "%s,\n \"modules\": [", start);
		for (size_t i = 0; i < r->n; i++)
			fprintf(t.f, "%s\n  %s", i ? "," : "", module_part(r->results[i], PART_JSON));
		fprintf(t.f, "\n ]\n}\n");
	}
	free(start);
	return report_text_write(&t, file, d);
}
