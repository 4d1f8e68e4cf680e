// SPDX-License-Identifier: GPL-3.0-or-later
/* The page of many modules when there is more to tell than it has room for: what is left out, and that it says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "patcher/modules.h"
#include "patcher/patch.h"

#define MODULES 20
#define SITES 300

static char path[] = "/tmp/test_report_modules.XXXXXX";

/* A module whose sites have names of their own and a source line each. */
static struct module_result *module(uint32_t index)
{
	struct module_result head = {
	    .index = index, .sites = SITES, .by_class = {[CLASS_PRIVILEGED] = SITES}};
	const char *parts[MODULE_PARTS] = {0};
	struct module_result *r;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	fprintf(
	    f, "{\"name\": \"m%u.ko\", \"width\": 32, \"compression\": \"none\", \"notes\": [], \"sites\": [",
	    index);
	for (unsigned i = 0; i < SITES; i++)
		fprintf(f,
			"%s{\"section\": \".text\", \"offset\": %u, \"symbol\": {\"name\": \"s%u_%u\", "
			"\"offset\": 0}, "
			"\"bytes\": \"fa\", \"disassembly\": \"cli\", \"op\": \"OP_CLI\", \"origin\": "
			"\"descent\", "
			"\"context\": [], \"source\": [{\"file\": \"f%u_%u.c\", \"line\": 1, \"function\": "
			"\"f\"}]}",
			i ? ", " : "", i, index, i, index, i);
	fprintf(f, "]}");
	fclose(f);
	parts[PART_JSON] = text;
	r = module_result_pack(&head, parts);
	free(text);
	assert_non_null(r);
	return r;
}

/* The page's data when it may take `most` bytes; its size in *size. */
static json_t *data_of(const struct module_results *r, size_t most, size_t *size)
{
	static const char mark[] = "id=\"data\">";
	struct diag d = {0};
	uint8_t *page;
	json_error_t e;
	json_t *data;
	char *start;

	assert_int_equal(report_modules_html("tree", r, most, path, &d), 0);
	assert_int_equal(file_read(path, &page, size, &d), 0);
	page[*size] = '\0';
	start = strstr((char *)page, mark);
	assert_non_null(start);
	data = json_loads(start + strlen(mark), JSON_DISABLE_EOF_CHECK, &e);
	assert_non_null(data);
	free(page);
	return data;
}

static json_int_t left_out(const json_t *data)
{
	return json_integer_value(json_object_get(data, "left_out"));
}

static size_t sites_of(const json_t *data, size_t module)
{
	json_t *row = json_array_get(json_object_get(data, "modules"), module);

	return json_array_size(json_array_get(row, json_array_size(row) - 1));
}

static void a_page_without_room_says_what_it_leaves_out(void **state)
{
	const struct module_result *results[MODULES];
	struct module_results r = {.results = results, .n = MODULES};
	size_t whole, size, last = SIZE_MAX;
	json_t *data;

	(void)state;
	for (uint32_t i = 0; i < MODULES; i++)
		results[i] = module(i);
	data = data_of(&r, MODULES_PAGE_MOST, &whole);
	assert_true(json_is_true(json_object_get(data, "lines")));
	assert_int_equal(left_out(data), 0);
	assert_int_equal(sites_of(data, MODULES - 1), SITES);
	json_decref(data);

	/* Lines are what goes first, then sites, in each module alike. The head of the page counts all of them. */
	for (size_t most = whole; most > 60000; most -= 20000) {
		data = data_of(&r, most, &size);
		assert_true(size <= most);
		if (size < last && !left_out(data))
			assert_false(json_is_true(json_object_get(data, "lines")));
		assert_int_equal(left_out(data), MODULES * (SITES - (json_int_t)sites_of(data, 3)));
		assert_int_equal(
		    json_integer_value(json_object_get(json_object_get(data, "totals"), "sites")),
		    MODULES * SITES);
		assert_int_equal(json_array_size(json_object_get(data, "modules")), MODULES);
		last = size;
		json_decref(data);
	}
	data = data_of(&r, 1, &size); /* never less than a row for each module */
	assert_int_equal(left_out(data), MODULES * SITES);
	assert_int_equal(json_array_size(json_object_get(data, "modules")), MODULES);
	json_decref(data);
	for (uint32_t i = 0; i < MODULES; i++)
		free((void *)(uintptr_t)results[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_page_without_room_says_what_it_leaves_out)};
	int fd = mkstemp(path), failed;

	if (fd < 0)
		return 1;
	close(fd);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return failed;
}
