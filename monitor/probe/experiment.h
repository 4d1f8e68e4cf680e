// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The experiments of `paravane probe`: for every row of the policy table (hypercalls/sensitive.def) code that
 * executes the instruction at CPL 3, the operands that matter, and what to look at afterwards.
 *
 * experiments.def is the table. A *case* is one experiment with one operand of its list (a selector, a vector).
 */
#ifndef MONITOR_PROBE_EXPERIMENT_H
#define MONITOR_PROBE_EXPERIMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What became of the instruction. The order is that of the summary. */
enum probe_outcome {
	PROBE_TRAPS,	/* an exception, seen as a signal: the monitor gets it */
	PROBE_LEAKS,	/* no trap; it shows state of the host where the guest's own belongs */
	PROBE_SILENT,	/* no trap; it did not do what it does at CPL 0, or did it to the host */
	PROBE_EMULATED, /* no signal; the host's kernel took the trap and made up an answer */
	PROBE_RIGHT,	/* no trap, and the result is what a guest's kernel may expect */
	PROBE_NOT_RUN,	/* could not be tried; the text says why */
	PROBE_OUTCOMES
};

/* Registers before and after. Their order is known to the assembly in child.c. */
struct probe_regs {
	uint64_t rax, rcx, rdx, rbx, rsi, rdi;
	uint64_t rflags; /* after only */
};

#define PROBE_SCRATCH_WORDS 8

/* What one run in a child left behind. In memory shared with it. */
struct probe_result {
	int pid;	 /* the child's */
	uint64_t code;	 /* where it had the experiment's code */
	bool done;	 /* the child got through to its end */
	int wait_status; /* of waitpid(); meaningful if !done */
	int setup_errno; /* > 0: the preparation failed, the instruction was not tried */
	bool trapped;
	int signo;		/* if trapped: the signal, and the exception as the kernel recorded it */
	unsigned vector;	/* uc_mcontext REG_TRAPNO */
	uint64_t error;		/* REG_ERR */
	int64_t rip;		/* REG_RIP, from the first byte of the experiment's code */
	struct probe_regs regs; /* after; those of the signal's frame if trapped */
	uint64_t scratch[PROBE_SCRATCH_WORDS]; /* the first words of the memory that RSI points to, after */
	uint64_t cycles; /* median cost in TSC ticks, the empty experiment's deducted; 0: not measurable */
};

struct probe_arg {
	uint32_t value;
	const char *words; /* NULL: the number says enough */
};

struct probe_finding;
struct experiment {
	uint16_t op;	  /* enum pv_op */
	uint16_t width;	  /* of its code: 64, or 32 for compatibility mode */
	const char *what; /* operands or circumstances, in words */
	const uint8_t *code, *end;
	const struct probe_arg *args; /* operands to try; each replaces arg_size bytes at code + 1 */
	unsigned n_args, arg_size;
	int (*setup)(void); /* in the child, before; 0 or errno */
	/* Judges a result that is no trap: sets outcome and text. */
	void (*judge)(const struct experiment *e, uint32_t arg, const struct probe_result *r,
		      struct probe_finding *f);
	const char *note; /* for the judge: what it means that it went through */
};

struct probe_finding {
	const struct experiment *e;
	uint32_t arg; /* of e->args; 0 without */
	const char *arg_words;
	enum probe_outcome outcome;
	char exception[24]; /* "#GP(0)"; "" if nothing trapped */
	char text[160];	    /* what happened, in words with the values seen */
	struct probe_result r;
};

/* The table, in the order of printing, 64-bit mode first. */
extern const struct experiment experiments[];
extern const unsigned n_experiments;

unsigned experiment_cases(unsigned width); /* the number of cases in all of that mode */
/*
 * Fill findings[0 .. experiment_cases()), running the cases of one row's experiments, of all for OP_NONE, in
 * compatibility mode by the code segment cs32 (mode.h), in 64-bit mode if that is 0. Returns the number filled.
 */
unsigned experiment_run(unsigned op, uint16_t cs32, struct probe_finding *findings);

/* Run the one case of op whose experiment is named `what`, and whose operand is arg where it has some; there must be
 * one. */
void experiment_one(unsigned op, const char *what, uint32_t arg, uint16_t cs32, struct probe_finding *f);

/* The heading under which e stands. */
const char *experiment_group(const struct experiment *e);
const char *probe_outcome_name(enum probe_outcome o); /* "traps", "leaks", "silent", ... */

#endif
