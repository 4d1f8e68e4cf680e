// SPDX-License-Identifier: GPL-3.0-or-later
/* What the parts of the target collector share. */
#ifndef PATCHER_TARGETS_INTERNAL_H
#define PATCHER_TARGETS_INTERNAL_H

#include "patcher/context.h"
#include "patcher/image.h"
#include "patcher/image_internal.h"
#include "patcher/orc.h"

struct collect {
	struct targets *t;
	struct image *img;
	size_t targets_cap, rewritten_cap, contexts_cap;
	int err; /* first -errno; every call below does nothing after it */
	size_t n_code;
	const struct image_section **code; /* executable sections with bytes */
};

/* A table of the image: its bytes and where they are linked. */
struct table {
	const char *name;
	uint64_t va;
	const uint8_t *p;
	size_t size;
};

/* Code bytes at va and how many follow, or NULL when va is not in an executable section. */
const uint8_t *code_at(const struct collect *c, uint64_t va, size_t *avail);
bool is_code(const struct collect *c, uint64_t va);
/* Is va anywhere in the loaded image? */
bool is_mapped(const struct collect *c, uint64_t va);

/* Both ignore addresses outside code (callers count those). */
void add_target(struct collect *c, uint64_t va, enum target_source source);
void add_rewritten(struct collect *c, uint64_t va, size_t len, enum target_source source);

/* What a table says of its `end - start` bytes; ignored outside code. */
void add_context(struct collect *c, const struct context *context);
static inline void add_context_site(struct collect *c, uint64_t va, size_t len, enum target_source source)
{
	add_context(c, &(struct context){.start = va, .end = va + len, .feature = CONTEXT_NO_FEATURE, .source = source});
}

/* The address that the signed 32-bit word at offset `at` of the table names, relative to its own place. */
static inline uint64_t prel(const struct collect *c, const struct table *t, size_t at)
{
	return image_wrap(c->img, t->va + at + (int64_t)les32(t->p + at));
}

/* The absolute address in the 32- or 64-bit word at p. */
static inline uint64_t word_address(const struct collect *c, const uint8_t *p)
{
	return c->img->width == 64 ? le64(p) : le32(p);
}

/* targets_find.c: by section name, else by the kernel's boundary symbols. */
bool table_by_section(const struct collect *c, struct table *t, const char *section);
bool table_by_symbols(const struct collect *c, struct table *t, const char *start, const char *stop);

/* Is this the entry of some kind of table? `at` has at least one stride of bytes behind it. */
typedef bool (*entry_test)(const struct collect *c, const struct table *t, size_t at);

#define TABLE_HUNT_MIN 8 /* entries in a row that are no accident */

/* How many of the table's entries pass. */
size_t table_score(const struct collect *c, const struct table *t, size_t stride, entry_test test);
/* The longest run of at least `min` passing entries in data, in that section only if one is given and exists.
 */
bool table_hunt(const struct collect *c, struct table *t, const char *name, const char *section,
		size_t stride, size_t min, entry_test test);

/*
 * Of the strides (0-terminated, a test for each) the one that the largest share of entries agrees with, if that is
 * half or more: its index + 1. Else 0 and a note.
 */
size_t table_pick(struct collect *c, const struct table *t, const size_t *strides, const entry_test *tests);
/* Note that entries of a table name nothing. */
void table_note_bad(struct collect *c, const struct table *t, size_t bad, size_t n);

/* targets_tables.c, targets_patching.c, orc.c */
void collect_tables(struct collect *c);
void collect_patch_sites(struct collect *c);
void collect_orc(struct collect *c);

#endif
