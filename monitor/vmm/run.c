// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The worker's main loop: deliver what is due, decide how the guest goes on (directly or out of line), let it run,
 * handle the exit. One exit, one pass.
 */
#include "monitor/vmm/run.h"

#include <errno.h>

#include "monitor/vmm/clock.h"
#include "monitor/vmm/code.h"
#include "monitor/vmm/emulate.h"
#include "monitor/vmm/far.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/host.h"
#include "monitor/vmm/io.h"
#include "monitor/vmm/long_seg.h"
#include "monitor/vmm/mem.h"
#include "monitor/vmm/mmu.h"
#include "monitor/vmm/module.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/shadow.h"
#include "monitor/vmm/shadow_seg.h"
#include "monitor/vmm/soft.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/trace.h"
#include "monitor/vmm/translate.h"
#include "monitor/vmm/trap.h"
#include "monitor/vmm/vdso.h"
#include "monitor/vmm/worker.h"
#include "monitor/vmm/world.h"
#include "monitor/vmm/x87.h"
#include "monitor/vmm/xol.h"

/* --- statistics ------------------------------------------------------------------------------------------ */

void run_count(struct vm *vm, enum exit_reason reason)
{
	vm->stats.exits[reason]++;
	vm->vmm->last_exit = reason;
}

void run_count_site(struct vm *vm, enum exit_reason reason, uint32_t va, unsigned op)
{
	struct site_count *sites = vm->stats.sites;
	uint32_t slot = (va * 2654435761u) >> 18;

	for (unsigned n = 0; n < 64; n++, slot = (slot + 1) % SITE_COUNTS) {
		if (sites[slot].va != va && sites[slot].va)
			continue;
		sites[slot].va = va;
		sites[slot].op = (uint16_t)op;
		sites[slot].kind = (uint8_t)reason;
		sites[slot].count++;
		return;
	}
}

/* The time stamp is dear, two of them a tenth of a null system call: taken only for who asks (vm_config.count_cycles). */
static void account_share(struct vm *vm, enum time_share s, uint64_t cycles)
{
	vm->stats.shares[s].n++;
	vm->stats.shares[s].cycles += cycles;
}

/* What was spent since the last exit; the time is handed back. */
static uint64_t account_cycles(struct vm *vm)
{
	const struct vmm_state *st = vm->vmm;
	uint64_t now = clock_tsc();

	if (!st->world.exit_tsc)
		return now;
	vm->stats.cycles[st->last_exit] += now - st->world.exit_tsc;
	account_share(vm, st->last_exit == EXIT_STEP ? SHARE_STEP : st->last_share, now - st->world.exit_tsc);
	return now;
}

/* The guest ran, from `since` to its exit, having been entered at `raw`. */
static void account_guest(struct vm *vm, uint32_t raw, uint64_t since)
{
	struct vmm_state *st = vm->vmm;

	st->world.exit_tsc = clock_tsc();
	account_share(vm, translate_contains(vm, raw) ? SHARE_TRANSLATED : SHARE_DIRECT, st->world.exit_tsc - since);
	st->last_share = st->world.reason == WORLD_SIGNAL || st->world.reason == WORLD_KICK ? SHARE_TRAP : SHARE_JUMP;
}

/* --- vCPU <-> hardware ------------------------------------------------------------------------------------- */

static uint32_t hardware_flags(const struct vm *vm)
{
	if (vm->vcpu.cpl != 3)
		return FL_HARDWARE;
	if (world_is_long(vm))
		return FL_HARDWARE | FL_AC;
	return FL_HARDWARE | FL_AC | FL_NT | (vm->vmm->user_block ? 0 : FL_TF); /* stepped by the monitor alone */
}

void run_prepare(struct vm *vm)
{
	struct vcpu *v = &vm->vcpu;
	struct world *w = &vm->vmm->world;
	struct vcpu_page *page = vm_vcpu_page(vm);
	uint32_t hardware = hardware_flags(vm);

	page->if_delta = (v->eflags & FL_IF) - FL_IF;
	page->flags_hi = v->eflags & (FL_IOPL | FL_NT | FL_AC) & ~(world_is_long(vm) ? hardware : 0);
	for (unsigned s = 0; s < SEG_COUNT; s++)
		page->sel[s] = v->seg[s].sel;
	page->ldtr = v->ldtr.sel;
	page->tr = v->tr.sel;
	page->cr0 = v->cr0;
	page->cr2 = v->cr2;
	page->cr3 = v->cr3;
	page->cr4 = v->cr4;
	if (world_is_long(vm)) {
		long_seg_enter(vm);
		page->cached_at = v->cpl == 1 || v->cpl == 2 ? LONG_NOWHERE : (uint64_t)vm->vmm->cached;
		w->soft = (uint64_t)soft_present(vm)->shadow.soft;
	} else {
		shadow_seg_enter(vm);
	}
	for (unsigned r = 0; r < 8; r++)
		w->gpr[r] = v->gpr[r];
	w->iret.rip = v->eip;
	w->iret.cs = w->cs;
	w->iret.rflags = (v->eflags & hardware) | FL_IF | FL_FIXED;
	w->iret.rsp = v->gpr[REG_SP];
	w->iret.ss = w->ss;
	/* An entry that a kick aborts looks like one that was kicked before its first instruction. */
	w->eflags = (uint32_t)w->iret.rflags;
}

bool run_collect(struct vm *vm)
{
	struct vcpu *v = &vm->vcpu;
	struct world *w = &vm->vmm->world;
	uint32_t hardware = hardware_flags(vm);

	for (unsigned r = 0; r < 8; r++)
		v->gpr[r] = w->gpr[r];
	v->eflags = (v->eflags & ~hardware) | (w->eflags & hardware);
	if (w->stepped && v->cpl == 3 && !world_is_long(vm) && !vm->vmm->user_block) /* a block is stepped by the monitor alone */
		v->eflags |= FL_TF;
	w->stepped = 0;
	v->eflags = (v->eflags & ~(uint32_t)FL_IF) | ((vm_vcpu_page(vm)->if_delta + FL_IF) & FL_IF);
	v->eflags &= ~(uint32_t)FL_RF; /* lasts for one instruction */
	if (!world_is_long(vm))
		return shadow_seg_leave(vm);
	long_seg_leave(vm);
	return false;
}

/* In the middle of a string instruction ESI and EDI are host addresses, and ECX is for as far as pages go. */
static void take_string(struct vm *vm, unsigned flags)
{
	const uint64_t *scratch = vm->vmm->world.scratch;

	if (flags & POINT_STRING_SI)
		vm->vcpu.gpr[REG_SI] -= (uint32_t)scratch[0];
	if (flags & POINT_STRING_DI)
		vm->vcpu.gpr[REG_DI] -= (uint32_t)scratch[1];
	if (flags & POINT_STRING_CX)
		vm->vcpu.gpr[REG_CX] += vm_vcpu_page(vm)->scratch0;
}

/*
 * From a raw EIP to the guest's. In the middle of a lowering, before its commit, the guest instruction is undone;
 * after it there is no guest address yet: false, and the caller enters again at the raw one.
 */
static bool canonical(struct vm *vm, uint32_t raw)
{
	struct vcpu *v = &vm->vcpu;
	const struct vcpu_page *page = vm_vcpu_page(vm);
	bool block = (world_is_long(vm) || v->cpl != 3 || vm->vmm->user_block) && translate_contains(vm, raw);
	const struct manifest_point *p = block ? translate_point(vm, raw) : code_point(vm, raw);

	v->eip = raw;
	vm->vmm->in_block = block;
	vm->vmm->point_flags = p ? p->flags : 0;
	if (!p)
		return true;
	v->eip = block ? p->guest : code_guest_address(vm, p->guest, raw);
	if (p->state == POINT_AFTER)
		return false;
	if (p->state == POINT_STRING) {
		take_string(vm, p->flags);
		return true;
	}
	if (p->flags & POINT_SCRATCH0)
		v->gpr[REG_CX] = page->scratch0;
	if (p->flags & POINT_SCRATCH1)
		v->gpr[REG_DX] = page->scratch1;
	if (p->flags & POINT_R9_SP)
		v->gpr[REG_SP] = (uint32_t)vm->vmm->world.scratch[1];
	if (p->flags & POINT_R9_CX)
		v->gpr[REG_CX] = (uint32_t)vm->vmm->world.scratch[1];
	if (p->flags & POINT_R11_CX)
		v->gpr[REG_CX] = (uint32_t)vm->vmm->world.scratch[3];
	return true;
}

/* --- the decision ------------------------------------------------------------------------------------------ */

enum decision { GO_DIRECT, GO_TRANSLATE, GO_OUT_OF_LINE, GO_RAISED };

void run_note_fault(struct vm *vm, struct gva at, unsigned access)
{
	if (vm->vcpu.cpl != 3)
		return;
	vm->vmm->faulted.at = at.a;
	vm->vmm->faulted.eip = vm->vcpu.eip;
	vm->vmm->faulted.cr3 = vm->vcpu.cr3;
	vm->vmm->faulted.access = (uint8_t)access;
}

bool run_same_page(const struct vm *vm, uint32_t at)
{
	uint32_t linear = vm->vcpu.seg[SEG_CS].base + vm->vcpu.eip;

	return ((linear ^ at) & PAGE_MASK) == 0 || (((linear + INSN_MAX - 1) ^ at) & PAGE_MASK) == 0;
}

/*
 * The guest has served a #PF of its user code and comes back to the access: mapping the page now saves the host's fault.
 * Without a mapping there nothing happens; the access will tell.
 */
static void map_what_faulted(struct vm *vm)
{
	struct vmm_state *st = vm->vmm;
	unsigned access = st->faulted.access;
	struct walk w;

	if (vm->vcpu.cr3 != st->faulted.cr3)
		return;
	st->faulted.access = 0;
	if (vm->vcpu.eip != st->faulted.eip)
		return;
	if (paging_walk(vm, gva(st->faulted.at), access, &w) == 0)
		(soft_active(vm) ? shadow_soft_fault : shadow_fault)(vm, gva(st->faulted.at), access);
}

/* User code that the long engine may run as it is: its page has to be executable. */
static enum decision decide_native(struct vm *vm)
{
	const struct vcpu *v = &vm->vcpu;
	const struct segment *cs = &v->seg[SEG_CS];
	struct gva at = gva(cs->base + v->eip);

	if (!(cs->attr & ATTR_DB) || (v->eflags & FL_IOPL) == FL_IOPL || v->eip > cs->limit)
		return GO_TRANSLATE;
	if (shadow_executable(vm, at))
		return GO_DIRECT;
	switch (shadow_fault(vm, at, ACCESS_FETCH | ACCESS_USER)) {
	case SHADOW_MAPPED:
		run_count(vm, EXIT_PAGE_CODE);
		return GO_DIRECT;
	case SHADOW_RAISED:
		return GO_RAISED;
	default:
		return GO_TRANSLATE;
	}
}

static enum decision decide_long(struct vm *vm)
{
	const struct segment *seg = vm->vcpu.seg;
	enum decision native = GO_TRANSLATE;

	if (vm->vcpu.cpl == 3 && !vm->stats.guest_tsc_init)
		vm->stats.guest_tsc_init = clock_tsc();
	if (vm->vcpu.eflags & FL_TF)
		return GO_OUT_OF_LINE;
	if (vm->vcpu.cpl == 3 && soft_native(vm))
		native = decide_native(vm);
	if (native != GO_TRANSLATE)
		return native;
	/* Blocks take these for flat. */
	if (!segment_is_flat(&seg[SEG_CS]) || !segment_is_flat(&seg[SEG_SS]) ||
	    !segment_is_flat(&seg[SEG_DS]) || !segment_is_flat(&seg[SEG_ES]))
		return GO_OUT_OF_LINE;
	return GO_TRANSLATE;
}

/* The guest followed our jump itself. Stubs always run directly. */
static enum decision go_by_stub(struct vm *vm)
{
	struct vmm_state *st = vm->vmm;

	st->resume_hint = vm->vcpu.eip;
	st->resume_eip = vm->vcpu.eip = code_point(vm, st->resume_hint)->guest;
	return GO_DIRECT;
}

/* Direct engine: user code that runs by blocks for a while, but for what has none. */
static bool user_as_blocks(struct vm *vm)
{
	bool direct = vm->vmm->user_direct;

	vm->vmm->user_direct = 0;
	return !direct && translate_user_preferred(vm) && !(vm->vcpu.eflags & FL_TF) &&
	       segment_is_flat(&vm->vcpu.seg[SEG_CS]);
}

/* May the vCPU, as it stands, run on the CPU itself? (DESIGN section 2; the one place where that is decided.) */
static enum decision decide(struct vm *vm)
{
	struct vcpu *v = &vm->vcpu;
	const struct segment *cs = &v->seg[SEG_CS];

	if (vm->vmm->faulted.access && v->cpl == 3)
		map_what_faulted(vm);
	if ((v->cr0 & (CR0_TS | CR0_EM)) || v->shadow || vm->vmm->step_once)
		return GO_OUT_OF_LINE;
	if (vm_long(vm))
		return decide_long(vm);
	if (v->cpl != 3) {
		if (code_is_stub(vm, v->eip))
			return go_by_stub(vm);
		v->eip = code_unlinked(vm, v->eip);
		if (!segment_is_flat(cs) || !segment_is_flat(&v->seg[SEG_SS]) || (v->eflags & FL_TF))
			return GO_OUT_OF_LINE;
		if (vm->cfg.mode == MODE_TRANSLATE || translate_goes_on(vm) || translate_preferred(vm))
			return GO_TRANSLATE;
		if (code_in_window(vm, v->eip) && code_enter_address(vm, v->eip) == v->eip)
			return GO_TRANSLATE; /* into the middle of a displaced instruction */
	} else {
		if (!vm->stats.guest_tsc_init)
			vm->stats.guest_tsc_init = clock_tsc();
		shadow_enter_user(vm);
		/* With IOPL 3 user code may use POPF as CLI and STI, and read IF: nothing of that traps. */
		if (!(cs->attr & ATTR_DB) || (v->eflags & FL_IOPL) == FL_IOPL || vdso_inside(vm))
			return GO_OUT_OF_LINE;
		if (user_as_blocks(vm))
			return GO_TRANSLATE;
	}
	if (v->eip > cs->limit)
		return GO_OUT_OF_LINE;
	if (shadow_executable(vm, gva(cs->base + v->eip)))
		return GO_DIRECT;
	if (v->cpl != 3 && translate_ready(vm))
		return GO_TRANSLATE;
	switch (shadow_fault(vm, gva(cs->base + v->eip), ACCESS_FETCH | privilege(vm))) {
	case SHADOW_MAPPED:
		run_count(vm, EXIT_PAGE_CODE);
		return GO_DIRECT;
	case SHADOW_RAISED:
		return GO_RAISED;
	case SHADOW_UNVERIFIED:
		return v->cpl == 3 ? GO_OUT_OF_LINE : GO_TRANSLATE;
	default:
		return GO_OUT_OF_LINE;
	}
}

/* --- exits ------------------------------------------------------------------------------------------------- */

/*
 * User code came to a pad or gate by a far transfer of its own: no segment of the guest. Where it stood is lost, and the
 * place where it was entered last stands for that.
 */
static void far_from_user(struct vm *vm)
{
	run_count(vm, EXIT_EXCEPTION);
	vcpu_raise(&vm->vcpu, EXC_GP, true, ABI_HOST_CS64 & ~3u);
}

static void exit_pad(struct vm *vm)
{
	struct vmm_state *st = vm->vmm;
	struct vcpu *v = &vm->vcpu;
	uint32_t index = st->world.site, next;
	const struct manifest_site *site = &vm->manifest.sites[index];

	if (v->cpl == 3 && !world_is_long(vm) && !st->user_block) {
		far_from_user(vm);
		return;
	}
	if (index >= TRANSLATE_SITE) {
		translate_exit(vm, index);
		return;
	}
	if (index >= MODULE_SITE) {
		module_exit(vm, index);
		return;
	}
	run_count(vm, EXIT_STUB);
	if (index >= vm->manifest.h.n_sites) {
		vm_stop(vm, STOP_GUEST, index, "the guest jumped into a landing pad");
		return;
	}
	v->eip = v->cr0 & CR0_PG ? site->va : site->va - vm->cfg.alias_delta;
	next = v->eip + site->len;
	run_count_site(vm, EXIT_STUB, site->va, site->op);
	trace_exit(vm, "pad");
	if (emulate(vm, &vm->site_insns[index]) != EMU_NEXT || v->eip != next ||
	    site->resume == MANIFEST_NONE)
		return;
	if (!(v->cr0 & CR0_PG) || next >= vm->cfg.alias_delta) {
		st->resume_hint = site->resume - (v->cr0 & CR0_PG ? 0 : vm->cfg.alias_delta);
		st->resume_eip = next;
	}
}

/* lcall to the gate: the return address lies on the stack. */
static void exit_call(struct vm *vm)
{
	struct vcpu *v = &vm->vcpu;
	static const struct insn none; /* the handler reads registers only */
	uint32_t eip, cs;

	if (v->cpl == 3) {
		v->gpr[REG_SP] += 8; /* the return address */
		far_from_user(vm);
		return;
	}
	run_count(vm, EXIT_CALL);
	if (operand_pop(vm, 4, &eip) < 0 || operand_pop(vm, 4, &cs) < 0)
		return;
	v->eip = eip;
	vm->stats.hypercalls[HC_CALL]++;
	handle_call(vm, &none);
}

/* Signals and kicks in guest code or in a stub. */
static void exit_signal(struct vm *vm, bool segments_changed)
{
	struct vmm_state *st = vm->vmm;
	struct world *w = &st->world;
	bool whole = canonical(vm, w->eip);

	/* However the vCPU comes to stand behind an STI: nothing is injected there. */
	if (whole && vm->vcpu.cpl != 3 && (st->in_block || !vm_long(vm)) &&
	    (st->in_block ? st->point_flags & POINT_SHADOW : code_after_sti(vm, vm->vcpu.eip)))
		vm->vcpu.shadow = 1;
	if (st->step_boundary && w->reason == WORLD_SIGNAL && w->trapno == EXC_DB) {
		run_count(vm, EXIT_STEP);
		st->step_boundary = !whole;
		st->resume_raw = !whole;
		return;
	}
	st->step_boundary = 0;
	st->resume_raw = !whole;
	if (w->reason == WORLD_KICK) {
		run_count(vm, EXIT_KICK);
		st->step_boundary = !whole;
		return;
	}
	trace_exit(vm, "signal");
	st->segments_changed = segments_changed;
	if (trap_handle(vm) < 0)
		st->resume_raw = 0;
}

void run_exit(struct vm *vm, bool segments_changed)
{
	struct vmm_state *st = vm->vmm;

	switch (st->world.reason) {
	case WORLD_PAD:
		st->step_boundary = 0;
		exit_pad(vm);
		break;
	case WORLD_VDSO:
		vdso_call(vm);
		break;
	case WORLD_CALL:
		st->step_boundary = 0;
		exit_call(vm);
		break;
	default:
		exit_signal(vm, segments_changed);
	}
}

/* Where direct execution starts for vcpu->eip. */
static uint32_t direct_address(struct vm *vm)
{
	const struct vmm_state *st = vm->vmm;
	const struct vcpu *v = &vm->vcpu;

	translate_goes_direct(vm);
	if (v->cpl == 3)
		return v->eip;
	return st->resume_hint && st->resume_eip == v->eip ? st->resume_hint : code_enter_address(vm, v->eip);
}

/* The hole lies beyond the segments of user mode: for a block of user code, CS reaches it, and FS. */
static void enter_user_block(struct world *w)
{
	w->iret.cs = ABI_HOST_CS32;
	w->fs = ABI_HOST_DS;
}

static void enter(struct vm *vm, uint32_t raw)
{
	struct vmm_state *st = vm->vmm;
	struct world *w = &st->world;
	uint64_t since = 0;

	st->user_block = vm->vcpu.cpl == 3 && !vm_long(vm) && translate_contains(vm, raw);
	run_prepare(vm);
	if (st->user_block)
		enter_user_block(w);
	st->resume_hint = 0;
	st->resume_raw = 0;
	w->eip = raw;
	w->iret.rip = (world_is_long(vm) ? LONG_BASE : 0) + raw;
	if (st->step_boundary)
		w->iret.rflags |= FL_TF;
	if (vm->cfg.count_cycles)
		since = account_cycles(vm);
	world_fpu_restore();
	world_enter(vm);
	if (vm->cfg.count_cycles)
		account_guest(vm, raw, since);
	if (st->user_block)
		w->fs = st->hw_sel[SEG_FS]; /* not the guest's doing */
	run_exit(vm, run_collect(vm));
	st->user_block = 0;
}

/* --- events ------------------------------------------------------------------------------------------------ */

static void deliver_exception(struct vm *vm)
{
	struct vcpu *v = &vm->vcpu;

	trace_exit(vm, "exception");
	v->shadow = 0;
	if (exception_deliver(vm) == -ESHUTDOWN)
		vm_stop(vm, STOP_CRASH, v->eip, "triple fault");
}

/* Inject an interrupt if one is due. Returns true when the state changed. */
static bool deliver_interrupt(struct vm *vm)
{
	struct vcpu *v = &vm->vcpu;
	int vector;

	if (!(v->eflags & FL_IF) || !machine_intr(&vm->machine))
		return false;
	soft_tick(vm);
	vector = machine_ack(&vm->machine);
	vm->stats.interrupts[vector & 0xff]++;
	io_settle(vm);
	v->halted = 0;
	if (interrupt_enter(vm, (unsigned)vector, EVENT_EXTERNAL, false, 0, v->eip) < 0 &&
	    v->exc_vector == EXC_NONE)
		vm_stop(vm, STOP_GUEST, (uint32_t)vector, "an interrupt could not be delivered");
	return true;
}

static void halt(struct vm *vm)
{
	if (!(vm->vcpu.eflags & FL_IF)) {
		vm_stop(vm, STOP_POWEROFF, 0, "halted with interrupts off");
		return;
	}
	if (code_idle(vm))
		return;
	if (vm->cfg.count_cycles)
		account_cycles(vm);
	io_halt(vm);
	vm->vmm->world.exit_tsc = 0; /* sleep is nobody's cost */
}

static void step_out_of_line(struct vm *vm)
{
	struct vcpu *v = &vm->vcpu;
	bool trap = v->eflags & FL_TF;

	run_count(vm, EXIT_STEP);
	run_count_site(vm, EXIT_STEP, v->eip, OP_NONE);
	trace_exit(vm, "xol");
	vm->vmm->step_once = 0;
	vm->vmm->gate_entered = 0;
	if (xol_step(vm) == 0 && trap && !vm->vmm->gate_entered) { /* INT n clears TF and leaves no trap behind, SDM 2A INT */
		v->dr[6] |= BIT(14); /* BS, SDM 3B 17.2.3 */
		vcpu_raise(v, EXC_DB, false, 0);
	}
}

/* The block for vcpu->eip; false when there is none and what was due instead is done. */
static bool translated(struct vm *vm, uint32_t *raw)
{
	if (vm->cfg.mode == MODE_DIRECT) {
		vm_stop(vm, STOP_GUEST, vm->vcpu.eip, "code that is not verified (--mode=direct runs nothing else)");
		return false;
	}
	switch (translate_enter(vm, raw)) {
	case TRANSLATE_ENTER:
		return true;
	case TRANSLATE_RAISED:
		run_count(vm, EXIT_PAGE_GUEST);
		return false;
	default:
		if (vm->vcpu.cpl == 3 && !vm_long(vm))
			vm->vmm->user_direct = 1;
		else
			step_out_of_line(vm);
		return false;
	}
}

static void __attribute__((noreturn)) wait_for_the_end(struct vm *vm)
{
	for (;;)
		host_futex_wait(&vm->shared.stop, atomic_load(&vm->shared.stop), NULL);
}

/* With the long engine: what the x87 remembers of the blocks that this code ran by before, it may store by itself now. */
static void go_native(struct vm *vm)
{
	struct vmm_state *st = vm->vmm;

	st->world.native = vm_long(vm);
	if (st->x87_of_block)
		x87_settle(vm);
	st->x87_of_block = 0;
}

void run_pass(struct vm *vm)
{
	struct vmm_state *st = vm->vmm;
	struct vcpu *v = &vm->vcpu;
	uint32_t raw = st->world.eip;

	st->world.native = 0;
	if ((v->cr0 & CR0_PG) && v->cr3 != st->loaded_cr3) { /* by a task switch */
		mmu_load_cr3(vm);
		return;
	}
	soft_settle(vm);
	if (v->cpl == 3 && !soft_active(vm) && !worker_is_home(vm)) {
		worker_go_home(vm);
		return;
	}
	world_clear_kick();
	io_service(vm);
	if (!st->resume_raw) {
		if (v->exc_vector != EXC_NONE) {
			deliver_exception(vm);
			return;
		}
		if (!v->shadow && deliver_interrupt(vm))
			return;
		if (v->halted) {
			halt(vm);
			return;
		}
		switch (decide(vm)) {
		case GO_OUT_OF_LINE:
			step_out_of_line(vm);
			return;
		case GO_RAISED:
			run_count(vm, EXIT_PAGE_GUEST);
			return;
		case GO_DIRECT:
			raw = direct_address(vm);
			go_native(vm);
			break;
		case GO_TRANSLATE:
			if (!translated(vm, &raw))
				return;
			st->x87_of_block |= vm->cfg.native_user; /* it may come to user code by itself */
			break;
		}
	}
	enter(vm, raw);
}

void vmm_worker(struct vm *vm, unsigned index)
{
	(void)index; /* vmm_worker_prepare() took note of it */
	for (;;) {
		worker_park(vm);
		if (atomic_load_explicit(&vm->shared.stop, memory_order_relaxed))
			wait_for_the_end(vm);
		run_pass(vm);
	}
}
