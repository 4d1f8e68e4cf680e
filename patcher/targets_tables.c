// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The tables by which Linux reaches its own code: where a fault, a BUG, the boot or a module goes. Most hold
 * PC-relative words, which no relocation list mentions. Layouts are those of Linux 6.1 (include/linux and
 * arch/x86/include/asm name each structure); where releases differ in the size of an entry, the size whose entries
 * make sense is taken. An entry that does not make sense is skipped, and the table gets one note.
 */
#include "patcher/targets_internal.h"

/* --- exception table: struct exception_table_entry { s32 insn, fixup[, handler or data] } --- */

static bool extable_entry(const struct collect *c, const struct table *t, size_t at)
{
	return is_code(c, prel(c, t, at)) && is_code(c, prel(c, t, at + 4));
}

static void extable_context(struct collect *c, uint64_t site, uint64_t fixup)
{
	struct context x = {.start = site, .end = site + 1, .other = fixup, .feature = CONTEXT_NO_FEATURE,
			    .source = TARGET_EXTABLE};

	add_context(c, &x);
	x = (struct context){.start = fixup, .end = fixup + 1, .other = site, .feature = CONTEXT_NO_FEATURE,
			     .source = TARGET_EXTABLE, .role = CONTEXT_FIXUP};
	add_context(c, &x);
}

static void collect_extable(struct collect *c)
{
	static const size_t strides[] = {12, 8, 0};
	static const entry_test tests[] = {extable_entry, extable_entry};
	struct table t;
	size_t pick, bad = 0, n = 0, stride;

	if (!table_by_section(c, &t, "__ex_table") &&
	    !table_by_symbols(c, &t, "__start___ex_table", "__stop___ex_table"))
		return;
	pick = table_pick(c, &t, strides, tests);
	if (!pick)
		return;
	stride = strides[pick - 1];
	for (size_t at = 0; t.size - at >= stride; at += stride, n++) {
		bad += !extable_entry(c, &t, at);
		add_target(c, prel(c, &t, at), TARGET_EXTABLE_SITE);
		add_target(c, prel(c, &t, at + 4), TARGET_EXTABLE);
		if (extable_entry(c, &t, at))
			extable_context(c, prel(c, &t, at), prel(c, &t, at + 4));
	}
	table_note_bad(c, &t, bad, n);
}

/* --- functions named by plain PC-relative words --- */

static bool function_entry(const struct collect *c, const struct table *t, size_t at)
{
	return is_code(c, prel(c, t, at));
}

static void add_functions(struct collect *c, const struct table *t, size_t stride, size_t field,
			  enum target_source source)
{
	for (size_t at = 0; t->size - at >= stride; at += stride)
		add_target(c, prel(c, t, at + field), source);
}

static void collect_initcalls(struct collect *c)
{
	struct table t;
	bool found = table_by_symbols(c, &t, "__initcall_start", "__initcall_end");

	if (found ||
	    table_hunt(c, &t, "initcalls (by content)", ".init.data", 4, 2 * TABLE_HUNT_MIN, function_entry))
		add_functions(c, &t, 4, 0, TARGET_INITCALL);
	if (table_by_symbols(c, &t, "__con_initcall_start", "__con_initcall_end"))
		add_functions(c, &t, 4, 0, TARGET_INITCALL);
	/* struct pci_fixup { u16 vendor, device; u32 class, class_shift; s32 hook }: run at boot like
	 * initcalls */
	if (table_by_section(c, &t, ".pci_fixup"))
		add_functions(c, &t, 16, 12, TARGET_INITCALL);
}

/* struct kernel_symbol { s32 value, name[, namespace] }: variables too, hence no check for code */
static bool ksymtab_entry(const struct collect *c, const struct table *t, size_t at)
{
	return is_mapped(c, prel(c, t, at)) && is_mapped(c, prel(c, t, at + 4));
}

static void collect_ksymtab(struct collect *c)
{
	static const char *const names[][3] = {
	    {"__ksymtab", "__start___ksymtab", "__stop___ksymtab"},
	    {"__ksymtab_gpl", "__start___ksymtab_gpl", "__stop___ksymtab_gpl"},
	};
	static const size_t strides[] = {12, 8, 0};
	static const entry_test tests[] = {ksymtab_entry, ksymtab_entry};
	struct table t;
	size_t pick;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (!table_by_section(c, &t, names[i][0]) &&
		    !table_by_symbols(c, &t, names[i][1], names[i][2]))
			continue;
		pick = table_pick(c, &t, strides, tests);
		if (pick)
			add_functions(c, &t, strides[pick - 1], 0, TARGET_KSYMTAB);
	}
}

/* --- BUG and WARN: struct bug_entry { s32 bug_addr[, file; u16 line], flags }; pointers on i386 --- */

static bool is_ud(const struct collect *c, uint64_t va)
{
	size_t avail;
	const uint8_t *p = code_at(c, va, &avail);

	return p && avail >= 2 && p[0] == 0x0f && (p[1] == 0x0b || p[1] == 0xb9 || p[1] == 0xff);
}

static bool bug_entry(const struct collect *c, const struct table *t, size_t at)
{
	return is_ud(c, prel(c, t, at));
}

static bool bug_entry_absolute(const struct collect *c, const struct table *t, size_t at)
{
	return is_ud(c, le32(t->p + at));
}

static void collect_bugs(struct collect *c)
{
	static const size_t strides[] = {12, 8, 6, 12, 8, 0};
	static const entry_test tests[] = {bug_entry, bug_entry, bug_entry, bug_entry_absolute,
					   bug_entry_absolute};
	struct table t;
	size_t pick, bad = 0, n = 0;

	if (!table_by_section(c, &t, "__bug_table") &&
	    !table_by_symbols(c, &t, "__start___bug_table", "__stop___bug_table"))
		return;
	pick = table_pick(c, &t, strides, tests);
	if (!pick--)
		return;
	for (size_t at = 0; t.size - at >= strides[pick]; at += strides[pick], n++) {
		uint64_t va = tests[pick] == bug_entry ? prel(c, &t, at) : le32(t.p + at);

		bad += !tests[pick](c, &t, at);
		add_target(c, va, TARGET_BUG);
		add_context_site(c, va, 2, TARGET_BUG);
		/* WARN is UD2 as well: the handler steps over its two bytes and goes on. */
		add_target(c, image_wrap(c->img, va + 2), TARGET_BUG);
	}
	table_note_bad(c, &t, bad, n);
}

void collect_tables(struct collect *c)
{
	collect_extable(c);
	collect_initcalls(c);
	collect_ksymtab(c);
	collect_bugs(c);
}
