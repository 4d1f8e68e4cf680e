// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 3.1: The arena
 *
 * The arena: every piece of monitor state that changes while the guest runs and that more than one process
 * looks at. One memfd mapped at the same fixed address in the VMX, the zygote and every worker, so that
 * pointers into it hold everywhere (all processes are forks of one executable: function pointers hold too).
 * Only the worker that owns the baton touches the vCPU, the machine and the page states; the fields that cross
 * between VMX and workers at any time are in struct vm_shared, and are atomics.
 *
 *   ARENA_BASE  struct vm, then page states, then the manifest's tables
 *   RAM_BASE    the RAM memfd whole: guest RAM at offset gpa, then the "tail": vCPU page, gate page, stubs,
 *               the pages of execution out of line, translated blocks and their table
 */
#ifndef MONITOR_VMM_VM_H
#define MONITOR_VMM_VM_H

#include <stdatomic.h>

#include "hypercalls/manifest.h"
#include "hypercalls/policy.h"
#include "monitor/dev/machine.h"
#include "monitor/dev/ring.h"
#include "monitor/vmm/cpuid.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/types.h"
#include "monitor/vmm/vcpu.h"

#define ARENA_BASE 0x200000000000ull /* clear of AddressSanitizer's shadow */
#define RAM_BASE 0x280000000000ull
#define WORKERS_MAX 64

/* How CPL 0 code runs. Default: as the engine does that suits the host best, which differs in speed only. */
enum run_mode { MODE_AUTO, MODE_TRAP, MODE_DIRECT, MODE_TRANSLATE, MODE_DEFAULT };

/* How CPL 3 code runs; auto: directly where the host can. */
enum user_mode { USER_AUTO, USER_DIRECT, USER_TRANSLATE };

/*
 * How the host's CPU executes the guest's code. Direct: in compatibility mode, verified kernel code and all user code
 * as it is, other kernel code as 32-bit blocks. Long: as 64-bit blocks (hypercalls/lower_long.h), but for user code that
 * computes, where the host offers a 32-bit code segment.
 */
enum engine { ENGINE_DIRECT, ENGINE_LONG, ENGINE_AUTO };

/* Why the guest was left; the index of vm->stats.exits. */
enum exit_reason {
#define EXIT_REASON(id, name) id,
#include "monitor/vmm/exit_reason.def"
#undef EXIT_REASON
	EXIT_REASON_COUNT
};

enum stop_kind { /* how a run ends; see enum exit_status for the process status of each */
	STOP_NONE,
	STOP_POWEROFF, /* power-off, or HLT with interrupts off */
	STOP_RESET,
	STOP_CRASH,   /* triple fault, guest panic */
	STOP_GUEST,   /* the guest did something that Paravane documents as a limit; text says what */
	STOP_MONITOR, /* a fault of ours */
	STOP_USER,    /* Ctrl-A x */
};

/* Set once before workers start, constant afterwards. */
struct vm_config {
	uint64_t ram_size;  /* bytes, page multiple */
	uint64_t tail;	    /* RAM memfd offset of the tail (== ram_size rounded up) */
	uint64_t tail_size;
	uint64_t vcpu_off, gate_off, stubs_off, bounce_off, blocks_off, lookup_off; /* RAM memfd offsets inside the tail */
	uint64_t modules_off; /* the same; 0 where the hole has no room for stubs of modules */
	uint64_t stubs_size;
	uint32_t hole_base, hole_size;
	uint32_t alias_delta; /* link minus physical address of the kernel image; 0 when it runs identity mapped */
	uint32_t kernel_split; /* user mode is confined below this linear address; 0: no split known */
	uint32_t image_start, image_end; /* physical range of the loaded kernel image */
	int ram_fd;
	int notify_fd; /* eventfd that wakes the VMX */
	int timer_fd;  /* timerfd at whose end the VMX kicks; the owner of the baton sets it */
	int trace_fd;  /* --trace, workers may write to it; -1 without */
	uint64_t arena_size; /* bytes mapped at ARENA_BASE */
	uint8_t mode;  /* enum run_mode; MODE_TRANSLATE with the long engine */
	uint8_t engine; /* enum engine */
	uint8_t n_workers;
	bool user_moves;  /* user code whose int $0x80 traps all the time is translated for a while */
	bool soft;	  /* the long engine may reach user memory by the software TLB (host has BMI2) */
	bool native_user; /* and may run user code as it is, in a 32-bit segment (soft.h) */
	bool patched;	  /* a manifest is present */
	bool trace;
	bool count_cycles; /* for the times in vm_stats, which take one */
	bool fpu_avx; /* host has AVX: expose XSAVE */
	uint64_t xcr0; /* the guest's: of the host's what CPUID_XCR0 allows */
	uint64_t tsc_start;	 /* host TSC at guest time 0 */
	uint64_t tsc_hz;
	uint32_t tsc_to_ns_mul; /* ns = (tsc * mul) >> 32 after shifting tsc by tsc_shift; see clock.h */
	int32_t tsc_shift;
	uint32_t map_ns, unmap_ns; /* what mapping a page costs here, and unmapping it; measured at start */
	uint64_t epoch_ns; /* wall-clock time (ns since 1970) at guest time 0 */
};

/* Crosses process boundaries at any time. The VMX trusts nothing in it. */
struct vm_shared {
	_Atomic uint32_t owner;	 /* index of the worker that holds the baton */
	_Atomic uint32_t events; /* mask of enum vm_event, set by the VMX, taken by the owner */
	_Atomic uint32_t halt_futex; /* 1 while the owner sleeps in HLT; the VMX sets 0 and wakes */
	_Atomic uint64_t deadline_ns; /* guest time at which the owner wants EVENT_TIMER; UINT64_MAX none */
	_Atomic uint64_t armed_ns;    /* what the timer is set to; the owner sets it only for an earlier one */
	_Atomic uint32_t stop;	      /* enum stop_kind, first writer wins */
	_Atomic uint32_t stop_code;   /* status for isa-debug-exit and ABI_CALL_EXIT */
	_Atomic uint32_t stop_eip;    /* where the vCPU stood */
	char stop_text[256];
	struct {
		_Atomic uint32_t wake; /* futex: 1 hands the baton over */
		_Atomic int32_t pid;
	} worker[WORKERS_MAX];
	struct ring console_in, console_out; /* VMX -> guest, guest -> VMX */
};

enum vm_event {
	VM_EVENT_TIMER = 1,   /* the deadline has come */
	VM_EVENT_CONSOLE = 2, /* console_in has bytes, or console_out has room again */
	VM_EVENT_STOP = 4,    /* the VMX wants the run to end */
};

/* What the hottest list and --audit report about one address. */
struct site_count {
	uint32_t va; /* guest linear address, 0 = free slot */
	uint16_t op;
	uint8_t kind; /* enum exit_reason class: stub, trap, step */
	uint8_t flags;
	uint64_t count;
};
#define SITE_COUNTS 16384
#define UNKNOWN_BLOCKS 16384

/* Where the time goes. The host's way into a signal handler counts as the guest's. */
enum time_share {
	SHARE_DIRECT,	  /* guest code as it is, and stubs */
	SHARE_TRANSLATED, /* guest code as blocks */
	SHARE_STEP,	  /* instructions executed one by one */
	SHARE_TRAP,	  /* the monitor, after a host signal */
	SHARE_JUMP,	  /* the monitor, after a jump: landing pads of stubs and blocks, gates */
	SHARE_COUNT
};

/* What came of looking for the instructions of a page of a module that has no plan (module_scan.c). */
enum module_scan {
	SCAN_WHOLE,	   /* all of them are known */
	SCAN_NO_ANCHOR,	   /* nothing in the module's memory points to code on it or before it */
	SCAN_UNCLEAR,	   /* bytes that do not decode or that no compiler emits */
	SCAN_CONTRADICTED, /* something leads into the middle of an instruction */
	SCAN_UNPROVEN,	   /* an instruction that may not trap has never run */
	SCAN_RESULTS
};

struct vm_stats {
	uint64_t exits[EXIT_REASON_COUNT];
	uint64_t cycles[EXIT_REASON_COUNT]; /* host TSC cycles between the exit and the next entry */
	uint64_t hypercalls[HC_COUNT];
	uint64_t host_mmap, host_mprotect, host_munmap, host_ldt, host_futex;
	uint64_t shadow_evictions; /* the host had no room for more mappings */
	uint64_t baton_passes;
	uint64_t pages_demoted, pages_reverified, pages_refused;
	uint64_t module_promoted, module_demoted, module_refused, module_resets; /* pages of modules */
	uint64_t module_pages, module_windows; /* promoted now; windows laid in all */
	uint64_t module_unplanned, module_insns; /* pages promoted without a plan, instructions on them */
	uint64_t module_scans[SCAN_RESULTS]; /* each time that such a page was looked at */
	uint64_t module_searches;	     /* for a plan that was not found */
	uint64_t module_met; /* frames outside the image where code was met that was not verified yet */
	uint64_t code_candidates, code_verified, code_refused; /* pages, at the end of the run */
	uint64_t blocks, block_insns, blocks_dropped, block_flushes, branches_chained, translation_preferred, user_preferred;
	uint64_t calls_inside; /* of the guest's kernel, by INT n, that did not leave the blocks */
	uint64_t blocks_unverified; /* kernel code from pages that the image's manifest does not prove */
	uint32_t unknown_blocks[UNKNOWN_BLOCKS]; /* starts of those with sensitive instructions that are no sites of the
						    manifest; open hash, 0 free */
	struct {
		uint64_t n, cycles;
	} shares[SHARE_COUNT];
	uint64_t interrupts[256];
	uint64_t guest_tsc_init; /* host TSC when the guest first entered user mode, 0 before */
	struct site_count sites[SITE_COUNTS]; /* open hash by va */
};

struct vmm_state; /* the VMM's own part of the arena: monitor/vmm/state.h */

struct vm {
	struct vm_config cfg;
	struct vm_shared shared;
	struct vcpu vcpu;
	struct gmem_tlb tlb;
	struct cpuid_answers cpuid;
	struct machine machine;
	struct vm_stats stats;
	struct manifest manifest;  /* tables copied into the arena; n_* zero without a manifest */
	struct insn *site_insns;   /* decoded original of each manifest site, same index */
	struct vmm_state *vmm;
};

#define VM ((struct vm *)ARENA_BASE)

/* Guest RAM as the monitor sees it; NULL where there is no RAM. The length is checked, not rounded. */
static inline void *vm_ram(const struct vm *vm, struct gpa at, size_t size)
{
	if (at.a > vm->cfg.ram_size || size > vm->cfg.ram_size - at.a)
		return NULL;
	return (uint8_t *)RAM_BASE + at.a;
}

static inline bool vm_long(const struct vm *vm)
{
	return vm->cfg.engine == ENGINE_LONG;
}

static inline struct vcpu_page *vm_vcpu_page(const struct vm *vm)
{
	return (struct vcpu_page *)(RAM_BASE + vm->cfg.vcpu_off);
}

/* End the run: the first reason stays. Callable anywhere in a worker; the caller then returns to its loop. */
void vm_stop(struct vm *vm, enum stop_kind kind, uint32_t code, const char *text);

/*
 * The VMM, called by the VMX.
 * vmm_arena_size(): bytes of arena at ARENA_BASE that the VMM wants (struct vm first, then its own state). The
 * VMX maps more and puts the manifest's tables and site_insns behind them.
 * vmm_init(): once, in the VMX process after cfg and manifest are set and the image is loaded: builds page
 * states, site index, vCPU page, gate page. vmm_worker(): body of worker `index`; jailed already; never returns.
 */
size_t vmm_arena_size(const struct vm_config *cfg, const struct manifest *manifest);
int vmm_init(struct vm *vm, struct diag *d);
void vmm_worker(struct vm *vm, unsigned index) __attribute__((noreturn));
/* Signals, alternate stack and per-process VMM state of a worker; before the jail closes. */
int vmm_worker_prepare(struct vm *vm, unsigned index, struct diag *d);

#endif
