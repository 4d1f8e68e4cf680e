// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/unit/chip.h"

#include "monitor/dev/i8259.h"

static void out(struct i8259_pair *p, uint16_t port, uint8_t value)
{
	i8259_ops.write(p, port, 1, value, 0);
}

static uint8_t in(struct i8259_pair *p, uint16_t port)
{
	return i8259_ops.read(p, port, 1, 0);
}

static void fresh(struct i8259_pair *p)
{
	struct wiring w = {0};

	memset(p, 0xa5, sizeof(*p)); /* new and reset must set every field */
	i8259_ops.new(p, &w);
	i8259_ops.reset(p, 0);
}

/* Linux arch/x86/kernel/i8259.c, init_8259A(). */
static void init_linux(struct i8259_pair *p, bool auto_eoi, uint16_t mask)
{
	out(p, 0x21, 0xff);
	out(p, 0x20, 0x11);
	out(p, 0x21, 0x30);
	out(p, 0x21, 1 << 2);
	out(p, 0x21, auto_eoi ? 0x03 : 0x01);
	out(p, 0xa0, 0x11);
	out(p, 0xa1, 0x38);
	out(p, 0xa1, 2);
	out(p, 0xa1, 0x01);
	out(p, 0x21, mask & 0xff);
	out(p, 0xa1, mask >> 8);
}

static void pulse(struct i8259_pair *p, unsigned irq)
{
	i8259_set(p, irq, false);
	i8259_set(p, irq, true);
}

/* probe_8259A() writes and reads the mask before any ICW; a wrong answer means no PIC at all to Linux. */
static void test_linux_probe(void **state)
{
	struct i8259_pair p;

	(void)state;
	fresh(&p);
	out(&p, 0xa1, 0xff);
	out(&p, 0x21, 0xfb);
	assert_int_equal(in(&p, 0x21), 0xfb);
	assert_int_equal(in(&p, 0xa1), 0xff);
	pulse(&p, 0);
	assert_false(i8259_intr(&p));
}

static void test_vectors_and_eoi(void **state)
{
	struct i8259_pair p;

	(void)state;
	fresh(&p);
	init_linux(&p, false, 0);
	assert_false(i8259_intr(&p));
	pulse(&p, 4);
	assert_true(i8259_intr(&p));
	assert_int_equal(in(&p, 0x20), 0x10); /* IRR is selected after ICW1 */
	assert_int_equal(i8259_ack(&p), 0x34);
	assert_false(i8259_intr(&p));
	out(&p, 0x20, 0x0b);
	assert_int_equal(in(&p, 0x20), 0x10); /* ISR */
	out(&p, 0x20, 0x0a);
	assert_int_equal(in(&p, 0x20), 0); /* IRR: the edge is used up though the line is still high */
	pulse(&p, 5);
	assert_false(i8259_intr(&p)); /* lower priority waits */
	pulse(&p, 1);
	assert_int_equal(i8259_ack(&p), 0x31); /* higher does not */
	out(&p, 0x20, 0x60 + 1);
	out(&p, 0x20, 0x60 + 4);
	assert_int_equal(i8259_ack(&p), 0x35);
	out(&p, 0x20, 0x20); /* non-specific */
	out(&p, 0x20, 0x0b);
	assert_int_equal(in(&p, 0x20), 0);
	pulse(&p, 0);
	assert_true(i8259_intr(&p));
	assert_int_equal(i8259_ack(&p), 0x30);
}

static void test_mask(void **state)
{
	struct i8259_pair p;

	(void)state;
	fresh(&p);
	init_linux(&p, false, 0xfffb & ~0);
	pulse(&p, 4);
	assert_false(i8259_intr(&p));
	assert_int_equal(i8259_state(&p, 4), IRQ_MASKED | IRQ_REQUESTED);
	out(&p, 0x21, 0xff & ~0x10);
	assert_true(i8259_intr(&p)); /* requests are kept while masked */
	assert_int_equal(i8259_state(&p, 4), IRQ_REQUESTED);
	out(&p, 0x21, 0xff);
	assert_false(i8259_intr(&p));
	/* a slave line counts as masked when the cascade is */
	assert_int_equal(i8259_state(&p, 8), IRQ_MASKED);
	out(&p, 0xa1, 0);
	assert_int_equal(i8259_state(&p, 8), IRQ_MASKED);
	out(&p, 0x21, 0xfb);
	assert_int_equal(i8259_state(&p, 8), 0);
}

static void test_cascade(void **state)
{
	struct i8259_pair p;

	(void)state;
	fresh(&p);
	init_linux(&p, false, 0);
	pulse(&p, 12);
	assert_int_equal(i8259_ack(&p), 0x3c);
	pulse(&p, 8);
	assert_false(i8259_intr(&p)); /* IR2 is in service on the master */
	/* Linux mask_and_ack_8259A() for a slave irq: specific EOI to both */
	out(&p, 0xa0, 0x60 + 4);
	out(&p, 0x20, 0x62);
	assert_int_equal(i8259_ack(&p), 0x38);
	pulse(&p, 14);
	pulse(&p, 9);
	out(&p, 0xa0, 0x60);
	out(&p, 0x20, 0x62);
	assert_int_equal(i8259_ack(&p), 0x39);
	out(&p, 0xa0, 0x61);
	out(&p, 0x20, 0x62);
	assert_int_equal(i8259_ack(&p), 0x3e);
	/* the master's IR3 ranks behind all of the slave, IR1 before */
	out(&p, 0xa0, 0x20);
	out(&p, 0x20, 0x20);
	pulse(&p, 3);
	pulse(&p, 15);
	pulse(&p, 1);
	assert_int_equal(i8259_ack(&p), 0x31);
	out(&p, 0x20, 0x20);
	assert_int_equal(i8259_ack(&p), 0x3f);
}

static void test_level(void **state)
{
	struct i8259_pair p;

	(void)state;
	fresh(&p);
	out(&p, 0x4d0, 0xff);
	out(&p, 0x4d1, 0xff);
	assert_int_equal(in(&p, 0x4d0), 0xf8);
	assert_int_equal(in(&p, 0x4d1), 0xde);
	init_linux(&p, false, 0);
	i8259_set(&p, 5, true);
	assert_int_equal(i8259_ack(&p), 0x35);
	assert_false(i8259_intr(&p));
	out(&p, 0x20, 0x65);
	assert_true(i8259_intr(&p)); /* still asserted: again */
	assert_int_equal(i8259_ack(&p), 0x35);
	i8259_set(&p, 5, false);
	out(&p, 0x20, 0x65);
	assert_false(i8259_intr(&p));
	/* same through the cascade */
	i8259_set(&p, 10, true);
	assert_int_equal(i8259_ack(&p), 0x3a);
	out(&p, 0xa0, 0x62);
	out(&p, 0x20, 0x62);
	assert_true(i8259_intr(&p));
	i8259_set(&p, 10, false);
	assert_false(i8259_intr(&p));
}

static void test_edge_withdrawn_and_spurious(void **state)
{
	struct i8259_pair p;

	(void)state;
	fresh(&p);
	init_linux(&p, false, 0);
	pulse(&p, 4);
	i8259_set(&p, 4, false);
	assert_false(i8259_intr(&p));
	assert_int_equal(i8259_ack(&p), 0x37); /* the CPU had seen INTR: default IR7 ... */
	out(&p, 0x20, 0x0b);
	assert_int_equal(in(&p, 0x20), 0); /* ... which Linux tells apart by the empty ISR */
	pulse(&p, 10);
	p.chip[1].latched = 0; /* gone between INTR and INTA: the slave gives its IR7 */
	assert_int_equal(i8259_ack(&p), 0x3f);
	out(&p, 0xa0, 0x0b);
	assert_int_equal(in(&p, 0xa0), 0);
	assert_int_equal(in(&p, 0x20), 0x04); /* but the master serves IR2 and wants an EOI */
}

static void test_auto_eoi(void **state)
{
	struct i8259_pair p;

	(void)state;
	fresh(&p);
	init_linux(&p, true, 0);
	pulse(&p, 6);
	assert_int_equal(i8259_ack(&p), 0x36);
	out(&p, 0x20, 0x0b);
	assert_int_equal(in(&p, 0x20), 0);
	/* rotation in AEOI mode: whoever was served goes last */
	out(&p, 0x20, 0x80);
	pulse(&p, 0);
	assert_int_equal(i8259_ack(&p), 0x30);
	pulse(&p, 0);
	pulse(&p, 7);
	assert_int_equal(i8259_ack(&p), 0x37);
	assert_int_equal(i8259_ack(&p), 0x30);
	out(&p, 0x20, 0x00); /* off again: priorities stay as they are */
	pulse(&p, 1);
	pulse(&p, 0);
	assert_int_equal(i8259_ack(&p), 0x31);

	/* a slave with AEOI: its second request must reach the master although INT had no reason to fall */
	out(&p, 0xa0, 0x11);
	out(&p, 0xa1, 0x38);
	out(&p, 0xa1, 2);
	out(&p, 0xa1, 0x03);
	pulse(&p, 11);
	pulse(&p, 12);
	assert_int_equal(i8259_ack(&p), 0x3b);
	assert_true(i8259_intr(&p));
	assert_int_equal(i8259_ack(&p), 0x3c);
}

static void test_rotation(void **state)
{
	struct i8259_pair p;

	(void)state;
	fresh(&p);
	init_linux(&p, false, 0);
	out(&p, 0x20, 0xc0 + 3); /* set priority: IR3 lowest, so IR4 highest */
	pulse(&p, 3);
	pulse(&p, 0);
	pulse(&p, 4);
	assert_int_equal(i8259_ack(&p), 0x34);
	out(&p, 0x20, 0xa0); /* rotate on non-specific EOI: IR4 lowest */
	assert_int_equal(i8259_ack(&p), 0x30);
	out(&p, 0x20, 0xe0 + 0); /* rotate on specific EOI: IR0 lowest */
	pulse(&p, 0);
	assert_int_equal(i8259_ack(&p), 0x33);
	out(&p, 0x20, 0x20);
	assert_int_equal(i8259_ack(&p), 0x30);
	/* ICW1 restores the order */
	init_linux(&p, false, 0);
	pulse(&p, 7);
	pulse(&p, 0);
	assert_int_equal(i8259_ack(&p), 0x30);
}

static void test_special_mask(void **state)
{
	struct i8259_pair p;

	(void)state;
	fresh(&p);
	init_linux(&p, false, 0);
	pulse(&p, 3);
	assert_int_equal(i8259_ack(&p), 0x33);
	pulse(&p, 6);
	assert_false(i8259_intr(&p));
	out(&p, 0x21, 0x08); /* IR3 masks itself ... */
	assert_false(i8259_intr(&p));
	out(&p, 0x20, 0x68); /* ... and lets the lower ones through */
	assert_true(i8259_intr(&p));
	assert_int_equal(i8259_ack(&p), 0x36);
	out(&p, 0x20, 0x20); /* non-specific EOI skips the masked level */
	out(&p, 0x20, 0x0b);
	assert_int_equal(in(&p, 0x20), 0x08);
	out(&p, 0x20, 0x48); /* off */
	pulse(&p, 6);
	assert_false(i8259_intr(&p));
}

static void test_special_fully_nested(void **state)
{
	struct i8259_pair p;

	(void)state;
	fresh(&p);
	init_linux(&p, false, 0);
	out(&p, 0x20, 0x11);
	out(&p, 0x21, 0x30);
	out(&p, 0x21, 4);
	out(&p, 0x21, 0x11); /* SFNM */
	pulse(&p, 12);
	assert_int_equal(i8259_ack(&p), 0x3c);
	pulse(&p, 3);
	assert_false(i8259_intr(&p)); /* IR3 is behind IR2 as ever */
	pulse(&p, 8);
	assert_int_equal(i8259_ack(&p), 0x38);
}

static void test_poll(void **state)
{
	struct i8259_pair p;

	(void)state;
	fresh(&p);
	init_linux(&p, false, 0);
	out(&p, 0x20, 0x0c);
	assert_int_equal(in(&p, 0x20), 0x00);
	pulse(&p, 5);
	out(&p, 0x20, 0x0c);
	assert_int_equal(in(&p, 0x20), 0x85);
	assert_false(i8259_intr(&p));
	assert_int_equal(in(&p, 0x20), 0); /* one read only; then IRR as before */
	out(&p, 0x20, 0x0b);
	assert_int_equal(in(&p, 0x20), 0x20);
}

static void test_init_sequence(void **state)
{
	struct i8259_pair p;

	(void)state;
	fresh(&p);
	init_linux(&p, false, 0);
	pulse(&p, 1);
	out(&p, 0x20, 0x11); /* forgets the edge; the line is up, so there is no new one */
	out(&p, 0x21, 0x40);
	pulse(&p, 5);
	assert_false(i8259_intr(&p)); /* not before the last ICW */
	out(&p, 0x21, 4);
	out(&p, 0x21, 1);
	assert_int_equal(in(&p, 0x21), 0); /* ICW1 cleared the mask */
	assert_int_equal(i8259_ack(&p), 0x45);
	/* single, no ICW4: two words */
	out(&p, 0x20, 0x12);
	out(&p, 0x21, 0x27);
	out(&p, 0x21, 0xfe);
	assert_int_equal(in(&p, 0x21), 0xfe);
	pulse(&p, 0);
	assert_int_equal(i8259_ack(&p), 0x20); /* low bits of ICW2 are not part of the vector */
}

static void test_save_restore(void **state)
{
	struct i8259_pair p, q;
	struct state s;
	uint8_t buf[64];

	(void)state;
	fresh(&p);
	fresh(&q);
	init_linux(&p, false, 0);
	pulse(&p, 12);
	i8259_ack(&p);
	pulse(&p, 1);
	chip_copy(&i8259_ops, &q, &p);
	assert_memory_equal(&p, &q, sizeof(p));
	assert_int_equal(i8259_ack(&q), 0x31);

	s = (struct state){.buf = buf, .cap = sizeof(buf)};
	p.chip[0].step = 9;
	i8259_ops.state(&p, &s);
	s = (struct state){.buf = buf, .cap = sizeof(buf), .restoring = true};
	i8259_ops.state(&q, &s);
	assert_int_equal(s.err, -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_linux_probe),	 cmocka_unit_test(test_vectors_and_eoi),
	    cmocka_unit_test(test_mask),	 cmocka_unit_test(test_cascade),
	    cmocka_unit_test(test_level),	 cmocka_unit_test(test_edge_withdrawn_and_spurious),
	    cmocka_unit_test(test_auto_eoi),	 cmocka_unit_test(test_rotation),
	    cmocka_unit_test(test_special_mask), cmocka_unit_test(test_special_fully_nested),
	    cmocka_unit_test(test_poll),	 cmocka_unit_test(test_init_sequence),
	    cmocka_unit_test(test_save_restore),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
