// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A patched module: the source, signature apart, with a plan behind it that the guest's loader puts into memory and
 * that the monitor carries out there. So there is first the file: every byte of the source is where it was, added are
 * the plans, the relocations by which a plan knows where its sections are, and the undo record, and nothing else. Then
 * the plan: it is carried out on the module's image, with the monitor's emitter, and what comes of that is judged like
 * a patched kernel. Last, every byte that would run directly: the plan's instruction starts are LLVM's.
 *
 * Relocations of the source only change operands, never lengths, so that a proof at made-up addresses holds at all.
 */
#include <stdlib.h>
#include <string.h>

#include "hypercalls/abi.h"
#include "patcher/module_lay.h"
#include "patcher/verify_elf_read.h"

#define UNDO_SECTION ".paravane.undo"
#define NAMES_SECTION ".paravane.shstrtab"
#define UNDO_FIXED (sizeof(Elf32_Ehdr) + 4 + 32) /* header, size, SHA-256 of the source; then the signature */

/* --- the file ---------------------------------------------------------------------------------------------- */

static void check_header(struct verify_ctx *c, const struct verify_elf *s, const struct verify_elf *o)
{
	Elf32_Ehdr was = s->eh, now = o->eh;

	was.e_shoff = now.e_shoff = 0;
	was.e_shnum = now.e_shnum = 0;
	was.e_shstrndx = now.e_shstrndx = 0;
	if (memcmp(&was, &now, sizeof(was)))
		verify_fail(c, 0, "the ELF header differs from the source's");
	if (o->size < s->size ||
	    memcmp(o->bytes + sizeof(was), s->bytes + sizeof(was), s->size - sizeof(was)))
		verify_fail(c, 0, "the bytes of the source are not where they were");
	else if (o->eh.e_shoff < s->size)
		verify_fail(c, 0, "the section headers do not stand behind the source's bytes");
	c->r->bytes_checked += s->size;
}

struct added { /* a section that patching may add */
	const char *name;
	Elf32_Word type, flags, align, entsize;
};

static const struct added added[] = {
    /* clang-format off */
	{MODULE_PLAN_SECTION,		      SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, MODULE_PLAN_ALIGN, 0},
	{MODULE_PLAN_INIT_SECTION,	      SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, MODULE_PLAN_ALIGN, 0},
	{".rel" MODULE_PLAN_SECTION,	      SHT_REL,	    SHF_INFO_LINK, 4, sizeof(Elf32_Rel)},
	{".rel" MODULE_PLAN_INIT_SECTION,     SHT_REL,	    SHF_INFO_LINK, 4, sizeof(Elf32_Rel)},
	{UNDO_SECTION,			      SHT_PROGBITS, 0, 4, 0},
	{NAMES_SECTION,			      SHT_STRTAB,   0, 1, 0},
    /* clang-format on */
};

/* Does it share bytes with another section that was added, or with the section headers? */
static bool overlaps(const struct verify_elf *s, const struct verify_elf *o, unsigned i)
{
	Elf32_Shdr sh = verify_elf_section(o, i);
	size_t end = (size_t)sh.sh_offset + sh.sh_size, table = o->eh.e_shoff;

	for (unsigned k = s->eh.e_shnum; k < o->eh.e_shnum; k++) {
		Elf32_Shdr other = verify_elf_section(o, k);

		if (k != i && sh.sh_offset < (size_t)other.sh_offset + other.sh_size && other.sh_offset < end)
			return true;
	}
	return sh.sh_offset < table + o->eh.e_shnum * sizeof(sh) && table < end;
}

static void check_added(struct verify_ctx *c, const struct verify_elf *s, const struct verify_elf *o,
			unsigned i)
{
	Elf32_Shdr sh = verify_elf_section(o, i), once;
	const char *name = verify_elf_name(o, &sh);

	for (size_t k = 0; k < sizeof(added) / sizeof(*added); k++) {
		const struct added *a = &added[k];

		if (strcmp(name, a->name))
			continue;
		if (sh.sh_type != a->type || sh.sh_flags != a->flags || sh.sh_addralign != a->align ||
		    sh.sh_entsize != a->entsize || sh.sh_addr || sh.sh_offset < s->size ||
		    (a->type != SHT_REL && (sh.sh_link || sh.sh_info)) || (sh.sh_offset & (a->align - 1)))
			verify_fail(c, 0, "section %s: wrong type, flags, place or links", name);
		if (overlaps(s, o, i))
			verify_fail(c, 0, "section %s overlaps another one that was added", name);
		verify_elf_find(c, o, name, &once);
		return;
	}
	verify_fail(c, 0, "section header %u (%s) is neither the source's nor ours", i, name);
}

static bool check_sections(struct verify_ctx *c, const struct verify_elf *s, const struct verify_elf *o)
{
	Elf32_Shdr names;

	if (o->eh.e_shnum < s->eh.e_shnum) {
		verify_fail(c, 0, "section headers are missing");
		return false;
	}
	for (unsigned i = 0; i < o->eh.e_shnum; i++) {
		Elf32_Shdr was, now = verify_elf_section(o, i);

		if (i >= s->eh.e_shnum) {
			check_added(c, s, o, i);
			continue;
		}
		was = verify_elf_section(s, i);
		if (memcmp(&was, &now, sizeof(was)) ||
		    strcmp(verify_elf_name(s, &was), verify_elf_name(o, &now)))
			verify_fail(c, 0, "section header %u (%s) differs from the source's", i,
				    verify_elf_name(s, &was));
	}
	names = verify_elf_section(o, o->eh.e_shstrndx);
	if (strcmp(verify_elf_name(o, &names), NAMES_SECTION))
		verify_fail(c, 0, "the table of section names is not %s", NAMES_SECTION);
	return true;
}

/* Is the recorded hash that of the source's ELF with the recorded signature behind it? */
static bool undo_digest_holds(struct verify_ctx *c, const struct verify_elf *s, const uint8_t *undo,
			      size_t size)
{
	uint8_t digest[32], *whole = malloc(s->size + size - UNDO_FIXED);

	if (!whole) {
		c->nomem = true;
		return true;
	}
	memcpy(whole, s->bytes, s->size);
	memcpy(whole + s->size, undo + UNDO_FIXED, size - UNDO_FIXED);
	verify_digest(digest, whole, s->size + size - UNDO_FIXED);
	free(whole);
	return !memcmp(digest, undo + sizeof(Elf32_Ehdr) + 4, sizeof(digest));
}

static void check_undo(struct verify_ctx *c, const struct verify_elf *s, const struct verify_elf *o)
{
	uint32_t size = (uint32_t)s->size;
	Elf32_Shdr sh;

	if (!verify_elf_find(c, o, UNDO_SECTION, &sh) || sh.sh_size < UNDO_FIXED ||
	    memcmp(o->bytes + sh.sh_offset, s->bytes, sizeof(Elf32_Ehdr)) ||
	    memcmp(o->bytes + sh.sh_offset + sizeof(Elf32_Ehdr), &size, 4) ||
	    !undo_digest_holds(c, s, o->bytes + sh.sh_offset, sh.sh_size))
		verify_fail(c, 0, "section %s is not the source's ELF header, size, hash and signature",
			    UNDO_SECTION);
}

/* --- the plans --------------------------------------------------------------------------------------------- */

/* The image has the loaded sections in the order of the file. */
static const struct image_section *image_section(const struct verify_ctx *c, const struct verify_elf *s,
						 unsigned index)
{
	size_t n = 0;

	for (unsigned i = 1; i < s->eh.e_shnum; i++) {
		Elf32_Shdr sh = verify_elf_section(s, i);

		if (!(sh.sh_flags & SHF_ALLOC) || sh.sh_type == SHT_NULL || !sh.sh_size)
			continue;
		if (i == index)
			return n < c->src->img->n_sections && c->src->img->sections[n].size == sh.sh_size
				   ? &c->src->img->sections[n]
				   : NULL;
		n++;
	}
	return NULL;
}

/* What the loader will make of a relocation: the section that the word leads to the start of. */
static const struct image_section *section_meant(struct verify_ctx *c, const struct verify_elf *s,
						 const Elf32_Shdr *table, const Elf32_Rel *rel, uint32_t word)
{
	Elf32_Sym sym;
	uint32_t index = ELF32_R_SYM(rel->r_info);

	if (ELF32_R_TYPE(rel->r_info) != R_386_PC32 || index >= table->sh_size / sizeof(sym))
		return NULL;
	memcpy(&sym, s->bytes + table->sh_offset + index * sizeof(sym), sizeof(sym));
	return sym.st_value + word == 0 ? image_section(c, s, sym.st_shndx) : NULL;
}

static void read_links(struct verify_ctx *c, const struct verify_elf *s, const struct verify_elf *o,
		       const char *rel_name, unsigned plan_index, struct module_plan_read *plan)
{
	const struct module_plan_section *p = (const void *)(plan->bytes + sizeof(struct module_plan_header));
	struct module_plan_header h;
	Elf32_Shdr rels, table;
	Elf32_Rel rel;

	memcpy(&h, plan->bytes, sizeof(h));
	if (!verify_elf_find(c, o, rel_name, &rels) || rels.sh_size != h.n_sections * sizeof(rel) ||
	    rels.sh_info != plan_index || rels.sh_link >= s->eh.e_shnum) {
		verify_fail(c, 0, "section %s: not one relocation for each section of the plan", rel_name);
		return;
	}
	table = verify_elf_section(s, rels.sh_link);
	if (table.sh_type != SHT_SYMTAB || !verify_elf_holds(s, table.sh_offset, table.sh_size)) {
		verify_fail(c, 0, "section %s: its symbols are not the module's", rel_name);
		return;
	}
	for (uint32_t i = 0; i < h.n_sections; i++) {
		memcpy(&rel, o->bytes + rels.sh_offset + i * sizeof(rel), sizeof(rel));
		if (rel.r_offset == (uint32_t)((const uint8_t *)&p[i].start - plan->bytes))
			plan->sections[i] = section_meant(c, s, &table, &rel, p[i].start);
		if (!plan->sections[i] || plan->sections[i]->size != p[i].size || !plan->sections[i]->exec)
			verify_fail(
			    c, 0,
			    "%s: section %u of the plan: the relocation does not lead to code of its size",
			    rel_name, i);
	}
}

static bool read_plan(struct verify_ctx *c, const struct verify_elf *s, const struct verify_elf *o,
		      const char *name, const char *rel_name, struct module_plan_read *plan)
{
	size_t failures = c->r->failures;
	struct diag why = {""};
	unsigned index = s->eh.e_shnum;
	Elf32_Shdr sh;

	if (!verify_elf_find(c, o, name, &sh)) {
		if (verify_elf_find(c, o, rel_name, &sh))
			verify_fail(c, 0, "section %s without %s", rel_name, name);
		return c->r->failures == failures;
	}
	plan->bytes = o->bytes + sh.sh_offset;
	plan->size = sh.sh_size;
	if (sh.sh_offset & 3 || module_plan_check(plan->bytes, plan->size, &why)) {
		verify_fail(c, 0, "section %s: %s", name, why.text);
		return false;
	}
	for (; index < o->eh.e_shnum; index++) {
		Elf32_Shdr other = verify_elf_section(o, index);

		if (other.sh_offset == sh.sh_offset && !strcmp(verify_elf_name(o, &other), name))
			break;
	}
	read_links(c, s, o, rel_name, index, plan);
	return c->r->failures == failures;
}

/* All code is in a plan, once, and in the one that the loader puts beside it. */
static void check_cover(struct verify_ctx *c, const struct module_plan_read plans[2])
{
	for (size_t i = 0; i < c->src->n_text; i++) {
		const struct verify_text *t = &c->src->text[i];
		bool init = !strncmp(t->name, ".init", 5);
		unsigned n[2] = {0, 0};

		for (int p = 0; p < 2; p++)
			for (unsigned k = 0;
			     plans[p].bytes && k < MODULE_PLAN_SECTIONS && plans[p].sections[k]; k++)
				n[p] += plans[p].sections[k]->va == t->va;
		if (t->replacement ? n[0] + n[1] : n[init] != 1 || n[!init])
			verify_fail(c, t->va, "section %s: not once in the plan that belongs to it", t->name);
	}
}

/* --- judging ----------------------------------------------------------------------------------------------- */

static bool lay(struct verify_ctx *c, const struct module_plan_read plans[2])
{
	struct module_laid *laid = calloc(1, sizeof(*laid));
	struct diag why = {""};

	if (!laid) {
		c->nomem = true;
		return false;
	}
	if (module_lay(laid, c->src->img, plans, &why)) {
		verify_fail(c, 0, "the plan cannot be carried out: %s", why.text);
		free(laid);
		return false;
	}
	c->laid = laid;
	c->m = laid->m;
	c->stubs = laid->stubs;
	c->stubs_va = laid->m.h.hole_base + ABI_STUBS;
	c->out = laid->image;
	c->out_size = c->src->img->elf_size;
	return true;
}

bool verify_module_open(struct verify_ctx *c)
{
	const struct image *img = c->src->img;
	struct module_plan_read plans[2] = {{0}};
	struct verify_elf s, o;
	Elf32_Shdr undo;

	if (!verify_elf_read(&s, img->file, img->file_size)) {
		verify_fail(c, 0, "the source is not a 32-bit ELF that can be patched");
		return false;
	}
	if (!verify_elf_read(&o, c->out, c->out_size)) {
		verify_fail(c, 0, "not a well-formed 32-bit ELF file");
		return false;
	}
	if (!verify_elf_find(c, &o, UNDO_SECTION, &undo)) {
		verify_fail(c, 0, "no section %s: not a module that paravane patched", UNDO_SECTION);
		return false;
	}
	check_header(c, &s, &o);
	if (!check_sections(c, &s, &o))
		return false;
	check_undo(c, &s, &o);
	verify_elf_tail(c, &o, s.size);
	if (!read_plan(c, &s, &o, MODULE_PLAN_SECTION, ".rel" MODULE_PLAN_SECTION, &plans[0]) ||
	    !read_plan(c, &s, &o, MODULE_PLAN_INIT_SECTION, ".rel" MODULE_PLAN_INIT_SECTION, &plans[1]))
		return false;
	check_cover(c, plans);
	return !c->r->failures && lay(c, plans);
}

/* The plan's starts come out of it as sites and windows only where they matter; here each is looked at. */
void verify_module_bytes(struct verify_ctx *c)
{
	for (uint32_t i = 0; i < c->m.h.n_verified; i++) {
		const struct manifest_range *v = &c->m.verified[i];

		for (uint32_t va = v->start; va < v->end; va++)
			verify_byte(c, va, c->laid->starts[va - (uint32_t)image_module_base(32)]);
		c->r->bytes_checked += v->end - v->start;
	}
}

void verify_module_free(struct verify_ctx *c)
{
	module_laid_free(c->laid);
	free(c->laid);
}
