// SPDX-License-Identifier: GPL-3.0-or-later
/* What the files of xol.h share: the slot, and the ways to run what is in it. */
#ifndef MONITOR_VMM_XOL_INTERNAL_H
#define MONITOR_VMM_XOL_INTERNAL_H

#include "hypercalls/abi.h"
#include "monitor/vmm/mem.h"
#include "monitor/vmm/xol.h"

#define SLOT_PAD 0x100 /* offset of the landing pad in the slot page */

static inline uint32_t xol_slot_address(const struct vm *vm)
{
	return vm->cfg.hole_base + ABI_XOL_PAGE;
}

static inline uint8_t *xol_slot_bytes(const struct vm *vm)
{
	return (uint8_t *)RAM_BASE + vm->cfg.bounce_off;
}

static inline uint8_t *xol_bounce_bytes(const struct vm *vm)
{
	return xol_slot_bytes(vm) + PAGE_SIZE;
}

static inline void put32(uint8_t *at, uint32_t value)
{
	mem_copy(at, &value, 4);
}

/* Run `len` bytes from the slot for the instruction; redirected: its operand is in the hole. As xol_step(). */
int xol_run_copy(struct vm *vm, const struct insn *insn, const uint8_t *bytes, unsigned len, bool redirected);

/*
 * The same with the long engine: run the instruction as 64-bit code, its memory operand at `operand` in the hole unless
 * MANIFEST_NONE. -EOPNOTSUPP where it has no such form.
 */
int xol_run_long(struct vm *vm, const struct insn *insn, const uint8_t *bytes, uint32_t operand);
/* Whichever way there is. */
int xol_execute_long(struct vm *vm, const struct insn *insn, const uint8_t *bytes);

#endif
