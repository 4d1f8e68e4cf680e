// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Start of every flat guest: Multiboot 1 header, entry, and the exception entry points. With GUEST_HIGH the kernel
 * is linked at 0xC0100000 and loaded at 0x100000, as Linux is, and turns paging on here, by 4 MiB pages; without,
 * it is linked where it is loaded and starts with paging off.
 */
#include "tests/guest/lib/layout.h"

	.section .multiboot, "a"
	.balign 4
	.long 0x1badb002, 0, -0x1badb002

	.section .text.boot, "ax"
	.globl _start
_start:
	cli
	cld
	mov $(boot_stack_end - GUEST_OFFSET), %esp
	mov %ebx, boot_info - GUEST_OFFSET
#ifdef GUEST_HIGH
	mov %cr4, %eax
	or $0x10, %eax /* PSE */
	mov %eax, %cr4
	mov $(kernel_directory - GUEST_OFFSET), %eax
	mov %eax, %cr3
	mov %cr0, %eax
	or $0x80010000, %eax /* PG, WP */
	mov %eax, %cr0
	mov $1f, %eax
	jmp *%eax
1:
	mov $boot_stack_end, %esp
#endif
	lgdt gdt_register
	ljmp $SEL_KCODE, $1f
1:
	mov $SEL_UDATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov $SEL_KDATA, %eax
	mov %eax, %ss
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	push $0
	popf
	call guest_start
1:
	hlt
	jmp 1b
	.balign 16

/* One entry a vector, 16 bytes each: trap_entries + 16 * vector. */
	.text
	.balign 16
	.globl trap_entries
trap_entries:
	.set vector, 0
	.rept 256
	.balign 16
	.if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17)
	push $0
	.endif
	push $vector
	jmp trap_common
	.set vector, vector + 1
	.endr

	.balign 16
trap_common:
	pusha
	push %ds
	push %es
	push %fs
	push %gs
	mov $SEL_UDATA, %eax
	mov %eax, %ds
	mov %eax, %es
	cld
	push %esp
	call trap_handler
	add $4, %esp
	pop %gs
	pop %fs
	pop %es
	pop %ds
	popa
	add $8, %esp
	.globl trap_iret
trap_iret:
	iret

/* int catch(void): 0 at first; 1 again when an exception comes while armed. */
	.globl catch
catch:
	mov (%esp), %eax
	mov %eax, catch_context
	lea 4(%esp), %eax
	mov %eax, catch_context + 4
	mov %ebx, catch_context + 8
	mov %ebp, catch_context + 12
	mov %esi, catch_context + 16
	mov %edi, catch_context + 20
	movl $1, catch_armed
	xor %eax, %eax
	ret

	.globl catch_return
catch_return:
	push $2
	popf
	cld
	mov $SEL_KDATA, %eax
	mov %eax, %ss
	mov catch_context + 4, %esp
	mov $SEL_UDATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov catch_context + 8, %ebx
	mov catch_context + 12, %ebp
	mov catch_context + 16, %esi
	mov catch_context + 20, %edi
	movl $0, catch_armed
	mov $1, %eax
	jmp *catch_context

/* void enter(const uint32_t frame[5]): iret to eip, cs, eflags, esp, ss, general registers from enter_gpr. */
	.globl enter
enter:
	mov 4(%esp), %esi
	push 16(%esi)
	push 12(%esi)
	push 8(%esi)
	push 4(%esi)
	push 0(%esi)
	mov enter_gpr + 4, %ecx
	mov enter_gpr + 8, %edx
	mov enter_gpr + 12, %ebx
	mov enter_gpr + 20, %ebp
	mov enter_gpr + 28, %edi
	mov enter_ds, %eax
	push enter_gpr + 24
	push enter_gpr
	mov %eax, %es
	mov %eax, %ds
	pop %eax
	pop %esi
	.globl enter_iret
enter_iret:
	iret

	.section .bss
	.balign 4096
	.globl boot_stack, boot_stack_end
boot_stack:
	.skip 16384
boot_stack_end:

	.data
#ifdef GUEST_HIGH
	.balign 4096
	.globl kernel_directory
kernel_directory: /* 64 MiB at 0 and at 0xC0000000 */
	.set i, 0
	.rept 1024
	.if i < 16
	.long (i << 22) | 0x83
	.elseif i >= 768 && i < 784
	.long ((i - 768) << 22) | 0x83
	.else
	.long 0
	.endif
	.set i, i + 1
	.endr
#endif
	.balign 4
	.globl catch_context, catch_armed, enter_gpr, enter_ds, boot_info
boot_info: /* physical address of the Multiboot information */
	.long 0
catch_context:
	.skip 24
catch_armed:
	.long 0
enter_gpr:
	.skip 32
enter_ds:
	.long SEL_UDATA | 0
gdt_register:
	.word GDT_ENTRIES * 8 - 1
	.long gdt
