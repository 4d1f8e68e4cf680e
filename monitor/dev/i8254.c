// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 3.7: A timer that does not tick
 *
 * The 8254 interval timer. (Intel 8254 data sheet, 231164; port 61h: Intel 82371AB 4.2.6.)
 *
 * Nothing ticks here. A channel is the number that it counts from and the clock tick at which that number was
 * loaded; count and output at any tick follow by arithmetic, so that it cannot drift and costs nothing while
 * nobody looks. The number of ticks is computed from guest time as a whole, never accumulated.
 *
 * Periodic interrupts are not lost: when the guest is late (interrupts off, worker descheduled), the edges
 * that it missed are owed, up to I8254_OWED_MAX, and handed out one at a time as each is acknowledged; Linux
 * counts jiffies by them. The line therefore stays up from an edge until the next one is delivered. Edges
 * while IRQ 0 is masked collapse into one, and reprogramming channel 0 cancels what is owed, as nobody counts
 * those.
 */
#include "monitor/dev/i8254.h"

#define NS 1000000000u

enum { ACCESS_LATCH, ACCESS_LSB, ACCESS_MSB, ACCESS_BOTH };
enum { READ_BACK_NO_STATUS = 0x10, READ_BACK_NO_COUNT = 0x20 };
enum { PORT_B_GATE2 = 0x01, PORT_B_STORED = 0x0f, PORT_B_REFRESH = 0x10, PORT_B_OUT2 = 0x20 };
#define REFRESH_TICKS 18 /* channel 1's customary period: one refresh every 15 us */

uint64_t i8254_ticks(uint64_t ns)
{
	return ns / NS * I8254_HZ + ns % NS * I8254_HZ / NS;
}

uint64_t i8254_tick_ns(uint64_t tick)
{
	return tick / I8254_HZ * NS + (tick % I8254_HZ * NS + I8254_HZ - 1) / I8254_HZ;
}

static bool periodic(const struct i8254_channel *c)
{
	return c->mode == 2 || c->mode == 3;
}

static bool triggered(const struct i8254_channel *c)
{
	return c->mode == 1 || c->mode == 5;
}

/* Ticks since the load, 0 before it. `start` may wrap below 0 (mode 3), so differences are signed. */
static uint64_t counted(const struct i8254_channel *c, uint64_t tick)
{
	if (c->stopped)
		return c->held;
	return (int64_t)(tick - c->start) < 0 ? 0 : tick - c->start;
}

static uint32_t high_half(uint32_t n)
{
	return (n + 1) / 2;
}

static bool output(const struct i8254_channel *c, uint64_t tick)
{
	uint64_t n = counted(c, tick);

	if (!c->count)
		return c->mode != 0;
	switch (c->mode) {
	case 0:
	case 1:
		return n >= c->count;
	case 2:
		return c->stopped || c->count == 1 || n % c->count != c->count - 1;
	case 3:
		return c->stopped || n % c->count < high_half(c->count);
	default:
		return n != c->count;
	}
}

/* The tick of the first rising edge of the output that counting itself makes after `tick`; NO_DEADLINE none.
 */
static uint64_t next_edge(const struct i8254_channel *c, uint64_t tick)
{
	uint64_t first = c->start + c->count + (c->mode >= 4);

	if (!c->count || c->stopped || (periodic(c) && c->count == 1))
		return NO_DEADLINE;
	if ((int64_t)(first - tick) > 0)
		return first;
	return periodic(c) ? tick + c->count - (tick - c->start) % c->count : NO_DEADLINE;
}

/* How many of them lie in (from, to]. */
static uint64_t edges(const struct i8254_channel *c, uint64_t from, uint64_t to)
{
	uint64_t first = next_edge(c, from);

	if (first == NO_DEADLINE || (int64_t)(to - first) < 0)
		return 0;
	return periodic(c) ? 1 + (to - first) / c->count : 1;
}

/* Where modes 2 and 3 take over a new count: the end of the period, or half period, that `tick` lies in. */
static uint64_t boundary(const struct i8254_channel *c, uint64_t tick)
{
	uint64_t phase = counted(c, tick) % c->count, base = counted(c, tick) - phase + c->start;

	return base + (c->mode == 3 && phase < high_half(c->count) ? high_half(c->count) : c->count);
}

/* Bring the channel to `tick`; returns the rising edges on the way. */
static uint64_t advance(struct i8254_channel *c, uint64_t tick)
{
	uint64_t from = c->seen, n = 0, b;
	bool half;

	c->seen = tick;
	if (periodic(c) && c->count && c->loaded != c->count && !c->stopped) {
		b = boundary(c, from);
		if ((int64_t)(tick - b) < 0)
			return edges(c, from, tick);
		n = edges(c, from, b);
		half = (b - c->start) % c->count != 0;
		c->count = c->loaded;
		c->start = half ? b - high_half(c->count) : b;
		from = b;
	}
	return n + edges(c, from, tick);
}

static uint32_t modulus(const struct i8254_channel *c)
{
	return c->bcd ? 10000 : 65536;
}

/* The 16 bits that a read of the counting element gives. */
static uint16_t current(const struct i8254_channel *c, uint64_t tick)
{
	uint64_t n = counted(c, tick);
	uint32_t v = c->count, m = modulus(c);

	if (c->mode == 2 && v)
		v -= n % v;
	else if (c->mode == 3 && v > 1) {
		n %= v;
		v = (v & ~1u) - 2 * (n < high_half(v) ? n : n - high_half(v));
	} else if (v)
		v = (v + m - n % m) % m;
	v %= m;
	return c->bcd ? v / 1000 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10 : v;
}

static void load(struct i8254_channel *c, uint64_t tick)
{
	c->count = c->loaded;
	c->start = tick + 1; /* the next clock pulse loads the counting element */
	c->held = 0;
}

static void write_count(struct i8254_channel *c, uint16_t raw, uint64_t tick)
{
	uint32_t n = raw;

	if (c->bcd)
		n = (raw >> 12) * 1000 + (raw >> 8 & 15) * 100 + (raw >> 4 & 15) * 10 + (raw & 15);
	c->loaded = n && n <= modulus(c) ? n : modulus(c);
	if (triggered(c) || (periodic(c) && c->count))
		return; /* waits for the trigger, or for the end of the period */
	load(c, tick);
	c->stopped = !c->gate;
}

static void write_data(struct i8254_channel *c, uint8_t value, uint64_t tick)
{
	switch (c->access) {
	case ACCESS_LSB:
		write_count(c, value, tick);
		return;
	case ACCESS_MSB:
		write_count(c, value << 8, tick);
		return;
	}
	if (c->write_msb) {
		write_count(c, value << 8 | c->low, tick);
	} else {
		c->low = value;
		if (c->mode == 0)
			c->count = 0; /* the first byte stops it and takes the output down */
	}
	c->write_msb = !c->write_msb;
}

static uint8_t read_data(struct i8254_channel *c, uint64_t tick)
{
	uint16_t v = c->latched ? c->latch : current(c, tick);
	bool msb = c->access == ACCESS_MSB || (c->access == ACCESS_BOTH && c->read_msb);

	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	if (c->access == ACCESS_BOTH)
		c->read_msb = !c->read_msb;
	if (c->access != ACCESS_BOTH || msb)
		c->latched = false;
	return msb ? v >> 8 : v;
}

static void latch_count(struct i8254_channel *c, uint64_t tick)
{
	if (c->latched)
		return;
	c->latch = current(c, tick);
	c->latched = true;
}

static void latch_status(struct i8254_channel *c, uint64_t tick)
{
	bool null_count =
	    !c->count || c->loaded != c->count || (!c->stopped && (int64_t)(tick - c->start) < 0);

	if (c->status_latched)
		return;
	c->status = output(c, tick) << 7 | null_count << 6 | c->access << 4 | c->mode << 1 | c->bcd;
	c->status_latched = true;
}

static void write_control(struct i8254 *p, uint8_t value, uint64_t tick)
{
	unsigned select = value >> 6, i;
	struct i8254_channel *c;

	if (select == 3) { /* read-back */
		for (i = 0; i < 3; i++) {
			if (!(value & 2 << i))
				continue;
			if (!(value & READ_BACK_NO_COUNT))
				latch_count(&p->channel[i], tick);
			if (!(value & READ_BACK_NO_STATUS))
				latch_status(&p->channel[i], tick);
		}
		return;
	}
	c = &p->channel[select];
	if ((value >> 4 & 3) == ACCESS_LATCH) {
		latch_count(c, tick);
		return;
	}
	*c = (struct i8254_channel){.seen = tick, .gate = c->gate};
	c->access = value >> 4 & 3;
	c->mode = value >> 1 & 7;
	if (c->mode > 5)
		c->mode &= 3; /* bit 2 is a don't-care for modes 2 and 3 */
	c->bcd = value & 1;
}

static void set_gate(struct i8254_channel *c, bool gate, uint64_t tick)
{
	bool rising = gate && !c->gate;

	if (gate == c->gate)
		return;
	c->gate = gate;
	if (triggered(c)) {
		if (rising && c->loaded)
			load(c, tick);
		return;
	}
	if (!rising) {
		c->held = counted(c, tick);
		c->stopped = true;
	} else if (periodic(c)) {
		if (c->count)
			load(c, tick);
		c->stopped = false;
	} else {
		c->start = tick - c->held;
		c->stopped = false;
	}
}

/* Hand out one edge if the previous one has been acknowledged. */
static void deliver(struct i8254 *p)
{
	unsigned state = p->irq.state(p->irq.pic, p->irq.irq);

	if (!p->owed)
		return;
	if (state & IRQ_REQUESTED) {
		if (state & IRQ_MASKED || !periodic(&p->channel[0]))
			p->owed = 0; /* merges with the one that waits */
		return;
	}
	irq_set(&p->irq, false);
	irq_set(&p->irq, true);
	p->owed = state & IRQ_MASKED ? 0 : p->owed - 1;
}

static void owe(struct i8254 *p, uint64_t n)
{
	p->owed = n > I8254_OWED_MAX - p->owed ? I8254_OWED_MAX : p->owed + n;
}

static void i8254_poll(void *chip, uint64_t now)
{
	struct i8254 *p = chip;
	uint64_t tick = i8254_ticks(now);

	owe(p, advance(&p->channel[0], tick));
	advance(&p->channel[1], tick);
	advance(&p->channel[2], tick);
	deliver(p);
}

static uint64_t i8254_deadline(const void *chip, uint64_t now)
{
	const struct i8254 *p = chip;
	struct i8254_channel c = p->channel[0];
	uint64_t edge, ns, b;

	if (p->owed && !(p->irq.state(p->irq.pic, p->irq.irq) & IRQ_REQUESTED))
		return now;
	edge = next_edge(&c, c.seen);
	if (c.mode == 3 && c.count && c.loaded != c.count && !c.stopped) {
		b = boundary(&c,
			     c.seen); /* a new count moves the edge: look again from where it takes over */
		if (edge != b) {
			advance(&c, b);
			edge = next_edge(&c, b);
		}
	}
	if (edge == NO_DEADLINE)
		return NO_DEADLINE;
	ns = i8254_tick_ns(edge);
	return ns > now ? ns : now;
}

/* A write to channel 0 can itself move the output, and so the line. */
static void write_channel0(struct i8254 *p, bool control, uint8_t value, uint64_t tick)
{
	struct i8254_channel *c = &p->channel[0];
	bool before = output(c, tick), after;

	if (control) {
		write_control(p, value, tick);
		p->owed = 0;
	} else {
		write_data(c, value, tick);
	}
	after = output(c, tick);
	if (!after && !periodic(c)) /* in modes 2 and 3 it is held up, see above */
		irq_set(&p->irq, false);
	else if (after && !before)
		owe(p, 1);
	deliver(p);
}

static void i8254_write(void *chip, uint16_t port, unsigned size, uint32_t value, uint64_t now)
{
	struct i8254 *p = chip;
	uint64_t tick = i8254_ticks(now);

	(void)size;
	i8254_poll(p, now);
	if (port == 0x61) {
		p->port_b = value & PORT_B_STORED;
		set_gate(&p->channel[2], value & PORT_B_GATE2, tick);
	} else if (port == 0x40 || (port == 0x43 && value < 0x40 && value & 0x30)) {
		write_channel0(p, port == 0x43, value, tick);
	} else if (port == 0x43) {
		write_control(p, value, tick);
	} else {
		write_data(&p->channel[port & 3], value, tick);
	}
}

static uint32_t i8254_read(void *chip, uint16_t port, unsigned size, uint64_t now)
{
	struct i8254 *p = chip;
	uint64_t tick = i8254_ticks(now);

	(void)size;
	i8254_poll(p, now);
	if (port == 0x61)
		return p->port_b | (tick / REFRESH_TICKS & 1 ? PORT_B_REFRESH : 0) |
		       (output(&p->channel[2], tick) ? PORT_B_OUT2 : 0);
	return port == 0x43 ? 0xff : read_data(&p->channel[port & 3], tick);
}

static void i8254_new(void *chip, const struct wiring *wiring)
{
	struct i8254 *p = chip;

	p->irq = wiring->irq;
}

/*
 * The chip powers up undefined. Left as a BIOS leaves it: channel 0 counts 65536 in mode 3, 18.2 Hz (masked
 * in the 8259), channel 1 asks for refresh.
 */
static void i8254_reset(void *chip, uint64_t now)
{
	struct i8254 *p = chip;
	uint64_t tick = i8254_ticks(now);
	unsigned i;

	for (i = 0; i < 3; i++)
		p->channel[i] = (struct i8254_channel){.seen = tick, .gate = i != 2};
	p->owed = 0;
	p->port_b = 0;
	irq_set(&p->irq, false);
	write_control(p, 0x36, tick);
	write_count(&p->channel[0], 0, tick);
	write_control(p, 0x54, tick);
	write_count(&p->channel[1], REFRESH_TICKS, tick);
	write_control(p, 0xb6, tick);
}

static void save_channel(struct i8254_channel *c, struct state *s)
{
	state_u64(s, &c->seen);
	state_u64(s, &c->start);
	state_u64(s, &c->held);
	state_u32(s, &c->count);
	state_u32(s, &c->loaded);
	state_u8(s, &c->mode);
	state_u8(s, &c->access);
	state_bool(s, &c->bcd);
	state_bool(s, &c->gate);
	state_bool(s, &c->stopped);
	state_bool(s, &c->write_msb);
	state_bool(s, &c->read_msb);
	state_bool(s, &c->latched);
	state_bool(s, &c->status_latched);
	state_u8(s, &c->low);
	state_u16(s, &c->latch);
	state_u8(s, &c->status);
	if (c->count > 65536 || c->loaded > 65536 || (c->count && !c->loaded) || c->mode > 5 ||
	    c->access < 1 || c->access > 3)
		state_refuse(s);
}

static void i8254_save(void *chip, struct state *s)
{
	struct i8254 *p = chip;
	unsigned i;

	for (i = 0; i < 3; i++)
		save_channel(&p->channel[i], s);
	state_u32(s, &p->owed);
	state_u8(s, &p->port_b);
	if (p->owed > I8254_OWED_MAX)
		state_refuse(s);
}

const struct device_ops i8254_ops = {
    .name = "i8254",
    .new = i8254_new,
    .reset = i8254_reset,
    .state = i8254_save,
    .read = i8254_read,
    .write = i8254_write,
    .poll = i8254_poll,
    .deadline = i8254_deadline,
};
