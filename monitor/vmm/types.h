// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Address kinds. One-field structs, so that mixing them does not compile.
 *   gva  guest linear ("virtual") address, 32 bits; in a worker it is also the host address (with the long engine: that
 *        of user code; the supervisor's is in the window)
 *   gpa  guest physical address; RAM occupies [0, ram_size)
 */
#ifndef MONITOR_VMM_TYPES_H
#define MONITOR_VMM_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gva {
	uint32_t a;
};
struct gpa {
	uint64_t a;
};

#define PAGE_SIZE 4096u
#define PAGE_SHIFT 12
#define PAGE_MASK (~(PAGE_SIZE - 1))

#define BIT(n) (1u << (n))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/*
 * The long engine's part of a worker (the host engine without 32-bit code, see enum engine): the hole, at its guest
 * address in the 4 GiB from LONG_BASE, and the guest's linear space once more as the supervisor sees it. Both are
 * multiples of 4 GiB: the low half of an address there is the guest's.
 */
#define LONG_BASE 0x300000000000ull
#define LONG_WINDOW 0x310000000000ull
#define LONG_NOWHERE (1ull << 63) /* added to one: not canonical, so only a fault can come of it */

static inline struct gva gva(uint32_t a)
{
	return (struct gva){a};
}

static inline struct gpa gpa(uint64_t a)
{
	return (struct gpa){a};
}

#endif
