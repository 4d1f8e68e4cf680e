// SPDX-License-Identifier: GPL-3.0-or-later
/* See translate.h: gathers the instructions of a block and has them emitted. */
#include <errno.h>

#include "monitor/vmm/code.h"
#include "monitor/vmm/emitter.h"
#include "monitor/vmm/emulate.h"
#include "monitor/vmm/interpret.h"
#include "monitor/vmm/mem.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/translate_state.h"
#include "monitor/vmm/world.h"

#define FLAGS_ARITHMETIC 0x8d5u /* CF PF AF ZF SF OF */

/* The instructions on their way into a block. */
struct gather {
	struct lower_insn insn[BLOCK_INSNS];
	uint8_t bytes[BLOCK_INSNS][INSN_MAX];
	unsigned n;
	uint32_t second_page; /* where the last instruction ends on another one */
};

struct lower block_emitter(const struct vm *vm, enum lower_view view)
{
	const struct translate *t = vm->vmm->translate;
	struct lower l = emitter_for(vm, ABI_BLOCKS, vm->cfg.blocks_off, ABI_BLOCKS_SIZE, PADS_SIZE);

	l.code_len = view == VIEW_USER ? (t->code_len + 63) & ~63u : t->code_len;
	l.pads_len = t->pads_len;
	l.points = t->point;
	l.points_cap = POINTS;
	l.n_points = t->n_points;
	l.by_fs = !vm_long(vm) && view == VIEW_USER;
	return l;
}

void block_emitted(struct vm *vm, const struct lower *l)
{
	struct translate *t = vm->vmm->translate;

	t->code_len = (uint32_t)l->code_len;
	t->pads_len = (uint32_t)l->pads_len;
	t->n_points = (uint32_t)l->n_points;
}

/* --- gathering --------------------------------------------------------------------------------------------- */

/* The page behind the one that holds `at`; 0 when the guest may not fetch there. */
static uint32_t bind_next(struct vm *vm, uint32_t at)
{
	uint32_t next = (at & PAGE_MASK) + PAGE_SIZE;
	struct walk w;

	if (paging_walk(vm, gva(next), ACCESS_FETCH | privilege(vm), &w) < 0 || !vm_ram(vm, w.at, PAGE_SIZE))
		return 0;
	paging_mark(vm, &w, false);
	return cache_bind(vm, next >> PAGE_SHIFT, (uint32_t)(w.at.a >> PAGE_SHIFT), w.global);
}

/* Fetch and decode the instruction at `at`. Its length; 0 when it has no place in this block. */
static int gather_one(struct vm *vm, struct gather *g, uint32_t at, uint32_t page)
{
	const struct translate *t = vm->vmm->translate;
	struct lower_insn *in = &g->insn[g->n];
	uint8_t *bytes = g->bytes[g->n];
	uint32_t offset = at & (PAGE_SIZE - 1),
		 size = PAGE_SIZE - offset < INSN_MAX ? PAGE_SIZE - offset : INSN_MAX;
	int len;

	*in = (struct lower_insn){.bytes = bytes, .va = at, .site = MANIFEST_NONE};
	mem_copy(bytes, vm_ram(vm, gpa(((uint64_t)t->page[page].pfn << PAGE_SHIFT) + offset), size), size);
	code_original(vm, at, bytes, size);
	len = insn_decode(&in->insn, bytes, size, at, 32);
	if (len > 0 || size == INSN_MAX || g->n)
		return len > 0 ? len : 0;
	/* It reaches into the next page: a block of its own. */
	g->second_page = bind_next(vm, at);
	if (!g->second_page)
		return 0;
	mem_copy(bytes + size,
		 vm_ram(vm, gpa((uint64_t)t->page[g->second_page].pfn << PAGE_SHIFT), INSN_MAX - size),
		 INSN_MAX - size);
	code_original(vm, at, bytes, INSN_MAX);
	len = insn_decode(&in->insn, bytes, INSN_MAX, at, 32);
	return len > 0 ? len : 0;
}

/*
 * User code with the direct engine: FS is the block's, and the x87's instruction pointer, which nobody settles when the
 * kernel saves it, may not lead into one. Such instructions run directly. Sensitive ones have the monitor's rules for CPL 3.
 */
static enum lower_shape shape_of_user(struct lower_insn *in)
{
	const struct insn *i = &in->insn;

	if (i->seg == SEG_FS || (i->map == 0 && i->opcode >= 0xd8 && i->opcode <= 0xdf))
		return LOWER_ALONE;
	in->exit_only = true;
	return lower_block_shape(i);
}

/* At CPL 0: by the software TLB, if the instruction has a form for it that leaves R14 alone? */
static bool goes_by_table(const struct lower_insn *in)
{
	const struct insn *i = &in->insn;

	return lower_long_soft_leaves(i) || (i->has_mem && i->flow == FLOW_NEXT && !insn_is_sensitive(i) &&
					     !(i->map == 0 && (i->opcode == 0x8f || i->opcode == 0xff)) &&
					     lower_long_soft_shape(in) == LOWER_GOES_ON);
}

static enum lower_shape shape_of(const struct vm *vm, struct lower_insn *in)
{
	const struct insn *i = &in->insn;
	enum soft_way way;

	if (!vm_long(vm) && vm->vcpu.cpl == 3)
		return shape_of_user(in);
	if (!vm_long(vm))
		return lower_block_shape(i);
	way = vm->vcpu.cpl != 3 ? soft_way(vm, in->va) : SOFT_NO;
	in->soft = translate_view(vm) == VIEW_SOFT || (way == SOFT_TABLE && goes_by_table(in));
	in->leaves = (in->soft && lower_long_soft_leaves(i)) || (way == SOFT_ASIDE && interpret_can(i));
	return in->leaves ? LOWER_GOES_ON : in->soft ? lower_long_soft_shape(in) : lower_long_shape(i);
}

static void gather(struct vm *vm, struct gather *g, uint32_t eip, uint32_t page)
{
	unsigned branches = 0;
	uint32_t at = eip;

	g->n = 0;
	g->second_page = 0;
	while (g->n < BLOCK_INSNS && branches < BLOCK_BRANCHES && !((at ^ eip) & PAGE_MASK) &&
	       !g->second_page) {
		int len = gather_one(vm, g, at, page);
		enum lower_shape shape;

		if (!len)
			break;
		shape = shape_of(vm, &g->insn[g->n]);
		if (shape == LOWER_ALONE)
			break;
		branches += g->insn[g->n].insn.flow != FLOW_NEXT;
		g->n++;
		at += (uint32_t)len;
		if (shape == LOWER_ENDS)
			break;
	}
}

/* Arithmetic flags are alive wherever control may leave the block. */
static void find_dead_flags(struct gather *g)
{
	uint32_t live = FLAGS_ARITHMETIC;

	for (unsigned n = g->n; n-- > 0;) {
		const struct insn *i = &g->insn[n].insn;

		g->insn[n].flags_dead = !(live & FLAGS_ARITHMETIC);
		live = i->flow == FLOW_NEXT && !insn_is_sensitive(i)
			   ? (live & ~i->flags_written) | i->flags_read
			   : FLAGS_ARITHMETIC;
	}
}

/* --- emitting ---------------------------------------------------------------------------------------------- */

static bool has_site(const struct lower_insn *in)
{
	const struct insn *i = &in->insn;

	return policy_is_replaced(i->op) || lower_long_checks_x87(i) || in->leaves;
}

static enum site_kind kind_of(const struct insn *i)
{
	if (insn_is_sensitive(i))
		return SITE_EMULATE;
	return lower_long_checks_x87(i) ? SITE_X87 : SITE_ASIDE;
}

static bool number_sites(struct translate *t, struct gather *g, uint32_t *n_sites)
{
	for (unsigned n = 0; n < g->n; n++)
		if (has_site(&g->insn[n]))
			g->insn[n].site = TRANSLATE_SITE + (*n_sites)++;
	return *n_sites + 2 * BLOCK_INSNS < SITES && t->n_insns + BLOCK_INSNS < SITE_INSNS &&
	       t->n_blocks + 1 < BLOCKS;
}

static void record_sites(struct translate *t, const struct gather *g, const struct lower_exits *x, const struct block *b)
{
	for (unsigned n = 0; n < g->n; n++) {
		const struct lower_insn *in = &g->insn[n];

		if (in->site == MANIFEST_NONE)
			continue;
		t->insn[t->n_insns] = in->insn;
		t->site[in->site - TRANSLATE_SITE] = (struct site){
		    .kind = kind_of(&in->insn), .guest = in->va, .resume = in->resume, .insn = t->n_insns++};
	}
	for (size_t n = 0; n < x->n; n++)
		t->site[x->exit[n].site - TRANSLATE_SITE] = (struct site){.kind = SITE_BRANCH,
									  .guest = x->exit[n].guest,
									  .jump = x->exit[n].jump,
									  .page = (uint16_t)b->page[0],
									  .view = b->view,
									  .stub = x->exit[n].stub};
	t->n_sites = x->next_site - TRANSLATE_SITE;
}

static int emit_block(const struct vm *vm, struct lower *l, struct gather *g, struct lower_exits *x, enum lower_view view)
{
	if (!vm_long(vm))
		return lower_block(l, g->insn, g->n, x);
	return lower_long_block(l, g->insn, g->n, x, view, vm->cfg.hole_base + ABI_LOOKUP + lookup_offset(view));
}

/* --- what the patcher missed ------------------------------------------------------------------------------- */

static void note_unknown(struct vm_stats *s, uint32_t eip)
{
	uint32_t slot = (eip * 2654435761u) >> 18;

	for (unsigned n = 0; n < 64; n++, slot = (slot + 1) % UNKNOWN_BLOCKS)
		if (!s->unknown_blocks[slot] || s->unknown_blocks[slot] == eip) {
			s->unknown_blocks[slot] = eip;
			return;
		}
}

/* For the run report: kernel code without a proof, and sensitive instructions in it that no manifest has. */
static void note_kernel_block(struct vm *vm, const struct gather *g, uint32_t eip)
{
	uint32_t to_link = vm->vcpu.cr0 & CR0_PG ? 0 : vm->cfg.alias_delta;
	bool unknown = false;

	vm->stats.blocks_unverified += !manifest_verifies(&vm->manifest, eip + to_link);
	for (unsigned n = 0; n < g->n; n++) {
		const struct insn *i = &g->insn[n].insn;

		unknown |= insn_is_sensitive(i) && policy_get(i->op)->lowering != LOWER_VERBATIM &&
			   !manifest_site_at(&vm->manifest, g->insn[n].va + to_link);
	}
	if (unknown)
		note_unknown(&vm->stats, eip + to_link);
}

struct block *block_make(struct vm *vm, uint32_t eip, uint32_t page, bool *full)
{
	struct translate *t = vm->vmm->translate;
	struct lower_exit exit[BLOCK_INSNS + 1];
	struct lower_exits x = {
	    .exit = exit, .cap = ARRAY_LEN(exit), .lookup = t->lookup, .lookup_return = t->lookup_return, .soft = t->soft,
	    .split = vm->cfg.kernel_split};
	struct lower l = block_emitter(vm, translate_view(vm));
	struct block b = {
	    .eip = eip, .code = vm->cfg.hole_base + ABI_BLOCKS + (uint32_t)l.code_len, .page = {page}, .view = translate_view(vm)};
	uint32_t n_sites = t->n_sites;
	struct gather g;

	if (l.by_fs) {
		x.lookup = t->user_lookup;
		x.lookup_return = t->user_lookup_return;
	}

	*full = false;
	world_fpu_guard(); /* decoder and emitter may use vector registers */
	gather(vm, &g, eip, page);
	if (!g.n)
		return NULL;
	find_dead_flags(&g);
	*full = !number_sites(t, &g, &n_sites);
	x.next_site = TRANSLATE_SITE + n_sites;
	if (*full)
		return NULL;
	if (emit_block(vm, &l, &g, &x, b.view) < 0) {
		*full = l.err == -ENOSPC;
		return NULL;
	}
	block_emitted(vm, &l);
	record_sites(t, &g, &x, &b);
	b.page[1] = g.second_page;
	if (vm->vcpu.cpl != 3)
		note_kernel_block(vm, &g, eip);
	vm->stats.blocks++;
	vm->stats.block_insns += g.n;
	return cache_add(vm, &b);
}
