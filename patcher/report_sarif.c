// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The audit for code-scanning services: SARIF 2.1.0 (OASIS, 2020). A rule is a row of the policy table, a result
 * is a site. What a stub serves passes; what only traps is a warning; what may do the wrong thing silently is an
 * error. Sections of the standard are named where something is decided by them.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/policy.h"
#include "patcher/report_internal.h"

#define SARIF_SCHEMA "https://json.schemastore.org/sarif-2.1.0.json"

/* 3.49: what is the same for every result of a rule. */
json_t *report_sarif_rule(const struct policy *p)
{
	char *help = NULL, *name = NULL;
	json_t *rule;

	if (asprintf(&name, "%s%s%s", p->mnemonic, *p->form ? " " : "", p->form) < 0)
		return NULL;
	if (asprintf(&help, "%s Under virtualization: %s Source: %s.", p->reason, p->meaning, p->manual) < 0)
		help = NULL;
	rule = json_pack("{s:s, s:s, s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s, s:s, s:[s, s]}}", "id", p->id, "name",
			 name, "shortDescription", "text", name, "fullDescription", "text", p->reason, "help",
			 "text", help ? help : p->reason, "properties", "class", policy_class_name(p->cls),
			 "manual", p->manual, "tags", "sensitive-instruction", policy_class_name(p->cls));
	free(help);
	free(name);
	return rule;
}

/* 3.4.3: a URI reference, so what RFC 3986 reserves is escaped. A first segment with a colon would be a scheme. */
json_t *report_sarif_uri(const char *path)
{
	static const char hex[] = "0123456789ABCDEF";
	char *uri = malloc(3 * strlen(path) + 1), *q = uri;
	json_t *s;

	if (!uri)
		return NULL;
	for (const char *p = path; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if (isalnum(c) || strchr("-._~/", c)) {
			*q++ = (char)c;
			continue;
		}
		*q++ = '%';
		*q++ = hex[c >> 4];
		*q++ = hex[c & 15];
	}
	*q = '\0';
	s = json_string(uri);
	free(uri);
	return s;
}

/* What a result is about. */
struct sarif_subject {
	const char *uri;
	bool module;	   /* no address yet, and nothing is known of the places of its bytes in a file */
	unsigned artifact; /* of a module: its place among the run's artifacts */
};

/* 3.4 */
static json_t *artifact_json(const struct sarif_subject *of)
{
	json_t *o = json_pack("{s:o}", "uri", report_sarif_uri(of->uri));

	if (o && of->module)
		json_object_set_new(o, "index", json_integer(of->artifact));
	return o;
}

/* 3.29: file and line of a frame, or NULL where that is not known. */
static json_t *source_json(const struct source_frame *frame)
{
	json_t *place;

	if (!*frame->file)
		return NULL;
	place = json_pack("{s:{s:o}}", "artifactLocation", "uri", report_sarif_uri(frame->file));
	if (place && frame->line)
		json_object_set_new(place, "region", json_pack("{s:i}", "startLine", (int)frame->line));
	return place;
}

/*
 * 3.29: the source line if there is one; else the image, with the bytes where the site stands in the file itself. In
 * any case its address (3.32).
 */
static json_t *physical_json(const struct analysis *a, const struct cfg_site *site,
			     const struct sarif_subject *of)
{
	const struct image_section *sec = a->cfg.sections[site->section].sec;
	const struct source_frame *frames;
	json_t *where, *place = report_frames(a, site, &frames) ? source_json(frames) : NULL;
	char address[96];

	if (of->module)
		snprintf(address, sizeof(address), "%.64s+0x%" PRIx64, sec->name, site->va - sec->va);
	else
		snprintf(address, sizeof(address), "0x%" PRIx64, site->va);
	where = json_pack("{s:o, s:s, s:i}", "fullyQualifiedName", report_string(address), "kind",
			  "instruction", "length", (int)site->len);
	/* absoluteAddress is a non-negative number (3.32.6), which an upper-half address is not in 64 bits. */
	if (where && !of->module && site->va <= INT64_MAX)
		json_object_set_new(where, "absoluteAddress", json_integer((json_int_t)site->va));
	if (place) {
		json_object_set_new(place, "address", where);
		return place;
	}
	place = json_pack("{s:o, s:o}", "artifactLocation", artifact_json(of), "address", where);
	if (place && !of->module && a->img.container != IMAGE_BZIMAGE)
		json_object_set_new(place, "region",
				    json_pack("{s:I, s:i}", "byteOffset",
					      (json_int_t)(sec->offset + (site->va - sec->va)), "byteLength",
					      (int)site->len));
	return place;
}

static json_t *location_json(const struct analysis *a, const struct cfg_site *site,
			     const struct sarif_subject *of)
{
	const struct image_symbol *sym = image_symbol_at(&a->img, site->va);
	json_t *loc = json_pack("{s:o}", "physicalLocation", physical_json(a, site, of));
	char *full = NULL;

	if (!loc || !sym || asprintf(&full, "%s+0x%" PRIx64, sym->name, site->va - sym->va) < 0)
		return loc;
	json_object_set_new(loc, "logicalLocations",
			    json_pack("[{s:o, s:o, s:s}]", "name", report_string(sym->name),
				      "fullyQualifiedName", report_string(full), "kind", "function"));
	free(full);
	return loc;
}

/* 3.44: the functions that the code was inlined into are a call stack, made by the compiler. */
static json_t *stack_json(const struct source_frame *frames, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		json_t *loc = json_object(), *place = source_json(&frames[i]);

		if (place)
			json_object_set_new(loc, "physicalLocation", place);
		if (*frames[i].function)
			json_object_set_new(loc, "logicalLocations",
					    json_pack("[{s:o, s:s}]", "name",
						      report_string(frames[i].function), "kind", "function"));
		json_array_append_new(list, json_pack("{s:o}", "location", loc));
	}
	return json_pack("[{s:{s:s}, s:o}]", "message", "text", "inlined", "frames", list);
}

/* 3.27.9, 3.27.10: only a failure has a level other than none. */
static void verdict(const struct plan_site *ps, const char **kind, const char **level)
{
	*kind = "informational";
	*level = "none";
	if (!ps)
		return;
	switch (ps->tactic) {
	case TACTIC_NONE:
		*kind = "fail";
		*level = "error";
		break;
	case TACTIC_TRAP:
	case TACTIC_BREAKPOINT:
		*kind = "fail";
		*level = "warning";
		break;
	default:
		*kind = "pass";
	}
}

static json_t *message_json(const struct analysis *a, const struct cfg_site *site, const struct plan_site *ps)
{
	const struct policy *p = policy_get(site->op);
	char *text = NULL, *context = report_context_line(&a->img, &a->targets, site);
	bool some = context && *context;
	json_t *s;
	int n;

	n = asprintf(&text, "%s: %s Tactic: %s%s%s.%s%s%s", p->mnemonic, p->reason,
		     ps ? tactic_name(ps->tactic) : "none planned", ps && ps->reason ? ", because " : "",
		     ps && ps->reason ? ps->reason : "", some ? " The kernel's tables: " : "",
		     some ? context : "", some ? "." : "");
	free(context);
	if (n < 0)
		return NULL;
	s = json_pack("{s:o}", "text", report_string(text));
	free(text);
	return s;
}

static json_t *result_json(const struct analysis *a, const struct cfg_site *site, int rule,
			   const struct sarif_subject *of, const struct runtime_report *rt)
{
	const struct plan_site *ps = report_plan_site(a, site);
	const struct runtime_site *seen = rt ? runtime_site_at(rt, site->va) : NULL;
	const struct source_frame *frames;
	size_t n = report_frames(a, site, &frames);
	const char *kind, *level;
	json_t *r, *properties;

	verdict(ps, &kind, &level);
	properties = json_pack("{s:s, s:s, s:o, s:o}", "origin", cfg_origin_name(site->origin), "confidence",
			       cfg_confidence_name(site->confidence), "tactic",
			       report_string(ps ? tactic_name(ps->tactic) : NULL), "context",
			       report_context_json(&a->img, &a->targets, site));
	r = json_pack("{s:s, s:i, s:s, s:s, s:o, s:[o], s:o}", "ruleId", policy_get(site->op)->id,
		      "ruleIndex", rule, "kind", kind, "level", level, "message", message_json(a, site, ps),
		      "locations", location_json(a, site, of), "properties", properties);
	if (r && seen && seen->count)
		json_object_set_new(r, "occurrenceCount", json_integer((json_int_t)seen->count));
	/* 3.27.13: absent where it says what the location says. */
	if (r && n && *frames[0].file)
		json_object_set_new(r, "analysisTarget", artifact_json(of));
	if (r && n > 1)
		json_object_set_new(r, "stacks", stack_json(frames, n));
	return r;
}

bool report_sarif_module(const struct analysis *a, const char *name, unsigned artifact, FILE *f)
{
	const struct sarif_subject of = {name, true, artifact};

	for (size_t i = 0; i < a->cfg.n_sites; i++) {
		const struct cfg_site *site = &a->cfg.sites[i];
		json_t *r = result_json(a, site, site->op - 1, &of, NULL);
		bool written = r && fputs(",\n", f) >= 0 && !json_dumpf(r, f, JSON_COMPACT);

		json_decref(r);
		if (!written)
			return false;
	}
	return true;
}

json_t *report_sarif_note(const char *text, const char *level, json_t *location)
{
	json_t *o = json_pack("{s:s, s:{s:o}}", "level", level, "message", "text", report_string(text));

	if (o && location)
		json_object_set_new(
		    o, "locations",
		    json_pack("[{s:{s:o}}]", "physicalLocation", "artifactLocation", location));
	return o;
}

json_t *report_sarif_log(json_t *rules, json_t *artifacts, json_t *notes, json_t *results)
{
	return json_pack("{s:s, s:s, s:[{s:{s:{s:s, s:s, s:o}}, s:o, s:[{s:b, s:o}], s:o}]}", "$schema",
			 SARIF_SCHEMA, "version", "2.1.0", "runs", "tool", "driver", "name", "paravane",
			 "fullName", "paravane audit", "rules", rules, "artifacts", artifacts, "invocations",
			 "executionSuccessful", 1, "toolExecutionNotifications", notes, "results", results);
}

static json_t *build(const struct analysis *a, const struct runtime_report *rt)
{
	const struct sarif_subject of = {.uri = a->img.path};
	json_t *rules = json_array(), *results = json_array(), *notes = json_array(), *root;
	int index[OP_COUNT];
	char hex[65];

	memset(index, -1, sizeof(index));
	for (size_t i = 0; i < a->cfg.n_sites; i++) {
		const struct cfg_site *site = &a->cfg.sites[i];

		if (index[site->op] < 0) {
			index[site->op] = (int)json_array_size(rules);
			json_array_append_new(rules, report_sarif_rule(policy_get(site->op)));
		}
		json_array_append_new(results, result_json(a, site, index[site->op], &of, rt));
	}
	for (size_t i = 0; i < a->img.n_notes; i++)
		json_array_append_new(notes, report_sarif_note(a->img.notes[i], "warning", NULL));
	report_sha256(&a->img, hex);
	root = report_sarif_log(rules,
				json_pack("[{s:{s:o}, s:[s], s:{s:s}}]", "location", "uri",
					  report_sarif_uri(a->img.path), "roles", "analysisTarget", "hashes",
					  "sha-256", hex),
				notes, results);
	if (root && json_array_size(results) != a->cfg.n_sites) {
		json_decref(root);
		root = NULL;
	}
	return root;
}

int report_sarif(const struct analysis *a, const struct runtime_report *rt, const char *path, struct diag *d)
{
	return report_json_write(build(a, rt), JSON_INDENT(1), path, d);
}
