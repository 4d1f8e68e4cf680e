/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * From a decoded instruction to its row of sensitive.def. Called by insn_decode() alone; everybody else reads
 * insn->op.
 */
#ifndef HYPERCALLS_POLICY_CLASSIFY_H
#define HYPERCALLS_POLICY_CLASSIFY_H

#include <stdint.h>

#include "hypercalls/decode.h"

/* The enum pv_op of the row, OP_NONE for an ordinary instruction. Reads no bytes, only insn. */
uint16_t policy_classify(const struct insn *insn);

#endif
