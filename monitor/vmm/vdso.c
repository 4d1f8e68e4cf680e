// SPDX-License-Identifier: GPL-3.0-or-later
/* See vdso.h. Linux arch/x86/entry/vdso/vdso32/system_call.S, sigreturn.S. */
#include "monitor/vmm/vdso.h"

#include <errno.h>

#include "monitor/vmm/emulate.h"
#include "monitor/vmm/far.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/mem.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/run.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/world.h"

#define PUSHES 3 /* push %ecx; push %edx; push %ebp */
#define CALL_LEN VDSO_CALL_LEN
#define INT_LEN 2    /* int $0x80: behind the call, or the end of what it replaced */
#define ENTRY_LEN 13 /* up to and including RET */
#define MOV_LEN 5    /* mov $number, %eax */

static const struct sigreturn {
	uint8_t code[8];
	uint8_t len, call_at, number;
} sigreturns[] = {
    {{0x58, 0xb8, 119, 0, 0, 0, 0xcd, 0x80}, 8, 1, 119}, /* pop %eax */
    {{0xb8, 173, 0, 0, 0, 0xcd, 0x80}, 7, 0, 173},
};

static bool same(const uint8_t *a, const uint8_t *b, unsigned len)
{
	while (len && *a == *b)
		a++, b++, len--;
	return !len;
}

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

	if (!same(p, pushes, sizeof(pushes)) || !same(p + CALL_LEN, rest, sizeof(rest)))
		return false;
	world_fpu_guard(); /* the decoder may use vector registers */
	return is_nops(p + PUSHES, CALL_LEN - PUSHES);
}

/* lcall $ABI_HOST_CS64, $gate */
static void far_call_code(const struct vm *vm, uint8_t *code)
{
	uint32_t gate = vm->cfg.hole_base + GATE_SYSCALL;

	code[0] = 0x9a;
	mem_copy(code + 1, &gate, 4);
	code[5] = ABI_HOST_CS64;
	code[6] = 0;
}

static void patch(struct vm *vm, uint8_t *page, unsigned offset, enum vdso_kind kind)
{
	struct vdso_site *s = &vm->vmm->vdso[vm->vmm->n_vdso++];

	s->offset = (uint16_t)offset;
	s->kind = (uint8_t)kind;
	mem_copy(s->was, page + offset, CALL_LEN);
	far_call_code(vm, page + offset);
}

static void look_at(struct vm *vm, uint8_t *p, unsigned offset)
{
	unsigned rest = PAGE_SIZE - offset;

	if (rest >= ENTRY_LEN && p[offset] == 0x51 && is_entry(p + offset))
		patch(vm, p, offset, VDSO_ENTRY);
	for (unsigned i = 0; i < ARRAY_LEN(sigreturns); i++)
		if (rest >= sigreturns[i].len && same(p + offset, sigreturns[i].code, sigreturns[i].len))
			patch(vm, p, offset + sigreturns[i].call_at, VDSO_SIGRETURN + i);
}

void vdso_patch(struct vm *vm, struct gpa page)
{
	uint8_t *p = vm_ram(vm, page, PAGE_SIZE);

	/* Blocks of the long engine go the way of INT 0x80 faster. */
	if (vm_long(vm) || vm->vmm->n_vdso || !vm->cfg.patched || vm->cfg.mode == MODE_TRAP || !p ||
	    page.a < vm->cfg.image_start || page.a >= vm->cfg.image_end)
		return;
	for (unsigned i = 0; i < PAGE_SIZE && vm->vmm->n_vdso < ARRAY_LEN(vm->vmm->vdso); i++)
		look_at(vm, p, i);
}

static bool holds(const struct vm *vm, const uint8_t *page, const struct vdso_site *s)
{
	uint8_t code[CALL_LEN];

	far_call_code(vm, code);
	return same(page + s->offset, code, CALL_LEN);
}

bool vdso_on_page(struct vm *vm, struct gpa page)
{
	const uint8_t *p = vm_ram(vm, page, PAGE_SIZE);

	for (unsigned i = 0; p && i < vm->vmm->n_vdso; i++)
		if (holds(vm, p, &vm->vmm->vdso[i]))
			return true;
	return false;
}

/* The site whose window `at` lies in, in the vDSO or in a program's copy of it. */
static const struct vdso_site *site_at(struct vm *vm, uint32_t at)
{
	unsigned offset = at % PAGE_SIZE;
	const uint8_t *p;
	struct walk w;

	for (unsigned i = 0; i < vm->vmm->n_vdso; i++) {
		const struct vdso_site *s = &vm->vmm->vdso[i];

		if (offset - s->offset >= CALL_LEN)
			continue;
		if (paging_walk(vm, gva(at), ACCESS_USER | ACCESS_FETCH, &w) < 0)
			return NULL;
		p = vm_ram(vm, gpa(w.at.a & ~(uint64_t)(PAGE_SIZE - 1)), PAGE_SIZE);
		return p && holds(vm, p, s) ? s : NULL;
	}
	return NULL;
}

static const struct vdso_site *site_here(struct vm *vm)
{
	const struct vcpu *v = &vm->vcpu;

	return v->cpl == 3 ? site_at(vm, v->seg[SEG_CS].base + v->eip) : NULL;
}

bool vdso_inside(struct vm *vm)
{
	const struct vdso_site *s = vm->vmm->n_vdso ? site_here(vm) : NULL;

	return s && (vm->vcpu.seg[SEG_CS].base + vm->vcpu.eip) % PAGE_SIZE != s->offset;
}

bool vdso_pushes_nothing(struct vm *vm)
{
	const struct vdso_site *s = vm->vmm->n_vdso ? site_here(vm) : NULL;

	return s && s->kind != VDSO_ENTRY;
}

void vdso_original(struct vm *vm, uint32_t at, uint8_t *bytes, unsigned n)
{
	const struct vdso_site *s = vm->vmm->n_vdso && vm->vcpu.cpl == 3 ? site_at(vm, at) : NULL;
	unsigned from = s ? at % PAGE_SIZE - s->offset : CALL_LEN;

	for (unsigned i = 0; i < n && from + i < CALL_LEN; i++)
		bytes[i] = s->was[from + i];
}

static int push_all(struct vm *vm)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t esp = v->gpr[REG_SP], saved[PUSHES] = {v->gpr[REG_BP], v->gpr[REG_DX], v->gpr[REG_CX]};
	struct gva at;

	if (segment_address(vm, SEG_SS, esp - sizeof(saved), sizeof(saved), ACCESS_WRITE, &at) < 0 ||
	    gmem_write(vm, at, saved, sizeof(saved), privilege(vm) | ACCESS_WRITE) < 0)
		return -EFAULT;
	v->gpr[REG_SP] = esp - sizeof(saved);
	return 0;
}

void vdso_call(struct vm *vm)
{
	struct vcpu *v = &vm->vcpu;
	uint32_t esp = v->gpr[REG_SP], behind = 0;
	const struct vdso_site *s;
	struct gva at;

	run_count(vm, EXIT_VDSO);
	if (segment_address(vm, SEG_SS, esp, 4, 0, &at) < 0 ||
	    gmem_read(vm, at, &behind, 4, privilege(vm)) < 0)
		return;
	v->eip = behind - CALL_LEN;
	v->gpr[REG_SP] = esp + 8;
	s = site_here(vm);
	if (!s || (v->seg[SEG_CS].base + v->eip) % PAGE_SIZE != s->offset) {
		vcpu_raise(v, EXC_GP, true, ABI_HOST_CS64 & ~3u);
		return;
	}
	if (s->kind == VDSO_ENTRY) {
		if (push_all(vm) < 0)
			return;
		v->eip = behind;
	} else {
		v->gpr[REG_AX] = sigreturns[s->kind - VDSO_SIGRETURN].number;
		v->eip += MOV_LEN;
	}
	interrupt_enter(vm, 0x80, EVENT_SOFTWARE, false, 0, v->eip + INT_LEN);
}
