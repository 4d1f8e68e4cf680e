// SPDX-License-Identifier: GPL-3.0-or-later
#include "monitor/vmx/calibrate.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "monitor/vmm/clock.h"

/* Reading both clocks is off by some 50 ns: 5 ppm over this span. The set-up usually takes longer anyway. */
#define SPAN_NS 20000000ull
#define NS_PER_S 1000000000ull

static uint64_t host_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* --- what a mapping costs ---------------------------------------------------------------------------------- */

#define ROUNDS 15
#define FAULTS 3 /* the one that asks for the page, with its signal, counts for two; then that of the first touch */
#define MAP_NS 30000   /* where it cannot be measured */
#define UNMAP_NS 50000

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t median(uint64_t *ns)
{
	qsort(ns, ROUNDS, sizeof(*ns), by_size);
	return ns[ROUNDS / 2] < UINT32_MAX ? (uint32_t)ns[ROUNDS / 2] : UINT32_MAX;
}

/* One page of guest RAM mapped, touched, and taken away again. */
static bool round_trip(void *at, int fd, uint64_t *map, uint64_t *unmap)
{
	uint64_t begin = host_ns(CLOCK_MONOTONIC), mapped, touched;

	if (mmap(at, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		return false;
	mapped = host_ns(CLOCK_MONOTONIC);
	(void)*(volatile uint8_t *)at;
	touched = host_ns(CLOCK_MONOTONIC);
	if (mmap(at, PAGE_SIZE, PROT_NONE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		return false;
	*map = mapped - begin + FAULTS * (touched - mapped);
	*unmap = host_ns(CLOCK_MONOTONIC) - touched;
	return true;
}

void mapping_calibrate(struct vm_config *cfg)
{
	void *at = mmap(NULL, PAGE_SIZE, PROT_NONE, MAP_SHARED, cfg->ram_fd, 0);
	uint64_t map[ROUNDS], unmap[ROUNDS];
	bool measured = at != MAP_FAILED;

	for (unsigned i = 0; measured && i < ROUNDS; i++)
		measured = round_trip(at, cfg->ram_fd, &map[i], &unmap[i]);
	cfg->map_ns = measured ? median(map) : MAP_NS;
	cfg->unmap_ns = measured ? median(unmap) : UNMAP_NS;
	if (at != MAP_FAILED)
		munmap(at, PAGE_SIZE);
}

/* --- the clock --------------------------------------------------------------------------------------------- */

/* The tightest of a few: one that an interrupt or another guest of our host's host hit is far off. */
struct clock_sample clock_sample(void)
{
	struct clock_sample best = {0, 0};
	uint64_t width = UINT64_MAX;

	for (int i = 0; i < 16; i++) {
		uint64_t before = clock_tsc(), ns = host_ns(CLOCK_MONOTONIC), after = clock_tsc();

		if (after - before < width) {
			width = after - before;
			best = (struct clock_sample){before + width / 2, ns};
		}
	}
	return best;
}

void clock_scale(uint64_t hz, uint32_t *mul, int32_t *shift)
{
	uint64_t m;

	/* ns = (delta << shift) * mul / 2^32; keep mul in [2^31, 2^32), where it is most precise. */
	*shift = 0;
	while ((m = (uint64_t)(((unsigned __int128)NS_PER_S << (32 - *shift)) / hz)) > UINT32_MAX)
		++*shift;
	while (m < 1u << 31) {
		--*shift;
		m = (uint64_t)(((unsigned __int128)NS_PER_S << (32 - *shift)) / hz);
	}
	*mul = m;
}

void clock_calibrate(struct vm_config *cfg, struct clock_sample first)
{
	uint64_t now = host_ns(CLOCK_MONOTONIC);
	struct clock_sample last;

	if (now - first.ns < SPAN_NS) {
		struct timespec rest = {0, (long)(SPAN_NS - (now - first.ns))};

		nanosleep(&rest, NULL);
	}
	last = clock_sample();
	cfg->tsc_hz = (uint64_t)((unsigned __int128)(last.tsc - first.tsc) * NS_PER_S / (last.ns - first.ns));
	clock_scale(cfg->tsc_hz, &cfg->tsc_to_ns_mul, &cfg->tsc_shift);
	cfg->tsc_start = clock_tsc();
	cfg->epoch_ns = host_ns(CLOCK_REALTIME);
}
