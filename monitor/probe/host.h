// SPDX-License-Identifier: GPL-3.0-or-later
/* Facts about the host that decide whether and how guests run: `paravane probe` prints them, `paravane run` goes by
 * them. All leave the process as it was. */
#ifndef MONITOR_PROBE_HOST_H
#define MONITOR_PROBE_HOST_H

#include <stdint.h>

/* NOTE: works without, with a difference that the text states. NOT_DIRECT: needed to execute the guest's 32-bit code
 * directly; without it everything is translated. MISSING: nothing runs. */
enum host_verdict { HOST_OK, HOST_NOTE, HOST_NOT_DIRECT, HOST_MISSING };

struct host_finding {
	const char *name;
	enum host_verdict verdict;
	char text[320];
};
#define HOST_FINDINGS_MAX 16

/* Look at everything; returns how many findings were filled in, in a fixed order. */
unsigned host_findings(struct host_finding findings[HOST_FINDINGS_MAX]);

uint64_t host_xcr0(void); /* 0: XSAVE is not enabled */

/*
 * Which instructions a guest's user code, run directly by the code segment cs32, executes without a trap though their
 * result is the host's and not the guest's: rows of the policy table (enum pv_op).
 */
struct host_silent {
	uint16_t op[24];
	unsigned n;
};
void host_find_silent(uint16_t cs32, struct host_silent *s);

#endif
