#include "virtio/vsock.h"

#include "util/bits.h"
#include "util/cleanup.h"
#include "util/clock.h"
#include "util/events.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>

enum {
	GUEST_CID_MIN = 3,
	EVENTS_AT_ONCE = 64,
	/** how long no client is accepted when the host has no descriptors left */
	ACCEPT_PAUSE_MS = 100,
	/** descriptors of the process that no connection takes: the API needs some, and disks */
	SPARE_FDS = 64,
};

/* Firecracker's: port numbers of the host's clients. */
#define HOST_PORT_MIN (UINT32_C(1) << 30)
#define HOST_PORT_MAX (UINT32_MAX >> 1)

/* In the place of a connection's token. */
#define LISTENER_TOKEN UINT64_MAX

static struct vsock *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct vsock, dev);
}

static void drop_all(struct vsock *vsock)
{
	vsock_table_clear(&vsock->table);
	vsock_rx_clear(&vsock->rx);
	vsock->is_tx_held = false;
}

/* ---- guest to host ---- */

/* Connections are the guest's to make: it must not take the last descriptors. */
static int keep_spare(const struct vsock *vsock, int fd)
{
	if (fd < vsock->fd_limit)
		return fd;
	close(fd);
	return -EMFILE;
}

/* The guest's REQUEST. */
static void connect_guest(struct vsock *vsock, const struct vsock_hdr *hdr)
{
	struct vsock_conn *conn = vsock_table_take(&vsock->table);
	int fd;

	if (conn == NULL) {
		vsock_rx_add_reset(&vsock->rx, hdr);
		return;
	}
	vsock_table_set_ports(&vsock->table, conn, hdr->dst_port, hdr->src_port);
	vsock_conn_begin(conn, hdr);
	fd = vsock->connect(vsock->connect_ctx, hdr->dst_port,
			    vsock_table_token(&vsock->table, conn));
	fd = keep_spare(vsock, fd);
	if (fd < 0 && fd != -EINPROGRESS && !vsock->has_told_connect) {
		log_info("vsock '%s': the guest asked for port %" PRIu32
			 ", which nobody listens on here (%s); later ones are not logged",
			 vsock->dev.id, hdr->dst_port, strerror(-fd));
		vsock->has_told_connect = true;
	}
	if (fd != -EINPROGRESS)
		vsock_conn_take_server(conn, fd);
	vsock_table_settle(&vsock->table, conn);
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
	conn = hdr.type == VSOCK_TYPE_STREAM
		       ? vsock_table_find(&vsock->table, hdr.dst_port, hdr.src_port)
		       : NULL;
	if (conn != NULL) {
		vsock_conn_receive(conn, &hdr, chain);
		vsock_table_settle(&vsock->table, conn);
	} else if (hdr.type == VSOCK_TYPE_STREAM && hdr.op == VSOCK_OP_REQUEST && hdr.len == 0) {
		connect_guest(vsock, &hdr);
	} else if (hdr.op != VSOCK_OP_RST) {
		vsock_rx_add_reset(&vsock->rx, &hdr);
	}
}

/* \return true when the budget ended before the queue did */
static bool process_tx(struct vsock *vsock)
{
	struct virtio_dev *dev = &vsock->dev;
	bool has_more = true;

	for (unsigned int i = 0; i < VIRTIO_BUDGET && has_more; i++) {
		if (!vsock_rx_has_room(&vsock->rx)) {
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

/* ---- clients of the host's ---- */

/* One that is free. There are fewer connections than ports. */
static uint32_t choose_port(struct vsock *vsock, uint32_t guest_port)
{
	uint32_t port;

	do {
		port = vsock->next_port;
		vsock->next_port = port == HOST_PORT_MAX ? HOST_PORT_MIN : port + 1;
	} while (vsock_table_find(&vsock->table, port, guest_port) != NULL);
	return port;
}

static void greet(struct vsock *vsock, struct vsock_conn *conn)
{
	uint32_t port;
	enum vsock_line line = vsock_conn_read_line(conn, &port);

	if (line == VSOCK_LINE_BAD) {
		vsock_conn_close(conn);
	} else if (line == VSOCK_LINE_DONE) {
		vsock_table_set_ports(&vsock->table, conn, choose_port(vsock, port), port);
		vsock_conn_request(conn);
	}
	vsock_table_settle(&vsock->table, conn);
}

static void accept_failed(struct vsock *vsock, int error)
{
	if (error == -EAGAIN)
		return;
	metrics_inc(&metrics.vsock.muxer_event_fails);
	vsock->accept_after_ms = clock_ms() + ACCEPT_PAUSE_MS;
	if (!vsock->has_told_accept)
		log_warn("vsock '%s': accept a client: %s; later failures are not logged",
			 vsock->dev.id, strerror(-error));
	vsock->has_told_accept = true;
}

static void accept_clients(struct vsock *vsock)
{
	for (unsigned int i = 0;
	     i < EVENTS_AT_ONCE && vsock->table.n_handshakes < VSOCK_HANDSHAKES_MAX; i++) {
		int fd = unix_listener_accept(&vsock->listener);
		struct vsock_conn *conn;

		if (fd < 0) {
			accept_failed(vsock, fd);
			return;
		}
		fd = keep_spare(vsock, fd);
		conn = fd < 0 ? NULL : vsock_table_take(&vsock->table);
		if (conn == NULL) {
			close_fd(&fd);
			continue;
		}
		vsock_conn_take_client(conn, fd);
		greet(vsock, conn); /* the line is often there already */
	}
}

/* Be told of the next client, if it can be served. Others wait in the kernel. */
static void listen_again(struct vsock *vsock)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT, .data.u64 = LISTENER_TOKEN };

	if (vsock->is_listening || vsock->accept_after_ms != 0 ||
	    vsock->table.n_handshakes >= VSOCK_HANDSHAKES_MAX)
		return;
	vsock->is_listening =
		epoll_ctl(vsock->table.epoll_fd, EPOLL_CTL_MOD, vsock->listener.fd, &event) == 0;
}

/* ---- the loop ---- */

static void set_timer(struct vsock *vsock)
{
	const struct vsock_conn *first = TAILQ_FIRST(&vsock->table.timed);
	uint64_t at = first == NULL ? UINT64_MAX : first->deadline_ms;
	uint64_t now = clock_ms();
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
		vsock_rx_fill(vsock);
	if (!virtio_dev_is_active(&vsock->dev)) {
		drop_all(vsock); /* it may have broken just now */
		return;
	}
	if (vsock->is_tx_held && vsock_rx_has_room(&vsock->rx)) {
		vsock->is_tx_held = false;
		virtio_dev_kick(&vsock->dev, VSOCK_TX);
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
	struct vsock_conn *conn = vsock_table_by_token(&vsock->table, event->data.u64);

	if (event->data.u64 == LISTENER_TOKEN) {
		vsock->is_listening = false;
		accept_clients(vsock);
	} else if (conn != NULL && conn->state == VSOCK_CONN_HANDSHAKE) {
		conn->armed = 0;
		greet(vsock, conn);
	} else if (conn != NULL) {
		conn->armed = 0;
		vsock_conn_on_socket(conn, event->events);
		vsock_table_settle(&vsock->table, conn);
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

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
	struct vsock *vsock = ctx;
	uint64_t now = clock_ms();

	(void)fd;
	(void)what;
	pthread_mutex_lock(&vsock->dev.lock);
	vsock->timer_ms = 0;
	if (vsock->accept_after_ms <= now)
		vsock->accept_after_ms = 0;
	vsock_table_time_out(&vsock->table, now);
	finish(vsock);
	pthread_mutex_unlock(&vsock->dev.lock);
}

static void reset(struct virtio_dev *dev)
{
	struct vsock *vsock = from_dev(dev);

	drop_all(vsock);
	vsock_rx_reset(&vsock->rx);
}

/* ---- what others call ---- */

void vsock_connect_done(struct vsock *vsock, uint64_t token, int fd)
{
	struct vsock_conn *conn;

	pthread_mutex_lock(&vsock->dev.lock);
	conn = vsock_table_by_token(&vsock->table, token);
	if (conn != NULL && conn->state == VSOCK_CONN_CONNECTING) {
		vsock_conn_take_server(conn, keep_spare(vsock, fd));
		vsock_table_settle(&vsock->table, conn);
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
	vsock->rx.is_event_due = virtio_dev_is_active(&vsock->dev);
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

static int init_events(struct vsock *vsock, struct event_base *base, struct err *err)
{
	struct epoll_event nothing = { .data.u64 = LISTENER_TOKEN };

	/* Clients are looked for when there is a driver: listen_again(). */
	if (epoll_ctl(vsock->table.epoll_fd, EPOLL_CTL_ADD, vsock->listener.fd, &nothing) != 0)
		return err_sys(err, "watch the listener");
	vsock->epoll_event =
		event_new(base, vsock->table.epoll_fd, EV_READ | EV_PERSIST, on_epoll, vsock);
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
		code = vsock_table_init(
			&vsock->table,
			config->timeout_ms != 0 ? config->timeout_ms : VSOCK_TIMEOUT_MS, err);
	if (code == 0)
		code = init_events(vsock, base, err);
	return code;
}

static int fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT_MAX)
		return INT_MAX;
	return MAX((int)limit.rlim_cur - SPARE_FDS, 0);
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

	vsock->table.epoll_fd = -1;
	vsock->guest_cid = config->guest_cid;
	vsock->fd_limit = fd_limit();
	vsock->next_port = HOST_PORT_MIN;
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
	free_event(&vsock->epoll_event); /* while its descriptor is open */
	free_event(&vsock->timer_event);
	vsock_table_deinit(&vsock->table);
	unix_listener_deinit(&vsock->listener);
	virtio_dev_deinit(&vsock->dev);
}
