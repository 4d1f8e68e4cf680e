// SPDX-License-Identifier: GPL-3.0-or-later
/* The files of an initramfs: newc cpio archives, each plain or compressed, one behind the other. */
#ifndef PATCHER_INITRAMFS_H
#define PATCHER_INITRAMFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypercalls/diag.h"

struct initramfs_ops {
	/* A regular file. data stays valid as long as the input and what keep() was given. 0 or -errno to stop. */
	int (*file)(void *ctx, const char *name, const uint8_t *data, size_t size);
	/* Takes over a malloc'd buffer that file() was shown parts of. */
	int (*keep)(void *ctx, uint8_t *bytes);
	/* What could not be read, in one line; the rest still comes. */
	int (*damage)(void *ctx, const char *text);
};

/* Does it begin like a newc archive? */
bool initramfs_is_cpio(const uint8_t *bytes, size_t size);
/* 0, or what an operation returned. path is for messages. */
int initramfs_walk(const char *path, const uint8_t *bytes, size_t size, const struct initramfs_ops *ops,
		   void *ctx);

/* New contents (malloc'd) for a regular file in *new, or NULL there to keep it. 0 or -errno to stop. */
typedef int (*initramfs_exchange)(void *ctx, const char *name, const uint8_t *data, size_t size,
				  uint8_t **new, size_t *new_size);
/*
 * initramfs_rewrite.c: the same initramfs with files exchanged; malloc'd in *new. -EINVAL where it is damaged.
 */
int initramfs_rewrite(const char *path, const uint8_t *bytes, size_t size, initramfs_exchange exchange,
		      void *ctx, uint8_t **new, size_t *new_size, struct diag *d);

#endif
