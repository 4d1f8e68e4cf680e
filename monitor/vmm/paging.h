// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The guest's paging (SDM 3A chapter 4): no paging, 32-bit with PSE and PSE-36, PAE with NX.
 */
#ifndef MONITOR_VMM_PAGING_H
#define MONITOR_VMM_PAGING_H

#include "monitor/vmm/gmem.h"
#include "monitor/vmm/vcpu.h"

struct vm;

/* Page-table entry bits, common to both formats. */
enum { PTE_P = BIT(0), PTE_W = BIT(1), PTE_U = BIT(2), PTE_A = BIT(5), PTE_D = BIT(6), PTE_PS = BIT(7), PTE_G = BIT(8) };
#define PTE_NX (1ull << 63)

/* MAXPHYADDR of the virtual CPU: CPUID 80000008 reports it, reserved bits follow from it. */
#define PAGING_PHYS_BITS 36

enum paging_mode { PAGING_OFF, PAGING_32, PAGING_PAE };

/* A whole walk, as the shadow MMU remembers it. */
struct walk {
	struct gpa at;	    /* translation of the address asked for, offset included */
	uint64_t page_size; /* 4 KiB, 2 MiB or 4 MiB; 4 MiB with paging off */
	uint64_t pdpte;	    /* PAE only */
	uint64_t pde, pte;  /* pte is 0 for large pages and with paging off */
	struct gpa pde_at, pte_at; /* where those entries stand */
	bool write, user, exec;	   /* combined rights of all levels (CR0.WP not applied; exec: no NX) */
	bool global;		   /* G under CR4.PGE */
	bool dirty;		   /* D of the leaf */
	bool present;		   /* false: error says why */
	uint32_t error;		   /* #PF error code when the access is not allowed, P and RSVD included */
};

enum paging_mode paging_mode(const struct vcpu *v);

/*
 * Walk for an access (mask of enum access; 0 = system read). Returns 0 when the access is allowed under CR0.WP and
 * the privilege given, -EFAULT otherwise (walk->error is the error code; nothing is raised). Sets no A or D.
 */
int paging_walk(struct vm *vm, struct gva at, unsigned access, struct walk *walk);

/* Set A on every level, and D on the leaf if dirty, atomically, as hardware does; updates the walk. */
void paging_mark(struct vm *vm, struct walk *walk, bool dirty);

/* Load the four PDPTEs of PAE paging from cr3; -EFAULT with #GP(0) raised when a reserved bit is set. */
int paging_load_pdptes(struct vm *vm, uint32_t cr3);

#endif
