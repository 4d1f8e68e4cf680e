// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The two 8259A interrupt controllers of a PC. (Intel 8259A data sheet, 231468; ELCR: Intel 82371AB 4.2.5.)
 *
 * As in the PC's south bridges, edge or level is chosen per line by the ELCR, and LTIM of ICW1 is ignored; so
 * are MCS-80 mode and the buffered mode bits. As in the data sheet, a line that falls before it is
 * acknowledged takes its request back, in either mode; a chip whose pulse may be shorter than the guest's
 * latency holds the line up itself (i8254.c). Since INTR and INTA are one step here, the spurious vectors
 * (IR7, without an ISR bit) occur only if the CPU model acknowledges what it saw earlier.
 */
#include "monitor/dev/i8259.h"

enum { ICW1_IC4 = 0x01, ICW1_SNGL = 0x02, ICW1_INIT = 0x10 };
enum { ICW4_AEOI = 0x02, ICW4_SFNM = 0x10 };
enum { OCW3_RIS = 0x01, OCW3_RR = 0x02, OCW3_P = 0x04, OCW3 = 0x08, OCW3_SMM = 0x20, OCW3_ESMM = 0x40 };
enum { OCW2_EOI = 1, OCW2_SL = 2, OCW2_R = 4 };

#define CASCADE 2 /* the master's IR that the slave's INT drives */

/* Lines that must not be level-triggered: timer, keyboard, cascade; RTC, FPU (82371AB 4.2.5). */
static const uint8_t elcr_mask[2] = {0xf8, 0xde};

static uint8_t irr(const struct i8259 *c)
{
	return (c->latched & ~c->elcr) | (c->lines & c->elcr);
}

/* Distance of the highest-priority bit of mask from the top, 8 for none. */
static unsigned rank(const struct i8259 *c, uint8_t mask)
{
	unsigned i;

	for (i = 0; i < 8; i++)
		if (mask & 1 << ((c->first + i) & 7))
			break;
	return i;
}

/* The IR that INT stands for, or -1. */
static int wanted(const struct i8259 *c, bool master)
{
	/* In special mask mode a masked level in service inhibits nobody. */
	unsigned serving = rank(c, c->special_mask ? c->isr & ~c->imr : c->isr);
	unsigned asking = rank(c, irr(c) & ~c->imr);
	int ir = (c->first + asking) & 7;

	if (c->step)
		return -1;
	if (asking < serving)
		return ir;
	/* Special fully nested mode: the slave may ask again, for something more urgent of its own. */
	if (asking < 8 && asking == serving && master && (c->icw4 & ICW4_SFNM) && ir == CASCADE)
		return ir;
	return -1;
}

static void line_set(struct i8259 *c, unsigned ir, bool level)
{
	uint8_t bit = 1 << ir;

	if (!level)
		c->latched &= ~bit;
	else if (!(c->lines & bit))
		c->latched |= bit;
	c->lines = level ? c->lines | bit : c->lines & ~bit;
}

static void cascade(struct i8259_pair *p)
{
	line_set(&p->chip[0], CASCADE, wanted(&p->chip[1], false) >= 0);
}

/* Acknowledge the most urgent request: its IR, or -1 if there is none any more. */
static int take(struct i8259 *c, bool master)
{
	int ir = wanted(c, master);

	if (ir < 0)
		return -1;
	c->latched &= ~(1 << ir);
	if (!(c->icw4 & ICW4_AEOI))
		c->isr |= 1 << ir;
	else if (c->rotate_aeoi)
		c->first = (ir + 1) & 7;
	return ir;
}

bool i8259_intr(const struct i8259_pair *pair)
{
	return wanted(&pair->chip[0], true) >= 0;
}

int i8259_ack(struct i8259_pair *p)
{
	int ir = take(&p->chip[0], true);

	if (ir < 0)
		return p->chip[0].base + 7;
	if (ir != CASCADE)
		return p->chip[0].base + ir;
	ir = take(&p->chip[1], false);
	/* INT drops at every INTA, so that what is left makes a new edge (AEOI: nothing else would). */
	line_set(&p->chip[0], CASCADE, false);
	cascade(p);
	return p->chip[1].base + (ir < 0 ? 7 : ir);
}

void i8259_set(void *pair, unsigned irq, bool level)
{
	struct i8259_pair *p = pair;

	if (irq > 15 || irq == CASCADE)
		return;
	line_set(&p->chip[irq / 8], irq & 7, level);
	if (irq >= 8)
		cascade(p);
}

unsigned i8259_state(const void *pair, unsigned irq)
{
	const struct i8259_pair *p = pair;
	const struct i8259 *c = &p->chip[irq / 8 & 1];
	uint8_t bit = 1 << (irq & 7);
	bool masked = (c->imr & bit) || (irq >= 8 && (p->chip[0].imr & 1 << CASCADE));

	return (masked ? IRQ_MASKED : 0) | (irr(c) & bit ? IRQ_REQUESTED : 0);
}

/* ICW1 forgets edges, mask, priorities and modes; a line that is up already must fall before it counts. */
static void begin_init(struct i8259 *c, uint8_t icw1)
{
	c->icw1 = icw1;
	c->step = 2;
	c->latched = c->isr = c->imr = c->icw4 = c->first = 0;
	c->special_mask = c->rotate_aeoi = c->poll = c->read_isr = false;
}

static void write_icw(struct i8259 *c, uint8_t value)
{
	unsigned last = c->icw1 & ICW1_IC4 ? 4 : 0;

	switch (c->step) {
	case 2:
		c->base = value & 0xf8;
		c->step = c->icw1 & ICW1_SNGL ? last : 3;
		break;
	case 3: /* the wiring of the cascade is fixed */
		c->step = last;
		break;
	default:
		c->icw4 = value;
		c->step = 0;
	}
}

static void write_ocw2(struct i8259 *c, uint8_t value)
{
	unsigned command = value >> 5, ir = value & 7;

	if (!(command & OCW2_SL)) {
		if (!(command & OCW2_EOI)) {
			c->rotate_aeoi = command & OCW2_R;
			return;
		}
		/* Non-specific: the most urgent in service, but in special mask mode no masked one. */
		ir = rank(c, c->special_mask ? c->isr & ~c->imr : c->isr);
		if (ir == 8)
			return;
		ir = (c->first + ir) & 7;
	}
	if (command & OCW2_EOI)
		c->isr &= ~(1 << ir);
	if (command & OCW2_R)
		c->first = (ir + 1) & 7;
}

static void write_ocw3(struct i8259 *c, uint8_t value)
{
	if (value & OCW3_ESMM)
		c->special_mask = value & OCW3_SMM;
	c->poll = value & OCW3_P;
	if (value & OCW3_RR)
		c->read_isr = value & OCW3_RIS;
}

static void i8259_write(void *chip, uint16_t port, unsigned size, uint32_t value, uint64_t now)
{
	struct i8259_pair *p = chip;
	unsigned slave = port < 0x4d0 ? port >> 7 & 1 : port & 1;
	struct i8259 *c = &p->chip[slave];

	(void)size, (void)now;
	if (port >= 0x4d0)
		c->elcr = value & elcr_mask[slave];
	else if (port & 1 && c->step)
		write_icw(c, value);
	else if (port & 1)
		c->imr = value;
	else if (value & ICW1_INIT)
		begin_init(c, value);
	else if (value & OCW3)
		write_ocw3(c, value);
	else
		write_ocw2(c, value);
	cascade(p);
}

static uint32_t i8259_read(void *chip, uint16_t port, unsigned size, uint64_t now)
{
	struct i8259_pair *p = chip;
	unsigned slave = port < 0x4d0 ? port >> 7 & 1 : port & 1;
	struct i8259 *c = &p->chip[slave];
	int ir;

	(void)size, (void)now;
	if (port >= 0x4d0)
		return c->elcr;
	if (c->poll) { /* the read stands for INTA */
		c->poll = false;
		ir = take(c, !slave);
		cascade(p);
		return ir < 0 ? 0 : 0x80 | ir;
	}
	if (port & 1)
		return c->imr;
	return c->read_isr ? c->isr : irr(c);
}

static void i8259_new(void *chip, const struct wiring *wiring)
{
	struct i8259_pair *p = chip;

	(void)wiring;
	p->chip[0].lines = p->chip[1].lines = 0;
}

/*
 * The 8259A itself has no reset input. Left here as a BIOS leaves it, everything masked: guests are started
 * without one, and Linux writes the mask register before its first ICW.
 */
static void i8259_reset(void *chip, uint64_t now)
{
	struct i8259_pair *p = chip;
	unsigned i;

	(void)now;
	for (i = 0; i < 2; i++) {
		begin_init(&p->chip[i], ICW1_INIT | ICW1_IC4);
		p->chip[i].step = 0;
		p->chip[i].base = i ? 0x70 : 0x08;
		p->chip[i].imr = 0xff;
		p->chip[i].elcr = 0;
	}
	cascade(p);
}

static void i8259_save(void *chip, struct state *s)
{
	struct i8259_pair *p = chip;
	struct i8259 *c;

	for (c = p->chip; c < p->chip + 2; c++) {
		state_u8(s, &c->lines);
		state_u8(s, &c->latched);
		state_u8(s, &c->isr);
		state_u8(s, &c->imr);
		state_u8(s, &c->elcr);
		state_u8(s, &c->icw1);
		state_u8(s, &c->base);
		state_u8(s, &c->icw4);
		state_u8(s, &c->step);
		state_u8(s, &c->first);
		state_bool(s, &c->special_mask);
		state_bool(s, &c->rotate_aeoi);
		state_bool(s, &c->poll);
		state_bool(s, &c->read_isr);
		if (c->step == 1 || c->step > 4 || c->first > 7 || c->base & 7)
			state_refuse(s);
	}
}

const struct device_ops i8259_ops = {
    .name = "i8259",
    .new = i8259_new,
    .reset = i8259_reset,
    .state = i8259_save,
    .read = i8259_read,
    .write = i8259_write,
};
