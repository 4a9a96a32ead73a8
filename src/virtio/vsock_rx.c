#include "virtio/vsock_rx.h"

#include "util/assert.h"
#include "virtio/vsock.h"

#include <string.h>

enum {
	EVENT_TRANSPORT_RESET = 0, /* 5.10.6.7 */
	EVENT_BYTES = 4,
};

bool vsock_rx_has_room(const struct vsock_rx *rx)
{
	return rx->n_resets < VSOCK_RESETS_MAX;
}

void vsock_rx_add_reset(struct vsock_rx *rx, const struct vsock_hdr *hdr)
{
	unsigned int at = (rx->first_reset + rx->n_resets) % VSOCK_RESETS_MAX;

	ASSERT(vsock_rx_has_room(rx));
	rx->resets[at] = (struct vsock_reset){
		.host_port = hdr->dst_port,
		.guest_port = hdr->src_port,
		.type = hdr->type,
	};
	rx->n_resets++;
}

void vsock_rx_clear(struct vsock_rx *rx)
{
	rx->n_resets = 0;
	rx->is_event_due = false;
}

void vsock_rx_reset(struct vsock_rx *rx)
{
	vsock_rx_clear(rx);
	rx->batch.n = 0;
	rx->batch.room = 0;
}

/* ---- buffers that are kept ---- */

/* Linux's are all in one piece. */
static bool is_one_piece(const struct virtq_chain *chain)
{
	return chain->n_readable == 0 && chain->n_writable == 1 &&
	       chain->writable_bytes > sizeof(struct vsock_hdr);
}

static void keep_buffer(struct vsock_batch *batch, const struct virtq_chain *chain)
{
	struct vsock_batch_buffer *buffer = &batch->buffers[batch->n++];

	*buffer = (struct vsock_batch_buffer){
		.head = chain->head,
		.hdr = chain->iov[0].iov_base,
		.room = chain->writable_bytes - (uint32_t)sizeof(struct vsock_hdr),
	};
	batch->room += buffer->room;
}

static void remove_first(struct vsock_batch *batch, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		batch->room -= batch->buffers[i].room;
	batch->n -= n;
	memmove(batch->buffers, batch->buffers + n, batch->n * sizeof(batch->buffers[0]));
}

/* Take buffers until there is room for as much as is wanted. */
static void gather_buffers(struct vsock *vsock, uint32_t wanted)
{
	struct vsock_batch *batch = &vsock->rx.batch;
	const struct virtq_chain *chain = &vsock->rx.chain;

	while (batch->n < VSOCK_BATCH_MAX && batch->room < wanted &&
	       virtio_dev_pop(&vsock->dev, VSOCK_RX, &vsock->rx.chain)) {
		if (!is_one_piece(chain)) {
			virtq_unpop(&vsock->dev.queues[VSOCK_RX], chain->head);
			return;
		}
		keep_buffer(batch, chain);
	}
}

/* A buffer for one packet: the first that is kept, which stays there, or else another. */
static bool next_buffer(struct vsock *vsock, struct virtq_chain *chain)
{
	const struct vsock_batch_buffer *kept = vsock->rx.batch.buffers;

	if (vsock->rx.batch.n == 0)
		return virtio_dev_pop(&vsock->dev, VSOCK_RX, chain);
	chain->head = kept->head;
	chain->n_readable = 0;
	chain->n_writable = 1;
	chain->readable_bytes = 0;
	chain->writable_bytes = kept->room + (uint32_t)sizeof(struct vsock_hdr);
	chain->iov[0] = (struct iovec){ .iov_base = kept->hdr, .iov_len = chain->writable_bytes };
	return true;
}

/* It holds a packet now. */
static void use_buffer(struct vsock *vsock, const struct virtq_chain *chain, uint32_t len)
{
	if (vsock->rx.batch.n > 0)
		remove_first(&vsock->rx.batch, 1);
	virtq_push(&vsock->dev.queues[VSOCK_RX], chain->head, len);
}

static void leave_buffer(struct vsock *vsock, const struct virtq_chain *chain)
{
	if (vsock->rx.batch.n == 0)
		virtq_unpop(&vsock->dev.queues[VSOCK_RX], chain->head);
}

/* ---- packets ---- */

static uint32_t send_reset(struct vsock *vsock, const struct virtq_chain *chain)
{
	const struct vsock_reset *reset = &vsock->rx.resets[vsock->rx.first_reset];
	const struct vsock_hdr hdr = {
		.src_cid = VSOCK_HOST_CID,
		.dst_cid = vsock->guest_cid,
		.src_port = reset->host_port,
		.dst_port = reset->guest_port,
		.type = reset->type,
		.op = VSOCK_OP_RST,
	};

	vsock->rx.first_reset = (vsock->rx.first_reset + 1) % VSOCK_RESETS_MAX;
	vsock->rx.n_resets--;
	return (uint32_t)virtq_chain_write(chain, 0, &hdr, sizeof(hdr));
}

/* \return bytes of the packet, 0 when the connection whose turn it was has none after all */
static uint32_t send_next(struct vsock *vsock, const struct virtq_chain *chain)
{
	struct vsock_conn *conn;
	uint32_t len;

	if (vsock->rx.n_resets > 0)
		return send_reset(vsock, chain);
	conn = vsock_table_next_sender(&vsock->table);
	len = vsock_conn_send(conn, vsock->guest_cid, chain, vsock->rx.scratch);
	vsock_table_settle(&vsock->table, conn);
	return len;
}

static bool has_packets(const struct vsock *vsock)
{
	return vsock->rx.n_resets > 0 || !TAILQ_EMPTY(&vsock->table.sending);
}

static void send_event(struct vsock *vsock)
{
	struct virtio_dev *dev = &vsock->dev;
	const uint32_t event = EVENT_TRANSPORT_RESET;

	if (!vsock->rx.is_event_due)
		return;
	if (!dev->queues[VSOCK_EVENT].is_ready) {
		vsock->rx.is_event_due = false; /* a driver without it does not want to know */
		return;
	}
	if (!virtio_dev_pop(dev, VSOCK_EVENT, &vsock->rx.chain))
		return;
	if (virtq_chain_write(&vsock->rx.chain, 0, &event, sizeof(event)) != EVENT_BYTES) {
		metrics_inc(&metrics.vsock.ev_queue_event_fails);
		virtio_dev_break(dev, "its driver gave a buffer too small for an event");
		return;
	}
	virtq_push(&dev->queues[VSOCK_EVENT], vsock->rx.chain.head, EVENT_BYTES);
	vsock->rx.is_event_due = false;
}

static void count_packet(uint32_t data_bytes)
{
	metrics_inc(&metrics.vsock.rx_packets_count);
	metrics_add(&metrics.vsock.rx_bytes_count, data_bytes);
}

/* Fill one buffer. \return false when there is none */
static bool fill_buffer(struct vsock *vsock)
{
	struct virtio_dev *dev = &vsock->dev;
	struct virtq_chain *chain = &vsock->rx.chain;
	uint32_t len;

	if (!next_buffer(vsock, chain))
		return false;
	if (chain->writable_bytes <= sizeof(struct vsock_hdr)) {
		metrics_inc(&metrics.vsock.rx_queue_event_fails);
		virtio_dev_break(dev, "its driver gave a buffer too small for a packet");
		return false;
	}
	len = send_next(vsock, chain);
	if (len == 0) {
		leave_buffer(vsock, chain);
		return true;
	}
	use_buffer(vsock, chain, len);
	count_packet(len - (uint32_t)sizeof(struct vsock_hdr));
	return true;
}

/* \return how many buffers it filled; 0 when the next packet has to be made by itself */
static unsigned int fill_batch(struct vsock *vsock)
{
	struct vsock_conn *conn = TAILQ_FIRST(&vsock->table.sending);
	struct virtq *vq = &vsock->dev.queues[VSOCK_RX];
	struct vsock_batch *batch = &vsock->rx.batch;
	uint32_t wanted = vsock->rx.n_resets > 0 ? 0 : vsock_conn_data_wanted(conn);
	unsigned int n;

	if (wanted == 0)
		return 0;
	gather_buffers(vsock, wanted);
	if (batch->n == 0 || !virtio_dev_is_active(&vsock->dev))
		return 0;
	conn = vsock_table_next_sender(&vsock->table);
	n = vsock_conn_send_batch(conn, vsock->guest_cid, batch);
	for (unsigned int i = 0; i < n; i++) {
		uint32_t len = batch->buffers[i].len;

		virtq_push_later(vq, (uint16_t)i, batch->buffers[i].head,
				 len + (uint32_t)sizeof(struct vsock_hdr));
		count_packet(len);
	}
	virtq_publish(vq, (uint16_t)n);
	remove_first(batch, n);
	vsock_table_settle(&vsock->table, conn);
	return n;
}

void vsock_rx_fill(struct vsock *vsock)
{
	struct virtio_dev *dev = &vsock->dev;
	bool has_more = dev->queues[VSOCK_RX].is_ready;

	send_event(vsock);
	if (vsock->rx.is_event_due || !has_more)
		return;
	for (unsigned int n = 0; n < VIRTIO_BUDGET && has_more; n++) {
		unsigned int n_filled = has_packets(vsock) ? fill_batch(vsock) : 0;

		if (n_filled > 0)
			n += n_filled - 1;
		else
			has_more = has_packets(vsock) && virtio_dev_is_active(dev) &&
				   fill_buffer(vsock);
	}
	if (has_more && has_packets(vsock))
		virtio_dev_kick(dev, VSOCK_RX);
}
