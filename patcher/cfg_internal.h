// SPDX-License-Identifier: GPL-3.0-or-later
/* Shared by the parts of control-flow recovery and nobody else. */
#ifndef PATCHER_CFG_INTERNAL_H
#define PATCHER_CFG_INTERNAL_H

#include "patcher/cfg.h"

struct cfg_ranges {
	struct cfg_range *ranges;
	size_t n, cap;
};

/* Room for one more item: array and cap grow if used has reached cap. False when memory is out. */
bool cfg_grow(void **array, size_t *cap, size_t used, size_t item);

/* cfg_unreached.c: between the descent and the sweep; after the sweep, into cfg. 0 or -ENOMEM. */
int cfg_gaps_find(const struct cfg *cfg, struct cfg_ranges *gaps);
int cfg_unreached_find(struct cfg *cfg, const struct cfg_ranges *gaps);

#endif
