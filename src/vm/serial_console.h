/*
 * The serial console: the UART and the SBI debug console on the guest's side, one console on the
 * host's. What the guest prints through either comes out in order; what the user types goes to
 * whichever of the two the guest reads from, since both read the UART's FIFO.
 */
#pragma once

#include "backend/console.h"
#include "bus/irq.h"
#include "serial/uart16550.h"
#include "util/err.h"
#include "vm/vcpu_exit.h"

#include <stdbool.h>

struct event_base;
struct mmio_bus;

struct serial_console {
	bool is_init;
	struct uart16550 uart;
	struct console console;
	struct sbi_console sbi; /**< for the exit decoder */
	int out_fd;             /**< -1: standard output */
	void (*leave)(void *ctx);
	void *ctx;
};

struct serial_console_config {
	int out_fd;                       /**< taken over, in any case; -1: standard output */
	struct token_bucket_config limit; /**< of bytes of output */
	void (*leave)(void *ctx);         /**< the user typed the key to leave; on the I/O thread */
	void *ctx;
};

/** Open the console, with standard input, and put the UART on the bus. */
__attribute__((warn_unused_result)) int serial_console_init(
	struct serial_console *serial, const struct serial_console_config *config,
	struct event_base *base, struct mmio_bus *bus, const struct irq_line *irq, struct err *err);

/** Write out what the guest printed last, waiting a little for a slow reader. After the vCPUs. */
void serial_console_flush(struct serial_console *serial);

/** Legal on a zeroed object, and twice. */
void serial_console_deinit(struct serial_console *serial);
