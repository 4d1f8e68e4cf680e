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

#include "patcher/initramfs_cpio.h"
#include "patcher/payload.h"

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

/* One archive: how far it reaches in *used. */
static int walk_cpio(const struct walk *w, const uint8_t *p, size_t size, size_t *used)
{
	size_t at = 0;
	int err = 0;

	while (!err) {
		struct cpio_entry e;
		const char *wrong = cpio_entry_read(p + at, size - at, &e);

		if (wrong) {
			*used = size;
			return damage(w, at, wrong);
		}
		if (!e.trailer && cpio_has_contents(&e))
			err = w->ops->file(w->ctx, e.name, e.data, e.size);
		at += e.next < size - at ? e.next : size - at;
		*used = at;
		if (e.trailer)
			break;
	}
	return err;
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
