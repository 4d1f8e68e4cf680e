// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Fuzzes the image loader and the target collector. LLVMFuzzerTestOneInput is libFuzzer's entry (build with
 * -DFUZZ_LIBFUZZER -fsanitize=fuzzer); the plain program takes a number of mutations of its own fixtures, or
 * files to replay. A failing input of a numbered run is reproduced by its seed, which is printed with -v.
 */
#include "patcher/context.h"
#include "patcher/image.h"
#include "tests/unit/kernel_fixture.h"
#include "tests/unit/pe_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void see_contexts(const struct image *img, const struct targets *t, uint64_t va)
{
	struct context found[CONTEXT_MAX];
	size_t n = context_find(t, va, 1, found, CONTEXT_MAX);

	for (size_t i = 0; i < n; i++) {
		char text[256];

		context_describe(&found[i], img, text, sizeof(text));
		if (!*text)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct diag d = {0};
	struct targets t;
	struct image img;
	char path[64];
	int fd;

	if (!size)
		return 0;
	fd = fx_file(data, size, path);
	if (!image_load(&img, path, false, 0, 0, &d)) {
		if (!targets_collect(&t, &img, &d)) {
			for (size_t i = 0; i < t.n_targets; i += 5)
				see_contexts(&img, &t, t.targets[i].va);
			targets_free(&t);
		}
		for (size_t i = 0; i < img.n_symbols; i += 17)
			image_symbol_at(&img, img.symbols[i].va + 1);
		image_free(&img);
	} else if (!d.text[0]) {
		abort(); /* a refusal must say why */
	}
	close(fd);
	return 0;
}

#ifndef FUZZ_LIBFUZZER
static const struct fx_options options[] = {
    {.width = 32, .symtab = true, .boundary_symbols = true},
    {.width = 32, .kallsyms = FX_KS_6_1},
    {.width = 32, .kallsyms = FX_KS_4_4, .no_relocs = true},
    {.width = 64, .kallsyms = FX_KS_PERCPU, .orc = FX_ORC_4_14},
    {.width = 64, .symtab = true, .rel_section = true},
    {.width = 64, .kallsyms = FX_KS_6_2, .orc = FX_ORC_6_3},
    {.width = 32, .kallsyms = FX_KS_6_4, .no_sections = true, .multiboot = true},
};
#define N_OPTIONS (sizeof(options) / sizeof(*options))
#define N_SEEDS	  (2 * N_OPTIONS + 2) /* each as ELF and as bzImage; PE of both widths */

static void fuzz(long runs, bool verbose)
{
	static const char *const formats[] = {"gzip", "bzip2", "lzma", "xz", "lzo", "lz4", "zstd"};
	static struct {
		uint8_t *p;
		size_t n;
	} seeds[N_SEEDS];
	static struct fixture f;

	for (size_t i = 0; i < N_OPTIONS; i++) {
		fx_make(&f, &options[i]);
		seeds[i].p = fx_elf(&f, &seeds[i].n);
		fx_free(&f);
		seeds[N_OPTIONS + i].p =
		    fx_bzimage(seeds[i].p, seeds[i].n, formats[i % 7], &seeds[N_OPTIONS + i].n);
	}
	for (int i = 0; i < 2; i++) {
		seeds[2 * N_OPTIONS + i].n = PE_SIZE;
		seeds[2 * N_OPTIONS + i].p = calloc(1, PE_SIZE);
		pe_make(seeds[2 * N_OPTIONS + i].p, i ? 64 : 32);
	}
	for (long i = 0; i < runs; i++) {
		size_t which = i % N_SEEDS, n = seeds[which].n;
		uint64_t seed = 0x9e3779b97f4a7c15 * (i + 1);
		uint8_t *q = malloc(n);

		if (verbose)
			fprintf(stderr, "run %ld\n", i);
		memcpy(q, seeds[which].p, n);
		n = fx_mutate(q, n, &seed);
		LLVMFuzzerTestOneInput(q, n);
		free(q);
	}
	for (size_t i = 0; i < N_SEEDS; i++)
		free(seeds[i].p);
}

static int replay(const char *path)
{
	FILE *in = fopen(path, "rb");
	uint8_t *p;
	long n;

	if (!in) {
		perror(path);
		return 1;
	}
	fseek(in, 0, SEEK_END);
	n = ftell(in);
	rewind(in);
	p = malloc(n + 1);
	n = fread(p, 1, n, in);
	fclose(in);
	LLVMFuzzerTestOneInput(p, n);
	free(p);
	return 0;
}

int main(int argc, char **argv)
{
	bool verbose = argc > 1 && !strcmp(argv[1], "-v");
	int err = 0;
	char *end;
	long runs;

	argv += verbose;
	argc -= verbose;
	runs = argc > 1 ? strtol(argv[1], &end, 10) : 1000;
	if (argc <= 1 || !*end)
		fuzz(runs, verbose);
	else
		for (int i = 1; i < argc; i++)
			err |= replay(argv[i]);
	return err;
}
#endif
