// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * See trap.h. The trap number and error code are the hardware's, as Linux hands them over in the signal frame;
 * the signal number matters only for SIGSYS (the host's own system call path).
 */
#include "monitor/vmm/trap.h"

#include <errno.h>
#include <signal.h>

#include "monitor/vmm/code.h"
#include "monitor/vmm/emulate.h"
#include "monitor/vmm/far.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/module.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/run.h"
#include "monitor/vmm/shadow.h"
#include "monitor/vmm/shadow_seg.h"
#include "monitor/vmm/soft.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/translate.h"
#include "monitor/vmm/vdso.h"
#include "monitor/vmm/worker.h"
#include "monitor/vmm/world.h"
#include "monitor/vmm/xol.h"

#define HOST_PF_W 2
#define HOST_PF_I 16

static int pass_on(struct vm *vm, unsigned vector, bool has_error, uint32_t error)
{
	run_count(vm, EXIT_EXCEPTION);
	return vcpu_raise(&vm->vcpu, vector, has_error, error);
}

/* The original instruction at a site: decoded once at load. NULL when eip is no site in a window. */
static const struct insn *site_insn(struct vm *vm)
{
	bool direct = vm->vcpu.cpl != 3 && !vm->vmm->in_block;
	uint32_t site = direct ? code_site_at(vm, vm->vcpu.eip) : MANIFEST_NONE;

	if (site == MANIFEST_NONE || vm->manifest.sites[site].window == MANIFEST_NONE)
		return NULL;
	return &vm->site_insns[site];
}

static int emulate_counted(struct vm *vm, const struct insn *insn, enum exit_reason reason)
{
	run_count(vm, reason);
	run_count_site(vm, reason, vm->vcpu.eip, insn->op);
	return emulate(vm, insn) < 0 ? -EFAULT : 0;
}

struct operand_at {
	uint32_t linear;
	unsigned access;
};

/* Where the instruction's stack operand lies if it has one: POP reads, everything else that gets here pushes. */
static struct operand_at stack_operand(const struct vcpu *v, const struct insn *insn)
{
	bool pops = insn->map == 0 && ((insn->opcode & 0xf8) == 0x58 || insn->opcode == 0x61 || insn->opcode == 0x8f);
	uint32_t esp = v->seg[SEG_SS].base + v->gpr[REG_SP];

	return pops ? (struct operand_at){esp, 0} : (struct operand_at){esp - 4, ACCESS_WRITE};
}

/*
 * #GP or #SS by our truncation of user segments: hardware would have got as far as the page walk. Look at every
 * linear address that the instruction touches; the first one that user mode may not reach is the #PF. Whether a
 * ModRM operand is written is not known here: the error code then says that it was read.
 */
static bool truncation_fault(struct vm *vm, const struct insn *insn)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t split = vm->cfg.kernel_split;
	struct operand_at candidates[3];
	unsigned n = 0;
	struct walk walk;

	if (insn->has_mem && insn->seg < SEG_COUNT) {
		uint32_t ea = (uint32_t)insn->disp;

		ea += insn->base == REG_NONE ? 0 : v->gpr[insn->base];
		ea += insn->index == REG_NONE ? 0 : v->gpr[insn->index] * insn->scale;
		candidates[n++] = (struct operand_at){v->seg[insn->seg].base + ea, 0};
	} else if (insn->seg < SEG_COUNT) { /* string or moffs */
		uint32_t ea = insn->disp ? (uint32_t)insn->disp : v->gpr[REG_SI];

		candidates[n++] = (struct operand_at){v->seg[insn->seg].base + ea, 0};
	}
	if (!insn->has_modrm && insn->map == 0 &&
	    ((insn->opcode & 0xfc) == 0xa4 || (insn->opcode & 0xfe) == 0xaa || (insn->opcode & 0xfe) == 0xae ||
	     (insn->opcode & 0xfe) == 0x6c)) {
		bool reads = (insn->opcode & 0xfe) == 0xa6 || (insn->opcode & 0xfe) == 0xae; /* CMPS, SCAS */

		candidates[n++] =
		    (struct operand_at){v->seg[SEG_ES].base + v->gpr[REG_DI], reads ? 0 : ACCESS_WRITE};
	}
	candidates[n++] = stack_operand(v, insn);
	for (unsigned i = 0; i < n; i++) {
		uint32_t at = candidates[i].linear;

		if (at < split && at + 15 < split) /* not even one that straddles the limit */
			continue;
		if (at < split && paging_walk(vm, gva(at), ACCESS_USER | candidates[i].access, &walk) == 0)
			at = split;
		if (paging_walk(vm, gva(at), ACCESS_USER | candidates[i].access, &walk) < 0) {
			vcpu_raise_pf(v, gva(at), walk.error);
			return true;
		}
	}
	return false;
}

/* #GP, #SS, #NP: a sensitive instruction, our own truncation, or the guest's fault. */
static int protection_fault(struct vm *vm, unsigned vector)
{
	struct vcpu *v = &vm->vcpu;
	const struct insn *site = site_insn(vm);
	uint8_t bytes[INSN_MAX];
	struct insn insn;

	if (site)
		return emulate_counted(vm, site, EXIT_TRAP);
	if (vm->vmm->segments_changed) {
		run_count(vm, EXIT_SEGMENT);
		return 0;
	}
	if (emulate_fetch(vm, &insn, bytes) < 0)
		return -EFAULT;
	if (insn_is_sensitive(&insn)) {
		enum exit_reason why = policy_get(insn.op)->hypercall == HC_INT && v->cpl == 3 ? EXIT_SYSCALL : EXIT_TRAP;

		if (v->cpl != 3 && !vm->vmm->in_block)
			module_trapped(vm, v->eip);
		if (why == EXIT_SYSCALL)
			translate_user_trapped(vm);
		return emulate_counted(vm, &insn, why);
	}
	if (world_is_long(vm) && (insn.seg == SEG_FS || insn.seg == SEG_GS) && !segment_is_unlimited(&v->seg[insn.seg]))
		return xol_execute(vm, &insn, bytes);
	if (shadow_seg_truncates(vm)) {
		if (insn.flow != FLOW_NEXT && insn.flow != FLOW_STOP)
			return xol_execute(vm, &insn, bytes);
		if (truncation_fault(vm, &insn)) {
			run_count(vm, EXIT_PAGE_GUEST);
			return -EFAULT;
		}
	}
	return pass_on(vm, vector, true, vm->vmm->world.error);
}

/*
 * The decision takes it from here. It looks at the page where the instruction starts: when that one may run, the
 * fault was on the next page, and entering again would only repeat it.
 */
static void fetch_refused(struct vm *vm)
{
	vm->vmm->step_once = shadow_executable(vm, gva(vm->vcpu.seg[SEG_CS].base + vm->vcpu.eip));
}

/* The guest's linear address of a fault. False when the access ran out of the 4 GiB, at their upper end. */
static bool fault_linear(const struct vm *vm, uint32_t *at)
{
	uint64_t address = vm->vmm->world.fault_address;

	*at = (uint32_t)address;
	return !vm_long(vm) || (address - (vm->vcpu.cpl == 3 ? 0 : LONG_WINDOW)) >> 32 == 0;
}

/* No RAM there, or the host cannot map it. */
static int emulated_access(struct vm *vm, unsigned access)
{
	run_count(vm, EXIT_MMIO);
	if (!(access & ACCESS_FETCH))
		return xol_redirect(vm);
	fetch_refused(vm);
	return 0;
}

/* In a block of user code, nothing but INT goes by the window: to the guest's tables and the stack that its TSS names. */
static bool is_gates_access(const struct vm *vm)
{
	return vm_long(vm) && vm->vcpu.cpl == 3 && vm->vmm->in_block &&
	       (vm->vmm->world.fault_address - LONG_WINDOW) >> 32 == 0;
}

/* Map the page for the next time; where that is not all that there is to it, INT is the monitor's. */
static int gates_access(struct vm *vm)
{
	const struct world *w = &vm->vmm->world;

	run_count(vm, EXIT_PAGE_MAP);
	if (shadow_fault(vm, gva((uint32_t)w->fault_address), w->error & HOST_PF_W ? ACCESS_WRITE : 0) == SHADOW_MAPPED)
		return 0;
	vm->vcpu.exc_vector = EXC_NONE;
	vm->vmm->step_once = 1;
	return 0;
}

static int page_fault(struct vm *vm)
{
	const struct world *w = &vm->vmm->world;
	uint64_t demoted = vm->stats.pages_demoted;
	struct walk walk;
	unsigned access = privilege(vm);
	uint32_t at;

	if (vm->vmm->segments_changed && vm->vcpu.cpl == 3) {
		run_count(vm, EXIT_SEGMENT);
		return 0;
	}
	if (is_gates_access(vm))
		return gates_access(vm);
	access |= w->error & HOST_PF_W ? ACCESS_WRITE : 0;
	access |= w->error & HOST_PF_I ? ACCESS_FETCH : 0;
	if ((access & ACCESS_FETCH) && w->eip - vm->cfg.hole_base < vm->cfg.hole_size &&
	    paging_walk(vm, gva(w->eip), access, &walk) == 0) { /* else it is the #PF that hardware gives */
		vm_stop(vm, STOP_GUEST, w->eip, "the guest jumped into the hole of the monitor");
		return -ECANCELED;
	}
	if (!fault_linear(vm, &at))
		return emulated_access(vm, access);
	if (soft_learn(vm, gva(at)))
		return 0;
	switch (shadow_fault(vm, gva(at), access)) {
	case SHADOW_MAPPED:
		/* A page that was code may be the writer's own under another address. */
		vm->vmm->step_once = (access & ACCESS_WRITE) && (vm->stats.pages_demoted != demoted ||
								      run_same_page(vm, at));
		run_count(vm, access & ACCESS_FETCH ? EXIT_PAGE_CODE : EXIT_PAGE_MAP);
		return 0;
	case SHADOW_RAISED:
		if (access & ACCESS_WRITE && vdso_pushes_nothing(vm)) { /* but our far call did */
			vm->vcpu.exc_vector = EXC_NONE;
			vm->vmm->step_once = 1;
			return 0;
		}
		run_count(vm, EXIT_PAGE_GUEST);
		run_note_fault(vm, gva(at), access);
		return -EFAULT;
	case SHADOW_UNVERIFIED:
		if (vm->vcpu.cpl != 3) {
			run_count(vm, EXIT_BLOCK_FAULT);
			translate_crossed(vm);
		}
		fetch_refused(vm);
		return 0;
	case SHADOW_AWAY:
		worker_go_home(vm);
		return 0;
	case SHADOW_EMULATE:
		return emulated_access(vm, access);
	}
	return 0;
}

/* #UD: instructions that hardware lacks or hides, and those that only a hypervisor answers. */
static int invalid_opcode(struct vm *vm)
{
	uint8_t bytes[INSN_MAX];
	struct insn insn;

	if (emulate_fetch(vm, &insn, bytes) < 0)
		return -EFAULT;
	if (insn_is_sensitive(&insn) && policy_get(insn.op)->hypercall != HC_UD)
		return emulate_counted(vm, &insn, EXIT_TRAP);
	return pass_on(vm, EXC_UD, false, 0);
}

/* INT3 and INTO report the address behind them; INT n too when the host's gate let it through. */
static int breakpoint(struct vm *vm, unsigned vector)
{
	struct vcpu *v = &vm->vcpu;
	uint8_t bytes[2];
	const struct insn *site;
	struct insn insn;
	uint8_t raw[INSN_MAX];
	bool online;

	v->eip -= 1;
	online = v->cpl != 3 && code_online(vm, v->eip);
	/* in trap mode the sites are HLT: an INT3 there is the guest's own */
	site = online || vm->cfg.mode == MODE_TRAP ? NULL : site_insn(vm);
	if (site)
		return emulate_counted(vm, site, EXIT_BREAKPOINT);
	if (v->cpl != 3 && !vm->vmm->in_block && code_in_window(vm, v->eip)) { /* our filling: control came into the middle of a window */
		run_count(vm, EXIT_BREAKPOINT);
		run_count_site(vm, EXIT_BREAKPOINT, v->eip, OP_NONE);
		return 0;
	}
	if (gmem_read(vm, gva(v->seg[SEG_CS].base + v->eip - 1), bytes, 2, 0) == 0 && bytes[0] == 0xcd &&
	    bytes[1] == vector)
		v->eip -= 1;
	v->exc_vector = EXC_NONE;
	if (emulate_fetch(vm, &insn, raw) < 0)
		return -EFAULT;
	if (!insn_is_sensitive(&insn))
		return pass_on(vm, vector, false, 0);
	return emulate_counted(vm, &insn, online ? EXIT_BREAKPOINT : EXIT_SYSCALL);
}

/*
 * The host's system call path, stopped by the entry filter. INT 0x80 reports the address behind it. SYSCALL and
 * SYSENTER, which the guest's CPUID hides, lose EIP; pages that visibly contain them never run directly, so this is
 * code that came after the look: the best that is known is that it is #UD.
 */
static int system_call(struct vm *vm)
{
	struct vcpu *v = &vm->vcpu;
	uint8_t bytes[2];

	if (gmem_read(vm, gva(v->seg[SEG_CS].base + v->eip - 2), bytes, 2, privilege(vm)) == 0 && bytes[0] == 0xcd &&
	    bytes[1] == 0x80) {
		uint8_t raw[INSN_MAX];
		struct insn insn;

		v->eip -= 2;
		if (emulate_fetch(vm, &insn, raw) < 0)
			return -EFAULT;
		translate_user_trapped(vm);
		return emulate_counted(vm, &insn, EXIT_SYSCALL);
	}
	v->exc_vector = EXC_NONE;
	return pass_on(vm, EXC_UD, false, 0);
}

int trap_handle(struct vm *vm)
{
	const struct world *w = &vm->vmm->world;

	if (w->site == SIGSYS)
		return system_call(vm);
	switch (w->trapno) {
	case EXC_PF:
		return page_fault(vm);
	case EXC_GP:
	case EXC_SS:
	case EXC_NP:
		return protection_fault(vm, w->trapno);
	case EXC_UD:
		return invalid_opcode(vm);
	case EXC_BP:
	case EXC_OF:
		return breakpoint(vm, w->trapno);
	case EXC_DB:
		vm->vcpu.dr[6] |= BIT(14);
		return pass_on(vm, EXC_DB, false, 0);
	case EXC_AC:
		if (!(vm->vcpu.cr0 & CR0_AM)) /* the host always has it set */
			return xol_step(vm);
		return pass_on(vm, EXC_AC, true, 0);
	case EXC_DE:
	case EXC_BR:
	case EXC_MF:
	case EXC_XM:
	case EXC_NM:
		return pass_on(vm, w->trapno, false, 0);
	default:
		vm_stop(vm, STOP_MONITOR, w->trapno, "an unexpected host signal in guest code");
		return -ECANCELED;
	}
}
