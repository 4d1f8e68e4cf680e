// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Carrying out a plan: stubs, windows, manifest, and the patched ELF; and taking all of it back.
 *
 * The patched file is the source ELF with its windows replaced and its header pointing at new tables, followed
 * by what is new: stubs, manifest, source (for a bzImage), the old ELF header, and the new section and program
 * headers. So the source ELF is recovered by undoing windows and header and cutting the file.
 */
#ifndef PATCHER_PATCH_H
#define PATCHER_PATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypercalls/diag.h"
#include "hypercalls/manifest.h"
#include "patcher/cfg.h"
#include "patcher/image.h"
#include "patcher/plan.h"
#include "patcher/recipe.h"
#include "patcher/sources.h"

#define PATCH_UNDO_SECTION ".paravane.undo"

/*
 * Tour 1.0: From an image to what is known of it
 *
 * Paravane runs a kernel that was built for CPL 0 at CPL 3, where some of its instructions trap, and some silently do the
 * wrong thing. So before anything runs, all of those *sensitive* instructions have to be found: in a stripped image,
 * without its source, and with certainty about what is an instruction at all. `paravane audit` stops when that is done.
 *
 * analysis_load() goes through the steps of this chapter in order: the image, its symbols and relocations; the targets that
 * its tables name; its control flow, and with it the sites. The last step, the plan, is the next chapter's.
 */

/* Everything known about an image; audit stops after the plan. */
struct analysis {
	struct image img;
	struct targets targets;
	struct recipe recipe;
	struct cfg cfg;
	struct plan plan; /* empty unless img is a 32-bit image */
	bool planned;
	struct sources *sources; /* NULL without DWARF, or if nobody asked */
	char *strings; /* that reasons of the plan point into; NULL for the planner's own */
};

struct runtime_report;

struct analysis_options {
	enum image_as as;
	uint64_t base; /* of a raw image, with its width */
	int width;
	/* May be NULL. Where it says that code ran, there is code; and the sites it saw most choose their bytes first. */
	const struct runtime_report *seen;
	const struct source_options *sources; /* NULL: source lines are not wanted */
};

int analysis_load(struct analysis *a, const char *path, const struct analysis_options *opt, struct diag *d);
void analysis_free(struct analysis *a);

struct patch {
	struct manifest m;
	uint8_t *file; /* the patched ELF, malloc'd */
	size_t file_size;
};

/* Patch the analysed image for a hole at hole_base. -EINVAL when the image cannot be patched. */
int patch_build(struct patch *p, const struct analysis *a, uint32_t hole_base, struct diag *d);
void patch_free(struct patch *p);

/* Stub segment of a plan: landing pads, then stubs. */
struct stubs {
	uint8_t *bytes;
	uint32_t size;
};

/* patch_stubs.c: emit all stubs and fill windows, sites, points and originals of m. */
int stubs_emit(struct stubs *st, struct manifest *m, const struct plan *plan, struct diag *d);
/* patch.c: what comes over the len bytes of a window, and over the 5 at its hop (NULL without one). */
void patch_window_fill(const struct manifest_window *w, uint8_t *window, uint8_t *hop);
/* patch_verified.c: fill verified and starts of m. */
int verified_collect(struct manifest *m, const struct plan *plan, struct diag *d);
/*
 * Does an instruction start `off` bytes into the section? Where to look next is *step further. Padding has starts too.
 * Nothing reaches it, but the kernel's alternatives overwrite code and the padding behind it in one piece, and the
 * monitor re-verifies such a page by decoding from an old start until it meets one. Other padding (zeros) has none.
 */
bool verified_start(const struct cfg *cfg, const struct cfg_section *cs, uint64_t off, unsigned *step);
/* patch_elf.c: the file, from the patched copy of the source ELF, in *out (malloc'd). */
int patch_elf_write(const struct image *img, const uint8_t *patched, const struct stubs *st,
		    const uint8_t *manifest, size_t manifest_size, uint32_t hole_base, uint8_t **out,
		    size_t *out_size, struct diag *d);

/* Append a string to the manifest's table and return its offset; the same text twice gives the same offset. */
uint32_t manifest_string(struct manifest *m, const char *s);

/* unpatch.c: what a patched file was made from. */
struct unpatched {
	struct manifest m;
	uint8_t *elf; /* the source ELF, byte for byte */
	size_t elf_size;
	uint8_t *source; /* the source file: == elf, or the bzImage */
	size_t source_size;
};
/* Does the file have what only `patch` writes? It may be damaged all the same. */
bool unpatch_knows(const uint8_t *file, size_t size);
/* -EINVAL when the file is no patched ELF or does not give back what its manifest promises. */
int unpatch_bytes(struct unpatched *u, const char *path, const uint8_t *file, size_t size, struct diag *d);
void unpatched_free(struct unpatched *u);

/* file_io.c */
int file_read(const char *path, uint8_t **bytes, size_t *size, struct diag *d);
/* Whole or not at all: through a temporary file in the same directory and a rename. */
int file_write(const char *path, const void *bytes, size_t size, struct diag *d);

#endif
