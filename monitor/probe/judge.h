// SPDX-License-Identifier: GPL-3.0-or-later
/* What became of an instruction: a judge turns what its child left behind into an outcome and words. */
#ifndef MONITOR_PROBE_JUDGE_H
#define MONITOR_PROBE_JUDGE_H

#include "monitor/probe/experiment.h"

/* Of results that are no trap; experiments.def names the one to use. */
#define JUDGE(name)                                                                                          \
	void judge_##name(const struct experiment *e, uint32_t arg, const struct probe_result *r,            \
			  struct probe_finding *f)
JUDGE(silent);
JUDGE(right);
JUDGE(right_value);
JUDGE(leak);
/* Flags read back: what the note says of IF, IOPL, NT, AC; CLI that went through. */
JUDGE(if);
JUDGE(iopl);
JUDGE(nt);
JUDGE(ac);
JUDGE(cli);
JUDGE(int);
JUDGE(load);  /* a segment register */
JUDGE(table); /* SGDT, SIDT: told from what Linux makes up under UMIP */
JUDGE(umip);  /* the other instructions of UMIP */
/* LAR, LSL, and VERR and VERW by ZF. */
JUDGE(lar);
JUDGE(zf_value);
JUDGE(zf);

void judge_trap(struct probe_finding *f); /* of a result that is one */
void judge_loss(struct probe_finding *f); /* the child did not come to its end */

void __attribute__((format(printf, 3, 4)))
found(struct probe_finding *f, enum probe_outcome outcome, const char *fmt, ...);

#endif
