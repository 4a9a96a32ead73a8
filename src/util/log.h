/*
 * The log: one line a message, to one file descriptor (standard error until told otherwise).
 *
 * There are two formats: one for people, "televm: error: …", and Firecracker's, whose clients read
 * it:
 *
 *	2023-06-16T07:45:41.767987318 [id:thread(:LEVEL)(:file:line)] message
 *
 * The time is local. The thread is `firecracker` for the process's first one, and else has the
 * name that it gave itself (`fc_vcpu 0`). The file is named by its path under src/.
 *
 * The logger is one of the few pieces of file-scope state in the program. A line is formatted on
 * the stack and leaves in a single write(2), so lines of different threads do not mix, nothing is
 * allocated or buffered, and there is no lock. Lines of a guest's making go through log_guest(),
 * which lets a few through and counts the rest: a guest cannot fill the host's disk with
 * complaints.
 *
 * A reader that is stuck or not there (a stopped terminal, a full FIFO, a full disk) loses lines;
 * nobody waits. They are counted, in metrics.logger too, and told of when lines pass again.
 *
 * Lines may be written by any thread. What says where and how is set on the I/O thread while no
 * other one runs; the level and `raw` at any time.
 */
#pragma once

#include "util/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_OFF, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

/** Only messages at \p level or more urgent are written. */
void log_set_level(enum log_level level);

enum log_level log_get_level(void);

/** Write to \p fd from now on; the logger does not own it. */
void log_set_fd(int fd);

/**
 * Write to a file or FIFO from now on, opened as open_sink() does (util/io.h).
 * \return 0; a negative errno with a sentence that names it, and then nothing has changed
 */
__attribute__((warn_unused_result)) int log_open(const char *path, struct err *err);

/** While \p raw, lines end in CR LF: the terminal they go to does not add the CR. */
void log_set_raw(bool raw);

/**
 * Write lines as Firecracker does from now on. Looks up the time zone, so that no line has to open
 * a file for it.
 * \param id of the instance; copied
 */
void log_use_firecracker_format(const char *id);

/** Whether Firecracker's lines tell their level, and the file and line that they come from. */
void log_show(bool level, bool origin);

/** Only lines from files whose path under src/ begins with \p prefix ("virtio/blk"); NULL: all. */
void log_set_module(const char *prefix);

/** Write one line at \p level. \param file __FILE__ of who says it */
__attribute__((format(printf, 4, 5))) void log_write(enum log_level level, const char *file,
						     unsigned int line, const char *format, ...);

/** A message of a level that is found out at run time. */
#define log_leveled(level, ...) log_write(level, __FILE__, __LINE__, __VA_ARGS__)

#define log_error(...) log_leveled(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_leveled(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_leveled(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_leveled(LOG_DEBUG, __VA_ARGS__)
#define log_trace(...) log_leveled(LOG_TRACE, __VA_ARGS__)

/**
 * Write one line from a signal handler.
 * \param message ended by a NUL; without a newline
 */
void log_write_in_signal(enum log_level level, const char *file, unsigned int line,
			 const char *message);

/** One source of messages that a guest can cause at will. Zero-initialised; any thread. */
struct log_limit {
	_Atomic uint64_t window; /**< monotonic second that \p n_lines counts */
	_Atomic uint32_t n_lines;
	_Atomic uint32_t n_dropped; /**< since the last line that was let through */
};

__attribute__((format(printf, 4, 5))) void log_write_guest(struct log_limit *limit,
							   const char *file, unsigned int line,
							   const char *format, ...);

/**
 * Write one warning that a guest caused, at most five a second for each \p limit; the next line
 * let through tells how many were left out.
 */
#define log_guest(limit, ...) log_write_guest(limit, __FILE__, __LINE__, __VA_ARGS__)
