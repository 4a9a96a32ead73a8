/*
 * A borrowed descriptor, read and written without ever waiting.
 *
 * Standard input and output belong to whoever started us, and the flags of an open file are shared
 * with them: O_NONBLOCK set on our stdout would be set on the shell's too, and stay so after a
 * crash. So the flag is never set on what was lent. Instead, by what kind of file it is:
 *
 * - A terminal or pipe is opened once more through /proc/self/fd/N, which gives an open file of
 *   our own with flags of its own. Not so the master side of a pseudo-terminal: opening that makes
 *   a new one.
 * - A socket needs no flag: MSG_DONTWAIT asks for the same, call by call.
 * - Where opening again fails (no /proc, a terminal of another user) poll() is asked before each
 *   call, and no more is written than is then sure to be taken: PIPE_BUF bytes to a pipe, one to a
 *   terminal. Slow, but right.
 * - Regular files, /dev/null and their like never make anybody wait longer than a disk does, and
 *   epoll refuses them: they are read and written plainly and `is_pollable` is false.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum stream_mode {
	STREAM_PLAIN,    /**< never waits: as it is */
	STREAM_NONBLOCK, /**< `fd` is ours and has O_NONBLOCK */
	STREAM_SOCKET,   /**< MSG_DONTWAIT */
	STREAM_POLL,     /**< poll() first, then at most `chunk` bytes */
};

struct stream {
	int fd; /**< -1 when what was lent is not open */
	enum stream_mode mode;
	size_t chunk;
	bool is_owned;    /**< close it in the end */
	bool is_pollable; /**< epoll takes it */
	bool is_terminal;
};

/** Look at \p fd and choose how to use it. A descriptor that is not open gives an fd of -1. */
void stream_init(struct stream *stream, int fd);

/** read(2), never waiting. \return bytes, 0 at the end of input, or -errno: -EAGAIN for later */
__attribute__((warn_unused_result)) ssize_t stream_read(const struct stream *stream, void *buf,
							size_t len);

/** write(2), never waiting. \return bytes, perhaps fewer than \p len, or -errno */
__attribute__((warn_unused_result)) ssize_t stream_write(const struct stream *stream,
							 const void *buf, size_t len);

/** Close what is ours. Legal twice, and on an object initialised with an fd of -1. */
void stream_deinit(struct stream *stream);
