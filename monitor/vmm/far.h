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
 * Returns 0, -ESHUTDOWN for a triple fault, or -ECANCELED after vm_stop(). vcpu->exc_vector is EXC_NONE afterwards.
 */
int exception_deliver(struct vm *vm);

/*
 * opsize is 2 or 4; next_eip is the address behind the instruction, which a task switch saves. The caller compares
 * vcpu->cr3 (and CR0.TS) afterwards: a task switch may have changed them. -EFAULT with an exception raised, or
 * -ECANCELED after vm_stop() for a documented limit (real mode, virtual-8086 mode).
 */
int far_iret(struct vm *vm, unsigned opsize, uint32_t next_eip);
int far_jmp(struct vm *vm, uint16_t sel, uint32_t offset, uint32_t next_eip);
int far_call(struct vm *vm, uint16_t sel, uint32_t offset, uint32_t return_eip, unsigned opsize);
int far_ret(struct vm *vm, unsigned opsize, uint16_t pop_bytes);

/* EFLAGS bits that POPF and IRET load at this privilege (SDM 2B POPF table 4-16); IRET loads RF, VIF, VIP besides. */
uint32_t flags_loadable(unsigned cpl, uint32_t eflags, unsigned opsize);

/* Hardware task switch (SDM 3A 7.3); used by task gates, far jumps and calls to a TSS, IRET with NT. */
enum task_switch { TASK_JMP, TASK_CALL, TASK_GATE, TASK_IRET }; /* GATE: an interrupt or exception */
int task_switch(struct vm *vm, uint16_t tss_sel, enum task_switch how, unsigned ext, bool has_error, uint32_t error,
		uint32_t return_eip);

#endif
