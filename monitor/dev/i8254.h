/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MONITOR_DEV_I8254_H
#define MONITOR_DEV_I8254_H

#include "monitor/dev/device.h"

#define I8254_HZ       1193182u
#define I8254_OWED_MAX 1000u /* periodic interrupts kept for a guest that is late */

struct i8254_channel {
	uint64_t seen;	 /* tick up to which the channel has been advanced */
	uint64_t start;	 /* tick at which the counting element was loaded; may lie one ahead */
	uint64_t held;	 /* ticks counted when the gate stopped it */
	uint32_t count;	 /* N in the counting element, 1 to 65536; 0: nothing counts since the control word */
	uint32_t loaded; /* N in the count register; taken over where the mode says */
	uint8_t mode, access;
	bool bcd, gate, stopped;
	bool write_msb, read_msb; /* the second half of a two-byte access comes next */
	bool latched, status_latched;
	uint8_t low; /* first byte of a two-byte write */
	uint16_t latch;
	uint8_t status;
};

/* The interval timer at 0x40 to 0x43 and, with it, system control port B at 0x61. */
struct i8254 {
	struct irq_line irq;
	struct i8254_channel channel[3];
	uint32_t owed; /* edges of channel 0 not delivered yet */
	uint8_t port_b;
};

extern const struct device_ops i8254_ops;

/* Whole clock ticks in ns nanoseconds, and the first nanosecond at which `tick` ticks have passed. Exact. */
uint64_t i8254_ticks(uint64_t ns);
uint64_t i8254_tick_ns(uint64_t tick);

#endif
