/*
 * Tap devices, real ones, in a network namespace of this test's own: skipped where that may not be
 * made. A packet socket stands on the host's side of the device.
 */
#include "backend/tap.h"
#include "driver.h"
#include "test.h"
#include "util/bits.h"
#include "virtio/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEADER = NETDEV_HEADER_SIZE, FRAME = 60, ETHERTYPE = 0x88b5, N_PAGES = 512, BUFFER = 4096 };

static bool is_possible;

static int need_taps(void **state)
{
	(void)state;
	is_possible = unshare(CLONE_NEWNET) == 0 && access("/dev/net/tun", R_OK | W_OK) == 0;
	return 0;
}

#define SKIP_WITHOUT_TAPS()                                                                        \
	do {                                                                                       \
		if (!is_possible)                                                                  \
			skip();                                                                    \
	} while (0)

static struct netdev *open_tap(const char *name)
{
	struct netdev *tap = NULL;
	struct err err = { 0 };

	if (tap_new(&tap, name, &err) != 0)
		fail_msg("%s", err.text);
	return tap;
}

static void set_up_or_down(const char *name, bool is_up)
{
	struct ifreq request = { .ifr_flags = is_up ? IFF_UP : 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	close(fd);
}

static void delete(const char *name)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
	} request = {
		.header = { .nlmsg_len = sizeof(request),
			    .nlmsg_type = RTM_DELLINK,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.info = { .ifi_index = (int)if_nametoindex(name) },
	};
	char answer[256];
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	assert_int_equal(send(fd, &request, sizeof(request), 0), sizeof(request));
	assert_true(recv(fd, answer, sizeof(answer), 0) > 0);
	close(fd);
	assert_int_equal(if_nametoindex(name), 0);
}

/* The host's side: frames of our own type alone. */
static int host_side(const char *name)
{
	const struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETHERTYPE),
		.sll_ifindex = (int)if_nametoindex(name),
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETHERTYPE));

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void make_frame(uint8_t frame[FRAME], uint8_t seed)
{
	memset(frame, seed, FRAME);
	memset(frame, 0xff, 6);
	frame[6] = 2;
	frame[12] = ETHERTYPE >> 8;
	frame[13] = ETHERTYPE & 0xff;
}

/* Frames of the kernel's own (it looks for routers) come in between. */
static ssize_t receive_ours(struct netdev *tap, uint8_t *bytes, size_t len)
{
	const struct iovec iov = { .iov_base = bytes, .iov_len = len };

	for (;;) {
		ssize_t n = tap->ops->receive(tap, &iov, 1);

		if (n <= HEADER + 14 || bytes[HEADER + 12] == ETHERTYPE >> 8)
			return n;
	}
}

/* ---- the back end ---- */

static void names_that_cannot_be(void **state)
{
	static const char *const names[] = { "", "a/b", "tap%d", ".", "..", "a b", "a:b" };
	struct netdev *tap = NULL;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(tap_new(&tap, names[i], &err), -EINVAL);
	assert_int_equal(tap_new(&tap, "sixteen-letters!", &err), -ENAMETOOLONG);
	assert_non_null(strstr(err.text, "sixteen-letters!"));
	assert_null(tap);
}

static void descriptors_that_are_no_taps(void **state)
{
	struct ifreq request = { .ifr_name = "t8", .ifr_flags = IFF_TAP | IFF_NO_PI };
	struct netdev *tap = NULL;
	struct err err;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	assert_int_equal(tap_new_take_fd(&tap, fd, &err), -EINVAL);
	close(fd);
	SKIP_WITHOUT_TAPS();
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	assert_int_equal(tap_new_take_fd(&tap, fd, &err), -EINVAL);
	assert_int_equal(ioctl(fd, TUNSETIFF, &request), 0);
	assert_int_equal(tap_new_take_fd(&tap, fd, &err), -EINVAL);
	assert_non_null(strstr(err.text, "IFF_VNET_HDR"));
	close(fd);
	request = (struct ifreq){ .ifr_name = "t9", .ifr_flags = IFF_TUN | IFF_NO_PI };
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	assert_int_equal(ioctl(fd, TUNSETIFF, &request), 0);
	assert_int_equal(tap_new_take_fd(&tap, fd, &err), -EINVAL);
	assert_non_null(strstr(err.text, "tun device"));
	assert_int_equal(tap_new(&tap, "t9", &err), -EINVAL);
	assert_non_null(strstr(err.text, "not a tap"));
	close(fd);
	assert_null(tap);
}

static void taps_that_are_taken(void **state)
{
	struct netdev *tap;
	struct netdev *other = NULL;
	struct err err;

	(void)state;
	SKIP_WITHOUT_TAPS();
	tap = open_tap("t0");
	assert_int_equal(tap_new(&other, "t0", &err), -EBUSY);
	assert_non_null(strstr(err.text, "in use"));
	assert_int_equal(tap_new(&other, "lo", &err), -EINVAL);
	netdev_free(tap);
	assert_int_equal(if_nametoindex("t0"), 0);
	netdev_free(open_tap("fifteen-letters"));
}

/* As root of another user namespace: nobody, here. */
static void without_permission(void **state)
{
	struct netdev *tap = NULL;
	struct err err;
	uid_t nobody = 65534;

	(void)state;
	SKIP_WITHOUT_TAPS();
	if (seteuid(nobody) != 0)
		skip();
	assert_int_not_equal(tap_new(&tap, "t0", &err), 0);
	assert_int_equal(seteuid(0), 0);
	assert_true(strstr(err.text, "permission") != NULL || strstr(err.text, "root") != NULL);
}

static void frames_pass(void **state)
{
	struct netdev *tap;
	uint8_t bytes[HEADER + 2000];
	uint8_t frame[FRAME];
	uint8_t header[HEADER] = { 0 };
	struct iovec iov[3] = {
		{ .iov_base = header, .iov_len = HEADER },
		{ .iov_base = frame, .iov_len = 20 },
		{ .iov_base = frame + 20, .iov_len = FRAME - 20 },
	};
	int host;

	(void)state;
	SKIP_WITHOUT_TAPS();
	tap = open_tap("t0");
	assert_true((fcntl(tap->fd, F_GETFL) & O_NONBLOCK) != 0);
	assert_true((tap->offloads & NETDEV_CSUM) != 0);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(tap->ops->set_offloads(tap, i * tap->offloads), 0);
	make_frame(frame, 1);
	assert_int_equal(tap->ops->send(tap, iov, 3), -EIO); /* it is down */
	set_up_or_down("t0", true);
	host = host_side("t0");
	assert_int_equal(tap->ops->send(tap, iov, 3), 0);
	assert_int_equal(recv(host, bytes, sizeof(bytes), 0), FRAME);
	assert_memory_equal(bytes, frame, FRAME);

	assert_int_equal(send(host, frame, FRAME, 0), FRAME);
	memset(bytes, 0xee, sizeof(bytes));
	assert_int_equal(receive_ours(tap, bytes, sizeof(bytes)), HEADER + FRAME);
	assert_memory_equal(bytes, header, HEADER - 2);
	assert_memory_equal(bytes + HEADER, frame, FRAME);
	assert_int_equal(receive_ours(tap, bytes, sizeof(bytes)), -EAGAIN);

	delete ("t0");
	iov[0] = (struct iovec){ .iov_base = header, .iov_len = HEADER };
	assert_int_equal(tap->ops->send(tap, iov, 3), -EBADFD);
	assert_int_equal(receive_ours(tap, bytes, sizeof(bytes)), -EBADFD);
	close(host);
	netdev_free(tap);
}

static bool is_readable(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };

	return poll(&pollfd, 1, 0) > 0;
}

static void a_deletion_is_seen(void **state)
{
	struct netdev *tap;
	uint8_t bytes[512];
	int fd;

	(void)state;
	SKIP_WITHOUT_TAPS();
	tap = open_tap("t0");
	fd = tap_watch_interfaces();
	assert_true(fd >= 0);
	assert_false(is_readable(fd));
	set_up_or_down("t0", true);
	assert_true(is_readable(fd));
	assert_false(tap_is_gone(tap));
	while (read(fd, bytes, sizeof(bytes)) > 0)
		continue;
	assert_false(is_readable(fd));
	delete ("t0");
	assert_true(is_readable(fd));
	assert_true(tap_is_gone(tap));
	close(fd);
	netdev_free(tap);
}

/* ---- the device on it ---- */

struct rig {
	struct driver d;
	struct net net;
	struct netdev *tap;
	int host;
	uint64_t buffers;
};

static void start(struct rig *rig)
{
	const struct net_config config = { .id = "n0" };
	struct err err;

	*rig = (struct rig){ 0 };
	driver_init(&rig->d, N_PAGES);
	rig->tap = open_tap("t1");
	set_up_or_down("t1", true);
	rig->host = host_side("t1");
	assert_int_equal(net_init(&rig->net, &config, rig->tap, &rig->d.mem, &rig->d.irq.line,
				  rig->d.base, &err),
			 0);
	driver_attach(&rig->d, &rig->net.dev);
	rig->buffers = driver_alloc(&rig->d, (uint64_t)VIRTQ_SIZE_MAX * BUFFER, 4096);
	driver_boot(&rig->d, rig->net.dev.offered & ~VIRTIO_F_EVENT_IDX);
	for (unsigned int i = 0; i < VIRTQ_SIZE_MAX; i++) {
		const struct driver_buf buf = { rig->buffers + (uint64_t)i * BUFFER, BUFFER, true };

		driver_add(&rig->d, NET_QUEUE_RX, &buf, 1);
	}
	driver_kick(&rig->d, NET_QUEUE_RX);
}

static void stop(struct rig *rig)
{
	net_deinit(&rig->net);
	netdev_free(rig->tap);
	close(rig->host);
	driver_deinit(&rig->d);
}

/* Is there a frame of ours among those that came? */
static bool guest_has(struct rig *rig, uint8_t seed)
{
	struct driver_used used;

	while (driver_take_used(&rig->d, NET_QUEUE_RX, &used)) {
		const uint8_t *at =
			driver_ptr(&rig->d, rig->buffers + (uint64_t)used.head * BUFFER);

		assert_int_equal(load_le(at + 10, 2), 1);
		if (used.len == HEADER + FRAME && at[HEADER + FRAME - 1] == seed)
			return true;
	}
	return false;
}

static void guest_sends(struct rig *rig, uint8_t seed)
{
	uint64_t gpa = driver_alloc(&rig->d, HEADER + FRAME, 64);
	const struct driver_buf buf = { gpa, HEADER + FRAME, false };
	struct driver_used used;

	make_frame((uint8_t *)driver_ptr(&rig->d, gpa) + HEADER, seed);
	driver_add(&rig->d, NET_QUEUE_TX, &buf, 1);
	driver_kick(&rig->d, NET_QUEUE_TX);
	assert_true(driver_take_used(&rig->d, NET_QUEUE_TX, &used));
}

/* How often the loop has something to do in 50 ms: not at all when it is at rest. */
static unsigned int turns(struct rig *rig)
{
	const struct timeval duration = { .tv_usec = 50000 };
	unsigned int n = 0;

	event_base_loopexit(rig->d.base, &duration);
	while (!event_base_got_exit(rig->d.base)) {
		event_base_loop(rig->d.base, EVLOOP_ONCE);
		n++;
	}
	return n;
}

static void guest_and_host(void **state)
{
	static struct rig rig;
	uint8_t frame[FRAME];
	uint8_t bytes[2000];

	(void)state;
	SKIP_WITHOUT_TAPS();
	start(&rig);
	guest_sends(&rig, 7);
	assert_int_equal(recv(rig.host, bytes, sizeof(bytes), 0), FRAME);
	assert_int_equal(bytes[FRAME - 1], 7);
	make_frame(frame, 8);
	assert_int_equal(send(rig.host, frame, FRAME, 0), FRAME);
	driver_settle(&rig.d);
	assert_true(guest_has(&rig, 8));
	stop(&rig);
}

/* N06: down, up again, and gone. Nothing spins. */
static void down_and_gone(void **state)
{
	static struct rig rig;
	uint8_t frame[FRAME];
	uint8_t bytes[2000];

	(void)state;
	SKIP_WITHOUT_TAPS();
	start(&rig);
	set_up_or_down("t1", false);
	guest_sends(&rig, 1);
	assert_true(turns(&rig) < 10);
	set_up_or_down("t1", true);
	close(rig.host);
	rig.host = host_side("t1");
	guest_sends(&rig, 2);
	assert_int_equal(recv(rig.host, bytes, sizeof(bytes), 0), FRAME);
	make_frame(frame, 3);
	assert_int_equal(send(rig.host, frame, FRAME, 0), FRAME);
	driver_settle(&rig.d);
	assert_true(guest_has(&rig, 3));
	assert_int_equal(rig.net.metrics.tx_fails, 1);

	delete ("t1");
	driver_settle(&rig.d);
	assert_true(rig.net.rx.is_gone);
	assert_true(turns(&rig) < 10);
	guest_sends(&rig, 4);
	driver_kick(&rig.d, NET_QUEUE_RX);
	assert_true(turns(&rig) < 10);
	assert_int_equal(rig.net.metrics.tx_fails, 2);
	stop(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_that_cannot_be),
		cmocka_unit_test(descriptors_that_are_no_taps),
		cmocka_unit_test(taps_that_are_taken),
		cmocka_unit_test(without_permission),
		cmocka_unit_test(frames_pass),
		cmocka_unit_test(a_deletion_is_seen),
		cmocka_unit_test(guest_and_host),
		cmocka_unit_test(down_and_gone),
	};

	return cmocka_run_group_tests(tests, need_taps, NULL);
}
