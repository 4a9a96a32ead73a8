/*
 * What a socket device sends to its guest: an event first, if one is due; RSTs for what is no
 * connection; then the packets of connections, which take turns.
 *
 * Nothing is kept of what flows to the guest: while it gives no buffers, bytes stay in the host's
 * sockets. A turn is one packet, or as many buffers of data as one read of the socket fills. How
 * many it will fill nobody knows before; those that it does not are kept for what comes next.
 *
 * All on the I/O thread with the device's lock held, but for vsock_rx_clear() and
 * vsock_rx_reset().
 */
#pragma once

#include "virtio/virtq.h"
#include "virtio/vsock_conn.h"

#include <stdbool.h>
#include <stdint.h>

struct vsock;

enum { VSOCK_RESETS_MAX = 256 };

/** An RST for what is no connection. */
struct vsock_reset {
	uint32_t host_port;
	uint32_t guest_port;
	uint16_t type;
};

struct vsock_rx {
	bool is_event_due; /**< TRANSPORT_RESET is to be told before anything else */
	unsigned int first_reset;
	unsigned int n_resets;
	struct vsock_reset resets[VSOCK_RESETS_MAX];
	struct virtq_chain chain;
	struct vsock_batch batch;
	struct iovec scratch[VIRTQ_CHAIN_MAX];
};

/** Is there room for one more RST? */
bool vsock_rx_has_room(const struct vsock_rx *rx);

/** Answer a packet that is for no connection. There is room. \param hdr of the packet */
void vsock_rx_add_reset(struct vsock_rx *rx, const struct vsock_hdr *hdr);

/**
 * Fill buffers of the guest's, as far as there are any and there is anything for them, within the
 * budget. The driver is not told yet.
 */
void vsock_rx_fill(struct vsock *vsock);

/** Forget what was to be sent. Any thread, lock held. */
void vsock_rx_clear(struct vsock_rx *rx);

/** The queues are reset: forget their buffers, too. Any thread, lock held. */
void vsock_rx_reset(struct vsock_rx *rx);
