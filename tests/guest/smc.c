// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Code that changes: written before its first run, between runs, from inside its own page, through another mapping,
 * by a breakpoint byte, under paging tricks; in ring 0 and ring 3. SDM 3A 8.1.3: a store and then a jump suffices
 * where both use the same linear address; elsewhere IRET serialises here.
 */
#include "tests/guest/lib/guest.h"

static uint8_t page[8192] __attribute__((aligned(4096)));

static void serialize(void)
{
	__asm__ volatile("pushf; push %%cs; push $1f; iret; 1:" ::: "memory");
}

static uint32_t call(const void *at)
{
	uint32_t value;

	__asm__ volatile("call *%1" : "=a"(value) : "r"(at) : "ecx", "edx", "memory", "cc");
	return value;
}

static void put_return(uint8_t *at, uint32_t value) /* mov $value, %eax; ret */
{
	at[0] = 0xb8;
	for (unsigned i = 0; i < 4; i++)
		at[1 + i] = (uint8_t)(value >> 8 * i);
	at[5] = 0xc3;
}

/* A function of the kernel's text, so of a verified page once patched. */
extern uint8_t victim[], victim_end[], victim_self[], victim_next[], neighbour[];
__asm__(".text\n .balign 16\n victim: mov $0x1111, %eax; cli; nop; ret; victim_end:\n"
	".balign 16\n neighbour: mov $0x3333, %eax; pushf; pop %ecx; ret\n"
	".balign 16\n victim_self: movb $0x42, 1f + 1; jmp 1f; 1: mov $0x41, %eax; ret\n"
	".balign 16\n victim_next: movb $0x52, 1f + 1; 1: mov $0x51, %eax; cli; movb $0x40, 2f; 2: nop; pushf; pop %ecx; ret\n");

static void data_code(void)
{
	put_return(page, 1);
	print("written: %x\n", call(page));
	put_return(page, 2);
	print("rewritten: %x\n", call(page));
	for (unsigned i = 0; i < 100; i++) {
		put_return(page, i);
		if (call(page) != i)
			print("round %u: %x\n", i, call(page));
	}
	put_return(page + 4093, 0xabcdef); /* across the page boundary */
	print("straddling: %x\n", call(page + 4093));
	page[4096 + 1] = 0x12;
	print("its second half: %x\n", call(page + 4093));
}

static void text(void)
{
	uint8_t *alias = (uint8_t *)((uint32_t)victim - GUEST_OFFSET); /* the boot's identity mapping */

	print("text: %x %x\n", call(victim), call(neighbour));
	victim[1] = 0x22;
	serialize();
	print("changed: %x\n", call(victim));
	alias[2] = 0x55;
	serialize();
	print("through an alias: %x %x\n", call(victim), call(neighbour));
	victim[5] = 0x90; /* over a sensitive instruction */
	serialize();
	print("cli is nop: %x\n", call(victim));
	print("itself: %x\n", call(victim_self));
	print("itself again: %x\n", call(victim_self));
	print("the next: %x\n", call(victim_next));
	print("the next again: %x\n", call(victim_next));
	print("neighbour: %x\n", call(neighbour));
}

static void breakpoint_hook(struct frame *f)
{
	print("int3 at +%x\n", f->eip - 1 - (uint32_t)victim);
	victim[0] = 0xb8;
	f->eip--;
}

static void breakpoints(void)
{
	trap_hook[3] = breakpoint_hook;
	victim[0] = 0xcc;
	serialize();
	print("first: %x\n", call(victim));
	print("gone: %x\n", call(victim));
	trap_hook[3] = NULL;
}

/* An instruction that writes the page it stands on, repeatedly. */
static void own_page(void)
{
	static const uint8_t loop[] = {
	    0x31, 0xc0,			    /* xor %eax, %eax */
	    0xb9, 100, 0, 0, 0,		    /* mov $100, %ecx */
	    0xe8, 0, 0, 0, 0,		    /* call 1f */
	    0x5a,			    /* 1: pop %edx */
	    0xff, 0x42, 32,		    /* 2: incl 32(%edx) */
	    0x03, 0x42, 32,		    /* add 32(%edx), %eax */
	    0xe2, 0xf8,			    /* loop 2b */
	    0xc3,
	};

	for (unsigned i = 0; i < sizeof(loop); i++)
		page[i] = loop[i];
	for (unsigned i = sizeof(loop); i < 64; i++)
		page[i] = 0;
	print("own page: %u\n", call(page));
}

/* Another frame under the same address. */
static void remapped(void)
{
	uint32_t t = page_alloc(), a = page_alloc(), b = page_alloc(), *table = at_phys(t);

	put_return(at_phys(a), 0xa);
	put_return(at_phys(b), 0xb);
	kernel_directory[0x60000000 >> 22] = t | P | W;
	table[0] = a | P;
	print("frame: %x", call((void *)0x60000000));
	table[0] = b | P;
	invlpg(0x60000000);
	print(" %x", call((void *)0x60000000));
	put_return(at_phys(b), 0xc);
	print(" %x\n", call((void *)0x60000000));
	/* read-only to itself, written through the other */
	table[1] = b | P | W;
	put_return((uint8_t *)0x60001000, 0xd);
	print("alias: %x\n", call((void *)0x60000000));
}

static void user(void)
{
	uint8_t *code = user_memory(USER_BASE + 0x1000);

	USER("user writes code", "mov $0x40001000, %edi; movl $0x000055b8, (%edi); movl $0x80cd00, 4(%edi); movb $0xcd, 5(%edi); "
				 "movb $0x80, 6(%edi); jmp *%edi");
	print("  eax %x\n", last.eax);
	USER("user rewrites it", "mov $0x40001000, %edi; movb $0x66, 1(%edi); jmp *%edi");
	print("  eax %x\n", last.eax);
	code[1] = 0x77; /* the kernel, through its own mapping */
	USER("kernel rewrote it", "mov $0x40001000, %edi; jmp *%edi");
	print("  eax %x\n", last.eax);
	USER("user loop on its own page", "mov $50, %ecx; xor %eax, %eax; 1: incl 0x40000100; addl 0x40000100, %eax; loop 1b; int $0x80");
}

void guest_main(void)
{
	data_code();
	text();
	breakpoints();
	own_page();
	remapped();
	user();
}
