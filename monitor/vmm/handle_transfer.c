// SPDX-License-Identifier: GPL-3.0-or-later
/* Far transfers and software interrupts: operands here, the architecture in far.h. */
#include <errno.h>

#include "monitor/vmm/emulate.h"
#include "monitor/vmm/far.h"
#include "monitor/vmm/long_ring.h"
#include "monitor/vmm/soft.h"

static uint32_t next_eip(const struct vm *vm, const struct insn *insn)
{
	return vm->vcpu.eip + insn->len;
}

static int jumped(int err)
{
	return err < 0 ? err : EMU_JUMP;
}

int handle_iret(struct vm *vm, const struct insn *insn)
{
	return jumped(far_iret(vm, insn->opsize, next_eip(vm, insn)));
}

/* INT n, as opposed to those that are exceptions. */
static int software_interrupt(struct vm *vm, unsigned vector, uint32_t next)
{
	const struct segment cs = vm->vcpu.seg[SEG_CS], ss = vm->vcpu.seg[SEG_SS];
	int err;

	soft_count_call(vm);
	err = interrupt_enter(vm, vector, EVENT_SOFTWARE, false, 0, next);
	if (!err && vm_long(vm))
		long_ring_note(vm, vector, &cs, &ss);
	return jumped(err);
}

int handle_int(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t next = next_eip(vm, insn);

	switch (insn->opcode) {
	case 0xcc:
		return jumped(interrupt_enter(vm, EXC_BP, EVENT_SOFTWARE, false, 0, next));
	case 0xce:
		if (!(v->eflags & FL_OF))
			return EMU_NEXT;
		return jumped(interrupt_enter(vm, EXC_OF, EVENT_SOFTWARE, false, 0, next));
	case 0xf1:
		return jumped(interrupt_enter(vm, EXC_DB, EVENT_EXCEPTION, false, 0, next));
	default:
		return software_interrupt(vm, insn->imm & 0xff, next);
	}
}

/* The far pointer: immediate, or in memory as offset then selector. */
static int far_pointer(struct vm *vm, const struct insn *insn, uint16_t *sel, uint32_t *offset)
{
	int err;

	*offset = 0;
	if (!insn->has_modrm) {
		*sel = insn->selector;
		*offset = insn->opsize == 2 ? insn->imm & 0xffff : (uint32_t)insn->imm;
		return 0;
	}
	if (!insn->has_mem)
		return vcpu_raise(&vm->vcpu, EXC_UD, false, 0);
	err = memory_read(vm, insn, 0, offset, insn->opsize);
	return err < 0 ? err : memory_read(vm, insn, insn->opsize, sel, 2);
}

int handle_far_jmp(struct vm *vm, const struct insn *insn)
{
	uint32_t offset;
	uint16_t sel;
	int err = far_pointer(vm, insn, &sel, &offset);

	return err < 0 ? err : jumped(far_jmp(vm, sel, offset, next_eip(vm, insn)));
}

int handle_far_call(struct vm *vm, const struct insn *insn)
{
	uint32_t offset;
	uint16_t sel;
	int err = far_pointer(vm, insn, &sel, &offset);

	if (!err && sel == ABI_HOST_CS64 && offset == vm->cfg.hole_base + GATE_CALL && !vm->vcpu.cpl)
		return handle_call(vm, insn); /* not by the gate itself, where this code does not run directly */
	return err < 0 ? err : jumped(far_call(vm, sel, offset, next_eip(vm, insn), insn->opsize));
}

int handle_far_ret(struct vm *vm, const struct insn *insn)
{
	return jumped(far_ret(vm, insn->opsize, insn->opcode == 0xca ? insn->imm & 0xffff : 0));
}
