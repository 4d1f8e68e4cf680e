// SPDX-License-Identifier: GPL-3.0-or-later
/* Ring 3 and back: privileges, gates, conforming code, far returns, what iret checks. SDM 3A chapter 5, 2A IRET. */
#include "tests/guest/lib/guest.h"

enum { SEL_GATE = GDT_FREE * 8, SEL_CONFORMING = SEL_GATE + 8, SEL_GATE_ARGS = SEL_GATE + 16, SEL_GATE_KERNEL = SEL_GATE + 24,
       SEL_CONFORMING_GATE = SEL_GATE + 32 };

/* Where a call gate leads: report in registers what it found, return the way it came. */
__asm__(".text\n"
	"gate_entry: mov %cs, %eax; mov %ss, %edx; mov 12(%esp), %ecx; lret\n"
	"gate_args_entry: mov %cs, %eax; mov 8(%esp), %edx; mov 12(%esp), %ecx; lret $8\n"
	"conforming_entry: mov %cs, %eax; mov %ss, %edx; lret\n");
extern const char gate_entry[], gate_args_entry[], conforming_entry[];

static void registers(void)
{
	print("  cs %x ss %x eax %x ecx %x edx %x esp %x if %u\n", last.cs, last.cs & 3 ? last.ss : SEL_KDATA, last.eax,
	      last.ecx, last.edx, last.cs & 3 ? last.esp : 0, last.eflags >> 9 & 1);
}

static void privileged(void)
{
	USER("int 0x80", "int $0x80");
	registers();
	USER("cli", "cli");
	USER("sti", "sti");
	USER("hlt", "hlt");
	USER("in", "inb $0x40, %al");
	USER("out dx", "mov $0x3f8, %edx; outb %al, (%dx)");
	USER("insb", "mov $0x40000800, %edi; mov $0x60, %edx; insb");
	USER("mov cr0", "mov %cr0, %eax");
	USER("mov to cr3", "mov %eax, %cr3");
	USER("mov dr7", "mov %dr7, %eax");
	USER("invlpg", "invlpg (%esp)");
	USER("wbinvd", "wbinvd");
	USER("rdmsr", "rdmsr");
	USER("wrmsr", "wrmsr");
	USER("lgdt", "lgdt 0x40000000");
	USER("lidt", "lidt 0x40000000");
	USER("ltr", "mov $0x80, %eax; ltr %ax");
	USER("lldt", "lldt %ax");
	USER("lmsw", "lmsw %ax");
	USER("clts", "clts");
	USER("ud2", "ud2");
	USER("int 0x20", "int $0x20");
	USER("int 0x0e", "int $0x0e");
	USER("int3", "int3");
	USER("into", "mov $0x7fffffff, %eax; inc %eax; into");
	USER("int 4", "int $4");
	USER("rdtsc", "rdtsc; xor %eax, %eax");
	USER("vmcall", "vmcall");
}

static void gates(void)
{
	gdt[SEL_GATE / 8] = gate((uint32_t)gate_entry, SEL_KCODE, 0xec);
	gdt[SEL_CONFORMING / 8] = descriptor(0, 0xfffff, 0x9e, G_4K | G_32);
	gdt[SEL_GATE_ARGS / 8] = gate((uint32_t)gate_args_entry, SEL_KCODE, 0xec) | 2ull << 32;
	gdt[SEL_GATE_KERNEL / 8] = gate((uint32_t)gate_entry, SEL_KCODE, 0x8c);
	gdt[SEL_CONFORMING_GATE / 8] = gate(0xc0100020, SEL_CONFORMING, 0xec);
	USER("call gate", "lcall $0xa3, $0; int $0x80");
	registers();
	USER("call gate with parameters", "push $0x1111; push $0x2222; lcall $0xb3, $0; int $0x80");
	registers();
	USER("call gate of dpl 0", "lcall $0xbb, $0");
	USER("jmp through gate inward", "ljmp $0xa3, $0");
	USER("call kernel code", "lcall $0x60, $0");
	USER("far jmp own code", "ljmp $0x73, $0x40000007; int $0x80");
	USER("far call own code", "lcall $0x73, $0x40000009; int $0x80; xor %eax, %eax; pop %ecx; pop %edx; int $0x80");
	registers();
	USER("lret inward", "push $0x60; push $0; lret");
	PROBE("gate from ring 0", "lcall $0xb8, $0", "i"(0));
	PROBE("lret same ring", "push $0x60; push $1f; lret; 1:", "i"(0));
	PROBE("lret null", "push $0; push $0; lret", "i"(0));
	PROBE("far call same ring", "lcall $0x60, $1f; jmp 2f; 1: lret; 2:", "i"(0));
}

/* Conforming code runs at the caller's privilege; under GUEST_HIGH user mode cannot fetch it. */
static void conforming(void)
{
	PROBE("conforming from ring 0", "lcall $0xa8, $conforming_entry", "i"(0));
	gdt[SEL_CONFORMING / 8] = descriptor(0, 0xfffff, 0xfe, G_4K | G_32);
	USER("conforming dpl 3", "lcall $0xab, $0x40000009; int $0x80; xor %eax, %eax; int $0x80");
	registers();
	gdt[SEL_CONFORMING / 8] = descriptor(0, 0xfffff, 0x9e, G_4K | G_32);
	USER("conforming dpl 0", "ljmp $0xab, $0x40000007; xor %eax, %eax; int $0x80");
	registers();
	USER("conforming gate", "lcall $0xc3, $0");
}

static void try_iret(const char *name, uint32_t eip, uint32_t cs, uint32_t flags, uint32_t esp, uint32_t ss)
{
	uint32_t frame[5] = {eip, cs, flags, esp, ss};
	extern const char enter_iret[];

	if (name[0] == '~' && on_tcg)
		return;
	probe_at = (uint32_t)enter_iret;
	if (!catch())
		enter(frame);
	if (last.cs & 3)
		probe_at = USER_BASE;
	show(name, true);
}

static void irets(void)
{
	*(volatile uint16_t *)user_memory(USER_BASE) = 0x80cd; /* int $0x80 */
	try_iret("iret", USER_BASE, SEL_UCODE, 2, USER_STACK, SEL_UDATA);
	try_iret("iret null cs", USER_BASE, 0, 2, USER_STACK, SEL_UDATA);
	try_iret("iret data cs", USER_BASE, SEL_UDATA, 2, USER_STACK, SEL_UDATA);
	try_iret("iret cs rpl", USER_BASE, SEL_UCODE & ~3, 2, USER_STACK, SEL_UDATA);
	try_iret("iret kernel cs rpl 3", USER_BASE, SEL_KCODE | 3, 2, USER_STACK, SEL_UDATA);
	try_iret("iret null ss", USER_BASE, SEL_UCODE, 2, USER_STACK, 0);
	try_iret("iret null ss rpl 3", USER_BASE, SEL_UCODE, 2, USER_STACK, 3);
	try_iret("iret kernel ss", USER_BASE, SEL_UCODE, 2, USER_STACK, SEL_KDATA);
	try_iret("iret code ss", USER_BASE, SEL_UCODE, 2, USER_STACK, SEL_UCODE);
	try_iret("iret ss beyond", USER_BASE, SEL_UCODE, 2, USER_STACK, 0x7fb);
	gdt[GDT_FREE + 6] = descriptor(0, 0xfffff, 0x73, G_4K | G_32);
	try_iret("~iret ss not present", USER_BASE, SEL_UCODE, 2, USER_STACK, (GDT_FREE + 6) * 8 | 3);
	gdt[GDT_FREE + 6] = descriptor(0, 0xfffff, 0x7b, G_4K | G_32);
	try_iret("iret cs not present", USER_BASE, (GDT_FREE + 6) * 8 | 3, 2, USER_STACK, SEL_UDATA);
	gdt[GDT_FREE + 6] = descriptor(0, 0xffff, 0xfb, G_32);
	try_iret("~iret eip beyond limit", 0x10000, (GDT_FREE + 6) * 8 | 3, 2, USER_STACK, SEL_UDATA);
	try_iret("iret to unmapped", 0x50000000, SEL_UCODE, 2, USER_STACK, SEL_UDATA);
	try_iret("iret to kernel page", 0xc0100020, SEL_UCODE, 2, USER_STACK, SEL_UDATA);
	enter_ds = SEL_KDATA;
	*(volatile uint32_t *)user_memory(USER_BASE) = 0x80cdd88c; /* mov %ds, %eax; int $0x80 */
	try_iret("iret nulls kernel ds", USER_BASE, SEL_UCODE, 2, USER_STACK, SEL_UDATA);
	print("  ds %x\n", last.eax);
	enter_ds = SEL_UDATA;
}

static void memory(void)
{
	USER("read kernel", "mov 0xc0100000, %eax");
	USER("write kernel", "mov %eax, 0xc0100010");
	USER("~rmw kernel", "lock orl $0, 0xc0100010");
	USER("jump to kernel", "mov $0xc0100020, %eax; jmp *%eax");
	USER("read unmapped", "mov 0x50000000, %eax");
	USER("write unmapped", "movb $1, 0x50000fff");
	USER("read page 0", "mov 0, %eax");
	USER("read top", "mov 0xfffffffc, %eax");
	USER("call null", "xor %eax, %eax; call *%eax");
	USER("push at kernel stack", "mov $0xc0102000, %esp; push %eax");
	USER("string from kernel", "mov $0xc0100000, %esi; mov $0x40000800, %edi; mov $4, %ecx; rep movsb");
}

/* Interrupt gate clears IF, trap gate keeps it; iret restores it. */
static void gate_kinds(void)
{
	uint64_t keep = idt[0x80];

	user_flags = 0x202;
	USER("interrupt gate", "int $0x80");
	print("  if in frame %u\n", last.eflags >> 9 & 1);
	idt[0x80] = gate((uint32_t)trap_entries[0x80], SEL_KCODE, 0xef);
	user_flags = 0x3202;
	USER("iopl 3", "cli; pushf; pop %eax; sti; pushf; pop %ecx; inb $0x80, %al; int $0x80");
	print("  if %u %u iopl %u\n", last.eax >> 9 & 1, last.ecx >> 9 & 1, last.ecx >> 12 & 3);
	idt[0x80] = keep;
	tss.bits[0x80 / 8] &= ~1u;
	USER("io bitmap open", "inb $0x80, %al");
	USER("io bitmap closed", "inb $0x81, %al");
	USER("io bitmap half open", "inw $0x80, %ax");
}

void guest_main(void)
{
	privileged();
	gates();
	conforming();
	irets();
	memory();
	gate_kinds();
}
