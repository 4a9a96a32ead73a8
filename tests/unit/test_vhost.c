/*
 * The network device whose queues the host's kernel works on, as far as that goes without a kernel
 * that does: what it refuses, how it is handed queues, and how it breaks. /dev/null stands for a
 * vhost-net that refuses everything. The rest is in tests/system/test_nets.py.
 */
#include "backend/vhost.h"

#include "driver.h"
#include "test.h"
#include "util/bits.h"
#include "virtio/net.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { N_PAGES = 64, REG_STATUS = 0x70, REG_ISR = 0x60, REG_CONFIG = 0x100, LINK = 6 };

struct rig {
	struct driver d;
	struct net net;
	struct netdev netdev;
	int peer;
	uint32_t offloads; /* as set */
};

static int fake_set_offloads(struct netdev *netdev, uint32_t offloads)
{
	container_of(netdev, struct rig, netdev)->offloads = offloads;
	return 0;
}

static void fake_free(struct netdev *netdev)
{
	close(netdev->fd);
}

static const struct netdev_ops fake_ops = { .set_offloads = fake_set_offloads, .free = fake_free };

static struct vhost *refusing_vhost(void)
{
	struct vhost *vhost = malloc(sizeof(*vhost));

	*vhost = (struct vhost){
		.fd = open("/dev/null", O_RDWR | O_CLOEXEC),
		.call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.error_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	};
	assert_true(vhost->fd >= 0 && vhost->call_fd >= 0 && vhost->error_fd >= 0);
	return vhost;
}

static int set_up(void **state)
{
	static const struct net_config config = { .id = "n0" };
	static struct rig rig;
	struct err err;
	int fds[2];

	rig = (struct rig){ .offloads = UINT32_MAX };
	driver_init(&rig.d, N_PAGES);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	rig.peer = fds[1];
	rig.netdev = (struct netdev){ .ops = &fake_ops,
				      .kind = "tap",
				      .fd = fds[0],
				      .offloads = NETDEV_CSUM | NETDEV_TSO4,
				      .vhost = refusing_vhost() };
	assert_int_equal(net_init(&rig.net, &config, &rig.netdev, &rig.d.mem, &rig.d.irq.line,
				  rig.d.base, &err),
			 0);
	driver_attach(&rig.d, &rig.net.dev);
	*state = &rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	net_deinit(&rig->net);
	net_deinit(&rig->net);
	netdev_free(&rig->netdev);
	close(rig->peer);
	driver_deinit(&rig->d);
	return 0;
}

static bool needs_reset(const struct rig *rig)
{
	return (driver_status(&rig->d) & VIRTIO_STATUS_NEEDS_RESET) != 0;
}

static bool is_readable(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count);
}

/* Where it is there, and may be opened, there is nothing to refuse. */
static void device_is_missing(void **state)
{
	struct vhost *vhost = NULL;
	struct err err;
	int ret = vhost_new(&vhost, &err);

	(void)state;
	if (ret == 0) {
		vhost_free(vhost);
		skip();
	}
	assert_null(vhost);
	assert_non_null(strstr(err.text, "vhost: "));
	assert_non_null(strstr(err.text, "/dev/vhost-net"));
	if (access("/dev/vhost-net", F_OK) != 0)
		assert_string_equal(err.text, "vhost: /dev/vhost-net is missing: load the kernel's "
					      "module 'vhost_net'");
}

/* The same features as without. */
static void offers_what_the_tap_can(void **state)
{
	struct rig *rig = *state;
	uint64_t offered = rig->net.dev.offered;

	assert_int_equal(offered & net_features_of(NETDEV_CSUM | NETDEV_TSO4),
			 net_features_of(NETDEV_CSUM | NETDEV_TSO4));
	assert_int_equal(offered & VIRTIO_NET_F_HOST_TSO6, 0);
	assert_true((offered & VIRTIO_NET_F_MRG_RXBUF) != 0);
}

/* The device breaks, says so once, and is there again for the next driver. */
static void queues_that_are_refused(void **state)
{
	struct rig *rig = *state;

	for (unsigned int i = 1; i <= 3; i++) {
		rig_irq_take_edge(&rig->d.irq);
		driver_boot(&rig->d, VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM);
		assert_true(needs_reset(rig));
		assert_true(rig_irq_take_edge(&rig->d.irq));
		assert_int_equal(rig->net.metrics.event_fails, i);
		assert_int_equal(rig->offloads, NETDEV_CSUM);
		/* The kernel has no queue, so none is what the interrupt is for. */
		assert_int_equal(rig_read32(&rig->d.mmio, REG_ISR), VIRTIO_ISR_CONFIG);
		assert_false(rig->netdev.vhost->is_running);
		rig_write32(&rig->d.mmio, REG_STATUS, 0);
		assert_int_equal(driver_status(&rig->d), 0);
		assert_int_equal(rig_read32(&rig->d.mmio, REG_ISR), 0);
	}
}

/* Kicks are not ours to hear: they stay in their eventfd. */
static void kicks_are_left_alone(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(rig->net.dev.kick_events[NET_QUEUE_TX], NULL);
	rig_write32(&rig->d.mmio, 0x50, NET_QUEUE_TX);
	driver_settle(&rig->d);
	assert_true(is_readable(rig->net.dev.kick_fds[NET_QUEUE_TX]));
	assert_int_equal(rig->net.metrics.tx_queue_event_count, 0);
}

/* The kernel tells of a ring that breaks a rule. */
static void a_rule_is_broken(void **state)
{
	struct rig *rig = *state;
	const uint64_t one = 1;

	assert_true(driver_negotiate(&rig->d, VIRTIO_F_VERSION_1));
	assert_int_equal(write(rig->netdev.vhost->error_fd, &one, sizeof(one)), sizeof(one));
	driver_settle(&rig->d);
	assert_true(needs_reset(rig));
	assert_int_equal(rig->net.metrics.event_fails, 1);
	assert_false(vhost_take_error(rig->netdev.vhost));
	rig_write32(&rig->d.mmio, REG_STATUS, 0);
	assert_int_equal(driver_status(&rig->d), 0);
}

static void rings_that_cannot_be(void **state)
{
	struct rig *rig = *state;
	struct driver_queue *queue = &rig->d.queues[NET_QUEUE_TX];

	assert_true(driver_negotiate(&rig->d, VIRTIO_F_VERSION_1));
	driver_place_queue(&rig->d, NET_QUEUE_RX, VIRTQ_SIZE_MAX);
	driver_set_queue(&rig->d, NET_QUEUE_RX);
	driver_place_queue(&rig->d, NET_QUEUE_TX, VIRTQ_SIZE_MAX);
	queue->used_gpa = DRIVER_RAM_GPA + rig->d.ram_size;
	driver_set_queue(&rig->d, NET_QUEUE_TX);
	rig_write32(&rig->d.mmio, REG_STATUS, 15);
	assert_true(needs_reset(rig));
	assert_int_equal(rig->net.metrics.activate_fails, 1);
	/* It was not even asked. */
	assert_int_equal(rig->offloads, UINT32_MAX);
}

static void limits_are_refused(void **state)
{
	struct rig *rig = *state;
	const struct token_bucket_config limit = { .size = 1, .refill_ms = 1 };
	const struct token_bucket_config unlimited = { .size = 0, .refill_ms = 1 };
	const struct rate_limiter_change none = { 0 };
	const struct rate_limiter_change away = { .bandwidth = &unlimited, .ops = &unlimited };
	const struct rate_limiter_change each[] = { { .bandwidth = &limit }, { .ops = &limit } };
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(each); i++) {
		err.text[0] = '\0';
		assert_int_equal(net_set_limits(&rig->net, &each[i], &none, &err), -ENOTSUP);
		assert_int_equal(net_set_limits(&rig->net, &away, &each[i], &err), -ENOTSUP);
		assert_non_null(strstr(err.text, "net 'n0': with vhost there are no rate limits"));
	}
	assert_int_equal(net_set_limits(&rig->net, &none, &none, &err), 0);
	assert_int_equal(net_set_limits(&rig->net, &away, &none, &err), 0);
}

/* An interface of the host changes; the tap is one that has an error: deleted. */
static void tap_is_deleted(void **state)
{
	struct rig *rig = *state;
	int pipes[2];

	assert_int_equal(rig_read32(&rig->d.mmio, REG_CONFIG + LINK) & 1, 1);
	assert_int_equal(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
	close(pipes[0]); /* what is written has nowhere to go: POLLERR */
	assert_int_equal(dup3(pipes[1], rig->netdev.fd, O_CLOEXEC), rig->netdev.fd);
	close(pipes[1]);
	driver_boot(&rig->d, 0);
	assert_false(needs_reset(rig));
	assert_int_equal(rig_read32(&rig->d.mmio, REG_CONFIG + LINK) & 1, 0);
	assert_int_equal(rig_read32(&rig->d.mmio, REG_ISR), VIRTIO_ISR_CONFIG);
	assert_int_equal(rig->net.metrics.event_fails, 0);
	/* Nothing is asked of what is gone, which would fail, and be told, for each driver. */
	assert_int_equal(rig->offloads, UINT32_MAX);
}

/* Other guests have interfaces change without an end: the loop goes on all the same. */
static void changes_without_an_end(void **state)
{
	struct rig *rig = *state;
	int zeros;

	if (rig->net.vhost.changed == NULL)
		skip(); /* no such sockets here */
	zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	assert_true(zeros >= 0);
	assert_int_equal(dup3(zeros, rig->net.vhost.changed_fd, O_CLOEXEC),
			 rig->net.vhost.changed_fd);
	close(zeros);
	event_active(rig->net.vhost.changed, EV_READ, 0);
	assert_int_equal(event_base_loop(rig->d.base, EVLOOP_NONBLOCK), 0);
	assert_false(rig->net.vhost.is_gone);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(device_is_missing),
		TEST(offers_what_the_tap_can),
		TEST(queues_that_are_refused),
		TEST(kicks_are_left_alone),
		TEST(a_rule_is_broken),
		TEST(rings_that_cannot_be),
		TEST(limits_are_refused),
		TEST(tap_is_deleted),
		TEST(changes_without_an_end),
	};

	log_set_level(LOG_OFF);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
