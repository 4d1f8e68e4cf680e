/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The PC around the vCPU: all chips, their ports and their interrupt lines. It lives in the arena and belongs
 * to whoever holds the baton; only the rings and ns16550_break() may be used from elsewhere. No libc, no
 * vector registers, no file-scope state. `now` is guest time in ns; a value smaller than an earlier one
 * counts as that.
 */
#ifndef MONITOR_DEV_MACHINE_H
#define MONITOR_DEV_MACHINE_H

#include "monitor/dev/i8042.h"
#include "monitor/dev/i8254.h"
#include "monitor/dev/i8259.h"
#include "monitor/dev/mc146818.h"
#include "monitor/dev/ns16550.h"
#include "monitor/dev/power.h"

struct machine {
	struct machine_config config;
	uint64_t now; /* latest time seen */
	struct request request;
	struct i8259_pair pic;
	struct i8254 pit;
	struct ns16550 com1;
	struct mc146818 rtc;
	struct i8042 kbc;
	struct power power;
};

/* Build and reset. -EEXIST if two devices claim a port or a line: then the table in machine.c is wrong. */
int machine_new(struct machine *m, const struct machine_config *config);
/* The reset button: all chips, a pending request is served. */
void machine_reset(struct machine *m, uint64_t now);

/* One IN or OUT of 1, 2 or 4 bytes. Nobody there: all ones, ignored. Check machine_request() after OUT. */
uint32_t machine_in(struct machine *m, uint16_t port, unsigned size, uint64_t now);
void machine_out(struct machine *m, uint16_t port, unsigned size, uint32_t value, uint64_t now);

/* Let timers and rings act. Due at machine_deadline(), and after the other side filled or drained a ring. */
void machine_poll(struct machine *m, uint64_t now);
/* When a poll would next change anything, >= now; UINT64_MAX never. Changes with every in, out, poll and ack.
 */
uint64_t machine_deadline(const struct machine *m, uint64_t now);

bool machine_intr(const struct machine *m); /* the INTR pin */
int machine_ack(struct machine *m);	    /* INTA: the vector to deliver; spurious ones included */

enum machine_request machine_request(const struct machine *m);
uint32_t machine_exit_value(const struct machine *m); /* of MACHINE_DEBUG_EXIT */

/* Bytes written, or -ENOSPC. Rings are not part of it. */
long machine_save(struct machine *m, void *buf, size_t cap);
/*
 * Into a machine from machine_new(); guest time must go on from where it was saved. -EINVAL for what
 * machine_save() cannot have written; m is reset then.
 */
int machine_restore(struct machine *m, const void *buf, size_t size);

/* A row of the table in machine.c. */
struct device_ports {
	uint16_t base, count; /* count 0: unused */
	bool wide;	      /* takes 2- and 4-byte accesses whole; else they are split into bytes */
};
struct device_row {
	const struct device_ops *ops;
	size_t offset; /* in struct machine */
	int irq;       /* NO_IRQ for none */
	struct device_ports ports[4];
};
#define NO_IRQ -1
/* 0, or -EEXIST for rows that share a port or line, or claim ports beyond 0xffff. */
int machine_check(const struct device_row *rows, unsigned n);

#endif
