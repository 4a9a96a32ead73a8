/*
 * A tap device as the back end of a network device: frames go to and come from the host's network
 * stack, with the header that tells of offloads (IFF_VNET_HDR), one system call each, straight from
 * and into guest memory.
 */
#pragma once

#include "backend/netdev.h"
#include "util/err.h"

/**
 * Open a tap device by its name. One that is not there is made, where that is permitted, and is
 * gone again when it is closed.
 * \param netdev set on success; netdev_free() ends it
 * \return 0, or a negative errno with a sentence that names the device
 */
__attribute__((warn_unused_result)) int tap_new(struct netdev **netdev, const char *name,
						struct err *err);

/**
 * The same of an open descriptor, of a launcher's say, which made it with IFF_TAP, IFF_NO_PI and
 * IFF_VNET_HDR. The size of its header and its O_NONBLOCK are set here.
 * \param fd taken over on success
 */
__attribute__((warn_unused_result)) int tap_new_take_fd(struct netdev **netdev, int fd,
							struct err *err);

/**
 * Has the device of a tap been deleted? Who reads or writes it is told; this is for who does not.
 */
bool tap_is_gone(const struct netdev *tap);

/**
 * \return a descriptor that is readable, and to be emptied by read(), when an interface of the host
 * has changed or gone: for the caller to close; or -errno
 */
__attribute__((warn_unused_result)) int tap_watch_interfaces(void);
