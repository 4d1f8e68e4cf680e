/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * For tests that run guest code on the CPU: a worker in a child process, so that its signal handlers, its LDT and
 * its low 4 GiB die with it. The guest has 16 MiB of RAM mapped at LINK by 32-bit paging, flat segments, one text
 * section whose windows the test makes with the real emitter, and an interrupt controller in automatic-EOI mode.
 *
 * In the child failures are CHECK()s: they print and end it. cmocka's own asserts would return into the runner.
 */
#ifndef TESTS_UNIT_NATIVE_H
#define TESTS_UNIT_NATIVE_H

#include "tests/unit/guest.h"

#include <asm/ldt.h>
#include <signal.h>
#include <sys/auxv.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hypercalls/lower.h"
#include "monitor/vmm/code.h"
#include "monitor/vmm/emulate.h"
#include "monitor/vmm/gmem.h"
#include "monitor/vmm/host.h"
#include "monitor/vmm/run.h"
#include "monitor/vmm/shadow.h"
#include "monitor/vmm/shadow_seg.h"
#include "monitor/vmm/state.h"
#include "monitor/vmm/world.h"
#include "monitor/vmm/xol.h"
#include "monitor/vmx/memory.h"

enum {
	N_RAM = 16 << 20,
	N_PD = 0x10000,
	N_PT = 0x20000, /* 4 page tables for LINK, then free ones */
	N_TEXT = 0x100000,
	N_TEXT_PAGES = 4,
	N_STACK = 0x200000,   /* its own page; those around it are present too */
	N_HANDLER = 0x300000, /* outside the text section: runs out of line */
	N_DATA = 0x400000,
	N_STUBS_SIZE = 0x10000,
	N_PADS_SIZE = 0x1000,
};
#define LINK 0xc0000000u
#define TEXT (LINK + N_TEXT)
#define STACK (LINK + N_STACK)
#define HOLE ABI_HOLE_BASE
#define IRQ_VECTOR 0x21 /* IRQ 1 */

static const char *native_case = "";
static enum engine native_engine = ENGINE_DIRECT;

static void __attribute__((noreturn, format(printf, 3, 4), unused))
native_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "# %s:%d: %s: ", file, line, native_case);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	_exit(1);
}
#define CHECK(cond)                                                                                          \
	do {                                                                                                 \
		if (!(cond))                                                                                 \
			native_fail(__FILE__, __LINE__, "%s", #cond);                                        \
	} while (0)
#define CHECK_EQ(a, b)                                                                                       \
	do {                                                                                                 \
		unsigned long long a_ = (a), b_ = (b);                                                       \
		if (a_ != b_)                                                                                \
			native_fail(__FILE__, __LINE__, "%s is %#llx, not %s = %#llx", #a, a_, #b, b_);      \
	} while (0)

/* --- the text section and its manifest --------------------------------------------------------------------- */

static struct {
	uint8_t text[N_TEXT_PAGES * PAGE_SIZE]; /* as patched */
	uint32_t at;				/* next free byte, link address */
	uint8_t starts[N_TEXT_PAGES * PAGE_SIZE / 8];
	struct manifest_window windows[64];
	struct manifest_site sites[64];
	struct insn insns[64];
	struct manifest_point points[1024];
	struct manifest_range verified;
	uint8_t originals[2048];
	uint8_t stubs[N_STUBS_SIZE];
	struct lower lower;
	uint32_t n_windows, n_sites, n_originals;
} img;

static inline void text_reset(void)
{
	memset(&img, 0, sizeof(img));
	memset(img.text, 0x90, sizeof(img.text));
	img.at = TEXT;
	img.lower = (struct lower){
	    .hole_base = HOLE,
	    .code = img.stubs + N_PADS_SIZE,
	    .code_va = HOLE + ABI_STUBS + N_PADS_SIZE,
	    .code_cap = N_STUBS_SIZE - N_PADS_SIZE,
	    .pads = img.stubs,
	    .pads_va = HOLE + ABI_STUBS,
	    .pads_cap = N_PADS_SIZE,
	    .points = img.points,
	    .points_cap = ARRAY_LEN(img.points),
	};
	img.verified = (struct manifest_range){TEXT, TEXT + sizeof(img.text)};
}

static inline void text_start(uint32_t va)
{
	img.starts[(va - TEXT) >> 3] |= 1u << (va & 7);
}

/* Append ordinary code; returns its address. */
static inline uint32_t text_code(const void *bytes, size_t len)
{
	uint32_t va = img.at;
	struct insn insn;

	memcpy(img.text + (va - TEXT), bytes, len);
	img.at += (uint32_t)len;
	for (size_t n = 0; n < len; n += insn.len) {
		text_start(va + (uint32_t)n);
		if (insn_decode(&insn, (const uint8_t *)bytes + n, len - n, va + n, 32) < 0)
			native_fail(__FILE__, __LINE__, "the test's code does not decode");
	}
	return va;
}
#define TEXT_CODE(s) text_code(s, sizeof(s) - 1)

enum window_flags { W_FLAGS_DEAD = 1, W_EXIT_ONLY = 2 };

static uint32_t native_aim(const void *ctx, uint32_t guest)
{
	(void)ctx;
	return guest;
}

/* Append code and replace it by a window; flags apply to its sensitive instructions. Returns its address. */
static inline uint32_t text_window(const void *bytes, size_t len, unsigned flags)
{
	struct lower_insn in[32];
	uint32_t va = text_code(bytes, len), end = va + (uint32_t)len;
	struct manifest_window *w = &img.windows[img.n_windows++];
	uint8_t *text = img.text + (va - TEXT);
	size_t n = 0, code_len = img.lower.code_len;
	uint32_t distance;

	memset(in, 0, sizeof(in));
	*w = (struct manifest_window){
	    .va = va, .len = (uint32_t)len, .hop = MANIFEST_NONE, .tactic = TACTIC_WINDOW};
	w->stub = img.lower.code_va + (uint32_t)code_len;
	w->original = img.n_originals;
	memcpy(img.originals + img.n_originals, bytes, len);
	img.n_originals += (uint32_t)len + 5;
	for (uint32_t at = va; at < end; at += in[n++].insn.len) {
		in[n].bytes = img.originals + w->original + (at - va);
		in[n].va = at;
		insn_decode(&in[n].insn, in[n].bytes, end - at, at, 32);
		in[n].site = MANIFEST_NONE;
		in[n].flags_dead = flags & W_FLAGS_DEAD;
		if (insn_is_sensitive(&in[n].insn)) {
			in[n].exit_only = flags & W_EXIT_ONLY;
			img.insns[img.n_sites] = in[n].insn;
			in[n].site = img.n_sites++;
		}
	}
	img.lower.aim = native_aim;
	if (lower_run(&img.lower, in, n, end) < 0)
		native_fail(__FILE__, __LINE__, "the emitter refuses the test's window: %d", img.lower.err);
	w->stub_len = (uint32_t)(img.lower.code_len - code_len);
	for (size_t i = 0; i < n; i++)
		if (in[i].site != MANIFEST_NONE)
			img.sites[in[i].site] = (struct manifest_site){
			    .va = in[i].va,
			    .window = img.n_windows - 1,
			    .pad = in[i].pad,
			    .resume = in[i].resume,
			    .op = in[i].insn.op,
			    .len = in[i].insn.len,
			    .tactic = TACTIC_WINDOW,
			};
	memset(text, 0xcc, len);
	text[0] = 0xe9;
	distance = w->stub - (va + 5);
	memcpy(text + 1, &distance, 4);
	return va;
}
#define TEXT_WINDOW(s, flags) text_window(s, sizeof(s) - 1, flags)

/* --- the machine ------------------------------------------------------------------------------------------- */

static inline void native_page_tables(void)
{
	for (unsigned i = 0; i < N_RAM >> 22; i++)
		poke32(N_PD + (LINK >> 22 << 2) + i * 4, (N_PT + i * PAGE_SIZE) | 0x63);
	for (unsigned i = 0; i < N_RAM >> PAGE_SHIFT; i++)
		poke32(N_PT + i * 4, i << PAGE_SHIFT | 0x63); /* P W A D */
}

/* Where the entry of a page of LINK stands in guest RAM. */
static inline uint32_t pte_at(uint32_t linear)
{
	return N_PT + ((linear - LINK) >> PAGE_SHIFT) * 4;
}

static inline void native_paging(bool on)
{
	cpu->cr3 = N_PD;
	cpu->cr0 = CR0_PE | CR0_ET | CR0_WP | CR0_NE | (on ? CR0_PG : 0);
	cpu->gdtr = (struct table_register){(on ? LINK : 0) + AT_GDT, GDT_LIMIT};
	cpu->idtr = (struct table_register){(on ? LINK : 0) + AT_IDT, 48 * 8 - 1};
	cpu->ldtr.base = (on ? LINK : 0) + AT_LDT;
	cpu->tr.base = (on ? LINK : 0) + AT_TSS;
	vm->vmm->workers[0].shadow[SHADOW_LOW].mmu_mode = on ? 1 : 0;
	shadow_flush(vm);
	shadow_alias(vm, !on);
}

static inline void native_segments(void)
{
	guest_ring(0, K_CS, K_DS, STACK + 0x800);
	for (unsigned i = SEG_DS; i <= SEG_GS; i++)
		cpu->seg[i] = cpu->seg[SEG_SS];
	cpu->seg[SEG_ES] = cpu->seg[SEG_SS];
	cpu->tr = segment_unpack(S_TSS, get_desc(S_TSS));
	cpu->ldtr = segment_unpack(S_LDT, get_desc(S_LDT));
}

static inline void native_pic(void)
{
	static const uint8_t icw[][2] = {{0x20, 0x11}, {0x21, 0x20}, {0x21, 4}, {0x21, 3}, {0xa0, 0x11},
					 {0xa1, 0x28}, {0xa1, 2},    {0xa1, 3}, {0x21, 0}, {0xa1, 0}};

	for (size_t i = 0; i < ARRAY_LEN(icw); i++)
		machine_out(&vm->machine, icw[i][0], 1, icw[i][1], 0);
}

/* An edge on IRQ 1. */
static inline void native_interrupt(void)
{
	i8259_set(&vm->machine.pic, 1, false);
	i8259_set(&vm->machine.pic, 1, true);
}

static inline int native_host_lacks(const char *what)
{
	fprintf(stderr, "%s\n", what);
	return 77;
}

/* What direct execution needs, and the long engine does not. */
static inline void native_need_direct(void)
{
	struct user_desc probe = {.entry_number = 1, .seg_32bit = 1, .limit = 1, .useable = 1};

	if (syscall(SYS_modify_ldt, 1, &probe, sizeof(probe)) < 0)
		_exit(native_host_lacks("the host has no modify_ldt()"));
	if (!(getauxval(AT_HWCAP2) & 2)) /* HWCAP2_FSGSBASE, arch/x86/include/uapi/asm/hwcap2.h */
		_exit(native_host_lacks("the host does not offer the FSGSBASE instructions"));
}

/* Build everything from `img`; paging is on afterwards. */
static inline void native_start(void)
{
	struct vm_config cfg = {
	    .ram_size = N_RAM,
	    .hole_base = HOLE,
	    .hole_size = ABI_HOLE_SIZE,
	    .stubs_size = N_STUBS_SIZE,
	    .alias_delta = LINK,
	    .kernel_split = LINK,
	    .image_start = N_TEXT,
	    .image_end = N_TEXT + sizeof(img.text),
	    .notify_fd = -1,
	    .timer_fd = -1,
	    .trace_fd = -1,
	    .n_workers = 1,
	    .patched = true,
	    .engine = native_engine,
	    .mode = native_engine == ENGINE_LONG ? MODE_TRANSLATE : MODE_AUTO,
	};
	struct manifest m = {.windows = img.windows,
			     .sites = img.sites,
			     .points = img.points,
			     .verified = &img.verified,
			     .starts = img.starts,
			     .originals = img.originals,
			     .strings = (char *)""};
	struct diag d = {""};

	if (native_engine == ENGINE_DIRECT)
		native_need_direct();
	m.h.alias_delta = LINK;
	m.h.hole_base = HOLE;
	m.h.hole_size = ABI_HOLE_SIZE;
	m.h.stubs_size = N_STUBS_SIZE;
	m.h.n_windows = img.n_windows;
	m.h.n_sites = img.n_sites;
	m.h.n_points = (uint32_t)img.lower.n_points;
	m.h.n_verified = 1;
	m.h.n_starts = sizeof(img.starts);
	m.h.n_originals = img.n_originals;
	memory_layout(&cfg);
	cfg.arena_size = (vmm_arena_size(&cfg, &m) + PAGE_SIZE - 1) & ~(size_t)(PAGE_SIZE - 1);
	if (memory_map_ram(&cfg, &d) || memory_map_arena(cfg.arena_size, &d))
		native_fail(__FILE__, __LINE__, "%s", d.text);
	vm = VM;
	cpu = &vm->vcpu;
	vm->cfg = cfg;
	vm->manifest = m;
	vm->site_insns = img.insns;
	memcpy(ram(N_TEXT), img.text, sizeof(img.text));
	memcpy((uint8_t *)RAM_BASE + cfg.stubs_off, img.stubs, sizeof(img.stubs));
	ring_init(&vm->shared.console_in);
	ring_init(&vm->shared.console_out);
	guest_tables();
	native_page_tables();
	cpu->eflags = FL_FIXED;
	native_segments();
	if (vmm_init(vm, &d) || vmm_worker_prepare(vm, 0, &d))
		native_fail(__FILE__, __LINE__, "%s", d.text);
	native_pic();
	native_paging(true);
}

/* Protection of the host's page at a guest address, as PROT_*; -1 without a mapping. */
static inline int protection(uint32_t at)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512], rights[8];
	unsigned long from, to;
	int prot = -1;

	CHECK(f);
	while (prot < 0 && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) == 3 && at >= from && at < to)
			prot = (rights[0] == 'r') | (rights[1] == 'w') << 1 | (rights[2] == 'x') << 2;
	fclose(f);
	return prot;
}

/* --- the child --------------------------------------------------------------------------------------------- */

static inline void native_child(void (*body)(void), const char *name)
{
	const char *patience = getenv("NATIVE_TIMEOUT"); /* s, for emulated hosts */
	int status;
	pid_t pid;

#ifdef __SANITIZE_ADDRESS__
	print_message("the sanitizer's own memory lies in the low 4 GiB\n");
	skip();
#endif
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		signal(SIGSEGV, SIG_DFL), signal(SIGBUS, SIG_DFL), signal(SIGILL, SIG_DFL),
		    signal(SIGFPE, SIG_DFL);
		native_case = name;
		text_reset();
		alarm(patience ? (unsigned)atoi(patience) : 60); /* a lost kick hangs */
		body();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		fail_msg("%s: the worker died of signal %d", name, WTERMSIG(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* A cmocka test whose body runs in a worker. */
#define NATIVE_TEST(name)                                                                                    \
	static void name##_in_worker(void);                                                                  \
	static void name(void **state)                                                                       \
	{                                                                                                    \
		(void)state;                                                                                 \
		native_child(name##_in_worker, #name);                                                       \
	}                                                                                                    \
	static void name##_in_worker(void)

/* The same body once more, with the long engine, which every host has. */
#define NATIVE_TEST_LONG(name)                                                                               \
	static void name##_long(void **state)                                                                \
	{                                                                                                    \
		(void)state;                                                                                 \
		native_engine = ENGINE_LONG;                                                                 \
		native_child(name##_in_worker, #name "_long");                                               \
		native_engine = ENGINE_DIRECT;                                                               \
	}

#endif
