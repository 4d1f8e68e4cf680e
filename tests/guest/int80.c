// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Ring 3 code that makes system calls by `int $0x80` all the time, as programs without a vDSO do: in direct execution each
 * costs a host signal, until the code moves to translated blocks (run --stats counts it). What it computes must not
 * depend on that: calls and returns, flags, code that rewrites itself, segments, x87, faults; the timer
 * interrupts it anywhere.
 */
#include "tests/guest/lib/code.h"

enum { CALLS = 400, DATA = 0x60004000, SEL_DATA = GDT_FREE * 8 + 3 };
static volatile uint32_t ticks, calls, faults;

static void tick(struct frame *f)
{
	(void)f;
	ticks++;
	outb(0x20, 0x20);
}

static void serve(struct frame *f)
{
	calls++;
	f->eax += f->ebx;
}

/* The page at DATA comes, and goes again with each 100th call. */
static void page_in(struct frame *f)
{
	(void)f;
	faults++;
	code_map(4, P | W | U);
}

static void serve_and_page_out(struct frame *f)
{
	serve(f);
	if (calls % 100 == 0)
		code_map(4, 0);
}

static void run(const char *name, void (*service)(struct frame *))
{
	uint32_t frame[5] = {CODE_BASE, SEL_UCODE, 0x202, USER_STACK, SEL_UDATA};

	code_lay(CODE_BASE);
	calls = faults = 0;
	trap_hook[0x80] = service;
	if (!catch ())
		enter(frame);
	trap_hook[0x80] = NULL;
	print("%s: %u calls, #%u eip +%x eax %x ebx %x edx %x\n", name, calls, last.vector, last.eip - CODE_BASE, last.eax,
	      last.ebx, last.edx);
}

/* EAX, EBX and EDX are for the code, ECX counts; it ends by INT3 if not before. */
#define LOOP(name, service, code)                                                                            \
	do {                                                                                                 \
		CODE_BYTES(0x60000000, "xor %eax, %eax; mov $1, %ebx; xor %edx, %edx; mov $400, %ecx; 1: " code \
				       "; dec %ecx; jnz 1b; int3; 8: .org 661b + 0x200, 0xcc");                 \
		run(name, service);                                                                          \
	} while (0)

_Static_assert(CALLS == 400 && SEL_DATA == 0xa3 && DATA == 0x60004000, "LOOP");

void guest_main(void)
{
	code_init();
	gdt[GDT_FREE] = descriptor(DATA, 0xfff, A_DATA | A_DPL3, G_32);
	write_cr0((read_cr0() | 0x22) & ~0xcu); /* NE, MP; not EM, TS */
	trap_hook[0x20] = tick;
	pic_init(1);
	pit_start(1000);
	LOOP("calls alone", serve, "int $0x80");
	LOOP("near calls", serve,
	     "call 2f; push $" AT(3f) "; mov (%esp), %esi; call *%esi; call *(%esp); pop %esi; jmp 4f; "
				      "2: int $0x80; inc %edx; ret; 3: add $2, %edx; ret; 4:");
	LOOP("returns with a count", serve, "push %ecx; call 2f; jmp 4f; 2: int $0x80; ret $4; 4:");
	LOOP("jumps by a table", serve,
	     "mov %ecx, %esi; and $1, %esi; jmp *" AT(5f) "(,%esi,4); 2: int $0x80; jmp 4f; 3: inc %edx; jmp 4f; "
							  "5: .long " AT(2b) ", " AT(3b) "; 4:");
	LOOP("flags", serve, "stc; int $0x80; adc $0, %edx; pushf; pop %esi; and $0x200, %esi; add %esi, %edx");
	LOOP("it rewrites itself", serve, "incl 3f - 661b + 0x60000000; 2: .byte 0x81, 0xc2; 3: .long 0; int $0x80");
	LOOP("it rewrites a page of its own", serve,
	     "incb 0x60001001; call 2f; int $0x80; jmp 3f; 2: mov $0x60001000, %esi; movb $0xb0, (%esi); movb $0xc3, 2(%esi); "
	     "push %eax; call *%esi; movzbl %al, %esi; pop %eax; add %esi, %edx; ret; 3:");
	LOOP("FS", serve, "push %ecx; mov $0xa3, %ecx; mov %ecx, %fs; pop %ecx; mov %ecx, %fs:4; int $0x80; add %fs:4, %edx");
	LOOP("GS", serve, "push %ecx; mov $0xa3, %ecx; mov %ecx, %gs; pop %ecx; mov %ecx, %gs:8; int $0x80; add %gs:8, %edx");
	LOOP("x87", serve, "fninit; fld1; fld1; faddp; int $0x80; push %ecx; fistpl (%esp); pop %esi; add %esi, %edx");
	LOOP("strings", serve, "mov $0x60000000, %esi; mov $0x60004000, %edi; push %ecx; mov $32, %ecx; rep movsb; pop %ecx; int $0x80; add -4(%edi), %edx");
	trap_hook[14] = page_in;
	LOOP("page faults", serve_and_page_out, "int $0x80; incl 0x60004010; inc %edx");
	print("  %u of them\n", faults);
	trap_hook[14] = NULL;
	code_map(4, P | W | U);
	LOOP("a division by zero", serve, "int $0x80; cmp $7, %ecx; jne 2f; xor %esi, %esi; div %esi; 2:");
	LOOP("a jump to nowhere", serve, "int $0x80; cmp $7, %ecx; jne 2f; jmp *%ecx; 2:");
	LOOP("an instruction that is not there", serve, "int $0x80; cmp $7, %ecx; jne 2f; inc %edx; ud2; 2:");
	LOOP("one of the kernel's", serve, "int $0x80; cmp $7, %ecx; jne 2f; inc %edx; cli; 2:");
	LOOP("a single step", serve, "int $0x80; cmp $7, %ecx; jne 2f; pushf; orl $0x100, (%esp); popf; inc %edx; 2:");
	outb(0x21, 0xff);
	print("%s\n", ticks ? "interrupted" : "never interrupted");
}
