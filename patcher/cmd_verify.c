// SPDX-License-Identifier: GPL-3.0-or-later
/* `paravane verify IMAGE PATCHED`: print the proof's outcome, or every reason why there is none. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/command.h"
#include "patcher/module_patch.h"
#include "patcher/payload.h"
#include "patcher/verify.h"

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

static int judge(struct image *img, const char *path, const uint8_t *out, size_t out_size, struct diag *d)
{
	struct verify_source *src = verify_source_load(img, 2, d);
	struct verify_result r = {0};
	int err = src ? verify_check(src, out, out_size, &r, d) : -EINVAL;

	if (src && (!err || err == -EBADMSG))
		print_result(path, &r);
	free(r.text);
	verify_source_free(src);
	return err;
}

/* A packed module stands for what is packed in it. */
static int unpack(const char *path, uint8_t **bytes, size_t *size, struct diag *d)
{
	struct payload_member m;
	int err;

	if (!payload_format(*bytes, *size))
		return 0;
	err = payload_unpack_member(*bytes, *size, &m, path, d);
	if (err) {
		free(m.bytes);
		return err;
	}
	free(*bytes);
	*bytes = m.bytes;
	*size = m.size;
	return 0;
}

/* Takes over source. */
static int verify_module(const char *module, uint8_t *source, size_t size, const char *patched,
			 struct diag *d)
{
	struct image img;
	bool damaged = false;
	uint8_t *out = NULL;
	size_t out_size = 0;
	int err =
	    image_load_module(&img, module, source, size - module_signature_size(source, size), &damaged, d);

	if (err)
		return err;
	if (damaged)
		err = diag_set(d, -EINVAL, "%s: %s", module, img.n_notes ? img.notes[0] : "damaged");
	if (!err)
		err = read_file(patched, &out, &out_size, d);
	if (!err)
		err = unpack(patched, &out, &out_size, d);
	if (!err)
		err = judge(&img, patched, out, out_size, d);
	free(out);
	image_free(&img);
	return err;
}

static int verify_image(const char *image, const char *patched, struct diag *d)
{
	struct image img;
	uint8_t *out = NULL;
	size_t out_size = 0;
	int err = image_load(&img, image, false, 0, 0, d);

	if (err)
		return err;
	err = read_file(patched, &out, &out_size, d);
	if (!err)
		err = judge(&img, patched, out, out_size, d);
	free(out);
	image_free(&img);
	return err;
}

static int verify_files(const char *image, const char *patched, struct diag *d)
{
	struct diag ignored = {""};
	uint8_t *bytes = NULL;
	size_t size = 0;

	if (read_file(image, &bytes, &size, d))
		return -EINVAL;
	if (!unpack(image, &bytes, &size, &ignored) && module_is_relocatable(bytes, size))
		return verify_module(image, bytes, size, patched, d);
	free(bytes);
	return verify_image(image, patched, d);
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
    .synopsis = "IMAGE|MODULE PATCHED",
    .summary = "prove with a second disassembler that PATCHED means the same as IMAGE",
    .run = run,
};
