// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The policy table: the single source of truth about sensitive instructions. One row of sensitive.def is one
 * sensitive form; audit prints it, the planner plans by it, lower.c lowers by it, the monitor emulates by it,
 * docs and probe are generated from it. Only the verifier has its own list (see patcher/verify.c for why).
 */
#ifndef HYPERCALLS_POLICY_H
#define HYPERCALLS_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Why an instruction is sensitive, stated as what happens at CPL 3. */
enum policy_class {
	CLASS_NONE,
	CLASS_PRIVILEGED,    /* always traps (#GP, #UD; INT3 and kin by their own): patched for speed */
	CLASS_NEVER_TRAPS,   /* silently does the wrong thing: patched for correctness */
	CLASS_HOST_CONFIG,   /* traps only if the host is configured so (UMIP, CR4.TSD, CPUID faulting, ...) */
	CLASS_BY_OPERAND,    /* traps for some operands: descriptors, vectors, IOPL bitmap */
};

enum hypercall {
#define HYPERCALL(id, name, summary) id,
#include "hypercalls/hypercall.def"
#undef HYPERCALL
	HC_COUNT
};

/* How the emitter replaces the instruction in a stub. */
enum lowering {
	LOWER_VERBATIM, /* runs natively unchanged: listed because it leaks or may trap, but needs no patch */
	LOWER_EXIT,	/* leave through the site's landing pad */
	LOWER_CLI,	/* inline store */
	LOWER_STI,	/* inline store and pending test */
	LOWER_PUSHF,	/* inline */
	LOWER_POPF,	/* inline; exits for unusual flags or when something is pending */
	LOWER_SEG_READ, /* inline load of the guest's selector from the vCPU page */
	LOWER_CR_READ,	/* inline load of CR0, CR2, CR3 or CR4 from the vCPU page */
};

/* Code widths a row applies to; a row may differ by width, then there are several rows. */
enum { WIDTH_16 = 1, WIDTH_32 = 2, WIDTH_64 = 4, WIDTH_LEGACY = 3, WIDTH_ALL = 7 };

enum pv_op {
	OP_NONE,
#define SENSITIVE(id, ...) id,
#include "hypercalls/sensitive.def"
#undef SENSITIVE
	OP_COUNT
};

struct policy {
	const char *id;	       /* "OP_POPF" */
	const char *mnemonic;  /* "POPF", as the SDM prints it */
	const char *form;      /* operand form, "Sreg, r/m16", "" without operands */
	uint8_t widths;	       /* mask of WIDTH_* */
	uint8_t cls;	       /* enum policy_class */
	uint8_t hypercall;     /* enum hypercall: the handler */
	uint8_t lowering;      /* enum lowering */
	const char *reason;    /* one sentence: what happens at CPL 3 and why that is wrong */
	const char *manual;    /* "SDM 2B POPF" */
	const char *meaning;   /* one sentence: what it means under virtualization */
	uint8_t sample_len;    /* bytes of `sample`, for the first width in `widths` that is 32, 64 or 16 */
	uint8_t sample[15];    /* an encoding that must find this very row */
};

/* The row of op (op < OP_COUNT); row 0 (OP_NONE) is all empty strings. Never NULL. */
const struct policy *policy_get(unsigned op);
const char *policy_class_name(unsigned cls);	 /* "privileged", "never-traps", "host-config", "by-operand" */
const char *hypercall_name(unsigned hypercall); /* "cli" ... */
const char *lowering_name(unsigned lowering);

/* Does patching or translation put something else in its place? (Not of OP_NONE, nor of what is only listed.) */
bool policy_is_replaced(unsigned op);

/* Does leaving this instruction unpatched in direct code give wrong results without any trap? (Then its page
 * must not run directly.) True for NEVER_TRAPS, HOST_CONFIG and BY_OPERAND rows that are not LOWER_VERBATIM. */
bool policy_may_not_trap(unsigned op);

#endif
