// SPDX-License-Identifier: GPL-3.0-or-later
#ifndef PATCHER_RECIPE_DATA_H
#define PATCHER_RECIPE_DATA_H

struct recipe_file {
	const char *name;
	const char *start, *end;
};

extern const struct recipe_file recipe_files[]; /* ends with a NULL name */

#endif
