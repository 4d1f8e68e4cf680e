// SPDX-License-Identifier: GPL-3.0-or-later
/* The audit for people: where the sensitive instructions are, what becomes of them, and why some are left. */
#include "patcher/report.h"

#include <inttypes.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/policy.h"
#include "patcher/context.h"

#define CLASS_COUNT (CLASS_BY_OPERAND + 1)

void report_bytes_hex(const struct image *img, const struct cfg_site *site, char *buf, size_t cap)
{
	size_t avail = 0, n = 0;
	const uint8_t *p = image_bytes(img, site->va, &avail);

	buf[0] = '\0';
	for (size_t i = 0; p && i < site->len && i < avail && n + 3 <= cap; i++)
		n += (size_t)snprintf(buf + n, cap - n, "%02x", p[i]);
}

const struct plan_site *report_plan_site(const struct analysis *a, const struct cfg_site *site)
{
	uint32_t i;

	if (!a->planned || site->origin == ORIGIN_REPLACEMENT)
		return NULL;
	i = plan_site_at(&a->plan, (uint32_t)site->va);
	return i == MANIFEST_NONE ? NULL : &a->plan.sites[i];
}

char *report_context_line(const struct image *img, const struct targets *t, const struct cfg_site *site)
{
	struct context found[CONTEXT_MAX];
	size_t n = context_find(t, site->va, site->len, found, CONTEXT_MAX), size;
	char *line = NULL;
	FILE *f = open_memstream(&line, &size);

	for (size_t i = 0; f && i < n; i++) {
		char text[256];

		context_describe(&found[i], img, text, sizeof(text));
		fprintf(f, "%s%s: %s", i ? "; " : "", context_table(&found[i]), text);
	}
	if (f && !fclose(f))
		return line;
	free(line);
	return NULL;
}

size_t report_frames(const struct analysis *a, const struct cfg_site *site, const struct source_frame **frames)
{
	return sources_at(a->sources, (size_t)(site - a->cfg.sites), frames);
}

void report_sha256(const struct image *img, char hex[65])
{
	report_sha256_bytes(img->elf, img->elf_size, hex);
}

void report_sha256_bytes(const uint8_t *bytes, size_t size, char hex[65])
{
	struct sha256_ctx ctx;
	uint8_t digest[32];

	sha256_init(&ctx);
	sha256_update(&ctx, size, bytes);
	sha256_digest(&ctx, sizeof(digest), digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		sprintf(hex + 2 * i, "%02x", digest[i]);
}

static const char *container_name(const struct image *img)
{
	switch (img->container) {
	case IMAGE_ELF:
		return "ELF";
	case IMAGE_BZIMAGE:
		return "bzImage";
	case IMAGE_PE:
		return "PE";
	default:
		return "raw";
	}
}

static void print_recipe(const struct recipe *r, FILE *f)
{
	fprintf(f, "recipe: %s\n", r->name);
	for (size_t i = 0; i < r->n_vdso; i++)
		fprintf(f, "vDSO: %s at 0x%" PRIx64 ", int $0x80 at 0x%" PRIx64 "\n", r->vdso[i].name,
			r->vdso[i].va, r->vdso[i].int80);
}

static void print_head(const struct analysis *a, FILE *f)
{
	const struct image *img = &a->img;
	char hex[65];

	report_sha256(img, hex);
	fprintf(f, "%s: %s", img->path, container_name(img));
	if (img->container == IMAGE_BZIMAGE)
		fprintf(f, " (%s payload)", img->compression);
	fprintf(f, ", %d-bit, %zu symbols (%s)\n", img->width, img->n_symbols, img->symbol_source);
	fprintf(f, "sha256 of the %s: %s\n",
		img->container == IMAGE_PE || img->container == IMAGE_RAW ? "file" : "ELF", hex);
	fprintf(f, "%zu instructions, %zu of them reached by the linear sweep alone", a->cfg.n_insns,
		a->cfg.n_swept);
	if (a->cfg.undecoded_bytes)
		fprintf(f, "; %" PRIu64 " bytes are neither code nor padding", a->cfg.undecoded_bytes);
	fprintf(f, "\n");
	report_bytes_text(&a->cfg, f);
	if (a->sources)
		fprintf(f, "source lines: DWARF of %s\n", sources_path(a->sources));
	for (size_t i = 0; i < img->n_notes; i++)
		fprintf(f, "note: %s\n", img->notes[i]);
	if (*a->recipe.name)
		print_recipe(&a->recipe, f);
	else if (a->recipe.skipped)
		fprintf(f, "recipe skipped: %s", a->recipe.skipped);
}

static void print_classes(const struct analysis *a, FILE *f)
{
	size_t n[CLASS_COUNT] = {0};

	for (size_t i = 0; i < a->cfg.n_sites; i++)
		n[policy_get(a->cfg.sites[i].op)->cls]++;
	fprintf(f, "\n%zu sensitive instructions, by class:\n", a->cfg.n_sites);
	for (unsigned c = CLASS_NONE + 1; c < CLASS_COUNT; c++)
		fprintf(f, "  %-22s %6zu\n", policy_class_name(c), n[c]);
}

static void print_sections(const struct analysis *a, FILE *f)
{
	fprintf(f, "\nby section:\n");
	for (size_t s = 0; s < a->cfg.n_sections; s++) {
		size_t n = 0;

		for (size_t i = 0; i < a->cfg.n_sites; i++)
			n += a->cfg.sites[i].section == s;
		fprintf(f, "  %-22s %6zu%s\n", a->cfg.sections[s].sec->name, n,
			a->cfg.sections[s].marks ? "" : "  (live only once the kernel copies it)");
	}
}

void report_tactics(const struct plan *plan, FILE *f)
{
	size_t n[TACTIC_COUNT] = {0};

	for (size_t i = 0; i < plan->n_sites; i++)
		n[plan->sites[i].tactic]++;
	report_tactic_counts(n, f);
}

void report_tactic_counts(const size_t n[TACTIC_COUNT], FILE *f)
{
	size_t all = 0, need;

	for (unsigned t = 0; t < TACTIC_COUNT; t++)
		all += n[t];
	need = all - n[TACTIC_VERBATIM];
	fprintf(f, "%zu sites by tactic:\n", all);
	for (unsigned t = 0; t < TACTIC_COUNT; t++)
		fprintf(f, "  %-22s %6zu\n", tactic_name(t), n[t]);
	if (need)
		fprintf(f, "%.2f%% of the %zu sites that need it are patched\n",
			100.0 * (double)(need - n[TACTIC_TRAP] - n[TACTIC_NONE]) / (double)need, need);
}

static void print_symbol(const struct image *img, uint64_t va, FILE *f)
{
	const struct image_symbol *sym = image_symbol_at(img, va);

	if (sym)
		fprintf(f, "%s+0x%" PRIx64, sym->name, va - sym->va);
	else
		fprintf(f, "?");
}

void report_context_text(const struct image *img, const struct targets *t, const struct cfg_site *site,
			 const char *indent, FILE *f)
{
	struct context found[CONTEXT_MAX];
	size_t n = context_find(t, site->va, site->len, found, CONTEXT_MAX);

	for (size_t i = 0; i < n; i++) {
		char text[256];

		context_describe(&found[i], img, text, sizeof(text));
		fprintf(f, "%s%s: %s\n", indent, context_table(&found[i]), text);
	}
}

void report_source_text(const struct sources *sources, size_t site, const char *indent, FILE *f)
{
	const struct source_frame *frames;
	size_t n = sources_at(sources, site, &frames);
	char *text = n ? sources_describe(frames, n) : NULL;

	if (text)
		fprintf(f, "%ssource: %s\n", indent, text);
	free(text);
}

void report_bytes_text(const struct cfg *cfg, FILE *f)
{
	uint64_t apart = cfg->swept_bytes + cfg->undecoded_bytes + cfg->padding_bytes;
	size_t ranges[UNREACHED_KINDS] = {0};

	for (size_t i = 0; i < cfg->n_unreached; i++)
		ranges[cfg->unreached[i].kind]++;
	fprintf(f,
		"bytes of code: %" PRIu64 " reached; %" PRIu64 " by the sweep alone (%zu ranges), %" PRIu64
		" undecoded (%zu ranges); %" PRIu64 " of padding\n",
		cfg_code_bytes(cfg) - apart, cfg->swept_bytes, ranges[UNREACHED_SWEEP], cfg->undecoded_bytes,
		ranges[UNREACHED_UNDECODED], cfg->padding_bytes);
}

void report_unreached_text(const struct image *img, const struct cfg *cfg, const char *indent, FILE *f)
{
	for (size_t i = 0; i < cfg->n_unreached; i++) {
		const struct cfg_range *r = &cfg->unreached[i];
		const struct image_section *sec = cfg->sections[r->section].sec;
		size_t sites = cfg_sites_in(cfg, r);

		fprintf(f, "%s%s+0x%" PRIx64 " ", indent, sec->name, r->va - sec->va);
		if (img->container != IMAGE_MODULE)
			fprintf(f, "%0*" PRIx64 " ", img->width == 64 ? 16 : 8, r->va);
		print_symbol(img, r->va, f);
		fprintf(f, "  %" PRIu64 " bytes  [%s]", r->size, cfg_unreached_name(r->kind));
		if (sites)
			fprintf(f, "  %zu sensitive", sites);
		fputc('\n', f);
	}
}

void report_confidence_text(const struct cfg_site *site, const char *indent, FILE *f)
{
	static const char *const lines[] = {
	    [CONFIDENCE_SYMBOL] = "only a symbol or a relocated word leads here: it may be data",
	    [CONFIDENCE_RUN] = "a run executed it; nothing else leads here",
	    [CONFIDENCE_SWEEP] = "the sweep alone: nothing that names code leads here",
	    [CONFIDENCE_REPLACEMENT] = NULL,
	};

	if (lines[site->confidence])
		fprintf(f, "%sreached: %s\n", indent, lines[site->confidence]);
}

static void print_row(const struct analysis *a, const struct cfg_site *site, const struct plan_site *ps,
		      const struct runtime_site *seen, FILE *f)
{
	const struct policy *row = policy_get(site->op);
	char bytes[2 * INSN_MAX + 1], text[96];
	size_t avail = 0;
	const uint8_t *p = image_bytes(&a->img, site->va, &avail);

	report_bytes_hex(&a->img, site, bytes, sizeof(bytes));
	insn_format(text, sizeof(text), p, avail, site->va, a->img.width);
	fprintf(f, "%0*" PRIx64 " ", a->img.width == 64 ? 16 : 8, site->va);
	print_symbol(&a->img, site->va, f);
	fprintf(f, "  %s  %s  [%s]\n", bytes, text, policy_class_name(row->cls));
	report_source_text(a->sources, (size_t)(site - a->cfg.sites), "    ", f);
	fprintf(f, "    sensitive: %s\n", row->reason);
	if (site->origin == ORIGIN_REPLACEMENT)
		fprintf(f, "    replacement: live only once the kernel copies it over an alternative\n");
	else if (ps)
		fprintf(f, "    %s%s%s\n", tactic_name(ps->tactic), ps->reason ? ": " : "",
			ps->reason ? ps->reason : "");
	report_confidence_text(site, "    ", f);
	report_context_text(&a->img, &a->targets, site, "    ", f);
	if (seen)
		fprintf(f, "    at run time: %" PRIu64 " times, %s%s%s\n", seen->count, seen->kind,
			*seen->reason ? ": " : "", seen->reason);
}

static bool is_unpatched(const struct plan_site *ps)
{
	return ps &&
	       (ps->tactic == TACTIC_TRAP || ps->tactic == TACTIC_NONE || ps->tactic == TACTIC_BREAKPOINT);
}

static void print_unknown(const struct analysis *a, const struct runtime_report *rt, FILE *f)
{
	bool head = false;

	for (size_t i = 0; i < rt->n_sites; i++) {
		const struct runtime_site *s = &rt->sites[i];

		if (cfg_site_at(&a->cfg, s->va))
			continue;
		if (!head)
			fprintf(f, "\nSeen at run time, not found in the image (a module, or code written "
				   "later):\n");
		head = true;
		fprintf(f, "%08" PRIx64 " %s  %" PRIu64 " times, %s%s%s\n", s->va,
			*s->symbol ? s->symbol : "?", s->count, s->kind, *s->reason ? ": " : "", s->reason);
	}
}

void report_text(const struct analysis *a, const struct runtime_report *rt, bool all, FILE *f)
{
	print_head(a, f);
	print_classes(a, f);
	print_sections(a, f);
	if (a->planned) {
		fprintf(f, "\n");
		report_tactics(&a->plan, f);
	} else {
		fprintf(f, "\naudit only: %d-bit images are not patched (--all lists the sites)\n",
			a->img.width);
	}
	if (all || a->planned)
		fprintf(f, "\n%s\n", all ? "All sites:" : "Sites that no stub serves:");
	for (size_t i = 0; i < a->cfg.n_sites; i++) {
		const struct cfg_site *site = &a->cfg.sites[i];
		const struct plan_site *ps = report_plan_site(a, site);
		const struct runtime_site *seen = rt ? runtime_site_at(rt, site->va) : NULL;

		if (all || seen || is_unpatched(ps))
			print_row(a, site, ps, seen, f);
	}
	if (rt)
		print_unknown(a, rt, f);
	if (all && a->cfg.n_unreached) {
		fprintf(f, "\nBytes that no path reaches:\n");
		report_unreached_text(&a->img, &a->cfg, "", f);
	}
}
