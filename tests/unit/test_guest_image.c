// SPDX-License-Identifier: GPL-3.0-or-later
/* What `paravane run` accepts as an image: a patched one as the patcher wrote it, and nothing else. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "monitor/vmx/loader.h"
#include "monitor/vmx/memory.h"
#include "patcher/patch.h"
#include "tests/unit/kernel_fixture.h"

#define RAM (64u << 20)
#define MUTATIONS 500

static struct vm *vm;
static struct diag d;
static uint8_t *patched, *plain;
static size_t patched_size, plain_size, source_size;
static char path[] = "/tmp/pv-image.XXXXXX";

static void put_file(const uint8_t *bytes, size_t size)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, size, f), size);
	fclose(f);
}

/* Open and load; 0 or the error of the step that refused. */
static int try(const uint8_t *bytes, size_t size)
{
	struct boot_args args = {.append = ""};
	struct guest_image g;
	void *tables;
	int err;

	put_file(bytes, size);
	d = (struct diag){""};
	err = guest_image_open(&g, path, &d);
	if (err)
		return err;
	vm->cfg.hole_base = g.patched ? g.manifest.h.hole_base : ABI_HOLE_BASE;
	vm->cfg.hole_size = ABI_HOLE_SIZE;
	vm->cfg.stubs_size = g.stubs.mem_size;
	tables = malloc(loader_tables_size(&g.manifest));
	/* The memfd is laid out for 1 MiB of stubs; what a test image has must fit there. */
	err = g.stubs.mem_size > 1u << 20 ? -EFBIG : loader_tables(&g, vm, tables, &d);
	if (!err)
		err = loader_place(&g, vm, &args, &d);
	free(tables);
	guest_image_close(&g);
	return err;
}

static void accepted(void **state)
{
	(void)state;
	assert_int_equal(try(patched, patched_size), 0);
	assert_true(vm->manifest.h.n_sites > 10);
	assert_true(vm->cfg.patched);
}

static void says(const char *what)
{
	if (!strstr(d.text, what))
		fail_msg("\"%s\" not in: %s", what, d.text);
	assert_non_null(strstr(d.text, path));
}

static uint8_t *copy_of_patched(void)
{
	uint8_t *copy = malloc(patched_size);

	memcpy(copy, patched, patched_size);
	return copy;
}

static void not_an_image(void **state)
{
	static uint8_t junk[1024];
	uint8_t *bad = copy_of_patched();

	(void)state;
	assert_int_equal(try(junk, 0), -EINVAL);
	assert_int_equal(try(junk, sizeof(junk)), -EINVAL);
	says("no ELF file");
	memcpy(junk + 0x202, "HdrS", 4);
	assert_int_equal(try(junk, sizeof(junk)), -EINVAL);
	says("paravane patch");
	assert_int_equal(try(plain, plain_size), -EINVAL);
	says("not patched");
	bad[EI_CLASS] = ELFCLASS64;
	assert_int_equal(try(bad, patched_size), -EINVAL);
	says("not an i386 ELF");
	free(bad);
}

static void missing_file(void **state)
{
	struct guest_image g;

	(void)state;
	d = (struct diag){""};
	assert_int_equal(guest_image_open(&g, "/nonexistent/vmlinux.pv", &d), -ENOENT);
	assert_non_null(strstr(d.text, "/nonexistent/vmlinux.pv"));
	d = (struct diag){""};
	assert_int_not_equal(guest_image_open(&g, "/tmp", &d), 0); /* a directory */
}

/* What cannot be mapped is read. */
static void from_a_pipe(void **state)
{
	char name[] = "/dev/fd/0123456789";
	struct guest_image g;
	int ends[2], status;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	snprintf(name, sizeof(name), "/dev/fd/%d", ends[0]);
	child = fork();
	if (child == 0) {
		FILE *out = fdopen(ends[1], "w");

		fwrite(patched, 1, patched_size, out);
		fclose(out);
		_exit(0);
	}
	close(ends[1]);
	assert_int_equal(guest_image_open(&g, name, &d), 0);
	assert_int_equal(g.size, patched_size);
	assert_memory_equal(g.file, patched, patched_size);
	guest_image_close(&g);
	close(ends[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
}

static void truncated(void **state)
{
	(void)state;
	for (size_t size = 0; size < patched_size; size += patched_size / 97 + 1)
		assert_int_not_equal(try(patched, size), 0);
	assert_int_not_equal(try(patched, patched_size - 1), 0);
}

static void edited_code(void **state)
{
	uint8_t *bad = copy_of_patched();
	struct guest_image g;
	uint32_t window, at;

	(void)state;
	put_file(patched, patched_size);
	assert_int_equal(guest_image_open(&g, path, &d), 0);
	window = g.manifest.windows[0].va;
	at = (uint32_t)guest_image_offset(&g, window, 1);
	guest_image_close(&g);
	bad[at] ^= 1; /* the jump */
	assert_int_equal(try(bad, patched_size), -EKEYREJECTED);
	says("stands not the jump");
	bad[at] ^= 1;
	bad[source_size / 2] ^= 0x40; /* anything else */
	assert_int_equal(try(bad, patched_size), -EKEYREJECTED);
	free(bad);
}

static void edited_stubs(void **state)
{
	uint8_t *bad = copy_of_patched();
	struct guest_image g;
	uint32_t at;

	(void)state;
	put_file(patched, patched_size);
	assert_int_equal(guest_image_open(&g, path, &d), 0);
	at = g.stubs.file_offset + g.stubs.file_size / 2;
	guest_image_close(&g);
	bad[at] ^= 1;
	assert_int_equal(try(bad, patched_size), -EKEYREJECTED);
	says("stubs were changed");
	free(bad);
}

static void edited_headers(void **state)
{
	uint8_t *bad = copy_of_patched();
	Elf32_Ehdr eh;

	(void)state;
	memcpy(&eh, bad, sizeof(eh));
	bad[offsetof(Elf32_Ehdr, e_entry)] ^= 4;
	assert_int_equal(try(bad, patched_size), -EKEYREJECTED);
	says("ELF header");
	bad[offsetof(Elf32_Ehdr, e_entry)] ^= 4;
	bad[eh.e_phoff + offsetof(Elf32_Phdr, p_memsz) + 1] ^= 0x40;
	assert_int_equal(try(bad, patched_size), -EKEYREJECTED);
	says("program header 0");
	free(bad);
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Whatever happens to the file, opening it refuses or loads; under a sanitizer this is the whole point. */
static void mutations(void **state)
{
	uint32_t seed = 2, refused = 0;

	(void)state;
	for (int i = 0; i < MUTATIONS; i++) {
		uint8_t *bad = copy_of_patched();
		size_t size = patched_size;
		uint32_t at = UINT32_MAX, n = 1 + next_random(&seed) % 4;

		for (uint32_t k = 0; k < n; k++) {
			at = next_random(&seed) % patched_size;
			if (i % 2) /* the tables behind the source are the more interesting half */
				at = source_size + at % (patched_size - source_size);
			bad[at] =
			    i % 3 ? bad[at] ^ (1u << next_random(&seed) % 8) : (uint8_t)next_random(&seed);
		}
		if (i % 5 == 0)
			size = next_random(&seed) % patched_size;
		if (try(bad, size)) {
			refused++;
			assert_true(d.text[0]);
		} else if (at >= sizeof(Elf32_Ehdr) && at < source_size &&
			   memcmp(bad, patched, source_size)) {
			fail_msg("mutation %d of the source's bytes was accepted", i);
		}
		free(bad);
	}
	assert_true(refused > MUTATIONS / 2);
}

static uint8_t *make_elf(bool multiboot, size_t *size)
{
	struct fx_options o = {.width = 32, .symtab = true, .multiboot = multiboot};
	struct fixture *fx = calloc(1, sizeof(*fx));
	uint8_t *elf;

	fx_make(fx, &o);
	elf = fx_elf(fx, size);
	fx_free(fx);
	free(fx);
	return elf;
}

/* The same for a Multiboot ELF, which needs no manifest. */
static void multiboot_mutations(void **state)
{
	uint32_t seed = 3;
	size_t size;
	uint8_t *elf = make_elf(true, &size), *bad = malloc(size);

	(void)state;
	assert_int_equal(try(elf, size), 0);
	assert_false(vm->cfg.patched);
	for (int i = 0; i < MUTATIONS; i++) {
		memcpy(bad, elf, size);
		for (uint32_t k = 0; k < 3; k++)
			bad[next_random(&seed) % (i % 2 ? 512 : size)] ^=
			    (uint8_t)(1u << next_random(&seed) % 8);
		if (try(bad, i % 7 ? size : next_random(&seed) % size))
			assert_true(d.text[0]);
	}
	free(bad);
	free(elf);
}

/* A small kernel through the real patcher. */
static int make_patched(void)
{
	struct analysis_options o = {.width = 32};
	struct analysis a;
	struct patch p;
	int err;

	plain = make_elf(false, &plain_size);
	source_size = plain_size;
	put_file(plain, plain_size);
	err = analysis_load(&a, path, &o, &d);
	if (err)
		return err;
	err = patch_build(&p, &a, ABI_HOLE_BASE, &d);
	analysis_free(&a);
	if (err)
		return err;
	patched = malloc(p.file_size);
	patched_size = p.file_size;
	memcpy(patched, p.file, p.file_size);
	patch_free(&p);
	return 0;
}

static int setup(void **state)
{
	int err;

	(void)state;
	close(mkstemp(path));
	vm = calloc(1, sizeof(*vm));
	vm->cfg = (struct vm_config){.ram_size = RAM, .stubs_size = 1 << 20};
	memory_layout(&vm->cfg);
	err = memory_map_ram(&vm->cfg, &d);
	err = err ?: make_patched();
	if (err)
		print_error("%s\n", d.text);
	return err;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	free(patched);
	free(plain);
	free(vm);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(accepted),
	    cmocka_unit_test(not_an_image),
	    cmocka_unit_test(missing_file), cmocka_unit_test(from_a_pipe),
	    cmocka_unit_test(truncated),
	    cmocka_unit_test(edited_code),
	    cmocka_unit_test(edited_stubs),
	    cmocka_unit_test(edited_headers),
	    cmocka_unit_test(mutations),
	    cmocka_unit_test(multiboot_mutations),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
