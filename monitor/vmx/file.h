// SPDX-License-Identifier: GPL-3.0-or-later
/* Whole files in and out, with messages. */
#ifndef MONITOR_VMX_FILE_H
#define MONITOR_VMX_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "hypercalls/diag.h"

/* Read path whole (pipes too) into *buf, malloc'd. `what` names it in messages; at most cap bytes, else -EFBIG. */
int host_file_read(const char *what, const char *path, size_t cap, uint8_t **buf, size_t *size,
		   struct diag *d);

/*
 * Memory that is about to be written whole: have the host give its pages at once, which costs a fraction of a fault each.
 * Where the host declines, the faults come.
 */
void host_populate(void *at, size_t size);

/* Write path by way of a temporary file beside it and a rename: readers see all of it or the old one. */
int host_file_replace(const char *path, const void *buf, size_t size, struct diag *d);

#endif
