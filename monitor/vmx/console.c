// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The descriptors are shared with other processes (the user's shell), so O_NONBLOCK must not be set on them:
 * poll() first, then read once, or write no more than poll() promises room for.
 */
#include "monitor/vmx/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIPE_WRITE 4096 /* PIPE_BUF: a pipe that polls writable takes as much (pipe(7)) */
#define TTY_WRITE 256
#define ROUNDS 32 /* of one pump; then timers and signals get their turn */
#define DRAIN_WAIT_MS 3000

static const char help[] = "\r\nCtrl-A x  leave, ending the run\r\nCtrl-A a  send Ctrl-A to the guest\r\n"
			   "Ctrl-A h  this help\r\n";

enum escape_action escape_feed(struct escape *e, uint8_t *byte)
{
	if (!e->armed) {
		e->armed = *byte == ESCAPE_KEY;
		return e->armed ? ESCAPE_NOTHING : ESCAPE_PASS;
	}
	e->armed = false;
	switch (*byte) {
	case 'x':
	case 'X':
		return ESCAPE_QUIT;
	case 'h':
	case 'H':
	case '?':
		return ESCAPE_HELP;
	case 'a':
	case 'A':
	case ESCAPE_KEY:
		*byte = ESCAPE_KEY;
		return ESCAPE_PASS;
	default:
		return ESCAPE_NOTHING; /* a slip: neither the key nor what was meant by it */
	}
}

/* --- the terminal: one a process, so its state may be one a process; signal handlers need it ------------- */

static struct termios saved, raw;
static volatile sig_atomic_t terminal = -1;

static void terminal_restore(void)
{
	if (terminal >= 0)
		tcsetattr(terminal, TCSADRAIN, &saved);
	terminal = -1;
}

/* A crash of ours must not leave the user's shell without echo. */
static void on_crash(int sig)
{
	if (terminal >= 0)
		tcsetattr(terminal, TCSANOW, &saved);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void terminal_raw(int fd)
{
	static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

	if (tcgetattr(fd, &saved))
		return;
	raw = saved;
	cfmakeraw(&raw);
	terminal = fd;
	atexit(terminal_restore);
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		signal(fatal[i], on_crash);
	tcsetattr(fd, TCSADRAIN, &raw);
}

void console_resume(struct console *c)
{
	if (c->in_tty && terminal >= 0)
		tcsetattr(terminal, TCSADRAIN, &raw);
}

/* --- the two directions ---------------------------------------------------------------------------------- */

int console_open(struct console *c, const struct run_options *o, struct diag *d)
{
	*c = (struct console){.in = -1, .out = -1};
	switch (o->console) {
	case CONSOLE_NONE:
		return 0;
	case CONSOLE_FILE:
		c->out = open(o->console_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
		if (c->out < 0)
			return diag_set(d, -errno, "--console: %s: %s", o->console_path, strerror(errno));
		c->out_owned = true;
		return 0;
	case CONSOLE_STDIO:
		break;
	}
	c->in = fcntl(STDIN_FILENO, F_GETFD) < 0 ? -1 : STDIN_FILENO;
	c->out = fcntl(STDOUT_FILENO, F_GETFD) < 0 ? -1 : STDOUT_FILENO;
	c->in_tty = c->in >= 0 && isatty(c->in);
	if (c->in_tty)
		terminal_raw(c->in);
	return 0;
}

static bool ready(int fd, short events, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, timeout_ms) == 1;
}

/* A terminal is read even while the guest does not listen, or Ctrl-A x would not get through. */
bool console_wants_in(const struct console *c)
{
	return c->in >= 0 && (c->in_len == 0 || (c->in_tty && c->in_len < sizeof(c->in_buf)));
}

bool console_wants_out(const struct console *c)
{
	return c->out >= 0 && c->out_pos < c->out_len;
}

/* Keep those of the n new bytes at the end of in_buf that are for the guest. */
static unsigned filter_keys(struct console *c, uint32_t n)
{
	uint8_t *keys = c->in_buf + c->in_len;
	unsigned result = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint8_t key = keys[i];

		switch (escape_feed(&c->escape, &key)) {
		case ESCAPE_PASS:
			c->in_buf[c->in_len++] = key;
			break;
		case ESCAPE_QUIT:
			result |= CONSOLE_QUIT;
			break;
		case ESCAPE_HELP:
			if (write(STDERR_FILENO, help, sizeof(help) - 1) < 0)
				break; /* nobody to read it */
			break;
		case ESCAPE_NOTHING:
			break;
		}
	}
	return result;
}

static unsigned pump_in(struct console *c, struct ring *to_guest)
{
	unsigned result = 0;
	uint32_t put;

	if (console_wants_in(c) && ready(c->in, POLLIN, 0)) {
		ssize_t n = read(c->in, c->in_buf + c->in_len, sizeof(c->in_buf) - c->in_len);

		if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
			c->in = -1; /* the end of input is not the end of the run */
		if (n > 0 && c->in_tty)
			result |= filter_keys(c, (uint32_t)n);
		else if (n > 0)
			c->in_len += (uint32_t)n;
		if (n > 0)
			result |= CONSOLE_AGAIN;
	}
	put = ring_put_many(to_guest, c->in_buf, c->in_len);
	if (put) {
		c->in_len -= put;
		memmove(c->in_buf, c->in_buf + put, c->in_len);
		result |= CONSOLE_MOVED;
	}
	return result;
}

static unsigned fetch_out(struct console *c, struct ring *from_guest)
{
	bool full;

	if (c->out_pos < c->out_len)
		return 0;
	full = ring_used(from_guest) >= RING_HIGH;
	c->out_pos = 0;
	c->out_len = ring_get_many(from_guest, c->out_buf, sizeof(c->out_buf));
	panic_feed(&c->panic, c->out_buf, c->out_len);
	if (c->out < 0)
		c->out_pos = c->out_len; /* --console none: the guest must not stall on it */
	return full ? CONSOLE_MOVED : 0;
}

/* An empty ring is looked at all the same: only that makes the guest tell of its next byte. */
static bool gathers(const struct console *c, const struct ring *from_guest, uint64_t now_ns)
{
	uint32_t used = ring_used(from_guest);

	return c->out_pos >= c->out_len && now_ns < c->out_next_ns && used && used < RING_HIGH;
}

static unsigned pump_out(struct console *c, struct ring *from_guest, uint64_t now_ns, int timeout_ms)
{
	unsigned result;
	uint32_t size;
	ssize_t n;

	if (gathers(c, from_guest, now_ns))
		return CONSOLE_LATER;
	result = fetch_out(c, from_guest);
	size = c->out_len - c->out_pos;
	if (!c->out_len)
		return result;
	c->out_next_ns = ring_used(from_guest) ? 0 : now_ns + CONSOLE_GATHER_NS;
	if (c->out < 0)
		return result | CONSOLE_AGAIN;
	if (!ready(c->out, POLLOUT, timeout_ms))
		return result;
	if (size > (isatty(c->out) ? TTY_WRITE : PIPE_WRITE))
		size = isatty(c->out) ? TTY_WRITE : PIPE_WRITE;
	n = write(c->out, c->out_buf + c->out_pos, size);
	if (n > 0) {
		c->out_pos += (uint32_t)n;
	} else if (n < 0 && errno != EINTR && errno != EAGAIN) {
		c->out = -1; /* the reader has gone: go on without */
		c->out_pos = c->out_len;
	}
	return result | CONSOLE_AGAIN;
}

unsigned console_pump(struct console *c, struct ring *to_guest, struct ring *from_guest, uint64_t now_ns)
{
	unsigned result = 0, round = CONSOLE_AGAIN;

	for (int i = 0; i < ROUNDS && (round & CONSOLE_AGAIN); i++) {
		round = pump_in(c, to_guest);
		round |= pump_out(c, from_guest, now_ns, 0);
		result |= round & ~(unsigned)CONSOLE_AGAIN;
	}
	return result | (round & CONSOLE_AGAIN);
}

void console_close(struct console *c, struct ring *from_guest)
{
	while (pump_out(c, from_guest, UINT64_MAX, DRAIN_WAIT_MS) & CONSOLE_AGAIN)
		;
	terminal_restore();
	if (c->out_owned && c->out >= 0)
		close(c->out);
	c->in = c->out = -1;
}
