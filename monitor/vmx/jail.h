// SPDX-License-Identifier: GPL-3.0-or-later
/* The jail around a worker: which system calls it may still make, and with which arguments. */
#ifndef MONITOR_VMX_JAIL_H
#define MONITOR_VMX_JAIL_H

#include <linux/filter.h>

#include "hypercalls/diag.h"

struct jail {
	struct sock_fprog rules; /* malloc'd */
};

/* Compile once (in the zygote); notify_fd and trace_fd (-1: none) may be written, timer_fd be set, ram_fd be mapped. */
int jail_compile(struct jail *jail, int ram_fd, int notify_fd, int timer_fd, int trace_fd, struct diag *d);
void jail_free(struct jail *jail);

/* Lock this process in, for good. */
int jail_enter(const struct jail *jail, struct diag *d);

#endif
