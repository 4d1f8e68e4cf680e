// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Ring 3 at its worst: enters the kernel in every way with DF, AC, NT, an unmasked MXCSR and a pending x87 exception
 * set, and finds its registers as it left them; SYSCALL and SYSENTER, which CPUID does not offer, with good and bad
 * stacks; gates that are not for it.
 */
#include "tests/guest/lib/guest.h"

enum { DATA = USER_BASE + 0x1000, LAZY = 0x60000000 };
static uint32_t *lazy_table, other_root;
static volatile uint32_t entries;

static void resume(struct frame *f) /* behind the instruction that trapped, of two bytes each here */
{
	entries++;
	if (f->vector == 1)
		f->eflags &= ~0x100u;
	else if (f->vector == 6 || f->vector == 13 || f->vector == 0)
		f->eip += 2;
}

static void map_lazily(struct frame *f)
{
	(void)f;
	entries++;
	lazy_table[read_cr2() >> 12 & 1023] = page_alloc() | P | W | U;
}

static void other_space_and_back(struct frame *f)
{
	uint32_t root = read_cr3();

	(void)f;
	entries++;
	write_cr3(other_root);
	write_cr3(root);
}

static void timer(struct frame *f)
{
	(void)f;
	entries++;
	poke((uint32_t)user_memory(DATA + 8), 1);
	outb(0x20, 0x20);
}

/* Flags DF, AC and NT; then an entry; then everything is compared, bit n of DATA set if something changed. */
#define ENTRY(n, code)                                                                                               \
	"push $0x44602; popf; " code "; pushf; pop %eax; push $0x202; popf; and $0x44400, %eax; cmp $0x44400, %eax; " \
	"jne 8f; fnstsw %ax; and $0x84, %eax; cmp $0x84, %eax; jne 8f; stmxcsr 0x40001060; cmpl $0x1d80, "              \
	"0x40001060; jne 8f; movups %xmm3, 0x40001040; mov 0x40001040, %eax; cmp 0x40001010, %eax; jne 8f; mov "       \
	"0x4000104c, %eax; cmp 0x4000101c, %eax; jne 8f; cmp $0x11223344, %ebx; jne 8f; cmp $0x55667788, %ebp; jne "   \
	"8f; jmp 9f; 8: orl $(1 << " #n "), 0x40001000; 9: "

static void hygiene(void)
{
	uint32_t *data = user_memory(DATA), t = page_alloc();

	lazy_table = at_phys(t);
	kernel_directory[LAZY >> 22] = t | P | W | U;
	other_root = page_alloc();
	for (unsigned i = 0; i < 1024; i++)
		((uint32_t *)at_phys(other_root))[i] = kernel_directory[i];
	for (unsigned i = 0; i < 8; i++)
		data[4 + i] = 0x01010101 * (i + 1);
	write_cr4(read_cr4() | 0x600);
	write_cr0((read_cr0() | 0x22) & ~0xcu);
	trap_hook[0] = trap_hook[1] = trap_hook[3] = trap_hook[6] = trap_hook[13] = trap_hook[0x81] = resume;
	trap_hook[0x82] = other_space_and_back;
	trap_hook[14] = map_lazily;
	trap_hook[0x20] = timer;
	idt[0x81] = gate((uint32_t)trap_entries[0x81], SEL_KCODE, 0xee);
	idt[0x82] = gate((uint32_t)trap_entries[0x82], SEL_KCODE, 0xee);
	pic_init(1);
	outb(0x43, 0x30);
	outb(0x40, 0xff);
	outb(0x40, 0xff);
	user_flags = 0x202;
	USER("hygiene", "fninit; push $0x37b; fldcw (%esp); movl $0x1d80, (%esp); ldmxcsr (%esp); movups 0x40001010, %xmm3; "
			"mov $0x11223344, %ebx; mov $0x55667788, %ebp; mov $0x60, %edx; fld1; fldz; fdivrp; "
			ENTRY(0, "int $0x81")
			ENTRY(1, "mov %eax, 0x60000000")
			ENTRY(2, "mov 0x60001000, %eax")
			ENTRY(3, "ud2")
			ENTRY(4, "inb $0x60, %al")
			ENTRY(5, "int3")
			ENTRY(6, "xor %ecx, %ecx; .byte 0xf7, 0xf1") /* div %ecx */
			ENTRY(7, "int $0x82")
			ENTRY(8, "push $0x44702; popf; nop")
			ENTRY(9, "1: cmpl $0, 0x40001008; je 1b")
			ENTRY(10, "int $0x82; int $0x82; mov %eax, 0x60005000; int $0x81")
			ENTRY(11, "hlt; nop")
			"int $0x80");
	print("  changed %x, entries %u\n", data[0], entries);
	for (unsigned v = 0; v < 256; v++)
		trap_hook[v] = NULL;
	outb(0x21, 0xff);
	__asm__ volatile("fnclex; fninit");
}

/* The upper halves of YMM registers, where there are any. */
static void ymm(void)
{
	uint32_t id[4], *data = user_memory(DATA);

	cpuid(1, id);
	if (id[2] >> 28 & 1) {
		write_cr4(read_cr4() | 0x40000);
		cpuid(0xd, id);
		__asm__ volatile("xsetbv" ::"a"(id[0]), "d"(id[3]), "c"(0));
		trap_hook[0x82] = other_space_and_back;
		trap_hook[14] = map_lazily;
		for (unsigned i = 0; i < 16; i++)
			data[4 + i] = i < 8 ? 0x9000 + i : 0;
		USER("ymm", ".byte 0xc5, 0xfc, 0x10, 0x3d; .long 0x40001010\n" /* vmovups 0x40001010, %ymm7 */
			    "int $0x82; mov %eax, 0x60010000; mov 0x60011000, %eax\n"
			    ".byte 0xc5, 0xfc, 0x11, 0x3d; .long 0x40001030\n" /* vmovups %ymm7, 0x40001030 */
			    "int $0x80");
		trap_hook[0x82] = trap_hook[14] = NULL;
	} else {
		print("ymm: #128(0) eip +1e\n");
		for (unsigned i = 0; i < 8; i++)
			data[12 + i] = 0x9000 + i;
	}
	print("  %x %x\n", data[12], data[19]);
}

static void system_calls(void)
{
	USER("~syscall", "xor %eax, %eax; syscall");
	USER("~sysenter", "xor %eax, %eax; sysenter");
	USER("~sysexit", "sysexit");
	USER("~sysret", "sysret");
	USER("~syscall write", "mov $1, %eax; mov $1, %ebx; mov $0x40001000, %ecx; mov $4, %edx; syscall");
	USER("~syscall 32-bit write", "mov $4, %eax; mov $1, %ebx; mov $0x40001000, %ecx; mov $4, %edx; sysenter");
	user_esp = 0x50000000;
	USER("~syscall without a stack", "mov $20, %eax; syscall");
	user_esp = 0x50000000;
	USER("~sysenter without a stack", "mov $20, %eax; sysenter");
	user_esp = 0;
	USER("~sysenter at esp 0", "mov $20, %eax; mov $0, %ebp; sysenter");
	user_esp = 0xfffffff0;
	USER("~syscall at the top", "mov $20, %eax; syscall");
	user_esp = 0x50000000;
	USER("int 0x80 without a stack", "mov $20, %eax; int $0x80");
	user_esp = 0x50000000;
	USER("push without a stack", "push %eax");
	user_esp = 0xd0000000;
	USER("call on a kernel stack", "call 1f; 1: nop");
	PROBE_DATA("~syscall in ring 0", "syscall");
	PROBE_DATA("~sysenter in ring 0", "sysenter");
}

static void gates(void)
{
	uint64_t keep = idt[0x80];

	idt[0x80] = gate((uint32_t)trap_entries[0x80], SEL_KCODE, 0x8e);
	USER("int 0x80 of dpl 0", "nop; int $0x80");
	idt[0x80] = keep;
	USER("jump to the hole", "mov $0xf9000000, %eax; jmp *%eax");
	USER("jump to the guard", "mov $0xff000000, %eax; jmp *%eax");
	USER("ud", ".byte 0x0f, 0xff, 0xc0");
	USER("~fifteen bytes and one", ".byte 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90");
	USER("code at the end", "mov $0x4003fffe, %eax; movw $0x00b8, (%eax); jmp *%eax");
}

void guest_main(void)
{
	hygiene();
	ymm();
	system_calls();
	gates();
}
