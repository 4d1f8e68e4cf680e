// SPDX-License-Identifier: GPL-3.0-or-later
/* Runs one experiment in a forked child, so that no instruction can kill or change the caller. */
#ifndef MONITOR_PROBE_CHILD_H
#define MONITOR_PROBE_CHILD_H

#include "monitor/probe/experiment.h"

/* Run e with arg (ignored if it has no args). r is filled whatever happens; a child that hangs is killed after
 * PROBE_TIMEOUT_MS. */
#define PROBE_TIMEOUT_MS 2000
void child_run(const struct experiment *e, uint32_t arg, struct probe_result *r);

/* TSC ticks of a microsecond by the host's monotonic clock, measured once; 0 if RDTSC cannot be used. */
double child_ticks_per_us(void);

#endif
