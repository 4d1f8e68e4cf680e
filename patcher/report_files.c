// SPDX-License-Identifier: GPL-3.0-or-later
/* Which reports were asked for, and the planner's ladder in words. */
#include <errno.h>
#include <stdlib.h>

#include "hypercalls/policy.h"
#include "patcher/report_internal.h"

int report_files_write(const struct report_files *f, const struct analysis *a,
		       const struct runtime_report *rt, struct diag *d)
{
	const struct {
		const char *path;
		int (*write)(const struct analysis *a, const struct runtime_report *rt, const char *path,
			     struct diag *d);
	} all[] = {
	    {f->json, report_json}, {f->csv, report_csv}, {f->sarif, report_sarif}, {f->html, report_html}};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		int err = all[i].path ? all[i].write(a, rt, all[i].path, d) : 0;

		if (err)
			return err;
	}
	return 0;
}

bool report_text_open(struct report_text *t)
{
	*t = (struct report_text){0};
	t->f = open_memstream(&t->text, &t->size);
	return t->f != NULL;
}

int report_text_write(struct report_text *t, const char *path, struct diag *d)
{
	bool whole = t->f && !ferror(t->f);
	int err;

	if (t->f && fclose(t->f))
		whole = false;
	err = whole ? file_write(path, t->text, t->size, d) : diag_set(d, -ENOMEM, "%s: out of memory", path);
	free(t->text);
	return err;
}

static const char *why_not_in_place(const struct plan_site *ps)
{
	if (ps->site->len < 5)
		return "shorter than the five bytes of a jump";
	return ps->no_window ? ps->no_window : "one stub serves it together with its neighbours";
}

static const char *outcome(const struct plan_site *ps, unsigned t)
{
	if (t == ps->tactic)
		return t == TACTIC_NONE ? "left as it is: its page does not run directly" : "taken";
	switch (t) {
	case TACTIC_IN_PLACE:
		return why_not_in_place(ps);
	case TACTIC_WINDOW:
		return ps->no_window ? ps->no_window : "code ends too close behind it";
	case TACTIC_WINDOW_TAIL:
		return ps->no_window ? ps->no_window : "too little padding behind it";
	case TACTIC_HOP:
		if (ps->pinned)
			return ps->no_window;
		return "no five bytes of padding within reach of a short jump, or no two free bytes for one";
	case TACTIC_BREAKPOINT:
		return policy_may_not_trap(ps->site->op) ? "not all of its bytes may become int3"
							 : "of no use: the instruction traps by itself";
	default:
		return NULL;
	}
}

size_t report_tries(const struct plan_site *ps, struct tactic_try tries[TACTIC_TRIES])
{
	size_t n = 0;

	if (!ps || ps->tactic == TACTIC_VERBATIM)
		return 0;
	for (unsigned t = 0; t <= ps->tactic; t++) {
		if (t == TACTIC_TRAP && ps->tactic == TACTIC_NONE)
			continue; /* it may not trap at all: never an answer */
		tries[n++] = (struct tactic_try){(uint8_t)t, t == ps->tactic, outcome(ps, t)};
	}
	return n;
}
