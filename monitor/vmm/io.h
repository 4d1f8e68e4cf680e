// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The machine's effect on the vCPU: its INTR pin, its timers' next deadline, its power switch.
 */
#ifndef MONITOR_VMM_IO_H
#define MONITOR_VMM_IO_H

#include "monitor/vmm/vm.h"

/* After any access to the machine: publish the deadline, set PENDING by the INTR pin, act on a power request. */
void io_settle(struct vm *vm);

/* Take what the VMX announced (timer, console) and let the machine act on it. */
void io_service(struct vm *vm);

/* Sleep until something is announced. */
void io_halt(struct vm *vm);

/* struct machine_config's notify. */
void io_notify(void *vm);

#endif
