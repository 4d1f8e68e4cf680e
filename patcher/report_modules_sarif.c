// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The audit of many modules as one SARIF run. The workers wrote the results (report_sarif.c), which name their rule and
 * their module by number: so the rules are all rows of the policy table and the artifacts all modules, in order. An
 * archive is the last artifact, and what its modules are nested in.
 */
#include <stdlib.h>
#include <string.h>

#include "patcher/modules.h"
#include "patcher/report_internal.h"

static json_t *rules_json(void)
{
	json_t *rules = json_array();

	for (unsigned op = OP_NONE + 1; op < OP_COUNT; op++)
		json_array_append_new(rules, report_sarif_rule(policy_get(op)));
	return rules;
}

/* 3.24: a module in an archive has its place in there, and says in which artifact that is (3.24.3). */
static json_t *artifacts_json(const char *path, const struct module_list *list)
{
	json_t *artifacts = json_array();
	bool archive = false;

	for (size_t i = 0; i < list->n; i++) {
		const struct module_source *s = &list->sources[i];
		json_t *o =
		    json_pack("{s:{s:o}, s:[s]}", "location", "uri",
			      report_sarif_uri(s->path ? s->path : s->name), "roles", "analysisTarget");

		if (o && !s->path) {
			json_object_set_new(o, "parentIndex", json_integer((json_int_t)list->n));
			archive = true;
		}
		json_array_append_new(artifacts, o);
	}
	if (archive)
		json_array_append_new(artifacts,
				      json_pack("{s:{s:o}}", "location", "uri", report_sarif_uri(path)));
	return artifacts;
}

/* What could not be read, and what is missing of the rest. */
static void notes_of(json_t *notes, const struct module_source *s, const struct module_result *m)
{
	const char *level = m->status == MODULE_UNREADABLE ? "error" : "warning";
	json_t *module = json_loads(module_part(m, PART_JSON), 0, NULL), *note;
	const char *message = module_part(m, PART_MESSAGE);
	size_t i;

	if (m->status == MODULE_UNREADABLE)
		json_array_append_new(json_object_get(module, "notes"), report_string(message));
	json_array_foreach(json_object_get(module, "notes"), i, note)
	{
		json_t *place = json_pack("{s:o, s:i}", "uri", report_sarif_uri(s->path ? s->path : s->name),
					  "index", (int)m->index);

		json_array_append_new(notes, report_sarif_note(json_string_value(note), level, place));
	}
	json_decref(module);
}

int report_modules_sarif(const char *path, const struct module_list *list, const struct module_results *r,
			 const char *file, struct diag *d)
{
	json_t *notes = json_array(), *log;
	struct report_text t = {0};
	char *frame, *end;
	bool first = true;

	for (size_t i = 0; i < r->n; i++)
		notes_of(notes, &list->sources[i], r->results[i]);
	log = report_sarif_log(rules_json(), artifacts_json(path, list), notes, json_array());
	frame = log ? json_dumps(log, JSON_INDENT(1)) : NULL;
	json_decref(log);
	end = frame ? strrchr(frame, '[') : NULL; /* of "results": [] */
	if (end && report_text_open(&t)) {
		fwrite(frame, 1, (size_t)(end + 1 - frame), t.f);
		for (size_t i = 0; i < r->n; i++) {
			const char *results = module_part(r->results[i], PART_SARIF);

			fputs(*results && first ? results + 1 : results, t.f);
			first = first && !*results;
		}
		fputs(end + 1, t.f);
	}
	free(frame);
	return report_text_write(&t, file, d);
}
