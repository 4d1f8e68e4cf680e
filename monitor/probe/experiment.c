// SPDX-License-Identifier: GPL-3.0-or-later
/* The experiments as a table, the judges of their results, and the loop that runs them. */
#include "monitor/probe/experiment.h"

#include <asm/ldt.h>
#include <asm/prctl.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hypercalls/policy.h"
#include "monitor/probe/child.h"

/* EFLAGS, SDM 1 3.4.3 */
#define FLAG_ZF 0x40u
#define FLAG_IF 0x200u
#define FLAG_IOPL 0x3000u
#define FLAG_NT 0x4000u
#define FLAG_AC 0x40000u

/* Linux, arch/x86/kernel/umip.c: what it stores for SGDT and SIDT after the #GP of UMIP; the limit is 0. */
#define UMIP_GDT_BASE 0xfffffffffffe0000u
#define UMIP_IDT_BASE 0xffffffffffff0000u
/* A kernel's answer costs a trap, about a signal's delivery less; the CPU's own a hundred times less. */
#define EMULATED_SHARE 8

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
/* For far transfers: what a guest's kernel would name. */
static const struct probe_arg SELECTORS_BAD[] = {
    {0x0000, "null"},  {0x0010, "GDT 2, kernel code"}, {0x002b, "GDT 5, user data"}, {0x0043, "GDT 8, TSS"},
    {0x0007, "LDT 0"}, {0xfffb, "beyond the limit"},
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

/* --- judges of what went through ------------------------------------------------------------------------- */

static void __attribute__((format(printf, 3, 4)))
found(struct probe_finding *f, enum probe_outcome outcome, const char *fmt, ...)
{
	va_list ap;

	f->outcome = outcome;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
}

#define JUDGE(name)                                                                                          \
	static void judge_##name(const struct experiment *e, uint32_t arg, const struct probe_result *r,     \
				 struct probe_finding *f)
#define UNUSED (void)e, (void)arg, (void)r

static unsigned long long value(const struct probe_result *r)
{
	return r->regs.rcx;
}

JUDGE(silent)
{
	UNUSED;
	found(f, PROBE_SILENT, "%s", e->note);
}

JUDGE(right)
{
	UNUSED;
	found(f, PROBE_RIGHT, "%s", e->note);
}

JUDGE(right_value)
{
	UNUSED;
	found(f, PROBE_RIGHT, "%s 0x%llx", e->note, value(r));
}

JUDGE(leak)
{
	UNUSED;
	found(f, PROBE_LEAKS, "%s 0x%llx", e->note, value(r));
}

/* Flags read back after they were loaded: are `bits` as `expected`, which the note describes? */
static void judge_flags(const struct experiment *e, const struct probe_result *r, uint64_t bits,
			uint64_t expected, struct probe_finding *f)
{
	if ((value(r) & bits) == expected)
		found(f, PROBE_SILENT, "%s: flags read back 0x%llx", e->note, value(r));
	else
		found(f, PROBE_SILENT, "not as the manual has it: flags read back 0x%llx", value(r));
}

JUDGE(if)
{
	UNUSED;
	judge_flags(e, r, FLAG_IF, FLAG_IF, f);
}

JUDGE(iopl)
{
	UNUSED;
	judge_flags(e, r, FLAG_IOPL, 0, f);
}

JUDGE(nt)
{
	UNUSED;
	judge_flags(e, r, FLAG_NT, FLAG_NT, f);
}

JUDGE(ac)
{
	UNUSED;
	judge_flags(e, r, FLAG_AC, FLAG_AC, f);
}

JUDGE(int)
{
	UNUSED;
	found(f, PROBE_SILENT, "no signal: the host lets CPL 3 in; RAX is 0x%llx after",
	      (unsigned long long)r->regs.rax);
}

JUDGE(load)
{
	UNUSED;
	if (!(arg & ~3u))
		found(f, PROBE_RIGHT, "loaded, as for every table");
	else
		found(f, PROBE_SILENT, "loaded what the host's table has there");
}

/* --- UMIP ------------------------------------------------------------------------------------------------ */

static uint64_t trap_cycles(void)
{
	static uint64_t known;
	struct probe_result r;

	if (!known) {
		child_run(&experiments[0], 0, &r);
		known = r.trapped && r.cycles ? r.cycles : 1;
	}
	return known;
}

static bool cost_of_trap(const struct probe_result *r)
{
	return trap_cycles() > 1 && r->cycles > trap_cycles() / EMULATED_SHARE;
}

JUDGE(table)
{
	uint64_t base = r->scratch[0] >> 16 | r->scratch[1] << 48;
	unsigned limit = r->scratch[0] & 0xffff;
	bool fake = base == (e->op == OP_SGDT ? UMIP_GDT_BASE : UMIP_IDT_BASE) && limit == 0;

	UNUSED;
	if (fake || cost_of_trap(r))
		found(f, PROBE_EMULATED, "%s base 0x%llx limit 0x%x: %s", e->note, (unsigned long long)base,
		      limit, fake ? "the value that Linux makes up" : "at the price of a trap");
	else
		found(f, PROBE_LEAKS, "%s of the host: base 0x%llx limit 0x%x", e->note,
		      (unsigned long long)base, limit);
}

JUDGE(umip)
{
	UNUSED;
	if (cost_of_trap(r))
		found(f, PROBE_EMULATED, "%s 0x%llx, at the price of a trap", e->note, value(r));
	else
		found(f, PROBE_LEAKS, "%s of the host 0x%llx", e->note, value(r));
}

/* --- questions about descriptors ------------------------------------------------------------------------- */

static bool zf(const struct probe_result *r)
{
	return r->regs.rflags & FLAG_ZF;
}

/* ZF clear: the answer "no" is right for a null selector, else it is the host's answer. */
static void judge_no(uint32_t arg, struct probe_finding *f)
{
	if (arg & ~3u)
		found(f, PROBE_SILENT, "ZF=0: not in the host's tables, or not for CPL 3");
	else
		found(f, PROBE_RIGHT, "ZF=0, as for every table");
}

/* SDM 3A 3.4.5: type, S, DPL and P in bits 8 to 15, AVL, L, D/B and G in bits 20 to 23. */
static const char *rights_words(uint64_t rights)
{
	if (!(rights & 0x1000))
		return "system";
	if (!(rights & 0x800))
		return "data";
	return rights & 0x200000 ? "64-bit code" : rights & 0x400000 ? "32-bit code" : "16-bit code";
}

JUDGE(lar)
{
	UNUSED;
	if (!zf(r))
		judge_no(arg, f);
	else
		found(f, PROBE_LEAKS, "%s of the host 0x%llx: %s, DPL %llu", e->note, value(r),
		      rights_words(value(r)), value(r) >> 13 & 3);
}

JUDGE(zf_value)
{
	UNUSED;
	if (!zf(r))
		judge_no(arg, f);
	else
		found(f, PROBE_LEAKS, "%s of the host 0x%llx", e->note, value(r));
}

JUDGE(zf)
{
	UNUSED;
	if (!zf(r))
		judge_no(arg, f);
	else
		found(f, PROBE_LEAKS, "ZF=1: the host's segment is %s", e->note);
}

/* --- the table ------------------------------------------------------------------------------------------- */

#define EXPERIMENT(op, tag, what, code, args, setup, judge, note)                                            \
	__asm__(".pushsection .rodata\nprobe_code_" #op "_" #tag ": " code "\nprobe_end_" #op "_" #tag       \
		":\n.popsection");                                                                           \
	extern const uint8_t probe_code_##op##_##tag[], probe_end_##op##_##tag[];
#define PLAIN(op, code) EXPERIMENT(op, plain, "", code, NONE, NULL, judge_silent, "")
#include "monitor/probe/experiments.def"
#undef EXPERIMENT
#undef PLAIN

#define ARGS_NONE NULL, 0, 0
#define ARGS_SELECTORS SELECTORS, sizeof(SELECTORS) / sizeof(*SELECTORS), 4
#define ARGS_SELECTORS_BAD SELECTORS_BAD, sizeof(SELECTORS_BAD) / sizeof(*SELECTORS_BAD), 4
#define ARGS_VECTORS VECTORS, sizeof(VECTORS) / sizeof(*VECTORS), 1

const struct experiment experiments[] = {
#define EXPERIMENT(op, tag, what, code, args, setup, judge, note)                                            \
	{op, what, probe_code_##op##_##tag, probe_end_##op##_##tag, ARGS_##args, setup, judge, note},
#define PLAIN(op, code) EXPERIMENT(op, plain, "", code, NONE, NULL, judge_silent, "executed without a trap")
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

/* SDM 3A table 6-1; which of them push an error code. */
static void name_exception(const struct probe_result *r, char *to, size_t cap)
{
	static const char *const names[] = {"DE", "DB", "NMI", "BP", "OF", "BR", "UD", "NM",
					    "DF", NULL, "TS",  "NP", "SS", "GP", "PF", NULL,
					    "MF", "AC", "MC",  "XM", "VE", "CP"};
	const uint32_t with_error = 1u << 8 | 0x1fu << 10 | 1u << 17 | 1u << 21;

	if (r->vector >= sizeof(names) / sizeof(*names) || !names[r->vector])
		snprintf(to, cap, "vector %u", r->vector);
	else if (with_error >> r->vector & 1)
		snprintf(to, cap, r->error ? "#%s(0x%llx)" : "#%s(%llu)", names[r->vector],
			 (unsigned long long)r->error);
	else
		snprintf(to, cap, "#%s", names[r->vector]);
}

static void describe_trap(struct probe_finding *f)
{
	const struct probe_result *r = &f->r;

	name_exception(r, f->exception, sizeof(f->exception));
	if (f->e->op == OP_INT && r->vector == 13 && r->error == f->arg * 8 + 2)
		found(f, PROBE_TRAPS, "#GP(n*8+2): the gate has DPL 0");
	else if (f->e->args == SELECTORS || f->e->args == SELECTORS_BAD)
		found(f, PROBE_TRAPS, "%s",
		      r->vector == 13 && r->error && r->error == (f->arg & ~3u) ? "#GP(selector)"
										: f->exception);
	else
		found(f, PROBE_TRAPS, "%s", f->exception);
}

/* The child did not come back: the instruction left it in a state in which no handler runs. */
static void describe_loss(struct probe_finding *f)
{
	if (WIFSIGNALED(f->r.wait_status) && WTERMSIG(f->r.wait_status) != SIGKILL)
		found(f, PROBE_SILENT, "the process did not survive: %s",
		      strsignal(WTERMSIG(f->r.wait_status)));
	else
		found(f, PROBE_SILENT, "did not come back within %d s", PROBE_TIMEOUT_MS / 1000);
}

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
	child_run(f->e, 0, &f->r);
	found(f, PROBE_NOT_RUN, "compatibility mode only (64-bit: %s)",
	      !f->r.done	 ? "fatal"
	      : !f->r.trapped	 ? "another"
	      : f->r.vector == 6 ? "#UD"
				 : "a trap");
}

static void judge_case(struct probe_finding *f)
{
	unsigned op = f->e->op;

	if (!(policy_get(op)->widths & WIDTH_64)) {
		if (other_row_in_64(op))
			found(f, PROBE_NOT_RUN, "compatibility mode only");
		else
			judge_legacy(f);
		return;
	}
	child_run(f->e, f->arg, &f->r);
	if (f->r.setup_errno)
		found(f, PROBE_NOT_RUN, "the preparation fails: %s", strerror(f->r.setup_errno));
	else if (!f->r.done)
		describe_loss(f);
	else if (f->r.trapped)
		describe_trap(f);
	else
		f->e->judge(f->e, f->arg, &f->r, f);
}

unsigned experiment_cases(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < n_experiments; i++)
		n += experiments[i].n_args ? experiments[i].n_args : 1;
	return n;
}

unsigned experiment_run(unsigned op, struct probe_finding *findings)
{
	unsigned n = 0;

	for (unsigned i = 0; i < n_experiments; i++) {
		const struct experiment *e = &experiments[i];

		for (unsigned k = 0; (op == OP_NONE || op == e->op) && k < (e->n_args ? e->n_args : 1); k++) {
			struct probe_finding *f = &findings[n++];

			*f = (struct probe_finding){.e = e};
			if (e->n_args) {
				f->arg = e->args[k].value;
				f->arg_words = e->args[k].words;
			}
			judge_case(f);
		}
	}
	return n;
}
