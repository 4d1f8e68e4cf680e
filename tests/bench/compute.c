// SPDX-License-Identifier: GPL-3.0-or-later
/* Loops that never enter the kernel: they show what running directly is worth, and cost nothing else. */
#include "tests/bench/bench.h"

#include <stdlib.h>
#include <string.h>
#include <xmmintrin.h>

enum { SIEVE = 65536, SORT = 4096, EDGE = 32, SSE_EDGE = 64, COPY = 1 << 20, HASHED = 16384 };

static uint8_t flags[SIEVE], message[HASHED];
static int unsorted[SORT], sorted[SORT];
static double xa[EDGE][EDGE], xb[EDGE][EDGE], xc[EDGE][EDGE];
static float sa[SSE_EDGE][SSE_EDGE] __attribute__((aligned(16))),
    sb[SSE_EDGE][SSE_EDGE] __attribute__((aligned(16))), sc[SSE_EDGE][SSE_EDGE] __attribute__((aligned(16)));
static uint8_t *copy_from, *copy_to;

static void sieve(unsigned n)
{
	while (n--) {
		unsigned i, j, primes = 0;

		memset(flags, 1, sizeof flags);
		for (i = 2; i < SIEVE; i++) {
			if (!flags[i])
				continue;
			primes++;
			for (j = 2 * i; j < SIEVE; j += i)
				flags[j] = 0;
		}
		bench_sink = primes;
	}
}

static uint32_t rotr(uint32_t x, unsigned by)
{
	return x >> by | x << (32 - by);
}

/* FIPS 180-4, 6.2.2; the constants are the cube roots of the first primes, taken by integer search. */
static uint32_t sha_k[64];

static uint32_t root_fraction(uint32_t prime)
{
	/* the largest x with (x / 2^32)^3 <= prime; the low word of x is the fraction */
	uint64_t low = 0, high = 1ull << 36, mid;

	while (high - low > 1) {
		mid = (low + high) / 2;
		if ((long double)mid * mid * mid <= (long double)prime * 0x1p96L)
			low = mid;
		else
			high = mid;
	}
	return (uint32_t)low;
}

static void sha_setup(void)
{
	unsigned p, d, k = 0;

	for (p = 2; k < 64; p++) {
		for (d = 2; d * d <= p && p % d; d++)
			;
		if (d * d > p)
			sha_k[k++] = root_fraction(p);
	}
	memset(message, 0x5a, sizeof message);
}

static void sha_block(uint32_t h[8], const uint8_t *p)
{
	/* aligned, so that the size of the environment does not tell: the stack begins below it */
	uint32_t w[64] __attribute__((aligned(64))), v[8] __attribute__((aligned(64))), t1, t2;
	unsigned i;

	for (i = 0; i < 16; i++)
		w[i] = (uint32_t)p[4 * i] << 24 | p[4 * i + 1] << 16 | p[4 * i + 2] << 8 | p[4 * i + 3];
	for (; i < 64; i++)
		w[i] = w[i - 16] + (rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
		       (rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10);
	memcpy(v, h, sizeof v);
	for (i = 0; i < 64; i++) {
		t1 = v[7] + (rotr(v[4], 6) ^ rotr(v[4], 11) ^ rotr(v[4], 25)) +
		     ((v[4] & v[5]) ^ (~v[4] & v[6])) + sha_k[i] + w[i];
		t2 = (rotr(v[0], 2) ^ rotr(v[0], 13) ^ rotr(v[0], 22)) +
		     ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
		v[7] = v[6];
		v[6] = v[5];
		v[5] = v[4];
		v[4] = v[3] + t1;
		v[3] = v[2];
		v[2] = v[1];
		v[1] = v[0];
		v[0] = t1 + t2;
	}
	for (i = 0; i < 8; i++)
		h[i] += v[i];
}

static void sha(unsigned n)
{
	while (n--) {
		uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
				 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
		unsigned i;

		for (i = 0; i < HASHED; i += 64)
			sha_block(h, message + i);
		bench_sink = h[0];
	}
}

static __attribute__((noinline)) unsigned fib(unsigned n)
{
	__asm__ volatile("" : "+r"(n)); /* no unrolling of the recursion: calls are what is measured */
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static void recursion(unsigned n)
{
	while (n--)
		bench_sink = fib(20);
}

static int compare(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

static void sort_setup(void)
{
	uint32_t state = 1;
	unsigned i;

	for (i = 0; i < SORT; i++)
		unsorted[i] = (int)bench_random(&state);
}

static void sort(unsigned n)
{
	while (n--) {
		memcpy(sorted, unsorted, sizeof sorted);
		qsort(sorted, SORT, sizeof sorted[0], compare);
		bench_sink = (uint32_t)sorted[0];
	}
}

static void x87_setup(void)
{
	unsigned i;

	for (i = 0; i < EDGE * EDGE; i++)
		xa[i / EDGE][i % EDGE] = xb[i / EDGE][i % EDGE] = 1.0 / (i + 1);
}

static void x87(unsigned n)
{
	while (n--) {
		unsigned i, j, k;

		for (i = 0; i < EDGE; i++)
			for (j = 0; j < EDGE; j++) {
				double sum = 0;

				for (k = 0; k < EDGE; k++)
					sum += xa[i][k] * xb[k][j];
				xc[i][j] = sum;
			}
		bench_sink = (uint32_t)xc[EDGE - 1][EDGE - 1];
	}
}

static void sse_setup(void)
{
	unsigned i;

	for (i = 0; i < SSE_EDGE * SSE_EDGE; i++)
		sa[i / SSE_EDGE][i % SSE_EDGE] = sb[i / SSE_EDGE][i % SSE_EDGE] = 1.0f / (float)(i + 1);
}

static __attribute__((target("sse"))) void sse(unsigned n)
{
	while (n--) {
		unsigned i, j, k;

		for (i = 0; i < SSE_EDGE; i++)
			for (j = 0; j < SSE_EDGE; j += 4) {
				__m128 sum = _mm_setzero_ps();

				for (k = 0; k < SSE_EDGE; k++)
					sum = _mm_add_ps(
					    sum, _mm_mul_ps(_mm_set1_ps(sa[i][k]), _mm_load_ps(&sb[k][j])));
				_mm_store_ps(&sc[i][j], sum);
			}
		bench_sink = (uint32_t)sc[SSE_EDGE - 1][SSE_EDGE - 1];
	}
}

static void copy_setup(void)
{
	copy_from = malloc(COPY);
	copy_to = malloc(COPY);
	if (!copy_from || !copy_to)
		die("malloc");
	memset(copy_from, 1, COPY);
	memset(copy_to, 2, COPY);
}

static void copy(unsigned n)
{
	while (n--) {
		memcpy(copy_to, copy_from, COPY);
		__asm__ volatile("" ::: "memory");
	}
}

static void copy_teardown(void)
{
	free(copy_from);
	free(copy_to);
}

const struct row compute_rows[] = {
    {.name = "sieve", .run = sieve},
    {.name = "sha256", .setup = sha_setup, .run = sha},
    {.name = "recursion", .run = recursion},
    {.name = "sort", .setup = sort_setup, .run = sort},
    {.name = "matrix-x87", .setup = x87_setup, .run = x87},
    {.name = "matrix-sse", .setup = sse_setup, .run = sse},
    {.name = "memcpy", .setup = copy_setup, .run = copy, .teardown = copy_teardown},
    {.name = NULL},
};
