// SPDX-License-Identifier: GPL-3.0-or-later
/* See long_ring.h. */
#include "monitor/vmm/long_ring.h"

#include "monitor/vmm/gmem.h"
#include "monitor/vmm/long_seg.h"
#include "monitor/vmm/shadow_seg.h"
#include "monitor/vmm/soft.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/transfer.h"
#include "monitor/vmm/translate_state.h"
#include "monitor/vmm/worker.h"

#define TSS_ESP0 4 /* SDM 3A 7.2.1, with SS0 behind it */
#define TSS_END0 12
#define FLAGS_PLAIN (FL_IF | FL_IOPL | FL_NT | FL_AC | FL_TF) /* of these, IF alone in user code that goes inward by itself */

static bool is_gate(struct descriptor d)
{
	return desc_type(d.hi) == DT_INT32 || desc_type(d.hi) == DT_TRAP32;
}

static bool is_tss(const struct vm *vm)
{
	const struct segment *tr = &vm->vcpu.tr;

	return (tr->attr & ATTR_P) && tr->limit >= TSS_END0 - 1 && (desc_type(tr->attr) == DT_TSS32_BUSY);
}

void long_ring_note(struct vm *vm, unsigned vector, const struct segment *cs, const struct segment *ss)
{
	const struct vcpu *v = &vm->vcpu;
	struct long_ring *r = &vm->vmm->ring;
	struct gva at = gva(v->idtr.base + vector * 8);

	r->known = false;
	if (sel_rpl(cs->sel) != 3 || v->cpl || !is_tss(vm) || gmem_read(vm, at, &r->gate, sizeof(r->gate), 0) < 0 ||
	    !is_gate(r->gate))
		return;
	r->vector = (uint8_t)vector;
	r->inner[0] = v->seg[SEG_CS];
	r->inner[1] = v->seg[SEG_SS];
	r->outer[0] = *cs;
	r->outer[1] = *ss;
	r->known = segment_is_flat(cs) && segment_is_flat(ss) && segment_is_flat(&r->inner[0]) && segment_is_flat(&r->inner[1]);
	r->laid = false;
}

const struct segment *long_ring_inner_cs(const struct vm *vm)
{
	return vm->vmm->ring.known ? &vm->vmm->ring.inner[0] : NULL;
}

/* --- into the vCPU page ------------------------------------------------------------------------------------ */

/* False for a segment whose descriptor is none of the GDT's. */
static bool lay_known(const struct vm *vm, struct vcpu_known *k, const struct segment *s)
{
	struct vcpu_reload l = long_seg_reload(vm, s);

	*k = (struct vcpu_known){l.descriptor_at, l.minus_descriptor};
	return l.minus_sel != 1;
}

static void lay(struct vm *vm)
{
	const struct vcpu *v = &vm->vcpu;
	struct long_ring *r = &vm->vmm->ring;
	struct vcpu_ring *p = &vm_vcpu_page(vm)->ring;

	p->entry = gate_offset(r->gate);
	p->if_delta = desc_type(r->gate.hi) == DT_INT32 ? -(uint32_t)FL_IF : 0;
	p->minus_ss0 = -(uint32_t)r->inner[1].sel;
	p->inner_cs = r->inner[0].sel;
	p->inner_ss = r->inner[1].sel;
	p->outer_cs = r->outer[0].sel;
	p->outer_ss = r->outer[1].sel;
	p->minus_ss3 = -(uint32_t)r->outer[1].sel;
	p->gate.at = LONG_WINDOW + (uint32_t)(v->idtr.base + r->vector * 8u);
	p->gate.minus = -((uint64_t)r->gate.hi << 32 | r->gate.lo);
	p->tss = LONG_WINDOW + (uint32_t)(v->tr.base + TSS_ESP0);
	p->window = LONG_WINDOW;
	p->inner_table = lookup_address(vm, VIEW_SUPERVISOR);
	r->known &= lay_known(vm, &p->code0, &r->inner[0]) && lay_known(vm, &p->stack0, &r->inner[1]) &&
		    lay_known(vm, &p->code3, &r->outer[0]) && lay_known(vm, &p->stack3, &r->outer[1]);
	r->gdtr = v->gdtr;
	r->idtr = v->idtr;
	r->tss = v->tr.base;
	r->laid = true;
}

static bool is_same_table(const struct table_register *a, const struct table_register *b)
{
	return a->base == b->base && a->limit == b->limit;
}

static bool is_laid(const struct vm *vm)
{
	const struct vcpu *v = &vm->vcpu;
	const struct long_ring *r = &vm->vmm->ring;

	return r->laid && r->tss == v->tr.base && is_same_table(&r->gdtr, &v->gdtr) && is_same_table(&r->idtr, &v->idtr);
}

/* Where user code is to go on; 0 when the monitor has to see it first. */
static uint64_t outer_table(struct vm *vm)
{
	const struct vmm_state *st = vm->vmm;

	if (soft_native(vm) || (st->faulted.access && st->faulted.cr3 == vm->vcpu.cr3))
		return 0;
	if (soft_active(vm))
		return lookup_address(vm, VIEW_SOFT);
	return worker_is_home(vm) ? lookup_address(vm, VIEW_USER) : 0;
}

void long_ring_enter(struct vm *vm)
{
	const struct vcpu *v = &vm->vcpu;
	struct long_ring *r = &vm->vmm->ring;
	struct vcpu_ring *p = &vm_vcpu_page(vm)->ring;
	bool out;

	p->cpl = v->cpl;
	p->minus_vector = p->minus_cs3 = 1;
	if (!r->known || (v->cpl && v->cpl != 3))
		return;
	if (!is_laid(vm))
		lay(vm);
	if (!r->known || r->vector * 8u + 7 > v->idtr.limit)
		return;
	p->outer_table = outer_table(vm);
	out = p->outer_table && long_seg_is_outer(&v->seg[SEG_DS]) && long_seg_is_outer(&v->seg[SEG_ES]) && long_seg_is_outer(&v->seg[SEG_GS]);
	if (out)
		p->minus_cs3 = -(uint32_t)r->outer[0].sel;
	if (!v->cpl || (v->eflags & FLAGS_PLAIN) == FL_IF)
		p->minus_vector = -(uint32_t)r->vector;
}

void long_ring_leave(struct vm *vm)
{
	struct vcpu *v = &vm->vcpu;
	const struct long_ring *r = &vm->vmm->ring;
	struct vcpu_ring *p = &vm_vcpu_page(vm)->ring;
	const struct segment *s = p->cpl ? r->outer : r->inner;

	if (p->calls) {
		vm->stats.calls_inside += p->calls;
		soft_count_calls(vm, p->calls);
		p->calls = 0;
	}
	if (p->cpl == v->cpl || !r->known || (p->cpl && p->cpl != 3)) /* user code that runs natively may write what it finds */
		return;
	v->cpl = (uint8_t)p->cpl;
	v->seg[SEG_CS] = s[0];
	v->seg[SEG_SS] = s[1];
}
