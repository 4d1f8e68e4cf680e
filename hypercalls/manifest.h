// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 2.6: The manifest
 *
 * The manifest is what the patcher did to an image, written into the patched ELF (section .paravane.manifest)
 * and read by verify, unpatch, audit and the monitor. On disk: the header and its tables, little-endian, each
 * table naturally aligned, in the order of struct manifest; manifest.c describes and checks every field.
 *
 * Addresses are link-time virtual addresses of the image, 32 bits (only i386 images are patched).
 */
#ifndef HYPERCALLS_MANIFEST_H
#define HYPERCALLS_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypercalls/diag.h"

#define MANIFEST_MAGIC "PVMANIF1"
#define MANIFEST_SECTION ".paravane.manifest"
#define MANIFEST_SOURCE_SECTION ".paravane.source" /* the source file itself when it was not an ELF (a bzImage) */
#define MANIFEST_STUB_SECTION ".paravane.stubs"	   /* PT_LOAD at hole_base + ABI_STUBS */
#define MANIFEST_NONE 0xffffffffu

enum tactic { /* how a site is served, best first */
	TACTIC_IN_PLACE,      /* the instruction is long enough for its own jump */
	TACTIC_WINDOW,	      /* jump over the site and its neighbours */
	TACTIC_WINDOW_TAIL,   /* the window swallows a terminator and padding behind it */
	TACTIC_HOP,	      /* short jump to padding that holds the 5-byte jump */
	TACTIC_BREAKPOINT,    /* int3 */
	TACTIC_TRAP,	      /* left as it is: privileged, so it traps */
	TACTIC_NONE,	      /* left as it is and may not trap: its page is not verified */
	TACTIC_VERBATIM,      /* LOWER_VERBATIM: needs nothing */
	TACTIC_COUNT
};

/* A run of whole instructions replaced by a jump (or int3) to a stub; the rest of it is filled with int3. */
struct manifest_window {
	uint32_t va, len;	  /* the replaced bytes */
	uint32_t stub, stub_len;  /* in the hole; MANIFEST_NONE, 0 for TACTIC_BREAKPOINT */
	uint32_t hop;		  /* address of the 5-byte jump in padding for TACTIC_HOP, else MANIFEST_NONE */
	uint32_t original;	  /* offset in `originals` of the len replaced bytes, then 5 bytes of hop padding */
	uint32_t tactic;	  /* enum tactic */
};

struct manifest_site {
	uint32_t va;	 /* of the sensitive instruction */
	uint32_t window; /* index, or MANIFEST_NONE */
	uint32_t pad;	 /* landing pad, or MANIFEST_NONE; its R15D is this site's index */
	uint32_t resume; /* stub address of what follows the instruction, or MANIFEST_NONE */
	uint16_t op;	 /* enum pv_op at patch time; checked by `op_name_hash` of the header */
	uint8_t len;	 /* bytes */
	uint8_t tactic;	 /* enum tactic */
	uint32_t reason; /* for TACTIC_BREAKPOINT, TRAP, NONE: offset in `strings` of why no better tactic fits; else 0 */
};

/* Where a stub stands in the guest's terms: one entry per stub instruction, sorted by stub address. */
enum point_state {
	POINT_BOUNDARY, /* all guest state is as before the guest instruction at `guest`: deliverable */
	POINT_INSIDE,	/* before the commit of the lowering of `guest`: roll back (restore scratch), re-execute */
	POINT_AFTER,	/* after the commit: step on to the next boundary */
	/* Long blocks only (lower_long.h): at the boundary of `guest`, but for registers that POINT_STRING_SI and its kin tell
	 * of: what a string instruction has done so far stays. */
	POINT_STRING,
};
enum point_flags {
	POINT_SCRATCH0 = 1, /* ECX is saved in VCPU_SCRATCH0 */
	POINT_SCRATCH1 = 2, /* EDX is saved in VCPU_SCRATCH1 */
	POINT_STRING_SI = 1, /* with POINT_STRING: ESI is RSI - R8 */
	POINT_STRING_DI = 2, /* with POINT_STRING: EDI is RDI - R9 */
	POINT_STRING_CX = 8, /* with POINT_STRING: ECX is RCX + VCPU_SCRATCH0 */
	POINT_SHADOW = 4,   /* the guest instruction before this boundary was STI: interrupts wait for one more */
	POINT_R9_SP = 8,    /* long blocks only (lower_long.h): ESP is in R9D */
	POINT_R9_CX = 16,   /* the same: ECX is in R9D */
	POINT_R11_CX = 32,  /* the same: ECX is in R11D */
	POINT_X87_MOVED = 64, /* the same, of an x87 instruction: its operand was moved, VCPU_X87_OPERAND tells from where */
	POINT_X87_ABSOLUTE = 128, /* the same: the guest's ModRM has 5 in rm, where the block's has 4 */
};
struct manifest_point {
	uint32_t stub;	/* address of the stub instruction */
	uint32_t guest; /* guest instruction it belongs to; for the jump back: where it jumps */
	uint8_t state;	/* enum point_state */
	uint8_t flags;	/* mask of enum point_flags */
	uint16_t reserved;
};

struct manifest_range {
	uint32_t start, end; /* [start, end) */
};

struct manifest_header {
	char magic[8];
	uint32_t version; /* ABI_VERSION */
	uint32_t header_size;
	uint8_t source_sha256[32]; /* of the ELF that was patched (for a bzImage: of its payload) */
	uint8_t file_sha256[32];   /* of the source file as given */
	uint8_t stubs_sha256[32];  /* of the stubs: the one part of the code that source_sha256 does not cover */
	uint32_t op_name_hash;	   /* FNV-1a over the policy row ids: op numbers mean the same rows */
	uint32_t hole_base, hole_size;
	uint32_t alias_delta; /* link address minus physical load address: where code runs before paging */
	uint32_t stubs_size;  /* bytes at hole_base + ABI_STUBS */
	uint32_t setup_offset, setup_size; /* of the bzImage setup header (from file offset 0x1f1) in `originals` */
	uint32_t append;      /* offset in `strings`: kernel options that the recipe asks for, "" without */
	uint32_t recipe;      /* offset in `strings`: name of the recipe used, "" without */
	uint32_t n_windows, n_sites, n_points, n_verified, n_starts, n_originals, n_strings;
};

struct manifest {
	struct manifest_header h;
	struct manifest_window *windows; /* sorted by va, disjoint */
	struct manifest_site *sites;	 /* sorted by va */
	struct manifest_point *points;	 /* sorted by stub */
	struct manifest_range *verified; /* page-aligned, sorted, disjoint: pages that may run directly */
	uint8_t *starts; /* for each page of `verified` in order 512 bytes: bit set where an original instruction
			    starts (bit i%8 of byte i/8); n_starts counts bytes */
	uint8_t *originals;
	char *strings; /* strings[0] == '\0' */
};

/* Serialise into *buf (malloc'd, owned by the caller). */
int manifest_save(const struct manifest *m, uint8_t **buf, size_t *size, struct diag *d);

/*
 * Parse and check: bounds, order, disjointness, references, known tactics and ops. Tables are malloc'd;
 * manifest_free() releases them and accepts a zeroed struct. -EINVAL with the place on anything wrong.
 */
int manifest_load(struct manifest *m, const uint8_t *buf, size_t size, struct diag *d);
void manifest_free(struct manifest *m);

/* The site at a link address, NULL without. (Here, as the VMM may call it with the guest's vector state in the registers.) */
static inline const struct manifest_site *manifest_site_at(const struct manifest *m, uint32_t va)
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

/* The last window that starts at or below a link address, NULL without. */
static inline const struct manifest_window *manifest_window_below(const struct manifest *m, uint32_t va)
{
	uint32_t low = 0, high = m->h.n_windows;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (m->windows[mid].va <= va)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? &m->windows[low - 1] : NULL;
}

/* Does a link address lie on a page that may run directly? */
static inline bool manifest_verifies(const struct manifest *m, uint32_t va)
{
	uint32_t low = 0, high = m->h.n_verified;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (m->verified[mid].end <= va)
			low = mid + 1;
		else
			high = mid;
	}
	return low < m->h.n_verified && m->verified[low].start <= va;
}

uint32_t manifest_op_name_hash(void);
const char *tactic_name(unsigned tactic); /* "in-place", "window", "window+tail", "hop", "breakpoint", "trap", ... */

#endif
