// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Predicates on descriptors, for the code that checks them (SDM 3A 3.4.5, 5.8.3, 7.2.2). `hi` is the high word
 * of a descriptor or a struct segment's attr: the bits stand at the same places.
 */
#ifndef MONITOR_VMM_DESCRIPTOR_H
#define MONITOR_VMM_DESCRIPTOR_H

#include "monitor/vmm/segment.h"

/* S and type, SDM 3A table 3-2: system types have S = 0. */
enum descriptor_type {
	DT_TSS16 = 1, DT_LDT = 2, DT_TSS16_BUSY = 3, DT_CALL16 = 4, DT_TASK = 5, DT_INT16 = 6, DT_TRAP16 = 7,
	DT_TSS32 = 9, DT_TSS32_BUSY = 11, DT_CALL32 = 12, DT_INT32 = 14, DT_TRAP32 = 15,
	DT_S = 16,
};
#define DT_BUSY_BIT BIT(9) /* of a TSS descriptor's high word */
#define DT_ACCESSED BIT(8) /* of a code or data descriptor's high word */

static inline unsigned desc_type(uint32_t hi)
{
	return hi >> 8 & 0x1f;
}
static inline unsigned desc_dpl(uint32_t hi)
{
	return hi >> 13 & 3;
}
static inline bool desc_is_code(uint32_t hi)
{
	return (hi & (ATTR_S | BIT(11))) == (ATTR_S | BIT(11));
}
static inline bool desc_is_data(uint32_t hi)
{
	return (hi & (ATTR_S | BIT(11))) == ATTR_S;
}
static inline bool desc_conforming(uint32_t hi)
{
	return desc_is_code(hi) && (hi & BIT(10));
}
static inline bool desc_expand_down(uint32_t hi)
{
	return desc_is_data(hi) && (hi & BIT(10));
}
static inline bool desc_writable(uint32_t hi)
{
	return desc_is_data(hi) && (hi & BIT(9));
}
static inline bool desc_readable(uint32_t hi)
{
	return desc_is_data(hi) || (desc_is_code(hi) && (hi & BIT(9)));
}
static inline bool desc_is_tss(uint32_t hi) /* available or busy, 16 or 32 bits */
{
	return (hi & (ATTR_S | BIT(10) | BIT(8))) == BIT(8);
}

static inline bool sel_null(uint16_t sel)
{
	return !(sel & 0xfffc);
}
static inline unsigned sel_rpl(uint16_t sel)
{
	return sel & 3;
}
static inline bool sel_local(uint16_t sel)
{
	return sel & 4;
}
/* The error code that names a selector, SDM 3A 6.13; ext is 0 or 1. */
static inline uint32_t sel_error(uint16_t sel, unsigned ext)
{
	return (sel & 0xfffcu) | ext;
}

#endif
