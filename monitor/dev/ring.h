/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A byte ring between one producer and one consumer in memory that both processes map: the console's two
 * directions between the worker (UART model) and the VMX (terminal).
 *
 * The VMX must take both indices for hostile: a guest that broke out of direct execution may write them. So
 * the size is a constant of the program and not a field, every access is masked, and no count exceeds
 * RING_SIZE whatever the indices say. The worst that a bad index does is garbage on the terminal.
 *
 * Indices run freely modulo 2^32. Each is written by one side only.
 */
#ifndef MONITOR_DEV_RING_H
#define MONITOR_DEV_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define RING_SIZE 16384u /* a power of two */
#define RING_HIGH (RING_SIZE / 4 * 3)

struct ring {
	_Atomic uint32_t head; /* next to be written; the producer's */
	uint8_t pad0[60];      /* one cache line a side */
	_Atomic uint32_t tail; /* next to be read; the consumer's */
	uint8_t pad1[60];
	uint8_t data[RING_SIZE];
};

enum ring_put {
	RING_FULL,   /* nothing stored */
	RING_STORED, /* the consumer is awake or has been told before */
	RING_WAKE,   /* stored, and the consumer must be told: it was empty, or has just become three quarters
			full */
};

static inline void ring_init(struct ring *r)
{
	atomic_store(&r->head, 0);
	atomic_store(&r->tail, 0);
}

static inline uint32_t ring_used(const struct ring *r)
{
	uint32_t used = atomic_load_explicit(&r->head, memory_order_acquire) -
			atomic_load_explicit(&r->tail, memory_order_acquire);

	return used > RING_SIZE ? RING_SIZE : used;
}

static inline uint32_t ring_free(const struct ring *r)
{
	return RING_SIZE - ring_used(r);
}

/*
 * The fence pairs with the one in ring_get_many(): either the producer sees that the consumer has caught up
 * and says RING_WAKE, or the consumer sees the new head before it sleeps.
 */
static inline enum ring_put ring_put(struct ring *r, uint8_t byte)
{
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed), used;

	if (head - atomic_load_explicit(&r->tail, memory_order_acquire) >= RING_SIZE)
		return RING_FULL;
	r->data[head % RING_SIZE] = byte;
	atomic_store_explicit(&r->head, head + 1, memory_order_release);
	atomic_thread_fence(memory_order_seq_cst);
	used = head - atomic_load_explicit(&r->tail, memory_order_relaxed);
	return used == 0 || used == RING_HIGH ? RING_WAKE : RING_STORED;
}

/* Take up to cap bytes. The consumer may sleep until told only after this returned 0. */
static inline uint32_t ring_get_many(struct ring *r, uint8_t *bytes, uint32_t cap)
{
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed), used, i;

	atomic_thread_fence(memory_order_seq_cst);
	used = atomic_load_explicit(&r->head, memory_order_acquire) - tail;
	if (used > RING_SIZE)
		used = RING_SIZE;
	if (cap > used)
		cap = used;
	for (i = 0; i < cap; i++)
		bytes[i] = r->data[(tail + i) % RING_SIZE];
	atomic_store_explicit(&r->tail, tail + cap, memory_order_release);
	return cap;
}

static inline bool ring_get(struct ring *r, uint8_t *byte)
{
	return ring_get_many(r, byte, 1) == 1;
}

/* Store what fits of n bytes; returns how many. The caller tells the consumer itself. */
static inline uint32_t ring_put_many(struct ring *r, const uint8_t *bytes, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		if (ring_put(r, bytes[i]) == RING_FULL)
			break;
	return i;
}

#endif
