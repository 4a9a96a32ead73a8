/*
 * The network device, with a socket in place of a tap: one packet is one frame with its header. The
 * back end counts calls, so a device that polls in vain is seen, and fails where a test says so.
 */
#include "backend/passt.h"
#include "driver.h"
#include "test.h"
#include "util/bits.h"
#include "virtio/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	N_PAGES = 16384,
	RX = NET_QUEUE_RX,
	TX = NET_QUEUE_TX,
	HEADER = NETDEV_HEADER_SIZE,
	TOTAL_MAX = HEADER + NETDEV_FRAME_MAX,
	BUFFER = 2048,
	/* more than the largest frame */
	ENOUGH = TOTAL_MAX / BUFFER + 1,
	ALL_OFFLOADS = NETDEV_CSUM | NETDEV_TSO4 | NETDEV_TSO6 | NETDEV_ECN | NETDEV_USO,
};

static const uint64_t host_features = VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4 |
				      VIRTIO_NET_F_HOST_TSO6 | VIRTIO_NET_F_HOST_ECN |
				      VIRTIO_NET_F_HOST_USO;
static const uint64_t guest_features = VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4 |
				       VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_GUEST_ECN |
				       VIRTIO_NET_F_GUEST_USO4 | VIRTIO_NET_F_GUEST_USO6;

struct header {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t num_buffers;
};

struct rig {
	struct driver d;
	struct net net;
	struct netdev netdev;
	struct event_base *never; /* nobody runs it */
	int peer;
	int send_error;    /* what send() gives instead of sending */
	int receive_error; /* and receive(), once */
	unsigned int n_sends;
	unsigned int n_receives;
	uint32_t offloads; /* as set */
	uint64_t buffers;  /* guest memory to receive into */
	uint64_t frame;    /* and to send from */
	uint8_t bytes[TOTAL_MAX + 64];
};

/* ---- the back end ---- */

static int fake_send(struct netdev *netdev, struct iovec *iov, unsigned int n)
{
	struct rig *rig = container_of(netdev, struct rig, netdev);
	const struct msghdr message = { .msg_iov = iov, .msg_iovlen = n };

	rig->n_sends++;
	assert_int_equal(iov[0].iov_len, HEADER);
	if (rig->send_error == -EAGAIN && rig->n_sends >= 5)
		rig->send_error = 0; /* its descriptor is writable: not for ever */
	if (rig->send_error != 0)
		return rig->send_error;
	return sendmsg(netdev->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static ssize_t fake_receive(struct netdev *netdev, const struct iovec *iov, unsigned int n)
{
	struct rig *rig = container_of(netdev, struct rig, netdev);
	int error = rig->receive_error;
	ssize_t done;

	rig->n_receives++;
	rig->receive_error = 0;
	if (error != 0)
		return error;
	done = readv(netdev->fd, iov, (int)n);
	return done < 0 ? -errno : done;
}

static int fake_set_offloads(struct netdev *netdev, uint32_t offloads)
{
	container_of(netdev, struct rig, netdev)->offloads = offloads;
	return 0;
}

static void fake_free(struct netdev *netdev)
{
	close(netdev->fd);
}

static const struct netdev_ops fake_ops = {
	.send = fake_send,
	.receive = fake_receive,
	.set_offloads = fake_set_offloads,
	.free = fake_free,
};

/* ---- the rig ---- */

static const struct net_config plain = { .id = "n0", .mac = { 2, 1, 2, 3, 4, 5 }, .has_mac = true };

static void start(struct rig *rig, const struct net_config *config)
{
	struct err err;
	int fds[2];

	*rig = (struct rig){ .offloads = UINT32_MAX };
	driver_init(&rig->d, N_PAGES);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	rig->netdev = (struct netdev){
		.ops = &fake_ops, .kind = "socket", .fd = fds[0], .offloads = ALL_OFFLOADS
	};
	rig->peer = fds[1];
	assert_int_equal(net_init(&rig->net, config, &rig->netdev, &rig->d.mem, &rig->d.irq.line,
				  rig->d.base, &err),
			 0);
	driver_attach(&rig->d, &rig->net.dev);
	rig->frame = driver_alloc(&rig->d, 2 * TOTAL_MAX, 4096);
	rig->buffers = driver_alloc(&rig->d, (uint64_t)VIRTQ_SIZE_MAX * BUFFER, 4096);
}

static void stop(struct rig *rig)
{
	net_deinit(&rig->net);
	netdev_free(&rig->netdev);
	if (rig->never != NULL)
		event_base_free(rig->never);
	if (rig->peer >= 0)
		close(rig->peer);
	driver_deinit(&rig->d);
}

static int set_up(void **state)
{
	static struct rig rig;

	start(&rig, &plain);
	*state = &rig;
	return 0;
}

static int tear_down(void **state)
{
	stop(*state);
	return 0;
}

/* Other than how set_up() made it. */
static void restart(struct rig *rig, const struct net_config *config)
{
	stop(rig);
	start(rig, config);
}

static bool needs_reset(const struct rig *rig)
{
	return (driver_status(&rig->d) & VIRTIO_STATUS_NEEDS_RESET) != 0;
}

/* Let the loop run, with its timers. */
static void run_for(struct rig *rig, unsigned int ms)
{
	const struct timeval duration = { .tv_usec = (suseconds_t)ms * 1000 };

	event_base_loopexit(rig->d.base, &duration);
	event_base_dispatch(rig->d.base);
}

/* The device waits for buffers as long as this test says, however slow the machine is. */
static void hold_patience(struct rig *rig)
{
	struct event *timer = rig->net.rx.patience;

	rig->never = event_base_new();
	rig->net.rx.patience = event_new(rig->never, -1, 0, event_get_callback(timer),
					 event_get_callback_arg(timer));
	event_free(timer);
}

static void end_patience(struct rig *rig)
{
	struct event *timer = rig->net.rx.patience;

	assert_true(rig->net.rx.is_waiting);
	event_del(timer);
	event_get_callback(timer)(-1, EV_TIMEOUT, event_get_callback_arg(timer));
	driver_settle(&rig->d);
}

static uint64_t buffer_gpa(const struct rig *rig, unsigned int i)
{
	return rig->buffers + (uint64_t)i * BUFFER;
}

/* Give n buffers, one a chain; buffer i is at descriptor i. */
static void give(struct rig *rig, unsigned int n, uint32_t len)
{
	for (unsigned int i = 0; i < n; i++) {
		uint16_t at = rig->d.queues[RX].next_free;
		const struct driver_buf buf = { buffer_gpa(rig, at), len, true };

		driver_add(&rig->d, RX, &buf, 1);
	}
}

/* A frame from the host: its bytes count up from `seed`. */
static ssize_t host_sends(struct rig *rig, struct header header, size_t frame_bytes, uint8_t seed)
{
	memcpy(rig->bytes, &header, HEADER);
	for (size_t i = 0; i < frame_bytes; i++)
		rig->bytes[HEADER + i] = (uint8_t)(seed + i);
	return send(rig->peer, rig->bytes, HEADER + frame_bytes, MSG_NOSIGNAL);
}

static void host_sends_plain(struct rig *rig, size_t frame_bytes, uint8_t seed)
{
	assert_int_equal(host_sends(rig, (struct header){ 0 }, frame_bytes, seed),
			 HEADER + frame_bytes);
}

/* Take one frame that came into buffers made by give(). \return its bytes, 0 when there is none */
static size_t guest_receives(struct rig *rig, struct header *header, uint8_t seed)
{
	struct driver_used used;
	size_t bytes = 0;
	uint16_t n = 1;

	for (uint16_t i = 0; i < n; i++) {
		const uint8_t *at;

		if (!driver_take_used(&rig->d, RX, &used)) {
			assert_int_equal(i, 0);
			return 0;
		}
		at = driver_ptr(&rig->d, buffer_gpa(rig, used.head));
		if (i == 0) {
			memcpy(header, at, HEADER);
			n = header->num_buffers;
			assert_true(n > 0);
		}
		for (size_t j = 0; j < used.len; j++) {
			if (i > 0 || j >= HEADER)
				assert_int_equal(at[j], (uint8_t)(seed + bytes + j - HEADER));
		}
		bytes += used.len;
	}
	return bytes - HEADER;
}

static void expect_frame(struct rig *rig, size_t frame_bytes, uint8_t seed)
{
	struct header header = { 0 };

	assert_int_equal(guest_receives(rig, &header, seed), frame_bytes);
}

static void expect_none(struct rig *rig)
{
	struct header header = { 0 };

	assert_int_equal(guest_receives(rig, &header, 0), 0);
}

/* The guest sends one chain: header and frame in one descriptor. */
static void guest_sends(struct rig *rig, struct header header, uint32_t frame_bytes, uint8_t seed)
{
	uint8_t *at = driver_ptr(&rig->d, rig->frame);
	const struct driver_buf buf = { rig->frame, HEADER + frame_bytes, false };

	memcpy(at, &header, HEADER);
	for (uint32_t i = 0; i < frame_bytes; i++)
		at[HEADER + i] = (uint8_t)(seed + i);
	driver_add(&rig->d, TX, &buf, 1);
	driver_kick(&rig->d, TX);
}

static void expect_sent(struct rig *rig, size_t n)
{
	struct driver_used used;

	for (size_t i = 0; i < n; i++) {
		assert_true(driver_take_used(&rig->d, TX, &used));
		assert_int_equal(used.len, 0);
	}
	assert_false(driver_take_used(&rig->d, TX, &used));
}

/* \return bytes of the frame, -1 when there is none */
static ssize_t host_receives(struct rig *rig, struct header *header)
{
	ssize_t n = recv(rig->peer, rig->bytes, sizeof(rig->bytes), MSG_DONTWAIT);

	if (n < 0)
		return -1;
	assert_true(n >= HEADER);
	memcpy(header, rig->bytes, HEADER);
	return n - HEADER;
}

/* ---- features and configuration ---- */

static void features(void **state)
{
	struct rig *rig = *state;
	const uint64_t always = VIRTIO_NET_F_MAC | VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_STATUS |
				VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;
	struct err err;

	assert_int_equal(rig->net.dev.offered, always | host_features | guest_features);
	net_deinit(&rig->net);
	rig->net = (struct net){ 0 };
	rig->netdev.offloads = 0;
	assert_int_equal(net_init(&rig->net, &plain, &rig->netdev, &rig->d.mem, &rig->d.irq.line,
				  rig->d.base, &err),
			 0);
	assert_int_equal(rig->net.dev.offered, always);
}

/* N08 */
static void configuration(void **state)
{
	struct rig *rig = *state;
	struct net_config config = plain;

	config.mtu = 9000;
	restart(rig, &config);
	assert_true((rig->net.dev.offered & VIRTIO_NET_F_MTU) != 0);
	for (unsigned int i = 0; i < 6; i++)
		assert_int_equal(rig_read(&rig->d.mmio, 0x100 + i, 1), plain.mac[i]);
	assert_int_equal(rig_read(&rig->d.mmio, 0x106, 2), 1);
	assert_int_equal(rig_read(&rig->d.mmio, 0x10a, 2), 9000);
	assert_int_equal(rig_read(&rig->d.mmio, 0x10b, 1), 9000 >> 8);
	assert_int_equal(rig_read(&rig->d.mmio, 0x10c, 4), 0);
	for (unsigned int i = 0; i < 16; i++)
		rig_write8(&rig->d.mmio, 0x100 + i, 0xff);
	rig_write(&rig->d.mmio, 0x100, 8, UINT64_MAX);
	assert_memory_equal(rig->net.dev.config, plain.mac, 6);
	assert_int_equal(rig_read(&rig->d.mmio, 0x106, 2), 1);
}

static void random_address(void **state)
{
	struct rig *rig = *state;
	const struct net_config config = { .id = "n0" };
	uint8_t first[6];

	restart(rig, &config);
	memcpy(first, rig->net.dev.config, 6);
	assert_int_equal(first[0], 2);
	restart(rig, &config);
	assert_int_equal(rig->net.dev.config[0], 2);
	assert_memory_not_equal(rig->net.dev.config, first, 6);
}

static void settings_that_cannot_be(void **state)
{
	struct rig *rig = *state;
	const struct net_config bad[] = {
		{ .id = "n0", .has_mac = true, .mac = { 1 } },
		{ .id = "n0", .has_mac = true, .mac = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } },
		{ .id = "n0", .has_mac = true },
		{ .id = "n0", .mtu = 67 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct net net = { 0 };
		struct err err = { 0 };

		assert_int_equal(net_init(&net, &bad[i], &rig->netdev, &rig->d.mem,
					  &rig->d.irq.line, rig->d.base, &err),
				 -EINVAL);
		assert_non_null(strstr(err.text, "n0"));
		net_deinit(&net);
		net_deinit(&net);
	}
}

/* Exactly what was negotiated, with what it needs, and anew for each driver. */
static void offloads_are_the_drivers(void **state)
{
	struct rig *rig = *state;
	static const struct {
		uint64_t features;
		uint32_t offloads;
	} cases[] = {
		{ 0, 0 },
		{ VIRTIO_NET_F_GUEST_CSUM, NETDEV_CSUM },
		{ VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4, NETDEV_CSUM | NETDEV_TSO4 },
		{ VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_ECN, NETDEV_CSUM },
		{ VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO6 | VIRTIO_NET_F_GUEST_ECN,
		  NETDEV_CSUM | NETDEV_TSO6 | NETDEV_ECN },
		{ VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6, 0 },
		{ VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_USO4, NETDEV_CSUM },
		{ VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4, 0 },
	};

	assert_int_equal(rig->offloads, UINT32_MAX);
	driver_boot(&rig->d, guest_features);
	assert_int_equal(rig->offloads, ALL_OFFLOADS);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		driver_boot(&rig->d, cases[i].features);
		assert_int_equal(rig->offloads, cases[i].offloads);
	}
}

/* ---- sending ---- */

static void sends(void **state)
{
	struct rig *rig = *state;
	struct header header;

	driver_boot(&rig->d, 0);
	guest_sends(rig, (struct header){ .num_buffers = 7 }, 60, 3);
	expect_sent(rig, 1);
	assert_int_equal(host_receives(rig, &header), 60);
	assert_int_equal(header.num_buffers, 0);
	for (unsigned int i = 0; i < 60; i++)
		assert_int_equal(rig->bytes[HEADER + i], 3 + i);
	assert_true(rig_irq_take_edge(&rig->d.irq));
	assert_int_equal(rig->net.metrics.tx_packets_count, 1);
	assert_int_equal(rig->net.metrics.tx_bytes_count, 60);
}

/* N01 */
static void sizes_of_sent_frames(void **state)
{
	struct rig *rig = *state;
	static const struct {
		uint32_t bytes; /* of the chain */
		bool is_ok;
	} cases[] = {
		{ 1, false },         { 11, false },         { 12, false },
		{ 13, false },        { 14, false },         { 25, false },
		{ 26, true },         { 12 + 1514, true },   { 65535 + 12, true },
		{ 65550 + 12, true }, { 65551 + 12, false }, { 512 * 1024, false },
	};
	const struct driver_buf empty = { rig->buffers, 0, false };
	const struct driver_buf writable = { rig->buffers, 100, true };
	struct header header;
	uint64_t n_ok = 0;

	driver_boot(&rig->d, 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct driver_buf buf = { rig->buffers, cases[i].bytes, false };

		driver_add(&rig->d, TX, &buf, 1);
		driver_kick(&rig->d, TX);
		expect_sent(rig, 1);
		assert_int_equal(host_receives(rig, &header),
				 cases[i].is_ok ? (ssize_t)cases[i].bytes - HEADER : -1);
		n_ok += cases[i].is_ok;
	}
	driver_add(&rig->d, TX, &empty, 1);
	driver_add(&rig->d, TX, &writable, 1);
	driver_kick(&rig->d, TX);
	expect_sent(rig, 2);
	assert_int_equal(host_receives(rig, &header), -1);
	assert_int_equal(rig->net.metrics.tx_packets_count, n_ok);
	assert_int_equal(rig->net.metrics.tx_malformed_frames, ARRAY_SIZE(cases) - n_ok + 2);
	assert_false(needs_reset(rig));
}

/* N01: as many descriptors as there are, the header in twelve of them. */
static void one_byte_descriptors(void **state)
{
	struct rig *rig = *state;
	struct driver_buf bufs[VIRTQ_CHAIN_MAX];
	uint8_t *at = driver_ptr(&rig->d, rig->buffers);
	struct header header;

	for (unsigned int i = 0; i < VIRTQ_CHAIN_MAX; i++) {
		bufs[i] = (struct driver_buf){ rig->buffers + (uint64_t)2 * i, 1, false };
		at[2 * i] = i < HEADER ? 0 : (uint8_t)i;
		at[2 * i + 1] = 0xee;
	}
	driver_boot(&rig->d, 0);
	driver_add(&rig->d, TX, bufs, VIRTQ_CHAIN_MAX);
	driver_kick(&rig->d, TX);
	expect_sent(rig, 1);
	assert_int_equal(host_receives(rig, &header), VIRTQ_CHAIN_MAX - HEADER);
	for (unsigned int i = HEADER; i < VIRTQ_CHAIN_MAX; i++)
		assert_int_equal(rig->bytes[i], i);
}

static void guest_sends_from(struct rig *rig, const uint8_t mac[6])
{
	uint8_t *at = driver_ptr(&rig->d, rig->frame);
	const struct driver_buf bufs[] = {
		/* the address in two pieces */
		{ rig->frame, HEADER + 9, false },
		{ rig->frame + HEADER + 9, 51, false },
	};

	memset(at, 0, HEADER + 60);
	memcpy(at + HEADER + 6, mac, 6);
	driver_add(&rig->d, TX, bufs, 2);
	driver_kick(&rig->d, TX);
	expect_sent(rig, 1);
}

/* N07: frames from elsewhere are counted, where it is known what is elsewhere. Guests bridge. */
static void addresses_of_others(void **state)
{
	struct rig *rig = *state;
	const struct net_config random = { .id = "n0" };
	uint8_t other[6];
	struct header header;

	memcpy(other, plain.mac, 6);
	other[5]++;
	driver_boot(&rig->d, 0);
	guest_sends_from(rig, plain.mac);
	assert_int_equal(rig->net.metrics.tx_spoofed_mac_count, 0);
	guest_sends_from(rig, other);
	assert_int_equal(rig->net.metrics.tx_spoofed_mac_count, 1);
	assert_int_equal(host_receives(rig, &header), 60);
	assert_int_equal(host_receives(rig, &header), 60);
	assert_memory_equal(rig->bytes + HEADER + 6, other, 6);
	/* What is no frame is from nowhere. */
	guest_sends(rig, (struct header){ 0 }, 13, 0);
	assert_int_equal(rig->net.metrics.tx_spoofed_mac_count, 1);

	restart(rig, &random);
	driver_boot(&rig->d, 0);
	guest_sends_from(rig, other);
	assert_int_equal(rig->net.metrics.tx_spoofed_mac_count, 0);
}

struct header_case {
	struct header header;
	uint64_t features;
};

enum { FRAME = 100, NEEDS_CSUM = 1, TCPV4 = 1, UDP = 3, TCPV6 = 4, UDP_L4 = 5, ECN = 0x80 };

#define CSUM_OK .flags = NEEDS_CSUM, .csum_start = 34, .csum_offset = 16
#define TSO_OK  CSUM_OK, .gso_size = 50, .hdr_len = 54

/* N02 */
static void headers_that_cannot_be(void **state)
{
	struct rig *rig = *state;
	const uint64_t all = host_features;
	const struct header_case cases[] = {
		/* what was not negotiated */
		{ { CSUM_OK }, 0 },
		{ { TSO_OK, .gso_type = TCPV4 }, VIRTIO_NET_F_CSUM },
		{ { TSO_OK, .gso_type = TCPV4 }, VIRTIO_NET_F_HOST_TSO4 },
		{ { TSO_OK, .gso_type = TCPV4 }, all & ~VIRTIO_NET_F_HOST_TSO4 },
		{ { TSO_OK, .gso_type = TCPV6 }, all & ~VIRTIO_NET_F_HOST_TSO6 },
		{ { TSO_OK, .gso_type = TCPV4 | ECN }, all & ~VIRTIO_NET_F_HOST_ECN },
		{ { TSO_OK, .gso_type = TCPV6 | ECN }, all & ~VIRTIO_NET_F_HOST_ECN },
		{ { TSO_OK, .gso_type = UDP_L4 }, all & ~VIRTIO_NET_F_HOST_USO },
		/* what there is not */
		{ { .flags = 2 }, all },
		{ { .flags = 4 }, all },
		{ { .flags = 0x80 }, all },
		{ { .flags = 0xff, .csum_start = 34, .csum_offset = 16 }, all },
		{ { TSO_OK, .gso_type = 2 }, all },
		{ { TSO_OK, .gso_type = UDP }, all },
		{ { TSO_OK, .gso_type = 6 }, all },
		{ { TSO_OK, .gso_type = 0x7f }, all },
		{ { TSO_OK, .gso_type = ECN }, all },
		{ { TSO_OK, .gso_type = UDP_L4 | ECN }, all },
		{ { TSO_OK, .gso_type = 0xff }, all },
		/* what does not fit the frame */
		{ { .hdr_len = FRAME + 1 }, all },
		{ { .hdr_len = 0xffff }, 0 },
		{ { .flags = 1, .csum_start = FRAME - 1, .csum_offset = 0 }, all },
		{ { .flags = 1, .csum_start = 34, .csum_offset = FRAME - 34 - 1 }, all },
		{ { .flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff }, all },
		{ { .flags = 1, .csum_start = 0xffff, .csum_offset = 1 }, all },
		/* a segment without a size, or without a checksum to fill in */
		{ { CSUM_OK, .gso_type = TCPV4, .hdr_len = 54 }, all },
		{ { .gso_type = TCPV4, .gso_size = 50, .hdr_len = 54 }, all },
	};
	struct header header;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		driver_boot(&rig->d, cases[i].features);
		guest_sends(rig, cases[i].header, FRAME, 0);
		expect_sent(rig, 1);
		if (host_receives(rig, &header) != -1)
			fail_msg("header %zu was passed on", i);
		assert_int_equal(rig->net.metrics.tx_malformed_frames, i + 1);
		assert_false(needs_reset(rig));
	}
	assert_int_equal(rig->n_sends, 0);
}

static void headers_that_can(void **state)
{
	struct rig *rig = *state;
	const struct header_case cases[] = {
		{ { .hdr_len = FRAME }, 0 },
		{ { CSUM_OK }, VIRTIO_NET_F_CSUM },
		{ { .flags = 1, .csum_start = FRAME - 2 }, VIRTIO_NET_F_CSUM },
		{ { TSO_OK, .gso_type = TCPV4 }, VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4 },
		{ { TSO_OK, .gso_type = TCPV6 }, host_features },
		{ { TSO_OK, .gso_type = TCPV4 | ECN }, host_features },
		{ { TSO_OK, .gso_type = TCPV6 | ECN }, host_features },
		{ { TSO_OK, .gso_type = UDP_L4 }, host_features },
	};
	struct header header;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		driver_boot(&rig->d, cases[i].features);
		guest_sends(rig, cases[i].header, FRAME, 0);
		expect_sent(rig, 1);
		assert_int_equal(host_receives(rig, &header), FRAME);
		assert_memory_equal(&header, &cases[i].header, HEADER);
	}
	/* What says nothing is not passed on. */
	driver_boot(&rig->d, 0);
	guest_sends(
		rig,
		(struct header){
			.csum_start = 9999, .csum_offset = 9999, .gso_size = 3, .num_buffers = 9 },
		FRAME, 0);
	assert_int_equal(host_receives(rig, &header), FRAME);
	assert_memory_equal(&header, &(struct header){ 0 }, HEADER);
}

/* N06: the back end is full. Nothing is lost, and nobody asks again and again. */
static void sending_waits(void **state)
{
	struct rig *rig = *state;
	struct header header;
	unsigned int n_sends;
	unsigned int n_done = 0;

	driver_boot(&rig->d, 0);
	for (unsigned int i = 0; i < 2000 && !rig->net.tx.is_waiting; i++) {
		guest_sends(rig, (struct header){ 0 }, 1000, (uint8_t)n_done);
		n_done++;
	}
	assert_true(rig->net.tx.is_waiting);
	n_sends = rig->n_sends;
	run_for(rig, 20);
	driver_kick(&rig->d, TX);
	driver_kick(&rig->d, TX);
	assert_int_equal(rig->n_sends, n_sends);
	for (unsigned int i = 0; i < n_done; i++) {
		/* The last one waits in the guest's memory. */
		assert_int_equal(host_receives(rig, &header), 1000);
		assert_int_equal(rig->bytes[HEADER], (uint8_t)i);
		driver_settle(&rig->d);
	}
	expect_sent(rig, n_done);
	assert_int_equal(rig->net.metrics.tx_fails, 0);
}

/* N06: errors. Frames are lost, one by one; the queue goes on. */
static void sending_fails(void **state)
{
	struct rig *rig = *state;
	static const int errors[] = { -ENOBUFS, -EIO, -EBADFD, -EINVAL, -EPIPE };
	struct header header;

	driver_boot(&rig->d, 0);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		rig->send_error = errors[i];
		guest_sends(rig, (struct header){ 0 }, 60, 0);
		guest_sends(rig, (struct header){ 0 }, 60, 0);
		expect_sent(rig, 2);
		assert_int_equal(rig->net.metrics.tx_fails, 2 * i + 2);
		/* EINVAL is the guest's fault, not the back end's. */
		assert_int_equal(rig->net.metrics.tap_write_fails, 2 * i + 2 - (i >= 3 ? 2 : 0));
		assert_int_equal(rig->n_sends, 3 * i + 2);
		rig->send_error = 0;
		guest_sends(rig, (struct header){ 0 }, 60, 0);
		expect_sent(rig, 1);
		assert_int_equal(host_receives(rig, &header), 60);
	}
	assert_false(needs_reset(rig));
}

/* Q16 */
static void memory_that_cannot_be_reached(void **state)
{
	struct rig *rig = *state;

	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
	rig->send_error = -EFAULT;
	guest_sends(rig, (struct header){ 0 }, 60, 0);
	assert_true(needs_reset(rig));

	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
	assert_false(needs_reset(rig));
	rig->receive_error = -EFAULT;
	give(rig, ENOUGH, BUFFER);
	driver_kick(&rig->d, RX);
	assert_true(needs_reset(rig));

	rig->send_error = 0;
	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
	give(rig, ENOUGH, BUFFER);
	driver_kick(&rig->d, RX);
	host_sends_plain(rig, 60, 1);
	driver_settle(&rig->d);
	expect_frame(rig, 60, 1);
}

/* Other devices have their turn. */
static void sending_is_budgeted(void **state)
{
	struct rig *rig = *state;
	const struct driver_buf buf = { rig->buffers, 26, false };

	driver_boot(&rig->d, 0);
	for (unsigned int i = 0; i < 200; i++)
		driver_add(&rig->d, TX, &buf, 1);
	rig_write32(&rig->d.mmio, 0x50, TX);
	event_base_loop(rig->d.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_int_equal(rig->n_sends, VIRTIO_BUDGET);
	driver_settle(&rig->d);
	assert_int_equal(rig->n_sends, 200);
	expect_sent(rig, 200);
}

/* ---- receiving ---- */

static void receives(void **state)
{
	struct rig *rig = *state;
	struct header header;

	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
	give(rig, ENOUGH, BUFFER);
	driver_kick(&rig->d, RX);
	for (unsigned int i = 0; i < 20; i++) {
		host_sends_plain(rig, 60 + i, (uint8_t)i);
		driver_settle(&rig->d);
		assert_true(rig_irq_take_edge(&rig->d.irq));
		assert_int_equal(guest_receives(rig, &header, (uint8_t)i), 60 + i);
		assert_int_equal(header.num_buffers, 1);
		give(rig, 1, BUFFER);
		driver_kick(&rig->d, RX);
	}
	expect_none(rig);
	assert_int_equal(rig->net.metrics.rx_packets_count, 20);
	assert_int_equal(rig->net.metrics.rx_fails, 0);
}

/* N04 */
static void receives_into_several(void **state)
{
	struct rig *rig = *state;
	static const size_t sizes[] = { 14, 2036, 2037, 4084, 4085, 65535, 65550 };
	struct header header;

	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF | guest_features);
	give(rig, VIRTQ_SIZE_MAX, BUFFER);
	driver_kick(&rig->d, RX);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		host_sends_plain(rig, sizes[i], (uint8_t)i);
		driver_settle(&rig->d);
		assert_int_equal(guest_receives(rig, &header, (uint8_t)i), sizes[i]);
		assert_int_equal(header.num_buffers, (HEADER + sizes[i] + BUFFER - 1) / BUFFER);
		give(rig, header.num_buffers, BUFFER);
		driver_kick(&rig->d, RX);
	}
	host_sends_plain(rig, 65551, 0);
	host_sends_plain(rig, 60, 9);
	driver_settle(&rig->d);
	/* The window happened to hold it: that is no reason to refuse it. */
	(void)guest_receives(rig, &header, 0);
	expect_frame(rig, 60, 9);
}

/* N04: the header in a chain of its own; in twelve descriptors; in two chains is not allowed. */
static void header_in_pieces(void **state)
{
	struct rig *rig = *state;
	struct driver_buf bufs[13];
	uint64_t gpa = rig->buffers;
	const struct driver_buf header_only = { gpa, HEADER, true };
	const struct driver_buf data = { gpa + 4096, 66000, true };
	struct driver_used used;

	for (unsigned int i = 0; i < 12; i++)
		bufs[i] = (struct driver_buf){ gpa + 100000 + (uint64_t)2 * i, 1, true };
	bufs[12] = data;
	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
	driver_add(&rig->d, RX, &header_only, 1);
	driver_add(&rig->d, RX, &data, 1);
	driver_kick(&rig->d, RX);
	host_sends_plain(rig, 60, 5);
	driver_settle(&rig->d);
	assert_true(driver_take_used(&rig->d, RX, &used));
	assert_int_equal(used.len, HEADER);
	assert_true(driver_take_used(&rig->d, RX, &used));
	assert_int_equal(used.len, 60);
	assert_int_equal(load_le(driver_ptr(&rig->d, gpa + 10), 2), 2);
	assert_int_equal(load_le(driver_ptr(&rig->d, gpa + 4096), 1), 5);

	driver_add(&rig->d, RX, bufs, 13);
	driver_kick(&rig->d, RX);
	host_sends_plain(rig, 60, 6);
	driver_settle(&rig->d);
	assert_true(driver_take_used(&rig->d, RX, &used));
	assert_int_equal(used.len, HEADER + 60);
	assert_int_equal(load_le(driver_ptr(&rig->d, gpa + 100020), 1), 1);
	assert_int_equal(load_le(driver_ptr(&rig->d, gpa + 100022), 1), 0);
	assert_int_equal(load_le(driver_ptr(&rig->d, gpa + 4096), 1), 6);
}

/* N03: no buffers: nothing is read, nobody asks; the driver's kick goes on. */
static void no_buffers(void **state)
{
	struct rig *rig = *state;

	hold_patience(rig);
	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF | VIRTIO_F_EVENT_IDX);
	host_sends_plain(rig, 60, 1);
	host_sends_plain(rig, 60, 2);
	run_for(rig, 50);
	assert_int_equal(rig->n_receives, 0);
	assert_false(rig->net.rx.is_watching);
	give(rig, ENOUGH + 1, BUFFER);
	driver_kick(&rig->d, RX);
	expect_frame(rig, 60, 1);
	expect_frame(rig, 60, 2);
	assert_true(rig->net.rx.is_waiting);
}

/* N03, N04: a ring of small chains, which no large frame fits. */
static void small_ring(void **state)
{
	struct rig *rig = *state;
	unsigned int n_receives;

	hold_patience(rig);
	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF | guest_features);
	give(rig, 4, BUFFER);
	driver_kick(&rig->d, RX);
	host_sends_plain(rig, 60, 1);
	host_sends_plain(rig, 65000, 2);
	host_sends_plain(rig, 3 * BUFFER - HEADER + 1, 3);
	host_sends_plain(rig, 3 * BUFFER - HEADER, 4);
	driver_settle(&rig->d);
	expect_none(rig);
	assert_int_equal(rig->n_receives, 0);
	end_patience(rig);
	expect_frame(rig, 60, 1);
	expect_frame(rig, 3 * BUFFER - HEADER, 4);
	assert_int_equal(rig->net.metrics.rx_fails, 2);
	/* Now there are none, and a chain that does not hold an ordinary frame is none either. */
	n_receives = rig->n_receives;
	host_sends_plain(rig, 60, 5);
	give(rig, 1, 256);
	driver_kick(&rig->d, RX);
	run_for(rig, 40);
	assert_int_equal(rig->n_receives, n_receives);
	/* With experience there is no waiting. */
	give(rig, 1, BUFFER);
	driver_kick(&rig->d, RX);
	expect_frame(rig, 60, 5);
	/* A ring that was small is not so for ever: it is waited for again. */
	give(rig, ENOUGH, BUFFER);
	driver_kick(&rig->d, RX);
	host_sends_plain(rig, 60, 6);
	host_sends_plain(rig, 60, 7);
	host_sends_plain(rig, 65550, 8);
	driver_settle(&rig->d);
	give(rig, 2, BUFFER);
	driver_kick(&rig->d, RX);
	expect_frame(rig, 60, 6);
	expect_frame(rig, 60, 7);
	expect_frame(rig, 65550, 8);
}

/* And without this test's help: the timer is there. */
static void patience_ends(void **state)
{
	struct rig *rig = *state;

	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
	give(rig, 4, BUFFER);
	driver_kick(&rig->d, RX);
	host_sends_plain(rig, 60, 1);
	for (int i = 0; i < 100 && rig->net.metrics.rx_packets_count == 0; i++)
		run_for(rig, 20);
	expect_frame(rig, 60, 1);
}

/* N04: a driver that is late with its buffers loses no large frame. */
static void late_refill(void **state)
{
	struct rig *rig = *state;

	hold_patience(rig);
	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF | guest_features);
	give(rig, ENOUGH, BUFFER);
	driver_kick(&rig->d, RX);
	host_sends_plain(rig, 60, 1);
	host_sends_plain(rig, 65550, 2);
	driver_settle(&rig->d);
	expect_frame(rig, 60, 1);
	expect_none(rig);
	assert_true(rig->net.rx.is_waiting);
	give(rig, 1, BUFFER);
	driver_kick(&rig->d, RX);
	expect_frame(rig, 65550, 2);
	assert_int_equal(rig->net.metrics.rx_fails, 0);
	assert_false(rig->net.rx.is_impatient);
}

/* N03: without mergeable buffers, a chain is a frame. */
static void one_chain_a_frame(void **state)
{
	struct rig *rig = *state;
	struct header header;

	driver_boot(&rig->d, 0);
	give(rig, 2, 1526);
	driver_kick(&rig->d, RX);
	host_sends_plain(rig, 1515, 1);
	host_sends_plain(rig, 65000, 2);
	host_sends_plain(rig, 1514, 3);
	host_sends_plain(rig, 60, 4);
	host_sends_plain(rig, 60, 5);
	driver_settle(&rig->d);
	assert_int_equal(guest_receives(rig, &header, 3), 1514);
	assert_int_equal(header.num_buffers, 1);
	expect_frame(rig, 60, 4);
	expect_none(rig);
	assert_int_equal(rig->net.metrics.rx_fails, 2);
	give(rig, 1, 1526);
	driver_kick(&rig->d, RX);
	expect_frame(rig, 60, 5);
}

/* N03: chains that cannot begin a frame come back at once, whatever else there is. */
static void useless_buffers(void **state)
{
	struct rig *rig = *state;
	const struct driver_buf readable = { rig->buffers, BUFFER, false };
	const struct driver_buf tiny = { rig->buffers, HEADER - 1, true };
	static const uint64_t features[] = { 0, VIRTIO_NET_F_MRG_RXBUF };

	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		struct driver_used used;
		uint64_t before = rig->net.metrics.rx_fails;

		driver_boot(&rig->d, features[i]);
		host_sends_plain(rig, 60, 1);
		for (unsigned int j = 0; j < 50; j++) {
			driver_add(&rig->d, RX, &readable, 1);
			driver_add(&rig->d, RX, &tiny, 1);
		}
		driver_kick(&rig->d, RX);
		assert_int_equal(rig->net.metrics.rx_fails, before + 100);
		for (unsigned int j = 0; j < 100; j++) {
			assert_true(driver_take_used(&rig->d, RX, &used));
			assert_int_equal(used.len, 0);
		}
		give(rig, ENOUGH, BUFFER);
		driver_kick(&rig->d, RX);
		expect_frame(rig, 60, 1);
		assert_false(needs_reset(rig));
	}
}

/* As many as the ring has: still the driver is asked to kick for the next. */
static void a_ring_of_useless_buffers(void **state)
{
	struct rig *rig = *state;
	const struct driver_queue *q = &rig->d.queues[RX];
	const struct driver_buf tiny = { rig->buffers, HEADER - 1, true };

	driver_boot(&rig->d, VIRTIO_F_EVENT_IDX);
	for (unsigned int i = 0; i < VIRTQ_SIZE_MAX; i++)
		driver_add(&rig->d, RX, &tiny, 1);
	driver_kick(&rig->d, RX);
	assert_int_equal(q->used[1], VIRTQ_SIZE_MAX);
	assert_int_equal(q->used[2 + 4 * VIRTQ_SIZE_MAX], VIRTQ_SIZE_MAX);
}

/* More buffers than the window holds, and one larger than it need be. */
static void odd_buffers(void **state)
{
	struct rig *rig = *state;
	struct driver_buf bufs[64];
	struct driver_used used;

	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
	for (unsigned int i = 0; i < 4; i++) {
		for (unsigned int j = 0; j < 64; j++)
			bufs[j] = (struct driver_buf){ buffer_gpa(rig, i) + j, j < 63 ? 1 : 1024,
						       true };
		driver_add(&rig->d, RX, bufs, 64);
	}
	driver_kick(&rig->d, RX);
	run_for(rig, 40);
	host_sends_plain(rig, 60, 1);
	host_sends_plain(rig, 1514, 1);
	driver_settle(&rig->d);
	assert_true(driver_take_used(&rig->d, RX, &used));
	assert_int_equal(used.len, 72);
	assert_true(driver_take_used(&rig->d, RX, &used));
	assert_true(driver_take_used(&rig->d, RX, &used));
	assert_false(driver_take_used(&rig->d, RX, &used));

	driver_boot(&rig->d, 0);
	bufs[0] = (struct driver_buf){ DRIVER_RAM_GPA, (uint32_t)rig->d.ram_size / 4, true };
	driver_add(&rig->d, RX, bufs, 1);
	driver_kick(&rig->d, RX);
	host_sends_plain(rig, 60, 1);
	driver_settle(&rig->d);
	assert_true(driver_take_used(&rig->d, RX, &used));
	assert_int_equal(used.len, 72);
}

/* 256 buffers in each of several tables: no more of them than the window has room for. */
static void buffers_of_tables(void **state)
{
	struct rig *rig = *state;
	struct driver_used used;
	uint64_t data = driver_alloc(&rig->d, (uint64_t)8 * VIRTQ_CHAIN_MAX * 8, 8);

	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF | VIRTIO_F_INDIRECT_DESC);
	for (uint16_t i = 0; i < 8; i++) {
		uint64_t gpa = driver_alloc(&rig->d, 16 * (uint64_t)VIRTQ_CHAIN_MAX, 16);
		struct driver_desc *table = driver_ptr(&rig->d, gpa);

		for (uint16_t j = 0; j < VIRTQ_CHAIN_MAX; j++)
			table[j] = (struct driver_desc){
				.gpa = data + ((uint64_t)i * VIRTQ_CHAIN_MAX + j) * 8,
				.len = 7,
				.flags = DRIVER_WRITE | (j + 1 < VIRTQ_CHAIN_MAX ? DRIVER_NEXT : 0),
				.next = (uint16_t)(j + 1),
			};
		rig->d.queues[RX].desc[i] = (struct driver_desc){ .gpa = gpa,
								  .len = 16 * VIRTQ_CHAIN_MAX,
								  .flags = DRIVER_INDIRECT };
		driver_offer(&rig->d, RX, i);
	}
	driver_kick(&rig->d, RX);
	assert_in_range(rig->net.rx.n_iov, VIRTQ_CHAIN_MAX, 2 * VIRTQ_CHAIN_MAX);
	for (unsigned int i = 0; i < 8; i++) {
		host_sends_plain(rig, 1514, 1);
		for (int j = 0; j < 100 && rig->net.metrics.rx_packets_count == i; j++)
			run_for(rig, 10);
		assert_true(driver_take_used(&rig->d, RX, &used));
		assert_int_equal(used.len, 1526);
		assert_int_equal(used.head, i);
	}
	assert_false(needs_reset(rig));
}

/* Chains may name 4 GiB between them, many times over. */
static void more_bytes_than_32_bits(void **state)
{
	struct rig *rig = *state;
	struct driver_buf bufs[128];
	struct driver_used used;

	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
	bufs[0] = (struct driver_buf){ rig->buffers, 65561, true };
	driver_add(&rig->d, RX, bufs, 1);
	for (unsigned int i = 0; i < 128; i++)
		bufs[i] = (struct driver_buf){ DRIVER_RAM_GPA + 32 * MIB, 32 * MIB, true };
	bufs[127].len--;
	/* As much as the largest chain: behind the first, which lacks one byte. */
	driver_add(&rig->d, RX, bufs, 128);
	driver_kick(&rig->d, RX);
	assert_int_equal(rig->net.rx.bytes, 65561 + 4 * GIB - 1);
	host_sends_plain(rig, 60, 1);
	driver_settle(&rig->d);
	assert_true(driver_take_used(&rig->d, RX, &used));
	assert_int_equal(used.len, 72);
}

/* N03: a flood, a driver that is always late, indices that wrap; then all is well. Q15. */
static void flood(void **state)
{
	struct rig *rig = *state;
	unsigned int n_sent = 0;
	unsigned int n_received = 0;

	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
	give(rig, VIRTQ_SIZE_MAX, BUFFER);
	driver_kick(&rig->d, RX);
	while (n_received < 70000) {
		unsigned int n_new = 0;
		struct header header;

		while (host_sends(rig, (struct header){ 0 }, 20, (uint8_t)n_sent) > 0)
			n_sent++;
		for (int i = 0; i < 4; i++)
			event_base_loop(rig->d.base, EVLOOP_NONBLOCK);
		while (guest_receives(rig, &header, (uint8_t)n_received) != 0) {
			n_received++;
			n_new++;
		}
		give(rig, n_new, BUFFER);
		rig_write32(&rig->d.mmio, 0x50, RX);
	}
	assert_int_equal(rig->net.metrics.rx_fails, 0);
	driver_settle(&rig->d);
}

static void receiving_is_budgeted(void **state)
{
	struct rig *rig = *state;

	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
	give(rig, VIRTQ_SIZE_MAX, BUFFER);
	driver_kick(&rig->d, RX);
	rig->n_receives = 0;
	for (unsigned int i = 0; i < 100; i++)
		host_sends_plain(rig, 60, (uint8_t)i);
	event_base_loop(rig->d.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_int_equal(rig->n_receives, VIRTIO_BUDGET);
	driver_settle(&rig->d);
	for (unsigned int i = 0; i < 100; i++)
		expect_frame(rig, 60, (uint8_t)i);
}

/* Frames that would be right for another driver; 5.1.6.4.1. */
static void frames_not_for_this_driver(void **state)
{
	struct rig *rig = *state;
	struct header header;

	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
	give(rig, VIRTQ_SIZE_MAX, BUFFER);
	driver_kick(&rig->d, RX);
	host_sends(rig, (struct header){ CSUM_OK }, 60, 1);
	host_sends(rig, (struct header){ .gso_type = TCPV4, .gso_size = 50 }, 60, 1);
	host_sends(rig, (struct header){ .flags = 2 }, 60, 2);
	driver_settle(&rig->d);
	assert_int_equal(guest_receives(rig, &header, 2), 60);
	assert_int_equal(header.flags, 0);
	expect_none(rig);
	assert_int_equal(rig->net.metrics.rx_fails, 2);

	driver_boot(&rig->d,
		    VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4);
	give(rig, VIRTQ_SIZE_MAX, BUFFER);
	driver_kick(&rig->d, RX);
	host_sends(rig, (struct header){ TSO_OK, .gso_type = TCPV6 }, 60, 1);
	host_sends(rig, (struct header){ TSO_OK, .gso_type = TCPV4 | ECN }, 60, 1);
	host_sends(rig, (struct header){ TSO_OK, .gso_type = TCPV4 }, 60, 3);
	host_sends(rig, (struct header){ .flags = 2 }, 60, 4);
	host_sends_plain(rig, 13, 5);
	host_sends_plain(rig, 14, 6);
	driver_settle(&rig->d);
	assert_int_equal(guest_receives(rig, &header, 3), 60);
	assert_int_equal(header.gso_size, 50);
	assert_int_equal(guest_receives(rig, &header, 4), 60);
	assert_int_equal(header.flags, 2);
	expect_frame(rig, 14, 6);
	expect_none(rig);
}

/* N06; 5.1.4.1 */
static void frames_larger_than_the_mtu(void **state)
{
	struct rig *rig = *state;
	struct net_config config = plain;

	config.mtu = 1500;
	restart(rig, &config);
	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_MTU | guest_features);
	give(rig, VIRTQ_SIZE_MAX, BUFFER);
	driver_kick(&rig->d, RX);
	host_sends_plain(rig, 1518, 1);
	host_sends_plain(rig, 1519, 2);
	host_sends(rig, (struct header){ TSO_OK, .gso_type = TCPV4 }, 5000, 3);
	driver_settle(&rig->d);
	expect_frame(rig, 1518, 1);
	expect_frame(rig, 5000, 3);
	expect_none(rig);
	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
	give(rig, VIRTQ_SIZE_MAX, BUFFER);
	driver_kick(&rig->d, RX);
	host_sends_plain(rig, 1519, 2);
	driver_settle(&rig->d);
	expect_frame(rig, 1519, 2);
}

/* N06: the back end goes. */
static void expect_gone(struct rig *rig)
{
	unsigned int n_receives;

	driver_settle(&rig->d);
	assert_true(rig->net.rx.is_gone);
	assert_int_equal(rig_read(&rig->d.mmio, 0x106, 2), 0);
	assert_int_equal(rig_read32(&rig->d.mmio, 0x60) & 2, 2);
	n_receives = rig->n_receives;
	run_for(rig, 40);
	driver_kick(&rig->d, RX);
	assert_int_equal(rig->n_receives, n_receives);
	guest_sends(rig, (struct header){ 0 }, 60, 0);
	expect_sent(rig, 1);
	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_STATUS);
	give(rig, VIRTQ_SIZE_MAX, BUFFER);
	driver_kick(&rig->d, RX);
	assert_int_equal(rig->n_receives, n_receives);
	assert_int_equal(rig_read(&rig->d.mmio, 0x106, 2), 0);
}

static void other_side_closes(void **state)
{
	struct rig *rig = *state;

	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_STATUS);
	give(rig, VIRTQ_SIZE_MAX, BUFFER);
	driver_kick(&rig->d, RX);
	host_sends_plain(rig, 60, 1);
	close(rig->peer);
	rig->peer = -1;
	expect_gone(rig);
	assert_int_equal(rig->net.metrics.tx_fails, 1);
}

static void reading_fails(void **state)
{
	struct rig *rig = *state;

	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_STATUS);
	give(rig, VIRTQ_SIZE_MAX, BUFFER);
	driver_kick(&rig->d, RX);
	rig->receive_error = -EINVAL;
	host_sends_plain(rig, 60, 1);
	driver_settle(&rig->d);
	expect_frame(rig, 60, 1);
	assert_int_equal(rig->net.metrics.rx_fails, 1);
	rig->receive_error = -EBADFD;
	host_sends_plain(rig, 60, 2);
	expect_gone(rig);
}

/* ---- a stream, which keeps parts of frames ---- */

static struct netdev *put_on_stream(struct rig *rig)
{
	struct netdev *netdev = NULL;
	struct err err;
	int fds[2];

	net_deinit(&rig->net);
	rig->net = (struct net){ 0 };
	close(rig->peer);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	rig->peer = fds[1];
	assert_int_equal(passt_new_take_fd(&netdev, fds[0], &err), 0);
	assert_int_equal(net_init(&rig->net, &plain, netdev, &rig->d.mem, &rig->d.irq.line,
				  rig->d.base, &err),
			 0);
	driver_attach(&rig->d, &rig->net.dev);
	return netdev;
}

/* More frames in one piece than there is budget for, or buffers: the descriptor shows none. */
static void frames_that_are_not_seen(void **state)
{
	struct rig *rig = *state;
	struct netdev *netdev = put_on_stream(rig);
	const uint32_t length = htonl(60);
	uint8_t stream[150 * (4 + 60)];

	hold_patience(rig);
	for (size_t i = 0; i < 150; i++) {
		memcpy(stream + i * 64, &length, 4);
		for (size_t j = 0; j < 60; j++)
			stream[i * 64 + 4 + j] = (uint8_t)(i + j);
	}
	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
	give(rig, 120 + ENOUGH - 1, BUFFER);
	driver_kick(&rig->d, RX);
	assert_int_equal(write(rig->peer, stream, sizeof(stream)), sizeof(stream));
	driver_settle(&rig->d);
	for (unsigned int i = 0; i < 120; i++)
		expect_frame(rig, 60, (uint8_t)i);
	expect_none(rig);
	give(rig, ENOUGH, BUFFER);
	driver_kick(&rig->d, RX);
	for (unsigned int i = 120; i < 150; i++)
		expect_frame(rig, 60, (uint8_t)i);
	net_deinit(&rig->net);
	netdev_free(netdev);
}

/* The last frame of a burst goes out though the guest sends no other. */
static void rest_of_a_frame(void **state)
{
	struct rig *rig = *state;
	struct netdev *netdev = put_on_stream(rig);
	size_t left = 0;

	driver_boot(&rig->d, 0);
	while (!netdev->has_backlog && !rig->net.tx.is_waiting) {
		guest_sends(rig, (struct header){ 0 }, 60000, 0);
		left += 4 + 60000;
	}
	assert_true(netdev->has_backlog);
	while (left > 0) {
		ssize_t n =
			recv(rig->peer, rig->bytes, MIN(left, sizeof(rig->bytes)), MSG_DONTWAIT);

		assert_true(n > 0);
		left -= (size_t)n;
		driver_settle(&rig->d);
	}
	assert_false(netdev->has_backlog);
	net_deinit(&rig->net);
	netdev_free(netdev);
}

/* ---- resets, breaks, limits, threads ---- */

/* T14 */
static void resets(void **state)
{
	struct rig *rig = *state;

	for (unsigned int i = 0; i < 300; i++) {
		driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
		assert_int_equal(rig->net.rx.n_chains, 0);
		give(rig, i % VIRTQ_SIZE_MAX, BUFFER);
		rig_write32(&rig->d.mmio, 0x50, RX);
		event_base_loop(rig->d.base, EVLOOP_NONBLOCK);
	}
	rig_write32(&rig->d.mmio, 0x70, 0);
	/* Nobody is there: the back end is not polled for ever. */
	host_sends_plain(rig, 60, 1);
	rig->n_receives = 0;
	run_for(rig, 40);
	assert_int_equal(rig->n_receives, 0);
	assert_false(rig->net.rx.is_watching);
	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
	give(rig, ENOUGH, BUFFER);
	driver_kick(&rig->d, RX);
	expect_frame(rig, 60, 1);
}

/* A frame that came for the last driver's ring, while the queue to receive is not there. */
static void queue_that_is_not_ready(void **state)
{
	struct rig *rig = *state;

	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
	give(rig, VIRTQ_SIZE_MAX, BUFFER);
	driver_kick(&rig->d, RX);
	assert_true(driver_negotiate(&rig->d, VIRTIO_F_VERSION_1));
	driver_place_queue(&rig->d, TX, VIRTQ_SIZE_MAX);
	driver_set_queue(&rig->d, TX);
	rig_write32(&rig->d.mmio, 0x70, 15);
	host_sends_plain(rig, 60, 1);
	driver_settle(&rig->d);
	driver_kick(&rig->d, RX);
	guest_sends(rig, (struct header){ 0 }, 60, 0);
	expect_sent(rig, 1);
	assert_false(needs_reset(rig));
}

static void broken_chains(void **state)
{
	struct rig *rig = *state;

	for (unsigned int queue = 0; queue < NET_N_QUEUES; queue++) {
		driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
		give(rig, ENOUGH - 1, BUFFER);
		driver_offer(&rig->d, queue, VIRTQ_SIZE_MAX);
		driver_kick(&rig->d, queue);
		assert_true(needs_reset(rig));
		rig->n_receives = 0;
		host_sends_plain(rig, 60, 1);
		run_for(rig, 40);
		driver_kick(&rig->d, RX);
		driver_kick(&rig->d, TX);
		assert_int_equal(rig->n_receives, 0);
	}
	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
	give(rig, ENOUGH, BUFFER);
	driver_kick(&rig->d, RX);
	expect_frame(rig, 60, 1);
}

static const struct net_config limited = {
	.id = "n0",
	.rx = { .ops = { .size = 2, .refill_ms = 400 } },
	.tx = { .ops = { .size = 2, .refill_ms = 400 } },
};

static void limits(void **state)
{
	struct rig *rig = *state;
	struct header header;
	unsigned int n_sends;

	restart(rig, &limited);
	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
	give(rig, VIRTQ_SIZE_MAX, BUFFER);
	driver_kick(&rig->d, RX);
	for (uint8_t i = 0; i < 6; i++) {
		host_sends_plain(rig, 60, i);
		guest_sends(rig, (struct header){ 0 }, 60, i);
	}
	n_sends = rig->n_sends;
	assert_in_range(n_sends, 2, 5);
	assert_in_range(rig->net.metrics.rx_packets_count, 2, 5);
	for (int i = 0; i < 100 && rig->net.metrics.rx_packets_count + rig->n_sends < 12; i++)
		run_for(rig, 50);
	expect_sent(rig, 6);
	for (uint8_t i = 0; i < 6; i++) {
		expect_frame(rig, 60, i);
		assert_int_equal(host_receives(rig, &header), 60);
	}
	assert_true(rig->net.metrics.tx_rate_limiter_throttled > 0);
	assert_true(rig->net.metrics.rx_rate_limiter_throttled > 0);
	assert_true(rig->net.metrics.tx_rate_limiter_event_count > 0);
	assert_true(rig->net.metrics.rx_event_rate_limiter_count > 0);
	/* A frame that waits is not the next driver's. */
	for (uint8_t i = 0; i < 6; i++)
		host_sends_plain(rig, 60, i);
	driver_settle(&rig->d);
	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
	assert_int_equal(rig->net.rx.frame_bytes, 0);
}

/* What was paid for and not sent is paid back. */
static void limits_and_a_full_back_end(void **state)
{
	struct rig *rig = *state;
	struct net_config config = limited;

	config.tx.ops.refill_ms = 100000;
	restart(rig, &config);
	driver_boot(&rig->d, 0);
	rig->send_error = -EAGAIN;
	guest_sends(rig, (struct header){ 0 }, 60, 0);
	assert_int_equal(rig->n_sends, 5);
	expect_sent(rig, 1);
}

static void limits_are_lifted(void **state)
{
	struct rig *rig = *state;
	static const struct token_bucket_config off;
	static const struct rate_limiter_change none = { &off, &off };
	struct net_config config = limited;
	struct err err;

	config.tx.ops.refill_ms = 900;
	restart(rig, &config);
	driver_boot(&rig->d, 0);
	for (uint8_t i = 0; i < 6; i++)
		guest_sends(rig, (struct header){ 0 }, 60, i);
	assert_int_not_equal(rig->n_sends, 6);
	assert_int_equal(net_set_limits(&rig->net, &none, &none, &err), 0);
	driver_settle(&rig->d);
	for (int i = 0; i < 30 && rig->n_sends < 6; i++)
		run_for(rig, 50);
	expect_sent(rig, 6);
}

/* All of a change or nothing. */
static void limits_of_one_way_that_cannot_be(void **state)
{
	struct rig *rig = *state;
	static const struct token_bucket_config more = { .size = 7, .refill_ms = 400 };
	static const struct token_bucket_config endless = { .size = 7 };
	static const struct rate_limiter_change good = { .ops = &more };
	static const struct rate_limiter_change bad = { .ops = &endless };
	struct err err;

	restart(rig, &limited);
	assert_int_equal(net_set_limits(&rig->net, &good, &bad, &err), -EINVAL);
	assert_int_equal(rig->net.rx.limiter.ops.config.size, 2);
	assert_int_equal(net_set_limits(&rig->net, &bad, &good, &err), -EINVAL);
	assert_int_equal(rig->net.tx.limiter.ops.config.size, 2);
	assert_int_equal(net_set_limits(&rig->net, &good, &good, &err), 0);
	assert_int_equal(rig->net.rx.limiter.ops.config.size, 7);
	assert_int_equal(rig->net.tx.limiter.ops.config.size, 7);
}

static void *run_loop(void *ctx)
{
	struct rig *rig = ctx;

	event_base_loop(rig->d.base, EVLOOP_NO_EXIT_ON_EMPTY);
	return NULL;
}

static void stop_loop(evutil_socket_t fd, short what, void *ctx)
{
	char byte;

	(void)what;
	assert_int_equal(read(fd, &byte, 1), 1);
	event_base_loopbreak(ctx);
}

static void boot_without_settling(struct driver *d, uint64_t wanted)
{
	(void)driver_negotiate(d, wanted | VIRTIO_F_VERSION_1);
	for (unsigned int i = 0; i < NET_N_QUEUES; i++) {
		driver_place_queue(d, i, VIRTQ_SIZE_MAX);
		driver_set_queue(d, i);
	}
	rig_write32(&d->mmio, 0x70, 15);
}

/* T14, T18: the loop's thread works while a vCPU resets, and frames come. For TSan above all. */
static void resets_while_working(void **state)
{
	struct rig *rig = *state;
	const struct driver_buf frame = { rig->buffers, 72, false };
	int pipe_fds[2];
	struct event *stopper;
	pthread_t thread;

	assert_int_equal(pipe(pipe_fds), 0);
	stopper = event_new(rig->d.base, pipe_fds[0], EV_READ, stop_loop, rig->d.base);
	event_add(stopper, NULL);
	assert_int_equal(pthread_create(&thread, NULL, run_loop, rig), 0);
	for (unsigned int i = 0; i < 200; i++) {
		/* Guest memory is written by both, as it is: the rings are not looked at. */
		boot_without_settling(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
		for (unsigned int j = 0; j < 20; j++) {
			(void)host_sends(rig, (struct header){ 0 }, 60, 0);
			driver_add(&rig->d, TX, &frame, 1);
		}
		give(rig, 100, BUFFER);
		rig_write32(&rig->d.mmio, 0x50, RX);
		rig_write32(&rig->d.mmio, 0x50, TX);
	}
	assert_int_equal(write(pipe_fds[1], "", 1), 1);
	pthread_join(thread, NULL);
	event_free(stopper);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	while (recv(rig->peer, rig->bytes, sizeof(rig->bytes), MSG_DONTWAIT) >= 0)
		driver_settle(&rig->d);
	driver_boot(&rig->d, VIRTIO_NET_F_MRG_RXBUF);
	give(rig, VIRTQ_SIZE_MAX, BUFFER);
	driver_kick(&rig->d, RX);
	assert_true(rig->net.rx.is_watching);
}

static void nothing_at_all(void **state)
{
	static struct net net;

	(void)state;
	net_deinit(&net);
	net_deinit(&net);
	netdev_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(features),
		TEST(configuration),
		TEST(random_address),
		TEST(settings_that_cannot_be),
		TEST(offloads_are_the_drivers),
		TEST(sends),
		TEST(sizes_of_sent_frames),
		TEST(one_byte_descriptors),
		TEST(addresses_of_others),
		TEST(headers_that_cannot_be),
		TEST(headers_that_can),
		TEST(sending_waits),
		TEST(sending_fails),
		TEST(memory_that_cannot_be_reached),
		TEST(sending_is_budgeted),
		TEST(receives),
		TEST(receives_into_several),
		TEST(header_in_pieces),
		TEST(no_buffers),
		TEST(small_ring),
		TEST(patience_ends),
		TEST(late_refill),
		TEST(one_chain_a_frame),
		TEST(useless_buffers),
		TEST(a_ring_of_useless_buffers),
		TEST(odd_buffers),
		TEST(buffers_of_tables),
		TEST(more_bytes_than_32_bits),
		TEST(flood),
		TEST(receiving_is_budgeted),
		TEST(frames_not_for_this_driver),
		TEST(frames_larger_than_the_mtu),
		TEST(other_side_closes),
		TEST(reading_fails),
		TEST(frames_that_are_not_seen),
		TEST(rest_of_a_frame),
		TEST(resets),
		TEST(queue_that_is_not_ready),
		TEST(broken_chains),
		TEST(limits),
		TEST(limits_and_a_full_back_end),
		TEST(limits_are_lifted),
		TEST(limits_of_one_way_that_cannot_be),
		TEST(resets_while_working),
		cmocka_unit_test(nothing_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
