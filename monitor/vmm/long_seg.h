// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 8.4: Segments in a long block
 *
 * 64-bit code knows no segments but FS and GS, so blocks go by what the vCPU page says of the guest's (hypercalls/abi.h):
 * the bases of FS and GS, and which loads need nothing done: that of a selector that is loaded already while its descriptor
 * is the same, and for FS that of the one loaded before, since a 32-bit kernel's entry and exit code loads two by turns.
 */
#ifndef MONITOR_VMM_LONG_SEG_H
#define MONITOR_VMM_LONG_SEG_H

#include "monitor/vmm/vm.h"

/* Fill the vCPU page's segments and world.{cs,ss} for vcpu->seg at vcpu->cpl. */
void long_seg_enter(struct vm *vm);

/* After an exit: what a block loaded into FS, and the privilege that it came to, becomes the guest's. */
void long_seg_leave(struct vm *vm);

/* How a load of `s`, which is loaded, is known again; minus_sel is 1 when it is not. */
struct vcpu_reload long_seg_reload(const struct vm *vm, const struct segment *s);

bool long_seg_is_null(const struct segment *s);
/* Does a return to CPL 3 leave it loaded? */
bool long_seg_is_outer(const struct segment *s);

#endif
