// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Verification of code pages that the guest rewrote: what changed since the page was verified last is decoded again,
 * from the instruction start before it to where decoding meets an old start behind it.
 */
#include "monitor/vmm/code_internal.h"
#include "monitor/vmm/mem.h"
#include "monitor/vmm/online.h"
#include "monitor/vmm/world.h"

#define POKE_MAX 6	/* bytes of an instruction that text_poke_bp() writes at most */
#define RESYNC_MAX 1024 /* bytes; an alternative may replace one NOP by a hundred bytes of code */

/* Where instructions start on a page, one bit a byte; NULL for a page that is no candidate. */
static uint8_t *starts_of(const struct vm *vm, uint32_t pfn)
{
	const struct code_page *p = page_of(vm, pfn);

	return p && p->candidate ? code_of(vm)->starts + (size_t)p->verified_index * STARTS_PER_PAGE : NULL;
}

/* Its bytes as they were verified last; NULL likewise. */
static uint8_t *pristine_of(const struct vm *vm, uint32_t pfn)
{
	const struct code_page *p = page_of(vm, pfn);

	return p && p->candidate ? code_of(vm)->pristine + (size_t)p->verified_index * PAGE_SIZE : NULL;
}

static bool is_start(const struct vm *vm, uint32_t at)
{
	const uint8_t *starts = starts_of(vm, at >> PAGE_SHIFT);

	return starts && test_bit(starts, at & (PAGE_SIZE - 1));
}

/* Wrong results and no trap, if it ran directly. */
static bool is_silent(const struct insn *insn)
{
	return insn_is_sensitive(insn) && policy_may_not_trap(insn->op);
}

static bool is_interior(const struct vm *vm, uint32_t at)
{
	uint32_t bit = at - code_of(vm)->first_gpa;

	return bit < code_of(vm)->n_pages << PAGE_SHIFT && test_bit(code_of(vm)->interior, bit);
}

static bool is_window_start(const struct vm *vm, uint32_t at)
{
	return !is_interior(vm, at) && is_interior(vm, at + 1);
}

/* No way into the middle of a window. */
static bool insn_allowed(const struct vm *vm, const struct insn *insn)
{
	return !insn->target || !is_interior(vm, (uint32_t)insn->target - vm->cfg.alias_delta);
}

/* The first known start of an instruction at or behind `at`, `at` itself when none is near. */
static uint32_t next_start(const struct vm *vm, uint32_t at)
{
	uint32_t next = at;

	while (next - at < INSN_MAX - 1 && !is_start(vm, next))
		next++;
	return is_start(vm, next) ? next : at;
}

/*
 * [at, end) is no code as far as is known: what a shorter jump left of the last instruction under it (an optimized kprobe), or
 * what stands behind a planted INT3, be it the rest of the instruction that text_poke_bp() is about to complete or what the
 * guest has put back. It is not covered with INT3, for what seems to begin there may reach into code; instead nothing that
 * does not trap may start there at all.
 */
static bool is_harmless(const struct vm *vm, uint32_t at, uint32_t end)
{
	struct insn insn;

	for (; at < end; at++) {
		const uint8_t *bytes = vm_ram(vm, gpa(at), 16);

		if (!bytes || (insn_decode(&insn, bytes, 16, at + vm->cfg.alias_delta, 32) > 0 &&
			       (is_silent(&insn) || !insn_allowed(vm, &insn))))
			return false;
	}
	return true;
}

/* INT3 of the guest over what was an instruction (text_poke_bp(), kprobes)? */
static bool is_planted(const struct vm *vm, uint32_t at)
{
	const uint8_t *byte = vm_ram(vm, gpa(at), 1);

	return byte && *byte == 0xcc && is_start(vm, at) && !online_at(vm, gpa(at));
}

/* The first one in [at, end); `end` without. */
static uint32_t next_planted(const struct vm *vm, uint32_t at, uint32_t end)
{
	while (at != end && !is_planted(vm, at))
		at++;
	return at;
}

/* The first one so shortly before `at` that this may be poked with it; `at` without. */
static uint32_t planted_before(const struct vm *vm, uint32_t at)
{
	return next_planted(vm, at - (POKE_MAX - 1), at);
}

/* Something changes at `at`: may what stands behind INT3 that was planted shortly before? */
static bool pokes_are_harmless(const struct vm *vm, uint32_t at)
{
	for (uint32_t p = planted_before(vm, at); p != at; p = next_planted(vm, p + 1, at))
		if (!is_harmless(vm, p + 1, p + POKE_MAX))
			return false;
	return true;
}

/*
 * Does the instruction reach over the start of one that did not change, at `to` or behind? Which of the two is code cannot be
 * told. But behind what was planted INT3 until now all has been dead, whatever it looked like.
 */
static bool overlaps(const struct vm *vm, uint32_t at, unsigned len, uint32_t to)
{
	const uint8_t *pristine = pristine_of(vm, at >> PAGE_SHIFT);

	if (pristine && pristine[at & (PAGE_SIZE - 1)] == 0xcc)
		return false;
	for (unsigned i = 1; i < len; i++)
		if (at + i >= to && is_start(vm, at + i))
			return true;
	return false;
}

/*
 * On this page alone: others may hold data, or be given their own bytes back while this one runs. Where it begins may stand the
 * end of an instruction, unless the page before it is known. Not shortly behind a planted INT3: the guest may read what a
 * jump there would replace, and put it back later (an optimized kprobe).
 */
static bool cover(struct vm *vm, uint32_t pfn, uint32_t at, unsigned len)
{
	const struct code_page *before = page_of(vm, pfn - 1);

	code_of(vm)->idle_uncovered = code_of(vm)->idle;
	if (code_of(vm)->idle || at >> PAGE_SHIFT != pfn || (at + len - 1) >> PAGE_SHIFT != pfn ||
	    ((at & (PAGE_SIZE - 1)) < INSN_MAX && before && before->state != CODE_VERIFIED) ||
	    planted_before(vm, at) != at)
		return false;
	return online_set(vm, gpa(at), len);
}

/* Does the instruction end on the next page, where INT3 was set over something else? */
static bool ends_covered(const struct vm *vm, uint32_t at, unsigned len)
{
	uint32_t next = (at & PAGE_MASK) + PAGE_SIZE;

	return at + len > next && online_touches(vm, gpa(next), at + len - next);
}

/* INT3 is none of the starts: so what has become INT3 where there is a start was planted. */
static void record_start(const struct vm *vm, uint32_t at, const struct insn *insn)
{
	for (unsigned i = 0; i < insn->len; i++) {
		uint8_t *starts = starts_of(vm, (at + i) >> PAGE_SHIFT);

		if (starts)
			set_bit(starts, (at + i) & (PAGE_SIZE - 1), i == 0 && insn->op != OP_INT3);
	}
}

static bool touches_window(const struct vm *vm, uint32_t at, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		if (is_interior(vm, at + i) || is_window_start(vm, at + i))
			return true;
	return false;
}

/* INT3 planted at `at`. Over a window it would break our jump, and its place is an instruction that moved. */
static bool planted_allowed(const struct vm *vm, uint32_t at, uint32_t to)
{
	return !touches_window(vm, at, 1) && (to <= at + 1 || is_harmless(vm, at + 1, at + POKE_MAX)) &&
	       !code_window_fills(vm, at + 1 + vm->cfg.alias_delta, POKE_MAX - 2);
}

/* An instruction of the guest's on page pfn; [.., to) changed. It may be covered then. */
static bool insn_runs(struct vm *vm, uint32_t pfn, uint32_t at, const struct insn *insn, uint32_t to)
{
	return insn_allowed(vm, insn) && !touches_window(vm, at, insn->len) &&
	       !overlaps(vm, at, insn->len, to) && !ends_covered(vm, at, insn->len) &&
	       (!is_silent(insn) || cover(vm, pfn, at, insn->len));
}

/*
 * For page pfn: decode from the instruction start at or before `from` until decoding meets an old start at or behind `to`, and
 * record the new starts. Returns where it met, or 0 when something forbids the page.
 */
static uint32_t recheck_run(struct vm *vm, uint32_t pfn, uint32_t from, uint32_t to)
{
	uint32_t at = from, limit = code_of(vm)->first_gpa;

	if (!pokes_are_harmless(vm, from))
		return 0;
	while (at > limit && from - at < 64 && !is_start(vm, at))
		at--;
	if (!is_start(vm, at))
		return 0;
	while (at < to || !is_start(vm, at)) {
		const uint8_t *bytes = vm_ram(vm, gpa(at), 16);
		unsigned covered = online_at(vm, gpa(at));
		struct insn insn;

		if (!bytes || at > to + RESYNC_MAX)
			return 0;
		if (covered) {
			at += covered;
			continue;
		}
		if (is_planted(vm, at)) {
			if (!planted_allowed(vm, at, to))
				return 0;
			at = next_start(vm, at + 1);
			continue;
		}
		if (insn_decode(&insn, bytes, 16, at + vm->cfg.alias_delta, 32) < 0 ||
		    !insn_runs(vm, pfn, at, &insn, to))
			return 0;
		record_start(vm, at, &insn);
		at += insn.len;
		if (insn.flow == FLOW_JMP && at >= to) {
			uint32_t next = next_start(vm, at);

			if (!is_harmless(vm, at, next))
				return 0;
			at = next;
		}
	}
	return at;
}

/* The start bits of a page and of the next one, into which its last instruction may reach. */
#define STARTS_SAVED (2 * STARTS_PER_PAGE)

static void copy_starts(const struct vm *vm, uint32_t pfn, uint8_t *saved, bool restore)
{
	for (unsigned i = 0; i < 2; i++, saved += STARTS_PER_PAGE) {
		uint8_t *starts = starts_of(vm, pfn + i);

		if (starts)
			mem_copy(restore ? starts : saved, restore ? saved : starts, STARTS_PER_PAGE);
	}
}

/* Compare the page with what was verified last and decode what changed. */
bool code_recheck(struct vm *vm, uint32_t pfn)
{
	uint8_t *old = pristine_of(vm, pfn); /* only candidates come here */
	const uint8_t *now = vm_ram(vm, gpa((uint64_t)pfn << PAGE_SHIFT), PAGE_SIZE);
	uint32_t base = pfn << PAGE_SHIFT, i = 0;
	uint8_t saved[STARTS_SAVED];

	copy_starts(vm, pfn, saved, false);
	world_fpu_guard(); /* the decoder may use vector registers */
	while (i < PAGE_SIZE) {
		uint32_t end;

		if (!(i & 7) && *(const uint64_t *)(old + i) == *(const uint64_t *)(now + i)) {
			i += 8;
			continue;
		}
		if (old[i] == now[i]) {
			i++;
			continue;
		}
		for (end = i + 1; end < PAGE_SIZE && old[end] != now[end]; end++)
			;
		end = recheck_run(vm, pfn, base + i, base + end);
		if (!end) { /* as if it had never been looked at */
			copy_starts(vm, pfn, saved, true);
			online_clear(vm, pfn);
			return false;
		}
		i = end - base;
	}
	mem_copy(old, now, PAGE_SIZE);
	online_differ(vm, gpa(base), old, PAGE_SIZE); /* it is for the next look to cover them again */
	return true;
}
