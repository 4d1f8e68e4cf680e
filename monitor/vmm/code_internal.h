// SPDX-License-Identifier: GPL-3.0-or-later
/* What the files of code.h share: its tables, and the bits in them. */
#ifndef MONITOR_VMM_CODE_INTERNAL_H
#define MONITOR_VMM_CODE_INTERNAL_H

#include "monitor/vmm/code.h"
#include "monitor/vmm/state.h"

#define STARTS_PER_PAGE (PAGE_SIZE / 8)

static inline struct code *code_of(const struct vm *vm)
{
	return &vm->vmm->code;
}

static inline struct code_page *page_of(const struct vm *vm, uint32_t pfn)
{
	const struct code *c = code_of(vm);
	uint32_t index = pfn - (c->first_gpa >> PAGE_SHIFT);

	return index < c->n_pages ? &c->page[index] : NULL;
}

static inline bool test_bit(const uint8_t *map, uint32_t bit)
{
	return map[bit >> 3] >> (bit & 7) & 1;
}

static inline void set_bit(uint8_t *map, uint32_t bit, bool on)
{
	map[bit >> 3] = (uint8_t)((map[bit >> 3] & ~(1u << (bit & 7))) | (unsigned)on << (bit & 7));
}

/* Bit number of guest address eip in the per-byte maps; false outside the text. */
bool code_text_bit(const struct vm *vm, uint32_t eip, uint32_t *bit);

/* --- code_window.c --------------------------------------------------------------------------------------- */

/* The first window that ends behind a link address; NULL behind the last. */
const struct manifest_window *code_window_behind(const struct vm *vm, uint32_t link);
/* Give the page its own bytes back; write the jumps again. False: the guest has changed what they replace. */
void code_windows_lift(struct vm *vm, uint32_t pfn);
bool code_windows_lay(struct vm *vm, uint32_t pfn);
/* Would the guest read INT3 of a window in the n bytes at a link address, while it is laid? What it read it may write back. */
bool code_window_fills(const struct vm *vm, uint32_t link, uint32_t n);
/* The page below or above that shares a window with this one; pfn itself when none does. */
uint32_t code_window_neighbour(const struct vm *vm, uint32_t pfn, bool above);

/* Decode what changed on page pfn since it was verified: may it run directly again? (code_recheck.c) */
bool code_recheck(struct vm *vm, uint32_t pfn);

#endif
