// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The subcommands of `paravane`. Each is defined in the file named for it (patcher/cmd_audit.c,
 * monitor/cmd_run.c, ...); monitor/main.c holds the table and dispatches. Declared here because patcher/ and
 * monitor/ never include each other.
 */
#ifndef HYPERCALLS_COMMAND_H
#define HYPERCALLS_COMMAND_H

/* Exit statuses of the command, all subcommands alike. */
enum exit_status {
	EXIT_STATUS_OK = 0,	 /* done; for run: power-off, or a halt with interrupts off */
	EXIT_STATUS_USER = 2,	 /* bad option, file, image or host: the message says what to do */
	EXIT_STATUS_MONITOR = 3, /* a fault of ours, or a worker killed from outside */
	EXIT_STATUS_REFUSED = 4, /* verify: the proof failed; run: image and manifest do not match; audit --modules:
				    some module is damaged, the report says which */
	EXIT_STATUS_RESET = 10,	 /* run: the guest asked for a reset */
	EXIT_STATUS_CRASH = 11,	 /* run: guest panic or triple fault */
};

struct command {
	const char *name;
	const char *synopsis; /* what follows the name, for usage */
	const char *summary;  /* one line */
	int (*run)(int argc, char **argv); /* argv[0] is the subcommand; returns an enum exit_status */
};

extern const struct command audit_command, patch_command, unpatch_command, verify_command, run_command,
    probe_command;

#endif
