// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Translated blocks for a host that runs 64-bit code only (no 32-bit code segment to be had): the guest's 32-bit code
 * comes out as 64-bit code with the same effect. The interface is lower_block.h's; what differs is the code.
 *
 * While a long block runs,
 *   - RAX to RDI, RSP among them, hold the guest's registers, zero-extended; EFLAGS are the guest's arithmetic flags,
 *     DF and ID, IF set; vector and x87 state is the guest's;
 *   - R8 to R11 are scratch inside one guest instruction (a kick saves them and gives them back, so an instruction may be
 *     left and entered again in its middle); R12 is unused; R15 names the site on the way out;
 *   - R13 holds the upper half of the code's address: code + R13 is where the 32-bit address `code` of this interface
 *     lies, and everything in the hole (vCPU page, gate, blocks, lookup tables) is at the same distance from it;
 *   - R14 and the GS base hold where the guest's linear address 0 is mapped for the supervisor, a multiple of 4 GiB.
 *     User code sees linear addresses as they are.
 *
 * Most instructions keep their bytes and get prefixes: 67 keeps the address in 32 bits, 65 (GS) leads into the
 * supervisor's window. CS, SS, DS and ES are flat whenever a block runs; FS and GS are based through a pointer in the
 * vCPU page (VCPU_FS_AT), which leads nowhere while such an access has to fault or needs its limit looked at.
 */
#ifndef HYPERCALLS_LOWER_LONG_H
#define HYPERCALLS_LOWER_LONG_H

#include "hypercalls/lower_block.h"

/* Whose linear addresses a block uses. */
enum lower_view { VIEW_USER, VIEW_SUPERVISOR };

/* Shape as lower_block_shape(): more instructions stand alone, among them those that 64-bit mode lacks. */
enum lower_shape lower_long_shape(const struct insn *insn);

/*
 * As lower_block(), for code that runs in `view`. Indirect branches find their target in the lookup table at `table` (a
 * 32-bit address in the hole, LOWER_SLOTS struct lower_slot) or leave through x->lookup or x->lookup_return, which
 * lower_long_miss() made. At every emitted instruction the guest's registers, taken to 32 bits, are exactly those of
 * a guest boundary, but for the one that POINT_R9_SP or POINT_R9_CX finds in R9; or the point says POINT_AFTER. POPF alone
 * changes the arithmetic flags before it is done, as only it overwrites them all. Scratch words of the vCPU page are not
 * used, its flag slot is.
 */
int lower_long_block(struct lower *l, struct lower_insn *insns, size_t n, struct lower_exits *x,
		     enum lower_view view, uint32_t table);

/* The shared end of lookups that find nothing: the target is in R8D; it goes to VCPU_TARGET, and out by pad `site`. */
uint32_t lower_long_miss(struct lower *l, uint32_t site);

/*
 * Append one instruction that falls through (FLOW_NEXT, not sensitive), and nothing behind it: -EOPNOTSUPP unless its
 * shape is LOWER_GOES_ON. With `operand` not MANIFEST_NONE its ModRM memory operand is that 32-bit address in the hole
 * instead of the guest's; then the way that the guest names its operand, by 16 bits or through CS, is no reason against it.
 */
int lower_long_step(struct lower *l, struct lower_insn *insn, enum lower_view view, uint32_t operand);

#endif
