// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * May a stub spoil the arithmetic flags at an address? Only if whatever executes from there on overwrites CF, PF,
 * AF, ZF, SF and OF before anything reads them. Walks the one straight path (direct jumps followed) of the
 * *source*; a branch, a call, a return, a sensitive instruction that saves or loads flags or leaves, and anything
 * that the table does not know ends the walk with "no".
 */
#include <string.h>

#include "patcher/verify_check.h"

#define CF 0x001
#define PF 0x004
#define AF 0x010
#define ZF 0x040
#define SF 0x080
#define OF 0x800
#define ALL (CF | PF | AF | ZF | SF | OF)
#define STEPS 64

/* SDM 1 appendix A: what each writes whatever its operands are. Undefined counts as written. */
static const struct {
	const char *stem;
	uint16_t reads, writes;
} effects[] = {
    {"adc", CF, ALL},
    {"add", 0, ALL},
    {"and", 0, ALL},
    {"cmp", 0, ALL},
    {"dec", 0, ALL & ~CF},
    {"inc", 0, ALL & ~CF},
    {"neg", 0, ALL},
    {"or", 0, ALL},
    {"sbb", CF, ALL},
    {"sub", 0, ALL},
    {"test", 0, ALL},
    {"xor", 0, ALL},
    {"imul", 0, ALL},
    {"mul", 0, ALL},
    {"clc", 0, CF},
    {"stc", 0, CF},
    {"xadd", 0, ALL},
    {"bt", 0, CF},
    {"cmpxchg", 0, ALL},
    /* these may leave the flags alone (a shift by zero), but never read them */
    {"shl", 0, 0},
    {"shr", 0, 0},
    {"sar", 0, 0},
    {"shld", 0, 0},
    {"shrd", 0, 0},
    {"rol", 0, 0},
    {"ror", 0, 0},
    {"bsf", 0, 0},
    {"bsr", 0, 0},
    {"div", 0, 0},
    {"idiv", 0, 0},
    {"bts", 0, 0},
    {"btr", 0, 0},
    {"btc", 0, 0},
    /* no flags at all */
    {"mov", 0, 0},
    {"lea", 0, 0},
    {"push", 0, 0},
    {"pop", 0, 0},
    {"nop", 0, 0},
    {"xchg", 0, 0},
    {"leave", 0, 0},
    {"not", 0, 0},
    {"bswap", 0, 0},
    {"movzb", 0, 0},
    {"movzw", 0, 0},
    {"movsb", 0, 0},
    {"movsw", 0, 0},
    {"pause", 0, 0},
    {"cltd", 0, 0},
    {"cwtl", 0, 0},
    {"jmp", 0, 0},
    {"cld", 0, 0},
    {"lfence", 0, 0},
    {"mfence", 0, 0},
    {"sfence", 0, 0},
    /* sensitive ones: whatever serves them leaves the arithmetic flags as they are, and an event that is let in
	 * saves flags that nobody will look at */
    {"cli", 0, 0},
    {"sti", 0, 0},
    {"hlt", 0, 0},
    {"in", 0, 0},
    {"out", 0, 0},
    {"rdmsr", 0, 0},
    {"wrmsr", 0, 0},
    {"cpuid", 0, 0},
    {"rdtsc", 0, 0},
    {"invlpg", 0, 0},
};

static bool stem_equal(const char *name, const char *stem)
{
	size_t n = strlen(stem);

	return !strncmp(name, stem, n) && (!name[n] || (strchr("bwl", name[n]) && !name[n + 1]));
}

static bool effect(const char *name, uint16_t *reads, uint16_t *writes)
{
	for (size_t i = 0; i < sizeof(effects) / sizeof(effects[0]); i++) {
		if (stem_equal(name, effects[i].stem)) {
			*reads = effects[i].reads;
			*writes = effects[i].writes;
			return true;
		}
	}
	return false;
}

bool verify_flags_dead(struct verify_ctx *c, uint32_t va)
{
	uint16_t live = ALL, reads, writes;

	for (int step = 0; step < STEPS; step++) {
		const struct verify_text *t = verify_text_at(c->src, va);
		struct verify_insn in;

		if (!t || !verify_is_start(t, va) ||
		    !verify_decode(c->dec, t->bytes + (va - t->va), t->size - (va - t->va), va, &in))
			return false;
		for (uint32_t i = 0; i < in.len; i++)
			if (t->mark[va - t->va + i] & (MARK_REWRITTEN | MARK_CONFLICT))
				return false;
		if ((in.flow != VF_NEXT && in.flow != VF_JMP) || !effect(in.name, &reads, &writes) ||
		    (reads & live))
			return false;
		live &= ~writes;
		if (!live)
			return true;
		va = in.flow == VF_JMP ? in.target : va + in.len;
	}
	return false;
}
