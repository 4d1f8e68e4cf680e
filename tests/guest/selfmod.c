// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Code that rewrites itself while it runs, in ring 0 and in ring 3. Processors look whether a store hits code that they
 * have fetched (SDM 3A 11.6): the next instruction is the new one, whatever address it was written by.
 */
#include "tests/guest/lib/code.h"

/* The alias of a label. */
#define ALIAS(label) "(code_at + 0x100000 + " #label " - 661b)"

/* The store is followed by what it changes: mov $1, %al becomes mov $2, %al. */
static void the_next(void)
{
	CODE("mov", 0x60000000, "movb $2, " AT(1f) "; .byte 0xb0; 1: .byte 1");
	CODE("mov, the opcode", 0x60000000, "movb $0xb3, " AT(1f) "; 1: .byte 0xb0, 1"); /* mov $1, %bl */
	CODE("mov, four bytes of two", 0x60000000,
	     "movl $0x03b303b0, " AT(1f) "; 1: mov $1, %al; mov $1, %bl");
	CODE("mov, its own bytes", 0x60000000,
	     "1: movl $0x43434343, " AT(1b) "; inc %eax; mov " AT(1b) ", %ebx; inc %ecx");
	CODE("after a few others", 0x60000000,
	     "movb $2, " AT(1f) "; inc %ecx; inc %ecx; jmp 2f; 2: inc %ecx; .byte 0xb0; 1: .byte 1");
	CODE("read-modify-write", 0x60000000, "incb " AT(1f) "; .byte 0xb0; 1: .byte 1");
	CODE("locked", 0x60000000,
	     "mov $2, %cl; mov $1, %al; lock; cmpxchg %cl, " AT(1f) "; .byte 0xb0; 1: .byte 1");
	CODE("exchange", 0x60000000, "mov $2, %cl; xchg %cl, " AT(1f) "; .byte 0xb0; 1: .byte 1");
	CODE("shift", 0x60000000, "shlb " AT(1f) "; .byte 0xb0; 1: .byte 1");
	CODE("setcc", 0x60000000, "mov $5, %al; cmp %al, %al; sete " AT(1f) "; .byte 0xb0; 1: .byte 9");
	CODE("stos", 0x60000000, "mov $" AT(1f) ", %edi; mov $2, %al; stosb; .byte 0xb0; 1: .byte 1");
	CODE("rep stos", 0x60000000,
	     "mov $" AT(
		 1f) ", %edi; mov $8, %ecx; mov $0x43, %al; rep stosb; 1: .fill 8, 1, 0x90"); /* inc %ebx */
	CODE("rep movs", 0x60000000,
	     "mov $" AT(2f) ", %esi; mov $" AT(
		 1f) ", %edi; mov $2, %ecx; rep movsl; 1: .fill 8, 1, 0x90; int $0x80; 2: .fill 8, 1, 0x43");
	CODE("movs backwards", 0x60000000,
	     "std; mov $" AT(2f) "+4, %esi; mov $" AT(1f) "+4, %edi; mov $2, %ecx; rep movsl; cld; 1: .fill "
							  "8, 1, 0x90; int $0x80; 2: .fill 8, 1, 0x43");
	CODE("push", 0x60000000,
	     "mov %esp, %ebp; mov $" AT(
		 1f) "+4, %esp; push $0x43434343; 1: nop; nop; nop; nop; mov %ebp, %esp");
	CODE("pusha", 0x60000000,
	     "mov %esp, %ebp; mov $0x1ceb4343, %edi; mov $" AT(
		 1f) "+32, %esp; pusha; 1: .fill 32, 1, 0x90; mov %ebp, %esp");
	CODE("pushf", 0x60000000,
	     "mov %esp, %ebp; mov $" AT(1f) "+4, %esp; cmp %eax, %eax; pushf; mov %ebp, %esp; mov " AT(
		 1f) ", %bl; and $0x40, %bl; int $0x80; 1: .long 0");
	/* 40 43 00 60: inc %eax; inc %ebx; add %ah, 0x10(%eax) */
	CODE("a call's return address", 0x6000432f,
	     "mov %esp, %ebp; mov $" AT(1f) "+4, %esp; mov $0x60007000, %eax; call 1f; 1: .fill 4, 1, 0x90; "
					    ".byte 0x10; mov %ebp, %esp");
	CODE("pop", 0x60000000, "push $0x43434343; popl " AT(1f) "; 1: nop; nop; nop; nop");
	CODE("x87", 0x60000000,
	     "push $0x43434343; fildl (%esp); pop %ecx; fistpl " AT(1f) "; 1: nop; nop; nop; nop");
	CODE("bits", 0x60000000,
	     "mov $1, %ecx; bts %ecx, " AT(1f) "; .byte 0xb0; 1: .byte 1, 0x90, 0x90, 0x90");
}

/* Blocks that have run before: chained, looked up, returned to. */
static void in_loops(void)
{
	CODE("an earlier one", 0x60000000,
	     "mov $10, %ecx; 2: .byte 0x05; 1: .long 1; incl " AT(1b) "; loop 2b");
	CODE("a later one", 0x60000000, "mov $10, %ecx; 2: incl " AT(1f) "; .byte 0x05; 1: .long 1; loop 2b");
	CODE("an earlier one, far away", 0x60000f00,
	     "mov $10, %ecx; jmp 3f; 2: .byte 0x05; 1: .long 1; jmp 4f; 3: jmp 2b; .org 661b + 0x300; 4: "
	     "incl " AT(1b) "; dec %ecx; jnz 3b");
	CODE("now and then", 0x60000000,
	     "mov $200, %ecx; 2: .byte 0x05; 1: .long 1; test $31, %cl; jnz 3f; incl " AT(1b) "; 3: loop 2b");
	CODE("a branch's target", 0x60000000,
	     "mov $6, %ecx; 2: jmp 4f; 3: inc %ebx; 4: inc %eax; xorb $(3b - 4b) & 3, " AT(2b) "+1; loop 2b");
	CODE(
	    "a condition", 0x60000000,
	    "mov $6, %ecx; 2: cmp %eax, %eax; 1: je 3f; inc %ebx; 3: inc %eax; xorb $1, " AT(1b) "; loop 2b");
	CODE("a call's target", 0x60000000,
	     "mov $6, %ecx; jmp 2f; 4: inc %eax; 5: inc %ebx; ret; 2: call 4b; xorl $(4b - 2b - 5) ^ (5b - "
	     "2b - 5), " AT(2b) "+1; loop 2b");
	CODE("what is called", 0x60000000,
	     "mov $6, %ecx; mov $" AT(4f) ", %edx; 2: call *%edx; xorb $0x40 ^ 0x43, " AT(
		 4f) "; loop 2b; int $0x80; 4: inc %eax; ret");
	CODE("the caller", 0x60000000,
	     "mov $6, %ecx; 2: call 3f; 1: inc %eax; loop 2b; int $0x80; 3: xorb $0x40 ^ 0x43, " AT(
		 1b) "; ret");
	CODE("its length", 0x60000000,
	     "mov $4, %ecx; 2: xorb $0xb8 ^ 0xb0, " AT(
		 1f) "; 1: mov $0x90434011, %eax; add %eax, %ebx; loop 2b");
	CODE("a prefix", 0x60000000,
	     "mov $4, %ecx; 2: xorb $0x66 ^ 0x90, " AT(
		 1f) "; 1: nop; mov $0x43434343, %eax; add %eax, %ebx; loop 2b");
	CODE("behind the middle of an instruction", 0x60000000,
	     "mov $4, %ecx; 2: jmp 1f + 1; 1: .byte 0xb8, 0x40, 0x43, 0x90, 0x90; xorb $0x43 ^ 0x40, " AT(
		 1b) "+1; loop 2b");
	CODE("a pattern over and over", 0x60000000,
	     "mov $3000, %ecx; 2: movb %cl, " AT(1f) "; .byte 0x05; 1: .long 0; add %eax, %ebx; loop 2b");
	CODE(
	    "indirect, by a table", 0x60000000,
	    "mov $6, %ecx; 2: mov %ecx, %edx; and $1, %edx; jmp *0x60000000 + 5f - 661b(, %edx, 4); 3: inc "
	    "%eax; jmp 6f; 4: inc %ebx; 6: xorb $0x40 ^ 0x43, " AT(3b) "; loop 2b; int "
								       "$0x80; 5: .long " AT(3b) ", " AT(4b));
}

/* The same frame under another linear address. */
static void by_alias(void)
{
	CODE("alias, the next", 0x60000000, "movb $2, " ALIAS(1f) "; .byte 0xb0; 1: .byte 1");
	CODE("alias, an earlier one", 0x60000000,
	     "mov $10, %ecx; 2: .byte 0x05; 1: .long 1; incl " ALIAS(1b) "; loop 2b");
	CODE("alias, code at both", 0x60000000,
	     "mov $10, %ecx; 2: incl " AT(1f) "; incl " ALIAS(1f) "; .byte 0x05; 1: .long 1; mov $" AT(
		 3f) ", %edx; test $1, %cl; jz 4f; add $0x100000, %edx; 4: jmp *%edx; 3: loop 2b");
	CODE("alias, rep stos", 0x60000000,
	     "mov $" ALIAS(1f) ", %edi; mov $8, %ecx; mov $0x43, %al; rep stosb; 1: .fill 8, 1, 0x90");
	CODE("alias, push", 0x60000000,
	     "mov %esp, %ebp; mov $" ALIAS(
		 1f) "+4, %esp; push $0x43434343; 1: nop; nop; nop; nop; mov %ebp, %esp");
	code_map(0, P | U);
	CODE("alias, read-only to itself", 0x60000000, "nop; movb $2, " ALIAS(1f) "; .byte 0xb0; 1: .byte 1");
	code_map(0, P | W | U);
}

/* An instruction on two pages, or a store to two of them. */
static void over_pages(void)
{
	CODE("second half", 0x60000ff4,
	     "mov $10, %ecx; 2: jmp 3f; .org 661b + 10; 3: .byte 0x81, 0xc0; 1: .long 1; incl " AT(
		 1b) "; loop 2b");
	CODE("second half, from the first page", 0x60000fe0,
	     "mov $10, %ecx; 2: incl " AT(
		 1f) "; jmp 3f; .org 661b + 30; 3: .byte 0x81, 0xc0; 1: .long 1; loop 2b");
	CODE("first half, from the second page", 0x60000ff4,
	     "mov $10, %ecx; 2: jmp 3f; .org 661b + 8; 3: .byte 0x81, 0xc0; 1: .long 1; incb " AT(
		 1b) "; loop 2b");
	CODE("second half, by its alias", 0x60000ff4,
	     "mov $10, %ecx; 2: jmp 3f; .org 661b + 10; 3: .byte 0x81, 0xc0; 1: .long 1; incl " ALIAS(
		 1b) "; loop 2b");
	CODE(
	    "one store to both halves", 0x60000ff4,
	    "mov $10, %ecx; 2: jmp 3f; .org 661b + 8; 3: .byte 0x81, 0xc0; 1: .long 1; addl $0x01010101, " AT(
		1b) "; loop 2b");
	CODE("the last byte of a page", 0x60000fed,
	     "mov $10, %ecx; 2: jmp 3f; 4: incb " AT(
		 1f) "; jmp 5f; .org 661b + 18; 3: .byte 0x04; 1: .byte 1; 5: loop 4b");
	CODE("a store over the end", 0x60000ffa,
	     "jmp 3f; 1: nop; nop; nop; nop; nop; nop; nop; nop; int $0x80; 3: movl $0x43434343, " AT(
		 1b) "+2; jmp 1b");
	CODE("push over the end", 0x60000ffa,
	     "jmp 3f; 1: nop; nop; nop; nop; nop; nop; nop; nop; int $0x80; 3: mov %esp, %ebp; mov $" AT(
		 1b) "+6, %esp; push $0x43434343; mov %ebp, %esp; jmp 1b");
	CODE("rep movs over the end", 0x60000ffa,
	     "jmp 3f; 1: .fill 8, 1, 0x90; int $0x80; 2: .fill 8, 1, 0x43; 3: mov $" AT(
		 2b) ", %esi; mov $" AT(1b) ", %edi; mov $8, %ecx; rep movsb; jmp 1b");
}

/* What only ring 0 has: sensitive instructions; its own page's mapping, which INVLPG and CR3 change under its feet. */
#define KERNEL(name, code)                                                                                   \
	do {                                                                                                 \
		CODE_BYTES(0x60000000, code);                                                                \
		code_run_in(name, 0x60000000, 0);                                                            \
	} while (0)

static void in_the_kernel(void)
{
	uint32_t other = page_alloc(), root = page_alloc(), t = page_alloc(), *table = at_phys(t),
		 *directory = at_phys(root);
	uint8_t *bytes = at_phys(other);

	KERNEL("cli to inc", "movb $0x43, " AT(1f) "; 1: cli; inc %eax");
	KERNEL("pushf to push", "movb $0x51, " AT(1f) "; 1: pushf; pop %eax");
	KERNEL("nop to pushf", "mov $4, %ecx; 2: movb $0x9c, " AT(
				   1f) "; 1: nop; nop; pop %eax; and $2, %eax; add %eax, %ebx; push %eax; "
				       "movb $0x58, " AT(1b) "; loop 2b; pop %edx");
	KERNEL("between sti and its shadow", "sti; movb $0x43, " AT(1f) "; 1: nop; cli");
	KERNEL("between cr0 and the next",
	       "mov %cr0, %eax; movb $0x43, " AT(1f) "; mov %eax, %cr0; 1: nop; xor %eax, %eax");
	for (unsigned i = 0; i < 4096; i++)
		bytes[i] = 0x43; /* inc %ebx */
	bytes[64] = 0xcd;
	bytes[65] = 0x80;
	for (unsigned i = 0; i < 1024; i++)
		directory[i] = kernel_directory[i];
	for (unsigned i = 0; i < 256; i++)
		table[i] = i ? code_table[i] : other | P | W | U;
	directory[CODE_BASE >> 22] = t | P | W | U;
	enter_gpr[6] = (uint32_t)code_table;
	enter_gpr[7] = other | P | W | U;
	/* Both frames hold the same up to INVLPG: the TLB may forget before. */
	CODE_BYTES(0x60000000, "mov enter_gpr + 24, %edx; mov enter_gpr + 28, %ecx; mov %ecx, (%edx); xor "
			       "%ecx, %ecx; invlpg 0x60000000; .org "
			       "661b + 64; inc %eax; inc %eax");
	for (unsigned i = 0; i < 23; i++)
		bytes[i] = (uint8_t)user_from[i];
	code_run_in("the own page elsewhere", 0x60000000, 0);
	code_map(0, P | W | U);
	for (unsigned i = 0; i < 23; i++)
		bytes[i] = 0x43;
	enter_gpr[6] = root;
	KERNEL("the own page in another space",
	       "mov enter_gpr + 24, %edx; mov %edx, %cr3; .org 661b + 64; inc %eax; inc %eax");
	write_cr3((uint32_t)kernel_directory - GUEST_OFFSET);
	enter_gpr[6] = enter_gpr[7] = 0;
}

void guest_main(void)
{
	code_init();
	the_next();
	in_loops();
	by_alias();
	over_pages();
	in_the_kernel();
}
