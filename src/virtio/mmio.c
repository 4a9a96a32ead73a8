#include "virtio/mmio.h"

#include "util/bits.h"
#include "virtio/device.h"

#include <endian.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

/* 4.2.2, table 4.1 */
enum reg {
	REG_MAGIC = 0x00,
	REG_VERSION = 0x04,
	REG_DEVICE_ID = 0x08,
	REG_VENDOR_ID = 0x0c,
	REG_DEVICE_FEATURES = 0x10,
	REG_DEVICE_FEATURES_SEL = 0x14,
	REG_DRIVER_FEATURES = 0x20,
	REG_DRIVER_FEATURES_SEL = 0x24,
	REG_QUEUE_SEL = 0x30,
	REG_QUEUE_SIZE_MAX = 0x34,
	REG_QUEUE_SIZE = 0x38,
	REG_QUEUE_READY = 0x44,
	REG_QUEUE_NOTIFY = VIRTIO_MMIO_QUEUE_NOTIFY,
	REG_INTERRUPT_STATUS = 0x60,
	REG_INTERRUPT_ACK = 0x64,
	REG_STATUS = 0x70,
	REG_QUEUE_DESC_LOW = 0x80,
	REG_QUEUE_DESC_HIGH = 0x84,
	REG_QUEUE_DRIVER_LOW = 0x90,
	REG_QUEUE_DRIVER_HIGH = 0x94,
	REG_QUEUE_DEVICE_LOW = 0xa0,
	REG_QUEUE_DEVICE_HIGH = 0xa4,
	REG_SHM_LEN_LOW = 0xb0,
	REG_SHM_LEN_HIGH = 0xb4,
	REG_SHM_BASE_LOW = 0xb8,
	REG_SHM_BASE_HIGH = 0xbc,
	REG_CONFIG_GENERATION = 0xfc,
};

enum {
	MAGIC = 0x74726976, /* "virt" */
	VERSION = 2,
	VENDOR_ID = 0x4d565654, /* "TVVM" */
};

/* A second in all, and what the disk answers within is seen soon. */
enum { RESET_WAITS = 2000, RESET_WAIT_US = 500 };

static struct virtq *selected_queue(struct virtio_dev *dev)
{
	return dev->queue_sel < dev->class->n_queues ? &dev->queues[dev->queue_sel] : NULL;
}

/* ---- reading ---- */

static uint32_t half(uint64_t value, uint32_t sel)
{
	return sel > 1 ? 0 : (uint32_t)(value >> (32 * sel));
}

/* At once: a vCPU may be reading it. */
static void put(struct virtio_dev *dev, enum reg reg, uint32_t value)
{
	_Atomic uint32_t *at = (_Atomic uint32_t *)(void *)(dev->page.bytes + reg);

	atomic_store_explicit(at, htole32(value), memory_order_release);
}

static void put_constants(struct virtio_dev *dev)
{
	put(dev, REG_MAGIC, MAGIC);
	put(dev, REG_VERSION, VERSION);
	put(dev, REG_DEVICE_ID, dev->class->device_id);
	put(dev, REG_VENDOR_ID, VENDOR_ID);
	/* 4.2.2: no such region */
	put(dev, REG_SHM_LEN_LOW, UINT32_MAX);
	put(dev, REG_SHM_LEN_HIGH, UINT32_MAX);
	put(dev, REG_SHM_BASE_LOW, UINT32_MAX);
	put(dev, REG_SHM_BASE_HIGH, UINT32_MAX);
}

void virtio_mmio_show(struct virtio_dev *dev)
{
	const struct virtq *vq = selected_queue(dev);
	uint8_t *config;

	if (dev->page.bytes == NULL)
		return;
	put(dev, REG_DEVICE_FEATURES, half(dev->offered, dev->device_features_sel));
	put(dev, REG_QUEUE_SIZE_MAX, vq == NULL ? 0 : vq->size_max);
	put(dev, REG_QUEUE_READY, vq == NULL ? 0 : vq->is_ready);
	put(dev, REG_STATUS, dev->status);
	put(dev, REG_CONFIG_GENERATION, dev->config_generation);
	config = dev->page.bytes + VIRTIO_MMIO_CONFIG;
	memcpy(config, dev->config, dev->config_size);
	memset(config + dev->config_size, 0, VIRTIO_CONFIG_MAX - dev->config_size);
}

void virtio_mmio_show_config(struct virtio_dev *dev)
{
	if (dev->page.set_visible != NULL)
		dev->page.set_visible(dev->page.ctx, false);
	virtio_mmio_show(dev);
	if (dev->page.set_visible != NULL)
		dev->page.set_visible(dev->page.ctx, true);
}

void virtio_mmio_show_isr(struct virtio_dev *dev)
{
	if (dev->page.bytes != NULL)
		put(dev, REG_INTERRUPT_STATUS, dev->isr | dev->held_isr);
}

void virtio_mmio_attach(struct virtio_dev *dev, const struct virtio_page *page)
{
	dev->page = *page;
	put_constants(dev);
	virtio_mmio_show_config(dev);
}

static uint64_t mmio_read(void *device, uint64_t offset, unsigned int len)
{
	struct virtio_dev *dev = device;
	uint64_t value;

	/* The way of every interrupt: not behind the lock, which the I/O thread may hold long. */
	if (offset == REG_INTERRUPT_STATUS && len == 4)
		return virtio_dev_isr(dev);
	if (dev->page.bytes == NULL || offset > VIRTIO_MMIO_SIZE - len)
		return 0;
	/* Both: a wide access to odd registers reads the reasons for interrupts too. */
	pthread_mutex_lock(&dev->lock);
	pthread_mutex_lock(&dev->irq_lock);
	value = load_le(dev->page.bytes + offset, len);
	pthread_mutex_unlock(&dev->irq_lock);
	pthread_mutex_unlock(&dev->lock);
	return value;
}

/* ---- writing ---- */

/* A write that has no effect. */
static void drop(struct virtio_dev *dev)
{
	virtio_dev_count_fail(dev->fails.config);
}

static void write_config(struct virtio_dev *dev, uint64_t offset, unsigned int len, uint64_t value)
{
	uint8_t bytes[8];

	if (dev->class->write_config == NULL || offset >= dev->config_size ||
	    len > dev->config_size - offset) {
		drop(dev);
		return;
	}
	store_le(bytes, value, len);
	dev->class->write_config(dev, (unsigned int)offset, bytes, len);
}

/* 3.1.1 and 2.1: each step a driver may take; FAILED it may set at any time, 0 resets. */
static const struct {
	uint8_t from;
	uint8_t to;
} status_steps[] = {
	{ 0, 1 }, { 0, 1 | 2 }, { 1, 1 | 2 }, { 1 | 2, 1 | 2 | 8 }, { 1 | 2 | 8, 1 | 2 | 8 | 4 },
};

static bool is_allowed_step(uint8_t from, uint32_t to)
{
	for (size_t i = 0; i < ARRAY_SIZE(status_steps); i++) {
		if (status_steps[i].from == from && status_steps[i].to == to)
			return true;
	}
	return false;
}

/* 3.1.1, step 5: we decide, and the driver reads whether FEATURES_OK has stayed. */
static bool accept_features(struct virtio_dev *dev)
{
	if ((dev->driver_features & ~dev->offered) != 0 ||
	    (dev->driver_features & VIRTIO_F_VERSION_1) == 0)
		return false;
	dev->features = dev->driver_features;
	if (dev->class->negotiated != NULL)
		dev->class->negotiated(dev);
	return true;
}

/* A step that ends the negotiation is ours to refuse. */
static bool is_accepted(struct virtio_dev *dev, uint32_t status)
{
	return (status & VIRTIO_STATUS_FEATURES_OK) == 0 ||
	       (status & VIRTIO_STATUS_DRIVER_OK) != 0 || accept_features(dev);
}

static void become_ready(struct virtio_dev *dev)
{
	dev->status |= VIRTIO_STATUS_DRIVER_OK;
	if (dev->has_bad_queue) {
		virtio_dev_count_fail(dev->fails.activate);
		virtio_dev_break(dev, "its driver placed a queue where no memory is");
		return;
	}
	if (dev->class->ready != NULL)
		dev->class->ready(dev);
	/* Chains may have been added, and kicks come, before we were ready to look. */
	for (unsigned int i = 0; i < dev->class->n_queues; i++)
		virtio_dev_kick(dev, i);
}

static void write_status(struct virtio_dev *dev, uint32_t value)
{
	if (value == 0) {
		if (!dev->is_resetting)
			virtio_dev_reset(dev);
		return;
	}
	if (value == (dev->status | VIRTIO_STATUS_FAILED)) {
		dev->status |= VIRTIO_STATUS_FAILED;
		if (dev->class->rest != NULL)
			dev->class->rest(dev);
		return;
	}
	if (!is_allowed_step(dev->status, value) || !is_accepted(dev, value))
		drop(dev);
	else if ((value & VIRTIO_STATUS_DRIVER_OK) != 0)
		become_ready(dev);
	else
		dev->status = (uint8_t)value;
}

static void write_driver_features(struct virtio_dev *dev, uint32_t value)
{
	unsigned int shift = 32 * dev->driver_features_sel;

	if (dev->status != (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER) ||
	    dev->driver_features_sel > 1) {
		drop(dev);
		return;
	}
	dev->driver_features &= ~((uint64_t)UINT32_MAX << shift);
	dev->driver_features |= (uint64_t)value << shift;
}

static void set_low(uint64_t *gpa, uint32_t value)
{
	*gpa = (*gpa & ~(uint64_t)UINT32_MAX) | value;
}

static void set_high(uint64_t *gpa, uint32_t value)
{
	*gpa = (*gpa & UINT32_MAX) | (uint64_t)value << 32;
}

static void write_queue_ready(struct virtio_dev *dev, struct virtq *vq, uint32_t value)
{
	if (value == 1 && !virtq_enable(vq, virtio_dev_has(dev, VIRTIO_F_EVENT_IDX),
					virtio_dev_has(dev, VIRTIO_F_INDIRECT_DESC)))
		dev->has_bad_queue = true;
}

/* Between FEATURES_OK and DRIVER_OK: 4.2.3.2. */
static bool is_time_for_queues(const struct virtio_dev *dev)
{
	return dev->status ==
	       (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK);
}

/* Until the queue is ready. */
static void write_queue(struct virtio_dev *dev, enum reg reg, uint32_t value)
{
	struct virtq *vq = selected_queue(dev);
	bool is_taken_back = reg == REG_QUEUE_READY && value == 0;

	if (vq == NULL || !is_time_for_queues(dev)) {
		/* Linux takes its queues back once more after each reset. */
		if (!is_taken_back)
			drop(dev);
		return;
	}
	if (vq->is_ready) {
		/* A driver whose set-up fails takes it back; nothing has been looked at yet. */
		if (is_taken_back)
			virtq_reset(vq);
		else
			drop(dev);
		return;
	}
	switch (reg) {
	case REG_QUEUE_SIZE:
		/* What does not fit 16 bits must not fit by being cut. */
		vq->size = value > vq->size_max ? 0 : (uint16_t)value;
		break;
	case REG_QUEUE_READY:
		write_queue_ready(dev, vq, value);
		break;
	case REG_QUEUE_DESC_LOW:
		set_low(&vq->desc_gpa, value);
		break;
	case REG_QUEUE_DESC_HIGH:
		set_high(&vq->desc_gpa, value);
		break;
	case REG_QUEUE_DRIVER_LOW:
		set_low(&vq->avail_gpa, value);
		break;
	case REG_QUEUE_DRIVER_HIGH:
		set_high(&vq->avail_gpa, value);
		break;
	case REG_QUEUE_DEVICE_LOW:
		set_low(&vq->used_gpa, value);
		break;
	case REG_QUEUE_DEVICE_HIGH:
		set_high(&vq->used_gpa, value);
		break;
	default:
		drop(dev); /* a register to be read, or none */
		break;
	}
}

static void write_control(struct virtio_dev *dev, uint64_t reg, uint32_t value)
{
	switch ((enum reg)reg) {
	case REG_DEVICE_FEATURES_SEL:
		dev->device_features_sel = value;
		break;
	case REG_DRIVER_FEATURES:
		write_driver_features(dev, value);
		break;
	case REG_DRIVER_FEATURES_SEL:
		dev->driver_features_sel = value;
		break;
	case REG_QUEUE_SEL:
		dev->queue_sel = value;
		break;
	case REG_STATUS:
		write_status(dev, value);
		break;
	default:
		write_queue(dev, (enum reg)reg, value);
		break;
	}
}

/*
 * Not every driver waits until the status reads 0, Linux's does not, and the memory that requests
 * in flight read into may be used anew at once. So its vCPU waits, without the lock, as long as a
 * disk that works may take. For one that does not answer the reset is completed later, by the loop.
 */
static void wait_for_reset(struct virtio_dev *dev)
{
	bool is_over = false;

	for (unsigned int i = 0; i < RESET_WAITS && !is_over; i++) {
		pthread_mutex_lock(&dev->lock);
		is_over = virtio_dev_end_reset(dev);
		pthread_mutex_unlock(&dev->lock);
		if (!is_over)
			usleep(RESET_WAIT_US);
	}
}

static void mmio_write(void *device, uint64_t offset, unsigned int len, uint64_t value)
{
	struct virtio_dev *dev = device;
	bool is_resetting;

	if (len == 4 && offset == REG_QUEUE_NOTIFY) {
		if (value < dev->class->n_queues)
			virtio_dev_kick(dev, (unsigned int)value);
		return;
	}
	if (len == 4 && offset == REG_INTERRUPT_ACK) {
		virtio_dev_acknowledge(dev, (uint32_t)value);
		return;
	}
	pthread_mutex_lock(&dev->lock);
	if (offset >= VIRTIO_MMIO_CONFIG)
		write_config(dev, offset - VIRTIO_MMIO_CONFIG, len, value);
	else if (len == 4)
		write_control(dev, offset, (uint32_t)value);
	else
		drop(dev);
	virtio_mmio_show(dev);
	is_resetting = dev->is_resetting;
	pthread_mutex_unlock(&dev->lock);
	if (is_resetting && offset == REG_STATUS)
		wait_for_reset(dev);
}

const struct mmio_ops virtio_mmio_ops = { .read = mmio_read, .write = mmio_write };
