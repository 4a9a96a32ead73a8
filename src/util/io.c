#include "util/io.h"

#include "util/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int write_all(int fd, const void *buf, size_t len)
{
	const char *at = buf;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

ssize_t pread_all(int fd, void *buf, size_t len, uint64_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static const char *kind_of_file(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	case S_IFBLK:
		return "a block device";
	case S_IFCHR:
		return "a character device";
	default:
		return "not a regular file";
	}
}

int open_regular(const char *path, uint64_t *size, struct err *err)
{
	/* O_NONBLOCK: opening a FIFO must not wait for a writer. It means nothing to a file. */
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return err_sys(err, "open '%s'", path);
	if (fstat(fd, &st) != 0)
		return err_sys(err, "stat '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "'%s' is %s, not a regular file", path,
			       kind_of_file(st.st_mode));
	*size = (uint64_t)st.st_size;
	return take_fd(&fd);
}

/* What cannot be opened at all is told by what it is, not by what open(2) makes of that. */
static int refuse_sink(const char *path, struct err *err)
{
	int code = errno;
	struct stat st;

	if (stat(path, &st) == 0 && (S_ISDIR(st.st_mode) || S_ISSOCK(st.st_mode)))
		return err_set(err, -EINVAL, "'%s' is %s, not a file or FIFO", path,
			       kind_of_file(st.st_mode));
	errno = code;
	return err_sys(err, "open '%s'", path);
}

int open_sink(const char *path, struct err *err)
{
	const int flags = O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	/* For reading too: so a FIFO has a reader, and writing to it does not fail without one. */
	cleanup_close int fd = open(path, O_RDWR | flags, 0644);
	struct stat st;

	if (fd < 0 && errno == EACCES)
		fd = open(path, O_WRONLY | flags, 0644);
	if (fd < 0)
		return refuse_sink(path, err);
	if (fstat(fd, &st) != 0)
		return err_sys(err, "stat '%s'", path);
	if (S_ISBLK(st.st_mode))
		return err_set(err, -EINVAL, "'%s' is %s, not a file or FIFO", path,
			       kind_of_file(st.st_mode));
	return take_fd(&fd);
}
