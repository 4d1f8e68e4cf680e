// SPDX-License-Identifier: GPL-3.0-or-later
/* Proof that a manifest belongs to its image: with all windows undone the file must be the source again. */
#ifndef MONITOR_VMX_RESTORE_H
#define MONITOR_VMX_RESTORE_H

#include "monitor/vmx/image.h"

/* 0, or -EKEYREJECTED with the first difference found. */
int restore_check(const struct guest_image *g, struct diag *d);

#endif
