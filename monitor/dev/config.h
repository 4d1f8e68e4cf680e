/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a machine is built from; the caller's, copied by machine_new(). */
#ifndef MONITOR_DEV_CONFIG_H
#define MONITOR_DEV_CONFIG_H

#include <stdint.h>

struct ring;

struct machine_config {
	uint64_t ram_bytes;
	int64_t rtc_epoch;	   /* seconds since 1970 that the clock chip shows at guest time 0 */
	struct ring *console_in;   /* consumed by the UART; NULL: a line on which nothing ever arrives */
	struct ring *console_out;  /* filled by the UART; NULL: output is dropped */
	void (*notify)(void *ctx); /* console_out wants its consumer (RING_WAKE), or console_in, once full,
				      has room again; NULL for none */
	void *ctx;
};

#endif
