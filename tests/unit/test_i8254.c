// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/unit/chip.h"

#include "monitor/dev/i8254.h"

#define NS 1000000000ull

static uint64_t at; /* guest time of the next access, in clock ticks */

static void out(struct i8254 *p, uint16_t port, uint8_t value)
{
	i8254_ops.write(p, port, 1, value, i8254_tick_ns(at));
}

static uint8_t in(struct i8254 *p, uint16_t port)
{
	return i8254_ops.read(p, port, 1, i8254_tick_ns(at));
}

static uint16_t in16(struct i8254 *p, uint16_t port)
{
	uint8_t low = in(p, port);

	return low | in(p, port) << 8;
}

static void poll(struct i8254 *p)
{
	i8254_ops.poll(p, i8254_tick_ns(at));
}

static uint64_t deadline(struct i8254 *p)
{
	uint64_t ns = i8254_ops.deadline(p, i8254_tick_ns(at));

	return ns == NO_DEADLINE ? NO_DEADLINE : i8254_ticks(ns);
}

static void fresh(struct i8254 *p, struct line *l)
{
	struct wiring w = {.irq = line_wire(l, 0)};

	at = 1000;
	*l = (struct line){0};
	memset(p, 0xa5, sizeof(*p));
	i8254_ops.new(p, &w);
	i8254_ops.reset(p, i8254_tick_ns(at));
}

static void program(struct i8254 *p, unsigned channel, uint8_t control, uint16_t count)
{
	out(p, 0x43, channel << 6 | control);
	out(p, 0x40 + channel, count);
	out(p, 0x40 + channel, count >> 8);
}

/* OUT of a channel through read-back status. */
static bool out_pin(struct i8254 *p, unsigned channel)
{
	out(p, 0x43, 0xe0 | 2 << channel);
	return in(p, 0x40 + channel) & 0x80;
}

static void test_clock_is_exact(void **state)
{
	uint64_t t, ns;

	(void)state;
	assert_int_equal(i8254_ticks(0), 0);
	assert_int_equal(i8254_ticks(NS), 1193182);
	assert_int_equal(i8254_ticks(NS - 1), 1193181);
	assert_int_equal(i8254_ticks(NS * 86400 * 365 * 30), 1193182ull * 86400 * 365 * 30);
	assert_int_equal(i8254_tick_ns(1193182), NS);
	for (t = 1; t < 1193182ull * 1000; t = t * 3 + 1) {
		ns = i8254_tick_ns(t);
		assert_int_equal(i8254_ticks(ns), t);
		assert_int_equal(i8254_ticks(ns - 1), t - 1);
	}
}

/* Linux pit_calibrate_tsc(): channel 2, mode 0, gated by port 61h, until OUT2 shows in bit 5. */
static void test_linux_calibration(void **state)
{
	struct i8254 p;
	struct line l;
	unsigned n = 1193182 / (1000 / 10) - 1;

	(void)state;
	fresh(&p, &l);
	out(&p, 0x61, (in(&p, 0x61) & ~0x02) | 0x01);
	program(&p, 2, 0x30, n);
	assert_false(in(&p, 0x61) & 0x20);
	at += n;
	assert_false(in(&p, 0x61) & 0x20);
	at += 1; /* N + 1 clocks after the write */
	assert_true(in(&p, 0x61) & 0x20);
	assert_int_equal(l.rises, 0); /* channel 2 has no interrupt */
	at += 100000;
	assert_true(in(&p, 0x61) & 0x20);
}

/* quick_pit_calibrate(): reads LSB, MSB without latching and waits for each MSB to go by. */
static void test_linux_quick_calibration(void **state)
{
	struct i8254 p;
	struct line l;
	unsigned msb;

	(void)state;
	fresh(&p, &l);
	out(&p, 0x61, 0x01);
	out(&p, 0x43, 0xb0);
	out(&p, 0x42, 0xff);
	out(&p, 0x42, 0xff);
	at += 1;
	for (msb = 0xff; msb > 0x80; msb--) {
		in(&p, 0x42);
		assert_int_equal(in(&p, 0x42), msb);
		at += 256;
	}
}

static void test_mode0(void **state)
{
	struct i8254 p;
	struct line l;

	(void)state;
	fresh(&p, &l);
	program(&p, 0, 0x30, 100);
	l.rises = 0;
	assert_int_equal(deadline(&p), at + 101);
	at += 1;
	assert_int_equal(in16(&p, 0x40), 100);
	at += 99;
	poll(&p);
	assert_int_equal(l.rises, 0);
	assert_false(l.level);
	at += 1;
	poll(&p);
	assert_int_equal(l.rises, 1);
	assert_true(l.level);
	assert_int_equal(deadline(&p), NO_DEADLINE);
	at += 5; /* the count wraps and goes on */
	assert_int_equal(in16(&p, 0x40), 0xfffb);
	/* the first byte of a new count stops it and takes OUT down */
	out(&p, 0x40, 10);
	assert_false(l.level);
	assert_int_equal(deadline(&p), NO_DEADLINE);
	at += 1000;
	out(&p, 0x40, 0);
	at += 11;
	poll(&p);
	assert_int_equal(l.rises, 2);
	/* Linux pit_shutdown(): one more interrupt 55 ms later, as on hardware */
	program(&p, 0, 0x30, 0);
	assert_int_equal(deadline(&p), at + 65537);
}

static void test_mode0_gate(void **state)
{
	struct i8254 p;
	struct line l;

	(void)state;
	fresh(&p, &l);
	out(&p, 0x61, 1);
	program(&p, 2, 0x30, 50);
	at += 21;
	out(&p, 0x61, 0); /* held at 30 */
	at += 1000;
	assert_int_equal(in16(&p, 0x42), 30);
	out(&p, 0x61, 1);
	at += 29;
	assert_false(out_pin(&p, 2));
	at += 1;
	assert_true(out_pin(&p, 2));
	/* written with the gate low: loaded, but N clocks start with the gate */
	out(&p, 0x61, 0);
	program(&p, 2, 0x30, 7);
	at += 100;
	assert_false(out_pin(&p, 2));
	out(&p, 0x61, 1);
	at += 6;
	assert_false(out_pin(&p, 2));
	at += 1;
	assert_true(out_pin(&p, 2));
}

static void test_mode1_one_shot(void **state)
{
	struct i8254 p;
	struct line l;

	(void)state;
	fresh(&p, &l);
	out(&p, 0x61, 0);
	program(&p, 2, 0x32, 40);
	at += 500;
	assert_true(out_pin(&p, 2)); /* waits for the trigger */
	out(&p, 0x61, 1);
	at += 1;
	assert_false(out_pin(&p, 2));
	at += 20;
	out(&p, 0x61, 0); /* low does nothing, rising triggers again */
	out(&p, 0x61, 1);
	at += 40;
	assert_false(out_pin(&p, 2));
	at += 1;
	assert_true(out_pin(&p, 2));
}

static void test_mode2_periodic(void **state)
{
	struct i8254 p;
	struct line l;
	uint64_t start;
	unsigned i;

	(void)state;
	fresh(&p, &l);
	program(&p, 0, 0x34, 4773); /* Linux, HZ 250: PIT_LATCH */
	l = (struct line){0};
	start = at + 1;
	assert_true(out_pin(&p, 0));
	for (i = 1; i <= 1000; i++) {
		assert_int_equal(deadline(&p), start + 4773ull * i);
		at = start + 4773ull * i - 1;
		poll(&p);
		assert_int_equal(l.rises, i - 1);
		assert_false(out_pin(&p, 0)); /* low for the last clock */
		at += 1;
		poll(&p);
		assert_int_equal(l.rises, i);
		l.requested = false;
		assert_int_equal(in16(&p, 0x40), 4773);
		at += 3;
		assert_int_equal(in16(&p, 0x40), 4770);
	}
}

static void test_mode2_new_count_waits(void **state)
{
	struct i8254 p;
	struct line l;
	uint64_t start;

	(void)state;
	fresh(&p, &l);
	program(&p, 0, 0x34, 100);
	l = (struct line){0};
	start = at + 1;
	at = start + 30;
	out(&p, 0x40, 10);
	out(&p, 0x40, 0);
	assert_int_equal(in16(&p, 0x40), 70);
	assert_int_equal(deadline(&p), start + 100);
	out(&p, 0x43, 0xe2);
	assert_true(in(&p, 0x40) & 0x40); /* NULL COUNT until then */
	at = start + 135;
	poll(&p); /* edges at 100, 110, 120, 130 */
	assert_int_equal(l.rises + p.owed, 4);
	out(&p, 0x43, 0xe2);
	assert_false(in(&p, 0x40) & 0x40);
	l.requested = false;
	p.owed = 0;
	assert_int_equal(deadline(&p), start + 140);
}

static void test_mode3_square(void **state)
{
	static const uint16_t even[] = {6, 4, 2, 6, 4, 2, 6}, odd[] = {6, 4, 2, 0, 6, 4, 2, 6};
	static const bool even_out[] = {1, 1, 1, 0, 0, 0, 1}, odd_out[] = {1, 1, 1, 1, 0, 0, 0, 1};
	struct i8254 p;
	struct line l;
	unsigned i;

	(void)state;
	fresh(&p, &l);
	out(&p, 0x61, 1);
	program(&p, 2, 0x36, 6);
	at++;
	for (i = 0; i < 7; i++, at++) {
		assert_int_equal(in16(&p, 0x42), even[i]);
		assert_int_equal(out_pin(&p, 2), even_out[i]);
	}
	program(&p, 2, 0x36, 7);
	at++;
	for (i = 0; i < 8; i++, at++) {
		assert_int_equal(in16(&p, 0x42), odd[i]);
		assert_int_equal(out_pin(&p, 2), odd_out[i]);
	}
	/* gate low: high at once; rising: starts over */
	out(&p, 0x61, 0);
	at += 100;
	assert_true(out_pin(&p, 2));
	out(&p, 0x61, 1);
	at += 1 + 3;
	assert_true(out_pin(&p, 2));
	at += 1;
	assert_false(out_pin(&p, 2));
}

static void test_mode3_new_count_at_half(void **state)
{
	struct i8254 p;
	struct line l;
	uint64_t start, due;

	(void)state;
	fresh(&p, &l);
	program(&p, 0, 0x36, 100);
	l = (struct line){0};
	start = at + 1;
	at = start + 10; /* in the high half: the low half is the new count's */
	out(&p, 0x40, 20);
	out(&p, 0x40, 0);
	due = start + 50 + 10;
	assert_int_equal(deadline(&p), due);
	at = due - 1;
	poll(&p);
	assert_int_equal(l.rises, 0);
	at = due;
	poll(&p);
	assert_int_equal(l.rises, 1);
	l.requested = false;
	at = due + 15; /* in the low half: the next period is */
	out(&p, 0x40, 30);
	out(&p, 0x40, 0);
	assert_int_equal(deadline(&p), due + 20);
	at = due + 20 + 30;
	poll(&p);
	assert_int_equal(l.rises + p.owed, 3);
}

/* Linux drivers/clocksource/i8253.c: pit_set_oneshot() and pit_next_event(). */
static void test_mode4_linux_oneshot(void **state)
{
	struct i8254 p;
	struct line l;
	uint64_t set;

	(void)state;
	fresh(&p, &l);
	out(&p, 0x43, 0x38);
	l = (struct line){.level = true};
	assert_int_equal(deadline(&p), NO_DEADLINE);
	set = at;
	out(&p, 0x40, 0x10);
	out(&p, 0x40, 0x27);
	assert_int_equal(deadline(&p), set + 1 + 10000 + 1);
	at = set + 1 + 10000;
	assert_false(out_pin(&p, 0)); /* the strobe */
	assert_int_equal(l.rises, 0);
	at += 1;
	poll(&p);
	assert_int_equal(l.rises, 1);
	assert_int_equal(deadline(&p), NO_DEADLINE);
	l.requested = false;
	/* programmed again before it fired: only the new one fires */
	++at;
	out(&p, 0x40, 0x10);
	out(&p, 0x40, 0x27);
	at += 5000;
	out(&p, 0x40, 0x20);
	out(&p, 0x40, 0);
	at += 40;
	poll(&p);
	assert_int_equal(l.rises, 2);
	at += 100000;
	poll(&p);
	assert_int_equal(l.rises, 2);
}

static void test_mode5_strobe(void **state)
{
	struct i8254 p;
	struct line l;

	(void)state;
	fresh(&p, &l);
	program(&p, 2, 0x3a, 8);
	at += 100;
	assert_true(out_pin(&p, 2));
	out(&p, 0x61, 1);
	at += 1 + 8;
	assert_false(out_pin(&p, 2));
	at += 1;
	assert_true(out_pin(&p, 2));
}

static void test_late_guest_gets_all_ticks(void **state)
{
	struct i8254 p;
	struct line l;
	unsigned i;

	(void)state;
	fresh(&p, &l);
	program(&p, 0, 0x34, 1000);
	l = (struct line){0};
	at += 1 + 7 * 1000; /* seven ticks while nobody looked */
	poll(&p);
	assert_int_equal(l.rises, 1);
	poll(&p);
	assert_int_equal(l.rises, 1); /* not acknowledged yet: no use in raising it again */
	for (i = 2; i <= 7; i++) {
		l.requested = false;
		assert_int_equal(deadline(&p), at);
		poll(&p);
		assert_int_equal(l.rises, i);
	}
	l.requested = false;
	poll(&p);
	assert_int_equal(l.rises, 7);
	assert_int_equal(deadline(&p), at + 1000);

	/* bounded; collapsed while masked; cancelled by reprogramming */
	at += 5000000;
	poll(&p);
	assert_int_equal(p.owed, I8254_OWED_MAX - 1);
	l.masked = true;
	poll(&p);
	assert_int_equal(p.owed, 0);
	l = (struct line){0};
	at += 5000;
	poll(&p);
	assert_int_equal(p.owed, 4);
	program(&p, 0, 0x34, 500);
	assert_int_equal(p.owed, 0);
}

static void test_latch_and_read_back(void **state)
{
	struct i8254 p;
	struct line l;

	(void)state;
	fresh(&p, &l);
	out(&p, 0x61, 1);
	program(&p, 2, 0x34, 0x1234);
	at += 1 + 4;
	out(&p, 0x43, 0x80); /* latch */
	at += 100;
	out(&p, 0x43, 0x80); /* ignored: the first one has not been read */
	assert_int_equal(in16(&p, 0x42), 0x1230);
	assert_int_equal(in16(&p, 0x42), 0x1234 - 104);
	/* status and count of channels 0 and 2 at once; status comes first */
	program(&p, 0, 0x35, 0x4321); /* BCD */
	at += 1;
	out(&p, 0x43, 0xc0 | 2 | 8);
	assert_int_equal(in(&p, 0x40), 0x80 | 0x35);
	assert_int_equal(in16(&p, 0x40), 0x4321);
	assert_int_equal(in(&p, 0x42), 0x80 | 0x34);
	assert_int_equal(in16(&p, 0x42), 0x1234 - 105);
	/* NULL COUNT before the first clock */
	program(&p, 2, 0x30, 5);
	out(&p, 0x43, 0xe8);
	assert_int_equal(in(&p, 0x42), 0x40 | 0x30);
	/* one-byte access */
	out(&p, 0x43, 0x94);
	out(&p, 0x42, 9);
	at += 3;
	assert_int_equal(in(&p, 0x42), 7);
	assert_int_equal(in(&p, 0x42), 7);
	out(&p, 0x43, 0xa4);
	out(&p, 0x42, 9);
	at += 1;
	assert_int_equal(in(&p, 0x42), 9);
	assert_int_equal(in(&p, 0x43), 0xff);
}

static void test_bcd(void **state)
{
	struct i8254 p;
	struct line l;

	(void)state;
	fresh(&p, &l);
	out(&p, 0x61, 1);
	program(&p, 2, 0x31, 0x0000); /* 10000 */
	at += 1 + 1;
	assert_int_equal(in16(&p, 0x42), 0x9999);
	at += 9998;
	assert_false(out_pin(&p, 2));
	assert_int_equal(in16(&p, 0x42), 0x0001);
	at += 1;
	assert_true(out_pin(&p, 2));
	at += 1;
	assert_int_equal(in16(&p, 0x42), 0x9999);
}

static void test_port_b(void **state)
{
	struct i8254 p;
	struct line l;
	unsigned i, toggles = 0, last, now;

	(void)state;
	fresh(&p, &l);
	out(&p, 0x61, 0xff);
	assert_int_equal(in(&p, 0x61) & 0xcf, 0x0f);
	last = in(&p, 0x61) & 0x10;
	for (i = 0; i < 1800; i++, at++) {
		now = in(&p, 0x61) & 0x10;
		toggles += now != last;
		last = now;
	}
	assert_int_equal(toggles, 100);
}

/* Counts that the data sheet forbids must not divide by zero, loop, or flood. */
static void test_absurd_counts(void **state)
{
	struct i8254 p;
	struct line l;
	unsigned mode;

	(void)state;
	for (mode = 0; mode < 8; mode++) {
		fresh(&p, &l);
		program(&p, 0, 0x30 | mode << 1, 1);
		program(&p, 2, 0x30 | mode << 1 | 1, 0xffff); /* not BCD */
		at += 3000000000ull;
		poll(&p);
		in16(&p, 0x40);
		in16(&p, 0x42);
		deadline(&p);
		assert_true(p.owed <= I8254_OWED_MAX);
	}
}

static void refused(const struct i8254 *good, size_t offset, uint8_t value)
{
	struct i8254 bad = *good, into = *good;
	uint8_t buf[512];
	struct state s = {.buf = buf, .cap = sizeof(buf)};

	((uint8_t *)&bad)[offset] = value;
	i8254_ops.state(&bad, &s);
	s = (struct state){.buf = buf, .cap = sizeof(buf), .restoring = true};
	i8254_ops.state(&into, &s);
	assert_int_equal(s.err, -EINVAL);
}

static void test_save_restore(void **state)
{
	struct i8254 p, q;
	struct line l, k;

	(void)state;
	fresh(&q, &k);
	fresh(&p, &l);
	program(&p, 0, 0x34, 4773);
	out(&p, 0x61, 1);
	program(&p, 2, 0x30, 1000);
	out(&p, 0x42, 0x55); /* half of a count */
	at += 10000;
	poll(&p);
	chip_copy(&i8254_ops, &q, &p);
	q.irq = p.irq;
	assert_memory_equal(&p.channel, &q.channel, sizeof(p.channel));
	assert_int_equal(deadline(&p), deadline(&q));
	assert_int_equal(p.owed, q.owed);
	assert_int_equal(in(&q, 0x61), in(&p, 0x61));

	/* what no chip can have saved */
	refused(&p, offsetof(struct i8254, channel[0].mode), 6);
	refused(&p, offsetof(struct i8254, channel[1].access), 0);
	refused(&p, offsetof(struct i8254, channel[1].access), 4);
	refused(&p, offsetof(struct i8254, channel[2].count) + 2, 2);
	refused(&p, offsetof(struct i8254, channel[2].loaded) + 2, 2);
	refused(&p, offsetof(struct i8254, owed) + 1, 0xff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_clock_is_exact),
	    cmocka_unit_test(test_linux_calibration),
	    cmocka_unit_test(test_linux_quick_calibration),
	    cmocka_unit_test(test_mode0),
	    cmocka_unit_test(test_mode0_gate),
	    cmocka_unit_test(test_mode1_one_shot),
	    cmocka_unit_test(test_mode2_periodic),
	    cmocka_unit_test(test_mode2_new_count_waits),
	    cmocka_unit_test(test_mode3_square),
	    cmocka_unit_test(test_mode3_new_count_at_half),
	    cmocka_unit_test(test_mode4_linux_oneshot),
	    cmocka_unit_test(test_mode5_strobe),
	    cmocka_unit_test(test_late_guest_gets_all_ticks),
	    cmocka_unit_test(test_latch_and_read_back),
	    cmocka_unit_test(test_bcd),
	    cmocka_unit_test(test_port_b),
	    cmocka_unit_test(test_absurd_counts),
	    cmocka_unit_test(test_save_restore),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
