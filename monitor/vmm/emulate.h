// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 4.4: Handlers
 *
 * Emulation of sensitive instructions: one handler a hypercall, the same for stub exits, traps and instructions
 * met out of line. Handlers see vcpu with eip at the instruction and the whole of eflags, and change it only when
 * nothing can fail any more.
 */
#ifndef MONITOR_VMM_EMULATE_H
#define MONITOR_VMM_EMULATE_H

#include "hypercalls/decode.h"
#include "monitor/vmm/vm.h"

/* What a handler returns: EMU_NEXT (eip moves behind the instruction), EMU_JUMP (the handler set eip), or -EFAULT
 * (an exception was raised), -ECANCELED (the VM was stopped). */
enum { EMU_NEXT = 0, EMU_JUMP = 1 };

/* Emulate insn at vcpu->eip by its policy row; insn must be sensitive. Moves eip; returns as above. */
int emulate(struct vm *vm, const struct insn *insn);

/*
 * The instruction at vcpu->eip as the guest wrote it: bytes under windows are the originals. 0, or -EFAULT with
 * #PF, #GP or #UD raised. `bytes` (INSN_MAX) receives what was read.
 */
int emulate_fetch(struct vm *vm, struct insn *insn, uint8_t *bytes);

/* --- for handlers ------------------------------------------------------------------------------------------ */

/* The memory operand's offset in its segment. */
uint32_t operand_offset(const struct vcpu *v, const struct insn *insn);
/* Linear address of the memory operand's byte `offset`, segment checks done for size bytes and ACCESS_WRITE. */
int operand_address(struct vm *vm, const struct insn *insn, uint32_t offset, uint32_t size, unsigned access,
		    struct gva *at);
/* Linear address of seg:offset for size bytes, checked the same way. */
int segment_address(struct vm *vm, enum seg seg, uint32_t offset, uint32_t size, unsigned access, struct gva *at);

/* ModRM r/m operand of `size` bytes (1, 2, 4): register or memory. */
int operand_read(struct vm *vm, const struct insn *insn, unsigned size, uint32_t *value);
int operand_write(struct vm *vm, const struct insn *insn, unsigned size, uint32_t value);
int memory_read(struct vm *vm, const struct insn *insn, uint32_t offset, void *buf, uint32_t size);
int memory_write(struct vm *vm, const struct insn *insn, uint32_t offset, const void *buf, uint32_t size);

uint32_t register_read(const struct vcpu *v, unsigned reg, unsigned size);
void register_write(struct vcpu *v, unsigned reg, unsigned size, uint32_t value);

/* Push and pop through SS:ESP (or SP). pop leaves ESP alone when it fails. */
int operand_push(struct vm *vm, unsigned size, uint32_t value);
int operand_pop(struct vm *vm, unsigned size, uint32_t *value);

/* Rights of the current privilege for an explicit access: ACCESS_USER at CPL 3. */
static inline unsigned privilege(const struct vm *vm)
{
	return vm->vcpu.cpl == 3 ? 4 /* ACCESS_USER */ : 0;
}

#define HANDLER(name) int handle_##name(struct vm *vm, const struct insn *insn)
HANDLER(call); HANDLER(cli); HANDLER(sti); HANDLER(pushf); HANDLER(popf); HANDLER(iret); HANDLER(int);
HANDLER(far_call); HANDLER(far_jmp); HANDLER(far_ret); HANDLER(seg_read); HANDLER(seg_load);
HANDLER(in); HANDLER(out); HANDLER(ins); HANDLER(outs); HANDLER(hlt);
HANDLER(cr_read); HANDLER(cr_write); HANDLER(dr_read); HANDLER(dr_write); HANDLER(dt_store); HANDLER(dt_load);
HANDLER(desc); HANDLER(invlpg); HANDLER(cache); HANDLER(rdmsr); HANDLER(wrmsr); HANDLER(rdpmc); HANDLER(cpuid);
HANDLER(rdtsc); HANDLER(xsetbv); HANDLER(ud); HANDLER(syscall);
#undef HANDLER

#endif
