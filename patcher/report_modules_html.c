// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The audit of many modules as data for the page: a row for each module with its sites inside. The data come from the
 * objects of the JSON report, one at a time. A Debian tree has 4,000 modules and 29,000 sites, three quarters of them
 * the same two instructions: each is a handful of numbers, and all texts stand once (page_text()).
 *
 * The page has room for so much. What does not fit is left out in steps that lose little at first, and the page says
 * what: lines and tables of all sites, then all but so many sites of each module. Text, JSON and CSV have everything.
 */
#include <stdlib.h>
#include <string.h>

#include "patcher/modules.h"
#include "patcher/report_page.h"

struct step {
	bool lines;   /* source lines and the kernel's tables */
	size_t sites; /* of one module */
};
static const struct step steps[] = {
    {true, SIZE_MAX}, {false, SIZE_MAX}, {false, 100}, {false, 10}, {false, 0}};

struct build {
	struct page_texts texts;
	json_t *ops, *modules;
	int op_index[OP_COUNT];
	struct step step;
	size_t left_out; /* sites */
};

static json_t *text_of(struct build *b, const json_t *object, const char *key)
{
	return page_text(&b->texts, json_string_value(json_object_get(object, key)));
}

static json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static int op_of(struct build *b, const char *id)
{
	unsigned op = OP_NONE + 1;

	while (op < OP_COUNT - 1 && strcmp(policy_get(op)->id, id))
		op++;
	if (b->op_index[op] < 0) {
		b->op_index[op] = (int)json_array_size(b->ops);
		json_array_append_new(b->ops, page_op(op));
	}
	return b->op_index[op];
}

static int origin_of(const char *name)
{
	int origin = 0;

	while (origin < ORIGIN_REPLACEMENT && strcmp(cfg_origin_name((unsigned)origin), name))
		origin++;
	return origin;
}

/* As sources_describe() has it, from the array `source`. */
static json_t *source_text(struct build *b, const json_t *source)
{
	size_t n = json_array_size(source), i;
	struct source_frame *frames = calloc(n + 1, sizeof(*frames));
	json_t *frame, *number;
	char *text;

	json_array_foreach((json_t *)source, i, frame)
	{
		const char *function = json_string_value(json_object_get(frame, "function"));
		const char *file = json_string_value(json_object_get(frame, "file"));

		if (frames)
			frames[i] = (struct source_frame){function ? function : "", file ? file : "",
							  (unsigned)number_of(frame, "line")};
	}
	text = frames && n ? sources_describe(frames, n) : NULL;
	number = page_text(&b->texts, text);
	free(text);
	free(frames);
	return number;
}

static json_t *tables_json(struct build *b, const json_t *context)
{
	json_t *list = json_array(), *table;
	size_t i;

	json_array_foreach((json_t *)context, i, table) json_array_append_new(
	    list, json_pack("[o, o]", text_of(b, table, "table"), text_of(b, table, "text")));
	return list;
}

/* The columns are named in page/modules.js; the last two are there only if one of them says something. */
static json_t *site_json(struct build *b, const json_t *site)
{
	const json_t *symbol = json_object_get(site, "symbol"), *source = json_object_get(site, "source");
	const json_t *context = json_object_get(site, "context");
	json_t *row = json_pack(
	    "[o, I, i, o, I, i, o, o]", text_of(b, site, "section"), number_of(site, "offset"),
	    op_of(b, json_string_value(json_object_get(site, "op"))), text_of(b, symbol, "name"),
	    number_of(symbol, "offset"), origin_of(json_string_value(json_object_get(site, "origin"))),
	    text_of(b, site, "disassembly"), text_of(b, site, "bytes"));

	if (row && b->step.lines && (json_array_size(source) || json_array_size(context))) {
		json_array_append_new(row, source_text(b, source));
		json_array_append_new(row, tables_json(b, context));
	}
	return row;
}

static json_t *counts_json(const struct module_result *m)
{
	json_t *list = json_array();

	for (unsigned c = CLASS_NONE + 1; c < MODULE_CLASSES; c++)
		json_array_append_new(list, json_integer(m->by_class[c]));
	json_array_append_new(list, json_integer(m->replacements));
	return list;
}

static json_t *module_json(struct build *b, const struct module_result *m)
{
	json_t *o = json_loads(module_part(m, PART_JSON), 0, NULL), *sites = json_array(),
	       *notes = json_array();
	json_t *site, *note, *row;
	size_t i;

	json_array_foreach(json_object_get(o, "sites"), i, site)
	{
		if (i < b->step.sites)
			json_array_append_new(sites, site_json(b, site));
		else
			b->left_out++;
	}
	json_array_foreach(json_object_get(o, "notes"), i, note)
	    json_array_append_new(notes, page_text(&b->texts, json_string_value(note)));
	row = json_pack("[O, i, i, o, I, I, o, o, i, o, o]", json_object_get(o, "name"), (int)m->status,
			(int)number_of(o, "width"), text_of(b, o, "compression"), (json_int_t)m->instructions,
			(json_int_t)m->undecoded_bytes, counts_json(m), text_of(b, o, "message"),
			m->patched ? (int)m->windows : -1, notes, sites);
	json_decref(o);
	return row;
}

static void build_free(struct build *b)
{
	json_decref(b->texts.number);
	json_decref(b->texts.list);
	json_decref(b->ops);
	json_decref(b->modules);
}

/* All modules by one step; false when that takes more than `room` bytes, or more memory than there is. */
static bool build(struct build *b, const struct module_results *r, struct step step, size_t room)
{
	size_t size = 0;

	*b = (struct build){
	    .texts = page_texts_new(), .ops = json_array(), .modules = json_array(), .step = step};
	memset(b->op_index, -1, sizeof(b->op_index));
	for (size_t i = 0; i < r->n && size + b->texts.bytes < room; i++) {
		json_t *row = module_json(b, r->results[i]);

		size += row ? json_dumpb(row, NULL, 0, JSON_COMPACT) + 1 : 0;
		json_array_append_new(b->modules, row);
	}
	return json_array_size(b->modules) == r->n && size + b->texts.bytes < room;
}

static json_t *names_json(const char *(*name)(unsigned), unsigned from, unsigned to)
{
	json_t *list = json_array();

	for (unsigned i = from; i < to; i++)
		json_array_append_new(list, json_string(name(i)));
	return list;
}

static json_t *page_data(const char *path, const struct module_results *r, struct build *b)
{
	json_t *root = report_modules_head(path, r);

	json_object_set_new(root, "kind", json_string("modules"));
	json_object_set_new(root, "lines", json_boolean(b->step.lines));
	json_object_set_new(root, "left_out", json_integer((json_int_t)b->left_out));
	json_object_set_new(root, "classes", names_json(policy_class_name, CLASS_NONE + 1, MODULE_CLASSES));
	json_object_set_new(root, "origins", names_json(cfg_origin_name, 0, ORIGIN_REPLACEMENT + 1));
	json_object_set(root, "ops", b->ops);
	json_object_set(root, "modules", b->modules);
	json_object_set(root, "texts", b->texts.list);
	return root;
}

int report_modules_html(const char *path, const struct module_results *r, size_t most, const char *file,
			struct diag *d)
{
	/* The rest of the data: totals, and the rows of the policy table that occur. */
	const size_t other = report_page_size() + 32768, last = sizeof(steps) / sizeof(*steps) - 1;
	struct build b;
	json_t *data;

	for (size_t i = 0; !build(&b, r, steps[i],
				  i == last	 ? SIZE_MAX
				  : most > other ? most - other
						 : 0) &&
			   i < last;
	     i++)
		build_free(&b);
	data = json_array_size(b.modules) == r->n ? page_data(path, r, &b) : NULL;
	build_free(&b);
	return report_page_write(data, file, d);
}
