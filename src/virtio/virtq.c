#include "virtio/virtq.h"

#include "util/assert.h"
#include "util/bits.h"

#include <stdatomic.h>
#include <string.h>

/* virtio 1.2, 2.7.5 to 2.7.8 */
enum {
	DESC_F_NEXT = 1,
	DESC_F_WRITE = 2,
	DESC_F_INDIRECT = 4,
	AVAIL_F_NO_INTERRUPT = 1,
	USED_F_NO_NOTIFY = 1,
};

enum { DESC_ALIGN = 16, AVAIL_ALIGN = 2, USED_ALIGN = 4 };

struct virtq_desc {
	uint64_t gpa;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};
static_assert(sizeof(struct virtq_desc) == 16, "as the specification has it");

struct virtq_avail {
	_Atomic uint16_t flags;
	_Atomic uint16_t idx;
	_Atomic uint16_t ring[]; /* size of them, then used_event */
};

struct virtq_used_elem {
	uint32_t id;
	uint32_t len;
};

struct virtq_used {
	_Atomic uint16_t flags;
	_Atomic uint16_t idx;
	struct virtq_used_elem ring[]; /* size of them, then avail_event (16 bits) */
};

static uint64_t desc_bytes(uint16_t size)
{
	return sizeof(struct virtq_desc) * (uint64_t)size;
}

static uint64_t avail_bytes(uint16_t size)
{
	return sizeof(struct virtq_avail) + sizeof(uint16_t) * ((uint64_t)size + 1);
}

static uint64_t used_bytes(uint16_t size)
{
	return sizeof(struct virtq_used) + sizeof(struct virtq_used_elem) * (uint64_t)size +
	       sizeof(uint16_t);
}

void virtq_init(struct virtq *vq, const struct guest_mem *mem, uint16_t size_max)
{
	ASSERT(size_max <= VIRTQ_SIZE_MAX);
	*vq = (struct virtq){ .mem = mem, .size_max = size_max };
}

void virtq_reset(struct virtq *vq)
{
	virtq_init(vq, vq->mem, vq->size_max);
}

bool virtq_enable(struct virtq *vq, bool has_event_idx, bool has_indirect)
{
	void *desc = guest_mem_ptr(vq->mem, vq->desc_gpa, desc_bytes(vq->size));
	void *avail = guest_mem_ptr(vq->mem, vq->avail_gpa, avail_bytes(vq->size));
	void *used = guest_mem_ptr(vq->mem, vq->used_gpa, used_bytes(vq->size));

	if (vq->size == 0 || vq->size > vq->size_max || (vq->size & (vq->size - 1)) != 0 ||
	    desc == NULL || avail == NULL || used == NULL ||
	    !is_aligned(vq->desc_gpa, DESC_ALIGN) || !is_aligned(vq->avail_gpa, AVAIL_ALIGN) ||
	    !is_aligned(vq->used_gpa, USED_ALIGN))
		return false;
	vq->desc = desc;
	vq->avail = avail;
	vq->used = used;
	vq->has_event_idx = has_event_idx;
	vq->has_indirect = has_indirect;
	vq->is_ready = true;
	return true;
}

/* ---- taking chains out ---- */

/* One copy of a descriptor, from any address: the compiler may not look at the original again. */
static struct virtq_desc load_desc(const void *from)
{
	struct virtq_desc desc;

	copy_record(&desc, from, sizeof(desc));
	__asm__ volatile("" : "+m"(desc));
	return desc;
}

/* A table of descriptors and how far a chain may be followed in it. */
struct table {
	const uint8_t *descs;
	uint32_t n;
	bool is_indirect;
};

static enum virtq_result add_buffer(const struct virtq *vq, const struct virtq_desc *desc,
				    struct virtq_chain *chain)
{
	unsigned int n = chain->n_readable + chain->n_writable;
	bool is_writable = (desc->flags & DESC_F_WRITE) != 0;
	uint32_t *bytes = is_writable ? &chain->writable_bytes : &chain->readable_bytes;
	void *hva;

	if (!is_writable && chain->n_writable > 0)
		return VIRTQ_E_BROKEN; /* 2.7.4.2: what is read comes before what is written */
	if (desc->len == 0)
		return VIRTQ_OK;
	hva = guest_mem_ptr(vq->mem, desc->gpa, desc->len);
	if (hva == NULL || n == VIRTQ_CHAIN_MAX || __builtin_add_overflow(*bytes, desc->len, bytes))
		return VIRTQ_E_BROKEN;
	chain->iov[n] = (struct iovec){ .iov_base = hva, .iov_len = desc->len };
	if (is_writable)
		chain->n_writable++;
	else
		chain->n_readable++;
	return VIRTQ_OK;
}

/* 2.7.5.3: the table that a descriptor of the queue refers to. */
static enum virtq_result open_indirect(const struct virtq *vq, const struct virtq_desc *desc,
				       struct table *table)
{
	if (!vq->has_indirect || table->is_indirect || (desc->flags & DESC_F_NEXT) != 0 ||
	    desc->len == 0 || desc->len % sizeof(struct virtq_desc) != 0 ||
	    desc->len > VIRTQ_CHAIN_MAX * sizeof(struct virtq_desc))
		return VIRTQ_E_BROKEN;
	table->descs = guest_mem_ptr(vq->mem, desc->gpa, desc->len);
	table->n = desc->len / sizeof(struct virtq_desc);
	table->is_indirect = true;
	return table->descs == NULL ? VIRTQ_E_BROKEN : VIRTQ_OK;
}

/* A chain that is longer than its table goes in circles. */
static enum virtq_result follow_chain(const struct virtq *vq, struct virtq_chain *chain)
{
	struct table table = { .descs = (const uint8_t *)vq->desc, .n = vq->size };
	uint32_t at = chain->head;
	enum virtq_result result = VIRTQ_OK;

	for (uint32_t n_seen = 0; n_seen < table.n; n_seen++) {
		struct virtq_desc desc;

		if (at >= table.n)
			return VIRTQ_E_BROKEN;
		desc = load_desc(table.descs + at * sizeof(desc));
		if ((desc.flags & DESC_F_INDIRECT) != 0) {
			/* Buffers may stand before it in the queue's own table. */
			result = open_indirect(vq, &desc, &table);
			at = 0;
			n_seen = UINT32_MAX; /* the new table is counted from its start */
		} else {
			result = add_buffer(vq, &desc, chain);
			if ((desc.flags & DESC_F_NEXT) == 0)
				return result;
			at = desc.next;
		}
		if (result != VIRTQ_OK)
			return result;
	}
	return VIRTQ_E_BROKEN;
}

static bool is_in_flight(const struct virtq *vq, uint16_t head)
{
	return (vq->in_flight[head / 64] & BIT(head % 64)) != 0;
}

static void clear_chain(struct virtq_chain *chain)
{
	chain->n_readable = 0;
	chain->n_writable = 0;
	chain->readable_bytes = 0;
	chain->writable_bytes = 0;
}

uint16_t virtq_n_waiting(const struct virtq *vq)
{
	/* Acquire: what the driver wrote before it moved the index is seen after. */
	uint16_t idx = atomic_load_explicit(&vq->avail->idx, memory_order_acquire);

	return (uint16_t)(idx - vq->next_avail);
}

enum virtq_result virtq_pop(struct virtq *vq, struct virtq_chain *chain)
{
	enum virtq_result result;
	uint16_t n_waiting = virtq_n_waiting(vq);

	clear_chain(chain);
	if (n_waiting == 0)
		return VIRTQ_E_EMPTY;
	chain->head = atomic_load_explicit(&vq->avail->ring[vq->next_avail % vq->size],
					   memory_order_relaxed);
	if (n_waiting > vq->size || chain->head >= vq->size || is_in_flight(vq, chain->head))
		return VIRTQ_E_BROKEN;
	result = follow_chain(vq, chain);
	if (result != VIRTQ_OK) {
		clear_chain(chain);
		return result;
	}
	vq->in_flight[chain->head / 64] |= BIT(chain->head % 64);
	vq->next_avail++;
	return VIRTQ_OK;
}

void virtq_unpop(struct virtq *vq, uint16_t head)
{
	ASSERT(is_in_flight(vq, head));
	vq->in_flight[head / 64] &= ~BIT(head % 64);
	vq->next_avail--;
}

/* ---- giving them back ---- */

void virtq_push_later(struct virtq *vq, uint16_t n, uint16_t head, uint32_t written)
{
	struct virtq_used_elem *elem = &vq->used->ring[(uint16_t)(vq->next_used + n) % vq->size];

	ASSERT(is_in_flight(vq, head));
	vq->in_flight[head / 64] &= ~BIT(head % 64);
	*(volatile uint32_t *)&elem->id = head;
	*(volatile uint32_t *)&elem->len = written;
}

void virtq_publish(struct virtq *vq, uint16_t n)
{
	vq->next_used = (uint16_t)(vq->next_used + n);
	/* Release: the elements and the buffers' bytes are there when the index is seen. */
	atomic_store_explicit(&vq->used->idx, vq->next_used, memory_order_release);
}

void virtq_push(struct virtq *vq, uint16_t head, uint32_t written)
{
	virtq_push_later(vq, 0, head, written);
	virtq_publish(vq, 1);
}

/* ---- who wakes whom ---- */

/* 2.7.10: has the index passed `event` on its way from `before` to `now`? All modulo 2^16. */
static bool passed(uint16_t event, uint16_t now, uint16_t before)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

bool virtq_wants_irq(struct virtq *vq)
{
	uint16_t before = vq->signalled;

	if (vq->next_used == before)
		return false;
	/* The index is stored before the wish is loaded; the driver does both the other way round.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	vq->signalled = vq->next_used;
	if (vq->has_event_idx)
		return passed(
			atomic_load_explicit(&vq->avail->ring[vq->size], memory_order_relaxed),
			vq->next_used, before);
	return (atomic_load_explicit(&vq->avail->flags, memory_order_relaxed) &
		AVAIL_F_NO_INTERRUPT) == 0;
}

static _Atomic uint16_t *avail_event(const struct virtq *vq)
{
	return (_Atomic uint16_t *)(void *)&vq->used->ring[vq->size];
}

bool virtq_ask_for_kicks(struct virtq *vq)
{
	if (vq->has_event_idx)
		atomic_store_explicit(avail_event(vq), vq->next_avail, memory_order_relaxed);
	else
		atomic_store_explicit(&vq->used->flags, 0, memory_order_relaxed);
	/* The wish is stored before the index is loaded, as above. */
	atomic_thread_fence(memory_order_seq_cst);
	return virtq_n_waiting(vq) != 0;
}

void virtq_spare_kicks(struct virtq *vq)
{
	/* With event indices nothing is to be done: the driver kicks once, when it passes the
	 * index. */
	if (!vq->has_event_idx)
		atomic_store_explicit(&vq->used->flags, USED_F_NO_NOTIFY, memory_order_relaxed);
}

/* ---- buffers ---- */

enum direction { FROM_BUFFERS, INTO_BUFFERS };

static size_t copy(const struct iovec *iov, unsigned int n, uint64_t offset, uint8_t *buf,
		   size_t len, enum direction direction)
{
	size_t done = 0;

	for (unsigned int i = 0; i < n && done < len; i++) {
		uint8_t *at = iov[i].iov_base;
		size_t part;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		part = MIN(len - done, iov[i].iov_len - offset);
		if (direction == FROM_BUFFERS)
			memcpy(buf + done, at + offset, part);
		else
			memcpy(at + offset, buf + done, part);
		done += part;
		offset = 0;
	}
	return done;
}

size_t virtq_chain_read(const struct virtq_chain *chain, uint64_t offset, void *buf, size_t len)
{
	size_t done = copy(chain->iov, chain->n_readable, offset, buf, len, FROM_BUFFERS);

	/* As in load_desc(): what is judged from here on is the copy. */
	__asm__ volatile("" : : "r"(buf) : "memory");
	return done;
}

size_t virtq_chain_write(const struct virtq_chain *chain, uint64_t offset, const void *buf,
			 size_t len)
{
	/* Only read, as the direction says. */
	uint8_t *bytes = (uint8_t *)(uintptr_t)buf;

	return copy(virtq_chain_writable(chain), chain->n_writable, offset, bytes, len,
		    INTO_BUFFERS);
}

unsigned int iov_slice(const struct iovec *from, unsigned int n, uint64_t offset, uint64_t len,
		       struct iovec *out)
{
	unsigned int n_out = 0;

	for (unsigned int i = 0; i < n && len > 0; i++) {
		uint8_t *base = from[i].iov_base;
		size_t part;

		if (offset >= from[i].iov_len) {
			offset -= from[i].iov_len;
			continue;
		}
		part = MIN(len, from[i].iov_len - offset);
		out[n_out++] = (struct iovec){ .iov_base = base + offset, .iov_len = part };
		len -= part;
		offset = 0;
	}
	return n_out;
}
