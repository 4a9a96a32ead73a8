#include "backend/terminal.h"

#include "util/log.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

/* For terminal_restore(), which signal handlers call without an argument: see terminal.h. `mode`
 * is written before `is_raw` is set and only read while it is. */
static struct {
	int fd;
	struct termios mode;
	_Atomic bool is_raw;
} saved;

static int make_raw(void)
{
	struct termios raw = saved.mode;

	cfmakeraw(&raw);
	return tcsetattr(saved.fd, TCSANOW, &raw);
}

/* Whoever had the terminal while this process was stopped may have set another mode. In the
 * background it is still another's, and SIGCONT comes again with the foreground. */
static void on_continue(int signo)
{
	int saved_errno = errno;

	(void)signo;
	if (saved.is_raw && tcgetpgrp(saved.fd) == getpgrp())
		(void)make_raw();
	errno = saved_errno;
}

static int restore_at_exit(void)
{
	static bool is_registered;

	if (!is_registered && atexit(terminal_restore) != 0)
		return -1;
	is_registered = true;
	return 0;
}

int terminal_raw(int fd, struct err *err)
{
	const struct sigaction action = { .sa_handler = on_continue, .sa_flags = SA_RESTART };

	if (saved.is_raw || !isatty(fd))
		return 0;
	if (tcgetattr(fd, &saved.mode) != 0 || restore_at_exit() != 0)
		return err_sys(err, "read the terminal's mode");
	saved.fd = fd;
	saved.is_raw = true;
	if (make_raw() != 0) {
		saved.is_raw = false;
		return err_sys(err, "set the terminal to raw mode");
	}
	sigaction(SIGCONT, &action, NULL);
	log_set_raw(isatty(STDERR_FILENO));
	return 0;
}

void terminal_restore(void)
{
	sigset_t blocked;
	sigset_t before;

	if (!saved.is_raw)
		return;
	/* A job in the background is stopped for changing the mode unless it blocks SIGTTOU: that
	 * would be a monitor that hangs instead of exiting. And a SIGCONT that comes in between
	 * must not make it raw again. */
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTTOU);
	sigaddset(&blocked, SIGCONT);
	pthread_sigmask(SIG_BLOCK, &blocked, &before);
	tcsetattr(saved.fd, TCSANOW, &saved.mode);
	log_set_raw(false);
	/* Marked as done only afterwards: a handler that ends the process may come in between, and
	 * doing it twice is harmless. */
	saved.is_raw = false;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}
