// SPDX-License-Identifier: GPL-3.0-or-later
/* What the files of module.h share. */
#ifndef MONITOR_VMM_MODULE_STATE_H
#define MONITOR_VMM_MODULE_STATE_H

#include "hypercalls/module_plan.h"
#include "monitor/vmm/module.h"
#include "monitor/vmm/state.h"

#define MODULE_PAGES 2048
#define MODULE_POINTS 131072
#define MODULE_SITES 16384
#define MODULE_PADS_SIZE (MODULE_SITES * 11u) /* at the end of the room for stubs */
#define PAGE_BITS (PAGE_SIZE / 8)
#define MODULE_BRANCHES 512	 /* of one page to others of its module */
#define MODULE_REACH (64u << 10) /* how far before a page without a plan the sweep may begin */

struct module_page {
	uint32_t pfn, linear; /* linear: page address */
	uint8_t used;	      /* promoted: bytes and maps below hold */
	uint8_t crosses;      /* its last instruction reaches into the next page */
	uint8_t strikes;      /* demoted soon after it was promoted, so many times running */
	uint8_t scanned;      /* promoted without a plan */
	uint8_t tries;	      /* to promote it as it stands */
	uint8_t traps;	      /* of its own sensitive instructions, since it was promoted */
	uint64_t promoted;    /* TSC */
	uint64_t since;	      /* TSC: nothing was written to it, nor was it tried to promote it */
	uint32_t first_point, n_points;
	uint32_t branch[MODULE_BRANCHES], n_branches; /* where it leads on other pages */
	uint8_t entered[PAGE_BITS];  /* control has arrived there, since the page was written last */
	uint8_t ran[PAGE_BITS];	     /* and these instructions have run, or are certain to after others */
	uint8_t start[PAGE_BITS];    /* of instructions */
	uint8_t bytes[PAGE_SIZE];    /* the guest's */
	uint8_t interior[PAGE_BITS]; /* of windows and hops, past their first byte */
	uint8_t online[PAGE_BITS];   /* int3 over an instruction */
	uint8_t shadow[PAGE_BITS];   /* the instruction before it is STI */
};

struct module_site {
	uint32_t va, resume;
	struct insn insn;
};

/* A plan as it was when it was read: bounds checked, contents to be read again each time. */
struct module_plan_found {
	uint32_t at; /* linear address; 0 none */
	struct module_plan_header h;
	struct module_plan_section sections[MODULE_PLAN_SECTIONS];
};

/* A window on a page: n_insns whole instructions from offset `at`, and padding up to len. */
struct module_span {
	uint16_t at, len;
	int16_t hop; /* where the 5-byte jump goes, from `at`; else 0 */
	uint16_t n_insns;
};

enum module_insn_flags {
	MODULE_FALLS = 1,   /* certain to go on behind it, if anywhere but at `to` */
	MODULE_SITE_AT = 2, /* sensitive, and needs a stub or a trap */
	MODULE_SILENT = 4,  /* and may not trap */
	MODULE_HOLDS = 8,   /* a window may hold it */
};

#define MODULE_NOWHERE 0xffff
struct module_insn {
	uint16_t to;	    /* offset of its branch target on the page */
	uint8_t len, flags; /* mask of enum module_insn_flags; len 0: none starts here */
};

/* A page on its way to being promoted. */
struct module_work {
	uint32_t linear;
	uint8_t bytes[PAGE_SIZE + INSN_MAX]; /* and what stands behind it */
	uint32_t n_bytes;
	uint8_t start[PAGE_BITS], done[PAGE_BITS];
	uint8_t inside[PAGE_BITS];  /* in a section of the plan */
	uint8_t cover[PAGE_SIZE];   /* how many instructions hold this byte */
	uint8_t windows[PAGE_BITS]; /* bytes under windows and hops */
	uint8_t length[PAGE_SIZE];  /* of the instruction that needs int3 */
	struct lower_insn insns[MODULE_WINDOW_INSNS];
	struct module_span window[PAGE_SIZE / 5];
	uint32_t stub[PAGE_SIZE / 5];
	uint32_t n_windows;
	bool crosses;
	/* of pages without a plan (module_scan.c) */
	uint8_t anchor[PAGE_BITS];		       /* words of the module's memory point there */
	uint8_t before[MODULE_REACH / 8];	       /* the same, backwards from the byte before the page */
	uint8_t entered[PAGE_BITS], proven[PAGE_BITS]; /* as entered and ran of the page will be */
	uint8_t arrival[PAGE_BITS];		       /* something leads there */
	uint8_t other[PAGE_SIZE + INSN_MAX]; /* a page before this one, and what stands behind that */
	uint32_t other_at;		     /* its linear address; 0 none */
	uint32_t branch[MODULE_BRANCHES], n_branches;
	struct module_insn insn[PAGE_SIZE];
};

enum module_search { MODULE_SEARCH_PLAN, MODULE_SEARCH_CODE, MODULE_SEARCHES };

/* Linear addresses [first, end) were gone through: not again before `until` (TSC). */
struct module_rest {
	uint32_t first, end;
	uint64_t until;
};
#define MODULE_RESTS 8

struct modules {
	uint16_t *by_pfn;    /* index + 1 in page, of a RAM page frame */
	uint16_t *by_linear; /* the same of a linear page */
	uint32_t n_pages, next_page;
	uint32_t code_len, pads_len, n_points, n_sites;
	struct module_rest rest[MODULE_SEARCHES][MODULE_RESTS];
	struct module_plan_found plan;
	struct module_work work;
	struct module_page page[MODULE_PAGES];
	struct module_site site[MODULE_SITES];
	struct manifest_point point[MODULE_POINTS];
};

static inline bool bit_at(const uint8_t *map, uint32_t bit)
{
	return map[bit >> 3] >> (bit & 7) & 1;
}

static inline void bit_set(uint8_t *map, uint32_t bit)
{
	map[bit >> 3] |= (uint8_t)(1u << (bit & 7));
}

/* module_find.c: the plan that covers the linear page, in modules->plan. */
enum module_plan_search {
	PLAN_FOUND,
	PLAN_NONE,
	PLAN_PUT_OFF, /* its stretch rests */
};
enum module_plan_search module_find_plan(struct vm *vm, uint32_t linear);
/* n bytes at linear address `at`, wherever their pages are; nothing is raised. */
bool module_read(struct vm *vm, uint32_t at, void *to, size_t n);

/* The frame that is mapped at a linear page, or NULL. */
const uint8_t *module_frame(struct vm *vm, uint32_t linear);

/* module_stretch.c: mapped pages [*first, *end) around the page; may they not be gone through now; it took so many TSC cycles. */
void module_stretch(struct vm *vm, uint32_t linear, uint32_t *first, uint32_t *end);
bool module_rests(struct modules *m, enum module_search what, uint32_t linear);
void module_rest(struct modules *m, enum module_search what, uint32_t linear, uint32_t first, uint32_t end,
		 uint64_t took);

/* module_take.c: instruction starts and windows of the page that is worked on, as modules->plan has them. */
bool module_take_plan(struct vm *vm, uint32_t linear);

/*
 * module_scan.c: the same for a page without a plan, found by a sweep. module_span.c: windows for the sensitive
 * instructions that it has found.
 */
enum module_scan module_scan(struct vm *vm, const struct module_page *p);
void module_span_sites(struct vm *vm);

/* module_promote.c: windows, stubs and int3 for the page, into `p`; changes nothing where it answers false. */
bool module_promote(struct vm *vm, struct module_page *p, uint32_t linear, uint8_t *ram, bool planned);
/* A window that cannot be laid is none; its instructions are looked at like any others. */
void module_lay_window(struct vm *vm, struct module_span span);
bool module_falls_through(const struct insn *insn);
/* module.c: make a page unverified for the monitor's own reasons: what is known of it stays known. */
void module_withdraw(struct vm *vm, struct module_page *p);
/* give all pages and stubs back. */
void module_reset(struct vm *vm);

#endif
