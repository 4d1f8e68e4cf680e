// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The tables by which Linux rewrites its own code: each entry gives a range of text that no window may overlap, and
 * often a target as well. Layouts are those of Linux 6.1, as in targets_tables.c.
 */
#include "patcher/targets_internal.h"

/* --- jump labels: struct jump_entry { s32 code, target; long key }, all relative --- */

/* The NOP or JMP at a jump-label site, 2 or 5 bytes; 0 when it is neither. *target: where a JMP goes. */
static size_t label_len(const struct collect *c, uint64_t va, uint64_t *target)
{
	static const uint8_t nop5[][5] = {
	    {0x0f, 0x1f, 0x44, 0, 0},	 /* P6 NOP */
	    {0x3e, 0x8d, 0x74, 0x26, 0}, /* lea %ds:0(%esi,%eiz,1),%esi: i386 */
	    {0x66, 0x66, 0x66, 0x66, 0x90},
	    {0x3e, 0x8d, 0x6c, 0x25, 0},
	};
	size_t avail;
	const uint8_t *p = code_at(c, va, &avail);

	*target = 0;
	if (!p || avail < 2)
		return 0;
	if (p[0] == 0xeb) {
		*target = image_wrap(c->img, va + 2 + (int8_t)p[1]);
		return 2;
	}
	if (p[0] == 0x66 && p[1] == 0x90)
		return 2;
	if (avail < 5)
		return 0;
	if (p[0] == 0xe9) {
		*target = image_wrap(c->img, va + 5 + (int64_t)les32(p + 1));
		return 5;
	}
	for (size_t i = 0; i < sizeof(nop5) / sizeof(*nop5); i++)
		if (!memcmp(p, nop5[i], 5))
			return 5;
	return 0;
}

static bool jump_entry(const struct collect *c, const struct table *t, size_t at)
{
	uint64_t site = prel(c, t, at), target = prel(c, t, at + 4), jump;
	uint64_t key = image_wrap(
	    c->img, t->va + at + 8 + (c->img->width == 64 ? le64(t->p + at + 8) : le32(t->p + at + 8)));

	if (!is_code(c, site) || !is_code(c, target) || !label_len(c, site, &jump))
		return false;
	key &= ~(uint64_t)3; /* low bits: branch and init flags */
	return (!jump || jump == target) && is_mapped(c, key) && !is_code(c, key);
}

static void label_context(struct collect *c, uint64_t site, size_t len, uint64_t target)
{
	struct context x = {.start = site, .end = site + len, .other = target, .feature = CONTEXT_NO_FEATURE,
			    .source = TARGET_JUMP_LABEL};

	add_context(c, &x);
	x = (struct context){.start = target, .end = target + 1, .other = site, .feature = CONTEXT_NO_FEATURE,
			     .source = TARGET_JUMP_LABEL, .role = CONTEXT_TARGET};
	add_context(c, &x);
}

static void collect_jump_labels(struct collect *c)
{
	size_t stride = c->img->width == 64 ? 16 : 12, bad = 0, n = 0;
	struct table t;
	uint64_t jump;

	if (!table_by_section(c, &t, "__jump_table") &&
	    !table_by_symbols(c, &t, "__start___jump_table", "__stop___jump_table") &&
	    !table_hunt(c, &t, "__jump_table (by content)", ".rodata", stride, TABLE_HUNT_MIN, jump_entry))
		return;
	for (size_t at = 0; t.size - at >= stride; at += stride, n++) {
		uint64_t site = prel(c, &t, at);
		size_t len = label_len(c, site, &jump);

		bad += !jump_entry(c, &t, at);
		if (len)
			label_context(c, site, len, prel(c, &t, at + 4));
		add_target(c, prel(c, &t, at + 4), TARGET_JUMP_LABEL);
		add_target(c, site, TARGET_JUMP_LABEL_SITE);
		add_rewritten(c, site, len ? len : 5, TARGET_JUMP_LABEL_SITE);
	}
	table_note_bad(c, &t, bad, n);
}

/* --- static calls: struct static_call_site { s32 addr, key }, and the trampolines --- */

static bool static_call_entry(const struct collect *c, const struct table *t, size_t at)
{
	uint64_t site = prel(c, t, at), key = prel(c, t, at + 4) & ~(uint64_t)3;
	size_t avail;
	const uint8_t *p = code_at(c, site, &avail);

	return p && avail >= 5 && (p[0] == 0xe8 || p[0] == 0xe9) && is_mapped(c, key) && !is_code(c, key);
}

static void collect_static_call_sites(struct collect *c)
{
	struct table t;
	size_t bad = 0, n = 0;

	if (!table_by_section(c, &t, ".static_call_sites") &&
	    !table_by_symbols(c, &t, "__start_static_call_sites", "__stop_static_call_sites") &&
	    !table_hunt(c, &t, "static_call_sites (by content)", ".rodata", 8, TABLE_HUNT_MIN,
			static_call_entry))
		return;
	for (size_t at = 0; t.size - at >= 8; at += 8, n++) {
		bad += !static_call_entry(c, &t, at);
		add_target(c, prel(c, &t, at), TARGET_STATIC_CALL_SITE);
		add_rewritten(c, prel(c, &t, at), 5, TARGET_STATIC_CALL_SITE);
		add_context_site(c, prel(c, &t, at), 5, TARGET_STATIC_CALL);
	}
	table_note_bad(c, &t, bad, n);
}

/* Trampolines end in `ud1 %esp, %ecx` so that the kernel itself can tell them: JMP rel32 or RET + padding
 * before. */
static void collect_trampolines(struct collect *c)
{
	static const uint8_t mark[] = {0x0f, 0xb9, 0xcc};

	for (size_t i = 0; i < c->n_code; i++) {
		const struct image_section *s = c->code[i];
		const uint8_t *end = s->data + s->size, *hit = s->data;

		while ((hit = memmem(hit, end - hit, mark, sizeof(mark)))) {
			uint64_t va = s->va + (hit - s->data) - 5;

			if (hit - s->data >= 5 && (hit[-5] == 0xe9 || hit[-5] == 0xc3)) {
				add_target(c, va, TARGET_STATIC_CALL_SITE);
				add_rewritten(c, va, 5, TARGET_STATIC_CALL_SITE);
				add_context_site(c, va, 5, TARGET_STATIC_CALL);
				if (hit[-5] == 0xe9)
					add_target(c, image_wrap(c->img, va + 5 + (int64_t)les32(hit - 4)),
						   TARGET_STATIC_CALL);
			}
			hit++;
		}
	}
}

/*
 * --- alternatives: packed struct alt_instr { s32 instr, repl; ...; u8 instrlen, replacementlen } ---
 * 12 bytes in 6.1 (u16 cpuid), 13 until 5.12 (padlen behind them), 14 from 6.3 (u16 flags).
 */

static bool alternative_fits(const struct collect *c, const struct table *t, size_t at, size_t len_at)
{
	uint64_t site = prel(c, t, at);
	size_t len = t->p[at + len_at], avail;

	return code_at(c, site, &avail) && len && len <= avail &&
	       (is_code(c, prel(c, t, at + 4)) || !t->p[at + len_at + 1]);
}

static bool alternative_entry_12(const struct collect *c, const struct table *t, size_t at)
{
	return alternative_fits(c, t, at, 10);
}

static bool alternative_entry_14(const struct collect *c, const struct table *t, size_t at)
{
	return alternative_fits(c, t, at, 12);
}

/*
 * The feature is a u16 behind the two addresses; its bit 15 says that the CPU must lack it. From 6.3 that is bit 0 of
 * the u16 that follows.
 */
static void alternative_context(struct collect *c, const struct table *t, size_t at, size_t stride, size_t len_at)
{
	uint64_t site = prel(c, t, at), repl = prel(c, t, at + 4);
	size_t len = t->p[at + len_at], repl_len = t->p[at + len_at + 1];
	uint16_t feature = le16(t->p + at + 8);
	struct context x = {.start = site,
			    .end = site + len,
			    .other = repl_len ? repl : 0,
			    .feature = feature & 0x7fff,
			    .inverted = stride == 14 ? t->p[at + 10] & 1 : feature >> 15,
			    .source = TARGET_ALTERNATIVE};

	add_context(c, &x);
	x.role = CONTEXT_REPLACEMENT;
	x.start = repl;
	x.end = repl + repl_len;
	x.other = site;
	add_context(c, &x);
}

static void collect_alternatives(struct collect *c)
{
	static const size_t strides[] = {12, 13, 14, 0}, len_at[] = {10, 10, 12};
	static const entry_test tests[] = {alternative_entry_12, alternative_entry_12, alternative_entry_14};
	struct table t;
	size_t pick, avail, bad = 0, n = 0;

	if (!table_by_section(c, &t, ".altinstructions") &&
	    !table_by_symbols(c, &t, "__alt_instructions", "__alt_instructions_end"))
		return;
	pick = table_pick(c, &t, strides, tests);
	if (!pick--)
		return;
	for (size_t at = 0; t.size - at >= strides[pick]; at += strides[pick], n++) {
		uint64_t site = prel(c, &t, at), repl = prel(c, &t, at + 4);
		size_t len = t.p[at + len_at[pick]], repl_len = t.p[at + len_at[pick] + 1];
		const uint8_t *r = code_at(c, repl, &avail);

		bad += !tests[pick](c, &t, at);
		if (tests[pick](c, &t, at))
			alternative_context(c, &t, at, strides[pick], len_at[pick]);
		add_target(c, site, TARGET_ALTERNATIVE);
		add_target(c, image_wrap(c->img, site + len), TARGET_ALTERNATIVE);
		add_rewritten(c, site, len, TARGET_ALTERNATIVE);
		if (!r || !repl_len || repl_len > avail)
			continue;
		/* The replacement runs at the site; its leading CALL or JMP is re-aimed at the same target.
		 */
		add_target(c, repl, TARGET_ALTERNATIVE);
		if (repl_len >= 5 && (r[0] == 0xe8 || r[0] == 0xe9))
			add_target(c, image_wrap(c->img, repl + 5 + (int64_t)les32(r + 1)),
				   TARGET_ALTERNATIVE);
	}
	table_note_bad(c, &t, bad, n);
}

/* --- paravirt: struct paravirt_patch_site { u8 *instr; u8 type, len }, a word aligned --- */

static void collect_paravirt(struct collect *c)
{
	size_t word = c->img->width / 8, stride = 2 * word, bad = 0, n = 0;
	struct table t;

	if (!table_by_section(c, &t, ".parainstructions") &&
	    !table_by_symbols(c, &t, "__parainstructions", "__parainstructions_end"))
		return;
	for (size_t at = 0; t.size - at >= stride; at += stride, n++) {
		uint64_t site = word_address(c, t.p + at);

		bad += !is_code(c, site);
		add_target(c, site, TARGET_PARAVIRT);
		add_rewritten(c, site, t.p[at + word + 1], TARGET_PARAVIRT);
		add_context_site(c, site, t.p[at + word + 1], TARGET_PARAVIRT);
	}
	table_note_bad(c, &t, bad, n);
}

/* --- lists of sites: one PC-relative word each; zeros are the section's padding --- */

static size_t one_byte(const uint8_t *p, size_t avail)
{
	(void)avail;
	return *p == 0xf0 || *p == 0x3e;
}

static size_t endbr_len(const uint8_t *p, size_t avail)
{
	(void)p;
	return avail >= 4 ? 4 : 0;
}

/* CALL, JMP or Jcc rel32 to a thunk, perhaps with CS prefixes that make room. */
static size_t branch_len(const uint8_t *p, size_t avail)
{
	size_t n = 0;

	while (n < avail && n < 4 && p[n] == 0x2e)
		n++;
	if (avail - n >= 5 && (p[n] == 0xe8 || p[n] == 0xe9))
		return n + 5;
	return avail - n >= 6 && p[n] == 0x0f && (p[n + 1] & 0xf0) == 0x80 ? n + 6 : 0;
}

static void collect_sites(struct collect *c)
{
	/* Retpoline and return thunks, and ENDBR seals, are patched by alternative.c of Linux as well. */
	static const struct {
		const char *section, *start, *stop;
		enum target_source source;
		size_t (*len)(const uint8_t *p, size_t avail);
	} lists[] = {
	    /* clang-format off */
		{".smp_locks", "__smp_locks", "__smp_locks_end", TARGET_SMP_LOCK, one_byte},
		{".retpoline_sites", "__retpoline_sites", "__retpoline_sites_end", TARGET_ALTERNATIVE, branch_len},
		{".return_sites", "__return_sites", "__return_sites_end", TARGET_ALTERNATIVE, branch_len},
		{".call_sites", "__call_sites", "__call_sites_end", TARGET_ALTERNATIVE, branch_len},
		{".ibt_endbr_seal", "__ibt_endbr_seal", "__ibt_endbr_seal_end", TARGET_ALTERNATIVE, endbr_len},
	    /* clang-format on */
	};
	struct table t;

	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
		size_t bad = 0, n = 0, avail;

		if (!table_by_section(c, &t, lists[i].section) &&
		    !table_by_symbols(c, &t, lists[i].start, lists[i].stop))
			continue;
		for (size_t at = 0; t.size - at >= 4; at += 4) {
			uint64_t site = prel(c, &t, at);
			const uint8_t *p = code_at(c, site, &avail);
			size_t len = p ? lists[i].len(p, avail) : 0;

			if (!le32(t.p + at))
				continue;
			n++;
			bad += !len;
			if (!len)
				continue;
			add_target(c, site, lists[i].source);
			add_rewritten(c, site, len, lists[i].source);
			add_context_site(c, site, len, lists[i].source);
		}
		table_note_bad(c, &t, bad, n);
	}
}

/* --- ftrace: words that hold the addresses of `call __fentry__`, sorted at build time --- */

static bool ftrace_site(const struct collect *c, uint64_t va)
{
	size_t avail;
	const uint8_t *p = code_at(c, va, &avail);
	uint64_t jump;

	return p && avail >= 5 && (p[0] == 0xe8 || (label_len(c, va, &jump) == 5 && !jump));
}

static bool ftrace_entry(const struct collect *c, const struct table *t, size_t at)
{
	size_t word = c->img->width / 8;
	uint64_t va = word_address(c, t->p + at);

	/* Ascending: function tables such as sys_call_table hold such addresses too, but in another order. */
	return ftrace_site(c, va) && (at < word || at % word || word_address(c, t->p + at - word) < va ||
				      !ftrace_site(c, word_address(c, t->p + at - word)));
}

/* The calls inside ftrace's own trampolines are switched from tracer to tracer. */
static void collect_ftrace_calls(struct collect *c)
{
	static const char *const names[] = {"ftrace_call", "ftrace_regs_call", "ftrace_graph_call"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const struct image_symbol *s = image_symbol_named(c->img, names[i]);

		if (s)
			add_rewritten(c, s->va, 5, TARGET_FTRACE_SITE);
		if (s)
			add_target(c, s->va, TARGET_FTRACE_SITE);
	}
}

static void collect_ftrace(struct collect *c)
{
	size_t word = c->img->width / 8, bad = 0, n = 0;
	struct table t;

	if (!table_by_section(c, &t, "__mcount_loc") &&
	    !table_by_symbols(c, &t, "__start_mcount_loc", "__stop_mcount_loc") &&
	    !table_hunt(c, &t, "__mcount_loc (by content)", ".init.data", word, 2 * TABLE_HUNT_MIN,
			ftrace_entry))
		return;
	for (size_t at = 0; t.size - at >= word; at += word, n++) {
		uint64_t va = word_address(c, t.p + at);

		bad += !ftrace_site(c, va);
		add_target(c, va, TARGET_FTRACE_SITE);
		add_rewritten(c, va, 5, TARGET_FTRACE_SITE);
		if (ftrace_site(c, va))
			add_context_site(c, va, 5, TARGET_FTRACE_SITE);
	}
	table_note_bad(c, &t, bad, n);
}

void collect_patch_sites(struct collect *c)
{
	collect_jump_labels(c);
	collect_static_call_sites(c);
	collect_trampolines(c);
	collect_alternatives(c);
	collect_paravirt(c);
	collect_sites(c);
	collect_ftrace(c);
	collect_ftrace_calls(c);
}
