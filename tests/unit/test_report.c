// SPDX-License-Identifier: GPL-3.0-or-later
/* The audit as text and JSON, and the run report that is merged into it. The schema is docs/audit-json.md. */
#include <fcntl.h>
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

#include "hypercalls/command.h"
#include "hypercalls/policy.h"
#include "patcher/report.h"

static char dir[] = "/tmp/test_report.XXXXXX";
static char image[64], text[64], json[64], run[64];

/* Standard output goes to `text`, complaints nowhere. */
static int audit(int argc, const char **argv)
{
	int to = open(text, O_WRONLY | O_CREAT | O_TRUNC, 0600), null = open("/dev/null", O_WRONLY);
	int o = dup(1), e = dup(2), status;

	fflush(stdout);
	dup2(to, 1);
	dup2(null, 2);
	status = audit_command.run(argc, (char **)argv);
	fflush(stdout);
	dup2(o, 1);
	dup2(e, 2);
	close(to);
	close(null);
	close(o);
	close(e);
	return status;
}

static int audit_json(const char *runtime)
{
	const char *argv[] = {"audit", image, "--json", json, "--runtime", runtime, NULL};

	return audit(runtime ? 6 : 4, argv);
}

static char *slurp(const char *path)
{
	struct diag d = {0};
	uint8_t *bytes;
	size_t size;

	if (file_read(path, &bytes, &size, &d))
		fail_msg("%s", d.text);
	bytes[size] = '\0'; /* file_read() leaves room */
	return (char *)bytes;
}

static json_t *read_json(void)
{
	json_error_t e;
	json_t *root = json_load_file(json, 0, &e);

	if (!root)
		fail_msg("%s:%d: %s", json, e.line, e.text);
	return root;
}

static void write_run(const char *fmt, ...)
{
	FILE *f = fopen(run, "w");
	va_list ap;

	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	fclose(f);
}

static int setup(void **state)
{
	char command[300];

	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(image, sizeof(image), "%s/image", dir);
	snprintf(text, sizeof(text), "%s/text", dir);
	snprintf(json, sizeof(json), "%s/json", dir);
	snprintf(run, sizeof(run), "%s/run", dir);
	snprintf(
	    command, sizeof(command),
	    "as --32 -o %s/o tests/golden/tactics.in && ld -m elf_i386 -z noseparate-code -Ttext=0xc0100000 "
	    "-e _start -o %s %s/o 2>/dev/null",
	    dir, image, dir);
	return system(command);
}

static int teardown(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static void schema(void **state)
{
	static const char *const strings[] = {"address",  "section",   "bytes",	   "disassembly", "op",
					      "mnemonic", "form",      "class",	   "why",	  "meaning",
					      "manual",	  "hypercall", "lowering", "origin",	  "tactic"};
	json_t *root, *sites, *site;
	size_t i;

	(void)state;
	assert_int_equal(audit_json(NULL), EXIT_STATUS_OK);
	root = read_json();
	assert_int_equal(json_integer_value(json_object_get(root, "version")), 1);
	assert_int_equal(json_integer_value(json_object_get(root, "width")), 32);
	assert_int_equal(json_string_length(json_object_get(root, "image_sha256")), 64);
	sites = json_object_get(root, "sites");
	assert_true(json_array_size(sites) > 15);
	json_array_foreach(sites, i, site)
	{
		const char *tactic = json_string_value(json_object_get(site, "tactic"));
		bool left =
		    !strcmp(tactic, "trap") || !strcmp(tactic, "none") || !strcmp(tactic, "breakpoint");

		for (size_t k = 0; k < sizeof(strings) / sizeof(strings[0]); k++)
			assert_true(json_is_string(json_object_get(site, strings[k])));
		assert_int_equal(json_string_length(json_object_get(site, "bytes")),
				 2 * json_integer_value(json_object_get(site, "length")));
		assert_int_equal(left, json_is_string(json_object_get(site, "unpatched_because")));
		assert_true(json_is_null(json_object_get(site, "runtime")));
	}
	json_decref(root);
}

static void text_names_what_is_left(void **state)
{
	const char *argv[] = {"audit", image, "--all", NULL};
	char *brief, *all;

	(void)state;
	assert_int_equal(audit(2, argv), EXIT_STATUS_OK);
	brief = slurp(text);
	assert_non_null(strstr(brief, "by class"));
	assert_non_null(strstr(brief, "by section"));
	assert_non_null(strstr(brief, "sites by tactic"));
	assert_non_null(strstr(brief, "trap1+0x0  fb  sti  [privileged]"));
	assert_non_null(strstr(brief, "trap: a branch target stands behind it"));
	assert_null(strstr(brief, "in_place+0x0"));
	assert_int_equal(audit(3, argv), EXIT_STATUS_OK);
	all = slurp(text);
	assert_non_null(strstr(all, "in_place+0x0"));
	free(brief);
	free(all);
}

static void runtime_is_merged(void **state)
{
	json_t *root, *site, *seen, *unknown;
	char sha[65], *shown;
	json_int_t va;

	(void)state;
	assert_int_equal(audit_json(NULL), EXIT_STATUS_OK);
	root = read_json();
	strcpy(sha, json_string_value(json_object_get(root, "image_sha256")));
	va = json_integer_value(json_object_get(json_array_get(json_object_get(root, "sites"), 2), "va"));
	json_decref(root);
	write_run("{\"version\":1,\"image_sha256\":\"%s\",\"sites\":["
		  "{\"va\":57005,\"count\":7,\"kind\":\"unverified\",\"symbol\":\"mod+0x1\"},"
		  "{\"va\":%lld,\"count\":99,\"kind\":\"trap\",\"reason\":\"because\"}]}",
		  sha, (long long)va);
	assert_int_equal(audit_json(run), EXIT_STATUS_OK);
	root = read_json();
	site = json_array_get(json_object_get(root, "sites"), 2);
	seen = json_object_get(site, "runtime");
	assert_int_equal(json_integer_value(json_object_get(seen, "count")), 99);
	assert_string_equal(json_string_value(json_object_get(seen, "kind")), "trap");
	unknown = json_object_get(root, "unknown_at_run_time");
	assert_int_equal(json_array_size(unknown), 1);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(unknown, 0), "va")), 57005);
	json_decref(root);
	shown = slurp(text);
	assert_non_null(strstr(shown, "at run time: 99 times, trap: because"));
	assert_non_null(strstr(shown, "0000dead mod+0x1  7 times, unverified"));
	free(shown);
}

static void bad_run_reports(void **state)
{
	static const char *const bad[] = {
	    "",
	    "{",
	    "[]",
	    "{\"version\":2,\"sites\":[]}",
	    "{\"version\":1}",
	    "{\"version\":1,\"sites\":{}}",
	    "{\"version\":1,\"sites\":[{}]}",
	    "{\"version\":1,\"sites\":[{\"va\":-1,\"count\":1,\"kind\":\"trap\"}]}",
	    "{\"version\":1,\"sites\":[{\"va\":1,\"count\":\"1\",\"kind\":\"trap\"}]}",
	    "{\"version\":1,\"sites\":[{\"va\":1,\"count\":1}]}",
	    "{\"version\":1,\"image_sha256\":\"another\",\"sites\":[]}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		unlink(json);
		write_run("%s", bad[i]);
		assert_int_equal(audit_json(run), EXIT_STATUS_USER);
		assert_int_not_equal(access(json, F_OK), 0);
	}
	assert_int_equal(audit_json("/nonexistent"), EXIT_STATUS_USER);
}

static void bad_options(void **state)
{
	const char *width[] = {"audit", image, "--width", "8", NULL};
	const char *base[] = {"audit", image, "--raw", "--base", "x", NULL};
	const char *two[] = {"audit", image, image, NULL};
	const char *none[] = {"audit", NULL};
	const char *unknown[] = {"audit", image, "--frob", NULL};
	const char *nowhere[] = {"audit", image, "--json", "/nonexistent/x", NULL};

	(void)state;
	assert_int_equal(audit(4, width), EXIT_STATUS_USER);
	assert_int_equal(audit(5, base), EXIT_STATUS_USER);
	assert_int_equal(audit(3, two), EXIT_STATUS_USER);
	assert_int_equal(audit(1, none), EXIT_STATUS_USER);
	assert_int_equal(audit(3, unknown), EXIT_STATUS_USER);
	assert_int_equal(audit(4, nowhere), EXIT_STATUS_USER);
}

/* Recipes: what each key asks for, and that a malformed one is an error and not a skip. */
static void recipes(void **state)
{
	static const struct {
		const char *text;
		int result; /* 1 fits, 0 skipped, < 0 an error */
	} cases[] = {
	    {"name = x\n", 1},
	    {"# nothing but a comment\n\n name=x", 1},
	    {"name = x\nwidth = 64\n", 0},
	    {"name = x\nexpect-symbol = trap1\n", 1},
	    {"name = x\nexpect-symbol = nobody\n", 0},
	    {"name = x\nexpect-text = GNU AS\n", 0},
	    {"name = x\nexpect-bytes = tail c3\n", 1},
	    {"name = x\nexpect-bytes = tail c4\n", 0},
	    {"name = x\nexpect-bytes = tail zz\n", -22},
	    {"name = x\nexit-only = trap..breakpoint\n", 1},
	    {"name = x\nexit-only = nobody\n", 0},
	    {"name = x\nrewritten = trap\n", 1},
	    {"name = x\nvdso-entry = nobody cd80\n", 1},
	    {"name = x\nvdso-entry = nobody c3\n", -22},
	    {"name = x\nvdso-entry = nobody\n", -22},
	    {"name = x\nhole = 0xe0000000\n", 1},
	    {"name = x\nhole = 12\n", -22},
	    {"name = x\nhole = here\n", -22},
	    {"name = x\nfrob = 1\n", -22},
	    {"name x\n", -22},
	};
	struct image img;
	struct diag d = {0};

	(void)state;
	assert_int_equal(image_load(&img, image, false, 0, 0, &d), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct recipe r = {0};

		d.text[0] = '\0';
		assert_int_equal(recipe_match(&r, &img, "test", cases[i].text, strlen(cases[i].text), &d),
				 cases[i].result);
		assert_int_equal(cases[i].result < 0, d.text[0] != '\0');
		assert_int_equal(cases[i].result == 0, r.skipped != NULL);
		recipe_free(&r);
	}
	image_free(&img);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(schema),
	    cmocka_unit_test(text_names_what_is_left),
	    cmocka_unit_test(runtime_is_merged),
	    cmocka_unit_test(bad_run_reports),
	    cmocka_unit_test(bad_options),
	    cmocka_unit_test(recipes),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
