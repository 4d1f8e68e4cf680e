// SPDX-License-Identifier: GPL-3.0-or-later
/* See xol.h: the slot holds 64-bit code, as everything does with the long engine. */
#include <errno.h>

#include "hypercalls/lower_long.h"
#include "monitor/vmm/interpret.h"
#include "monitor/vmm/run.h"
#include "monitor/vmm/shadow_seg.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/trap.h"
#include "monitor/vmm/worker.h"
#include "monitor/vmm/world.h"
#include "monitor/vmm/x87.h"
#include "monitor/vmm/xol_internal.h"

#define LONG_POINTS 16

static const struct manifest_point *long_point(const struct lower *l, uint32_t raw)
{
	for (size_t i = 0; i < l->n_points; i++)
		if (l->points[i].stub == raw)
			return &l->points[i];
	return NULL;
}

/* Enter the slot at `raw`. 0 when the instruction is done, 1 to enter again at world.eip, or as xol_step(). */
static int enter_long(struct vm *vm, const struct lower *l, uint32_t raw, uint32_t next)
{
	struct vcpu *v = &vm->vcpu;
	struct world *w = &vm->vmm->world;
	uint32_t guest = v->eip;
	const struct manifest_point *p;
	int ret;

	w->native = 0;
	run_prepare(vm);
	w->eip = raw;
	w->iret.rip = LONG_BASE + raw;
	w->iret.rflags &= ~(uint64_t)FL_TF;
	if (!(v->cr0 & CR0_AM))
		w->iret.rflags &= ~(uint64_t)FL_AC;
	world_clear_kick();
	world_fpu_restore();
	world_enter(vm);
	ret = (int)(v->eflags & FL_AC);
	run_collect(vm);
	if (!(v->cr0 & CR0_AM))
		v->eflags |= (uint32_t)ret;
	if (w->reason == WORLD_PAD)
		return 0;
	p = long_point(l, w->eip);
	if (p && p->state == POINT_AFTER)
		return 1;
	if (w->eip == xol_slot_address(vm) + l->code_len || (p && p->guest == next))
		return 0;
	if (w->reason != WORLD_SIGNAL)
		return -EAGAIN;
	ret = trap_handle(vm);
	if (ret < 0)
		return ret;
	return v->eip != guest ? 0 : -EAGAIN; /* done by other means, a redirected operand */
}

int xol_run_long(struct vm *vm, const struct insn *insn, const uint8_t *bytes, uint32_t operand)
{
	struct vcpu *v = &vm->vcpu;
	struct manifest_point points[LONG_POINTS];
	struct lower_insn in = {.insn = *insn, .bytes = bytes, .va = v->eip, .site = MANIFEST_NONE};
	struct lower l = {
	    .hole_base = vm->cfg.hole_base,
	    .code = xol_slot_bytes(vm),
	    .code_va = xol_slot_address(vm),
	    .code_cap = SLOT_PAD - 5,
	    .points = points,
	    .points_cap = LONG_POINTS,
	};
	uint32_t guest = v->eip, next = v->eip + insn->len, raw = xol_slot_address(vm);
	int ret;

	world_fpu_guard(); /* the emitter may use vector registers */
	if (lower_long_step(&l, &in, v->cpl == 3 ? VIEW_USER : VIEW_SUPERVISOR, operand) < 0)
		return -EOPNOTSUPP;
	l.code[l.code_len] = 0xe9; /* jmp pad */
	put32(l.code + l.code_len + 1,
	      xol_slot_address(vm) + SLOT_PAD - (xol_slot_address(vm) + (uint32_t)l.code_len + 5));
	while ((ret = enter_long(vm, &l, raw, next)) > 0)
		raw = vm->vmm->world.eip;
	if (ret == 0 && v->eip == guest) {
		v->eip = next;
		v->shadow = 0;
		x87_executed(vm, insn);
	}
	return ret;
}

/* Does the instruction touch memory by a segment that a long block would not take as it stands? */
static bool needs_segments(const struct vm *vm, const struct insn *insn)
{
	const struct segment *seg = vm->vcpu.seg;

	if (!segment_is_flat(&seg[SEG_SS]) || !segment_is_flat(&seg[SEG_DS]) ||
	    !segment_is_flat(&seg[SEG_ES]))
		return true;
	if (insn->seg == SEG_CS)
		return true;
	return (insn->seg == SEG_FS || insn->seg == SEG_GS) && !segment_is_unlimited(&seg[insn->seg]);
}

/*
 * User code whose address space has no mappings in this worker: without memory, interpreted, or on a copy of the operand.
 * What is left goes on in a worker that has them.
 */
static int execute_away(struct vm *vm, const struct insn *insn, const uint8_t *bytes)
{
	int ret = -EOPNOTSUPP;

	if (interpret_can(insn))
		return interpret(vm, insn);
	world_fpu_guard(); /* the emitter may use vector registers */
	if (!lower_long_touches(insn))
		ret = xol_run_long(vm, insn, bytes, MANIFEST_NONE);
	else if (lower_long_one_place(insn))
		ret = xol_redirect(vm);
	if (ret != -EOPNOTSUPP)
		return ret;
	worker_go_home(vm);
	vm->vmm->step_once = 1;
	return -EAGAIN;
}

int xol_execute_long(struct vm *vm, const struct insn *insn, const uint8_t *bytes)
{
	bool careful = needs_segments(vm, insn);
	int ret = -EOPNOTSUPP;

	if (vm->vcpu.cpl == 3 && !worker_is_home(vm))
		return execute_away(vm, insn, bytes);
	if (!careful || (!insn->has_mem && !interpret_can(insn)))
		ret = xol_run_long(vm, insn, bytes, MANIFEST_NONE);
	if (ret != -EOPNOTSUPP)
		return ret;
	if (interpret_can(insn))
		return interpret(vm, insn);
	if (insn->has_mem && !vm->vmm->redirecting)
		return xol_redirect(vm);
	vm_stop(vm, STOP_GUEST, vm->vcpu.eip, "an instruction that this host cannot execute in 64-bit mode");
	return -ECANCELED;
}
