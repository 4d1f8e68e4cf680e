// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 5.1: The guest's page walk
 *
 * The page walk that hardware does on a TLB miss (SDM 3A 4.3 32-bit paging, 4.4 PAE, 4.6 access rights, 4.7 page
 * fault error codes, 4.8 accessed and dirty). The guest's tables are ordinary RAM and nothing is cached: every walk
 * reads them again. What a TLB would have kept is the shadow MMU's business, which remembers whole walks.
 */
#include "monitor/vmm/paging.h"

#include <errno.h>

#include "monitor/vmm/vm.h"

/* Reserved bits of present entries, SDM 3A tables 4-5 and 4-8 to 4-11, for PAGING_PHYS_BITS. */
#define PAE_HIGH_RSVD (0x7fffffffffffffffull & ~((1ull << PAGING_PHYS_BITS) - 1))
#define PAE_ADDRESS (((1ull << PAGING_PHYS_BITS) - 1) & ~0xfffull)
#define PAE_LARGE_RSVD 0x1fe000ull /* bits 20:13 of a 2 MiB PDE */
#define PDPTE_RSVD (PAE_HIGH_RSVD | PTE_NX | 0x1e6ull)
#define PSE36_RSVD (0x3fffffu & (0xffffffffu << (PAGING_PHYS_BITS - 32 + 13))) /* bits 21:(M-19) of a 4 MiB PDE */

/* Absent memory reads as ones. */
static uint64_t entry_read(const struct vm *vm, struct gpa at, bool wide)
{
	const void *p = vm_ram(vm, at, wide ? 8 : 4);

	if (!p)
		return wide ? UINT64_MAX : UINT32_MAX;
	if (wide)
		return __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED);
	return __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED);
}

static void entry_mark(const struct vm *vm, struct gpa at, bool wide, uint64_t *value, uint32_t bits)
{
	void *p = vm_ram(vm, at, wide ? 8 : 4);
	uint32_t old32 = (uint32_t)*value;
	uint64_t old64 = *value;

	if ((*value & bits) == bits)
		return;
	*value |= bits;
	if (!p)
		return;
	/* An entry that is no longer the one walked keeps its bits: the next access walks it again. */
	if (wide)
		__atomic_compare_exchange_n((uint64_t *)p, &old64, old64 | bits, false, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED);
	else
		__atomic_compare_exchange_n((uint32_t *)p, &old32, old32 | bits, false, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED);
}

enum paging_mode paging_mode(const struct vcpu *v)
{
	if (!(v->cr0 & CR0_PG))
		return PAGING_OFF;
	return v->cr4 & CR4_PAE ? PAGING_PAE : PAGING_32;
}

/* The error code's bits that describe the access itself. I is reported only where NX can matter (SDM 3A 4.7). */
static uint32_t access_error(const struct vcpu *v, unsigned access)
{
	uint32_t error = 0;

	if (access & ACCESS_WRITE)
		error |= PF_W;
	if (access & ACCESS_USER)
		error |= PF_U;
	if ((access & ACCESS_FETCH) && (v->cr4 & CR4_PAE) && (v->efer & EFER_NXE))
		error |= PF_I;
	return error;
}

static int walk_refuse(const struct vcpu *v, struct walk *w, unsigned access, uint32_t why)
{
	w->error = access_error(v, access) | why;
	return -EFAULT;
}

static int walk_rights(const struct vcpu *v, struct walk *w, unsigned access)
{
	bool wp = (access & ACCESS_USER) || (v->cr0 & CR0_WP);

	if (((access & ACCESS_USER) && !w->user) || ((access & ACCESS_WRITE) && wp && !w->write) ||
	    ((access & ACCESS_FETCH) && !w->exec))
		return walk_refuse(v, w, access, PF_P);
	return 0;
}

static void walk_leaf(const struct vcpu *v, struct walk *w, uint64_t leaf)
{
	w->present = true;
	w->dirty = leaf & PTE_D;
	w->global = (leaf & PTE_G) && (v->cr4 & CR4_PGE);
}

static int walk_off(const struct vcpu *v, struct gva at, struct walk *w)
{
	(void)v;
	w->at = gpa(at.a);
	w->page_size = 4u << 20;
	w->write = w->user = w->exec = w->dirty = w->present = true;
	return 0;
}

static int walk_32(struct vm *vm, struct gva at, unsigned access, struct walk *w)
{
	const struct vcpu *v = &vm->vcpu;

	w->pde_at = gpa((v->cr3 & PAGE_MASK) + (at.a >> 22) * 4);
	w->pde = entry_read(vm, w->pde_at, false);
	if (!(w->pde & PTE_P))
		return walk_refuse(v, w, access, 0);
	w->write = w->pde & PTE_W;
	w->user = w->pde & PTE_U;
	w->exec = true;
	if ((w->pde & PTE_PS) && (v->cr4 & CR4_PSE)) {
		if (w->pde & PSE36_RSVD)
			return walk_refuse(v, w, access, PF_P | PF_RSVD);
		w->page_size = 4u << 20;
		w->at = gpa((w->pde & 0xffc00000u) | (w->pde >> 13 & 0xff) << 32 | (at.a & 0x3fffff));
		walk_leaf(v, w, w->pde);
		return walk_rights(v, w, access);
	}
	w->pte_at = gpa((w->pde & PAGE_MASK) + (at.a >> 12 & 0x3ff) * 4);
	w->pte = entry_read(vm, w->pte_at, false);
	if (!(w->pte & PTE_P))
		return walk_refuse(v, w, access, 0);
	w->write &= !!(w->pte & PTE_W);
	w->user &= !!(w->pte & PTE_U);
	w->page_size = PAGE_SIZE;
	w->at = gpa((w->pte & PAGE_MASK) | (at.a & ~PAGE_MASK));
	walk_leaf(v, w, w->pte);
	return walk_rights(v, w, access);
}

static int walk_pae(struct vm *vm, struct gva at, unsigned access, struct walk *w)
{
	const struct vcpu *v = &vm->vcpu;
	uint64_t rsvd = PAE_HIGH_RSVD | (v->efer & EFER_NXE ? 0 : PTE_NX);

	w->pdpte = v->pdpte[at.a >> 30];
	if (!(w->pdpte & PTE_P))
		return walk_refuse(v, w, access, 0);
	w->pde_at = gpa((w->pdpte & PAE_ADDRESS) + (at.a >> 21 & 0x1ff) * 8);
	w->pde = entry_read(vm, w->pde_at, true);
	if (!(w->pde & PTE_P))
		return walk_refuse(v, w, access, 0);
	if ((w->pde & rsvd) || ((w->pde & PTE_PS) && (w->pde & PAE_LARGE_RSVD)))
		return walk_refuse(v, w, access, PF_P | PF_RSVD);
	w->write = w->pde & PTE_W;
	w->user = w->pde & PTE_U;
	w->exec = !(w->pde & PTE_NX);
	if (w->pde & PTE_PS) {
		w->page_size = 2u << 20;
		w->at = gpa((w->pde & PAE_ADDRESS & ~0x1fffffull) | (at.a & 0x1fffff));
		walk_leaf(v, w, w->pde);
		return walk_rights(v, w, access);
	}
	w->pte_at = gpa((w->pde & PAE_ADDRESS) + (at.a >> 12 & 0x1ff) * 8);
	w->pte = entry_read(vm, w->pte_at, true);
	if (!(w->pte & PTE_P))
		return walk_refuse(v, w, access, 0);
	if (w->pte & rsvd)
		return walk_refuse(v, w, access, PF_P | PF_RSVD);
	w->write &= !!(w->pte & PTE_W);
	w->user &= !!(w->pte & PTE_U);
	w->exec &= !(w->pte & PTE_NX);
	w->page_size = PAGE_SIZE;
	w->at = gpa((w->pte & PAE_ADDRESS) | (at.a & ~PAGE_MASK));
	walk_leaf(v, w, w->pte);
	return walk_rights(v, w, access);
}

int paging_walk(struct vm *vm, struct gva at, unsigned access, struct walk *w)
{
	*w = (struct walk){0};
	switch (paging_mode(&vm->vcpu)) {
	case PAGING_32:
		return walk_32(vm, at, access, w);
	case PAGING_PAE:
		return walk_pae(vm, at, access, w);
	default:
		return walk_off(&vm->vcpu, at, w);
	}
}

void paging_mark(struct vm *vm, struct walk *w, bool dirty)
{
	enum paging_mode mode = paging_mode(&vm->vcpu);
	uint32_t leaf = PTE_A | (dirty ? PTE_D : 0);
	bool wide = mode == PAGING_PAE;

	if (mode == PAGING_OFF)
		return;
	/* PDPTEs of PAE paging have neither A nor D (SDM 3A table 4-8). */
	if (w->page_size > PAGE_SIZE) {
		entry_mark(vm, w->pde_at, wide, &w->pde, leaf);
	} else {
		entry_mark(vm, w->pde_at, wide, &w->pde, PTE_A);
		entry_mark(vm, w->pte_at, wide, &w->pte, leaf);
	}
	w->dirty |= dirty;
}

int paging_load_pdptes(struct vm *vm, uint32_t cr3)
{
	uint64_t pdpte[4];
	unsigned i;

	for (i = 0; i < 4; i++) {
		pdpte[i] = entry_read(vm, gpa((cr3 & ~31u) + i * 8), true);
		if ((pdpte[i] & PTE_P) && (pdpte[i] & PDPTE_RSVD))
			return vcpu_raise(&vm->vcpu, EXC_GP, true, 0);
	}
	for (i = 0; i < 4; i++)
		vm->vcpu.pdpte[i] = pdpte[i];
	return 0;
}
