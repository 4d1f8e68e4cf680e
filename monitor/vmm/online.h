// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Online breakpoints: sensitive instructions that do not trap and that the kernel itself wrote into its text after
 * patching (alternatives: VMCALL becomes VMMCALL) are covered with int3 in guest memory, so that their page may run
 * directly. The guest's bytes come back before it may write to the page again, and wherever it is decoded.
 */
#ifndef MONITOR_VMM_ONLINE_H
#define MONITOR_VMM_ONLINE_H

#include "monitor/vmm/vm.h"

/* Cover the len bytes at `at`. False when the table is full. */
bool online_set(struct vm *vm, struct gpa at, unsigned len);
/* Uncover everything that touches the page frame. */
void online_clear(struct vm *vm, uint32_t pfn);
/* Length of the covered instruction that starts at `at`; 0 when there is none. */
unsigned online_at(const struct vm *vm, struct gpa at);
/* Is any of the n bytes at `at` covered? */
bool online_touches(const struct vm *vm, struct gpa at, uint32_t n);
/* Put the guest's bytes back into a copy of the n bytes at `at`. */
void online_original(const struct vm *vm, struct gpa at, uint8_t *bytes, uint32_t n);
/* Make the covered ones in a copy of the n bytes at `at` differ from what the guest has there, and from INT3. */
void online_differ(const struct vm *vm, struct gpa at, uint8_t *bytes, uint32_t n);

#endif
