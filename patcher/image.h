// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A guest kernel image as the patcher sees it: bytes at virtual addresses, sections, symbols, and the set of
 * addresses that control can reach other than by falling through. Width-neutral: i386 and x86-64.
 */
#ifndef PATCHER_IMAGE_H
#define PATCHER_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypercalls/diag.h"

enum image_container { IMAGE_ELF, IMAGE_BZIMAGE, IMAGE_RAW, IMAGE_MODULE, IMAGE_PE };

/* What to take a file for. */
enum image_as { IMAGE_AS_DETECTED, IMAGE_AS_RAW, IMAGE_AS_PE /* a bzImage too, by its EFI stub */ };

struct image_section {
	char *name;
	uint64_t va, size;
	const uint8_t *data; /* NULL for .bss and the like; else size bytes inside image->elf */
	size_t offset;	     /* of data in image->elf */
	bool exec, write, alloc;
};

struct image_symbol {
	uint64_t va;
	uint64_t size; /* 0 unknown */
	char *name;
	char type; /* nm letter: 'T' 't' 'D' ... */
};

struct image {
	char *path;
	enum image_container container;
	const char *compression; /* "xz", "none", ... of a bzImage payload */
	uint8_t *file;		 /* the file as given */
	size_t file_size;
	uint8_t *elf; /* the ELF inside (== file for IMAGE_ELF), with what follows it in the payload (the
			 relocation list); for IMAGE_RAW and IMAGE_PE the file; for IMAGE_MODULE its sections, relocated */
	size_t elf_size;
	size_t setup_offset, setup_size; /* bzImage setup header in `file` (from 0x1f1); 0, 0 without */
	int width;			 /* 32 or 64 */
	uint64_t entry;			 /* as in the ELF header (Linux: a physical address) */
	uint64_t alias_delta;		 /* p_vaddr - p_paddr of the segment that holds .text */
	bool multiboot;			 /* has a Multiboot 1 header (Multiboot specification 0.6.96, 3.1) */
	struct image_section *sections;
	size_t n_sections;
	bool sections_ordered;	      /* by va, without overlap: lookups may bisect */
	struct image_symbol *symbols; /* sorted by va */
	size_t n_symbols;
	const char *symbol_source; /* "symtab", "kallsyms", "none" */
	uint64_t
	    *relocs; /* addresses of absolute words that hold addresses, sorted; from the bzImage's list or
			     relocation sections. x86-64: of 32 or 64 bits, the low 32 sign-extended are the value */
	size_t n_relocs;
	bool damaged; /* something of the file itself was left out; notes say what */
	char **notes; /* damage that was survived ("kallsyms: ..."), for the report */
	size_t n_notes;
};

/*
 * Load and analyse. For raw images base is the address of the first byte and width 16, 32 or 64. 0 or -errno with the
 * place in d; on failure nothing stays allocated.
 */
int image_load(struct image *img, const char *path, enum image_as as, uint64_t base, int width,
	       struct diag *d);
/*
 * image_module.c: a kernel module (ET_REL, i386 or x86-64) from memory. bytes is malloc'd and the image's afterwards,
 * also on failure; path names it in messages. The loaded sections stand one behind the other at notional addresses
 * from image_module_base(), with their relocations applied; symbols of the kernel that it needs get addresses in a
 * section "*UND*" without bytes. A section, symbol or relocation that cannot be is left out with a note, and
 * *damaged is set. 0 or -errno as image_load().
 */
int image_load_module(struct image *img, const char *path, uint8_t *bytes, size_t size, bool *damaged,
		      struct diag *d);
/* Where the kernel puts modules, more or less: MODULES_VADDR of arch/x86. */
static inline uint64_t image_module_base(int width)
{
	return width == 64 ? 0xffffffffc0000000 : 0xf0000000;
}
void image_free(struct image *img);
/* One more line for the report: damage that was survived, what was left out. Never fails (drops the note). */
void image_note(struct image *img, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Section or symbol that holds va, or NULL. A symbol without size reaches to the next one in its section. */
const struct image_section *image_section_at(const struct image *img, uint64_t va);
const struct image_symbol *image_symbol_at(const struct image *img, uint64_t va);
const struct image_symbol *image_symbol_named(const struct image *img, const char *name);
/* File-backed bytes at va: pointer and how many follow in that section; NULL when none. */
const uint8_t *image_bytes(const struct image *img, uint64_t va, size_t *avail);

/* Where an address came from; also the confidence of what is reached from it. */
enum target_source {
	TARGET_ENTRY,
	TARGET_SYMBOL,
	TARGET_RELOC,
	TARGET_EXTABLE,
	TARGET_EXTABLE_SITE,
	TARGET_JUMP_LABEL,
	TARGET_JUMP_LABEL_SITE,
	TARGET_STATIC_CALL_SITE,
	TARGET_STATIC_CALL,
	TARGET_INITCALL,
	TARGET_KSYMTAB,
	TARGET_ALTERNATIVE,
	TARGET_PARAVIRT,
	TARGET_SMP_LOCK,
	TARGET_BUG,
	TARGET_FTRACE_SITE,
	TARGET_BRANCH,
	TARGET_RUN, /* a run report: something executed there, whatever led to it */
	TARGET_ORC, /* of contexts only: control need not arrive where an entry starts */
	TARGET_SOURCE_COUNT
};
struct target {
	uint64_t va;
	uint8_t source; /* enum target_source */
};
/* A range that the kernel itself rewrites at run time: no window may overlap it. */
struct rewritten {
	uint64_t start, end;
	uint8_t source; /* TARGET_ALTERNATIVE, TARGET_PARAVIRT, ... */
};
struct targets {
	struct target *targets; /* sorted by va; an address may stand more than once with different sources */
	size_t n_targets;
	struct rewritten *rewritten; /* sorted by start */
	size_t n_rewritten;
	struct context *contexts; /* what tables say of places (context.h); sorted by start */
	size_t n_contexts;
	struct orc *orc; /* the unwind tables (orc.h), or NULL */
};

/*
 * All targets that tables of the image name (not direct branches): entry, symbols, absolute relocations or, if
 * there is no list, absolute words in data that point at code; exception table, jump labels, static calls,
 * initcalls, ksymtab, alternatives, paravirt, smp_locks, bug table, ftrace sites. Table locations come from
 * section names or from the kernel's __start_/__stop_ symbols; a damaged table is skipped with a note in img.
 */
int targets_collect(struct targets *t, struct image *img, struct diag *d);
/* Add addresses that a run executed; those outside code are left out. 0 or -ENOMEM. */
int targets_add_run(struct targets *t, struct image *img, const uint64_t *va, size_t n, struct diag *d);
void targets_free(struct targets *t);

#endif
