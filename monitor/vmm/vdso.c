// SPDX-License-Identifier: GPL-3.0-or-later
/* See vdso.h. Linux arch/x86/entry/vdso/vdso32/system_call.S. */
#include "monitor/vmm/vdso.h"

#include "monitor/vmm/emulate.h"
#include "monitor/vmm/far.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/run.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/world.h"

#define PUSHES 3     /* push %ecx; push %edx; push %ebp */
#define CALL_LEN 7   /* the far call: the pushes and four bytes of NOPs */
#define INT_LEN 2    /* int $0x80, behind it */
#define ENTRY_LEN 13 /* up to and including RET */

static bool is_nops(const uint8_t *p, unsigned len)
{
	struct insn insn;

	while (len) {
		int n = insn_decode(&insn, p, len, 0, 32);

		/* NOP, 0F 1F /0, or LEA of a register into itself: no other form stands there */
		if (n <= 0 || !((insn.map == 0 && (insn.opcode == 0x90 || insn.opcode == 0x8d)) ||
				(insn.map == 1 && insn.opcode == 0x1f)))
			return false;
		p += n;
		len -= (unsigned)n;
	}
	return true;
}

static bool is_entry(const uint8_t *p)
{
	static const uint8_t pushes[PUSHES] = {0x51, 0x52, 0x55};
	static const uint8_t rest[] = {0xcd, 0x80, 0x5d, 0x5a, 0x59, 0xc3};

	for (unsigned i = 0; i < sizeof(pushes); i++)
		if (p[i] != pushes[i])
			return false;
	for (unsigned i = 0; i < sizeof(rest); i++)
		if (p[CALL_LEN + i] != rest[i])
			return false;
	world_fpu_guard(); /* the decoder may use vector registers */
	return is_nops(p + PUSHES, CALL_LEN - PUSHES);
}

void vdso_patch(struct vm *vm, struct gpa page)
{
	uint32_t gate = vm->cfg.hole_base + GATE_SYSCALL;
	uint8_t *p = vm_ram(vm, page, PAGE_SIZE);

	/* Blocks of the long engine go the way of INT 0x80 faster. */
	if (vm_long(vm) || vm->vmm->vdso_entry || !vm->cfg.patched || vm->cfg.mode == MODE_TRAP || !p || page.a < vm->cfg.image_start ||
	    page.a >= vm->cfg.image_end)
		return;
	for (unsigned i = 0; i + ENTRY_LEN <= PAGE_SIZE; i++) {
		if (p[i] != 0x51 || !is_entry(p + i))
			continue;
		p[i] = 0x9a; /* lcall $ABI_HOST_CS64, $gate */
		for (unsigned n = 0; n < 4; n++)
			p[i + 1 + n] = (uint8_t)(gate >> 8 * n);
		p[i + 5] = ABI_HOST_CS64;
		p[i + 6] = 0;
		vm->vmm->vdso_entry = (uint32_t)page.a + i;
		return;
	}
}

/* Was the far call at `at` the one that vdso_patch() wrote? */
static bool is_ours(struct vm *vm, struct gva at)
{
	struct walk w;

	return vm->vcpu.cpl == 3 && paging_walk(vm, at, ACCESS_USER | ACCESS_FETCH, &w) == 0 && w.user &&
	       w.at.a == vm->vmm->vdso_entry && vm->vmm->vdso_entry;
}

void vdso_call(struct vm *vm)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t esp = v->gpr[REG_SP], behind = 0, saved[PUSHES];
	struct gva at;

	run_count(vm, EXIT_VDSO);
	if (segment_address(vm, SEG_SS, esp, 4, 0, &at) < 0 || gmem_read(vm, at, &behind, 4, privilege(vm)) < 0)
		return;
	v->eip = behind - CALL_LEN;
	v->gpr[REG_SP] = esp += 8;
	if (!is_ours(vm, gva(v->seg[SEG_CS].base + v->eip))) {
		vcpu_raise(v, EXC_GP, true, ABI_HOST_CS64 & ~3u);
		return;
	}
	saved[0] = v->gpr[REG_BP];
	saved[1] = v->gpr[REG_DX];
	saved[2] = v->gpr[REG_CX];
	if (segment_address(vm, SEG_SS, esp - sizeof(saved), sizeof(saved), ACCESS_WRITE, &at) < 0 ||
	    gmem_write(vm, at, saved, sizeof(saved), privilege(vm) | ACCESS_WRITE) < 0)
		return;
	v->gpr[REG_SP] = esp - sizeof(saved);
	v->eip = behind;
	interrupt_enter(vm, 0x80, EVENT_SOFTWARE, false, 0, behind + INT_LEN);
}
