// SPDX-License-Identifier: GPL-3.0-or-later
/* See shadow.h. A slot is what one page-directory entry covers: 4 MiB, or 2 MiB under PAE. */
#include "monitor/vmm/code.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/host.h"
#include "monitor/vmm/mmu.h"
#include "monitor/vmm/shadow_internal.h"
#include "monitor/vmm/soft.h"
#include "monitor/vmm/trace.h"
#include "monitor/vmm/user_code.h"
#include "monitor/vmm/vdso.h"

static struct shadow_table *new_table(struct vm *vm, unsigned slot)
{
	struct shadow *s = self();
	struct shadow_table *t = NULL;

	for (unsigned i = 0; i < s->n_tables && !t; i++)
		if (!s->tables[i].used)
			t = &s->tables[i];
	if (!t && s->n_tables == SHADOW_TABLES) {
		t = &s->tables[s->next_victim];
		s->next_victim = (uint16_t)((s->next_victim + 1) % SHADOW_TABLES);
		shadow_release_table(vm, t);
		if (!s->n_tables) /* that dropped them all */
			t = NULL;
	}
	if (!t)
		t = &s->tables[s->n_tables++];
	t->slot = slot;
	t->used = 1;
	shadow_note_local(t);
	t->pae = paging_mode(&vm->vcpu) == PAGING_PAE;
	t->invlpg_drops = 0;
	t->first = SHADOW_PAGES;
	t->end = 0;
	s->slot[slot] = (uint16_t)(t - s->tables + 1);
	return t;
}

/* The table for a walk's slot, remade when the guest's directory entry is another one now. */
static struct shadow_table *table_for(struct vm *vm, struct gva at, const struct walk *w)
{
	struct shadow_table *t = table_at(vm, at);
	bool large = w->page_size > PAGE_SIZE;

	if (t && (t->large != large || t->pdpte != w->pdpte || !shadow_entry_holds(t->pde, w->pde, large))) {
		shadow_release_table(vm, t);
		t = NULL;
	}
	if (!t)
		t = new_table(vm, at.a >> slot_shift(&vm->vcpu));
	t->large = large;
	t->pdpte = w->pdpte;
	t->pde = w->pde;
	return t;
}

struct mapping {
	int prot;
	uint8_t state;
};

/* What page `pfn` at `at` may be mapped as, given the rights of its walk; `access` asks for more than reading. */
static struct mapping mapping_for(struct vm *vm, struct gva at, uint64_t pfn, const struct walk *w, unsigned access)
{
	struct mapping m = {PROT_READ, SP_MAPPED};
	bool wp0 = !(vm->vcpu.cr0 & CR0_WP) && !(access & ACCESS_USER) && !is_soft();
	bool protected = code_protected(vm, (uint32_t)pfn);

	if (w->user)
		m.state |= SP_USER;
	if (w->global)
		m.state |= SP_GLOBAL;
	if ((w->write || wp0) && w->dirty && !protected) {
		m.prot |= PROT_WRITE;
		m.state |= SP_W;
		if (!w->write)
			self()->n_wp0++;
	}
	if (!(w->user && (access & ACCESS_USER)) && protected && code_verified(vm, at, gpa(pfn << PAGE_SHIFT))) {
		m.prot |= PROT_EXEC;
		m.state |= SP_X;
	}
	if (w->user && w->exec && (access & ACCESS_USER) && (access & ACCESS_FETCH)) {
		m.prot |= PROT_EXEC;
		m.state |= SP_X;
	}
	return m;
}

/*
 * False when the host refused: its vm.max_map_count is reached, so everything was dropped instead, t with it. The guest's
 * access faults again and finds room.
 */
static bool set_pages(struct vm *vm, struct shadow_table *t, unsigned first, unsigned n, uint64_t pfn, struct mapping m)
{
	uint32_t at = table_base(t) + (first << PAGE_SHIFT);
	uint32_t offset_mode = (uint32_t)(pfn << PAGE_SHIFT) + vm->cfg.alias_delta;
	bool same = true;

	mmu_note_cached(vm, at >> PAGE_SHIFT, n);
	for (unsigned i = first; i < first + n; i++) {
		same = same && (t->state[i] & SP_MAPPED) && mapped_pfn(t, i) == pfn + (i - first);
		if (t->state[i] & SP_MAPPED)
			shadow_account(vm, t, i, -1);
		t->state[i] = m.state;
		shadow_account(vm, t, i, 1);
		if (at + ((i - first) << PAGE_SHIFT) != offset_mode + ((i - first) << PAGE_SHIFT) && (m.state & SP_W))
			code_note_alias(vm, (uint32_t)(pfn + (i - first)));
	}
	if (is_soft()) {
		soft_set(self()->soft, at, n, pfn, m.prot & PROT_WRITE);
		return true;
	}
	soft_count_mapping(vm, vm->cfg.map_ns);
	if (same) {
		vm->stats.host_mprotect++;
		trace_map(vm, "protect", host_address(at), (uint64_t)n << PAGE_SHIFT);
		if (host_mprotect(host_address(at), (uint64_t)n << PAGE_SHIFT, m.prot) == 0)
			return true;
	}
	vm->stats.host_mmap++;
	trace_map(vm, "map", host_address(at), (uint64_t)n << PAGE_SHIFT);
	if (host_mmap(host_address(at), (uint64_t)n << PAGE_SHIFT, m.prot, vm->cfg.ram_fd, pfn << PAGE_SHIFT) >= 0)
		return true;
	if (self()->n_tables == 1 && t->n_mapped == n)
		vm_stop(vm, STOP_MONITOR, at, "the host refused the only mapping of guest memory");
	vm->stats.shadow_evictions++;
	shadow_flush(vm);
	return false;
}

/* One page of a large mapping: what a fetch makes executable for the user is the page that was looked at. */
static struct mapping mapping_in_large(struct vm *vm, const struct shadow_table *t, unsigned i, uint64_t pfn,
				       const struct walk *w, unsigned access, bool wanted)
{
	struct gva at = gva(table_base(t) + (i << PAGE_SHIFT));
	struct mapping m = mapping_for(vm, at, pfn, w, wanted ? access : access & ~(unsigned)ACCESS_FETCH);

	if (!wanted && (access & ACCESS_USER) && t->state[i] == (m.state | SP_X))
		m.state = t->state[i]; /* looked at before */
	return m;
}

/* The pages of t around `want` that are not mapped, and that one: all at first, few when it is only one that has changed. */
static unsigned absent_around(const struct shadow_table *t, unsigned want, unsigned *end)
{
	unsigned first = want;

	for (*end = want + 1; *end < table_pages(t) && !(t->state[*end] & SP_MAPPED); ++*end)
		;
	while (first && !(t->state[first - 1] & SP_MAPPED))
		first--;
	return first;
}

/* Map a whole large page (or 4 MiB of identity), or what is missing of it there, in runs of equal protection. */
static void map_large(struct vm *vm, struct shadow_table *t, const struct walk *w, unsigned access, unsigned want)
{
	unsigned n, i = absent_around(t, want, &n);
	uint64_t ram_pages = vm->cfg.ram_size >> PAGE_SHIFT;
	uint64_t base = (w->at.a >> PAGE_SHIFT) - want;

	mmu_note_cached(vm, table_base(t) >> PAGE_SHIFT, table_pages(t)); /* INVLPG of any address in it is for all of it */
	if (table_base(t) == 0 && !i)
		i = 1; /* page 0 stays unmapped (host's mmap_min_addr) */
	while (i < n && base + i < ram_pages) {
		struct mapping m = mapping_in_large(vm, t, i, base + i, w, access, i == want);
		unsigned run = 0;

		while (i + run < n && base + i + run < ram_pages && !shadow_in_alias(vm, table_base(t) + ((i + run) << PAGE_SHIFT))) {
			struct mapping next = mapping_in_large(vm, t, i + run, base + i + run, w, access, i + run == want);

			if (next.prot != m.prot || next.state != m.state || t->state[i + run] == m.state)
				break; /* as it shall be already: pages of one fault change little */
			run++;
		}
		if (run && !set_pages(vm, t, i, run, base + i, m))
			return;
		i += run ? run : 1;
	}
}

/* Can page i of the guest's table join a run whose neighbour is `like`, `delta` pages further? */
static bool joins(struct vm *vm, struct shadow_table *t, unsigned i, uint64_t like, int delta, struct mapping m,
		  const struct walk *w, unsigned access)
{
	struct gpa at = gpa((t->pde & 0x000ffffffffff000ull) + i * (t->pae ? 8 : 4));
	uint64_t pte = shadow_read_entry(vm, at, t->pae);
	uint64_t want = like + (int64_t)delta * PAGE_SIZE;
	uint64_t ignore = 0xe00;
	struct mapping mine;
	struct gva va = gva(table_base(t) + (i << PAGE_SHIFT));
	uint64_t pfn = (pte & 0x000ffffffffff000ull) >> PAGE_SHIFT;

	if ((t->state[i] & SP_MAPPED) || ((pte ^ want) & ~ignore))
		return false;
	if (pfn >= vm->cfg.ram_size >> PAGE_SHIFT || va.a < PAGE_SIZE || va.a >= vm->cfg.hole_base)
		return false;
	if ((access & ACCESS_FETCH) && (access & ACCESS_USER) && !user_code_is_clean(vm, gpa(pfn << PAGE_SHIFT)))
		return false;
	mine = mapping_for(vm, va, pfn, w, access);
	return mine.prot == m.prot && mine.state == m.state;
}

#define AROUND 16 /* entries of a table on one line of the cache, about */

/* Where an entry of the software TLB costs no call of the host: the neighbours that have the same rights, wherever they are. */
static void fill_around(struct vm *vm, struct shadow_table *t, struct gva at, const struct walk *w, unsigned access)
{
	unsigned i = page_index(t, at), first = i & ~(AROUND - 1u);
	const uint64_t frame = 0x000ffffffffff000ull, ignore = 0xe00;

	for (unsigned j = first; j < first + AROUND; j++) {
		struct gpa entry = gpa((t->pde & frame) + j * (t->pae ? 8 : 4));
		struct gva va = gva(table_base(t) + (j << PAGE_SHIFT));
		uint64_t pte, pfn;

		if (j == i || (t->state[j] & SP_MAPPED))
			continue;
		pte = shadow_read_entry(vm, entry, t->pae);
		pfn = (pte & frame) >> PAGE_SHIFT;
		if (((pte ^ w->pte) & ~(frame | ignore)) || pfn >= vm->cfg.ram_size >> PAGE_SHIFT || va.a < PAGE_SIZE ||
		    va.a >= vm->cfg.hole_base)
			continue;
		remember_pte(t, j, pte);
		set_pages(vm, t, j, 1, pfn, mapping_for(vm, va, pfn, w, access));
	}
}

static void map_small(struct vm *vm, struct shadow_table *t, struct gva at, const struct walk *w, unsigned access)
{
	unsigned i = page_index(t, at), first = i, last = i, n = table_pages(t);
	uint64_t pfn = w->at.a >> PAGE_SHIFT;
	struct mapping m = mapping_for(vm, gva(at.a & PAGE_MASK), pfn, w, access);

	if (is_soft())
		fill_around(vm, t, at, w, access);
	while (last + 1 < n && joins(vm, t, last + 1, w->pte, (int)(last + 1 - i), m, w, access))
		last++;
	while (first > 0 && joins(vm, t, first - 1, w->pte, (int)(first - 1) - (int)i, m, w, access))
		first--;
	for (unsigned j = first; j <= last; j++)
		if (j != i)
			remember_pte(t, j, w->pte + ((int64_t)j - i) * (int64_t)PAGE_SIZE);
	if ((t->state[i] & SP_MAPPED) && mapped_pfn(t, i) != pfn)
		shadow_drop_pages(vm, t, i, i + 1);
	if (!t->used) /* that dropped them all */
		return;
	remember_pte(t, i, w->pte);
	set_pages(vm, t, first, last - first + 1, pfn - (i - first), m);
}

static enum shadow_result fault(struct vm *vm, struct gva at, unsigned access)
{
	struct shadow_table *t;
	struct walk w;

	if (paging_walk(vm, at, access, &w) < 0) {
		vcpu_raise_pf(&vm->vcpu, at, w.error);
		return SHADOW_RAISED;
	}
	paging_mark(vm, &w, access & ACCESS_WRITE);
	if (is_soft() && !w.user) /* the table is the user's, whoever asks */
		return SHADOW_EMULATE;
	if (at.a < PAGE_SIZE || at.a >= vm->cfg.hole_base || !vm_ram(vm, gpa(w.at.a & ~(uint64_t)0xfff), PAGE_SIZE))
		return SHADOW_EMULATE;
	if (shadow_in_alias(vm, at.a)) {
		if (!(vm->vcpu.cr0 & CR0_PG))
			return SHADOW_EMULATE;
		shadow_alias(vm, false);
	}
	if (access & ACCESS_WRITE && code_protected(vm, (uint32_t)(w.at.a >> PAGE_SHIFT)))
		code_demote(vm, (uint32_t)(w.at.a >> PAGE_SHIFT));
	if (access & ACCESS_FETCH) {
		bool ok = access & ACCESS_USER ? user_code_is_clean(vm, w.at)
					       : code_execute(vm, at, gpa(w.at.a & ~(uint64_t)0xfff));
		if (!ok)
			return SHADOW_UNVERIFIED;
		if (access & ACCESS_USER)
			vdso_patch(vm, gpa(w.at.a & ~(uint64_t)0xfff));
	}
	t = table_for(vm, at, &w);
	if (t->large)
		map_large(vm, t, &w, access, page_index(t, at));
	else
		map_small(vm, t, at, &w, access);
	return SHADOW_MAPPED;
}

/* From now on it is about the worker's view of this privilege. */
static void look_at_mapped(struct vm *vm, bool user)
{
	worker_self()->view = vm_long(vm) && !user ? SHADOW_WINDOW : SHADOW_LOW;
}

enum shadow_result shadow_fault(struct vm *vm, struct gva at, unsigned access)
{
	look_at_mapped(vm, access & ACCESS_USER);
	if (!view_is_live(vm, worker_self()->view))
		return SHADOW_AWAY;
	return fault(vm, at, access);
}

enum shadow_result shadow_soft_fault(struct vm *vm, struct gva at, unsigned access)
{
	enum shadow_result r;
	struct shadow_table *t;
	uint8_t want = access & ACCESS_WRITE ? SP_MAPPED | SP_W : SP_MAPPED;

	worker_self()->view = SHADOW_SOFT;
	r = fault(vm, at, access);
	t = table_at(vm, at);
	if (r == SHADOW_MAPPED && (!t || (t->state[page_index(t, at)] & want) != want))
		return SHADOW_EMULATE; /* writable by CR0.WP alone */
	return r;
}

bool shadow_executable(struct vm *vm, struct gva at)
{
	struct shadow_table *t;
	unsigned i;

	look_at_mapped(vm, vm->vcpu.cpl == 3);
	t = table_at(vm, at);
	if (!t)
		return false;
	i = page_index(t, at);
	if ((t->state[i] & (SP_X | SP_USER)) == (SP_X | SP_USER) && vm->vcpu.cpl != 3) /* made so for ring 3, perhaps */
		return code_verified(vm, at, gpa(mapped_pfn(t, i) << PAGE_SHIFT));
	return t->state[i] & SP_X;
}

/* --- protection ------------------------------------------------------------------------------------------ */

/* Give page i of t, which shows code page pfn, the protection that its state asks for. */
static void protect_page(struct vm *vm, struct shadow_table *t, unsigned i, uint32_t pfn)
{
	struct gva at = gva(table_base(t) + (i << PAGE_SHIFT));
	struct gpa page = gpa((uint64_t)pfn << PAGE_SHIFT);
	struct mapping m = {PROT_READ, t->state[i] & ~(SP_W | SP_X)};

	if (!code_protected(vm, pfn)) { /* demoted: comes back by a fault, with the rights of that access */
		shadow_drop_pages(vm, t, i, i + 1);
		return;
	}
	if (!(m.state & SP_USER) && code_verified(vm, at, page)) {
		m.prot |= PROT_EXEC;
		m.state |= SP_X;
	}
	if (m.state != t->state[i])
		set_pages(vm, t, i, 1, pfn, m);
}

void shadow_protect_view(struct vm *vm, uint32_t pfn)
{
	const struct code *c = &vm->vmm->code;
	struct gva linked = gva((pfn << PAGE_SHIFT) + vm->cfg.alias_delta);
	struct shadow *s = self();
	struct shadow_table *t;

	if (code_aliased(vm, pfn)) {
		for (unsigned n = 0; n < s->n_tables; n++) {
			t = &s->tables[n];
			for (unsigned i = t->first; t->used && i < t->end; i++)
				if ((t->state[i] & SP_MAPPED) && mapped_pfn(t, i) == pfn)
					protect_page(vm, t, i, pfn);
		}
		return;
	}
	t = table_at(vm, linked);
	if (t && (t->state[page_index(t, linked)] & SP_MAPPED) && mapped_pfn(t, page_index(t, linked)) == pfn)
		protect_page(vm, t, page_index(t, linked), pfn);
	if (!(vm->vcpu.cr0 & CR0_PG) || c->alias_active) {
		t = table_at(vm, gva(pfn << PAGE_SHIFT));
		if (t && (t->state[page_index(t, gva(pfn << PAGE_SHIFT))] & SP_MAPPED) &&
		    mapped_pfn(t, page_index(t, gva(pfn << PAGE_SHIFT))) == pfn)
			protect_page(vm, t, page_index(t, gva(pfn << PAGE_SHIFT)), pfn);
	}
}

void shadow_protect_written(struct vm *vm)
{
	struct shadow *s = self();

	for (unsigned n = 0; n < s->n_tables; n++) {
		struct shadow_table *t = &s->tables[n];

		for (unsigned i = t->first; t->used && i < t->end; i++)
			if ((t->state[i] & SP_W) && code_protected(vm, (uint32_t)mapped_pfn(t, i)))
				protect_page(vm, t, i, (uint32_t)mapped_pfn(t, i));
	}
}
