// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 3.3: Where workers come from
 *
 * The zygote: a process forked from the VMX when everything is mapped and nothing runs yet. It does nothing but
 * fork workers and collect their exit statuses, on orders that come over a private socket pair; workers cannot
 * reach it. It dies with the VMX, and the workers die with it.
 */
#ifndef MONITOR_VMX_ZYGOTE_H
#define MONITOR_VMX_ZYGOTE_H

#include <sys/types.h>

#include "monitor/vmm/vm.h"

struct zygote {
	int pidfd, sock; /* -1 when not there */
	pid_t pid;
	int worker_pidfd[WORKERS_MAX]; /* -1: no such worker */
};

int zygote_start(struct zygote *z, struct vm *vm, struct diag *d);
/* Fork worker `index`. Its pidfd is in z->worker_pidfd[index] afterwards. */
int zygote_fork(struct zygote *z, unsigned index, struct diag *d);
/* The wait status of worker `index`, which has died; -errno if the zygote does not know either. */
int zygote_reap(struct zygote *z, unsigned index, int *status);
/* Kill all workers and wait until they are gone. */
void zygote_kill_workers(struct zygote *z);
/*
 * Have stats.code_* filled from the VMM's state. That means following pointers that a hostile worker may have
 * written, so it happens in a jailed process. Best effort; no worker may run any more.
 */
void zygote_summary(struct zygote *z);
/* Kill whatever is left, the zygote last. */
void zygote_stop(struct zygote *z);

#endif
