/*
 * The host's end of Unix stream sockets: a listener bound to a path, and connecting to one. Nothing
 * here ever waits.
 *
 * A path that exists is never taken over, not even a stale socket: it may be another machine's. The
 * socket file that we made is removed in the end, unless another has taken its place.
 */
#pragma once

#include "util/err.h"

#include <sys/types.h>
#include <sys/un.h>

/** The longest path with its final NUL. */
enum { UNIX_PATH_MAX = sizeof(((struct sockaddr_un *)0)->sun_path) };

struct unix_listener {
	int fd;
	char path[UNIX_PATH_MAX]; /**< empty while there is no listener */
	dev_t dev;                /**< which file it was that we made */
	ino_t ino;
};

/**
 * Bind to \p path and listen.
 * \param path copied
 * \return 0; -EADDRINUSE when anything is there already; -errno, with a sentence that names it
 */
__attribute__((warn_unused_result)) int unix_listener_init(struct unix_listener *listener,
							   const char *path, struct err *err);

/** The next client. \return an owned descriptor, or -errno: -EAGAIN when none waits */
__attribute__((warn_unused_result)) int unix_listener_accept(const struct unix_listener *listener);

/** Stop listening and remove the file. Legal on a zeroed object, and twice. */
void unix_listener_deinit(struct unix_listener *listener);

/**
 * Connect to a listener.
 * \return an owned descriptor, connected; -errno: -EAGAIN when its queue of clients is full
 */
__attribute__((warn_unused_result)) int unix_connect(const char *path);
