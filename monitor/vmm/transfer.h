// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What the far transfers share: stacks, the checks on code and stack segments, and the commit of CS. A transfer
 * works on copies (struct stack, struct descriptor), lets every check and memory access happen first, and commits
 * to the vCPU last; so a fault anywhere leaves the registers as they were (SDM 3A 6.5, faults are restartable).
 */
#ifndef MONITOR_VMM_TRANSFER_H
#define MONITOR_VMM_TRANSFER_H

#include "monitor/vmm/descriptor.h"

/* A stack being pushed to or popped from: the vCPU's own, or one that it may switch to. */
struct stack {
	struct segment ss;
	uint32_t esp;
	unsigned access; /* ACCESS_USER for a stack of CPL 3 */
};

struct stack stack_current(const struct vcpu *v);
void stack_commit(struct vcpu *v, const struct stack *st);
/* ESP += by, within the stack's own width (SS.B). */
void stack_move(struct stack *st, uint32_t by);
/* Room for n words of `size` (2 or 4) bytes within the segment's limit? */
bool stack_room(const struct stack *st, unsigned n, unsigned size);
/* Push word[0] first. The caller has asked stack_room(). */
int stack_push(struct vm *vm, struct stack *st, const uint32_t *word, unsigned n, unsigned size);
/* Pop n words, word[0] from the top, zero-extended; raises #SS(0) beyond the limit. */
int stack_pop(struct vm *vm, struct stack *st, uint32_t *word, unsigned n, unsigned size);

/* The stack that the TSS names for ring dpl, checked as for a transfer inward: #TS, #SS. */
int stack_from_tss(struct vm *vm, unsigned dpl, unsigned ext, struct stack *st);

/* The code segment of a gate that leads to CPL's ring or, when `inward`, to a more privileged one. */
int code_from_gate(struct vm *vm, uint16_t sel, unsigned ext, bool inward, struct descriptor *d);
/* After all other checks: offset inside the limit (#GP(ext)), accessed bit set. */
int code_ready(struct vm *vm, uint16_t sel, uint32_t offset, unsigned ext, struct descriptor *d);
void code_commit(struct vcpu *v, uint16_t sel, struct descriptor d, unsigned cpl, uint32_t eip);

/* descriptor_read(), with `vector` raised for a selector beyond its table. */
int transfer_descriptor(struct vm *vm, uint16_t sel, unsigned vector, unsigned ext, struct descriptor *d);
int transfer_raise(struct vm *vm, unsigned vector, uint16_t sel, unsigned ext);

/* The target of a call, interrupt or trap gate. */
static inline uint16_t gate_selector(struct descriptor d)
{
	return (uint16_t)(d.lo >> 16);
}
static inline bool gate_is_32(struct descriptor d)
{
	return d.hi & BIT(11);
}
static inline uint32_t gate_offset(struct descriptor d)
{
	return (d.lo & 0xffff) | (gate_is_32(d) ? d.hi & 0xffff0000 : 0);
}

#endif
