// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/unit/chip.h"

#include <time.h>

#include "monitor/dev/mc146818.h"

#define NS 1000000000ull
#define EPOCH 1700000000 /* Tue 2023-11-14 22:13:20 UTC */

static struct mc146818 c;
static struct line line;
static uint64_t now;

static void build(uint64_t ram, int64_t epoch)
{
	struct machine_config config = {.ram_bytes = ram, .rtc_epoch = epoch};
	struct wiring w = {.config = &config, .irq = line_wire(&line, 8)};

	memset(&c, 0xa5, sizeof(c));
	line = (struct line){0};
	now = 0;
	mc146818_ops.new(&c, &w);
	mc146818_ops.reset(&c, 0);
}

static int setup(void **state)
{
	(void)state;
	build(256 << 20, EPOCH);
	return 0;
}

static void out(uint8_t cell, uint8_t value)
{
	mc146818_ops.write(&c, 0x70, 1, cell, now);
	mc146818_ops.write(&c, 0x71, 1, value, now);
}

static uint8_t in(uint8_t cell)
{
	mc146818_ops.write(&c, 0x70, 1, cell, now);
	return mc146818_ops.read(&c, 0x71, 1, now);
}

static void poll(void)
{
	mc146818_ops.poll(&c, now);
}

static uint64_t deadline(void)
{
	return mc146818_ops.deadline(&c, now);
}

static unsigned bcd(uint8_t v)
{
	assert_true((v & 15) < 10 && v >> 4 < 10);
	return (v >> 4) * 10 + (v & 15);
}

static int64_t shown(void)
{
	struct tm tm = {.tm_sec = bcd(in(0)),
			.tm_min = bcd(in(2)),
			.tm_hour = bcd(in(4)),
			.tm_mday = bcd(in(7)),
			.tm_mon = bcd(in(8)) - 1,
			.tm_year = bcd(in(0x32)) * 100 + bcd(in(9)) - 1900};

	return timegm(&tm);
}

static void test_time_against_libc(void **state)
{
	static const int64_t at[] = {0,
				     EPOCH,
				     951782399 /* 2000-02-28 23:59:59 */,
				     951782400 /* leap day */,
				     951868800,
				     1709164800 /* 2024-02-29 */,
				     4107542400 /* 2100-03-01 */,
				     946684799,
				     253402300799 /* the last second of 9999 */};
	struct tm tm;
	unsigned i;
	time_t t;

	(void)state;
	for (i = 0; i < sizeof(at) / sizeof(*at); i++) {
		build(0, at[i]);
		assert_int_equal(shown(), at[i]);
		t = at[i];
		gmtime_r(&t, &tm);
		assert_int_equal(in(6), tm.tm_wday + 1);
	}
	for (i = 0; i < 3000; i++) { /* every 5 days and some */
		build(0, EPOCH);
		now = i * 437777 * NS;
		assert_int_equal(shown(), EPOCH + i * 437777ll);
	}
	now = 0;
}

static void test_modes(void **state)
{
	(void)state;
	assert_int_equal(in(4), 0x22);
	out(0x0b, 0x06); /* binary */
	assert_int_equal(in(4), 22);
	assert_int_equal(in(9), 23);
	out(0x0b, 0x00);	       /* BCD, 12 hours */
	assert_int_equal(in(4), 0x90); /* 10 pm */
	now = 2 * 3600 * NS;
	assert_int_equal(in(4), 0x12); /* midnight is 12 am */
	now = 14 * 3600 * NS;
	assert_int_equal(in(4), 0x92);
	assert_int_equal(in(2), 0x13);
	out(4, 0x81); /* 1 pm */
	out(0x0b, 0x02);
	assert_int_equal(in(4), 0x13);
	out(0x0b, 0x82); /* standing still, the cells are what they are */
	now += 100 * NS;
	assert_int_equal(in(4), 0x13);
	out(0x0b, 0x86);
	assert_int_equal(in(4), 0x13);
	out(0x0b, 0x06);
	assert_int_equal(in(4), 0x13); /* 19 hours, now */
}

static void test_update_in_progress(void **state)
{
	(void)state;
	assert_int_equal(in(0x0a), 0x26);
	now = NS - 244001;
	assert_int_equal(in(0x0a), 0x26);
	now = NS - 244000;
	assert_int_equal(in(0x0a), 0xa6);
	now = NS;
	assert_int_equal(in(0x0a), 0x26);
	assert_int_equal(shown(), EPOCH + 1);
}

/* Linux mc146818_set_time(): SET on, divider held; both back; the first update half a second later. */
static void test_linux_set_time(void **state)
{
	uint8_t a, b;

	(void)state;
	now = 12345678901;
	b = in(0x0b);
	out(0x0b, b | 0x80);
	a = in(0x0a);
	out(0x0a, a | 0x70);
	out(9, 0x31);
	out(8, 0x02);
	out(7, 0x28);
	out(4, 0x23);
	out(2, 0x59);
	out(0, 0x59);
	out(0x32, 0x20);
	now += 10 * NS; /* stands still */
	assert_int_equal(in(0), 0x59);
	out(0x0b, b);
	out(0x0a, a);
	assert_int_equal(in(0), 0x59);
	now += NS / 2 - 1;
	assert_int_equal(in(0), 0x59);
	now += 1;
	assert_int_equal(in(0), 0x00);
	assert_int_equal(shown(), 1930089600); /* 2031-03-01 00:00:00 */
	assert_int_equal(in(6), 7);	       /* a Saturday */
}

static void test_set_bit_keeps_the_phase(void **state)
{
	(void)state;
	now = NS / 4;
	out(0x0b, 0x82);
	assert_int_equal(shown(), EPOCH); /* the cells hold the time that it stopped at */
	out(0, 0x00);
	now += NS / 2;
	out(0x0b, 0x02);
	assert_int_equal(in(0), 0x00);
	now = NS;
	assert_int_equal(in(0), 0x01);
}

static void test_nonsense_in_cells_is_survived(void **state)
{
	unsigned i, v;

	(void)state;
	for (v = 0; v < 256; v += 5) {
		build(0, EPOCH);
		out(0x0b, 0x80 | (v & 6));
		for (i = 0; i < 10; i++)
			out(i, v ^ i * 17);
		out(0x32, v);
		out(0x0b, v & 6);
		now += 5 * NS;
		for (i = 0; i < 14; i++)
			in(i);
		assert_true(in(8) != 0);
	}
}

static void test_update_interrupt(void **state)
{
	(void)state;
	out(0x0a, 0x20); /* no periodic flag */
	now = NS / 3;
	assert_int_equal(deadline(), NO_DEADLINE);
	out(0x0b, 0x12);
	assert_false(line.level);
	assert_int_equal(deadline(), NS);
	now = NS - 1;
	poll();
	assert_false(line.level);
	now = NS;
	poll();
	assert_true(line.level);
	assert_int_equal(deadline(), NO_DEADLINE); /* nothing more until C is read */
	now = 3 * NS;
	poll();
	assert_int_equal(line.rises, 1);
	assert_int_equal(in(0x0c), 0x90);
	assert_false(line.level);
	assert_int_equal(in(0x0c), 0);
	out(0x0b, 0x92); /* SET clears UIE */
	assert_int_equal(in(0x0b), 0x82);
	/* flags rise without their enables, but not IRQF */
	out(0x0b, 0x02);
	now = 5 * NS;
	assert_int_equal(in(0x0c), 0x10);
	assert_int_equal(line.rises, 1);
	now = 6 * NS;
	poll();
	out(0x0b, 0x12); /* enabled late: at once */
	assert_true(line.level);
}

static void test_alarm(void **state)
{
	unsigned i;

	(void)state;
	out(0x0a, 0x20);
	out(1, 0x25); /* 22:13:25, five seconds from now */
	out(3, 0x13);
	out(5, 0x22);
	out(0x0b, 0x22);
	for (i = 1; i < 5; i++) {
		assert_int_equal(deadline(), i * NS);
		now = deadline();
		poll();
		assert_false(line.level);
	}
	now = deadline();
	poll();
	assert_true(line.level);
	assert_int_equal(in(0x0c), 0xb0);
	/* a day asleep: noticed at the first look */
	now += 86399 * NS;
	poll();
	assert_int_equal(in(0x0c) & 0x20, 0);
	now += 86400ull * 1000 * NS;
	poll();
	assert_int_equal(in(0x0c), 0xb0);
	/* don't-care in all three: every second */
	out(1, 0xc0);
	out(3, 0xff);
	out(5, 0xc7);
	for (i = 0; i < 3; i++) {
		now += NS;
		poll();
		assert_int_equal(in(0x0c), 0xb0);
	}
}

static void test_periodic(void **state)
{
	static const struct {
		uint8_t rs;
		unsigned hz;
	} rates[] = {{1, 256}, {2, 128}, {3, 8192}, {6, 1024}, {8, 256}, {9, 128}, {15, 2}};
	unsigned i, n;

	(void)state;
	for (i = 0; i < sizeof(rates) / sizeof(*rates); i++) {
		build(0, EPOCH);
		out(0x0a, 0x20 | rates[i].rs);
		in(0x0c);
		out(0x0b, 0x42);
		for (n = 0; n < rates[i].hz; n++) {
			now = deadline();
			poll();
			assert_true(line.level);
			assert_int_equal(in(0x0c) & 0xc0, 0xc0);
		}
		assert_int_equal(now, NS); /* without drift */
	}
	out(0x0b, 0x52); /* the earlier of two */
	assert_int_equal(deadline(), NS + NS / 2);
	in(0x0c);
	out(0x0a, 0x20);
	out(0x0b, 0x42);
	assert_int_equal(deadline(), NO_DEADLINE);
	out(0x0a, 0x76); /* divider held */
	assert_int_equal(deadline(), NO_DEADLINE);
	now += 10 * NS;
	assert_int_equal(in(0x0c), 0);
}

static void test_memory_size(void **state)
{
	unsigned i, sum = 0;

	(void)state;
	build(8 << 20, EPOCH);
	assert_int_equal(in(0x15) | in(0x16) << 8, 640);
	assert_int_equal(in(0x17) | in(0x18) << 8, 7 * 1024);
	assert_int_equal(in(0x30) | in(0x31) << 8, 7 * 1024);
	assert_int_equal(in(0x34) | in(0x35) << 8, 0);
	build(2048ull << 20, EPOCH);
	assert_int_equal(in(0x30) | in(0x31) << 8, 0xffff);
	assert_int_equal((in(0x34) | in(0x35) << 8) << 16, (2048 - 16) << 20);
	for (i = 0x10; i <= 0x2d; i++)
		sum += in(i);
	assert_int_equal(in(0x2e) << 8 | in(0x2f), sum);
}

static void test_registers(void **state)
{
	(void)state;
	out(0x0d, 0);
	assert_int_equal(in(0x0d), 0x80);
	out(0x0c, 0xff);
	assert_int_equal(in(0x0c), 0);
	out(0x8f, 0x5a); /* bit 7 is the NMI mask */
	assert_int_equal(in(0x0f), 0x5a);
	assert_int_equal(mc146818_ops.read(&c, 0x70, 1, now), 0xff);
	out(0x7f, 0x77);
	/* the reset button ends interrupts and keeps the rest */
	out(0x0b, 0x72);
	now = 100 * NS;
	poll();
	assert_true(line.level);
	mc146818_ops.reset(&c, now);
	assert_false(line.level);
	assert_int_equal(in(0x0b), 0x02);
	assert_int_equal(in(0x7f), 0x77);
	assert_int_equal(shown(), EPOCH + 100);
}

static void test_save_restore(void **state)
{
	struct mc146818 saved;

	(void)state;
	now = 7 * NS + 12345;
	out(0x40, 0x99);
	out(0x0b, 0x72);
	poll();
	saved = c;
	build(0, 0);
	now = 7 * NS + 12345;
	chip_copy(&mc146818_ops, &c, &saved);
	assert_int_equal(shown(), EPOCH + 7);
	assert_int_equal(in(0x40), 0x99);
	assert_int_equal(in(0x34), 0xf00 & 0xff);
	assert_int_equal(in(0x35), 0xf00 >> 8);
	assert_int_equal(in(0x0c), saved.cell[0x0c]);
}

#define CASE(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(test_time_against_libc),
	    CASE(test_modes),
	    CASE(test_update_in_progress),
	    CASE(test_linux_set_time),
	    CASE(test_set_bit_keeps_the_phase),
	    CASE(test_nonsense_in_cells_is_survived),
	    CASE(test_update_interrupt),
	    CASE(test_alarm),
	    CASE(test_periodic),
	    CASE(test_memory_size),
	    CASE(test_registers),
	    CASE(test_save_restore),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
