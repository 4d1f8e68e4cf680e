// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The proof of a patched module: it holds for what the patcher writes, and for nothing that differs from it where it
 * matters. Plans are changed and sealed anew, so that the check word is no help.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "hypercalls/module_plan.h"
#include "patcher/module_patch.h"
#include "patcher/patch.h"
#include "patcher/verify.h"
#include "tests/unit/module_fixture.h"

/* A window with a relocated operand inside, one behind a branch target, one by hop, a breakpoint; .init code. */
static const char source[] = ".text\n"
			     "init_module: pushf; cli; movl counter, %eax; incl %eax; popf; ret\n"
			     "behind: call printk; 1: cli; nop; nop; nop; nop; jnz 1b; ret\n"
			     "hopper: call printk; 5: popf; ret; 2: ret; .skip 9, 0xcc\n"
			     "others: jz 5b; jmp 2b\n"
			     "lonely: jmp 3f; 3: popf; 4: jmp 4b\n"
			     ".data\ncounter: .long 0\n"
			     ".section .init.text, \"ax\"\n"
			     "setup: sti; nop; nop; nop; nop; ret\n";

struct module {
	uint8_t *ko;
	size_t size;
	struct module_patched p;
	struct image img;
	struct verify_source *src;
};

static int setup(void **state)
{
	struct module *m = calloc(1, sizeof(*m));
	struct diag d = {0};
	bool damaged;
	uint8_t *copy;

	module_assemble(source, &m->ko, &m->size);
	assert_int_equal(module_patch(&m->p, "m.ko", m->ko, m->size, &d), 0);
	copy = malloc(m->size);
	memcpy(copy, m->ko, m->size);
	assert_int_equal(image_load_module(&m->img, "m.ko", copy, m->size, &damaged, &d), 0);
	m->src = verify_source_load(&m->img, 1, &d);
	assert_non_null(m->src);
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	struct module *m = *state;

	verify_source_free(m->src);
	image_free(&m->img);
	free(m->p.bytes);
	free(m->ko);
	free(m);
	return 0;
}

/* 0 or -EBADMSG; the text of the first failures in *text, the caller's. */
static int judge(const struct module *m, const uint8_t *file, size_t size, char **text)
{
	struct verify_result r;
	struct diag d = {0};
	int err = verify_check(m->src, file, size, &r, &d);

	*text = r.text;
	return err;
}

static void refused(const struct module *m, const uint8_t *file, const char *why)
{
	char *text;

	assert_int_not_equal(judge(m, file, m->p.size, &text), 0);
	if (!strstr(text, why))
		fail_msg("\"%s\" expected in:\n%s", why, text);
	free(text);
}

/* A copy of the patched file and its plan; plan_done() seals it. */
struct changed {
	uint8_t *file, *plan;
	struct module_plan_header *h;
	struct module_plan_section *s;
	struct module_plan_window *w;
	uint8_t *starts;
};

static struct changed change(const struct module *m)
{
	struct changed c = {.file = malloc(m->p.size)};

	memcpy(c.file, m->p.bytes, m->p.size);
	c.plan = memmem(c.file, m->p.size, MODULE_PLAN_MAGIC, 8);
	assert_non_null(c.plan);
	c.h = (void *)c.plan;
	c.s = (void *)(c.h + 1);
	c.w = (void *)(c.plan + module_plan_windows_at(c.h));
	c.starts = c.plan + module_plan_starts_at(c.h);
	return c;
}

static void refused_plan(const struct module *m, struct changed *c, const char *why)
{
	module_plan_seal(c->plan, c->h->size);
	refused(m, c->file, why);
	free(c->file);
}

static void what_patch_writes_holds(void **state)
{
	struct module *m = *state;
	char *text;

	assert_int_equal(m->p.windows, 4);
	assert_int_equal(m->p.tactics[TACTIC_HOP], 1);
	assert_int_equal(m->p.tactics[TACTIC_BREAKPOINT], 1);
	if (judge(m, m->p.bytes, m->p.size, &text))
		fail_msg("%s", text);
	free(text);
}

static void windows_are_looked_at(void **state)
{
	struct module *m = *state;
	struct changed c = change(m);

	c.w[0].offset++; /* into the window's second instruction */
	c.w[0].len--;
	refused_plan(m, &c, "window");
	c = change(m);
	c.w[0].len -= 3; /* ends in the middle of an instruction */
	refused_plan(m, &c, "window");
	c = change(m);
	c.w[0].n_insns--; /* as if the last one were padding */
	refused_plan(m, &c, "site table");
	c = change(m);
	c.w[0].n_insns++;
	refused_plan(m, &c, "");
	c = change(m);
	c.w[1].offset -= 5; /* takes in the call, and with it a branch target */
	c.w[1].len += 5;
	c.w[1].n_insns++;
	refused_plan(m, &c, "");
}

static struct module_plan_window *hopping(struct changed *c)
{
	struct module_plan_window *w = c->w;

	while (!w->hop)
		w++;
	return w;
}

static void hops_go_to_padding(void **state)
{
	struct module *m = *state;
	struct changed c = change(m);

	hopping(&c)->hop = (int16_t)-hopping(&c)->offset; /* over the first function */
	refused_plan(m, &c, "overlaps");
	c = change(m);
	hopping(&c)->hop += 8; /* its end lies on code */
	refused_plan(m, &c, "hop");
	c = change(m);
	hopping(&c)->hop = 300;
	refused_plan(m, &c, "out of reach");
}

static void starts_are_llvms(void **state)
{
	struct module *m = *state;
	struct changed c = change(m);

	c.starts[0] ^= 1 << 3; /* the second byte of the mov */
	refused_plan(m, &c, "instruction that LLVM does not see");
	c = change(m);
	c.starts[c.w[1].offset / 8] ^=
	    (uint8_t)(1 << c.w[1].offset % 8); /* the cli that a window begins with */
	refused_plan(m, &c, "lacks an instruction");
}

static void plans_belong_to_their_code(void **state)
{
	struct module *m = *state;
	struct changed c = change(m);

	c.s[0].size--;
	refused_plan(m, &c, "");
	c = change(m);
	c.s[0].start++; /* not covered by the seal: the loader writes it */
	refused_plan(m, &c, "does not lead to code");
	c = change(m);
	c.w[0].reserved = 1;
	refused_plan(m, &c, "reserved");
}

static void a_plan_may_ask_for_less(void **state)
{
	struct module *m = *state;
	struct changed c = change(m);
	char *text;

	c.h->n_windows += 0;
	c.s[0].n_windows = 0; /* its sites get int3 then */
	module_plan_seal(c.plan, c.h->size);
	if (judge(m, c.file, m->p.size, &text))
		fail_msg("%s", text);
	free(text);
	free(c.file);
}

/* Whatever bit is flipped: nothing that differs where it matters is verified, and nothing bad happens. */
static void no_bit_goes_unnoticed(void **state)
{
	struct module *m = *state;
	uint8_t *file = malloc(m->p.size);

	for (size_t i = 0; i < m->p.size; i++) {
		char *text;

		memcpy(file, m->p.bytes, m->p.size);
		file[i] ^= (uint8_t)(1 << i % 8);
		if (!judge(m, file, m->p.size, &text))
			fail_msg("byte 0x%zx of 0x%zx", i, m->p.size);
		free(text);
	}
	free(file);
}

static void cut_files_are_refused(void **state)
{
	struct module *m = *state;

	for (size_t n = 0; n < m->p.size; n += 7) {
		uint8_t *file = malloc(n + 1);
		char *text;

		memcpy(file, m->p.bytes, n);
		assert_int_not_equal(judge(m, file, n, &text), 0);
		free(text);
		free(file);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(what_patch_writes_holds, setup, teardown),
	    cmocka_unit_test_setup_teardown(windows_are_looked_at, setup, teardown),
	    cmocka_unit_test_setup_teardown(hops_go_to_padding, setup, teardown),
	    cmocka_unit_test_setup_teardown(starts_are_llvms, setup, teardown),
	    cmocka_unit_test_setup_teardown(plans_belong_to_their_code, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_plan_may_ask_for_less, setup, teardown),
	    cmocka_unit_test_setup_teardown(no_bit_goes_unnoticed, setup, teardown),
	    cmocka_unit_test_setup_teardown(cut_files_are_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
