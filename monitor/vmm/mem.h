// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Copying and filling for code that runs while the guest's vector state is live: libc's may use SSE, `rep` uses
 * general registers only. DF is clear in the monitor (DESIGN: hygiene).
 */
#ifndef MONITOR_VMM_MEM_H
#define MONITOR_VMM_MEM_H

#include <stddef.h>
#include <stdint.h>

struct mem_word {
	uint32_t w;
} __attribute__((packed, may_alias));
struct mem_long {
	uint64_t l;
} __attribute__((packed, may_alias));

/*
 * `rep` takes some 30 cycles to start: not for a word of a descriptor or of the stack, nor for the bytes of an instruction. The
 * two ends may overlap each other; `to` and `from` do not.
 */
static inline void mem_copy(void *to, const void *from, size_t size)
{
	char *t = to;
	const char *f = from;

	if (size >= 8 && size <= 16) {
		uint64_t last = ((const struct mem_long *)(f + size - 8))->l;

		((struct mem_long *)t)->l = ((const struct mem_long *)f)->l;
		((struct mem_long *)(t + size - 8))->l = last;
	} else if (size >= 4 && size < 8) {
		uint32_t last = ((const struct mem_word *)(f + size - 4))->w;

		((struct mem_word *)t)->w = ((const struct mem_word *)f)->w;
		((struct mem_word *)(t + size - 4))->w = last;
	} else {
		__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
	}
}

static inline void mem_set(void *to, unsigned char byte, size_t size)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(byte) : "memory");
}

#endif
