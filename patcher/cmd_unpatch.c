// SPDX-License-Identifier: GPL-3.0-or-later
/* `paravane unpatch`: the source file back, byte for byte. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hypercalls/command.h"
#include "patcher/module_patch.h"
#include "patcher/patch.h"

static int usage(void)
{
	fprintf(stderr, "usage: paravane unpatch %s\n", unpatch_command.synopsis);
	return EXIT_STATUS_USER;
}

/* A bzImage carries its ELF compressed: the file given back must unpack to the ELF that was patched. */
static int check_source(const struct unpatched *u, const char *path, struct diag *d)
{
	char temp[] = "/tmp/paravane.XXXXXX";
	struct image img;
	int fd, err;

	if (u->source == u->elf)
		return 0;
	fd = mkstemp(temp);
	if (fd < 0)
		return diag_set(d, -EIO, "/tmp: no temporary file can be made there");
	close(fd);
	err = file_write(temp, u->source, u->source_size, d);
	if (!err)
		err = image_load(&img, temp, false, 0, 0, d);
	unlink(temp);
	if (err)
		return err;
	if (img.elf_size != u->elf_size || memcmp(img.elf, u->elf, u->elf_size))
		err = diag_set(d, -EINVAL, "%s: the source file in it does not hold the ELF that was patched",
			       path);
	image_free(&img);
	return err;
}

static int unpatch_module(const char *in, const uint8_t *file, size_t size, const char *out, struct diag *d)
{
	uint8_t *ko;
	size_t ko_size;
	int err = module_unpatch(in, file, size, &ko, &ko_size, d);

	if (err)
		return err;
	err = file_write(out, ko, ko_size, d);
	free(ko);
	return err;
}

static int unpatch(const char *in, const char *out, struct diag *d)
{
	struct unpatched u;
	uint8_t *file;
	size_t size;
	int err = file_read(in, &file, &size, d);

	if (err)
		return err;
	if (module_is_relocatable(file, size)) {
		err = unpatch_module(in, file, size, out, d);
		free(file);
		return err;
	}
	err = unpatch_bytes(&u, in, file, size, d);
	free(file);
	if (err)
		return err;
	err = check_source(&u, in, d);
	if (!err)
		err = file_write(out, u.source, u.source_size, d);
	unpatched_free(&u);
	return err;
}

static int unpatch_run(int argc, char **argv)
{
	static const struct option longs[] = {{"output", required_argument, NULL, 'o'}, {0}};
	const char *out = NULL;
	struct diag d = {0};
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "o:", longs, NULL)) != -1) {
		if (c != 'o')
			return usage();
		out = optarg;
	}
	if (optind + 1 != argc || !out)
		return usage();
	if (unpatch(argv[optind], out, &d)) {
		fprintf(stderr, "paravane unpatch: %s\n", d.text);
		return EXIT_STATUS_USER;
	}
	return EXIT_STATUS_OK;
}

const struct command unpatch_command = {
    .name = "unpatch",
    .synopsis = "PATCHED -o SOURCE",
    .summary = "give back the file that was patched, byte for byte",
    .run = unpatch_run,
};
