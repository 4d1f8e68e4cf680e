// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The verifier's own target set: every place that control can reach other than by falling through, as far as the
 * image says so itself. Layouts are Linux 6.1's for i386 (arch/x86/include/asm/{extable,jump_label,alternative,
 * paravirt_types}.h, include/linux/{export-internal,init,bug,static_call_types}.h). Direct branches are added by
 * the sweep. A table that cannot be found is no error: its absence shows in the counts, and a stray target only
 * ever makes the verifier stricter.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "patcher/verify_source.h"

#define BUGFLAG_WARNING 1

/* A table: the bytes of one array in the image. */
struct table {
	uint32_t va, size;
	const uint8_t *bytes;
};

static uint32_t word_at(const uint8_t *p)
{
	uint32_t w;

	memcpy(&w, p, 4);
	return w;
}

/* The 32-bit PC-relative reference that stands `off` bytes into the table. */
static uint32_t prel(const struct table *t, uint32_t off)
{
	return t->va + off + word_at(t->bytes + off);
}

static bool section_table(const struct verify_source *src, const char *name, struct table *out)
{
	for (size_t i = 0; i < src->img->n_sections; i++) {
		const struct image_section *s = &src->img->sections[i];

		if (s->data && s->alloc && !strcmp(s->name, name)) {
			*out = (struct table){.va = s->va, .size = s->size, .bytes = s->data};
			return true;
		}
	}
	return false;
}

static const struct image_symbol *symbol_named(const struct verify_source *src, const char *name)
{
	for (size_t i = 0; i < src->img->n_symbols; i++)
		if (!strcmp(src->img->symbols[i].name, name))
			return &src->img->symbols[i];
	return NULL;
}

/* Between two symbols of the linker script, else a section of its own (a stripped kernel keeps those names). */
static bool find_table(const struct verify_source *src, const char *start, const char *stop,
		       const char *section, struct table *out)
{
	const struct image_symbol *a = symbol_named(src, start), *b = symbol_named(src, stop);

	if (a && b && b->va > a->va && b->va - a->va < UINT32_MAX) {
		*out = (struct table){.va = a->va, .size = b->va - a->va};
		out->bytes = verify_bytes(src, out->va, out->size);
		if (out->bytes)
			return true;
	}
	return section && section_table(src, section, out);
}

static void symbols_add(struct verify_source *src)
{
	for (size_t i = 0; i < src->img->n_symbols; i++) {
		const struct image_symbol *s = &src->img->symbols[i];

		if (!strchr("TtWwVvUu", s->type) && !verify_text_at(src, s->va))
			continue;
		/* End markers (_etext and the like) stand behind the last byte; text_at() drops them. */
		verify_target_add(src, s->va, VT_SYMBOL);
		/* Static-call trampolines are a jump that the kernel re-aims (or a return that it writes). */
		if (!strncmp(s->name, "__SCT__", 7))
			verify_rewritten_add(src, s->va, 8);
		if (!strcmp(s->name, "__fentry__") || !strcmp(s->name, "mcount"))
			src->fentry = s->va;
	}
}

/* A word that holds a link address, or a physical one (head_32.S runs before paging is on). */
static void absolute_add(struct verify_source *src, uint32_t value, unsigned why)
{
	verify_target_add(src, value, why);
	if (src->img->alias_delta)
		verify_target_add(src, value + (uint32_t)src->img->alias_delta, why);
}

static void relocated_word_add(struct verify_source *src, uint32_t va)
{
	const uint8_t *p = verify_bytes(src, va, 4);

	if (p)
		absolute_add(src, word_at(p), VT_RELOC);
}

/* Where the ELF proper ends: the bytes behind it are the relocation list of a relocatable bzImage. */
static size_t elf_end(const struct image *img)
{
	const Elf32_Ehdr *eh = (const void *)img->elf;
	size_t end, n;

	if (img->elf_size < sizeof(*eh) || memcmp(img->elf, ELFMAG, SELFMAG) ||
	    eh->e_ident[EI_CLASS] != ELFCLASS32)
		return img->elf_size;
	n = eh->e_shnum;
	end = eh->e_shoff + n * sizeof(Elf32_Shdr);
	if (eh->e_shoff > img->elf_size || end > img->elf_size)
		return img->elf_size;
	for (size_t i = 0; i < n; i++) {
		Elf32_Shdr sh;

		memcpy(&sh, img->elf + eh->e_shoff + i * sizeof(sh), sizeof(sh));
		if (sh.sh_type != SHT_NOBITS && (size_t)sh.sh_offset + sh.sh_size > end)
			end = (size_t)sh.sh_offset + sh.sh_size;
	}
	return end;
}

/* arch/x86/boot/compressed/misc.c handle_relocations(): read backwards from the end to a zero word. */
static bool appended_relocs(struct verify_source *src)
{
	const struct image *img = src->img;
	size_t end = elf_end(img), pos = img->elf_size & ~(size_t)3, n = 0;

	while (pos >= end + 4) {
		uint32_t va = word_at(img->elf + pos - 4);

		if (!va)
			return n > 0;
		relocated_word_add(src, va);
		pos -= 4;
		n++;
	}
	return false;
}

/* .rel sections, which --emit-relocs leaves in a linked vmlinux. */
static bool section_relocs(struct verify_source *src)
{
	const struct image *img = src->img;
	const Elf32_Ehdr *eh = (const void *)img->elf;
	bool any = false;

	if (elf_end(img) > img->elf_size || img->elf_size < sizeof(*eh) ||
	    memcmp(img->elf, ELFMAG, SELFMAG) || eh->e_ident[EI_CLASS] != ELFCLASS32 ||
	    eh->e_shoff > img->elf_size || eh->e_shnum * sizeof(Elf32_Shdr) > img->elf_size - eh->e_shoff)
		return false;
	for (size_t i = 0; i < eh->e_shnum; i++) {
		Elf32_Shdr sh;

		memcpy(&sh, img->elf + eh->e_shoff + i * sizeof(sh), sizeof(sh));
		if (sh.sh_type != SHT_REL || (size_t)sh.sh_offset + sh.sh_size > img->elf_size)
			continue;
		for (size_t k = 0; k + sizeof(Elf32_Rel) <= sh.sh_size; k += sizeof(Elf32_Rel)) {
			Elf32_Rel rel;

			memcpy(&rel, img->elf + sh.sh_offset + k, sizeof(rel));
			if (ELF32_R_TYPE(rel.r_info) == R_386_32)
				relocated_word_add(src, rel.r_offset);
			any = true;
		}
	}
	return any;
}

/* The container has applied them: what a module's absolute words name is what they hold now. */
static bool module_relocs(struct verify_source *src)
{
	for (size_t i = 0; i < src->img->n_relocs; i++)
		relocated_word_add(src, (uint32_t)src->img->relocs[i]);
	return true;
}

/* Without relocations, any aligned word of the data that could be a code address is taken for one. */
static void data_words(struct verify_source *src)
{
	for (size_t i = 0; i < src->img->n_sections; i++) {
		const struct image_section *s = &src->img->sections[i];

		if (!s->data || !s->alloc || s->exec)
			continue;
		for (uint64_t off = -s->va & 3; off + 4 <= s->size; off += 4)
			absolute_add(src, word_at(s->data + off), VT_WORD);
	}
}

static void extable_add(struct verify_source *src)
{
	struct table t;

	if (!find_table(src, "__start___ex_table", "__stop___ex_table", "__ex_table", &t))
		return;
	for (uint32_t off = 0; off + 12 <= t.size; off += 12) { /* insn, fixup, type */
		verify_mark_add(src, prel(&t, off), MARK_POINT);
		verify_mark_add(src, prel(&t, off + 4), MARK_FIXUP);
	}
}

static void alternatives_add(struct verify_source *src)
{
	struct table t;

	if (!find_table(src, "__alt_instructions", "__alt_instructions_end", ".altinstructions", &t))
		return;
	for (uint32_t off = 0; off + 12 <= t.size;
	     off += 12) { /* instr, repl, u16 cpuid, u8 len, u8 repl len */
		verify_target_add(src, prel(&t, off), VT_ALTERNATIVE);
		verify_rewritten_add(src, prel(&t, off), t.bytes[off + 10]);
		if (t.bytes[off + 11])
			verify_target_add(src, prel(&t, off + 4), VT_ALTERNATIVE);
	}
}

static void paravirt_add(struct verify_source *src)
{
	struct table t;

	if (!find_table(src, "__parainstructions", "__parainstructions_end", ".parainstructions", &t))
		return;
	for (uint32_t off = 0; off + 8 <= t.size; off += 8) /* instr, u8 type, u8 len */
		verify_rewritten_add(src, word_at(t.bytes + off), t.bytes[off + 5]);
}

static void smp_locks_add(struct verify_source *src)
{
	struct table t;

	if (!find_table(src, "__smp_locks", "__smp_locks_end", ".smp_locks", &t))
		return;
	for (uint32_t off = 0; off + 4 <= t.size; off += 4) {
		if (!word_at(t.bytes + off)) /* the section is padded to a page */
			continue;
		verify_mark_add(src, prel(&t, off), MARK_POINT);
		verify_rewritten_add(src, prel(&t, off), 1);
	}
}

static void bugs_add(struct verify_source *src)
{
	struct table t;

	if (!find_table(src, "__start___bug_table", "__stop___bug_table", "__bug_table", &t))
		return;
	for (uint32_t off = 0; off + 12 <= t.size; off += 12) { /* bug, file, u16 line, u16 flags */
		bool returns = t.bytes[off + 10] & BUGFLAG_WARNING;

		verify_mark_add(src, prel(&t, off), returns ? MARK_POINT : MARK_POINT | MARK_NORETURN);
	}
}

/* Arrays of records with one PC-relative code reference each. */
static void prel_table_add(struct verify_source *src, const char *start, const char *stop,
			   const char *section, uint32_t record, uint32_t field, unsigned why)
{
	struct table t;

	if (!find_table(src, start, stop, section, &t))
		return;
	for (uint32_t off = 0; off + record <= t.size; off += record)
		verify_target_add(src, prel(&t, off + field), why);
}

/* Inline static calls: the kernel rewrites the 5-byte call or jump at the site. */
static void static_calls_add(struct verify_source *src)
{
	struct table t;

	if (!find_table(src, "__start_static_call_sites", "__stop_static_call_sites", ".static_call_sites",
			&t))
		return;
	for (uint32_t off = 0; off + 8 <= t.size; off += 8) { /* site, key */
		verify_target_add(src, prel(&t, off), VT_STATIC_CALL);
		verify_rewritten_add(src, prel(&t, off), 5);
	}
}

static void ftrace_add(struct verify_source *src)
{
	struct table t;

	/* A stripped kernel does not say where the list is; calls of __fentry__ tell as much (see the sweep). */
	if (!find_table(src, "__start_mcount_loc", "__stop_mcount_loc", "__mcount_loc", &t))
		return;
	for (uint32_t off = 0; off + 4 <= t.size; off += 4)
		verify_rewritten_add(src, word_at(t.bytes + off), 5);
}

/* Length of the jump-label site at va: a NOP or a jump of 5 or 2 bytes. 0: cannot be one. */
static uint32_t jump_label_len(const struct verify_source *src, uint32_t va)
{
	static const uint8_t nop5[] = {0x0f, 0x1f, 0x44, 0x00, 0x00},
			     nop5_old[] = {0x3e, 0x8d, 0x74, 0x26, 0x00};
	const struct verify_text *t = verify_text_at(src, va);
	const uint8_t *p;

	if (!t || t->size - (va - t->va) < 5)
		return 0;
	p = t->bytes + (va - t->va);
	if (!memcmp(p, nop5, 5) || !memcmp(p, nop5_old, 5) || p[0] == 0xe9)
		return 5;
	return p[0] == 0xeb || (p[0] == 0x66 && p[1] == 0x90) ? 2 : 0;
}

/* Static keys live in data, much of it .bss. */
static bool is_data(const struct verify_source *src, uint32_t va)
{
	for (size_t i = 0; i < src->img->n_sections; i++) {
		const struct image_section *s = &src->img->sections[i];

		if (s->alloc && !s->exec && va >= s->va && va - s->va < s->size)
			return true;
	}
	return false;
}

static bool jump_entry_plausible(const struct verify_source *src, const struct table *t, uint32_t off)
{
	uint32_t key = prel(t, off + 8) & ~3u; /* bits 0 and 1 are flags */

	return word_at(t->bytes + off) && jump_label_len(src, prel(t, off)) &&
	       verify_text_at(src, prel(t, off + 4)) && is_data(src, key);
}

static void jump_entry_add(struct verify_source *src, const struct table *t, uint32_t off)
{
	uint32_t site = prel(t, off);

	verify_target_add(src, site, VT_JUMP_LABEL);
	verify_rewritten_add(src, site, jump_label_len(src, site));
	verify_target_add(src, prel(t, off + 4), VT_JUMP_LABEL);
}

/*
 * The table lies inside .data or .rodata, and a kernel without CONFIG_KALLSYMS_ALL has no symbol for it. Its
 * entries (code, target, key, each PC-relative) betray themselves: code is a jump-sized NOP or jump in the text.
 * Taken where three in a row fit; that never happens by chance.
 */
static void jump_labels_scan(struct verify_source *src, const struct image_section *s)
{
	struct table t = {.va = s->va, .size = s->size, .bytes = s->data};
	uint32_t off = -t.va & 3;

	while (off + 36 <= t.size) {
		if (!jump_entry_plausible(src, &t, off) || !jump_entry_plausible(src, &t, off + 12) ||
		    !jump_entry_plausible(src, &t, off + 24)) {
			off += 4;
			continue;
		}
		for (; off + 12 <= t.size && jump_entry_plausible(src, &t, off); off += 12)
			jump_entry_add(src, &t, off);
	}
}

/* Sections that hold nothing but records of another kind, whose fields may look like ours. */
static bool is_other_table(const char *name)
{
	static const char *const names[] = {".altinstructions", ".parainstructions", ".smp_locks",
					    "__ex_table",	"__bug_table",	     "__ksymtab",
					    "__ksymtab_gpl",	".pci_fixup",	     "__param"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static void jump_labels_add(struct verify_source *src)
{
	struct table t;

	if (find_table(src, "__start___jump_table", "__stop___jump_table", "__jump_table", &t)) {
		for (uint32_t off = 0; off + 12 <= t.size; off += 12)
			jump_entry_add(src, &t, off);
		return;
	}
	for (size_t i = 0; i < src->img->n_sections; i++) {
		const struct image_section *s = &src->img->sections[i];

		if (s->data && s->alloc && !s->exec && s->size < UINT32_MAX && !is_other_table(s->name))
			jump_labels_scan(src, s);
	}
}

int verify_targets_collect(struct verify_source *src, struct diag *d)
{
	const struct image *img = src->img;

	(void)d;
	absolute_add(src, img->entry, VT_ENTRY);
	symbols_add(src);
	src->have_relocs = img->container == IMAGE_MODULE ? module_relocs(src) : appended_relocs(src);
	if (img->container != IMAGE_MODULE && section_relocs(src))
		src->have_relocs = true;
	if (!src->have_relocs)
		data_words(src);
	extable_add(src);
	alternatives_add(src);
	paravirt_add(src);
	smp_locks_add(src);
	bugs_add(src);
	static_calls_add(src);
	ftrace_add(src);
	jump_labels_add(src);
	prel_table_add(src, "__start___ksymtab", "__stop___ksymtab", "__ksymtab", 12, 0, VT_KSYMTAB);
	prel_table_add(src, "__start___ksymtab_gpl", "__stop___ksymtab_gpl", "__ksymtab_gpl", 12, 0,
		       VT_KSYMTAB);
	prel_table_add(src, "__start_pci_fixups_early", "__end_pci_fixups_suspend_late", ".pci_fixup", 16, 12,
		       VT_PCI_FIXUP);
	prel_table_add(src, "__initcall_start", "__initcall_end", NULL, 4, 0, VT_INITCALL);
	prel_table_add(src, "__con_initcall_start", "__con_initcall_end", NULL, 4, 0, VT_INITCALL);
	return 0;
}
