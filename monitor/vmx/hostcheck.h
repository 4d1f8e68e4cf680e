// SPDX-License-Identifier: GPL-3.0-or-later
/* What Paravane needs of the host and what it would like to know about it. */
#ifndef MONITOR_VMX_HOSTCHECK_H
#define MONITOR_VMX_HOSTCHECK_H

#include "monitor/vmm/vm.h"

enum host_verdict { HOST_OK, HOST_NOTE, HOST_MISSING };

struct host_finding {
	const char *name;
	enum host_verdict verdict; /* HOST_NOTE: works without, with a difference that text states */
	char text[160];
};
#define HOST_FINDINGS_MAX 16

/* Look at everything; returns how many findings were filled in, in a fixed order. Leaves the process as it was. */
unsigned host_findings(struct host_finding findings[HOST_FINDINGS_MAX]);
/* The first missing thing becomes -ENOTSUP with its message; fills cfg's findings about CPU and host. */
int host_check(struct vm_config *cfg, struct diag *d);

#endif
