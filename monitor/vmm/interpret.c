// SPDX-License-Identifier: GPL-3.0-or-later
/* See interpret.h: dispatch and operands. The semantics stand in the interpret_*.c, a kind of instruction each. */
#include "monitor/vmm/interpret.h"

#include <errno.h>

#include "monitor/vmm/emulate.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/interpret_internal.h"

static semantic *find(const struct insn *insn)
{
	static semantic *(*const by_kind[])(const struct insn *) = {
	    semantic_alu, semantic_move, semantic_stack, semantic_string, semantic_decimal,
	};
	semantic *s = NULL;

	if (insn->width == 64 || insn->flow != FLOW_NEXT || insn_is_sensitive(insn))
		return NULL;
	for (unsigned i = 0; !s && i < ARRAY_LEN(by_kind); i++)
		s = by_kind[i](insn);
	return s;
}

bool interpret_can(const struct insn *insn)
{
	return find(insn) != NULL;
}

int interpret(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	semantic *s = find(insn);
	int ret;

	if (!s) {
		vm_stop(vm, STOP_GUEST, v->eip,
			"an instruction that can neither run as 64-bit code nor be interpreted");
		return -ECANCELED;
	}
	ret = s(vm, insn);
	if (ret < 0)
		return ret;
	if (ret != INTERPRET_MORE)
		v->eip += insn->len;
	v->shadow = 0;
	return 0;
}

/* --- operands -------------------------------------------------------------------------------------------- */

int check_aligned(struct vm *vm, uint32_t linear, unsigned size)
{
	const struct vcpu *v = &vm->vcpu;

	if (!(linear & (size - 1)) || v->cpl != 3 || !(v->cr0 & CR0_AM) || !(v->eflags & FL_AC))
		return 0;
	return vcpu_raise(&vm->vcpu, EXC_AC, true, 0);
}

int place_memory(struct vm *vm, enum seg seg, uint32_t offset, unsigned size, unsigned access,
		 struct place *p)
{
	int err;

	*p = (struct place){.memory = true, .size = (uint8_t)size};
	err = segment_address(vm, seg, offset, size, access, &p->at);
	return err < 0 ? err : check_aligned(vm, p->at.a, size);
}

int place_rm(struct vm *vm, const struct insn *insn, unsigned size, unsigned access, struct place *p)
{
	int err;

	*p = (struct place){.memory = insn->has_mem, .reg = insn->rm & 7, .size = (uint8_t)size};
	if (!insn->has_mem)
		return 0;
	err = operand_address(vm, insn, 0, size, access, &p->at);
	return err < 0 ? err : check_aligned(vm, p->at.a, size);
}

int place_modify(struct vm *vm, const struct insn *insn, unsigned size, struct place *p)
{
	int err = place_rm(vm, insn, size, ACCESS_WRITE, p);

	return err < 0 || !p->memory ? err : gmem_probe_write(vm, p->at, size, privilege(vm));
}

int place_read(struct vm *vm, const struct place *p, uint32_t *value)
{
	*value = 0;
	if (p->memory)
		return gmem_read(vm, p->at, value, p->size, privilege(vm));
	*value = register_read(&vm->vcpu, p->reg, p->size);
	return 0;
}

int place_write(struct vm *vm, const struct place *p, uint32_t value)
{
	if (p->memory)
		return gmem_write(vm, p->at, &value, p->size, privilege(vm) | ACCESS_WRITE);
	register_write(&vm->vcpu, p->reg, p->size, value);
	return 0;
}
