// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Reading an initramfs as the kernel does (init/initramfs.c; Documentation/driver-api/early-userspace/
 * buffer-format.rst): newc archives and compressed members that hold such archives, zeros between them. Microcode
 * comes as a plain archive in front of the compressed rest. Damage in one place costs what is behind it in that
 * archive, no more.
 */
#include "patcher/initramfs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "patcher/payload.h"

#define HEADER_SIZE 110 /* magic and 13 fields of 8 hexadecimal digits */

enum field { FIELD_MODE = 1, FIELD_NLINK = 4, FIELD_FILESIZE = 6, FIELD_NAMESIZE = 11 };

struct walk {
	const char *path;
	const struct initramfs_ops *ops;
	void *ctx;
};

static int damage(const struct walk *w, size_t at, const char *what)
{
	char text[512];

	snprintf(text, sizeof(text), "%s: offset 0x%zx: %s", w->path, at, what);
	return w->ops->damage(w->ctx, text);
}

bool initramfs_is_cpio(const uint8_t *p, size_t size)
{
	return size >= HEADER_SIZE && (!memcmp(p, "070701", 6) || !memcmp(p, "070702", 6));
}

static bool field(const uint8_t *header, enum field f, size_t *out)
{
	size_t v = 0;

	for (const uint8_t *p = header + 6 + 8 * f, *end = p + 8; p < end; p++) {
		const char *digits = "0123456789abcdef", *at = *p ? strchr(digits, *p | 0x20) : NULL;

		if (!at || (*p < 'A' && *p > '9'))
			return false;
		v = v << 4 | (size_t)(at - digits);
	}
	*out = v;
	return true;
}

/* Both names and contents are padded to words, counted from the start of the archive. */
static size_t padded(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

/* One archive: how far it reaches in *used. */
static int walk_cpio(const struct walk *w, const uint8_t *p, size_t size, size_t *used)
{
	size_t at = 0, mode, links, length, name_size;
	int err = 0;

	while (!err && initramfs_is_cpio(p + at, size - at)) {
		const char *name = (const char *)p + at + HEADER_SIZE;
		size_t data;

		if (!field(p + at, FIELD_MODE, &mode) || !field(p + at, FIELD_NLINK, &links) ||
		    !field(p + at, FIELD_FILESIZE, &length) || !field(p + at, FIELD_NAMESIZE, &name_size) ||
		    !name_size || name_size > size - at - HEADER_SIZE || name[name_size - 1]) {
			*used = size;
			return damage(w, at, "cpio header: damaged; what follows it is lost");
		}
		data = padded(at + HEADER_SIZE + name_size);
		if (!strcmp(name, "TRAILER!!!")) {
			*used = data < size ? data : size;
			return 0;
		}
		if (data > size || length > size - data) {
			*used = size;
			return damage(w, at, "cpio: the archive is cut off in a file; what follows is lost");
		}
		/* Of hard links the last one has the contents. */
		if (S_ISREG(mode) && (length || links < 2))
			err = w->ops->file(w->ctx, name, p + data, length);
		at = padded(data + length) < size ? padded(data + length) : size;
	}
	*used = size;
	if (err)
		return err;
	return damage(w, at,
		      size - at < HEADER_SIZE ? "cpio: no end mark; the archive is cut off"
					      : "cpio header: no magic number; what follows is lost");
}

static int walk_archives(const struct walk *w, const uint8_t *p, size_t size, bool inside);

static int walk_member(const struct walk *w, const uint8_t *p, size_t size, size_t *used)
{
	struct payload_member m;
	struct diag d = {0};
	int err = 0, bad = payload_unpack_member(p, size, &m, w->path, &d);

	*used = bad ? size : m.used;
	if (bad)
		err = w->ops->damage(w->ctx, d.text);
	if (m.bytes && !err)
		err = walk_archives(w, m.bytes, m.size, true);
	if (m.bytes && w->ops->keep(w->ctx, m.bytes) && !err)
		err = -ENOMEM;
	return err;
}

static int walk_archives(const struct walk *w, const uint8_t *p, size_t size, bool inside)
{
	size_t at = 0, used;
	int err = 0;

	while (!err) {
		while (at < size && !p[at])
			at++;
		if (at == size)
			break;
		if (initramfs_is_cpio(p + at, size - at))
			err = walk_cpio(w, p + at, size - at, &used);
		else if (!inside && payload_format(p + at, size - at))
			err = walk_member(w, p + at, size - at, &used);
		else
			return damage(w, at,
				      inside ? "in the unpacked archive: no cpio header"
					     : "neither a cpio header nor a compressed archive");
		at += used ? used : 1;
	}
	return err;
}

int initramfs_walk(const char *path, const uint8_t *bytes, size_t size, const struct initramfs_ops *ops,
		   void *ctx)
{
	struct walk w = {path, ops, ctx};

	return walk_archives(&w, bytes, size, false);
}
