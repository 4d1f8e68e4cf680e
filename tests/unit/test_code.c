// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Code pages: what the guest may rewrite and still run directly, what sends the page elsewhere, and the maps between
 * guest addresses and stubs. The guest's writes go through its own mappings, so that what is demoted and protected
 * is seen where it counts: in the protection of the host's pages.
 */
#include "tests/unit/native.h"

#include "monitor/vmm/online.h"

#define PFN (N_TEXT >> PAGE_SHIFT)
#define NOP5 "\x0f\x1f\x44\x00\x00"

static uint32_t page0, window, inner, behind_sti, target, nops, call, popf_room, tail;

/* Page 0 has a window over `cli; inc %ebx; sti; inc %esi; nop`, the others are NOPs. */
static void lay_out(void)
{
	page0 = TEXT_CODE("\x40\x40");
	window = TEXT_WINDOW("\xfa\x43\xfb\x46\x90", 0);
	inner = window + 1;
	behind_sti = window + 3;
	target = TEXT_CODE("\x42\x42");
	nops = TEXT_CODE("\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90");
	call = TEXT_CODE("\xe8\x00\x00\x00\x00");
	popf_room = TEXT_CODE("\xb8\x01\x02\x03\x04\x90\x90"); /* mov $0x04030201, %eax */
	tail = TEXT_CODE("\x0f\x0b");
	while (img.at < TEXT + sizeof(img.text))
		TEXT_CODE("\x90");
}

static void start(void)
{
	lay_out();
	native_start();
}

/* The guest fetches at `at`: does the page run directly now? */
static bool runs(uint32_t at)
{
	enum shadow_result r = shadow_fault(vm, gva(at), ACCESS_FETCH);

	CHECK(r == SHADOW_MAPPED || r == SHADOW_UNVERIFIED);
	CHECK_EQ(code_verified(vm, gva(at), gpa((at - LINK) & PAGE_MASK)), r == SHADOW_MAPPED);
	if (protection(at) != -1)
		CHECK_EQ(protection(at), PROT_READ | (r == SHADOW_MAPPED ? PROT_EXEC : 0));
	return r == SHADOW_MAPPED;
}

/* The guest writes, through its own mapping; it faults first if that is not writable. */
static void writes(uint32_t at, const void *bytes, size_t n)
{
	CHECK_EQ(shadow_fault(vm, gva(at), ACCESS_WRITE), SHADOW_MAPPED);
	CHECK_EQ(protection(at), PROT_READ | PROT_WRITE);
	memcpy((void *)(uintptr_t)at, bytes, n);
}
#define WRITES(at, s) writes(at, s, sizeof(s) - 1)

static void jump(uint32_t at, uint32_t to)
{
	uint8_t b[5] = {0xe9};
	uint32_t distance = to - (at + 5);

	memcpy(b + 1, &distance, 4);
	writes(at, b, 5);
}

/* --- rewriting that goes on running ------------------------------------------------------------------------ */

NATIVE_TEST(a_write_demotes_and_execution_verifies_again)
{
	start();
	CHECK(runs(page0));
	CHECK(code_protected(vm, PFN));
	CHECK_EQ(vm->stats.pages_demoted, 0);
	WRITES(nops, NOP5);
	CHECK_EQ(vm->stats.pages_demoted, 1);
	CHECK(!code_protected(vm, PFN));
	CHECK(!code_verified(vm, gva(TEXT), gpa(TEXT - LINK)));
	CHECK(!shadow_executable(vm, gva(TEXT)));
	CHECK(runs(page0));
	CHECK_EQ(vm->stats.pages_reverified, 1);
	CHECK_EQ(vm->stats.pages_refused, 0);
	/* Other pages of the text stayed as they were. */
	CHECK(code_protected(vm, PFN + 1));
}

NATIVE_TEST(ftrace_and_jump_labels)
{
	start();
	CHECK(runs(page0));
	WRITES(call, NOP5); /* ftrace_init */
	CHECK(runs(page0));
	WRITES(call, "\xe8\x10\x00\x00\x00"); /* tracing goes on */
	CHECK(runs(page0));
	for (unsigned n = 0; n < 3; n++) {
		WRITES(nops, NOP5);
		CHECK(runs(page0));
		jump(nops, target);
		CHECK(runs(page0));
		WRITES(nops, "\xeb\x05\x90\x90\x90");
		CHECK(runs(page0));
		WRITES(nops, "\x90\x90\x90\x90\x90");
		CHECK(runs(page0));
	}
	jump(nops, window);
	CHECK(runs(page0));
	CHECK_EQ(vm->stats.pages_refused, 0);
}

/* The three writes of text_poke_bp(): INT3, the tail, the first byte. */
NATIVE_TEST(text_poke_by_way_of_int3)
{
	start();
	WRITES(nops, NOP5);
	CHECK(runs(page0));
	WRITES(nops, "\xcc");
	CHECK(runs(page0));
	WRITES(nops + 1, "\x05\x00\x00\x00");
	CHECK(runs(page0));
	WRITES(nops, "\xe9");
	CHECK(runs(page0));
	CHECK_EQ(vm->stats.pages_refused, 0);
}

/* An alternative whose instructions start elsewhere; then bytes that would be sensitive at the old starts. */
NATIVE_TEST(instruction_starts_follow_the_rewriting)
{
	start();
	CHECK(runs(page0));
	WRITES(nops, "\xb8\x9d\x9d\x9d\x9d"); /* mov $..., %eax with POPF in the immediate */
	CHECK(runs(page0));
	CHECK_EQ(vm->vmm->code.n_online, 0);
	WRITES(nops + 1, "\x9c\x9c"); /* the immediate alone changes */
	CHECK(runs(page0));
	CHECK_EQ(vm->vmm->code.n_online, 0);
	WRITES(nops, "\x90"); /* and now they are instructions */
	CHECK(runs(page0));
	CHECK(vm->vmm->code.n_online >= 4);
}

/* --- sensitive instructions that come in ------------------------------------------------------------------- */

NATIVE_TEST(a_popf_written_into_the_text_is_covered)
{
	uint8_t bytes[2] = {0, 0};

	start();
	CHECK(runs(page0));
	WRITES(popf_room + 5, "\x9d");
	CHECK(runs(page0));
	CHECK_EQ(*(uint8_t *)ram(popf_room + 5 - LINK), 0xcc); /* it would not trap: INT3 does */
	CHECK(code_online(vm, popf_room + 5));
	CHECK(!code_online(vm, popf_room + 6));
	memcpy(bytes, ram(popf_room + 5 - LINK), 2);
	code_original(vm, popf_room + 5, bytes, 2);
	CHECK_EQ(bytes[0], 0x9d);
	CHECK_EQ(bytes[1], 0x90);

	/* It does what POPF does, IF included. */
	cpu->eip = popf_room;
	poke32(N_STACK + 0x800, FL_IF | FL_CF | FL_FIXED);
	for (unsigned n = 0; cpu->exc_vector == EXC_NONE && n < 20; n++)
		run_pass(vm);
	CHECK_EQ(cpu->exc_vector, EXC_UD);
	CHECK_EQ(cpu->eip, tail);
	CHECK_EQ(cpu->eflags, FL_IF | FL_CF | FL_FIXED);
	CHECK(vm->stats.exits[EXIT_BREAKPOINT] > 0);
	cpu->exc_vector = EXC_NONE;

	/* Before the guest writes to the page again it finds its own byte. */
	WRITES(popf_room + 6, "\x90");
	CHECK_EQ(*(uint8_t *)ram(popf_room + 5 - LINK), 0x9d);
	CHECK(!code_online(vm, popf_room + 5));
	CHECK(runs(page0));
	CHECK_EQ(*(uint8_t *)ram(popf_room + 5 - LINK), 0xcc);
	WRITES(popf_room + 5, "\x90");
	CHECK(runs(page0));
	CHECK_EQ(*(uint8_t *)ram(popf_room + 5 - LINK), 0x90);
	CHECK_EQ(vm->vmm->code.n_online, 0);
}

NATIVE_TEST(privileged_instructions_may_come_in)
{
	start();
	WRITES(nops, "\xfa\xfb\xf4"); /* they trap by themselves */
	CHECK(runs(page0));
	CHECK_EQ(vm->vmm->code.n_online, 0);
}

/* --- what is refused --------------------------------------------------------------------------------------- */

static void refused_until_undone(uint32_t at, const void *bytes, size_t n)
{
	uint8_t before[16];

	CHECK(runs(page0));
	memcpy(before, ram(at - LINK), n);
	writes(at, bytes, n);
	CHECK(!runs(page0));
	CHECK(code_protected(vm, PFN)); /* what was refused must not change unseen either */
	CHECK(!runs(page0));
	CHECK_EQ(vm->stats.pages_refused, 1);
	CHECK_EQ(vm->vmm->code.n_online, 0);
	writes(at, before, n);
	CHECK(runs(page0));
	CHECK_EQ(vm->stats.pages_refused, 1);
}

/* Each byte of the window, its first included, by something else than INT3 and by INT3 (a kprobe's). */
NATIVE_TEST(a_window_byte_overwritten)
{
	start();
	for (uint32_t n = 0; n < 5; n++) {
		vm->stats.pages_refused = 0;
		refused_until_undone(window + n, "\x40", 1);
		vm->stats.pages_refused = 0;
		if (*(uint8_t *)ram(window + n - LINK) != 0xcc)
			refused_until_undone(window + n, "\xcc", 1);
	}
}

NATIVE_TEST(a_branch_into_a_window)
{
	start();
	for (uint32_t n = 1; n < 5; n++) {
		uint8_t jmp[2] = {0xeb, (uint8_t)(window + n - (nops + 2))};
		uint8_t far[5] = {0xe8};
		uint32_t distance = window + n - (nops + 5);

		vm->stats.pages_refused = 0;
		refused_until_undone(nops, jmp, 2);
		jmp[0] = 0x74;
		vm->stats.pages_refused = 0;
		refused_until_undone(nops, jmp, 2);
		memcpy(far + 1, &distance, 4);
		vm->stats.pages_refused = 0;
		refused_until_undone(nops, far, 5);
	}
}

NATIVE_TEST(bytes_that_do_not_decode)
{
	start();
	refused_until_undone(nops, "\xff\xff\xff\xff", 4);
}

/* The padding that a hop's short jump leads to is part of the window in all but address. */
NATIVE_TEST(a_hop_overwritten)
{
	struct manifest_window *w;
	uint32_t distance;

	page0 = TEXT_CODE("\x40");
	window = text_window("\x9c\x58\x90\x90\x90", 5, 0); /* pushf; pop %eax: makes the stub */
	nops = TEXT_CODE("\x90\x90\x90\x90\x90\x90\x90\x90");
	w = &img.windows[0];
	w->len = 2;
	w->hop = nops + 1;
	w->tactic = TACTIC_HOP;
	memset(img.originals + w->original + 2, 0x90, 5);
	memcpy(img.text + (window - TEXT), "\xeb\x00\x90\x90\x90", 5);
	img.text[window + 1 - TEXT] = (uint8_t)(w->hop - (window + 2));
	distance = w->stub - (w->hop + 5);
	img.text[w->hop - TEXT] = 0xe9;
	memcpy(img.text + (w->hop + 1 - TEXT), &distance, 4);
	while (img.at < TEXT + sizeof(img.text))
		TEXT_CODE("\x90");
	native_start();
	for (uint32_t n = 0; n < 5; n++) {
		vm->stats.pages_refused = 0;
		refused_until_undone(w->hop + n, "\x42", 1);
	}
	WRITES(w->hop + 5, "\x42"); /* behind it all is free */
	CHECK(runs(page0));
}

/* --- windows and the guest's own breakpoints ----------------------------------------------------------------- */

/* Page 0 with a window of eight bytes, so of jump and filling: `cli; mov $1, %eax; inc %ebx; inc %esi`. */
static void start_long_window(void)
{
	page0 = TEXT_CODE("\x40\x40");
	window = TEXT_WINDOW("\xfa\xb8\x01\x00\x00\x00\x43\x46", 0);
	tail = TEXT_CODE("\x0f\x0b");
	while (img.at < TEXT + sizeof(img.text))
		TEXT_CODE("\x90");
	native_start();
}

static void run_to_exception(uint32_t eip)
{
	cpu->eip = eip;
	cpu->exc_vector = EXC_NONE;
	for (unsigned n = 0; cpu->exc_vector == EXC_NONE && n < 30; n++)
		run_pass(vm);
}

/* What patching wrote where the guest has INT3 is INT3 as well: the guest's must not be taken for it. */
NATIVE_TEST(int3_on_the_filling_of_a_window)
{
	start_long_window();
	CHECK(runs(page0));
	CHECK_EQ(*(uint8_t *)ram(window + 6 - LINK), 0xcc);
	WRITES(window + 6, "\xcc"); /* over inc %ebx */
	CHECK(!memcmp(ram(window - LINK), "\xfa\xb8\x01\x00\x00\x00\xcc\x46", 8));
	CHECK(!runs(page0));
	run_to_exception(page0);
	CHECK_EQ(cpu->eip, 0x10000 + EXC_BP * 16); /* the handler, which is not mapped */
	CHECK_EQ(peek32(cpu->gpr[REG_SP] - LINK), window + 7);
	CHECK_EQ(cpu->gpr[REG_BX], 0);
	native_segments();
	WRITES(window + 6, "\x43");
	CHECK(runs(page0));
	CHECK_EQ(*(uint8_t *)ram(window - LINK), 0xe9);
	run_to_exception(page0);
	CHECK_EQ(cpu->exc_vector, EXC_UD);
	CHECK_EQ(cpu->eip, tail);
	CHECK_EQ(cpu->gpr[REG_BX], 1);
}

/* The guest puts its own jump over the window, by way of INT3, and takes it away again. */
NATIVE_TEST(a_jump_of_the_guests_over_a_window)
{
	uint8_t b[8];

	start_long_window();
	CHECK(runs(page0));
	WRITES(window, "\xcc");
	WRITES(window + 1, "\x03\x00\x00\x00"); /* to the UD2 */
	memcpy(b, ram(window - LINK), 8);
	code_original(vm, window, b, 8);
	CHECK(!memcmp(b, "\xcc\x03\x00\x00\x00\x00\x43\x46", 8));
	WRITES(window, "\xe9");
	CHECK(!runs(page0));
	run_to_exception(page0);
	CHECK_EQ(cpu->exc_vector, EXC_UD);
	CHECK_EQ(cpu->eip, tail);
	CHECK_EQ(cpu->gpr[REG_BX], 0);
}

/* A probe on the window saves the byte that it finds, ours, and writes it back. */
NATIVE_TEST(a_byte_of_ours_written_back)
{
	start_long_window();
	CHECK(runs(page0));
	WRITES(window, "\xcc");
	CHECK(!runs(page0));
	WRITES(window, "\xe9");
	CHECK(runs(page0));
	run_to_exception(page0);
	CHECK_EQ(cpu->exc_vector, EXC_UD);
	CHECK_EQ(cpu->eip, tail);
	CHECK_EQ(cpu->gpr[REG_BX], 1);
}

/* And while it is there it does what it read: it goes to the stub, by IRET. */
NATIVE_TEST(our_jump_followed_by_the_guest)
{
	start_long_window();
	WRITES(window, "\xcc");
	CHECK(!runs(page0));
	cpu->eflags |= FL_IF;
	run_to_exception(img.windows[0].stub);
	CHECK_EQ(cpu->exc_vector, EXC_UD);
	CHECK_EQ(cpu->eip, tail);
	CHECK_EQ(cpu->gpr[REG_BX], 1);
	CHECK_EQ(cpu->gpr[REG_AX], 1);
	CHECK_EQ(cpu->eflags & FL_IF, 0);
}

/* A window that reaches into the next page, written to on either. */
NATIVE_TEST(a_window_across_two_pages)
{
	while (img.at < TEXT + PAGE_SIZE - 3)
		TEXT_CODE("\x90");
	start_long_window();
	CHECK(window < TEXT + PAGE_SIZE && window + 8 > TEXT + PAGE_SIZE);
	page0 = TEXT;
	CHECK(runs(TEXT) && runs(TEXT + PAGE_SIZE));
	WRITES(TEXT, NOP5);
	CHECK(!memcmp(ram(window - LINK), "\xfa\xb8\x01\x00\x00\x00\x43\x46", 8));
	CHECK(!shadow_executable(vm, gva(TEXT + PAGE_SIZE))); /* the rest of the window stands there bare */
	CHECK(runs(TEXT));
	WRITES(TEXT + PAGE_SIZE + 64, NOP5);
	CHECK(!shadow_executable(vm, gva(TEXT)));
	CHECK(runs(TEXT + PAGE_SIZE));
	CHECK_EQ(*(uint8_t *)ram(window - LINK), 0xe9);
	WRITES(TEXT, "\x90");
	WRITES(TEXT + PAGE_SIZE + 64, "\x90");
	CHECK(runs(TEXT)); /* the other is looked at first */
	CHECK_EQ(*(uint8_t *)ram(window - LINK), 0xe9);
	run_to_exception(window);
	CHECK_EQ(cpu->exc_vector, EXC_UD);
	CHECK_EQ(cpu->eip, tail);
	CHECK_EQ(cpu->gpr[REG_BX], 1);
}

/* The next page is refused for what the guest wrote there: the window is lifted from both, and this one looked at again. */
NATIVE_TEST(a_window_across_pages_of_which_one_is_refused)
{
	while (img.at < TEXT + PAGE_SIZE - 3)
		TEXT_CODE("\x90");
	start_long_window();
	page0 = TEXT;
	CHECK(runs(TEXT) && runs(TEXT + PAGE_SIZE));
	WRITES(TEXT + PAGE_SIZE + 64, "\xff\xff\xff\xff");
	CHECK(!shadow_executable(vm, gva(TEXT)));
	CHECK(runs(TEXT)); /* the next one does not change unseen, so the window may be laid */
	CHECK_EQ(*(uint8_t *)ram(window - LINK), 0xe9);
	CHECK(!runs(TEXT + PAGE_SIZE));
	CHECK(shadow_executable(vm, gva(TEXT)));
	run_to_exception(window);
	CHECK_EQ(cpu->exc_vector, EXC_UD);
	CHECK_EQ(cpu->gpr[REG_BX], 1);
}

/* An instruction that would be covered ends on the next page, which may be written to: the page is translated instead. */
NATIVE_TEST(int3_covers_nothing_on_the_next_page)
{
	start();
	CHECK(runs(page0) && runs(TEXT + PAGE_SIZE));
	WRITES(TEXT + 2 * PAGE_SIZE, "\xc0");
	WRITES(TEXT + 2 * PAGE_SIZE - 1, "\x63"); /* arpl %ax, %ax */
	CHECK(!runs(TEXT + PAGE_SIZE));
	CHECK_EQ(vm->vmm->code.n_online, 0);
	CHECK(!memcmp(ram(TEXT + 2 * PAGE_SIZE - 1 - LINK), "\x63\xc0", 2));
}

/*
 * An optimized kprobe: a jump over the first five of six bytes. What is left of them looks like the start of ARPL, which
 * would be covered with the INC that follows and that the guest jumps to.
 */
NATIVE_TEST(remains_behind_a_jump_are_not_covered_with_the_code_behind_them)
{
	uint32_t probed = TEXT_CODE("\xc7\xc0\x01\x02\x03\x63"), behind = TEXT_CODE("\xc3\x43"), end = TEXT_CODE("\x0f\x0b");

	while (img.at < TEXT + sizeof(img.text))
		TEXT_CODE("\x90");
	native_start();
	page0 = TEXT;
	CHECK(runs(TEXT));
	jump(probed, end);
	CHECK(!runs(TEXT));
	CHECK_EQ(*(uint8_t *)ram(behind - LINK), 0xc3);
	CHECK_EQ(vm->vmm->code.n_online, 0);
	WRITES(probed + 5, "\x43"); /* remains that are nothing special */
	CHECK(runs(TEXT));
	WRITES(behind, "\xcc"); /* a probe where the code behind the jump starts: it is known still */
	CHECK(runs(TEXT));
	WRITES(behind, "\xc3");
	CHECK(runs(TEXT));
	CHECK_EQ(vm->vmm->code.n_online, 0);
	poke32(N_STACK + 0x800, behind + 1);
	run_to_exception(behind); /* RET to the INC */
	CHECK_EQ(cpu->exc_vector, EXC_UD);
	CHECK_EQ(cpu->eip, end);
	CHECK_EQ(cpu->gpr[REG_BX], 1);
}

/* --- other ways to be --------------------------------------------------------------------------------------- */

/* Code that writes to the page it runs on makes progress and sees what it wrote. */
NATIVE_TEST(code_that_writes_to_its_own_page)
{
	uint8_t store[] = {0xc6, 0x05, 0, 0, 0, 0, 0x43}; /* movb $0x43, at */
	uint32_t at = TEXT + 7, self = TEXT;

	memcpy(store + 2, &at, 4);
	text_code(store, sizeof(store));
	TEXT_CODE("\x42\x0f\x0b"); /* inc %edx, becomes inc %ebx; ud2 */
	while (img.at < TEXT + sizeof(img.text))
		TEXT_CODE("\x90");
	native_start();
	cpu->eip = self;
	for (unsigned n = 0; cpu->exc_vector == EXC_NONE && n < 20; n++)
		run_pass(vm);
	CHECK_EQ(cpu->exc_vector, EXC_UD);
	CHECK_EQ(cpu->gpr[REG_BX], 1);
	CHECK_EQ(cpu->gpr[REG_DX], 0);
}

NATIVE_TEST(idle_time_verifies_what_was_rewritten)
{
	unsigned passes = 0;

	start();
	for (uint32_t n = 1; n < N_TEXT_PAGES; n++)
		WRITES(TEXT + n * PAGE_SIZE, NOP5);
	WRITES(window + 1, "\x40"); /* page 0 is to be refused */
	CHECK_EQ(vm->stats.pages_demoted, N_TEXT_PAGES);
	while (code_idle(vm))
		CHECK(passes++ < 10);
	CHECK(passes > 0);
	for (uint32_t n = 0; n < N_TEXT_PAGES; n++)
		CHECK_EQ(vm->vmm->code.page[n].state, n ? CODE_VERIFIED : CODE_REFUSED);
	CHECK(!code_idle(vm));
}

/* "che" is ARPL: freed text may hold anything, and whoever reads it must find it as it is. */
NATIVE_TEST(what_is_verified_while_idle_is_not_covered_with_int3)
{
	start();
	CHECK(runs(page0));
	WRITES(nops, "che\x90\x90");
	while (code_idle(vm))
		;
	CHECK(!memcmp(ram(nops - LINK), "che", 3));
	CHECK(runs(page0)); /* executed it is code */
	CHECK_EQ(*(uint8_t *)ram(nops - LINK), 0xcc);
	CHECK(code_online(vm, nops));
}

NATIVE_TEST(text_at_a_wrong_address_does_not_run)
{
	start();
	CHECK(code_execute(vm, gva(TEXT), gpa(TEXT - LINK)));
	CHECK(!code_execute(vm, gva(TEXT + PAGE_SIZE), gpa(TEXT - LINK)));
	CHECK(!code_execute(vm, gva(0x08048000), gpa(TEXT - LINK)));
	CHECK(!code_execute(vm, gva(TEXT - LINK), gpa(TEXT - LINK))); /* the stubs are not there any more */
	CHECK(!code_execute(vm, gva(LINK + N_DATA), gpa(N_DATA)));    /* no text at all */
	native_paging(false);
	CHECK(code_execute(vm, gva(TEXT - LINK), gpa(TEXT - LINK)));
}

/* --- maps --------------------------------------------------------------------------------------------------- */

NATIVE_TEST(addresses_and_stubs)
{
	const struct manifest_window *w = &img.windows[0];
	uint32_t eip, stub;

	start();
	for (int paging = 1; paging >= 0; paging--) {
		uint32_t delta = paging ? 0 : LINK;

		native_paging(paging);
		for (eip = page0; eip < tail; eip++) {
			CHECK_EQ(code_in_window(vm, eip - delta), eip > window && eip < window + 5);
			stub = code_enter_address(vm, eip - delta);
			if (eip <= window || eip >= window + 5) {
				CHECK_EQ(stub, eip - delta);
				continue;
			}
			/* Every displaced instruction has its place in the stub, and that leads back. */
			CHECK(stub + delta - w->stub < w->stub_len);
			CHECK(code_point(vm, stub));
			CHECK_EQ(code_point(vm, stub)->state, POINT_BOUNDARY);
			CHECK_EQ(code_guest_address(vm, code_point(vm, stub)->guest, stub), eip - delta);
			CHECK_EQ(code_after_sti(vm, eip - delta), eip == behind_sti);
		}
		CHECK_EQ(code_site_at(vm, window - delta), 0);
		CHECK_EQ(code_site_at(vm, window + 2 - delta), 1);
		CHECK_EQ(code_site_at(vm, inner - delta), MANIFEST_NONE);
		CHECK_EQ(code_site_at(vm, 0x1234), MANIFEST_NONE);
		CHECK(!code_after_sti(vm, target - delta));
		CHECK(!code_point(vm, page0 - delta));
		CHECK(!code_point(vm, w->stub + 1 - delta));
		CHECK(!code_point(vm, HOLE + ABI_STUBS + N_STUBS_SIZE - delta));
	}
	CHECK_EQ(code_unlinked(vm, TEXT + 5), TEXT + 5 - LINK);
	CHECK_EQ(code_unlinked(vm, TEXT + 5 - LINK), TEXT + 5 - LINK);
	CHECK_EQ(code_unlinked(vm, LINK), LINK);
	native_paging(true);
	CHECK_EQ(code_unlinked(vm, TEXT + 5), TEXT + 5);
}

/* Any stretch of text, read back, is what the guest wrote there. */
NATIVE_TEST(original_bytes)
{
	static const uint8_t text[] = {0x40, 0x40, 0xfa, 0x43, 0xfb, 0x46, 0x90, 0x42, 0x42, 0x90};
	uint8_t b[sizeof(text)];

	start();
	for (uint32_t from = 0; from < sizeof(text); from++)
		for (uint32_t n = 1; n <= sizeof(text) - from; n++) {
			memcpy(b, ram(page0 + from - LINK), n);
			code_original(vm, page0 + from, b, n);
			CHECK(!memcmp(b, text + from, n));
		}
	native_paging(false);
	memcpy(b, ram(page0 - LINK), sizeof(b));
	code_original(vm, page0 - LINK, b, sizeof(b));
	CHECK(!memcmp(b, text, sizeof(b)));
	native_paging(true);
	/* What the guest writes over a window is its own; the rest of the window stays what it was to the guest. */
	WRITES(window + 2, "\x47");
	memcpy(b, ram(window - LINK), 5);
	code_original(vm, window, b, 5);
	CHECK(!memcmp(b, "\xfa\x43\x47\x46\x90", 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_write_demotes_and_execution_verifies_again),
	    cmocka_unit_test(ftrace_and_jump_labels),
	    cmocka_unit_test(text_poke_by_way_of_int3),
	    cmocka_unit_test(instruction_starts_follow_the_rewriting),
	    cmocka_unit_test(a_popf_written_into_the_text_is_covered),
	    cmocka_unit_test(privileged_instructions_may_come_in),
	    cmocka_unit_test(a_window_byte_overwritten),
	    cmocka_unit_test(a_branch_into_a_window),
	    cmocka_unit_test(bytes_that_do_not_decode),
	    cmocka_unit_test(a_hop_overwritten),
	    cmocka_unit_test(int3_on_the_filling_of_a_window),
	    cmocka_unit_test(a_jump_of_the_guests_over_a_window),
	    cmocka_unit_test(a_byte_of_ours_written_back),
	    cmocka_unit_test(our_jump_followed_by_the_guest),
	    cmocka_unit_test(a_window_across_two_pages),
	    cmocka_unit_test(a_window_across_pages_of_which_one_is_refused),
	    cmocka_unit_test(int3_covers_nothing_on_the_next_page),
	    cmocka_unit_test(remains_behind_a_jump_are_not_covered_with_the_code_behind_them),
	    cmocka_unit_test(code_that_writes_to_its_own_page),
	    cmocka_unit_test(idle_time_verifies_what_was_rewritten),
	    cmocka_unit_test(what_is_verified_while_idle_is_not_covered_with_int3),
	    cmocka_unit_test(text_at_a_wrong_address_does_not_run),
	    cmocka_unit_test(addresses_and_stubs),
	    cmocka_unit_test(original_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
