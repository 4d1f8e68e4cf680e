// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/unit/chip.h"

#include "monitor/dev/ns16550.h"

enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR, THR = RBR, FCR = IIR };

struct bench {
	struct ns16550 u;
	struct line line;
	struct ring in, out;
	unsigned notified;
};

static struct bench *b;

static void notify(void *ctx)
{
	((struct bench *)ctx)->notified++;
}

static void out(unsigned reg, uint8_t value)
{
	ns16550_ops.write(&b->u, 0x3f8 + reg, 1, value, 0);
}

static uint8_t in(unsigned reg)
{
	return ns16550_ops.read(&b->u, 0x3f8 + reg, 1, 0);
}

static void poll(void)
{
	ns16550_ops.poll(&b->u, 0);
}

static int setup(void **state)
{
	static struct bench bench;
	struct machine_config config;
	struct wiring w;

	(void)state;
	b = &bench;
	memset(b, 0xa5, sizeof(*b));
	b->line = (struct line){0};
	b->notified = 0;
	ring_init(&b->in);
	ring_init(&b->out);
	config =
	    (struct machine_config){.console_in = &b->in, .console_out = &b->out, .notify = notify, .ctx = b};
	w = (struct wiring){.config = &config, .irq = line_wire(&b->line, 4)};
	ns16550_ops.new(&b->u, &w);
	ns16550_ops.reset(&b->u, 0);
	return 0;
}

static void type(const char *text)
{
	ring_put_many(&b->in, (const uint8_t *)text, strlen(text));
	poll();
}

static void expect_output(const char *text)
{
	uint8_t got[256];
	uint32_t n = ring_get_many(&b->out, got, sizeof(got));

	assert_int_equal(n, strlen(text));
	assert_memory_equal(got, text, n);
}

static void test_reset_values(void **state)
{
	(void)state;
	assert_int_equal(in(IER), 0);
	assert_int_equal(in(IIR), 1);
	assert_int_equal(in(LCR), 0);
	assert_int_equal(in(MCR), 0);
	assert_int_equal(in(LSR), 0x60);
	assert_int_equal(in(MSR), 0xb0);
	out(SCR, 0x5a);
	assert_int_equal(in(SCR), 0x5a);
}

/* Linux 8250_port.c: size_fifo() */
static unsigned size_fifo(void)
{
	uint8_t lcr = in(LCR), mcr = in(MCR);
	unsigned n;

	out(LCR, 0);
	out(FCR, 7);
	out(MCR, 0x10);
	out(LCR, 0x80);
	out(0, 1);
	out(1, 0);
	out(LCR, 3);
	for (n = 0; n < 256; n++)
		out(THR, n);
	for (n = 0; (in(LSR)&1) && n < 256; n++)
		assert_int_equal(in(RBR), n);
	out(FCR, 1);
	out(MCR, mcr);
	out(LCR, lcr);
	return n;
}

/* Linux 8250_port.c: autoconfig() and autoconfig_16550a(), every test that leads to another chip. */
static void test_linux_autoconfig(void **state)
{
	uint8_t mcr, status1, status2;

	(void)state;
	out(IER, 0);
	assert_int_equal(in(IER)&0x0f, 0);
	out(IER, 0x0f);
	assert_int_equal(in(IER)&0x0f, 0x0f);
	out(IER, 0);
	mcr = in(MCR);
	out(MCR, 0x10 | 0x0a);
	assert_int_equal(in(MSR)&0xf0, 0x90);
	out(MCR, mcr);
	out(LCR, 0xbf);
	out(FCR, 0);
	out(LCR, 0);
	out(FCR, 1);
	assert_int_equal(in(IIR) >> 6, 3);
	out(LCR, 0x80);
	assert_int_not_equal(in(2), 0); /* no EFR: not a 16650 or 16850 */
	out(LCR, 0xbf);
	assert_int_not_equal(in(2), 0);
	out(LCR, 0); /* no bank 2: not an NS SuperIO */
	status1 = in(MCR);
	out(LCR, 0xe0);
	status2 = in(2);
	if (!((status1 ^ status2) & 0x10)) {
		out(LCR, 0);
		out(MCR, status1 ^ 0x10);
		out(LCR, 0xe0);
		status2 = in(2);
		out(LCR, 0);
		out(MCR, status1);
		assert_false((status2 ^ status1) & 0x10);
	}
	out(LCR, 0); /* no 64-byte FIFO: not a 16750 */
	out(FCR, 1);
	out(FCR, 0x21);
	assert_int_equal(in(IIR) >> 5, 6);
	out(LCR, 0x80);
	out(FCR, 0x21);
	assert_int_equal(in(IIR) >> 5, 6);
	out(LCR, 0);
	out(IER, 0x40); /* no UUE: not an XScale */
	assert_false(in(IER)&0x40);
	assert_int_equal(size_fifo(), 16); /* not a U6 */
	expect_output("");		   /* loopback reaches nobody */
}

/* serial8250_do_startup(): the THRE tests whose failure makes Linux fall back to a timer. */
static void test_linux_thre_tests(void **state)
{
	(void)state;
	out(FCR, 1);
	out(MCR, 0x08);
	assert_int_equal(in(LSR)&0x60, 0x60);
	out(IER, 2);
	assert_int_equal(in(IIR)&0x0f, 2);
	out(IER, 0);
	out(IER, 2);
	assert_int_equal(in(IIR)&0x0f, 2); /* asserted again: no UART_BUG_THRE */
	out(IER, 0);
	out(IER, 2);
	assert_int_equal(in(LSR)&0x40, 0x40);
	assert_int_equal(in(IIR)&0x0f, 2); /* no UART_BUG_TXEN */
	out(IER, 0);
}

static void test_thre_interrupt(void **state)
{
	unsigned rises;

	(void)state;
	out(FCR, 1);
	out(MCR, 0x0b);
	out(IER, 2);
	assert_true(b->line.level);
	assert_int_equal(in(IIR), 0xc2); /* reading it ends it ... */
	assert_false(b->line.level);
	assert_int_equal(in(IIR), 0xc1);
	out(IER, 2); /* ... for good: only a change of the enable bit raises it again */
	assert_false(b->line.level);
	rises = b->line.rises;
	out(THR, 'x');
	assert_int_equal(b->line.rises, rises + 1);
	out(THR, 'y');
	assert_true(b->line.level);
	out(IER, 0);
	assert_false(b->line.level);
	expect_output("xy");
	/* OUT2 gates the pin, not IIR */
	out(MCR, 0x03);
	out(IER, 2);
	assert_false(b->line.level);
	assert_int_equal(in(IIR), 0xc2);
}

static void test_full_ring_stops_the_guest_and_loses_nothing(void **state)
{
	unsigned sent = 0, got = 0, i;
	uint8_t byte;

	(void)state;
	out(FCR, 1);
	out(MCR, 0x0b);
	assert_int_equal(ns16550_ops.deadline(&b->u, 7), NO_DEADLINE);
	while (in(LSR)&0x20) /* as Linux: up to 16 bytes whenever THRE shows */
		for (i = 0; i < 16; i++)
			out(THR, sent++);
	assert_int_equal(ring_free(&b->out), 0);
	assert_int_equal(sent, RING_SIZE + 16);
	assert_int_equal(in(LSR)&0x60, 0);
	assert_int_equal(b->notified, 2); /* not empty any more; nearly full */
	assert_int_equal(ns16550_ops.deadline(&b->u, 7), 7 + NS16550_RETRY_NS);
	out(IER, 2);
	assert_false(b->line.level);
	out(FCR, 5); /* clears what a real line would have sent long ago: kept */
	assert_true(ring_get(&b->out, &byte));
	assert_int_equal(byte, got++ & 0xff);
	poll();
	assert_false(b->line.level); /* one of sixteen went */
	while (ring_get(&b->out, &byte)) {
		assert_int_equal(byte, got++ & 0xff);
		poll();
	}
	assert_int_equal(got, sent);
	assert_true(b->line.level);
	assert_int_equal(in(LSR)&0x60, 0x60);
}

static void test_notify(void **state)
{
	(void)state;
	out(THR, 'a');
	assert_int_equal(b->notified, 1);
	out(THR, 'b');
	assert_int_equal(b->notified, 1);
	expect_output("ab");
	out(THR, 'c');
	assert_int_equal(b->notified, 2);
}

static void test_receive(void **state)
{
	(void)state;
	type("hello");
	assert_int_equal(in(LSR)&1, 0); /* no RTS, nobody sends */
	out(FCR, 7);
	out(MCR, 0x0b);
	assert_int_equal(in(LSR)&1, 1);
	out(IER, 1);
	assert_true(b->line.level);
	assert_int_equal(in(IIR), 0xc4);
	out(FCR, 0x81); /* trigger at 8: five bytes are a timeout */
	assert_int_equal(in(IIR), 0xcc);
	type("world");
	assert_int_equal(in(IIR), 0xc4);
	assert_int_equal(in(RBR), 'h');
	assert_int_equal(in(RBR), 'e');
	assert_int_equal(in(RBR), 'l');
	assert_int_equal(in(IIR), 0xcc);
	while (in(LSR)&1)
		in(RBR);
	assert_false(b->line.level);
	assert_int_equal(in(IIR), 0xc1);
	assert_int_equal(in(RBR), 0);
}

static void test_a_long_paste_calls_for_more(void **state)
{
	unsigned n = 0;

	(void)state;
	while (ring_put(&b->in, n) != RING_FULL)
		n++;
	out(FCR, 1);
	out(MCR, 0x0b);
	for (n = 0; n < RING_SIZE; n++) {
		assert_int_equal(in(RBR), n & 0xff);
		if (n < RING_SIZE / 2 - 16)
			assert_int_equal(b->notified, 0);
	}
	assert_int_equal(b->notified, 1);
	assert_false(in(LSR)&1);
}

/* Commands piped in before the guest boots: Linux clears FIFOs and reads RBR with RTS low, then raises RTS.
 */
static void test_early_input_survives_linux_startup(void **state)
{
	const char *script = "echo one; echo two; poweroff -f\n";
	char got[64] = "";
	unsigned n = 0;

	(void)state;
	type(script);
	out(FCR, 1);
	out(FCR, 7);
	out(FCR, 0);
	in(LSR);
	in(RBR);
	in(IIR);
	in(MSR);
	out(LCR, 3);
	out(MCR, 0x08);
	out(FCR, 0x81);
	out(IER, 5);
	out(MCR, 0x0b);
	while (b->line.level)
		while (in(LSR)&1)
			got[n++] = in(RBR);
	assert_string_equal(got, script);
}

static void test_priorities(void **state)
{
	(void)state;
	out(FCR, 1);
	out(MCR, 0x0b);
	in(MSR);
	out(IER, 0x0f);
	out(MCR, 0x1b); /* loopback: DCTS DDSR no change, RTS DTR OUT2 mirror; RI stays */
	out(MCR, 0x19); /* drops RTS: DCTS */
	out(THR, 'a');
	b->u.overrun = 2;
	assert_int_equal(in(IIR), 0xc6);
	assert_int_equal(in(LSR)&3, 3);
	assert_int_equal(in(IIR), 0xc4);
	assert_int_equal(in(RBR), 'a');
	assert_int_equal(in(IIR), 0xc2);
	assert_int_equal(in(IIR), 0xc0);
	assert_int_equal(in(MSR)&0x01, 0x01);
	assert_int_equal(in(IIR), 0xc1);
}

static void test_loopback_modem_lines(void **state)
{
	(void)state;
	out(MCR, 0x10);
	assert_int_equal(in(MSR), 0x0b); /* CTS, DSR, DCD fell */
	assert_int_equal(in(MSR), 0x00);
	out(MCR, 0x1f);
	assert_int_equal(in(MSR), 0xfb); /* RI rising is no event */
	out(MCR, 0x1b);
	assert_int_equal(in(MSR), 0xb4); /* its fall is */
	out(MCR, 0x00);
	assert_int_equal(in(MSR), 0xb0);
}

static void test_overrun(void **state)
{
	unsigned i;

	(void)state;
	out(MCR, 0x10);
	out(THR, 'a');
	out(THR, 'b'); /* without FIFO the newcomer wins */
	assert_int_equal(in(LSR)&3, 3);
	assert_int_equal(in(LSR)&3, 1); /* reading clears OE */
	assert_int_equal(in(RBR), 'b');
	out(FCR, 1);
	for (i = 0; i < 17; i++)
		out(THR, 'a' + i); /* with FIFO it is lost */
	assert_int_equal(in(LSR)&3, 3);
	for (i = 0; i < 16; i++)
		assert_int_equal(in(RBR), 'a' + i);
	assert_int_equal(in(LSR)&1, 0);
	out(THR, 'z');
	out(FCR, 3);
	assert_int_equal(in(LSR)&1, 0);
}

static void test_break(void **state)
{
	(void)state;
	out(FCR, 1);
	out(MCR, 0x0b);
	out(IER, 5);
	ns16550_break(&b->u);
	poll();
	assert_true(b->line.level);
	type("h"); /* SysRq-h */
	assert_int_equal(in(IIR), 0xc6);
	assert_int_equal(in(LSR), 0x60 | 0x80 | 0x10 | 1);
	assert_int_equal(in(LSR), 0x60 | 1); /* once */
	assert_int_equal(in(RBR), 0);
	assert_int_equal(in(LSR), 0x60 | 1);
	assert_int_equal(in(RBR), 'h');
	assert_false(b->line.level);
}

static void test_divisor_latch(void **state)
{
	(void)state;
	out(LCR, 0x83);
	out(0, 12);
	out(1, 0x34);
	assert_int_equal(in(0), 12);
	assert_int_equal(in(1), 0x34);
	out(LCR, 3);
	assert_int_equal(in(1), 0);
	expect_output("");
}

static void test_ring_indices_are_hostile(void **state)
{
	uint8_t bytes[64];

	(void)state;
	atomic_store(&b->out.head, 0xdeadbeef);
	atomic_store(&b->out.tail, 0x12345678);
	assert_true(ring_used(&b->out) <= RING_SIZE);
	assert_int_equal(ring_get_many(&b->out, bytes, sizeof(bytes)), sizeof(bytes));
	assert_int_equal(ring_put(&b->out, 'x'), RING_FULL);
	/* indices wrap around 2^32 */
	atomic_store(&b->out.head, 0xffffffff);
	atomic_store(&b->out.tail, 0xffffffff);
	assert_int_equal(ring_put(&b->out, 'x'), RING_WAKE);
	assert_int_equal(ring_put(&b->out, 'y'), RING_STORED);
	expect_output("xy");
}

static void test_save_restore(void **state)
{
	static struct ns16550 v;
	struct line k = {0};
	struct machine_config config = {0};
	struct wiring w = {.config = &config, .irq = line_wire(&k, 4)};

	(void)state;
	ns16550_ops.new(&v, &w);
	ns16550_ops.reset(&v, 0);
	out(FCR, 0x41);
	out(MCR, 0x0b);
	out(IER, 7);
	out(SCR, 0x77);
	type("abcd");
	chip_copy(&ns16550_ops, &v, &b->u);
	assert_memory_equal(&v.rx, &b->u.rx, sizeof(v.rx));
	assert_int_equal(ns16550_ops.read(&v, 0x3fa, 1, 0), in(IIR));
	assert_true(k.level);
	assert_int_equal(ns16550_ops.read(&v, 0x3f8, 1, 0), 'a');
	assert_int_equal(ns16550_ops.read(&v, 0x3ff, 1, 0), 0x77);
}

#define CASE(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(test_reset_values),
	    CASE(test_linux_autoconfig),
	    CASE(test_linux_thre_tests),
	    CASE(test_thre_interrupt),
	    CASE(test_full_ring_stops_the_guest_and_loses_nothing),
	    CASE(test_notify),
	    CASE(test_receive),
	    CASE(test_a_long_paste_calls_for_more),
	    CASE(test_early_input_survives_linux_startup),
	    CASE(test_priorities),
	    CASE(test_loopback_modem_lines),
	    CASE(test_overrun),
	    CASE(test_break),
	    CASE(test_divisor_latch),
	    CASE(test_ring_indices_are_hostile),
	    CASE(test_save_restore),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
