// SPDX-License-Identifier: GPL-3.0-or-later
/* `paravane verify`: print the proof's outcome, or every reason why there is none; of a tree the first reason each. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hypercalls/command.h"
#include "patcher/module_patch.h"
#include "patcher/modules.h"
#include "patcher/verify_modules.h"

static int read_file(const char *path, uint8_t **buf, size_t *size, struct diag *d)
{
	FILE *f = fopen(path, "rb");
	long n = -1;
	int err = 0;

	if (!f)
		return diag_set(d, -errno, "%s: %s", path, strerror(errno));
	if (!fseek(f, 0, SEEK_END))
		n = ftell(f);
	*buf = n >= 0 ? malloc(n + 1) : NULL;
	rewind(f);
	if (!*buf || fread(*buf, 1, n, f) != (size_t)n) {
		err = diag_set(d, n < 0 ? -EINVAL : -EIO, "%s: cannot be read as a file", path);
		free(*buf);
		*buf = NULL;
	}
	*size = n;
	fclose(f);
	return err;
}

static void print_result(const char *path, const struct verify_result *r)
{
	if (r->failures) {
		fputs(r->text, stderr);
		fprintf(stderr, "paravane verify: %s: REFUSED: %zu failure%s\n", path, r->failures,
			r->failures == 1 ? "" : "s");
		return;
	}
	printf("%s: verified: %zu sites, %zu windows (%zu by hop, %zu breakpoints), %zu stubs with %zu "
	       "instructions; "
	       "%llu bytes checked against %zu instructions and %zu targets of the source",
	       path, r->sites, r->windows, r->hops, r->breakpoints, r->stubs, r->points,
	       (unsigned long long)r->bytes_checked, r->instructions, r->targets);
	if (r->odd)
		printf(" (%zu relocated words name the middle of an instruction: taken for arithmetic)",
		       r->odd);
	putchar('\n');
}

static int verify_image(const char *image, const uint8_t *out, size_t out_size, struct verify_result *r,
			struct diag *d)
{
	struct verify_source *src;
	struct image img;
	int err = image_load(&img, image, false, 0, 0, d);

	if (err)
		return err;
	src = verify_source_load(&img, 2, d);
	err = src ? verify_check(src, out, out_size, r, d) : -EINVAL;
	verify_source_free(src);
	image_free(&img);
	return err;
}

/* Takes over bytes, which are image's. */
static int verify_pair(const char *image, uint8_t *bytes, size_t size, const char *patched, struct diag *d)
{
	bool module = module_is_relocatable(bytes, size);
	struct verify_result r = {0};
	uint8_t *out = NULL;
	size_t out_size = 0;
	int err = read_file(patched, &out, &out_size, d);

	if (!err && module)
		err = verify_unpack(patched, &out, &out_size, d);
	if (!err && module) {
		err = verify_module(image, bytes, size, out, out_size, 2, &r, d);
		bytes = NULL;
	} else if (!err) {
		err = verify_image(image, out, out_size, &r, d);
	}
	if (!err || err == -EBADMSG)
		print_result(patched, &r);
	free(r.text);
	free(out);
	free(bytes);
	return err;
}

static int verify_tree(const char *source, const char *patched, struct diag *d)
{
	struct verify_tree sum;
	int err = verify_trees(source, patched, &sum, stderr, isatty(STDERR_FILENO) ? stderr : NULL, d);

	if (err)
		return err;
	printf("%s: %zu modules: %zu verified, %zu as in the source, %zu refused, %zu not judged; %zu sites, "
	       "%zu "
	       "windows\n",
	       patched, sum.modules, sum.verified, sum.unchanged, sum.refused, sum.unjudged, sum.sites,
	       sum.windows);
	return sum.refused || sum.unjudged ? -EBADMSG : 0;
}

static int verify_files(const char *image, const char *patched, struct diag *d)
{
	struct diag ignored = {""};
	uint8_t *bytes = NULL;
	size_t size = 0;
	struct stat st;

	if (!stat(image, &st) && S_ISDIR(st.st_mode))
		return verify_tree(image, patched, d);
	if (read_file(image, &bytes, &size, d))
		return -EINVAL;
	if (modules_is_initramfs(image, bytes, size)) {
		free(bytes);
		return verify_tree(image, patched, d);
	}
	verify_unpack(image, &bytes, &size, &ignored);
	return verify_pair(image, bytes, size, patched, d);
}

static int run(int argc, char **argv)
{
	struct diag d = {""};
	int err;

	for (int i = 1; i < argc; i++)
		if (argv[i][0] == '-')
			fprintf(stderr, "paravane verify: %s: there are no options\n", argv[i]);
	if (argc != 3 || argv[1][0] == '-' || argv[2][0] == '-') {
		fprintf(stderr, "usage: paravane verify %s\n", verify_command.synopsis);
		return EXIT_STATUS_USER;
	}
	err = verify_files(argv[1], argv[2], &d);
	if (!err)
		return EXIT_STATUS_OK;
	if (err == -EBADMSG && !d.text[0])
		return EXIT_STATUS_REFUSED;
	fprintf(stderr, "paravane verify: %s\n", d.text[0] ? d.text : strerror(-err));
	return EXIT_STATUS_USER;
}

const struct command verify_command = {
    .name = "verify",
    .synopsis = "IMAGE|MODULE|DIR|INITRAMFS PATCHED",
    .summary = "prove with a second disassembler that PATCHED means the same as IMAGE",
    .run = run,
};
