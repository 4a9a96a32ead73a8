/*
 * The UART under any sequence of register accesses, input and slow output. What must hold: the
 * interrupt line says what IIR says; bytes come out in the order they went in, none lost that had
 * room, and none invented; queues are bounded; whoever waits for room is told.
 */
#include "serial/uart16550.h"
#include "util/assert.h"
#include "util/bits.h"

#include <linux/serial_reg.h>

enum { STEP_BYTES = 3 };

struct queue {
	uint8_t bytes[UART16550_FIFO_SIZE];
	size_t count;
};

struct model {
	struct uart16550 uart;
	struct irq_sink sink;
	bool is_high;
	bool edge; /* raised since IIR said that nothing is pending */
	uint8_t lcr;
	uint8_t mcr;
	uint8_t fcr;
	struct queue sent;     /* printed by the guest, not taken yet */
	struct queue received; /* for the guest to read */
	size_t budget;         /* bytes that output takes now */
	bool refused;          /* and it took less than offered the last time */
	bool waits;            /* for input_room */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool push(struct queue *queue, size_t limit, uint8_t byte)
{
	if (queue->count >= limit)
		return false;
	queue->bytes[queue->count++] = byte;
	return true;
}

static void drop(struct queue *queue, size_t n)
{
	queue->count -= n;
	memmove(queue->bytes, queue->bytes + n, queue->count);
}

static size_t output(void *ctx, const uint8_t *bytes, size_t len)
{
	struct model *model = ctx;
	size_t n = MIN(len, model->budget);

	ASSERT(!model->refused && len > 0 && len <= model->sent.count);
	ASSERT(memcmp(bytes, model->sent.bytes, len) == 0);
	drop(&model->sent, n);
	model->budget -= n;
	model->refused = n < len;
	return n;
}

static void input_room(void *ctx)
{
	struct model *model = ctx;

	ASSERT(model->waits);
	model->waits = false;
}

static void raise_line(struct irq_sink *sink, uint32_t source)
{
	struct model *model = container_of(sink, struct model, sink);

	ASSERT(source == 1);
	model->is_high = true;
	model->edge = true;
}

static void lower_line(struct irq_sink *sink, uint32_t source)
{
	struct model *model = container_of(sink, struct model, sink);

	ASSERT(source == 1);
	model->is_high = false;
}

static bool is_loopback(const struct model *model)
{
	return (model->mcr & UART_MCR_LOOP) != 0;
}

/* What the write means for the queues, told before it happens: output() compares. */
static void model_write(struct model *model, uint64_t offset, uint8_t value)
{
	bool enable = (value & UART_FCR_ENABLE_FIFO) != 0;
	size_t depth = (model->fcr & UART_FCR_ENABLE_FIFO) != 0 ? 16 : 1;

	if (offset == UART_TX && (model->lcr & UART_LCR_DLAB) == 0) {
		if (is_loopback(model))
			push(&model->received, depth, value);
		else
			push(&model->sent, UART16550_FIFO_SIZE, value);
	} else if (offset == UART_FCR) {
		if (enable ? (value & UART_FCR_CLEAR_RCVR) != 0 : (model->fcr & 1) != 0)
			model->received.count = 0;
		model->fcr = value;
	} else if (offset == UART_LCR) {
		model->lcr = value;
	} else if (offset == UART_MCR) {
		model->mcr = value;
	}
}

static void read_register(struct model *model, uint64_t offset)
{
	bool was_high = model->is_high;
	uint64_t value = uart16550_mmio_ops.read(&model->uart, offset, 1);

	ASSERT(value <= UINT8_MAX);
	if (offset == UART_RX && (model->lcr & UART_LCR_DLAB) == 0) {
		ASSERT(value == (model->received.count > 0 ? model->received.bytes[0] : 0));
		if (model->received.count > 0)
			drop(&model->received, 1);
	} else if (offset == UART_IIR) {
		ASSERT(was_high == ((value & UART_IIR_NO_INT) == 0));
		/* Edge-triggered: nothing is pending that no edge told of. */
		ASSERT(!was_high || model->edge);
		if (!was_high)
			model->edge = false;
	}
}

static void access_register(struct model *model, uint8_t how, uint8_t value)
{
	uint64_t offset = how >> 1 & 7;

	if (how >= 0xf0) {
		unsigned int len = 2U << (how & 1);

		ASSERT(uart16550_mmio_ops.read(&model->uart, offset, len) == 0);
		uart16550_mmio_ops.write(&model->uart, offset, len, value);
	} else if (how >= 0xe8) {
		ASSERT(uart16550_mmio_ops.read(&model->uart, 8 + value, 1) == 0);
		uart16550_mmio_ops.write(&model->uart, 8 + value, 1, value);
	} else if ((how & 1) != 0) {
		model_write(model, offset, value);
		uart16550_mmio_ops.write(&model->uart, offset, 1, value);
	} else {
		read_register(model, offset);
	}
}

/* Whether a guest listens by polling is a guess of the UART's, so it is taken from there. */
static bool is_listening(const struct model *model)
{
	return !is_loopback(model) &&
	       ((model->uart.ier & UART_IER_RDI) != 0 || model->uart.is_polled);
}

static void send_input(struct model *model, uint8_t value)
{
	uint8_t bytes[UINT8_MAX];
	size_t n = 0;
	size_t taken;

	for (size_t i = 0; i < value; i++)
		bytes[i] = (uint8_t)(i ^ value);
	while (n < value && is_listening(model) &&
	       push(&model->received, UART16550_FIFO_SIZE, bytes[n]))
		n++;
	taken = uart16550_input(&model->uart, bytes, value);
	ASSERT(taken == n);
	if (taken < value)
		model->waits = true;
}

static void take_input(struct model *model, uint8_t len)
{
	uint8_t bytes[UINT8_MAX];
	size_t taken = uart16550_take_input(&model->uart, bytes, len);

	ASSERT(taken == MIN(len, model->received.count));
	ASSERT(memcmp(bytes, model->received.bytes, taken) == 0);
	drop(&model->received, taken);
}

static void write_burst(struct model *model, uint8_t n)
{
	for (; n > 0; n--) {
		model_write(model, UART_TX, n);
		uart16550_mmio_ops.write(&model->uart, UART_TX, 1, n);
	}
}

static void check(struct model *model)
{
	uint64_t lsr = uart16550_mmio_ops.read(&model->uart, UART_LSR, 1);
	uint64_t expected = model->received.count > 0 ? UART_LSR_DR : 0;

	if (model->sent.count == 0)
		expected |= UART_LSR_THRE | UART_LSR_TEMT;
	ASSERT(lsr == expected);
	ASSERT(!model->waits || !is_listening(model) ||
	       model->received.count > UART16550_FIFO_SIZE / 2);
	/* What waits does so because it was refused. */
	ASSERT(model->sent.count == 0 || model->refused);
}

static void take_step(struct model *model, const uint8_t *step)
{
	switch (step[0] % 8) {
	case 0:
		send_input(model, step[2]);
		break;
	case 1:
		model->budget += step[2];
		model->refused = false;
		uart16550_output_ready(&model->uart);
		break;
	case 2:
		take_input(model, step[2]);
		break;
	case 3:
		write_burst(model, step[2]);
		break;
	default:
		access_register(model, step[1], step[2]);
		break;
	}
	check(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct uart16550_ops ops = { .output = output, .input_room = input_room };
	struct model model = { .sink = { .raise = raise_line, .lower = lower_line } };
	const struct irq_line line = { .sink = &model.sink, .source = 1 };

	uart16550_init(&model.uart, &line, &ops, &model);
	for (size_t at = 0; at + STEP_BYTES <= size; at += STEP_BYTES)
		take_step(&model, data + at);
	uart16550_deinit(&model.uart);
	return 0;
}
