// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * PE/COFF images (Microsoft's PE Format specification): EFI programs, and kernels by their EFI stub. The headers are
 * checked here and damaged section headers hidden, since libbfd trusts more than it should; libbfd then gives sections
 * and symbols. Base relocations are the words that hold addresses.
 *
 * A bzImage is a PE image too: its 16-bit setup code and its compressed payload stand in sections that claim to be code
 * and are no code of this width. They are kept as data.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "patcher/image_internal.h"

#define DOS_LFANEW 0x3c
#define COFF_SIZE 24 /* with the signature */
#define MACHINE_I386 0x14c
#define MACHINE_AMD64 0x8664
#define MAGIC_PE32 0x10b
#define MAGIC_PE32PLUS 0x20b
#define SECTION_SIZE 40
#define SECTIONS_MAX 96 /* of Windows' loader; the specification's is 65535 */
#define DIRECTORY_RELOC 5
#define RELOC_HIGHLOW 3
#define RELOC_DIR64 10

struct pe {
	struct image *img;
	struct diag *d;
	size_t header, optional, sections, n_sections; /* offsets, number */
	uint64_t base;
	struct image_overlay hidden;
};

bool image_is_pe(const struct image *img)
{
	size_t at;

	if (img->file_size < DOS_LFANEW + 4 || memcmp(img->file, "MZ", 2))
		return false;
	at = le32(img->file + DOS_LFANEW);
	return at <= img->file_size && img->file_size - at >= COFF_SIZE &&
	       !memcmp(img->file + at, "PE\0\0", 4);
}

static int bad(const struct pe *pe, size_t offset, const char *what)
{
	return diag_set(pe->d, -EINVAL, "%s: offset 0x%zx: %s; the file is truncated or damaged",
			pe->img->path, offset, what);
}

/* An optional header of the size that its kind and the directories that it claims ask for. */
static size_t fixed_size(const struct pe *pe)
{
	return pe->img->width == 64 ? 112 : 96;
}

static int read_headers(struct pe *pe)
{
	struct image *img = pe->img;
	const uint8_t *h = img->elf + pe->header;
	unsigned machine = le16(h + 4), size = le16(h + 20), magic;

	pe->optional = pe->header + COFF_SIZE;
	pe->sections = pe->optional + size;
	pe->n_sections = le16(h + 6);
	if (!image_in_file(img, pe->optional, size) || size < 2)
		return bad(pe, pe->header + 20, "the optional header passes the end of the file");
	magic = le16(img->elf + pe->optional);
	img->width = machine == MACHINE_AMD64 ? 64 : 32;
	if (machine != MACHINE_I386 && machine != MACHINE_AMD64)
		return diag_set(pe->d, -ENOTSUP, "%s: offset 0x%zx: PE machine 0x%x is not i386 or x86-64",
				img->path, pe->header + 4, machine);
	if (magic != (img->width == 64 ? MAGIC_PE32PLUS : MAGIC_PE32))
		return diag_set(pe->d, -ENOTSUP,
				"%s: offset 0x%zx: optional header 0x%x does not fit machine 0x%x", img->path,
				pe->optional, magic, machine);
	if (size < fixed_size(pe))
		return bad(pe, pe->header + 20, "the optional header is too short");
	if (!pe->n_sections || pe->n_sections > SECTIONS_MAX ||
	    !image_in_file(img, pe->sections, pe->n_sections * SECTION_SIZE))
		return bad(pe, pe->header + 6,
			   "the section headers pass the end of the file, or there are none");
	pe->base = img->width == 64 ? le64(img->elf + pe->optional + 24) : le32(img->elf + pe->optional + 28);
	img->entry = image_wrap(img, pe->base + le32(img->elf + pe->optional + 16));
	return 0;
}

/* The section headers as libbfd is to see them: damaged ones are empty. */
static int hide_damage(struct pe *pe)
{
	struct image *img = pe->img;
	struct image_overlay *o = &pe->hidden;

	*o = (struct image_overlay){malloc(pe->n_sections * SECTION_SIZE), pe->sections,
				    pe->n_sections * SECTION_SIZE};
	if (!o->bytes)
		return diag_set(pe->d, -ENOMEM, "%s: out of memory", img->path);
	memcpy(o->bytes, img->elf + o->offset, o->size);
	for (size_t i = 0; i < pe->n_sections; i++) {
		uint8_t *h = o->bytes + i * SECTION_SIZE;
		bool bytes = image_in_file(img, le32(h + 20), le32(h + 16));

		if (bytes && image_in_space(img, pe->base + le32(h + 12), le32(h + 8)))
			continue;
		image_note(img, "section header %zu (%.8s): it passes the end of the %s; going on without it",
			   i, h, bytes ? "address space" : "file");
		img->damaged = true;
		memset(h + 8, 0, 16);
	}
	return 0;
}

/* --- what is no code in a bzImage --- */

/* Take the bytes of the file from `start` on, len of them, out of the code. */
static int not_code(struct pe *pe, size_t start, size_t len, const char *name)
{
	struct image *img = pe->img;
	char rest[48];

	for (size_t i = 0, n = img->n_sections; i < n; i++) {
		struct image_section s = img->sections[i], part = s;
		size_t from = start > s.offset ? start - s.offset : 0, to;

		if (!s.exec || !s.data || start + len <= s.offset || from >= s.size)
			continue;
		to = start + len - s.offset < s.size ? start + len - s.offset : s.size;
		img->sections[i].size = from;
		part = (struct image_section){.va = s.va + from,
					      .size = to - from,
					      .data = s.data + from,
					      .offset = s.offset + from,
					      .alloc = s.alloc};
		if (image_add_section(img, &part, name))
			return -ENOMEM;
		s.va += to, s.data += to, s.offset += to, s.size -= to;
		snprintf(rest, sizeof(rest), "%.40s.rest", img->sections[i].name);
		if (s.size && image_add_section(img, &s, rest))
			return -ENOMEM;
	}
	return 0;
}

static void drop_empty(struct image *img)
{
	size_t n = 0;

	for (size_t i = 0; i < img->n_sections; i++)
		if (img->sections[i].size)
			img->sections[n++] = img->sections[i];
		else
			free(img->sections[i].name);
	img->n_sections = n;
}

static int keep_bzimage_data(struct pe *pe)
{
	size_t setup, payload, len;
	int err;

	if (!image_is_bzimage(pe->img) || !image_bzimage_parts(pe->img, &setup, &payload, &len))
		return 0;
	image_note(
	    pe->img,
	    "a bzImage, as PE: its EFI stub and decompressor; the kernel is in the payload (without --pe)");
	err = not_code(pe, 0, setup, "setup");
	if (!err)
		err = not_code(pe, payload, len, "payload");
	drop_empty(pe->img);
	return err ? diag_set(pe->d, err, "%s: out of memory", pe->img->path) : 0;
}

/* --- base relocations --- */

static int read_block(struct pe *pe, const uint8_t *block, uint32_t size)
{
	unsigned want = pe->img->width == 64 ? RELOC_DIR64 : RELOC_HIGHLOW;
	int err = 0;

	for (uint32_t at = 8; at + 2 <= size && !err; at += 2) {
		unsigned entry = le16(block + at);
		uint64_t va = image_wrap(pe->img, pe->base + le32(block) + (entry & 0xfff));
		size_t avail;

		if (entry >> 12 == want && image_bytes(pe->img, va, &avail) &&
		    avail >= (size_t)pe->img->width / 8)
			err = image_add_reloc(pe->img, va);
	}
	return err;
}

static int read_relocs(struct pe *pe)
{
	const uint8_t *dir = pe->img->elf + pe->optional + fixed_size(pe) + DIRECTORY_RELOC * 8, *p;
	uint32_t at = 0, size, block;
	size_t avail;
	int err = 0;

	if (pe->optional + fixed_size(pe) + (DIRECTORY_RELOC + 1) * 8 > pe->sections ||
	    !(size = le32(dir + 4)))
		return 0;
	p = image_bytes(pe->img, image_wrap(pe->img, pe->base + le32(dir)), &avail);
	if (!p || avail < size) {
		image_note(pe->img, "base relocations at 0x%x: outside the sections; going on without them",
			   le32(dir));
		return 0;
	}
	for (; !err && size - at >= 8; at += block) {
		block = le32(p + at + 4);
		if (block < 8 || block > size - at) {
			if (block)
				image_note(pe->img,
					   "base relocations+0x%x: a block of %u bytes; the rest is left out",
					   at, block);
			break;
		}
		err = read_block(pe, p + at, block);
	}
	image_sort_relocs(pe->img);
	return err ? diag_set(pe->d, err, "%s: out of memory for relocations", pe->img->path) : 0;
}

int image_pe_load(struct image *img, struct diag *d)
{
	struct pe pe = {.img = img, .d = d, .header = le32(img->elf + DOS_LFANEW)};
	int err = read_headers(&pe);

	if (!err)
		err = hide_damage(&pe);
	if (!err)
		err = image_bfd_load(img, img->width == 64 ? "pei-x86-64" : "pei-i386", &pe.hidden, d);
	if (!err && !img->n_sections)
		err = bad(&pe, pe.sections, "no section is left");
	if (!err)
		err = keep_bzimage_data(&pe);
	if (!err)
		err = read_relocs(&pe);
	free(pe.hidden.bytes);
	return err;
}
