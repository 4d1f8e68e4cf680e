// SPDX-License-Identifier: GPL-3.0-or-later
/* Whole files in and out, with messages. */
#ifndef MONITOR_VMX_FILE_H
#define MONITOR_VMX_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "hypercalls/diag.h"

/*
 * The bytes of path, to be read (pipes too); `what` names it in messages; at most cap bytes, else -EFBIG. A regular file is
 * mapped: nothing is copied, and what others write into it before it is unmapped may show. *at is NULL when it is empty.
 */
int host_file_map(const char *what, const char *path, size_t cap, const uint8_t **at, size_t *size, struct diag *d);
void host_file_unmap(const uint8_t *at, size_t size);

/* Write path by way of a temporary file beside it and a rename: readers see all of it or the old one. */
int host_file_replace(const char *path, const void *buf, size_t size, struct diag *d);

#endif
