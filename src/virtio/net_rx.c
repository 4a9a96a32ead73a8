#include "virtio/net_rx.h"

#include "util/bits.h"
#include "util/events.h"
#include "virtio/net.h"

#include <errno.h>
#include <string.h>

enum {
	ETH_VLAN_SIZE = 18, /* an Ethernet header with a VLAN tag */
	/* What the window must hold so that any frame fits. */
	WINDOW_BYTES = NETDEV_HEADER_SIZE + NETDEV_FRAME_MAX,
	/* An ordinary frame: 5.1.6.3.1. A window that does not hold one is of no use. */
	WINDOW_BYTES_MIN = NETDEV_HEADER_SIZE + 1514,
	PATIENCE_US = 20000,
	IOV_MAX_RX = 2 * VIRTQ_CHAIN_MAX,
};

/* ---- the window of buffers to receive into ---- */

static const struct net_chain *window_chain(const struct net_rx *rx, uint16_t i)
{
	return &rx->chains[(rx->first_chain + i) % VIRTQ_SIZE_MAX];
}

static void clear_window(struct net_rx *rx)
{
	rx->first_chain = 0;
	rx->n_chains = 0;
	rx->first_iov = 0;
	rx->n_iov = 0;
	rx->bytes = 0;
	rx->frame_bytes = 0;
}

static bool make_room(struct net_rx *rx)
{
	if (rx->n_chains == VIRTQ_SIZE_MAX || rx->n_iov > IOV_MAX_RX - VIRTQ_CHAIN_MAX)
		return false;
	if (rx->first_iov + rx->n_iov > IOV_MAX_RX - VIRTQ_CHAIN_MAX) {
		memmove(rx->iov, rx->iov + rx->first_iov, rx->n_iov * sizeof(rx->iov[0]));
		rx->first_iov = 0;
	}
	return true;
}

static void add_to_window(struct net_rx *rx, const struct virtq_chain *chain)
{
	rx->chains[(rx->first_chain + rx->n_chains) % VIRTQ_SIZE_MAX] = (struct net_chain){
		.head = chain->head,
		.n_iov = chain->n_writable,
		.bytes = chain->writable_bytes,
	};
	memcpy(rx->iov + rx->first_iov + rx->n_iov, virtq_chain_writable(chain),
	       chain->n_writable * sizeof(chain->iov[0]));
	rx->n_chains++;
	rx->n_iov += chain->n_writable;
	rx->bytes += chain->writable_bytes;
}

static void remove_first(struct net_rx *rx)
{
	const struct net_chain *chain = window_chain(rx, 0);

	rx->bytes -= chain->bytes;
	rx->n_iov -= chain->n_iov;
	rx->first_iov += chain->n_iov;
	rx->n_chains--;
	rx->first_chain = (uint16_t)((rx->first_chain + 1) % VIRTQ_SIZE_MAX);
	if (rx->n_chains == 0)
		rx->first_iov = 0;
}

/* Can it take any chain more, or one that would help? */
static bool wants_chains(struct net *net)
{
	struct net_rx *rx = &net->rx;

	if (!rx->is_mergeable)
		return rx->n_chains == 0;
	return rx->bytes < WINDOW_BYTES && make_room(rx);
}

/* A chain for the window, or back at once: one that cannot hold a header cannot begin a frame. */
static void take_buffer(struct net *net, const struct virtq_chain *chain)
{
	if (chain->writable_bytes >= NETDEV_HEADER_SIZE) {
		add_to_window(&net->rx, chain);
		return;
	}
	metrics_inc(&net->metrics.rx_fails);
	virtq_push(&net->dev.queues[NET_QUEUE_RX], chain->head, 0);
}

/* \return may a frame be read? */
static bool fill_window(struct net *net)
{
	struct net_rx *rx = &net->rx;
	struct virtq_chain *chain = &net->chain;

	/* A driver may give bad buffers faster than they are given back: not for ever. */
	for (unsigned int i = 0; i < VIRTQ_SIZE_MAX && wants_chains(net); i++) {
		if (!virtio_dev_pop(&net->dev, NET_QUEUE_RX, chain))
			return virtio_dev_is_active(&net->dev) && rx->is_impatient &&
			       rx->bytes >= WINDOW_BYTES_MIN;
		take_buffer(net, chain);
	}
	if (wants_chains(net)) {
		virtio_dev_kick(&net->dev, NET_QUEUE_RX);
		return false;
	}
	if (rx->bytes >= WINDOW_BYTES)
		rx->is_impatient = false;
	return true;
}

/* ---- receiving ---- */

static void stop_watching(struct net_rx *rx)
{
	if (rx->is_watching)
		event_del(rx->readable);
	rx->is_watching = false;
}

static void start_watching(struct net_rx *rx)
{
	if (!rx->is_watching)
		rx->is_watching = event_add(rx->readable, NULL) == 0;
}

static void stop_waiting(struct net_rx *rx)
{
	if (rx->is_waiting)
		event_del(rx->patience);
	rx->is_waiting = false;
}

/* The next chain comes with a kick. But no chain may come before a frame does. */
static void wait_for_buffers(struct net_rx *rx)
{
	static const struct timeval patience = { .tv_usec = PATIENCE_US };

	stop_watching(rx);
	if (!rx->is_waiting && rx->bytes >= WINDOW_BYTES_MIN)
		rx->is_waiting = event_add(rx->patience, &patience) == 0;
}

/* The back end has ended or is not to be understood any more. */
static void lose_netdev(struct net *net, ssize_t result)
{
	stop_watching(&net->rx);
	net->rx.is_gone = true;
	log_guest(&net->log_limit, "net '%s': its %s has gone: %s", net->dev.id, net->netdev->kind,
		  result == 0 ? "end of file" : strerror((int)-result));
	net_set_link_down(net);
}

static uint16_t chains_for(const struct net_rx *rx, uint64_t bytes)
{
	uint16_t n = 0;

	for (uint64_t room = 0; room < bytes; n++)
		room += window_chain(rx, n)->bytes;
	return n;
}

/* 5.1.4.1 */
static bool fits_mtu(const struct net *net, const struct net_header *header, uint32_t frame_bytes)
{
	return !virtio_dev_has(&net->dev, VIRTIO_NET_F_MTU) || !net_header_is_plain(header) ||
	       frame_bytes <= (uint32_t)net->mtu + ETH_VLAN_SIZE;
}

/* The header lies in the driver's buffers, in pieces perhaps. */
static bool finish_header(struct net *net, uint32_t bytes)
{
	struct net_rx *rx = &net->rx;
	struct iovec parts[NETDEV_HEADER_SIZE];
	unsigned int n_parts =
		iov_slice(rx->iov + rx->first_iov, rx->n_iov, 0, NETDEV_HEADER_SIZE, parts);
	struct net_header header;
	uint8_t *at = (uint8_t *)&header;

	for (unsigned int i = 0; i < n_parts; at += parts[i].iov_len, i++)
		memcpy(at, parts[i].iov_base, parts[i].iov_len);
	if (!net_header_judge_received(&header, rx->offloads) ||
	    !fits_mtu(net, &header, bytes - NETDEV_HEADER_SIZE))
		return false;
	header.num_buffers = chains_for(rx, bytes);
	at = (uint8_t *)&header;
	for (unsigned int i = 0; i < n_parts; at += parts[i].iov_len, i++)
		memcpy(parts[i].iov_base, at, parts[i].iov_len);
	return true;
}

static bool is_frame(const struct net *net, ssize_t bytes)
{
	return bytes >= NETDEV_HEADER_SIZE + NETDEV_FRAME_MIN && (uint64_t)bytes <= net->rx.bytes;
}

/* \return false when there is nothing to read; else rx.frame_bytes tells if it is for the driver */
static bool read_frame(struct net *net)
{
	struct net_rx *rx = &net->rx;
	struct iovec *iov = rx->iov + rx->first_iov;
	ssize_t bytes;

	iov[rx->n_iov] = (struct iovec){ .iov_base = &rx->too_much, .iov_len = 1 };
	bytes = net->netdev->ops->receive(net->netdev, iov, rx->n_iov + 1U);
	if (bytes == -EAGAIN) {
		start_watching(rx);
		return false;
	}
	if (bytes == -EFAULT) {
		virtio_dev_break(&net->dev, "its buffers cannot be written");
		return false;
	}
	if (bytes <= 0)
		metrics_inc(&net->metrics.tap_read_fails);
	/* A frame that the kernel cannot put into words is lost, and the next may be read. */
	if (bytes <= 0 && bytes != -EINVAL) {
		lose_netdev(net, bytes);
		return false;
	}
	if (is_frame(net, bytes) && finish_header(net, (uint32_t)bytes))
		rx->frame_bytes = (uint32_t)bytes;
	else
		metrics_inc(&net->metrics.rx_fails);
	return true;
}

/* Show the frame to the driver: all its chains at once. */
static void deliver(struct net *net)
{
	struct net_rx *rx = &net->rx;
	struct virtq *vq = &net->dev.queues[NET_QUEUE_RX];
	uint32_t left = rx->frame_bytes;
	uint16_t n = 0;

	metrics_inc(&net->metrics.rx_count);
	metrics_inc(&net->metrics.rx_packets_count);
	metrics_add(&net->metrics.rx_bytes_count, left - NETDEV_HEADER_SIZE);
	while (left > 0) {
		const struct net_chain *chain = window_chain(rx, 0);
		uint32_t part = MIN(left, chain->bytes);

		virtq_push_later(vq, n++, chain->head, part);
		remove_first(rx);
		left -= part;
	}
	virtq_publish(vq, n);
	rx->frame_bytes = 0;
}

/* \return false when nothing can be done now: an event or a kick will tell */
static bool receive_one(struct net *net)
{
	struct net_rx *rx = &net->rx;

	if (rx->frame_bytes == 0) {
		if (!fill_window(net)) {
			metrics_inc(&net->metrics.no_rx_avail_buffer);
			wait_for_buffers(rx);
			return false;
		}
		stop_waiting(rx);
		if (!read_frame(net))
			return false;
	}
	if (rx->frame_bytes == 0)
		return true;
	if (rate_limiter_is_waiting(&rx->limiter) ||
	    !rate_limiter_take(&rx->limiter, rx->frame_bytes - NETDEV_HEADER_SIZE)) {
		metrics_inc(&net->metrics.rx_rate_limiter_throttled);
		stop_watching(rx);
		return false;
	}
	deliver(net);
	return true;
}

/* \return true when there may be more */
static bool receive(struct net *net)
{
	unsigned int n = 0;

	if (net->rx.is_gone)
		return false;
	virtq_spare_kicks(&net->dev.queues[NET_QUEUE_RX]);
	while (n < VIRTIO_BUDGET && receive_one(net))
		n++;
	virtio_dev_signal(&net->dev, NET_QUEUE_RX);
	if (n < VIRTIO_BUDGET)
		return false;
	/* The back end may hold frames that its descriptor does not show: ask, not watch. */
	stop_watching(&net->rx);
	return true;
}

bool net_rx_process(struct net *net)
{
	/* While the back end is watched there are buffers enough, and no frame. */
	return !net->rx.is_watching && receive(net);
}

/* A driver that has not had its first turn yet asks by itself. */
static bool can_receive(const struct net *net)
{
	return virtio_dev_is_active(&net->dev) && net->is_set_up &&
	       net->dev.queues[NET_QUEUE_RX].is_ready;
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
	struct net *net = ctx;

	(void)fd;
	(void)what;
	metrics_inc(&net->metrics.rx_tap_event_count);
	pthread_mutex_lock(&net->dev.lock);
	if (!can_receive(net))
		stop_watching(&net->rx);
	else if (receive(net))
		virtio_dev_kick(&net->dev, NET_QUEUE_RX);
	pthread_mutex_unlock(&net->dev.lock);
}

static void on_patience(evutil_socket_t fd, short what, void *ctx)
{
	struct net *net = ctx;

	(void)fd;
	(void)what;
	pthread_mutex_lock(&net->dev.lock);
	net->rx.is_waiting = false;
	/* A driver that came meanwhile starts anew in net_rx_begin(). */
	net->rx.is_impatient = true;
	pthread_mutex_unlock(&net->dev.lock);
	virtio_dev_kick(&net->dev, NET_QUEUE_RX);
}

static void on_allowed(void *ctx)
{
	struct net *net = ctx;

	metrics_inc(&net->metrics.rx_event_rate_limiter_count);
	virtio_dev_kick(&net->dev, NET_QUEUE_RX);
}

/* ---- beginning and end ---- */

int net_rx_init(struct net *net, const struct rate_limiter_config *limit, struct event_base *base,
		struct err *err)
{
	struct net_rx *rx = &net->rx;

	rx->readable = event_new(base, net->netdev->fd, EV_READ | EV_PERSIST, on_readable, net);
	rx->patience = evtimer_new(base, on_patience, net);
	if (rx->readable == NULL || rx->patience == NULL)
		return err_set(err, -ENOMEM, "net '%s': no memory for the event loop", net->dev.id);
	return rate_limiter_init(&rx->limiter, limit, base, on_allowed, net, err);
}

void net_rx_begin(struct net *net)
{
	net->rx.is_mergeable = virtio_dev_has(&net->dev, VIRTIO_NET_F_MRG_RXBUF);
	net->rx.is_impatient = false;
	net->rx.offloads = net_guest_offloads(net->dev.features);
}

void net_rx_reset(struct net *net)
{
	clear_window(&net->rx);
}

void net_rx_deinit(struct net *net)
{
	free_event(&net->rx.readable);
	free_event(&net->rx.patience);
	rate_limiter_deinit(&net->rx.limiter);
}
