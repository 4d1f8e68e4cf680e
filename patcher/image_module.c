// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Kernel modules: relocatable ELF files (System V ABI 4, chapter 4; the i386 and x86-64 supplements name the
 * relocations). Linux's own loader (kernel/module/main.c, arch/x86/kernel/module.c) puts the SHF_ALLOC sections
 * somewhere and applies the relocations; the same is done here at made-up addresses, so that branches, tables and
 * symbols mean what they will mean. A module that is damaged in one place is still read everywhere else.
 */
#include <errno.h>
#include <gelf.h>
#include <stdlib.h>

#include "patcher/image_internal.h"

#define SECTIONS_MAX 20000
#define SYMBOL_NAME_MAX 1024
#define SPACE_MAX ((uint64_t)224 << 20) /* below the end of a 32-bit address space, for both widths */
#define SECTION_GAP 16			/* keeps the end of a section apart from the next one's start */
#define UNDEFINED_STEP 16
#define UNDEFINED_ROOM 65536 /* behind the last one: elements of an array of the kernel */

struct section {
	GElf_Shdr sh;
	const char *name;
	uint64_t va;
	uint8_t *data; /* in img->elf, relocated; NULL for .bss */
	bool placed;
};

struct symbol {
	uint64_t va;
	bool known; /* else a relocation that names it cannot be applied */
};

struct module {
	struct image *img;
	Elf *elf;
	struct section *sections;
	size_t n_sections, symtab; /* its index, 0 without */
	struct symbol *symbols;
	size_t n_symbols;
	uint64_t end; /* first free notional address */
	size_t relocs_cap;
	bool damaged;
};

#define damage(m, ...)                                                                                       \
	do {                                                                                                 \
		image_note((m)->img, __VA_ARGS__);                                                           \
		(m)->damaged = true;                                                                         \
	} while (0)

static int no_memory(const struct module *m, struct diag *d)
{
	return diag_set(d, -ENOMEM, "%s: out of memory", m->img->path);
}

static int check_header(struct module *m, struct diag *d)
{
	struct image *img = m->img;
	const uint8_t *id = img->file;
	GElf_Ehdr eh;

	if (!m->elf || elf_kind(m->elf) != ELF_K_ELF || !gelf_getehdr(m->elf, &eh))
		return diag_set(d, -EINVAL, "%s: ELF header: missing, cut off or damaged", img->path);
	if (id[EI_DATA] != ELFDATA2LSB || (eh.e_machine == EM_386) != (id[EI_CLASS] == ELFCLASS32) ||
	    (eh.e_machine == EM_X86_64) != (id[EI_CLASS] == ELFCLASS64))
		return diag_set(d, -ENOTSUP,
				"%s: ELF header: machine %u, class %u is neither i386 nor x86-64", img->path,
				eh.e_machine, id[EI_CLASS]);
	if (eh.e_type != ET_REL)
		return diag_set(d, -ENOTSUP,
				"%s: ELF header: type %u is not a relocatable file, so no module", img->path,
				eh.e_type);
	img->width = eh.e_machine == EM_X86_64 ? 64 : 32;
	if (!eh.e_shoff || elf_getshdrnum(m->elf, &m->n_sections) || m->n_sections < 2)
		return diag_set(d, -EINVAL,
				"%s: section headers at 0x%llx: unreadable; the file is cut off or damaged",
				img->path, (unsigned long long)eh.e_shoff);
	if (m->n_sections > SECTIONS_MAX)
		return diag_set(d, -EFBIG, "%s: %zu sections: no module has that many", img->path,
				m->n_sections);
	return 0;
}

/* The string at an offset of a string table, or "" where there is none. */
static const char *string_at(const struct module *m, size_t table, size_t offset)
{
	const GElf_Shdr *sh = table < m->n_sections ? &m->sections[table].sh : NULL;
	const struct image *img = m->img;
	const char *s;

	if (!sh || sh->sh_type != SHT_STRTAB || sh->sh_offset > img->file_size ||
	    sh->sh_size > img->file_size - sh->sh_offset || offset >= sh->sh_size)
		return "";
	s = (const char *)img->file + sh->sh_offset + offset;
	return memchr(s, 0, sh->sh_size - offset) ? s : "";
}

static int read_headers(struct module *m, struct diag *d)
{
	size_t names = 0;

	m->sections = calloc(m->n_sections, sizeof(*m->sections));
	if (!m->sections)
		return no_memory(m, d);
	for (size_t i = 1; i < m->n_sections; i++) {
		Elf_Scn *scn = elf_getscn(m->elf, i);

		if (!scn || !gelf_getshdr(scn, &m->sections[i].sh)) {
			damage(m, "section header %zu: unreadable", i);
			m->sections[i].sh = (GElf_Shdr){0};
		}
	}
	if (elf_getshdrstrndx(m->elf, &names))
		damage(m, "section headers: no names");
	for (size_t i = 1; i < m->n_sections; i++) {
		m->sections[i].name = string_at(m, names, m->sections[i].sh.sh_name);
		if (m->sections[i].sh.sh_type == SHT_SYMTAB && !m->symtab)
			m->symtab = i;
	}
	return 0;
}

static bool bytes_in_file(const struct module *m, const struct section *s)
{
	return s->sh.sh_type == SHT_NOBITS ||
	       (s->sh.sh_offset <= m->img->file_size && s->sh.sh_size <= m->img->file_size - s->sh.sh_offset);
}

/* Addresses for all sections that are loaded; *bytes receives how much room their contents take. */
static void place_sections(struct module *m, size_t *bytes)
{
	uint64_t base = image_module_base(m->img->width), at = base;

	*bytes = 0;
	for (size_t i = 1; i < m->n_sections; i++) {
		struct section *s = &m->sections[i];
		uint64_t align = s->sh.sh_addralign;

		if (!(s->sh.sh_flags & SHF_ALLOC) || s->sh.sh_type == SHT_NULL)
			continue;
		if (!bytes_in_file(m, s)) {
			damage(m,
			       "section %zu (%s): 0x%llx bytes at 0x%llx pass the end of the file (0x%zx); "
			       "left out",
			       i, s->name, (unsigned long long)s->sh.sh_size,
			       (unsigned long long)s->sh.sh_offset, m->img->file_size);
			continue;
		}
		if (align < SECTION_GAP || align > 4096 || align & (align - 1))
			align = SECTION_GAP;
		s->va = (at + align - 1) & ~(align - 1);
		/* Sections of a sound file do not overlap, so all of them together are no larger than it. */
		if (s->sh.sh_size > SPACE_MAX - (s->va - base) ||
		    (s->sh.sh_type != SHT_NOBITS && s->sh.sh_size > m->img->file_size - *bytes)) {
			damage(m, "section %zu (%s): 0x%llx bytes are more than a module can have; left out",
			       i, s->name, (unsigned long long)s->sh.sh_size);
			continue;
		}
		s->placed = true;
		at = s->va + s->sh.sh_size + SECTION_GAP;
		if (s->sh.sh_type != SHT_NOBITS)
			*bytes += s->sh.sh_size;
	}
	m->end = (at + 4095) & ~(uint64_t)4095;
}

static int load_sections(struct module *m, struct diag *d)
{
	struct image *img = m->img;
	size_t bytes, done = 0;

	place_sections(m, &bytes);
	img->elf = malloc(bytes + 1);
	if (!img->elf)
		return no_memory(m, d);
	img->elf_size = bytes;
	for (size_t i = 1; i < m->n_sections; i++) {
		struct section *s = &m->sections[i];
		struct image_section sec = {.va = s->va,
					    .size = s->sh.sh_size,
					    .offset = done,
					    .exec = s->sh.sh_flags & SHF_EXECINSTR,
					    .write = s->sh.sh_flags & SHF_WRITE,
					    .alloc = true};

		if (!s->placed || !s->sh.sh_size)
			continue;
		if (s->sh.sh_type != SHT_NOBITS) {
			s->data = img->elf + done;
			memcpy(s->data, img->file + s->sh.sh_offset, s->sh.sh_size);
			done += s->sh.sh_size;
		}
		sec.data = s->data;
		if (image_add_section(img, &sec, s->name))
			return no_memory(m, d);
	}
	return 0;
}

/* --- symbols --- */

static char symbol_letter(const struct section *s, const GElf_Sym *sym)
{
	bool local = GELF_ST_BIND(sym->st_info) == STB_LOCAL;

	if (GELF_ST_BIND(sym->st_info) == STB_WEAK)
		return 'W';
	if (s->sh.sh_flags & SHF_EXECINSTR)
		return local ? 't' : 'T';
	return local ? 'd' : 'D';
}

/* Does it name a place in the module, for people and for branches? */
static bool symbol_wanted(const GElf_Sym *sym, const char *name)
{
	unsigned type = GELF_ST_TYPE(sym->st_info);

	return *name && type != STT_SECTION && type != STT_FILE && strncmp(name, ".L", 2) &&
	       strnlen(name, SYMBOL_NAME_MAX) < SYMBOL_NAME_MAX;
}

/* What the kernel exports gets an address of its own, where nothing of the module is. */
static struct symbol place_undefined(struct module *m)
{
	uint64_t va = m->end;

	if (va - image_module_base(m->img->width) >= SPACE_MAX)
		return (struct symbol){0};
	m->end += UNDEFINED_STEP;
	return (struct symbol){.va = va, .known = true};
}

static int define_symbol(struct module *m, const GElf_Sym *sym, struct symbol *out)
{
	const struct section *s = sym->st_shndx < m->n_sections ? &m->sections[sym->st_shndx] : NULL;
	const char *name;

	if (sym->st_shndx == SHN_UNDEF || sym->st_shndx == SHN_COMMON) {
		*out = place_undefined(m);
		return 0;
	}
	if (sym->st_shndx == SHN_ABS) {
		*out = (struct symbol){.va = sym->st_value, .known = true};
		return 0;
	}
	if (!s || (s->placed && sym->st_value > s->sh.sh_size)) {
		m->damaged = true;
		return -ENOENT;
	}
	if (!s->placed)
		return 0;
	*out = (struct symbol){.va = s->va + sym->st_value, .known = true};
	name = string_at(m, m->sections[m->symtab].sh.sh_link, sym->st_name);
	if (!symbol_wanted(sym, name))
		return 0;
	return image_add_symbol(m->img, out->va,
				sym->st_size <= s->sh.sh_size - sym->st_value ? sym->st_size : 0,
				symbol_letter(s, sym), strdup(name));
}

static int read_symbols(struct module *m, struct diag *d)
{
	Elf_Data *data = m->symtab ? elf_getdata(elf_getscn(m->elf, m->symtab), NULL) : NULL;
	uint64_t undefined = m->end;
	size_t bad = 0;
	GElf_Sym sym;

	if (!m->symtab || !data) {
		damage(m, "symbol table: %s", m->symtab ? "unreadable" : "none");
		return 0;
	}
	m->n_symbols = data->d_size / (m->img->width == 64 ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym));
	m->symbols = calloc(m->n_symbols + 1, sizeof(*m->symbols));
	if (!m->symbols)
		return no_memory(m, d);
	m->symbols[0] = (struct symbol){.known = true};
	for (size_t i = 1; i < m->n_symbols; i++) {
		int err = gelf_getsym(data, (int)i, &sym) ? define_symbol(m, &sym, &m->symbols[i]) : -ENOENT;

		if (err == -ENOMEM)
			return no_memory(m, d);
		bad += err != 0;
	}
	if (bad)
		damage(m, "symbol table: %zu of %zu symbols name no place in the file", bad, m->n_symbols);
	if (m->end > undefined) {
		struct image_section sec = {
		    .va = undefined, .size = m->end + UNDEFINED_ROOM - undefined, .alloc = true};

		if (image_add_section(m->img, &sec, "*UND*"))
			return no_memory(m, d);
	}
	m->img->symbol_source = m->img->n_symbols ? "symtab" : "none";
	image_sort_symbols(m->img);
	return 0;
}

/* --- relocations --- */

struct form {
	uint8_t size; /* bytes at the place; 0: nothing to do */
	bool relative, known;
};

static struct form form_of(int width, unsigned type)
{
	static const struct form i386[] = {[R_386_NONE] = {0, false, true},
					   [R_386_32] = {4, false, true},
					   [R_386_PC32] = {4, true, true},
					   [R_386_PLT32] = {4, true, true}};
	static const struct form amd64[] = {
	    [R_X86_64_NONE] = {0, false, true}, [R_X86_64_64] = {8, false, true},
	    [R_X86_64_PC32] = {4, true, true},	[R_X86_64_PLT32] = {4, true, true},
	    [R_X86_64_32] = {4, false, true},	[R_X86_64_32S] = {4, false, true},
	    [R_X86_64_PC64] = {8, true, true}};

	if (width == 32)
		return type < sizeof(i386) / sizeof(*i386) ? i386[type] : (struct form){0};
	return type < sizeof(amd64) / sizeof(*amd64) ? amd64[type] : (struct form){0};
}

static int remember_word(struct module *m, uint64_t va)
{
	struct image *img = m->img;

	if (img->n_relocs == m->relocs_cap) {
		size_t cap = m->relocs_cap ? 2 * m->relocs_cap : 1024;
		uint64_t *p = realloc(img->relocs, cap * sizeof(*p));

		if (!p)
			return -ENOMEM;
		img->relocs = p;
		m->relocs_cap = cap;
	}
	img->relocs[img->n_relocs++] = va;
	return 0;
}

static void put_word(uint8_t *p, unsigned size, uint64_t v)
{
	for (unsigned i = 0; i < size; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static int apply(struct module *m, struct section *s, const GElf_Rela *r, bool in_place)
{
	size_t index = GELF_R_SYM(r->r_info);
	struct form f = form_of(m->img->width, (unsigned)GELF_R_TYPE(r->r_info));
	uint64_t value, place = s->va + r->r_offset;
	uint8_t *p;

	if (!f.known || index >= m->n_symbols || !m->symbols[index].known)
		return -EINVAL;
	if (!f.size)
		return 0;
	if (!s->data || r->r_offset > s->sh.sh_size || s->sh.sh_size - r->r_offset < f.size)
		return -EINVAL;
	p = s->data + r->r_offset;
	value = m->symbols[index].va + (in_place ? (uint64_t)(int64_t)les32(p) : (uint64_t)r->r_addend);
	put_word(p, f.size, f.relative ? value - place : value);
	return f.relative ? 0 : remember_word(m, place);
}

static int relocate(struct module *m, size_t index, struct diag *d)
{
	const GElf_Shdr *sh = &m->sections[index].sh;
	Elf_Data *data = elf_getdata(elf_getscn(m->elf, index), NULL);
	struct section *s = sh->sh_info < m->n_sections ? &m->sections[sh->sh_info] : NULL;
	bool rela = sh->sh_type == SHT_RELA;
	size_t n = data && sh->sh_entsize ? data->d_size / sh->sh_entsize : 0, bad = 0;

	if (s && !(s->sh.sh_flags & SHF_ALLOC))
		return 0; /* debugging information */
	if (!s || (!data && sh->sh_size) || (sh->sh_size && !sh->sh_entsize)) {
		damage(m, "relocations %zu (%s): unreadable", index, m->sections[index].name);
		return 0;
	}
	if (!s->placed)
		return 0; /* noted already */
	for (size_t i = 0; i < n; i++) {
		GElf_Rela r = {0};
		GElf_Rel rel;
		int err = -EINVAL;

		if (rela && gelf_getrela(data, (int)i, &r)) {
			err = apply(m, s, &r, false);
		} else if (!rela && gelf_getrel(data, (int)i, &rel)) {
			r = (GElf_Rela){.r_offset = rel.r_offset, .r_info = rel.r_info};
			err = apply(m, s, &r, true);
		}
		if (err == -ENOMEM)
			return no_memory(m, d);
		bad += err != 0;
	}
	if (bad)
		damage(m, "relocations %zu (%s): %zu of %zu cannot be applied", index,
		       m->sections[index].name, bad, n);
	return 0;
}

static int compare_words(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int read_relocs(struct module *m, struct diag *d)
{
	int err = 0;

	for (size_t i = 1; i < m->n_sections && !err; i++)
		if (m->sections[i].sh.sh_type == SHT_REL || m->sections[i].sh.sh_type == SHT_RELA)
			err = relocate(m, i, d);
	if (!err && m->img->n_relocs)
		qsort(m->img->relocs, m->img->n_relocs, sizeof(*m->img->relocs), compare_words);
	return err;
}

int image_load_module(struct image *img, const char *path, uint8_t *bytes, size_t size, bool *damaged,
		      struct diag *d)
{
	struct module m = {.img = img};
	int err = 0;

	*img = (struct image){.container = IMAGE_MODULE,
			      .compression = "none",
			      .symbol_source = "none",
			      .sections_ordered = true,
			      .file = bytes,
			      .file_size = size,
			      .path = strdup(path)};
	if (!img->path || elf_version(EV_CURRENT) == EV_NONE)
		err = diag_set(d, -ENOMEM, "%s: out of memory", path);
	if (!err && size)
		m.elf = elf_memory((char *)bytes, size);
	if (!err)
		err = check_header(&m, d);
	if (!err)
		err = read_headers(&m, d);
	if (!err)
		err = load_sections(&m, d);
	if (!err)
		err = read_symbols(&m, d);
	if (!err)
		err = read_relocs(&m, d);
	elf_end(m.elf);
	free(m.sections);
	free(m.symbols);
	*damaged = m.damaged;
	if (err)
		image_free(img);
	return err;
}
