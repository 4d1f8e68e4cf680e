/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MONITOR_DEV_MC146818_H
#define MONITOR_DEV_MC146818_H

#include "monitor/dev/device.h"

/* The clock and CMOS memory at 0x70 and 0x71. */
struct mc146818 {
	struct irq_line irq;
	uint64_t ram_bytes;
	int64_t epoch; /* of guest time 0 */
	uint8_t index;
	uint8_t cell[128]; /* the ten time cells count only while the clock stands still, see mc146818.c */
	int64_t base;	   /* seconds since 1970 that the clock shows at `origin` */
	uint64_t origin;   /* guest ns at which a second began */
	uint64_t divider;  /* guest ns at which the divider chain stood at a whole second */
	uint64_t seen;	   /* guest ns up to which the flags of register C are accounted for */
};

extern const struct device_ops mc146818_ops;

#endif
