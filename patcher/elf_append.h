// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Adding sections to a 32-bit ELF whose bytes stay where they are: what is new goes behind them, and the ELF header
 * points at new section headers there. By hand and not through libelf, which would lay the file out anew.
 *
 * -EINVAL: its section headers or their names are out of bounds; -EFBIG, -ENOMEM.
 */
#ifndef PATCHER_ELF_APPEND_H
#define PATCHER_ELF_APPEND_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>

#define ELF_APPEND_MAX 8 /* sections that can be added, the table of names among them */

struct elf_append {
	uint8_t *bytes; /* malloc'd; the caller's after elf_append_finish() */
	size_t size, cap;
	Elf32_Ehdr eh;	      /* as it will be written */
	Elf32_Shdr *sections; /* the old ones, then the new */
	unsigned n_old, n_new;
	char *names;
	size_t names_size;
};

/* `elf` is copied as it is. Call elf_append_free() whatever happens. */
int elf_append_start(struct elf_append *o, const uint8_t *elf, size_t size);
int elf_append_bytes(struct elf_append *o, const void *bytes, size_t len, size_t align);
/* A section of these bytes; type, flags and so on are taken from `like`. Its index is n_old + n_new before the call. */
int elf_append_section(struct elf_append *o, const char *name, const void *bytes, size_t size, size_t align,
		       const Elf32_Shdr *like);
/* The table of names, as a section `.paravane.shstrtab`, the section headers, the ELF header. */
int elf_append_finish(struct elf_append *o);
void elf_append_free(struct elf_append *o);

#endif
