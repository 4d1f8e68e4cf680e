// SPDX-License-Identifier: GPL-3.0-or-later
/* Whole files in and out. A file is written beside its name and renamed, so that no reader ever sees half of it
 * and a failure leaves what was there before. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "patcher/patch.h"

int file_read(const char *path, uint8_t **bytes, size_t *size, struct diag *d)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
	struct stat st;
	size_t got = 0;

	*bytes = NULL;
	if (fd < 0 || fstat(fd, &st)) {
		err = -errno;
		goto out;
	}
	if (!S_ISREG(st.st_mode)) {
		err = -EINVAL;
		goto out;
	}
	*bytes = malloc((size_t)st.st_size + 1);
	if (!*bytes)
		err = -ENOMEM;
	while (!err && got < (size_t)st.st_size) {
		ssize_t n = read(fd, *bytes + got, (size_t)st.st_size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			err = n < 0 ? -errno : -EIO;
			break;
		}
		got += (size_t)n;
	}
	*size = got;
out:
	if (fd >= 0)
		close(fd);
	if (err) {
		free(*bytes);
		*bytes = NULL;
		return diag_set(d, err, "%s: %s", path,
				err == -EINVAL ? "not a regular file" : strerror(-err));
	}
	return 0;
}

static int write_all(int fd, const uint8_t *p, size_t size)
{
	while (size) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			p += n;
			size -= (size_t)n;
		}
	}
	return 0;
}

int file_write(const char *path, const void *bytes, size_t size, struct diag *d)
{
	mode_t mask = umask(0);
	char *temp = NULL;
	int fd, err;

	umask(mask);
	if (asprintf(&temp, "%s.XXXXXX", path) < 0)
		return diag_set(d, -ENOMEM, "%s: out of memory", path);
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0) {
		err = diag_set(d, -errno, "%s: %s", path, strerror(errno));
		free(temp);
		return err;
	}
	err = write_all(fd, bytes, size);
	if (!err && fchmod(fd, 0666 & ~mask))
		err = -errno;
	if (close(fd) && !err)
		err = -errno;
	if (!err && rename(temp, path))
		err = -errno;
	if (err) {
		unlink(temp);
		diag_set(d, err, "%s: %s", path, strerror(-err));
	}
	free(temp);
	return err;
}
