// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What a stub may hold in place of a sensitive instruction.
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
#include "patcher/verify_walk.h"

static uint32_t load32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* ss-prefixed instruction on a word of the vCPU page: 36 opcode modrm(reg) disp32 */
static struct bytes vcpu(const struct walk *k, uint8_t opcode, unsigned reg, uint32_t field)
{
	struct bytes x = BYTES(0x36, opcode, 0x05 | reg << 3);

	walk_put32(&x, k->hole + ABI_VCPU_PAGE + field);
	return x;
}

static struct bytes vcpu_imm(const struct walk *k, uint32_t field, uint32_t value)
{
	struct bytes x = vcpu(k, 0xc7, 0, field);

	walk_put32(&x, value);
	return x;
}

static struct bytes vcpu_cmp0(const struct walk *k, uint32_t field)
{
	struct bytes x = vcpu(k, 0x83, 7, field);
	const uint8_t zero = 0;

	walk_put(&x, 1, &zero);
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
		walk_fail(k, "leaves for an instruction that is not in the site table");
		return;
	}
	walk_put32(&x, k->c->m.sites[site].pad);
	walk_put(&x, 2, selector);
	walk_here(k, x, state, flags);
	k->c->site_pad_used[site] = 1;
}

/* jne rel32 to a slow path; its target is checked when the walk gets there. */
static void match_jne(struct walk *k, unsigned flags, uint32_t *jump, uint32_t *target)
{
	struct bytes x = BYTES(0x0f, 0x85);
	const uint8_t *p = walk_bytes(k, 6);

	if (!p)
		return;
	*jump = k->pos;
	*target = k->pos + 6 + load32(p + 2);
	walk_put32(&x, *target - (k->pos + 6));
	walk_here(k, x, POINT_INSIDE, flags);
}

static struct slow *slow_new(struct walk *k)
{
	struct slow *s = &k->slow[k->n_slow];

	if (k->n_slow == SLOW_MAX) {
		walk_fail(k, "more slow paths than a window can hold");
		return NULL;
	}
	k->n_slow++;
	*s = (struct slow){.guest = k->guest};
	return s;
}

/* A jump to the slow path of s; all of one kind must go to the same place. */
static void slow_jump(struct walk *k, struct slow *s, bool restore, unsigned flags)
{
	uint32_t jump = 0, target = 0;

	match_jne(k, flags, &jump, &target);
	if (restore) {
		s->restore_at = target;
		s->restore = jump;
		return;
	}
	if (s->plain[0] && s->plain_at != target)
		walk_fail(k, "jumps to two different slow paths");
	s->plain[s->plain[0] ? 1 : 0] = jump;
	s->plain_at = target;
}

static void match_sti(struct walk *k, const struct verify_insn *in)
{
	struct slow *s;

	if (walk_peek(k, 1) == 0x83) { /* cmpl: the short form */
		s = slow_new(k);
		if (!s)
			return;
		if (!verify_flags_dead(k->c, in->va + in->len))
			walk_fail(k, "spoils arithmetic flags that may still be read");
		walk_first(k, vcpu_cmp0(k, VCPU_PENDING));
		slow_jump(k, s, false, 0);
		walk_here(k, vcpu_imm(k, VCPU_IF_DELTA, 0), POINT_INSIDE, 0);
		return;
	}
	walk_first(k, vcpu(k, STORE, ECX, VCPU_SCRATCH0));
	walk_here(k, vcpu(k, LOAD, ECX, VCPU_PENDING), POINT_INSIDE, 0);
	walk_here(k, BYTES(0xe3, 14), POINT_INSIDE, S0);
	walk_here(k, vcpu(k, LOAD, ECX, VCPU_SCRATCH0), POINT_INSIDE, S0);
	match_exit(k, POINT_INSIDE, 0);
	walk_here(k, vcpu_imm(k, VCPU_IF_DELTA, 0), POINT_INSIDE, S0);
	walk_here(k, vcpu(k, LOAD, ECX, VCPU_SCRATCH0), POINT_AFTER, S0);
}

static void match_pushf(struct walk *k)
{
	walk_first(k, BYTES(0x9c));
	walk_here(k, vcpu(k, STORE, ECX, VCPU_SCRATCH0), POINT_AFTER, 0);
	walk_here(k, vcpu(k, STORE, EDX, VCPU_SCRATCH1), POINT_AFTER, 0);
	walk_here(k, BYTES(LOAD, 0x0c, 0x24), POINT_AFTER, 0);
	walk_here(k, vcpu(k, LOAD, EDX, VCPU_IF_DELTA), POINT_AFTER, S0);
	walk_here(k, BYTES(0x8d, 0x0c, 0x11), POINT_AFTER, S0 | S1);
	walk_here(k, vcpu(k, LOAD, EDX, VCPU_FLAGS_HI), POINT_AFTER, S0 | S1);
	walk_here(k, BYTES(0x8d, 0x0c, 0x11), POINT_AFTER, S0 | S1);
	walk_here(k, BYTES(STORE, 0x0c, 0x24), POINT_AFTER, S0 | S1);
	walk_here(k, vcpu(k, LOAD, ECX, VCPU_SCRATCH0), POINT_AFTER, S0 | S1);
	walk_here(k, vcpu(k, LOAD, EDX, VCPU_SCRATCH1), POINT_AFTER, S1);
}

/* TF, IOPL, NT, RF, VM, AC, VIF, VIP: 0x100 | 0x3000 | 0x4000 | 0x10000 | 0x20000 | 0x40000 | 0x80000 | 0x100000 */
static void match_popf(struct walk *k)
{
	struct slow *s = slow_new(k);

	if (!s)
		return;
	walk_first(k, BYTES(0xf7, 0x04, 0x24, 0x00, 0x71, 0x1f, 0x00));
	slow_jump(k, s, false, 0);
	walk_here(k, vcpu_cmp0(k, VCPU_FLAGS_HI), POINT_INSIDE, 0);
	slow_jump(k, s, false, 0);
	walk_here(k, vcpu(k, STORE, ECX, VCPU_SCRATCH0), POINT_INSIDE, 0);
	walk_here(k, BYTES(LOAD, 0x0c, 0x24), POINT_INSIDE, 0);
	walk_here(k, BYTES(0x81, 0xe1, 0x00, 0x02, 0x00, 0x00), POINT_INSIDE, S0);
	walk_here(k, vcpu(k, 0x85, ECX, VCPU_PENDING), POINT_INSIDE, S0);
	slow_jump(k, s, true, S0);
	walk_here(k, BYTES(0x8d, 0x89, 0x00, 0xfe, 0xff, 0xff), POINT_INSIDE, S0);
	walk_here(k, vcpu(k, STORE, ECX, VCPU_IF_DELTA), POINT_INSIDE, S0);
	walk_here(k, vcpu(k, LOAD, ECX, VCPU_SCRATCH0), POINT_AFTER, S0);
	walk_here(k, BYTES(0x9d), POINT_AFTER, 0);
}

/* push Sreg: 06 0e 16 1e, or 0f a0 and 0f a8, which give 4 and 5 by the same bits. */
static void match_push_seg(struct walk *k, const uint8_t *orig, const struct verify_insn *in)
{
	if ((in->len != 1 && !(in->len == 2 && orig[0] == 0x0f)))
		walk_fail(k, "an inline form for a prefixed push");
	walk_first(k, vcpu(k, 0xff, 6, VCPU_SEL + 4 * (orig[in->len - 1] >> 3 & 7)));
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
		walk_fail(k, "an inline form for an unusual mov");
		return;
	}
	if (narrow) {
		walk_put(&x, tail.n, tail.b);
		walk_first(k, x);
	} else {
		walk_first(k, tail);
	}
}

static bool is_copy(struct walk *k, const uint8_t *orig, const struct verify_insn *in)
{
	return in->len <= k->end - k->pos && !memcmp(walk_bytes(k, in->len), orig, in->len);
}

void walk_sensitive(struct walk *k, const uint8_t *orig, const struct verify_insn *in)
{
	if (in->cls == VERIFY_LEAKS && is_copy(k, orig, in)) {
		walk_copy(k, orig, in);
		return;
	}
	if (walk_peek(k, 0) == 0xea) {
		match_exit(k, POINT_BOUNDARY, k->shadow);
		return;
	}
	switch (in->what) {
	case W_CLI:
		walk_first(k, vcpu_imm(k, VCPU_IF_DELTA, -0x200u));
		break;
	case W_STI:
		match_sti(k, in);
		break;
	case W_PUSHF:
		in->len == 1 ? match_pushf(k) : walk_fail(k, "an inline form for a prefixed pushf");
		break;
	case W_POPF:
		in->len == 1 ? match_popf(k) : walk_fail(k, "an inline form for a prefixed popf");
		break;
	case W_PUSH_SEG:
		match_push_seg(k, orig, in);
		break;
	case W_FROM_SEG:
	case W_FROM_CR:
		match_mov(k, orig, in);
		break;
	default:
		walk_fail(k, "a sensitive instruction that neither leaves nor has an inline form");
	}
}

void walk_slow(struct walk *k, const struct slow *s)
{
	k->guest = s->guest;
	if (s->restore) {
		if (s->restore_at != k->pos)
			walk_fail(k, "a slow path is not where its jump goes");
		walk_here(k, vcpu(k, LOAD, ECX, VCPU_SCRATCH0), POINT_INSIDE, S0);
	}
	if (s->plain_at != k->pos)
		walk_fail(k, "a slow path is not where its jump goes");
	match_exit(k, POINT_INSIDE, 0);
}
