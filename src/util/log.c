#include "util/log.h"

#include "util/assert.h"
#include "util/cleanup.h"
#include "util/io.h"
#include "util/metrics.h"
#include "util/text.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1024, GUEST_LINES_PER_SECOND = 5 };

static struct {
	_Atomic int fd;
	_Atomic int level;
	_Atomic bool is_raw;
	_Atomic uint32_t n_lost;      /* lines since the last one that the reader took */
	_Atomic int32_t utc_offset_s; /* at the last line: a signal handler cannot ask for it */
	int own_fd;                   /* what log_open() opened; -1: nothing */
	bool is_firecracker;
	bool shows_level;
	bool shows_origin;
	char id[65];
	char module[128];
} logger = { .fd = STDERR_FILENO, .level = LOG_INFO, .own_fd = -1 };

static const char *const levels_for_people[] = {
	[LOG_OFF] = "",  [LOG_ERROR] = "error: ", [LOG_WARN] = "warning: ",
	[LOG_INFO] = "", [LOG_DEBUG] = "debug: ", [LOG_TRACE] = "trace: ",
};

static const char *const levels_of_firecracker[] = {
	[LOG_OFF] = "",      [LOG_ERROR] = "ERROR", [LOG_WARN] = "WARN",
	[LOG_INFO] = "INFO", [LOG_DEBUG] = "DEBUG", [LOG_TRACE] = "TRACE",
};

/* ---- where and how ---- */

void log_set_level(enum log_level level)
{
	logger.level = (int)level;
}

enum log_level log_get_level(void)
{
	return (enum log_level)logger.level;
}

void log_set_fd(int fd)
{
	logger.fd = fd;
	close_fd(&logger.own_fd);
}

int log_open(const char *path, struct err *err)
{
	int fd = open_sink(path, err);

	if (fd < 0)
		return fd;
	log_set_fd(fd);
	logger.own_fd = fd;
	return 0;
}

void log_set_raw(bool raw)
{
	logger.is_raw = raw;
}

static void copy_string(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from != NULL ? from : "");
}

void log_use_firecracker_format(const char *id)
{
	tzset();
	copy_string(logger.id, sizeof(logger.id), id);
	logger.is_firecracker = true;
}

void log_show(bool level, bool origin)
{
	logger.shows_level = level;
	logger.shows_origin = origin;
}

void log_set_module(const char *prefix)
{
	copy_string(logger.module, sizeof(logger.module), prefix);
}

/* ---- what stands before a message; for signal handlers too ---- */

/* __FILE__ is as the compiler was called: from some folder of builds. */
static const char *path_under_src(const char *file)
{
	for (const char *at; (at = strstr(file, "src/")) != NULL;)
		file = at + strlen("src/");
	return file;
}

static bool is_wanted(enum log_level level, const char *file)
{
	return (int)level <= logger.level &&
	       (logger.module[0] == '\0' ||
		strncmp(path_under_src(file), logger.module, strlen(logger.module)) == 0);
}

/* The calendar's arithmetic (with the year beginning in March), as gmtime() takes a lock. */
static void add_date(struct text *text, uint64_t days)
{
	enum { DAYS_TO_1970 = 719468, DAYS_OF_ERA = 146097 };
	uint64_t era = (days + DAYS_TO_1970) / DAYS_OF_ERA;
	uint64_t day = (days + DAYS_TO_1970) % DAYS_OF_ERA;
	uint64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	uint64_t month;

	day -= 365 * year + year / 4 - year / 100;
	month = (5 * day + 2) / 153;
	day -= (153 * month + 2) / 5;
	text_add_number(text, 400 * era + year + (month >= 10), 4);
	text_add(text, "-");
	text_add_number(text, month < 10 ? month + 3 : month - 9, 2);
	text_add(text, "-");
	text_add_number(text, day + 1, 2);
}

static void add_time(struct text *text, const struct timespec *utc)
{
	uint64_t s = (uint64_t)(utc->tv_sec + logger.utc_offset_s);

	add_date(text, s / 86400);
	text_add(text, "T");
	text_add_number(text, s / 3600 % 24, 2);
	text_add(text, ":");
	text_add_number(text, s / 60 % 60, 2);
	text_add(text, ":");
	text_add_number(text, s % 60, 2);
	text_add(text, ".");
	text_add_number(text, (uint64_t)utc->tv_nsec, 9);
}

static void add_thread(struct text *text)
{
	char name[16] = "firecracker";

	if (gettid() != getpid())
		prctl(PR_GET_NAME, name);
	text_add(text, name);
}

static void add_origin(struct text *text, enum log_level level, const char *file, unsigned int line)
{
	text_add(text, " [");
	text_add(text, logger.id);
	text_add(text, ":");
	add_thread(text);
	if (logger.shows_level) {
		text_add(text, ":");
		text_add(text, levels_of_firecracker[level]);
	}
	if (logger.shows_origin) {
		text_add(text, ":");
		text_add(text, path_under_src(file));
		text_add(text, ":");
		text_add_number(text, line, 1);
	}
	text_add(text, "] ");
}

static void add_prefix(struct text *text, enum log_level level, const char *file, unsigned int line,
		       const struct timespec *now)
{
	if (logger.is_firecracker) {
		add_time(text, now);
		add_origin(text, level, file, line);
	} else {
		text_add(text, "televm: ");
		text_add(text, levels_for_people[level]);
	}
}

/* A guest's or file's bytes may be in the text: nothing of them may steer the reader's terminal. */
static void make_printable(struct text *text)
{
	for (size_t i = 0; i < text->len; i++) {
		if ((unsigned char)text->bytes[i] < 0x20 || text->bytes[i] == 0x7f)
			text->bytes[i] = '?';
	}
}

/* A terminal that its user stopped must not stop a vCPU that has something to say. */
static bool reader_has_room(void)
{
	struct pollfd poll_fd = { .fd = logger.fd, .events = POLLOUT };

	return poll(&poll_fd, 1, 0) != 0;
}

/* \return was it written? */
static bool send_line(struct text *text)
{
	bool is_raw = logger.is_raw && logger.own_fd < 0;

	make_printable(text);
	text->size += 2; /* left free for this */
	text_add(text, is_raw ? "\r\n" : "\n");
	return reader_has_room() && write(logger.fd, text->bytes, text->len) == (ssize_t)text->len;
}

/* ---- ordinary lines ---- */

static void note_utc_offset(const struct timespec *now)
{
	struct tm local;

	/* It changes twice a year. No file is opened: tzset() was called. */
	if (logger.is_firecracker && localtime_r(&now->tv_sec, &local) != NULL)
		logger.utc_offset_s = (int32_t)local.tm_gmtoff;
}

__attribute__((format(printf, 4, 0))) static bool write_line(enum log_level level, const char *file,
							     unsigned int line, const char *format,
							     va_list args)
{
	char bytes[LINE_MAX_BYTES];
	struct text text = { .bytes = bytes, .size = sizeof(bytes) - 3 };
	struct timespec now;
	int saved_errno = errno;
	bool is_written;

	clock_gettime(CLOCK_REALTIME, &now);
	note_utc_offset(&now);
	add_prefix(&text, level, file, line, &now);
	vsnprintf(bytes + text.len, text.size + 1 - text.len, format, args);
	text.len += strlen(bytes + text.len);
	is_written = send_line(&text);
	errno = saved_errno;
	return is_written;
}

static void lose_lines(uint32_t n)
{
	atomic_fetch_add(&logger.n_lost, n);
}

__attribute__((format(printf, 3, 4))) static bool write_own(enum log_level level, unsigned int line,
							    const char *format, ...)
{
	bool is_written;
	va_list args;

	va_start(args, format);
	is_written = write_line(level, __FILE__, line, format, args);
	va_end(args);
	return is_written;
}

static void tell_lost_lines(void)
{
	uint32_t n_lost;

	if (logger.n_lost == 0 || !reader_has_room())
		return;
	n_lost = atomic_exchange(&logger.n_lost, 0);
	if (n_lost > 0 && !write_own(LOG_WARN, __LINE__, "%u log lines could not be written",
				     (unsigned int)n_lost))
		lose_lines(n_lost);
}

__attribute__((format(printf, 4, 0))) static void write_or_count(enum log_level level,
								 const char *file,
								 unsigned int line,
								 const char *format, va_list args)
{
	tell_lost_lines();
	if (write_line(level, file, line, format, args))
		return;
	lose_lines(1);
	metrics_inc(&metrics.logger.missed_log_count);
}

void log_write(enum log_level level, const char *file, unsigned int line, const char *format, ...)
{
	va_list args;

	if (!is_wanted(level, file))
		return;
	va_start(args, format);
	write_or_count(level, file, line, format, args);
	va_end(args);
}

void log_write_in_signal(enum log_level level, const char *file, unsigned int line,
			 const char *message)
{
	char bytes[LINE_MAX_BYTES];
	struct text text = { .bytes = bytes, .size = sizeof(bytes) - 2 };
	struct timespec now;

	if (!is_wanted(level, file))
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	add_prefix(&text, level, file, line, &now);
	text_add(&text, message);
	if (!send_line(&text))
		metrics_inc(&metrics.logger.missed_log_count);
}

/* ---- lines that a guest can cause ---- */

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
	metrics_inc(&metrics.logger.rate_limited_log_count);
	return false;
}

void log_write_guest(struct log_limit *limit, const char *file, unsigned int line,
		     const char *format, ...)
{
	uint32_t n_dropped;
	va_list args;

	if (!is_wanted(LOG_WARN, file) || !limit_allows(limit))
		return;
	n_dropped = atomic_exchange(&limit->n_dropped, 0);
	if (n_dropped > 0)
		log_write(LOG_WARN, file, line, "%u messages like the next were left out",
			  (unsigned int)n_dropped);
	va_start(args, format);
	write_or_count(LOG_WARN, file, line, format, args);
	va_end(args);
}

void assert_failed(const char *condition, const char *file, int line)
{
	log_error("internal error: '%s' does not hold at %s:%d", condition, path_under_src(file),
		  line);
	metrics_store(&metrics.vmm.panic_count, 1);
	abort();
}
