// SPDX-License-Identifier: GPL-3.0-or-later
/* How the VMX tells the guest's CPU that something waits for it, and the timer that does so in time. */
#ifndef MONITOR_VMX_KICK_H
#define MONITOR_VMX_KICK_H

#include "monitor/vmx/zygote.h"

/* Post events (mask of enum vm_event) and see to it that the owner of the baton looks at them soon. */
void kick_post(struct vm *vm, const struct zygote *z, uint32_t events);

/*
 * Set timer_fd to shared.deadline_ns, or post VM_EVENT_TIMER if that has passed. Call it when the worker
 * notified and when the timer expired.
 */
void kick_timer(struct vm *vm, const struct zygote *z, int timer_fd);

#endif
