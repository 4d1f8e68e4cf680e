// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 6.7: System calls through the vDSO
 *
 * The guest's vDSO. __kernel_vsyscall is `push %ecx; push %edx; push %ebp; NOPs; int $0x80; pop ...` in user code, where
 * INT 0x80 would cost a trip through the host's signals (11 us). The first seven bytes become a far call to
 * GATE_SYSCALL: what it pushes says where it was called, the monitor makes the three pushes good and enters the guest's
 * gate 0x80. INT 0x80 itself stays, so the return address, restarts at it (EIP - 2) and unwinding are untouched.
 *
 * __kernel_sigreturn (`pop %eax; mov $119, %eax; int $0x80`) and __kernel_rt_sigreturn (`mov $173, %eax; int $0x80`) have no
 * room but MOV and INT together: seven bytes again. Their addresses are what the vDSO's CFI and the kernel go by; the
 * address behind INT is the one behind the call. What the call pushes lies under ESP, where the frame that goes away was.
 *
 * Whoever comes to stand inside a window (a debugger sets EIP there) has the original bytes executed one instruction at a
 * time; so has a sigreturn whose stack takes no push.
 *
 * Linux keeps the vDSO's pages in its image and maps them into every process: one page to patch. A debugger's breakpoint gives
 * its process a copy, far calls and all, so that they are known by their bytes. Those differ for a program that reads its own
 * vDSO (docs/limits.md).
 */
#ifndef MONITOR_VMM_VDSO_H
#define MONITOR_VMM_VDSO_H

#include "monitor/vmm/vm.h"

/* A page of the kernel's image is mapped executable for user code: patch it if it is the one. */
void vdso_patch(struct vm *vm, struct gpa page);

/* Is a far call of vdso_patch()'s on this page, or copied there? */
bool vdso_on_page(struct vm *vm, struct gpa page);

/* Does user code stand behind the first byte of a far call? */
bool vdso_inside(struct vm *vm);

/* Does it stand at one where the original instructions push nothing? */
bool vdso_pushes_nothing(struct vm *vm);

/* User code was read at linear address `at`: put the original bytes in the place of a far call's. */
void vdso_original(struct vm *vm, uint32_t at, uint8_t *bytes, unsigned n);

/* The guest left through GATE_SYSCALL. */
void vdso_call(struct vm *vm);

#endif
