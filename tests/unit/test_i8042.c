// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/unit/chip.h"

#include "monitor/dev/i8042.h"

static struct i8042 k;
static struct line line;
static struct request request;

static int setup(void **state)
{
	struct wiring w = {.irq = line_wire(&line, 1), .request = &request};

	(void)state;
	memset(&k, 0xa5, sizeof(k));
	line = (struct line){0};
	request = (struct request){0};
	i8042_ops.new(&k, &w);
	i8042_ops.reset(&k, 0);
	return 0;
}

static void out(uint16_t port, uint8_t value)
{
	i8042_ops.write(&k, port, 1, value, 0);
}

static uint8_t in(uint16_t port)
{
	return i8042_ops.read(&k, port, 1, 0);
}

/*
 * Linux drivers/input/serio/i8042.c, __i8042_command(). A wait there lasts up to 500 ms, so none may be
 * needed: the input buffer is free at once, and an answer that is due is there at once.
 */
static int command(uint8_t *param, unsigned cmd)
{
	unsigned i;

	assert_false(in(0x64) & 2);
	out(0x64, cmd);
	for (i = 0; i < (cmd >> 12 & 15); i++) {
		assert_false(in(0x64) & 2);
		out(0x60, param[i]);
	}
	for (i = 0; i < (cmd >> 8 & 15); i++) {
		assert_true(in(0x64) & 1);
		if (cmd == 0x11d3 && !(in(0x64) & 0x20))
			return -1;
		param[i] = in(0x60);
	}
	return 0;
}

/* i8042_controller_check(), _selftest(), _init(), i8042_check_aux(), i8042_setup_kbd(), in their order. */
static void test_linux_probe_is_quick_and_finds_no_device(void **state)
{
	uint8_t param, ctr;

	(void)state;
	assert_false(in(0x64) & 1); /* flush */
	assert_int_equal(command(&param, 0x1aa), 0);
	assert_int_equal(param, 0x55);
	assert_int_equal(command(&ctr, 0x120), 0);
	assert_true(in(0x64) & 0x10); /* keylock open */
	assert_true(ctr & 0x40);      /* translating */
	ctr = (ctr | 0x10) & ~0x01;
	assert_int_equal(command(&ctr, 0x1060), 0);
	assert_false(in(0x64) & 1);
	/* auxiliary port: the loop command does not come back through it, the test names a fault */
	param = 0x5a;
	assert_int_equal(command(&param, 0x11d3), -1);
	assert_int_equal(in(0x60), 0x5a);
	assert_int_equal(command(&param, 0x1a9), 0);
	assert_true(param && param != 0xfa && param != 0xff);
	/* keyboard port on; atkbd asks for the ID and hears a time-out at once */
	ctr = (ctr & ~0x10) | 0x01;
	command(&ctr, 0x1060);
	assert_false(line.level);
	out(0x60, 0xf2);
	assert_true(line.level);
	assert_int_equal(in(0x64) & 0x61, 0x41);
	assert_int_equal(in(0x60), 0xfe);
	assert_false(line.level);
	assert_int_equal(in(0x64) & 0x41, 0);
	assert_int_equal(request.kind, MACHINE_RUN);
}

/* native_machine_emergency_restart(), BOOT_KBD: kb_wait(), then 0xfe. */
static void test_linux_reset(void **state)
{
	(void)state;
	assert_false(in(0x64) & 2);
	out(0x64, 0xfe);
	assert_int_equal(request.kind, MACHINE_RESET);
}

static void test_reset_line_and_a20(void **state)
{
	uint8_t v = 0;

	(void)state;
	command(&v, 0x1d0);
	assert_int_equal(v & 3, 3);
	v = 0xdd; /* A20 off */
	command(&v, 0x10d1);
	assert_int_equal(request.kind, MACHINE_RUN);
	command(&v, 0x1d0);
	assert_int_equal(v & 3, 1);
	out(0x64, 0xdf);
	command(&v, 0x1d0);
	assert_int_equal(v & 3, 3);
	out(0x64, 0xdd);
	command(&v, 0x1d0);
	assert_int_equal(v, 0xcd);
	out(0x64, 0xff); /* pulses nothing: the end of the usual A20 sequence */
	assert_int_equal(request.kind, MACHINE_RUN);
	v = 0xfe;
	command(&v, 0x10d1);
	assert_int_equal(request.kind, MACHINE_RESET);
}

static void test_ram_and_misc(void **state)
{
	uint8_t v = 0x5a;

	(void)state;
	command(&v, 0x1065);
	v = 0;
	command(&v, 0x125);
	assert_int_equal(v, 0x5a);
	out(0x64, 0xae);
	command(&v, 0x120);
	assert_false(v & 0x10);
	out(0x64, 0xad);
	command(&v, 0x120);
	assert_true(v & 0x10);
	out(0x60, 0xff); /* sending to the keyboard turns its port on */
	assert_int_equal(in(0x60), 0xfe);
	command(&v, 0x120);
	assert_false(v & 0x10);
	v = 0x1c;
	command(&v, 0x10d2);
	assert_int_equal(in(0x60), 0x1c);
	v = 0xf4;
	command(&v, 0x10d4); /* no mouse */
	assert_int_equal(in(0x64) & 0x41, 0x41);
	assert_int_equal(in(0x60), 0xfe);
	command(&v, 0x1ab);
	assert_int_equal(v, 0);
	/* the system flag follows bit 2 of the command byte, and the self-test */
	assert_int_equal(in(0x64), 0x1c);
	v = 0x40;
	command(&v, 0x1060);
	assert_int_equal(in(0x64), 0x10); /* the last write was data */
	command(&v, 0x1aa);
	assert_int_equal(in(0x64), 0x1c);
	v = 0x64;
	command(&v, 0x1060);
	v = 0;
	command(&v, 0x107f);
	assert_int_equal(in(0x64), 0x14);
	/* a command byte in between gives up a half-finished command */
	out(0x64, 0xd1);
	out(0x64, 0x20);
	assert_int_equal(in(0x60), 0x64); /* the command byte */
}

static void test_save_restore(void **state)
{
	static struct i8042 other;
	struct line l = {0};
	struct wiring w = {.irq = line_wire(&l, 1), .request = &request};

	(void)state;
	i8042_ops.new(&other, &w);
	i8042_ops.reset(&other, 0);
	out(0x60, 0xf2);
	out(0x64, 0xd1);
	chip_copy(&i8042_ops, &other, &k);
	assert_int_equal(i8042_ops.read(&other, 0x60, 1, 0), 0xfe);
	i8042_ops.write(&other, 0x60, 1, 0xfe, 0);
	assert_int_equal(request.kind, MACHINE_RESET);
}

#define CASE(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(test_linux_probe_is_quick_and_finds_no_device),
	    CASE(test_linux_reset),
	    CASE(test_reset_line_and_a20),
	    CASE(test_ram_and_misc),
	    CASE(test_save_restore),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
