// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Translated blocks against the CPU. Random unprivileged code, and code written to be hard (it rewrites itself, lies
 * across pages, is mapped anew), runs natively in compatibility mode and then translated, at the same addresses and on
 * the same memory: registers, flags, memory and the exception that ends it must agree. BLOCKS=N in the environment
 * sets the number of random programs, SEED=N the first.
 */
#include "tests/unit/native.h"

#include <time.h>

#include "monitor/vmm/mmu.h"
#include "monitor/vmm/translate.h"

#define CODE (LINK + N_DATA)
#define CODE_PAGES 2
#define CODE_PLACES                                                                                          \
	1000 /* for random programs, from LINK + N_PLACES; fresh ones, lest a page count as mixed */
#define N_PLACES 0x500000
#define DATA (LINK + N_DATA + 0x10000)
#define DATA_SIZE 0x1000u
#define PASSES 20000 /* a program that has not ended by then never will */

struct outcome {
	uint32_t gpr[8], eip, eflags, vector;
	uint8_t data[DATA_SIZE], stack[PAGE_SIZE];
};

static uint8_t code[CODE_PAGES * PAGE_SIZE];
static uint32_t code_at = CODE; /* where it stands */
static uint32_t n_code;
static bool kicks; /* SIGUSR1 comes all the time while translated code runs */
static void hold_kicks(bool on);

static void start(void)
{
	native_start();
	vm->cfg.mode = MODE_TRANSLATE;
}

static void put(const void *bytes, size_t n)
{
	CHECK(n_code + n <= sizeof(code));
	memcpy(code + n_code, bytes, n);
	n_code += (uint32_t)n;
}
#define PUT(s) put(s, sizeof(s) - 1)

static void begin(void)
{
	memset(code, 0xcc, sizeof(code));
	n_code = 0;
}

/* --- both ways --------------------------------------------------------------------------------------------- */

static void reset_state(uint32_t *gpr)
{
	for (unsigned i = 0; i < DATA_SIZE; i++)
		*((uint8_t *)ram(DATA - LINK) + i) = (uint8_t)(i * 37 + (i >> 8));
	memset(ram(N_STACK), 0x5a, PAGE_SIZE);
	memcpy(ram(code_at - LINK), code, sizeof(code));
	for (unsigned r = 0; r < 8; r++)
		gpr[r] = 0x10203 * (r + 1);
	gpr[REG_BX] = DATA + 0x100;
	gpr[REG_BP] = DATA + 0x300;
	gpr[REG_SI] = DATA + 0x500;
	gpr[REG_DI] = DATA + 0x900;
	gpr[REG_SP] = STACK + 0x800;
}

static void take_memory(struct outcome *o)
{
	memcpy(o->data, ram(DATA - LINK), DATA_SIZE);
	memcpy(o->stack, ram(N_STACK), PAGE_SIZE);
}

static void run_natively(struct outcome *o)
{
	struct world *w = &vm->vmm->world;

	shadow_flush(vm);
	CHECK(host_mmap(LINK, N_RAM, PROT_READ | PROT_WRITE | PROT_EXEC, vm->cfg.ram_fd, 0) >= 0);
	reset_state(w->gpr);
	w->cs = ABI_HOST_CS32;
	w->ss = w->ds = w->es = ABI_HOST_DS;
	w->fs = w->gs = 0;
	w->iret.rip = code_at;
	w->iret.cs = w->cs;
	w->iret.rflags = FL_IF | FL_FIXED;
	w->iret.rsp = w->gpr[REG_SP];
	w->iret.ss = w->ss;
	world_clear_kick();
	world_fpu_restore();
	world_run();
	world_fpu_guard();
	CHECK_EQ(w->reason, WORLD_SIGNAL);
	memcpy(o->gpr, w->gpr, sizeof(o->gpr));
	o->eip = w->eip;
	o->eflags = w->eflags & (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_DF | FL_OF);
	o->vector = w->trapno;
	take_memory(o);
	CHECK(host_munmap(LINK, N_RAM) >= 0);
	vm->vmm->hw_valid = 0;
}

static void prepare_translated(void)
{
	native_segments();
	reset_state(cpu->gpr);
	cpu->eip = code_at;
	cpu->eflags = FL_IF | FL_FIXED;
	cpu->exc_vector = EXC_NONE;
	vm->vmm->resume_raw = 0;
}

static void run_on(void)
{
	for (unsigned n = 0; cpu->exc_vector == EXC_NONE; n++) {
		CHECK(n < PASSES);
		CHECK_EQ(atomic_load(&vm->shared.stop), STOP_NONE);
		run_pass(vm);
	}
}

static void run_translated(struct outcome *o)
{
	translate_drop_page(vm, (code_at - LINK) >> PAGE_SHIFT);
	translate_drop_page(vm, ((code_at - LINK) >> PAGE_SHIFT) + 1);
	prepare_translated();
	if (kicks)
		hold_kicks(false);
	run_on();
	if (kicks)
		hold_kicks(true);
	memcpy(o->gpr, cpu->gpr, sizeof(o->gpr));
	o->eip = cpu->eip;
	o->eflags = cpu->eflags & (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_DF | FL_OF);
	o->vector = cpu->exc_vector;
	take_memory(o);
}

static void dump(const char *what, const struct outcome *o)
{
	fprintf(stderr, "# %s: vector %u eip %08x eflags %08x", what, o->vector, o->eip, o->eflags);
	for (unsigned r = 0; r < 8; r++)
		fprintf(stderr, " %08x", o->gpr[r]);
	fputc('\n', stderr);
}

static void compare(void)
{
	static struct outcome cpu_says, we_say; /* static: no padding, all comparable */
	char text[96];
	struct insn insn;

	run_natively(&cpu_says);
	run_translated(&we_say);
	if (!memcmp(&cpu_says, &we_say, sizeof(we_say)))
		return;
	dump("native    ", &cpu_says);
	dump("translated", &we_say);
	for (unsigned i = 0; i < DATA_SIZE; i++)
		if (cpu_says.data[i] != we_say.data[i])
			fprintf(stderr, "# data+%#x: %02x, not %02x\n", i, we_say.data[i], cpu_says.data[i]);
	for (unsigned i = 0; i < PAGE_SIZE; i++)
		if (cpu_says.stack[i] != we_say.stack[i])
			fprintf(stderr, "# stack+%#x: %02x, not %02x\n", i, we_say.stack[i],
				cpu_says.stack[i]);
	for (uint32_t at = 0; at < n_code; at += insn.len) {
		insn_format(text, sizeof(text), code + at, n_code - at, code_at + at, 32);
		fprintf(stderr, "#   %08x %s\n", code_at + at, text);
		if (insn_decode(&insn, code + at, n_code - at, code_at + at, 32) < 0)
			break;
	}
	native_fail(__FILE__, __LINE__, "the CPU says otherwise");
}

/* --- random programs --------------------------------------------------------------------------------------- */

static uint64_t random_state;

static uint32_t rnd(uint32_t n)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(random_state >> 33) % n;
}

/* EAX, ECX, EDX; the others hold addresses. */
static uint8_t any_reg(void)
{
	return (uint8_t)rnd(3);
}

/* ModRM with `reg`: a register, or memory near one of the pointers. */
static void modrm(uint8_t reg)
{
	static const uint8_t bases[] = {REG_BX, REG_BP, REG_SI, REG_DI};
	uint8_t b[3];

	if (rnd(2)) {
		b[0] = (uint8_t)(0xc0 | reg << 3 | any_reg());
		put(b, 1);
	} else {
		b[0] = (uint8_t)(0x40 | reg << 3 | bases[rnd(4)]);
		b[1] = (uint8_t)rnd(256);
		put(b, 2);
	}
}

static void byte(uint32_t b)
{
	uint8_t x = (uint8_t)b;

	put(&x, 1);
}

static void imm32(void)
{
	uint32_t x = rnd(4) ? rnd(0x7fffffff) * 3 : rnd(3) - 1;

	put(&x, 4);
}

static void arithmetic(void)
{
	if (!rnd(4))
		byte(0x66);
	byte(rnd(8) << 3 | (rnd(2) ? 1 : 3)); /* ADD OR ADC SBB AND SUB XOR CMP, both directions */
	modrm(any_reg());
}

static void one_operand(void)
{
	switch (rnd(4)) {
	case 0: /* NOT NEG MUL IMUL, now and then DIV */
		byte(0xf7);
		modrm((uint8_t)(2 + rnd(rnd(8) ? 4 : 6)));
		break;
	case 1: /* shifts and rotates */
		byte(0xc1);
		modrm((uint8_t[]){0, 1, 2, 3, 4, 5, 7}[rnd(7)]);
		byte(1); /* other counts leave OF undefined */
		break;
	case 2:
		byte(0x40 | rnd(2) << 3 | any_reg()); /* INC, DEC */
		break;
	default:
		byte(0xb8 | any_reg());
		imm32();
	}
}

static void two_byte(void)
{
	static const uint8_t ops[] = {0xaf, 0xb6, 0xb7, 0xbe, 0xbf, 0xc1, 0xb1};

	byte(0x0f);
	switch (rnd(4)) {
	case 0:
		byte(0x40 | rnd(16)); /* CMOVcc */
		modrm(any_reg());
		break;
	case 1:
		byte(0x90 | rnd(16)); /* SETcc */
		modrm(0);
		break;
	case 2: /* BT BTS BTR BTC with an immediate */
		byte(0xba);
		modrm((uint8_t)(4 + rnd(4)));
		byte(rnd(32));
		break;
	default:
		byte(ops[rnd(sizeof(ops))]);
		modrm(any_reg());
	}
}

static void stack_and_flags(void)
{
	switch (rnd(4)) {
	case 0:
		byte(0x50 | any_reg());
		byte(0x58 | any_reg());
		break;
	case 1: /* PUSHF, something else, POPF */
		byte(0x9c);
		arithmetic();
		byte(0x9d);
		break;
	case 2: /* and what PUSHF pushes */
		byte(0x9c);
		byte(0x58 | any_reg());
		break;
	default:
		byte(0x9e | rnd(2)); /* SAHF, LAHF */
	}
}

static void vector(void)
{
	static const uint8_t sse[] = {0xfe, 0xfa, 0xd4, 0xef, 0xeb, 0xdb, 0x70, 0x62};
	static const uint8_t x87[][2] = {
	    {0xd9, 0xe8}, {0xd9, 0xeb}, {0xde, 0xc1}, {0xde, 0xc9}, {0xd9, 0xe0}};
	uint8_t op = sse[rnd(sizeof(sse))];

	if (rnd(2)) {
		put(x87[rnd(5)], 2);
		return;
	}
	PUT("\x66\x0f");
	byte(op);
	byte(0xc0 | rnd(2) << 3 | rnd(2));
	if (op == 0x70)
		byte(rnd(256));
}

static void plain(void)
{
	static void (*const kinds[])(void) = {arithmetic, arithmetic,	   one_operand,
					      two_byte,	  stack_and_flags, vector};

	kinds[rnd(ARRAY_LEN(kinds))]();
}

static void patch_rel32(uint32_t at, uint32_t target)
{
	uint32_t distance = target - (at + 4);

	memcpy(code + at, &distance, 4);
}

static uint32_t absolute(uint32_t at)
{
	uint32_t zero = 0;

	(void)at;
	put(&zero, 4);
	return n_code - 4;
}

/* A forward branch of every kind over, or a call into, some plain instructions. */
static void branch(void)
{
	uint32_t at, fix, to;
	uint8_t r = any_reg();

	switch (rnd(6)) {
	case 0: /* Jcc rel32 */
		byte(0x0f);
		byte(0x80 | rnd(16));
		fix = absolute(0);
		plain();
		patch_rel32(fix, n_code);
		return;
	case 1: /* Jcc, LOOPcc, JECXZ rel8 */
		byte(rnd(2) ? 0x70 | rnd(16) : 0xe0 | rnd(4));
		byte(0);
		at = n_code;
		plain();
		code[at - 1] = (uint8_t)(n_code - at);
		return;
	case 2: /* jmp *%reg */
		byte(0xb8 | r);
		fix = absolute(0);
		byte(0xff);
		byte(0xe0 | r);
		break;
	case 3: /* call over the routine; it returns with RET or RET 4 */
		PUT("\x6a\x01");
		byte(0xe8);
		fix = absolute(0);
		at = n_code;
		PUT("\xe9\x00\x00\x00\x00");
		patch_rel32(fix, n_code);
		plain();
		rnd(2) ? PUT("\xc2\x04\x00") : PUT("\xc3");
		patch_rel32(at + 1, n_code);
		return;
	case 4: /* call *(%ebx), with an address stored there */
		PUT("\xc7\x43\x10");
		fix = absolute(0);
		PUT("\xff\x53\x10\x90\xe9");
		at = absolute(0);
		to = code_at + n_code;
		memcpy(code + fix, &to, 4);
		plain();
		PUT("\xc3");
		patch_rel32(at, n_code);
		return;
	default: /* push; ret */
		byte(0x68);
		fix = absolute(0);
		byte(0xc3);
	}
	plain();
	to = code_at + n_code;
	memcpy(code + fix, &to, 4);
}

/*
 * Programs take more off the x87 stack than they put there. A CPU answers with the indefinite value, QEMU's with what
 * the register last held: both runs find zeros there.
 */
static void start_vectors(void)
{
	PUT("\xdb\xe3");
	for (unsigned i = 0; i < 8; i++)
		PUT("\xd9\xee");			 /* fldz */
	PUT("\xdb\xe3\x66\x0f\x6e\xc0\x66\x0f\x6e\xc9"); /* fninit; movd %eax,%xmm0; movd %ecx,%xmm1 */
}

static void finish(void)
{
	PUT("\x0f\x11\x45\x40\x0f\x11\x4d\x50\xdd\x5d\x70"); /* movups %xmm0,64(%ebp); %xmm1 likewise; fstpl 112(%ebp) */
	PUT("\x0f\x0b");
}

NATIVE_TEST(random_programs)
{
	const char *n = getenv("BLOCKS"), *seed = getenv("SEED");
	unsigned programs = n ? (unsigned)atoi(n) : 3000, first = seed ? (unsigned)atoi(seed) : 1;
	static char name[32];

	start();
	if (n)
		alarm(0);
	native_case = name;
	for (unsigned k = first; k < first + programs; k++) {
		unsigned insns = 1 + k % 40;

		snprintf(name, sizeof(name), "SEED=%u", k);
		random_state = k * 0x9e3779b97f4a7c15ull;
		begin();
		code_at = LINK + N_PLACES + k % CODE_PLACES * (uint32_t)sizeof(code);
		if (k % 5 == 0) /* across the page boundary */
			for (PUT("\xe9\x00\x00\x00\x00"), patch_rel32(1, 0xfe0); n_code < 0xfe0;)
				byte(0x90);
		start_vectors();
		for (unsigned i = 0; i < insns; i++)
			rnd(4) ? plain() : branch();
		finish();
		compare();
	}
	CHECK(vm->stats.blocks > programs);
}

/*
 * The same in loops, with kicks at any time in translated code: wherever one falls, in a lookup or before a commit, the
 * guest's state must be whole when the monitor looks at it, and nothing may happen twice.
 */
#define TURNS 3000
#define COUNTER (DATA + 0xf00)

static void hold_kicks(bool on)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(on ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static void counter_word(uint32_t value)
{
	put(&value, 4);
}

static void random_loop(unsigned seed)
{
	uint32_t top;

	random_state = seed * 0x9e3779b97f4a7c15ull;
	begin();
	code_at = LINK + N_PLACES + seed % CODE_PLACES * (uint32_t)sizeof(code);
	PUT("\xc7\x05"); /* movl $TURNS,COUNTER */
	counter_word(COUNTER);
	counter_word(TURNS);
	top = n_code;
	start_vectors();
	for (unsigned i = 0; i < 12; i++)
		rnd(2) ? plain() : branch();
	PUT("\xff\x0d"); /* decl COUNTER; jnz top */
	counter_word(COUNTER);
	PUT("\x0f\x85");
	patch_rel32(absolute(0), top);
	finish();
}

NATIVE_TEST(kicked_programs)
{
	const struct itimerspec often = {{0, 20000}, {0, 20000}};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	static char name[32];
	timer_t timer;

	start();
	native_case = name;
	hold_kicks(true);
	CHECK(!timer_create(CLOCK_MONOTONIC, &event, &timer) && !timer_settime(timer, 0, &often, NULL));
	kicks = true;
	for (unsigned k = 1; k <= 120; k++) {
		snprintf(name, sizeof(name), "kicked %u", k);
		random_loop(k);
		compare();
	}
	CHECK(vm->stats.exits[EXIT_KICK] > 100);
}

/* --- code that is hard on a translator --------------------------------------------------------------------- */

/* Each of these also ends in UD2. */
static const struct hard {
	const char *name, *bytes;
	size_t len;
} hard[] = {
#define BYTES(s) s, sizeof(s) - 1
    /* movb $0x42,1f+0; 1: inc %eax -> inc %edx, right behind the store */
    {"rewrites the next instruction", BYTES("\xc6\x05\x07\x00\x40\xc0\x42\x40\x40\x0f\x0b")},
    /* mov $3,%ecx; 1: incb 2f; 2: mov $5,%al (b0); add; loop 1b: each turn another instruction */
    {"rewrites its loop",
     BYTES("\xb9\x03\x00\x00\x00\xfe\x05\x0c\x00\x40\xc0\xb0\x05\x01\xc2\xe2\xf4\x0f\x0b")},
    /* jmp into the immediate of what came before: b8 40 40 eb fc -> inc, inc, jmp back twice */
    {"overlaps itself", BYTES("\x83\xfe\x00\x74\x0a\x31\xf6\xb8\x40\x40\x0f\x0b\xeb\xfa\x0f\x0b")},
    {"fifteen bytes of prefixes",
     BYTES("\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x40\x0f\x0b")},
    {"sixteen bytes", BYTES("\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x40\x0f\x0b")},
    {"faults in the middle", BYTES("\x40\x41\x8b\x15\x10\x00\x00\x00\x42\x0f\x0b")},
    {"pushes onto nothing", BYTES("\xbc\x10\x00\x00\x00\x41\x6a\x01\x0f\x0b")},
    {"calls with no stack", BYTES("\xbc\x10\x00\x00\x00\xff\xd0\x0f\x0b")},
    {"returns with no stack", BYTES("\xbc\x10\x00\x00\x00\xb9\x07\x00\x00\x00\xc3")},
    {"calls through nothing", BYTES("\x41\xff\x15\x10\x00\x00\x00\x0f\x0b")},
    {"jumps to nowhere", BYTES("\xb8\x10\x00\x00\x00\x41\xff\xe0")},
    {"divides by zero", BYTES("\x31\xc9\xf7\xf1\x0f\x0b")},
    {"calls by ESP", BYTES("\x68\x0f\x0b\x0f\x0b\xff\xd4\x0f\x0b")}, /* UD2 on the stack */
    {"calls relative to ESP", BYTES("\x68\x0b\x00\x40\xc0\xff\x54\x24\x00\x0f\x0b\x42\x0f\x0b")},
    {"jumps relative to ECX",
     BYTES("\xb9\x02\x00\x00\x00\xff\x24\x8d\x06\x00\x40\xc0\x10\x00\x40\xc0\x42\x0f\x0b")},
};

NATIVE_TEST(hard_programs)
{
	start();
	for (size_t i = 0; i < ARRAY_LEN(hard); i++) {
		native_case = hard[i].name;
		begin();
		put(hard[i].bytes, hard[i].len);
		compare();
	}
}

/* mov $100000,%ecx; 1: call 2f; dec %ecx; jnz 1b; ud2; 2: inc %eax; ret */
NATIVE_TEST(a_loop_stays_inside)
{
	uint64_t exits;

	start();
	begin();
	PUT("\xb9\xa0\x86\x01\x00\xe8\x05\x00\x00\x00\x49\x75\xf8\x0f\x0b\x40\xc3");
	compare();
	exits = vm->stats.exits[EXIT_BLOCK_JUMP] + vm->stats.exits[EXIT_BLOCK_LOOK];
	CHECK(exits < 20);
	CHECK(vm->stats.branches_chained >= 2);
}

NATIVE_TEST(follows_the_page_tables)
{
	start();
	begin();
	PUT("\xb8\x01\x00\x00\x00\x0f\x0b");
	prepare_translated();
	run_on();
	CHECK_EQ(cpu->gpr[REG_AX], 1);
	/* another page there, and the guest says so */
	memcpy(ram(0x700000), "\xb8\x02\x00\x00\x00\x0f\x0b", 7);
	poke32(pte_at(CODE), 0x700063);
	mmu_invlpg(vm, gva(CODE));
	prepare_translated();
	run_on();
	CHECK_EQ(cpu->gpr[REG_AX], 2);
	/* back again: the first block serves, if nothing else came there */
	poke32(pte_at(CODE), N_DATA | 0x63);
	CHECK_EQ(mmu_set_cr3(vm, N_PD), 0);
	prepare_translated();
	run_on();
	CHECK_EQ(cpu->gpr[REG_AX], 1);
	CHECK_EQ(vm->stats.blocks, 2);
	/* gone */
	poke32(pte_at(CODE), 0);
	mmu_invlpg(vm, gva(CODE));
	prepare_translated();
	run_on();
	CHECK_EQ(cpu->exc_vector, EXC_PF);
	CHECK_EQ(cpu->eip, CODE);
}

/* A chained branch must not outlive the mapping of its target. */
NATIVE_TEST(unchains_when_the_target_moves)
{
	start();
	begin();
	PUT("\xe9\xfb\x0f\x00\x00"); /* jmp to the second page */
	memcpy(code + PAGE_SIZE, "\xb8\x01\x00\x00\x00\x0f\x0b", 7);
	for (unsigned i = 0; i < 2; i++) {
		prepare_translated();
		run_on();
		CHECK_EQ(cpu->gpr[REG_AX], 1);
	}
	CHECK(vm->stats.branches_chained);
	memcpy(ram(0x700000), "\xb8\x02\x00\x00\x00\x0f\x0b", 7);
	poke32(pte_at(CODE + PAGE_SIZE), 0x700063);
	mmu_invlpg(vm, gva(CODE + PAGE_SIZE));
	prepare_translated();
	run_on();
	CHECK_EQ(cpu->gpr[REG_AX], 2);
}

/* The monitor's own writes for the guest drop blocks as the guest's do. */
NATIVE_TEST(writes_drop_blocks)
{
	uint8_t two = 2;

	start();
	begin();
	PUT("\xb8\x01\x00\x00\x00\x0f\x0b");
	prepare_translated();
	run_on();
	CHECK(code_protected(vm, N_DATA >> PAGE_SHIFT));
	CHECK_EQ(gmem_write(vm, gva(CODE + 1), &two, 1, ACCESS_WRITE), 0);
	CHECK(!code_protected(vm, N_DATA >> PAGE_SHIFT));
	CHECK_EQ(vm->stats.blocks_dropped, 1);
	cpu->exc_vector = EXC_NONE;
	cpu->eip = CODE;
	run_on();
	CHECK_EQ(cpu->gpr[REG_AX], 2);
}

/* A block is only as good as its page: mixed pages are stepped, and come back. */
NATIVE_TEST(pages_that_change_all_the_time)
{
	uint64_t steps;

	start();
	begin();
	PUT("\xb8\x01\x00\x00\x00\x0f\x0b");
	for (unsigned i = 0; i < 300; i++)
		translate_drop_page(vm, N_DATA >> PAGE_SHIFT);
	steps = vm->stats.exits[EXIT_STEP];
	prepare_translated();
	run_on();
	CHECK_EQ(cpu->gpr[REG_AX], 1);
	CHECK(vm->stats.exits[EXIT_STEP] > steps || vm->stats.blocks); /* the span may just have ended */
}

/* More code than the cache holds: it starts over, and everything goes on. */
NATIVE_TEST(a_full_cache)
{
	start();
	for (unsigned i = 0; vm->stats.block_flushes < 2; i++) {
		CHECK(i < 20000);
		begin();
		code_at = LINK + N_PLACES + i % CODE_PLACES * (uint32_t)sizeof(code);
		for (unsigned k = 0; k < 800; k++) /* each a block with two exits */
			PUT("\x40\x74\x00\x41\x75\x00\x42\x78\x00");
		PUT("\x0f\x0b");
		translate_drop_page(vm, (code_at - LINK) >> PAGE_SHIFT);
		translate_drop_page(vm, ((code_at - LINK) >> PAGE_SHIFT) + 1);
		prepare_translated();
		run_on();
		CHECK_EQ(cpu->gpr[REG_DX], 0x10203 * 3 + 800);
		CHECK_EQ(cpu->eip, code_at + 7200);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_programs),
	    cmocka_unit_test(kicked_programs),
	    cmocka_unit_test(hard_programs),
	    cmocka_unit_test(a_loop_stays_inside),
	    cmocka_unit_test(follows_the_page_tables),
	    cmocka_unit_test(unchains_when_the_target_moves),
	    cmocka_unit_test(writes_drop_blocks),
	    cmocka_unit_test(pages_that_change_all_the_time),
	    cmocka_unit_test(a_full_cache),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
