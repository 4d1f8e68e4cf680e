// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 1.1: Loading an image
 *
 * Loading a guest kernel image is reading the file, telling containers apart, and the lookups by address.
 * Everything behind the file's bytes is hostile: each part checks what it reads before use and refuses with
 * the place. Analyses that only improve the result (symbols, relocations) leave a note instead and go
 * without.
 */
#include "patcher/image.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "patcher/image_internal.h"
#include "patcher/kallsyms.h"

/* A vmlinux with full debug information stays under this; more is not a kernel. */
#define FILE_MAX ((size_t)2 << 30)
#define NOTES_MAX 200

void image_note(struct image *img, const char *fmt, ...)
{
	char *text, **notes;
	va_list ap;
	int n;

	if (img->n_notes >= NOTES_MAX)
		return;
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	notes = realloc(img->notes, (img->n_notes + 1) * sizeof(*notes));
	if (!notes) {
		free(text);
		return;
	}
	img->notes = notes;
	img->notes[img->n_notes++] = text;
}

int image_add_section(struct image *img, const struct image_section *sec, const char *name)
{
	struct image_section *s = realloc(img->sections, (img->n_sections + 1) * sizeof(*s));

	if (!s)
		return -ENOMEM;
	img->sections = s;
	s += img->n_sections;
	*s = *sec;
	s->name = strdup(name);
	if (!s->name)
		return -ENOMEM;
	img->n_sections++;
	return 0;
}

int image_add_symbol(struct image *img, uint64_t va, uint64_t size, char type, char *name)
{
	size_t n = img->n_symbols;
	struct image_symbol *s = img->symbols;

	if (!name)
		return -ENOMEM;
	if (!n || (n >= 1024 && !(n & (n - 1)))) {
		s = realloc(s, (n ? 2 * n : 1024) * sizeof(*s));
		if (!s) {
			free(name);
			return -ENOMEM;
		}
		img->symbols = s;
	}
	s[n] = (struct image_symbol){.va = va, .size = size, .name = name, .type = type};
	img->n_symbols++;
	return 0;
}

void image_drop_symbols(struct image *img)
{
	for (size_t i = 0; i < img->n_symbols; i++)
		free(img->symbols[i].name);
	free(img->symbols);
	img->symbols = NULL;
	img->n_symbols = 0;
}

/* By address; of several names for one address the one that tells most comes first: global before local code
 * before data, then the shorter, then by spelling, so that reports do not depend on the sort. */
static int symbol_rank(char type)
{
	switch (type) {
	case 'T':
		return 0;
	case 't':
		return 1;
	case 'W':
	case 'w':
		return 2;
	default:
		return 3;
	}
}

static int symbol_compare(const void *va, const void *vb)
{
	const struct image_symbol *a = va, *b = vb;
	size_t la, lb;

	if (a->va != b->va)
		return a->va < b->va ? -1 : 1;
	if (symbol_rank(a->type) != symbol_rank(b->type))
		return symbol_rank(a->type) - symbol_rank(b->type);
	la = strlen(a->name);
	lb = strlen(b->name);
	if (la != lb)
		return la < lb ? -1 : 1;
	return strcmp(a->name, b->name);
}

void image_sort_symbols(struct image *img)
{
	if (img->n_symbols)
		qsort(img->symbols, img->n_symbols, sizeof(*img->symbols), symbol_compare);
}

static int load_symbols(struct image *img, struct diag *d)
{
	int err;

	img->symbol_source = img->n_symbols ? "symtab" : "none";
	if (!img->n_symbols && img->container != IMAGE_RAW && img->container != IMAGE_PE) {
		err = kallsyms_read(img);
		if (err == -ENOMEM)
			return diag_set(d, err, "%s: out of memory reading kallsyms", img->path);
		if (!err)
			img->symbol_source = "kallsyms";
	}
	image_sort_symbols(img);
	return 0;
}

static int read_file(struct image *img, struct diag *d)
{
	int fd = open(img->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), err = 0;
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return diag_set(d, -errno, "%s: cannot open: %s", img->path, strerror(errno));
	if (fstat(fd, &st) < 0)
		err = diag_set(d, -errno, "%s: cannot stat: %s", img->path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		err = diag_set(d, -EINVAL, "%s: not a regular file; give a kernel image", img->path);
	else if (!st.st_size)
		err = diag_set(d, -EINVAL, "%s: the file is empty; give a kernel image", img->path);
	else if ((uint64_t)st.st_size > FILE_MAX)
		err = diag_set(d, -EFBIG, "%s: %lld bytes: too large for a kernel image (limit %zu)",
			       img->path, (long long)st.st_size, FILE_MAX);
	else if (!(img->file = malloc(st.st_size)))
		err = diag_set(d, -ENOMEM, "%s: out of memory for %lld bytes", img->path,
			       (long long)st.st_size);
	while (!err && img->file_size < (size_t)st.st_size) {
		n = read(fd, img->file + img->file_size, st.st_size - img->file_size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			err = diag_set(d, n ? -errno : -EIO, "%s: read error at offset 0x%zx: %s", img->path,
				       img->file_size, n ? strerror(errno) : "the file shrank");
		else
			img->file_size += n;
	}
	close(fd);
	return err;
}

static int load_raw(struct image *img, uint64_t base, int width, struct diag *d)
{
	struct image_section sec = {
	    .va = base, .size = img->file_size, .exec = true, .write = true, .alloc = true};
	uint64_t top = width == 64 ? UINT64_MAX : UINT32_MAX;

	if (width != 16 && width != 32 && width != 64)
		return diag_set(d, -EINVAL, "%s: code width %d; use 16, 32 or 64", img->path, width);
	if (base > top || img->file_size - 1 > top - base)
		return diag_set(
		    d, -EINVAL,
		    "%s: base 0x%llx: %zu bytes do not fit below the end of a %d-bit address space",
		    img->path, (unsigned long long)base, img->file_size, width);
	img->container = IMAGE_RAW;
	img->width = width;
	img->elf = img->file;
	img->elf_size = img->file_size;
	img->entry = base;
	sec.data = img->elf;
	return image_add_section(img, &sec, "raw");
}

static int load_pe(struct image *img, struct diag *d)
{
	img->container = IMAGE_PE;
	img->elf = img->file;
	img->elf_size = img->file_size;
	if (!image_is_pe(img))
		return diag_set(d, -ENOEXEC, "%s: offset 0x0: not a PE image", img->path);
	return image_pe_load(img, d);
}

static int load_detected(struct image *img, struct diag *d)
{
	size_t extent = 0;
	long mb;
	int err;

	img->compression = "none";
	if (img->file_size >= 4 && !memcmp(img->file, "\177ELF", 4)) {
		img->container = IMAGE_ELF;
		img->elf = img->file;
		img->elf_size = img->file_size;
	} else if (image_is_bzimage(img)) {
		img->container = IMAGE_BZIMAGE;
		err = image_bzimage_unpack(img, d);
		if (err)
			return err;
	} else if (image_is_pe(img)) {
		return load_pe(img, d);
	} else {
		img->container = IMAGE_RAW;
		img->elf = img->file;
		img->elf_size = img->file_size;
		mb = image_multiboot_find(img);
		if (mb >= 0)
			return image_multiboot_flat(img, mb, d);
		return diag_set(d, -ENOEXEC,
				"%s: offset 0x0: neither an ELF file, a bzImage, a PE nor a Multiboot image; "
				"for a flat binary give --base",
				img->path);
	}
	err = image_elf_load(img, &extent, d);
	if (err)
		return err;
	img->multiboot = image_multiboot_find(img) >= 0;
	return image_relocs_load(img, extent, d);
}

int image_load(struct image *img, const char *path, enum image_as as, uint64_t base, int width,
	       struct diag *d)
{
	int err = 0;

	memset(img, 0, sizeof(*img));
	img->compression = "none";
	img->symbol_source = "none";
	img->path = strdup(path);
	if (!img->path)
		err = diag_set(d, -ENOMEM, "%s: out of memory", path);
	if (!err)
		err = read_file(img, d);
	if (!err)
		err = as == IMAGE_AS_RAW  ? load_raw(img, base, width, d)
		      : as == IMAGE_AS_PE ? load_pe(img, d)
					  : load_detected(img, d);
	if (!err)
		err = load_symbols(img, d);
	if (err) {
		diag_set(d, err, "%s: %s", path, strerror(-err));
		image_free(img);
	}
	return err;
}

void image_free(struct image *img)
{
	image_drop_symbols(img);
	for (size_t i = 0; i < img->n_sections; i++)
		free(img->sections[i].name);
	for (size_t i = 0; i < img->n_notes; i++)
		free(img->notes[i]);
	free(img->sections);
	free(img->notes);
	free(img->relocs);
	if (img->elf != img->file)
		free(img->elf);
	free(img->file);
	free(img->path);
	memset(img, 0, sizeof(*img));
}

static const struct image_section *section_bisect(const struct image *img, uint64_t va)
{
	size_t lo = 0, hi = img->n_sections;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct image_section *s = &img->sections[mid];

		if (va < s->va)
			hi = mid;
		else if (va - s->va < s->size)
			return s;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct image_section *image_section_at(const struct image *img, uint64_t va)
{
	if (img->sections_ordered)
		return section_bisect(img, va);
	for (size_t i = 0; i < img->n_sections; i++) {
		const struct image_section *s = &img->sections[i];

		if (s->alloc && va >= s->va && va - s->va < s->size)
			return s;
	}
	return NULL;
}

const struct image_symbol *image_symbol_at(const struct image *img, uint64_t va)
{
	const struct image_section *sec;
	size_t lo = 0, hi = img->n_symbols;
	const struct image_symbol *s;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (img->symbols[mid].va <= va)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo)
		return NULL;
	s = &img->symbols[lo - 1];
	while (s > img->symbols && s[-1].va == s->va)
		s--;
	if (s->size)
		return va - s->va < s->size ? s : NULL;
	sec = image_section_at(img, va);
	return sec && s->va >= sec->va ? s : NULL;
}

const struct image_symbol *image_symbol_named(const struct image *img, const char *name)
{
	for (size_t i = 0; i < img->n_symbols; i++)
		if (!strcmp(img->symbols[i].name, name))
			return &img->symbols[i];
	return NULL;
}

const uint8_t *image_bytes(const struct image *img, uint64_t va, size_t *avail)
{
	const struct image_section *s = image_section_at(img, va);

	if (!s || !s->data) {
		*avail = 0;
		return NULL;
	}
	*avail = s->size - (va - s->va);
	return s->data + (va - s->va);
}
