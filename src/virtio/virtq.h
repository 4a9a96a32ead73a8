/*
 * A split virtqueue, the device's side (virtio 1.2, section 2.7).
 *
 *	descriptor table     available ring          used ring
 *	addr len flags next  flags idx ring[] event  flags idx ring[] event
 *	driver writes        driver writes           device writes
 *
 * The driver makes a chain of descriptors, each a buffer in guest memory that the device either
 * reads or writes, and puts the number of its first one (the head) into the available ring. The
 * device takes it out with virtq_pop() and gives it back with virtq_push(), in any order.
 *
 * All of this memory belongs to a guest that may change it at any moment and means no good. So
 * every field is loaded once, into memory of ours, then judged, then used. virtq_pop() hands out a
 * chain that has been followed to its end: bounded, without loops, all buffers inside guest RAM,
 * those to read before those to write, and its head not handed out already. What breaks a rule
 * makes the queue broken: the device says so to its driver and stops (virtio_dev_break()).
 *
 * Not locked: the device's lock covers its queues.
 */
#pragma once

#include "mem/guest_mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum {
	VIRTQ_SIZE_MAX = 256,
	/** buffers of a chain, whether in the table or in an indirect one */
	VIRTQ_CHAIN_MAX = 256,
};

enum virtq_result {
	VIRTQ_OK,
	VIRTQ_E_EMPTY,  /**< the driver has put nothing there */
	VIRTQ_E_BROKEN, /**< the driver broke the rules: the queue is not to be used until reset */
};

struct virtq_desc;
struct virtq_avail;
struct virtq_used;

struct virtq {
	/* What the driver sets, frozen once `is_ready`. */
	uint16_t size; /**< a power of two */
	uint64_t desc_gpa;
	uint64_t avail_gpa;
	uint64_t used_gpa;

	uint16_t size_max;
	bool is_ready;
	bool has_event_idx;
	bool has_indirect;

	const struct virtq_desc *desc; /* the rings, where they are mapped */
	struct virtq_avail *avail;
	struct virtq_used *used;
	const struct guest_mem *mem;

	uint16_t next_avail; /**< free-running: where the next head is read */
	uint16_t next_used;  /**< free-running: where the next used element is written */
	uint16_t signalled;  /**< next_used when the driver was last asked about */
	uint64_t in_flight[VIRTQ_SIZE_MAX / 64]; /**< a bit for each head that we have */
};

/** A chain that was taken out: buffers in host memory, those to read first. */
struct virtq_chain {
	uint16_t head;
	uint16_t n_readable;
	uint16_t n_writable;
	uint32_t readable_bytes; /**< in all, never 4 GiB or more */
	uint32_t writable_bytes;
	struct iovec
		iov[VIRTQ_CHAIN_MAX]; /**< n_readable, then n_writable of them; none is empty */
};

/**
 * Power-on state.
 * \param mem borrowed
 * \param size_max what the device offers; a power of two, at most VIRTQ_SIZE_MAX
 */
void virtq_init(struct virtq *vq, const struct guest_mem *mem, uint16_t size_max);

/** Back to power-on state, whatever was in flight. */
void virtq_reset(struct virtq *vq);

/**
 * Check size, alignment and place of the three rings and map them.
 * \param has_event_idx was VIRTIO_F_EVENT_IDX negotiated
 * \param has_indirect was VIRTIO_F_INDIRECT_DESC
 * \return false, and the queue is as before, when they cannot be
 */
__attribute__((warn_unused_result)) bool virtq_enable(struct virtq *vq, bool has_event_idx,
						      bool has_indirect);

/**
 * Take out the next chain.
 * \param chain filled; on any other result than VIRTQ_OK it has no buffers
 */
__attribute__((warn_unused_result)) enum virtq_result virtq_pop(struct virtq *vq,
								struct virtq_chain *chain);

/**
 * Undo the latest virtq_pop() that has not been undone: the chain is the next one again.
 * \param head of the chain
 */
void virtq_unpop(struct virtq *vq, uint16_t head);

/**
 * Give a chain back.
 * \param head of a chain that is in flight
 * \param written bytes that were put into its writable buffers, counted from the first
 */
void virtq_push(struct virtq *vq, uint16_t head, uint32_t written);

/**
 * Fill a used element without showing it yet. For a packet that takes several chains, which the
 * driver shall find all at once.
 * \param n how many from the next one on: 0 is what virtq_push() would fill
 */
void virtq_push_later(struct virtq *vq, uint16_t n, uint16_t head, uint32_t written);

/** Show the next \p n used elements, all of which virtq_push_later() has filled. */
void virtq_publish(struct virtq *vq, uint16_t n);

/** Does the driver want an interrupt for what has been pushed since this was last asked? */
bool virtq_wants_irq(struct virtq *vq);

/**
 * Ask for a kick when the driver adds a chain.
 * \return true when there is one already, added before we asked: no kick may come for it
 */
__attribute__((warn_unused_result)) bool virtq_ask_for_kicks(struct virtq *vq);

/** Tell the driver that kicks are not wanted now: we look by ourselves. A hint. */
void virtq_spare_kicks(struct virtq *vq);

/** How many chains wait to be taken out; more than `size` when the driver broke the ring. */
uint16_t virtq_n_waiting(const struct virtq *vq);

/**
 * Copy out of the readable buffers, or into the writable ones, from \p offset bytes on.
 * \return bytes copied: fewer than \p len where the buffers end
 */
size_t virtq_chain_read(const struct virtq_chain *chain, uint64_t offset, void *buf, size_t len);
size_t virtq_chain_write(const struct virtq_chain *chain, uint64_t offset, const void *buf,
			 size_t len);

/**
 * The part [offset, offset + len) of buffers, for preadv() and the like.
 * \param out room for VIRTQ_CHAIN_MAX; may be \p from itself
 * \return how many of \p out are used
 */
unsigned int iov_slice(const struct iovec *from, unsigned int n, uint64_t offset, uint64_t len,
		       struct iovec *out);

static inline const struct iovec *virtq_chain_writable(const struct virtq_chain *chain)
{
	return chain->iov + chain->n_readable;
}
