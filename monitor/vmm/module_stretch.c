// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 7.5: Where modules are looked for
 *
 * A guest's loader keeps a module in one stretch of mapped pages. So that is where its plan is looked for, and pointers
 * to its functions. But code without a plan may also stand among all of the guest's memory (an unpatched kernel does), and
 * to go through 32 MiB of that takes several milliseconds: done as often as its pages change, it took more time than the
 * guest. So going through a stretch may take one part in 32 of the time, and a little in advance; then the stretch rests.
 * Pages that are met meanwhile are put off, which costs time at worst: their code is translated.
 */
#include "monitor/vmm/clock.h"
#include "monitor/vmm/module_state.h"

#define REACH_PAGES 4096 /* each way */
/* Log2: */
#define SHARE 5	   /* of the time */
#define ADVANCE 30 /* TSC cycles whose share is there at once: all pages of a module may settle together */
#define LONGEST 32 /* TSC cycles that a stretch rests: the monitor may have been stopped while it searched */

void module_stretch(struct vm *vm, uint32_t linear, uint32_t *first, uint32_t *end)
{
	*first = *end = linear;
	for (unsigned n = 0; n < REACH_PAGES && module_frame(vm, *first - PAGE_SIZE); n++)
		*first -= PAGE_SIZE;
	for (unsigned n = 0; n < REACH_PAGES && module_frame(vm, *end); n++)
		*end += PAGE_SIZE;
}

/* What is known of the stretch that the page is in, or of none. */
static struct module_rest *rest_of(struct modules *m, enum module_search what, uint32_t linear)
{
	for (unsigned i = 0; i < MODULE_RESTS; i++)
		if (linear - m->rest[what][i].first < m->rest[what][i].end - m->rest[what][i].first)
			return &m->rest[what][i];
	return NULL;
}

bool module_rests(struct modules *m, enum module_search what, uint32_t linear)
{
	const struct module_rest *r = rest_of(m, what, linear);

	return r && clock_tsc() < r->until;
}

/* The one that has rested most. */
static struct module_rest *soonest(struct modules *m, enum module_search what)
{
	struct module_rest *r = m->rest[what];

	for (unsigned i = 1; i < MODULE_RESTS; i++)
		if (m->rest[what][i].until < r->until)
			r = &m->rest[what][i];
	return r;
}

void module_rest(struct modules *m, enum module_search what, uint32_t linear, uint32_t first, uint32_t end, uint64_t took)
{
	uint64_t from = clock_tsc() - (1ull << ADVANCE), time = took << SHARE;
	struct module_rest *r = rest_of(m, what, linear);

	if (!r) {
		r = soonest(m, what);
		r->until = 0;
	}
	if ((int64_t)(r->until - from) > 0)
		from = r->until;
	*r = (struct module_rest){first, end, from + (time < 1ull << LONGEST ? time : 1ull << LONGEST)};
}
