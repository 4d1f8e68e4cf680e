// SPDX-License-Identifier: GPL-3.0-or-later
/* Decompressing a kernel payload in each of the formats that a bzImage may use. */
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

#endif
