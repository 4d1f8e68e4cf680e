// SPDX-License-Identifier: GPL-3.0-or-later
/* The report as JSON; docs/probe.md has the schema. A change that breaks a reader raises PROBE_JSON_VERSION. */
#include <jansson.h>

#include "hypercalls/policy.h"
#include "monitor/probe/show.h"

static json_t *host_json(const struct probe_report *r)
{
	static const char *const words[] = {
	    [HOST_OK] = "ok", [HOST_NOTE] = "note", [HOST_NOT_DIRECT] = "lacks", [HOST_MISSING] = "missing"};
	json_t *a = json_array();

	for (unsigned i = 0; i < r->n_host; i++)
		json_array_append_new(a, json_pack("{s:s, s:s, s:s}", "name", r->host[i].name, "verdict",
						   words[r->host[i].verdict], "text", r->host[i].text));
	return a;
}

static json_t *case_json(const struct probe_finding *f)
{
	const struct policy *p = policy_get(f->e->op);
	char code[512];
	json_t *o;

	show_code(code, sizeof(code), f);
	o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "op", p->id, "mnemonic", p->mnemonic,
		      "form", p->form, "class", policy_class_name(p->cls), "circumstances", f->e->what,
		      "code", code, "outcome", probe_outcome_name(f->outcome), "text", f->text);
	if (o && f->e->n_args)
		json_object_set_new(o, "operand", json_integer(f->arg));
	if (o && f->arg_words)
		json_object_set_new(o, "operand_words", json_string(f->arg_words));
	if (o && f->outcome == PROBE_TRAPS)
		json_object_set_new(o, "trap",
				    json_pack("{s:s, s:i, s:I, s:i, s:I}", "exception", f->exception,
					      "vector", (int)f->r.vector, "error_code",
					      (json_int_t)f->r.error, "signal", f->r.signo, "rip_offset",
					      (json_int_t)f->r.rip));
	if (o)
		json_object_set_new(o, "ns", show_ns(f) > 0 ? json_real(show_ns(f)) : json_null());
	return o;
}

static json_t *summary_json(const struct probe_cases *all)
{
	struct probe_counts c;
	json_t *o = json_object();

	show_count(all, &c);
	for (unsigned i = 0; i < PROBE_OUTCOMES; i++)
		json_object_set_new(o, probe_outcome_name(i), json_integer(c.cases[i]));
	json_object_set_new(o, "rows",
			    json_pack("{s:i, s:i, s:i, s:i}", "always_trap", (int)c.rows_always,
				      "sometimes_trap", (int)c.rows_sometimes, "never_trap",
				      (int)c.rows_never, "not_run", (int)c.rows_not_run));
	return o;
}

static json_t *cases_json(const struct probe_cases *all)
{
	json_t *cases = json_array();

	for (unsigned i = 0; i < all->n; i++)
		json_array_append_new(cases, case_json(&all->f[i]));
	return cases;
}

static json_t *compat_json(const struct probe_report *r)
{
	json_t *o =
	    json_pack("{s:b, s:s}", "available", r->compat.selector != 0, "evidence", r->compat.evidence);

	if (o && r->compat_mode.n) {
		json_object_set_new(o, "cases", cases_json(&r->compat_mode));
		json_object_set_new(o, "summary", summary_json(&r->compat_mode));
	}
	return o;
}

int show_json(FILE *out, const struct probe_report *r)
{
	json_t *root =
	    json_pack("{s:s, s:i, s:o, s:o, s:o, s:o}", "schema", "paravane-probe", "version",
		      PROBE_JSON_VERSION, "host", host_json(r), "compatibility_mode", compat_json(r), "cases",
		      cases_json(&r->mode64), "summary", summary_json(&r->mode64));
	bool err;

	if (!root)
		return -1;
	err = json_dumpf(root, out, JSON_INDENT(1)) || fputc('\n', out) == EOF;
	json_decref(root);
	return err ? -1 : 0;
}
