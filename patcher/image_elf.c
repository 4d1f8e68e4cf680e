// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * ELF kernels. libelf reads the headers, and every range they name is checked against the file here first,
 * because libbfd trusts more than it should; libbfd then gives the sections and the symbols with their nm
 * letters. A section header that cannot be is hidden from libbfd and noted. Images without section headers (stripped
 * by a boot loader's tools), or with headers that cannot be read at all, are described by their program headers.
 */
#include <errno.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>

#include "patcher/image_internal.h"

#define SECTIONS_MAX 20000

struct section_table {
	size_t n, strndx;
	struct image_overlay hidden;
};

static void grow_extent(size_t *extent, uint64_t offset, uint64_t size)
{
	if (offset + size > *extent)
		*extent = offset + size;
}

static int check_header(struct image *img, Elf *elf, GElf_Ehdr *eh, struct diag *d)
{
	const uint8_t *id = img->elf;

	if (elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, eh))
		return diag_set(d, -EINVAL, "%s: ELF header: %s; the file is truncated or damaged", img->path,
				elf_errmsg(-1));
	if (id[EI_DATA] != ELFDATA2LSB)
		return diag_set(d, -ENOTSUP, "%s: ELF header: not little-endian, so not for x86", img->path);
	if (eh->e_machine == EM_386 && id[EI_CLASS] == ELFCLASS32)
		img->width = 32;
	else if (eh->e_machine == EM_X86_64 && id[EI_CLASS] == ELFCLASS64)
		img->width = 64;
	else if (eh->e_machine == EM_X86_64 || eh->e_machine == EM_386)
		return diag_set(d, -ENOTSUP, "%s: ELF header: class %u does not fit machine %u", img->path,
				id[EI_CLASS], eh->e_machine);
	else
		return diag_set(d, -ENOTSUP, "%s: ELF header: machine %u is not i386 or x86-64", img->path,
				eh->e_machine);
	if (eh->e_type == ET_REL)
		return diag_set(d, -ENOTSUP,
				"%s: ELF header: type 1 is a relocatable file; give the linked kernel, or "
				"for a kernel module "
				"`audit --modules`",
				img->path);
	if (eh->e_type != ET_EXEC && eh->e_type != ET_DYN)
		return diag_set(d, -ENOTSUP,
				"%s: ELF header: type %u is not an executable; give the linked kernel",
				img->path, eh->e_type);
	img->entry = eh->e_entry;
	return 0;
}

static int check_segments(struct image *img, Elf *elf, const GElf_Ehdr *eh, size_t *extent, struct diag *d)
{
	GElf_Phdr ph;
	size_t n;

	if (elf_getphdrnum(elf, &n) || n > SECTIONS_MAX ||
	    (n && !image_in_file(img, eh->e_phoff, (uint64_t)n * eh->e_phentsize)))
		return diag_set(d, -EINVAL, "%s: program headers at 0x%llx pass the end of the file (0x%zx)",
				img->path, (unsigned long long)eh->e_phoff, img->elf_size);
	if (n)
		grow_extent(extent, eh->e_phoff, (uint64_t)n * eh->e_phentsize);
	for (size_t i = 0; i < n; i++) {
		if (!gelf_getphdr(elf, i, &ph))
			return diag_set(d, -EINVAL, "%s: program header %zu: %s", img->path, i,
					elf_errmsg(-1));
		if (ph.p_type != PT_LOAD)
			continue;
		if (!image_in_file(img, ph.p_offset, ph.p_filesz))
			return diag_set(d, -EINVAL,
					"%s: program header %zu: 0x%llx bytes at 0x%llx pass the end of the "
					"file (0x%zx); "
					"it is truncated or damaged",
					img->path, i, (unsigned long long)ph.p_filesz,
					(unsigned long long)ph.p_offset, img->elf_size);
		if (ph.p_filesz > ph.p_memsz || !image_in_space(img, ph.p_vaddr, ph.p_memsz) ||
		    !image_in_space(img, ph.p_paddr, ph.p_memsz))
			return diag_set(d, -EINVAL, "%s: program header %zu: impossible sizes or addresses",
					img->path, i);
		grow_extent(extent, ph.p_offset, ph.p_filesz);
	}
	return 0;
}

/* What is wrong with a section header, NULL if nothing is. */
static const char *section_damage(const struct image *img, const GElf_Shdr *sh, size_t n)
{
	bool bytes = sh->sh_type != SHT_NOBITS && sh->sh_type != SHT_NULL;

	if (bytes && !image_in_file(img, sh->sh_offset, sh->sh_size))
		return "its bytes pass the end of the file";
	if ((sh->sh_flags & SHF_ALLOC) && !image_in_space(img, sh->sh_addr, sh->sh_size))
		return "it passes the end of the address space";
	if ((sh->sh_type == SHT_SYMTAB || sh->sh_type == SHT_DYNSYM) &&
	    (sh->sh_link >= n || sh->sh_entsize != (img->width == 64 ? 24 : 16)))
		return "not a proper symbol table";
	return NULL;
}

/* libbfd's copy of the section headers has SHT_NULL in place of this one. */
static int hide_section(struct image *img, struct image_overlay *o, const GElf_Ehdr *eh, size_t n, size_t i)
{
	if (!o->bytes) {
		o->offset = eh->e_shoff;
		o->size = n * eh->e_shentsize;
		o->bytes = malloc(o->size);
		if (!o->bytes)
			return -ENOMEM;
		memcpy(o->bytes, img->elf + o->offset, o->size);
	}
	memset(o->bytes + i * eh->e_shentsize, 0, eh->e_shentsize);
	return 0;
}

static int check_section(struct image *img, Elf *elf, const GElf_Ehdr *eh, struct section_table *t, size_t i,
			 size_t *extent)
{
	Elf_Scn *scn = elf_getscn(elf, i);
	const char *name = NULL, *damage = "unreadable or without a name";
	GElf_Shdr sh;

	if (scn && gelf_getshdr(scn, &sh)) {
		name = elf_strptr(elf, t->strndx, sh.sh_name);
		damage = name ? section_damage(img, &sh, t->n) : damage;
	}
	if (damage) {
		image_note(img, "section header %zu (%s): %s; going on without it", i, name ? name : "?",
			   damage);
		img->damaged = true;
		return hide_section(img, &t->hidden, eh, t->n, i);
	}
	if (sh.sh_type != SHT_NOBITS && sh.sh_type != SHT_NULL)
		grow_extent(extent, sh.sh_offset, sh.sh_size);
	return 0;
}

static int check_sections(struct image *img, Elf *elf, const GElf_Ehdr *eh, struct section_table *t,
			  size_t *extent)
{
	int err = 0;

	if (elf_getshdrnum(elf, &t->n) || t->n > SECTIONS_MAX || (!t->n && eh->e_shoff) ||
	    (t->n && (!image_in_file(img, eh->e_shoff, (uint64_t)t->n * eh->e_shentsize) ||
		      elf_getshdrstrndx(elf, &t->strndx) || t->strndx >= t->n))) {
		image_note(
		    img,
		    "section headers at 0x%llx: outside the file (0x%zx bytes) or without names; going by "
		    "the program headers",
		    (unsigned long long)eh->e_shoff, img->elf_size);
		img->damaged = true;
		t->n = 0;
	}
	if (t->n)
		grow_extent(extent, eh->e_shoff, (uint64_t)t->n * eh->e_shentsize);
	for (size_t i = 1; !err && i < t->n; i++)
		err = check_section(img, elf, eh, t, i, extent);
	return err;
}

static int load_sections(struct image *img, const struct section_table *t, struct diag *d)
{
	int err;

	if (!t->n)
		return 0;
	err = image_bfd_load(img, img->width == 64 ? "elf64-x86-64" : "elf32-i386", &t->hidden, d);
	if (err != -EINVAL)
		return err;
	image_note(img, "section headers: %s; going by the program headers", d->text);
	img->damaged = true;
	d->text[0] = '\0';
	return 0;
}

static int sections_from_segments(struct image *img, Elf *elf, struct diag *d)
{
	struct image_section sec;
	char name[32];
	GElf_Phdr ph;
	size_t n = 0;

	elf_getphdrnum(elf, &n);
	for (size_t i = 0; i < n; i++) {
		if (!gelf_getphdr(elf, i, &ph) || ph.p_type != PT_LOAD || !ph.p_memsz)
			continue;
		snprintf(name, sizeof(name), "LOAD%zu", i);
		sec = (struct image_section){.va = ph.p_vaddr,
					     .size = ph.p_filesz,
					     .offset = ph.p_offset,
					     .data = img->elf + ph.p_offset,
					     .exec = ph.p_flags & PF_X,
					     .write = ph.p_flags & PF_W,
					     .alloc = true};
		if (ph.p_filesz && image_add_section(img, &sec, name))
			return diag_set(d, -ENOMEM, "%s: out of memory", img->path);
		sec.va += ph.p_filesz;
		sec.size = ph.p_memsz - ph.p_filesz;
		sec.data = NULL;
		sec.offset = 0;
		snprintf(name, sizeof(name), "LOAD%zu.bss", i);
		if (sec.size && image_add_section(img, &sec, name))
			return diag_set(d, -ENOMEM, "%s: out of memory", img->path);
	}
	return 0;
}

/* Linux runs at its physical addresses until paging is on; the segment that holds .text tells the distance.
 */
static void find_alias(struct image *img, Elf *elf)
{
	const struct image_section *text = NULL;
	GElf_Phdr ph;
	size_t n = 0;

	for (size_t i = 0; i < img->n_sections; i++) {
		struct image_section *s = &img->sections[i];

		if (s->exec && s->alloc && (!text || !strcmp(s->name, ".text")))
			text = s;
	}
	elf_getphdrnum(elf, &n);
	for (size_t i = 0; text && i < n; i++) {
		if (!gelf_getphdr(elf, i, &ph) || ph.p_type != PT_LOAD || text->va < ph.p_vaddr ||
		    text->va - ph.p_vaddr >= ph.p_memsz)
			continue;
		img->alias_delta = image_wrap(img, ph.p_vaddr - ph.p_paddr);
		return;
	}
}

static int load_headers(struct image *img, Elf *elf, size_t *extent, struct diag *d)
{
	struct section_table t = {.n = 0};
	GElf_Ehdr eh;
	int err = check_header(img, elf, &eh, d);

	if (err)
		return err;
	*extent = eh.e_ehsize;
	err = check_segments(img, elf, &eh, extent, d);
	if (!err)
		err = check_sections(img, elf, &eh, &t, extent);
	if (!err)
		err = load_sections(img, &t, d);
	free(t.hidden.bytes);
	if (!err && !img->n_sections)
		err = sections_from_segments(img, elf, d);
	if (!err && !img->n_sections)
		err = diag_set(d, -EINVAL, "%s: ELF header: nothing to load: neither segments nor sections",
			       img->path);
	return err;
}

int image_elf_load(struct image *img, size_t *extent, struct diag *d)
{
	Elf *elf;
	int err;

	if (elf_version(EV_CURRENT) == EV_NONE)
		return diag_set(d, -EIO, "%s: libelf does not start: %s", img->path, elf_errmsg(-1));
	elf = elf_memory((char *)img->elf, img->elf_size);
	if (!elf)
		return diag_set(d, -EINVAL, "%s: ELF header: %s; the file is truncated or damaged", img->path,
				elf_errmsg(-1));
	err = load_headers(img, elf, extent, d);
	if (!err)
		find_alias(img, elf);
	elf_end(elf);
	return err;
}
