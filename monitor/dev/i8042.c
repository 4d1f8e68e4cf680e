// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The 8042 keyboard controller, AT type, without a keyboard. (IBM Personal System/2 Hardware Interface
 * Technical Reference, Keyboard and Auxiliary Device Controller.)
 *
 * It is there because PCs are reset through it (command 0xfe, Linux's first choice) and because its absence
 * costs Linux's reset path a second of waiting. Every command answers at once, so that no probe runs into a
 * timeout: whatever is sent to the keyboard comes back as 0xfe with the time-out bit, and there is no
 * auxiliary port (0xd3 does not loop back through it, 0xa9 says that the clock is stuck). A20 is stored and
 * has no effect.
 */
#include "monitor/dev/i8042.h"

enum {
	STATUS_OBF = 0x01,
	STATUS_SYS = 0x04,
	STATUS_A2 = 0x08,
	STATUS_UNLOCKED = 0x10,
	STATUS_TIMEOUT = 0x40
};
enum { CTR_KBD_IRQ = 0x01, CTR_SYS = 0x04, CTR_KBD_OFF = 0x10, CTR_AUX_OFF = 0x20, CTR_TRANSLATE = 0x40 };
enum { OUT_RUN = 0x01, OUT_A20 = 0x02, OUT_OBF = 0x10, OUT_IDLE = 0xcc };

#define RESEND 0xfe /* what the controller reports for a device that does not answer */

static void update_irq(struct i8042 *k)
{
	irq_set(&k->irq, (k->status & STATUS_OBF) && (k->ram[0] & CTR_KBD_IRQ));
}

static void answer(struct i8042 *k, uint8_t value, uint8_t error)
{
	k->data = value;
	k->status = (k->status & ~STATUS_TIMEOUT) | STATUS_OBF | error;
}

static void write_output_port(struct i8042 *k, uint8_t value)
{
	k->output_port = value & ~OUT_OBF; /* that one shows the buffer */
	if (!(value & OUT_RUN))
		request_raise(k->request, MACHINE_RESET, 0);
}

/* A command without a data byte, or the first half of one with. */
static void start(struct i8042 *k, uint8_t command)
{
	k->command = 0;
	switch (command) {
	case 0x20 ... 0x3f:
		answer(k, k->ram[command & 31], 0);
		break;
	case 0x60 ... 0x7f:
	case 0xd1 ... 0xd4:
		k->command = command;
		break;
	case 0xa9: /* test the auxiliary port: clock line stuck low */
		answer(k, 0x01, 0);
		break;
	case 0xaa: /* self-test */
		k->status |= STATUS_SYS;
		answer(k, 0x55, 0);
		break;
	case 0xab: /* test the keyboard port: nothing wrong with the lines */
		answer(k, 0x00, 0);
		break;
	case 0xad:
		k->ram[0] |= CTR_KBD_OFF;
		break;
	case 0xae:
		k->ram[0] &= ~CTR_KBD_OFF;
		break;
	case 0xc0: /* input port: keyboard lock open */
		answer(k, 0x80, 0);
		break;
	case 0xd0:
		answer(k, k->output_port | (k->status & STATUS_OBF ? OUT_OBF : 0), 0);
		break;
	case 0xdd:
		k->output_port &= ~OUT_A20;
		break;
	case 0xdf:
		k->output_port |= OUT_A20;
		break;
	case 0xe0: /* test inputs */
		answer(k, 0x00, 0);
		break;
	case 0xf0 ... 0xff: /* pulse the output lines whose bit is 0; line 0 is reset */
		if (!(command & OUT_RUN))
			request_raise(k->request, MACHINE_RESET, 0);
		break;
	}
}

static void finish(struct i8042 *k, uint8_t command, uint8_t value)
{
	switch (command) {
	case 0x60 ... 0x7f:
		k->ram[command & 31] = value;
		if (command == 0x60)
			k->status = (k->status & ~STATUS_SYS) | (value & CTR_SYS ? STATUS_SYS : 0);
		break;
	case 0xd1:
		write_output_port(k, value);
		break;
	case 0xd2: /* as if the keyboard had sent it */
	case 0xd3: /* an AT controller takes it for the same: not marked as auxiliary */
		answer(k, value, 0);
		break;
	case 0: /* to the keyboard, which turns its port on */
		k->ram[0] &= ~CTR_KBD_OFF;
		answer(k, RESEND, STATUS_TIMEOUT);
		break;
	default: /* 0xd4, to the auxiliary device */
		answer(k, RESEND, STATUS_TIMEOUT);
	}
}

static void i8042_write(void *chip, uint16_t port, unsigned size, uint32_t value, uint64_t now)
{
	struct i8042 *k = chip;
	uint8_t command = k->command;

	(void)size, (void)now;
	if (port & 4) {
		k->status |= STATUS_A2;
		start(k, value);
	} else {
		k->status &= ~STATUS_A2;
		k->command = 0;
		finish(k, command, value);
	}
	update_irq(k);
}

static uint32_t i8042_read(void *chip, uint16_t port, unsigned size, uint64_t now)
{
	struct i8042 *k = chip;

	(void)size, (void)now;
	if (port & 4)
		return k->status;
	k->status &= ~(STATUS_OBF | STATUS_TIMEOUT);
	update_irq(k);
	return k->data;
}

static void i8042_new(void *chip, const struct wiring *wiring)
{
	struct i8042 *k = chip;

	k->irq = wiring->irq;
	k->request = wiring->request;
}

/* As a BIOS leaves it: self-test passed, both ports off. */
static void i8042_reset(void *chip, uint64_t now)
{
	struct i8042 *k = chip;
	unsigned i;

	(void)now;
	for (i = 0; i < sizeof(k->ram); i++)
		k->ram[i] = 0;
	k->ram[0] = CTR_SYS | CTR_KBD_OFF | CTR_AUX_OFF | CTR_TRANSLATE;
	k->command = 0;
	k->status = STATUS_SYS | STATUS_UNLOCKED;
	k->data = 0;
	k->output_port = OUT_IDLE | OUT_A20 | OUT_RUN;
	update_irq(k);
}

static void i8042_save(void *chip, struct state *s)
{
	struct i8042 *k = chip;
	unsigned i;

	for (i = 0; i < sizeof(k->ram); i++)
		state_u8(s, &k->ram[i]);
	state_u8(s, &k->command);
	state_u8(s, &k->status);
	state_u8(s, &k->data);
	state_u8(s, &k->output_port);
}

const struct device_ops i8042_ops = {
    .name = "i8042",
    .new = i8042_new,
    .reset = i8042_reset,
    .state = i8042_save,
    .read = i8042_read,
    .write = i8042_write,
};
