// SPDX-License-Identifier: GPL-3.0-or-later
/* A small PE image: .text with two functions, .data with a word that a base relocation names, .reloc. */
#ifndef TESTS_UNIT_PE_FIXTURE_H
#define TESTS_UNIT_PE_FIXTURE_H

#include <stdint.h>
#include <string.h>

#define PE_SIZE 0x1000
#define PE_HEADER 0x80
#define PE_TEXT 0x400 /* file offsets; each section 0x200 bytes of the file, a page apart in memory */
#define PE_DATA 0x600
#define PE_RELOC 0x800
#define PE_BASE32 0x400000ull
#define PE_BASE64 0x140000000ull
#define PE_TEXT_RVA 0x1000
#define PE_DATA_RVA 0x2000
#define PE_RELOC_RVA 0x3000
#define PE_FUNCTION 0x40 /* of the second function, in .text: nothing but the word in .data leads there */

static inline void pe_put(uint8_t *p, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

/* Where the header of section i stands. */
static inline unsigned pe_section(int width, unsigned i)
{
	return PE_HEADER + 24 + (width == 64 ? 240 : 224) + 40 * i;
}

static inline void pe_make_section(uint8_t *f, int width, unsigned i, const char *name, unsigned rva, unsigned offset,
				   unsigned size, uint32_t flags)
{
	uint8_t *h = f + pe_section(width, i);

	memcpy(h, name, strlen(name));
	pe_put(h + 8, size, 4);
	pe_put(h + 12, rva, 4);
	pe_put(h + 16, 0x200, 4);
	pe_put(h + 20, offset, 4);
	pe_put(h + 36, flags, 4);
}

static inline void pe_make_headers(uint8_t *f, int width)
{
	uint8_t *coff = f + PE_HEADER, *opt = coff + 24;
	unsigned directories = width == 64 ? 112 : 96;

	memcpy(f, "MZ", 2);
	pe_put(f + 0x3c, PE_HEADER, 4);
	memcpy(coff, "PE\0\0", 4);
	pe_put(coff + 4, width == 64 ? 0x8664 : 0x14c, 2);
	pe_put(coff + 6, 3, 2);
	pe_put(coff + 20, width == 64 ? 240 : 224, 2);
	pe_put(coff + 22, 0x0002, 2); /* executable */
	pe_put(opt, width == 64 ? 0x20b : 0x10b, 2);
	pe_put(opt + 16, PE_TEXT_RVA, 4);
	pe_put(opt + (width == 64 ? 24 : 28), width == 64 ? PE_BASE64 : PE_BASE32, width == 64 ? 8 : 4);
	pe_put(opt + 32, 0x1000, 4); /* alignments */
	pe_put(opt + 36, 0x200, 4);
	pe_put(opt + 56, 0x4000, 4); /* sizes of image and headers */
	pe_put(opt + 60, 0x400, 4);
	pe_put(opt + 68, 10, 2); /* EFI application */
	pe_put(opt + directories - 4, 16, 4);
	pe_put(opt + directories + 5 * 8, PE_RELOC_RVA, 4);
	pe_put(opt + directories + 5 * 8 + 4, 12, 4);
}

/* f has PE_SIZE zeroed bytes. */
static inline void pe_make(uint8_t *f, int width)
{
	static const uint8_t entry[] = {0xfa, 0x0f, 0x01, 0x10, 0xf4, 0xc3}; /* cli; lgdt (%eax); hlt; ret */
	static const uint8_t second[] = {0x0f, 0x30, 0xc3};		       /* wrmsr; ret */
	uint64_t base = width == 64 ? PE_BASE64 : PE_BASE32;

	pe_make_headers(f, width);
	pe_make_section(f, width, 0, ".text", PE_TEXT_RVA, PE_TEXT, 0x80, 0x60000020);
	pe_make_section(f, width, 1, ".data", PE_DATA_RVA, PE_DATA, 0x10, 0xc0000040);
	pe_make_section(f, width, 2, ".reloc", PE_RELOC_RVA, PE_RELOC, 12, 0x42000040);
	memset(f + PE_TEXT, 0xcc, 0x80);
	memcpy(f + PE_TEXT, entry, sizeof(entry));
	memcpy(f + PE_TEXT + PE_FUNCTION, second, sizeof(second));
	pe_put(f + PE_DATA + 8, base + PE_TEXT_RVA + PE_FUNCTION, width / 8);
	pe_put(f + PE_RELOC, PE_DATA_RVA, 4);
	pe_put(f + PE_RELOC + 4, 12, 4);
	pe_put(f + PE_RELOC + 8, (width == 64 ? 10u : 3u) << 12 | 8, 2);
}

#endif
