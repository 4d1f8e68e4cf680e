// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Does the verifier refuse what is wrong? A good patched image is spoiled in every way that this file can think of,
 * one way at a time; each spoiled file must be refused, and the good one accepted. The small kernel of
 * verify_fixture.h gets all of it, a real kernel (if `make guests` has fetched one) a sample.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <elf.h>
#include <errno.h>

#include "hypercalls/abi.h"
#include "hypercalls/policy.h"
#include "tests/unit/verify_fixture.h"

/* Under the sanitizers every run costs ten times as much: take a sample of the bits. */
#ifdef __SANITIZE_ADDRESS__
#define STRIDE 11
#else
#define STRIDE 1
#endif

/* An image, its honest patch, and the verifier's knowledge of it. */
struct subject {
	const char *path;
	struct analysis a;
	struct patch p;
	struct verify_source *src;
	uint8_t *file;		/* a scratch copy of p.file */
	size_t manifest, stubs; /* offsets in the file */
	size_t rejected;
};

static struct subject small;
static int small_fd;
static char small_path[64];

static Elf32_Shdr section_named(const uint8_t *file, const char *name)
{
	Elf32_Ehdr eh;
	Elf32_Shdr sh = {0}, names;

	memcpy(&eh, file, sizeof(eh));
	memcpy(&names, file + eh.e_shoff + eh.e_shstrndx * sizeof(sh), sizeof(sh));
	for (unsigned i = 0; i < eh.e_shnum; i++) {
		memcpy(&sh, file + eh.e_shoff + i * sizeof(sh), sizeof(sh));
		if (!strcmp((const char *)file + names.sh_offset + sh.sh_name, name))
			return sh;
	}
	fail_msg("no section %s", name);
	return sh;
}

static bool accepts(const struct subject *s, const uint8_t *file, size_t size, char *why, size_t cap)
{
	struct verify_result r;
	struct diag d = {""};
	int err = verify_check(s->src, file, size, &r, &d);

	if (err && err != -EBADMSG)
		fail_msg("verify_check: %s", d.text);
	assert_int_equal(err == -EBADMSG, r.failures > 0);
	snprintf(why, cap, "%.*s", (int)strcspn(r.text, "\n"), r.text);
	free(r.text);
	return !err;
}

static void must_refuse(struct subject *s, const uint8_t *file, size_t size, const char *what, size_t where)
{
	char why[256];

	if (accepts(s, file, size, why, sizeof(why)))
		fail_msg("accepted: %s (0x%zx, manifest + 0x%zx)", what, where, where - s->manifest);
	s->rejected++;
}

static void subject_load(struct subject *s, const char *path)
{
	struct analysis_options opt = {0};
	struct diag d = {""};
	char why[256];

	*s = (struct subject){.path = path};
	if (analysis_load(&s->a, path, &opt, &d) || patch_build(&s->p, &s->a, s->a.recipe.hole_base, &d))
		fail_msg("%s", d.text);
	s->src = verify_source_load(&s->a.img, 2, &d);
	if (!s->src)
		fail_msg("%s", d.text);
	s->file = malloc(s->p.file_size);
	memcpy(s->file, s->p.file, s->p.file_size);
	s->manifest = section_named(s->file, MANIFEST_SECTION).sh_offset;
	s->stubs = section_named(s->file, MANIFEST_STUB_SECTION).sh_offset;
	if (!accepts(s, s->file, s->p.file_size, why, sizeof(why)))
		fail_msg("the honest patch is refused: %s", why);
}

static void subject_free(struct subject *s)
{
	free(s->file);
	verify_source_free(s->src);
	patch_free(&s->p);
	analysis_free(&s->a);
}

static int setup(void **state)
{
	static struct vfx_file f;

	(void)state;
	vfx_build(&f);
	vfx_path(&f, small_path, sizeof(small_path), &small_fd);
	subject_load(&small, small_path);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	subject_free(&small);
	close(small_fd);
	return 0;
}

/* ---- single bits ---- */

static void flip(struct subject *s, size_t at, unsigned bit, const char *what)
{
	s->file[at] ^= 1u << bit;
	must_refuse(s, s->file, s->p.file_size, what, at);
	s->file[at] ^= 1u << bit;
}

/* Offsets in the manifest of its tables. */
struct tables {
	size_t windows, sites, points, verified, starts, originals, strings, end;
};

static struct tables tables_of(const struct subject *s)
{
	const struct manifest_header *h = &s->p.m.h;
	struct tables t = {.windows = s->manifest + sizeof(*h)};

	t.sites = t.windows + h->n_windows * sizeof(struct manifest_window);
	t.points = t.sites + h->n_sites * sizeof(struct manifest_site);
	t.verified = t.points + h->n_points * sizeof(struct manifest_point);
	t.starts = t.verified + h->n_verified * sizeof(struct manifest_range);
	t.originals = t.starts + h->n_starts;
	t.strings = t.originals + h->n_originals;
	t.end = t.strings + h->n_strings;
	return t;
}

static bool within(size_t at, size_t start, size_t len)
{
	return at >= start && at - start < len;
}

/* Bytes that mean nothing to the machine: text for people, and where it is found. */
static bool is_text(const struct subject *s, size_t at)
{
	struct tables t = tables_of(s);

	if (within(at, s->manifest + offsetof(struct manifest_header, append), 8) ||
	    within(at, t.strings, t.end - t.strings))
		return true;
	return within(at, t.sites, t.points - t.sites) &&
	       (at - t.sites) % sizeof(struct manifest_site) >= offsetof(struct manifest_site, reason);
}

/* Alignments in the added headers are hints. */
static bool is_alignment(const uint8_t *file, size_t at)
{
	Elf32_Ehdr eh;

	memcpy(&eh, file, sizeof(eh));
	if (within(at, eh.e_phoff, eh.e_phnum * sizeof(Elf32_Phdr)))
		return (at - eh.e_phoff) % sizeof(Elf32_Phdr) >= offsetof(Elf32_Phdr, p_align);
	if (within(at, eh.e_shoff, eh.e_shnum * sizeof(Elf32_Shdr))) {
		size_t in = (at - eh.e_shoff) % sizeof(Elf32_Shdr);

		return in >= offsetof(Elf32_Shdr, sh_addralign) && in < offsetof(Elf32_Shdr, sh_entsize);
	}
	return false;
}

/* Bits of the bitmap that stand for int3: it traps, whether it is listed or not. */
static uint8_t int3_bits(const struct subject *s, size_t at)
{
	struct tables t = tables_of(s);
	uint8_t bits = 0;
	size_t off = (at - t.starts) * 8, avail;

	if (!within(at, t.starts, t.originals - t.starts))
		return 0;
	for (uint32_t i = 0; i < s->p.m.h.n_verified; i++) {
		const struct manifest_range *r = &s->p.m.verified[i];

		if (off >= r->end - r->start) {
			off -= r->end - r->start;
			continue;
		}
		for (unsigned k = 0; k < 8; k++) {
			const uint8_t *p = image_bytes(&s->a.img, r->start + off + k, &avail);

			bits |= (p && *p == 0xcc) << k;
		}
		return bits;
	}
	return bits;
}

static void test_every_byte_of_the_file(void **state)
{
	struct subject *s = &small;

	(void)state;
	for (size_t i = 0; i < s->p.file_size; i += STRIDE)
		if (!is_text(s, i) && !is_alignment(s->p.file, i) && !(int3_bits(s, i) >> i * 5 % 8 & 1))
			flip(s, i, i * 5 % 8, "a bit of the file");
}

static void test_every_bit_of_stubs_and_pads(void **state)
{
	struct subject *s = &small;

	(void)state;
	for (size_t i = 0; i < 8 * (size_t)s->p.m.h.stubs_size; i += STRIDE)
		flip(s, s->stubs + i / 8, i % 8, "a bit of the stubs");
}

static void test_every_bit_of_windows_and_hops(void **state)
{
	struct subject *s = &small;

	(void)state;
	for (uint32_t w = 0; w < s->p.m.h.n_windows; w++) {
		const struct manifest_window *win = &s->p.m.windows[w];

		for (size_t i = 0; i < 8 * (size_t)win->len; i++)
			flip(s, VFX_IMAGE_OFFSET + win->va - VFX_BASE + i / 8, i % 8, "a bit of a window");
		for (size_t i = 0; win->hop != MANIFEST_NONE && i < 8 * 5; i++)
			flip(s, VFX_IMAGE_OFFSET + win->hop - VFX_BASE + i / 8, i % 8, "a bit of a hop");
	}
}

static void test_every_bit_of_the_manifest(void **state)
{
	struct subject *s = &small;
	struct tables t = tables_of(s);

	(void)state;
	for (size_t i = s->manifest; i < t.starts; i++)
		for (unsigned bit = i % STRIDE; bit < 8; bit += STRIDE)
			if (!is_text(s, i))
				flip(s, i, bit, "a bit of the manifest");
}

/* ---- fields that get plausible values ---- */

static void set_word(struct subject *s, size_t at, uint32_t v, const char *what)
{
	uint32_t was = vfx_word(s->file + at);

	if (v == was)
		return;
	memcpy(s->file + at, &v, sizeof(v));
	must_refuse(s, s->file, s->p.file_size, what, at);
	memcpy(s->file + at, &was, sizeof(was));
}

/* Every word of a table of n records: neighbours' values, nothing at all, one more and one less. */
static void spoil_table(struct subject *s, size_t table, size_t n, size_t record, const char *what)
{
	for (size_t at = table; at < table + n * record; at += 4) {
		uint32_t v = vfx_word(s->file + at);

		if (is_text(s, at))
			continue;
		set_word(s, at, v + 1, what);
		set_word(s, at, v - 1, what);
		set_word(s, at, 0, what);
		set_word(s, at, MANIFEST_NONE, what);
		if (at >= table + record)
			set_word(s, at, vfx_word(s->file + at - record), what);
		if (at + record < table + n * record)
			set_word(s, at, vfx_word(s->file + at + record), what);
	}
}

static void test_plausible_fields(void **state)
{
	struct subject *s = &small;
	const struct manifest_header *h = &s->p.m.h;
	struct tables t = tables_of(s);

	(void)state;
	spoil_table(s, t.windows, h->n_windows, sizeof(struct manifest_window), "a field of a window");
	spoil_table(s, t.sites, h->n_sites, sizeof(struct manifest_site), "a field of a site");
	spoil_table(s, t.points, h->n_points, sizeof(struct manifest_point), "a field of a point");
	spoil_table(s, t.verified, h->n_verified, sizeof(struct manifest_range),
		    "a field of a verified range");
}

/* ---- a patcher that is wrong, but consistent ---- */

/* Patch what the plan says, however wrong, and let the verifier see it. False if the emitter would not. */
static bool refuse_if_built(struct subject *s, struct analysis *a, const char *what, size_t where)
{
	struct diag d = {""};
	struct patch p;

	if (patch_build(&p, a, a->recipe.hole_base, &d))
		return false;
	must_refuse(s, p.file, p.file_size, what, where);
	patch_free(&p);
	return true;
}

static void refuse_plan(struct subject *s, struct analysis *a, const char *what, size_t where)
{
	if (!refuse_if_built(s, a, what, where))
		fail_msg("%s (0x%zx): patch_build() fails", what, where);
}

static void replan(struct analysis *a)
{
	struct diag d = {""};

	plan_free(&a->plan);
	for (size_t i = 0; i < a->cfg.n_sections; i++)
		for (size_t k = 0; a->cfg.sections[i].marks && k < a->cfg.sections[i].sec->size; k++)
			a->cfg.sections[i].marks[k] &= ~CFG_WINDOW;
	if (plan_build(&a->plan, &a->cfg, a->recipe.exit_only, a->recipe.n_exit_only, &d))
		fail_msg("%s", d.text);
}

static void analysis_again(const struct subject *s, struct analysis *a)
{
	struct analysis_options opt = {0};
	struct diag d = {""};

	if (analysis_load(a, s->path, &opt, &d))
		fail_msg("%s", d.text);
}

/* Recover and plan once more with what is left of a->targets. */
static void reanalyse(struct analysis *a)
{
	struct diag d = {""};

	cfg_free(&a->cfg);
	if (cfg_build(&a->cfg, &a->img, &a->targets, &d))
		fail_msg("%s", d.text);
	replan(a);
}

/* Forget the sites in [start, end), as a patcher whose table lacks them would. */
static void forget_sites(struct analysis *a, uint32_t start, uint32_t end)
{
	size_t n = 0;

	for (size_t i = 0; i < a->cfg.n_sites; i++)
		if (a->cfg.sites[i].va < start || a->cfg.sites[i].va >= end)
			a->cfg.sites[n++] = a->cfg.sites[i];
	a->cfg.n_sites = n;
}

static bool in_window(const struct analysis *a, uint32_t start, uint32_t end)
{
	for (size_t i = 0; i < a->plan.n_windows; i++)
		if (a->plan.windows[i].va < end && a->plan.windows[i].va + a->plan.windows[i].len > start)
			return true;
	return false;
}

/* Sensitive instructions that the patcher does not know, left on a page that it calls verified. */
static void test_smuggled_instructions(void **state)
{
	struct subject *s = &small;
	unsigned n = 0;

	(void)state;
	for (uint32_t i = 0; i < s->p.m.h.n_windows; i++) {
		const struct manifest_window *w = &s->p.m.windows[i];
		struct analysis a;

		if (w->va >= vfx_symbol("t_unverified"))
			continue;
		analysis_again(s, &a);
		forget_sites(&a, w->va, w->va + w->len);
		replan(&a);
		/* Where a neighbour's window takes them in, the emitter finds out by itself. */
		if (!in_window(&a, w->va, w->va + w->len)) {
			refuse_plan(s, &a, "sensitive instructions that are not in the table", w->va);
			n++;
		}
		analysis_free(&a);
	}
	assert_true(n >= 20);
}

/* A silent instruction where the kernel writes itself gets an int3; a plan that leaves it bare is refused. */
static void test_unserved_instruction_on_a_verified_page(void **state)
{
	struct subject *s = &small;
	unsigned n = 0;

	(void)state;
	for (size_t i = 0; i < s->a.plan.n_sites; i++) {
		uint32_t va = (uint32_t)s->a.plan.sites[i].site->va;
		struct analysis a;

		if (va < vfx_symbol("t_unverified") || s->a.plan.sites[i].tactic != TACTIC_BREAKPOINT)
			continue;
		analysis_again(s, &a);
		/* As if the table called it something that traps, or that needs no patch. */
		a.cfg.sites[i].op = OP_HLT;
		replan(&a);
		assert_int_equal(a.plan.sites[i].tactic, TACTIC_TRAP);
		refuse_plan(s, &a, "an instruction that may not trap, said to trap", va);
		a.cfg.sites[i].op = OP_RDTSC;
		replan(&a);
		assert_int_equal(a.plan.sites[i].tactic, TACTIC_VERBATIM);
		refuse_plan(s, &a, "an instruction that may not trap, said to need nothing", va);
		analysis_free(&a);
		n++;
	}
	assert_int_equal(n, 1);
}

static bool drop_targets(struct targets *t, uint8_t source)
{
	size_t n = 0, was = t->n_targets;

	for (size_t i = 0; i < was; i++)
		if (t->targets[i].source != source)
			t->targets[n++] = t->targets[i];
	t->n_targets = n;
	return n != was;
}

static bool drop_rewritten(struct targets *t, uint8_t source)
{
	size_t n = 0, was = t->n_rewritten;

	for (size_t i = 0; i < was; i++)
		if (t->rewritten[i].source != source)
			t->rewritten[n++] = t->rewritten[i];
	t->n_rewritten = n;
	return n != was;
}

/* A patcher that knows no jump labels, symbols or relocations puts windows onto them. */
static void refuse_without(struct subject *s, uint8_t source, bool rewritten, const char *what)
{
	struct analysis a;

	analysis_again(s, &a);
	if (!(rewritten ? drop_rewritten(&a.targets, source) : drop_targets(&a.targets, source)))
		fail_msg("%s: nothing to leave out", what);
	reanalyse(&a);
	refuse_plan(s, &a, what, source);
	analysis_free(&a);
}

/* Let window w of the plan take in what stands behind it, until it covers va. False if it cannot. */
static bool grow_onto(struct analysis *a, size_t w, uint32_t va)
{
	struct plan_window *win = &a->plan.windows[w];

	if (win->hop != MANIFEST_NONE || win->tactic == TACTIC_BREAKPOINT ||
	    win->tactic == TACTIC_WINDOW_TAIL)
		return false;
	while (win->va + win->len <= va) {
		uint32_t next = win->va + win->len;
		struct insn insn;
		int len = cfg_decode(&a->cfg, next, &insn);

		if (len <= 0 || insn.flow != FLOW_NEXT || insn_is_sensitive(&insn) ||
		    (w + 1 < a->plan.n_windows && next + len > a->plan.windows[w + 1].va) ||
		    cfg_marks(&a->cfg, next) & (CFG_REWRITTEN | CFG_WINDOW))
			return false;
		win->len += len;
		win->n_insns++;
		win->tactic = TACTIC_WINDOW;
	}
	return true;
}

/* A window that lies on the target and serves its sites well otherwise. Returns how many could be made. */
static unsigned refuse_grown(struct subject *s, uint8_t source, unsigned max)
{
	unsigned done = 0;

	for (size_t i = 0; i < s->a.targets.n_targets && done < max; i++) {
		uint32_t va = s->a.targets.targets[i].va;

		if (s->a.targets.targets[i].source != source)
			continue;
		for (size_t w = 0; w < s->a.plan.n_windows; w++) {
			struct plan_window was = s->a.plan.windows[w];

			if (was.va + was.len > va || va - was.va > PLAN_WINDOW_MAX)
				continue;
			if (grow_onto(&s->a, w, va))
				done += refuse_if_built(s, &s->a, "a window grown onto a target", va);
			s->a.plan.windows[w] = was;
		}
	}
	return done;
}

static void test_grown_windows(void **state)
{
	(void)state;
	assert_true(refuse_grown(&small, TARGET_JUMP_LABEL, 99) >= 1);
	assert_true(refuse_grown(&small, TARGET_RELOC, 99) >= 1);
	assert_true(refuse_grown(&small, TARGET_SYMBOL, 99) >= 1);
}

static bool serves_a_site(const struct analysis *a, size_t w)
{
	for (size_t i = 0; i < a->plan.n_sites; i++)
		if (a->plan.sites[i].window == w)
			return true;
	return false;
}

/* A branch into the middle of a window must itself be displaced; here it is left where it was. */
static void test_relays_left_out(void **state)
{
	struct subject *s = &small;
	unsigned n = 0;

	(void)state;
	for (size_t w = 0; w < s->a.plan.n_windows; w++) {
		struct analysis a;

		if (serves_a_site(&s->a, w))
			continue;
		analysis_again(s, &a);
		memmove(&a.plan.windows[w], &a.plan.windows[w + 1],
			(a.plan.n_windows - w - 1) * sizeof(a.plan.windows[0]));
		a.plan.n_windows--;
		for (size_t i = 0; i < a.plan.n_sites; i++)
			if (a.plan.sites[i].window != MANIFEST_NONE && a.plan.sites[i].window > w)
				a.plan.sites[i].window--;
		refuse_plan(s, &a, "a branch into a window", s->a.plan.windows[w].va);
		analysis_free(&a);
		n++;
	}
	assert_true(n >= 1);
}

static void test_windows_on_targets(void **state)
{
	(void)state;
	refuse_without(&small, TARGET_JUMP_LABEL, false, "windows on jump-label targets");
	refuse_without(&small, TARGET_SYMBOL, false, "windows on symbols");
	refuse_without(&small, TARGET_RELOC, false, "windows on relocation targets");
}

static void test_windows_on_rewritten_bytes(void **state)
{
	(void)state;
	refuse_without(&small, TARGET_ALTERNATIVE, true, "windows on alternatives");
	refuse_without(&small, TARGET_PARAVIRT, true, "windows on paravirt sites");
	refuse_without(&small, TARGET_SMP_LOCK, true, "windows on lock prefixes");
	refuse_without(&small, TARGET_FTRACE_SITE, true, "windows on ftrace sites");
}

/* ---- exchanges: each part is good, but stands in the wrong place ---- */

static void swap(uint8_t *a, uint8_t *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t x = a[i];

		a[i] = b[i];
		b[i] = x;
	}
}

static void put_jump(struct subject *s, uint32_t va, uint32_t target)
{
	uint32_t rel = target - (va + 5);

	memcpy(s->file + VFX_IMAGE_OFFSET + va - VFX_BASE + 1, &rel, 4);
}

static void restore(struct subject *s)
{
	memcpy(s->file, s->p.file, s->p.file_size);
}

/* Window i jumps to j's stub and the other way round, in the bytes and in the manifest. */
static void test_exchanged_stubs(void **state)
{
	struct subject *s = &small;
	struct tables t = tables_of(s);
	const struct manifest_window *w = s->p.m.windows;

	(void)state;
	for (uint32_t i = 0; i + 1 < s->p.m.h.n_windows; i++) {
		uint8_t *a = s->file + t.windows + i * sizeof(*w) + offsetof(struct manifest_window, stub);

		if (w[i].stub == MANIFEST_NONE || w[i + 1].stub == MANIFEST_NONE)
			continue;
		swap(a, a + sizeof(*w), 8);
		put_jump(s, w[i].hop == MANIFEST_NONE ? w[i].va : w[i].hop, w[i + 1].stub);
		put_jump(s, w[i + 1].hop == MANIFEST_NONE ? w[i + 1].va : w[i + 1].hop, w[i].stub);
		must_refuse(s, s->file, s->p.file_size, "two windows with each other's stub", w[i].va);
		restore(s);
	}
}

/* The landing pads of two sites exchanged in the table: each would be served as the other. */
static void test_exchanged_pads(void **state)
{
	struct subject *s = &small;
	struct tables t = tables_of(s);
	uint32_t last = MANIFEST_NONE;

	(void)state;
	for (uint32_t i = 0; i < s->p.m.h.n_sites; i++) {
		size_t at = t.sites + i * sizeof(struct manifest_site) + offsetof(struct manifest_site, pad);

		if (s->p.m.sites[i].pad == MANIFEST_NONE)
			continue;
		if (last != MANIFEST_NONE) {
			swap(s->file + at, s->file + at - (i - last) * sizeof(struct manifest_site), 4);
			must_refuse(s, s->file, s->p.file_size, "two sites with each other's pad", i);
			restore(s);
		}
		last = i;
	}
}

/* Bytes of any length at random places (seeded): stubs, windows, manifest. */
static uint32_t seed = 12345;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)seed * below >> 32);
}

static void spoil_at(struct subject *s, size_t at, size_t room, const char *what)
{
	size_t len = 1 + rnd(room < 8 ? room : 8);

	for (size_t i = 0; i < len; i++) {
		uint8_t keep = int3_bits(s, at + i);

		s->file[at + i] = (rnd(256) & ~keep) | (s->file[at + i] & keep);
	}
	if (memcmp(s->file + at, s->p.file + at, len))
		must_refuse(s, s->file, s->p.file_size, what, at);
	memcpy(s->file + at, s->p.file + at, len);
}

static void spoil_randomly(struct subject *s, unsigned times)
{
	struct tables t = tables_of(s);

	for (unsigned i = 0; i < times; i++) {
		size_t room = s->p.m.h.stubs_size, at = rnd(room - 8);

		spoil_at(s, s->stubs + at, 8, "random bytes in the stubs");
		at = t.windows + rnd(t.sites - t.windows - 8);
		spoil_at(s, at, 8, "random bytes in the windows' table");
		at = t.points + rnd(t.verified - t.points - 8);
		spoil_at(s, at, 8, "random bytes in the restart points");
		at = t.starts + rnd(t.originals - t.starts - 8);
		spoil_at(s, at, 8, "random bytes in the bitmap");
		at = 0x1000 + rnd(s->a.img.elf_size - 0x1000 - 8);
		spoil_at(s, at, 8, "random bytes in the kernel");
	}
}

static void test_random_bytes(void **state)
{
	(void)state;
	spoil_randomly(&small, 400);
}

static void test_truncated_and_foreign(void **state)
{
	struct subject *s = &small;

	(void)state;
	for (size_t size = 0; size < s->p.file_size; size += 97)
		must_refuse(s, s->file, size, "a truncated file", size);
	must_refuse(s, s->a.img.file, s->a.img.file_size, "the source itself", 0);
}

static void test_real_kernel(void **state)
{
	const char *path = getenv("PARAVANE_TEST_KERNEL");
	struct subject s;

	(void)state;
	if (!path)
		path = "build/guests/vmlinuz-686";
	if (access(path, R_OK)) {
		print_message("no %s: `make guests` fetches it\n", path);
		skip();
	}
	subject_load(&s, path);
	spoil_randomly(&s, 6);
	assert_true(refuse_grown(&s, TARGET_JUMP_LABEL, 3) >= 1);
	refuse_without(&s, TARGET_ALTERNATIVE, true, "windows on alternatives");
	refuse_without(&s, TARGET_SMP_LOCK, true, "windows on lock prefixes");
	refuse_without(&s, TARGET_JUMP_LABEL_SITE, true, "windows on jump-label sites");
	print_message("%zu mutations of %s refused\n", s.rejected, path);
	subject_free(&s);
}

static void test_enough(void **state)
{
	(void)state;
	print_message("%zu mutations of the small kernel refused\n", small.rejected);
	assert_true(small.rejected >= 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_byte_of_the_file),
	    cmocka_unit_test(test_every_bit_of_stubs_and_pads),
	    cmocka_unit_test(test_every_bit_of_windows_and_hops),
	    cmocka_unit_test(test_every_bit_of_the_manifest),
	    cmocka_unit_test(test_plausible_fields),
	    cmocka_unit_test(test_smuggled_instructions),
	    cmocka_unit_test(test_unserved_instruction_on_a_verified_page),
	    cmocka_unit_test(test_windows_on_targets),
	    cmocka_unit_test(test_grown_windows),
	    cmocka_unit_test(test_relays_left_out),
	    cmocka_unit_test(test_windows_on_rewritten_bytes),
	    cmocka_unit_test(test_exchanged_stubs),
	    cmocka_unit_test(test_exchanged_pads),
	    cmocka_unit_test(test_random_bytes),
	    cmocka_unit_test(test_truncated_and_foreign),
	    cmocka_unit_test(test_enough),
	    cmocka_unit_test(test_real_kernel),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
