#include "virtio/net.h"

#include "util/bits.h"

#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <sys/random.h>

enum {
	QUEUE_SIZE = 256,
	ETH_VLAN_SIZE = 18, /* an Ethernet header with a VLAN tag */
	/* What the window must hold so that any frame fits. */
	WINDOW_BYTES = NETDEV_HEADER_SIZE + NETDEV_FRAME_MAX,
	/* An ordinary frame: 5.1.6.3.1. A window that does not hold one is of no use. */
	WINDOW_BYTES_MIN = NETDEV_HEADER_SIZE + 1514,
	PATIENCE_US = 20000,
	IOV_MAX_RX = 2 * VIRTQ_CHAIN_MAX,
};

/* ---- what the specification says ---- */

/* 5.1.4 */
struct config_space {
	uint8_t mac[NET_MAC_SIZE];
	uint16_t status;
	uint16_t max_virtqueue_pairs;
	uint16_t mtu;
};
static_assert(sizeof(struct config_space) == 12, "as the specification has it");
static_assert(sizeof(struct config_space) <= VIRTIO_CONFIG_MAX, "fits");

enum { STATUS_LINK_UP = 1 };

/* 5.1.6 */
struct header {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t num_buffers;
};
static_assert(sizeof(struct header) == NETDEV_HEADER_SIZE, "as the specification has it");

enum { HDR_F_NEEDS_CSUM = 1 };
enum { GSO_NONE = 0, GSO_TCPV4 = 1, GSO_TCPV6 = 4, GSO_UDP_L4 = 5, GSO_ECN = 0x80 };
enum { CSUM_SIZE = 2 };

/* Each offload: the feature by which the guest leaves work to us, and we to it. */
static const struct {
	uint32_t offload;
	uint64_t host;
	uint64_t guest;
} offload_features[] = {
	{ NETDEV_CSUM, VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM },
	{ NETDEV_TSO4, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_GUEST_TSO4 },
	{ NETDEV_TSO6, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_GUEST_TSO6 },
	{ NETDEV_ECN, VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_GUEST_ECN },
	{ NETDEV_USO, VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_GUEST_USO4 | VIRTIO_NET_F_GUEST_USO6 },
};

/* 5.1.3.1: without those that they need, features are of no effect. */
static uint32_t with_what_they_need(uint32_t offloads)
{
	if ((offloads & NETDEV_CSUM) == 0)
		return 0;
	if ((offloads & (NETDEV_TSO4 | NETDEV_TSO6)) == 0)
		offloads &= ~(uint32_t)NETDEV_ECN;
	return offloads;
}

/* May a frame with this header be given to somebody who does this work? */
static bool is_allowed(const struct header *header, uint32_t offloads)
{
	static const struct {
		uint8_t gso_type;
		uint32_t offloads;
	} types[] = {
		{ GSO_NONE, 0 },
		{ GSO_TCPV4, NETDEV_TSO4 },
		{ GSO_TCPV6, NETDEV_TSO6 },
		{ GSO_TCPV4 | GSO_ECN, NETDEV_TSO4 | NETDEV_ECN },
		{ GSO_TCPV6 | GSO_ECN, NETDEV_TSO6 | NETDEV_ECN },
		{ GSO_UDP_L4, NETDEV_USO },
	};

	if ((header->flags & HDR_F_NEEDS_CSUM) != 0 && (offloads & NETDEV_CSUM) == 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (types[i].gso_type == header->gso_type)
			return (offloads & types[i].offloads) == types[i].offloads;
	}
	return false;
}

static void negotiate_offloads(struct net *net)
{
	net->host_offloads = 0;
	net->guest_offloads = 0;
	for (size_t i = 0; i < ARRAY_SIZE(offload_features); i++) {
		uint64_t guest = offload_features[i].guest;

		if (virtio_dev_has(&net->dev, offload_features[i].host))
			net->host_offloads |= offload_features[i].offload;
		if ((net->dev.features & guest) == guest)
			net->guest_offloads |= offload_features[i].offload;
	}
	net->host_offloads = with_what_they_need(net->host_offloads);
	net->guest_offloads = with_what_they_need(net->guest_offloads);
}

/* The driver is ready: tell the back end what it may leave to it. */
static void set_up(struct net *net)
{
	int result;

	if (net->is_set_up)
		return;
	net->is_set_up = true;
	net->is_mergeable = virtio_dev_has(&net->dev, VIRTIO_NET_F_MRG_RXBUF);
	net->rx.is_impatient = false;
	negotiate_offloads(net);
	result = net->netdev->ops->set_offloads(net->netdev, net->guest_offloads);
	/* Frames that are not for this driver are then dropped one by one. */
	if (result != 0 && !net->rx.is_gone)
		log_guest(&net->log_limit, "net '%s': set the offloads of its %s: %s", net->dev.id,
			  net->netdev->kind, strerror(-result));
}

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

	if (!net->is_mergeable)
		return rx->n_chains == 0;
	return rx->bytes < WINDOW_BYTES && make_room(rx);
}

/* A chain for the window, or back at once: one that cannot hold a header cannot begin a frame. */
static void take_buffer(struct net *net)
{
	if (net->chain.writable_bytes >= NETDEV_HEADER_SIZE) {
		add_to_window(&net->rx, &net->chain);
		return;
	}
	metrics_inc(&net->metrics.rx_fails);
	virtq_push(&net->dev.queues[NET_QUEUE_RX], net->chain.head, 0);
}

/* \return may a frame be read? */
static bool fill_window(struct net *net)
{
	struct net_rx *rx = &net->rx;

	/* A driver may give bad buffers faster than they are given back: not for ever. */
	for (unsigned int i = 0; i < QUEUE_SIZE && wants_chains(net); i++) {
		if (!virtio_dev_pop(&net->dev, NET_QUEUE_RX, &net->chain))
			return virtio_dev_is_active(&net->dev) && rx->is_impatient &&
			       rx->bytes >= WINDOW_BYTES_MIN;
		take_buffer(net);
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
	struct config_space *config = (struct config_space *)(void *)net->dev.config;

	stop_watching(&net->rx);
	net->rx.is_gone = true;
	log_guest(&net->log_limit, "net '%s': its %s has gone: %s", net->dev.id, net->netdev->kind,
		  result == 0 ? "end of file" : strerror((int)-result));
	config->status = 0;
	virtio_dev_config_changed(&net->dev);
}

static uint16_t chains_for(const struct net_rx *rx, uint64_t bytes)
{
	uint16_t n = 0;

	for (uint64_t room = 0; room < bytes; n++)
		room += window_chain(rx, n)->bytes;
	return n;
}

/* 5.1.6.4.1. The back end's word is taken, but for work that this driver did not offer to do. */
static bool judge_received(const struct net *net, struct header *header, uint32_t frame_bytes)
{
	if ((net->guest_offloads & NETDEV_CSUM) == 0)
		header->flags &= HDR_F_NEEDS_CSUM; /* nothing about what was checked already */
	if (!is_allowed(header, net->guest_offloads))
		return false;
	/* 5.1.4.1 */
	return !virtio_dev_has(&net->dev, VIRTIO_NET_F_MTU) || header->gso_type != GSO_NONE ||
	       frame_bytes <= (uint32_t)net->mtu + ETH_VLAN_SIZE;
}

/* The header lies in the driver's buffers, in pieces perhaps. */
static bool finish_header(struct net *net, uint32_t bytes)
{
	struct net_rx *rx = &net->rx;
	struct iovec parts[NETDEV_HEADER_SIZE];
	unsigned int n_parts =
		iov_slice(rx->iov + rx->first_iov, rx->n_iov, 0, NETDEV_HEADER_SIZE, parts);
	struct header header;
	uint8_t *at = (uint8_t *)&header;

	for (unsigned int i = 0; i < n_parts; at += parts[i].iov_len, i++)
		memcpy(at, parts[i].iov_base, parts[i].iov_len);
	if (!judge_received(net, &header, bytes - NETDEV_HEADER_SIZE))
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

static bool can_receive(const struct net *net)
{
	return virtio_dev_is_active(&net->dev) && net->dev.queues[NET_QUEUE_RX].is_ready;
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
	struct net *net = ctx;

	(void)fd;
	(void)what;
	metrics_inc(&net->metrics.rx_tap_event_count);
	pthread_mutex_lock(&net->dev.lock);
	if (!can_receive(net)) {
		stop_watching(&net->rx);
	} else {
		set_up(net);
		if (receive(net))
			virtio_dev_kick(&net->dev, NET_QUEUE_RX);
	}
	pthread_mutex_unlock(&net->dev.lock);
}

static void on_patience(evutil_socket_t fd, short what, void *ctx)
{
	struct net *net = ctx;

	(void)fd;
	(void)what;
	pthread_mutex_lock(&net->dev.lock);
	net->rx.is_waiting = false;
	/* A driver that came meanwhile starts anew in set_up(). */
	net->rx.is_impatient = true;
	pthread_mutex_unlock(&net->dev.lock);
	virtio_dev_kick(&net->dev, NET_QUEUE_RX);
}

static void on_rx_allowed(void *ctx)
{
	struct net *net = ctx;

	metrics_inc(&net->metrics.rx_event_rate_limiter_count);
	virtio_dev_kick(&net->dev, NET_QUEUE_RX);
}

/* ---- sending ---- */

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

/* 5.1.6.2, on a copy. What is left of it asks for no more than was negotiated. */
static bool judge_sent(const struct net *net, struct header *header, uint32_t frame_bytes)
{
	if (frame_bytes < NETDEV_FRAME_MIN || frame_bytes > NETDEV_FRAME_MAX ||
	    (header->flags & ~HDR_F_NEEDS_CSUM) != 0 || !is_allowed(header, net->host_offloads) ||
	    header->hdr_len > frame_bytes)
		return false;
	if ((header->flags & HDR_F_NEEDS_CSUM) == 0) {
		header->csum_start = 0;
		header->csum_offset = 0;
	} else if ((uint32_t)header->csum_start + header->csum_offset + CSUM_SIZE > frame_bytes) {
		return false;
	}
	if (header->gso_type == GSO_NONE)
		header->gso_size = 0;
	else if (header->gso_size == 0 || (header->flags & HDR_F_NEEDS_CSUM) == 0)
		return false;
	header->num_buffers = 0;
	return true;
}

static int send_frame(struct net *net, struct header *header, uint32_t frame_bytes)
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
static bool transmit_frame(struct net *net, struct header *header, uint32_t frame_bytes)
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

static bool transmit_chain(struct net *net)
{
	struct header header = { 0 };
	uint32_t bytes = net->chain.readable_bytes;
	size_t copied = virtq_chain_read(&net->chain, 0, &header, sizeof(header));

	if (copied < sizeof(header) || !judge_sent(net, &header, bytes - (uint32_t)copied))
		metrics_inc(&net->metrics.tx_malformed_frames);
	else if (!transmit_frame(net, &header, bytes - (uint32_t)copied))
		return false;
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

/* \return true when there may be more */
static bool transmit(struct net *net)
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

static void on_tx_allowed(void *ctx)
{
	struct net *net = ctx;

	metrics_inc(&net->metrics.tx_rate_limiter_event_count);
	virtio_dev_kick(&net->dev, NET_QUEUE_TX);
}

/* ---- the device ---- */

static bool net_process(struct virtio_dev *dev, unsigned int queue)
{
	struct net *net = container_of(dev, struct net, dev);

	set_up(net);
	metrics_inc(queue == NET_QUEUE_TX ? &net->metrics.tx_queue_event_count
					  : &net->metrics.rx_queue_event_count);
	if (queue == NET_QUEUE_TX)
		return transmit(net);
	/* While the back end is watched there are buffers enough, and no frame. */
	return !net->rx.is_watching && receive(net);
}

/* On a vCPU thread: what belongs to the loop sees by itself that nobody is there. */
static void net_reset(struct virtio_dev *dev)
{
	struct net *net = container_of(dev, struct net, dev);

	net->is_set_up = false;
	clear_window(&net->rx);
}

static const struct virtio_dev_class net_class = {
	.name = "net",
	.device_id = 1,
	.features = VIRTIO_NET_F_MAC | VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_STATUS,
	.n_queues = NET_N_QUEUES,
	.queue_size = QUEUE_SIZE,
	.process = net_process,
	.reset = net_reset,
};

static int choose_mac(uint8_t mac[NET_MAC_SIZE], const struct net_config *config, struct err *err)
{
	static const uint8_t none[NET_MAC_SIZE];
	enum { MULTICAST = 1, LOCAL = 2 };

	if (!config->has_mac) {
		if (getrandom(mac, NET_MAC_SIZE, 0) != NET_MAC_SIZE)
			return err_sys(err, "net '%s': choose an address", config->id);
		mac[0] = LOCAL;
		return 0;
	}
	memcpy(mac, config->mac, NET_MAC_SIZE);
	if ((mac[0] & MULTICAST) != 0 || memcmp(mac, none, sizeof(none)) == 0)
		return err_set(err, -EINVAL, "net '%s': its address is not that of one station",
			       config->id);
	return 0;
}

static int fill_config(struct net *net, const struct net_config *config, struct err *err)
{
	struct config_space *space = (struct config_space *)(void *)net->dev.config;

	if (config->mtu != 0 && config->mtu < NET_MTU_MIN)
		return err_set(err, -EINVAL, "net '%s': an MTU is at least %d", config->id,
			       NET_MTU_MIN);
	net->mtu = config->mtu;
	space->mtu = config->mtu;
	space->status = STATUS_LINK_UP;
	net->dev.config_size = sizeof(*space);
	return choose_mac(space->mac, config, err);
}

static void offer_features(struct net *net)
{
	if (net->mtu != 0)
		net->dev.offered |= VIRTIO_NET_F_MTU;
	for (size_t i = 0; i < ARRAY_SIZE(offload_features); i++) {
		if ((net->netdev->offloads & offload_features[i].offload) != 0)
			net->dev.offered |= offload_features[i].host | offload_features[i].guest;
	}
}

static int create_events(struct net *net, struct event_base *base, struct err *err)
{
	int fd = net->netdev->fd;

	net->rx.readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, net);
	net->rx.patience = evtimer_new(base, on_patience, net);
	net->tx.writable = event_new(base, fd, EV_WRITE, on_writable, net);
	if (net->rx.readable == NULL || net->rx.patience == NULL || net->tx.writable == NULL)
		return err_set(err, -ENOMEM, "net '%s': no memory for the event loop", net->dev.id);
	return 0;
}

int net_init(struct net *net, const struct net_config *config, struct netdev *netdev,
	     const struct guest_mem *mem, const struct irq_line *irq, struct event_base *base,
	     struct err *err)
{
	int result = virtio_dev_init(&net->dev, &net_class, config->id, mem, irq, err);

	if (result != 0)
		return result;
	net->dev.fails = (struct virtio_fails){ .activate = &net->metrics.activate_fails,
						.event = &net->metrics.event_fails,
						.config = &net->metrics.cfg_fails };
	net->netdev = netdev;
	result = fill_config(net, config, err);
	if (result != 0)
		return result;
	offer_features(net);
	result = create_events(net, base, err);
	if (result == 0)
		result = rate_limiter_init(&net->rx.limiter, &config->rx, base, on_rx_allowed, net,
					   err);
	if (result == 0)
		result = rate_limiter_init(&net->tx.limiter, &config->tx, base, on_tx_allowed, net,
					   err);
	return result;
}

int net_set_limits(struct net *net, const struct rate_limiter_change *rx,
		   const struct rate_limiter_change *tx, struct err *err)
{
	int result;

	pthread_mutex_lock(&net->dev.lock);
	result = rate_limiter_set(&net->rx.limiter, rx, err);
	if (result == 0)
		result = rate_limiter_set(&net->tx.limiter, tx, err);
	pthread_mutex_unlock(&net->dev.lock);
	/* What was held back may pass now. */
	virtio_dev_kick(&net->dev, NET_QUEUE_RX);
	virtio_dev_kick(&net->dev, NET_QUEUE_TX);
	return result;
}

static void free_event(struct event **event)
{
	if (*event != NULL)
		event_free(*event);
	*event = NULL;
}

void net_deinit(struct net *net)
{
	free_event(&net->rx.readable);
	free_event(&net->rx.patience);
	free_event(&net->tx.writable);
	rate_limiter_deinit(&net->rx.limiter);
	rate_limiter_deinit(&net->tx.limiter);
	virtio_dev_deinit(&net->dev);
}
