#include "virtio/net_tx.h"

#include "util/bits.h"
#include "util/events.h"
#include "virtio/net.h"

#include <errno.h>
#include <string.h>

static void watch_writable(struct net *net)
{
	if (event_add(net->tx.writable, NULL) != 0)
		net->tx.is_waiting = false;
}

static void note_sent(struct net *net, int result)
{
	/* What a guest wrote badly is not worth a line. */
	if (result != 0 && result != -EINVAL && !net->tx.is_failing)
		log_guest(&net->log_limit, "net '%s': its %s does not take frames: %s", net->dev.id,
			  net->netdev->kind, strerror(-result));
	net->tx.is_failing = result != 0 && result != -EINVAL;
	if (result == 0)
		return;
	metrics_inc(&net->metrics.tx_fails);
	if (result != -EINVAL)
		metrics_inc(&net->metrics.tap_write_fails);
}

static void count_sent(struct metrics_net *counts, uint32_t frame_bytes)
{
	metrics_inc(&counts->tx_count);
	metrics_inc(&counts->tx_packets_count);
	metrics_add(&counts->tx_bytes_count, frame_bytes);
}

static int send_frame(struct net *net, struct net_header *header, uint32_t frame_bytes)
{
	struct iovec *iov = net->tx.iov;
	uint64_t begin_us = metrics_now_us();
	unsigned int n;
	int result;

	iov[0] = (struct iovec){ .iov_base = header, .iov_len = sizeof(*header) };
	n = iov_slice(net->chain.iov, net->chain.n_readable, sizeof(*header), frame_bytes, iov + 1);
	result = net->netdev->ops->send(net->netdev, iov, n + 1);
	if (result == 0)
		metrics_add_time(&net->metrics.tap_write_agg, begin_us);
	return result;
}

/* The queue rests: the chain is the next one again. */
static void put_back(struct net *net)
{
	virtq_unpop(&net->dev.queues[NET_QUEUE_TX], net->chain.head);
}

/* \return false when the chain could not be dealt with now */
static bool transmit_frame(struct net *net, struct net_header *header, uint32_t frame_bytes)
{
	int result;

	if (!rate_limiter_take(&net->tx.limiter, frame_bytes)) {
		metrics_inc(&net->metrics.tx_rate_limiter_throttled);
		put_back(net);
		return false;
	}
	result = send_frame(net, header, frame_bytes);
	if (result == -EAGAIN) {
		rate_limiter_give_back(&net->tx.limiter, frame_bytes);
		put_back(net);
		net->tx.is_waiting = true;
		watch_writable(net);
		return false;
	}
	if (result == -EFAULT) {
		virtio_dev_break(&net->dev, "its frames cannot be read");
		return false;
	}
	note_sent(net, result);
	if (result == 0)
		count_sent(&net->metrics, frame_bytes);
	return true;
}

/* What a chain begins with. */
struct start {
	struct net_header header;
	uint8_t destination[NET_MAC_SIZE];
	uint8_t source[NET_MAC_SIZE];
};

/* For whoever looks at the metrics. It is what was copied; the guest may have changed it since. */
static void count_spoofed(struct net *net, const struct start *start)
{
	if (net->has_given_mac && memcmp(start->source, net->dev.config, NET_MAC_SIZE) != 0)
		metrics_inc(&net->metrics.tx_spoofed_mac_count);
}

static bool transmit_chain(struct net *net)
{
	struct start start = { 0 };
	uint32_t bytes = net->chain.readable_bytes;
	uint32_t frame_bytes = bytes - MIN(bytes, (uint32_t)NETDEV_HEADER_SIZE);

	(void)virtq_chain_read(&net->chain, 0, &start, sizeof(start));
	if (!net_header_judge_sent(&start.header, net->tx.offloads, frame_bytes)) {
		metrics_inc(&net->metrics.tx_malformed_frames);
	} else {
		if (!transmit_frame(net, &start.header, frame_bytes))
			return false;
		count_spoofed(net, &start);
	}
	virtq_push(&net->dev.queues[NET_QUEUE_TX], net->chain.head, 0);
	return true;
}

static void count_tx_turn(struct net *net, unsigned int n_taken)
{
	uint16_t n_left = virtq_n_waiting(&net->dev.queues[NET_QUEUE_TX]);

	metrics_add(&net->metrics.tx_remaining_reqs_count, n_left);
	if (n_taken == 0 && n_left == 0)
		metrics_inc(&net->metrics.no_tx_avail_buffer);
}

bool net_tx_process(struct net *net)
{
	unsigned int n = 0;

	if (net->tx.is_waiting || rate_limiter_is_waiting(&net->tx.limiter))
		return false;
	virtq_spare_kicks(&net->dev.queues[NET_QUEUE_TX]);
	while (n < VIRTIO_BUDGET && virtio_dev_pop(&net->dev, NET_QUEUE_TX, &net->chain) &&
	       transmit_chain(net))
		n++;
	virtio_dev_signal(&net->dev, NET_QUEUE_TX);
	count_tx_turn(net, n);
	if (net->netdev->has_backlog)
		watch_writable(net);
	return n == VIRTIO_BUDGET;
}

static void on_writable(evutil_socket_t fd, short what, void *ctx)
{
	struct net *net = ctx;
	int result = 0;

	(void)fd;
	(void)what;
	pthread_mutex_lock(&net->dev.lock);
	net->tx.is_waiting = false;
	if (net->netdev->has_backlog)
		result = net->netdev->ops->flush(net->netdev);
	if (result != 0)
		note_sent(net, result);
	if (net->netdev->has_backlog)
		watch_writable(net);
	pthread_mutex_unlock(&net->dev.lock);
	virtio_dev_kick(&net->dev, NET_QUEUE_TX);
}

static void on_allowed(void *ctx)
{
	struct net *net = ctx;

	metrics_inc(&net->metrics.tx_rate_limiter_event_count);
	virtio_dev_kick(&net->dev, NET_QUEUE_TX);
}

int net_tx_init(struct net *net, const struct rate_limiter_config *limit, struct event_base *base,
		struct err *err)
{
	net->tx.writable = event_new(base, net->netdev->fd, EV_WRITE, on_writable, net);
	if (net->tx.writable == NULL)
		return err_set(err, -ENOMEM, "net '%s': no memory for the event loop", net->dev.id);
	return rate_limiter_init(&net->tx.limiter, limit, base, on_allowed, net, err);
}

void net_tx_begin(struct net *net)
{
	net->tx.offloads = net_host_offloads(net->dev.features);
}

void net_tx_deinit(struct net *net)
{
	free_event(&net->tx.writable);
	rate_limiter_deinit(&net->tx.limiter);
}
