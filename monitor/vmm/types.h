// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Address kinds. One-field structs, so that mixing them does not compile.
 *   gva  guest linear ("virtual") address, 32 bits; in a worker it is also the host address
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

static inline struct gva gva(uint32_t a)
{
	return (struct gva){a};
}

static inline struct gpa gpa(uint64_t a)
{
	return (struct gpa){a};
}

#endif
