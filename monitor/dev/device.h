/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a device model is made of, and all that it may use.
 *
 * Models run in the worker while the guest's vector registers are live: general registers only, no libc, no
 * file-scope state. A chip is a plain struct inside struct machine, in the arena; time, irq line, console and
 * requests come in through struct wiring. Time is guest time in nanoseconds, never runs backwards, and starts
 * near 0 (i8254.c relies on conversions to ticks that are exact below 2^63).
 */
#ifndef MONITOR_DEV_DEVICE_H
#define MONITOR_DEV_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "monitor/dev/config.h"
#include "monitor/dev/state.h"

#define NO_DEADLINE UINT64_MAX

/* An input of the interrupt controller. */
enum { IRQ_MASKED = 1, IRQ_REQUESTED = 2 };
struct irq_line {
	void (*set)(void *pic, unsigned irq, bool level);
	unsigned (*state)(const void *pic, unsigned irq); /* mask of IRQ_MASKED, IRQ_REQUESTED */
	void *pic;
	unsigned irq;
};

static inline void irq_set(const struct irq_line *line, bool level)
{
	line->set(line->pic, line->irq, level);
}

/* What the guest asks of the machine as a whole. The first request stands until it is served. */
enum machine_request { MACHINE_RUN, MACHINE_RESET, MACHINE_POWEROFF, MACHINE_DEBUG_EXIT };
struct request {
	uint32_t kind;	/* enum machine_request */
	uint32_t value; /* of MACHINE_DEBUG_EXIT: what the guest wrote to port 0xf4 */
};

static inline void request_raise(struct request *r, enum machine_request kind, uint32_t value)
{
	if (r->kind == MACHINE_RUN)
		*r = (struct request){.kind = kind, .value = value};
}

struct wiring {
	const struct machine_config *config;
	struct irq_line irq;
	struct request *request;
};

/* Any member but name, new, reset and state may be NULL. Byte devices always see size 1. */
struct device_ops {
	const char *name;
	void (*new)(void *chip, const struct wiring *wiring); /* keep the wiring; reset follows */
	void (*reset)(void *chip, uint64_t now);
	void (*state)(void *chip, struct state *s); /* save and restore in one, see state.h */
	uint32_t (*read)(void *chip, uint16_t port, unsigned size, uint64_t now);
	void (*write)(void *chip, uint16_t port, unsigned size, uint32_t value, uint64_t now);
	void (*poll)(void *chip, uint64_t now);		      /* catch up with time and rings */
	uint64_t (*deadline)(const void *chip, uint64_t now); /* when poll is due next, NO_DEADLINE never */
};

#endif
