/*
 * Rate limits of a device: two token buckets, one counts bytes and one operations.
 *
 * A bucket holds at most `size` tokens and is filled at an even rate, `size` tokens in `refill_ms`.
 * A one-time burst is spent first and never refilled. An operation that is larger than a whole
 * bucket may pass when the bucket is full, and leaves a debt.
 *
 * When an operation must wait, a timer on the loop is armed and `ready` called when it may be tried
 * again: nobody polls. All functions run on the I/O thread, but rate_limiter_set() under the
 * device's lock and rate_limiter_take() within the device's work, which is the same thread.
 */
#pragma once

#include "util/err.h"

#include <stdbool.h>
#include <stdint.h>

struct event;
struct event_base;

/** What a user sets. `size` 0: no limit. */
struct token_bucket_config {
	uint64_t size;           /**< tokens: bytes, or operations */
	uint64_t one_time_burst; /**< tokens to begin with, besides `size` */
	uint64_t refill_ms;      /**< in which an empty bucket is full again; not 0 */
};

struct rate_limiter_config {
	struct token_bucket_config bandwidth;
	struct token_bucket_config ops;
};

static inline bool rate_limiter_config_has_limit(const struct rate_limiter_config *config)
{
	return config->bandwidth.size != 0 || config->ops.size != 0;
}

/** Which of a limiter's limits are to be others. NULL: that one goes on as it is. */
struct rate_limiter_change {
	const struct token_bucket_config *bandwidth;
	const struct token_bucket_config *ops;
};

struct token_bucket {
	struct token_bucket_config config;
	uint64_t burst;     /**< what is left of it */
	int64_t tokens;     /**< below 0: a debt */
	uint64_t filled_ns; /**< monotonic: up to when `tokens` is right */
};

/** A full bucket. For who drops what it does not grant, and has a lock of its own. */
void token_bucket_init(struct token_bucket *bucket, const struct token_bucket_config *config);

/** Take up to \p amount tokens, without waiting or debt. \return how many there were */
__attribute__((warn_unused_result)) uint64_t token_bucket_take_some(struct token_bucket *bucket,
								    uint64_t amount);

struct rate_limiter {
	struct token_bucket bandwidth;
	struct token_bucket ops;
	struct event *timer; /**< NULL when there is no limit and none was ever set */
	struct event_base *base;
	bool is_waiting; /**< the timer is armed */
	void (*ready)(void *ctx);
	void *ctx;
};

/** \param limiter zeroed storage \param ready called on the loop when a refused operation may pass
 */
__attribute__((warn_unused_result)) int rate_limiter_init(struct rate_limiter *limiter,
							  const struct rate_limiter_config *config,
							  struct event_base *base,
							  void (*ready)(void *ctx), void *ctx,
							  struct err *err);

/**
 * All of a change that can fail. What changes several things does this for each of them first.
 * \return 0: rate_limiter_set() may follow; -EINVAL, -ENOMEM: the limits are as they were
 */
__attribute__((warn_unused_result)) int rate_limiter_prepare(
	struct rate_limiter *limiter, const struct rate_limiter_change *change, struct err *err);

/**
 * Other limits from now on; the buckets that are named are full.
 * \param change for which rate_limiter_prepare() has succeeded
 */
void rate_limiter_set(struct rate_limiter *limiter, const struct rate_limiter_change *change);

/** What a limiter of \p config is told to be after \p change. */
void rate_limiter_config_change(struct rate_limiter_config *config,
				const struct rate_limiter_change *change);

/**
 * Ask for one operation of \p bytes.
 * \return true: it may go, and is paid for; false: leave it, `ready` will be called
 */
__attribute__((warn_unused_result)) bool rate_limiter_take(struct rate_limiter *limiter,
							   uint64_t bytes);

/** An operation that was paid for did not take place. */
void rate_limiter_give_back(struct rate_limiter *limiter, uint64_t bytes);

/** Is an operation waiting? Then trying again before `ready` is called is in vain. */
static inline bool rate_limiter_is_waiting(const struct rate_limiter *limiter)
{
	return limiter->is_waiting;
}

/** Legal on a zeroed object, and twice. */
void rate_limiter_deinit(struct rate_limiter *limiter);
