// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * The 16550A UART. (National PC16550D data sheet; detection as in Linux 8250_port.c, autoconfig().)
 *
 * The line is infinitely fast but its far end, the terminal behind two rings, may not be:
 *  - Nothing written is lost. While console_out is full, bytes stay in the transmitter, THRE and TEMT stay 0
 *    and machine_poll() tries again. For that reason resetting the transmit FIFO does not drop them either:
 * on a real line they would have been sent long ago.
 *  - Nothing typed is lost. The terminal sends only while the guest asserts RTS, and at most what the FIFO
 * has room for; the rest waits in console_in. A pipe of commands can so be attached before the guest boots:
 *    Linux asserts RTS when it opens the port, just after it has cleared the FIFOs. A guest that polls
 *    must assert RTS too, as boot loaders do.
 *  - CTS, DSR and DCD are always there. The character timeout comes at once, instead of after four
 * characters. As on a PC, OUT2 gates the interrupt.
 */
#include "monitor/dev/ns16550.h"
#include "monitor/dev/ring.h"

enum { IER_RDI = 1, IER_THRI = 2, IER_RLSI = 4, IER_MSI = 8, IER_MASK = 15 };
enum {
	IIR_NONE = 1,
	IIR_MSI = 0,
	IIR_THRI = 2,
	IIR_RDI = 4,
	IIR_RLSI = 6,
	IIR_TIMEOUT = 12,
	IIR_FIFOS = 0xc0
};
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_CLEAR_TX = 4, FCR_KEPT = 0xc9 };
enum { LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 16, MCR_MASK = 31 };
enum { LSR_DR = 1, LSR_OE = 2, LSR_BI = 16, LSR_THRE = 32, LSR_TEMT = 64, LSR_FIFO_ERROR = 128 };
enum { MSR_DCTS = 1, MSR_DDSR = 2, MSR_TERI = 4, MSR_DDCD = 8 };
enum { MSR_CTS = 16, MSR_DSR = 32, MSR_RI = 64, MSR_DCD = 128 };

static unsigned depth(const struct ns16550 *u)
{
	return u->fcr & FCR_ENABLE ? NS16550_FIFO : 1;
}

static void fifo_put(struct ns16550_fifo *f, uint8_t byte, uint8_t error)
{
	unsigned i = (f->first + f->n) % NS16550_FIFO;

	f->data[i] = byte;
	f->error[i] = error;
	f->n++;
}

static void fifo_drop(struct ns16550_fifo *f)
{
	f->error[f->first] = 0;
	f->first = (f->first + 1) % NS16550_FIFO;
	f->n--;
}

/* A character reaches the receiver. Without room: OE; the FIFO keeps its own, the one-byte buffer the
 * newcomer. */
static void receive(struct ns16550 *u, uint8_t byte, uint8_t error)
{
	if (u->rx.n == depth(u)) {
		u->overrun = LSR_OE;
		if (u->fcr & FCR_ENABLE)
			return;
		fifo_drop(&u->rx);
	}
	fifo_put(&u->rx, byte, error);
}

static uint8_t modem_lines(const struct ns16550 *u)
{
	if (!(u->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
	       (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static unsigned trigger(const struct ns16550 *u)
{
	static const uint8_t level[4] = {1, 4, 8, 14};

	return u->fcr & FCR_ENABLE ? level[u->fcr >> 6] : 1;
}

/* The most urgent enabled interrupt, in the data sheet's order (table IV). */
static uint8_t source(const struct ns16550 *u)
{
	if ((u->ier & IER_RLSI) && (u->overrun || (u->rx.n && u->rx.error[u->rx.first])))
		return IIR_RLSI;
	if ((u->ier & IER_RDI) && u->rx.n)
		return u->rx.n >= trigger(u) ? IIR_RDI : IIR_TIMEOUT;
	if ((u->ier & IER_THRI) && u->thre_pending)
		return IIR_THRI;
	if ((u->ier & IER_MSI) && u->msr_delta)
		return IIR_MSI;
	return IIR_NONE;
}

static void update_irq(struct ns16550 *u)
{
	irq_set(&u->irq, (u->mcr & MCR_OUT2) && source(u) != IIR_NONE);
}

/* Send what the other side takes. */
static void transmit(struct ns16550 *u)
{
	bool was_busy = u->tx.n;
	enum ring_put put;

	while (u->tx.n) {
		put = u->out ? ring_put(u->out, u->tx.data[u->tx.first]) : RING_STORED;
		if (put == RING_FULL)
			return;
		fifo_drop(&u->tx);
		if (put == RING_WAKE && u->notify)
			u->notify(u->ctx);
	}
	if (was_busy)
		u->thre_pending = true;
}

/* The VMX may hold input back that did not fit; half empty is the time to tell it. */
static void take_input(struct ns16550 *u)
{
	uint32_t before = ring_used(u->in);
	uint8_t byte;

	while (u->rx.n < depth(u) && ring_get(u->in, &byte))
		receive(u, byte, 0);
	if (before >= RING_SIZE / 2 && ring_used(u->in) < RING_SIZE / 2 && u->notify)
		u->notify(u->ctx);
}

static void listen(struct ns16550 *u)
{
	if (u->mcr & MCR_LOOP)
		return;
	if (u->rx.n < depth(u) && atomic_load_explicit(&u->breaks, memory_order_relaxed)) {
		atomic_fetch_sub(&u->breaks, 1);
		receive(u, 0, LSR_BI);
	}
	if (u->in && (u->mcr & MCR_RTS))
		take_input(u);
}

static void ns16550_poll(void *chip, uint64_t now)
{
	struct ns16550 *u = chip;

	(void)now;
	transmit(u);
	listen(u);
	update_irq(u);
}

static uint64_t ns16550_deadline(const void *chip, uint64_t now)
{
	const struct ns16550 *u = chip;

	return u->tx.n ? now + NS16550_RETRY_NS : NO_DEADLINE;
}

static void write_thr(struct ns16550 *u, uint8_t value)
{
	u->thre_pending = false;
	if (u->mcr & MCR_LOOP) {
		receive(u, value, 0);
		u->thre_pending = true;
		return;
	}
	if (u->tx.n >=
	    depth(u)) /* the guest did not wait for THRE: as on hardware, the last one is overwritten */
		u->tx.data[(u->tx.first + u->tx.n - 1) % NS16550_FIFO] = value;
	else
		fifo_put(&u->tx, value, 0);
	transmit(u);
}

static void write_ier(struct ns16550 *u, uint8_t value)
{
	/* Enabling it while the holding register is empty raises it again; Linux relies on that to start
	 * sending. */
	if ((value & ~u->ier & IER_THRI) && !u->tx.n)
		u->thre_pending = true;
	u->ier = value & IER_MASK;
}

static void write_fcr(struct ns16550 *u, uint8_t value)
{
	bool toggled = (value ^ u->fcr) & FCR_ENABLE;

	if (toggled || ((value & FCR_ENABLE) && (value & FCR_CLEAR_RX))) {
		u->rx = (struct ns16550_fifo){.n = 0};
		u->overrun = 0;
	}
	u->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
}

static void write_mcr(struct ns16550 *u, uint8_t value)
{
	uint8_t before = modem_lines(u), changed;

	u->mcr = value & MCR_MASK;
	changed = before ^ modem_lines(u);
	u->msr_delta |= changed >> 4 & (MSR_DCTS | MSR_DDSR | MSR_DDCD);
	if (changed & before & MSR_RI) /* the trailing edge alone counts */
		u->msr_delta |= MSR_TERI;
}

static void ns16550_write(void *chip, uint16_t port, unsigned size, uint32_t value, uint64_t now)
{
	struct ns16550 *u = chip;
	bool dlab = u->lcr & LCR_DLAB;

	(void)size;
	switch (port & 7) {
	case 0:
		if (dlab)
			u->dll = value;
		else
			write_thr(u, value);
		break;
	case 1:
		if (dlab)
			u->dlm = value;
		else
			write_ier(u, value);
		break;
	case 2:
		write_fcr(u, value);
		break;
	case 3:
		u->lcr = value;
		break;
	case 4:
		write_mcr(u, value);
		break;
	case 7:
		u->scr = value;
	}
	ns16550_poll(u, now);
}

static uint8_t read_rbr(struct ns16550 *u)
{
	uint8_t value;

	if (!u->rx.n)
		return 0;
	value = u->rx.data[u->rx.first];
	fifo_drop(&u->rx);
	return value;
}

static uint8_t read_iir(struct ns16550 *u)
{
	uint8_t value = source(u);

	if (value == IIR_THRI)
		u->thre_pending = false;
	return value | (u->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint8_t read_lsr(struct ns16550 *u)
{
	uint8_t value = u->overrun;
	unsigned i;

	if (u->rx.n) {
		value |= LSR_DR | u->rx.error[u->rx.first];
		for (i = 0; i < NS16550_FIFO; i++) /* error[] is 0 outside the bytes that are there */
			if (u->rx.error[i] && (u->fcr & FCR_ENABLE))
				value |= LSR_FIFO_ERROR;
		u->rx.error[u->rx.first] = 0;
	}
	u->overrun = 0;
	return value | (u->tx.n ? 0 : LSR_THRE | LSR_TEMT);
}

static uint8_t read_msr(struct ns16550 *u)
{
	uint8_t value = modem_lines(u) | u->msr_delta;

	u->msr_delta = 0;
	return value;
}

static uint32_t ns16550_read(void *chip, uint16_t port, unsigned size, uint64_t now)
{
	struct ns16550 *u = chip;
	bool dlab = u->lcr & LCR_DLAB;
	uint8_t value = 0;

	(void)size;
	ns16550_poll(u, now);
	switch (port & 7) {
	case 0:
		value = dlab ? u->dll : read_rbr(u);
		break;
	case 1:
		value = dlab ? u->dlm : u->ier;
		break;
	case 2:
		value = read_iir(u);
		break;
	case 3:
		value = u->lcr;
		break;
	case 4:
		value = u->mcr;
		break;
	case 5:
		value = read_lsr(u);
		break;
	case 6:
		value = read_msr(u);
		break;
	case 7:
		value = u->scr;
	}
	ns16550_poll(u, now);
	return value;
}

static void ns16550_new(void *chip, const struct wiring *wiring)
{
	struct ns16550 *u = chip;

	u->irq = wiring->irq;
	u->in = wiring->config->console_in;
	u->out = wiring->config->console_out;
	u->notify = wiring->config->notify;
	u->ctx = wiring->config->ctx;
	atomic_store(&u->breaks, 0);
	u->tx = (struct ns16550_fifo){.n = 0};
}

/* MR, the reset pin (table I). What waits to be sent stays, see above. */
static void ns16550_reset(void *chip, uint64_t now)
{
	struct ns16550 *u = chip;

	u->rx = (struct ns16550_fifo){.n = 0};
	u->ier = u->fcr = u->lcr = u->mcr = u->scr = u->overrun = u->msr_delta = 0;
	u->dll = 1; /* 115200 baud, as firmware leaves it */
	u->dlm = 0;
	u->thre_pending = false;
	ns16550_poll(u, now);
}

static void save_fifo(struct ns16550_fifo *f, struct state *s)
{
	unsigned i;

	for (i = 0; i < NS16550_FIFO; i++) {
		state_u8(s, &f->data[i]);
		state_u8(s, &f->error[i]);
	}
	state_u8(s, &f->first);
	state_u8(s, &f->n);
	if (f->first >= NS16550_FIFO || f->n > NS16550_FIFO)
		state_refuse(s);
}

static void ns16550_save(void *chip, struct state *s)
{
	struct ns16550 *u = chip;

	save_fifo(&u->rx, s);
	save_fifo(&u->tx, s);
	state_u8(s, &u->ier);
	state_u8(s, &u->fcr);
	state_u8(s, &u->lcr);
	state_u8(s, &u->mcr);
	state_u8(s, &u->scr);
	state_u8(s, &u->dll);
	state_u8(s, &u->dlm);
	state_u8(s, &u->overrun);
	state_u8(s, &u->msr_delta);
	state_bool(s, &u->thre_pending);
	if (u->rx.n > depth(u))
		state_refuse(s);
}

const struct device_ops ns16550_ops = {
    .name = "ns16550",
    .new = ns16550_new,
    .reset = ns16550_reset,
    .state = ns16550_save,
    .read = ns16550_read,
    .write = ns16550_write,
    .poll = ns16550_poll,
    .deadline = ns16550_deadline,
};
