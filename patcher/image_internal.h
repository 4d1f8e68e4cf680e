// SPDX-License-Identifier: GPL-3.0-or-later
/* What the parts of the image loader share with each other and with nobody else. */
#ifndef PATCHER_IMAGE_INTERNAL_H
#define PATCHER_IMAGE_INTERNAL_H

#include <string.h>

#include "patcher/image.h"

static inline uint16_t le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t le32(const uint8_t *p)
{
	return (uint32_t)le16(p) | (uint32_t)le16(p + 2) << 16;
}

static inline uint64_t le64(const uint8_t *p)
{
	return le32(p) | (uint64_t)le32(p + 4) << 32;
}

static inline int32_t les32(const uint8_t *p)
{
	return (int32_t)le32(p);
}

/* Addresses of a 32-bit image wrap at 4 GiB. */
static inline uint64_t image_wrap(const struct image *img, uint64_t va)
{
	return img->width == 64 ? va : (uint32_t)va;
}

/* Append one section; name is copied. -ENOMEM. */
int image_add_section(struct image *img, const struct image_section *sec, const char *name);
/* Append one symbol; name is owned by the image afterwards, even on failure. */
int image_add_symbol(struct image *img, uint64_t va, uint64_t size, char type, char *name);
void image_drop_symbols(struct image *img);
void image_sort_symbols(struct image *img);

static inline bool image_in_file(const struct image *img, uint64_t offset, uint64_t size)
{
	return offset <= img->elf_size && size <= img->elf_size - offset;
}

/* Does [va, va + size) stay inside the address space? */
static inline bool image_in_space(const struct image *img, uint64_t va, uint64_t size)
{
	uint64_t top = img->width == 64 ? UINT64_MAX : UINT32_MAX;

	return va <= top && (!size || size - 1 <= top - va);
}

/* Bytes of img->elf that libbfd sees otherwise; none if bytes is NULL. */
struct image_overlay {
	uint8_t *bytes;
	size_t offset, size;
};
/* image_bfd.c: sections and symbols by libbfd's reader `target`. -EINVAL if it does not recognise the file. */
int image_bfd_load(struct image *img, const char *target, const struct image_overlay *over, struct diag *d);
/* image_pe.c: is img->file one; load it from img->elf, which is the file. */
bool image_is_pe(const struct image *img);
int image_pe_load(struct image *img, struct diag *d);
/* image_elf.c: img->elf, elf_size are set. *extent receives how much of them the ELF itself describes. */
int image_elf_load(struct image *img, size_t *extent, struct diag *d);
/* image_bzimage.c: is img->file one; unpack it into img->elf. */
bool image_is_bzimage(const struct image *img);
int image_bzimage_unpack(struct image *img, struct diag *d);
/* Where its parts are in the file: 16-bit setup code up to *setup, the payload. False if they are not inside it. */
bool image_bzimage_parts(const struct image *img, size_t *setup, size_t *payload, size_t *len);
/* image_relocs.c: the list behind the ELF, or the relocation sections that --emit-relocs left. */
int image_relocs_load(struct image *img, size_t extent, struct diag *d);
int image_add_reloc(struct image *img, uint64_t va); /* -ENOMEM */
void image_sort_relocs(struct image *img);	     /* once all are added */
/* image_multiboot.c: offset of a Multiboot 1 header in img->elf, or -1. */
long image_multiboot_find(const struct image *img);
/* Loads a flat image whose Multiboot header says where it goes (the "a.out kludge"). */
int image_multiboot_flat(struct image *img, long offset, struct diag *d);

#endif
