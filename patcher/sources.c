// SPDX-License-Identifier: GPL-3.0-or-later
/* The source lines of all sites: which addresses the DWARF is asked for, and what is kept of the answers. */
#include "patcher/sources.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "patcher/context.h"
#include "patcher/image_internal.h"
#include "patcher/sources_internal.h"

struct span {
	struct source_frame *frames;
	size_t n;
};

struct sources {
	char *path;
	struct span *sites;
	size_t n_sites;
	void *texts; /* tsearch(): files and functions, each once */
};

static int compare_texts(const void *a, const void *b)
{
	return strcmp(a, b);
}

const char *sources_keep(struct sources *s, const char *text)
{
	char *copy, **found = tfind(text, &s->texts, compare_texts);

	if (found)
		return *found;
	copy = strdup(text);
	found = copy ? tsearch(copy, &s->texts, compare_texts) : NULL;
	if (!found)
		free(copy);
	return found ? *found : NULL;
}

/* --- addresses --- */

/*
 * The sections of a module stand elsewhere in the debug file, and the order of two with one name is all that tells
 * them apart. Gives the address of the image's section in the debug file, or false.
 */
static bool section_in_debug(const struct image *img, const struct image_section *want, Elf *elf,
			     uint64_t *at)
{
	size_t names, nth = 0;
	Elf_Scn *scn = NULL;
	GElf_Shdr sh;

	for (const struct image_section *s = img->sections; s < want; s++)
		nth += !strcmp(s->name, want->name);
	if (elf_getshdrstrndx(elf, &names))
		return false;
	while ((scn = elf_nextscn(elf, scn))) {
		const char *name;

		/* Empty ones are none of the image's. */
		if (!gelf_getshdr(scn, &sh) || !(sh.sh_flags & SHF_ALLOC) || !sh.sh_size)
			continue;
		name = elf_strptr(elf, names, sh.sh_name);
		if (!name || strcmp(name, want->name) || nth--)
			continue;
		*at = sh.sh_addr;
		return sh.sh_size == want->size;
	}
	return false;
}

static int compare_sites(const void *a, const void *b)
{
	const struct source_site *x = a, *y = b;

	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	return x->site < y->site ? -1 : x->site > y->site;
}

/* Where the DWARF has a section of the image. */
struct shift {
	bool known;
	uint64_t by;
};

static struct shift *find_shifts(struct image *img, Elf *elf)
{
	struct shift *shifts = calloc(img->n_sections + 1, sizeof(*shifts));

	for (size_t i = 0; shifts && i < img->n_sections; i++) {
		const struct image_section *s = &img->sections[i];
		uint64_t at = s->va;

		shifts[i].known = img->container != IMAGE_MODULE || section_in_debug(img, s, elf, &at);
		shifts[i].by = at - s->va;
		if (!shifts[i].known && s->exec)
			image_note(img, "debug information: its section %s is not this one", s->name);
	}
	return shifts;
}

/* What a replacement is copied over; 0 if no table says so. */
static uint64_t replaced_by(const struct cfg *cfg, const struct cfg_site *site)
{
	struct context found[CONTEXT_MAX];
	size_t n = context_find(cfg->targets, site->va, site->len, found, CONTEXT_MAX);

	for (size_t i = 0; i < n; i++)
		if (found[i].role == CONTEXT_REPLACEMENT)
			return found[i].other;
	return 0;
}

/*
 * The sites as the DWARF counts them; how many. Compilers give no lines for code in .altinstr_replacement, which inline
 * assembly puts there; so of it the place that it is copied over is asked for as well.
 */
static size_t place_sites(struct source_site *sites, const struct image *img, const struct cfg *cfg,
			  const struct shift *shifts)
{
	size_t n = 0;

	for (size_t i = 0; i < cfg->n_sites; i++) {
		uint64_t va[2] = {cfg->sites[i].va, 0};

		if (cfg->sites[i].origin == ORIGIN_REPLACEMENT)
			va[1] = replaced_by(cfg, &cfg->sites[i]);
		for (size_t k = 0; k < 2; k++) {
			const struct image_section *sec = va[k] ? image_section_at(img, va[k]) : NULL;
			const struct shift *shift = sec ? &shifts[sec - img->sections] : NULL;

			if (shift && shift->known)
				sites[n++] = (struct source_site){
				    .address = va[k] + shift->by, .site = i, .instead = k == 1};
		}
	}
	qsort(sites, n, sizeof(*sites), compare_sites);
	return n;
}

/* --- all of them --- */

static struct sources *sources_new(const char *path, size_t n)
{
	struct sources *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->path = strdup(path);
	s->sites = calloc(n + 1, sizeof(*s->sites));
	s->n_sites = n;
	if (s->path && s->sites)
		return s;
	sources_free(s);
	return NULL;
}

static bool says_something(const struct source_site *site)
{
	return site->n_frames && (*site->frames[0].file || *site->frames[0].function);
}

/* A site's own lines before those of the place that it is copied over. */
static void keep_frames(struct sources *s, struct source_site *site)
{
	struct span *span = &s->sites[site->site];

	if (!says_something(site) || (span->n && site->instead)) {
		free(site->frames);
		return;
	}
	free(span->frames);
	*span = (struct span){site->frames, site->n_frames};
}

static int read_sites(struct sources *s, struct image *img, const struct cfg *cfg, const struct debug_file *f)
{
	struct source_site *sites = malloc((2 * cfg->n_sites + 1) * sizeof(*sites));
	struct shift *shifts = find_shifts(img, f->elf);
	size_t n = sites && shifts ? place_sites(sites, img, cfg, shifts) : 0;
	int err = sites && shifts ? sources_read(s, f, sites, n, img) : -ENOMEM;

	for (size_t i = 0; i < n; i++)
		if (!err)
			keep_frames(s, &sites[i]);
		else
			free(sites[i].frames);
	free(shifts);
	free(sites);
	return err;
}

int sources_load(struct sources **out, struct image *img, const struct cfg *cfg,
		 const struct source_options *opt, struct diag *d)
{
	struct debug_file f = {0};
	int err = debug_file_find(&f, img, opt, d);

	*out = NULL;
	if (!err && f.path) {
		*out = sources_new(f.path, cfg->n_sites);
		err = *out ? read_sites(*out, img, cfg, &f) : -ENOMEM;
		if (err)
			diag_set(d, err, "%s: out of memory for source lines", img->path);
	}
	debug_file_close(&f);
	if (err) {
		sources_free(*out);
		*out = NULL;
	}
	return err;
}

void sources_free(struct sources *s)
{
	if (!s)
		return;
	for (size_t i = 0; s->sites && i < s->n_sites; i++)
		free(s->sites[i].frames);
	tdestroy(s->texts, free);
	free(s->sites);
	free(s->path);
	free(s);
}

size_t sources_at(const struct sources *s, size_t site, const struct source_frame **frames)
{
	if (!s || site >= s->n_sites)
		return 0;
	*frames = s->sites[site].frames;
	return s->sites[site].n;
}

const char *sources_path(const struct sources *s)
{
	return s ? s->path : NULL;
}

char *sources_describe(const struct source_frame *frames, size_t n)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	for (size_t i = 0; f && i < n; i++) {
		fprintf(f, "%s%s", i ? ", inlined at " : "", *frames[i].file ? frames[i].file : "?");
		if (frames[i].line)
			fprintf(f, ":%u", frames[i].line);
		if (*frames[i].function)
			fprintf(f, " in %s", frames[i].function);
	}
	if (!f || fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}
