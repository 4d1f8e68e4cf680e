// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 1.6: What is code
 *
 * Control-flow recovery: recursive descent from everything that tables and branches name, then a linear sweep
 * over what descent did not reach.
 *
 * Descent alone misses code behind calls that do not return and code entered through computed addresses; a
 * sweep alone mistakes data for code. So a swept gap counts only if it is consistent: decoded from its start,
 * it must end exactly where known code (or the section) goes on. What is neither is left alone and counted.
 *
 * Padding is told apart from code because it looks like code: compilers fill with no-ops and linkers with
 * int3 (one byte, sensitive by the table), and windows may use padding that nothing reaches.
 */
#include "patcher/cfg_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define INT3 0xcc
#define PADDING_MAX 128 /* of one gap, as far as is looked back */

struct builder {
	struct cfg *cfg;
	uint64_t *work; /* stack of addresses to descend from */
	size_t n_work, cap_work, cap_sites, cap_branches;
	enum cfg_confidence confidence; /* of what is found now */
	bool nomem;
};

bool cfg_grow(void **array, size_t *cap, size_t used, size_t item)
{
	size_t want = *cap ? *cap * 2 : 4096;
	void *p;

	if (used < *cap)
		return true;
	p = reallocarray(*array, want, item);
	if (!p)
		return false;
	*array = p;
	*cap = want;
	return true;
}

static void push_work(struct builder *b, uint64_t va)
{
	void *p = b->work;

	if (!cfg_grow(&p, &b->cap_work, b->n_work, sizeof(*b->work))) {
		b->nomem = true;
		return;
	}
	b->work = p;
	b->work[b->n_work++] = va;
}

static void add_site(struct builder *b, const struct cfg_section *cs, uint64_t va, const struct insn *insn,
		     enum cfg_origin origin)
{
	struct cfg *cfg = b->cfg;
	void *p = cfg->sites;

	if (!cfg_grow(&p, &b->cap_sites, cfg->n_sites, sizeof(*cfg->sites))) {
		b->nomem = true;
		return;
	}
	cfg->sites = p;
	cfg->sites[cfg->n_sites++] = (struct cfg_site){.va = va,
						       .op = insn->op,
						       .len = insn->len,
						       .origin = origin,
						       .confidence = b->confidence,
						       .section = (uint32_t)(cs - cfg->sections)};
}

static struct cfg_section *section_bisect(const struct cfg *cfg, uint64_t va)
{
	size_t lo = 0, hi = cfg->n_sections;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		struct cfg_section *cs = &cfg->sections[mid];

		if (va < cs->sec->va)
			hi = mid;
		else if (va - cs->sec->va < cs->sec->size)
			return cs->marks ? cs : NULL;
		else
			lo = mid + 1;
	}
	return NULL;
}

struct cfg_section *cfg_section_at(const struct cfg *cfg, uint64_t va)
{
	if (cfg->img->sections_ordered)
		return section_bisect(cfg, va);
	for (size_t i = 0; i < cfg->n_sections; i++) {
		struct cfg_section *cs = &cfg->sections[i];

		if (cs->marks && va - cs->sec->va < cs->sec->size)
			return cs;
	}
	return NULL;
}

uint8_t cfg_marks(const struct cfg *cfg, uint64_t va)
{
	const struct cfg_section *cs = cfg_section_at(cfg, va);

	return cs ? cs->marks[va - cs->sec->va] : 0;
}

/* Some addresses stand for an instruction, but nothing jumps to them. */
static uint8_t arrival_mark(uint8_t source)
{
	switch (source) {
	case TARGET_EXTABLE_SITE:
	case TARGET_JUMP_LABEL_SITE:
	case TARGET_STATIC_CALL_SITE:
	case TARGET_PARAVIRT:
	case TARGET_SMP_LOCK:
	case TARGET_BUG:
	case TARGET_FTRACE_SITE:
		return 0;
	case TARGET_EXTABLE:
		return CFG_FIXUP;
	default:
		return CFG_TARGET;
	}
}

bool cfg_has_other_arrival(const struct cfg *cfg, uint64_t va)
{
	const struct targets *t = cfg->targets;
	size_t lo = 0, hi = t->n_targets;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (t->targets[mid].va < va)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < t->n_targets && t->targets[lo].va == va; lo++) {
		if (arrival_mark(t->targets[lo].source) == CFG_TARGET)
			return true;
	}
	return false;
}

static int decode_at(const struct cfg *cfg, const struct cfg_section *cs, uint64_t off, struct insn *insn)
{
	return insn_decode(insn, cs->sec->data + off, cs->sec->size - off, cs->sec->va + off, cfg->width);
}

int cfg_decode(const struct cfg *cfg, uint64_t va, struct insn *insn)
{
	const struct cfg_section *cs = cfg_section_at(cfg, va);

	return cs ? decode_at(cfg, cs, va - cs->sec->va, insn) : -ENODATA;
}

static int site_compare(const void *a, const void *b)
{
	const struct cfg_site *x = a, *y = b;

	return x->va < y->va ? -1 : x->va > y->va;
}

const struct cfg_site *cfg_site_at(const struct cfg *cfg, uint64_t va)
{
	struct cfg_site key = {.va = va};

	return cfg->n_sites ? bsearch(&key, cfg->sites, cfg->n_sites, sizeof(key), site_compare) : NULL;
}

const char *cfg_origin_name(unsigned origin)
{
	static const char *const names[] = {"descent", "sweep", "replacement"};

	return origin < sizeof(names) / sizeof(names[0]) ? names[origin] : "?";
}

const char *cfg_confidence_name(unsigned confidence)
{
	static const char *const names[] = {"table", "symbol", "run", "sweep", "replacement"};

	return confidence < sizeof(names) / sizeof(names[0]) ? names[confidence] : "?";
}

/* Mark one instruction; note where it disagrees with one marked before. */
static void mark_insn(struct builder *b, struct cfg_section *cs, uint64_t off, const struct insn *insn)
{
	uint8_t *m = cs->marks + off;
	bool overlap = m[0] & CFG_CODE; /* inside another instruction */

	for (unsigned i = 0; i < insn->len; i++) {
		overlap |= i && m[i] & CFG_START;
		m[i] = (uint8_t)((m[i] & ~CFG_PAD) | CFG_CODE);
	}
	m[0] |= CFG_START;
	for (unsigned i = 0; overlap && i < insn->len; i++)
		m[i] |= CFG_OVERLAP;
	b->cfg->n_insns++;
}

static void add_branch(struct builder *b, uint64_t from, uint64_t to)
{
	struct cfg *cfg = b->cfg;
	void *p = cfg->branches;

	if (!cfg_grow(&p, &b->cap_branches, cfg->n_branches, sizeof(*cfg->branches))) {
		b->nomem = true;
		return;
	}
	cfg->branches = p;
	cfg->branches[cfg->n_branches++] = (struct cfg_branch){(uint32_t)from, (uint32_t)to};
}

static void note_branch(struct builder *b, uint64_t va, const struct insn *insn)
{
	struct cfg_section *cs;

	if (insn->flow != FLOW_JCC && insn->flow != FLOW_LOOP && insn->flow != FLOW_JMP &&
	    insn->flow != FLOW_CALL)
		return;
	cs = cfg_section_at(b->cfg, insn->target);
	if (!cs)
		return;
	cs->marks[insn->target - cs->sec->va] |= CFG_TARGET;
	if (b->cfg->width == 32)
		add_branch(b, va, insn->target);
	if (!(cs->marks[insn->target - cs->sec->va] & CFG_START))
		push_work(b, insn->target);
}

static bool falls_through(const struct insn *insn)
{
	switch (insn->flow) {
	case FLOW_JMP:
	case FLOW_JMP_IND:
	case FLOW_RET:
	case FLOW_FAR:
	case FLOW_STOP: /* the sweep takes what stands behind a ud2 */
		return false;
	default:
		return true;
	}
}

/* int3 where code ends: behind a call that does not return, or doubled. A lone one elsewhere is meant. */
static bool is_fill(const struct cfg_section *cs, uint64_t off, const struct insn *before)
{
	const uint8_t *p = cs->sec->data + off;

	if (p[0] != INT3)
		return false;
	return !before || before->flow == FLOW_CALL || before->flow == FLOW_CALL_IND ||
	       off + 1 == cs->sec->size || p[1] == INT3;
}

static void descend(struct builder *b, uint64_t va)
{
	struct cfg_section *cs = cfg_section_at(b->cfg, va);
	struct insn insn, *before = NULL;

	for (uint64_t off = cs ? va - cs->sec->va : 0; cs && off < cs->sec->size; off += insn.len) {
		struct insn next;

		if (cs->marks[off] & CFG_START || is_fill(cs, off, before) ||
		    decode_at(b->cfg, cs, off, &next) < 0)
			break;
		insn = next;
		before = &insn;
		mark_insn(b, cs, off, &insn);
		if (insn_is_sensitive(&insn))
			add_site(b, cs, cs->sec->va + off, &insn, ORIGIN_DESCENT);
		note_branch(b, cs->sec->va + off, &insn);
		if (!falls_through(&insn))
			break;
	}
}

static void drain(struct builder *b)
{
	while (b->n_work && !b->nomem)
		descend(b, b->work[--b->n_work]);
}

/* The no-ops that assemblers pad with: nop, xchg %ax,%ax, nopl, and lea 0(%esi),%esi and its kin. */
static bool is_nop(const struct insn *insn)
{
	if (insn->map == 0 && insn->opcode == 0x90 && !(insn->prefixes & INSN_REP))
		return true;
	if (insn->map == 1 && insn->opcode == 0x1f)
		return true;
	if (insn->width == 64 || insn->map != 0 || insn->opcode != 0x8d || insn->disp || !insn->has_mem)
		return false;
	return insn->reg == insn->base && insn->index == REG_NONE;
}

/*
 * Is off inside one of the no-ops that fill the gap before it? A relocated word may name any byte at all:
 * `array - 0x3000` is the base of an indexed load.
 */
static bool inside_padding(const struct builder *b, const struct cfg_section *cs, uint64_t off)
{
	uint64_t at = off;

	while (at && off - at < PADDING_MAX && !(cs->marks[at - 1] & CFG_CODE))
		at--;
	while (at < off) {
		struct insn insn = {.len = 1};

		if (cs->sec->data[at] != INT3 && (decode_at(b->cfg, cs, at, &insn) < 0 || !is_nop(&insn)))
			return false;
		at += insn.len;
	}
	return at > off;
}

/*
 * In this order: what surely is code; symbols and words that look like addresses, which may name data or the end of
 * something; and what a run executed, though nothing of the former leads there. Those are instructions, so where an
 * earlier decoding has them inside another one, both stand and the bytes are marked as disputed.
 */
static enum cfg_confidence confidence_of(uint8_t source)
{
	if (source == TARGET_RUN)
		return CONFIDENCE_RUN;
	return source == TARGET_SYMBOL || source == TARGET_RELOC ? CONFIDENCE_SYMBOL : CONFIDENCE_TABLE;
}

static void seed(struct builder *b, const struct targets *t, enum cfg_confidence round)
{
	b->confidence = round;
	for (size_t i = 0; i < t->n_targets && !b->nomem; i++) {
		struct cfg_section *cs;
		uint8_t *m;

		if (confidence_of(t->targets[i].source) != round)
			continue;
		cs = cfg_section_at(b->cfg, t->targets[i].va);
		if (!cs)
			continue;
		m = &cs->marks[t->targets[i].va - cs->sec->va];
		*m |= arrival_mark(t->targets[i].source);
		if (round == CONFIDENCE_SYMBOL && *m & CFG_CODE)
			continue; /* inside a known instruction: avoid it, but do not believe it */
		if (round == CONFIDENCE_SYMBOL && inside_padding(b, cs, t->targets[i].va - cs->sec->va))
			continue;
		push_work(b, t->targets[i].va);
		if (round != CONFIDENCE_TABLE)
			drain(b);
	}
	drain(b);
}

void cfg_mark_rewritten(struct cfg *cfg, const struct rewritten *ranges, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (uint64_t va = ranges[i].start; va < ranges[i].end; va++) {
			struct cfg_section *cs = cfg_section_at(cfg, va);

			if (!cs)
				break;
			cs->marks[va - cs->sec->va] |= CFG_REWRITTEN;
		}
	}
}

/* Mark leading padding of the gap [off, end); where it ends. */
static uint64_t sweep_padding(struct builder *b, struct cfg_section *cs, uint64_t off, uint64_t end)
{
	while (off < end) {
		struct insn insn;
		unsigned len = 1;

		if (cs->sec->data[off] != INT3) {
			if (decode_at(b->cfg, cs, off, &insn) < 0 || !is_nop(&insn) || off + insn.len > end)
				break;
			len = insn.len;
		}
		for (unsigned i = 0; i < len; i++)
			cs->marks[off + i] |= CFG_PAD;
		off += len;
	}
	return off;
}

/* Zeros up to the end of the gap are fill too, but zeros before code are `add %al,(%eax)`. */
static bool zero_fill(const struct cfg_section *cs, uint64_t off, uint64_t end)
{
	for (uint64_t i = off; i < end; i++) {
		if (cs->sec->data[i])
			return false;
	}
	return true;
}

static bool sweep_is_consistent(const struct builder *b, const struct cfg_section *cs, uint64_t off,
				uint64_t end)
{
	struct insn insn;

	for (; off < end; off += insn.len) {
		if (cs->sec->data[off] == INT3)
			insn.len = 1;
		else if (decode_at(b->cfg, cs, off, &insn) < 0)
			return false;
	}
	return off == end;
}

static void sweep_mark(struct builder *b, struct cfg_section *cs, uint64_t off, uint64_t end)
{
	struct insn insn = {0};

	for (; off < end; off += insn.len) {
		if (cs->marks[off] & CFG_START) /* a branch of this very gap led here meanwhile */
			return;
		if (cs->sec->data[off] == INT3) {
			cs->marks[off] |= CFG_PAD;
			insn.len = 1;
			continue;
		}
		decode_at(b->cfg, cs, off, &insn);
		mark_insn(b, cs, off, &insn);
		b->cfg->n_swept++;
		if (insn_is_sensitive(&insn))
			add_site(b, cs, cs->sec->va + off, &insn, ORIGIN_SWEEP);
		note_branch(b, cs->sec->va + off, &insn);
	}
}

static void sweep_gap(struct builder *b, struct cfg_section *cs, uint64_t off, uint64_t end)
{
	off = sweep_padding(b, cs, off, end);
	if (off == end || zero_fill(cs, off, end)) {
		for (; off < end; off++)
			cs->marks[off] |= CFG_PAD;
		return;
	}
	if (!sweep_is_consistent(b, cs, off, end))
		return;
	sweep_mark(b, cs, off, end);
	drain(b);
}

static void sweep_section(struct builder *b, struct cfg_section *cs)
{
	uint64_t off = 0, end;

	while (off < cs->sec->size && !b->nomem) {
		if (cs->marks[off] & (CFG_CODE | CFG_PAD)) {
			off++;
			continue;
		}
		for (end = off; end < cs->sec->size && !(cs->marks[end] & CFG_CODE);)
			end++;
		sweep_gap(b, cs, off, end);
		off = end;
	}
}

/* Replacements are stand-alone runs of code copied over their site: decode them one after the other. */
static void scan_replacements(struct builder *b, const struct cfg_section *cs)
{
	for (uint64_t off = 0; off < cs->sec->size && !b->nomem;) {
		struct insn insn;

		if (decode_at(b->cfg, cs, off, &insn) < 0) {
			off++;
			continue;
		}
		if (insn_is_sensitive(&insn) && cs->sec->data[off] != INT3)
			add_site(b, cs, cs->sec->va + off, &insn, ORIGIN_REPLACEMENT);
		off += insn.len;
	}
}

static int section_compare(const void *a, const void *b)
{
	const struct cfg_section *x = a, *y = b;

	return x->sec->va < y->sec->va ? -1 : x->sec->va > y->sec->va;
}

static int sections_collect(struct cfg *cfg, const struct image *img, struct diag *d)
{
	cfg->sections = calloc(img->n_sections ? img->n_sections : 1, sizeof(*cfg->sections));
	if (!cfg->sections)
		return diag_set(d, -ENOMEM, "%s: out of memory", img->path);
	for (size_t i = 0; i < img->n_sections; i++) {
		const struct image_section *sec = &img->sections[i];
		struct cfg_section *cs = &cfg->sections[cfg->n_sections];

		if (!sec->exec || !sec->alloc || !sec->data || !sec->size)
			continue;
		cs->sec = sec;
		cfg->n_sections++;
		if (strstr(sec->name, "altinstr_replacement"))
			continue;
		cs->marks = calloc(1, sec->size);
		if (!cs->marks)
			return diag_set(d, -ENOMEM, "%s: out of memory", img->path);
	}
	if (!cfg->n_sections)
		return diag_set(d, -EINVAL, "%s: no executable section: not a kernel, or a damaged one",
				img->path);
	qsort(cfg->sections, cfg->n_sections, sizeof(*cfg->sections), section_compare);
	return 0;
}

/* What the descent has left. */
static int sweep(struct builder *b)
{
	struct cfg *cfg = b->cfg;
	struct cfg_ranges gaps = {0};
	int err = cfg_gaps_find(cfg, &gaps);

	for (size_t i = 0; !err && i < cfg->n_sections; i++) {
		bool live = cfg->sections[i].marks;

		b->confidence = live ? CONFIDENCE_SWEEP : CONFIDENCE_REPLACEMENT;
		if (live)
			sweep_section(b, &cfg->sections[i]);
		else
			scan_replacements(b, &cfg->sections[i]);
	}
	if (!err)
		err = cfg_unreached_find(cfg, &gaps);
	free(gaps.ranges);
	return err;
}

int cfg_build(struct cfg *cfg, const struct image *img, const struct targets *targets, struct diag *d)
{
	struct builder b = {.cfg = cfg};
	int err;

	*cfg = (struct cfg){.img = img, .targets = targets, .width = img->width};
	err = sections_collect(cfg, img, d);
	if (err)
		goto out;
	cfg_mark_rewritten(cfg, targets->rewritten, targets->n_rewritten);
	seed(&b, targets, CONFIDENCE_TABLE);
	seed(&b, targets, CONFIDENCE_SYMBOL);
	seed(&b, targets, CONFIDENCE_RUN);
	if (!b.nomem && sweep(&b))
		b.nomem = true;
	if (b.nomem)
		err = diag_set(d, -ENOMEM, "%s: out of memory", img->path);
	else if (cfg->n_sites)
		qsort(cfg->sites, cfg->n_sites, sizeof(*cfg->sites), site_compare);
out:
	free(b.work);
	if (err)
		cfg_free(cfg);
	return err;
}

void cfg_free(struct cfg *cfg)
{
	for (size_t i = 0; i < cfg->n_sections; i++)
		free(cfg->sections[i].marks);
	free(cfg->sections);
	free(cfg->sites);
	free(cfg->branches);
	free(cfg->unreached);
	*cfg = (struct cfg){0};
}
