// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Fuzzes `audit --modules`: the module reader with everything behind it, the stream decoders and the initramfs
 * walker. Takes a number of mutations of modules that `as` makes, or files to replay. A failing input of a numbered
 * run is reproduced by its number, which is printed with -v.
 */
#include <stdio.h>
#include <zlib.h>

#include "patcher/initramfs.h"
#include "patcher/modules.h"
#include "patcher/patch.h"
#include "tests/fuzz/fuzz_main.h"
#include "tests/unit/kernel_fixture.h"

static int see_file(void *ctx, const char *name, const uint8_t *data, size_t size)
{
	unsigned *sum = ctx;

	*sum += (unsigned)strlen(name);
	for (size_t i = 0; i < size; i++)
		*sum += data[i];
	return 0;
}

static int see_buffer(void *ctx, uint8_t *bytes)
{
	(void)ctx;
	free(bytes);
	return 0;
}

static int see_damage(void *ctx, const char *text)
{
	(void)ctx;
	if (!*text)
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct initramfs_ops ops = {see_file, see_buffer, see_damage};
	struct module_source source = {.name = "fuzz.ko", .data = data, .size = size};
	struct module_result *r = module_audit(&source, 0);
	unsigned sum = 0;

	if (!r || (r->status != MODULE_OK) != (*module_part(r, PART_MESSAGE) != 0))
		abort(); /* damage must say why */
	free(r);
	initramfs_walk("fuzz", data, size, &ops, &sum);
	return 0;
}

#ifndef FUZZ_LIBFUZZER
static const char text[] =
    ".text\n.globl init_module\ninit_module: call printk; call alt; wrmsr; ret\n"
    "alt: rdmsr; nop; ret\nlabel: .byte 0x0f, 0x1f, 0x44, 0, 0; ret\non: sti; ret\nbug: ud2\n"
    ".section .init.text, \"ax\"\n.byte 0xb8\n.Lf: cli; jmp on\n"
    ".section .altinstr_replacement, \"ax\"\nrepl: stac\n"
    ".section .altinstructions, \"a\"\n.long alt - ., repl - .; .word 308; .byte 3, 3\n"
    ".section __ex_table, \"a\"\n.long alt - ., on - ., 0\n"
    ".section __jump_table, \"aw\"\n.long label - ., on - .; .long key - ., 0\n"
    ".section __bug_table, \"aw\"\n.long bug - ., 0, 0\n"
    ".section .smp_locks, \"a\"\n.long alt - .\n"
    ".section .orc_unwind_ip, \"a\"\n.long init_module - ., alt - ., on - .\n"
    ".section .orc_unwind, \"a\"\n.short 8, 0, 5, 16, -16, 0x15, 0, 0, 0x400\n"
    ".section __mcount_loc, \"a\"\n.long init_module, 0\n.data\nkey: .long .Lf, 0\n";

struct seed {
	uint8_t *p;
	size_t n;
};

static struct seed assemble(int width)
{
	char path[] = "/tmp/fuzz-module.XXXXXX", command[128];
	struct seed s = {malloc(1 << 20), 0};
	int fd = mkstemp(path);
	FILE *as, *in;

	snprintf(command, sizeof(command), "as --%d -o %s", width, path);
	as = popen(command, "w");
	if (fd < 0 || !as || fputs(text, as) < 0 || pclose(as))
		abort();
	in = fdopen(fd, "rb");
	s.n = fread(s.p, 1, 1 << 20, in);
	fclose(in);
	unlink(path);
	return s;
}

/* A newc archive of that one file. */
static struct seed archive(struct seed file)
{
	struct seed s = {calloc(1, file.n + 1024), 0};
	int n = sprintf((char *)s.p, "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08x%08x%s", 1,
			0100644, 0, 0, 1, 0, file.n, 0, 0, 0, 0, 5, 0, "a.ko");
	size_t at = ((size_t)n + 1 + 3) & ~(size_t)3;

	memcpy(s.p + at, file.p, file.n);
	at = (at + file.n + 3) & ~(size_t)3;
	n = sprintf((char *)s.p + at, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s", 0, 0, 0,
		    0, 1, 0, 0, 0, 0, 0, 0, 11, 0, "TRAILER!!!");
	s.n = at + (size_t)n + 1;
	return s;
}

static struct seed packed(struct seed file)
{
	struct seed s = {malloc(file.n + 1024), 0};
	z_stream z = {.next_in = file.p, .avail_in = file.n, .next_out = s.p, .avail_out = file.n + 1024};

	if (deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) ||
	    deflate(&z, Z_FINISH) != Z_STREAM_END)
		abort();
	s.n = z.total_out;
	deflateEnd(&z);
	return s;
}

static void fuzz(long runs, bool verbose)
{
	struct seed seeds[6] = {assemble(32), assemble(64)};

	seeds[2] = archive(seeds[0]);
	seeds[3] = packed(seeds[2]);
	seeds[4] = packed(seeds[1]);
	seeds[5] = archive(seeds[4]);
	for (long i = 0; i < runs; i++) {
		const struct seed *s = &seeds[i % 6];
		uint64_t random = 0x9e3779b97f4a7c15 * (uint64_t)(i + 1);
		uint8_t *q = malloc(s->n);
		size_t n;

		if (verbose)
			fprintf(stderr, "run %ld\n", i);
		memcpy(q, s->p, s->n);
		n = i < 6 ? s->n : fx_mutate(q, s->n, &random);
		LLVMFuzzerTestOneInput(q, n);
		free(q);
	}
	for (size_t i = 0; i < 6; i++)
		free(seeds[i].p);
}

int main(int argc, char **argv)
{
	return fuzz_main(argc, argv, 10000, fuzz);
}
#endif
