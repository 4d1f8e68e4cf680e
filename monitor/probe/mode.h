// SPDX-License-Identifier: GPL-3.0-or-later
/* Does this host have a code segment for compatibility mode, and how do we know? */
#ifndef MONITOR_PROBE_MODE_H
#define MONITOR_PROBE_MODE_H

#include <stdint.h>

struct probe_compat {
	uint16_t selector;  /* of a present 32-bit code segment of DPL 3, RPL 3; 0 if there is none */
	char evidence[240]; /* one sentence */
};

void mode_find_compat(struct probe_compat *c);

#endif
