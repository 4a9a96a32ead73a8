/*
 * Metrics: what happened how often, in Firecracker's format and schema.
 *
 * One file-scope structure of counters, whose members have the names of the schema's keys, and one
 * more for each block and net device, which lies in the device itself. Whoever does something
 * counts it:
 *
 *	metrics_inc(&metrics.vcpu.failures);
 *	metrics_add(&blk->metrics.read_bytes, len);
 *
 * A flush writes one line of JSON to a file or FIFO: at the start, every minute, when asked to, at
 * the end, and when a signal ends the process. Counters are written as what came on top since the
 * flush before, stores as they are. A flush that could not be written takes nothing away: it is in
 * the next. A FIFO nobody reads makes a flush fail, never wait. docs/metrics.md says what TeleVM
 * counts under which key.
 *
 * The lists in metrics_schema.h make the structures, and the tables that the writer goes by.
 *
 * Counting is for any thread. All else is for the I/O thread.
 */
#pragma once

#include "util/clock.h"
#include "util/err.h"
#include "util/metrics_schema.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;

struct metrics_times {
	_Atomic uint64_t min_us; /**< 0: none yet */
	_Atomic uint64_t max_us;
	_Atomic uint64_t sum_us;
};

#define METRICS_WORD_(name)  _Atomic uint64_t name;
#define METRICS_TIMES_(name) struct metrics_times name;
#define METRICS_STRUCT_(name, LIST)                                                                \
	struct metrics_##name {                                                                    \
		LIST(METRICS_WORD_, METRICS_WORD_, METRICS_TIMES_)                                 \
	};
#define METRICS_MEMBER_(name, LIST) struct metrics_##name name;

METRICS_GROUPS(METRICS_STRUCT_)
METRICS_DEVICE_GROUPS(METRICS_STRUCT_)

struct metrics {
	METRICS_GROUPS(METRICS_MEMBER_)
};

extern struct metrics metrics;

/* ---- counting ---- */

static inline void metrics_add(_Atomic uint64_t *metric, uint64_t n)
{
	atomic_fetch_add_explicit(metric, n, memory_order_relaxed);
}

static inline void metrics_inc(_Atomic uint64_t *metric)
{
	metrics_add(metric, 1);
}

static inline void metrics_store(_Atomic uint64_t *metric, uint64_t value)
{
	atomic_store_explicit(metric, value, memory_order_relaxed);
}

static inline uint64_t metrics_get(const _Atomic uint64_t *metric)
{
	return atomic_load_explicit(metric, memory_order_relaxed);
}

/** Now, for metrics_add_time(). */
static inline uint64_t metrics_now_us(void)
{
	return clock_ns(CLOCK_MONOTONIC) / NS_PER_US;
}

/** Something that began at \p begin_us has ended. */
void metrics_add_time(struct metrics_times *times, uint64_t begin_us);

/**
 * Have the counters of a device written as `block_ID` and in the sum `block`.
 * \param id copied
 * \param block borrowed until metrics_remove(); its owner flushes before that, or the last counts
 * are not written
 */
__attribute__((warn_unused_result)) int metrics_add_block(const char *id,
							  struct metrics_block *block,
							  struct err *err);

/** The same for `net_ID`. */
__attribute__((warn_unused_result)) int metrics_add_net(const char *id, struct metrics_net *net,
							struct err *err);

/** The device is about to go. Nothing happens if it was not added. */
void metrics_remove(const void *block_or_net);

/* ---- writing ---- */

struct metrics_property {
	const char *name;
	const char *value;
};

/**
 * Say where metrics are written: a file or FIFO, opened as open_sink() does (util/io.h).
 * \param id to be written in each line; NULL: none. Copied, as \p properties are
 * \return 0; -EALREADY when that was said before; else a negative errno with a sentence, and then
 * nothing has changed
 */
__attribute__((warn_unused_result)) int metrics_open(const char *path, const char *id,
						     const struct metrics_property *properties,
						     unsigned int n_properties, struct err *err);

/**
 * Flush now and every minute from now on; when the machine starts. Nothing without metrics_open().
 * \return 0, or -ENOMEM. A flush that fails is no error.
 */
__attribute__((warn_unused_result)) int metrics_start(struct event_base *base, struct err *err);

/**
 * Write a line.
 * \return 0, also when there is nowhere to write to; a negative errno with a sentence when it could
 * not be written, which has been counted
 */
int metrics_flush(struct err *err);

/** Flush once more and end; before the devices and the event base are freed. */
void metrics_close(void);

/** Write a line in a signal handler that ends the process: on any thread, whatever the others do.
 */
void metrics_flush_in_signal(void);

/**
 * All counts since the process began, as a JSON object of the same form. Nothing is reset.
 * \return a string to be freed by the caller; NULL without memory
 */
char *metrics_to_json(void);

enum metrics_kind { METRICS_NONE, METRICS_COUNTER, METRICS_STORED, METRICS_TIMED };

/**
 * What is a key of the schema?
 * \param group "vcpu"; those of devices are just "block" and "net"
 * \return METRICS_NONE when there is no such key
 */
enum metrics_kind metrics_kind_of(const char *group, const char *key);
