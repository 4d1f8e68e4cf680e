// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Segments: null and based ones, limits, expand-down, LDT; what LAR LSL VERR VERW SGDT SIDT SLDT STR SMSW tell.
 * SDM 3A 3.4.5, 5.3 to 5.5; 2A/2B at each name. QEMU TCG does not check limits and types of data accesses.
 */
#include "tests/guest/lib/guest.h"

enum { S0 = GDT_FREE * 8 }; /* free selectors: S0, S0 + 8 ... */
static uint32_t data[64] __attribute__((aligned(4096))) = {0x11111111, 0x22222222, 0x33333333};

static void set(unsigned n, uint32_t base, uint32_t limit, unsigned access, unsigned flags)
{
	gdt[GDT_FREE + n] = descriptor(base, limit, access, flags);
}

static void null_and_based(void)
{
	uint32_t value, sel;

	PROBE("null ds load", "xor %%eax, %%eax; mov %%eax, %%ds; push %0; pop %%ds", "i"(SEL_UDATA));
	PROBE("~null fs use", "mov $3, %%eax; mov %%eax, %%fs; mov %%fs:0, %%eax", "i"(0));
	PROBE("~null es string", "xor %%eax, %%eax; mov %%eax, %%es; mov %%edi, %%edx; stosb", "i"(0));
	__asm__ volatile("mov %0, %%es" ::"r"(SEL_UDATA));
	set(0, (uint32_t)data, 11, A_DATA, G_32);
	PROBE("based fs", "mov %0, %%eax; mov %%eax, %%fs; mov %%fs:8, %%eax", "i"(S0));
	__asm__ volatile("mov %1, %%fs; mov %%fs:4, %0" : "=r"(value) : "r"(S0));
	__asm__ volatile("mov %%fs, %0" : "=r"(sel));
	print("  %x sel %x\n", value, sel);
	PROBE("~fs limit", "mov %%fs:9, %%eax", "i"(0));
	PROBE("~fs limit byte", "movb %%fs:12, %%al", "i"(0));
	PROBE("fs last byte", "movb %%fs:11, %%al", "i"(0));
	PROBE("~fs write over limit", "movl %%eax, %%fs:12", "i"(0));
	PROBE("fs write", "movl $0x44444444, %%fs:8", "i"(0));
	print("  %x\n", data[2]);
	set(0, (uint32_t)data, 11, A_DATA & ~2, G_32);
	PROBE("stale fs still writable", "movl $0x55555555, %%fs:8", "i"(0)); /* the hidden part is kept */
	PROBE("~read-only fs", "mov %0, %%eax; mov %%eax, %%fs; movl %%eax, %%fs:8", "i"(S0));
	PROBE("read-only fs read", "mov %%fs:8, %%eax", "i"(0));
	print("  %x\n", data[2]);
	set(1, (uint32_t)data, 0xff, A_DATA | 4, G_32); /* expand-down: offsets above 0xff */
	PROBE("~expand-down below", "mov %0, %%eax; mov %%eax, %%gs; mov %%gs:0xff, %%al", "i"(S0 + 8));
	PROBE("~expand-down straddles", "mov %%gs:0xfe, %%eax", "i"(0));
	PROBE("expand-down above", "mov %0, %%eax; mov %%eax, %%gs; mov %%gs:0x100, %%eax", "i"(S0 + 8));
	set(2, (uint32_t)data, 0xff, A_CODE, G_32); /* readable code */
	PROBE("code in gs", "mov %0, %%eax; mov %%eax, %%gs; mov %%gs:4, %%eax", "i"(S0 + 16));
	PROBE("~code in gs write", "movl %%eax, %%gs:4", "i"(0));
	PROBE("~cs write", "movl %%eax, %%cs:gdt", "i"(0));
	PROBE("cs read", "mov %%cs:gdt, %%eax", "i"(0));
	__asm__ volatile("mov %0, %%fs; mov %0, %%gs" ::"r"(0));
}

/* TLS as glibc uses it: a limit of 4 GiB and negative offsets that wrap. */
static void wrap(void)
{
	uint32_t value;

	set(3, (uint32_t)&data[8], 0xfffff, A_DATA | A_DPL3, G_4K | G_32);
	data[7] = 0x77777777;
	__asm__ volatile("mov %1, %%gs; mov %%gs:0xfffffffc, %0; mov %2, %%gs" : "=&r"(value) : "r"(S0 + 24), "r"(0));
	print("gs:-4 %x\n", value);
}

static void local(void)
{
	uint32_t value;

	ldt[1] = descriptor((uint32_t)data, 0xfff, A_DATA, G_32);
	__asm__ volatile("lldt %w0" ::"r"(SEL_LDT));
	__asm__ volatile("mov %1, %%fs; mov %%fs:4, %0" : "=r"(value) : "r"(0x0c));
	print("ldt fs %x\n", value);
	PROBE("gp ldt beyond", "mov $0x44, %%eax; mov %%eax, %%gs", "i"(0));
	__asm__ volatile("sldt %0" : "=r"(value));
	print("sldt %x\n", value & 0xffff);
	__asm__ volatile("lldt %w0" ::"r"(0));
	__asm__ volatile("mov %%fs:4, %0; mov %1, %%fs" : "=&r"(value) : "r"(0)); /* the hidden part outlives LLDT */
	print("ldt fs kept %x\n", value);
	PROBE("gp ldt gone", "mov $0x0c, %%eax; mov %%eax, %%fs", "i"(0));
}

static void ask(const char *name, uint32_t sel)
{
	uint32_t rights = 0, limit = 0;
	uint8_t lar, lsl, verr, verw;

	__asm__ volatile("lar %2, %0; setz %1" : "+r"(rights), "=q"(lar) : "r"(sel));
	__asm__ volatile("lsl %2, %0; setz %1" : "+r"(limit), "=q"(lsl) : "r"(sel));
	__asm__ volatile("verr %w1; setz %0" : "=q"(verr) : "r"(sel));
	__asm__ volatile("verw %w1; setz %0" : "=q"(verw) : "r"(sel));
	print("%s: lar %u %x lsl %u %x verr %u verw %u\n", name, lar, lar ? rights : 0, lsl, lsl ? limit : 0, verr, verw);
}

static void queries(void)
{
	struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) r;
	uint32_t value;
	uint16_t word;

	ask("null", 0);
	ask("kcode", SEL_KCODE);
	ask("kdata", SEL_KDATA);
	ask("ucode", SEL_UCODE);
	ask("udata", SEL_UDATA);
	ask("kdata rpl 3", SEL_KDATA | 3);
	ask("tss", SEL_TSS);
	ask("ldt", SEL_LDT);
	ask("beyond", 0x400);
	set(0, 0, 0x12345, A_DATA & ~0x80, G_4K);
	ask("not present", S0);
	gdt[GDT_FREE] = gate(0x1234, SEL_KCODE, 0x8c);
	ask("call gate", S0);
	gdt[GDT_FREE] = gate(0x1234, SEL_KCODE, 0x8e);
	ask("interrupt gate", S0);
	set(0, 0, 0x1ff, 0x99, G_32);
	ask("execute-only", S0);
	set(0, 0, 0x1ff, 0x9e, 0);
	ask("conforming rpl 3", S0 | 3);
	set(0, 0, 0x1ff, A_DATA & ~3, 0);
	ask("read-only rpl 0", S0);
	print("  accessed bit %x\n", (uint32_t)(gdt[GDT_FREE] >> 40) & 0xff);
	PROBE("load sets accessed", "mov %0, %%eax; mov %%eax, %%fs", "i"(S0));
	print("  accessed bit %x\n", (uint32_t)(gdt[GDT_FREE] >> 40) & 0xff);
	__asm__ volatile("mov %0, %%fs" ::"r"(0));

	__asm__ volatile("sgdt %0" : "=m"(r));
	print("sgdt %x %s\n", r.limit, r.base == (uint32_t)gdt ? "gdt" : "?");
	__asm__ volatile("sidt %0" : "=m"(r));
	print("sidt %x %s\n", r.limit, r.base == (uint32_t)idt ? "idt" : "?");
	__asm__ volatile("str %0" : "=r"(value));
	print("str %x\n", value);
	__asm__ volatile("str %0" : "=m"(word));
	print("str m16 %x\n", word);
	__asm__ volatile("smsw %0" : "=r"(value));
	print("smsw %s\n", value == read_cr0() ? "cr0" : "?");
	__asm__ volatile("smsw %0" : "=m"(word));
	print("smsw m16 %x\n", word & 0xf);
	print("tss type %x\n", (uint32_t)(gdt[SEL_TSS / 8] >> 40) & 0xff);
}

/* Push and pop of segment registers, 16-bit forms, far pointers. */
static void moves(void)
{
	static const struct {
		uint32_t offset;
		uint16_t sel;
	} __attribute__((packed)) far = {0x12345678, SEL_UDATA}, far_bad = {1, 0x1f8};
	uint32_t value, esp0, esp1;

	__asm__ volatile("mov %%esp, %1; push %%ds; mov %%esp, %2; pop %0" : "=r"(value), "=&r"(esp0), "=&r"(esp1));
	print("push ds %x, %u bytes\n", value & 0xffff, esp0 - esp1);
	__asm__ volatile("mov %%esp, %1; data16 push %%ss; mov %%esp, %2; data16 pop %%es" : "=r"(value), "=&r"(esp0), "=&r"(esp1));
	__asm__ volatile("mov %%es, %0; mov %1, %%es" : "=&r"(value) : "r"(SEL_UDATA));
	print("es %x, %u bytes\n", value, esp0 - esp1);
	__asm__ volatile("mov $-1, %0; mov %%ss, %w0" : "=&r"(value));
	print("mov r16 %x\n", value);
	__asm__ volatile("mov $-1, %0; mov %%ss, %0" : "=&r"(value));
	print("mov r32 %x\n", value);
	__asm__ volatile("lgs %2, %0; mov %%gs, %1" : "=r"(value), "=r"(esp0) : "m"(far));
	print("lgs %x %x\n", value, esp0);
	value = 5;
	PROBE("gp lfs", "lfs %0, %%eax", "m"(far_bad));
	__asm__ volatile("mov %%fs, %0" : "=r"(value));
	print("fs still %x\n", value);
	PROBE("ss through lss", "movl %%esp, %0; movw %%ss, 4+%0; lss %0, %%esp", "m"(data[16]));
	PROBE("pop ss", "push %%ss; pop %%ss", "i"(0));
	PROBE("gp pop ds", "push $0x1f8; pop %%ds", "i"(0));
	__asm__ volatile("mov %0, %%gs" ::"r"(0));
}

/* 16-bit stack segment, as Linux's espfix has it: only SP moves. */
static void small_stack(void)
{
	uint32_t esp0, esp1;

	set(4, (uint32_t)boot_stack & ~0xffffu, 0xffff, A_DATA, 0);
	__asm__ volatile("mov %%esp, %%esi; mov %%ss, %%edi\n"
			 "mov %%esp, %%eax; and $0xffff, %%eax; or $0xabc00000, %%eax\n"
			 "mov %2, %%ecx; mov %%ecx, %%ss; mov %%eax, %%esp\n"
			 "push %%edx; mov %%esp, %0; pop %%edx; mov %%esp, %1\n"
			 "mov %%edi, %%ss; mov %%esi, %%esp"
			 : "=&b"(esp0), "=&d"(esp1)
			 : "i"(S0 + 32)
			 : "eax", "ecx", "esi", "edi", "memory");
	print("16-bit stack: moved %u\n", (esp1 - esp0) & 0xffff);
}

static void user(void)
{
	set(5, USER_BASE + 0x1000, 0xfff, A_DATA | A_DPL3, G_32);
	poke((uint32_t)user_memory(USER_BASE + 0x1000), 0xabcd1234);
	USER("user based gs", "mov $0xcb, %eax; mov %eax, %gs; mov %gs:0, %ecx");
	print("  ecx %x gs %x\n", last.ecx, last.gs);
	USER("~user gs limit", "mov $0xcb, %eax; mov %eax, %gs; mov %gs:0xffd, %ecx");
	USER("user null gs load", "mov $0xcb, %eax; mov %eax, %gs; xor %eax, %eax; mov %eax, %gs");
	print("  gs %x\n", last.gs);
	USER("~user null gs use", "xor %eax, %eax; mov %eax, %gs; mov %gs:0, %eax");
	USER("user loads kernel data", "mov $0x68, %eax; mov %eax, %ds");
	USER("user loads kernel data rpl 3", "mov $0x6b, %eax; mov %eax, %es");
	USER("user loads beyond", "mov $0x7fb, %eax; mov %eax, %gs");
	USER("user loads 0x7b", "mov $0x7b, %eax; mov %eax, %fs; mov %fs:0x40001000, %ecx");
	print("  ecx %x fs %x\n", last.ecx, last.fs);
	gdt[6] = descriptor(USER_BASE + 0x1000, 0xfffff, A_DATA | A_DPL3, G_4K | G_32);
	USER("user loads tls at 0x33", "mov $0x33, %eax; mov %eax, %gs; mov %gs:0, %ecx; mov %ecx, %gs:8");
	print("  ecx %x gs %x\n", last.ecx, last.gs);
	gdt[5] = descriptor(USER_BASE + 0x1000, 0xfffff, A_DATA | A_DPL3, G_4K | G_32);
	USER("user loads tls at 0x2b", "mov $0x2b, %eax; mov %eax, %es; mov %es:0, %ecx");
	print("  ecx %x es %x\n", last.ecx, last.es);
	gdt[4] = descriptor(USER_BASE + 0x1000, 0xfffff, A_DATA | A_DPL3, G_4K | G_32);
	USER("user loads tls at 0x23", "mov $0x23, %eax; mov %eax, %gs; mov %gs:0, %ecx");
	print("  ecx %x gs %x\n", last.ecx, last.gs);
	gdt[6] = gdt[5] = gdt[4] = 0;
	USER("user pops null ss", "push $0; pop %ss");
	USER("user pushes es", "push %es; pop %eax; xor %ecx, %ecx; int $0x80");
}

void guest_main(void)
{
	null_and_based();
	wrap();
	local();
	queries();
	moves();
	small_stack();
	user();
}
