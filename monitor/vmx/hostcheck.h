// SPDX-License-Identifier: GPL-3.0-or-later
/* What Paravane needs of the host and what it would like to know about it. */
#ifndef MONITOR_VMX_HOSTCHECK_H
#define MONITOR_VMX_HOSTCHECK_H

#include "monitor/vmm/vm.h"

/* NOTE: works without, with a difference that the text states. NOT_DIRECT: needed to execute the guest's 32-bit code
 * directly; without it everything is translated. MISSING: nothing runs. */
enum host_verdict { HOST_OK, HOST_NOTE, HOST_NOT_DIRECT, HOST_MISSING };

struct host_finding {
	const char *name;
	enum host_verdict verdict;
	char text[160];
};
#define HOST_FINDINGS_MAX 16

/* Look at everything; returns how many findings were filled in, in a fixed order. Leaves the process as it was. */
unsigned host_findings(struct host_finding findings[HOST_FINDINGS_MAX]);
/*
 * Choose cfg's engine and mode from what was asked for and what there is, and fill in its findings about CPU and host.
 * -ENOTSUP with the reason when the host lacks something needed; -EINVAL when the two do not go together.
 */
int host_check(struct vm_config *cfg, enum run_mode mode, enum user_mode user, struct diag *d);

#endif
