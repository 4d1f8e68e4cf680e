// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Kernel payload decompression. A bzImage stores the unpacked size behind the payload (the kernel's build
 * calls it size_append), so each format decodes into one buffer of known size and anything but an exact fit
 * is damage. That size comes from the file: it is capped, absolutely and relative to the input, before it is
 * allocated.
 */
#include "patcher/payload.h"

#include <bzlib.h>
#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <lzo/lzo1x.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

/* Kernels shrink to a third or a sixth. Small ones may be mostly zeros: those are let through. */
#define RATIO_MAX  100
#define RATIO_FREE ((size_t)16 << 20)
/* `xz -9` and the kernel's scripts use dictionaries of up to 64 MiB; the decoder allocates it ahead. */
#define LZMA_MEMORY ((uint64_t)192 << 20)

struct span {
	const uint8_t *in;
	size_t in_size;
	uint8_t *out;
	size_t out_size;
	size_t in_done, out_done; /* how far the decoder came, for the message */
};

static uint32_t get_le32(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static const char *unpack_gzip(struct span *s)
{
	z_stream z = {.next_in = (uint8_t *)s->in,
		      .avail_in = s->in_size,
		      .next_out = s->out,
		      .avail_out = s->out_size};
	int r;

	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		return "out of memory";
	r = inflate(&z, Z_FINISH);
	s->in_done = z.total_in;
	s->out_done = z.total_out;
	inflateEnd(&z);
	return r == Z_STREAM_END ? NULL : "the deflate stream is damaged";
}

static const char *unpack_bzip2(struct span *s)
{
	bz_stream z = {.next_in = (char *)s->in,
		       .avail_in = s->in_size,
		       .next_out = (char *)s->out,
		       .avail_out = s->out_size};
	int r;

	if (BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK)
		return "out of memory";
	do
		r = BZ2_bzDecompress(&z);
	while (r == BZ_OK && z.avail_in && z.avail_out);
	/* The end-of-stream block may remain when the output is full. */
	if (r == BZ_OK && z.avail_in)
		r = BZ2_bzDecompress(&z);
	s->in_done = s->in_size - z.avail_in;
	s->out_done = s->out_size - z.avail_out;
	BZ2_bzDecompressEnd(&z);
	return r == BZ_STREAM_END ? NULL : "the bzip2 stream is damaged";
}

static const char *unpack_lzma(struct span *s)
{
	lzma_stream z = LZMA_STREAM_INIT;
	lzma_ret r =
	    s->in[0] == 0xfd ? lzma_stream_decoder(&z, LZMA_MEMORY, 0) : lzma_alone_decoder(&z, LZMA_MEMORY);

	if (r != LZMA_OK)
		return "out of memory";
	z.next_in = s->in;
	z.avail_in = s->in_size;
	z.next_out = s->out;
	z.avail_out = s->out_size;
	do
		r = lzma_code(&z, LZMA_FINISH);
	while (r == LZMA_OK);
	s->in_done = z.total_in;
	s->out_done = z.total_out;
	lzma_end(&z);
	if (r == LZMA_MEMLIMIT_ERROR)
		return "the LZMA dictionary is larger than 192 MiB";
	return r == LZMA_STREAM_END ? NULL : "the LZMA stream is damaged";
}

/* lz4's legacy frame, as `lz4 -l` writes it: magic, then blocks of (compressed size, data), 8 MiB each
 * unpacked. */
static const char *unpack_lz4(struct span *s)
{
	uint32_t n;
	int r;

	s->in_done = 4;
	while (s->in_size - s->in_done >= 4) {
		n = get_le32(s->in + s->in_done);
		if (n == 0x184c2102) { /* concatenated frames */
			s->in_done += 4;
			continue;
		}
		if (s->out_done == s->out_size)
			return NULL;
		if (!n || n > s->in_size - s->in_done - 4)
			return "an lz4 block is longer than the payload";
		r = LZ4_decompress_safe((const char *)s->in + s->in_done + 4, (char *)s->out + s->out_done, n,
					s->out_size - s->out_done);
		if (r < 0)
			return "an lz4 block is damaged";
		s->in_done += 4 + n;
		s->out_done += r;
	}
	return NULL;
}

/* lzop's container (lib/decompress_unlzo.c of Linux names the fields): header, then blocks with two lengths.
 */
static const char *lzop_header(struct span *s)
{
	const uint8_t *h = s->in;
	size_t at = 9;
	unsigned version;

	if (s->in_size < 9 + 40)
		return "the lzop header is cut off";
	version = h[9] << 8 | h[10];
	at += 2 + 2; /* version, library version */
	if (version >= 0x0940)
		at += 2; /* version needed to extract */
	at += 1;	 /* method */
	if (version >= 0x0940)
		at += 1; /* level */
	if (get_be32(h + at) & 0x800)
		at += 4; /* filter */
	at += 4 + 4 + 4; /* flags, mode, mtime low */
	if (version >= 0x0940)
		at += 4;     /* mtime high */
	at += 1 + h[at] + 4; /* file name, header checksum */
	if (at > s->in_size)
		return "the lzop header is cut off";
	s->in_done = at;
	return NULL;
}

static const char *unpack_lzo(struct span *s)
{
	const char *why = lzop_header(s);
	uint32_t dst, src, skip;
	lzo_uint got;

	if (why)
		return why;
	if (lzo_init() != LZO_E_OK)
		return "the lzo library does not start";
	while (s->in_size - s->in_done >= 4) {
		dst = get_be32(s->in + s->in_done);
		if (!dst)
			return NULL;
		if (s->in_size - s->in_done < 12)
			return "an lzo block header is cut off";
		src = get_be32(s->in + s->in_done + 4);
		/* One checksum of the unpacked block, as the kernel's build asks for; it is the CRC's place
		 * too. */
		skip = 12;
		if (!src || src > dst || src > s->in_size - s->in_done - skip ||
		    dst > s->out_size - s->out_done)
			return "an lzo block is longer than the payload";
		got = dst;
		if (src == dst)
			memcpy(s->out + s->out_done, s->in + s->in_done + skip, dst);
		else if (lzo1x_decompress_safe(s->in + s->in_done + skip, src, s->out + s->out_done, &got,
					       NULL) != LZO_E_OK ||
			 got != dst)
			return "an lzo block is damaged";
		s->in_done += skip + src;
		s->out_done += dst;
	}
	return "the lzo end mark is missing";
}

static const char *unpack_zstd(struct span *s)
{
	size_t r = ZSTD_decompress(s->out, s->out_size, s->in, s->in_size);

	if (ZSTD_isError(r))
		return ZSTD_getErrorName(r);
	s->in_done = s->in_size;
	s->out_done = r;
	return NULL;
}

static const struct format {
	const char *name, *magic;
	size_t magic_len;
	const char *(*unpack)(struct span *s);
} formats[] = {
    /* clang-format off */
	{"gzip",  "\x1f\x8b\x08", 3, unpack_gzip},
	{"bzip2", "BZh", 3, unpack_bzip2},
	{"xz",    "\xfd" "7zXZ\0", 6, unpack_lzma},
	{"lzma",  "\x5d\0\0", 3, unpack_lzma},
	{"lzo",   "\x89LZO\0\r\n\x1a\n", 9, unpack_lzo},
	{"lz4",   "\x02\x21\x4c\x18", 4, unpack_lz4},
	{"zstd",  "\x28\xb5\x2f\xfd", 4, unpack_zstd},
    /* clang-format on */
};

static const struct format *format_of(const uint8_t *in, size_t size)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++)
		if (size >= formats[i].magic_len && !memcmp(in, formats[i].magic, formats[i].magic_len))
			return &formats[i];
	return NULL;
}

const char *payload_format(const uint8_t *in, size_t size)
{
	const struct format *f = format_of(in, size);

	return f ? f->name : NULL;
}

int payload_unpack(const uint8_t *in, size_t size, size_t out_size, uint8_t **out, const char *where,
		   struct diag *d)
{
	const struct format *f = format_of(in, size);
	struct span s = {.in = in, .in_size = size, .out_size = out_size};
	const char *why;

	if (!f)
		return diag_set(d, -ENOTSUP,
				"%s: unknown compression; gzip, bzip2, lzma, xz, lzo, lz4 and zstd are known",
				where);
	if (!out_size || out_size > PAYLOAD_MAX || (out_size > RATIO_FREE && out_size / RATIO_MAX > size))
		return diag_set(d, -EFBIG,
				"%s: %s: claims to unpack %zu bytes to %zu: damaged, or not a kernel", where,
				f->name, size, out_size);
	s.out = malloc(out_size);
	if (!s.out)
		return diag_set(d, -ENOMEM, "%s: %s: out of memory for %zu bytes", where, f->name, out_size);
	why = f->unpack(&s);
	if (!why && s.out_done != out_size)
		why = "the stream ends early";
	if (why) {
		free(s.out);
		return diag_set(
		    d, -EINVAL,
		    "%s: %s: %s (at payload offset 0x%zx, after %zu of %zu bytes); fetch the image again",
		    where, f->name, why, s.in_done, s.out_done, out_size);
	}
	*out = s.out;
	return 0;
}
