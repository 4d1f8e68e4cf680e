// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Stubs against handlers, on the CPU. Each form of guest code stands in a window; a run through its stub is stopped
 * in front of every single instruction, an exit is made there (a kick, a lost page, a page that the guest unmapped),
 * and at every guest boundary from then on registers, flags, IF and stack must be those that the same instructions
 * give when they are executed one by one out of line, with the sensitive ones emulated.
 */
#include "tests/unit/native.h"

#define STEPS_MAX 64
#define ARITHMETIC (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)
#define ECX_ZERO ~0u
#define HANDLER (LINK + N_HANDLER)

enum form_flags {
	F_REL8 = 1,   /* the last byte is aimed at the end */
	F_REL32 = 2,  /* the last four are */
	F_LAST = 4,   /* nothing may follow in the window */
	F_TO_EAX = 8, /* EAX holds the address of the end */
	F_FLAGS_DEAD = 16,
	F_EXIT_ONLY = 32,
	F_DEAD_END = 128, /* what stands behind it is never reached */
	F_CALL = 64,	  /* pushes its link address even before paging: see the test of its own */
};

static const struct form {
	const char *name, *bytes;
	size_t len;
	unsigned flags;
	uint32_t top; /* word on the stack */
	uint32_t ecx; /* 0: the usual one */
	uint32_t add_flags;
} forms[] = {
#define B(s) s, sizeof(s) - 1
    {"cli", B("\xfa"), 0, 0, 0, 0},
    {"cli, exit only", B("\xfa"), F_EXIT_ONLY, 0, 0, 0},
    {"sti", B("\xfb"), 0, 0, 0, 0},
    {"sti, flags dead", B("\xfb"), F_FLAGS_DEAD, 0, 0, 0},
    {"sti, exit only", B("\xfb"), F_EXIT_ONLY, 0, 0, 0},
    {"sti; cli", B("\xfb\xfa"), 0, 0, 0, 0},
    {"sti; nop; cli", B("\xfb\x90\xfa"), F_FLAGS_DEAD, 0, 0, 0},
    {"sti; hlt", B("\xfb\xf4"), 0, 0, 0, 0},
    {"sti; hlt, flags dead", B("\xfb\xf4"), F_FLAGS_DEAD, 0, 0, 0},
    {"pushf", B("\x9c"), 0, 0, 0, 0},
    {"pushf with IOPL and NT", B("\x9c"), 0, 0, 0, FL_IOPL | FL_NT},
    {"pushf with AC", B("\x9c"), 0, 0, 0, FL_AC},
    {"pushf; cli", B("\x9c\xfa"), 0, 0, 0, 0},
    {"pushf; pop %eax", B("\x9c\x58"), 0, 0, 0, 0},
    {"pushf, 16 bits", B("\x66\x9c"), 0, 0, 0, 0},
    {"popf to IF=1", B("\x9d"), 0, 0x2d7 | FL_DF | FL_OF, 0, 0},
    {"popf to IF=0", B("\x9d"), 0, 0x002 | FL_SF, 0, 0},
    {"popf with ID", B("\x9d"), 0, 0x202 | FL_ID, 0, 0},
    {"popf sets NT", B("\x9d"), 0, 0x246 | FL_NT, 0, 0},
    {"popf sets AC", B("\x9d"), 0, 0x246 | FL_AC, 0, 0},
    {"popf sets IOPL", B("\x9d"), 0, 0x046 | FL_IOPL, 0, 0},
    {"popf clears IOPL", B("\x9d"), 0, 0x246, 0, FL_IOPL},
    {"popf clears NT", B("\x9d"), 0, 0x046, 0, FL_NT | FL_AC},
    {"popf sets RF, VM and VIF", B("\x9d"), 0, 0x202 | FL_RF | FL_VM | FL_VIF | FL_VIP, 0, 0},
    {"popf sets TF", B("\x9d"), 0, 0x202 | FL_TF, 0, 0},
    {"popf, 16 bits", B("\x66\x9d"), 0, 0x2d7, 0, 0},
    {"pushf; cli; popf", B("\x9c\xfa\x9d"), 0, 0, 0, 0},
    {"push %es", B("\x06"), 0, 0, 0, 0},
    {"push %cs", B("\x0e"), 0, 0, 0, 0},
    {"push %ss", B("\x16"), 0, 0, 0, 0},
    {"push %ds", B("\x1e"), 0, 0, 0, 0},
    {"push %fs", B("\x0f\xa0"), 0, 0, 0, 0},
    {"push %gs", B("\x0f\xa8"), 0, 0, 0, 0},
    {"push %fs, 16 bits", B("\x66\x0f\xa0"), 0, 0, 0, 0},
    {"mov %ds,%eax", B("\x8c\xd8"), 0, 0, 0, 0},
    {"mov %cs,%ecx", B("\x8c\xc9"), 0, 0, 0, 0},
    {"mov %gs,%esi", B("\x8c\xee"), 0, 0, 0, 0},
    {"mov %fs,%dx", B("\x66\x8c\xe2"), 0, 0, 0, 0},
    {"mov %es,(%esp)", B("\x8c\x04\x24"), 0, 0xffffffff, 0, 0},
    {"mov %cr0,%eax", B("\x0f\x20\xc0"), 0, 0, 0, 0},
    {"mov %cr2,%ecx", B("\x0f\x20\xd1"), 0, 0, 0, 0},
    {"mov %cr3,%edx", B("\x0f\x20\xda"), 0, 0, 0, 0},
    {"mov %cr4,%ebp", B("\x0f\x20\xe5"), 0, 0, 0, 0},
    {"str %eax", B("\x0f\x00\xc8"), 0, 0, 0, 0},
    {"mov %cx,%fs", B("\x8e\xe1"), 0, 0, U_DS, 0},
    {"mov %cx,%gs of a bad selector", B("\x8e\xe9"), 0, 0, 0xf8, 0},
    {"mov %cx,%gs", B("\x8e\xe9"), 0, 0, U_DS, 0},
    {"ud2 after cli", B("\xfa\x0f\x0b"), F_DEAD_END, 0, 0, 0},
    {"push; pop", B("\x50\x59"), 0, 0, 0, 0},
    {"jc", B("\x72\x00"), F_REL8, 0, 0, 0},
    {"cli; jnc rel32", B("\xfa\x0f\x83\x00\x00\x00\x00"), F_REL32, 0, 0, 0},
    {"jecxz taken", B("\xe3\x00"), F_REL8, 0, ECX_ZERO, 0},
    {"jecxz not taken", B("\xe3\x00"), F_REL8, 0, 0, 0},
    {"loop taken", B("\xe2\x00"), F_REL8, 0, 7, 0},
    {"loop not taken", B("\xe2\x00"), F_REL8, 0, 1, 0},
    {"cli; jmp", B("\xfa\xe9\x00\x00\x00\x00"), F_REL32 | F_LAST, 0, 0, 0},
    {"sti; call", B("\xfb\xe8\x00\x00\x00\x00"), F_REL32 | F_LAST | F_CALL, 0, 0, 0},
    {"call *%eax", B("\xff\xd0"), F_LAST | F_TO_EAX | F_CALL, 0, 0, 0},
    {"cli; jmp *%eax", B("\xfa\xff\xe0"), F_LAST | F_TO_EAX, 0, 0, 0},
    {"sti; jmp *%eax", B("\xfb\xff\xe0"), F_LAST | F_TO_EAX, 0, 0, 0},
#undef B
};

/* Where each form came to lie. */
static struct place {
	uint32_t start, window, behind, end;
	const struct manifest_window *w;
} places[ARRAY_LEN(forms)];

static void lay_out(void)
{
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		const struct form *f = &forms[i];
		struct place *p = &places[i];
		uint8_t b[32] = {0x47, 0x90, 0x90, 0x90, 0x90}; /* inc %edi, room for the jump */
		size_t n = 5;

		memcpy(b + n, f->bytes, f->len);
		n += f->len;
		p->start = TEXT_CODE("\x43"); /* inc %ebx */
		p->end = img.at + (uint32_t)n + !(f->flags & F_LAST) + 1;
		if (f->flags & F_REL8)
			b[n - 1] = (uint8_t)(p->end - (img.at + (uint32_t)n));
		if (f->flags & F_REL32) {
			uint32_t distance = p->end - (img.at + (uint32_t)n);

			memcpy(b + n - 4, &distance, 4);
		}
		if (!(f->flags & F_LAST))
			b[n++] = 0x46; /* inc %esi */
		p->window = text_window(b, n,
					(f->flags & F_FLAGS_DEAD ? W_FLAGS_DEAD : 0) |
					    (f->flags & F_EXIT_ONLY ? W_EXIT_ONLY : 0));
		p->w = &img.windows[img.n_windows - 1];
		p->behind = TEXT_CODE("\x42"); /* inc %edx */
		TEXT_CODE("\x0f\x0b");	       /* every run ends with an exception, if not before then here */
		CHECK_EQ(img.at - 2, p->end);
	}
}

/* --- one run ----------------------------------------------------------------------------------------------- */

enum event { EVENT_NONE, EVENT_SPURIOUS, EVENT_INTERRUPT };
enum stop { STOP_NOT, STOP_KICK, STOP_LOSE_PAGES, STOP_UNMAP };

static struct setup {
	const struct form *form;
	const struct place *place;
	bool paging, early; /* early: the event is there before the run starts */
	uint32_t eflags, esp;
	enum event event;
	enum stop stop;
	uint32_t absent[2]; /* stack pages that are not present, 0 without */
	bool read_only;	    /* the stack */
} run;

struct moment { /* the guest's state at a boundary */
	uint32_t gpr[8], eip, eflags;
	uint16_t fs, gs;
	uint8_t shadow;
	uint8_t exc_vector; /* what the instruction at eip raised */
	uint32_t exc_error, exc_cr2;
	uint8_t stack[96]; /* around run.esp */
};

static struct moment expected[STEPS_MAX];
static unsigned n_expected;
static char told[160];

static uint32_t here(uint32_t link)
{
	return run.paging ? link : link - LINK;
}

static uint8_t *stack_bytes(void)
{
	return (uint8_t *)ram(run.esp - LINK - 48);
}

static struct moment now(void)
{
	struct moment m = {.eip = cpu->eip, .eflags = cpu->eflags, .shadow = cpu->shadow};

	memcpy(m.gpr, cpu->gpr, sizeof(m.gpr));
	m.fs = cpu->seg[SEG_FS].sel;
	m.gs = cpu->seg[SEG_GS].sel;
	m.exc_vector = cpu->exc_vector;
	if (cpu->exc_vector != EXC_NONE) {
		m.exc_error = cpu->exc_has_error ? cpu->exc_error : 0;
		m.exc_cr2 = cpu->exc_vector == EXC_PF ? cpu->exc_cr2 : 0;
	}
	memcpy(m.stack, stack_bytes(), sizeof(m.stack));
	return m;
}

static void present(uint32_t page, bool yes)
{
	uint32_t pte = peek32(pte_at(page));

	poke32(pte_at(page), yes ? pte | 1 : pte & ~1u);
}

static void stack_pages(void)
{
	for (uint32_t page = STACK - PAGE_SIZE; page <= STACK + PAGE_SIZE; page += PAGE_SIZE)
		poke32(pte_at(page), (page - LINK) | 0x61 | (run.read_only ? 0 : 2));
	for (unsigned i = 0; i < 2; i++)
		if (run.absent[i])
			present(run.absent[i], false);
}

static void begin(void)
{
	struct vmm_state *s = vm->vmm;

	for (uint32_t r = 0; r < 8; r++)
		cpu->gpr[r] = 0x10203040 * (r + 1);
	native_segments();
	cpu->seg[SEG_FS] = segment_unpack(U_DS, get_desc(U_DS));
	cpu->seg[SEG_GS] = (struct segment){.sel = 0};
	cpu->gpr[REG_SP] = here(run.esp);
	if (run.form->flags & F_TO_EAX)
		cpu->gpr[REG_AX] = here(run.place->end);
	if (run.form->ecx)
		cpu->gpr[REG_CX] = run.form->ecx == ECX_ZERO ? 0 : run.form->ecx;
	cpu->eip = here(run.place->start);
	cpu->eflags = run.eflags | run.form->add_flags | FL_FIXED;
	cpu->exc_vector = EXC_NONE;
	cpu->shadow = cpu->halted = 0;
	cpu->cr2 = 0xdead0000;
	cpu->cr4 = CR4_PSE;
	s->resume_raw = s->step_boundary = s->step_once = s->segments_changed = 0;
	s->resume_hint = 0;
	vm_vcpu_page(vm)->pending = 0;
	memset(stack_bytes(), 0x5a, 96);
	poke32(run.esp - LINK, run.form->top);
	native_pic();
	i8259_set(&vm->machine.pic, 1, false);
}

/* The oracle: every instruction out of line. */
static void expect(void)
{
	begin();
	n_expected = 0;
	for (;;) {
		bool trap = cpu->eflags & FL_TF;
		int err;

		CHECK(n_expected < STEPS_MAX);
		expected[n_expected++] = now();
		if (cpu->exc_vector != EXC_NONE)
			break;
		do {
			err = xol_step(vm);
		} while (err == -EAGAIN);
		if (err == 0 && trap)
			vcpu_raise(cpu, EXC_DB, false, 0);
		cpu->halted = 0;
	}
	CHECK(n_expected > 1);
}

/* The flags that count: dead ones do not, and POPF is about to overwrite those of arithmetic and more. */
static uint32_t flags_that_count(uint32_t eip)
{
	uint8_t next[1] = {*(uint8_t *)ram(eip - here(LINK))};

	code_original(vm, eip, next, 1);
	return run.form->flags & F_FLAGS_DEAD || next[0] == 0x9d ? ~(uint32_t)ARITHMETIC : ~0u;
}

static const char *differs(const struct moment *want, const struct moment *got)
{
	static char text[80];
	uint32_t mask = flags_that_count(want->eip);
	uint32_t base = run.esp - 48;

	for (unsigned r = 0; r < 8; r++)
		if (want->gpr[r] != got->gpr[r]) {
			snprintf(text, sizeof(text), "register %u is %#x, not %#x", r, got->gpr[r],
				 want->gpr[r]);
			return text;
		}
	if ((want->eflags ^ got->eflags) & mask) {
		snprintf(text, sizeof(text), "EFLAGS are %#x, not %#x", got->eflags, want->eflags);
		return text;
	}
	if (want->fs != got->fs || want->gs != got->gs)
		return "FS or GS";
	if (want->exc_vector != got->exc_vector || want->exc_error != got->exc_error ||
	    want->exc_cr2 != got->exc_cr2) {
		snprintf(text, sizeof(text), "exception %u/%#x at %#x, not %u/%#x at %#x", got->exc_vector,
			 got->exc_error, got->exc_cr2, want->exc_vector, want->exc_error, want->exc_cr2);
		return text;
	}
	for (uint32_t i = 0; i < sizeof(want->stack); i++) /* what lies below ESP is nobody's */
		if (here(base + i) >= want->gpr[REG_SP] && want->stack[i] != got->stack[i]) {
			snprintf(text, sizeof(text), "the byte at %#x is %#x, not %#x", here(base + i),
				 got->stack[i], want->stack[i]);
			return text;
		}
	return NULL;
}

/* The vCPU stands at a boundary: it must be one of those expected. Returns it. */
static const struct moment *at_boundary(const struct moment *got)
{
	const char *why = "no instruction starts there";

	for (unsigned i = 0; i < n_expected; i++) {
		if (expected[i].eip != got->eip ||
		    (expected[i].exc_vector == EXC_NONE) != (got->exc_vector == EXC_NONE))
			continue;
		why = differs(&expected[i], got);
		if (!why)
			return &expected[i];
	}
	native_fail(__FILE__, __LINE__, "%s: at %#x (exception %u): %s", told, got->eip, got->exc_vector,
		    why);
}

/* The handler was entered: look through its frame at the state that was interrupted, and return from it. */
static void interrupted(void)
{
	uint32_t at = cpu->gpr[REG_SP] - (run.paging ? LINK : 0);
	struct moment m = now();
	const struct moment *then;

	m.eip = peek32(at);
	m.eflags = peek32(at + 8);
	m.gpr[REG_SP] += 12;
	then = at_boundary(&m);
	if (!(then->eflags & FL_IF) || then->shadow)
		native_fail(__FILE__, __LINE__, "%s: interrupted at %#x with IF %u, shadow %u", told,
			    then->eip, !!(then->eflags & FL_IF), then->shadow);
	CHECK_EQ(peek32(at + 4), K_CS);
	run_pass(vm); /* IRET */
	m = now();
	CHECK(at_boundary(&m)->eip == then->eip);
}

static void post_event(void)
{
	if (run.event == EVENT_NONE)
		return;
	vm_vcpu_page(vm)->pending = FL_IF;
	if (run.event == EVENT_INTERRUPT)
		native_interrupt();
}

/* From wherever the vCPU is to an exception, through the main loop. */
static void finish(void)
{
	unsigned passes = 0;
	struct moment m;

	for (;;) {
		CHECK_EQ(atomic_load(&vm->shared.stop), STOP_NONE);
		if (!vm->vmm->resume_raw) {
			if (cpu->eip == here(HANDLER))
				interrupted();
			m = now();
			at_boundary(&m);
			if (cpu->exc_vector != EXC_NONE)
				return;
			if (!machine_intr(&vm->machine))
				cpu->halted = 0;
		}
		if (passes++ == 200)
			native_fail(__FILE__, __LINE__, "%s: hangs at %#x, raw %#x", told, cpu->eip,
				    vm->vmm->world.eip);
		run_pass(vm);
	}
}

/* Enter as run.c does, but at `raw` and without its decision. */
static bool enter(uint32_t raw)
{
	struct world *w = &vm->vmm->world;

	if ((run.paging ? raw : raw + LINK) < HOLE && !shadow_executable(vm, gva(raw)))
		shadow_fault(vm, gva(raw), ACCESS_FETCH);
	run_prepare(vm);
	w->iret.rip = w->eip = raw;
	world_clear_kick();
	world_fpu_restore();
	world_run();
	return run_collect(vm);
}

/* The byte at raw, as the monitor writes it. */
static uint8_t *code_byte(uint32_t raw)
{
	if (!run.paging)
		raw += LINK;
	if (raw >= HOLE)
		return (uint8_t *)RAM_BASE + vm->cfg.stubs_off + (raw - HOLE - ABI_STUBS);
	return ram(raw - LINK);
}

static bool uninterrupted; /* went on behind a landing pad without a look at what is pending */

/* Came the run to an exit that lies before `raw`, and can it go on? Pages touched first, and landing pads. */
static bool on_the_way(uint32_t raw, bool changed, uint32_t *again)
{
	struct world *w = &vm->vmm->world;
	unsigned access = w->error & 2 ? ACCESS_WRITE : 0;

	*again = w->eip;
	if (w->reason == WORLD_SIGNAL && w->trapno == EXC_PF && w->eip != raw) {
		if (shadow_fault(vm, gva((uint32_t)w->fault_address), access) == SHADOW_MAPPED)
			return true;
		cpu->exc_vector = EXC_NONE; /* run_exit() is to find that out */
		return false;
	}
	if (w->reason != WORLD_PAD || raw < HOLE - LINK)
		return false;
	run_exit(vm, changed);
	*again = vm->vmm->resume_hint;
	vm->vmm->resume_hint = 0;
	if (cpu->exc_vector != EXC_NONE || (cpu->eflags & FL_TF) || !*again ||
	    vm->vmm->resume_eip != cpu->eip) {
		w->reason = 0xff;
		return false;
	}
	cpu->shadow = 0; /* the instruction that nothing may come before runs now */
	uninterrupted = true;
	return true;
}

/* Run to `raw` and make the exit there; false if control does not come by. */
static bool stop_at(uint32_t raw)
{
	struct world *w = &vm->vmm->world;
	uint8_t *at = code_byte(raw), byte = *at;
	bool changed, there;
	uint32_t again;

	*at = 0xf4;
	changed = enter(here(run.place->start));
	while (on_the_way(raw, changed, &again))
		changed = enter(again);
	*at = byte;
	there = w->reason == WORLD_SIGNAL && w->trapno == EXC_GP && w->eip == raw;
	if (!there) {
		if (w->reason != 0xff)
			run_exit(vm, changed);
		return false;
	}
	w->reason = WORLD_KICK;
	switch (run.stop) {
	case STOP_KICK:
		if (!run.early)
			post_event();
		run_exit(vm, changed);
		break;
	case STOP_LOSE_PAGES: /* no exit that anybody sees; what is touched next faults */
		shadow_flush(vm);
		run_exit(vm, enter(raw));
		break;
	case STOP_UNMAP:
		run_exit(vm, changed);
		break;
	case STOP_NOT:
		break;
	}
	return true;
}

static uint8_t reached[ARRAY_LEN(img.points)];

static void run_to(uint32_t raw, size_t point)
{
	bool stopped;

	snprintf(told, sizeof(told), "%s, paging %d, IF %d, event %d%s, stop %d at %#x", run.form->name,
		 run.paging, !!(run.eflags & FL_IF), run.event, run.early ? " early" : "", run.stop, raw);
	begin();
	stack_pages();
	uninterrupted = false;
	if (run.early)
		post_event();
	stopped = stop_at(raw);
	if (stopped && point < ARRAY_LEN(reached))
		reached[point] = 1;
	finish();
	/* Whoever was kicked, or turned IF on itself, has taken the interrupt by now. */
	if (machine_intr(&vm->machine) && (cpu->eflags & FL_IF) &&
	    (stopped || !(uninterrupted || run.eflags & FL_IF)))
		native_fail(__FILE__, __LINE__, "%s: the interrupt is lost", told);
}

/* Every place where the run of this form can be interrupted. */
static void run_everywhere(void)
{
	const struct place *p = run.place;

	run_to(here(p->start), ~(size_t)0);
	run_to(here(p->window), ~(size_t)0);
	run_to(here(p->behind), ~(size_t)0);
	for (size_t i = 0; i < img.lower.n_points; i++)
		if (img.points[i].stub - p->w->stub < p->w->stub_len)
			run_to(here(img.points[i].stub), i);
}

static void each_form(void (*body)(void))
{
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		run = (struct setup){
		    .form = &forms[i], .place = &places[i], .esp = STACK + 0x800, .paging = true};
		native_case = forms[i].name;
		body();
	}
}

static void prepare(void)
{
	lay_out();
	native_start();
	*(uint8_t *)ram(N_HANDLER) = 0xcf;
	set_idt(IRQ_VECTOR, make_gate(K_CS, HANDLER, A_INT32, 0));
}

static void set_paging(bool on)
{
	run.paging = on;
	native_paging(on);
	set_idt(IRQ_VECTOR, make_gate(K_CS, here(HANDLER), A_INT32, 0));
}

/* --- tests ------------------------------------------------------------------------------------------------- */

static const uint32_t flags_in[] = {0, FL_IF, FL_IF | FL_CF | FL_SF | FL_DF, FL_ZF | FL_OF | FL_PF | FL_AF};

static void straight(void)
{
	for (int paging = 1; paging >= !!(run.form->flags & F_CALL); paging--) {
		set_paging(paging);
		for (size_t f = 0; f < ARRAY_LEN(flags_in); f++) {
			run.eflags = flags_in[f];
			expect();
			begin();
			snprintf(told, sizeof(told), "straight through with flags %#x", run.eflags);
			finish();
		}
	}
}

NATIVE_TEST(stubs_do_what_handlers_do)
{
	uint64_t stubs;

	prepare();
	each_form(straight);
	stubs = vm->stats.exits[EXIT_STUB];
	CHECK(stubs > 0);
}

static void kicks(void)
{
	run.stop = STOP_KICK;
	for (int paging = 1; paging >= !!(run.form->flags & F_CALL); paging--) {
		set_paging(paging);
		for (size_t f = 0; f < ARRAY_LEN(flags_in); f++) {
			run.eflags = flags_in[f];
			run.event = EVENT_NONE;
			run.early = false;
			expect();
			run_everywhere();
			for (run.event = EVENT_SPURIOUS; run.event <= EVENT_INTERRUPT; run.event++)
				for (int early = 0; early < 2; early++) {
					run.early = early;
					run_everywhere();
				}
		}
	}
}

static bool reached_at(uint32_t stub)
{
	for (size_t i = 0; i < img.lower.n_points; i++)
		if (img.points[i].stub == stub)
			return reached[i];
	return false;
}

/* No one input takes every path: a form of the same bytes, with another input, may have come by. */
static bool reached_by_its_like(const struct manifest_point *p)
{
	size_t mine = 0;

	while (p->stub - places[mine].w->stub >= places[mine].w->stub_len)
		mine++;
	native_case = forms[mine].name;
	if (forms[mine].flags & F_DEAD_END && p->guest > places[mine].window + 5)
		return true;
	for (size_t i = 0; i < ARRAY_LEN(forms); i++)
		if (forms[i].len == forms[mine].len &&
		    !memcmp(forms[i].bytes, forms[mine].bytes, forms[i].len) &&
		    forms[i].flags == forms[mine].flags &&
		    reached_at(places[i].w->stub + (p->stub - places[mine].w->stub)))
			return true;
	return false;
}

NATIVE_TEST(a_kick_at_every_point)
{
	prepare();
	each_form(kicks);
	for (size_t i = 0; i < img.lower.n_points; i++)
		if (!reached[i] && !reached_by_its_like(&img.points[i]))
			native_fail(__FILE__, __LINE__, "no run came by %#x of %#x", img.points[i].stub,
				    img.points[i].guest);
}

static void lost_pages(void)
{
	run.stop = STOP_LOSE_PAGES;
	for (int paging = 1; paging >= !!(run.form->flags & F_CALL); paging--) {
		set_paging(paging);
		for (size_t f = 0; f < 2; f++) {
			run.eflags = flags_in[f];
			expect();
			run_everywhere();
		}
	}
}

NATIVE_TEST(pages_lost_at_every_point)
{
	prepare();
	each_form(lost_pages);
}

/* The stack as it must not be: absent before, behind or altogether, straddled, read-only. */
static void bad_stacks(void)
{
	static const struct {
		uint32_t esp, absent[2];
		bool read_only;
	} stacks[] = {
	    {STACK + 0x800, {STACK, 0}, false},
	    {STACK, {STACK - PAGE_SIZE, 0}, false},
	    {STACK, {STACK, 0}, false},
	    {STACK + 2, {STACK - PAGE_SIZE, 0}, false},
	    {STACK + 2, {STACK, 0}, false},
	    {STACK + 0xffe, {STACK + PAGE_SIZE, 0}, false},
	    {STACK + 0xffe, {STACK, 0}, false},
	    {STACK + 0x800, {0, 0}, true},
	    {STACK + 2, {STACK - PAGE_SIZE, STACK}, true},
	};

	for (size_t i = 0; i < ARRAY_LEN(stacks); i++)
		for (size_t f = 0; f < 2; f++) {
			run.eflags = flags_in[f];
			run.esp = stacks[i].esp;
			memcpy(run.absent, stacks[i].absent, sizeof(run.absent));
			run.read_only = stacks[i].read_only;
			run.stop = STOP_KICK;
			begin();
			stack_pages();
			shadow_flush(vm);
			gmem_forget(vm); /* as INVLPG would */
			expect();
			run_everywhere();
		}
}

NATIVE_TEST(faults_on_the_stack_at_every_point)
{
	prepare();
	each_form(bad_stacks);
}

static void trap_flag(void)
{
	run.eflags = FL_TF | FL_IF;
	expect();
	CHECK_EQ(expected[n_expected - 1].exc_vector, EXC_DB);
	snprintf(told, sizeof(told), "TF");
	begin();
	finish();
	CHECK_EQ(cpu->exc_vector, EXC_DB);
	CHECK_EQ(cpu->eip, run.place->window);
}

NATIVE_TEST(trap_flag_steps_the_guest)
{
	prepare();
	each_form(trap_flag);
}

/* Before paging is on a displaced call pushes an address where nothing is yet; its return must lead back. */
NATIVE_TEST(calls_return_before_paging)
{
	uint32_t call, behind, target;
	uint8_t window[] = {0xfa, 0xe8, 7, 0, 0, 0}; /* cli; call */

	call = text_window(window, sizeof(window), 0);
	behind = TEXT_CODE("\x43\x0f\x0b"); /* inc %ebx; ud2 */
	TEXT_CODE("\x90\x90\x90\x90");
	target = TEXT_CODE("\x42\xc3"); /* inc %edx; ret */
	CHECK_EQ(target, behind + 7);
	native_start();
	native_paging(false);
	cpu->gpr[REG_SP] = STACK - LINK + 0x800;
	cpu->eip = call - LINK;
	for (unsigned n = 0; cpu->exc_vector == EXC_NONE && n < 50; n++)
		run_pass(vm);
	CHECK_EQ(cpu->exc_vector, EXC_UD);
	CHECK_EQ(cpu->eip, behind + 1 - LINK);
	CHECK_EQ(cpu->gpr[REG_BX], 1);
	CHECK_EQ(cpu->gpr[REG_DX], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(stubs_do_what_handlers_do), cmocka_unit_test(a_kick_at_every_point),
	    cmocka_unit_test(pages_lost_at_every_point), cmocka_unit_test(faults_on_the_stack_at_every_point),
	    cmocka_unit_test(trap_flag_steps_the_guest), cmocka_unit_test(calls_return_before_paging),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
