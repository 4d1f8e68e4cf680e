// SPDX-License-Identifier: GPL-3.0-or-later
/* See translate.h: ways into blocks and out of them. */
#include "monitor/vmm/translate.h"

#include "monitor/vmm/clock.h"
#include "monitor/vmm/code.h"
#include "monitor/vmm/emulate.h"
#include "monitor/vmm/interpret.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/run.h"
#include "monitor/vmm/soft.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/trace.h"
#include "monitor/vmm/translate_state.h"
#include "monitor/vmm/vdso.h"
#include "monitor/vmm/x87.h"

/* --- set-up (in the VMX process) --------------------------------------------------------------------------- */

bool translate_possible(const struct vm_config *cfg)
{
	return cfg->hole_size >= ABI_LOOKUP + ABI_LOOKUP_TABLES * ABI_LOOKUP_SIZE + ABI_HOLE_GUARD &&
	       cfg->stubs_size < ABI_BLOCKS - ABI_STUBS;
}

static void *carve(uint8_t **at, size_t size)
{
	void *p = *at;

	*at += (size + 63) & ~(size_t)63;
	return p;
}

static size_t lay_out(struct translate *t, const struct vm_config *cfg, uint8_t *from)
{
	size_t frames = (size_t)(cfg->ram_size >> PAGE_SHIFT);
	uint8_t *at = from + ((sizeof(*t) + 63) & ~(size_t)63);

	t->block = carve(&at, BLOCKS * sizeof(*t->block));
	t->page = carve(&at, BLOCK_PAGES * sizeof(*t->page));
	t->site = carve(&at, SITES * sizeof(*t->site));
	t->insn = carve(&at, SITE_INSNS * sizeof(*t->insn));
	t->point = carve(&at, POINTS * sizeof(*t->point));
	t->bucket = carve(&at, BUCKETS * sizeof(*t->bucket));
	t->by_linear = carve(&at, ((size_t)1 << (32 - PAGE_SHIFT)) * sizeof(*t->by_linear));
	t->by_pfn = carve(&at, frames * sizeof(*t->by_pfn));
	t->drops = carve(&at, frames * sizeof(*t->drops));
	return ((size_t)(at - from) + PAGE_SIZE - 1) & ~(size_t)(PAGE_SIZE - 1);
}

size_t translate_arena_size(const struct vm_config *cfg)
{
	struct translate t;

	return lay_out(&t, cfg, (uint8_t *)(uintptr_t)PAGE_SIZE); /* only the distance counts */
}

void translate_init(struct vm *vm, void *at)
{
	vm->vmm->translate = at;
	lay_out(at, &vm->cfg, at);
	if (translate_possible(&vm->cfg))
		cache_reset(vm);
}

/* --- into blocks ------------------------------------------------------------------------------------------- */

static bool hint_holds(const struct vm *vm)
{
	const struct translate *t = vm->vmm->translate;

	return t->hint && t->hint_eip == vm->vcpu.eip && t->hint_epoch == t->epoch &&
	       t->hint_view == translate_view(vm);
}

bool translate_goes_on(const struct vm *vm)
{
	const struct translate *t = vm->vmm->translate;
	const struct site *s = &t->site[t->pending];

	if (hint_holds(vm))
		return true;
	if (!t->pending || s->kind == SITE_RETURN)
		return false;
	return vm->vcpu.eip == (s->kind == SITE_BRANCH ? s->guest : vm_vcpu_page(vm)->target);
}

void translate_crossed(struct vm *vm)
{
	struct translate *t = vm->vmm->translate;
	uint64_t now = clock_tsc();

	if (now >> CROSS_SPAN != t->cross_span) {
		t->cross_span = now >> CROSS_SPAN;
		t->crossings = 0;
	}
	if (++t->crossings != CROSS_MANY || vm->cfg.mode != MODE_AUTO)
		return;
	t->prefer_until = now + (1ull << PREFER_SPAN);
	cache_unpublish_direct(vm);
	vm->stats.translation_preferred++;
}

bool translate_preferred(const struct vm *vm)
{
	uint64_t until = vm->vmm->translate->prefer_until;

	return until && clock_tsc() < until;
}

static struct user_heat *heat_of(const struct vm *vm)
{
	return &vm->vmm->translate->heat[(vm->vcpu.cr3 ^ vm->vcpu.cr3 >> 12) % USER_SPACES];
}

void translate_user_trapped(struct vm *vm)
{
	struct user_heat *h = heat_of(vm);
	uint64_t now = clock_tsc();

	if (!vm->cfg.user_moves || vm->vcpu.cpl != 3 || !translate_possible(&vm->cfg))
		return;
	if (h->root != vm->vcpu.cr3 || h->span != now >> CROSS_SPAN)
		*h = (struct user_heat){.root = vm->vcpu.cr3, .span = now >> CROSS_SPAN};
	if (++h->traps != CROSS_MANY)
		return;
	h->prefer_until = now + (1ull << PREFER_SPAN);
	vm->stats.user_preferred++;
}

bool translate_user_preferred(const struct vm *vm)
{
	const struct user_heat *h = heat_of(vm);

	return h->prefer_until && h->root == vm->vcpu.cr3 && clock_tsc() < h->prefer_until;
}

bool translate_ready(const struct vm *vm)
{
	return translate_possible(&vm->cfg) && cache_find((struct vm *)vm, vm->vcpu.eip) &&
	       !code_runs_directly(vm, vm->vcpu.eip);
}

static void reset(struct vm *vm)
{
	vm->stats.block_flushes++;
	x87_settle(vm);
	cache_reset(vm);
}

/* The block for eip, whose page is looked up in the guest's tables. */
static enum translate_result find_or_make(struct vm *vm, uint32_t eip, struct block **found)
{
	struct walk w;
	uint32_t page, pfn;
	bool full = false;

	if (paging_walk(vm, gva(eip), ACCESS_FETCH | privilege(vm), &w) < 0) {
		vcpu_raise_pf(&vm->vcpu, gva(eip), w.error);
		return TRANSLATE_RAISED;
	}
	paging_mark(vm, &w, false);
	pfn = (uint32_t)(w.at.a >> PAGE_SHIFT);
	/* A far call to the vDSO's gate runs directly or not at all. */
	if (eip >= vm->cfg.hole_base || !vm_ram(vm, gpa((uint64_t)pfn << PAGE_SHIFT), PAGE_SIZE) ||
	    cache_page_is_mixed(vm, pfn) || vdso_on_page(vm, gpa((uint64_t)pfn << PAGE_SHIFT)))
		return TRANSLATE_STEP;
	for (unsigned tries = 0; tries < 2; tries++) {
		page = cache_bind(vm, eip >> PAGE_SHIFT, pfn, w.global);
		*found = page ? cache_find(vm, eip) : NULL;
		if (page && !*found)
			*found = block_make(vm, eip, page, &full);
		if (*found || (page && !full))
			break;
		reset(vm);
	}
	return *found ? TRANSLATE_ENTER : TRANSLATE_STEP;
}

enum translate_result translate_enter(struct vm *vm, uint32_t *raw)
{
	struct translate *t = vm->vmm->translate;
	uint32_t eip = vm->vcpu.eip, pending;
	struct block *b;

	if (!translate_possible(&vm->cfg))
		return TRANSLATE_STEP;
	if (hint_holds(vm)) {
		*raw = t->hint;
		t->hint = 0;
		return TRANSLATE_ENTER;
	}
	b = cache_find(vm, eip);
	if (!b) {
		enum translate_result r = find_or_make(vm, eip, &b);

		if (r != TRANSLATE_ENTER)
			return r;
	}
	pending = t->pending;
	t->pending = 0;
	if (!pending || t->site[pending].kind != SITE_BRANCH) {
		b->published = true;
		cache_publish(vm, b->view, eip, b->code);
	} else if (t->site[pending].guest == eip && t->site[pending].view == b->view) /* it may have changed on the way */
		cache_chain(vm, pending, b->code, &b->incoming);
	*raw = b->code;
	return TRANSLATE_ENTER;
}

void translate_goes_direct(struct vm *vm)
{
	struct translate *t = vm->vmm->translate;
	uint32_t pending = t->pending;

	if (!pending)
		return;
	t->pending = 0;
	if (vm->vcpu.cpl != 3 && t->site[pending].kind == SITE_RETURN && code_runs_directly(vm, vm->vcpu.eip))
		cache_publish(vm, VIEW_SUPERVISOR, vm->vcpu.eip, vm->vcpu.eip);
}

/* --- out of blocks ----------------------------------------------------------------------------------------- */

/* The code at `raw` is where vcpu->eip goes on, unless something made it useless since `epoch`. */
static void go_on_at(struct vm *vm, uint32_t raw, uint32_t epoch)
{
	struct translate *t = vm->vmm->translate;

	t->hint = raw;
	t->hint_eip = vm->vcpu.eip;
	t->hint_epoch = epoch;
	t->hint_view = translate_view(vm);
}

static void emulate_site(struct vm *vm, const struct site *s)
{
	struct translate *t = vm->vmm->translate;
	const struct insn *insn = &t->insn[s->insn];
	uint32_t next = s->guest + insn->len, epoch = t->epoch;

	vm->vcpu.eip = s->guest;
	run_count(vm, EXIT_BLOCK_CALL);
	run_count_site(vm, EXIT_BLOCK_CALL, s->guest, insn->op);
	trace_exit(vm, "block");
	if (emulate(vm, insn) == EMU_NEXT && vm->vcpu.eip == next && s->resume != MANIFEST_NONE)
		go_on_at(vm, s->resume, epoch);
}

static void aside_site(struct vm *vm, const struct site *s)
{
	struct translate *t = vm->vmm->translate;
	const struct insn *insn = &t->insn[s->insn];
	uint32_t epoch = t->epoch;

	vm->vcpu.eip = s->guest;
	run_count(vm, EXIT_ASIDE);
	trace_exit(vm, "aside");
	if (interpret(vm, insn) == 0 && vm->vcpu.eip == s->guest + insn->len)
		go_on_at(vm, s->resume, epoch);
}

static void soft_site(struct vm *vm)
{
	const struct vcpu_page *page = vm_vcpu_page(vm);
	const struct manifest_point *p = translate_point(vm, page->soft_resume);
	uint32_t epoch = vm->vmm->translate->epoch;

	if (!p) {
		vm_stop(vm, STOP_GUEST, page->soft_resume, "the guest jumped into a landing pad");
		return;
	}
	vm->vcpu.eip = p->guest;
	run_count(vm, EXIT_SOFT_FILL);
	trace_exit(vm, "fill");
	if (soft_miss(vm, gva(page->target), page->soft_access & ~LOWER_SOFT_WRITE, page->soft_access & LOWER_SOFT_WRITE))
		go_on_at(vm, page->soft_resume, epoch);
}

void translate_exit(struct vm *vm, uint32_t number)
{
	struct translate *t = vm->vmm->translate;
	uint32_t index = number - TRANSLATE_SITE;
	const struct site *s = &t->site[index];

	t->hint = 0;
	if (index >= t->n_sites || s->kind == SITE_NONE) {
		vm_stop(vm, STOP_GUEST, number, "the guest jumped into a landing pad");
		return;
	}
	t->pending = s->kind == SITE_BRANCH || s->kind == SITE_INDIRECT || s->kind == SITE_RETURN ? index : 0;
	switch (s->kind) {
	case SITE_EMULATE:
		emulate_site(vm, s);
		break;
	case SITE_ASIDE:
		aside_site(vm, s);
		break;
	case SITE_SOFT:
		soft_site(vm);
		break;
	case SITE_X87: /* once more, out of line: that settles it */
		vm->vcpu.eip = s->guest;
		run_count(vm, EXIT_BLOCK_CALL);
		trace_exit(vm, "x87");
		vm->vmm->step_once = 1;
		break;
	case SITE_BRANCH:
		vm->vcpu.eip = s->guest;
		run_count(vm, EXIT_BLOCK_JUMP);
		trace_exit(vm, "branch");
		break;
	default:
		vm->vcpu.eip = vm_vcpu_page(vm)->target;
		run_count(vm, EXIT_BLOCK_LOOK);
		trace_exit(vm, "lookup");
	}
}

/* --- addresses --------------------------------------------------------------------------------------------- */

bool translate_contains(const struct vm *vm, uint32_t raw)
{
	return raw - (vm->cfg.hole_base + ABI_BLOCKS) < ABI_BLOCKS_SIZE && translate_possible(&vm->cfg);
}

bool translate_is_pad(const struct vm *vm, uint32_t raw)
{
	return raw - (vm->cfg.hole_base + ABI_BLOCKS) >= ABI_BLOCKS_SIZE - PADS_SIZE;
}

const struct manifest_point *translate_point(const struct vm *vm, uint32_t raw)
{
	const struct translate *t = vm->vmm->translate;
	uint32_t lo = 0, hi = t->n_points;

	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (t->point[mid].stub < raw)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < t->n_points && t->point[lo].stub == raw ? &t->point[lo] : NULL;
}
