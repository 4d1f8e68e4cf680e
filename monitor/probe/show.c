// SPDX-License-Identifier: GPL-3.0-or-later
/* The report as text, at most PROBE_COLUMNS wide, and what it shares with the JSON one. */
#include "monitor/probe/show.h"

#include <stdlib.h>
#include <string.h>

#include "hypercalls/decode.h"
#include "hypercalls/policy.h"
#include "monitor/probe/child.h"

double show_ns(const struct probe_finding *f)
{
	double ticks = child_ticks_per_us();

	return f->outcome == PROBE_NOT_RUN || !f->r.done || !(ticks > 0) ? 0
									 : (double)f->r.cycles * 1000 / ticks;
}

void show_code(char *to, size_t cap, const struct probe_finding *f)
{
	size_t len = f->e->end - f->e->code, at = 0, used = 0;
	int width = policy_get(f->e->op)->widths & WIDTH_64 ? f->e->width : 32;
	uint8_t code[256];
	struct insn insn;
	char text[96];

	len = len > sizeof(code) ? sizeof(code) : len;
	memcpy(code, f->e->code, len);
	if (f->e->n_args)
		memcpy(code + 1, &f->arg, f->e->arg_size);
	*to = '\0';
	while (at < len && used < cap) {
		int n = insn_decode(&insn, code + at, len - at, at, width);

		insn_format(text, sizeof(text), code + at, len - at, at, width);
		used += snprintf(to + used, cap - used, "%s%s", at ? "; " : "", text);
		if (n <= 0)
			break;
		at += n;
	}
}

void show_count(const struct probe_cases *all, struct probe_counts *c)
{
	*c = (struct probe_counts){.rows = 0};
	for (unsigned i = 0; i < all->n;) {
		unsigned op = all->f[i].e->op, traps = 0, runs = 0;

		for (; i < all->n && all->f[i].e->op == op; i++) {
			enum probe_outcome o = all->f[i].outcome;

			c->cases[o]++;
			traps += o == PROBE_TRAPS;
			runs += o != PROBE_NOT_RUN;
		}
		c->rows++;
		c->rows_not_run += !runs;
		c->rows_always += runs && traps == runs;
		c->rows_sometimes += traps && traps < runs;
		c->rows_never += runs && !traps;
	}
}

#define MODE_64 "64-bit mode"
#define MODE_COMPAT "compatibility mode"

/* --- columns --------------------------------------------------------------------------------------------- */

enum { COL_NAME = 10, COL_WHAT = 30, COL_RESULT = 8, COL_TEXT = 38, COL_COST = 8 };

/* How much of s goes on a line of `width`: up to the last space that fits. */
static int piece(const char *s, int width)
{
	int n = (int)strlen(s);

	if (n <= width)
		return n;
	for (n = width; n > 0 && s[n] != ' '; n--)
		;
	return n ? n : width;
}

static const char *rest(const char *s, int n)
{
	s += n;
	return s + strspn(s, " ");
}

static void wrapped(FILE *out, int indent, const char *s)
{
	while (*s) {
		int n = piece(s, PROBE_COLUMNS - indent);

		fprintf(out, "%*s%.*s\n", indent, "", n, s);
		s = rest(s, n);
	}
}

static void row(FILE *out, const char *name, const char *what, const char *result, const char *text,
		const char *cost)
{
	do {
		int w = piece(what, COL_WHAT), t = piece(text, COL_TEXT);

		if (*cost)
			fprintf(out, "%-*s %-*.*s %-*s %-*.*s %*s\n", COL_NAME, name, COL_WHAT, w, what,
				COL_RESULT, result, COL_TEXT, t, text, COL_COST, cost);
		else if (t)
			fprintf(out, "%*s %-*.*s %*s %.*s\n", COL_NAME, "", COL_WHAT, w, what, COL_RESULT, "",
				t, text);
		else
			fprintf(out, "%*s %.*s\n", COL_NAME, "", w, what);
		what = rest(what, w);
		text = rest(text, t);
		name = result = cost = "";
	} while (*what || *text);
}

static void cost_words(char *to, size_t cap, double ns)
{
	if (ns <= 0)
		snprintf(to, cap, "-");
	else if (ns < 100)
		snprintf(to, cap, "< 0.1 us");
	else
		snprintf(to, cap, "%.1f us", ns / 1000);
}

/* --- cases of one experiment with the same result share a line ------------------------------------------- */

static bool same(const struct probe_finding *a, const struct probe_finding *b)
{
	return a->e == b->e && a->outcome == b->outcome && !strcmp(a->text, b->text);
}

static bool listed_before(const struct probe_cases *all, unsigned i)
{
	for (unsigned k = i; k-- > 0 && all->f[k].e == all->f[i].e;)
		if (same(&all->f[k], &all->f[i]))
			return true;
	return false;
}

/* "to 0x10 0x18", "vector 0x5-0x7f 0x81-0xff"; returns the mean cost. */
static double list_args(const struct probe_cases *all, unsigned i, char *to, size_t cap)
{
	const struct probe_finding *f = &all->f[i];
	int used = snprintf(to, cap, "%s", f->e->what);
	double ns = 0;
	unsigned n = 0, k = i;

	while (k < all->n && all->f[k].e == f->e) {
		unsigned first = k, last;

		if (!same(&all->f[k], f)) {
			k++;
			continue;
		}
		for (; k < all->n && same(&all->f[k], f) && all->f[k].arg - all->f[first].arg == k - first;
		     k++, n++)
			ns += show_ns(&all->f[k]);
		last = k - 1;
		if (f->e->n_args && used < (int)cap)
			used += snprintf(to + used, cap - used, first == last ? "%s0x%x" : "%s0x%x-0x%x",
					 used ? " " : "", all->f[first].arg, all->f[last].arg);
	}
	return n ? ns / n : 0;
}

static void legend(FILE *out, const struct probe_cases *all)
{
	const struct experiment *best = NULL;
	char line[512] = "";
	int used = 0;

	for (unsigned i = 0; i < all->n; i++)
		if (all->f[i].arg_words && (!best || all->f[i].e->n_args > best->n_args))
			best = all->f[i].e;
	for (unsigned k = 0; best && k < best->n_args && used < (int)sizeof(line); k++)
		used += snprintf(line + used, sizeof(line) - used, "%s0x%x %s", k ? "; " : "",
				 best->args[k].value, best->args[k].words);
	if (best) {
		fprintf(out, "\nSelectors tried, by what Linux keeps there:\n");
		wrapped(out, 2, line);
	}
}

static void table(FILE *out, const struct probe_cases *all)
{
	const char *group = NULL;
	unsigned op = 0;

	for (unsigned i = 0; i < all->n; i++) {
		const struct probe_finding *f = &all->f[i];
		const struct policy *p = policy_get(f->e->op);
		char what[768], cost[16];

		if (listed_before(all, i))
			continue;
		if (group != experiment_group(f->e)) {
			group = experiment_group(f->e);
			fprintf(out, "\n%s\n", group);
		}
		cost_words(cost, sizeof(cost), list_args(all, i, what, sizeof(what)));
		if (!*what && *p->form)
			snprintf(what, sizeof(what), "%s", p->form);
		row(out, op == f->e->op ? "" : p->mnemonic, what, probe_outcome_name(f->outcome), f->text,
		    cost);
		op = f->e->op;
	}
}

static void host_lines(FILE *out, const struct probe_report *r)
{
	static const char *const words[] = {
	    [HOST_OK] = "ok", [HOST_NOTE] = "note", [HOST_NOT_DIRECT] = "lacks", [HOST_MISSING] = "MISSING"};

	for (unsigned i = 0; i < r->n_host; i++) {
		const struct host_finding *h = &r->host[i];
		const char *name = h->name, *word = words[h->verdict], *text = h->text;

		do {
			int n = piece(text, PROBE_COLUMNS - 24);

			fprintf(out, "%-14s %-8s %.*s\n", name, word, n, text);
			text = rest(text, n);
			name = word = "";
		} while (*text);
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The median over the cases that trapped. */
static double trap_ns(const struct probe_cases *all)
{
	double ns[1024];
	unsigned n = 0;

	for (unsigned i = 0; i < all->n && n < sizeof(ns) / sizeof(*ns); i++)
		if (all->f[i].outcome == PROBE_TRAPS && show_ns(&all->f[i]) > 0)
			ns[n++] = show_ns(&all->f[i]);
	qsort(ns, n, sizeof(*ns), by_value);
	return n ? ns[n / 2] : 0;
}

static void summary(FILE *out, const char *mode, const struct probe_cases *all)
{
	static const char *const words[PROBE_OUTCOMES] = {
	    [PROBE_TRAPS] = "trap: a signal, before the instruction took effect or at its end",
	    [PROBE_LEAKS] = "leak state of the host without a trap",
	    [PROBE_SILENT] = "silently do something else than at CPL 0",
	    [PROBE_EMULATED] = "are answered by the host's kernel with a made-up value",
	    [PROBE_RIGHT] = "run without a trap and are right",
	    [PROBE_NOT_RUN] = "could not be tried",
	};
	struct probe_counts c;
	char line[400];

	show_count(all, &c);
	fprintf(out, "\nSummary: %u cases of %u rows of the policy table, %s, CPL 3\n", all->n, c.rows, mode);
	for (unsigned o = 0; o < PROBE_OUTCOMES; o++)
		fprintf(out, "%6u %s\n", c.cases[o], words[o]);
	snprintf(line, sizeof(line),
		 "%u rows trapped with every operand tried, %u with some, %u with none, %u %s.",
		 c.rows_always, c.rows_sometimes, c.rows_never, c.rows_not_run,
		 all->f->e->width == 64 ? "need compatibility mode" : "could not be tried");
	wrapped(out, 0, line);
}

static void verdict(FILE *out, const struct probe_report *r)
{
	struct probe_counts c;
	char line[400], cost[16];

	show_count(&r->mode64, &c);
	fprintf(out, "\nVerdict\n");
	if (c.rows_sometimes + c.rows_never)
		wrapped(out, 2,
			"Trap and emulate alone cannot run a kernel here: the rows that do not always trap "
			"must be "
			"patched or translated before they run.");
	cost_words(cost, sizeof(cost), trap_ns(&r->mode64));
	snprintf(line, sizeof(line), "A trapping instruction that is not patched costs about %s here.", cost);
	wrapped(out, 2, line);
	snprintf(line, sizeof(line), "Compatibility mode: %s. %s.",
		 r->compat.selector
		     ? "there is a 32-bit code segment, so that 32-bit guest code can run directly"
		     : "none, so that 32-bit guest code cannot run directly",
		 r->compat.evidence);
	wrapped(out, 2, line);
}

static void mode_table(FILE *out, const char *mode, const struct probe_cases *all)
{
	fprintf(out, "\nSensitive instructions at CPL 3, %s\n", mode);
	row(out, "", "operands, circumstances", "result", "what happened", "cost");
	table(out, all);
}

void show_text(FILE *out, const struct probe_report *r)
{
	fprintf(out, "This host\n");
	host_lines(out, r);
	mode_table(out, MODE_64, &r->mode64);
	if (r->compat_mode.n) {
		mode_table(out, MODE_COMPAT, &r->compat_mode);
	} else {
		fprintf(out, "\nNot tried in compatibility mode\n");
		wrapped(out, 2, r->compat.evidence);
	}
	legend(out, &r->mode64);
	summary(out, MODE_64, &r->mode64);
	if (r->compat_mode.n)
		summary(out, MODE_COMPAT, &r->compat_mode);
	verdict(out, r);
}

/* --- one row explained ----------------------------------------------------------------------------------- */

static void paragraph(FILE *out, const char *head, const char *text)
{
	fprintf(out, "%s\n", head);
	wrapped(out, 2, text);
}

static void explain_case(FILE *out, const struct probe_cases *all, unsigned i)
{
	const struct probe_finding *f = &all->f[i];
	char what[768], code[512], line[1600], cost[16];

	cost_words(cost, sizeof(cost), list_args(all, i, what, sizeof(what)));
	show_code(code, sizeof(code), f);
	snprintf(line, sizeof(line), "%s%s%s", what, *what ? ": " : "", code);
	wrapped(out, 2, line);
	snprintf(line, sizeof(line), "-> %s: %s (%s)", probe_outcome_name(f->outcome), f->text, cost);
	wrapped(out, 4, line);
}

static void explain_mode(FILE *out, const char *mode, const struct probe_cases *all, unsigned op)
{
	bool any = false;

	for (unsigned i = 0; i < all->n; i++) {
		if (all->f[i].e->op != op || listed_before(all, i))
			continue;
		if (!any)
			fprintf(out, "On this host, %s\n", mode);
		any = true;
		explain_case(out, all, i);
	}
}

void show_explain(FILE *out, const struct probe_report *r, unsigned op)
{
	const struct policy *p = policy_get(op);
	char line[600];

	fprintf(out, "%s %s%s(%s, %s)\n", p->mnemonic, p->form, *p->form ? " " : "", p->id,
		policy_class_name(p->cls));
	snprintf(line, sizeof(line), "At CPL 3: %s.", p->reason);
	paragraph(out, "Why it is sensitive", line);
	snprintf(line, sizeof(line), "See %s.", p->manual);
	wrapped(out, 2, line);
	explain_mode(out, MODE_64, &r->mode64, op);
	explain_mode(out, MODE_COMPAT, &r->compat_mode, op);
	snprintf(line, sizeof(line), "In the virtual machine: %s.", p->meaning);
	paragraph(out, "What Paravane does", line);
	if (p->lowering == LOWER_VERBATIM)
		snprintf(line, sizeof(line), "It runs as it is: patching it gains nothing.");
	else if (p->lowering == LOWER_EXIT)
		snprintf(line, sizeof(line),
			 "Patched code leaves for the monitor's `%s` service; unpatched it %s.",
			 hypercall_name(p->hypercall),
			 policy_may_not_trap(op) ? "must not run directly" : "traps and is emulated");
	else
		snprintf(line, sizeof(line), "Patched code does it inline (`%s`); unpatched it %s.",
			 lowering_name(p->lowering),
			 policy_may_not_trap(op) ? "must not run directly" : "traps and is emulated");
	wrapped(out, 2, line);
}
