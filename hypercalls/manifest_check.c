// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Does a manifest make sense?
 *
 * The monitor executes by what stands in it, so nothing is trusted: a manifest that passes has its tables
 * sorted and disjoint, every reference inside its table, every stub, landing pad and resume address inside
 * the stubs, and no verified page with a site that was left alone and may not trap. Whether it fits the image
 * is for `verify` to prove.
 */
#include "hypercalls/manifest_check.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "hypercalls/abi.h"
#include "hypercalls/decode.h"
#include "hypercalls/policy.h"

#define PAGE 4096u
#define JMP_REL32_LEN 5 /* e9 and a rel32 */
#define JMP_REL8_LEN 2	/* eb and a rel8 */
#define STARTS_PER_PAGE (PAGE / 8)

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

static bool hits_window(const struct manifest *m, uint32_t va, uint32_t len)
{
	const struct manifest_window *w = manifest_window_below(m, va + len - 1);

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

static bool tactic_is_patched(unsigned tactic)
{
	return tactic <= TACTIC_BREAKPOINT;
}

static const char *check_window(const struct manifest *m, const struct manifest_window *w)
{
	bool hop = w->tactic == TACTIC_HOP, breakpoint = w->tactic == TACTIC_BREAKPOINT;
	uint64_t saved = (uint64_t)w->len + (hop ? JMP_REL32_LEN : 0);

	if (!tactic_is_patched(w->tactic))
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

static int compare_ranges(const void *a, const void *b)
{
	const struct manifest_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* What the windows jump to or through must not overlap either: sorts the n ranges. */
static int check_disjoint(struct manifest_range *ranges, uint32_t n, const char *what, struct diag *d)
{
	qsort(ranges, n, sizeof(*ranges), compare_ranges);
	for (uint32_t i = 1; i < n; i++)
		if (ranges[i].start < ranges[i - 1].end)
			return bad(d, what, i, ranges[i].start, "overlaps another one");
	return 0;
}

/* Hops need the windows sorted, so they are checked after them. */
static int check_stubs_and_hops(const struct manifest *m, struct diag *d)
{
	struct manifest_range *stubs = calloc(m->h.n_windows + 1ull, sizeof(*stubs));
	struct manifest_range *hops = calloc(m->h.n_windows + 1ull, sizeof(*hops));
	uint32_t n_stubs = 0, n_hops = 0;
	int err = stubs && hops ? 0 : diag_set(d, -ENOMEM, "manifest: out of memory");

	for (uint32_t i = 0; i < m->h.n_windows && !err; i++) {
		const struct manifest_window *w = &m->windows[i];
		const char *why = w->tactic == TACTIC_HOP ? check_hop(m, w) : NULL;

		if (why)
			err = bad(d, "window", i, w->va, why);
		else if (w->tactic == TACTIC_HOP)
			hops[n_hops++] = (struct manifest_range){w->hop, w->hop + JMP_REL32_LEN};
		if (!err && w->stub_len)
			stubs[n_stubs++] = (struct manifest_range){w->stub, w->stub + w->stub_len};
	}
	err = err ? err : check_disjoint(stubs, n_stubs, "stub", d);
	err = err ? err : check_disjoint(hops, n_hops, "hop", d);
	free(stubs);
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
	if (!s->len || s->len > INSN_MAX || s->len > UINT32_MAX - s->va)
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

static bool is_start(const uint8_t *starts, uint32_t offset)
{
	return starts[offset / 8] >> offset % 8 & 1;
}

/* In verified pages a site and a window are whole instructions, so their first byte starts one. */
static int check_starts(const struct manifest *m, struct diag *d)
{
	const uint8_t *starts = m->starts;
	uint32_t s = 0, w = 0;

	for (uint32_t i = 0; i < m->h.n_verified; i++) {
		const struct manifest_range *r = &m->verified[i];

		for (; s < m->h.n_sites && m->sites[s].va < r->end; s++)
			if (m->sites[s].va >= r->start && !is_start(starts, m->sites[s].va - r->start))
				return bad(d, "site", s, m->sites[s].va, "no instruction starts there");
		for (; w < m->h.n_windows && m->windows[w].va < r->end; w++)
			if (m->windows[w].va >= r->start && !is_start(starts, m->windows[w].va - r->start))
				return bad(d, "window", w, m->windows[w].va, "no instruction starts there");
		starts += (r->end - r->start) / 8;
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

int manifest_check(const struct manifest *m, struct diag *d)
{
	int err = check_header(&m->h, d);

	err = err ? err : check_strings(m, d);
	err = err ? err : check_windows(m, d);
	err = err ? err : check_stubs_and_hops(m, d);
	err = err ? err : check_verified(m, d);
	err = err ? err : check_sites(m, d);
	err = err ? err : check_starts(m, d);
	return err ? err : check_points(m, d);
}
