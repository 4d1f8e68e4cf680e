// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Code that no compiler makes, in ring 0 and in ring 3: it runs off the end of what is mapped, goes into the middle of an
 * instruction, overlaps itself, is as long as an instruction may be and longer (SDM 2A 2.3.11: over 15 bytes is #GP).
 */
#include "tests/guest/lib/code.h"

static void map_next(struct frame *f)
{
	(void)f;
	if (last_cr2 - (CODE_BASE + 0x2000) >= 4096 || code_table[2])
		guest_exit(1);
	code_map(2, P | W | U);
}

/* The last page is 0x60007000; 0x60001000 is one that is followed by another kind. */
static void off_the_end(void)
{
	CODE("nops up to the end", 0x60007ff0, ".fill 16, 1, 0x90");
	CODE("one byte of a jump", 0x60007ffd, "nop; nop; .byte 0xe9");
	CODE("an immediate beyond", 0x60007ffd, "inc %eax; .byte 0xb8, 1");
	CODE("a ModRM beyond", 0x60007ffe, "inc %eax; .byte 0x8b");
	CODE("prefixes up to the end", 0x60007ffa, "inc %eax; .byte 0x66, 0x66, 0x2e, 0xf3, 0x66");
	CODE("a branch at the end, taken", 0x60007ff8,
	     "1: inc %ecx; cmp $5, %ecx; jb 1b; inc %eax; inc %eax");
	CODE("a loop at the end", 0x60007ff6,
	     "mov $3, %cl; 1: inc %eax; nop; loop 1b; inc %ebx; inc %ebx; inc %ebx");
	CODE("a call at the end", 0x60007ff0, "jmp 2f; 1: inc %eax; ret; .org 661b + 11; 2: call 1b");
	CODE("a jump over the end", 0x60007000, "inc %eax; jmp 661b + 0x1000");
	CODE("a jump before the beginning", 0x60000000, "inc %eax; jmp 661b - 1");
	CODE("a return to nothing", 0x60000000, "push $0x60008123; ret");
	code_map(2, P | W);
	CODE("into a page of the kernel's", 0x60001ffd, "inc %eax; .byte 0xb9, 0x78, 0x56, 0x34, 0x12");
	code_map(2, 0);
	CODE("into a page that is not there", 0x60001ffd, "inc %eax; .byte 0xb9, 0x78, 0x56, 0x34, 0x12");
	trap_hook[14] = map_next;
	CODE("into a page that comes", 0x60001ffd, "inc %eax; mov $0x12345678, %ecx");
	code_map(2, 0);
	invlpg(0x60002000);
	CODE("a page that comes", 0x60001ffe, "inc %eax; inc %ebx; inc %eax");
	trap_hook[14] = NULL;
	code_map(2, P | W | U);
}

static void overlaps(void)
{
	/* jmp into its own second byte: ff c0, inc %eax */
	CODE("a jump into itself", 0x60000000, ".byte 0xeb, 0xff, 0xc0");
	/* mov $0x05eb, %ax; xor %eax, %eax; je into the immediate: jmp over the byte e8 */
	CODE("into an immediate", 0x60000000,
	     "inc %ebx; .byte 0x66, 0xb8, 0xeb, 0x05, 0x31, 0xc0, 0x74, 0xfa, 0xe8; inc %ecx");
	/* b8 40 40 40 40: all at once, then its bytes as inc %eax four, three, two times */
	CODE("every byte of an immediate", 0x60000000,
	     "mov $0, %ecx; mov $" AT(1f) ", %edx; 1: mov $0x40404040, %eax; inc %ecx; inc %edx; add %eax, "
					  "%ebx; cmp $5, %ecx; jb 2f; int "
					  "$0x80; 2: jmp *%edx");
	/* the loop's second round starts a byte later: lock, then not */
	CODE("behind a prefix", 0x60000000,
	     "1: lock; incl 2f - 661b + 0x60000000; inc %eax; cmp $1, %eax; je 1b + 1; jmp 3f; 2: .long 7; "
	     "3: mov 2b - 661b + "
	     "0x60000000, %ebx");
	CODE("operand-size prefix jumped over", 0x60000000,
	     "1: .byte 0x66; 2: mov $0x40414243, %eax; .org 661b + 6; inc %ecx; cmp $2, %ecx; je 3f; xor "
	     "%eax, %eax; jmp 2b; 3: nop");
	/* two streams over the same bytes that meet: 05 05 05 05 90 / 05 05 05 90 ... */
	CODE("streams that meet", 0x60000000,
	     "mov $" AT(1f) ", %edx; 1: .byte 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 0x90, 0x90, 0x90, 0x90; inc "
			    "%ecx; inc %edx; cmp $7, %ecx; jb 2f; int $0x80; "
			    "2: jmp *%edx");
	CODE("over a page's end both ways", 0x60000ff8,
	     "mov $0x60000ffd, %edx; .byte 0x05, 0x40, 0x41, 0x42, 0x43; inc %ecx; inc %edx; cmp $4, %ecx; "
	     "jb 2f; int $0x80; 2: jmp *%edx");
}

#define PREFIXES_13 "0x66, 0x66, 0x2e, 0x3e, 0x26, 0x36, 0x66, 0x2e, 0x66, 0x66, 0x3e, 0x66, 0x66"

static void prefixes(void)
{
	CODE("14 prefixes", 0x60000000, ".byte " PREFIXES_13 ", 0x66, 0x40; inc %ebx");
	CODE("13 prefixes and two bytes", 0x60000000,
	     ".byte " PREFIXES_13 ", 0x89, 0xe0; xor %eax, %eax; inc %ebx");
	CODE("14 prefixes and two bytes", 0x60000000, ".byte " PREFIXES_13 ", 0x66, 0x89, 0xe0; inc %ebx");
	CODE("15 prefixes", 0x60000000, "inc %ecx; .byte " PREFIXES_13 ", 0x66, 0x66, 0x90; inc %ebx");
	CODE("an immediate of the 15th byte", 0x60000000, ".byte " PREFIXES_13 ", 0xb0, 0x11; inc %ebx");
	CODE("an immediate of the 16th byte", 0x60000000,
	     ".byte " PREFIXES_13 ", 0x66, 0xb0, 0x11; inc %ebx");
	CODE("nothing but prefixes", 0x60000000, "inc %ecx; .fill 64, 1, 0x66");
	CODE("~15 prefixes up to the end", 0x60007ff1, ".byte " PREFIXES_13 ", 0x66, 0x66");
	CODE("14 prefixes up to the end", 0x60007ff2, ".byte " PREFIXES_13 ", 0x66");
	CODE("14 prefixes over a page's end", 0x60000ff9, ".byte " PREFIXES_13 ", 0x66, 0x40; inc %ebx");
	CODE("15 prefixes over a page's end", 0x60000ff9,
	     ".byte " PREFIXES_13 ", 0x66, 0x66, 0x40; inc %ebx");
	CODE("a prefixed jump, 15 bytes", 0x60000000,
	     "inc %ecx; .byte 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0xe9; .long 1f - . "
	     "- 4; 1: inc %eax");
	CODE("a prefixed jump, 16 bytes", 0x60000000,
	     "inc %ecx; .byte 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0xe9; .long "
	     "1f - . - 4; 1: inc %eax");
	CODE("the last segment counts", 0x60000000,
	     "mov $0x60000100, %edx; movl $0x11, (%edx); .byte 0x64, 0x65, 0x2e, 0x3e, 0x8b, 0x02; inc %ebx");
	CODE("~the last segment, a null one", 0x60000000,
	     "mov $0x60000100, %edx; .byte 0x3e, 0x64, 0x8b, 0x02; inc %ebx");
	CODE("lock without memory", 0x60000000, "inc %eax; lock; .byte 0x40; inc %ebx");
	CODE("~lock on a load", 0x60000000, "inc %eax; .byte 0xf0, 0x8b, 0x05; .long 0x60000100; inc %ebx");
}

void guest_main(void)
{
	code_init();
	off_the_end();
	overlaps();
	prefixes();
}
