/*
 * The connections of a socket device: places for VSOCK_CONNS_MAX of them, found by their ports or
 * by a token, and what they ask for after anything has happened to them (vsock_table_settle()):
 * they are put into the list of those that have packets to send, into the epoll set, under a timer,
 * or out of the table.
 *
 * Sockets are watched by an epoll set of the table's own, which is itself one event of the loop: so
 * a connection costs no memory there, and each event is asked for once (EPOLLONESHOT) and again
 * when it can be served: nothing that cannot go on makes the loop spin.
 *
 * An event, and an answer that others give later, name their connection by its token: the number of
 * its place and how often that has been used. One that comes late finds nobody.
 *
 * Not locked: the device's lock covers its table.
 */
#pragma once

#include "util/err.h"
#include "virtio/vsock_conn.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	VSOCK_CONNS_MAX = 1023,
	VSOCK_FULL_BUFFERS = 46, /**< connections with VSOCK_BUFFER_MAX; others have a page */
	VSOCK_SMALL_BUFFER = 4096,
	VSOCK_BUCKETS = 256,
};

TAILQ_HEAD(vsock_conn_list, vsock_conn);
LIST_HEAD(vsock_conn_bucket, vsock_conn);
SLIST_HEAD(vsock_conn_stack, vsock_conn);

struct vsock_table {
	int epoll_fd; /**< data.u64 of a connection's event is its token */
	unsigned int timeout_ms;
	/* The two arrays are mappings: untouched places cost nothing. */
	struct vsock_conn *conns; /**< VSOCK_CONNS_MAX */
	uint8_t *rings;           /**< VSOCK_BUFFER_MAX for each of them */
	unsigned int n_used;      /**< places that have ever been used */
	unsigned int n_full;      /**< connections with a full buffer */
	unsigned int n_handshakes;
	struct vsock_conn_stack unused; /**< those of the n_used that are free */
	struct vsock_conn_list sending;
	struct vsock_conn_list timed; /**< by deadline: all have the same time */
	struct vsock_conn_bucket buckets[VSOCK_BUCKETS];
};

/**
 * \param table zeroed storage. When this fails, vsock_table_deinit() is still due
 * \param timeout_ms how long each phase of a connection may last
 */
__attribute__((warn_unused_result)) int vsock_table_init(struct vsock_table *table,
							 unsigned int timeout_ms, struct err *err);

/** Closes all connections. Legal after a failed init, and twice. */
void vsock_table_deinit(struct vsock_table *table);

/**
 * A place for a new connection, to be made something of and settled before the next is asked for.
 * \return all zero but for its generation; NULL when all are used
 */
struct vsock_conn *vsock_table_take(struct vsock_table *table);

/** Give a connection the ports that packets find it by, and its share of memory. */
void vsock_table_set_ports(struct vsock_table *table, struct vsock_conn *conn, uint32_t host_port,
			   uint32_t guest_port);

/** \return NULL when there is none */
struct vsock_conn *vsock_table_find(struct vsock_table *table, uint32_t host_port,
				    uint32_t guest_port);

/** \return a name for the connection that no later one has; never UINT64_MAX */
uint64_t vsock_table_token(const struct vsock_table *table, const struct vsock_conn *conn);

/** \param token of whatever origin \return NULL when it has gone */
struct vsock_conn *vsock_table_by_token(const struct vsock_table *table, uint64_t token);

/** After anything has happened to a connection. It may be gone afterwards. */
void vsock_table_settle(struct vsock_table *table, struct vsock_conn *conn);

/**
 * The connection whose turn it is to send a packet, taken out of its list: settled again, it stands
 * behind all others if it has more.
 */
struct vsock_conn *vsock_table_next_sender(struct vsock_table *table);

/** End the connections whose time is over, and settle them. \param now_ms of clock_ms() */
void vsock_table_time_out(struct vsock_table *table, uint64_t now_ms);

/** Close all connections, without a word to the guest. */
void vsock_table_clear(struct vsock_table *table);
