// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The report of an image that was patched, for comparisons: that of its source, which it gives back, with what its
 * manifest says was done in place of what the planner would do today. Its own code would tell nothing, for stubs
 * are full of instructions that are sensitive.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "patcher/report_internal.h"

bool report_is_patched(const uint8_t *file, size_t size)
{
	return memmem(file, size, MANIFEST_MAGIC, strlen(MANIFEST_MAGIC)) != NULL;
}

/* The analysis must know every site that the patcher knew, also those that only a run report told it of. */
static int sites_of_manifest(struct runtime_report *rt, const struct manifest *m, const char *path,
			     struct diag *d)
{
	*rt = (struct runtime_report){.path = (char *)(uintptr_t)path};
	rt->sites = calloc(m->h.n_sites + 1, sizeof(*rt->sites));
	if (!rt->sites)
		return diag_set(d, -ENOMEM, "%s: out of memory", path);
	for (uint32_t i = 0; i < m->h.n_sites; i++)
		rt->sites[rt->n_sites++].va = m->sites[i].va;
	return 0;
}

static int source_analyse(struct analysis *a, const struct unpatched *u, const char *path, struct diag *d)
{
	struct runtime_report rt = {0};
	struct analysis_options how = {.seen = &rt};
	char name[40];
	int fd = memfd_create("source", MFD_CLOEXEC), err = 0;

	if (fd < 0)
		return diag_set(d, -errno, "%s: memfd: %s", path, strerror(errno));
	if (write(fd, u->source, u->source_size) != (ssize_t)u->source_size)
		err = diag_set(d, -ENOMEM, "%s: out of memory for its source", path);
	if (!err)
		err = sites_of_manifest(&rt, &u->m, path, d);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	if (!err)
		err = analysis_load(a, name, &how, d);
	free(rt.sites);
	close(fd);
	return err;
}

static const struct manifest_site *site_at(const struct manifest *m, uint64_t va)
{
	uint32_t low = 0, high = m->h.n_sites;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (m->sites[mid].va < va)
			low = mid + 1;
		else
			high = mid;
	}
	return low < m->h.n_sites && m->sites[low].va == va ? &m->sites[low] : NULL;
}

static void put_what_was_done(json_t *root, const struct manifest *m)
{
	json_t *site;
	size_t i;

	json_array_foreach(json_object_get(root, "sites"), i, site)
	{
		uint64_t va = (uint64_t)json_integer_value(json_object_get(site, "va"));
		const struct manifest_site *ms = site_at(m, va);

		json_object_set_new(site, "tactic", report_string(ms ? tactic_name(ms->tactic) : NULL));
	}
}

int report_json_patched(json_t **root, const char *path, const uint8_t *file, size_t size, struct diag *d)
{
	struct unpatched u;
	struct analysis a;
	struct diag why = {0};
	int err = unpatch_bytes(&u, path, file, size, &why);

	if (err) /* the manifest's complaints do not know what file it came from */
		return diag_set(d, err, "%s%s%s", strncmp(why.text, path, strlen(path)) ? path : "",
				strncmp(why.text, path, strlen(path)) ? ": " : "", why.text);
	err = source_analyse(&a, &u, path, d);
	if (!err) {
		*root = report_json_build(&a, NULL);
		analysis_free(&a);
		if (*root) {
			json_object_set_new(*root, "image", report_string(path));
			put_what_was_done(*root, &u.m);
		} else {
			err = diag_set(d, -ENOMEM, "%s: out of memory", path);
		}
	}
	unpatched_free(&u);
	return err;
}
