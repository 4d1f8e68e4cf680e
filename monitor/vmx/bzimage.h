// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A bzImage as a boot loader sees it (Documentation/x86/boot.rst): behind the boot sector and the setup code stands the
 * protected-mode kernel, which a 32-bit boot loader puts at 1 MiB and enters at its first byte. It moves and unpacks
 * itself to where it wants to be, and needs init_size bytes there. So nothing is unpacked here.
 */
#ifndef MONITOR_VMX_BZIMAGE_H
#define MONITOR_VMX_BZIMAGE_H

#include "monitor/vmx/image.h"

bool bzimage_is(const struct guest_image *g);
/* Fill in segments, entry, bounds and setup header of g, whose file is read. -EINVAL for what cannot boot. */
int bzimage_parse(struct guest_image *g, struct diag *d);

#endif
