/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MONITOR_DEV_I8042_H
#define MONITOR_DEV_I8042_H

#include "monitor/dev/device.h"

/* The keyboard controller at 0x60 and 0x64, with nothing plugged in. */
struct i8042 {
	struct irq_line irq;
	struct request *request;
	uint8_t ram[32]; /* [0] is the command byte */
	uint8_t command; /* waits for its data byte at 0x60; 0 for none */
	uint8_t status;
	uint8_t data;	     /* the output buffer */
	uint8_t output_port; /* bit 0: not reset, bit 1: A20 */
};

extern const struct device_ops i8042_ops;

#endif
