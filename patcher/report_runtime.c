// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The report that `paravane run --audit` leaves (docs/audit-json.md). It may have been edited, cut short or written
 * for another image, so every complaint names the file and the entry.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "patcher/report_internal.h"

static int seen_compare(const void *a, const void *b)
{
	const struct runtime_site *x = a, *y = b;

	return x->va < y->va ? -1 : x->va > y->va;
}

const struct runtime_site *runtime_site_at(const struct runtime_report *rt, uint64_t va)
{
	struct runtime_site key = {.va = va};

	return rt->n_sites ? bsearch(&key, rt->sites, rt->n_sites, sizeof(key), seen_compare) : NULL;
}

static int bad_entry(const char *path, const char *list, size_t i, const char *want, int err, struct diag *d)
{
	return diag_set(d, err, "%s: %s[%zu]: %s", path, list, i, err == -ENOMEM ? "out of memory" : want);
}

static int take_site(struct runtime_site *s, json_t *item)
{
	const char *kind, *symbol = "", *reason = "";
	json_int_t va, count;

	if (json_unpack(item, "{s:I, s:I, s:s, s?s, s?s}", "va", &va, "count", &count, "kind", &kind,
			"symbol", &symbol, "reason", &reason) ||
	    va < 0 || count < 0)
		return -EINVAL;
	*s = (struct runtime_site){.va = (uint64_t)va,
				   .count = (uint64_t)count,
				   .kind = strdup(kind),
				   .symbol = strdup(symbol),
				   .reason = strdup(reason)};
	return s->kind && s->symbol && s->reason ? 0 : -ENOMEM;
}

static int take_sites(struct runtime_report *rt, json_t *list, const char *path, struct diag *d)
{
	json_t *item;
	size_t i;

	rt->sites = calloc(json_array_size(list) + 1, sizeof(*rt->sites));
	if (!rt->sites)
		return diag_set(d, -ENOMEM, "%s: out of memory", path);
	json_array_foreach(list, i, item)
	{
		int err = take_site(&rt->sites[rt->n_sites++], item);

		if (err)
			return bad_entry(path, "sites", i, "needs va, count and kind", err, d);
	}
	qsort(rt->sites, rt->n_sites, sizeof(*rt->sites), seen_compare);
	return 0;
}

static int take_exits(struct runtime_report *rt, json_t *list, const char *path, struct diag *d)
{
	json_t *item;
	size_t i;

	rt->exits = calloc(json_array_size(list) + 1, sizeof(*rt->exits));
	if (!rt->exits)
		return diag_set(d, -ENOMEM, "%s: out of memory", path);
	json_array_foreach(list, i, item)
	{
		struct runtime_exit *e = &rt->exits[rt->n_exits++];
		const char *reason;
		json_int_t count;

		if (json_unpack(item, "{s:s, s:I, s:F}", "reason", &reason, "count", &count, "ms", &e->ms) ||
		    count < 0 || !(e->ms >= 0))
			return bad_entry(path, "exits", i, "needs reason, count and ms", -EINVAL, d);
		e->count = (uint64_t)count;
		e->reason = strdup(reason);
		if (!e->reason)
			return bad_entry(path, "exits", i, NULL, -ENOMEM, d);
	}
	return 0;
}

static int take_blocks(struct runtime_report *rt, json_t *list, const char *path, struct diag *d)
{
	json_t *item;
	size_t i;

	rt->blocks = calloc(json_array_size(list) + 1, sizeof(*rt->blocks));
	if (!rt->blocks)
		return diag_set(d, -ENOMEM, "%s: out of memory", path);
	json_array_foreach(list, i, item)
	{
		if (!json_is_integer(item) || json_integer_value(item) < 0)
			return bad_entry(path, "blocks", i, "needs an address", -EINVAL, d);
		rt->blocks[rt->n_blocks++] = (uint64_t)json_integer_value(item);
	}
	return 0;
}

static int take_report(struct runtime_report *rt, json_t *root, const char *path, struct diag *d)
{
	json_t *sites, *exits = NULL, *blocks = NULL;
	const char *sha256 = "";
	json_int_t translated = 0;
	int version = 0, err;

	if (json_unpack(root, "{s:i, s?s, s:o}", "version", &version, "image_sha256", &sha256, "sites",
			&sites) ||
	    version != REPORT_SCHEMA_VERSION || !json_is_array(sites) || strlen(sha256) >= sizeof(rt->sha256))
		return diag_set(d, -EINVAL, "%s: not a run report of version %d", path,
				REPORT_SCHEMA_VERSION);
	if (json_unpack(root, "{s?F, s?I, s?o, s?o}", "seconds", &rt->seconds, "blocks_translated",
			&translated, "exits", &exits, "blocks", &blocks) ||
	    !(rt->seconds >= 0) || translated < 0 || (exits && !json_is_array(exits)) ||
	    (blocks && !json_is_array(blocks)))
		return diag_set(
		    d, -EINVAL,
		    "%s: seconds, blocks_translated, exits or blocks is not what a run report has there",
		    path);
	if (sha256[strspn(sha256, "0")]) /* a run without a manifest knows no image: all zeros */
		strcpy(rt->sha256, sha256);
	rt->blocks_translated = (uint64_t)translated;
	err = take_sites(rt, sites, path, d);
	if (!err && exits)
		err = take_exits(rt, exits, path, d);
	if (!err && blocks)
		err = take_blocks(rt, blocks, path, d);
	return err;
}

int runtime_load(struct runtime_report *rt, const char *path, struct diag *d)
{
	json_error_t je;
	uint8_t *bytes;
	size_t size;
	json_t *root;
	int err;

	*rt = (struct runtime_report){0};
	err = file_read(path, &bytes, &size, d);
	if (err)
		return err;
	root = json_loadb((const char *)bytes, size, 0, &je);
	free(bytes);
	if (!root)
		return diag_set(d, -EINVAL, "%s:%d: %s", path, je.line, je.text);
	rt->path = strdup(path);
	err = rt->path ? take_report(rt, root, path, d) : diag_set(d, -ENOMEM, "%s: out of memory", path);
	json_decref(root);
	if (err)
		runtime_free(rt);
	return err;
}

int runtime_check_image(const struct runtime_report *rt, const struct image *img, struct diag *d)
{
	char hex[65];

	report_sha256(img, hex);
	if (*rt->sha256 && strcmp(rt->sha256, hex))
		return diag_set(d, -EINVAL, "%s: the report is about another image (sha256 %s)", rt->path,
				rt->sha256);
	return 0;
}

void runtime_free(struct runtime_report *rt)
{
	for (size_t i = 0; i < rt->n_sites; i++) {
		free(rt->sites[i].kind);
		free(rt->sites[i].symbol);
		free(rt->sites[i].reason);
	}
	for (size_t i = 0; i < rt->n_exits; i++)
		free(rt->exits[i].reason);
	free(rt->path);
	free(rt->sites);
	free(rt->exits);
	free(rt->blocks);
	*rt = (struct runtime_report){0};
}
