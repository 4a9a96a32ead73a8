#include "virtio/vsock_conn.h"

#include "util/bits.h"
#include "util/cleanup.h"
#include "util/metrics.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { HDR_BYTES = sizeof(struct vsock_hdr), WORD = 8 };

static void add_pending(struct vsock_conn *conn, enum vsock_op op)
{
	conn->pending |= (uint8_t)BIT(op);
}

static void remove_pending(struct vsock_conn *conn, enum vsock_op op)
{
	conn->pending &= (uint8_t)~BIT(op);
}

static bool is_pending(const struct vsock_conn *conn, enum vsock_op op)
{
	return (conn->pending & BIT(op)) != 0;
}

/* ---- its end ---- */

static void empty_ring(struct vsock_conn *conn)
{
	if (conn->ring_used > 0)
		madvise(conn->ring, conn->buf_alloc, MADV_DONTNEED);
	conn->ring_start = 0;
	conn->ring_used = 0;
}

static void let_go(struct vsock_conn *conn)
{
	close_fd(&conn->fd); /* and it is in no epoll set any more */
	conn->is_watched = false;
	conn->armed = 0;
	empty_ring(conn);
	conn->pending = 0;
}

void vsock_conn_close(struct vsock_conn *conn)
{
	if (conn->state == VSOCK_CONN_CLOSED)
		return;
	let_go(conn);
	conn->state = VSOCK_CONN_CLOSED;
}

void vsock_conn_abort(struct vsock_conn *conn)
{
	bool is_known =
		conn->state != VSOCK_CONN_HANDSHAKE &&
		!(conn->state == VSOCK_CONN_REQUESTED && is_pending(conn, VSOCK_OP_REQUEST));

	if (conn->state == VSOCK_CONN_CLOSED)
		return;
	let_go(conn);
	conn->state = is_known ? VSOCK_CONN_ABORTED : VSOCK_CONN_CLOSED;
	if (is_known)
		add_pending(conn, VSOCK_OP_RST);
}

/* ---- its beginning ---- */

void vsock_conn_take_client(struct vsock_conn *conn, int fd)
{
	conn->fd = fd;
	conn->state = VSOCK_CONN_HANDSHAKE;
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* \return behind the number, or NULL when there is none of 32 bits. The line ends in a newline. */
static const char *parse_port(const char *at, uint32_t *port)
{
	uint64_t value = 0;
	const char *first = at;

	for (; *at >= '0' && *at <= '9'; at++) {
		value = value * 10 + (uint64_t)(*at - '0');
		if (value > UINT32_MAX)
			return NULL;
	}
	*port = (uint32_t)value;
	return at == first ? NULL : at;
}

/* Firecracker takes any case, any blanks, and words behind the port. */
static bool parse_line(const char *at, uint32_t *port)
{
	static const char keyword[] = "connect";

	while (is_blank(*at) && *at != '\n')
		at++;
	if (strncasecmp(at, keyword, sizeof(keyword) - 1) != 0)
		return false;
	at += sizeof(keyword) - 1;
	if (!is_blank(*at))
		return false;
	while (is_blank(*at) && *at != '\n')
		at++;
	at = parse_port(at, port);
	return at != NULL && is_blank(*at);
}

/* What follows the line is for the guest and stays in the socket: look first, then take. */
enum vsock_line vsock_conn_read_line(struct vsock_conn *conn, uint32_t *port)
{
	char *at = conn->line + conn->n_line;
	ssize_t n = recv(conn->fd, at, sizeof(conn->line) - conn->n_line, MSG_PEEK | MSG_DONTWAIT);
	const char *end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return VSOCK_LINE_MORE;
	if (n <= 0)
		return VSOCK_LINE_BAD;
	end = memchr(at, '\n', (size_t)n);
	n = recv(conn->fd, at, end == NULL ? (size_t)n : (size_t)(end + 1 - at), MSG_DONTWAIT);
	if (n <= 0)
		return VSOCK_LINE_BAD;
	conn->n_line = (uint8_t)(conn->n_line + n);
	if (at[n - 1] == '\n')
		return parse_line(conn->line, port) ? VSOCK_LINE_DONE : VSOCK_LINE_BAD;
	return conn->n_line == sizeof(conn->line) ? VSOCK_LINE_BAD : VSOCK_LINE_MORE;
}

void vsock_conn_request(struct vsock_conn *conn)
{
	conn->state = VSOCK_CONN_REQUESTED;
	add_pending(conn, VSOCK_OP_REQUEST);
}

static void take_credit(struct vsock_conn *conn, const struct vsock_hdr *hdr)
{
	conn->peer_buf_alloc = hdr->buf_alloc;
	conn->peer_fwd_cnt = hdr->fwd_cnt;
}

void vsock_conn_begin(struct vsock_conn *conn, const struct vsock_hdr *hdr)
{
	conn->fd = -1;
	conn->state = VSOCK_CONN_CONNECTING;
	take_credit(conn, hdr);
}

/*
 * The socket itself is to hold all that the guest may send: what it does not take is copied into
 * the ring, and out of it again. Linux doubles the number for what it keeps beside the bytes, and
 * has a limit of its own (net.core.wmem_max), with which there are more copies, and that is all.
 */
static void widen_socket(const struct vsock_conn *conn)
{
	const int size = VSOCK_BUFFER_MAX;

	if (conn->fd >= 0 && conn->buf_alloc == VSOCK_BUFFER_MAX)
		(void)setsockopt(conn->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

void vsock_conn_set_buffer(struct vsock_conn *conn, uint8_t *ring, uint32_t size)
{
	conn->ring = ring;
	conn->buf_alloc = size;
	widen_socket(conn);
}

void vsock_conn_take_server(struct vsock_conn *conn, int fd)
{
	if (fd < 0) {
		vsock_conn_abort(conn);
		return;
	}
	conn->fd = fd;
	widen_socket(conn);
	conn->state = VSOCK_CONN_ESTABLISHED;
	add_pending(conn, VSOCK_OP_RESPONSE);
}

/* ---- either direction ending ---- */

/* No more bytes will go to the host, and none wait to. */
static bool is_out_over(const struct vsock_conn *conn)
{
	return (conn->host_shutdown & VSOCK_SHUTDOWN_RECEIVE) != 0 ||
	       ((conn->guest_shutdown & VSOCK_SHUTDOWN_SEND) != 0 && conn->ring_used == 0);
}

static bool is_in_over(const struct vsock_conn *conn)
{
	return ((conn->host_shutdown & VSOCK_SHUTDOWN_SEND) |
		(conn->guest_shutdown & VSOCK_SHUTDOWN_RECEIVE)) != 0;
}

/* What the guest has given up is passed on to the host; when all is over, so is the connection. */
static void look_for_end(struct vsock_conn *conn)
{
	uint8_t now = conn->guest_shutdown & VSOCK_SHUTDOWN_RECEIVE;

	if (conn->state != VSOCK_CONN_ESTABLISHED)
		return;
	if (is_in_over(conn))
		remove_pending(conn, VSOCK_OP_RW);
	if (conn->guest_shutdown != 0 && is_in_over(conn) && is_out_over(conn)) {
		vsock_conn_abort(conn);
		return;
	}
	if (conn->ring_used == 0)
		now |= conn->guest_shutdown & VSOCK_SHUTDOWN_SEND;
	now &= (uint8_t)~conn->done_shutdown;
	/* A host that is gone needs not be told. */
	if ((now & VSOCK_SHUTDOWN_RECEIVE) != 0)
		(void)shutdown(conn->fd, SHUT_RD);
	if ((now & VSOCK_SHUTDOWN_SEND) != 0)
		(void)shutdown(conn->fd, SHUT_WR);
	conn->done_shutdown |= now;
}

static void count_forwarded(struct vsock_conn *conn, uint32_t n)
{
	conn->fwd_cnt += n;
	/* Before the guest has used all that it knows of; each time is an interrupt. */
	if (conn->fwd_cnt - conn->told_cnt >= conn->buf_alloc / 4 * 3)
		add_pending(conn, VSOCK_OP_CREDIT_UPDATE);
}

static void host_shuts_down(struct vsock_conn *conn, uint8_t what)
{
	if ((conn->host_shutdown & what) == what)
		return;
	conn->host_shutdown |= what;
	if ((what & VSOCK_SHUTDOWN_RECEIVE) != 0) {
		count_forwarded(conn, conn->ring_used);
		empty_ring(conn);
	}
	add_pending(conn, VSOCK_OP_SHUTDOWN);
	look_for_end(conn);
}

enum vsock_phase vsock_conn_phase(const struct vsock_conn *conn)
{
	switch (conn->state) {
	case VSOCK_CONN_HANDSHAKE:
		return VSOCK_PHASE_HANDSHAKE;
	case VSOCK_CONN_CONNECTING:
		return VSOCK_PHASE_CONNECTING;
	case VSOCK_CONN_REQUESTED:
		return VSOCK_PHASE_REQUESTED;
	case VSOCK_CONN_ESTABLISHED:
		/* The host has yet to read the rest, or the guest to say RST. */
		if (conn->guest_shutdown == VSOCK_SHUTDOWN_BOTH ||
		    (is_in_over(conn) && is_out_over(conn)))
			return VSOCK_PHASE_CLOSING;
		return VSOCK_PHASE_NONE;
	default:
		return VSOCK_PHASE_NONE;
	}
}

/* ---- guest to host ---- */

/* \return how many bytes the socket took; when it is not to be used again, the state tells */
static uint32_t write_socket(struct vsock_conn *conn, struct iovec *iov, unsigned int n_iov,
			     _Atomic uint64_t *fails)
{
	const struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n_iov };
	ssize_t n = sendmsg(conn->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n >= 0)
		return (uint32_t)n;
	if (errno != EAGAIN && errno != EINTR)
		metrics_inc(fails);
	if (errno == EPIPE || errno == ECONNRESET)
		host_shuts_down(conn, VSOCK_SHUTDOWN_RECEIVE); /* what it sent is still read */
	else if (errno != EAGAIN && errno != EINTR)
		vsock_conn_abort(conn);
	return 0;
}

static bool is_host_listening(const struct vsock_conn *conn)
{
	return conn->state == VSOCK_CONN_ESTABLISHED &&
	       (conn->host_shutdown & VSOCK_SHUTDOWN_RECEIVE) == 0;
}

/* The chain from \p offset on goes behind what is in the ring; the caller knows that it fits. */
static void fill_ring(struct vsock_conn *conn, const struct virtq_chain *chain, uint64_t offset,
		      uint32_t len)
{
	uint32_t at = (conn->ring_start + conn->ring_used) % conn->buf_alloc;
	uint32_t first = MIN(len, conn->buf_alloc - at);

	virtq_chain_read(chain, offset, conn->ring + at, first);
	virtq_chain_read(chain, offset + first, conn->ring, len - first);
	conn->ring_used += len;
}

static void drain_ring(struct vsock_conn *conn)
{
	uint32_t first = MIN(conn->ring_used, conn->buf_alloc - conn->ring_start);
	struct iovec iov[] = {
		{ .iov_base = conn->ring + conn->ring_start, .iov_len = first },
		{ .iov_base = conn->ring, .iov_len = conn->ring_used - first },
	};
	uint32_t n = write_socket(conn, iov, ARRAY_SIZE(iov), &metrics.vsock.tx_flush_fails);

	if (n == 0)
		return;
	count_forwarded(conn, n);
	if (n == conn->ring_used) {
		empty_ring(conn);
	} else {
		conn->ring_start = (conn->ring_start + n) % conn->buf_alloc;
		conn->ring_used -= n;
	}
	look_for_end(conn);
}

static void receive_data(struct vsock_conn *conn, uint32_t len, struct virtq_chain *chain)
{
	uint32_t n = 0;

	/* No packet may have more than its credit. */
	if ((conn->guest_shutdown & VSOCK_SHUTDOWN_SEND) != 0 ||
	    len > conn->buf_alloc - conn->ring_used) {
		vsock_conn_abort(conn);
		return;
	}
	if (len == 0)
		return;
	metrics_add(&metrics.vsock.tx_bytes_count, len);
	chain->n_readable =
		(uint16_t)iov_slice(chain->iov, chain->n_readable, HDR_BYTES, len, chain->iov);
	if (is_host_listening(conn) && conn->ring_used == 0)
		n = write_socket(conn, chain->iov, chain->n_readable,
				 &metrics.vsock.tx_write_fails);
	if (conn->state != VSOCK_CONN_ESTABLISHED)
		return;
	if (!is_host_listening(conn))
		n = len; /* to nobody: the guest is told */
	else if (n < len)
		fill_ring(conn, chain, n, len - n);
	count_forwarded(conn, n);
}

static void receive_response(struct vsock_conn *conn)
{
	char line[32];
	int len = snprintf(line, sizeof(line), "OK %u\n", conn->host_port);

	conn->state = VSOCK_CONN_ESTABLISHED;
	/* An empty socket takes it at once. */
	if (send(conn->fd, line, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) != len)
		vsock_conn_abort(conn);
}

static bool is_well_formed(const struct vsock_hdr *hdr, const struct virtq_chain *chain)
{
	if (hdr->op != VSOCK_OP_RW)
		return hdr->len == 0;
	return hdr->len <= chain->readable_bytes - HDR_BYTES;
}

static void receive_established(struct vsock_conn *conn, const struct vsock_hdr *hdr,
				struct virtq_chain *chain)
{
	switch (hdr->op) {
	case VSOCK_OP_RW:
		receive_data(conn, hdr->len, chain);
		break;
	case VSOCK_OP_SHUTDOWN:
		conn->guest_shutdown |= (uint8_t)(hdr->flags & VSOCK_SHUTDOWN_BOTH);
		look_for_end(conn);
		break;
	case VSOCK_OP_CREDIT_REQUEST:
		add_pending(conn, VSOCK_OP_CREDIT_UPDATE);
		break;
	case VSOCK_OP_CREDIT_UPDATE:
		break;
	default:
		vsock_conn_abort(conn);
		break;
	}
}

/* To a question that has been asked. */
static bool is_answer(const struct vsock_conn *conn, const struct vsock_hdr *hdr)
{
	return conn->state == VSOCK_CONN_REQUESTED && !is_pending(conn, VSOCK_OP_REQUEST) &&
	       hdr->op == VSOCK_OP_RESPONSE && hdr->len == 0;
}

void vsock_conn_receive(struct vsock_conn *conn, const struct vsock_hdr *hdr,
			struct virtq_chain *chain)
{
	if (hdr->op == VSOCK_OP_RST) {
		vsock_conn_close(conn);
		return;
	}
	if (conn->state == VSOCK_CONN_ABORTED)
		return; /* its RST is on the way */
	take_credit(conn, hdr);
	if (conn->state == VSOCK_CONN_ESTABLISHED && is_well_formed(hdr, chain))
		receive_established(conn, hdr, chain);
	else if (is_answer(conn, hdr))
		receive_response(conn);
	else
		vsock_conn_abort(conn);
}

/* ---- host to guest ---- */

/* 5.10.6.3; nonsense is no credit, or any. */
static uint32_t credit(const struct vsock_conn *conn)
{
	uint32_t n_unread = conn->tx_cnt - conn->peer_fwd_cnt;

	return n_unread > conn->peer_buf_alloc ? 0 : conn->peer_buf_alloc - n_unread;
}

/* A host that closed its socket is told from one that only has no more to send. */
static bool is_hung_up(const struct vsock_conn *conn)
{
	struct pollfd pollfd = { .fd = conn->fd };

	return poll(&pollfd, 1, 0) == 1 && (pollfd.revents & POLLHUP) != 0;
}

/* \return bytes that are read; 0 when there is no packet to be made */
static uint32_t read_into(struct vsock_conn *conn, struct iovec *iov, unsigned int n_iov)
{
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n_iov };
	ssize_t n = recvmsg(conn->fd, &msg, MSG_DONTWAIT);

	if (n == 0)
		host_shuts_down(conn, is_hung_up(conn) ? VSOCK_SHUTDOWN_BOTH : VSOCK_SHUTDOWN_SEND);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		metrics_inc(&metrics.vsock.rx_read_fails);
		vsock_conn_abort(conn);
	}
	return n < 0 ? 0 : (uint32_t)n;
}

/* \return bytes that are now behind the header's place; 0 when there is no packet to be made */
static uint32_t read_socket(struct vsock_conn *conn, const struct virtq_chain *chain,
			    struct iovec *scratch)
{
	uint32_t room = MIN(chain->writable_bytes - HDR_BYTES, VSOCK_DATA_MAX);
	uint32_t len = MIN(room, credit(conn));
	unsigned int n_iov;

	remove_pending(conn, VSOCK_OP_RW);
	if (len == 0)
		return 0;
	n_iov = iov_slice(virtq_chain_writable(chain), chain->n_writable, HDR_BYTES, len, scratch);
	return read_into(conn, scratch, n_iov);
}

/* The most urgent first. Every packet tells our credit, so that of its own comes last. */
static enum vsock_op next_op(const struct vsock_conn *conn)
{
	static const enum vsock_op order[] = {
		VSOCK_OP_RST, VSOCK_OP_REQUEST,  VSOCK_OP_RESPONSE, VSOCK_OP_CREDIT_REQUEST,
		VSOCK_OP_RW,  VSOCK_OP_SHUTDOWN,
	};

	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		if (is_pending(conn, order[i]))
			return order[i];
	}
	return VSOCK_OP_CREDIT_UPDATE;
}

static void after_data(struct vsock_conn *conn, uint32_t n, uint32_t room)
{
	conn->tx_cnt += n;
	/* Nothing is left: what comes next begins a buffer of the kernel's. */
	conn->source = n < room ? 0 : (conn->source + n) % WORD;
	if (credit(conn) == 0)
		add_pending(conn, VSOCK_OP_CREDIT_REQUEST);
	else if (n == room) /* the buffer was full: there may be more */
		add_pending(conn, VSOCK_OP_RW);
}

static struct vsock_hdr make_header(const struct vsock_conn *conn, uint64_t guest_cid,
				    enum vsock_op op, uint32_t len)
{
	return (struct vsock_hdr){
		.src_cid = VSOCK_HOST_CID,
		.dst_cid = guest_cid,
		.src_port = conn->host_port,
		.dst_port = conn->guest_port,
		.len = len,
		.type = VSOCK_TYPE_STREAM,
		.op = (uint16_t)op,
		.flags = op == VSOCK_OP_SHUTDOWN ? conn->host_shutdown : 0,
		.buf_alloc = conn->buf_alloc,
		.fwd_cnt = conn->fwd_cnt,
	};
}

/* Every packet does. */
static void tell_credit(struct vsock_conn *conn)
{
	remove_pending(conn, VSOCK_OP_CREDIT_UPDATE);
	conn->told_cnt = conn->fwd_cnt;
}

uint32_t vsock_conn_data_wanted(const struct vsock_conn *conn)
{
	return conn->state == VSOCK_CONN_ESTABLISHED && is_pending(conn, VSOCK_OP_RW) &&
			       next_op(conn) == VSOCK_OP_RW
		       ? MIN(credit(conn), (uint32_t)VSOCK_DATA_MAX)
		       : 0;
}

/*
 * How much to put behind a header when \p wanted bytes are there: so much that the next buffer's
 * first byte lies there as in the kernel's buffer, modulo a word. Kernels copy whole words then,
 * ours out of the socket and the guest's out of this buffer; else they shift, at twice the price.
 */
static uint32_t data_length(const uint8_t *data, uint32_t room, uint32_t wanted, uint32_t source)
{
	uint32_t excess = (uint32_t)(source + room - (uintptr_t)data) % WORD;

	return wanted <= room ? wanted : room - (excess < room ? excess : 0);
}

/* Lay out what is wanted over the buffers. \param total set. \return how many it takes */
static unsigned int place_data(const struct vsock_conn *conn, struct vsock_batch *batch,
			       struct iovec *iov, uint32_t *total)
{
	uint32_t wanted = vsock_conn_data_wanted(conn);
	unsigned int n;

	*total = 0;
	for (n = 0; n < batch->n && *total < wanted; n++) {
		struct vsock_batch_buffer *buffer = &batch->buffers[n];
		uint8_t *data = buffer->hdr + HDR_BYTES;

		buffer->len = data_length(data, buffer->room, wanted - *total,
					  (conn->source + *total) % WORD);
		iov[n] = (struct iovec){ .iov_base = data, .iov_len = buffer->len };
		*total += buffer->len;
	}
	return n;
}

unsigned int vsock_conn_send_batch(struct vsock_conn *conn, uint64_t guest_cid,
				   struct vsock_batch *batch)
{
	struct iovec iov[VSOCK_BATCH_MAX];
	_Alignas(WORD) struct vsock_hdr hdr = make_header(conn, guest_cid, VSOCK_OP_RW, 0);
	uint32_t room;
	unsigned int n = place_data(conn, batch, iov, &room);
	uint32_t left;

	remove_pending(conn, VSOCK_OP_RW);
	left = n == 0 ? 0 : read_into(conn, iov, n);
	if (left == 0)
		return 0;
	after_data(conn, left, room);
	for (n = 0; left > 0; n++) {
		struct vsock_batch_buffer *buffer = &batch->buffers[n];

		buffer->len = MIN(left, buffer->len);
		hdr.len = buffer->len;
		copy_record(buffer->hdr, &hdr, sizeof(hdr));
		left -= buffer->len;
	}
	tell_credit(conn);
	return n;
}

uint32_t vsock_conn_send(struct vsock_conn *conn, uint64_t guest_cid,
			 const struct virtq_chain *chain, struct iovec *scratch)
{
	enum vsock_op op = next_op(conn);
	struct vsock_hdr hdr;
	uint32_t len = 0;

	if (op == VSOCK_OP_RW) {
		len = read_socket(conn, chain, scratch);
		if (len == 0)
			return 0;
		after_data(conn, len, chain->writable_bytes - HDR_BYTES);
	} else {
		remove_pending(conn, op);
	}
	hdr = make_header(conn, guest_cid, op, len);
	virtq_chain_write(chain, 0, &hdr, sizeof(hdr));
	tell_credit(conn);
	if (op == VSOCK_OP_RST)
		vsock_conn_close(conn);
	return HDR_BYTES + len;
}

/* ---- the socket ---- */

void vsock_conn_on_socket(struct vsock_conn *conn, uint32_t events)
{
	if (conn->state != VSOCK_CONN_ESTABLISHED)
		return;
	if (conn->ring_used > 0 && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0)
		drain_ring(conn);
	if (conn->state != VSOCK_CONN_ESTABLISHED)
		return;
	if (is_in_over(conn) && (events & EPOLLHUP) != 0)
		host_shuts_down(conn, VSOCK_SHUTDOWN_BOTH);
	else if (!is_in_over(conn) && credit(conn) > 0 &&
		 (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0)
		add_pending(conn, VSOCK_OP_RW);
}

uint32_t vsock_conn_wants(const struct vsock_conn *conn)
{
	uint32_t events = 0;

	if (conn->state == VSOCK_CONN_HANDSHAKE)
		return EPOLLIN;
	if (conn->state != VSOCK_CONN_ESTABLISHED)
		return 0;
	if (conn->ring_used > 0)
		events |= EPOLLOUT;
	if (!is_in_over(conn) && !is_pending(conn, VSOCK_OP_RW) && credit(conn) > 0)
		events |= EPOLLIN;
	/* Nothing more is read from it: its going is all that is left to see. */
	if (is_in_over(conn) && (conn->host_shutdown & VSOCK_SHUTDOWN_RECEIVE) == 0)
		events |= EPOLLHUP;
	return events;
}
