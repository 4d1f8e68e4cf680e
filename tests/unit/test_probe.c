// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Experiments of `paravane probe`: complete, harmless to the caller, and right where every x86-64 Linux host
 * gives the same answer. What depends on the host is tested on made-up results, through the judges.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "hypercalls/decode.h"
#include "hypercalls/policy.h"
#include "monitor/probe/child.h"
#include "monitor/probe/host.h"
#include "monitor/probe/judge.h"
#include "monitor/probe/mode.h"
#include "monitor/probe/show.h"

static struct probe_finding findings[1024];
static struct probe_compat compat;

/* --- the table ------------------------------------------------------------------------------------------- */

/* Does the code contain an instruction of the row? */
static bool executes(const struct experiment *e)
{
	int width = policy_get(e->op)->widths & WIDTH_64 ? e->width : 32;
	struct insn insn;

	for (const uint8_t *p = e->code; p < e->end;) {
		int n = insn_decode(&insn, p, e->end - p, 0, width);

		if (n <= 0)
			return false;
		if (insn.op == e->op)
			return true;
		p += n;
	}
	return false;
}

static void every_row_has_an_experiment(void **state)
{
	(void)state;
	assert_in_range(experiment_cases(64), 1, sizeof(findings) / sizeof(*findings));
	assert_in_range(experiment_cases(32), 1, sizeof(findings) / sizeof(*findings));
	for (unsigned op = 1; op < OP_COUNT; op++) {
		unsigned n64 = 0, n32 = 0;

		for (unsigned i = 0; i < n_experiments; i++) {
			n64 += experiments[i].op == op && experiments[i].width == 64;
			n32 += experiments[i].op == op && experiments[i].width == 32;
		}
		if (!n64 || !n32 != !(policy_get(op)->widths & WIDTH_32))
			fail_msg("%s has %u experiments, %u in compatibility mode", policy_get(op)->id, n64,
				 n32);
	}
}

static void every_experiment_executes_its_row(void **state)
{
	(void)state;
	for (unsigned i = 0; i < n_experiments; i++)
		if (!executes(&experiments[i]))
			fail_msg("experiment %u does not execute %s", i, policy_get(experiments[i].op)->id);
}

static void experiments_stand_in_the_order_of_the_rows(void **state)
{
	(void)state;
	for (unsigned i = 1; i < n_experiments; i++)
		assert_true(experiments[i].width < experiments[i - 1].width ||
			    experiments[i].op >= experiments[i - 1].op);
}

/* --- the same on every host ------------------------------------------------------------------------------ */

static const struct probe_finding *find_in(uint16_t cs32, unsigned op, const char *what, uint32_t arg)
{
	unsigned n = experiment_run(op, cs32, findings);

	for (unsigned i = 0; i < n; i++)
		if (!strcmp(findings[i].e->what, what) && findings[i].arg == arg)
			return &findings[i];
	fail_msg("%s has no case '%s' 0x%x", policy_get(op)->id, what, arg);
	return NULL;
}

static const struct probe_finding *find(unsigned op, const char *what, uint32_t arg)
{
	return find_in(0, op, what, arg);
}

static void assert_trap(const struct probe_finding *f, unsigned vector, uint64_t error)
{
	assert_int_equal(f->outcome, PROBE_TRAPS);
	assert_int_equal(f->r.vector, vector);
	assert_int_equal(f->r.error, error);
	assert_true(f->r.cycles > 0);
}

static void privileged_instructions_are_gp0(void **state)
{
	static const unsigned ops[] = {OP_CLI,	      OP_STI,	OP_HLT,	  OP_MOV_FROM_CR0,
				       OP_MOV_TO_CR3, OP_LGDT,	OP_LIDT,  OP_INVLPG,
				       OP_WBINVD,     OP_RDMSR, OP_WRMSR, OP_CLTS};

	(void)state;
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
		assert_trap(find(ops[i], "", 0), 13, 0);
		assert_string_equal(findings[0].exception, "#GP(0)");
		assert_int_equal(findings[0].r.signo, SIGSEGV);
	}
}

static void popf_does_not_trap_and_does_not_obey(void **state)
{
	const struct probe_finding *f;

	(void)state;
	f = find(OP_POPF, "IF=0", 0);
	assert_int_equal(f->outcome, PROBE_SILENT);
	assert_true(f->r.regs.rcx & 0x200);
	f = find(OP_POPF, "IOPL=3", 0);
	assert_int_equal(f->outcome, PROBE_SILENT);
	assert_false(f->r.regs.rcx & 0x3000);
	f = find(OP_POPF, "AC=1", 0);
	assert_true(f->r.regs.rcx & 0x40000);
	assert_trap(find(OP_POPF, "TF=1", 0), 1, 0);
	f = find(OP_PUSHF, "", 0);
	assert_int_equal(f->outcome, PROBE_LEAKS);
	assert_true(f->r.regs.rcx & 0x200);
}

static void iret_ignores_if_and_refuses_ring_0(void **state)
{
	const struct probe_finding *f;

	(void)state;
	f = find(OP_IRET64, "to here, IF=0", 0);
	assert_int_equal(f->outcome, PROBE_SILENT);
	assert_true(f->r.regs.rcx & 0x200);
	assert_trap(find(OP_IRET64, "to CS 0x10, ring 0", 0), 13, 0x10);
	assert_trap(find(OP_IRET64, "with NT=1", 0), 13, 0);
}

static void int_n_is_checked_against_the_gate(void **state)
{
	const struct probe_finding *f;

	(void)state;
	f = find(OP_INT, "vector", 3);
	assert_trap(f, 3, 0);
	assert_int_equal(f->r.rip, 2); /* behind it: a trap */
	assert_int_equal(f->r.signo, SIGTRAP);
	f = find(OP_INT, "vector", 0x0d);
	assert_trap(f, 13, 0x0d * 8 + 2);
	assert_int_equal(f->r.rip, 0); /* a fault */
	assert_trap(find(OP_INT, "vector", 0x30), 13, 0x30 * 8 + 2);
	assert_trap(find(OP_INT3, "", 0), 3, 0);
}

static void lar_of_null_clears_zf(void **state)
{
	static const unsigned ops[] = {OP_LAR, OP_LSL, OP_VERR, OP_VERW};

	(void)state;
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
		const struct probe_finding *f = find(ops[i], "selector", 0);

		assert_int_equal(f->outcome, PROBE_RIGHT);
		assert_false(f->r.regs.rflags & 0x40);
	}
	assert_int_equal(find(OP_LAR, "selector", 0x33)->outcome, PROBE_LEAKS);
	assert_non_null(strstr(find(OP_LAR, "selector", 0x33)->text, "64-bit code, DPL 3"));
}

static void segment_loads_are_checked_by_the_host(void **state)
{
	(void)state;
	assert_trap(find(OP_MOV_TO_SS, "SS:", 0), 13, 0);
	assert_trap(find(OP_MOV_TO_SREG, "DS:", 0x10), 13, 0x10);
	assert_int_equal(find(OP_MOV_TO_SREG, "DS:", 0x2b)->outcome, PROBE_SILENT);
	assert_trap(find(OP_JMP_FAR, "m16:32", 0), 13, 0);
	/* FS base gone: the child lives and the caller's is untouched. */
	assert_int_equal(find(OP_POP_FS, "FS:", 0)->outcome, PROBE_RIGHT);
	assert_true(find(OP_POP_FS, "FS:", 0)->r.done);
}

static void sgdt_traps_or_shows_something(void **state)
{
	const struct probe_finding *f;

	(void)state;
	f = find(OP_SGDT, "", 0);
	if (f->outcome == PROBE_TRAPS)
		assert_int_equal(f->r.vector, 13);
	else
		assert_true(f->outcome == PROBE_LEAKS || f->outcome == PROBE_EMULATED);
	assert_true(*f->text);
}

static void legacy_rows_say_so(void **state)
{
	(void)state;
	assert_int_equal(find(OP_PUSH_CS, "", 0)->outcome, PROBE_NOT_RUN);
	assert_non_null(strstr(findings[0].text, "#UD"));
	assert_int_equal(find(OP_IRET, "", 0)->outcome, PROBE_NOT_RUN);
}

/* --- compatibility mode, where the host has it ------------------------------------------------------------- */

static void need_compat(void)
{
	mode_find_compat(&compat);
	if (!compat.selector) {
		print_message("no compatibility mode: %s\n", compat.evidence);
		skip();
	}
}

static const struct probe_finding *find32(unsigned op, const char *what, uint32_t arg)
{
	return find_in(compat.selector, op, what, arg);
}

static void compat_traps_and_silence(void **state)
{
	(void)state;
	need_compat();
	assert_trap(find32(OP_CLI, "", 0), 13, 0);
	assert_trap(find32(OP_INTO, "OF=1", 0), 4, 0);
	assert_int_equal(find32(OP_INTO, "OF=0", 0)->outcome, PROBE_RIGHT);
	assert_trap(find32(OP_INT, "vector", 3), 3, 0);
	assert_int_equal(find32(OP_POPF, "IF=0", 0)->outcome, PROBE_SILENT);
	assert_true(find32(OP_POPF, "IF=0", 0)->r.regs.rcx & 0x200);
	assert_int_equal(find32(OP_LAR, "selector", 0)->outcome, PROBE_RIGHT);
	assert_int_equal(find32(OP_ARPL, "null against the host's CS", 0)->r.regs.rcx, 3);
}

static void compat_segment_registers(void **state)
{
	static const unsigned pop[] = {OP_POP_ES, OP_POP_DS, OP_POP_FS, OP_POP_GS};
	static const char *const words[] = {"ES:", "DS:", "FS:", "GS:"};

	(void)state;
	need_compat();
	assert_int_equal(find32(OP_PUSH_CS, "", 0)->r.regs.rcx, compat.selector);
	assert_int_equal(find32(OP_PUSH_ES, "", 0)->outcome, PROBE_LEAKS);
	for (int i = 0; i < 4; i++) {
		assert_trap(find32(pop[i], words[i], 0x10), 13, 0x10);
		assert_int_equal(find32(pop[i], words[i], 0)->outcome, PROBE_RIGHT);
		assert_int_equal(find32(pop[i], words[i], compat.selector & 4 ? 0x2b : 0x23)->outcome,
				 PROBE_SILENT);
	}
	assert_trap(find32(OP_POP_SS, "SS:", 0), 13, 0);
	assert_trap(find32(OP_LDS, "selector", 0xfffb), 13, 0xfff8);
}

/* Also into 64-bit code, from where the experiment's end leads back all the same. */
static void compat_far_transfers(void **state)
{
	static const struct {
		unsigned op;
		const char *what;
	} far[] = {{OP_CALL_FAR, "m16:32"}, {OP_JMP_FAR, "m16:32"}, {OP_RET_FAR, "to"}, {OP_IRET, "to"}};

	(void)state;
	need_compat();
	for (int i = 0; i < 4; i++) {
		assert_trap(find32(far[i].op, far[i].what, 0), 13, 0);
		assert_trap(find32(far[i].op, far[i].what, 0x10), 13, 0x10);
		assert_int_equal(find32(far[i].op, far[i].what, 0x33)->outcome, PROBE_SILENT);
	}
}

/* Where SYSCALL enters the host's kernel, it does not come back, and that is not called a trap. */
static void compat_system_calls_enter_the_host(void **state)
{
	static const unsigned ops[] = {OP_SYSCALL, OP_SYSENTER};

	(void)state;
	need_compat();
	for (int i = 0; i < 2; i++) {
		const struct probe_finding *f = find32(ops[i], "EAX=20, getpid", 0);

		if (f->outcome == PROBE_TRAPS)
			assert_in_range(f->r.rip, 0, f->e->end - f->e->code);
		else if (f->r.done)
			assert_int_equal(f->r.regs.rax, f->r.pid);
	}
}

static bool is_silent(const struct host_silent *s, unsigned op)
{
	for (unsigned i = 0; i < s->n; i++)
		if (s->op[i] == op)
			return true;
	return false;
}

/* What `run` says of user code is what the experiments say. */
static void what_is_silent_is_what_the_experiments_found(void **state)
{
	static const unsigned ops[] = {OP_SGDT, OP_STR, OP_CPUID, OP_RDTSCP, OP_RDPMC, OP_SYSCALL};
	static const char *const what[] = {"", "", "EAX=1", "", "ECX=0", "EAX=20, getpid"};
	struct host_silent s;

	(void)state;
	need_compat();
	host_find_silent(compat.selector, &s);
	for (int i = 0; i < 6; i++) {
		enum probe_outcome o = find32(ops[i], what[i], 0)->outcome;

		assert_int_equal(is_silent(&s, ops[i]),
				 o == PROBE_LEAKS || o == PROBE_SILENT || o == PROBE_EMULATED);
	}
	assert_true(is_silent(&s, OP_LAR));
}

static void the_host_is_judged_by_the_experiments(void **state)
{
	struct host_finding f[HOST_FINDINGS_MAX];
	unsigned n = host_findings(f);

	(void)state;
	mode_find_compat(&compat);
	for (unsigned i = 0; i < n; i++) {
		if (!strcmp(f[i].name, "32-bit code"))
			assert_int_equal(f[i].verdict, compat.selector == 0x23 ? HOST_OK : HOST_NOT_DIRECT);
		if (!strcmp(f[i].name, "UMIP"))
			assert_int_equal(f[i].verdict,
					 find(OP_SGDT, "", 0)->outcome == PROBE_TRAPS ? HOST_OK : HOST_NOTE);
		if (!strcmp(f[i].name, "int80"))
			assert_int_equal(f[i].verdict, find(OP_INT, "vector", 0x80)->outcome == PROBE_TRAPS
							   ? HOST_NOTE
							   : HOST_OK);
	}
}

/* --- the child ------------------------------------------------------------------------------------------- */

static struct probe_result run_bytes(const uint8_t *code, size_t len, int (*setup)(void))
{
	const struct experiment e = {
	    .op = OP_CLI, .width = 64, .code = code, .end = code + len, .setup = setup};
	struct probe_result r;

	child_run(&e, 0, 0, &r);
	return r;
}

static void a_child_that_hangs_is_killed(void **state)
{
	static const uint8_t loop[] = {0xeb, 0xfe};
	struct probe_result r = run_bytes(loop, sizeof(loop), NULL);

	(void)state;
	assert_false(r.done);
	assert_true(WIFSIGNALED(r.wait_status) && WTERMSIG(r.wait_status) == SIGKILL);
}

static void a_child_that_exits_is_noticed(void **state)
{
	static const uint8_t leave[] = {0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05}; /* exit(0) */
	struct probe_result r = run_bytes(leave, sizeof(leave), NULL);

	(void)state;
	assert_false(r.done);
	assert_true(WIFEXITED(r.wait_status));
}

static void a_lost_stack_pointer_does_no_harm(void **state)
{
	static const uint8_t push_nowhere[] = {0x31, 0xe4, 0x50}; /* xor esp, esp; push rax */
	struct probe_result r = run_bytes(push_nowhere, sizeof(push_nowhere), NULL);

	(void)state;
	assert_true(r.done && r.trapped);
	assert_int_equal(r.vector, 14);
	assert_int_equal(r.rip, 2);
}

static int refuse(void)
{
	return EPERM;
}

static void without_its_preparation_nothing_runs(void **state)
{
	static const uint8_t store[] = {0xc6, 0x06, 1}; /* mov byte [rsi], 1 */
	struct probe_result r = run_bytes(store, sizeof(store), refuse);

	(void)state;
	assert_int_equal(r.setup_errno, EPERM);
	assert_int_equal(r.scratch[0], 0);
	r = run_bytes(store, sizeof(store), NULL);
	assert_int_equal(r.scratch[0], 1);
}

/* --- judges, on results that this host may not give ------------------------------------------------------ */

static const struct experiment *first(unsigned op)
{
	for (unsigned i = 0; i < n_experiments; i++)
		if (experiments[i].op == op)
			return &experiments[i];
	return NULL;
}

static struct probe_finding judged(unsigned op, uint32_t arg, struct probe_result r)
{
	struct probe_finding f = {.e = first(op), .arg = arg};

	f.e->judge(f.e, arg, &r, &f);
	return f;
}

static void umip_values_are_known(void **state)
{
	struct probe_result linux_gdt = {.scratch = {0xfffffffe00000000, 0xffff}, .cycles = 1};
	struct probe_result linux_idt = {.scratch = {0xffffffff00000000, 0xffff}, .cycles = 1};
	struct probe_result slow = {.scratch = {0x12340000007f, 0}, .cycles = 1000000};
	struct probe_result real = {.scratch = {0x12340000007f, 0}, .cycles = 1};

	(void)state;
	assert_int_equal(judged(OP_SIDT, 0, linux_idt).outcome, PROBE_EMULATED);
	linux_gdt.scratch[0] = 0xfffffffe0000ull << 16;
	linux_gdt.scratch[1] = 0xffff;
	assert_int_equal(judged(OP_SGDT, 0, linux_gdt).outcome, PROBE_EMULATED);
	assert_int_equal(judged(OP_SGDT, 0, slow).outcome, PROBE_EMULATED);
	assert_int_equal(judged(OP_SGDT, 0, real).outcome, PROBE_LEAKS);
	assert_string_equal(judged(OP_SGDT, 0, real).text, "GDTR of the host: base 0x12340000 limit 0x7f");
	assert_int_equal(judged(OP_SMSW, 0, slow).outcome, PROBE_EMULATED);
	assert_int_equal(judged(OP_STR, 0, real).outcome,
			 find(OP_SGDT, "", 0)->outcome == PROBE_EMULATED ? PROBE_EMULATED : PROBE_LEAKS);
}

static void cli_after_iopl_is_told_by_the_flag(void **state)
{
	struct probe_result skipped = {.regs.rcx = 0x202}, obeyed = {.regs.rcx = 0x2};
	struct probe_finding f = {.e = first(OP_CLI)};

	(void)state;
	judge_cli(f.e, 0, &skipped, &f);
	assert_int_equal(f.outcome, PROBE_EMULATED);
	judge_cli(f.e, 0, &obeyed, &f);
	assert_int_equal(f.outcome, PROBE_SILENT);
}

static void a_trap_elsewhere_is_no_trap_of_the_instruction(void **state)
{
	struct probe_finding f = {.e = first(OP_CLI)};

	(void)state;
	f.r =
	    (struct probe_result){.trapped = true, .vector = 14, .pid = 7, .rip = 0x70000000, .regs.rax = 7};
	judge_trap(&f);
	assert_int_equal(f.outcome, PROBE_SILENT);
	assert_non_null(strstr(f.text, "getpid"));
	f.r.rip = 0;
	judge_trap(&f);
	assert_int_equal(f.outcome, PROBE_TRAPS);
}

static void a_flag_that_changed_is_not_called_kept(void **state)
{
	struct probe_result kept = {.regs.rcx = 0x202}, cleared = {.regs.rcx = 0x2};

	(void)state;
	assert_non_null(strstr(judged(OP_POPF, 0, kept).text, "IF stays set"));
	assert_null(strstr(judged(OP_POPF, 0, cleared).text, "IF stays set"));
}

/* --- the report ------------------------------------------------------------------------------------------ */

static void code_is_shown_with_its_operand(void **state)
{
	struct probe_finding f = {.e = first(OP_INT), .arg = 0x42};
	char code[64];

	(void)state;
	show_code(code, sizeof(code), &f);
	assert_string_equal(code, "int 0x42");
}

static void rows_are_counted_by_their_cases(void **state)
{
	const struct experiment *cli = first(OP_CLI), *popf = first(OP_POPF), *iret = first(OP_IRET);
	struct probe_finding f[] = {
	    {.e = cli, .outcome = PROBE_TRAPS},	   {.e = cli, .outcome = PROBE_NOT_RUN},
	    {.e = popf, .outcome = PROBE_SILENT},  {.e = popf, .outcome = PROBE_TRAPS},
	    {.e = iret, .outcome = PROBE_NOT_RUN},
	};
	struct probe_cases r = {.f = f, .n = 5};
	struct probe_counts c;

	(void)state;
	show_count(&r, &c);
	assert_int_equal(c.rows, 3);
	assert_int_equal(c.rows_always, 1);
	assert_int_equal(c.rows_sometimes, 1);
	assert_int_equal(c.rows_never, 0);
	assert_int_equal(c.rows_not_run, 1);
	assert_int_equal(c.cases[PROBE_TRAPS], 2);
}

static void compatibility_mode_has_evidence(void **state)
{
	struct probe_compat a, b;

	(void)state;
	mode_find_compat(&a);
	mode_find_compat(&b);
	assert_true(*a.evidence);
	assert_int_equal(a.selector, b.selector);
	assert_string_equal(a.evidence, b.evidence);
	if (a.selector)
		assert_int_equal(a.selector & 3, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_row_has_an_experiment),
	    cmocka_unit_test(every_experiment_executes_its_row),
	    cmocka_unit_test(experiments_stand_in_the_order_of_the_rows),
	    cmocka_unit_test(privileged_instructions_are_gp0),
	    cmocka_unit_test(popf_does_not_trap_and_does_not_obey),
	    cmocka_unit_test(iret_ignores_if_and_refuses_ring_0),
	    cmocka_unit_test(int_n_is_checked_against_the_gate),
	    cmocka_unit_test(lar_of_null_clears_zf),
	    cmocka_unit_test(segment_loads_are_checked_by_the_host),
	    cmocka_unit_test(sgdt_traps_or_shows_something),
	    cmocka_unit_test(legacy_rows_say_so),
	    cmocka_unit_test(compat_traps_and_silence),
	    cmocka_unit_test(compat_segment_registers),
	    cmocka_unit_test(compat_far_transfers),
	    cmocka_unit_test(compat_system_calls_enter_the_host),
	    cmocka_unit_test(what_is_silent_is_what_the_experiments_found),
	    cmocka_unit_test(the_host_is_judged_by_the_experiments),
	    cmocka_unit_test(a_child_that_hangs_is_killed),
	    cmocka_unit_test(a_child_that_exits_is_noticed),
	    cmocka_unit_test(a_lost_stack_pointer_does_no_harm),
	    cmocka_unit_test(without_its_preparation_nothing_runs),
	    cmocka_unit_test(umip_values_are_known),
	    cmocka_unit_test(cli_after_iopl_is_told_by_the_flag),
	    cmocka_unit_test(a_trap_elsewhere_is_no_trap_of_the_instruction),
	    cmocka_unit_test(a_flag_that_changed_is_not_called_kept),
	    cmocka_unit_test(code_is_shown_with_its_operand),
	    cmocka_unit_test(rows_are_counted_by_their_cases),
	    cmocka_unit_test(compatibility_mode_has_evidence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
