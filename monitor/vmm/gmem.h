// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Guest memory as the monitor reads and writes it for the guest: by walking the guest's page tables, with the
 * rights of an explicit privilege, setting A and D as hardware does. Never through the low 4 GiB.
 */
#ifndef MONITOR_VMM_GMEM_H
#define MONITOR_VMM_GMEM_H

#include "monitor/vmm/types.h"

struct vm;

enum access {
	ACCESS_WRITE = 1,
	ACCESS_FETCH = 2,
	ACCESS_USER = 4, /* rights of CPL 3; without it, of the system (implicit accesses: GDT, IDT, TSS, stacks of CPL 0) */
};

#define GMEM_TLB_PAGES 64

/*
 * What the walks of late have found, as a TLB has it (SDM 3A 4.10.2): the monitor reads the same few pages (IDT, GDT, TSS,
 * stacks) at every exit. Good for the CR0, CR3 and CR4 that it was filled under; gmem_forget() where the guest asks for
 * forgetting besides.
 */
struct gmem_tlb {
	uint32_t cr0, cr3, cr4;
	struct gmem_page {
		uint32_t page; /* linear page number + 1; 0 free */
		uint64_t frame; /* physical address */
	} entry[4][GMEM_TLB_PAGES]; /* by ACCESS_WRITE, ACCESS_USER */
};

/* Forget one page, or all. */
void gmem_forget_page(struct vm *vm, struct gva at);
void gmem_forget(struct vm *vm);

/*
 * Copy size bytes (any size; may cross pages) between guest linear memory and buf. 0, or -EFAULT after
 * vcpu_raise_pf(); a write either checks every page before it stores anything, or changes nothing.
 * Physical addresses without RAM read as ones and swallow writes.
 */
int gmem_read(struct vm *vm, struct gva at, void *buf, size_t size, unsigned access);
int gmem_write(struct vm *vm, struct gva at, const void *buf, size_t size, unsigned access);

/*
 * Guest memory itself, from `at` to the end of its page, for an access: NULL where there is no RAM. 0, or -EFAULT after
 * vcpu_raise_pf(). With ACCESS_WRITE a code page becomes data now. Good until the guest's tables are looked at again.
 */
int gmem_host(struct vm *vm, struct gva at, unsigned access, void **host);

/* Raise what a write of size bytes (at most a page) would; store nothing. */
int gmem_probe_write(struct vm *vm, struct gva at, size_t size, unsigned access);

/* By guest physical address, for what the machine itself writes (the paravirtual clock). */
void gmem_write_phys(struct vm *vm, struct gpa at, const void *buf, size_t size);

#endif
