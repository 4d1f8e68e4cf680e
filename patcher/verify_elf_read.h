/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Shared by verify_elf.c and verify_module.c: reading a 32-bit ELF file. */
#ifndef PATCHER_VERIFY_ELF_READ_H
#define PATCHER_VERIFY_ELF_READ_H

#include <elf.h>

#include "patcher/verify_check.h"

struct verify_elf {
	const uint8_t *bytes;
	size_t size;
	Elf32_Ehdr eh;
	const char *names; /* section names, NUL-terminated as a whole */
	size_t names_size;
};

/* False unless headers, names and sections are inside the file. */
bool verify_elf_read(struct verify_elf *e, const uint8_t *bytes, size_t size);
bool verify_elf_holds(const struct verify_elf *e, uint64_t off, uint64_t len);
Elf32_Shdr verify_elf_section(const struct verify_elf *e, unsigned i);
const char *verify_elf_name(const struct verify_elf *e, const Elf32_Shdr *sh);
/* The one section of that name; two of them fail the proof. */
bool verify_elf_find(struct verify_ctx *c, const struct verify_elf *e, const char *name, Elf32_Shdr *out);
/* Behind offset `from`, where the source ends: only what the headers account for, else zeros. */
void verify_elf_tail(struct verify_ctx *c, const struct verify_elf *o, size_t from);

#endif
