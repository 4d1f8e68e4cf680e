// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 4.0: A worker's loop
 *
 * The worker's main loop, and what brackets each world switch. A pass delivers what is due (an interrupt, an exception),
 * decides how the guest goes on, and lets it run until something makes it leave: a stub's far jump, a fault, a kick from
 * the VMX. run_collect() then has the registers in struct vcpu, where every handler works on them as the guest knows them;
 * run_prepare() puts them back in the shape that the host needs: other selectors, IF set, IOPL 0.
 *
 * The decision is made in one place, decide() of run.c, and counted: code of a verified page runs directly, user code
 * directly or translated, everything else translated or one instruction at a time (chapter 6).
 */
#ifndef MONITOR_VMM_RUN_H
#define MONITOR_VMM_RUN_H

#include "monitor/vmm/vm.h"

/* vCPU -> hardware: flags, selectors, registers, vCPU page, IRETQ frame (at vcpu->eip). */
void run_prepare(struct vm *vm);
/* Hardware -> vCPU, after world_run(): the other way. eip stays with the caller. Returns true if a segment register
 * was found reloaded by the guest itself. */
bool run_collect(struct vm *vm);

/* One pass of the main loop, with the baton here: deliver what is due, then run the guest until its next exit. */
void run_pass(struct vm *vm);
/* Serve the exit that world_run() came back with; run_collect() is done. */
void run_exit(struct vm *vm, bool segments_changed);

/*
 * A #PF is raised for a user access: if the guest comes back to it, what it then has there is mapped at once. And: does the
 * instruction at eip lie (partly) on the page of the linear address `at`?
 */
void run_note_fault(struct vm *vm, struct gva at, unsigned access);
bool run_same_page(const struct vm *vm, uint32_t at);

/* Count an exit; and its place, for --stats and --audit. */
void run_count(struct vm *vm, enum exit_reason reason);
void run_count_site(struct vm *vm, enum exit_reason reason, uint32_t va, unsigned op);

#endif
