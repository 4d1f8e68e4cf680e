// SPDX-License-Identifier: GPL-3.0-or-later
#include "monitor/vmx/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/vmm/vm.h"

int parse_size(const char *text, uint64_t *bytes)
{
	unsigned shift = 0;
	uint64_t n;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL; /* strtoull would take blanks and signs */
	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno)
		return -ERANGE;
	switch (toupper((unsigned char)*end)) {
	case 'K':
		shift = 10;
		break;
	case 'M':
		shift = 20;
		break;
	case 'G':
		shift = 30;
		break;
	case '\0':
		break;
	default:
		return -EINVAL;
	}
	if (shift && end[1])
		return -EINVAL;
	if (n > UINT64_MAX >> shift)
		return -ERANGE;
	*bytes = n << shift;
	return 0;
}

static int parse_memory(struct run_options *o, const char *text, struct diag *d)
{
	int err = parse_size(text, &o->memory);

	if (err == -EINVAL)
		return diag_set(d, err, "--memory %s: not a size; write it like 64M, 2G or 65536K", text);
	if (err || o->memory > MEMORY_MAX)
		return diag_set(
		    d, -EINVAL,
		    "--memory %s: too large; at most %lluM fits below the device addresses at 0xc0000000",
		    text, MEMORY_MAX >> 20);
	if (o->memory < MEMORY_MIN)
		return diag_set(d, -EINVAL, "--memory %s: too small; give at least %lluM", text,
				MEMORY_MIN >> 20);
	if (o->memory % PAGE_SIZE)
		return diag_set(d, -EINVAL, "--memory %s: not a multiple of 4K", text);
	return 0;
}

static int parse_console(struct run_options *o, const char *text, struct diag *d)
{
	if (!strcmp(text, "stdio")) {
		o->console = CONSOLE_STDIO;
	} else if (!strcmp(text, "none")) {
		o->console = CONSOLE_NONE;
	} else if (!strncmp(text, "file:", 5) && text[5]) {
		o->console = CONSOLE_FILE;
		o->console_path = text + 5;
	} else {
		return diag_set(d, -EINVAL, "--console %s: unknown; one of stdio, none, file:PATH", text);
	}
	return 0;
}

/* One of n names: its number. */
static int parse_name(const char *option, const char *text, const char *const *names, unsigned n, uint8_t *number,
		      struct diag *d)
{
	char all[128] = "";

	for (unsigned i = 0; i < n; i++) {
		if (!strcmp(text, names[i])) {
			*number = (uint8_t)i;
			return 0;
		}
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i ? ", " : "", names[i]);
	}
	return diag_set(d, -EINVAL, "--%s %s: unknown; one of %s", option, text, all);
}

static int parse_mode(struct run_options *o, const char *text, struct diag *d)
{
	static const char *const names[] = {
	    [MODE_AUTO] = "auto", [MODE_TRAP] = "trap", [MODE_DIRECT] = "direct", [MODE_TRANSLATE] = "translate"};

	return parse_name("mode", text, names, ARRAY_LEN(names), &o->mode, d);
}

static int parse_user(struct run_options *o, const char *text, struct diag *d)
{
	static const char *const names[] = {
	    [USER_AUTO] = "auto", [USER_DIRECT] = "direct", [USER_TRANSLATE] = "translate"};

	return parse_name("user", text, names, ARRAY_LEN(names), &o->user, d);
}

static int parse_engine(struct run_options *o, const char *text, struct diag *d)
{
	static const char *const names[] = {
	    [ENGINE_AUTO] = "auto", [ENGINE_DIRECT] = "direct", [ENGINE_LONG] = "long"};

	return parse_name("engine", text, names, ARRAY_LEN(names), &o->engine, d);
}

static int parse_workers(struct run_options *o, const char *text, struct diag *d)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (!isdigit((unsigned char)text[0]) || *end || n < 1 || n > WORKERS_MAX)
		return diag_set(d, -EINVAL, "--workers %s: a number from 1 to %d", text, WORKERS_MAX);
	o->workers = n;
	return 0;
}

enum {
	OPT_INITRD = 1,
	OPT_APPEND,
	OPT_MEMORY,
	OPT_CONSOLE,
	OPT_MODE,
	OPT_USER,
	OPT_ENGINE,
	OPT_WORKERS,
	OPT_AUDIT,
	OPT_STATS,
	OPT_UNPATCHED,
	OPT_TRACE
};

static const struct option longopts[] = {
    {"initrd", required_argument, NULL, OPT_INITRD}, {"append", required_argument, NULL, OPT_APPEND},
    {"memory", required_argument, NULL, OPT_MEMORY}, {"console", required_argument, NULL, OPT_CONSOLE},
    {"mode", required_argument, NULL, OPT_MODE},     {"workers", required_argument, NULL, OPT_WORKERS},
    {"audit", required_argument, NULL, OPT_AUDIT},   {"stats", no_argument, NULL, OPT_STATS},
    {"user", required_argument, NULL, OPT_USER},     {"engine", required_argument, NULL, OPT_ENGINE},
    {"unpatched", no_argument, NULL, OPT_UNPATCHED},
    {"trace", required_argument, NULL, OPT_TRACE},   {NULL, 0, NULL, 0},
};

static int parse_one(struct run_options *o, int c, const char *arg, struct diag *d)
{
	switch (c) {
	case OPT_INITRD:
		o->initrd = arg;
		return 0;
	case OPT_APPEND:
		o->append = arg;
		return 0;
	case OPT_MEMORY:
		return parse_memory(o, arg, d);
	case OPT_CONSOLE:
		return parse_console(o, arg, d);
	case OPT_MODE:
		return parse_mode(o, arg, d);
	case OPT_USER:
		return parse_user(o, arg, d);
	case OPT_ENGINE:
		return parse_engine(o, arg, d);
	case OPT_WORKERS:
		return parse_workers(o, arg, d);
	case OPT_AUDIT:
		o->audit = arg;
		return 0;
	case OPT_STATS:
		o->stats = true;
		return 0;
	case OPT_UNPATCHED:
		o->unpatched = true;
		return 0;
	default:
		o->trace = arg;
		return 0;
	}
}

int run_options_parse(struct run_options *o, int argc, char **argv, struct diag *d)
{
	*o = (struct run_options){.append = "", .memory = MEMORY_DEFAULT, .workers = WORKERS_DEFAULT,
				  .mode = MODE_DEFAULT, .engine = ENGINE_AUTO};
	optind = 0; /* glibc: start over, also after an earlier parse that failed */
	opterr = 0;
	for (;;) {
		int c = getopt_long(argc, argv, "+:", longopts, NULL), err;

		if (c == -1) {
			/* Options may follow the image: take it and go on behind it. */
			if (optind >= argc)
				break;
			if (o->image)
				return diag_set(d, -EINVAL, "run: %s: one image at a time (%s is the first)",
						argv[optind], o->image);
			o->image = argv[optind++];
			if (optind >= argc)
				break;
			continue;
		}
		if (c == ':')
			return diag_set(d, -EINVAL, "run: %s: needs a value; see `paravane run --help`",
					argv[optind - 1]);
		if (c == '?' && optopt > OPT_TRACE) /* a short one; all of ours are long */
			return diag_set(d, -EINVAL, "run: -%c: unknown option; see `paravane run --help`",
					optopt);
		if (c == '?')
			return diag_set(d, -EINVAL, "run: %s: unknown option; see `paravane run --help`",
					argv[optind - 1]);
		err = parse_one(o, c, optarg, d);
		if (err)
			return err;
	}
	if (!o->image)
		return diag_set(d, -EINVAL, "run: no image given; see `paravane run --help`");
	return 0;
}
