// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Tour 3.6: The machine's chips
 *
 * THE table of devices, ports and interrupt lines, and the bus that finds a device by its port.
 *
 * What has no row is not there, and reads as all ones like an ISA bus without a card: DMA controllers and
 * page registers, the FPU's error latch (0xf0), PCI, floppy, VGA, the delay ports 0x80 and 0xed.
 */
#include "monitor/dev/machine.h"

#define ROW(chip, member) .ops = &chip##_ops, .offset = offsetof(struct machine, member)

enum { BYTES = false, WHOLE = true };

/* clang-format off */
static const struct device_row table[] = {
	/* Ports most used come first: the walk is linear. The 8259 comes before all that drive its lines. */
	{ROW(i8259, pic), .irq = NO_IRQ,
	 .ports = {{0x20, 2, BYTES}, {0xa0, 2, BYTES}, {0x4d0, 2, BYTES}}},
	{ROW(ns16550, com1), .irq = 4,
	 .ports = {{0x3f8, 8, BYTES}}},
	{ROW(i8254, pit), .irq = 0,
	 .ports = {{0x40, 4, BYTES}, {0x61, 1, BYTES}}},
	{ROW(mc146818, rtc), .irq = 8,
	 .ports = {{0x70, 2, BYTES}}},
	{ROW(i8042, kbc), .irq = 1,
	 .ports = {{0x60, 1, BYTES}, {0x64, 1, BYTES}}},
	{ROW(power, power), .irq = NO_IRQ,
	 .ports = {{0x92, 1, BYTES}, {0xf4, 4, WHOLE}, {0xcf8, 4, WHOLE}, {0x604, 2, WHOLE}}},
};
/* clang-format on */

#define ROWS (sizeof(table) / sizeof(*table))
#define PORTS 4
#define STATE_MAGIC 0x31564450u /* "PDV1": changes with any chip's list of fields */

static void *chip_of(struct machine *m, const struct device_row *row)
{
	return (char *)m + row->offset;
}

static bool overlap(const struct device_ports *a, const struct device_ports *b)
{
	return a->count && b->count && a->base < b->base + b->count && b->base < a->base + a->count;
}

static bool rows_clash(const struct device_row *a, const struct device_row *b)
{
	unsigned i, j;

	if (a != b && a->irq != NO_IRQ && a->irq == b->irq)
		return true;
	for (i = 0; i < PORTS; i++) {
		if (a->ports[i].base + a->ports[i].count > 0x10000)
			return true;
		for (j = 0; j < PORTS; j++)
			if ((a != b || i != j) && overlap(&a->ports[i], &b->ports[j]))
				return true;
	}
	return false;
}

int machine_check(const struct device_row *rows, unsigned n)
{
	unsigned i, j;

	for (i = 0; i < n; i++)
		for (j = 0; j <= i; j++)
			if (rows_clash(&rows[i], &rows[j]))
				return -EEXIST;
	return 0;
}

static uint64_t clock_at(struct machine *m, uint64_t now)
{
	if (now > m->now)
		m->now = now;
	return m->now;
}

int machine_new(struct machine *m, const struct machine_config *config)
{
	struct wiring w = {.irq = {.set = i8259_set, .state = i8259_state, .pic = &m->pic}};
	int err = machine_check(table, ROWS);
	const struct device_row *row;

	if (err)
		return err;
	m->config = *config;
	m->now = 0;
	w.config = &m->config;
	w.request = &m->request;
	for (row = table; row < table + ROWS; row++) {
		w.irq.irq = row->irq;
		row->ops->new (chip_of(m, row), &w);
	}
	machine_reset(m, 0);
	return 0;
}

void machine_reset(struct machine *m, uint64_t now)
{
	const struct device_row *row;

	now = clock_at(m, now);
	m->request = (struct request){.kind = MACHINE_RUN};
	for (row = table; row < table + ROWS; row++)
		row->ops->reset(chip_of(m, row), now);
}

static const struct device_row *find(uint16_t port, bool *wide)
{
	const struct device_row *row;
	unsigned i;

	for (row = table; row < table + ROWS; row++) {
		for (i = 0; i < PORTS && row->ports[i].count; i++) {
			if ((uint16_t)(port - row->ports[i].base) >= row->ports[i].count)
				continue;
			*wide = row->ports[i].wide;
			return row;
		}
	}
	return NULL;
}

/* A 16-bit card's bus turns what an 8-bit card cannot take into byte cycles at successive ports. */
uint32_t machine_in(struct machine *m, uint16_t port, unsigned size, uint64_t now)
{
	const struct device_row *row;
	uint32_t value = 0, byte;
	bool wide = false;
	unsigned i;

	now = clock_at(m, now);
	row = find(port, &wide);
	if (row && wide)
		return row->ops->read(chip_of(m, row), port, size, now) & (UINT32_MAX >> (32 - 8 * size));
	for (i = 0; i < size; i++) {
		if (i)
			row = find(port + i, &wide);
		byte =
		    row && row->ops->read ? row->ops->read(chip_of(m, row), port + i, 1, now) & 0xff : 0xff;
		value |= byte << (8 * i);
	}
	return value;
}

void machine_out(struct machine *m, uint16_t port, unsigned size, uint32_t value, uint64_t now)
{
	const struct device_row *row;
	bool wide = false;
	unsigned i;

	now = clock_at(m, now);
	row = find(port, &wide);
	if (row && wide) {
		row->ops->write(chip_of(m, row), port, size, value, now);
		return;
	}
	for (i = 0; i < size; i++) {
		if (i)
			row = find(port + i, &wide);
		if (row && row->ops->write)
			row->ops->write(chip_of(m, row), port + i, 1, value >> (8 * i) & 0xff, now);
	}
}

void machine_poll(struct machine *m, uint64_t now)
{
	const struct device_row *row;

	now = clock_at(m, now);
	for (row = table; row < table + ROWS; row++)
		if (row->ops->poll)
			row->ops->poll(chip_of(m, row), now);
}

uint64_t machine_deadline(const struct machine *m, uint64_t now)
{
	uint64_t first = NO_DEADLINE, t;
	const struct device_row *row;

	if (now < m->now)
		now = m->now;
	for (row = table; row < table + ROWS; row++) {
		if (!row->ops->deadline)
			continue;
		t = row->ops->deadline((const char *)m + row->offset, now);
		if (t < first)
			first = t;
	}
	return first;
}

bool machine_intr(const struct machine *m)
{
	return i8259_intr(&m->pic);
}

int machine_ack(struct machine *m)
{
	int vector = i8259_ack(&m->pic);

	i8254_ops.poll(&m->pit, m->now); /* the next tick that it owes can go out now */
	return vector;
}

enum machine_request machine_request(const struct machine *m)
{
	return m->request.kind;
}

uint32_t machine_exit_value(const struct machine *m)
{
	return m->request.value;
}

static void save(struct machine *m, struct state *s)
{
	const struct device_row *row;
	uint32_t magic = STATE_MAGIC;

	state_u32(s, &magic);
	if (magic != STATE_MAGIC)
		state_refuse(s);
	state_u64(s, &m->now);
	state_u32(s, &m->request.kind);
	state_u32(s, &m->request.value);
	if (m->request.kind > MACHINE_DEBUG_EXIT)
		state_refuse(s);
	for (row = table; row < table + ROWS; row++)
		row->ops->state(chip_of(m, row), s);
}

long machine_save(struct machine *m, void *buf, size_t cap)
{
	struct state s = {.buf = buf, .cap = cap};

	save(m, &s);
	return s.err ? s.err : (long)s.pos;
}

int machine_restore(struct machine *m, const void *buf, size_t size)
{
	struct state s = {.buf = (void *)buf, .cap = size, .restoring = true};
	uint64_t now = m->now;

	save(m, &s);
	if (s.pos != size)
		state_refuse(&s);
	if (s.err) {
		m->now = now;
		machine_reset(m, now);
	}
	return s.err;
}
