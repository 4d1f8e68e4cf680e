// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Segment registers and descriptors in the guest's terms (SDM 3A chapters 3 and 5). Nothing here touches the
 * host's LDT: see shadow_seg.h for that.
 */
#ifndef MONITOR_VMM_SEGMENT_H
#define MONITOR_VMM_SEGMENT_H

#include "monitor/vmm/vcpu.h"

struct vm;

struct descriptor {
	uint32_t lo, hi;
};

struct segment segment_unpack(uint16_t sel, struct descriptor d);

/* Are the size > 0 bytes at offset inside the limit (SDM 3A 5.3; expand-down too)? Nothing is said about rights. */
bool segment_covers(const struct segment *s, uint32_t offset, uint32_t size);

/*
 * Read the descriptor of sel from the GDT or LDT. -ENOENT when sel is null or beyond the table's limit (nothing
 * raised: the caller knows which exception applies), -EFAULT after a #PF was raised.
 */
int descriptor_read(struct vm *vm, uint16_t sel, struct descriptor *d);
/* Store the high word of a descriptor in the guest's table. */
int descriptor_write_hi(struct vm *vm, uint16_t sel, uint32_t hi);
/* Set the accessed bit of a code or data descriptor in d and, if it was clear, in the guest's table. */
int descriptor_touch(struct vm *vm, uint16_t sel, struct descriptor *d);

/* 0 in protected mode; else the documented limit: the VM is stopped and -ECANCELED returned. */
int segment_limit_guest(struct vm *vm);

/*
 * MOV/POP/LxS to a segment register other than CS, with all checks and the architectural exceptions
 * (SDM 2B MOV). Sets vcpu->seg[seg]; loading SS sets vcpu->shadow (not for LSS).
 */
int segment_load(struct vm *vm, enum seg seg, uint16_t sel);
/* After a return to an outer ring: DS ES FS GS that the new CPL may not use become null (SDM 2A IRET). */
void segment_drop_privileged(struct vm *vm);

/* LLDT, LTR. */
int segment_load_ldtr(struct vm *vm, uint16_t sel);
int segment_load_tr(struct vm *vm, uint16_t sel);

/* LAR LSL VERR VERW: 1 (and *value) when the guest would set ZF, 0 when not, -EFAULT with a #PF raised. */
int segment_query_lar(struct vm *vm, uint16_t sel, uint32_t *value);
int segment_query_lsl(struct vm *vm, uint16_t sel, uint32_t *value);
int segment_query_ver(struct vm *vm, uint16_t sel, bool write);

#endif
