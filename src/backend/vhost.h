/*
 * vhost-net: the host's kernel works on the two queues of a network device by itself, between guest
 * memory and a tap device, and none of its frames comes to this process.
 *
 * The kernel is told where guest memory is, where the rings are, which eventfd the guest's kicks
 * write, and which it shall write to interrupt the guest, or when a ring breaks a rule. From
 * vhost_start() to the return of vhost_stop() the rings and all of guest memory are the kernel's to
 * use too. It knows guest memory only, and judges what the guest put into it as we would.
 *
 * Any thread, one at a time: the device's lock covers this.
 */
#pragma once

#include "mem/guest_mem.h"
#include "util/err.h"

#include <stdbool.h>
#include <stdint.h>

enum { VHOST_QUEUES = 2 };

struct vhost {
	int fd;          /**< of /dev/vhost-net */
	int call_fd;     /**< eventfd: the guest is to be interrupted */
	int error_fd;    /**< eventfd: a ring breaks a rule */
	bool is_running; /**< the kernel may be at work on the queues */
};

/** A queue of the driver's; its rings have been checked to lie in guest memory. */
struct vhost_queue {
	bool is_ready; /**< else the kernel does not get it */
	uint16_t size;
	const void *desc;
	const void *avail;
	const void *used;
	int kick_fd; /**< eventfd: the driver has added something */
};

struct vhost_setup {
	const struct guest_mem *mem;
	uint64_t features; /**< negotiated; those that do not concern the kernel are left out */
	int tap_fd;        /**< whose header has the size of VERSION_1's */
	struct vhost_queue queues[VHOST_QUEUES]; /**< to receive, to send */
};

/**
 * Open the host's vhost-net and check that it can do what a device here offers.
 * \param vhost set on success; vhost_free() ends it
 * \return 0, or a negative errno with a sentence that says what is missing
 */
__attribute__((warn_unused_result)) int vhost_new(struct vhost **vhost, struct err *err);

/** Give the queues to the kernel. \return 0, or -errno and the kernel has none */
__attribute__((warn_unused_result)) int vhost_start(struct vhost *vhost,
						    const struct vhost_setup *setup);

/**
 * Take them back. When this returns the kernel touches them, and guest memory, no more; it waits
 * for the piece of work that is being done, which is a few hundred frames at most. Legal when
 * stopped.
 */
void vhost_stop(struct vhost *vhost);

/** Has a ring broken a rule since this was asked last? */
bool vhost_take_error(const struct vhost *vhost);

/** Stop it and free the object. Legal on NULL. */
void vhost_free(struct vhost *vhost);
