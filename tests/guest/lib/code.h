/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Code at its oddest: a snippet is laid at a linear address of its own, in pages that ring 0 and ring 3 may both run and
 * write, and runs in ring 0, then anew in ring 3. It ends by what it raises, `int $0x80` at the latest. A guest that is asked
 * for "computing" computes in ring 3 before each of those: a monitor that has several ways to run user code, or to reach its
 * memory, may change over to another.
 */
#ifndef TESTS_GUEST_LIB_CODE_H
#define TESTS_GUEST_LIB_CODE_H

#include "tests/guest/lib/guest.h"

#define CODE_BASE 0x60000000
#define CODE_PAGES 8	      /* behind them nothing is mapped */
#define CODE_ALIAS 0x60100000 /* the same frames again */

static uint32_t *code_table, code_frames;

static inline void code_map(unsigned page, uint32_t rights) /* 0: not there */
{
	code_table[page] = rights ? (code_frames + page * 4096) | rights : 0;
	invlpg(CODE_BASE + page * 4096);
}

static inline void code_init(void)
{
	uint32_t t = page_alloc();

	code_frames = page_alloc();
	for (unsigned i = 1; i < CODE_PAGES; i++)
		page_alloc();
	code_table = at_phys(t);
	for (unsigned i = 0; i < CODE_PAGES; i++)
		code_table[i] = code_table[256 + i] = (code_frames + i * 4096) | P | W | U;
	kernel_directory[CODE_BASE >> 22] = t | P | W | U;
}

static inline uint8_t *code_bytes(uint32_t at)
{
	return (uint8_t *)at_phys(code_frames) + (at - CODE_BASE);
}

static volatile uint32_t *code_ticks;

static inline void code_tick(struct frame *f)
{
	(void)f;
	++*code_ticks;
	outb(0x20, 0x20);
}

/* User code that computes through a few timer interrupts. */
static inline void code_compute(void)
{
	uint32_t frame[5] = {USER_BASE, SEL_UCODE, 0x202, USER_STACK, SEL_UDATA};

	__asm__(".pushsection .rodata\n 661: 1: cmpl $6, 0x40010000; jb 1b; int $0x80; 662: .popsection\n"
		"movl $661b, user_from\n movl $662b, user_to");
	for (const char *from = user_from; from < user_to; from++)
		((char *)user_memory(USER_BASE))[from - user_from] = *from;
	code_ticks = user_memory(0x40010000);
	*code_ticks = 0;
	trap_hook[0x20] = code_tick;
	pic_init(1);
	pit_start(250);
	if (!catch ())
		enter(frame);
	outb(0x21, 0xff);
}

/* Nothing that went before is left; what lies beyond the snippet is `int3`. */
static inline void code_lay(uint32_t at)
{
	uint32_t *words = at_phys(code_frames);
	uint8_t *to = code_bytes(at);

	for (unsigned i = 0; i < CODE_PAGES * 1024; i++)
		words[i] = 0xcccccccc;
	for (const char *from = user_from; from < user_to; from++)
		*to++ = (uint8_t)*from;
	probe_at = at;
}

/* EAX, EBX, ECX and EDX are 0 at its start. */
static inline void code_run_in(const char *name, uint32_t at, unsigned ring)
{
	uint32_t frame[5] = {at, SEL_UCODE, 2, USER_STACK, SEL_UDATA};

	if (name[0] == '~' && on_tcg)
		return;
	if (ring == 3 && guest_asked("computing")) {
		const char *from = user_from, *to = user_to;

		code_compute();
		user_from = from;
		user_to = to;
	}
	code_lay(at);
	if (!catch ()) {
		if (ring == 3)
			enter(frame);
		__asm__ volatile(
		    "push %0; xor %%eax, %%eax; xor %%ebx, %%ebx; xor %%ecx, %%ecx; xor %%edx, %%edx; ret" ::
			"r"(at)
		    : "memory");
	}
	print("%s, ring %u", name, ring);
	show("", true);
	print("%s eax %x ebx %x ecx %x\n", name[0] == '~' ? "~" : " ", last.eax, last.ebx, last.ecx);
}

/* AT(1f) inside the code is where label 1 will be. */
#define AT(label) "(code_at + " #label " - 661b)"
#define CODE_BYTES(at, code)                                                                                 \
	__asm__(".pushsection .rodata\n .set code_at, " #at "\n661: " code                                   \
		"\n int $0x80\n 662: .popsection\n"                                                          \
		"movl $661b, user_from\n movl $662b, user_to")
#define CODE(name, at, code)                                                                                 \
	do {                                                                                                 \
		CODE_BYTES(at, code);                                                                        \
		code_run_in(name, at, 0);                                                                    \
		code_run_in(name, at, 3);                                                                    \
	} while (0)

#endif
