// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * patch and unpatch as commands: what comes out undoes to what went in, byte for byte; what is damaged is refused
 * and leaves no file. On a small assembled image hundreds of times, and on the real kernels where they are there.
 */
#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
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
#include "hypercalls/command.h"
#include "patcher/patch.h"

static char dir[] = "/tmp/test_patch.XXXXXX";
static char in[64], out[64], back[64];
static uint8_t *image;
static size_t image_size;

static int quietly(const struct command *c, int argc, const char **argv)
{
	int null = open("/dev/null", O_WRONLY), o = dup(1), e = dup(2), status;

	fflush(stdout);
	dup2(null, 1);
	dup2(null, 2);
	status = c->run(argc, (char **)argv);
	fflush(stdout);
	dup2(o, 1);
	dup2(e, 2);
	close(null);
	close(o);
	close(e);
	return status;
}

static int do_patch(const char *from, const char *to)
{
	const char *argv[] = {"patch", from, "-o", to, NULL};

	return quietly(&patch_command, 4, argv);
}

static int do_unpatch(const char *from, const char *to)
{
	const char *argv[] = {"unpatch", from, "-o", to, NULL};

	return quietly(&unpatch_command, 4, argv);
}

static void store(const char *path, const uint8_t *bytes, size_t size)
{
	struct diag d = {0};

	assert_int_equal(file_write(path, bytes, size, &d), 0);
}

static void load(const char *path, uint8_t **bytes, size_t *size)
{
	struct diag d = {0};

	if (file_read(path, bytes, size, &d))
		fail_msg("%s", d.text);
}

static void expect_same(const char *a, const char *b)
{
	uint8_t *x, *y;
	size_t nx, ny;

	load(a, &x, &nx);
	load(b, &y, &ny);
	assert_int_equal(nx, ny);
	assert_memory_equal(x, y, nx);
	free(x);
	free(y);
}

static unsigned files_in_dir(void)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	unsigned n = 0;

	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static int setup(void **state)
{
	char command[300];

	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(in, sizeof(in), "%s/in", dir);
	snprintf(out, sizeof(out), "%s/out", dir);
	snprintf(back, sizeof(back), "%s/back", dir);
	snprintf(
	    command, sizeof(command),
	    "as --32 -o %s/o tests/golden/tactics.in && ld -m elf_i386 -z noseparate-code -Ttext=0xc0100000 "
	    "-e _start -o %s %s/o 2>/dev/null && rm %s/o",
	    dir, in, dir, dir);
	if (system(command))
		return -1;
	load(in, &image, &image_size);
	return 0;
}

static int teardown(void **state)
{
	char command[100];

	(void)state;
	free(image);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static void roundtrip(void **state)
{
	(void)state;
	store(in, image, image_size);
	assert_int_equal(do_patch(in, out), EXIT_STATUS_OK);
	assert_int_equal(do_unpatch(out, back), EXIT_STATUS_OK);
	expect_same(in, back);
	unlink(out);
	unlink(back);
}

static void stub_segment(void **state)
{
	uint8_t *file;
	size_t size;
	Elf32_Ehdr eh;
	Elf32_Phdr ph;

	(void)state;
	store(in, image, image_size);
	assert_int_equal(do_patch(in, out), EXIT_STATUS_OK);
	load(out, &file, &size);
	memcpy(&eh, file, sizeof(eh));
	memcpy(&ph, file + eh.e_phoff + (eh.e_phnum - 1u) * sizeof(ph), sizeof(ph));
	assert_int_equal(ph.p_type, PT_LOAD);
	assert_int_equal(ph.p_vaddr, ABI_HOLE_BASE + ABI_STUBS);
	assert_int_equal(ph.p_offset % 4096, 0);
	assert_int_equal(ph.p_flags, PF_R | PF_X);
	free(file);
	unlink(out);
}

/* A patched file is no image to patch again, and patching it twice gives the same bytes. */
static void repeated(void **state)
{
	char again[80];

	(void)state;
	store(in, image, image_size);
	snprintf(again, sizeof(again), "%s.2", out);
	assert_int_equal(do_patch(in, out), EXIT_STATUS_OK);
	assert_int_equal(do_patch(in, again), EXIT_STATUS_OK);
	expect_same(out, again);
	unlink(again);
	assert_int_not_equal(do_patch(out, again), EXIT_STATUS_OK);
	assert_int_not_equal(access(again, F_OK), 0);
	unlink(out);
}

static void bad_options(void **state)
{
	const char *no_out[] = {"patch", in, NULL};
	const char *bad_hole[] = {"patch", in, "-o", out, "--hole", "0xf8000001", NULL};
	const char *high_hole[] = {"patch", in, "-o", out, "--hole", "0xfff00000", NULL};
	const char *text_hole[] = {"patch", in, "-o", out, "--hole", "here", NULL};
	const char *on_image[] = {"patch", in, "-o", out, "--hole", "0xbff00000", NULL};
	const char *unknown[] = {"patch", in, "-o", out, "--frob", NULL};

	(void)state;
	store(in, image, image_size);
	assert_int_equal(quietly(&patch_command, 2, no_out), EXIT_STATUS_USER);
	assert_int_equal(quietly(&patch_command, 6, bad_hole), EXIT_STATUS_USER);
	assert_int_equal(quietly(&patch_command, 6, high_hole), EXIT_STATUS_USER);
	assert_int_equal(quietly(&patch_command, 6, text_hole), EXIT_STATUS_USER);
	assert_int_equal(quietly(&patch_command, 6, on_image), EXIT_STATUS_USER);
	assert_int_equal(quietly(&patch_command, 5, unknown), EXIT_STATUS_USER);
	assert_int_equal(do_patch("/nonexistent", out), EXIT_STATUS_USER);
	assert_int_equal(do_patch(dir, out), EXIT_STATUS_USER);
	assert_int_equal(files_in_dir(), 1);
	assert_int_equal(do_patch(in, "/nonexistent/out"), EXIT_STATUS_USER);
}

/* Whatever is done to the input: a file that undoes to it, or an error and no file. */
static bool patched_or_refused(const uint8_t *bytes, size_t size)
{
	int status;

	store(in, bytes, size);
	status = do_patch(in, out);
	if (status != EXIT_STATUS_OK) {
		assert_int_equal(status, EXIT_STATUS_USER);
		assert_int_equal(files_in_dir(), 1);
		return false;
	}
	assert_int_equal(do_unpatch(out, back), EXIT_STATUS_OK);
	expect_same(in, back);
	unlink(out);
	unlink(back);
	return true;
}

static void mutated_inputs(void **state)
{
	unsigned patched = 0, refused = 0;
	uint8_t *bytes = malloc(image_size);

	(void)state;
	srand(1);
	for (unsigned i = 0; i < 600; i++) {
		size_t size = image_size;

		memcpy(bytes, image, image_size);
		if (i % 6 == 0)
			size = (size_t)rand() % image_size;
		for (unsigned k = 0; i % 6 && k < 1 + i % 4; k++) {
			size_t at = (size_t)rand() %
				    (i % 3 ? image_size : sizeof(Elf32_Ehdr) + 3 * sizeof(Elf32_Phdr));

			bytes[at] = i % 5 ? (uint8_t)rand() : bytes[at] ^ (uint8_t)(1 << rand() % 8);
		}
		if (patched_or_refused(bytes, size))
			patched++;
		else
			refused++;
	}
	free(bytes);
	assert_true(patched > 50);
	assert_true(refused > 100);
}

/* Unpatch believes no damaged file: it says so, or the damage was in bytes that do not matter. */
static void mutated_outputs(void **state)
{
	uint8_t *bytes, *copy;
	unsigned refused = 0;
	size_t size;

	(void)state;
	store(in, image, image_size);
	assert_int_equal(do_patch(in, out), EXIT_STATUS_OK);
	load(out, &bytes, &size);
	copy = malloc(size);
	srand(2);
	for (unsigned i = 0; i < 400; i++) {
		size_t cut = i % 8 ? size : (size_t)rand() % size;

		memcpy(copy, bytes, size);
		copy[(size_t)rand() % (i & 1 ? image_size : size)] ^= (uint8_t)(1 + rand() % 255);
		store(out, copy, cut);
		if (do_unpatch(out, back) == EXIT_STATUS_OK)
			expect_same(in, back);
		else
			refused++;
		assert_int_equal(access(back, F_OK) == 0, files_in_dir() == 3);
		unlink(back);
	}
	assert_true(refused > 100);
	free(copy);
	free(bytes);
	unlink(out);
}

static void kernel(void **state)
{
	const char *path = *state;

	if (access(path, R_OK)) {
		print_message("%s is missing (make guests fetches it)\n", path);
		skip();
	}
	assert_int_equal(do_patch(path, out), EXIT_STATUS_OK);
	assert_int_equal(do_unpatch(out, back), EXIT_STATUS_OK);
	expect_same(path, back);
	unlink(out);
	unlink(back);
}

/* What the issue asks of stock kernels. */
static void kernel_plan(void **state)
{
	const char *path = *state;
	size_t n[TACTIC_COUNT] = {0}, need;
	struct analysis_options how = {0};
	struct analysis a;
	struct diag d = {0};

	if (access(path, R_OK)) {
		print_message("%s is missing (make guests fetches it)\n", path);
		skip();
	}
	if (analysis_load(&a, path, &how, &d))
		fail_msg("%s", d.text);
	assert_string_equal(a.recipe.name, "linux-i386");
	for (size_t i = 0; i < a.plan.n_sites; i++)
		n[a.plan.sites[i].tactic]++;
	need = a.plan.n_sites - n[TACTIC_VERBATIM];
	assert_in_range(need, 4300, 4800);
	assert_in_range(n[TACTIC_TRAP] + n[TACTIC_NONE], 0, need / 100);
	assert_in_range(n[TACTIC_NONE], 0, 4); /* vmcall in alternatives */
	assert_int_equal(a.cfg.undecoded_bytes, 0);
	analysis_free(&a);
}

static char k686[] = "build/guests/vmlinuz-686", kpae[] = "build/guests/vmlinuz-686-pae";

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(roundtrip),
	    cmocka_unit_test(stub_segment),
	    cmocka_unit_test(repeated),
	    cmocka_unit_test(bad_options),
	    cmocka_unit_test(mutated_inputs),
	    cmocka_unit_test(mutated_outputs),
	    cmocka_unit_test_prestate(kernel, k686),
	    cmocka_unit_test_prestate(kernel, kpae),
	    cmocka_unit_test_prestate(kernel_plan, k686),
	    cmocka_unit_test_prestate(kernel_plan, kpae),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
