// SPDX-License-Identifier: GPL-3.0-or-later
/* See xol.h. (The idea is that of Linux's kprobes and uprobes, which coined the name.) */
#include "monitor/vmm/xol.h"

#include <errno.h>

#include "monitor/vmm/emulate.h"
#include "monitor/vmm/mem.h"
#include "monitor/vmm/run.h"
#include "monitor/vmm/shadow_seg.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/trap.h"
#include "monitor/vmm/world.h"
#include "monitor/vmm/x87.h"
#include "monitor/vmm/xol_internal.h"

bool xol_contains(const struct vm *vm, uint32_t raw)
{
	return raw - xol_slot_address(vm) < PAGE_SIZE;
}

bool xol_is_pad(const struct vm *vm, uint32_t raw)
{
	return raw - xol_slot_address(vm) >= SLOT_PAD;
}

void xol_init(struct vm *vm)
{
	uint8_t *pad = xol_slot_bytes(vm) + SLOT_PAD;

	mem_set(xol_slot_bytes(vm), 0xcc, PAGE_SIZE);
	pad[0] = 0x41, pad[1] = 0xbf; /* mov $XOL_SITE, %r15d */
	put32(pad + 2, XOL_SITE);
	pad[6] = 0xe9; /* jmp gate */
	put32(pad + 7, vm->cfg.hole_base + GATE_EXIT - (xol_slot_address(vm) + SLOT_PAD + ABI_PAD_LEN));
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
	w->iret.rip = w->eip = xol_slot_address(vm); /* a kick that comes before the entry leaves eip as it is here */
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
	if (w->reason == WORLD_KICK && w->eip == xol_slot_address(vm) + len) {
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

int xol_run_copy(struct vm *vm, const struct insn *insn, const uint8_t *bytes, unsigned len, bool redirected)
{
	uint8_t *slot = xol_slot_bytes(vm);
	int ret;

	mem_copy(slot, bytes, len);
	slot[len] = 0xea; /* ljmp $CS64, $pad */
	put32(slot + len + 1, xol_slot_address(vm) + SLOT_PAD);
	slot[len + 5] = ABI_HOST_CS64;
	slot[len + 6] = 0;
	ret = run_slot(vm, len, insn->len, redirected);
	if (ret == 0)
		x87_executed(vm, insn);
	return ret;
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
	if (insn_stores_x87_pointers(insn))
		x87_settle(vm);
	/* FNSTENV and FNSAVE on a copy of their operand: a host signal in the middle may cost what they store. */
	if (insn->map == 0 && insn_stores_x87_pointers(insn) && !vm->vmm->redirecting)
		return xol_redirect(vm);
	if (vm_long(vm))
		return xol_execute_long(vm, insn, bytes);
	return xol_run_copy(vm, insn, bytes, insn->len, false);
}

int xol_step(struct vm *vm)
{
	uint8_t bytes[INSN_MAX];
	struct insn insn;

	if (emulate_fetch(vm, &insn, bytes) < 0)
		return -EFAULT;
	return xol_execute(vm, &insn, bytes);
}
