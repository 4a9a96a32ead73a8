/*
 * The console device (virtio 1.2, section 5.3) without ports: a queue of buffers to receive into,
 * a queue of output, and the host's console (backend/console.h) behind them.
 *
 * Output goes from the guest's buffers straight into the console's ring. What finds no room there
 * stays in its queue, and goes on when the ring has some: nobody waits, and a guest that prints
 * more than is read fills no more than its own queue.
 *
 * Input goes into the guest's buffers at once, each given back with what there is. When there is
 * none, the console keeps its few bytes, reads no more, and is told when the guest offers some.
 *
 * Buffers of the wrong direction, and receive buffers of no size, break the device: 5.3.6.1.
 *
 * The I/O thread does everything; the device's lock is held outside of the console's.
 */
#pragma once

#include "backend/console.h"
#include "virtio/device.h"

struct virtio_console_config {
	int in_fd;  /**< borrowed; its terminal's size, if it is one, is told to the guest */
	int out_fd; /**< borrowed */
	void (*leave)(void *ctx); /**< on the I/O thread: the user typed the key to leave */
	void *ctx;
};

struct virtio_console {
	struct virtio_dev dev;
	uint64_t
		n_sent; /**< bytes of the next chain that are in the console already; by the lock */
	void (*leave)(void *ctx);
	void *ctx;
	struct console console;
};

/**
 * \param vc zeroed storage
 * \param id borrowed; names it in messages
 * \param mem borrowed, as is what \p irq points to
 * \param base whose loop's thread is the I/O thread; virtio_dev_start() is the caller's
 */
__attribute__((warn_unused_result)) int virtio_console_init(
	struct virtio_console *vc, const char *id, const struct virtio_console_config *config,
	const struct guest_mem *mem, const struct irq_line *irq, struct event_base *base,
	struct err *err);

/**
 * Write what the guest printed last, its queue included. After the vCPUs and the loop have ended.
 * \param timeout_ms wait at most so long for the reader
 */
void virtio_console_flush(struct virtio_console *vc, unsigned int timeout_ms);

/** On the I/O thread, after the vCPUs have ended. Legal on a zeroed object, and twice. */
void virtio_console_deinit(struct virtio_console *vc);
