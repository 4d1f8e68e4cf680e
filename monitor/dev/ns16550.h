/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MONITOR_DEV_NS16550_H
#define MONITOR_DEV_NS16550_H

#include <stdatomic.h>

#include "monitor/dev/device.h"

#define NS16550_FIFO	 16
#define NS16550_RETRY_NS 1000000u /* how soon to look again while console_out is full */

struct ns16550_fifo {
	uint8_t data[NS16550_FIFO];
	uint8_t error[NS16550_FIFO]; /* LSR bits that arrived with the byte (BI) */
	uint8_t first, n;
};

struct ns16550 {
	struct irq_line irq;
	struct ring *in, *out;
	void (*notify)(void *ctx);
	void *ctx;
	_Atomic uint32_t breaks; /* BREAKs sent by the VMX and not received yet */

	struct ns16550_fifo rx, tx;
	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t overrun;   /* LSR.OE */
	uint8_t msr_delta; /* low half of MSR */
	bool thre_pending; /* the THRE interrupt has been neither read from IIR nor ended by a write */
};

extern const struct device_ops ns16550_ops;

/* The terminal sends BREAK. Callable from another process that maps the arena. */
static inline void ns16550_break(struct ns16550 *u)
{
	atomic_fetch_add(&u->breaks, 1);
}

#endif
