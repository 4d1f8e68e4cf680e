// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * An initramfs written anew with some of its files exchanged. Archives and members keep their order and compression;
 * what holds no exchanged file is copied as it stands, so that the same bytes come out. Entries keep everything but
 * their size and, in the variant with checksums, their checksum. Damage is refused: what lies behind it could not be
 * carried over.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "patcher/initramfs.h"
#include "patcher/initramfs_cpio.h"
#include "patcher/payload.h"

struct out {
	uint8_t *bytes;
	size_t size, cap;
	bool changed;
};

struct rewrite {
	const char *path;
	initramfs_exchange exchange;
	void *ctx;
	struct diag *d;
};

static int put(struct out *o, const void *bytes, size_t n)
{
	if (o->size + n > o->cap) {
		size_t cap = (o->size + n) * 3 / 2 + 4096;
		uint8_t *p = realloc(o->bytes, cap);

		if (!p)
			return -ENOMEM;
		o->bytes = p;
		o->cap = cap;
	}
	if (n)
		memcpy(o->bytes + o->size, bytes, n);
	o->size += n;
	return 0;
}

/* Zeros up to a word, counted from the start of the archive. */
static int pad(struct out *o, size_t from)
{
	size_t n = cpio_padded(o->size - from) - (o->size - from);

	return put(o, "\0\0\0", n);
}

static uint32_t sum_of(const uint8_t *bytes, size_t size)
{
	uint32_t sum = 0;

	while (size--)
		sum += *bytes++;
	return sum;
}

/* An entry with new contents. */
static int put_exchanged(struct out *o, size_t from, const uint8_t *p, const struct cpio_entry *e,
			 const uint8_t *new, size_t new_size)
{
	size_t header = o->size;
	int err = put(o, p, CPIO_HEADER_SIZE);

	if (err)
		return err;
	cpio_set_field(o->bytes + header, CPIO_FILESIZE, (uint32_t)new_size);
	if (o->bytes[header + 5] == '2')
		cpio_set_field(o->bytes + header, CPIO_CHECK, sum_of(new, new_size));
	err = put(o, e->name, e->name_size);
	if (!err)
		err = pad(o, from);
	if (!err)
		err = put(o, new, new_size);
	o->changed = true;
	return err ? err : pad(o, from);
}

static int put_entry(const struct rewrite *r, struct out *o, size_t from, const uint8_t *p, size_t left,
		     const struct cpio_entry *e)
{
	uint8_t *new = NULL;
	size_t new_size = 0;
	int err = cpio_has_contents(e) ? r->exchange(r->ctx, e->name, e->data, e->size, &new, &new_size) : 0;

	if (err)
		return err;
	if (!new)
		return put(o, p, e->next < left ? e->next : left);
	err = put_exchanged(o, from, p, e, new, new_size);
	free(new);
	return err;
}

static int rewrite_cpio(const struct rewrite *r, struct out *o, const uint8_t *p, size_t size, size_t *used)
{
	size_t at = 0, from = o->size;
	struct cpio_entry e;
	int err = 0;

	while (!err) {
		const char *wrong = cpio_entry_read(p + at, size - at, &e);

		if (wrong)
			return diag_set(r->d, -EINVAL, "%s: offset 0x%zx: %s", r->path, at, wrong);
		if (e.trailer)
			break;
		err = put_entry(r, o, from, p + at, size - at, &e);
		at += e.next < size - at ? e.next : size - at;
	}
	*used = at + (e.next < size - at ? e.next : size - at);
	return err ? err : put(o, p + at, *used - at);
}

static int rewrite_archives(const struct rewrite *r, struct out *o, const uint8_t *p, size_t size,
			    bool inside);

/* Unpacked, rewritten and compressed again, if anything in it was exchanged. */
static int rewrite_member(const struct rewrite *r, struct out *o, const uint8_t *p, size_t size, size_t *used)
{
	struct payload_member m;
	struct out inner = {0};
	uint8_t *packed = NULL;
	size_t packed_size;
	int err = payload_unpack_member(p, size, &m, r->path, r->d);

	if (!err)
		err = rewrite_archives(r, &inner, m.bytes, m.size, true);
	if (!err && inner.changed) {
		err = payload_pack(payload_format(p, size), inner.bytes, inner.size, &packed, &packed_size,
				   r->path, r->d);
		if (!err)
			err = put(o, packed, packed_size);
		o->changed = true;
	} else if (!err) {
		err = put(o, p, m.used);
	}
	*used = m.used;
	free(packed);
	free(inner.bytes);
	free(m.bytes);
	return err;
}

static int rewrite_archives(const struct rewrite *r, struct out *o, const uint8_t *p, size_t size,
			    bool inside)
{
	size_t at = 0, used;
	int err = 0;

	while (!err && at < size) {
		used = 0;
		while (at + used < size && !p[at + used])
			used++;
		if (used)
			err = put(o, p + at, used);
		else if (initramfs_is_cpio(p + at, size - at))
			err = rewrite_cpio(r, o, p + at, size - at, &used);
		else if (!inside && payload_format(p + at, size - at))
			err = rewrite_member(r, o, p + at, size - at, &used);
		else
			return diag_set(r->d, -EINVAL,
					"%s: offset 0x%zx%s: neither a cpio header nor a compressed archive",
					r->path, at, inside ? " of the unpacked archive" : "");
		at += used;
		/* Each archive begins at a word, which the one before it need not end at any more. */
		if (!err && o->changed && at < size && !(at & 3) && o->size & 3)
			err = put(o, "\0\0\0", -o->size & 3);
	}
	return err;
}

int initramfs_rewrite(const char *path, const uint8_t *bytes, size_t size, initramfs_exchange exchange,
		      void *ctx, uint8_t **new, size_t *new_size, struct diag *d)
{
	struct rewrite r = {path, exchange, ctx, d};
	struct out o = {0};
	int err = rewrite_archives(&r, &o, bytes, size, false);

	if (err) {
		free(o.bytes);
		return diag_set(d, err, "%s: %s", path, strerror(-err));
	}
	*new = o.bytes;
	*new_size = o.size;
	return 0;
}
