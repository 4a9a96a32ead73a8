/*
 * Runs the cases on the device objects themselves, on a bus as they are on in a VM, with one thread
 * for the I/O loop and the driver, and one for the other processor. What the devices need of the
 * host is there: two disks, the end of a network, a folder for sockets.
 */
#include "backend/disk.h"
#include "bus/mmio_bus.h"
#include "hostile.h"
#include "mem/guest_mem.h"
#include "rig.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/input.h"
#include "virtio/mmio.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/virtio_console.h"
#include "virtio/vsock.h"

#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
#define HAS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAS_TSAN 1
#endif
#endif
#ifndef HAS_TSAN
#define HAS_TSAN 0
#endif

#define RAM_GPA  UINT64_C(0x80000000)
#define MMIO_GPA UINT64_C(0x40010000)

enum {
	RAM_SIZE = 64 << 20,
	N_SECTORS = 2048,
	N_DISKS = 2,
	N_DEVICES = 8,
	PATIENCE = 20000, /* rests of REST_US */
	REST_US = 20,
	N_RACES = 2000, /* with fewer, a check removed was not missed */
};

/*
 * The far end of a network, which swallows what is sent, or has no room now and then. N02: what
 * comes here is something that the host's network stack may be given.
 */
struct swallow {
	struct netdev netdev;
	unsigned int n_frames;
	unsigned int n_bad;
};

struct host {
	struct port port;
	struct guest_mem mem;
	struct mmio_bus bus;
	struct event_base *base;
	unsigned int n_devices;
	struct rig_irq irqs[N_DEVICES];
	_Alignas(uint32_t) uint8_t registers[N_DEVICES][WINDOW_SIZE];
	struct input keys;
	char dir[32];
	struct disk disks[N_DISKS];
	struct blk blks[N_DISKS];
	struct swallow swallow;
	struct net net;
	struct vsock vsock;
	struct rng rng;
	struct balloon balloon;
	struct virtio_console console;
	int input[2];
	int output;

	pthread_t thread;
	bool has_thread;
	_Atomic bool is_ending;
	void (*fn)(void *ctx);
	void *ctx;
};

static void must(int result, const struct err *err)
{
	if (result == 0)
		return;
	fprintf(stderr, "%s\n", err->text);
	abort();
}

static void check(bool condition, const char *what)
{
	if (condition)
		return;
	perror(what);
	abort();
}

/* ---- the port ---- */

static struct host *host_of(struct port *port)
{
	return (struct host *)((char *)port - offsetof(struct host, port));
}

static uint64_t port_read(struct port *port, uint64_t gpa, unsigned int len)
{
	return mmio_bus_read(&host_of(port)->bus, gpa, len);
}

static void port_write(struct port *port, uint64_t gpa, unsigned int len, uint64_t value)
{
	mmio_bus_write(&host_of(port)->bus, gpa, len, value);
}

static void port_rest(struct port *port)
{
	event_base_loop(host_of(port)->base, EVLOOP_NONBLOCK);
	/* For what the kernel does meanwhile, and the other thread. */
	usleep(REST_US);
}

static void port_say(struct port *port, const char *text)
{
	(void)port;
	fputs(text, stdout);
}

static void *work_beside(void *ctx)
{
	struct host *host = ctx;

	while (!host->is_ending)
		host->fn(host->ctx);
	return NULL;
}

static bool port_beside(struct port *port, void (*fn)(void *ctx), void *ctx)
{
	struct host *host = host_of(port);

	if (host->has_thread) {
		host->is_ending = true;
		pthread_join(host->thread, NULL);
	}
	host->has_thread = fn != NULL;
	host->is_ending = false;
	host->fn = fn;
	host->ctx = ctx;
	if (fn != NULL)
		check(pthread_create(&host->thread, NULL, work_beside, host) == 0, "a thread");
	return true;
}

/* ---- what the devices are tied to ---- */

static bool is_good_frame(const struct iovec *iov, unsigned int n)
{
	const struct frame_header *header = iov[0].iov_base;
	unsigned int type = header->gso_type & ~0x80U;
	size_t bytes = 0;

	for (unsigned int i = 1; i < n; i++)
		bytes += iov[i].iov_len;
	if (iov[0].iov_len != sizeof(*header) || bytes < NETDEV_FRAME_MIN ||
	    bytes > NETDEV_FRAME_MAX || header->flags > 1 || header->hdr_len > bytes ||
	    (type != 0 && type != 1 && type != 4 && type != 5))
		return false;
	if (header->flags == 0)
		return header->gso_type == 0 && header->csum_start == 0 && header->csum_offset == 0;
	return header->csum_start + header->csum_offset + 2U <= bytes &&
	       (header->gso_type == 0) == (header->gso_size == 0);
}

static int swallow_send(struct netdev *netdev, struct iovec *iov, unsigned int n)
{
	struct swallow *swallow = (struct swallow *)(void *)netdev;

	if (!is_good_frame(iov, n))
		swallow->n_bad++;
	return swallow->n_frames++ % 7 == 3 ? -EAGAIN : 0;
}

static ssize_t swallow_receive(struct netdev *netdev, const struct iovec *iov, unsigned int n)
{
	(void)netdev;
	(void)iov;
	(void)n;
	return -EAGAIN;
}

static int swallow_set_offloads(struct netdev *netdev, uint32_t offloads)
{
	(void)netdev;
	(void)offloads;
	return 0;
}

static void swallow_free(struct netdev *netdev)
{
	close(netdev->fd);
}

static const struct netdev_ops swallow_ops = {
	.send = swallow_send,
	.receive = swallow_receive,
	.set_offloads = swallow_set_offloads,
	.free = swallow_free,
};

static const struct irq_line *next_irq(struct host *host)
{
	struct rig_irq *irq = &host->irqs[host->n_devices];

	rig_irq_init(irq);
	return &irq->line;
}

static void plug_in(struct host *host, struct virtio_dev *dev)
{
	struct err err;

	must(mmio_bus_add(&host->bus, MMIO_GPA + host->n_devices * (uint64_t)WINDOW_SIZE,
			  WINDOW_SIZE, &virtio_mmio_ops, dev, dev->class->name, &err),
	     &err);
	virtio_mmio_attach(dev, &(struct virtio_page){ .bytes = host->registers[host->n_devices] });
	must(virtio_dev_start(dev, host->base, &err), &err);
	host->n_devices++;
}

static void add_disk(struct host *host, unsigned int i, enum disk_engine engine)
{
	const struct blk_config config = { .id = i == 0 ? "writable" : "constant",
					   .cache = BLK_CACHE_WRITEBACK };
	const struct irq_line *irq = next_irq(host);
	uint8_t good[SECTOR];
	char path[64];
	struct err err;
	int fd;

	snprintf(path, sizeof(path), "%s/disk%u", host->dir, i);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	check(fd >= 0, path);
	check(ftruncate(fd, N_SECTORS * SECTOR) == 0, path);
	memset(good, GOOD_BYTE, sizeof(good));
	check(pwrite(fd, good, sizeof(good), SECTOR) == SECTOR, path);
	close(fd);
	must(disk_open(&host->disks[i], path, i != 0, engine, &err), &err);
	unlink(path);
	must(blk_init(&host->blks[i], &config, &host->disks[i], &host->mem, irq, host->base, &err),
	     &err);
	plug_in(host, &host->blks[i].dev);
}

static void add_net(struct host *host)
{
	const struct net_config config = { .id = "net", .mtu = 1500 };
	const struct irq_line *irq = next_irq(host);
	struct err err;

	host->swallow.netdev = (struct netdev){
		.ops = &swallow_ops,
		.kind = "nothing",
		.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
		.offloads = NETDEV_CSUM | NETDEV_TSO4 | NETDEV_TSO6 | NETDEV_ECN | NETDEV_USO,
	};
	check(host->swallow.netdev.fd >= 0, "an eventfd");
	must(net_init(&host->net, &config, &host->swallow.netdev, &host->mem, irq, host->base,
		      &err),
	     &err);
	plug_in(host, &host->net.dev);
}

static void add_vsock(struct host *host)
{
	const struct irq_line *irq = next_irq(host);
	struct vsock_config config = { .id = "vsock", .guest_cid = 42 };
	char path[64];
	struct err err;

	snprintf(path, sizeof(path), "%s/vsock", host->dir);
	config.uds_path = path;
	must(vsock_init(&host->vsock, &config, &host->mem, irq, host->base, &err), &err);
	plug_in(host, &host->vsock.dev);
}

static void add_small_devices(struct host *host)
{
	const struct rate_limiter_config no_limits = { 0 };
	const struct balloon_config balloon = {
		.deflate_on_oom = true,
		.stats_interval_s = 1,
		.reporting = true,
	};
	struct virtio_console_config console = { 0 };
	struct err err;

	must(rng_init(&host->rng, "rng", &no_limits, &host->mem, next_irq(host), host->base, &err),
	     &err);
	plug_in(host, &host->rng.dev);
	must(balloon_init(&host->balloon, "balloon", &balloon, &host->mem, next_irq(host),
			  host->base, &err),
	     &err);
	plug_in(host, &host->balloon.dev);
	must(input_init(&host->keys, "keys", &host->mem, next_irq(host), &err), &err);
	plug_in(host, &host->keys.dev);
	check(pipe2(host->input, O_CLOEXEC) == 0, "a pipe");
	host->output = open("/dev/null", O_WRONLY | O_CLOEXEC);
	check(host->output >= 0, "/dev/null");
	console.in_fd = host->input[0];
	console.out_fd = host->output;
	must(virtio_console_init(&host->console, "console", &console, &host->mem, next_irq(host),
				 host->base, &err),
	     &err);
	plug_in(host, &host->console.dev);
}

static void host_init(struct host *host, enum disk_engine engine)
{
	struct err err;

	*host = (struct host){ .dir = "/tmp/hostile.XXXXXX" };
	check(mkdtemp(host->dir) != NULL, "a folder");
	host->base = event_base_new();
	check(host->base != NULL, "a loop");
	must(guest_mem_add(&host->mem, RAM_GPA, RAM_SIZE, GUEST_MEM_SMALL_PAGES, &err), &err);
	add_disk(host, 0, engine);
	add_disk(host, 1, engine);
	add_net(host);
	add_vsock(host);
	add_small_devices(host);
	host->port = (struct port){
		.read = port_read,
		.write = port_write,
		.rest = port_rest,
		.say = port_say,
		.beside = port_beside,
		.ram = guest_mem_ptr(&host->mem, RAM_GPA, 1),
		.ram_gpa = RAM_GPA,
		.ram_size = RAM_SIZE,
		.arena_gpa = RAM_GPA + RAM_SIZE - ARENA_SIZE - PAGE,
		.mmio_gpa = MMIO_GPA,
		.patience = PATIENCE,
		.can_misalign = true,
		.n_races = HAS_TSAN ? 0 : N_RACES,
		.thrift = 1,
	};
}

static void host_deinit(struct host *host)
{
	virtio_console_deinit(&host->console);
	input_deinit(&host->keys);
	balloon_deinit(&host->balloon);
	rng_deinit(&host->rng);
	vsock_deinit(&host->vsock);
	net_deinit(&host->net);
	netdev_free(&host->swallow.netdev);
	for (unsigned int i = 0; i < N_DISKS; i++) {
		blk_deinit(&host->blks[i]);
		disk_close(&host->disks[i]);
	}
	event_base_free(host->base);
	guest_mem_deinit(&host->mem);
	close(host->input[0]);
	close(host->input[1]);
	close(host->output);
	check(rmdir(host->dir) == 0, "a folder that is to be empty");
}

static bool run_with(enum disk_engine engine)
{
	static struct host host;
	static struct machine machine;
	bool is_well;

	host_init(&host, engine);
	is_well = hostile_run(&machine, &host.port);
	if (host.swallow.n_bad > 0)
		printf("not ok N02 net: %u frames that nobody may be given\n", host.swallow.n_bad);
	is_well = is_well && host.swallow.n_bad == 0;
	host_deinit(&host);
	return is_well;
}

int main(void)
{
	bool is_well;

	/* What hangs is to be seen. */
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	is_well = run_with(DISK_ENGINE_SYNC);
	return run_with(DISK_ENGINE_IO_URING) && is_well ? EXIT_SUCCESS : EXIT_FAILURE;
}
