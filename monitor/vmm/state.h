// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The VMM's own part of the arena. Each concept's file owns its struct here; nothing outside monitor/vmm looks
 * at it.
 */
#ifndef MONITOR_VMM_STATE_H
#define MONITOR_VMM_STATE_H

#include "monitor/vmm/segment.h"
#include "monitor/vmm/vm.h"

/* --- world switch (world.c) ------------------------------------------------------------------------------ */

/* Registers as the hardware holds them at an exit and shall hold them at the next entry. */
struct world {
	uint32_t gpr[8];
	uint32_t eip;	 /* raw: may lie in a stub */
	uint32_t eflags; /* hardware image */
	uint16_t cs, ss, ds, es, fs, gs; /* hardware selectors */
	uint8_t reason;	 /* enum world_exit */
	uint8_t stepped;   /* the guest's TF followed it through a pad or gate */
	uint8_t fpu_saved; /* guest vector state is in vmm_state.fpu, not in the registers */
	uint8_t native;	   /* with the long engine: it is entered, or was, as it is, in a 32-bit segment */
	uint32_t site;	 /* R15D of a landing pad */
	uint32_t trapno, error;
	uint64_t fault_address;
	uint64_t exit_tsc;
	uint64_t soft;	     /* the software TLB, for R12 */
	uint64_t scratch[4]; /* R8 to R11, for a long block that is left and entered again in the middle of an instruction */
	struct { /* frame for IRETQ, SDM 2A IRET, 64-bit operand size */
		uint64_t rip, cs, rflags, rsp, ss;
	} iret;
};

enum world_exit { WORLD_PAD, WORLD_CALL, WORLD_VDSO, WORLD_SIGNAL, WORLD_KICK };

/* --- shadow MMU (shadow.c) ------------------------------------------------------------------------------- */

#define SHADOW_SLOTS 2048  /* 2 MiB (PAE) or 4 MiB (others) of linear space each */
#define SHADOW_PAGES 1024  /* of a slot, at most */
#define SHADOW_TABLES 1024 /* a view of a worker; evicted round robin when they run out */

/*
 * Where the guest's linear space is mapped in a worker. The direct engine has one view, at the guest's own addresses,
 * and segment limits keep user code from the kernel in it. The long engine has no limits, and so a second view: what
 * user code may not touch is mapped in the window alone. A third one is no worker's: an address space's software TLB.
 */
enum shadow_view { SHADOW_LOW, SHADOW_WINDOW, SHADOW_SOFT };

enum shadow_bits {
	SP_MAPPED = 1,
	SP_W = 2,
	SP_X = 4,
	SP_USER = 8,	/* the guest's U bit */
	SP_GLOBAL = 16, /* survives CR3 loads */
};

/* One guest page table (or large page, or identity-mapped stretch) as it was when its pages were mapped. */
struct shadow_table {
	uint32_t slot;
	uint8_t used, large, pae;
	uint16_t n_mapped, n_global, n_super, invlpg_drops;
	uint16_t first, end; /* no page outside [first, end) is mapped */
	uint64_t pdpte, pde;	 /* as remembered */
	union {			 /* as remembered; index by page in the slot */
		uint32_t pte32[SHADOW_PAGES];
		uint64_t pte64[512];
	};
	uint8_t state[SHADOW_PAGES]; /* mask of enum shadow_bits */
};

struct lower_soft;

struct shadow {
	uint64_t window; /* host address of guest linear address 0 */
	struct lower_soft *soft; /* the software TLB that the view is in; NULL: it is mapped */
	uint64_t log_seen; /* it knows of what was logged before */
	uint32_t mmu_mode; /* paging mode its tables were made under */
	uint16_t slot[SHADOW_SLOTS]; /* table index + 1, 0 without */
	uint16_t next_victim, n_tables;
	uint64_t local[SHADOW_TABLES / 64]; /* bit a table: it may have pages that are not global, or none */
	uint32_t n_super_low; /* supervisor pages mapped below the kernel split */
	uint32_t n_wp0;	      /* pages mapped writable only because CR0.WP was clear */
	struct shadow_table *tables;
};

/* --- code pages (code.c) --------------------------------------------------------------------------------- */

enum code_state {
	CODE_DATA,     /* ordinary memory */
	CODE_VERIFIED, /* kernel text, executable; read-only in every alias */
	CODE_REFUSED,  /* kernel text that verification refuses as it stands: stepped; read-only as well */
};

#define ONLINE_BREAKPOINTS 128

enum ram_bits { /* of any page of guest RAM */
	RAM_TRANSLATED = 1, /* translated blocks came from it: read-only in every alias */
	RAM_ALIASED = 2,    /* was mapped writable at other than its linked address: protecting it needs a search */
	RAM_MODULE = 4,	    /* a promoted page of a module (module.h): read-only in every alias */
	RAM_REFUSED = 8,    /* no page of a patched module, or one that cannot be promoted: until it is written to */
};

struct code_page { /* one a page of the kernel image's text */
	uint8_t candidate; /* the manifest lists it as verified */
	uint8_t state;	   /* enum code_state */
	uint8_t idle_refused; /* not looked at again while idle: freed .init.text that holds data by now */
	uint16_t demotions;
	uint32_t verified_index; /* of its `starts` and `pristine` block */
};

struct code {
	uint8_t *ram; /* mask of enum ram_bits, a page frame each */
	uint32_t n_ram;
	struct code_page *page; /* index (gpa - first_gpa) >> 12 */
	uint32_t first_gpa, n_pages;
	uint8_t *pristine; /* last verified bytes, PAGE_SIZE a candidate page */
	uint8_t *starts;   /* instruction starts, 512 bytes a candidate page; follows rewriting */
	uint8_t *laid;	   /* bit a window: its bytes stand in guest memory */
	uint8_t *interior; /* bit a byte of [first_gpa, +n_pages): inside a window, past its first byte */
	struct code_resume { /* guest address inside a window -> stub, sorted by guest */
		uint32_t guest, stub;
	} *resume;
	uint32_t n_resume;
	uint8_t *shadow_bound; /* bit a byte: the instruction before is STI (POINT_SHADOW) */
	struct online_breakpoint { /* int3 written by the monitor at run time, see online.h */
		uint32_t at;	   /* guest physical */
		uint8_t len, bytes[INSN_MAX];
	} online[ONLINE_BREAKPOINTS];
	uint32_t n_online;
	bool idle; /* verifying pages that nobody is about to execute: they may hold data by now, so no int3 is written */
	bool idle_uncovered; /* and so the last one was refused */
	bool idle_done; /* no page is left to verify while idle, until one is demoted */
	bool alias_active;     /* stubs are also mapped at hole - alias_delta */
};

/* --- host LDT (shadow_seg.c) ----------------------------------------------------------------------------- */

#define LDT_SLOTS 200 /* modify_ldt is cheap below 256 */
#define LDT_NAMED 32  /* slots below are named: each is for the guest's user selectors with that index */
struct ldt_slot {
	uint32_t lo, hi; /* the descriptor as installed */
	uint32_t generation;
	uint32_t last_use;
};

/* --- invalidation log (shadow_log.c) --------------------------------------------------------------------- */

struct log_entry {
	uint32_t kind; /* enum log_kind */
	uint32_t addr; /* gva for INVLPG, page frame number for PROTECT */
};
#define LOG_SIZE 4096

/* --- software TLBs (soft.c) ------------------------------------------------------------------------------ */

#define SOFT_SPACES 32

struct soft_space { /* one guest address space's */
	uint64_t root;	   /* CR3 */
	uint64_t last_use; /* sequence number */
	struct shadow shadow;
	uint8_t mapped; /* its user code has run for long, and reaches memory by mappings */
	uint8_t mapping_pays; /* so far; soft_settle() draws the consequence */
	uint8_t quiet_ticks, quiet_wanted;
	uint8_t native; /* mapped, and it computes: runs as it is, in a 32-bit segment */
	uint8_t native_ticks, native_wanted;
	uint32_t fills;	       /* since last_tick (TSC) */
	uint32_t calls;	       /* of the guest's kernel, the same */
	uint32_t switches;     /* to it from another one, the same */
	uint64_t mapping_cost; /* ns, estimated, since mapping_since (TSC) */
	uint64_t last_tick, mapping_since;
};

/* --- workers (worker.c) ---------------------------------------------------------------------------------- */

struct worker {
	uint64_t root;	   /* CR3 it stands for */
	uint64_t last_use; /* sequence number */
	struct shadow shadow[SHADOW_SOFT]; /* the mapped views */
	uint8_t view; /* the one that is looked at, enum shadow_view */
	uint32_t ldt_generation[LDT_SLOTS];
	struct ldt_content {
		uint32_t lo, hi;
	} ldt_named[LDT_NAMED]; /* what this process has in its named slots; 0, 0 nothing */
};

/* --- x87 (x87.c) ------------------------------------------------------------------------------------------ */

struct x87_env { /* as FNSTENV stores it in 32-bit protected mode, SDM 1 figure 8-9 */
	uint32_t control, status, tag, ip;
	uint16_t cs, op;
	uint32_t dp;
	uint16_t ds, reserved;
};

/* --- from ring to ring (long_ring.c) --------------------------------------------------------------------- */

struct long_ring { /* how an INT n went from CPL 3 to CPL 0 */
	bool known;
	bool laid; /* the vCPU page has it, by the tables below */
	uint8_t vector;
	struct descriptor gate;
	struct segment inner[2], outer[2]; /* CS, SS */
	struct table_register gdtr, idtr;
	uint32_t tss;
};

struct translate; /* translate_state.h */
struct modules;	  /* module_state.h */

/* A far call in the guest's vDSO (vdso.h). */
enum vdso_kind { VDSO_ENTRY, VDSO_SIGRETURN, VDSO_RT_SIGRETURN, VDSO_KINDS };
#define VDSO_CALL_LEN 7

struct vdso_site {
	uint16_t offset; /* in its page */
	uint8_t kind;	 /* enum vdso_kind */
	uint8_t was[VDSO_CALL_LEN];
};

struct vmm_state {
	struct world world;
	struct translate *translate;
	struct modules *modules; /* NULL with the long engine */
	struct code code;
	struct ldt_slot ldt[LDT_SLOTS];
	uint32_t ldt_clock, ldt_next_generation;
	struct segment hw_seg[SEG_COUNT]; /* what hw_sel stands for */
	uint16_t hw_sel[SEG_COUNT];
	uint8_t hw_cpl, hw_valid;
	struct long_ring ring;
	struct segment fs[2]; /* what FS held last, as vcpu_page.fs has it (long_seg.c) */
	uint8_t fs_now;	      /* the one that it holds */
	struct log_entry log[LOG_SIZE];
	uint64_t log_head;
	uint64_t baton_seq;
	struct vdso_site vdso[VDSO_KINDS];
	uint32_t n_vdso;      /* 0 before the vDSO was seen */
	uint32_t loaded_cr3;  /* what the shadow MMU stands for */
	uint32_t next_worker; /* who gets the baton when the current instruction is done */
	struct worker workers[WORKERS_MAX];
	struct soft_space space[SOFT_SPACES];
	uint32_t space_now; /* the one of the loaded CR3 */
	uint8_t cached[1 << (32 - PAGE_SHIFT)]; /* by linear page: mmu_note_cached() */
	uint64_t space_seq;
	uint8_t step_boundary; /* entering only to reach the next stub boundary */
	uint8_t point_flags;   /* of the point where a stub or block was left last; 0 elsewhere */
	uint8_t in_block;      /* the guest was left in a translated block */
	uint8_t user_block;    /* direct engine: user code runs, or ran until now, as a block */
	uint8_t x87_of_block;  /* long engine: user code ran by blocks since it ran natively */
	uint8_t user_direct;   /* direct engine: user code goes on directly, here it has no block */
	uint8_t resume_raw;    /* re-enter at world.eip: the guest instruction is unfinished and invisible */
	uint8_t segments_changed; /* at the last exit the guest had loaded a segment register by itself */
	uint8_t step_once; /* the next instruction goes out of line: it writes to the page it is on, or reaches into one that
			      must not run */
	struct { /* the user access whose #PF the guest was given last, until it comes back to it */
		uint32_t at, eip, cr3;
		uint8_t access; /* mask of enum access; 0 none */
	} faulted;
	uint8_t gate_entered; /* an interrupt or exception went through a gate since this was cleared */
	uint8_t redirecting;	  /* an instruction runs on a copy of its operand (xol_redirect.c) */
	uint8_t last_exit;	  /* enum exit_reason, for the cycle counts */
	uint8_t last_share;	  /* enum time_share of what happened since the guest was left */
	uint32_t resume_hint, resume_eip; /* stub address that continues behind the last pad, valid for that eip */
	struct x87_env x87; /* with fpu: hosts differ in when XSAVE stores the pointers */
	uint8_t fpu[16384] __attribute__((aligned(64)));
};

#endif
