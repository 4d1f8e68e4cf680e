// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A patched file is its source with windows in it and everything new behind it; only the ELF header was changed
 * in place, and section .paravane.undo holds the old one and, in 32 bits, the source's size. So taking the
 * windows out and putting the header back must give the bytes that the manifest's hash was made from. What lies
 * behind the source is held against the source and the manifest: program headers, windows, setup header.
 */
#include "monitor/vmx/restore.h"

#include <elf.h>
#include <errno.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

#define HOP_LEN 5
#define INT3 0xcc

static int differs(const struct guest_image *g, struct diag *d, const char *what)
{
	return diag_set(d, -EKEYREJECTED, "%s: image and manifest do not match: %s; patch the kernel again",
			g->path, what);
}

static bool jumps(const uint8_t *at, uint32_t va, uint32_t to)
{
	int32_t rel;

	memcpy(&rel, at + 1, sizeof(rel));
	return at[0] == 0xe9 && va + 5 + (uint32_t)rel == to;
}

/* Is the window in place: its jump (or int3, or hop and jump), then int3 to its end? */
static bool window_stands(const struct guest_image *g, const struct manifest_window *w)
{
	const uint8_t *at = guest_image_at(g, w->va, w->len), *hop;
	uint32_t n = 1;

	if (!at)
		return false;
	if (w->tactic == TACTIC_HOP) {
		hop = guest_image_at(g, w->hop, HOP_LEN);
		if (!hop || at[0] != 0xeb || w->va + 2 + (uint32_t)(int8_t)at[1] != w->hop ||
		    !jumps(hop, w->hop, w->stub))
			return false;
		n = 2;
	} else if (w->tactic != TACTIC_BREAKPOINT) {
		if (w->len < 5 || !jumps(at, w->va, w->stub))
			return false;
		n = 5;
	} else if (at[0] != INT3) {
		return false;
	}
	for (; n < w->len; n++)
		if (at[n] != INT3)
			return false;
	return true;
}

/* Bytes of the source that patching replaced, and where they belong in it. */
struct piece {
	size_t at, len;
	const uint8_t *bytes;
};

static int add_window(const struct guest_image *g, const struct manifest_window *w, struct piece *pieces, size_t *n,
		      struct diag *d)
{
	const uint8_t *original = g->manifest.originals + w->original;
	int64_t at = guest_image_offset(g, w->va, w->len);
	int64_t hop = w->hop == MANIFEST_NONE ? 0 : guest_image_offset(g, w->hop, HOP_LEN);

	if (at < 0 || hop < 0)
		return diag_set(d, -EKEYREJECTED,
				"%s: image and manifest do not match: the window at 0x%x lies outside "
				"the image; patch the kernel again",
				g->path, w->va);
	if (!window_stands(g, w))
		return diag_set(d, -EKEYREJECTED,
				"%s: image and manifest do not match: at 0x%x stands not the jump that "
				"the patcher put there; patch the kernel again",
				g->path, w->va);
	pieces[(*n)++] = (struct piece){(size_t)at, w->len, original};
	if (w->hop != MANIFEST_NONE)
		pieces[(*n)++] = (struct piece){(size_t)hop, HOP_LEN, original + w->len};
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

/* Only what had to change for the appended tables may differ between the two headers. */
static int check_header(const struct guest_image *g, const Elf32_Ehdr *old, struct diag *d)
{
	Elf32_Ehdr now;

	memcpy(&now, g->file, sizeof(now));
	now.e_phoff = old->e_phoff;
	now.e_phnum = old->e_phnum;
	now.e_shoff = old->e_shoff;
	now.e_shnum = old->e_shnum;
	now.e_shentsize = old->e_shentsize;
	now.e_shstrndx = old->e_shstrndx;
	return memcmp(&now, old, sizeof(now)) ? differs(g, d, "the ELF header was changed") : 0;
}

/* The program headers that count stand behind the source: they must be the source's, and one for the stubs. */
static int check_phdrs(const struct guest_image *g, const Elf32_Ehdr *old, size_t size, struct diag *d)
{
	size_t table = (size_t)old->e_phnum * sizeof(Elf32_Phdr);
	Elf32_Ehdr now;

	memcpy(&now, g->file, sizeof(now));
	if (now.e_phnum != old->e_phnum + 1u || old->e_phoff > size || table > size - old->e_phoff ||
	    now.e_phoff > g->size || table > g->size - now.e_phoff)
		return differs(g, d, "the number of program headers was changed");
	for (size_t i = 0; i < table; i += sizeof(Elf32_Phdr))
		if (memcmp(g->file + old->e_phoff + i, g->file + now.e_phoff + i, sizeof(Elf32_Phdr)))
			return diag_set(
			    d, -EKEYREJECTED,
			    "%s: image and manifest do not match: program header %zu was changed; patch the "
			    "kernel again",
			    g->path, i / sizeof(Elf32_Phdr));
	return 0;
}

/* Does the range hold a piece? They are sorted. */
static bool replaced(const struct piece *pieces, size_t n, size_t at, size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (pieces[i].at < at + len && at < pieces[i].at + pieces[i].len)
			return true;
	return false;
}

/* The hash of `size` bytes with the pieces, which are sorted, in their places. */
static int check_hash(const struct guest_image *g, const uint8_t *bytes, size_t size, const struct piece *pieces, size_t n,
		      const uint8_t want[32], const char *what, struct diag *d)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx ctx;
	size_t done = 0;

	sha256_init(&ctx);
	for (size_t i = 0; i < n; i++) {
		if (pieces[i].at < done || pieces[i].at > size || pieces[i].len > size - pieces[i].at)
			return differs(g, d, "windows overlap or lie behind the source");
		sha256_update(&ctx, pieces[i].at - done, bytes + done);
		sha256_update(&ctx, pieces[i].len, pieces[i].bytes);
		done = pieces[i].at + pieces[i].len;
	}
	sha256_update(&ctx, size - done, bytes + done);
	sha256_digest(&ctx, sizeof(digest), digest);
	return memcmp(digest, want, sizeof(digest)) ? differs(g, d, what) : 0;
}

static int check_source(const struct guest_image *g, struct piece *pieces, size_t size, struct diag *d)
{
	const struct manifest *m = &g->manifest;
	Elf32_Ehdr old;
	size_t n = 1;
	int err;

	memcpy(&old, g->undo, sizeof(old));
	pieces[0] = (struct piece){0, sizeof(old), g->undo};
	err = check_header(g, &old, d);
	for (uint32_t i = 0; !err && i < m->h.n_windows; i++)
		err = add_window(g, &m->windows[i], pieces, &n, d);
	if (err)
		return err;
	qsort(pieces, n, sizeof(*pieces), by_place);
	err = check_hash(g, g->file, size, pieces, n, m->h.source_sha256,
			 "without its windows it is not the kernel whose hash the manifest has", d);
	err = err ?: check_hash(g, g->file + g->stubs.file_offset, g->stubs.file_size, NULL, 0, m->h.stubs_sha256,
				"its stubs were changed", d);
	if (!err && replaced(pieces, n, old.e_phoff, (size_t)old.e_phnum * sizeof(Elf32_Phdr)))
		err = differs(g, d, "a window lies in the program headers");
	return err ?: check_phdrs(g, &old, size, d);
}

int restore_check(const struct guest_image *g, struct diag *d)
{
	struct piece *pieces;
	uint32_t size;
	int err;

	if (!g->undo || g->undo_size != sizeof(Elf32_Ehdr) + sizeof(size))
		return differs(g, d, "it has no undo record");
	memcpy(&size, g->undo + sizeof(Elf32_Ehdr), sizeof(size));
	if (size < sizeof(Elf32_Ehdr) || size > g->size)
		return differs(g, d, "the undo record is damaged");
	pieces = malloc((2 * (size_t)g->manifest.h.n_windows + 1) * sizeof(*pieces));
	if (!pieces)
		return diag_set(d, -ENOMEM, "out of memory");
	err = check_source(g, pieces, size, d);
	free(pieces);
	return err;
}
