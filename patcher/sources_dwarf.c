// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Reading DWARF for many addresses at once (DWARF 5, 2.17, 3.3.8, 6.2). A kernel has 100 MB of it, and libdw's own
 * search walks a unit for each address; so here each unit and each function is visited once and asks which sites it
 * covers.
 *
 * libdw checks what it reads; what it cannot check are circles, which end because offsets must grow.
 */
#include <dwarf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "patcher/image_internal.h"
#include "patcher/sources_internal.h"

#define INLINED_MAX 48	 /* functions in each other; compilers stop long before */
#define NAMESPACES_MAX 8 /* as deep; Rust nests functions in them */

struct reader {
	struct sources *s;
	struct source_site *sites;
	size_t n_sites;
	size_t damaged;	 /* units, and what stands in them */
	char first[160]; /* damage */
	int err;
};

static void damage(struct reader *r, const char *what, Dwarf_Off at)
{
	if (!r->damaged++)
		snprintf(r->first, sizeof(r->first), "%s at .debug_info+0x%llx: %s", what,
			 (unsigned long long)at,
			 dwarf_errmsg(-1) ? dwarf_errmsg(-1) : "it does not make sense");
}

/* The first site at or behind an address. */
static size_t site_from(const struct reader *r, uint64_t address)
{
	size_t lo = 0, hi = r->n_sites;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (r->sites[mid].address < address)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static const char *keep(struct reader *r, const char *text)
{
	const char *kept = sources_keep(r->s, text ? text : "");

	if (!kept)
		r->err = -ENOMEM;
	return kept;
}

/* --- lines --- */

static void set_line(struct reader *r, Dwarf_Die *unit, struct source_site *site)
{
	Dwarf_Line *line = dwarf_getsrc_die(unit, site->address);
	int number = 0;

	site->frames = calloc(1, sizeof(*site->frames));
	if (!site->frames) {
		r->err = -ENOMEM;
		return;
	}
	site->n_frames = 1;
	if (line)
		dwarf_lineno(line, &number);
	site->frames[0] =
	    (struct source_frame){.function = "",
				  .file = keep(r, line ? dwarf_linesrc(line, NULL, NULL) : NULL),
				  .line = number > 0 ? (unsigned)number : 0};
}

/* --- functions --- */

static unsigned attribute(Dwarf_Die *die, unsigned name)
{
	Dwarf_Attribute a;
	Dwarf_Word v;

	return dwarf_attr(die, name, &a) && !dwarf_formudata(&a, &v) && v <= UINT32_MAX ? (unsigned)v : 0;
}

/* The child of die that is inlined code, or a block, around the address. */
static bool inner(struct reader *r, Dwarf_Die *die, uint64_t address, Dwarf_Die *child)
{
	Dwarf_Off last = dwarf_dieoffset(die);
	int got = dwarf_child(die, child);

	for (; got == 0; got = dwarf_siblingof(child, child)) {
		int tag = dwarf_tag(child);

		if (dwarf_dieoffset(child) <= last)
			break;
		last = dwarf_dieoffset(child);
		if ((tag == DW_TAG_inlined_subroutine || tag == DW_TAG_lexical_block) &&
		    dwarf_haspc(child, address) > 0)
			return true;
	}
	if (got <= 0)
		damage(r, "entry", last);
	return false;
}

static struct source_frame call_place(struct reader *r, Dwarf_Die *unit, Dwarf_Die *call)
{
	Dwarf_Files *files;
	unsigned file = attribute(call, DW_AT_call_file);
	size_t n = 0;
	const char *name = NULL;

	if (!dwarf_getsrcfiles(unit, &files, &n) && file < n)
		name = dwarf_filesrc(files, file, NULL, NULL);
	return (struct source_frame){.file = keep(r, name), .line = attribute(call, DW_AT_call_line)};
}

/* The site is in the function: which functions were inlined there, and where. */
static void set_functions(struct reader *r, Dwarf_Die *unit, Dwarf_Die *function, struct source_site *site)
{
	Dwarf_Die chain[INLINED_MAX], child, die = *function;
	struct source_frame *frames;
	size_t n = 0;

	chain[n++] = die;
	for (size_t depth = 0;
	     depth < 2 * INLINED_MAX && n < INLINED_MAX && inner(r, &die, site->address, &child); depth++) {
		die = child;
		if (dwarf_tag(&die) == DW_TAG_inlined_subroutine)
			chain[n++] = die;
	}
	frames = realloc(site->frames, n * sizeof(*frames));
	if (!frames) {
		r->err = -ENOMEM;
		return;
	}
	site->frames = frames;
	site->n_frames = n;
	site->named = true;
	for (size_t i = 1; i < n; i++)
		frames[i] = call_place(r, unit, &chain[n - i]);
	for (size_t i = 0; i < n; i++)
		frames[i].function = keep(r, dwarf_diename(&chain[n - 1 - i]));
}

static void visit_function(struct reader *r, Dwarf_Die *unit, Dwarf_Die *function)
{
	Dwarf_Addr base, start, end;
	ptrdiff_t at = 0;

	while (!r->err && (at = dwarf_ranges(function, at, &base, &start, &end)) > 0)
		for (size_t i = site_from(r, start); i < r->n_sites && r->sites[i].address < end && !r->err;
		     i++)
			if (r->sites[i].taken && !r->sites[i].named)
				set_functions(r, unit, function, &r->sites[i]);
	if (at < 0)
		damage(r, "ranges of the function", dwarf_dieoffset(function));
}

static void visit_functions(struct reader *r, Dwarf_Die *unit, Dwarf_Die *parent, unsigned depth)
{
	Dwarf_Die child;
	Dwarf_Off last = dwarf_dieoffset(parent);
	int got = dwarf_child(parent, &child);

	for (; got == 0 && !r->err; got = dwarf_siblingof(&child, &child)) {
		int tag = dwarf_tag(&child);

		if (dwarf_dieoffset(&child) <= last || tag == DW_TAG_invalid) {
			damage(r, "entry", dwarf_dieoffset(&child));
			return;
		}
		last = dwarf_dieoffset(&child);
		if (tag == DW_TAG_subprogram)
			visit_function(r, unit, &child);
		else if (tag == DW_TAG_namespace && depth < NAMESPACES_MAX)
			visit_functions(r, unit, &child, depth + 1);
	}
	if (got < 0)
		damage(r, "entry", last);
}

/* --- units --- */

static void visit_unit(struct reader *r, Dwarf_Die *unit)
{
	Dwarf_Addr base, start, end;
	Dwarf_Lines *lines;
	size_t n_lines, taken = 0;
	ptrdiff_t at = 0;

	while (!r->err && (at = dwarf_ranges(unit, at, &base, &start, &end)) > 0)
		for (size_t i = site_from(r, start); i < r->n_sites && r->sites[i].address < end && !r->err;
		     i++) {
			if (r->sites[i].taken)
				continue;
			if (!taken++ && dwarf_getsrclines(unit, &lines, &n_lines))
				damage(r, "lines of the unit", dwarf_dieoffset(unit));
			r->sites[i].taken = true;
			set_line(r, unit, &r->sites[i]);
		}
	if (at < 0)
		damage(r, "ranges of the unit", dwarf_dieoffset(unit));
	if (taken)
		visit_functions(r, unit, unit, 0);
}

int sources_read(struct sources *s, const struct debug_file *f, struct source_site *sites, size_t n,
		 struct image *img)
{
	struct reader r = {.s = s, .sites = sites, .n_sites = n};
	Dwarf_CU *cu = NULL;
	Dwarf_Die unit;
	Dwarf_Off last = 0;
	int got = 0;

	while (!r.err && (got = dwarf_get_units(f->dwarf, cu, &cu, NULL, NULL, &unit, NULL)) == 0) {
		if (!unit.cu || !unit.addr)
			continue; /* a version that libdw does not know */
		last = dwarf_dieoffset(&unit);
		visit_unit(&r, &unit);
	}
	if (!r.err && got < 0)
		damage(&r, "behind the unit", last);
	if (r.damaged)
		image_note(img, "debug information of %s: damaged in %zu places, the first is the %s",
			   f->path, r.damaged, r.first);
	return r.err;
}
