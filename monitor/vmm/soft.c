// SPDX-License-Identifier: GPL-3.0-or-later
/* See soft.h. */
#include "monitor/vmm/soft.h"

#include <errno.h>

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
#define QUIET_TICKS_MOST 64 /* twice as often each time that mappings turned out not to pay */
#define CALLS 16	/* with fewer calls of its kernel in a tick, it computes; with as many, it no longer runs natively */
#define SWITCHES 16	/* the CPU came to it so often in a tick: mappings would cost a switch of the host's processes each time */
#define BUSY_SHARE 10	/* mapping takes more than 1 / this of the time: back to the table */
#define BUSY_COST 8000000	/* ns: looked at only then, for what is mapped first is to be used for long */

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
	struct soft_space *space = soft_present(vm);
	const struct lower_soft_part *t = &space->shadow.soft->read;
	uint32_t last = at.a + size - 1;

	space->fills++;
	if (!fill(vm, at, access))
		return false;
	if (!((at.a ^ last) & PAGE_MASK))
		return true;
	if (!fill(vm, gva(last & PAGE_MASK), access))
		return false;
	vm->vmm->step_once = t->add[at.a >> PAGE_SHIFT] != t->add[last >> PAGE_SHIFT]; /* it breaks in two: out of line */
	return !vm->vmm->step_once;
}

int soft_host(struct vm *vm, struct gva at, unsigned access, void **host)
{
	struct soft_space *space = soft_present(vm);
	uint32_t page = at.a >> PAGE_SHIFT;
	const uint64_t *add;

	*host = NULL;
	if (!vm->cfg.soft)
		return 0;
	add = access & ACCESS_WRITE ? space->shadow.soft->write.add : space->shadow.soft->read.add;
	if (!add[page] && (vm->vcpu.cpl == 3 ? soft_active(vm) : at.a < vm->cfg.kernel_split)) {
		space->fills += vm->vcpu.cpl == 3;
		if (shadow_soft_fault(vm, at, access) == SHADOW_RAISED) {
			run_note_fault(vm, at, access);
			return -EFAULT;
		}
	}
	if (add[page])
		*host = (void *)(uintptr_t)(add[page] + at.a);
	return 0;
}

/* --- address spaces ---------------------------------------------------------------------------------------- */

/* What it has of its last address space is compared with the new one's page tables, as at every CR3 load. */
static void take(struct soft_space *space, uint64_t root)
{
	space->root = root;
	space->mapped = 0;
	space->quiet_ticks = 0;
	space->quiet_wanted = QUIET_TICKS;
	space->native = 0;
	space->native_ticks = 0;
	space->native_wanted = 1;
	space->fills = 0;
	space->calls = 0;
	space->switches = 0;
}

void soft_enter(struct vm *vm, uint64_t root)
{
	struct vmm_state *s = vm->vmm;
	unsigned to = 0;

	if (!vm->cfg.soft)
		return;
	for (unsigned i = 0; i < SOFT_SPACES && s->space[to].root != root; i++)
		if (s->space[i].root == root || s->space[i].last_use < s->space[to].last_use)
			to = i;
	if (s->space[to].root != root)
		take(&s->space[to], root);
	s->space[to].last_use = ++s->space_seq;
	s->space[to].switches += to != s->space_now;
	s->space_now = to;
}

/* --- policy ------------------------------------------------------------------------------------------------ */

static void consider_mapping(struct soft_space *space, bool user)
{
	user &= space->switches < SWITCHES;
	space->quiet_ticks = user && space->fills < QUIET_FILLS ? space->quiet_ticks + 1 : 0;
	if (space->quiet_ticks < space->quiet_wanted)
		return;
	space->mapped = 1;
	space->mapping_pays = 1;
	space->mapping_cost = 0;
	space->mapping_since = space->last_tick;
	space->native_ticks = 0;
}

static void consider_native(struct soft_space *space, bool user)
{
	space->native_ticks = user && space->calls < CALLS ? space->native_ticks + 1 : 0;
	space->native |= space->native_ticks >= space->native_wanted;
}

static uint8_t more_patience(uint8_t ticks)
{
	return ticks < QUIET_TICKS_MOST ? ticks * 2 : ticks;
}

void soft_tick(struct vm *vm)
{
	struct soft_space *space = soft_present(vm);
	uint64_t now = clock_tsc();

	if (!vm->cfg.soft || (now - space->last_tick) * 1000 < vm->cfg.tsc_hz * TICK_MS)
		return;
	space->last_tick = now;
	if (!space->mapped)
		consider_mapping(space, vm->vcpu.cpl == 3);
	else if (space->switches >= SWITCHES)
		space->mapping_pays = 0;
	else if (vm->cfg.native_user)
		consider_native(space, vm->vcpu.cpl == 3);
	space->fills = 0;
	space->calls = 0;
	space->switches = 0;
}

void soft_count_call(struct vm *vm)
{
	if (vm->vcpu.cpl == 3)
		soft_count_calls(vm, 1);
}

void soft_count_calls(struct vm *vm, uint32_t n)
{
	struct soft_space *space = soft_present(vm);

	if (!vm->cfg.soft)
		return;
	space->calls += n;
	if (space->calls < CALLS || !space->native)
		return;
	space->native = 0;
	space->native_ticks = 0;
	space->native_wanted = more_patience(space->native_wanted);
}

void soft_count_mapping(struct vm *vm, uint32_t ns)
{
	struct soft_space *space = soft_present(vm);
	uint64_t passed;

	if (!vm->cfg.soft || !space->mapped)
		return;
	space->mapping_cost += ns;
	if (space->mapping_cost < BUSY_COST)
		return;
	passed = (clock_tsc() - space->mapping_since) * 1000000 / vm->cfg.tsc_hz * 1000;
	space->mapping_pays = passed >= (uint64_t)BUSY_SHARE * space->mapping_cost;
	space->mapping_cost = 0;
	space->mapping_since = clock_tsc();
}

void soft_settle(struct vm *vm)
{
	struct soft_space *space = soft_present(vm);

	if (!vm->cfg.soft || !space->mapped || space->mapping_pays)
		return;
	space->mapped = 0;
	space->native = 0;
	space->quiet_ticks = 0;
	space->quiet_wanted = more_patience(space->quiet_wanted);
}
