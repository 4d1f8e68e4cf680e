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

static int check(struct vm_config *cfg, enum run_mode mode, enum user_mode user, struct diag *d)
{
	*cfg = (struct vm_config){.ram_size = 0};
	d->text[0] = 0;
	return host_check(cfg, mode, user, d);
}

static void translation_when_asked_for(void **state)
{
	struct vm_config cfg;
	struct diag d;

	(void)state;
	if (found(HOST_MISSING))
		skip();
	assert_int_equal(check(&cfg, MODE_AUTO, USER_TRANSLATE, &d), 0);
	assert_int_equal(cfg.engine, ENGINE_LONG);
	assert_int_equal(cfg.mode, MODE_TRANSLATE);
	assert_int_equal(check(&cfg, MODE_TRAP, USER_TRANSLATE, &d), -EINVAL);
	assert_non_null(strstr(d.text, "--mode=trap"));
	assert_int_equal(check(&cfg, MODE_DIRECT, USER_TRANSLATE, &d), -EINVAL);
}

static void direct_where_the_host_can(void **state)
{
	const struct host_finding *lacks = found(HOST_NOT_DIRECT);
	struct vm_config cfg;
	struct diag d;

	(void)state;
	if (found(HOST_MISSING))
		skip();
	assert_int_equal(check(&cfg, MODE_AUTO, USER_AUTO, &d), 0);
	assert_int_equal(cfg.engine, lacks ? ENGINE_LONG : ENGINE_DIRECT);
	for (enum run_mode mode = MODE_AUTO; mode <= MODE_TRANSLATE; mode++) {
		int err = check(&cfg, mode, USER_DIRECT, &d);

		assert_int_equal(err, lacks ? -ENOTSUP : 0);
		if (lacks)
			assert_non_null(strstr(d.text, lacks->name));
		else
			assert_int_equal(cfg.mode, mode);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(translation_when_asked_for),
	    cmocka_unit_test(direct_where_the_host_can),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
