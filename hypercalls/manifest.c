// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The manifest on disk and back.
 *
 * It is struct manifest_header, then the tables windows, sites, points, verified, starts, originals, strings,
 * without gaps: every struct is a multiple of four bytes, so each table stands naturally aligned, and the
 * file size follows from the counts in the header. Little-endian, as is every host that can run this.
 *
 * Sizes and identity are checked here; what the tables say, in manifest_check.c.
 */
#include "hypercalls/manifest.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/abi.h"
#include "hypercalls/manifest_check.h"
#include "hypercalls/policy.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the manifest is little-endian");
_Static_assert(sizeof(struct manifest_header) % 4 == 0, "tables behind the header are aligned");
_Static_assert(sizeof(struct manifest_window) == 28 && sizeof(struct manifest_site) == 24 &&
		   sizeof(struct manifest_point) == 12 && sizeof(struct manifest_range) == 8,
	       "no padding on disk");

const char *tactic_name(unsigned tactic)
{
	static const char *const names[TACTIC_COUNT] = {
	    [TACTIC_IN_PLACE] = "in-place",
	    [TACTIC_WINDOW] = "window",
	    [TACTIC_WINDOW_TAIL] = "window+tail",
	    [TACTIC_HOP] = "hop",
	    [TACTIC_BREAKPOINT] = "breakpoint",
	    [TACTIC_TRAP] = "trap",
	    [TACTIC_NONE] = "none",
	    [TACTIC_VERBATIM] = "verbatim",
	};

	assert(tactic < TACTIC_COUNT);
	return names[tactic];
}

uint32_t manifest_op_name_hash(void)
{
	uint32_t hash = 0x811c9dc5; /* FNV-1a, 32 bits */

	for (unsigned op = 0; op < OP_COUNT; op++) {
		const char *id = policy_get(op)->id;

		do /* the NUL as well, so that moving a letter between neighbours shows */
			hash = (hash ^ (uint8_t)*id) * 0x01000193;
		while (*id++);
	}
	return hash;
}

/* One table of struct manifest: where its pointer, its count and its element size are. */
struct table {
	const char *name;
	size_t pointer, count; /* offsets in struct manifest */
	size_t element;
};

#define TABLE(field)                                                                                         \
	{                                                                                                    \
#field, offsetof(struct manifest, field), offsetof(struct manifest, h.n_##field),            \
		    sizeof(*((struct manifest *)0)->field)                                                   \
	}
static const struct table tables[] = {TABLE(windows), TABLE(sites),	TABLE(points), TABLE(verified),
				      TABLE(starts),  TABLE(originals), TABLE(strings)};
#define N_TABLES (sizeof(tables) / sizeof(*tables))

static void **table_pointer(const struct manifest *m, const struct table *t)
{
	return (void **)((char *)m + t->pointer);
}

static size_t table_bytes(const struct manifest *m, const struct table *t)
{
	uint32_t count;

	memcpy(&count, (const char *)m + t->count, sizeof(count));
	return (size_t)count * t->element; /* 2^32 * 28 fits */
}

int manifest_save(const struct manifest *m, uint8_t **buf, size_t *size, struct diag *d)
{
	struct manifest copy = *m;
	size_t total = sizeof(copy.h);
	uint8_t *p;
	int err;

	memcpy(copy.h.magic, MANIFEST_MAGIC, sizeof(copy.h.magic));
	copy.h.version = ABI_VERSION;
	copy.h.header_size = sizeof(copy.h);
	copy.h.op_name_hash = manifest_op_name_hash();
	err = manifest_check(&copy, d); /* never write what load refuses */
	if (err)
		return err;

	for (size_t i = 0; i < N_TABLES; i++)
		total += table_bytes(&copy, &tables[i]);
	p = malloc(total);
	if (!p)
		return diag_set(d, -ENOMEM, "manifest: out of memory for %zu bytes", total);
	*buf = p;
	*size = total;
	memcpy(p, &copy.h, sizeof(copy.h));
	p += sizeof(copy.h);
	for (size_t i = 0; i < N_TABLES; i++) {
		size_t bytes = table_bytes(&copy, &tables[i]);

		if (bytes)
			memcpy(p, *table_pointer(&copy, &tables[i]), bytes);
		p += bytes;
	}
	return 0;
}

static int check_identity(const struct manifest_header *h, struct diag *d)
{
	if (memcmp(h->magic, MANIFEST_MAGIC, sizeof(h->magic)))
		return diag_set(d, -EINVAL,
				"manifest: no \"" MANIFEST_MAGIC
				"\" at its start: not a manifest, or damaged");
	if (h->version != ABI_VERSION)
		return diag_set(d, -EINVAL,
				"manifest: version %u, this program knows %u; patch the image again",
				h->version, ABI_VERSION);
	if (h->header_size != sizeof(*h))
		return diag_set(d, -EINVAL, "manifest: header of %u bytes instead of %zu", h->header_size,
				sizeof(*h));
	if (h->op_name_hash != manifest_op_name_hash())
		return diag_set(d, -EINVAL,
				"manifest: written with another policy table (hash 0x%08x, here 0x%08x); "
				"patch the image again",
				h->op_name_hash, manifest_op_name_hash());
	return 0;
}

static int load_tables(struct manifest *m, const uint8_t *buf, size_t size, struct diag *d)
{
	size_t at = sizeof(m->h);

	for (size_t i = 0; i < N_TABLES; i++) {
		size_t bytes = table_bytes(m, &tables[i]);
		void *copy;

		if (bytes > size - at)
			return diag_set(
			    d, -EINVAL,
			    "manifest: %s need %zu bytes at offset %zu of %zu: truncated or damaged",
			    tables[i].name, bytes, at, size);
		copy = malloc(bytes ? bytes : 1);
		if (!copy)
			return diag_set(d, -ENOMEM, "manifest: out of memory for %zu bytes of %s", bytes,
					tables[i].name);
		memcpy(copy, buf + at, bytes);
		*table_pointer(m, &tables[i]) = copy;
		at += bytes;
	}
	if (at != size)
		return diag_set(d, -EINVAL, "manifest: %zu bytes too many behind its tables", size - at);
	return 0;
}

int manifest_load(struct manifest *m, const uint8_t *buf, size_t size, struct diag *d)
{
	int err;

	memset(m, 0, sizeof(*m));
	if (size < sizeof(m->h))
		return diag_set(d, -EINVAL, "manifest: %zu bytes, less than its header of %zu", size,
				sizeof(m->h));
	memcpy(&m->h, buf, sizeof(m->h));
	err = check_identity(&m->h, d);
	err = err ? err : load_tables(m, buf, size, d);
	err = err ? err : manifest_check(m, d);
	if (err)
		manifest_free(m);
	return err;
}

void manifest_free(struct manifest *m)
{
	for (size_t i = 0; i < N_TABLES; i++)
		free(*table_pointer(m, &tables[i]));
	memset(m, 0, sizeof(*m));
}
