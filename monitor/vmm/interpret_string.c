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
#include "monitor/vmm/shadow_seg.h"
#include "monitor/vmm/soft.h"

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

static uint32_t page_rest(uint32_t at)
{
	return PAGE_SIZE - (at & (PAGE_SIZE - 1));
}

static void repeat_native(enum string kind, unsigned size, uint8_t *to, const uint8_t *from, uint32_t ax, uint64_t n)
{
	if (kind == STRING_MOVS && size == 1)
		__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	else if (kind == STRING_MOVS && size == 2)
		__asm__ volatile("rep movsw" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	else if (kind == STRING_MOVS)
		__asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	else if (size == 1)
		__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(ax) : "memory");
	else if (size == 2)
		__asm__ volatile("rep stosw" : "+D"(to), "+c"(n) : "a"(ax) : "memory");
	else
		__asm__ volatile("rep stosl" : "+D"(to), "+c"(n) : "a"(ax) : "memory");
}

static int find_host(struct vm *vm, struct gva at, unsigned access, void **host)
{
	int err = soft_host(vm, at, access, host);

	return err || *host ? err : gmem_host(vm, at, access, host);
}

/*
 * REP MOVS and REP STOS as far as their pages reach, by the processor itself. The number of elements done; 0 where each has
 * to be looked at by itself; negative as element().
 */
static int64_t bulk(struct vm *vm, const struct insn *insn, enum string kind, unsigned size)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t to = v->gpr[REG_DI], from = v->gpr[REG_SI], n = v->gpr[REG_CX];
	bool copies = kind == STRING_MOVS;
	void *host_to, *host_from = NULL;
	int err;

	if (compares(kind) || kind == STRING_LODS || insn->adsize != 4 || (v->eflags & (FL_DF | FL_TF | FL_AC)) ||
	    !segment_is_flat(&v->seg[SEG_ES]) || (copies && !segment_is_flat(&v->seg[insn->seg])))
		return 0;
	n = n < page_rest(to) / size ? n : page_rest(to) / size;
	if (copies)
		n = n < page_rest(from) / size ? n : page_rest(from) / size;
	if (!n)
		return 0;
	err = copies ? find_host(vm, gva(from), privilege(vm), &host_from) : 0;
	err = err ? err : find_host(vm, gva(to), privilege(vm) | ACCESS_WRITE, &host_to);
	if (err < 0)
		return err;
	if (!host_to || (copies && !host_from))
		return 0;
	repeat_native(kind, size, host_to, host_from, v->gpr[REG_AX], n);
	v->gpr[REG_DI] += n * size;
	v->gpr[REG_SI] += copies ? n * size : 0;
	v->gpr[REG_CX] -= n;
	return n;
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
		int64_t n = repeat ? bulk(vm, insn, kind, size) : 0;

		if (n < 0)
			return (int)n;
		if (n > 0 && !counter(v, insn, REG_CX))
			return 0;
		if (!left--)
			return INTERPRET_MORE;
		if (n > 0)
			continue;
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
