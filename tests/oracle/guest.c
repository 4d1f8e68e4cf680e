// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The scenarios on an emulated CPU: a Multiboot kernel for qemu-system-i386. Each one starts by a jump to the
 * subject's TSS, and every exception, and the INT that stands at each landing place, goes through a task gate: so the
 * whole state is saved in the TSS that was current, however broken stack and segments are. Outcomes go to port 0xe9.
 */
#include "tests/oracle/scenario.h"

#ifndef FIRST
#define FIRST 1
#endif
#ifndef COUNT
#define COUNT 20000
#endif

#define MEM ((uint8_t *)0)

__asm__(".section .multiboot,\"a\"\n.long 0x1badb002, 0, -0x1badb002\n"
	".text\n.global _start\n_start: mov $0x138000,%esp\ncld\ncall main\n1: hlt\njmp 1b\n");

static uint32_t number = FIRST;

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0,%1" : : "a"(value), "Nd"(port));
}

static void emit(const void *p, unsigned size)
{
	__asm__ volatile("rep outsb" : "+S"(p), "+c"(size) : "d"(0xe9) : "memory");
}

void main(void);

static void capture_task(unsigned i, void (*entry)(void))
{
	uint32_t tss = O_CAPTURE + i * 128, j;

	for (j = 0; j < 0x68; j += 4)
		o_put(MEM, tss + j, 0, 4);
	o_put(MEM, tss + 0x20, (uint32_t)entry, 4);
	o_put(MEM, tss + 0x24, 2, 4);
	o_put(MEM, tss + 0x28, i, 4);
	o_put(MEM, tss + 0x38, O_CAPTURE_STACK, 4);
	for (j = 0; j < 6; j++)
		o_put(MEM, tss + 0x48 + j * 4, (j == 1 ? G_HARNESS_CS : G_HARNESS_DS) << 3, 4);
	o_desc(MEM, O_GDT + (G_CAPTURE + i) * 8, tss, 0x67, 0x89, 0);
}

static void __attribute__((noreturn)) next(void);

/* What the old task, 32 or 16 bits, was when it was left. */
static void record(uint32_t vector, uint32_t error)
{
	struct outcome o = {.vector = vector, .error = error};
	uint32_t tss, i;

	o.tr = o_get(MEM, O_CAPTURE + vector * 128, 2);
	tss = o_get(MEM, O_GDT + (o.tr & 0xfff8) + 2, 2) | (uint32_t)MEM[O_GDT + (o.tr & 0xfff8) + 4] << 16;
	if (tss == O_TSS16) {
		o.eip = o_get(MEM, tss + 0x0e, 2);
		o.eflags = o_get(MEM, tss + 0x10, 2);
		o.eax = o_get(MEM, tss + 0x12, 2);
		o.esp = o_get(MEM, tss + 0x1a, 2);
		for (i = 0; i < 4; i++)
			o.sreg[i] = (uint16_t)o_get(MEM, tss + 0x22 + i * 2, 2);
	} else {
		o.eip = o_get(MEM, tss + 0x20, 4);
		o.eflags = o_get(MEM, tss + 0x24, 4);
		o.eax = o_get(MEM, tss + 0x28, 4);
		o.esp = o_get(MEM, tss + 0x38, 4);
		for (i = 0; i < 6; i++)
			o.sreg[i] = (uint16_t)o_get(MEM, tss + 0x48 + i * 4, 2);
	}
	o.memory = o_memory_hash(MEM);
	o.subject = tss == O_SUBJECT ? 0 : o_hash(MEM, O_SUBJECT, O_SUBJECT + 0x68, 1);
	emit(&o, sizeof(o));
}

/* Entered as a task, with the vector in EAX and, for some, an error code on the stack. */
static void __attribute__((used)) captured(uint32_t vector, uint32_t esp)
{
	record(vector, esp == O_CAPTURE_STACK - 4 ? o_get(MEM, esp, 4) : 0);
	number++;
	next();
}

__asm__("capture: cld\nmov %esp,%edx\nmov $0x137000,%esp\npush %edx\npush %eax\ncall captured\n");
void capture(void);

static void next(void)
{
	struct scenario s;
	uint32_t i;

	if (number == FIRST + COUNT) {
		out8(0xf4, 0);
		for (;;)
			__asm__ volatile("hlt");
	}
	o_build(MEM, number, &s);
	MEM[O_GDT + G_SUBJECT * 8 + 5] = 0x89;
	o_put(MEM, O_SUBJECT + 0x20, O_OP, 4);
	o_put(MEM, O_SUBJECT + 0x24, s.eflags, 4);
	for (i = 0; i < 8; i++)
		o_put(MEM, O_SUBJECT + 0x28 + i * 4, s.sel, 4);
	o_put(MEM, O_SUBJECT + 0x38, s.esp, 4);
	for (i = 0; i < 6; i++)
		o_put(MEM, O_SUBJECT + 0x48 + i * 4, s.sreg[i], 4);
	o_put(MEM, O_SUBJECT + 0x60, G_LDT << 3, 4);
	for (i = 0; i <= CAPTURE_HOME; i++)
		capture_task(i, capture);
	/* The jump saves this task: elsewhere, for the next capture starts from a fresh TSS. */
	__asm__ volatile("ltr %w0\nljmp %1,$0"
			 :
			 : "r"((G_CAPTURE + CAPTURE_HOME) << 3), "i"(G_SUBJECT << 3)
			 : "memory");
	__builtin_unreachable();
}

void main(void)
{
	struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) gdt = {G_END * 8 - 1, O_GDT}, idt = {(V_SUBJECT + 1) * 8 - 1, O_IDT};
	uint32_t i;

	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	for (i = 0; i < G_END * 8; i += 4)
		o_put(MEM, O_GDT + i, 0, 4);
	o_desc(MEM, O_GDT + G_HARNESS_CS * 8, 0, 0xfffff, 0x9a, 0xc);
	o_desc(MEM, O_GDT + G_HARNESS_DS * 8, 0, 0xfffff, 0x92, 0xc);
	for (i = 0; i < 32; i++)
		o_put(MEM, O_IDT + i * 8, (G_CAPTURE + i) << 19, 4), o_put(MEM, O_IDT + i * 8 + 4, 0x8500, 4);
	o_put(MEM, O_IDT + V_LANDED * 8, (G_CAPTURE + CAPTURE_LANDED) << 19, 4);
	o_put(MEM, O_IDT + V_LANDED * 8 + 4, 0xe500, 4);
	for (i = 0; i < O_CODE_SIZE; i += 2) {
		o_put(MEM, O_CODE + i, 0xcd | V_LANDED << 8, 2);
		o_put(MEM, O_LOW_CODE + i, 0xcd | V_LANDED << 8, 2);
	}
	__asm__ volatile("lgdt %0\nlidt %1\nljmp %2,$1f\n1: mov %w3,%%ds\nmov %w3,%%es\nmov %w3,%%fs\nmov %w3,%%gs\n"
			 "mov %w3,%%ss"
			 :
			 : "m"(gdt), "m"(idt), "i"(G_HARNESS_CS << 3), "r"(G_HARNESS_DS << 3));
	next();
}
