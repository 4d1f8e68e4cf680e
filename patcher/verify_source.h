/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the verifier knows about the source image: per byte of every executable section whether an instruction
 * starts there, whether control can arrive there, and whether the kernel rewrites it.
 */
#ifndef PATCHER_VERIFY_SOURCE_H
#define PATCHER_VERIFY_SOURCE_H

#include "patcher/verify.h"
#include "patcher/verify_insn.h"

/* Why an address is a target; the first reason found is kept for the message. */
enum verify_target {
	VT_NONE,
	VT_ENTRY,
	VT_SYMBOL,
	VT_RELOC,
	VT_WORD, /* absolute word in data or immediate in code, where the image has no relocations */
	VT_JUMP_LABEL,
	VT_STATIC_CALL,
	VT_INITCALL,
	VT_KSYMTAB,
	VT_PCI_FIXUP,
	VT_ALTERNATIVE,
	VT_BRANCH,
	VT_COUNT
};

enum {
	MARK_REWRITTEN = 1, /* the kernel writes this byte at run time */
	MARK_CONFLICT = 2,  /* two readings of this byte as code, or none */
	MARK_POINT = 4,	    /* a table names the instruction here, but not as a place to go to */
	MARK_NORETURN = 8,  /* a ud2 that the kernel does not return from */
	MARK_NAMED = 32,    /* a table, a symbol or a word names this address */
	MARK_FIXUP = 16,    /* an exception-table fixup: only IRET leads here */
};

struct verify_text {
	const char *name;
	uint32_t va, size;
	const uint8_t *bytes;
	uint8_t *start;	  /* 1: an instruction starts here */
	uint8_t *target;  /* enum verify_target */
	uint8_t *mark;	  /* mask of MARK_* */
	bool replacement; /* .altinstr_replacement: copied elsewhere, never executed where it stands */
};

struct verify_source {
	const struct image *img;
	uint8_t sha256[32];	  /* of the ELF */
	uint8_t file_sha256[32];  /* of the file as given */
	struct verify_text *text; /* sorted by va */
	size_t n_text;
	struct verify_sensitive *sensitive; /* sorted by va */
	size_t n_sensitive;
	struct verify_branch {
		uint32_t from, to;
	} *branches; /* direct ones, calls included */
	size_t n_branches;
	size_t n_instructions, n_targets;
	size_t n_odd; /* relocated words that name the middle of an instruction: not believed */
	size_t table_counts[VT_COUNT];
	uint32_t fentry; /* of the ftrace entry function, 0 without one */
	bool have_relocs;
};

struct verify_text *verify_text_at(const struct verify_source *src, uint32_t va);
/* File-backed bytes of the source at va, `len` of them, or NULL. */
const uint8_t *verify_bytes(const struct verify_source *src, uint32_t va, uint32_t len);
const char *verify_target_name(unsigned t);
void verify_digest(uint8_t out[32], const uint8_t *bytes, size_t size); /* SHA-256 */

static inline bool verify_is_start(const struct verify_text *t, uint32_t va)
{
	return t->start[va - t->va];
}

void verify_target_add(struct verify_source *src, uint32_t va, unsigned why);
void verify_mark_add(struct verify_source *src, uint32_t va, uint8_t mark);
void verify_rewritten_add(struct verify_source *src, uint32_t va, uint32_t len);

/* verify_targets.c: all that tables, symbols and relocations name. */
int verify_targets_collect(struct verify_source *src, struct diag *d);
/* verify_sweep.c: boundaries, branch targets, sensitive instructions, conflicts. */
int verify_sweep(struct verify_source *src, int threads, struct diag *d);

#endif
