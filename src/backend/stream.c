#include "backend/stream.h"

#include "util/bits.h"
#include "util/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_pty_master(int fd)
{
	int number;

	return ioctl(fd, TIOCGPTN, &number) == 0;
}

/* Only epoll itself knows which devices it takes. */
static bool epoll_takes(int fd)
{
	struct epoll_event event = { .events = EPOLLIN };
	cleanup_close int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

	return epoll_fd >= 0 && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static int open_again(int fd, int access_mode)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, access_mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static void init_pollable(struct stream *stream, int access_mode, bool is_fifo)
{
	int fd = is_pty_master(stream->fd) ? -1 : open_again(stream->fd, access_mode);

	stream->is_pollable = true;
	if (fd >= 0) {
		stream->fd = fd;
		stream->is_owned = true;
		stream->mode = STREAM_NONBLOCK;
		return;
	}
	stream->mode = STREAM_POLL;
	stream->chunk = is_fifo ? PIPE_BUF : 1;
}

void stream_init(struct stream *stream, int fd)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	*stream = (struct stream){ .fd = -1, .mode = STREAM_PLAIN };
	if (flags < 0 || fstat(fd, &st) != 0)
		return;
	stream->fd = fd;
	if (S_ISSOCK(st.st_mode)) {
		stream->mode = STREAM_SOCKET;
		stream->is_pollable = true;
		return;
	}
	stream->is_terminal = S_ISCHR(st.st_mode) && isatty(fd);
	if (S_ISFIFO(st.st_mode) || stream->is_terminal)
		init_pollable(stream, flags & O_ACCMODE, S_ISFIFO(st.st_mode));
	else if (S_ISCHR(st.st_mode) && epoll_takes(fd)) {
		/* A device that may be opened only once, say. */
		stream->mode = STREAM_POLL;
		stream->chunk = 1;
		stream->is_pollable = true;
	}
}

/* Errors and hang-ups count as ready: the call that follows will tell which it is. */
static bool is_ready(int fd, short events)
{
	struct pollfd pollfd = { .fd = fd, .events = events };

	return poll(&pollfd, 1, 0) == 1;
}

ssize_t stream_read(const struct stream *stream, void *buf, size_t len)
{
	ssize_t n;

	if (stream->mode == STREAM_POLL && !is_ready(stream->fd, POLLIN))
		return -EAGAIN;
	do {
		if (stream->mode == STREAM_SOCKET)
			n = recv(stream->fd, buf, len, MSG_DONTWAIT);
		else
			n = read(stream->fd, buf, len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t stream_write(const struct stream *stream, const void *buf, size_t len)
{
	ssize_t n;

	if (stream->mode == STREAM_POLL) {
		if (!is_ready(stream->fd, POLLOUT))
			return -EAGAIN;
		len = MIN(len, stream->chunk);
	}
	do {
		if (stream->mode == STREAM_SOCKET)
			n = send(stream->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		else
			n = write(stream->fd, buf, len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

void stream_deinit(struct stream *stream)
{
	if (stream->is_owned)
		close(stream->fd);
	*stream = (struct stream){ .fd = -1 };
}
