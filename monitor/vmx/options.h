// SPDX-License-Identifier: GPL-3.0-or-later
/* The options of `paravane run`, checked. Strings point into argv. */
#ifndef MONITOR_VMX_OPTIONS_H
#define MONITOR_VMX_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "hypercalls/diag.h"

/*
 * Guest memory limits. Below 16 MiB no protected-mode kernel of interest fits beside its initrd. Above 3 GiB
 * RAM would run into the part of the 32-bit physical space that PCs keep for PCI windows, IO-APIC and LAPIC
 * (0xC0000000 and up); memory remapped above 4 GiB would serve PAE kernels only.
 */
#define MEMORY_MIN (16ull << 20)
#define MEMORY_MAX (3072ull << 20)
#define MEMORY_DEFAULT (256ull << 20)
#define WORKERS_DEFAULT 16

enum console_kind { CONSOLE_STDIO, CONSOLE_NONE, CONSOLE_FILE };

struct run_options {
	const char *image;
	const char *initrd; /* NULL without */
	const char *append; /* "" without */
	uint64_t memory;    /* bytes, multiple of 4 KiB */
	enum console_kind console;
	const char *console_path; /* CONSOLE_FILE */
	uint8_t mode;		  /* enum run_mode */
	uint8_t user;		  /* enum user_mode */
	uint8_t engine;		  /* enum engine */
	bool unpatched;		  /* the image is a Linux kernel as it was built */
	unsigned workers;
	const char *audit; /* NULL without */
	const char *trace; /* NULL without */
	bool stats;
};

/* -EINVAL with the option and the remedy in d. argv[0] is "run". */
int run_options_parse(struct run_options *o, int argc, char **argv, struct diag *d);

/* "64M", "2G", "65536K", "67108864" -> bytes; -EINVAL for anything else, -ERANGE for what 64 bits cannot hold. */
int parse_size(const char *text, uint64_t *bytes);

#endif
