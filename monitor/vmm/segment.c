// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 4.6: Segments as the guest has them
 *
 * Loading and asking about segments as the guest's tables describe them (SDM 3A 3.4, 5.4 to 5.7; 2B MOV, 2A LAR,
 * LLDT, LSL, LTR, VERR). Hardware keeps the hidden part of a register until the next load, whatever becomes of the
 * table: so does vcpu->seg.
 */
#include <errno.h>

#include "monitor/vmm/descriptor.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/vm.h"

struct segment segment_unpack(uint16_t sel, struct descriptor d)
{
	struct segment s = {
	    .sel = sel,
	    .base = d.lo >> 16 | (d.hi & 0xff) << 16 | (d.hi & 0xff000000),
	    .limit = (d.lo & 0xffff) | (d.hi & 0xf0000),
	    .attr = d.hi & ATTR_MASK,
	};

	if (d.hi & ATTR_G)
		s.limit = s.limit << 12 | 0xfff;
	return s;
}

bool segment_covers(const struct segment *s, uint32_t offset, uint32_t size)
{
	uint32_t last = offset + size - 1;

	if (last < offset)
		return false;
	if (!desc_expand_down(s->attr))
		return last <= s->limit;
	return offset > s->limit && last <= (s->attr & ATTR_DB ? UINT32_MAX : UINT16_MAX);
}

/* Linear address of a descriptor, or false when sel is null or beyond its table. */
static bool descriptor_place(const struct vcpu *v, uint16_t sel, struct gva *at)
{
	uint32_t base = v->gdtr.base, limit = v->gdtr.limit;

	if (sel_local(sel)) {
		if (!(v->ldtr.attr & ATTR_P))
			return false;
		base = v->ldtr.base;
		limit = v->ldtr.limit;
	} else if (sel_null(sel)) {
		return false;
	}
	*at = gva(base + (sel & 0xfff8u));
	return (sel | 7u) <= limit;
}

int descriptor_read(struct vm *vm, uint16_t sel, struct descriptor *d)
{
	struct gva at;

	if (!descriptor_place(&vm->vcpu, sel, &at))
		return -ENOENT;
	return gmem_read(vm, at, d, sizeof(*d), 0);
}

int descriptor_write_hi(struct vm *vm, uint16_t sel, uint32_t hi)
{
	struct gva at;

	if (!descriptor_place(&vm->vcpu, sel, &at))
		return -ENOENT;
	return gmem_write(vm, gva(at.a + 4), &hi, sizeof(hi), 0);
}

int descriptor_touch(struct vm *vm, uint16_t sel, struct descriptor *d)
{
	if (d->hi & DT_ACCESSED)
		return 0;
	d->hi |= DT_ACCESSED;
	return descriptor_write_hi(vm, sel, d->hi);
}

int segment_limit_guest(struct vm *vm)
{
	if (vcpu_protected(&vm->vcpu) && !(vm->vcpu.eflags & FL_VM))
		return 0;
	vm_stop(vm, STOP_GUEST, 0, "the guest used segments in real or virtual-8086 mode, which Paravane does not have");
	return -ECANCELED;
}

static int raise_sel(struct vm *vm, unsigned vector, uint16_t sel)
{
	return vcpu_raise(&vm->vcpu, vector, true, sel_error(sel, 0));
}

static int load_ss(struct vm *vm, uint16_t sel)
{
	struct vcpu *v = &vm->vcpu;
	struct descriptor d;
	int err;

	if (sel_null(sel))
		return raise_sel(vm, EXC_GP, 0);
	err = descriptor_read(vm, sel, &d);
	if (err == -ENOENT)
		return raise_sel(vm, EXC_GP, sel);
	if (err < 0)
		return err;
	if (sel_rpl(sel) != v->cpl || !desc_writable(d.hi) || desc_dpl(d.hi) != v->cpl)
		return raise_sel(vm, EXC_GP, sel);
	if (!(d.hi & ATTR_P))
		return raise_sel(vm, EXC_SS, sel);
	err = descriptor_touch(vm, sel, &d);
	if (err < 0)
		return err;
	v->seg[SEG_SS] = segment_unpack(sel, d);
	v->shadow = 1;
	return 0;
}

/* Data segments and readable code; RPL and CPL both count, except for conforming code. */
static bool data_allowed(uint32_t hi, unsigned cpl, uint16_t sel)
{
	if (desc_conforming(hi))
		return true;
	return desc_dpl(hi) >= cpl && desc_dpl(hi) >= sel_rpl(sel);
}

int segment_load(struct vm *vm, enum seg seg, uint16_t sel)
{
	struct vcpu *v = &vm->vcpu;
	struct descriptor d;
	int err = segment_limit_guest(vm);

	if (err < 0)
		return err;
	if (seg == SEG_CS)
		return vcpu_raise(v, EXC_UD, false, 0);
	if (seg == SEG_SS)
		return load_ss(vm, sel);
	if (sel_null(sel)) {
		v->seg[seg] = (struct segment){.sel = sel};
		return 0;
	}
	err = descriptor_read(vm, sel, &d);
	if (err == -ENOENT)
		return raise_sel(vm, EXC_GP, sel);
	if (err < 0)
		return err;
	if (!desc_readable(d.hi) || !data_allowed(d.hi, v->cpl, sel))
		return raise_sel(vm, EXC_GP, sel);
	if (!(d.hi & ATTR_P))
		return raise_sel(vm, EXC_NP, sel);
	err = descriptor_touch(vm, sel, &d);
	if (err < 0)
		return err;
	v->seg[seg] = segment_unpack(sel, d);
	return 0;
}

void segment_drop_privileged(struct vm *vm)
{
	static const uint8_t segs[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
	struct vcpu *v = &vm->vcpu;
	struct segment *s;
	unsigned i;

	for (i = 0; i < ARRAY_LEN(segs); i++) {
		s = &v->seg[segs[i]];
		if (!sel_null(s->sel) && !desc_conforming(s->attr) && desc_dpl(s->attr) < v->cpl)
			*s = (struct segment){0};
	}
}

/* LLDT and LTR name descriptors of the GDT only. */
static int system_descriptor(struct vm *vm, uint16_t sel, struct descriptor *d)
{
	int err;

	if (sel_local(sel))
		return raise_sel(vm, EXC_GP, sel);
	err = descriptor_read(vm, sel, d);
	return err == -ENOENT ? raise_sel(vm, EXC_GP, sel) : err;
}

static int system_allowed(struct vm *vm)
{
	if (!vcpu_protected(&vm->vcpu))
		return vcpu_raise(&vm->vcpu, EXC_UD, false, 0);
	return vm->vcpu.cpl ? vcpu_raise(&vm->vcpu, EXC_GP, true, 0) : 0;
}

int segment_load_ldtr(struct vm *vm, uint16_t sel)
{
	struct descriptor d;
	int err = system_allowed(vm);

	if (err < 0)
		return err;
	if (sel_null(sel)) {
		vm->vcpu.ldtr = (struct segment){.sel = sel};
		return 0;
	}
	err = system_descriptor(vm, sel, &d);
	if (err < 0)
		return err;
	if (desc_type(d.hi) != DT_LDT)
		return raise_sel(vm, EXC_GP, sel);
	if (!(d.hi & ATTR_P))
		return raise_sel(vm, EXC_NP, sel);
	vm->vcpu.ldtr = segment_unpack(sel, d);
	return 0;
}

int segment_load_tr(struct vm *vm, uint16_t sel)
{
	struct descriptor d;
	int err = system_allowed(vm);

	if (err < 0)
		return err;
	if (sel_null(sel))
		return raise_sel(vm, EXC_GP, 0);
	err = system_descriptor(vm, sel, &d);
	if (err < 0)
		return err;
	if (!desc_is_tss(d.hi) || (d.hi & DT_BUSY_BIT))
		return raise_sel(vm, EXC_GP, sel);
	if (!(d.hi & ATTR_P))
		return raise_sel(vm, EXC_NP, sel);
	d.hi |= DT_BUSY_BIT;
	err = descriptor_write_hi(vm, sel, d.hi);
	if (err < 0)
		return err;
	vm->vcpu.tr = segment_unpack(sel, d);
	return 0;
}

/* 1 and *d when the descriptor is visible to the instruction, 0 when it is not, -EFAULT. */
static int query(struct vm *vm, uint16_t sel, uint32_t system_types, struct descriptor *d)
{
	int err = descriptor_read(vm, sel, d);

	if (err == -ENOENT)
		return 0;
	if (err < 0)
		return err;
	if (!(d->hi & ATTR_S) && !(system_types >> desc_type(d->hi) & 1))
		return 0;
	return data_allowed(d->hi, vm->vcpu.cpl, sel);
}

int segment_query_lar(struct vm *vm, uint16_t sel, uint32_t *value)
{
	const uint32_t types = BIT(DT_TSS16) | BIT(DT_LDT) | BIT(DT_TSS16_BUSY) | BIT(DT_CALL16) | BIT(DT_TASK) |
			       BIT(DT_TSS32) | BIT(DT_TSS32_BUSY) | BIT(DT_CALL32);
	struct descriptor d;
	int ok = query(vm, sel, types, &d);

	if (ok > 0)
		*value = d.hi & ATTR_MASK;
	return ok;
}

int segment_query_lsl(struct vm *vm, uint16_t sel, uint32_t *value)
{
	const uint32_t types =
	    BIT(DT_TSS16) | BIT(DT_LDT) | BIT(DT_TSS16_BUSY) | BIT(DT_TSS32) | BIT(DT_TSS32_BUSY);
	struct descriptor d;
	int ok = query(vm, sel, types, &d);

	if (ok > 0)
		*value = segment_unpack(sel, d).limit;
	return ok;
}

int segment_query_ver(struct vm *vm, uint16_t sel, bool write)
{
	struct descriptor d;
	int ok = query(vm, sel, 0, &d);

	if (ok <= 0)
		return ok;
	return write ? desc_writable(d.hi) : desc_readable(d.hi);
}
