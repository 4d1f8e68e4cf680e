// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Which CPL 0 instructions do not go by the window (soft.h): those that reach user memory, and those that reach pages which
 * the kernel maps for the moment (Linux's kmap: each would be a mapping of the host). Nothing in their bytes tells, so
 * each is learned when it faults in the window for the first time. A kernel has some hundreds of them.
 */
#include "hypercalls/lower_long.h"
#include "monitor/vmm/emulate.h"
#include "monitor/vmm/interpret.h"
#include "monitor/vmm/paging.h"
#include "monitor/vmm/shadow.h"
#include "monitor/vmm/soft.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/translate_state.h"

static uint32_t slot_of(const struct translate *t, uint32_t eip)
{
	uint32_t i = (eip ^ eip >> 13) % SOFT_EIPS;

	while (t->soft_eip[i] && t->soft_eip[i] != eip)
		i = (i + 1) % SOFT_EIPS;
	return i;
}

enum soft_way soft_way(const struct vm *vm, uint32_t eip)
{
	const struct translate *t = vm->vmm->translate;

	return vm->cfg.soft ? t->soft_way[slot_of(t, eip)] : SOFT_NO;
}

static bool is_user_page(struct vm *vm, struct gva at)
{
	struct walk w;

	return paging_walk(vm, at, 0, &w) == 0 && w.user;
}

/* Can the monitor do it in a microsecond? Of repeated string instructions it does MOVS and STOS by whole pages. */
static bool is_quick(const struct insn *insn)
{
	if (lower_long_soft_leaves(insn) && (insn->prefixes & (INSN_REP | INSN_REPNE)))
		return (insn->opcode & 0xfe) == 0xa4 || (insn->opcode & 0xfe) == 0xaa;
	return interpret_can(insn);
}

static bool fetch(struct vm *vm, struct insn *insn)
{
	uint8_t bytes[INSN_MAX];
	int err = emulate_fetch(vm, insn, bytes);

	if (err < 0)
		vm->vcpu.exc_vector = EXC_NONE;
	return err >= 0;
}

static void note(struct vm *vm, uint32_t eip, enum soft_way way)
{
	struct translate *t = vm->vmm->translate;
	uint32_t slot = slot_of(t, eip), page = t->by_linear[eip >> PAGE_SHIFT];

	t->n_soft_eips += !t->soft_eip[slot];
	t->soft_eip[slot] = eip;
	t->soft_way[slot] = way;
	if (page)
		cache_drop_blocks(vm, t->page[page].pfn);
}

/* A string has two sides: one that goes by the table may come upon what is remapped with the other. */
bool soft_learn(struct vm *vm, struct gva at)
{
	struct translate *t = vm->vmm->translate;
	uint32_t eip = vm->vcpu.eip;
	enum soft_way before = soft_way(vm, eip);
	struct insn insn;

	if (!vm->cfg.soft || vm->vcpu.cpl == 3 || !vm->vmm->in_block || before == SOFT_ASIDE ||
	    t->n_soft_eips == SOFT_EIPS / 2)
		return false;
	if (!before && at.a < vm->cfg.kernel_split && is_user_page(vm, at)) {
		note(vm, eip, SOFT_TABLE);
		return true;
	}
	if (!shadow_remaps(vm, at) || !fetch(vm, &insn) || !is_quick(&insn))
		return false;
	note(vm, eip, SOFT_ASIDE);
	return true;
}
