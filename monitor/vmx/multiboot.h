// SPDX-License-Identifier: GPL-3.0-or-later
/* Multiboot 1 (Multiboot specification 0.6.96), for flat test guests and other small kernels. */
#ifndef MONITOR_VMX_MULTIBOOT_H
#define MONITOR_VMX_MULTIBOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypercalls/diag.h"

struct guest_image;
struct vm;
struct boot_args;

/* Does a Multiboot header with a good checksum stand in the first 8 KiB (section 3.1)? */
bool multiboot_find(const uint8_t *file, size_t size);

int multiboot_boot(const struct guest_image *g, struct vm *vm, const struct boot_args *args, struct diag *d);

#endif
