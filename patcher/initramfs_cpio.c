// SPDX-License-Identifier: GPL-3.0-or-later
#include "patcher/initramfs_cpio.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "patcher/initramfs.h"

bool initramfs_is_cpio(const uint8_t *p, size_t size)
{
	return size >= CPIO_HEADER_SIZE && (!memcmp(p, "070701", 6) || !memcmp(p, "070702", 6));
}

static bool field(const uint8_t *header, enum cpio_field f, size_t *out)
{
	size_t v = 0;

	for (const uint8_t *p = header + 6 + 8 * f, *end = p + 8; p < end; p++) {
		const char *digits = "0123456789abcdef", *at = *p ? strchr(digits, *p | 0x20) : NULL;

		if (!at || (*p < 'A' && *p > '9'))
			return false;
		v = v << 4 | (size_t)(at - digits);
	}
	*out = v;
	return true;
}

void cpio_set_field(uint8_t *header, enum cpio_field f, uint32_t value)
{
	char digits[9];

	snprintf(digits, sizeof(digits), "%08X", value);
	memcpy(header + 6 + 8 * f, digits, 8);
}

const char *cpio_entry_read(const uint8_t *p, size_t size, struct cpio_entry *e)
{
	size_t data;

	if (size < CPIO_HEADER_SIZE)
		return "cpio: no end mark; the archive is cut off";
	if (!initramfs_is_cpio(p, size))
		return "cpio header: no magic number; what follows is lost";
	*e = (struct cpio_entry){.name = (const char *)p + CPIO_HEADER_SIZE};
	if (!field(p, CPIO_MODE, &e->mode) || !field(p, CPIO_NLINK, &e->links) ||
	    !field(p, CPIO_FILESIZE, &e->size) || !field(p, CPIO_NAMESIZE, &e->name_size) || !e->name_size ||
	    e->name_size > size - CPIO_HEADER_SIZE || e->name[e->name_size - 1])
		return "cpio header: damaged; what follows it is lost";
	data = cpio_padded(CPIO_HEADER_SIZE + e->name_size);
	e->trailer = !strcmp(e->name, "TRAILER!!!");
	if (e->trailer)
		e->size = 0;
	else if (data > size || e->size > size - data)
		return "cpio: the archive is cut off in a file; what follows is lost";
	e->data = p + data;
	e->next = cpio_padded(data + e->size);
	return NULL;
}

bool cpio_has_contents(const struct cpio_entry *e)
{
	return S_ISREG(e->mode) && (e->size || e->links < 2);
}
