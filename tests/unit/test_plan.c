// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The planner on code made in memory: single edge cases, then random code held against what every plan must keep.
 * Whole plans of hand-written images are compared in tests/golden.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hypercalls/abi.h"
#include "hypercalls/policy.h"
#include "patcher/patch.h"

#define VA 0xc0100000u

struct fixture {
	uint8_t code[1024];
	size_t len;
	struct image_section sections[2];
	size_t first; /* bytes of the first section; 0: all */
	struct image img;
	struct target list[64];
	struct rewritten ranges[8];
	struct targets targets;
	struct cfg cfg;
	struct plan plan;
};

static void start(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->targets.targets = f->list;
	f->targets.rewritten = f->ranges;
}

static void add(struct fixture *f, const char *bytes, size_t len)
{
	assert_true(f->len + len <= sizeof(f->code));
	memcpy(f->code + f->len, bytes, len);
	f->len += len;
}

#define ADD(f, s) add(f, s, sizeof(s) - 1)

/* In the order of their addresses. */
static void target(struct fixture *f, uint32_t off, enum target_source source)
{
	f->list[f->targets.n_targets++] = (struct target){.va = VA + off, .source = (uint8_t)source};
}

static void rewritten(struct fixture *f, uint32_t start, uint32_t end)
{
	f->ranges[f->targets.n_rewritten++] = (struct rewritten){VA + start, VA + end, TARGET_ALTERNATIVE};
}

static void plan(struct fixture *f)
{
	size_t first = f->first ? f->first : f->len;
	struct diag d = {0};

	f->sections[0] = (struct image_section){
	    .name = ".text", .va = VA, .size = first, .data = f->code, .exec = true, .alloc = true};
	f->sections[1] = (struct image_section){.name = ".init.text",
						.va = VA + first,
						.size = f->len - first,
						.data = f->code + first,
						.exec = true,
						.alloc = true};
	f->img = (struct image){.path = "test",
				.elf = f->code,
				.elf_size = f->len,
				.width = 32,
				.sections = f->sections,
				.n_sections = f->first ? 2 : 1};
	if (cfg_build(&f->cfg, &f->img, &f->targets, &d) || plan_build(&f->plan, &f->cfg, NULL, 0, &d))
		fail_msg("%s", d.text);
}

static void done(struct fixture *f)
{
	plan_free(&f->plan);
	cfg_free(&f->cfg);
}

static const struct plan_window *only_window(const struct fixture *f)
{
	assert_int_equal(f->plan.n_windows, 1);
	return &f->plan.windows[0];
}

static void forward(void **state)
{
	struct fixture f;

	(void)state;
	start(&f);
	ADD(&f, "\xfa\x89\xd8\x89\xd9\xc3"); /* cli; mov; mov; ret */
	target(&f, 0, TARGET_ENTRY);
	plan(&f);
	assert_int_equal(only_window(&f)->va, VA);
	assert_int_equal(only_window(&f)->len, 5);
	assert_int_equal(f.plan.sites[0].tactic, TACTIC_WINDOW);
	done(&f);
}

/* Neighbours in memory need not be neighbours in the file, nor in what the plan keeps of them. */
static void no_window_leaves_its_section(void **state)
{
	struct fixture f;

	(void)state;
	start(&f);
	ADD(&f, "\xfa\x89\xd8\x89\xd9\xc3"); /* cli; mov | mov; ret */
	f.first = 3;
	target(&f, 0, TARGET_ENTRY);
	plan(&f);
	assert_int_equal(f.plan.n_windows, 0);
	assert_int_equal(f.plan.sites[0].tactic, TACTIC_TRAP);
	done(&f);

	start(&f);
	ADD(&f, "\xfa\xc3\x90\xcc\xcc"); /* cli; ret; padding | more of it */
	f.first = 4;
	target(&f, 0, TARGET_ENTRY);
	plan(&f);
	assert_int_equal(f.plan.n_windows, 0);
	done(&f);
}

static void a_target_behind_pushes_back(void **state)
{
	struct fixture f;

	(void)state;
	start(&f);
	ADD(&f, "\x90\x89\xd8\x89\xd9\xfa\x89\xd8\xc3"); /* nop; mov; mov; cli; T: mov; ret */
	target(&f, 0, TARGET_ENTRY);
	target(&f, 6, TARGET_JUMP_LABEL);
	plan(&f);
	assert_int_equal(only_window(&f)->va, VA + 1);
	assert_int_equal(only_window(&f)->len, 5);
	done(&f);
}

static void a_target_in_the_middle_of_an_instruction(void **state)
{
	struct fixture f;

	(void)state;
	start(&f);
	ADD(&f,
	    "\xfa\xb8\x90\x90\x90\xc3\xc3"); /* cli; mov $imm32,%eax; ret, and a jump label inside the mov */
	target(&f, 0, TARGET_ENTRY);
	target(&f, 2, TARGET_JUMP_LABEL);
	plan(&f);
	assert_int_equal(f.plan.n_windows, 0);
	assert_int_equal(f.plan.sites[0].tactic, TACTIC_TRAP);
	done(&f);
}

static void rewritten_bytes_are_left_alone(void **state)
{
	struct fixture f;

	(void)state;
	start(&f);
	ADD(&f,
	    "\xfa\x89\xd8\x0f\x1f\x44\x00\x00\x9c\xc3"); /* cli; mov; nopl (rewritten); pushf (rewritten); ret */
	target(&f, 0, TARGET_ENTRY);
	rewritten(&f, 3, 9);
	plan(&f);
	/* The pushf may not trap: int3, which the monitor looks at again when the kernel rewrites it. */
	assert_int_equal(f.plan.n_windows, 1);
	assert_int_equal(f.plan.windows[0].va, VA + 8);
	assert_int_equal(f.plan.windows[0].len, 1);
	assert_int_equal(f.plan.sites[0].tactic, TACTIC_TRAP);
	assert_int_equal(f.plan.sites[1].tactic, TACTIC_BREAKPOINT);
	done(&f);
}

static void calls_come_last_if_at_all(void **state)
{
	struct fixture f;

	(void)state;
	start(&f); /* mov; mov; cli; call: rather grow back than displace the call */
	ADD(&f, "\x89\xd8\x89\xd9\xfa\xe8\x00\x00\x00\x00\xc3");
	target(&f, 0, TARGET_ENTRY);
	plan(&f);
	assert_int_equal(only_window(&f)->va, VA);
	assert_int_equal(only_window(&f)->len, 5);
	done(&f);
	start(&f); /* cli; call: no other way */
	ADD(&f, "\xfa\xe8\x01\x00\x00\x00\xc3\xc3");
	target(&f, 0, TARGET_ENTRY);
	plan(&f);
	assert_int_equal(only_window(&f)->len, 6);
	done(&f);
	start(&f); /* call; cli; ret: the call returns to the cli, so it cannot be taken in from behind */
	ADD(&f, "\xe8\x02\x00\x00\x00\xfa\xc3\xc3");
	target(&f, 0, TARGET_ENTRY);
	plan(&f);
	assert_int_equal(f.plan.n_windows, 0);
	done(&f);
}

static void tail_takes_padding_only(void **state)
{
	struct fixture f;

	(void)state;
	start(&f);
	ADD(&f, "\xfa\xc3\x8d\x76\x00\x90\x90\x90\xc3"); /* cli; ret; padding; T: ret */
	target(&f, 0, TARGET_ENTRY);
	target(&f, 8, TARGET_SYMBOL);
	plan(&f);
	assert_int_equal(f.plan.sites[0].tactic, TACTIC_WINDOW_TAIL);
	assert_int_equal(only_window(&f)->len, 5);
	assert_int_equal(only_window(&f)->n_insns, 2);
	done(&f);
	start(&f);
	ADD(&f, "\xfa\xc3\x8d\x76\x00\xc3"); /* something jumps into the padding */
	target(&f, 0, TARGET_ENTRY);
	target(&f, 2, TARGET_RELOC);
	plan(&f);
	assert_int_equal(f.plan.n_windows, 0);
	done(&f);
}

/* out; T: jmp T; then padding at a distance: the short jump of 2 bytes reaches 127. */
static void hop_at_distance(struct fixture *f, unsigned distance)
{
	start(f);
	ADD(f, "\xe6\x80\xeb\xfe");
	for (unsigned i = 2; i < distance; i++)
		add(f, i & 1 ? "\xc3" : "\xf8", 1); /* clc; ret; ... all reached */
	ADD(f, "\x90\x90\x90\x90\x90\xc3");
	target(f, 0, TARGET_ENTRY);
	target(f, 2, TARGET_RELOC);
	for (unsigned i = 4; i < distance + 2; i += 2)
		target(f, i, TARGET_RELOC);
	target(f, distance + 2 + 5, TARGET_RELOC);
}

static void hop_reaches_127_bytes(void **state)
{
	struct fixture f;

	(void)state;
	hop_at_distance(&f, 100);
	plan(&f);
	assert_int_equal(f.plan.sites[0].tactic, TACTIC_HOP);
	assert_int_equal(only_window(&f)->hop, VA + 102);
	done(&f);
	hop_at_distance(&f, 112);
	for (unsigned i = 0; i < 8; i++) { /* push the padding out of reach */
		memmove(f.code + 6 + 2 * i, f.code + 4 + 2 * i, f.len - 4 - 2 * i);
		f.len += 2;
	}
	memset(&f.list, 0, sizeof(f.list));
	f.targets.n_targets = 0;
	target(&f, 0, TARGET_ENTRY);
	target(&f, 2, TARGET_RELOC);
	for (unsigned i = 4; i < 130; i += 2) {
		f.code[i] = 0xf8;
		f.code[i + 1] = 0xc3;
		if (i < 126)
			target(&f, i, TARGET_RELOC);
	}
	f.code[126] = f.code[127] = f.code[128] = f.code[129] = 0xf8;
	target(&f, 126, TARGET_RELOC);
	plan(&f);
	assert_int_equal(f.plan.sites[0].tactic, TACTIC_TRAP);
	done(&f);
}

/* Two functions of two bytes and one padding to hop through: whoever chooses first has it. */
static void the_first_in_order_has_the_padding(void **state)
{
	static const uint64_t second[] = {0xdead, VA + 2};

	(void)state;
	for (size_t n = 0; n <= 2; n += 2) {
		struct diag d = {0};
		struct fixture f;

		start(&f);
		ADD(&f, "\xfa\xc3\xfb\xc3\xb8\x01\0\0\0\xc3\xcc\xcc\xcc\xcc\xcc\xc3");
		target(&f, 0, TARGET_ENTRY);
		target(&f, 2, TARGET_ENTRY);
		target(&f, 4, TARGET_ENTRY);
		target(&f, 15, TARGET_ENTRY);
		plan(&f);
		plan_free(&f.plan);
		cfg_free(&f.cfg);
		assert_int_equal(cfg_build(&f.cfg, &f.img, &f.targets, &d), 0);
		assert_int_equal(plan_build_first(&f.plan, &f.cfg, NULL, 0, second, n, &d), 0);
		assert_int_equal(f.plan.sites[0].tactic, n ? TACTIC_TRAP : TACTIC_HOP);
		assert_int_equal(f.plan.sites[1].tactic, n ? TACTIC_HOP : TACTIC_TRAP);
		done(&f);
	}
}

/* A page with bytes that are no code is not proven; code that a run found there makes them padding or code. */
static void a_run_tells_of_code(void **state)
{
	static const uint64_t ran[] = {VA + 0x20, 0xdead0000};
	struct diag d = {0};
	struct manifest m;
	struct fixture f;

	(void)state;
	for (size_t n = 0; n <= 2; n += 2) {
		start(&f);
		ADD(&f, "\xc3");
		while (f.len < 0x20)
			ADD(&f, "\xcc");
		ADD(&f, "\xfa\x89\xd8\x89\xd9\xc3"); /* cli; mov; mov; ret */
		while (f.len < 0x40)
			ADD(&f, "\xcc");
		ADD(&f, "\xff\xff"); /* no instruction */
		target(&f, 0, TARGET_ENTRY);
		f.targets.targets = malloc(sizeof(f.list));
		memcpy(f.targets.targets, f.list, sizeof(f.list));
		f.targets.rewritten = NULL;
		plan(&f);
		done(&f);
		if (n)
			assert_int_equal(targets_add_run(&f.targets, &f.img, ran, n, &d), 0);
		assert_int_equal(f.targets.n_targets, n ? 2 : 1);
		assert_int_equal(cfg_build(&f.cfg, &f.img, &f.targets, &d), 0);
		assert_int_equal(plan_build(&f.plan, &f.cfg, NULL, 0, &d), 0);
		assert_int_equal(f.plan.n_windows, n ? 1 : 0);
		assert_int_equal(f.cfg.undecoded_bytes, n ? 2 : 0x22);
		assert_true(!n || cfg_marks(&f.cfg, ran[0]) & CFG_TARGET);
		memset(&m, 0, sizeof(m));
		assert_int_equal(verified_collect(&m, &f.plan, &d), 0);
		assert_int_equal(m.h.n_verified, 0);
		manifest_free(&m);
		free(f.targets.targets);
		done(&f);
	}
}

static void verbatim_sites_need_nothing(void **state)
{
	struct fixture f;

	(void)state;
	start(&f);
	ADD(&f, "\x0f\x01\xd0\xc3"); /* xgetbv */
	target(&f, 0, TARGET_ENTRY);
	plan(&f);
	assert_int_equal(f.plan.n_windows, 0);
	assert_int_equal(f.plan.sites[0].tactic, TACTIC_VERBATIM);
	assert_null(f.plan.sites[0].reason);
	done(&f);
}

static void dead_flags(void **state)
{
	struct fixture f;

	(void)state;
	start(&f);
	ADD(&f, "\x89\xd8\x01\xd8\xc3"); /* mov; add: dead */
	ADD(&f, "\x89\xd8\xc3");	 /* 5: mov; ret: who knows */
	ADD(&f, "\x11\xd8\xc3");	 /* 8: adc reads CF */
	ADD(&f, "\xd3\xe0\x9c\xc3");	 /* 11: shl %cl may leave them, then pushf reads */
	ADD(&f, "\x40\x73\x00\xc3");	 /* 15: inc keeps CF, jae reads it */
	ADD(&f, "\xeb\xe9\xc3");	 /* 19: jmp 2: the add */
	for (unsigned i = 0; i < 20; i++) {
		if (i == 0 || i == 5 || i == 8 || i == 11 || i == 15 || i == 19)
			target(&f, i, TARGET_SYMBOL);
	}
	f.code[20] = (uint8_t)(2 - 21);
	plan(&f);
	assert_true(flags_dead_at(&f.cfg, VA));
	assert_false(flags_dead_at(&f.cfg, VA + 5));
	assert_false(flags_dead_at(&f.cfg, VA + 8));
	assert_false(flags_dead_at(&f.cfg, VA + 11));
	assert_false(flags_dead_at(&f.cfg, VA + 15));
	assert_true(flags_dead_at(&f.cfg, VA + 19));
	assert_false(flags_dead_at(&f.cfg, VA + f.len)); /* outside */
	done(&f);
}

/* The monitor re-verifies a rewritten page from start to start, so padding has starts as well. */
static void starts_and_verified_pages(void **state)
{
	struct manifest m = {.h.hole_base = ABI_HOLE_BASE};
	struct diag d = {0};
	struct fixture f;

	(void)state;
	start(&f);
	ADD(&f, "\xfa\x89\xd8\x89\xd9\xc3\x90\x8d\x76\x00\xcc\xc3"); /* cli...; ret; padding; T: ret */
	target(&f, 0, TARGET_ENTRY);
	target(&f, 11, TARGET_SYMBOL);
	plan(&f);
	assert_int_equal(verified_collect(&m, &f.plan, &d), 0);
	assert_int_equal(m.h.n_verified, 1);
	assert_int_equal(m.verified[0].start, VA);
	assert_int_equal(m.verified[0].end, VA + 4096);
	assert_int_equal(m.h.n_starts, 512);
	assert_int_equal(m.starts[0], 0xeb); /* 0 1 3 5 6 7 */
	assert_int_equal(m.starts[1], 0x0c); /* 10 11 */
	manifest_free(&m);
	done(&f);
	start(&f);
	/* mov %ds,%eax; ret; with a target inside, where it reads fadd; ret: int3 does not fit, the page is not verified */
	ADD(&f, "\x8c\xd8\xc3\xc3");
	target(&f, 0, TARGET_ENTRY);
	target(&f, 1, TARGET_JUMP_LABEL);
	plan(&f);
	memset(&m, 0, sizeof(m));
	assert_int_equal(verified_collect(&m, &f.plan, &d), 0);
	assert_int_equal(m.h.n_verified, 0);
	manifest_free(&m);
	done(&f);
}

/* --- random code --- */

static uint32_t seed;

static unsigned rnd(unsigned n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 16) % n;
}

static void random_code(struct fixture *f)
{
	static const struct {
		const char *bytes;
		uint8_t len;
	} pool[] = {{"\xfa", 1},
		    {"\xfb", 1},
		    {"\x9c", 1},
		    {"\x9d", 1},
		    {"\x89\xd8", 2},
		    {"\x90", 1},
		    {"\xc3", 1},
		    {"\xee", 1},
		    {"\x0f\x32", 2},
		    {"\x74", 2},
		    {"\xeb", 2},
		    {"\x8d\x76\x00", 3},
		    {"\xe2", 2},
		    {"\xcc", 1},
		    {"\xcf", 1},
		    {"\x0f\x20\xc0", 3},
		    {"\x05\x00\x00\x00\x00", 5},
		    {"\xff\xd3", 2},
		    {"\x01\xd8", 2}};

	start(f);
	while (f->len < 200) {
		unsigned k = rnd(sizeof(pool) / sizeof(pool[0]));
		size_t at = f->len;

		add(f, pool[k].bytes, pool[k].len);
		if (pool[k].len == 2 &&
		    (pool[k].bytes[0] == '\x74' || pool[k].bytes[0] == '\xeb' || pool[k].bytes[0] == '\xe2'))
			f->code[at + 1] = (uint8_t)(rnd(60) - 30);
	}
	target(f, 0, TARGET_ENTRY);
	for (unsigned off = 1; off < f->len; off++) {
		if (rnd(40) == 0 && f->targets.n_targets < 60)
			target(f, off, rnd(2) ? TARGET_JUMP_LABEL : TARGET_EXTABLE);
	}
	if (rnd(2))
		rewritten(f, 50, 50 + rnd(20));
}

static bool in_window(const struct plan *p, uint32_t va)
{
	for (size_t w = 0; w < p->n_windows; w++) {
		if (va >= p->windows[w].va && va - p->windows[w].va < p->windows[w].len)
			return p->windows[w].tactic != TACTIC_BREAKPOINT;
	}
	return false;
}

static void check_window(const struct fixture *f, const struct plan_window *w)
{
	const struct plan *p = &f->plan;

	assert_true(w->n_insns > 0);
	assert_true(w->len >= 5 || w->tactic == TACTIC_HOP || w->tactic == TACTIC_BREAKPOINT);
	for (uint32_t va = w->va; va < w->va + w->len; va++) {
		uint8_t m = cfg_marks(&f->cfg, va);

		assert_false(m & CFG_OVERLAP);
		assert_false(m & CFG_REWRITTEN && w->tactic != TACTIC_BREAKPOINT);
		if (va == w->va)
			continue;
		for (size_t i = 0; i < f->targets.n_targets;
		     i++) /* tables: fixups alone, and at a boundary */
			assert_true(f->list[i].va != va ||
				    (f->list[i].source == TARGET_EXTABLE && m & CFG_START));
		for (size_t i = 0; i < f->cfg.n_branches; i++)
			assert_true(f->cfg.branches[i].to != va || in_window(p, f->cfg.branches[i].from));
	}
	if (w->tactic == TACTIC_HOP) {
		int distance = (int)(w->hop - (w->va + 2));

		assert_in_range(distance + 128, 0, 255);
		for (uint32_t va = w->hop; va < w->hop + 5; va++)
			assert_false(cfg_marks(&f->cfg, va) & (CFG_CODE | CFG_TARGET));
	}
}

static void check_sites(const struct fixture *f)
{
	for (size_t i = 0; i < f->plan.n_sites; i++) {
		const struct plan_site *ps = &f->plan.sites[i];
		bool left = ps->tactic == TACTIC_TRAP || ps->tactic == TACTIC_NONE;

		assert_int_equal(left || ps->tactic == TACTIC_VERBATIM, ps->window == MANIFEST_NONE);
		assert_int_equal(left || ps->tactic == TACTIC_BREAKPOINT, ps->reason != NULL);
		if (ps->tactic == TACTIC_TRAP)
			assert_false(policy_may_not_trap(ps->site->op));
		if (ps->window != MANIFEST_NONE)
			assert_in_range(ps->site->va, f->plan.windows[ps->window].va,
					f->plan.windows[ps->window].va + f->plan.windows[ps->window].len - 1);
	}
}

static void random_plans_keep_the_rules(void **state)
{
	size_t n_windows = 0, n_relayed = 0;

	(void)state;
	for (unsigned run = 0; run < 2000; run++) {
		struct manifest m = {.h.hole_base = ABI_HOLE_BASE};
		struct stubs st = {0};
		struct diag d = {0};
		struct fixture f;

		seed = run;
		random_code(&f);
		plan(&f);
		for (size_t w = 0; w < f.plan.n_windows; w++) {
			const struct plan_window *pw = &f.plan.windows[w];

			check_window(&f, pw);
			if (w)
				assert_true(pw[-1].va + pw[-1].len <= pw->va);
			for (uint32_t va = pw->va + 1; va < pw->va + pw->len; va++)
				n_relayed += (cfg_marks(&f.cfg, va) & CFG_TARGET) != 0;
		}
		check_sites(&f);
		assert_int_equal(manifest_string(&m, ""), 0);
		assert_int_equal(stubs_emit(&st, &m, &f.plan, &d), 0);
		n_windows += f.plan.n_windows;
		free(st.bytes);
		manifest_free(&m);
		done(&f);
	}
	assert_true(n_windows > 2000); /* the test would be worth nothing if no window came out */
	assert_true(n_relayed > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(forward),
	    cmocka_unit_test(no_window_leaves_its_section),
	    cmocka_unit_test(a_target_behind_pushes_back),
	    cmocka_unit_test(a_target_in_the_middle_of_an_instruction),
	    cmocka_unit_test(rewritten_bytes_are_left_alone),
	    cmocka_unit_test(calls_come_last_if_at_all),
	    cmocka_unit_test(tail_takes_padding_only),
	    cmocka_unit_test(hop_reaches_127_bytes),
	    cmocka_unit_test(the_first_in_order_has_the_padding),
	    cmocka_unit_test(a_run_tells_of_code),
	    cmocka_unit_test(verbatim_sites_need_nothing),
	    cmocka_unit_test(dead_flags),
	    cmocka_unit_test(starts_and_verified_pages),
	    cmocka_unit_test(random_plans_keep_the_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
