// SPDX-License-Identifier: GPL-3.0-or-later
#include "patcher/elf_append.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_SECTION ".paravane.shstrtab"

static int room(struct elf_append *o, size_t more)
{
	if (o->size + more > o->cap) {
		size_t cap = (o->size + more) * 5 / 4 + 4096;
		void *p = realloc(o->bytes, cap);

		if (!p)
			return -ENOMEM;
		o->bytes = p;
		o->cap = cap;
	}
	return 0;
}

int elf_append_bytes(struct elf_append *o, const void *bytes, size_t len, size_t align)
{
	size_t at = (o->size + align - 1) / align * align;

	if (at + len > UINT32_MAX)
		return -EFBIG;
	if (room(o, at - o->size + len))
		return -ENOMEM;
	memset(o->bytes + o->size, 0, at - o->size);
	if (len)
		memcpy(o->bytes + at, bytes, len);
	o->size = at + len;
	return 0;
}

static int add_name(struct elf_append *o, const char *name, Elf32_Word *offset)
{
	size_t len = strlen(name) + 1;
	char *p = realloc(o->names, o->names_size + len);

	if (!p)
		return -ENOMEM;
	o->names = p;
	memcpy(p + o->names_size, name, len);
	*offset = (Elf32_Word)o->names_size;
	o->names_size += len;
	return 0;
}

int elf_append_section(struct elf_append *o, const char *name, const void *bytes, size_t size, size_t align,
		       const Elf32_Shdr *like)
{
	Elf32_Shdr *sh = &o->sections[o->n_old + o->n_new];
	int err = elf_append_bytes(o, bytes, size, align);

	*sh = *like;
	sh->sh_offset = (Elf32_Off)(o->size - size);
	sh->sh_size = (Elf32_Word)size;
	sh->sh_addralign = (Elf32_Word)align;
	if (!err)
		err = add_name(o, name, &sh->sh_name);
	o->n_new++;
	return err;
}

static int take_names(struct elf_append *o, size_t file_size)
{
	const Elf32_Shdr *names = o->eh.e_shstrndx < o->eh.e_shnum ? &o->sections[o->eh.e_shstrndx] : NULL;

	o->names_size = names && names->sh_size ? names->sh_size : 1;
	if (names && names->sh_size &&
	    (names->sh_offset > file_size || names->sh_size > file_size - names->sh_offset))
		return -EINVAL;
	o->names = calloc(1, o->names_size);
	if (!o->names)
		return -ENOMEM;
	if (!names || !names->sh_size)
		return 0;
	memcpy(o->names, o->bytes + names->sh_offset, names->sh_size);
	o->names[o->names_size - 1] = '\0';
	return 0;
}

int elf_append_start(struct elf_append *o, const uint8_t *elf, size_t size)
{
	size_t headers;

	*o = (struct elf_append){0};
	if (size < sizeof(o->eh))
		return -EINVAL;
	memcpy(&o->eh, elf, sizeof(o->eh));
	headers = (size_t)o->eh.e_shnum * sizeof(Elf32_Shdr);
	if (o->eh.e_ident[EI_CLASS] != ELFCLASS32 || o->eh.e_shnum + ELF_APPEND_MAX >= SHN_LORESERVE)
		return -EINVAL;
	if (headers && (o->eh.e_shentsize != sizeof(Elf32_Shdr) || o->eh.e_shoff > size ||
			headers > size - o->eh.e_shoff))
		return -EINVAL;
	o->n_old = o->eh.e_shnum ? o->eh.e_shnum : 1;
	o->sections = calloc(o->n_old + ELF_APPEND_MAX, sizeof(*o->sections));
	if (!o->sections || elf_append_bytes(o, elf, size, 1))
		return -ENOMEM;
	memcpy(o->sections, elf + (headers ? o->eh.e_shoff : 0), headers);
	return take_names(o, size);
}

static int append_names(struct elf_append *o)
{
	Elf32_Shdr strtab = {.sh_type = SHT_STRTAB, .sh_addralign = 1};
	int err =
	    add_name(o, NAMES_SECTION, &strtab.sh_name); /* it must be in it before its bytes are copied */

	if (!err)
		err = elf_append_bytes(o, o->names, o->names_size, 1);
	strtab.sh_offset = (Elf32_Off)(o->size - o->names_size);
	strtab.sh_size = (Elf32_Word)o->names_size;
	o->eh.e_shstrndx = (Elf32_Half)(o->n_old + o->n_new);
	o->sections[o->n_old + o->n_new++] = strtab;
	return err;
}

int elf_append_finish(struct elf_append *o)
{
	int err = append_names(o);
	size_t size = (o->n_old + o->n_new) * sizeof(*o->sections);

	if (!err)
		err = elf_append_bytes(o, o->sections, size, 4);
	if (err)
		return err;
	o->eh.e_shoff = (Elf32_Off)(o->size - size);
	o->eh.e_shnum = (Elf32_Half)(o->n_old + o->n_new);
	o->eh.e_shentsize = sizeof(*o->sections);
	memcpy(o->bytes, &o->eh, sizeof(o->eh));
	return 0;
}

void elf_append_free(struct elf_append *o)
{
	free(o->bytes);
	free(o->sections);
	free(o->names);
	*o = (struct elf_append){0};
}
