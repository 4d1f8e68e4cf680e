// SPDX-License-Identifier: GPL-3.0-or-later
/* A kernel module of the test's own: `as` makes it from source. */
#ifndef TESTS_UNIT_MODULE_FIXTURE_H
#define TESTS_UNIT_MODULE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "patcher/patch.h"

/* The 32-bit object file of the source, to be freed. */
static inline void module_assemble(const char *source, uint8_t **ko, size_t *size)
{
	char dir[] = "/tmp/paravane.XXXXXX", path[64], command[256];
	struct diag d = {0};
	FILE *as;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/m.ko", dir);
	snprintf(command, sizeof(command), "as --32 -o %s -", path);
	as = popen(command, "w");
	assert_non_null(as);
	fputs(source, as);
	assert_int_equal(pclose(as), 0);
	assert_int_equal(file_read(path, ko, size, &d), 0);
	unlink(path);
	rmdir(dir);
}

#endif
