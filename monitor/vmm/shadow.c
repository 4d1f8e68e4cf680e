// SPDX-License-Identifier: GPL-3.0-or-later
/* See shadow.h. A slot is what one page-directory entry covers: 4 MiB, or 2 MiB under PAE. */
#include "monitor/vmm/shadow.h"

#include "monitor/vmm/code.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/host.h"
#include "monitor/vmm/mem.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/translate.h"
#include "monitor/vmm/user_code.h"
#include "monitor/vmm/vdso.h"
#include "monitor/vmm/worker.h"

#define INVLPG_DROPS 32 /* so many before a table counts as one that is remapped all the time */
#define INVLPG_RUN 64

static unsigned slot_shift(const struct vcpu *v)
{
	return paging_mode(v) == PAGING_PAE ? 21 : 22;
}

static unsigned table_pages(const struct shadow_table *t)
{
	return t->pae ? 512 : 1024;
}

static uint32_t table_base(const struct shadow_table *t)
{
	return t->slot << (t->pae ? 21 : 22);
}

static struct shadow *self(void)
{
	return &worker_self()->shadow;
}

static struct shadow_table *table_at(struct vm *vm, struct gva at)
{
	unsigned index = self()->slot[at.a >> slot_shift(&vm->vcpu)];

	return index ? &self()->tables[index - 1] : NULL;
}

static unsigned page_index(const struct shadow_table *t, struct gva at)
{
	return (at.a - table_base(t)) >> PAGE_SHIFT;
}

static uint64_t remembered_pte(const struct shadow_table *t, unsigned i)
{
	return t->pae ? t->pte64[i] : t->pte32[i];
}

static void remember_pte(struct shadow_table *t, unsigned i, uint64_t pte)
{
	if (t->pae)
		t->pte64[i] = pte;
	else
		t->pte32[i] = (uint32_t)pte;
}

/* Page frame that a mapped page of t shows. */
static uint64_t mapped_pfn(const struct shadow_table *t, unsigned i)
{
	if (!(t->pde & PTE_P)) /* paging off: identity */
		return (table_base(t) >> PAGE_SHIFT) + i;
	if (t->large) {
		uint64_t base = t->pae ? t->pde & 0x000fffffffe00000ull
				       : (t->pde & 0xffc00000) | (t->pde >> 13 & 0xff) << 32;
		return (base >> PAGE_SHIFT) + i;
	}
	return (remembered_pte(t, i) & 0x000ffffffffff000ull) >> PAGE_SHIFT;
}

/* --- dropping -------------------------------------------------------------------------------------------- */

static void account(struct vm *vm, struct shadow_table *t, unsigned i, int sign)
{
	bool low = table_base(t) + (i << PAGE_SHIFT) < vm->cfg.kernel_split || !vm->cfg.kernel_split;

	t->n_mapped += sign;
	if (t->state[i] & SP_GLOBAL)
		t->n_global += sign;
	if (!(t->state[i] & SP_USER) && low)
		self()->n_super_low += sign;
	if (!(t->state[i] & SP_USER))
		t->n_super += sign;
}

/*
 * Unmap pages [from, to) of t; holes between mapped pages cost nothing. Taking out the middle of a mapping makes two of
 * it, which the host refuses at vm.max_map_count: then everything goes, for what stays mapped would be stale.
 */
static void drop_pages(struct vm *vm, struct shadow_table *t, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		if (!(t->state[i] & SP_MAPPED))
			continue;
		account(vm, t, i, -1);
		t->state[i] = 0;
	}
	vm->stats.host_munmap++;
	if (host_munmap(table_base(t) + (from << PAGE_SHIFT), (uint64_t)(to - from) << PAGE_SHIFT) < 0)
		shadow_flush(vm);
}

static void release_table(struct vm *vm, struct shadow_table *t)
{
	unsigned n = table_pages(t), first = 0, last = n;

	while (first < n && !(t->state[first] & SP_MAPPED))
		first++;
	while (last > first && !(t->state[last - 1] & SP_MAPPED))
		last--;
	if (first < last)
		drop_pages(vm, t, first, last);
	self()->slot[t->slot] = 0;
	t->used = 0;
}

void shadow_flush(struct vm *vm)
{
	struct shadow *s = self();

	for (unsigned i = 0; i < s->n_tables; i++) {
		struct shadow_table *t = &s->tables[i];

		if (!t->used)
			continue;
		mem_set(t->state, 0, sizeof(t->state));
		t->used = 0;
		t->n_mapped = t->n_global = t->n_super = 0;
	}
	mem_set(s->slot, 0, sizeof(s->slot));
	s->n_super_low = s->n_wp0 = s->n_tables = 0;
	vm->stats.host_munmap++;
	host_munmap(0, vm->cfg.hole_base);
	if (vm->vmm->code.alias_active)
		shadow_alias(vm, true);
}

/* --- validation ------------------------------------------------------------------------------------------ */

static uint64_t read_entry(struct vm *vm, struct gpa at, bool pae)
{
	void *p = vm_ram(vm, at, pae ? 8 : 4);

	if (!p)
		return 0;
	return pae ? *(volatile uint64_t *)p : *(volatile uint32_t *)p;
}

static uint64_t current_pde(struct vm *vm, const struct shadow_table *t)
{
	const struct vcpu *v = &vm->vcpu;

	if (!t->pae)
		return read_entry(vm, gpa((v->cr3 & 0xfffff000) + t->slot * 4), false);
	if (v->pdpte[t->slot >> 9] != t->pdpte)
		return 0;
	return read_entry(vm, gpa((t->pdpte & 0x000ffffffffff000ull) + (t->slot & 511) * 8), true);
}

/* Does the entry still say all that the mapping relied on? A bit set since is no matter; a cleared one is. */
static bool entry_holds(uint64_t then, uint64_t now, bool leaf)
{
	uint64_t must_equal = ~(uint64_t)(PTE_A | PTE_D | 0xe00);

	if (!leaf)
		must_equal &= ~(uint64_t)PTE_G;
	return ((then ^ now) & must_equal) == 0 && !(then & ~now & PTE_A) && !(leaf && (then & ~now & PTE_D));
}

/* Compare pages of t with the guest's page table now; skip global ones unless asked. */
static void validate_ptes(struct vm *vm, struct shadow_table *t, bool globals)
{
	unsigned n = table_pages(t), start = n;
	const uint8_t *now =
	    vm_ram(vm, gpa(t->pde & 0x000ffffffffff000ull & (t->pae ? ~0ull : 0xffffffffull)), PAGE_SIZE);

	for (unsigned i = 0; i < n; i++) {
		bool bad = false;

		if (t->state[i] & SP_MAPPED && (globals || !(t->state[i] & SP_GLOBAL))) {
			uint64_t pte = !now ? 0 : t->pae ? ((const uint64_t *)now)[i] : ((const uint32_t *)now)[i];
			uint64_t then = remembered_pte(t, i);

			bad = pte != then && !entry_holds(then, pte, true);
		}
		if (bad && start == n)
			start = i;
		if (!bad && start != n) {
			drop_pages(vm, t, start, i);
			start = n;
		}
	}
	if (start != n)
		drop_pages(vm, t, start, n);
}

static void validate_table(struct vm *vm, struct shadow_table *t, bool globals)
{
	if (!globals && t->n_global == t->n_mapped && t->n_mapped)
		return;
	if (!entry_holds(t->pde, current_pde(vm, t), t->large)) {
		if (globals || !t->n_global) {
			release_table(vm, t);
			return;
		}
		for (unsigned i = 0; i < table_pages(t); i++)
			if ((t->state[i] & (SP_MAPPED | SP_GLOBAL)) == SP_MAPPED)
				drop_pages(vm, t, i, i + 1);
		return;
	}
	if (!t->large)
		validate_ptes(vm, t, globals);
	if (!t->n_mapped)
		release_table(vm, t);
}

static void validate(struct vm *vm, bool globals)
{
	struct shadow *s = self();

	if (paging_mode(&vm->vcpu) == PAGING_OFF)
		return;
	for (unsigned i = 0; i < s->n_tables; i++)
		if (s->tables[i].used)
			validate_table(vm, &s->tables[i], globals);
}

void shadow_load_cr3(struct vm *vm)
{
	validate(vm, !(vm->vcpu.cr4 & CR4_PGE)); /* G counts only under PGE, also for what was mapped before */
}

void shadow_validate_all(struct vm *vm)
{
	validate(vm, true);
}

/*
 * The guest takes page i away. Where it keeps doing so (Linux's fixmap: 35,000 pages at boot, one by one), what was
 * mapped along with it goes as well: forgetting too much costs a fault at worst, and an munmap() each costs more.
 */
static void drop_run(struct vm *vm, struct shadow_table *t, unsigned i)
{
	unsigned last = i + 1;

	if (t->invlpg_drops < INVLPG_DROPS)
		t->invlpg_drops++;
	else
		for (; last < table_pages(t) && last - i < INVLPG_RUN && t->state[last] == t->state[i]; last++)
			;
	drop_pages(vm, t, i, last);
}

void shadow_invlpg(struct vm *vm, struct gva at)
{
	struct shadow_table *t = table_at(vm, at);
	unsigned i;

	if (!t || paging_mode(&vm->vcpu) == PAGING_OFF)
		return;
	if (t->large || !entry_holds(t->pde, current_pde(vm, t), false)) {
		if (!entry_holds(t->pde, current_pde(vm, t), t->large))
			release_table(vm, t);
		return;
	}
	i = page_index(t, at);
	if (t->state[i] & SP_MAPPED) {
		uint64_t pte = read_entry(vm, gpa((t->pde & 0x000ffffffffff000ull) + i * (t->pae ? 8 : 4)), t->pae);

		if (!entry_holds(remembered_pte(t, i), pte, true))
			drop_run(vm, t, i);
	}
}

void shadow_set_wp(struct vm *vm)
{
	if (self()->n_wp0)
		shadow_flush(vm);
}

void shadow_enter_user(struct vm *vm)
{
	struct shadow *s = self();

	if (s->n_wp0) {
		shadow_flush(vm);
		return;
	}
	for (unsigned n = 0; s->n_super_low && n < s->n_tables; n++) {
		struct shadow_table *t = &s->tables[n];

		if (!t->used || !t->n_super || (vm->cfg.kernel_split && table_base(t) >= vm->cfg.kernel_split))
			continue;
		for (unsigned i = 0; i < table_pages(t); i++)
			if ((t->state[i] & (SP_MAPPED | SP_USER)) == SP_MAPPED)
				drop_pages(vm, t, i, i + 1);
	}
}

/* --- mapping --------------------------------------------------------------------------------------------- */

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
		release_table(vm, t);
		if (!s->n_tables) /* that dropped them all */
			t = NULL;
	}
	if (!t)
		t = &s->tables[s->n_tables++];
	t->slot = slot;
	t->used = 1;
	t->pae = paging_mode(&vm->vcpu) == PAGING_PAE;
	t->invlpg_drops = 0;
	s->slot[slot] = (uint16_t)(t - s->tables + 1);
	return t;
}

/* The table for a walk's slot, remade when the guest's directory entry is another one now. */
static struct shadow_table *table_for(struct vm *vm, struct gva at, const struct walk *w)
{
	struct shadow_table *t = table_at(vm, at);
	bool large = w->page_size > PAGE_SIZE;

	if (t && (t->large != large || t->pdpte != w->pdpte || !entry_holds(t->pde, w->pde, large))) {
		release_table(vm, t);
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
	bool wp0 = !(vm->vcpu.cr0 & CR0_WP) && !(access & ACCESS_USER);
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

	for (unsigned i = first; i < first + n; i++) {
		same = same && (t->state[i] & SP_MAPPED) && mapped_pfn(t, i) == pfn + (i - first);
		if (t->state[i] & SP_MAPPED)
			account(vm, t, i, -1);
		t->state[i] = m.state;
		account(vm, t, i, 1);
		if (at + ((i - first) << PAGE_SHIFT) != offset_mode + ((i - first) << PAGE_SHIFT) && (m.state & SP_W))
			code_note_alias(vm, (uint32_t)(pfn + (i - first)));
	}
	if (same) {
		vm->stats.host_mprotect++;
		if (host_mprotect(at, (uint64_t)n << PAGE_SHIFT, m.prot) == 0)
			return true;
	}
	vm->stats.host_mmap++;
	if (host_mmap(at, (uint64_t)n << PAGE_SHIFT, m.prot, vm->cfg.ram_fd, pfn << PAGE_SHIFT) >= 0)
		return true;
	if (self()->n_tables == 1 && t->n_mapped == n)
		vm_stop(vm, STOP_MONITOR, at, "the host refused the only mapping of guest memory");
	vm->stats.shadow_evictions++;
	shadow_flush(vm);
	return false;
}

/* The stubs' physical alias, while it is mapped, hides the RAM there. */
static bool in_alias(const struct vm *vm, uint32_t at)
{
	return vm->vmm->code.alias_active &&
	       at - (vm->cfg.hole_base - vm->cfg.alias_delta) < ABI_STUBS + vm->cfg.stubs_size;
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

/* Map a whole large page (or 4 MiB of identity), in runs of equal protection. */
static void map_large(struct vm *vm, struct shadow_table *t, const struct walk *w, unsigned access, unsigned want)
{
	unsigned n = table_pages(t);
	uint64_t ram_pages = vm->cfg.ram_size >> PAGE_SHIFT;
	uint64_t base = (w->at.a >> PAGE_SHIFT) - want;
	unsigned i = 0;

	if (table_base(t) == 0)
		i = 1; /* page 0 stays unmapped (host's mmap_min_addr) */
	while (i < n && base + i < ram_pages) {
		struct mapping m = mapping_in_large(vm, t, i, base + i, w, access, i == want);
		unsigned run = 0;

		while (i + run < n && base + i + run < ram_pages && !in_alias(vm, table_base(t) + ((i + run) << PAGE_SHIFT))) {
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
	uint64_t pte = read_entry(vm, at, t->pae);
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

static void map_small(struct vm *vm, struct shadow_table *t, struct gva at, const struct walk *w, unsigned access)
{
	unsigned i = page_index(t, at), first = i, last = i, n = table_pages(t);
	uint64_t pfn = w->at.a >> PAGE_SHIFT;
	struct mapping m = mapping_for(vm, gva(at.a & PAGE_MASK), pfn, w, access);

	while (last + 1 < n && joins(vm, t, last + 1, w->pte, (int)(last + 1 - i), m, w, access))
		last++;
	while (first > 0 && joins(vm, t, first - 1, w->pte, (int)(first - 1) - (int)i, m, w, access))
		first--;
	for (unsigned j = first; j <= last; j++)
		if (j != i)
			remember_pte(t, j, w->pte + ((int64_t)j - i) * (int64_t)PAGE_SIZE);
	if ((t->state[i] & SP_MAPPED) && mapped_pfn(t, i) != pfn)
		drop_pages(vm, t, i, i + 1);
	if (!t->used) /* that dropped them all */
		return;
	remember_pte(t, i, w->pte);
	set_pages(vm, t, first, last - first + 1, pfn - (i - first), m);
}

enum shadow_result shadow_fault(struct vm *vm, struct gva at, unsigned access)
{
	struct shadow_table *t;
	struct walk w;

	if (paging_walk(vm, at, access, &w) < 0) {
		vcpu_raise_pf(&vm->vcpu, at, w.error);
		return SHADOW_RAISED;
	}
	paging_mark(vm, &w, access & ACCESS_WRITE);
	if (at.a < PAGE_SIZE || at.a >= vm->cfg.hole_base || !vm_ram(vm, gpa(w.at.a & ~(uint64_t)0xfff), PAGE_SIZE))
		return SHADOW_EMULATE;
	if (in_alias(vm, at.a)) {
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

bool shadow_executable(struct vm *vm, struct gva at)
{
	struct shadow_table *t = table_at(vm, at);
	unsigned i;

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
		drop_pages(vm, t, i, i + 1);
		return;
	}
	if (!(m.state & SP_USER) && code_verified(vm, at, page)) {
		m.prot |= PROT_EXEC;
		m.state |= SP_X;
	}
	if (m.state != t->state[i])
		set_pages(vm, t, i, 1, pfn, m);
}

void shadow_protect(struct vm *vm, uint32_t pfn)
{
	const struct code *c = &vm->vmm->code;
	struct gva linked = gva((pfn << PAGE_SHIFT) + vm->cfg.alias_delta);
	struct shadow *s = self();
	struct shadow_table *t;

	if (code_aliased(vm, pfn)) {
		for (unsigned n = 0; n < s->n_tables; n++) {
			t = &s->tables[n];
			for (unsigned i = 0; t->used && i < table_pages(t); i++)
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

/* --- the hole -------------------------------------------------------------------------------------------- */

static void map_stubs(struct vm *vm, uint32_t base)
{
	const struct vm_config *cfg = &vm->cfg;

	host_mmap(base + ABI_VCPU_PAGE, PAGE_SIZE, PROT_READ | PROT_WRITE, cfg->ram_fd, cfg->vcpu_off);
	host_mmap(base + ABI_GATE_PAGE, PAGE_SIZE, PROT_READ | PROT_EXEC, cfg->ram_fd, cfg->gate_off);
	host_mmap(base + ABI_XOL_PAGE, PAGE_SIZE, PROT_READ | PROT_EXEC, cfg->ram_fd, cfg->bounce_off);
	host_mmap(base + ABI_BOUNCE_PAGE, PAGE_SIZE, PROT_READ | PROT_WRITE, cfg->ram_fd, cfg->bounce_off + PAGE_SIZE);
	if (cfg->stubs_size)
		host_mmap(base + ABI_STUBS, (cfg->stubs_size + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1),
			  PROT_READ | PROT_EXEC, cfg->ram_fd, cfg->stubs_off);
}

void shadow_map_hole(struct vm *vm)
{
	const struct vm_config *cfg = &vm->cfg;

	map_stubs(vm, cfg->hole_base);
	if (!translate_possible(cfg))
		return;
	host_mmap(cfg->hole_base + ABI_BLOCKS, ABI_BLOCKS_SIZE, PROT_READ | PROT_EXEC, cfg->ram_fd, cfg->blocks_off);
	host_mmap(cfg->hole_base + ABI_LOOKUP, ABI_LOOKUP_SIZE, PROT_READ, cfg->ram_fd, cfg->lookup_off);
}

void shadow_alias(struct vm *vm, bool on)
{
	uint32_t base = vm->cfg.hole_base - vm->cfg.alias_delta;
	uint64_t size = ABI_STUBS + ((vm->cfg.stubs_size + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1));

	if (!vm->cfg.alias_delta || !vm->cfg.patched)
		return;
	vm->vmm->code.alias_active = on;
	if (on) {
		map_stubs(vm, base);
	} else { /* text must not run directly at its physical address any more: its jumps would miss the stubs */
		host_munmap(base, size);
		shadow_flush(vm);
	}
}
