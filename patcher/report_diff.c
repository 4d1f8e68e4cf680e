// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Two audits compared: a kernel and its update, an image before and after a patch. Addresses say little there, so
 * sites are matched by the function they are in: first the same instruction at the same offset; then, within the
 * function, the same bytes in the same order, for code that grew before them.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/policy.h"
#include "patcher/report_page.h"

#define UNMATCHED SIZE_MAX

/* Strings belong to the side's JSON. */
struct diff_site {
	const char *symbol, *op, *bytes, *text, *cls, *address, *tactic; /* symbol "", tactic NULL: none */
	const char
	    *group; /* symbol; for replacements of alternatives their section, "" for others without one */
	json_int_t va, offset; /* without a symbol the offset is the address */
	size_t match;	       /* index on the other side, or UNMATCHED */
};

struct side {
	json_t *root;
	const char *image, *sha256;
	struct diff_site *sites; /* sorted by group, offset, op, address */
	size_t n;
};

enum change { ADDED, REMOVED, MOVED, TACTIC, CHANGES };
static const char *const change_names[CHANGES] = {"added", "removed", "moved", "tactic"};

struct diff {
	struct side old, new;
	size_t n[CHANGES], same;
};

static int key_compare(const struct diff_site *x, const struct diff_site *y)
{
	int c = strcmp(x->group, y->group);

	if (!c)
		c = x->offset < y->offset ? -1 : x->offset > y->offset;
	return c ? c : strcmp(x->op, y->op);
}

static int site_compare(const void *a, const void *b)
{
	const struct diff_site *x = a, *y = b;
	int c = key_compare(x, y);

	return c ? c : x->va < y->va ? -1 : x->va > y->va;
}

/* --- a side from an image or from its report ------------------------------------------------------------- */

static bool is_json(const uint8_t *bytes, size_t size)
{
	size_t i = 0;

	while (i < size && isspace(bytes[i]))
		i++;
	return i < size && bytes[i] == '{';
}

static int root_load(json_t **root, const char *path, const struct analysis_options *how, struct diag *d)
{
	struct analysis a;
	json_error_t je;
	uint8_t *bytes;
	size_t size;
	int err = file_read(path, &bytes, &size, d);
	bool json = !err && is_json(bytes, size);

	if (err)
		return err;
	*root = json ? json_loadb((const char *)bytes, size, 0, &je) : NULL;
	free(bytes);
	if (json)
		return *root ? 0 : diag_set(d, -EINVAL, "%s:%d: %s", path, je.line, je.text);
	err = report_analyse(&a, path, how, d);
	if (err)
		return err;
	*root = report_json_build(&a, NULL);
	analysis_free(&a);
	return *root ? 0 : diag_set(d, -ENOMEM, "%s: out of memory", path);
}

static bool take_site(struct diff_site *s, json_t *item)
{
	const char *section, *origin;
	json_t *symbol, *tactic;

	*s = (struct diff_site){.symbol = "", .match = UNMATCHED};
	if (json_unpack(item, "{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "va", &s->va, "address",
			&s->address, "op", &s->op, "bytes", &s->bytes, "disassembly", &s->text, "class",
			&s->cls, "section", &section, "origin", &origin, "symbol", &symbol, "tactic",
			&tactic))
		return false;
	s->offset = s->va;
	s->tactic = json_string_value(tactic);
	if (!s->tactic && !json_is_null(tactic))
		return false;
	if (!json_is_null(symbol) &&
	    json_unpack(symbol, "{s:s, s:I}", "name", &s->symbol, "offset", &s->offset))
		return false;
	s->group = *s->symbol || strcmp(origin, "replacement") ? s->symbol : section;
	return true;
}

static int side_load(struct side *side, const char *path, const struct analysis_options *how, struct diag *d)
{
	json_t *sites, *item;
	int version, err = root_load(&side->root, path, how, d);
	size_t i;

	if (err)
		return err;
	if (json_unpack(side->root, "{s:i, s:s, s:s, s:o}", "version", &version, "image", &side->image,
			"image_sha256", &side->sha256, "sites", &sites) ||
	    version != REPORT_SCHEMA_VERSION || !json_is_array(sites))
		return diag_set(d, -EINVAL, "%s: not an audit report of version %d (audit --json writes one)",
				path, REPORT_SCHEMA_VERSION);
	side->sites = calloc(json_array_size(sites) + 1, sizeof(*side->sites));
	if (!side->sites)
		return diag_set(d, -ENOMEM, "%s: out of memory", path);
	json_array_foreach(sites, i, item)
	{
		if (!take_site(&side->sites[side->n++], item))
			return diag_set(d, -EINVAL, "%s: sites[%zu]: not a site of an audit report", path, i);
	}
	qsort(side->sites, side->n, sizeof(*side->sites), site_compare);
	return 0;
}

/* --- matching -------------------------------------------------------------------------------------------- */

static void match(struct diff *df, size_t o, size_t n)
{
	df->old.sites[o].match = n;
	df->new.sites[n].match = o;
}

static void match_same_offset(struct diff *df)
{
	size_t o = 0, n = 0;

	while (o < df->old.n && n < df->new.n) {
		int c = key_compare(&df->old.sites[o], &df->new.sites[n]);

		if (!c)
			match(df, o, n);
		o += c <= 0;
		n += c >= 0;
	}
}

/* Where the group of site i ends. */
static size_t group_end(const struct side *side, size_t i)
{
	size_t end = i;

	while (end < side->n && !strcmp(side->sites[end].group, side->sites[i].group))
		end++;
	return end;
}

/* What is unmatched in [o, o_end) and [n, n_end), the first to the first. */
static void match_in_group(struct diff *df, size_t o, size_t o_end, size_t n, size_t n_end)
{
	for (; o < o_end; o++) {
		const struct diff_site *x = &df->old.sites[o];

		for (size_t k = n; x->match == UNMATCHED && k < n_end; k++) {
			const struct diff_site *y = &df->new.sites[k];

			if (y->match != UNMATCHED || strcmp(x->op, y->op) || strcmp(x->bytes, y->bytes))
				continue;
			match(df, o, k);
		}
	}
}

static void match_shifted(struct diff *df)
{
	size_t o = 0, n = 0;

	while (o < df->old.n && n < df->new.n) {
		size_t o_end = group_end(&df->old, o), n_end = group_end(&df->new, n);
		int c = strcmp(df->old.sites[o].group, df->new.sites[n].group);

		if (!c && *df->old.sites[o].group)
			match_in_group(df, o, o_end, n, n_end);
		if (c <= 0)
			o = o_end;
		if (c >= 0)
			n = n_end;
	}
}

/* As a mask of 1 << enum change; o or n may be NULL. */
static unsigned changes(const struct diff_site *o, const struct diff_site *n)
{
	if (!o || !n)
		return o ? 1u << REMOVED : 1u << ADDED;
	return (o->va != n->va) << MOVED |
	       (!o->tactic != !n->tactic || (o->tactic && strcmp(o->tactic, n->tactic))) << TACTIC;
}

typedef void (*visit)(void *ctx, unsigned mask, const struct diff_site *o, const struct diff_site *n);

/* Every site once: those of the old side with their partner, then what is new. */
static void each(const struct diff *df, visit fn, void *ctx)
{
	for (size_t i = 0; i < df->old.n; i++) {
		const struct diff_site *o = &df->old.sites[i];
		const struct diff_site *n = o->match == UNMATCHED ? NULL : &df->new.sites[o->match];

		fn(ctx, changes(o, n), o, n);
	}
	for (size_t i = 0; i < df->new.n; i++)
		if (df->new.sites[i].match == UNMATCHED)
			fn(ctx, changes(NULL, &df->new.sites[i]), NULL, &df->new.sites[i]);
}

static void count_one(void *ctx, unsigned mask, const struct diff_site *o, const struct diff_site *n)
{
	struct diff *df = ctx;

	(void)o;
	(void)n;
	df->same += !mask;
	for (int c = 0; c < CHANGES; c++)
		df->n[c] += mask >> c & 1;
}

/* --- the three forms ------------------------------------------------------------------------------------- */

static size_t count_class(const struct side *side, const char *cls)
{
	size_t n = 0;

	for (size_t i = 0; i < side->n; i++)
		n += !strcmp(side->sites[i].cls, cls);
	return n;
}

static size_t count_tactic(const struct side *side, const char *tactic)
{
	size_t n = 0;

	for (size_t i = 0; i < side->n; i++)
		n += side->sites[i].tactic && !strcmp(side->sites[i].tactic, tactic);
	return n;
}

static void where(const struct diff_site *s, FILE *f)
{
	fprintf(f, "%s", s->address);
	if (*s->symbol)
		fprintf(f, " %s+0x%" PRIx64, s->symbol, (uint64_t)s->offset);
}

struct print {
	FILE *f;
	unsigned want; /* mask of changes */
};

static void print_one(void *ctx, unsigned mask, const struct diff_site *o, const struct diff_site *n)
{
	const struct print *p = ctx;
	const struct diff_site *s = n ? n : o;

	if (!(mask & p->want))
		return;
	fprintf(p->f, "%c ", !o ? '+' : !n ? '-' : '~');
	where(s, p->f);
	fprintf(p->f, "  %s  [%s]", s->text, s->cls);
	if (mask & 1u << MOVED) {
		fprintf(p->f, "  was at ");
		where(o, p->f);
	}
	if (mask & 1u << TACTIC)
		fprintf(p->f, "  %s -> %s", o->tactic ? o->tactic : "not planned",
			n->tactic ? n->tactic : "not planned");
	else if (s->tactic)
		fprintf(p->f, "  %s", s->tactic);
	fputc('\n', p->f);
}

static void counts_print(const struct diff *df, const char *name,
			 size_t (*count)(const struct side *, const char *), FILE *f)
{
	size_t o = count(&df->old, name), n = count(&df->new, name);

	fprintf(f, "  %-22s %6zu %6zu %+6zd\n", name, o, n, (ssize_t)(n - o));
}

static void text(const struct diff *df, bool all, FILE *f)
{
	fprintf(f, "old: %s (%s), %zu sites\nnew: %s (%s), %zu sites\n", df->old.image, df->old.sha256,
		df->old.n, df->new.image, df->new.sha256, df->new.n);
	fprintf(f, "%zu added, %zu removed, %zu moved, %zu with another tactic, %zu as before\n",
		df->n[ADDED], df->n[REMOVED], df->n[MOVED], df->n[TACTIC], df->same);
	fprintf(f, "\n  %-22s %6s %6s\n", "by class", "old", "new");
	for (unsigned c = CLASS_NONE + 1; c <= CLASS_BY_OPERAND; c++)
		counts_print(df, policy_class_name(c), count_class, f);
	fprintf(f, "\n  %-22s %6s %6s\n", "by tactic", "old", "new");
	for (unsigned t = 0; t < TACTIC_COUNT; t++)
		counts_print(df, tactic_name(t), count_tactic, f);
	fprintf(f, "\n");
	each(df, print_one,
	     &(struct print){.f = f, .want = all ? ~0u : 1u << ADDED | 1u << REMOVED | 1u << TACTIC});
	if (!all && df->n[MOVED])
		fprintf(f, "(--all lists what only moved)\n");
}

static json_t *place_json(const struct diff_site *s)
{
	if (!s)
		return json_null();
	return json_pack("{s:s, s:o, s:I, s:o, s:s, s:s}", "address", s->address, "symbol",
			 *s->symbol ? json_string(s->symbol) : json_null(), "offset", s->offset, "tactic",
			 report_string(s->tactic), "bytes", s->bytes, "disassembly", s->text);
}

static void json_one(void *ctx, unsigned mask, const struct diff_site *o, const struct diff_site *n)
{
	json_t *list = json_array();

	if (!mask) {
		json_decref(list);
		return;
	}
	for (int c = 0; c < CHANGES; c++)
		if (mask >> c & 1)
			json_array_append_new(list, json_string(change_names[c]));
	json_array_append_new(ctx, json_pack("{s:o, s:s, s:s, s:o, s:o}", "changes", list, "op",
					     (n ? n : o)->op, "class", (n ? n : o)->cls, "old", place_json(o),
					     "new", place_json(n)));
}

static json_t *side_json(const struct side *s)
{
	return json_pack("{s:s, s:s, s:I}", "image", s->image, "image_sha256", s->sha256, "sites",
			 (json_int_t)s->n);
}

static json_t *pair_json(const struct diff *df, const char *name,
			 size_t (*count)(const struct side *, const char *))
{
	return json_pack("{s:s, s:I, s:I}", "name", name, "old", (json_int_t)count(&df->old, name), "new",
			 (json_int_t)count(&df->new, name));
}

static json_t *diff_json(const struct diff *df)
{
	json_t *sites = json_array(), *classes = json_array(), *tactics = json_array(), *counts;

	each(df, json_one, sites);
	for (unsigned c = CLASS_NONE + 1; c <= CLASS_BY_OPERAND; c++)
		json_array_append_new(classes, pair_json(df, policy_class_name(c), count_class));
	for (unsigned t = 0; t < TACTIC_COUNT; t++)
		json_array_append_new(tactics, pair_json(df, tactic_name(t), count_tactic));
	counts = json_pack("{s:I}", "same", (json_int_t)df->same);
	for (int c = 0; c < CHANGES; c++)
		json_object_set_new(counts, change_names[c], json_integer((json_int_t)df->n[c]));
	return json_pack("{s:i, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "version", REPORT_SCHEMA_VERSION, "kind",
			 "diff", "old", side_json(&df->old), "new", side_json(&df->new), "counts", counts,
			 "by_class", classes, "by_tactic", tactics, "sites", sites);
}

int report_diff(const char *old_path, const char *new_path, const struct analysis_options *how,
		const struct report_files *f, bool all, struct diag *d)
{
	struct diff df = {0};
	int err = side_load(&df.old, old_path, how, d);

	if (!err)
		err = side_load(&df.new, new_path, how, d);
	if (!err) {
		match_same_offset(&df);
		match_shifted(&df);
		each(&df, count_one, &df);
	}
	if (!err && f->json)
		err = report_json_write(diff_json(&df), JSON_INDENT(1), f->json, d);
	if (!err && f->html)
		err = report_page_write(diff_json(&df), f->html, d);
	if (!err)
		text(&df, all, stdout);
	free(df.old.sites);
	free(df.new.sites);
	json_decref(df.old.root);
	json_decref(df.new.root);
	return err;
}
