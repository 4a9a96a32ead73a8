#include "virtio/vsock.h"

#include "util/assert.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/lazy_mem.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>

enum {
	GUEST_CID_MIN = 3,
	EVENT_TRANSPORT_RESET = 0, /* 5.10.6.7 */
	EVENT_BYTES = 4,
	EVENTS_AT_ONCE = 64,
	/** how long no client is accepted when the host has no descriptors left */
	ACCEPT_PAUSE_MS = 100,
};

/* Firecracker's: port numbers of the host's clients. */
#define HOST_PORT_MIN (UINT32_C(1) << 30)
#define HOST_PORT_MAX (UINT32_MAX >> 1)

/* In the place of a connection's token. */
#define LISTENER_TOKEN UINT64_MAX

#define CONNS_BYTES (VSOCK_CONNS_MAX * sizeof(struct vsock_conn))
#define RINGS_BYTES ((size_t)VSOCK_CONNS_MAX * VSOCK_BUFFER_MAX)

static struct vsock *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct vsock, dev);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- the table of connections ---- */

static struct vsock_conn_bucket *bucket_of(struct vsock *vsock, uint32_t host_port,
					   uint32_t guest_port)
{
	uint32_t hash = (host_port * 31 + guest_port) * 2654435761U;

	return &vsock->buckets[hash >> 24];
}

static struct vsock_conn *find_conn(struct vsock *vsock, uint32_t host_port, uint32_t guest_port)
{
	struct vsock_conn *conn;

	LIST_FOREACH(conn, bucket_of(vsock, host_port, guest_port), keyed)
	{
		if (conn->host_port == host_port && conn->guest_port == guest_port)
			return conn;
	}
	return NULL;
}

/* \return a place for a new connection, all zero but for its generation; NULL when all are used */
static struct vsock_conn *take_place(struct vsock *vsock)
{
	struct vsock_conn *conn = SLIST_FIRST(&vsock->unused);

	if (conn != NULL)
		SLIST_REMOVE_HEAD(&vsock->unused, unused);
	else if (vsock->n_used < VSOCK_CONNS_MAX)
		conn = &vsock->conns[vsock->n_used++];
	return conn;
}

/* The number of its place, and how often that has been used: no later one is taken for it. */
static uint64_t token_of(const struct vsock *vsock, const struct vsock_conn *conn)
{
	return (uint64_t)conn->generation << 16 | (uint64_t)(conn - vsock->conns);
}

static struct vsock_conn *conn_of(const struct vsock *vsock, uint64_t token)
{
	uint64_t i = token & UINT16_MAX;

	if (i >= vsock->n_used || vsock->conns[i].generation != token >> 16 ||
	    vsock->conns[i].state == VSOCK_CONN_CLOSED)
		return NULL;
	return &vsock->conns[i];
}

/* Give it the ports that packets find it by, and its share of memory. */
static void set_ports(struct vsock *vsock, struct vsock_conn *conn, uint32_t host_port,
		      uint32_t guest_port)
{
	conn->host_port = host_port;
	conn->guest_port = guest_port;
	LIST_INSERT_HEAD(bucket_of(vsock, host_port, guest_port), conn, keyed);
	conn->is_keyed = true;
	metrics_inc(&metrics.vsock.conns_added);
	conn->ring = vsock->rings + (size_t)(conn - vsock->conns) * VSOCK_BUFFER_MAX;
	conn->buf_alloc = VSOCK_SMALL_BUFFER;
	if (vsock->n_full < VSOCK_FULL_BUFFERS) {
		conn->buf_alloc = VSOCK_BUFFER_MAX;
		vsock->n_full++;
	}
}

/* ---- what a connection asks for ---- */

static void set_phase(struct vsock *vsock, struct vsock_conn *conn, enum vsock_phase phase)
{
	if (phase == conn->phase)
		return;
	if (conn->phase != VSOCK_PHASE_NONE)
		TAILQ_REMOVE(&vsock->timed, conn, timed);
	if (conn->phase == VSOCK_PHASE_HANDSHAKE)
		vsock->n_handshakes--;
	if (phase == VSOCK_PHASE_HANDSHAKE)
		vsock->n_handshakes++;
	conn->phase = phase;
	if (phase == VSOCK_PHASE_NONE)
		return;
	conn->deadline_ms = now_ms() + vsock->timeout_ms;
	TAILQ_INSERT_TAIL(&vsock->timed, conn, timed);
}

static void set_sending(struct vsock *vsock, struct vsock_conn *conn, bool is_sending)
{
	if (is_sending && !conn->is_sending)
		TAILQ_INSERT_TAIL(&vsock->sending, conn, sending);
	else if (!is_sending && conn->is_sending)
		TAILQ_REMOVE(&vsock->sending, conn, sending);
	conn->is_sending = is_sending;
}

/* \return false when the host has no memory for it */
static bool watch(struct vsock *vsock, struct vsock_conn *conn)
{
	uint32_t wanted = vsock_conn_wants(conn);
	struct epoll_event event = { .events = wanted | EPOLLONESHOT,
				     .data.u64 = token_of(vsock, conn) };

	/* One event too many does no harm, and is the last. */
	if ((wanted & ~conn->armed) == 0)
		return true;
	if (epoll_ctl(vsock->epoll_fd, conn->is_watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, conn->fd,
		      &event) != 0)
		return false;
	conn->is_watched = true;
	conn->armed = wanted;
	return true;
}

static void release(struct vsock *vsock, struct vsock_conn *conn)
{
	uint32_t generation = conn->generation + 1;

	vsock_conn_close(conn);
	set_phase(vsock, conn, VSOCK_PHASE_NONE);
	set_sending(vsock, conn, false);
	if (conn->is_keyed) {
		LIST_REMOVE(conn, keyed);
		metrics_inc(&metrics.vsock.conns_removed);
	}
	if (conn->buf_alloc == VSOCK_BUFFER_MAX)
		vsock->n_full--;
	*conn = (struct vsock_conn){ .fd = -1, .generation = generation };
	SLIST_INSERT_HEAD(&vsock->unused, conn, unused);
}

/* After anything has happened to a connection. It may be gone afterwards. */
static void settle(struct vsock *vsock, struct vsock_conn *conn)
{
	if (!watch(vsock, conn)) {
		metrics_inc(&metrics.vsock.conn_event_fails);
		vsock_conn_abort(conn);
	}
	if (conn->state == VSOCK_CONN_CLOSED) {
		release(vsock, conn);
		return;
	}
	set_phase(vsock, conn, vsock_conn_phase(conn));
	set_sending(vsock, conn, conn->pending != 0);
}

static void drop_all(struct vsock *vsock)
{
	for (unsigned int i = 0; i < vsock->n_used; i++) {
		if (vsock->conns[i].state != VSOCK_CONN_CLOSED)
			release(vsock, &vsock->conns[i]);
	}
	vsock->n_resets = 0;
	vsock->is_tx_held = false;
	vsock->is_event_due = false;
}

/* ---- guest to host ---- */

static void add_reset(struct vsock *vsock, const struct vsock_hdr *hdr)
{
	unsigned int at = (vsock->first_reset + vsock->n_resets) % VSOCK_RESETS_MAX;

	ASSERT(vsock->n_resets < VSOCK_RESETS_MAX); /* process_tx() looks before */
	vsock->resets[at] = (struct vsock_reset){
		.host_port = hdr->dst_port,
		.guest_port = hdr->src_port,
		.type = hdr->type,
	};
	vsock->n_resets++;
}

/* The guest's REQUEST. */
static void connect_guest(struct vsock *vsock, const struct vsock_hdr *hdr)
{
	struct vsock_conn *conn = take_place(vsock);
	int fd;

	if (conn == NULL) {
		add_reset(vsock, hdr);
		return;
	}
	set_ports(vsock, conn, hdr->dst_port, hdr->src_port);
	vsock_conn_begin(conn, hdr);
	fd = vsock->connect(vsock->connect_ctx, hdr->dst_port, token_of(vsock, conn));
	if (fd < 0 && fd != -EINPROGRESS && !vsock->has_told_connect) {
		log_info("vsock '%s': the guest asked for port %" PRIu32
			 ", which nobody listens on here (%s); later ones are not logged",
			 vsock->dev.id, hdr->dst_port, strerror(-fd));
		vsock->has_told_connect = true;
	}
	if (fd != -EINPROGRESS)
		vsock_conn_take_server(conn, fd);
	settle(vsock, conn);
}

static void receive(struct vsock *vsock, struct virtq_chain *chain)
{
	struct vsock_hdr hdr;
	struct vsock_conn *conn;

	if (virtq_chain_read(chain, 0, &hdr, sizeof(hdr)) != sizeof(hdr)) {
		metrics_inc(&metrics.vsock.tx_queue_event_fails);
		virtio_dev_break(&vsock->dev, "its driver sent a packet without a whole header");
		return;
	}
	if (hdr.src_cid != vsock->guest_cid || hdr.dst_cid != VSOCK_HOST_CID)
		return; /* from or to nobody: there is no address to answer from */
	conn = hdr.type == VSOCK_TYPE_STREAM ? find_conn(vsock, hdr.dst_port, hdr.src_port) : NULL;
	if (conn != NULL) {
		vsock_conn_receive(conn, &hdr, chain);
		settle(vsock, conn);
	} else if (hdr.type == VSOCK_TYPE_STREAM && hdr.op == VSOCK_OP_REQUEST && hdr.len == 0) {
		connect_guest(vsock, &hdr);
	} else if (hdr.op != VSOCK_OP_RST) {
		add_reset(vsock, &hdr);
	}
}

/* \return true when the budget ended before the queue did */
static bool process_tx(struct vsock *vsock)
{
	struct virtio_dev *dev = &vsock->dev;
	bool has_more = true;

	for (unsigned int i = 0; i < VIRTIO_BUDGET && has_more; i++) {
		if (vsock->n_resets == VSOCK_RESETS_MAX) {
			vsock->is_tx_held = true;
			has_more = false;
		} else if (!virtio_dev_pop(dev, VSOCK_TX, &vsock->tx_chain)) {
			has_more = false;
		} else {
			metrics_inc(&metrics.vsock.tx_packets_count);
			receive(vsock, &vsock->tx_chain);
			virtq_push(&dev->queues[VSOCK_TX], vsock->tx_chain.head, 0);
			has_more = virtio_dev_is_active(dev);
		}
	}
	return has_more;
}

/* ---- host to guest ---- */

static uint32_t send_reset(struct vsock *vsock, const struct virtq_chain *chain)
{
	const struct vsock_reset *reset = &vsock->resets[vsock->first_reset];
	const struct vsock_hdr hdr = {
		.src_cid = VSOCK_HOST_CID,
		.dst_cid = vsock->guest_cid,
		.src_port = reset->host_port,
		.dst_port = reset->guest_port,
		.type = reset->type,
		.op = VSOCK_OP_RST,
	};

	vsock->first_reset = (vsock->first_reset + 1) % VSOCK_RESETS_MAX;
	vsock->n_resets--;
	return (uint32_t)virtq_chain_write(chain, 0, &hdr, sizeof(hdr));
}

/* \return bytes of the packet, 0 when the connection whose turn it was has none after all */
static uint32_t send_next(struct vsock *vsock, const struct virtq_chain *chain)
{
	struct vsock_conn *conn = TAILQ_FIRST(&vsock->sending);
	uint32_t len;

	if (vsock->n_resets > 0)
		return send_reset(vsock, chain);
	set_sending(vsock, conn, false); /* and behind all others, if it has more */
	len = vsock_conn_send(conn, vsock->guest_cid, chain, vsock->scratch);
	settle(vsock, conn);
	return len;
}

static bool has_packets(const struct vsock *vsock)
{
	return vsock->n_resets > 0 || !TAILQ_EMPTY(&vsock->sending);
}

static void send_event(struct vsock *vsock)
{
	struct virtio_dev *dev = &vsock->dev;
	const uint32_t event = EVENT_TRANSPORT_RESET;

	if (!vsock->is_event_due)
		return;
	if (!dev->queues[VSOCK_EVENT].is_ready) {
		vsock->is_event_due = false; /* a driver without it does not want to know */
		return;
	}
	if (!virtio_dev_pop(dev, VSOCK_EVENT, &vsock->rx_chain))
		return;
	if (virtq_chain_write(&vsock->rx_chain, 0, &event, sizeof(event)) != EVENT_BYTES) {
		metrics_inc(&metrics.vsock.ev_queue_event_fails);
		virtio_dev_break(dev, "its driver gave a buffer too small for an event");
		return;
	}
	virtq_push(&dev->queues[VSOCK_EVENT], vsock->rx_chain.head, EVENT_BYTES);
	vsock->is_event_due = false;
}

static void count_packet(uint32_t len)
{
	metrics_inc(&metrics.vsock.rx_packets_count);
	metrics_add(&metrics.vsock.rx_bytes_count, len - sizeof(struct vsock_hdr));
}

/* Fill one buffer. \return false when there is none */
static bool fill_buffer(struct vsock *vsock)
{
	struct virtio_dev *dev = &vsock->dev;
	struct virtq_chain *chain = &vsock->rx_chain;
	uint32_t len;

	if (!virtio_dev_pop(dev, VSOCK_RX, chain))
		return false;
	if (chain->writable_bytes <= sizeof(struct vsock_hdr)) {
		metrics_inc(&metrics.vsock.rx_queue_event_fails);
		virtio_dev_break(dev, "its driver gave a buffer too small for a packet");
		return false;
	}
	len = send_next(vsock, chain);
	if (len == 0) {
		virtq_unpop(&dev->queues[VSOCK_RX], chain->head);
		return true;
	}
	virtq_push(&dev->queues[VSOCK_RX], chain->head, len);
	count_packet(len);
	return true;
}

/* Take buffers for one read of a socket: those in one piece, as Linux's are. */
static void gather_buffers(struct vsock *vsock, uint32_t wanted)
{
	struct vsock_batch *batch = &vsock->rx_batch;
	const struct virtq_chain *chain = &vsock->rx_chain;

	batch->n = 0;
	batch->room = 0;
	while (batch->n < VSOCK_BATCH_MAX && batch->room < wanted &&
	       virtio_dev_pop(&vsock->dev, VSOCK_RX, &vsock->rx_chain)) {
		if (chain->n_readable != 0 || chain->n_writable != 1 ||
		    chain->writable_bytes <= sizeof(struct vsock_hdr)) {
			virtq_unpop(&vsock->dev.queues[VSOCK_RX], chain->head);
			return;
		}
		batch->buffers[batch->n] = (struct vsock_batch_buffer){
			.head = chain->head,
			.hdr = chain->iov[0].iov_base,
			.room = chain->writable_bytes - (uint32_t)sizeof(struct vsock_hdr),
		};
		batch->room += batch->buffers[batch->n++].room;
	}
}

/* \return how many buffers it filled; 0 when the next packet has to be made by itself */
static unsigned int fill_batch(struct vsock *vsock)
{
	struct vsock_conn *conn = TAILQ_FIRST(&vsock->sending);
	struct virtq *vq = &vsock->dev.queues[VSOCK_RX];
	struct vsock_batch *batch = &vsock->rx_batch;
	uint32_t wanted = vsock->n_resets > 0 ? 0 : vsock_conn_data_wanted(conn);
	unsigned int n;

	if (wanted == 0)
		return 0;
	gather_buffers(vsock, wanted);
	if (batch->n == 0 || !virtio_dev_is_active(&vsock->dev))
		return 0;
	set_sending(vsock, conn, false); /* and behind all others, if it has more */
	n = vsock_conn_send_batch(conn, vsock->guest_cid, batch);
	for (unsigned int i = 0; i < n; i++) {
		virtq_push_later(vq, (uint16_t)i, batch->buffers[i].head, batch->buffers[i].len);
		count_packet(batch->buffers[i].len);
	}
	virtq_publish(vq, (uint16_t)n);
	for (unsigned int i = batch->n; i > n; i--)
		virtq_unpop(vq, batch->buffers[i - 1].head);
	settle(vsock, conn);
	return n;
}

static void fill_buffers(struct vsock *vsock)
{
	struct virtio_dev *dev = &vsock->dev;
	bool has_more = dev->queues[VSOCK_RX].is_ready;

	send_event(vsock);
	if (vsock->is_event_due || !has_more)
		return;
	for (unsigned int n = 0; n < VIRTIO_BUDGET && has_more; n++) {
		unsigned int n_filled = has_packets(vsock) ? fill_batch(vsock) : 0;

		if (n_filled > 0)
			n += n_filled - 1;
		else
			has_more = has_packets(vsock) && virtio_dev_is_active(dev) &&
				   fill_buffer(vsock);
	}
	if (has_more && has_packets(vsock))
		virtio_dev_kick(dev, VSOCK_RX);
	if (vsock->is_tx_held && vsock->n_resets < VSOCK_RESETS_MAX) {
		vsock->is_tx_held = false;
		virtio_dev_kick(dev, VSOCK_TX);
	}
}

/* ---- clients of the host's ---- */

/* One that is free. There are fewer connections than ports. */
static uint32_t choose_port(struct vsock *vsock, uint32_t guest_port)
{
	uint32_t port;

	do {
		port = vsock->next_port;
		vsock->next_port = port == HOST_PORT_MAX ? HOST_PORT_MIN : port + 1;
	} while (find_conn(vsock, port, guest_port) != NULL);
	return port;
}

static void greet(struct vsock *vsock, struct vsock_conn *conn)
{
	uint32_t port;
	enum vsock_line line = vsock_conn_read_line(conn, &port);

	if (line == VSOCK_LINE_BAD) {
		vsock_conn_close(conn);
	} else if (line == VSOCK_LINE_DONE) {
		set_ports(vsock, conn, choose_port(vsock, port), port);
		vsock_conn_request(conn);
	}
	settle(vsock, conn);
}

static void accept_failed(struct vsock *vsock, int error)
{
	if (error == -EAGAIN)
		return;
	metrics_inc(&metrics.vsock.muxer_event_fails);
	vsock->accept_after_ms = now_ms() + ACCEPT_PAUSE_MS;
	if (!vsock->has_told_accept)
		log_warn("vsock '%s': accept a client: %s; later failures are not logged",
			 vsock->dev.id, strerror(-error));
	vsock->has_told_accept = true;
}

static void accept_clients(struct vsock *vsock)
{
	for (unsigned int i = 0; i < EVENTS_AT_ONCE && vsock->n_handshakes < VSOCK_HANDSHAKES_MAX;
	     i++) {
		int fd = unix_listener_accept(&vsock->listener);
		struct vsock_conn *conn;

		if (fd < 0) {
			accept_failed(vsock, fd);
			return;
		}
		conn = take_place(vsock);
		if (conn == NULL) {
			close(fd);
			continue;
		}
		vsock_conn_take_client(conn, fd);
		set_phase(vsock, conn, VSOCK_PHASE_HANDSHAKE);
		greet(vsock, conn); /* the line is often there already */
	}
}

/* Be told of the next client, if it can be served. Others wait in the kernel. */
static void listen_again(struct vsock *vsock)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT, .data.u64 = LISTENER_TOKEN };

	if (vsock->is_listening || vsock->accept_after_ms != 0 ||
	    vsock->n_handshakes >= VSOCK_HANDSHAKES_MAX)
		return;
	vsock->is_listening =
		epoll_ctl(vsock->epoll_fd, EPOLL_CTL_MOD, vsock->listener.fd, &event) == 0;
}

/* ---- the loop ---- */

static void set_timer(struct vsock *vsock)
{
	const struct vsock_conn *first = TAILQ_FIRST(&vsock->timed);
	uint64_t at = first == NULL ? UINT64_MAX : first->deadline_ms;
	uint64_t now = now_ms();
	struct timeval wait;

	if (vsock->accept_after_ms != 0)
		at = MIN(at, vsock->accept_after_ms);
	/* One that rings too early is set anew then. */
	if (at == UINT64_MAX || (vsock->timer_ms != 0 && vsock->timer_ms <= at))
		return;
	vsock->timer_ms = at;
	at = at > now ? at - now : 0;
	wait = (struct timeval){ .tv_sec = (time_t)(at / 1000),
				 .tv_usec = (suseconds_t)(at % 1000 * 1000) };
	event_add(vsock->timer_event, &wait);
}

/* After any work on the I/O thread. */
static void finish(struct vsock *vsock)
{
	if (virtio_dev_is_active(&vsock->dev))
		fill_buffers(vsock);
	if (!virtio_dev_is_active(&vsock->dev)) {
		drop_all(vsock); /* it may have broken just now */
		return;
	}
	virtio_dev_signal_all(&vsock->dev);
	listen_again(vsock);
	set_timer(vsock);
}

static bool process(struct virtio_dev *dev, unsigned int queue)
{
	struct vsock *vsock = from_dev(dev);
	bool has_more = queue == VSOCK_TX && process_tx(vsock);

	if (queue != VSOCK_EVENT)
		metrics_inc(queue == VSOCK_TX ? &metrics.vsock.tx_queue_event_count
					      : &metrics.vsock.rx_queue_event_count);
	finish(vsock);
	return has_more;
}

static void on_event(struct vsock *vsock, const struct epoll_event *event)
{
	struct vsock_conn *conn = conn_of(vsock, event->data.u64);

	if (event->data.u64 == LISTENER_TOKEN) {
		vsock->is_listening = false;
		accept_clients(vsock);
	} else if (conn != NULL && conn->state == VSOCK_CONN_HANDSHAKE) {
		conn->armed = 0;
		greet(vsock, conn);
	} else if (conn != NULL) {
		conn->armed = 0;
		vsock_conn_on_socket(conn, event->events);
		settle(vsock, conn);
	}
}

static void on_epoll(evutil_socket_t fd, short what, void *ctx)
{
	struct vsock *vsock = ctx;
	struct epoll_event events[EVENTS_AT_ONCE];
	int n;

	(void)what;
	pthread_mutex_lock(&vsock->dev.lock);
	n = epoll_wait(fd, events, EVENTS_AT_ONCE, 0);
	for (int i = 0; i < n; i++) {
		if (virtio_dev_is_active(&vsock->dev))
			on_event(vsock, &events[i]);
		else if (events[i].data.u64 == LISTENER_TOKEN)
			vsock->is_listening = false; /* clients wait until there is a driver */
	}
	finish(vsock);
	pthread_mutex_unlock(&vsock->dev.lock);
}

static void time_out(struct vsock *vsock, struct vsock_conn *conn)
{
	metrics_inc(&metrics.vsock.conns_killed);
	vsock_conn_abort(conn);
	settle(vsock, conn);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
	struct vsock *vsock = ctx;
	uint64_t now = now_ms();
	struct vsock_conn *conn;

	(void)fd;
	(void)what;
	pthread_mutex_lock(&vsock->dev.lock);
	vsock->timer_ms = 0;
	if (vsock->accept_after_ms <= now)
		vsock->accept_after_ms = 0;
	while ((conn = TAILQ_FIRST(&vsock->timed)) != NULL && conn->deadline_ms <= now)
		time_out(vsock, conn);
	finish(vsock);
	pthread_mutex_unlock(&vsock->dev.lock);
}

static void reset(struct virtio_dev *dev)
{
	drop_all(from_dev(dev));
}

/* ---- what others call ---- */

void vsock_connect_done(struct vsock *vsock, uint64_t token, int fd)
{
	struct vsock_conn *conn;

	pthread_mutex_lock(&vsock->dev.lock);
	conn = conn_of(vsock, token);
	if (conn != NULL && conn->state == VSOCK_CONN_CONNECTING) {
		vsock_conn_take_server(conn, fd);
		settle(vsock, conn);
		finish(vsock);
	} else {
		close_fd(&fd);
	}
	pthread_mutex_unlock(&vsock->dev.lock);
}

void vsock_transport_reset(struct vsock *vsock)
{
	pthread_mutex_lock(&vsock->dev.lock);
	drop_all(vsock);
	vsock->is_event_due = virtio_dev_is_active(&vsock->dev);
	finish(vsock);
	pthread_mutex_unlock(&vsock->dev.lock);
}

/* ---- making it ---- */

static int connect_unix(void *ctx, uint32_t port, uint64_t token)
{
	const struct vsock *vsock = ctx;
	char path[UNIX_PATH_MAX];
	int len = snprintf(path, sizeof(path), "%s_%" PRIu32, vsock->listener.path, port);

	(void)token;
	return len < (int)sizeof(path) ? unix_connect(path) : -ENAMETOOLONG;
}

static int init_tables(struct vsock *vsock, struct err *err)
{
	vsock->conns = lazy_mem_map(CONNS_BYTES);
	vsock->rings = lazy_mem_map(RINGS_BYTES);
	if (vsock->conns == NULL || vsock->rings == NULL)
		return err_sys(err, "map the table of connections");
	SLIST_INIT(&vsock->unused);
	TAILQ_INIT(&vsock->sending);
	TAILQ_INIT(&vsock->timed);
	return 0;
}

static int init_events(struct vsock *vsock, struct event_base *base, struct err *err)
{
	struct epoll_event nothing = { .data.u64 = LISTENER_TOKEN };

	vsock->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	/* Clients are looked for when there is a driver: listen_again(). */
	if (vsock->epoll_fd < 0 ||
	    epoll_ctl(vsock->epoll_fd, EPOLL_CTL_ADD, vsock->listener.fd, &nothing) != 0)
		return err_sys(err, "make an epoll set");
	vsock->epoll_event =
		event_new(base, vsock->epoll_fd, EV_READ | EV_PERSIST, on_epoll, vsock);
	vsock->timer_event = event_new(base, -1, 0, on_timer, vsock);
	if (vsock->epoll_event == NULL || vsock->timer_event == NULL ||
	    event_add(vsock->epoll_event, NULL) != 0)
		return err_set(err, -ENOMEM, "no memory for the event loop");
	return 0;
}

static int init_parts(struct vsock *vsock, const struct vsock_config *config,
		      struct event_base *base, struct err *err)
{
	int code;

	if (config->guest_cid < GUEST_CID_MIN || config->guest_cid > UINT32_MAX)
		return err_set(err, -EINVAL,
			       "the guest's CID must be %d to %" PRIu32 ", not %" PRIu64,
			       GUEST_CID_MIN, UINT32_MAX, config->guest_cid);
	if (config->listener == NULL) {
		code = unix_listener_init(&vsock->listener, config->uds_path, err);
	} else {
		vsock->listener = *config->listener;
		*config->listener = (struct unix_listener){ .fd = -1 };
		code = 0;
	}
	if (code == 0)
		code = init_tables(vsock, err);
	if (code == 0)
		code = init_events(vsock, base, err);
	return code;
}

static const struct virtio_dev_class vsock_class = {
	.name = "vsock",
	.device_id = 19,
	.n_queues = VSOCK_N_QUEUES,
	.queue_size = VIRTQ_SIZE_MAX,
	.process = process,
	.reset = reset,
};

int vsock_init(struct vsock *vsock, const struct vsock_config *config, const struct guest_mem *mem,
	       const struct irq_line *irq, struct event_base *base, struct err *err)
{
	int code;

	vsock->epoll_fd = -1;
	vsock->guest_cid = config->guest_cid;
	vsock->next_port = HOST_PORT_MIN;
	vsock->timeout_ms = config->timeout_ms != 0 ? config->timeout_ms : VSOCK_TIMEOUT_MS;
	vsock->connect = config->connect != NULL ? config->connect : connect_unix;
	vsock->connect_ctx = config->connect != NULL ? config->connect_ctx : vsock;
	code = virtio_dev_init(&vsock->dev, &vsock_class, config->id, mem, irq, err);
	if (code != 0)
		return code;
	vsock->dev.fails = (struct virtio_fails){ .activate = &metrics.vsock.activate_fails,
						  .config = &metrics.vsock.cfg_fails };
	/* 5.10.4: guest_cid */
	vsock->dev.config_size = sizeof(uint64_t);
	store_le(vsock->dev.config, config->guest_cid, sizeof(uint64_t));
	code = init_parts(vsock, config, base, err);
	if (code != 0)
		err_prefix(err, "vsock '%s'", config->id);
	return code;
}

void vsock_deinit(struct vsock *vsock)
{
	if (vsock->dev.class == NULL)
		return;
	if (vsock->conns != NULL && vsock->rings != NULL)
		drop_all(vsock);
	if (vsock->epoll_event != NULL)
		event_free(vsock->epoll_event);
	if (vsock->timer_event != NULL)
		event_free(vsock->timer_event);
	vsock->epoll_event = NULL;
	vsock->timer_event = NULL;
	close_fd(&vsock->epoll_fd);
	unix_listener_deinit(&vsock->listener);
	if (vsock->rings != NULL)
		munmap(vsock->rings, RINGS_BYTES);
	if (vsock->conns != NULL)
		munmap(vsock->conns, CONNS_BYTES);
	vsock->rings = NULL;
	vsock->conns = NULL;
	virtio_dev_deinit(&vsock->dev);
}
