// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Where the modules are: the files of a tree by their names (*.ko, *.ko.gz, *.ko.xz, *.ko.zst: what depmod takes),
 * a single file or an initramfs by its contents.
 */
#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "patcher/initramfs.h"
#include "patcher/modules.h"
#include "patcher/patch.h"
#include "patcher/payload.h"

bool modules_is_module_name(const char *name)
{
	static const char *const ends[] = {".ko", ".ko.gz", ".ko.xz", ".ko.zst"};
	size_t n = strlen(name);

	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		size_t k = strlen(ends[i]);

		if (n > k && !strcmp(name + n - k, ends[i]))
			return true;
	}
	return false;
}

bool modules_is_initramfs(const char *path, const uint8_t *bytes, size_t size)
{
	struct payload_member m = {0};
	struct diag ignored = {0};
	bool archive = initramfs_is_cpio(bytes, size);

	if (archive || modules_is_module_name(path) || !payload_format(bytes, size))
		return archive;
	payload_unpack_member(bytes, size, &m, path, &ignored);
	archive = m.bytes && initramfs_is_cpio(m.bytes, m.size);
	free(m.bytes);
	return archive;
}

/* Copies the strings; NULL stays NULL. */
static int add_source(struct module_list *l, const struct module_source *s)
{
	struct module_source *p = l->sources, *new;

	if (!(l->n & (l->n - 1)) || !l->n) {
		p = realloc(p, (l->n ? 2 * l->n : 1) * sizeof(*p));
		if (!p)
			return -ENOMEM;
		l->sources = p;
	}
	new = &p[l->n];
	*new = *s;
	new->name = strdup(s->name);
	new->path = s->path ? strdup(s->path) : NULL;
	new->damage = s->damage ? strdup(s->damage) : NULL;
	if (!new->name || !new->path != !s->path || !new->damage != !s->damage) {
		free(new->name);
		free(new->path);
		free(new->damage);
		return -ENOMEM;
	}
	l->n++;
	return 0;
}

static int keep(void *ctx, uint8_t *bytes)
{
	struct module_list *l = ctx;
	uint8_t **p = realloc(l->buffers, (l->n_buffers + 1) * sizeof(*p));

	if (!p) {
		free(bytes);
		return -ENOMEM;
	}
	l->buffers = p;
	l->buffers[l->n_buffers++] = bytes;
	return 0;
}

static int archive_file(void *ctx, const char *name, const uint8_t *data, size_t size)
{
	if (!modules_is_module_name(name))
		return 0;
	return add_source(ctx, &(struct module_source){.name = (char *)name, .data = data, .size = size});
}

static int archive_damage(void *ctx, const char *text)
{
	return add_source(ctx, &(struct module_source){.name = "(archive)", .damage = (char *)text});
}

static int find_in_tree(struct module_list *l, const char *path, struct diag *d)
{
	char *const roots[] = {(char *)path, NULL};
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, NULL);
	size_t skip = strlen(path);
	FTSENT *e;
	int err = 0;

	if (!fts)
		return diag_set(d, -errno, "%s: %s", path, strerror(errno));
	while (skip && path[skip - 1] == '/')
		skip--;
	while (!err && (e = fts_read(fts))) {
		const char *name = e->fts_pathlen > skip ? e->fts_path + skip : e->fts_path;

		name += strspn(name, "/");
		if (e->fts_info == FTS_F && modules_is_module_name(e->fts_name))
			err =
			    add_source(l, &(struct module_source){.name = (char *)name, .path = e->fts_path});
		else if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || e->fts_info == FTS_NS)
			err =
			    add_source(l, &(struct module_source){.name = *name ? (char *)name : (char *)path,
								  .damage = strerror(e->fts_errno)});
	}
	fts_close(fts);
	return err;
}

static int find_in_file(struct module_list *l, const char *path, struct diag *d)
{
	static const struct initramfs_ops ops = {
	    .file = archive_file, .keep = keep, .damage = archive_damage};
	struct payload_member m = {0};
	struct diag ignored = {0};
	uint8_t *bytes;
	size_t size;
	bool archive;
	int err = file_read(path, &bytes, &size, d);

	if (err)
		return err;
	err = keep(l, bytes);
	if (err)
		return err;
	if (modules_is_module_name(path) || (size >= 4 && !memcmp(bytes, "\177ELF", 4)))
		return add_source(l,
				  &(struct module_source){.name = (char *)path, .data = bytes, .size = size});
	archive = initramfs_is_cpio(bytes, size);
	if (!archive && payload_format(bytes, size)) {
		payload_unpack_member(bytes, size, &m, path, &ignored);
		if (m.size >= 4 && !memcmp(m.bytes, "\177ELF", 4))
			err = add_source(
			    l, &(struct module_source){.name = (char *)path, .data = bytes, .size = size});
		else
			archive = true;
		free(m.bytes);
	}
	if (archive)
		return initramfs_walk(path, bytes, size, &ops, l);
	if (!err && !l->n)
		err = diag_set(d, -ENOEXEC,
			       "%s: neither a directory, a kernel module nor an initramfs (a cpio archive, "
			       "plain or compressed)",
			       path);
	return err;
}

int modules_read(const struct module_source *s, uint8_t **bytes, size_t *size, struct diag *d)
{
	if (s->path)
		return file_read(s->path, bytes, size, d);
	*bytes = malloc(s->size + 1);
	if (!*bytes)
		return diag_set(d, -ENOMEM, "out of memory");
	memcpy(*bytes, s->data, s->size);
	*size = s->size;
	return 0;
}

static int compare_sources(const void *a, const void *b)
{
	const struct module_source *x = a, *y = b;

	return strcmp(x->name, y->name);
}

int modules_find(struct module_list *l, const char *path, struct diag *d)
{
	struct stat st;
	int err;

	*l = (struct module_list){0};
	if (stat(path, &st))
		return diag_set(d, -errno, "%s: %s", path, strerror(errno));
	err = S_ISDIR(st.st_mode) ? find_in_tree(l, path, d) : find_in_file(l, path, d);
	if (!err && !l->n)
		err = diag_set(d, -ENOENT, "%s: no kernel module (*.ko, *.ko.gz, *.ko.xz, *.ko.zst) in it",
			       path);
	if (err) {
		modules_free(l);
		return diag_set(d, err, "%s: %s", path, strerror(-err));
	}
	qsort(l->sources, l->n, sizeof(*l->sources), compare_sources);
	return 0;
}

void modules_free(struct module_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->sources[i].name);
		free(l->sources[i].path);
		free(l->sources[i].damage);
	}
	for (size_t i = 0; i < l->n_buffers; i++)
		free(l->buffers[i]);
	free(l->sources);
	free(l->buffers);
	*l = (struct module_list){0};
}
