// SPDX-License-Identifier: GPL-3.0-or-later
/* The VMX: the process that stands between the guest's workers and the host (DESIGN section 8). */
#ifndef MONITOR_VMX_VMX_H
#define MONITOR_VMX_VMX_H

#include "monitor/vmx/options.h"

/*
 * Build the VM, run it to its end and report. Returns an enum exit_status; d holds why the run failed, or the
 * one line about how it ended unless the guest powered off.
 */
int vmx_run(const struct run_options *o, struct diag *d);

#endif
