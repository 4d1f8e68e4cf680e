// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Long blocks (hypercalls/lower_long.h) run natively in this process, without a monitor: guest memory in the low 4 GiB
 * (VIEW_USER), in a window (VIEW_SUPERVISOR) or behind a software TLB (VIEW_SOFT), a hole with a vCPU page, a gate that comes back, and a loop that makes
 * blocks on demand, fills the lookup table and chains exits. What a guest program does is in struct long_run.
 */
#ifndef TESTS_UNIT_LONG_NATIVE_H
#define TESTS_UNIT_LONG_NATIVE_H

#include <asm/prctl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "hypercalls/abi.h"
#include "hypercalls/lower_long.h"
#include "hypercalls/policy.h"

#define LN_BASE 0x300000000000ull   /* R13 */
#define LN_WINDOW 0x310000000000ull /* R14, GS */
#define LN_SOFT 0x320000000000ull   /* guest linear address 0 of VIEW_SOFT */
#define LN_SOFT_TLB 0x330012345000ull /* the same once more, for the software TLB: with a low half, which no register may keep */
#define LN_HOLE 0x70000000u
#define LN_TABLE (LN_HOLE + ABI_LOOKUP)
#define LN_CODE (LN_HOLE + ABI_BLOCKS)
#define LN_CODE_SIZE 0x100000u
#define LN_PADS (LN_CODE + LN_CODE_SIZE)
#define LN_PADS_SIZE 0x40000u
/* Guest memory; around each part nothing is mapped. */
#define LN_TEXT 0x08048000u
#define LN_TEXT_SIZE 0x4000u
#define LN_DATA 0x40000000u
#define LN_DATA_SIZE 0x2000u
#define LN_STACK 0x50000000u
#define LN_STACK_SIZE 0x1000u
#define LN_TLS 0x48000000u /* FS and GS are based near it, GS so that offsets have to wrap */
#define LN_TLS_SIZE 0x1000u
#define LN_FS_BASE LN_TLS
#define LN_GS_BASE (LN_TLS + 0x80000000u)
#define LN_LOW 0x2000u /* where 16-bit addresses lead */
#define LN_LOW_SIZE 0x3000u

#define LN_ARITHMETIC 0x8d5u
#define LN_DF 0x400u

enum long_end {
	LONG_ENDED_SITE,  /* a sensitive instruction left through its pad */
	LONG_ENDED_ALONE, /* the next instruction has no form in a block, or does not decode */
	LONG_ENDED_FAULT, /* signal */
	LONG_ENDED_STEPS, /* too many blocks */
};

struct long_run {
	uint32_t gpr[8], eip, eflags;
	uint8_t xstate[1024] __attribute__((aligned(64))); /* XSAVE, x87 SSE AVX */
	/* out */
	enum long_end end;
	int signal;
	uint64_t fault_address;
	unsigned site;		     /* index of the instruction that left, in ln.site_va */
	struct manifest_point point; /* of a fault */
};

/* The assembly's; offsets are asserted below. */
struct long_frame {
	uint64_t gpr[8]; /* in encoding order */
	uint64_t target, flags, r8, r9, r10, r11, base, window;
	uint64_t site, left;
	uint8_t *xstate;
	struct lower_soft *soft;
} long_frame __attribute__((used));
uint64_t long_host_rsp __attribute__((used));
void long_enter(void);
extern const char long_gate[], long_faulted[];

_Static_assert(offsetof(struct long_frame, target) == 64 && offsetof(struct long_frame, site) == 128 &&
		   offsetof(struct long_frame, xstate) == 144 && offsetof(struct long_frame, soft) == 152,
	       "long_enter");

__asm__(".text\n"
	"long_enter:\n\t"
	"push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n\t"
	"mov %rsp, long_host_rsp(%rip)\n\t"
	"lea long_frame(%rip), %r15\n\t"
	"mov 144(%r15), %rcx; mov $7, %eax; xor %edx, %edx; xrstor (%rcx)\n\t"
	"mov 80(%r15), %r8; mov 88(%r15), %r9; mov 96(%r15), %r10; mov 104(%r15), %r11\n\t"
	"mov 112(%r15), %r13; mov 120(%r15), %r14; mov 152(%r15), %r12\n\t"
	"push 72(%r15); popfq\n\t"
	"mov 0(%r15), %rax; mov 8(%r15), %rcx; mov 16(%r15), %rdx; mov 24(%r15), %rbx\n\t"
	"mov 32(%r15), %rsp; mov 40(%r15), %rbp; mov 48(%r15), %rsi; mov 56(%r15), %rdi\n\t"
	"mov $12, %r15d; jmp *long_frame+64(%rip)\n" /* LOWER_SOFT_SHIFT */
	"long_gate:\n\t" /* R15D: site */
	"mov %r15d, %r15d; mov %r15, long_frame+128(%rip)\n\t"
	"lea long_frame(%rip), %r15\n\t"
	"mov %rax, 0(%r15); mov %rcx, 8(%r15); mov %rdx, 16(%r15); mov %rbx, 24(%r15)\n\t"
	"mov %rsp, 32(%r15); mov %rbp, 40(%r15); mov %rsi, 48(%r15); mov %rdi, 56(%r15)\n\t"
	"mov long_host_rsp(%rip), %rsp\n\t"
	"pushfq; pop 72(%r15); push $2; popfq\n\t"
	"mov 144(%r15), %rcx; mov $7, %eax; xor %edx, %edx; xsave (%rcx)\n\t"
	"movq $1, 136(%r15)\n\t"
	"jmp 1f\n"
	"long_faulted:\n\t" /* the handler has filled the frame */
	"movq $0, long_frame+136(%rip)\n"
	"1:\tfninit; vzeroupper\n\t"
	"pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n\t"
	"ret\n");

static struct {
	enum lower_view view;
	uint32_t (*blocks)[2]; /* guest EIP, code */
	size_t n_blocks;
	struct lower l;
	struct manifest_point *points;
	struct {
		uint32_t guest, jump;
		uint8_t kind;
	} sites[0x10000];
	uint32_t n_sites;
	uint32_t miss, miss_return, miss_soft;
	struct lower_soft *soft;
	int signal;
	uint64_t rip, address;
	uint64_t entered; /* times */
	bool no_chains;
	bool flags_dead;     /* behind every STI */
	uint32_t kick_at;    /* raw address of a planted INT3: a kick comes there; 0 without */
	uint8_t kick_byte;   /* what stood there */
	bool kick_must_wait; /* not before the instruction is done: POINT_AFTER */
	bool lower_failed;
	bool string_again;   /* a string left, its pages have been entered into the software TLB, and it is tried again */
	uint32_t split;	     /* supervisor: strings below it go by the software TLB; 0 for none */
} ln;

enum { LN_BRANCH, LN_SENSITIVE, LN_MISS, LN_MISS_SOFT, LN_STRING };

/* A 32-bit address of the hole, in this process. */
static inline void *ln_hole(uint32_t va)
{
	return (void *)(LN_BASE + va);
}

static inline struct vcpu_page *ln_vcpu(void)
{
	return ln_hole(LN_HOLE + ABI_VCPU_PAGE);
}

/* Guest memory. */
static inline uint64_t ln_memory(void)
{
	return ln.view == VIEW_SUPERVISOR ? LN_WINDOW : ln.view == VIEW_SOFT ? LN_SOFT : 0;
}

static inline uint8_t *ln_at(uint32_t va)
{
	return (uint8_t *)(ln_memory() + va);
}

static inline void ln_die(const char *what)
{
	perror(what);
	_exit(1);
}

static void ln_map(uint64_t at, size_t size)
{
	void *p = mmap((void *)at, size, PROT_READ | PROT_WRITE | PROT_EXEC,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p != (void *)at)
		ln_die("mmap");
}

static const struct {
	uint32_t at, size;
} ln_parts[] = {{LN_TEXT, LN_TEXT_SIZE},
		{LN_DATA, LN_DATA_SIZE},
		{LN_STACK, LN_STACK_SIZE},
		{LN_TLS, LN_TLS_SIZE},
		{LN_LOW, LN_LOW_SIZE}};
#define LN_PARTS (sizeof(ln_parts) / sizeof(*ln_parts))

static void ln_on_signal(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;
	static const int order[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI};

	if ((uint64_t)g[REG_RIP] >> 32 != LN_BASE >> 32) {
		signal(sig, SIG_DFL);
		return;
	}
	if (sig == SIGTRAP && ln.kick_at && (uint32_t)g[REG_RIP] == ln.kick_at + 1) {
		*(uint8_t *)ln_hole(ln.kick_at) = ln.kick_byte;
		g[REG_RIP]--;
		ln.kick_at = 0;
		if (ln.kick_must_wait)
			return;
	}
	ln.signal = sig;
	ln.rip = (uint64_t)g[REG_RIP];
	ln.address = (uint64_t)info->si_addr;
	for (unsigned r = 0; r < 8; r++)
		long_frame.gpr[r] = (uint64_t)g[order[r]];
	long_frame.r8 = (uint64_t)g[REG_R8];
	long_frame.r9 = (uint64_t)g[REG_R9];
	long_frame.r11 = (uint64_t)g[REG_R11];
	long_frame.flags = (uint64_t)g[REG_EFL];
	memcpy(long_frame.xstate, uc->uc_mcontext.fpregs, 832);
	g[REG_RIP] = (greg_t)long_faulted;
	g[REG_RSP] = (greg_t)long_host_rsp;
	g[REG_EFL] = 0x202;
}

/* ln_start() does so for its view; a process may hold both. */
static inline void ln_map_guest(enum lower_view view)
{
	ln.view = view;
	for (size_t i = 0; i < LN_PARTS; i++)
		ln_map((uint64_t)ln_at(ln_parts[i].at), ln_parts[i].size);
	for (size_t i = 0; view == VIEW_SOFT && i < LN_PARTS; i++)
		if (mremap(ln_at(ln_parts[i].at), 0, ln_parts[i].size, MREMAP_MAYMOVE | MREMAP_FIXED,
			   (void *)(LN_SOFT_TLB + ln_parts[i].at)) == MAP_FAILED)
			ln_die("mremap");
}

/* Once in a process. */
static inline void ln_start(enum lower_view view)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
	struct sigaction sa = {.sa_sigaction = ln_on_signal,
			       .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	stack_t alt = {.ss_size = 65536, .ss_sp = malloc(65536)};
	uint8_t *gate;

	ln_map_guest(view);
	ln_map(LN_BASE + LN_HOLE, 0x3000);
	ln_map(LN_BASE + LN_CODE, LN_CODE_SIZE + LN_PADS_SIZE);
	ln_map(LN_BASE + LN_TABLE, sizeof(struct lower_slot) * LOWER_SLOTS);
	if (syscall(SYS_arch_prctl, ARCH_SET_GS, LN_WINDOW) < 0)
		ln_die("arch_prctl");
	gate = ln_hole(LN_HOLE + GATE_EXIT);
	memcpy(gate, "\x49\xbc", 2); /* movabs $long_gate,%r12; jmp *%r12 */
	memcpy(gate + 2, &(const char *){long_gate}, 8);
	memcpy(gate + 10, "\x41\xff\xe4", 3);
	sigaltstack(&alt, NULL);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		sigaction(signals[i], &sa, NULL);
	ln.soft = mmap(NULL, sizeof(*ln.soft), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ln.soft == MAP_FAILED)
		ln_die("mmap");
	ln.points = malloc(sizeof(*ln.points) * 0x20000);
	ln.blocks = malloc(sizeof(*ln.blocks) * 0x10000);
}

static uint32_t ln_site(uint8_t kind, uint32_t guest, uint32_t jump)
{
	ln.sites[ln.n_sites].kind = kind;
	ln.sites[ln.n_sites].guest = guest;
	ln.sites[ln.n_sites].jump = jump;
	return ln.n_sites++;
}

#define LN_FS(which) (LN_BASE + LN_HOLE + ABI_VCPU_PAGE + VCPU_FS + (which) * VCPU_FS_LEN)

/* How every program finds it. */
static struct vcpu_page ln_page = {
    .sel = {0x7b, 0x60, 0x68, 0x7b, 0xd8, 0xe0},
    .cr0 = 0x80050033,
    .cr2 = 0x1234000,
    .cr3 = 0x5678000,
    .cr4 = 0x690,
    .gs_base = LN_GS_BASE,
    .fs_at = LN_FS(0),
    .fs = {{.base = LN_FS_BASE, .sel = 0xd8, .this = LN_FS(0), .other = (uint32_t)LN_FS(1), .minus_sel = 1},
	   {.this = LN_FS(1), .other = (uint32_t)LN_FS(0), .minus_sel = 1}},
    .gs_at = LN_BASE + LN_HOLE + ABI_VCPU_PAGE + VCPU_GS_BASE,
};

/* Forget all blocks. */
static inline void ln_reset(void)
{
	struct lower_slot *table = ln_hole(LN_TABLE);

	for (size_t i = 0; i < ln.n_blocks; i++)
		table[ln.blocks[i][0] & 0xffff] = (struct lower_slot){0, 0};
	ln.n_blocks = 0;
	ln.n_sites = 0;
	for (size_t i = 0; i < LN_PARTS; i++)
		for (uint32_t page = ln_parts[i].at >> 12; page <= (ln_parts[i].at + ln_parts[i].size) >> 12; page++)
			ln.soft->read.add[page] = ln.soft->read.one_minus_add[page] = ln.soft->write.add[page] =
			    ln.soft->write.one_minus_add[page] = 0;
	ln.l = (struct lower){.hole_base = LN_HOLE,
			      .code = ln_hole(LN_CODE),
			      .code_va = LN_CODE,
			      .code_cap = LN_CODE_SIZE,
			      .pads = ln_hole(LN_PADS),
			      .pads_va = LN_PADS,
			      .pads_cap = LN_PADS_SIZE,
			      .points = ln.points,
			      .points_cap = 0x20000};
	ln.miss = lower_long_miss(&ln.l, ln_site(LN_MISS, 0, 0));
	ln.miss_return = lower_long_miss(&ln.l, ln_site(LN_MISS, 0, 0));
	ln.miss_soft = lower_long_soft_miss(&ln.l, ln_site(LN_MISS_SOFT, 0, 0));
	table[0] = (struct lower_slot){1, 0}; /* nothing of it is address 0 */
	*ln_vcpu() = ln_page;
}

/* Plant a kick at a point. */
static inline void ln_kick(const struct manifest_point *p)
{
	ln.kick_at = p->stub;
	ln.kick_byte = *(uint8_t *)ln_hole(p->stub);
	ln.kick_must_wait = p->state == POINT_AFTER;
	*(uint8_t *)ln_hole(p->stub) = 0xcc;
}

/* Take it up again; was it met? */
static inline bool ln_kicked(void)
{
	bool met = !ln.kick_at;

	if (!met)
		*(uint8_t *)ln_hole(ln.kick_at) = ln.kick_byte;
	ln.kick_at = 0;
	return met;
}

static inline const struct manifest_point *ln_point(uint32_t raw)
{
	size_t low = 0, high = ln.l.n_points;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (ln.points[mid].stub < raw)
			low = mid + 1;
		else
			high = mid;
	}
	return low < ln.l.n_points && ln.points[low].stub == raw ? &ln.points[low] : NULL;
}

#define LN_BLOCK_INSNS 32

/* The code of the block at `eip`; 0 when its first instruction has no form. */
static inline uint32_t ln_block(uint32_t eip)
{
	static struct lower_insn in[LN_BLOCK_INSNS];
	struct lower_exit exit[LN_BLOCK_INSNS + 1];
	struct lower_exits x = {
	    .exit = exit, .cap = LN_BLOCK_INSNS + 1, .lookup = ln.miss, .lookup_return = ln.miss_return, .soft = ln.miss_soft,
	    .split = ln.split};
	uint32_t at = eip, code = LN_CODE + (uint32_t)ln.l.code_len;
	enum lower_shape shape = LOWER_GOES_ON;
	size_t n = 0;

	for (size_t i = 0; i < ln.n_blocks; i++)
		if (ln.blocks[i][0] == eip)
			return ln.blocks[i][1];
	while (n < LN_BLOCK_INSNS && shape == LOWER_GOES_ON && at - LN_TEXT < LN_TEXT_SIZE) {
		in[n] = (struct lower_insn){
		    .bytes = ln_at(at), .va = at, .site = MANIFEST_NONE, .soft = ln.view == VIEW_SOFT};
		if (insn_decode(&in[n].insn, ln_at(at), LN_TEXT + LN_TEXT_SIZE - at, at, 32) < 0)
			break;
		shape = in[n].soft ? lower_long_soft_shape(&in[n]) : lower_long_shape(&in[n].insn);
		if (shape == LOWER_ALONE)
			break;
		if ((insn_is_sensitive(&in[n].insn) && policy_get(in[n].insn.op)->lowering != LOWER_VERBATIM) ||
		    lower_long_checks_x87(&in[n].insn))
			in[n].site = ln_site(LN_SENSITIVE, at, 0);
		in[n].soft |= ln.split && lower_long_soft_leaves(&in[n].insn);
		in[n].leaves = in[n].soft && lower_long_soft_leaves(&in[n].insn);
		if (in[n].leaves)
			in[n].site = ln_site(LN_STRING, at, 0);
		in[n].flags_dead = ln.flags_dead;
		at += in[n++].insn.len;
	}
	if (!n)
		return 0;
	x.next_site = ln.n_sites;
	if (lower_long_block(&ln.l, in, n, &x, ln.view, LN_TABLE) < 0) {
		ln.lower_failed = true;
		fprintf(stderr, "# the emitter refuses the block at %08x: %d\n", eip, ln.l.err);
		return 0;
	}
	for (size_t i = 0; i < x.n; i++)
		ln_site(LN_BRANCH, exit[i].guest, exit[i].jump);
	ln.blocks[ln.n_blocks][0] = eip;
	ln.blocks[ln.n_blocks++][1] = code;
	return code;
}

static inline void ln_enter(struct long_run *r, uint32_t code)
{
	for (unsigned i = 0; i < 8; i++)
		long_frame.gpr[i] = r->gpr[i];
	long_frame.flags = (r->eflags & (LN_ARITHMETIC | LN_DF | 0x200000)) | 0x202;
	long_frame.target = LN_BASE + code;
	long_frame.r8 = 0x8888888888888888, long_frame.r9 = 0x9999999999999999;
	long_frame.r10 = 0xaaaaaaaaaaaaaaaa, long_frame.r11 = 0xbbbbbbbbbbbbbbbb;
	long_frame.base = LN_BASE;
	long_frame.window = ln.view == VIEW_SOFT ? LN_SOFT : LN_WINDOW;
	long_frame.soft = ln.soft;
	long_frame.xstate = r->xstate;
	long_enter();
	ln.entered++;
	for (unsigned i = 0; i < 8; i++)
		r->gpr[i] = (uint32_t)long_frame.gpr[i];
	r->eflags = (uint32_t)long_frame.flags & (LN_ARITHMETIC | LN_DF | 0x200000);
}

/* As the monitor takes a fault back to the boundary; false where it may not happen. */
static inline bool ln_take_back(struct long_run *r)
{
	const struct manifest_point *p = ln_point((uint32_t)ln.rip);

	r->signal = ln.signal;
	r->fault_address = ln.address - (ln.view == VIEW_SOFT && ln.address >= LN_SOFT ? LN_SOFT : 0);
	r->end = LONG_ENDED_FAULT;
	if (!p)
		return false;
	r->point = *p;
	r->eip = p->guest;
	if (p->state == POINT_STRING) {
		r->gpr[REG_SI] -= p->flags & POINT_STRING_SI ? (uint32_t)long_frame.r8 : 0;
		r->gpr[REG_DI] -= p->flags & POINT_STRING_DI ? (uint32_t)long_frame.r9 : 0;
		r->gpr[REG_CX] += p->flags & POINT_STRING_CX ? ln_vcpu()->scratch0 : 0;
		return true;
	}
	if (p->flags & POINT_R9_SP)
		r->gpr[REG_SP] = (uint32_t)long_frame.r9;
	if (p->flags & POINT_R9_CX)
		r->gpr[REG_CX] = (uint32_t)long_frame.r9;
	if (p->flags & POINT_R11_CX)
		r->gpr[REG_CX] = (uint32_t)long_frame.r11;
	return p->state != POINT_AFTER;
}

/* The host's address of the guest's, less that. */
static inline uint64_t ln_soft_base(void)
{
	return ln.view == VIEW_SUPERVISOR ? LN_WINDOW : LN_SOFT_TLB;
}

static inline bool ln_fill_page(struct lower_soft_part *part, uint32_t at)
{
	bool there = false;

	for (size_t i = 0; i < LN_PARTS; i++)
		there |= at - ln_parts[i].at < ln_parts[i].size;
	part->add[at >> 12] = there ? ln_soft_base() : 0;
	part->one_minus_add[at >> 12] = there ? 1 - ln_soft_base() : 0;
	return there;
}

/* The monitor has done a string, or begins to: ESI's page and EDI's have entries from then on, and those behind. */
static inline void ln_fill_string(const struct long_run *r)
{
	for (unsigned n = 0; n < 2; n++) {
		ln_fill_page(&ln.soft->read, r->gpr[REG_SI] + 0x1000 * n);
		ln_fill_page(&ln.soft->write, r->gpr[REG_DI] + 0x1000 * n);
	}
}

/* Enters the pages of an access into the software TLB; false when one of them is not there. */
static inline bool ln_fill(struct long_run *r)
{
	uint32_t access = ln_vcpu()->soft_access, at = ln_vcpu()->target, last = at + (access & ~LOWER_SOFT_WRITE) - 1;
	struct lower_soft_part *part = access & LOWER_SOFT_WRITE ? &ln.soft->write : &ln.soft->read;

	r->eip = ln_point(ln_vcpu()->soft_resume)->guest;
	for (unsigned n = 0; n < 2; n++, at = last) {
		if (ln_fill_page(part, at))
			continue;
		r->end = LONG_ENDED_FAULT;
		r->signal = SIGSEGV;
		r->fault_address = at;
		return false;
	}
	return true;
}

static inline void ln_gs(uint64_t base)
{
	if (syscall(SYS_arch_prctl, ARCH_SET_GS, base) < 0)
		ln_die("arch_prctl");
}

/*
 * What the monitor does of instructions without a form for the software TLB: here by the one that goes through R14 and GS.
 * 0 when that has none either.
 */
static inline uint32_t ln_aside(uint32_t eip)
{
	struct lower_insn in = {.bytes = ln_at(eip), .va = eip, .site = MANIFEST_NONE};
	struct lower_exit exit[2];
	struct lower_exits x = {.exit = exit, .cap = 2, .next_site = ln.n_sites};
	uint32_t code = LN_CODE + (uint32_t)ln.l.code_len;

	if (insn_decode(&in.insn, in.bytes, LN_TEXT + LN_TEXT_SIZE - eip, eip, 32) < 0 || in.insn.flow != FLOW_NEXT ||
	    insn_is_sensitive(&in.insn) || lower_long_shape(&in.insn) == LOWER_ALONE)
		return 0;
	if (lower_long_block(&ln.l, &in, 1, &x, VIEW_SUPERVISOR, LN_TABLE) < 0)
		ln_die("aside");
	ln_site(LN_BRANCH, exit[0].guest, exit[0].jump);
	return code;
}

/* Runs until something that is not a branch; false when a fault came where none may. */
static inline bool ln_run(struct long_run *r, unsigned max_entries)
{
	struct lower_slot *table = ln_hole(LN_TABLE);
	bool string = false;

	for (r->end = LONG_ENDED_STEPS; max_entries--;) {
		uint32_t code = string ? 0 : ln_block(r->eip), aside = 0;
		uint64_t high = 0;

		if (!code && (ln.view == VIEW_SOFT || string) && !ln.lower_failed)
			code = aside = ln_aside(r->eip);
		string = false;

		if (!code) {
			r->end = LONG_ENDED_ALONE;
			return !ln.lower_failed;
		}
		if (aside)
			ln_gs(ln_memory());
		else
			table[r->eip & 0xffff] = (struct lower_slot){.minus_guest = -r->eip, .code = code};
		ln_enter(r, code);
		if (aside)
			ln_gs(LN_WINDOW);
		if (!long_frame.left)
			return ln_take_back(r);
		for (unsigned i = 0; i < 8; i++)
			high |= long_frame.gpr[i] >> 32;
		if (high || long_frame.site >= ln.n_sites)
			return false;
		r->site = (unsigned)long_frame.site;
		switch (ln.sites[r->site].kind) {
		case LN_SENSITIVE:
			r->eip = ln.sites[r->site].guest;
			r->end = LONG_ENDED_SITE;
			return true;
		case LN_MISS:
			r->eip = ln_vcpu()->target;
			break;
		case LN_MISS_SOFT:
			if (!ln_fill(r))
				return true;
			break;
		case LN_STRING:
			r->eip = ln.sites[r->site].guest;
			ln.string_again = !ln.string_again;
			string = !ln.string_again;
			ln_fill_string(r);
			break;
		default:
			r->eip = ln.sites[r->site].guest;
			code = ln.no_chains ? 0 : ln_block(r->eip);
			if (code) /* chain */
				memcpy(ln_hole(ln.sites[r->site].jump),
				       &(uint32_t){code - (ln.sites[r->site].jump + 4)}, 4);
		}
	}
	return true;
}

/* An initial state in which the vector state is that of FNINIT and all zero. */
static inline void ln_init(struct long_run *r)
{
	memset(r, 0, sizeof(*r));
	r->eip = LN_TEXT;
	r->gpr[REG_SP] = LN_STACK + 0x800;
	memcpy(r->xstate + 0, &(uint16_t){0x37f}, 2);
	memcpy(r->xstate + 24, &(uint32_t){0x1f80}, 4);
	r->xstate[512] = 7; /* XSTATE_BV */
}

#endif
