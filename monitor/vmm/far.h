// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Control transfers that change CS: delivery of interrupts and exceptions through the guest's IDT and TSS,
 * IRET, far calls, jumps and returns, call gates and task gates (SDM 3A 5.8, 6.12, 7.3).
 * All of them update vcpu registers only when every check passed, or raise the architectural exception.
 * vcpu->eip is the address of the instruction on entry.
 */
#ifndef MONITOR_VMM_FAR_H
#define MONITOR_VMM_FAR_H

#include "monitor/vmm/vcpu.h"

struct vm;

enum event_kind {
	EVENT_EXTERNAL,	 /* interrupt: EXT = 1, no DPL check */
	EVENT_EXCEPTION, /* EXT = 1 in errors raised while delivering, no DPL check */
	EVENT_SOFTWARE,	 /* INT n, INT3, INTO: gate DPL >= CPL or #GP(vector*8+2); saved EIP is return_eip */
};

/*
 * Deliver vector through the IDT; the saved EIP is return_eip. 0, or -EFAULT with the exception that delivery
 * itself met raised (the caller combines it: event_deliver()).
 */
int interrupt_enter(struct vm *vm, unsigned vector, enum event_kind kind, bool has_error, uint32_t error,
		    uint32_t return_eip);

/*
 * Deliver the exception in vcpu->exc_*, with double faults and triple faults as in SDM 3A 6.15 table 6-5.
 * Returns 0, or -ESHUTDOWN for a triple fault. vcpu->exc_vector is EXC_NONE afterwards.
 */
int exception_deliver(struct vm *vm);

int far_iret(struct vm *vm, unsigned opsize); /* opsize 2 or 4 */
int far_jmp(struct vm *vm, uint16_t sel, uint32_t offset);
int far_call(struct vm *vm, uint16_t sel, uint32_t offset, uint32_t return_eip, unsigned opsize);
int far_ret(struct vm *vm, unsigned opsize, uint16_t pop_bytes);

/* Hardware task switch (SDM 3A 7.3); used by task gates, far jumps and calls to a TSS, IRET with NT. */
enum task_switch { TASK_JMP, TASK_CALL, TASK_GATE, TASK_IRET };
int task_switch(struct vm *vm, uint16_t tss_sel, enum task_switch how, bool has_error, uint32_t error,
		uint32_t return_eip);

#endif
