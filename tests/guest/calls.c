// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A program that makes system calls by INT n in a loop, while its kernel changes what such a call goes by: the gate, the
 * TSS, the tables, descriptors, and the frame that IRET returns by. A monitor that has learned how a call goes must notice
 * each of them at the very next call. SDM 2A INT n, IRET; SDM 3A 6.12.
 */
#include "tests/guest/lib/guest.h"

enum { CALLS = 60, CHANGE_AT = 40, OFFSET_EIP = 0x20 };
enum { SEL_CODE0 = GDT_FREE * 8, SEL_STACK0 = SEL_CODE0 + 8, SEL_CODE3 = SEL_CODE0 + 16 + 3, SEL_STACK3 = SEL_CODE0 + 24 + 3 };
enum { TF = 0x100, IF = 0x200, IOPL = 0x3000, NT = 0x4000, AC = 0x40000, ID = 0x200000 };

static void (*change)(struct frame *f);
static struct { /* what the calls from the change on found */
	uint32_t calls, other, flags, flags_in, cs, ss, sel, stack;
} seen;
static volatile uint32_t ticks;
static struct tss tss_two;
static uint64_t idt_two[256];
static uint32_t fresh_stack;
extern const char trap_iret[];

static void serve(struct frame *f)
{
	seen.calls++;
	if (seen.calls == CHANGE_AT) {
		seen.flags = seen.flags_in = 0;
		if (change)
			change(f);
	} else if (seen.calls > CHANGE_AT) {
		seen.flags |= f->eflags;
		seen.flags_in |= read_flags();
		seen.cs = f->cs;
		seen.ss = f->ss;
		seen.sel = f->edx << 16 | (f->esi & 0xffff);
		seen.stack = (uint32_t)&f->ss + 4;
	}
}

static void serve_other(struct frame *f)
{
	seen.other++;
	serve(f);
}

static void tick(struct frame *f)
{
	(void)f;
	ticks++;
	outb(0x20, 0x20);
}

static void plain_tables(void)
{
	gdt[SEL_CODE0 / 8] = gdt[SEL_KCODE / 8];
	gdt[SEL_STACK0 / 8] = gdt[SEL_KDATA / 8];
	gdt[SEL_CODE3 / 8] = gdt[SEL_UCODE / 8];
	gdt[SEL_STACK3 / 8] = gdt[SEL_UDATA / 8];
	idt[0x80] = gate((uint32_t)trap_entries[0x80], SEL_CODE0, 0xee);
	idt[0x81] = gate((uint32_t)trap_entries[0x81], SEL_KCODE, 0xef);
	trap_hook[0x80] = serve;
	trap_hook[0x81] = serve_other;
}

static const char *stack_name(uint32_t end)
{
	return end == tss.esp0 ? "its own" : end == fresh_stack + 4096 ? "the fresh one" : end == tss_two.esp0 ? "the second TSS's" : "?";
}

/* EBX counts the calls; the code loads EDX and ESI with DS and FS before each. */
static void program(void (*at_call)(struct frame *f), uint32_t flags)
{
	uint32_t frame[5] = {USER_BASE, SEL_CODE3, flags, USER_STACK, SEL_STACK3};
	uint8_t *to = user_memory(USER_BASE);

	plain_tables();
	for (const char *from = user_from; from < user_to; from++)
		*to++ = (uint8_t)*from;
	probe_at = USER_BASE;
	seen.calls = seen.other = seen.cs = seen.ss = seen.sel = seen.stack = 0;
	change = at_call;
	if (!catch ())
		enter(frame);
}

static void run(const char *name, void (*at_call)(struct frame *f), uint32_t flags)
{
	const uint32_t old_esp0 = tss.esp0;

	if (name[0] == '~' && on_tcg)
		return;
	program(at_call, flags);
	print("%s: %u calls, %u others; #%u(%x) cs %x eip %s%x ebx %u ecx %u\n", name, seen.calls, seen.other, last.vector, last.error,
	      last.cs, last.cs & 3 ? "+" : last.eip == (uint32_t)trap_iret ? "iret " : "? ",
	      last.cs & 3 ? last.eip - USER_BASE : last.eip - (uint32_t)trap_iret, last.ebx, last.ecx);
	print("%s cs %x ss %x ds %x fs %x flags %x in the kernel %x, stack %s\n", name[0] == '~' ? "~" : " ", seen.cs, seen.ss, seen.sel >> 16 & ~4u, seen.sel & 0xfffb, /* the direct engine shows its LDT */
	      seen.flags & ~0x8d5u, seen.flags_in & ~0x8d5u, stack_name(seen.stack));
	tss.esp0 = old_esp0;
	tss.ss0 = SEL_KDATA;
	gdt[SEL_TSS / 8] &= ~(2ull << 40); /* not busy */
	__asm__ volatile("ltr %w0" ::"r"(SEL_TSS));
	idt_load(idt, sizeof(idt) - 1);
	write_cr0(read_cr0());
}

/* --- the changes ------------------------------------------------------------------------------------------- */

#define CHANGE(name, statement)                                                                              \
	static void name(struct frame *f)                                                                    \
	{                                                                                                    \
		(void)f;                                                                                     \
		statement;                                                                                   \
	}

CHANGE(gate_elsewhere, idt[0x80] = gate((uint32_t)trap_entries[0x81], SEL_CODE0, 0xee))
CHANGE(gate_absent, idt[0x80] &= ~(1ull << 47))
CHANGE(gate_privileged, idt[0x80] &= ~(3ull << 45))
CHANGE(gate_trap, idt[0x80] |= 1ull << 40)
CHANGE(gate_code, idt[0x80] = gate((uint32_t)trap_entries[0x80], SEL_KCODE, 0xee))
CHANGE(code_absent, gdt[SEL_CODE0 / 8] &= ~(1ull << 47))
CHANGE(code_is_data, gdt[SEL_CODE0 / 8] = gdt[SEL_KDATA / 8])
CHANGE(stack_elsewhere, tss.esp0 = fresh_stack + 4096)
CHANGE(stack_selector, tss.ss0 = SEL_STACK0)

static void second_tss(struct frame *f)
{
	(void)f;
	gdt[GDT_FREE + 4] = descriptor((uint32_t)&tss_two, sizeof(tss_two) - 1, A_TSS, 0);
	__asm__ volatile("ltr %w0" ::"r"((GDT_FREE + 4) * 8));
}

static void second_idt(struct frame *f)
{
	(void)f;
	for (unsigned v = 0; v < 256; v++)
		idt_two[v] = idt[v];
	idt_two[0x80] = gate((uint32_t)trap_entries[0x81], SEL_KCODE, 0xee);
	idt_load(idt_two, sizeof(idt_two) - 1);
}

static void short_idt(struct frame *f)
{
	(void)f;
	idt_load(idt, 0x80 * 8 + 6);
}

CHANGE(other_code, f->cs = SEL_UCODE)
CHANGE(other_stack, f->ss = SEL_UDATA)
CHANGE(user_code_absent, gdt[SEL_CODE3 / 8] &= ~(1ull << 47))
CHANGE(user_stack_absent, gdt[SEL_STACK3 / 8] &= ~(1ull << 47))
CHANGE(user_stack_read_only, gdt[SEL_STACK3 / 8] &= ~(1ull << 41))
CHANGE(user_code_short, gdt[SEL_CODE3 / 8] = descriptor(0, USER_BASE + OFFSET_EIP, 0xfb, G_32))
CHANGE(stack_of_ring_1, f->ss = SEL_STACK3 & ~2u)
CHANGE(code_of_no_selector, f->cs = 3)
CHANGE(elsewhere, f->eip = USER_BASE + 0x40)
CHANGE(other_esp, f->esp = USER_STACK - 0x1000)
CHANGE(inner_ds, f->ds = SEL_KDATA)
CHANGE(inner_fs, f->fs = SEL_KDATA)
CHANGE(outer_fs, f->fs = SEL_UDATA)
CHANGE(flag_tf, f->eflags |= TF)
CHANGE(flag_if, f->eflags ^= IF)
CHANGE(flag_iopl, f->eflags |= IOPL)
CHANGE(flag_nt, f->eflags |= NT)
CHANGE(flag_ac, f->eflags |= AC)
CHANGE(flag_id, f->eflags |= ID)
CHANGE(flag_carry, f->eflags |= 1)

/* --- */

#define PROGRAM(code)                                                                                        \
	__asm__(".pushsection .rodata\n661: " code "\n662: .popsection\n"                                   \
		"movl $661b, user_from\n movl $662b, user_to")
#define LOOP_OF(calls, call)                                                                                 \
	"mov $" #calls ", %ecx; xor %ebx, %ebx; 1: mov %ds, %edx; mov %fs, %esi; " call "; inc %ebx; dec %ecx; jnz 1b; int3; "  \
	".org 661b + 0x40; add $1000, %ebx; int3"

static void all(uint32_t flags)
{
	run("nothing", NULL, flags);
	run("gate to another handler", gate_elsewhere, flags);
	run("gate not present", gate_absent, flags);
	run("gate for the kernel alone", gate_privileged, flags);
	run("trap gate", gate_trap, flags);
	run("gate to another segment", gate_code, flags);
	run("segment of the gate not present", code_absent, flags);
	run("segment of the gate is data", code_is_data, flags);
	run("another stack", stack_elsewhere, flags);
	run("another stack segment", stack_selector, flags);
	run("another TSS", second_tss, flags);
	run("another IDT", second_idt, flags);
	run("IDT too short", short_idt, flags);
	run("back to another code segment", other_code, flags);
	run("back to another stack segment", other_stack, flags);
	run("back to a code segment not present", user_code_absent, flags);
	run("~back to a stack segment not present", user_stack_absent, flags);
	run("back to a stack that is read-only", user_stack_read_only, flags);
	run("~back to a code segment that ends before", user_code_short, flags);
	run("back to a stack of ring 1", stack_of_ring_1, flags);
	run("back to no code segment", code_of_no_selector, flags);
	run("back to elsewhere", elsewhere, flags);
	run("back with another ESP", other_esp, flags);
	run("back with DS of the kernel", inner_ds, flags);
	run("back with FS of the kernel", inner_fs, flags);
	run("back with FS of the user", outer_fs, flags);
	run("back with TF", flag_tf, flags);
	run("back with the other IF", flag_if, flags);
	run("back with IOPL 3", flag_iopl, flags);
	run("back with NT", flag_nt, flags);
	run("back with AC", flag_ac, flags);
	run("back with ID", flag_id, flags);
	run("back with CF", flag_carry, flags);
}

void guest_main(void)
{
	fresh_stack = (uint32_t)at_phys(page_alloc());
	tss_two = tss;
	tss_two.esp0 = (uint32_t)at_phys(page_alloc()) + 4096;
	write_cr0((read_cr0() | 0x22) & ~0xcu); /* NE, MP; not EM, TS */

	PROGRAM(LOOP_OF(60, "int $0x80"));
	all(IF | 2);
	print("without interrupts\n");
	run("nothing", NULL, 2);
	run("back with the other IF", flag_if, 2);
	PROGRAM(LOOP_OF(60, "int $0x80; int $0x81"));
	print("two vectors\n");
	run("nothing", NULL, IF | 2);
	run("gate not present", gate_absent, IF | 2);
	PROGRAM(LOOP_OF(30000, "int $0x80"));
	print("interrupted\n");
	trap_hook[0x20] = tick;
	pic_init(1);
	pit_start(1000);
	for (unsigned n = 0; n < 1000 && ticks < 20; n++) /* the calls are the faster ones */
		program(NULL, IF | 2);
	print("ticks: %s\n", ticks >= 20 ? "yes" : "too few");
	run("nothing", NULL, IF | 2);
	run("trap gate", gate_trap, IF | 2);
	outb(0x21, 0xff);
}
