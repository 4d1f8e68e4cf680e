// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The report of an image that was patched: that of its source, which it gives back, with what its manifest says was done
 * in place of what the planner would do today. Its own code would tell nothing, for stubs are full of instructions that
 * are sensitive.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "patcher/report_internal.h"

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

static int source_analyse(struct analysis *a, const struct unpatched *u, const char *path,
			  const struct analysis_options *opt, struct diag *d)
{
	struct runtime_report rt = {0};
	struct analysis_options how = *opt;
	char name[40];
	int fd = memfd_create("source", MFD_CLOEXEC), err = 0;

	how.seen = &rt;
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

/* Of a site that the patcher did not know nothing was done. */
static void plan_from_manifest(struct analysis *a, const struct manifest *m)
{
	for (size_t i = 0; i < a->plan.n_sites; i++) {
		struct plan_site *ps = &a->plan.sites[i];
		const struct manifest_site *ms = manifest_site_at(m, ps->site->va);

		ps->tactic = ms ? ms->tactic : TACTIC_NONE;
		ps->reason =
		    ms ? ms->reason ? a->strings + ms->reason : NULL : "the patcher did not know this site";
	}
}

static int take_manifest(struct analysis *a, struct unpatched *u, const char *path, struct diag *d)
{
	char *name = strdup(path);

	if (!name)
		return diag_set(d, -ENOMEM, "%s: out of memory", path);
	free(a->img.path);
	a->img.path = name;
	a->strings = u->m.strings;
	u->m.strings = NULL;
	plan_from_manifest(a, &u->m);
	image_note(&a->img,
		   "patched: %u windows, %u bytes of stubs. What follows is about the original code, which "
		   "`paravane "
		   "unpatch` gives back, with the tactics that were used",
		   u->m.h.n_windows, u->m.h.stubs_size);
	return 0;
}

static int analyse_patched(struct analysis *a, const char *path, const struct analysis_options *how,
			   const uint8_t *file, size_t size, struct diag *d)
{
	struct unpatched u;
	struct diag why = {0};
	int err = unpatch_bytes(&u, path, file, size, &why);

	if (err) /* the manifest's complaints do not know what file it came from */
		return diag_set(d, err, "%s%s%s", strncmp(why.text, path, strlen(path)) ? path : "",
				strncmp(why.text, path, strlen(path)) ? ": " : "", why.text);
	err = source_analyse(a, &u, path, how, d);
	if (!err) {
		err = take_manifest(a, &u, path, d);
		if (err)
			analysis_free(a);
	}
	unpatched_free(&u);
	return err;
}

int report_analyse(struct analysis *a, const char *path, const struct analysis_options *how, struct diag *d)
{
	uint8_t *bytes = NULL;
	size_t size = 0;
	int err = file_read(path, &bytes, &size, d);

	if (!err && how->as == IMAGE_AS_DETECTED && unpatch_knows(bytes, size))
		err = analyse_patched(a, path, how, bytes, size, d);
	else if (!err)
		err = analysis_load(a, path, how, d);
	free(bytes);
	return err;
}
