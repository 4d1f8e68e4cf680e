// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Taking a patched file apart again: windows back to their original bytes, the old ELF header back, the rest cut
 * off. The manifest's hashes decide whether the result is what was patched once.
 */
#include <elf.h>
#include <errno.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

#include "patcher/patch.h"

struct reader {
	const char *path;
	const uint8_t *file;
	size_t size;
	const Elf32_Shdr *sections; /* inside the file; read through memcpy only */
	unsigned n;
	struct diag *d;
};

static int broken(const struct reader *r, const char *what)
{
	return diag_set(r->d, -EINVAL, "%s: %s", r->path, what);
}

static Elf32_Shdr section(const struct reader *r, unsigned i)
{
	Elf32_Shdr sh;

	memcpy(&sh, (const uint8_t *)r->sections + i * sizeof(sh), sizeof(sh));
	return sh;
}

static bool inside(const struct reader *r, const Elf32_Shdr *sh)
{
	return sh->sh_offset <= r->size && sh->sh_size <= r->size - sh->sh_offset;
}

static int open_sections(struct reader *r)
{
	Elf32_Ehdr eh;

	if (r->size < sizeof(eh) || memcmp(r->file, ELFMAG, SELFMAG))
		return broken(r, "not an ELF file, so not one that `paravane patch` wrote");
	memcpy(&eh, r->file, sizeof(eh));
	if (eh.e_ident[EI_CLASS] != ELFCLASS32 || eh.e_shentsize != sizeof(Elf32_Shdr) ||
	    eh.e_shoff > r->size || eh.e_shnum * sizeof(Elf32_Shdr) > r->size - eh.e_shoff ||
	    eh.e_shstrndx >= eh.e_shnum)
		return broken(
		    r, "its section headers are damaged, or it is not a file that `paravane patch` wrote");
	r->sections = (const void *)(r->file + eh.e_shoff);
	r->n = eh.e_shnum;
	return 0;
}

/* The bytes of a section by name; NULL when there is none. */
static const uint8_t *find(const struct reader *r, const char *name, size_t *size)
{
	Elf32_Ehdr eh;
	Elf32_Shdr names, sh;

	memcpy(&eh, r->file, sizeof(eh));
	names = section(r, eh.e_shstrndx);
	if (!inside(r, &names))
		return NULL;
	for (unsigned i = 0; i < r->n; i++) {
		sh = section(r, i);
		if (sh.sh_name >= names.sh_size || !inside(r, &sh) ||
		    names.sh_size - sh.sh_name <= strlen(name) ||
		    memcmp(r->file + names.sh_offset + sh.sh_name, name, strlen(name) + 1))
			continue;
		*size = sh.sh_size;
		return r->file + sh.sh_offset;
	}
	return NULL;
}

static uint8_t *at_va(const struct reader *r, uint8_t *elf, size_t elf_size, uint32_t va, uint32_t len)
{
	for (unsigned i = 0; i < r->n; i++) {
		Elf32_Shdr sh = section(r, i);

		if (!(sh.sh_flags & SHF_ALLOC) || sh.sh_type == SHT_NOBITS || va < sh.sh_addr ||
		    va - sh.sh_addr >= sh.sh_size || len > sh.sh_size - (va - sh.sh_addr))
			continue;
		if ((uint64_t)sh.sh_offset + sh.sh_size > elf_size)
			return NULL;
		return elf + sh.sh_offset + (va - sh.sh_addr);
	}
	return NULL;
}

static int windows_undo(const struct reader *r, struct unpatched *u)
{
	for (uint32_t i = 0; i < u->m.h.n_windows; i++) {
		const struct manifest_window *w = &u->m.windows[i];
		const uint8_t *original = u->m.originals + w->original;
		uint8_t *p = at_va(r, u->elf, u->elf_size, w->va, w->len);
		uint8_t *hop = w->hop == MANIFEST_NONE ? p : at_va(r, u->elf, u->elf_size, w->hop, 5);

		if (!p || !hop)
			return diag_set(r->d, -EINVAL,
					"%s: 0x%x: the manifest names a window that no section holds",
					r->path, w->va);
		memcpy(p, original, w->len);
		if (w->hop != MANIFEST_NONE)
			memcpy(hop, original + w->len, 5);
	}
	return 0;
}

static bool hash_is(const uint8_t *bytes, size_t size, const uint8_t want[32])
{
	struct sha256_ctx ctx;
	uint8_t got[32];

	sha256_init(&ctx);
	sha256_update(&ctx, size, bytes);
	sha256_digest(&ctx, sizeof(got), got);
	return !memcmp(got, want, sizeof(got));
}

static int source_take(const struct reader *r, struct unpatched *u)
{
	size_t size;
	const uint8_t *source = find(r, MANIFEST_SOURCE_SECTION, &size);

	u->source = u->elf;
	u->source_size = u->elf_size;
	if (source) {
		u->source = malloc(size + 1);
		if (!u->source)
			return -ENOMEM;
		memcpy(u->source, source, size);
		u->source_size = size;
	}
	if (!hash_is(u->source, u->source_size, u->m.h.file_sha256))
		return broken(r, "the source file in it is damaged: its hash is not the manifest's");
	return 0;
}

static int take_apart(const struct reader *r, struct unpatched *u)
{
	size_t manifest_size, undo_size;
	const uint8_t *manifest = find(r, MANIFEST_SECTION, &manifest_size);
	const uint8_t *undo = find(r, PATCH_UNDO_SECTION, &undo_size);
	uint32_t elf_size;
	int err;

	if (!manifest || !undo || undo_size != sizeof(Elf32_Ehdr) + 4)
		return broken(r, "no manifest: not a file that `paravane patch` wrote");
	err = manifest_load(&u->m, manifest, manifest_size, r->d);
	if (err)
		return err;
	memcpy(&elf_size, undo + sizeof(Elf32_Ehdr), sizeof(elf_size));
	if (elf_size < sizeof(Elf32_Ehdr) || elf_size > r->size)
		return broken(r, "the undo record is damaged");
	u->elf = malloc(elf_size);
	if (!u->elf)
		return -ENOMEM;
	u->elf_size = elf_size;
	memcpy(u->elf, r->file, elf_size);
	err = windows_undo(r, u);
	if (err)
		return err;
	memcpy(u->elf, undo, sizeof(Elf32_Ehdr));
	if (!hash_is(u->elf, u->elf_size, u->m.h.source_sha256))
		return broken(r, "it was changed after patching: undoing it does not give the source's hash");
	return source_take(r, u);
}

bool unpatch_knows(const uint8_t *file, size_t size)
{
	struct diag d = {0};
	struct reader r = {.path = "", .file = file, .size = size, .d = &d};
	size_t n;

	return !open_sections(&r) && find(&r, MANIFEST_SECTION, &n);
}

int unpatch_bytes(struct unpatched *u, const char *path, const uint8_t *file, size_t size, struct diag *d)
{
	struct reader r = {.path = path, .file = file, .size = size, .d = d};
	int err;

	*u = (struct unpatched){0};
	err = open_sections(&r);
	if (!err)
		err = take_apart(&r, u);
	if (err) {
		unpatched_free(u);
		return diag_set(d, err, "%s: %s", path, strerror(-err));
	}
	return 0;
}

void unpatched_free(struct unpatched *u)
{
	manifest_free(&u->m);
	if (u->source != u->elf)
		free(u->source);
	free(u->elf);
	*u = (struct unpatched){0};
}
