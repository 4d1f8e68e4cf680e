/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a flat guest stands on: output on COM1, an IDT whose every vector is known, probes that report which
 * exception an instruction sequence raised, ring 3.
 *
 * A guest is a file with `void guest_main(void)`; what it prints is compared with NAME.exp, which says what the
 * SDM demands. A probe whose name starts with '~' is left out under QEMU TCG, which checks less than a CPU does
 * (segment limits and types, reserved bits, alignment).
 */
#ifndef TESTS_GUEST_LIB_GUEST_H
#define TESTS_GUEST_LIB_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/guest/lib/layout.h"

struct frame { /* as trap_common pushes it; esp and ss only when the ring changed */
	uint32_t gs, fs, es, ds, edi, esi, ebp, unused, ebx, edx, ecx, eax;
	uint32_t vector, error, eip, cs, eflags, esp, ss;
};

struct tss {
	uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
	uint32_t es, cs, ss, ds, fs, gs, ldt;
	uint16_t trap, bitmap;
	uint8_t bits[36]; /* ports 0 to 0x117, and the byte of ones behind the end */
};

void guest_main(void);
bool guest_asked(const char *word); /* is it the last word of the command line? */
void guest_exit(uint32_t status) __attribute__((noreturn));
void print(const char *format, ...) __attribute__((format(printf, 1, 2))); /* %s %c %x %u %d, # and 0N with x */

/* --- tables ---------------------------------------------------------------------------------------------- */

extern uint64_t gdt[GDT_ENTRIES], idt[256], ldt[8];
extern struct tss tss;
extern const uint8_t trap_entries[][16];
extern char boot_stack[], boot_stack_end[];

enum { A_CODE = 0x9b, A_DATA = 0x93, A_LDT = 0x82, A_TSS = 0x89, A_DPL3 = 0x60, G_4K = 0x8, G_32 = 0x4 };
uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access, unsigned flags);
uint64_t gate(uint32_t offset, uint16_t sel, unsigned access); /* access: 0x8e interrupt, 0x8f trap, 0x85 task */
void idt_load(uint64_t *table, unsigned limit);
/* A handler that returns; NULL: report to the armed probe, or end the run. */
extern void (*volatile trap_hook[256])(struct frame *f);

/* --- probes ---------------------------------------------------------------------------------------------- */

extern bool on_tcg;
extern struct frame last;
extern uint32_t last_cr2, last_esp, probe_at;
extern uint32_t catch_armed;
int catch(void) __attribute__((returns_twice));
void catch_return(void) __attribute__((noreturn));
void show(const char *name, bool faulted);

/* Run `code` (assembly, operands as asm takes them) and print "name: ok" or the exception with its details. */
#define PROBE(name, code, ...)                                                                                       \
	do {                                                                                                         \
		if ((name)[0] == '~' && on_tcg)                                                                      \
			break;                                                                                       \
		if (!catch()) {											\
			__asm__ volatile("movl $661f, probe_at\n661: " code ::__VA_ARGS__				\
					 : "memory", "cc", "eax", "ecx", "edx");					\
			catch_armed = 0;										\
			show(name, false);										\
		} else {												\
			show(name, true);										\
		}													\
	} while (0)

/* The same for code that a patcher cannot or should not see: it stands in .data. */
#define PROBE_DATA(name, code)											\
	PROBE(name, ".pushsection .data\n663: movl $662f, probe_at\n662: " code "\n ret\n .popsection\n call 663b", "i"(0))

/* --- ring 3 ---------------------------------------------------------------------------------------------- */

extern uint32_t enter_gpr[8], enter_ds;
void enter(const uint32_t frame[5]) __attribute__((noreturn));
extern uint32_t user_flags, user_esp; /* for the next user_probe(); then 2 and USER_STACK again */
extern const char *user_from, *user_to;
/* Copy the code between them to USER_BASE and run it in ring 3 until it raises something, `int $0x80` at the latest. */
void user_probe(const char *name);
void *user_memory(uint32_t at); /* kernel address of a user page under GUEST_HIGH, else the same */
#define USER(name, code)												\
	do {														\
		__asm__(".pushsection .rodata\n661: " code "\n662: .popsection\n"					\
			"movl $661b, user_from\n movl $662b, user_to"); /* basic: code needs no %% */		\
		user_probe(name);											\
	} while (0)

/* --- machine --------------------------------------------------------------------------------------------- */

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" ::"a"(value), "d"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "d"(port));
	return value;
}

#define CR_ACCESS(n)                                                                                                 \
	static inline uint32_t read_cr##n(void)                                                                      \
	{                                                                                                            \
		uint32_t value;                                                                                      \
		__asm__ volatile("mov %%cr" #n ", %0" : "=r"(value)::"memory");                                      \
		return value;                                                                                        \
	}                                                                                                            \
	static inline void write_cr##n(uint32_t value)                                                               \
	{                                                                                                            \
		__asm__ volatile("mov %0, %%cr" #n ::"r"(value) : "memory");                                         \
	}
CR_ACCESS(0)
CR_ACCESS(2)
CR_ACCESS(3)
CR_ACCESS(4)

static inline void invlpg(uint32_t at)
{
	__asm__ volatile("invlpg (%0)" ::"r"(at) : "memory");
}

static inline uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static inline void cpuid(uint32_t leaf, uint32_t out[4])
{
	__asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(0));
}

static inline uint32_t read_flags(void)
{
	uint32_t flags;

	__asm__ volatile("pushf; pop %0" : "=r"(flags));
	return flags;
}

static inline uint32_t peek(uint32_t at)
{
	return *(volatile uint32_t *)at;
}

static inline void poke(uint32_t at, uint32_t value)
{
	*(volatile uint32_t *)at = value;
}

/* Kernel address of a physical one. */
static inline void *at_phys(uint32_t pa)
{
	return (void *)(pa + GUEST_OFFSET);
}

/* 8259s with irqs at vectors 0x20 to 0x2f, all masked but `open`; 8254 channel 0 at `hz`. */
void pic_init(uint16_t open);
void pit_start(unsigned hz);

/* --- paging ---------------------------------------------------------------------------------------------- */

enum { P = 1, W = 2, U = 4, PWT = 8, PCD = 16, A = 32, D = 64, PS = 128, G = 256 };
#ifdef GUEST_HIGH
extern uint32_t kernel_directory[1024];
#endif
uint32_t page_alloc(void); /* physical address of a zeroed page from RAM_FREE on */

#endif
