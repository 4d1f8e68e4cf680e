// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Copying and filling for code that runs while the guest's vector state is live: libc's may use SSE, `rep` uses
 * general registers only. DF is clear in the monitor (DESIGN: hygiene).
 */
#ifndef MONITOR_VMM_MEM_H
#define MONITOR_VMM_MEM_H

#include <stddef.h>
#include <stdint.h>

/* `rep` takes some 30 cycles to start: not for a word of a descriptor or of the stack. */
static inline void mem_copy(void *to, const void *from, size_t size)
{
	struct word {
		uint32_t w;
	} __attribute__((packed, may_alias));

	if (size == 4 || size == 8) {
		*(struct word *)to = *(const struct word *)from;
		if (size == 8)
			((struct word *)to)[1] = ((const struct word *)from)[1];
		return;
	}
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

static inline void mem_set(void *to, unsigned char byte, size_t size)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(byte) : "memory");
}

#endif
