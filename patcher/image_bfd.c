// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * libbfd over an image in memory: sections, and symbols with their nm letters. Callers have checked the headers, since
 * libbfd trusts more than it should; a header that is not to be believed is hidden from it by an overlay.
 */
#include <bfd.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "patcher/image_internal.h"

#define SYMBOL_NAME_MAX 1024

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

struct memory {
	const struct image *img;
	const struct image_overlay *over;
};

static void *mem_open(struct bfd *abfd, void *closure)
{
	(void)abfd;
	return closure;
}

/* The part of [offset, offset + n) that the overlay covers comes from there. */
static void overlay(const struct image_overlay *o, uint8_t *buf, size_t offset, size_t n)
{
	size_t from = offset > o->offset ? offset : o->offset;
	size_t to = offset + n < o->offset + o->size ? offset + n : o->offset + o->size;

	if (o->bytes && from < to)
		memcpy(buf + (from - offset), o->bytes + (from - o->offset), to - from);
}

static file_ptr mem_pread(struct bfd *abfd, void *stream, void *buf, file_ptr n, file_ptr offset)
{
	const struct memory *m = stream;

	(void)abfd;
	if (offset < 0 || n < 0 || (uint64_t)offset >= m->img->elf_size)
		return 0;
	if ((uint64_t)n > m->img->elf_size - offset)
		n = m->img->elf_size - offset;
	memcpy(buf, m->img->elf + offset, n);
	overlay(m->over, buf, offset, n);
	return n;
}

static int mem_stat(struct bfd *abfd, void *stream, struct stat *sb)
{
	const struct memory *m = stream;

	(void)abfd;
	memset(sb, 0, sizeof(*sb));
	sb->st_size = m->img->elf_size;
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
		if (!image_in_space(img, sec.va, sec.size))
			continue;
		if ((f & SEC_HAS_CONTENTS) && s->filepos >= 0 && image_in_file(img, s->filepos, sec.size)) {
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

int image_bfd_load(struct image *img, const char *target, const struct image_overlay *over, struct diag *d)
{
	static bool ready; /* libbfd's own state is as global as this */
	struct memory m = {img, over};
	bfd *abfd;
	int err;

	if (!ready) {
		bfd_init();
		bfd_set_error_handler(bfd_quiet_error);
		bfd_set_assert_handler(bfd_quiet_assert);
		ready = true;
	}
	abfd = bfd_openr_iovec(img->path, target, mem_open, &m, mem_pread, NULL, mem_stat);
	if (!abfd)
		return diag_set(d, -EINVAL, "%s: libbfd: %s", img->path, bfd_errmsg(bfd_get_error()));
	if (!check_format_quietly(img, abfd))
		err = diag_set(d, -EINVAL, "%s: libbfd: %s; the file is damaged", img->path,
			       bfd_errmsg(bfd_get_error()));
	else if ((err = bfd_sections(img, abfd)))
		diag_set(d, err, "%s: out of memory for sections", img->path);
	else
		err = bfd_symbols(img, abfd, d);
	bfd_close(abfd);
	return err;
}
