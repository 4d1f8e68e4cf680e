// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 6.4: The translation cache
 *
 * See translate.h: the tables of blocks, what drops them, and what makes them unreachable.
 *
 * Memory is handed out in one direction and taken back all at once: code addresses stay valid (though perhaps
 * unreachable) until the cache is reset, which happens only while no guest state refers to it.
 */
#include "monitor/vmm/clock.h"
#include "monitor/vmm/code.h"
#include "monitor/vmm/mem.h"
#include "monitor/vmm/mmu.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/translate_state.h"

static struct translate *translate_of(const struct vm *vm)
{
	return vm->vmm->translate;
}

static struct lower_slot *slot_of(const struct vm *vm, enum lower_view view, uint32_t eip)
{
	uint64_t table = RAM_BASE + vm->cfg.lookup_off + lookup_offset(view);

	return (struct lower_slot *)table + (eip & (LOWER_SLOTS - 1));
}

static uint32_t *bucket_of(const struct vm *vm, uint32_t eip)
{
	return &translate_of(vm)->bucket[(eip ^ eip >> 16) % BUCKETS];
}

static uint8_t *cache_byte(const struct vm *vm, uint32_t address)
{
	return (uint8_t *)RAM_BASE + vm->cfg.blocks_off + (address - vm->cfg.hole_base - ABI_BLOCKS);
}

/* --- branches ---------------------------------------------------------------------------------------------- */

static void aim(struct vm *vm, const struct site *s, uint32_t target)
{
	uint32_t distance = target - (s->jump + 4);

	mem_copy(cache_byte(vm, s->jump), &distance, 4);
}

void cache_chain(struct vm *vm, uint32_t site, uint32_t code, uint32_t *list)
{
	struct site *s = &translate_of(vm)->site[site];

	if (s->kind != SITE_BRANCH || s->chained)
		return;
	aim(vm, s, code);
	s->chained = true;
	s->next = *list;
	*list = site;
	vm->stats.branches_chained++;
}

static void unchain(struct vm *vm, uint32_t *list)
{
	struct translate *t = translate_of(vm);

	while (*list) {
		struct site *s = &t->site[*list];

		*list = s->next;
		s->chained = false;
		aim(vm, s, s->stub);
	}
}

/* A slot that no guest address finds: {0, 0} would be found by address 0. */
static struct lower_slot no_slot(uint32_t eip)
{
	return (struct lower_slot){eip & (LOWER_SLOTS - 1) ? 0 : 1, 0};
}

void cache_publish(struct vm *vm, enum lower_view view, uint32_t eip, uint32_t code)
{
	*slot_of(vm, view, eip) = (struct lower_slot){-eip, code};
}

/* Returns to verified code go through the table as well. */
void cache_unpublish_direct(struct vm *vm)
{
	struct lower_slot *slot = slot_of(vm, VIEW_SUPERVISOR, 0);

	for (unsigned i = 0; i < LOWER_SLOTS; i++)
		if (slot[i].code && slot[i].code < vm->cfg.hole_base)
			slot[i] = no_slot(i);
}

/* --- reachability ------------------------------------------------------------------------------------------ */

static void unpublish(struct vm *vm, const struct block *b)
{
	struct lower_slot *slot = slot_of(vm, b->view, b->eip);

	if (slot->code == b->code)
		*slot = no_slot(b->eip);
}

/*
 * Its page is bound no more. What leads to it is remembered, for address spaces take turns; branches on the page itself
 * may stay as they are, for they cannot be reached either.
 */
static void make_unreachable(struct vm *vm, const struct block *b, uint32_t page)
{
	const struct translate *t = translate_of(vm);

	unpublish(vm, b);
	for (uint32_t i = b->incoming; i; i = t->site[i].next)
		if (t->site[i].page != page)
			aim(vm, &t->site[i], t->site[i].stub);
}

static void make_reachable(struct vm *vm, const struct block *b)
{
	const struct translate *t = translate_of(vm);

	if (b->published)
		cache_publish(vm, b->view, b->eip, b->code);
	for (uint32_t i = b->incoming; i; i = t->site[i].next)
		aim(vm, &t->site[i], b->code);
}

static bool is_bound(const struct translate *t, const struct block *b)
{
	return t->page[b->page[0]].bound && (!b->page[1] || t->page[b->page[1]].bound);
}

static uint32_t *next_on_page(struct block *b, uint32_t page)
{
	return &b->next_on_page[b->page[0] == page ? 0 : 1];
}

static void join_bound(struct translate *t, uint32_t page, bool global)
{
	struct block_page *p = &t->page[page];

	p->bound = true;
	p->global = global;
	p->prev_bound = 0;
	p->next_bound = t->bound[global];
	if (p->next_bound)
		t->page[p->next_bound].prev_bound = page;
	t->bound[global] = page;
}

static void leave_bound(struct translate *t, uint32_t page)
{
	struct block_page *p = &t->page[page];

	p->bound = false;
	if (p->prev_bound)
		t->page[p->prev_bound].next_bound = p->next_bound;
	else
		t->bound[p->global] = p->next_bound;
	if (p->next_bound)
		t->page[p->next_bound].prev_bound = p->prev_bound;
}

static void unbind(struct vm *vm, uint32_t page)
{
	struct translate *t = translate_of(vm);
	struct block_page *p = &t->page[page];

	if (!p->bound)
		return;
	t->epoch++;
	t->by_linear[p->linear] = 0;
	leave_bound(t, page);
	for (uint32_t i = p->blocks; i; i = *next_on_page(&t->block[i], page))
		if (!t->block[i].dead)
			make_unreachable(vm, &t->block[i], page);
}

uint32_t cache_bind(struct vm *vm, uint32_t linear, uint32_t pfn, bool global)
{
	struct translate *t = translate_of(vm);
	uint32_t page = t->by_linear[linear];
	struct block_page *p;

	if (page && t->page[page].pfn == pfn) {
		if (t->page[page].global != global) {
			leave_bound(t, page);
			join_bound(t, page, global);
		}
		t->page[page].user |= vm->vcpu.cpl == 3;
		return page;
	}
	if (page)
		unbind(vm, page);
	for (page = t->by_pfn[pfn]; page && t->page[page].linear != linear; page = t->page[page].next_of_pfn)
		;
	if (!page) {
		if (t->n_pages == BLOCK_PAGES)
			return 0;
		page = t->n_pages++;
		t->page[page] =
		    (struct block_page){.linear = linear, .pfn = pfn, .next_of_pfn = t->by_pfn[pfn]};
		t->by_pfn[pfn] = (uint16_t)page;
	}
	p = &t->page[page];
	mmu_note_cached(vm, linear, 1);
	p->user |= vm->vcpu.cpl == 3;
	join_bound(t, page, global);
	t->by_linear[linear] = (uint16_t)page;
	for (uint32_t i = p->blocks; i; i = *next_on_page(&t->block[i], page))
		if (!t->block[i].dead && is_bound(t, &t->block[i]))
			make_reachable(vm, &t->block[i]);
	return page;
}

struct block *cache_find(struct vm *vm, uint32_t eip)
{
	struct translate *t = translate_of(vm);

	for (uint32_t i = *bucket_of(vm, eip); i; i = t->block[i].next_in_bucket) {
		struct block *b = &t->block[i];

		if (b->eip == eip && b->view == translate_view(vm) && is_bound(t, b))
			return b;
	}
	return NULL;
}

struct block *cache_add(struct vm *vm, const struct block *made)
{
	struct translate *t = translate_of(vm);
	uint32_t i = t->n_blocks++;
	struct block *b = &t->block[i];

	*b = *made;
	for (unsigned n = 0; n < 2 && b->page[n]; n++) {
		b->next_on_page[n] = t->page[b->page[n]].blocks;
		t->page[b->page[n]].blocks = i;
		code_note_translated(vm, t->page[b->page[n]].pfn);
	}
	b->next_in_bucket = *bucket_of(vm, b->eip);
	*bucket_of(vm, b->eip) = i;
	return b;
}

/* --- mappings ---------------------------------------------------------------------------------------------- */

static void check(struct vm *vm, uint32_t page)
{
	const struct block_page *p = &translate_of(vm)->page[page];
	struct walk w;

	if (paging_walk(vm, gva(p->linear << PAGE_SHIFT), ACCESS_FETCH | (p->user ? ACCESS_USER : 0), &w) < 0 ||
	    w.at.a >> PAGE_SHIFT != p->pfn)
		unbind(vm, page);
}

void translate_invlpg(struct vm *vm, struct gva at)
{
	uint32_t page = translate_of(vm)->by_linear[at.a >> PAGE_SHIFT];

	if (!page)
		return;
	check(vm, page);
	if (translate_of(vm)->page[page].bound)
		mmu_note_cached(vm, at.a >> PAGE_SHIFT, 1);
}

void translate_check_mappings(struct vm *vm, bool globals)
{
	struct translate *t = translate_of(vm);

	for (unsigned global = 0; global <= globals; global++)
		for (uint32_t page = t->bound[global], next; page; page = next) {
			next = t->page[page].next_bound;
			check(vm, page);
		}
}

void translate_forget_mappings(struct vm *vm)
{
	struct translate *t = translate_of(vm);

	for (unsigned global = 0; global < 2; global++)
		while (t->bound[global])
			unbind(vm, t->bound[global]);
}

/* --- dropping ---------------------------------------------------------------------------------------------- */

static void leave_bucket(struct vm *vm, uint32_t i)
{
	struct translate *t = translate_of(vm);
	uint32_t *at = bucket_of(vm, t->block[i].eip);

	while (*at && *at != i)
		at = &t->block[*at].next_in_bucket;
	if (*at)
		*at = t->block[i].next_in_bucket;
}

static struct page_drops *drops_of(struct vm *vm, uint32_t pfn)
{
	struct page_drops *d = &translate_of(vm)->drops[pfn];
	uint8_t span = (uint8_t)(clock_tsc() >> MIXED_SPAN);

	if (d->span != span)
		*d = (struct page_drops){.span = span};
	return d;
}

bool cache_page_is_mixed(struct vm *vm, uint32_t pfn)
{
	return drops_of(vm, pfn)->n == MIXED_DROPS;
}

void translate_drop_page(struct vm *vm, uint32_t pfn)
{
	struct page_drops *d = drops_of(vm, pfn);

	if (d->n < MIXED_DROPS)
		d->n++;
	cache_drop_blocks(vm, pfn);
}

void cache_drop_blocks(struct vm *vm, uint32_t pfn)
{
	struct translate *t = translate_of(vm);

	t->epoch++;
	for (uint32_t page = t->by_pfn[pfn]; page; page = t->page[page].next_of_pfn) {
		for (uint32_t i = t->page[page].blocks; i; i = *next_on_page(&t->block[i], page)) {
			struct block *b = &t->block[i];

			if (b->dead)
				continue;
			b->dead = true;
			unpublish(vm, b);
			unchain(vm, &b->incoming);
			leave_bucket(vm, i);
			vm->stats.blocks_dropped++;
		}
		t->page[page].blocks = 0;
	}
}

void translate_note_entries(const struct vm *vm, uint32_t linear, uint32_t pfn, uint8_t *bits)
{
	const struct translate *t = translate_of(vm);

	for (uint32_t page = t ? t->by_pfn[pfn] : 0; page; page = t->page[page].next_of_pfn) {
		if (t->page[page].linear != linear >> PAGE_SHIFT)
			continue;
		for (uint32_t i = t->page[page].blocks; i; i = *next_on_page(&t->block[i], page)) {
			uint32_t offset = t->block[i].eip & (PAGE_SIZE - 1);

			if (t->block[i].page[0] == page && !t->block[i].dead)
				bits[offset >> 3] |= (uint8_t)(1u << (offset & 7));
		}
	}
}

static uint32_t make_shared(struct vm *vm, enum site_kind kind, enum lower_view view)
{
	struct translate *t = translate_of(vm);
	struct lower l = block_emitter(vm, view);
	uint32_t at, site = TRANSLATE_SITE + t->n_sites;

	t->site[t->n_sites++] = (struct site){.kind = kind};
	if (kind == SITE_SOFT)
		at = lower_long_soft_miss(&l, site);
	else
		at = vm_long(vm) ? lower_long_miss(&l, site) : lower_lookup(&l, vm->cfg.hole_base + ABI_LOOKUP + lookup_offset(view), site);
	block_emitted(vm, &l);
	return at;
}

void cache_reset(struct vm *vm)
{
	struct translate *t = translate_of(vm);

	for (uint32_t page = 1; page < t->n_pages; page++) {
		t->by_linear[t->page[page].linear] = 0;
		t->by_pfn[t->page[page].pfn] = 0;
	}
	if (t->n_pages) { /* not the first time: then they are zero, and 450 pages that nobody has touched */
		mem_set(t->bucket, 0, BUCKETS * sizeof(*t->bucket));
		mem_set(slot_of(vm, VIEW_SUPERVISOR, 0), 0, ABI_LOOKUP_TABLES * ABI_LOOKUP_SIZE);
	}
	*slot_of(vm, VIEW_SUPERVISOR, 0) = *slot_of(vm, VIEW_USER, 0) = *slot_of(vm, VIEW_SOFT, 0) = no_slot(0);
	t->n_blocks = t->n_pages = t->n_sites = t->n_insns = 1;
	t->n_points = t->code_len = t->pads_len = 0;
	t->bound[0] = t->bound[1] = t->pending = 0;
	t->epoch++;
	t->lookup = make_shared(vm, SITE_INDIRECT, VIEW_SUPERVISOR);
	t->lookup_return = make_shared(vm, SITE_RETURN, VIEW_SUPERVISOR);
	if (vm->cfg.user_moves) {
		t->user_lookup = make_shared(vm, SITE_INDIRECT, VIEW_USER);
		t->user_lookup_return = make_shared(vm, SITE_RETURN, VIEW_USER);
	}
	if (vm->cfg.soft)
		t->soft = make_shared(vm, SITE_SOFT, VIEW_SUPERVISOR);
}
