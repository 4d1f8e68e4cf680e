// SPDX-License-Identifier: GPL-3.0-or-later
/* See user_code.h. Every page of every program comes by here, so the search takes eight bytes at a time. */
#include "monitor/vmm/user_code.h"

#include "hypercalls/decode.h"
#include "monitor/vmm/world.h"

#define ESCAPE 0x0f
#define ESCAPES 0x0f0f0f0f0f0f0f0full
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

bool user_code_is_clean(struct vm *vm, struct gpa page)
{
	const uint8_t *p = vm_ram(vm, gpa(page.a & ~(uint64_t)(PAGE_SIZE - 1)), PAGE_SIZE);

	if (!p)
		return false;
	for (unsigned word = 0; word < PAGE_SIZE; word += 8) {
		uint64_t x = *(const uint64_t *)(p + word) ^ ESCAPES;

		if (!((x - ONES) & ~x & HIGHS))
			continue;
		for (unsigned i = word; i < word + 8 && i + 1 < PAGE_SIZE; i++)
			if (p[i] == ESCAPE && (p[i + 1] == 0x05 || p[i + 1] == 0x34) && is_instruction(p, i))
				return false;
	}
	return true;
}
