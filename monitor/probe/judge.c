// SPDX-License-Identifier: GPL-3.0-or-later
/* Judges of results, and the words for them. */
#include "monitor/probe/judge.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

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
#define TRAPS_TIMED 5

/* --- judges of what went through ------------------------------------------------------------------------- */

void found(struct probe_finding *f, enum probe_outcome outcome, const char *fmt, ...)
{
	va_list ap;

	f->outcome = outcome;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
}

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

/* Since 5.5 Linux's iopl() grants the ports alone; the #GP of CLI and STI it then swallows (fixup_iopl_exception()). */
JUDGE(cli)
{
	UNUSED;
	if (value(r) & FLAG_IF)
		found(f, PROBE_EMULATED, "the host's kernel takes the trap and skips it: IF stays set");
	else
		found(f, PROBE_SILENT, "IF of the host is clear");
}

/* --- UMIP ------------------------------------------------------------------------------------------------ */

/* What CLI with its signal costs: the least of some, as the first may be slow. */
static uint64_t trap_cycles(void)
{
	static uint64_t known;
	struct probe_result r;

	for (int i = 0; i < TRAPS_TIMED && (i || !known); i++) {
		child_run(&experiments[0], 0, 0, &r);
		if (r.trapped && r.cycles && (!known || r.cycles < known))
			known = r.cycles;
	}
	return known;
}

static bool cost_of_trap(const struct probe_result *r)
{
	return trap_cycles() && r->cycles > trap_cycles() / EMULATED_SHARE;
}

static uint64_t table_base(const struct probe_result *r)
{
	return r->scratch[0] >> 16 | r->scratch[1] << 48;
}

static unsigned table_limit(const struct probe_result *r)
{
	return r->scratch[0] & 0xffff;
}

static bool made_up(const struct experiment *e, const struct probe_result *r)
{
	uint64_t base = e->op == OP_SGDT ? UMIP_GDT_BASE : UMIP_IDT_BASE;

	return table_base(r) == (e->width == 32 ? (uint32_t)base : base) && table_limit(r) == 0;
}

/* CR4.UMIP is one bit for all five, and only the two tables have values to know it by. */
static bool umip_is_hidden(void)
{
	static int known = -1;
	struct probe_result r;

	for (unsigned i = 0; known < 0 && i < n_experiments; i++) {
		if (experiments[i].op != OP_SGDT)
			continue;
		child_run(&experiments[i], 0, 0, &r);
		known = r.done && !r.trapped && made_up(&experiments[i], &r);
	}
	return known > 0;
}

JUDGE(table)
{
	unsigned long long base = table_base(r);
	bool fake = made_up(e, r);

	UNUSED;
	if (fake || cost_of_trap(r))
		found(f, PROBE_EMULATED, "%s base 0x%llx limit 0x%x: %s", e->note, base, table_limit(r),
		      fake ? "the value that Linux makes up" : "at the price of a trap");
	else
		found(f, PROBE_LEAKS, "%s of the host: base 0x%llx limit 0x%x", e->note, base,
		      table_limit(r));
}

JUDGE(umip)
{
	UNUSED;
	if (umip_is_hidden())
		found(f, PROBE_EMULATED, "%s 0x%llx, made up: SGDT shows that UMIP is on", e->note, value(r));
	else if (cost_of_trap(r))
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

/* --- traps ----------------------------------------------------------------------------------------------- */

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

/*
 * Linux returns from SYSCALL and SYSENTER of compatibility mode to a landing pad in the 32-bit vDSO, which a 64-bit
 * process does not have: the address is one of its own vDSO, cut to 32 bits by CS.
 */
static bool left_the_code(const struct probe_finding *f)
{
	return f->r.rip < 0 || f->r.rip > f->e->end - f->e->code;
}

void judge_trap(struct probe_finding *f)
{
	const struct probe_result *r = &f->r;

	name_exception(r, f->exception, sizeof(f->exception));
	if (left_the_code(f))
		found(f, PROBE_SILENT,
		      "entered the host's kernel%s; its way back does not lead here: %s at RIP 0x%llx",
		      r->regs.rax == (uint64_t)r->pid ? ", which did a getpid" : "", f->exception,
		      (unsigned long long)r->rip + r->code);
	else if (f->e->op == OP_INT && r->vector == 13 && r->error == f->arg * 8 + 2)
		found(f, PROBE_TRAPS, "#GP(n*8+2): the gate has DPL 0");
	else if (f->e->op == OP_INT && r->vector == 13 && r->error == f->arg * 16 + 2) /* do_interrupt64() */
		found(f, PROBE_TRAPS, "#GP(n*16+2), as QEMU has it: the gate has DPL 0");
	else if (f->e->n_args && f->e->arg_size == 4)
		found(f, PROBE_TRAPS, "%s",
		      r->vector == 13 && r->error && r->error == (f->arg & ~3u) ? "#GP(selector)"
										: f->exception);
	else
		found(f, PROBE_TRAPS, "%s", f->exception);
}

/* The child did not come back: the instruction left it in a state in which no handler runs. */
void judge_loss(struct probe_finding *f)
{
	if (WIFSIGNALED(f->r.wait_status) && WTERMSIG(f->r.wait_status) != SIGKILL)
		found(f, PROBE_SILENT, "the process did not survive: %s",
		      strsignal(WTERMSIG(f->r.wait_status)));
	else
		found(f, PROBE_SILENT, "did not come back within %d s", PROBE_TIMEOUT_MS / 1000);
}
