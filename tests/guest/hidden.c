// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Code that nothing in the image leads to: only a run finds it (tests/audit/test_loop.sh closes the loop). Behind it are bytes
 * that start no instruction, so that the linear sweep believes nothing of it either.
 */
#include "tests/guest/lib/guest.h"

uint32_t reach(void);
__asm__(".text\n .balign 64, 0xcc\n reach: mov $(0x40 ^ 0x5a5a5a5a), %eax; xor $0x5a5a5a5a, %eax; add $reach, %eax; jmp *%eax\n"
	".balign 64, 0xcc\n cli; mov $0x2000, %ecx; 1: push $0x246; popf; mov %esp, %edx; pushf; pop %eax; in $0x21, %al; loop 1b; "
	"and $0x202, %eax; cli; ret\n"
	".balign 4096, 0xcc\n .fill 64, 1, 0xff\n");

void guest_main(void)
{
	outb(0x21, 0xff);
	print("hidden: %x\n", reach() & 0x200);
}
