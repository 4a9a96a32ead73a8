/*
 * The socket device (virtio 1.2, section 5.10): stream sockets between the guest and programs of
 * the host, which see Unix sockets, by Firecracker's protocol.
 *
 * - A program of the host's connects to `uds_path`, writes "CONNECT 52\n" and is connected to what
 *   listens on port 52 in the guest. When that has accepted, "OK 1073741824\n" comes back with the
 *   port that it has on the host's side, then the guest's bytes. When nobody listens, the socket is
 *   just closed.
 * - A program of the guest's connects to port 52 of CID 2, and is connected to what listens on the
 *   Unix socket `uds_path`_52. The name is made of the number alone.
 *
 * Each connection is a struct vsock_conn, with a place in a struct vsock_table, which also does
 * what it asks for after anything has happened to it. This file takes packets from the guest and
 * clients from the host and brings them to their connections; vsock_rx.h has what goes to the
 * guest.
 *
 * What is bounded, and by us: connections (VSOCK_CONNS_MAX, and by the descriptors that the process
 * may have, of which some are left for others), clients that have not said yet what
 * they want (VSOCK_HANDSHAKES_MAX; more wait in the listener's queue), bytes from the guest that a
 * host program does not read (VSOCK_FULL_BUFFERS connections get 256 KiB, later ones a page), RSTs
 * for connections that never were (VSOCK_RESETS_MAX; while they are that many, the guest's packets
 * wait in its queue).
 *
 * All work is done on the I/O thread under the device's lock; only `reset`, which closes all, is
 * called on a vCPU's.
 */
#pragma once

#include "backend/unix_listener.h"
#include "virtio/device.h"
#include "virtio/vsock_rx.h"
#include "virtio/vsock_table.h"

enum {
	VSOCK_HANDSHAKES_MAX = 16,
	VSOCK_TIMEOUT_MS = 2000,
};

enum vsock_queue { VSOCK_RX, VSOCK_TX, VSOCK_EVENT, VSOCK_N_QUEUES };

/**
 * How to reach what listens on the host for \p port. The I/O thread calls it and must not wait.
 * \param token names the connection for vsock_connect_done()
 * \return a connected stream socket, given away; -EINPROGRESS when vsock_connect_done() will tell;
 * another negative errno when there is nobody
 */
typedef int vsock_connect_fn(void *ctx, uint32_t port, uint64_t token);

struct vsock_config {
	const char *id;     /**< borrowed */
	uint64_t guest_cid; /**< 3 to 2^32 - 1 */
	const char *uds_path;
	struct unix_listener *listener; /**< at `uds_path`, taken over; NULL: it is made */
	unsigned int timeout_ms;   /**< of handshake, connecting and closing; 0: VSOCK_TIMEOUT_MS */
	vsock_connect_fn *connect; /**< NULL: to `uds_path`_PORT, from this process */
	void *connect_ctx;
};

struct vsock {
	struct virtio_dev dev;

	/* Set by vsock_init(), constant afterwards. */
	uint64_t guest_cid;
	int fd_limit; /**< no connection has a descriptor from here on */
	vsock_connect_fn *connect;
	void *connect_ctx;
	struct unix_listener listener;
	struct event *epoll_event; /**< of the table's epoll set */
	struct event *timer_event;

	/* Under dev.lock. */
	struct vsock_table table;
	uint32_t next_port;
	uint64_t timer_ms;        /**< when the timer will ring; 0: it is not set */
	uint64_t accept_after_ms; /**< the host had no descriptors left; 0: it has */
	bool is_listening;        /**< the next client is an event */
	bool is_tx_held;          /**< until there is room for resets */
	bool has_told_accept;     /**< logged once */
	bool has_told_connect;
	struct virtq_chain tx_chain;
	struct vsock_rx rx;
};

/**
 * Listen on the Unix socket and make the device. virtio_dev_start() is the caller's to call.
 * \param vsock zeroed storage. When this fails, vsock_deinit() is still due
 * \param mem borrowed, as are \p base and what \p irq points to
 */
__attribute__((warn_unused_result)) int vsock_init(struct vsock *vsock,
						   const struct vsock_config *config,
						   const struct guest_mem *mem,
						   const struct irq_line *irq,
						   struct event_base *base, struct err *err);

/**
 * What a connect function has promised by -EINPROGRESS. A connection that has gone in the meantime
 * is no error. On the I/O thread, lock not held.
 * \param fd taken over; negative when there is nobody
 */
void vsock_connect_done(struct vsock *vsock, uint64_t token, int fd);

/**
 * Close all connections and tell the guest that they are lost, before it gets anything else
 * (5.10.6.7): after its state has been restored from a snapshot. Listening goes on, on both sides.
 * On the I/O thread, lock not held.
 */
void vsock_transport_reset(struct vsock *vsock);

/** On the I/O thread, after the vCPUs have ended. Legal on a zeroed object, and twice. */
void vsock_deinit(struct vsock *vsock);
