#include "virtio/net.h"

#include "util/bits.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

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

/* Tell the back end what it may leave to the driver. */
static void set_offloads(struct net *net)
{
	int result =
		net->netdev->ops->set_offloads(net->netdev, net_guest_offloads(net->dev.features));

	/* Frames that are not for this driver are then dropped one by one. */
	if (result != 0 && !net->rx.is_gone)
		log_guest(&net->log_limit, "net '%s': set the offloads of its %s: %s", net->dev.id,
			  net->netdev->kind, strerror(-result));
}

/* The driver is ready. */
static void set_up(struct net *net)
{
	if (net->is_set_up)
		return;
	net->is_set_up = true;
	net_rx_begin(net);
	net_tx_begin(net);
	set_offloads(net);
}

void net_set_link_down(struct net *net)
{
	struct config_space *config = (struct config_space *)(void *)net->dev.config;

	config->status = 0;
	virtio_dev_config_changed(&net->dev);
}

static bool net_process(struct virtio_dev *dev, unsigned int queue)
{
	struct net *net = container_of(dev, struct net, dev);

	set_up(net);
	metrics_inc(queue == NET_QUEUE_TX ? &net->metrics.tx_queue_event_count
					  : &net->metrics.rx_queue_event_count);
	if (queue == NET_QUEUE_TX)
		return net_tx_process(net);
	return net_rx_process(net);
}

static void net_ready(struct virtio_dev *dev)
{
	struct net *net = container_of(dev, struct net, dev);

	if (net->netdev->vhost == NULL || !net_vhost_has_tap(net))
		return;
	set_offloads(net);
	net_vhost_begin(net);
}

static void net_rest(struct virtio_dev *dev)
{
	struct net *net = container_of(dev, struct net, dev);

	if (net->netdev->vhost != NULL)
		net_vhost_end(net);
}

static void net_reset(struct virtio_dev *dev)
{
	struct net *net = container_of(dev, struct net, dev);

	net_rest(dev);
	net->is_set_up = false;
	net_rx_reset(net);
}

static const struct virtio_dev_class net_class = {
	.name = "net",
	.device_id = 1,
	.features = VIRTIO_NET_F_MAC | VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_STATUS,
	.n_queues = NET_N_QUEUES,
	.queue_size = VIRTQ_SIZE_MAX,
	.process = net_process,
	.ready = net_ready,
	.rest = net_rest,
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
	net->has_given_mac = config->has_mac;
	space->mtu = config->mtu;
	space->status = STATUS_LINK_UP;
	net->dev.config_size = sizeof(*space);
	return choose_mac(space->mac, config, err);
}

static void offer_features(struct net *net)
{
	if (net->mtu != 0)
		net->dev.offered |= VIRTIO_NET_F_MTU;
	net->dev.offered |= net_features_of(net->netdev->offloads);
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
	net->dev.is_offloaded = netdev->vhost != NULL;
	if (net->dev.is_offloaded)
		return net_vhost_init(net, base, err);
	result = net_rx_init(net, &config->rx, base, err);
	if (result == 0)
		result = net_tx_init(net, &config->tx, base, err);
	return result;
}

/* As when the machine was configured: to name none, or to take one away, is no wish for one. */
static int refuse_limits(const struct net *net, const struct rate_limiter_change *rx,
			 const struct rate_limiter_change *tx, struct err *err)
{
	struct rate_limiter_config wanted[2] = { 0 };

	rate_limiter_config_change(&wanted[0], rx);
	rate_limiter_config_change(&wanted[1], tx);
	if (!rate_limiter_config_has_limit(&wanted[0]) &&
	    !rate_limiter_config_has_limit(&wanted[1]))
		return 0;
	return err_set(err, -ENOTSUP, NET_VHOST_HAS_NO_LIMITS, net->dev.id);
}

int net_set_limits(struct net *net, const struct rate_limiter_change *rx,
		   const struct rate_limiter_change *tx, struct err *err)
{
	int result;

	if (net->netdev->vhost != NULL)
		return refuse_limits(net, rx, tx, err);
	pthread_mutex_lock(&net->dev.lock);
	result = rate_limiter_prepare(&net->rx.limiter, rx, err);
	if (result == 0)
		result = rate_limiter_prepare(&net->tx.limiter, tx, err);
	if (result == 0) {
		rate_limiter_set(&net->rx.limiter, rx);
		rate_limiter_set(&net->tx.limiter, tx);
	}
	pthread_mutex_unlock(&net->dev.lock);
	/* What was held back may pass now. */
	virtio_dev_kick(&net->dev, NET_QUEUE_RX);
	virtio_dev_kick(&net->dev, NET_QUEUE_TX);
	return result;
}

void net_deinit(struct net *net)
{
	net_vhost_deinit(net);
	net_rx_deinit(net);
	net_tx_deinit(net);
	virtio_dev_deinit(&net->dev);
}
