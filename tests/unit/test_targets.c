// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Every table's entries must arrive as targets and rewritten ranges: of a fixture whose every entry is known,
 * with boundary symbols and without them, and of the stock kernels where they are at hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "patcher/image.h"
#include "patcher/orc.h"
#include "tests/unit/kernel_fixture.h"

static bool has_target(const struct targets *t, uint64_t va, enum target_source source)
{
	for (size_t i = 0; i < t->n_targets; i++)
		if (t->targets[i].va == va && t->targets[i].source == source)
			return true;
	return false;
}

static bool has_rewritten(const struct targets *t, uint64_t va, size_t len, enum target_source source)
{
	for (size_t i = 0; i < t->n_rewritten; i++)
		if (t->rewritten[i].start == va && t->rewritten[i].end == va + len &&
		    t->rewritten[i].source == source)
			return true;
	return false;
}

static size_t count(const struct targets *t, enum target_source source)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n_targets; i++)
		n += t->targets[i].source == source;
	return n;
}

static size_t count_rewritten(const struct targets *t, enum target_source source)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n_rewritten; i++)
		n += t->rewritten[i].source == source;
	return n;
}

static void check_order(const struct targets *t)
{
	for (size_t i = 1; i < t->n_targets; i++)
		assert_true(t->targets[i - 1].va < t->targets[i].va ||
			    (t->targets[i - 1].va == t->targets[i].va &&
			     t->targets[i - 1].source < t->targets[i].source));
	for (size_t i = 1; i < t->n_rewritten; i++)
		assert_true(t->rewritten[i - 1].start <= t->rewritten[i].start);
}

static void check_fixture(const struct fx_options *o)
{
	static struct fixture f;
	struct targets t;
	struct diag d = {0};
	struct image img;
	char path[64];
	uint8_t *p;
	size_t n;
	int fd;

	fx_make(&f, o);
	p = fx_elf(&f, &n);
	fd = fx_file(p, n, path);
	if (image_load(&img, path, false, 0, 0, &d) || targets_collect(&t, &img, &d))
		fail_msg("%s", d.text);
	for (size_t i = 0; i < img.n_notes; i++)
		print_message("note: %s\n", img.notes[i]);
	assert_int_equal(img.n_notes, 0);
	check_order(&t);
	assert_true(has_target(&t, fx_base(&f), TARGET_ENTRY));
	for (int i = 0; i < FX_TABLE; i++) {
		uint64_t va = fx_function(&f, i);

		assert_true(has_target(&t, va, TARGET_KSYMTAB));
		assert_true(has_target(&t, va, TARGET_FTRACE_SITE));
		assert_true(has_rewritten(&t, va, 5, TARGET_FTRACE_SITE));
		assert_true(has_target(&t, va + FX_LABEL, TARGET_JUMP_LABEL_SITE));
		assert_true(has_rewritten(&t, va + FX_LABEL, i % 2 ? 2 : 5, TARGET_JUMP_LABEL_SITE));
		assert_true(has_target(&t, va + 11, TARGET_JUMP_LABEL));
		assert_true(has_rewritten(&t, va + FX_LOCK, 1, TARGET_SMP_LOCK));
		assert_true(has_target(&t, va + FX_BUG, TARGET_BUG));
		assert_true(has_target(&t, va + FX_BUG + 2, TARGET_BUG));
		assert_true(has_target(&t, va + FX_EX_INSN, TARGET_EXTABLE_SITE));
		assert_true(has_target(&t, va + FX_EX_FIXUP, TARGET_EXTABLE));
		assert_true(has_target(&t, va + FX_ALT, TARGET_ALTERNATIVE));
		assert_true(has_target(&t, va + FX_ALT + FX_ALT_LEN, TARGET_ALTERNATIVE));
		assert_true(has_rewritten(&t, va + FX_ALT, FX_ALT_LEN, TARGET_ALTERNATIVE));
		assert_true(has_target(&t, va + FX_RET, TARGET_INITCALL));
	}
	/* The jump in the replacement, through the site that it is copied to. */
	assert_true(has_target(&t, fx_function(&f, 40) + FX_RET, TARGET_ALTERNATIVE));
	assert_true(has_rewritten(&t, fx_function(&f, 3) + FX_CLI, 1, TARGET_PARAVIRT));
	for (int i = 0; i < FX_N_TRAMPOLINES; i++) {
		assert_true(has_target(&t, fx_function(&f, 30 + i) + FX_RET, TARGET_STATIC_CALL));
		assert_true(
		    has_rewritten(&t, fx_base(&f) + FX_TRAMPOLINES + 8 * i, 5, TARGET_STATIC_CALL_SITE));
	}
	for (int i = 20; i < 24; i++)
		assert_true(has_target(&t, fx_function(&f, i) + FX_CLI, TARGET_RELOC));
	assert_int_equal(count(&t, TARGET_JUMP_LABEL_SITE), FX_TABLE);
	assert_int_equal(count(&t, TARGET_FTRACE_SITE), FX_TABLE);
	assert_int_equal(count(&t, TARGET_INITCALL), FX_TABLE);
	assert_int_equal(count_rewritten(&t, TARGET_SMP_LOCK), FX_TABLE);
	if (o->symtab || o->kallsyms)
		assert_true(has_target(&t, fx_base(&f) + FX_FENTRY, TARGET_SYMBOL));
	targets_free(&t);
	image_free(&img);
	close(fd);
	free(p);
	fx_free(&f);
}

static void test_fixture(void **state)
{
	(void)state;
	for (int width = 32; width <= 64; width += 32) {
		check_fixture(&(struct fx_options){.width = width, .kallsyms = FX_KS_6_1});
		check_fixture(&(struct fx_options){.width = width, .symtab = true, .boundary_symbols = true});
		check_fixture(&(struct fx_options){.width = width, .symtab = true});
		check_fixture(&(struct fx_options){.width = width, .no_relocs = true});
		check_fixture(&(struct fx_options){.width = width, .symtab = true, .rel_section = true});
	}
}

/* Damage of one table costs that table, tells so, and leaves the others. */
static void test_damaged_table(void **state)
{
	struct fx_options o = {.width = 32, .symtab = true, .boundary_symbols = true};
	static const char *const names[] = {"__ex_table", ".altinstructions", "__bug_table", "__ksymtab"};
	static struct fixture f;

	(void)state;
	for (size_t k = 0; k < sizeof(names) / sizeof(*names); k++) {
		struct fx_section *s;
		struct diag d = {0};
		struct targets t;
		struct image img;
		bool told = false;
		char path[64];
		uint8_t *p;
		size_t n;
		int fd;

		fx_make(&f, &o);
		s = fx_section(&f, names[k]);
		memset(s->data, 0x77, s->size);
		p = fx_elf(&f, &n);
		fd = fx_file(p, n, path);
		if (image_load(&img, path, false, 0, 0, &d) || targets_collect(&t, &img, &d))
			fail_msg("%s", d.text);
		for (size_t i = 0; i < img.n_notes; i++)
			told |= !strncmp(img.notes[i], names[k], strlen(names[k]));
		assert_true(told);
		assert_int_equal(count(&t, TARGET_JUMP_LABEL_SITE), FX_TABLE);
		targets_free(&t);
		image_free(&img);
		close(fd);
		free(p);
		fx_free(&f);
	}
}

static struct targets orc_collect(struct fixture *f, struct image *img)
{
	struct targets t;
	struct diag d = {0};
	char path[64];
	size_t n;
	uint8_t *p = fx_elf(f, &n);
	int fd = fx_file(p, n, path);

	if (image_load(img, path, false, 0, 0, &d) || targets_collect(&t, img, &d))
		fail_msg("%s", d.text);
	close(fd);
	free(p);
	return t;
}

static void expect_orc(const struct targets *t, uint64_t va, const char *type, const char *sp, const char *bp,
		       bool is_signal)
{
	char text[ORC_PLACE_MAX];
	struct orc_frame frame = orc_at(t->orc, va);

	assert_string_equal(orc_type_name(&frame), type);
	assert_string_equal(orc_sp(&frame, text, sizeof(text)), sp);
	assert_string_equal(orc_bp(&frame, text, sizeof(text)), bp);
	assert_int_equal(frame.signal, is_signal);
}

static void test_orc(void **state)
{
	static struct fixture f;

	(void)state;
	for (enum fx_orc layout = FX_ORC_4_14; layout <= FX_ORC_6_4; layout++) {
		struct image img;
		struct targets t;

		fx_make(&f, &(struct fx_options){.width = 64, .symtab = true, .orc = layout});
		t = orc_collect(&f, &img);
		assert_int_equal(img.n_notes, 0);
		assert_non_null(t.orc);
		expect_orc(&t, fx_function(&f, 0) - 1, "no entry", "", "", false);
		expect_orc(&t, fx_function(&f, 3) + FX_CLI - 1, "call", "sp+8", "", false);
		expect_orc(&t, fx_function(&f, 3) + FX_CLI, "call", "sp+16", "prevsp-16", false);
		expect_orc(&t, fx_function(&f, FX_TABLE), "regs", "sp+8", "", layout != FX_ORC_4_14);
		expect_orc(&t, fx_function(&f, FX_TABLE + 1), "regs (partial)", "(sp)-8", "", false);
		expect_orc(&t, fx_function(&f, FX_TABLE + 2), "end of stack", "", "", false);
		expect_orc(&t, fx_function(&f, FX_TABLE + 3), "undefined", "", "", false);
		targets_free(&t);
		image_free(&img);
		fx_free(&f);
	}
}

/* Damage is named, and what it spares is still read: the entries by halves, by kind, by address. */
static void test_orc_damaged(void **state)
{
	static const char *const told[] = {
	    ".orc_unwind at 0x%llx: 44 addresses for 43 entries; going on with the 43 that both have",
	    ".orc_unwind at 0x%llx: 1 of 44 entries have a type or register that Linux does not have",
	    ".orc_unwind_ip at 0x%llx: 1 of 44 entries name no code; skipped those",
	    "ORC: .orc_unwind_ip without the other table; skipped",
	};
	static struct fixture f;

	(void)state;
	for (size_t k = 0; k < sizeof(told) / sizeof(*told); k++) {
		struct fx_section *ip, *entries;
		struct targets t;
		struct image img;
		char note[128];

		fx_make(&f, &(struct fx_options){.width = 64, .symtab = true, .orc = FX_ORC_4_14});
		ip = fx_section(&f, ".orc_unwind_ip");
		entries = fx_section(&f, ".orc_unwind");
		if (k == 0)
			entries->size -= 2;
		else if (k == 1)
			entries->data[4] = 0x0a; /* ORC_REG_* ends at 9 */
		else if (k == 2)
			ip->data[3] = 0x30;
		else
			entries->name = ".gone";
		t = orc_collect(&f, &img);
		snprintf(note, sizeof(note), told[k], (unsigned long long)(k == 2 ? ip->va : entries->va));
		assert_int_equal(img.n_notes, 1);
		assert_string_equal(img.notes[0], note);
		assert_int_equal(count(&t, TARGET_JUMP_LABEL_SITE), FX_TABLE);
		assert_int_equal(!t.orc, k == 3);
		if (t.orc)
			expect_orc(&t, fx_function(&f, 3) + FX_CLI, "call", "sp+16", "prevsp-16", false);
		if (k == 1)
			expect_orc(&t, fx_function(&f, 0), "invalid", "", "", false);
		targets_free(&t);
		image_free(&img);
		fx_free(&f);
	}
}

/* Floors a little under what Debian's 6.1 kernels hold, so that a point release does not fail them. */
static void check_real(const char *path, const size_t *floors)
{
	struct diag d = {0};
	struct targets t;
	struct image img;

	if (access(path, R_OK)) {
		print_message("%s is not there: `make guests` fetches it\n", path);
		skip();
	}
	if (image_load(&img, path, false, 0, 0, &d) || targets_collect(&t, &img, &d))
		fail_msg("%s", d.text);
	check_order(&t);
	for (int i = 0; i < TARGET_SOURCE_COUNT; i++)
		if (count(&t, i) < floors[i])
			fail_msg("%s: %zu targets of source %d, at least %zu expected", path, count(&t, i), i,
				 floors[i]);
	assert_int_equal(count(&t, TARGET_FTRACE_SITE), count_rewritten(&t, TARGET_FTRACE_SITE));
	assert_int_equal(count(&t, TARGET_SMP_LOCK), count_rewritten(&t, TARGET_SMP_LOCK));
	for (size_t i = 0; i < img.n_notes; i++)
		print_message("note: %s\n", img.notes[i]);
	assert_int_equal(img.n_notes, 0);
	targets_free(&t);
	image_free(&img);
}

static const size_t floors_i386[TARGET_SOURCE_COUNT] = {
    [TARGET_ENTRY] = 1,
    [TARGET_SYMBOL] = 40000,
    [TARGET_RELOC] = 40000,
    [TARGET_EXTABLE] = 700,
    [TARGET_EXTABLE_SITE] = 900,
    [TARGET_JUMP_LABEL] = 4500,
    [TARGET_JUMP_LABEL_SITE] = 4500,
    [TARGET_STATIC_CALL] = 500,
    [TARGET_STATIC_CALL_SITE] = 500,
    [TARGET_INITCALL] = 500,
    [TARGET_KSYMTAB] = 9000,
    [TARGET_ALTERNATIVE] = 2000,
    [TARGET_PARAVIRT] = 200,
    [TARGET_SMP_LOCK] = 7000,
    [TARGET_BUG] = 12000,
    [TARGET_FTRACE_SITE] = 34000,
};

static void test_686(void **state)
{
	(void)state;
	check_real("build/guests/vmlinuz-686", floors_i386);
}

static void test_686_pae(void **state)
{
	(void)state;
	check_real("build/guests/vmlinuz-686-pae", floors_i386);
}

static void test_amd64(void **state)
{
	static const size_t floors[TARGET_SOURCE_COUNT] = {
	    [TARGET_ENTRY] = 1,
	    [TARGET_SYMBOL] = 45000,
	    [TARGET_RELOC] = 40000,
	    [TARGET_EXTABLE] = 250,
	    [TARGET_EXTABLE_SITE] = 500,
	    [TARGET_JUMP_LABEL] = 5500,
	    [TARGET_JUMP_LABEL_SITE] = 5500,
	    [TARGET_STATIC_CALL_SITE] = 4000,
	    [TARGET_STATIC_CALL] = 500,
	    [TARGET_INITCALL] = 500,
	    [TARGET_KSYMTAB] = 9000,
	    [TARGET_ALTERNATIVE] = 60000,
	    [TARGET_PARAVIRT] = 3000,
	    [TARGET_SMP_LOCK] = 8000,
	    [TARGET_BUG] = 13000,
	    [TARGET_FTRACE_SITE] = 38000,
	};

	(void)state;
	check_real("build/guests/vmlinuz-amd64", floors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_fixture), cmocka_unit_test(test_damaged_table),
	    cmocka_unit_test(test_orc),	    cmocka_unit_test(test_orc_damaged),
	    cmocka_unit_test(test_686),	    cmocka_unit_test(test_686_pae),
	    cmocka_unit_test(test_amd64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
