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

/* An option that only the direct engine serves; NULL without. */
static const char *direct_option(const struct run_options *o)
{
	return o->mode == MODE_TRAP	    ? "--mode=trap"
	       : o->mode == MODE_DIRECT	    ? "--mode=direct"
	       : o->user == USER_DIRECT	    ? "--user=direct"
	       : o->engine == ENGINE_DIRECT ? "--engine=direct"
					    : NULL;
}

/*
 * Of the two the long engine is the faster one, by far where a guest changes mode or address space much; it runs user code
 * that computes natively as well (docs/bench). Verified kernel code runs directly, and is seen to, with the other one:
 * so that is the one for who asks for a mode of it, or for the report of what a patched image met.
 */
static enum engine choose_engine(const struct run_options *o, bool direct_possible, bool soft)
{
	if (!direct_possible || o->user == USER_TRANSLATE || o->engine == ENGINE_LONG)
		return ENGINE_LONG;
	if (direct_option(o) || o->mode != MODE_DEFAULT || o->audit || !soft)
		return ENGINE_DIRECT;
	return ENGINE_LONG;
}

static int choose(struct vm_config *cfg, const struct run_options *o, const struct host_finding *lacks, struct diag *d)
{
	const char *direct = direct_option(o);

	if (direct && (o->user == USER_TRANSLATE || o->engine == ENGINE_LONG))
		return diag_set(d, -EINVAL, "%s executes code directly: it does not go with --%s", direct,
				o->engine == ENGINE_LONG ? "engine=long" : "user=translate");
	if (lacks && direct)
		return diag_set(d, -ENOTSUP, "host: %s: %s; leave out %s", lacks->name, lacks->text, direct);
	cfg->engine = choose_engine(o, !lacks, has_bmi2());
	cfg->mode = cfg->engine == ENGINE_LONG ? MODE_TRANSLATE : o->mode == MODE_DEFAULT ? MODE_AUTO : o->mode;
	cfg->user_moves = cfg->engine == ENGINE_DIRECT && o->user == USER_AUTO && o->mode != MODE_TRAP && o->mode != MODE_DIRECT;
	cfg->soft = cfg->engine == ENGINE_LONG && has_bmi2();
	cfg->native_user = cfg->soft && !lacks && o->user != USER_TRANSLATE;
	return 0;
}

int host_check(struct vm_config *cfg, const struct run_options *o, struct diag *d)
{
	struct host_finding f[HOST_FINDINGS_MAX];
	unsigned n = host_findings(f);
	const struct host_finding *missing = first(f, n, HOST_MISSING);
	int err;

	if (missing)
		return diag_set(d, -ENOTSUP, "host: %s: %s", missing->name, missing->text);
	err = choose(cfg, o, first(f, n, HOST_NOT_DIRECT), d);
	if (err)
		return err;
	cfg->xcr0 = host_xcr0() & CPUID_XCR0;
	cfg->fpu_avx = (cfg->xcr0 & 6) == 6; /* SSE and AVX state */
	return 0;
}
