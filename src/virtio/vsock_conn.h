/*
 * One connection of the socket device (virtio 1.2, section 5.10.6): a socket of the host's on one
 * side, packets to and from the guest on the other.
 *
 *	HANDSHAKE ── "CONNECT port\n" ──> REQUESTED ── RESPONSE ──> ESTABLISHED
 *	a client of the host's            REQUEST sent              bytes pass
 *	                                                                 ^
 *	CONNECTING ── the host's server has taken the connection ────────┘
 *	the guest's REQUEST has come
 *
 * From any of them: ABORTED, where the socket is closed and the guest's RST remains to be sent, or
 * CLOSED at once when the guest knows already.
 *
 * Guest to host. Bytes go from the guest's buffers into the socket. What the socket does not take
 * waits in a ring of `buf_alloc` bytes, which is the credit that the guest is given (5.10.6.3); one
 * that sends more is cut off. The ring's memory is there only while bytes are in it.
 *
 * Host to guest. Bytes are read from the socket straight into buffers of the guest's, never more
 * than its credit allows; nothing is kept here. What the guest says of its credit is therefore free
 * to be nonsense: it decides how much is read at a time, no more. All counts are modulo 2^32.
 *
 * Functions here change the connection and never wait. What its owner has to do afterwards it asks
 * for: `pending` (packets to send), vsock_conn_wants() (events of the socket), vsock_conn_phase()
 * (is a timer to run) and `state`.
 *
 * Not locked: the device's lock covers its connections.
 */
#pragma once

#include "virtio/virtq.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

enum {
	VSOCK_HOST_CID = 2,
	/** the most bytes of a packet to the guest, and of one read of a socket */
	VSOCK_DATA_MAX = 65536,
	/** the most that we keep for a host that does not read, and so what a guest may send at
	   once: as Linux's own sockets of this kind have */
	VSOCK_BUFFER_MAX = 4 * VSOCK_DATA_MAX,
	/** buffers of the guest that one read may fill: VSOCK_DATA_MAX and more in Linux's, which
	   have 4 KiB less its bookkeeping */
	VSOCK_BATCH_MAX = 20,
	/** "CONNECT 4294967295\n" with spaces to spare */
	VSOCK_LINE_MAX = 32,
};

/* 5.10.6 */
enum vsock_type { VSOCK_TYPE_STREAM = 1 };

enum vsock_op {
	VSOCK_OP_REQUEST = 1,
	VSOCK_OP_RESPONSE = 2,
	VSOCK_OP_RST = 3,
	VSOCK_OP_SHUTDOWN = 4,
	VSOCK_OP_RW = 5,
	VSOCK_OP_CREDIT_UPDATE = 6,
	VSOCK_OP_CREDIT_REQUEST = 7,
};

/* What the sender of a SHUTDOWN does no more; 5.10.6.5 */
enum vsock_shutdown {
	VSOCK_SHUTDOWN_RECEIVE = 1,
	VSOCK_SHUTDOWN_SEND = 2,
	VSOCK_SHUTDOWN_BOTH = 3,
};

struct vsock_hdr {
	uint64_t src_cid;
	uint64_t dst_cid;
	uint32_t src_port;
	uint32_t dst_port;
	uint32_t len;
	uint16_t type;
	uint16_t op;
	uint32_t flags;
	uint32_t buf_alloc;
	uint32_t fwd_cnt;
} __attribute__((packed, aligned(4)));
static_assert(sizeof(struct vsock_hdr) == 44, "as the specification has it");

enum vsock_conn_state {
	VSOCK_CONN_CLOSED, /**< nothing is left: its place may be used again */
	VSOCK_CONN_HANDSHAKE,
	VSOCK_CONN_CONNECTING,
	VSOCK_CONN_REQUESTED,
	VSOCK_CONN_ESTABLISHED,
	VSOCK_CONN_ABORTED,
};

/** What must not last: each has the same time. */
enum vsock_phase {
	VSOCK_PHASE_NONE,
	VSOCK_PHASE_HANDSHAKE,
	VSOCK_PHASE_CONNECTING,
	VSOCK_PHASE_REQUESTED,
	VSOCK_PHASE_CLOSING,
};

enum vsock_line { VSOCK_LINE_MORE, VSOCK_LINE_DONE, VSOCK_LINE_BAD };

struct vsock_conn {
	int fd; /**< owned; valid in HANDSHAKE, REQUESTED and ESTABLISHED, -1 elsewhere */
	enum vsock_conn_state state;
	uint32_t host_port;
	uint32_t guest_port;
	uint8_t pending; /**< a bit 1 << op for each packet to be sent */
	uint8_t guest_shutdown;
	uint8_t host_shutdown;
	uint8_t done_shutdown; /**< of the guest's, what the host's side has been told */

	/* guest to host */
	uint32_t buf_alloc;
	uint32_t fwd_cnt;  /**< bytes that the socket has taken */
	uint32_t told_cnt; /**< fwd_cnt as the guest knows it */
	uint32_t ring_start;
	uint32_t ring_used;
	uint8_t *ring; /**< buf_alloc bytes, whole pages; the owner's */

	/* host to guest */
	uint32_t peer_buf_alloc;
	uint32_t peer_fwd_cnt;
	uint32_t tx_cnt;
	uint32_t source; /**< where its next byte lies in the kernel's memory, modulo 8 */

	char line[VSOCK_LINE_MAX];
	uint8_t n_line;

	/* The owner's. */
	enum vsock_phase phase; /**< the timer that runs */
	bool is_sending;        /**< in the list of those that have packets to send */
	bool is_keyed;          /**< can be found by its ports */
	bool is_watched;        /**< in the epoll set */
	uint32_t armed;         /**< events that are still to come there */
	uint32_t generation;    /**< how often its place has been used */
	uint64_t deadline_ms;
	TAILQ_ENTRY(vsock_conn) sending;
	TAILQ_ENTRY(vsock_conn) timed;
	LIST_ENTRY(vsock_conn) keyed;
	SLIST_ENTRY(vsock_conn) unused;
};

/** A client of the host's has come: HANDSHAKE. \param fd taken over */
void vsock_conn_take_client(struct vsock_conn *conn, int fd);

/** Read on in the client's first line, and no byte more. \param port set by VSOCK_LINE_DONE */
__attribute__((warn_unused_result)) enum vsock_line vsock_conn_read_line(struct vsock_conn *conn,
									 uint32_t *port);

/**
 * The connection is for real: what it may keep for a host that does not read.
 * \param ring \p size bytes, whole pages; stays the caller's
 */
void vsock_conn_set_buffer(struct vsock_conn *conn, uint8_t *ring, uint32_t size);

/** The client's line is right: ask the guest. Ports and ring are set. */
void vsock_conn_request(struct vsock_conn *conn);

/** The guest's REQUEST: CONNECTING. Ports and ring are set. */
void vsock_conn_begin(struct vsock_conn *conn, const struct vsock_hdr *hdr);

/** The host's server answered. \param fd taken over; negative: there is none */
void vsock_conn_take_server(struct vsock_conn *conn, int fd);

/**
 * A packet from the guest.
 * \param hdr a copy of its header; its ports are the connection's
 * \param chain with the data behind the header; its buffers are changed
 */
void vsock_conn_receive(struct vsock_conn *conn, const struct vsock_hdr *hdr,
			struct virtq_chain *chain);

/**
 * Make the most urgent of the pending packets.
 * \param chain with room for more than a header
 * \param scratch room for VIRTQ_CHAIN_MAX
 * \return its length; 0 when there is none after all
 */
__attribute__((warn_unused_result)) uint32_t vsock_conn_send(struct vsock_conn *conn,
							     uint64_t guest_cid,
							     const struct virtq_chain *chain,
							     struct iovec *scratch);

/** Buffers of the guest that have been taken out and wait to be filled; each in one piece. */
struct vsock_batch {
	unsigned int n;
	uint32_t room; /**< of all, behind the headers */
	struct vsock_batch_buffer {
		uint16_t head;
		uint8_t *hdr;
		uint32_t room;
		uint32_t len; /**< of the data in its packet, when that is made */
	} buffers[VSOCK_BATCH_MAX];
};

/** \return how many bytes may be read for the guest now; 0 when another packet comes first */
uint32_t vsock_conn_data_wanted(const struct vsock_conn *conn);

/**
 * Read from the socket, no more than is wanted, and make packets of it.
 * \return how many there are, from the first buffer on
 */
__attribute__((warn_unused_result)) unsigned int vsock_conn_send_batch(struct vsock_conn *conn,
								       uint64_t guest_cid,
								       struct vsock_batch *batch);

/** The socket of an established connection is ready. \param events of epoll */
void vsock_conn_on_socket(struct vsock_conn *conn, uint32_t events);

/** \return the events of epoll to wait for, each once; 0 for none */
uint32_t vsock_conn_wants(const struct vsock_conn *conn);

enum vsock_phase vsock_conn_phase(const struct vsock_conn *conn);

/** End it, and tell the guest if it knows of it. */
void vsock_conn_abort(struct vsock_conn *conn);

/** End it without a word to the guest. */
void vsock_conn_close(struct vsock_conn *conn);
