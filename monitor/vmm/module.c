// SPDX-License-Identifier: GPL-3.0-or-later
/* See module.h: the pages, and what other files ask about them. */
#include "monitor/vmm/module.h"

#include "monitor/vmm/clock.h"
#include "monitor/vmm/code.h"
#include "monitor/vmm/emulate.h"
#include "monitor/vmm/mem.h"
#include "monitor/vmm/module_state.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/run.h"
#include "monitor/vmm/trace.h"
#include "monitor/vmm/world.h"

/* A page that is written soon after it was promoted, again and again, stays translated for a while. Log2 of TSC cycles: */
#define SOON 28	 /* about a tenth of a second */
#define LATER 32 /* about two seconds */
#define STRIKES 8
#define PATIENCE 7     /* how often at most the time without a plan doubles, from SOON on */
#define TRAPS 16       /* of a page's sensitive instructions, and it is looked at again */
#define ROOM_LOW 65536 /* bytes of stubs that a page may need at most, more or less */

static struct modules *modules_of(const struct vm *vm)
{
	return vm->vmm->modules;
}

size_t module_arena_size(const struct vm_config *cfg)
{
	size_t maps = (size_t)(cfg->ram_size >> PAGE_SHIFT) + (1u << (32 - PAGE_SHIFT));

	if (cfg->engine == ENGINE_LONG)
		return 0;
	return (sizeof(struct modules) + maps * sizeof(uint16_t) + 2 * PAGE_SIZE) & ~(size_t)(PAGE_SIZE - 1);
}

void module_init(struct vm *vm, void *at)
{
	struct modules *m = at;

	if (vm_long(vm))
		return;
	vm->vmm->modules = m;
	m->by_pfn = (uint16_t *)(m + 1);
	m->by_linear = m->by_pfn + (vm->cfg.ram_size >> PAGE_SHIFT);
}

/* --- pages ---------------------------------------------------------------------------------------------------- */

static struct module_page *by_pfn(const struct vm *vm, uint32_t pfn)
{
	struct modules *m = modules_of(vm);
	uint16_t index = m && pfn < vm->cfg.ram_size >> PAGE_SHIFT ? m->by_pfn[pfn] : 0;

	return index ? &m->page[index - 1] : NULL;
}

/* The promoted page that is mapped at eip now. */
static struct module_page *mapped_at(const struct vm *vm, uint32_t eip)
{
	struct modules *m = modules_of(vm);
	uint16_t index = m ? m->by_linear[eip >> PAGE_SHIFT] : 0;
	struct module_page *p = index ? &m->page[index - 1] : NULL;
	struct walk w;

	if (!p || !p->used || p->linear != (eip & PAGE_MASK) || vm->cfg.mode == MODE_TRANSLATE ||
	    !(vm->vcpu.cr0 & CR0_PG) || paging_walk((struct vm *)vm, gva(eip), 0, &w) < 0)
		return NULL;
	return w.at.a >> PAGE_SHIFT == p->pfn ? p : NULL;
}

/* What was known of the page before it was written to. */
static void forget(struct module_page *p)
{
	mem_set(p->entered, 0, sizeof(p->entered));
	mem_set(p->ran, 0, sizeof(p->ran));
	p->tries = 0;
	p->since = clock_tsc();
}

static struct module_page *take_slot(struct vm *vm, uint32_t pfn)
{
	struct modules *m = modules_of(vm);
	struct module_page *p = by_pfn(vm, pfn);

	if (p)
		return p;
	if (m->n_pages == MODULE_PAGES)
		module_reset(vm);
	p = &m->page[m->n_pages++];
	p->pfn = pfn;
	p->used = p->strikes = 0;
	m->by_pfn[pfn] = (uint16_t)m->n_pages;
	vm->stats.module_met++;
	forget(p);
	return p;
}

void module_reset(struct vm *vm)
{
	struct modules *m = modules_of(vm);

	for (uint32_t i = 0; i < m->n_pages; i++) {
		if (m->page[i].used)
			code_demote(vm, m->page[i].pfn);
		m->by_pfn[m->page[i].pfn] = 0;
	}
	m->n_pages = m->code_len = m->pads_len = m->n_points = m->n_sites = 0;
	vm->vmm->resume_hint = 0;
	vm->stats.module_resets++;
}

static bool has_room(const struct modules *m)
{
	return m->code_len + ROOM_LOW < ABI_MODULES_SIZE - MODULE_PADS_SIZE &&
	       m->n_points + 8192 < MODULE_POINTS && m->n_sites + PAGE_SIZE / 2 < MODULE_SITES;
}

/* For the stubs of one more page; the slot is another one then. */
static struct module_page *make_room(struct vm *vm, struct module_page *p)
{
	uint32_t pfn = p->pfn;

	world_fpu_guard(); /* decoder and emitter may use vector registers */
	if (has_room(modules_of(vm)))
		return p;
	module_reset(vm);
	return take_slot(vm, pfn);
}

static bool settled(const struct module_page *p)
{
	return p->strikes < STRIKES || clock_tsc() - p->promoted > 1ull << LATER;
}

bool module_verified(const struct vm *vm, struct gva at, struct gpa page)
{
	const struct module_page *p = by_pfn(vm, (uint32_t)(page.a >> PAGE_SHIFT));

	return p && p->used && p->linear == (at.a & PAGE_MASK) && vm->cfg.mode != MODE_TRANSLATE;
}

/* Another frame stands at this linear address now. */
static void replace(struct vm *vm, uint32_t linear, struct module_page *p)
{
	struct modules *m = modules_of(vm);
	uint16_t index = m->by_linear[linear >> PAGE_SHIFT];
	struct module_page *old = index ? &m->page[index - 1] : NULL;

	if (old && old != p && old->used && old->linear == linear)
		code_demote(vm, old->pfn);
	m->by_linear[linear >> PAGE_SHIFT] = (uint16_t)(p - m->page + 1);
}

static void promoted(struct vm *vm, struct module_page *p, bool planned)
{
	replace(vm, p->linear, p);
	p->used = 1;
	p->scanned = !planned;
	p->traps = 0;
	vm->stats.module_unplanned += !planned;
	for (uint32_t i = 0; !planned && i < PAGE_SIZE; i++)
		vm->stats.module_insns += bit_at(p->start, i);
	p->promoted = clock_tsc();
	vm->vmm->code.ram[p->pfn] |= RAM_MODULE | RAM_ALIASED;
	vm->stats.module_promoted++;
	vm->stats.module_pages++;
}

/*
 * A page without a plan is promoted when it has settled: nothing has written to it for a while, which is the longer the
 * more often it was written to soon after, and the longer the more often it was looked at in vain. Until then it is
 * translated, and that shows where its code begins.
 */
static bool execute_unplanned(struct vm *vm, uint32_t linear, uint32_t pfn, uint8_t *ram)
{
	uint32_t eip = vm->vcpu.seg[SEG_CS].base + vm->vcpu.eip;
	struct module_page *p;
	unsigned doubled;

	if (vm->cfg.mode != MODE_AUTO)
		return false;
	p = take_slot(vm, pfn);
	if (!code_protected(vm, pfn)) /* it may have been written to unseen */
		forget(p);
	if (linear == (eip & PAGE_MASK))
		bit_set(p->entered, eip & (PAGE_SIZE - 1));
	doubled = p->strikes + p->tries;
	if (clock_tsc() - p->since < 1ull << (SOON + (doubled < PATIENCE ? doubled : PATIENCE)) ||
	    module_rests(modules_of(vm), MODULE_SEARCH_CODE, linear))
		return false;
	p = make_room(vm, p);
	if (!module_promote(vm, p, linear, ram, false)) {
		p->tries += p->tries < PATIENCE;
		p->since = clock_tsc();
		return false;
	}
	promoted(vm, p, false);
	return true;
}

bool module_execute(struct vm *vm, struct gva at, struct gpa page)
{
	struct modules *m = modules_of(vm);
	uint32_t pfn = (uint32_t)(page.a >> PAGE_SHIFT), linear = at.a & PAGE_MASK;
	uint8_t *ram = vm_ram(vm, page, PAGE_SIZE), *flags;
	struct module_page *p;
	enum module_plan_search plan;

	if (!m || !ram || (vm->cfg.mode != MODE_AUTO && vm->cfg.mode != MODE_DIRECT) ||
	    !(vm->vcpu.cr0 & CR0_PG) || !vm->cfg.modules_off)
		return false;
	if (module_verified(vm, at, page))
		return true;
	flags = &vm->vmm->code.ram[pfn];
	if (*flags & RAM_MODULE) /* promoted at another address */
		code_demote(vm, pfn);
	if (*flags & RAM_REFUSED)
		return execute_unplanned(vm, linear, pfn, ram);
	world_fpu_guard(); /* hashing may use vector registers */
	plan = module_find_plan(vm, linear);
	if (plan != PLAN_FOUND) {
		*flags |= plan == PLAN_NONE ? RAM_REFUSED : 0;
		return execute_unplanned(vm, linear, pfn, ram);
	}
	p = take_slot(vm, pfn);
	if (!settled(p))
		return false;
	p = make_room(vm, p);
	if (!module_promote(vm, p, linear, ram, true)) {
		*flags |= RAM_REFUSED;
		vm->stats.module_refused++;
		return false;
	}
	promoted(vm, p, true);
	return true;
}

void module_withdraw(struct vm *vm, struct module_page *p)
{
	uint8_t entered[PAGE_BITS], ran[PAGE_BITS], strikes = p->strikes;

	mem_copy(entered, p->entered, sizeof(entered));
	mem_copy(ran, p->ran, sizeof(ran));
	code_demote(vm, p->pfn);
	code_note_translated(vm, p->pfn); /* writes to it must not go unseen */
	mem_copy(p->entered, entered, sizeof(entered));
	mem_copy(p->ran, ran, sizeof(ran));
	p->strikes = strikes;
	p->since = 0;
}

void module_trapped(struct vm *vm, uint32_t eip)
{
	struct module_page *p = mapped_at(vm, eip);

	if (!p || !p->scanned || bit_at(p->ran, eip & (PAGE_SIZE - 1)) || ++p->traps < TRAPS)
		return;
	bit_set(p->ran, eip & (PAGE_SIZE - 1));
	module_withdraw(vm, p);
}

void module_demote(struct vm *vm, uint32_t pfn)
{
	struct module_page *p = by_pfn(vm, pfn), *before;
	uint8_t *ram = vm_ram(vm, gpa((uint64_t)pfn << PAGE_SHIFT), PAGE_SIZE);

	vm->vmm->code.ram[pfn] &= (uint8_t)~RAM_MODULE;
	if (p)
		forget(p);
	if (!p || !p->used || !ram)
		return;
	p->used = 0;
	p->strikes = clock_tsc() - p->promoted < 1ull << (p->scanned ? LATER : SOON)
			 ? (uint8_t)(p->strikes + (p->strikes < STRIKES))
			 : 0;
	mem_copy(ram, p->bytes, PAGE_SIZE);
	vm->vmm->resume_hint = 0;
	vm->stats.module_demoted++;
	vm->stats.module_pages--;
	before = mapped_at(vm, p->linear - PAGE_SIZE);
	if (before && before->crosses)
		code_demote(vm, before->pfn);
}

/* --- addresses ------------------------------------------------------------------------------------------------ */

bool module_runs_directly(const struct vm *vm, uint32_t eip)
{
	const struct module_page *p = mapped_at(vm, eip);

	return p && !bit_at(p->interior, eip & (PAGE_SIZE - 1));
}

bool module_in_window(const struct vm *vm, uint32_t eip)
{
	const struct module_page *p = mapped_at(vm, eip);

	return p && bit_at(p->interior, eip & (PAGE_SIZE - 1));
}

bool module_after_sti(const struct vm *vm, uint32_t eip)
{
	const struct module_page *p = mapped_at(vm, eip);

	return p && bit_at(p->shadow, eip & (PAGE_SIZE - 1));
}

bool module_online(const struct vm *vm, uint32_t eip)
{
	const struct module_page *p = mapped_at(vm, eip);

	return p && bit_at(p->online, eip & (PAGE_SIZE - 1));
}

uint32_t module_enter_address(const struct vm *vm, uint32_t eip)
{
	const struct module_page *p = mapped_at(vm, eip);
	const struct manifest_point *point = modules_of(vm) ? modules_of(vm)->point : NULL;

	if (!p || !bit_at(p->interior, eip & (PAGE_SIZE - 1)))
		return eip;
	for (uint32_t i = p->first_point; i < p->first_point + p->n_points; i++)
		if (point[i].guest == eip && point[i].state == POINT_BOUNDARY)
			return point[i].stub;
	return eip;
}

/* Bytes read at `linear`; what of them is on a promoted page is the guest's. */
void module_original(const struct vm *vm, uint32_t linear, uint8_t *bytes, uint32_t n)
{
	while (n) {
		uint32_t offset = linear & (PAGE_SIZE - 1),
			 part = PAGE_SIZE - offset < n ? PAGE_SIZE - offset : n;
		const struct module_page *p = mapped_at(vm, linear);

		if (p)
			mem_copy(bytes, p->bytes + offset, part);
		linear += part;
		bytes += part;
		n -= part;
	}
}

const struct manifest_point *module_point(const struct vm *vm, uint32_t raw)
{
	const struct modules *m = modules_of(vm);
	uint32_t lo = 0, hi = m ? m->n_points : 0;

	if (raw - (vm->cfg.hole_base + ABI_MODULES) >= ABI_MODULES_SIZE)
		return NULL;
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (m->point[mid].stub < raw)
			lo = mid + 1;
		else
			hi = mid;
	}
	return m && lo < m->n_points && m->point[lo].stub == raw ? &m->point[lo] : NULL;
}

void module_exit(struct vm *vm, uint32_t number)
{
	const struct modules *m = modules_of(vm);
	uint32_t index = number - MODULE_SITE, next, resume;
	struct insn insn;

	run_count(vm, EXIT_STUB);
	if (!m || index >= m->n_sites) {
		vm_stop(vm, STOP_GUEST, number, "the guest jumped into a landing pad");
		return;
	}
	mem_copy(&insn, &m->site[index].insn, sizeof(insn));
	resume = m->site[index].resume;
	vm->vcpu.eip = m->site[index].va;
	next = vm->vcpu.eip + insn.len;
	run_count_site(vm, EXIT_STUB, vm->vcpu.eip, insn.op);
	trace_exit(vm, "pad");
	if (emulate(vm, &insn) != EMU_NEXT || vm->vcpu.eip != next || resume == MANIFEST_NONE ||
	    !module_in_window(vm, next))
		return;
	vm->vmm->resume_hint = resume;
	vm->vmm->resume_eip = next;
}
