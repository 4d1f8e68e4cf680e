// SPDX-License-Identifier: GPL-3.0-or-later
/* See xol.h. (The idea is that of Linux's kprobes and uprobes, which coined the name.) */
#include "monitor/vmm/xol.h"

#include <errno.h>

#include "hypercalls/lower_long.h"
#include "monitor/vmm/emulate.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/interpret.h"
#include "monitor/vmm/mem.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/run.h"
#include "monitor/vmm/shadow_seg.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/trap.h"
#include "monitor/vmm/world.h"

#define SLOT_PAD 0x100 /* offset of the landing pad in the slot page */
#define BOUNCE_LEN 64  /* bytes of the widest operand */

static uint32_t slot_address(const struct vm *vm)
{
	return vm->cfg.hole_base + ABI_XOL_PAGE;
}

static uint8_t *slot_bytes(const struct vm *vm)
{
	return (uint8_t *)RAM_BASE + vm->cfg.bounce_off;
}

static uint8_t *bounce_bytes(const struct vm *vm)
{
	return slot_bytes(vm) + PAGE_SIZE;
}

bool xol_contains(const struct vm *vm, uint32_t raw)
{
	return raw - slot_address(vm) < PAGE_SIZE;
}

bool xol_is_pad(const struct vm *vm, uint32_t raw)
{
	return raw - slot_address(vm) >= SLOT_PAD;
}

static void put32(uint8_t *at, uint32_t value)
{
	mem_copy(at, &value, 4);
}

void xol_init(struct vm *vm)
{
	uint8_t *pad = slot_bytes(vm) + SLOT_PAD;

	mem_set(slot_bytes(vm), 0xcc, PAGE_SIZE);
	pad[0] = 0x41, pad[1] = 0xbf; /* mov $XOL_SITE, %r15d */
	put32(pad + 2, XOL_SITE);
	pad[6] = 0xe9; /* jmp gate */
	put32(pad + 7, vm->cfg.hole_base + GATE_EXIT - (slot_address(vm) + SLOT_PAD + ABI_PAD_LEN));
}

/* --- branches -------------------------------------------------------------------------------------------- */

static bool condition(uint32_t flags, unsigned cc)
{
	bool cf = flags & FL_CF, zf = flags & FL_ZF, sf = flags & FL_SF, of = flags & FL_OF, pf = flags & FL_PF;
	const bool holds[8] = {of, cf, zf, cf || zf, sf, pf, sf != of, zf || sf != of};

	return holds[cc >> 1 & 7] != (cc & 1);
}

static bool loop_taken(struct vcpu *v, const struct insn *insn)
{
	uint32_t mask = insn->adsize == 2 ? 0xffff : 0xffffffff, count;

	if (insn->opcode == 0xe3)
		return !(v->gpr[REG_CX] & mask);
	count = (v->gpr[REG_CX] - 1) & mask;
	v->gpr[REG_CX] = (v->gpr[REG_CX] & ~mask) | count;
	if (insn->opcode == 0xe2)
		return count;
	return count && !!(v->eflags & FL_ZF) == (insn->opcode == 0xe1);
}

static int branch(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t next = v->eip + insn->len, target = (uint32_t)insn->target;
	int err = 0;

	switch (insn->flow) {
	case FLOW_JCC:
		v->eip = condition(v->eflags, insn->opcode & 15) ? target : next;
		return 0;
	case FLOW_LOOP:
		v->eip = loop_taken(v, insn) ? target : next;
		return 0;
	case FLOW_JMP:
		break;
	case FLOW_CALL:
		err = operand_push(vm, insn->opsize, next);
		break;
	case FLOW_JMP_IND:
	case FLOW_CALL_IND:
		err = operand_read(vm, insn, insn->opsize, &target);
		if (!err && insn->flow == FLOW_CALL_IND)
			err = operand_push(vm, insn->opsize, next);
		break;
	case FLOW_RET:
		err = operand_pop(vm, insn->opsize, &target);
		if (!err && (insn->opcode == 0xc2))
			v->gpr[REG_SP] += insn->imm & 0xffff;
		break;
	default:
		return vcpu_raise(v, EXC_UD, false, 0);
	}
	if (!err)
		v->eip = insn->opsize == 2 ? target & 0xffff : target;
	return err;
}

/* --- running the copy ------------------------------------------------------------------------------------ */

/* Opcodes of map 0F that work on MMX or SSE registers. */
static bool is_vector_opcode(uint8_t op)
{
	return (op >= 0x10 && op <= 0x17) || (op >= 0x28 && op <= 0x2f) || (op >= 0x50 && op <= 0x7f) || op == 0xc2 ||
	       (op >= 0xc4 && op <= 0xc6) || (op >= 0xd0);
}

/*
 * The exception that CR0.TS or CR0.EM gives the instruction, EXC_NONE without (SDM 3A 2.5, table 9-3): x87 code
 * and saving its state raise #NM under either, WAIT under TS with MP, MMX and SSE #UD under EM, AVX knows TS only.
 */
static unsigned fpu_exception(const struct vcpu *v, const struct insn *insn)
{
	bool ts = v->cr0 & CR0_TS, em = v->cr0 & CR0_EM;
	uint8_t op = insn->opcode;

	if (insn->map == 0 && op == 0x9b)
		return ts && (v->cr0 & CR0_MP) ? EXC_NM : EXC_NONE;
	if (insn->map == 0)
		return (ts || em) && op >= 0xd8 && op <= 0xdf ? EXC_NM : EXC_NONE;
	if (insn->map >= 0x10)
		return ts ? EXC_NM : EXC_NONE;
	if (insn->map == 1 && op == 0xae && insn->has_mem && insn->reg < 2) /* FXSAVE, FXRSTOR */
		return ts || em ? EXC_NM : EXC_NONE;
	if (insn->map == 1 && op == 0xae && insn->has_mem && insn->reg >= 4 && insn->reg < 7) /* XSAVE and kin */
		return ts ? EXC_NM : EXC_NONE;
	if (insn->map == 1 ? !is_vector_opcode(op) && !(op == 0xae && insn->has_mem && insn->reg < 4)
			   : op == 0xf0 || op == 0xf1 || op == 0x82)
		return EXC_NONE;
	return em ? EXC_UD : ts ? EXC_NM : EXC_NONE;
}

/* Enter the slot; the copy ends at `len`. */
static int run_slot(struct vm *vm, unsigned len, unsigned guest_len, bool redirected)
{
	struct vcpu *v = &vm->vcpu;
	struct world *w = &vm->vmm->world;
	uint32_t guest = v->eip, unchecked_ac = v->cr0 & CR0_AM ? 0 : v->eflags & FL_AC;
	int ret;

	run_prepare(vm);
	w->iret.cs = ABI_HOST_CS32;
	w->iret.rip = w->eip = slot_address(vm); /* a kick that comes before the entry leaves eip as it is here */
	w->iret.rflags &= ~(uint64_t)(FL_TF | unchecked_ac);
	if (redirected)
		w->ds = ABI_HOST_DS;
	world_clear_kick();
	world_fpu_restore();
	world_run();
	if (redirected)
		w->ds = vm->vmm->hw_sel[SEG_DS]; /* not the guest's doing */
	vm->vmm->segments_changed = run_collect(vm);
	v->eflags |= unchecked_ac;
	if (w->reason == WORLD_PAD && w->site == XOL_SITE) {
		v->eip = guest + guest_len;
		v->shadow = 0;
		return 0;
	}
	if (w->reason == WORLD_KICK && w->eip == slot_address(vm) + len) {
		v->eip = guest + guest_len;
		v->shadow = 0;
		return 0;
	}
	v->eip = guest;
	if (w->reason != WORLD_SIGNAL)
		return -EAGAIN;
	ret = trap_handle(vm);
	if (ret < 0)
		return ret;
	return v->eip != guest ? 0 : -EAGAIN; /* done by other means, a redirected operand */
}

static int run_copy(struct vm *vm, const uint8_t *bytes, unsigned len, unsigned guest_len, bool redirected)
{
	uint8_t *slot = slot_bytes(vm);

	mem_copy(slot, bytes, len);
	slot[len] = 0xea; /* ljmp $CS64, $pad */
	put32(slot + len + 1, slot_address(vm) + SLOT_PAD);
	slot[len + 5] = ABI_HOST_CS64;
	slot[len + 6] = 0;
	return run_slot(vm, len, guest_len, redirected);
}

/* --- the same with the long engine -------------------------------------------------------------------------- */

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
	if (w->eip == slot_address(vm) + l->code_len || (p && p->guest == next))
		return 0;
	if (w->reason != WORLD_SIGNAL)
		return -EAGAIN;
	ret = trap_handle(vm);
	if (ret < 0)
		return ret;
	return v->eip != guest ? 0 : -EAGAIN; /* done by other means, a redirected operand */
}

/* Run the instruction from the slot as 64-bit code, its memory operand at `operand` in the hole unless MANIFEST_NONE. */
static int run_long(struct vm *vm, const struct insn *insn, const uint8_t *bytes, uint32_t operand)
{
	struct vcpu *v = &vm->vcpu;
	struct manifest_point points[LONG_POINTS];
	struct lower_insn in = {.insn = *insn, .bytes = bytes, .va = v->eip, .site = MANIFEST_NONE};
	struct lower l = {
	    .hole_base = vm->cfg.hole_base,
	    .code = slot_bytes(vm),
	    .code_va = slot_address(vm),
	    .code_cap = SLOT_PAD - 5,
	    .points = points,
	    .points_cap = LONG_POINTS,
	};
	uint32_t guest = v->eip, next = v->eip + insn->len, raw = slot_address(vm);
	int ret;

	world_fpu_guard(); /* the emitter may use vector registers */
	if (lower_long_step(&l, &in, v->cpl == 3 ? VIEW_USER : VIEW_SUPERVISOR, operand) < 0)
		return -EOPNOTSUPP;
	l.code[l.code_len] = 0xe9; /* jmp pad */
	put32(l.code + l.code_len + 1, slot_address(vm) + SLOT_PAD - (slot_address(vm) + (uint32_t)l.code_len + 5));
	while ((ret = enter_long(vm, &l, raw, next)) > 0)
		raw = vm->vmm->world.eip;
	if (ret == 0 && v->eip == guest) {
		v->eip = next;
		v->shadow = 0;
	}
	return ret;
}

/* Does the instruction touch memory by a segment that a long block would not take as it stands? */
static bool needs_segments(const struct vm *vm, const struct insn *insn)
{
	const struct segment *seg = vm->vcpu.seg;

	if (!segment_is_flat(&seg[SEG_SS]) || !segment_is_flat(&seg[SEG_DS]) || !segment_is_flat(&seg[SEG_ES]))
		return true;
	if (insn->seg == SEG_CS)
		return true;
	return (insn->seg == SEG_FS || insn->seg == SEG_GS) && !segment_is_unlimited(&seg[insn->seg]);
}

static int execute_long(struct vm *vm, const struct insn *insn, const uint8_t *bytes)
{
	bool careful = needs_segments(vm, insn);
	int ret = -EOPNOTSUPP;

	if (!careful || (!insn->has_mem && !interpret_can(insn)))
		ret = run_long(vm, insn, bytes, MANIFEST_NONE);
	if (ret != -EOPNOTSUPP)
		return ret;
	if (interpret_can(insn))
		return interpret(vm, insn);
	if (insn->has_mem && !vm->vmm->redirecting)
		return xol_redirect(vm);
	vm_stop(vm, STOP_GUEST, vm->vcpu.eip, "an instruction that this host cannot execute in 64-bit mode");
	return -ECANCELED;
}

int xol_execute(struct vm *vm, const struct insn *insn, const uint8_t *bytes)
{
	struct vcpu *v = &vm->vcpu;
	unsigned vector;

	if (policy_is_replaced(insn->op))
		return emulate(vm, insn) < 0 ? -EFAULT : 0;
	if (insn->flow != FLOW_NEXT) {
		v->shadow = 0;
		return branch(vm, insn);
	}
	vector = fpu_exception(v, insn);
	if (vector != EXC_NONE)
		return vcpu_raise(v, vector, false, 0);
	if (insn->width != 32 && v->cpl == 3) /* a limit, but no reason for a program to end the VM */
		return vcpu_raise(v, EXC_UD, false, 0);
	if (insn->width != 32) {
		vm_stop(vm, STOP_GUEST, v->eip, "16-bit code: not supported outside 32-bit segments");
		return -ECANCELED;
	}
	if (vm_long(vm))
		return execute_long(vm, insn, bytes);
	return run_copy(vm, bytes, insn->len, insn->len, false);
}

int xol_step(struct vm *vm)
{
	uint8_t bytes[INSN_MAX];
	struct insn insn;

	if (emulate_fetch(vm, &insn, bytes) < 0)
		return -EFAULT;
	return xol_execute(vm, &insn, bytes);
}

/* --- redirected operands --------------------------------------------------------------------------------- */

/* The instruction with its ModRM operand replaced by DS:[disp32]. Returns the new length. */
static unsigned aim_at(const struct insn *insn, const uint8_t *bytes, uint32_t address, uint8_t *out)
{
	unsigned n = 0, tail = insn->imm_len ? insn->imm_off : insn->len;

	for (unsigned i = 0; i < insn->modrm_off; i++) {
		bool legacy = i + 1 < insn->modrm_off && insn->map < 0x10;
		uint8_t b = bytes[i];

		/* drop segment and address-size prefixes; DS is the flat one for this instruction */
		if (legacy && (b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e || b == 0x64 || b == 0x65 || b == 0x67))
			continue;
		out[n++] = b;
	}
	out[n++] = (uint8_t)((insn->reg & 7) << 3 | 5);
	put32(out + n, address);
	n += 4;
	for (unsigned i = tail; i < insn->len; i++)
		out[n++] = bytes[i];
	return n;
}

/*
 * Bytes to copy for the operand at `at`, whose size is anyone's guess: as far as the widest one reaches, but not into a
 * next page that the guest may not read. (An operand that does reach into one should be #PF, and is cut off here.)
 */
static uint32_t operand_reach(struct vm *vm, struct gva at)
{
	uint32_t rest = PAGE_SIZE - (at.a & (PAGE_SIZE - 1));
	struct walk w;

	if (rest >= BOUNCE_LEN || paging_walk(vm, gva(at.a + rest), privilege(vm), &w) == 0)
		return BOUNCE_LEN;
	return rest;
}

static int redirect(struct vm *vm)
{
	uint8_t bytes[INSN_MAX], aimed[INSN_MAX + 8], before[BOUNCE_LEN];
	uint8_t *bounce = bounce_bytes(vm);
	struct insn insn;
	struct gva at;
	uint32_t len, changed_from = BOUNCE_LEN, changed_to = 0;
	int err = emulate_fetch(vm, &insn, bytes);

	if (err < 0)
		return err;
	if (insn_is_sensitive(&insn) || insn.flow != FLOW_NEXT)
		return xol_execute(vm, &insn, bytes);
	if (interpret_can(&insn))
		return interpret(vm, &insn);
	if (!insn.has_mem) {
		vm_stop(vm, STOP_GUEST, vm->vcpu.eip, "an implicit operand at an address that the host cannot map");
		return -ECANCELED;
	}
	err = operand_address(vm, &insn, 0, 1, 0, &at);
	if (err < 0)
		return err;
	len = operand_reach(vm, at);
	mem_set(before, 0xff, sizeof(before));
	if (gmem_read(vm, at, before, len, privilege(vm)) < 0)
		return -EFAULT;
	mem_copy(bounce, before, BOUNCE_LEN);
	if (vm_long(vm))
		err = run_long(vm, &insn, bytes, vm->cfg.hole_base + ABI_BOUNCE_PAGE);
	else
		err = run_copy(vm, aimed, aim_at(&insn, bytes, vm->cfg.hole_base + ABI_BOUNCE_PAGE, aimed), insn.len, true);
	if (err < 0)
		return err;
	for (unsigned i = 0; i < len; i++)
		if (bounce[i] != before[i]) {
			changed_from = changed_from < i ? changed_from : i;
			changed_to = i + 1;
		}
	if (changed_from >= changed_to)
		return 0;
	return gmem_write(vm, gva(at.a + changed_from), bounce + changed_from, changed_to - changed_from,
			  privilege(vm) | ACCESS_WRITE);
}

int xol_redirect(struct vm *vm)
{
	struct vmm_state *st = vm->vmm;
	int err;

	if (st->redirecting) { /* PUSH m, with its stack out of the host's reach as well */
		vm_stop(vm, STOP_GUEST, vm->vcpu.eip, "two operands at addresses that the host cannot map");
		return -ECANCELED;
	}
	st->redirecting = 1;
	err = redirect(vm);
	st->redirecting = 0;
	return err;
}
