/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MONITOR_DEV_POWER_H
#define MONITOR_DEV_POWER_H

#include "monitor/dev/device.h"

/* The ports by which a guest resets the machine or ends the run; see power.c for the list. */
struct power {
	struct request *request;
	uint8_t port_a;	       /* 0x92 */
	uint8_t reset_control; /* 0xcf9 */
	uint16_t pm1a_cnt;     /* 0x604 */
};

extern const struct device_ops power_ops;

#endif
