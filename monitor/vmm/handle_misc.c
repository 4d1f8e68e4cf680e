// SPDX-License-Identifier: GPL-3.0-or-later
/* MSRs, CPUID, time stamp, XCR0, caches, and the hypercalls proper. */
#include <errno.h>

#include "hypercalls/abi.h"
#include "monitor/vmm/clock.h"
#include "monitor/vmm/cpuid.h"
#include "monitor/vmm/emulate.h"
#include "monitor/vmm/io.h"
#include "monitor/vmm/msr.h"

#define KVM_ENOSYS 1000 /* what KVM answers to a number that it does not know; Linux kvm_para.h */

static int gp0(struct vm *vm)
{
	return vcpu_raise(&vm->vcpu, EXC_GP, true, 0);
}

int handle_rdmsr(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	uint64_t value;
	int err;

	(void)insn;
	if (v->cpl)
		return gp0(vm);
	err = msr_read(vm, v->gpr[REG_CX], &value);
	if (err < 0)
		return err;
	v->gpr[REG_AX] = (uint32_t)value;
	v->gpr[REG_DX] = (uint32_t)(value >> 32);
	return EMU_NEXT;
}

int handle_wrmsr(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;

	(void)insn;
	if (v->cpl)
		return gp0(vm);
	return msr_write(vm, v->gpr[REG_CX], (uint64_t)v->gpr[REG_DX] << 32 | v->gpr[REG_AX]);
}

int handle_rdpmc(struct vm *vm, const struct insn *insn)
{
	(void)insn;
	return gp0(vm);
}

int handle_cpuid(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t out[4];

	(void)insn;
	cpuid_ask(vm, v->gpr[REG_AX], v->gpr[REG_CX], out);
	v->gpr[REG_AX] = out[0];
	v->gpr[REG_BX] = out[1];
	v->gpr[REG_CX] = out[2];
	v->gpr[REG_DX] = out[3];
	return EMU_NEXT;
}

int handle_rdtsc(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	uint64_t tsc = clock_tsc() + v->tsc_offset;

	if ((v->cr4 & CR4_TSD) && v->cpl)
		return gp0(vm);
	if (insn->op == OP_RDTSCP)
		return vcpu_raise(v, EXC_UD, false, 0); /* hidden in CPUID */
	v->gpr[REG_AX] = (uint32_t)tsc;
	v->gpr[REG_DX] = (uint32_t)(tsc >> 32);
	return EMU_NEXT;
}

int handle_xsetbv(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	uint64_t value = (uint64_t)v->gpr[REG_DX] << 32 | v->gpr[REG_AX];

	(void)insn;
	if (!(v->cr4 & CR4_OSXSAVE))
		return vcpu_raise(v, EXC_UD, false, 0);
	/* XCR0 stays the host's, which the instructions run under: a guest takes all that it is offered, or nothing. */
	if (v->cpl || v->gpr[REG_CX] || value != vm->cfg.xcr0)
		return gp0(vm);
	return EMU_NEXT;
}

int handle_cache(struct vm *vm, const struct insn *insn)
{
	(void)insn;
	return vm->vcpu.cpl ? gp0(vm) : EMU_NEXT;
}

int handle_ud(struct vm *vm, const struct insn *insn)
{
	(void)insn;
	return vcpu_raise(&vm->vcpu, EXC_UD, false, 0);
}

/* EAX: enum abi_call; SDM 3C VMCALL is where hypervisors usually put this. */
int handle_call(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t arg = v->gpr[REG_BX];

	(void)insn;
	if (v->cpl)
		return vcpu_raise(v, EXC_UD, false, 0);
	switch (v->gpr[REG_AX]) {
	case ABI_CALL_VERSION:
		v->gpr[REG_AX] = ABI_VERSION;
		break;
	case ABI_CALL_PUTCHAR:
		if (ring_put(&vm->shared.console_out, (uint8_t)arg) == RING_WAKE)
			io_notify(vm);
		v->gpr[REG_AX] = 0;
		break;
	case ABI_CALL_EXIT:
		vm_stop(vm, arg ? STOP_CRASH : STOP_POWEROFF, arg, "the guest ended the run");
		return -ECANCELED;
	case ABI_CALL_STATS:
		v->gpr[REG_AX] = arg < EXIT_REASON_COUNT ? (uint32_t)vm->stats.exits[arg] : (uint32_t)-EINVAL;
		break;
	default:
		v->gpr[REG_AX] = (uint32_t)-KVM_ENOSYS;
	}
	return EMU_NEXT;
}

int handle_syscall(struct vm *vm, const struct insn *insn)
{
	return handle_ud(vm, insn); /* only 64-bit guests have these, and their CPUID bits are hidden from i386 ones */
}
