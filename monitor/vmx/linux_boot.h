// SPDX-License-Identifier: GPL-3.0-or-later
/* Linux's 32-bit boot protocol (Documentation/x86/boot.rst, "32-bit BOOT PROTOCOL"; zero-page.rst). */
#ifndef MONITOR_VMX_LINUX_BOOT_H
#define MONITOR_VMX_LINUX_BOOT_H

#include "monitor/vmx/loader.h"

/* Fill boot_params, command line and initrd, and the registers that the protocol names. */
int linux_boot(const struct guest_image *g, struct vm *vm, const struct boot_args *args, struct diag *d);

#endif
