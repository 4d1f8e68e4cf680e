// SPDX-License-Identifier: GPL-3.0-or-later
/* See soft.h. */
#include "monitor/vmm/soft.h"

#include "hypercalls/lower_long.h"
#include "monitor/vmm/clock.h"
#include "monitor/vmm/emulate.h"
#include "monitor/vmm/mem.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/run.h"
#include "monitor/vmm/shadow.h"
#include "monitor/vmm/translate.h"

#define TICK_MS 3	/* timer interrupts that come faster do not count */
#define QUIET_FILLS 16	/* a tick with fewer than so many entries made ... */
#define QUIET_TICKS 2	/* ... so often in a row, and user code in the middle: it computes */
#define BUSY_SHARE 10	/* mapping takes more than 1 / this of the time: back to the table */
#define BUSY_COST 1000	/* us: looked at only then */

/* --- entries ----------------------------------------------------------------------------------------------- */

static void set(struct lower_soft_part *p, uint32_t page, uint64_t add)
{
	p->add[page] = add;
	p->one_minus_add[page] = 1 - add;
}

static void clear(struct lower_soft_part *p, uint32_t page, size_t n)
{
	mem_set(&p->add[page], 0, n * sizeof(p->add[0]));
	mem_set(&p->one_minus_add[page], 0, n * sizeof(p->one_minus_add[0]));
}

void soft_set(struct lower_soft *t, uint32_t at, unsigned n, uint64_t pfn, bool writable)
{
	uint64_t add = RAM_BASE + (pfn << PAGE_SHIFT) - at; /* the same all along */
	uint32_t page = at >> PAGE_SHIFT;

	if (!writable)
		clear(&t->write, page, n);
	for (unsigned i = 0; i < n; i++) {
		set(&t->read, page + i, add);
		if (writable)
			set(&t->write, page + i, add);
	}
}

void soft_clear(struct lower_soft *t, uint32_t at, uint64_t size)
{
	clear(&t->read, at >> PAGE_SHIFT, size >> PAGE_SHIFT);
	clear(&t->write, at >> PAGE_SHIFT, size >> PAGE_SHIFT);
}

/* --- misses ------------------------------------------------------------------------------------------------ */

static bool fill(struct vm *vm, struct gva at, unsigned access)
{
	uint64_t demoted = vm->stats.pages_demoted;

	switch (shadow_soft_fault(vm, at, access)) {
	case SHADOW_MAPPED:
		/* A page that was code may be the writer's own. */
		if ((access & ACCESS_WRITE) && (vm->stats.pages_demoted != demoted || run_same_page(vm, at.a)))
			vm->vmm->step_once = 1;
		return !vm->vmm->step_once;
	case SHADOW_RAISED:
		run_note_fault(vm, at, access);
		return false;
	default:
		vm->vmm->step_once = 1;
		return false;
	}
}

bool soft_miss(struct vm *vm, struct gva at, unsigned size, bool write)
{
	unsigned access = privilege(vm) | (write ? ACCESS_WRITE : 0);
	const struct lower_soft_part *t = &worker_self()->shadow[SHADOW_SOFT].soft->read;
	uint32_t last = at.a + size - 1;

	worker_self()->fills++;
	if (!fill(vm, at, access))
		return false;
	if (!((at.a ^ last) & PAGE_MASK))
		return true;
	if (!fill(vm, gva(last & PAGE_MASK), access))
		return false;
	vm->vmm->step_once = t->add[at.a >> PAGE_SHIFT] != t->add[last >> PAGE_SHIFT]; /* it breaks in two: out of line */
	return !vm->vmm->step_once;
}

/* --- policy ------------------------------------------------------------------------------------------------ */

void soft_start(struct vm *vm, struct worker *w)
{
	w->soft = vm->cfg.soft;
	w->quiet_ticks = 0;
	w->fills = 0;
}

void soft_tick(struct vm *vm)
{
	struct worker *w = worker_self();
	uint64_t now = clock_tsc();
	bool quiet = vm->vcpu.cpl == 3 && w->fills < QUIET_FILLS;

	if (!soft_active(vm) || (now - w->last_tick) * 1000 < vm->cfg.tsc_hz * TICK_MS)
		return;
	w->last_tick = now;
	w->fills = 0;
	w->quiet_ticks = quiet ? w->quiet_ticks + 1 : 0;
	if (w->quiet_ticks < QUIET_TICKS)
		return;
	w->soft = 0;
	w->mapping_cost = 0;
	w->mapping_since = now;
}

void soft_count_mapping(struct vm *vm, unsigned cost)
{
	struct worker *w = worker_self();
	uint64_t us;

	if (!vm->cfg.soft || w->soft)
		return;
	w->mapping_cost += cost;
	if (w->mapping_cost < BUSY_COST)
		return;
	us = (clock_tsc() - w->mapping_since) * 1000000 / vm->cfg.tsc_hz;
	if (us < (uint64_t)BUSY_SHARE * w->mapping_cost) {
		w->soft = 1;
		w->quiet_ticks = 0;
	}
	w->mapping_cost = 0;
	w->mapping_since = clock_tsc();
}
