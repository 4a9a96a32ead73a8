/*
 * A driver's half of virtio that does as it is told: registers, rings, waiting.
 */
#include "hostile.h"

void fill(void *to, uint8_t byte, size_t len)
{
	volatile uint8_t *at = to;
	size_t i = 0;

	/* By words where it can be: much is filled. Not memset(): others may look. */
	for (; (uintptr_t)to % 8 == 0 && i + 8 <= len; i += 8)
		*(volatile uint64_t *)(at + i) = 0x0101010101010101 * (uint64_t)byte;
	for (; i < len; i++)
		at[i] = byte;
}

uint32_t next_random(struct machine *m)
{
	/* xorshift32 */
	m->random ^= m->random << 13;
	m->random ^= m->random >> 17;
	m->random ^= m->random << 5;
	return m->random;
}

/* ---- registers ---- */

uint64_t dev_read_len(const struct dev *d, unsigned int reg, unsigned int len)
{
	return d->m->port->read(d->m->port, d->gpa + reg, len);
}

void dev_write_len(const struct dev *d, unsigned int reg, unsigned int len, uint64_t value)
{
	d->m->port->write(d->m->port, d->gpa + reg, len, value);
}

uint32_t dev_read(const struct dev *d, unsigned int reg)
{
	return (uint32_t)dev_read_len(d, reg, 4);
}

void dev_write(const struct dev *d, unsigned int reg, uint32_t value)
{
	dev_write_len(d, reg, 4, value);
}

uint32_t dev_status(const struct dev *d)
{
	return dev_read(d, REG_STATUS);
}

/* ---- memory ---- */

void *dev_ptr(const struct dev *d, uint64_t gpa)
{
	return d->m->port->ram + (gpa - d->m->port->ram_gpa);
}

uint64_t scratch(const struct dev *d)
{
	return d->m->scratch_gpa;
}

uint64_t ram_end(const struct dev *d)
{
	return d->m->port->ram_gpa + d->m->port->ram_size;
}

/* ---- 3.1.1 ---- */

void dev_reset(const struct dev *d)
{
	struct port *port = d->m->port;

	dev_write(d, REG_STATUS, 0);
	/* Its requests may take the disk some time. */
	for (unsigned int i = 0; i < port->patience && dev_status(d) != 0; i++)
		port->rest(port);
}

static void write_features(const struct dev *d, uint64_t features)
{
	for (unsigned int i = 0; i < 2; i++) {
		dev_write(d, REG_DRIVER_FEATURES_SEL, i);
		dev_write(d, REG_DRIVER_FEATURES, (uint32_t)(features >> (32 * i)));
	}
}

bool dev_negotiate(const struct dev *d, uint64_t features)
{
	dev_reset(d);
	dev_write(d, REG_STATUS, ACKNOWLEDGE);
	dev_write(d, REG_STATUS, ACKNOWLEDGE | DRIVER);
	write_features(d, features | F_VERSION_1);
	dev_write(d, REG_STATUS, NEGOTIATED);
	return dev_status(d) == NEGOTIATED;
}

void dev_place(struct dev *d, unsigned int queue, uint16_t size)
{
	struct ring *ring = &d->rings[queue];

	ring->size = size;
	ring->avail_gpa = ring->desc_gpa + QUEUE_SIZE_MAX * sizeof(struct desc);
	ring->used_gpa = ring->avail_gpa + PAGE;
	ring->desc = dev_ptr(d, ring->desc_gpa);
	ring->avail = dev_ptr(d, ring->avail_gpa);
	ring->used = dev_ptr(d, ring->used_gpa);
	fill(dev_ptr(d, ring->desc_gpa), 0, 3 * PAGE);
	ring->next_free = 0;
	ring->last_used = 0;
}

static void write_gpa(const struct dev *d, unsigned int reg, uint64_t gpa)
{
	dev_write(d, reg, (uint32_t)gpa);
	dev_write(d, reg + 4, (uint32_t)(gpa >> 32));
}

bool dev_set_queue(const struct dev *d, unsigned int queue)
{
	const struct ring *ring = &d->rings[queue];

	dev_write(d, REG_QUEUE_SEL, queue);
	dev_write(d, REG_QUEUE_SIZE, ring->size);
	write_gpa(d, REG_QUEUE_DESC, ring->desc_gpa);
	write_gpa(d, REG_QUEUE_DRIVER, ring->avail_gpa);
	write_gpa(d, REG_QUEUE_DEVICE, ring->used_gpa);
	dev_write(d, REG_QUEUE_READY, 1);
	return dev_read(d, REG_QUEUE_READY) == 1;
}

void dev_almost_boot(struct dev *d, uint64_t features)
{
	dev_negotiate(d, features);
	for (unsigned int i = 0; i < d->n_queues; i++) {
		dev_place(d, i, d->rings[i].size_max);
		dev_set_queue(d, i);
	}
}

void dev_boot_with(struct dev *d, uint64_t features)
{
	dev_almost_boot(d, features);
	dev_write(d, REG_STATUS, READY);
}

void dev_boot(struct dev *d)
{
	dev_boot_with(d, d->offered);
}

/* ---- rings ---- */

void dev_desc(const struct dev *d, uint16_t at, uint64_t gpa, uint32_t len, uint16_t flags,
	      uint16_t next)
{
	volatile struct desc *desc = &d->rings[d->queue].desc[at];

	desc->gpa = gpa;
	desc->len = len;
	desc->flags = flags;
	desc->next = next;
}

static void set_avail_idx(const struct ring *ring, uint16_t idx)
{
	__atomic_store_n(&ring->avail[1], idx, __ATOMIC_RELEASE);
}

void dev_offer(const struct dev *d, unsigned int queue, uint16_t head)
{
	const struct ring *ring = &d->rings[queue];
	uint16_t idx = ring->avail[1];

	ring->avail[2 + idx % ring->size] = head;
	set_avail_idx(ring, (uint16_t)(idx + 1));
}

uint16_t dev_add(struct dev *d, unsigned int queue, const struct buf *bufs, unsigned int n_bufs)
{
	struct ring *ring = &d->rings[queue];
	uint16_t head = ring->next_free;

	for (unsigned int i = 0; i < n_bufs; i++) {
		volatile struct desc *desc = &ring->desc[ring->next_free];

		ring->next_free = (uint16_t)((ring->next_free + 1) % ring->size);
		desc->gpa = bufs[i].gpa;
		desc->len = bufs[i].len;
		desc->flags = (uint16_t)((bufs[i].is_writable ? D_WRITE : 0) |
					 (i + 1 < n_bufs ? D_NEXT : 0));
		desc->next = ring->next_free;
	}
	dev_offer(d, queue, head);
	return head;
}

void dev_kick(const struct dev *d, unsigned int queue)
{
	dev_write(d, REG_QUEUE_NOTIFY, queue);
}

bool dev_take_used(struct dev *d, unsigned int queue, struct used_elem *used)
{
	struct ring *ring = &d->rings[queue];
	uint16_t idx = __atomic_load_n(&ring->used[1], __ATOMIC_ACQUIRE);
	volatile struct used_elem *elems = (volatile struct used_elem *)(ring->used + 2);

	if (idx == ring->last_used)
		return false;
	used->head = elems[ring->last_used % ring->size].head;
	used->len = elems[ring->last_used % ring->size].len;
	ring->last_used++;
	return true;
}

unsigned int often(const struct dev *d, unsigned int n)
{
	return n / d->m->port->thrift;
}

void dev_rest(const struct dev *d)
{
	for (unsigned int i = 0; i < 16; i++)
		d->m->port->rest(d->m->port);
}

bool dev_wait_used(struct dev *d, unsigned int queue, struct used_elem *used)
{
	struct port *port = d->m->port;

	for (unsigned int i = 0; i < port->patience; i++) {
		if (dev_take_used(d, queue, used))
			return true;
		if ((dev_status(d) & NEEDS_RESET) != 0)
			return false;
		port->rest(port);
	}
	return false;
}

/* ---- what is expected ---- */

const char not_applicable[] = "not applicable";

static bool wait_for_bit(const struct dev *d, unsigned int reg, uint32_t bit)
{
	struct port *port = d->m->port;

	for (unsigned int i = 0; i < port->patience; i++) {
		if ((dev_read(d, reg) & bit) != 0)
			return true;
		port->rest(port);
	}
	return false;
}

verdict expect_broken(const struct dev *d)
{
	if (!wait_for_bit(d, REG_STATUS, NEEDS_RESET))
		return "it did not break";
	/* First it breaks, then it tells: in between we may have looked. */
	if (!wait_for_bit(d, REG_INTERRUPT_STATUS, ISR_CONFIG))
		return "it broke and did not tell";
	return NULL;
}

verdict expect_kick_breaks(const struct dev *d)
{
	dev_kick(d, d->queue);
	return expect_broken(d);
}

verdict expect_served(struct dev *d, struct used_elem *used)
{
	dev_kick(d, d->queue);
	if (dev_wait_used(d, d->queue, used))
		return NULL;
	return (dev_status(d) & NEEDS_RESET) != 0 ? "it broke" : "no answer";
}

verdict expect_served_or_broken(struct dev *d)
{
	struct used_elem used;

	dev_kick(d, d->queue);
	if (dev_wait_used(d, d->queue, &used) || (dev_status(d) & NEEDS_RESET) != 0)
		return NULL;
	return "neither an answer nor broken";
}
