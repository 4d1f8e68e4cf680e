// SPDX-License-Identifier: GPL-3.0-or-later
/* What `paravane probe` prints: the table, the explanation of one instruction, JSON. All write to `out`. */
#ifndef MONITOR_PROBE_SHOW_H
#define MONITOR_PROBE_SHOW_H

#include <stdio.h>

#include "monitor/probe/experiment.h"
#include "monitor/probe/host.h"
#include "monitor/probe/mode.h"

#define PROBE_JSON_VERSION 1 /* docs/probe.md */
#define PROBE_COLUMNS 100

struct probe_cases {
	const struct probe_finding *f;
	unsigned n;
};

struct probe_report {
	struct probe_cases mode64, compat_mode; /* compat_mode: empty where the host has none */
	struct probe_compat compat;
	struct host_finding host[HOST_FINDINGS_MAX];
	unsigned n_host;
};

/* Rows of the policy table by what their cases did in one mode. */
struct probe_counts {
	unsigned cases[PROBE_OUTCOMES];
	unsigned rows;	      /* with a case */
	unsigned rows_always; /* trapped with every operand tried */
	unsigned rows_sometimes;
	unsigned rows_never;
	unsigned rows_not_run;
};

void show_count(const struct probe_cases *all, struct probe_counts *c);
void show_text(FILE *out, const struct probe_report *r);
void show_explain(FILE *out, const struct probe_report *r, unsigned op);
/* 0, or -1 if memory or the file failed. */
int show_json(FILE *out, const struct probe_report *r);

/* Nanoseconds of a case, 0 if it could not be measured. */
double show_ns(const struct probe_finding *f);
/* The instructions of an experiment in Intel syntax, joined by "; ", its operand put in. */
void show_code(char *to, size_t cap, const struct probe_finding *f);

#endif
