/* SPDX-License-Identifier: GPL-3.0-or-later */
/* For tests of device models: one chip alone, and a line that remembers what was done to it. */
#ifndef TESTS_UNIT_CHIP_H
#define TESTS_UNIT_CHIP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "monitor/dev/device.h"
#include "monitor/dev/ring.h"

struct line {
	bool level;
	bool masked;
	bool requested; /* latched as an edge; the test acknowledges by clearing it */
	unsigned rises;
};

static inline void line_set(void *ctx, unsigned irq, bool level)
{
	struct line *l = ctx;

	(void)irq;
	if (level && !l->level) {
		l->rises++;
		l->requested = true;
	}
	if (!level)
		l->requested = false;
	l->level = level;
}

static inline unsigned line_state(const void *ctx, unsigned irq)
{
	const struct line *l = ctx;

	(void)irq;
	return (l->masked ? IRQ_MASKED : 0) | (l->requested ? IRQ_REQUESTED : 0);
}

static inline struct irq_line line_wire(struct line *l, unsigned irq)
{
	return (struct irq_line){.set = line_set, .state = line_state, .pic = l, .irq = irq};
}

/* Save one chip and restore it into another; returns the bytes it took. */
static inline size_t chip_copy(const struct device_ops *ops, void *to, void *from)
{
	static uint8_t buf[4096];
	struct state out = {.buf = buf, .cap = sizeof(buf)}, in;

	ops->state(from, &out);
	assert_int_equal(out.err, 0);
	in = (struct state){.buf = buf, .cap = out.pos, .restoring = true};
	ops->state(to, &in);
	assert_int_equal(in.err, 0);
	assert_int_equal(in.pos, out.pos);
	/* one byte less must be noticed */
	in = (struct state){.buf = buf, .cap = out.pos - 1, .restoring = true};
	ops->state(to, &in);
	assert_int_equal(in.err, -EINVAL);
	in = (struct state){.buf = buf, .cap = out.pos, .restoring = true};
	ops->state(to, &in);
	return out.pos;
}

#endif
