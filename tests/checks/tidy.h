/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Included before every file that clang-tidy reads, but hypercalls/diag.c: its analyser sees one file at a time
 * and would think that `return diag_set(d, -EINVAL, ...)` may return 0.
 */
#ifndef TESTS_CHECKS_TIDY_H
#define TESTS_CHECKS_TIDY_H

#include "hypercalls/diag.h"

#define diag_set(d, err, ...) (diag_set(d, err, __VA_ARGS__), (err))

#endif
