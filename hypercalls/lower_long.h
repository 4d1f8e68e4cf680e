// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 8.0: The long engine
 *
 * All that was told so far needs a 32-bit code segment and an LDT, which some hosts give to no process. There everything,
 * user code too, runs as translated blocks of 64-bit code (docs/long-engine.md). The rest stays: vCPU, handlers, devices,
 * workers and shadow MMU are the same; no stub and no verified page is in use.
 */

/*
 * Tour 8.1: 32-bit code as 64-bit code
 *
 * Translated blocks for a host that runs 64-bit code only (no 32-bit code segment to be had): the guest's 32-bit code
 * comes out as 64-bit code with the same effect. The interface is lower_block.h's; what differs is the code.
 *
 * While a long block runs,
 *   - RAX to RDI, RSP among them, hold the guest's registers, zero-extended; EFLAGS are the guest's arithmetic flags,
 *     DF and ID, IF set; vector and x87 state is the guest's;
 *   - R8 to R11 are scratch inside one guest instruction (a kick saves them and gives them back, so an instruction may be
 *     left and entered again in its middle); R15 names the site on the way out, and holds LOWER_SOFT_SHIFT before;
 *   - R12 points to the software TLB;
 *   - R13 holds the upper half of the code's address: code + R13 is where the 32-bit address `code` of this interface
 *     lies, and everything in the hole (vCPU page, gate, blocks, lookup tables) is at the same distance from it;
 *   - R14 and the GS base hold where the guest's linear address 0 is mapped for the supervisor, a multiple of 4 GiB.
 *     User code sees linear addresses as they are. In soft user code R14 is one more register for inside an instruction.
 *
 * Most instructions keep their bytes and get prefixes: 67 keeps the address in 32 bits, 65 (GS) leads into the
 * supervisor's window. CS, SS, DS and ES are flat whenever a block runs; FS and GS are based through a pointer in the
 * vCPU page (VCPU_FS_AT), which leads nowhere while such an access has to fault or needs its limit looked at.
 *
 * Memory may also be reached without any mapping of the guest's linear space, by instructions marked `soft`: the software
 * TLB has for each page of the linear space what to add to an address to come to the host's. That costs some ten
 * instructions an access, and saves the host's page fault and the host's invalidations: the way of memory that is new, or
 * will not live long.
 */
#ifndef HYPERCALLS_LOWER_LONG_H
#define HYPERCALLS_LOWER_LONG_H

#include "hypercalls/lower_block.h"

/* Whose linear addresses a block uses; VIEW_SOFT is the user's, every access by the software TLB. */
enum lower_view { VIEW_USER, VIEW_SUPERVISOR, VIEW_SOFT };

/*
 * The software TLB: for reads and for writes an array of what to add to an address, and one of (1 - that), in which the page
 * of an access's last byte is looked up; so one sum tells that both pages are there and that the access does not
 * break in two between them. 0 in both is no entry.
 */
#define LOWER_SOFT_SHIFT 12
#define LOWER_SOFT_WRITE 0x80000000u /* in VCPU_SOFT_ACCESS */
struct lower_soft {
	struct lower_soft_part {
		uint64_t add[1 << 20];
		uint64_t one_minus_add[1 << 20];
	} read, write;
};

/* Shape as lower_block_shape(): more instructions stand alone, among them those that 64-bit mode lacks. */
enum lower_shape lower_long_shape(const struct insn *insn);

/* For an instruction whose memory is to be reached by the software TLB. */
enum lower_shape lower_long_soft_shape(const struct lower_insn *in);
/* One of those leaves for the monitor by its site, which does all of it: strings. */
bool lower_long_soft_leaves(const struct insn *insn);

/*
 * FXSAVE, XSAVE and kin: after it, the block leaves by its site if the instruction pointer that it stored looks like one
 * of a block. (Some processors store one only while an exception is pending.)
 */
bool lower_long_checks_x87(const struct insn *insn);

/*
 * As lower_block(), for code that runs in `view`. Indirect branches find their target in the lookup table at `table` (a
 * 32-bit address in the hole, LOWER_SLOTS struct lower_slot) or leave through x->lookup or x->lookup_return, which
 * lower_long_miss() made. At every emitted instruction the guest's registers, taken to 32 bits, are exactly those of
 * a guest boundary, but for the one that POINT_R9_SP or POINT_R9_CX finds in R9; or the point says POINT_AFTER. POPF and IRET
 * alone change the arithmetic flags before they are done, as only they overwrite them all. Of the vCPU page's scratch
 * words strings use the first, and others its flag slot.
 */
int lower_long_block(struct lower *l, struct lower_insn *insns, size_t n, struct lower_exits *x,
		     enum lower_view view, uint32_t table);

/* The shared end of lookups that find nothing: the target is in R8D; it goes to VCPU_TARGET, and out by pad `site`. */
uint32_t lower_long_miss(struct lower *l, uint32_t site);

/*
 * The shared end of accesses that the software TLB has nothing for, in x->soft: VCPU_TARGET, VCPU_SOFT_RESUME and
 * VCPU_SOFT_ACCESS say what is wanted, and out by pad `site`.
 */
uint32_t lower_long_soft_miss(struct lower *l, uint32_t site);

/*
 * Append one instruction that falls through (FLOW_NEXT, not sensitive), and nothing behind it: -EOPNOTSUPP unless its
 * shape is LOWER_GOES_ON. With `operand` not MANIFEST_NONE its ModRM memory operand is that 32-bit address in the hole
 * instead of the guest's; then the way that the guest names its operand, by 16 bits or through CS, is no reason against it.
 */
int lower_long_step(struct lower *l, struct lower_insn *insn, enum lower_view view, uint32_t operand);


/*
 * Does the instruction touch memory: by a ModRM operand, or by a register that it implies (not the stack, not strings)? Is
 * that operand one place, of the bytes that insn_memory() tells: no bit string, no vector of addresses, nothing masked?
 */
bool lower_long_touches(const struct insn *insn);
bool lower_long_one_place(const struct insn *insn);

#endif
