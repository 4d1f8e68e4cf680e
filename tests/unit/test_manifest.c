// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The manifest: what goes in comes out; each rule of manifest_check.c is broken once and must be named; and
 * random damage never does worse than a refusal (build with MODE=asan for the full meaning of that).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypercalls/abi.h"
#include "hypercalls/manifest.h"
#include "hypercalls/policy.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define HOLE ABI_HOLE_BASE
#define STUBS (HOLE + ABI_STUBS)
#define TEXT 0xc1000000u

/* ---- a small manifest with every tactic ---- */

static struct manifest_window windows[] = {
    {TEXT + 0x10, 6, STUBS + 0x00, 0x20, MANIFEST_NONE, 0, TACTIC_IN_PLACE},
    {TEXT + 0x20, 7, STUBS + 0x20, 0x20, MANIFEST_NONE, 6, TACTIC_WINDOW},
    {TEXT + 0x27, 5, STUBS + 0x40, 0x20, MANIFEST_NONE, 13, TACTIC_WINDOW_TAIL},
    {TEXT + 0x40, 2, STUBS + 0x60, 0x20, TEXT + 0x60, 18, TACTIC_HOP},
    {TEXT + 0x50, 1, MANIFEST_NONE, 0, MANIFEST_NONE, 25, TACTIC_BREAKPOINT},
    {TEXT + 0x70, 2, STUBS + 0x80, 0x20, TEXT + 0x65, 26, TACTIC_HOP},
};

static struct manifest_site sites[] = {
    {TEXT + 0x10, 0, STUBS + 0xa0, STUBS + 0x06, OP_LGDT, 6, TACTIC_IN_PLACE, 0},
    {TEXT + 0x21, 1, MANIFEST_NONE, STUBS + 0x28, OP_CLI, 1, TACTIC_WINDOW, 0},
    {TEXT + 0x24, 1, MANIFEST_NONE, STUBS + 0x30, OP_RDTSC, 2, TACTIC_VERBATIM, 0},
    {TEXT + 0x27, 2, STUBS + 0xab, STUBS + 0x50, OP_POPF, 1, TACTIC_WINDOW_TAIL, 0},
    {TEXT + 0x40, 3, STUBS + 0xb6, STUBS + 0x70, OP_CPUID, 2, TACTIC_HOP, 0},
    {TEXT + 0x50, 4, MANIFEST_NONE, MANIFEST_NONE, OP_PUSHF, 1, TACTIC_BREAKPOINT, 1},
    {TEXT + 0x55, MANIFEST_NONE, MANIFEST_NONE, MANIFEST_NONE, OP_HLT, 1, TACTIC_TRAP, 1},
    {TEXT + 0x58, MANIFEST_NONE, MANIFEST_NONE, MANIFEST_NONE, OP_RDTSC, 2, TACTIC_VERBATIM, 0},
    {TEXT + 0x70, 5, MANIFEST_NONE, STUBS + 0x90, OP_STI, 1, TACTIC_HOP, 0},
    {TEXT + 0x1010, MANIFEST_NONE, MANIFEST_NONE, MANIFEST_NONE, OP_POPF, 1, TACTIC_NONE, 1},
};

static struct manifest_point points[] = {
    {STUBS + 0x00, TEXT + 0x10, POINT_BOUNDARY, 0, 0},
    {STUBS + 0x06, TEXT + 0x16, POINT_AFTER, 0, 0},
    {STUBS + 0x20, TEXT + 0x20, POINT_BOUNDARY, POINT_SHADOW, 0},
    {STUBS + 0x22, TEXT + 0x21, POINT_INSIDE, POINT_SCRATCH0 | POINT_SCRATCH1, 0},
};

static struct manifest_range verified[] = {{TEXT, TEXT + 0x1000}, {TEXT + 0x2000, TEXT + 0x4000}};
static uint8_t starts[3 * 512];
static uint8_t originals[64];
static char strings[] = "\0one byte, and a branch target behind it\0reservetop=0x8000000";

static struct manifest sample(void)
{
	struct manifest m = {.windows = windows,
			     .sites = sites,
			     .points = points,
			     .verified = verified,
			     .starts = starts,
			     .originals = originals,
			     .strings = strings};

	for (size_t i = 0; i < COUNT(sites); i++)
		if (sites[i].va < TEXT + 0x1000)
			starts[(sites[i].va - TEXT) / 8] |= 1 << (sites[i].va - TEXT) % 8;
	for (size_t i = 0; i < COUNT(windows); i++)
		starts[(windows[i].va - TEXT) / 8] |= 1 << (windows[i].va - TEXT) % 8;
	for (size_t i = 0; i < COUNT(originals); i++)
		originals[i] = i * 7;
	memset(m.h.source_sha256, 0x5a, sizeof(m.h.source_sha256));
	memset(m.h.file_sha256, 0xa5, sizeof(m.h.file_sha256));
	m.h.hole_base = HOLE;
	m.h.hole_size = ABI_HOLE_SIZE;
	m.h.alias_delta = 0xc0000000;
	m.h.stubs_size = 0x100;
	m.h.setup_offset = 40;
	m.h.setup_size = 24;
	m.h.append = 41;
	m.h.n_windows = COUNT(windows);
	m.h.n_sites = COUNT(sites);
	m.h.n_points = COUNT(points);
	m.h.n_verified = COUNT(verified);
	m.h.n_starts = sizeof(starts);
	m.h.n_originals = sizeof(originals);
	m.h.n_strings = sizeof(strings);
	return m;
}

/* The tables of a saved manifest where they stand in its bytes, to be damaged. */
struct view {
	struct manifest_header *h;
	struct manifest_window *windows;
	struct manifest_site *sites;
	struct manifest_point *points;
	struct manifest_range *verified;
	uint8_t *starts, *originals;
	char *strings;
};

static struct view view(uint8_t *buf)
{
	struct view v = {.h = (struct manifest_header *)buf};

	v.windows = (struct manifest_window *)(v.h + 1);
	v.sites = (struct manifest_site *)(v.windows + v.h->n_windows);
	v.points = (struct manifest_point *)(v.sites + v.h->n_sites);
	v.verified = (struct manifest_range *)(v.points + v.h->n_points);
	v.starts = (uint8_t *)(v.verified + v.h->n_verified);
	v.originals = v.starts + v.h->n_starts;
	v.strings = (char *)v.originals + v.h->n_originals;
	return v;
}

static uint8_t *saved(size_t *size)
{
	struct manifest m = sample();
	struct diag d = {""};
	uint8_t *buf;

	if (manifest_save(&m, &buf, size, &d))
		fail_msg("%s", d.text);
	return buf;
}

/* ---- round trip ---- */

static void what_is_saved_is_loaded(void **state)
{
	struct manifest in = sample(), out;
	struct diag d = {""};
	uint8_t *buf, *again;
	size_t size, size2;
	(void)state;

	buf = saved(&size);
	if (manifest_load(&out, buf, size, &d))
		fail_msg("%s", d.text);
	assert_memory_equal(out.h.magic, MANIFEST_MAGIC, 8);
	assert_int_equal(out.h.version, ABI_VERSION);
	assert_int_equal(out.h.op_name_hash, manifest_op_name_hash());
	assert_memory_equal(out.h.source_sha256, in.h.source_sha256, 32);
	assert_memory_equal(out.h.file_sha256, in.h.file_sha256, 32);
	assert_int_equal(out.h.n_sites, COUNT(sites));
	assert_memory_equal(out.windows, windows, sizeof(windows));
	assert_memory_equal(out.sites, sites, sizeof(sites));
	assert_memory_equal(out.points, points, sizeof(points));
	assert_memory_equal(out.verified, verified, sizeof(verified));
	assert_memory_equal(out.starts, starts, sizeof(starts));
	assert_memory_equal(out.originals, originals, sizeof(originals));
	assert_memory_equal(out.strings, strings, sizeof(strings));
	assert_string_equal(out.strings + out.h.append, "reservetop=0x8000000");
	assert_int_equal(manifest_save(&out, &again, &size2, &d), 0);
	assert_int_equal(size2, size);
	assert_memory_equal(again, buf, size);
	manifest_free(&out);
	free(again);
	free(buf);
}

static void empty_tables_are_fine(void **state)
{
	struct manifest in = {.strings = strings}, out;
	struct diag d = {""};
	uint8_t *buf;
	size_t size;
	(void)state;

	in.h.hole_base = HOLE;
	in.h.hole_size = ABI_HOLE_SIZE;
	in.h.n_strings = 1;
	assert_int_equal(manifest_save(&in, &buf, &size, &d), 0);
	assert_int_equal(size, sizeof(struct manifest_header) + 1);
	assert_int_equal(manifest_load(&out, buf, size, &d), 0);
	manifest_free(&out);
	free(buf);
}

static void free_takes_a_zeroed_one(void **state)
{
	struct manifest m = {.windows = NULL};
	(void)state;

	manifest_free(&m);
	manifest_free(&m);
}

static void save_refuses_what_load_would(void **state)
{
	struct manifest m = sample();
	struct diag d = {""};
	uint8_t *buf = NULL;
	size_t size;
	(void)state;

	m.h.append = sizeof(strings);
	assert_int_equal(manifest_save(&m, &buf, &size, &d), -EINVAL);
	assert_null(buf);
	assert_non_null(strstr(d.text, "append"));
}

/* ---- each rule broken once ---- */

#define BREAK(name, ...)                                                                                     \
	static void break_##name(const struct view *v)                                                       \
	{                                                                                                    \
		__VA_ARGS__;                                                                                 \
	}
/* clang-format off */
BREAK(magic, v->h->magic[0] = 'X')
BREAK(version, v->h->version++)
BREAK(header_size, v->h->header_size += 4)
BREAK(op_hash, v->h->op_name_hash ^= 1)
BREAK(hole_align, v->h->hole_base += 1)
BREAK(hole_zero, v->h->hole_base = 0)
BREAK(hole_end, v->h->hole_size += 0x1000)
BREAK(hole_small, v->h->hole_size = ABI_HOLE_GUARD)
BREAK(stubs_size, v->h->stubs_size = ABI_HOLE_SIZE)
BREAK(stubs_short, v->h->stubs_size = 0x80)
BREAK(alias, v->h->alias_delta += 4)
BREAK(setup, v->h->setup_size += 1)
BREAK(setup_wrap, v->h->setup_offset = 0xfffffff0)
BREAK(append, v->h->append = v->h->n_strings)
BREAK(recipe, v->h->recipe = 0x80000000)
BREAK(strings_start, v->strings[0] = 'x')
BREAK(strings_end, v->strings[v->h->n_strings - 1] = 'x')
BREAK(win_tactic, v->windows[0].tactic = TACTIC_TRAP)
BREAK(win_tactic_unknown, v->windows[0].tactic = 0xffffffff)
BREAK(win_zero, v->windows[0].len = 0)
BREAK(win_short, v->windows[0].len = 4)
BREAK(win_overlap, v->windows[1].len = 8)
BREAK(win_order, v->windows[1].va = TEXT)
BREAK(win_wrap, v->windows[5].va = 0xfffffffe; v->windows[5].len = 5; v->windows[5].tactic = TACTIC_WINDOW)
BREAK(win_hole, v->windows[5].va = HOLE - 1)
BREAK(win_original, v->windows[0].original = 59)
BREAK(win_original_hop, v->windows[5].original = 58)
BREAK(win_original_wrap, v->windows[0].original = 0xffffffff)
BREAK(win_stub_before, v->windows[0].stub = STUBS - 1)
BREAK(win_stub_behind, v->windows[0].stub_len = 0x101)
BREAK(win_stub_none, v->windows[0].stub = MANIFEST_NONE)
BREAK(win_stub_empty, v->windows[0].stub_len = 0)
BREAK(win_stub_overlap, v->windows[1].stub = STUBS + 0x1f)
BREAK(win_bp_stub, v->windows[4].stub = STUBS)
BREAK(win_bp_hop, v->windows[4].hop = TEXT + 0x60)
BREAK(win_hop_stray, v->windows[0].hop = TEXT + 0x80)
BREAK(win_hop_far, v->windows[3].hop = TEXT + 0x42 + 0x80)
BREAK(win_hop_on_window, v->windows[3].hop = TEXT + 0x4d)
BREAK(win_hop_on_own, v->windows[3].hop = TEXT + 0x41)
BREAK(win_hop_overlap, v->windows[5].hop = TEXT + 0x64)
BREAK(win_hop_none, v->windows[3].hop = MANIFEST_NONE)
BREAK(site_op_none, v->sites[0].op = OP_NONE)
BREAK(site_op_unknown, v->sites[0].op = OP_COUNT)
BREAK(site_tactic, v->sites[0].tactic = TACTIC_COUNT)
BREAK(site_len_zero, v->sites[6].len = 0)
BREAK(site_len_long, v->sites[9].len = 16)
BREAK(site_order, v->sites[1].va = TEXT)
BREAK(site_overlap, v->sites[6].len = 4)
BREAK(site_window, v->sites[0].window = 6)
BREAK(site_other_window, v->sites[0].window = 1)
BREAK(site_sticks_out, v->sites[0].len = 7)
BREAK(site_no_window, v->sites[0].window = MANIFEST_NONE)
BREAK(site_trap_window, v->sites[1].tactic = TACTIC_TRAP)
BREAK(site_pad, v->sites[0].pad = STUBS + 0x100 - ABI_PAD_LEN + 1)
BREAK(site_pad_alone, v->sites[6].pad = STUBS + 0xa0)
BREAK(site_resume, v->sites[0].resume = STUBS + 0x100)
BREAK(site_reason, v->sites[5].reason = v->h->n_strings)
BREAK(site_may_not_trap, v->sites[6].op = OP_POPF)
BREAK(site_not_verbatim, v->sites[7].op = OP_CPUID)
BREAK(site_none_verified, v->sites[9].va = TEXT + 0x100)
BREAK(site_none_reaches_verified, v->sites[9].va = TEXT + 0x1fff; v->sites[9].len = 2)
BREAK(site_start, v->starts[0x55 / 8] &= ~(1 << 0x55 % 8))
BREAK(window_start, v->starts[0x20 / 8] &= ~(1 << 0x20 % 8))
BREAK(point_outside, v->points[0].stub = STUBS - 1)
BREAK(point_behind, v->points[3].stub = STUBS + 0x100)
BREAK(point_order, v->points[1].stub = STUBS)
BREAK(point_state, v->points[0].state = POINT_AFTER + 1)
BREAK(point_flags, v->points[0].flags = 8)
BREAK(point_reserved, v->points[0].reserved = 1)
BREAK(verified_align, v->verified[0].end += 4)
BREAK(verified_empty, v->verified[0].end = TEXT)
BREAK(verified_order, v->verified[1].start = TEXT)
BREAK(verified_hole, v->verified[1].start = HOLE; v->verified[1].end = HOLE + 0x2000)
BREAK(verified_grown, v->verified[1].end += 0x1000)
BREAK(n_windows, v->h->n_windows++)
BREAK(n_windows_huge, v->h->n_windows = 0xffffffff)
BREAK(n_starts, v->h->n_starts = 0xffffffff)
BREAK(n_strings, v->h->n_strings--)

static const struct {
	const char *name;
	void (*damage)(const struct view *v);
	const char *message; /* a part of it */
} breaks[] = {
#define B(name, message) { #name, break_##name, message }
	B(magic, MANIFEST_MAGIC), B(version, "version 2"), B(header_size, "header of"), B(op_hash, "another policy table"),
	B(hole_align, "the hole"), B(hole_zero, "the hole"), B(hole_end, "the hole"), B(hole_small, "the hole"),
	B(stubs_size, "do not fit"), B(stubs_short, "not inside the stubs"), B(alias, "alias"),
	B(setup, "setup header"), B(setup_wrap, "setup header"), B(append, "append"), B(recipe, "recipe"),
	B(strings_start, "NUL"), B(strings_end, "NUL"),
	B(win_tactic, "window[0] at 0xc1000010: not a tactic"), B(win_tactic_unknown, "not a tactic of a window"),
	B(win_zero, "too short"), B(win_short, "too short"), B(win_overlap, "window[2]"), B(win_order, "window[1]"),
	B(win_wrap, "wraps"), B(win_hole, "hole"), B(win_original, "original bytes"), B(win_original_hop, "original bytes"),
	B(win_original_wrap, "original bytes"), B(win_stub_before, "not inside the stubs"),
	B(win_stub_behind, "not inside the stubs"), B(win_stub_none, "not inside the stubs"),
	B(win_stub_empty, "not inside the stubs"), B(win_stub_overlap, "stub[1]"), B(win_bp_stub, "breakpoint"),
	B(win_bp_hop, "breakpoint"), B(win_hop_stray, "hop without"), B(win_hop_far, "out of reach"),
	B(win_hop_on_window, "overlaps a window"), B(win_hop_on_own, "overlaps a window"), B(win_hop_overlap, "hop[1]"),
	B(win_hop_none, "hop"),
	B(site_op_none, "not a policy row"), B(site_op_unknown, "not a policy row"), B(site_tactic, "unknown tactic"),
	B(site_len_zero, "absurd length"), B(site_len_long, "absurd length"), B(site_order, "site[1]"),
	B(site_overlap, "site[7]"), B(site_window, "does not exist"), B(site_other_window, "not inside its window"),
	B(site_sticks_out, "not inside its window"), B(site_no_window, "needs a window"),
	B(site_trap_window, "allows no window"), B(site_pad, "landing pad"), B(site_pad_alone, "without a window"),
	B(site_resume, "resumes outside"), B(site_reason, "reason"), B(site_may_not_trap, "may not trap"),
	B(site_not_verbatim, "verbatim"), B(site_none_verified, "marked verified"),
	B(site_none_reaches_verified, "marked verified"),
	B(site_start, "site[6] at 0xc1000055: no instruction starts"), B(window_start, "window[1]"),
	B(point_outside, "not inside the stubs"), B(point_behind, "not inside the stubs"), B(point_order, "not sorted"),
	B(point_state, "state or flags"), B(point_flags, "state or flags"), B(point_reserved, "state or flags"),
	B(verified_align, "whole pages"), B(verified_empty, "whole pages"), B(verified_order, "verified[1]"),
	B(verified_hole, "into the hole"), B(verified_grown, "instruction starts"),
	B(n_windows, ""), B(n_windows_huge, "windows need"), B(n_starts, "starts need"), B(n_strings, "too many"),
#undef B
};
/* clang-format on */

static void every_rule_is_checked(void **state)
{
	(void)state;

	for (size_t i = 0; i < COUNT(breaks); i++) {
		struct diag d = {""};
		struct manifest m;
		struct view v;
		uint8_t *buf;
		size_t size;

		buf = saved(&size);
		v = view(buf);
		breaks[i].damage(&v);
		if (manifest_load(&m, buf, size, &d) != -EINVAL)
			fail_msg("%s: accepted", breaks[i].name);
		if (strncmp(d.text, "manifest: ", 10) || !strstr(d.text, breaks[i].message))
			fail_msg("%s: \"%s\" does not say \"%s\"", breaks[i].name, d.text, breaks[i].message);
		assert_null(m.windows);
		assert_null(m.strings);
		free(buf);
	}
}

/* ---- damage without a plan ---- */

static void every_truncation_is_refused(void **state)
{
	uint8_t *buf, *copy;
	size_t size;
	(void)state;

	buf = saved(&size);
	for (size_t n = 0; n < size; n++) {
		struct diag d = {""};
		struct manifest m;

		copy = malloc(n ? n : 1); /* exact, so that ASan sees a read behind it */
		assert_non_null(copy);
		memcpy(copy, buf, n);
		assert_int_equal(manifest_load(&m, copy, n, &d), -EINVAL);
		assert_string_not_equal(d.text, "");
		free(copy);
	}
	copy = calloc(1, size + 1);
	assert_non_null(copy);
	memcpy(copy, buf, size);
	{
		struct diag d = {""};
		struct manifest m;

		assert_int_equal(manifest_load(&m, copy, size + 1, &d), -EINVAL);
		assert_non_null(strstr(d.text, "too many"));
	}
	free(copy);
	free(buf);
}

static uint32_t rng_state = 0x2545f491;

static uint32_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 17;
	rng_state ^= rng_state << 5;
	return rng_state;
}

/* Damage the part in front of the bitmaps, where the meaning is, more than the rest. */
static void random_damage_is_survived(void **state)
{
	unsigned refused = 0, accepted = 0;
	uint8_t *buf, *copy;
	size_t size, tables;
	(void)state;

	buf = saved(&size);
	tables = view(buf).starts - buf;
	copy = malloc(size);
	assert_non_null(copy);
	for (unsigned i = 0; i < 40000; i++) {
		unsigned hits = 1 + rng() % 3;
		struct diag d = {""};
		struct manifest m;
		int err;

		memcpy(copy, buf, size);
		while (hits--) {
			size_t at = sizeof(struct manifest_header) / 2 +
				    rng() % (tables - sizeof(struct manifest_header) / 2);

			if (rng() & 0x100)
				copy[at] ^= 1 << (rng() >> 8) % 8;
			else
				copy[at] = rng() >> 8;
		}
		err = manifest_load(&m, copy, size, &d);
		if (err) {
			assert_int_equal(err, -EINVAL);
			assert_string_not_equal(d.text, "");
			refused++;
		} else {
			accepted++;
			manifest_free(&m);
		}
	}
	assert_true(refused > 20000);
	assert_true(accepted > 0); /* a point's guest address, say, can be anything */
	free(copy);
	free(buf);
}

static void tactic_names(void **state)
{
	(void)state;

	assert_string_equal(tactic_name(TACTIC_IN_PLACE), "in-place");
	assert_string_equal(tactic_name(TACTIC_WINDOW_TAIL), "window+tail");
	for (unsigned t = 0; t < TACTIC_COUNT; t++)
		for (unsigned u = 0; u < t; u++)
			assert_string_not_equal(tactic_name(t), tactic_name(u));
}

/* The hash stands for "op numbers mean the same rows": it must not be constant or depend on the run. */
static void op_hash(void **state)
{
	(void)state;

	assert_int_equal(manifest_op_name_hash(), manifest_op_name_hash());
	assert_int_not_equal(manifest_op_name_hash(), 0);
	assert_int_not_equal(manifest_op_name_hash(), 0x811c9dc5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_saved_is_loaded),
	    cmocka_unit_test(empty_tables_are_fine),
	    cmocka_unit_test(free_takes_a_zeroed_one),
	    cmocka_unit_test(save_refuses_what_load_would),
	    cmocka_unit_test(every_rule_is_checked),
	    cmocka_unit_test(every_truncation_is_refused),
	    cmocka_unit_test(random_damage_is_survived),
	    cmocka_unit_test(tactic_names),
	    cmocka_unit_test(op_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
