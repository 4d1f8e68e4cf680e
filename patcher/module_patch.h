// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Patching kernel modules ahead of time: the module gets a plan (hypercalls/module_plan.h) by the planner that kernel
 * images have, and the monitor carries it out in guest memory. Nothing of the module moves and none of its code changes;
 * a signature goes, since it covers the whole file.
 */
#ifndef PATCHER_MODULE_PATCH_H
#define PATCHER_MODULE_PATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypercalls/diag.h"
#include "hypercalls/manifest.h"
#include "patcher/cfg.h"
#include "patcher/image.h"
#include "patcher/plan.h"

/* A module taken apart as far as the plan. */
struct module_analysis {
	struct image img; /* img.file is the module without its signature */
	struct targets targets;
	struct cfg cfg;
	struct plan plan;
};

/* `ko` is one module, unpacked. -ENODATA: it has no code, so there is nothing to plan. */
int module_analyse(struct module_analysis *a, const char *name, const uint8_t *ko, size_t size,
		   struct diag *d);
void module_analysis_free(struct module_analysis *a);

struct module_patched {
	uint8_t *bytes; /* malloc'd */
	size_t size;
	bool was_signed;
	size_t windows, stub_bytes, obscure; /* obscure: bytes of code without a single reading */
	size_t tactics[TACTIC_COUNT];	     /* sites by tactic */
};

/* -ENODATA as module_analyse(); -EALREADY: patched already; another -errno for what cannot be patched. */
int module_patch(struct module_patched *p, const char *name, const uint8_t *ko, size_t size, struct diag *d);
/* Give the module back as it was before module_patch(), signature and all: malloc'd in *ko. */
int module_unpatch(const char *name, const uint8_t *patched, size_t patched_size, uint8_t **ko, size_t *size,
		   struct diag *d);
/* The plans in a patched module: whole ones, and how many windows they have together. -EINVAL. */
int module_patched_windows(const char *name, const uint8_t *patched, size_t size, size_t *windows,
			   struct diag *d);
/* Is it an i386 relocatable ELF that carries a plan? */
bool module_is_patched(const uint8_t *bytes, size_t size);
bool module_is_relocatable(const uint8_t *bytes, size_t size);

/* Bytes at the end of the file that are a signature (include/linux/module_signature.h of Linux); 0 without one. */
size_t module_signature_size(const uint8_t *ko, size_t size);

/* The undo record: old ELF header, size of the ELF, SHA-256 of the source file, and what followed the ELF in it. */
#define MODULE_UNDO_SIZE 52
#define MODULE_UNDO_DIGEST 56
#define MODULE_UNDO_TAIL 88
/* SHA-256 of the two parts, one behind the other. */
void module_source_digest(uint8_t digest[32], const uint8_t *elf, size_t elf_size, const uint8_t *tail,
			  size_t tail_size);

/* module_plan_build.c: the plan for the live code in sections that begin with .init, or in all others. */
struct module_plan_image {
	uint8_t *bytes; /* malloc'd; NULL when no section is of that kind */
	size_t size;
	size_t n_sections, sections[64]; /* indices in cfg->sections, in the order of the plan */
};
int module_plan_build(struct module_plan_image *out, const struct plan *plan, bool init, struct diag *d);
bool module_section_is_init(const char *name);

/* module_elf.c: the ELF of a module. */
struct module_ref { /* how a relocation names a section */
	uint32_t symbol;
	uint32_t value; /* of that symbol within the section */
};
/* -ENOENT: no symbol is defined in the section. */
int module_elf_ref(const struct image *img, const struct image_section *sec, struct module_ref *ref);
/* The file with the plans added and an undo record: `tail` bytes follow the ELF in the source. */
int module_elf_write(const struct image *img, const struct cfg *cfg, const struct module_plan_image plans[2],
		     const uint8_t *tail, size_t tail_size, uint8_t **out, size_t *out_size, struct diag *d);

#endif
