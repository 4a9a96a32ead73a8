#include "virtio/device.h"

#include "util/assert.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/events.h"
#include "virtio/mmio.h"

#include <errno.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>

int virtio_dev_init(struct virtio_dev *dev, const struct virtio_dev_class *class, const char *id,
		    const struct guest_mem *mem, const struct irq_line *irq, struct err *err)
{
	ASSERT(class->n_queues <= VIRTIO_QUEUES_MAX);
	*dev = (struct virtio_dev){
		.class = class,
		.id = id,
		.irq = *irq,
		.offered = class->features | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX |
			   VIRTIO_F_VERSION_1,
	};
	pthread_mutex_init(&dev->lock, NULL);
	pthread_mutex_init(&dev->irq_lock, NULL);
	for (unsigned int i = 0; i < class->n_queues; i++) {
		virtq_init(&dev->queues[i], mem, class->queue_size);
		dev->kick_fds[i] = -1;
	}
	for (unsigned int i = 0; i < class->n_queues; i++) {
		dev->kick_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (dev->kick_fds[i] < 0)
			return err_sys(err, "%s '%s': create an eventfd", class->name, id);
	}
	return 0;
}

bool virtio_dev_is_active(const struct virtio_dev *dev)
{
	return (dev->status & (VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET |
			       VIRTIO_STATUS_FAILED)) == VIRTIO_STATUS_DRIVER_OK;
}

static void process(struct virtio_dev *dev, unsigned int queue)
{
	bool has_more = false;

	pthread_mutex_lock(&dev->lock);
	if (virtio_dev_is_active(dev) && dev->queues[queue].is_ready)
		has_more = dev->class->process(dev, queue);
	pthread_mutex_unlock(&dev->lock);
	/* Behind what else waits in the loop. */
	if (has_more)
		virtio_dev_kick(dev, queue);
}

/* Never emptied: each kick is an edge, whatever the counter says. It would be full after 2^64. */
static void on_kick(evutil_socket_t fd, short what, void *ctx)
{
	struct virtio_dev *dev = ctx;

	(void)what;
	for (unsigned int i = 0; i < dev->class->n_queues; i++) {
		if (dev->kick_fds[i] == fd)
			process(dev, i);
	}
}

int virtio_dev_start(struct virtio_dev *dev, struct event_base *base, struct err *err)
{
	for (unsigned int i = 0; i < dev->class->n_queues && !dev->is_offloaded; i++) {
		dev->kick_events[i] = event_new(base, dev->kick_fds[i],
						EV_READ | EV_PERSIST | EV_ET, on_kick, dev);
		if (dev->kick_events[i] == NULL || event_add(dev->kick_events[i], NULL) != 0)
			return err_set(err, -ENOMEM, "%s '%s': no memory for the event loop",
				       dev->class->name, dev->id);
	}
	return 0;
}

void virtio_dev_deinit(struct virtio_dev *dev)
{
	if (dev->class == NULL)
		return;
	for (unsigned int i = 0; i < dev->class->n_queues; i++) {
		free_event(&dev->kick_events[i]);
		close_fd(&dev->kick_fds[i]);
	}
	pthread_mutex_destroy(&dev->irq_lock);
	pthread_mutex_destroy(&dev->lock);
	dev->class = NULL;
}

bool virtio_dev_pop(struct virtio_dev *dev, unsigned int queue, struct virtq_chain *chain)
{
	struct virtq *vq = &dev->queues[queue];
	enum virtq_result result = virtq_pop(vq, chain);

	/* One that came while we were asking for kicks is ours to find: none may come for it. */
	while (result == VIRTQ_E_EMPTY && virtq_ask_for_kicks(vq))
		result = virtq_pop(vq, chain);
	if (result == VIRTQ_E_BROKEN)
		virtio_dev_break(dev, "its driver made a bad chain in queue %u", queue);
	return result == VIRTQ_OK;
}

void virtio_dev_signal(struct virtio_dev *dev, unsigned int queue)
{
	if (virtq_wants_irq(&dev->queues[queue]))
		virtio_dev_interrupt(dev, VIRTIO_ISR_QUEUE);
}

void virtio_dev_signal_all(struct virtio_dev *dev)
{
	bool is_wanted = false;

	/* Each is asked: that also notes what the driver has been told of. */
	for (unsigned int i = 0; i < dev->class->n_queues; i++)
		is_wanted |= dev->queues[i].is_ready && virtq_wants_irq(&dev->queues[i]);
	if (is_wanted)
		virtio_dev_interrupt(dev, VIRTIO_ISR_QUEUE);
}

void virtio_dev_kick(struct virtio_dev *dev, unsigned int queue)
{
	const uint64_t one = 1;

	/* Fails only when the counter is full, and then the kick is there already. */
	if (write(dev->kick_fds[queue], &one, sizeof(one)) != sizeof(one))
		ASSERT(errno == EAGAIN);
}

void virtio_dev_config_changed(struct virtio_dev *dev)
{
	dev->config_generation++;
	virtio_mmio_show_config(dev);
	if ((dev->status & VIRTIO_STATUS_DRIVER_OK) != 0)
		virtio_dev_interrupt(dev, VIRTIO_ISR_CONFIG);
}

void virtio_dev_break(struct virtio_dev *dev, const char *format, ...)
{
	char why[128];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	log_guest(&dev->log_limit, "%s '%s' stops until it is reset: %s", dev->class->name, dev->id,
		  why);
	virtio_dev_count_fail(dev->fails.event);
	if (dev->class->rest != NULL)
		dev->class->rest(dev);
	dev->status |= VIRTIO_STATUS_NEEDS_RESET;
	virtio_mmio_show(dev);
	/* 2.1.2: a driver that is not ready is not told. */
	if ((dev->status & VIRTIO_STATUS_DRIVER_OK) != 0)
		virtio_dev_interrupt(dev, VIRTIO_ISR_CONFIG);
}

bool virtio_dev_end_reset(struct virtio_dev *dev)
{
	if (!dev->is_resetting)
		return true;
	if (dev->class->is_idle != NULL && !dev->class->is_idle(dev))
		return false;
	dev->is_resetting = false;
	dev->status = 0;
	virtio_mmio_show(dev);
	return true;
}

void virtio_dev_reset(struct virtio_dev *dev)
{
	/* No step leads from here, so the driver can change nothing until it is 0. */
	dev->status = VIRTIO_STATUS_NEEDS_RESET;
	dev->is_resetting = true;
	if (dev->class->reset != NULL)
		dev->class->reset(dev);
	for (unsigned int i = 0; i < dev->class->n_queues; i++)
		virtq_reset(&dev->queues[i]);
	dev->features = 0;
	dev->driver_features = 0;
	dev->device_features_sel = 0;
	dev->driver_features_sel = 0;
	dev->queue_sel = 0;
	dev->has_bad_queue = false;
	virtio_dev_acknowledge(dev, UINT32_MAX);
	(void)virtio_dev_end_reset(dev);
}

void virtio_dev_interrupt(struct virtio_dev *dev, enum virtio_isr reason)
{
	pthread_mutex_lock(&dev->irq_lock);
	dev->isr |= reason;
	virtio_mmio_show_isr(dev);
	irq_raise(&dev->irq);
	pthread_mutex_unlock(&dev->irq_lock);
}

void virtio_dev_acknowledge(struct virtio_dev *dev, uint32_t reasons)
{
	pthread_mutex_lock(&dev->irq_lock);
	dev->isr &= ~reasons;
	virtio_mmio_show_isr(dev);
	/* A level that falls while a reason is left would lose it, so both change together. */
	if (dev->isr == 0)
		irq_lower(&dev->irq);
	pthread_mutex_unlock(&dev->irq_lock);
}

void virtio_dev_hold_isr(struct virtio_dev *dev, uint32_t reasons)
{
	pthread_mutex_lock(&dev->irq_lock);
	dev->held_isr = reasons;
	virtio_mmio_show_isr(dev);
	pthread_mutex_unlock(&dev->irq_lock);
}

uint32_t virtio_dev_isr(struct virtio_dev *dev)
{
	uint32_t isr;

	pthread_mutex_lock(&dev->irq_lock);
	isr = dev->isr | dev->held_isr;
	pthread_mutex_unlock(&dev->irq_lock);
	return isr;
}
