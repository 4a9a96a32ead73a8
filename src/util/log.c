#include "util/log.h"

#include "util/assert.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1024, GUEST_LINES_PER_SECOND = 5 };

static struct {
	_Atomic int fd;
	_Atomic int level;
	_Atomic bool raw;
	_Atomic uint32_t n_lost; /* lines since the last one that the reader took */
} logger = { .fd = STDERR_FILENO, .level = LOG_INFO };

static const char *const level_names[] = {
	[LOG_OFF] = "",  [LOG_ERROR] = "error: ", [LOG_WARN] = "warning: ",
	[LOG_INFO] = "", [LOG_DEBUG] = "debug: ",
};

void log_set_level(enum log_level level)
{
	logger.level = (int)level;
}

void log_set_fd(int fd)
{
	logger.fd = fd;
}

void log_set_raw(bool raw)
{
	logger.raw = raw;
}

/* A guest's or file's bytes may be in the text: nothing of them may steer the reader's terminal. */
static void make_printable(char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
	}
}

/* A terminal that its user stopped must not stop a vCPU that has something to say. */
static bool reader_has_room(void)
{
	struct pollfd poll_fd = { .fd = logger.fd, .events = POLLOUT };

	return poll(&poll_fd, 1, 0) != 0;
}

__attribute__((format(printf, 2, 0))) static void write_line(enum log_level level,
							     const char *format, va_list args)
{
	char line[LINE_MAX_BYTES];
	int saved_errno = errno;
	const size_t room = sizeof(line) - 3; /* CR, LF and the NUL of vsnprintf */
	size_t len;

	if (!reader_has_room()) {
		atomic_fetch_add(&logger.n_lost, 1);
		return;
	}
	len = (size_t)snprintf(line, room, "televm: %s", level_names[level]);
	vsnprintf(line + len, room - len, format, args);
	make_printable(line);
	len = strlen(line);
	if (logger.raw)
		line[len++] = '\r';
	line[len++] = '\n';
	/* There is nowhere to report that the log cannot be written. */
	if (write(logger.fd, line, len) < 0)
		errno = saved_errno;
	errno = saved_errno;
}

__attribute__((format(printf, 2, 3))) static void write_one(enum log_level level,
							    const char *format, ...)
{
	va_list args;

	va_start(args, format);
	write_line(level, format, args);
	va_end(args);
}

static void tell_lost_lines(void)
{
	uint32_t n_lost;

	if (logger.n_lost == 0 || !reader_has_room())
		return;
	n_lost = atomic_exchange(&logger.n_lost, 0);
	write_one(LOG_WARN, "%u log lines were lost: the log's reader was stuck", n_lost);
}

void log_write(enum log_level level, const char *format, ...)
{
	va_list args;

	if ((int)level > logger.level)
		return;
	tell_lost_lines();
	va_start(args, format);
	write_line(level, format, args);
	va_end(args);
}

static uint64_t now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec;
}

/* Two threads may both see a new second and both reset it: at worst a few lines more pass. */
static bool limit_allows(struct log_limit *limit)
{
	uint64_t now = now_s();

	if (limit->window != now) {
		limit->window = now;
		limit->n_lines = 0;
	}
	if (atomic_fetch_add(&limit->n_lines, 1) < GUEST_LINES_PER_SECOND)
		return true;
	atomic_fetch_add(&limit->n_dropped, 1);
	return false;
}

void log_guest(struct log_limit *limit, const char *format, ...)
{
	uint32_t n_dropped;
	va_list args;

	if (LOG_WARN > logger.level || !limit_allows(limit))
		return;
	n_dropped = atomic_exchange(&limit->n_dropped, 0);
	if (n_dropped > 0)
		log_warn("%u messages like the next were left out", n_dropped);
	va_start(args, format);
	write_line(LOG_WARN, format, args);
	va_end(args);
}

void assert_failed(const char *condition, const char *file, int line)
{
	log_error("internal error: '%s' does not hold at %s:%d", condition, file, line);
	abort();
}
