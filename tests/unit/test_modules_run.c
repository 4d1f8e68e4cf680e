// SPDX-License-Identifier: GPL-3.0-or-later
/* Worker processes of `audit --modules`: module_audit() here is a stand-in, which may take its worker down. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "patcher/modules.h"

struct module_result *module_audit(const struct module_source *source, uint32_t index)
{
	const char *parts[MODULE_PARTS] = {[PART_MESSAGE] = source->damage ? source->damage : source->name,
					   [PART_JSON] = "{}",
					   [PART_CSV] = "a,b"};
	struct module_result head = {.index = index, .sites = index};

	if (!source->damage && !strncmp(source->name, "abort", 5))
		abort();
	if (!source->damage && !strncmp(source->name, "none", 4))
		return NULL;
	head.status = source->damage ? MODULE_UNREADABLE : MODULE_OK;
	return module_result_pack(&head, parts);
}

static void run(size_t n, const char *(*name)(size_t i),
		void (*check)(const struct module_result *r, size_t i))
{
	struct module_source *s = calloc(n, sizeof(*s));
	struct module_list list = {.sources = s, .n = n};
	struct module_results r;
	struct diag d = {0};

	for (size_t i = 0; i < n; i++)
		s[i].name = (char *)name(i);
	assert_int_equal(modules_run(&r, &list, module_audit, NULL, &d), 0);
	assert_int_equal(r.n, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(r.results[i]->index, i);
		assert_string_equal(module_part(r.results[i], PART_JSON), "{}");
		assert_string_equal(module_part(r.results[i], PART_CSV), "a,b");
		assert_string_equal(module_part(r.results[i], PART_SARIF), "");
		check(r.results[i], i);
	}
	module_results_free(&r);
	free(s);
}

static const char *good_name(size_t i)
{
	return i % 2 ? "odd" : "even number";
}

static void check_good(const struct module_result *r, size_t i)
{
	assert_int_equal(r->status, MODULE_OK);
	assert_string_equal(module_part(r, PART_MESSAGE), good_name(i));
}

static void every_module_once_and_in_order(void **state)
{
	(void)state;
	run(1, good_name, check_good);
	run(1000, good_name, check_good);
}

static const char *deadly_name(size_t i)
{
	return i % 10 == 3 ? "abort" : i % 10 == 7 ? "none" : "good";
}

static void check_deadly(const struct module_result *r, size_t i)
{
	if (i % 10 != 3 && i % 10 != 7) {
		assert_int_equal(r->status, MODULE_OK);
		return;
	}
	assert_int_equal(r->status, MODULE_UNREADABLE);
	assert_non_null(strstr(module_part(r, PART_MESSAGE), i % 10 == 3 ? "signal 6" : "no memory"));
}

static void a_dying_worker_costs_its_module_only(void **state)
{
	(void)state;
	run(40, deadly_name, check_deadly);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_module_once_and_in_order),
	    cmocka_unit_test(a_dying_worker_costs_its_module_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
