/*
 * The console: the host's end of the guest's serial line, on standard input and output.
 *
 * Output. vCPU threads append to a fixed ring under a mutex and go on. What has gathered leaves in
 * one write(2) a batch: a full line at once, written by the thread that ended it where that cannot
 * wait (a descriptor with O_NONBLOCK), so that no other thread need wake for it. What such a write
 * leaves, and all else, is the I/O thread's. It is called by a timerfd that the appending thread
 * sets: at once for a line or a half-full ring, a millisecond later for less, and not at all while
 * it is set already. So a line printed byte by byte costs one write, not eighty.
 *
 * Nobody ever waits for the reader. While the reader is slow, the ring fills, console_output()
 * takes less than it was offered and the guest waits, as for a slow line: nothing is lost. When
 * the reader has taken nothing for a second it counts as stuck: from then on everything is taken
 * and thrown away, counted, until the reader takes bytes again; then a log line tells how many
 * were lost. So no guest hangs on a terminal stopped by its user. A reader that is gone or a full
 * disk (EPIPE, EIO, ENOSPC) ends the output for good.
 *
 * A limit, if one is set, comes before all that: bytes beyond it are taken, thrown away and
 * counted.
 *
 * Input. The I/O thread reads one small buffer and reads no more until the guest has taken it, so
 * that a flood stays in the pipe it came by. The end of input is no event for the guest.
 *
 * Keys. Only where input is a terminal: Ctrl-a x leaves, Ctrl-a c, h or ? shows a help, Ctrl-a
 * Ctrl-a sends one Ctrl-a. A guest that takes no input for a second must not lock its user in:
 * then keys are read on and only looked through for these.
 */
#pragma once

#include "backend/rate_limiter.h"
#include "backend/stream.h"
#include "util/err.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event;
struct event_base;

enum { CONSOLE_RING_SIZE = 16384, CONSOLE_INPUT_SIZE = 256 };

/** What the console tells its owner. All are called on the I/O thread with no lock held. */
struct console_ops {
	/** Bytes for the guest. \return how many it took */
	size_t (*input)(void *ctx, const uint8_t *bytes, size_t len);
	/** There is room again after console_output() took less than it was offered. */
	void (*output_ready)(void *ctx);
	/** The user typed Ctrl-a x. */
	void (*leave)(void *ctx);
};

struct console {
	/* Set by console_init(), constant afterwards. */
	bool is_init;
	const struct console_ops *ops;
	void *ctx;
	int wake_fd; /**< timerfd */
	struct stream in;
	struct stream out;

	/* The I/O thread's own. */
	struct event *wake_event;
	struct event *out_event;
	struct event *in_event;
	struct event *stall_event;         /**< the guest has taken no input for a second */
	uint8_t input[CONSOLE_INPUT_SIZE]; /**< read, not yet taken by the guest */
	unsigned int n_input;
	bool is_escaped;  /**< the last key was Ctrl-a */
	bool is_stalled;  /**< keys are looked through and dropped */
	bool is_out_dead; /**< told once that output is over */

	_Atomic bool wants_room; /**< console_input_room() has something to tell */

	/* Under the lock. While `is_writing`, the I/O thread writes from `start` on without it. */
	pthread_mutex_t lock;
	bool is_writing;
	enum { CONSOLE_ASLEEP, CONSOLE_CALLED, CONSOLE_CALLED_NOW } wake;
	bool was_refused; /**< output_ready() is due */
	bool is_dropping;
	uint64_t n_lost;
	struct token_bucket limit; /**< of bytes of output */
	uint64_t n_over;           /**< bytes that it did not let pass */
	unsigned int start;
	unsigned int used;
	uint8_t ring[CONSOLE_RING_SIZE];
};

/**
 * Open the console. SIGPIPE should be ignored: then a reader that is gone is an error, and told.
 * \param in_fd borrowed until console_deinit(); may be closed or -1, which is the end of input
 * \param out_fd borrowed likewise; where it is not open, output is dropped
 * \param ops borrowed, with \p ctx handed to each
 * \return 0 or -errno
 */
__attribute__((warn_unused_result)) int console_init(struct console *console,
						     struct event_base *base, int in_fd, int out_fd,
						     const struct console_ops *ops, void *ctx,
						     struct err *err);

/** Let no more output pass than this. Before there is any. */
void console_set_limit(struct console *console, const struct token_bucket_config *limit);

/**
 * Output of the guest. Any thread; never waits.
 * \return bytes taken; when fewer than \p len, output_ready() follows
 */
__attribute__((warn_unused_result)) size_t console_output(struct console *console,
							  const uint8_t *bytes, size_t len);

/** The same for output that came in one piece and shall be seen at once, whether or not a line. */
__attribute__((warn_unused_result)) size_t console_output_whole(struct console *console,
								const uint8_t *bytes, size_t len);

/** The guest can take input again. Any thread; costs one load while no input waits. */
void console_input_room(struct console *console);

/**
 * Write what is left when the VM has ended, and log how much could not be. No vCPU thread and no
 * event loop may be running; output_ready() may be called.
 * \param timeout_ms how long the reader may take nothing, and a tenth of what all may take; one
 * known to be stuck is not waited for
 */
void console_flush(struct console *console, unsigned int timeout_ms);

/** Close. On the I/O thread or after it. Legal on a zeroed or half-built object, and twice. */
void console_deinit(struct console *console);
