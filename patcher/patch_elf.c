// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The patched ELF. Nothing of the source moves: what is new is appended, and the ELF header points at new
 * section and program headers behind it (the old ones stay where they were, unused). The old header is kept in
 * .paravane.undo, with the size of the source behind it. By hand and not through libelf, which would lay the file out anew.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/abi.h"
#include "patcher/patch.h"

#define NEW_SECTIONS 5 /* stubs, manifest, source, undo, names */

struct out {
	uint8_t *bytes;
	size_t size, cap;
	Elf32_Ehdr eh;
	Elf32_Shdr *sections; /* the old ones, then the new */
	unsigned n_old, n_new;
	char *names;
	size_t names_size;
};

static int room(struct out *o, size_t more)
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

static int append(struct out *o, const void *bytes, size_t len, size_t align)
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

static int add_name(struct out *o, const char *name, Elf32_Word *offset)
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

static int add_section(struct out *o, const char *name, const void *bytes, size_t size, size_t align,
		       Elf32_Shdr *like)
{
	Elf32_Shdr *sh = &o->sections[o->n_old + o->n_new];
	int err = append(o, bytes, size, align);

	*sh = *like;
	sh->sh_offset = (Elf32_Off)(o->size - size);
	sh->sh_size = (Elf32_Word)size;
	sh->sh_addralign = (Elf32_Word)align;
	if (!err)
		err = add_name(o, name, &sh->sh_name);
	o->n_new++;
	return err;
}

static int sections_start(struct out *o, const struct image *img)
{
	size_t size = (size_t)o->eh.e_shnum * sizeof(Elf32_Shdr);
	const Elf32_Shdr *names;

	o->n_old = o->eh.e_shnum ? o->eh.e_shnum : 1;
	o->sections = calloc(o->n_old + NEW_SECTIONS, sizeof(*o->sections));
	if (!o->sections)
		return -ENOMEM;
	if (size && (o->eh.e_shentsize != sizeof(Elf32_Shdr) || o->eh.e_shoff > img->elf_size ||
		     size > img->elf_size - o->eh.e_shoff))
		return -EINVAL;
	memcpy(o->sections, img->elf + (size ? o->eh.e_shoff : 0), size);
	names = o->eh.e_shstrndx < o->eh.e_shnum ? &o->sections[o->eh.e_shstrndx] : NULL;
	o->names_size = names && names->sh_size ? names->sh_size : 1;
	o->names = calloc(1, o->names_size);
	if (!o->names)
		return -ENOMEM;
	if (!names || !names->sh_size)
		return 0;
	if (names->sh_offset > img->elf_size || names->sh_size > img->elf_size - names->sh_offset)
		return -EINVAL;
	memcpy(o->names, img->elf + names->sh_offset, names->sh_size);
	o->names[o->names_size - 1] = '\0';
	return 0;
}

/* The old program headers and one for the stubs. p_paddr 0: the monitor, not a boot loader, puts it in place. */
static int segments_append(struct out *o, const struct image *img, const Elf32_Shdr *stubs)
{
	size_t old = (size_t)o->eh.e_phnum * sizeof(Elf32_Phdr);
	Elf32_Phdr ph = {.p_type = PT_LOAD,
			 .p_offset = stubs->sh_offset,
			 .p_vaddr = stubs->sh_addr,
			 .p_filesz = stubs->sh_size,
			 .p_memsz = stubs->sh_size,
			 .p_flags = PF_R | PF_X,
			 .p_align = 4096};
	int err;

	if (o->eh.e_phentsize != sizeof(ph) || o->eh.e_phnum >= PN_XNUM - 1 ||
	    o->eh.e_phoff > img->elf_size || old > img->elf_size - o->eh.e_phoff)
		return -EINVAL;
	err = append(o, img->elf + o->eh.e_phoff, old, 4);
	o->eh.e_phoff = (Elf32_Off)(o->size - old);
	if (!err)
		err = append(o, &ph, sizeof(ph), 1);
	o->eh.e_phnum++;
	return err;
}

static int new_sections(struct out *o, const struct image *img, const struct stubs *st,
			const uint8_t *manifest, size_t manifest_size, uint32_t hole_base)
{
	Elf32_Shdr code = {
	    .sh_type = SHT_PROGBITS, .sh_flags = SHF_ALLOC | SHF_EXECINSTR, .sh_addr = hole_base + ABI_STUBS};
	Elf32_Shdr data = {.sh_type = SHT_PROGBITS}, strtab = {.sh_type = SHT_STRTAB};
	bool foreign = img->container != IMAGE_ELF;
	uint8_t undo[sizeof(Elf32_Ehdr) + 4];
	uint32_t elf_size = (uint32_t)img->elf_size;
	int err;

	memcpy(undo, img->elf, sizeof(Elf32_Ehdr));
	memcpy(undo + sizeof(Elf32_Ehdr), &elf_size, sizeof(elf_size));
	err = add_section(o, MANIFEST_STUB_SECTION, st->bytes, st->size, 4096, &code);
	if (!err)
		err = add_section(o, MANIFEST_SECTION, manifest, manifest_size, 16, &data);
	if (!err && foreign)
		err = add_section(o, MANIFEST_SOURCE_SECTION, img->file, img->file_size, 16, &data);
	if (!err)
		err = add_section(o, PATCH_UNDO_SECTION, undo, sizeof(undo), 4, &data);
	if (!err) /* its own name must be in it before its bytes are copied */
		err = add_name(o, ".paravane.shstrtab", &strtab.sh_name);
	if (err)
		return err;
	err = append(o, o->names, o->names_size, 1);
	strtab.sh_offset = (Elf32_Off)(o->size - o->names_size);
	strtab.sh_size = (Elf32_Word)o->names_size;
	strtab.sh_addralign = 1;
	o->eh.e_shstrndx = (Elf32_Half)(o->n_old + o->n_new);
	o->sections[o->n_old + o->n_new++] = strtab;
	return err;
}

static int finish(struct out *o)
{
	size_t size = (o->n_old + o->n_new) * sizeof(*o->sections);
	int err = append(o, o->sections, size, 4);

	if (err)
		return err;
	o->eh.e_shoff = (Elf32_Off)(o->size - size);
	o->eh.e_shnum = (Elf32_Half)(o->n_old + o->n_new);
	o->eh.e_shentsize = sizeof(*o->sections);
	memcpy(o->bytes, &o->eh, sizeof(o->eh));
	return 0;
}

static int write_parts(struct out *o, const struct image *img, const uint8_t *patched, const struct stubs *st,
		       const uint8_t *manifest, size_t manifest_size, uint32_t hole_base)
{
	int err;

	if (img->elf_size < sizeof(o->eh))
		return -EINVAL;
	memcpy(&o->eh, img->elf, sizeof(o->eh));
	if (o->eh.e_ident[EI_CLASS] != ELFCLASS32 || o->eh.e_shnum + NEW_SECTIONS >= SHN_LORESERVE)
		return -EINVAL;
	err = append(o, patched, img->elf_size, 1);
	if (!err)
		err = sections_start(o, img);
	if (!err)
		err = new_sections(o, img, st, manifest, manifest_size, hole_base);
	if (!err)
		err = segments_append(o, img, &o->sections[o->n_old]);
	return err ? err : finish(o);
}

int patch_elf_write(const struct image *img, const uint8_t *patched, const struct stubs *st,
		    const uint8_t *manifest, size_t manifest_size, uint32_t hole_base, uint8_t **out,
		    size_t *out_size, struct diag *d)
{
	struct out o = {0};
	int err = write_parts(&o, img, patched, st, manifest, manifest_size, hole_base);

	free(o.sections);
	free(o.names);
	if (err) {
		free(o.bytes);
		return diag_set(d, err, "%s: ELF header: %s", img->path,
				err == -EINVAL ? "its section or program headers are out of bounds"
					       : strerror(-err));
	}
	*out = o.bytes;
	*out_size = o.size;
	return 0;
}
