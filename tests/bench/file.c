// SPDX-License-Identifier: GPL-3.0-or-later
/* Files on tmpfs: the page cache and the directory code, without a disk. */
#include "tests/bench/bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 256 };

static int fd;
static uint8_t buffer[PAGE];
static char path[128];

static void file_setup(void)
{
	unsigned i;

	memset(buffer, 7, sizeof buffer);
	snprintf(path, sizeof path, "%s/file", conf.dir);
	fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
	if (fd < 0)
		die(path);
	unlink(path);
	for (i = 0; i < PAGES; i++)
		if (write(fd, buffer, PAGE) != PAGE)
			die("write");
}

static void file_teardown(void)
{
	close(fd);
}

static void file_write(unsigned n)
{
	while (n--)
		vsys(SYS_pwrite64, fd, (long)buffer, PAGE, (long)(n % PAGES * PAGE), 0);
}

static void file_read(unsigned n)
{
	while (n--)
		vsys(SYS_pread64, fd, (long)buffer, PAGE, (long)(n % PAGES * PAGE), 0);
}

static void create_setup(void)
{
	snprintf(path, sizeof path, "%s/create", conf.dir);
}

static void create_unlink(unsigned n)
{
	while (n--) {
		long f = vsys(SYS_open, (long)path, O_CREAT | O_WRONLY, 0600, 0, 0);

		if (f < 0)
			die(path);
		vsys(SYS_close, f, 0, 0, 0, 0);
		vsys(SYS_unlink, (long)path, 0, 0, 0, 0);
	}
}

const struct row file_rows[] = {
    {.name = "file-write", .setup = file_setup, .run = file_write, .teardown = file_teardown},
    {.name = "file-read", .setup = file_setup, .run = file_read, .teardown = file_teardown},
    {.name = "file-create", .setup = create_setup, .run = create_unlink},
    {.name = NULL},
};
