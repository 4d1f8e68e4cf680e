/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Random far transfers and segment loads, to be run twice: by a real emulator (guest.c under QEMU's TCG) and by the
 * monitor's logic (model.c). Both build the same memory from the same number, run one instruction, and record what
 * became of it. Everything here compiles for both, in 32 and 64 bits, without libc.
 *
 * Where QEMU 7.2 departs from the manual, the scenarios stay out of the way or the comparison is lenient:
 *   limits of data and stack segments are not checked: all have room
 *   accessed bits are set by MOV alone: hashes leave them out
 *   a 16-bit gate's offset keeps its upper half: it is 0
 *   EIP is checked against CS's limit by far JMP and CALL only, which raise #GP(selector) instead of #GP(0), a call
 *     after it has pushed
 *   a TSS selector that is local or beyond the GDT raises #TS or #NP, not #GP (SDM 3A table 7-1)
 *   a call gate to conforming code leaves CS.RPL at its DPL, not at CPL
 *   JMP through a call gate to absent code raises #GP, not #NP
 *   LTR takes a null selector, and IRET refuses to return to the task that it is in
 *   a stack segment that is absent raises #NP or #TS, not #SS
 *   a task whose CS is conforming code of an inner ring raises #TS
 *   after a fault inside a task switch the low 12 bits of EIP are those of the instruction that caused the switch
 */
#ifndef TESTS_ORACLE_SCENARIO_H
#define TESTS_ORACLE_SCENARIO_H

#include <stdint.h>

enum { /* guest physical = linear addresses */
	O_LOW_CODE = 0x2000, O_LOW_STACK = 0x5000, O_LOW_END = 0x8000, /* where 16-bit offsets lead */
	O_GDT = 0x100000, O_LDT = 0x101000, O_LDT2 = 0x101800, O_IDT = 0x102000, O_SUBJECT = 0x103000,
	O_TSS2 = 0x103800, O_TSS16 = 0x103c00, O_CAPTURE = 0x104000, /* 64 of 128 bytes */
	O_OP = 0x107000, O_STACKS = 0x110000, O_STACKS_END = 0x118000, O_CODE = 0x122000, O_CODE_SIZE = 0x2000,
	O_CAPTURE_STACK = 0x130000,
};
enum { /* GDT indices */
	G_CS0 = 1, G_DS0, G_CS3, G_DS3, G_SUBJECT, G_LDT, G_CS1, G_DS1, G_FREE, G_FREE_END = 16,
	G_CAPTURE = 16, /* 34: vectors 0 to 31, the landing, and where the harness itself is saved */
	G_HARNESS_CS = 50, G_HARNESS_DS, G_END,
};
enum { V_SUBJECT = 0x40, V_LANDED = 0x30, CAPTURE_LANDED = 32, CAPTURE_HOME };

enum o_op { O_IRET, O_RETF, O_JMP, O_CALL, O_INT, O_MOV, O_LLDT, O_LTR, O_LAR, O_LSL, O_VERR, O_VERW, O_OPS };

struct scenario {
	uint32_t op, opsize, cpl, imm, seg, sel, offset, eflags, esp, op_len;
	uint16_t sreg[6]; /* ES CS SS DS FS GS of the subject */
};

struct outcome {
	uint32_t vector; /* CAPTURE_LANDED when nothing faulted */
	uint32_t error, tr, eip, eflags, eax, esp;
	uint16_t sreg[6];
	uint32_t memory, subject; /* hashes */
};

static uint32_t o_rng;

static inline uint32_t o_rand(uint32_t below)
{
	o_rng ^= o_rng << 13;
	o_rng ^= o_rng >> 17;
	o_rng ^= o_rng << 5;
	return (uint32_t)((uint64_t)o_rng * below >> 32);
}

static inline void o_put(uint8_t *mem, uint32_t at, uint32_t value, unsigned size)
{
	unsigned i;

	for (i = 0; i < size; i++)
		mem[at + i] = (uint8_t)(value >> (i * 8));
}

static inline uint32_t o_get(const uint8_t *mem, uint32_t at, unsigned size)
{
	uint32_t value = 0;

	while (size-- > 0)
		value = value << 8 | mem[at + size];
	return value;
}

static inline void o_desc(uint8_t *mem, uint32_t at, uint32_t base, uint32_t limit, uint32_t access, uint32_t flags)
{
	o_put(mem, at, base << 16 | (limit & 0xffff), 4);
	o_put(mem, at + 4, (base & 0xff000000) | flags << 20 | (limit & 0xf0000) | access << 8 | (base >> 16 & 0xff), 4);
}

static inline uint32_t o_offset(void)
{
	return (o_rand(2) ? O_CODE : O_LOW_CODE) + o_rand(0x80) * 2;
}

/* Low half within the low stack, whole within the stacks: good for both widths. */
static inline uint32_t o_esp(void)
{
	return 0x110000 + 0x5800 + o_rand(0x40) * 0x80;
}

static inline uint32_t o_sel(uint32_t rpl_hint)
{
	uint32_t rpl = o_rand(4) ? rpl_hint : o_rand(4), kind = o_rand(100);

	if (kind < 55)
		return (G_FREE + o_rand(G_FREE_END - G_FREE)) << 3 | rpl;
	if (kind < 80)
		return (1 + o_rand(8)) << 3 | rpl;
	if (kind < 94)
		return o_rand(8) << 3 | 4 | rpl;
	if (kind < 97)
		return rpl;
	return (70 + o_rand(100)) << 3 | (o_rand(2) ? 4 : 0) | rpl;
}

static inline void o_gate(uint8_t *mem, uint32_t at, uint32_t access)
{
	uint32_t offset = o_offset() & (access & 8 || (access & 0x1f) == 5 ? 0xffffffff : 0xffff);

	o_put(mem, at, o_sel(0) << 16 | (offset & 0xffff), 4);
	o_put(mem, at + 4, (offset & 0xffff0000) | access << 8 | (o_rand(3) ? 0 : o_rand(32)), 4);
}

/* Any access byte; base and limit such that what the type makes of them leads nowhere wild. */
static inline void o_any_desc(uint8_t *mem, uint32_t at)
{
	static const uint8_t likely[] = {0x9a, 0x9b, 0x9e, 0xfa, 0xfe, 0xba, 0x92, 0x93, 0xf2, 0xb2, 0x96, 0x8c, 0xec, 0x84,
					 0xe4, 0x85, 0xe5, 0x89, 0xe9, 0x81, 0x82};
	uint32_t access = o_rand(3) ? likely[o_rand(sizeof(likely))] : o_rand(256);
	uint32_t type = access & 0x1f, base = o_rand(3) ? 0 : 0x1000, flags = o_rand(4) ? 0xc : o_rand(4) << 2;

	if ((type & 0x18) == 0x18) { /* code: its limit is checked against EIP */
		o_desc(mem, at, base, o_rand(4) ? 0xfffff : o_rand(2) ? 0x2040 : 1, access, flags);
	} else if (type & 0x10) { /* data; expand-down reaches from 4 KiB up */
		o_desc(mem, at, base, access & 4 ? 0 : 0xfffff, access, flags | 8);
	} else if (type == 9 || type == 11) {
		o_desc(mem, at, O_TSS2, o_rand(8) ? 0x67 : 0x66, access, 0);
	} else if (type == 1 || type == 3) {
		o_desc(mem, at, O_TSS16, o_rand(8) ? 0x2b : 0x2a, access, 0);
	} else if (type == 2) {
		o_desc(mem, at, O_LDT2, 0x3f, access, 0);
	} else {
		o_gate(mem, at, access);
	}
}

static inline uint32_t o_flags(void)
{
	return ((o_rng ^ o_rand(0x7fffffff)) & 0x00243ed5) | 2 | (o_rand(6) ? 0 : 0x4000); /* no TF, VM, RF; NT seldom */
}

static inline uint32_t o_data_sel(void)
{
	return o_rand(5) ? (o_rand(2) ? G_DS3 << 3 | 3 : 0) : o_sel(0);
}

static inline void o_tasks(uint8_t *mem)
{
	uint32_t cs = o_rand(5) ? (o_rand(2) ? G_CS0 << 3 : G_CS3 << 3 | 3) : o_sel(0);
	uint32_t ss = o_rand(5) ? ((cs & 3) == 3 ? G_DS3 << 3 | 3 : G_DS0 << 3) : o_sel(cs & 3);
	uint32_t i, ldt = o_rand(3) ? (o_rand(2) ? G_LDT << 3 : 0) : o_sel(0);

	for (i = 0; i < 0x68; i += 4) {
		o_put(mem, O_SUBJECT + i, 0, 4);
		o_put(mem, O_TSS2 + i, o_rand(0xffff), 4);
		o_put(mem, O_TSS16 + i, o_rand(0xffff), 4);
	}
	o_put(mem, O_SUBJECT, o_rand(2) ? (G_FREE + o_rand(7)) << 3 : o_sel(0), 2);
	if (o_get(mem, O_SUBJECT, 2) >> 3 == G_SUBJECT)
		o_put(mem, O_SUBJECT, 0, 2);
	o_put(mem, O_SUBJECT + 4, o_esp(), 4);
	o_put(mem, O_SUBJECT + 8, o_rand(4) ? G_DS0 << 3 : o_sel(0), 4);
	o_put(mem, O_SUBJECT + 12, o_esp(), 4);
	o_put(mem, O_SUBJECT + 16, o_rand(4) ? G_DS1 << 3 | 1 : o_sel(1), 4);
	o_put(mem, O_SUBJECT + 20, o_esp(), 4);
	o_put(mem, O_SUBJECT + 24, o_sel(2), 4);
	o_put(mem, O_TSS2 + 0x20, o_offset(), 4);
	o_put(mem, O_TSS2 + 0x24, o_flags(), 4);
	o_put(mem, O_TSS2 + 0x38, o_esp(), 4);
	o_put(mem, O_TSS16 + 0x0e, o_offset(), 2);
	o_put(mem, O_TSS16 + 0x10, o_flags() & 0x7eff, 2);
	o_put(mem, O_TSS16 + 0x1a, o_esp(), 2);
	for (i = 0; i < 6; i++) {
		uint32_t sel = i == 1 ? cs : i == 2 ? ss : o_data_sel();

		o_put(mem, O_TSS2 + 0x48 + i * 4, sel, 4);
		if (i < 4)
			o_put(mem, O_TSS16 + 0x22 + i * 2, sel, 2);
	}
	o_put(mem, O_TSS2 + 0x60, ldt, 4);
	o_put(mem, O_TSS2 + 0x64, 0, 4);
	o_put(mem, O_TSS16 + 0x2a, ldt, 2);
}

static inline void o_tables(uint8_t *mem)
{
	uint32_t i, big = o_rand(4) ? 0xc : 0x8; /* now and then all stacks are of 16 bits */

	for (i = 0; i < G_FREE_END * 8; i += 4)
		o_put(mem, O_GDT + i, 0, 4);
	o_desc(mem, O_GDT + G_CS0 * 8, 0, 0xfffff, 0x9a, 0xc);
	o_desc(mem, O_GDT + G_DS0 * 8, 0, 0xfffff, 0x92, big);
	o_desc(mem, O_GDT + G_CS3 * 8, 0, 0xfffff, 0xfa, 0xc);
	o_desc(mem, O_GDT + G_DS3 * 8, 0, 0xfffff, 0xf2, big);
	o_desc(mem, O_GDT + G_SUBJECT * 8, O_SUBJECT, 0x67, 0x8b, 0);
	o_desc(mem, O_GDT + G_LDT * 8, O_LDT, 0x3f, 0x82, 0);
	o_desc(mem, O_GDT + G_CS1 * 8, 0, 0xfffff, 0xba, 0xc);
	o_desc(mem, O_GDT + G_DS1 * 8, 0, 0xfffff, 0xb2, big);
	for (i = G_FREE; i < G_FREE_END; i++)
		o_any_desc(mem, O_GDT + i * 8);
	for (i = 0; i < 8; i++) {
		o_any_desc(mem, O_LDT + i * 8);
		o_any_desc(mem, O_LDT2 + i * 8);
	}
	for (i = O_STACKS; i < O_STACKS_END; i += 4)
		o_put(mem, i, 0x55550000 + i, 4);
	for (i = O_LOW_STACK; i < O_LOW_END; i += 4)
		o_put(mem, i, 0x33330000 + i, 4);
}

/* The instruction at O_OP, then the landing's. AX holds the selector where one is asked for. */
static inline void o_code(uint8_t *mem, struct scenario *s)
{
	static const uint8_t system_op[] = {0xd0, 0xd8}; /* LLDT AX, LTR AX */
	uint32_t at = O_OP;

	if (s->opsize == 2)
		mem[at++] = 0x66;
	switch (s->op) {
	case O_IRET:
		mem[at++] = 0xcf;
		break;
	case O_RETF:
		mem[at++] = 0xca;
		o_put(mem, at, s->imm, 2);
		at += 2;
		break;
	case O_JMP:
	case O_CALL:
		mem[at++] = s->op == O_JMP ? 0xea : 0x9a;
		o_put(mem, at, s->offset, s->opsize);
		at += s->opsize;
		o_put(mem, at, s->sel, 2);
		at += 2;
		break;
	case O_INT:
		mem[at++] = 0xcd;
		mem[at++] = V_SUBJECT;
		break;
	case O_MOV:
		mem[at++] = 0x8e;
		mem[at++] = (uint8_t)(0xc0 | s->seg << 3);
		break;
	case O_LLDT:
	case O_LTR:
		mem[at++] = 0x0f;
		mem[at++] = 0x00;
		mem[at++] = system_op[s->op - O_LLDT];
		break;
	case O_LAR:
	case O_LSL:
		mem[at++] = 0x0f;
		mem[at++] = s->op == O_LAR ? 0x02 : 0x03;
		mem[at++] = 0xc0; /* EAX, EAX */
		break;
	default:
		mem[at++] = 0x0f;
		mem[at++] = 0x00;
		mem[at++] = s->op == O_VERR ? 0xe0 : 0xe8;
		break;
	}
	s->op_len = at - O_OP;
	mem[at++] = 0xcd;
	mem[at++] = V_LANDED;
}

static inline void o_frame(uint8_t *mem, const struct scenario *s)
{
	uint32_t at = (mem[O_GDT + G_DS0 * 8 + 6] & 0x40 ? s->esp : s->esp & 0xffff), n = s->opsize;
	uint32_t outer = s->cpl + o_rand(4 - s->cpl), i;
	const uint32_t word[] = {o_offset(), o_rand(4) ? (outer == 3 ? G_CS3 : outer ? G_CS1 : G_CS0) << 3 | outer : o_sel(outer),
				 o_flags(), o_esp(), o_rand(4) ? (outer == 3 ? G_DS3 : outer ? G_DS1 : G_DS0) << 3 | outer : o_sel(outer)};

	for (i = 0; i < 5; i++) {
		if (s->op == O_RETF && i == 2) {
			at += s->imm;
			continue;
		}
		o_put(mem, at, word[i], n);
		at += n;
	}
}

static inline void o_build(uint8_t *mem, uint32_t number, struct scenario *s)
{
	uint32_t i;

	o_rng = number * 2654435761u + 1;
	for (i = 0; i < 8; i++)
		o_rand(2);
	s->cpl = o_rand(3) ? (o_rand(2) ? 3 : 0) : 1;
	s->op = o_rand(2) ? o_rand(O_MOV) : o_rand(O_OPS);
	s->opsize = s->op <= O_CALL && o_rand(4) == 0 ? 2 : 4;
	s->imm = o_rand(2) * 8;
	s->seg = (uint32_t[]){0, 2, 3, 4, 5}[o_rand(5)];
	s->esp = o_esp();
	o_tables(mem);
	o_tasks(mem);
	s->sel = o_sel(s->cpl);
	if (s->op == O_LTR && s->sel < 4)
		s->sel = G_SUBJECT << 3;
	s->offset = o_offset() & (s->opsize == 2 ? 0xffff : 0xffffffff);
	s->eflags = o_flags() & ~(o_rand(3) ? 0x4000u : 0);
	s->sreg[1] = (uint16_t)((s->cpl == 3 ? G_CS3 : s->cpl ? G_CS1 : G_CS0) << 3 | s->cpl);
	s->sreg[2] = (uint16_t)((s->cpl == 3 ? G_DS3 : s->cpl ? G_DS1 : G_DS0) << 3 | s->cpl);
	for (i = 0; i < 6; i++)
		if (i != 1 && i != 2)
			s->sreg[i] = (uint16_t)(o_rand(2) ? s->sreg[2] : o_rand(2) ? G_DS3 << 3 : 0);
	static const uint8_t gates[] = {0x8e, 0x8f, 0xee, 0xef, 0x86, 0xe7, 0xe5, 0x85, 0xee, 0xef};

	o_gate(mem, O_IDT + V_SUBJECT * 8, o_rand(6) ? gates[o_rand(sizeof(gates))] : o_rand(256));
	if (o_rand(3))
		o_put(mem, O_IDT + V_SUBJECT * 8 + 2, (o_rand(2) ? G_CS0 : G_CS1) << 3, 2);
	o_code(mem, s);
	o_frame(mem, s);
	/* the subject as its task switch loads it: the accessed bits that it sets are set */
	for (i = 0; i < 6; i++)
		if (s->sreg[i] & 0xfffc)
			mem[O_GDT + (s->sreg[i] & 0xfff8u) + 5] |= 1;
}

static inline uint32_t o_hash(const uint8_t *mem, uint32_t from, uint32_t to, uint32_t h)
{
	for (; from < to; from += 4)
		h = (h ^ o_get(mem, from, 4)) * 16777619u + (h >> 15);
	return h;
}

static inline uint32_t o_table_hash(const uint8_t *mem, uint32_t from, uint32_t to, uint32_t h)
{
	uint32_t hi;

	for (; from < to; from += 8) {
		hi = o_get(mem, from + 4, 4);
		if (hi & 0x1000)
			hi |= 0x100;
		h = o_hash(mem, from, from + 4, h);
		h = (h ^ hi) * 16777619u + (h >> 15);
	}
	return h;
}

static inline uint32_t o_memory_hash(const uint8_t *mem)
{
	uint32_t h = o_table_hash(mem, O_GDT, O_GDT + G_FREE_END * 8, 2166136261u);

	h = o_table_hash(mem, O_LDT, O_LDT + 0x40, h);
	h = o_table_hash(mem, O_LDT2, O_LDT2 + 0x40, h);
	h = o_hash(mem, O_LOW_STACK, O_LOW_END, h);
	return o_hash(mem, O_STACKS, O_STACKS_END, h);
}

#endif
