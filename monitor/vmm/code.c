// SPDX-License-Identifier: GPL-3.0-or-later
/* See code.h. Tables are indexed by guest-physical page; the manifest speaks in link addresses. */
#include "monitor/vmm/code.h"

#include <errno.h>
#include <stdlib.h>

#include "monitor/vmm/mem.h"
#include "monitor/vmm/online.h"
#include "monitor/vmm/shadow.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/translate.h"
#include "monitor/vmm/worker.h"
#include "monitor/vmm/world.h"

#define STARTS_PER_PAGE (PAGE_SIZE / 8)
#define IDLE_PAGES 32
#define RESYNC_MAX 1024 /* bytes; an alternative may replace one NOP by a hundred bytes of code */

static struct code *code_of(const struct vm *vm)
{
	return &vm->vmm->code;
}

static struct code_page *page_of(const struct vm *vm, uint32_t pfn)
{
	const struct code *c = code_of(vm);
	uint32_t index = pfn - (c->first_gpa >> PAGE_SHIFT);

	return index < c->n_pages ? &c->page[index] : NULL;
}

static bool test_bit(const uint8_t *map, uint32_t bit)
{
	return map[bit >> 3] >> (bit & 7) & 1;
}

static void set_bit(uint8_t *map, uint32_t bit, bool on)
{
	map[bit >> 3] = (uint8_t)((map[bit >> 3] & ~(1u << (bit & 7))) | (unsigned)on << (bit & 7));
}

/* --- set-up (in the VMX process, with libc) ---------------------------------------------------------------- */

static void *carve(uint8_t **at, size_t size)
{
	void *p = *at;

	*at += (size + 63) & ~(size_t)63;
	return p;
}

static void text_bounds(const struct manifest *m, uint32_t *first, uint32_t *pages, uint32_t *candidates)
{
	*first = *pages = *candidates = 0;
	if (!m->h.n_verified)
		return;
	*first = m->verified[0].start;
	*pages = (m->verified[m->h.n_verified - 1].end - *first) >> PAGE_SHIFT;
	for (uint32_t i = 0; i < m->h.n_verified; i++)
		*candidates += (m->verified[i].end - m->verified[i].start) >> PAGE_SHIFT;
}

size_t code_arena_size(const struct vm_config *cfg, const struct manifest *m)
{
	uint32_t first, pages, candidates;

	text_bounds(m, &first, &pages, &candidates);
	return (size_t)pages * (sizeof(struct code_page) + 2 * STARTS_PER_PAGE) +
	       (size_t)candidates * (PAGE_SIZE + STARTS_PER_PAGE) + (size_t)m->h.n_points * sizeof(struct code_resume) +
	       (size_t)(cfg->ram_size >> PAGE_SHIFT) + 9 * 64;
}

static int by_guest(const void *a, const void *b)
{
	const struct code_resume *x = a, *y = b;

	return x->guest < y->guest ? -1 : x->guest > y->guest;
}

/* Trap mode: every window undone, a trapping byte on each site: HLT is privileged and one byte long. */
static int undo_windows(struct vm *vm, struct diag *d)
{
	const struct manifest *m = &vm->manifest;

	for (uint32_t i = 0; i < m->h.n_windows; i++) {
		const struct manifest_window *w = &m->windows[i];
		uint8_t *ram = vm_ram(vm, gpa(w->va - vm->cfg.alias_delta), w->len);
		const uint8_t *original = m->originals + w->original;

		if (!ram)
			return diag_set(d, -EINVAL, "window at %#x lies outside guest memory", w->va);
		for (uint32_t n = 0; n < w->len; n++)
			ram[n] = original[n];
		if (w->hop != MANIFEST_NONE) {
			ram = vm_ram(vm, gpa(w->hop - vm->cfg.alias_delta), 5);
			for (uint32_t n = 0; ram && n < 5; n++)
				ram[n] = original[w->len + n];
		}
	}
	for (uint32_t i = 0; i < m->h.n_sites; i++) {
		uint8_t *ram = vm_ram(vm, gpa(m->sites[i].va - vm->cfg.alias_delta), 1);

		if (ram && m->sites[i].window != MANIFEST_NONE)
			*ram = 0xf4;
	}
	return 0;
}

static void index_windows(struct vm *vm)
{
	const struct manifest *m = &vm->manifest;
	struct code *c = code_of(vm);
	uint32_t link = c->first_gpa + vm->cfg.alias_delta;

	for (uint32_t i = 0; i < m->h.n_windows; i++) {
		for (uint32_t n = 1; n < 5 && m->windows[i].hop != MANIFEST_NONE; n++)
			if (m->windows[i].hop + n - link < c->n_pages << PAGE_SHIFT)
				set_bit(c->interior, m->windows[i].hop + n - link, true);
		for (uint32_t n = 1; m->windows[i].tactic != TACTIC_BREAKPOINT && n < m->windows[i].len; n++)
			if (m->windows[i].va + n - link < c->n_pages << PAGE_SHIFT)
				set_bit(c->interior, m->windows[i].va + n - link, true);
	}
	for (uint32_t i = 0; i < m->h.n_points; i++) {
		const struct manifest_point *p = &m->points[i];

		if (p->state != POINT_BOUNDARY || p->guest - link >= c->n_pages << PAGE_SHIFT)
			continue;
		if (p->flags & POINT_SHADOW)
			set_bit(c->shadow_bound, p->guest - link, true);
		if (test_bit(c->interior, p->guest - link))
			c->resume[c->n_resume++] = (struct code_resume){p->guest, p->stub};
	}
	qsort(c->resume, c->n_resume, sizeof(*c->resume), by_guest);
}

int code_init(struct vm *vm, struct diag *d)
{
	const struct manifest *m = &vm->manifest;
	struct code *c = code_of(vm);
	uint8_t *at = (uint8_t *)(vm->vmm + 1);
	uint32_t first, pages, candidates, n = 0;
	int err;

	text_bounds(m, &first, &pages, &candidates);
	c->first_gpa = first - vm->cfg.alias_delta;
	c->n_pages = pages;
	c->n_ram = (uint32_t)(vm->cfg.ram_size >> PAGE_SHIFT);
	c->ram = carve(&at, c->n_ram);
	c->page = carve(&at, pages * sizeof(*c->page));
	c->pristine = carve(&at, (size_t)candidates * PAGE_SIZE);
	c->starts = carve(&at, (size_t)candidates * STARTS_PER_PAGE);
	c->interior = carve(&at, (size_t)pages * STARTS_PER_PAGE);
	c->shadow_bound = carve(&at, (size_t)pages * STARTS_PER_PAGE);
	c->resume = carve(&at, (size_t)m->h.n_points * sizeof(*c->resume));
	if (vm->cfg.mode == MODE_TRAP) {
		err = undo_windows(vm, d);
		if (err < 0)
			return err;
	} else {
		index_windows(vm);
	}
	for (uint32_t r = 0; r < m->h.n_verified; r++)
		for (uint32_t va = m->verified[r].start; va < m->verified[r].end; va += PAGE_SIZE, n++) {
			struct code_page *p = page_of(vm, (va - vm->cfg.alias_delta) >> PAGE_SHIFT);
			const uint8_t *ram = vm_ram(vm, gpa(va - vm->cfg.alias_delta), PAGE_SIZE);

			if (!ram || !p)
				return diag_set(d, -EINVAL, "verified page %#x lies outside guest memory", va);
			p->candidate = 1;
			p->state = CODE_VERIFIED;
			p->verified_index = n;
			mem_copy(c->pristine + (size_t)n * PAGE_SIZE, ram, PAGE_SIZE);
			mem_copy(c->starts + (size_t)n * STARTS_PER_PAGE, m->starts + (size_t)n * STARTS_PER_PAGE,
				 STARTS_PER_PAGE);
		}
	return 0;
}

/* --- page states ----------------------------------------------------------------------------------------- */

bool code_protected(const struct vm *vm, uint32_t pfn)
{
	const struct code_page *p = page_of(vm, pfn);

	return (p && p->state != CODE_DATA) || (pfn < code_of(vm)->n_ram && code_of(vm)->ram[pfn] & RAM_TRANSLATED);
}

/* Windows jump by distance: they work at the link address, and at the physical one while the stubs are there too. */
static bool address_fits(const struct vm *vm, struct gva at, struct gpa page)
{
	uint32_t linear = at.a & PAGE_MASK;

	return linear == (uint32_t)page.a + vm->cfg.alias_delta ||
	       (linear == (uint32_t)page.a && (code_of(vm)->alias_active || !vm->cfg.alias_delta));
}

bool code_verified(const struct vm *vm, struct gva at, struct gpa page)
{
	const struct code_page *p = page_of(vm, (uint32_t)(page.a >> PAGE_SHIFT));

	return p && p->state == CODE_VERIFIED && vm->cfg.mode != MODE_TRANSLATE && address_fits(vm, at, page);
}

bool code_runs_directly(const struct vm *vm, uint32_t eip)
{
	const struct code *c = code_of(vm);
	uint32_t offset = eip - vm->cfg.alias_delta - c->first_gpa;

	return offset < c->n_pages << PAGE_SHIFT && c->page[offset >> PAGE_SHIFT].state == CODE_VERIFIED &&
	       vm->cfg.mode != MODE_TRANSLATE && !test_bit(c->interior, offset);
}

static void protect_everywhere(struct vm *vm, uint32_t pfn)
{
	worker_log(vm, LOG_PROTECT, pfn);
	shadow_protect(vm, pfn);
}

static void forget_translation(struct vm *vm, uint32_t pfn)
{
	if (pfn >= code_of(vm)->n_ram || !(code_of(vm)->ram[pfn] & RAM_TRANSLATED))
		return;
	code_of(vm)->ram[pfn] &= (uint8_t)~RAM_TRANSLATED;
	translate_drop_page(vm, pfn);
}

void code_note_translated(struct vm *vm, uint32_t pfn)
{
	bool known = code_protected(vm, pfn);

	code_of(vm)->ram[pfn] |= RAM_TRANSLATED;
	if (!known)
		protect_everywhere(vm, pfn);
}

void code_demote(struct vm *vm, uint32_t pfn)
{
	struct code_page *p = page_of(vm, pfn);
	bool was_code = p && p->state != CODE_DATA;

	if (!code_protected(vm, pfn))
		return;
	if (was_code) {
		online_clear(vm, pfn); /* the guest's bytes come back before it writes */
		p->state = CODE_DATA;
		p->demotions++;
		vm->stats.pages_demoted++;
	}
	forget_translation(vm, pfn);
	protect_everywhere(vm, pfn);
}

void code_note_alias(struct vm *vm, uint32_t pfn)
{
	if (pfn < code_of(vm)->n_ram)
		code_of(vm)->ram[pfn] |= RAM_ALIASED;
}

bool code_aliased(const struct vm *vm, uint32_t pfn)
{
	return pfn < code_of(vm)->n_ram && code_of(vm)->ram[pfn] & RAM_ALIASED;
}

/* --- verification of rewritten pages ---------------------------------------------------------------------- */

/* Instruction start bit of the text byte at gpa; bytes of pages that are no candidates have none. */
static bool is_start(const struct vm *vm, uint32_t at)
{
	const struct code_page *p = page_of(vm, at >> PAGE_SHIFT);

	return p && p->candidate &&
	       test_bit(code_of(vm)->starts + (size_t)p->verified_index * STARTS_PER_PAGE, at & (PAGE_SIZE - 1));
}

static bool is_interior(const struct vm *vm, uint32_t at)
{
	uint32_t bit = at - code_of(vm)->first_gpa;

	return bit < code_of(vm)->n_pages << PAGE_SHIFT && test_bit(code_of(vm)->interior, bit);
}

static bool is_window_start(const struct vm *vm, uint32_t at)
{
	return !is_interior(vm, at) && is_interior(vm, at + 1);
}

/* No way into the middle of a window. */
static bool insn_allowed(const struct vm *vm, const struct insn *insn)
{
	return !insn->target || !is_interior(vm, (uint32_t)insn->target - vm->cfg.alias_delta);
}

/*
 * INT3 planted over an old instruction (text_poke, kprobes): whoever planted it emulates that instruction and resumes
 * behind it, so what is left of it is no code.
 */
static uint32_t behind_planted(const struct vm *vm, uint32_t at)
{
	uint32_t next = at + 1;

	while (next - at < INSN_MAX && !is_start(vm, next))
		next++;
	return is_start(vm, next) ? next : at + 1;
}

/*
 * Decode from the instruction start at or before `from` until decoding meets an old start at or behind `to`, and record
 * the new starts. Returns where it met, or 0 when something forbids the page.
 */
static uint32_t recheck_run(struct vm *vm, uint32_t from, uint32_t to)
{
	uint32_t at = from, limit = code_of(vm)->first_gpa;

	while (at > limit && from - at < 64 && !is_start(vm, at))
		at--;
	if (!is_start(vm, at))
		return 0;
	while (at < to || !is_start(vm, at)) {
		const uint8_t *bytes = vm_ram(vm, gpa(at), 16);
		struct insn insn;
		int len;

		if (!bytes || at > to + RESYNC_MAX)
			return 0;
		if (bytes[0] == 0xcc && is_start(vm, at)) {
			if (is_interior(vm, at) || is_window_start(vm, at))
				return 0; /* it would break our jump, and its place is an instruction that moved */
			at = behind_planted(vm, at);
			continue;
		}
		len = insn_decode(&insn, bytes, 16, at + vm->cfg.alias_delta, 32);
		if (len < 0 || !insn_allowed(vm, &insn))
			return 0;
		if (insn_is_sensitive(&insn) && policy_may_not_trap(insn.op) && !online_set(vm, gpa(at), (unsigned)len))
			return 0;
		for (int i = 0; i < len; i++) {
			const struct code_page *p = page_of(vm, (at + i) >> PAGE_SHIFT);

			if (is_interior(vm, at + i) || is_window_start(vm, at + i))
				return 0;
			if (p && p->candidate)
				set_bit(code_of(vm)->starts + (size_t)p->verified_index * STARTS_PER_PAGE,
					(at + i) & (PAGE_SIZE - 1), i == 0);
		}
		at += (uint32_t)len;
	}
	return at;
}

/* The start bits of a page and of the next one, into which its last instruction may reach. */
#define STARTS_SAVED (2 * STARTS_PER_PAGE)

static void copy_starts(const struct vm *vm, uint32_t pfn, uint8_t *saved, bool restore)
{
	for (unsigned i = 0; i < 2; i++, saved += STARTS_PER_PAGE) {
		const struct code_page *p = page_of(vm, pfn + i);
		uint8_t *starts = p ? code_of(vm)->starts + (size_t)p->verified_index * STARTS_PER_PAGE : NULL;

		if (p && p->candidate)
			mem_copy(restore ? starts : saved, restore ? saved : starts, STARTS_PER_PAGE);
	}
}

/* Compare the page with what was verified last and decode what changed. */
static bool recheck_page(struct vm *vm, uint32_t pfn)
{
	struct code_page *p = page_of(vm, pfn);
	uint8_t *old = code_of(vm)->pristine + (size_t)p->verified_index * PAGE_SIZE;
	const uint8_t *now = vm_ram(vm, gpa((uint64_t)pfn << PAGE_SHIFT), PAGE_SIZE);
	uint32_t base = pfn << PAGE_SHIFT, i = 0;
	uint8_t saved[STARTS_SAVED];

	copy_starts(vm, pfn, saved, false);
	world_fpu_guard(); /* the decoder may use vector registers */
	while (i < PAGE_SIZE) {
		uint32_t end;

		if (!(i & 7) && *(const uint64_t *)(old + i) == *(const uint64_t *)(now + i)) {
			i += 8;
			continue;
		}
		if (old[i] == now[i]) {
			i++;
			continue;
		}
		for (end = i + 1; end < PAGE_SIZE && old[end] != now[end]; end++)
			;
		end = recheck_run(vm, base + i, base + end);
		if (!end) { /* as if it had never been looked at */
			copy_starts(vm, pfn, saved, true);
			online_clear(vm, pfn);
			return false;
		}
		i = end - base;
	}
	mem_copy(old, now, PAGE_SIZE);
	return true;
}

bool code_execute(struct vm *vm, struct gva at, struct gpa page)
{
	uint32_t pfn = (uint32_t)(page.a >> PAGE_SHIFT);
	struct code_page *p = page_of(vm, pfn);

	if (!p || !p->candidate || p->state == CODE_REFUSED || !address_fits(vm, at, page) ||
	    vm->cfg.mode == MODE_TRANSLATE)
		return false;
	if (p->state == CODE_VERIFIED)
		return true;
	/* Read-only everywhere first: what is checked must be what runs. */
	p->state = CODE_REFUSED;
	if (recheck_page(vm, pfn)) {
		forget_translation(vm, pfn);
		p->state = CODE_VERIFIED;
		vm->stats.pages_reverified++;
	} else {
		vm->stats.pages_refused++;
	}
	protect_everywhere(vm, pfn);
	return p->state == CODE_VERIFIED;
}

bool code_idle(struct vm *vm)
{
	struct code *c = code_of(vm);
	unsigned budget = IDLE_PAGES;

	for (uint32_t n = 0; n < c->n_pages && budget; n++) {
		uint32_t pfn = (c->first_gpa >> PAGE_SHIFT) + n;

		if (!c->page[n].candidate || c->page[n].state != CODE_DATA || c->page[n].idle_refused)
			continue;
		if (!code_execute(vm, gva((pfn << PAGE_SHIFT) + vm->cfg.alias_delta), gpa((uint64_t)pfn << PAGE_SHIFT)))
			c->page[n].idle_refused = 1;
		budget--;
	}
	return budget < IDLE_PAGES;
}

void code_summary(struct vm *vm, uint32_t *candidates, uint32_t *verified, uint32_t *refused)
{
	const struct code *c = code_of(vm);

	*candidates = *verified = *refused = 0;
	for (uint32_t n = 0; n < c->n_pages; n++) {
		*candidates += c->page[n].candidate;
		*verified += c->page[n].candidate && c->page[n].state == CODE_VERIFIED;
		*refused += c->page[n].state == CODE_REFUSED;
	}
}

/* --- addresses ------------------------------------------------------------------------------------------- */

/* Bit number of guest address eip in the per-byte maps; false outside the text. */
static bool text_bit(const struct vm *vm, uint32_t eip, uint32_t *bit)
{
	const struct code *c = code_of(vm);
	uint32_t size = c->n_pages << PAGE_SHIFT;

	*bit = eip - vm->cfg.alias_delta - c->first_gpa;
	if (*bit < size)
		return true;
	*bit = eip - c->first_gpa;
	return *bit < size && c->alias_active;
}

bool code_in_window(const struct vm *vm, uint32_t eip)
{
	uint32_t bit;

	return text_bit(vm, eip, &bit) && test_bit(code_of(vm)->interior, bit);
}

bool code_after_sti(const struct vm *vm, uint32_t eip)
{
	uint32_t bit;

	return text_bit(vm, eip, &bit) && test_bit(code_of(vm)->shadow_bound, bit);
}

uint32_t code_enter_address(const struct vm *vm, uint32_t eip)
{
	const struct code *c = code_of(vm);
	uint32_t bit, link, lo = 0, hi = c->n_resume;

	if (!text_bit(vm, eip, &bit) || !test_bit(c->interior, bit))
		return eip;
	link = bit + c->first_gpa + vm->cfg.alias_delta;
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (c->resume[mid].guest < link)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < c->n_resume && c->resume[lo].guest == link)
		return c->resume[lo].stub - (link - eip);
	return eip;
}

const struct manifest_point *code_point(const struct vm *vm, uint32_t raw)
{
	const struct manifest *m = &vm->manifest;
	uint32_t lo = 0, hi = m->h.n_points;

	if (raw - vm->cfg.hole_base >= vm->cfg.hole_size && code_of(vm)->alias_active)
		raw += vm->cfg.alias_delta;
	if (raw - (vm->cfg.hole_base + ABI_STUBS) >= vm->cfg.stubs_size)
		return NULL;
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (m->points[mid].stub < raw)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < m->h.n_points && m->points[lo].stub == raw ? &m->points[lo] : NULL;
}

uint32_t code_guest_address(const struct vm *vm, uint32_t link, uint32_t raw)
{
	return raw - vm->cfg.hole_base < vm->cfg.hole_size ? link : link - vm->cfg.alias_delta;
}

uint32_t code_unlinked(const struct vm *vm, uint32_t eip)
{
	uint32_t link = code_of(vm)->first_gpa + vm->cfg.alias_delta;

	return !(vm->vcpu.cr0 & CR0_PG) && eip - link < code_of(vm)->n_pages << PAGE_SHIFT ? eip - vm->cfg.alias_delta
											    : eip;
}

uint32_t code_site_at(const struct vm *vm, uint32_t eip)
{
	const struct manifest *m = &vm->manifest;
	uint32_t bit, link, lo = 0, hi = m->h.n_sites;

	if (!text_bit(vm, eip, &bit))
		return MANIFEST_NONE;
	link = bit + code_of(vm)->first_gpa + vm->cfg.alias_delta;
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (m->sites[mid].va < link)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < m->h.n_sites && m->sites[lo].va == link ? lo : MANIFEST_NONE;
}

/* What patching wrote at byte n of a window: the jump, then int3. */
static uint8_t window_byte(const struct manifest_window *w, uint32_t n)
{
	uint32_t distance = w->stub - (w->va + 5);

	if (w->tactic == TACTIC_BREAKPOINT || n >= 5)
		return 0xcc;
	return n == 0 ? 0xe9 : (uint8_t)(distance >> 8 * (n - 1));
}

/* First original byte of a site inside a window. */
static uint8_t code_site_byte(const struct vm *vm, uint32_t site)
{
	const struct manifest_site *s = &vm->manifest.sites[site];
	const struct manifest_window *w = &vm->manifest.windows[s->window];

	return vm->manifest.originals[w->original + (s->va - w->va)];
}

void code_original(const struct vm *vm, uint32_t linear, uint8_t *bytes, uint32_t n)
{
	const struct manifest *m = &vm->manifest;
	uint32_t bit, link, lo = 0, hi = m->h.n_windows;

	if (text_bit(vm, linear, &bit))
		online_original(vm, gpa(bit + code_of(vm)->first_gpa), bytes, n);
	if (vm->cfg.mode == MODE_TRAP) {
		uint32_t site;

		for (uint32_t i = 0; i < n; i++) {
			site = bytes[i] == 0xf4 ? code_site_at(vm, linear + i) : MANIFEST_NONE;
			if (site != MANIFEST_NONE && m->sites[site].window != MANIFEST_NONE)
				bytes[i] = code_site_byte(vm, site);
		}
		return;
	}
	if (!text_bit(vm, linear, &bit))
		return;
	link = bit + code_of(vm)->first_gpa + vm->cfg.alias_delta;
	while (lo < hi) { /* first window that ends behind link */
		uint32_t mid = (lo + hi) / 2;

		if (m->windows[mid].va + m->windows[mid].len <= link)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < m->h.n_windows && m->windows[lo].va < link + n; lo++) {
		const struct manifest_window *w = &m->windows[lo];

		for (uint32_t i = 0; i < w->len; i++) {
			uint32_t at = w->va + i - link;

			/* what the guest wrote over our bytes is its own */
			if (at < n && (w->tactic == TACTIC_HOP || bytes[at] == window_byte(w, i)))
				bytes[at] = m->originals[w->original + i];
		}
	}
}

bool code_online(const struct vm *vm, uint32_t eip)
{
	uint32_t bit;

	return text_bit(vm, eip, &bit) && online_at(vm, gpa(bit + code_of(vm)->first_gpa));
}
