// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The verifier's own eyes: what it takes for sensitive, where it sees instructions and targets, and whether its
 * count agrees with the audit's, which comes from another decoder and another list.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "hypercalls/policy.h"
#include "patcher/report.h"
#include "patcher/verify_source.h"
#include "tests/unit/verify_fixture.h"

struct sample {
	const char *bytes; /* hexadecimal */
	uint8_t len, cls, what, flow;
};

#define O VERIFY_ORDINARY
#define S VERIFY_SILENT
#define T VERIFY_TRAPS
#define L VERIFY_LEAKS

/* From the opcode maps of the SDM (2D appendix A), one encoding a form, with the prefixes that compilers use. */
static const struct sample samples[] = {
    {"fa", 1, T, W_CLI, VF_NEXT},
    {"fb", 1, T, W_STI, VF_NEXT},
    {"9c", 1, S, W_PUSHF, VF_NEXT},
    {"669c", 2, S, W_OTHER, VF_NEXT},
    {"9d", 1, S, W_POPF, VF_NEXT},
    {"669d", 2, S, W_OTHER, VF_NEXT},
    {"cf", 1, S, W_OTHER, VF_FAR},
    {"66cf", 2, S, W_OTHER, VF_FAR},
    {"cc", 1, T, W_INT3, VF_NEXT},
    {"cd80", 2, S, W_OTHER, VF_NEXT},
    {"ce", 1, T, W_OTHER, VF_NEXT},
    {"f1", 1, T, W_OTHER, VF_NEXT},
    {"9a785634121000", 7, S, W_OTHER, VF_NEXT},
    {"ff18", 2, S, W_OTHER, VF_NEXT},
    {"ea785634121000", 7, S, W_OTHER, VF_FAR},
    {"ff28", 2, S, W_OTHER, VF_FAR},
    {"cb", 1, S, W_OTHER, VF_FAR},
    {"ca0400", 3, S, W_OTHER, VF_FAR},
    {"8cd8", 2, S, W_FROM_SEG, VF_NEXT},
    {"668cd8", 3, S, W_FROM_SEG, VF_NEXT},
    {"8c18", 2, S, W_FROM_SEG, VF_NEXT},
    {"648c1d00000000", 7, S, W_FROM_SEG, VF_NEXT},
    {"8ed8", 2, S, W_OTHER, VF_NEXT},
    {"658e18", 3, S, W_OTHER, VF_NEXT},
    {"8ed0", 2, S, W_OTHER, VF_NEXT},
    {"06", 1, S, W_PUSH_SEG, VF_NEXT},
    {"0e", 1, S, W_PUSH_SEG, VF_NEXT},
    {"16", 1, S, W_PUSH_SEG, VF_NEXT},
    {"1e", 1, S, W_PUSH_SEG, VF_NEXT},
    {"0fa0", 2, S, W_PUSH_SEG, VF_NEXT},
    {"0fa8", 2, S, W_PUSH_SEG, VF_NEXT},
    {"660fa8", 3, S, W_OTHER, VF_NEXT},
    {"07", 1, S, W_OTHER, VF_NEXT},
    {"17", 1, S, W_OTHER, VF_NEXT},
    {"1f", 1, S, W_OTHER, VF_NEXT},
    {"0fa1", 2, S, W_OTHER, VF_NEXT},
    {"0fa9", 2, S, W_OTHER, VF_NEXT},
    {"c406", 2, S, W_OTHER, VF_NEXT},
    {"c506", 2, S, W_OTHER, VF_NEXT},
    {"0fb226", 3, S, W_OTHER, VF_NEXT},
    {"0fb406", 3, S, W_OTHER, VF_NEXT},
    {"0fb506", 3, S, W_OTHER, VF_NEXT},
    {"0f0100", 3, S, W_OTHER, VF_NEXT},
    {"0f0108", 3, S, W_OTHER, VF_NEXT},
    {"0f0110", 3, T, W_OTHER, VF_NEXT},
    {"0f0118", 3, T, W_OTHER, VF_NEXT},
    {"0f01e0", 3, S, W_OTHER, VF_NEXT},
    {"0f01f0", 3, T, W_OTHER, VF_NEXT},
    {"0f0138", 3, T, W_OTHER, VF_NEXT},
    {"0f00c0", 3, S, W_OTHER, VF_NEXT},
    {"0f00c8", 3, S, W_OTHER, VF_NEXT},
    {"0f00d0", 3, T, W_OTHER, VF_NEXT},
    {"0f00d8", 3, T, W_OTHER, VF_NEXT},
    {"0f00e0", 3, S, W_OTHER, VF_NEXT},
    {"0f00e8", 3, S, W_OTHER, VF_NEXT},
    {"0f02c1", 3, S, W_OTHER, VF_NEXT},
    {"0f03c1", 3, S, W_OTHER, VF_NEXT},
    {"63c8", 2, S, W_OTHER, VF_NEXT},
    {"0f20c0", 3, T, W_FROM_CR, VF_NEXT},
    {"0f22d8", 3, T, W_OTHER, VF_NEXT},
    {"0f21f8", 3, T, W_OTHER, VF_NEXT},
    {"0f23f8", 3, T, W_OTHER, VF_NEXT},
    {"0f06", 2, T, W_OTHER, VF_NEXT},
    {"0f08", 2, T, W_OTHER, VF_NEXT},
    {"0f09", 2, T, W_OTHER, VF_NEXT},
    {"f30f09", 3, T, W_OTHER, VF_NEXT},
    {"e460", 2, T, W_OTHER, VF_NEXT},
    {"ed", 1, T, W_OTHER, VF_NEXT},
    {"66ed", 2, T, W_OTHER, VF_NEXT},
    {"e680", 2, T, W_OTHER, VF_NEXT},
    {"ee", 1, T, W_OTHER, VF_NEXT},
    {"f36c", 2, T, W_OTHER, VF_NEXT},
    {"f36f", 2, T, W_OTHER, VF_NEXT},
    {"f3666f", 3, T, W_OTHER, VF_NEXT},
    {"f4", 1, T, W_OTHER, VF_NEXT},
    {"0f30", 2, T, W_OTHER, VF_NEXT},
    {"0f32", 2, T, W_OTHER, VF_NEXT},
    {"0f33", 2, S, W_OTHER, VF_NEXT},
    {"0fa2", 2, S, W_OTHER, VF_NEXT},
    {"0f31", 2, L, W_OTHER, VF_NEXT},
    {"0f01f9", 3, L, W_OTHER, VF_NEXT},
    {"f30fc7f8", 4, L, W_OTHER, VF_NEXT},
    {"0f01d0", 3, L, W_OTHER, VF_NEXT},
    {"0f01d1", 3, T, W_OTHER, VF_NEXT},
    {"0f01ee", 3, L, W_OTHER, VF_NEXT},
    {"0f01ef", 3, S, W_OTHER, VF_NEXT},
    {"0fae28", 3, L, W_OTHER, VF_NEXT},
    {"0fc728", 3, T, W_OTHER, VF_NEXT},
    {"0fc718", 3, T, W_OTHER, VF_NEXT},
    {"0f01c8", 3, T, W_OTHER, VF_NEXT},
    {"0f01c9", 3, T, W_OTHER, VF_NEXT},
    {"0f01fa", 3, L, W_OTHER, VF_NEXT},
    {"0f01fb", 3, L, W_OTHER, VF_NEXT},
    {"660faef1", 4, L, W_OTHER, VF_NEXT},
    {"f20faef1", 4, L, W_OTHER, VF_NEXT},
    {"f30faef1", 4, L, W_OTHER, VF_NEXT},
    {"0f01ca", 3, T, W_OTHER, VF_NEXT},
    {"0f01cb", 3, T, W_OTHER, VF_NEXT},
    {"0f34", 2, S, W_OTHER, VF_NEXT},
    {"0f35", 2, T, W_OTHER, VF_FAR},
    {"0f05", 2, S, W_OTHER, VF_NEXT},
    {"0f07", 2, T, W_OTHER, VF_FAR},
    {"0f01c1", 3, S, W_OTHER, VF_NEXT},
    {"0f01d9", 3, S, W_OTHER, VF_NEXT},
    {"0f01d4", 3, S, W_OTHER, VF_NEXT},
    {"0f01c2", 3, T, W_OTHER, VF_NEXT},
    {"0f01d8", 3, T, W_OTHER, VF_NEXT},
    {"0f01dc", 3, T, W_OTHER, VF_NEXT},
    {"0f01df", 3, T, W_OTHER, VF_NEXT},
    {"660f388210", 5, T, W_OTHER, VF_NEXT},
    {"0faa", 2, T, W_OTHER, VF_FAR},
    {"0f37", 2, T, W_OTHER, VF_NEXT},
    /* what only looks like them */
    {"90", 1, O, W_NONE, VF_NEXT},
    {"89d8", 2, O, W_NONE, VF_NEXT},
    {"648b1d00000000", 7, O, W_NONE, VF_NEXT},
    {"56", 1, O, W_NONE, VF_NEXT},
    {"64ff3500000000", 7, O, W_NONE, VF_NEXT},
    {"658f00", 3, O, W_NONE, VF_NEXT},
    {"f3a4", 2, O, W_NONE, VF_NEXT},
    {"f0ff00", 3, O, W_NONE, VF_NEXT},
    {"0f0b", 2, O, W_NONE, VF_STOP},
    /* control flow */
    {"eb10", 2, O, W_NONE, VF_JMP},
    {"e900000000", 5, O, W_NONE, VF_JMP},
    {"e800000000", 5, O, W_NONE, VF_CALL},
    {"7410", 2, O, W_NONE, VF_COND},
    {"2e7410", 3, O, W_NONE, VF_COND},
    {"0f8400000000", 6, O, W_NONE, VF_COND},
    {"e210", 2, O, W_NONE, VF_COND},
    {"e310", 2, O, W_NONE, VF_COND},
    {"ffe0", 2, O, W_NONE, VF_JMP_IND},
    {"ff2485785634c1", 7, O, W_NONE, VF_JMP_IND},
    {"ffd0", 2, O, W_NONE, VF_CALL_IND},
    {"c3", 1, O, W_NONE, VF_RET},
    {"f3c3", 2, O, W_NONE, VF_RET},
    {"c20800", 3, O, W_NONE, VF_RET},
    {"66e80000", 4, O, W_NONE, VF_ODD},
    {"66c3", 2, O, W_NONE, VF_ODD},
    {"c7f800000000", 6, O, W_NONE, VF_ODD},
};

static size_t unhex(const char *hex, uint8_t *out)
{
	size_t n = 0;
	unsigned v;

	for (; *hex && sscanf(hex, "%2x", &v) == 1; hex += 2)
		out[n++] = v;
	return n;
}

static void test_samples(void **state)
{
	struct verify_decoder *d = verify_decoder_new();

	(void)state;
	assert_non_null(d);
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		const struct sample *s = &samples[i];
		uint8_t b[16];
		size_t n = unhex(s->bytes, b);
		struct verify_insn in;

		/* Nothing behind it: the decoder must not want more than the instruction. */
		if (verify_decode(d, b, n, 0xc0000000, &in) != s->len || in.cls != s->cls ||
		    in.what != s->what || in.flow != s->flow)
			fail_msg("%s: length %u, class %u, what %u, flow %u (%s %s)", s->bytes, in.len,
				 in.cls, in.what, in.flow, in.name, in.args);
		assert_int_equal(verify_decode(d, b, n - 1, 0xc0000000, &in) >= s->len, 0);
	}
	verify_decoder_free(d);
}

static void test_branch_targets(void **state)
{
	static const struct {
		uint8_t b[6];
		uint8_t n;
		uint32_t target;
	} t[] = {
	    {{0xeb, 0xfe}, 2, 0xc0000000},
	    {{0x74, 0x7f}, 2, 0xc0000081},
	    {{0x75, 0x80}, 2, 0xbfffff82},
	    {{0xe8, 0xfb, 0xff, 0xff, 0xff}, 5, 0xc0000000},
	    {{0xe9, 0x00, 0x00, 0x00, 0x40}, 5, 0x00000005},
	    {{0x0f, 0x85, 0x00, 0x00, 0x00, 0x80}, 6, 0x40000006},
	};
	struct verify_decoder *d = verify_decoder_new();
	struct verify_insn in;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(verify_decode(d, t[i].b, t[i].n, 0xc0000000, &in), t[i].n);
		assert_int_equal(in.target, t[i].target);
	}
	verify_decoder_free(d);
}

static void load_small(struct image *img, int *fd)
{
	static struct vfx_file f;
	char path[64];
	struct diag d = {""};

	vfx_build(&f);
	vfx_path(&f, path, sizeof(path), fd);
	if (image_load(img, path, false, 0, 0, &d))
		fail_msg("%s", d.text);
}

static struct verify_source *load_source(const struct image *img, int threads)
{
	struct diag d = {""};
	struct verify_source *src = verify_source_load(img, threads, &d);

	if (!src)
		fail_msg("%s", d.text);
	return src;
}

static unsigned mark_of(const struct verify_source *src, uint32_t va)
{
	const struct verify_text *t = verify_text_at(src, va);

	assert_non_null(t);
	return t->mark[va - t->va] & ~MARK_NAMED;
}

static unsigned target_of(const struct verify_source *src, uint32_t va)
{
	const struct verify_text *t = verify_text_at(src, va);

	assert_non_null(t);
	return t->target[va - t->va];
}

static void test_tables(void **state)
{
	struct image img;
	struct verify_source *src;
	int fd;

	(void)state;
	load_small(&img, &fd);
	src = load_source(&img, 1);
	assert_true(src->have_relocs);
	assert_int_equal(src->fentry, vfx_symbol("__fentry__"));
	assert_int_equal(target_of(src, vfx_symbol("startup_32")), VT_ENTRY);
	assert_int_equal(target_of(src, vfx_symbol("t_symbol_inner")), VT_SYMBOL);
	/* Offsets of the labels inside their functions, see verify_fixture.h. */
	assert_int_equal(target_of(src, vfx_symbol("t_jump_label") + 0x16), VT_JUMP_LABEL);
	assert_int_equal(mark_of(src, vfx_symbol("t_jump_label") + 2), MARK_REWRITTEN);
	assert_int_equal(mark_of(src, vfx_symbol("t_jump_label") + 6), MARK_REWRITTEN);
	assert_int_equal(mark_of(src, vfx_symbol("t_jump_label") + 7), 0);
	assert_int_equal(target_of(src, vfx_symbol("t_reloc") + 6), VT_RELOC);
	assert_int_equal(target_of(src, vfx_symbol("t_alternative") + 6), VT_ALTERNATIVE);
	assert_int_equal(mark_of(src, vfx_symbol("t_alternative") + 6), MARK_REWRITTEN);
	assert_int_equal(mark_of(src, vfx_symbol("t_lock") + 6), MARK_REWRITTEN | MARK_POINT);
	assert_int_equal(mark_of(src, vfx_symbol("t_lock") + 7), 0);
	assert_int_equal(mark_of(src, vfx_symbol("t_paravirt") + 5), MARK_REWRITTEN);
	assert_int_equal(mark_of(src, vfx_symbol("t_ftrace") + 1), MARK_REWRITTEN);
	assert_int_equal(mark_of(src, vfx_symbol("t_ftrace") + 5), MARK_REWRITTEN);
	assert_int_equal(mark_of(src, vfx_symbol("t_ftrace") + 6), 0);
	assert_int_equal(mark_of(src, vfx_symbol("t_fixup")), MARK_POINT);
	assert_int_equal(mark_of(src, vfx_symbol("t_fixup") + 2), MARK_FIXUP);
	assert_int_equal(mark_of(src, vfx_symbol("t_warn")), MARK_POINT);
	assert_int_equal(mark_of(src, vfx_symbol("t_bug") + 6), MARK_POINT | MARK_NORETURN);
	assert_int_equal(target_of(src, vfx_symbol("t_hop") + 6), VT_BRANCH);
	verify_source_free(src);
	image_free(&img);
	close(fd);
}

/* Two threads see what one sees. */
static void same_source(const struct image *img)
{
	struct verify_source *one = load_source(img, 1), *two = load_source(img, 2);

	assert_int_equal(one->n_instructions, two->n_instructions);
	assert_int_equal(one->n_targets, two->n_targets);
	assert_int_equal(one->n_sensitive, two->n_sensitive);
	assert_memory_equal(one->sensitive, two->sensitive, one->n_sensitive * sizeof(one->sensitive[0]));
	for (size_t i = 0; i < one->n_text; i++)
		assert_memory_equal(one->text[i].start, two->text[i].start, one->text[i].size);
	verify_source_free(one);
	verify_source_free(two);
}

/* A list kept in step: every site of one is a site of the other. Differences are printed. */
static size_t differences(const struct analysis *a, const struct verify_source *src, size_t *n_sites)
{
	size_t i = 0, k = 0, diff = 0;

	*n_sites = 0;
	while (i < a->cfg.n_sites || k < src->n_sensitive) {
		const struct cfg_site *x = i < a->cfg.n_sites ? &a->cfg.sites[i] : NULL;
		const struct verify_sensitive *y = k < src->n_sensitive ? &src->sensitive[k] : NULL;

		/* Neither counts replacements (never executed where they stand) or int3, most of which is fill. */
		if (x && (x->origin == ORIGIN_REPLACEMENT || x->op == OP_INT3)) {
			i++;
		} else if (y && y->what == W_INT3) {
			k++;
		} else if (x && y && x->va == y->va && x->len == y->len) {
			(*n_sites)++;
			i++;
			k++;
		} else if (x && (!y || x->va <= y->va)) {
			print_message("0x%x: %s, only in the audit\n", (uint32_t)x->va,
				      policy_get(x->op)->mnemonic);
			diff++;
			i++;
		} else {
			print_message("0x%x: only in the verifier's sweep\n", y->va);
			diff++;
			k++;
		}
	}
	return diff;
}

/* The audit's list against an independent linear disassembly with an independent list of what is sensitive. */
static void same_sites(const char *path, size_t at_least)
{
	struct analysis_options opt = {0};
	struct analysis a;
	struct verify_source *src;
	struct diag d = {""};
	size_t n, diff;

	if (access(path, R_OK)) {
		print_message("no %s: `make guests` fetches it\n", path);
		skip();
	}
	if (analysis_load(&a, path, &opt, &d))
		fail_msg("%s", d.text);
	src = load_source(&a.img, 2);
	diff = differences(&a, src, &n);
	print_message("%zu sites in both, %zu differences\n", n, diff);
	assert_true(n >= at_least);
	assert_true(diff * 100 <= n);
	verify_source_free(src);
	analysis_free(&a);
}

static void test_audit_and_sweep_agree(void **state)
{
	struct analysis_options opt = {0};
	struct analysis a;
	struct verify_source *src;
	struct diag d = {""};
	static struct vfx_file f;
	char path[64];
	size_t n;
	int fd;

	(void)state;
	vfx_build(&f);
	vfx_path(&f, path, sizeof(path), &fd);
	if (analysis_load(&a, path, &opt, &d))
		fail_msg("%s", d.text);
	same_source(&a.img);
	src = load_source(&a.img, 1);
	assert_int_equal(differences(&a, src, &n), 0);
	assert_true(n > 60);
	verify_source_free(src);
	analysis_free(&a);
	close(fd);
}

/* Where the kernel rewrites its text, a run met instructions that the image has not. */
static void test_a_run_in_an_alternative(void **state)
{
	struct runtime_site site = {.va = vfx_symbol("t_alternative") + 6 + 1, .count = 1};
	struct runtime_report seen = {.sites = &site, .n_sites = 1};
	struct analysis_options opt = {.seen = &seen};
	static struct vfx_file f;
	struct diag d = {""};
	struct analysis a;
	char path[64];
	int fd;

	(void)state;
	vfx_build(&f);
	vfx_path(&f, path, sizeof(path), &fd);
	if (analysis_load(&a, path, &opt, &d))
		fail_msg("%s", d.text);
	assert_int_equal(cfg_marks(&a.cfg, site.va) & (CFG_CODE | CFG_START), CFG_CODE);
	for (size_t i = 0; i < a.targets.n_targets; i++)
		assert_int_not_equal(a.targets.targets[i].source, TARGET_RUN);
	analysis_free(&a);
	close(fd);
}

static void test_audit_and_sweep_agree_686(void **state)
{
	(void)state;
	same_sites("build/guests/vmlinuz-686", 4000);
}

static void test_audit_and_sweep_agree_686_pae(void **state)
{
	(void)state;
	same_sites("build/guests/vmlinuz-686-pae", 4000);
}

/* In a real kernel every target is a boundary, so no byte has two readings. */
static void test_no_conflicts_in_a_real_kernel(void **state)
{
	const char *path = "build/guests/vmlinuz-686";
	struct diag d = {""};
	struct image img;
	struct verify_source *src;
	size_t conflicts = 0;

	(void)state;
	if (access(path, R_OK)) {
		print_message("no %s: `make guests` fetches it\n", path);
		skip();
	}
	if (image_load(&img, path, false, 0, 0, &d))
		fail_msg("%s", d.text);
	src = load_source(&img, 2);
	for (size_t i = 0; i < src->n_text; i++)
		for (uint32_t k = 0; k < src->text[i].size; k++)
			conflicts += (src->text[i].mark[k] & MARK_CONFLICT) != 0;
	assert_int_equal(conflicts, 0);
	assert_true(src->table_counts[VT_JUMP_LABEL] > 2 * 2000);
	assert_true(src->table_counts[VT_RELOC] > 50000);
	assert_true(src->n_targets > 200000);
	verify_source_free(src);
	image_free(&img);
}

/* Control that can arrive in the middle of an instruction leaves no single reading of it. */
static void test_conflict(void **state)
{
	/* jmp .+3; mov $0x909cfa,%eax: the jump lands on the cli hidden in the immediate */
	static const uint8_t code[] = {0xeb, 0x01, 0xb8, 0xfa, 0x9c, 0x90, 0x90, 0xc3, 0x90, 0x90};
	struct image_section sec = {.name = (char *)".text",
				    .va = 0xc0100000,
				    .size = sizeof(code),
				    .data = code,
				    .exec = true,
				    .alloc = true};
	struct image img = {.path = (char *)"conflict",
			    .file = (uint8_t *)code,
			    .elf = (uint8_t *)code,
			    .width = 32,
			    .sections = &sec,
			    .n_sections = 1,
			    .entry = 0xc0100000};
	struct verify_source *src;

	(void)state;
	src = load_source(&img, 1);
	assert_int_equal(mark_of(src, 0xc0100000), 0);
	for (uint32_t va = 0xc0100002; va < 0xc0100007; va++)
		assert_int_equal(mark_of(src, va), MARK_CONFLICT);
	assert_int_equal(mark_of(src, 0xc0100007), 0);
	verify_source_free(src);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_samples),
	    cmocka_unit_test(test_branch_targets),
	    cmocka_unit_test(test_tables),
	    cmocka_unit_test(test_conflict),
	    cmocka_unit_test(test_audit_and_sweep_agree),
	    cmocka_unit_test(test_a_run_in_an_alternative),
	    cmocka_unit_test(test_audit_and_sweep_agree_686),
	    cmocka_unit_test(test_audit_and_sweep_agree_686_pae),
	    cmocka_unit_test(test_no_conflicts_in_a_real_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
