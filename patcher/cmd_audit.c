// SPDX-License-Identifier: GPL-3.0-or-later
/* `paravane audit`: find every sensitive instruction of an image and say what becomes of it. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hypercalls/command.h"
#include "patcher/modules.h"
#include "patcher/patch.h"
#include "patcher/report.h"

struct options {
	const char *image, *other, *runtime;
	struct report_files files;
	bool all, diff, modules;
	struct analysis_options how;
	struct source_options sources;
};

static int usage(void)
{
	fprintf(stderr, "usage: paravane audit %s\n", audit_command.synopsis);
	return EXIT_STATUS_USER;
}

static bool parse_number(const char *s, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(s, &end, 0);
	return !errno && end != s && !*end && *s != '-';
}

static int bad_value(const char *option, const char *value, const char *want)
{
	fprintf(stderr, "paravane audit: %s %s: %s\n", option, value, want);
	return EXIT_STATUS_USER;
}

static bool parse_report_option(struct options *o, int c)
{
	switch (c) {
	case 'j':
		o->files.json = optarg;
		return true;
	case 'C':
		o->files.csv = optarg;
		return true;
	case 'S':
		o->files.sarif = optarg;
		return true;
	case 'H':
		o->files.html = optarg;
		return true;
	case 'g':
		o->sources.file = optarg;
		return true;
	case 'G':
		o->sources.dir = optarg;
		return true;
	case 'd':
		o->diff = true;
		return true;
	case 'm':
		o->modules = true;
		return true;
	default:
		return false;
	}
}

/* IMAGE, or the two that --diff compares. */
static int parse_images(struct options *o, int argc, char **argv)
{
	if (optind + 1 + o->diff != argc)
		return usage();
	if (o->diff && (o->runtime || o->files.csv || o->files.sarif || o->sources.file || o->sources.dir)) {
		fprintf(stderr,
			"paravane audit: --diff gives text, --json and --html only, without --runtime and source lines\n");
		return EXIT_STATUS_USER;
	}
	if (o->modules &&
	    (o->diff || o->runtime || o->how.as)) {
		fprintf(stderr, "paravane audit: --modules goes without --diff, --runtime, --raw and --pe\n");
		return EXIT_STATUS_USER;
	}
	o->image = argv[optind];
	o->other = o->diff ? argv[optind + 1] : NULL;
	return EXIT_STATUS_OK;
}

static int parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
	    {"json", required_argument, NULL, 'j'},  {"csv", required_argument, NULL, 'C'},
	    {"sarif", required_argument, NULL, 'S'}, {"html", required_argument, NULL, 'H'},
	    {"diff", no_argument, NULL, 'd'},	     {"modules", no_argument, NULL, 'm'},
	    {"raw", no_argument, NULL, 'r'},	     {"base", required_argument, NULL, 'b'},
	    {"width", required_argument, NULL, 'w'}, {"runtime", required_argument, NULL, 't'},
	    {"all", no_argument, NULL, 'a'},	     {"debug", required_argument, NULL, 'g'},
	    {"debug-dir", required_argument, NULL, 'G'}, {"pe", no_argument, NULL, 'p'},
	    {0}};
	uint64_t width = 32;
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (parse_report_option(o, c))
			continue;
		switch (c) {
		case 'r':
			o->how.as = IMAGE_AS_RAW;
			break;
		case 'p':
			o->how.as = IMAGE_AS_PE;
			break;
		case 'b':
			if (!parse_number(optarg, &o->how.base))
				return bad_value("--base", optarg, "not an address");
			break;
		case 'w':
			if (!parse_number(optarg, &width) || (width != 16 && width != 32 && width != 64))
				return bad_value("--width", optarg, "must be 16, 32 or 64");
			break;
		case 't':
			o->runtime = optarg;
			break;
		case 'a':
			o->all = true;
			break;
		default:
			return usage();
		}
	}
	o->how.width = (int)width;
	return parse_images(o, argc, argv);
}

static int report(const struct options *o, const struct analysis *a, struct diag *d)
{
	struct runtime_report rt = {0};
	int err = o->runtime ? runtime_load(&rt, o->runtime, d) : 0;

	if (err)
		return err;
	if (o->runtime)
		err = runtime_check_image(&rt, &a->img, d);
	if (!err)
		err = report_files_write(&o->files, a, o->runtime ? &rt : NULL, d);
	if (!err)
		report_text(a, o->runtime ? &rt : NULL, o->all, stdout);
	runtime_free(&rt);
	return err;
}

static int module_files(const struct options *o, const struct module_list *list, const struct module_results *r,
			struct diag *d)
{
	const struct report_files *f = &o->files;
	int err = f->json ? report_modules_json(o->image, r, f->json, d) : 0;

	if (!err && f->csv)
		err = report_modules_csv(r, f->csv, d);
	if (!err && f->sarif)
		err = report_modules_sarif(o->image, list, r, f->sarif, d);
	if (!err && f->html)
		err = report_modules_html(o->image, r, MODULES_PAGE_MOST, f->html, d);
	return err;
}

static int audit_modules(const struct options *o)
{
	struct module_results r = {0};
	struct module_list list;
	struct diag d = {0};
	size_t bad = 0;
	int err = modules_find(&list, o->image, &d);

	if (!err && o->sources.file && list.n != 1) {
		err = diag_set(&d, -EINVAL, "--debug %s: %s holds %zu modules, the file is of one: give --debug-dir",
			       o->sources.file, o->image, list.n);
		modules_free(&list);
	}
	if (!err) {
		for (size_t i = 0; i < list.n; i++) {
			list.sources[i].debug = o->sources;
			list.sources[i].csv = o->files.csv;
			list.sources[i].sarif = o->files.sarif;
		}
		err = modules_run(&r, &list, module_audit, isatty(STDERR_FILENO) ? stderr : NULL, &d);
		if (!err)
			err = module_files(o, &list, &r, &d);
		if (!err) {
			report_modules_text(o->image, &list, &r, o->all, stdout);
			bad = report_modules_bad(&r);
		}
		module_results_free(&r);
		modules_free(&list);
	}
	if (err)
		fprintf(stderr, "paravane audit: %s\n", d.text);
	return err ? EXIT_STATUS_USER : bad ? EXIT_STATUS_REFUSED : EXIT_STATUS_OK;
}

static int audit_run(int argc, char **argv)
{
	struct options o = {0};
	struct analysis a;
	struct diag d = {0};
	int err = parse(&o, argc, argv);

	if (err)
		return err;
	if (o.modules)
		return audit_modules(&o);
	if (o.diff) {
		err = report_diff(o.image, o.other, &o.how, &o.files, o.all, &d);
		if (err)
			fprintf(stderr, "paravane audit: %s\n", d.text);
		return err ? EXIT_STATUS_USER : EXIT_STATUS_OK;
	}
	o.how.sources = &o.sources;
	err = report_analyse(&a, o.image, &o.how, &d);
	if (!err) {
		err = report(&o, &a, &d);
		analysis_free(&a);
	}
	if (err)
		fprintf(stderr, "paravane audit: %s\n", d.text);
	return err ? EXIT_STATUS_USER : EXIT_STATUS_OK;
}

const struct command audit_command = {
    .name = "audit",
    .synopsis = "IMAGE [--json FILE] [--csv FILE] [--sarif FILE] [--html FILE] [--all] [--runtime FILE] "
		"[--debug FILE] [--debug-dir DIR] [--raw --base ADDRESS --width 16|32|64 | --pe]\n"
		"       paravane audit --diff OLD NEW [--json FILE] [--html FILE] [--all]\n"
		"       paravane audit --modules DIR|MODULE|INITRAMFS [--json FILE] [--csv FILE] [--sarif FILE] [--html FILE] "
		"[--all] [--debug FILE] [--debug-dir DIR]",
    .summary = "list the sensitive instructions of a kernel image",
    .run = audit_run,
};
