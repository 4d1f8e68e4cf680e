// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 6.6: User code that must not run directly
 *
 * May a page of user code run directly? Not if it contains SYSCALL (0F 05) or SYSENTER (0F 34): the host would take
 * them, and the guest's EIP would be lost (docs/limits.md). Looked at whenever a page is mapped executable; code that
 * is written into such a page afterwards is not seen.
 */
#ifndef MONITOR_VMM_USER_CODE_H
#define MONITOR_VMM_USER_CODE_H

#include "monitor/vmm/vm.h"

bool user_code_is_clean(struct vm *vm, struct gpa page);

#endif
