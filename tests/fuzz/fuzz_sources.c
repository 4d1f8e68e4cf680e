// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Fuzzes the reading of source lines: DWARF 4 and 5 of small kernels and modules, mutated mostly where the debugging
 * sections are. Takes a number of mutations, or files to replay. A failing input of a numbered run is reproduced by its number,
 * which is printed with -v.
 */
#include <gelf.h>
#include <stdio.h>

#include "patcher/modules.h"
#include "patcher/patch.h"
#include "tests/fuzz/fuzz_main.h"
#include "tests/unit/kernel_fixture.h"

static const struct source_options nowhere = {.dir = "/nonexistent"};

static void audit_kernel(const uint8_t *data, size_t size)
{
	struct analysis_options how = {.sources = &nowhere};
	struct analysis a;
	struct diag d = {0};
	char path[64];
	int fd = fx_file(data, size, path);

	if (!analysis_load(&a, path, &how, &d)) {
		for (size_t i = 0; i < a.cfg.n_sites; i++) {
			const struct source_frame *frames;
			size_t n = sources_at(a.sources, i, &frames);

			free(n ? sources_describe(frames, n) : NULL);
		}
		analysis_free(&a);
	} else if (!d.text[0]) {
		abort(); /* a refusal must say why */
	}
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct module_source source = {.name = "fuzz.ko", .data = data, .size = size, .debug = nowhere};

	if (size > 16 && data[16] == ET_REL)
		free(module_audit(&source, 0));
	else if (size)
		audit_kernel(data, size);
	return 0;
}

#ifndef FUZZ_LIBFUZZER
static const char text[] = "static inline __attribute__((always_inline)) int in(int n) { __asm__ "
			   "volatile(\"cli\"); return n + 1; }\n"
			   "static int part(int n) { int v = in(n); __asm__ volatile(\"sti\"); return v; }\n"
			   "__attribute__((section(\".init.text\"))) int other(int n) { return in(in(n)); }\n"
			   "int _start(int n) { if (n) { int k = part(n); return k; } return other(n); }\n";
static const char *const ways[] = {
    "-m32 -gdwarf-5", "-m64 -gdwarf-4", "-m32 -gdwarf-4 -c", "-m64 -gdwarf-5 -c", "-m64 -gdwarf-5 -gz=zlib",
};
#define N_WAYS (sizeof(ways) / sizeof(*ways))

struct seed {
	uint8_t *p;
	size_t n;
	size_t from, to; /* where .debug_* is */
};

static void find_debug(struct seed *s)
{
	Elf *elf = elf_memory((char *)s->p, s->n);
	Elf_Scn *scn = NULL;
	size_t names;
	GElf_Shdr sh;

	s->from = s->n;
	if (!elf || elf_getshdrstrndx(elf, &names))
		abort();
	while ((scn = elf_nextscn(elf, scn))) {
		if (!gelf_getshdr(scn, &sh) || strncmp(elf_strptr(elf, names, sh.sh_name), ".debug", 6))
			continue;
		if (sh.sh_offset < s->from)
			s->from = sh.sh_offset;
		if (sh.sh_offset + sh.sh_size > s->to)
			s->to = sh.sh_offset + sh.sh_size;
	}
	if (s->to <= s->from)
		abort();
	elf_end(elf);
}

static struct seed compile(const char *way)
{
	char path[] = "/tmp/fuzz-sources.XXXXXX", command[256];
	struct diag d = {0};
	struct seed s = {0};
	int fd = mkstemp(path);
	FILE *cc;

	snprintf(command, sizeof(command),
		 "gcc %s -O1 -ffreestanding -fno-pic -fno-pie -nostdlib -static -no-pie "
		 "-Wl,-z,noseparate-code -x c -o %s -",
		 way, path);
	cc = popen(command, "w");
	if (fd < 0 || !cc || fputs(text, cc) < 0 || pclose(cc) || file_read(path, &s.p, &s.n, &d))
		abort();
	close(fd);
	unlink(path);
	find_debug(&s);
	return s;
}

/* Some bytes of the debugging sections, to values that lengths and offsets do not expect. */
static void damage(uint8_t *p, const struct seed *s, uint64_t *random)
{
	static const uint8_t odd[] = {0, 1, 0x7f, 0x80, 0xff, 0xfe};
	unsigned n = 1 + (unsigned)(fx_random(random) % 6);

	while (n--) {
		uint64_t r = fx_random(random);
		uint8_t *at = p + s->from + (r >> 16) % (s->to - s->from);

		*at = r & 1 ? (uint8_t)(r >> 8) : odd[(r >> 8) % sizeof(odd)];
	}
}

static void fuzz(long runs, bool verbose)
{
	struct seed seeds[N_WAYS];

	elf_version(EV_CURRENT);
	for (size_t i = 0; i < N_WAYS; i++)
		seeds[i] = compile(ways[i]);
	for (long i = 0; i < runs; i++) {
		const struct seed *s = &seeds[(size_t)i % N_WAYS];
		uint64_t random = 0x9e3779b97f4a7c15 * (uint64_t)(i + 1);
		uint8_t *q = malloc(s->n);
		size_t n = s->n;

		if (verbose)
			fprintf(stderr, "run %ld\n", i);
		memcpy(q, s->p, n);
		if (i >= (long)N_WAYS && i % 8 == 0)
			n = fx_mutate(q, n, &random);
		else if (i >= (long)N_WAYS)
			damage(q, s, &random);
		LLVMFuzzerTestOneInput(q, n);
		free(q);
	}
	for (size_t i = 0; i < N_WAYS; i++)
		free(seeds[i].p);
}

int main(int argc, char **argv)
{
	return fuzz_main(argc, argv, 5000, fuzz);
}
#endif
