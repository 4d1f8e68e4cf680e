// SPDX-License-Identifier: GPL-3.0-or-later
/* What finding the debug file and reading it share. */
#ifndef PATCHER_SOURCES_INTERNAL_H
#define PATCHER_SOURCES_INTERNAL_H

#include <elfutils/libdwfl.h>
#include <stdint.h>

#include "patcher/sources.h"

/* A file with DWARF, open. */
struct debug_file {
	char *path;
	Dwfl *dwfl;
	Dwfl_Module *module;
	Elf *elf;
	Dwarf *dwarf;
};

/* sources_find.c: 0 with f->path NULL if there is none. */
int debug_file_find(struct debug_file *f, struct image *img, const struct source_options *opt,
		    struct diag *d);
void debug_file_close(struct debug_file *f);

/* A site on its way: where the DWARF has it, and what was found. */
struct source_site {
	uint64_t address; /* as the DWARF counts */
	size_t site;	  /* index in cfg->sites */
	bool instead;	  /* it is the place that the site is copied over */
	bool taken;	  /* by the unit that covers it */
	bool named;	  /* by the function that covers it */
	struct source_frame *frames;
	size_t n_frames;
};

/* sources.c: s once, for as long as the sources live; NULL without memory. */
const char *sources_keep(struct sources *s, const char *text);
/* sources_dwarf.c: fill the frames of sites, which are sorted by address. Damage is noted in img. 0 or -ENOMEM. */
int sources_read(struct sources *s, const struct debug_file *f, struct source_site *sites, size_t n,
		 struct image *img);

#endif
