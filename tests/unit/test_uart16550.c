#include "rig.h"
#include "serial/uart16550.h"
#include "test.h"
#include "util/assert.h"
#include "util/bits.h"
#include "util/metrics.h"

#include <linux/serial_reg.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

enum {
	SINK_SIZE = 1 << 16,
	UNLIMITED = INT32_MAX,
	BOTH_EMPTY = UART_LSR_THRE | UART_LSR_TEMT,
};

/* A port whose other end takes `budget` bytes more. */
struct port {
	struct uart16550 uart;
	struct rig_irq irq;
	struct rig_mmio mmio;
	pthread_mutex_t lock; /* guards the next three */
	uint8_t out[SINK_SIZE];
	size_t n_out;
	size_t budget;
	_Atomic unsigned int n_room;
	_Atomic unsigned int n_output_calls;
};

static size_t output(void *ctx, const uint8_t *bytes, size_t len)
{
	struct port *port = ctx;
	size_t n;

	pthread_mutex_lock(&port->lock);
	n = MIN(len, port->budget);
	ASSERT(port->n_out + n <= SINK_SIZE);
	memcpy(&port->out[port->n_out], bytes, n);
	port->n_out += n;
	port->budget -= n;
	pthread_mutex_unlock(&port->lock);
	port->n_output_calls++;
	return n;
}

static void input_room(void *ctx)
{
	((struct port *)ctx)->n_room++;
}

static struct port *port_new(size_t budget)
{
	static const struct uart16550_ops ops = { .output = output, .input_room = input_room };
	struct port *port = calloc(1, sizeof(*port));

	assert_non_null(port);
	pthread_mutex_init(&port->lock, NULL);
	port->budget = budget;
	port->mmio = (struct rig_mmio){ &uart16550_mmio_ops, &port->uart };
	rig_irq_init(&port->irq);
	uart16550_init(&port->uart, &port->irq.line, &ops, port);
	return port;
}

static void port_free(struct port *port)
{
	uart16550_deinit(&port->uart);
	pthread_mutex_destroy(&port->lock);
	free(port);
}

static uint8_t in(struct port *port, uint64_t offset)
{
	return rig_read8(&port->mmio, offset);
}

static void out(struct port *port, uint64_t offset, uint8_t value)
{
	rig_write8(&port->mmio, offset, value);
}

/* A guest that does nothing but look for input, without an interrupt. */
static void poll_for_input(struct port *port)
{
	for (int i = 0; i < 16; i++)
		in(port, UART_LSR);
}

static void allow_output(struct port *port, size_t budget)
{
	pthread_mutex_lock(&port->lock);
	port->budget += budget;
	pthread_mutex_unlock(&port->lock);
	uart16550_output_ready(&port->uart);
}

static size_t n_output(struct port *port)
{
	size_t n;

	pthread_mutex_lock(&port->lock);
	n = port->n_out;
	pthread_mutex_unlock(&port->lock);
	return n;
}

static void powers_on_idle(void **state)
{
	struct port *port = port_new(UNLIMITED);

	(void)state;
	assert_int_equal(in(port, UART_LSR), BOTH_EMPTY);
	assert_int_equal(in(port, UART_IIR), UART_IIR_NO_INT);
	assert_int_equal(in(port, UART_MSR), UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS);
	assert_int_equal(in(port, UART_RX), 0);
	out(port, UART_LCR, UART_LCR_DLAB);
	assert_int_not_equal(in(port, UART_DLL), 0); /* drivers divide by it */
	assert_int_equal(port->irq.n_raised, 0);
	port_free(port);
}

static void prints(void **state)
{
	struct port *port = port_new(UNLIMITED);
	const char *text = "hello";

	(void)state;
	memset(&metrics, 0, sizeof(metrics));
	for (const char *at = text; *at != '\0'; at++) {
		assert_int_equal(in(port, UART_LSR), BOTH_EMPTY);
		out(port, UART_TX, (uint8_t)*at);
	}
	assert_int_equal(metrics_get(&metrics.uart.read_count), 5);
	assert_int_equal(metrics_get(&metrics.uart.write_count), 5);
	assert_int_equal(port->n_out, 5);
	assert_memory_equal(port->out, text, 5);
	assert_int_equal(port->irq.n_raised, 0);
	port_free(port);
}

/* How many bytes come back in loopback: what Linux's size_fifo() does. */
static unsigned int measured_fifo(struct port *port, uint8_t fcr)
{
	unsigned int n = 0;

	out(port, UART_FCR, 0);
	out(port, UART_FCR, fcr);
	out(port, UART_MCR, UART_MCR_LOOP | UART_MCR_RTS);
	for (unsigned int i = 0; i < 256; i++)
		out(port, UART_TX, (uint8_t)i);
	for (; (in(port, UART_LSR) & UART_LSR_DR) != 0; n++)
		assert_int_equal(in(port, UART_RX), n);
	out(port, UART_MCR, 0);
	return n;
}

/* The probes of Linux's 8250 driver: autoconfig(), size_fifo(). */
static void passes_linux_probes(void **state)
{
	struct port *port = port_new(UNLIMITED);

	(void)state;
	out(port, UART_IER, 0);
	assert_int_equal(in(port, UART_IER), 0);
	out(port, UART_IER, 0xff);
	assert_int_equal(in(port, UART_IER), 0x0f); /* no sleep mode, not an XScale */
	out(port, UART_IER, 0);
	out(port, UART_MCR, UART_MCR_LOOP | 0x0a);
	assert_int_equal(in(port, UART_MSR) & 0xf0, 0x90);
	out(port, UART_MCR, 0);

	out(port, UART_FCR, UART_FCR_ENABLE_FIFO);
	assert_int_equal(in(port, UART_IIR) >> 6, 3);
	out(port, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR7_64BYTE);
	assert_int_equal(in(port, UART_IIR) >> 5, 6); /* not a 16750 */
	out(port, UART_FCR, 0);
	assert_int_equal(in(port, UART_IIR) >> 6, 0);
	out(port, UART_SCR, 0xa5);
	assert_int_equal(in(port, UART_SCR), 0xa5);
	out(port, UART_SCR, 0x5a);
	assert_int_equal(in(port, UART_SCR), 0x5a);

	assert_int_equal(measured_fifo(port, UART_FCR_ENABLE_FIFO), 16);
	assert_int_equal(measured_fifo(port, 0), 1);
	assert_int_equal(port->n_out, 0);
	port_free(port);
}

/* serial8250_THRE_test() and the TXEN test: enabling with THR empty interrupts, each time. */
static void passes_linux_thre_test(void **state)
{
	struct port *port = port_new(UNLIMITED);

	(void)state;
	for (unsigned int i = 1; i <= 3; i++) {
		out(port, UART_IER, UART_IER_THRI);
		assert_true(port->irq.is_high);
		assert_int_equal(port->irq.n_raised, i);
		out(port, UART_IER, UART_IER_THRI); /* enabled already: not again */
		assert_int_equal(port->irq.n_raised, i);
		assert_int_equal(in(port, UART_LSR) & UART_LSR_TEMT, UART_LSR_TEMT);
		assert_int_equal(in(port, UART_IIR), UART_IIR_THRI);
		assert_false(port->irq.is_high);
		assert_int_equal(in(port, UART_IIR), UART_IIR_NO_INT);
		out(port, UART_IER, UART_IER_THRI);
		assert_int_equal(in(port, UART_IIR), UART_IIR_NO_INT);
		out(port, UART_IER, 0);
	}
	port_free(port);
}

static void iir_tells_the_most_urgent(void **state)
{
	struct port *port = port_new(UNLIMITED);

	(void)state;
	out(port, UART_IER, 0x0f);
	out(port, UART_MCR, UART_MCR_LOOP);
	out(port, UART_MCR, 0);
	assert_int_equal(uart16550_input(&port->uart, (const uint8_t *)"x", 1), 1);
	assert_int_equal(in(port, UART_IIR), UART_IIR_RDI);
	assert_int_equal(in(port, UART_IIR), UART_IIR_RDI); /* nor does that clear THRE */
	assert_int_equal(in(port, UART_RX), 'x');
	assert_int_equal(in(port, UART_IIR), UART_IIR_THRI);
	assert_int_equal(in(port, UART_IIR), UART_IIR_MSI);
	assert_true(port->irq.is_high);
	assert_int_equal(in(port, UART_MSR) & UART_MSR_ANY_DELTA,
			 UART_MSR_DDCD | UART_MSR_DDSR | UART_MSR_DCTS);
	assert_false(port->irq.is_high);
	assert_int_equal(in(port, UART_IIR), UART_IIR_NO_INT);
	port_free(port);
}

static void receives(void **state)
{
	static const struct {
		uint8_t fcr;
		size_t n;
		uint8_t iir;
	} rows[] = {
		{ 0, 1, UART_IIR_RDI },
		{ 0x01, 1, 0xc0 | UART_IIR_RDI },
		{ 0x41, 3, 0xc0 | UART_IIR_RX_TIMEOUT },
		{ 0x41, 4, 0xc0 | UART_IIR_RDI },
		{ 0x81, 7, 0xc0 | UART_IIR_RX_TIMEOUT },
		{ 0x81, 8, 0xc0 | UART_IIR_RDI },
		{ 0xc1, 13, 0xc0 | UART_IIR_RX_TIMEOUT },
		{ 0xc1, 14, 0xc0 | UART_IIR_RDI },
	};
	static const uint8_t bytes[] = "abcdefghijklmnop";

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct port *port = port_new(UNLIMITED);

		out(port, UART_FCR, rows[i].fcr);
		out(port, UART_IER, UART_IER_RDI);
		assert_int_equal(uart16550_input(&port->uart, bytes, rows[i].n), rows[i].n);
		assert_true(port->irq.is_high);
		assert_int_equal(in(port, UART_IIR), rows[i].iir);
		for (size_t n = 0; n < rows[i].n; n++) {
			assert_true(port->irq.is_high);
			assert_int_equal(in(port, UART_LSR), BOTH_EMPTY | UART_LSR_DR);
			assert_int_equal(in(port, UART_RX), bytes[n]);
		}
		assert_false(port->irq.is_high);
		assert_int_equal(in(port, UART_LSR), BOTH_EMPTY);
		assert_int_equal(port->n_room, 0); /* nobody waited */
		port_free(port);
	}
}

/* For an edge-triggered controller the line that is high already says nothing. */
static void every_input_is_an_edge(void **state)
{
	struct port *port = port_new(UNLIMITED);

	(void)state;
	out(port, UART_IER, UART_IER_RDI);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(uart16550_input(&port->uart, (const uint8_t *)"x", 1), 1);
		assert_true(rig_irq_take_edge(&port->irq));
	}
	assert_int_equal(uart16550_input(&port->uart, NULL, 0), 0);
	in(port, UART_RX);
	assert_false(rig_irq_take_edge(&port->irq));

	/* So is one that comes while another condition holds the line high. */
	out(port, UART_IER, UART_IER_RDI | UART_IER_THRI);
	in(port, UART_RX);
	in(port, UART_RX);
	rig_irq_take_edge(&port->irq);
	assert_true(port->irq.is_high);
	uart16550_input(&port->uart, (const uint8_t *)"x", 1);
	assert_true(rig_irq_take_edge(&port->irq));
	port_free(port);
}

/* C02: a host that pushes without end to a guest that does not read. */
static void input_flood_is_bounded(void **state)
{
	struct port *port = port_new(UNLIMITED);
	static uint8_t flood[1 << 20];
	size_t n = 0;

	(void)state;
	out(port, UART_IER, UART_IER_RDI);
	for (int i = 0; i < 100; i++)
		n += uart16550_input(&port->uart, flood, sizeof(flood));
	assert_int_equal(n, UART16550_FIFO_SIZE);
	for (unsigned int i = 0; i < UART16550_FIFO_SIZE; i++) {
		assert_int_equal(port->n_room, i >= UART16550_FIFO_SIZE / 2); /* once */
		in(port, UART_RX);
	}
	assert_int_equal(in(port, UART_LSR), BOTH_EMPTY);
	port_free(port);
}

static void input_waits_for_room(void **state)
{
	struct port *port = port_new(UNLIMITED);
	static const uint8_t bytes[UART16550_FIFO_SIZE + 1];

	(void)state;
	out(port, UART_IER, UART_IER_RDI);
	/* Exactly full is not too little. */
	assert_int_equal(uart16550_input(&port->uart, bytes, sizeof(bytes) - 1), sizeof(bytes) - 1);
	out(port, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	assert_int_equal(in(port, UART_LSR), BOTH_EMPTY);
	assert_int_equal(port->n_room, 0);

	/* Emptying the FIFO makes room as reading does. */
	assert_int_equal(uart16550_input(&port->uart, bytes, sizeof(bytes)), sizeof(bytes) - 1);
	out(port, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_XMIT);
	assert_int_equal(port->n_room, 0);
	out(port, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	assert_int_equal(port->n_room, 1);

	/* Loopback cuts the line; leaving it is the good news. */
	out(port, UART_MCR, UART_MCR_LOOP);
	assert_int_equal(uart16550_input(&port->uart, bytes, 1), 0);
	assert_int_equal(in(port, UART_LSR), BOTH_EMPTY);
	assert_int_equal(port->n_room, 1);
	out(port, UART_MCR, 0);
	assert_int_equal(port->n_room, 2);
	port_free(port);
}

/* What a driver would empty out of the FIFO when it opens the port stays with the caller. */
static void input_waits_for_a_listener(void **state)
{
	struct port *port = port_new(UNLIMITED);

	(void)state;
	assert_int_equal(uart16550_input(&port->uart, (const uint8_t *)"x", 1), 0);
	for (int i = 0; i < 15; i++)
		in(port, UART_LSR);
	out(port, UART_TX, 'a'); /* a guest that prints reads LSR too */
	out(port, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	in(port, UART_RX);
	assert_int_equal(port->n_room, 0);
	assert_int_equal(uart16550_input(&port->uart, (const uint8_t *)"x", 1), 0);
	out(port, UART_IER, UART_IER_RDI);
	assert_int_equal(port->n_room, 1);
	assert_int_equal(uart16550_input(&port->uart, (const uint8_t *)"x", 1), 1);
	assert_int_equal(in(port, UART_RX), 'x');

	/* Linux opens the port in this order; input may come at any time after the first step. */
	out(port, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	out(port, UART_FCR, 0);
	out(port, UART_IER, UART_IER_RDI);
	assert_int_equal(uart16550_input(&port->uart, (const uint8_t *)"x", 1), 1);
	out(port, UART_FCR, UART_FCR_ENABLE_FIFO);
	out(port, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_R_TRIG_10);
	assert_int_equal(in(port, UART_RX), 'x');

	/* The driver closes the port; another reads without interrupts. */
	out(port, UART_IER, 0);
	assert_int_equal(uart16550_input(&port->uart, (const uint8_t *)"y", 1), 0);
	poll_for_input(port);
	assert_int_equal(port->n_room, 2);
	assert_int_equal(uart16550_input(&port->uart, (const uint8_t *)"y", 1), 1);
	assert_int_equal(in(port, UART_RX), 'y');
	/* Opening the port anew ends that. */
	out(port, UART_FCR, 0);
	assert_int_equal(uart16550_input(&port->uart, (const uint8_t *)"z", 1), 0);
	/* The SBI debug console listens as well. */
	uart16550_take_input(&port->uart, NULL, 0);
	assert_int_equal(port->n_room, 3);
	assert_int_equal(uart16550_input(&port->uart, (const uint8_t *)"z", 1), 1);
	port_free(port);
}

static void input_by_another_way(void **state)
{
	struct port *port = port_new(UNLIMITED);
	static const uint8_t bytes[UART16550_FIFO_SIZE + 1] = "abc";
	uint8_t got[sizeof(bytes)];

	(void)state;
	out(port, UART_IER, UART_IER_RDI);
	assert_int_equal(uart16550_take_input(&port->uart, got, sizeof(got)), 0);
	uart16550_input(&port->uart, bytes, sizeof(bytes));
	assert_true(port->irq.is_high);
	assert_int_equal(uart16550_take_input(&port->uart, got, 2), 2);
	assert_memory_equal(got, "ab", 2);
	assert_int_equal(in(port, UART_RX), 'c');
	assert_int_equal(uart16550_take_input(&port->uart, got, sizeof(got)), sizeof(bytes) - 4);
	assert_int_equal(port->n_room, 1);
	assert_false(port->irq.is_high);
	port_free(port);
}

static void divisor_latch(void **state)
{
	struct port *port = port_new(UNLIMITED);

	(void)state;
	out(port, UART_IER, UART_IER_RDI);
	out(port, UART_LCR, UART_LCR_DLAB | UART_LCR_WLEN8);
	out(port, UART_DLL, 0x34);
	out(port, UART_DLM, 0xff);
	assert_int_equal(in(port, UART_DLL), 0x34);
	assert_int_equal(in(port, UART_DLM), 0xff);
	uart16550_input(&port->uart, (const uint8_t *)"x", 1);
	assert_int_equal(in(port, UART_DLL), 0x34); /* takes no byte from the FIFO */
	out(port, UART_LCR, UART_LCR_WLEN8 | UART_LCR_SBC);
	assert_int_equal(in(port, UART_LCR), UART_LCR_WLEN8 | UART_LCR_SBC);
	assert_int_equal(in(port, UART_IER), UART_IER_RDI);
	assert_int_equal(in(port, UART_RX), 'x');
	assert_int_equal(port->n_out, 0);
	out(port, UART_TX, 'y');
	assert_int_equal(port->n_out, 1);
	out(port, UART_LCR, UART_LCR_DLAB);
	assert_int_equal(in(port, UART_DLL), 0x34);
	port_free(port);
}

/* C05, T01, T03, T05: what is no register access changes nothing. */
static void ignores_other_accesses(void **state)
{
	static const unsigned int lens[] = { 2, 4, 8 };
	struct port *port = port_new(UNLIMITED);

	(void)state;
	out(port, UART_SCR, 0x5a);
	poll_for_input(port);
	uart16550_input(&port->uart, (const uint8_t *)"x", 1);
	memset(&metrics, 0, sizeof(metrics));
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		for (uint64_t offset = 0; offset < 16; offset++) {
			assert_int_equal(rig_read(&port->mmio, offset, lens[i]), 0);
			rig_write(&port->mmio, offset, lens[i], UINT64_MAX);
		}
	}
	for (uint64_t offset = 8; offset < 0x1000; offset++) {
		assert_int_equal(rig_read(&port->mmio, offset, 1), 0);
		rig_write(&port->mmio, offset, 1, 0xff);
	}
	assert_int_equal(metrics_get(&metrics.uart.missed_read_count),
			 ARRAY_SIZE(lens) * 16 + 0x1000 - 8);
	assert_int_equal(metrics_get(&metrics.uart.missed_write_count),
			 ARRAY_SIZE(lens) * 16 + 0x1000 - 8);
	out(port, UART_LSR, 0);
	out(port, UART_MSR, 0);
	assert_int_equal(in(port, UART_SCR), 0x5a);
	assert_int_equal(in(port, UART_LSR), BOTH_EMPTY | UART_LSR_DR);
	assert_int_equal(in(port, UART_LCR) | in(port, UART_IER) | in(port, UART_MCR), 0);
	assert_int_equal(in(port, UART_RX), 'x');
	assert_int_equal(port->n_out + port->irq.n_raised, 0);
	port_free(port);
}

static void loopback(void **state)
{
	struct port *port = port_new(UNLIMITED);

	(void)state;
	out(port, UART_IER, UART_IER_RDI | UART_IER_MSI);
	out(port, UART_MCR, UART_MCR_LOOP);
	in(port, UART_MSR);
	assert_false(port->irq.is_high);
	for (unsigned int mcr = 0; mcr < 16; mcr++) {
		uint8_t lines = (uint8_t)((mcr & 1) << 5 | (mcr & 2) << 3 | (mcr & 4) << 4 |
					  (mcr & 8) << 4);

		out(port, UART_MCR, UART_MCR_LOOP | (uint8_t)mcr);
		assert_int_equal(in(port, UART_MCR), UART_MCR_LOOP | mcr);
		assert_int_equal(in(port, UART_MSR) & 0xf0, lines);
		assert_int_equal(in(port, UART_MSR), lines); /* the changes are told once */
	}
	/* The ring indicator interrupts when it ends. */
	out(port, UART_MCR, UART_MCR_LOOP);
	in(port, UART_MSR);
	out(port, UART_MCR, UART_MCR_LOOP | UART_MCR_OUT1);
	assert_false(port->irq.is_high);
	out(port, UART_MCR, UART_MCR_LOOP);
	assert_true(port->irq.is_high);
	assert_int_equal(in(port, UART_MSR), UART_MSR_TERI);

	out(port, UART_TX, 'x');
	assert_true(port->irq.is_high);
	assert_int_equal(in(port, UART_RX), 'x');
	assert_int_equal(port->n_out, 0);
	port_free(port);
}

/* C05: the interrupts that a guest makes so are its own, and the line ends where it should. */
static void ier_storm(void **state)
{
	struct port *port = port_new(UNLIMITED);

	(void)state;
	poll_for_input(port);
	uart16550_input(&port->uart, (const uint8_t *)"x", 1);
	for (unsigned int i = 0; i < 10000; i++) {
		out(port, UART_IER, (uint8_t)i);
		assert_int_equal(port->irq.is_high, (i & (UART_IER_RDI | UART_IER_THRI)) != 0);
		out(port, UART_FCR, (uint8_t)(i >> 4) & UART_FCR_ENABLE_FIFO);
		poll_for_input(port);
		if ((in(port, UART_LSR) & UART_LSR_DR) == 0)
			uart16550_input(&port->uart, (const uint8_t *)"x", 1);
	}
	out(port, UART_IER, 0);
	assert_false(port->irq.is_high);
	assert_int_equal(in(port, UART_IIR) & 0xf, UART_IIR_NO_INT);
	port_free(port);
}

static void slow_output_keeps_thr_busy(void **state)
{
	struct port *port = port_new(2);

	(void)state;
	out(port, UART_FCR, UART_FCR_ENABLE_FIFO);
	out(port, UART_IER, UART_IER_THRI);
	in(port, UART_IIR);
	for (unsigned int i = 0; i < 16; i++) {
		out(port, UART_TX, (uint8_t)i);
		assert_int_equal(in(port, UART_LSR), i < 2 ? BOTH_EMPTY : 0);
		assert_int_equal(port->irq.is_high, i < 2);
	}
	/* What was refused is not offered again until the other side says so. */
	assert_int_equal(port->n_output_calls, 3);
	allow_output(port, 13);
	assert_int_equal(port->n_output_calls, 4);
	assert_int_equal(in(port, UART_LSR), 0);
	assert_false(port->irq.is_high);
	/* A reset of the FIFO does not take it back. */
	out(port, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_XMIT | UART_FCR_CLEAR_RCVR);
	out(port, UART_FCR, 0);
	out(port, UART_FCR, UART_FCR_ENABLE_FIFO);
	allow_output(port, 1);
	assert_int_equal(in(port, UART_LSR), BOTH_EMPTY);
	assert_true(port->irq.is_high);
	assert_int_equal(in(port, UART_IIR), 0xc0 | UART_IIR_THRI);
	/* Ready once more without anything to send is no news. */
	allow_output(port, 1);
	assert_false(port->irq.is_high);
	assert_int_equal(port->n_out, 16);
	for (unsigned int i = 0; i < 16; i++)
		assert_int_equal(port->out[i], i);
	port_free(port);
}

/* C01: a guest that ignores THRE while nobody reads: bounded, and what was kept is in order. */
static void stuck_output_is_bounded(void **state)
{
	enum { N_TAKEN = 5 }; /* what waits then starts, and so wraps, in the middle */
	struct port *port = port_new(N_TAKEN);

	(void)state;
	memset(&metrics, 0, sizeof(metrics));
	for (unsigned int i = 0; i < 1000000; i++)
		out(port, UART_TX, (uint8_t)i);
	assert_int_equal(metrics_get(&metrics.uart.error_count),
			 1000000 - N_TAKEN - UART16550_FIFO_SIZE);
	assert_int_equal(in(port, UART_LSR), 0);
	assert_int_equal(port->n_output_calls, N_TAKEN + 1);
	allow_output(port, UNLIMITED);
	assert_int_equal(port->n_out, N_TAKEN + UART16550_FIFO_SIZE);
	for (unsigned int i = 0; i < N_TAKEN + UART16550_FIFO_SIZE; i++)
		assert_int_equal(port->out[i], i);
	port_free(port);
}

/* Linux's 8250 driver, interrupt-driven: start_tx(), tx_chars(), stop_tx(), handle_irq(). */
struct driver {
	struct port *port;
	const uint8_t *text;
	size_t len;
	size_t sent;
	uint8_t ier;
	uint8_t *got;
	size_t n_got;
};

static void driver_set_ier(struct driver *driver, uint8_t ier)
{
	driver->ier = ier;
	out(driver->port, UART_IER, ier);
}

static void driver_tx_chars(struct driver *driver)
{
	/* A full FIFO without a look at LSR in between. */
	for (unsigned int i = 0; i < 16 && driver->sent < driver->len; i++)
		out(driver->port, UART_TX, driver->text[driver->sent++]);
	if (driver->sent == driver->len)
		driver_set_ier(driver, driver->ier & (uint8_t)~UART_IER_THRI);
}

static void driver_interrupt(struct driver *driver)
{
	uint8_t iir = in(driver->port, UART_IIR);

	for (; (iir & UART_IIR_NO_INT) == 0; iir = in(driver->port, UART_IIR)) {
		uint8_t lsr = in(driver->port, UART_LSR);

		for (; (lsr & UART_LSR_DR) != 0; lsr = in(driver->port, UART_LSR)) {
			uint8_t byte = in(driver->port, UART_RX);

			if (driver->got != NULL)
				driver->got[driver->n_got++] = byte;
		}
		in(driver->port, UART_MSR);
		if ((lsr & UART_LSR_THRE) != 0 && (driver->ier & UART_IER_THRI) != 0)
			driver_tx_chars(driver);
	}
}

static void fill(uint8_t *text, size_t len)
{
	uint32_t seed = 1;

	for (size_t i = 0; i < len; i++)
		text[i] = (uint8_t)rig_random(&seed);
}

/* Every byte arrives and the guest never waits for an interrupt that does not come. */
static void driver_sends_through_slow_output(void **state)
{
	static const size_t paces[] = { 1, 2, 3, 15, 16, 17, 40, 1000, UNLIMITED };
	static uint8_t text[4099];

	(void)state;
	fill(text, sizeof(text));
	for (size_t i = 0; i < ARRAY_SIZE(paces); i++) {
		struct port *port = port_new(paces[i]);
		struct driver driver = { .port = port, .text = text, .len = sizeof(text) };
		unsigned int idle = 0;

		out(port, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_R_TRIG_10);
		driver_set_ier(&driver, UART_IER_RDI | UART_IER_RLSI | UART_IER_THRI);
		while (port->n_out < sizeof(text)) {
			if (rig_irq_take_edge(&port->irq)) {
				driver_interrupt(&driver);
				idle = 0;
			} else {
				assert_in_range(idle++, 0, 16); /* more is a stall */
				allow_output(port, paces[i]);
			}
		}
		assert_memory_equal(port->out, text, sizeof(text));
		assert_int_equal(driver.sent, sizeof(text));
		port_free(port);
	}
}

/* With a console that prints meanwhile, polling, interrupts off: serial8250_console_write(). */
static void console_and_driver_share_the_port(void **state)
{
	static uint8_t text[512];
	struct port *port = port_new(UNLIMITED);
	struct driver driver = { .port = port, .text = text, .len = sizeof(text) };

	(void)state;
	memset(text, 't', sizeof(text));
	out(port, UART_FCR, UART_FCR_ENABLE_FIFO);
	driver_set_ier(&driver, UART_IER_RDI | UART_IER_THRI);
	for (unsigned int i = 0; driver.sent < driver.len; i++) {
		uint8_t ier = in(port, UART_IER);

		assert_true(i < sizeof(text)); /* a stall */
		out(port, UART_IER, 0);
		out(port, UART_TX, 'c');
		out(port, UART_IER, ier);
		if (rig_irq_take_edge(&port->irq))
			driver_interrupt(&driver);
	}
	port_free(port);
}

/* The same with threads: the guest's hart, a reader and a writer on the other side. */
struct traffic {
	struct port *port;
	uint8_t text[8192];
	uint8_t got[8192 + 1];
};

static void *read_slowly(void *arg)
{
	struct traffic *traffic = arg;
	uint32_t seed = 7;

	while (n_output(traffic->port) < sizeof(traffic->text)) {
		allow_output(traffic->port, rig_random(&seed) % 24);
		sched_yield();
	}
	return NULL;
}

static void *type_quickly(void *arg)
{
	struct traffic *traffic = arg;
	size_t n = 0;
	unsigned int n_room = 0;

	while (n < sizeof(traffic->text)) {
		size_t len = sizeof(traffic->text) - n;

		n += uart16550_input(&traffic->port->uart, traffic->text + n, len);
		if (n == sizeof(traffic->text))
			break;
		while (traffic->port->n_room == n_room)
			sched_yield();
		n_room = traffic->port->n_room;
	}
	return NULL;
}

static void *run_driver(void *arg)
{
	struct traffic *traffic = arg;
	struct driver driver = {
		.port = traffic->port,
		.text = traffic->text,
		.len = sizeof(traffic->text),
		.got = traffic->got,
	};

	driver_set_ier(&driver, UART_IER_RDI | UART_IER_THRI);
	while (driver.sent < driver.len || driver.n_got < sizeof(traffic->text)) {
		if (rig_irq_take_edge(&traffic->port->irq))
			driver_interrupt(&driver);
		else
			sched_yield();
	}
	return NULL;
}

static void loses_nothing_between_threads(void **state)
{
	static struct traffic traffic;
	static void *(*const bodies[])(void *) = { read_slowly, type_quickly, run_driver };
	pthread_t threads[ARRAY_SIZE(bodies)];

	(void)state;
	traffic.port = port_new(0);
	fill(traffic.text, sizeof(traffic.text));
	out(traffic.port, UART_FCR, UART_FCR_ENABLE_FIFO);
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, bodies[i], &traffic), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
		pthread_join(threads[i], NULL);
	assert_memory_equal(traffic.got, traffic.text, sizeof(traffic.text));
	assert_memory_equal(traffic.port->out, traffic.text, sizeof(traffic.text));
	port_free(traffic.port);
}

/* T18: harts that do anything at once. */
static void *hammer(void *arg)
{
	struct port *port = arg;
	uint32_t seed = (uint32_t)(uintptr_t)&seed | 1;

	for (int i = 0; i < 20000; i++) {
		uint32_t random = rig_random(&seed);
		uint64_t offset = random & 7;

		if ((random >> 3 & 7) == 0)
			uart16550_input(&port->uart, (const uint8_t *)"abc", 3);
		else if ((random >> 3 & 7) == 1)
			allow_output(port, 1);
		else if ((random >> 3 & 7) < 5)
			in(port, offset);
		else
			out(port, offset, (uint8_t)(random >> 6));
	}
	return NULL;
}

static void serves_two_threads(void **state)
{
	struct port *port = port_new(0);
	pthread_t other;

	(void)state;
	assert_int_equal(pthread_create(&other, NULL, hammer, port), 0);
	hammer(port);
	pthread_join(other, NULL);
	out(port, UART_LCR, 0);
	out(port, UART_IER, 0);
	assert_false(port->irq.is_high);
	port_free(port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(powers_on_idle),
		cmocka_unit_test(prints),
		cmocka_unit_test(passes_linux_probes),
		cmocka_unit_test(passes_linux_thre_test),
		cmocka_unit_test(iir_tells_the_most_urgent),
		cmocka_unit_test(receives),
		cmocka_unit_test(every_input_is_an_edge),
		cmocka_unit_test(input_flood_is_bounded),
		cmocka_unit_test(input_waits_for_room),
		cmocka_unit_test(input_waits_for_a_listener),
		cmocka_unit_test(input_by_another_way),
		cmocka_unit_test(divisor_latch),
		cmocka_unit_test(ignores_other_accesses),
		cmocka_unit_test(loopback),
		cmocka_unit_test(ier_storm),
		cmocka_unit_test(slow_output_keeps_thr_busy),
		cmocka_unit_test(stuck_output_is_bounded),
		cmocka_unit_test(driver_sends_through_slow_output),
		cmocka_unit_test(console_and_driver_share_the_port),
		cmocka_unit_test(loses_nothing_between_threads),
		cmocka_unit_test(serves_two_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
