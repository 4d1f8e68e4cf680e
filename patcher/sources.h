// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * File, line and function of each site, from DWARF: in the image itself, in a file that is named, or in one that is
 * found as debuggers find it (build ID, .gnu_debuglink, the same path under /usr/lib/debug). DWARF that is damaged costs
 * the sites whose lines it had, and a note.
 */
#ifndef PATCHER_SOURCES_H
#define PATCHER_SOURCES_H

#include <stddef.h>

#include "hypercalls/diag.h"
#include "patcher/cfg.h"
#include "patcher/image.h"

struct source_options {
	const char *file;  /* the debug file of the image, and no other; or NULL: look for one */
	const char *dir;   /* root of debug files; NULL: /usr/lib/debug */
	const char *where; /* the image's path, or its name in an archive; NULL: img->path */
};

/* A function, and the place in it. Of code that was inlined the next frame is where that happened. */
struct source_frame {
	const char *function, *file; /* "" unknown */
	unsigned line;		     /* 0 unknown */
};

struct sources;

/*
 * Frames for all sites of cfg; *out is NULL where there is no DWARF. Damage becomes notes of img. 0, or -errno if
 * opt->file cannot serve: it is no ELF file, has no DWARF, or has another build ID.
 */
int sources_load(struct sources **out, struct image *img, const struct cfg *cfg,
		 const struct source_options *opt, struct diag *d);
void sources_free(struct sources *s);

/* Frames of cfg->sites[site], innermost first; how many. s may be NULL. */
size_t sources_at(const struct sources *s, size_t site, const struct source_frame **frames);
/* The file that has the DWARF, or NULL. */
const char *sources_path(const struct sources *s);
/* "arch/x86/kernel/nmi.c:187 in f, inlined at a.h:3 in g"; "" without frames. malloc'd, NULL without memory. */
char *sources_describe(const struct source_frame *frames, size_t n);

#endif
