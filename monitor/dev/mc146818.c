// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The MC146818A real-time clock with 114 bytes of battery-backed memory. (Motorola MC146818A data sheet.)
 *
 * While the clock runs, the time is an anchor (so many seconds since 1970 at such a guest time) and the time
 * cells are computed when read. It stands still while SET is on or the divider is held in reset (Linux does
 * both to set it); then the cells themselves are the time, and running on takes the anchor from them. The day
 * of the week is always that of the date, and daylight saving (DSE) is not done.
 *
 * The flags of register C are brought up to date on every access and poll. Several periods since the last
 * look set PF once, as on hardware: unlike the 8254's, its interrupts stand for "at least one".
 */
#include "monitor/dev/mc146818.h"

#define NS	   1000000000u
#define DAY	   86400
#define UIP_NS	   244000u /* t_BUC: UIP shows this long before an update */
#define DIVIDER_HZ 32768u
#define CELL_MASK  0x7f

enum {
	SEC,
	SEC_ALARM,
	MIN,
	MIN_ALARM,
	HOUR,
	HOUR_ALARM,
	WEEKDAY,
	MDAY,
	MONTH,
	YEAR,
	REG_A,
	REG_B,
	REG_C,
	REG_D
};
enum { CENTURY = 0x32 };
enum { A_UIP = 0x80, A_DV = 0x70, A_DV_32KHZ = 0x20, A_RS = 0x0f };
enum { B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_BINARY = 0x04, B_24H = 0x02 };
enum { C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10, C_ANY = 0x70 };
enum { D_VRT = 0x80, HOUR_PM = 0x80, ALARM_ANY = 0xc0 };

static bool dividing(const struct mc146818 *c)
{
	return (c->cell[REG_A] & A_DV) == A_DV_32KHZ;
}

static bool running(const struct mc146818 *c)
{
	return dividing(c) && !(c->cell[REG_B] & B_SET);
}

/* Days since 1970 of a date in the proleptic Gregorian calendar, counted in years that begin in March. */
static int64_t days_of(int64_t year, unsigned month, unsigned mday)
{
	unsigned from_march = (month + 9) % 12, day;
	int64_t y = year - (month <= 2), era = (y >= 0 ? y : y - 399) / 400, in_era = y - era * 400;

	day = (153 * from_march + 2) / 5 + mday - 1;
	return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + day - 719468;
}

static void date_of(int64_t days, int64_t *year, unsigned *month, unsigned *mday)
{
	int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
	unsigned day = z - era * 146097, y, from_march;

	y = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	day -= 365 * y + y / 4 - y / 100;
	from_march = (5 * day + 2) / 153;
	*mday = day - (153 * from_march + 2) / 5 + 1;
	*month = from_march < 10 ? from_march + 3 : from_march - 9;
	*year = era * 400 + y + (*month <= 2);
}

static uint8_t encode(const struct mc146818 *c, unsigned v)
{
	return c->cell[REG_B] & B_BINARY ? v : v / 10 << 4 | v % 10;
}

static unsigned decode(const struct mc146818 *c, uint8_t v)
{
	return c->cell[REG_B] & B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t encode_hour(const struct mc146818 *c, unsigned h)
{
	if (c->cell[REG_B] & B_24H)
		return encode(c, h);
	return encode(c, (h + 11) % 12 + 1) | (h >= 12 ? HOUR_PM : 0);
}

static unsigned decode_hour(const struct mc146818 *c, uint8_t v)
{
	if (c->cell[REG_B] & B_24H)
		return decode(c, v);
	return decode(c, v & ~HOUR_PM) % 12 + (v & HOUR_PM ? 12 : 0);
}

static unsigned second_of_day(int64_t t)
{
	return (t % DAY + DAY) % DAY;
}

/* What a time cell shows at t seconds since 1970. */
static uint8_t time_cell(const struct mc146818 *c, unsigned i, int64_t t)
{
	unsigned s = second_of_day(t), month, mday, y;
	int64_t days = (t - s) / DAY, year;

	date_of(days, &year, &month, &mday);
	y = (year % 10000 + 10000) % 10000;
	switch (i) {
	case SEC:
		return encode(c, s % 60);
	case MIN:
		return encode(c, s / 60 % 60);
	case HOUR:
		return encode_hour(c, s / 3600);
	case WEEKDAY: /* Sunday is 1; 1970 began on a Thursday */
		return encode(c, ((days + 4) % 7 + 7) % 7 + 1);
	case MDAY:
		return encode(c, mday);
	case MONTH:
		return encode(c, month);
	case YEAR:
		return encode(c, y % 100);
	default: /* CENTURY: BCD by convention, whatever DM says */
		return y / 1000 << 4 | y / 100 % 10;
	}
}

static bool is_time_cell(unsigned i)
{
	return i == SEC || i == MIN || i == HOUR || (i >= WEEKDAY && i <= YEAR) || i == CENTURY;
}

static void time_to_cells(struct mc146818 *c, uint64_t now)
{
	int64_t t = c->base + (int64_t)((now - c->origin) / NS);
	unsigned i;

	for (i = 0; i <= CENTURY; i++)
		if (is_time_cell(i))
			c->cell[i] = time_cell(c, i, t);
}

/* Any byte may stand in a cell: out-of-range values carry over, months are forced into the year. */
static void time_from_cells(struct mc146818 *c, uint64_t now)
{
	unsigned century = (c->cell[CENTURY] >> 4) * 10 + (c->cell[CENTURY] & 15);
	unsigned month = decode(c, c->cell[MONTH]);
	int64_t days;

	month = month ? (month - 1) % 12 + 1 : 1;
	days = days_of(century * 100 + decode(c, c->cell[YEAR]) % 100, month, decode(c, c->cell[MDAY]));
	c->base = days * DAY + decode_hour(c, c->cell[HOUR]) * 3600 + decode(c, c->cell[MIN]) * 60 +
		  decode(c, c->cell[SEC]);
	c->origin = now - (now - c->divider) % NS;
}

static bool alarm_allows(const struct mc146818 *c, unsigned i, uint8_t shown)
{
	return c->cell[i] >= ALARM_ANY || c->cell[i] == shown;
}

static bool alarm_matches(const struct mc146818 *c, int64_t t)
{
	unsigned s = second_of_day(t);

	return alarm_allows(c, SEC_ALARM, encode(c, s % 60)) &&
	       alarm_allows(c, MIN_ALARM, encode(c, s / 60 % 60)) &&
	       alarm_allows(c, HOUR_ALARM, encode_hour(c, s / 3600));
}

/* The periodic rate as a power of two of divider ticks; the two fastest codes repeat codes 8 and 9. */
static unsigned rate_shift(const struct mc146818 *c)
{
	unsigned rs = c->cell[REG_A] & A_RS;

	return rs < 3 ? rs + 6 : rs - 1;
}

static uint64_t divider_ticks(const struct mc146818 *c, uint64_t ns)
{
	uint64_t t = ns - c->divider;

	return t / NS * DIVIDER_HZ + t % NS * DIVIDER_HZ / NS;
}

static void update_irq(struct mc146818 *c)
{
	bool irqf = c->cell[REG_C] & c->cell[REG_B] & C_ANY;

	c->cell[REG_C] = (c->cell[REG_C] & C_ANY) | (irqf ? C_IRQF : 0);
	irq_set(&c->irq, irqf);
}

static void mc146818_poll(void *chip, uint64_t now)
{
	struct mc146818 *c = chip;
	uint64_t from = c->seen, second, last;

	c->seen = now;
	if (dividing(c) && (c->cell[REG_A] & A_RS) &&
	    divider_ticks(c, now) >> rate_shift(c) != divider_ticks(c, from) >> rate_shift(c))
		c->cell[REG_C] |= C_PF;
	if (running(c)) {
		second = (from - c->origin) / NS;
		last = (now - c->origin) / NS;
		if (last > second)
			c->cell[REG_C] |= C_UF;
		if (last - second > DAY) /* every time of day has come by */
			second = last - DAY;
		while (second < last && !(c->cell[REG_C] & C_AF))
			if (alarm_matches(c, c->base + (int64_t)++second))
				c->cell[REG_C] |= C_AF;
	}
	update_irq(c);
}

static uint64_t mc146818_deadline(const void *chip, uint64_t now)
{
	const struct mc146818 *c = chip;
	uint64_t first = NO_DEADLINE, ticks, t;

	if (c->cell[REG_C] & C_IRQF) /* up already */
		return NO_DEADLINE;
	if ((c->cell[REG_B] & B_PIE) && dividing(c) && (c->cell[REG_A] & A_RS)) {
		ticks = ((divider_ticks(c, c->seen) >> rate_shift(c)) + 1) << rate_shift(c);
		first = c->divider + ticks / DIVIDER_HZ * NS +
			(ticks % DIVIDER_HZ * NS + DIVIDER_HZ - 1) / DIVIDER_HZ;
	}
	if ((c->cell[REG_B] & (B_AIE | B_UIE)) && running(c)) { /* an alarm is looked for every second */
		t = c->origin + ((c->seen - c->origin) / NS + 1) * NS;
		if (t < first)
			first = t;
	}
	return first > now ? first : now;
}

/* The time survives a change of data mode while running: cells are encoded when read. */
static void write_control(struct mc146818 *c, unsigned i, uint8_t value, uint64_t now)
{
	bool was_dividing = dividing(c), was_running = running(c);

	if (i == REG_A)
		value &= ~A_UIP;
	else if (value & B_SET)
		value &= ~B_UIE;
	c->cell[i] = value;
	if (!was_dividing && dividing(c))
		c->divider = now - NS / 2; /* the first update comes half a second after the release */
	if (was_running && !running(c))
		time_to_cells(c, now);
	else if (!was_running && running(c))
		time_from_cells(c, now);
	update_irq(c);
}

static void mc146818_write(void *chip, uint16_t port, unsigned size, uint32_t value, uint64_t now)
{
	struct mc146818 *c = chip;
	unsigned i = c->index;

	(void)size;
	if (!(port & 1)) {
		c->index = value & CELL_MASK; /* bit 7 masks NMI, and there is none */
		return;
	}
	mc146818_poll(c, now);
	if (i == REG_A || i == REG_B) {
		write_control(c, i, value, now);
	} else if (is_time_cell(i) && running(c)) {
		time_to_cells(c, now);
		c->cell[i] = value;
		time_from_cells(c, now);
	} else if (i != REG_C && i != REG_D) {
		c->cell[i] = value;
	}
}

static uint32_t mc146818_read(void *chip, uint16_t port, unsigned size, uint64_t now)
{
	struct mc146818 *c = chip;
	unsigned i = c->index;
	uint8_t value;

	(void)size;
	if (!(port & 1))
		return 0xff; /* write-only */
	mc146818_poll(c, now);
	value = c->cell[i];
	if (is_time_cell(i) && running(c))
		value = time_cell(c, i, c->base + (int64_t)((now - c->origin) / NS));
	else if (i == REG_A && running(c) && (now - c->origin) % NS >= NS - UIP_NS)
		value |= A_UIP;
	else if (i == REG_C) {
		c->cell[REG_C] = 0;
		update_irq(c);
	}
	return value;
}

static uint16_t at_most(uint64_t v, uint16_t max)
{
	return v > max ? max : v;
}

static void put16(struct mc146818 *c, unsigned i, uint16_t v)
{
	c->cell[i] = v;
	c->cell[i + 1] = v >> 8;
}

/* What a BIOS's setup leaves in the memory: its size, no floppy, no fixed disks; and the checksum over that.
 */
static void fill_memory(struct mc146818 *c)
{
	uint64_t over_1m = c->ram_bytes > 1 << 20 ? c->ram_bytes - (1 << 20) : 0;
	uint64_t over_16m = c->ram_bytes > 16 << 20 ? c->ram_bytes - (16 << 20) : 0;
	uint16_t sum = 0;
	unsigned i;

	for (i = REG_D + 1; i < sizeof(c->cell); i++)
		c->cell[i] = 0;
	c->cell[0x14] = 0x02;				/* equipment: an FPU */
	put16(c, 0x15, 640);				/* KiB below 640K */
	put16(c, 0x17, at_most(over_1m >> 10, 0xffff)); /* KiB above 1M, twice */
	put16(c, 0x30, at_most(over_1m >> 10, 0xffff));
	put16(c, 0x34, at_most(over_16m >> 16, 0xffff)); /* 64 KiB blocks above 16M */
	for (i = 0x10; i <= 0x2d; i++)
		sum += c->cell[i];
	c->cell[0x2e] = sum >> 8;
	c->cell[0x2f] = sum;
}

static void mc146818_new(void *chip, const struct wiring *wiring)
{
	struct mc146818 *c = chip;
	unsigned i;

	c->irq = wiring->irq;
	c->ram_bytes = wiring->config->ram_bytes;
	c->epoch = wiring->config->rtc_epoch;
	for (i = 0; i < REG_D; i++)
		c->cell[i] = 0;
	c->cell[REG_A] = A_DV_32KHZ | 6; /* 1024 Hz */
	c->cell[REG_B] = B_24H;
	c->cell[REG_D] = D_VRT;
	c->index = REG_D;
	c->base = c->epoch;
	c->origin = c->divider = c->seen = 0;
	fill_memory(c);
}

/* The reset pin leaves time, alarm and memory alone (they are on the battery) and ends all interrupts. */
static void mc146818_reset(void *chip, uint64_t now)
{
	struct mc146818 *c = chip;

	mc146818_poll(c, now);
	c->cell[REG_B] &= ~(B_PIE | B_AIE | B_UIE);
	c->cell[REG_C] = 0;
	update_irq(c);
}

static void mc146818_save(void *chip, struct state *s)
{
	struct mc146818 *c = chip;
	uint64_t base = c->base;
	unsigned i;

	state_u8(s, &c->index);
	for (i = 0; i < sizeof(c->cell); i++)
		state_u8(s, &c->cell[i]);
	state_u64(s, &base);
	state_u64(s, &c->origin);
	state_u64(s, &c->divider);
	state_u64(s, &c->seen);
	c->base = base;
	if (c->index > CELL_MASK || c->base > INT64_MAX / 2 || c->base < INT64_MIN / 2)
		state_refuse(s);
}

const struct device_ops mc146818_ops = {
    .name = "mc146818",
    .new = mc146818_new,
    .reset = mc146818_reset,
    .state = mc146818_save,
    .read = mc146818_read,
    .write = mc146818_write,
    .poll = mc146818_poll,
    .deadline = mc146818_deadline,
};
