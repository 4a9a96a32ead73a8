/*
 * User-mode networking without privileges: the program passt, started beside us, turns frames into
 * ordinary sockets of the host, and sockets into frames (https://passt.top).
 *
 * We speak with it over a stream socket: each frame behind its length, 4 bytes, big-endian. Its
 * frames have no offload header, so none is offered to the guest. Both directions have one bounded
 * buffer, for what the socket cut in two. passt reads what a guest sends, so it may have been taken
 * over: what it says is judged, and a length that cannot be ends the connection.
 *
 * It runs in a session of its own, with standard error as its only inherited descriptor besides the
 * socket, and ends when the socket is closed: with us, however we end. One that ends before us is
 * waited for by netdev_watch()'s loop, so that it does not stay a zombie.
 */
#pragma once

#include "backend/netdev.h"
#include "util/err.h"

/** A program to start. */
struct passt_config {
	const char *program; /**< a path, or a name to be looked up; NULL: "passt" */
	const char *const
		*args; /**< more arguments, up to a NULL: ports to forward, say; or NULL */
};

/**
 * Start it.
 * \param netdev set on success; netdev_free() ends it
 * \param config borrowed during the call
 * \return 0, or a negative errno with a sentence: -ENOENT where passt is not installed
 */
__attribute__((warn_unused_result)) int passt_new(struct netdev **netdev,
						  const struct passt_config *config,
						  struct err *err);

/**
 * Speak with one that runs already.
 * \param fd a connected stream socket, taken over on success; its flags stay as they are
 */
__attribute__((warn_unused_result)) int passt_new_take_fd(struct netdev **netdev, int fd,
							  struct err *err);
