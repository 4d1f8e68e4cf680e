// SPDX-License-Identifier: GPL-3.0-or-later
/* What the files of shadow.h share: finding tables and pages, forgetting them. */
#ifndef MONITOR_VMM_SHADOW_INTERNAL_H
#define MONITOR_VMM_SHADOW_INTERNAL_H

#include "monitor/vmm/paging.h"
#include "monitor/vmm/shadow.h"
#include "monitor/vmm/soft.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/worker.h"

static inline unsigned slot_shift(const struct vcpu *v)
{
	return paging_mode(v) == PAGING_PAE ? 21 : 22;
}

static inline unsigned table_pages(const struct shadow_table *t)
{
	return t->pae ? 512 : 1024;
}

static inline uint32_t table_base(const struct shadow_table *t)
{
	return t->slot << (t->pae ? 21 : 22);
}

/* The view that is looked at. */
static inline struct shadow *self(void)
{
	struct worker *w = worker_self();

	return w->view == SHADOW_SOFT ? &soft_present(VM)->shadow : &w->shadow[w->view];
}

/* Is it kept up to date now? Others hear of what happens when they are looked at next (shadow_log.c). */
static inline bool view_is_live(const struct vm *vm, unsigned view)
{
	return view != SHADOW_LOW || worker_is_home(vm);
}

/* Look at the next view below *view; at `was`, and false, when there is none. */
static inline bool look_at_next(const struct vm *vm, unsigned *view, unsigned was, bool live)
{
	while ((*view)-- > 0) {
		if (live && !view_is_live(vm, *view))
			continue;
		worker_self()->view = (uint8_t)*view;
		return true;
	}
	worker_self()->view = (uint8_t)was;
	return false;
}

/* A loop that looks at every live view, or at every view there is here, and at the present one again when it ends. */
#define FOR_EACH_VIEW(vm)                                                                                        \
	for (unsigned view_ = shadow_views(&(vm)->cfg), was_ = worker_self()->view;                              \
	     look_at_next(vm, &view_, was_, true);)
#define FOR_ALL_VIEWS(vm)                                                                                        \
	for (unsigned view_ = shadow_views(&(vm)->cfg), was_ = worker_self()->view;                              \
	     look_at_next(vm, &view_, was_, false);)

static inline uint64_t host_address(uint32_t at)
{
	return self()->window + at;
}

static inline bool is_soft(void)
{
	return self()->soft;
}

static inline struct shadow_table *table_at(struct vm *vm, struct gva at)
{
	unsigned index = self()->slot[at.a >> slot_shift(&vm->vcpu)];

	return index ? &self()->tables[index - 1] : NULL;
}

static inline void shadow_note_local(const struct shadow_table *t)
{
	unsigned i = (unsigned)(t - self()->tables);

	self()->local[i / 64] |= 1ull << i % 64;
}

static inline unsigned page_index(const struct shadow_table *t, struct gva at)
{
	return (at.a - table_base(t)) >> PAGE_SHIFT;
}

static inline uint64_t remembered_pte(const struct shadow_table *t, unsigned i)
{
	return t->pae ? t->pte64[i] : t->pte32[i];
}

static inline void remember_pte(struct shadow_table *t, unsigned i, uint64_t pte)
{
	if (t->pae)
		t->pte64[i] = pte;
	else
		t->pte32[i] = (uint32_t)pte;
}

/* Page frame that a mapped page of t shows. */
static inline uint64_t mapped_pfn(const struct shadow_table *t, unsigned i)
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

/* The stubs' physical alias, while it is mapped, hides the RAM there. */
static inline bool shadow_in_alias(const struct vm *vm, uint32_t at)
{
	return vm->vmm->code.alias_active &&
	       at - (vm->cfg.hole_base - vm->cfg.alias_delta) < ABI_STUBS + vm->cfg.stubs_size;
}

/*
 * Unmap guest linear addresses [at, at + size) of the view; 0 or -errno. The long engine leaves an inaccessible mapping
 * there (shadow_reserve()).
 */
long shadow_unmap(struct vm *vm, uint32_t at, uint64_t size);
/* Add (sign 1) or take off (-1) page i of t, as its state says, in the counts of mapped pages. */
void shadow_account(struct vm *vm, struct shadow_table *t, unsigned i, int sign);
/* Unmap pages [from, to) of t; holes between mapped pages cost nothing. */
void shadow_drop_pages(struct vm *vm, struct shadow_table *t, unsigned from, unsigned to);
void shadow_release_table(struct vm *vm, struct shadow_table *t);

/* The view that is looked at: forget it whole; and what shadow_log.c replays. */
void shadow_flush_view(struct vm *vm);
void shadow_invlpg_view(struct vm *vm, struct gva at);
void shadow_validate_view(struct vm *vm, bool globals);
void shadow_protect_view(struct vm *vm, uint32_t pfn);
void shadow_protect_written(struct vm *vm); /* no code page is mapped writable any more, whichever became one */

/* A guest page-table entry; 0 where there is no RAM. */
uint64_t shadow_read_entry(struct vm *vm, struct gpa at, bool pae);
/* Does the entry still say all that the mapping relied on? A bit set since is no matter; a cleared one is. */
bool shadow_entry_holds(uint64_t then, uint64_t now, bool leaf);

#endif
