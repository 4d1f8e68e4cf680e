// SPDX-License-Identifier: GPL-3.0-or-later
/* The engine and mode of a run, from what was asked for and what the host has. */
#ifndef MONITOR_VMX_HOSTCHECK_H
#define MONITOR_VMX_HOSTCHECK_H

#include "monitor/vmm/vm.h"
#include "monitor/vmx/options.h"

/*
 * Choose cfg's engine and mode from what was asked for and what there is, and fill in its findings about CPU and host.
 * -ENOTSUP with the reason when the host lacks something needed; -EINVAL when the two do not go together.
 */
int host_check(struct vm_config *cfg, const struct run_options *o, struct diag *d);

#endif
