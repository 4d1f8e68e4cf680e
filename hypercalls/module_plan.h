// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 7.0: Modules
 *
 * A kernel's modules are in no image: the guest's own loader puts them somewhere, relocates them, applies alternatives and
 * writes ftrace's no-ops. So patching them ahead of time can only be a plan, which the monitor carries out on the bytes
 * that it finds in guest memory, page by page, when they first run, and takes back when the guest writes to them. A
 * module without a plan is scanned online, once its pages have settled; until then its code runs in blocks.
 */

/*
 * Tour 7.1: The plan of a module
 *
 * What `paravane patch --modules` adds to a kernel module: the plan of its patch, in a section of its own that the
 * guest's loader puts beside the code. The code itself is not changed in the file. The monitor finds the plan in guest
 * memory when the module's code first runs, lays the windows over the page and emits their stubs there and then
 * (docs/patching.md says why).
 *
 * A plan is a header, section headers, windows, obscure ranges and, for each section, a bitmap of instruction starts.
 * Offsets are from the start of their section: nothing in it depends on where the loader puts what, but `start`, which
 * carries a relocation. There may be two plans, since the loader places .init sections apart from the rest.
 *
 * In guest memory it is hostile input: module_plan_check() is for files, the monitor checks what it reads as it does.
 */
#ifndef HYPERCALLS_MODULE_PLAN_H
#define HYPERCALLS_MODULE_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "hypercalls/diag.h"
#include "hypercalls/lower.h"

#define MODULE_PLAN_MAGIC "PVMODPL1"
#define MODULE_PLAN_SECTION ".paravane.plan"
#define MODULE_PLAN_INIT_SECTION ".init.paravane.plan" /* of code in sections that begin with .init */
#define MODULE_PLAN_ALIGN 64
#define MODULE_PLAN_SECTIONS 64 /* at most */
#define MODULE_PLAN_MAX (64u << 20)
#define MODULE_WINDOW_INSNS 128

struct module_plan_header {
	char magic[8];
	uint32_t size;	/* of the plan, with this header */
	uint32_t check; /* module_plan_hash() of all of it, this word and all `start` taken for 0 */
	uint32_t n_sections, n_windows, n_obscure;
	uint32_t starts_size; /* bytes */
};

struct module_plan_section {
	uint32_t start; /* address of the section minus the address of this word (R_386_PC32) */
	uint32_t size;
	uint32_t window, n_windows;  /* first and how many; sorted by offset, disjoint */
	uint32_t obscure, n_obscure; /* the same of the ranges */
	uint32_t starts; /* offset of its bitmap among the starts: bit i%8 of byte i/8 for byte i */
	uint32_t reserved;
};

/* A run of n_insns whole instructions that a jump to its stub replaces; what is left of len is padding. */
struct module_plan_window {
	uint32_t offset;
	uint16_t len;
	int16_t hop; /* TACTIC_HOP: where the 5-byte jump goes, from `offset`; else 0 */
	uint16_t n_insns;
	uint16_t reserved;
};

/* Bytes that may be code but have no single reading: pages that hold any are translated. */
struct module_plan_obscure {
	uint32_t offset, end;
};

static inline size_t module_plan_windows_at(const struct module_plan_header *h)
{
	return sizeof(*h) + (size_t)h->n_sections * sizeof(struct module_plan_section);
}
static inline size_t module_plan_obscure_at(const struct module_plan_header *h)
{
	return module_plan_windows_at(h) + (size_t)h->n_windows * sizeof(struct module_plan_window);
}
static inline size_t module_plan_starts_at(const struct module_plan_header *h)
{
	return module_plan_obscure_at(h) + (size_t)h->n_obscure * sizeof(struct module_plan_obscure);
}

#define MODULE_PLAN_HASH 0x811c9dc5u
/* FNV-1a, continued: begin with MODULE_PLAN_HASH. */
uint32_t module_plan_hash(uint32_t hash, const void *bytes, size_t n);

/* Does the header make sense, and its sections against it? n_sections of them. NULL, or what is wrong. */
const char *module_plan_header_wrong(const struct module_plan_header *h);
const char *module_plan_section_wrong(const struct module_plan_header *h,
				      const struct module_plan_section *s);
const char *module_plan_window_wrong(const struct module_plan_section *s, const struct module_plan_window *w);

/* A whole plan in memory, 4-byte aligned; `start` may hold anything. -EINVAL with the place. */
int module_plan_check(const uint8_t *plan, size_t size, struct diag *d);
/* Fill in size and check. */
void module_plan_seal(uint8_t *plan, size_t size);

/*
 * The instructions of a window whose bytes stand at `bytes` and run at va, for lower_run(). Sensitive ones get site 0,
 * others MANIFEST_NONE. What follows the run in *next. -EINVAL unless they are n whole instructions, none of which the
 * guest's handlers look for (INT3, UD2), within len bytes.
 */
int module_window_insns(const uint8_t *bytes, uint32_t len, uint32_t va, unsigned n, struct lower_insn *insns,
			uint32_t *next);

#endif
