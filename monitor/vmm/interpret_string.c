// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * MOVS, CMPS, STOS, LODS, SCAS with their repetitions (SDM 2A, 2B). A REP works on copies of the counters and commits
 * them after each element, so that a fault finds the ones before done, as on a processor; the flags of a comparison are
 * written when the instruction ends (SDM 2B REP: a fault leaves them as they were). See interpret.h.
 */
#include <errno.h>

#include "monitor/vmm/emulate.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/interpret_internal.h"

enum string {
	STRING_MOVS = 0xa4,
	STRING_CMPS = 0xa6,
	STRING_STOS = 0xaa,
	STRING_LODS = 0xac,
	STRING_SCAS = 0xae
};

static enum string kind_of(const struct insn *insn)
{
	return (enum string)(insn->opcode & 0xfe);
}

static bool compares(enum string kind)
{
	return kind == STRING_CMPS || kind == STRING_SCAS;
}

static uint32_t counter(const struct vcpu *v, const struct insn *insn, unsigned reg)
{
	return v->gpr[reg] & address_mask(insn);
}

static void counter_add(struct vcpu *v, const struct insn *insn, unsigned reg, uint32_t by)
{
	register_write(v, reg, insn->adsize, v->gpr[reg] + by);
}

static int load(struct vm *vm, enum seg seg, uint32_t offset, unsigned size, uint32_t *value)
{
	struct place p;
	int err = place_memory(vm, seg, offset, size, 0, &p);

	return err < 0 ? err : place_read(vm, &p, value);
}

/* One element; *flags become those of its comparison. */
static int element(struct vm *vm, const struct insn *insn, enum string kind, unsigned size, uint32_t *flags)
{
	struct vcpu *v = &vm->vcpu;
	bool source = kind != STRING_STOS && kind != STRING_SCAS, destination = kind != STRING_LODS;
	uint32_t a = register_read(v, REG_AX, size), b, step = v->eflags & FL_DF ? -size : size;
	struct place to;
	int err = 0;

	if (source)
		err = load(vm, insn->seg, counter(v, insn, REG_SI), size, &a);
	if (!err && compares(kind)) {
		err = load(vm, SEG_ES, counter(v, insn, REG_DI), size, &b);
		if (!err)
			*flags = flags_sub(a, b, 0, size);
	} else if (!err && destination) {
		err = place_memory(vm, SEG_ES, counter(v, insn, REG_DI), size, ACCESS_WRITE, &to);
		if (!err)
			err = place_write(vm, &to, a);
	}
	if (err < 0)
		return err;
	if (kind == STRING_LODS)
		register_write(v, REG_AX, size, a);
	if (source)
		counter_add(v, insn, REG_SI, step);
	if (destination)
		counter_add(v, insn, REG_DI, step);
	return 0;
}

/* F3 goes on while equal, F2 while not; for those that do not compare both just repeat. */
static bool goes_on(const struct insn *insn, enum string kind, uint32_t flags)
{
	return !compares(kind) || !!(flags & FL_ZF) == !!(insn->prefixes & INSN_REP);
}

static int string(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	enum string kind = kind_of(insn);
	bool repeat = insn->prefixes & (INSN_REP | INSN_REPNE), again = true;
	/* under TF each element traps */
	unsigned left = v->eflags & FL_TF ? 1 : INTERPRET_ELEMENTS, size = opcode_size(insn);
	uint32_t flags = v->eflags;
	int err;

	if (repeat && !counter(v, insn, REG_CX))
		return 0;
	while (again) {
		if (!left--)
			return INTERPRET_MORE;
		err = element(vm, insn, kind, size, &flags);
		if (err < 0)
			return err;
		if (!repeat)
			break;
		counter_add(v, insn, REG_CX, -1u);
		again = counter(v, insn, REG_CX) && goes_on(insn, kind, flags);
	}
	set_flags(v, FL_ARITHMETIC, flags);
	return 0;
}

semantic *semantic_string(const struct insn *insn)
{
	if (insn->map != 0)
		return NULL;
	switch (insn->opcode) {
	case 0xa4 ... 0xa7:
	case 0xaa ... 0xaf:
		return string;
	default:
		return NULL;
	}
}
