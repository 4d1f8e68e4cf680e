// SPDX-License-Identifier: GPL-3.0-or-later
/* `paravane patch`: image in, patched ELF out. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "hypercalls/command.h"
#include "patcher/patch.h"
#include "patcher/report.h"

struct options {
	const char *image, *out, *report, *runtime;
	bool has_hole;
	uint32_t hole;
};

static int usage(void)
{
	fprintf(stderr, "usage: paravane patch %s\n", patch_command.synopsis);
	return EXIT_STATUS_USER;
}

static bool parse_u32(const char *s, uint32_t *out)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(s, &end, 0);
	if (errno || end == s || *end || v > UINT32_MAX)
		return false;
	*out = (uint32_t)v;
	return true;
}

static int parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {{"output", required_argument, NULL, 'o'},
					      {"hole", required_argument, NULL, 'h'},
					      {"report", required_argument, NULL, 'r'},
					      {"runtime", required_argument, NULL, 't'},
					      {0}};
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "o:", longs, NULL)) != -1) {
		switch (c) {
		case 'o':
			o->out = optarg;
			break;
		case 'h':
			o->has_hole = parse_u32(optarg, &o->hole);
			if (!o->has_hole) {
				fprintf(stderr, "paravane patch: --hole %s: not a 32-bit address\n", optarg);
				return EXIT_STATUS_USER;
			}
			break;
		case 'r':
			o->report = optarg;
			break;
		case 't':
			o->runtime = optarg;
			break;
		default:
			return usage();
		}
	}
	if (optind + 1 != argc || !o->out)
		return usage();
	o->image = argv[optind];
	return EXIT_STATUS_OK;
}

/* What became of the sites that the run met without a stub. */
static void print_seen(const struct analysis *a, const struct runtime_report *rt)
{
	size_t here = 0, served = 0, added = 0;

	for (size_t i = 0; i < a->targets.n_targets; i++)
		added += a->targets.targets[i].source == TARGET_RUN;
	for (size_t i = 0; i < rt->n_sites; i++) {
		const struct cfg_site *site = cfg_site_at(&a->cfg, rt->sites[i].va);
		const struct plan_site *ps = site ? report_plan_site(a, site) : NULL;

		here += site != NULL;
		served += ps && ps->tactic <= TACTIC_HOP;
	}
	printf("%s: %zu sites, %zu of them in this image, %zu now served by stubs; %zu addresses were new to "
	       "the "
	       "analysis\n",
	       rt->path, rt->n_sites, here, served, added);
}

static void print_summary(const struct analysis *a, const struct patch *p, const struct options *o)
{
	if (a->recipe.skipped)
		fprintf(stderr, "recipe skipped: %s", a->recipe.skipped);
	printf("%s: recipe %s, hole 0x%x, %u windows, %u bytes of stubs\n", o->image,
	       *a->recipe.name ? a->recipe.name : "none", p->m.h.hole_base, p->m.h.n_windows,
	       p->m.h.stubs_size);
	report_tactics(&a->plan, stdout);
	if (*a->recipe.append)
		printf("the kernel needs the options: %s\n", a->recipe.append);
}

static int patch_run(int argc, char **argv)
{
	struct options o = {0};
	struct analysis_options how = {0};
	struct analysis a;
	struct patch p = {0};
	struct runtime_report rt = {0};
	struct diag d = {0};
	int err = parse(&o, argc, argv);

	if (err)
		return err;
	if (o.runtime) {
		err = runtime_load(&rt, o.runtime, &d);
		how.seen = &rt;
	}
	if (!err)
		err = analysis_load(&a, o.image, &how, &d);
	if (!err) {
		err = patch_build(&p, &a, o.has_hole ? o.hole : a.recipe.hole_base, &d);
		if (!err && o.report)
			err = report_json(&a, how.seen, o.report, &d);
		if (!err)
			err = file_write(o.out, p.file, p.file_size, &d);
		if (!err)
			print_summary(&a, &p, &o);
		if (!err && o.runtime)
			print_seen(&a, &rt);
		patch_free(&p);
		analysis_free(&a);
	}
	runtime_free(&rt);
	if (err)
		fprintf(stderr, "paravane patch: %s\n", d.text);
	return err ? EXIT_STATUS_USER : EXIT_STATUS_OK;
}

const struct command patch_command = {
    .name = "patch",
    .synopsis = "IMAGE -o OUT [--hole BASE] [--report FILE.json] [--runtime FILE]",
    .summary = "replace the sensitive instructions of a 32-bit kernel by stubs",
    .run = patch_run,
};
