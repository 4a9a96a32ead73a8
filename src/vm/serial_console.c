#include "vm/serial_console.h"

#include "bus/mmio_bus.h"
#include "riscv/layout.h"
#include "util/cleanup.h"

#include <unistd.h>

enum { FLUSH_MS = 1000 };

static size_t uart_output(void *ctx, const uint8_t *bytes, size_t len)
{
	struct serial_console *serial = ctx;

	return console_output(&serial->console, bytes, len);
}

static void uart_input_room(void *ctx)
{
	struct serial_console *serial = ctx;

	console_input_room(&serial->console);
}

static const struct uart16550_ops uart_ops = {
	.output = uart_output,
	.input_room = uart_input_room,
};

static size_t host_input(void *ctx, const uint8_t *bytes, size_t len)
{
	struct serial_console *serial = ctx;

	return uart16550_input(&serial->uart, bytes, len);
}

static void host_output_ready(void *ctx)
{
	struct serial_console *serial = ctx;

	uart16550_output_ready(&serial->uart);
}

static void host_leave(void *ctx)
{
	struct serial_console *serial = ctx;

	serial->leave(serial->ctx);
}

static const struct console_ops host_ops = {
	.input = host_input,
	.output_ready = host_output_ready,
	.leave = host_leave,
};

static size_t sbi_output(void *ctx, const uint8_t *bytes, size_t len)
{
	struct serial_console *serial = ctx;

	return console_output_whole(&serial->console, bytes, len);
}

static size_t sbi_input(void *ctx, uint8_t *bytes, size_t len)
{
	struct serial_console *serial = ctx;

	return uart16550_take_input(&serial->uart, bytes, len);
}

int serial_console_init(struct serial_console *serial, const struct serial_console_config *config,
			struct event_base *base, struct mmio_bus *bus, const struct irq_line *irq,
			struct err *err)
{
	int out_fd = config->out_fd >= 0 ? config->out_fd : STDOUT_FILENO;
	int ret;

	serial->out_fd = config->out_fd;
	serial->leave = config->leave;
	serial->ctx = config->ctx;
	serial->sbi = (struct sbi_console){
		.output = sbi_output,
		.input = sbi_input,
		.ctx = serial,
	};
	uart16550_init(&serial->uart, irq, &uart_ops, serial);
	serial->is_init = true;
	ret = console_init(&serial->console, base, STDIN_FILENO, out_fd, &host_ops, serial, err);
	if (ret != 0)
		return ret;
	if (config->limit.size != 0)
		console_set_limit(&serial->console, &config->limit);
	return mmio_bus_add(bus, LAYOUT_SERIAL_BASE, LAYOUT_DEVICE_SIZE, &uart16550_mmio_ops,
			    &serial->uart, "serial", err);
}

void serial_console_flush(struct serial_console *serial)
{
	if (serial->is_init)
		console_flush(&serial->console, FLUSH_MS);
}

void serial_console_deinit(struct serial_console *serial)
{
	if (!serial->is_init)
		return;
	console_deinit(&serial->console);
	uart16550_deinit(&serial->uart);
	close_fd(&serial->out_fd);
	serial->is_init = false;
}
