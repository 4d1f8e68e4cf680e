// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/unit/guest.h"

static void unpack(void **state)
{
	struct segment s = segment_unpack(0x5b, make_desc(0x12345678, 0xabcde, 0xf2, 0xc));

	(void)state;
	assert_int_equal(s.sel, 0x5b);
	assert_int_equal(s.base, 0x12345678);
	assert_int_equal(s.limit, 0xabcdefff);
	assert_int_equal(s.attr, 0x00c0f200);
	assert_int_equal(segment_unpack(0, make_desc(0, 0xabcde, 0xf2, 4)).limit, 0xabcde);
}

static void covers(void **state)
{
	struct segment up = segment_unpack(0, make_desc(0, 0xff, A_DATA, 4));
	struct segment down32 = segment_unpack(0, make_desc(0, 0xff, A_DOWN, 4));
	struct segment down16 = segment_unpack(0, make_desc(0, 0xff, A_DOWN, 0));
	struct segment flat = segment_unpack(0, make_desc(0, 0xfffff, A_DATA, 0xc));

	(void)state;
	assert_true(segment_covers(&up, 0xfc, 4));
	assert_false(segment_covers(&up, 0xfd, 4));
	assert_false(segment_covers(&down32, 0xff, 4));
	assert_true(segment_covers(&down32, 0x100, 4));
	assert_true(segment_covers(&down32, 0xfffffffc, 4));
	assert_true(segment_covers(&down16, 0xfffc, 4));
	assert_false(segment_covers(&down16, 0xfffd, 4));
	assert_true(segment_covers(&flat, 0xfffffffc, 4));
	assert_false(segment_covers(&flat, 0xfffffffd, 4));
}

static void load_data(void **state)
{
	(void)state;
	assert_int_equal(segment_load(vm, SEG_FS, K_DS), 0);
	assert_int_equal(cpu->seg[SEG_FS].sel, K_DS);
	assert_int_equal(cpu->seg[SEG_FS].limit, 0xffffffff);
	assert_true(get_desc(K_DS).hi & DT_ACCESSED);
	assert_int_equal(cpu->shadow, 0);
	/* null keeps its RPL bits and is not present */
	assert_int_equal(segment_load(vm, SEG_GS, 3), 0);
	assert_int_equal(cpu->seg[SEG_GS].sel, 3);
	assert_int_equal(cpu->seg[SEG_GS].attr, 0);
	assert_int_equal(segment_load(vm, SEG_ES, U_CS), 0); /* readable code */
	set_desc(S_FREE, make_desc(0, 0xfffff, A_CODE_X, 0xc));
	assert_raised(segment_load(vm, SEG_ES, S_FREE), EXC_GP, S_FREE);
	assert_raised(segment_load(vm, SEG_ES, S_TSS), EXC_GP, S_TSS);
	assert_raised(segment_load(vm, SEG_ES, GDT_LIMIT + 1), EXC_GP, GDT_LIMIT + 1);
	assert_raised(segment_load(vm, SEG_ES, S_ABSENT), EXC_NP, S_ABSENT);
	assert_raised(segment_load(vm, SEG_ES, K_DS | 1), EXC_GP, K_DS); /* RPL above DPL, at CPL 0 */
	assert_raised(segment_load(vm, SEG_CS, K_CS), EXC_UD, 0);
}

static void load_partly_beyond_limit(void **state)
{
	(void)state;
	cpu->gdtr.limit = U_DS | 7;
	assert_int_equal(segment_load(vm, SEG_ES, U_DS), 0);
	cpu->gdtr.limit--;
	assert_raised(segment_load(vm, SEG_ES, U_DS), EXC_GP, U_DS & ~3);
}

static void load_as_user(void **state)
{
	(void)state;
	guest_user();
	assert_raised(segment_load(vm, SEG_DS, K_DS), EXC_GP, K_DS);
	assert_int_equal(segment_load(vm, SEG_DS, S_CONF), 0); /* conforming: no privilege check */
	assert_int_equal(segment_load(vm, SEG_DS, U_DS & ~3), 0); /* RPL 0 is below CPL: fine */
	assert_raised(segment_load(vm, SEG_SS, U_DS & ~3), EXC_GP, U_DS & ~3);
}

static void load_ldt_segment(void **state)
{
	(void)state;
	set_desc(0x0c, make_desc(0x5000, 0xfff, A_DATA, 4));
	set_desc(0x04, make_desc(0x6000, 0xfff, A_DATA, 4));
	assert_int_equal(segment_load(vm, SEG_FS, 0x0c), 0);
	assert_int_equal(cpu->seg[SEG_FS].base, 0x5000);
	assert_int_equal(segment_load(vm, SEG_FS, 0x04), 0); /* index 0 of the LDT is not null */
	assert_raised(segment_load(vm, SEG_FS, 0x44), EXC_GP, 0x44);
	cpu->ldtr = (struct segment){0};
	assert_raised(segment_load(vm, SEG_FS, 0x0c), EXC_GP, 0x0c);
}

static void load_stack(void **state)
{
	(void)state;
	assert_int_equal(segment_load(vm, SEG_SS, K_DS), 0);
	assert_int_equal(cpu->shadow, 1);
	assert_raised(segment_load(vm, SEG_SS, 0), EXC_GP, 0);
	assert_raised(segment_load(vm, SEG_SS, 3), EXC_GP, 0);
	assert_raised(segment_load(vm, SEG_SS, K_CS), EXC_GP, K_CS);
	assert_raised(segment_load(vm, SEG_SS, U_DS), EXC_GP, U_DS & ~3);
	assert_raised(segment_load(vm, SEG_SS, S_ABSENT), EXC_SS, S_ABSENT);
	set_desc(S_FREE, make_desc(0, 0xfffff, A_DATA_R, 0xc));
	assert_raised(segment_load(vm, SEG_SS, S_FREE), EXC_GP, S_FREE);
	assert_int_equal(segment_load(vm, SEG_SS, S_DOWN), 0);
}

static void drop_privileged(void **state)
{
	(void)state;
	cpu->seg[SEG_ES] = segment_unpack(K_DS, get_desc(K_DS));
	cpu->seg[SEG_DS] = segment_unpack(U_DS, get_desc(U_DS));
	cpu->seg[SEG_FS] = segment_unpack(S_CONF, get_desc(S_CONF));
	cpu->seg[SEG_GS] = (struct segment){.sel = 2};
	cpu->cpl = 3;
	segment_drop_privileged(vm);
	assert_int_equal(cpu->seg[SEG_ES].sel, 0);
	assert_int_equal(cpu->seg[SEG_ES].attr, 0);
	assert_int_equal(cpu->seg[SEG_DS].sel, U_DS);
	assert_int_equal(cpu->seg[SEG_FS].sel, S_CONF);
	assert_int_equal(cpu->seg[SEG_GS].sel, 2);
}

static void ldtr(void **state)
{
	(void)state;
	assert_int_equal(segment_load_ldtr(vm, 0), 0);
	assert_int_equal(cpu->ldtr.attr, 0);
	assert_int_equal(segment_load_ldtr(vm, S_LDT), 0);
	assert_int_equal(cpu->ldtr.base, AT_LDT);
	assert_raised(segment_load_ldtr(vm, K_DS), EXC_GP, K_DS);
	assert_raised(segment_load_ldtr(vm, 0x0c), EXC_GP, 0x0c);
	set_desc(S_FREE, make_desc(AT_LDT, 7, A_LDT & 0x7f, 0));
	assert_raised(segment_load_ldtr(vm, S_FREE), EXC_NP, S_FREE);
	guest_user();
	assert_raised(segment_load_ldtr(vm, S_LDT), EXC_GP, 0);
}

static void tr(void **state)
{
	(void)state;
	assert_raised(segment_load_tr(vm, S_TSS), EXC_GP, S_TSS); /* busy */
	assert_raised(segment_load_tr(vm, 0), EXC_GP, 0);
	assert_raised(segment_load_tr(vm, S_LDT), EXC_GP, S_LDT);
	assert_int_equal(segment_load_tr(vm, S_TSS2), 0);
	assert_int_equal(desc_type(get_desc(S_TSS2).hi), DT_TSS32_BUSY);
	assert_int_equal(desc_type(cpu->tr.attr), DT_TSS32_BUSY);
	assert_int_equal(cpu->tr.base, AT_TSS2);
	assert_int_equal(segment_load_tr(vm, S_TSS16), 0);
	assert_int_equal(desc_type(get_desc(S_TSS16).hi), DT_TSS16_BUSY);
}

/* Which types LAR and LSL see, SDM 2A tables 3-53 and 3-54. */
static void query_types(void **state)
{
	static const uint8_t lar[] = {1, 2, 3, 4, 5, 9, 11, 12}, lsl[] = {1, 2, 3, 9, 11};
	uint32_t value;
	unsigned type;

	(void)state;
	for (type = 0; type < 16; type++) {
		set_desc(S_FREE, make_desc(0x1000, 0x12345, (uint8_t)(0x80 | type), 0x8));
		assert_int_equal(segment_query_lar(vm, S_FREE, &value), !!memchr(lar, (int)type, sizeof(lar)));
		assert_int_equal(segment_query_lsl(vm, S_FREE, &value), !!memchr(lsl, (int)type, sizeof(lsl)));
		assert_int_equal(segment_query_ver(vm, S_FREE, false), 0);
	}
	assert_int_equal(cpu->exc_vector, EXC_NONE);
}

static void query_values(void **state)
{
	uint32_t value = 0;

	(void)state;
	assert_int_equal(segment_query_lar(vm, U_DS, &value), 1);
	assert_int_equal(value, 0x00c0f200);
	assert_int_equal(segment_query_lsl(vm, U_DS, &value), 1);
	assert_int_equal(value, 0xffffffff);
	assert_int_equal(segment_query_lsl(vm, S_TSS, &value), 1);
	assert_int_equal(value, 0x67);
	assert_int_equal(segment_query_lar(vm, 0, &value), 0);
	assert_int_equal(segment_query_lar(vm, GDT_LIMIT + 1, &value), 0);
	assert_int_equal(segment_query_lar(vm, S_ABSENT, &value), 1); /* presence is not asked */
}

static void query_rights(void **state)
{
	uint32_t value;

	(void)state;
	assert_int_equal(segment_query_ver(vm, K_DS, true), 1);
	assert_int_equal(segment_query_ver(vm, K_DS | 3, true), 0);
	assert_int_equal(segment_query_ver(vm, K_CS, false), 1);
	assert_int_equal(segment_query_ver(vm, K_CS, true), 0);
	guest_user();
	assert_int_equal(segment_query_ver(vm, K_DS, false), 0);
	assert_int_equal(segment_query_ver(vm, S_CONF, false), 1);
	assert_int_equal(segment_query_lsl(vm, K_DS, &value), 0);
	assert_int_equal(segment_query_lsl(vm, S_CONF, &value), 1);
	set_desc(S_FREE, make_desc(0, 1, A_CODE_X | A_USER, 0xc));
	assert_int_equal(segment_query_ver(vm, S_FREE, false), 0);
	set_desc(S_FREE, make_desc(0, 1, A_DATA_R | A_USER, 0xc));
	assert_int_equal(segment_query_ver(vm, S_FREE, true), 0);
}

static void real_mode_is_a_limit(void **state)
{
	(void)state;
	cpu->cr0 &= ~CR0_PE;
	assert_int_equal(segment_load(vm, SEG_DS, K_DS), -ECANCELED);
	assert_int_equal(cpu->exc_vector, EXC_NONE);
	assert_non_null(strstr(vm->shared.stop_text, "real"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    guest_test(unpack),
	    guest_test(covers),
	    guest_test(load_data),
	    guest_test(load_partly_beyond_limit),
	    guest_test(load_as_user),
	    guest_test(load_ldt_segment),
	    guest_test(load_stack),
	    guest_test(drop_privileged),
	    guest_test(ldtr),
	    guest_test(tr),
	    guest_test(query_types),
	    guest_test(query_values),
	    guest_test(query_rights),
	    guest_test(real_mode_is_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
