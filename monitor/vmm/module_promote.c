// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 7.4: Promoting a page
 *
 * Promoting a page of a module. Its plan (module_take.c), or a look at its own code (module_scan.c), offers instruction
 * starts and windows; the bytes are the guest's as they stand now, after its loader has relocated them and put
 * alternatives, jump labels and ftrace's no-ops in. So every instruction is decoded anew, from all starts and from
 * wherever those lead, and:
 *
 * - a window is laid where its bytes are still whole instructions at these starts, entirely on this page;
 * - any other instruction that may fail to trap is covered by int3, if no other reading of its bytes is live;
 * - the page is refused, and stays translated, where something does not decode, a branch leads into a window, or the plan
 *   says that bytes have no single reading.
 */
#include "hypercalls/lower_emit.h"
#include "hypercalls/policy.h"
#include "hypercalls/window.h"
#include "monitor/vmm/emitter.h"
#include "monitor/vmm/mem.h"
#include "monitor/vmm/module_state.h"

#define PASSES 8 /* over the page, until no branch has led to a new start */

static struct module_work *work_of(const struct vm *vm)
{
	return &vm->vmm->modules->work;
}

/* --- windows -------------------------------------------------------------------------------------------------- */

static bool free_bytes(const struct module_work *w, uint32_t at, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		if (bit_at(w->windows, at + i) || !bit_at(w->inside, at + i))
			return false;
	return true;
}

/* Are the window's instructions those that are known, and nothing else in it? */
static bool starts_agree(const struct module_work *w, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint32_t off = w->insns[i].va - w->linear;

		if (!bit_at(w->start, off))
			return false;
		for (uint32_t k = 1; k < w->insns[i].insn.len; k++)
			if (bit_at(w->start, off + k))
				return false;
	}
	return true;
}

static bool emit_window(struct vm *vm, unsigned n, uint32_t next, uint32_t *stub)
{
	struct modules *m = vm->vmm->modules;
	struct module_work *w = &m->work;
	struct lower l = emitter_for(vm, ABI_MODULES, vm->cfg.modules_off, ABI_MODULES_SIZE, MODULE_PADS_SIZE);
	uint32_t sites = m->n_sites;

	l.code_len = m->code_len;
	l.pads_len = m->pads_len;
	l.points = m->point;
	l.points_cap = MODULE_POINTS;
	l.n_points = m->n_points;
	for (unsigned i = 0; i < n; i++) {
		if (w->insns[i].site == MANIFEST_NONE)
			continue;
		if (sites == MODULE_SITES)
			return false;
		w->insns[i].site = MODULE_SITE + sites++;
	}
	*stub = l.code_va + m->code_len;
	if (lower_run(&l, w->insns, n, next))
		return false;
	for (unsigned i = 0; i < n; i++)
		if (w->insns[i].site != MANIFEST_NONE)
			m->site[w->insns[i].site - MODULE_SITE] = (struct module_site){
			    .va = w->insns[i].va, .resume = w->insns[i].resume, .insn = w->insns[i].insn};
	m->n_sites = sites;
	m->code_len = (uint32_t)l.code_len;
	m->pads_len = (uint32_t)l.pads_len;
	m->n_points = (uint32_t)l.n_points;
	return true;
}

void module_lay_window(struct vm *vm, struct module_span span)
{
	struct module_work *w = work_of(vm);
	int64_t at = span.at, hop = at + span.hop;
	uint32_t next, stub;

	/* One that ends with the page might leave the shadow of an STI on the next. */
	if (at + span.len >= PAGE_SIZE || !free_bytes(w, span.at, span.len) ||
	    (span.hop &&
	     (hop < 0 || hop + JUMP_LEN > PAGE_SIZE || !free_bytes(w, (uint32_t)hop, JUMP_LEN))) ||
	    w->n_windows == sizeof(w->window) / sizeof(*w->window))
		return;
	if (module_window_insns(w->bytes + at, span.len, w->linear + span.at, span.n_insns, w->insns,
				&next) ||
	    !starts_agree(w, span.n_insns) || !emit_window(vm, span.n_insns, next, &stub))
		return;
	for (uint32_t i = 0; i < span.len; i++)
		bit_set(w->windows, span.at + i);
	for (uint32_t i = 0; span.hop && i < JUMP_LEN; i++)
		bit_set(w->windows, (uint32_t)hop + i);
	w->stub[w->n_windows] = stub;
	w->window[w->n_windows++] = span;
}

/* --- everything else ------------------------------------------------------------------------------------------ */

bool module_falls_through(const struct insn *i)
{
	switch (i->flow) {
	case FLOW_JMP:
	case FLOW_JMP_IND:
	case FLOW_RET:
	case FLOW_FAR:
	case FLOW_STOP: /* where the guest steps over it, the plan has a start */
		return false;
	default:
		return !window_is_int3(i);
	}
}

/* Control arrives at offset `to` of the page: a start from now on. False if that is the middle of a window. */
static bool arrive(struct module_work *w, uint32_t to)
{
	if (bit_at(w->windows, to) && !bit_at(w->start, to))
		return false;
	if (bit_at(w->inside, to))
		bit_set(w->start, to);
	return true;
}

/* Only the first byte of a window is a way in. */
static bool into_window(const struct module_work *w, uint32_t to)
{
	for (uint32_t i = 0; i < w->n_windows; i++)
		if (to > w->window[i].at && to < (uint32_t)w->window[i].at + w->window[i].len)
			return true;
	return false;
}

static bool look_at(struct module_work *w, uint32_t at)
{
	struct insn insn;
	uint32_t target;
	int len = insn_decode(&insn, w->bytes + at, w->n_bytes - at < INSN_MAX ? w->n_bytes - at : INSN_MAX,
			      w->linear + at, 32);

	if (len <= 0)
		return false;
	for (int i = 0; i < len && at + i < PAGE_SIZE; i++)
		w->cover[at + i]++;
	w->crosses |= at + len > PAGE_SIZE;
	if (policy_may_not_trap(insn.op))
		w->length[at] = (uint8_t)len;
	target = (uint32_t)insn.target - w->linear;
	if (insn.target && target < PAGE_SIZE && (into_window(w, target) || !arrive(w, target)))
		return false;
	return !module_falls_through(&insn) || at + len >= PAGE_SIZE || arrive(w, at + (uint32_t)len);
}

static bool look_at_all(struct module_work *w)
{
	bool again = true;

	for (unsigned pass = 0; again; pass++) {
		again = false;
		if (pass == PASSES)
			return false;
		for (uint32_t at = 0; at < PAGE_SIZE; at++) {
			if (!bit_at(w->start, at) || bit_at(w->windows, at) || bit_at(w->done, at))
				continue;
			bit_set(w->done, at);
			again = true;
			if (!look_at(w, at))
				return false;
		}
	}
	return true;
}

/* Nothing else reads the bytes that int3 takes. */
static bool breakpoints_stand_alone(const struct module_work *w)
{
	for (uint32_t at = 0; at < PAGE_SIZE; at++)
		for (uint32_t i = 0; i < w->length[at] && at + i < PAGE_SIZE; i++)
			if (w->cover[at + i] != 1 || bit_at(w->windows, at + i))
				return false;
	return true;
}

/* --- carrying it out ------------------------------------------------------------------------------------------ */

static void put_jump(uint8_t *ram, uint32_t linear, uint32_t at, uint32_t to)
{
	ram[at] = 0xe9;
	put32(ram + at + 1, to - (linear + at + JUMP_LEN));
}

static void write_windows(const struct module_work *w, struct module_page *p, uint8_t *ram)
{
	for (uint32_t i = 0; i < w->n_windows; i++) {
		uint32_t at = w->window[i].at, jump = at + (uint32_t)(int32_t)w->window[i].hop;

		mem_set(ram + at, INT3, w->window[i].len);
		if (w->window[i].hop) {
			ram[at] = 0xeb;
			ram[at + 1] = (uint8_t)(w->window[i].hop - 2);
		}
		put_jump(ram, w->linear, jump, w->stub[i]);
		for (uint32_t k = 1; k < w->window[i].len; k++)
			bit_set(p->interior, at + k);
		for (uint32_t k = 1; w->window[i].hop && k < JUMP_LEN; k++)
			bit_set(p->interior, jump + k);
	}
}

static void carry_out(struct vm *vm, struct module_page *p, uint32_t first_point, uint8_t *ram)
{
	const struct modules *m = vm->vmm->modules;
	const struct module_work *w = &m->work;

	p->linear = w->linear;
	p->crosses = w->crosses;
	p->first_point = first_point;
	p->n_points = m->n_points - first_point;
	p->n_branches = w->n_branches;
	mem_copy(p->branch, w->branch, sizeof(p->branch));
	mem_copy(p->start, w->start, sizeof(p->start));
	mem_copy(p->entered, w->entered, sizeof(p->entered));
	mem_copy(p->ran, w->proven, sizeof(p->ran));
	mem_copy(p->bytes, ram, PAGE_SIZE);
	mem_set(p->interior, 0, sizeof(p->interior));
	mem_set(p->online, 0, sizeof(p->online));
	mem_set(p->shadow, 0, sizeof(p->shadow));
	write_windows(w, p, ram);
	for (uint32_t at = 0; at < PAGE_SIZE; at++) {
		if (!w->length[at])
			continue;
		mem_set(ram + at, INT3, at + w->length[at] > PAGE_SIZE ? PAGE_SIZE - at : w->length[at]);
		bit_set(p->online, at);
	}
	for (uint32_t i = first_point; i < m->n_points; i++) {
		uint32_t at = m->point[i].guest - w->linear;

		if (m->point[i].state == POINT_BOUNDARY && m->point[i].flags & POINT_SHADOW && at < PAGE_SIZE)
			bit_set(p->shadow, at);
	}
	vm->stats.module_windows += w->n_windows;
}

static void prepare(struct vm *vm, uint32_t linear, const uint8_t *ram)
{
	struct module_work *w = work_of(vm);

	mem_set(w, 0, sizeof(*w));
	w->linear = linear;
	mem_copy(w->bytes, ram, PAGE_SIZE);
	w->n_bytes =
	    PAGE_SIZE + (module_read(vm, linear + PAGE_SIZE, w->bytes + PAGE_SIZE, INSN_MAX) ? INSN_MAX : 0);
}

static bool scan(struct vm *vm, const struct module_page *p)
{
	enum module_scan why = module_scan(vm, p);

	vm->stats.module_scans[why]++;
	if (why == SCAN_WHOLE)
		module_span_sites(vm);
	return why == SCAN_WHOLE;
}

bool module_promote(struct vm *vm, struct module_page *p, uint32_t linear, uint8_t *ram, bool planned)
{
	struct modules *m = vm->vmm->modules;
	uint32_t code_len = m->code_len, pads_len = m->pads_len, n_points = m->n_points, n_sites = m->n_sites;

	prepare(vm, linear, ram);
	if ((planned ? module_take_plan(vm, linear) : scan(vm, p)) && look_at_all(&m->work) &&
	    breakpoints_stand_alone(&m->work)) {
		carry_out(vm, p, n_points, ram);
		return true;
	}
	m->code_len = code_len;
	m->pads_len = pads_len;
	m->n_points = n_points;
	m->n_sites = n_sites;
	return false;
}
