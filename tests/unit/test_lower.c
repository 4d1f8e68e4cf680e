// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The emitter: every form by its bytes, every refusal, and the rules that all restart points must obey. Stubs as
 * a whole are compared in tests/golden.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "hypercalls/abi.h"
#include "hypercalls/lower.h"
#include "hypercalls/policy.h"

#define VA 0xc0100000u
#define HOLE 0xf8000000u
#define CODE_VA 0xf8020000u
#define PADS_VA 0xf8010000u

struct fixture {
	struct lower l;
	uint8_t code[4096], pads[512];
	struct manifest_point points[256];
	struct lower_insn insns[64];
	uint8_t guest[256];
	size_t n;
	uint32_t next;
};

static void start(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->l = (struct lower){.hole_base = HOLE,
			      .code = f->code,
			      .code_va = CODE_VA,
			      .code_cap = sizeof(f->code),
			      .pads = f->pads,
			      .pads_va = PADS_VA,
			      .pads_cap = sizeof(f->pads),
			      .points = f->points,
			      .points_cap = 256};
	f->next = VA;
}

static void add(struct fixture *f, const char *bytes, size_t len)
{
	while (len) {
		struct lower_insn *in = &f->insns[f->n];
		uint8_t *p = f->guest + (f->next - VA);

		memcpy(p, bytes, len);
		in->bytes = p;
		in->va = f->next;
		assert_true(insn_decode(&in->insn, p, len, f->next, 32) > 0);
		in->site = insn_is_sensitive(&in->insn) ? (uint32_t)f->n : MANIFEST_NONE;
		f->next += in->insn.len;
		bytes += in->insn.len;
		len -= in->insn.len;
		f->n++;
	}
}

#define ADD(f, s) add(f, s, sizeof(s) - 1)

static int lower(struct fixture *f)
{
	return lower_run(&f->l, f->insns, f->n, f->next);
}

static void expect(const struct fixture *f, const char *bytes, size_t len)
{
	assert_int_equal(f->l.err, 0);
	assert_int_equal(f->l.code_len, len);
	assert_memory_equal(f->code, bytes, len);
}

#define EXPECT(f, s) expect(f, s, sizeof(s) - 1)

/* jmp rel32 from stub offset `at` back to guest address `to`. */
static void expect_jump(const struct fixture *f, size_t at, uint32_t to)
{
	uint32_t rel;

	assert_true(at + 5 <= f->l.code_len);
	assert_int_equal(f->code[at], 0xe9);
	memcpy(&rel, f->code + at + 1, 4);
	assert_int_equal((uint32_t)(CODE_VA + at + 5 + rel), to);
}

static void cli_is_one_store(void **state)
{
	struct fixture f;

	(void)state;
	start(&f);
	ADD(&f, "\xfa");
	assert_int_equal(lower(&f), 0);
	assert_int_equal(f.l.code_len, 16);
	assert_memory_equal(f.code, "\x36\xc7\x05\x00\x00\x00\xf8\x00\xfe\xff\xff", 11);
	expect_jump(&f, 11, VA + 1);
	assert_int_equal(f.l.pads_len, 0);
	assert_int_equal(f.insns[0].pad, MANIFEST_NONE);
	assert_int_equal(f.insns[0].resume, CODE_VA + 11);
	assert_int_equal(f.l.n_points, 2);
	assert_int_equal(f.points[1].guest, VA + 1);
}

static void sti_tests_pending_without_flags(void **state)
{
	struct fixture f;

	(void)state;
	start(&f);
	ADD(&f, "\xfb");
	assert_int_equal(lower(&f), 0);
	assert_memory_equal(f.code,
			    "\x36\x89\x0d\x0c\x00\x00\xf8"		   /* mov %ecx,%ss:scratch0 */
			    "\x36\x8b\x0d\x04\x00\x00\xf8"		   /* mov %ss:pending,%ecx */
			    "\xe3\x0e"					   /* jecxz */
			    "\x36\x8b\x0d\x0c\x00\x00\xf8"		   /* mov %ss:scratch0,%ecx */
			    "\xea\x00\x00\x01\xf8\x33\x00"		   /* ljmp $0x33,$pad */
			    "\x36\xc7\x05\x00\x00\x00\xf8\x00\x00\x00\x00" /* movl $0,%ss:if_delta */
			    "\x36\x8b\x0d\x0c\x00\x00\xf8",
			    48);
	expect_jump(&f, 48, VA + 1);
	assert_int_equal(f.points[7].flags, POINT_SHADOW);
	assert_int_equal(f.insns[0].resume, CODE_VA + 48);
}

static void sti_with_dead_flags_is_short(void **state)
{
	struct fixture f;

	(void)state;
	start(&f);
	ADD(&f, "\xfb");
	f.insns[0].flags_dead = true;
	assert_int_equal(lower(&f), 0);
	assert_memory_equal(f.code, "\x36\x83\x3d\x04\x00\x00\xf8\x00\x0f\x85\x10\x00\x00\x00", 14);
	expect_jump(&f, 25, VA + 1);
	assert_memory_equal(f.code + 30, "\xea\x00\x00\x01\xf8\x33\x00", 7);
}

static void popf_has_two_slow_paths(void **state)
{
	struct fixture f;
	uint32_t rel;

	(void)state;
	start(&f);
	ADD(&f, "\x9d");
	assert_int_equal(lower(&f), 0);
	assert_memory_equal(f.code, "\xf7\x04\x24\x00\x71\x1f\x00\x0f\x85", 9);
	memcpy(&rel, f.code + 9, 4); /* unusual flags: no register is saved yet */
	assert_int_equal(f.code[13 + rel], 0xea);
	memcpy(&rel, f.code + 23, 4); /* virtual IOPL, NT or AC */
	assert_int_equal(f.code[27 + rel], 0xea);
	memcpy(&rel, f.code + 52, 4); /* pending: ECX comes back first */
	assert_memory_equal(f.code + 56 + rel, "\x36\x8b\x0d\x0c\x00\x00\xf8\xea", 8);
}

static void landing_pad_names_the_site(void **state)
{
	struct fixture f;
	uint32_t rel;

	(void)state;
	start(&f);
	ADD(&f, "\x90\xee"); /* nop; out %al,%dx */
	assert_int_equal(lower(&f), 0);
	assert_int_equal(f.l.pads_len, ABI_PAD_LEN);
	assert_memory_equal(f.pads, "\x41\xbf\x01\x00\x00\x00\xe9", 7);
	memcpy(&rel, f.pads + 7, 4);
	assert_int_equal((uint32_t)(PADS_VA + ABI_PAD_LEN + rel), HOLE + GATE_EXIT);
	assert_int_equal(f.insns[1].pad, PADS_VA);
	assert_int_equal(f.insns[1].resume, CODE_VA + 8);
}

/* Each guest instruction alone, and the bytes of its inline form (the jump back is checked apart). */
static void inline_reads(void **state)
{
	static const struct {
		const char *guest;
		uint8_t len;
		const char *stub;
		uint8_t stub_len;
	} cases[] = {
	    {"\x06", 1, "\x36\xff\x35\x20\x00\x00\xf8", 7},		/* push %es */
	    {"\x0e", 1, "\x36\xff\x35\x24\x00\x00\xf8", 7},		/* push %cs */
	    {"\x16", 1, "\x36\xff\x35\x28\x00\x00\xf8", 7},		/* push %ss */
	    {"\x1e", 1, "\x36\xff\x35\x2c\x00\x00\xf8", 7},		/* push %ds */
	    {"\x0f\xa0", 2, "\x36\xff\x35\x30\x00\x00\xf8", 7},		/* push %fs */
	    {"\x0f\xa8", 2, "\x36\xff\x35\x34\x00\x00\xf8", 7},		/* push %gs */
	    {"\x8c\xd0", 2, "\x36\x8b\x05\x28\x00\x00\xf8", 7},		/* mov %ss,%eax */
	    {"\x8c\xcf", 2, "\x36\x8b\x3d\x24\x00\x00\xf8", 7},		/* mov %cs,%edi */
	    {"\x66\x8c\xe9", 3, "\x66\x36\x8b\x0d\x34\x00\x00\xf8", 8}, /* mov %gs,%cx */
	    {"\x0f\x20\xc3", 3, "\x36\x8b\x1d\x40\x00\x00\xf8", 7},	/* mov %cr0,%ebx */
	    {"\x0f\x20\xd0", 3, "\x36\x8b\x05\x48\x00\x00\xf8", 7},	/* mov %cr2,%eax */
	    {"\x0f\x20\xdc", 3, "\x36\x8b\x25\x4c\x00\x00\xf8", 7},	/* mov %cr3,%esp */
	    {"\x0f\x20\xe5", 3, "\x36\x8b\x2d\x50\x00\x00\xf8", 7},	/* mov %cr4,%ebp */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture f;

		start(&f);
		add(&f, cases[i].guest, cases[i].len);
		assert_int_equal(lower(&f), 0);
		assert_memory_equal(f.code, cases[i].stub, cases[i].stub_len);
		expect_jump(&f, cases[i].stub_len, f.next);
		assert_int_equal(f.l.pads_len, 0);
	}
}

static void others_leave(void **state)
{
	static const struct {
		const char *bytes;
		uint8_t len;
	} cases[] = {
	    {"\x66\x9c", 2},	 /* pushfw */
	    {"\x66\x9d", 2},	 /* popfw */
	    {"\x66\x1e", 2},	 /* pushw %ds */
	    {"\x8c\x1b", 2},	 /* mov %ds,(%ebx) */
	    {"\x8e\xd8", 2},	 /* mov %eax,%ds */
	    {"\x1f", 1},	 /* pop %ds */
	    {"\x0f\x22\xd8", 3}, /* mov %eax,%cr3 */
	    {"\xcf", 1},	 /* iret */
	    {"\xcd\x80", 2},	 /* int $0x80 */
	    {"\xf4", 1},	 /* hlt */
	    {"\x0f\x32", 2},	 /* rdmsr */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture f;

		start(&f);
		add(&f, cases[i].bytes, cases[i].len);
		assert_int_equal(lower(&f), 0);
		assert_memory_equal(f.code, "\xea\x00\x00\x01\xf8\x33\x00", 7);
		assert_int_equal(f.points[0].state, POINT_BOUNDARY);
	}
}

static void exit_only_touches_no_memory(void **state)
{
	struct fixture f;

	(void)state;
	start(&f);
	ADD(&f, "\x16\xfa\x9c");
	for (size_t i = 0; i < f.n; i++)
		f.insns[i].exit_only = true;
	assert_int_equal(lower(&f), 0);
	for (size_t i = 0; i < f.n; i++)
		assert_int_equal(f.code[7 * i], 0xea);
	assert_int_equal(f.l.pads_len, 3 * ABI_PAD_LEN);
}

static void branches_are_aimed_anew(void **state)
{
	struct fixture f;
	uint32_t rel;

	(void)state;
	start(&f);
	ADD(&f, "\x74\x10\xe3\xfc\xeb\x20"); /* je .+0x12; jecxz .-2; jmp .+0x22 */
	assert_int_equal(lower(&f), 0);
	assert_memory_equal(f.code, "\x0f\x84", 2);
	memcpy(&rel, f.code + 2, 4);
	assert_int_equal((uint32_t)(CODE_VA + 6 + rel), VA + 0x12);
	assert_memory_equal(f.code + 6, "\xe3\x02\xeb\x05", 4);
	expect_jump(&f, 10, VA);
	expect_jump(&f, 15, VA + 6 + 0x20);
	assert_int_equal(f.l.code_len, 20); /* nothing behind a jump */
}

static void call_pushes_the_guests_return(void **state)
{
	struct fixture f;

	(void)state;
	start(&f);
	ADD(&f, "\xfa\xe8\x00\x01\x00\x00");
	assert_int_equal(lower(&f), 0);
	assert_memory_equal(f.code + 11, "\x68\x06\x00\x10\xc0", 5);
	expect_jump(&f, 16, VA + 6 + 0x100);
	assert_int_equal(f.l.code_len, 21);
	assert_int_equal(f.points[2].state, POINT_BOUNDARY);
	assert_int_equal(f.points[2].guest, VA + 6 + 0x100);
	start(&f);
	ADD(&f, "\xff\xd3");
	assert_int_equal(lower(&f), 0);
	EXPECT(&f, "\x68\x02\x00\x10\xc0\xff\xe3");
}

static void refused(const char *bytes, size_t len)
{
	struct fixture f;

	start(&f);
	ADD(&f, "\xee"); /* leaves a pad and code behind, if the refusal does not clean up */
	add(&f, bytes, len);
	assert_int_equal(lower(&f), -EOPNOTSUPP);
	assert_int_equal(f.l.code_len, 0);
	assert_int_equal(f.l.pads_len, 0);
	assert_int_equal(f.l.n_points, 0);
}

static void refusals(void **state)
{
	(void)state;
	refused("\xff\x13", 2);			/* call *(%ebx): the read could fault after the push */
	refused("\xff\x54\x24\x04", 4);		/* call *4(%esp) */
	refused("\xff\xd4", 2);			/* call *%esp */
	refused("\x66\xe9\x00\x00", 4);		/* jmpw */
	refused("\x66\xe8\x00\x00", 4);		/* callw */
	refused("\x66\x74\x02", 3);		/* je with a 16-bit EIP */
	refused("\xc7\xf8\x00\x00\x00\x00", 6); /* xbegin */
	refused("\xe8\x00\x00\x00\x00\x90", 6); /* call not last */
}

/* Behind a terminator: reached by a branch that is aimed at the copy. */
static uint32_t aim_at(const void *ctx, uint32_t guest)
{
	const struct fixture *f = ctx;

	return guest == VA + 3 ? f->insns[2].start : guest;
}

static void aimed_at_a_copy(void **state)
{
	struct fixture f;

	(void)state;
	start(&f);
	ADD(&f, "\x74\x01\xc3\x90"); /* je 1f; ret; 1: nop */
	f.l.aim = aim_at;
	f.l.aim_ctx = &f;
	assert_int_equal(lower(&f), 0); /* the first time for the address, */
	f.l.code_len = f.l.n_points = 0;
	assert_int_equal(lower(&f), 0); /* the second to use it */
	assert_memory_equal(f.code, "\x0f\x84\x01\x00\x00\x00\xc3\x90", 8);
	expect_jump(&f, 8, VA + 4);
}

static void full_buffers(void **state)
{
	struct fixture f;

	(void)state;
	for (size_t cap = 0; cap < 95; cap++) { /* popf and its jumps need 95 bytes */
		start(&f);
		ADD(&f, "\x9d");
		f.l.code_cap = cap;
		assert_int_equal(lower(&f), -ENOSPC);
		assert_int_equal(f.l.code_len, 0);
	}
	start(&f);
	ADD(&f, "\xf4");
	f.l.pads_cap = ABI_PAD_LEN - 1;
	assert_int_equal(lower(&f), -ENOSPC);
	start(&f);
	ADD(&f, "\xf4");
	f.l.points_cap = 1;
	assert_int_equal(lower(&f), -ENOSPC);
}

/* For all rows of the policy table: the stub decodes into exactly its points, and states are consistent. */
static void points_cover_every_row(void **state)
{
	(void)state;
	for (unsigned op = OP_NONE + 1; op < OP_COUNT; op++) {
		const struct policy *row = policy_get(op);
		struct fixture f;
		uint32_t at = CODE_VA;

		if (!(row->widths & WIDTH_32))
			continue;
		start(&f);
		add(&f, (const char *)row->sample, row->sample_len);
		assert_int_equal(lower(&f), 0);
		assert_int_equal(f.points[0].state, POINT_BOUNDARY);
		for (size_t i = 0; i < f.l.n_points; i++) {
			struct insn insn;

			assert_int_equal(f.points[i].stub, at);
			assert_true(insn_decode(&insn, f.code + (at - CODE_VA), f.l.code_len - (at - CODE_VA),
						at, 32) > 0);
			if (f.points[i].state == POINT_BOUNDARY) /* all guest state is in its registers */
				assert_int_equal(f.points[i].flags & (POINT_SCRATCH0 | POINT_SCRATCH1), 0);
			at += insn.len;
		}
		assert_int_equal(at, CODE_VA + f.l.code_len);
	}
}

static void runs_append(void **state)
{
	struct fixture f;
	size_t first;

	(void)state;
	start(&f);
	ADD(&f, "\xf4");
	assert_int_equal(lower(&f), 0);
	first = f.l.code_len;
	assert_int_equal(lower(&f), 0);
	assert_int_equal(f.l.code_len, 2 * first);
	assert_int_equal(f.l.pads_len, 2 * ABI_PAD_LEN);
	assert_int_equal(f.insns[0].pad, PADS_VA + ABI_PAD_LEN);
	expect_jump(&f, first + 7, VA + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(cli_is_one_store),
	    cmocka_unit_test(sti_tests_pending_without_flags),
	    cmocka_unit_test(sti_with_dead_flags_is_short),
	    cmocka_unit_test(popf_has_two_slow_paths),
	    cmocka_unit_test(landing_pad_names_the_site),
	    cmocka_unit_test(inline_reads),
	    cmocka_unit_test(others_leave),
	    cmocka_unit_test(exit_only_touches_no_memory),
	    cmocka_unit_test(branches_are_aimed_anew),
	    cmocka_unit_test(call_pushes_the_guests_return),
	    cmocka_unit_test(refusals),
	    cmocka_unit_test(aimed_at_a_copy),
	    cmocka_unit_test(full_buffers),
	    cmocka_unit_test(points_cover_every_row),
	    cmocka_unit_test(runs_append),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
