// SPDX-License-Identifier: GPL-3.0-or-later
#include "patcher/module_lay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/abi.h"
#include "hypercalls/policy.h"
#include "patcher/patch.h"

/* More than any lowering needs for one instruction (patch_stubs.c). */
#define STUB_PER_INSN 128
#define POINTS_PER_INSN 24
#define HOP_LEN 5

struct lay {
	struct module_laid *out;
	struct lower l;
	size_t insns, windows; /* room */
	struct diag *d;
};

static struct module_plan_header header_of(const struct module_plan_read *p)
{
	struct module_plan_header h = {.size = 0};

	if (p->bytes)
		memcpy(&h, p->bytes, sizeof(h));
	return h;
}

static const struct module_plan_section *sections_of(const struct module_plan_read *p)
{
	return (const void *)(p->bytes + sizeof(struct module_plan_header));
}

static bool is_start(const struct module_plan_read *p, const struct module_plan_section *s, uint32_t offset)
{
	struct module_plan_header h = header_of(p);

	return p->bytes[module_plan_starts_at(&h) + s->starts + offset / 8] >> offset % 8 & 1;
}

/* --- room -------------------------------------------------------------------------------------------------- */

static size_t span(const struct image *img)
{
	uint64_t end = image_module_base(32);

	for (size_t i = 0; i < img->n_sections; i++)
		if (img->sections[i].exec && img->sections[i].va + img->sections[i].size > end)
			end = img->sections[i].va + img->sections[i].size;
	return (size_t)(end - image_module_base(32));
}

static size_t code_bytes(const struct image *img)
{
	size_t n = 0;

	for (size_t i = 0; i < img->n_sections; i++)
		n += img->sections[i].exec ? img->sections[i].size : 0;
	return n;
}

/* At most every byte of code is an instruction, a site, and int3. */
static int make_room(struct lay *y, const struct image *img, const struct module_plan_read plans[2])
{
	struct module_laid *o = y->out;
	size_t code = code_bytes(img), pads = (code * ABI_PAD_LEN + 15) & ~(size_t)15, stubs, ranges = 0;

	for (int i = 0; i < 2; i++) {
		struct module_plan_header h = header_of(&plans[i]);
		const struct module_plan_window *w =
		    (const void *)(plans[i].bytes + module_plan_windows_at(&h));

		for (uint32_t k = 0; k < h.n_windows; k++)
			y->insns += w[k].n_insns;
		y->windows += h.n_windows;
		ranges += h.n_sections + h.n_obscure;
	}
	stubs = y->insns * STUB_PER_INSN + y->windows * 8;
	o->image = malloc(img->elf_size + 1);
	o->starts = calloc(1, span(img) + 1);
	o->stubs = malloc(pads + stubs + 1);
	o->m.windows = calloc(y->windows + code + 1, sizeof(*o->m.windows));
	o->m.sites = calloc(code + 1, sizeof(*o->m.sites));
	o->m.points = calloc(y->insns * POINTS_PER_INSN + y->windows + 1, sizeof(*o->m.points));
	o->m.verified = calloc(ranges + 1, sizeof(*o->m.verified));
	o->m.originals = malloc(code + y->windows * HOP_LEN + 1);
	o->m.strings = calloc(1, 3);
	if (!o->image || !o->starts || !o->stubs || !o->m.windows || !o->m.sites || !o->m.points ||
	    !o->m.verified || !o->m.originals || !o->m.strings)
		return -ENOMEM;
	memcpy(o->image, img->elf, img->elf_size);
	memset(o->stubs, 0xcc, pads);
	memcpy(o->m.strings, "\0?", 3);
	o->m.h.n_strings = 3;
	y->l = (struct lower){.hole_base = o->m.h.hole_base,
			      .code = o->stubs + pads,
			      .code_va = o->m.h.hole_base + ABI_STUBS + (uint32_t)pads,
			      .code_cap = stubs,
			      .pads = o->stubs,
			      .pads_va = o->m.h.hole_base + ABI_STUBS,
			      .pads_cap = pads,
			      .points = o->m.points,
			      .points_cap = y->insns * POINTS_PER_INSN + y->windows};
	return 0;
}

/* --- windows ----------------------------------------------------------------------------------------------- */

static uint8_t *place(const struct module_laid *o, uint32_t va)
{
	size_t avail;
	const uint8_t *p = image_bytes(o->img, va, &avail);

	return o->image + (p - o->img->elf);
}

static void keep_original(struct manifest *m, const uint8_t *bytes, uint32_t len)
{
	memcpy(m->originals + m->h.n_originals, bytes, len);
	m->h.n_originals += len;
}

static struct manifest_window *add_window(struct module_laid *o, uint32_t va, uint32_t len, uint8_t tactic)
{
	struct manifest_window *w = &o->m.windows[o->m.h.n_windows++];

	*w = (struct manifest_window){.va = va,
				      .len = len,
				      .stub = MANIFEST_NONE,
				      .hop = MANIFEST_NONE,
				      .original = o->m.h.n_originals,
				      .tactic = tactic};
	keep_original(&o->m, place(o, va), len);
	return w;
}

static struct manifest_site *add_site(struct module_laid *o, uint32_t va, const struct insn *insn,
				      uint8_t tactic)
{
	struct manifest_site *s = &o->m.sites[o->m.h.n_sites++];

	*s = (struct manifest_site){.va = va,
				    .window = o->m.h.n_windows - 1,
				    .pad = MANIFEST_NONE,
				    .resume = MANIFEST_NONE,
				    .op = insn->op,
				    .len = insn->len,
				    .tactic = tactic};
	if (!policy_is_replaced(insn->op)) {
		s->window = MANIFEST_NONE;
		s->tactic = TACTIC_VERBATIM;
	}
	return s;
}

static uint8_t tactic_of(const struct module_plan_window *w, uint32_t run)
{
	if (w->hop)
		return TACTIC_HOP;
	if (run != w->len)
		return TACTIC_WINDOW_TAIL;
	return w->n_insns == 1 ? TACTIC_IN_PLACE : TACTIC_WINDOW;
}

/* The stub, then the jump to it. */
static int lay_window(struct lay *y, const struct image_section *sec, const struct module_plan_window *pw)
{
	struct module_laid *o = y->out;
	struct lower_insn insns[MODULE_WINDOW_INSNS];
	uint32_t va = (uint32_t)sec->va + pw->offset, next;
	int err = module_window_insns(sec->data + pw->offset, pw->len, va, pw->n_insns, insns, &next);
	struct manifest_window *w;

	if (err)
		return diag_set(y->d, err, "0x%x (%s+0x%x): the plan's window is not whole instructions", va,
				sec->name, pw->offset);
	w = add_window(o, va, pw->len, tactic_of(pw, next - va));
	if (pw->hop) {
		w->hop = va + (uint32_t)(int32_t)pw->hop;
		keep_original(&o->m, place(o, w->hop), HOP_LEN);
	}
	for (unsigned i = 0; i < pw->n_insns; i++) {
		if (insns[i].site == MANIFEST_NONE)
			continue;
		insns[i].site = o->m.h.n_sites;
		add_site(o, insns[i].va, &insns[i].insn, w->tactic);
	}
	w->stub = y->l.code_va + (uint32_t)y->l.code_len;
	err = lower_run(&y->l, insns, pw->n_insns, next);
	if (err)
		return diag_set(y->d, err, "0x%x (%s+0x%x): the plan's window has no stub", va, sec->name,
				pw->offset);
	w->stub_len = y->l.code_va + (uint32_t)y->l.code_len - w->stub;
	for (unsigned i = 0; i < pw->n_insns; i++) {
		struct manifest_site *s = insns[i].site == MANIFEST_NONE ? NULL : &o->m.sites[insns[i].site];

		if (s && s->window != MANIFEST_NONE) {
			s->pad = insns[i].pad;
			s->resume = insns[i].resume;
		}
	}
	patch_window_fill(w, place(o, va), w->hop == MANIFEST_NONE ? NULL : place(o, w->hop));
	return 0;
}

/* --- sections ---------------------------------------------------------------------------------------------- */

/* A sensitive instruction outside windows: int3, unless it traps by itself or may stay. */
static void lay_site(struct lay *y, uint32_t va, const struct insn *insn)
{
	struct module_laid *o = y->out;

	if (policy_may_not_trap(insn->op)) {
		patch_window_fill(add_window(o, va, insn->len, TACTIC_BREAKPOINT), place(o, va), NULL);
		add_site(o, va, insn, TACTIC_BREAKPOINT)->reason = 1;
	} else {
		struct manifest_site *s = add_site(o, va, insn, TACTIC_TRAP);

		s->window = MANIFEST_NONE;
		s->reason = s->tactic == TACTIC_TRAP;
	}
}

static int lay_section(struct lay *y, const struct module_plan_read *p, const struct module_plan_section *s,
		       const struct image_section *sec)
{
	struct module_plan_header h = header_of(p);
	const struct module_plan_window *w = (const void *)(p->bytes + module_plan_windows_at(&h));
	uint32_t k = s->window, end = s->window + s->n_windows;
	int err = 0;

	for (uint32_t at = 0; !err && at < s->size;) {
		struct insn insn;

		if (k < end && at == w[k].offset) {
			err = lay_window(y, sec, &w[k]);
			at += w[k++].len;
			continue;
		}
		if (is_start(p, s, at) &&
		    insn_decode(&insn, sec->data + at, s->size - at, sec->va + at, 32) > 0 &&
		    insn_is_sensitive(&insn))
			lay_site(y, (uint32_t)sec->va + at, &insn);
		at++;
	}
	return err;
}

static void note_starts(struct module_laid *o, const struct module_plan_read *p,
			const struct module_plan_section *s, uint32_t va)
{
	for (uint32_t at = 0; at < s->size; at++)
		o->starts[va - (uint32_t)image_module_base(32) + at] = is_start(p, s, at);
}

/* What is left of the section without its obscure ranges. */
static void add_verified(struct manifest *m, const struct module_plan_read *p,
			 const struct module_plan_section *s, uint32_t va)
{
	struct module_plan_header h = header_of(p);
	const struct module_plan_obscure *o = (const void *)(p->bytes + module_plan_obscure_at(&h));
	uint32_t at = 0;

	for (uint32_t i = s->obscure; i < s->obscure + s->n_obscure; i++) {
		if (o[i].offset > at)
			m->verified[m->h.n_verified++] = (struct manifest_range){va + at, va + o[i].offset};
		at = o[i].end > at ? o[i].end : at;
	}
	if (at < s->size)
		m->verified[m->h.n_verified++] = (struct manifest_range){va + at, va + s->size};
}

/* The section of the image at va or behind, that a plan is about: sections come in the order of their addresses. */
static const struct image_section *next_section(const struct module_plan_read plans[2], uint64_t from,
						unsigned *plan, uint32_t *index)
{
	const struct image_section *best = NULL;

	for (unsigned p = 0; p < 2; p++) {
		struct module_plan_header h = header_of(&plans[p]);

		for (uint32_t i = 0; i < h.n_sections; i++) {
			const struct image_section *sec = plans[p].sections[i];

			if (sec->va < from || (best && sec->va >= best->va))
				continue;
			best = sec;
			*plan = p;
			*index = i;
		}
	}
	return best;
}

int module_lay(struct module_laid *l, const struct image *img, const struct module_plan_read plans[2],
	       struct diag *d)
{
	struct lay y = {.out = l, .d = d};
	const struct image_section *sec;
	unsigned plan = 0;
	uint32_t index = 0;
	int err;

	*l = (struct module_laid){.img = img, .m.h.hole_base = ABI_HOLE_BASE, .m.h.hole_size = ABI_HOLE_SIZE};
	err = make_room(&y, img, plans);
	for (uint64_t from = 0; !err && (sec = next_section(plans, from, &plan, &index));
	     from = sec->va + 1) {
		const struct module_plan_section *s = &sections_of(&plans[plan])[index];

		err = lay_section(&y, &plans[plan], s, sec);
		if (!err)
			note_starts(l, &plans[plan], s, (uint32_t)sec->va);
		if (!err)
			add_verified(&l->m, &plans[plan], s, (uint32_t)sec->va);
	}
	l->m.h.n_points = (uint32_t)y.l.n_points;
	l->m.h.stubs_size = (uint32_t)(y.l.code + y.l.code_len - l->stubs);
	if (err) {
		module_laid_free(l);
		return diag_set(d, err, "%s: %s", img->path, strerror(-err));
	}
	return 0;
}

void module_laid_free(struct module_laid *l)
{
	manifest_free(&l->m);
	free(l->image);
	free(l->starts);
	free(l->stubs);
	*l = (struct module_laid){0};
}
