/*
 * A 16550A serial port ("ns16550a"), as Linux's 8250 driver knows it.
 *
 * Eight byte-wide registers at the start of the window. An access that is not one byte wide, or
 * that lies past the eighth register, reads 0 and writes nothing: drivers of this chip make none.
 *
 * There is no baud rate: a byte that the guest writes is offered to ops->output() at once. What
 * the other side does not take stays here, in order, and THRE and TEMT stay clear until
 * uart16550_output_ready() found a taker for the last byte. A guest that waits for THRE before it
 * fills the FIFO of 16, as it must on the real chip, therefore loses nothing to a slow reader. One
 * that gives up waiting (Linux's console does after 10 ms) may write some more, then loses bytes.
 * A reset of the transmit FIFO does not take back what is waiting: those bytes count as sent.
 *
 * Towards the guest, uart16550_input() fills a bounded FIFO and the caller keeps what does not
 * fit. On the chip that would be an overrun; here it is ops->input_room() later. The line is
 * disconnected in loopback mode, so nothing is accepted then. Nor before somebody listens: drivers
 * empty the FIFO when they open the port, and what was typed (or piped in) until then would be
 * lost. A guest listens when it has the receive interrupt enabled, or does nothing but read LSR.
 *
 * Of the line's state only what can be seen is modelled: breaks, parity and framing errors do not
 * occur; the other end always has its modem lines up, but in loopback, where MCR is mirrored.
 *
 * The interrupt line follows the enabled conditions: raised for each that appears, lowered when
 * none is left, so that it serves edge- and level-triggered controllers alike (bus/irq.h).
 *
 * All functions may be called from any thread. The callbacks, and the interrupt line, are called
 * with the UART's lock held.
 */
#pragma once

#include "bus/irq.h"
#include "bus/mmio_bus.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UART16550_FIFO_SIZE = 64 };

/** The other end of the serial line. Neither function may block or call the UART. */
struct uart16550_ops {
	/**
	 * Take bytes that the guest printed. \return how many were taken, from the first on; fewer
	 * than \p len: the UART calls again only after uart16550_output_ready()
	 */
	size_t (*output)(void *ctx, const uint8_t *bytes, size_t len);
	/** After uart16550_input() took fewer bytes than offered: it is worth calling again. */
	void (*input_room)(void *ctx);
};

struct uart16550_fifo {
	uint8_t bytes[UART16550_FIFO_SIZE];
	unsigned int head; /**< index of the oldest byte */
	unsigned int count;
};

struct uart16550 {
	pthread_mutex_t lock; /**< guards all that follows, but for the constant next three */
	struct irq_line irq;
	const struct uart16550_ops *ops;
	void *ctx;
	struct uart16550_fifo rx; /**< for the guest to read */
	struct uart16550_fifo tx; /**< written by the guest, not taken by ops->output() yet */
	uint8_t ier;
	uint8_t fcr;
	uint8_t lcr;
	uint8_t mcr;
	uint8_t scr;
	uint8_t dll;
	uint8_t dlm;
	uint8_t modem_changes; /**< the low half of MSR */
	uint8_t signalled;     /**< conditions that the line was raised for, as bits of IER */
	bool thre_pending;     /**< THRE is an interrupt that IIR has not told yet */
	bool input_waits;      /**< uart16550_input() took too little: call ops->input_room() */
	bool is_polled;        /**< the guest listens without an interrupt */
	uint8_t n_lsr_reads;   /**< since it last did anything else */
};

/** Register access, for the MMIO bus; the device is a struct uart16550. */
extern const struct mmio_ops uart16550_mmio_ops;

/**
 * Set up a port in its power-on state. It does not move afterwards.
 * \param irq copied; its sink is borrowed
 * \param ops borrowed
 * \param ctx handed to \p ops
 */
void uart16550_init(struct uart16550 *uart, const struct irq_line *irq,
		    const struct uart16550_ops *ops, void *ctx);

/** Nobody may use the port any more. */
void uart16550_deinit(struct uart16550 *uart);

/**
 * Send bytes to the guest.
 * \return how many found room, from the first on; if fewer than \p len, ops->input_room() follows
 */
size_t uart16550_input(struct uart16550 *uart, const uint8_t *bytes, size_t len);

/**
 * Take bytes sent to the guest out of the receive FIFO as the guest's own reads would: for another
 * way to the same input, such as the SBI debug console.
 * \return how many there were, at most \p len
 */
size_t uart16550_take_input(struct uart16550 *uart, uint8_t *bytes, size_t len);

/**
 * The other side takes output again: offer it what waits.
 * To be called without any lock that ops->output() takes.
 */
void uart16550_output_ready(struct uart16550 *uart);
