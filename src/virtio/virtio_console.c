#include "virtio/virtio_console.h"

#include "util/bits.h"

#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>

#define F_SIZE BIT(0) /* virtio 1.2, 5.3.3 */

enum { RECEIVEQ, TRANSMITQ, N_QUEUES };

/* 5.3.4, without what belongs to features that are not offered. */
struct config {
	uint16_t cols;
	uint16_t rows;
};
static_assert(sizeof(struct config) == 4, "as the specification has it");

enum { DEVICE_ID = 3, QUEUE_SIZE = 64 };

/* ---- output ---- */

/* \return is the chain done? */
static bool print(struct virtio_console *vc, const struct virtq_chain *chain)
{
	uint64_t start = 0; /* of the buffer, in the chain */

	for (unsigned int i = 0; i < chain->n_readable; i++) {
		const struct iovec *buffer = &chain->iov[i];

		/* The guest may change the bytes while they are copied; any will do. */
		if (vc->n_sent < start + buffer->iov_len) {
			uint64_t skip = vc->n_sent - start;
			size_t len = buffer->iov_len - skip;
			size_t taken = console_output(
				&vc->console, (const uint8_t *)buffer->iov_base + skip, len);

			vc->n_sent += taken;
			if (taken < len)
				return false;
		}
		start += buffer->iov_len;
	}
	vc->n_sent = 0;
	return true;
}

/* \return is there more than one turn's work? */
static bool transmit(struct virtio_console *vc)
{
	struct virtq *vq = &vc->dev.queues[TRANSMITQ];
	struct virtq_chain chain;

	for (unsigned int i = 0; i < VIRTIO_BUDGET; i++) {
		if (!virtio_dev_pop(&vc->dev, TRANSMITQ, &chain))
			return false;
		if (chain.n_writable > 0) {
			virtio_dev_break(&vc->dev, "its driver transmits a buffer to write to");
			return false;
		}
		if (!print(vc, &chain)) {
			/* The console calls when it has room. */
			virtq_unpop(vq, chain.head);
			return false;
		}
		virtq_push(vq, chain.head, 0);
	}
	return true;
}

/* \return is there more? */
static bool transmit_locked(struct virtio_console *vc)
{
	bool has_more = false;

	pthread_mutex_lock(&vc->dev.lock);
	if (virtio_dev_is_active(&vc->dev) && vc->dev.queues[TRANSMITQ].is_ready) {
		has_more = transmit(vc);
		virtio_dev_signal(&vc->dev, TRANSMITQ);
	}
	pthread_mutex_unlock(&vc->dev.lock);
	return has_more;
}

static void host_output_ready(void *ctx)
{
	struct virtio_console *vc = ctx;

	if (transmit_locked(vc))
		virtio_dev_kick(&vc->dev, TRANSMITQ);
}

/* ---- input ---- */

static size_t receive(struct virtio_console *vc, const uint8_t *bytes, size_t len)
{
	struct virtq_chain chain;
	size_t taken = 0;

	while (taken < len && virtio_dev_pop(&vc->dev, RECEIVEQ, &chain)) {
		size_t n;

		if (chain.n_readable > 0 || chain.n_writable == 0) {
			virtio_dev_break(&vc->dev,
					 "its driver receives into what is no buffer to write to");
			break;
		}
		n = virtq_chain_write(&chain, 0, bytes + taken, len - taken);
		virtq_push(&vc->dev.queues[RECEIVEQ], chain.head, (uint32_t)n);
		taken += n;
	}
	virtio_dev_signal(&vc->dev, RECEIVEQ);
	return taken;
}

static size_t host_input(void *ctx, const uint8_t *bytes, size_t len)
{
	struct virtio_console *vc = ctx;
	size_t taken = 0;

	pthread_mutex_lock(&vc->dev.lock);
	if (virtio_dev_is_active(&vc->dev) && vc->dev.queues[RECEIVEQ].is_ready)
		taken = receive(vc, bytes, len);
	pthread_mutex_unlock(&vc->dev.lock);
	return taken;
}

static void host_leave(void *ctx)
{
	struct virtio_console *vc = ctx;

	vc->leave(vc->ctx);
}

static const struct console_ops host_ops = {
	.input = host_input,
	.output_ready = host_output_ready,
	.leave = host_leave,
};

/* ---- the device ---- */

static bool process(struct virtio_dev *dev, unsigned int queue)
{
	struct virtio_console *vc = container_of(dev, struct virtio_console, dev);
	bool has_more = false;

	if (queue == TRANSMITQ) {
		has_more = transmit(vc);
		virtio_dev_signal(dev, queue);
	} else {
		console_input_room(&vc->console);
	}
	return has_more;
}

static void reset(struct virtio_dev *dev)
{
	container_of(dev, struct virtio_console, dev)->n_sent = 0;
}

static const struct virtio_dev_class console_class = {
	.name = "console",
	.device_id = DEVICE_ID,
	.n_queues = N_QUEUES,
	.queue_size = QUEUE_SIZE,
	.process = process,
	.reset = reset,
};

/* As it is at the start: a terminal that is resized later is the guest's user's affair. */
static void offer_size(struct virtio_dev *dev, int fd)
{
	struct winsize size;
	struct config config;

	if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
		return;
	config = (struct config){ .cols = size.ws_col, .rows = size.ws_row };
	memcpy(dev->config, &config, sizeof(config));
	dev->config_size = sizeof(config);
	dev->offered |= F_SIZE;
}

int virtio_console_init(struct virtio_console *vc, const char *id,
			const struct virtio_console_config *config, const struct guest_mem *mem,
			const struct irq_line *irq, struct event_base *base, struct err *err)
{
	int ret = virtio_dev_init(&vc->dev, &console_class, id, mem, irq, err);

	if (ret != 0)
		return ret;
	offer_size(&vc->dev, config->in_fd);
	vc->leave = config->leave;
	vc->ctx = config->ctx;
	return console_init(&vc->console, base, config->in_fd, config->out_fd, &host_ops, vc, err);
}

void virtio_console_flush(struct virtio_console *vc, unsigned int timeout_ms)
{
	if (!vc->console.is_init)
		return;
	/* No kick is seen any more. A queue that never ends is a guest's that still runs. */
	for (unsigned int i = 0; i <= QUEUE_SIZE / VIRTIO_BUDGET && transmit_locked(vc); i++)
		continue;
	console_flush(&vc->console, timeout_ms);
}

void virtio_console_deinit(struct virtio_console *vc)
{
	console_deinit(&vc->console);
	virtio_dev_deinit(&vc->dev);
}
