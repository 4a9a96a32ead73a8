/*
 * The virtio network device (virtio 1.2, section 5.1): one pair of queues between a guest and a
 * back end (backend/netdev.h).
 *
 * The device's two halves have files of their own: net_rx.h and net_tx.h; what a frame's header may
 * say is in net_header.h. Where the host's kernel works on the queues, net_vhost.h stands in place
 * of all of these. Here is what they share: the features, the configuration, the driver that comes
 * and goes.
 *
 * The source address of what a guest sends is its own affair: guests bridge. Where the address was
 * given, frames from another one are counted; keep guests apart on the host, by its bridge or
 * packet filter.
 *
 * Everything runs on the I/O thread, with the device's lock held, but for class->reset, and what
 * net_vhost.h says otherwise.
 */
#pragma once

#include "backend/netdev.h"
#include "backend/rate_limiter.h"
#include "virtio/device.h"
#include "virtio/net_header.h"
#include "virtio/net_rx.h"
#include "virtio/net_tx.h"
#include "virtio/net_vhost.h"

#include <stdbool.h>
#include <stdint.h>

enum net_queue { NET_QUEUE_RX, NET_QUEUE_TX, NET_N_QUEUES };

/* Features; 5.1.3. Those of offloads are in net_header.h. */
#define VIRTIO_NET_F_MTU       (UINT64_C(1) << 3)
#define VIRTIO_NET_F_MAC       (UINT64_C(1) << 5)
#define VIRTIO_NET_F_MRG_RXBUF (UINT64_C(1) << 15)
#define VIRTIO_NET_F_STATUS    (UINT64_C(1) << 16)

enum {
	NET_MAC_SIZE = 6,
	NET_MTU_MIN = 68, /**< 5.1.4.1 */
};

struct net_config {
	const char *id; /**< names it in messages; borrowed as long as the device lives */
	uint8_t mac[NET_MAC_SIZE];
	bool has_mac;                  /**< else a random one, locally administered */
	uint16_t mtu;                  /**< told to the driver; 0: not told */
	struct rate_limiter_config rx; /**< what the guest receives */
	struct rate_limiter_config tx;
};

struct net {
	struct virtio_dev dev;
	struct netdev *netdev;
	uint16_t mtu;
	bool has_given_mac; /**< frames from other addresses are counted */
	bool is_set_up;     /**< for the driver that is ready now */
	struct log_limit log_limit;
	struct metrics_net metrics; /**< for metrics_add_net() */
	struct virtq_chain chain;   /**< which is worked on */
	struct net_rx rx;
	struct net_tx tx;
	struct net_vhost vhost; /**< in place of both, where the back end has one */
};

/**
 * Create the device. virtio_dev_start() has its queues watched.
 * \param net zeroed storage that does not move
 * \param netdev borrowed: to be freed after the device
 * \param mem borrowed, as is what \p irq points to
 * \param base of the I/O thread
 * \return 0; -EINVAL for an address or MTU that cannot be; -ENOMEM
 */
__attribute__((warn_unused_result)) int net_init(struct net *net, const struct net_config *config,
						 struct netdev *netdev, const struct guest_mem *mem,
						 const struct irq_line *irq,
						 struct event_base *base, struct err *err);

/** Other limits from now on, or, where it fails, none. On the I/O thread. */
__attribute__((warn_unused_result)) int net_set_limits(struct net *net,
						       const struct rate_limiter_change *rx,
						       const struct rate_limiter_change *tx,
						       struct err *err);

/** The back end has gone: the driver, and each later one, is told. For net_rx.c and net_vhost.c.
 * Lock held. */
void net_set_link_down(struct net *net);

/** On the I/O thread, after the vCPUs have ended. Legal on a zeroed object, and twice. */
void net_deinit(struct net *net);
