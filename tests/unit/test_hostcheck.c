// SPDX-License-Identifier: GPL-3.0-or-later
/* Which engine runs a guest, and what is refused: by the findings about this very host, whatever they are. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "monitor/probe/host.h"
#include "monitor/vmx/hostcheck.h"

static const struct host_finding *found(enum host_verdict verdict)
{
	static struct host_finding f[HOST_FINDINGS_MAX];
	unsigned n = host_findings(f);

	for (unsigned i = 0; i < n; i++)
		if (f[i].verdict == verdict)
			return &f[i];
	return NULL;
}

static int check(struct vm_config *cfg, struct run_options o, struct diag *d)
{
	*cfg = (struct vm_config){.ram_size = 0};
	d->text[0] = 0;
	return host_check(cfg, &o, d);
}

static void translation_when_asked_for(void **state)
{
	static const struct run_options asked[] = {
	    {.mode = MODE_DEFAULT, .engine = ENGINE_AUTO, .user = USER_TRANSLATE},
	    {.mode = MODE_AUTO, .engine = ENGINE_AUTO, .user = USER_TRANSLATE},
	    {.mode = MODE_TRANSLATE, .engine = ENGINE_LONG},
	    {.mode = MODE_DEFAULT, .engine = ENGINE_LONG},
	};
	struct vm_config cfg;
	struct diag d;

	(void)state;
	if (found(HOST_MISSING))
		skip();
	for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
		assert_int_equal(check(&cfg, asked[i], &d), 0);
		assert_int_equal(cfg.engine, ENGINE_LONG);
		assert_int_equal(cfg.mode, MODE_TRANSLATE);
		assert_int_equal(cfg.native_user,
				 cfg.soft && !found(HOST_NOT_DIRECT) && asked[i].user != USER_TRANSLATE);
	}
}

static void contradictions(void **state)
{
	struct vm_config cfg;
	struct diag d;

	(void)state;
	if (found(HOST_MISSING))
		skip();
	assert_int_equal(check(&cfg, (struct run_options){.mode = MODE_TRAP, .engine = ENGINE_AUTO, .user = USER_TRANSLATE}, &d),
			 -EINVAL);
	assert_non_null(strstr(d.text, "--mode=trap"));
	assert_non_null(strstr(d.text, "--user=translate"));
	assert_int_equal(check(&cfg, (struct run_options){.mode = MODE_DIRECT, .engine = ENGINE_LONG}, &d), -EINVAL);
	assert_non_null(strstr(d.text, "--mode=direct"));
	assert_non_null(strstr(d.text, "--engine=long"));
	assert_int_equal(
	    check(&cfg, (struct run_options){.mode = MODE_DEFAULT, .engine = ENGINE_DIRECT, .user = USER_TRANSLATE}, &d), -EINVAL);
}

/* The faster engine, unless something is asked for that the direct one alone does. */
static void what_runs_by_default(void **state)
{
	const struct host_finding *lacks = found(HOST_NOT_DIRECT);
	struct vm_config cfg;
	struct diag d;

	(void)state;
	if (found(HOST_MISSING))
		skip();
	assert_int_equal(check(&cfg, (struct run_options){.mode = MODE_DEFAULT, .engine = ENGINE_AUTO}, &d), 0);
	assert_int_equal(cfg.engine, cfg.soft || lacks ? ENGINE_LONG : ENGINE_DIRECT);
	assert_int_equal(check(&cfg, (struct run_options){.mode = MODE_AUTO, .engine = ENGINE_AUTO}, &d), 0);
	assert_int_equal(cfg.engine, lacks ? ENGINE_LONG : ENGINE_DIRECT);
	assert_int_equal(check(&cfg, (struct run_options){.mode = MODE_DEFAULT, .engine = ENGINE_AUTO, .audit = "r"}, &d), 0);
	assert_int_equal(cfg.engine, lacks ? ENGINE_LONG : ENGINE_DIRECT);
	assert_int_equal(cfg.mode, lacks ? MODE_TRANSLATE : MODE_AUTO);
}

static void direct_where_the_host_can(void **state)
{
	const struct host_finding *lacks = found(HOST_NOT_DIRECT);
	struct vm_config cfg;
	struct diag d;

	(void)state;
	if (found(HOST_MISSING))
		skip();
	for (enum run_mode mode = MODE_AUTO; mode <= MODE_DEFAULT; mode++)
		for (unsigned i = 0; i < 2; i++) {
			const struct run_options o = {.mode = mode,
						      .user = i ? USER_DIRECT : USER_AUTO,
						      .engine = i ? ENGINE_AUTO : ENGINE_DIRECT};

			assert_int_equal(check(&cfg, o, &d), lacks ? -ENOTSUP : 0);
			if (lacks) {
				assert_non_null(strstr(d.text, lacks->name));
				continue;
			}
			assert_int_equal(cfg.engine, ENGINE_DIRECT);
			assert_int_equal(cfg.mode, mode == MODE_DEFAULT ? MODE_AUTO : mode);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(translation_when_asked_for),
	    cmocka_unit_test(contradictions),
	    cmocka_unit_test(what_runs_by_default),
	    cmocka_unit_test(direct_where_the_host_can),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
