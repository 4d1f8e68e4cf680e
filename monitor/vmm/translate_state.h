// SPDX-License-Identifier: GPL-3.0-or-later
/* Shared by the translator's files and nobody else. All indices are 1-based; 0 is none. */
#ifndef MONITOR_VMM_TRANSLATE_STATE_H
#define MONITOR_VMM_TRANSLATE_STATE_H

#include "hypercalls/lower_long.h"
#include "monitor/vmm/soft.h"
#include "monitor/vmm/translate.h"

#define BLOCK_INSNS 32	 /* at most; vm, SIMD and string code seldom branches earlier */
#define BLOCK_BRANCHES 3 /* what follows so many is seldom reached from here, and has blocks of its own */
#define BLOCKS 131072
#define BLOCK_PAGES 16384
#define BUCKETS 65536
#define SITES 524288
#define SITE_INSNS 65536
#define POINTS 2097152
#define CROSS_SPAN 24 /* log2 of TSC ticks, some milliseconds: so many faults from direct code in it ... */
#define CROSS_MANY 64
#define PREFER_SPAN 30	   /* ... and all code is translated for so long */
#define USER_SPACES 16
#define SOFT_EIPS 8192
#define PADS_SIZE 0x500000 /* at the end of the cache */
#define MIXED_DROPS 200	   /* so many in one span, and a page holds changing data: stepped */
#define MIXED_SPAN 30 /* log2 of TSC ticks: some tenths of a second */

struct block {
	uint32_t eip, code;
	uint32_t page[2]; /* of its first byte; of its last when that is another page */
	uint32_t next_on_page[2];
	uint32_t next_in_bucket;
	uint32_t incoming; /* sites chained to it; they aim at it while it is reachable */
	uint8_t view; /* enum lower_view: whose code it is. Always VIEW_SUPERVISOR with the direct engine */
	bool dead;
	bool published; /* whenever it is reachable, through the lookup table as well */
};

struct block_page {	      /* a linear page as it was mapped when code was translated there */
	uint32_t linear, pfn; /* page numbers */
	uint32_t blocks;      /* list by next_on_page */
	uint32_t next_of_pfn;
	uint32_t next_bound; /* list of the bound pages that are global, or are not; doubly linked */
	uint32_t prev_bound;
	bool bound, global;
	bool user; /* code of CPL 3 comes from it */
};

enum site_kind { SITE_NONE, SITE_EMULATE, SITE_BRANCH, SITE_INDIRECT, SITE_RETURN, SITE_ASIDE, SITE_SOFT, SITE_X87 };

struct site {
	uint32_t guest;	     /* the instruction, or where the branch goes */
	uint32_t resume;     /* EMULATE: code behind it */
	uint32_t insn;	     /* EMULATE: index of its decoding */
	uint32_t jump, stub; /* BRANCH: the rel32, and where it aims unchained */
	uint32_t next;	     /* in the list that it is chained by */
	uint16_t page;	     /* BRANCH: of the block that it is in */
	uint8_t view;	     /* BRANCH: enum lower_view of that block */
	uint8_t kind;
	bool chained;
};

struct translate {
	struct block *block;
	struct block_page *page;
	struct site *site; /* index: R15D - TRANSLATE_SITE */
	struct insn *insn;
	struct manifest_point *point;
	uint32_t *bucket;
	uint16_t *by_linear; /* bound page of a linear page number */
	uint16_t *by_pfn;    /* first page of a page frame */
	struct page_drops {
		uint8_t n, span; /* which one: low bits */
	} * drops;		 /* of a page frame */
	uint32_t n_blocks, n_pages, n_sites, n_insns, n_points;
	uint32_t code_len, pads_len;
	uint32_t lookup, lookup_return, soft; /* the shared routines */
	uint8_t soft_way[SOFT_EIPS];	      /* enum soft_way of ... */
	uint32_t soft_eip[SOFT_EIPS];	      /* CPL 0 instructions that do not go by the window; open hash */
	uint32_t n_soft_eips;
	uint32_t bound[2];		     /* lists: pages that go with CR3, and global ones */
	uint32_t pending;		     /* site of the branch that is on its way to its target */
	uint32_t epoch;			     /* counts whatever may make a code address useless */
	uint64_t cross_span, prefer_until;   /* TSC */
	uint32_t crossings;		     /* in this span */
	struct user_heat {		     /* traps of int $0x80 of the address space `root`, in this span */
		uint32_t root, traps;
		uint64_t span, prefer_until; /* TSC */
	} heat[USER_SPACES];
	uint32_t user_lookup, user_lookup_return; /* the direct engine's routines for blocks of user code */
	uint32_t hint, hint_eip, hint_epoch; /* code that continues behind the last exit */
	uint8_t hint_view;		     /* whose linear addresses it uses */
};

/* translate_cache.c */
/* Blocks of a page, whatever is mapped there: none of them is entered again. */
void cache_drop_blocks(struct vm *vm, uint32_t pfn);
void cache_reset(struct vm *vm);
struct block *cache_find(struct vm *vm, uint32_t eip); /* for the current privilege, only on bound pages */
uint32_t cache_bind(struct vm *vm, uint32_t linear, uint32_t pfn, bool global);
bool cache_page_is_mixed(struct vm *vm, uint32_t pfn);
struct block *cache_add(struct vm *vm, const struct block *made);
void cache_publish(struct vm *vm, enum lower_view view, uint32_t eip, uint32_t code); /* in the view's lookup table */
void cache_unpublish_direct(struct vm *vm);
void cache_chain(struct vm *vm, uint32_t site, uint32_t code, uint32_t *list);

static inline enum lower_view translate_view(const struct vm *vm)
{
	if (vm->vcpu.cpl != 3)
		return VIEW_SUPERVISOR;
	return soft_active(vm) ? VIEW_SOFT : VIEW_USER;
}

/* Of a view's lookup table, from the hole's base and in the RAM memfd's part for it. */
static inline uint32_t lookup_offset(enum lower_view view)
{
	return view == VIEW_SUPERVISOR ? 0 : view == VIEW_USER ? ABI_LOOKUP_SIZE : 2 * ABI_LOOKUP_SIZE;
}

/* Where 64-bit blocks find it. */
static inline uint64_t lookup_address(const struct vm *vm, enum lower_view view)
{
	return LONG_BASE + vm->cfg.hole_base + ABI_LOOKUP + lookup_offset(view);
}

/* translate_block.c: from guest bytes to a block. NULL: the instruction has no block; full: *full is set. */
struct lower block_emitter(const struct vm *vm, enum lower_view view);
void block_emitted(struct vm *vm, const struct lower *l);
struct block *block_make(struct vm *vm, uint32_t eip, uint32_t page, bool *full);

#endif
