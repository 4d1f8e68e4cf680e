// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Diagnostics: how a function below main() says what went wrong.
 *
 * A fault of the user, the host or an input file returns -errno and leaves one sentence in the caller's
 * struct diag: the place first ("vmlinuz: .text+0x1c4: ..."), then what is wrong and what to do about it.
 * Only main() prints it and exits. The first message wins: a caller that adds its own while unwinding cannot
 * hide the cause.
 */
#ifndef HYPERCALLS_DIAG_H
#define HYPERCALLS_DIAG_H

struct diag {
	char text[512]; /* NUL-terminated; "" while nothing went wrong */
};

/* Record a message unless one is already there. Returns err (a negative errno), so `return diag_set(...)`. */
int diag_set(struct diag *d, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
