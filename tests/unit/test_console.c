// SPDX-License-Identifier: GPL-3.0-or-later
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "monitor/vmx/console.h"

static struct ring to_guest, from_guest;

/* What the guest gets of a typed string; action[] collects what is not ESCAPE_PASS or NOTHING. */
static const char *typed(const char *keys, enum escape_action *last)
{
	static char out[64];
	struct escape e = {false};
	size_t n = 0;

	*last = ESCAPE_PASS;
	for (; *keys; keys++) {
		uint8_t key = (uint8_t)*keys;
		enum escape_action a = escape_feed(&e, &key);

		if (a == ESCAPE_PASS)
			out[n++] = (char)key;
		else if (a != ESCAPE_NOTHING)
			*last = a;
	}
	out[n] = '\0';
	return out;
}

static void escapes(void **state)
{
	enum escape_action a;

	(void)state;
	assert_string_equal(typed("ls\r", &a), "ls\r");
	assert_int_equal(a, ESCAPE_PASS);
	assert_string_equal(typed("l\001xs", &a), "ls");
	assert_int_equal(a, ESCAPE_QUIT);
	assert_string_equal(typed("\001h", &a), "");
	assert_int_equal(a, ESCAPE_HELP);
	assert_string_equal(typed("\001ab", &a), "\001b");
	assert_int_equal(a, ESCAPE_PASS);
	assert_string_equal(typed("\001\001x", &a), "\001x"); /* Ctrl-A twice sends one and is over */
	assert_int_equal(a, ESCAPE_PASS);
	assert_string_equal(typed("\001zx", &a), "x"); /* an unknown command is swallowed whole */
	assert_int_equal(a, ESCAPE_PASS);
	assert_string_equal(typed("x\003\004", &a), "x\003\004"); /* Ctrl-C, Ctrl-D are the guest's */
}

static void open_pipes(struct console *c, int in[2], int out[2])
{
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	ring_init(&to_guest);
	ring_init(&from_guest);
	*c = (struct console){.in = in[0], .out = out[1]};
}

static void close_pipes(int in[2], int out[2])
{
	close(in[0]);
	close(in[1]);
	close(out[0]);
	close(out[1]);
}

static uint64_t now = 5000000000; /* CLOCK_MONOTONIC */

static void bytes_pass_both_ways(void **state)
{
	uint8_t got[16];
	struct console c;
	int in[2], out[2];

	(void)state;
	open_pipes(&c, in, out);
	assert_int_equal(write(in[1], "a\001xb", 4), 4); /* a pipe has no escape key */
	assert_int_equal(ring_put_many(&from_guest, (const uint8_t *)"hello", 5), 5);
	assert_int_equal(console_pump(&c, &to_guest, &from_guest, now) & (CONSOLE_MOVED | CONSOLE_QUIT),
			 CONSOLE_MOVED);
	assert_int_equal(ring_get_many(&to_guest, got, sizeof(got)), 4);
	assert_memory_equal(got, "a\001xb", 4);
	assert_int_equal(read(out[0], got, sizeof(got)), 5);
	assert_memory_equal(got, "hello", 5);
	close_pipes(in, out);
}

static void terminal_obeys_escape(void **state)
{
	struct console c;
	int in[2], out[2];

	(void)state;
	open_pipes(&c, in, out);
	c.in_tty = true;
	assert_int_equal(write(in[1], "l\001xs", 4), 4);
	assert_true(console_pump(&c, &to_guest, &from_guest, now) & CONSOLE_QUIT);
	assert_int_equal(ring_used(&to_guest), 2);
	close_pipes(in, out);
}

static void end_of_input_ends_input_only(void **state)
{
	struct console c;
	int in[2], out[2];
	uint8_t got[4];

	(void)state;
	open_pipes(&c, in, out);
	close(in[1]);
	assert_false(console_pump(&c, &to_guest, &from_guest, now) & CONSOLE_QUIT);
	assert_false(console_wants_in(&c));
	ring_put_many(&from_guest, (const uint8_t *)"x", 1);
	console_pump(&c, &to_guest, &from_guest, now);
	assert_int_equal(read(out[0], got, sizeof(got)), 1);
	in[1] = -1;
	close_pipes(in, out);
}

static void a_full_ring_stops_reading(void **state)
{
	static uint8_t junk[RING_SIZE];
	struct console c;
	int in[2], out[2];

	(void)state;
	open_pipes(&c, in, out);
	ring_put_many(&to_guest, junk, RING_SIZE);
	assert_int_equal(write(in[1], "abc", 3), 3);
	console_pump(&c, &to_guest, &from_guest, now);
	assert_false(console_wants_in(&c));
	assert_int_equal(c.in_len, 3);
	c.in_tty = true; /* but a terminal may bring Ctrl-A x at any time */
	assert_true(console_wants_in(&c));
	assert_int_equal(write(in[1], "\001x", 2), 2);
	assert_true(console_pump(&c, &to_guest, &from_guest, now) & CONSOLE_QUIT);
	assert_int_equal(ring_get_many(&to_guest, junk, RING_SIZE), RING_SIZE);
	assert_true(console_pump(&c, &to_guest, &from_guest, now) & CONSOLE_MOVED);
	assert_int_equal(ring_used(&to_guest), 3);
	close_pipes(in, out);
}

static void a_full_pipe_does_not_block(void **state)
{
	static uint8_t junk[RING_SIZE];
	struct console c;
	int in[2], out[2];
	unsigned rounds;

	(void)state;
	open_pipes(&c, in, out);
	for (rounds = 0; rounds < 1000 && !console_wants_out(&c); rounds++) {
		ring_put_many(&from_guest, junk, RING_SIZE);
		while (console_pump(&c, &to_guest, &from_guest, now) & CONSOLE_AGAIN)
			;
	}
	assert_true(console_wants_out(&c));
	close_pipes(in, out);
}

/* The first byte goes out at once; what follows closely stays in the ring, and tells nobody of itself, for a while. */
static void output_gathers(void **state)
{
	static uint8_t junk[RING_HIGH];
	struct console c;
	int in[2], out[2];
	uint8_t got[8];

	(void)state;
	open_pipes(&c, in, out);
	assert_int_equal(ring_put(&from_guest, 'a'), RING_WAKE);
	assert_false(console_pump(&c, &to_guest, &from_guest, now) & CONSOLE_LATER);
	assert_int_equal(read(out[0], got, sizeof(got)), 1);
	assert_int_equal(ring_put(&from_guest, 'b'), RING_WAKE);
	assert_true(console_pump(&c, &to_guest, &from_guest, now + CONSOLE_GATHER_NS / 2) & CONSOLE_LATER);
	assert_int_equal(ring_put(&from_guest, 'c'), RING_STORED);
	assert_true(console_pump(&c, &to_guest, &from_guest, now + CONSOLE_GATHER_NS - 1) & CONSOLE_LATER);
	assert_false(console_pump(&c, &to_guest, &from_guest, now + CONSOLE_GATHER_NS) & CONSOLE_LATER);
	assert_int_equal(read(out[0], got, sizeof(got)), 2);
	assert_memory_equal(got, "bc", 2);
	ring_put_many(&from_guest, junk, RING_HIGH); /* no waiting while a guest is about to wait for us */
	while (console_pump(&c, &to_guest, &from_guest, now + CONSOLE_GATHER_NS) & CONSOLE_AGAIN)
		;
	assert_int_equal(ring_used(&from_guest), 0);
	close_pipes(in, out);
}

/* Whoever read the output has gone: the rest is dropped, and nothing is left to do about it. */
static void a_reader_that_goes_is_not_missed(void **state)
{
	struct console c;
	int in[2], out[2];
	unsigned rounds = 0;

	(void)state;
	open_pipes(&c, in, out);
	signal(SIGPIPE, SIG_IGN);
	close(out[0]);
	ring_put_many(&from_guest, (const uint8_t *)"lost", 4);
	while ((console_pump(&c, &to_guest, &from_guest, now + 2 * rounds * CONSOLE_GATHER_NS) & CONSOLE_AGAIN) && rounds < 10)
		rounds++;
	assert_true(rounds < 10);
	assert_false(console_wants_out(&c));
	assert_int_equal(ring_used(&from_guest), 0);
	close(in[0]);
	close(in[1]);
	close(out[1]);
}

static void no_console_drops_output(void **state)
{
	static uint8_t junk[RING_SIZE];
	struct console c = {.in = -1, .out = -1};

	(void)state;
	ring_init(&to_guest);
	ring_init(&from_guest);
	ring_put_many(&from_guest, junk, RING_SIZE);
	while (console_pump(&c, &to_guest, &from_guest, now) & CONSOLE_AGAIN)
		;
	assert_int_equal(ring_used(&from_guest), 0);
}

static void file_gets_all_output(void **state)
{
	char path[] = "/tmp/pv-console.XXXXXX", got[32] = "";
	int fd = mkstemp(path);
	struct run_options o = {.console = CONSOLE_FILE, .console_path = path};
	struct console c;
	struct diag d = {""};
	FILE *f;

	(void)state;
	close(fd);
	ring_init(&from_guest);
	assert_int_equal(console_open(&c, &o, &d), 0);
	ring_put_many(&from_guest, (const uint8_t *)"last words", 10);
	console_close(&c, &from_guest);
	f = fopen(path, "r");
	assert_non_null(fgets(got, sizeof(got), f));
	fclose(f);
	unlink(path);
	assert_string_equal(got, "last words");
	o.console_path = "/nonexistent/console";
	assert_int_not_equal(console_open(&c, &o, &d), 0);
	assert_non_null(strstr(d.text, "/nonexistent/console"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(escapes),
	    cmocka_unit_test(bytes_pass_both_ways),
	    cmocka_unit_test(terminal_obeys_escape),
	    cmocka_unit_test(end_of_input_ends_input_only),
	    cmocka_unit_test(a_full_ring_stops_reading),
	    cmocka_unit_test(a_full_pipe_does_not_block),
	    cmocka_unit_test(output_gathers), cmocka_unit_test(a_reader_that_goes_is_not_missed), cmocka_unit_test(no_console_drops_output),
	    cmocka_unit_test(file_gets_all_output),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
