// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The site table against the verifier's own list of sensitive instructions, landing pads, and the claim of each
 * verified page: nothing on it may go wrong silently.
 */
#include <stdlib.h>
#include <string.h>

#include "hypercalls/abi.h"
#include "patcher/verify_check.h"

#define PAGE 0x1000u

uint32_t verify_site_at(const struct verify_ctx *c, uint32_t va)
{
	uint32_t lo = 0, hi = c->m.h.n_sites;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (c->m.sites[mid].va < va)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < c->m.h.n_sites && c->m.sites[lo].va == va ? lo : MANIFEST_NONE;
}

bool verify_page_verified(const struct verify_ctx *c, uint32_t va)
{
	uint32_t lo = 0, hi = c->m.h.n_verified;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (va < c->m.verified[mid].start)
			hi = mid;
		else if (va >= c->m.verified[mid].end)
			lo = mid + 1;
		else
			return true;
	}
	return false;
}

/* mov $site,%r15d; jmp gate: 64-bit code, so its bytes are compared rather than decoded. */
static void check_pad(struct verify_ctx *c, uint32_t i)
{
	const struct manifest_site *s = &c->m.sites[i];
	uint32_t to = c->m.h.hole_base + GATE_EXIT - (s->pad + ABI_PAD_LEN);
	const uint8_t want[ABI_PAD_LEN] = {0x41,    0xbf, i & 0xff,  i >> 8 & 0xff,  i >> 16 & 0xff,
					   i >> 24, 0xe9, to & 0xff, to >> 8 & 0xff, to >> 16 & 0xff,
					   to >> 24};

	if (s->pad == MANIFEST_NONE) {
		if (c->site_pad_used[i])
			verify_fail(c, s->va, "site: its stub leaves the guest, but it has no landing pad");
		return;
	}
	if (!verify_claim(c, s->pad, ABI_PAD_LEN, STUB_PAD))
		return;
	if (memcmp(c->stubs + (s->pad - c->stubs_va), want, sizeof(want)))
		verify_fail(c, s->va, "landing pad at 0x%x: not `mov $%u,%%r15d; jmp gate`", s->pad, i);
	if (!c->site_pad_used[i])
		verify_fail(c, s->va, "landing pad at 0x%x: nothing leads to it", s->pad);
	c->r->bytes_checked += ABI_PAD_LEN;
}

static void check_tactic(struct verify_ctx *c, const struct manifest_site *s, const struct verify_insn *in)
{
	bool windowed = s->window != MANIFEST_NONE, ok;

	if (windowed) {
		const struct manifest_window *w = &c->m.windows[s->window];

		if (s->window >= c->m.h.n_windows || s->va < w->va || s->va - w->va >= w->len ||
		    s->tactic != w->tactic)
			verify_fail(c, s->va, "site: the window that it names is not the one around it");
		return;
	}
	ok = s->tactic == TACTIC_TRAP
		 ? in->cls == VERIFY_TRAPS
		 : s->tactic == TACTIC_NONE || (s->tactic == TACTIC_VERBATIM && in->cls == VERIFY_LEAKS);
	if (!ok)
		verify_fail(c, s->va, "site: tactic \"%s\" does not suit `%s`", tactic_name(s->tactic),
			    in->name);
	if (s->pad != MANIFEST_NONE || s->resume != MANIFEST_NONE)
		verify_fail(c, s->va, "site: has a landing pad or a resume address, but no window");
}

/* Does a reason stand where one must, and only there? (Its text is for people and proves nothing.) */
static void check_reason(struct verify_ctx *c, const struct manifest_site *s)
{
	bool wanted = s->tactic == TACTIC_BREAKPOINT || s->tactic == TACTIC_TRAP || s->tactic == TACTIC_NONE;

	if ((s->reason != 0) != wanted || s->reason >= c->m.h.n_strings)
		verify_fail(c, s->va, "site: a reason %s", wanted ? "is missing" : "where none belongs");
}

static void check_site(struct verify_ctx *c, uint32_t i)
{
	const struct manifest_site *s = &c->m.sites[i];
	const struct verify_text *t = verify_text_at(c->src, s->va);
	struct verify_insn in;

	if (!t || t->replacement || !verify_is_start(t, s->va) ||
	    !verify_decode(c->dec, t->bytes + (s->va - t->va), t->size - (s->va - t->va), s->va, &in)) {
		verify_fail(c, s->va, "site: no instruction starts here");
		return;
	}
	if (in.cls == VERIFY_ORDINARY || in.len != s->len)
		verify_fail(c, s->va, "site: `%s` of %u bytes is not a sensitive instruction of %u bytes",
			    in.name, in.len, s->len);
	else if (!verify_op_matches(s->op, &in))
		verify_fail(c, s->va, "site: its op does not name `%s %s`", in.name, in.args);
	check_tactic(c, s, &in);
	check_reason(c, s);
	check_pad(c, i);
	/* A breakpoint has no stub, so no walk has looked at its resume address. */
	if (s->tactic == TACTIC_BREAKPOINT && (s->pad != MANIFEST_NONE || s->resume != MANIFEST_NONE))
		verify_fail(c, s->va, "site: a breakpoint with a landing pad or a resume address");
	c->r->sites++;
}

/* Every sensitive instruction of a verified page is in the table, and served if it may fail to trap. */
static void check_sensitive(struct verify_ctx *c, const struct verify_sensitive *s)
{
	uint32_t site;

	if (s->what == W_INT3 || s->cls == VERIFY_LEAKS || !verify_page_verified(c, s->va))
		return;
	site = verify_site_at(c, s->va);
	if (site == MANIFEST_NONE)
		verify_fail(c, s->va, "a sensitive instruction of a verified page is not in the site table");
	else if (s->cls == VERIFY_SILENT && c->m.sites[site].window == MANIFEST_NONE)
		verify_fail(c, s->va, "a verified page holds an unpatched instruction that may not trap");
}

void verify_sites(struct verify_ctx *c)
{
	for (uint32_t i = 0; i < c->m.h.n_sites; i++)
		check_site(c, i);
	for (size_t i = 0; i < c->src->n_sensitive; i++)
		check_sensitive(c, &c->src->sensitive[i]);
}

/*
 * May the bitmap leave out an instruction of LLVM's? Only int3, which traps wherever it is reached from, and padding
 * that control cannot reach.
 */
static bool may_be_left_out(struct verify_ctx *c, const struct verify_text *t, uint32_t off)
{
	uint32_t len = 1;

	if (t->bytes[off] == 0xcc)
		return true;
	while (off + len < t->size && !t->start[off + len])
		len++;
	return verify_is_padding(c, t->va + off, len, MARK_CONFLICT | MARK_FIXUP | MARK_POINT);
}

void verify_byte(struct verify_ctx *c, uint32_t va, bool start)
{
	const struct verify_text *t = verify_text_at(c->src, va);
	uint32_t off = t ? va - t->va : 0;

	if (!t || t->replacement) {
		if (start)
			verify_fail(c, va, "the bitmap has an instruction outside the executable sections");
		return;
	}
	if (t->mark[off] & MARK_CONFLICT)
		verify_fail(c, va, "a verified page with bytes that have no single reading as code");
	if (start && !t->start[off])
		verify_fail(c, va, "the bitmap has an instruction that LLVM does not see");
	if (!start && t->start[off] && !may_be_left_out(c, t, off))
		verify_fail(c, va, "the bitmap lacks an instruction");
}

static void check_page(struct verify_ctx *c, uint32_t page, const uint8_t *starts)
{
	bool code = false;

	for (size_t i = 0; i < c->src->n_text; i++) {
		const struct verify_text *t = &c->src->text[i];

		code |= !t->replacement && t->va < page + PAGE && t->va + t->size > page;
	}
	if (!code) {
		verify_fail(c, page, "a verified page without code");
		return;
	}
	for (uint32_t i = 0; i < PAGE; i++)
		verify_byte(c, page + i, starts[i / 8] >> (i % 8) & 1);
	c->r->bytes_checked += PAGE;
}

void verify_pages(struct verify_ctx *c)
{
	const uint8_t *starts = c->m.starts;

	for (uint32_t i = 0; i < c->m.h.n_verified; i++)
		for (uint32_t page = c->m.verified[i].start; page < c->m.verified[i].end; page += PAGE) {
			check_page(c, page, starts);
			starts += PAGE / 8;
		}
}
