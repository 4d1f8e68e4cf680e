// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 7.2: Pages of modules
 *
 * Modules patched ahead of time (hypercalls/module_plan.h, docs/patching.md), for the direct engine: when a page of
 * theirs first runs, its plan is looked for in guest memory beside it, every instruction on the page is looked at, the
 * windows get their stubs in the hole and their jumps in the page, what else may not trap gets int3, and the page runs
 * directly. A write to it puts the guest's bytes back first; the next execution starts over.
 *
 * A page stands alone: no window crosses its ends. Stubs are never freed one by one; when their room is used up, all
 * pages are given back and it starts anew. Nobody keeps an address in a stub: what the guest saves is its own.
 */
#ifndef MONITOR_VMM_MODULE_H
#define MONITOR_VMM_MODULE_H

#include "monitor/vmm/vm.h"

#define MODULE_SITE 0x40000000u /* R15D of landing pads of module stubs, and up to TRANSLATE_SITE */

size_t module_arena_size(const struct vm_config *cfg);
void module_init(struct vm *vm, void *at);

/* May the page run directly at `at`? Promotes it if need be; the caller has it protected everywhere then. */
bool module_execute(struct vm *vm, struct gva at, struct gpa page);
bool module_verified(const struct vm *vm, struct gva at, struct gpa page);
/* A sensitive instruction has trapped at eip: it may deserve a window. */
void module_trapped(struct vm *vm, uint32_t eip);
/* Put the guest's bytes back: it writes to the page. */
void module_demote(struct vm *vm, uint32_t pfn);

/* The same questions that code.h answers for the kernel image; false or eip itself where no module page is. */
bool module_runs_directly(const struct vm *vm, uint32_t eip);
bool module_in_window(const struct vm *vm, uint32_t eip);
bool module_after_sti(const struct vm *vm, uint32_t eip);
bool module_online(const struct vm *vm, uint32_t eip);
uint32_t module_enter_address(const struct vm *vm, uint32_t eip);
void module_original(const struct vm *vm, uint32_t linear, uint8_t *bytes, uint32_t n);
const struct manifest_point *module_point(const struct vm *vm, uint32_t raw);

/* A landing pad of a module's stub was reached. */
void module_exit(struct vm *vm, uint32_t number);

#endif
