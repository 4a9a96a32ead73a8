#include "driver.h"

#include "util/bits.h"
#include "virtio/mmio.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

/* Written out here, not taken from the device's sources: the two must agree on their own. */
enum {
	REG_DRIVER_FEATURES = 0x20,
	REG_DRIVER_FEATURES_SEL = 0x24,
	REG_QUEUE_SEL = 0x30,
	REG_QUEUE_SIZE = 0x38,
	REG_QUEUE_READY = 0x44,
	REG_QUEUE_NOTIFY = 0x50,
	REG_STATUS = 0x70,
	REG_QUEUE_DESC = 0x80,
	REG_QUEUE_DRIVER = 0x90,
	REG_QUEUE_DEVICE = 0xa0,
};

void driver_init(struct driver *d, unsigned int n_pages)
{
	struct err err;

	*d = (struct driver){ .ram_size = (uint64_t)n_pages * DRIVER_PAGE };
	if (guest_mem_add(&d->mem, DRIVER_RAM_GPA, d->ram_size, GUEST_MEM_SMALL_PAGES, &err) != 0)
		abort();
	d->ram = guest_mem_ptr(&d->mem, DRIVER_RAM_GPA, 1);
	d->free_gpa = DRIVER_RAM_GPA;
	rig_irq_init(&d->irq);
	d->base = event_base_new();
	assert(d->base != NULL);
}

void driver_attach(struct driver *d, struct virtio_dev *dev)
{
	struct err err;

	d->dev = dev;
	d->mmio = (struct rig_mmio){ .ops = &virtio_mmio_ops, .device = dev };
	virtio_mmio_attach(dev, &(struct virtio_page){ .bytes = d->registers });
	if (virtio_dev_start(dev, d->base, &err) != 0)
		abort();
}

void driver_deinit(struct driver *d)
{
	event_base_free(d->base);
	guest_mem_deinit(&d->mem);
}

uint64_t driver_alloc(struct driver *d, uint64_t len, uint64_t align)
{
	uint64_t gpa = align_up(d->free_gpa, align);

	assert(gpa + len <= DRIVER_RAM_GPA + d->ram_size);
	d->free_gpa = gpa + len;
	memset(driver_ptr(d, gpa), 0, len);
	return gpa;
}

void *driver_ptr(const struct driver *d, uint64_t gpa)
{
	assert(gpa - DRIVER_RAM_GPA < d->ram_size);
	return d->ram + (gpa - DRIVER_RAM_GPA);
}

uint32_t driver_status(const struct driver *d)
{
	return rig_read32(&d->mmio, REG_STATUS);
}

bool driver_negotiate(struct driver *d, uint64_t features)
{
	rig_write32(&d->mmio, REG_STATUS, 0);
	rig_write32(&d->mmio, REG_STATUS, VIRTIO_STATUS_ACKNOWLEDGE);
	rig_write32(&d->mmio, REG_STATUS, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
	rig_write32(&d->mmio, REG_DRIVER_FEATURES_SEL, 0);
	rig_write32(&d->mmio, REG_DRIVER_FEATURES, (uint32_t)features);
	rig_write32(&d->mmio, REG_DRIVER_FEATURES_SEL, 1);
	rig_write32(&d->mmio, REG_DRIVER_FEATURES, (uint32_t)(features >> 32));
	rig_write32(&d->mmio, REG_STATUS,
		    VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK);
	return (driver_status(d) & VIRTIO_STATUS_FEATURES_OK) != 0;
}

static uint64_t avail_bytes(uint16_t size)
{
	return 2 * (3 + (uint64_t)size);
}

static uint64_t used_bytes(uint16_t size)
{
	return 4 + 8 * (uint64_t)size + 2;
}

/* Queue 0 ends where RAM ends; the others lie anywhere. */
void driver_place_queue(struct driver *d, unsigned int queue, uint16_t size)
{
	struct driver_queue *q = &d->queues[queue];
	uint64_t end = DRIVER_RAM_GPA + d->ram_size;

	q->size = size;
	if (q->desc_gpa == 0 && queue == 0) {
		q->used_gpa = align_down(end - used_bytes(size), 4);
		q->avail_gpa = align_down(q->used_gpa - avail_bytes(size), 2);
		q->desc_gpa = align_down(q->avail_gpa - 16 * (uint64_t)size, 16);
	} else if (q->desc_gpa == 0) {
		q->desc_gpa = driver_alloc(d, 16 * (uint64_t)size, 16);
		q->avail_gpa = driver_alloc(d, avail_bytes(size), 2);
		q->used_gpa = driver_alloc(d, used_bytes(size), 4);
	}
	q->desc = driver_ptr(d, q->desc_gpa);
	q->avail = driver_ptr(d, q->avail_gpa);
	q->used = driver_ptr(d, q->used_gpa);
	memset(q->desc, 0, 16 * (size_t)size);
	memset(q->avail, 0, avail_bytes(size));
	memset(q->used, 0, used_bytes(size));
	q->next_free = 0;
	q->last_used = 0;
}

static void write_gpa(const struct driver *d, uint64_t reg, uint64_t gpa)
{
	rig_write32(&d->mmio, reg, (uint32_t)gpa);
	rig_write32(&d->mmio, reg + 4, (uint32_t)(gpa >> 32));
}

void driver_set_queue(struct driver *d, unsigned int queue)
{
	const struct driver_queue *q = &d->queues[queue];

	rig_write32(&d->mmio, REG_QUEUE_SEL, queue);
	rig_write32(&d->mmio, REG_QUEUE_SIZE, q->size);
	write_gpa(d, REG_QUEUE_DESC, q->desc_gpa);
	write_gpa(d, REG_QUEUE_DRIVER, q->avail_gpa);
	write_gpa(d, REG_QUEUE_DEVICE, q->used_gpa);
	rig_write32(&d->mmio, REG_QUEUE_READY, 1);
}

void driver_boot(struct driver *d, uint64_t features)
{
	bool ok = driver_negotiate(d, features | VIRTIO_F_VERSION_1);

	assert(ok);
	(void)ok;
	for (unsigned int i = 0; i < d->dev->class->n_queues; i++) {
		driver_place_queue(d, i, d->dev->class->queue_size);
		driver_set_queue(d, i);
	}
	rig_write32(&d->mmio, REG_STATUS,
		    VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |
			    VIRTIO_STATUS_DRIVER_OK);
	driver_settle(d);
}

void driver_offer(struct driver *d, unsigned int queue, uint16_t head)
{
	struct driver_queue *q = &d->queues[queue];
	uint16_t idx = q->avail[1];

	q->avail[2 + idx % q->size] = head;
	__atomic_store_n(&q->avail[1], (uint16_t)(idx + 1), __ATOMIC_RELEASE);
}

uint16_t driver_add(struct driver *d, unsigned int queue, const struct driver_buf *bufs,
		    unsigned int n_bufs)
{
	struct driver_queue *q = &d->queues[queue];
	uint16_t head = q->next_free;

	for (unsigned int i = 0; i < n_bufs; i++) {
		uint16_t at = q->next_free;

		q->next_free = (uint16_t)((at + 1) % q->size);
		q->desc[at] = (struct driver_desc){
			.gpa = bufs[i].gpa,
			.len = bufs[i].len,
			.flags = (uint16_t)((bufs[i].is_writable ? DRIVER_WRITE : 0) |
					    (i + 1 < n_bufs ? DRIVER_NEXT : 0)),
			.next = q->next_free,
		};
	}
	driver_offer(d, queue, head);
	return head;
}

void driver_settle(struct driver *d)
{
	/* A kick that the device gives itself is a new event: look until none is left. */
	for (int i = 0; i < 64; i++)
		event_base_loop(d->base, EVLOOP_NONBLOCK);
}

void driver_kick(struct driver *d, unsigned int queue)
{
	rig_write32(&d->mmio, REG_QUEUE_NOTIFY, queue);
	driver_settle(d);
}

bool driver_take_used(struct driver *d, unsigned int queue, struct driver_used *used)
{
	struct driver_queue *q = &d->queues[queue];
	uint16_t idx = __atomic_load_n(&q->used[1], __ATOMIC_ACQUIRE);
	const uint8_t *elem = (const uint8_t *)q->used + 4 + 8 * (size_t)(q->last_used % q->size);

	if (idx == q->last_used)
		return false;
	used->head = (uint32_t)load_le(elem, 4);
	used->len = (uint32_t)load_le(elem + 4, 4);
	q->last_used++;
	return true;
}
