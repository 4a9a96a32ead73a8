/*
 * The log: one line a message, to one file descriptor (standard error until told otherwise).
 *
 * The logger is one of the three pieces of file-scope state in the program. A line is formatted on
 * the stack and leaves in a single write(2), so lines of different threads do not mix and nothing
 * is allocated or buffered. Lines of a guest's making go through log_guest(), which lets a few
 * through and counts the rest: a guest cannot fill the host's disk with complaints.
 *
 * A reader that is stuck (a stopped terminal, a full pipe) loses lines, counted; nobody waits.
 *
 * All functions may be called from any thread.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_OFF, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/** Only messages at \p level or more urgent are written. */
void log_set_level(enum log_level level);

/** Write to \p fd from now on; the logger does not own it. */
void log_set_fd(int fd);

/** While \p raw, lines end in CR LF: the terminal they go to does not add the CR. */
void log_set_raw(bool raw);

/** Write one line at \p level. */
__attribute__((format(printf, 2, 3))) void log_write(enum log_level level, const char *format, ...);

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

/** One source of messages that a guest can cause at will. Zero-initialised; any thread. */
struct log_limit {
	_Atomic uint64_t window; /**< monotonic second that \p n_lines counts */
	_Atomic uint32_t n_lines;
	_Atomic uint32_t n_dropped; /**< since the last line that was let through */
};

/**
 * Write one warning that a guest caused, at most five a second for each \p limit; the next line
 * let through tells how many were left out.
 */
__attribute__((format(printf, 2, 3))) void log_guest(struct log_limit *limit, const char *format,
						     ...);
