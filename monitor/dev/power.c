// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The ports by which a guest resets the machine or ends the run (the keyboard controller's reset line, which
 * Linux tries first, is in i8042.c):
 *
 *   0x92   system control port A: bit 0 rising resets, bit 1 is A20 (82371AB 4.2.7)
 *   0xcf9  reset control: bit 2 rising resets, bit 1 says how thoroughly (82371AB 4.1.5). Byte accesses only:
 *          0xcf8 as a dword is PCI's address register, and a bus address in its second byte must not reset
 *   0x604  PM1a_CNT: SLP_EN (bit 13) with SLP_TYP 0 is soft-off (ACPI 6.4, 4.8.3.2.1). The place and the
 *          type are those of QEMU's i440FX machine, so that guests written for it can power off
 *   0xf4   debug exit, as QEMU's isa-debug-exit: the value written becomes the run's outcome
 *
 * There is no PCI host bridge yet: 0xcf8 to 0xcff read as all ones, which both of Linux's probes take for
 * absence.
 */
#include "monitor/dev/power.h"

enum { PORT_A_RESET = 0x01, PORT_A_MASK = 0x03 };
enum { RESET_NOW = 0x04, RESET_MASK = 0x0e };
enum { SLP_EN = 0x2000, SLP_TYP = 0x1c00 };

static void write_pm1a(struct power *p, unsigned port, unsigned size, uint32_t value)
{
	unsigned shift = 8 * (port & 1);
	uint32_t mask = (size == 1 ? 0xffu : 0xffffu) << shift;

	p->pm1a_cnt = (p->pm1a_cnt & ~mask) | (value << shift & mask);
	if ((p->pm1a_cnt & (SLP_EN | SLP_TYP)) == SLP_EN)
		request_raise(p->request, MACHINE_POWEROFF, 0);
	p->pm1a_cnt &= ~SLP_EN; /* write-only: reads as 0 */
}

static void power_write(void *chip, uint16_t port, unsigned size, uint32_t value, uint64_t now)
{
	struct power *p = chip;

	(void)now;
	switch (port) {
	case 0x92:
		if (value & ~p->port_a & PORT_A_RESET)
			request_raise(p->request, MACHINE_RESET, 0);
		p->port_a = value & PORT_A_MASK;
		break;
	case 0xcf9:
		if (size != 1)
			break;
		if (value & ~p->reset_control & RESET_NOW)
			request_raise(p->request, MACHINE_RESET, 0);
		p->reset_control = value & RESET_MASK;
		break;
	case 0x604:
	case 0x605:
		write_pm1a(p, port, size, value);
		break;
	case 0xf4:
		request_raise(p->request, MACHINE_DEBUG_EXIT, value);
	}
}

static uint32_t power_read(void *chip, uint16_t port, unsigned size, uint64_t now)
{
	struct power *p = chip;

	(void)now;
	switch (port) {
	case 0x92:
		return p->port_a;
	case 0xcf9:
		return size == 1 ? p->reset_control : UINT32_MAX;
	case 0x604:
	case 0x605:
		return p->pm1a_cnt >> 8 * (port & 1);
	}
	return UINT32_MAX;
}

static void power_new(void *chip, const struct wiring *wiring)
{
	struct power *p = chip;

	p->request = wiring->request;
}

static void power_reset(void *chip, uint64_t now)
{
	struct power *p = chip;

	(void)now;
	p->port_a = 0x02; /* A20 on: there is no real mode here to need it off */
	p->reset_control = 0;
	p->pm1a_cnt = 0;
}

static void power_save(void *chip, struct state *s)
{
	struct power *p = chip;

	state_u8(s, &p->port_a);
	state_u8(s, &p->reset_control);
	state_u16(s, &p->pm1a_cnt);
}

const struct device_ops power_ops = {
    .name = "power",
    .new = power_new,
    .reset = power_reset,
    .state = power_save,
    .read = power_read,
    .write = power_write,
};
