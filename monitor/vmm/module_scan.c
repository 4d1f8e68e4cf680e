// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The instructions of a page that comes without a plan: a module that nobody patched, as its loader left it. No
 * relocations are at hand, and at most byte offsets some sensitive instruction can be read, so it does not do to look at
 * all of them. What is known instead:
 *
 * - compilers lay instructions one behind the other, so a sweep from a true start finds them all (docs/patching.md has
 *   the figures);
 * - true starts are at hand: a module's data holds the address of each of its functions, in its symbol table (Linux
 *   keeps it for kallsyms) and wherever a pointer to one was relocated: *anchors*. And translated code has run here;
 * - so the sweep starts a few anchors before the page, and every anchor, every direct branch from a page that runs
 *   directly, and every place where control has ever arrived must be a start of it. Bytes that do not decode, int3
 *   (it hides the start of another instruction, when it is a kprobe's) and zeros that a compiler would not emit end it.
 *
 * Nothing is written where instructions have only been swept: what has run, and what that alone leads to, is *proven*.
 */
#include "hypercalls/policy.h"
#include "hypercalls/window.h"
#include "monitor/vmm/clock.h"
#include "monitor/vmm/code.h"
#include "monitor/vmm/mem.h"
#include "monitor/vmm/module_state.h"
#include "monitor/vmm/translate.h"

#define ANCHORS 4 /* before the page that the sweep begins at, if there are so many */

struct sweep {
	struct vm *vm;
	struct module_work *w;
	uint32_t first, end; /* mapped pages around the page */
	uint32_t at;
	bool ended; /* what stands before it need not go on here */
};

/* --- anchors -------------------------------------------------------------------------------------------------- */

static void note_word(struct module_work *w, uint32_t word)
{
	if (word - w->linear < PAGE_SIZE)
		bit_set(w->anchor, word - w->linear);
	else
		bit_set(w->before, w->linear - 1 - word);
}

static void note_words(struct sweep *s, const uint8_t *page)
{
	const uint32_t *word = (const void *)page;
	uint32_t linear = s->w->linear, before = linear - s->first, reach = before < MODULE_REACH ? before : MODULE_REACH;

	for (uint32_t i = 0; page && i < PAGE_SIZE / sizeof(*word); i++)
		if (word[i] - (linear - reach) < reach + PAGE_SIZE)
			note_word(s->w, word[i]);
}

static bool is_anchor(const struct module_work *w, uint32_t at)
{
	uint32_t offset = at - w->linear, back = w->linear - 1 - at;

	return offset < PAGE_SIZE ? bit_at(w->anchor, offset)
				  : back < MODULE_REACH && bit_at(w->before, back);
}

static bool code_met(const struct vm *vm, const uint8_t *page)
{
	return page && vm->vmm->code.ram[((uintptr_t)page - RAM_BASE) >> PAGE_SHIFT] & (RAM_TRANSLATED | RAM_MODULE);
}

/*
 * Code holds no pointers: what looks like one is instructions (74 02 89 d0, say). Code is in one piece; all pages from
 * the first to the last that is known to hold some.
 */
static void find_code(const struct sweep *s, uint32_t *first, uint32_t *last)
{
	*first = *last = s->w->linear;
	for (uint32_t at = s->first; at != s->end; at += PAGE_SIZE) {
		if (!code_met(s->vm, module_frame(s->vm, at)))
			continue;
		*first = at < *first ? at : *first;
		*last = at > *last ? at : *last;
	}
}

/* Where to begin: false if nothing tells. */
static bool find_anchors(struct sweep *s)
{
	uint32_t linear = s->w->linear, code, last;
	uint64_t began = clock_tsc();
	unsigned found = 0;

	module_stretch(s->vm, linear, &s->first, &s->end);
	find_code(s, &code, &last);
	for (uint32_t at = s->first; at != s->end; at += PAGE_SIZE)
		if (at < code || at > last)
			note_words(s, module_frame(s->vm, at));
	module_rest(s->vm->vmm->modules, MODULE_SEARCH_CODE, linear, s->first, s->end, clock_tsc() - began);
	s->at = linear;
	for (uint32_t back = 0; back < MODULE_REACH && found < ANCHORS; back++)
		if (bit_at(s->w->before, back)) {
			s->at = linear - 1 - back;
			found++;
		}
	return found || bit_at(s->w->anchor, 0);
}

/* --- the sweep ------------------------------------------------------------------------------------------------ */

/* The guest's bytes at linear address `at`, INSN_MAX of them at least unless the memory ends; how many in *n. */
static const uint8_t *fetch(struct sweep *s, uint32_t at, uint32_t *n)
{
	struct module_work *w = s->w;
	uint32_t page = at & PAGE_MASK, size = sizeof(w->other);

	if (page == w->linear) {
		*n = w->n_bytes - (at - page);
		return w->bytes + (at - page);
	}
	if (w->other_at != page) { /* the page behind it is mapped: it leads to w->linear */
		module_read(s->vm, page, w->other, size);
		module_original(s->vm, page, w->other, size);
		w->other_at = page;
	}
	*n = size - (at - page);
	return w->other + (at - page);
}

/* How many bytes of padding stand at s->at, up to an anchor or the end of the page; 0 if that is something else. */
static uint32_t padding(struct sweep *s)
{
	uint32_t n, at = s->at, end = s->w->linear + PAGE_SIZE;
	uint8_t fill = *fetch(s, at, &n);

	if (!s->ended || (fill && fill != INT3))
		return 0;
	do
		at++;
	while (at != end && !is_anchor(s->w, at) && *fetch(s, at, &n) == fill);
	return at == end || is_anchor(s->w, at) ? at - s->at : 0;
}

static bool note_branch(struct sweep *s, uint32_t target)
{
	struct module_work *w = s->w;

	if (target - w->linear < PAGE_SIZE) {
		bit_set(w->arrival, target - w->linear);
		return true;
	}
	if (target - s->first >= s->end - s->first)
		return !code_in_window(s->vm, target);
	if (w->n_branches == MODULE_BRANCHES)
		return false;
	w->branch[w->n_branches++] = target;
	return true;
}

/* An address of this page that an instruction holds: a function's, for all that is known. */
static void note_pointer(struct module_work *w, int64_t value, unsigned len)
{
	uint32_t offset = (uint32_t)value - w->linear;

	if (len == 4 && offset < PAGE_SIZE)
		bit_set(w->arrival, offset);
}

/*
 * Linux compares its own code with what it expects before it rewrites it (jump labels, ftrace, static calls): windows
 * keep away from what may be such a place, a jump, a call or a no-op, and from lock prefixes.
 */
static bool may_be_rewritten(const struct insn *i)
{
	bool self =
	    i->has_modrm &&
	    ((i->map == 0 && i->opcode == 0x89 && i->mod == 3 && i->reg == i->rm) ||
	     (i->map == 0 && i->opcode == 0x8d && !i->disp && (i->base == i->reg || i->index == i->reg)));

	return self || i->flow == FLOW_JMP || window_is_call(i) || (i->prefixes & INSN_LOCK) ||
	       (i->map == 0 && i->opcode == 0x90) || (i->map == 1 && i->opcode == 0x1f);
}

static void record(struct module_work *w, uint32_t offset, const struct insn *i)
{
	uint32_t to = (uint32_t)i->target - w->linear;
	bool site = policy_is_replaced(i->op);

	w->insn[offset] = (struct module_insn){
	    .to = i->target && to < PAGE_SIZE ? (uint16_t)to : MODULE_NOWHERE,
	    .len = i->len,
	    .flags = (uint8_t)((module_falls_through(i) && !window_is_call(i) ? MODULE_FALLS : 0) |
			       (site ? MODULE_SITE_AT : 0) |
			       (policy_may_not_trap(i->op) ? MODULE_SILENT : 0) |
			       (window_is_read_by_handlers(i) || may_be_rewritten(i) ? 0 : MODULE_HOLDS)),
	};
	bit_set(w->start, offset);
	for (uint32_t k = offset; k < offset + i->len && k < PAGE_SIZE; k++)
		bit_set(w->inside, k);
}

static enum module_scan step(struct sweep *s)
{
	uint32_t n, offset = s->at - s->w->linear;
	const uint8_t *bytes = fetch(s, s->at, &n);
	struct insn insn;

	if (insn_decode(&insn, bytes, n < INSN_MAX ? n : INSN_MAX, s->at, 32) <= 0 || window_is_int3(&insn) ||
	    (!bytes[0] && (s->ended || !bytes[1])))
		return SCAN_UNCLEAR;
	for (unsigned i = 1; i < insn.len; i++)
		if (is_anchor(s->w, s->at + i))
			return SCAN_CONTRADICTED;
	note_pointer(s->w, insn.imm, insn.imm_len);
	note_pointer(s->w, insn.disp, insn.disp_len);
	if (offset < PAGE_SIZE)
		record(s->w, offset, &insn);
	if (insn.target && (offset < PAGE_SIZE || (uint32_t)insn.target - s->w->linear < PAGE_SIZE) &&
	    !note_branch(s, (uint32_t)insn.target))
		return SCAN_CONTRADICTED;
	s->ended = !module_falls_through(&insn) || window_is_call(&insn);
	s->at += insn.len;
	return SCAN_WHOLE;
}

static enum module_scan sweep_page(struct sweep *s)
{
	enum module_scan r = SCAN_WHOLE;

	while (r == SCAN_WHOLE && (int32_t)(s->at - s->w->linear) < (int32_t)PAGE_SIZE) {
		uint32_t skip = padding(s);

		s->at += skip;
		if (!skip)
			r = step(s);
	}
	return r;
}

/* --- what else is known --------------------------------------------------------------------------------------- */

/* Branches between this page and others that run directly: both see a start there. */
static bool branches_agree(struct sweep *s)
{
	struct modules *m = s->vm->vmm->modules;
	struct module_work *w = s->w;

	for (uint32_t i = 0; i < m->n_pages; i++) {
		struct module_page *p = &m->page[i];

		if (!p->used || p->linear - s->first >= s->end - s->first)
			continue;
		for (uint32_t n = 0; n < p->n_branches; n++)
			if (p->branch[n] - w->linear < PAGE_SIZE)
				bit_set(w->arrival, p->branch[n] - w->linear);
		for (uint32_t n = 0; n < w->n_branches && p->used; n++) {
			uint32_t offset = w->branch[n] - p->linear;

			if (offset >= PAGE_SIZE)
				continue;
			if (!bit_at(p->start, offset))
				return false;
			if (bit_at(p->interior, offset))
				module_withdraw(s->vm, p); /* its windows were laid without knowing */
		}
	}
	return true;
}

static bool all_are_starts(const struct module_work *w, const uint8_t *map)
{
	for (uint32_t i = 0; i < PAGE_BITS; i++)
		if (map[i] & ~w->start[i])
			return false;
	return true;
}

static bool prove(struct module_work *w, uint32_t offset)
{
	if (offset >= PAGE_SIZE || !bit_at(w->start, offset) || bit_at(w->proven, offset))
		return false;
	bit_set(w->proven, offset);
	return true;
}

static void prove_what_follows(struct module_work *w)
{
	bool again = true;

	while (again) {
		again = false;
		for (uint32_t at = 0; at < PAGE_SIZE; at++) {
			const struct module_insn *i = &w->insn[at];

			if (!bit_at(w->proven, at))
				continue;
			if (i->flags & MODULE_FALLS)
				prove(w, at + i->len);
			again |= prove(w, i->to) && i->to < at;
		}
	}
}

static bool silent_ones_are_proven(const struct module_work *w)
{
	for (uint32_t at = 0; at < PAGE_SIZE; at++)
		if ((w->insn[at].flags & MODULE_SILENT) && !bit_at(w->proven, at))
			return false;
	return true;
}

enum module_scan module_scan(struct vm *vm, const struct module_page *p)
{
	struct module_work *w = &vm->vmm->modules->work;
	struct sweep s = {.vm = vm, .w = w};
	enum module_scan r;

	mem_copy(w->entered, p->entered, sizeof(w->entered));
	translate_note_entries(vm, w->linear, p->pfn, w->entered);
	if (!find_anchors(&s))
		return SCAN_NO_ANCHOR;
	r = sweep_page(&s);
	if (r != SCAN_WHOLE)
		return r;
	if (!branches_agree(&s) || !all_are_starts(w, w->anchor) || !all_are_starts(w, w->arrival) ||
	    !all_are_starts(w, w->entered))
		return SCAN_CONTRADICTED;
	for (uint32_t i = 0; i < PAGE_BITS; i++) {
		w->arrival[i] |= w->anchor[i] | w->entered[i];
		w->proven[i] = w->entered[i] | (p->ran[i] & w->start[i]);
	}
	prove_what_follows(w);
	return silent_ones_are_proven(w) ? SCAN_WHOLE : SCAN_UNPROVEN;
}
