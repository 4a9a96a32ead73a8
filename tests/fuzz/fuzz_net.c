/*
 * The network device: frames from both sides, buffers of any shape, resets, errors of the back end,
 * and a guest that overwrites its rings. What must hold: no header reaches the back end that asks
 * for what was not negotiated or points outside its frame; frames are sent from and read into guest
 * memory alone; a guest that keeps the rules never breaks its device; and the loop always comes to
 * rest.
 */
#include "../unit/driver.h"
#include "util/assert.h"
#include "util/bits.h"
#include "virtio/net.h"

#include <errno.h>
#include <event2/event.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	N_PAGES = 512,
	HEADER = NETDEV_HEADER_SIZE,
	N_FRAMES = 64,
	STEP_BYTES = 8,
	BUFFERS_SIZE = 1 << 20,
};

struct frame {
	struct net_header header;
	uint32_t bytes;
};

struct rig {
	struct driver d;
	struct net net;
	struct netdev netdev;
	struct frame frames[N_FRAMES]; /* from the host, not read yet */
	unsigned int first;
	unsigned int n_frames;
	int send_error;
	int receive_error;
	bool is_honest; /* the guest has kept the rules since it booted */
	uint64_t buffers;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the back end ---- */

static bool is_guest_memory(const struct rig *rig, const struct iovec *iov)
{
	const uint8_t *base = iov->iov_base;

	return base >= rig->d.ram && iov->iov_len <= rig->d.ram_size &&
	       (uint64_t)(base - rig->d.ram) <= rig->d.ram_size - iov->iov_len;
}

static bool has(const struct rig *rig, uint64_t features)
{
	return (rig->net.dev.features & features) == features;
}

static bool may_be_segmented(const struct rig *rig, uint8_t gso_type)
{
	bool has_ecn = (gso_type & 0x80) == 0 || has(rig, VIRTIO_NET_F_HOST_ECN);

	switch (gso_type) {
	case 1:
	case 0x81:
		return has(rig, VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_CSUM) && has_ecn;
	case 4:
	case 0x84:
		return has(rig, VIRTIO_NET_F_HOST_TSO6 | VIRTIO_NET_F_CSUM) && has_ecn;
	case 5:
		return has(rig, VIRTIO_NET_F_HOST_USO | VIRTIO_NET_F_CSUM);
	default:
		return false;
	}
}

static void check_sent(const struct rig *rig, const struct net_header *header, uint64_t bytes)
{
	ASSERT(bytes >= 14 && bytes <= NETDEV_FRAME_MAX);
	ASSERT(header->flags <= 1 && header->num_buffers == 0 && header->hdr_len <= bytes);
	if (header->flags == 1)
		ASSERT(has(rig, VIRTIO_NET_F_CSUM) &&
		       header->csum_start + header->csum_offset + 2U <= bytes);
	if (header->gso_type != 0)
		ASSERT(header->flags == 1 && header->gso_size != 0 &&
		       may_be_segmented(rig, header->gso_type));
}

static int fake_send(struct netdev *netdev, struct iovec *iov, unsigned int n)
{
	struct rig *rig = container_of(netdev, struct rig, netdev);
	int result = rig->send_error;
	uint64_t bytes = 0;

	ASSERT(iov[0].iov_len == HEADER && !is_guest_memory(rig, &iov[0]));
	for (unsigned int i = 1; i < n; i++) {
		ASSERT(is_guest_memory(rig, &iov[i]));
		bytes += iov[i].iov_len;
	}
	check_sent(rig, iov[0].iov_base, bytes);
	rig->send_error = 0;
	return result;
}

static ssize_t fill(const struct frame *frame, const struct iovec *iov, unsigned int n)
{
	const uint8_t *header = (const uint8_t *)&frame->header;
	size_t total = HEADER + frame->bytes;
	size_t done = 0;

	for (unsigned int i = 0; i < n && done < total; i++) {
		uint8_t *base = iov[i].iov_base;

		for (size_t j = 0; j < iov[i].iov_len && done < total; j++, done++)
			base[j] = done < HEADER ? header[done] : (uint8_t)frame->bytes;
	}
	return (ssize_t)done;
}

static ssize_t fake_receive(struct netdev *netdev, const struct iovec *iov, unsigned int n)
{
	struct rig *rig = container_of(netdev, struct rig, netdev);
	int error = rig->receive_error;
	uint64_t unused;
	const struct frame *frame;

	/* The last is the device's own, to see that a frame was too large. */
	for (unsigned int i = 0; i + 1 < n; i++)
		ASSERT(is_guest_memory(rig, &iov[i]));
	ASSERT(n >= 2 && n <= 1024 && iov[n - 1].iov_len == 1);
	rig->receive_error = 0;
	if (error != 0)
		return error;
	if (rig->n_frames == 0) {
		if (read(netdev->fd, &unused, sizeof(unused)) < 0)
			ASSERT(errno == EAGAIN);
		return -EAGAIN;
	}
	frame = &rig->frames[rig->first];
	rig->first = (rig->first + 1) % N_FRAMES;
	rig->n_frames--;
	return fill(frame, iov, n);
}

static int fake_set_offloads(struct netdev *netdev, uint32_t offloads)
{
	(void)netdev;
	ASSERT(offloads == 0 || (offloads & NETDEV_CSUM) != 0);
	return 0;
}

static const struct netdev_ops fake_ops = {
	.send = fake_send,
	.receive = fake_receive,
	.set_offloads = fake_set_offloads,
};

static void host_sends(struct rig *rig, const struct net_header *header, uint32_t bytes)
{
	const uint64_t one = 1;

	if (rig->n_frames == N_FRAMES)
		return;
	rig->frames[(rig->first + rig->n_frames) % N_FRAMES] = (struct frame){ *header, bytes };
	rig->n_frames++;
	ASSERT(write(rig->netdev.fd, &one, sizeof(one)) == sizeof(one));
}

/* ---- the guest ---- */

static void settle(struct rig *rig)
{
	event_base_loop(rig->d.base, EVLOOP_NONBLOCK);
}

static void boot(struct rig *rig, uint64_t features)
{
	bool ok = driver_negotiate(&rig->d, (features & rig->net.dev.offered) | VIRTIO_F_VERSION_1);

	ASSERT(ok);
	for (unsigned int i = 0; i < NET_N_QUEUES; i++) {
		driver_place_queue(&rig->d, i, VIRTQ_SIZE_MAX);
		driver_set_queue(&rig->d, i);
	}
	rig_write32(&rig->d.mmio, 0x70, 15);
	rig->send_error = 0;
	rig->receive_error = 0;
	rig->is_honest = true;
}

/* Not more chains than there are descriptors. */
static bool has_free(const struct rig *rig, unsigned int queue, unsigned int n)
{
	const struct driver_queue *q = &rig->d.queues[queue];

	/* Each chain of this guest's is at most four long. */
	return (uint16_t)(q->avail[1] - q->used[1]) < VIRTQ_SIZE_MAX / 4 - n;
}

static void add_chain(struct rig *rig, unsigned int queue, const uint8_t *step)
{
	struct driver_buf bufs[4];
	unsigned int n = 1 + step[1] % 4;

	if (!has_free(rig, queue, 1))
		return;
	for (unsigned int i = 0; i < n; i++) {
		uint32_t len =
			step[2 + i] < 128 ? step[2 + i] : (uint32_t)(step[2 + i] - 127) * 520U;
		uint64_t gpa = rig->buffers + (uint64_t)step[6] * 1024 + (uint64_t)i * 70000;

		bufs[i] = (struct driver_buf){ gpa, len, queue == NET_QUEUE_RX };
	}
	if (queue == NET_QUEUE_RX && step[7] > 250)
		bufs[0].is_writable = false;
	driver_add(&rig->d, queue, bufs, n);
}

/* What lies where a frame is sent from: a header that is nearly right. */
static void write_header(struct rig *rig, const uint8_t *step)
{
	const struct net_header header = {
		.flags = step[1] & 1 ? 1 : step[1],
		.gso_type = step[2],
		.hdr_len = step[3],
		.gso_size = step[4],
		.csum_start = step[5],
		.csum_offset = step[7],
	};

	memcpy(driver_ptr(&rig->d, rig->buffers + (uint64_t)step[6] * 1024), &header, HEADER);
}

static void add_buffers(struct rig *rig, const uint8_t *step)
{
	const struct driver_buf buf = { rig->buffers, 256U * step[2], true };

	for (unsigned int i = 0; i < step[1] && has_free(rig, NET_QUEUE_RX, 1); i++)
		driver_add(&rig->d, NET_QUEUE_RX, &buf, 1);
}

static void poke_ring(struct rig *rig, const uint8_t *step)
{
	struct driver_queue *q = &rig->d.queues[step[1] % NET_N_QUEUES];
	uint8_t *areas[] = { (uint8_t *)q->desc, (uint8_t *)q->avail, (uint8_t *)q->used };
	size_t offset = (size_t)(step[3] | step[4] << 8) % (2 * VIRTQ_SIZE_MAX);

	areas[step[2] % 3][offset] = step[5];
	rig->is_honest = false;
}

static void fail_next(struct rig *rig, const uint8_t *step)
{
	static const int errors[] = { -EAGAIN, -EIO, -ENOBUFS, -EINVAL, -EFAULT };

	if ((step[1] & 1) != 0)
		rig->send_error = errors[step[2] % ARRAY_SIZE(errors)];
	else
		rig->receive_error = step[2] % 2 == 0 ? -EINVAL : -EFAULT;
	/* No rule of the guest's, but the device says so. */
	rig->is_honest = false;
}

static void send_from_host(struct rig *rig, const uint8_t *step)
{
	const struct net_header header = { .flags = step[3] & 3,
					   .gso_type = step[4],
					   .gso_size = step[5] };

	host_sends(rig, &header, (uint32_t)(step[1] | step[2] << 8));
}

static void reap(struct rig *rig)
{
	struct driver_used used;

	for (unsigned int i = 0; i < NET_N_QUEUES; i++) {
		while (rig->is_honest && driver_take_used(&rig->d, i, &used))
			ASSERT(used.head < VIRTQ_SIZE_MAX && (i == NET_QUEUE_RX || used.len == 0));
	}
}

static void take_step(struct rig *rig, const uint8_t *step)
{
	switch (step[0] % 12) {
	case 0:
	case 1:
		add_chain(rig, NET_QUEUE_RX, step);
		break;
	case 2:
		add_buffers(rig, step);
		break;
	case 3:
		write_header(rig, step);
		break;
	case 4:
		add_chain(rig, NET_QUEUE_TX, step);
		break;
	case 5:
		send_from_host(rig, step);
		break;
	case 6:
		rig_write32(&rig->d.mmio, 0x50, step[1] % 3);
		settle(rig);
		break;
	case 7:
		boot(rig, load_le(step, 8));
		break;
	case 8:
		poke_ring(rig, step);
		break;
	case 9:
		fail_next(rig, step);
		break;
	case 10:
		event_active(rig->net.rx.patience, EV_TIMEOUT, 0);
		settle(rig);
		break;
	default:
		rig_write(&rig->d.mmio, 0x100 + step[1] % 16, 1U << step[2] % 4, step[3]);
		settle(rig);
		break;
	}
	if (rig->is_honest)
		ASSERT((driver_status(&rig->d) & VIRTIO_STATUS_NEEDS_RESET) == 0);
	reap(rig);
}

static void start(struct rig *rig)
{
	static const struct net_config config = {
		.id = "n0", .mac = { 2 }, .has_mac = true, .mtu = 1500
	};
	struct err err;
	int result;

	log_set_level(LOG_OFF);
	driver_init(&rig->d, N_PAGES);
	rig->netdev = (struct netdev){
		.ops = &fake_ops,
		.kind = "fake",
		.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.offloads = NETDEV_CSUM | NETDEV_TSO4 | NETDEV_TSO6 | NETDEV_ECN | NETDEV_USO,
	};
	result = net_init(&rig->net, &config, &rig->netdev, &rig->d.mem, &rig->d.irq.line,
			  rig->d.base, &err);
	ASSERT(result == 0);
	driver_attach(&rig->d, &rig->net.dev);
	rig->buffers = driver_alloc(&rig->d, BUFFERS_SIZE, 4096);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rig rig;

	if (rig.netdev.ops == NULL)
		start(&rig);
	rig.n_frames = 0;
	boot(&rig, UINT64_MAX & ~(uint64_t)VIRTIO_F_EVENT_IDX);
	for (size_t at = 0; at + STEP_BYTES <= size; at += STEP_BYTES)
		take_step(&rig, data + at);
	settle(&rig);
	rig_write32(&rig.d.mmio, 0x70, 0);
	settle(&rig);
	return 0;
}
