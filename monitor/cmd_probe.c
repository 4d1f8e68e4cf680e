// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * `paravane probe`: what this host offers, what every sensitive instruction does here at CPL 3, and whether
 * `paravane run` can work. The experiments are monitor/probe/'s.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "hypercalls/command.h"
#include "hypercalls/policy.h"
#include "monitor/probe/show.h"

struct options {
	bool json;
	const char *explain;
};

static int usage_error(const char *arg, const char *what)
{
	fprintf(stderr, "paravane: probe: %s: %s\n", arg, what);
	return EXIT_STATUS_USER;
}

static bool named(unsigned op, const char *name)
{
	return !name || !strcasecmp(policy_get(op)->mnemonic, name) || !strcasecmp(policy_get(op)->id, name);
}

static int read_options(int argc, char **argv, struct options *o)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			o->json = true;
		else if (!strncmp(argv[i], "--explain=", 10))
			o->explain = argv[i] + 10;
		else if (strcmp(argv[i], "--explain"))
			return usage_error(argv[i], "unknown option; `paravane probe --help` lists them");
		else if (++i == argc)
			return usage_error(argv[i - 1], "needs a mnemonic, or an OP_ name of docs/policy.md");
		else
			o->explain = argv[i];
	}
	for (unsigned op = 1; op < OP_COUNT; op++)
		if (named(op, o->explain))
			return EXIT_STATUS_OK;
	return usage_error(o->explain, "no sensitive instruction has this name; docs/policy.md lists them");
}

static bool host_verdict_found(const struct probe_report *r, enum host_verdict verdict)
{
	for (unsigned i = 0; i < r->n_host; i++)
		if (r->host[i].verdict == verdict)
			return true;
	return false;
}

/* Everything, or what --explain names; rows in the order of the table. */
static struct probe_cases run_experiments(const struct options *o, uint16_t cs32, struct probe_finding *f)
{
	struct probe_cases all = {.f = f};

	if (!o->explain)
		all.n = experiment_run(OP_NONE, cs32, f);
	for (unsigned op = 1; o->explain && op < OP_COUNT; op++)
		if (named(op, o->explain))
			all.n += experiment_run(op, cs32, f + all.n);
	return all;
}

static void run_modes(const struct options *o, struct probe_report *r, struct probe_finding *f)
{
	mode_find_compat(&r->compat);
	r->mode64 = run_experiments(o, 0, f);
	if (r->compat.selector)
		r->compat_mode = run_experiments(o, r->compat.selector, f + r->mode64.n);
}

static int print(const struct options *o, const struct probe_report *r)
{
	int err = o->json ? show_json(stdout, r) : 0;
	bool first = true;

	for (unsigned op = 1; o->explain && !o->json && op < OP_COUNT; op++) {
		if (!named(op, o->explain))
			continue;
		printf("%s", first ? "" : "\n");
		show_explain(stdout, r, op);
		first = false;
	}
	if (!o->explain && !o->json) {
		show_text(stdout, r);
		printf("\nThis host can%s run guests%s.\n", host_verdict_found(r, HOST_MISSING) ? "not" : "",
		       host_verdict_found(r, HOST_NOT_DIRECT)
			   ? ", all of their code translated to 64-bit code"
			   : "");
	}
	if (err || fflush(stdout) || ferror(stdout))
		return usage_error("standard output", "cannot be written");
	return !o->explain && host_verdict_found(r, HOST_MISSING) ? EXIT_STATUS_USER : EXIT_STATUS_OK;
}

static int probe(int argc, char **argv)
{
	struct options o = {0};
	struct probe_report r = {0};
	struct probe_finding *f;
	int status = read_options(argc, argv, &o);

	if (status)
		return status;
	f = calloc(experiment_cases(64) + experiment_cases(32), sizeof(*f));
	if (!f)
		return usage_error("memory", "too little");
	if (o.json || !o.explain)
		r.n_host = host_findings(r.host);
	run_modes(&o, &r, f);
	status = print(&o, &r);
	free(f);
	return status;
}

const struct command probe_command = {
    .name = "probe",
    .synopsis = "[--json] [--explain MNEMONIC|OP_NAME]",
    .summary = "try every sensitive instruction on this host, and say whether it can run guests",
    .run = probe,
};
