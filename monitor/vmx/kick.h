// SPDX-License-Identifier: GPL-3.0-or-later
/* How the VMX tells the guest's CPU that something waits for it, and the timer that does so in time. */
#ifndef MONITOR_VMX_KICK_H
#define MONITOR_VMX_KICK_H

#include "monitor/vmx/zygote.h"

/* Post events (mask of enum vm_event) and see to it that the owner of the baton looks at them soon. */
void kick_post(struct vm *vm, const struct zygote *z, uint32_t events);

/* timer_fd has expired: post VM_EVENT_TIMER, or set it again if shared.deadline_ns is still to come. */
void kick_timer(struct vm *vm, const struct zygote *z, int timer_fd);

#endif
