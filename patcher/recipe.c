// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Reading recipes: `key = value` lines, `#` comments. Expectations are checked as they come, so a recipe puts
 * them first.
 */
#include "patcher/recipe.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/abi.h"
#include "patcher/recipe_data.h"

struct reader {
	struct recipe *r;
	const struct image *img;
	const char *file;
	unsigned line;
	const char *why_not; /* set by the first expectation that the image does not meet */
	char why_buf[160];
	struct diag *d;
};

struct key {
	const char *name;
	int (*take)(struct reader *rd, char *value);
};

static int malformed(struct reader *rd, const char *what)
{
	return diag_set(rd->d, -EINVAL, "%s:%u: %s", rd->file, rd->line, what);
}

static void unmet(struct reader *rd, const char *what, const char *value)
{
	if (rd->why_not)
		return;
	snprintf(rd->why_buf, sizeof(rd->why_buf), what, value);
	rd->why_not = rd->why_buf;
}

static int set_string(char **field, const char *value)
{
	char *s = strdup(value);

	if (!s)
		return -ENOMEM;
	free(*field);
	*field = s;
	return 0;
}

static int take_name(struct reader *rd, char *value)
{
	return set_string(&rd->r->name, value);
}

static int take_append(struct reader *rd, char *value)
{
	return set_string(&rd->r->append, value);
}

static int take_width(struct reader *rd, char *value)
{
	if (atoi(value) != rd->img->width)
		unmet(rd, "it is for %s-bit images", value);
	return 0;
}

static int take_symbol(struct reader *rd, char *value)
{
	if (!image_symbol_named(rd->img, value))
		unmet(rd, "the image has no symbol %s", value);
	return 0;
}

static bool contains(const struct image *img, const char *what)
{
	return memmem(img->elf, img->elf_size, what, strlen(what)) != NULL;
}

static int take_text(struct reader *rd, char *value)
{
	if (!contains(rd->img, value))
		unmet(rd, "the image does not hold the text '%s'", value);
	return 0;
}

/* SYMBOL HEX: splits value behind the symbol and reads the bytes. Their number, or -EINVAL. */
static int symbol_and_bytes(struct reader *rd, char *value, uint8_t *bytes, int cap)
{
	char *hex = strchr(value, ' ');
	int n = 0, used;
	unsigned byte;

	if (!hex)
		return malformed(rd, "it takes a symbol and hexadecimal bytes");
	for (*hex++ = '\0'; n < cap && sscanf(hex, " %2x%n", &byte, &used) == 1; hex += used)
		bytes[n++] = (uint8_t)byte;
	hex += strspn(hex, " \t");
	return *hex || !n ? malformed(rd, "it takes a symbol and hexadecimal bytes") : n;
}

static int take_bytes(struct reader *rd, char *value)
{
	uint8_t bytes[64];
	int n = symbol_and_bytes(rd, value, bytes, sizeof(bytes));
	const struct image_symbol *sym = image_symbol_named(rd->img, value);
	size_t avail = 0;
	const uint8_t *p = sym ? image_bytes(rd->img, sym->va, &avail) : NULL;

	if (n > 0 && (!p || avail < (size_t)n || memcmp(p, bytes, (size_t)n)))
		unmet(rd, "the bytes at %s differ", value);
	return n < 0 ? n : 0;
}

/* SYMBOL HEX, with CD 80 once among the bytes. A vDSO that differs is simply not recorded. */
static int take_vdso(struct reader *rd, char *value)
{
	static const uint8_t int80[] = {0xcd, 0x80};
	uint8_t bytes[64], *at;
	int n = symbol_and_bytes(rd, value, bytes, sizeof(bytes));

	if (n < 0)
		return n;
	at = memmem(bytes, (size_t)n, int80, sizeof(int80));
	if (!at)
		return malformed(rd, "the bytes of a vDSO entry hold an int $0x80 (cd80)");
	return recipe_vdso_find(rd->r, rd->img, value, bytes, (size_t)n, (size_t)(at - bytes));
}

static int take_hole(struct reader *rd, char *value)
{
	char *end;
	unsigned long base = strtoul(value, &end, 0);

	if (*end || base > UINT32_MAX || base & 0xfff)
		return malformed(rd, "hole takes the page-aligned address of its first byte");
	rd->r->hole_base = (uint32_t)base;
	return 0;
}

/* FIRST or FIRST..LAST: from a symbol to its end, or to where another symbol stands. */
static bool range_of(struct reader *rd, char *value, uint64_t *start, uint64_t *end)
{
	char *last = strstr(value, "..");
	const struct image_symbol *a, *b;

	if (last) {
		*last = '\0';
		last += 2;
	}
	a = image_symbol_named(rd->img, value);
	b = last ? image_symbol_named(rd->img, last) : NULL;
	if (!a || (last && !b)) {
		unmet(rd, "the image has no symbol %s", a ? last : value);
		return false;
	}
	*start = a->va;
	if (b) {
		*end = b->va;
	} else if (a->size) {
		*end = a->va + a->size;
	} else {
		for (b = a + 1; b < rd->img->symbols + rd->img->n_symbols && b->va == a->va;)
			b++;
		*end = b < rd->img->symbols + rd->img->n_symbols ? b->va : a->va + 1;
	}
	return *end > *start;
}

static int take_exit_only(struct reader *rd, char *value)
{
	uint64_t start, end;
	void *p;

	if (!range_of(rd, value, &start, &end))
		return 0;
	p = reallocarray(rd->r->exit_only, rd->r->n_exit_only + 1, sizeof(*rd->r->exit_only));
	if (!p)
		return -ENOMEM;
	rd->r->exit_only = p;
	rd->r->exit_only[rd->r->n_exit_only++] = (struct plan_exit_only){(uint32_t)start, (uint32_t)end};
	return 0;
}

static int take_rewritten(struct reader *rd, char *value)
{
	uint64_t start, end;
	void *p;

	if (!range_of(rd, value, &start, &end))
		return 0;
	p = reallocarray(rd->r->rewritten, rd->r->n_rewritten + 1, sizeof(*rd->r->rewritten));
	if (!p)
		return -ENOMEM;
	rd->r->rewritten = p;
	rd->r->rewritten[rd->r->n_rewritten++] =
	    (struct rewritten){.start = start, .end = end, .source = TARGET_SOURCE_COUNT};
	return 0;
}

static const struct key keys[] = {
    {"name", take_name},	   {"width", take_width},	 {"expect-symbol", take_symbol},
    {"expect-text", take_text},	   {"expect-bytes", take_bytes}, {"append", take_append},
    {"vdso-entry", take_vdso},	   {"hole", take_hole},		 {"exit-only", take_exit_only},
    {"rewritten", take_rewritten},
};

static char *trim(char *s)
{
	char *end;

	s += strspn(s, " \t\r");
	for (end = s + strlen(s); end > s && isspace((unsigned char)end[-1]);)
		end--;
	*end = '\0';
	return s;
}

static int read_line(struct reader *rd, char *line)
{
	char *value, *key = trim(line);

	if (!*key || *key == '#')
		return 0;
	value = strchr(key, '=');
	if (!value)
		return malformed(rd, "a line is `key = value` or starts with #");
	*value++ = '\0';
	key = trim(key);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (!strcmp(keys[i].name, key))
			return keys[i].take(rd, trim(value));
	}
	return malformed(rd, "unknown key");
}

static int add_skipped(struct recipe *r, const char *file, const char *why)
{
	char *s;

	if (asprintf(&s, "%s%s: %s\n", r->skipped ? r->skipped : "", file, why) < 0)
		return -ENOMEM;
	free(r->skipped);
	r->skipped = s;
	return 0;
}

static void forget(struct recipe *r)
{
	char *skipped = r->skipped;

	free(r->name);
	free(r->append);
	free(r->exit_only);
	free(r->rewritten);
	for (size_t i = 0; i < r->n_vdso; i++)
		free(r->vdso[i].name);
	free(r->vdso);
	memset(r, 0, sizeof(*r));
	r->hole_base = ABI_HOLE_BASE;
	r->skipped = skipped;
}

int recipe_match(struct recipe *r, const struct image *img, const char *file, const char *text, size_t size,
		 struct diag *d)
{
	struct reader rd = {.r = r, .img = img, .file = file, .d = d};
	char *copy = strndup(text, size), *rest = copy, *line;
	int err = copy ? 0 : -ENOMEM;

	forget(r);
	while (!err && !rd.why_not && (line = strsep(&rest, "\n"))) {
		rd.line++;
		err = read_line(&rd, line);
	}
	free(copy);
	if (!err && rd.why_not) {
		forget(r);
		return add_skipped(r, file, rd.why_not);
	}
	return err ? err : 1;
}

int recipe_find(struct recipe *r, const struct image *img, struct diag *d)
{
	int fits = 0;

	*r = (struct recipe){.hole_base = ABI_HOLE_BASE};
	for (const struct recipe_file *f = recipe_files; f->name && !fits; f++)
		fits = recipe_match(r, img, f->name, f->start, (size_t)(f->end - f->start), d);
	if (fits == 0 && (set_string(&r->name, "") || set_string(&r->append, "")))
		fits = -ENOMEM;
	if (fits > 0 && (!r->name || (!r->append && set_string(&r->append, ""))))
		fits = diag_set(d, -EINVAL, "a recipe without a name");
	if (fits < 0) {
		diag_set(d, fits, "%s: recipe: %s", img->path, strerror(-fits));
		recipe_free(r);
		return fits;
	}
	return 0;
}

void recipe_free(struct recipe *r)
{
	forget(r);
	free(r->skipped);
	*r = (struct recipe){0};
}
