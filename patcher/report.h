// SPDX-License-Identifier: GPL-3.0-or-later
/* What audit and patch tell people and programs about the sites of an image. */
#ifndef PATCHER_REPORT_H
#define PATCHER_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "hypercalls/diag.h"
#include "patcher/patch.h"

/* What a run saw of one site (see docs/audit-json.md). */
struct runtime_site {
	uint64_t va;
	uint64_t count;
	char *kind, *symbol, *reason;
};
/* Why the run was left for the monitor, and what that cost. */
struct runtime_exit {
	char *reason;
	uint64_t count;
	double ms; /* spent on all of them together */
};
struct runtime_report {
	struct runtime_site *sites; /* sorted by va */
	size_t n_sites;
	char sha256[65]; /* of the image that ran, hexadecimal; "" if the report does not say */
	char *path;	 /* where it was read */
	double seconds;	 /* of guest time; 0 if the report does not say */
	uint64_t blocks_translated;
	struct runtime_exit *exits;
	size_t n_exits;
	uint64_t *blocks; /* where translated blocks start; in no order */
	size_t n_blocks;
};

int runtime_load(struct runtime_report *rt, const char *path, struct diag *d);
/* -EINVAL if the report says that it is about another image. */
int runtime_check_image(const struct runtime_report *rt, const struct image *img, struct diag *d);
void runtime_free(struct runtime_report *rt);
const struct runtime_site *runtime_site_at(const struct runtime_report *rt, uint64_t va);

/* Sites by tactic, one line each. */
void report_tactics(const struct plan *plan, FILE *f);
void report_tactic_counts(const size_t n[TACTIC_COUNT], FILE *f); /* sites by tactic */
/* The whole audit for people; all: a row for every site, not only for the unpatched ones. rt may be NULL. */
void report_text(const struct analysis *a, const struct runtime_report *rt, bool all, FILE *f);
/* The same as JSON, schema in docs/audit-json.md, into a file. */
int report_json(const struct analysis *a, const struct runtime_report *rt, const char *path, struct diag *d);

/* RFC 4180, one row a site, with a header. */
int report_csv(const struct analysis *a, const struct runtime_report *rt, const char *path, struct diag *d);
/* SARIF 2.1.0: a rule for each row of the policy table that the image has, a result for each site. */
int report_sarif(const struct analysis *a, const struct runtime_report *rt, const char *path, struct diag *d);
/* One page that needs nothing else (report_page.h), with the report inside. */
int report_html(const struct analysis *a, const struct runtime_report *rt, const char *path, struct diag *d);

/* The files that `audit` was asked for; NULL where it was not. */
struct report_files {
	const char *json, *csv, *sarif, *html;
};
int report_files_write(const struct report_files *f, const struct analysis *a,
		       const struct runtime_report *rt, struct diag *d);

/* As analysis_load(); of a file that `patch` wrote, its source, with what was done to it. */
int report_analyse(struct analysis *a, const char *path, const struct analysis_options *how, struct diag *d);

/*
 * Compare two of: images, patched images (what was done to their source counts), JSON reports (audit --json): a table on stdout, and the files
 * json and html of `f`.
 */
int report_diff(const char *old_path, const char *new_path, const struct analysis_options *how,
		const struct report_files *f, bool all, struct diag *d);

/* Shared by all forms. */
void report_bytes_hex(const struct image *img, const struct cfg_site *site, char *buf, size_t cap);
/* A line for each table of the kernel that names the instruction (context.h). */
void report_context_text(const struct image *img, const struct targets *t, const struct cfg_site *site, const char *indent,
			 FILE *f);
/* The same in one line, "; " between tables; "" without any. malloc'd, NULL without memory. */
char *report_context_line(const struct image *img, const struct targets *t, const struct cfg_site *site);
/* How much code is reached by no path, in one line; the ranges, a line each. */
void report_bytes_text(const struct cfg *cfg, FILE *f);
void report_unreached_text(const struct image *img, const struct cfg *cfg, const char *indent, FILE *f);
/* A line for a site that no table leads to. */
void report_confidence_text(const struct cfg_site *site, const char *indent, FILE *f);
/* A line with file, line and function of cfg->sites[site], if they are known. */
void report_source_text(const struct sources *sources, size_t site, const char *indent, FILE *f);
/* The plan's row for a site, or NULL (replacements, images that are only audited). */
const struct plan_site *report_plan_site(const struct analysis *a, const struct cfg_site *site);
/* Function, file and line of a site, innermost first; how many. */
size_t report_frames(const struct analysis *a, const struct cfg_site *site, const struct source_frame **frames);
/* 64 hexadecimal digits of the SHA-256 of the ELF inside the image, and a NUL. */
void report_sha256(const struct image *img, char hex[65]);
void report_sha256_bytes(const uint8_t *bytes, size_t size, char hex[65]);

#endif
