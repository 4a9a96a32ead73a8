#include "backend/rate_limiter.h"

#include "util/assert.h"
#include "util/bits.h"
#include "util/clock.h"
#include "util/events.h"

#include <errno.h>

/* Sizes and times are any 64 bits that a user likes: their products are 128 bits wide. */
__extension__ typedef unsigned __int128 u128;
__extension__ typedef __int128 i128;

enum {
	MS_PER_S = 1000,
	US_PER_MS = 1000,
	/* A longer wait is taken in pieces: then it is asked anew. */
	WAIT_MAX_MS = 3600 * MS_PER_S,
};

static uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* ---- one bucket ---- */

static bool has_limit(const struct token_bucket *bucket)
{
	return bucket->config.size != 0;
}

/* What `tokens` is when the bucket is full: the same, but for sizes beyond all use. */
static int64_t full(const struct token_bucket *bucket)
{
	return (int64_t)MIN(bucket->config.size, (uint64_t)INT64_MAX);
}

static u128 refill_ns(const struct token_bucket *bucket)
{
	return (u128)bucket->config.refill_ms * NS_PER_MS;
}

static int64_t saturate(i128 tokens)
{
	return (int64_t)MAX(MIN(tokens, (i128)INT64_MAX), (i128)INT64_MIN);
}

/*
 * Only whole tokens are added, and only the time that they took is accounted for (rounded up, which
 * costs less than a nanosecond or a token): what is left of it counts the next time.
 */
static void refill(struct token_bucket *bucket, uint64_t now)
{
	uint64_t elapsed = now - bucket->filled_ns;
	u128 added = (u128)elapsed * bucket->config.size / refill_ns(bucket);

	if (added >= (u128)((i128)full(bucket) - bucket->tokens)) {
		bucket->tokens = full(bucket);
		bucket->filled_ns = now;
		return;
	}
	bucket->tokens = saturate(bucket->tokens + (i128)added);
	/* The product is no more than elapsed * size. */
	bucket->filled_ns += (uint64_t)((added * refill_ns(bucket) + bucket->config.size - 1) /
					bucket->config.size);
}

/* How many tokens must be there for this to pass, after the burst is spent. */
static int64_t tokens_needed(const struct token_bucket *bucket, uint64_t amount)
{
	if (amount <= bucket->burst)
		return INT64_MIN;
	return (int64_t)MIN(amount - bucket->burst, (uint64_t)full(bucket));
}

/* \return milliseconds until the bucket has enough, 0 when it has */
static uint64_t must_wait_ms(struct token_bucket *bucket, uint64_t amount, uint64_t now)
{
	int64_t needed = tokens_needed(bucket, amount);
	u128 wait_ns;

	if (!has_limit(bucket))
		return 0;
	/* Each time: what a bucket that was full did not take must not be had later. */
	refill(bucket, now);
	if (bucket->tokens >= needed)
		return 0;
	if (__builtin_mul_overflow((u128)((i128)needed - bucket->tokens), refill_ns(bucket),
				   &wait_ns))
		return WAIT_MAX_MS;
	wait_ns /= bucket->config.size;
	/* Since `filled_ns` less than a token's time has passed: a token is not worth that care. */
	return (uint64_t)MIN(wait_ns / NS_PER_MS + 1, (u128)WAIT_MAX_MS);
}

static void pay(struct token_bucket *bucket, uint64_t amount)
{
	uint64_t by_burst = MIN(amount, bucket->burst);

	if (!has_limit(bucket))
		return;
	bucket->burst -= by_burst;
	bucket->tokens = saturate(bucket->tokens - (i128)(amount - by_burst));
}

static void pay_back(struct token_bucket *bucket, uint64_t amount)
{
	if (!has_limit(bucket))
		return;
	/* As long as some of the burst is left, it has paid for everything. */
	if (bucket->burst > 0)
		bucket->burst += MIN(amount, bucket->config.one_time_burst - bucket->burst);
	else
		bucket->tokens = (int64_t)MIN(bucket->tokens + (i128)amount, (i128)full(bucket));
}

void token_bucket_init(struct token_bucket *bucket, const struct token_bucket_config *config)
{
	*bucket = (struct token_bucket){
		.config = *config,
		.burst = config->one_time_burst,
		.filled_ns = now_ns(),
	};
	bucket->tokens = full(bucket);
}

uint64_t token_bucket_take_some(struct token_bucket *bucket, uint64_t amount)
{
	uint64_t granted;

	if (!has_limit(bucket))
		return amount;
	refill(bucket, now_ns());
	granted = MIN(amount, bucket->burst);
	granted += MIN(amount - granted, (uint64_t)MAX(bucket->tokens, INT64_C(0)));
	pay(bucket, granted);
	return granted;
}

/* ---- both ---- */

static void arm(struct rate_limiter *limiter, uint64_t wait_ms)
{
	struct timeval in = {
		.tv_sec = (time_t)(wait_ms / MS_PER_S),
		.tv_usec = (suseconds_t)(wait_ms % MS_PER_S * US_PER_MS),
	};

	/* A timer that cannot be armed (no memory) must not be waited for: then there is no limit.
	 */
	limiter->is_waiting = event_add(limiter->timer, &in) == 0;
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
	struct rate_limiter *limiter = ctx;

	(void)fd;
	(void)what;
	limiter->is_waiting = false;
	limiter->ready(limiter->ctx);
}

static bool is_valid(const struct token_bucket_config *config)
{
	return config == NULL || config->size == 0 || config->refill_ms != 0;
}

static bool is_limit(const struct token_bucket_config *config)
{
	return config != NULL && config->size != 0;
}

static bool needs_timer(const struct rate_limiter_change *change)
{
	return is_limit(change->bandwidth) || is_limit(change->ops);
}

int rate_limiter_prepare(struct rate_limiter *limiter, const struct rate_limiter_change *change,
			 struct err *err)
{
	if (!is_valid(change->bandwidth) || !is_valid(change->ops))
		return err_set(err, -EINVAL, "rate limit: the time to refill is 0");
	if (limiter->timer != NULL || !needs_timer(change))
		return 0;
	limiter->timer = evtimer_new(limiter->base, on_timer, limiter);
	return limiter->timer != NULL
		       ? 0
		       : err_set(err, -ENOMEM, "rate limit: no memory for its timer");
}

void rate_limiter_set(struct rate_limiter *limiter, const struct rate_limiter_change *change)
{
	ASSERT(limiter->timer != NULL || !needs_timer(change));
	if (change->bandwidth != NULL)
		token_bucket_init(&limiter->bandwidth, change->bandwidth);
	if (change->ops != NULL)
		token_bucket_init(&limiter->ops, change->ops);
	/* What was refused by the old limits may pass by the new ones. */
	if (limiter->is_waiting)
		arm(limiter, 0);
}

int rate_limiter_init(struct rate_limiter *limiter, const struct rate_limiter_config *config,
		      struct event_base *base, void (*ready)(void *ctx), void *ctx, struct err *err)
{
	const struct rate_limiter_change all = { &config->bandwidth, &config->ops };
	int result;

	*limiter = (struct rate_limiter){ .base = base, .ready = ready, .ctx = ctx };
	result = rate_limiter_prepare(limiter, &all, err);
	if (result == 0)
		rate_limiter_set(limiter, &all);
	return result;
}

void rate_limiter_config_change(struct rate_limiter_config *config,
				const struct rate_limiter_change *change)
{
	if (change->bandwidth != NULL)
		config->bandwidth = *change->bandwidth;
	if (change->ops != NULL)
		config->ops = *change->ops;
}

bool rate_limiter_take(struct rate_limiter *limiter, uint64_t bytes)
{
	uint64_t wait_ms;
	uint64_t now;

	if (limiter->is_waiting)
		return false;
	if (!has_limit(&limiter->bandwidth) && !has_limit(&limiter->ops))
		return true;
	now = now_ns();
	/* Neither is paid before both agree. */
	wait_ms = MAX(must_wait_ms(&limiter->bandwidth, bytes, now),
		      must_wait_ms(&limiter->ops, 1, now));
	if (wait_ms > 0)
		arm(limiter, wait_ms);
	if (limiter->is_waiting)
		return false;
	pay(&limiter->bandwidth, bytes);
	pay(&limiter->ops, 1);
	return true;
}

void rate_limiter_give_back(struct rate_limiter *limiter, uint64_t bytes)
{
	pay_back(&limiter->bandwidth, bytes);
	pay_back(&limiter->ops, 1);
}

void rate_limiter_deinit(struct rate_limiter *limiter)
{
	free_event(&limiter->timer);
	limiter->is_waiting = false;
}
