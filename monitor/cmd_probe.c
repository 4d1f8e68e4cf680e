// SPDX-License-Identifier: GPL-3.0-or-later
/* `paravane probe`: what this host offers, item by item, and whether `paravane run` can work on it. */
#include <stdio.h>

#include "hypercalls/command.h"
#include "monitor/vmx/hostcheck.h"

static int probe(int argc, char **argv)
{
	static const char *const words[] = {
	    [HOST_OK] = "ok", [HOST_NOTE] = "note", [HOST_MISSING] = "MISSING"};
	struct host_finding f[HOST_FINDINGS_MAX];
	bool missing = false;
	unsigned n;

	if (argc > 1) {
		fprintf(stderr, "paravane: probe: %s: takes no arguments\n", argv[1]);
		return EXIT_STATUS_USER;
	}
	n = host_findings(f);
	for (unsigned i = 0; i < n; i++) {
		printf("%-14s %-8s %s\n", f[i].name, words[f[i].verdict], f[i].text);
		missing |= f[i].verdict == HOST_MISSING;
	}
	printf("\nThis host can%s run guests.\n", missing ? "not" : "");
	return missing ? EXIT_STATUS_USER : EXIT_STATUS_OK;
}

const struct command probe_command = {
    .name = "probe",
    .synopsis = "",
    .summary = "check whether this host can run guests, and how well",
    .run = probe,
};
