// SPDX-License-Identifier: GPL-3.0-or-later
/* See panic.h. The text has no prefix of itself inside ('K' stands only at its start), so a mismatch starts over. */
#include "monitor/vmx/panic.h"

void panic_feed(struct panic_watch *w, const uint8_t *bytes, size_t n)
{
	static const char text[] = PANIC_TEXT;

	for (size_t i = 0; i < n && !w->seen; i++) {
		if (bytes[i] != (uint8_t)text[w->matched])
			w->matched = 0;
		if (bytes[i] == (uint8_t)text[w->matched])
			w->matched++;
		w->seen = w->matched == sizeof(text) - 1;
	}
}
