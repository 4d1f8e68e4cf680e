// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/unit/chip.h"

#include "monitor/dev/machine.h"

static struct ring rings[2][2];
static const struct machine_config config = {
    .ram_bytes = 256 << 20, .rtc_epoch = 1700000000, .console_in = &rings[0][0], .console_out = &rings[0][1]};
static struct machine machine, *m = &machine;

static int setup(void **state)
{
	(void)state;
	memset(rings, 0, sizeof(rings));
	memset(m, 0xa5, sizeof(*m));
	assert_int_equal(machine_new(m, &config), 0);
	return 0;
}

static void out(uint16_t port, uint8_t value)
{
	machine_out(m, port, 1, value, m->now);
}

static uint8_t in(uint16_t port)
{
	return machine_in(m, port, 1, m->now);
}

static void init_pic(uint16_t mask)
{
	static const uint8_t icw[][2] = {{0x20, 0x11}, {0x21, 0x30}, {0x21, 4}, {0x21, 1},
					 {0xa0, 0x11}, {0xa1, 0x38}, {0xa1, 2}, {0xa1, 1}};
	unsigned i;

	for (i = 0; i < sizeof(icw) / sizeof(*icw); i++)
		out(icw[i][0], icw[i][1]);
	out(0x21, mask);
	out(0xa1, mask >> 8);
}

static void test_nobody_there(void **state)
{
	(void)state;
	out(0x80, 0x12);
	out(0xed, 0);
	assert_int_equal(in(0x80), 0xff);
	assert_int_equal(machine_in(m, 0x1f0, 2, 0), 0xffff);
	assert_int_equal(machine_in(m, 0xffff, 4, 0), 0xffffffff);
	machine_out(m, 0xffff, 4, 0, 0);
	assert_int_equal(machine_deadline(m, 0) == NO_DEADLINE, 0); /* the BIOS's 18.2 Hz */
}

static void test_wide_accesses_are_split(void **state)
{
	(void)state;
	machine_out(m, 0x3fe, 2, 0x5a00, 0); /* MSR and SCR */
	assert_int_equal(in(0x3ff), 0x5a);
	assert_int_equal(machine_in(m, 0x3fe, 2, 0), 0x5ab0);
	assert_int_equal(machine_in(m, 0x3fe, 4, 0), 0xffff5ab0); /* beyond the last register: nobody */
	out(0x21, 0xaa);
	assert_int_equal(machine_in(m, 0x1f, 4, 0), 0xffaa00ff);
}

/* Linux pci_check_type1() and pci_check_type2(); a dword to 0xcf8 must never reach 0xcf9. */
static void test_no_pci(void **state)
{
	(void)state;
	out(0xcfb, 1);
	machine_out(m, 0xcf8, 4, 0x80000400, 0);
	assert_int_equal(machine_in(m, 0xcf8, 4, 0), 0xffffffff);
	assert_int_equal(machine_in(m, 0xcfc, 4, 0), 0xffffffff);
	out(0xcfb, 0);
	out(0xcf8, 0);
	out(0xcfa, 0);
	assert_int_not_equal(in(0xcf8), 0);
	assert_int_equal(machine_request(m), MACHINE_RUN);
}

static void test_resets(void **state)
{
	(void)state;
	out(0xcf9, 0x02);
	assert_int_equal(machine_request(m), MACHINE_RUN);
	assert_int_equal(in(0xcf9), 0x02);
	assert_int_equal(machine_in(m, 0xcf9, 2, 0), 0xffff);
	out(0xcf9, 0x06);
	assert_int_equal(machine_request(m), MACHINE_RESET);
	out(0xf4, 1);
	assert_int_equal(machine_request(m), MACHINE_RESET); /* the first one stands */
	machine_reset(m, m->now);
	assert_int_equal(machine_request(m), MACHINE_RUN);
	out(0x92, in(0x92) | 1);
	assert_int_equal(machine_request(m), MACHINE_RESET);
	setup(state);
	out(0x92, 2); /* A20 alone */
	assert_int_equal(machine_request(m), MACHINE_RUN);
}

static void test_power_off_and_exit(void **state)
{
	(void)state;
	machine_out(m, 0x604, 2, 0x2000 | 5 << 10, 0); /* S-state that is not there */
	assert_int_equal(machine_request(m), MACHINE_RUN);
	assert_int_equal(machine_in(m, 0x604, 2, 0), 5 << 10); /* SLP_EN is write-only */
	machine_out(m, 0x604, 2, 0x2000, 0);
	assert_int_equal(machine_request(m), MACHINE_POWEROFF);
	assert_int_equal(machine_in(m, 0x604, 2, 0), 0);
	setup(state);
	out(0x605, 0x20);
	assert_int_equal(machine_request(m), MACHINE_POWEROFF);
	setup(state);
	machine_out(m, 0xf4, 4, 0x12345, 0);
	assert_int_equal(machine_request(m), MACHINE_DEBUG_EXIT);
	assert_int_equal(machine_exit_value(m), 0x12345);
}

static void test_timer_interrupt_end_to_end(void **state)
{
	uint64_t due;
	unsigned i;

	(void)state;
	init_pic(0xfffa);
	out(0x43, 0x34);
	out(0x40, 4773 & 0xff);
	out(0x40, 4773 >> 8);
	while (machine_intr(m)) { /* what OUT's way up caused */
		machine_ack(m);
		out(0x20, 0x60);
	}
	for (i = 0; i < 250; i++) {
		due = machine_deadline(m, m->now);
		machine_poll(m, due - 1);
		assert_false(machine_intr(m));
		machine_poll(m, due);
		assert_true(machine_intr(m));
		assert_int_equal(machine_ack(m), 0x30);
		assert_false(machine_intr(m));
		out(0x20, 0x60);
		assert_false(machine_intr(m));
	}
	assert_true(m->now > 999 * 1000000ull && m->now < 1001 * 1000000ull);
	/* a late guest: five periods pass, five interrupts come without any further poll */
	machine_poll(m, m->now + 5 * 4000300);
	for (i = 0; machine_intr(m); i++) {
		assert_int_equal(machine_ack(m), 0x30);
		assert_false(machine_intr(m)); /* the next one waits for the EOI */
		out(0x20, 0x60);
	}
	assert_int_equal(i, 5);
}

static void test_uart_interrupt_end_to_end(void **state)
{
	(void)state;
	init_pic(0xffeb);
	out(0x3fc, 0x0b);
	out(0x3f9, 1);
	ring_put(&rings[0][0], 'k');
	assert_false(machine_intr(m));
	machine_poll(m, m->now);
	assert_int_equal(machine_ack(m), 0x34);
	assert_int_equal(in(0x3f8), 'k');
	out(0x20, 0x64);
	assert_false(machine_intr(m));
	out(0x3f8, 'K');
	assert_int_equal(ring_used(&rings[0][1]), 1);
}

static void test_rtc_and_keyboard_controller_are_wired(void **state)
{
	(void)state;
	init_pic(0);
	assert_int_equal(machine_ack(m), 0x37); /* nothing yet */
	out(0x70, 0x0b);
	out(0x71, 0x12);
	machine_poll(m, 1000000000);
	while (machine_intr(m) && machine_ack(m) != 0x38)
		out(0x20, 0x20);
	assert_int_equal(m->pic.chip[1].isr, 1);
	out(0xa0, 0x20);
	out(0x20, 0x20);
	out(0x64, 0x60);
	out(0x60, 0x01);
	out(0x60, 0xee); /* echo, to a keyboard that is not there */
	assert_int_equal(machine_ack(m), 0x31);
	out(0x64, 0xfe);
	assert_int_equal(machine_request(m), MACHINE_RESET);
}

static void test_two_machines(void **state)
{
	static struct machine other;
	struct machine_config c = config;

	(void)state;
	c.console_in = &rings[1][0];
	c.console_out = &rings[1][1];
	assert_int_equal(machine_new(&other, &c), 0);
	init_pic(0);
	out(0x3f8, 'x');
	assert_int_equal(ring_used(&rings[0][1]), 1);
	assert_int_equal(ring_used(&rings[1][1]), 0);
	assert_int_equal(machine_in(&other, 0x21, 1, 0), 0xff);
	machine_out(&other, 0xf4, 1, 3, 0);
	assert_int_equal(machine_request(m), MACHINE_RUN);
}

static void test_time_never_runs_backwards(void **state)
{
	(void)state;
	machine_poll(m, 5000000);
	machine_out(m, 0x43, 1, 0x30, 4000000);
	machine_out(m, 0x40, 1, 0xff, 4000000);
	machine_out(m, 0x40, 1, 0, 4000000);
	assert_int_equal(m->now, 5000000);
	assert_true(machine_deadline(m, 0) > 5000000);
}

static void test_table_overlaps_are_found(void **state)
{
	const struct device_row good[] = {{.irq = 4, .ports = {{0x3f8, 8}, {0x60, 1}}},
					  {.irq = 3, .ports = {{0x2f8, 8}, {0x61, 1}}}};
	struct device_row bad[2];

	(void)state;
	assert_int_equal(machine_check(good, 2), 0);
	memcpy(bad, good, sizeof(bad));
	bad[1].irq = 4;
	assert_int_equal(machine_check(bad, 2), -EEXIST);
	memcpy(bad, good, sizeof(bad));
	bad[1].ports[0] = (struct device_ports){.base = 0x3f4, .count = 5};
	assert_int_equal(machine_check(bad, 2), -EEXIST);
	memcpy(bad, good, sizeof(bad));
	bad[1].ports[0] = (struct device_ports){.base = 0x3f4, .count = 4};
	assert_int_equal(machine_check(bad, 2), 0);
	bad[1].ports[1] = (struct device_ports){.base = 0x3f7, .count = 1}; /* with itself */
	assert_int_equal(machine_check(bad, 2), -EEXIST);
	bad[1].ports[1] = (struct device_ports){.base = 0xfff8, .count = 9};
	assert_int_equal(machine_check(bad, 2), -EEXIST);
	bad[0].irq = bad[1].irq = NO_IRQ;
	bad[1].ports[1] = (struct device_ports){.base = 0xfff8, .count = 8};
	assert_int_equal(machine_check(bad, 2), 0);
}

static void test_save_restore(void **state)
{
	static uint8_t buf[4096], again[4096];
	static struct machine other;
	long n, i;

	(void)state;
	init_pic(0xfffa);
	out(0x43, 0x34);
	out(0x40, 0x10);
	out(0x40, 0x27);
	machine_poll(m, 123456789);
	n = machine_save(m, buf, sizeof(buf));
	assert_true(n > 0);
	assert_int_equal(machine_save(m, again, n - 1), -ENOSPC);
	machine_new(&other, &config);
	assert_int_equal(machine_restore(&other, buf, n), 0);
	assert_int_equal(machine_save(&other, again, sizeof(again)), n);
	assert_memory_equal(buf, again, n);
	assert_int_equal(machine_deadline(&other, 0), machine_deadline(m, 0));
	assert_int_equal(machine_intr(&other), machine_intr(m));
	for (i = 0; i < n; i++) {
		assert_int_equal(machine_restore(&other, buf, i), -EINVAL);
		assert_int_equal(machine_request(&other), MACHINE_RUN);
	}
	/* any damaged byte is refused or at least survived */
	for (i = 0; i < n * 8; i++) {
		memcpy(again, buf, n);
		again[i / 8] ^= 1 << i % 8;
		machine_new(&other, &config);
		if (machine_restore(&other, again, n))
			continue;
		machine_poll(&other, other.now + 1000000);
		machine_deadline(&other, other.now);
		machine_ack(&other);
		machine_in(&other, 0x40, 4, other.now);
		machine_in(&other, 0x3f8, 4, other.now);
		machine_in(&other, 0x3fc, 4, other.now);
		machine_in(&other, 0x71, 1, other.now);
		machine_out(&other, 0x70, 1, 0x0b, other.now);
		machine_out(&other, 0x71, 1, 0x82, other.now);
		machine_out(&other, 0x71, 1, 0x02, other.now + 1000000000);
		machine_in(&other, 0x60, 1, other.now);
	}
	buf[0] ^= 1;
	assert_int_equal(machine_restore(&other, buf, n), -EINVAL);
}

static uint32_t random32(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return *seed >> 33;
}

/*
 * A guest gone mad: any access to any port at any time. Nothing may loop or break (UBSan watches), and after a
 * poll the next deadline lies ahead, or the monitor would spin.
 */
static void test_random_accesses(void **state)
{
	static const uint16_t ports[] = {0x20,	0x21,  0xa0,  0xa1,  0x40,  0x41,  0x42,  0x43,	 0x43,
					 0x61,	0x60,  0x64,  0x70,  0x71,  0x71,  0x92,  0xcf8, 0x604,
					 0x4d0, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff};
	uint64_t seed = 20240229, now = 0;
	uint32_t r, i;
	uint8_t sink[64];

	(void)state;
	for (i = 0; i < 400000; i++) {
		r = random32(&seed);
		now += r % 7 ? r & 0xfff : random32(&seed);
		r = random32(&seed);
		if (r & 1)
			machine_in(m, ports[r / 16 % 27], 1 << (r >> 1) % 3, now);
		else
			machine_out(m, ports[r / 16 % 27], 1 << (r >> 1) % 3, random32(&seed), now);
		if (r & 8)
			ring_put(&rings[0][0], r);
		if (r % 5 == 0)
			ring_get_many(&rings[0][1], sink, sizeof(sink));
		machine_poll(m, now);
		assert_true(machine_deadline(m, now) > now);
		if (machine_intr(m) && r & 4)
			machine_ack(m);
	}
}

#define CASE(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(test_nobody_there),
	    CASE(test_wide_accesses_are_split),
	    CASE(test_no_pci),
	    CASE(test_resets),
	    CASE(test_power_off_and_exit),
	    CASE(test_timer_interrupt_end_to_end),
	    CASE(test_uart_interrupt_end_to_end),
	    CASE(test_rtc_and_keyboard_controller_are_wired),
	    CASE(test_two_machines),
	    CASE(test_time_never_runs_backwards),
	    CASE(test_table_overlaps_are_found),
	    CASE(test_save_restore),
	    CASE(test_random_accesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
