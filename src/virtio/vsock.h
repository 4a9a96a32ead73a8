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
 * Each connection is a struct vsock_conn. This file has the queues, finds the connection that a
 * packet belongs to, and does what connections ask for after anything has happened to them
 * (settle()): puts them into the list of those that have packets to send, into the epoll set, runs
 * their timers, or frees their place.
 *
 * What is bounded, and by us: connections (VSOCK_CONNS_MAX), clients that have not said yet what
 * they want (VSOCK_HANDSHAKES_MAX; more wait in the listener's queue), bytes from the guest that a
 * host program does not read (VSOCK_FULL_BUFFERS connections get 64 KiB, later ones a page), RSTs
 * for connections that never were (VSOCK_RESETS_MAX; while they are that many, the guest's packets
 * wait in its queue). Nothing is kept of what flows to the guest: while it gives no buffers, bytes
 * stay in the host's sockets. Connections take turns, one packet each.
 *
 * Sockets are watched by an epoll set of the device's own, which is itself one event of the loop:
 * so a connection costs no memory there, and each event is asked for once (EPOLLONESHOT) and again
 * when it can be served: nothing that cannot go on makes the loop spin.
 *
 * All work is done on the I/O thread under the device's lock; only `reset`, which closes all, is
 * called on a vCPU's.
 */
#pragma once

#include "backend/unix_listener.h"
#include "virtio/device.h"
#include "virtio/vsock_conn.h"

enum {
	VSOCK_CONNS_MAX = 1023,
	VSOCK_HANDSHAKES_MAX = 16,
	VSOCK_FULL_BUFFERS = 192,
	VSOCK_SMALL_BUFFER = 4096,
	VSOCK_RESETS_MAX = 256,
	VSOCK_BUCKETS = 256,
	VSOCK_TIMEOUT_MS = 2000,
	VSOCK_SCRATCH = VIRTQ_CHAIN_MAX,
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

/** An RST for what is no connection. */
struct vsock_reset {
	uint32_t host_port;
	uint32_t guest_port;
	uint16_t type;
};

TAILQ_HEAD(vsock_conn_list, vsock_conn);
LIST_HEAD(vsock_conn_bucket, vsock_conn);
SLIST_HEAD(vsock_conn_stack, vsock_conn);

struct vsock {
	struct virtio_dev dev;

	/* Set by vsock_init(), constant afterwards. */
	uint64_t guest_cid;
	unsigned int timeout_ms;
	vsock_connect_fn *connect;
	void *connect_ctx;
	struct unix_listener listener;
	int epoll_fd;
	struct event *epoll_event;
	struct event *timer_event;

	/* Under dev.lock. The two arrays are mappings: untouched places cost nothing. */
	struct vsock_conn *conns; /**< VSOCK_CONNS_MAX */
	uint8_t *rings;           /**< VSOCK_DATA_MAX for each of them */
	unsigned int n_used;      /**< places that have ever been used */
	unsigned int n_full;      /**< connections with a full buffer */
	unsigned int n_handshakes;
	struct vsock_conn_stack unused; /**< those of the n_used that are free */
	struct vsock_conn_list sending;
	struct vsock_conn_list timed; /**< by deadline: all have the same time */
	struct vsock_conn_bucket buckets[VSOCK_BUCKETS];
	uint32_t next_port;
	uint64_t timer_ms;        /**< when the timer will ring; 0: it is not set */
	uint64_t accept_after_ms; /**< the host had no descriptors left; 0: it has */
	bool is_listening;        /**< the next client is an event */
	bool is_tx_held;          /**< until there is room for resets */
	bool is_event_due;        /**< TRANSPORT_RESET is to be told before anything else */
	bool has_told_accept;     /**< logged once */
	bool has_told_connect;
	unsigned int first_reset;
	unsigned int n_resets;
	struct vsock_reset resets[VSOCK_RESETS_MAX];
	struct virtq_chain rx_chain;
	struct virtq_chain tx_chain;
	struct iovec scratch[VSOCK_SCRATCH];
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
