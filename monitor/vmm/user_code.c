// SPDX-License-Identifier: GPL-3.0-or-later
/* See user_code.h. Every page of every program comes by here, so the search takes eight bytes at a time. */
#include "monitor/vmm/user_code.h"

#include "hypercalls/decode.h"
#include "monitor/vmm/world.h"

#define ESCAPE 0x0f
#define SYSCALL 0x05 /* behind the escape */
#define SYSENTER 0x34
#define ONES 0x0101010101010101ull
#define HIGHS 0x8080808080808080ull

#define VOTE_FROM 24 /* bytes before the pair to start decoding at: first and last */
#define VOTE_TO 40
#define VOTES 8 /* so many that find the pair at an instruction's start make it an instruction */

/* Decoding x86 from anywhere soon falls into step with the real instructions; most starting points decide. */
static bool is_instruction(const uint8_t *p, unsigned at)
{
	struct insn insn;
	unsigned votes = 0;

	if (at < VOTE_TO)
		return true; /* too near the page's start to tell */
	world_fpu_guard();   /* the decoder may use vector registers */
	for (unsigned back = VOTE_FROM; back < VOTE_TO; back++) {
		unsigned pos = at - back;

		while (pos < at) {
			int len = insn_decode(&insn, p + pos, PAGE_SIZE - pos, 0, 32);

			pos += len > 0 ? (unsigned)len : 1;
		}
		votes += pos == at;
	}
	return votes >= VOTES;
}

/* The top bit of every byte of x that is `byte`, and perhaps of bytes above such a one. */
static uint64_t equal_bytes(uint64_t x, uint8_t byte)
{
	x ^= byte * ONES;
	return (x - ONES) & ~x & HIGHS;
}

bool user_code_is_clean(struct vm *vm, struct gpa page)
{
	const uint8_t *p = vm_ram(vm, gpa(page.a & ~(uint64_t)(PAGE_SIZE - 1)), PAGE_SIZE);

	if (!p)
		return false;
	for (unsigned word = 0; word < PAGE_SIZE; word += 8) {
		uint64_t here, behind;

		here = *(const uint64_t *)(p + word);
		behind = here >> 8 | (word + 8 < PAGE_SIZE ? (uint64_t)p[word + 8] << 56 : 0);
		/* no branch on the escape byte alone: it is in every fourth word of ordinary code */
		if (!(equal_bytes(here, ESCAPE) & (equal_bytes(behind, SYSCALL) | equal_bytes(behind, SYSENTER))))
			continue;
		for (unsigned i = word; i < word + 8 && i + 1 < PAGE_SIZE; i++)
			if (p[i] == ESCAPE && (p[i + 1] == SYSCALL || p[i + 1] == SYSENTER) && is_instruction(p, i))
				return false;
	}
	return true;
}
