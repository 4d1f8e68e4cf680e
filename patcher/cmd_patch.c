// SPDX-License-Identifier: GPL-3.0-or-later
/* `paravane patch`: image in, patched ELF out. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "hypercalls/command.h"
#include "patcher/modules_patch.h"
#include "patcher/patch.h"
#include "patcher/report.h"

struct options {
	const char *image, *out, *report, *runtime;
	bool has_hole, modules;
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
	static const struct option longs[] = {
	    {"output", required_argument, NULL, 'o'}, {"hole", required_argument, NULL, 'h'},
	    {"report", required_argument, NULL, 'r'}, {"runtime", required_argument, NULL, 't'},
	    {"modules", no_argument, NULL, 'm'},      {0}};
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
		case 'm':
			o->modules = true;
			break;
		default:
			return usage();
		}
	}
	if (optind + 1 != argc || !o->out || (o->modules && (o->has_hole || o->report || o->runtime)))
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
	if (rt->n_sites && !here)
		fprintf(stderr, "%s: none of it is in this image: did the kernel move itself (KASLR)? Then run it with nokaslr\n",
			rt->path);
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

/* What becomes of signatures: docs/patching.md. */
static void print_unsigned(size_t n)
{
	if (n)
		printf(
		    "%zu had a signature, which no longer holds and was taken off: the guest loads them with "
		    "a "
		    "warning and taints itself, and refuses them under module.sig_enforce=1 or lockdown=\n",
		    n);
}

static int patch_modules(const struct options *o)
{
	struct modules_patched sum = {.notes = stderr};
	struct diag d = {0};

	if (modules_patch(&sum, o->image, o->out, &d)) {
		fprintf(stderr, "paravane patch: %s\n", d.text);
		return EXIT_STATUS_USER;
	}
	printf("%s: %zu modules, %zu patched, %zu with nothing to patch, %zu that cannot be patched; %zu "
	       "windows\n",
	       o->image, sum.modules, sum.patched, sum.unchanged, sum.refused, sum.windows);
	report_tactic_counts(sum.tactics, stdout);
	print_unsigned(sum.unsigned_now);
	return sum.refused ? EXIT_STATUS_REFUSED : EXIT_STATUS_OK;
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
	if (o.modules)
		return patch_modules(&o);
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
    .synopsis = "IMAGE -o OUT [--hole BASE] [--report FILE.json] [--runtime FILE]\n"
		"       paravane patch --modules DIR|MODULE|INITRAMFS -o OUT",
    .summary = "replace the sensitive instructions of a 32-bit kernel by stubs",
    .run = patch_run,
};
