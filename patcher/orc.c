// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Reading ORC. The entry's last 16 bits have had three layouts, which nothing in the image names: until 6.2, in 6.3
 * (a signal bit before the end bit), and from 6.4 (three bits of type, where "end of stack" is one of the types). The
 * entries themselves tell: nearly all describe functions, whose type is 0 in the old and 2 in the new layout.
 */
#include "patcher/orc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "patcher/targets_internal.h"

#define ENTRY_SIZE 6

enum {
	REG_UNDEFINED,
	REG_PREV_SP,
	REG_DX,
	REG_DI,
	REG_BP,
	REG_SP,
	REG_R10,
	REG_R13,
	REG_BP_INDIRECT,
	REG_SP_INDIRECT
};

enum layout { LAYOUT_4_14, LAYOUT_6_3, LAYOUT_6_4 };

struct row {
	uint64_t va;
	int16_t sp_offset, bp_offset;
	uint16_t bits; /* from the lowest: sp_reg:4, bp_reg:4, then by layout */
};

struct orc {
	enum layout layout;
	size_t n;
	struct row rows[]; /* by va; of equals the last one counts */
};

static unsigned sp_reg(const struct row *r)
{
	return r->bits & 15;
}

static enum layout find_layout(const struct orc *orc)
{
	size_t old = 0, new = 0, end_10 = 0, end_11 = 0;

	for (size_t i = 0; i < orc->n; i++) {
		const struct row *r = &orc->rows[i];
		unsigned type = r->bits >> 8;

		old += sp_reg(r) && !type;
		new += sp_reg(r) && type == 2;
		end_10 += !sp_reg(r) && type == 4;
		end_11 += !sp_reg(r) && type == 8;
	}
	if (new > old)
		return LAYOUT_6_4;
	return end_11 > end_10 ? LAYOUT_6_3 : LAYOUT_4_14;
}

static uint8_t type_old(const struct row *r, bool end)
{
	static const uint8_t types[] = {ORC_CALL, ORC_REGS, ORC_REGS_PARTIAL, ORC_INVALID};

	if (sp_reg(r) == REG_UNDEFINED)
		return end ? ORC_END_OF_STACK : ORC_UNDEFINED;
	return types[r->bits >> 8 & 3];
}

static uint8_t type_new(const struct row *r)
{
	static const uint8_t types[] = {ORC_UNDEFINED,	  ORC_END_OF_STACK, ORC_CALL,	 ORC_REGS,
					ORC_REGS_PARTIAL, ORC_INVALID,	    ORC_INVALID, ORC_INVALID};

	return types[r->bits >> 8 & 7];
}

/* Could arch/x86/kernel/unwind_orc.c go on with it? */
static bool is_known(const struct orc_frame *f, uint16_t unused)
{
	bool has_frame = f->type == ORC_CALL || f->type == ORC_REGS || f->type == ORC_REGS_PARTIAL;

	if (unused || f->type == ORC_INVALID)
		return false;
	if (has_frame && (f->sp_reg < REG_DX || f->sp_reg > REG_SP_INDIRECT))
		return false;
	return f->bp_reg == REG_UNDEFINED || f->bp_reg == REG_PREV_SP || f->bp_reg == REG_BP;
}

static struct orc_frame decode(const struct orc *orc, const struct row *r)
{
	struct orc_frame f = {.sp_reg = r->bits & 15,
			      .bp_reg = r->bits >> 4 & 15,
			      .sp_offset = r->sp_offset,
			      .bp_offset = r->bp_offset};
	bool bit_10 = r->bits >> 10 & 1, bit_11 = r->bits >> 11 & 1;

	f.type = orc->layout == LAYOUT_6_4 ? type_new(r)
					   : type_old(r, orc->layout == LAYOUT_6_3 ? bit_11 : bit_10);
	f.signal = (orc->layout == LAYOUT_6_3 && bit_10) || (orc->layout == LAYOUT_6_4 && bit_11);
	if (!is_known(&f, r->bits >> (orc->layout == LAYOUT_4_14 ? 11 : 12)))
		f.type = ORC_INVALID;
	return f;
}

struct orc_frame orc_at(const struct orc *orc, uint64_t va)
{
	size_t lo = 0, hi = orc->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (orc->rows[mid].va <= va)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo ? decode(orc, &orc->rows[lo - 1]) : (struct orc_frame){.type = ORC_NO_ENTRY};
}

/*
 * As the kernel sorts them: the entries that objtool puts at the end of each section say nothing, and stand before a
 * real one at the same address.
 */
static int compare_rows(const void *va, const void *vb)
{
	const struct row *a = va, *b = vb;

	if (a->va != b->va)
		return a->va < b->va ? -1 : 1;
	return (a->bits != 0) - (b->bits != 0);
}

static void sort(struct orc *orc)
{
	for (size_t i = 1; i < orc->n; i++) {
		if (compare_rows(&orc->rows[i - 1], &orc->rows[i]) >
		    0) { /* a module, or a kernel before 5.6 */
			qsort(orc->rows, orc->n, sizeof(*orc->rows), compare_rows);
			return;
		}
	}
}

/* The entry at the end of a section names the byte behind it. */
static bool is_code_or_end(const struct collect *c, uint64_t va)
{
	return is_code(c, va) || (va && is_code(c, va - 1));
}

static bool find_tables(struct collect *c, struct table *ip, struct table *entries)
{
	bool has_ip = table_by_section(c, ip, ".orc_unwind_ip") ||
		      table_by_symbols(c, ip, "__start_orc_unwind_ip", "__stop_orc_unwind_ip");
	bool has_entries = table_by_section(c, entries, ".orc_unwind") ||
			   table_by_symbols(c, entries, "__start_orc_unwind", "__stop_orc_unwind");

	if (has_ip != has_entries)
		image_note(c->img, "ORC: %s without the other table; skipped",
			   has_ip ? ip->name : entries->name);
	return has_ip && has_entries;
}

static size_t count_rows(struct collect *c, const struct table *ip, const struct table *entries)
{
	size_t n_ip = ip->size / 4, n = entries->size / ENTRY_SIZE;

	if (n_ip != n || ip->size % 4 || entries->size % ENTRY_SIZE)
		image_note(
		    c->img,
		    "%s at 0x%llx: %zu addresses for %zu entries; going on with the %zu that both have",
		    entries->name, (unsigned long long)entries->va, n_ip, n, n_ip < n ? n_ip : n);
	return n_ip < n ? n_ip : n;
}

static void note_invalid(struct collect *c, const struct table *entries, const struct orc *orc)
{
	size_t bad = 0;

	for (size_t i = 0; i < orc->n; i++)
		bad += decode(orc, &orc->rows[i]).type == ORC_INVALID;
	if (bad)
		image_note(
		    c->img,
		    "%s at 0x%llx: %zu of %zu entries have a type or register that Linux does not have",
		    entries->name, (unsigned long long)entries->va, bad, orc->n);
}

void collect_orc(struct collect *c)
{
	struct table ip, entries;
	struct orc *orc;
	size_t n;

	if (c->err || c->img->width != 64 || !find_tables(c, &ip, &entries))
		return;
	n = count_rows(c, &ip, &entries);
	orc = malloc(sizeof(*orc) + n * sizeof(*orc->rows));
	if (!orc) {
		c->err = -ENOMEM;
		return;
	}
	orc->n = 0;
	for (size_t i = 0; i < n; i++) {
		const uint8_t *p = entries.p + i * ENTRY_SIZE;
		uint64_t va = prel(c, &ip, 4 * i);

		if (is_code_or_end(c, va))
			orc->rows[orc->n++] = (struct row){.va = va,
							   .sp_offset = (int16_t)le16(p),
							   .bp_offset = (int16_t)le16(p + 2),
							   .bits = le16(p + 4)};
	}
	table_note_bad(c, &ip, n - orc->n, n);
	orc->layout = find_layout(orc);
	sort(orc);
	note_invalid(c, &entries, orc);
	c->t->orc = orc;
}

const char *orc_type_name(const struct orc_frame *f)
{
	static const char *const names[] = {"no entry", "undefined",	  "end of stack", "call",
					    "regs",	"regs (partial)", "invalid"};

	return names[f->type];
}

const char *orc_sp(const struct orc_frame *f, char *buf, size_t cap)
{
	static const char *const forms[] = {[REG_DX] = "dx%+d",
					    [REG_DI] = "di%+d",
					    [REG_BP] = "bp%+d",
					    [REG_SP] = "sp%+d",
					    [REG_R10] = "r10%+d",
					    [REG_R13] = "r13%+d",
					    [REG_BP_INDIRECT] = "(bp%+d)",
					    [REG_SP_INDIRECT] = "(sp)%+d"};

	buf[0] = '\0';
	if (f->type == ORC_CALL || f->type == ORC_REGS || f->type == ORC_REGS_PARTIAL)
		snprintf(buf, cap, forms[f->sp_reg], f->sp_offset);
	return buf;
}

const char *orc_bp(const struct orc_frame *f, char *buf, size_t cap)
{
	buf[0] = '\0';
	if (f->type == ORC_CALL && f->bp_reg != REG_UNDEFINED)
		snprintf(buf, cap, f->bp_reg == REG_BP ? "bp%+d" : "prevsp%+d", f->bp_offset);
	return buf;
}

void orc_describe(const struct orc_frame *f, char *buf, size_t cap)
{
	char sp[ORC_PLACE_MAX], bp[ORC_PLACE_MAX];

	orc_sp(f, sp, sizeof(sp));
	orc_bp(f, bp, sizeof(bp));
	switch (f->type) {
	case ORC_CALL:
		snprintf(buf, cap, "call: the caller's SP is %s, its BP %s%s", sp,
			 *bp ? "is saved at " : "unchanged", bp);
		break;
	case ORC_REGS:
		snprintf(buf, cap, "regs: the interrupted code's registers (pt_regs) are at %s", sp);
		break;
	case ORC_REGS_PARTIAL:
		snprintf(buf, cap, "regs (partial): what the CPU pushed at an interrupt is at %s", sp);
		break;
	case ORC_END_OF_STACK:
		snprintf(buf, cap, "end of stack: nothing called this code");
		break;
	case ORC_INVALID:
		snprintf(buf, cap, "invalid: an entry with a type or register that Linux does not have");
		break;
	default:
		snprintf(buf, cap, "%s: not known to the unwinder", orc_type_name(f));
	}
}

void orc_free(struct orc *orc)
{
	free(orc);
}
