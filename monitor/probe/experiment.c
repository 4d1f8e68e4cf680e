// SPDX-License-Identifier: GPL-3.0-or-later
/* The experiments as a table, and the loop that runs them. */
#include "monitor/probe/experiment.h"

#include <asm/ldt.h>
#include <asm/prctl.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hypercalls/policy.h"
#include "monitor/probe/child.h"
#include "monitor/probe/judge.h"

/* --- operands -------------------------------------------------------------------------------------------- */

/* Linux's GDT: arch/x86/include/asm/segment.h. Gates and conforming segments it has none, and modify_ldt makes none. */
static const struct probe_arg SELECTORS[] = {
    {0x0000, "null"},
    {0x0003, "null, RPL 3"},
    {0x0010, "GDT 2, kernel code"},
    {0x0018, "GDT 3, kernel data"},
    {0x0023, "GDT 4, 32-bit code"},
    {0x002b, "GDT 5, user data"},
    {0x0028, "GDT 5, RPL 0"},
    {0x0033, "GDT 6, 64-bit code"},
    {0x0043, "GDT 8, TSS"},
    {0x0053, "GDT 10, LDT"},
    {0x0063, "GDT 12, TLS"},
    {0x007b, "GDT 15, CPU number"},
    {0x0007, "LDT 0"},
    {0xfffb, "beyond the limit"},
};
#define V1(n)                                                                                                \
	{                                                                                                    \
		n, NULL                                                                                      \
	}
#define V4(n) V1(n), V1((n) + 1), V1((n) + 2), V1((n) + 3)
#define V16(n) V4(n), V4((n) + 4), V4((n) + 8), V4((n) + 12)
#define V64(n) V16(n), V16((n) + 16), V16((n) + 32), V16((n) + 48)
static const struct probe_arg VECTORS[] = {V64(0), V64(64), V64(128), V64(192)};

/* --- preparations, in the child -------------------------------------------------------------------------- */

static int setup_iopl(void)
{
	return iopl(3) ? errno : 0;
}

static int setup_ioperm(void)
{
	return ioperm(0x80, 1, 1) ? errno : 0;
}

static int setup_ldt(void)
{
	struct user_desc flat = {
	    .entry_number = 0, .limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1, .useable = 1};

	return syscall(SYS_modify_ldt, 0x11, &flat, sizeof(flat)) ? errno : 0;
}

static int setup_cpuid(void)
{
	return syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) ? errno : 0;
}

static int setup_tsc(void)
{
	return prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0) ? errno : 0;
}

/* --- the table ------------------------------------------------------------------------------------------- */

#define ASSEMBLE(width, op, tag, code)                                                                       \
	__asm__(".pushsection .rodata\n.code" #width "\nprobe_code" #width "_" #op "_" #tag ": " code        \
		"\nprobe_end" #width "_" #op "_" #tag ":\n.code64\n.popsection");                            \
	extern const uint8_t probe_code##width##_##op##_##tag[], probe_end##width##_##op##_##tag[];
#define EXPERIMENT(op, tag, what, code, args, setup, judge, note) ASSEMBLE(64, op, tag, code)
#define PLAIN(op, code) ASSEMBLE(64, op, plain, code)
#define PROBE_WIDTH 64
#include "monitor/probe/experiments.def"
#undef EXPERIMENT
#undef PLAIN
#define EXPERIMENT(op, tag, what, code, args, setup, judge, note) ASSEMBLE(32, op, tag, code)
#define PLAIN(op, code) ASSEMBLE(32, op, plain, code)
#define PROBE_WIDTH 32
#include "monitor/probe/experiments.def"
#undef EXPERIMENT
#undef PLAIN

#define ARGS_NONE NULL, 0, 0
#define ARGS_SELECTORS SELECTORS, sizeof(SELECTORS) / sizeof(*SELECTORS), 4
#define ARGS_VECTORS VECTORS, sizeof(VECTORS) / sizeof(*VECTORS), 1
#define ENTRY(width, op, tag, what, args, setup, judge, note)                                                \
	{op,	width, what, probe_code##width##_##op##_##tag, probe_end##width##_##op##_##tag, ARGS_##args, \
	 setup, judge, note},

const struct experiment experiments[] = {
#define EXPERIMENT(op, tag, what, code, args, setup, judge, note)                                            \
	ENTRY(64, op, tag, what, args, setup, judge, note)
#define PLAIN(op, code) ENTRY(64, op, plain, "", NONE, NULL, judge_silent, "executed without a trap")
#define PROBE_WIDTH 64
#include "monitor/probe/experiments.def"
#undef EXPERIMENT
#undef PLAIN
#define EXPERIMENT(op, tag, what, code, args, setup, judge, note)                                            \
	ENTRY(32, op, tag, what, args, setup, judge, note)
#define PLAIN(op, code) ENTRY(32, op, plain, "", NONE, NULL, judge_silent, "executed without a trap")
#define PROBE_WIDTH 32
#include "monitor/probe/experiments.def"
#undef EXPERIMENT
#undef PLAIN
};
const unsigned n_experiments = sizeof(experiments) / sizeof(*experiments);

/* Where in sensitive.def the headings begin. */
static const struct {
	uint16_t first;
	const char *title;
} groups[] = {
    {OP_CLI, "Interrupt flag and flags"},
    {OP_INT3, "Software interrupts"},
    {OP_CALL_FAR, "Far transfers"},
    {OP_PUSH_ES, "Reading segment registers"},
    {OP_POP_ES, "Loading segment registers"},
    {OP_MOV_FROM_SREG, "MOV to and from segment, control and debug registers"},
    {OP_SGDT, "Descriptor-table and task registers"},
    {OP_LAR, "Questions about descriptors"},
    {OP_INVLPG, "Translation caches and caches"},
    {OP_IN, "Ports and halt"},
    {OP_RDMSR, "Model-specific registers and counters"},
    {OP_CPUID, "What the CPU says about itself"},
    {OP_MONITOR, "Waiting"},
    {OP_STAC, "Supervisor access prevention"},
    {OP_SYSENTER, "Fast system calls, FS and GS base"},
    {OP_VMCALL, "Hypercalls and virtualization extensions"},
    {OP_RSM, "Others"},
};

const char *experiment_group(const struct experiment *e)
{
	const char *title = groups[0].title;

	for (unsigned i = 0; i < sizeof(groups) / sizeof(*groups) && groups[i].first <= e->op; i++)
		title = groups[i].title;
	return title;
}

const char *probe_outcome_name(enum probe_outcome o)
{
	static const char *const names[PROBE_OUTCOMES] = {
	    [PROBE_TRAPS] = "traps",	   [PROBE_LEAKS] = "leaks", [PROBE_SILENT] = "silent",
	    [PROBE_EMULATED] = "emulated", [PROBE_RIGHT] = "right", [PROBE_NOT_RUN] = "not-run",
	};

	return names[o];
}

/* --- running --------------------------------------------------------------------------------------------- */

/* A row of legacy and compatibility mode: are its bytes a row of 64-bit mode too, which has its own experiment? */
static bool other_row_in_64(unsigned op)
{
	for (unsigned i = 1; i < OP_COUNT; i++)
		if (!strcmp(policy_get(i)->mnemonic, policy_get(op)->mnemonic) &&
		    policy_get(i)->widths & WIDTH_64)
			return i != op && !*policy_get(op)->form;
	return false;
}

static void judge_legacy(struct probe_finding *f)
{
	child_run(f->e, 0, 0, &f->r);
	found(f, PROBE_NOT_RUN, "compatibility mode only (64-bit: %s)",
	      !f->r.done	 ? "fatal"
	      : !f->r.trapped	 ? "another"
	      : f->r.vector == 6 ? "#UD"
				 : "a trap");
}

static void judge_case(struct probe_finding *f, uint16_t cs32)
{
	unsigned op = f->e->op;

	if (f->e->width == 64 && !(policy_get(op)->widths & WIDTH_64)) {
		if (other_row_in_64(op))
			found(f, PROBE_NOT_RUN, "compatibility mode only");
		else
			judge_legacy(f);
		return;
	}
	child_run(f->e, f->arg, cs32, &f->r);
	if (f->r.setup_errno)
		found(f, PROBE_NOT_RUN, "the preparation fails: %s", strerror(f->r.setup_errno));
	else if (!f->r.done)
		judge_loss(f);
	else if (f->r.trapped)
		judge_trap(f);
	else
		f->e->judge(f->e, f->arg, &f->r, f);
}

static unsigned cases_of(const struct experiment *e)
{
	return e->n_args ? e->n_args : 1;
}

unsigned experiment_cases(unsigned width)
{
	unsigned n = 0;

	for (unsigned i = 0; i < n_experiments; i++)
		if (experiments[i].width == width)
			n += cases_of(&experiments[i]);
	return n;
}

static void run_case(const struct experiment *e, unsigned k, uint16_t cs32, struct probe_finding *f)
{
	*f = (struct probe_finding){.e = e};
	if (e->n_args) {
		f->arg = e->args[k].value;
		f->arg_words = e->args[k].words;
	}
	judge_case(f, cs32);
}

static bool belongs(const struct experiment *e, unsigned op, uint16_t cs32)
{
	return (op == OP_NONE || op == e->op) && e->width == (cs32 ? 32 : 64);
}

unsigned experiment_run(unsigned op, uint16_t cs32, struct probe_finding *findings)
{
	unsigned n = 0;

	for (unsigned i = 0; i < n_experiments; i++)
		for (unsigned k = 0; belongs(&experiments[i], op, cs32) && k < cases_of(&experiments[i]); k++)
			run_case(&experiments[i], k, cs32, &findings[n++]);
	return n;
}

void experiment_one(unsigned op, const char *what, uint32_t arg, uint16_t cs32, struct probe_finding *f)
{
	for (unsigned i = 0; i < n_experiments; i++) {
		const struct experiment *e = &experiments[i];

		if (!belongs(e, op, cs32) || strcmp(e->what, what))
			continue;
		for (unsigned k = 0; k < cases_of(e); k++)
			if (!e->n_args || e->args[k].value == arg) {
				run_case(e, k, cs32, f);
				return;
			}
	}
	assert(!"no such experiment");
}
