// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The bzImage container: setup header at 0x1f1, real-mode setup, then the protected-mode part with the
 * compressed vmlinux inside it. Where the payload lies is in the header since boot protocol 2.08
 * (Linux 2.6.26). See Documentation/arch/x86/boot.rst of Linux.
 */
#include <errno.h>
#include <stdio.h>

#include "patcher/image_internal.h"
#include "patcher/payload.h"

#define HDR_SETUP_SECTS 0x1f1
#define HDR_BOOT_FLAG 0x1fe
#define HDR_JUMP_LEN 0x201 /* second byte of the `jmp` over the header: gives its end */
#define HDR_MAGIC 0x202
#define HDR_VERSION 0x206
#define HDR_PAYLOAD_OFFSET 0x248
#define HDR_PAYLOAD_LENGTH 0x24c
#define HDR_MIN_END 0x250

bool image_is_bzimage(const struct image *img)
{
	return img->file_size > HDR_MIN_END && le16(img->file + HDR_BOOT_FLAG) == 0xaa55 &&
	       !memcmp(img->file + HDR_MAGIC, "HdrS", 4);
}

bool image_bzimage_parts(const struct image *img, size_t *setup, size_t *payload, size_t *len)
{
	const uint8_t *h = img->file;
	unsigned sects = h[HDR_SETUP_SECTS] ? h[HDR_SETUP_SECTS] : 4; /* 0 means 4, by the protocol */

	*setup = (sects + 1) * 512;
	*payload = *setup + le32(h + HDR_PAYLOAD_OFFSET);
	*len = le32(h + HDR_PAYLOAD_LENGTH);
	return *payload <= img->file_size && *len <= img->file_size - *payload;
}

int image_bzimage_unpack(struct image *img, struct diag *d)
{
	const uint8_t *h = img->file, *payload;
	unsigned version = le16(h + HDR_VERSION);
	size_t setup, start, len, end = HDR_MAGIC + h[HDR_JUMP_LEN];
	bool inside = image_bzimage_parts(img, &setup, &start, &len);
	char where[256];
	int err;

	if (version < 0x208)
		return diag_set(
		    d, -ENOTSUP,
		    "%s: setup header+0x15: boot protocol %u.%02u does not say where the payload is; "
		    "2.08 (Linux 2.6.26) or later is needed",
		    img->path, version >> 8, version & 0xff);
	if (!inside)
		return diag_set(
		    d, -EINVAL,
		    "%s: setup header+0x57: payload of 0x%zx bytes at 0x%zx passes the end of the file "
		    "(0x%zx); the file is truncated or damaged",
		    img->path, len, start, img->file_size);
	if (len < 16)
		return diag_set(d, -EINVAL, "%s: setup header+0x5b: a payload of %zu bytes holds no kernel",
				img->path, len);
	if (end < HDR_MIN_END || end > img->file_size)
		return diag_set(d, -EINVAL, "%s: offset 0x201: setup header ends at 0x%zx, which cannot be",
				img->path, end);
	payload = h + start;
	snprintf(where, sizeof(where), "%.200s: payload at 0x%zx", img->path, start);
	img->setup_offset = HDR_SETUP_SECTS;
	img->setup_size = end - HDR_SETUP_SECTS;
	/* The unpacked size follows the compressed data and counts as payload; gzip's own trailer serves
	 * alike. */
	img->compression = payload_format(payload, len);
	err = payload_unpack(payload, len - (img->compression && !strcmp(img->compression, "gzip") ? 0 : 4),
			     le32(payload + len - 4), &img->elf, where, d);
	if (err)
		return err;
	img->elf_size = le32(payload + len - 4);
	if (img->elf_size < 64 || memcmp(img->elf, "\177ELF", 4))
		return diag_set(d, -EINVAL, "%s: does not unpack to an ELF file", where);
	return 0;
}
