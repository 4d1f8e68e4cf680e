// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The differential fuzzer of long blocks: a random block (long_generate.h) runs as emitted, natively and in all views, and
 * in the reference (long_reference.h); the states where it ends have to be equal, also where it ends by a fault. A
 * difference is taken back to the first instruction that makes it.
 */
#ifndef TESTS_FUZZ_LONG_FUZZ_H
#define TESTS_FUZZ_LONG_FUZZ_H

#include "tests/fuzz/long_reference.h"

#define LF_MEMORY (LN_TEXT_SIZE + LN_DATA_SIZE + LN_STACK_SIZE + LN_TLS_SIZE + LN_LOW_SIZE)

static struct {
	uint8_t initial[LF_MEMORY], user[LF_MEMORY];
	struct lg_block block;
	struct long_run start;
	char why[160];
	unsigned long ended[4], rewritten, insns; /* by enum long_end */
} lf;

static inline size_t lf_offset(size_t part)
{
	size_t offset = 0;

	for (size_t k = 0; k < part; k++)
		offset += ln_parts[k].size;
	return offset;
}

/* Floating-point numbers of moderate size, pointers, small integers, anything. */
static inline uint32_t lf_value(void)
{
	union {
		float f;
		uint32_t u;
	} v;

	switch (lg_rnd(4)) {
	case 0:
		v.f = (float)(int32_t)lg_word() / 65536.0f;
		return v.u;
	case 1:
		return LN_DATA + lg_rnd(LN_DATA_SIZE);
	case 2:
		return lg_rnd(256);
	default:
		return lg_word();
	}
}

static inline void lf_fill_memory(uint64_t seed)
{
	lg.random = seed;
	memset(lf.initial, 0x27, LN_TEXT_SIZE); /* DAA has no form: the end */
	for (size_t k = LN_TEXT_SIZE; k < LF_MEMORY; k += 4)
		memcpy(lf.initial + k, &(uint32_t){lf_value()}, 4);
}

static inline void lf_start_state(uint64_t seed)
{
	struct long_run *r = &lf.start;
	unsigned depth, top;

	lg.random = seed * 0xd1342543de82ef95ull + 99;
	ln_init(r);
	depth = lg_rnd(9);
	top = (8 - depth) & 7;
	for (unsigned n = 0; n < 8; n++) {
		double d = (double)(int32_t)lg_word() / (lg_percent(50) ? 1.0 : 1048576.0);
		long double e = d;

		r->gpr[n] = lf_value();
		memcpy(r->xstate + 32 + 16 * n, &e, 10);
		r->xstate[4] |= (uint8_t)((n < depth) << ((top + n) & 7));
		for (unsigned k = 0; k < 16; k += 4)
			memcpy(r->xstate + 160 + 16 * n + k, &(uint32_t){lf_value()}, 4);
	}
	for (unsigned k = 0; k < 128; k += 4) /* upper halves of YMM */
		memcpy(r->xstate + 576 + k, &(uint32_t){lf_value()}, 4);
	r->gpr[REG_SP] = LN_STACK + 0x100 + (lg_rnd(LN_STACK_SIZE - 0x200) & ~3u);
	r->eflags = lg_word() & LN_ARITHMETIC;
	if (lg_percent(20))
		r->eflags |= LN_DF;
	r->xstate[1] |= (uint8_t)(lg_rnd(4) << 2); /* rounding */
	r->xstate[3] = (uint8_t)(top << 3);
	r->xstate[25] |= (uint8_t)(lg_rnd(4) << 5);
	lg_generate(&lf.block, seed, depth);
}

/* --- runs ---------------------------------------------------------------------------------------------------- */

/* The block up to its instruction `n`. */
static inline void lf_load(uint8_t *text, unsigned n)
{
	memset(text, 0x27, sizeof(lf.block.text) + 64);
	memcpy(text, lf.block.text, lf.block.insn[n].at - LN_TEXT);
}

static inline bool lf_native(struct long_run *r, enum lower_view view, unsigned n)
{
	bool regular;

	ln.view = view;
	for (size_t k = 1; k < LN_PARTS; k++)
		memcpy(ln_at(ln_parts[k].at), lf.initial + lf_offset(k), ln_parts[k].size);
	lf_load(ln_at(LN_TEXT), n);
	ln_reset();
	*r = lf.start;
	regular = ln_run(r, 64);
	if (r->end == LONG_ENDED_FAULT && r->fault_address >= ln_memory())
		r->fault_address -= ln_memory();
	return regular;
}

static inline uint32_t lf_address(const struct insn *i, const struct long_run *r)
{
	uint32_t a = (uint32_t)i->disp;

	a += i->base == REG_NONE ? 0 : r->gpr[i->base];
	a += i->index == REG_NONE ? 0 : r->gpr[i->index] * i->scale;
	if (i->adsize == 2)
		a &= 0xffff;
	return a + (i->seg == SEG_FS ? LN_FS_BASE : i->seg == SEG_GS ? LN_GS_BASE : 0);
}

/* Where the reference has the guest's address; nowhere, but at the same place of a page, if it is not there. */
static inline void *lf_reference_at(uint32_t at)
{
	for (size_t k = 0; k < LN_PARTS; k++)
		if (at - (ln_parts[k].at - 0x1000) < ln_parts[k].size + 0x2000)
			return lr.part[k] + (int32_t)(at - ln_parts[k].at);
	return (void *)(uintptr_t)(at & 0xfff);
}

/* The VEX-coded instruction at r->eip, on the CPU; false when there is none. *faulted: it changed nothing. */
static inline bool lf_vex(struct long_run *r, bool *faulted)
{
	uint8_t *bytes = lf.block.text + (r->eip - LN_TEXT);
	struct insn i;

	if (r->eip - LN_TEXT >= lf.block.size || insn_decode(&i, bytes, INSN_MAX, r->eip, 32) < 0 || !lv_is(&i))
		return false;
	*faulted = !lv_run(r, bytes, lf_reference_at(i.has_mem ? lf_address(&i, r) : 0));
	if (!*faulted)
		r->eip += i.len;
	return true;
}

/* As lr_run(), which stops at each of them. */
static inline uc_err lf_run_reference(struct long_run *r, uint32_t until)
{
	uc_err e = UC_ERR_OK;
	bool faulted = false;

	while (e == UC_ERR_OK && !faulted && r->eip != until) {
		if (lf_vex(r, &faulted))
			lr_set(r);
		else
			e = lr_run(r, until);
		if (lr.trap >= 0)
			break;
	}
	if (faulted)
		lr.trap = 13;
	return e;
}

static inline void lf_find_vex(unsigned n)
{
	lr.n_exits = 0;
	for (unsigned k = 0; k < n; k++) {
		uint32_t at = lf.block.insn[k].at;
		struct insn i;

		if (insn_decode(&i, lf.block.text + (at - LN_TEXT), INSN_MAX, at, 32) > 0 && lv_is(&i))
			lr.exits[lr.n_exits++] = at;
	}
}

static inline void lf_reference(struct long_run *r, uint32_t until, unsigned n)
{
	for (size_t k = 1; k < LN_PARTS; k++)
		memcpy(lr.part[k], lf.initial + lf_offset(k), ln_parts[k].size);
	lf_load(lr.part[0], n);
	lf_find_vex(n);
	for (unsigned k = 0; k <= lf.block.n; k++) /* a translation starts at an instruction */
		uc_ctl_remove_cache(lr.uc, (uint64_t)lf.block.insn[k].at, (uint64_t)lf.block.insn[k].at + 16);
	*r = lf.start;
	lr_set(r);
	if (until != r->eip && lf_run_reference(r, until) != UC_ERR_OK)
		snprintf(lf.why, sizeof(lf.why), "the reference faults at %08x (address %#x)", r->eip,
			 (uint32_t)lr.address);
	else if (lr.trap >= 0)
		snprintf(lf.why, sizeof(lf.why), "the reference has exception %d at %08x", lr.trap, r->eip);
}

/* --- comparison ---------------------------------------------------------------------------------------------- */

#define LF_DIFFER(...) return snprintf(lf.why, sizeof(lf.why), __VA_ARGS__), false

static inline bool lf_same_memory(const char *who, uint8_t *const *theirs, enum lower_view view)
{
	ln.view = view;
	for (size_t k = 0; k < LN_PARTS; k++) {
		const uint8_t *ours = ln_at(ln_parts[k].at);

		if (memcmp(ours, theirs[k], ln_parts[k].size) == 0)
			continue;
		for (uint32_t o = 0; o < ln_parts[k].size; o++)
			if (ours[o] != theirs[k][o])
				LF_DIFFER("%s: memory %08x is %02x, not %02x", who, ln_parts[k].at + o,
					  ours[o], theirs[k][o]);
	}
	return true;
}

/* Two NaNs that differ in being quiet. */
static inline bool lf_quieted(const uint8_t *x, const uint8_t *y)
{
	return memcmp(x, y, 7) == 0 && !((x[7] ^ y[7]) & ~0x40) && lr_get16(x + 8) == lr_get16(y + 8) &&
	       (lr_get16(x + 8) & 0x7fff) == 0x7fff;
}

static inline bool lf_is_nan(const uint8_t *x, unsigned size)
{
	float f;
	double d;

	if (size == 4) {
		memcpy(&f, x, 4);
		return f != f;
	}
	memcpy(&d, x, 8);
	return d != d;
}

/* Equal, or NaN on both sides. */
static inline bool lf_same_lanes(const uint8_t *x, const uint8_t *y, unsigned size)
{
	for (unsigned k = 0; k < 16; k += size)
		if (memcmp(x + k, y + k, size) != 0 && !(lf_is_nan(x + k, size) && lf_is_nan(y + k, size)))
			return false;
	return true;
}

static inline bool lf_same_state(const struct long_run *is, const struct long_run *should,
				 const struct lg_insn *at)
{
	static const char *const names[] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
	uint32_t flags = (LN_ARITHMETIC | LN_DF) & ~at->undef;

	for (unsigned n = 0; n < 8; n++)
		if (is->gpr[n] != should->gpr[n])
			LF_DIFFER("%s is %08x, not %08x", names[n], is->gpr[n], should->gpr[n]);
	if ((is->eflags ^ should->eflags) & flags)
		LF_DIFFER("eflags are %03x, not %03x, of %03x", is->eflags & flags, should->eflags & flags,
			  flags);
	for (unsigned n = 0; n < 8; n++) {
		const uint8_t *x = is->xstate + 32 + 16 * n, *y = should->xstate + 32 + 16 * n;

		if (memcmp(x, y, lf.block.mmx ? 8 : 10) != 0 && !lf_quieted(x, y))
			LF_DIFFER("st%u is %04x %016llx, not %04x %016llx", n, lr_get16(x + 8),
				  *(const unsigned long long *)x, lr_get16(y + 8),
				  *(const unsigned long long *)y);
		x += 128;
		y += 128;
		if (memcmp(x, y, 16) != 0 && !(lf_same_lanes(x, y, 4) || lf_same_lanes(x, y, 8)))
			LF_DIFFER("xmm%u is %016llx %016llx, not %016llx %016llx", n,
				  *(const unsigned long long *)(x + 8), *(const unsigned long long *)x,
				  *(const unsigned long long *)(y + 8), *(const unsigned long long *)y);
		x = is->xstate + 576 + 16 * n;
		y = should->xstate + 576 + 16 * n;
		if (memcmp(x, y, 16) != 0)
			LF_DIFFER("ymm%u's upper half is %016llx %016llx, not %016llx %016llx", n,
				  *(const unsigned long long *)(x + 8), *(const unsigned long long *)x,
				  *(const unsigned long long *)(y + 8), *(const unsigned long long *)y);
	}
	if (lr_get16(is->xstate) != lr_get16(should->xstate))
		LF_DIFFER("fcw is %04x, not %04x", lr_get16(is->xstate), lr_get16(should->xstate));
	if ((lr_get16(is->xstate + 2) ^ lr_get16(should->xstate + 2)) & at->fsw)
		LF_DIFFER("fsw is %04x, not %04x, of %04x", lr_get16(is->xstate + 2),
			  lr_get16(should->xstate + 2), at->fsw);
	if (is->xstate[4] != should->xstate[4])
		LF_DIFFER("ftw is %02x, not %02x", is->xstate[4], should->xstate[4]);
	if ((lr_get16(is->xstate + 24) ^ lr_get16(should->xstate + 24)) & 0xffc0)
		LF_DIFFER("mxcsr is %04x, not %04x", lr_get16(is->xstate + 24),
			  lr_get16(should->xstate + 24));
	return true;
}

static inline const struct lg_insn *lf_insn_at(uint32_t eip)
{
	for (unsigned k = 0; k <= lf.block.n; k++)
		if (lf.block.insn[k].at == eip)
			return &lf.block.insn[k];
	return NULL;
}

static inline bool lf_near(uint64_t a, uint64_t b)
{
	return a - b < 0x200 || b - a < 0x200;
}

/* The reference stands where the native run faulted: does the instruction fault there, and so? */
static inline bool lf_same_fault(const struct long_run *is, struct long_run *should)
{
	struct insn i;
	bool faulted;
	uc_err e;

	insn_decode(&i, lf.block.text + (is->eip - LN_TEXT), INSN_MAX, is->eip, 32);
	if (is->signal == SIGSEGV && !is->fault_address && i.map == 1 && i.has_mem &&
	    (lf_address(&i, should) & 15))
		return true; /* #GP for alignment */
	if (lf_vex(should, &faulted)) {
		if (faulted && ln.signal == is->signal)
			return true;
		LF_DIFFER("signal %d (address %#llx) at %08x; the CPU alone: %d", is->signal,
			  (unsigned long long)is->fault_address, is->eip, faulted ? ln.signal : 0);
	}
	e = lr_run(should, is->eip + i.len);
	if (is->signal == SIGFPE && lr.trap == 0)
		return true;
	if (is->signal == SIGSEGV && (e == UC_ERR_READ_UNMAPPED || e == UC_ERR_WRITE_UNMAPPED) &&
	    (lg_is_string(&i) || lg_is(&i, 0, 0x60, 0x61) || lf_near(is->fault_address, lr.address)))
		return true; /* of two operands either may be first */
	LF_DIFFER("signal %d (address %#llx) at %08x, but the reference says %d (trap %d) at %#llx",
		  is->signal, (unsigned long long)is->fault_address, is->eip, e, lr.trap,
		  (unsigned long long)lr.address);
}

/* TCG stores half an element before the other half faults: the bytes up to an edge are the CPU's. */
static inline void lf_forgive_edges(void)
{
	ln.view = VIEW_USER;
	for (size_t k = 1; k < LN_PARTS; k++) {
		memcpy(lr.part[k], ln_at(ln_parts[k].at), 3);
		memcpy(lr.part[k] + ln_parts[k].size - 3, ln_at(ln_parts[k].at + ln_parts[k].size - 3), 3);
	}
}

/* TCG pushes from the other end: which words are there before the fault is the CPU's (test_lower_long.c has them). */
static inline void lf_forgive_pusha(uint32_t esp)
{
	ln.view = VIEW_USER;
	for (uint32_t at = esp - 32; at != esp; at++)
		for (size_t k = 0; k < LN_PARTS; k++)
			if (at - ln_parts[k].at < ln_parts[k].size)
				lr.part[k][at - ln_parts[k].at] = *ln_at(at);
}

/* Code that writes to itself, by the address of a label left in a register: here nobody looks for that. */
static inline bool lf_rewrote(unsigned n)
{
	static uint8_t text[LN_TEXT_SIZE];

	memset(text, 0x27, sizeof(text));
	lf_load(text, n);
	ln.view = VIEW_USER;
	return memcmp(ln_at(LN_TEXT), text, sizeof(text)) != 0;
}

/* The software TLB looks for the page first, and so finds #PF where the CPU does not have the instruction at all (docs/limits.md). */
static inline bool lf_page_came_first(enum lower_view view, const struct long_run *is, const struct long_run *other)
{
	struct insn i;

	if (view != VIEW_SOFT || is->signal != SIGILL || other->signal != SIGSEGV)
		return false;
	insn_decode(&i, lf.block.text + (is->eip - LN_TEXT), INSN_MAX, is->eip, 32);
	return lv_is(&i);
}

/* Does the other view come to the same as the user's, which ran last? */
static inline bool lf_same_in(enum lower_view view, const struct long_run *is, unsigned n)
{
	static uint8_t *user[LN_PARTS];
	const char *name = view == VIEW_SOFT ? "soft" : "supervisor";
	struct long_run other;

	if (!lf_native(&other, view, n))
		LF_DIFFER("%s: ended irregularly (%d), rip %#llx, signal %d", name, other.end,
			  (unsigned long long)ln.rip, ln.signal);
	if (is->end != other.end || is->eip != other.eip || is->eflags != other.eflags ||
	    (is->signal != other.signal && !lf_page_came_first(view, is, &other)) || memcmp(is->gpr, other.gpr, sizeof(is->gpr)) != 0 ||
	    memcmp(is->xstate + 24, other.xstate + 24, 300) != 0 ||
	    memcmp(is->xstate + 576, other.xstate + 576, 128) != 0)
		LF_DIFFER("%s: the views differ: %d at %08x, %d at %08x", name, is->end, is->eip, other.end, other.eip);
	ln.view = VIEW_USER;
	for (size_t k = 0; k < LN_PARTS; k++)
		user[k] = ln_at(ln_parts[k].at);
	return lf_same_memory(name, user, view);
}

/* Runs the block's first n instructions; false: a difference, and lf.why says which. */
static inline bool lf_compare(unsigned n)
{
	struct long_run is, should;
	const struct lg_insn *at;
	bool fault;

	lf.why[0] = 0;
	if (!lf_native(&is, VIEW_USER, n))
		LF_DIFFER("user: ended irregularly (%d), rip %#llx, signal %d", is.end,
			  (unsigned long long)ln.rip, ln.signal);
	if (lf_rewrote(n)) {
		for (ln.view = VIEW_USER; ln.view <= VIEW_SOFT; ln.view++)
			memset(ln_at(LN_TEXT), 0x27, LN_TEXT_SIZE);
		lf.rewritten++;
		return true;
	}
	for (enum lower_view view = VIEW_SUPERVISOR; view <= VIEW_SOFT; view++)
		if (!lf_same_in(view, &is, n))
			return false;
	lf.ended[is.end]++;
	at = lf_insn_at(is.eip);
	if (!at)
		LF_DIFFER("ended (%d) at %08x, where no instruction is", is.end, is.eip);
	lf_reference(&should, is.eip, n);
	if (lf.why[0])
		return false;
	if (should.eip != is.eip)
		LF_DIFFER("eip is %08x, not %08x", is.eip, should.eip);
	fault = is.end == LONG_ENDED_FAULT;
	if (fault) {
		struct insn i;

		insn_decode(&i, lf.block.text + (is.eip - LN_TEXT), INSN_MAX, is.eip, 32);
		if (lg_is_string(&i)) /* its iterations count */
			return lf_same_fault(&is, &should) &&
			       (should.eip = is.eip, lf_same_state(&is, &should, at)) &&
			       (lf_forgive_edges(), true) && lf_same_memory("reference", lr.part, VIEW_USER);
		if (lg_is(&i, 0, 0x60, 0x60))
			lf_forgive_pusha(is.gpr[REG_SP]);
	}
	if (!lf_same_state(&is, &should, at) || !lf_same_memory("reference", lr.part, VIEW_USER))
		return false;
	return !fault || lf_same_fault(&is, &should);
}

static inline void lf_print(unsigned bad)
{
	for (unsigned k = 0; k < lf.block.n; k++) {
		uint32_t at = lf.block.insn[k].at, len = lf.block.insn[k + 1].at - at;
		char text[128];

		insn_format(text, sizeof(text), lf.block.text + (at - LN_TEXT), len, at, 32);
		fprintf(stderr, "#  %s%08x ", k + 1 == bad ? ">" : " ", at);
		for (uint32_t o = 0; o < len; o++)
			fprintf(stderr, "%02x", lf.block.text[at - LN_TEXT + o]);
		fprintf(stderr, " %s\n", text);
	}
}

/* Once in a process, before any run. */
static inline void lf_start(void)
{
	ln_start(VIEW_USER);
	ln_map_guest(VIEW_SUPERVISOR);
	ln_map_guest(VIEW_SOFT);
	for (ln.view = VIEW_USER; ln.view <= VIEW_SOFT; ln.view++)
		memset(ln_at(LN_TEXT), 0x27, LN_TEXT_SIZE);
	lr_start();
	memset(lr.part[0], 0x27, LN_TEXT_SIZE);
}

/* The block of this number; false when it differs, which is reported on stderr. */
static inline bool lf_run(uint64_t number)
{
	char why[sizeof(lf.why)];
	unsigned bad;

	if (number % 64 == 0 || !lf.initial[0])
		lf_fill_memory(number / 64);
	lf_start_state(number);
	lf.insns += lf.block.n;
	if (lf_compare(lf.block.n))
		return true;
	memcpy(why, lf.why, sizeof(why));
	for (bad = 1; bad < lf.block.n && lf_compare(bad); bad++)
		;
	if (bad < lf.block.n)
		memcpy(why, lf.why, sizeof(why));
	fprintf(stderr, "# block %llu: %s\n", (unsigned long long)number, why);
	lf_print(bad);
	return false;
}

#endif
