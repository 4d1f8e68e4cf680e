// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 5.2: The shadow MMU
 *
 * The shadow MMU: pages of the RAM memfd mapped at guest linear addresses of this process, on demand, following
 * the guest's page tables. Those tables are ordinary guest RAM and never write-protected; what was mapped is
 * remembered with the entries that it came from, and compared again when the architecture says that a TLB would
 * forget: at INVLPG, CR3 loads, and changes of paging mode (SDM 3A 4.10.4).
 */
#ifndef MONITOR_VMM_SHADOW_H
#define MONITOR_VMM_SHADOW_H

#include "monitor/vmm/vm.h"

enum shadow_result {
	SHADOW_MAPPED,	 /* enter again */
	SHADOW_RAISED,	 /* #PF raised for the guest */
	SHADOW_EMULATE,	 /* no RAM there, or the host cannot map it: emulate the access */
	SHADOW_UNVERIFIED, /* execution of a page that may not run directly */
	SHADOW_AWAY,	   /* the address space has no mappings in this worker: worker_go_home() */
};

/* Serve a fault at `at` for an access (mask of enum access) of the current privilege. */
enum shadow_result shadow_fault(struct vm *vm, struct gva at, unsigned access);

/* The same for the software TLB's view: SHADOW_EMULATE as well when the page has no entry there afterwards. */
enum shadow_result shadow_soft_fault(struct vm *vm, struct gva at, unsigned access);

/* How many views there are (enum shadow_view). */
static inline unsigned shadow_views(const struct vm_config *cfg)
{
	return cfg->engine != ENGINE_LONG ? 1 : cfg->soft ? 3 : 2;
}

/* Is the page at `at` mapped executable in this worker, for the current privilege? (The cheap half of the decision.) */
bool shadow_executable(struct vm *vm, struct gva at);

/*
 * What every view of every worker and address space has to hear of: those that are live now, the others when they are
 * live again, at shadow_load_cr3().
 */
enum log_kind {
	LOG_INVLPG,    /* gva */
	LOG_FLUSH_ALL, /* validate everything, global pages included (CR4.PGE toggled) */
	LOG_PROTECT,   /* pfn: the state of that code page changed: every mapping of it gets its new protection */
};
void shadow_log(struct vm *vm, enum log_kind kind, uint32_t addr);

/* Does a view that is live have a mapping or an entry of the page at `at`? */
bool shadow_maps(struct vm *vm, struct gva at);
/* Does the guest's kernel map and unmap the pages around `at` all the time? As far as the window has seen. */
bool shadow_remaps(struct vm *vm, struct gva at);
#define INVLPG_RUN 64 /* pages that may go along with one that INVLPG names */

/* CR3 was loaded, or this worker is the vCPU (again): catch up, and validate everything that is not global. */
void shadow_load_cr3(struct vm *vm);
void shadow_flush(struct vm *vm); /* forget everything that is mapped in this worker, or for the present address space */
/* The vCPU goes to CPL 3: pages that it must not see, and segment limits do not cover, go away. */
void shadow_enter_user(struct vm *vm);
/* CR0.WP was set: pages that were writable only without it go away. */
void shadow_set_wp(struct vm *vm);
/* Map or unmap the stubs at their physical alias, where code before paging reaches them. */
void shadow_alias(struct vm *vm, bool on);
/* Keep the host's page tables for the guest's linear space (long engine); once per process. */
void shadow_reserve(struct vm *vm);
/* Map the hole; once per process. */
void shadow_map_hole(struct vm *vm);

#endif
