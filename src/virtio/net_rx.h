/*
 * The receiving half of a network device (net.h): from the back end into the driver's buffers.
 *
 * Frames are read straight into the driver's buffers, whose size does not depend on the frame's. So
 * buffers are taken out ahead, into a window: enough for the largest frame, or one chain when the
 * driver did not negotiate VIRTIO_NET_F_MRG_RXBUF. A frame uses up the first chains of the window
 * and is shown to the driver whole. Where the buffers do not suffice nothing is read and the back
 * end is not watched: the driver's next kick goes on. A driver whose whole ring is smaller than the
 * largest frame never makes the window full; after a little patience it gets what fits, and larger
 * frames are dropped. A frame that the rate limiter holds back waits in the window.
 *
 * A back end that has gone is not watched any more; the driver sees the link go down.
 *
 * All on the I/O thread with the device's lock held, but for net_rx_reset().
 */
#pragma once

#include "backend/rate_limiter.h"
#include "virtio/virtq.h"

#include <stdbool.h>
#include <stdint.h>

struct event;
struct event_base;
struct net;

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
	bool is_mergeable;      /**< a frame may take several chains */
	uint32_t offloads;      /**< what we may leave to this driver */
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

/**
 * \param net whose `netdev` is set; its `rx` is zeroed
 * \return 0; -EINVAL for a limit that cannot be; -ENOMEM
 */
__attribute__((warn_unused_result)) int net_rx_init(struct net *net,
						    const struct rate_limiter_config *limit,
						    struct event_base *base, struct err *err);

/** A driver is ready: its features are negotiated, and no frame has been read for it. */
void net_rx_begin(struct net *net);

/** After a kick, or when there may be frames or buffers. \return true when there may be more */
__attribute__((warn_unused_result)) bool net_rx_process(struct net *net);

/**
 * Forget the driver's buffers. On a vCPU thread, lock held: what belongs to the loop sees by itself
 * that nobody is there.
 */
void net_rx_reset(struct net *net);

/** Legal on a zeroed object, and twice. */
void net_rx_deinit(struct net *net);
