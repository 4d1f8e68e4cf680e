// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The shadow MMU's forgetting: unmapping, and the comparison of remembered entries with the guest's tables where the
 * architecture says that a TLB would forget (SDM 3A 4.10.4).
 */
#include "monitor/vmm/host.h"
#include "monitor/vmm/mem.h"
#include "monitor/vmm/mmu.h"
#include "monitor/vmm/shadow_internal.h"
#include "monitor/vmm/soft.h"
#include "monitor/vmm/trace.h"

#define INVLPG_DROPS 32 /* so many before a table counts as one that is remapped all the time */

void shadow_account(struct vm *vm, struct shadow_table *t, unsigned i, int sign)
{
	bool low = table_base(t) + (i << PAGE_SHIFT) < vm->cfg.kernel_split || !vm->cfg.kernel_split;

	t->n_mapped += sign;
	if (!t->n_mapped) {
		t->first = SHADOW_PAGES;
		t->end = 0;
	} else if (sign > 0) {
		t->first = i < t->first ? (uint16_t)i : t->first;
		t->end = i >= t->end ? (uint16_t)(i + 1) : t->end;
	}
	if (t->state[i] & SP_GLOBAL)
		t->n_global += sign;
	else if (sign > 0)
		shadow_note_local(t);
	if (!(t->state[i] & SP_USER) && low)
		self()->n_super_low += sign;
	if (!(t->state[i] & SP_USER))
		t->n_super += sign;
}

/*
 * The host frees a page table with the last mapping of its 2 MiB, and makes a new one with the next. On a host that is
 * itself a guest under shadow paging this costs 480 us, sixty times the mapping. An inaccessible mapping around the pages
 * keeps their tables; it is one of the RAM memfd at the offset of its address, so that its pieces merge again.
 */
#define RESERVED_FROM (4u << 20) /* below it, vm.mmap_min_addr forbids mappings */

void shadow_reserve(struct vm *vm)
{
	FOR_ALL_VIEWS(vm)
		if (!is_soft())
			shadow_unmap(vm, RESERVED_FROM, vm->cfg.hole_base - RESERVED_FROM);
}

long shadow_unmap(struct vm *vm, uint32_t at, uint64_t size)
{
	long err;

	if (is_soft()) {
		soft_clear(self()->soft, at, size);
		return 0;
	}
	soft_count_mapping(vm, vm->cfg.unmap_ns);
	vm->stats.host_munmap++;
	trace_map(vm, "unmap", host_address(at), size);
	if (!vm_long(vm) || at < RESERVED_FROM)
		return host_munmap(host_address(at), size);
	if (host_mmap(host_address(at), size, PROT_NONE, vm->cfg.ram_fd, at) >= 0)
		return 0;
	/* At vm.max_map_count nothing is mapped, not even over many others: first make room. */
	err = host_munmap(host_address(at), size);
	if (!err)
		host_mmap(host_address(at), size, PROT_NONE, vm->cfg.ram_fd, at);
	return err;
}

/*
 * Unmap pages [from, to) of t; holes between mapped pages cost nothing. Taking out the middle of a mapping makes two of
 * it, which the host refuses at vm.max_map_count: then everything goes, for what stays mapped would be stale.
 */
void shadow_drop_pages(struct vm *vm, struct shadow_table *t, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		if (!(t->state[i] & SP_MAPPED))
			continue;
		shadow_account(vm, t, i, -1);
		t->state[i] = 0;
	}
	if (shadow_unmap(vm, table_base(t) + (from << PAGE_SHIFT), (uint64_t)(to - from) << PAGE_SHIFT) < 0)
		shadow_flush(vm);
}

/* Unmap the mapped pages of t whose state has this value in these bits: one call for all up to the next that stays. */
static void drop_where(struct vm *vm, struct shadow_table *t, uint8_t bits, uint8_t value)
{
	unsigned end = t->end, from = end, to = end;

	for (unsigned i = t->first; i < end; i++) {
		if (!(t->state[i] & SP_MAPPED))
			continue;
		if ((t->state[i] & bits) == value) {
			from = from == end ? i : from;
			to = i + 1;
		} else if (from != end) {
			shadow_drop_pages(vm, t, from, to);
			from = end;
		}
	}
	if (from != end)
		shadow_drop_pages(vm, t, from, to);
}

void shadow_release_table(struct vm *vm, struct shadow_table *t)
{
	if (t->n_mapped)
		shadow_drop_pages(vm, t, t->first, t->end);
	self()->slot[t->slot] = 0;
	t->used = 0;
}

void shadow_flush_view(struct vm *vm)
{
	struct shadow *s = self();

	for (unsigned i = 0; i < s->n_tables; i++) {
		struct shadow_table *t = &s->tables[i];

		if (!t->used)
			continue;
		if (is_soft() && t->n_mapped)
			soft_clear(s->soft, table_base(t) + ((uint32_t)t->first << PAGE_SHIFT),
				   (uint64_t)(t->end - t->first) << PAGE_SHIFT);
		mem_set(t->state, 0, sizeof(t->state));
		t->used = 0;
		t->n_mapped = t->n_global = t->n_super = 0;
	}
	mem_set(s->slot, 0, sizeof(s->slot));
	s->n_super_low = s->n_wp0 = s->n_tables = 0;
	s->mmu_mode = paging_mode(&vm->vcpu);
	s->log_seen = vm->vmm->log_head;
	if (!is_soft()) {
		shadow_unmap(vm, 0, RESERVED_FROM);
		shadow_unmap(vm, RESERVED_FROM, vm->cfg.hole_base - RESERVED_FROM);
	}
	if (vm->vmm->code.alias_active)
		shadow_alias(vm, true);
}

void shadow_flush(struct vm *vm)
{
	FOR_ALL_VIEWS(vm)
		shadow_flush_view(vm);
}

/* --- validation ------------------------------------------------------------------------------------------ */

uint64_t shadow_read_entry(struct vm *vm, struct gpa at, bool pae)
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
		return shadow_read_entry(vm, gpa((v->cr3 & 0xfffff000) + t->slot * 4), false);
	if (v->pdpte[t->slot >> 9] != t->pdpte)
		return 0;
	return shadow_read_entry(vm, gpa((t->pdpte & 0x000ffffffffff000ull) + (t->slot & 511) * 8), true);
}

bool shadow_entry_holds(uint64_t then, uint64_t now, bool leaf)
{
	uint64_t must_equal = ~(uint64_t)(PTE_A | PTE_D | 0xe00);

	if (!leaf)
		must_equal &= ~(uint64_t)PTE_G;
	return ((then ^ now) & must_equal) == 0 && !(then & ~now & PTE_A) && !(leaf && (then & ~now & PTE_D));
}

/* Of the eight pages from i on, is none mapped, or none but global ones? Tables are sparse. */
static bool none_of_eight(const struct shadow_table *t, unsigned i, bool globals)
{
	const uint64_t each = 0x0101010101010101ull;
	uint64_t eight;

	_Static_assert(SP_MAPPED == 1 && SP_GLOBAL == 1 << 4, "the shift below");
	mem_copy(&eight, &t->state[i], sizeof(eight));
	return !(eight & each & (globals ? each : ~(eight >> 4)));
}

/* Are the eight entries the very same as they were remembered? */
static bool same_eight(const struct shadow_table *t, unsigned i, const uint8_t *now)
{
	unsigned size = t->pae ? 8 : 4;
	const uint8_t *then = t->pae ? (const uint8_t *)&t->pte64[i] : (const uint8_t *)&t->pte32[i];
	uint64_t differ = 0, x, y;

	for (unsigned n = 0; n < size; n++) {
		mem_copy(&x, then + 8 * n, 8);
		mem_copy(&y, now + (size_t)i * size + 8 * n, 8);
		differ |= x ^ y;
	}
	return !differ;
}

/* Compare pages of t with the guest's page table now; skip global ones unless asked. */
static void validate_ptes(struct vm *vm, struct shadow_table *t, bool globals)
{
	unsigned n = t->end, start = n;
	const uint8_t *now =
	    vm_ram(vm, gpa(t->pde & 0x000ffffffffff000ull & (t->pae ? ~0ull : 0xffffffffull)), PAGE_SIZE);

	for (unsigned i = t->first; i < n; i++) {
		bool bad = false;

		if (start == n && i + 8 <= n && (none_of_eight(t, i, globals) || (now && same_eight(t, i, now)))) {
			i += 7;
			continue;
		}
		if (t->state[i] & SP_MAPPED && (globals || !(t->state[i] & SP_GLOBAL))) {
			uint64_t pte = !now ? 0 : t->pae ? ((const uint64_t *)now)[i] : ((const uint32_t *)now)[i];
			uint64_t then = remembered_pte(t, i);

			bad = pte != then && !shadow_entry_holds(then, pte, true);
			if (!bad)
				remember_pte(t, i, pte); /* it may have got A or D since */
		}
		if (bad && start == n)
			start = i;
		if (!bad && start != n) {
			shadow_drop_pages(vm, t, start, i);
			start = n;
		}
	}
	if (start != n)
		shadow_drop_pages(vm, t, start, n);
}

static bool is_global(const struct shadow_table *t)
{
	return t->n_mapped && t->n_global == t->n_mapped;
}

static void validate_table(struct vm *vm, struct shadow_table *t, bool globals)
{
	if (!t->used || (!globals && is_global(t)))
		return;
	if (!shadow_entry_holds(t->pde, current_pde(vm, t), t->large)) {
		if (globals || !t->n_global) {
			shadow_release_table(vm, t);
			return;
		}
		drop_where(vm, t, SP_GLOBAL, 0);
		return;
	}
	if (!t->large)
		validate_ptes(vm, t, globals);
	if (!t->n_mapped)
		shadow_release_table(vm, t);
}

/* At each CR3 load: the kernel's tables, many and global, are not even looked at. */
static void validate_local(struct vm *vm, struct shadow *s)
{
	for (unsigned word = 0; word * 64 < s->n_tables; word++)
		for (uint64_t left = s->local[word]; left; left &= left - 1) {
			unsigned bit = (unsigned)__builtin_ctzll(left);
			struct shadow_table *t = &s->tables[word * 64 + bit];

			validate_table(vm, t, false);
			if (!t->used || is_global(t))
				s->local[word] &= ~(1ull << bit);
		}
}

void shadow_validate_view(struct vm *vm, bool globals)
{
	struct shadow *s = self();

	if (paging_mode(&vm->vcpu) == PAGING_OFF)
		return;
	if (globals)
		for (unsigned i = 0; i < s->n_tables; i++)
			validate_table(vm, &s->tables[i], true);
	else
		validate_local(vm, s);
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
	shadow_drop_pages(vm, t, i, last);
}

void shadow_invlpg_view(struct vm *vm, struct gva at)
{
	struct shadow_table *t = paging_mode(&vm->vcpu) == PAGING_OFF ? NULL : table_at(vm, at);
	unsigned i;

	if (!t)
		return;
	if (t->large || !shadow_entry_holds(t->pde, current_pde(vm, t), false)) {
		if (!shadow_entry_holds(t->pde, current_pde(vm, t), t->large))
			shadow_release_table(vm, t);
		else
			mmu_note_cached(vm, at.a >> PAGE_SHIFT, 1);
		return;
	}
	i = page_index(t, at);
	if (t->state[i] & SP_MAPPED) {
		uint64_t pte = shadow_read_entry(vm, gpa((t->pde & 0x000ffffffffff000ull) + i * (t->pae ? 8 : 4)), t->pae);

		if (!shadow_entry_holds(remembered_pte(t, i), pte, true))
			drop_run(vm, t, i);
		else
			mmu_note_cached(vm, at.a >> PAGE_SHIFT, 1);
	}
}

bool shadow_remaps(struct vm *vm, struct gva at)
{
	const struct shadow_table *t;

	worker_self()->view = SHADOW_WINDOW;
	t = table_at(vm, at);
	return t && t->invlpg_drops >= INVLPG_DROPS;
}

bool shadow_maps(struct vm *vm, struct gva at)
{
	bool maps = false;

	FOR_EACH_VIEW(vm) {
		const struct shadow_table *t = table_at(vm, at);

		maps |= t && (t->large || (t->state[page_index(t, at)] & SP_MAPPED));
	}
	return maps;
}

void shadow_set_wp(struct vm *vm)
{
	FOR_EACH_VIEW(vm)
		if (self()->n_wp0)
			shadow_flush_view(vm);
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

		if (t->used && t->n_super && (!vm->cfg.kernel_split || table_base(t) < vm->cfg.kernel_split))
			drop_where(vm, t, SP_USER, 0);
	}
}
