#include "backend/passt.h"

#include "util/assert.h"
#include "util/bits.h"
#include "util/cleanup.h"
#include "util/events.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	LENGTH_SIZE = 4,
	/** one frame of the largest kind, and of others several in one system call */
	BUFFER_SIZE = LENGTH_SIZE + NETDEV_FRAME_MAX,
	ARGS_MAX = 64,
	/** how long a killed program may take to end */
	END_MS = 1000,
};

struct passt {
	struct netdev netdev;
	pid_t pid;           /* 0: it is not our child, or its end has been taken note of */
	int pid_fd;          /* of the child: readable when it has ended; or -1 */
	struct event *ended; /* or NULL */

	/* Bytes [in_first, in_end) have come and are not handed on. */
	uint32_t in_first;
	uint32_t in_end;
	/* Bytes [out_first, out_end) are the rest of a frame that was sent in part. */
	uint32_t out_first;
	uint32_t out_end;
	uint8_t in[BUFFER_SIZE];
	uint8_t out[BUFFER_SIZE];
};

/* ---- sending ---- */

/* Copy what lies behind the first `skip` bytes of the buffers. */
static void keep_rest(struct passt *passt, const struct iovec *iov, unsigned int n, size_t skip)
{
	passt->out_first = 0;
	passt->out_end = 0;
	for (unsigned int i = 0; i < n; i++) {
		const uint8_t *base = iov[i].iov_base;
		size_t part = iov[i].iov_len - MIN(skip, iov[i].iov_len);

		ASSERT(part <= BUFFER_SIZE - passt->out_end);
		memcpy(passt->out + passt->out_end, base + iov[i].iov_len - part, part);
		passt->out_end += (uint32_t)part;
		skip -= iov[i].iov_len - part;
	}
	passt->netdev.has_backlog = passt->out_end > 0;
}

static size_t bytes_of(const struct iovec *iov, unsigned int n)
{
	size_t bytes = 0;

	for (unsigned int i = 0; i < n; i++)
		bytes += iov[i].iov_len;
	return bytes;
}

static ssize_t send_now(const struct passt *passt, struct iovec *iov, unsigned int n)
{
	const struct msghdr message = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t done;

	do {
		done = sendmsg(passt->netdev.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (done < 0 && errno == EINTR);
	return done < 0 ? -errno : done;
}

static int passt_send(struct netdev *netdev, struct iovec *iov, unsigned int n)
{
	struct passt *passt = container_of(netdev, struct passt, netdev);
	size_t bytes = bytes_of(iov + 1, n - 1);
	uint32_t length = htonl((uint32_t)bytes);
	ssize_t done;

	ASSERT(iov[0].iov_len == NETDEV_HEADER_SIZE && bytes <= NETDEV_FRAME_MAX);
	if (netdev->has_backlog)
		return -EAGAIN;
	iov[0] = (struct iovec){ .iov_base = &length, .iov_len = sizeof(length) };
	done = send_now(passt, iov, n);
	if (done < 0)
		return (int)done;
	if ((size_t)done < sizeof(length) + bytes)
		keep_rest(passt, iov, n, (size_t)done);
	return 0;
}

static int passt_flush(struct netdev *netdev)
{
	struct passt *passt = container_of(netdev, struct passt, netdev);
	struct iovec rest = { .iov_base = passt->out + passt->out_first,
			      .iov_len = passt->out_end - passt->out_first };
	ssize_t done = send_now(passt, &rest, 1);

	if (done == -EAGAIN)
		return 0;
	if (done < 0)
		passt->out_first = passt->out_end;
	else
		passt->out_first += (uint32_t)done;
	netdev->has_backlog = passt->out_first < passt->out_end;
	return done < 0 ? (int)done : 0;
}

/* ---- receiving ---- */

static size_t scatter(const struct iovec *iov, unsigned int n, size_t offset, const uint8_t *bytes,
		      size_t len)
{
	size_t done = 0;

	for (unsigned int i = 0; i < n && done < len; i++) {
		uint8_t *base = iov[i].iov_base;
		size_t skip = MIN(offset, iov[i].iov_len);
		size_t part = MIN(len - done, iov[i].iov_len - skip);

		memcpy(base + skip, bytes + done, part);
		done += part;
		offset -= skip;
	}
	return done;
}

static uint32_t n_buffered(const struct passt *passt)
{
	return passt->in_end - passt->in_first;
}

/* The length of the first frame in the buffer, and whether all of it is there. */
static int has_frame(const struct passt *passt, uint32_t *length)
{
	uint32_t big_endian;

	if (n_buffered(passt) < LENGTH_SIZE)
		return false;
	memcpy(&big_endian, passt->in + passt->in_first, sizeof(big_endian));
	*length = ntohl(big_endian);
	/* Where the next frame begins is not known then, and never again. */
	if (*length > NETDEV_FRAME_MAX)
		return -EPROTO;
	return n_buffered(passt) >= LENGTH_SIZE + *length;
}

static ssize_t fill_buffer(struct passt *passt)
{
	ssize_t done;

	memmove(passt->in, passt->in + passt->in_first, n_buffered(passt));
	passt->in_end -= passt->in_first;
	passt->in_first = 0;
	/* There is room: else the frame were whole. */
	do {
		done = recv(passt->netdev.fd, passt->in + passt->in_end,
			    BUFFER_SIZE - passt->in_end, MSG_DONTWAIT);
	} while (done < 0 && errno == EINTR);
	if (done > 0)
		passt->in_end += (uint32_t)done;
	return done < 0 ? -errno : done;
}

static ssize_t passt_receive(struct netdev *netdev, const struct iovec *iov, unsigned int n)
{
	static const uint8_t header[NETDEV_HEADER_SIZE];
	struct passt *passt = container_of(netdev, struct passt, netdev);
	uint32_t length = 0;
	int is_whole = has_frame(passt, &length);
	size_t done;

	if (is_whole == 0) {
		ssize_t filled = fill_buffer(passt);

		if (filled <= 0)
			return filled;
		is_whole = has_frame(passt, &length);
	}
	if (is_whole <= 0)
		return is_whole < 0 ? is_whole : -EAGAIN;
	done = scatter(iov, n, 0, header, sizeof(header));
	done += scatter(iov, n, sizeof(header), passt->in + passt->in_first + LENGTH_SIZE, length);
	passt->in_first += LENGTH_SIZE + length;
	return (ssize_t)done;
}

static int passt_set_offloads(struct netdev *netdev, uint32_t offloads)
{
	(void)netdev;
	return offloads == 0 ? 0 : -EOPNOTSUPP;
}

/* ---- beginning and end ---- */

/* A child that has ended is there until somebody asks how. Not waited for. */
static void take_note(struct passt *passt)
{
	if (waitpid(passt->pid, NULL, WNOHANG) != 0)
		passt->pid = 0;
}

static void on_ended(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	take_note(ctx);
}

static void passt_watch(struct netdev *netdev, struct event_base *base)
{
	struct passt *passt = container_of(netdev, struct passt, netdev);

	if (passt->pid_fd < 0)
		return;
	/* Without memory for it, it is done at the end. */
	passt->ended = event_new(base, passt->pid_fd, EV_READ, on_ended, passt);
	if (passt->ended != NULL)
		(void)event_add(passt->ended, NULL);
}

/* It ends by itself when the socket is closed; one that hangs is not waited for long. */
static void end_program(struct passt *passt)
{
	struct pollfd pollfd = { .fd = passt->pid_fd, .events = POLLIN };

	if (passt->pid_fd >= 0) {
		/* Refused where it has another user by now: then closing has to do. */
		(void)pidfd_send_signal(passt->pid_fd, SIGKILL, NULL, 0);
		(void)poll(&pollfd, 1, END_MS);
	}
	take_note(passt);
}

static void passt_free(struct netdev *netdev)
{
	struct passt *passt = container_of(netdev, struct passt, netdev);

	close_fd(&netdev->fd);
	free_event(&passt->ended);
	if (passt->pid != 0)
		end_program(passt);
	close_fd(&passt->pid_fd);
	free(passt);
}

static const struct netdev_ops passt_ops = {
	.send = passt_send,
	.receive = passt_receive,
	.flush = passt_flush,
	.set_offloads = passt_set_offloads,
	.watch = passt_watch,
	.free = passt_free,
};

int passt_new_take_fd(struct netdev **netdev, int fd, struct err *err)
{
	/* The buffers are not cleared: pages that no large frame reaches are never there. */
	struct passt *passt = malloc(sizeof(*passt));

	if (passt == NULL)
		return err_set(err, -ENOMEM, "no memory for user-mode networking");
	passt->netdev = (struct netdev){ .ops = &passt_ops, .kind = "passt", .fd = fd };
	passt->pid = 0;
	passt->pid_fd = -1;
	passt->ended = NULL;
	passt->in_first = 0;
	passt->in_end = 0;
	passt->out_first = 0;
	passt->out_end = 0;
	*netdev = &passt->netdev;
	return 0;
}

/* ---- starting the program ---- */

/* What the child needs, made before the fork: after it, little may be called. */
struct launch {
	const char *argv[ARGS_MAX + 1];
	char fd_text[16];
	int socket_fd;
	int report_fd; /* closed by a successful exec, else told why it failed */
	pid_t parent;
};

__attribute__((noreturn)) static void run_child(const struct launch *launch)
{
	sigset_t none;
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int code;

	/* A signal of the terminal's is for the monitor, which may live on. */
	(void)setsid();
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != launch->parent)
		_exit(1);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	if (null_fd >= 0 && dup2(null_fd, STDIN_FILENO) >= 0 && dup2(null_fd, STDOUT_FILENO) >= 0 &&
	    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == 0 &&
	    fcntl(launch->socket_fd, F_SETFD, 0) == 0)
		/* The kernel takes them as they are; only the prototype is of another age. */
		execvp(launch->argv[0], (char *const *)(uintptr_t)launch->argv);
	code = errno;
	if (write(launch->report_fd, &code, sizeof(code)) != sizeof(code))
		_exit(2);
	_exit(1);
}

static int fill_args(struct launch *launch, const struct passt_config *config, struct err *err)
{
	unsigned int n = 0;

	snprintf(launch->fd_text, sizeof(launch->fd_text), "%d", launch->socket_fd);
	launch->argv[n++] = config->program != NULL ? config->program : "passt";
	launch->argv[n++] = "--foreground";
	launch->argv[n++] = "--quiet";
	launch->argv[n++] = "--fd";
	launch->argv[n++] = launch->fd_text;
	for (unsigned int i = 0; config->args != NULL && config->args[i] != NULL; i++) {
		if (n == ARGS_MAX)
			return err_set(err, -E2BIG, "too many arguments for passt");
		launch->argv[n++] = config->args[i];
	}
	return 0;
}

/* \return 0 when the program runs */
static int await_exec(int report_fd, const struct launch *launch, struct err *err)
{
	int code = 0;
	ssize_t n;

	do {
		n = read(report_fd, &code, sizeof(code));
	} while (n < 0 && errno == EINTR);
	if (n != sizeof(code))
		return 0;
	if (code == ENOENT)
		return err_set(err, -code,
			       "'%s' is not installed: user-mode networking needs it (on Debian: "
			       "apt install passt)",
			       launch->argv[0]);
	return err_set(err, -code, "start '%s': %s", launch->argv[0], strerror(code));
}

static int start_program(struct launch *launch, pid_t *pid, struct err *err)
{
	int pipe_fds[2];
	int result;

	if (pipe2(pipe_fds, O_CLOEXEC) != 0)
		return err_sys(err, "create a pipe");
	launch->report_fd = pipe_fds[1];
	launch->parent = getpid();
	*pid = fork();
	if (*pid == 0)
		run_child(launch);
	result = *pid < 0 ? err_sys(err, "fork") : 0;
	close(pipe_fds[1]);
	if (result == 0)
		result = await_exec(pipe_fds[0], launch, err);
	close(pipe_fds[0]);
	if (result != 0 && *pid > 0)
		(void)waitpid(*pid, NULL, 0);
	return result;
}

/* Two connected sockets, neither of them in the place of a standard stream. */
static int make_sockets(int fds[2], struct err *err)
{
	int low[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, low) != 0)
		return err_sys(err, "create a pair of sockets");
	for (int i = 0; i < 2; i++) {
		fds[i] = fcntl(low[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		close(low[i]);
	}
	if (fds[0] < 0 || fds[1] < 0)
		return err_set(err, -EMFILE, "too many open files");
	return 0;
}

static void own_child(struct passt *passt, pid_t pid)
{
	passt->pid = pid;
	passt->pid_fd = pidfd_open(pid, 0);
}

int passt_new(struct netdev **netdev, const struct passt_config *config, struct err *err)
{
	struct launch launch = { 0 };
	int fds[2] = { -1, -1 };
	cleanup_close int ours = -1;
	cleanup_close int theirs = -1;
	pid_t pid = 0;
	int result = make_sockets(fds, err);

	ours = fds[0];
	theirs = fds[1];
	if (result != 0)
		return result;
	launch.socket_fd = theirs;
	result = fill_args(&launch, config, err);
	if (result == 0)
		result = passt_new_take_fd(netdev, ours, err);
	if (result != 0)
		return result;
	(void)take_fd(&ours);
	result = start_program(&launch, &pid, err);
	if (result != 0) {
		netdev_free(*netdev);
		*netdev = NULL;
		return result;
	}
	own_child(container_of(*netdev, struct passt, netdev), pid);
	return 0;
}
