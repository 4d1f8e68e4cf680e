// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Multiboot 1 headers (Multiboot specification 0.6.96, section 3.1): a magic, flags and a checksum, aligned
 * to 4, within the first 8 KiB of the file. With flag 16 the header itself says where a flat image is loaded,
 * so a file that is no ELF can be a kernel too.
 */
#include <errno.h>

#include "patcher/image_internal.h"

#define MB_MAGIC 0x1badb002
#define MB_SEARCH 8192
#define MB_ADDRESSES (1u << 16)

long image_multiboot_find(const struct image *img)
{
	size_t end = img->elf_size < MB_SEARCH ? img->elf_size : MB_SEARCH;

	for (size_t at = 0; at + 12 <= end; at += 4) {
		const uint8_t *h = img->elf + at;

		if (le32(h) == MB_MAGIC && (uint32_t)(le32(h) + le32(h + 4) + le32(h + 8)) == 0)
			return at;
	}
	return -1;
}

int image_multiboot_flat(struct image *img, long offset, struct diag *d)
{
	const uint8_t *h = img->elf + offset;
	uint32_t header, load, load_end, bss_end;
	struct image_section sec = {.exec = true, .write = true, .alloc = true};
	size_t start;

	if (!(le32(h + 4) & MB_ADDRESSES) || (size_t)offset + 32 > img->elf_size)
		return diag_set(d, -ENOEXEC,
				"%s: offset 0x%lx: a Multiboot header without load addresses (flag 16) in a "
				"file that is no "
				"ELF; give --base",
				img->path, offset);
	header = le32(h + 12);
	load = le32(h + 16);
	load_end = le32(h + 20);
	bss_end = le32(h + 24);
	if (load > header || header - load > (size_t)offset)
		return diag_set(
		    d, -EINVAL,
		    "%s: offset 0x%lx: Multiboot load address 0x%x does not fit header address 0x%x",
		    img->path, offset + 16, load, header);
	start = offset - (header - load);
	sec.size = load_end ? load_end - load : img->elf_size - start;
	if ((load_end && load_end <= load) || sec.size > img->elf_size - start ||
	    sec.size - 1 > UINT32_MAX - load)
		return diag_set(
		    d, -EINVAL,
		    "%s: offset 0x%lx: Multiboot load end 0x%x passes the end of the file (0x%zx bytes)",
		    img->path, offset + 20, load_end, img->elf_size);
	img->width = 32;
	img->multiboot = true;
	img->entry = le32(h + 28);
	sec.va = load;
	sec.offset = start;
	sec.data = img->elf + start;
	if (image_add_section(img, &sec, "multiboot"))
		return diag_set(d, -ENOMEM, "%s: out of memory", img->path);
	if (bss_end > load && bss_end - load > sec.size) {
		sec.va += sec.size;
		sec.size = bss_end - sec.va;
		sec.data = NULL;
		sec.offset = 0;
		sec.exec = false;
		if (image_add_section(img, &sec, ".bss"))
			return diag_set(d, -ENOMEM, "%s: out of memory", img->path);
	}
	return 0;
}
