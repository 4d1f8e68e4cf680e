// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Compressing again what was unpacked: modules and initramfs members, in the format that they came in and with the
 * settings that Linux's own decompressors can read (Documentation/staging/xz.rst: CRC32, no BCJ filter needed; lz4's
 * legacy frame with blocks of 8 MiB).
 */
#include "patcher/payload.h"

#include <bzlib.h>
#include <errno.h>
#include <lz4hc.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define LZ4_BLOCK ((size_t)8 << 20)
#define LZ4_LEGACY "\x02\x21\x4c\x18"
#define XZ_DICTIONARY (1u << 20) /* all that the kernel's module decompressor allocates */

struct packed {
	uint8_t *bytes;
	size_t cap, size;
};

static int pack_gzip(struct packed *p, const uint8_t *in, size_t size)
{
	z_stream z = {.next_in = (uint8_t *)in,
		      .avail_in = (uInt)size,
		      .next_out = p->bytes,
		      .avail_out = (uInt)p->cap};
	int r;

	if (deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	r = deflate(&z, Z_FINISH);
	p->size = z.total_out;
	deflateEnd(&z);
	return r == Z_STREAM_END ? 0 : -ENOSPC;
}

static int pack_bzip2(struct packed *p, const uint8_t *in, size_t size)
{
	unsigned n = (unsigned)p->cap;

	if (BZ2_bzBuffToBuffCompress((char *)p->bytes, &n, (char *)in, (unsigned)size, 9, 0, 0) != BZ_OK)
		return -ENOSPC;
	p->size = n;
	return 0;
}

static int lzma_whole(lzma_stream *z, lzma_ret r, struct packed *p, const uint8_t *in, size_t size)
{
	if (r != LZMA_OK)
		return -ENOMEM;
	z->next_in = in;
	z->avail_in = size;
	z->next_out = p->bytes;
	z->avail_out = p->cap;
	do
		r = lzma_code(z, LZMA_FINISH);
	while (r == LZMA_OK);
	p->size = z->total_out;
	lzma_end(z);
	return r == LZMA_STREAM_END ? 0 : -ENOSPC;
}

static int pack_xz(struct packed *p, const uint8_t *in, size_t size)
{
	lzma_stream z = LZMA_STREAM_INIT;
	lzma_options_lzma o;
	lzma_filter filters[] = {{.id = LZMA_FILTER_LZMA2, .options = &o}, {.id = LZMA_VLI_UNKNOWN}};

	lzma_lzma_preset(&o, LZMA_PRESET_DEFAULT);
	o.dict_size = XZ_DICTIONARY;
	return lzma_whole(&z, lzma_stream_encoder(&z, filters, LZMA_CHECK_CRC32), p, in, size);
}

static int pack_lzma(struct packed *p, const uint8_t *in, size_t size)
{
	lzma_stream z = LZMA_STREAM_INIT;
	lzma_options_lzma o;

	lzma_lzma_preset(&o, LZMA_PRESET_DEFAULT);
	return lzma_whole(&z, lzma_alone_encoder(&z, &o), p, in, size);
}

static int pack_zstd(struct packed *p, const uint8_t *in, size_t size)
{
	size_t n = ZSTD_compress(p->bytes, p->cap, in, size, 3);

	if (ZSTD_isError(n))
		return -ENOSPC;
	p->size = n;
	return 0;
}

static int pack_lz4(struct packed *p, const uint8_t *in, size_t size)
{
	memcpy(p->bytes, LZ4_LEGACY, 4);
	p->size = 4;
	for (size_t at = 0; at < size; at += LZ4_BLOCK) {
		int block = (int)(size - at < LZ4_BLOCK ? size - at : LZ4_BLOCK);
		int n = LZ4_compress_HC((const char *)in + at, (char *)p->bytes + p->size + 4, block,
					(int)(p->cap - p->size - 4), LZ4HC_CLEVEL_DEFAULT);

		if (n <= 0)
			return -ENOSPC;
		for (unsigned i = 0; i < 4; i++)
			p->bytes[p->size + i] = (uint8_t)((unsigned)n >> 8 * i);
		p->size += 4 + (size_t)n;
	}
	return 0;
}

static int pack_unknown(struct packed *p, const uint8_t *in, size_t size)
{
	(void)p;
	(void)in;
	(void)size;
	return -ENOTSUP;
}

int payload_pack(const char *format, const uint8_t *in, size_t size, uint8_t **out, size_t *out_size,
		 const char *where, struct diag *d)
{
	static const struct {
		const char *name;
		int (*pack)(struct packed *p, const uint8_t *in, size_t size);
	} formats[] = {{"gzip", pack_gzip}, {"bzip2", pack_bzip2}, {"xz", pack_xz},   {"lzma", pack_lzma},
		       {"zstd", pack_zstd}, {"lz4", pack_lz4},	   {"", pack_unknown}};
	struct packed p = {.cap = size + size / 8 + 65536}; /* more than any of them makes of noise */
	size_t i = 0;
	int err;

	p.bytes = malloc(p.cap);
	if (!p.bytes)
		return diag_set(d, -ENOMEM, "%s: out of memory", where);
	while (*formats[i].name && strcmp(formats[i].name, format))
		i++;
	err = formats[i].pack(&p, in, size);
	if (err) {
		free(p.bytes);
		return diag_set(d, err, "%s: %zu bytes cannot be compressed as %s", where, size, format);
	}
	*out = p.bytes;
	*out_size = p.size;
	return 0;
}
