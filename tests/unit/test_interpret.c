// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Instructions interpreted in C. Arithmetic is held against the host's CPU, decimal adjustment (which it does not have
 * in 64-bit mode) against the SDM's operations written down again here, the rest against values worked out by hand.
 */
#include "tests/unit/guest.h"

#include "monitor/vmm/interpret.h"
#include "monitor/vmm/paging.h"

enum {
	DATA = 0x20000,
	HOLE = 0x40000,
	READ_ONLY = 0x42000,
	SYSTEM = 0x44000,
	DIR = 0x300000,
	TABLE = 0x301000
};
#define FL_ALL (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

static uint32_t random32(void)
{
	static uint64_t x = 88172645463325252u; /* xorshift64: the same in every run */

	x ^= x << 13, x ^= x >> 7, x ^= x << 17;
	return (uint32_t)(x >> 16);
}

/* Values at the edges as often as any others. */
static uint32_t operand(void)
{
	static const uint32_t edge[] = {0,	 1,	     9,		 0x10,	     0x7f,
					0x80,	 0xff,	     0x7fff,	 0x8000,     0xffff,
					0x10000, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff};
	uint32_t r = random32();

	return r & 1 ? random32() : edge[(r >> 1) % ARRAY_LEN(edge)];
}

static int run(const void *bytes, size_t size)
{
	struct insn insn;

	assert_int_equal(insn_decode(&insn, bytes, size, cpu->eip, 32), size);
	assert_true(interpret_can(&insn));
	return interpret(vm, &insn);
}

/* It runs, and eip stands behind it, no interrupt shadow left. */
static void run_ok(const void *bytes, size_t size)
{
	uint32_t eip = cpu->eip;

	cpu->shadow = 1;
	assert_int_equal(run(bytes, size), 0);
	assert_int_equal(cpu->eip, eip + size);
	assert_int_equal(cpu->shadow, 0);
	assert_int_equal(cpu->exc_vector, EXC_NONE);
}

/* It raises just this, and neither registers nor memory changed. */
static void run_fault(const void *bytes, size_t size, unsigned vector, uint32_t error, uint32_t cr2)
{
	static uint8_t before[GUEST_RAM];
	struct vcpu v = *cpu;

	memcpy(before, ram(0), GUEST_RAM);
	assert_int_equal(run(bytes, size), -EFAULT);
	assert_int_equal(cpu->exc_vector, vector);
	assert_int_equal(cpu->exc_error, error);
	assert_int_equal(cpu->exc_has_error, vector >= EXC_TS || vector == EXC_DF);
	if (vector == EXC_PF)
		assert_int_equal(cpu->exc_cr2, cr2);
	cpu->exc_vector = v.exc_vector;
	cpu->exc_has_error = v.exc_has_error;
	cpu->exc_error = v.exc_error;
	cpu->exc_cr2 = v.exc_cr2;
	assert_memory_equal(cpu, &v, sizeof(v));
	assert_int_equal(memcmp(before, ram(0), GUEST_RAM), 0);
}

#define OK(text) run_ok(text, sizeof(text) - 1)
#define FAULT(text, vector, error) run_fault(text, sizeof(text) - 1, vector, error, 0)
#define PAGE_FAULT(text, error, cr2) run_fault(text, sizeof(text) - 1, EXC_PF, error, cr2)

static void set_flags(uint32_t flags)
{
	cpu->eflags = FL_FIXED | flags;
}

/* Paging with RAM at its own addresses, but for a hole, a page to read only, and one of the system's. */
static void page(void)
{
	unsigned i;

	for (i = 0; i < 1024; i++)
		poke32(TABLE + i * 4, i << 12 | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D);
	poke32(TABLE + (HOLE >> 12) * 4, 0);
	poke32(TABLE + (READ_ONLY >> 12) * 4, READ_ONLY | PTE_P | PTE_U | PTE_A | PTE_D);
	poke32(TABLE + (SYSTEM >> 12) * 4, SYSTEM | PTE_P | PTE_W | PTE_A | PTE_D);
	poke32(DIR, TABLE | PTE_P | PTE_W | PTE_U | PTE_A);
	cpu->cr3 = DIR;
	cpu->cr0 |= CR0_PG | CR0_WP;
}

static struct segment *use_segment(enum seg seg, uint32_t base, uint32_t limit, uint8_t access, uint8_t flags)
{
	cpu->seg[seg] = segment_unpack(S_FREE, make_desc(base, limit, access, flags));
	return &cpu->seg[seg];
}

/* --- arithmetic ------------------------------------------------------------------------------------------ */

struct result {
	uint32_t a, b, flags;
};
typedef void host_op(struct result *r, unsigned size);

#define HOST_ASM(text)                                                                                       \
	__asm__ volatile("lea -128(%%rsp), %%rsp; push %q2; popfq; " text                                    \
			 "; pushfq; pop %q2; lea 128(%%rsp), %%rsp"                                          \
			 : "+r"(a), "+r"(b), "+r"(flags), "+a"(acc)                                          \
			 :                                                                                   \
			 : "cc", "memory")
#define HOST(name, text8, text16, text32)                                                                    \
	static void host_##name(struct result *r, unsigned size)                                             \
	{                                                                                                    \
		uint64_t a = r->a, b = r->b, flags = r->flags, acc = cpu->gpr[REG_AX];                       \
                                                                                                             \
		if (size == 1)                                                                               \
			HOST_ASM(text8);                                                                     \
		else if (size == 2)                                                                          \
			HOST_ASM(text16);                                                                    \
		else                                                                                         \
			HOST_ASM(text32);                                                                    \
		*r = (struct result){(uint32_t)a, (uint32_t)b, (uint32_t)flags & FL_ALL};                    \
		host_accumulator = (uint32_t)acc;                                                            \
	}
#define HOST_TWO(name) HOST(name, #name "b %b1, %b0", #name "w %w1, %w0", #name "l %k1, %k0")
#define HOST_ONE(name) HOST(name, #name "b %b0", #name "w %w0", #name "l %k0")

static uint32_t host_accumulator;

HOST_TWO(add)
HOST_TWO(or)
HOST_TWO(adc)
HOST_TWO(sbb)
HOST_TWO(and)
HOST_TWO(sub)
HOST_TWO(xor)
HOST_TWO(cmp)
HOST_TWO(test)
HOST_TWO(xadd)
HOST_TWO(cmpxchg)
HOST_TWO(xchg)
HOST_ONE(inc)
HOST_ONE(dec)
HOST_ONE(not )
HOST_ONE(neg)

static host_op *const host_alu[8] = {host_add, host_or,	 host_adc, host_sbb,
				     host_and, host_sub, host_xor, host_cmp};

static bool is_logic(host_op *op)
{
	return op == host_or || op == host_and || op == host_xor || op == host_test;
}

static uint32_t part(uint32_t value, unsigned size)
{
	return size == 4 ? value : value & ((1u << size * 8) - 1);
}

/* An instruction being put together. */
static uint8_t code[16];
static size_t code_len;
static void begin(unsigned size)
{
	code_len = 0;
	if (size == 2)
		code[code_len++] = 0x66;
}
static void put(uint32_t value, unsigned bytes)
{
	memcpy(code + code_len, &value, bytes);
	code_len += bytes;
}

/* ModRM operand: memory at DATA, or DX with the other operand in CX. */
static void put_modrm(bool memory, unsigned reg)
{
	put(memory ? reg << 3 | 5 : 0xc0 | reg << 3 | REG_DX, 1);
	if (memory)
		put(DATA, 4);
}

/*
 * Run code[] whose first operand is in memory at DATA or in DX, its second in CX, when b_is_reg, and compare with the host.
 */
static void compare(host_op *op, unsigned size, bool memory, uint32_t a, uint32_t b, bool b_is_reg)
{
	uint32_t flags = random32() & FL_ALL, mask = is_logic(op) ? FL_ALL & ~FL_AF : FL_ALL, got;
	struct result r = {a, b, flags};
	struct vcpu before;

	op(&r, size);
	set_flags(flags | FL_DF);
	cpu->gpr[REG_DX] = memory ? 0x5a5a5a5a : a;
	cpu->gpr[REG_CX] = b_is_reg ? b : 0x3c3c3c3c;
	poke32(DATA, a);
	poke32(DATA + 4, 0xa5a5a5a5);
	before = *cpu;
	run_ok(code, code_len);
	got = memory ? peek32(DATA) : cpu->gpr[REG_DX];
	assert_int_equal(part(got, size), part(r.a, size));
	assert_int_equal(got & ~part(UINT32_MAX, size), a & ~part(UINT32_MAX, size));
	assert_int_equal(peek32(DATA + 4), 0xa5a5a5a5);
	if (!memory)
		assert_int_equal(peek32(DATA), a);
	if (b_is_reg)
		assert_int_equal(cpu->gpr[REG_CX], part(r.b, size) | (b & ~part(UINT32_MAX, size)));
	assert_int_equal(cpu->eflags & mask, r.flags & mask);
	assert_int_equal(cpu->eflags & ~FL_ALL, FL_FIXED | FL_DF);
	before.gpr[REG_DX] = cpu->gpr[REG_DX];
	before.gpr[REG_CX] = cpu->gpr[REG_CX];
	before.gpr[REG_AX] = cpu->gpr[REG_AX];
	assert_memory_equal(cpu->gpr, before.gpr, sizeof(before.gpr));
}

#define FOR_SIZES(size) for (unsigned size = 1; size <= 4; size *= 2)
#define ROUNDS 300

static void alu_registers_and_memory(void **state)
{
	(void)state;
	for (unsigned op = 0; op < 8; op++)
		FOR_SIZES(size)
	for (unsigned n = 0; n < ROUNDS; n++) {
		bool memory = n & 1;

		begin(size);
		put(op << 3 | (size > 1), 1); /* r/m, r */
		put_modrm(memory, REG_CX);
		compare(host_alu[op], size, memory, operand(), operand(), true);
		begin(size);
		put(op << 3 | 2 | (size > 1), 1); /* r, r/m: DX is r, CX the other */
		put(0xc0 | REG_DX << 3 | REG_CX, 1);
		compare(host_alu[op], size, false, operand(), operand(), true);
	}
}

static void alu_from_memory(void **state)
{
	(void)state;
	for (unsigned op = 0; op < 8; op++)
		FOR_SIZES(size)
	for (unsigned n = 0; n < ROUNDS; n++) {
		struct result r = {operand(), operand(), random32() & FL_ALL};
		uint32_t a = r.a, mask = is_logic(host_alu[op]) ? FL_ALL & ~FL_AF : FL_ALL;

		set_flags(r.flags);
		begin(size);
		put(op << 3 | 2 | (size > 1), 1);
		put_modrm(true, REG_CX);
		cpu->gpr[REG_CX] = r.a;
		poke32(DATA, r.b);
		host_alu[op](&r, size);
		run_ok(code, code_len);
		assert_int_equal(cpu->gpr[REG_CX], part(r.a, size) | (a & ~part(UINT32_MAX, size)));
		assert_int_equal(peek32(DATA), r.b);
		assert_int_equal(cpu->eflags & mask, r.flags & mask);
	}
}

static void alu_immediates(void **state)
{
	static const uint8_t opcode[] = {0x80, 0x81, 0x82, 0x83};

	(void)state;
	for (unsigned op = 0; op < 8; op++)
		FOR_SIZES(size)
	for (unsigned n = 0; n < ROUNDS; n++) {
		bool memory = n & 1, wide = size > 1;
		unsigned which = n >> 1 & 1 ? wide | 2 : wide; /* 82 is 80, in 32-bit code */
		uint32_t imm = operand();

		begin(size);
		put(opcode[which], 1);
		put_modrm(memory, op);
		put(imm, which == 1 ? size : 1);
		if (which != 1)
			imm = (uint32_t)(int8_t)imm;
		compare(host_alu[op], size, memory, operand(), imm, false);
	}
}

static void alu_accumulator(void **state)
{
	(void)state;
	for (unsigned op = 0; op < 9; op++) /* 8: TEST */
		FOR_SIZES(size)
	for (unsigned n = 0; n < ROUNDS; n++) {
		host_op *host = op < 8 ? host_alu[op] : host_test;
		struct result r = {operand(), operand(), random32() & FL_ALL};
		uint32_t a = r.a, mask = is_logic(host) ? FL_ALL & ~FL_AF : FL_ALL;

		set_flags(r.flags);
		cpu->gpr[REG_AX] = r.a;
		begin(size);
		put((op < 8 ? op << 3 | 4 : 0xa8) | (size > 1), 1);
		put(r.b, size);
		host(&r, size);
		run_ok(code, code_len);
		assert_int_equal(cpu->gpr[REG_AX], part(r.a, size) | (a & ~part(UINT32_MAX, size)));
		assert_int_equal(cpu->eflags & mask, r.flags & mask);
	}
}

/* INC DEC NOT NEG TEST XCHG XADD CMPXCHG */
static void alu_others(void **state)
{
	static const struct {
		host_op *op;
		uint8_t map1, opcode, reg; /* reg: of the group, or CX */
		bool two;
	} form[] = {
	    {host_inc, 0, 0xfe, 0, false},	{host_dec, 0, 0xfe, 1, false},
	    {host_not, 0, 0xf6, 2, false},	{host_neg, 0, 0xf6, 3, false},
	    {host_test, 0, 0x84, REG_CX, true}, {host_xchg, 0, 0x86, REG_CX, true},
	    {host_xadd, 1, 0xc0, REG_CX, true}, {host_cmpxchg, 1, 0xb0, REG_CX, true},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(form); i++)
		FOR_SIZES(size)
	for (unsigned n = 0; n < ROUNDS; n++) {
		uint32_t a = operand(), acc = n & 2 ? a : operand();

		begin(size);
		if (form[i].map1)
			put(0x0f, 1);
		put(form[i].opcode | (size > 1), 1);
		put_modrm(n & 1, form[i].reg);
		cpu->gpr[REG_AX] = acc;
		compare(form[i].op, size, n & 1, a, operand(), form[i].two);
		assert_int_equal(part(cpu->gpr[REG_AX], size), part(host_accumulator, size));
		if (size < 4)
			assert_int_equal(cpu->gpr[REG_AX] >> 16, acc >> 16);
	}
}

static void alu_test_immediate_and_short_forms(void **state)
{
	(void)state;
	for (unsigned n = 0; n < ROUNDS; n++) {
		uint32_t imm = operand();

		begin(4);
		put(0xf7, 1);
		put_modrm(n & 1, n >> 1 & 1); /* /1 is /0 */
		put(imm, 4);
		compare(host_test, 4, n & 1, operand(), imm, false);
		begin(n & 1 ? 2 : 4);
		put(0x40 | REG_DX, 1);
		compare(host_inc, n & 1 ? 2 : 4, false, operand(), 0, false);
		begin(n & 1 ? 2 : 4);
		put(0x48 | REG_DX, 1);
		compare(host_dec, n & 1 ? 2 : 4, false, operand(), 0, false);
	}
}

static void alu_high_bytes_and_same_register(void **state)
{
	(void)state;
	set_flags(0);
	cpu->gpr[REG_AX] = 0x11223344;
	cpu->gpr[REG_BX] = 0x55667788;
	OK("\x00\xdc"); /* add %bl, %ah */
	assert_int_equal(cpu->gpr[REG_AX], 0x1122bb44);
	OK("\x86\xe0"); /* xchg %ah, %al */
	assert_int_equal(cpu->gpr[REG_AX], 0x112244bb);
	OK("\x0f\xc1\xdb"); /* xadd %ebx, %ebx: the sum remains */
	assert_int_equal(cpu->gpr[REG_BX], 0xaaccef10);
	OK("\x93"); /* xchg %eax, %ebx */
	assert_int_equal(cpu->gpr[REG_AX], 0xaaccef10);
	assert_int_equal(cpu->gpr[REG_BX], 0x112244bb);
	OK("\x66\x93"); /* xchg %ax, %bx */
	assert_int_equal(cpu->gpr[REG_AX], 0xaacc44bb);
	OK("\x90");
	assert_int_equal(cpu->gpr[REG_AX], 0xaacc44bb);
}

static void locked(void **state)
{
	struct insn insn;

	(void)state;
	poke32(DATA, 5);
	cpu->gpr[REG_CX] = 3;
	OK("\xf0\x01\x0d\x00\x00\x02\x00"); /* lock add %ecx, DATA */
	assert_int_equal(peek32(DATA), 8);
	OK("\xf0\xff\x0d\x00\x00\x02\x00"); /* lock dec DATA */
	assert_int_equal(peek32(DATA), 7);
	/* where it is not legal, the decoder says #UD before any of this */
	assert_int_equal(insn_decode(&insn, (const uint8_t *)"\xf0\x89\x0d\x00\x00\x02\x00", 7, 0, 32),
			 -EINVAL);
	assert_int_equal(insn_decode(&insn, (const uint8_t *)"\xf0\x01\xc8", 3, 0, 32), -EINVAL);
}

/* --- decimal --------------------------------------------------------------------------------------------- */

struct bcd {
	uint8_t al, ah;
	bool cf, af;
};

/* The operations of SDM 2A, in its own steps. */
static void sdm_daa(struct bcd *s)
{
	uint8_t old_al = s->al;
	bool old_cf = s->cf;

	s->cf = 0;
	if ((s->al & 0x0f) > 9 || s->af) {
		s->cf = old_cf || s->al > 0xff - 6;
		s->al += 6;
		s->af = 1;
	} else {
		s->af = 0;
	}
	if (old_al > 0x99 || old_cf) {
		s->al += 0x60;
		s->cf = 1;
	} else {
		s->cf = 0;
	}
}
static void sdm_das(struct bcd *s)
{
	uint8_t old_al = s->al;
	bool old_cf = s->cf;

	s->cf = 0;
	if ((s->al & 0x0f) > 9 || s->af) {
		s->cf = old_cf || s->al < 6;
		s->al -= 6;
		s->af = 1;
	} else {
		s->af = 0;
	}
	if (old_al > 0x99 || old_cf) {
		s->al -= 0x60;
		s->cf = 1;
	}
}
static void sdm_aaa(struct bcd *s)
{
	uint16_t ax = (uint16_t)(s->ah << 8 | s->al);

	s->cf = s->af = (s->al & 0x0f) > 9 || s->af;
	if (s->af)
		ax += 0x106;
	s->ah = (uint8_t)(ax >> 8);
	s->al = ax & 0x0f;
}
static void sdm_aas(struct bcd *s)
{
	uint16_t ax = (uint16_t)(s->ah << 8 | s->al);

	s->cf = s->af = (s->al & 0x0f) > 9 || s->af;
	if (s->af) {
		ax -= 6;
		ax = (uint16_t)(((ax >> 8) - 1) << 8 | (ax & 0xff));
	}
	s->ah = (uint8_t)(ax >> 8);
	s->al = ax & 0x0f;
}

static uint32_t flags_of_byte(uint8_t x)
{
	return (x ? 0 : FL_ZF) | (x & 0x80 ? FL_SF : 0) | (__builtin_parity(x) ? 0 : FL_PF);
}

static void decimal_adjustment(void **state)
{
	static const struct {
		void (*sdm)(struct bcd *);
		uint8_t opcode;
		bool result_flags;
	} form[] = {
	    {sdm_daa, 0x27, true}, {sdm_das, 0x2f, true}, {sdm_aaa, 0x37, false}, {sdm_aas, 0x3f, false}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(form); i++)
		for (uint32_t n = 0; n < 1 << 18; n++) {
			struct bcd s = {(uint8_t)n, (uint8_t)(n >> 8), n >> 16 & 1, n >> 17 & 1};

			cpu->gpr[REG_AX] = 0xabcd0000 | (n & 0xffff);
			set_flags((s.cf ? FL_CF : 0) | (s.af ? FL_AF : 0) | FL_DF);
			form[i].sdm(&s);
			run_ok(&form[i].opcode, 1);
			if (cpu->gpr[REG_AX] != (0xabcd0000u | (uint32_t)s.ah << 8 | s.al) ||
			    !!(cpu->eflags & FL_CF) != s.cf || !!(cpu->eflags & FL_AF) != s.af)
				fail_msg("opcode %02x of %05x: %08x", form[i].opcode, n, cpu->gpr[REG_AX]);
			if (form[i].result_flags)
				assert_int_equal(cpu->eflags & (FL_ZF | FL_SF | FL_PF), flags_of_byte(s.al));
			assert_true(cpu->eflags & FL_DF);
		}
}

static void decimal_bases(void **state)
{
	(void)state;
	for (unsigned ax = 0; ax < 0x10000; ax += 7)
		for (unsigned base = 1; base < 256; base += 3) {
			uint8_t aam[2] = {0xd4, (uint8_t)base}, aad[2] = {0xd5, (uint8_t)base};
			uint8_t al = (uint8_t)ax, ah = (uint8_t)(ax >> 8), q = 0, sum = al;

			cpu->gpr[REG_AX] = 0x12340000 | ax;
			run_ok(aam, 2);
			for (; al >= base; al = (uint8_t)(al - base))
				q++;
			assert_int_equal(cpu->gpr[REG_AX], 0x12340000 | q << 8 | al);
			assert_int_equal(cpu->eflags & (FL_ZF | FL_SF | FL_PF), flags_of_byte(al));
			cpu->gpr[REG_AX] = 0x12340000 | ax;
			run_ok(aad, 2);
			for (unsigned i = 0; i < ah; i++)
				sum = (uint8_t)(sum + base);
			assert_int_equal(cpu->gpr[REG_AX], 0x12340000 | sum);
			assert_int_equal(cpu->eflags & (FL_ZF | FL_SF | FL_PF), flags_of_byte(sum));
		}
	FAULT("\xd4\x00", EXC_DE, 0);
}

static void salc(void **state)
{
	(void)state;
	cpu->gpr[REG_AX] = 0x12345678;
	set_flags(FL_CF);
	OK("\xd6");
	assert_int_equal(cpu->gpr[REG_AX], 0x123456ff);
	set_flags(FL_ALL & ~FL_CF);
	OK("\xd6");
	assert_int_equal(cpu->gpr[REG_AX], 0x12345600);
	assert_int_equal(cpu->eflags, FL_FIXED | (FL_ALL & ~FL_CF));
}

static void bound(void **state)
{
	(void)state;
	poke32(DATA, -5u);
	poke32(DATA + 4, 10);
	cpu->gpr[REG_CX] = -5u;
	OK("\x62\x0d\x00\x00\x02\x00"); /* bound %ecx, DATA */
	cpu->gpr[REG_CX] = 10;
	OK("\x62\x0d\x00\x00\x02\x00");
	cpu->gpr[REG_CX] = 11;
	FAULT("\x62\x0d\x00\x00\x02\x00", EXC_BR, 0);
	cpu->gpr[REG_CX] = -6u;
	FAULT("\x62\x0d\x00\x00\x02\x00", EXC_BR, 0);
	poke32(DATA, 0x0010fff0); /* -16 to 16 */
	cpu->gpr[REG_CX] = 0x7777fff0;
	OK("\x66\x62\x0d\x00\x00\x02\x00");
	cpu->gpr[REG_CX] = 0x11;
	FAULT("\x66\x62\x0d\x00\x00\x02\x00", EXC_BR, 0);
	use_segment(SEG_GS, DATA, 6, A_DATA, 4);
	FAULT("\x65\x62\x0d\x00\x00\x00\x00", EXC_GP, 0);
	page();
	cpu->gpr[REG_BX] = HOLE - 4; /* the upper bound is beyond */
	PAGE_FAULT("\x62\x0b", 0, HOLE);
}

/* --- stack ----------------------------------------------------------------------------------------------- */

static void push_and_pop(void **state)
{
	(void)state;
	cpu->gpr[REG_SP] = 0x30000;
	cpu->gpr[REG_AX] = 0x11223344;
	OK("\x50"); /* push %eax */
	assert_int_equal(cpu->gpr[REG_SP], 0x2fffc);
	assert_int_equal(peek32(0x2fffc), 0x11223344);
	OK("\x54"); /* push %esp: as it was */
	assert_int_equal(peek32(0x2fff8), 0x2fffc);
	OK("\x66\x50"); /* push %ax */
	assert_int_equal(cpu->gpr[REG_SP], 0x2fff6);
	assert_int_equal(peek16(0x2fff6), 0x3344);
	OK("\x6a\xfe"); /* push $-2 */
	assert_int_equal(peek32(0x2fff2), -2u);
	OK("\x66\x6a\xfe");
	assert_int_equal(cpu->gpr[REG_SP], 0x2fff0);
	assert_int_equal(peek16(0x2fff0), 0xfffe);
	assert_int_equal(peek32(0x2fff2), -2u);
	OK("\x68\x78\x56\x34\x12");
	assert_int_equal(peek32(0x2ffec), 0x12345678);
	OK("\x66\x68\xcd\xab");
	assert_int_equal(cpu->gpr[REG_SP], 0x2ffea);
	assert_int_equal(peek16(0x2ffea), 0xabcd);
	OK("\xff\x74\x24\x02"); /* pushl 2(%esp): with ESP as it was */
	assert_int_equal(peek32(0x2ffe6), 0x12345678);
	OK("\x5b"); /* pop %ebx */
	assert_int_equal(cpu->gpr[REG_BX], 0x12345678);
	OK("\x66\x5b");
	assert_int_equal(cpu->gpr[REG_BX], 0x1234abcd);
	assert_int_equal(cpu->gpr[REG_SP], 0x2ffec);
	OK("\x8f\x44\x24\x08"); /* popl 8(%esp): with ESP behind the word */
	assert_int_equal(cpu->gpr[REG_SP], 0x2fff0);
	assert_int_equal(peek32(0x2fff8), 0x12345678);
	OK("\x66\x8f\x05\x00\x00\x02\x00"); /* popw DATA */
	assert_int_equal(peek16(DATA), 0xfffe);
	OK("\x8f\xc2"); /* pop %edx, the long way */
	assert_int_equal(cpu->gpr[REG_DX], -2u);
	OK("\x66\x5c"); /* pop %sp: the high half has been incremented */
	assert_int_equal(cpu->gpr[REG_SP], 0x23344);
	poke32(0x23344, 0x2f000);
	OK("\x5c"); /* pop %esp */
	assert_int_equal(cpu->gpr[REG_SP], 0x2f000);
}

static void push_and_pop_of_all(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < 8; i++)
		cpu->gpr[i] = 0x01010101 * (i + 1);
	cpu->gpr[REG_SP] = 0x30000;
	OK("\x60");
	assert_int_equal(cpu->gpr[REG_SP], 0x30000 - 32);
	for (i = 0; i < 8; i++)
		assert_int_equal(peek32(0x2fffc - i * 4), i == REG_SP ? 0x30000 : 0x01010101 * (i + 1));
	poke32(0x2fffc - REG_SP * 4, 0xdead);
	for (i = 0; i < 8; i++)
		if (i != REG_SP)
			cpu->gpr[i] = 0;
	OK("\x61");
	for (i = 0; i < 8; i++)
		assert_int_equal(cpu->gpr[i], i == REG_SP ? 0x30000 : 0x01010101 * (i + 1));
	OK("\x66\x60");
	assert_int_equal(cpu->gpr[REG_SP], 0x30000 - 16);
	for (i = 0; i < 8; i++)
		assert_int_equal(peek16(0x2fffe - i * 2), i == REG_SP ? 0 : 0x0101 * (i + 1));
	poke16(0x2fff0, 0xd1d1); /* DI */
	OK("\x66\x61");
	assert_int_equal(cpu->gpr[REG_SP], 0x30000);
	assert_int_equal(cpu->gpr[REG_DI], 0x0808d1d1);
	assert_int_equal(cpu->gpr[REG_AX], 0x01010101);
}

static void stack_of_16_bits(void **state)
{
	(void)state;
	use_segment(SEG_SS, 0x10000, 0xffff, A_DATA, 0);
	cpu->gpr[REG_SP] = 0x77770004;
	cpu->gpr[REG_AX] = 0x11223344;
	OK("\x50");
	assert_int_equal(cpu->gpr[REG_SP], 0x77770000);
	assert_int_equal(peek32(0x10000), 0x11223344);
	OK("\x66\x50"); /* around the end */
	assert_int_equal(cpu->gpr[REG_SP], 0x7777fffe);
	assert_int_equal(peek16(0x1fffe), 0x3344);
	OK("\x66\x59");
	assert_int_equal(cpu->gpr[REG_SP], 0x77770000);
	cpu->gpr[REG_SP] = 0x77770002;
	FAULT("\x50", EXC_SS, 0); /* FFFE to 10001 */
	FAULT("\x60", EXC_SS, 0);
	cpu->gpr[REG_SP] = 0x7777fffe;
	FAULT("\x58", EXC_SS, 0);
	FAULT("\x61", EXC_SS, 0);
	cpu->gpr[REG_SP] = 0x77770008;
	OK("\x66\x60"); /* half of it around the end */
	assert_int_equal(cpu->gpr[REG_SP], 0x7777fff8);
	assert_int_equal(peek16(0x10006), 0x3344);
	OK("\x66\x61");
	assert_int_equal(cpu->gpr[REG_SP], 0x77770008);
	/* LEAVE and ENTER go by SP and BP */
	cpu->gpr[REG_BP] = 0x55550100;
	OK("\xc8\x10\x00\x00");
	assert_int_equal(cpu->gpr[REG_SP], 0x7777fff4);
	assert_int_equal(peek32(0x10004), 0x55550100);
	cpu->gpr[REG_BP] = 0x88880004;
	OK("\xc9");
	assert_int_equal(cpu->gpr[REG_SP], 0x77770008);
	assert_int_equal(cpu->gpr[REG_BP], 0x55550100);
}

static void stack_that_expands_down(void **state)
{
	(void)state;
	use_segment(SEG_SS, 0x20000, 0xfff, A_DOWN, 4); /* offsets from 1000 */
	cpu->gpr[REG_SP] = 0x1004;
	cpu->gpr[REG_AX] = 0x11223344;
	OK("\x50");
	assert_int_equal(peek32(0x21000), 0x11223344);
	FAULT("\x50", EXC_SS, 0);
	FAULT("\x66\x50", EXC_SS, 0);
	FAULT("\x60", EXC_SS, 0);
	cpu->gpr[REG_SP] = 0x1020;
	OK("\x60");
	cpu->gpr[REG_BP] = 0xffe;
	FAULT("\xc9", EXC_SS, 0);
	FAULT("\x8b\x45\x00", EXC_SS, 0); /* mov (%ebp), %eax: SS by default */
	FAULT("\x66\xff\x75\x00", EXC_SS, 0);
}

static void enter_and_leave(void **state)
{
	(void)state;
	cpu->gpr[REG_SP] = 0x30000;
	cpu->gpr[REG_BP] = 0x12340100;
	OK("\xc8\x20\x01\x00");
	assert_int_equal(cpu->gpr[REG_BP], 0x2fffc);
	assert_int_equal(cpu->gpr[REG_SP], 0x2fffc - 0x120);
	assert_int_equal(peek32(0x2fffc), 0x12340100);
	OK("\xc9");
	assert_int_equal(cpu->gpr[REG_SP], 0x30000);
	assert_int_equal(cpu->gpr[REG_BP], 0x12340100);
	/* level 4 is 36 modulo 32: three frame pointers and its own */
	cpu->gpr[REG_BP] = DATA + 12;
	poke32(DATA + 8, 0xa1);
	poke32(DATA + 4, 0xa2);
	poke32(DATA, 0xa3);
	OK("\xc8\x08\x00\x24");
	assert_int_equal(cpu->gpr[REG_BP], 0x2fffc);
	assert_int_equal(cpu->gpr[REG_SP], 0x30000 - 20 - 8);
	assert_int_equal(peek32(0x2fffc), DATA + 12);
	assert_int_equal(peek32(0x2fff8), 0xa1);
	assert_int_equal(peek32(0x2fff4), 0xa2);
	assert_int_equal(peek32(0x2fff0), 0xa3);
	assert_int_equal(peek32(0x2ffec), 0x2fffc);
	/* 16 bits: the high half of EBP stays */
	cpu->gpr[REG_SP] = 0x30000;
	cpu->gpr[REG_BP] = 0x9999fff0;
	OK("\x66\xc8\x10\x00\x00");
	assert_int_equal(cpu->gpr[REG_BP], 0x9999fffe);
	assert_int_equal(cpu->gpr[REG_SP], 0x2ffee);
	assert_int_equal(peek16(0x2fffe), 0xfff0);
}

/* With EBP = ESP the frame pointers to copy are where ENTER itself pushes: word after word, each read after it. */
static void enter_over_itself(void **state)
{
	(void)state;
	cpu->gpr[REG_SP] = cpu->gpr[REG_BP] = 0x30000;
	OK("\xc8\x00\x00\x03");
	assert_int_equal(peek32(0x2fffc), 0x30000);
	assert_int_equal(peek32(0x2fff8), 0x30000);
	assert_int_equal(peek32(0x2fff4), 0x30000);
	assert_int_equal(peek32(0x2fff0), 0x2fffc);
	cpu->gpr[REG_SP] = 0x30000;
	cpu->gpr[REG_BP] = 0x30002; /* half in what was there, half in what was pushed */
	poke32(0x30000, 0x5566);
	OK("\xc8\x00\x00\x02");
	assert_int_equal(peek32(0x2fffc), 0x30002);
	assert_int_equal(peek32(0x2fff8), 0x55660003);
}

static void stack_page_faults(void **state)
{
	(void)state;
	page();
	cpu->gpr[REG_BX] = DATA;
	cpu->gpr[REG_SP] = HOLE + 0x1000 + 16;
	PAGE_FAULT("\x60", PF_W, HOLE + 0xffc); /* the fifth word */
	cpu->gpr[REG_SP] = HOLE + 0x1000;
	PAGE_FAULT("\x50", PF_W, HOLE + 0xffc);
	PAGE_FAULT("\x6a\x01", PF_W, HOLE + 0xffc);
	PAGE_FAULT("\xff\x33", PF_W, HOLE + 0xffc);
	cpu->gpr[REG_SP] = HOLE + 0x1002;
	PAGE_FAULT("\x50", PF_W, HOLE + 0xffe);
	cpu->gpr[REG_SP] = HOLE + 2; /* across into it, from below */
	PAGE_FAULT("\x50", PF_W, HOLE);
	cpu->gpr[REG_SP] = HOLE - 16;
	PAGE_FAULT("\x61", 0, HOLE);
	cpu->gpr[REG_SP] = HOLE - 2;
	PAGE_FAULT("\x58", 0, HOLE);
	cpu->gpr[REG_SP] = DATA;
	cpu->gpr[REG_BX] = HOLE;
	PAGE_FAULT("\x8f\x03", PF_W, HOLE); /* popl (%ebx) */
	PAGE_FAULT("\xff\x33", 0, HOLE);
	cpu->gpr[REG_BX] = READ_ONLY - 2;
	PAGE_FAULT("\x8f\x03", PF_P | PF_W, READ_ONLY);
	cpu->gpr[REG_SP] = HOLE + 0x1100;
	PAGE_FAULT("\xc8\x00\x01\x00", PF_W, HOLE + 0xffc); /* what it allocates ends in the hole */
	cpu->gpr[REG_BP] = HOLE + 4;
	cpu->gpr[REG_SP] = DATA;
	PAGE_FAULT("\xc8\x00\x00\x02", 0, HOLE);
	cpu->gpr[REG_BP] = HOLE;
	PAGE_FAULT("\xc9", 0, HOLE);
}

/* --- moves ----------------------------------------------------------------------------------------------- */

static void moves(void **state)
{
	(void)state;
	poke32(DATA, 0x8899aabb);
	poke32(DATA + 4, 0xccddeeff);
	cpu->gpr[REG_BX] = DATA - 3;
	cpu->gpr[REG_SI] = 1;
	cpu->gpr[REG_AX] = 0x11111111;
	OK("\x8b\x44\x73\x01"); /* mov 1(%ebx,%esi,2), %eax */
	assert_int_equal(cpu->gpr[REG_AX], 0x8899aabb);
	OK("\x66\x8b\x4c\x73\x03");
	assert_int_equal(cpu->gpr[REG_CX] & 0xffff, 0x8899);
	OK("\x8a\x64\x73\x05"); /* mov 5(...), %ah */
	assert_int_equal(cpu->gpr[REG_AX], 0x8899ffbb);
	OK("\x88\x64\x73\x01");
	assert_int_equal(peek32(DATA), 0x8899aaff);
	OK("\x66\x89\x44\x73\x03");
	assert_int_equal(peek32(DATA), 0xffbbaaff);
	OK("\xc6\x44\x73\x01\x12");
	OK("\x66\xc7\x44\x73\x03\x34\x56");
	assert_int_equal(peek32(DATA), 0x5634aa12);
	OK("\xc7\x44\x73\x01\x78\x56\x34\x12");
	assert_int_equal(peek32(DATA), 0x12345678);
	assert_int_equal(peek32(DATA + 4), 0xccddeeff);
	poke32(DATA, 0x8899aabb);
	OK("\x0f\xb6\x4c\x73\x01");
	assert_int_equal(cpu->gpr[REG_CX], 0xbb);
	OK("\x0f\xbe\x4c\x73\x01");
	assert_int_equal(cpu->gpr[REG_CX], 0xffffffbb);
	OK("\x0f\xb7\x4c\x73\x01");
	assert_int_equal(cpu->gpr[REG_CX], 0xaabb);
	OK("\x0f\xbf\x4c\x73\x01");
	assert_int_equal(cpu->gpr[REG_CX], 0xffffaabb);
	cpu->gpr[REG_CX] = 0x12345678;
	OK("\x66\x0f\xbe\x4c\x73\x01");
	assert_int_equal(cpu->gpr[REG_CX], 0x1234ffbb);
	OK("\x66\x0f\xb6\xcd"); /* movzx %ch, %cx */
	assert_int_equal(cpu->gpr[REG_CX], 0x123400ff);
}

static void move_offsets(void **state)
{
	(void)state;
	poke32(DATA, 0x8899aabb);
	cpu->gpr[REG_AX] = 0x11111111;
	OK("\xa0\x01\x00\x02\x00");
	assert_int_equal(cpu->gpr[REG_AX], 0x111111aa);
	OK("\x66\xa1\x01\x00\x02\x00");
	assert_int_equal(cpu->gpr[REG_AX], 0x111199aa);
	OK("\xa2\x00\x00\x02\x00");
	assert_int_equal(peek32(DATA), 0x8899aaaa);
	OK("\xa3\x00\x00\x02\x00");
	assert_int_equal(peek32(DATA), 0x111199aa);
	OK("\xa1\x00\x00\x02\x00");
	use_segment(SEG_GS, DATA - 0xfff0, 0xffff, A_DATA, 0);
	OK("\x65\x67\xa1\xf0\xff"); /* mov %gs:0xfff0, %eax, a 16-bit address that is no negative one */
	assert_int_equal(cpu->gpr[REG_AX], 0x111199aa);
	FAULT("\x65\x67\xa1\xfd\xff", EXC_GP, 0);
	use_segment(SEG_GS, DATA, 0xffff, A_DATA_R, 0);
	FAULT("\x65\x67\xa3\x00\x00", EXC_GP, 0);
	cpu->seg[SEG_GS] = (struct segment){0};
	FAULT("\x65\xa1\x00\x00\x00\x00", EXC_GP, 0);
}

static void addresses_of_16_bits(void **state)
{
	(void)state;
	use_segment(SEG_DS, 0x10000, 0xffff, A_DATA, 0);
	use_segment(SEG_SS, 0x30000, 0xffff, A_DATA, 0);
	cpu->gpr[REG_BX] = 0x7777fff0;
	cpu->gpr[REG_SI] = 0x55550020;
	cpu->gpr[REG_BP] = 0x33330100;
	poke32(0x10010, 0x11223344);
	poke32(0x30102, 0x55667788);
	OK("\x67\x8b\x00"); /* mov (%bx,%si), %eax: around the end */
	assert_int_equal(cpu->gpr[REG_AX], 0x11223344);
	OK("\x67\x8b\x46\x02"); /* mov 2(%bp), %eax: SS */
	assert_int_equal(cpu->gpr[REG_AX], 0x55667788);
	OK("\x67\x8b\x0e\x10\x00"); /* mov 0x10, %ecx */
	assert_int_equal(cpu->gpr[REG_CX], 0x11223344);
	OK("\x67\x8d\x40\x7f"); /* lea 0x7f(%bx,%si), %eax */
	assert_int_equal(cpu->gpr[REG_AX], 0x8f);
	OK("\x66\x8d\x84\x73\x00\x00\x01\x00"); /* lea 0x10000(%ebx,%esi,2), %ax */
	assert_int_equal(cpu->gpr[REG_AX], 0x30);
	OK("\x8d\x84\x73\x00\x00\x01\x00");
	assert_int_equal(cpu->gpr[REG_AX], 0x22230030);
	cpu->gpr[REG_BX] = 0xfffd;
	FAULT("\x67\x8b\x07", EXC_GP, 0); /* mov (%bx), %eax */
	OK("\x67\x8a\x07");
	/* XLAT */
	cpu->gpr[REG_AX] = 0x99999913;
	OK("\x67\xd7");
	assert_int_equal(cpu->gpr[REG_AX], 0x99999944);
	cpu->gpr[REG_AX] = 0x99999902;
	OK("\x67\x36\xd7"); /* SS */
	cpu->gpr[REG_BX] = 0x10010 - 0x10000 - 0x80;
	cpu->gpr[REG_AX] = 0x80;
	OK("\xd7");
	assert_int_equal(cpu->gpr[REG_AX], 0x44);
}

/* The bit number is signed, reaches beyond the operand, and the address that it comes to wraps as well. */
static void bit_strings(void **state)
{
	(void)state;
	poke32(0xfffc, 0);
	cpu->gpr[REG_SI] = 0;
	cpu->gpr[REG_DX] = (uint32_t)-2;
	set_flags(FL_CF | FL_ZF);
	OK("\x67\x0f\xab\x14"); /* bts %edx, (%si) */
	assert_int_equal(peek32(0xfffc), 0x40000000);
	assert_int_equal(cpu->eflags & FL_ALL, FL_ZF);
	OK("\x67\x0f\xa3\x14"); /* bt */
	assert_int_equal(cpu->eflags & FL_ALL, FL_CF | FL_ZF);
	OK("\x66\x67\x0f\xbb\x14"); /* btcw %dx, (%si) */
	assert_int_equal(peek32(0xfffc), 0);
	cpu->gpr[REG_BX] = DATA;
	cpu->gpr[REG_DX] = 37;
	poke32(DATA + 4, 0x21);
	OK("\x0f\xb3\x13"); /* btr %edx, (%ebx) */
	assert_int_equal(peek32(DATA + 4), 1);
	page();
	cpu->cpl = 3;
	cpu->gpr[REG_BX] = READ_ONLY - 4;
	PAGE_FAULT("\x0f\xab\x13", 7, READ_ONLY);
}

static void operand_faults(void **state)
{
	static const char *const read_modify[] = {"\x01\x0b", "\x80\x2b\x01", "\xff\x03",     "\xf7\x13",
						  "\xf7\x1b", "\x87\x0b",     "\x0f\xb1\x0b", "\x0f\xc1\x0b"};

	(void)state;
	page();
	cpu->gpr[REG_AX] = 0x12345678; /* CMPXCHG does not find it, and faults all the same */
	cpu->gpr[REG_BX] = HOLE;
	for (unsigned i = 0; i < ARRAY_LEN(read_modify); i++)
		run_fault(read_modify[i], strlen(read_modify[i]), EXC_PF, PF_W, HOLE);
	PAGE_FAULT("\x3b\x0b", 0, HOLE); /* CMP, TEST, loads only read */
	PAGE_FAULT("\x39\x0b", 0, HOLE);
	PAGE_FAULT("\x85\x0b", 0, HOLE);
	PAGE_FAULT("\x03\x0b", 0, HOLE);
	PAGE_FAULT("\x8b\x0b", 0, HOLE);
	PAGE_FAULT("\x0f\xb6\x0b", 0, HOLE);
	PAGE_FAULT("\x89\x0b", PF_W, HOLE);
	PAGE_FAULT("\xc7\x03\x01\x00\x00\x00", PF_W, HOLE);
	PAGE_FAULT("\xd7", 0, HOLE + 0x78);
	PAGE_FAULT("\xa1\x00\x00\x04\x00", 0, HOLE);
	PAGE_FAULT("\xa3\xfe\xff\x03\x00", PF_W, HOLE); /* across */
	cpu->gpr[REG_BX] = HOLE - 1;
	PAGE_FAULT("\x8b\x0b", 0, HOLE);
	PAGE_FAULT("\x66\x89\x0b", PF_W, HOLE);
	PAGE_FAULT("\x01\x0b", PF_W, HOLE);
	cpu->gpr[REG_BX] = READ_ONLY - 1;
	for (unsigned i = 0; i < ARRAY_LEN(read_modify); i++)
		if (i != 1) /* a byte, before the page */
			run_fault(read_modify[i], strlen(read_modify[i]), EXC_PF, PF_P | PF_W, READ_ONLY);
	OK("\x39\x0b");
	guest_user();
	cpu->gpr[REG_BX] = SYSTEM;
	PAGE_FAULT("\x8b\x0b", PF_P | PF_U, SYSTEM);
	PAGE_FAULT("\x01\x0b", PF_P | PF_W | PF_U, SYSTEM);
	cpu->gpr[REG_SP] = SYSTEM + 8;
	PAGE_FAULT("\x50", PF_P | PF_W | PF_U, SYSTEM + 4);
	PAGE_FAULT("\x58", PF_P | PF_U, SYSTEM + 8);
}

static void alignment(void **state)
{
	(void)state;
	guest_user();
	cpu->cr0 |= CR0_AM;
	cpu->gpr[REG_BX] = DATA + 1;
	OK("\x8b\x0b");
	set_flags(FL_AC);
	FAULT("\x8b\x0b", EXC_AC, 0);
	FAULT("\x66\x01\x0b", EXC_AC, 0);
	OK("\x8a\x0b");
	cpu->gpr[REG_SP] = DATA + 2;
	FAULT("\x50", EXC_AC, 0);
	FAULT("\x58", EXC_AC, 0);
	OK("\x66\x50");
	cpu->cpl = 0;
	OK("\x8b\x0b");
}

/* --- strings --------------------------------------------------------------------------------------------- */

static void strings(uint32_t si, uint32_t di, uint32_t cx)
{
	cpu->gpr[REG_SI] = si;
	cpu->gpr[REG_DI] = di;
	cpu->gpr[REG_CX] = cx;
}

#define assert_strings(si, di, cx)                                                                           \
	do {                                                                                                 \
		assert_int_equal(cpu->gpr[REG_SI], (si));                                                    \
		assert_int_equal(cpu->gpr[REG_DI], (di));                                                    \
		assert_int_equal(cpu->gpr[REG_CX], (cx));                                                    \
	} while (0)

static void string_elements(void **state)
{
	(void)state;
	memcpy(ram(DATA), "abcdefgh", 8);
	strings(DATA, DATA + 0x100, 7);
	OK("\xa5");
	assert_strings(DATA + 4, DATA + 0x104, 7);
	OK("\x66\xa5");
	OK("\xa4");
	assert_memory_equal(ram(DATA + 0x100), "abcdefg\0", 8);
	assert_strings(DATA + 7, DATA + 0x107, 7);
	set_flags(FL_DF);
	OK("\xac"); /* lodsb */
	assert_int_equal(cpu->gpr[REG_AX] & 0xff, 'h');
	assert_strings(DATA + 6, DATA + 0x107, 7);
	cpu->gpr[REG_AX] = 0x41424344;
	OK("\x66\xab"); /* stosw */
	assert_strings(DATA + 6, DATA + 0x105, 7);
	assert_memory_equal(ram(DATA + 0x105), "fgDC\0", 5);
	OK("\xab");
	assert_memory_equal(ram(DATA + 0x105), "DCBA\0", 5);
	cpu->gpr[REG_SI] = DATA;
	OK("\xad");
	assert_int_equal(cpu->gpr[REG_AX], 0x64636261);
	assert_int_equal(cpu->gpr[REG_SI], DATA - 4);
}

static void string_repeats(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 64; i++)
		((uint8_t *)ram(DATA))[i] = (uint8_t)i;
	strings(DATA, DATA + 1, 8); /* overlapping: the first byte spreads */
	OK("\xf3\xa4");
	assert_memory_equal(ram(DATA), "\0\0\0\0\0\0\0\0\0\x9", 10);
	assert_strings(DATA + 8, DATA + 9, 0);
	set_flags(FL_DF);
	strings(DATA + 16, DATA + 32, 3);
	OK("\xf3\xa5");
	assert_strings(DATA + 4, DATA + 20, 0);
	assert_memory_equal(ram(DATA + 24), "\0\x9\xa\xb\xc\xd\xe\xf\x10\x11\x12\x13", 12);
	set_flags(FL_ALL);
	strings(DATA, 1, 0); /* nothing to do: no access */
	OK("\xf3\xa4");
	OK("\xf3\xae");
	assert_strings(DATA, 1, 0);
	assert_int_equal(cpu->eflags, FL_FIXED | FL_ALL);
	set_flags(0);
	strings(0, DATA, 5);
	cpu->gpr[REG_AX] = 0x01020304;
	OK("\xf2\xab"); /* F2 repeats as F3 does */
	assert_int_equal(cpu->gpr[REG_DI], DATA + 20);
	assert_int_equal(peek32(DATA + 16), 0x01020304);
	strings(DATA, 0, 2);
	poke32(DATA + 4, 0x99887766);
	OK("\xf3\xad");
	assert_int_equal(cpu->gpr[REG_AX], 0x99887766);
}

static void string_in_pieces(void **state)
{
	uint32_t eip = cpu->eip;
	unsigned calls = 0;

	(void)state;
	memset(ram(DATA), 'x', 4000);
	cpu->gpr[REG_AX] = 'x';
	set_flags(FL_CF);
	strings(0, DATA, 2 * INTERPRET_ELEMENTS + 100);
	while (cpu->eip == eip) {
		assert_int_equal(cpu->eflags & FL_ALL, FL_CF);
		assert_int_equal(run("\xf3\xae", 2), 0);
		calls++;
		assert_int_equal(cpu->gpr[REG_DI], DATA + (calls < 3 ? calls * INTERPRET_ELEMENTS : 2148));
		assert_int_equal(cpu->gpr[REG_CX], DATA + 2148 - cpu->gpr[REG_DI]);
	}
	assert_int_equal(calls, 3);
	assert_int_equal(cpu->eip, eip + 2);
	assert_int_equal(cpu->eflags & FL_ALL, FL_ZF | FL_PF);
	strings(0, DATA, INTERPRET_ELEMENTS); /* just so many: done in one */
	OK("\xf3\xaa");
	set_flags(FL_TF); /* each is a step */
	strings(0, DATA, 3);
	eip = cpu->eip;
	assert_int_equal(run("\xf3\xaa", 2), 0);
	assert_int_equal(cpu->eip, eip);
	assert_int_equal(cpu->gpr[REG_CX], 2);
}

/* REPE and REPNE CMPS and SCAS, any size, as the host has them. */
static void string_comparisons(void **state)
{
	static uint8_t x[128], y[128];

	(void)state;
	for (unsigned n = 0; n < 4000; n++) {
		unsigned log = n % 3, size = 1 << log, count = random32() % 12 + (n & 8 ? 1 : 0);
		bool scas = n & 16, repne = n & 32, down = n & 64;
		uint64_t si = (uint64_t)(uintptr_t)(x + 64 - size * down),
			 di = (uint64_t)(uintptr_t)(y + 64 - size * down);
		uint64_t flags = (random32() & FL_ALL) | (down ? FL_DF : 0), cx = count, sx = si, dx = di;
		uint32_t ax, guest_si = DATA + 64 - size * down, guest_di = DATA + 0x140 - size * down;

		for (unsigned i = 0; i < sizeof(x); i++) {
			x[i] = repne ? (uint8_t)(random32() % 3) : 7;
			y[i] = repne ? (uint8_t)(random32() % 3) : 7;
		}
		y[48 + random32() % 32] ^= 1;
		memcpy(&ax, x + 64, 4);
		memcpy(ram(DATA), x, sizeof(x));
		memcpy(ram(DATA + 0x100), y, sizeof(y));
		code_len = 0;
		if (size == 2)
			put(0x66, 1);
		put(repne ? 0xf2 : 0xf3, 1);
		put((scas ? 0xae : 0xa6) | (size > 1), 1);
		set_flags((uint32_t)flags);
		strings(guest_si, guest_di, count);
		cpu->gpr[REG_AX] = ax;
#define HOST_STRING(text)                                                                                    \
	__asm__ volatile("lea -128(%%rsp), %%rsp; push %q3; popfq; " text "; pushfq; pop %q3; cld; "         \
			 "lea 128(%%rsp), %%rsp"                                                             \
			 : "+S"(sx), "+D"(dx), "+c"(cx), "+r"(flags)                                         \
			 : "a"(ax)                                                                           \
			 : "cc", "memory")
#define HOST_SIZES(text)                                                                                     \
	do {                                                                                                 \
		if (size == 1)                                                                               \
			HOST_STRING(text "b");                                                               \
		else if (size == 2)                                                                          \
			HOST_STRING(text "w");                                                               \
		else                                                                                         \
			HOST_STRING(text "l");                                                               \
	} while (0)
		if (scas && repne)
			HOST_SIZES("repne scas");
		else if (scas)
			HOST_SIZES("repe scas");
		else if (repne)
			HOST_SIZES("repne cmps");
		else
			HOST_SIZES("repe cmps");
		run_ok(code, code_len);
		assert_strings((uint32_t)(guest_si + sx - si), (uint32_t)(guest_di + dx - di), (uint32_t)cx);
		assert_int_equal(cpu->eflags & FL_ALL, flags & FL_ALL);
	}
}

static void string_addresses_of_16_bits(void **state)
{
	(void)state;
	use_segment(SEG_DS, 0x10000, 0xffff, A_DATA, 0);
	use_segment(SEG_ES, 0x30000, 0xffff, A_DATA, 0);
	memcpy(ram(0x1fffe), "ab", 2);
	memcpy(ram(0x10000), "cd", 2);
	strings(0x7777fffe, 0x6666fffd, 0x55550004);
	OK("\xf3\x67\xa4");
	assert_strings(0x77770002, 0x66660001, 0x55550000);
	assert_memory_equal(ram(0x3fffd), "abc", 3);
	assert_memory_equal(ram(0x30000), "d", 1);
	OK("\xf3\x67\xa4"); /* CX is 0, ECX is not */
	assert_strings(0x77770002, 0x66660001, 0x55550000);
	strings(0x7777ffff, 0x66660010, 1); /* a word around the end is beyond the limit */
	FAULT("\x67\x66\xa5", EXC_GP, 0);
	strings(0, 0x20, 3);
	set_flags(FL_DF);
	OK("\xf3\x67\xaa");
	assert_int_equal(cpu->gpr[REG_DI], 0x1d);
	strings(0, 0, 1);
	OK("\xf3\x67\xaa");
	assert_int_equal(cpu->gpr[REG_DI], 0xffff);
}

static void string_segments(void **state)
{
	(void)state;
	use_segment(SEG_ES, 0x30000, 0xff, A_DATA, 4);
	use_segment(SEG_FS, 0x31000, 0xff, A_DATA, 4);
	memcpy(ram(0x31000), "0123456789", 10);
	strings(0, 0xfc, 8);
	assert_int_equal(run("\xf3\x64\xa4", 3), -EFAULT); /* rep movsb %fs:(%esi): four fit */
	assert_int_equal(cpu->exc_vector, EXC_GP);
	assert_strings(4, 0x100, 4);
	assert_memory_equal(ram(0x300fc), "0123\0", 5);
	cpu->exc_vector = EXC_NONE;
	FAULT("\xf3\x64\xa4", EXC_GP, 0);
	use_segment(SEG_SS, 0x32000, 0x3, A_DATA, 4);
	strings(4, 0, 1);
	FAULT("\x36\xa4", EXC_SS, 0);
	FAULT("\x36\xac", EXC_SS, 0);
	OK("\x26\xac"); /* ES */
	use_segment(SEG_ES, 0x30000, 0xfff, A_DOWN, 4);
	strings(DATA, 0x1000, 1);
	OK("\xaa");
	cpu->gpr[REG_DI] = 0xfff;
	FAULT("\xaa", EXC_GP, 0);
	FAULT("\xae", EXC_GP, 0);
	use_segment(SEG_ES, 0x30000, 0xfff, A_DATA_R, 4);
	strings(DATA, 0, 1);
	OK("\xae");
	FAULT("\xaa", EXC_GP, 0);
	FAULT("\xa4", EXC_GP, 0);
}

static void string_page_faults(void **state)
{
	(void)state;
	page();
	memset(ram(HOLE - 16), 'a', 16);
	set_flags(FL_CF | FL_OF);
	cpu->gpr[REG_AX] = 'a';
	strings(DATA, HOLE - 3, 9);
	assert_int_equal(run("\xf3\xae", 2), -EFAULT); /* three were equal, the flags wait */
	assert_int_equal(cpu->exc_vector, EXC_PF);
	assert_int_equal(cpu->exc_cr2, HOLE);
	assert_int_equal(cpu->exc_error, 0);
	assert_int_equal(cpu->eflags & FL_ALL, FL_CF | FL_OF);
	assert_strings(DATA, HOLE, 6);
	cpu->exc_vector = EXC_NONE;
	PAGE_FAULT("\xf3\xaa", PF_W, HOLE);
	PAGE_FAULT("\xa4", PF_W, HOLE);
	PAGE_FAULT("\xa6", 0, HOLE);
	strings(HOLE - 2, DATA, 1);
	PAGE_FAULT("\xa5", 0, HOLE);
	PAGE_FAULT("\xad", 0, HOLE);
	PAGE_FAULT("\xa7", 0, HOLE);
	strings(DATA, READ_ONLY, 1);
	OK("\xae");
	cpu->gpr[REG_DI] = READ_ONLY - 2;
	PAGE_FAULT("\xab", PF_P | PF_W, READ_ONLY);
}

/* --- which ----------------------------------------------------------------------------------------------- */

/* In a code segment of 16 bits the sizes are the other way about. */
static void code_of_16_bits(void **state)
{
	struct insn insn;

	(void)state;
	cpu->gpr[REG_AX] = 0x1111ffff;
	cpu->gpr[REG_CX] = 0x22220001;
	assert_int_equal(insn_decode(&insn, (const uint8_t *)"\x01\xc8", 2, 0, 16), 2);
	assert_int_equal(interpret(vm, &insn), 0);
	assert_int_equal(cpu->gpr[REG_AX], 0x11110000);
	assert_int_equal(insn_decode(&insn, (const uint8_t *)"\x66\x01\xc8", 3, 0, 16), 3);
	assert_int_equal(interpret(vm, &insn), 0);
	assert_int_equal(cpu->gpr[REG_AX], 0x33330001);
	cpu->gpr[REG_SP] = 0x30000;
	assert_int_equal(insn_decode(&insn, (const uint8_t *)"\x50", 1, 0, 16), 1);
	assert_int_equal(interpret(vm, &insn), 0);
	assert_int_equal(cpu->gpr[REG_SP], 0x2fffe);
}

static void what_is_not_interpreted(void **state)
{
	static const struct {
		const char *bytes;
		uint8_t size, width;
	} no[] = {
	    {"\xfa", 1, 32},	     /* CLI: sensitive */
	    {"\x06", 1, 32},	     /* PUSH ES */
	    {"\x8e\xd8", 2, 32},     /* MOV DS, AX */
	    {"\xeb\x00", 2, 32},     /* JMP */
	    {"\xff\x13", 2, 32},     /* CALL (EBX) */
	    {"\xff\x23", 2, 32},     /* JMP (EBX) */
	    {"\xf7\x23", 2, 32},     /* MUL: runs as 64-bit code */
	    {"\xd9\x03", 2, 32},     /* FLD */
	    {"\x0f\xa2", 2, 32},     /* CPUID */
	    {"\x0f\x6f\x03", 3, 32}, /* MOVQ */
	    {"\x01\xc8", 2, 64},
	};
	struct insn insn;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(no); i++) {
		assert_int_equal(insn_decode(&insn, (const uint8_t *)no[i].bytes, no[i].size, 0, no[i].width),
				 no[i].size);
		assert_false(interpret_can(&insn));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    guest_test(alu_registers_and_memory),
	    guest_test(alu_from_memory),
	    guest_test(alu_immediates),
	    guest_test(alu_accumulator),
	    guest_test(alu_others),
	    guest_test(alu_test_immediate_and_short_forms),
	    guest_test(alu_high_bytes_and_same_register),
	    guest_test(locked),
	    guest_test(decimal_adjustment),
	    guest_test(decimal_bases),
	    guest_test(salc),
	    guest_test(bound),
	    guest_test(push_and_pop),
	    guest_test(push_and_pop_of_all),
	    guest_test(stack_of_16_bits),
	    guest_test(stack_that_expands_down),
	    guest_test(enter_and_leave),
	    guest_test(enter_over_itself),
	    guest_test(stack_page_faults),
	    guest_test(moves),
	    guest_test(move_offsets),
	    guest_test(addresses_of_16_bits),
	    guest_test(bit_strings),
	    guest_test(operand_faults),
	    guest_test(alignment),
	    guest_test(string_elements),
	    guest_test(string_repeats),
	    guest_test(string_in_pieces),
	    guest_test(string_comparisons),
	    guest_test(string_addresses_of_16_bits),
	    guest_test(string_segments),
	    guest_test(string_page_faults),
	    guest_test(code_of_16_bits),
	    guest_test(what_is_not_interpreted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
