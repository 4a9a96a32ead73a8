#include "serial/uart16550.h"

#include "util/assert.h"
#include "util/bits.h"
#include "util/metrics.h"

#include <linux/serial_reg.h>

enum {
	N_REGISTERS = 8,
	CHIP_FIFO_DEPTH = 16,
	/* 9600 baud at the usual 1.8432 MHz; some drivers divide by it, so it must not be 0. */
	POWER_ON_DIVISOR = 12,
	IER_BITS = UART_IER_RDI | UART_IER_THRI | UART_IER_RLSI | UART_IER_MSI,
	MCR_BITS = 0x1f,
	IIR_FIFO_ENABLED = 0xc0,
	/* A driver that prints reads LSR once or twice a byte; more in a row is waiting for input.
	 */
	POLLS_OF_A_LISTENER = 16,
};

static bool fifo_push(struct uart16550_fifo *fifo, uint8_t byte)
{
	if (fifo->count == UART16550_FIFO_SIZE)
		return false;
	fifo->bytes[(fifo->head + fifo->count++) % UART16550_FIFO_SIZE] = byte;
	return true;
}

static void fifo_drop(struct uart16550_fifo *fifo, size_t n)
{
	fifo->head = (unsigned int)((fifo->head + n) % UART16550_FIFO_SIZE);
	fifo->count -= (unsigned int)n;
}

static bool has_fifo(const struct uart16550 *uart)
{
	return (uart->fcr & UART_FCR_ENABLE_FIFO) != 0;
}

static bool is_loopback(const struct uart16550 *uart)
{
	return (uart->mcr & UART_MCR_LOOP) != 0;
}

/* Would the guest take input, or throw it away when it opens the port? */
static bool is_listening(const struct uart16550 *uart)
{
	return !is_loopback(uart) && ((uart->ier & UART_IER_RDI) != 0 || uart->is_polled);
}

/* The enabled interrupt conditions, each as the bit of IER that enables it. */
static uint8_t conditions(const struct uart16550 *uart)
{
	uint8_t set = 0;

	if (uart->rx.count > 0)
		set |= UART_IER_RDI;
	if (uart->thre_pending)
		set |= UART_IER_THRI;
	if (uart->modem_changes != 0)
		set |= UART_IER_MSI;
	return set & uart->ier;
}

/* What follows from any change of state: the interrupt line, and news for a waiting input. */
static void settle(struct uart16550 *uart)
{
	uint8_t before = uart->signalled;

	uart->signalled = conditions(uart);
	if ((uart->signalled & ~before) != 0)
		irq_raise(&uart->irq);
	else if (before != 0 && uart->signalled == 0)
		irq_lower(&uart->irq);

	/* Half of the FIFO, not a byte: else a guest that reads wakes the other side every time. */
	if (uart->input_waits && is_listening(uart) && uart->rx.count <= UART16550_FIFO_SIZE / 2) {
		uart->input_waits = false;
		uart->ops->input_room(uart->ctx);
	}
}

/* A byte came in. Where the line is an edge, it is a new one even if others wait already. */
static bool receive(struct uart16550 *uart, uint8_t byte)
{
	if (!fifo_push(&uart->rx, byte))
		return false;
	uart->signalled &= (uint8_t)~UART_IER_RDI;
	return true;
}

static void offer_output(struct uart16550 *uart)
{
	struct uart16550_fifo *tx = &uart->tx;

	while (tx->count > 0) {
		size_t run = MIN(tx->count, UART16550_FIFO_SIZE - tx->head);
		size_t taken = uart->ops->output(uart->ctx, &tx->bytes[tx->head], run);

		ASSERT(taken <= run);
		fifo_drop(tx, taken);
		if (taken < run)
			return;
	}
}

/* In loopback the receive FIFO has the chip's depth, as drivers measure it this way. */
static void loop_back(struct uart16550 *uart, uint8_t byte)
{
	if (uart->rx.count < (has_fifo(uart) ? CHIP_FIFO_DEPTH : 1))
		(void)receive(uart, byte);
}

static void write_thr(struct uart16550 *uart, uint8_t byte)
{
	if (is_loopback(uart)) {
		loop_back(uart, byte);
	} else {
		if (!fifo_push(&uart->tx, byte))
			metrics_inc(&metrics.uart.error_count);
		/* What waits already was refused: the other side will say when to go on. */
		if (uart->tx.count == 1)
			offer_output(uart);
	}
	/*
	 * Writing clears the THRE interrupt, being empty again sets it. If both happen here at once
	 * while the guest has yet to read IIR, that is no new interrupt: it would be one a byte.
	 */
	uart->thre_pending = uart->tx.count == 0;
}

/* Enabling the THRE interrupt with THR empty gives one, each time: Linux starts to send with it. */
static void write_ier(struct uart16550 *uart, uint8_t value)
{
	uint8_t changed = uart->ier ^ value;

	uart->ier = value & IER_BITS;
	if ((changed & UART_IER_THRI) != 0)
		uart->thre_pending = (value & UART_IER_THRI) != 0 && uart->tx.count == 0;
}

/*
 * While bit 0 is clear the other bits do nothing; when it goes off, the FIFOs are emptied. The chip
 * empties them when it goes on as well. Linux switches them on after the receive interrupt, as the
 * last step of opening the port: what came in between would be lost.
 */
static void write_fcr(struct uart16550 *uart, uint8_t value)
{
	bool enable = (value & UART_FCR_ENABLE_FIFO) != 0;

	if (enable ? (value & UART_FCR_CLEAR_RCVR) != 0 : has_fifo(uart)) {
		fifo_drop(&uart->rx, uart->rx.count);
		uart->is_polled = false;
	}
	uart->fcr = enable ? value & (UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_MASK) : 0;
}

static uint8_t modem_lines(const struct uart16550 *uart)
{
	uint8_t lines = 0;

	if (!is_loopback(uart))
		return UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS;
	if ((uart->mcr & UART_MCR_DTR) != 0)
		lines |= UART_MSR_DSR;
	if ((uart->mcr & UART_MCR_RTS) != 0)
		lines |= UART_MSR_CTS;
	if ((uart->mcr & UART_MCR_OUT1) != 0)
		lines |= UART_MSR_RI;
	if ((uart->mcr & UART_MCR_OUT2) != 0)
		lines |= UART_MSR_DCD;
	return lines;
}

static void write_mcr(struct uart16550 *uart, uint8_t value)
{
	uint8_t before = modem_lines(uart);
	uint8_t changed;

	uart->mcr = value & MCR_BITS;
	changed = before ^ modem_lines(uart);
	/* The changes stand four bits below the lines; of RI only the falling edge is told. */
	uart->modem_changes |= (changed & (UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS)) >> 4;
	if ((changed & before & UART_MSR_RI) != 0)
		uart->modem_changes |= UART_MSR_TERI;
}

static uint8_t read_rbr(struct uart16550 *uart)
{
	uint8_t byte;

	if (uart->rx.count == 0)
		return 0;
	byte = uart->rx.bytes[uart->rx.head];
	fifo_drop(&uart->rx, 1);
	return byte;
}

/* Below the trigger level the chip waits for four characters' time; here that time has passed. */
static uint8_t receive_interrupt_id(const struct uart16550 *uart)
{
	static const uint8_t triggers[] = { 1, 4, 8, 14 };

	if (has_fifo(uart) && uart->rx.count < triggers[uart->fcr >> 6])
		return UART_IIR_RX_TIMEOUT;
	return UART_IIR_RDI;
}

static uint8_t read_iir(struct uart16550 *uart)
{
	uint8_t fifo = has_fifo(uart) ? IIR_FIFO_ENABLED : 0;
	uint8_t set = conditions(uart);

	if ((set & UART_IER_RDI) != 0)
		return fifo | receive_interrupt_id(uart);
	if ((set & UART_IER_THRI) != 0) {
		uart->thre_pending = false;
		return fifo | UART_IIR_THRI;
	}
	return fifo | ((set & UART_IER_MSI) != 0 ? UART_IIR_MSI : UART_IIR_NO_INT);
}

static uint8_t read_lsr(struct uart16550 *uart)
{
	uint8_t value = 0;

	/* While output waits, the guest may as well be waiting for that. */
	if (uart->tx.count > 0)
		uart->n_lsr_reads = 0;
	else if (uart->n_lsr_reads < POLLS_OF_A_LISTENER)
		uart->n_lsr_reads++;
	if (uart->n_lsr_reads == POLLS_OF_A_LISTENER)
		uart->is_polled = true;
	if (uart->tx.count == 0)
		value |= UART_LSR_THRE | UART_LSR_TEMT;
	if (uart->rx.count > 0)
		value |= UART_LSR_DR;
	return value;
}

static uint8_t read_msr(struct uart16550 *uart)
{
	uint8_t value = modem_lines(uart) | uart->modem_changes;

	uart->modem_changes = 0;
	return value;
}

static uint8_t read_register(struct uart16550 *uart, uint64_t offset)
{
	bool dlab = (uart->lcr & UART_LCR_DLAB) != 0;

	switch (offset) {
	case UART_RX: /* and UART_DLL */
		return dlab ? uart->dll : read_rbr(uart);
	case UART_IER: /* and UART_DLM */
		return dlab ? uart->dlm : uart->ier;
	case UART_IIR:
		return read_iir(uart);
	case UART_LCR:
		return uart->lcr;
	case UART_MCR:
		return uart->mcr;
	case UART_LSR:
		return read_lsr(uart);
	case UART_MSR:
		return read_msr(uart);
	default:
		return uart->scr;
	}
}

static void write_register(struct uart16550 *uart, uint64_t offset, uint8_t value)
{
	bool dlab = (uart->lcr & UART_LCR_DLAB) != 0;

	switch (offset) {
	case UART_TX: /* and UART_DLL */
		if (dlab)
			uart->dll = value;
		else
			write_thr(uart, value);
		break;
	case UART_IER: /* and UART_DLM */
		if (dlab)
			uart->dlm = value;
		else
			write_ier(uart, value);
		break;
	case UART_FCR:
		write_fcr(uart, value);
		break;
	case UART_LCR:
		uart->lcr = value;
		break;
	case UART_MCR:
		write_mcr(uart, value);
		break;
	case UART_SCR:
		uart->scr = value;
		break;
	default: /* LSR and MSR are for reading */
		break;
	}
}

static uint64_t mmio_read(void *device, uint64_t offset, unsigned int len)
{
	struct uart16550 *uart = device;
	uint8_t value;

	if (len != 1 || offset >= N_REGISTERS) {
		metrics_inc(&metrics.uart.missed_read_count);
		return 0;
	}
	metrics_inc(&metrics.uart.read_count);
	pthread_mutex_lock(&uart->lock);
	if (offset != UART_LSR)
		uart->n_lsr_reads = 0;
	value = read_register(uart, offset);
	settle(uart);
	pthread_mutex_unlock(&uart->lock);
	return value;
}

static void mmio_write(void *device, uint64_t offset, unsigned int len, uint64_t value)
{
	struct uart16550 *uart = device;

	if (len != 1 || offset >= N_REGISTERS) {
		metrics_inc(&metrics.uart.missed_write_count);
		return;
	}
	metrics_inc(&metrics.uart.write_count);
	pthread_mutex_lock(&uart->lock);
	uart->n_lsr_reads = 0;
	write_register(uart, offset, (uint8_t)value);
	settle(uart);
	pthread_mutex_unlock(&uart->lock);
}

const struct mmio_ops uart16550_mmio_ops = { .read = mmio_read, .write = mmio_write };

void uart16550_init(struct uart16550 *uart, const struct irq_line *irq,
		    const struct uart16550_ops *ops, void *ctx)
{
	*uart = (struct uart16550){
		.irq = *irq,
		.ops = ops,
		.ctx = ctx,
		.dll = POWER_ON_DIVISOR,
	};
	pthread_mutex_init(&uart->lock, NULL);
}

void uart16550_deinit(struct uart16550 *uart)
{
	pthread_mutex_destroy(&uart->lock);
}

size_t uart16550_input(struct uart16550 *uart, const uint8_t *bytes, size_t len)
{
	size_t n = 0;

	pthread_mutex_lock(&uart->lock);
	if (is_listening(uart)) {
		while (n < len && receive(uart, bytes[n]))
			n++;
	}
	if (n < len)
		uart->input_waits = true;
	settle(uart);
	pthread_mutex_unlock(&uart->lock);
	return n;
}

size_t uart16550_take_input(struct uart16550 *uart, uint8_t *bytes, size_t len)
{
	size_t n = 0;

	pthread_mutex_lock(&uart->lock);
	uart->is_polled = true;
	while (n < len && uart->rx.count > 0)
		bytes[n++] = read_rbr(uart);
	settle(uart);
	pthread_mutex_unlock(&uart->lock);
	return n;
}

void uart16550_output_ready(struct uart16550 *uart)
{
	pthread_mutex_lock(&uart->lock);
	if (uart->tx.count > 0) {
		offer_output(uart);
		uart->thre_pending = uart->tx.count == 0;
	}
	settle(uart);
	pthread_mutex_unlock(&uart->lock);
}
