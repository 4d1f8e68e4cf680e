// SPDX-License-Identifier: GPL-3.0-or-later
#include "patcher/modules_patch.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "patcher/initramfs.h"
#include "patcher/modules.h"
#include "patcher/patch.h"
#include "patcher/payload.h"

/* --- one module -------------------------------------------------------------------------------------------- */

static void add(struct modules_patched *sum, const struct module_patched *p)
{
	sum->patched++;
	sum->unsigned_now += p->was_signed;
	sum->windows += p->windows;
	sum->stub_bytes += p->stub_bytes;
	for (unsigned t = 0; t < TACTIC_COUNT; t++)
		sum->tactics[t] += p->tactics[t];
}

int modules_tolerate(struct modules_patched *sum, int err, const struct diag *d)
{
	bool known = err == -ENODATA || err == -EALREADY;

	if (!err || err == -ENOMEM)
		return err;
	sum->unchanged += known;
	sum->refused += !known;
	fprintf(sum->notes, "left as it is: %s\n", d->text);
	return 0;
}

/* Patch the module inside, and compress it again as it was. */
static int patch_inside(struct modules_patched *sum, const char *name, const struct payload_member *m,
			const char *format, uint8_t **new, size_t *new_size, struct diag *d)
{
	struct module_patched p = {0};
	int err = module_patch(&p, name, m->bytes, m->size, d);

	if (!err && format) {
		err = payload_pack(format, p.bytes, p.size, new, new_size, name, d);
		free(p.bytes);
	} else if (!err) {
		*new = p.bytes;
		*new_size = p.size;
	}
	if (!err)
		add(sum, &p);
	return err;
}

int modules_patch_one(struct modules_patched *sum, const char *name, const uint8_t *file, size_t size,
		      uint8_t **new, size_t *new_size, struct diag *d)
{
	const char *format = payload_format(file, size);
	struct payload_member plain = {.bytes = (uint8_t *)file, .size = size}, m = {0};
	int err = format ? payload_unpack_member(file, size, &m, name, d) : 0;

	sum->modules++;
	*new = NULL;
	if (!err)
		err = patch_inside(sum, name, format ? &m : &plain, format, new, new_size, d);
	free(m.bytes);
	return err;
}

/* --- a file ------------------------------------------------------------------------------------------------ */

static int exchange(void *ctx, const char *name, const uint8_t *data, size_t size, uint8_t **new,
		    size_t *new_size)
{
	struct diag d = {0};

	if (!modules_is_module_name(name))
		return 0;
	return modules_tolerate(ctx, modules_patch_one(ctx, name, data, size, new, new_size, &d), &d);
}

static int patch_single(struct modules_patched *sum, const char *path, const uint8_t *bytes, size_t size,
			uint8_t **new, size_t *new_size, struct diag *d)
{
	int err = modules_patch_one(sum, path, bytes, size, new, new_size, d);

	return err == -ENODATA || err == -EALREADY ? modules_tolerate(sum, err, d) : err;
}

static int patch_file(struct modules_patched *sum, const char *path, const char *out, struct diag *d)
{
	uint8_t *bytes, *new = NULL;
	size_t size, new_size = 0;
	int err = file_read(path, &bytes, &size, d);

	if (err)
		return err;
	if (modules_is_initramfs(path, bytes, size))
		err = initramfs_rewrite(path, bytes, size, exchange, sum, &new, &new_size, d);
	else
		err = patch_single(sum, path, bytes, size, &new, &new_size, d);
	if (!err)
		err = file_write(out, new ? new : bytes, new ? new_size : size, d);
	free(new);
	free(bytes);
	return err;
}

/* --- a tree ------------------------------------------------------------------------------------------------ */

static int copy_link(const char *from, const char *to, struct diag *d)
{
	char target[4096];
	ssize_t n = readlink(from, target, sizeof(target) - 1);

	if (n >= 0)
		target[n] = '\0';
	if (n < 0 || symlink(target, to))
		return diag_set(d, -errno, "%s: %s", to, strerror(errno));
	return 0;
}

static int copy_file(struct modules_patched *sum, const FTSENT *e, const char *name, const char *to,
		     struct diag *d)
{
	struct diag why = {0};
	uint8_t *bytes, *new = NULL;
	size_t size, new_size = 0;
	int err = file_read(e->fts_accpath, &bytes, &size, d);

	if (err)
		return err;
	if (modules_is_module_name(e->fts_name))
		err = modules_tolerate(sum, modules_patch_one(sum, name, bytes, size, &new, &new_size, &why),
				       &why);
	if (!err)
		err = file_write(to, new ? new : bytes, new ? new_size : size, d);
	if (!err && chmod(to, e->fts_statp->st_mode & 07777))
		err = -errno;
	free(new);
	free(bytes);
	return err ? diag_set(d, err, "%s: %s", to, strerror(-err)) : 0;
}

static int copy_entry(struct modules_patched *sum, const FTSENT *e, const char *name, const char *to,
		      struct diag *d)
{
	switch (e->fts_info) {
	case FTS_D: /* writable while it is filled; its own mode comes when it is left */
		return *name && mkdir(to, 0700) ? diag_set(d, -errno, "%s: %s", to, strerror(errno)) : 0;
	case FTS_DP:
		return chmod(to, e->fts_statp->st_mode & 07777)
			   ? diag_set(d, -errno, "%s: %s", to, strerror(errno))
			   : 0;
	case FTS_F:
		return copy_file(sum, e, name, to, d);
	case FTS_SL:
	case FTS_SLNONE:
		return copy_link(e->fts_accpath, to, d);
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		return diag_set(d, -e->fts_errno, "%s: %s", e->fts_path, strerror(e->fts_errno));
	default:
		return diag_set(d, -EINVAL, "%s: neither a file, a directory nor a symbolic link",
				e->fts_path);
	}
}

static int copy_tree(struct modules_patched *sum, const char *path, const char *out, struct diag *d)
{
	char *const roots[] = {(char *)path, NULL};
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, NULL);
	size_t skip = strlen(path);
	FTSENT *e;
	int err = 0;

	if (!fts)
		return diag_set(d, -errno, "%s: %s", path, strerror(errno));
	while (!err && (e = fts_read(fts))) {
		const char *name = e->fts_path + (e->fts_pathlen > skip ? skip : e->fts_pathlen);
		char *to = NULL;

		name += strspn(name, "/");
		if (asprintf(&to, "%s/%s", out, name) < 0)
			err = -ENOMEM;
		if (!err)
			err = copy_entry(sum, e, name, to, d);
		free(to);
	}
	fts_close(fts);
	return err;
}

static void remove_tree(const char *path)
{
	char *const roots[] = {(char *)path, NULL};
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	FTSENT *e;

	while (fts && (e = fts_read(fts))) {
		if (e->fts_info == FTS_D)
			chmod(e->fts_accpath, 0700);
		else if (e->fts_info == FTS_DP)
			rmdir(e->fts_accpath);
		else
			unlink(e->fts_accpath);
	}
	if (fts)
		fts_close(fts);
}

static int patch_tree(struct modules_patched *sum, const char *path, const char *out, struct diag *d)
{
	size_t n = strlen(out);
	char *temp = NULL;
	struct stat st;
	int err;

	while (n > 1 && out[n - 1] == '/')
		n--;
	if (!lstat(out, &st))
		return diag_set(d, -EEXIST, "%s: exists; give a directory that does not", out);
	if (asprintf(&temp, "%.*s.XXXXXX", (int)n, out) < 0)
		return diag_set(d, -ENOMEM, "%s: out of memory", out);
	if (!mkdtemp(temp)) {
		err = diag_set(d, -errno, "%s: %s", temp, strerror(errno));
		free(temp);
		return err;
	}
	err = copy_tree(sum, path, temp, d);
	if (!err && rename(temp, out))
		err = diag_set(d, -errno, "%s: %s", out, strerror(errno));
	if (err)
		remove_tree(temp);
	free(temp);
	return err ? diag_set(d, err, "%s: %s", path, strerror(-err)) : 0;
}

int modules_patch(struct modules_patched *sum, const char *path, const char *out, struct diag *d)
{
	struct stat st;

	if (stat(path, &st))
		return diag_set(d, -errno, "%s: %s", path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return patch_tree(sum, path, out, d);
	return patch_file(sum, path, out, d);
}
