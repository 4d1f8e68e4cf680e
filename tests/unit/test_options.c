// SPDX-License-Identifier: GPL-3.0-or-later
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "monitor/vmm/vm.h"
#include "monitor/vmx/options.h"

static struct diag d;

/* Parse a NULL-terminated list of words behind "run". */
static int parse(struct run_options *o, ...)
{
	char *argv[16] = {(char *)"run"};
	int argc = 1;
	va_list ap;

	va_start(ap, o);
	while ((argv[argc] = va_arg(ap, char *)))
		argc++;
	va_end(ap);
	d = (struct diag){""};
	return run_options_parse(o, argc, argv, &d);
}

static void defaults(void **state)
{
	struct run_options o;

	(void)state;
	assert_int_equal(parse(&o, "vmlinux.pv", NULL), 0);
	assert_string_equal(o.image, "vmlinux.pv");
	assert_null(o.initrd);
	assert_string_equal(o.append, "");
	assert_int_equal(o.memory, MEMORY_DEFAULT);
	assert_int_equal(o.console, CONSOLE_STDIO);
	assert_int_equal(o.mode, MODE_DEFAULT);
	assert_int_equal(o.engine, ENGINE_AUTO);
	assert_int_equal(o.workers, WORKERS_DEFAULT);
	assert_false(o.stats);
}

static void everything_given(void **state)
{
	struct run_options o;

	(void)state;
	assert_int_equal(parse(&o, "--initrd", "i.gz", "img", "--append=console=ttyS0 x", "--memory", "2G",
			       "--console", "file:/tmp/c", "--mode=trap", "--workers", "2", "--audit", "a",
			       "--stats", NULL),
			 0);
	assert_string_equal(o.image, "img");
	assert_string_equal(o.initrd, "i.gz");
	assert_string_equal(o.append, "console=ttyS0 x");
	assert_int_equal(o.memory, 2ull << 30);
	assert_int_equal(o.console, CONSOLE_FILE);
	assert_string_equal(o.console_path, "/tmp/c");
	assert_int_equal(o.mode, MODE_TRAP);
	assert_int_equal(o.workers, 2);
	assert_string_equal(o.audit, "a");
	assert_true(o.stats);
}

static void user_modes(void **state)
{
	static const char *const names[] = {"auto", "direct", "translate"};
	struct run_options o;

	(void)state;
	assert_int_equal(parse(&o, "img", NULL), 0);
	assert_int_equal(o.user, USER_AUTO);
	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		assert_int_equal(parse(&o, "img", "--user", names[i], NULL), 0);
		assert_int_equal(o.user, i);
	}
	assert_int_equal(parse(&o, "img", "--user", "slow", NULL), -EINVAL);
}

static void engines(void **state)
{
	static const char *const names[] = {
	    [ENGINE_AUTO] = "auto", [ENGINE_DIRECT] = "direct", [ENGINE_LONG] = "long"};
	struct run_options o;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		assert_int_equal(parse(&o, "img", "--engine", names[i], NULL), 0);
		assert_int_equal(o.engine, i);
	}
	assert_int_equal(parse(&o, "img", "--engine", "steam", NULL), -EINVAL);
	assert_non_null(strstr(d.text, "--engine steam"));
}

static void modes(void **state)
{
	static const char *const names[] = {
	    [MODE_AUTO] = "auto", [MODE_TRAP] = "trap", [MODE_DIRECT] = "direct", [MODE_TRANSLATE] = "translate"};
	struct run_options o;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		assert_int_equal(parse(&o, "img", "--mode", names[i], NULL), 0);
		assert_int_equal(o.mode, i);
		assert_false(o.unpatched);
	}
	assert_int_equal(parse(&o, "img", "--mode", "fast", NULL), -EINVAL);
	assert_non_null(strstr(d.text, "translate"));
	assert_int_equal(parse(&o, "--unpatched", "img", NULL), 0); /* takes no value */
	assert_true(o.unpatched);
	assert_string_equal(o.image, "img");
}

static void sizes(void **state)
{
	uint64_t n;

	(void)state;
	assert_int_equal(parse_size("64M", &n), 0);
	assert_int_equal(n, 64ull << 20);
	assert_int_equal(parse_size("65536k", &n), 0);
	assert_int_equal(n, 64ull << 20);
	assert_int_equal(parse_size("0x1000", &n), 0);
	assert_int_equal(n, 4096);
	assert_true(parse_size("", &n) < 0);
	assert_true(parse_size("M", &n) < 0);
	assert_true(parse_size("-1M", &n) < 0);
	assert_true(parse_size(" 1M", &n) < 0);
	assert_true(parse_size("1MB", &n) < 0);
	assert_true(parse_size("1T", &n) < 0);
	assert_true(parse_size("99999999999999999999", &n) < 0);
	assert_true(parse_size("17179869184G", &n) < 0); /* 2^64 */
}

static void memory_limits(void **state)
{
	static const struct {
		const char *text;
		const char *says; /* NULL: accepted */
	} cases[] = {
	    {"16M", NULL},	    {"3G", NULL},
	    {"3072M", NULL},	    {"15M", "too small"},
	    {"0", "too small"},	    {"3073M", "too large"},
	    {"4G", "too large"},    {"99999999999G", "too large"},
	    {"64MB", "not a size"}, {"lots", "not a size"},
	    {"", "not a size"},	    {"16777217", "multiple of 4K"},
	};
	struct run_options o;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int err = parse(&o, "img", "--memory", cases[i].text, NULL);

		assert_int_equal(err != 0, cases[i].says != NULL);
		if (cases[i].says)
			assert_non_null(strstr(d.text, cases[i].says));
	}
}

static void refused(void **state)
{
	static const char *const words[][3] = {
	    {"--colour", NULL, "unknown option"},  {"-m", NULL, "unknown option"},
	    {"--memory", NULL, "needs a value"},   {"--mode", "fast", "unknown"},
	    {"--console", "tty", "unknown"},	   {"--console", "file:", "unknown"},
	    {"--workers", "0", "from 1 to"},	   {"--workers", "65", "from 1 to"},
	    {"--workers", "two", "from 1 to"},	   {"--workers", "-1", "from 1 to"},
	    {"--workers", "4x", "from 1 to"},	   {"second", NULL, "one image"},
	    {"--stats=3", NULL, "unknown option"},
	};
	struct run_options o;

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		assert_int_not_equal(parse(&o, "img", words[i][0], words[i][1], NULL), 0);
		if (!strstr(d.text, words[i][2]))
			fail_msg("%s: %s", words[i][0], d.text);
	}
	assert_int_not_equal(parse(&o, "--stats", NULL), 0);
	assert_non_null(strstr(d.text, "no image"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(defaults),	     cmocka_unit_test(everything_given), cmocka_unit_test(modes), cmocka_unit_test(engines), cmocka_unit_test(user_modes), cmocka_unit_test(sizes),
	    cmocka_unit_test(memory_limits), cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
