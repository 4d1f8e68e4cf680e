// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Shadow segments: which host selector stands for a guest's segment, and what the host's LDT then says, read back from
 * the host; and user code that loads selectors or reaches for the kernel by itself.
 */
#include "tests/unit/native.h"

#include "monitor/vmm/paging.h"
#include "monitor/vmm/segment.h"
#include "monitor/vmm/worker.h"

#define USER 0x08000000u
enum { N_UPT = 0x30000, N_TOP_PT = 0x31000, N_UCODE = 0x500000 };

/* An LDT entry of this process as the processor has it; SDM 3A figure 3-8. */
static struct segment host_segment(uint16_t sel)
{
	uint32_t table[512 * 2];
	struct segment s = {.sel = sel};
	uint32_t lo, hi;

	CHECK_EQ(sel & 7, 7);
	memset(table, 0, sizeof(table));
	CHECK(syscall(SYS_modify_ldt, 0, table, sizeof(table)) >= 0);
	lo = table[(sel >> 3) * 2];
	hi = table[(sel >> 3) * 2 + 1];
	s.base = lo >> 16 | (hi & 0xff) << 16 | (hi & 0xff000000);
	s.limit = (lo & 0xffff) | (hi & 0xf0000);
	if (hi & ATTR_G)
		s.limit = s.limit << 12 | 0xfff;
	s.attr = hi & ATTR_MASK;
	return s;
}

static struct segment make(uint32_t base, uint32_t limit, uint8_t access, uint8_t flags)
{
	return segment_unpack(S_FREE | 3, make_desc(base, limit, access, flags));
}

/* The host has for `seg` what the guest asked for; rings, A and AVL apart. */
static void stands_for(enum seg seg, const struct segment *want)
{
	struct segment got = host_segment(vm->vmm->hw_sel[seg]);
	uint32_t mask = ATTR_DB | ATTR_P | BIT(11) | BIT(9) | (want->attr & BIT(11) ? 0 : BIT(10));

	CHECK_EQ(got.base, want->base);
	CHECK_EQ(got.limit, want->limit);
	CHECK_EQ(got.attr & mask, want->attr & mask);
	CHECK_EQ(got.attr & (ATTR_DPL | ATTR_S), ATTR_DPL | ATTR_S);
}

NATIVE_TEST(kinds_of_segments)
{
	const struct segment kinds[] = {
	    make(0x1000, 0xfffff, A_DATA | A_USER, 0xc),   make(0xb7f01234, 0xfffff, A_DATA | A_USER, 0xc),
	    make(0, 0x67, A_DATA | A_USER, 0x4),	   make(0, 0xfffff, A_DATA | A_USER, 0x4),
	    make(0x123, 0xffff, A_DATA_R | A_USER, 0),	   make(0x50000, 0xfff, A_DOWN | A_USER, 0x4),
	    make(0x50000, 0xfff, A_DOWN | A_USER, 0xc),	   make(0x2000, 0xffff, A_CODE | A_USER, 0x4),
	    make(0x2000, 0x1ffff, A_CODE_X | A_USER, 0xc), make(0xffffffff, 0, A_DATA | A_USER, 0x4),
	};

	native_start();
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		cpu->seg[SEG_GS] = kinds[i];
		shadow_seg_enter(vm);
		CHECK_EQ(vm->vmm->world.gs, vm->vmm->hw_sel[SEG_GS]);
		stands_for(SEG_GS, &kinds[i]);
	}
	cpu->seg[SEG_GS] = (struct segment){.sel = 3};
	shadow_seg_enter(vm);
	CHECK_EQ(vm->vmm->world.gs, 0);
	cpu->seg[SEG_GS] = make(0, 0xfffff, A_DATA & 0x7f, 0xc);
	shadow_seg_enter(vm);
	CHECK_EQ(vm->vmm->world.gs, 0);
}

/* At CPL 0 the host's own flat ones; at CPL 3 they end below the guest kernel. Based ones keep their limit. */
NATIVE_TEST(flat_segments_by_ring)
{
	struct segment below = make(0, (LINK >> 12) - 1, A_DATA | A_USER, 0xc);
	struct segment code = make(0, (LINK >> 12) - 1, A_CODE | A_USER, 0xc);
	struct segment tls = make(0x1234000, 0xfffff, A_DATA | A_USER, 0xc);

	native_start();
	for (unsigned n = 0; n < 2; n++) {
		native_segments();
		cpu->seg[SEG_GS] = tls;
		shadow_seg_enter(vm);
		CHECK_EQ(vm->vmm->world.cs, ABI_HOST_CS32);
		CHECK_EQ(vm->vmm->world.ss, ABI_HOST_DS);
		CHECK_EQ(vm->vmm->world.ds, ABI_HOST_DS);
		stands_for(SEG_GS, &tls);
		guest_user();
		cpu->seg[SEG_GS] = tls;
		shadow_seg_enter(vm);
		stands_for(SEG_CS, &code);
		stands_for(SEG_SS, &below);
		stands_for(SEG_DS, &below);
		stands_for(SEG_ES, &below);
		stands_for(SEG_GS, &tls);
		CHECK(shadow_seg_truncates(vm));
	}
	CHECK_EQ(vm->stats.host_ldt, 3); /* the second round found all of them */
}

NATIVE_TEST(the_cache_goes_by_content)
{
	struct segment a = make(0x1000, 0xfffff, A_DATA | A_USER, 0xc),
		       b = make(0x2000, 0xfffff, A_DATA | A_USER, 0xc);

	native_start();
	for (unsigned n = 0; n < 10; n++) {
		cpu->seg[SEG_GS] = n & 1 ? b : a;
		cpu->seg[SEG_GS].sel = (uint16_t)(S_FREE | n % 3); /* the selector is nothing to it */
		shadow_seg_enter(vm);
		stands_for(SEG_GS, n & 1 ? &b : &a);
	}
	CHECK_EQ(vm->stats.host_ldt, 2);
	shadow_seg_enter(vm);
	CHECK_EQ(vm->stats.host_ldt, 2);
	/* Another worker has another LDT. */
	worker_set_self(1);
	vm->vmm->hw_valid = 0;
	shadow_seg_enter(vm);
	CHECK_EQ(vm->stats.host_ldt, 3);
}

/* User code reads its selectors back: their indices must be the guest's (glibc: TLS entry = %gs >> 3). */
NATIVE_TEST(user_selectors_keep_their_index)
{
	struct segment a = make(0x1000, 0xfffff, A_DATA | A_USER, 0xc),
		       b = make(0x2000, 0xfffff, A_DATA | A_USER, 0xc);

	native_start();
	guest_user();
	for (unsigned n = 0; n < 10; n++) {
		cpu->seg[SEG_GS] = n & 1 ? b : a;
		shadow_seg_enter(vm);
		CHECK_EQ(vm->vmm->world.gs >> 3, S_FREE >> 3);
		CHECK_EQ(vm->vmm->world.ds >> 3, U_DS >> 3);
		stands_for(SEG_GS, n & 1 ? &b : &a);
		vm->vmm->hw_valid = n & 2;
	}
	/* Two contents under one selector: whichever came first has the index, neither is wrong. */
	cpu->seg[SEG_FS] = a;
	cpu->seg[SEG_GS] = b;
	for (unsigned n = 0; n < 4; n++) {
		shadow_seg_enter(vm);
		stands_for(SEG_FS, &a);
		stands_for(SEG_GS, &b);
		vm->vmm->hw_valid = n & 1;
	}
	/* A copy of a shadow selector is a copy of what it stands for. */
	vm->vmm->world.es = vm->vmm->hw_sel[SEG_FS];
	CHECK(shadow_seg_leave(vm));
	CHECK_EQ(cpu->seg[SEG_ES].base, a.base);
	CHECK_EQ(cpu->seg[SEG_ES].sel, a.sel);
}

/* More descriptors than slots, while one register keeps an old one. */
NATIVE_TEST(the_cache_overflows)
{
	struct segment old = make(0xabc000, 0xfffff, A_DATA | A_USER, 0xc);

	native_start();
	cpu->seg[SEG_FS] = old;
	for (uint32_t n = 0; n < 3 * LDT_SLOTS; n++) {
		cpu->seg[SEG_GS] = make(0x1000 * n, 0xfffff, A_DATA | A_USER, 0xc);
		if (n == 0)
			continue; /* flat */
		shadow_seg_enter(vm);
		stands_for(SEG_GS, &cpu->seg[SEG_GS]);
		stands_for(SEG_FS, &old);
	}
	/* A slot that came to hold something else is installed anew where it was known. */
	cpu->seg[SEG_GS] = make(0x1000, 0xfffff, A_DATA | A_USER, 0xc);
	shadow_seg_enter(vm);
	stands_for(SEG_GS, &cpu->seg[SEG_GS]);
	CHECK_EQ(atomic_load(&vm->shared.stop), STOP_NONE);
}

NATIVE_TEST(selectors_that_the_guest_loaded_itself)
{
	struct segment want;

	native_start();
	guest_user();
	set_desc(S_TSS2, make_desc(0x777000, 0xfffff, A_DATA | A_USER, 0xc));
	want = segment_unpack(S_TSS2 | 3, get_desc(S_TSS2));
	shadow_seg_enter(vm);
	CHECK(!shadow_seg_leave(vm)); /* nothing changed */
	vm->vmm->world.gs = S_TSS2 | 3;
	CHECK(shadow_seg_leave(vm));
	CHECK_EQ(cpu->seg[SEG_GS].sel, S_TSS2 | 3);
	CHECK_EQ(cpu->seg[SEG_GS].base, 0x777000);
	CHECK_EQ(cpu->exc_vector, EXC_NONE);
	shadow_seg_enter(vm);
	stands_for(SEG_GS, &want);
	CHECK(!shadow_seg_leave(vm));
	/* Not in the table, a system descriptor, not present, null: nothing to use. */
	for (unsigned i = 0; i < 4; i++) {
		static const uint16_t useless[] = {0xfff8, S_TSS, S_ABSENT, 0x2};

		vm->vmm->world.fs = useless[i];
		CHECK(shadow_seg_leave(vm));
		CHECK_EQ(cpu->seg[SEG_FS].sel, useless[i]);
		CHECK_EQ(cpu->seg[SEG_FS].attr & ATTR_P, 0);
		CHECK_EQ(cpu->exc_vector, EXC_NONE);
		shadow_seg_enter(vm);
		CHECK_EQ(vm->vmm->world.fs, 0);
	}
	/* CS changes by transfers only. */
	vm->vmm->world.cs = 0x23;
	CHECK(!shadow_seg_leave(vm));
}

/* --- user code on the CPU ------------------------------------------------------------------------------------ */

static bool top_page; /* is the one below the kernel present? */

static void user_code(const void *bytes, size_t n)
{
	native_start();
	poke32(N_PD + (USER >> 20), N_UPT | 0x67);
	for (uint32_t i = 0; i < 16; i++)
		poke32(N_UPT + i * 4, (N_UCODE + i * PAGE_SIZE) | 0x67);
	poke32(N_PD + (0xbfc00000 >> 20), N_TOP_PT | 0x67);
	poke32(N_TOP_PT + 1023 * 4, top_page ? (N_UCODE + 0xf000) | 0x67 : 0);
	memcpy(ram(N_UCODE), bytes, n);
	guest_user();
	cpu->gpr[REG_SP] = USER + 0x8000;
	cpu->eip = USER;
	for (unsigned passes = 0; cpu->exc_vector == EXC_NONE && passes < 50; passes++)
		run_pass(vm);
}
#define USER_CODE(s) user_code(s, sizeof(s) - 1)

/* What our limit stops hardware would have let through to the page tables. */
NATIVE_TEST(truncation_shows_as_a_page_fault)
{
	USER_CODE("\x43\x8b\x0d\x10\x00\x20\xc0"); /* inc %ebx; mov 0xc0200010, %ecx */
	CHECK_EQ(cpu->exc_vector, EXC_PF);
	CHECK_EQ(cpu->exc_error, PF_P | PF_U);
	CHECK_EQ(cpu->exc_cr2, 0xc0200010);
	CHECK_EQ(cpu->eip, USER + 1);
	CHECK_EQ(cpu->gpr[REG_BX], 1);
}

NATIVE_TEST(truncated_writes_and_the_stack)
{
	USER_CODE("\xbc\x10\x00\x20\xc0\x50"); /* mov $0xc0200010, %esp; push %eax */
	CHECK_EQ(cpu->exc_vector, EXC_PF);
	CHECK_EQ(cpu->exc_error, PF_P | PF_U | PF_W);
	CHECK_EQ(cpu->exc_cr2, 0xc020000c);
	CHECK_EQ(cpu->eip, USER + 5);
	CHECK_EQ(cpu->gpr[REG_SP], 0xc0200010);
}

NATIVE_TEST(truncated_pop)
{
	USER_CODE("\xbc\x00\x00\x00\xc0\x58"); /* mov $0xc0000000, %esp; pop %eax */
	CHECK_EQ(cpu->exc_vector, EXC_PF);
	CHECK_EQ(cpu->exc_error, PF_P | PF_U);
	CHECK_EQ(cpu->exc_cr2, 0xc0000000);
	CHECK_EQ(cpu->eip, USER + 5);
}

NATIVE_TEST(absent_before_the_limit)
{
	USER_CODE("\x43\x8b\x0d\xfe\xff\xff\xbf"); /* mov 0xbffffffe, %ecx */
	CHECK_EQ(cpu->exc_vector, EXC_PF);
	CHECK_EQ(cpu->exc_error, PF_U);
	CHECK_EQ(cpu->exc_cr2, 0xbffffffe);
}

/* The first byte that is out of reach lies in the middle of the operand. */
NATIVE_TEST(truncated_in_the_middle)
{
	top_page = true;
	USER_CODE("\x43\x8b\x0d\xfe\xff\xff\xbf"); /* mov 0xbffffffe, %ecx */
	CHECK_EQ(cpu->exc_vector, EXC_PF);
	CHECK_EQ(cpu->exc_error, PF_P | PF_U);
	CHECK_EQ(cpu->exc_cr2, 0xc0000000);
	CHECK_EQ(cpu->eip, USER + 1);
}

NATIVE_TEST(truncated_string_operands)
{
	USER_CODE("\xbe\x00\x00\x00\x08\xbf\x00\x00\x20\xc0\xa5"); /* movsl from USER to 0xc0200000 */
	CHECK_EQ(cpu->exc_vector, EXC_PF);
	CHECK_EQ(cpu->exc_error, PF_P | PF_U | PF_W);
	CHECK_EQ(cpu->exc_cr2, 0xc0200000);
	CHECK_EQ(cpu->eip, USER + 10);
}

NATIVE_TEST(jumps_into_the_kernel)
{
	USER_CODE("\xb8\x00\x00\x10\xc0\xff\xe0"); /* mov $0xc0100000, %eax; jmp *%eax */
	CHECK_EQ(cpu->exc_vector, EXC_PF);
	CHECK_EQ(cpu->exc_error, PF_P | PF_U);
	CHECK_EQ(cpu->exc_cr2, 0xc0100000);
	CHECK_EQ(cpu->eip, 0xc0100000);
}

/* glibc's mov $0x33, %gs: the host has a segment of its own there. TLS offsets wrap below the base. */
static void raw_gs(uint16_t sel)
{
	uint8_t code[] = {
	    0xb8, (uint8_t)sel, 0,    0,    0,	  0x8e, 0xe8,		   /* mov $sel, %eax; mov %eax, %gs */
	    0x65, 0x8b,		0x1d, 0x10, 0,	  0,	0,		   /* mov %gs:0x10, %ebx */
	    0x65, 0x8b,		0x0d, 0xfc, 0xff, 0xff, 0xff, 0x0f, 0x0b}; /* mov %gs:-4, %ecx; ud2 */

	native_start();
	set_desc(sel, make_desc(USER + 0x3000, 0xfffff, A_DATA | A_USER, 0xc));
	poke32(N_UCODE + 0x3010, 0x1111);
	poke32(N_UCODE + 0x2ffc, 0x2222);
	poke32(N_PD + (USER >> 20), N_UPT | 0x67);
	for (uint32_t i = 0; i < 16; i++)
		poke32(N_UPT + i * 4, (N_UCODE + i * PAGE_SIZE) | 0x67);
	memcpy(ram(N_UCODE), code, sizeof(code));
	guest_user();
	cpu->gpr[REG_SP] = USER + 0x8000;
	cpu->eip = USER;
	for (unsigned passes = 0; cpu->exc_vector == EXC_NONE && passes < 50; passes++)
		run_pass(vm);
	CHECK_EQ(cpu->exc_vector, EXC_UD);
	CHECK_EQ(cpu->eip, USER + sizeof(code) - 2);
	CHECK_EQ(cpu->gpr[REG_BX], 0x1111);
	CHECK_EQ(cpu->gpr[REG_CX], 0x2222);
	CHECK_EQ(cpu->seg[SEG_GS].sel, sel);
}

NATIVE_TEST(raw_selector_of_the_hosts_code_segment)
{
	raw_gs(0x33);
}

NATIVE_TEST(raw_selector_of_the_hosts_cpu_number)
{
	raw_gs(0x7b);
}

NATIVE_TEST(raw_selector_that_the_host_has_not)
{
	raw_gs(0xcb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(kinds_of_segments),
	    cmocka_unit_test(flat_segments_by_ring),
	    cmocka_unit_test(the_cache_goes_by_content),
	    cmocka_unit_test(user_selectors_keep_their_index),
	    cmocka_unit_test(the_cache_overflows),
	    cmocka_unit_test(selectors_that_the_guest_loaded_itself),
	    cmocka_unit_test(truncation_shows_as_a_page_fault),
	    cmocka_unit_test(truncated_writes_and_the_stack),
	    cmocka_unit_test(truncated_pop),
	    cmocka_unit_test(absent_before_the_limit),
	    cmocka_unit_test(truncated_in_the_middle),
	    cmocka_unit_test(truncated_string_operands),
	    cmocka_unit_test(jumps_into_the_kernel),
	    cmocka_unit_test(raw_selector_of_the_hosts_code_segment),
	    cmocka_unit_test(raw_selector_of_the_hosts_cpu_number),
	    cmocka_unit_test(raw_selector_that_the_host_has_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
