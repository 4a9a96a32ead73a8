/*
 * The host's side of a network device: something that frames are sent to and received from.
 *
 * A frame at this interface is NETDEV_HEADER_SIZE bytes of header (virtio 1.2, section 5.1.6,
 * little-endian, with num_buffers), then the Ethernet frame. The header tells what is left to do:
 * a checksum to fill in, a large segment to cut. A back end without such offloads gets only headers
 * that ask for nothing and gives out zeros.
 *
 * Frames are passed as they lie in guest memory. A back end reads each byte once and never judges
 * one, since the guest may change it meanwhile; the device has judged a copy of the header.
 *
 * Nothing here blocks. All functions run on the I/O thread.
 */
#pragma once

#include "backend/vhost.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum {
	NETDEV_HEADER_SIZE = 12,
	/** the largest frame: 64 KiB of IP packet, about, behind 14 bytes of Ethernet */
	NETDEV_FRAME_MAX = 65550,
	/** an Ethernet header: nothing shorter is a frame */
	NETDEV_FRAME_MIN = 14,
};

/** Work that may be left to whoever gets the frame. */
enum netdev_offload {
	NETDEV_CSUM = 1, /**< checksums; the others need it */
	NETDEV_TSO4 = 2, /**< cutting of TCP segments over IPv4 */
	NETDEV_TSO6 = 4,
	NETDEV_ECN = 8,  /**< of those with congestion bits */
	NETDEV_USO = 16, /**< cutting of UDP segments, over IPv4 and IPv6 */
};

struct event_base;
struct netdev;

struct netdev_ops {
	/**
	 * Send one frame.
	 * \param iov the first is the header and nothing else; spoilt by the call
	 * \return 0: sent, or kept to be sent; -EAGAIN: not now, try when `fd` is writable;
	 * another -errno: lost
	 */
	int (*send)(struct netdev *netdev, struct iovec *iov, unsigned int n);
	/**
	 * Receive one frame into buffers. What does not fit is cut off, and nobody tells: a caller
	 * that cares adds a byte.
	 * \return bytes, header included; -EAGAIN: none, try when `fd` is readable; 0: the other
	 * side has gone; another -errno
	 */
	ssize_t (*receive)(struct netdev *netdev, const struct iovec *iov, unsigned int n);
	/**
	 * `fd` is writable and `has_backlog` was set: go on with the frame that was kept. NULL
	 * where none ever is. \return 0, or -errno when it is lost
	 */
	int (*flush)(struct netdev *netdev);
	/** From now on receive() may leave these to the guest, and nothing else. \return 0, -errno
	 */
	int (*set_offloads)(struct netdev *netdev, uint32_t offloads);
	/** Have the loop see to what it needs besides `fd`. NULL where that is nothing. */
	void (*watch)(struct netdev *netdev, struct event_base *base);
	/** End it and free the object. */
	void (*free)(struct netdev *netdev);
};

struct netdev {
	const struct netdev_ops *ops;
	const char *kind;    /**< in messages: "tap" */
	int fd;              /**< to watch; owned */
	uint32_t offloads;   /**< that it can do and make use of */
	bool has_backlog;    /**< a part of a frame is kept: watch `fd` for writing, then flush() */
	struct vhost *vhost; /**< a tap's: moves all frames in our place; owned; NULL: none */
};

/** Once, before it is used. */
static inline void netdev_watch(struct netdev *netdev, struct event_base *base)
{
	if (netdev->ops->watch != NULL)
		netdev->ops->watch(netdev, base);
}

/** Legal on NULL. */
static inline void netdev_free(struct netdev *netdev)
{
	if (netdev == NULL)
		return;
	vhost_free(netdev->vhost);
	netdev->ops->free(netdev);
}
