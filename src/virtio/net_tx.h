/*
 * The sending half of a network device (net.h): from the driver's queue to the back end.
 *
 * A chain is a header and a frame. The header is copied, judged (net_header.h), cut down to what
 * the driver negotiated and the back end has, and sent from our copy; the frame goes out of guest
 * memory as it lies. What is no frame, or has a header that cannot be, is dropped and counted:
 * nothing that the driver did not negotiate, and no offset outside the frame, reaches the host's
 * network stack. When the back end has no room, the chain is put back and the queue rests until
 * there is. Frames for a back end that has gone are dropped.
 *
 * All on the I/O thread with the device's lock held.
 */
#pragma once

#include "backend/rate_limiter.h"
#include "virtio/virtq.h"

#include <stdbool.h>
#include <stdint.h>

struct event;
struct event_base;
struct net;

struct net_tx {
	struct rate_limiter limiter;
	struct event *writable;
	bool is_waiting;   /**< for it */
	bool is_failing;   /**< the latest frame was lost, and that was logged */
	uint32_t offloads; /**< what this driver may leave to us */
	struct iovec iov[VIRTQ_CHAIN_MAX + 1];
};

/**
 * \param net whose `netdev` is set; its `tx` is zeroed
 * \return 0; -EINVAL for a limit that cannot be; -ENOMEM
 */
__attribute__((warn_unused_result)) int net_tx_init(struct net *net,
						    const struct rate_limiter_config *limit,
						    struct event_base *base, struct err *err);

/** A driver is ready: its features are negotiated. */
void net_tx_begin(struct net *net);

/** After a kick, or when the back end or the limit has room. \return true when there may be more */
__attribute__((warn_unused_result)) bool net_tx_process(struct net *net);

/** Legal on a zeroed object, and twice. */
void net_tx_deinit(struct net *net);
