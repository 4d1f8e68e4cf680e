// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * ELF kernels. libelf reads the headers, and every range they name is checked against the file here first,
 * because libbfd trusts more than it should; libbfd then gives the sections and the symbols with their nm
 * letters. Images without section headers (stripped by a boot loader's tools) are described by their program
 * headers.
 */
#include <bfd.h>
#include <errno.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>

#include "patcher/image_internal.h"

#define SECTIONS_MAX 20000
#define SYMBOL_NAME_MAX 1024

static void grow_extent(size_t *extent, uint64_t offset, uint64_t size)
{
	if (offset + size > *extent)
		*extent = offset + size;
}

static bool in_file(const struct image *img, uint64_t offset, uint64_t size)
{
	return offset <= img->elf_size && size <= img->elf_size - offset;
}

/* Does [va, va + size) stay inside the address space? */
static bool in_space(const struct image *img, uint64_t va, uint64_t size)
{
	uint64_t top = img->width == 64 ? UINT64_MAX : UINT32_MAX;

	return va <= top && (!size || size - 1 <= top - va);
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
	    (n && !in_file(img, eh->e_phoff, (uint64_t)n * eh->e_phentsize)))
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
		if (!in_file(img, ph.p_offset, ph.p_filesz))
			return diag_set(d, -EINVAL,
					"%s: program header %zu: 0x%llx bytes at 0x%llx pass the end of the "
					"file (0x%zx); "
					"it is truncated or damaged",
					img->path, i, (unsigned long long)ph.p_filesz,
					(unsigned long long)ph.p_offset, img->elf_size);
		if (ph.p_filesz > ph.p_memsz || !in_space(img, ph.p_vaddr, ph.p_memsz) ||
		    !in_space(img, ph.p_paddr, ph.p_memsz))
			return diag_set(d, -EINVAL, "%s: program header %zu: impossible sizes or addresses",
					img->path, i);
		grow_extent(extent, ph.p_offset, ph.p_filesz);
	}
	return 0;
}

static int check_sections(struct image *img, Elf *elf, const GElf_Ehdr *eh, size_t *n, size_t *extent,
			  struct diag *d)
{
	size_t strndx;
	GElf_Shdr sh;

	if (elf_getshdrnum(elf, n) || *n > SECTIONS_MAX ||
	    (*n && (!in_file(img, eh->e_shoff, (uint64_t)*n * eh->e_shentsize) ||
		    elf_getshdrstrndx(elf, &strndx) || strndx >= *n)))
		return diag_set(
		    d, -EINVAL,
		    "%s: section headers at 0x%llx pass the end of the file (0x%zx) or have no names; "
		    "it is truncated or damaged",
		    img->path, (unsigned long long)eh->e_shoff, img->elf_size);
	if (!*n && eh->e_shoff)
		return diag_set(d, -EINVAL, "%s: section headers at 0x%llx cannot be read", img->path,
				(unsigned long long)eh->e_shoff);
	if (*n)
		grow_extent(extent, eh->e_shoff, (uint64_t)*n * eh->e_shentsize);
	for (size_t i = 1; i < *n; i++) {
		Elf_Scn *scn = elf_getscn(elf, i);

		if (!scn || !gelf_getshdr(scn, &sh) || !elf_strptr(elf, strndx, sh.sh_name))
			return diag_set(d, -EINVAL, "%s: section header %zu: unreadable or without a name",
					img->path, i);
		if (sh.sh_type != SHT_NOBITS && sh.sh_type != SHT_NULL &&
		    !in_file(img, sh.sh_offset, sh.sh_size))
			return diag_set(
			    d, -EINVAL,
			    "%s: section header %zu (%s): 0x%llx bytes at 0x%llx pass the end of the file "
			    "(0x%zx); it is truncated or damaged",
			    img->path, i, elf_strptr(elf, strndx, sh.sh_name), (unsigned long long)sh.sh_size,
			    (unsigned long long)sh.sh_offset, img->elf_size);
		if ((sh.sh_flags & SHF_ALLOC) && !in_space(img, sh.sh_addr, sh.sh_size))
			return diag_set(d, -EINVAL,
					"%s: section header %zu (%s): passes the end of the address space",
					img->path, i, elf_strptr(elf, strndx, sh.sh_name));
		if ((sh.sh_type == SHT_SYMTAB || sh.sh_type == SHT_DYNSYM) &&
		    (sh.sh_link >= *n || sh.sh_entsize != (img->width == 64 ? 24 : 16)))
			return diag_set(d, -EINVAL, "%s: section header %zu (%s): not a proper symbol table",
					img->path, i, elf_strptr(elf, strndx, sh.sh_name));
		if (sh.sh_type != SHT_NOBITS && sh.sh_type != SHT_NULL)
			grow_extent(extent, sh.sh_offset, sh.sh_size);
	}
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

/* --- libbfd over the image in memory --- */

static void bfd_quiet_error(const char *fmt, va_list ap)
{
	(void)fmt;
	(void)ap;
}

static void bfd_quiet_assert(const char *fmt, const char *version, const char *file, int line)
{
	(void)fmt;
	(void)version;
	(void)file;
	(void)line;
}

static void *mem_open(struct bfd *abfd, void *closure)
{
	(void)abfd;
	return closure;
}

static file_ptr mem_pread(struct bfd *abfd, void *stream, void *buf, file_ptr n, file_ptr offset)
{
	const struct image *img = stream;

	(void)abfd;
	if (offset < 0 || n < 0 || (uint64_t)offset >= img->elf_size)
		return 0;
	if ((uint64_t)n > img->elf_size - offset)
		n = img->elf_size - offset;
	memcpy(buf, img->elf + offset, n);
	return n;
}

static int mem_stat(struct bfd *abfd, void *stream, struct stat *sb)
{
	const struct image *img = stream;

	(void)abfd;
	memset(sb, 0, sizeof(*sb));
	sb->st_size = img->elf_size;
	return 0;
}

static int bfd_sections(struct image *img, bfd *abfd)
{
	int err = 0;

	for (asection *s = abfd->sections; s && !err; s = s->next) {
		flagword f = bfd_section_flags(s);
		struct image_section sec = {
		    .va = image_wrap(img, bfd_section_vma(s)),
		    .size = bfd_section_size(s),
		    .exec = f & SEC_CODE,
		    .write = !(f & SEC_READONLY),
		    .alloc = f & SEC_ALLOC,
		};

		/* Checked already, but by libelf's reading of the headers; libbfd makes sections of its own
		 * too. */
		if (!in_space(img, sec.va, sec.size))
			continue;
		if ((f & SEC_HAS_CONTENTS) && s->filepos >= 0 && in_file(img, s->filepos, sec.size)) {
			sec.offset = s->filepos;
			sec.data = img->elf + sec.offset;
		}
		if (sec.size)
			err = image_add_section(img, &sec, bfd_section_name(s));
	}
	return err;
}

/* Keep what names an address of the running kernel: no files, sections, debugging or compiler-local labels.
 */
static bool symbol_wanted(const struct image *img, const asymbol *sym, uint64_t va)
{
	const char *name = bfd_asymbol_name(sym);

	if (!name || !*name || strnlen(name, SYMBOL_NAME_MAX) == SYMBOL_NAME_MAX || !strncmp(name, ".L", 2))
		return false;
	if (sym->flags & (BSF_FILE | BSF_SECTION_SYM | BSF_DEBUGGING))
		return false;
	if (bfd_is_und_section(sym->section) || bfd_is_com_section(sym->section))
		return false;
	return image_section_at(img, va) != NULL;
}

static int bfd_symbols(struct image *img, bfd *abfd, struct diag *d)
{
	long room = bfd_get_symtab_upper_bound(abfd), n;
	asymbol **table;
	int err = 0;

	if (room <= 0 || !(bfd_get_file_flags(abfd) & HAS_SYMS)) {
		if (room < 0)
			image_note(img, "symtab: %s; going on without it", bfd_errmsg(bfd_get_error()));
		return 0;
	}
	/* An entry takes 16 bytes of the file at least, so this is bounded by the file's size. */
	if ((size_t)room / sizeof(asymbol *) > img->elf_size / 16 + 2) {
		image_note(img, "symtab: claims more symbols than the file can hold; going on without it");
		return 0;
	}
	table = malloc(room);
	if (!table)
		return diag_set(d, -ENOMEM, "%s: out of memory for symbols", img->path);
	n = bfd_canonicalize_symtab(abfd, table);
	if (n < 0)
		image_note(img, "symtab: %s; going on without it", bfd_errmsg(bfd_get_error()));
	for (long i = 0; i < n && !err; i++) {
		uint64_t va = image_wrap(img, bfd_asymbol_value(table[i]));
		symbol_info info;

		if (!symbol_wanted(img, table[i], va))
			continue;
		bfd_symbol_info(table[i], &info);
		err = image_add_symbol(img, va, 0, info.type, strdup(bfd_asymbol_name(table[i])));
	}
	free(table);
	return err ? diag_set(d, err, "%s: out of memory for symbols", img->path) : 0;
}

/* What libbfd had to say becomes notes of the image, a line each. */
static void note_lines(struct image *img, char *text)
{
	char *save, *line = strtok_r(text, "\n", &save);

	for (; line; line = strtok_r(NULL, "\n", &save))
		image_note(img, "section headers: %s", line);
}

/*
 * bfd_check_format() of binutils 2.40 collects warnings past the error handler and prints them on `stderr`
 * itself. glibc lets that variable be set, so they are caught on the way.
 */
static bool check_format_quietly(struct image *img, bfd *abfd)
{
	FILE *real = stderr, *caught;
	char *text = NULL;
	size_t size;
	bool ok;

	caught = open_memstream(&text, &size);
	if (!caught)
		return false;
	stderr = caught;
	ok = bfd_check_format(abfd, bfd_object);
	stderr = real;
	fclose(caught);
	note_lines(img, text);
	free(text);
	return ok;
}

static int load_by_bfd(struct image *img, struct diag *d)
{
	static bool ready; /* libbfd's own state is as global as this */
	bfd *abfd;
	int err;

	if (!ready) {
		bfd_init();
		bfd_set_error_handler(bfd_quiet_error);
		bfd_set_assert_handler(bfd_quiet_assert);
		ready = true;
	}
	abfd = bfd_openr_iovec(img->path, img->width == 64 ? "elf64-x86-64" : "elf32-i386", mem_open, img,
			       mem_pread, NULL, mem_stat);
	if (!abfd)
		return diag_set(d, -EINVAL, "%s: libbfd: %s", img->path, bfd_errmsg(bfd_get_error()));
	if (!check_format_quietly(img, abfd))
		err = diag_set(d, -EINVAL, "%s: section headers: %s; the file is damaged", img->path,
			       bfd_errmsg(bfd_get_error()));
	else if ((err = bfd_sections(img, abfd)))
		diag_set(d, err, "%s: out of memory for sections", img->path);
	else
		err = bfd_symbols(img, abfd, d);
	bfd_close(abfd);
	return err;
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

int image_elf_load(struct image *img, size_t *extent, struct diag *d)
{
	size_t n_sections = 0;
	GElf_Ehdr eh;
	Elf *elf;
	int err;

	if (elf_version(EV_CURRENT) == EV_NONE)
		return diag_set(d, -EIO, "%s: libelf does not start: %s", img->path, elf_errmsg(-1));
	elf = elf_memory((char *)img->elf, img->elf_size);
	if (!elf)
		return diag_set(d, -EINVAL, "%s: ELF header: %s; the file is truncated or damaged", img->path,
				elf_errmsg(-1));
	err = check_header(img, elf, &eh, d);
	*extent = eh.e_ehsize;
	if (!err)
		err = check_segments(img, elf, &eh, extent, d);
	if (!err)
		err = check_sections(img, elf, &eh, &n_sections, extent, d);
	if (!err)
		err = n_sections ? load_by_bfd(img, d) : sections_from_segments(img, elf, d);
	if (!err && !img->n_sections)
		err = sections_from_segments(img, elf, d);
	if (!err && !img->n_sections)
		err = diag_set(d, -EINVAL, "%s: ELF header: nothing to load: neither segments nor sections",
			       img->path);
	if (!err)
		find_alias(img, elf);
	elf_end(elf);
	return err;
}
