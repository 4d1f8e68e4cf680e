// SPDX-License-Identifier: GPL-3.0-or-later
/* Runs one experiment in a forked child, so that no instruction can kill or change the caller. */
#ifndef MONITOR_PROBE_CHILD_H
#define MONITOR_PROBE_CHILD_H

#include "monitor/probe/experiment.h"

/*
 * Run e with arg (ignored if it has no args), an experiment of compatibility mode by the code segment cs32 (mode.h).
 * r is filled whatever happens; a child that hangs is killed after PROBE_TIMEOUT_MS.
 */
#define PROBE_TIMEOUT_MS 2000
void child_run(const struct experiment *e, uint32_t arg, uint16_t cs32, struct probe_result *r);

/* Install a flat 32-bit code segment under this selector in the process's LDT; 0 or errno. child_run() does so itself
 * when cs32 is this one. */
#define CHILD_LDT_CODE32 0xf /* entry 1, RPL 3 */
int child_make_code32(void);

/* TSC ticks of a microsecond by the host's monotonic clock, measured once; 0 if RDTSC cannot be used. */
double child_ticks_per_us(void);

#endif
