// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Modules by the thousand are judged as one is, each by itself; the workers are those of the audit. Trees are compared
 * by name. A module that `patch` left as it was (no code, a 64-bit one) is no failure: it must be the same file.
 */
#include "patcher/verify_modules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "patcher/module_patch.h"
#include "patcher/modules.h"
#include "patcher/payload.h"

int verify_unpack(const char *path, uint8_t **bytes, size_t *size, struct diag *d)
{
	struct payload_member m;
	int err;

	if (!payload_format(*bytes, *size))
		return 0;
	err = payload_unpack_member(*bytes, *size, &m, path, d);
	if (err) {
		free(m.bytes);
		return err;
	}
	free(*bytes);
	*bytes = m.bytes;
	*size = m.size;
	return 0;
}

int verify_module(const char *module, uint8_t *source, size_t size, const uint8_t *out, size_t out_size,
		  int threads, struct verify_result *r, struct diag *d)
{
	struct verify_source *src = NULL;
	struct image img;
	bool damaged = false;
	int err =
	    image_load_module(&img, module, source, size - module_signature_size(source, size), &damaged, d);

	if (err)
		return err;
	if (damaged)
		err = diag_set(d, -EINVAL, "%s: %s", module, img.n_notes ? img.notes[0] : "damaged");
	if (!err) {
		src = verify_source_load(&img, threads, d);
		err = src ? verify_check(src, out, out_size, r, d) : -EINVAL;
	}
	verify_source_free(src);
	image_free(&img);
	return err;
}

/* --- one of many ------------------------------------------------------------------------------------------- */

struct pair {
	uint8_t *was, *is;
	size_t was_size, is_size;
};

static int read_pair(struct pair *p, const struct module_source *s, struct diag *d)
{
	const struct module_source *damaged = s->damage				 ? s
					      : s->patched && s->patched->damage ? s->patched
										 : NULL;
	int err;

	if (damaged)
		return diag_set(d, -EINVAL, "%s: %s", damaged->path ? damaged->path : damaged->name,
				damaged->damage);
	err = modules_read(s, &p->was, &p->was_size, d);
	if (!err && s->patched)
		err = modules_read(s->patched, &p->is, &p->is_size, d);
	return err;
}

static int judge(struct pair *p, const struct module_source *s, struct verify_result *r, struct diag *d)
{
	uint8_t *source;
	int err = verify_unpack(s->name, &p->was, &p->was_size, d);

	if (!err)
		err = verify_unpack(s->name, &p->is, &p->is_size, d);
	if (err)
		return err;
	source = p->was;
	p->was = NULL;
	return verify_module(s->name, source, p->was_size, p->is, p->is_size, 1, r, d);
}

/* `message` says why it is not verified; its lines after the first are more failures of the same module. */
static struct module_result *verify_work(const struct module_source *s, uint32_t index)
{
	struct module_result head = {.index = index};
	struct verify_result r = {0};
	struct pair p = {0};
	struct diag d = {""};
	const char *message = "";
	int err = read_pair(&p, s, &d);
	bool same = !err && p.is_size == p.was_size && p.is && !memcmp(p.is, p.was, p.is_size);
	struct module_result *result;

	if (!err && !s->patched)
		message = "it is not in the patched tree";
	else if (!err && !same)
		err = judge(&p, s, &r, &d);
	if (err == -EBADMSG && r.text)
		message = r.text;
	else if (err)
		message = d.text[0] ? d.text : strerror(-err);
	head.status = !err && !*message		? MODULE_OK
		      : !err || err == -EBADMSG ? MODULE_DAMAGED
						: MODULE_UNREADABLE;
	head.patched = !same;
	head.sites = (uint32_t)r.sites;
	head.windows = (uint32_t)r.windows;
	result = module_result_pack(&head, (const char *[MODULE_PARTS]){[PART_MESSAGE] = message});
	free(r.text);
	free(p.was);
	free(p.is);
	return result;
}

/* --- all of them ------------------------------------------------------------------------------------------- */

static void print_refused(FILE *f, const char *name, const struct module_result *r)
{
	const char *message = module_part(r, PART_MESSAGE);
	size_t lines = 0, first = strcspn(message, "\n");

	for (const char *p = message; *p; p++)
		lines += *p == '\n';
	fprintf(f, "%s: %s: %.*s", name, r->status == MODULE_DAMAGED ? "REFUSED" : "not judged", (int)first,
		message);
	if (lines > 1)
		fprintf(f, " (and %zu more)", lines - 1);
	fputc('\n', f);
}

static void add(struct verify_tree *sum, const struct module_source *s, const struct module_result *r,
		FILE *failures)
{
	sum->modules++;
	sum->refused += r->status == MODULE_DAMAGED;
	sum->unjudged += r->status == MODULE_UNREADABLE;
	if (r->status != MODULE_OK) {
		print_refused(failures, s->name, r);
		return;
	}
	sum->verified += r->patched;
	sum->unchanged += !r->patched;
	sum->sites += r->sites;
	sum->windows += r->windows;
}

/* Both lists are sorted by name. What only the patched tree has is refused at once. */
static void pair_up(struct module_list *list, const struct module_list *patched, struct verify_tree *sum,
		    FILE *failures)
{
	size_t i = 0;

	for (size_t k = 0; k < patched->n; k++) {
		const struct module_source *p = &patched->sources[k];

		while (i < list->n && strcmp(list->sources[i].name, p->name) < 0)
			i++;
		if (i < list->n && !strcmp(list->sources[i].name, p->name)) {
			list->sources[i++].patched = p;
			continue;
		}
		fprintf(failures, "%s: REFUSED: it is not in the source tree\n", p->name);
		sum->modules++;
		sum->refused++;
	}
}

int verify_trees(const char *source, const char *patched, struct verify_tree *sum, FILE *failures,
		 FILE *progress, struct diag *d)
{
	struct module_list list, other;
	struct module_results r = {0};
	int err = modules_find(&list, source, d);

	*sum = (struct verify_tree){0};
	if (err)
		return err;
	err = modules_find(&other, patched, d);
	if (!err) {
		pair_up(&list, &other, sum, failures);
		err = modules_run(&r, &list, verify_work, progress, d);
		for (size_t i = 0; !err && i < r.n; i++)
			add(sum, &list.sources[i], r.results[i], failures);
		module_results_free(&r);
		modules_free(&other);
	}
	modules_free(&list);
	return err;
}
