// SPDX-License-Identifier: GPL-3.0-or-later
/* See x87.h. */
#include "monitor/vmm/x87.h"

#include "monitor/vmm/code.h"
#include "monitor/vmm/emulate.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/translate.h"
#include "monitor/vmm/world.h"
#include "monitor/vmm/xol.h"

/* The guest's, from now on; NULL where the x87 is in its initial state, which has none. */
static struct x87_env *environment(struct vm *vm)
{
	world_fpu_guard();
	return world_fpu_has_x87(vm->vmm) ? &vm->vmm->x87 : NULL;
}

static void point_to(struct x87_env *e, uint32_t eip)
{
	e->ip = eip;
	e->cs = e->ds = 0;
}

void x87_settle(struct vm *vm)
{
	struct x87_env *e = environment(vm);
	const struct manifest_point *p;

	if (!e)
		return;
	if (translate_contains(vm, e->ip)) {
		p = translate_point(vm, e->ip);
		if (!p)
			return;
		if (p->flags & POINT_X87_MOVED) {
			e->dp = vm_vcpu_page(vm)->x87_operand;
			e->op = (uint16_t)vm_vcpu_page(vm)->x87_opcode;
		} else if (p->flags & POINT_X87_ABSOLUTE) {
			e->op |= 1;
		}
		point_to(e, p->guest);
	} else {
		p = code_point(vm, e->ip);
		if (p)
			point_to(e, code_guest_address(vm, p->guest, e->ip));
	}
}

void x87_executed(struct vm *vm, const struct insn *insn)
{
	struct x87_env *e;

	if (insn->map != 0 || insn->opcode < 0xd8 || insn->opcode > 0xdf)
		return;
	e = environment(vm);
	if (!e || !xol_contains(vm, e->ip)) /* a control instruction leaves them */
		return;
	point_to(e, vm->vcpu.eip - insn->len);
	e->op = (uint16_t)insn_x87_opcode(insn);
	if (insn->has_mem)
		e->dp = operand_offset(&vm->vcpu, insn);
}
