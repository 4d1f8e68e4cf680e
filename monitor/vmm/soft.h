// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 8.3: A software TLB
 *
 * The software TLB of the long engine (lower_long.h): a view of the shadow MMU whose pages are entries of a table instead
 * of mappings of the host. A host mapping costs the host's page fault when it is made and a TLB flush when it goes (15 and
 * 50 us where the host itself is a guest under shadow paging), and nothing in between; an entry costs a tenth of a
 * microsecond when it is made, nothing when it goes, and ten instructions an access. So an address space starts with the
 * table, gets mappings once its user code runs for long on few pages, and the table again when mapping keeps it busy.
 * The kernel's own accesses to user memory go by the table always. The table belongs to the address space, not to a
 * worker: where nothing is mapped, nothing has to be handed over from process to process.
 *
 * User code that has mappings, and computes without calling its kernel, runs as it is, in a 32-bit segment, where the host
 * has one for it: at the speed of the CPU, while each call costs a signal of the host (5 to 15 us).
 */
#ifndef MONITOR_VMM_SOFT_H
#define MONITOR_VMM_SOFT_H

#include "monitor/vmm/state.h"
#include "monitor/vmm/vm.h"

/* The present address space's. */
static inline struct soft_space *soft_present(const struct vm *vm)
{
	return &vm->vmm->space[vm->vmm->space_now];
}

/* Is user code of the present address space to reach its memory by the table? */
static inline bool soft_active(const struct vm *vm)
{
	return vm->cfg.soft && !soft_present(vm)->mapped;
}

/* Is it to run as it is, in a 32-bit segment? */
static inline bool soft_native(const struct vm *vm)
{
	return vm->cfg.native_user && soft_present(vm)->native;
}

/* The guest loaded CR3 with the page tables at `root`: their table is the one from now on. */
void soft_enter(struct vm *vm, uint64_t root);

/*
 * The instruction at vcpu->eip found nothing for an access of `size` bytes at `at`: enter its pages. True: try again as
 * it is. False: an exception is raised, or the decision takes it from here.
 */
bool soft_miss(struct vm *vm, struct gva at, unsigned size, bool write);
/*
 * The monitor's own look-up for an access (mask of enum access) of the present privilege: user memory at `at`, to the end of
 * its page, in *host; NULL for the kernel's own, and what the table cannot have. Entries are made as soft_miss() makes them.
 * 0, or -EFAULT when an exception is raised.
 */
int soft_host(struct vm *vm, struct gva at, unsigned access, void **host);

/*
 * A fault of mapped CPL 0 code at user address `at`: from now on the instruction at vcpu->eip goes by the table. At one of its
 * own, in a region that is remapped all the time it becomes the monitor's, for which nothing has to be mapped. False elsewhere,
 * and when that is not possible.
 */
bool soft_learn(struct vm *vm, struct gva at);
/* What has been learned of the CPL 0 instruction at `eip`: it goes by the table, or is the monitor's. */
enum soft_way { SOFT_NO, SOFT_TABLE, SOFT_ASIDE };
enum soft_way soft_way(const struct vm *vm, uint32_t eip);

/* The timer's interrupt is being delivered; and: a page was mapped or unmapped in the present address space, for `ns`. */
void soft_tick(struct vm *vm);
void soft_count_mapping(struct vm *vm, uint32_t ns);
/* User code calls its kernel; or did so, n times. */
void soft_count_call(struct vm *vm);
void soft_count_calls(struct vm *vm, uint32_t n);
/*
 * Between two runs of the guest: back to the table, if mapping took too long. Not while a page is being mapped: what made a
 * block must find it in the same view when it enters or publishes it.
 */
void soft_settle(struct vm *vm);

/* The shadow MMU's: pages [at, at + n pages) show frames from pfn on, writable or not; or nothing. */
void soft_set(struct lower_soft *t, uint32_t at, unsigned n, uint64_t pfn, bool writable);
void soft_clear(struct lower_soft *t, uint32_t at, uint64_t size);

#endif
