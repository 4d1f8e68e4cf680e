/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MONITOR_DEV_I8259_H
#define MONITOR_DEV_I8259_H

#include "monitor/dev/device.h"

struct i8259 {
	uint8_t lines;	 /* levels of IR0 to IR7 */
	uint8_t latched; /* edges seen and not acknowledged */
	uint8_t isr, imr, elcr;
	uint8_t icw1, base /* ICW2 */, icw4;
	uint8_t step;  /* the ICW expected next at A0 = 1, 0 when initialised */
	uint8_t first; /* the IR of highest priority */
	bool special_mask, rotate_aeoi, poll, read_isr;
};

/* The two of a PC: [0] master at 0x20, [1] slave at 0xa0 on the master's IR2; edge/level at 0x4d0, 0x4d1. */
struct i8259_pair {
	struct i8259 chip[2];
};

extern const struct device_ops i8259_ops;

void i8259_set(void *pair, unsigned irq, bool level); /* irq 0 to 15, not 2 */
unsigned i8259_state(const void *pair, unsigned irq); /* IRQ_MASKED, IRQ_REQUESTED */
bool i8259_intr(const struct i8259_pair *pair);	      /* the master's INT pin */
int i8259_ack(struct i8259_pair *pair);		      /* the INTA cycle: a vector, always */

#endif
