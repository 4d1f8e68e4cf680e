// SPDX-License-Identifier: GPL-3.0-or-later
/* Every exception vector in ring 0, with its error code, EIP and CR2. SDM 3A chapter 6. */
#include "tests/guest/lib/guest.h"

static void db_hook(struct frame *f)
{
	static unsigned steps;

	if (++steps == 3)
		f->eflags &= ~0x100u;
	if (steps <= 3)
		print("step %u: eip +%u tf %u\n", steps, f->eip - probe_at, f->eflags >> 8 & 1);
}

static void single_step(void)
{
	uint32_t dr6;

	trap_hook[1] = db_hook;
	__asm__ volatile("mov %0, %%dr6" ::"r"(0));
	/* the popf that sets TF does not itself trap; the instruction behind it does */
	__asm__ volatile("movl $1f, probe_at; pushf; orl $0x100, (%%esp); popf\n1: nop\n inc %%ecx\n nop\n nop" ::: "ecx", "memory");
	__asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
	print("dr6 %x\n", dr6);
	trap_hook[1] = NULL;
}

static void faults(void)
{
	static const int32_t bounds[2] = {1, 5};

	PROBE("de", "xor %%edx, %%edx; mov $1, %%eax; xor %%ecx, %%ecx; div %%ecx", "i"(0));
	PROBE("de overflow", "mov $0x80000000, %%eax; cltd; mov $-1, %%ecx; idiv %%ecx", "i"(0));
	PROBE("bp", "int3", "i"(0));
	PROBE("int 3", "int $3", "i"(0));
	PROBE("of", "mov $0x7fffffff, %%eax; inc %%eax; into", "i"(0));
	PROBE("of not", "xor %%eax, %%eax; into", "i"(0));
	PROBE("br", "mov $6, %%eax; bound %%eax, %0", "m"(bounds));
	PROBE("br not", "mov $5, %%eax; bound %%eax, %0", "m"(bounds));
	PROBE_DATA("ud2", "ud2");
	PROBE_DATA("ud lock", ".byte 0xf0, 0x90");
	PROBE_DATA("ud mov cs", ".byte 0x8e, 0xc8");
	PROBE_DATA("ud cr1", ".byte 0x0f, 0x20, 0xc8");
	PROBE_DATA("ud mov sreg 6", ".byte 0x8c, 0xf0");
	PROBE("int 0x80", "int $0x80", "i"(0));
	PROBE("gp mov ds", "mov $0x1f8, %%eax; mov %%eax, %%ds", "i"(0));
	PROBE("gp mov ds beyond", "mov $0x200, %%eax; mov %%eax, %%ds", "i"(0));
	__asm__ volatile("lldt %w0" ::"r"(0));
	PROBE("gp ldt without", "mov $0x0c, %%eax; mov %%eax, %%es", "i"(0));
	PROBE("~gp wrmsr", "mov $0x12345678, %%ecx; xor %%eax, %%eax; xor %%edx, %%edx; wrmsr", "i"(0));
	PROBE("~gp rdmsr", "mov $0x12345678, %%ecx; rdmsr", "i"(0));
	PROBE("~gp cr0", "mov %%cr0, %%eax; and $~1, %%eax; mov %%eax, %%cr0", "i"(0));
	PROBE("~gp cr4", "mov %%cr4, %%eax; or $0x80000000, %%eax; mov %%eax, %%cr4", "i"(0));
	PROBE("pf read", "mov 0x50000004, %%eax", "i"(0));
	PROBE("pf write", "mov %%eax, 0x50000008", "i"(0));
	PROBE("~pf rmw", "addl $1, 0x5000000c", "i"(0));
	PROBE("pf across", "mov 0x50000ffe, %%eax", "i"(0));
	PROBE("pf high", "mov 0xf7fffffc, %%eax", "i"(0));
	PROBE("~pf cmpxchg8b", "mov $0x50000010, %%ecx; cmpxchg8b (%%ecx)", "i"(0));
	PROBE("pf string", "push %%edi; push %%esi; mov $gdt, %%esi; mov $0x50000020, %%edi; movsl; pop %%esi; pop %%edi", "i"(0));
}

static void descriptor_faults(void)
{
	gdt[GDT_FREE] = descriptor(0, 0xfffff, A_DATA & ~0x80, G_4K | G_32);	/* not present */
	gdt[GDT_FREE + 1] = descriptor(0, 0xfffff, A_DATA & ~2, G_4K | G_32);	/* read-only */
	gdt[GDT_FREE + 2] = descriptor(0, 0xfffff, 0x99, G_4K | G_32);		/* execute-only code */
	gdt[GDT_FREE + 3] = descriptor(0, 0xfffff, A_CODE & ~0x80, G_4K | G_32); /* code, not present */
	gdt[GDT_FREE + 4] = 0x00008c0000000000 | SEL_KCODE << 16;		/* call gate, fine */
	gdt[GDT_FREE + 5] = 0x00000c0000000000 | SEL_KCODE << 16;		/* call gate, not present */
	PROBE("np ds", "mov %0, %%eax; mov %%eax, %%ds", "i"(GDT_FREE * 8));
	PROBE("np ss", "mov %0, %%eax; mov %%eax, %%ss", "i"(GDT_FREE * 8));
	PROBE("gp ss read-only", "mov %0, %%eax; mov %%eax, %%ss", "i"(GDT_FREE * 8 + 8));
	PROBE("gp ss null", "xor %%eax, %%eax; mov %%eax, %%ss", "i"(0));
	PROBE("gp ss rpl", "mov %0, %%eax; mov %%eax, %%ss", "i"(SEL_KDATA | 1));
	PROBE("gp ss dpl", "mov %0, %%eax; mov %%eax, %%ss", "i"(SEL_UDATA));
	PROBE("gp ds execute-only", "mov %0, %%eax; mov %%eax, %%ds", "i"(GDT_FREE * 8 + 16));
	PROBE("gp ds system", "mov %0, %%eax; mov %%eax, %%ds", "i"(SEL_TSS));
	PROBE("gp far jmp null", "ljmp $0, $0", "i"(0));
	PROBE("gp far jmp data", "ljmp %0, $0", "i"(SEL_KDATA));
	PROBE("gp far jmp user", "ljmp %0, $0", "i"(SEL_UCODE));
	PROBE("np far jmp", "ljmp %0, $0", "i"(GDT_FREE * 8 + 24));
	PROBE("np call gate", "lcall %0, $0", "i"(GDT_FREE * 8 + 40));
	PROBE("gp far jmp beyond", "ljmp $0x3000, $0", "i"(0));
	PROBE("gp ltr busy", "mov %0, %%eax; ltr %%ax", "i"(SEL_TSS));
	PROBE("~gp ltr null", "xor %%eax, %%eax; ltr %%ax", "i"(0));
	PROBE("gp ltr code", "mov %0, %%eax; ltr %%ax", "i"(SEL_KCODE));
	PROBE("gp lldt data", "mov %0, %%eax; lldt %%ax", "i"(SEL_KDATA));
	PROBE("lldt null", "xor %%eax, %%eax; lldt %%ax", "i"(0));
	PROBE("lldt", "mov %0, %%eax; lldt %%ax", "i"(SEL_LDT));
}

static void gates(void)
{
	uint64_t keep = idt[0x40];

	idt[0x40] &= ~(0x8000ull << 32);
	PROBE("np gate", "int $0x40", "i"(0));
	idt[0x40] = gate(0, SEL_KCODE, 0x8c);
	PROBE("gp gate type", "int $0x40", "i"(0));
	idt[0x40] = gate((uint32_t)trap_entries[0x40], 0, 0x8e);
	PROBE("gp gate null cs", "int $0x40", "i"(0));
	idt[0x40] = gate((uint32_t)trap_entries[0x40], SEL_KDATA, 0x8e);
	PROBE("gp gate data cs", "int $0x40", "i"(0));
	idt[0x40] = keep;
	idt_load(idt, 0x50 * 8 - 1);
	PROBE("gp gate beyond", "int $0x50", "i"(0));
	PROBE("last gate", "int $0x4f", "i"(0));
	idt_load(idt, sizeof(idt) - 1);
}

/* x87 and SSE exceptions, and #NM. */
static void numeric(void)
{
	static const float zero, one = 1;
	uint32_t mxcsr = 0x1f80 & ~0x200;
	static const uint16_t unmask = 0x37f & ~4;

	write_cr4(read_cr4() | 0x600); /* OSFXSR, OSXMMEXCPT */
	write_cr0((read_cr0() | 0x22) & ~0xcu); /* NE, MP; not EM, TS */
	PROBE("mf", "fninit; fldcw %0; flds %1; fdivs %2; nop; fwait", "m"(unmask), "m"(one), "m"(zero));
	PROBE("~mf next", "fninit; fldcw %0; flds %1; fdivs %2; fld1", "m"(unmask), "m"(one), "m"(zero));
	PROBE("mf not by fn", "fninit; fldcw %0; flds %1; fdivs %2; fnstsw %%ax; fnclex; fwait", "m"(unmask), "m"(one),
	      "m"(zero));
	PROBE("~xm", "ldmxcsr %0; movss %1, %%xmm0; divss %2, %%xmm0", "m"(mxcsr), "m"(one), "m"(zero));
	mxcsr = 0x1f80;
	PROBE("xm masked", "ldmxcsr %0; movss %1, %%xmm0; divss %2, %%xmm0", "m"(mxcsr), "m"(one), "m"(zero));
	mxcsr = 0x10000;
	PROBE("~gp mxcsr", "ldmxcsr %0", "m"(mxcsr));
	PROBE("gp movaps", "movaps gdt + 4, %%xmm0", "i"(0));
	write_cr0(read_cr0() | 8); /* TS */
	PROBE("nm x87", "fld1", "i"(0));
	PROBE("nm sse", "xorps %%xmm0, %%xmm0", "i"(0));
	PROBE("nm wait", "fwait", "i"(0));
	PROBE("clts", "clts; fld1; fninit", "i"(0));
	write_cr0(read_cr0() | 4); /* EM */
	PROBE("nm em", "fld1", "i"(0));
	PROBE("ud em sse", "xorps %%xmm0, %%xmm0", "i"(0));
	write_cr0(read_cr0() & ~4u);
}

void guest_main(void)
{
	faults();
	descriptor_faults();
	gates();
	single_step();
	numeric();
}
