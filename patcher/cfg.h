// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The recovered control flow of an image: which bytes are instructions, where control can arrive, and every
 * sensitive instruction. Kept as one byte of marks for each byte of executable section, because a kernel has
 * three million instructions and the planner only ever asks about a few dozen bytes around a site.
 */
#ifndef PATCHER_CFG_H
#define PATCHER_CFG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypercalls/decode.h"
#include "hypercalls/diag.h"
#include "patcher/image.h"

enum cfg_mark {
	CFG_START = 1,	   /* an instruction starts here */
	CFG_CODE = 2,	   /* part of an instruction */
	CFG_TARGET = 4,	   /* control can arrive here other than by falling through or as CFG_FIXUP says */
	CFG_REWRITTEN = 8, /* the kernel rewrites this byte itself */
	CFG_PAD = 16,	   /* padding: no-ops, int3 or zeros that nothing reaches */
	CFG_WINDOW = 32,   /* the planner's: taken by a window or a hop */
	CFG_FIXUP = 64,	   /* the kernel's fault handler returns here: by IRET only, so the monitor sees it */
	CFG_OVERLAP = 128, /* two decodings disagree about this byte */
};

struct cfg_section {
	const struct image_section *sec;
	uint8_t *marks; /* sec->size of them; NULL for .altinstr_replacement */
};

enum cfg_origin {
	ORIGIN_DESCENT,	    /* reached from a known target */
	ORIGIN_SWEEP,	    /* found by a linear sweep that ends where known code starts */
	ORIGIN_REPLACEMENT, /* in .altinstr_replacement: live only once the kernel copies it */
};

/* What the analysis that found it rests on, the best first. */
enum cfg_confidence {
	CONFIDENCE_TABLE,	/* the entry point or a table of the kernel, and branches from there */
	CONFIDENCE_SYMBOL,	/* a symbol or a relocated word, and branches from there: it may name data */
	CONFIDENCE_RUN,		/* a run that executed it */
	CONFIDENCE_SWEEP,	/* nothing: the sweep, or code that the sweep found branches there */
	CONFIDENCE_REPLACEMENT, /* in .altinstr_replacement */
};

struct cfg_site {
	uint64_t va;
	uint16_t op; /* enum pv_op */
	uint8_t len;
	uint8_t origin;	  /* enum cfg_origin */
	uint32_t section; /* index in cfg->sections */
	uint8_t confidence; /* enum cfg_confidence */
};

/* Bytes that no path reaches, and that are no padding. */
enum cfg_unreached_kind {
	UNREACHED_SWEEP,     /* read as code by the sweep */
	UNREACHED_UNDECODED, /* no consistent reading as code */
	UNREACHED_KINDS
};
struct cfg_range {
	uint64_t va, size;
	uint32_t section; /* index in cfg->sections */
	uint8_t kind;	  /* enum cfg_unreached_kind */
};

/* A direct branch or call of a 32-bit image. */
struct cfg_branch {
	uint32_t from, to;
};

struct cfg {
	const struct image *img;
	const struct targets *targets; /* as given to cfg_build() */
	int width;
	struct cfg_section *sections; /* executable ones, sorted by va */
	size_t n_sections;
	struct cfg_site *sites; /* sorted by va */
	size_t n_sites;
	struct cfg_branch *branches; /* in no order */
	size_t n_branches;
	size_t n_insns, n_swept;
	uint64_t undecoded_bytes; /* neither code nor padding: no consistent decoding was found */
	uint64_t swept_bytes, padding_bytes;
	struct cfg_range *unreached; /* sorted by section and va */
	size_t n_unreached;
};

/*
 * Recover the control flow from the targets of tables (targets_collect()) and the branches found on the way.
 * img and targets must outlive the result.
 */
int cfg_build(struct cfg *cfg, const struct image *img, const struct targets *targets, struct diag *d);
void cfg_free(struct cfg *cfg);
/* Ranges that no table of the image names (a recipe's). */
void cfg_mark_rewritten(struct cfg *cfg, const struct rewritten *ranges, size_t n);

/* The live section that holds va, or NULL. */
struct cfg_section *cfg_section_at(const struct cfg *cfg, uint64_t va);
/* Marks at va; 0 outside live sections. */
uint8_t cfg_marks(const struct cfg *cfg, uint64_t va);
/* Decode the instruction at va. Its length, or -errno as insn_decode(). */
int cfg_decode(const struct cfg *cfg, uint64_t va, struct insn *insn);
/* Can control arrive at va in another way than by a branch in `branches` or by an exception-table fixup? */
bool cfg_has_other_arrival(const struct cfg *cfg, uint64_t va);
/* The site at va, or NULL. */
const struct cfg_site *cfg_site_at(const struct cfg *cfg, uint64_t va);
const char *cfg_origin_name(unsigned origin);
const char *cfg_confidence_name(unsigned confidence);
/* cfg_unreached.c: bytes of live sections in all; "sweep", "undecoded"; how many sites stand in a range. */
uint64_t cfg_code_bytes(const struct cfg *cfg);
const char *cfg_unreached_name(unsigned kind);
size_t cfg_sites_in(const struct cfg *cfg, const struct cfg_range *r);

#endif
