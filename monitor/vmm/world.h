// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 4.1: The world switch
 *
 * The world switch: from the monitor's 64-bit code to the guest's 32-bit code and back.
 *
 * In:  world_run() loads DS ES FS GS, the general registers, and leaves by IRETQ, which sets CS:EIP, SS:ESP and
 *      EFLAGS (TF included) at once. It works at CPL 3 between code segments of the same privilege.
 * Out: a landing pad jumps to the gate page, which jumps to world_exit_pad. A host signal (fault, kick, SIGSYS)
 *      arrives on the alternate stack; its handler only copies the registers into struct world and turns the
 *      frame into one that resumes at world_exit_signal. So the vector registers are the guest's again
 *      (sigreturn put them back) and both ways out end at the same place: world_run() returns, with the guest's
 *      vector state live in the registers, DF AC TF NT clear, and the host's FS base in place.
 *
 * With the long engine the guest's code is 64-bit code in this very process, entered by a jump; the ways out are the same.
 * But for user code that computes, which it enters as the direct engine does where the host can (soft.h).
 *
 * While vector state is live no code may touch it: monitor/vmm and monitor/dev are compiled without SSE and call
 * no libc. What must (Zydis, libc) calls world_fpu_guard() first; the state returns at the next entry.
 */
#ifndef MONITOR_VMM_WORLD_H
#define MONITOR_VMM_WORLD_H

#include "monitor/vmm/state.h"
#include "monitor/vmm/vm.h"

/* Per process, before the jail: alternate stack and signal handlers. */
int world_prepare(struct diag *d);
/* The entries of the gate page: bytes go to hole + GATE_EXIT, GATE_CALL and GATE_SYSCALL. */
void world_write_gates(uint8_t *gate_page);
/* One entry's code: clear PKRU if the host has it, jump to target. At most 64 bytes. */
void world_gate_code(uint8_t *at, const void *target, bool pku);

/*
 * Run the guest until the next exit; reason and registers in *VM->vmm's world. Returns at once with WORLD_KICK when
 * a kick arrived since world_clear_kick(): so check for events between the two.
 */
void world_run(void);
void world_run_long(void); /* the same for 64-bit blocks; world.iret.rip is an address from LONG_BASE on */
void world_enter(const struct vm *vm); /* the one of the two that is due */

/* Is it 64-bit blocks that run next, or ran last? */
static inline bool world_is_long(const struct vm *vm)
{
	return vm_long(vm) && !vm->vmm->world.native;
}
void world_clear_kick(void);

void world_fpu_guard(void);   /* save the guest's vector state, give libc a clean one */
bool world_fpu_has_x87(const struct vmm_state *s); /* the saved state: is the x87 not in its initial one? */
void world_fpu_restore(void); /* the other way; done by world_run() too */

#endif
