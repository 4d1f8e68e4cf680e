// SPDX-License-Identifier: GPL-3.0-or-later
/* Symbols from the kallsyms tables inside a stripped Linux kernel. */
#ifndef PATCHER_KALLSYMS_H
#define PATCHER_KALLSYMS_H

#include "patcher/image.h"

/*
 * Append the kernel's own symbols to img->symbols (unsorted). 0, -ENOENT without tables, -EINVAL when they
 * are damaged (a note in img says where; no symbol is kept), -ENOMEM.
 */
int kallsyms_read(struct image *img);

#endif
