// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Unpacking a stream whose unpacked size nobody tells: kernel modules and initramfs archives. The output grows as
 * the decoder asks for room, up to PAYLOAD_MAX, and what came out before damage is kept: the files in the whole
 * part of an archive are still good. One compressed member is taken at a time, because an initramfs may have several,
 * each with its own format, one behind the other (Documentation/driver-api/early-userspace/buffer-format.rst of Linux).
 */
#include <bzlib.h>
#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "patcher/payload.h"

/* As for kernels in payload.c; the decoder allocates the dictionary ahead. */
#define LZMA_MEMORY ((uint64_t)192 << 20)
#define LZ4_BLOCK ((size_t)8 << 20) /* unpacked, of the legacy frame */

struct stream {
	const uint8_t *in;
	size_t in_size, in_done;
	uint8_t *out;
	size_t out_cap, out_done;
};

#define TOO_LARGE "more than 512 MiB come out of it"

/* At least `want` bytes of room behind out_done. NULL, or why there is none. */
static const char *make_room(struct stream *s, size_t want)
{
	size_t cap = s->out_cap ? s->out_cap : 4 * s->in_size + 4096;
	uint8_t *p;

	if (s->out_cap - s->out_done >= want)
		return NULL;
	while (cap - s->out_done < want || cap == s->out_cap)
		cap *= 2;
	if (cap > PAYLOAD_MAX)
		cap = PAYLOAD_MAX;
	if (cap - s->out_done < want)
		return TOO_LARGE;
	p = realloc(s->out, cap);
	if (!p)
		return "out of memory";
	s->out = p;
	s->out_cap = cap;
	return NULL;
}

static const char *stream_gzip(struct stream *s)
{
	z_stream z = {.next_in = (uint8_t *)s->in, .avail_in = s->in_size};
	const char *why = NULL;
	int r = Z_OK;

	if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
		return "out of memory";
	while (r == Z_OK && !(why = make_room(s, 1))) {
		z.next_out = s->out + s->out_done;
		z.avail_out = s->out_cap - s->out_done;
		r = inflate(&z, Z_NO_FLUSH);
		s->out_done = s->out_cap - z.avail_out;
	}
	s->in_done = s->in_size - z.avail_in;
	inflateEnd(&z);
	if (!why && r == Z_BUF_ERROR)
		why = "the deflate stream ends early";
	return why ? why : r == Z_STREAM_END ? NULL : "the deflate stream is damaged";
}

static const char *stream_bzip2(struct stream *s)
{
	bz_stream z = {.next_in = (char *)s->in, .avail_in = s->in_size};
	const char *why = NULL;
	int r = BZ_OK;

	if (BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK)
		return "out of memory";
	while (r == BZ_OK && !(why = make_room(s, 1))) {
		z.next_out = (char *)s->out + s->out_done;
		z.avail_out = s->out_cap - s->out_done;
		r = BZ2_bzDecompress(&z);
		s->out_done = s->out_cap - z.avail_out;
		if (r == BZ_OK && !z.avail_in && z.avail_out)
			why = "the bzip2 stream ends early";
		if (why)
			break;
	}
	s->in_done = s->in_size - z.avail_in;
	BZ2_bzDecompressEnd(&z);
	return why ? why : r == BZ_STREAM_END ? NULL : "the bzip2 stream is damaged";
}

static const char *stream_lzma(struct stream *s)
{
	lzma_stream z = LZMA_STREAM_INIT;
	const char *why = NULL;
	lzma_ret r =
	    s->in[0] == 0xfd ? lzma_stream_decoder(&z, LZMA_MEMORY, 0) : lzma_alone_decoder(&z, LZMA_MEMORY);

	if (r != LZMA_OK)
		return "out of memory";
	z.next_in = s->in;
	z.avail_in = s->in_size;
	while (r == LZMA_OK && !(why = make_room(s, 1))) {
		z.next_out = s->out + s->out_done;
		z.avail_out = s->out_cap - s->out_done;
		r = lzma_code(&z, LZMA_RUN);
		s->out_done = s->out_cap - z.avail_out;
	}
	s->in_done = s->in_size - z.avail_in;
	lzma_end(&z);
	if (!why && r == LZMA_MEMLIMIT_ERROR)
		why = "the LZMA dictionary is larger than 192 MiB";
	if (!why && r == LZMA_BUF_ERROR)
		why = "the LZMA stream ends early";
	return why ? why : r == LZMA_STREAM_END ? NULL : "the LZMA stream is damaged";
}

static const char *stream_zstd(struct stream *s)
{
	ZSTD_DStream *z = ZSTD_createDStream();
	ZSTD_inBuffer in = {s->in, s->in_size, 0};
	const char *why = z ? NULL : "out of memory";
	size_t left = 1;

	while (!why && left && !(why = make_room(s, 1))) {
		ZSTD_outBuffer out = {s->out, s->out_cap, s->out_done};

		left = ZSTD_decompressStream(z, &out, &in);
		s->out_done = out.pos;
		if (ZSTD_isError(left))
			why = ZSTD_getErrorName(left);
		else if (left && in.pos == in.size && out.pos < out.size)
			why = "the zstd frame ends early";
	}
	s->in_done = in.pos;
	ZSTD_freeDStream(z);
	return why;
}

static uint32_t get_le32(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

/*
 * lz4's legacy frame has no end mark: it ends where a length makes no sense any more, as the kernel's own decoder
 * has it (zeros pad an initramfs).
 */
static const char *stream_lz4(struct stream *s)
{
	s->in_done = 4;
	while (s->in_size - s->in_done >= 4) {
		uint32_t n = get_le32(s->in + s->in_done);
		const char *why;
		int r;

		if (n == 0x184c2102) { /* concatenated frames */
			s->in_done += 4;
			continue;
		}
		if (!n)
			return NULL;
		if (n > s->in_size - s->in_done - 4)
			return "an lz4 block is longer than the file";
		why = make_room(s, LZ4_BLOCK);
		if (why)
			return why;
		r = LZ4_decompress_safe((const char *)s->in + s->in_done + 4, (char *)s->out + s->out_done, n,
					LZ4_BLOCK);
		if (r < 0)
			return "an lz4 block is damaged";
		s->in_done += 4 + n;
		s->out_done += (size_t)r;
	}
	return NULL;
}

static const char *stream_unknown(struct stream *s)
{
	(void)s;
	return "streams of this format are not read here; gzip, bzip2, lzma, xz, lz4 and zstd are";
}

static const char *stream_unpack(struct stream *s, const char *format)
{
	static const struct {
		const char *name;
		const char *(*unpack)(struct stream *s);
	} formats[] = {{"gzip", stream_gzip}, {"bzip2", stream_bzip2}, {"xz", stream_lzma},
		       {"lzma", stream_lzma}, {"lz4", stream_lz4},     {"zstd", stream_zstd}};

	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++)
		if (!strcmp(format, formats[i].name))
			return formats[i].unpack(s);
	return stream_unknown(s);
}

int payload_unpack_member(const uint8_t *in, size_t size, struct payload_member *m, const char *where,
			  struct diag *d)
{
	const char *format = payload_format(in, size), *why;
	struct stream s = {.in = in, .in_size = size};

	*m = (struct payload_member){0};
	if (!format)
		return diag_set(d, -ENOTSUP,
				"%s: unknown compression; gzip, bzip2, lzma, xz, lz4 and zstd are known",
				where);
	why = stream_unpack(&s, format);
	*m = (struct payload_member){.bytes = s.out, .size = s.out_done, .used = s.in_done};
	if (why)
		return diag_set(d, -EINVAL, "%s: %s: %s (at offset 0x%zx, after %zu bytes)", where, format,
				why, s.in_done, s.out_done);
	return 0;
}
