#include "backend/tap.h"

#include "util/bits.h"
#include "util/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static const char tun_path[] = "/dev/net/tun";

/* ---- frames ---- */

static int tap_send(struct netdev *netdev, struct iovec *iov, unsigned int n)
{
	ssize_t done;

	do {
		done = writev(netdev->fd, iov, (int)n);
	} while (done < 0 && errno == EINTR);
	return done < 0 ? -errno : 0;
}

static ssize_t tap_receive(struct netdev *netdev, const struct iovec *iov, unsigned int n)
{
	ssize_t done;

	do {
		done = readv(netdev->fd, iov, (int)n);
	} while (done < 0 && errno == EINTR);
	return done < 0 ? -errno : done;
}

static const struct {
	uint32_t offload;
	unsigned int tun;
} offload_bits[] = {
	{ NETDEV_CSUM, TUN_F_CSUM },
	{ NETDEV_TSO4, TUN_F_TSO4 },
	{ NETDEV_TSO6, TUN_F_TSO6 },
	{ NETDEV_ECN, TUN_F_TSO_ECN },
	{ NETDEV_USO, TUN_F_USO4 | TUN_F_USO6 },
};

static int tap_set_offloads(struct netdev *netdev, uint32_t offloads)
{
	unsigned int bits = 0;

	for (size_t i = 0; i < ARRAY_SIZE(offload_bits); i++) {
		if ((offloads & offload_bits[i].offload) != 0)
			bits |= offload_bits[i].tun;
	}
	return ioctl(netdev->fd, TUNSETOFFLOAD, (unsigned long)bits) < 0 ? -errno : 0;
}

static void tap_free(struct netdev *netdev)
{
	close_fd(&netdev->fd);
	free(netdev);
}

static const struct netdev_ops tap_ops = {
	.send = tap_send,
	.receive = tap_receive,
	.set_offloads = tap_set_offloads,
	.free = tap_free,
};

/* ---- opening ---- */

static int check_flags(int fd, struct err *err)
{
	struct ifreq request = { 0 };

	if (ioctl(fd, TUNGETIFF, &request) < 0)
		return err_set(err, -EINVAL, "descriptor %d is not a tap device", fd);
	if ((request.ifr_flags & IFF_TAP) == 0)
		return err_set(err, -EINVAL, "'%s' is a tun device, not a tap device",
			       request.ifr_name);
	if ((request.ifr_flags & (IFF_NO_PI | IFF_VNET_HDR)) != (IFF_NO_PI | IFF_VNET_HDR))
		return err_set(err, -EINVAL,
			       "tap device '%s' was not opened with IFF_NO_PI and IFF_VNET_HDR",
			       request.ifr_name);
	return 0;
}

static int set_up_header(int fd, struct err *err)
{
	int size = NETDEV_HEADER_SIZE;
	int is_le = 1;
	int flags = fcntl(fd, F_GETFL);

	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0)
		return err_sys(err, "set the size of a tap device's header");
	if (ioctl(fd, TUNSETVNETLE, &is_le) < 0)
		return err_sys(err, "set the byte order of a tap device's header");
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return err_sys(err, "set the flags of a tap device");
	return 0;
}

/* Kernels know different ones, and only trying tells. None is on until a driver is there. */
static int probe_offloads(struct netdev *netdev, struct err *err)
{
	static const uint32_t all[] = { NETDEV_CSUM | NETDEV_TSO4 | NETDEV_TSO6 | NETDEV_ECN,
					NETDEV_CSUM | NETDEV_USO };
	int result;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (tap_set_offloads(netdev, all[i]) == 0)
			netdev->offloads |= all[i];
	}
	result = tap_set_offloads(netdev, 0);
	return result == 0 ? 0 : err_set(err, result, "set the offloads of a tap device");
}

static int set_up(struct netdev *tap, struct err *err)
{
	int result = check_flags(tap->fd, err);

	if (result == 0)
		result = set_up_header(tap->fd, err);
	if (result == 0)
		result = probe_offloads(tap, err);
	return result;
}

int tap_new_take_fd(struct netdev **netdev, int fd, struct err *err)
{
	struct netdev *tap = malloc(sizeof(*tap));
	int result;

	if (tap == NULL)
		return err_set(err, -ENOMEM, "no memory for a tap device");
	*tap = (struct netdev){ .ops = &tap_ops, .kind = "tap", .fd = fd };
	result = set_up(tap, err);
	if (result == 0)
		*netdev = tap;
	else
		free(tap);
	return result;
}

static int open_tun(struct err *err)
{
	int fd = open(tun_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		return err_set(err, -errno, "%s is missing: load the kernel's module 'tun'",
			       tun_path);
	if (errno == EACCES || errno == EPERM)
		return err_set(err, -errno, "no permission to open %s", tun_path);
	return err_sys(err, "open %s", tun_path);
}

static int check_name(const char *name, struct err *err)
{
	/* A name with '%' would be a pattern, by which the kernel chooses one. */
	if (name[0] == '\0' || strpbrk(name, "/%: \t\n") != NULL || strcmp(name, ".") == 0 ||
	    strcmp(name, "..") == 0)
		return err_set(err, -EINVAL, "'%s' cannot be the name of a tap device", name);
	if (strlen(name) >= IFNAMSIZ)
		return err_set(
			err, -ENAMETOOLONG,
			"'%s' is too long for a tap device: names have at most %d characters", name,
			IFNAMSIZ - 1);
	return 0;
}

/* What TUNSETIFF's codes mean, which depends on whether the device is there. */
static int explain(const char *name, bool is_there, int code, struct err *err)
{
	if (code == -EBUSY)
		return err_set(err, code, "tap device '%s' is in use by another program", name);
	if (code == -EPERM && is_there)
		return err_set(err, code, "tap device '%s' belongs to another user", name);
	if (code == -EPERM)
		return err_set(err, code,
			       "tap device '%s' does not exist, and only root may make one "
			       "(ip tuntap add dev %s mode tap user NAME)",
			       name, name);
	if (code == -EINVAL && is_there)
		return err_set(err, code, "'%s' is not a tap device, or one with several queues",
			       name);
	return err_set(err, code, "attach to tap device '%s': %s", name, strerror(-code));
}

int tap_new(struct netdev **netdev, const char *name, struct err *err)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	cleanup_close int fd = -1;
	bool is_there;
	int result = check_name(name, err);

	if (result != 0)
		return result;
	fd = open_tun(err);
	if (fd < 0)
		return fd;
	is_there = if_nametoindex(name) != 0;
	memcpy(request.ifr_name, name, strlen(name) + 1);
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		return explain(name, is_there, -errno, err);
	result = tap_new_take_fd(netdev, fd, err);
	if (result == 0)
		(void)take_fd(&fd);
	return result;
}

/* ---- for who neither reads nor writes ---- */

bool tap_is_gone(const struct netdev *tap)
{
	/* An ioctl would wait for a lock of the whole host's interfaces. */
	struct pollfd pollfd = { .fd = tap->fd };

	return poll(&pollfd, 1, 0) > 0 && (pollfd.revents & POLLERR) != 0;
}

int tap_watch_interfaces(void)
{
	const struct sockaddr_nl links = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	cleanup_close int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&links, sizeof(links)) < 0)
		return -errno;
	return take_fd(&fd);
}
