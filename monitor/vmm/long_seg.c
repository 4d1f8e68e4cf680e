// SPDX-License-Identifier: GPL-3.0-or-later
/* See long_seg.h. */
#include "monitor/vmm/long_seg.h"

#include "monitor/vmm/descriptor.h"
#include "monitor/vmm/long_ring.h"
#include "monitor/vmm/shadow_seg.h"
#include "monitor/vmm/state.h"

static uint32_t fs_field(const struct vm *vm, unsigned which)
{
	return vm->cfg.hole_base + ABI_VCPU_PAGE + VCPU_FS + which * VCPU_FS_LEN;
}

bool long_seg_is_null(const struct segment *s)
{
	return sel_null(s->sel) && !(s->attr & ATTR_P);
}

bool long_seg_is_outer(const struct segment *s)
{
	return long_seg_is_null(s) || (s->attr & ATTR_DPL) == ATTR_DPL;
}

/* --- loads that need nothing done ---------------------------------------------------------------------------- */

/* The descriptor that a segment was loaded from, if that was the GDT's and stands where it did; 0 otherwise. */
static uint64_t loaded_descriptor(const struct vm *vm, const struct segment *s)
{
	uint32_t limit = s->attr & ATTR_G ? s->limit >> 12 : s->limit;
	uint32_t lo = s->base << 16 | (limit & 0xffff);
	uint32_t hi = (s->base & 0xff000000) | (s->base >> 16 & 0xff) | s->attr | (limit & 0xf0000);

	if (sel_null(s->sel) || sel_local(s->sel) || (s->sel | 7u) > vm->vcpu.gdtr.limit || !(s->attr & ATTR_P))
		return 0;
	return (uint64_t)hi << 32 | lo;
}

struct vcpu_reload long_seg_reload(const struct vm *vm, const struct segment *s)
{
	uint64_t descriptor = loaded_descriptor(vm, s);

	return (struct vcpu_reload){
	    .descriptor_at = LONG_WINDOW + (uint32_t)(vm->vcpu.gdtr.base + (s->sel & ~7u)),
	    .minus_descriptor = -descriptor,
	    .minus_sel = descriptor ? -(uint32_t)s->sel : 1,
	};
}

/*
 * CPL 0 alone loads by itself: as it is now, or as user code may come there by the blocks. (What CPL 0 has loaded, CPL 1
 * or 2 may not be allowed to.)
 */
static bool loads_by_itself(const struct vm *vm)
{
	return !vm->vcpu.cpl || vm->vcpu.cpl == 3;
}

static void enter_reload(struct vm *vm, enum seg s)
{
	struct vcpu_reload *r = &vm_vcpu_page(vm)->reload[s];
	const struct segment *loaded = s == SEG_CS && vm->vcpu.cpl ? long_ring_inner_cs(vm) : &vm->vcpu.seg[s];

	if (loaded && loads_by_itself(vm))
		*r = long_seg_reload(vm, loaded);
	else
		r->minus_sel = 1;
}

/* --- FS -------------------------------------------------------------------------------------------------------- */

static void enter_fs_load(struct vm *vm, unsigned which)
{
	const struct segment *seg = &vm->vmm->fs[which];
	struct vcpu_reload r = long_seg_reload(vm, seg);
	struct vcpu_fs *f = &vm_vcpu_page(vm)->fs[which];

	if (long_seg_is_null(seg)) { /* it has no descriptor that could change */
		r.descriptor_at = LONG_BASE + vm->cfg.hole_base + ABI_VCPU_PAGE + offsetof(struct vcpu_page, zero);
		r.minus_sel = -(uint32_t)seg->sel;
	}
	f->descriptor_at = r.descriptor_at;
	f->minus_descriptor = r.minus_descriptor;
	f->minus_sel = r.minus_sel;
}

static void enter_fs(struct vm *vm)
{
	struct vmm_state *st = vm->vmm;
	const struct segment *seg = &vm->vcpu.seg[SEG_FS];
	struct vcpu_page *page = vm_vcpu_page(vm);

	if (!segment_is_same(&st->fs[st->fs_now], seg)) {
		st->fs_now ^= 1;
		st->fs[st->fs_now] = *seg;
	}
	for (unsigned i = 0; i < 2; i++) {
		struct vcpu_fs *f = &page->fs[i];

		f->base = st->fs[i].base;
		f->sel = st->fs[i].sel;
		f->this = LONG_BASE + fs_field(vm, i) + (segment_is_unlimited(&st->fs[i]) ? 0 : LONG_NOWHERE);
		f->other = fs_field(vm, !i);
		f->inner = !long_seg_is_outer(&st->fs[i]);
		if (loads_by_itself(vm))
			enter_fs_load(vm, i);
		else
			f->minus_sel = 1;
	}
	page->fs_at = page->fs[st->fs_now].this;
}

void long_seg_leave(struct vm *vm)
{
	struct vmm_state *st = vm->vmm;

	st->fs_now = (uint32_t)vm_vcpu_page(vm)->fs_at == fs_field(vm, 1);
	vm->vcpu.seg[SEG_FS] = st->fs[st->fs_now];
	long_ring_leave(vm);
}

/* --- all of them ----------------------------------------------------------------------------------------------- */

void long_seg_enter(struct vm *vm)
{
	static const uint8_t reloaded[] = {SEG_ES, SEG_CS, SEG_DS, SEG_GS};
	const struct segment *gs = &vm->vcpu.seg[SEG_GS];
	struct vcpu_page *page = vm_vcpu_page(vm);

	enter_fs(vm);
	page->gs_base = gs->base;
	page->gs_at = LONG_BASE + vm->cfg.hole_base + ABI_VCPU_PAGE + VCPU_GS_BASE + (segment_is_unlimited(gs) ? 0 : LONG_NOWHERE);
	for (unsigned i = 0; i < ARRAY_LEN(reloaded); i++)
		enter_reload(vm, reloaded[i]);
	long_ring_enter(vm);
	vm->vmm->world.cs = ABI_HOST_CS64;
	vm->vmm->world.ss = ABI_HOST_DS;
}
