// SPDX-License-Identifier: GPL-3.0-or-later
/* Loading images of every container and compression; refusing damaged ones with the place; never crashing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>

#include "patcher/image.h"
#include "patcher/payload.h"
#include "tests/unit/kernel_fixture.h"
#include "tests/unit/pe_fixture.h"

static const char *const formats[] = {"gzip", "bzip2", "lzma", "xz", "lzo", "lz4", "zstd"};
#define N_FORMATS (sizeof(formats) / sizeof(*formats))

static uint8_t *make_elf(const struct fx_options *o, size_t *n)
{
	static struct fixture f;
	uint8_t *p;

	fx_make(&f, o);
	p = fx_elf(&f, n);
	fx_free(&f);
	return p;
}

static int load(struct image *img, const uint8_t *p, size_t n, struct diag *d)
{
	char path[64];
	int fd = fx_file(p, n, path), err;

	d->text[0] = '\0';
	err = image_load(img, path, false, 0, 0, d);
	close(fd);
	return err;
}

static void must_load(struct image *img, const uint8_t *p, size_t n)
{
	struct diag d;

	if (load(img, p, n, &d))
		fail_msg("%s", d.text);
}

/* Refused with this error, a message that names the file and contains `place`, and nothing left allocated. */
static void must_refuse(const uint8_t *p, size_t n, int err, const char *place)
{
	static const struct image empty;
	struct image img;
	struct diag d;

	assert_int_equal(load(&img, p, n, &d), err);
	if (!strstr(d.text, place) || strncmp(d.text, "/proc/self/fd/", 14))
		fail_msg("message \"%s\" does not name \"%s\"", d.text, place);
	assert_memory_equal(&img, &empty, sizeof(img));
}

static void test_elf(void **state)
{
	(void)state;
	for (int width = 32; width <= 64; width += 32) {
		struct fx_options o = {.width = width, .symtab = true};
		const struct image_section *s;
		const struct image_symbol *sym;
		struct image img;
		size_t n, avail;
		uint8_t *p = make_elf(&o, &n);
		uint64_t base = width == 64 ? 0xffffffff81000000 : 0xc1000000;

		must_load(&img, p, n);
		assert_int_equal(img.container, IMAGE_ELF);
		assert_int_equal(img.width, width);
		assert_string_equal(img.compression, "none");
		assert_string_equal(img.symbol_source, "symtab");
		assert_int_equal(img.entry, 0x1000000);
		assert_int_equal(img.alias_delta, base - 0x1000000);
		assert_false(img.multiboot);
		assert_true(img.n_relocs > 60);
		s = image_section_at(&img, base + 7);
		assert_non_null(s);
		assert_string_equal(s->name, ".text");
		assert_true(s->exec && s->alloc && !s->write);
		assert_ptr_equal(s->data, img.elf + s->offset);
		assert_true(image_section_at(&img, base + FX_SECTION_ROOM * 3)->write);
		assert_null(image_section_at(&img, base - 1));
		assert_ptr_equal(image_bytes(&img, base + 1, &avail), s->data + 1);
		assert_int_equal(avail, s->size - 1);
		assert_null(image_bytes(&img, base - 1, &avail));
		sym = image_symbol_at(&img, base + 3 * FX_FUNCTION_SIZE + 5);
		assert_non_null(sym);
		assert_string_equal(sym->name, "function_3");
		assert_int_equal(sym->type, 't');
		assert_int_equal(image_symbol_named(&img, "function_4")->type, 'T');
		assert_null(image_symbol_named(&img, "nothing"));
		assert_null(image_symbol_at(&img, base - 1));
		image_free(&img);
		free(p);
	}
}

/* Both carriers of relocations name the same words. */
static void test_rel_section(void **state)
{
	(void)state;
	for (int width = 32; width <= 64; width += 32) {
		struct fx_options o = {.width = width, .symtab = true};
		struct image list, section;
		size_t n;
		uint8_t *p = make_elf(&o, &n);

		must_load(&list, p, n);
		free(p);
		o.rel_section = true;
		p = make_elf(&o, &n);
		must_load(&section, p, n);
		free(p);
		assert_int_equal(list.n_relocs, section.n_relocs);
		assert_memory_equal(list.relocs, section.relocs, list.n_relocs * sizeof(*list.relocs));
		image_free(&list);
		image_free(&section);
	}
}

static void test_no_sections(void **state)
{
	struct fx_options o = {.width = 32, .kallsyms = FX_KS_6_1, .no_sections = true};
	struct image img;
	struct targets t;
	struct diag d = {0};
	size_t n, avail;
	uint8_t *p = make_elf(&o, &n);

	(void)state;
	must_load(&img, p, n);
	assert_int_equal(img.n_sections, 2);
	assert_true(img.sections[0].exec);
	assert_null(img.sections[1].data);
	assert_non_null(image_bytes(&img, 0xc1000000, &avail));
	assert_string_equal(img.symbol_source, "kallsyms");
	assert_int_equal(targets_collect(&t, &img, &d), 0);
	assert_true(t.n_targets > FX_FUNCTIONS);
	targets_free(&t);
	image_free(&img);
	free(p);
}

static void test_bzimage(void **state)
{
	struct fx_options o = {.width = 32, .kallsyms = FX_KS_6_1};
	size_t n, size;
	uint8_t *p = make_elf(&o, &n);

	(void)state;
	for (size_t i = 0; i < N_FORMATS; i++) {
		uint8_t *b = fx_bzimage(p, n, formats[i], &size);
		struct image img;

		must_load(&img, b, size);
		assert_int_equal(img.container, IMAGE_BZIMAGE);
		assert_string_equal(img.compression, formats[i]);
		assert_int_equal(img.elf_size, n);
		assert_memory_equal(img.elf, p, n);
		assert_int_equal(img.file_size, size);
		assert_int_equal(img.setup_offset, 0x1f1);
		assert_int_equal(img.setup_size, 0x202 + 0x6a - 0x1f1);
		assert_string_equal(img.symbol_source, "kallsyms");
		assert_true(img.n_relocs > 60);
		image_free(&img);
		free(b);
	}
	free(p);
}

static void test_multiboot(void **state)
{
	struct fx_options o = {.width = 32, .multiboot = true};
	uint8_t *p, flat[4096] = {0};
	static const uint32_t header[] = {
	    0x1badb002, 1u << 16, -0x1badb002 - (1u << 16), 0x100020, 0x100000, 0, 0x103000, 0x100040};
	struct image img;
	size_t n;

	(void)state;
	p = make_elf(&o, &n);
	must_load(&img, p, n);
	assert_true(img.multiboot);
	assert_int_equal(img.container, IMAGE_ELF);
	image_free(&img);
	free(p);

	memcpy(flat + 0x20, header, sizeof(header));
	must_load(&img, flat, sizeof(flat));
	assert_true(img.multiboot);
	assert_int_equal(img.width, 32);
	assert_int_equal(img.entry, 0x100040);
	assert_int_equal(img.n_sections, 2);
	assert_int_equal(img.sections[0].va, 0x100000);
	assert_int_equal(img.sections[0].size, sizeof(flat));
	assert_int_equal(img.sections[1].va, 0x101000);
	assert_int_equal(img.sections[1].size, 0x2000);
	image_free(&img);
	flat[0x20 + 20] = 1; /* ends before it begins */
	must_refuse(flat, sizeof(flat), -EINVAL, "offset 0x34");
}

static bool has_target(const struct targets *t, uint64_t va, enum target_source source)
{
	for (size_t i = 0; i < t->n_targets; i++)
		if (t->targets[i].va == va && t->targets[i].source == source)
			return true;
	return false;
}

static void test_pe(void **state)
{
	(void)state;
	for (int width = 32; width <= 64; width += 32) {
		uint64_t base = width == 64 ? PE_BASE64 : PE_BASE32;
		uint8_t f[PE_SIZE] = {0};
		struct image img;
		struct targets t;
		struct diag d = {0};

		pe_make(f, width);
		must_load(&img, f, sizeof(f));
		assert_int_equal(img.container, IMAGE_PE);
		assert_int_equal(img.width, width);
		assert_int_equal(img.entry, base + PE_TEXT_RVA);
		assert_int_equal(img.n_sections, 3);
		assert_true(img.sections[0].exec && !img.sections[0].write);
		assert_int_equal(img.sections[0].va, base + PE_TEXT_RVA);
		assert_int_equal(img.sections[0].size, 0x80); /* of memory, without the file's padding */
		assert_ptr_equal(img.sections[0].data, img.elf + PE_TEXT);
		assert_false(img.sections[1].exec);
		assert_int_equal(img.n_relocs, 1);
		assert_int_equal(img.relocs[0], base + PE_DATA_RVA + 8);
		assert_int_equal(targets_collect(&t, &img, &d), 0);
		assert_true(has_target(&t, base + PE_TEXT_RVA, TARGET_ENTRY));
		assert_true(has_target(&t, base + PE_TEXT_RVA + PE_FUNCTION, TARGET_RELOC));
		targets_free(&t);
		image_free(&img);
	}
}

static void test_damaged_pe(void **state)
{
	for (int width = 32; width <= 64; width += 32) {
		uint8_t f[PE_SIZE] = {0};
		struct image img;

		(void)state;
		pe_make(f, width);
		pe_put(f + pe_section(width, 1) + 20, PE_SIZE, 4); /* .data behind the end of the file */
		must_load(&img, f, sizeof(f));
		assert_true(img.damaged);
		assert_string_equal(img.notes[0], "section header 1 (.data): it passes the end of the file; going on without it");
		assert_string_equal(image_section_at(&img, img.entry)->name, ".text");
		assert_int_equal(img.n_relocs, 0); /* it named a word of .data */
		image_free(&img);
		pe_put(f + PE_RELOC + 4, 0x1000, 4);
		must_load(&img, f, sizeof(f));
		assert_non_null(strstr(img.notes[1], "base relocations+0x0"));
		image_free(&img);
		must_refuse(f, pe_section(width, 2), -EINVAL, "offset 0x86");
		f[PE_HEADER + 4] = 0xaa;
		must_refuse(f, sizeof(f), -ENOTSUP, "offset 0x84");
	}
}

static size_t n_alloc(const struct image *img)
{
	size_t n = 0;

	for (size_t i = 0; i < img->n_sections; i++)
		n += img->sections[i].alloc;
	return n;
}

/* A kernel of which one section header is damaged: the rest of it is there. */
static void test_damaged_section_header(void **state)
{
	struct fx_options o = {.width = 32, .symtab = true};
	struct image whole, img;
	size_t n;
	uint8_t *p = make_elf(&o, &n), *h;
	Elf32_Ehdr *eh = (Elf32_Ehdr *)p;
	Elf32_Shdr sh;

	(void)state;
	must_load(&whole, p, n);
	assert_false(whole.damaged);
	for (unsigned i = 1; i < eh->e_shnum; i++) {
		h = p + eh->e_shoff + i * sizeof(sh);
		memcpy(&sh, h, sizeof(sh));
		if (sh.sh_type == SHT_NOBITS)
			continue;
		pe_put(h + offsetof(Elf32_Shdr, sh_offset), n + 1, 4);
		must_load(&img, p, n);
		assert_true(img.damaged);
		if (!strstr(img.notes[0], "section header "))
			fail_msg("section %u: note \"%s\"", i, img.notes[0]);
		if (i != eh->e_shstrndx)
			assert_in_range(n_alloc(&img), n_alloc(&whole) - 1, n_alloc(&whole));
		else /* without names: by the program headers */
			assert_non_null(image_section_at(&img, 0xc1000007));
		image_free(&img);
		memcpy(h, &sh, sizeof(sh));
	}
	pe_put((uint8_t *)&eh->e_shoff, n, 4);
	must_load(&img, p, n); /* by its program headers */
	assert_true(img.damaged && strstr(img.notes[0], "program headers"));
	assert_non_null(image_section_at(&img, 0xc1000007));
	image_free(&img);
	image_free(&whole);
	free(p);
}

static void test_raw(void **state)
{
	uint8_t code[64] = {0xfa, 0xf4};
	struct diag d = {0};
	struct image img;
	struct targets t;
	char path[64];
	int fd = fx_file(code, sizeof(code), path);

	(void)state;
	assert_int_equal(image_load(&img, path, true, 0x7c00, 16, &d), 0);
	assert_int_equal(img.container, IMAGE_RAW);
	assert_int_equal(img.width, 16);
	assert_int_equal(img.entry, 0x7c00);
	assert_int_equal(image_section_at(&img, 0x7c3f)->va, 0x7c00);
	assert_null(image_section_at(&img, 0x7c40));
	assert_int_equal(targets_collect(&t, &img, &d), 0);
	assert_int_equal(t.n_targets, 1);
	targets_free(&t);
	image_free(&img);
	assert_int_equal(image_load(&img, path, true, 0, 31, &d), -EINVAL);
	assert_non_null(strstr(d.text, "width 31"));
	d.text[0] = '\0';
	assert_int_equal(image_load(&img, path, true, 0xffffffd0, 32, &d), -EINVAL);
	assert_non_null(strstr(d.text, "0xffffffd0"));
	close(fd);
}

static void test_refusals(void **state)
{
	struct fx_options o = {.width = 32, .kallsyms = FX_KS_6_1};
	static const char text[] = "CONFIG_X86=y\n";
	size_t n, size;
	uint8_t *p = make_elf(&o, &n), *b;
	struct diag d = {0};
	struct image img;

	(void)state;
	assert_int_equal(image_load(&img, "/nonexistent/vmlinuz", false, 0, 0, &d), -ENOENT);
	assert_non_null(strstr(d.text, "/nonexistent/vmlinuz"));
	d.text[0] = '\0';
	assert_int_equal(image_load(&img, "/", false, 0, 0, &d), -EINVAL);
	assert_non_null(strstr(d.text, "regular"));
	must_refuse(p, 0, -EINVAL, "empty");
	must_refuse((const uint8_t *)text, sizeof(text), -ENOEXEC, "offset 0x0");
	must_refuse(p, 20, -EINVAL, "ELF header");
	must_refuse(p, 0x2000, -EINVAL, "truncated");
	p[18] = 40; /* EM_ARM */
	must_refuse(p, n, -ENOTSUP, "machine 40");
	p[18] = EM_X86_64;
	must_refuse(p, n, -ENOTSUP, "class 1");
	p[18] = EM_386;
	p[16] = ET_REL;
	must_refuse(p, n, -ENOTSUP, "type 1");
	p[16] = ET_EXEC;
	p[52 + 16] = 0xff; /* p_filesz low byte: beyond p_memsz is caught, or beyond the file */
	p[52 + 19] = 0x7f;
	must_refuse(p, n, -EINVAL, "program header 0");
	free(p);

	p = make_elf(&o, &n);
	b = fx_bzimage(p, n, "xz", &size);
	must_refuse(b, 0x240, -ENOEXEC, "offset 0x0");
	must_refuse(b, size / 2, -EINVAL, "setup header+0x57");
	b[3 * 512 + 64 + 300] ^= 0x10;
	must_refuse(b, size, -EINVAL, "payload at 0x640");
	b[3 * 512 + 64] ^= 1;
	must_refuse(b, size, -ENOTSUP, "unknown compression");
	b[3 * 512 + 64] ^= 1;
	fx_copy(b + size - 16 - 4, "\0\0\0\x40", 4); /* 1 GiB unpacked */
	must_refuse(b, size, -EFBIG, "payload at 0x640");
	b[0x206] = 7;
	must_refuse(b, size, -ENOTSUP, "boot protocol 2.07");
	free(b);
	b = fx_bzimage(p, n / 2, "gzip", &size); /* unpacks well, to half a kernel */
	must_refuse(b, size, -EINVAL, "truncated");
	free(b);
	free(p);
}

/* A list that names an address outside the image is not believed. */
static void test_bad_relocs(void **state)
{
	struct fx_options o = {.width = 32, .symtab = true};
	struct targets t;
	struct diag d = {0};
	struct image img;
	size_t n;
	uint8_t *p = make_elf(&o, &n);

	(void)state;
	p[n - 1] = 0x10;
	must_load(&img, p, n);
	assert_int_equal(img.n_relocs, 0);
	assert_int_equal(img.n_notes, 1);
	assert_non_null(strstr(img.notes[0], "relocations"));
	assert_int_equal(targets_collect(&t, &img, &d), 0);
	targets_free(&t);
	image_free(&img);
	free(p);
}

static size_t loaded;

/* Whatever the bytes, loading and collecting end, with a message that has a place if they fail. */
static void try_mutant(const uint8_t *p, size_t n)
{
	struct image img;
	struct targets t;
	struct diag d;

	if (load(&img, p, n, &d)) {
		if (!d.text[0])
			fail_msg("refused without a message");
		assert_non_null(strchr(d.text, ':'));
		return;
	}
	loaded++;
	if (!targets_collect(&t, &img, &d))
		targets_free(&t);
	image_free(&img);
}

static void mutate_many(const uint8_t *p, size_t n, int times, uint64_t seed)
{
	for (int i = 0; i < times; i++) {
		uint8_t *q = malloc(n);
		size_t m;

		memcpy(q, p, n);
		m = fx_mutate(q, n, &seed);
		try_mutant(q, m);
		free(q);
	}
}

static void test_mutants(void **state)
{
	static const struct fx_options options[] = {
	    {.width = 32, .symtab = true, .boundary_symbols = true},
	    {.width = 32, .kallsyms = FX_KS_6_1},
	    {.width = 64, .kallsyms = FX_KS_PERCPU},
	    {.width = 64, .symtab = true},
	    {.width = 32, .kallsyms = FX_KS_6_4, .no_sections = true, .multiboot = true},
	};
	size_t n, size;

	(void)state;
	loaded = 0;
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
		uint8_t *p = make_elf(&options[i], &n);

		mutate_many(p, n, 250, 1000 + i);
		if (i == 1)
			for (size_t k = 0; k < N_FORMATS; k++) {
				uint8_t *b = fx_bzimage(p, n, formats[k], &size);

				mutate_many(b, size, 60, 2000 + k);
				free(b);
			}
		free(p);
	}
	for (int width = 32; width <= 64; width += 32) {
		uint8_t f[PE_SIZE] = {0};

		pe_make(f, width);
		mutate_many(f, sizeof(f), 250, 3000 + width);
	}
	/* Both ends must be exercised: refusals, and damage deep enough to be loaded. */
	assert_in_range(loaded, 200, 1500);
}

/* Each length of a small image is refused or loaded, but never read beyond. */
static void test_truncations(void **state)
{
	struct fx_options o = {.width = 32, .kallsyms = FX_KS_6_1};
	size_t n, size;
	uint8_t *p = make_elf(&o, &n), *b = fx_bzimage(p, n, "gzip", &size);

	(void)state;
	for (size_t m = 1; m < size; m += m < 1024 ? 7 : 211) {
		uint8_t *q = malloc(m);

		memcpy(q, b, m);
		try_mutant(q, m);
		free(q);
	}
	for (size_t m = 1; m < n; m += m < 256 ? 3 : 1999)
		try_mutant(p, m);
	free(b);
	free(p);
}

static uint8_t *read_whole(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	uint8_t *p;

	if (!f)
		return NULL;
	fseek(f, 0, SEEK_END);
	*n = ftell(f);
	rewind(f);
	p = malloc(*n);
	if (fread(p, 1, *n, f) != *n) {
		free(p);
		p = NULL;
	}
	fclose(f);
	return p;
}

static void test_real(void **state)
{
	struct image img;
	uint64_t seed = 686;
	uint8_t *p, *elf;
	size_t n = 0;

	(void)state;
	p = read_whole("build/guests/vmlinuz-686", &n);
	if (!p) {
		print_message("build/guests/vmlinuz-686 is not there: `make guests` fetches it\n");
		skip();
	}
	must_load(&img, p, n);
	assert_int_equal(img.container, IMAGE_BZIMAGE);
	assert_int_equal(img.width, 32);
	assert_string_equal(img.compression, "xz");
	assert_int_equal(img.alias_delta, 0xc0000000);
	assert_int_equal(img.setup_offset, 0x1f1);
	assert_true(img.n_relocs > 200000);
	assert_int_equal(img.n_notes, 0);
	free(p);
	/* Damage of the unpacked kernel: around its ends, where the headers and the list are. */
	n = img.elf_size;
	elf = malloc(n);
	for (int i = 0; i < 6; i++) {
		memcpy(elf, img.elf, n);
		try_mutant(elf, fx_mutate(elf, n, &seed));
	}
	free(elf);
	image_free(&img);
}

static void test_payload_limits(void **state)
{
	static const uint8_t gz[] = "\x1f\x8b\x08\0\0\0\0\0\0\0\0\0\0\0\0\0";
	struct diag d = {0};
	uint8_t *out = NULL;

	(void)state;
	assert_null(payload_format((const uint8_t *)"MZ", 2));
	assert_string_equal(payload_format(gz, sizeof(gz)), "gzip");
	assert_int_equal(payload_unpack(gz, sizeof(gz), PAYLOAD_MAX + 1, &out, "x", &d), -EFBIG);
	assert_int_equal(payload_unpack(gz, sizeof(gz), 0, &out, "x", &d), -EFBIG);
	assert_int_equal(payload_unpack(gz, sizeof(gz), (size_t)20 << 20, &out, "x", &d), -EFBIG);
	assert_int_equal(payload_unpack(gz, sizeof(gz), 4096, &out, "x", &d), -EINVAL);
	assert_null(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_elf),
	    cmocka_unit_test(test_rel_section),
	    cmocka_unit_test(test_no_sections),
	    cmocka_unit_test(test_bzimage),
	    cmocka_unit_test(test_multiboot),
	    cmocka_unit_test(test_pe),
	    cmocka_unit_test(test_damaged_pe),
	    cmocka_unit_test(test_damaged_section_header),
	    cmocka_unit_test(test_raw),
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_bad_relocs),
	    cmocka_unit_test(test_payload_limits),
	    cmocka_unit_test(test_mutants),
	    cmocka_unit_test(test_truncations),
	    cmocka_unit_test(test_real),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
