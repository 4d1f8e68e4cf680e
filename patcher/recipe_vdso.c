// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The guest's vDSO: an ELF of its own inside the kernel's data, mapped into user processes. Its entry points hold
 * the `int $0x80` through which most programs make system calls and return from signal handlers.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "patcher/recipe.h"

#define PAGE 4096

struct vdso {
	const uint8_t *bytes; /* from the ELF header to the end of the section that holds it */
	size_t size;
	uint64_t va;
};

static bool inside(const struct vdso *v, uint64_t offset, uint64_t size)
{
	return offset <= v->size && size <= v->size - offset;
}

static bool section(const struct vdso *v, const Elf32_Ehdr *eh, unsigned i, Elf32_Shdr *sh)
{
	uint64_t at = eh->e_shoff + (uint64_t)i * sizeof(*sh);

	if (i >= eh->e_shnum || eh->e_shentsize != sizeof(*sh) || !inside(v, at, sizeof(*sh)))
		return false;
	memcpy(sh, v->bytes + at, sizeof(*sh));
	return inside(v, sh->sh_offset, sh->sh_size);
}

/* Offset of the dynamic symbol `name`, or 0. */
static uint32_t symbol_in(const struct vdso *v, const Elf32_Shdr *syms, const Elf32_Shdr *names,
			  const char *name)
{
	for (uint32_t at = 0; at + sizeof(Elf32_Sym) <= syms->sh_size; at += sizeof(Elf32_Sym)) {
		const char *strings = (const char *)v->bytes + names->sh_offset;
		Elf32_Sym sym;

		memcpy(&sym, v->bytes + syms->sh_offset + at, sizeof(sym));
		if (sym.st_name < names->sh_size && names->sh_size - sym.st_name > strlen(name) &&
		    !strcmp(strings + sym.st_name, name))
			return sym.st_value;
	}
	return 0;
}

static uint32_t symbol_offset(const struct vdso *v, const char *name)
{
	Elf32_Shdr syms, names;
	Elf32_Ehdr eh;

	memcpy(&eh, v->bytes, sizeof(eh));
	if (eh.e_type != ET_DYN || eh.e_ident[EI_CLASS] != ELFCLASS32)
		return 0;
	for (unsigned i = 0; i < eh.e_shnum && section(v, &eh, i, &syms); i++) {
		if (syms.sh_type == SHT_DYNSYM && section(v, &eh, syms.sh_link, &names) && names.sh_size &&
		    !v->bytes[names.sh_offset + names.sh_size - 1])
			return symbol_in(v, &syms, &names, name);
	}
	return 0;
}

static int entry_add(struct recipe *r, const char *name, uint64_t va, uint64_t int80)
{
	struct vdso_entry *p = reallocarray(r->vdso, r->n_vdso + 1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	r->vdso = p;
	p[r->n_vdso] = (struct vdso_entry){.name = strdup(name), .va = va, .int80 = int80};
	return p[r->n_vdso++].name ? 0 : -ENOMEM;
}

int recipe_vdso_find(struct recipe *r, const struct image *img, const char *name, const uint8_t *code,
		     size_t len, size_t int80)
{
	for (size_t i = 0; i < img->n_sections; i++) {
		const struct image_section *s = &img->sections[i];

		for (uint64_t at = -s->va & (PAGE - 1); s->data && at + sizeof(Elf32_Ehdr) <= s->size;
		     at += PAGE) {
			struct vdso v = {.bytes = s->data + at, .size = s->size - at, .va = s->va + at};
			uint32_t offset;

			if (memcmp(v.bytes, ELFMAG, SELFMAG))
				continue;
			offset = symbol_offset(&v, name);
			if (offset && inside(&v, offset, len) && !memcmp(v.bytes + offset, code, len))
				return entry_add(r, name, v.va + offset, v.va + offset + int80);
		}
	}
	return 0;
}
