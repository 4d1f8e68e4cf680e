// SPDX-License-Identifier: GPL-3.0-or-later
/* The verifier's own reader of 32-bit ELF files (gABI chapters 4 and 5), from the bytes and nothing else. */
#include "patcher/verify_elf_read.h"

#include <stdlib.h>
#include <string.h>

bool verify_elf_holds(const struct verify_elf *e, uint64_t off, uint64_t len)
{
	return off <= e->size && len <= e->size - off;
}

Elf32_Shdr verify_elf_section(const struct verify_elf *e, unsigned i)
{
	Elf32_Shdr sh;

	memcpy(&sh, e->bytes + e->eh.e_shoff + i * sizeof(sh), sizeof(sh));
	return sh;
}

const char *verify_elf_name(const struct verify_elf *e, const Elf32_Shdr *sh)
{
	return sh->sh_name < e->names_size ? e->names + sh->sh_name : "?";
}

bool verify_elf_read(struct verify_elf *e, const uint8_t *bytes, size_t size)
{
	Elf32_Shdr names;

	*e = (struct verify_elf){.bytes = bytes, .size = size};
	if (size < sizeof(e->eh))
		return false;
	memcpy(&e->eh, bytes, sizeof(e->eh));
	if (memcmp(e->eh.e_ident, ELFMAG, SELFMAG) || e->eh.e_ident[EI_CLASS] != ELFCLASS32 ||
	    e->eh.e_ident[EI_DATA] != ELFDATA2LSB ||
	    (e->eh.e_phnum && e->eh.e_phentsize != sizeof(Elf32_Phdr)) ||
	    !verify_elf_holds(e, e->eh.e_phoff, e->eh.e_phnum * sizeof(Elf32_Phdr)))
		return false;
	if (!e->eh.e_shnum)
		return true;
	if (e->eh.e_shentsize != sizeof(Elf32_Shdr) ||
	    !verify_elf_holds(e, e->eh.e_shoff, e->eh.e_shnum * sizeof(Elf32_Shdr)) ||
	    e->eh.e_shstrndx >= e->eh.e_shnum)
		return false;
	names = verify_elf_section(e, e->eh.e_shstrndx);
	if (!verify_elf_holds(e, names.sh_offset, names.sh_size) || !names.sh_size ||
	    bytes[names.sh_offset + names.sh_size - 1])
		return false;
	e->names = (const char *)bytes + names.sh_offset;
	e->names_size = names.sh_size;
	for (unsigned i = 0; i < e->eh.e_shnum; i++) {
		Elf32_Shdr sh = verify_elf_section(e, i);

		if (sh.sh_type != SHT_NOBITS && sh.sh_type != SHT_NULL &&
		    !verify_elf_holds(e, sh.sh_offset, sh.sh_size))
			return false;
	}
	return true;
}

/* The one section of that name in the patched file. */
bool verify_elf_find(struct verify_ctx *c, const struct verify_elf *e, const char *name, Elf32_Shdr *out)
{
	unsigned n = 0;

	for (unsigned i = 0; i < e->eh.e_shnum; i++) {
		Elf32_Shdr sh = verify_elf_section(e, i);

		/* NOBITS has no bytes, whatever its offset says. */
		if (sh.sh_type != SHT_NOBITS && verify_elf_holds(e, sh.sh_offset, sh.sh_size) &&
		    !strcmp(verify_elf_name(e, &sh), name)) {
			*out = sh;
			n++;
		}
	}
	if (n > 1)
		verify_fail(c, 0, "section %s stands %u times", name, n);
	return n == 1;
}

/* Behind the source's bytes: only what the headers account for, else zeros. */
void verify_elf_tail(struct verify_ctx *c, const struct verify_elf *o, size_t from)
{
	size_t n = c->out_size > from ? c->out_size - from : 0;
	uint8_t *known = calloc(1, n + 1);

	if (!known) {
		c->nomem = true;
		return;
	}
	for (unsigned i = 0; i < o->eh.e_shnum + 2u; i++) {
		size_t off, end;

		if (i < o->eh.e_shnum) {
			Elf32_Shdr sh = verify_elf_section(o, i);

			if (sh.sh_type == SHT_NOBITS || sh.sh_type == SHT_NULL)
				continue;
			off = sh.sh_offset;
			end = off + sh.sh_size;
		} else if (i == o->eh.e_shnum) {
			off = o->eh.e_shoff;
			end = off + o->eh.e_shnum * sizeof(Elf32_Shdr);
		} else {
			off = o->eh.e_phoff;
			end = off + o->eh.e_phnum * sizeof(Elf32_Phdr);
		}
		off = off < from ? from : off;
		if (end > off)
			memset(known + off - from, 1, end - off);
	}
	for (size_t i = 0; i < n; i++) {
		if (!known[i] && c->out[from + i]) {
			verify_fail(c, 0, "file offset 0x%zx: a byte that belongs to no section", from + i);
			break;
		}
	}
	free(known);
}
