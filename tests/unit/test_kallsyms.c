// SPDX-License-Identifier: GPL-3.0-or-later
/* kallsyms of each layout, in both widths, and the real thing where a stock kernel is at hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "patcher/image.h"
#include "tests/unit/kernel_fixture.h"

static void load(struct image *img, const struct fx_options *o, struct fixture *f)
{
	struct diag d = {0};
	char path[64];
	uint8_t *p;
	size_t n;
	int fd;

	fx_make(f, o);
	p = fx_elf(f, &n);
	fd = fx_file(p, n, path);
	if (image_load(img, path, false, 0, 0, &d))
		fail_msg("%s", d.text);
	close(fd);
	free(p);
}

static void check_layout(enum fx_kallsyms ks, int width)
{
	struct fx_options o = {.width = width, .kallsyms = ks};
	const struct image_symbol *s;
	static struct fixture f;
	struct image img;

	load(&img, &o, &f);
	for (size_t i = 0; i < img.n_notes; i++)
		print_message("note: %s\n", img.notes[i]);
	assert_string_equal(img.symbol_source, "kallsyms");
	assert_int_equal(img.n_symbols, f.n_symbols);
	for (size_t i = 0; i < f.n_symbols; i++) {
		char name[301];

		snprintf(name, ks == FX_KS_4_4 ? 0x7f : sizeof(name), "%s", f.symbols[i].name);
		s = image_symbol_named(&img, name);
		assert_non_null(s);
		assert_int_equal(s->va, f.symbols[i].va);
		assert_int_equal(s->type, f.symbols[i].type);
	}
	image_free(&img);
	fx_free(&f);
}

static void test_layouts(void **state)
{
	(void)state;
	for (int width = 32; width <= 64; width += 32) {
		check_layout(FX_KS_6_1, width);
		check_layout(FX_KS_4_4, width);
		check_layout(FX_KS_6_2, width);
		check_layout(FX_KS_6_4, width);
	}
	check_layout(FX_KS_PERCPU, 64);
}

/* Each of these must be noticed: the tables are believed only as a whole. */
static void test_damage(void **state)
{
	struct fx_options o = {.width = 32, .kallsyms = FX_KS_6_1};
	static const uint8_t digits[] = "0\0"
					"1\0"
					"2\0"
					"3";
	static struct fixture f;
	struct fx_section *ro;
	uint8_t *p, *at;
	size_t n;

	(void)state;
	fx_make(&f, &o);
	ro = fx_section(&f, ".rodata");
	p = fx_elf(&f, &n);
	at = memmem(p, n, digits, sizeof(digits) - 1);
	assert_non_null(at);
	for (int damage = 0; damage < 4; damage++) {
		struct diag d = {0};
		struct image img;
		char path[64];
		uint8_t *q = malloc(n);
		int fd;

		memcpy(q, p, n);
		if (damage == 0)
			q[at - p - 40] = 0; /* a token too many */
		else if (damage == 1)
			q[ro->offset + 64 + 12 * FX_TABLE + 4 * f.n_symbols + 4] ^=
			    1; /* the number of symbols */
		else if (damage == 2)
			q[ro->offset + ro->size - 4] ^= 1; /* the token index */
		else
			memset(q + ro->offset + 64 + 12 * FX_TABLE, 0xee, 4 * f.n_symbols); /* the offsets */
		fd = fx_file(q, n, path);
		assert_int_equal(image_load(&img, path, false, 0, 0, &d), 0);
		assert_string_equal(img.symbol_source, "none");
		assert_int_equal(img.n_symbols, 0);
		if (damage == 1 || damage == 3)
			assert_true(img.n_notes > 0);
		image_free(&img);
		close(fd);
		free(q);
	}
	free(p);
	fx_free(&f);
}

static void check_real(const char *path, const char *const *names)
{
	struct diag d = {0};
	struct image img;

	if (access(path, R_OK)) {
		print_message("%s is not there: `make guests` fetches it\n", path);
		skip();
	}
	if (image_load(&img, path, false, 0, 0, &d))
		fail_msg("%s", d.text);
	assert_string_equal(img.symbol_source, "kallsyms");
	assert_true(img.n_symbols > 30000);
	for (; *names; names++)
		if (!image_symbol_named(&img, *names))
			fail_msg("%s: no symbol %s", path, *names);
	for (size_t i = 1; i < img.n_symbols; i++)
		assert_true(img.symbols[i - 1].va <= img.symbols[i].va);
	assert_int_equal(image_symbol_named(&img, "_text")->va,
			 image_section_at(&img, img.entry + img.alias_delta)->va);
	image_free(&img);
}

static const char *const names_i386[] = {
    "startup_32",	  "_stext", "do_int80_syscall_32", "start_kernel", "entry_INT80_32",
    "asm_exc_page_fault", NULL};

static void test_686(void **state)
{
	(void)state;
	check_real("build/guests/vmlinuz-686", names_i386);
}

static void test_686_pae(void **state)
{
	(void)state;
	check_real("build/guests/vmlinuz-686-pae", names_i386);
}

static void test_amd64(void **state)
{
	static const char *const names[] = {
	    "startup_64",	 "_stext", "start_kernel", "entry_SYSCALL_64", "__start___jump_table",
	    "__stop___ex_table", NULL};

	(void)state;
	check_real("build/guests/vmlinuz-amd64", names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_layouts), cmocka_unit_test(test_damage), cmocka_unit_test(test_686),
	    cmocka_unit_test(test_686_pae), cmocka_unit_test(test_amd64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
