// SPDX-License-Identifier: GPL-3.0-or-later
#include "monitor/vmx/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_fd(int fd, size_t cap, uint8_t **buf, size_t *size)
{
	size_t room = 65536;

	*size = 0;
	*buf = malloc(room);
	while (*buf) {
		ssize_t n = read(fd, *buf + *size, room - *size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		*size += (size_t)n;
		if (*size > cap)
			return -EFBIG;
		if (*size == room) {
			uint8_t *more = realloc(*buf, room * 2);

			if (!more)
				return -ENOMEM;
			*buf = more;
			room *= 2;
		}
	}
	return -ENOMEM;
}

/* What cannot be mapped is read into memory that can be unmapped. */
static int map_copy(int fd, size_t cap, const uint8_t **at, size_t *size)
{
	uint8_t *buf, *copy;
	int err = read_fd(fd, cap, &buf, size);

	if (!err && *size) {
		copy = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (copy == MAP_FAILED)
			err = -errno;
		else
			*at = memcpy(copy, buf, *size);
	}
	free(buf);
	return err;
}

static int map_fd(int fd, size_t cap, const uint8_t **at, size_t *size)
{
	struct stat st;
	void *map;

	if (fstat(fd, &st))
		return -errno;
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > cap)
		return -EFBIG;
	map = S_ISREG(st.st_mode) && st.st_size
		  ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0)
		  : MAP_FAILED;
	if (map == MAP_FAILED)
		return map_copy(fd, cap, at, size);
	*at = map;
	*size = (size_t)st.st_size;
	return 0;
}

void host_file_unmap(const uint8_t *at, size_t size)
{
	if (at)
		munmap((void *)at, size);
}

int host_file_map(const char *what, const char *path, size_t cap, const uint8_t **at, size_t *size, struct diag *d)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;

	*at = NULL;
	*size = 0;
	if (fd < 0)
		return diag_set(d, -errno, "%s: cannot open the %s: %s", path, what, strerror(errno));
	err = map_fd(fd, cap, at, size);
	close(fd);
	if (!err)
		return 0;
	*size = 0;
	if (err == -EFBIG)
		return diag_set(d, err, "%s: too large for a %s: more than %zu MiB", path, what, cap >> 20);
	return diag_set(d, err, "%s: cannot read the %s: %s", path, what, strerror(-err));
}

static int write_all(int fd, const uint8_t *buf, size_t size)
{
	while (size) {
		ssize_t n = write(fd, buf, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf += n;
		size -= (size_t)n;
	}
	return 0;
}

int host_file_replace(const char *path, const void *buf, size_t size, struct diag *d)
{
	char *tmp;
	mode_t mask;
	int fd, err;

	if (asprintf(&tmp, "%s.XXXXXX", path) < 0)
		return diag_set(d, -ENOMEM, "%s: out of memory", path);
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0) {
		err = diag_set(d, -errno, "%s: cannot create a file beside it: %s", path, strerror(errno));
		free(tmp);
		return err;
	}
	mask = umask(0);
	umask(mask);
	err = write_all(fd, buf, size);
	if (!err && fchmod(fd, 0666 & ~mask))
		err = -errno;
	if (close(fd) && !err)
		err = -errno;
	if (!err && rename(tmp, path))
		err = -errno;
	if (err) {
		unlink(tmp);
		diag_set(d, err, "%s: cannot write: %s", path, strerror(-err));
	}
	free(tmp);
	return err;
}
