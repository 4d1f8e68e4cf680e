// SPDX-License-Identifier: GPL-3.0-or-later
/* What the host has is monitor/probe's to find; here stands what follows from it for a run. */
#include "monitor/vmx/hostcheck.h"

#include <cpuid.h>
#include <errno.h>

#include "monitor/probe/host.h"
#include "monitor/vmm/cpuid.h"

static const struct host_finding *first(const struct host_finding *f, unsigned n, enum host_verdict verdict)
{
	for (unsigned i = 0; i < n; i++)
		if (f[i].verdict == verdict)
			return &f[i];
	return NULL;
}

static bool has_bmi2(void)
{
	unsigned a, b, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_BMI2;
}

static int choose_engine(struct vm_config *cfg, enum run_mode mode, enum user_mode user,
			 const struct host_finding *lacks, struct diag *d)
{
	bool wants_direct = mode == MODE_DIRECT || mode == MODE_TRAP;

	if (wants_direct && user == USER_TRANSLATE)
		return diag_set(d, -EINVAL,
				"--mode=%s executes code directly: it does not go with --user=translate",
				mode == MODE_TRAP ? "trap" : "direct");
	if (lacks && (wants_direct || user == USER_DIRECT))
		return diag_set(d, -ENOTSUP, "host: %s: %s; leave out --%s", lacks->name, lacks->text,
				!wants_direct	    ? "user=direct"
				: mode == MODE_TRAP ? "mode=trap"
						    : "mode=direct");
	cfg->engine = lacks || user == USER_TRANSLATE ? ENGINE_LONG : ENGINE_DIRECT;
	cfg->mode = cfg->engine == ENGINE_LONG ? MODE_TRANSLATE : mode;
	cfg->soft = cfg->engine == ENGINE_LONG && has_bmi2();
	return 0;
}

int host_check(struct vm_config *cfg, enum run_mode mode, enum user_mode user, struct diag *d)
{
	struct host_finding f[HOST_FINDINGS_MAX];
	unsigned n = host_findings(f);
	const struct host_finding *missing = first(f, n, HOST_MISSING);
	int err;

	if (missing)
		return diag_set(d, -ENOTSUP, "host: %s: %s", missing->name, missing->text);
	err = choose_engine(cfg, mode, user, first(f, n, HOST_NOT_DIRECT), d);
	if (err)
		return err;
	cfg->xcr0 = host_xcr0() & CPUID_XCR0;
	cfg->fpu_avx = (cfg->xcr0 & 6) == 6; /* SSE and AVX state */
	return 0;
}
