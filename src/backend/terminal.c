#include "backend/terminal.h"

#include "util/log.h"

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

static int set_mode(int fd, const struct termios *mode)
{
	sigset_t ttou;
	sigset_t before;
	int ret;

	/* A job in the background is stopped for changing the mode unless it blocks SIGTTOU: in the
	 * end that would be a monitor that hangs instead of exiting. */
	sigemptyset(&ttou);
	sigaddset(&ttou, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &ttou, &before);
	ret = tcsetattr(fd, TCSANOW, mode);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ret;
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
	struct termios raw;

	if (saved.is_raw || !isatty(fd))
		return 0;
	if (tcgetattr(fd, &saved.mode) != 0 || restore_at_exit() != 0)
		return err_sys(err, "read the terminal's mode");
	saved.fd = fd;
	raw = saved.mode;
	cfmakeraw(&raw);
	saved.is_raw = true;
	if (tcsetattr(fd, TCSANOW, &raw) != 0) {
		saved.is_raw = false;
		return err_sys(err, "set the terminal to raw mode");
	}
	log_set_raw(isatty(STDERR_FILENO));
	return 0;
}

void terminal_restore(void)
{
	/* Marked as done only afterwards: a handler that ends the process may come in between, and
	 * doing it twice is harmless. */
	if (!saved.is_raw)
		return;
	set_mode(saved.fd, &saved.mode);
	log_set_raw(false);
	saved.is_raw = false;
}
