// SPDX-License-Identifier: GPL-3.0-or-later
/* Shared by the files that write reports and nobody else. */
#ifndef PATCHER_REPORT_INTERNAL_H
#define PATCHER_REPORT_INTERNAL_H

#include <jansson.h>
#include <stdio.h>

#include "hypercalls/policy.h"
#include "patcher/report.h"

#define REPORT_SCHEMA_VERSION 1

/* A JSON string, null for NULL. Names in an image need not be UTF-8: foreign bytes come out as '?'. */
json_t *report_string(const char *s);
/* Name and offset of the symbol around va, or null. */
json_t *report_symbol_json(const struct image *img, uint64_t va);
/* What the kernel's tables say of the instruction: an array, perhaps empty. */
json_t *report_context_json(const struct image *img, const struct targets *t, const struct cfg_site *site);
/* Bytes of code by how they are reached; the ranges that no path reaches. */
json_t *report_bytes_json(const struct cfg *cfg);
json_t *report_unreached_json(const struct image *img, const struct cfg *cfg);
/* Functions, files and lines: an array, perhaps empty. */
json_t *report_source_json(const struct source_frame *frames, size_t n);
const char *report_container_name(const struct image *img); /* "elf", "bzimage", "raw" */

/* The whole report (docs/audit-report.schema.json), or NULL when memory is out. The caller's. */
json_t *report_json_build(const struct analysis *a, const struct runtime_report *rt);
/* Write root (NULL: memory is out) and release it. flags: jansson's. */
int report_json_write(json_t *root, int flags, const char *path, struct diag *d);

/* A file that is put together in memory and written whole or not at all. */
struct report_text {
	FILE *f; /* NULL without memory */
	char *text;
	size_t size;
};
bool report_text_open(struct report_text *t);
int report_text_write(struct report_text *t, const char *path, struct diag *d);

/* The rows and results of a module whose name or path is `name`, into f (modules.h says where they come together). */
void report_csv_module(const struct analysis *a, const char *name, const char *message, FILE *f);
/* Its rules are all rows of the policy table. False without memory. */
bool report_sarif_module(const struct analysis *a, const char *name, unsigned artifact, FILE *f);
/* Parts of a SARIF log; each may be NULL when memory is out. */
json_t *report_sarif_rule(const struct policy *p);
json_t *report_sarif_uri(const char *path);
/* A notification; location: an artifactLocation, or NULL. */
json_t *report_sarif_note(const char *text, const char *level, json_t *location);
json_t *report_sarif_log(json_t *rules, json_t *artifacts, json_t *notes, json_t *results);

/* Version, source and totals of the JSON report (docs/audit-modules.schema.json). */
struct module_results;
json_t *report_modules_head(const char *path, const struct module_results *r);

/* A tactic that the planner considered for a site, best first, and what came of it. */
struct tactic_try {
	uint8_t tactic; /* enum tactic */
	bool taken;
	const char *outcome;
};
#define TACTIC_TRIES 6
/* Returns how many there are: 0 for sites that need no patch. */
size_t report_tries(const struct plan_site *ps, struct tactic_try tries[TACTIC_TRIES]);

#endif
