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
struct runtime_report {
	struct runtime_site *sites; /* sorted by va */
	size_t n_sites;
	char sha256[65]; /* of the image that ran, hexadecimal; "" if the report does not say */
};

int runtime_load(struct runtime_report *rt, const char *path, struct diag *d);
void runtime_free(struct runtime_report *rt);
const struct runtime_site *runtime_site_at(const struct runtime_report *rt, uint64_t va);

/* Sites by tactic, one line each. */
void report_tactics(const struct plan *plan, FILE *f);
/* The whole audit for people; all: a row for every site, not only for the unpatched ones. rt may be NULL. */
void report_text(const struct analysis *a, const struct runtime_report *rt, bool all, FILE *f);
/* The same as JSON, schema in docs/audit-json.md, into a file. */
int report_json(const struct analysis *a, const struct runtime_report *rt, const char *path, struct diag *d);

/* Shared by the two forms. */
void report_bytes_hex(const struct image *img, const struct cfg_site *site, char *buf, size_t cap);
/* The plan's row for a site, or NULL (replacements, images that are only audited). */
const struct plan_site *report_plan_site(const struct analysis *a, const struct cfg_site *site);
/* 64 hexadecimal digits of the SHA-256 of the ELF inside the image, and a NUL. */
void report_sha256(const struct image *img, char hex[65]);

#endif
