// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A guest that rewrites its text at random, as Linux does (arch/x86/kernel/alternative.c and kprobes/): text_poke_bp() by way
 * of INT3, early pokes, kprobes that save the byte they find, optimized kprobes that lay a jump over longer instructions and
 * put back what they read. Beside it a model of what the guest means to stand there. After every step: what the monitor
 * takes for the guest's bytes is what the model has, and on a page that runs directly nothing differs from it but windows, and
 * INT3 over exactly one instruction, which would not trap by itself.
 *
 * SEED and STEPS in the environment choose another run.
 */
#include "tests/unit/native.h"

#include <stdlib.h>

#define SIZE (N_TEXT_PAGES * PAGE_SIZE)

struct bytes {
	uint8_t len;
	const char *b;
};
#define BYTES(s)                                                                                             \
	{                                                                                                    \
		sizeof(s) - 1, s                                                                             \
	}

/* Immediates and addresses that look like sensitive instructions, or like the start of one. */
static const struct bytes ordinary[] = {
    BYTES("\x55"),
    BYTES("\x89\xe5"),
    BYTES("\xb8\x9d\x9c\x63\x1e"),
    BYTES("\xc7\xc0\x01\x02\x9d\x63"),
    BYTES("\x8d\xb6\x63\x0f\x9c\x63"),
    BYTES("\xc7\x05\xa0\x9d\xcc\xc1\x63\x9c\x9d\x0f"),
    BYTES("\x81\x0d\xd2\xd1\x63\xc1\x9d\x9c\x8c\x63"),
    BYTES("\x74\x01\x46"),
    BYTES("\xc3\xcc\xcc\xcc\xcc\x0f\xb9\xcc"), /* __SCT__preempt_schedule and its kin */
    BYTES("\x64\x8b\x0d\x63\xd1\x0f\x63"),
    BYTES("\x0f\x1f\x44\x00\x00"),
    BYTES("\x0f\x1f\x44\x00\x00"),
};
static const struct bytes sensitive[] = {
    BYTES("\xfa\x43\xfb\x46\x90"),
    BYTES("\x9c\x58\x40\x41\x42\x43"),
    BYTES("\xfa\xb8\x01\x9d\x63\x9c\x43\x46"),
    BYTES("\xfb\x64\x8b\x0d\xd2\xd1\x63\x63"),
    BYTES("\x57\x9d\x43\xb9\x9c\x63\x9c\x63\x46\x47"),
};
/* What comes in the place of a NOP of five bytes; where there are four NULs they become any distance. */
static const struct bytes pokes[] = {
    BYTES("\x0f\x1f\x44\x00\x00"), BYTES("\xe9\x00\x00\x00\x00"), BYTES("\xe8\x00\x00\x00\x00"),
    BYTES("\xc3\xcc\xcc\xcc\xcc"), BYTES("\x9c\x58\x40\x9d\x90"), BYTES("\x63\x45\x9d\x40\x90"),
    BYTES("\xeb\x03\x40\x41\x58"), BYTES("\xb8\x00\x00\x00\x00"),
};

enum overlay { PLAIN, ARMED, OPTIMIZED };
struct probe {
	uint32_t va;
	enum overlay overlay;
	bool registered, prepared; /* prepared: all that a jump would lie over was found to be code */
	uint8_t saved, copied[4], jump[5];
};

static uint8_t means[SIZE];    /* what the guest means to be there, without its probes */
static uint8_t view[SIZE];     /* with them */
static uint8_t length[SIZE];   /* of the instruction that starts there and is run by its own bytes; else 0 */
static bool silent[SIZE];      /* and it does not trap, though it should */
static uint32_t runs[SIZE];    /* where the instruction starts that the byte is run as a part of; 0: none */
static uint32_t pokeable[512]; /* where five bytes may be another five */
static struct probe probes[6]; /* few, for a page with one on a window does not run directly */
static unsigned n_pokeable;
static uint32_t state;

static uint32_t any(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state % n;
}

/* --- the program --------------------------------------------------------------------------------------------- */

static void append(const struct bytes *s, bool window)
{
	uint32_t va = window ? text_window(s->b, s->len, 0) : text_code(s->b, s->len);

	memcpy(means + (va - TEXT), s->b, s->len);
	if (s->len == 5 && s->b[0] == 0x0f && n_pokeable < ARRAY_LEN(pokeable))
		pokeable[n_pokeable++] = va;
}

static void lay_out(void)
{
	static const struct bytes nop = BYTES("\x90"), nops = BYTES("\x0f\x1f\x84\x00\x9d\x9c\x63\x00");

	while (img.at < TEXT + SIZE - 32) {
		if (img.at % PAGE_SIZE > 512 &&
		    img.at % PAGE_SIZE < PAGE_SIZE - 64) { /* the pages meet in code */
			append(&nops, false);
			continue;
		}
		if (any(3) == 0 && img.n_windows < 20)
			append(&sensitive[any(ARRAY_LEN(sensitive))], true);
		else
			append(&ordinary[any(ARRAY_LEN(ordinary))], false);
	}
	while (img.at < TEXT + SIZE)
		append(&nop, false);
}

/* --- the model ----------------------------------------------------------------------------------------------- */

static unsigned decoded(const uint8_t *bytes, uint32_t at, struct insn *insn)
{
	uint8_t b[INSN_MAX] = {0};
	uint32_t n = TEXT + SIZE - at < INSN_MAX ? TEXT + SIZE - at : INSN_MAX;

	memset(insn, 0, sizeof(*insn));
	memcpy(b, bytes + (at - TEXT), n);
	return insn_decode(insn, b, INSN_MAX, at, 32) < 0 ? 1 : insn->len;
}

static struct probe *probe_at(uint32_t va)
{
	for (unsigned i = 0; i < ARRAY_LEN(probes); i++)
		if (probes[i].registered && probes[i].va == va)
			return &probes[i];
	return NULL;
}

/* The instructions that a jump at `va` replaces: where the first one starts that it leaves whole. */
static uint32_t jump_ends(uint32_t va)
{
	struct insn insn;
	uint32_t at = va;

	while (at < va + 5)
		at += decoded(means, at, &insn);
	return at;
}

static void model(void)
{
	struct insn insn;

	memset(length, 0, sizeof(length));
	memset(silent, 0, sizeof(silent));
	memset(runs, 0, sizeof(runs));
	memcpy(view, means, sizeof(view));
	for (uint32_t at = TEXT; at < TEXT + SIZE;) {
		const struct probe *p = probe_at(at);
		unsigned len = decoded(means, at, &insn);

		length[at - TEXT] = (uint8_t)len;
		silent[at - TEXT] =
		    (!p || p->overlay == PLAIN) && insn_is_sensitive(&insn) && policy_may_not_trap(insn.op);
		if (p && p->overlay != PLAIN) {
			view[at - TEXT] = p->overlay == ARMED ? 0xcc : 0xe9;
			length[at - TEXT] = p->overlay == ARMED ? 1 : 5;
		}
		for (unsigned n = 0; n < length[at - TEXT]; n++)
			runs[at + n - TEXT] = at;
		if (p && p->overlay == OPTIMIZED) {
			memcpy(view + (at - TEXT), p->jump, 5);
			at = jump_ends(at);
		} else {
			at += len;
		}
	}
}

static const struct manifest_window *window_of(uint32_t at)
{
	for (uint32_t i = 0; i < img.n_windows; i++)
		if (at - img.windows[i].va < img.windows[i].len)
			return &img.windows[i];
	return NULL;
}

/* INT3 of the monitor: over one instruction that is run and does not trap by itself, or where nothing is run. */
static bool covered(uint32_t at)
{
	const struct code *c = &vm->vmm->code;

	for (uint32_t i = 0; i < c->n_online; i++) {
		uint32_t from = c->online[i].at + LINK, len = c->online[i].len;

		if (at - from >= len)
			continue;
		for (uint32_t n = 0; n < len; n++)
			if (runs[from + n - TEXT] != (silent[from - TEXT] ? from : 0))
				native_fail(__FILE__, __LINE__, "%#x: INT3 over %u bytes, of which %#x runs",
					    from, len, from + n);
		return !silent[from - TEXT] || length[from - TEXT] == len;
	}
	return false;
}

static void check_byte(uint32_t at, bool verified)
{
	const struct manifest_window *w = window_of(at);
	uint8_t is = *(uint8_t *)ram(at - LINK), meant = view[at - TEXT];
	bool laid = w && verified && !memcmp(ram(w->va - LINK), img.text + (w->va - TEXT), w->len);

	if (is != meant && !laid && (verified || !w) && !covered(at))
		native_fail(__FILE__, __LINE__, "%#x is %#x, not %#x, on a page that %s", at, is, meant,
			    verified ? "runs directly" : "is data or translated");
	if (verified && silent[at - TEXT] && !laid && !covered(at))
		native_fail(__FILE__, __LINE__, "%#x: what does not trap runs directly", at);
}

static void check(void)
{
	uint8_t original[SIZE];

	model();
	memcpy(original, ram(TEXT - LINK), SIZE);
	code_original(vm, TEXT, original, SIZE);
	for (uint32_t at = TEXT; at < TEXT + SIZE; at++) {
		if (original[at - TEXT] != view[at - TEXT])
			native_fail(__FILE__, __LINE__, "%#x: the guest wrote %#x, and %#x is taken for it",
				    at, view[at - TEXT], original[at - TEXT]);
		if (*(uint8_t *)ram(at - LINK) != view[at - TEXT] || silent[at - TEXT])
			check_byte(at, code_verified(vm, gva(at), gpa((at - LINK) & PAGE_MASK)));
	}
}

/* --- what the guest does --------------------------------------------------------------------------------------- */

static void execute(uint32_t at)
{
	code_execute(vm, gva(at & PAGE_MASK), gpa((at - LINK) & PAGE_MASK));
}

static void store(uint32_t at, const void *bytes, uint32_t n)
{
	code_demote(vm, (at - LINK) >> PAGE_SHIFT);
	if ((at ^ (at + n - 1)) & PAGE_MASK)
		code_demote(vm, (at + n - 1 - LINK) >> PAGE_SHIFT);
	memcpy(ram(at - LINK), bytes, n);
	if (any(2)) {
		execute(at);
		execute(TEXT + any(N_TEXT_PAGES) * PAGE_SIZE);
	} else if (any(8) == 0) {
		while (code_idle(vm))
			;
	}
}

/* The three writes; the model follows with the last. */
static void text_poke(uint32_t at, const uint8_t bytes[5])
{
	store(at, "\xcc", 1);
	store(at + 1, bytes + 1, 4);
	store(at, bytes, 1);
}

static bool is_free(uint32_t from, uint32_t to)
{
	for (unsigned i = 0; i < ARRAY_LEN(probes); i++)
		if (probes[i].registered && probes[i].va < to && jump_ends(probes[i].va) > from)
			return false;
	return true;
}

static void any_distance(uint8_t bytes[5])
{
	for (unsigned i = 1; i < 5; i++)
		bytes[i] = (uint8_t)any(256);
}

static void poke(void)
{
	uint32_t at = pokeable[any(n_pokeable)];
	uint8_t b[5];

	memcpy(b, pokes[any(ARRAY_LEN(pokes))].b, 5);
	if (!memcmp(b + 1, "\0\0\0\0", 4))
		any_distance(b);
	if (!is_free(at, at + 5))
		return;
	if (any(4))
		text_poke(at, b);
	else
		store(at, b, 5);
	memcpy(means + (at - TEXT), b, 5);
}

/* What the kernel reads there is what it takes for an instruction: the guest's own, or the jump of a window. */
static void register_probe(struct probe *p)
{
	uint32_t va = TEXT + any(SIZE - 64), end;
	const struct manifest_window *w;

	while (!length[va - TEXT])
		va++;
	w = window_of(va);
	end = jump_ends(va);
	if (!is_free(va, end) || view[va - TEXT] == 0xcc ||
	    (memcmp(ram(va - LINK), view + (va - TEXT), length[va - TEXT]) &&
	     !(w && w->va == va && *(uint8_t *)ram(va - LINK) == 0xe9)))
		return;
	*p = (struct probe){.va = va, .registered = true, .saved = *(uint8_t *)ram(va - LINK)};
	p->prepared = !memcmp(ram(va - LINK), view + (va - TEXT), end - va);
	for (uint32_t at = va; at < end; at++) /* straight code alone */
		p->prepared = p->prepared &&
			      (!length[at - TEXT] || !strchr("\xc3\xcc\x74\xe8\xe9\xeb", view[at - TEXT]));
}

static void probe(void)
{
	struct probe *p = &probes[any(ARRAY_LEN(probes))];

	if (!p->registered) {
		register_probe(p);
	} else if (p->overlay == PLAIN && any(4) == 0) {
		p->registered = false;
	} else if (p->overlay == PLAIN) {
		store(p->va, "\xcc", 1);
		p->overlay = ARMED;
	} else if (p->overlay == ARMED && p->prepared && any(2)) {
		memcpy(p->copied, ram(p->va + 1 - LINK), 4);
		p->jump[0] = 0xe9;
		any_distance(p->jump);
		text_poke(p->va, p->jump);
		p->overlay = OPTIMIZED;
	} else if (p->overlay == ARMED) {
		store(p->va, &p->saved, 1);
		p->overlay = PLAIN;
	} else {
		store(p->va, "\xcc", 1);
		store(p->va + 1, p->copied, 4);
		p->overlay = ARMED;
	}
}

NATIVE_TEST(what_the_guest_rewrites_is_what_runs)
{
	const char *seed = getenv("SEED"), *steps = getenv("STEPS");
	unsigned n = steps ? (unsigned)atoi(steps) : 1500, verified = 0;

	state = seed ? (uint32_t)atoi(seed) : 1;
	lay_out();
	native_start();
	check();
	for (unsigned i = 0; i < n; i++) {
		any(2) ? poke() : probe();
		for (uint32_t at = TEXT; any(2) && at < TEXT + SIZE; at += PAGE_SIZE)
			execute(at);
		check();
		for (unsigned page = 0; page < N_TEXT_PAGES; page++)
			verified += vm->vmm->code.page[page].state == CODE_VERIFIED;
	}
	printf("# of %u looks at %u pages, %u found one that runs directly\n", n, N_TEXT_PAGES, verified);
	CHECK(verified > n / 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_the_guest_rewrites_is_what_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
