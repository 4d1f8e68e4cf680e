/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HYPERCALLS_MANIFEST_CHECK_H
#define HYPERCALLS_MANIFEST_CHECK_H

#include "hypercalls/diag.h"
#include "hypercalls/manifest.h"

/* The tables of m, whose counts are right, against each other. 0, or -EINVAL with the place. */
int manifest_check(const struct manifest *m, struct diag *d);

#endif
