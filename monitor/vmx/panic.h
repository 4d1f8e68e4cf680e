// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A guest that panics tells nobody but its console: it reboots, or spins for ever. For a run to end with a status of
 * its own then, the console's output is searched for the line that Linux prints (kernel/panic.c), and the vCPU is watched.
 */
#ifndef MONITOR_VMX_PANIC_H
#define MONITOR_VMX_PANIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PANIC_TEXT "Kernel panic - not syncing"
#define PANIC_LOOKS 10
#define PANIC_LOOK_MS 100

struct panic_watch {
	uint32_t matched; /* bytes of PANIC_TEXT seen so far */
	bool seen;
};

/* Look at n bytes that the guest printed. */
void panic_feed(struct panic_watch *w, const uint8_t *bytes, size_t n);

#endif
