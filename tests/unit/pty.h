/* A pseudo-terminal for tests: what a user types goes in at the master, and so comes the screen. */
#pragma once

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

struct pty {
	int master;
	int slave; /**< what a program has as its terminal */
};

static inline bool pty_open(struct pty *pty)
{
	char name[64];

	*pty = (struct pty){ .master = posix_openpt(O_RDWR | O_NOCTTY), .slave = -1 };
	if (pty->master < 0 || grantpt(pty->master) != 0 || unlockpt(pty->master) != 0 ||
	    ptsname_r(pty->master, name, sizeof(name)) != 0)
		return false;
	pty->slave = open(name, O_RDWR | O_NOCTTY);
	return pty->slave >= 0;
}

static inline bool pty_make_raw(const struct pty *pty)
{
	struct termios mode;

	if (tcgetattr(pty->slave, &mode) != 0)
		return false;
	cfmakeraw(&mode);
	return tcsetattr(pty->slave, TCSANOW, &mode) == 0;
}

static inline void pty_close(struct pty *pty)
{
	close(pty->slave);
	close(pty->master);
}
