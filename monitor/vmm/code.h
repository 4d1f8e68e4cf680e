// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 6.0: Which code runs how
 *
 * Code runs on the CPU itself only where all of it is known: a page that the patcher has verified, or that is looked at
 * again after it changed. Execute permission is the mechanism: other kernel code is not executable on the host, so arriving
 * there is a page fault, and a question. The answer is a translated block, or, for what does not fit a block, one
 * instruction at a time. The order of cost is: directly (nothing), in a block (little, once it is made), one instruction at
 * a time (half a microsecond each), by a host trap (four).
 */
/*
 * Tour 6.1: Code pages
 *
 * Code pages: which pages of the kernel image may run directly, and the maps between guest addresses and stubs.
 *
 * A page that the patcher verified is executable and read-only in every alias. When the guest writes to it (Linux
 * rewrites nearly every text page at boot: ftrace, alternatives, jump labels) it becomes data, with its own bytes in
 * place of our windows; at its next execution what changed is decoded again, and it runs directly once more, its
 * windows laid again, if nothing sensitive came in and no window was touched.
 */
#ifndef MONITOR_VMM_CODE_H
#define MONITOR_VMM_CODE_H

#include "monitor/vmm/vm.h"

int code_init(struct vm *vm, struct diag *d);
size_t code_arena_size(const struct vm_config *cfg, const struct manifest *m);

/* Must this page frame stay read-only? */
bool code_protected(const struct vm *vm, uint32_t pfn);
/* May the page at gpa run directly at linear address `at`? Verifies it if need be. CPL 0 pages only. */
bool code_execute(struct vm *vm, struct gva at, struct gpa page);
/* As it stands, without verifying. */
bool code_verified(const struct vm *vm, struct gva at, struct gpa page);
/* The guest writes to a protected page: make it data (here and, by the log, everywhere). */
void code_demote(struct vm *vm, uint32_t pfn);
/* A writable mapping of the page is made at another address than its linked one. */
void code_note_alias(struct vm *vm, uint32_t pfn);
bool code_aliased(const struct vm *vm, uint32_t pfn);
/* Blocks are translated from the page: keep it read-only until it is written to. */
void code_note_translated(struct vm *vm, uint32_t pfn);
/* Does guest address eip lie on a page of the kernel image that is verified as it stands, and outside windows? */
bool code_runs_directly(const struct vm *vm, uint32_t eip);
/* The vCPU is idle: verify some pages that were rewritten. False when none is left. */
bool code_idle(struct vm *vm);
/* Put the bytes that the guest wrote in place of the windows that patching laid over them: n bytes read at `linear`. */
void code_original(const struct vm *vm, uint32_t linear, uint8_t *bytes, uint32_t n);

/* Where to enter for the guest address eip: eip itself, or the stub's copy of an instruction inside a window. */
uint32_t code_enter_address(const struct vm *vm, uint32_t eip);
bool code_in_window(const struct vm *vm, uint32_t eip);
/* Is the instruction before this one STI, as far as windows know? (Interrupts then wait one instruction.) */
bool code_after_sti(const struct vm *vm, uint32_t eip);

/* Did the monitor write int3 over the instruction at eip at run time? */
bool code_online(const struct vm *vm, uint32_t eip);

/* The point of a stub address, or NULL when raw is not in a stub. */
const struct manifest_point *code_point(const struct vm *vm, uint32_t raw);
/*
 * Is it where a stub starts? The guest has read our jump in its text, and does itself what the jump says (a kprobe there
 * is such a guest): the stub holds what it means.
 */
bool code_is_stub(const struct vm *vm, uint32_t raw);
/* A point's guest address in the terms that the guest runs in now (physical before paging is on). */
uint32_t code_guest_address(const struct vm *vm, uint32_t link, uint32_t raw);

/* A displaced call pushes the link address behind it; before paging is on its return leads to the physical one. */
uint32_t code_unlinked(const struct vm *vm, uint32_t eip);

/* The site at guest address eip, or MANIFEST_NONE. */
uint32_t code_site_at(const struct vm *vm, uint32_t eip);

/* For --stats: candidate pages, and how many of them are (or, verified now, would be) verified. */
void code_summary(struct vm *vm, uint32_t *candidates, uint32_t *verified, uint32_t *refused);

#endif
