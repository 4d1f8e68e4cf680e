// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * A stub beside the instructions that it stands for. The walk takes the original instructions in order and says,
 * for each, which bytes the stub must hold next and what the manifest must say about them; where hypercalls/abi.h
 * leaves a choice (a sensitive instruction may always leave the guest), the stub's own first byte picks the form,
 * and everything after it is fixed. LLVM must see the same instruction boundaries as the manifest's points.
 *
 * The forms, all with disp32 = hole + VCPU_x through %ss:
 *
 *	exit	ljmp $0x33,$pad
 *	cli	movl $-0x200,IF_DELTA
 *	sti	cmpl $0,PENDING; jne slow; movl $0,IF_DELTA		only where the arithmetic flags are dead
 *	sti	mov %ecx,S0; mov PENDING,%ecx; jecxz 1f; mov S0,%ecx; exit; 1: movl $0,IF_DELTA; mov S0,%ecx
 *	pushf	pushf; mov %ecx,S0; mov %edx,S1; mov (%esp),%ecx; mov IF_DELTA,%edx; lea (%ecx,%edx),%ecx;
 *		mov FLAGS_HI,%edx; lea (%ecx,%edx),%ecx; mov %ecx,(%esp); mov S0,%ecx; mov S1,%edx
 *	popf	testl $0x1f7100,(%esp); jne slow; cmpl $0,FLAGS_HI; jne slow; mov %ecx,S0; mov (%esp),%ecx;
 *		and $0x200,%ecx; test %ecx,PENDING; jne slow1; lea -0x200(%ecx),%ecx; mov %ecx,IF_DELTA;
 *		mov S0,%ecx; popf
 *	push Sreg	push SEL+4*Sreg
 *	mov Sreg,r	mov SEL+4*Sreg,r	(with 66 for a 16-bit register)
 *	mov CRn,r	mov CRn,r		CR0, CR2, CR3, CR4
 *
 * Slow paths stand behind the jump back: `slow1: mov S0,%ecx` falls into `slow: exit`.
 */
#include <string.h>

#include "hypercalls/abi.h"
#include "patcher/verify_check.h"

#define EXPECT_MAX 16
#define SLOW_MAX 128
#define ANY 0xffffffffu

/* Where a slow path begins is known only when the walk gets there; jumps to it wait here. */
struct slow {
	uint32_t guest; /* the instruction that owns it */
	uint32_t site;
	uint32_t plain[2];	       /* addresses that jump to `slow`, 0 unused */
	uint32_t restore;	       /* address that jumps to `slow1`, 0 unused */
	uint32_t plain_at, restore_at; /* where those jumps go */
};

struct walk {
	struct verify_ctx *c;
	const struct manifest_window *w;
	uint32_t index; /* of the window */
	uint32_t pos;	/* next stub address */
	uint32_t end;
	const struct manifest_point *point; /* of pos */
	const struct manifest_point *points_end;
	uint32_t hole;
	uint32_t guest; /* the instruction being matched */
	uint8_t shadow; /* POINT_SHADOW if the one before was STI */
	struct slow slow[SLOW_MAX];
	unsigned n_slow;
	bool bad;
};

struct bytes {
	uint8_t b[EXPECT_MAX];
	unsigned n;
};

static void put(struct bytes *x, unsigned n, const uint8_t *b)
{
	memcpy(x->b + x->n, b, n);
	x->n += n;
}

static void put32(struct bytes *x, uint32_t v)
{
	const uint8_t b[4] = {v & 0xff, v >> 8 & 0xff, v >> 16 & 0xff, v >> 24};

	put(x, 4, b);
}

#define BYTES(...) ((struct bytes){.b = {__VA_ARGS__}, .n = sizeof((uint8_t[]){__VA_ARGS__})})

static const uint8_t *stub_bytes(const struct verify_ctx *c, uint32_t va)
{
	return c->stubs + (va - c->stubs_va);
}

static uint32_t load32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* One failure a stub: what follows a mismatch would only be noise. */
static void stub_fail(struct walk *k, const char *what)
{
	if (!k->bad)
		verify_fail(k->c, k->guest, "stub at 0x%x of the window at 0x%x: %s", k->pos, k->w->va, what);
	k->bad = true;
}

/* The next byte of the stub, -1 at its end. */
static int peek(const struct walk *k, unsigned ahead)
{
	return k->pos + ahead < k->end ? stub_bytes(k->c, k->pos)[ahead] : -1;
}

/* The point of the stub instruction at pos. */
static void match_point(struct walk *k, uint32_t guest, unsigned state, unsigned flags)
{
	const struct manifest_point *p = k->point;

	if (p == k->points_end || p->stub != k->pos) {
		stub_fail(k, "no restart point for this instruction");
		return;
	}
	if (p->guest != guest || p->state != state || p->flags != flags || p->reserved)
		stub_fail(k, "its restart point names another place or state");
	k->point++;
	k->c->points_seen++;
}

/* One stub instruction: exactly these bytes, one instruction for LLVM, and its point. */
static void match(struct walk *k, const struct bytes *x, uint32_t guest, unsigned state, unsigned flags)
{
	struct verify_insn in;

	if (k->bad)
		return;
	if (x->n > k->end - k->pos) {
		stub_fail(k, "ends too early");
		return;
	}
	if (memcmp(stub_bytes(k->c, k->pos), x->b, x->n)) {
		stub_fail(k, "not the code that this instruction is replaced by");
		return;
	}
	if (verify_decode(k->c->dec, stub_bytes(k->c, k->pos), k->end - k->pos, k->pos, &in) != (int)x->n) {
		stub_fail(k, "is decoded differently");
		return;
	}
	match_point(k, guest, state, flags);
	k->pos += x->n;
}

static void match_here(struct walk *k, struct bytes x, unsigned state, unsigned flags)
{
	match(k, &x, k->guest, state, flags);
}

/* The first stub instruction of an original one. */
static void match_first(struct walk *k, struct bytes x)
{
	match_here(k, x, POINT_BOUNDARY, k->shadow);
}

/* opcode, rel32 to target; the state is that of `guest`'s boundary. */
static void match_jump(struct walk *k, struct bytes opcode, uint32_t target, uint32_t guest, unsigned flags)
{
	put32(&opcode, target - (k->pos + opcode.n + 4));
	match(k, &opcode, guest, POINT_BOUNDARY, flags);
}

/* A displaced branch to guest address `target`. */
static void match_branch(struct walk *k, struct bytes opcode, uint32_t target, uint32_t guest, unsigned flags)
{
	uint32_t actual;

	if (k->end - k->pos < opcode.n + 4) {
		stub_fail(k, "ends too early");
		return;
	}
	actual = k->pos + opcode.n + 4 + load32(stub_bytes(k->c, k->pos) + opcode.n);
	match_jump(k, opcode, verify_aim(k->c, k->guest, target, actual), guest, flags);
}

/* ss-prefixed instruction on a word of the vCPU page: 36 opcode modrm(reg) disp32 */
static struct bytes vcpu(const struct walk *k, uint8_t opcode, unsigned reg, uint32_t field)
{
	struct bytes x = BYTES(0x36, opcode, 0x05 | reg << 3);

	put32(&x, k->hole + ABI_VCPU_PAGE + field);
	return x;
}

static struct bytes vcpu_imm(const struct walk *k, uint32_t field, uint32_t value)
{
	struct bytes x = vcpu(k, 0xc7, 0, field);

	put32(&x, value);
	return x;
}

static struct bytes vcpu_cmp0(const struct walk *k, uint32_t field)
{
	struct bytes x = vcpu(k, 0x83, 7, field);
	const uint8_t zero = 0;

	put(&x, 1, &zero);
	return x;
}

#define ECX 1
#define EDX 2
#define STORE 0x89
#define LOAD 0x8b
#define S0 POINT_SCRATCH0
#define S1 POINT_SCRATCH1

/* The landing pad of the site at the current instruction; claimed by verify_sites(). */
static void match_exit(struct walk *k, unsigned state, unsigned flags)
{
	uint32_t site = verify_site_at(k->c, k->guest);
	struct bytes x = BYTES(0xea);
	const uint8_t selector[] = {ABI_HOST_CS64, 0};

	if (site == MANIFEST_NONE) {
		stub_fail(k, "leaves for an instruction that is not in the site table");
		return;
	}
	put32(&x, k->c->m.sites[site].pad);
	put(&x, 2, selector);
	match_here(k, x, state, flags);
	k->c->site_pad_used[site] = 1;
}

/* jne rel32 to a slow path; its target is checked when the walk gets there. */
static void match_jne(struct walk *k, unsigned flags, uint32_t *jump, uint32_t *target)
{
	struct bytes x = BYTES(0x0f, 0x85);

	if (k->end - k->pos < 6) {
		stub_fail(k, "ends too early");
		return;
	}
	*jump = k->pos;
	*target = k->pos + 6 + load32(stub_bytes(k->c, k->pos) + 2);
	put32(&x, *target - (k->pos + 6));
	match_here(k, x, POINT_INSIDE, flags);
}

static struct slow *slow_new(struct walk *k)
{
	struct slow *s = &k->slow[k->n_slow];

	if (k->n_slow == SLOW_MAX) {
		stub_fail(k, "more slow paths than a window can hold");
		return NULL;
	}
	k->n_slow++;
	*s = (struct slow){.guest = k->guest};
	return s;
}

/* A jump to the slow path of s; all of one kind must go to the same place. */
static void match_slow_jump(struct walk *k, struct slow *s, bool restore, unsigned flags)
{
	uint32_t jump = 0, target = 0;

	match_jne(k, flags, &jump, &target);
	if (restore) {
		s->restore_at = target;
		s->restore = jump;
		return;
	}
	if (s->plain[0] && s->plain_at != target)
		stub_fail(k, "jumps to two different slow paths");
	s->plain[s->plain[0] ? 1 : 0] = jump;
	s->plain_at = target;
}

static void match_sti(struct walk *k, const struct verify_insn *in)
{
	struct slow *s;

	if (peek(k, 1) == 0x83) { /* cmpl: the short form */
		s = slow_new(k);
		if (!s)
			return;
		if (!verify_flags_dead(k->c, in->va + in->len))
			stub_fail(k, "spoils arithmetic flags that may still be read");
		match_first(k, vcpu_cmp0(k, VCPU_PENDING));
		match_slow_jump(k, s, false, 0);
		match_here(k, vcpu_imm(k, VCPU_IF_DELTA, 0), POINT_INSIDE, 0);
		return;
	}
	match_first(k, vcpu(k, STORE, ECX, VCPU_SCRATCH0));
	match_here(k, vcpu(k, LOAD, ECX, VCPU_PENDING), POINT_INSIDE, 0);
	match_here(k, BYTES(0xe3, 14), POINT_INSIDE, S0);
	match_here(k, vcpu(k, LOAD, ECX, VCPU_SCRATCH0), POINT_INSIDE, S0);
	match_exit(k, POINT_INSIDE, 0);
	match_here(k, vcpu_imm(k, VCPU_IF_DELTA, 0), POINT_INSIDE, S0);
	match_here(k, vcpu(k, LOAD, ECX, VCPU_SCRATCH0), POINT_AFTER, S0);
}

static void match_pushf(struct walk *k)
{
	match_first(k, BYTES(0x9c));
	match_here(k, vcpu(k, STORE, ECX, VCPU_SCRATCH0), POINT_AFTER, 0);
	match_here(k, vcpu(k, STORE, EDX, VCPU_SCRATCH1), POINT_AFTER, 0);
	match_here(k, BYTES(LOAD, 0x0c, 0x24), POINT_AFTER, 0);
	match_here(k, vcpu(k, LOAD, EDX, VCPU_IF_DELTA), POINT_AFTER, S0);
	match_here(k, BYTES(0x8d, 0x0c, 0x11), POINT_AFTER, S0 | S1);
	match_here(k, vcpu(k, LOAD, EDX, VCPU_FLAGS_HI), POINT_AFTER, S0 | S1);
	match_here(k, BYTES(0x8d, 0x0c, 0x11), POINT_AFTER, S0 | S1);
	match_here(k, BYTES(STORE, 0x0c, 0x24), POINT_AFTER, S0 | S1);
	match_here(k, vcpu(k, LOAD, ECX, VCPU_SCRATCH0), POINT_AFTER, S0 | S1);
	match_here(k, vcpu(k, LOAD, EDX, VCPU_SCRATCH1), POINT_AFTER, S1);
}

/* TF, IOPL, NT, RF, VM, AC, VIF, VIP: 0x100 | 0x3000 | 0x4000 | 0x10000 | 0x20000 | 0x40000 | 0x80000 | 0x100000 */
static void match_popf(struct walk *k)
{
	struct slow *s = slow_new(k);

	if (!s)
		return;
	match_first(k, BYTES(0xf7, 0x04, 0x24, 0x00, 0x71, 0x1f, 0x00));
	match_slow_jump(k, s, false, 0);
	match_here(k, vcpu_cmp0(k, VCPU_FLAGS_HI), POINT_INSIDE, 0);
	match_slow_jump(k, s, false, 0);
	match_here(k, vcpu(k, STORE, ECX, VCPU_SCRATCH0), POINT_INSIDE, 0);
	match_here(k, BYTES(LOAD, 0x0c, 0x24), POINT_INSIDE, 0);
	match_here(k, BYTES(0x81, 0xe1, 0x00, 0x02, 0x00, 0x00), POINT_INSIDE, S0);
	match_here(k, vcpu(k, 0x85, ECX, VCPU_PENDING), POINT_INSIDE, S0);
	match_slow_jump(k, s, true, S0);
	match_here(k, BYTES(0x8d, 0x89, 0x00, 0xfe, 0xff, 0xff), POINT_INSIDE, S0);
	match_here(k, vcpu(k, STORE, ECX, VCPU_IF_DELTA), POINT_INSIDE, S0);
	match_here(k, vcpu(k, LOAD, ECX, VCPU_SCRATCH0), POINT_AFTER, S0);
	match_here(k, BYTES(0x9d), POINT_AFTER, 0);
}

/* push Sreg: 06 0e 16 1e, or 0f a0 and 0f a8, which give 4 and 5 by the same bits. */
static void match_push_seg(struct walk *k, const uint8_t *orig, const struct verify_insn *in)
{
	if ((in->len != 1 && !(in->len == 2 && orig[0] == 0x0f)))
		stub_fail(k, "an inline form for a prefixed push");
	match_first(k, vcpu(k, 0xff, 6, VCPU_SEL + 4 * (orig[in->len - 1] >> 3 & 7)));
}

/* [66] 8c /r with a register; or 0f 20 /r. */
static void match_mov(struct walk *k, const uint8_t *orig, const struct verify_insn *in)
{
	uint8_t modrm = orig[in->len - 1], reg = modrm >> 3 & 7;
	bool narrow = orig[0] == 0x66, cr = in->what == W_FROM_CR;
	uint32_t field = cr ? VCPU_CR0 + 4u * reg : VCPU_SEL + 4u * reg;
	struct bytes x = BYTES(0x66), tail = vcpu(k, LOAD, modrm & 7, field);

	if (in->len != 2u + narrow + cr || (narrow && cr) || modrm < 0xc0 ||
	    (cr ? reg == 1 || reg > 4 : reg > 5)) {
		stub_fail(k, "an inline form for an unusual mov");
		return;
	}
	if (narrow) {
		put(&x, tail.n, tail.b);
		match_first(k, x);
	} else {
		match_first(k, tail);
	}
}

static bool is_copy(const struct walk *k, const uint8_t *orig, const struct verify_insn *in)
{
	return in->len <= k->end - k->pos && !memcmp(stub_bytes(k->c, k->pos), orig, in->len);
}

static void match_copy(struct walk *k, const uint8_t *orig, const struct verify_insn *in)
{
	struct bytes x = {.n = in->len};

	memcpy(x.b, orig, in->len);
	match_first(k, x);
}

static void match_sensitive(struct walk *k, const uint8_t *orig, const struct verify_insn *in)
{
	if (in->cls == VERIFY_LEAKS && is_copy(k, orig, in)) {
		match_copy(k, orig, in);
		return;
	}
	if (peek(k, 0) == 0xea) {
		match_exit(k, POINT_BOUNDARY, k->shadow);
		return;
	}
	switch (in->what) {
	case W_CLI:
		match_first(k, vcpu_imm(k, VCPU_IF_DELTA, -0x200u));
		break;
	case W_STI:
		match_sti(k, in);
		break;
	case W_PUSHF:
		in->len == 1 ? match_pushf(k) : stub_fail(k, "an inline form for a prefixed pushf");
		break;
	case W_POPF:
		in->len == 1 ? match_popf(k) : stub_fail(k, "an inline form for a prefixed popf");
		break;
	case W_PUSH_SEG:
		match_push_seg(k, orig, in);
		break;
	case W_FROM_SEG:
	case W_FROM_CR:
		match_mov(k, orig, in);
		break;
	default:
		stub_fail(k, "a sensitive instruction that neither leaves nor has an inline form");
	}
}

/* Jcc becomes 0f 80+cc rel32, whatever form it had. The rest only has rel8: step around a long jump. */
static void match_cond(struct walk *k, const uint8_t *orig, const struct verify_insn *in)
{
	struct bytes x = {.n = in->len};
	unsigned at = 0;

	while (at < in->len && memchr("\x26\x2e\x36\x3e\x64\x65\x67\xf2\xf3", orig[at], 9))
		at++;
	if (orig[at] >= 0xe0 && orig[at] <= 0xe3) {
		memcpy(x.b, orig, in->len);
		x.b[in->len - 1] = 2;
		match_first(k, x);
		x = BYTES(0xeb, 5);
		match(k, &x, in->va + in->len, POINT_BOUNDARY, 0);
		match_branch(k, BYTES(0xe9), in->target, in->target, 0);
		return;
	}
	if (orig[at] == 0x0f)
		at++;
	match_branch(k, BYTES(0x0f, 0x80 | (orig[at] & 15)), in->target, in->va, k->shadow);
}

static void match_call(struct walk *k, const uint8_t *orig, const struct verify_insn *in)
{
	struct bytes push = BYTES(0x68), jump = BYTES(0xff, 0xe0 | (orig[in->len - 1] & 7));

	put32(&push, in->va + in->len);
	match_first(k, push);
	if (in->flow == VF_CALL) {
		match_branch(k, BYTES(0xe9), in->target, in->target, 0);
		return;
	}
	/* call *%reg: ff d0+r. ESP has changed by then, and a memory operand could fault after the push. */
	if (in->len != 2 || orig[0] != 0xff || orig[1] < 0xd0 || orig[1] > 0xd7 || orig[1] == 0xd4)
		stub_fail(k, "an indirect call that cannot be displaced");
	match_here(k, jump, POINT_AFTER, 0);
}

static void match_ordinary(struct walk *k, const uint8_t *orig, const struct verify_insn *in)
{
	switch (in->flow) {
	case VF_COND:
		match_cond(k, orig, in);
		break;
	case VF_JMP:
		match_branch(k, BYTES(0xe9), in->target, in->va, k->shadow);
		break;
	case VF_CALL:
	case VF_CALL_IND:
		match_call(k, orig, in);
		break;
	case VF_ODD:
		stub_fail(k, "an instruction that cannot be displaced");
		break;
	default:
		match_copy(k, orig, in);
	}
}

/* What the manifest says about the site that was just matched. */
static void check_site(struct walk *k, const struct verify_insn *in)
{
	uint32_t i = verify_site_at(k->c, in->va);
	const struct manifest_site *s;

	if (i == MANIFEST_NONE) {
		if (in->cls != VERIFY_LEAKS)
			stub_fail(k, "a sensitive instruction that is not in the site table");
		return;
	}
	s = &k->c->m.sites[i];
	/* A copied one counts as not patched. */
	if (s->window != k->index && !(s->tactic == TACTIC_VERBATIM && in->cls == VERIFY_LEAKS))
		stub_fail(k, "the site table has its instruction in another window");
	if (s->resume != (in->flow == VF_FAR ? MANIFEST_NONE : k->pos) && s->window == k->index)
		stub_fail(k, "the site table resumes it elsewhere");
}

static void match_slow(struct walk *k, const struct slow *s)
{
	k->guest = s->guest;
	if (s->restore) {
		if (s->restore_at != k->pos)
			stub_fail(k, "a slow path is not where its jump goes");
		match_here(k, vcpu(k, LOAD, ECX, VCPU_SCRATCH0), POINT_INSIDE, S0);
	}
	if (s->plain_at != k->pos)
		stub_fail(k, "a slow path is not where its jump goes");
	match_exit(k, POINT_INSIDE, 0);
}

static const struct manifest_point *points_from(const struct verify_ctx *c, uint32_t va)
{
	size_t lo = 0, hi = c->m.h.n_points;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (c->m.points[mid].stub < va)
			lo = mid + 1;
		else
			hi = mid;
	}
	return c->m.points + lo;
}

void verify_stub(struct verify_ctx *c, uint32_t index, uint32_t end)
{
	const struct manifest_window *w = &c->m.windows[index];
	const struct verify_text *t = verify_text_at(c->src, w->va);
	struct walk k = {.c = c,
			 .w = w,
			 .index = index,
			 .pos = w->stub,
			 .end = w->stub + w->stub_len,
			 .hole = c->m.h.hole_base,
			 .points_end = c->m.points + c->m.h.n_points,
			 .guest = w->va};
	struct verify_insn in = {.len = 0};
	size_t aims = c->n_aims;
	bool sensitive = false;

	if (!verify_claim(c, w->stub, w->stub_len, STUB_CODE))
		return;
	k.point = points_from(c, w->stub);
	for (uint32_t va = w->va; va < end && !k.bad; va += in.len) {
		const uint8_t *orig = t->bytes + (va - t->va);

		if (!verify_decode(c->dec, orig, t->size - (va - t->va), va, &in))
			return; /* reported by the window */
		/* The text of `in` is the decoder's and does not outlive the matching; the rest of it does. */
		k.guest = va;
		if (va != w->va)
			verify_copy_note(c, va, k.pos);
		if (in.cls != VERIFY_ORDINARY) {
			match_sensitive(&k, orig, &in);
			check_site(&k, &in);
			sensitive = true;
		} else {
			match_ordinary(&k, orig, &in);
		}
		k.shadow = in.what == W_STI ? POINT_SHADOW : 0;
	}
	if (!sensitive && c->n_aims == aims) /* nor is it a relay */
		stub_fail(&k, "serves no sensitive instruction");
	if (verify_falls_through(&in) && in.flow != VF_CALL && in.flow != VF_CALL_IND)
		match_jump(&k, BYTES(0xe9), end, end, k.shadow);
	for (unsigned i = 0; i < k.n_slow; i++)
		match_slow(&k, &k.slow[i]);
	if (!k.bad && k.pos != k.end)
		stub_fail(&k, "goes on behind its end");
	c->r->stubs++;
	c->r->bytes_checked += w->stub_len;
}
