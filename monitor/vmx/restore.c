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

static int undo_window(const struct guest_image *g, const struct manifest_window *w, uint8_t *source,
		       size_t size, struct diag *d)
{
	const uint8_t *original = g->manifest.originals + w->original;
	int64_t at = guest_image_offset(g, w->va, w->len);
	int64_t hop = w->hop == MANIFEST_NONE ? 0 : guest_image_offset(g, w->hop, HOP_LEN);

	if (at < 0 || hop < 0 || (uint64_t)at + w->len > size || (uint64_t)hop + HOP_LEN > size)
		return diag_set(d, -EKEYREJECTED,
				"%s: image and manifest do not match: the window at 0x%x lies outside "
				"the image; patch the kernel again",
				g->path, w->va);
	if (!window_stands(g, w))
		return diag_set(d, -EKEYREJECTED,
				"%s: image and manifest do not match: at 0x%x stands not the jump that "
				"the patcher put there; patch the kernel again",
				g->path, w->va);
	memcpy(source + at, original, w->len);
	if (w->hop != MANIFEST_NONE)
		memcpy(source + hop, original + w->len, HOP_LEN);
	return 0;
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
static int check_phdrs(const struct guest_image *g, const Elf32_Ehdr *old, const uint8_t *source, size_t size,
		       struct diag *d)
{
	size_t table = (size_t)old->e_phnum * sizeof(Elf32_Phdr);
	Elf32_Ehdr now;

	memcpy(&now, g->file, sizeof(now));
	if (now.e_phnum != old->e_phnum + 1u || old->e_phoff > size || table > size - old->e_phoff ||
	    now.e_phoff > g->size || table > g->size - now.e_phoff)
		return differs(g, d, "the number of program headers was changed");
	for (size_t i = 0; i < table; i += sizeof(Elf32_Phdr))
		if (memcmp(source + old->e_phoff + i, g->file + now.e_phoff + i, sizeof(Elf32_Phdr)))
			return diag_set(
			    d, -EKEYREJECTED,
			    "%s: image and manifest do not match: program header %zu was changed; patch the "
			    "kernel again",
			    g->path, i / sizeof(Elf32_Phdr));
	return 0;
}

static int check_hash(const struct guest_image *g, const uint8_t *bytes, size_t size, const uint8_t want[32],
		      const char *what, struct diag *d)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	sha256_update(&ctx, size, bytes);
	sha256_digest(&ctx, sizeof(digest), digest);
	return memcmp(digest, want, sizeof(digest)) ? differs(g, d, what) : 0;
}

static int check_source(const struct guest_image *g, uint8_t *source, size_t size, struct diag *d)
{
	const struct manifest *m = &g->manifest;
	Elf32_Ehdr old;
	int err;

	memcpy(&old, g->undo, sizeof(old));
	err = check_header(g, &old, d);
	for (uint32_t i = 0; !err && i < m->h.n_windows; i++)
		err = undo_window(g, &m->windows[i], source, size, d);
	if (err)
		return err;
	memcpy(source, &old, sizeof(old));
	err = check_hash(g, source, size, m->h.source_sha256,
			 "without its windows it is not the kernel whose hash the manifest has", d);
	err = err
		  ?: check_hash(g, g->file + g->stubs.file_offset, g->stubs.file_size, m->h.stubs_sha256,
				"its stubs were changed", d);
	return err ?: check_phdrs(g, &old, source, size, d);
}

int restore_check(const struct guest_image *g, struct diag *d)
{
	uint8_t *source;
	uint32_t size;
	int err;

	if (!g->undo || g->undo_size != sizeof(Elf32_Ehdr) + sizeof(size))
		return differs(g, d, "it has no undo record");
	memcpy(&size, g->undo + sizeof(Elf32_Ehdr), sizeof(size));
	if (size < sizeof(Elf32_Ehdr) || size > g->size)
		return differs(g, d, "the undo record is damaged");
	source = malloc(size);
	if (!source)
		return diag_set(d, -ENOMEM, "out of memory");
	memcpy(source, g->file, size);
	err = check_source(g, source, size, d);
	free(source);
	return err;
}
