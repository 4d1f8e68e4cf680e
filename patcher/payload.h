// SPDX-License-Identifier: GPL-3.0-or-later
/* Decompressing kernel payloads, modules and initramfs archives in each of the formats that Linux uses. */
#ifndef PATCHER_PAYLOAD_H
#define PATCHER_PAYLOAD_H

#include <stddef.h>
#include <stdint.h>

#include "hypercalls/diag.h"

/* No kernel is larger unpacked; a file that claims more is damaged or hostile. */
#define PAYLOAD_MAX ((size_t)512 << 20)

/* "gzip", "bzip2", "lzma", "xz", "lzo", "lz4", "zstd", or NULL for an unknown format. */
const char *payload_format(const uint8_t *in, size_t size);

/*
 * Decompress exactly out_size bytes (the caller knows it from the container) into *out (malloc'd). `where`
 * begins the message on failure. -EINVAL damaged, -EFBIG beyond PAYLOAD_MAX or an absurd ratio, -ENOTSUP
 * unknown format.
 */
int payload_unpack(const uint8_t *in, size_t size, size_t out_size, uint8_t **out, const char *where,
		   struct diag *d);

/* What one compressed member of a stream unpacks to. */
struct payload_member {
	uint8_t *bytes; /* malloc'd, the caller's; NULL without any */
	size_t size;	/* of bytes */
	size_t used;	/* bytes of the input that were read; another member may follow */
};

/*
 * payload_stream.c: unpack the member at the beginning of `in`, of a size that nobody knows ahead (all formats but
 * lzo). 0 or -errno as above; on -EINVAL *m holds what came out before the damage.
 */
int payload_unpack_member(const uint8_t *in, size_t size, struct payload_member *m, const char *where,
			  struct diag *d);

/* payload_pack.c: compress again, in a format that payload_format() named (all but lzo). malloc'd in *out. */
int payload_pack(const char *format, const uint8_t *in, size_t size, uint8_t **out, size_t *out_size,
		 const char *where, struct diag *d);

#endif
