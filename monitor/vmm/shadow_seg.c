// SPDX-License-Identifier: GPL-3.0-or-later
/* See shadow_seg.h. SDM 3A 3.4.5 (descriptors), Linux arch/x86/kernel/ldt.c (what modify_ldt accepts). */
#include "monitor/vmm/shadow_seg.h"

#include <asm/ldt.h>

#include "monitor/vmm/host.h"
#include "monitor/vmm/segment.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/worker.h"

#define TYPE_CODE BIT(11)
#define TYPE_EXPAND_DOWN BIT(10)
#define TYPE_RW BIT(9) /* writable data, readable code */
#define LDT_TI 4
#define LDT_SELECTOR(slot) (uint16_t)((slot) << 3 | LDT_TI | 3)

bool segment_is_unlimited(const struct segment *s)
{
	return s->limit == 0xffffffff && (s->attr & ATTR_P) &&
	       (s->attr & (TYPE_CODE | TYPE_RW | TYPE_EXPAND_DOWN)) == TYPE_RW;
}

bool segment_is_flat(const struct segment *s)
{
	return s->base == 0 && s->limit == 0xffffffff && (s->attr & ATTR_P) && (s->attr & ATTR_DB) &&
	       ((s->attr & TYPE_CODE) || (s->attr & (TYPE_RW | TYPE_EXPAND_DOWN)) == TYPE_RW);
}

bool shadow_seg_truncates(const struct vm *vm)
{
	return vm->vcpu.cpl == 3 && vm->cfg.kernel_split && !vm_long(vm);
}

bool segment_is_same(const struct segment *a, const struct segment *b)
{
	return a->sel == b->sel && a->base == b->base && a->limit == b->limit && a->attr == b->attr;
}

/* Install {base, limit, type} in this process's LDT at `slot`. */
static void install(struct vm *vm, unsigned slot, const struct segment *s)
{
	bool code = s->attr & TYPE_CODE;
	bool pages = s->limit > 0xfffff;
	struct user_desc desc = {
	    .entry_number = slot,
	    .base_addr = s->base,
	    .limit = pages ? s->limit >> 12 : s->limit,
	    .seg_32bit = !!(s->attr & ATTR_DB),
	    .contents = code ? MODIFY_LDT_CONTENTS_CODE
			     : (s->attr & TYPE_EXPAND_DOWN ? MODIFY_LDT_CONTENTS_STACK : MODIFY_LDT_CONTENTS_DATA),
	    .read_exec_only = !(s->attr & TYPE_RW),
	    .limit_in_pages = pages,
	    .seg_not_present = !(s->attr & ATTR_P),
	    .useable = 1,
	};

	vm->stats.host_ldt++;
	if (host_modify_ldt(&desc, sizeof(desc)) < 0)
		vm_stop(vm, STOP_MONITOR, slot, "the host refused an LDT entry");
}

/* Slots under segment registers that did not change stay, however long ago they were looked up. */
static bool in_use(const struct vmm_state *st, unsigned slot)
{
	for (unsigned s = 0; s < SEG_COUNT; s++)
		if (st->hw_sel[s] == LDT_SELECTOR(slot))
			return true;
	return false;
}

static struct ldt_content content_of(const struct segment *s)
{
	bool pages = s->limit > 0xfffff;

	return (struct ldt_content){
	    .lo = s->base,
	    .hi = (pages ? s->limit >> 12 : s->limit) << 12 | ((s->attr >> 8) & 0xe) | !!(s->attr & ATTR_DB) |
		  (pages ? 0x10 : 0),
	};
}

/*
 * A user selector gets the slot of its own index where it can, because user code reads selectors back in direct mode:
 * glibc's pthread_create takes the number of its TLS entry from %gs >> 3. Only the table bit differs then. 0 when another
 * register holds other contents of that index.
 */
static uint16_t named_selector(struct vm *vm, enum seg seg, const struct segment *s)
{
	struct vmm_state *st = vm->vmm;
	unsigned slot = s->sel >> 3;
	struct ldt_content now = content_of(s), *have;

	if ((s->sel & 3) != 3 || !slot || slot >= LDT_NAMED)
		return 0;
	have = &worker_self()->ldt_named[slot];
	if (have->lo == now.lo && have->hi == now.hi)
		return LDT_SELECTOR(slot);
	for (unsigned other = 0; other < SEG_COUNT; other++)
		if (other != seg && st->hw_sel[other] == LDT_SELECTOR(slot))
			return 0;
	install(vm, slot, s);
	*have = now;
	return LDT_SELECTOR(slot);
}

/* LDT selector for a descriptor's content; cached by content, least recently used goes first. */
static uint16_t ldt_selector(struct vm *vm, const struct segment *s)
{
	struct vmm_state *st = vm->vmm;
	struct ldt_content now = content_of(s);
	uint32_t lo = now.lo, hi = now.hi;
	unsigned slot, victim = 0;

	for (slot = LDT_NAMED; slot < LDT_SLOTS; slot++) {
		if (st->ldt[slot].generation && st->ldt[slot].lo == lo && st->ldt[slot].hi == hi)
			break;
		if ((!victim || st->ldt[slot].last_use < st->ldt[victim].last_use) && !in_use(st, slot))
			victim = slot;
	}
	if (slot == LDT_SLOTS) {
		slot = victim;
		st->ldt[slot].lo = lo;
		st->ldt[slot].hi = hi;
		st->ldt[slot].generation = ++st->ldt_next_generation;
	}
	st->ldt[slot].last_use = ++st->ldt_clock;
	if (worker_self()->ldt_generation[slot] != st->ldt[slot].generation) {
		install(vm, slot, s);
		worker_self()->ldt_generation[slot] = st->ldt[slot].generation;
	}
	return LDT_SELECTOR(slot);
}

static uint16_t host_selector(struct vm *vm, enum seg seg)
{
	struct segment s = vm->vcpu.seg[seg];
	uint16_t named;

	if (!(s.attr & ATTR_P))
		return 0;
	if (segment_is_flat(&s)) {
		if (seg == SEG_CS && !shadow_seg_truncates(vm))
			return ABI_HOST_CS32;
		if (vm->vcpu.cpl != 3)
			return ABI_HOST_DS;
		/* Never ABI_HOST_DS: user code that loads this number for its own descriptor would look unchanged. */
		if (shadow_seg_truncates(vm))
			s.limit = vm->cfg.kernel_split - 1;
	}
	named = named_selector(vm, seg, &s);
	return named ? named : ldt_selector(vm, &s);
}

void shadow_seg_enter(struct vm *vm)
{
	struct vmm_state *st = vm->vmm;
	struct world *w = &st->world;
	struct vcpu *v = &vm->vcpu;
	bool fresh = !st->hw_valid || st->hw_cpl != v->cpl;

	for (unsigned s = 0; fresh && s < SEG_COUNT; s++)
		st->hw_sel[s] = 0; /* what they held is in use no more */
	for (unsigned s = 0; s < SEG_COUNT; s++) {
		if (!fresh && segment_is_same(&st->hw_seg[s], &v->seg[s])) {
			if ((st->hw_sel[s] & LDT_TI) && st->hw_sel[s] >> 3 >= LDT_NAMED) /* still in use: not to be replaced */
				st->ldt[st->hw_sel[s] >> 3].last_use = ++st->ldt_clock;
			continue;
		}
		st->hw_sel[s] = host_selector(vm, s);
		st->hw_seg[s] = v->seg[s];
	}
	st->hw_cpl = v->cpl;
	st->hw_valid = 1;
	w->cs = st->hw_sel[SEG_CS];
	w->ss = st->hw_sel[SEG_SS];
	w->ds = st->hw_sel[SEG_DS];
	w->es = st->hw_sel[SEG_ES];
	w->fs = st->hw_sel[SEG_FS];
	w->gs = st->hw_sel[SEG_GS];
}

/*
 * The guest loaded `sel` natively: what hardware would have loaded, or null where it would have faulted. A shadow
 * selector that it copied from another register stands for what that one holds.
 */
static void adopt(struct vm *vm, enum seg seg, uint16_t sel)
{
	struct descriptor d;
	struct segment *s = &vm->vcpu.seg[seg];

	vm->vmm->hw_valid = 0;
	for (unsigned other = 0; (sel & LDT_TI) && other < SEG_COUNT; other++)
		if (other != seg && vm->vmm->hw_sel[other] == sel) {
			*s = vm->vcpu.seg[other];
			return;
		}
	*s = (struct segment){.sel = sel};
	if ((sel & ~3) && descriptor_read(vm, sel, &d) == 0) {
		struct segment loaded = segment_unpack(sel, d);
		if ((loaded.attr & (ATTR_P | ATTR_S)) == (ATTR_P | ATTR_S))
			*s = loaded;
	}
	vm->vcpu.exc_vector = EXC_NONE;
}

bool shadow_seg_leave(struct vm *vm)
{
	struct vmm_state *st = vm->vmm;
	struct world *w = &st->world;
	const uint16_t now[SEG_COUNT] = {w->es, w->cs, w->ss, w->ds, w->fs, w->gs};
	bool changed = false;

	for (unsigned s = 0; s < SEG_COUNT; s++) {
		if (s == SEG_CS || now[s] == st->hw_sel[s])
			continue;
		adopt(vm, s, now[s]);
		changed = true;
	}
	return changed;
}
