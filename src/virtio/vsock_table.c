#include "virtio/vsock_table.h"

#include "util/cleanup.h"
#include "util/clock.h"
#include "util/lazy_mem.h"
#include "util/metrics.h"

#include <sys/epoll.h>
#include <sys/mman.h>

#define CONNS_BYTES (VSOCK_CONNS_MAX * sizeof(struct vsock_conn))
#define RINGS_BYTES ((size_t)VSOCK_CONNS_MAX * VSOCK_BUFFER_MAX)

/* ---- places ---- */

struct vsock_conn *vsock_table_take(struct vsock_table *table)
{
	struct vsock_conn *conn = SLIST_FIRST(&table->unused);

	if (conn != NULL)
		SLIST_REMOVE_HEAD(&table->unused, unused);
	else if (table->n_used < VSOCK_CONNS_MAX)
		conn = &table->conns[table->n_used++];
	return conn;
}

uint64_t vsock_table_token(const struct vsock_table *table, const struct vsock_conn *conn)
{
	return (uint64_t)conn->generation << 16 | (uint64_t)(conn - table->conns);
}

struct vsock_conn *vsock_table_by_token(const struct vsock_table *table, uint64_t token)
{
	uint64_t i = token & UINT16_MAX;

	if (i >= table->n_used || table->conns[i].generation != token >> 16 ||
	    table->conns[i].state == VSOCK_CONN_CLOSED)
		return NULL;
	return &table->conns[i];
}

/* ---- ports ---- */

static struct vsock_conn_bucket *bucket_of(struct vsock_table *table, uint32_t host_port,
					   uint32_t guest_port)
{
	uint32_t hash = (host_port * 31 + guest_port) * 2654435761U;

	return &table->buckets[hash >> 24];
}

struct vsock_conn *vsock_table_find(struct vsock_table *table, uint32_t host_port,
				    uint32_t guest_port)
{
	struct vsock_conn *conn;

	LIST_FOREACH(conn, bucket_of(table, host_port, guest_port), keyed)
	{
		if (conn->host_port == host_port && conn->guest_port == guest_port)
			return conn;
	}
	return NULL;
}

void vsock_table_set_ports(struct vsock_table *table, struct vsock_conn *conn, uint32_t host_port,
			   uint32_t guest_port)
{
	uint32_t size = VSOCK_SMALL_BUFFER;

	conn->host_port = host_port;
	conn->guest_port = guest_port;
	LIST_INSERT_HEAD(bucket_of(table, host_port, guest_port), conn, keyed);
	conn->is_keyed = true;
	metrics_inc(&metrics.vsock.conns_added);
	if (table->n_full < VSOCK_FULL_BUFFERS) {
		size = VSOCK_BUFFER_MAX;
		table->n_full++;
	}
	vsock_conn_set_buffer(conn, table->rings + (size_t)(conn - table->conns) * VSOCK_BUFFER_MAX,
			      size);
}

/* ---- what a connection asks for ---- */

static void set_phase(struct vsock_table *table, struct vsock_conn *conn, enum vsock_phase phase)
{
	if (phase == conn->phase)
		return;
	if (conn->phase != VSOCK_PHASE_NONE)
		TAILQ_REMOVE(&table->timed, conn, timed);
	if (conn->phase == VSOCK_PHASE_HANDSHAKE)
		table->n_handshakes--;
	if (phase == VSOCK_PHASE_HANDSHAKE)
		table->n_handshakes++;
	conn->phase = phase;
	if (phase == VSOCK_PHASE_NONE)
		return;
	conn->deadline_ms = clock_ms() + table->timeout_ms;
	TAILQ_INSERT_TAIL(&table->timed, conn, timed);
}

static void set_sending(struct vsock_table *table, struct vsock_conn *conn, bool is_sending)
{
	if (is_sending && !conn->is_sending)
		TAILQ_INSERT_TAIL(&table->sending, conn, sending);
	else if (!is_sending && conn->is_sending)
		TAILQ_REMOVE(&table->sending, conn, sending);
	conn->is_sending = is_sending;
}

struct vsock_conn *vsock_table_next_sender(struct vsock_table *table)
{
	struct vsock_conn *conn = TAILQ_FIRST(&table->sending);

	set_sending(table, conn, false);
	return conn;
}

/* \return false when the host has no memory for it */
static bool watch(struct vsock_table *table, struct vsock_conn *conn)
{
	uint32_t wanted = vsock_conn_wants(conn);
	struct epoll_event event = { .events = wanted | EPOLLONESHOT,
				     .data.u64 = vsock_table_token(table, conn) };

	/* One event too many does no harm, and is the last. */
	if ((wanted & ~conn->armed) == 0)
		return true;
	if (epoll_ctl(table->epoll_fd, conn->is_watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, conn->fd,
		      &event) != 0)
		return false;
	conn->is_watched = true;
	conn->armed = wanted;
	return true;
}

static void release(struct vsock_table *table, struct vsock_conn *conn)
{
	uint32_t generation = conn->generation + 1;

	vsock_conn_close(conn);
	set_phase(table, conn, VSOCK_PHASE_NONE);
	set_sending(table, conn, false);
	if (conn->is_keyed) {
		LIST_REMOVE(conn, keyed);
		metrics_inc(&metrics.vsock.conns_removed);
	}
	if (conn->buf_alloc == VSOCK_BUFFER_MAX)
		table->n_full--;
	*conn = (struct vsock_conn){ .fd = -1, .generation = generation };
	SLIST_INSERT_HEAD(&table->unused, conn, unused);
}

void vsock_table_settle(struct vsock_table *table, struct vsock_conn *conn)
{
	if (!watch(table, conn)) {
		metrics_inc(&metrics.vsock.conn_event_fails);
		vsock_conn_abort(conn);
	}
	if (conn->state == VSOCK_CONN_CLOSED) {
		release(table, conn);
		return;
	}
	set_phase(table, conn, vsock_conn_phase(conn));
	set_sending(table, conn, conn->pending != 0);
}

void vsock_table_time_out(struct vsock_table *table, uint64_t now_ms)
{
	struct vsock_conn *conn;

	/* None of them has a phase afterwards: the list ends. */
	while ((conn = TAILQ_FIRST(&table->timed)) != NULL && conn->deadline_ms <= now_ms) {
		metrics_inc(&metrics.vsock.conns_killed);
		vsock_conn_abort(conn);
		vsock_table_settle(table, conn);
	}
}

void vsock_table_clear(struct vsock_table *table)
{
	for (unsigned int i = 0; i < table->n_used; i++) {
		if (table->conns[i].state != VSOCK_CONN_CLOSED)
			release(table, &table->conns[i]);
	}
}

/* ---- beginning and end ---- */

int vsock_table_init(struct vsock_table *table, unsigned int timeout_ms, struct err *err)
{
	table->timeout_ms = timeout_ms;
	SLIST_INIT(&table->unused);
	TAILQ_INIT(&table->sending);
	TAILQ_INIT(&table->timed);
	table->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (table->epoll_fd < 0)
		return err_sys(err, "make an epoll set");
	table->conns = lazy_mem_map(CONNS_BYTES);
	table->rings = lazy_mem_map(RINGS_BYTES);
	if (table->conns == NULL || table->rings == NULL)
		return err_sys(err, "map the table of connections");
	return 0;
}

void vsock_table_deinit(struct vsock_table *table)
{
	if (table->conns != NULL && table->rings != NULL)
		vsock_table_clear(table);
	if (table->rings != NULL)
		munmap(table->rings, RINGS_BYTES);
	if (table->conns != NULL)
		munmap(table->conns, CONNS_BYTES);
	table->rings = NULL;
	table->conns = NULL;
	table->n_used = 0;
	close_fd(&table->epoll_fd);
}
