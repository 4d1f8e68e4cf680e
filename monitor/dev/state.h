/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Saving and restoring a chip. One function a chip names its fields once and serves both directions, so that
 * the two cannot disagree: state_u8(s, &chip->imr) appends the field when saving and overwrites it when
 * restoring. Little-endian, no padding. A chip checks what it has restored and calls state_refuse() on values
 * that it could not have saved; nothing else may be trusted of a snapshot.
 */
#ifndef MONITOR_DEV_STATE_H
#define MONITOR_DEV_STATE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct state {
	uint8_t *buf;
	size_t cap, pos;
	bool restoring;
	int err; /* first -errno: -ENOSPC saving, -EINVAL restoring */
};

static inline void state_refuse(struct state *s)
{
	if (!s->err)
		s->err = -EINVAL;
}

static inline uint64_t state_bytes(struct state *s, uint64_t value, unsigned n)
{
	uint64_t out = 0;
	unsigned i;

	if (s->err)
		return 0;
	if (s->cap - s->pos < n) {
		s->err = s->restoring ? -EINVAL : -ENOSPC;
		return 0;
	}
	for (i = 0; i < n; i++) {
		if (!s->restoring)
			s->buf[s->pos] = value >> (8 * i);
		out |= (uint64_t)s->buf[s->pos++] << (8 * i);
	}
	return out;
}

static inline void state_u8(struct state *s, uint8_t *v)
{
	uint8_t out = state_bytes(s, *v, 1);

	if (s->restoring)
		*v = out;
}

static inline void state_bool(struct state *s, bool *v)
{
	uint8_t out = state_bytes(s, *v, 1);

	if (s->restoring)
		*v = out & 1;
	if (out > 1)
		state_refuse(s);
}

static inline void state_u16(struct state *s, uint16_t *v)
{
	uint16_t out = state_bytes(s, *v, 2);

	if (s->restoring)
		*v = out;
}

static inline void state_u32(struct state *s, uint32_t *v)
{
	uint32_t out = state_bytes(s, *v, 4);

	if (s->restoring)
		*v = out;
}

static inline void state_u64(struct state *s, uint64_t *v)
{
	uint64_t out = state_bytes(s, *v, 8);

	if (s->restoring)
		*v = out;
}

#endif
