/*
 * The socket device between a guest and hosts that do anything, in any order. Packets are well
 * formed and about connections that exist, then broken by the input. What must hold: bytes reach
 * the guest in the order that the host wrote them, buffers are filled in the order that they were
 * given in, whatever they consist of, those that the device has are those that it keeps, rings are
 * never fuller than their size, the loop comes to rest after each step, and nothing is left after a
 * reset.
 */
#include "../unit/driver.h"
#include "util/assert.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "virtio/vsock.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum {
	STEP_BYTES = 6,
	STEPS_MAX = 200,
	N_PAGES = 512,
	CID = 3,
	HDR = sizeof(struct vsock_hdr),
	RX_BYTES = HDR + 300,
	RX_STRIDE = RX_BYTES + 8,
	RX_PIECES_MAX = 2,
	TX_BYTES = HDR + 70000,
	N_HOSTS = 16,
	N_FLOWS = 64,
	SLEEPS_MAX = 2,
};

/* With the number of the process. */
#define PATH_FORMAT "/tmp/televm-fuzz-vsock-%d"

struct host {
	int fd; /* 0: none */
	uint8_t next;
	bool is_client;
};

/* What has come to the guest of one connection. */
struct flow {
	uint32_t host_port;
	uint32_t guest_port;
	uint8_t next;
};

struct model {
	struct vsock vsock;
	struct driver d;
	char path[64];
	uint64_t rx_gpa; /* DRIVER_SIZE_MAX buffers, one for each descriptor */
	uint8_t rx_offset[DRIVER_SIZE_MAX];
	uint64_t tx_gpa;
	struct host hosts[N_HOSTS];
	struct flow flows[N_FLOWS];
	unsigned int n_flows;
	unsigned int n_sleeps;
	uint64_t waiting; /* a connect that is to be answered later */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct host *free_host(struct model *m)
{
	for (size_t i = 0; i < N_HOSTS; i++) {
		if (m->hosts[i].fd <= 0)
			return &m->hosts[i];
	}
	return NULL;
}

/* \return the device's end */
static int new_pair(struct model *m)
{
	struct host *host = free_host(m);
	int pair[2];

	if (host == NULL ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
		return -ECONNREFUSED;
	*host = (struct host){ .fd = pair[0] };
	return pair[1];
}

/* Port 0: nobody; 1: later; others: at once. */
static int connect_host(void *ctx, uint32_t port, uint64_t token)
{
	struct model *m = ctx;

	if (port == 0)
		return -ENOENT;
	if (port == 1) {
		m->waiting = token;
		return -EINPROGRESS;
	}
	return new_pair(m);
}

/* ---- the guest ---- */

static struct flow *find_flow(struct model *m, uint32_t host_port, uint32_t guest_port)
{
	for (unsigned int i = 0; i < m->n_flows; i++) {
		if (m->flows[i].host_port == host_port && m->flows[i].guest_port == guest_port)
			return &m->flows[i];
	}
	return NULL;
}

static void begin_flow(struct model *m, const struct vsock_hdr *hdr)
{
	struct flow *flow = find_flow(m, hdr->src_port, hdr->dst_port);

	if (flow == NULL && m->n_flows < N_FLOWS)
		flow = &m->flows[m->n_flows++];
	if (flow != NULL)
		*flow = (struct flow){ .host_port = hdr->src_port, .guest_port = hdr->dst_port };
}

static void take_packet(struct model *m, const uint8_t *bytes, uint32_t len)
{
	struct vsock_hdr hdr;
	struct flow *flow;

	memcpy(&hdr, bytes, HDR);
	ASSERT(hdr.src_cid == VSOCK_HOST_CID && hdr.dst_cid == CID && len == HDR + hdr.len);
	ASSERT(hdr.op >= VSOCK_OP_REQUEST && hdr.op <= VSOCK_OP_CREDIT_REQUEST);
	ASSERT((hdr.len > 0) == (hdr.op == VSOCK_OP_RW));
	if (hdr.op == VSOCK_OP_REQUEST || hdr.op == VSOCK_OP_RESPONSE)
		begin_flow(m, &hdr);
	flow = find_flow(m, hdr.src_port, hdr.dst_port);
	if (hdr.op != VSOCK_OP_RW || flow == NULL)
		return;
	for (uint32_t i = 0; i < hdr.len; i++)
		ASSERT(bytes[HDR + i] == flow->next++);
}

static uint64_t rx_gpa(const struct model *m, uint16_t head)
{
	return m->rx_gpa + head * (uint64_t)RX_STRIDE + m->rx_offset[head];
}

static void take_packets(struct model *m)
{
	const struct driver_queue *q = &m->d.queues[VSOCK_RX];
	struct driver_used used;

	while (driver_take_used(&m->d, VSOCK_RX, &used)) {
		ASSERT(used.head == q->avail[2 + (uint16_t)(q->last_used - 1) % q->size]);
		ASSERT(used.len <= RX_BYTES);
		take_packet(m, driver_ptr(&m->d, rx_gpa(m, (uint16_t)used.head)), used.len);
	}
	while (driver_take_used(&m->d, VSOCK_TX, &used))
		ASSERT(used.len == 0);
}

static uint16_t n_outstanding(const struct driver_queue *q)
{
	return (uint16_t)(q->avail[1] - q->used[1]);
}

/* Of any length, in one piece, in two, or behind one to be read. One too small for a packet, which
 * breaks the device, is rare. */
static void give_buffer(struct model *m, uint8_t shape)
{
	uint16_t head = m->d.queues[VSOCK_RX].next_free;
	uint64_t gpa;
	uint32_t len = shape < 128 ? RX_BYTES : HDR + (255 - shape) % 64;
	uint32_t cut = shape % HDR;

	m->rx_offset[head] = shape % 8;
	gpa = rx_gpa(m, head);
	if (shape % 16 == 3) {
		const struct driver_buf pieces[] = { { gpa, cut, true },
						     { gpa + cut, len - cut, true } };

		driver_add(&m->d, VSOCK_RX, pieces, RX_PIECES_MAX);
	} else {
		const struct driver_buf behind[] = { { gpa, cut, false }, { gpa, len, true } };

		if (shape % 16 == 5)
			driver_add(&m->d, VSOCK_RX, behind, RX_PIECES_MAX);
		else
			driver_add(&m->d, VSOCK_RX, behind + 1, 1);
	}
}

/* Buffers come back in order: none is given twice. */
static void give_buffers(struct model *m, uint8_t n, uint8_t shape, uint8_t step)
{
	struct driver_queue *q = &m->d.queues[VSOCK_RX];

	for (; n > 0 && n_outstanding(q) < DRIVER_SIZE_MAX / RX_PIECES_MAX; n--) {
		give_buffer(m, shape);
		shape += step;
	}
	rig_write32(&m->d.mmio, 0x50, VSOCK_RX);
}

/* Ports of a connection there is, or any of a few. */
static void choose_ports(struct model *m, uint8_t how, struct vsock_hdr *hdr)
{
	const struct vsock_conn *conn = &m->vsock.table.conns[how % 8];

	hdr->dst_port = how / 8 % 4;
	hdr->src_port = how / 32;
	if ((how & 1) != 0 || conn->state == VSOCK_CONN_CLOSED)
		return;
	hdr->dst_port = conn->host_port;
	hdr->src_port = conn->guest_port;
}

static uint32_t choose_number(uint8_t how)
{
	static const uint32_t numbers[] = { 0, 1, 300, 4096, 65536, 65537, 1 << 30, UINT32_MAX };

	return how < 128 ? how : numbers[how % ARRAY_SIZE(numbers)];
}

/* In one to three buffers. */
static void send_packet(struct model *m, const uint8_t *step)
{
	struct vsock_hdr hdr = {
		.src_cid = CID,
		.dst_cid = VSOCK_HOST_CID,
		.type = VSOCK_TYPE_STREAM,
		.op = step[1] % 9,
		.flags = step[1] / 9,
		.buf_alloc = choose_number(step[3]) << 8,
		.fwd_cnt = m->vsock.table.conns[step[2] % 8].tx_cnt,
	};
	uint32_t sent = choose_number(step[4]) % (TX_BYTES - HDR);
	uint32_t cut = step[5];
	struct driver_buf bufs[3];

	choose_ports(m, step[2], &hdr);
	if (hdr.op == VSOCK_OP_RW)
		hdr.len = sent;
	if (step[3] == 255)
		hdr.fwd_cnt = choose_number(step[5]);
	if (step[5] == 255)
		hdr.len = choose_number(step[4]) + 1;
	if (step[5] == 254)
		hdr.type = step[4];
	if (step[5] == 253)
		hdr.dst_cid = step[4];
	if (n_outstanding(&m->d.queues[VSOCK_TX]) > 60)
		return;
	memcpy(driver_ptr(&m->d, m->tx_gpa), &hdr, HDR);
	cut = MIN(cut, HDR + sent - 2);
	bufs[0] = (struct driver_buf){ .gpa = m->tx_gpa, .len = cut };
	bufs[1] = (struct driver_buf){ .gpa = m->tx_gpa + cut, .len = 1 };
	bufs[2] = (struct driver_buf){ .gpa = m->tx_gpa + cut + 1, .len = HDR + sent - cut - 1 };
	/* A header that is cut breaks the device: rarely. */
	driver_add(&m->d, VSOCK_TX, bufs, step[5] == 252 && step[4] < 16 ? 1 : 3);
	rig_write32(&m->d.mmio, 0x50, VSOCK_TX);
}

/* A reset leaves nothing; clients that nobody has accepted yet are the next driver's. */
static void boot(struct model *m)
{
	const struct vsock_table *table = &m->vsock.table;

	rig_write32(&m->d.mmio, 0x70, 0);
	ASSERT(table->n_handshakes == 0 && TAILQ_EMPTY(&table->sending) &&
	       TAILQ_EMPTY(&table->timed) && m->vsock.rx.n_resets == 0 &&
	       m->vsock.rx.batch.n == 0 && table->n_full == 0);
	driver_boot(&m->d, 0);
	m->n_flows = 0;
}

/* ---- the host ---- */

static void new_client(struct model *m, const uint8_t *step)
{
	struct host *host = free_host(m);
	char line[64];
	int len = snprintf(line, sizeof(line), "CONNECT %u\n", step[1] % 8u);
	int fd = host == NULL ? -1 : unix_connect(m->path);

	if (fd < 0)
		return;
	*host = (struct host){ .fd = fd, .is_client = true };
	if (step[2] > 240)
		line[step[2] % 8] = (char)step[3];
	if (step[2] > 230)
		len = MIN(len, step[4] % 16);
	(void)send(fd, line, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void host_writes(struct host *host, uint32_t len)
{
	uint8_t bytes[2000];
	ssize_t n;

	len = MIN(len, sizeof(bytes));
	for (uint32_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(host->next + i);
	n = send(host->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0)
		host->next += (uint8_t)n;
}

static void host_acts(struct model *m, const uint8_t *step)
{
	static uint8_t bytes[65536];
	struct host *host = &m->hosts[step[1] % N_HOSTS];

	if (host->fd <= 0)
		return;
	switch (step[2] % 8) {
	case 0:
		close_fd(&host->fd);
		break;
	case 1:
		shutdown(host->fd, step[3] % 2);
		break;
	case 2:
	case 3:
		(void)recv(host->fd, bytes, choose_number(step[3]) % sizeof(bytes) + 1,
			   MSG_DONTWAIT);
		break;
	default:
		/* A client's bytes may be taken for its line: they count when it has been answered.
		 */
		if (!host->is_client || recv(host->fd, bytes, 1, MSG_DONTWAIT | MSG_PEEK) == 1) {
			host->is_client = false;
			host_writes(host, choose_number(step[3]) + step[4]);
		}
		break;
	}
}

static void answer_connect(struct model *m, uint8_t how)
{
	int fd = (how & 1) != 0 ? new_pair(m) : -ECONNREFUSED;

	vsock_connect_done(&m->vsock, m->waiting, fd);
}

/* ---- both ---- */

static void take_step(struct model *m, const uint8_t *step)
{
	switch (step[0] % 16) {
	case 0:
		give_buffers(m, step[1], step[2], step[3]);
		break;
	case 1:
		new_client(m, step);
		break;
	case 2:
		answer_connect(m, step[1]);
		break;
	case 3:
		if (step[1] < 8)
			boot(m);
		else if (step[1] < 16)
			vsock_transport_reset(&m->vsock);
		break;
	case 4:
		if (step[1] < 16 && m->n_sleeps++ < SLEEPS_MAX)
			usleep(3000);
		break;
	case 5:
	case 6:
	case 7:
	case 8:
		host_acts(m, step);
		break;
	default:
		send_packet(m, step);
		break;
	}
	event_base_loop(m->d.base, EVLOOP_NONBLOCK);
	take_packets(m);
}

/* Of a queue's. */
static unsigned int n_in_flight(const struct virtq *vq)
{
	unsigned int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(vq->in_flight); i++)
		n += (unsigned int)__builtin_popcountll(vq->in_flight[i]);
	return n;
}

static void check_kept(const struct model *m)
{
	const struct vsock_batch *batch = &m->vsock.rx.batch;
	uint32_t room = 0;

	for (unsigned int i = 0; i < batch->n; i++)
		room += batch->buffers[i].room;
	ASSERT(room == batch->room);
	if (virtio_dev_is_active(&m->vsock.dev))
		ASSERT(n_in_flight(&m->vsock.dev.queues[VSOCK_RX]) == batch->n);
}

static void check(const struct model *m)
{
	const struct vsock_table *table = &m->vsock.table;

	check_kept(m);
	ASSERT(table->n_handshakes <= VSOCK_HANDSHAKES_MAX);
	for (unsigned int i = 0; i < table->n_used; i++) {
		const struct vsock_conn *conn = &table->conns[i];

		ASSERT(conn->ring_used <= conn->buf_alloc);
		ASSERT(conn->is_sending == (conn->pending != 0));
		ASSERT(conn->state != VSOCK_CONN_CLOSED || (conn->fd == -1 && !conn->is_keyed));
	}
}

static void remove_socket(void)
{
	char path[64];

	snprintf(path, sizeof(path), PATH_FORMAT, getpid());
	unlink(path);
}

static void init(struct model *m)
{
	const struct vsock_config config = { .id = "fuzz",
					     .guest_cid = CID,
					     .uds_path = m->path,
					     .timeout_ms = 2,
					     .connect = connect_host,
					     .connect_ctx = m };
	struct err err;

	log_set_level(LOG_OFF);
	snprintf(m->path, sizeof(m->path), PATH_FORMAT, getpid());
	driver_init(&m->d, N_PAGES);
	if (vsock_init(&m->vsock, &config, &m->d.mem, &m->d.irq.line, m->d.base, &err) != 0)
		abort();
	atexit(remove_socket);
	driver_attach(&m->d, &m->vsock.dev);
	m->rx_gpa = driver_alloc(&m->d, DRIVER_SIZE_MAX * RX_STRIDE, 8);
	m->tx_gpa = driver_alloc(&m->d, TX_BYTES, 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct model *m;

	if (m == NULL) {
		m = calloc(1, sizeof(*m));
		if (m == NULL)
			abort();
		init(m);
	}
	m->n_sleeps = 0;
	boot(m);
	for (size_t at = 0; at + STEP_BYTES <= size && at < STEPS_MAX * STEP_BYTES;
	     at += STEP_BYTES) {
		take_step(m, data + at);
		check(m);
	}
	rig_write32(&m->d.mmio, 0x70, 0);
	for (size_t i = 0; i < N_HOSTS; i++) {
		if (m->hosts[i].fd > 0)
			close_fd(&m->hosts[i].fd);
	}
	event_base_loop(m->d.base, EVLOOP_NONBLOCK);
	return 0;
}
