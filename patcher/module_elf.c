// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The patched module's ELF. The bytes of the source stay where they are, signature apart; behind them come the plans
 * (SHF_ALLOC and SHF_EXECINSTR, so that Linux puts them beside the code that they are about), relocations by which the
 * loader writes into each how far away that code is, and the undo record.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/module_plan.h"
#include "patcher/elf_append.h"
#include "patcher/module_patch.h"
#include "patcher/patch.h"

_Static_assert(sizeof(Elf32_Ehdr) == MODULE_UNDO_SIZE, "the undo record");

/* image_load_module() has looked at all of these headers, and finds nothing wrong with a module that gets here. */
static Elf32_Shdr section(const struct image *img, unsigned i)
{
	Elf32_Ehdr eh;
	Elf32_Shdr sh;

	memcpy(&eh, img->file, sizeof(eh));
	memcpy(&sh, img->file + eh.e_shoff + i * sizeof(sh), sizeof(sh));
	return sh;
}

static unsigned section_count(const struct image *img)
{
	Elf32_Ehdr eh;

	memcpy(&eh, img->file, sizeof(eh));
	return eh.e_shnum;
}

/* Its index in the file: loaded sections keep their order. */
static unsigned index_of(const struct image *img, const struct image_section *sec)
{
	size_t want = (size_t)(sec - img->sections), n = 0;

	for (unsigned i = 1; i < section_count(img); i++) {
		Elf32_Shdr sh = section(img, i);

		if (sh.sh_flags & SHF_ALLOC && sh.sh_type != SHT_NULL && sh.sh_size && n++ == want)
			return sh.sh_size == sec->size ? i : 0;
	}
	return 0;
}

static unsigned symbol_table(const struct image *img, Elf32_Shdr *sh)
{
	for (unsigned i = 1; i < section_count(img); i++) {
		*sh = section(img, i);
		if (sh->sh_type == SHT_SYMTAB)
			return i;
	}
	return 0;
}

int module_elf_ref(const struct image *img, const struct image_section *sec, struct module_ref *ref)
{
	unsigned index = index_of(img, sec);
	Elf32_Shdr table;
	Elf32_Sym sym;

	if (!index || !symbol_table(img, &table))
		return -ENOENT;
	for (uint32_t i = 1; i < table.sh_size / sizeof(sym); i++) {
		memcpy(&sym, img->file + table.sh_offset + i * sizeof(sym), sizeof(sym));
		if (sym.st_shndx != index || ELF32_ST_TYPE(sym.st_info) == STT_FILE)
			continue;
		*ref = (struct module_ref){.symbol = i, .value = sym.st_value};
		return 0;
	}
	return -ENOENT;
}

/* The loader adds the symbol's address, less the place's, to what stands there: minus the symbol's value. */
static int make_relocations(const struct image *img, const struct cfg *cfg,
			    const struct module_plan_image *plan, Elf32_Rel *rel, struct diag *d)
{
	struct module_plan_section *s = (void *)(plan->bytes + sizeof(struct module_plan_header));

	for (size_t i = 0; i < plan->n_sections; i++) {
		const struct image_section *sec = cfg->sections[plan->sections[i]].sec;
		struct module_ref ref;

		if (module_elf_ref(img, sec, &ref))
			return diag_set(d, -ENOTSUP,
					"%s: section %s: no symbol in it that a relocation could name",
					img->path, sec->name);
		s[i].start = -ref.value;
		rel[i] = (Elf32_Rel){.r_offset = (uint32_t)((uint8_t *)&s[i].start - plan->bytes),
				     .r_info = ELF32_R_INFO(ref.symbol, R_386_PC32)};
	}
	return 0;
}

static int add_plan(struct elf_append *o, const struct image *img, const struct cfg *cfg,
		    const struct module_plan_image *plan, const char *name, const char *rel_name,
		    struct diag *d)
{
	Elf32_Shdr alloc = {.sh_type = SHT_PROGBITS, .sh_flags = SHF_ALLOC | SHF_EXECINSTR}, table;
	Elf32_Shdr relocations = {.sh_type = SHT_REL,
				  .sh_flags = SHF_INFO_LINK,
				  .sh_link = symbol_table(img, &table),
				  .sh_info = o->n_old + o->n_new,
				  .sh_entsize = sizeof(Elf32_Rel)};
	Elf32_Rel rel[MODULE_PLAN_SECTIONS];
	int err = make_relocations(img, cfg, plan, rel, d);

	if (!err)
		err = elf_append_section(o, name, plan->bytes, plan->size, MODULE_PLAN_ALIGN, &alloc);
	if (!err)
		err = elf_append_section(o, rel_name, rel, plan->n_sections * sizeof(*rel), 4, &relocations);
	return err;
}

/* The old ELF header, the size of the ELF, the hash of the source, and what followed the ELF in it. */
static int add_undo(struct elf_append *o, const struct image *img, const uint8_t *tail, size_t tail_size)
{
	uint32_t elf_size = (uint32_t)img->file_size;
	size_t size = MODULE_UNDO_TAIL + tail_size;
	uint8_t *undo = malloc(size);
	Elf32_Shdr data = {.sh_type = SHT_PROGBITS};
	int err;

	if (!undo)
		return -ENOMEM;
	memcpy(undo, img->file, sizeof(Elf32_Ehdr));
	memcpy(undo + MODULE_UNDO_SIZE, &elf_size, sizeof(elf_size));
	module_source_digest(undo + MODULE_UNDO_DIGEST, img->file, img->file_size, tail, tail_size);
	if (tail_size)
		memcpy(undo + MODULE_UNDO_TAIL, tail, tail_size);
	err = elf_append_section(o, PATCH_UNDO_SECTION, undo, size, 4, &data);
	free(undo);
	return err;
}

int module_elf_write(const struct image *img, const struct cfg *cfg, const struct module_plan_image plans[2],
		     const uint8_t *tail, size_t tail_size, uint8_t **out, size_t *out_size, struct diag *d)
{
	struct elf_append o;
	int err = elf_append_start(&o, img->file, img->file_size);

	if (!err && plans[0].bytes)
		err = add_plan(&o, img, cfg, &plans[0], MODULE_PLAN_SECTION, ".rel" MODULE_PLAN_SECTION, d);
	if (!err && plans[1].bytes)
		err = add_plan(&o, img, cfg, &plans[1], MODULE_PLAN_INIT_SECTION,
			       ".rel" MODULE_PLAN_INIT_SECTION, d);
	if (!err)
		err = add_undo(&o, img, tail, tail_size);
	if (!err)
		err = elf_append_finish(&o);
	if (!err) {
		*out = o.bytes;
		*out_size = o.size;
		o.bytes = NULL;
	}
	elf_append_free(&o);
	return err ? diag_set(d, err, "%s: %s", img->path, strerror(-err)) : 0;
}
