// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Golden tests of the planner and the emitter. Each tests/golden/NAME.in is a small hand-written image in gas
 * syntax; its plan and stubs must read as NAME.exp says. REBASE=1 (`make rebase`) writes the .exp files anew:
 * then the diff is the thing to review.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "hypercalls/abi.h"
#include "patcher/patch.h"

#define DIR_NAME "tests/golden"

static void run(const char *fmt, ...)
{
	char *command;
	va_list ap;

	va_start(ap, fmt);
	assert_true(vasprintf(&command, fmt, ap) > 0);
	va_end(ap);
	if (system(command))
		fail_msg("%s: failed", command);
	free(command);
}

static void print_point(const struct manifest_point *p, FILE *f)
{
	static const char state[] = {[POINT_BOUNDARY] = 'B', [POINT_INSIDE] = 'I', [POINT_AFTER] = 'A'};

	fprintf(f, " %c%c%c%c %08x", state[p->state], p->flags & POINT_SCRATCH0 ? '0' : '-',
		p->flags & POINT_SCRATCH1 ? '1' : '-', p->flags & POINT_SHADOW ? 's' : '-', p->guest);
}

static void print_stubs(const struct stubs *st, const struct manifest *m, FILE *f)
{
	uint32_t base = m->h.hole_base + ABI_STUBS;
	size_t k = 0;

	for (uint32_t w = 0; w < m->h.n_windows; w++) {
		uint32_t end = m->windows[w].stub + m->windows[w].stub_len;

		if (m->windows[w].stub == MANIFEST_NONE)
			continue;
		fprintf(f, "stub %08x of %08x\n", m->windows[w].stub, m->windows[w].va);
		for (; k < m->h.n_points && m->points[k].stub < end; k++) {
			const struct manifest_point *p = &m->points[k];
			uint32_t next = k + 1 < m->h.n_points && p[1].stub < end ? p[1].stub : end;
			char text[96];

			insn_format(text, sizeof(text), st->bytes + (p->stub - base), next - p->stub, p->stub,
				    32);
			fprintf(f, "  %08x", p->stub);
			print_point(p, f);
			fprintf(f, "  %s\n", text);
		}
	}
	for (uint32_t s = 0; s < m->h.n_sites; s++)
		fprintf(f, "site %u at %08x: pad %08x resume %08x\n", s, m->sites[s].va, m->sites[s].pad,
			m->sites[s].resume);
}

/* Assemble, analyse, print. The result is malloc'd. */
static char *golden_text(const char *in)
{
	char dir[] = "/tmp/golden.XXXXXX", *elf, *text = NULL;
	struct analysis_options how = {0};
	struct manifest m = {.h.hole_base = ABI_HOLE_BASE};
	struct stubs st = {0};
	struct analysis a;
	struct diag d = {0};
	size_t size;
	FILE *f;

	assert_non_null(mkdtemp(dir));
	assert_true(asprintf(&elf, "%s/image", dir) > 0);
	run("as --32 -o %s/o %s", dir, in);
	run("ld -m elf_i386 -z noseparate-code -Ttext=0xc0100000 -e _start -o %s %s/o 2>/dev/null", elf, dir);
	if (analysis_load(&a, elf, &how, &d))
		fail_msg("%s: %s", in, d.text);
	f = open_memstream(&text, &size);
	plan_print(&a.plan, f);
	assert_int_equal(manifest_string(&m, ""), 0);
	if (stubs_emit(&st, &m, &a.plan, &d))
		fail_msg("%s: %s", in, d.text);
	print_stubs(&st, &m, f);
	fclose(f);
	free(st.bytes);
	manifest_free(&m);
	analysis_free(&a);
	run("rm -r %s", dir);
	free(elf);
	return text;
}

static void golden(void **state)
{
	const char *in = *state;
	char *text = golden_text(in), *exp;
	uint8_t *want;
	size_t size;
	struct diag d = {0};

	assert_true(asprintf(&exp, "%.*s.exp", (int)strlen(in) - 3, in) > 0);
	if (getenv("REBASE")) {
		assert_int_equal(file_write(exp, text, strlen(text), &d), 0);
	} else {
		if (file_read(exp, &want, &size, &d))
			fail_msg("%s (make rebase writes it)", d.text);
		if (size != strlen(text) || memcmp(want, text, size))
			fail_msg("%s differs; this run gave:\n%s", exp, text);
		free(want);
	}
	free(exp);
	free(text);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_in(const struct dirent *e)
{
	const char *dot = strrchr(e->d_name, '.');

	return dot && !strcmp(dot, ".in");
}

int main(void)
{
	struct CMUnitTest tests[64];
	struct dirent **list;
	int failed, n = scandir(DIR_NAME, &list, is_in, by_name);

	if (n <= 0 || n > 64) {
		fprintf(stderr, "%s: no .in files; run from the top of the tree\n", DIR_NAME);
		return 1;
	}
	for (int i = 0; i < n; i++) {
		char *path;

		if (asprintf(&path, "%s/%s", DIR_NAME, list[i]->d_name) < 0)
			return 1;
		tests[i] =
		    (struct CMUnitTest){.name = list[i]->d_name, .test_func = golden, .initial_state = path};
	}
	failed = _cmocka_run_group_tests("golden", tests, (size_t)n, NULL, NULL);
	for (int i = 0; i < n; i++) {
		free(tests[i].initial_state);
		free(list[i]);
	}
	free(list);
	return failed;
}
