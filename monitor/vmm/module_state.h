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

struct module_page {
	uint32_t pfn, linear; /* linear: page address */
	uint8_t used;	      /* promoted: bytes and maps below hold */
	uint8_t crosses;      /* its last instruction reaches into the next page */
	uint8_t strikes;      /* demoted soon after it was promoted, so many times running */
	uint64_t promoted;    /* TSC */
	uint32_t first_point, n_points;
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
	struct {
		uint16_t at, len;
		int16_t hop;
		uint32_t stub;
	} window[PAGE_SIZE / 5];
	uint32_t n_windows;
	bool crosses;
};

struct modules {
	uint16_t *by_pfn;    /* index + 1 in page, of a RAM page frame */
	uint16_t *by_linear; /* the same of a linear page */
	uint32_t n_pages, next_page;
	uint32_t code_len, pads_len, n_points, n_sites;
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
bool module_find_plan(struct vm *vm, uint32_t linear);
/* n bytes at linear address `at`, wherever their pages are; nothing is raised. */
bool module_read(struct vm *vm, uint32_t at, void *to, size_t n);

/* module_promote.c: windows, stubs and int3 for the page, into `p`; changes nothing where it answers false. */
bool module_promote(struct vm *vm, struct module_page *p, uint32_t linear, uint8_t *ram);
/* module.c: give all pages and stubs back. */
void module_reset(struct vm *vm);

#endif
