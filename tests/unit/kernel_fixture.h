// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A kernel image in miniature, built in memory: an ELF with the tables of Linux in the layouts of 6.1 (or,
 * for kallsyms, of other releases), a relocation list behind it, and a bzImage around it. Small enough to
 * mutate a thousand times. Everything is `static inline` because each test is one file.
 */
#ifndef TESTS_UNIT_KERNEL_FIXTURE_H
#define TESTS_UNIT_KERNEL_FIXTURE_H

#include <bzlib.h>
#include <elf.h>
#include <lz4.h>
#include <lzma.h>
#include <lzo/lzo1x.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define FX_FUNCTIONS 48
#define FX_FUNCTION_SIZE 32
#define FX_FENTRY (FX_FUNCTIONS * FX_FUNCTION_SIZE) /* offset of __fentry__ in .text */
#define FX_TRAMPOLINES (FX_FENTRY + 32)
#define FX_N_TRAMPOLINES 3
#define FX_TABLE 20 /* entries of each table, for functions 0 to 19 */
/* Offsets in each function. */
#define FX_LABEL 5 /* jump-label site: 5-byte NOP in even functions, JMP rel8 in odd ones */
#define FX_LOCK 10
#define FX_BUG 14
#define FX_EX_INSN 16
#define FX_EX_FIXUP 18
#define FX_ALT 20
#define FX_ALT_LEN 5
#define FX_CLI 25
#define FX_RET 26

enum fx_kallsyms { FX_KS_NONE, FX_KS_6_1, FX_KS_4_4, FX_KS_6_2, FX_KS_6_4, FX_KS_PERCPU };

enum fx_orc { FX_ORC_NONE, FX_ORC_4_14, FX_ORC_6_3, FX_ORC_6_4 };

struct fx_options {
	int width;
	enum fx_kallsyms kallsyms;
	bool symtab, boundary_symbols, no_sections, no_relocs, multiboot;
	bool rel_section; /* relocations as --emit-relocs leaves them, instead of the list */
	enum fx_orc orc;  /* of x86-64: the layout */
};

struct fx_section {
	const char *name;
	uint64_t va, flags;
	uint8_t *data;
	size_t size, offset;
};

struct fixture {
	struct fx_options o;
	struct fx_section s[24];
	int n;
	uint32_t relocs[256];
	size_t n_relocs;
	struct {
		char name[300];
		uint64_t va;
		char type;
	} symbols[FX_FUNCTIONS + 300];
	size_t n_symbols;
};

#define FX_SECTION_ROOM 0x4000

/* Bytes that happen to be spelled as a string, without its NUL. */
static inline void fx_copy(uint8_t *to, const char *bytes, size_t n)
{
	memcpy(to, bytes, n);
}

static inline uint64_t fx_base(const struct fixture *f)
{
	return f->o.width == 64 ? 0xffffffff81000000 : 0xc1000000;
}

static inline struct fx_section *fx_section(struct fixture *f, const char *name)
{
	for (int i = 0; i < f->n; i++)
		if (!strcmp(f->s[i].name, name))
			return &f->s[i];
	abort();
}

static inline void fx_add_section(struct fixture *f, const char *name, uint64_t flags)
{
	struct fx_section *s = &f->s[f->n];

	s->name = name;
	s->flags = flags | SHF_ALLOC;
	s->va = fx_base(f) + (uint64_t)f->n * FX_SECTION_ROOM;
	s->offset = 0x1000 + (size_t)f->n * FX_SECTION_ROOM;
	s->data = calloc(1, FX_SECTION_ROOM);
	f->n++;
}

static inline void fx_put(struct fx_section *s, uint64_t v, int bytes)
{
	if (s->size + bytes > FX_SECTION_ROOM)
		abort();
	for (int i = 0; i < bytes; i++)
		s->data[s->size++] = (uint8_t)(v >> 8 * i);
}

static inline void fx_align(struct fx_section *s, size_t to)
{
	while (s->size % to)
		fx_put(s, 0, 1);
}

static inline uint64_t fx_here(const struct fx_section *s)
{
	return s->va + s->size;
}

/* A word relative to its own place. */
static inline void fx_prel(struct fx_section *s, uint64_t target)
{
	fx_put(s, target - fx_here(s), 4);
}

static inline void fx_word(struct fixture *f, struct fx_section *s, uint64_t v)
{
	if (f->n_relocs < 256)
		f->relocs[f->n_relocs++] = (uint32_t)fx_here(s);
	fx_put(s, v, f->o.width / 8);
}

static inline uint64_t fx_function(struct fixture *f, int i)
{
	return fx_section(f, ".text")->va + (uint64_t)i * FX_FUNCTION_SIZE;
}

static inline void fx_symbol(struct fixture *f, uint64_t va, char type, const char *name)
{
	snprintf(f->symbols[f->n_symbols].name, sizeof(f->symbols[0].name), "%s", name);
	f->symbols[f->n_symbols].va = va;
	f->symbols[f->n_symbols++].type = type;
}

static inline void fx_text(struct fixture *f)
{
	struct fx_section *t = fx_section(f, ".text");
	char name[300];

	for (int i = 0; i < FX_FUNCTIONS; i++) {
		uint64_t va = fx_here(t);

		/* One name needs the two-byte length of kallsyms in 6.1. */
		snprintf(name, sizeof(name), i == 7 ? "long_%0180d" : "function_%d", i);
		fx_symbol(f, va, i % 2 ? 't' : 'T', name);
		fx_put(t, 0xe8, 1);
		fx_put(t, t->va + FX_FENTRY - (va + 5), 4);
		fx_put(t, i % 2 ? 0x90909004eb : 0x441f0f, 5);
		fx_put(t, 0x00c10ff0, 4); /* lock xadd %eax,(%eax) */
		fx_put(t, 0x0b0f, 2);
		fx_put(t, 0x008b, 2);
		fx_put(t, 0xc031, 2);
		fx_put(t, 0x9090909090, 5);
		fx_put(t, 0xfa, 1);
		fx_put(t, 0xc3, 1);
		fx_put(t, 0x9090909090, 5);
	}
	fx_symbol(f, fx_here(t), 'T', "__fentry__");
	fx_put(t, 0xc3, 1);
	while (t->size < FX_TRAMPOLINES)
		fx_put(t, 0x90, 1);
	for (int i = 0; i < FX_N_TRAMPOLINES; i++) {
		fx_put(t, 0xe9, 1);
		fx_put(t, fx_function(f, 30 + i) + FX_RET - (fx_here(t) + 4), 4);
		fx_put(t, 0xccb90f, 3);
	}
}

static inline void fx_tables(struct fixture *f)
{
	struct fx_section *ro = fx_section(f, ".rodata"), *init = fx_section(f, ".init.data");
	struct fx_section *data = fx_section(f, ".data"), *s;
	uint64_t a, b;

	for (int i = 0; i < 64; i++)
		fx_word(f, data, i % 16 ? 0x11 : fx_function(f, 20 + i / 16) + FX_CLI);
	for (int i = 0; i < 64; i++)
		fx_put(ro, 0x11, 1);
	a = fx_here(ro);
	for (int i = 0; i < FX_TABLE; i++) {
		fx_prel(ro, fx_function(f, i) + FX_LABEL);
		fx_prel(ro, fx_function(f, i) + 11);
		b = data->va - fx_here(ro) + 2;
		fx_put(ro, b, f->o.width / 8);
	}
	b = fx_here(ro);
	if (f->o.boundary_symbols) {
		fx_symbol(f, a, 'R', "__start___jump_table");
		fx_symbol(f, b, 'R', "__stop___jump_table");
	}
	for (int i = 0; i < 64; i++)
		fx_put(init, 0x22, 1);
	for (int i = 0; i < FX_TABLE; i++)
		fx_word(f, init, fx_function(f, i));
	for (int i = 0; i < FX_TABLE; i++)
		fx_prel(init, fx_function(f, i) + FX_RET);
	s = fx_section(f, "__ex_table");
	for (int i = 0; i < FX_TABLE; i++) {
		fx_prel(s, fx_function(f, i) + FX_EX_INSN);
		fx_prel(s, fx_function(f, i) + FX_EX_FIXUP);
		fx_put(s, 1, 4);
	}
	s = fx_section(f, ".altinstructions");
	a = fx_section(f, ".altinstr_replacement")->va;
	for (int i = 0; i < FX_TABLE; i++) {
		fx_prel(s, fx_function(f, i) + FX_ALT);
		fx_prel(s, a);
		fx_put(s, 3, 2);
		fx_put(s, FX_ALT_LEN, 1);
		fx_put(s, 5, 1);
	}
	s = fx_section(f, ".altinstr_replacement");
	fx_put(s, 0xe9, 1);
	fx_put(s, fx_function(f, 40) + FX_RET - (s->va + 5), 4);
	s = fx_section(f, ".parainstructions");
	fx_word(f, s, fx_function(f, 3) + FX_CLI);
	fx_put(s, 1 | 1 << 8, f->o.width / 8);
	s = fx_section(f, ".smp_locks");
	for (int i = 0; i < FX_TABLE; i++)
		fx_prel(s, fx_function(f, i) + FX_LOCK);
	fx_put(s, 0, 8);
	s = fx_section(f, "__bug_table");
	for (int i = 0; i < FX_TABLE; i++) {
		fx_prel(s, fx_function(f, i) + FX_BUG);
		fx_put(s, 0x1234, 4);
		fx_put(s, 0, 4);
	}
	s = fx_section(f, "__ksymtab_strings");
	fx_put(s, 'x', 8);
	a = s->va;
	s = fx_section(f, "__ksymtab");
	for (int i = 0; i < FX_TABLE; i++) {
		fx_prel(s, fx_function(f, i));
		fx_prel(s, a);
		fx_prel(s, a);
	}
}

/* One entry of ORC: registers and types are Linux's numbers up to 6.2, type 3 for the end of the stack. */
static inline void fx_orc_entry(struct fixture *f, uint64_t va, int sp_reg, int sp, int bp_reg, int bp,
				int type)
{
	struct fx_section *s = fx_section(f, ".orc_unwind");
	unsigned bits = sp_reg | bp_reg << 4, end = type == 3, is_signal = type == 1;

	if (f->o.orc == FX_ORC_6_4)
		bits |= (end ? 1 : sp_reg ? type + 2 : 0) << 8 | is_signal << 11;
	else
		bits |= (end ? 0 : type) << 8 | end << (f->o.orc == FX_ORC_6_3 ? 11 : 10) |
			(f->o.orc == FX_ORC_6_3 && is_signal) << 10;
	fx_prel(fx_section(f, ".orc_unwind_ip"), va);
	fx_put(s, (uint16_t)sp, 2);
	fx_put(s, (uint16_t)bp, 2);
	fx_put(s, bits, 2);
}

/* Functions 0 to 19, with a PUSH %rbp at FX_CLI; entry code behind them, then nothing up to the end. */
static inline void fx_orc(struct fixture *f)
{
	if (!f->o.orc)
		return;
	fx_add_section(f, ".orc_unwind_ip", 0);
	fx_add_section(f, ".orc_unwind", 0);
	for (int i = 0; i < FX_TABLE; i++) {
		fx_orc_entry(f, fx_function(f, i), 5, 8, 0, 0, 0);
		fx_orc_entry(f, fx_function(f, i) + FX_CLI, 5, 16, 1, -16, 0);
	}
	fx_orc_entry(f, fx_function(f, FX_TABLE), 5, 8, 0, 0, 1);
	fx_orc_entry(f, fx_function(f, FX_TABLE + 1), 9, -8, 0, 0, 2);
	fx_orc_entry(f, fx_function(f, FX_TABLE + 2), 0, 0, 0, 0, 3);
	fx_orc_entry(f, fx_function(f, FX_TABLE + 3), 0, 0, 0, 0, 0);
}

static inline void fx_kallsyms(struct fixture *f)
{
	struct fx_section *ro = fx_section(f, ".rodata");
	size_t word = f->o.width / 8, names, markers[8] = {0}, n = f->n_symbols;
	enum fx_kallsyms ks = f->o.kallsyms;
	uint32_t index[256], at = 0;
	uint64_t base = fx_base(f);

	if (ks == FX_KS_NONE)
		return;
	fx_align(ro, word);
	for (size_t i = 0; ks != FX_KS_6_4 && i < n; i++)
		if (ks == FX_KS_4_4)
			fx_put(ro, f->symbols[i].va, word);
		else
			fx_put(ro, ks == FX_KS_PERCPU ? base - 1 - f->symbols[i].va : f->symbols[i].va - base,
			       4);
	fx_align(ro, word);
	if (ks != FX_KS_4_4 && ks != FX_KS_6_4)
		fx_word(f, ro, base);
	fx_put(ro, n, 4);
	fx_align(ro, word);
	names = ro->size;
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(f->symbols[i].name) + 1;

		if (i % 256 == 0)
			markers[i / 256] = ro->size - names;
		if (ks == FX_KS_4_4 && len > 0x7f)
			len = 0x7f; /* old kernels had shorter names */
		fx_put(ro, len > 0x7f ? (len & 0x7f) | 0x80 | (len >> 7) << 8 : len, len > 0x7f ? 2 : 1);
		fx_put(ro, f->symbols[i].type, 1);
		for (size_t j = 0; j + 1 < len; j++)
			fx_put(ro, (uint8_t)f->symbols[i].name[j], 1);
	}
	fx_align(ro, word);
	for (size_t i = 0; i < (n + 255) / 256; i++)
		fx_put(ro, markers[i], ks == FX_KS_4_4 ? word : 4);
	fx_align(ro, word);
	if (ks == FX_KS_6_2) {
		for (size_t i = 0; i < n; i++)
			fx_put(ro, 0xffffff, 3);
		fx_align(ro, word);
	}
	for (int i = 0; i < 256; i++) {
		char token[8];

		snprintf(token, sizeof(token), i > ' ' && i < 0x7f ? "%c" : "x%02x", i);
		index[i] = at;
		at += strlen(token) + 1;
		for (const char *p = token;; p++) {
			fx_put(ro, (uint8_t)*p, 1);
			if (!*p)
				break;
		}
	}
	fx_align(ro, word);
	for (int i = 0; i < 256; i++)
		fx_put(ro, index[i], 2);
	if (ks == FX_KS_6_4) {
		fx_align(ro, word);
		for (size_t i = 0; i < n; i++)
			fx_put(ro, f->symbols[i].va - base, 4);
		fx_align(ro, word);
		fx_word(f, ro, base);
		for (size_t i = 0; i < n; i++)
			fx_put(ro, i << 8, 3);
	}
}

static inline void fx_make(struct fixture *f, const struct fx_options *o)
{
	memset(f, 0, sizeof(*f));
	f->o = *o;
	fx_add_section(f, ".text", SHF_EXECINSTR);
	fx_add_section(f, ".altinstr_replacement", SHF_EXECINSTR);
	fx_add_section(f, ".rodata", 0);
	fx_add_section(f, ".data", SHF_WRITE);
	fx_add_section(f, ".init.data", SHF_WRITE);
	fx_add_section(f, "__ex_table", 0);
	fx_add_section(f, ".altinstructions", 0);
	fx_add_section(f, ".parainstructions", 0);
	fx_add_section(f, ".smp_locks", 0);
	fx_add_section(f, "__bug_table", 0);
	fx_add_section(f, "__ksymtab", 0);
	fx_add_section(f, "__ksymtab_strings", 0);
	fx_text(f);
	if (o->kallsyms != FX_KS_NONE && !o->boundary_symbols)
		for (int i = 0; i < 230; i++) { /* more than one marker */
			char name[32];

			snprintf(name, sizeof(name), "filler_%d", i);
			fx_symbol(f, fx_function(f, FX_FUNCTIONS) + i / 12, 't', name);
		}
	fx_tables(f);
	fx_orc(f);
	fx_kallsyms(f);
	if (o->multiboot) {
		struct fx_section *t = fx_section(f, ".text");

		fx_align(t, 4);
		fx_put(t, 0x1badb002, 4);
		fx_put(t, 0, 4);
		fx_put(t, -0x1badb002, 4);
	}
}

static inline void fx_free(struct fixture *f)
{
	for (int i = 0; i < f->n; i++)
		free(f->s[i].data);
}

static inline size_t fx_shdr(const struct fixture *f, uint8_t *p, uint32_t name, uint32_t type,
			     uint64_t flags, uint64_t va, uint64_t offset, uint64_t size, uint32_t link,
			     uint64_t entsize)
{
	if (f->o.width == 64) {
		Elf64_Shdr s = {name, type, flags, va, offset, size, link, 0, 1, entsize};

		memcpy(p, &s, sizeof(s));
		return sizeof(s);
	}
	Elf32_Shdr s = {name, type, flags, va, offset, size, link, 0, 1, entsize};

	memcpy(p, &s, sizeof(s));
	return sizeof(s);
}

static inline size_t fx_sym(const struct fixture *f, uint8_t *p, uint32_t name, uint64_t va, uint8_t info,
			    uint16_t shndx)
{
	if (f->o.width == 64) {
		Elf64_Sym s = {name, info, 0, shndx, va, 0};

		memcpy(p, &s, sizeof(s));
		return sizeof(s);
	}
	Elf32_Sym s = {name, va, 0, info, 0, shndx};

	memcpy(p, &s, sizeof(s));
	return sizeof(s);
}

static inline void fx_headers(const struct fixture *f, uint8_t *p, uint64_t shoff, int shnum, uint64_t filesz)
{
	uint64_t va = fx_base(f), pa = 0x1000000;

	fx_copy(p, "\177ELF", 4);
	p[EI_DATA] = ELFDATA2LSB;
	p[EI_VERSION] = EV_CURRENT;
	if (f->o.width == 64) {
		Elf64_Ehdr h = {.e_type = ET_EXEC,
				.e_machine = EM_X86_64,
				.e_version = 1,
				.e_entry = pa,
				.e_phoff = 64,
				.e_shoff = shoff,
				.e_ehsize = 64,
				.e_phentsize = 56,
				.e_phnum = 1,
				.e_shentsize = 64,
				.e_shnum = shnum,
				.e_shstrndx = shnum ? shnum - 1 : 0};
		Elf64_Phdr ph = {PT_LOAD, PF_R | PF_W | PF_X, 0x1000, va, pa,
				 filesz,  filesz + 0x1000,    0x1000};

		p[EI_CLASS] = ELFCLASS64;
		memcpy(p + 16, (uint8_t *)&h + 16, sizeof(h) - 16);
		memcpy(p + 64, &ph, sizeof(ph));
	} else {
		Elf32_Ehdr h = {.e_type = ET_EXEC,
				.e_machine = EM_386,
				.e_version = 1,
				.e_entry = pa,
				.e_phoff = 52,
				.e_shoff = shoff,
				.e_ehsize = 52,
				.e_phentsize = 32,
				.e_phnum = 1,
				.e_shentsize = 40,
				.e_shnum = shnum,
				.e_shstrndx = shnum ? shnum - 1 : 0};
		Elf32_Phdr ph = {PT_LOAD, 0x1000, va, pa, filesz, filesz + 0x1000, PF_R | PF_W | PF_X,
				 0x1000};

		p[EI_CLASS] = ELFCLASS32;
		memcpy(p + 16, (uint8_t *)&h + 16, sizeof(h) - 16);
		memcpy(p + 52, &ph, sizeof(ph));
	}
}

/* The relocation list, as arch/x86/tools/relocs.c writes it. */
static inline size_t fx_relocs(const struct fixture *f, uint8_t *p)
{
	uint8_t *start = p;

	if (f->o.no_relocs || f->o.rel_section)
		return 0;
	memset(p, 0, 4);
	p += 4;
	memcpy(p, f->relocs, 4 * f->n_relocs);
	p += 4 * f->n_relocs;
	if (f->o.width == 64) { /* those were the 64-bit ones; one relative word, no 32-bit ones */
		memset(p, 0, 4);
		memcpy(p + 4, &f->relocs[0], 4);
		memset(p + 8, 0, 4);
		p += 12;
	}
	return p - start;
}

/* The ELF, malloc'd. */
static inline uint8_t *fx_elf(const struct fixture *f, size_t *size)
{
	size_t end = 0x1000 + (size_t)f->n * FX_SECTION_ROOM, room = end + 0x40000, strtab = 0, symtab = 0, n;
	size_t rel, rel_end, rel_size = f->o.width == 64 ? sizeof(Elf64_Rela) : sizeof(Elf32_Rel);
	uint8_t *p = calloc(1, room), *names, *sh;
	uint32_t name = 1;
	int shnum;

	for (int i = 0; i < f->n; i++)
		memcpy(p + f->s[i].offset, f->s[i].data, f->s[i].size);
	fx_headers(f, p, 0, 0, end - 0x1000);
	*size = end;
	if (f->o.no_sections) {
		*size += fx_relocs(f, p + *size);
		return p;
	}
	if (f->o.symtab) {
		strtab = *size;
		*size += 1;
		for (size_t i = 0; i < f->n_symbols; i++)
			*size += sprintf((char *)p + *size, "%s", f->symbols[i].name) + 1;
		*size = (*size + 7) & ~(size_t)7;
		symtab = *size;
		*size += fx_sym(f, p + *size, 0, 0, 0, 0);
		n = 1;
		for (size_t i = 0; i < f->n_symbols; i++) {
			uint64_t va = f->symbols[i].va;
			uint16_t sec = (va - fx_base(f)) / FX_SECTION_ROOM + 1;

			*size +=
			    fx_sym(f, p + *size, n, va,
				   f->symbols[i].type == 't' ? STT_FUNC : STT_FUNC | STB_GLOBAL << 4, sec);
			n += strlen(f->symbols[i].name) + 1;
		}
	}
	rel = *size;
	for (size_t i = 0; f->o.rel_section && i < f->n_relocs; i++) {
		Elf32_Rel r32 = {f->relocs[i], ELF32_R_INFO(0, R_386_32)};
		Elf64_Rela r64 = {(uint64_t)(int32_t)f->relocs[i], ELF64_R_INFO(0, R_X86_64_64), 0};

		memcpy(p + *size, f->o.width == 64 ? (void *)&r64 : (void *)&r32, rel_size);
		*size += rel_size;
	}
	rel_end = *size;
	names = p + *size;
	n = *size;
	for (int i = 0; i < f->n; i++)
		name += sprintf((char *)names + name, "%s", f->s[i].name) + 1;
	name += sprintf((char *)names + name, ".strtab") + 1;
	name += sprintf((char *)names + name, ".symtab") + 1;
	name += sprintf((char *)names + name, ".rel.all") + 1;
	name += sprintf((char *)names + name, ".shstrtab") + 1;
	*size = (*size + name + 7) & ~(size_t)7;
	sh = p + *size;
	shnum = 1;
	sh += fx_shdr(f, sh, 0, 0, 0, 0, 0, 0, 0, 0);
	name = 1;
	for (int i = 0; i < f->n; i++, shnum++) {
		sh += fx_shdr(f, sh, name, SHT_PROGBITS, f->s[i].flags, f->s[i].va, f->s[i].offset,
			      f->s[i].size, 0, 0);
		name += strlen(f->s[i].name) + 1;
	}
	if (f->o.symtab) {
		sh += fx_shdr(f, sh, name, SHT_STRTAB, 0, 0, strtab, symtab - strtab, 0, 0);
		sh += fx_shdr(f, sh, name + 8, SHT_SYMTAB, 0, 0, symtab, rel - symtab, shnum,
			      f->o.width == 64 ? 24 : 16);
		shnum += 2;
	}
	if (f->o.rel_section) { /* for section 1, with the symbol table before it */
		uint32_t info = 1;

		fx_shdr(f, sh, name + 16, f->o.width == 64 ? SHT_RELA : SHT_REL, 0, 0, rel, rel_end - rel,
			f->o.symtab ? shnum - 1 : 0, rel_size);
		memcpy(sh + (f->o.width == 64 ? 44 : 28), &info, 4);
		sh += f->o.width == 64 ? 64 : 40;
		shnum++;
	}
	sh += fx_shdr(f, sh, name + 25, SHT_STRTAB, 0, 0, n, name + 35, 0, 0);
	fx_headers(f, p, *size, shnum + 1, end - 0x1000);
	*size = sh - p;
	*size += fx_relocs(f, p + *size);
	return p;
}

/* --- bzImage --- */

static inline void fx_be32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = v >> (24 - 8 * i);
}

static inline size_t fx_lzo(const uint8_t *in, size_t n, uint8_t *out)
{
	static const uint8_t head[] = {0x89, 'L',  'Z', 'O',  0, 0x0d, 0x0a, 0x1a, 0x0a, 0x10, 0x40,
				       0x20, 0xa0, 9,	0x40, 1, 5,    3,    0,	   0,	 1};
	uint8_t *work = malloc(LZO1X_1_MEM_COMPRESS), *p = out + sizeof(head) + 4 + 8 + 1 + 4;
	size_t block = 65536;

	lzo_init();
	memset(out, 0, p - out);
	memcpy(out, head, sizeof(head));
	for (size_t at = 0; at < n; at += block) {
		size_t take = n - at < block ? n - at : block;
		lzo_uint got = 0;

		lzo1x_1_compress(in + at, take, p + 12, &got, work);
		if (got >= take) {
			memcpy(p + 12, in + at, take);
			got = take;
		}
		fx_be32(p, take);
		fx_be32(p + 4, got);
		fx_be32(p + 8, 0);
		p += 12 + got;
	}
	fx_be32(p, 0);
	free(work);
	return p + 4 - out;
}

/* Compress by the name that payload.h uses. */
static inline size_t fx_compress(const char *how, const uint8_t *in, size_t n, uint8_t *out, size_t room)
{
	size_t got = 0;

	if (!strcmp(how, "gzip")) {
		z_stream z = {.next_in = (uint8_t *)in, .avail_in = n, .next_out = out, .avail_out = room};

		deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
		deflate(&z, Z_FINISH);
		got = z.total_out;
		deflateEnd(&z);
	} else if (!strcmp(how, "bzip2")) {
		unsigned len = room;

		BZ2_bzBuffToBuffCompress((char *)out, &len, (char *)in, n, 9, 0, 0);
		got = len;
	} else if (!strcmp(how, "xz")) {
		lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, NULL, in, n, out, &got, room);
	} else if (!strcmp(how, "lzma")) {
		lzma_options_lzma opt;
		lzma_stream z = LZMA_STREAM_INIT;

		lzma_lzma_preset(&opt, 0);
		if (lzma_alone_encoder(&z, &opt) != LZMA_OK)
			abort();
		z.next_in = in;
		z.avail_in = n;
		z.next_out = out;
		z.avail_out = room;
		while (lzma_code(&z, LZMA_FINISH) == LZMA_OK)
			;
		got = z.total_out;
		lzma_end(&z);
	} else if (!strcmp(how, "lzo")) {
		got = fx_lzo(in, n, out);
	} else if (!strcmp(how, "lz4")) {
		fx_copy(out, "\x02\x21\x4c\x18", 4);
		got = LZ4_compress_default((const char *)in, (char *)out + 8, n, room - 8);
		for (int i = 0; i < 4; i++)
			out[4 + i] = got >> 8 * i;
		got += 8;
	} else if (!strcmp(how, "zstd")) {
		got = ZSTD_compress(out, room, in, n, 1);
	}
	return got;
}

/* setup (2 sectors), protected-mode part: 64 bytes of "boot code", payload, its size. malloc'd. */
static inline uint8_t *fx_bzimage(const uint8_t *elf, size_t n, const char *how, size_t *size)
{
	size_t room = 2 * n + 65536, got, start = 3 * 512;
	uint8_t *p = calloc(1, room);

	fx_copy(p + 0x202, "HdrS", 4);
	p[0x1f1] = 2;
	p[0x1fe] = 0x55;
	p[0x1ff] = 0xaa;
	p[0x200] = 0xeb;
	p[0x201] = 0x6a;
	p[0x206] = 0x0f;
	p[0x207] = 0x02;
	p[0x248] = 64;
	got = fx_compress(how, elf, n, p + start + 64, room - start - 128);
	if (strcmp(how, "gzip")) {
		for (int i = 0; i < 4; i++)
			p[start + 64 + got++] = n >> 8 * i;
	}
	for (int i = 0; i < 4; i++)
		p[0x24c + i] = got >> 8 * i;
	*size = start + 64 + got + 16;
	return p;
}

/* A file that holds these bytes: its name in path (at least 40 bytes). Returns the descriptor to close. */
static inline int fx_file(const uint8_t *p, size_t n, char *path)
{
	int fd = memfd_create("image", MFD_CLOEXEC);
	size_t at = 0;

	while (at < n) {
		ssize_t r = write(fd, p + at, n - at);

		if (r <= 0)
			abort();
		at += r;
	}
	sprintf(path, "/proc/self/fd/%d", fd);
	return fd;
}

/* Mutations, reproducible from the seed (xorshift64*). */
static inline uint64_t fx_random(uint64_t *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * 0x2545f4914f6cdd1d;
}

/* Damage bytes of p: flips, absurd words, copied runs; half of the time near the headers. Returns the new
 * size. */
static inline size_t fx_mutate(uint8_t *p, size_t n, uint64_t *seed)
{
	static const uint32_t absurd[] = {0,	      1,	  0x7fffffff, 0x80000000,
					  0xffffffff, 0xfffffff0, 0x10000,    0x1000};
	int times = 1 + fx_random(seed) % 8;

	for (int i = 0; i < times && n > 64; i++) {
		uint64_t r = fx_random(seed);
		size_t near = n < 0x1000 ? n : 0x1000,
		       at = r >> 8 & 3 ? (r >> 16) % (n - 8) : (r >> 16) % (near - 8);

		if ((r >> 8 & 3) == 1) /* section headers and relocations are at the end */
			at = n - 8 - (r >> 16) % (near - 8);
		switch (r & 7) {
		case 0:
			n = r & 0x40 ? n - (r >> 16) % near : (r >> 16) % n;
			break;
		case 1:
		case 2:
			memcpy(p + at, &absurd[(r >> 4) & 7], 4);
			break;
		case 3:
			memmove(p + at, p + (r >> 20) % (n - 8), 8);
			break;
		default:
			p[at] ^= 1u << (r >> 4 & 7);
		}
	}
	return n;
}

#endif
