// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 6.2: Translated blocks
 *
 * The translator: CPL 0 code that may not run directly, and with the long engine all code, runs as translated blocks in the
 * hole (DESIGN section 7).
 *
 * A block is a stretch of guest code from one entry, falling through conditional branches, emitted by
 * hypercalls/lower_block.c: ordinary instructions as they are, sensitive ones lowered. It is found by linear EIP and
 * belongs to the guest-physical pages that its bytes came from. Those pages are read-only while blocks of them exist;
 * a write drops the blocks. A linear page is *bound* to a physical one while its translation is known to hold, which
 * is looked at again whenever a TLB would forget it; only blocks on bound pages are reachable, by a chained branch or
 * through the lookup table.
 */
#ifndef MONITOR_VMM_TRANSLATE_H
#define MONITOR_VMM_TRANSLATE_H

#include "monitor/vmm/vm.h"

#define TRANSLATE_SITE 0x80000000u /* R15D of its landing pads, and up */

bool translate_possible(const struct vm_config *cfg);
size_t translate_arena_size(const struct vm_config *cfg);
void translate_init(struct vm *vm, void *at);

enum translate_result {
	TRANSLATE_ENTER,  /* enter at *raw */
	TRANSLATE_RAISED, /* #PF raised: the guest may not fetch there */
	TRANSLATE_STEP,	  /* this instruction has no block: execute it out of line */
};
/* Find or make the block for vcpu->eip. */
enum translate_result translate_enter(struct vm *vm, uint32_t *raw);
/*
 * Did translated code lead to vcpu->eip otherwise than by a return? What it calls is translated as well, verified or
 * not: coming back then costs a jump, where coming back from direct code costs a fault. Returns to verified code, and
 * interrupts, end it.
 */
bool translate_goes_on(const struct vm *vm);
/*
 * Direct code reached code that has to be translated, by a host fault. Where that happens all the time (a file system
 * in modules), it is cheaper to translate everything at CPL 0 for a while: translate_preferred().
 */
void translate_crossed(struct vm *vm);
bool translate_preferred(const struct vm *vm);
/*
 * The same for user code in direct execution: each int $0x80 that it traps by costs a host signal, and none as a block.
 * What has no block there runs directly, as user code may at any time.
 */
void translate_user_trapped(struct vm *vm);
bool translate_user_preferred(const struct vm *vm);
/* Is there a block for vcpu->eip, ready to be entered? */
bool translate_ready(const struct vm *vm);
/* The vCPU goes on directly at vcpu->eip: let the return that led there do so by itself the next time. */
void translate_goes_direct(struct vm *vm);

/* A landing pad of a block was reached. */
void translate_exit(struct vm *vm, uint32_t number);

bool translate_contains(const struct vm *vm, uint32_t raw);
/* Is it, inside the cache, a landing pad? */
bool translate_is_pad(const struct vm *vm, uint32_t raw);
/* The point of a raw address inside the cache; NULL when there is no instruction. */
const struct manifest_point *translate_point(const struct vm *vm, uint32_t raw);

/* Set a bit, of one a byte, where blocks of this page begin: control has arrived there. */
void translate_note_entries(const struct vm *vm, uint32_t linear, uint32_t pfn, uint8_t *bits);

/* The guest writes to the page. */
void translate_drop_page(struct vm *vm, uint32_t pfn);
/* What the architecture says of TLBs (SDM 3A 4.10.4): one page; all but global ones, or all; a change of mode. */
void translate_invlpg(struct vm *vm, struct gva at);
void translate_check_mappings(struct vm *vm, bool globals);
void translate_forget_mappings(struct vm *vm);

#endif
