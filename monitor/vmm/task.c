// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Hardware task switches (SDM 3A 7.2, 7.3, table 7-1). Linux i386 uses one: its double fault comes through a task
 * gate, so that it has a good stack. Up to the point where the old task is saved and the new TSS read, a fault
 * belongs to the old task; from the commit on, what is wrong with the new task's selectors is an exception in the
 * new task, whose registers are loaded already.
 *
 * CR3 may change here: whoever called a far transfer compares it.
 */
#include <errno.h>

#include "monitor/vmm/far.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/transfer.h"
#include "monitor/vmm/vm.h"

/* SDM 3A figure 7-2; selectors are the low halves of their words. */
struct tss32 {
	uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3;
	uint32_t eip, eflags, gpr[8], seg[6]; /* ES CS SS DS FS GS */
	uint32_t ldt;
	uint16_t trap, io_map;
};
_Static_assert(sizeof(struct tss32) == 104, "SDM 3A 7.2.1");

/* SDM 3A figure 7-10 */
struct tss16 {
	uint16_t link, sp0, ss0, sp1, ss1, sp2, ss2;
	uint16_t ip, flags, gpr[8], seg[4];
	uint16_t ldt;
};
_Static_assert(sizeof(struct tss16) == 44, "SDM 3A 7.6");

#define TSS32_STATE offsetof(struct tss32, eip)
#define TSS32_STATE_SIZE (offsetof(struct tss32, ldt) - TSS32_STATE)
#define TSS16_STATE offsetof(struct tss16, ip)
#define TSS16_STATE_SIZE (offsetof(struct tss16, ldt) - TSS16_STATE)
#define DR7_LOCAL 0x155u /* L0 to L3, LE */
#define DR6_BT BIT(15)

struct new_task {
	uint16_t sel;
	struct descriptor d;
	struct segment tr;
	bool wide;
	struct tss32 state; /* of 16-bit tasks, widened */
};

static int read_tss(struct vm *vm, struct new_task *t, unsigned ext)
{
	struct tss16 s;
	unsigned i;

	if (t->tr.limit < (t->wide ? sizeof(struct tss32) : sizeof(struct tss16)) - 1)
		return transfer_raise(vm, EXC_TS, t->sel, ext);
	if (t->wide)
		return gmem_read(vm, gva(t->tr.base), &t->state, sizeof(t->state), 0);
	if (gmem_read(vm, gva(t->tr.base), &s, sizeof(s), 0) < 0)
		return -EFAULT;
	t->state = (struct tss32){.link = s.link, .eip = s.ip, .eflags = s.flags, .ldt = s.ldt};
	for (i = 0; i < 8; i++)
		t->state.gpr[i] = s.gpr[i];
	for (i = 0; i < ARRAY_LEN(s.seg); i++)
		t->state.seg[i] = s.seg[i];
	return 0;
}

static int find_task(struct vm *vm, uint16_t sel, enum task_switch how, unsigned ext, struct new_task *t)
{
	unsigned wrong = how == TASK_IRET ? EXC_TS : EXC_GP;
	uint32_t busy = how == TASK_IRET ? DT_BUSY_BIT : 0;
	int err;

	if (sel_local(sel) || sel_null(sel))
		return transfer_raise(vm, wrong, sel, ext);
	err = transfer_descriptor(vm, sel, wrong, ext, &t->d);
	if (err < 0)
		return err;
	if (!desc_is_tss(t->d.hi) || (t->d.hi & DT_BUSY_BIT) != busy)
		return transfer_raise(vm, wrong, sel, ext);
	if (!(t->d.hi & ATTR_P))
		return transfer_raise(vm, EXC_NP, sel, ext);
	t->sel = sel;
	t->wide = desc_type(t->d.hi) & 8;
	t->tr = segment_unpack(sel, t->d);
	t->tr.attr |= DT_BUSY_BIT;
	return read_tss(vm, t, ext);
}

static int save_task(struct vm *vm, uint32_t eip, uint32_t eflags, unsigned ext)
{
	const struct vcpu *v = &vm->vcpu;
	const struct segment *tr = &v->tr;
	struct tss32 s;
	struct tss16 h;
	unsigned i;

	s.eip = eip;
	s.eflags = eflags;
	h.ip = (uint16_t)eip;
	h.flags = (uint16_t)eflags;
	for (i = 0; i < 8; i++) {
		s.gpr[i] = v->gpr[i];
		h.gpr[i] = (uint16_t)v->gpr[i];
	}
	for (i = 0; i < SEG_COUNT; i++)
		s.seg[i] = v->seg[i].sel;
	for (i = 0; i < ARRAY_LEN(h.seg); i++)
		h.seg[i] = v->seg[i].sel;
	if (!(tr->attr & ATTR_P))
		return transfer_raise(vm, EXC_TS, tr->sel, ext);
	if (desc_type(tr->attr) & 8)
		return gmem_write(vm, gva(tr->base + TSS32_STATE), &s.eip, TSS32_STATE_SIZE, 0);
	return gmem_write(vm, gva(tr->base + TSS16_STATE), &h.ip, TSS16_STATE_SIZE, 0);
}

/* Busy bits and the back link. */
static int mark_tasks(struct vm *vm, const struct new_task *t, enum task_switch how)
{
	const uint16_t old = vm->vcpu.tr.sel;
	struct descriptor d;
	int err;

	if (how == TASK_CALL || how == TASK_GATE) {
		err = gmem_write(vm, gva(t->tr.base), &old, sizeof(old), 0);
		if (err < 0)
			return err;
	} else {
		err = descriptor_read(vm, old, &d);
		if (err == 0)
			err = descriptor_write_hi(vm, old, d.hi & ~DT_BUSY_BIT);
		if (err < 0 && err != -ENOENT)
			return err;
	}
	return how == TASK_IRET ? 0 : descriptor_write_hi(vm, t->sel, t->d.hi | DT_BUSY_BIT);
}

/* From here on the new task runs; its segment registers hold selectors that are not loaded yet. */
static int commit(struct vm *vm, const struct new_task *t, bool nested)
{
	const uint32_t defined = 0x003f7fd5;
	struct vcpu *v = &vm->vcpu;
	unsigned i;

	v->tr = t->tr;
	v->cr0 |= CR0_TS;
	v->dr[7] &= ~DR7_LOCAL;
	v->eip = t->state.eip;
	v->eflags = (t->state.eflags & defined) | FL_FIXED | (nested ? FL_NT : 0);
	v->shadow = 0;
	for (i = 0; i < 8; i++)
		v->gpr[i] = t->state.gpr[i];
	for (i = 0; i < SEG_COUNT; i++)
		v->seg[i] = (struct segment){.sel = (uint16_t)t->state.seg[i]};
	v->ldtr = (struct segment){.sel = (uint16_t)t->state.ldt};
	v->cpl = sel_rpl((uint16_t)t->state.seg[SEG_CS]);
	if (!t->wide || paging_mode(v) == PAGING_OFF)
		return 0;
	v->cr3 = t->state.cr3;
	return paging_mode(v) == PAGING_PAE ? paging_load_pdptes(vm, v->cr3) : 0;
}

static int load_ldt(struct vm *vm, uint16_t sel, unsigned ext)
{
	struct descriptor d;
	int err;

	if (sel_local(sel))
		return transfer_raise(vm, EXC_TS, sel, ext);
	if (sel_null(sel))
		return 0;
	err = transfer_descriptor(vm, sel, EXC_TS, ext, &d);
	if (err < 0)
		return err;
	if (desc_type(d.hi) != DT_LDT || !(d.hi & ATTR_P))
		return transfer_raise(vm, EXC_TS, sel, ext);
	vm->vcpu.ldtr = segment_unpack(sel, d);
	return 0;
}

/* Is the descriptor fit for that register at this CPL? Table 7-1: all but absence is #TS. */
static bool segment_fits(const struct vcpu *v, enum seg seg, uint16_t sel, uint32_t hi)
{
	unsigned dpl = desc_dpl(hi), rpl = sel_rpl(sel);

	if (seg == SEG_CS)
		return desc_is_code(hi) && (desc_conforming(hi) ? dpl <= rpl : dpl == rpl);
	if (seg == SEG_SS)
		return desc_writable(hi) && dpl == v->cpl && rpl == v->cpl;
	return desc_readable(hi) && (desc_conforming(hi) || (dpl >= v->cpl && dpl >= rpl));
}

static int load_segment(struct vm *vm, enum seg seg, unsigned ext)
{
	struct vcpu *v = &vm->vcpu;
	uint16_t sel = v->seg[seg].sel;
	struct descriptor d;
	int err;

	if (sel_null(sel))
		return seg == SEG_CS || seg == SEG_SS ? transfer_raise(vm, EXC_TS, sel, ext) : 0;
	err = transfer_descriptor(vm, sel, EXC_TS, ext, &d);
	if (err < 0)
		return err;
	if (!segment_fits(v, seg, sel, d.hi))
		return transfer_raise(vm, EXC_TS, sel, ext);
	if (!(d.hi & ATTR_P))
		return transfer_raise(vm, seg == SEG_SS ? EXC_SS : EXC_NP, sel, ext);
	err = descriptor_touch(vm, sel, &d);
	if (err < 0)
		return err;
	v->seg[seg] = segment_unpack(sel, d);
	return 0;
}

static int load_segments(struct vm *vm, unsigned ext)
{
	static const uint8_t order[] = {SEG_CS, SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS};
	unsigned i;
	int err = load_ldt(vm, vm->vcpu.ldtr.sel, ext);

	for (i = 0; err == 0 && i < ARRAY_LEN(order); i++)
		err = load_segment(vm, order[i], ext);
	return err;
}

/* What the new task meets before its first instruction: the error code of its exception, its EIP, the T bit. */
static int start_task(struct vm *vm, const struct new_task *t, bool has_error, uint32_t error, unsigned ext)
{
	struct vcpu *v = &vm->vcpu;
	struct stack st = stack_current(v);
	unsigned size = t->wide ? 4 : 2;
	int err;

	if (has_error) {
		if (!stack_room(&st, 1, size))
			return transfer_raise(vm, EXC_SS, 0, ext);
		err = stack_push(vm, &st, &error, 1, size);
		if (err < 0)
			return err;
		stack_commit(v, &st);
	}
	if (v->eip > v->seg[SEG_CS].limit)
		return transfer_raise(vm, EXC_GP, 0, ext);
	if (t->state.trap & 1) {
		v->dr[6] |= DR6_BT;
		return vcpu_raise(v, EXC_DB, false, 0);
	}
	return 0;
}

int task_switch(struct vm *vm, uint16_t tss_sel, enum task_switch how, unsigned ext, bool has_error, uint32_t error,
		uint32_t return_eip)
{
	struct vcpu *v = &vm->vcpu;
	struct new_task t;
	int err = find_task(vm, tss_sel, how, ext, &t);

	if (err < 0)
		return err;
	if (t.wide && (t.state.eflags & FL_VM)) {
		vm_stop(vm, STOP_GUEST, 0, "the guest switched to a task in virtual-8086 mode, which Paravane does not have");
		return -ECANCELED;
	}
	err = save_task(vm, return_eip, how == TASK_IRET ? v->eflags & ~FL_NT : v->eflags, ext);
	if (err < 0)
		return err;
	err = mark_tasks(vm, &t, how);
	if (err < 0)
		return err;
	err = commit(vm, &t, how == TASK_CALL || how == TASK_GATE);
	if (err < 0)
		return err;
	err = load_segments(vm, ext);
	return err < 0 ? err : start_task(vm, &t, has_error, error, ext);
}
