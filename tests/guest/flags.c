// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * EFLAGS: what PUSHF POPF IRET CLI STI do to IF IOPL NT AC TF ID and DF in ring 0 and 3, the shadows behind STI and
 * MOV SS, interrupts that wait for IF. SDM 1 3.4.3, 3A 6.8.1 and 6.8.3, 2B POPF. The 8259 gives the interrupts: a
 * PIT interrupt left pending with IF clear is there at once when IF is set.
 */
#include "tests/guest/lib/guest.h"

static volatile uint32_t hits, hit_eip, hit_flags;

static void timer(struct frame *f)
{
	hits++;
	hit_eip = f->eip;
	hit_flags = f->eflags;
	outb(0x20, 0x20);
}

static uint32_t popf(uint32_t flags)
{
	uint32_t now;

	__asm__ volatile("push %1; popf; pushf; pop %0; push $2; popf" : "=r"(now) : "r"(flags) : "cc", "memory");
	return now;
}

static uint32_t popf16(uint32_t flags)
{
	uint32_t now;

	__asm__ volatile("pushw %w1; popfw; pushf; pop %0; push $2; popf" : "=r"(now) : "r"(flags) : "cc", "memory");
	return now;
}

static uint32_t iret(uint32_t flags)
{
	uint32_t now;

	__asm__ volatile("push %1; push %%cs; push $1f; iret; 1: pushf; pop %0; push $2; popf"
			 : "=r"(now)
			 : "r"(flags)
			 : "cc", "memory");
	return now;
}

static void ring0(void)
{
	/* TF (0x100) is in exceptions.c; IF stays 0 here where nothing is pending */
	static const uint32_t values[] = {0, 2, 0x8d5, 0x400, 0x200, 0x1000, 0x3000, 0x4000, 0x40000, 0x200000, 0x180000,
					  0x10000, 0x8028, 0xffc00000, 0x247ed5 & ~0x100};

	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		print("popf %x: %x popfw %x\n", values[i], popf(values[i]), popf16(values[i]));
	print("iret %x\n", iret(0x247ad5 & ~0x4100));
	print("arithmetic %x\n", popf(0xad5) & 0xad5);
	__asm__ volatile("std; cld");
	print("cli sti");
	__asm__ volatile("sti");
	print(" %x", read_flags() & 0x200);
	__asm__ volatile("cli");
	print(" %x\n", read_flags() & 0x200);
	/* every arithmetic flag survives cli, sti, pushf and hlt-free stubs */
	for (unsigned f = 0; f < 0x100; f += 0x11) {
		uint32_t out;
		uint8_t ah = (uint8_t)((f & 0xd5) | 2);

		__asm__ volatile("mov %1, %%ah; sahf; sti; cli; pushf; pop %%ecx; lahf; movzbl %%ah, %0"
				 : "=r"(out)
				 : "q"(ah)
				 : "eax", "ecx", "cc");
		if ((out & 0xd5) != (ah & 0xd5))
			print("lost flags: %x became %x\n", ah, out);
	}
}

/* A timer interrupt is pending in the 8259 and IF is clear. */
static void make_pending(void)
{
	pic_init(1);
	outb(0x43, 0x30); /* mode 0: one shot */
	outb(0x40, 100);
	outb(0x40, 0);
	for (;;) {
		outb(0x20, 0x0a); /* read IRR */
		if (inb(0x20) & 1)
			break;
	}
	hits = 0;
}

#define AFTER(name, code)                                                                                            \
	do {                                                                                                         \
		make_pending();                                                                                      \
		__asm__ volatile("movl $661f, probe_at\n661: " code "\n cli" ::"i"(SEL_UDATA), "i"(SEL_KDATA)          \
				 : "memory", "cc", "eax", "ecx", "edx");                                            \
		print("%s: %u at +%x, frame flags %x\n", name, hits, hits ? hit_eip - probe_at : 0,                  \
		      hits ? hit_flags & 0x7300 : 0);                                                               \
	} while (0)

static void shadows(void)
{
	trap_hook[0x20] = timer;
	AFTER("sti nop nop", "sti; nop; nop");
	AFTER("sti cli", "sti; cli; nop");
	AFTER("sti sti", "sti; sti; nop; nop");
	AFTER("sti hlt", "sti; hlt; nop");
	AFTER("popf", "pushf; orl $0x200, (%%esp); popf; nop; nop");
	AFTER("iret", "pushf; orl $0x200, (%%esp); push %%cs; push $1f; iret; 1: nop");
	AFTER("sti mov ss", "sti; mov %%ss, %%eax; mov %%eax, %%ss; nop; nop");
	AFTER("mov ss", "mov %%ss, %%eax; sti; nop; cli; mov %%eax, %%ss; nop");
	AFTER("sti pushf", "sti; pushf; pop %%eax; nop");
	AFTER("sti ret", "push $1f; sti; ret; 1: nop");
	AFTER("sti jmp", "sti; jmp 1f; 1: nop");
	AFTER("sti call", "sti; call 1f; 1: pop %%eax; nop");
	AFTER("sti in", "sti; inb $0x61, %%al; nop");
	AFTER("sti mov", "sti; movl $5, hits; nop");
	AFTER("pushf cli popf", "sti; cli; pushf; cli; popf; nop");
	outb(0x21, 0xff);
	trap_hook[0x20] = NULL;
}

/* Keep the frame of an interrupt taken in ring 3. */
static void ring3(void)
{
	USER("popf all", "push $0x247ed5; popf; pushf; pop %eax; push $0x202; popf; and $0x240cd5, %eax; xor %ecx, %ecx; int $0x80");
	print("  %x\n", last.eax);
	USER("popf nt", "push $0x4002; popf; pushf; pop %eax; push $2; popf; and $0x7000, %eax; int $0x80");
	print("  %x\n", last.eax);
	USER("df kept", "std; int $0x80");
	print("  %x\n", last.eflags & 0x400);
	user_flags = 0x40ad7;
	USER("entered with", "nop; int $0x80");
	print("  %x\n", last.eflags & 0x47fd7);
	user_flags = 0x4202;
	USER("entered with nt", "nop; int $0x80");
	print("  %x\n", last.eflags & 0x4000);
	user_flags = 0x302;
	USER("entered with tf", "nop; nop");
	user_flags = 0x102;
	USER("entered with tf at int", "int $0x80");
	USER("sets tf", "pushf; orl $0x100, (%esp); popf; nop; nop");
	USER("sets tf before int", "pushf; orl $0x100, (%esp); popf; int $0x80");
	USER("sets tf before ud2", "pushf; orl $0x100, (%esp); popf; ud2");
	print("  tf %x\n", last.eflags & 0x100);
	USER("sti", "sti");
	/* alignment checks: AC in EFLAGS and AM in CR0, ring 3 only */
	write_cr0(read_cr0() | 0x40000);
	user_flags = 0x40202;
	USER("~ac", "mov 0x40001001, %eax");
	user_flags = 0x40202;
	USER("ac aligned", "mov 0x40001004, %eax");
	USER("ac off", "mov 0x40001001, %eax");
	PROBE("ac ring 0", "pushf; orl $0x40000, (%%esp); popf; mov gdt + 1, %%eax; push $2; popf", "i"(0));
	write_cr0(read_cr0() & ~0x40000u);
	user_flags = 0x40202;
	USER("~ac without am", "mov 0x40001001, %eax");
}

static void user_timer(struct frame *f)
{
	timer(f);
	if (f->cs & 3)
		f->eip += 2; /* out of the loop */
}

/* A hardware interrupt in ring 3, and IF in the frame. */
static void interrupted(void)
{
	trap_hook[0x20] = user_timer;
	pic_init(1);
	hits = 0;
	outb(0x43, 0x30);
	outb(0x40, 0xff);
	outb(0x40, 0x7f);
	user_flags = 0x602;
	USER("interrupted loop", "1: jmp 1b; int $0x80");
	print("  hits %u frame %x now %x\n", hits, hit_flags & 0x600, last.eflags & 0x600);
	trap_hook[0x20] = NULL;
	outb(0x21, 0xff);
}

void guest_main(void)
{
	ring0();
	shadows();
	ring3();
	interrupted();
}
