/*
 * The process of the machine, found by the socket: whoever called listen(2) is told by the kernel.
 * A descriptor of the process is taken while the connection stands, so that what is waited for or
 * ended is this one, also when its number is given to another one meanwhile.
 */
#include "cli/ctl.h"
#include "cli/http_client.h"
#include "util/cleanup.h"
#include "util/clock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>

enum { KILL_TIMEOUT_S = 60 };

int ctl_find_process(int fd)
{
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 ? peer.pid : 0;
}

/* \return an owned descriptor of the process, or -1 with a sentence */
static int open_process(struct ctl *ctl)
{
	cleanup_close int sock = http_connect(ctl->sock, &ctl->err);
	struct pollfd closed = { .fd = sock };
	int pid;
	int fd;

	if (sock < 0)
		return -1;
	pid = ctl_find_process(sock);
	if (pid <= 0) {
		err_set(&ctl->err, -ESRCH, "its process cannot be seen from here");
		return -1;
	}
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0) {
		err_sys(&ctl->err, "find process %d", pid);
	} else if (poll(&closed, 1, 0) > 0) {
		/* It was gone before: the number may be another one's. */
		err_set(&ctl->err, -ESRCH, "it has just ended");
		close_fd(&fd);
	}
	return fd;
}

static int wait_for(struct ctl *ctl, int process, uint64_t timeout_s)
{
	int64_t end = (int64_t)clock_ms() + (int64_t)timeout_s * 1000;
	struct pollfd poll_fd = { .fd = process, .events = POLLIN };
	int n;

	do {
		int64_t left = end - (int64_t)clock_ms();

		n = poll(&poll_fd, 1, left > 0 ? (int)left : 0);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		return 0;
	err_set(&ctl->err, -ETIMEDOUT, "it still runs after %llu s", (unsigned long long)timeout_s);
	return CTL_REFUSED;
}

int ctl_stop(struct ctl *ctl, int argc, char **argv)
{
	cleanup_close int process = -1;
	int status;

	(void)argc;
	(void)argv;
	if (ctl->has_wait) {
		process = open_process(ctl);
		if (process < 0)
			return CTL_NO_ANSWER;
	}
	status = ctl_ask(ctl, "PUT", "/actions",
			 ctl_body("action_type", json_string("SendCtrlAltDel")), NULL);
	return status != 0 || !ctl->has_wait ? status : wait_for(ctl, process, ctl->timeout_s);
}

int ctl_kill(struct ctl *ctl, int argc, char **argv)
{
	cleanup_close int process = open_process(ctl);

	(void)argc;
	(void)argv;
	if (process < 0)
		return CTL_NO_ANSWER;
	if (syscall(SYS_pidfd_send_signal, process, SIGTERM, NULL, 0) != 0) {
		err_sys(&ctl->err, "end the process");
		return CTL_REFUSED;
	}
	return wait_for(ctl, process, KILL_TIMEOUT_S);
}
