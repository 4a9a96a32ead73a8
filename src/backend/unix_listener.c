#include "backend/unix_listener.h"

#include "util/cleanup.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { BACKLOG = 128 };

/* \return false when the path is too long; an empty one would mean a name of the kernel's choice */
static bool make_address(struct sockaddr_un *address, const char *path)
{
	size_t len = strlen(path);

	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (len == 0 || len >= sizeof(address->sun_path))
		return false;
	memcpy(address->sun_path, path, len);
	return true;
}

static int new_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

int unix_listener_init(struct unix_listener *listener, const char *path, struct err *err)
{
	cleanup_close int fd = -1;
	struct sockaddr_un address;
	struct stat st = { 0 };

	*listener = (struct unix_listener){ .fd = -1 };
	if (!make_address(&address, path))
		return err_set(err, path[0] == '\0' ? -EINVAL : -ENAMETOOLONG,
			       "the socket's path '%s' must have 1 to %d bytes", path,
			       UNIX_PATH_MAX - 1);
	fd = new_socket();
	if (fd < 0)
		return err_sys(err, "make a Unix socket");
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
		return err_sys(err, "bind the socket '%s'", path);
	if (listen(fd, BACKLOG) != 0 || lstat(path, &st) != 0) {
		int code = err_sys(err, "listen on the socket '%s'", path);

		unlink(path);
		return code;
	}
	memcpy(listener->path, address.sun_path, sizeof(listener->path));
	listener->dev = st.st_dev;
	listener->ino = st.st_ino;
	listener->fd = take_fd(&fd);
	return 0;
}

int unix_listener_accept(const struct unix_listener *listener)
{
	int fd;

	do {
		fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	} while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	return fd < 0 ? -errno : fd;
}

void unix_listener_deinit(struct unix_listener *listener)
{
	struct stat st;

	if (listener->path[0] == '\0')
		return;
	close_fd(&listener->fd);
	if (lstat(listener->path, &st) == 0 && st.st_dev == listener->dev &&
	    st.st_ino == listener->ino)
		unlink(listener->path);
	listener->path[0] = '\0';
}

int unix_connect(const char *path)
{
	struct sockaddr_un address;
	cleanup_close int fd = -1;

	if (!make_address(&address, path))
		return -ENAMETOOLONG;
	fd = new_socket();
	/* A Unix socket connects at once or not at all. */
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
		return -errno;
	return take_fd(&fd);
}
