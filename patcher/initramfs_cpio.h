// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Entries of newc archives (Documentation/driver-api/early-userspace/buffer-format.rst of Linux): a header of 13 numbers
 * in hexadecimal, the name, the contents, each padded to a word as counted from the start of the archive.
 */
#ifndef PATCHER_INITRAMFS_CPIO_H
#define PATCHER_INITRAMFS_CPIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CPIO_HEADER_SIZE 110 /* magic and 13 fields of 8 hexadecimal digits */

enum cpio_field { CPIO_MODE = 1, CPIO_NLINK = 4, CPIO_FILESIZE = 6, CPIO_NAMESIZE = 11, CPIO_CHECK = 12 };

struct cpio_entry {
	const char *name;
	const uint8_t *data;
	size_t name_size, size; /* of data; the name with its NUL */
	size_t next; /* from this entry's header to the next one's; may lie behind the end of the archive */
	size_t mode, links;
	bool trailer;
};

/* The entry at the beginning of p: NULL, or what is wrong with it. Entries begin at words. */
const char *cpio_entry_read(const uint8_t *p, size_t size, struct cpio_entry *e);
/* A regular file whose contents stand here: of hard links the last one has them. */
bool cpio_has_contents(const struct cpio_entry *e);
void cpio_set_field(uint8_t *header, enum cpio_field f, uint32_t value);
static inline size_t cpio_padded(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

#endif
