// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The file: a patched ELF is its source with windows overwritten, one PT_LOAD (the stubs) and a few sections
 * added, and nothing else. The headers are read here from the bytes, not through the patcher's writer or a
 * library that tidies them up (gABI chapters 4 and 5).
 *
 * Rules. The source ELF's bytes keep their file offsets. Program and section headers keep their order, new ones
 * come last; both tables move behind the source's bytes, where nothing else stands but added sections and zeros.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/abi.h"
#include "patcher/verify_check.h"
#include "patcher/verify_elf_read.h"

#define UNDO_SECTION ".paravane.undo"
#define NAMES_SECTION ".paravane.shstrtab"

static Elf32_Phdr program(const struct verify_elf *e, unsigned i)
{
	Elf32_Phdr ph;

	memcpy(&ph, e->bytes + e->eh.e_phoff + i * sizeof(ph), sizeof(ph));
	return ph;
}

static bool header_equal(const Elf32_Ehdr *a, const Elf32_Ehdr *b)
{
	return !memcmp(a->e_ident, b->e_ident, EI_NIDENT) && a->e_type == b->e_type &&
	       a->e_machine == b->e_machine && a->e_version == b->e_version && a->e_entry == b->e_entry &&
	       a->e_flags == b->e_flags && a->e_ehsize == b->e_ehsize && a->e_phentsize == b->e_phentsize &&
	       (!b->e_shnum || a->e_shentsize == b->e_shentsize);
}

static void check_segments(struct verify_ctx *c, const struct verify_elf *s, const struct verify_elf *o)
{
	const struct manifest_header *h = &c->m.h;
	unsigned added = 0;

	for (unsigned i = 0; i < o->eh.e_phnum; i++) {
		Elf32_Phdr ph = program(o, i), was;

		if (i < s->eh.e_phnum) {
			was = program(s, i);
			if (memcmp(&ph, &was, sizeof(ph)))
				verify_fail(c, was.p_vaddr, "program header %u differs from the source's", i);
			continue;
		}
		added++;
		if (ph.p_type != PT_LOAD || ph.p_vaddr != c->stubs_va || ph.p_filesz != h->stubs_size ||
		    ph.p_memsz != ph.p_filesz || ph.p_flags != (PF_R | PF_X) ||
		    !verify_elf_holds(o, ph.p_offset, ph.p_filesz) || o->bytes + ph.p_offset != c->stubs)
			verify_fail(c, ph.p_vaddr, "added program header %u is not the stub segment", i);
		if (ph.p_paddr)
			verify_fail(c, ph.p_vaddr,
				    "added program header %u: physical address 0x%x, but a boot loader "
				    "must not place the stubs",
				    i, ph.p_paddr);
	}
	if (o->eh.e_phnum < s->eh.e_phnum)
		verify_fail(c, 0, "%u program headers are missing", s->eh.e_phnum - o->eh.e_phnum);
	if (added != (h->stubs_size ? 1 : 0))
		verify_fail(c, 0, "%u program headers added, expected %d", added, h->stubs_size ? 1 : 0);
}

/* Kept sections keep everything, their place in the table of names too: that table only grows. */
static void check_section_kept(struct verify_ctx *c, const struct verify_elf *s, const struct verify_elf *o,
			       unsigned i)
{
	Elf32_Shdr was = verify_elf_section(s, i), now = verify_elf_section(o, i);

	if (strcmp(verify_elf_name(s, &was), verify_elf_name(o, &now)) || memcmp(&was, &now, sizeof(was)))
		verify_fail(c, was.sh_addr, "section header %u (%s) differs from the source's", i,
			    verify_elf_name(s, &was));
}

static bool is_added_name(const char *name)
{
	return !strcmp(name, MANIFEST_SECTION) || !strcmp(name, MANIFEST_STUB_SECTION) ||
	       !strcmp(name, MANIFEST_SOURCE_SECTION) || !strcmp(name, UNDO_SECTION);
}

static void check_section_added(struct verify_ctx *c, const struct verify_elf *s, const struct verify_elf *o,
				unsigned i)
{
	Elf32_Shdr sh = verify_elf_section(o, i);
	const char *name = verify_elf_name(o, &sh);
	bool stubs = !strcmp(name, MANIFEST_STUB_SECTION), names = i == o->eh.e_shstrndx;

	/* A source without section headers gets the null section too. */
	if (!s->eh.e_shnum && !i && sh.sh_type == SHT_NULL)
		return;
	if (names ? sh.sh_type != SHT_STRTAB || strcmp(name, NAMES_SECTION)
		  : !is_added_name(name) || sh.sh_type != SHT_PROGBITS)
		verify_fail(c, sh.sh_addr, "section header %u (%s) is neither the source's nor ours", i,
			    name);
	if (sh.sh_flags != (stubs ? (Elf32_Word)(SHF_ALLOC | SHF_EXECINSTR) : 0) || sh.sh_link ||
	    sh.sh_info || sh.sh_entsize || sh.sh_addr != (stubs ? c->stubs_va : 0) ||
	    (stubs && sh.sh_size != c->m.h.stubs_size))
		verify_fail(c, sh.sh_addr, "section %s: wrong flags, address or size", name);
	if (sh.sh_offset < s->size)
		verify_fail(c, sh.sh_addr, "section %s overlaps the source's bytes", name);
}

static void check_sections(struct verify_ctx *c, const struct verify_elf *s, const struct verify_elf *o)
{
	if (o->eh.e_shnum < s->eh.e_shnum || o->eh.e_shstrndx < s->eh.e_shnum) {
		verify_fail(c, 0, "section headers are missing or renumbered");
		return;
	}
	for (unsigned i = 0; i < o->eh.e_shnum; i++) {
		if (i < s->eh.e_shnum)
			check_section_kept(c, s, o, i);
		else
			check_section_added(c, s, o, i);
	}
}

static void check_hashes(struct verify_ctx *c)
{
	const struct manifest_header *h = &c->m.h;
	const struct image *img = c->src->img;
	uint8_t stubs[32];

	if (memcmp(h->source_sha256, c->src->sha256, 32))
		verify_fail(c, 0, "the manifest was made for another kernel (SHA-256 of the ELF differs)");
	if (memcmp(h->file_sha256, c->src->file_sha256, 32))
		verify_fail(c, 0, "the manifest was made from another file (SHA-256 differs)");
	if (h->version != ABI_VERSION)
		verify_fail(c, 0, "ABI version %u, expected %d", h->version, ABI_VERSION);
	verify_digest(stubs, c->stubs, h->stubs_size);
	if (memcmp(h->stubs_sha256, stubs, 32))
		verify_fail(c, 0, "the manifest was made for other stubs (SHA-256 differs)");
	if (h->alias_delta != (uint32_t)img->alias_delta)
		verify_fail(c, 0, "alias delta 0x%x, the image has 0x%x", h->alias_delta,
			    (uint32_t)img->alias_delta);
}

static void check_hole(struct verify_ctx *c)
{
	const struct manifest_header *h = &c->m.h;
	uint64_t end = (uint64_t)h->hole_base + h->hole_size;

	if ((h->hole_base | h->hole_size) & 0xfff || end > (1ull << 32) ||
	    h->hole_size < ABI_STUBS + ABI_HOLE_GUARD ||
	    (uint64_t)c->stubs_va + h->stubs_size > end - ABI_HOLE_GUARD)
		verify_fail(c, h->hole_base, "the hole (0x%x bytes) cannot hold the stubs (0x%x bytes)",
			    h->hole_size, h->stubs_size);
	for (size_t i = 0; i < c->src->img->n_sections; i++) {
		const struct image_section *s = &c->src->img->sections[i];

		if (s->alloc && s->va < end && s->va + s->size > h->hole_base)
			verify_fail(c, s->va, "section %s lies in the hole", s->name);
	}
}

static bool load_manifest(struct verify_ctx *c, const struct verify_elf *o)
{
	struct diag why = {""};
	Elf32_Shdr sh;

	if (!verify_elf_find(c, o, MANIFEST_SECTION, &sh)) {
		verify_fail(c, 0, "no section %s: not patched by paravane", MANIFEST_SECTION);
		return false;
	}
	if (manifest_load(&c->m, o->bytes + sh.sh_offset, sh.sh_size, &why)) {
		verify_fail(c, 0, "%s: %s", MANIFEST_SECTION, why.text);
		return false;
	}
	c->stubs_va = c->m.h.hole_base + ABI_STUBS;
	if (!c->m.h.stubs_size)
		return true;
	if (!verify_elf_find(c, o, MANIFEST_STUB_SECTION, &sh) || sh.sh_size != c->m.h.stubs_size) {
		verify_fail(c, 0, "no section %s of 0x%x bytes", MANIFEST_STUB_SECTION, c->m.h.stubs_size);
		return false;
	}
	c->stubs = o->bytes + sh.sh_offset;
	return true;
}

/* What unpatch takes its source from: the file that was given unless it was this ELF, and the old ELF header. */
static void check_undo(struct verify_ctx *c, const struct verify_elf *s, const struct verify_elf *o)
{
	const struct image *img = c->src->img;
	bool wanted = img->container != IMAGE_ELF;
	uint32_t size = s->size;
	Elf32_Shdr sh;

	if (verify_elf_find(c, o, MANIFEST_SOURCE_SECTION, &sh) != wanted)
		verify_fail(c, 0, "section %s is %s", MANIFEST_SOURCE_SECTION,
			    wanted ? "missing" : "not expected");
	else if (wanted &&
		 (sh.sh_size != img->file_size || memcmp(o->bytes + sh.sh_offset, img->file, img->file_size)))
		verify_fail(c, 0, "section %s differs from the source file", MANIFEST_SOURCE_SECTION);
	if (!verify_elf_find(c, o, UNDO_SECTION, &sh) || sh.sh_size != sizeof(Elf32_Ehdr) + 4 ||
	    memcmp(o->bytes + sh.sh_offset, s->bytes, sizeof(Elf32_Ehdr)) ||
	    memcmp(o->bytes + sh.sh_offset + sizeof(Elf32_Ehdr), &size, 4))
		verify_fail(c, 0, "section %s is not the source's ELF header and size", UNDO_SECTION);
}

static void allow_file(struct verify_ctx *c, size_t off, size_t len)
{
	size_t size = c->src->img->elf_size;

	if (off < size)
		memset(c->allowed + off, 1, len < size - off ? len : size - off);
}

static bool segment_offset(const struct verify_ctx *c, uint32_t va, uint32_t len, size_t *off)
{
	for (size_t i = 0; i < c->src->img->n_sections; i++) {
		const struct image_section *s = &c->src->img->sections[i];

		if (s->data && s->alloc && va >= s->va && va - s->va < s->size &&
		    s->size - (va - s->va) >= len) {
			*off = s->offset + (va - s->va);
			return *off + len <= c->out_size && *off + len <= c->src->img->elf_size;
		}
	}
	return false;
}

bool verify_allow(struct verify_ctx *c, uint32_t va, uint32_t len)
{
	size_t off;

	if (!segment_offset(c, va, len, &off))
		return false;
	allow_file(c, off, len);
	return true;
}

const uint8_t *verify_patched(const struct verify_ctx *c, uint32_t va, uint32_t len)
{
	size_t off;

	return segment_offset(c, va, len, &off) ? c->out + off : NULL;
}

bool verify_elf_open(struct verify_ctx *c)
{
	struct verify_elf s, o;

	if (!verify_elf_read(&s, c->src->img->elf, c->src->img->elf_size)) {
		verify_fail(c, 0, "the source is not a 32-bit ELF that can be patched");
		return false;
	}
	if (!verify_elf_read(&o, c->out, c->out_size)) {
		verify_fail(c, 0, "not a well-formed 32-bit ELF file");
		return false;
	}
	if (!load_manifest(c, &o))
		return false;
	if (!header_equal(&s.eh, &o.eh))
		verify_fail(c, 0, "the ELF header differs from the source's");
	check_hashes(c);
	check_hole(c);
	check_segments(c, &s, &o);
	check_sections(c, &s, &o);
	check_undo(c, &s, &o);
	return true;
}

void verify_elf_unchanged(struct verify_ctx *c)
{
	const struct image *img = c->src->img;
	struct verify_elf o;
	size_t bad = 0;

	verify_elf_read(&o, c->out, c->out_size);
	if (c->out_size < img->elf_size) {
		verify_fail(c, 0, "the file is shorter than its source");
		return;
	}
	allow_file(c, 0, sizeof(Elf32_Ehdr)); /* judged field by field */
	if (o.eh.e_phoff < img->elf_size || o.eh.e_shoff < img->elf_size)
		verify_fail(c, 0, "the header tables do not stand behind the source's bytes");
	for (size_t i = 0; i < img->elf_size; i++) {
		if (c->out[i] == img->elf[i] || c->allowed[i])
			continue;
		if (!bad++)
			verify_fail(
			    c, 0, "file offset 0x%zx: a byte outside all windows differs from the source", i);
	}
	if (bad > 1)
		verify_fail(c, 0, "%zu bytes outside all windows differ from the source", bad);
	c->r->bytes_checked += img->elf_size;
	verify_elf_tail(c, &o, img->elf_size);
}
