// SPDX-License-Identifier: GPL-3.0-or-later
/* `paravane run`: checks the options and starts the VMX. */
#include <stdio.h>

#include "hypercalls/command.h"
#include "monitor/vmx/options.h"
#include "monitor/vmx/vmx.h"

static int run(int argc, char **argv)
{
	struct run_options o;
	struct diag d = {""};
	int status;

	if (run_options_parse(&o, argc, argv, &d))
		status = EXIT_STATUS_USER;
	else
		status = vmx_run(&o, &d);
	if (d.text[0])
		fprintf(stderr, "paravane: %s\n", d.text);
	return status;
}

const struct command run_command = {
    .name = "run",
    .synopsis =
	"IMAGE [--initrd F] [--append S] [--memory N] [--console stdio|none|file:F] [--mode auto|direct|translate|trap]\n"
	"               [--engine auto|direct|long] [--user auto|direct|translate] [--unpatched]\n"
	"               [--workers N] [--audit F] [--stats] [--trace F]",
    .summary = "run a patched kernel (or a Multiboot ELF); Ctrl-A x leaves, Ctrl-A h helps",
    .run = run,
};
