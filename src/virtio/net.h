/*
 * The virtio network device (virtio 1.2, section 5.1): one pair of queues between a guest and a
 * back end (backend/netdev.h).
 *
 * Sending. A chain is a header and a frame. The header is copied, judged, cut down to what the
 * driver negotiated and the back end has, and sent from our copy; the frame goes out of guest
 * memory as it lies. What is no frame, or has a header that cannot be, is dropped and counted:
 * nothing that the driver did not negotiate, and no offset outside the frame, reaches the host's
 * network stack. When the back end has no room, the chain is put back and the queue rests until
 * there is.
 *
 * Receiving. Frames are read straight into the driver's buffers, whose size does not depend on the
 * frame's. So buffers are taken out ahead, into a window: enough for the largest frame, or one
 * chain when the driver did not negotiate VIRTIO_NET_F_MRG_RXBUF. A frame uses up the first chains
 * of the window and is shown to the driver whole. Where the buffers do not suffice nothing is read
 * and the back end is not watched: the driver's next kick goes on. A driver whose whole ring is
 * smaller than the largest frame never makes the window full; after a little patience it gets what
 * fits, and larger frames are dropped. A frame that the rate limiter holds back waits in the
 * window.
 *
 * A back end that has gone is not watched any more; the driver sees the link go down. Frames that
 * it sends are dropped.
 *
 * The source address of what a guest sends is not checked: keep guests apart on the host, by its
 * bridge or packet filter.
 *
 * Everything runs on the I/O thread, with the device's lock held, but for class->reset.
 */
#pragma once

#include "backend/netdev.h"
#include "backend/rate_limiter.h"
#include "virtio/device.h"

#include <stdbool.h>
#include <stdint.h>

struct event;

enum net_queue { NET_QUEUE_RX, NET_QUEUE_TX, NET_N_QUEUES };

/* Features; 5.1.3. Those of UDP segments are of version 1.3. */
#define VIRTIO_NET_F_CSUM       (UINT64_C(1) << 0)
#define VIRTIO_NET_F_GUEST_CSUM (UINT64_C(1) << 1)
#define VIRTIO_NET_F_MTU        (UINT64_C(1) << 3)
#define VIRTIO_NET_F_MAC        (UINT64_C(1) << 5)
#define VIRTIO_NET_F_GUEST_TSO4 (UINT64_C(1) << 7)
#define VIRTIO_NET_F_GUEST_TSO6 (UINT64_C(1) << 8)
#define VIRTIO_NET_F_GUEST_ECN  (UINT64_C(1) << 9)
#define VIRTIO_NET_F_HOST_TSO4  (UINT64_C(1) << 11)
#define VIRTIO_NET_F_HOST_TSO6  (UINT64_C(1) << 12)
#define VIRTIO_NET_F_HOST_ECN   (UINT64_C(1) << 13)
#define VIRTIO_NET_F_MRG_RXBUF  (UINT64_C(1) << 15)
#define VIRTIO_NET_F_STATUS     (UINT64_C(1) << 16)
#define VIRTIO_NET_F_GUEST_USO4 (UINT64_C(1) << 54)
#define VIRTIO_NET_F_GUEST_USO6 (UINT64_C(1) << 55)
#define VIRTIO_NET_F_HOST_USO   (UINT64_C(1) << 56)

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

/** A chain in the window. */
struct net_chain {
	uint16_t head;
	uint16_t n_iov;
	uint32_t bytes;
};

struct net_rx {
	struct rate_limiter limiter;
	struct event *readable;
	struct event *patience; /**< a timer */
	bool is_watching;       /**< the back end had nothing: `readable` is armed */
	bool is_waiting;        /**< for buffers: `patience` is armed */
	bool is_impatient;      /**< it ran out: read into what there is */
	bool is_gone;           /**< the back end */
	uint32_t frame_bytes;   /**< of a frame in the window that is not shown yet; else 0 */

	/* The window: chains that were taken out, in order. */
	uint16_t first_chain; /**< of a ring */
	uint16_t n_chains;
	uint16_t first_iov; /**< of an array */
	uint16_t n_iov;
	uint64_t bytes;
	struct net_chain chains[VIRTQ_SIZE_MAX];
	struct iovec iov[2 * VIRTQ_CHAIN_MAX + 1]; /**< room for one that is no chain's */
	uint8_t too_much;                          /**< what does not fit is read to */
};

struct net_tx {
	struct rate_limiter limiter;
	struct event *writable;
	bool is_waiting; /**< for it */
	bool is_failing; /**< the latest frame was lost, and that was logged */
	struct iovec iov[VIRTQ_CHAIN_MAX + 1];
};

struct net {
	struct virtio_dev dev;
	struct netdev *netdev;
	uint16_t mtu;
	bool is_set_up;          /**< for the driver that is ready now, and so the next three */
	bool is_mergeable;       /**< a frame may take several chains */
	uint32_t host_offloads;  /**< what the driver may leave to us */
	uint32_t guest_offloads; /**< and we to it */
	struct log_limit log_limit;
	struct metrics_net metrics; /**< for metrics_add_net() */
	struct virtq_chain chain;
	struct net_rx rx;
	struct net_tx tx;
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

/** Other limits from now on. On the I/O thread. */
__attribute__((warn_unused_result)) int net_set_limits(struct net *net,
						       const struct rate_limiter_change *rx,
						       const struct rate_limiter_change *tx,
						       struct err *err);

/** On the I/O thread, after the vCPUs have ended. Legal on a zeroed object, and twice. */
void net_deinit(struct net *net);
