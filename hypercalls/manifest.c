// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The manifest on disk and back.
 *
 * It is struct manifest_header, then the tables windows, sites, points, verified, starts, originals, strings,
 * without gaps: every struct is a multiple of four bytes, so each table stands naturally aligned, and the
 * file size follows from the counts in the header. Little-endian, as is every host that can run this.
 *
 * The monitor executes by what stands here, so loading trusts nothing: a manifest that passes has its tables
 * sorted and disjoint, every reference inside its table, every stub address inside the stubs, and no verified
 * page with a site that was left alone and may not trap. Whether it fits the image is for `verify` to prove.
 */
#include "hypercalls/manifest.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/abi.h"
#include "hypercalls/policy.h"

#define PAGE		4096u
#define JMP_REL32_LEN	5 /* e9 and a rel32 */
#define JMP_REL8_LEN	2 /* eb and a rel8 */
#define STARTS_PER_PAGE (PAGE / 8)
#define SITE_MAX	15

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

static int check_header(const struct manifest_header *h, struct diag *d)
{
	uint64_t hole_end = (uint64_t)h->hole_base + h->hole_size;

	if (h->hole_base % PAGE || h->hole_size % PAGE || !h->hole_base || hole_end > 1ull << 32 ||
	    h->hole_size < ABI_STUBS + ABI_HOLE_GUARD)
		return diag_set(
		    d, -EINVAL,
		    "manifest: the hole 0x%x+0x%x is not a page-aligned range below 4 GiB with room "
		    "for stubs and guard; patch the image again",
		    h->hole_base, h->hole_size);
	if (h->stubs_size > h->hole_size - ABI_STUBS - ABI_HOLE_GUARD)
		return diag_set(
		    d, -EINVAL,
		    "manifest: %u bytes of stubs do not fit into the hole; patch with a larger one",
		    h->stubs_size);
	if (h->alias_delta % PAGE)
		return diag_set(d, -EINVAL, "manifest: the alias delta 0x%x is not page-aligned",
				h->alias_delta);
	if (h->setup_offset > h->n_originals || h->setup_size > h->n_originals - h->setup_offset)
		return diag_set(d, -EINVAL, "manifest: the setup header reaches beyond the saved originals");
	return 0;
}

static int check_strings(const struct manifest *m, struct diag *d)
{
	const struct manifest_header *h = &m->h;

	if (!h->n_strings || m->strings[0] || m->strings[h->n_strings - 1])
		return diag_set(d, -EINVAL, "manifest: the string table does not start and end with a NUL");
	if (h->append >= h->n_strings || h->recipe >= h->n_strings)
		return diag_set(d, -EINVAL, "manifest: append or recipe points behind the strings");
	return 0;
}

/* Is [va, va+len) inside the stubs? */
static bool in_stubs(const struct manifest_header *h, uint32_t va, uint64_t len)
{
	uint32_t start = h->hole_base + ABI_STUBS;

	return va >= start && va - start <= h->stubs_size && len <= h->stubs_size - (va - start);
}

static bool in_hole(const struct manifest_header *h, uint32_t va, uint64_t len)
{
	return va < (uint64_t)h->hole_base + h->hole_size && va + len > h->hole_base;
}

static int bad(struct diag *d, const char *table, uint32_t i, uint32_t va, const char *why)
{
	return diag_set(d, -EINVAL, "manifest: %s[%u] at 0x%x: %s", table, i, va, why);
}

/* The last window that starts at or below va, or NULL. */
static const struct manifest_window *window_below(const struct manifest *m, uint32_t va)
{
	uint32_t lo = 0, hi = m->h.n_windows;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (m->windows[mid].va <= va)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo ? &m->windows[lo - 1] : NULL;
}

static bool hits_window(const struct manifest *m, uint32_t va, uint32_t len)
{
	const struct manifest_window *w = window_below(m, va + len - 1);

	return w && (uint64_t)w->va + w->len > va;
}

/* The jump in padding that a two-byte window hops to: in reach, and not on another window. */
static const char *check_hop(const struct manifest *m, const struct manifest_window *w)
{
	int64_t rel = (int64_t)w->hop - ((int64_t)w->va + JMP_REL8_LEN);

	if (w->hop > UINT32_MAX - JMP_REL32_LEN)
		return "hop wraps";
	if (rel < INT8_MIN || rel > INT8_MAX)
		return "hop is out of reach of a short jump";
	if (in_hole(&m->h, w->hop, JMP_REL32_LEN))
		return "hop lies in the hole";
	return hits_window(m, w->hop, JMP_REL32_LEN) ? "hop overlaps a window" : NULL;
}

static const char *check_window(const struct manifest *m, const struct manifest_window *w)
{
	bool hop = w->tactic == TACTIC_HOP, breakpoint = w->tactic == TACTIC_BREAKPOINT;
	uint64_t saved = (uint64_t)w->len + (hop ? JMP_REL32_LEN : 0);

	if (w->tactic > TACTIC_BREAKPOINT)
		return "not a tactic of a window";
	if (w->len < (breakpoint ? 1 : hop ? JMP_REL8_LEN : JMP_REL32_LEN))
		return "too short for its jump";
	if (w->len > UINT32_MAX - w->va)
		return "wraps";
	if (in_hole(&m->h, w->va, w->len))
		return "lies in the hole";
	if (w->original > m->h.n_originals || saved > m->h.n_originals - w->original)
		return "its original bytes reach behind the table";
	if (breakpoint)
		return w->stub == MANIFEST_NONE && !w->stub_len && w->hop == MANIFEST_NONE
			   ? NULL
			   : "a breakpoint has neither stub nor hop";
	if (!w->stub_len || !in_stubs(&m->h, w->stub, w->stub_len))
		return "its stub is not inside the stubs";
	if (!hop && w->hop != MANIFEST_NONE)
		return "a hop without the tactic";
	return NULL;
}

static int check_windows(const struct manifest *m, struct diag *d)
{
	uint64_t end = 0;

	for (uint32_t i = 0; i < m->h.n_windows; i++) {
		const struct manifest_window *w = &m->windows[i];
		const char *why = check_window(m, w);

		if (!why && w->va < end)
			why = "overlaps the one before it, or they are not sorted";
		if (why)
			return bad(d, "window", i, w->va, why);
		end = (uint64_t)w->va + w->len;
	}
	return 0;
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Hops need the windows sorted, so they are checked after them; two of them must not share padding. */
static int check_hops(const struct manifest *m, struct diag *d)
{
	uint32_t *hops, n = 0;
	int err = 0;

	hops = malloc((m->h.n_windows + 1ull) * sizeof(*hops));
	if (!hops)
		return diag_set(d, -ENOMEM, "manifest: out of memory");
	for (uint32_t i = 0; i < m->h.n_windows && !err; i++) {
		const struct manifest_window *w = &m->windows[i];
		const char *why = w->tactic == TACTIC_HOP ? check_hop(m, w) : NULL;

		if (why)
			err = bad(d, "window", i, w->va, why);
		else if (w->tactic == TACTIC_HOP)
			hops[n++] = w->hop;
	}
	qsort(hops, n, sizeof(*hops), compare_u32);
	for (uint32_t i = 1; i < n && !err; i++)
		if (hops[i] - hops[i - 1] < JMP_REL32_LEN)
			err = bad(d, "hop", i, hops[i], "overlaps another hop");
	free(hops);
	return err;
}

static int check_verified(const struct manifest *m, struct diag *d)
{
	uint64_t pages = 0;
	uint32_t end = 0;

	for (uint32_t i = 0; i < m->h.n_verified; i++) {
		const struct manifest_range *r = &m->verified[i];

		if (r->start % PAGE || r->end % PAGE || r->start >= r->end)
			return bad(d, "verified", i, r->start, "not a range of whole pages");
		if (r->start < end)
			return bad(d, "verified", i, r->start,
				   "overlaps the one before it, or they are not sorted");
		if (in_hole(&m->h, r->start, r->end - r->start))
			return bad(d, "verified", i, r->start, "reaches into the hole");
		pages += (r->end - r->start) / PAGE;
		end = r->end;
	}
	if (m->h.n_starts != pages * STARTS_PER_PAGE)
		return diag_set(d, -EINVAL,
				"manifest: %u bytes of instruction starts for %llu verified pages",
				m->h.n_starts, (unsigned long long)pages);
	return 0;
}

static bool tactic_is_patched(unsigned tactic)
{
	return tactic <= TACTIC_BREAKPOINT;
}

static const char *check_site_window(const struct manifest *m, const struct manifest_site *s)
{
	const struct manifest_window *w;

	if (s->window == MANIFEST_NONE) {
		if (tactic_is_patched(s->tactic))
			return "its tactic needs a window and it has none";
		return s->pad == MANIFEST_NONE && s->resume == MANIFEST_NONE
			   ? NULL
			   : "a landing pad without a window";
	}
	if (s->window >= m->h.n_windows)
		return "its window does not exist";
	w = &m->windows[s->window];
	if (!tactic_is_patched(s->tactic) && s->tactic != TACTIC_VERBATIM)
		return "its tactic allows no window";
	if (s->va < w->va || (uint64_t)s->va + s->len > (uint64_t)w->va + w->len)
		return "it is not inside its window";
	return NULL;
}

static const char *check_site(const struct manifest *m, const struct manifest_site *s)
{
	if (s->op == OP_NONE || s->op >= OP_COUNT)
		return "its op is not a policy row";
	if (s->tactic >= TACTIC_COUNT)
		return "unknown tactic";
	if (!s->len || s->len > SITE_MAX || s->len > UINT32_MAX - s->va)
		return "absurd length";
	if (s->pad != MANIFEST_NONE && !in_stubs(&m->h, s->pad, ABI_PAD_LEN))
		return "its landing pad is not inside the stubs";
	if (s->resume != MANIFEST_NONE && !in_stubs(&m->h, s->resume, 1))
		return "it resumes outside the stubs";
	if (s->reason >= m->h.n_strings)
		return "its reason points behind the strings";
	if (s->tactic == TACTIC_TRAP && policy_may_not_trap(s->op))
		return "left to trap, and it may not trap";
	if (s->tactic == TACTIC_VERBATIM && policy_get(s->op)->lowering != LOWER_VERBATIM)
		return "left verbatim, and its policy row says otherwise";
	return check_site_window(m, s);
}

static int check_sites(const struct manifest *m, struct diag *d)
{
	uint64_t end = 0;
	uint32_t r = 0;

	for (uint32_t i = 0; i < m->h.n_sites; i++) {
		const struct manifest_site *s = &m->sites[i];
		const char *why = check_site(m, s);

		if (!why && s->va < end)
			why = "overlaps the one before it, or they are not sorted";
		while (r < m->h.n_verified && m->verified[r].end <= s->va)
			r++;
		if (!why && s->tactic == TACTIC_NONE && r < m->h.n_verified &&
		    (uint64_t)s->va + s->len > m->verified[r].start)
			why = "left as it is, may not trap, and its page is marked verified";
		if (why)
			return bad(d, "site", i, s->va, why);
		end = (uint64_t)s->va + s->len;
	}
	return 0;
}

static int check_points(const struct manifest *m, struct diag *d)
{
	const unsigned known = POINT_SCRATCH0 | POINT_SCRATCH1 | POINT_SHADOW;

	for (uint32_t i = 0; i < m->h.n_points; i++) {
		const struct manifest_point *p = &m->points[i];

		if (!in_stubs(&m->h, p->stub, 1))
			return bad(d, "point", i, p->stub, "not inside the stubs");
		if (i && p->stub <= m->points[i - 1].stub)
			return bad(d, "point", i, p->stub, "not sorted");
		if (p->state > POINT_AFTER || p->flags & ~known || p->reserved)
			return bad(d, "point", i, p->stub, "unknown state or flags");
	}
	return 0;
}

static int check_all(const struct manifest *m, struct diag *d)
{
	int err = check_header(&m->h, d);

	err = err ? err : check_strings(m, d);
	err = err ? err : check_windows(m, d);
	err = err ? err : check_hops(m, d);
	err = err ? err : check_verified(m, d);
	err = err ? err : check_sites(m, d);
	return err ? err : check_points(m, d);
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
	err = check_all(&copy, d); /* never write what load refuses */
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
	err = err ? err : check_all(m, d);
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
