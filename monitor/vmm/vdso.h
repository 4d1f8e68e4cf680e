// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 6.7: System calls through the vDSO
 *
 * The guest's vDSO. __kernel_vsyscall is `push %ecx; push %edx; push %ebp; NOPs; int $0x80; pop ...` in user code, where
 * INT 0x80 would cost a trip through the host's signals (11 us). The first seven bytes become a far call to
 * GATE_SYSCALL: what it pushes says where it was called, the monitor makes the three pushes good and enters the guest's
 * gate 0x80. INT 0x80 itself stays, so the return address, restarts at it (EIP - 2) and unwinding are untouched.
 *
 * Linux keeps the vDSO's pages in its image and maps them into every process: one page to patch. Its bytes differ for a
 * program that reads its own vDSO (docs/limits.md).
 */
#ifndef MONITOR_VMM_VDSO_H
#define MONITOR_VMM_VDSO_H

#include "monitor/vmm/vm.h"

/* A page of the kernel's image is mapped executable for user code: patch it if it is the one. */
void vdso_patch(struct vm *vm, struct gpa page);

/* The guest left through GATE_SYSCALL. */
void vdso_call(struct vm *vm);

#endif
