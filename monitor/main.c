// SPDX-License-Identifier: GPL-3.0-or-later
/* The command `paravane`: finds the subcommand in the table and hands over. */
#include <stdio.h>
#include <string.h>

#include "hypercalls/abi.h"
#include "hypercalls/command.h"

#define VERSION "0.1"

/* Weak: a build without one of the parts (a monitor alone, for a small container) leaves its command out. */
#pragma weak audit_command
#pragma weak patch_command
#pragma weak unpatch_command
#pragma weak verify_command

static const struct command *const commands[] = {
    &audit_command, &patch_command, &unpatch_command, &verify_command, &run_command, &probe_command,
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *out)
{
	fprintf(out, "Paravane runs an unmodified i386 kernel as an ordinary process, without virtualization "
		     "hardware.\n\n"
		     "usage: paravane COMMAND [ARGUMENTS]\n\n");
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (commands[i])
			fprintf(out, "  paravane %-8s %s\n      %s\n", commands[i]->name,
				commands[i]->synopsis, commands[i]->summary);
	fprintf(out,
		"\n  paravane --help\n  paravane --version\n\n"
		"exit status: %d done; %d usage, file or host; %d monitor fault; %d proof failed, image "
		"refused or module damaged;\n"
		"             run: %d guest asked for a reset; %d guest crashed\n",
		EXIT_STATUS_OK, EXIT_STATUS_USER, EXIT_STATUS_MONITOR, EXIT_STATUS_REFUSED, EXIT_STATUS_RESET,
		EXIT_STATUS_CRASH);
}

static void usage_command(const struct command *c)
{
	printf("usage: paravane %s %s\n\n%s\n", c->name, c->synopsis, c->summary);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		usage(stderr);
		return EXIT_STATUS_USER;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return EXIT_STATUS_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("paravane %s (hypercall ABI %d)\n", VERSION, ABI_VERSION);
		return EXIT_STATUS_OK;
	}
	for (size_t i = 0; i < N_COMMANDS; i++) {
		if (!commands[i] || strcmp(argv[1], commands[i]->name))
			continue;
		if (argc > 2 && !strcmp(argv[2], "--help")) {
			usage_command(commands[i]);
			return EXIT_STATUS_OK;
		}
		return commands[i]->run(argc - 1, argv + 1);
	}
	fprintf(stderr, "paravane: %s: unknown %s; `paravane --help` lists the commands\n", argv[1],
		argv[1][0] == '-' ? "option" : "command");
	return EXIT_STATUS_USER;
}
