// SPDX-License-Identifier: GPL-3.0-or-later
/* What a run leaves behind: --stats for people, --audit for `paravane audit --runtime`. Workers are dead by then. */
#ifndef MONITOR_VMX_STATS_H
#define MONITOR_VMX_STATS_H

#include <stdio.h>

#include "monitor/probe/host.h"
#include "monitor/vmm/vm.h"

/* silent: of a run whose user code was executed directly, else empty. */
void stats_print(const struct vm *vm, const struct host_silent *silent, uint64_t wall_ns, FILE *out);

/* Write the audit file. sha256 is that of the source image, all zero without a manifest. */
int stats_write_audit(const struct vm *vm, const struct host_silent *silent, const uint8_t sha256[32],
		      const char *path, struct diag *d);

#endif
