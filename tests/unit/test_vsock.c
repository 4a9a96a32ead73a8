/*
 * The socket device between a driver's half of rings and real Unix sockets in a folder of their
 * own. Names like V03 are lines of the list of what hostile guests try.
 */
#include "driver.h"
#include "test.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/metrics.h"
#include "virtio/mmio.h"
#include "virtio/vsock.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	N_PAGES = 1024,
	CID = 42,
	HDR = 44,
	RX_DATA = 4096,
	RX_BYTES = HDR + RX_DATA,
	RX_BUFFERS = 64,
	TX_BYTES = HDR + VSOCK_BUFFER_MAX + 1000,
	CREDIT = 1 << 30,
	SHORT_MS = 50,
};

enum { REQUEST = 1, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST };
enum { NO_RECEIVE = 1, NO_SEND = 2, NEITHER = 3 };

/* Written out here as the specification has it, not taken from the device. */
struct packet {
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
	uint8_t data[RX_DATA];
} __attribute__((packed));
static_assert(offsetof(struct packet, data) == HDR, "a header's length");

struct bench {
	struct vsock vsock;
	struct driver d;
	char dir[64];
	char path[80];
	uint64_t rx_gpa[DRIVER_SIZE_MAX]; /* by head */
	uint64_t tx_gpa;
	bool keeps_buffers; /* what is taken is not given back */
	uint32_t buf_alloc;
	uint32_t fwd_cnt;
	uint64_t n_connects; /* of the connect function below */
	uint64_t last_token;
};

/* ---- the guest ---- */

/* \return its head */
static uint16_t give_gpa(struct bench *b, uint64_t gpa)
{
	const struct driver_buf buf = { .gpa = gpa, .len = RX_BYTES, .is_writable = true };
	uint16_t head = driver_add(&b->d, VSOCK_RX, &buf, 1);

	b->rx_gpa[head] = gpa;
	return head;
}

static void give(struct bench *b, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		give_gpa(b, driver_alloc(&b->d, RX_BYTES, 8));
	driver_kick(&b->d, VSOCK_RX);
}

static void boot_bare(struct bench *b)
{
	driver_attach(&b->d, &b->vsock.dev);
	driver_boot(&b->d, 0);
	b->tx_gpa = driver_alloc(&b->d, TX_BYTES, 8);
}

static void boot(struct bench *b)
{
	boot_bare(b);
	give(b, RX_BUFFERS);
}

static struct packet header(const struct bench *b, uint16_t op, uint32_t host, uint32_t guest)
{
	return (struct packet){
		.src_cid = CID,
		.dst_cid = 2,
		.src_port = guest,
		.dst_port = host,
		.type = 1,
		.op = op,
		.buf_alloc = b->buf_alloc,
		.fwd_cnt = b->fwd_cnt,
	};
}

/* A packet whose header is in one buffer with its data. */
static void send_raw(struct bench *b, const struct packet *packet, const void *data, uint32_t len)
{
	struct driver_used used;
	const struct driver_buf buf = { .gpa = b->tx_gpa, .len = HDR + len };

	assert_true(HDR + len <= TX_BYTES);
	memcpy(driver_ptr(&b->d, b->tx_gpa), packet, HDR);
	if (len > 0)
		memcpy(driver_ptr(&b->d, b->tx_gpa + HDR), data, len);
	driver_add(&b->d, VSOCK_TX, &buf, 1);
	driver_kick(&b->d, VSOCK_TX);
	assert_true(driver_take_used(&b->d, VSOCK_TX, &used));
	assert_int_equal(used.len, 0);
}

static void send_op(struct bench *b, uint16_t op, uint32_t host, uint32_t guest)
{
	struct packet packet = header(b, op, host, guest);

	send_raw(b, &packet, NULL, 0);
}

static void send_shutdown(struct bench *b, uint32_t host, uint32_t guest, uint32_t flags)
{
	struct packet packet = header(b, SHUTDOWN, host, guest);

	packet.flags = flags;
	send_raw(b, &packet, NULL, 0);
}

static void send_data(struct bench *b, uint32_t host, uint32_t guest, const void *data,
		      uint32_t len)
{
	struct packet packet = header(b, RW, host, guest);

	packet.len = len;
	send_raw(b, &packet, data, len);
}

static bool take(struct bench *b, struct packet *packet)
{
	struct driver_used used;
	uint64_t gpa;

	if (!driver_take_used(&b->d, VSOCK_RX, &used)) {
		driver_settle(&b->d);
		if (!driver_take_used(&b->d, VSOCK_RX, &used))
			return false;
	}
	gpa = b->rx_gpa[used.head];
	*packet = (struct packet){ 0 };
	memcpy(packet, driver_ptr(&b->d, gpa), used.len);
	assert_int_equal(used.len, HDR + packet->len);
	assert_int_equal(packet->src_cid, 2);
	assert_int_equal(packet->dst_cid, CID);
	if (!b->keeps_buffers) {
		give_gpa(b, gpa);
		driver_kick(&b->d, VSOCK_RX);
	}
	return true;
}

static struct packet expect(struct bench *b, uint16_t op)
{
	struct packet packet;

	assert_true(take(b, &packet));
	assert_int_equal(packet.op, op);
	assert_int_equal(packet.len != 0, op == RW);
	return packet;
}

static void expect_on(struct bench *b, uint16_t op, uint32_t host, uint32_t guest)
{
	struct packet packet = expect(b, op);

	assert_int_equal(packet.src_port, host);
	assert_int_equal(packet.dst_port, guest);
	assert_int_equal(packet.type, 1);
}

static void expect_nothing(struct bench *b)
{
	struct packet packet;

	assert_false(take(b, &packet));
}

static bool needs_reset(const struct bench *b)
{
	return (driver_status(&b->d) & VIRTIO_STATUS_NEEDS_RESET) != 0;
}

/* ---- the host ---- */

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	return address;
}

static int connect_client(const struct bench *b)
{
	int fd = unix_connect(b->path);

	assert_true(fd >= 0);
	return fd;
}

static int listen_at(const struct bench *b, uint32_t port, int backlog)
{
	char path[100];
	struct sockaddr_un address;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(path, sizeof(path), "%s_%u", b->path, port);
	address = address_of(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static void unlink_at(const struct bench *b, uint32_t port)
{
	char path[100];

	snprintf(path, sizeof(path), "%s_%u", b->path, port);
	assert_int_equal(unlink(path), 0);
}

static void write_text(struct bench *b, int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	driver_settle(&b->d);
}

static void expect_text(int fd, const char *text)
{
	char bytes[128] = { 0 };
	size_t len = strlen(text);

	assert_int_equal(recv(fd, bytes, len, MSG_DONTWAIT), len);
	assert_memory_equal(bytes, text, len);
}

static void expect_silence(int fd)
{
	char byte;

	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

static void expect_eof(int fd)
{
	char byte;

	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
}

/* Nothing in the device's part of the loop is ready: it does not spin. */
static void expect_rest(struct bench *b)
{
	struct pollfd pollfd = { .fd = b->vsock.table.epoll_fd, .events = POLLIN };

	driver_settle(&b->d);
	assert_int_equal(poll(&pollfd, 1, 0), 0);
}

static void run_ms(struct bench *b, unsigned int ms)
{
	for (unsigned int i = 0; i < ms; i++) {
		event_base_loop(b->d.base, EVLOOP_NONBLOCK);
		usleep(1000);
	}
	driver_settle(&b->d);
}

static unsigned int n_open(const struct bench *b)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < b->vsock.table.n_used; i++)
		n += b->vsock.table.conns[i].state != VSOCK_CONN_CLOSED;
	return n;
}

static const struct vsock_conn *first_open(const struct bench *b)
{
	const struct vsock_conn *conn = b->vsock.table.conns;

	while (conn->state == VSOCK_CONN_CLOSED)
		conn++;
	return conn;
}

/* A client of the host's, connected to the guest's port. \return its port */
static uint32_t open_from_host(struct bench *b, uint32_t guest, int *fd)
{
	char line[32];
	struct packet request;

	*fd = connect_client(b);
	snprintf(line, sizeof(line), "CONNECT %u\n", guest);
	write_text(b, *fd, line);
	request = expect(b, REQUEST);
	assert_int_equal(request.dst_port, guest);
	assert_int_equal(request.type, 1);
	send_op(b, RESPONSE, request.src_port, guest);
	snprintf(line, sizeof(line), "OK %u\n", request.src_port);
	expect_text(*fd, line);
	return request.src_port;
}

/* A program of the guest's, connected to a server of the host's. \return the server's socket */
static int open_from_guest(struct bench *b, uint32_t host, uint32_t guest)
{
	int listener = listen_at(b, host, 8);
	int fd;

	send_op(b, REQUEST, host, guest);
	expect_on(b, RESPONSE, host, guest);
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	assert_true(fd >= 0);
	close(listener);
	unlink_at(b, host);
	return fd;
}

/* ---- set-up ---- */

static int slow_connect(void *ctx, uint32_t port, uint64_t token)
{
	struct bench *b = ctx;

	(void)port;
	b->n_connects++;
	b->last_token = token;
	return -EINPROGRESS;
}

static struct bench *make_bench(unsigned int timeout_ms, vsock_connect_fn *connect)
{
	struct bench *b = calloc(1, sizeof(*b));
	const char *tmp = getenv("TMPDIR");
	struct vsock_config config = { .id = "v0",
				       .guest_cid = CID,
				       .uds_path = b->path,
				       .timeout_ms = timeout_ms,
				       .connect = connect,
				       .connect_ctx = b };
	struct err err;

	assert_non_null(b);
	b->buf_alloc = CREDIT;
	snprintf(b->dir, sizeof(b->dir), "%s/vsock-XXXXXX", tmp == NULL ? "/tmp" : tmp);
	assert_non_null(mkdtemp(b->dir));
	snprintf(b->path, sizeof(b->path), "%s/v", b->dir);
	driver_init(&b->d, N_PAGES);
	assert_int_equal(vsock_init(&b->vsock, &config, &b->d.mem, &b->d.irq.line, b->d.base, &err),
			 0);
	return b;
}

static int set_up(void **state)
{
	*state = make_bench(0, NULL);
	return 0;
}

static int set_up_short(void **state)
{
	*state = make_bench(SHORT_MS, NULL);
	return 0;
}

static int set_up_slow(void **state)
{
	*state = make_bench(0, slow_connect);
	return 0;
}

static int tear_down(void **state)
{
	struct bench *b = *state;

	vsock_deinit(&b->vsock);
	vsock_deinit(&b->vsock);
	driver_deinit(&b->d);
	/* Nothing is left behind. */
	assert_int_equal(rmdir(b->dir), 0);
	free(b);
	return 0;
}

/* ---- what it is for ---- */

static void identity(void **state)
{
	struct bench *b = *state;

	driver_attach(&b->d, &b->vsock.dev);
	assert_int_equal(rig_read32(&b->d.mmio, 0x08), 19);
	assert_int_equal(rig_read(&b->d.mmio, 0x100, 8), CID);
	for (uint32_t i = 0; i < 4; i++) {
		rig_write32(&b->d.mmio, 0x30, i);
		assert_int_equal(rig_read32(&b->d.mmio, 0x34), i < 3 ? 256 : 0);
	}
}

static void from_the_host(void **state)
{
	struct bench *b = *state;
	struct packet packet;
	uint32_t port;
	int fd;

	memset(&metrics, 0, sizeof(metrics));
	boot(b);
	port = open_from_host(b, 52, &fd);
	assert_int_equal(port, 1u << 30);
	write_text(b, fd, "hello");
	packet = expect(b, RW);
	assert_int_equal(packet.len, 5);
	assert_memory_equal(packet.data, "hello", 5);
	assert_int_equal(packet.buf_alloc, VSOCK_BUFFER_MAX);
	send_data(b, port, 52, "world", 5);
	expect_text(fd, "world");
	close(fd);
	packet = expect(b, SHUTDOWN);
	assert_int_equal(packet.flags, NEITHER);
	send_op(b, RST, port, 52);
	assert_int_equal(n_open(b), 0);
	expect_nothing(b);
	expect_rest(b);
	assert_int_equal(metrics_get(&metrics.vsock.conns_added), 1);
	assert_int_equal(metrics_get(&metrics.vsock.conns_removed), 1);
	assert_int_equal(metrics_get(&metrics.vsock.conns_killed), 0);
	assert_int_equal(metrics_get(&metrics.vsock.rx_bytes_count), 5);
	assert_int_equal(metrics_get(&metrics.vsock.tx_bytes_count), 5);
	/* REQUEST, RW, SHUTDOWN; RESPONSE, RW, RST */
	assert_int_equal(metrics_get(&metrics.vsock.rx_packets_count), 3);
	assert_int_equal(metrics_get(&metrics.vsock.tx_packets_count), 3);
	assert_true(metrics_get(&metrics.vsock.tx_queue_event_count) >= 3);
	assert_int_equal(open_from_host(b, 52, &fd), port + 1);
	close(fd);
}

static void from_the_guest(void **state)
{
	struct bench *b = *state;
	int fd;

	boot(b);
	fd = open_from_guest(b, 77, 1000);
	send_data(b, 77, 1000, "hello", 5);
	expect_text(fd, "hello");
	write_text(b, fd, "world");
	assert_memory_equal(expect(b, RW).data, "world", 5);
	send_shutdown(b, 77, 1000, NEITHER);
	expect_on(b, RST, 77, 1000);
	expect_eof(fd);
	assert_int_equal(n_open(b), 0);
	close(fd);
}

static void refused_by_the_guest(void **state)
{
	struct bench *b = *state;
	int fd;

	boot(b);
	fd = connect_client(b);
	write_text(b, fd, "CONNECT 5\n");
	send_op(b, RST, expect(b, REQUEST).src_port, 5);
	expect_eof(fd);
	assert_int_equal(n_open(b), 0);
	close(fd);
}

/* V03: to nobody, to a socket that nobody serves, to one whose queue is full. None waits. */
static void nobody_listens(void **state)
{
	struct bench *b = *state;
	int listener;

	boot(b);
	send_op(b, REQUEST, 1, 1000);
	expect_on(b, RST, 1, 1000);
	close(listen_at(b, 2, 1));
	send_op(b, REQUEST, 2, 1000);
	expect_on(b, RST, 2, 1000);
	unlink_at(b, 2);
	listener = listen_at(b, 3, 0);
	send_op(b, REQUEST, 3, 1000);
	expect_on(b, RESPONSE, 3, 1000);
	send_op(b, REQUEST, 3, 1001);
	expect_on(b, RST, 3, 1001);
	assert_int_equal(n_open(b), 1);
	close(listener);
	unlink_at(b, 3);
}

static void first_lines(void **state)
{
	static const struct {
		const char *line;
		uint32_t port;
	} good[] = {
		{ "CONNECT 0\n", 0 },
		{ "connect 4294967295\n", UINT32_MAX },
		{ "CoNnEcT\t 7\r\n", 7 },
		{ " CONNECT 8 and more\n", 8 },
		{ "CONNECT 00000000000000000000009\n", 9 }, /* 32 bytes */
	};
	static const char *const bad[] = {
		"\n",
		"CONNECT\n",
		"CONNECT \n",
		"CONNECT5\n",
		"CONNECT -1\n",
		"CONNECT 0x5\n",
		"CONNECT 4294967296\n",
		"CONNECT 18446744073709551621\n",
		"CONNEC 5\n",
		"DISCONNECT 5\n",
		"CONNECT 5a\n",
		"GET / HTTP/1.1\r\n",
		"CONNECT 000000000000000000000005\n", /* 33 bytes */
		"CONNECT ../../etc/passwd\n",
	};
	struct bench *b = *state;
	int fd;

	boot(b);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		fd = connect_client(b);
		write_text(b, fd, good[i].line);
		assert_int_equal(expect(b, REQUEST).dst_port, good[i].port);
		close(fd);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		fd = connect_client(b);
		write_text(b, fd, bad[i]);
		expect_nothing(b);
		assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
		close(fd);
	}
}

/* Byte by byte; and what stands behind the newline is the guest's, however early it came. */
static void a_line_in_pieces(void **state)
{
	struct bench *b = *state;
	static const char line[] = "CONNECT 52\nfirst";
	struct packet request;
	int fd;

	boot(b);
	fd = connect_client(b);
	for (size_t i = 0; i < sizeof(line) - 1; i++) {
		char byte[2] = { line[i], '\0' };

		expect_rest(b);
		write_text(b, fd, byte);
	}
	request = expect(b, REQUEST);
	send_op(b, RESPONSE, request.src_port, 52);
	assert_memory_equal(expect(b, RW).data, "first", 5);
	close(fd);
}

/* Clients that say nothing: sixteen at a time, and not for ever; those behind them are not lost. */
static void silent_clients(void **state)
{
	struct bench *b = *state;
	int fds[20];

	boot(b);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = connect_client(b);
	driver_settle(&b->d);
	assert_int_equal(n_open(b), 16);
	write_text(b, fds[18], "CONNECT 5\n");
	expect_nothing(b);
	expect_rest(b);
	close(fds[0]); /* makes room for the seventeenth */
	expect_rest(b);
	assert_int_equal(n_open(b), 16);
	run_ms(b, SHORT_MS * 3 / 2);
	expect_eof(fds[1]);
	assert_int_equal(expect(b, REQUEST).dst_port, 5);
	run_ms(b, SHORT_MS * 2);
	for (size_t i = 1; i < ARRAY_SIZE(fds); i++) {
		expect_eof(fds[i]);
		close(fds[i]);
	}
	expect(b, RST); /* of the request that was not answered */
	assert_int_equal(n_open(b), 0);
	expect_rest(b);
}

/* ---- much data ---- */

enum { N_ECHO = 100, ECHO_BYTES = 40000 };

struct echo {
	int fd;
	uint32_t host;
	uint32_t guest;
	uint32_t seed_out;
	uint32_t seed_in;
	size_t n_out;
	size_t n_in;
};

static void echo_out(struct echo *echo)
{
	uint32_t bytes[200];
	size_t len = MIN(sizeof(bytes), ECHO_BYTES - echo->n_out);
	uint32_t seed = echo->seed_out;

	for (size_t i = 0; i < len / 4; i++)
		bytes[i] = rig_random(&seed);
	if (len == 0 || send(echo->fd, bytes, len, MSG_DONTWAIT) != (ssize_t)len)
		return;
	echo->seed_out = seed;
	echo->n_out += len;
}

static void echo_in(struct echo *echo)
{
	uint32_t bytes[1000];
	ssize_t n = recv(echo->fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_PEEK);

	if (n < 4)
		return;
	n = recv(echo->fd, bytes, (size_t)n & ~(size_t)3, MSG_DONTWAIT);
	assert_int_equal(n % 4, 0);
	for (ssize_t i = 0; i < n / 4; i++)
		assert_int_equal(bytes[i], rig_random(&echo->seed_in));
	echo->n_in += (size_t)n;
}

static void echo_guest(struct bench *b)
{
	struct packet packet;

	while (take(b, &packet)) {
		assert_true(packet.op == RW || packet.op == CREDIT_UPDATE);
		if (packet.op == RW)
			send_data(b, packet.src_port, packet.dst_port, packet.data, packet.len);
	}
}

static void hundred_connections(void **state)
{
	struct bench *b = *state;
	static struct echo echoes[N_ECHO];
	size_t n_done = 0;

	boot(b);
	for (uint32_t i = 0; i < N_ECHO; i++) {
		struct echo *echo = &echoes[i];

		*echo = (struct echo){ .guest = 1000 + i, .host = 5000 + i, .seed_out = i + 1 };
		echo->seed_in = echo->seed_out;
		if (i % 2 == 0)
			echo->host = open_from_host(b, echo->guest, &echo->fd);
		else
			echo->fd = open_from_guest(b, echo->host, echo->guest);
	}
	while (n_done < N_ECHO) {
		n_done = 0;
		for (size_t i = 0; i < N_ECHO; i++) {
			echo_out(&echoes[i]);
			echo_in(&echoes[i]);
			n_done += echoes[i].n_in == ECHO_BYTES;
		}
		driver_settle(&b->d);
		echo_guest(b);
	}
	for (size_t i = 0; i < N_ECHO; i++)
		close(echoes[i].fd);
	driver_settle(&b->d);
	for (size_t i = 0; i < N_ECHO; i++) {
		struct packet packet = expect(b, SHUTDOWN);

		send_op(b, RST, packet.src_port, packet.dst_port);
	}
	assert_int_equal(n_open(b), 0);
	expect_rest(b);
}

/* ---- credit ---- */

static void fill_host(struct bench *b, uint32_t host, uint32_t guest, const struct vsock_conn *conn)
{
	static const uint8_t bytes[4096];
	bool was_buffer_kept = b->keeps_buffers;
	struct packet packet;

	b->keeps_buffers = false;
	while (conn->state == VSOCK_CONN_ESTABLISHED && conn->ring_used < conn->buf_alloc) {
		send_data(b, host, guest, bytes, MIN(4096, conn->buf_alloc - conn->ring_used));
		while (take(b, &packet))
			assert_int_equal(packet.op, CREDIT_UPDATE);
	}
	b->keeps_buffers = was_buffer_kept;
}

/* Ours: the guest reads slowly. */
static void guest_credit(void **state)
{
	struct bench *b = *state;
	char bytes[5000];
	uint32_t port;
	int fd;

	boot(b);
	memset(bytes, 'x', sizeof(bytes));
	b->buf_alloc = 1000;
	port = open_from_host(b, 52, &fd);
	assert_int_equal(send(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	assert_int_equal(expect(b, RW).len, 1000);
	expect(b, CREDIT_REQUEST);
	expect_nothing(b);
	expect_rest(b);
	b->fwd_cnt = 300;
	send_op(b, CREDIT_UPDATE, port, 52);
	assert_int_equal(expect(b, RW).len, 300);
	expect(b, CREDIT_REQUEST);
	b->buf_alloc = 0; /* less than is on its way */
	send_op(b, CREDIT_UPDATE, port, 52);
	expect_nothing(b);
	b->buf_alloc = 10000;
	b->fwd_cnt = 1300;
	send_op(b, CREDIT_UPDATE, port, 52);
	assert_int_equal(expect(b, RW).len, 3700);
	expect_nothing(b);
	expect_rest(b);
	/* One that closes while there is none is told when there is. */
	b->buf_alloc = 3700;
	send_op(b, CREDIT_UPDATE, port, 52);
	write_text(b, fd, "bye");
	close(fd);
	expect_nothing(b);
	expect_rest(b);
	b->fwd_cnt = 5000;
	send_op(b, CREDIT_UPDATE, port, 52);
	assert_int_equal(expect(b, RW).len, 3);
	assert_int_equal(expect(b, SHUTDOWN).flags, NEITHER);
}

/* V04 */
static void nonsense_credit(void **state)
{
	static const uint32_t counts[] = { 0, 1, 0x7fffffff, 0x80000000, UINT32_MAX };
	struct bench *b = *state;
	uint32_t port;
	int fd;
	size_t n_sent = 0;
	size_t n_came = 0;
	struct packet packet;

	boot(b);
	port = open_from_host(b, 52, &fd);
	for (size_t i = 0; i < ARRAY_SIZE(counts) * ARRAY_SIZE(counts); i++) {
		b->buf_alloc = counts[i % ARRAY_SIZE(counts)];
		b->fwd_cnt = counts[i / ARRAY_SIZE(counts)];
		send_op(b, CREDIT_UPDATE, port, 52);
		n_sent += (size_t)send(fd, "abc", 3, 0);
		while (take(b, &packet))
			n_came += packet.len;
		expect_rest(b);
	}
	b->buf_alloc = CREDIT;
	b->fwd_cnt = (uint32_t)n_came;
	send_op(b, CREDIT_UPDATE, port, 52);
	while (take(b, &packet))
		n_came += packet.len;
	assert_int_equal(n_came, n_sent);
	close(fd);
}

/* 4 GiB have gone each way, nearly. All counts go round, and nobody is cut off or held up. */
static void counts_that_wrap(void **state)
{
	enum { BEFORE = 5000, N_BYTES = 4 * BEFORE };
	static const uint8_t bytes[1000];
	struct bench *b = *state;
	struct vsock_conn *conn;
	uint8_t got[sizeof(bytes)];
	struct packet packet;
	size_t n_came = 0;
	int fd;

	boot(b);
	b->buf_alloc = 3000;
	b->fwd_cnt = UINT32_MAX - BEFORE;
	fd = open_from_guest(b, 77, 1000);
	conn = &b->vsock.table.conns[0];
	conn->tx_cnt = b->fwd_cnt;
	conn->fwd_cnt = UINT32_MAX - BEFORE;
	conn->told_cnt = conn->fwd_cnt;
	send_op(b, CREDIT_UPDATE, 77, 1000);
	for (unsigned int i = 0; i < N_BYTES / sizeof(bytes); i++) {
		assert_int_equal(send(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
		driver_settle(&b->d);
		packet = expect(b, RW);
		n_came += packet.len;
		b->fwd_cnt += packet.len;
		send_data(b, 77, 1000, bytes, sizeof(bytes));
		assert_int_equal(recv(fd, got, sizeof(got), MSG_DONTWAIT), sizeof(got));
	}
	assert_int_equal(n_came, N_BYTES);
	assert_int_equal(conn->tx_cnt, N_BYTES - BEFORE - 1);
	assert_int_equal(conn->fwd_cnt, N_BYTES - BEFORE - 1);
	/* The credit ends at the same byte as ever, on both sides of the wrap. */
	b->fwd_cnt = UINT32_MAX - 999;
	conn->tx_cnt = UINT32_MAX - 999;
	send_op(b, CREDIT_UPDATE, 77, 1000);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(send(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	driver_settle(&b->d);
	assert_int_equal(expect(b, RW).len, 3000);
	expect(b, CREDIT_REQUEST);
	expect_nothing(b);
	fill_host(b, 77, 1000, conn);
	send_op(b, CREDIT_REQUEST, 77, 1000);
	assert_int_equal(expect(b, CREDIT_UPDATE).fwd_cnt, conn->fwd_cnt);
	close(fd);
}

/* One read of the socket fills several buffers, each a packet, and stops at the credit. */
static void many_buffers_at_once(void **state)
{
	static const uint32_t lengths[] = { RX_DATA - 4, RX_DATA, 9 };
	struct bench *b = *state;
	static uint8_t bytes[3 * RX_DATA];
	struct packet packet;
	uint32_t at = 0;
	uint32_t port;
	int fd;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 31 >> 4);
	boot(b);
	b->buf_alloc = 2 * RX_DATA + 5;
	port = open_from_host(b, 52, &fd);
	assert_int_equal(send(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		packet = expect(b, RW);
		assert_int_equal(packet.len, lengths[i]);
		assert_memory_equal(packet.data, bytes + at, packet.len);
		at += packet.len;
	}
	expect(b, CREDIT_REQUEST);
	expect_nothing(b);
	b->fwd_cnt = at;
	send_op(b, CREDIT_UPDATE, port, 52);
	packet = expect(b, RW);
	assert_int_equal(packet.len, sizeof(bytes) - at);
	assert_memory_equal(packet.data, bytes + at, packet.len);
	expect_rest(b);
	close(fd);
}

/* Bytes lie behind a header as in the sender's words, but for the first packet after a pause. */
static void words_stay_words(void **state)
{
	struct bench *b = *state;
	static const uint8_t bytes[4 * RX_DATA];
	uint32_t at;
	int fd;

	boot(b);
	fd = open_from_guest(b, 77, 1000);
	for (unsigned int round = 0; round < 3; round++) {
		assert_int_equal(send(fd, bytes, sizeof(bytes) - round, 0), sizeof(bytes) - round);
		for (at = 0; at < sizeof(bytes) - round;) {
			assert_int_equal(at % 8, at == 0 ? 0 : HDR % 8);
			at += expect(b, RW).len;
		}
	}
	close(fd);
}

/* Buffers that a read did not fill hold what comes next, whatever it is, in their order. */
static void buffers_that_are_left(void **state)
{
	struct bench *b = *state;
	struct driver_used used;
	uint16_t heads[4];
	int fd;

	boot_bare(b);
	give(b, 1);
	fd = open_from_guest(b, 77, 1000);
	expect_nothing(b);
	b->keeps_buffers = true;
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		heads[i] = give_gpa(b, driver_alloc(&b->d, RX_BYTES, 8));
	driver_kick(&b->d, VSOCK_RX);
	write_text(b, fd, "a");
	expect(b, RW); /* in the first of all */
	write_text(b, fd, "b");
	send_op(b, RW, 99, 99);
	write_text(b, fd, "c");
	for (size_t i = 0; i < 3; i++) {
		driver_settle(&b->d);
		assert_true(driver_take_used(&b->d, VSOCK_RX, &used));
		assert_int_equal(used.head, heads[i]);
		assert_int_equal(used.len, i == 1 ? HDR : HDR + 1);
	}
	/* A reset takes the last away. */
	rig_write32(&b->d.mmio, 0x70, 0);
	driver_boot(&b->d, 0);
	close(fd);
	send_op(b, RW, 98, 98);
	expect_nothing(b);
	give(b, 1);
	expect_on(b, RST, 98, 98);
}

/* Packets of a buffer in several pieces, or with one to read in front, are made one by one. */
static void odd_buffers_among_good_ones(void **state)
{
	enum { PIECE = 100 };
	struct bench *b = *state;
	struct driver_used used;
	uint16_t heads[5];
	uint8_t bytes[4 * RX_DATA];
	uint32_t at = 0;
	int fd;

	boot_bare(b);
	give(b, 1);
	b->keeps_buffers = true;
	fd = open_from_guest(b, 77, 1000);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i / 3);
	for (uint16_t i = 0; i < ARRAY_SIZE(heads); i++) {
		const uint64_t gpa = driver_alloc(&b->d, RX_BYTES, 8);
		const struct driver_buf whole = { gpa, RX_BYTES, true };
		const struct driver_buf behind[] = { { gpa, PIECE, false }, whole };
		const struct driver_buf pieces[] = { { gpa, PIECE, true },
						     { gpa + PIECE, RX_BYTES - PIECE, true } };

		if (i == 2)
			heads[i] = driver_add(&b->d, VSOCK_RX, behind, ARRAY_SIZE(behind));
		else if (i == 3)
			heads[i] = driver_add(&b->d, VSOCK_RX, pieces, ARRAY_SIZE(pieces));
		else
			heads[i] = driver_add(&b->d, VSOCK_RX, &whole, 1);
		b->rx_gpa[heads[i]] = gpa;
	}
	write_text(b, fd, "x"); /* the second is kept, and no more: what follows it is odd */
	assert_int_equal(b->vsock.rx.batch.n, 1);
	assert_true(driver_take_used(&b->d, VSOCK_RX, &used));
	assert_int_equal(send(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	driver_settle(&b->d);
	for (size_t i = 1; i < ARRAY_SIZE(heads); i++) {
		const uint8_t *packet = driver_ptr(&b->d, b->rx_gpa[heads[i]]);

		assert_true(driver_take_used(&b->d, VSOCK_RX, &used));
		assert_int_equal(used.head, heads[i]);
		assert_memory_equal(packet + HDR, bytes + at, used.len - HDR);
		at += used.len - HDR;
	}
	b->keeps_buffers = false;
	give(b, 1);
	assert_memory_equal(expect(b, RW).data, bytes + at, sizeof(bytes) - at);
	close(fd);
}

/* Give \p n buffers and have a byte sent, which fills the first. \return the host's socket */
static int leave_buffers(struct bench *b, unsigned int n)
{
	int fd;

	boot_bare(b);
	give(b, 1);
	b->keeps_buffers = true;
	fd = open_from_guest(b, 77, 1000);
	give(b, n);
	write_text(b, fd, "a");
	expect(b, RW);
	assert_int_equal(b->vsock.rx.batch.n, n - 1);
	return fd;
}

/* A driver that breaks the device while buffers of its are kept gets none of them back. */
static void broken_with_buffers_left(void **state)
{
	struct bench *b = *state;
	struct driver_used used;
	int fd = leave_buffers(b, 2);

	driver_offer(&b->d, VSOCK_RX, DRIVER_SIZE_MAX);
	write_text(b, fd, "b");
	assert_true(needs_reset(b));
	assert_false(driver_take_used(&b->d, VSOCK_RX, &used));
	assert_int_equal(n_open(b), 0);
	close(fd);
	driver_boot(&b->d, 0);
	assert_int_equal(b->vsock.rx.batch.room, 0);
	give(b, 1);
	close(open_from_guest(b, 78, 1000));
}

/* They are the device's still: connections are at an end, queues are not. */
static void transport_reset_with_buffers_left(void **state)
{
	struct bench *b = *state;
	int fd = leave_buffers(b, 3);
	const struct driver_buf event = { driver_alloc(&b->d, 8, 8), 4, true };

	driver_add(&b->d, VSOCK_EVENT, &event, 1);
	vsock_transport_reset(&b->vsock);
	assert_int_equal(b->vsock.rx.batch.n, 2);
	send_op(b, RW, 98, 98);
	send_op(b, RW, 99, 99);
	expect_on(b, RST, 98, 98);
	expect_on(b, RST, 99, 99);
	assert_int_equal(b->vsock.rx.batch.n, 0);
	close(fd);
}

/* What was sent is given back and credit is told, by one interrupt. */
static void one_interrupt(void **state)
{
	struct bench *b = *state;
	static const uint8_t bytes[VSOCK_BUFFER_MAX / 4 * 3];
	unsigned int n_raised;
	int fd;

	boot(b);
	fd = open_from_guest(b, 77, 1000);
	n_raised = b->d.irq.n_raised;
	send_data(b, 77, 1000, bytes, sizeof(bytes));
	assert_int_equal(b->d.irq.n_raised, n_raised + 1);
	expect(b, CREDIT_UPDATE);
	close(fd);
}

/* The host's kernel has room for more of the guest's bytes than by default, so that fewer go
 * through the ring. */
static void socket_is_wide(void **state)
{
	struct bench *b = *state;
	socklen_t size = sizeof(int);
	int by_default;
	int ours;
	int fd;

	boot(b);
	fd = open_from_guest(b, 77, 1000);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &by_default, &size), 0);
	assert_int_equal(
		getsockopt(b->vsock.table.conns[0].fd, SOL_SOCKET, SO_SNDBUF, &ours, &size), 0);
	assert_true(ours > by_default);
	close(fd);
}

/* The host's: V05. Its socket takes some, the ring the rest, and not a byte more. */
static void host_credit(void **state)
{
	struct bench *b = *state;
	static uint8_t bytes[VSOCK_BUFFER_MAX];
	struct vsock_conn *conn;
	struct packet packet = { 0 };
	uint32_t n_sent = 0;
	uint32_t n_read = 0;
	int other;
	int fd;
	ssize_t n;

	boot(b);
	fd = open_from_guest(b, 77, 1000);
	other = open_from_guest(b, 78, 1001);
	conn = &b->vsock.table.conns[0];
	while (packet.fwd_cnt + VSOCK_BUFFER_MAX - n_sent > 0) {
		uint32_t len = MIN(1000, packet.fwd_cnt + VSOCK_BUFFER_MAX - n_sent);

		for (uint32_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)((n_sent + i) * 7 >> 3);
		send_data(b, 77, 1000, bytes, len);
		n_sent += len;
		while (take(b, &packet))
			assert_int_equal(packet.op, CREDIT_UPDATE);
		if (packet.fwd_cnt + VSOCK_BUFFER_MAX - n_sent == 0) {
			send_op(b, CREDIT_REQUEST, 77, 1000);
			packet = expect(b, CREDIT_UPDATE);
		}
	}
	assert_int_equal(conn->ring_used, VSOCK_BUFFER_MAX);
	expect_rest(b);
	/* Others do not mind. */
	send_data(b, 78, 1001, "hi", 2);
	expect_text(other, "hi");
	write_text(b, other, "ho");
	assert_memory_equal(expect(b, RW).data, "ho", 2);
	/* The host reads at last. */
	while ((n = recv(fd, bytes, 777, MSG_DONTWAIT)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(bytes[i], (uint8_t)((n_read + (uint32_t)i) * 7 >> 3));
		n_read += (uint32_t)n;
		driver_settle(&b->d);
	}
	assert_int_equal(n_read, n_sent);
	assert_int_equal(conn->ring_used, 0);
	while (take(b, &packet))
		assert_int_equal(packet.op, CREDIT_UPDATE);
	assert_true(n_sent - packet.fwd_cnt < VSOCK_BUFFER_MAX / 4 * 3);
	expect_rest(b);
	close(fd);
	close(other);
}

static void more_than_the_credit(void **state)
{
	struct bench *b = *state;
	int fd;

	boot(b);
	fd = open_from_guest(b, 77, 1000);
	fill_host(b, 77, 1000, &b->vsock.table.conns[0]);
	send_data(b, 77, 1000, "x", 1);
	expect_on(b, RST, 77, 1000);
	assert_int_equal(n_open(b), 0);
	close(fd);
}

/* The host goes while bytes for it wait: the guest is told, and what the host sent still comes. */
static void host_goes_with_bytes_waiting(void **state)
{
	struct bench *b = *state;
	struct packet packet;
	uint32_t n_sent;
	int fd;

	boot(b);
	fd = open_from_guest(b, 77, 1000);
	fill_host(b, 77, 1000, &b->vsock.table.conns[0]);
	n_sent = b->vsock.table.conns[0].fwd_cnt + b->vsock.table.conns[0].ring_used;
	b->buf_alloc = 0;
	send_op(b, CREDIT_UPDATE, 77, 1000);
	assert_int_equal(send(fd, "bye", 3, 0), 3);
	close(fd);
	packet = expect(b, SHUTDOWN);
	assert_int_equal(packet.flags, NO_RECEIVE);
	assert_int_equal(b->vsock.table.conns[0].ring_used, 0);
	assert_int_equal(packet.fwd_cnt, n_sent); /* what was thrown away uses no credit */
	expect_rest(b);
	send_data(b, 77, 1000, "lost", 4); /* it crossed: no reason to be cut off */
	b->buf_alloc = CREDIT;
	send_op(b, CREDIT_UPDATE, 77, 1000);
	packet = expect(b, RW);
	assert_memory_equal(packet.data, "bye", 3);
	while (packet.op != SHUTDOWN && packet.op != RST)
		assert_true(take(b, &packet));
	expect_rest(b);
}

/* ---- the end of connections ---- */

static void host_half_closes(void **state)
{
	struct bench *b = *state;
	int fd;

	boot(b);
	fd = open_from_guest(b, 77, 1000);
	write_text(b, fd, "all");
	shutdown(fd, SHUT_WR);
	assert_memory_equal(expect(b, RW).data, "all", 3);
	assert_int_equal(expect(b, SHUTDOWN).flags, NO_SEND);
	expect_rest(b);
	send_data(b, 77, 1000, "still", 5);
	expect_text(fd, "still");
	send_shutdown(b, 77, 1000, NO_SEND);
	expect_on(b, RST, 77, 1000);
	expect_eof(fd);
	assert_int_equal(n_open(b), 0);
	close(fd);
}

static void host_half_closes_and_goes(void **state)
{
	struct bench *b = *state;
	int fd;

	boot(b);
	fd = open_from_guest(b, 77, 1000);
	shutdown(fd, SHUT_WR);
	assert_int_equal(expect(b, SHUTDOWN).flags, NO_SEND);
	close(fd);
	assert_int_equal(expect(b, SHUTDOWN).flags, NEITHER);
	expect_rest(b);
}

static void guest_half_closes(void **state)
{
	struct bench *b = *state;
	int fd;

	boot(b);
	fd = open_from_guest(b, 77, 1000);
	send_data(b, 77, 1000, "all", 3);
	send_shutdown(b, 77, 1000, NO_SEND);
	expect_text(fd, "all");
	expect_eof(fd);
	write_text(b, fd, "still");
	assert_memory_equal(expect(b, RW).data, "still", 5);
	close(fd);
	expect_on(b, RST, 77, 1000);
	assert_int_equal(n_open(b), 0);
}

static void guest_receives_no_more(void **state)
{
	struct bench *b = *state;
	int fd;

	boot(b);
	fd = open_from_guest(b, 77, 1000);
	send_shutdown(b, 77, 1000, NO_RECEIVE);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	send_data(b, 77, 1000, "still", 5);
	expect_text(fd, "still");
	send_shutdown(b, 77, 1000, NO_SEND); /* and with it, both */
	expect_on(b, RST, 77, 1000);
	expect_eof(fd);
	close(fd);
}

/* Nothing is read from it any more, and nothing is written: still its going is seen. */
static void guest_receives_no_more_and_host_goes(void **state)
{
	struct bench *b = *state;
	int fd;

	boot(b);
	fd = open_from_guest(b, 77, 1000);
	send_shutdown(b, 77, 1000, NO_RECEIVE);
	expect_nothing(b);
	expect_rest(b);
	close(fd);
	expect_on(b, RST, 77, 1000);
	assert_int_equal(n_open(b), 0);
	expect_rest(b);
}

/* What the guest sent before it closed still arrives. */
static void guest_closes_with_bytes_waiting(void **state)
{
	struct bench *b = *state;
	static char bytes[4096];
	uint32_t n_sent;
	uint32_t n_read = 0;
	ssize_t n;
	int fd;

	boot(b);
	fd = open_from_guest(b, 77, 1000);
	fill_host(b, 77, 1000, &b->vsock.table.conns[0]);
	n_sent = b->vsock.table.conns[0].fwd_cnt + b->vsock.table.conns[0].ring_used;
	send_shutdown(b, 77, 1000, NEITHER);
	expect_nothing(b);
	while ((n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
		n_read += (uint32_t)n;
		driver_settle(&b->d);
	}
	assert_int_equal(n, 0);
	assert_int_equal(n_read, n_sent);
	assert_int_equal(n_open(b), 0);
	close(fd);
}

static void what_must_not_last(void **state)
{
	struct bench *b = *state;
	struct packet packet;
	uint32_t port;
	int fd;
	int stuck;

	memset(&metrics, 0, sizeof(metrics));
	boot(b);
	/* The guest does not answer a REQUEST. */
	fd = connect_client(b);
	write_text(b, fd, "CONNECT 9\n");
	port = expect(b, REQUEST).src_port;
	run_ms(b, SHORT_MS * 2);
	expect_on(b, RST, port, 9);
	expect_eof(fd);
	close(fd);
	/* Nor a SHUTDOWN. */
	port = open_from_host(b, 9, &fd);
	close(fd);
	expect_on(b, SHUTDOWN, port, 9);
	run_ms(b, SHORT_MS * 2);
	expect_on(b, RST, port, 9);
	/* The host does not read what the guest sent before it closed. */
	stuck = open_from_guest(b, 77, 1000);
	fill_host(b, 77, 1000, first_open(b));
	send_shutdown(b, 77, 1000, NEITHER);
	run_ms(b, SHORT_MS * 2);
	while (take(b, &packet) && packet.op == CREDIT_UPDATE)
		continue;
	assert_int_equal(packet.op, RST);
	assert_int_equal(n_open(b), 0);
	close(stuck);
	assert_int_equal(metrics_get(&metrics.vsock.conns_killed), 3);
	/* But what is open may rest. */
	port = open_from_host(b, 9, &fd);
	run_ms(b, SHORT_MS * 2);
	write_text(b, fd, "x");
	expect_on(b, RW, port, 9);
	close(fd);
}

/* ---- hostile packets ---- */

/* V01 */
static void bad_lengths(void **state)
{
	static const struct {
		uint16_t op;
		uint32_t len;  /* as the header says */
		uint32_t sent; /* as the buffers are */
	} cases[] = {
		{ RW, 10, 9 },
		{ RW, VSOCK_BUFFER_MAX + 1, VSOCK_BUFFER_MAX + 900 },
		{ RW, UINT32_MAX, 100 },
		{ RW, UINT32_MAX - 43, 0 },
		{ SHUTDOWN, 1, 1 },
		{ CREDIT_UPDATE, 5, 5 },
		{ CREDIT_REQUEST, UINT32_MAX, 0 },
		{ REQUEST, 1, 1 },
		{ RESPONSE, 1, 0 },
	};
	static const uint8_t bytes[VSOCK_BUFFER_MAX + 900];
	struct bench *b = *state;
	int listener;

	boot(b);
	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int fd = open_from_guest(b, 77, i);
		struct packet packet = header(b, cases[i].op, 77, i);

		packet.len = cases[i].len;
		send_raw(b, &packet, bytes, cases[i].sent);
		expect_on(b, RST, 77, i);
		expect_eof(fd);
		/* The same where no connection is. */
		listener = listen_at(b, 77, 8);
		send_raw(b, &packet, bytes, cases[i].sent);
		expect_on(b, RST, 77, i);
		close(listener);
		unlink_at(b, 77);
		close(fd);
	}
	assert_int_equal(n_open(b), 0);
}

/* V01: header and data in buffers of any size, to either side. */
static void split_packets(void **state)
{
	struct bench *b = *state;
	struct driver *d = &b->d;
	struct driver_used used;
	struct packet packet;
	struct driver_buf bufs[8];
	const struct driver_buf rx[] = {
		{ .gpa = driver_alloc(d, 20, 1), .len = 20, .is_writable = true },
		{ .gpa = driver_alloc(d, 26, 1), .len = 26, .is_writable = true },
		{ .gpa = driver_alloc(d, 3, 1), .len = 3, .is_writable = true },
	};
	int fd;

	boot(b);
	fd = open_from_guest(b, 77, 1000);
	packet = header(b, RW, 77, 1000);
	packet.len = 6;
	memcpy(packet.data, "in pieces", 9);
	for (unsigned int i = 0; i < 8; i++) {
		bufs[i] = (struct driver_buf){ .gpa = driver_alloc(d, 7, 1), .len = 7 };
		memcpy(driver_ptr(d, bufs[i].gpa), (uint8_t *)&packet + 7 * (size_t)i, 7);
	}
	driver_add(d, VSOCK_TX, bufs, 8);
	driver_kick(d, VSOCK_TX);
	assert_true(driver_take_used(d, VSOCK_TX, &used));
	expect_text(fd, "in pie");
	expect_silence(fd); /* what is behind the packet's length is no part of it */
	b->keeps_buffers = true;
	for (unsigned int i = 0; i < RX_BUFFERS; i++) {
		write_text(b, fd, "x");
		expect(b, RW);
	}
	driver_add(d, VSOCK_RX, rx, 3);
	driver_kick(d, VSOCK_RX);
	write_text(b, fd, "abcdefg");
	assert_true(driver_take_used(d, VSOCK_RX, &used));
	assert_int_equal(used.len, 49);
	assert_memory_equal(driver_ptr(d, rx[1].gpa + 24), "ab", 2);
	assert_memory_equal(driver_ptr(d, rx[2].gpa), "cde", 3);
	close(fd);
}

/* V01 */
static void a_header_that_is_cut(void **state)
{
	struct bench *b = *state;
	const struct driver_buf buf = { .gpa = DRIVER_RAM_GPA, .len = HDR - 1 };
	int fd;

	memset(&metrics, 0, sizeof(metrics));
	boot(b);
	fd = open_from_guest(b, 77, 1000);
	driver_add(&b->d, VSOCK_TX, &buf, 1);
	driver_kick(&b->d, VSOCK_TX);
	assert_true(needs_reset(b));
	assert_int_equal(metrics_get(&metrics.vsock.tx_queue_event_fails), 1);
	/* Nobody on the host is left hanging, and all is well after a reset. */
	expect_eof(fd);
	close(fd);
	assert_int_equal(n_open(b), 0);
	expect_rest(b);
	driver_boot(&b->d, 0);
	give(b, 8);
	fd = open_from_guest(b, 77, 1000);
	close(fd);
}

static void a_buffer_without_room(void **state)
{
	struct bench *b = *state;
	const struct driver_buf buf = { .gpa = DRIVER_RAM_GPA, .len = HDR, .is_writable = true };

	boot_bare(b);
	driver_add(&b->d, VSOCK_RX, &buf, 1);
	driver_kick(&b->d, VSOCK_RX);
	assert_false(needs_reset(b));
	send_op(b, RW, 1, 1);
	assert_true(needs_reset(b));
}

/* V02 */
static void bad_addresses(void **state)
{
	static const struct {
		uint64_t src_cid;
		uint64_t dst_cid;
	} cases[] = {
		{ CID, 0 },
		{ CID, 1 },
		{ CID, 3 },
		{ CID, CID },
		{ CID, 1ULL << 32 | 2 },
		{ CID, UINT64_MAX },
		{ 0, 2 },
		{ 2, 2 },
		{ CID + 1, 2 },
		{ 1ULL << 32 | CID, 2 },
		{ UINT64_MAX, 2 },
	};
	struct bench *b = *state;
	int fd;

	boot(b);
	fd = open_from_guest(b, 77, 1000);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (uint16_t op = 0; op < 10; op++) {
			struct packet packet = header(b, op, 77, 1000);

			packet.src_cid = cases[i].src_cid;
			packet.dst_cid = cases[i].dst_cid;
			send_raw(b, &packet, NULL, 0);
		}
	}
	expect_nothing(b);
	assert_int_equal(n_open(b), 1);
	write_text(b, fd, "x");
	expect_on(b, RW, 77, 1000);
	close(fd);
}

/* V02: the least and the greatest port are ports. V06: names are made of the number. */
static void extreme_ports(void **state)
{
	struct bench *b = *state;
	static const uint32_t ports[] = { 0, UINT32_MAX };
	int fd;

	boot(b);
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		fd = open_from_guest(b, ports[i], ports[1 - i]);
		send_op(b, RST, ports[i], ports[1 - i]);
		expect_eof(fd);
		close(fd);
		open_from_host(b, ports[i], &fd);
		close(fd);
		expect(b, SHUTDOWN);
	}
}

/* V02: for what is no connection an RST, but none for an RST. */
static void no_such_connection(void **state)
{
	struct bench *b = *state;

	boot(b);
	for (uint32_t op = 0; op < 12; op++) {
		if (op == REQUEST)
			continue;
		send_op(b, (uint16_t)op, 1000 + op, 5);
		if (op != RST)
			expect_on(b, RST, 1000 + op, 5);
	}
	expect_nothing(b);
}

/* V02: other types are other name spaces: their RST touches no stream. */
static void unknown_types(void **state)
{
	static const uint16_t types[] = { 0, 2, 3, UINT16_MAX };
	struct bench *b = *state;
	struct packet packet;
	int fd;

	boot(b);
	fd = open_from_guest(b, 77, 1000);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		for (uint16_t op = 0; op < 9; op++) {
			packet = header(b, op, 77, 1000);
			packet.type = types[i];
			send_raw(b, &packet, NULL, 0);
			if (op == RST)
				continue;
			packet = expect(b, RST);
			assert_int_equal(packet.type, types[i]);
			assert_int_equal(packet.src_port, 77);
		}
	}
	expect_nothing(b);
	write_text(b, fd, "x");
	expect_on(b, RW, 77, 1000);
	close(fd);
}

/* V02, V03: what makes no sense on an open connection ends it. */
static void out_of_order(void **state)
{
	static const uint16_t ops[] = { 0, REQUEST, RESPONSE, 8, UINT16_MAX };
	struct bench *b = *state;
	struct packet request;
	int fd;

	boot(b);
	for (uint32_t i = 0; i < ARRAY_SIZE(ops); i++) {
		fd = open_from_guest(b, 77, i);
		send_op(b, ops[i], 77, i);
		expect_on(b, RST, 77, i);
		expect_eof(fd);
		close(fd);
	}
	fd = open_from_guest(b, 77, 1000);
	send_shutdown(b, 77, 1000, NO_SEND);
	send_data(b, 77, 1000, "x", 1);
	expect_on(b, RST, 77, 1000);
	expect_eof(fd);
	close(fd);
	/* An answer that is none. */
	for (uint16_t op = 0; op < 9; op++) {
		if (op == RESPONSE || op == RST)
			continue;
		fd = connect_client(b);
		write_text(b, fd, "CONNECT 5\n");
		request = expect(b, REQUEST);
		send_op(b, op, request.src_port, 5);
		expect_on(b, RST, request.src_port, 5);
		expect_eof(fd);
		close(fd);
	}
	assert_int_equal(n_open(b), 0);
	expect_nothing(b);
}

/* An answer to a question that waits to be asked. */
static void answers_too_early(void **state)
{
	struct bench *b = *state;
	int fd;

	boot_bare(b);
	fd = connect_client(b);
	write_text(b, fd, "CONNECT 5\n");
	send_op(b, RESPONSE, 1 << 30, 5);
	expect_eof(fd);
	close(fd);
	assert_int_equal(n_open(b), 0);
	give(b, 2);
	expect_nothing(b);
}

/* V03: the table is full. */
static void too_many_connections(void **state)
{
	struct bench *b = *state;
	uint64_t token;
	int pair[2];
	int fd;

	boot(b);
	for (uint32_t i = 0; i < VSOCK_CONNS_MAX; i++)
		send_op(b, REQUEST, 77, i);
	assert_int_equal(b->n_connects, 1023);
	assert_int_equal(n_open(b), 1023);
	token = b->last_token;
	expect_nothing(b);
	send_op(b, REQUEST, 77, 5000);
	expect_on(b, RST, 77, 5000);
	fd = connect_client(b);
	driver_settle(&b->d);
	expect_eof(fd);
	close(fd);
	assert_int_equal(b->n_connects, 1023);
	/* Those that came last have a small buffer. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	vsock_connect_done(&b->vsock, token, pair[0]);
	assert_int_equal(expect(b, RESPONSE).buf_alloc, 4096);
	send_data(b, 77, 1022, "hi", 2);
	expect_text(pair[1], "hi");
	/* A name of what is gone, and of what has come in its place. */
	send_op(b, RST, 77, 1022);
	expect_eof(pair[1]);
	close(pair[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	vsock_connect_done(&b->vsock, token, pair[0]);
	expect_eof(pair[1]);
	close(pair[1]);
	send_op(b, REQUEST, 77, 5000);
	assert_int_not_equal(b->last_token, token);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	vsock_connect_done(&b->vsock, token, pair[0]);
	expect_eof(pair[1]);
	close(pair[1]);
	vsock_connect_done(&b->vsock, b->last_token, -ECONNREFUSED);
	expect_on(b, RST, 77, 5000);
	assert_int_equal(n_open(b), 1022);
	/* Whatever the guest says of one that is being made ends it. */
	send_shutdown(b, 77, 0, NEITHER);
	expect_on(b, RST, 77, 0);
}

static void memory_for_those_that_wait(void **state)
{
	struct bench *b = *state;

	boot(b);
	for (uint32_t i = 0; i < VSOCK_CONNS_MAX; i++)
		send_op(b, REQUEST, 77, i);
	assert_int_equal(b->vsock.table.n_full, VSOCK_FULL_BUFFERS);
	send_op(b, RST, 77, 3);
	assert_int_equal(b->vsock.table.n_full, VSOCK_FULL_BUFFERS - 1);
	rig_write32(&b->d.mmio, 0x70, 0);
	assert_int_equal(b->vsock.table.n_full, 0);
}

/* More answers than there is room for: the guest's packets wait, none is lost. */
static void too_many_resets(void **state)
{
	struct bench *b = *state;
	struct driver_used used;
	unsigned int n_used = 0;

	boot_bare(b);
	for (uint32_t i = 0; i < 300; i++) {
		uint64_t gpa = driver_alloc(&b->d, HDR, 8);
		const struct driver_buf buf = { .gpa = gpa, .len = HDR };
		struct packet packet = header(b, RW, 77, i);

		memcpy(driver_ptr(&b->d, gpa), &packet, HDR);
		driver_add(&b->d, VSOCK_TX, &buf, 1);
		driver_kick(&b->d, VSOCK_TX);
		while (driver_take_used(&b->d, VSOCK_TX, &used))
			n_used++;
	}
	assert_int_equal(n_used, VSOCK_RESETS_MAX);
	expect_rest(b);
	give(b, 8);
	for (uint32_t i = 0; i < 300; i++)
		expect_on(b, RST, 77, i);
	while (driver_take_used(&b->d, VSOCK_TX, &used))
		n_used++;
	assert_int_equal(n_used, 300);
	expect_nothing(b);
	expect_rest(b);
}

/* ---- no buffers of the guest's ---- */

/* V05: hosts write, half close and go while the guest gives nothing; all comes when it does. */
static void starved(void **state)
{
	struct bench *b = *state;
	static char bytes[30000];
	struct packet packet;
	size_t n_came[3] = { 0 };
	size_t n_shutdowns = 0;
	uint32_t last = 0;
	int fds[3];

	boot_bare(b);
	give(b, 4);
	for (uint32_t i = 0; i < 3; i++)
		fds[i] = open_from_guest(b, i, 1000);
	b->keeps_buffers = true;
	send_op(b, RW, 99, 99);
	send_op(b, RW, 99, 99);
	send_op(b, RW, 99, 99);
	send_op(b, RW, 99, 99);
	for (size_t i = 0; i < 4; i++)
		expect(b, RST);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(send(fds[i], bytes, sizeof(bytes), 0), sizeof(bytes));
	driver_settle(&b->d);
	shutdown(fds[1], SHUT_WR);
	close(fds[2]);
	expect_rest(b);
	expect_nothing(b);
	/* They take turns. */
	for (unsigned int i = 0; i < 9; i++) {
		give(b, 1);
		packet = expect(b, RW);
		n_came[packet.src_port] += packet.len;
		if (i > 0)
			assert_int_equal(packet.src_port, (last + 1) % 3);
		last = packet.src_port;
	}
	expect_nothing(b);
	expect_rest(b);
	b->keeps_buffers = false;
	give(b, 4);
	while (take(b, &packet)) {
		n_came[packet.src_port] += packet.len;
		n_shutdowns += packet.op == SHUTDOWN;
	}
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(n_came[i], sizeof(bytes));
	assert_int_equal(n_shutdowns, 2);
	expect_rest(b);
	close(fds[0]);
	close(fds[1]);
}

/* ---- the event queue ---- */

/* V07 */
static void transport_reset(void **state)
{
	struct bench *b = *state;
	struct driver *d = &b->d;
	struct driver_used used;
	const struct driver_buf buf = { .gpa = driver_alloc(d, 8, 8),
					.len = 4,
					.is_writable = true };
	int fd;
	int client;

	vsock_transport_reset(&b->vsock); /* without a driver: nobody to tell */
	boot(b);
	memset(driver_ptr(d, buf.gpa), 0xff, 8);
	fd = open_from_guest(b, 77, 1000);
	vsock_transport_reset(&b->vsock);
	expect_eof(fd);
	close(fd);
	assert_int_equal(n_open(b), 0);
	assert_false(driver_take_used(d, VSOCK_EVENT, &used));
	/* V08: the event queue has nothing to give, so everything waits for it. */
	client = connect_client(b);
	write_text(b, client, "CONNECT 5\n");
	send_op(b, RW, 77, 1000);
	expect_nothing(b);
	expect_rest(b);
	driver_add(d, VSOCK_EVENT, &buf, 1);
	driver_kick(d, VSOCK_EVENT);
	assert_true(driver_take_used(d, VSOCK_EVENT, &used));
	assert_int_equal(used.len, 4);
	assert_int_equal(load_le(driver_ptr(d, buf.gpa), 8), 0xffffffff00000000);
	expect_on(b, RST, 77, 1000);
	expect(b, REQUEST);
	/* Only once. */
	driver_add(d, VSOCK_EVENT, &buf, 1);
	driver_kick(d, VSOCK_EVENT);
	assert_false(driver_take_used(d, VSOCK_EVENT, &used));
	vsock_transport_reset(&b->vsock);
	assert_true(driver_take_used(d, VSOCK_EVENT, &used));
	expect_eof(client);
	close(client);
}

/* V08 */
static void event_queue_too_small(void **state)
{
	struct bench *b = *state;
	const struct driver_buf buf = { .gpa = DRIVER_RAM_GPA, .len = 3, .is_writable = true };

	boot(b);
	driver_add(&b->d, VSOCK_EVENT, &buf, 1);
	driver_kick(&b->d, VSOCK_EVENT);
	assert_false(needs_reset(b));
	vsock_transport_reset(&b->vsock);
	assert_true(needs_reset(b));
}

/* V08: a driver that sets up only some queues. */
static void queues_that_are_absent(void **state)
{
	struct bench *b = *state;
	struct driver *d = &b->d;

	driver_attach(d, &b->vsock.dev);
	b->tx_gpa = driver_alloc(d, TX_BYTES, 8);
	for (unsigned int present = 0; present < 8; present++) {
		int fd = connect_client(b);

		driver_negotiate(d, VIRTIO_F_VERSION_1);
		for (unsigned int i = 0; i < 3; i++) {
			driver_place_queue(d, i, 256);
			if ((present & BIT(i)) != 0)
				driver_set_queue(d, i);
		}
		rig_write32(&d->mmio, 0x70, 15);
		for (unsigned int i = 0; i < 3; i++)
			driver_kick(d, i);
		write_text(b, fd, "CONNECT 5\n");
		vsock_transport_reset(&b->vsock);
		if ((present & BIT(VSOCK_TX)) != 0)
			send_op(b, RW, 77, 1000);
		if ((present & BIT(VSOCK_RX)) != 0)
			give(b, 1);
		if (present == 3)
			expect_on(b, RST, 77, 1000); /* no event queue, nothing to wait for */
		assert_false(needs_reset(b));
		expect_rest(b);
		close(fd);
	}
}

/* ---- the driver's coming and going ---- */

/* Clients wait for a driver, and are asked for when it is there. */
static void before_there_is_a_driver(void **state)
{
	struct bench *b = *state;
	int fd = connect_client(b);

	driver_attach(&b->d, &b->vsock.dev);
	write_text(b, fd, "CONNECT 5\n");
	expect_rest(b);
	expect_silence(fd);
	driver_boot(&b->d, 0);
	give(b, 4);
	assert_int_equal(expect(b, REQUEST).dst_port, 5);
	close(fd);
}

static void reset_closes_all(void **state)
{
	struct bench *b = *state;
	int fd;
	int client;

	boot(b);
	fd = open_from_guest(b, 77, 1000);
	fill_host(b, 77, 1000, &b->vsock.table.conns[0]);
	open_from_host(b, 5, &client);
	rig_write32(&b->d.mmio, 0x70, 0);
	expect_eof(client);
	close(client);
	close(fd);
	assert_int_equal(n_open(b), 0);
	expect_rest(b);
	client = connect_client(b); /* for the next driver */
	write_text(b, client, "CONNECT 6\n");
	expect_rest(b);
	driver_boot(&b->d, 0);
	give(b, 4);
	assert_int_equal(expect(b, REQUEST).dst_port, 6);
	close(client);
}

static void *reset_storm(void *arg)
{
	struct bench *b = arg;

	for (int i = 0; i < 300; i++) {
		for (uint32_t status = 0; status < 4; status++)
			rig_write32(&b->d.mmio, 0x70, (const uint32_t[]){ 0, 1, 3, 11 }[status]);
		for (unsigned int queue = 0; queue < 3; queue++)
			driver_set_queue(&b->d, queue);
		rig_write32(&b->d.mmio, 0x70, 15);
		for (unsigned int queue = 0; queue < 3; queue++)
			rig_write32(&b->d.mmio, 0x50, queue);
	}
	return NULL;
}

/* T14: a vCPU resets while the I/O thread works on connections. */
static void reset_while_working(void **state)
{
	struct bench *b = *state;
	pthread_t thread;
	int clients[64];

	boot(b);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		clients[i] = connect_client(b);
	pthread_create(&thread, NULL, reset_storm, b);
	for (size_t i = 0; i < 20 * ARRAY_SIZE(clients); i++) {
		int *fd = &clients[i % ARRAY_SIZE(clients)];

		if (*fd >= 0)
			(void)send(*fd, "CONNECT 5\n", 10, MSG_NOSIGNAL);
		for (int turn = 0; turn < 4; turn++)
			event_base_loop(b->d.base, EVLOOP_NONBLOCK);
		close_fd(fd);
		*fd = unix_connect(b->path); /* -EAGAIN, should too many be waiting */
	}
	pthread_join(thread, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		close_fd(&clients[i]);
	rig_write32(&b->d.mmio, 0x70, 0);
	assert_int_equal(n_open(b), 0);
	assert_int_equal(b->vsock.table.n_handshakes, 0);
	expect_rest(b);
}

/* ---- the host's faults ---- */

static void no_descriptors_left(void **state)
{
	struct bench *b = *state;
	struct rlimit old;
	struct rlimit none;
	int fd;

	boot(b);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	fd = connect_client(b);
	/* The lowest free number was taken: there is none below. */
	none = (struct rlimit){ .rlim_cur = (rlim_t)fd + 1, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	write_text(b, fd, "CONNECT 5\n");
	expect_rest(b); /* it does not try again and again */
	send_op(b, REQUEST, 77, 1000);
	expect_on(b, RST, 77, 1000);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	run_ms(b, 200);
	assert_int_equal(expect(b, REQUEST).dst_port, 5);
	close(fd);
}

/* The guest makes as many connections as it can: the process still has descriptors. */
static void descriptors_for_others(void **state)
{
	enum { N_ALL = 200, N_SPARE = 64 };
	struct rlimit old;
	struct rlimit low;
	struct packet packet;
	struct bench *b;
	int fds[N_ALL];
	int listener;
	int client;
	uint32_t n_conns = 0;
	int n_left = 0;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = (struct rlimit){ .rlim_cur = N_ALL, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	set_up(state);
	b = *state;
	boot(b);
	listener = listen_at(b, 77, N_ALL);
	do {
		send_op(b, REQUEST, 77, n_conns++);
		packet = (struct packet){ 0 };
		assert_true(take(b, &packet));
	} while (packet.op == RESPONSE && n_conns < N_ALL);
	assert_int_equal(packet.op, RST);
	assert_true(n_conns > 10);
	client = connect_client(b);
	driver_settle(&b->d);
	expect_eof(client);
	close(client);
	while ((fds[n_left] = dup(STDIN_FILENO)) >= 0)
		n_left++;
	assert_int_equal(n_left, N_SPARE);
	while (n_left > 0)
		close(fds[--n_left]);
	/* One that ends makes room. */
	send_op(b, RST, 77, 0);
	send_op(b, REQUEST, 77, 1000);
	expect_on(b, RESPONSE, 77, 1000);
	close(listener);
	unlink_at(b, 77);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	tear_down(state);
}

static int try_path(struct bench *b, uint64_t cid, const char *path, struct err *err)
{
	struct vsock *vsock = calloc(1, sizeof(*vsock));
	const struct vsock_config config = { .id = "v1", .guest_cid = cid, .uds_path = path };
	int code = vsock_init(vsock, &config, &b->d.mem, &b->d.irq.line, b->d.base, err);

	vsock_deinit(vsock);
	vsock_deinit(vsock);
	free(vsock);
	return code;
}

/* V06 and the user's errors. */
static void refused_set_ups(void **state)
{
	struct bench *b = *state;
	char text[300];
	struct stat st;
	struct err err;

	assert_int_equal(try_path(b, CID, b->path, &err), -EADDRINUSE);
	snprintf(text, sizeof(text), "vsock 'v1': bind the socket '%s': Address already in use",
		 b->path);
	assert_string_equal(err.text, text);
	assert_int_equal(stat(b->path, &st), 0); /* the other's is still there */
	assert_int_equal(try_path(b, CID, "/no/such/folder/v", &err), -ENOENT);
	assert_int_equal(try_path(b, CID, "", &err), -EINVAL);
	memset(text, 'x', 108);
	text[108] = '\0';
	assert_int_equal(try_path(b, CID, text, &err), -ENAMETOOLONG);
	snprintf(text, sizeof(text), "%s2", b->path);
	assert_int_equal(try_path(b, 2, text, &err), -EINVAL);
	assert_int_equal(try_path(b, UINT64_C(1) << 32, text, &err), -EINVAL);
	assert_int_equal(try_path(b, 3, text, &err), 0);
	assert_int_equal(try_path(b, UINT32_MAX, text, &err), 0);
	assert_int_equal(stat(text, &st), -1);
}

/* What has taken the socket's place meanwhile is not removed. */
static void not_its_own_file(void **state)
{
	struct bench *b = *state;
	struct stat st;
	int fd;

	assert_int_equal(unlink(b->path), 0);
	fd = open(b->path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	vsock_deinit(&b->vsock);
	assert_int_equal(stat(b->path, &st), 0);
	assert_int_equal(unlink(b->path), 0);
}

/* V06: a path with no room for the port still takes clients. */
static void path_without_room_for_ports(void **state)
{
	struct bench *b = *state;
	char path[UNIX_PATH_MAX];
	struct err err;
	int fd;

	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	memcpy(path, b->dir, strlen(b->dir));
	path[strlen(b->dir)] = '/';
	vsock_deinit(&b->vsock);
	b->vsock = (struct vsock){ 0 };
	assert_int_equal(
		vsock_init(&b->vsock,
			   &(struct vsock_config){ .id = "v1", .guest_cid = CID, .uds_path = path },
			   &b->d.mem, &b->d.irq.line, b->d.base, &err),
		0);
	snprintf(b->path, sizeof(b->path), "%.79s", path);
	boot(b);
	send_op(b, REQUEST, 77, 1000);
	expect_on(b, RST, 77, 1000);
	fd = unix_connect(path);
	assert_true(fd >= 0);
	write_text(b, fd, "CONNECT 5\n");
	expect(b, REQUEST);
	close(fd);
}

#define TEST(name)       cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_SHORT(name) cmocka_unit_test_setup_teardown(name, set_up_short, tear_down)
#define TEST_SLOW(name)  cmocka_unit_test_setup_teardown(name, set_up_slow, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(identity),
		TEST(from_the_host),
		TEST(from_the_guest),
		TEST(refused_by_the_guest),
		TEST(nobody_listens),
		TEST(first_lines),
		TEST(a_line_in_pieces),
		TEST_SHORT(silent_clients),
		TEST(hundred_connections),
		TEST(guest_credit),
		TEST(nonsense_credit),
		TEST(counts_that_wrap),
		TEST(many_buffers_at_once),
		TEST(words_stay_words),
		TEST(buffers_that_are_left),
		TEST(odd_buffers_among_good_ones),
		TEST(broken_with_buffers_left),
		TEST(transport_reset_with_buffers_left),
		TEST(one_interrupt),
		TEST(socket_is_wide),
		TEST(host_credit),
		TEST(more_than_the_credit),
		TEST(host_goes_with_bytes_waiting),
		TEST(host_half_closes),
		TEST(host_half_closes_and_goes),
		TEST(guest_half_closes),
		TEST(guest_receives_no_more),
		TEST(guest_receives_no_more_and_host_goes),
		TEST(guest_closes_with_bytes_waiting),
		TEST_SHORT(what_must_not_last),
		TEST(bad_lengths),
		TEST(split_packets),
		TEST(a_header_that_is_cut),
		TEST(a_buffer_without_room),
		TEST(bad_addresses),
		TEST(extreme_ports),
		TEST(no_such_connection),
		TEST(unknown_types),
		TEST(out_of_order),
		TEST(answers_too_early),
		TEST_SLOW(too_many_connections),
		TEST_SLOW(memory_for_those_that_wait),
		TEST(too_many_resets),
		TEST(starved),
		TEST(transport_reset),
		TEST(event_queue_too_small),
		TEST(queues_that_are_absent),
		TEST(before_there_is_a_driver),
		TEST(reset_closes_all),
		TEST(reset_while_working),
		TEST(no_descriptors_left),
		cmocka_unit_test(descriptors_for_others),
		TEST(refused_set_ups),
		TEST(not_its_own_file),
		TEST(path_without_room_for_ports),
	};

	log_set_level(LOG_OFF);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
