// SPDX-License-Identifier: GPL-3.0-or-later
#include "monitor/vmx/image.h"

#include <elf.h>
#include <errno.h>
#include <libelf.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/abi.h"
#include "monitor/vmm/types.h"
#include "monitor/vmx/bzimage.h"
#include "monitor/vmx/file.h"
#include "monitor/vmx/multiboot.h"
#include "monitor/vmx/restore.h"

#define UNDO_SECTION ".paravane.undo" /* as patcher/patch.h has it: restore.c says what is in it */

static int check_ehdr(const struct guest_image *g, struct diag *d)
{
	const uint8_t *id = g->file;
	uint16_t machine;

	if (g->size < sizeof(Elf32_Ehdr) || memcmp(id, ELFMAG, SELFMAG)) {
		if (bzimage_is(g))
			return diag_set(
			    d, -EINVAL,
			    "%s: a bzImage that is not patched; run `paravane patch %s -o vmlinux.pv` "
			    "and give vmlinux.pv, or run it with --unpatched",
			    g->path, g->path);
		return diag_set(d, -EINVAL, "%s: no ELF file; give the output of `paravane patch`", g->path);
	}
	memcpy(&machine, id + offsetof(Elf32_Ehdr, e_machine), sizeof(machine));
	if (id[EI_CLASS] != ELFCLASS32 || id[EI_DATA] != ELFDATA2LSB || machine != EM_386)
		return diag_set(d, -EINVAL,
				"%s: not an i386 ELF (class %d, machine %d); only i386 guests run so far",
				g->path, id[EI_CLASS], machine);
	return 0;
}

static int read_segments(struct guest_image *g, Elf *elf, struct diag *d)
{
	const Elf32_Phdr *ph = elf32_getphdr(elf);
	size_t n;

	if (elf_getphdrnum(elf, &n) || !ph || !n)
		return diag_set(d, -EINVAL, "%s: no program headers (truncated?)", g->path);
	for (size_t i = 0; i < n; i++) {
		struct guest_segment s = {ph[i].p_vaddr, ph[i].p_paddr, ph[i].p_offset, ph[i].p_filesz,
					  ph[i].p_memsz};

		if (ph[i].p_type != PT_LOAD || !s.mem_size)
			continue;
		if (s.file_size > s.mem_size || (uint64_t)s.file_offset + s.file_size > g->size)
			return diag_set(
			    d, -EINVAL,
			    "%s: program header %zu: bytes 0x%x+0x%x are not in the file (truncated?)",
			    g->path, i, s.file_offset, s.file_size);
		if ((uint64_t)s.va + s.mem_size > 1ull << 32 || (uint64_t)s.pa + s.mem_size > 1ull << 32)
			return diag_set(d, -EINVAL, "%s: program header %zu: 0x%x+0x%x runs over 4 GiB",
					g->path, i, s.pa, s.mem_size);
		if (g->patched && s.va == g->manifest.h.hole_base + ABI_STUBS) {
			g->stubs = s;
			continue;
		}
		if (g->n_segments == IMAGE_SEGMENTS_MAX)
			return diag_set(d, -EINVAL, "%s: more than %d segments", g->path, IMAGE_SEGMENTS_MAX);
		g->segments[g->n_segments++] = s;
	}
	if (!g->n_segments)
		return diag_set(d, -EINVAL, "%s: nothing to load: no PT_LOAD segment", g->path);
	return 0;
}

static int check_overlaps(const struct guest_image *g, struct diag *d)
{
	for (unsigned i = 0; i < g->n_segments; i++) {
		const struct guest_segment *a = &g->segments[i];

		for (unsigned j = i + 1; j < g->n_segments; j++) {
			const struct guest_segment *b = &g->segments[j];

			if (a->pa < b->pa + (uint64_t)b->mem_size && b->pa < a->pa + (uint64_t)a->mem_size)
				return diag_set(d, -EINVAL, "%s: segments at 0x%x and 0x%x overlap in memory",
						g->path, a->pa, b->pa);
		}
	}
	return 0;
}

/* Entry points are physical in Linux, but a linker script that says nothing leaves the link address there. */
static int find_entry(struct guest_image *g, uint32_t entry, struct diag *d)
{
	g->start = UINT32_MAX;
	for (unsigned i = 0; i < g->n_segments; i++) {
		const struct guest_segment *s = &g->segments[i];

		if (s->pa < g->start)
			g->start = s->pa;
		if (s->pa + (s->mem_size - 1) >= g->end)
			g->end = s->pa + s->mem_size;
	}
	for (unsigned i = 0; i < g->n_segments; i++) {
		const struct guest_segment *s = &g->segments[i];

		if (entry - s->pa < s->mem_size)
			g->entry = entry;
		else if (entry - s->va < s->mem_size)
			g->entry = entry - s->va + s->pa;
		else
			continue;
		g->alias_delta = s->va - s->pa;
		return 0;
	}
	return diag_set(d, -EINVAL, "%s: entry point 0x%x lies in no segment", g->path, entry);
}

/* The section's bytes, or NULL; the file decides nothing here that is not checked against its size. */
static const uint8_t *find_section(const struct guest_image *g, Elf *elf, const char *name, size_t *size)
{
	Elf_Scn *scn = NULL;
	size_t names;

	if (elf_getshdrstrndx(elf, &names))
		return NULL;
	while ((scn = elf_nextscn(elf, scn))) {
		const Elf32_Shdr *sh = elf32_getshdr(scn);
		const char *n = sh ? elf_strptr(elf, names, sh->sh_name) : NULL;

		if (!n || strcmp(n, name) || sh->sh_type == SHT_NOBITS)
			continue;
		if ((uint64_t)sh->sh_offset + sh->sh_size > g->size)
			return NULL;
		*size = sh->sh_size;
		return g->file + sh->sh_offset;
	}
	return NULL;
}

static int read_manifest(struct guest_image *g, Elf *elf, struct diag *d)
{
	struct diag why = {""};
	const uint8_t *bytes;
	size_t size;

	bytes = find_section(g, elf, MANIFEST_SECTION, &size);
	if (!bytes)
		return 0;
	if (manifest_load(&g->manifest, bytes, size, &why))
		return diag_set(d, -EKEYREJECTED, "%s: damaged manifest: %s; patch the kernel again", g->path,
				why.text);
	g->undo = find_section(g, elf, UNDO_SECTION, &g->undo_size);
	g->patched = true;
	return 0;
}

static int check_stubs(const struct guest_image *g, struct diag *d)
{
	const struct manifest_header *h = &g->manifest.h;

	if (!g->patched)
		return 0;
	if (h->hole_base % PAGE_SIZE || h->hole_size % PAGE_SIZE ||
	    h->hole_size < ABI_STUBS + ABI_HOLE_GUARD || (uint64_t)h->hole_base + h->hole_size > 1ull << 32 ||
	    h->stubs_size > h->hole_size - ABI_STUBS - ABI_HOLE_GUARD)
		return diag_set(d, -EKEYREJECTED,
				"%s: manifest: absurd hole 0x%x+0x%x with 0x%x bytes of stubs", g->path,
				h->hole_base, h->hole_size, h->stubs_size);
	if (h->stubs_size != g->stubs.mem_size || g->stubs.file_size != g->stubs.mem_size)
		return diag_set(d, -EKEYREJECTED,
				"%s: manifest announces 0x%x bytes of stubs, the file has 0x%x", g->path,
				h->stubs_size, g->stubs.file_size);
	return 0;
}

static int parse(struct guest_image *g, Elf *elf, bool unpatched, struct diag *d)
{
	const Elf32_Ehdr *eh = elf32_getehdr(elf);
	int err;

	if (!eh)
		return diag_set(d, -EINVAL, "%s: damaged ELF header: %s", g->path, elf_errmsg(-1));
	if ((err = read_manifest(g, elf, d)) || (err = read_segments(g, elf, d)) ||
	    (err = check_overlaps(g, d)) || (err = find_entry(g, eh->e_entry, d)) ||
	    (err = check_stubs(g, d)))
		return err;
	g->multiboot = !(g->patched && g->manifest.h.setup_size) && multiboot_find(g->file, g->size);
	if (g->patched && unpatched)
		return diag_set(d, -EINVAL, "%s: this image is patched; run it without --unpatched", g->path);
	if (!g->patched && !g->multiboot && !unpatched)
		return diag_set(
		    d, -EINVAL,
		    "%s: not patched: it has no %s section; run `paravane patch %s -o vmlinux.pv` first "
		    "(or run it with --unpatched)",
		    g->path, MANIFEST_SECTION, g->path);
	return g->patched ? restore_check(g, d) : 0;
}

static int open_image(struct guest_image *g, const char *path, bool unpatched, struct diag *d)
{
	Elf *elf = NULL;
	int err;

	*g = (struct guest_image){.path = path};
	err = host_file_map("kernel image", path, IMAGE_FILE_MAX, &g->file, &g->size, d);
	if (!err && unpatched && bzimage_is(g)) {
		err = bzimage_parse(g, d);
		if (err)
			guest_image_close(g);
		return err;
	}
	if (!err)
		err = check_ehdr(g, d);
	if (!err) {
		elf_version(EV_CURRENT);
		elf = elf_memory((char *)g->file, g->size);
		err = elf ? parse(g, elf, unpatched, d) : diag_set(d, -EINVAL, "%s: %s", path, elf_errmsg(-1));
		elf_end(elf);
	}
	if (err)
		guest_image_close(g);
	return err;
}

int guest_image_open(struct guest_image *g, const char *path, struct diag *d)
{
	return open_image(g, path, false, d);
}

int guest_image_open_unpatched(struct guest_image *g, const char *path, struct diag *d)
{
	return open_image(g, path, true, d);
}

void guest_image_unload(struct guest_image *g)
{
	host_file_unmap(g->file, g->size);
	g->file = g->setup = g->undo = NULL;
	g->size = 0;
}

void guest_image_close(struct guest_image *g)
{
	manifest_free(&g->manifest);
	guest_image_unload(g);
	*g = (struct guest_image){0};
}

int64_t guest_image_offset(const struct guest_image *g, uint32_t va, uint32_t size)
{
	for (unsigned i = 0; i < g->n_segments; i++) {
		const struct guest_segment *s = &g->segments[i];

		if (va - s->va < s->file_size && size <= s->file_size - (va - s->va))
			return (int64_t)s->file_offset + (va - s->va);
	}
	return -1;
}

const uint8_t *guest_image_at(const struct guest_image *g, uint32_t va, uint32_t size)
{
	int64_t at = guest_image_offset(g, va, size);

	return at < 0 ? NULL : g->file + at;
}

/* The window that holds va, or NULL; windows are sorted. Not every site in one says so: verbatim ones do not. */
static const struct manifest_window *window_at(const struct manifest *m, uint32_t va)
{
	const struct manifest_window *w = manifest_window_below(m, va);

	return w && va - w->va < w->len ? w : NULL;
}

bool guest_image_original(const struct guest_image *g, uint32_t va, uint8_t *buf, uint32_t size)
{
	const struct manifest_window *w = window_at(&g->manifest, va);
	const uint8_t *from;

	if (!w)
		from = guest_image_at(g, va, size);
	else if (size <= w->len - (va - w->va))
		from = g->manifest.originals + w->original + (va - w->va);
	else
		return false;
	if (from)
		memcpy(buf, from, size);
	return from;
}
