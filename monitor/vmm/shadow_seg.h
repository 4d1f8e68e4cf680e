// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 4.7: Segments as the host has them
 *
 * Shadow segments: the host selectors under which the guest's segment registers run. Host LDT slots are a cache
 * of descriptors keyed by content, so a guest that rewrites a GDT entry and loads it again costs a system call
 * only for contents not seen lately.
 *
 * Flat segments use the host's own flat selectors at CPL 0. At CPL 3 they are truncated below the guest kernel
 * (vm_config.kernel_split): protection against accident, see docs/limits.md. Based segments (TLS) keep their
 * limit: i386 TLS uses negative offsets that wrap.
 */
#ifndef MONITOR_VMM_SHADOW_SEG_H
#define MONITOR_VMM_SHADOW_SEG_H

#include "monitor/vmm/vm.h"

/* Fill world.{cs,ss,ds,es,fs,gs} for vcpu->seg at vcpu->cpl, installing LDT entries as needed. */
void shadow_seg_enter(struct vm *vm);

/*
 * After an exit: a selector that the guest loaded by itself in direct code (glibc's mov $0x33,%gs) becomes the
 * guest's. Returns true when any register had changed, so that a fault may go away by entering again.
 */
bool shadow_seg_leave(struct vm *vm);

/* The same selector with the same hidden part. */
bool segment_is_same(const struct segment *a, const struct segment *b);

/* Data that may be reached at base + offset, whatever the offset: nothing about it but the base has to be looked at. */
bool segment_is_unlimited(const struct segment *s);

/* Is this segment one that stubs and direct CPL 0 code may rely on: base 0, limit 4 GiB, writable, 32 bits? */
bool segment_is_flat(const struct segment *s);

/* True when a #GP at CPL 3 can come from our truncation only. */
bool shadow_seg_truncates(const struct vm *vm);

#endif
