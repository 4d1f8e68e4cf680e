// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The guest's serial line on the user's terminal. A terminal goes into raw mode, and Ctrl-A introduces
 * commands to Paravane; pipes and files are passed through as they are.
 */
#ifndef MONITOR_VMX_CONSOLE_H
#define MONITOR_VMX_CONSOLE_H

#include <termios.h>

#include "monitor/dev/ring.h"
#include "monitor/vmx/options.h"
#include "monitor/vmx/panic.h"

#define ESCAPE_KEY 0x01 /* Ctrl-A */

enum escape_action { ESCAPE_PASS, ESCAPE_NOTHING, ESCAPE_QUIT, ESCAPE_HELP };

struct escape {
	bool armed; /* the last byte was Ctrl-A */
};

/* One byte typed. ESCAPE_PASS: give *byte to the guest (Ctrl-A a sends Ctrl-A itself). */
enum escape_action escape_feed(struct escape *e, uint8_t *byte);

struct console {
	int in, out; /* -1: none, or at its end */
	bool in_tty, out_owned;
	struct escape escape;
	struct panic_watch panic;
	uint8_t in_buf[4096], out_buf[4096];
	uint32_t in_len, out_pos, out_len;
	uint64_t out_next_ns; /* before then, output is left to gather */
};

enum console_result {
	CONSOLE_MOVED = 1, /* the guest should look: bytes came, or room was made in a ring that had filled */
	CONSOLE_QUIT = 2,  /* Ctrl-A x */
	CONSOLE_AGAIN = 4, /* more to do at once */
	CONSOLE_LATER = 8, /* there is output, for CONSOLE_GATHER_NS or less to gather more */
};

/*
 * A guest prints byte by byte, each some microseconds behind the other. It tells of a byte only when the ring was empty, so
 * one that stays there for a while saves it a wake-up for each of those that follow.
 */
#define CONSOLE_GATHER_NS 1000000u

int console_open(struct console *c, const struct run_options *o, struct diag *d);
/* Move what can be moved without waiting; CLOCK_MONOTONIC says now_ns. Mask of enum console_result. */
unsigned console_pump(struct console *c, struct ring *to_guest, struct ring *from_guest, uint64_t now_ns);
/* What to wait for before the next pump. */
bool console_wants_in(const struct console *c);
bool console_wants_out(const struct console *c);
/* Write out what the guest has left, giving up when the reader takes nothing for a while; restore the terminal. */
void console_close(struct console *c, struct ring *from_guest);
/* After SIGCONT: a shell has had the terminal in between. */
void console_resume(struct console *c);

#endif
