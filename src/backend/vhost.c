#include "backend/vhost.h"

#include "util/cleanup.h"
#include "util/io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

static const char vhost_path[] = "/dev/vhost-net";

/*
 * What the kernel has to know of a device's features. Not VHOST_NET_F_VIRTIO_NET_HDR, with which it
 * would make up a header of its own: the tap device has one. Offloads are the tap device's too.
 */
static const uint64_t kernel_features =
	UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_NET_F_MRG_RXBUF |
	UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX | UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC;

/* ---- opening ---- */

static int open_vhost(struct err *err)
{
	int fd = open(vhost_path, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		return err_set(err, -errno,
			       "vhost: %s is missing: load the kernel's module 'vhost_net'",
			       vhost_path);
	if (errno == EACCES || errno == EPERM)
		return err_set(err, -errno, "vhost: no permission to open %s", vhost_path);
	return err_sys(err, "vhost: open %s", vhost_path);
}

/* A guest can have Linux's vhost warn of itself: docs/decisions/0012. */
static int check_host(struct err *err)
{
	cleanup_close int fd = open("/proc/sys/kernel/panic_on_warn", O_RDONLY | O_CLOEXEC);
	char setting = '0';

	if (fd >= 0 && pread_all(fd, &setting, sizeof(setting), 0) == sizeof(setting) &&
	    setting != '0')
		return err_set(err, -ENOTSUP,
			       "vhost: this host stops when its kernel warns, which a guest can "
			       "bring about by vhost: set kernel.panic_on_warn to 0");
	return 0;
}

static int check_features(int fd, struct err *err)
{
	uint64_t features = 0;

	if (ioctl(fd, VHOST_GET_FEATURES, &features) < 0)
		return err_sys(err, "vhost: ask %s for its features", vhost_path);
	if ((features & kernel_features) != kernel_features)
		return err_set(err, -ENOTSUP,
			       "vhost: this host's kernel is too old, it lacks the features 0x%llx",
			       (unsigned long long)(kernel_features & ~features));
	return 0;
}

static int make_eventfd(struct err *err)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	return fd >= 0 ? fd : err_sys(err, "vhost: create an eventfd");
}

static int set_up(struct vhost *vhost, struct err *err)
{
	int ret = check_host(err);

	if (ret == 0)
		ret = open_vhost(err);
	if (ret < 0)
		return ret;
	vhost->fd = ret;
	ret = check_features(vhost->fd, err);
	if (ret < 0)
		return ret;
	/* The memory is that of the process that says this. */
	if (ioctl(vhost->fd, VHOST_SET_OWNER) < 0)
		return err_sys(err, "vhost: own %s", vhost_path);
	ret = vhost->call_fd = make_eventfd(err);
	if (ret >= 0)
		ret = vhost->error_fd = make_eventfd(err);
	return ret < 0 ? ret : 0;
}

int vhost_new(struct vhost **vhostp, struct err *err)
{
	struct vhost *vhost = malloc(sizeof(*vhost));
	int ret;

	if (vhost == NULL)
		return err_set(err, -ENOMEM, "no memory for vhost");
	*vhost = (struct vhost){ .fd = -1, .call_fd = -1, .error_fd = -1 };
	ret = set_up(vhost, err);
	if (ret == 0)
		*vhostp = vhost;
	else
		vhost_free(vhost);
	return ret;
}

void vhost_free(struct vhost *vhost)
{
	if (vhost == NULL)
		return;
	vhost_stop(vhost);
	close_fd(&vhost->fd);
	close_fd(&vhost->call_fd);
	close_fd(&vhost->error_fd);
	free(vhost);
}

/* ---- the queues ---- */

static int set_memory(const struct vhost *vhost, const struct guest_mem *mem)
{
	union {
		struct vhost_memory table;
		uint8_t bytes[sizeof(struct vhost_memory) +
			      GUEST_MEM_MAX_REGIONS * sizeof(struct vhost_memory_region)];
	} all = { 0 };

	all.table.nregions = mem->n_regions;
	for (unsigned int i = 0; i < mem->n_regions; i++) {
		all.table.regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = mem->regions[i].gpa,
			.memory_size = mem->regions[i].size,
			.userspace_addr = (uint64_t)(uintptr_t)mem->regions[i].hva,
		};
	}
	return ioctl(vhost->fd, VHOST_SET_MEM_TABLE, &all.table);
}

static int set_eventfd(const struct vhost *vhost, unsigned long request, unsigned int i, int fd)
{
	struct vhost_vring_file file = { .index = i, .fd = fd };

	return ioctl(vhost->fd, request, &file);
}

/* Rings begin at their first entry: a queue is given away once between two resets. */
static int set_ring(const struct vhost *vhost, unsigned int i, const struct vhost_queue *queue)
{
	struct vhost_vring_state size = { .index = i, .num = queue->size };
	struct vhost_vring_state base = { .index = i };
	struct vhost_vring_addr rings = {
		.index = i,
		.desc_user_addr = (uint64_t)(uintptr_t)queue->desc,
		.avail_user_addr = (uint64_t)(uintptr_t)queue->avail,
		.used_user_addr = (uint64_t)(uintptr_t)queue->used,
	};
	int ret = ioctl(vhost->fd, VHOST_SET_VRING_NUM, &size);

	if (ret == 0)
		ret = ioctl(vhost->fd, VHOST_SET_VRING_BASE, &base);
	if (ret == 0)
		ret = ioctl(vhost->fd, VHOST_SET_VRING_ADDR, &rings);
	if (ret == 0)
		ret = set_eventfd(vhost, VHOST_SET_VRING_KICK, i, queue->kick_fd);
	if (ret == 0)
		ret = set_eventfd(vhost, VHOST_SET_VRING_CALL, i, vhost->call_fd);
	if (ret == 0)
		ret = set_eventfd(vhost, VHOST_SET_VRING_ERR, i, vhost->error_fd);
	return ret;
}

/* From here on the kernel works on the queue; with -1 it has stopped when this returns. */
static int set_backend(const struct vhost *vhost, unsigned int i, int fd)
{
	struct vhost_vring_file file = { .index = i, .fd = fd };

	return ioctl(vhost->fd, VHOST_NET_SET_BACKEND, &file);
}

static int begin(struct vhost *vhost, const struct vhost_setup *setup)
{
	uint64_t features = setup->features & kernel_features;
	int ret = ioctl(vhost->fd, VHOST_SET_FEATURES, &features);

	if (ret == 0)
		ret = set_memory(vhost, setup->mem);
	for (unsigned int i = 0; i < VHOST_QUEUES && ret == 0; i++) {
		if (setup->queues[i].is_ready)
			ret = set_ring(vhost, i, &setup->queues[i]);
	}
	vhost->is_running = true;
	for (unsigned int i = 0; i < VHOST_QUEUES && ret == 0; i++) {
		if (setup->queues[i].is_ready)
			ret = set_backend(vhost, i, setup->tap_fd);
	}
	return ret == 0 ? 0 : -errno;
}

int vhost_start(struct vhost *vhost, const struct vhost_setup *setup)
{
	int ret = begin(vhost, setup);

	if (ret != 0)
		vhost_stop(vhost);
	return ret;
}

void vhost_stop(struct vhost *vhost)
{
	if (!vhost->is_running)
		return;
	/* Of a queue that it has not got this does nothing. It cannot fail for one that it has. */
	for (unsigned int i = 0; i < VHOST_QUEUES; i++)
		(void)set_backend(vhost, i, -1);
	vhost->is_running = false;
	/* What the next driver does is judged by itself. */
	(void)vhost_take_error(vhost);
}

bool vhost_take_error(const struct vhost *vhost)
{
	uint64_t count;

	return read(vhost->error_fd, &count, sizeof(count)) == sizeof(count);
}
