// SPDX-License-Identifier: GPL-3.0-or-later
#include "monitor/vmm/transfer.h"

#include <errno.h>

#include "monitor/vmm/gmem.h"
#include "monitor/vmm/vm.h"

static uint32_t stack_mask(const struct stack *st)
{
	return st->ss.attr & ATTR_DB ? UINT32_MAX : UINT16_MAX;
}

struct stack stack_current(const struct vcpu *v)
{
	return (struct stack){
	    .ss = v->seg[SEG_SS],
	    .esp = v->gpr[REG_SP],
	    .access = v->cpl == 3 ? ACCESS_USER : 0,
	};
}

void stack_commit(struct vcpu *v, const struct stack *st)
{
	v->seg[SEG_SS] = st->ss;
	v->gpr[REG_SP] = st->esp;
}

void stack_move(struct stack *st, uint32_t by)
{
	uint32_t mask = stack_mask(st);

	st->esp = (st->esp & ~mask) | ((st->esp + by) & mask);
}

bool stack_room(const struct stack *st, unsigned n, unsigned size)
{
	uint32_t mask = stack_mask(st), sp = st->esp & mask;
	unsigned i;

	if (sp >= n * size)
		return segment_covers(&st->ss, sp - n * size, n * size);
	for (i = 0; i < n; i++) {
		sp = (sp - size) & mask;
		if (!segment_covers(&st->ss, sp, size))
			return false;
	}
	return true;
}

#define FRAME_WORDS 36 /* SS ESP, 31 parameters, CS EIP; or an interrupt's 6 */

/* Does [sp, sp + bytes) lie in one page without wrapping, so that one copy serves it? */
static bool one_piece(const struct stack *st, uint32_t sp, unsigned bytes)
{
	uint32_t at = st->ss.base + sp;

	return sp + bytes - 1 >= sp && sp + bytes - 1 <= stack_mask(st) &&
	       (at & PAGE_MASK) == ((at + bytes - 1) & PAGE_MASK);
}

int stack_push(struct vm *vm, struct stack *st, const uint32_t *word, unsigned n, unsigned size)
{
	uint32_t mask = stack_mask(st), sp = ((st->esp & mask) - n * size) & mask;
	uint16_t half[FRAME_WORDS];
	uint32_t full[FRAME_WORDS];
	unsigned i;

	if (n <= FRAME_WORDS && one_piece(st, sp, n * size)) {
		for (i = 0; i < n; i++) {
			full[n - 1 - i] = word[i];
			half[n - 1 - i] = (uint16_t)word[i];
		}
		if (gmem_write(vm, gva(st->ss.base + sp), size == 4 ? (void *)full : half, n * size,
			       st->access) < 0) {
			/* hardware pushes downward: the first word meets the fault */
			vm->vcpu.exc_cr2 = st->ss.base + sp + (n - 1) * size;
			return -EFAULT;
		}
		stack_move(st, -(n * size));
		return 0;
	}
	for (i = 0; i < n; i++) {
		stack_move(st, -size);
		if (gmem_write(vm, gva(st->ss.base + (st->esp & mask)), &word[i], size, st->access) < 0)
			return -EFAULT;
	}
	return 0;
}

int stack_pop(struct vm *vm, struct stack *st, uint32_t *word, unsigned n, unsigned size)
{
	uint32_t mask = stack_mask(st), sp;
	unsigned i;

	for (i = 0; i < n; i++) {
		sp = st->esp & mask;
		if (!segment_covers(&st->ss, sp, size))
			return transfer_raise(vm, EXC_SS, 0, 0);
		word[i] = 0;
		if (gmem_read(vm, gva(st->ss.base + sp), &word[i], size, st->access) < 0)
			return -EFAULT;
		stack_move(st, size);
	}
	return 0;
}

int transfer_raise(struct vm *vm, unsigned vector, uint16_t sel, unsigned ext)
{
	return vcpu_raise(&vm->vcpu, vector, true, sel_error(sel, ext));
}

int transfer_descriptor(struct vm *vm, uint16_t sel, unsigned vector, unsigned ext, struct descriptor *d)
{
	int err = descriptor_read(vm, sel, d);

	return err == -ENOENT ? transfer_raise(vm, vector, sel, ext) : err;
}

/* SSn:ESPn of the current TSS, 32-bit or 16-bit (SDM 3A 7.2.1, 7.6). */
static int tss_stack_pointer(struct vm *vm, unsigned dpl, unsigned ext, uint16_t *ss, uint32_t *esp)
{
	const struct segment *tr = &vm->vcpu.tr;
	bool wide = desc_type(tr->attr) & 8;
	uint32_t at = wide ? dpl * 8 + 4 : dpl * 4 + 2;
	uint32_t size = wide ? 4 : 2;

	*esp = 0;
	if (!(tr->attr & ATTR_P) || !segment_covers(tr, at, size + 2))
		return transfer_raise(vm, EXC_TS, tr->sel, ext);
	if (gmem_read(vm, gva(tr->base + at), esp, size, 0) < 0)
		return -EFAULT;
	return gmem_read(vm, gva(tr->base + at + size), ss, 2, 0);
}

int stack_from_tss(struct vm *vm, unsigned dpl, unsigned ext, struct stack *st)
{
	struct descriptor d;
	uint16_t sel;
	int err = tss_stack_pointer(vm, dpl, ext, &sel, &st->esp);

	if (err < 0)
		return err;
	if (sel_null(sel))
		return transfer_raise(vm, EXC_TS, 0, ext);
	if (sel_rpl(sel) != dpl)
		return transfer_raise(vm, EXC_TS, sel, ext);
	err = transfer_descriptor(vm, sel, EXC_TS, ext, &d);
	if (err < 0)
		return err;
	if (desc_dpl(d.hi) != dpl || !desc_writable(d.hi))
		return transfer_raise(vm, EXC_TS, sel, ext);
	if (!(d.hi & ATTR_P))
		return transfer_raise(vm, EXC_SS, sel, ext);
	err = descriptor_touch(vm, sel, &d);
	if (err < 0)
		return err;
	st->ss = segment_unpack(sel, d);
	st->access = dpl == 3 ? ACCESS_USER : 0;
	return 0;
}

int code_from_gate(struct vm *vm, uint16_t sel, unsigned ext, bool inward, struct descriptor *d)
{
	unsigned cpl = vm->vcpu.cpl;
	int err;

	if (sel_null(sel))
		return transfer_raise(vm, EXC_GP, 0, ext);
	err = transfer_descriptor(vm, sel, EXC_GP, ext, d);
	if (err < 0)
		return err;
	if (!desc_is_code(d->hi) || desc_dpl(d->hi) > cpl ||
	    (!inward && !desc_conforming(d->hi) && desc_dpl(d->hi) != cpl))
		return transfer_raise(vm, EXC_GP, sel, ext);
	if (!(d->hi & ATTR_P))
		return transfer_raise(vm, EXC_NP, sel, ext);
	return 0;
}

int code_ready(struct vm *vm, uint16_t sel, uint32_t offset, unsigned ext, struct descriptor *d)
{
	if (offset > segment_unpack(sel, *d).limit)
		return transfer_raise(vm, EXC_GP, 0, ext);
	return descriptor_touch(vm, sel, d);
}

void code_commit(struct vcpu *v, uint16_t sel, struct descriptor d, unsigned cpl, uint32_t eip)
{
	v->seg[SEG_CS] = segment_unpack((uint16_t)((sel & ~3u) | cpl), d);
	v->cpl = (uint8_t)cpl;
	v->eip = eip;
}
